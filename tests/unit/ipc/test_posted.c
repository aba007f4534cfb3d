/* SPDX-License-Identifier: MIT */
/* The encoded binding between two threads under real loops: a login over TCP, what a control plane
 * asks for afterwards, and a logout; and many messages both ways in batches. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "dataplane/dataplane.h"
#include "ipc/ipc.h"
#include "login/login.h"
#include "login/logout.h"
#include "loop/loop.h"
#include "target/target.h"
#include "transport/transport.h"

#define NODE     "iqn.2026-11.example:posted"
#define LIMIT_NS (20 * (int64_t)LOOP_NS_PER_S)
#define MANY     2000

/* What the data plane's thread owns. */
struct plane {
    pthread_t thread;
    struct loop *loop;
    struct transport_registry registry;
    struct dataplane *dp;
    struct target *target;
    struct sock_addr portal;
    struct ipc_encoded_server *end;
    struct ipc_posted *posted;
    struct loop_work stop;
    bool stopping;
};

struct world {
    struct loop *loop; /* the control plane's, of the test's thread */
    struct ipc_posted *posted;
    struct ipc_encoded_client *end;
    struct ipc *ipc;
    struct ctl *ctl;
    struct plane plane;
    /* what came */
    bool done;
    struct login_result res;
    struct lunette_error err;
    struct iscsi_reply reply;
    char target_name[IPC_VALUE_MAX];
    unsigned nreplies, nevents;
    uint64_t last_seq;
};

/* ---- the data plane's thread ---------------------------------------------------------------- */

static void
on_stop(struct loop_work *w)
{
    container_of(w, struct plane, stop)->stopping = true;
}

static void *
plane_run(void *arg)
{
    struct plane *p = arg;

    while (!p->stopping)
        assert(loop_run(p->loop, -1) >= 0);
    dataplane_detach(p->dp, 1);
    dataplane_shutdown(p->dp);
    while (dataplane_busy(p->dp) > 0)
        assert(loop_run(p->loop, LIMIT_NS) >= 0);
    ipc_encoded_server_free(p->end);
    ipc_posted_close_server(p->posted);
    target_free(p->target);
    return NULL;
}

static void
plane_target(struct plane *p)
{
    struct lu_config lun = {.kind = LU_RAM, .size = 1u << 20, .block = 512, .lun = 0};
    struct target_node_config node = {.name = NODE, .luns = &lun, .luns_count = 1};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sock_addr at = {.len = sizeof(in)};
    struct lunette_error err = {.code = 0};

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&at.ss, &in, sizeof(in));
    if (target_new(p->loop, &tc, &p->target, &err) < 0 ||
        target_listen(p->target, &at, &p->portal, &err) < 0)
        fail_msg("%s", err.msg);
}

/* ---- the control plane ---------------------------------------------------------------------- */

static struct world *
world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));
    struct loop_config cfg = {.kind = LOOP_EPOLL};
    struct plane *p = &w->plane;
    struct ipc_client client;

    assert_int_equal(loop_new(&cfg, &w->loop, NULL), 0);
    assert_int_equal(loop_new(&cfg, &p->loop, NULL), 0);
    assert_int_equal(transport_register(&p->registry, &sw_tcp_transport, NULL), 0);
    assert_int_equal(dataplane_new(p->loop, &p->registry, &p->dp, NULL), 0);
    plane_target(p);
    assert_int_equal(ipc_posted_new(w->loop, p->loop, &w->posted), 0);
    p->posted = w->posted;
    assert_int_equal(ipc_encoded_server_new(ipc_posted_carrier(w->posted), &dataplane_server_ops,
                                            p->dp, NULL, NULL, &p->end, &client),
                     0);
    assert_int_equal(ipc_encoded_client_new(ipc_posted_carrier(w->posted), NULL, NULL, &w->end), 0);
    w->ipc = ipc_encoded_client_ipc(w->end);
    assert_int_equal(dataplane_set_client(p->dp, &client), 1);
    loop_work_init(&p->stop, on_stop);
    assert_int_equal(pthread_create(&p->thread, NULL, plane_run, p), 0);
    return w;
}

