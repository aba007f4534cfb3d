/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_net.c - streams of the simulator: connections between loops.
 *
 * What is sent to an end lies in its ring: first what it may read (`unread`),
 * then what is under way (`flying`), of which `segs` tells what arrives when.
 * A sender may fill the ring; it hears of room as TCP lets it hear.
 *
 * Lent bytes are not in the ring before they arrive: the sender's memory is read then and not when
 * it was sent, so that memory which was given back too early shows.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/sim_net.h"
#include "tests/support/steady_alloc.h"

#define ACCEPT_MAX 16
#define BACKLOG    1024
#define NEVER      UINT64_MAX
#define GIVE_UP_MS 900000 /* what TCP does without TCP_USER_TIMEOUT, about */
#define FIRST_PORT 40000

/* What a fault was asked for. */
struct rule {
    struct list node;
    bool any, refuse, stall, cut_next;
    struct sock_addr server;
    enum sim_cut how;
    uint64_t bytes[2]; /* to the client, to the server */
};

/* Addresses. */

static uint16_t *
port_of(struct sock_addr *a)
{
    return a->ss.ss_family == AF_INET ? &((struct sockaddr_in *)(void *)&a->ss)->sin_port
                                      : &((struct sockaddr_in6 *)(void *)&a->ss)->sin6_port;
}

static bool
is_known(const struct sock_addr *a)
{
    return a->ss.ss_family == AF_INET || a->ss.ss_family == AF_INET6 || is_local(a);
}

/* The end of a local socket that has no name. */
static struct sock_addr
unnamed(void)
{
    struct sock_addr a = {.len = sizeof(sa_family_t)};

    a.ss.ss_family = AF_UNIX;
    return a;
}

static bool
is_wildcard(const struct sock_addr *a)
{
    if (is_local(a))
        return false;
    if (a->ss.ss_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)&a->ss)->sin_addr.s_addr == INADDR_ANY;
    return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)&a->ss)->sin6_addr);
}

static bool
same_addr(const struct sock_addr *a, const struct sock_addr *b, bool wildcard)
{
    if (a->ss.ss_family != b->ss.ss_family)
        return false;
    if (is_local(a))
        return a->len == b->len && memcmp(&a->ss, &b->ss, a->len) == 0;
    if (a->ss.ss_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)&a->ss, *y = (const void *)&b->ss;

        return x->sin_port == y->sin_port && (wildcard || x->sin_addr.s_addr == y->sin_addr.s_addr);
    } else {
        const struct sockaddr_in6 *x = (const void *)&a->ss, *y = (const void *)&b->ss;

        return x->sin6_port == y->sin6_port &&
               (wildcard || memcmp(&x->sin6_addr, &y->sin6_addr, 16) == 0);
    }
}

static struct sim_stream *
find_listener(struct sim *sim, const struct sock_addr *to)
{
    LIST_FOREACH (n, &sim->listeners) {
        struct sim_stream *s = container_of(n, struct sim_stream, listener);

        if (same_addr(&s->at, to, is_wildcard(&s->at)))
            return s;
    }
    return NULL;
}

static uint16_t
next_port(struct sim *sim)
{
    uint16_t port = sim->next_port++;

    if (sim->next_port == 0)
        sim->next_port = FIRST_PORT;
    return htons(port);
}

static bool
rule_fits(const struct rule *r, const struct conn *c)
{
    /* Nothing happens to a local socket but what is asked for by its name. */
    return r->any ? !is_local(&c->server) : same_addr(&r->server, &c->server, false);
}

/* The ready list: the same logic as the kernel's edges and the real loop's flags. */

static bool
has_news(const struct sim_stream *s)
{
    if (s->closed || s->failed || s->cut_off || s->parked)
        return false;
    if (s->end == NULL)
        return !list_empty(&s->queue);
    if (s->connecting)
        return s->settled;
    return s->ev != NULL && ((s->readable && s->ev->readable != NULL) || (s->want_write && s->out));
}

void
sim_queue_if_news(struct sim_stream *s)
{
    if (has_news(s) && list_empty(&s->ready))
        list_push_back(&loop_of(s)->ready, &s->ready);
}

void
sim_tell(struct end *e)
{
    struct sim_stream *s = e->s;

    if (s == NULL)
        return;
    if (e->unread >= s->lowat || e->fin || e->err < 0 ||
        (e->unread > 0 && sim_chance(e->conn->sim, e->conn->sim->cfg.spurious_percent)))
        s->readable = true;
    if (e->err < 0)
        s->out = true;
    sim_queue_if_news(s);
}

/* Bytes and marks under way. */

static void
schedule_arrival(struct end *to)
{
    struct sim *sim = to->conn->sim;

    if (list_empty(&to->segs)) {
        sim_event_del(sim, &to->arrive);
        return;
    }
    sim_event_at(sim, &to->arrive, container_of(to->segs.next, struct seg, node)->at_ns);
}

void
sim_schedule_room(struct end *e)
{
    struct sim *sim = e->conn->sim;

    if (!e->room.node.queued)
        sim_event_at(sim, &e->room, sim->now_ns + sim_delay_ns(sim));
}

static void
drop_flying(struct end *to)
{
    struct list *n;

    while ((n = list_pop_front(&to->segs)) != NULL) {
        struct seg *s = container_of(n, struct seg, node);

        if (s->packet != NULL)
            sim_packet_free(to->conn->sim, s->packet);
        steady_free(s);
    }
    while ((n = list_pop_front(&to->loans)) != NULL)
        steady_free(container_of(n, struct loan, node));
    to->flying = 0;
    schedule_arrival(to);
}

/* The peer's acknowledgement: at once, or later than what it sends next. */
static void
send_ack(struct end *e)
{
    struct sim *sim = e->conn->sim;

    if (e->lend_min == 0 || e->ack.node.queued)
        return;
    e->acking = peer_of(e)->arrived;
    if (sim_below(sim, 2) == 0)
        e->acked = e->acking;
    else
        sim_event_at(sim, &e->ack, sim->now_ns + sim_delay_ns(sim));
}

