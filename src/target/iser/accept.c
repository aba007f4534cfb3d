/* SPDX-License-Identifier: MIT */
#include "target/iser/accept.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lu/buf.h"
#include "target/conn.h"
#include "target/iser/iser.h"
#include "target/iser/memory.h"
#include "target/iser/rx.h"
#include "target/iser/tx.h"
#include "target/serve.h"
#include "target/state/node.h"

/* ---- The face ------------------------------------------------------------------------------- */

static int
face_prepare(struct tgt_conn *c, uint32_t commands, struct lunette_error *err)
{
    return commands > 0 ? tgt_memory_grow(tgt_iser(c), commands, err) : 0;
}

/* What comes is held in its receives, which are not posted again: the initiator's next messages
 * wait on its side. */
static void
face_pause(struct tgt_conn *c, bool on)
{
    (void)c;
    (void)on;
}

static void
face_release(struct tgt_conn *c, void *buf)
{
    (void)c;
    lu_buf_free(buf); /* what leaves has been copied */
}

static void
face_close(struct tgt_conn *c)
{
    struct tgt_iser *f = tgt_iser(c);

    rnic_close(f->ep); /* the fence: no device uses the slabs any more */
    f->ep = NULL;
    c->target->stats.conns_rdma--;
}

static void
face_free(struct tgt_conn *c)
{
    struct tgt_iser *f = tgt_iser(c);

    assert(f->ep == NULL);
    tgt_memory_fini(f);
    free(f);
}

static const struct tgt_face iser_face = {
    .name = "iSER",
    .prepare = face_prepare,
    .receive = tgt_iser_receive,
    .flush = tgt_iser_flush,
    .pause = face_pause,
    .release = face_release,
    .forget = tgt_iser_forget,
    .close = face_close,
    .free = face_free,
};

/* ---- What the device tells ------------------------------------------------------------------ */

static void
peer_is_up(void *user, const void *private_data, size_t len)
{
    struct tgt_iser *f = user;
    struct sock_addr local, peer;

    (void)private_data; /* the request had it */
    (void)len;
    f->up = true;
    if (rnic_names(f->ep, &local, &peer) == 0) {
        f->c.local = local;
        f->c.peer = peer;
    }
}

static void
peer_has_left(void *user, int err, const char *why)
{
    struct tgt_iser *f = user;

    (void)err;
    tgt_conn_kill(&f->c, why);
}

/* Why a request that failed ends the connection. */
static void
request_has_failed(struct tgt_iser *f, const struct rnic_wc *wc)
{
    static const char *const whys[RNIC_STATUS_COUNT] = {
        [RNIC_OK] = "it went well",
        [RNIC_FLUSHED] = "the connection has ended",
        [RNIC_TOO_LONG] = "the message is longer than what was agreed on",
        [RNIC_LOCAL_ERROR] = ("the device finds fault with it, or the initiator has invalidated "
                              "what it may not"),
        [RNIC_REMOTE_ACCESS] = "the initiator's memory is not open to it",
        [RNIC_REMOTE_ERROR] = "the initiator could not take it",
        [RNIC_NO_ANSWER] = "the initiator, or the way to it, is gone",
    };
    const char *what = wc->recv ? "a receive" : tgt_iser_request_name(f, wc->id);
    char why[160];

    (void)snprintf(why, sizeof(why), "%s failed: %s", what,
                   wc->status < RNIC_STATUS_COUNT ? whys[wc->status] : "for an unknown reason");
    tgt_conn_kill(&f->c, why);
}

static void
requests_done(void *user, const struct rnic_wc *wc, unsigned n)
{
    struct tgt_iser *f = user;
    bool came = false;

    for (unsigned i = 0; i < n && f->c.state != TGT_CONN_DEAD; i++) {
        if (wc[i].status != RNIC_OK) {
            request_has_failed(f, &wc[i]);
        } else if (!wc[i].recv) {
            tgt_iser_done(f, wc[i].id);
        } else {
            tgt_iser_arrived(f, (uint32_t)wc[i].id, wc[i].len);
            came = true;
        }
    }
    if (!came || f->c.state == TGT_CONN_DEAD)
        return;
    f->c.alive_ns = f->c.target->loop->now_ns;
    tgt_iser_receive(&f->c);
}

static const struct rnic_events conn_events = {
    .established = peer_is_up, .ended = peer_has_left, .completed = requests_done};

/* ---- Listening ------------------------------------------------------------------------------ */

static void
refuse_rdma(struct target *t, struct rnic_ep *ep, struct tgt_iser *f, const struct sock_addr *peer,
            const char *why)
{
    char text[PORTAL_TEXT_MAX];

    log_line(t->loop->log, LOG_LEVEL_WARN, "%s: an iSER connection was refused: %s",
             sock_addr_format(peer, text, sizeof(text)), why);
    rnic_close(ep);
    if (f != NULL)
        tgt_memory_fini(f);
    free(f);
}

static int
take_peer(struct tgt_iser *f, struct lunette_error *err)
{
    uint8_t priv[ISER_PRIVATE_LEN];
    int r = tgt_memory_init(f, err);

    iser_put_private(priv, (uint8_t)(ISER_NO_ZBVA | (f->invalidates ? 0 : ISER_NO_SEND_INV)));
    return r < 0 ? r : rnic_accept(f->ep, priv, sizeof(priv), err);
}

static void
peer_asks(void *user, struct rnic_ep *ep, const struct sock_addr *peer, const void *private_data,
          size_t len)
{
    struct tgt_listener *l = user;
    struct target *t = l->target;
    struct lunette_error err;
    struct tgt_iser *f;

    if (!tgt_serve_room(t)) {
        refuse_rdma(t, ep, NULL, peer, "too many, or stopping");
        return;
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL) {
        refuse_rdma(t, ep, NULL, peer, "out of memory");
        return;
    }
    f->ep = ep;
    f->c.peer = *peer;
    f->c.local = l->bound;
    f->c.rdma = true;
    f->invalidates = !t->rdma_keeps_stags && iser_private_send_inv(private_data, len);
    rnic_set_events(ep, &conn_events, f);
    if (take_peer(f, &err) < 0) {
        refuse_rdma(t, ep, f, peer, err.msg);
        return;
    }
    t->stats.conns_rdma++;
    tgt_serve(t, &f->c, &iser_face);
}

/* The device is gone, or its address: nobody can come any more, and those that are here are told by
 * themselves. */
static void
listener_ended(void *user, int err, const char *why)
{
    struct tgt_listener *l = user;
    char text[PORTAL_TEXT_MAX];

    (void)err;
    log_line(l->target->loop->log, LOG_LEVEL_ERROR, "no longer listening for iSER on %s: %s",
             sock_addr_format(&l->bound, text, sizeof(text)), why);
    rnic_close(l->rnic);
    l->rnic = NULL;
}

static const struct rnic_events listener_events = {.requested = peer_asks, .ended = listener_ended};

int
tgt_iser_listen(struct tgt_listener *l, const struct sock_addr *at, struct lunette_error *err)
{
    const struct target *t = l->target;
    struct rnic_depth depth = {.send = TGT_ISER_SENDS, .recv = 0};

    for (uint32_t i = 0; i < t->nodes_count; i++) {
        if (depth.recv < t->nodes[i].queue_depth)
            depth.recv = t->nodes[i].queue_depth;
    }
    depth.recv += TGT_ISER_EXTRA_RECVS;
    return rnic_listen(t->loop, at, &depth, &listener_events, l, &l->rnic, &l->bound, err);
}
