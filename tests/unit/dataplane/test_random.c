/* SPDX-License-Identifier: MIT */
/* tests/unit/dataplane/test_random.c - one seed, one life of a data plane: control planes come and
 * go and send valid requests in any order, with ids that exist, have existed or never did; the
 * adapter below is slow, fails, and lets go late; a target answers, answers wrongly, or not at all;
 * commands run meanwhile.
 *
 * No assertion of the code may be reached.  Each request is answered once as long as its client is
 * there, events are numbered without a gap but for what LOST counts, each command and each wait for
 * task management ends once, and in the end everything can be taken down.
 *
 * usage: test_dataplane_random [FIRST [COUNT]]
 */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/dataplane.h"
#include "ipc/ipc.h"
#include "iscsi/internal.h"
#include "seam/host.h"
#include "tests/support/fake_transport.h"
#include "tests/support/ipc_queue.h"
#include "transport/transport.h"
#include "wire/pdu.h"

#define SEEDS    1000
#define STEPS    400
#define CONNS    64 /* bound at a time */
#define CMDS     48
#define WAITS    8
#define SEQS     8192
#define GRACE_MS 500

struct cmd {
    struct scsi_cmd sc;
    struct iovec iov;
    uint8_t buf[512];
    struct scsi_host *host; /* while busy */
    bool busy, aborting;
};

struct wait {
    struct scsi_eh_wait w;
    bool busy;
    struct cmd *victim;
};

struct world {
    struct fake_loop fl;
    struct transport_registry registry;
    struct dataplane *dp;
    uint64_t seed, rng;
    /* the client that is there, or nothing */
    struct ipc_queue queue;
    struct ipc_encoded_client *client_end;
    struct ipc_encoded_server *server_end;
    struct ipc *ipc;
    uint64_t generation;
    bool hello, refuse;
    uint8_t asked[SEQS]; /* type of the request with that seq, 0xff: answered */
    uint64_t seqs, open_requests;
    uint64_t next_event; /* the number that is due; 0: any */
    unsigned takes;      /* TAKE_EVENTS without an answer: they leave events out */
    uint32_t sid_max;    /* highest that was ever named */
    uint64_t ep_max;
    /* the adapter */
    struct iscsi_conn *bound[CONNS], *stopping[CONNS];
    unsigned nbound, nstopping, fds;
    bool one_conn;
    /* the commands */
    struct cmd cmds[CMDS];
    struct wait waits[WAITS];
    unsigned done;
};

static struct world *now;
static struct iscsi_transport adapter;
static struct loop_ops loop_ops;
static unsigned total_good, total_bad, total_events, total_done, total_up;

static uint64_t
below(struct world *w, uint64_t n)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return (w->rng >> 11) % n;
}

/* ---- the adapter ---------------------------------------------------------------------------- */

static int
adapter_bind(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
             struct lunette_error *err)
{
    int r = fake_transport.bind_conn(c, eph, ep, leading, err);

    if (r == 0 &&
        (now->nbound == CONNS || (now->one_conn && now->nbound > 0) || below(now, 16) == 0))
        return lunette_fail(err, -ENOBUFS, LUNETTE_DOM_OS, 0, "the adapter is full");
    if (r == 0)
        now->bound[now->nbound++] = c;
    return r;
}

static int
adapter_stop(struct iscsi_conn *c, enum iscsi_stop how)
{
    (void)fake_transport.stop_conn(c, how);
    for (unsigned i = 0; i < now->nbound; i++) {
        if (now->bound[i] != c)
            continue;
        now->bound[i] = now->bound[--now->nbound];
        if (below(now, 3) != 0)
            return 0;
        assert_true(now->nstopping < CONNS);
        now->stopping[now->nstopping++] = c;
        return -EINPROGRESS;
    }
    return 0;
}

static void
one_stopped(struct world *w)
{
    struct iscsi_conn *c;
    unsigned i;

    if (w->nstopping == 0)
        return;
    i = (unsigned)below(w, w->nstopping);
    c = w->stopping[i];
    w->stopping[i] = w->stopping[--w->nstopping];
    c->up->conn_stopped(c);
}

static void
close_fd(struct loop *l, int fd)
{
    (void)l;
    assert_true(fd >= 0);
    assert_true(now->fds > 0);
    now->fds--;
}

