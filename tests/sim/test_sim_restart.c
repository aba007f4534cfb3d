/* SPDX-License-Identifier: MIT */
/* A control plane goes away in the middle of a login and another comes: it lists what is there,
 * finds what its predecessor has told, adopts the session that runs, on which I/O goes on all the
 * while, and undoes the half-made one, goes on with it, or leaves it to the time limit.
 *
 * One seed: one place in the login, one delay, one way of the successor.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "dataplane/dataplane.h"
#include "login/login.h"
#include "login/logout.h"
#include "target/target.h"
#include "tests/sim/planes.h"
#include "tests/sim/sim_loop.h"
#include "tests/support/ipc_delayed.h"
#include "transport/transport.h"
#include "wire/be.h"

#define MS       LOOP_NS_PER_MS
#define NODE     "iqn.2026-11.example:sim"
#define LUN_SIZE (1u << 20)
#define BLOCK    512u
#define DEPTH    4
#define IO_BYTES 4096u
#define GRACE_MS 200u
#define SEEDS    200
#define LIMIT_NS (60 * LOOP_NS_PER_S)

enum way { UNDO, GO_ON, LEAVE, WAYS };

struct world;

/* One slot of the load: writes a pattern, reads it back, compares. */
struct io {
    struct scsi_cmd sc;
    struct world *w;
    struct iovec iov;
    uint8_t buf[IO_BYTES];
    uint32_t lba, round;
    bool reading, stalled;
};

struct found {
    uint32_t sid;
    enum ipc_session_state state;
    uint64_t owner;
    uint32_t nconns;
    uint16_t cid;
    char target[IPC_VALUE_MAX], isid[IPC_VALUE_MAX], tsih[IPC_VALUE_MAX];
    char note[IPC_NOTE_MAX + 1];
};

struct world {
    struct sim *sim;
    struct loop *loop; /* of both planes */
    struct target *target;
    struct sock_addr portal;
    struct transport_registry registry;
    struct dataplane *dp;
    /* the control plane that is there */
    struct ipc_delayed *binding;
    struct ctl *ctl;
    uint64_t generation;
    struct iscsi_login *login;
    /* what it heard */
    bool done;
    struct iscsi_reply reply;
    struct found found;
    struct login_result res;
    struct lunette_error err;
    unsigned turns;
    char tsih[16]; /* of the first session */
    /* the load on the first session */
    struct scsi_host *host;
    struct io io[DEPTH];
    bool io_stop;
    unsigned ios, io_running, attentions;
};

/* ---- the load ------------------------------------------------------------------------------- */

static void io_done(struct scsi_cmd *sc);

static void
io_fill(struct io *io)
{
    struct scsi_cmd *sc = &io->sc;

    if (!io->reading) {
        for (uint32_t i = 0; i < IO_BYTES; i++)
            io->buf[i] = (uint8_t)(io->lba + io->round + i);
    } else {
        memset(io->buf, 0xee, sizeof(io->buf));
    }
    memset(sc, 0, offsetof(struct scsi_cmd, sense));
    io->iov = (struct iovec){io->buf, IO_BYTES};
    sc->done = io_done;
    sc->cdb[0] = io->reading ? 0x28 : 0x2a;
    st_be32(sc->cdb + 2, io->lba);
    st_be16(sc->cdb + 7, IO_BYTES / BLOCK);
    sc->cdb_len = 10;
    sc->attr = 1;
    if (io->reading)
        sc->in = sg_from_iov(&io->iov, 1, 0, IO_BYTES);
    else
        sc->out = sg_from_iov(&io->iov, 1, 0, IO_BYTES);
}

static void
io_queue(struct io *io)
{
    struct scsi_host *h = io->w->host;
    int r;

    io_fill(io);
    r = h->ops->queuecommand(h, &io->sc);
    io->stalled = r == -EBUSY;
    assert_true(r == 0 || r == -EBUSY);
    io->w->io_running += r == 0;
    h->ops->commit(h);
}

static void
io_done(struct scsi_cmd *sc)
{
    struct io *io = container_of(sc, struct io, sc);
    struct world *w = io->w;

    w->io_running--;
    if (sc->host_result == DID_OK && sc->status == 2 && w->attentions < DEPTH) {
        w->attentions++; /* the unit attention of a new nexus */
    } else {
        assert_int_equal(sc->not_good, 0);
        assert_int_equal(sc->not_moved, 0);
        for (uint32_t i = 0; io->reading && i < IO_BYTES; i++)
            assert_int_equal(io->buf[i], (uint8_t)(io->lba + io->round + i));
        io->round += io->reading;
        io->reading = !io->reading;
        w->ios++;
    }
    if (!w->io_stop)
        io_queue(io);
}

