/* SPDX-License-Identifier: MIT */
/* PDUs are made at the last moment, from commands and control PDUs in txq, into
 * the slots of a ring that the connection borrows while it has something to
 * send.  Read data is sent from the LUN's memory, where it has one.  A data digest is computed
 * in the same call as the send, and a PDU that leaves only in part is copied,
 * so that a write to the same blocks in between cannot make the digest wrong.
 */
#include "target/tcp/tx.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lu/buf.h"
#include "target/conn.h"
#include "target/flow.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/order.h"
#include "target/state/command.h"
#include "target/tcp/ring.h"
#include "target/tcp/tcp.h"
#include "target/tcp/txgen.h"
#include "target/txq.h"
#include "wire/pdu.h"

#define RING_BYTES (1u << 20)   /* data gathered for one send */
#define COPIES     (256u << 10) /* ... of it that is not memory of a LUN: a slow peer holds it */
#define ROUNDS_MAX 16u
#define IOV_LEN    (3 * TGT_RING)

/* Makes the PDU of ctl, which is freed unless it is kept. */
static void
ctl_next_pdu(struct tgt_conn *c, struct tgt_ctl *ctl, struct tgt_slot *slot)
{
    memcpy(slot->hdr, ctl->hdr, ISCSI_BHS_LEN);
    slot->data = ctl->data;
    slot->data_len = ctl->len;
    slot->close_after = ctl->close_after;
    if (!list_empty(&ctl->tx.kept)) {
        tgt_order_stamp_again(c, slot->hdr, ctl->tx.stat_sn);
        tgt_ctl_left(c, ctl);
        return;
    }
    tgt_order_stamp(c, slot->hdr, ctl->numbered);
    if (ctl->numbered && c->erl > 0) {
        tgt_ctl_left(c, ctl);
        tgt_keep(c, &ctl->tx, ctl->len);
        return;
    }
    if (ctl->data != NULL)
        tgt_slot_own(slot, ctl->data);
    ctl->data = NULL;
    tgt_ctl_free(c, ctl);
}

static void
seal(struct tgt_conn *c, struct tgt_slot *slot)
{
    struct bhs *h = (struct bhs *)(void *)slot->hdr;
    struct target *t = c->target;
    uint32_t pad = pdu_pad(slot->data_len);

    h->dseg_len = put24(slot->data_len);
    slot->hdr_len = ISCSI_BHS_LEN;
    slot->tail_len = 0;
    memset(slot->tail, 0, sizeof(slot->tail));
    if (c->header_digest) {
        pdu_header_digest(slot->hdr, ISCSI_BHS_LEN, slot->hdr + ISCSI_BHS_LEN);
        slot->hdr_len += PDU_DIGEST_LEN;
        if (tgt_hook(t->hook, TGT_HOOK_HEADER, NULL))
            slot->hdr[ISCSI_BHS_LEN] ^= 0xff;
    }
    if (slot->data_len == 0)
        return;
    slot->digest = c->data_digest;
    slot->tail_len = (uint8_t)(pad + (slot->digest ? PDU_DIGEST_LEN : 0));
    if (pdu_opcode(h) == ISCSI_OP_DATA_IN)
        slot->corrupt = tgt_hook(t->hook, TGT_HOOK_DATA_IN, NULL);
}

/* Makes the next PDU of what is first in txq; takes it out when it is done. */
static bool
make_one(struct tgt_conn *c, struct tgt_slot *slot)
{
    struct tgt_tx *tx = container_of(c->txq.next, struct tgt_tx, link);
    struct tgt_ctl *ctl = container_of(tx, struct tgt_ctl, tx);
    void (*made)(struct tgt_conn * c) = NULL;

    *slot = (struct tgt_slot){.data = NULL};
    if (tx->is_cmd) {
        if (!tgt_cmd_next_pdu(container_of(tx, struct tgt_cmd, tx), slot))
            return false;
    } else {
        list_del(&tx->link);
        made = ctl->made;
        ctl_next_pdu(c, ctl, slot);
    }
    seal(c, slot);
    if (made != NULL)
        made(c);
    return true;
}

/* The PDU in the slot leaves twice, if there is room for it. */
static void
repeat(struct tgt_ring *r, struct tgt_slot *slot)
{
    struct tgt_slot *again;

    if (r->count == TGT_RING)
        return;
    again = tgt_slot_at(r, r->count++);
    *again = *slot;
    if (slot->data == slot->small)
        again->data = again->small;
    slot->owned = NULL; /* it lasts until the second one has left */
}

/* A fault decides about the PDU that was made in the slot behind the others. */
static void
tx_strike(struct tgt_tcp *f, struct tgt_slot *slot)
{
    struct tgt_ring *r = f->ring;
    uint32_t what = tgt_hook(f->c.target->hook, TGT_HOOK_SENDS, slot->hdr);

    if (what == TGT_HOOK_LOST) {
        if (slot->owned != NULL)
            tgt_ring_release(f, slot->owned); /* PDUs before it may be of the same memory */
        return;
    }
    r->count++;
    if (what == TGT_HOOK_TWICE)
        repeat(r, slot);
}

static void
count_data(const struct tgt_slot *slot, uint32_t *bytes, uint32_t *copies)
{
    *bytes += slot->data_len;
    *copies += slot->copied ? slot->data_len : 0;
}

