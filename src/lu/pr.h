/* SPDX-License-Identifier: MIT */
/* lu/pr.h - persistent reservations of one logical unit (SPC-4 5.13).
 *
 * A registration belongs to an I_T nexus, which is known by the name of the
 * initiator port, so it outlives sessions.  It does not outlive the process:
 * APTPL is refused.
 */
#ifndef LU_PR_H
#define LU_PR_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/nexus.h"

struct lu_cmd;

#define LU_PR_REGS_MAX 256 /* registrations of one LU */

enum lu_pr_type {
    LU_PR_NONE = 0,
    LU_PR_WE = 1,    /* write exclusive */
    LU_PR_EA = 3,    /* exclusive access */
    LU_PR_WE_RO = 5, /* registrants only */
    LU_PR_EA_RO = 6,
    LU_PR_WE_AR = 7, /* all registrants */
    LU_PR_EA_AR = 8,
};

/* How a command collides with somebody else's reservation. */
enum lu_pr_class {
    LU_PR_ALLOWED, /* never */
    LU_PR_READS,   /* with exclusive access */
    LU_PR_WRITES,  /* with every type */
};

struct lu_pr_reg {
    char port[LU_PORT_MAX + 1];
    uint64_t key;
    bool holder; /* of the reservation; nobody's with the all-registrants types */
};

struct lu_pr {
    struct lu_pr_reg *regs;
    uint32_t count, room;
    uint32_t generation;
    enum lu_pr_type type; /* LU_PR_NONE: no reservation */
};

void lu_pr_fini(struct lu_pr *pr);

/* May the nexus not run a command of that class? */
bool lu_pr_conflict(const struct lu_pr *pr, const struct lu_nexus *n, enum lu_pr_class cls);

/* PERSISTENT RESERVE IN, and OUT before and after its parameter list. */
void lu_pr_in(struct lu_cmd *c);
void lu_pr_out(struct lu_cmd *c);
void lu_pr_out_finish(struct lu_cmd *c);

#endif
