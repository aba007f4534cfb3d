/* SPDX-License-Identifier: MIT */
/* target/iser/lie.h - what a hostile target does over RDMA, for tests: enum target_rdma_fault. */
#ifndef TARGET_ISER_LIE_H
#define TARGET_ISER_LIE_H

#include "target/hook.h"
#include "target/instance.h"
#include "target/iser/iser.h"
#include "target/state/command.h"

#define TGT_LIE_LONG 16384u /* bytes of an over-long message */

/* Sets cmd->lie where the command is at that step for the first time. */
static inline void
tgt_lie_ask(struct tgt_cmd *cmd, enum tgt_rdma_step step)
{
    struct tgt_hook *hook = cmd->conn->target->hook;

    if (__builtin_expect(hook == NULL, 1) || (cmd->lies & 1u << step) != 0)
        return;
    cmd->lies |= (uint8_t)(1u << step);
    cmd->lie = (uint8_t)tgt_hook(hook, TGT_HOOK_RDMA, &step);
}

/* Spoil an RDMA Read or Write of the command. */
void tgt_lie_move(const struct tgt_cmd *cmd, struct rnic_wr *wr);

/* Spoils the command's response, which wr is about to send. */
void tgt_lie_answer(const struct tgt_cmd *cmd, struct rnic_wr *wr);

/* Makes an R2T PDU in msg, which has ISER_HDRS_LEN bytes. */
void tgt_lie_r2t(const struct tgt_cmd *cmd, uint8_t *msg);

#endif