static void
world_free(struct world *w)
{
    struct plane *p = &w->plane;

    ipc_encoded_client_free(w->end);
    ipc_posted_close_client(w->posted);
    loop_post(p->loop, &p->stop);
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    assert_true(loop_run(p->loop, 0) >= 0); /* what was still under way */
    assert_true(loop_run(w->loop, 0) >= 0);
    dataplane_free(p->dp);
    loop_free(p->loop);
    loop_free(w->loop);
    free(w);
}

static void
wait_done(struct world *w)
{
    while (!w->done)
        assert_true(loop_run(w->loop, LIMIT_NS) > 0);
    w->done = false;
}

static void
on_login(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct world *w = user;

    if (err != NULL)
        w->err = *err;
    else
        w->res = *res;
    w->done = true;
}

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;
    const uint8_t *at = rep->data;
    struct ipc_value v;

    w->reply = *rep;
    w->done = true;
    while (rep->type == ISCSI_UEVENT_GET_SESSION && rep->err == 0 &&
           ipc_value_next(&at, (const uint8_t *)rep->data + rep->r.session.values_len, &v)) {
        if (v.param == ISCSI_PARAM_TARGET_NAME)
            (void)snprintf(w->target_name, sizeof(w->target_name), "%.*s", (int)v.len, v.text);
    }
}

static void
on_logout(void *user, const struct lunette_error *err)
{
    struct world *w = user;

    if (err != NULL)
        w->err = *err;
    w->done = true;
}

static void
ask(struct world *w, enum iscsi_uevent_type type)
{
    struct iscsi_uevent ev = {.type = type, .sid = w->res.sid, .cid = w->res.cid};

    assert_int_equal(ctl_request(w->ctl, &ev, NULL, 0, on_reply, w), 0);
    wait_done(w);
    assert_int_equal(w->reply.err, 0);
}

static void
test_a_login_across_threads(void **state)
{
    struct world *w = world_new();
    struct login_callbacks cb = {.done = on_login, .user = w};
    struct logout_config out = {.nconns = 1};
    struct iscsi_login *login;
    struct iscsi_logout *logout;
    struct login_config cfg;
    struct sockaddr_in in;

    (void)state;
    assert_int_equal(ctl_new(w->loop, w->ipc, &w->ctl), 0);
    login_config_init(&cfg);
    strcpy(cfg.initiator_name, "iqn.2026-11.example:two-threads");
    strcpy(cfg.target_name, NODE);
    strcpy(cfg.portal.host, "127.0.0.1");
    memcpy(&in, &w->plane.portal.ss, sizeof(in));
    cfg.portal.port = ntohs(in.sin_port);
    strcpy(cfg.transport, "tcp");
    login_isid_random(w->loop, cfg.isid);
    assert_int_equal(login_start(w->ctl, &cfg, &cb, &login, &w->err), 0);
    wait_done(w);
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    login_free(&login);
    ask(w, ISCSI_UEVENT_LIST_SESSIONS);
    assert_int_equal(w->reply.r.sessions.count, 1);
    assert_int_equal(w->reply.r.sessions.sid[0], w->res.sid);
    ask(w, ISCSI_UEVENT_GET_SESSION);
    assert_int_equal(w->reply.r.session.state, IPC_SESSION_RUNNING);
    assert_string_equal(w->target_name, NODE);
    ask(w, ISCSI_UEVENT_GET_CONN);
    assert_int_equal(w->reply.r.conn.state, IPC_CONN_STARTED);
    out.sid = w->res.sid;
    out.conns[0].cid = w->res.cid;
    assert_int_equal(session_logout_task(w->ctl, &out, on_logout, w, &logout), 0);
    wait_done(w);
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    logout_free(&logout);
    ask(w, ISCSI_UEVENT_LIST_SESSIONS);
    assert_int_equal(w->reply.r.sessions.count, 0);
    ctl_free(&w->ctl);
    world_free(w);
}

/* ---- many messages -------------------------------------------------------------------------- */