static void
ack_due(struct sim_event *ev)
{
    struct end *e = container_of(ev, struct end, ack);

    if (e->conn->stalled || e->conn->lost)
        return;
    e->acked = e->acking;
    if (peer_of(e)->arrived > e->acked)
        send_ack(e);
}

void
sim_push_seg(struct end *to, enum seg_kind kind, size_t len, struct sim_packet *packet)
{
    struct sim *sim = to->conn->sim;
    struct seg *s = steady_calloc(1, sizeof(*s));
    uint64_t at = sim->now_ns + sim_delay_ns(sim) + to->conn->late_ns;

    s->at_ns = at > to->last_ns ? at : to->last_ns;
    s->kind = kind;
    s->len = len;
    s->packet = packet;
    to->last_ns = s->at_ns;
    to->flying += len;
    list_push_back(&to->segs, &s->node);
    schedule_arrival(to);
}

static void
conn_cut(struct conn *c, enum sim_cut how)
{
    if (c->severed)
        return;
    sim_note(c->sim, NOTE_CUT, c->id, how);
    c->severed = true;
    c->how = how;
    for (int i = 0; i < 2; i++) {
        struct end *e = &c->end[i];

        drop_flying(e);
        if (e->state != END_CLOSED) {
            sim_push_seg(e, how == SIM_RESET ? SEG_RST : SEG_FIN, 0, NULL);
            sim_schedule_room(e);
        }
    }
}

/* Shows bytes to whoever reads along.  Which of them is spoiled, counted from 1; 0: none. */
static uint32_t
tap(struct conn *c, bool to_server, const uint8_t *p, size_t len)
{
    struct sim_bytes b = {.conn = c->id, .to_server = to_server, .p = p, .len = len};

    return c->sim->tap != NULL && (len > 0 || p == NULL) ? c->sim->tap(c->sim->tap_user, &b) : 0;
}

/* What the client sends is shown as it is sent. */
static void
tap_sent(struct end *to, const struct iovec *iov, size_t len)
{
    for (size_t done = 0; done < len; iov++) {
        size_t n = iov->iov_len < len - done ? iov->iov_len : len - done;
        uint32_t bad = tap(to->conn, true, iov->iov_base, n);

        if (bad != 0)
            to->spoil_at = to->launched + done + bad - 1;
        done += n;
    }
}

/* What comes to the client is shown as it arrives: the last len unread bytes. */
static void
tap_arrived(struct end *to, size_t len)
{
    size_t pos = to->head + to->unread - len;

    while (len > 0) {
        size_t at = pos % to->cap, n = to->cap - at < len ? to->cap - at : len;
        uint32_t bad = tap(to->conn, false, to->ring + at, n);

        if (bad != 0)
            to->ring[at + bad - 1] ^= 0x10;
        pos += n;
        len -= n;
    }
}

static void
spoil(struct end *to, uint64_t first, size_t len)
{
    if (to->spoil_at < first || to->spoil_at - first >= len)
        return;
    to->ring[(to->head + to->unread + (to->spoil_at - first)) % to->cap] ^= 0x10;
    to->spoil_at = NEVER;
}

/* The next len bytes arrive: those that were lent are read now. */
static void
take_loans(struct end *to, size_t len)
{
    uint64_t end = to->arrived + len;

    LIST_FOREACH_SAFE (n, &to->loans) {
        struct loan *l = container_of(n, struct loan, node);
        size_t take = l->at + l->len <= end ? l->len : (size_t)(end - l->at);

        if (l->at >= end)
            break;
        for (size_t i = 0; i < take; i++)
            to->ring[(to->head + to->unread + (l->at - to->arrived) + i) % to->cap] = l->from[i];
        l->at += take;
        l->from += take;
        l->len -= take;
        if (l->len > 0)
            break;
        list_del(n);
        steady_free(l);
    }
    to->arrived = end;
}

static void
arrive_data(struct end *to, size_t len)
{
    size_t take = len;
    bool cut = false;

    to->flying -= len;
    take_loans(to, len);
    if (to->ring != NULL)
        spoil(to, to->arrived - len, len);
    if (to->state == END_CLOSED) { /* nobody is there */
        if (peer_of(to)->state != END_CLOSED)
            sim_push_seg(peer_of(to), SEG_RST, 0, NULL);
        return;
    }
    if (to->cut_left != NEVER) {
        cut = take >= to->cut_left;
        if (cut)
            take = (size_t)to->cut_left;
        to->cut_left -= take;
    }
    to->unread += take;
    if (to == &to->conn->end[0])
        tap_arrived(to, take);
    send_ack(peer_of(to));
    if (cut) /* which drops the rest, too */
        conn_cut(to->conn, to->conn->how);
}

static void
arrive_seg(struct end *to, const struct seg *s)
{
    sim_note(to->conn->sim, NOTE_ARRIVE, (uint64_t)to->conn->id << 8 | (uint64_t)s->kind, s->len);
    if (s->kind == SEG_DATA) {
        arrive_data(to, s->len);
    } else if (s->kind == SEG_PACKET) {
        sim_packet_arrive(to, s->packet);
    } else if (s->kind == SEG_FIN) {
        to->fin = true;
    } else if (to->err == 0) {
        to->err = -ECONNRESET;
        drop_flying(to);
    }
    /* A local socket is connected as soon as the listener has it: its end comes behind that. */
    if (to->s != NULL && to->s->connecting && !to->conn->packets &&
        (s->kind == SEG_FIN || s->kind == SEG_RST)) {
        to->s->connect_err = -ECONNRESET;
        to->s->settled = true;
    }
    sim_tell(to);
}

static void
arrive_due(struct sim_event *ev)
{
    struct end *to = container_of(ev, struct end, arrive);
    struct end *from = peer_of(to);
    struct sim *sim = to->conn->sim;

    if (to->conn->stalled || to->conn->lost) {
        uint64_t ms = from->user_timeout_ms > 0 ? from->user_timeout_ms : GIVE_UP_MS;

        if (!to->conn->packets && from->state == END_OPEN && to->flying > 0 &&
            !from->give_up.node.queued)
            sim_event_at(sim, &from->give_up, sim->now_ns + ms * LOOP_NS_PER_MS);
        return;
    }
    while (!list_empty(&to->segs)) {
        struct seg *s = container_of(to->segs.next, struct seg, node);

        if (s->at_ns > sim->now_ns)
            break;
        list_del(&s->node);
        arrive_seg(to, s);
        steady_free(s);
    }
    schedule_arrival(to);
}