static void
tx_fill(struct tgt_tcp *f)
{
    struct tgt_ring *r = f->ring;
    uint32_t bytes = 0, copies = 0;

    for (uint32_t i = 0; i < r->count; i++)
        count_data(tgt_slot_at(r, i), &bytes, &copies);
    while (r->count < TGT_RING && bytes < RING_BYTES && copies < COPIES && !list_empty(&f->c.txq)) {
        struct tgt_slot *slot = tgt_slot_at(r, r->count);

        if (make_one(&f->c, slot)) {
            count_data(slot, &bytes, &copies);
            if (f->c.target->hook != NULL && f->c.erl > 0)
                tx_strike(f, slot);
            else
                r->count++;
        }
    }
}

static void
put_digest(struct tgt_slot *slot)
{
    uint32_t crc = crc32c_update(CRC32C_INIT, slot->data, slot->data_len);
    uint32_t pad = pdu_pad(slot->data_len);

    pdu_digest_put(slot->tail + pad, pdu_crc_zero_pad(crc, slot->data_len));
    if (slot->corrupt)
        slot->tail[pad] ^= 0xff;
}

static void
tx_add_piece(struct iovec *iov, int *n, const void *p, size_t len, size_t *skip)
{
    if (*skip >= len) {
        *skip -= len;
        return;
    }
    iov[(*n)++] = (struct iovec){(uint8_t *)(uintptr_t)p + *skip, len - *skip};
    *skip = 0;
}

static int
tx_collect(struct tgt_ring *r, struct iovec *iov, size_t *total)
{
    size_t skip = r->sent;
    int n = 0;

    *total = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        struct tgt_slot *slot = tgt_slot_at(r, i);

        if (slot->digest)
            put_digest(slot);
        tx_add_piece(iov, &n, slot->hdr, slot->hdr_len, &skip);
        tx_add_piece(iov, &n, slot->data, slot->data_len, &skip);
        tx_add_piece(iov, &n, slot->tail, slot->tail_len, &skip);
        *total += (size_t)slot->hdr_len + slot->data_len + slot->tail_len;
    }
    *total -= r->sent;
    return n;
}

/* The data of a PDU that has begun to leave must not change under its digest. */
static bool
freeze(struct tgt_ring *r)
{
    struct tgt_slot *slot = tgt_slot_at(r, 0);
    size_t gone, rest;

    if (r->count == 0 || !slot->digest || r->sent <= slot->hdr_len)
        return true;
    gone = r->sent - slot->hdr_len;
    if (gone > slot->data_len)
        gone = slot->data_len;
    rest = slot->data_len - gone;
    if (rest > r->bounce_size) {
        uint8_t *p = realloc(r->bounce, rest);

        if (p == NULL)
            return false;
        r->bounce = p;
        r->bounce_size = (uint32_t)rest;
    }
    if (rest > 0)
        memcpy(r->bounce, slot->data + gone, rest);
    r->sent -= slot->hdr_len + gone;
    slot->hdr_len = 0;
    slot->data = r->bounce;
    slot->data_len = (uint32_t)rest;
    slot->digest = false;
    return true;
}

/* False: a PDU that ends the connection has left. */
static bool
consume(struct tgt_ring *r, size_t n)
{
    bool go_on = true;

    r->sent += n;
    while (r->count > 0) {
        struct tgt_slot *slot = tgt_slot_at(r, 0);
        size_t len = (size_t)slot->hdr_len + slot->data_len + slot->tail_len;

        if (r->sent < len)
            break;
        r->sent -= len;
        lu_buf_free(slot->owned);
        slot->owned = NULL;
        go_on = go_on && !slot->close_after;
        r->head = (r->head + 1) % TGT_RING;
        r->count--;
    }
    return go_on;
}

/* One send.  False: stop, for good or until ->writable. */
static bool
send_some(struct tgt_tcp *f)
{
    struct iovec iov[IOV_LEN];
    size_t total;
    ssize_t r;
    int n;

    tx_fill(f);
    if (f->ring->count == 0)
        return false;
    n = tx_collect(f->ring, iov, &total);
    r = stream_sendv(f->stream, iov, n, total);
    if (r < 0 && r != -EAGAIN) {
        tgt_conn_kill(&f->c, errno_text((int)-r));
        return false;
    }
    if (r > 0 && !consume(f->ring, (size_t)r)) {
        tgt_conn_kill(&f->c, NULL);
        return false;
    }
    if (r < 0 || (size_t)r < total) {
        f->c.blocked = true;
        if (!freeze(f->ring))
            tgt_conn_kill(&f->c, "out of memory");
        return false;
    }
    return !list_empty(&f->c.txq);
}

/* All of it has left. */
static void
return_ring(struct tgt_tcp *f)
{
    assert(f->ring->count == 0 && f->ring->sent == 0);
    list_push_front(&f->c.target->free_rings, &f->ring->link);
    f->ring = NULL;
}

void
tgt_tx_flush(struct loop_work *w)
{
    struct tgt_tcp *f = container_of(w, struct tgt_tcp, c.flush);

    assert(f->c.state != TGT_CONN_DEAD);
    if (f->c.blocked || f->c.held_back)
        return;
    if (f->ring == NULL)
        f->ring = tgt_ring_borrow(f->c.target);
    if (f->ring == NULL) {
        tgt_conn_kill(&f->c, "out of memory");
        return;
    }
    for (unsigned i = 0; send_some(f); i++) {
        if (i == ROUNDS_MAX) { /* fairness: the others first */
            loop_defer(f->c.target->loop, &f->c.flush);
            break;
        }
    }
    if (f->c.state == TGT_CONN_DEAD)
        return;
    if (f->ring->count == 0)
        return_ring(f);
    tgt_flow_sent(&f->c);
}

void
tgt_tx_writable(void *user)
{
    struct tgt_tcp *f = user;

    f->c.blocked = false;
    f->c.alive_ns = f->c.target->loop->now_ns;
    loop_defer(f->c.target->loop, &f->c.flush);
}