static void
on_many_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;

    assert_int_equal(rep->seq, w->last_seq + 1); /* in order */
    assert_int_equal(rep->err, rep->type == ISCSI_UEVENT_CREATE_SESSION ? 0 : -ENOENT);
    w->last_seq = rep->seq;
    w->nreplies++;
}

static void
on_many_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    (void)ev;
    (void)data;
    ((struct world *)user)->nevents++;
}

static const struct ipc_events many_events = {.reply = on_many_reply, .event = on_many_event};

/* Batches of all sizes, sent while others are answered. */
static void
test_many_messages(void **state)
{
    struct world *w = world_new();
    unsigned sent = 0;

    (void)state;
    w->ipc->ev = &many_events;
    w->ipc->ev_user = w;
    for (unsigned batch = 1; sent < MANY; batch = batch % 37 + 1) {
        for (unsigned i = 0; i < batch; i++, sent++) {
            struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_CONN, .sid = 99};

            assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
        }
        assert_true(loop_run(w->loop, 0) >= 0);
    }
    while (w->nreplies < sent)
        assert_true(loop_run(w->loop, LIMIT_NS) > 0);
    world_free(w);
}

/* The control plane goes while its requests are under way: they are served, and answers to nobody
 * are dropped. */
static void
test_an_end_in_the_middle(void **state)
{
    struct world *w = world_new();

    (void)state;
    w->ipc->ev = &many_events;
    w->ipc->ev_user = w;
    for (unsigned i = 0; i < 100; i++) {
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};

        strcpy(ev.u.create_session.transport, "tcp");
        assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
        if (i % 10 == 0)
            assert_true(loop_run(w->loop, 0) >= 0);
    }
    world_free(w);
}

/* A client that does not run does not fill the memory with events.  Both loops are of this thread.
 */
static void
test_events_under_way_are_bounded(void **state)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_EP_EVENT};
    struct loop_config cfg = {.kind = LOOP_EPOLL};
    struct world w = {.nevents = 0};
    struct ipc_encoded_server *end;
    struct ipc_client client;
    struct loop *server;

    (void)state;
    assert_int_equal(loop_new(&cfg, &w.loop, NULL), 0);
    assert_int_equal(loop_new(&cfg, &server, NULL), 0);
    assert_int_equal(ipc_posted_new(w.loop, server, &w.posted), 0);
    assert_int_equal(ipc_encoded_server_new(ipc_posted_carrier(w.posted), &dataplane_server_ops,
                                            NULL, NULL, NULL, &end, &client),
                     0);
    assert_int_equal(ipc_encoded_client_new(ipc_posted_carrier(w.posted), NULL, NULL, &w.end), 0);
    ipc_encoded_client_ipc(w.end)->ev = &many_events;
    ipc_encoded_client_ipc(w.end)->ev_user = &w;
    for (unsigned i = 0; i < IPC_POSTED_EVENTS_MAX; i++) {
        assert_int_equal(client.event(client.binding, &ev, NULL), 0);
        if (i % 100 == 0)
            assert_true(loop_run(server, 0) >= 0);
    }
    assert_int_equal(client.event(client.binding, &ev, NULL), -EAGAIN);
    assert_true(loop_run(server, 0) >= 0);
    assert_true(loop_run(w.loop, 0) > 0);
    assert_int_equal(w.nevents, IPC_POSTED_EVENTS_MAX);
    assert_int_equal(client.event(client.binding, &ev, NULL), 0);
    ipc_encoded_server_free(end);
    ipc_posted_close_server(w.posted); /* sends what was gathered */
    assert_true(loop_run(w.loop, 0) > 0);
    assert_int_equal(w.nevents, IPC_POSTED_EVENTS_MAX + 1);
    ipc_encoded_client_free(w.end);
    ipc_posted_close_client(w.posted);
    loop_free(server);
    loop_free(w.loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_login_across_threads),
        cmocka_unit_test(test_many_messages),
        cmocka_unit_test(test_an_end_in_the_middle),
        cmocka_unit_test(test_events_under_way_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
