/* SPDX-License-Identifier: MIT */
#include "tests/unit/login/fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

#define W(loop) container_of(loop, struct world, l)

uint64_t
world_random(struct world *w)
{
    w->rng += 0x9e3779b97f4a7c15u;
    uint64_t z = w->rng;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t
delay(struct world *w)
{
    return w->delay_max_ns == 0 ? 0 : world_random(w) % w->delay_max_ns;
}

/* ---- loop ---------------------------------------------------------------------------------- */

static void
timer_stop(struct loop *l, struct loop_timer *t)
{
    if (t->node.queued)
        timerq_del(&W(l)->timers, &t->node);
}

static void
timer_start(struct loop *l, struct loop_timer *t, uint64_t ns)
{
    timer_stop(l, t);
    timerq_add(&W(l)->timers, &t->node, l->now_ns + ns);
}

static void
defer(struct loop *l, struct loop_work *work)
{
    list_push_back(&W(l)->deferred, &work->node);
}

static uint64_t
random_(struct loop *l)
{
    return world_random(W(l));
}

static int
secure_random(struct loop *l, void *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = (uint8_t)world_random(W(l));
    return 0;
}

/* A test that fails an allocation means one of the initiator's: ours are tried again. */
void *
fake_alloc(size_t size)
{
    void *p = calloc(1, size);

    return p != NULL ? p : calloc(1, size);
}

struct resolve {
    struct loop_timer t;
    struct world *w;
    char host[HOST_MAX + 1];
    uint16_t port;
    void (*done)(void *user, int err, const struct sock_addr *addr, int count);
    void *user;
};

static struct sock_addr
address(const char *ip, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sock_addr a = {.len = sizeof(in)};

    (void)inet_pton(AF_INET, ip, &in.sin_addr);
    memcpy(&a.ss, &in, sizeof(in));
    return a;
}

/* There is one link, lan, on which all is 10.0.0.1; other addresses of IPv6 fail as those of a link
 * do.
 * 10.0.0.N: N >= 200 is silent, N >= 100 refuses; "multi" has one of each. */
static void
on_resolve(struct loop_timer *t)
{
    struct resolve *r = container_of(t, struct resolve, t);
    struct sock_addr a[3];
    int n = 1;

    if (strcmp(r->host, "multi") == 0) {
        a[0] = address("10.0.0.200", r->port);
        a[1] = address("10.0.0.100", r->port);
        a[2] = address("10.0.0.1", r->port);
        n = 3;
    } else {
        a[0] = address(strstr(r->host, "%lan") != NULL ? "10.0.0.1" : r->host, r->port);
    }
    r->w->resolving--;
    if (strstr(r->host, "%lan") != NULL)
        r->done(r->user, 0, a, n);
    else if (strcmp(r->host, "nohost") == 0 || strchr(r->host, '%') != NULL)
        r->done(r->user, -ENOENT, NULL, 0);
    else if (strchr(r->host, ':') != NULL)
        r->done(r->user, -EINVAL, NULL, 0);
    else
        r->done(r->user, 0, a, n);
    free(r);
}

static int
resolve(struct loop *l, const char *host, uint16_t port,
        void (*done)(void *user, int err, const struct sock_addr *addr, int count), void *user,
        struct resolve **ret)
{
    struct resolve *r = fake_alloc(sizeof(*r));

    (void)snprintf(r->host, sizeof(r->host), "%s", host);
    r->w = W(l);
    r->port = port;
    r->done = done;
    r->user = user;
    loop_timer_init(&r->t, on_resolve);
    if (strcmp(host, "slow") != 0)
        timer_start(l, &r->t, delay(W(l)));
    W(l)->resolving++;
    *ret = r;
    return 0;
}

static void
resolve_cancel(struct loop *l, struct resolve *r)
{
    timer_stop(l, &r->t);
    W(l)->resolving--;
    free(r);
}

struct fake_stream {
    struct stream s;
    struct loop_timer t;
    const struct stream_events *ev;
    void *user;
    int err;
};

static uint8_t
octet(const struct sock_addr *a)
{
    const struct sockaddr_in *in = (const void *)&a->ss;

    return (uint8_t)ntohl(in->sin_addr.s_addr);
}

bool
fake_is_mute(const struct world *w)
{
    return w->mute && w->l.now_ns < w->outage_until_ns;
}

static bool
outage(const struct world *w, uint8_t to)
{
    return (w->l.now_ns < w->outage_until_ns && !w->mute) || (w->dead > 0 && w->dead == to);
}

static void
note_connect(struct world *w, uint8_t to)
{
    if (w->nconnects == FAKE_LOGINS)
        return;
    w->connected_ns[w->nconnects] = w->l.now_ns;
    w->connected_to[w->nconnects++] = to;
}

static void
on_stream(struct loop_timer *t)
{
    struct fake_stream *s = container_of(t, struct fake_stream, t);

    s->ev->connected(s->user, s->err);
}

static int
connect_(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
         const struct stream_events *ev, void *user, struct stream **ret)
{
    struct fake_stream *s;
    uint8_t n = octet(to);

    W(l)->connected_with = *opts;
    if (W(l)->connect_err < 0)
        return W(l)->connect_err;
    s = fake_alloc(sizeof(*s));
    assert_true(opts->nodelay);
    s->s.loop = l;
    s->ev = ev;
    s->user = user;
    s->err = n >= 100 || outage(W(l), n) ? -ECONNREFUSED : 0;
    loop_timer_init(&s->t, on_stream);
    if (n < 200 && !(outage(W(l), n) && W(l)->black_hole))
        timer_start(l, &s->t, delay(W(l)));
    note_connect(W(l), n);
    W(l)->open_streams++;
    *ret = &s->s;
    return 0;
}

static void
close_(struct stream *s)
{
    struct fake_stream *f = container_of(s, struct fake_stream, s);

    timer_stop(s->loop, &f->t);
    W(s->loop)->open_streams--;
    free(f);
}

static int
release(struct stream *s)
{
    struct world *w = W(s->loop);

    close_(s);
    w->open_fds++;
    return 1000 + w->open_fds;
}

static int
adopt(struct loop *l, int fd, const struct stream_events *ev, void *user, struct stream **ret)
{
    struct fake_stream *s = fake_alloc(sizeof(*s));

    assert_true(fd >= 1000);
    s->s.loop = l;
    s->ev = ev;
    s->user = user;
    loop_timer_init(&s->t, on_stream);
    W(l)->open_fds--;
    W(l)->open_streams++;
    *ret = &s->s;
    return 0;
}

static void
close_fd(struct loop *l, int fd)
{
    assert_true(fd >= 1000);
    W(l)->open_fds--;
}

static const struct loop_ops loop_ops = {
    .name = "fake",
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .defer = defer,
    .random = random_,
    .secure_random = secure_random,
    .resolve = resolve,
    .resolve_cancel = resolve_cancel,
    .connect = connect_,
    .adopt = adopt,
    .release = release,
    .close = close_,
    .close_fd = close_fd,
};

bool
world_step(struct world *w)
{
    struct list *n = list_pop_front(&w->deferred);
    struct timerq_node *first;
    struct loop_timer *t;

    w->turns++;
    if (n != NULL) {
        struct loop_work *work = container_of(n, struct loop_work, node);

        work->fn(work);
        return true;
    }
    first = timerq_first(&w->timers);
    if (first == NULL)
        return false;
    timerq_del(&w->timers, first);
    assert_true(first->when_ns >= w->l.now_ns);
    w->l.now_ns = first->when_ns;
    t = container_of(first, struct loop_timer, node);
    t->fn(t);
    return true;
}

void
world_run(struct world *w, const bool *flag)
{
    uint32_t bound = w->turns + 2000000;

    while (!*flag && world_step(w))
        assert_true(w->turns < bound); /* it hangs */
}

void
world_drain(struct world *w)
{
    const bool never = false;

    world_run(w, &never);
}

/* ---- messages ------------------------------------------------------------------------------ */

struct message {
    struct loop_timer t;
    struct world *w;
    enum { MSG_REQUEST, MSG_REPLY, MSG_EVENT } kind;
    struct iscsi_uevent req;
    struct iscsi_reply rep;
    struct iscsi_kevent ev;
    uint32_t number;
    int nbound; /* a slow answer is lost when the connection is another by then; 0: not slow */
    uint32_t len;
    uint8_t data[];
};

struct fake_conn *
fake_conn(struct world *w, uint32_t sid, uint16_t cid)
{
    for (int i = w->nconn - 1; i >= 0; i--) {
        if (w->conn[i].there && w->conn[i].sid == sid && w->conn[i].cid == cid)
            return &w->conn[i];
    }
    return NULL;
}

static void serve(struct world *w, struct message *m);

static void
on_message(struct loop_timer *t)
{
    struct message *m = container_of(t, struct message, t);
    struct world *w = m->w;

    if (m->kind == MSG_REQUEST)
        serve(w, m);
    else if (w->ipc.ev != NULL && m->kind == MSG_REPLY)
        w->ipc.ev->reply(w->ipc.ev_user, &m->rep);
    else if (w->ipc.ev != NULL && (m->nbound == 0 || m->nbound == w->nbound))
        w->ipc.ev->event(w->ipc.ev_user, &m->ev, m->data);
    free(m);
}

static struct message *
message(struct world *w, const void *data, uint32_t len)
{
    struct message *m = fake_alloc(sizeof(*m) + len);

    m->w = w;
    m->len = len;
    if (len > 0)
        memcpy(m->data, data, len);
    loop_timer_init(&m->t, on_message);
    return m;
}

/* In order per connection and direction; *last keeps when the one before arrives. */
static void
deliver(struct world *w, struct message *m, uint64_t *last)
{
    uint64_t at = w->l.now_ns + delay(w);

    if (at < *last)
        at = *last;
    *last = at;
    timer_start(&w->l, &m->t, at - w->l.now_ns);
}

/* Connections that are gone, sessions and endpoints share one order: stricter is not promised. */
static uint64_t *
order(struct world *w, uint32_t sid, uint16_t cid, bool to_client)
{
    struct fake_conn *c = fake_conn(w, sid, cid);

    if (c == NULL)
        return &w->other_ns[to_client];
    return to_client ? &c->to_client_ns : &c->to_server_ns;
}

static int
request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    struct world *w = container_of(ipc, struct world, ipc);
    struct message *m;

    w->nrequests++;
    if (w->send_fails_at == w->nrequests)
        return -EPIPE;
    if (w->no_memory && !ipc_tidies_up(ev->type))
        return -ENOMEM;
    m = message(w, data, data_len);
    ev->seq = ++w->seq;
    m->kind = MSG_REQUEST;
    m->req = *ev;
    m->number = w->nrequests;
    deliver(w, m, order(w, ev->sid, ev->cid, false));
    return 0;
}

