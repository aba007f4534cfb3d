/* SPDX-License-Identifier: MIT */
/* tests/conformance/path_stream.c - a path of streams. */
#include <assert.h>
#include <stdlib.h>

#include "tests/conformance/path_priv.h"
#include "wire/pdu.h"

#define PIECE (256u << 10)

/* Bytes that wait, from `from` to `len`. */
struct heap {
    uint8_t *p;
    size_t from, len, room;
};

/* One way of a link: in comes from the one end, out goes to the other. */
struct flow {
    struct heap in, out;
    unsigned pdus;
    enum conform_verdict verdict;
    bool ended;
};

struct link {
    struct list node;
    struct stream_path *path;
    unsigned number;
    struct stream *end[CONFORM_WAYS]; /* where that way leads to; NULL: there is none any more */
    bool up;                          /* the target has been reached */
    struct flow flow[CONFORM_WAYS];
};

struct stream_path {
    struct conform_path base;
    struct stream *listener;
    struct list links;
    bool deaf;
    struct loop_work again;
};

static struct stream_path *
of_streams(const struct conform_path *p)
{
    return container_of((struct conform_path *)(uintptr_t)p, struct stream_path, base);
}

static void
heap_put(struct heap *h, const void *p, size_t len)
{
    if (h->from == h->len)
        h->from = h->len = 0;
    if (h->len + len > h->room) {
        h->room = 2 * (h->len + len);
        h->p = realloc(h->p, h->room);
        assert(h->p != NULL);
    }
    memcpy(h->p + h->len, p, len);
    h->len += len;
}

static void
link_free(struct link *l)
{
    list_del(&l->node);
    for (int way = 0; way < CONFORM_WAYS; way++) {
        if (l->end[way] != NULL)
            stream_close(l->end[way]);
        free(l->flow[way].in.p);
        free(l->flow[way].out.p);
    }
    free(l);
}

static void
link_cut(struct link *l, bool in_order)
{
    for (int way = 0; way < CONFORM_WAYS; way++) {
        if (l->end[way] != NULL && !in_order) {
            stream_reset(l->end[way]);
            l->end[way] = NULL;
        }
    }
    l->path->base.counts.cuts++;
    link_free(l);
}

/* Sends what waits.  False: the link is gone. */
static bool
flow_send(struct link *l, enum conform_way way)
{
    struct flow *f = &l->flow[way];

    while (l->end[way] != NULL && (l->up || way == CONFORM_TO_INITIATOR) &&
           f->out.from < f->out.len) {
        struct iovec iov = {f->out.p + f->out.from, f->out.len - f->out.from};
        ssize_t n = stream_sendv(l->end[way], &iov, 1, iov.iov_len);

        if (n == -EAGAIN)
            return true;
        if (n < 0) {
            link_free(l);
            return false;
        }
        f->out.from += (size_t)n;
        if ((size_t)n < iov.iov_len)
            return true;
    }
    if (f->ended && f->in.from == f->in.len && f->out.from == f->out.len && l->up) {
        link_free(l); /* one end has closed: the other hears of it when it has all that came */
        return false;
    }
    return true;
}

static bool
is_login(const struct bhs *h)
{
    return pdu_opcode(h) == ISCSI_OP_LOGIN_REQ || pdu_opcode(h) == ISCSI_OP_LOGIN_RSP;
}

/* Whole PDUs go on.  False: the link is gone. */
static bool
flow_forward(struct link *l, enum conform_way way)
{
    struct conform_path *p = &l->path->base;
    struct flow *f = &l->flow[way];

    while (f->in.len - f->in.from >= ISCSI_BHS_LEN && !p->held[way]) {
        union bhs_any h;
        struct conform_pdu pdu = {.way = way, .link = l->number, .number = f->pdus + 1, .h = &h};
        size_t len;

        memcpy(&h, f->in.p + f->in.from, sizeof(h));
        len = ISCSI_BHS_LEN + pdu_trailer(&h.h, p->header_digest && !is_login(&h.h),
                                          p->data_digest && !is_login(&h.h));
        if (f->in.len - f->in.from < len)
            break;
        pdu.data_len = pdu_dseg_len(&h.h);
        if (!conform_path_ask(p, &pdu, &f->verdict))
            break;
        f->pdus++;
        memcpy(f->in.p + f->in.from, &h, sizeof(h));
        if (f->verdict == CONFORM_PASS || f->verdict == CONFORM_CUT_BEHIND)
            heap_put(&f->out, f->in.p + f->in.from, len);
        else if (f->verdict == CONFORM_CUT_INSIDE)
            heap_put(&f->out, f->in.p + f->in.from, len / 2);
        f->in.from += len;
        if (f->verdict > CONFORM_DROP) {
            if (flow_send(l, way))
                link_cut(l, f->verdict != CONFORM_CUT_BEFORE);
            return false;
        }
    }
    if (f->ended && f->in.from < f->in.len && !p->held[way]) { /* in the middle of a PDU */
        heap_put(&f->out, f->in.p + f->in.from, f->in.len - f->in.from);
        f->in.from = f->in.len;
    }
    return flow_send(l, way);
}