/* ---- the target ----------------------------------------------------------------------------- */

/* A connection that takes what comes, chosen as the fake adapter's; false: there is none. */
static bool
choose_conn(struct world *w)
{
    struct iscsi_conn *c;

    if (w->nbound == 0)
        return false;
    c = w->bound[below(w, w->nbound)];
    fake_adapter.conn = c;
    return !c->failed;
}

static void
target_answers(struct world *w)
{
    const struct fake_sent *s;
    union bhs_any h;
    struct iscsi_task *t;
    uint8_t data[64] = {0};
    uint32_t len = 0;

    if (!choose_conn(w) || fake_adapter.nsent == 0)
        return;
    s = &fake_adapter.sent[below(w, fake_adapter.nsent)];
    t = iscsi_task_of(fake_adapter.conn, s->h.h.itt);
    if (t == NULL && below(w, 8) != 0)
        return;
    fake_adapter.stat_sn = fake_adapter.conn->exp_statsn;
    fake_adapter.max_cmdsn += (uint32_t)below(w, 3);
    fake_adapter.exp_cmdsn = fake_adapter.max_cmdsn - 8;
    switch (s->h.h.opcode & ISCSI_OP_MASK) {
    case ISCSI_OP_SCSI_CMD:
        (void)fake_answer(s, below(w, 6) == 0 ? 2 : 0, NULL, 0, 0);
        return;
    case ISCSI_OP_NOP_OUT:
        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
        h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        break;
    case ISCSI_OP_TMF_REQ:
        bhs_init(&h, ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL);
        h.tmf_rsp.response = (uint8_t)below(w, 3);
        break;
    case ISCSI_OP_LOGIN_REQ:
        bhs_init(&h, ISCSI_OP_LOGIN_RSP, (uint8_t)below(w, 256));
        len = (uint32_t)below(w, sizeof(data));
        break;
    case ISCSI_OP_TEXT_REQ:
        bhs_init(&h, ISCSI_OP_TEXT_RSP, below(w, 2) == 0 ? ISCSI_FLAG_FINAL : 0x40);
        h.text_rsp.ttt = put32(below(w, 2) == 0 ? ISCSI_TAG_RSVD : 7);
        len = (uint32_t)below(w, sizeof(data));
        break;
    case ISCSI_OP_LOGOUT_REQ:
        bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
        h.logout_rsp.response = (uint8_t)(below(w, 3) == 0 ? below(w, 5) : 0);
        break;
    default:
        bhs_init(&h, (uint8_t)(0x20 + below(w, 0x20)), (uint8_t)below(w, 256));
    }
    h.h.itt = s->h.h.itt;
    (void)fake_pdu(&h, data, len, true);
}

