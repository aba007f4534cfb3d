/* SPDX-License-Identifier: MIT */
#include "target/order.h"

#include <assert.h>

#include "target/instance.h"
#include "target/state/command.h"
#include "target/state/conn.h"
#include "target/state/session.h"
#include "wire/sn.h"

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

static uint32_t
order_window(struct tgt_session *s)
{
    uint32_t room = s->open < s->depth ? s->depth - s->open : 0;
    uint32_t max = s->exp_cmd_sn + room - 1;

    if (sn_gt(max, s->max_cmd_sn) && !tgt_hook(s->target->hook, TGT_HOOK_WINDOW, NULL))
        s->max_cmd_sn = max;
    return s->max_cmd_sn;
}

struct tgt_cmd *
tgt_order_next(struct tgt_session *s)
{
    struct tgt_cmd *c;

    if (list_empty(&s->held))
        return NULL;
    c = container_of(s->held.next, struct tgt_cmd, link);
    if (sn_gt(cmd_sn_of(c), s->exp_cmd_sn))
        return NULL;
    list_del(&c->link);
    return c;
}

void
tgt_order_stamp(struct tgt_conn *c, void *bhs, bool numbered)
{
    struct bhs_nop_in *h = bhs;

    h->stat_sn = put32(c->stat_sn);
    c->stat_sn += numbered;
    if (c->sess != NULL) {
        c->sess->told_max = order_window(c->sess);
        h->max_cmd_sn = put32(c->sess->told_max);
        h->exp_cmd_sn = put32(c->sess->exp_cmd_sn);
    }
}

void
tgt_order_stamp_again(struct tgt_conn *c, void *bhs, uint32_t stat_sn)
{
    tgt_order_stamp(c, bhs, false);
    ((struct bhs_nop_in *)bhs)->stat_sn = put32(stat_sn);
}