static void
on_restart(void *user)
{
    struct world *w = user;

    for (int i = 0; i < DEPTH; i++) {
        if (w->io[i].stalled && !w->io_stop)
            io_queue(&w->io[i]);
    }
}

static void
on_host_state(void *user, enum scsi_host_state s, const struct lunette_error *why)
{
    (void)why;
    assert_true(s == SCSI_HOST_RUNNING || ((struct world *)user)->io_stop);
}

static const struct scsi_host_events host_events = {.restart = on_restart, .state = on_host_state};

static void
io_start(struct world *w, uint32_t sid)
{
    w->host = dataplane_host(w->dp, sid);
    assert_non_null(w->host);
    w->host->ev = &host_events;
    w->host->ev_user = w;
    for (uint32_t i = 0; i < DEPTH; i++) {
        w->io[i].w = w;
        w->io[i].lba = i * 64;
        io_queue(&w->io[i]);
    }
}

/* ---- a control plane ------------------------------------------------------------------------ */

static bool
is_done(void *user)
{
    return ((struct world *)user)->done;
}

static void
wait_done(struct world *w)
{
    assert_true(sim_run_until(w->sim, is_done, w, LIMIT_NS));
    w->done = false;
}

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;
    struct found *f = &w->found;
    const uint8_t *at = rep->data, *end;
    struct ipc_value v;

    w->reply = *rep;
    w->done = true;
    if (rep->type != ISCSI_UEVENT_GET_SESSION || rep->err < 0)
        return;
    *f = (struct found){.sid = rep->sid,
                        .state = rep->r.session.state,
                        .owner = rep->r.session.owner,
                        .nconns = rep->r.session.nconns,
                        .cid = rep->r.session.cid[0]};
    end = at + rep->r.session.values_len;
    while (ipc_value_next(&at, end, &v)) {
        char *to = v.param == ISCSI_PARAM_TARGET_NAME ? f->target
                   : v.param == ISCSI_PARAM_ISID      ? f->isid
                   : v.param == ISCSI_PARAM_TSIH      ? f->tsih
                                                      : NULL;

        if (to != NULL)
            memcpy(to, v.text, v.len);
    }
    memcpy(f->note, end, rep->r.session.note_len);
}

static int
ask(struct world *w, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    assert_int_equal(ctl_request(w->ctl, ev, data, len, on_reply, w), 0);
    wait_done(w);
    return w->reply.err;
}

static int
ask_for(struct world *w, enum iscsi_uevent_type type, uint32_t sid, uint16_t cid)
{
    struct iscsi_uevent ev = {.type = type, .sid = sid, .cid = cid};

    return ask(w, &ev, NULL, 0);
}

static void
plane_start(struct world *w)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};
    struct ipc_client client;

    assert_int_equal(ipc_delayed_new(w->loop, sim_below(w->sim, 2) * MS, &dataplane_server_ops,
                                     w->dp, &w->binding, &client),
                     0);
    client.hello = true;
    w->generation = dataplane_set_client(w->dp, &client);
    assert_int_equal(ctl_new(w->loop, ipc_delayed_ipc(w->binding), &w->ctl), 0);
    ev.u.hello.min = ev.u.hello.max = 1;
    assert_int_equal(ask(w, &ev, NULL, 0), 0);
    assert_int_equal(w->reply.r.hello.generation, w->generation);
}

static void
take_events(struct world *w, uint64_t from)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TAKE_EVENTS};

    ev.u.take_events.from = from;
    assert_int_equal(ask(w, &ev, NULL, 0), 0);
}

static bool
no_requests(void *user)
{
    return ipc_delayed_requests(((struct world *)user)->binding) == 0;
}

/* As a process that is killed: what it has written to its socket may still be read. */
static void
plane_die(struct world *w)
{
    ipc_delayed_cut(w->binding);
    login_free(&w->login);
    ctl_free(&w->ctl);
    if (sim_below(w->sim, 2) == 0)
        assert_true(sim_run_until(w->sim, no_requests, w, LIMIT_NS));
    planes_detach(w->dp, w->generation, &w->binding);
    w->done = false;
}

static void
on_login(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct world *w = user;

    w->err = (struct lunette_error){.code = 0};
    if (err != NULL)
        w->err = *err;
    else
        w->res = *res;
    w->done = true;
}