static void
give_up_due(struct sim_event *ev)
{
    struct end *e = container_of(ev, struct end, give_up);

    if (e->err == 0)
        e->err = -ETIMEDOUT;
    e->conn->severed = true;
    e->conn->how = SIM_EOF; /* the peer learns of it when it sends */
    sim_tell(e);
}

static void
room_due(struct sim_event *ev)
{
    struct end *e = container_of(ev, struct end, room);
    struct end *to = peer_of(e);

    if (e->s == NULL || !e->s->want_write || e->conn->stalled || e->conn->lost)
        return;
    if (e->conn->packets && to->state != END_CLOSED && room_for(to) < e->room_wanted)
        return;
    if (e->conn->severed || e->conn->packets || room_for(to) >= to->cap / 3) {
        e->s->out = true;
        sim_queue_if_news(e->s);
    }
}

/* Connections. */

static void
conn_free(struct conn *c)
{
    for (int i = 0; i < 2; i++) {
        struct end *e = &c->end[i];

        drop_flying(e);
        sim_event_del(c->sim, &e->room);
        sim_event_del(c->sim, &e->give_up);
        sim_event_del(c->sim, &e->ack);
        sim_packets_drop(e);
        steady_free(e->ring);
    }
    sim_event_del(c->sim, &c->setup);
    sim_event_del(c->sim, &c->timeout);
    list_del(&c->node);
    steady_free(c);
}

/* What it has sent arrives, whether or not it has taken what was sent to it. */
static void
packets_end_close(struct end *e)
{
    struct end *to = peer_of(e);
    struct conn *c = e->conn;

    e->state = END_CLOSED;
    e->s = NULL;
    sim_event_del(c->sim, &e->room);
    sim_event_del(c->sim, &c->timeout);
    drop_flying(e);
    sim_packets_drop(e);
    if (to->state == END_CLOSED) {
        conn_free(c);
        return;
    }
    if (!c->severed)
        sim_push_seg(to, SEG_FIN, 0, NULL);
    sim_schedule_room(to); /* there is no more to wait for */
}

static void
end_close(struct end *e)
{
    struct end *to = peer_of(e);
    struct conn *c = e->conn;
    bool lent = !list_empty(&to->loans);

    if (c->packets) {
        packets_end_close(e);
        return;
    }
    e->state = END_CLOSED;
    e->s = NULL;
    if (e == &c->end[0])
        (void)tap(c, true, NULL, 0);
    sim_event_del(c->sim, &e->ack);
    if (lent)
        drop_flying(to);
    sim_event_del(c->sim, &e->room);
    sim_event_del(c->sim, &e->give_up);
    sim_event_del(c->sim, &c->timeout);
    if (to->state == END_CLOSED) {
        conn_free(c);
        return;
    }
    if (c->severed || e->err < 0)
        return;
    if (e->unread == 0 && !lent) {
        sim_push_seg(to, SEG_FIN, 0, NULL);
        return;
    }
    if (sim_below(c->sim, 2) == 0) /* a reset may overtake what it follows */
        drop_flying(to);
    sim_push_seg(to, SEG_RST, 0, NULL);
}

/* The next step of a connection attempt, when its packet arrives. */
static void
step_later(struct conn *c, void (*step)(struct conn *c))
{
    c->next_step = step;
    sim_event_at(c->sim, &c->setup, c->sim->now_ns + sim_delay_ns(c->sim));
    c->end[0].last_ns = c->setup.node.when_ns;
}

static void
settle(struct conn *c, int err)
{
    struct end *e = &c->end[0];

    sim_event_del(c->sim, &c->timeout);
    if (e->state != END_CONNECTING)
        return;
    e->state = END_OPEN;
    e->s->connect_err = err;
    e->s->settled = true;
    sim_queue_if_news(e->s);
}

static void
step_established(struct conn *c)
{
    settle(c, 0);
}

static void
step_refused(struct conn *c)
{
    settle(c, -ECONNREFUSED);
}

static void
step_other_type(struct conn *c)
{
    settle(c, -EPROTOTYPE);
}

static bool
refused(struct conn *c, const struct sim_stream *listener)
{
    size_t pending = 0;

    if (listener == NULL ||
        (!is_local(&c->server) && sim_chance_ppm(c->sim, c->sim->cfg.refuse_ppm)))
        return true;
    LIST_FOREACH (n, &listener->queue)
        pending++;
    LIST_FOREACH (n, &c->sim->rules) {
        const struct rule *r = container_of(n, struct rule, node);

        if (r->refuse && rule_fits(r, c))
            return true;
    }
    return pending >= BACKLOG;
}

static void
step_syn(struct conn *c)
{
    struct sim_stream *listener = find_listener(c->sim, &c->server);
    struct end *e = &c->end[1];

    if (refused(c, listener)) {
        step_later(c, step_refused);
        return;
    }
    if (listener->packets != c->packets) {
        step_later(c, step_other_type);
        return;
    }
    e->made = loop_of(listener)->process;
    LIST_FOREACH (n, &c->sim->rules) {
        struct rule *r = container_of(n, struct rule, node);

        if (r->cut_next && rule_fits(r, c)) {
            r->cut_next = false;
            c->how = r->how;
            c->end[0].cut_left = r->bytes[0];
            c->end[1].cut_left = r->bytes[1];
        }
    }
    e->state = END_QUEUED;
    list_push_back(&listener->queue, &e->queued);
    sim_queue_if_news(listener);
    step_later(c, step_established);
}

static void
setup_due(struct sim_event *ev)
{
    struct conn *c = container_of(ev, struct conn, setup);

    c->held = c->stalled || c->lost;
    if (!c->held)
        c->next_step(c);
}

