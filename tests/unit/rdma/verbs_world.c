/* SPDX-License-Identifier: MIT */
#include "tests/unit/rdma/verbs_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX 16

struct loop_watch {
    struct list node;
    int fd;
    void (*readable)(void *user);
    void *user;
};

static struct loop_ops world_ops;

static struct verbs_world *
world_of(struct loop *l)
{
    return container_of(fake_of(l), struct verbs_world, f);
}

static int
world_watch(struct loop *l, int fd, void (*readable)(void *user), void *user,
            struct loop_watch **ret)
{
    struct loop_watch *w = calloc(1, sizeof(*w));

    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    *w = (struct loop_watch){.fd = fd, .readable = readable, .user = user};
    list_push_back(&world_of(l)->watches, &w->node);
    world_of(l)->nwatches++;
    *ret = w;
    return 0;
}

static void
world_unwatch(struct loop *l, struct loop_watch *w)
{
    list_del(&w->node);
    world_of(l)->nwatches--;
    free(w);
}

void
world_begin(struct verbs_world *w)
{
    fake_verbs_reset();
    memset(w, 0, sizeof(*w));
    fake_loop_init(&w->f, 1);
    world_ops = fake_loop_ops;
    world_ops.watch = world_watch;
    world_ops.unwatch = world_unwatch;
    w->f.l.ops = &world_ops;
    w->f.l.rnic = rdma_verbs;
    list_init(&w->watches);
}

void
world_end(struct verbs_world *w)
{
    assert_null(w->f.l.rnic_state);
    assert_int_equal(w->nwatches, 0);
    assert_true(list_empty(&w->f.deferred));
    assert_null(timerq_first(&w->f.timers));
    fake_verbs_nothing_left();
}

static bool
is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

void
call_only_watches(struct verbs_world *w)
{
    struct list done;

    list_init(&done);
    while (!list_empty(&w->watches)) {
        struct loop_watch *x = container_of(w->watches.next, struct loop_watch, node);

        list_del(&x->node);
        list_push_back(&done, &x->node);
        if (is_readable(x->fd))
            x->readable(x->user); /* may end it */
    }
    list_splice(&w->watches, &done);
}

void
world_turn(struct verbs_world *w)
{
    call_only_watches(w);
    for (w->rounds = 0; w->rounds < ROUNDS_MAX && !list_empty(&w->f.deferred); w->rounds++) {
        struct list works, *n;

        list_init(&works);
        list_splice(&works, &w->f.deferred);
        while ((n = list_pop_front(&works)) != NULL) {
            struct loop_work *k = container_of(n, struct loop_work, node);

            k->fn(k);
        }
    }
}

void
world_sleep(struct verbs_world *w, uint64_t ns)
{
    struct timerq_node *n;

    w->f.l.now_ns += ns;
    while ((n = timerq_first(&w->f.timers)) != NULL && n->when_ns <= w->f.l.now_ns) {
        struct loop_timer *t = container_of(n, struct loop_timer, node);

        timerq_del(&w->f.timers, n);
        t->fn(t);
    }
    world_turn(w);
}

/* ---- owners -----------------------------------------------------------------------------------
 */

const struct rnic_depth small_depth = {.send = 8, .recv = 4};

static void
note(struct owner *o, char c)
{
    size_t n = strlen(o->order);

    o->calls++;
    if (n + 1 < sizeof(o->order))
        o->order[n] = c;
}

static void
close_both(struct owner *o)
{
    owner_close(o);
    if (o->other != NULL)
        rnic_close(o->other);
    o->other = NULL;
}

static void
on_resolved(void *user)
{
    struct owner *o = user;

    o->resolved++;
    note(o, 'r');
    if (o->close_at_resolved)
        close_both(o);
}

static void
on_established(void *user, const void *data, size_t len)
{
    struct owner *o = user;

    o->established++;
    note(o, 'e');
    assert_true(len <= sizeof(o->private_data));
    o->private_len = len;
    if (len > 0)
        memcpy(o->private_data, data, len);
    if (o->close_at_established)
        close_both(o);
}

