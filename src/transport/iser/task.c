/* SPDX-License-Identifier: MIT */
/* transport/iser/task.c - PDUs out, and the end of tasks.
 *
 * alloc_pdu takes all that the PDU of a task will need, or nothing: a header slot, places for its
 * data, windows, places in the send queue.
 */
#include <assert.h>
#include <errno.h>

#include "base/trace.h"
#include "transport/iser/internal.h"
#include "wire/flight.h"
#include "wire/pdu.h"

/* ---- out ------------------------------------------------------------------------------------ */

static int
iser_full(struct iser_ep *e)
{
    e->want_xmit = true;
    return -EAGAIN;
}

/* Gives back what a PDU that does not come about has got. */
static int
iser_unalloc(struct iser_ep *e, struct iser_task *it)
{
    struct iser_tx *tx = it->tx;

    iser_data_release(e, &it->in);
    iser_data_release(e, &it->out);
    if (tx->block != NULL)
        iser_pool_give(&e->pool, tx->block);
    tx->block = NULL;
    e->free_tx[e->nfree_tx++] = (uint32_t)(tx - e->tx);
    it->tx = NULL;
    return iser_full(e);
}

static int
alloc_command(struct iser_ep *e, struct iser_task *it, const struct iscsi_task *t)
{
    const struct scsi_cmd *sc = t->sc;
    uint32_t out = sc->out.len, in = sc->in.len;
    bool immediate = iscsi_is_immediate(t->conn, sc);
    uint32_t nmw = 0;

    if (e->way == ISER_WAY_WINDOW)
        nmw = (in > 0 ? 1u : 0) + (out > 0 && !immediate ? 1u : 0);
    if (e->cmds >= e->limit || !iser_has_room(e, 1 + nmw, nmw))
        return iser_full(e);
    it->tx = iser_tx_take(e, false);
    if (it->tx == NULL)
        return iser_full(e);
    if (immediate) {
        it->tx->block = iser_pool_take(&e->pool, out + pdu_pad(out));
        it->tx->data = it->tx->block;
        if (it->tx->block == NULL)
            return iser_unalloc(e, it);
    }
    if ((out > 0 && !immediate && iser_data_place(e, &it->out, &sc->out, true) < 0) ||
        (in > 0 && iser_data_place(e, &it->in, &sc->in, false) < 0))
        return iser_unalloc(e, it);
    e->cmds++;
    return 0;
}

static int
alloc_control(struct iser_ep *e, struct iser_task *it, const struct iscsi_task *t)
{
    if (!iser_has_room(e, 1, 0))
        return iser_full(e);
    it->tx = iser_tx_take(e, t->data_len > 0);
    return it->tx != NULL ? 0 : iser_full(e);
}

int
iser_alloc_pdu(struct iscsi_task *t, uint8_t opcode)
{
    struct iser_task *it = t->dd_data;
    struct iser_ep *e = iser_conn_of(t->conn)->ep;
    int r;

    (void)opcode;
    if (e == NULL || !iser_ep_works(e))
        return -ENOTCONN;
    assert(it->ep == NULL && it->tx == NULL);
    it->closed_at = 0;
    r = t->sc != NULL ? alloc_command(e, it, t) : alloc_control(e, it, t);
    if (r < 0)
        return r;
    it->ep = e;
    t->hdr = (void *)(it->tx->hdr + ISER_LEN);
    t->hdr_max = ISCSI_HDR_MAX - PDU_DIGEST_LEN;
    return 0;
}

/* Data behind the header, with its padding. */
static void
iser_put_data(struct iser_tx *tx, const struct iscsi_task *t, uint32_t len)
{
    uint32_t pad = pdu_pad(len);

    if (t->sc != NULL) {
        struct sg_cursor at;

        sg_cursor_init(&at, &t->sc->out);
        sg_copy_from(&at, &t->sc->out, tx->data, len);
    } else {
        memcpy(tx->data, t->data, len);
    }
    memset(tx->data + len, 0, pad);
    tx->data_len = len + pad;
    t->conn->stats.txdata_octets += len;
}

/* Those who look on see the PDU as iSCSI has it: without iSER header. */
static void
show_sent(struct iscsi_conn *c, struct iser_tx *tx)
{
    uint8_t *hdr = tx->hdr + ISER_LEN;
    uint32_t pad = pdu_pad(pdu_dseg_len((const struct bhs *)(void *)hdr));

    if (c->flight != NULL) {
        memset(hdr + tx->hdr_len, 0, pad); /* the slot has room for a digest there */
        flight_now(c->flight, c->loop->now_ns);
        flight_tx(c->flight, hdr, tx->hdr_len + pad);
    }
    if (__builtin_expect(c->tap != NULL, 0)) {
        c->tap->begin(c->tap->user, c, true, hdr, tx->hdr_len, tx->data_len);
        if (tx->data_len > 0)
            c->tap->more(c->tap->user, c, true, tx->data, tx->data_len);
    }
}

