/* SPDX-License-Identifier: MIT */
/* iscsi/window.h - the command window of a session (RFC 7143 4.2.2.1): ExpCmdSN <= CmdSN <=
 * MaxCmdSN.
 */
#ifndef ISCSI_WINDOW_H
#define ISCSI_WINDOW_H

#include "seam/loop.h"
#include "wire/sn.h"

struct cmdsn_window {
    uint32_t cmdsn;     /* the next to assign */
    uint32_t max_cmdsn; /* the last that the target takes */
    uint32_t exp_cmdsn; /* the target has received all below it, and perhaps more: the fast path
                           does not look at ExpCmdSN but to see that it makes sense */
    uint32_t queued;    /* commands on the cmdqueue, without a CmdSN yet */
    bool wanted;        /* something waits for MaxCmdSN to grow */
    struct loop_timer shut_timer; /* runs while nothing but a larger MaxCmdSN can help */
};

/* As at the beginning of a nexus: closed until the target opens it. */
static inline void
cmdsn_window_reset(struct cmdsn_window *w, uint32_t cmdsn)
{
    w->cmdsn = w->exp_cmdsn = cmdsn;
    w->max_cmdsn = cmdsn - 1;
    w->wanted = false;
}

/* No request that is not immediate may be sent. */
static inline bool
cmdsn_window_closed(const struct cmdsn_window *w)
{
    return !sn_lte(w->cmdsn, w->max_cmdsn);
}

/* What is queued already will use up the window. */
static inline bool
cmdsn_window_full(const struct cmdsn_window *w)
{
    return !sn_lte(w->cmdsn + w->queued, w->max_cmdsn);
}

/* True when a target may send that pair; a pair that it may not send is ignored (RFC 7143 4.2.2.1).
 */
static inline bool
cmdsn_window_possible(uint32_t exp_cmdsn, uint32_t max_cmdsn)
{
    return sn_lte(exp_cmdsn - 1, max_cmdsn);
}

/* True when ExpCmdSN of a PDU says more than is known.  That may lag behind by more than numbers
 * can be compared over, and a PDU may be late, but neither is above CmdSN: the one that is closer
 * to it is the newer one. */
static inline bool
cmdsn_window_newer(const struct cmdsn_window *w, uint32_t exp_cmdsn)
{
    return w->cmdsn - exp_cmdsn < w->cmdsn - w->exp_cmdsn;
}

/* MaxCmdSN only ever grows.  True when it did. */
static inline bool
cmdsn_window_grow(struct cmdsn_window *w, uint32_t max_cmdsn)
{
    if (!sn_gt(max_cmdsn, w->max_cmdsn))
        return false;
    w->max_cmdsn = max_cmdsn;
    return true;
}

#endif