static void
timeout_due(struct sim_event *ev)
{
    struct conn *c = container_of(ev, struct conn, timeout);

    sim_event_del(c->sim, &c->setup);
    settle(c, -ETIMEDOUT);
}

static struct conn *
conn_new(struct sim *sim, const struct sock_addr *to, bool packets)
{
    struct conn *c = steady_calloc(1, sizeof(*c));

    c->sim = sim;
    c->packets = packets;
    c->server = *to;
    c->id = sim->next_id++;
    c->lost = !is_local(to) && sim_chance_ppm(sim, sim->cfg.lose_ppm);
    c->setup.fn = setup_due;
    c->timeout.fn = timeout_due;
    for (int i = 0; i < 2; i++) {
        struct end *e = &c->end[i];

        e->conn = c;
        e->addr = *to;
        e->cut_left = e->spoil_at = NEVER;
        e->arrive.fn = arrive_due;
        e->room.fn = room_due;
        e->give_up.fn = give_up_due;
        e->ack.fn = ack_due;
        list_init(&e->queued);
        list_init(&e->segs);
        list_init(&e->loans);
        list_init(&e->packets);
        if (packets)
            e->cap = sim->cfg.buffer;
    }
    if (is_local(to))
        c->end[0].addr = unnamed();
    else
        *port_of(&c->end[0].addr) = next_port(sim);
    LIST_FOREACH (n, &sim->rules) {
        const struct rule *r = container_of(n, struct rule, node);

        c->stalled |= r->stall && rule_fits(r, c);
    }
    list_push_back(&sim->conns, &c->node);
    return c;
}

/* Streams. */

static struct sim_stream *
sim_stream_new(struct sim_loop *l, struct end *e, const struct stream_events *ev, void *user)
{
    struct sim_stream *s = steady_calloc(1, sizeof(*s));

    s->pub.loop = &l->pub;
    list_init(&s->ready);
    list_init(&s->dead);
    list_init(&s->listener);
    list_init(&s->queue);
    s->end = e;
    s->ev = ev;
    s->user = user;
    s->id = l->sim->next_id++;
    s->lowat = 1;
    l->streams++;
    if (e != NULL) {
        e->s = s;
        e->state = END_OPEN;
        s->packets = e->conn->packets;
    }
    return s;
}

static void
stream_drop(struct sim_stream *s)
{
    struct sim_loop *l = loop_of(s);

    assert(!s->closed);
    s->closed = true;
    list_del(&s->ready);
    list_del(&s->listener);
    l->streams--;
    list_push_back(&l->dead, &s->dead);
    if (!l->running)
        sim_reap_streams(l);
}

void
sim_reap_streams(struct sim_loop *l)
{
    struct list *n;

    while ((n = list_pop_front(&l->dead)) != NULL)
        steady_free(container_of(n, struct sim_stream, dead));
}

/* A stream goes; another descriptor of the same connection, on its way to somebody, keeps that. */
static void
end_leave(struct end *e)
{
    if (e->fds == 0) {
        end_close(e);
        return;
    }
    e->state = END_RELEASED;
    e->s = NULL;
}

/* Nobody accepts those that wait any more. */
static void
queue_drop(struct sim_stream *s)
{
    struct list *n;

    while ((n = list_pop_front(&s->queue)) != NULL) {
        struct end *e = container_of(n, struct end, queued);

        e->unread++; /* so that it is a reset */
        end_close(e);
    }
}

void
sim_close(struct stream *pub)
{
    struct sim_stream *s = stream_of(pub);

    sim_note(loop_of(s)->sim, NOTE_CLOSE, s->id, 0);
    if (s->end != NULL)
        end_leave(s->end);
    queue_drop(s);
    stream_drop(s);
}

void
sim_reset(struct stream *pub)
{
    struct end *e = stream_of(pub)->end;

    if (e != NULL && e->unread == 0 && !e->conn->packets)
        e->unread = 1; /* so that it is a reset */
    sim_close(pub);
}

static void
end_fd_opened(void *of)
{
    ((struct end *)of)->fds++;
}

static void
end_fd_closed(void *of)
{
    struct end *e = of;

    assert(e->fds > 0);
    if (--e->fds == 0 && e->state == END_RELEASED)
        end_close(e);
}

static const struct sim_fd_ops listener_fd_ops;
static const struct sim_fd_ops end_fd_ops = {.opened = end_fd_opened, .closed = end_fd_closed};

int
sim_release(struct stream *pub)
{
    struct sim_stream *s = stream_of(pub);
    struct end *e = s->end;
    int fd = SIM_FD_OF_THE_DEAD;

    if (!s->cut_off) {
        assert(e != NULL && !s->connecting && e->lend_min == 0);
        e->state = END_RELEASED;
        e->s = NULL;
        fd = sim_fd_new(loop_of(s)->sim, &end_fd_ops, e, loop_of(s)->process);
    }
    stream_drop(s);
    return fd;
}

int
sim_take_over(struct loop *pub, int fd, bool packets, const struct stream_events *ev, void *user,
              struct stream **ret)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim_fd *f = sim_fd_find(l->sim, fd);
    struct end *e;

    assert(ev != NULL);
    if (f == NULL)
        return -EBADF;
    if (f->ops == &listener_fd_ops)
        return -EINVAL;
    if (f->ops != &end_fd_ops)
        return -ENOTSOCK;
    e = f->of;
    assert(e->state == END_RELEASED); /* two streams of one socket are nobody's need */
    if (e->conn->packets != packets)
        return -EPROTOTYPE;
    *ret = &sim_stream_new(l, e, ev, user)->pub;
    sim_fd_close(l->sim, fd);
    sim_tell(e);
    return 0;
}

int
sim_adopt(struct loop *pub, int fd, const struct stream_events *ev, void *user, struct stream **ret)
{
    return sim_take_over(pub, fd, false, ev, user, ret);
}

static void
stream_cut_off(struct sim_stream *s)
{
    s->cut_off = true;
    list_del(&s->ready);
    list_del(&s->listener);
    list_push_back(&loop_of(s)->sim->cut_off, &s->listener);
    queue_drop(s);
    if (s->end != NULL)
        end_leave(s->end);
    s->end = NULL;
}

