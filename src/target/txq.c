/* SPDX-License-Identifier: MIT */
#include "target/txq.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lu/buf.h"
#include "target/instance.h"

void
tgt_tx_queue(struct tgt_conn *c, struct tgt_tx *tx)
{
    assert((c->state != TGT_CONN_DEAD || c->lost) && list_empty(&tx->link));
    list_push_back(&c->txq, &tx->link);
    if (!c->blocked)
        loop_defer(c->target->loop, &c->flush);
}

struct tgt_ctl *
tgt_ctl_new(uint8_t opcode, uint32_t itt)
{
    struct tgt_ctl *ctl = calloc(1, sizeof(*ctl));

    if (ctl == NULL)
        return NULL;
    list_init(&ctl->tx.link);
    list_init(&ctl->tx.kept);
    ctl->numbered = true;
    bhs_init(ctl->hdr, opcode, ISCSI_FLAG_FINAL);
    ((struct bhs *)(void *)ctl->hdr)->itt = put32(itt);
    return ctl;
}

struct tgt_ctl *
tgt_ctl_new_with(uint8_t opcode, uint32_t itt, const void *data, uint32_t len)
{
    struct tgt_ctl *ctl = tgt_ctl_new(opcode, itt);

    if (ctl == NULL || len == 0)
        return ctl;
    ctl->data = lu_buf_alloc(len);
    if (ctl->data == NULL) {
        free(ctl);
        return NULL;
    }
    memcpy(ctl->data, data, len);
    ctl->len = len;
    return ctl;
}

void
tgt_ctl_send(struct tgt_conn *c, struct tgt_ctl *ctl)
{
    assert(!ctl->tx.is_cmd && (ctl->len == 0 || ctl->data != NULL));
    c->ctl_count++;
    c->ctl_bytes += ctl->len;
    tgt_tx_queue(c, &ctl->tx);
}

void
tgt_ctl_left(struct tgt_conn *c, struct tgt_ctl *ctl)
{
    assert(c->ctl_count > 0 && c->ctl_bytes >= ctl->len && list_empty(&ctl->tx.link));
    c->ctl_count--;
    c->ctl_bytes -= ctl->len;
}

void
tgt_ctl_free(struct tgt_conn *c, struct tgt_ctl *ctl)
{
    tgt_ctl_left(c, ctl);
    lu_buf_free(ctl->data);
    free(ctl);
}

void
tgt_ctl_forget(struct tgt_conn *c, struct tgt_ctl *ctl)
{
    if (!list_empty(&ctl->tx.link)) {
        list_del(&ctl->tx.link);
        tgt_ctl_left(c, ctl);
    }
    tgt_tx_release(c, ctl->data);
    free(ctl);
}

void
tgt_tx_drop(struct tgt_conn *c)
{
    struct list *l;

    while ((l = list_pop_front(&c->txq)) != NULL) {
        struct tgt_tx *tx = container_of(l, struct tgt_tx, link);

        if (!tx->is_cmd)
            tgt_ctl_free(c, container_of(tx, struct tgt_ctl, tx));
    }
}