static void
target_speaks(struct world *w)
{
    union bhs_any h;
    uint8_t data[64] = {0};

    if (!choose_conn(w))
        return;
    fake_adapter.stat_sn = fake_adapter.conn->exp_statsn;
    for (size_t i = 0; i < sizeof(h); i++)
        ((uint8_t *)&h)[i] = (uint8_t)below(w, 256);
    if (below(w, 4) != 0) {
        bhs_init(&h, below(w, 2) == 0 ? ISCSI_OP_NOP_IN : ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
        h.h.itt = put32(ISCSI_TAG_RSVD);
        if (pdu_opcode(&h.h) == ISCSI_OP_ASYNC) {
            h.async.event = (uint8_t)below(w, 7);
            h.async.param1 = put16((uint16_t)below(w, 3));
            h.async.param3 = put16((uint16_t)below(w, 40));
        } else {
            h.nop_in.ttt = put32(below(w, 2) == 0 ? 5 : ISCSI_TAG_RSVD);
        }
    } else {
        h.h.opcode = (uint8_t)(0x20 + below(w, 0x20));
        if (pdu_opcode(&h.h) == ISCSI_OP_DATA_IN || pdu_opcode(&h.h) == ISCSI_OP_R2T)
            return; /* such an adapter handles them by itself */
    }
    (void)fake_pdu(&h, data, (uint32_t)below(w, sizeof(data)), below(w, 2) == 0);
}

static void
target_goes(struct world *w)
{
    if (choose_conn(w))
        fake_adapter.conn->up->conn_failure(fake_adapter.conn,
                                            (enum iscsi_err)(1 + below(w, ISCSI_ERR_COUNT - 1)),
                                            "the test has cut it");
}

/* ---- commands ------------------------------------------------------------------------------- */

static void
cmd_done(struct scsi_cmd *sc)
{
    struct cmd *c = container_of(sc, struct cmd, sc);

    assert_true(c->busy);
    c->busy = false;
    now->done++;
}

static void
wait_done(struct scsi_eh_wait *sw, enum scsi_eh_result r)
{
    struct wait *x = container_of(sw, struct wait, w);

    (void)r;
    assert_true(x->busy);
    x->busy = false;
    if (x->victim != NULL)
        x->victim->aborting = false;
    x->victim = NULL;
}

static struct scsi_host *
some_host(struct world *w)
{
    return w->sid_max == 0 ? NULL : dataplane_host(w->dp, (uint32_t)(1 + below(w, w->sid_max)));
}

static void
send_command(struct world *w)
{
    struct scsi_host *h = some_host(w);
    struct cmd *c = &w->cmds[below(w, CMDS)];
    uint32_t len = (uint32_t)(below(w, 3) * 128);

    if (h == NULL || c->busy || c->aborting)
        return;
    memset(&c->sc, 0, sizeof(c->sc));
    c->iov = (struct iovec){c->buf, len};
    c->sc.done = cmd_done;
    c->sc.cdb_len = 16;
    c->sc.attr = 1;
    if (below(w, 2) == 0)
        c->sc.in = sg_from_iov(&c->iov, 1, 0, len);
    else
        c->sc.out = sg_from_iov(&c->iov, 1, 0, len);
    c->host = h;
    c->busy = h->ops->queuecommand(h, &c->sc) == 0;
    if (fake_gathers || below(w, 2) == 0) /* else the target could answer what was never sent */
        h->ops->commit(h);
}

static void
manage(struct world *w)
{
    struct scsi_host *h = some_host(w);
    struct wait *x = &w->waits[below(w, WAITS)];
    struct cmd *c = &w->cmds[below(w, CMDS)];
    static const uint8_t lun[8];

    if (h == NULL || x->busy)
        return;
    x->w = (struct scsi_eh_wait){.done = wait_done};
    x->busy = true;
    if (c->busy && !c->aborting) {
        c->aborting = true;
        x->victim = c;
        c->host->ops->eh_abort(c->host, &c->sc, &x->w);
        return;
    }
    switch (below(w, 3)) {
    case 0:
        h->ops->eh_device_reset(h, lun, &x->w);
        break;
    case 1:
        h->ops->eh_target_reset(h, &x->w);
        break;
    default:
        h->ops->eh_session_reset(h, &x->w);
        break;
    }
}

/* ---- the client ----------------------------------------------------------------------------- */

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;

    assert_true(rep->seq > 0 && rep->seq <= w->seqs);
    assert_int_equal(w->asked[rep->seq], rep->type);
    w->asked[rep->seq] = 0xff;
    if (rep->type == ISCSI_UEVENT_TAKE_EVENTS) {
        w->takes--;
        w->next_event = 0;
    }
    assert_true(w->open_requests > 0);
    w->open_requests--;
    if (rep->err < 0) {
        assert_true(rep->why.code == rep->err && rep->why.msg[0] != '\0');
        total_bad++;
        return;
    }
    total_good++;
    if (rep->type == ISCSI_UEVENT_CREATE_SESSION && rep->sid > w->sid_max)
        w->sid_max = rep->sid;
    if (rep->type == ISCSI_UEVENT_TRANSPORT_EP_CONNECT && rep->r.ep > w->ep_max)
        w->ep_max = rep->r.ep;
    if (rep->type == ISCSI_UEVENT_START_CONN)
        total_up++;
    for (uint32_t i = 1; rep->type == ISCSI_UEVENT_LIST_SESSIONS && i < rep->r.sessions.count; i++)
        assert_true(rep->r.sessions.sid[i] > rep->r.sessions.sid[i - 1]);
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct world *w = user;
    bool any = w->next_event == 0 || w->takes > 0;

    (void)data;
    if (ev->type == ISCSI_KEVENT_LOST) {
        assert_true(ev->u.lost.count > 0 && ev->u.lost.count < ev->number);
        assert_true(any || ev->number - ev->u.lost.count == w->next_event);
    } else {
        assert_true(any || ev->number == w->next_event);
    }
    w->next_event = ev->number + 1;
    total_events++;
}

