/* SPDX-License-Identifier: MIT */
/* Control plane and data plane in two processes: a login whose connection is passed over, a control
 * plane that comes again and finds it, and a data plane that is killed.
 * "test_processes epoll" or "uring". */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "dataplane/dataplane.h"
#include "ipc/acceptor.h"
#include "ipc/socket.h"
#include "login/login.h"
#include "loop/loop.h"
#include "target/target.h"
#include "tests/support/loop_kind.h"
#include "tests/support/loop_until.h"
#include "transport/transport.h"

#define NODE     "iqn.2026-11.example:processes"
#define LIMIT_NS (20 * LOOP_NS_PER_S)

static enum loop_kind kind;

/* ---- the data plane's process --------------------------------------------------------------- */

struct plane {
    struct transport_registry registry;
    struct dataplane *dp;
    struct ipc_socket *k;
    struct ipc_encoded_server *end;
    uint64_t generation;
};

static void
plane_forget(struct plane *p)
{
    if (p->k == NULL)
        return;
    dataplane_detach(p->dp, p->generation);
    ipc_encoded_server_free(p->end);
    ipc_socket_free(p->k);
    p->k = NULL;
}

static void
on_client_gone(void *user, const struct lunette_error *why)
{
    (void)why;
    plane_forget(user);
}

static void
on_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct plane *p = user;
    struct ipc_client client;

    (void)loop;
    plane_forget(p);
    if (ipc_socket_server_new(s, hello, on_client_gone, p, &p->k) < 0 ||
        ipc_encoded_server_new(ipc_socket_carrier(p->k), &dataplane_server_ops, p->dp,
                               ipc_socket_broken, p->k, &p->end, &client) < 0)
        _exit(1);
    client.hello = true;
    p->generation = dataplane_set_client(p->dp, &client);
}

/* The kernel lets go of a listening socket to which io_uring refers some time after its process has
 * been killed, so that the path may not be free yet. */
static int
listen_soon(struct loop *l, const struct sock_addr *at, struct plane *p)
{
    uint64_t until = l->now_ns + LIMIT_NS;
    struct ipc_acceptor *acceptor;
    int r;

    do {
        r = ipc_acceptor_new(l, at, -1, 1, on_accepted, p, &acceptor, NULL);
        if (r < 0 && loop_run(l, (int64_t)(10 * LOOP_NS_PER_MS)) < 0)
            break;
    } while (r == -EADDRINUSE && l->now_ns < until);
    return r;
}

/* Runs until it is killed. */
static void
plane_run(const struct sock_addr *at, int ready)
{
    struct loop_config cfg = {.kind = kind};
    static struct plane p;
    struct loop *l;

    if (loop_new(&cfg, &l, NULL) < 0 ||
        transport_register(&p.registry, &sw_tcp_transport, NULL) < 0 ||
        dataplane_new(l, &p.registry, &p.dp, NULL) < 0 || listen_soon(l, at, &p) < 0 ||
        write(ready, "r", 1) != 1)
        _exit(1);
    while (loop_run(l, -1) >= 0) {
    }
    _exit(1);
}

/* ---- the control plane's -------------------------------------------------------------------- */

struct world {
    struct loop *l;
    struct target *target;
    struct sock_addr portal, at;
    char dir[64], path[80];
    pid_t pid;
    struct stream *s;
    struct ipc_socket *k;
    struct ipc_encoded_client *end;
    struct ctl *ctl;
    struct login_result res;
    struct lunette_error err, gone_why;
    struct iscsi_reply reply;
    unsigned gone;
    bool done;
};

#define UNTIL(w, cond) LOOP_UNTIL((w)->l, cond)

static void
plane_start(struct world *w)
{
    int ready[2];
    char c;

    assert_int_equal(pipe(ready), 0);
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
        (void)close(ready[0]);
        plane_run(&w->at, ready[1]);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    (void)close(ready[0]);
}

static void
plane_kill(struct world *w)
{
    int status;

    assert_int_equal(kill(w->pid, SIGKILL), 0);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_true(WIFSIGNALED(status));
}

static struct world *
world_new(void)
{
    struct lu_config lun = {.kind = LU_RAM, .size = 1u << 20, .block = 512, .lun = 0};
    struct target_node_config node = {.name = NODE, .luns = &lun, .luns_count = 1};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sock_addr at = {.len = sizeof(in)};
    struct world *w = calloc(1, sizeof(*w));
    struct loop_config cfg = {.kind = kind};

    assert_non_null(w);
    strcpy(w->dir, "/tmp/lunette-processes-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->path, sizeof(w->path), "%s/sock", w->dir);
    assert_int_equal(sock_addr_local(w->path, strlen(w->path), &w->at, NULL), 0);
    plane_start(w);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&at.ss, &in, sizeof(in));
    assert_int_equal(loop_new(&cfg, &w->l, NULL), 0);
    if (target_new(w->l, &tc, &w->target, &w->err) < 0 ||
        target_listen(w->target, &at, &w->portal, &w->err) < 0)
        fail_msg("%s", w->err.msg);
    return w;
}