static void
flow_receive(struct link *l, enum conform_way way)
{
    static uint8_t piece[PIECE];
    struct stream *from = l->end[1 - way];
    struct iovec iov = {piece, sizeof(piece)};
    ssize_t n = stream_recvv(from, &iov, 1);

    if (n == -EAGAIN)
        return;
    if (n < 0) {
        link_free(l);
        return;
    }
    if (n == 0)
        l->flow[way].ended = true;
    else
        heap_put(&l->flow[way].in, piece, (size_t)n);
    (void)flow_forward(l, way);
}

static void
initiator_readable(void *user)
{
    flow_receive(user, CONFORM_TO_TARGET);
}

static void
target_readable(void *user)
{
    flow_receive(user, CONFORM_TO_INITIATOR);
}

static void
initiator_writable(void *user)
{
    (void)flow_send(user, CONFORM_TO_INITIATOR);
}

static void
target_writable(void *user)
{
    (void)flow_send(user, CONFORM_TO_TARGET);
}

static void
target_connected(void *user, int err)
{
    struct link *l = user;

    if (err < 0) {
        link_cut(l, false);
        return;
    }
    l->up = true;
    (void)flow_send(l, CONFORM_TO_TARGET);
}

static const struct stream_events initiator_events = {.readable = initiator_readable,
                                                      .writable = initiator_writable};
static const struct stream_events deaf_events = {.writable = initiator_writable};
static const struct stream_events target_events = {
    .connected = target_connected, .readable = target_readable, .writable = target_writable};

static void
path_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    const struct stream_opts opts = {.nodelay = true};
    struct stream_path *p = user;
    struct link *l;

    (void)peer;
    if (p->base.refuse) {
        stream_reset(s);
        return;
    }
    l = calloc(1, sizeof(*l));
    assert(l != NULL);
    l->path = p;
    l->number = ++p->base.counts.links;
    list_push_back(&p->links, &l->node);
    l->end[CONFORM_TO_INITIATOR] = s;
    (void)stream_set_opts(s, &opts);
    stream_set_events(s, p->deaf ? &deaf_events : &initiator_events, l);
    if (stream_connect(p->base.loop, &p->base.to, &opts, &target_events, l,
                       &l->end[CONFORM_TO_TARGET]) < 0)
        link_cut(l, false);
}

/* What was held goes on. */
static void
path_again(struct loop_work *w)
{
    struct stream_path *p = container_of(w, struct stream_path, again);

    LIST_FOREACH_SAFE (n, &p->links) {
        struct link *l = container_of(n, struct link, node);

        if (flow_forward(l, CONFORM_TO_TARGET))
            (void)flow_forward(l, CONFORM_TO_INITIATOR);
    }
}

static const struct stream_events listener_events = {.accepted = path_accepted};

static int
streams_open(struct loop *l, const struct sock_addr *at, int adopted, struct conform_path **ret,
             struct sock_addr *ret_at)
{
    struct stream_path *p = calloc(1, sizeof(*p));
    int r;

    assert(p != NULL);
    list_init(&p->links);
    loop_work_init(&p->again, path_again);
    if (adopted >= 0)
        r = stream_adopt_listener(l, adopted, &listener_events, p, &p->listener);
    else
        r = stream_listen(l, at, &listener_events, p, &p->listener, ret_at);
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = &p->base;
    return 0;
}

static void
streams_free(struct conform_path *base)
{
    struct stream_path *p = of_streams(base);

    LIST_FOREACH_SAFE (n, &p->links)
        link_free(container_of(n, struct link, node));
    loop_defer_cancel(&p->again);
    stream_close(p->listener);
    free(p);
}

static void
streams_go_on(struct conform_path *p)
{
    loop_defer(p->loop, &of_streams(p)->again);
}

static uint64_t
streams_kept(const struct conform_path *p, enum conform_way way)
{
    uint64_t bytes = 0;

    LIST_FOREACH (n, &of_streams(p)->links) {
        const struct heap *h = &container_of(n, struct link, node)->flow[way].in;

        bytes += h->len - h->from;
    }
    return bytes;
}

static void
streams_deafen(struct conform_path *base, bool on)
{
    struct stream_path *p = of_streams(base);

    p->deaf = on;
    LIST_FOREACH (n, &p->links) {
        struct link *l = container_of(n, struct link, node);

        stream_set_events(l->end[CONFORM_TO_INITIATOR], on ? &deaf_events : &initiator_events, l);
    }
}

static void
streams_cut(struct conform_path *p, bool in_order)
{
    LIST_FOREACH_SAFE (n, &of_streams(p)->links)
        link_cut(container_of(n, struct link, node), in_order);
}

static unsigned
streams_links(const struct conform_path *p)
{
    unsigned n = 0;

    LIST_FOREACH (i, &of_streams(p)->links)
        n++;
    return n;
}

const struct conform_path_kind conform_path_streams = {.open = streams_open,
                                                       .free = streams_free,
                                                       .go_on = streams_go_on,
                                                       .kept = streams_kept,
                                                       .deafen = streams_deafen,
                                                       .cut = streams_cut,
                                                       .links = streams_links};