static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

/* The carrier is full at times. */
static int
full_send(struct ipc_carrier *c, struct ipc_packet *p)
{
    if (p->lane == IPC_LANE_EVENTS && now->refuse)
        return -EAGAIN;
    return ipc_queue_send(c, p);
}

static const struct ipc_carrier_ops full_ops = {.send = full_send};

static void
on_broken(void *user, int err)
{
    (void)user;
    fail_msg("an end was told %d of the other", err);
}

static void
client_comes(struct world *w)
{
    struct ipc_client client;

    assert_int_equal(w->generation, 0);
    ipc_queue_init(&w->queue, &w->fl.l);
    w->queue.carrier.ops = &full_ops;
    assert_int_equal(ipc_encoded_server_new(&w->queue.carrier, &dataplane_server_ops, w->dp,
                                            on_broken, w, &w->server_end, &client),
                     0);
    assert_int_equal(ipc_encoded_client_new(&w->queue.carrier, on_broken, w, &w->client_end), 0);
    w->ipc = ipc_encoded_client_ipc(w->client_end);
    w->ipc->ev = &client_events;
    w->ipc->ev_user = w;
    client.hello = w->hello = below(w, 2) == 0;
    w->seqs = w->open_requests = w->takes = 0;
    w->next_event = 0;
    memset(w->asked, 0xff, sizeof(w->asked));
    w->generation = dataplane_set_client(w->dp, &client);
}

static void
client_goes(struct world *w)
{
    if (w->generation == 0)
        return;
    dataplane_detach(w->dp, w->generation);
    w->generation = 0;
    ipc_encoded_client_free(w->client_end);
    ipc_encoded_server_free(w->server_end);
    ipc_queue_fini(&w->queue);
    w->open_requests = 0;
}

static void
random_value(struct world *w, char value[IPC_VALUE_MAX])
{
    static const char *const values[] = {"Yes",    "No",  "None", "CRC32C", "0",
                                         "1",      "2",   "512",  "65536",  "8192",
                                         "262144", "100", "",     "1000",   "16777215"};

    if (below(w, 16) == 0) {
        uint64_t len = below(w, IPC_VALUE_MAX);

        memset(value, 'x', len);
        value[len] = '\0';
    } else {
        strcpy(value, values[below(w, sizeof(values) / sizeof(values[0]))]);
    }
}

static void
random_pdu(struct world *w, struct iscsi_uevent *ev)
{
    static const uint8_t likely[] = {ISCSI_OP_NOP_OUT, ISCSI_OP_LOGIN_REQ, ISCSI_OP_TEXT_REQ,
                                     ISCSI_OP_LOGOUT_REQ};
    union bhs_any h;

    bhs_init(&h, (uint8_t)(likely[below(w, 4)] | (below(w, 2) == 0 ? ISCSI_OP_IMMEDIATE : 0)),
             (uint8_t)(below(w, 2) == 0 ? ISCSI_FLAG_FINAL : below(w, 256)));
    h.h.itt = put32(below(w, 2) == 0 ? ISCSI_TAG_RSVD : (uint32_t)below(w, 64));
    h.text_req.ttt = put32(below(w, 2) == 0 ? ISCSI_TAG_RSVD : 7);
    if (below(w, 8) == 0) {
        for (size_t i = 0; i < sizeof(h.h); i++)
            ((uint8_t *)&h)[i] = (uint8_t)below(w, 256);
    }
    memcpy(&ev->u.send_pdu.hdr, &h, sizeof(ev->u.send_pdu.hdr));
    ev->u.send_pdu.data_len =
        (uint32_t)(below(w, 4) == 0 ? below(w, IPC_PDU_DATA_MAX + 1) : below(w, 600));
}

static void
ask(struct world *w, struct iscsi_uevent *ev, const void *data)
{
    assert_int_equal(ipc_request(w->ipc, ev, data, ipc_uevent_data_len(ev)), 0);
    assert_true(ev->seq == w->seqs + 1);
    w->seqs = ev->seq;
    w->asked[ev->seq] = (uint8_t)ev->type;
    w->open_requests++;
    w->takes += ev->type == ISCSI_UEVENT_TAKE_EVENTS;
}