static const struct ipc_ops ipc_ops = {.request = request};

static void
reply(struct world *w, const struct message *to, int err, uint32_t sid, uint64_t value)
{
    struct message *m = message(w, NULL, 0);

    m->kind = MSG_REPLY;
    m->rep = (struct iscsi_reply){.type = to->req.type,
                                  .seq = to->req.seq,
                                  .sid = sid,
                                  .cid = to->req.cid,
                                  .err = err,
                                  .data = m->data};
    if (err < 0 && w->refuse_why != NULL)
        (void)lunette_fail(&m->rep.why, err, LUNETTE_DOM_USAGE, 0, "%s", w->refuse_why);
    if (err == -EBUSY)
        (void)lunette_fail(&m->rep.why, err, LUNETTE_DOM_USAGE, 0, "it is in use");
    if (err < 0 && w->refuse_at == to->number)
        (void)lunette_fail(&m->rep.why, err, LUNETTE_DOM_OS, 0, "refused by the test");
    if (err < 0 && to->req.type == ISCSI_UEVENT_TRANSPORT_EP_POLL && w->ep_why != NULL)
        (void)lunette_fail(&m->rep.why, err, LUNETTE_DOM_CONNECT, 0, "%s", w->ep_why);
    if (to->req.type == ISCSI_UEVENT_TRANSPORT_EP_POLL)
        m->rep.r.value = (int)value;
    else if (to->req.type == ISCSI_UEVENT_GET_TRANSPORT && err == 0) {
        m->rep.r.transport.caps = (uint32_t)value;
        m->rep.r.transport.max_recv_dlength = w->max_recv_dlength;
    } else if (to->req.type == ISCSI_UEVENT_GET_CONN)
        m->rep.r.conn.state = (enum ipc_conn_state)value;
    else
        m->rep.r.ep = value;
    deliver(w, m, order(w, to->req.sid, to->req.cid, true));
    if (w->stall_at == to->number && w->stall != STALL_NEVER) {
        timer_stop(&w->l, &m->t);
        if (w->stall == STALL_LATE) {
            uint64_t *last = order(w, to->req.sid, to->req.cid, true);

            *last = w->l.now_ns + 100 * LOOP_NS_PER_S;
            timer_start(&w->l, &m->t, 100 * LOOP_NS_PER_S);
        } else {
            free(m);
        }
    }
}

