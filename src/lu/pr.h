/* SPDX-License-Identifier: MIT */
/* lu/pr.h - persistent reservations of one logical unit (SPC-4 5.13).
 *
 * A registration belongs to an I_T nexus, which is an initiator's name and
 * ISID, so it outlives sessions.  It does not outlive the process: APTPL is
 * refused.
 */
#ifndef LU_PR_H
#define LU_PR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct tgt_cmd;
struct tgt_lu;
struct tgt_nexus;

#define TGT_PR_REGS_MAX 256 /* registrations of one LU */

enum tgt_pr_type {
    TGT_PR_NONE = 0,
    TGT_PR_WE = 1,    /* write exclusive */
    TGT_PR_EA = 3,    /* exclusive access */
    TGT_PR_WE_RO = 5, /* registrants only */
    TGT_PR_EA_RO = 6,
    TGT_PR_WE_AR = 7, /* all registrants */
    TGT_PR_EA_AR = 8,
};

/* How a command collides with somebody else's reservation. */
enum tgt_pr_class {
    TGT_PR_ALLOWED, /* never */
    TGT_PR_READS,   /* with exclusive access */
    TGT_PR_WRITES,  /* with every type */
};

struct tgt_pr_reg {
    char name[ISCSI_NAME_MAX + 1];
    uint8_t isid[6];
    uint64_t key;
    bool holder; /* of the reservation; nobody's with the all-registrants types */
};

struct tgt_pr {
    struct tgt_pr_reg *regs;
    uint32_t count, room;
    uint32_t generation;
    enum tgt_pr_type type; /* TGT_PR_NONE: no reservation */
};

void tgt_pr_fini(struct tgt_pr *pr);

/* May the nexus not run a command of that class? */
bool tgt_pr_conflict(const struct tgt_lu *lu, const struct tgt_nexus *n, enum tgt_pr_class cls);

/* PERSISTENT RESERVE IN, and OUT before and after its parameter list. */
void tgt_pr_in(struct tgt_cmd *c);
void tgt_pr_out(struct tgt_cmd *c);
void tgt_pr_out_finish(struct tgt_cmd *c);

#endif
