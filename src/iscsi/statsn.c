/* SPDX-License-Identifier: MIT */
#include "iscsi/statsn.h"

#include <assert.h>

#include "wire/sn.h"

void
statsn_window_reset(struct statsn_window *w)
{
    *w = (struct statsn_window){.known = false};
}

void
statsn_window_good(struct statsn_window *w, uint32_t sn)
{
    if (!w->known || sn == w->good)
        return;
    /* What came in order came behind no gap.  It may be so much that sn and good cannot be
     * compared: nobody brings good up to date before something comes out of order. */
    assert(w->ahead == 0);
    w->good = w->seen = sn;
}

/* The number that was missing has come: what came behind it is good as far as no other is missing.
 */
static void
close_gap(struct statsn_window *w)
{
    w->good++;
    while ((w->ahead & 1) != 0) {
        w->ahead >>= 1;
        w->good++;
    }
    w->ahead >>= 1; /* bit 0 stands for the number after `good` */
    if (sn_lt(w->seen, w->good))
        w->seen = w->good;
}

static enum statsn_verdict
window_add(struct statsn_window *w, uint32_t sn)
{
    uint32_t i = sn - w->good - 1;

    if (!w->known) {
        *w = (struct statsn_window){
            .known = true, .good = sn + 1, .seen = sn + 1, .acked = sn, .no_gap = true};
        return STATSN_IN_ORDER;
    }
    if (sn == w->good) {
        close_gap(w);
        return STATSN_IN_ORDER;
    }
    if (!sn_gt(sn, w->good))
        return STATSN_DUPLICATE;
    if (i < STATSN_AHEAD && (w->ahead & (UINT64_C(1) << i)) != 0)
        return STATSN_DUPLICATE;
    if (sn_gte(sn, w->seen))
        w->seen = sn + 1;
    if (i >= STATSN_AHEAD)
        return STATSN_TOO_FAR;
    w->ahead |= UINT64_C(1) << i;
    return STATSN_GAP;
}

enum statsn_verdict
statsn_window_add(struct statsn_window *w, uint32_t sn)
{
    enum statsn_verdict v = window_add(w, sn);

    w->no_gap = w->ahead == 0 && w->seen == w->good;
    return v;
}

bool
statsn_window_lost(struct statsn_window *w, uint32_t sn)
{
    uint32_t i = sn - w->good - 1;

    if (!w->known || sn_lt(sn, w->good))
        return false;
    if (sn != w->good && i < STATSN_AHEAD && (w->ahead & (UINT64_C(1) << i)) != 0)
        return false;
    if (sn_gte(sn, w->seen))
        w->seen = sn + 1;
    w->no_gap = false;
    return true;
}

uint32_t
statsn_window_missing(const struct statsn_window *w, uint32_t *ret_first)
{
    uint32_t n = w->seen - w->good; /* where nothing behind the gap is remembered */

    *ret_first = w->good;
    if (w->ahead != 0)
        n = (uint32_t)__builtin_ctzll(w->ahead) + 1;
    return w->known ? n : 0;
}