void
fake_send_pdu(struct world *w, struct fake_conn *c, const struct bhs *hdr, const void *data,
              uint32_t len)
{
    struct message *m = message(w, data, len);

    m->kind = MSG_EVENT;
    m->ev.type = ISCSI_KEVENT_RECV_PDU;
    m->ev.sid = c->sid;
    m->ev.cid = c->cid;
    m->ev.u.recv_pdu.hdr = *hdr;
    m->ev.u.recv_pdu.data_len = len;
    if (w->answer_ns == 0) {
        deliver(w, m, &c->to_client_ns);
        return;
    }
    m->nbound = w->nbound;
    timer_start(&w->l, &m->t, w->answer_ns);
}

/* How the login of an adapter went; it may overtake the reply to START_CONN. */
static void
adapter_tells(struct world *w, const struct fake_conn *c)
{
    struct message *m = message(w, NULL, 0);

    m->kind = MSG_EVENT;
    m->ev.type = ISCSI_KEVENT_CONN_LOGIN_STATE;
    m->ev.sid = c->sid;
    m->ev.cid = c->cid;
    if (w->adapter_fails != NULL)
        (void)lunette_fail(&m->ev.u.conn_login.why, -EACCES, LUNETTE_DOM_LOGIN, 0x0201, "%s",
                           w->adapter_fails);
    timer_start(&w->l, &m->t, delay(w));
}

