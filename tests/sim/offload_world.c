/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "tests/sim/offload_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offload/ep.h"

/* ---- what the owner of sessions tells ------------------------------------------------------- */

static void
on_recv_pdu(void *user, void *conn, const struct bhs *hdr, const void *data, uint32_t len)
{
    struct world_session *ws = user;

    (void)data;
    assert_ptr_equal(conn, ws->conn);
    assert_int_equal(len, 0);
    ws->pdus++;
    ws->pdu = *hdr;
}

static void
on_conn_error(void *user, void *conn, const struct dp_conn_loss *loss)
{
    (void)user;
    (void)conn;
    (void)loss;
    fail_msg("a session that logs in by itself tells of no lost connection");
}

static void
on_conn_down(void *user, void *conn)
{
    struct world_session *ws = user;

    assert_ptr_equal(conn, ws->conn);
    ws->downs++;
    if (ws->in_down != NULL)
        ws->in_down(ws);
}

static void
on_state(void *user, enum scsi_host_state state, const struct lunette_error *why)
{
    struct world_session *ws = user;

    assert_int_equal(state, ws->host->state);
    assert_true((why == NULL) == (state == SCSI_HOST_RUNNING));
    ws->states++;
    ws->state = state;
    if (why != NULL)
        ws->state_why = *why;
    if (ws->in_state != NULL)
        ws->in_state(ws);
}

static void
on_freed(void *user)
{
    struct world_session *ws = user;

    ws->freed++;
    ws->s = ws->conn = NULL;
    ws->host = NULL;
}

static void
on_login_state(void *user, void *conn, const struct lunette_error *why)
{
    struct world_session *ws = user;

    assert_ptr_equal(conn, ws->conn);
    ws->logins++;
    ws->login_why = (struct lunette_error){0};
    if (why != NULL)
        ws->login_why = *why;
}

static const struct dp_session_events session_events = {
    .recv_pdu = on_recv_pdu,
    .conn_error = on_conn_error,
    .conn_down = on_conn_down,
    .state = on_state,
    .freed = on_freed,
    .login_state = on_login_state,
};

static void
on_restart(void *user)
{
    ((struct world_session *)user)->restarts++;
}

static void
on_host_state(void *user, enum scsi_host_state s, const struct lunette_error *why)
{
    (void)user;
    (void)s;
    (void)why;
}

static const struct scsi_host_events host_events = {.restart = on_restart, .state = on_host_state};

static void
on_ep_event(struct iscsi_endpoint *ep, int err)
{
    struct world_session *ws = container_of(ep, struct world_session, ep);

    ws->ep_event = err < 0 ? err : 1;
    ws->ep_events++;
}

static const struct iscsi_upcalls ep_upcalls = {
    .version = ISCSI_TRANSPORT_VERSION, .size = sizeof(ep_upcalls), .ep_event = on_ep_event};

static void
on_log(void *user, enum log_level level, const char *line)
{
    struct world *w = user;
    size_t n = strlen(w->log);

    if (level <= LOG_LEVEL_WARN)
        (void)snprintf(w->log + n, sizeof(w->log) - n, "%s\n", line);
}

/* ---- the world ------------------------------------------------------------------------------ */

void
world_begin(struct world *w, uint64_t seed, const struct sim_config *cfg)
{
    memset(w, 0, sizeof(*w));
    w->sim = sim_new(seed, cfg);
    w->l = sim_loop(w->sim);
    w->logger = (struct log){LOG_LEVEL_DEBUG, on_log, w};
    w->l->log = &w->logger;
    w->host = (struct iscsi_host){.tt = &offload_session_transport,
                                  .loop = w->l,
                                  .dd_data = calloc(1, offload_session_transport.host_size)};
    assert_int_equal(offload_session_transport.create_host(&w->host, NULL), 0);
    for (unsigned i = 0; i < WORLD_SESSIONS; i++)
        w->ses[i].w = w;
}

static bool
all_freed(void *user)
{
    struct world *w = user;

    for (unsigned i = 0; i < WORLD_SESSIONS; i++) {
        if (w->ses[i].s != NULL)
            return false;
    }
    return true;
}

void
world_end(struct world *w)
{
    for (unsigned i = 0; i < WORLD_SESSIONS; i++) {
        if (w->ses[i].s != NULL)
            offload_session_ops.teardown(w->ses[i].s);
    }
    assert_true(world_until(w, all_freed, 100 * SEC));
    assert_int_equal(world_outstanding(w), 0);
    for (unsigned i = 0; i < WORLD_SESSIONS; i++) {
        if (w->ses[i].ep_there)
            world_disconnect(w, i);
    }
    world_run(w, 100 * MS);
    offload_session_transport.destroy_host(&w->host);
    free(w->host.dd_data);
    fake_engine_stop(&w->fe);
    sim_free(w->sim);
}

void
world_run(struct world *w, uint64_t ns)
{
    (void)sim_run_until(w->sim, NULL, NULL, ns);
}

bool
world_until(struct world *w, bool (*done)(void *user), uint64_t ns)
{
    return sim_run_until(w->sim, done, w, ns);
}

int
world_connect(struct world *w, unsigned i, const char *options, struct lunette_error *err)
{
    struct world_session *ws = &w->ses[i];
    int r;

    ws->dd = calloc(1, sizeof(*ws->dd));
    ws->ep = (struct iscsi_endpoint){.tt = &offload_session_transport,
                                     .host = &w->host,
                                     .loop = w->l,
                                     .id = 7 + i,
                                     .dd_data = ws->dd,
                                     .options = options};
    ws->ep_event = 0;
    r = offload_session_transport.ep_connect(&ws->ep, &(struct sock_addr){0}, &ep_upcalls, err);
    ws->ep.options = NULL;
    ws->ep_there = r == 0;
    if (r < 0)
        free(ws->dd);
    return r;
}

