/* SPDX-License-Identifier: MIT */
/* target/hook.h - where the target's code asks whether to make a fault, for tests.
 *
 * The normal path calls a hook at the points below and does what the hook returns.  No
 * hook is set unless faults are configured, so each point costs the test of one pointer.
 * faults.c implements the hook.
 */
#ifndef TARGET_HOOK_H
#define TARGET_HOOK_H

#include <stddef.h>
#include <stdint.h>

#include "target/faults.h"

enum tgt_hook_point {
    TGT_HOOK_RECEIVED, /* a header in full feature phase has come; arg: uint64_t *, a count of its
                          connection for the hook; not 0: close the connection */
    TGT_HOOK_LOGIN,    /* a Login Request has come; not 0: refuse it with that Status-Class << 8 |
                          Status-Detail, or TGT_HOOK_NEVER: do not answer */
    TGT_HOOK_NOP,      /* a ping has come; not 0: do not answer */
    TGT_HOOK_TMF,      /* a function has been carried out; not 0: do not answer */
    TGT_HOOK_COMMAND,  /* a SCSI command has its turn; not 0: the status that it ends with */
    TGT_HOOK_RESPONSE, /* a SCSI command is over; arg: const uint8_t *, its CDB; not 0: milliseconds
                          that its response waits, or TGT_HOOK_NEVER */
    TGT_HOOK_HEADER,   /* a header digest is made; not 0: spoil it */
    TGT_HOOK_DATA_IN,  /* a Data-In PDU is made; not 0: spoil its data digest */
    TGT_HOOK_WINDOW,   /* MaxCmdSN could grow; not 0: it does not */
    TGT_HOOK_STAG,     /* a response could invalidate an STag; not 0: it does not */
    TGT_HOOK_SENDS,    /* a PDU is made on a connection that recovers; arg: uint8_t *, its header;
                          TGT_HOOK_LOST: it does not leave, TGT_HOOK_TWICE: it leaves twice */
    TGT_HOOK_DATA_OUT, /* the header of a Data-Out has come on a connection that recovers; arg: as
                          above; not 0: it is as if it had not */
    TGT_HOOK_RDMA,     /* a SCSI command over RDMA is about to do something; arg: const enum
                          tgt_rdma_step *; what to do instead, an enum target_rdma_fault */
};

enum tgt_rdma_step {
    TGT_RDMA_WANTS,   /* ask for the first data of a write */
    TGT_RDMA_BRINGS,  /* write the first data of a read, and respond */
    TGT_RDMA_ANSWERS, /* respond, without data */
};

#define TGT_HOOK_NEVER UINT32_MAX
#define TGT_HOOK_LOST  1u
#define TGT_HOOK_TWICE 2u

struct tgt_hook {
    uint32_t (*strike)(struct tgt_hook *h, enum tgt_hook_point at, void *arg);
};

/* Returns what to do at a point, as the enum says; 0: behave correctly. */
static inline uint32_t
tgt_hook(struct tgt_hook *h, enum tgt_hook_point at, void *arg)
{
    return h == NULL ? 0 : h->strike(h, at, arg);
}

#define TGT_LOSSES 64 /* that are remembered: what is asked for again has to come in the end */

/* The hook that carries out struct target_faults. */
struct tgt_faults {
    struct tgt_hook hook;
    struct target_faults orders;
    uint64_t commands, data_in, pdus, rdma; /* counted while an order needs it */
    uint64_t rng;                           /* of orders.losses */
    struct {
        uint32_t itt, what;
    } lost[TGT_LOSSES]; /* the last ones, round */
    uint32_t nlost;
};

/* Copies new faults (NULL: none) and returns the hook that makes them, or NULL when there are
 * none.  The counters go on from where they were. */
struct tgt_hook *tgt_faults_set(struct tgt_faults *f, const struct target_faults *orders);

#endif