static void
ask_one(struct world *w, enum iscsi_uevent_type type, uint32_t sid, uint16_t cid, uint64_t ep)
{
    struct iscsi_uevent ev = {.type = type, .sid = sid, .cid = cid, .ep = ep};

    if (type == ISCSI_UEVENT_TRANSPORT_EP_CONNECT || type == ISCSI_UEVENT_CREATE_SESSION)
        strcpy(ev.u.create_session.transport, "fake"); /* which comes first in both */
    if (type == ISCSI_UEVENT_BIND_CONN) {
        ev.u.bind_conn.fd = -1;
        ev.u.bind_conn.leading = (uint8_t)below(w, 2);
    }
    if (type == ISCSI_UEVENT_SET_PARAM) {
        ev.u.set_param.param = ISCSI_PARAM_RECOVERY_TMO;
        strcpy(ev.u.set_param.value, below(w, 3) == 0 ? "-1" : below(w, 2) == 0 ? "0" : "10");
    }
    ask(w, &ev, NULL);
}

/* A login as it should be: of a new session, of another connection, or of one once more. */
static void
log_in(struct world *w)
{
    uint32_t sid;
    uint16_t cid = (uint16_t)below(w, 3);

    if (w->generation == 0 || w->seqs + 16 >= SEQS)
        return;
    if (w->hello) {
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO, .u.hello = {1, 1, 0}};

        ask(w, &ev, NULL);
        ask_one(w, ISCSI_UEVENT_TAKE_EVENTS, 0, 0, 0);
        w->hello = false;
    }
    ask_one(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0);
    if (w->sid_max == 0 || below(w, 3) == 0)
        ask_one(w, ISCSI_UEVENT_CREATE_SESSION, 0, 0, 0);
    fake_advance(&w->fl, below(w, 3) == 0 ? 0 : MS(10));
    fake_turn(&w->fl);
    sid = w->sid_max - (w->sid_max > 1 ? (uint32_t)below(w, 2) : 0);
    ask_one(w, ISCSI_UEVENT_CREATE_CONN, sid, cid, 0);
    ask_one(w, ISCSI_UEVENT_BIND_CONN, sid, cid, w->ep_max);
    ask_one(w, ISCSI_UEVENT_SET_PARAM, sid, cid, 0);
    if (below(w, 2) == 0)
        fake_turn(&w->fl);
    ask_one(w, ISCSI_UEVENT_START_CONN, sid, cid, 0);
    fake_turn(&w->fl);
}

/* Most requests are of the kinds that lead on. */
static enum iscsi_uevent_type
random_type(struct world *w)
{
    static const enum iscsi_uevent_type likely[] = {ISCSI_UEVENT_TRANSPORT_EP_CONNECT,
                                                    ISCSI_UEVENT_CREATE_SESSION,
                                                    ISCSI_UEVENT_CREATE_CONN,
                                                    ISCSI_UEVENT_BIND_CONN,
                                                    ISCSI_UEVENT_BIND_CONN,
                                                    ISCSI_UEVENT_SET_PARAM,
                                                    ISCSI_UEVENT_SEND_PDU,
                                                    ISCSI_UEVENT_SEND_PDU,
                                                    ISCSI_UEVENT_START_CONN,
                                                    ISCSI_UEVENT_START_CONN};

    if (!w->hello || below(w, 2) == 0)
        return below(w, 3) != 0 ? likely[below(w, sizeof(likely) / sizeof(likely[0]))]
                                : (enum iscsi_uevent_type)below(w, ISCSI_UEVENT_COUNT);
    return below(w, 2) == 0 ? ISCSI_UEVENT_HELLO : ISCSI_UEVENT_TAKE_EVENTS;
}

