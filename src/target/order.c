/* SPDX-License-Identifier: MIT */
/* CmdSN: commands run in the order of their numbers, whatever connection they came on, and only
 * inside the window (RFC 7143 4.2.2.1). */
#include <assert.h>

#include "target/session.h"

static uint32_t
cmd_sn_of(const struct tgt_cmd *c)
{
    return get32(c->h.cmd.cmd_sn); /* at the same place in every request */
}

enum tgt_order
tgt_order_check(const struct tgt_session *s, uint32_t cmd_sn)
{
    if (sn_lt(cmd_sn, s->exp_cmd_sn) || !sn_lte(cmd_sn, s->max_cmd_sn))
        return TGT_ORDER_DROP;
    if (cmd_sn == s->exp_cmd_sn)
        return TGT_ORDER_NOW;
    LIST_FOREACH (i, &s->held) {
        if (cmd_sn_of(container_of(i, struct tgt_cmd, link)) == cmd_sn)
            return TGT_ORDER_DROP;
    }
    return TGT_ORDER_LATER;
}

void
tgt_order_advance(struct tgt_session *s)
{
    s->exp_cmd_sn++;
}

void
tgt_order_hold(struct tgt_session *s, struct tgt_cmd *c)
{
    struct list *at = s->held.prev;

    while (at != &s->held && sn_gt(cmd_sn_of(container_of(at, struct tgt_cmd, link)), cmd_sn_of(c)))
        at = at->prev;
    c->state = TGT_CMD_HELD;
    list_push_front(at, &c->link);
}

void
tgt_order_run(struct tgt_session *s)
{
    while (!list_empty(&s->held) && s->live) {
        struct tgt_cmd *c = container_of(s->held.next, struct tgt_cmd, link);

        if (sn_lt(cmd_sn_of(c), s->exp_cmd_sn)) { /* an ABORT TASK has counted it as received */
            list_del(&c->link);
            tgt_cmd_free(c);
            continue;
        }
        if (cmd_sn_of(c) != s->exp_cmd_sn)
            break;
        list_del(&c->link);
        tgt_order_advance(s);
        tgt_ffp_held(c);
    }
    tgt_tmf_run_waiting(s);
}

uint32_t
tgt_order_window(struct tgt_session *s)
{
    uint32_t room = s->open < s->depth ? s->depth - s->open : 0;
    uint32_t max = s->exp_cmd_sn + room - 1;

    if (sn_gt(max, s->max_cmd_sn))
        s->max_cmd_sn = max;
    return s->max_cmd_sn;
}
