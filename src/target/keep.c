/* SPDX-License-Identifier: MIT */
#include "target/keep.h"

#include <assert.h>

#include "target/command.h"
#include "target/instance.h"
#include "target/state/conn.h"
#include "target/txq.h"
#include "wire/sn.h"

static struct tgt_cmd *
as_cmd(struct list *l)
{
    struct tgt_tx *tx = container_of(l, struct tgt_tx, kept);

    return tx->is_cmd ? container_of(tx, struct tgt_cmd, tx) : NULL;
}

static void
keep_as(struct tgt_conn *c, struct tgt_tx *tx, uint32_t stat_sn, uint32_t bytes)
{
    assert(c->erl > 0 && list_empty(&tx->kept));
    tx->stat_sn = stat_sn;
    tx->bytes = bytes;
    list_push_back(&c->kept, &tx->kept);
    c->kept_count++;
    c->kept_bytes += bytes;
    c->target->kept_bytes += bytes;
}

void
tgt_keep(struct tgt_conn *c, struct tgt_tx *tx, uint32_t bytes)
{
    keep_as(c, tx, c->stat_sn - 1, bytes);
}

/* The command in the queue whose answer was reassigned to the connection; NULL: l is another. */
static struct tgt_cmd *
as_reassigned(struct list *l)
{
    struct tgt_tx *tx = container_of(l, struct tgt_tx, link);
    struct tgt_cmd *cmd = container_of(tx, struct tgt_cmd, tx);

    return tx->is_cmd && cmd->state == TGT_CMD_SENT && list_empty(&tx->kept) ? cmd : NULL;
}

void
tgt_keep_queued(struct tgt_conn *c)
{
    LIST_FOREACH (l, &c->txq) {
        struct tgt_cmd *cmd = as_reassigned(l);

        if (cmd != NULL) /* its number would have been the next */
            keep_as(c, &cmd->tx, c->stat_sn, tgt_cmd_kept_bytes(cmd));
    }
}

void
tgt_keep_take(struct tgt_conn *c, struct tgt_tx *tx)
{
    list_del(&tx->kept);
    c->kept_count--;
    c->kept_bytes -= tx->bytes;
    c->target->kept_bytes -= tx->bytes;
}

static void
keep_forget(struct tgt_conn *c, struct tgt_tx *tx)
{
    tgt_keep_take(c, tx);
    if (tx->is_cmd)
        tgt_cmd_forget(container_of(tx, struct tgt_cmd, tx));
    else
        tgt_ctl_forget(c, container_of(tx, struct tgt_ctl, tx));
}

bool
tgt_keep_ack(struct tgt_conn *c, uint32_t exp_stat_sn)
{
    if (sn_gt(exp_stat_sn, c->exp_stat_sn) && sn_lte(exp_stat_sn, c->stat_sn))
        c->exp_stat_sn = exp_stat_sn; /* else it is old, or of something that was not sent */
    while (!list_empty(&c->kept)) {
        struct tgt_tx *tx = container_of(c->kept.next, struct tgt_tx, kept);

        if (sn_gte(tx->stat_sn, c->exp_stat_sn))
            break;
        keep_forget(c, tx);
    }
    if (c->kept_bytes > TGT_KEPT_FAIR && c->target->kept_bytes > TGT_KEPT_ALL)
        return false;
    return c->kept_count <= TGT_KEPT_MAX && c->kept_bytes <= TGT_KEPT_BYTES;
}

struct tgt_cmd *
tgt_keep_find(const struct tgt_conn *c, uint32_t itt)
{
    for (struct list *l = c->kept.prev; l != &c->kept; l = l->prev) {
        struct tgt_cmd *cmd = as_cmd(l);

        if (cmd != NULL && cmd->itt == itt)
            return cmd;
    }
    LIST_FOREACH (l, &c->txq) {
        struct tgt_cmd *cmd = as_reassigned(l);

        if (cmd != NULL && cmd->itt == itt)
            return cmd;
    }
    return NULL;
}

struct tgt_cmd *
tgt_keep_find_ttt(const struct tgt_conn *c, uint32_t ttt)
{
    LIST_FOREACH (l, &c->kept) {
        struct tgt_cmd *cmd = as_cmd(l);

        if (cmd != NULL && cmd->ack_asked && cmd->ack_ttt == ttt)
            return cmd;
    }
    return NULL;
}

void
tgt_keep_send_again(struct tgt_conn *c, uint32_t begin, uint32_t end)
{
    LIST_FOREACH (l, &c->kept) {
        struct tgt_tx *tx = container_of(l, struct tgt_tx, kept);

        if (sn_lt(tx->stat_sn, begin) || sn_gte(tx->stat_sn, end))
            continue;
        tx->again = true;
        if (!list_empty(&tx->link))
            continue; /* it is about to leave once more */
        if (tx->is_cmd)
            tgt_tx_queue(c, tx);
        else
            tgt_ctl_send(c, container_of(tx, struct tgt_ctl, tx));
    }
}

void
tgt_keep_commands_only(struct tgt_conn *c)
{
    LIST_FOREACH_SAFE (l, &c->kept) {
        struct tgt_tx *tx = container_of(l, struct tgt_tx, kept);

        if (!tx->is_cmd)
            keep_forget(c, tx);
    }
}

void
tgt_keep_drop(struct tgt_conn *c)
{
    while (!list_empty(&c->kept))
        keep_forget(c, container_of(c->kept.next, struct tgt_tx, kept));
}