static void
control_end(struct world *w)
{
    ctl_free(&w->ctl);
    ipc_encoded_client_free(w->end);
    ipc_socket_free(w->k);
    w->end = NULL;
    w->k = NULL;
}

static void
world_free(struct world *w)
{
    target_free(w->target);
    loop_free(w->l);
    (void)unlink(w->path); /* who is killed leaves it */
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
}

static void
on_plane_gone(void *user, const struct lunette_error *why)
{
    struct world *w = user;

    w->gone++;
    w->gone_why = *why;
    control_end(w);
}

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;

    w->reply = *rep;
    w->done = true;
}

static void
ask(struct world *w, struct iscsi_uevent *ev)
{
    w->done = false;
    assert_int_equal(ctl_request(w->ctl, ev, NULL, 0, on_reply, w), 0);
    UNTIL(w, w->done);
    if (w->reply.err < 0)
        fail_msg("request %d: %s", (int)ev->type, w->reply.why.msg);
}

static void
on_connected(void *user, int err)
{
    struct world *w = user;

    assert_int_equal(err, 0);
    w->done = true;
}

static const struct stream_events connect_events = {.connected = on_connected};

static void
control_begin(struct world *w, uint64_t generation)
{
    struct iscsi_uevent hello = {.type = ISCSI_UEVENT_HELLO,
                                 .u.hello = {IPC_VERSION_MIN, IPC_VERSION_MAX, 0}};
    struct iscsi_uevent take = {.type = ISCSI_UEVENT_TAKE_EVENTS};

    w->done = false;
    assert_int_equal(stream_connect_packets(w->l, &w->at, &connect_events, w, &w->s), 0);
    UNTIL(w, w->done);
    assert_int_equal(ipc_socket_client_new(w->s, on_plane_gone, w, &w->k), 0);
    assert_int_equal(
        ipc_encoded_client_new(ipc_socket_carrier(w->k), ipc_socket_broken, w->k, &w->end), 0);
    assert_int_equal(ctl_new(w->l, ipc_encoded_client_ipc(w->end), &w->ctl), 0);
    ask(w, &hello);
    assert_int_equal(w->reply.r.hello.generation, generation);
    assert_int_equal(w->reply.r.hello.loops, 1);
    ask(w, &take);
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
log_in(struct world *w)
{
    struct login_callbacks cb = {.done = on_login, .user = w};
    struct iscsi_login *login;
    struct login_config cfg;
    struct sockaddr_in in;

    login_config_init(&cfg);
    strcpy(cfg.initiator_name, "iqn.2026-11.example:two-processes");
    strcpy(cfg.target_name, NODE);
    strcpy(cfg.portal.host, "127.0.0.1");
    memcpy(&in, &w->portal.ss, sizeof(in));
    cfg.portal.port = ntohs(in.sin_port);
    strcpy(cfg.transport, "tcp");
    login_isid_random(w->l, cfg.isid);
    w->done = false;
    assert_int_equal(login_start(w->ctl, &cfg, &cb, &login, &w->err), 0);
    UNTIL(w, w->done);
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    login_free(&login);
}

/* The session is there, as often as a control plane goes and comes. */
static void
session_is_running(struct world *w)
{
    struct iscsi_uevent list = {.type = ISCSI_UEVENT_LIST_SESSIONS};
    struct iscsi_uevent get = {.type = ISCSI_UEVENT_GET_CONN, .sid = w->res.sid, .cid = w->res.cid};

    ask(w, &list);
    assert_int_equal(w->reply.r.sessions.count, 1);
    assert_int_equal(w->reply.r.sessions.sid[0], w->res.sid);
    ask(w, &get);
    assert_int_equal(w->reply.r.conn.state, IPC_CONN_STARTED);
}

static void
test_a_session_outlives_its_control_plane(void **state)
{
    struct world *w = world_new();
    struct iscsi_uevent end = {.type = ISCSI_UEVENT_DESTROY_SESSION};

    (void)state;
    control_begin(w, 1);
    log_in(w);
    session_is_running(w);
    for (uint64_t generation = 2; generation < 6; generation++) {
        control_end(w);
        control_begin(w, generation);
        session_is_running(w);
    }
    end.sid = w->res.sid;
    ask(w, &end);
    control_end(w);
    plane_kill(w);
    world_free(w);
}

/* Its control plane is told, and the next data plane takes its place at the same path. */
static void
test_a_data_plane_is_killed_and_started_again(void **state)
{
    struct world *w = world_new();

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        control_begin(w, 1);
        log_in(w);
        session_is_running(w);
        plane_kill(w);
        UNTIL(w, w->gone == i + 1);
        assert_int_equal(w->gone_why.code, -EPIPE);
        plane_start(w);
    }
    plane_kill(w);
    world_free(w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_outlives_its_control_plane),
        cmocka_unit_test(test_a_data_plane_is_killed_and_started_again),
    };
    int r = loop_kind_named(argc, argv, &kind);

    return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