/* The first stream of the process that is not cut off, or NULL. */
static struct sim_stream *
stream_of_process(struct sim *sim, const struct sim_process *p)
{
    LIST_FOREACH (n, &sim->listeners) {
        struct sim_stream *s = container_of(n, struct sim_stream, listener);

        if (loop_of(s)->process == p)
            return s;
    }
    LIST_FOREACH (n, &sim->conns) {
        struct conn *c = container_of(n, struct conn, node);

        for (int i = 0; i < 2; i++) {
            if (c->end[i].s != NULL && loop_of(c->end[i].s)->process == p)
                return c->end[i].s;
        }
    }
    return NULL;
}

void
sim_net_cut_off(struct sim *sim, const struct sim_process *p)
{
    struct sim_stream *s;

    while ((s = stream_of_process(sim, p)) != NULL)
        stream_cut_off(s);
}

void
sim_net_drop_dead(struct sim *sim)
{
    while (!list_empty(&sim->cut_off))
        stream_drop(container_of(sim->cut_off.next, struct sim_stream, listener));
}

struct end *
sim_end_of(struct stream *s)
{
    return stream_of(s)->end;
}

void
sim_set_events(struct stream *pub, const struct stream_events *ev, void *user)
{
    struct sim_stream *s = stream_of(pub);

    assert(ev != NULL && !s->closed);
    s->ev = ev;
    s->user = user;
    sim_queue_if_news(s);
}

int
sim_set_opts(struct stream *pub, const struct stream_opts *o)
{
    struct sim_stream *s = stream_of(pub);

    assert(o->dscp < 64);
    if (s->end != NULL) {
        s->end->user_timeout_ms = o->user_timeout_ms;
        s->end->sndbuf = o->sndbuf;
        s->end->rcvbuf = o->rcvbuf;
    }
    return 0;
}

int
sim_lend(struct stream *pub, uint32_t min)
{
    struct end *e = stream_of(pub)->end;

    if (stream_of(pub)->cut_off)
        return -EPIPE;
    assert(e != NULL && e->state == END_OPEN && e->lend_min == 0);
    assert(min > 0 && (min & (min - 1)) == 0);
    e->lend_min = min;
    e->acked = peer_of(e)->arrived;
    return 0;
}

int64_t
sim_unacked(struct stream *pub)
{
    const struct sim_stream *s = stream_of(pub);

    loop_of(s)->pub.stats.syscalls++;
    if (s->cut_off)
        return -EPIPE;
    return (int64_t)(peer_of(s->end)->launched - s->end->acked);
}

int64_t
sim_unread(struct stream *pub)
{
    const struct sim_stream *s = stream_of(pub);

    loop_of(s)->pub.stats.syscalls++;
    if (s->cut_off)
        return -EPIPE;
    return (int64_t)s->end->unread;
}

/* Every device and address is there.  The port is taken from the source, or stays as it was drawn.
 */
static void
bind_source(struct end *e, const struct stream_opts *opts)
{
    uint16_t port = *port_of(&e->addr);

    memcpy(e->device, opts->device, sizeof(e->device));
    if (opts->source.len == 0)
        return;
    e->addr = opts->source;
    if (*port_of(&e->addr) == 0)
        *port_of(&e->addr) = port;
}

const char *
sim_device(struct stream *s)
{
    return stream_of(s)->end->device;
}

int
sim_open(struct loop *pub, const struct sock_addr *to, bool packets, const struct stream_opts *opts,
         const struct stream_events *ev, void *user, struct stream **ret)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim_stream *s;
    struct conn *c;

    assert(ev != NULL && ev->connected != NULL);
    if (!is_known(to) || (opts != NULL && !is_local(to) && opts->source.len > 0 &&
                          opts->source.ss.ss_family != to->ss.ss_family))
        return -EAFNOSUPPORT;
    if (l->process->killed)
        return -EIO;
    c = conn_new(l->sim, to, packets);
    c->end[0].made = l->process;
    if (opts != NULL && !is_local(to))
        bind_source(&c->end[0], opts);
    s = sim_stream_new(l, &c->end[0], ev, user);
    s->connecting = true;
    c->end[0].state = END_CONNECTING;
    if (opts != NULL)
        (void)sim_set_opts(&s->pub, opts);
    step_later(c, step_syn);
    sim_event_at(l->sim, &c->timeout,
                 l->sim->now_ns + l->sim->cfg.connect_timeout_ms * LOOP_NS_PER_MS);
    *ret = &s->pub;
    return 0;
}

int
sim_connect(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
            const struct stream_events *ev, void *user, struct stream **ret)
{
    return sim_open(l, to, false, opts, ev, user, ret);
}

int
sim_hear(struct loop *pub, const struct sock_addr *at, bool packets, const struct stream_events *ev,
         void *user, struct stream **ret, struct sock_addr *ret_bound)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sock_addr bound = *at;
    struct sim_stream *s;

    assert(ev != NULL && ev->accepted != NULL);
    if (!is_known(at))
        return -EAFNOSUPPORT;
    if (l->process->killed)
        return -EIO;
    if (!is_local(at) && *port_of(&bound) == 0) {
        do {
            *port_of(&bound) = next_port(l->sim);
        } while (find_listener(l->sim, &bound) != NULL);
    } else if (find_listener(l->sim, &bound) != NULL) {
        return -EADDRINUSE;
    }
    s = sim_stream_new(l, NULL, ev, user);
    s->at = bound;
    s->packets = packets;
    list_push_back(&l->sim->listeners, &s->listener);
    *ret = &s->pub;
    if (ret_bound != NULL)
        *ret_bound = bound;
    return 0;
}

static void
nobody_accepts(void *user, struct stream *s, const struct sock_addr *peer)
{
    (void)user;
    (void)s;
    (void)peer;
    assert(false);
}

int
sim_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev, void *user,
           struct stream **ret, struct sock_addr *ret_bound)
{
    return sim_hear(l, at, false, ev, user, ret, ret_bound);
}

static void
listener_fd_opened(void *of)
{
    ((struct sim_stream *)of)->fds++;
}