void
fake_conn_down(struct world *w, struct fake_conn *c)
{
    if (c->fd >= 1000)
        w->open_fds--;
    c->fd = -1;
    c->bound = c->started = false;
    memset(c->names, 0, sizeof(c->names));
    free(c->rest);
    free(c->text);
    c->rest = c->text = NULL;
    c->rest_len = c->text_len = 0;
}

static void
lose_conn(struct world *w, struct fake_conn *c, uint32_t time2wait_s, uint32_t time2retain_s,
          bool served)
{
    struct message *m = message(w, NULL, 0);

    fake_conn_down(w, c);
    m->kind = MSG_EVENT;
    m->ev.type = ISCSI_KEVENT_CONN_ERROR;
    m->ev.sid = c->sid;
    m->ev.cid = c->cid;
    m->ev.u.conn_error.err = ISCSI_ERR_CONN_CLOSED;
    m->ev.u.conn_error.time2wait_s = time2wait_s;
    m->ev.u.conn_error.time2retain_s = time2retain_s;
    m->ev.u.conn_error.served = served;
    (void)lunette_fail(&m->ev.u.conn_error.why, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET,
                       "the connection was cut");
    deliver(w, m, &c->to_client_ns);
}

void
fake_lose(struct world *w, struct fake_conn *c, uint32_t time2wait_s, uint32_t time2retain_s)
{
    lose_conn(w, c, time2wait_s, time2retain_s, false);
}

void
fake_lose_served(struct world *w, struct fake_conn *c)
{
    lose_conn(w, c, 0, 0, true);
}

void
fake_lose_events(struct world *w)
{
    struct message *m = message(w, NULL, 0);

    m->kind = MSG_EVENT;
    m->ev.type = ISCSI_KEVENT_LOST;
    m->ev.u.lost.count = 1;
    timer_start(&w->l, &m->t, delay(w));
}

void
fake_session_state(struct world *w, uint32_t sid, enum ipc_session_state state)
{
    struct message *m = message(w, NULL, 0);

    m->kind = MSG_EVENT;
    m->ev.type = ISCSI_KEVENT_SESSION_STATE;
    m->ev.sid = sid;
    m->ev.u.session_state.state = state;
    timer_start(&w->l, &m->t, delay(w));
}