static void
login_begin(struct world *w, const struct login_config *cfg)
{
    struct login_callbacks cb = {.done = on_login, .user = w};

    assert_int_equal(login_start(w->ctl, cfg, &cb, &w->login, &w->err), 0);
}

static void
login_whole(struct world *w, const struct login_config *cfg)
{
    login_begin(w, cfg);
    wait_done(w);
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    login_free(&w->login);
}

static void
on_logout(void *user, const struct lunette_error *err)
{
    struct world *w = user;

    w->err = (struct lunette_error){.code = 0};
    if (err != NULL)
        w->err = *err;
    w->done = true;
}

static void
log_out(struct world *w, uint32_t sid, uint16_t cid)
{
    struct logout_config cfg = {.sid = sid, .nconns = 1};
    struct iscsi_logout *logout;

    cfg.conns[0].cid = cid;
    assert_int_equal(session_logout_task(w->ctl, &cfg, on_logout, w, &logout), 0);
    wait_done(w);
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    logout_free(&logout);
}

/* ---- the world ------------------------------------------------------------------------------ */

static struct world *
world_new(uint64_t seed)
{
    const struct dataplane_limits limits = {
        .grace_ms = GRACE_MS, .events_max = 64, .event_bytes_max = 1u << 16};
    struct lu_config lun = {.kind = LU_RAM, .size = LUN_SIZE, .block = BLOCK, .lun = 0};
    struct target_node_config node = {.name = NODE, .luns = &lun, .luns_count = 1};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct sock_addr at = planes_portal();
    struct world *w = calloc(1, sizeof(*w));

    w->sim = sim_new(seed, seed % 3 == 0 ? &sim_rough : NULL);
    w->loop = sim_loop(w->sim);
    if (target_new(sim_loop(w->sim), &tc, &w->target, &w->err) < 0 ||
        target_listen(w->target, &at, &w->portal, &w->err) < 0)
        fail_msg("%s", w->err.msg);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    assert_int_equal(dataplane_new(w->loop, &w->registry, &w->dp, NULL), 0);
    dataplane_set_limits(w->dp, &limits);
    return w;
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static bool
io_idle(void *user)
{
    return ((struct world *)user)->io_running == 0;
}

static bool
all_gone(void *user)
{
    const struct world *w = user;

    return planes_gone(w->dp, w->target, NULL);
}

static void
world_free(struct world *w)
{
    planes_part(w->dp, w->generation, &w->binding, &w->ctl);
    dataplane_shutdown(w->dp);
    assert_true(sim_run_until(w->sim, all_gone, w, LIMIT_NS));
    dataplane_free(w->dp);
    target_free(w->target);
    sim_free(w->sim);
    free(w);
}

/* Time passes; I/O went on in it. */
static void
pass(struct world *w, uint64_t ns)
{
    unsigned before = w->ios;

    (void)sim_run_until(w->sim, never, w, ns);
    if (ns >= 50 * MS)
        assert_true(w->ios > before);
}

/* ---- the story ------------------------------------------------------------------------------ */

static bool
some_turns(void *user)
{
    struct world *w = user;

    return w->done || w->turns-- == 0;
}

/* The first plane: one session with a note and I/O on it, and a second in the making. */
static void
first_plane(struct world *w, uint32_t *ret_sid)
{
    struct iscsi_uevent note = {.type = ISCSI_UEVENT_SET_NOTE};
    struct login_config cfg;

    plane_start(w);
    take_events(w, 0);
    planes_login_config(&cfg, NODE, 1);
    login_whole(w, &cfg);
    note.sid = *ret_sid = w->res.sid;
    note.u.set_note.len = 6;
    assert_int_equal(ask(w, &note, "disk 1", 6), 0);
    (void)snprintf(w->tsih, sizeof(w->tsih), "%u", w->res.tsih);
    io_start(w, *ret_sid);
    planes_login_config(&cfg, NODE, 2);
    login_begin(w, &cfg);
    w->turns = (unsigned)sim_below(w->sim, 160);
    (void)sim_run_until(w->sim, some_turns, w, LIMIT_NS);
    plane_die(w);
}

/* The second plane looks round: the session that runs is as its predecessor described it.  Returns
 * the other one in w->found, with sid 0 where there is none. */
static void
look_round(struct world *w, uint32_t running)
{
    uint32_t other = 0;

    assert_int_equal(ask_for(w, ISCSI_UEVENT_LIST_SESSIONS, 0, 0), 0);
    assert_in_range(w->reply.r.sessions.count, 1, 2);
    for (uint32_t i = 0; i < w->reply.r.sessions.count; i++) {
        if (w->reply.r.sessions.sid[i] != running)
            other = w->reply.r.sessions.sid[i];
    }
    assert_int_equal(w->reply.r.sessions.count, other != 0 ? 2 : 1);
    assert_int_equal(ask_for(w, ISCSI_UEVENT_GET_SESSION, running, 0), 0);
    assert_int_equal(w->found.state, IPC_SESSION_RUNNING);
    assert_int_equal(w->found.owner, 0);
    assert_string_equal(w->found.target, NODE);
    assert_string_equal(w->found.isid, "800000000001");
    assert_string_equal(w->found.tsih, w->tsih);
    assert_string_equal(w->found.note, "disk 1");
    assert_int_equal(w->found.nconns, 1);
    w->found = (struct found){.sid = 0};
    if (other != 0 && ask_for(w, ISCSI_UEVENT_GET_SESSION, other, 0) < 0)
        assert_int_equal(w->reply.err, -ENOENT); /* its time was up just now */
}

/* Logs in on the session that is there: its half-made connection gives way to another. */
static void
go_on(struct world *w)
{
    struct found f = w->found;
    struct login_config cfg;

    if (f.nconns > 0)
        assert_int_equal(ask_for(w, ISCSI_UEVENT_DESTROY_CONN, f.sid, f.cid), 0);
    else
        assert_int_equal(ask_for(w, ISCSI_UEVENT_ADOPT, f.sid, 0), 0);
    assert_int_equal(ask_for(w, ISCSI_UEVENT_CREATE_CONN, f.sid, 0), 0);
    planes_login_config(&cfg, NODE, 2);
    cfg.kind = LOGIN_REOPEN;
    cfg.sid = f.sid;
    login_whole(w, &cfg);
    assert_int_equal(w->res.sid, f.sid);
    pass(w, 2 * GRACE_MS * MS); /* no time limit applies any more */
    assert_int_equal(ask_for(w, ISCSI_UEVENT_GET_SESSION, f.sid, 0), 0);
    assert_int_equal(w->found.state, IPC_SESSION_RUNNING);
    assert_string_equal(w->found.isid, "800000000002");
    log_out(w, f.sid, 0);
}

static void
second_plane(struct world *w, enum way way)
{
    struct found f = w->found;

    if (f.sid == 0)
        return;
    if (f.state == IPC_SESSION_RUNNING) { /* the first plane had come to the end of its login */
        assert_int_equal(f.owner, 0);
        log_out(w, f.sid, f.cid);
        return;
    }
    assert_int_equal(f.state, IPC_SESSION_NEW);
    assert_int_equal(f.owner, 1);
    if (way == UNDO)
        assert_int_equal(ask_for(w, ISCSI_UEVENT_DESTROY_SESSION, f.sid, 0), 0);
    else if (way == GO_ON)
        go_on(w);
    else
        pass(w, 2 * GRACE_MS * MS);
}

static void
story(uint64_t seed, unsigned seen[3])
{
    struct world *w = world_new(seed);
    enum way way = (enum way)(seed % WAYS);
    struct target_stats st;
    uint32_t sid;

    first_plane(w, &sid);
    pass(w, sim_below(w->sim, GRACE_MS / 4) * MS);
    plane_start(w);
    look_round(w, sid);
    seen[w->found.sid == 0 ? 0 : w->found.state == IPC_SESSION_NEW ? 1 : 2]++;
    take_events(w, 0);
    second_plane(w, way);
    assert_int_equal(ask_for(w, ISCSI_UEVENT_LIST_SESSIONS, 0, 0), 0);
    assert_int_equal(w->reply.r.sessions.count, 1);
    assert_int_equal(w->reply.r.sessions.sid[0], sid);
    pass(w, 100 * MS);
    assert_int_equal(dataplane_busy(w->dp), 1);
    w->io_stop = true;
    assert_true(sim_run_until(w->sim, io_idle, w, LIMIT_NS));
    log_out(w, sid, 0);
    (void)sim_run_until(w->sim, all_gone, w, LIMIT_NS);
    target_stats(w->target, &st);
    assert_int_equal(st.sessions, 0);
    world_free(w);
}

static void
test_another_control_plane_comes(void **state)
{
    unsigned seen[3] = {0, 0, 0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        story(seed, seen);
    /* the first plane went before it had made a session, with one half-made, and with one that runs
     */
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_another_control_plane_comes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