/* The last descriptor goes: the listener with it, unless a stream has it. */
static void
listener_fd_closed(void *of)
{
    struct sim_stream *s = of;

    if (--s->fds == 0 && s->parked)
        sim_close(&s->pub);
}

static const struct sim_fd_ops listener_fd_ops = {.opened = listener_fd_opened,
                                                  .closed = listener_fd_closed};

int
sim_listening_fd(struct loop *l, const struct sock_addr *at, bool packets, int *ret_fd)
{
    static const struct stream_events none = {.accepted = nobody_accepts};
    struct stream *pub = NULL;
    int r = sim_hear(l, at, packets, &none, NULL, &pub, NULL);

    if (r < 0)
        return r;
    stream_of(pub)->parked = true;
    *ret_fd = sim_fd_new(sim_of(l), &listener_fd_ops, stream_of(pub), sim_loop_of(l)->process);
    return 0;
}

int
sim_take_over_listener(struct loop *pub, int fd, bool packets, const struct stream_events *ev,
                       void *user, struct stream **ret)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim_fd *f = sim_fd_find(l->sim, fd);
    struct sim_stream *s;

    assert(ev != NULL && ev->accepted != NULL);
    if (f == NULL)
        return -EBADF;
    if (f->ops != &listener_fd_ops)
        return -EINVAL;
    s = f->of;
    assert(s->parked); /* two streams of one listener are nobody's need */
    if (s->packets != packets)
        return -EPROTOTYPE;
    s->parked = false;
    loop_of(s)->streams--;
    s->pub.loop = pub;
    l->streams++;
    s->ev = ev;
    s->user = user;
    sim_fd_close(l->sim, fd);
    sim_queue_if_news(s);
    *ret = &s->pub;
    return 0;
}

int
sim_adopt_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                   struct stream **ret)
{
    return sim_take_over_listener(l, fd, false, ev, user, ret);
}

int
sim_peer_cred(struct stream *pub, uid_t *ret_uid, pid_t *ret_pid)
{
    struct sim_stream *s = stream_of(pub);
    const struct sim_process *p;

    if (s->end == NULL || s->connecting || s->failed || !is_local(&s->end->conn->server))
        return -EOPNOTSUPP;
    p = peer_of(s->end)->made;
    if (ret_uid != NULL)
        *ret_uid = p->uid;
    if (ret_pid != NULL)
        *ret_pid = p->pid;
    return 0;
}

int
sim_names(struct stream *pub, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    struct sim_stream *s = stream_of(pub);

    if (s->cut_off || (ret_peer != NULL && (s->end == NULL || s->connecting || s->failed)))
        return -ENOTCONN;
    if (ret_local != NULL)
        *ret_local = s->end != NULL ? s->end->addr : s->at;
    if (ret_peer != NULL)
        *ret_peer = peer_of(s->end)->addr;
    return 0;
}

int
sim_set_rcvlowat(struct stream *pub, uint32_t bytes)
{
    struct sim_stream *s = stream_of(pub);
    struct end *e = s->end;
    uint32_t most = loop_of(s)->sim->cfg.buffer / 2; /* as Linux: half the buffer */

    if (s->cut_off)
        return -EPIPE;
    if (e->rcvbuf > 0)
        most = e->rcvbuf / 2;
    s->lowat = bytes == 0 ? 1 : bytes < most ? bytes : most;
    if (e->unread > 0)
        sim_tell(e);
    return 0;
}

/* Moving bytes. */

