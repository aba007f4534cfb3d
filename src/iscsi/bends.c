/* SPDX-License-Identifier: MIT */
/* iscsi/bends.c - a target that bends a rule in a way that harms nothing (docs/design/bends.md). */
#include "base/log.h"
#include "iscsi/internal.h"

void
iscsi_bend(struct conn *c, enum wire_bend bend)
{
    struct session *s = c->session;
    enum log_level level = bend == BEND_PING_STATSN ? LOG_LEVEL_WARN : LOG_LEVEL_INFO;

    if (s->pub.bends & UINT32_C(1) << bend)
        return;
    s->pub.bends |= UINT32_C(1) << bend;
    log_line(c->pub.loop->log, level, "%s: this target bends: it %s", s->host.name,
             bend_text(bend));
}

void
iscsi_bend_pinged(struct conn *c)
{
    if (c->pings_statsn != c->pub.exp_statsn)
        c->pings_in_a_row = 0;
    c->pings_statsn = c->pub.exp_statsn;
    c->pings_in_a_row++;
}

/* A NOP-In that is no answer shows the next StatSN and does not take it (RFC 7143 11.19).  Where a
 * target goes on counting behind it, the next response comes as many numbers late as there were
 * such pings since the last one; any other gap is a loss. */
bool
iscsi_bend_explains(struct conn *c, uint32_t sn)
{
    if (c->pings_in_a_row == 0 || c->pings_statsn != c->pub.exp_statsn ||
        sn - c->pub.exp_statsn != c->pings_in_a_row)
        return false;
    iscsi_bend(c, BEND_PING_STATSN);
    return true;
}