static void
random_request(struct world *w)
{
    static uint8_t data[IPC_PDU_DATA_MAX];
    struct iscsi_uevent ev = {.type = random_type(w)};

    if (w->generation == 0 || w->seqs + 1 >= SEQS)
        return;
    ev.sid = (uint32_t)(below(w, 32) == 0 ? below(w, 1ull << 32)
                                          : below(w, 3) + (w->sid_max > 2 ? w->sid_max - 2 : 1));
    ev.cid = (uint16_t)(below(w, 3));
    ev.ep = below(w, 8) == 0 ? 0 : below(w, 6) + (w->ep_max > 4 ? w->ep_max - 4 : 0);
    switch ((int)ev.type) {
    case ISCSI_UEVENT_TRANSPORT_EP_CONNECT:
    case ISCSI_UEVENT_GET_TRANSPORT:
    case ISCSI_UEVENT_CREATE_SESSION: /* transport is first in each of them */
        strcpy(ev.u.create_session.transport, below(w, 16) != 0  ? "fake"
                                              : below(w, 2) == 0 ? "tcp"
                                                                 : "none");
        break;
    case ISCSI_UEVENT_ENGINE_FD:
        ev.u.engine_fd.fd = (int)below(w, 100);
        w->fds++;
        break;
    case ISCSI_UEVENT_BIND_CONN:
        ev.u.bind_conn.leading = (uint8_t)below(w, 3);
        ev.u.bind_conn.fd = -1;
        if (below(w, 8) == 0) {
            ev.u.bind_conn.fd = (int)below(w, 100);
            w->fds++;
        }
        break;
    case ISCSI_UEVENT_SET_PARAM:
        ev.u.set_param.param = (enum iscsi_param)below(w, ISCSI_PARAM_COUNT);
        random_value(w, ev.u.set_param.value);
        break;
    case ISCSI_UEVENT_STOP_CONN:
        ev.u.stop_conn.how = (enum iscsi_stop)below(w, 2);
        break;
    case ISCSI_UEVENT_SEND_PDU:
        random_pdu(w, &ev);
        break;
    case ISCSI_UEVENT_HELLO:
        ev.u.hello.min = (uint32_t)below(w, 3);
        ev.u.hello.max = (uint32_t)below(w, 4);
        break;
    case ISCSI_UEVENT_TAKE_EVENTS:
        ev.u.take_events.from = below(w, 3) == 0 ? below(w, 100) : 0;
        break;
    case ISCSI_UEVENT_SET_NOTE:
        ev.u.set_note.len = (uint32_t)below(w, IPC_NOTE_MAX + 2);
        break;
    }
    if (ev.type == ISCSI_UEVENT_CREATE_SESSION) {
        ev.u.create_session.initial_cmdsn = (uint32_t)(0u - below(w, 4));
        ev.u.create_session.cmds_max = (uint32_t)(below(w, 64) == 0 ? UINT32_MAX : below(w, 40));
    }
    ask(w, &ev, data);
}

/* ---- worlds --------------------------------------------------------------------------------- */

static void
adapter_changes(struct world *w)
{
    fake_adapter.ep_result = below(w, 4) == 0 ? -ECONNREFUSED : 0;
    fake_adapter.ep_delay_ns = below(w, 2) == 0 ? 0 : MS(5);
    fake_adapter.cleanup_delay_ns = below(w, 2) == 0 ? 0 : MS(1 + below(w, 30));
    fake_adapter.control = below(w, 2) == 0;
    fake_adapter.full = below(w, 4) == 0;
    w->refuse = below(w, 4) == 0;
    for (unsigned i = 0; i < w->nbound && !fake_adapter.full; i++) {
        if (!w->bound[i]->failed)
            w->bound[i]->up->queue_xmit(w->bound[i]);
    }
}

static void
check(struct world *w)
{
    for (uint32_t sid = 1; sid <= w->sid_max; sid++) {
        const struct iscsi_session *s = dataplane_session(w->dp, sid);

        if (s != NULL)
            iscsi_session_check(s);
    }
    if (fake_adapter.nsent > FAKE_SENT_MAX / 2)
        fake_adapter.nsent = 0;
}

static void
step(struct world *w)
{
    switch (below(w, 16)) {
    case 0:
        target_answers(w);
        target_answers(w);
        break;
    case 1:
        target_speaks(w);
        break;
    case 2:
        if (below(w, 4) == 0)
            target_goes(w);
        break;
    case 3:
        send_command(w);
        send_command(w);
        break;
    case 4:
        manage(w);
        break;
    case 5:
        one_stopped(w);
        break;
    case 6:
        adapter_changes(w);
        break;
    case 7:
        if (below(w, 12) == 0)
            client_goes(w);
        if (w->generation == 0 && below(w, 2) == 0)
            client_comes(w);
        break;
    case 8:
        fake_advance(&w->fl, below(w, 8) == 0 ? SEC(below(w, 20)) : MS(below(w, 100)));
        break;
    case 9:
        if (below(w, 2) == 0)
            log_in(w);
        else
            fake_turn(&w->fl);
        break;
    default:
        random_request(w);
        if (below(w, 2) == 0)
            fake_turn(&w->fl);
        break;
    }
    if (below(w, 3) == 0)
        target_answers(w);
}