void
world_disconnect(struct world *w, unsigned i)
{
    struct world_session *ws = &w->ses[i];

    offload_session_transport.ep_disconnect(&ws->ep);
    free(ws->dd);
    ws->ep_there = false;
}

void
world_param(struct world *w, unsigned i, enum iscsi_param p, const char *value)
{
    struct lunette_error err;

    assert_int_equal(offload_session_ops.set_param(w->ses[i].conn, p, value, &err), 0);
}

void
world_create(struct world *w, unsigned i)
{
    struct world_session *ws = &w->ses[i];
    struct dp_session_config cfg = {.loop = w->l,
                                    .tt = &offload_session_transport,
                                    .host = &w->host,
                                    .sid = 1 + i,
                                    .ev = &session_events,
                                    .user = ws};
    struct lunette_error err;

    assert_int_equal(offload_session_ops.create(&cfg, &ws->s, &ws->host, &err), 0);
    assert_int_equal(ws->host->state, SCSI_HOST_BLOCKED);
    ws->host->ev = &host_events;
    ws->host->ev_user = ws;
    assert_int_equal(offload_session_ops.create_conn(ws->s, 0, &ws->conn, &err), 0);
    assert_int_equal(
        offload_session_ops.bind_conn(ws->conn, (int64_t)ws->ep.id, &ws->ep, true, &err), 0);
    world_param(w, i, ISCSI_PARAM_TARGET_NAME, "iqn.2026-11.example:disk");
    world_param(w, i, ISCSI_PARAM_INITIATOR_NAME, "iqn.2026-11.example:me");
    world_param(w, i, ISCSI_PARAM_PORTAL, "192.0.2.1:3260");
}

int
world_start(struct world *w, unsigned i)
{
    struct lunette_error err;

    return offload_session_ops.start_conn(w->ses[i].conn, &err);
}

static bool
connected(void *user)
{
    const struct world *w = user;

    for (unsigned i = 0; i < WORLD_SESSIONS; i++) {
        if (w->ses[i].ep_there && w->ses[i].ep_event == 0)
            return false;
    }
    return true;
}

static bool
told(void *user)
{
    const struct world *w = user;

    for (unsigned i = 0; i < WORLD_SESSIONS; i++) {
        if (w->ses[i].s != NULL && w->ses[i].logins == 0)
            return false;
    }
    return true;
}

void
world_log_in(struct world *w, unsigned i)
{
    struct lunette_error err;

    assert_int_equal(world_connect(w, i, WORLD_ENGINE, &err), 0);
    assert_true(world_until(w, connected, SEC));
    assert_int_equal(w->ses[i].ep_event, 1);
    assert_int_equal(offload_session_transport.ep_poll(&w->ses[i].ep), 1);
    world_create(w, i);
    assert_int_equal(world_start(w, i), 0);
    assert_int_equal(w->ses[i].logins, 0);
    assert_true(world_until(w, told, SEC));
    assert_int_equal(w->ses[i].login_why.code, 0);
    assert_int_equal(w->ses[i].host->state, SCSI_HOST_RUNNING);
}

/* ---- commands ------------------------------------------------------------------------------- */

static void
on_done(struct scsi_cmd *sc)
{
    struct world_cmd *c = container_of(sc, struct world_cmd, sc);

    assert_true(c->out);
    assert_null(sc->host_priv);
    c->out = false;
    c->done++;
}

int
world_submit(struct world *w, unsigned i, unsigned cmd, uint8_t opcode, uint32_t lba, uint32_t len)
{
    struct world_cmd *c = &w->cmd[cmd];
    struct scsi_host *h = w->ses[i].host;
    int r;

    assert_false(c->out);
    c->w = w;
    c->sc = (struct scsi_cmd){.done = on_done, .cdb_len = 10, .attr = 1};
    c->iov = (struct iovec){c->data, sizeof(c->data)};
    c->sc.cdb[0] = opcode;
    c->sc.cdb[4] = (uint8_t)(lba >> 8);
    c->sc.cdb[5] = (uint8_t)lba;
    c->sc.lun[1] = 3;
    if (opcode == 0x28)
        c->sc.in = sg_from_iov(&c->iov, 1, 0, len);
    if (opcode == 0x2a)
        c->sc.out = sg_from_iov(&c->iov, 1, 0, len);
    r = h->ops->queuecommand(h, &c->sc);
    c->out = r == 0;
    h->ops->commit(h);
    return r;
}

unsigned
world_outstanding(const struct world *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < WORLD_CMDS; i++)
        n += w->cmd[i].out;
    return n;
}

bool
world_idle(void *world)
{
    return world_outstanding(world) == 0;
}

static void
on_wait_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct world_wait *x = container_of(w, struct world_wait, w);

    x->done++;
    x->result = r;
}

void
world_wait_init(struct world_wait *x)
{
    *x = (struct world_wait){.w = {.done = on_wait_done}};
}

void
world_abort(struct world *w, unsigned i, unsigned cmd, struct world_wait *x)
{
    world_wait_init(x);
    w->ses[i].host->ops->eh_abort(w->ses[i].host, &w->cmd[cmd].sc, &x->w);
}