void
fake_unit_event(struct world *w, uint32_t sid, enum iscsi_kevent_type type)
{
    struct message *m = message(w, NULL, 0);

    m->kind = MSG_EVENT;
    m->ev.type = type;
    m->ev.sid = sid;
    timer_start(&w->l, &m->t, delay(w));
}

void
fake_async(struct world *w, struct fake_conn *c, uint8_t event, uint16_t param1, uint16_t param2,
           uint16_t param3)
{
    struct bhs_async a;

    bhs_init(&a, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    a.itt = put32(ISCSI_TAG_RSVD);
    a.event = event;
    a.param1 = put16(param1);
    a.param2 = put16(param2);
    a.param3 = put16(param3);
    fake_send_pdu(w, c, (const void *)&a, NULL, 0);
}

void
fake_cut(struct world *w, struct fake_conn *c)
{
    struct message *m = message(w, NULL, 0);

    m->kind = MSG_EVENT;
    m->ev.type = ISCSI_KEVENT_CONN_ERROR;
    m->ev.sid = c->sid;
    m->ev.cid = c->cid;
    m->ev.u.conn_error.err = ISCSI_ERR_CONN_CLOSED;
    (void)lunette_fail(&m->ev.u.conn_error.why, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET,
                       "the target closed the connection");
    deliver(w, m, &c->to_client_ns);
}

/* ---- data plane ---------------------------------------------------------------------------- */

static void
serve_create_conn(struct world *w, const struct message *m)
{
    struct fake_conn *c = w->conn;

    assert_true(w->session[m->req.sid]);
    assert_null(fake_conn(w, m->req.sid, m->req.cid));
    while (c < &w->conn[w->nconn] &&
           (!w->several || c->there || c->text != NULL || c->rest != NULL))
        c++;
    assert_true(c < &w->conn[FAKE_LOGINS]);
    w->nconn += c == &w->conn[w->nconn];
    *c = (struct fake_conn){.there = true};
    c->sid = m->req.sid;
    c->cid = m->req.cid;
    c->to_client_ns = w->other_ns[1];
    c->to_server_ns = w->other_ns[0];
    reply(w, m, 0, m->req.sid, 0);
}

/* Those that may be set again at any time. */
static bool
is_live_param(enum iscsi_param p)
{
    return p == ISCSI_PARAM_RECOVERY_TMO || p == ISCSI_PARAM_PING_INTERVAL_MS ||
           p == ISCSI_PARAM_PING_TIMEOUT_MS;
}

static void
serve_conn(struct world *w, const struct message *m, struct fake_conn *c)
{
    bool early =
        m->req.type == ISCSI_UEVENT_SET_PARAM && m->req.u.set_param.param == ISCSI_PARAM_OPTIONS;
    bool needs_bound = (m->req.type == ISCSI_UEVENT_SET_PARAM && !early) ||
                       m->req.type == ISCSI_UEVENT_START_CONN ||
                       m->req.type == ISCSI_UEVENT_SEND_PDU;

    if (needs_bound && !c->bound && w->gone_is_ok) {
        reply(w, m, -ENOTCONN, m->req.sid, 0);
        return;
    }
    switch ((int)m->req.type) {
    case ISCSI_UEVENT_BIND_CONN:
        if (c->bound && w->gone_is_ok) {
            w->open_fds -= m->req.u.bind_conn.fd >= 1000;
            reply(w, m, -EBUSY, m->req.sid, 0);
            break;
        }
        if (w->busy_binds > 0 || (w->busy_cids >> c->cid & 1) != 0) {
            w->busy_binds -= w->busy_binds > 0;
            w->open_fds -= m->req.u.bind_conn.fd >= 1000;
            reply(w, m, -EBUSY, m->req.sid, 0);
            break;
        }
        assert_false(c->bound);
        assert_true((m->req.u.bind_conn.fd >= 1000) == (m->req.ep == 0));
        c->ep = m->req.ep;
        c->leading = m->req.u.bind_conn.leading;
        c->fd = m->req.u.bind_conn.fd;
        c->bound = true;
        c->leaves = false;
        c->script = w->nbound < w->nscripts ? w->nbound : w->nscripts - 1;
        c->step = 0;
        w->nbound++;
        reply(w, m, 0, m->req.sid, 0);
        break;
    case ISCSI_UEVENT_SET_PARAM:
        assert_true(m->req.u.set_param.param < ISCSI_PARAM_COUNT);
        if (!c->started || !is_live_param(m->req.u.set_param.param)) {
            assert_true(c->bound != early && !c->started);
            assert_int_equal(c->names[m->req.u.set_param.param][0], 0); /* each once */
        }
        memcpy(c->names[m->req.u.set_param.param], m->req.u.set_param.value, IPC_VALUE_MAX);
        c->nparams++;
        reply(w, m, 0, m->req.sid, 0);
        break;
    case ISCSI_UEVENT_START_CONN:
        assert_true(c->bound && !c->started);
        assert_true(c->nparams > 0);
        c->started = true;
        c->starts++;
        reply(w, m, 0, m->req.sid, 0);
        if ((w->caps & CAP_LOGIN_OFFLOAD) && !w->adapter_silent)
            adapter_tells(w, c);
        break;
    case ISCSI_UEVENT_STOP_CONN:
        c->stops++;
        c->stopped_how = m->req.u.stop_conn.how;
        fake_conn_down(w, c);
        reply(w, m, 0, m->req.sid, 0);
        break;
    case ISCSI_UEVENT_GET_CONN:
        reply(w, m, 0, m->req.sid,
              c->started && c->leaves ? IPC_CONN_LEAVING
              : c->started            ? IPC_CONN_STARTED
              : c->bound              ? IPC_CONN_BOUND
                                      : IPC_CONN_DOWN);
        break;
    case ISCSI_UEVENT_SEND_PDU:
        assert_true(c->bound);
        assert_int_equal(m->req.u.send_pdu.data_len, m->len);
        reply(w, m, 0, m->req.sid, 0);
        puppet_receive(w, c, &m->req.u.send_pdu.hdr, m->data, m->len);
        break;
    default:
        fail_msg("uevent %d", m->req.type);
    }
}

/* "tcp" takes a descriptor, "own" connects by itself, and so does "iser", which has no digests. */
static void
serve_get_transport(struct world *w, const struct message *m)
{
    const char *name = m->req.u.get_transport.transport;

    if (strcmp(name, "tcp") == 0)
        reply(w, m, 0, 0, w->caps);
    else if (strcmp(name, "own") == 0)
        reply(w, m, 0, 0, w->caps & ~(uint32_t)CAP_BIND_DESCRIPTOR);
    else if (strcmp(name, "iser") == 0)
        reply(w, m, 0, 0,
              (w->caps & ~(uint32_t)(CAP_BIND_DESCRIPTOR | CAP_HDRDGST | CAP_DATADGST)) | CAP_RDMA);
    else
        reply(w, m, -ENOENT, 0, 0);
}

/* 10.0.0.N as for sockets.  An endpoint comes up or fails at some moment, perhaps at once.  Its
 * event is not ordered to the replies. */
static void
serve_ep_connect(struct world *w, const struct message *m)
{
    struct fake_ep *e = &w->eps[w->neps];
    uint8_t n = octet(&m->req.u.ep_connect.to);
    struct message *ev;

    assert_true(w->neps < 4 * FAKE_LOGINS);
    w->ep_source = m->req.u.ep_connect.source;
    memcpy(w->ep_options, m->req.u.ep_connect.options, sizeof(w->ep_options));
    if (w->ep_connect_err < 0) {
        reply(w, m, w->ep_connect_err, 0, 0);
        return;
    }
    note_connect(w, n);
    *e = (struct fake_ep){.id = 7000u + (unsigned)w->neps++,
                          .settled_ns = w->l.now_ns + (world_random(w) % 2 == 0 ? 0 : delay(w)),
                          .silent = n >= 200 || (outage(w, n) && w->black_hole),
                          .err = n >= 100 || outage(w, n) ? -ECONNREFUSED : 0};
    if (e->err == 0)
        e->settled_ns += w->ep_ns;
    w->open_eps++;
    reply(w, m, 0, 0, e->id);
    if (e->silent || w->no_ep_events)
        return;
    ev = message(w, NULL, 0);
    ev->kind = MSG_EVENT;
    ev->ev.type = ISCSI_KEVENT_EP_EVENT;
    ev->ev.u.ep_event.ep = e->id;
    ev->ev.u.ep_event.err = e->err;
    timer_start(&w->l, &ev->t, e->settled_ns - w->l.now_ns + delay(w));
}

static void
serve_ep(struct world *w, const struct message *m)
{
    const struct fake_ep *e = &w->eps[m->req.ep - 7000];

    assert_true(m->req.ep >= 7000 && m->req.ep < 7000u + (unsigned)w->neps);
    if (m->req.type == ISCSI_UEVENT_TRANSPORT_EP_POLL) {
        bool settled = !e->silent && w->l.now_ns >= e->settled_ns;

        reply(w, m, settled ? e->err : 0, 0, settled);
    } else {
        w->open_eps--;
        assert_true(w->open_eps >= 0);
        w->eps_given_up += !e->silent && e->err == 0 && w->l.now_ns < e->settled_ns;
        reply(w, m, 0, 0, 0);
    }
}

static void
serve_destroy(struct world *w, const struct message *m)
{
    if (m->req.type == ISCSI_UEVENT_DESTROY_CONN) {
        struct fake_conn *c = fake_conn(w, m->req.sid, m->req.cid);

        if (c == NULL && w->gone_is_ok) {
            reply(w, m, -ENOENT, m->req.sid, 0);
            return;
        }
        assert_non_null(c); /* exactly once */
        if (w->gone_is_ok)
            fake_conn_down(w, c); /* a login that was given up had bound it */
        assert_false(c->bound);
        reply(w, m, 0, m->req.sid, 0);
        c->there = false;
        return;
    }
    assert_true(w->session[m->req.sid]);
    w->session[m->req.sid] = false;
    w->sessions_gone++;
    for (int i = 0; w->several && i < w->nconn; i++) {
        if (!w->conn[i].there || w->conn[i].sid != m->req.sid)
            continue;
        fake_conn_down(w, &w->conn[i]);
        w->conn[i].there = false;
    }
    for (int i = 0; i < w->nconn; i++)
        assert_false(w->conn[i].there && w->conn[i].sid == m->req.sid);
    reply(w, m, 0, m->req.sid, 0);
}

static void
serve(struct world *w, struct message *m)
{
    struct fake_conn *c;

    w->requests[m->req.type]++;
    if (w->refuse_at == m->number) {
        /* a refused BIND_CONN owns its descriptor all the same */
        if (m->req.type == ISCSI_UEVENT_BIND_CONN && m->req.u.bind_conn.fd >= 1000)
            w->open_fds--;
        if (m->req.type == ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT)
            w->open_eps--;
        reply(w, m, -EIO, m->req.sid, 0);
        return;
    }
    switch ((int)m->req.type) {
    case ISCSI_UEVENT_GET_TRANSPORT:
        serve_get_transport(w, m);
        return;
    case ISCSI_UEVENT_TRANSPORT_EP_CONNECT:
        serve_ep_connect(w, m);
        return;
    case ISCSI_UEVENT_TRANSPORT_EP_POLL:
    case ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT:
        serve_ep(w, m);
        return;
    case ISCSI_UEVENT_CREATE_SESSION:
        assert_true(++w->sessions_made <= FAKE_LOGINS);
        w->session[w->sessions_made] = true;
        reply(w, m, 0, w->sessions_made, 0);
        return;
    case ISCSI_UEVENT_CREATE_CONN:
        serve_create_conn(w, m);
        return;
    case ISCSI_UEVENT_DESTROY_CONN:
    case ISCSI_UEVENT_DESTROY_SESSION:
        serve_destroy(w, m);
        return;
    default:
        break;
    }
    c = fake_conn(w, m->req.sid, m->req.cid);
    if (c == NULL && w->gone_is_ok) {
        if (m->req.type == ISCSI_UEVENT_BIND_CONN && m->req.u.bind_conn.fd >= 1000)
            w->open_fds--;
        reply(w, m, -ENOENT, m->req.sid, 0);
        return;
    }
    assert_non_null(c);
    serve_conn(w, m, c);
}

/* ---- the world ----------------------------------------------------------------------------- */

struct world *
world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));

    w->seed = w->rng = seed;
    w->l.ops = &loop_ops;
    w->l.now_ns = 1000;
    list_init(&w->deferred);
    w->ipc.ops = &ipc_ops;
    w->split = -1;
    w->strict = true;
    w->chap_user = "alice";
    w->chap_secret = "initiator-secret";
    w->target_user = "bob";
    w->target_secret = "target-secret-12";
    w->caps = CAP_BIND_DESCRIPTOR | CAP_HDRDGST | CAP_DATADGST | CAP_MULTI_R2T;
    w->delay_max_ns = seed == 0 ? 0 : 3 * LOOP_NS_PER_MS;
    assert_int_equal(ctl_new(&w->l, &w->ipc, &w->ctl), 0);
    return w;
}