static size_t
total(const struct iovec *iov, int n)
{
    size_t sum = 0;

    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

static void
ring_open(struct end *to)
{
    const struct end *from = peer_of(to);

    if (to->ring != NULL)
        return;
    to->cap = to->rcvbuf > 0 && from->sndbuf > 0 ? (size_t)to->rcvbuf + from->sndbuf
              : to->rcvbuf > 0 || from->sndbuf > 0
                  ? (size_t)to->rcvbuf + from->sndbuf + to->conn->sim->cfg.buffer / 2
                  : to->conn->sim->cfg.buffer;
    to->ring = steady_calloc(1, to->cap);
}

/* Copies len bytes between iov and the ring, at ring position pos. */
static void
ring_copy(struct end *to, size_t pos, const struct iovec *iov, size_t len, bool into)
{
    for (; len > 0; iov++) {
        uint8_t *p = iov->iov_base;
        size_t left = iov->iov_len < len ? iov->iov_len : len;

        len -= left;
        while (left > 0) {
            size_t at = pos % to->cap, n = to->cap - at < left ? to->cap - at : left;

            if (into)
                memcpy(to->ring + at, p, n);
            else
                memcpy(p, to->ring + at, n);
            sim_note_bytes(to->conn->sim, p, n < 16 ? n : 16);
            p += n;
            pos += n;
            left -= n;
        }
    }
}

/* Which of the first len bytes of iov are lent: the ring has nothing of them. */
static void
lend(struct end *e, const struct iovec *iov, size_t len)
{
    struct end *to = peer_of(e);
    size_t done = 0;

    for (; e->lend_min > 0 && done < len; iov++) {
        size_t n = iov->iov_len < len - done ? iov->iov_len : len - done;
        struct loan *l;

        if (iov->iov_len >= e->lend_min) {
            l = steady_calloc(1, sizeof(*l));
            *l = (struct loan){.at = to->launched + done, .len = n, .from = iov->iov_base};
            list_push_back(&to->loans, &l->node);
            for (size_t i = 0; i < n; i++)
                to->ring[(to->head + to->unread + to->flying + done + i) % to->cap] = 0xa5;
        }
        done += n;
    }
    to->launched += len;
}

/* Puts len bytes that lie in the ring on their way. */
static void
launch(struct end *to, size_t len)
{
    struct sim *sim = to->conn->sim;

    if (!list_empty(&to->segs) && sim_chance(sim, sim->cfg.coalesce_percent)) {
        struct seg *last = container_of(to->segs.prev, struct seg, node);

        if (last->kind == SEG_DATA) {
            last->len += len;
            to->flying += len;
            return;
        }
    }
    while (len > 0) {
        size_t n = sim_chance(sim, sim->cfg.split_percent) ? 1 + (size_t)sim_below(sim, len) : len;

        sim_push_seg(to, SEG_DATA, n, NULL);
        len -= n;
    }
    if (is_local(&to->conn->server))
        return;
    if (sim_chance_ppm(sim, sim->cfg.reset_ppm))
        conn_cut(to->conn, SIM_RESET);
    else if (sim_chance_ppm(sim, sim->cfg.eof_ppm))
        conn_cut(to->conn, SIM_EOF);
}

/* After a cut the bytes go nowhere; where the other side seemed to have closed, they are answered
 * by a reset. */
static void
send_nowhere(struct end *e)
{
    if (e->conn->how == SIM_EOF && list_empty(&e->segs) && e->err == 0)
        sim_push_seg(e, SEG_RST, 0, NULL);
}

static ssize_t
send_some(struct end *e, const struct iovec *iov, size_t len)
{
    struct end *to = peer_of(e);
    struct sim *sim = e->conn->sim;
    size_t take;

    if (e->err < 0 && !e->err_told) {
        e->err_told = true;
        return e->err;
    }
    if (e->err < 0)
        return -EPIPE;
    if (e->conn->severed) {
        send_nowhere(e);
        to->launched += len;
        return (ssize_t)len;
    }
    ring_open(to);
    take = room_for(to) < len ? room_for(to) : len;
    if (take > 1 && sim_chance(sim, sim->cfg.short_send_percent))
        take = 1 + (size_t)sim_below(sim, take);
    if (take == 0)
        return -EAGAIN;
    ring_copy(to, to->head + to->unread + to->flying, iov, take, true);
    if (e == &e->conn->end[0])
        tap_sent(to, iov, take);
    lend(e, iov, take);
    launch(to, take);
    return (ssize_t)take;
}

ssize_t
sim_sendv(struct stream *pub, const struct iovec *iov, int n, size_t len)
{
    struct sim_stream *s = stream_of(pub);
    struct sim_loop *l = loop_of(s);
    ssize_t r;

    assert(!s->closed && !s->packets && n >= 0 && n <= IOV_MAX);
    if (s->cut_off)
        return -EPIPE;
    assert(s->end != NULL);
    assert(len == total(iov, n));
    l->pub.stats.syscalls++;
    l->pub.stats.sends++;
    if (s->failed)
        return -EPIPE;
    r = s->connecting ? -EAGAIN : len > 0 ? send_some(s->end, iov, len) : 0;
    sim_note(l->sim, NOTE_SEND, s->id, (uint64_t)r);
    if (r < 0 && r != -EAGAIN)
        return r;
    if (r > 0)
        l->pub.stats.bytes_sent += (uint64_t)r;
    if (r < 0 || (size_t)r < len) {
        s->want_write = true;
        s->out = false;
        sim_schedule_room(s->end);
    }
    return r;
}

static ssize_t
recv_some(struct end *e, const struct iovec *iov, size_t len)
{
    struct sim *sim = e->conn->sim;
    size_t take = e->unread < len ? e->unread : len;

    if (take > 1 && sim_chance(sim, sim->cfg.short_recv_percent))
        take = 1 + (size_t)sim_below(sim, take);
    if (take > 0) {
        ring_copy(e, e->head, iov, take, false);
        e->head = (e->head + take) % e->cap;
        e->unread -= take;
        if (peer_of(e)->s != NULL)
            sim_schedule_room(peer_of(e));
        return (ssize_t)take;
    }
    if (e->err < 0 && !e->err_told) {
        e->err_told = true;
        return e->err;
    }
    return e->err < 0 || e->fin ? 0 : -EAGAIN;
}

ssize_t
sim_recvv(struct stream *pub, const struct iovec *iov, int n)
{
    struct sim_stream *s = stream_of(pub);
    struct sim_loop *l = loop_of(s);
    size_t len = total(iov, n);
    ssize_t r;

    assert(!s->closed && !s->packets && n > 0 && n <= IOV_MAX);
    if (s->cut_off)
        return 0;
    assert(s->end != NULL);
    l->pub.stats.syscalls++;
    l->pub.stats.recvs++;
    if (s->failed)
        return 0;
    r = s->connecting ? -EAGAIN : recv_some(s->end, iov, len);
    sim_note(l->sim, NOTE_RECV, s->id, (uint64_t)r);
    if (r > 0)
        l->pub.stats.bytes_received += (uint64_t)r;
    /* A full read proves nothing, so the owner is called again and may find nothing. */
    s->readable = r > 0 && ((size_t)r == len || s->end->unread > 0 || s->end->fin ||
                            (s->end->err < 0 && !s->end->err_told));
    if (!has_news(s))
        list_del(&s->ready);
    return r;
}

/* Telling the owners. */

static void
accept_some(struct sim_stream *s)
{
    struct sim_loop *l = loop_of(s);
    struct list *n;

    for (int i = 0; i < ACCEPT_MAX && (n = list_pop_front(&s->queue)) != NULL; i++) {
        struct end *e = container_of(n, struct end, queued);
        struct sim_stream *new = sim_stream_new(l, e, NULL, NULL);
        struct sock_addr peer = peer_of(e)->addr;

        sim_note(l->sim, NOTE_ACCEPTED, s->id, new->id);
        l->callbacks++;
        s->ev->accepted(s->user, &new->pub, &peer);
        assert(new->closed || new->ev != NULL);
        if (!new->closed && (e->unread > 0 || e->fin || e->err < 0))
            sim_tell(e);
        if (s->closed)
            return;
    }
}

static void
dispatch(struct sim_stream *s)
{
    struct sim_loop *l = loop_of(s);

    if (s->end == NULL) {
        accept_some(s);
        return;
    }
    if (s->connecting) {
        s->connecting = false;
        s->failed = s->connect_err < 0;
        sim_note(l->sim, NOTE_CONNECTED, s->id, (uint64_t)s->connect_err);
        l->callbacks++;
        s->ev->connected(s->user, s->connect_err);
    }
    if (!s->closed && !s->failed && s->want_write && s->out) {
        s->want_write = false;
        if (s->ev->writable != NULL) {
            sim_note(l->sim, NOTE_WRITABLE, s->id, 0);
            l->callbacks++;
            s->ev->writable(s->user);
        }
    }
    if (!s->closed && !s->failed && s->readable && s->ev->readable != NULL) {
        sim_note(l->sim, NOTE_READABLE, s->id, 0);
        l->callbacks++;
        s->ev->readable(s->user);
    }
}

void
sim_dispatch_streams(struct sim_loop *l)
{
    struct list now;

    list_init(&now);
    list_splice(&now, &l->ready);
    while (!list_empty(&now)) { /* in no order that anybody may count on */
        struct list *n = sim_below(l->sim, 2) == 0 ? now.next : now.prev;
        struct sim_stream *s = container_of(n, struct sim_stream, ready);

        list_del(n);
        dispatch(s);
        sim_queue_if_news(s);
    }
}

/* Faults. */

static struct rule *
rule_for(struct sim *sim, const struct sock_addr *server)
{
    struct rule *r;

    LIST_FOREACH (n, &sim->rules) {
        r = container_of(n, struct rule, node);
        if (server == NULL ? r->any : !r->any && same_addr(&r->server, server, false))
            return r;
    }
    r = steady_calloc(1, sizeof(*r));
    r->any = server == NULL;
    if (server != NULL)
        r->server = *server;
    list_push_back(&sim->rules, &r->node);
    return r;
}

int
sim_cut(struct sim *sim, const struct sock_addr *server, enum sim_cut how)
{
    const struct rule *r = rule_for(sim, server);
    int n = 0;

    LIST_FOREACH (p, &sim->conns) {
        struct conn *c = container_of(p, struct conn, node);

        if (!rule_fits(r, c) || c->severed || c->end[1].state == END_CLOSED)
            continue;
        conn_cut(c, how);
        n++;
    }
    return n;
}

/* The n-th of those that are open, counted round; NULL: none is. */
static struct conn *
nth_open(struct sim *sim, unsigned n)
{
    unsigned open = 0;

    LIST_FOREACH (p, &sim->conns) {
        const struct conn *c = container_of(p, struct conn, node);

        open += !c->packets && !c->severed && c->end[1].state != END_CLOSED;
    }
    n = open > 0 ? n % open : 0;
    LIST_FOREACH (p, &sim->conns) {
        struct conn *c = container_of(p, struct conn, node);

        if (!c->packets && !c->severed && c->end[1].state != END_CLOSED && n-- == 0)
            return c;
    }
    return NULL;
}

void
sim_cut_one(struct sim *sim, unsigned n, enum sim_cut how)
{
    struct conn *c = nth_open(sim, n);

    if (c != NULL)
        conn_cut(c, how);
}

void
sim_hold_one(struct sim *sim, unsigned n)
{
    struct conn *c = nth_open(sim, n);

    if (c != NULL && !c->stalled)
        c->kept = c->stalled = true;
}

void
sim_late_one(struct sim *sim, unsigned n, uint64_t ns)
{
    struct conn *c = nth_open(sim, n);

    if (c != NULL)
        c->late_ns = ns;
}

void
sim_late_none(struct sim *sim)
{
    LIST_FOREACH (p, &sim->conns)
        container_of(p, struct conn, node)->late_ns = 0;
}

void
sim_cut_after(struct sim *sim, const struct sock_addr *server, enum sim_cut how,
              uint64_t bytes_to_server, uint64_t bytes_to_client)
{
    struct rule *r = rule_for(sim, server);

    r->cut_next = true;
    r->how = how;
    r->bytes[0] = bytes_to_client;
    r->bytes[1] = bytes_to_server;
    LIST_FOREACH (p, &sim->conns) {
        struct conn *c = container_of(p, struct conn, node);

        if (!rule_fits(r, c) || c->severed || c->end[1].state == END_CLOSED)
            continue;
        c->how = how;
        c->end[0].cut_left = bytes_to_client;
        c->end[1].cut_left = bytes_to_server;
    }
}

void
sim_refuse(struct sim *sim, const struct sock_addr *server, bool on)
{
    rule_for(sim, server)->refuse = on;
}

static void
conn_heal(struct conn *c)
{
    struct sim *sim = c->sim;

    if (c->held)
        sim_event_at(sim, &c->setup, sim->now_ns + sim_delay_ns(sim));
    c->held = false;
    for (int i = 0; i < 2; i++) {
        struct end *e = &c->end[i];

        sim_event_del(sim, &e->give_up);
        if (!list_empty(&e->segs))
            sim_event_at(sim, &e->arrive, sim->now_ns + sim_delay_ns(sim));
        if (e->lend_min > 0 && peer_of(e)->arrived > e->acked)
            send_ack(e);
        if (e->state == END_OPEN)
            sim_schedule_room(e);
    }
}

void
sim_stall(struct sim *sim, const struct sock_addr *server, bool on)
{
    struct rule *r = rule_for(sim, server);

    r->stall = on;
    LIST_FOREACH (p, &sim->conns) {
        struct conn *c = container_of(p, struct conn, node);

        if (!rule_fits(r, c) || c->stalled == on)
            continue;
        c->stalled = on;
        if (!on)
            conn_heal(c);
    }
}

void
sim_hold(struct sim *sim, bool on)
{
    LIST_FOREACH (p, &sim->conns) {
        struct conn *c = container_of(p, struct conn, node);

        if (c->packets || (on ? c->stalled : !c->kept))
            continue;
        c->kept = c->stalled = on;
        if (!on)
            conn_heal(c);
    }
}

unsigned
sim_orphans(struct sim *sim)
{
    unsigned n = 0;

    LIST_FOREACH (p, &sim->conns) {
        const struct conn *c = container_of(p, struct conn, node);

        n += !c->packets && c->end[0].state == END_CLOSED && c->end[1].state != END_CLOSED;
    }
    return n;
}

void
sim_net_free(struct sim *sim)
{
    struct list *n;

    assert(list_empty(&sim->conns)); /* a descriptor was released and is nobody's */
    while ((n = list_pop_front(&sim->rules)) != NULL)
        steady_free(container_of(n, struct rule, node));
}
