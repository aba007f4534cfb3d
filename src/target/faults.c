/* SPDX-License-Identifier: MIT */
#include "target/faults.h"

#include "base/list.h"
#include "target/hook.h"
#include "wire/bhs.h"
#include "wire/scsi.h"

/* Whether this is an n-th of what is counted; every 0: nothing is counted. */
static bool
nth(uint64_t *count, uint32_t every)
{
    return every != 0 && ++*count % every == 0;
}

static uint32_t
strike_command(struct tgt_faults *f)
{
    const struct target_faults *o = &f->orders;
    uint64_t n;

    if (o->busy_every == 0 && o->task_set_full_every == 0)
        return 0;
    n = ++f->commands;
    if (o->busy_every != 0 && n % o->busy_every == 0)
        return SCSI_BUSY;
    if (o->task_set_full_every != 0 && n % o->task_set_full_every == 0)
        return SCSI_TASK_SET_FULL;
    return 0;
}

/* True with that share of 1024. */
static bool
drawn(struct tgt_faults *f, uint32_t share)
{
    f->rng = f->rng * 6364136223846793005ull + 1442695040888963407ull;
    return (f->rng >> 33) % 1024 < share;
}

/* What is sent again is lost once more for one PDU of a command at most: whoever asks for it gives
 * up at some time, and must not have to. */
static bool
lost(struct tgt_faults *f, const uint8_t *hdr, uint32_t share)
{
    const struct bhs_data_in *h = (const void *)hdr;
    uint32_t itt = get32(h->itt), what = hdr[0] ^ get32(h->offset) << 8, again = 0, of_task = 0;

    if (!drawn(f, share))
        return false;
    for (uint32_t i = 0; i < TGT_LOSSES && i < f->nlost; i++) {
        if (f->lost[i].itt != itt)
            continue;
        again += f->lost[i].what == what;
        of_task += f->lost[i].what == UINT32_MAX;
    }
    if (again > 0 && of_task > 0)
        return false;
    f->lost[f->nlost % TGT_LOSSES].itt = itt;
    f->lost[f->nlost++ % TGT_LOSSES].what = again > 0 ? UINT32_MAX : what;
    return true;
}

static uint32_t
strike_pdu(struct tgt_faults *f, const uint8_t *hdr)
{
    const struct target_losses *o = &f->orders.losses;
    uint8_t op = hdr[0] & ISCSI_OP_MASK;
    uint32_t share = op == ISCSI_OP_DATA_IN    ? o->data_in
                     : op == ISCSI_OP_SCSI_RSP ? o->response
                     : op == ISCSI_OP_R2T      ? o->silent
                                               : 0;

    if (lost(f, hdr, share))
        return TGT_HOOK_LOST;
    if (op != ISCSI_OP_DATA_IN && op != ISCSI_OP_SCSI_RSP)
        return 0;
    return drawn(f, o->twice) ? TGT_HOOK_TWICE : 0;
}

static uint32_t
strike_data_out(struct tgt_faults *f, const uint8_t *hdr)
{
    const struct target_losses *o = &f->orders.losses;

    return lost(f, hdr, hdr[1] & ISCSI_FLAG_FINAL ? o->silent : o->data_out);
}

/* Whether the fault can be made at that step. */
static bool
rdma_fits(enum target_rdma_fault fault, enum tgt_rdma_step step)
{
    if (fault <= TARGET_RDMA_READ_STAG)
        return fault != TARGET_RDMA_HONEST && step == TGT_RDMA_WANTS;
    if (fault <= TARGET_RDMA_DATA_LATE)
        return step == TGT_RDMA_BRINGS;
    return step != TGT_RDMA_WANTS;
}

static uint32_t
strike_rdma(struct tgt_faults *f, const enum tgt_rdma_step *step)
{
    const struct target_faults *o = &f->orders;

    return rdma_fits(o->rdma, *step) && nth(&f->rdma, o->rdma_every) ? o->rdma : TARGET_RDMA_HONEST;
}

static uint32_t
strike(struct tgt_hook *h, enum tgt_hook_point at, void *arg)
{
    struct tgt_faults *f = container_of(h, struct tgt_faults, hook);
    const struct target_faults *o = &f->orders;
    uint64_t *pdus = arg;
    const uint8_t *cdb = arg;

    switch (at) {
    case TGT_HOOK_RECEIVED:
        return o->drop_after_pdus != 0 && ++*pdus >= o->drop_after_pdus;
    case TGT_HOOK_LOGIN:
        return o->mute_login ? TGT_HOOK_NEVER : o->refuse_login;
    case TGT_HOOK_NOP:
        return o->mute_nop;
    case TGT_HOOK_TMF:
        return o->mute_tmf;
    case TGT_HOOK_COMMAND:
        return strike_command(f);
    case TGT_HOOK_RESPONSE:
        return o->mute && cdb[0] == o->mute_opcode ? TGT_HOOK_NEVER : o->response_delay_ms;
    case TGT_HOOK_HEADER:
        return nth(&f->pdus, o->corrupt_header_every);
    case TGT_HOOK_DATA_IN:
        return nth(&f->data_in, o->corrupt_data_in_every);
    case TGT_HOOK_WINDOW:
        return o->shut_window;
    case TGT_HOOK_STAG:
        return o->keep_stags;
    case TGT_HOOK_SENDS:
        return strike_pdu(f, arg);
    case TGT_HOOK_DATA_OUT:
        return strike_data_out(f, arg);
    case TGT_HOOK_RDMA:
        return strike_rdma(f, arg);
    }
    return 0;
}

struct tgt_hook *
tgt_faults_set(struct tgt_faults *f, const struct target_faults *orders)
{
    f->hook.strike = strike;
    if (orders != NULL && orders->losses.seed != f->orders.losses.seed)
        f->rng = orders->losses.seed;
    f->orders = orders != NULL ? *orders : (struct target_faults){0};
    return orders != NULL ? &f->hook : NULL;
}