void
world_free(struct world *w)
{
    struct timerq_node *n;

    for (int i = 0; i < w->nconn; i++) {
        free(w->conn[i].text);
        free(w->conn[i].rest);
    }
    ctl_free(&w->ctl);
    assert_true(list_empty(&w->deferred));
    while ((n = timerq_first(&w->timers)) != NULL) {
        struct loop_timer *t = container_of(n, struct loop_timer, node);

        timerq_del(&w->timers, n);
        assert_ptr_equal(t->fn, on_message);
        free(container_of(t, struct message, t));
    }
    assert_int_equal(w->open_streams, 0);
    assert_int_equal(w->resolving, 0);
    free(w);
}

void
world_config(struct world *w, struct login_config *cfg)
{
    login_config_init(cfg);
    (void)strcpy(cfg->initiator_name, "iqn.2026-11.org.example:host");
    (void)strcpy(cfg->target_name, "iqn.2026-11.org.example:disk");
    (void)strcpy(cfg->portal.host, "10.0.0.1");
    (void)strcpy(cfg->transport, "tcp");
    login_isid_random(&w->l, cfg->isid);
    cfg->security_first = true; /* as most scripts are written */
}

void
world_login_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct world *w = user;

    assert_true((res == NULL) != (err == NULL));
    w->done = true;
    w->dones++;
    w->err = (struct lunette_error){.code = 0};
    if (res != NULL)
        w->res = *res;
    else
        w->err = *err;
}

