/* SPDX-License-Identifier: MIT */
/* transport/iser/post.c - the send queue: what is to be posted is gathered, and posted together.
 *
 * Of what is posted together only the last tells when it is done.  Places in the queue are given
 * away by alloc_pdu, so that nothing which was promised a place waits for one; of each window that
 * is bound, the place of its invalidation is kept free.
 */
#include <assert.h>
#include <errno.h>

#include "transport/iser/internal.h"

void
iser_lost(struct iser_ep *e, enum iscsi_err err, const char *why)
{
    if (e->lost)
        return;
    e->lost = true;
    e->next -= e->nchain; /* these have not been posted */
    e->nchain = 0;
    if (e->rnic != NULL)
        rnic_disconnect(e->rnic);
    if (e->conn != NULL && !e->stopping)
        e->conn->conn->up->conn_failure(e->conn->conn, err, why);
}

bool
iser_has_room(const struct iser_ep *e, uint32_t wrs, uint32_t nmw)
{
    return e->next - e->done + e->bound + wrs + nmw <= e->caps.sends;
}

void
iser_flush(struct iser_ep *e)
{
    uint32_t n = e->nchain;
    int r;

    e->nchain = 0;
    if (n == 0)
        return;
    if (!iser_ep_works(e)) {
        e->next -= n;
        return;
    }
    e->chain[n - 1].quiet = false;
    r = rnic_post_send(e->rnic, e->chain, n);
    if (r == 0)
        return;
    e->unsure = true;
    iser_lost(e, ISCSI_ERR_CONN_CLOSED, "the RDMA device does not take what is to be sent");
}

uint64_t
iser_post(struct iser_ep *e, const struct rnic_wr *wr)
{
    struct rnic_wr *at;

    if (e->nchain == ISER_CHAIN)
        iser_flush(e);
    at = &e->chain[e->nchain++];
    *at = *wr;
    at->id = ++e->next;
    at->quiet = true;
    return e->next;
}

void
iser_post_bind(struct iser_ep *e, struct iser_data *d, bool target_reads)
{
    if (d->mw == NULL)
        return;
    d->stag = rnic_next_rkey(d->mw);
    d->open = true;
    e->bound++;
    (void)iser_post(e, &(struct rnic_wr){
                           .op = RNIC_BIND,
                           .bind = {.mw = d->mw,
                                    .mr = d->mr,
                                    .addr = d->at,
                                    .len = d->len,
                                    .access = target_reads ? RNIC_PEER_READS : RNIC_PEER_WRITES},
                       });
}

static void
close_window(struct iser_ep *e, struct iser_task *it, struct iser_data *d)
{
    if (!d->open)
        return;
    d->open = false;
    assert(e->bound > 0);
    e->bound--;
    it->closed_at = iser_post(e, &(struct rnic_wr){.op = RNIC_INVALIDATE, .invalidate = d->stag});
}

uint64_t
iser_post_close(struct iser_ep *e, struct iser_task *it)
{
    close_window(e, it, &it->in);
    close_window(e, it, &it->out);
    return it->closed_at > e->done ? it->closed_at : 0;
}

struct iser_tx *
iser_tx_take(struct iser_ep *e, bool text)
{
    struct iser_tx *tx;

    if (e->nfree_tx == 0 || (text && e->ntext == 0))
        return NULL;
    tx = &e->tx[e->free_tx[--e->nfree_tx]];
    assert(tx->block == NULL && tx->text == NULL);
    if (text)
        tx->text = e->text[--e->ntext];
    tx->data = tx->text;
    tx->data_len = 0;
    return tx;
}

void
iser_post_tx(struct iser_ep *e, struct iser_tx *tx)
{
    struct rnic_wr wr = {.op = RNIC_SEND, .nsge = 1};

    wr.sge[0] = (struct rnic_sge){tx->hdr, ISER_LEN + tx->hdr_len, e->arena_mr->lkey};
    if (tx->data_len > 0) {
        const struct rnic_mr *mr = tx->block != NULL ? e->pool_mr : e->arena_mr;

        wr.nsge = 2;
        wr.sge[1] = (struct rnic_sge){tx->data, tx->data_len, mr->lkey};
    }
    tx->at = iser_post(e, &wr);
    assert(e->nsent < e->ntx);
    e->sent[(e->sent_at + e->nsent++) % e->ntx] = (uint32_t)(tx - e->tx);
}

void
iser_sends_done(struct iser_ep *e, uint64_t at)
{
    if (at <= e->done || at > e->next) /* no device says so */
        return;
    e->done = at;
    while (e->nsent > 0) {
        uint32_t i = e->sent[e->sent_at];
        struct iser_tx *tx = &e->tx[i];

        if (tx->at > at)
            break;
        if (tx->block != NULL)
            iser_pool_give(&e->pool, tx->block);
        if (tx->text != NULL)
            e->text[e->ntext++] = tx->text;
        tx->block = NULL;
        tx->text = NULL;
        e->free_tx[e->nfree_tx++] = i;
        e->sent_at = (e->sent_at + 1) % e->ntx;
        e->nsent--;
    }
}