static void
on_ended(void *user, int err, const char *why)
{
    struct owner *o = user;

    o->ended++;
    note(o, 'x');
    o->err = err;
    assert_true(err < 0);
    assert_true(strlen(why) > 10);
    (void)snprintf(o->why, sizeof(o->why), "%s", why);
    if (o->close_at_ended)
        close_both(o);
}

static void
on_requested(void *user, struct rnic_ep *ep, const struct sock_addr *peer, const void *data,
             size_t len)
{
    struct owner *o = user, *a = o->accepted;

    o->requested++;
    note(o, 'q');
    o->private_len = len;
    if (len > 0)
        memcpy(o->private_data, data, len);
    assert_int_equal(peer->len, sizeof(struct sockaddr_in));
    assert_int_equal(((const struct sockaddr_in *)&peer->ss)->sin_port, htons(700));
    if (a == NULL) {
        rnic_close(ep);
    } else {
        a->ep = ep;
        rnic_set_events(ep, &owner_events, a);
    }
    if (o->close_at_requested)
        close_both(o);
}

static void
on_completed(void *user, const struct rnic_wc *wc, unsigned n)
{
    struct owner *o = user;

    assert_true(n > 0);
    note(o, 'c');
    for (unsigned i = 0; i < n && o->nwc < SEEN_MAX; i++)
        o->wc[o->nwc++] = wc[i];
    if (o->close_at_wc != 0 && o->nwc >= o->close_at_wc)
        close_both(o);
}

const struct rnic_events owner_events = {.resolved = on_resolved,
                                         .established = on_established,
                                         .ended = on_ended,
                                         .requested = on_requested,
                                         .completed = on_completed};

struct sock_addr
world_addr(const char *ip, uint16_t port)
{
    struct sock_addr a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&a.ss;

    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, ip, &in->sin_addr), 1);
    return a;
}

void
owner_init(struct owner *o, struct verbs_world *w)
{
    memset(o, 0, sizeof(*o));
    o->w = w;
}

int
owner_resolve(struct owner *o, const struct rnic_depth *depth)
{
    struct sock_addr to = world_addr("192.0.2.5", 3260);
    struct lunette_error err = {0};
    int r = rnic_resolve(&o->w->f.l, &to, NULL, depth, &owner_events, o, &o->ep, &err);

    if (r < 0) {
        assert_int_equal(err.code, r);
        (void)snprintf(o->why, sizeof(o->why), "%s", err.msg);
    } else {
        o->id = fake.id;
    }
    return r;
}

void
owner_ready(struct owner *o, const struct rnic_depth *depth)
{
    assert_int_equal(owner_resolve(o, depth), 0);
    fake_cm(o->id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    world_turn(o->w);
    assert_int_equal(o->calls, 0);
    fake_cm(o->id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    world_turn(o->w);
    assert_int_equal(o->resolved, 1);
    o->qp = fake_qp_of(o->id);
}

void
owner_up(struct owner *o, const struct rnic_depth *depth)
{
    const uint8_t answer[196] = {0xc0};

    owner_ready(o, depth);
    assert_int_equal(rnic_connect(o->ep, "\x80\0\0", 4, NULL), 0);
    fake_cm(o->id, RDMA_CM_EVENT_ESTABLISHED, 0, answer, sizeof(answer));
    world_turn(o->w);
    assert_int_equal(o->established, 1);
}

void
owner_close(struct owner *o)
{
    if (o->ep != NULL)
        rnic_close(o->ep);
    o->ep = NULL;
    o->qp = NULL;
}

int
owner_send(struct owner *o, uint64_t id, bool quiet)
{
    static char byte;
    const struct rnic_wr wr = {
        .id = id, .op = RNIC_SEND, .quiet = quiet, .nsge = 1, .sge = {{&byte, 1, 5}}};

    return rnic_post_send(o->ep, &wr, 1);
}

int
owner_recv(struct owner *o, uint64_t id)
{
    static char buf[64];
    const struct rnic_recv r = {.id = id, .sge = {buf, sizeof(buf), 6}};

    return rnic_post_recv(o->ep, &r, 1);
}