static struct iser_stag
stag_of_data(const struct iser_data *d)
{
    return (struct iser_stag){.stag = d->stag, .base = (uintptr_t)d->at};
}

int
iser_init_task(struct iscsi_task *t)
{
    struct iser_task *it = t->dd_data;
    struct iser_tx *tx = it->tx;
    uint32_t len = t->sc != NULL ? t->imm_count : t->data_len;
    struct iser_stag in, out;

    TRACE(t->conn->loop, init_task, t->itt, 0);
    assert(t->hdr_len <= t->hdr_max && len <= ISER_DSEG_MAX);
    assert(t->sc == NULL || (t->unsol.len == 0 && len == (tx->data != NULL ? t->sc->out.len : 0)));
    tx->hdr_len = t->hdr_len;
    if (len > 0)
        iser_put_data(tx, t, len);
    if (it->out.at != NULL)
        iser_data_fill(&it->out, &t->sc->out);
    /* The binds go before the Send that tells of them, on the same queue. */
    if (it->out.at != NULL)
        iser_post_bind(it->ep, &it->out, true);
    if (it->in.at != NULL)
        iser_post_bind(it->ep, &it->in, false);
    out = stag_of_data(&it->out);
    in = stag_of_data(&it->in);
    iser_put((struct iser_hdr *)(void *)tx->hdr, it->out.at != NULL ? &out : NULL,
             it->in.at != NULL ? &in : NULL);
    show_sent(t->conn, tx);
    return 0;
}

int
iser_xmit_task(struct iscsi_task *t)
{
    struct iser_task *it = t->dd_data;
    struct iser_tx *tx = it->tx;

    TRACE(t->conn->loop, xmit_task, t->itt, 0);
    assert(tx != NULL);
    it->tx = NULL;
    iser_post_tx(it->ep, tx);
    if (t->sc == NULL)
        it->ep = NULL; /* what it has left is the Send's */
    return 0;
}

void
iser_xmit_flush(struct iscsi_conn *c)
{
    struct iser_ep *e = iser_conn_of(c)->ep;

    if (e != NULL)
        iser_flush(e);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
release_task(struct iser_ep *e, struct iser_task *it)
{
    iser_data_release(e, &it->in);
    iser_data_release(e, &it->out);
    it->ep = NULL;
    assert(e->cmds > 0);
    e->cmds--;
}

/* The connection is closed, and all that was of it is gone. */
static void
forget_task(struct iser_task *it)
{
    it->in = it->out = (struct iser_data){.at = NULL};
    it->tx = NULL;
    it->ep = NULL;
}

/* Whether the device may yet use the task's memory, or a block that will be another's.  Of a
 * connection that has ended that is so until it is closed. */
static bool
task_is_held(struct iser_ep *e, struct iser_task *it)
{
    bool has_stags = it->in.at != NULL || it->out.at != NULL;

    if (!iser_ep_works(e))
        return has_stags;
    if (iser_post_close(e, it) == 0)
        return false;
    if (!e->in_event)
        iser_flush(e);
    return true;
}

int
iser_cleanup_task(struct iscsi_task *t)
{
    struct iser_task *it = t->dd_data;
    struct iser_ep *e = it->ep;

    TRACE(t->conn->loop, cleanup_task, t->itt, 0);
    if (e == NULL)
        return 0;
    if (iser_conn_of(t->conn)->ep != e) {
        forget_task(it);
        return 0;
    }
    if (t->sc != NULL && task_is_held(e, it)) {
        it->task = t;
        list_push_back(&e->cleanups, &it->cleanup);
        return -EINPROGRESS;
    }
    if (t->sc != NULL)
        release_task(e, it);
    else
        forget_task(it);
    iser_tell_room(e);
    return 0;
}

void
iser_tell_room(struct iser_ep *e)
{
    if (!e->want_xmit || e->conn == NULL || e->in_event)
        return;
    loop_defer(e->pub->loop, &e->conn->room_work);
}

/* The first that nothing holds any more; NULL: there is none. */
static struct iser_task *
next_cleaned(const struct iser_ep *e, bool all)
{
    LIST_FOREACH (n, &e->cleanups) {
        struct iser_task *it = container_of(n, struct iser_task, cleanup);

        if (all || (iser_ep_works(e) && it->closed_at <= e->done))
            return it;
    }
    return NULL;
}

void
iser_finish_cleanups(struct iser_ep *e, bool all)
{
    struct iser_task *it;

    while ((it = next_cleaned(e, all)) != NULL) { /* whoever is told may do anything */
        struct iscsi_task *t = it->task;

        list_del(&it->cleanup);
        it->task = NULL;
        if (all)
            forget_task(it);
        else
            release_task(e, it);
        t->conn->up->task_cleaned(t);
    }
}