static void
world_new(struct world *w, uint64_t seed)
{
    struct dataplane_limits limits = {
        .grace_ms = GRACE_MS, .events_max = 16, .event_bytes_max = 1u << 16};

    memset(w, 0, sizeof(*w));
    now = w;
    w->seed = seed;
    w->rng = seed * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
    (void)below(w, 2);
    fake_adapter_reset();
    fake_gathers = seed % 3 == 0;
    w->one_conn = fake_gathers; /* the fake adapter has one room for headers */
    fake_loop_init(&w->fl, seed);
    loop_ops = fake_loop_ops;
    loop_ops.close_fd = close_fd;
    w->fl.l.ops = &loop_ops;
    adapter = fake_transport;
    adapter.bind_conn = adapter_bind;
    adapter.stop_conn = adapter_stop;
    assert_int_equal(transport_register(&w->registry, &adapter, NULL), 0);
    assert_int_equal(dataplane_new(&w->fl.l, &w->registry, &w->dp, NULL), 0);
    dataplane_set_limits(w->dp, &limits);
}

static void
world_free(struct world *w)
{
    bool unasked = below(w, 2) == 0;

    w->refuse = false;
    if (unasked)
        client_goes(w);
    dataplane_shutdown(w->dp);
    for (int i = 0; i < 200; i++) {
        fake_advance(&w->fl, SEC(1));
        one_stopped(w);
    }
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(dataplane_busy(w->dp), 0);
    if (!unasked)
        assert_int_equal(w->open_requests, 0);
    client_goes(w);
    assert_int_equal(w->fds, 0);
    for (int i = 0; i < CMDS; i++)
        assert_false(w->cmds[i].busy);
    for (int i = 0; i < WAITS; i++)
        assert_false(w->waits[i].busy);
    total_done += w->done;
    dataplane_free(w->dp);
}

/* Nobody comes any more, neither a client nor a target, and the adapter lets go of all it stops:
 * no session stays half-way, and no command that its session does not have hangs. */
static void
abandoned(struct world *w)
{
    client_goes(w);
    w->refuse = false;
    fake_adapter.full = false;
    for (int i = 0; i < 200; i++) {
        fake_advance(&w->fl, SEC(1));
        one_stopped(w);
        check(w);
    }
    fake_advance(&w->fl, SEC(ISCSI_RECOVERY_TMO_MAX));
    for (uint32_t sid = 1; sid <= w->sid_max; sid++) {
        const struct iscsi_session *pub = dataplane_session(w->dp, sid);
        const struct session *s;

        if (pub == NULL)
            continue;
        s = (const void *)((const char *)pub - offsetof(struct session, pub));
        if (s->state == ISCSI_STATE_BLOCKED)
            assert_int_equal(s->recovery_tmo_s, ISCSI_RECOVERY_TMO_NEVER);
        if (s->state == ISCSI_STATE_LOGGED_IN)
            assert_int_equal(s->leadconn->state, CONN_LOGGED_IN);
        else
            assert_int_equal(s->outstanding, 0);
    }
}

static void
life(uint64_t seed)
{
    struct world *w = malloc(sizeof(*w));

    assert_non_null(w);
    world_new(w, seed);
    client_comes(w);
    for (int i = 0; i < STEPS; i++) {
        step(w);
        check(w);
    }
    if (seed % 4 == 0)
        abandoned(w);
    world_free(w);
    free(w);
}

static uint64_t first = 1, count = SEEDS;

static void
test_any_order_of_requests(void **state)
{
    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("TEST_VERBOSE") != NULL)
            (void)fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        life(seed);
    }
    (void)printf("%u requests served, %u refused, %u events, %u commands, %u logins\n", total_good,
                 total_bad, total_events, total_done, total_up);
    assert_true(total_good > count && total_bad > count && total_events > count);
    assert_true(total_done > count && total_up > count / 4);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_order_of_requests)};

    if (argc > 1)
        first = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        count = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