void
world_login(struct world *w, const struct login_config *cfg)
{
    struct iscsi_login *l = NULL;
    int r;

    w->done = false;
    w->dones = 0;
    r = login_start(w->ctl, cfg, &(struct login_callbacks){.done = world_login_done, .user = w}, &l,
                    &w->err);
    if (r < 0) {
        assert_int_equal(w->err.code, r);
        w->done = true;
        return;
    }
    assert_false(w->done);
    world_run(w, &w->done);
    assert_true(w->done);
    login_free(&l);
    world_drain(w);
    assert_int_equal(w->dones, 1);
}

void
world_logout_done(void *user, const struct lunette_error *err)
{
    struct world *w = user;

    w->done = true;
    w->err = (struct lunette_error){.code = 0};
    if (err != NULL)
        w->err = *err;
}

void
world_logout(struct world *w)
{
    world_logout_conns(w, 1);
}

/* Connections 0 to n - 1 of the session. */
void
world_logout_conns(struct world *w, uint32_t n)
{
    struct logout_config cfg = {.sid = w->res.sid, .nconns = n};
    struct iscsi_logout *lo = NULL;

    for (uint32_t i = 0; i < n; i++) {
        const struct fake_conn *c = fake_conn(w, w->res.sid, (uint16_t)i);

        cfg.conns[i].cid = (uint16_t)i;
        cfg.conns[i].ep = c != NULL ? c->ep : 0;
    }
    w->done = false;
    assert_int_equal(session_logout_task(w->ctl, &cfg, world_logout_done, w, &lo), 0);
    world_run(w, &w->done);
    assert_true(w->done);
    logout_free(&lo);
    world_drain(w);
    assert_true(ctl_idle(w->ctl));
    assert_int_equal(w->sessions_made, w->sessions_gone);
    assert_int_equal(w->open_fds, 0);
    assert_int_equal(w->open_eps, 0);
}

const char *
fake_param(struct world *w, enum iscsi_param p)
{
    return fake_conn(w, w->res.sid, w->res.cid)->names[p];
}
