/* SPDX-License-Identifier: MIT */
/* iscsi/statsn.h - which responses of a connection have come (RFC 7143 4.2.2.2).
 *
 * StatSN counts per connection.  Good is what came without a gap: ExpStatSN is the number after it.
 * Seen is also what came behind a gap; at most STATSN_AHEAD numbers of it are remembered.
 * Acknowledged is what a PDU of ours has told the target, and lags behind.  Responses that are in
 * order go by without this structure (iscsi/fast.c counts them in conn->pub.exp_statsn): whoever
 * looks at it brings `good` up to date first, with statsn_window_good.
 */
#ifndef ISCSI_STATSN_H
#define ISCSI_STATSN_H

#include <stdbool.h>
#include <stdint.h>

#define STATSN_AHEAD 64 /* numbers behind the first gap that are remembered */

struct statsn_window {
    bool known;     /* the first response has come: it may carry any number (11.13.4) */
    uint32_t good;  /* all below have come, as ExpStatSN says */
    uint32_t acked; /* an ExpStatSN that the target has been told, and perhaps not the last */
    uint32_t seen;  /* one more than the largest number that came */
    uint64_t ahead; /* bit i: good + 1 + i has come */
    bool no_gap;    /* known, and nothing is missing: the next one in order needs no look at this */
};

enum statsn_verdict {
    STATSN_IN_ORDER,  /* the next one, or the first at all */
    STATSN_DUPLICATE, /* it has come before */
    STATSN_GAP,       /* others before it are missing; it is remembered */
    STATSN_TOO_FAR,   /* the same, but too far ahead to be remembered */
};

/* Nothing has come. */
void statsn_window_reset(struct statsn_window *w);

/* Everything below sn has come in order. */
void statsn_window_good(struct statsn_window *w, uint32_t sn);

/* A response with number sn has come. */
enum statsn_verdict statsn_window_add(struct statsn_window *w, uint32_t sn);

/* A response with number sn has been sent, as is known, and not come in a form that counts.  False:
 * it has come before. */
bool statsn_window_lost(struct statsn_window *w, uint32_t sn);

/* A PDU that carries sn as ExpStatSN was sent. */
static inline void
statsn_window_ack(struct statsn_window *w, uint32_t sn)
{
    w->acked = sn;
}

/* Finds the first run of numbers that is missing.  Returns its length, 0 when none is missing, and
 * in *ret_first where it begins. */
uint32_t statsn_window_missing(const struct statsn_window *w, uint32_t *ret_first);

#endif
