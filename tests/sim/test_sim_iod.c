/* SPDX-License-Identifier: MIT */
/* Control planes that die one after the other, at any moment of what they do, over a data plane
 * with disks and exports: each that comes finds by LIST_SESSIONS and LIST_LUNS what its
 * predecessors have got done, and goes on from there.  The exports serve verified I/O all the
 * while, also while the network cuts the session now and then.
 *
 * Both planes speak through the encoded binding, with delays.  One seed: the moments, the delays,
 * the network.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "iod/units.h"
#include "login/login.h"
#include "login/logout.h"
#include "seam/ipc_lun.h"
#include "target/target.h"
#include "tests/sim/planes.h"
#include "tests/sim/sim_loop.h"
#include "tests/support/ipc_delayed.h"
#include "transport/transport.h"

#define MS       LOOP_NS_PER_MS
#define NODE     "iqn.2026-11.example:sim"
#define LUNS     3u
#define BLOCK    512u
#define IO_BYTES 4096u
#define LUN_SIZE (1u << 18)
#define GRACE_MS 200u
#define PLANES   5u /* the last one is left alive */
#define SEEDS    150
#define LIMIT_NS (120 * LOOP_NS_PER_S)
#define DEAD     (-EOWNERDEAD) /* of a request: its control plane has died meanwhile */

struct world {
    struct sim *sim;
    struct loop *loop; /* of both planes */
    struct target *target;
    struct sock_addr portal;
    struct transport_registry registry;
    struct dataplane *dp;
    struct iod_units *units;
    /* the control plane that is there */
    struct ipc_delayed *binding;
    struct ctl *ctl;
    uint64_t generation;
    struct iscsi_login *login;
    bool mortal, done, login_done;
    bool lost; /* the connection is, and nobody has logged in again yet */
    struct ctl_watch watch;
    uint64_t next_event; /* after what has been asked for */
    unsigned turns;      /* that it still has to live */
    struct iscsi_reply reply;
    struct login_result res;
    struct lunette_error err;
    uint32_t cid;
    char note[IPC_NOTE_MAX + 1];
    struct ipc_lun_info lun[LUNS];
    uint32_t nluns;
    /* the load */
    unsigned exports, ios, ios_wanted;
    bool destroyed; /* the session is, under the load */
    unsigned deaths, cuts, reopens, found_exports;
};

static struct world *world_now; /* of the exports, which are made by requests */

/* ---- an export whose client writes, reads and compares --------------------------------------- */

struct export
{
    struct bdev_queue *q;
    struct bdev_req r;
    struct iovec iov;
    struct loop_work end;
    uint8_t buf[IO_BYTES];
    uint32_t round;
    bool reading, busy;
    void (*stopped)(void *user);
    void *stopped_user;
};

static void load_done(struct bdev_req *r);

static void
load_next(struct export *e)
{
    for (uint32_t i = 0; !e->reading && i < IO_BYTES; i++)
        e->buf[i] = (uint8_t)(e->round * 7 + i);
    if (e->reading)
        memset(e->buf, 0xee, IO_BYTES);
    e->iov = (struct iovec){e->buf, IO_BYTES};
    e->r = (struct bdev_req){.op = e->reading ? BDEV_READ : BDEV_WRITE,
                             .offset = e->round % (LUN_SIZE / IO_BYTES) * IO_BYTES,
                             .len = IO_BYTES,
                             .iov = &e->iov,
                             .iovcnt = 1,
                             .done = load_done};
    e->busy = true;
    assert_int_equal(bdev_submit(e->q, &e->r), 0);
}

static void
load_done(struct bdev_req *r)
{
    struct export *e = container_of(r, struct export, r);

    e->busy = false;
    assert_true(r->result.err == 0 || world_now->destroyed);
    for (uint32_t i = 0; e->reading && r->result.err == 0 && i < IO_BYTES; i++)
        assert_int_equal(e->buf[i], (uint8_t)(e->round * 7 + i));
    e->round += e->reading;
    e->reading = !e->reading;
    world_now->ios++;
    if (e->stopped != NULL)
        loop_defer(e->q->loop, &e->end);
    else if (!world_now->destroyed)
        load_next(e);
}

static void
load_end(struct loop_work *w)
{
    struct export *e = container_of(w, struct export, end);
    void (*stopped)(void *user) = e->stopped;
    void *user = e->stopped_user;

    if (e->busy)
        return;
    bdev_queue_free(&e->q);
    free(e);
    world_now->exports--;
    stopped(user);
}

static int
load_start(struct bdev *b, struct loop *loop, const char *where, bool read_only,
           const struct export_events *ev, void *user, struct export **ret,
           struct lunette_error *err)
{
    struct export *e = calloc(1, sizeof(*e));

    (void)where;
    (void)read_only;
    (void)ev;
    (void)user;
    (void)err;
    assert_int_equal(bdev_queue_new(b, loop, 4, &e->q), 0);
    loop_work_init(&e->end, load_end);
    world_now->exports++;
    *ret = e;
    load_next(e);
    return 0;
}

static void
load_stop(struct export *e, void (*done)(void *user), void *user)
{
    e->stopped = done;
    e->stopped_user = user;
    loop_defer(e->q->loop, &e->end);
}

static void
load_stats(const struct export *e, struct export_stats *ret)
{
    *ret = (struct export_stats){.reads = e->round, .clients = 1};
}

static const struct export_ops load_ops = {
    .name = "load", .start = load_start, .stop = load_stop, .stats = load_stats};
static const struct export_ops *const kinds[] = {&load_ops, NULL};

/* ---- a control plane ------------------------------------------------------------------------ */

static bool
done_or_dead(void *user)
{
    struct world *w = user;

    return w->done || w->lost || (w->mortal && w->turns-- == 0);
}

static bool
login_done_or_dead(void *user)
{
    struct world *w = user;

    return w->login_done || (w->mortal && w->turns-- == 0);
}

static int log_in(struct world *w, uint32_t *sid);

/* Waits for an answer, and logs in again where the connection is lost meanwhile: the answer may
 * wait for that.  0, or DEAD. */
static int
wait_done(struct world *w)
{
    while (!w->done) {
        assert_true(sim_run_until(w->sim, done_or_dead, w, LIMIT_NS));
        if (!w->done && !w->lost)
            return DEAD;
        if (!w->done && log_in(w, &w->watch.sid) == DEAD)
            return DEAD;
    }
    w->done = false;
    return 0;
}

static void
on_event(struct ctl_watch *watch, const struct iscsi_kevent *ev, const void *data)
{
    struct world *w = container_of(watch, struct world, watch);

    (void)data;
    assert_true(ev->type != ISCSI_KEVENT_LOST);
    w->lost = w->lost || ev->type == ISCSI_KEVENT_CONN_ERROR;
}

static void
take_luns(struct world *w, const struct iscsi_reply *rep)
{
    const uint8_t *at = rep->data, *end = at + rep->r.luns.data_len;

    for (w->nluns = 0; w->nluns < rep->r.luns.count; w->nluns++) {
        assert_true(w->nluns < LUNS);
        assert_true(ipc_lun_next(&at, end, &w->lun[w->nluns]));
    }
    assert_ptr_equal(at, end);
}

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;

    w->reply = *rep;
    w->done = true;
    if (rep->err < 0)
        return;
    if (rep->type == ISCSI_UEVENT_LIST_LUNS)
        take_luns(w, rep);
    if (rep->type == ISCSI_UEVENT_LIST_SESSIONS)
        w->next_event = rep->r.sessions.next_event;
    if (rep->type == ISCSI_UEVENT_GET_SESSION) {
        w->next_event = rep->r.session.next_event;
        memset(w->note, 0, sizeof(w->note));
        memcpy(w->note, (const uint8_t *)rep->data + rep->r.session.values_len,
               rep->r.session.note_len);
    }
}

static int
ask(struct world *w, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    int r;

    assert_int_equal(ctl_request(w->ctl, ev, data, len, on_reply, w), 0);
    r = wait_done(w);
    return r < 0 ? r : w->reply.err;
}

static int
ask_for(struct world *w, enum iscsi_uevent_type type, uint32_t sid)
{
    struct iscsi_uevent ev = {.type = type, .sid = sid};

    return ask(w, &ev, NULL, 0);
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
    w->login_done = true;
}

/* Logs in, or on a session that is there logs in again; as often as the network makes it. */
static int
log_in(struct world *w, uint32_t *sid)
{
    struct login_callbacks cb = {.done = on_login, .user = w};
    struct login_config cfg;

    planes_login_config(&cfg, NODE, 1);
    if (*sid != 0) {
        cfg.kind = LOGIN_REOPEN;
        cfg.sid = *sid;
        cfg.cid = (uint16_t)w->cid;
        w->reopens++;
    }
    ctl_watch_del(&w->watch);
    for (int tries = 0; tries < 20; tries++) {
        assert_int_equal(login_start(w->ctl, &cfg, &cb, &w->login, &w->err), 0);
        w->login_done = false;
        assert_true(sim_run_until(w->sim, login_done_or_dead, w, LIMIT_NS));
        if (!w->login_done)
            return DEAD;
        if (w->err.code == 0) {
            *sid = w->res.sid;
            w->cid = w->res.cid;
            w->lost = false;
            ctl_watch_add(w->ctl, &w->watch, *sid, (uint16_t)w->cid); /* before the login's ends */
            login_free(&w->login);
            return 0;
        }
        login_free(&w->login);
    }
    fail_msg("%s", w->err.msg);
    return -EIO;
}

/* The session as it is found, or 0: what is half-made is not gone on with. */
static int
find_session(struct world *w, uint32_t *ret_sid, enum ipc_session_state *ret_state)
{
    struct iscsi_reply list;
    int r = ask_for(w, ISCSI_UEVENT_LIST_SESSIONS, 0);

    *ret_sid = 0;
    if (r < 0)
        return r;
    list = w->reply;
    for (uint32_t i = 0; i < list.r.sessions.count; i++) {
        uint32_t sid = list.r.sessions.sid[i];

        r = ask_for(w, ISCSI_UEVENT_GET_SESSION, sid);
        if (r == -ENOENT)
            continue; /* its time was up just now */
        if (r < 0)
            return r;
        if (w->reply.r.session.state == IPC_SESSION_NEW) {
            r = ask_for(w, ISCSI_UEVENT_DESTROY_SESSION, sid);
            if (r == DEAD)
                return r;
        } else if (w->reply.r.session.state != IPC_SESSION_ENDING) {
            assert_int_equal(*ret_sid, 0); /* nothing is logged in twice */
            *ret_sid = sid;
            *ret_state = w->reply.r.session.state;
            w->cid = w->reply.r.session.cid[0];
        }
    }
    return 0;
}

/* All disks up and exported. */
static int
bring_up_luns(struct world *w, uint32_t sid)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_EXPORT, .sid = sid};
    uint32_t up = 0;
    int r = ask_for(w, ISCSI_UEVENT_LIST_LUNS, sid);

    for (uint32_t i = 0; r == 0 && i < w->nluns; i++)
        up += w->lun[i].state == IPC_LUN_UP;
    while (r == 0 && up < LUNS) {
        r = ask_for(w, ISCSI_UEVENT_SCAN_HOST, sid);
        if (r != DEAD) /* whatever the network has made of it */
            r = ask_for(w, ISCSI_UEVENT_LIST_LUNS, sid);
        up = 0;
        for (uint32_t i = 0; r == 0 && i < w->nluns; i++)
            up += w->lun[i].state == IPC_LUN_UP;
    }
    for (uint32_t i = 0; r == 0 && i < LUNS; i++) {
        w->found_exports += w->lun[i].export_kind[0] != '\0';
        if (w->lun[i].export_kind[0] != '\0')
            continue;
        strcpy(ev.u.start_export.kind, "load");
        memcpy(ev.u.start_export.lun, w->lun[i].lun, 8);
        ev.u.start_export.path_len = 6;
        r = ask(w, &ev, "/run/x", 6);
    }
    return r;
}

/* What a control plane does that has a record of the session. */
static int
plane_work(struct world *w, uint32_t *sid)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};
    enum ipc_session_state state = IPC_SESSION_NEW;
    int r;

    ev.u.hello.min = ev.u.hello.max = 1;
    r = ask(w, &ev, NULL, 0);
    if (r == 0)
        r = find_session(w, sid, &state);
    if (r == 0 && *sid != 0 && state == IPC_SESSION_RUNNING)
        ctl_watch_add(w->ctl, &w->watch, *sid, (uint16_t)w->cid);
    if (r == 0) {
        ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_TAKE_EVENTS};
        ev.u.take_events.from = w->next_event;
        r = ask(w, &ev, NULL, 0);
    }
    if (r == 0 && *sid != 0 &&
        state != IPC_SESSION_RUNNING) { /* perhaps half-way through a login */
        ev = (struct iscsi_uevent){
            .type = ISCSI_UEVENT_STOP_CONN, .sid = *sid, .cid = (uint16_t)w->cid};
        ev.u.stop_conn.how = STOP_CONN_RECOVER;
        r = ask(w, &ev, NULL, 0);
    }
    if (r == 0 && (*sid == 0 || state != IPC_SESSION_RUNNING))
        r = log_in(w, sid);
    if (r == 0 && strcmp(w->note, "disks") != 0) {
        ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_SET_NOTE, .sid = *sid};
        ev.u.set_note.len = 5;
        r = ask(w, &ev, "disks", 5);
    }
    if (r == 0)
        r = bring_up_luns(w, *sid);
    return r;
}

static void
plane_start(struct world *w)
{
    struct ipc_client client;

    assert_int_equal(ipc_delayed_new(w->loop, sim_below(w->sim, 2) * MS, &dataplane_server_ops,
                                     w->dp, &w->binding, &client),
                     0);
    client.hello = true;
    w->generation = dataplane_set_client(w->dp, &client);
    assert_int_equal(ctl_new(w->loop, ipc_delayed_ipc(w->binding), &w->ctl), 0);
    ctl_watch_init(&w->watch, on_event);
    w->note[0] = '\0';
    w->done = w->lost = false;
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
    ctl_watch_del(&w->watch);
    login_free(&w->login);
    ctl_free(&w->ctl);
    if (sim_below(w->sim, 2) == 0)
        (void)sim_run_until(w->sim, no_requests, w, MS);
    planes_detach(w->dp, w->generation, &w->binding);
    w->deaths++;
}

/* ---- the world ------------------------------------------------------------------------------ */

static void
cut_now(void *user)
{
    struct world *w = user;

    w->cuts += sim_cut(w->sim, &w->portal, SIM_RESET) > 0;
}

static struct world *
world_new(uint64_t seed)
{
    const struct dataplane_limits limits = {
        .grace_ms = GRACE_MS, .events_max = 64, .event_bytes_max = 1u << 16};
    struct lu_config luns[LUNS];
    struct target_node_config node = {.name = NODE, .luns = luns, .luns_count = LUNS};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct sock_addr at = planes_portal();
    struct world *w = calloc(1, sizeof(*w));

    world_now = w;
    for (uint32_t i = 0; i < LUNS; i++)
        luns[i] = (struct lu_config){
            .kind = LU_RAM, .size = LUN_SIZE, .block = BLOCK, .lun = (int32_t)i * 300};
    w->sim = sim_new(seed, seed % 3 == 0 ? &sim_rough : NULL);
    w->loop = sim_loop(w->sim);
    if (target_new(sim_loop(w->sim), &tc, &w->target, &w->err) < 0 ||
        target_listen(w->target, &at, &w->portal, &w->err) < 0)
        fail_msg("%s", w->err.msg);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    assert_int_equal(dataplane_new(w->loop, &w->registry, &w->dp, NULL), 0);
    dataplane_set_limits(w->dp, &limits);
    assert_int_equal(iod_units_new(w->loop, w->dp, kinds, &w->units), 0);
    return w;
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
    dataplane_shutdown(w->dp);
    assert_true(sim_run_until(w->sim, all_gone, w, LIMIT_NS));
    assert_int_equal(w->exports, 0);
    dataplane_free(w->dp);
    iod_units_free(w->units);
    target_free(w->target);
    sim_free(w->sim);
    free(w);
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static bool
load_goes_on(void *user)
{
    return ((struct world *)user)->ios >= ((struct world *)user)->ios_wanted;
}

/* ---- the story ------------------------------------------------------------------------------ */

static void
look_at_all(struct world *w, uint32_t sid)
{
    assert_int_equal(ask_for(w, ISCSI_UEVENT_LIST_LUNS, sid), 0);
    assert_int_equal(w->nluns, LUNS);
    for (uint32_t i = 0; i < LUNS; i++) {
        assert_int_equal(w->lun[i].state, IPC_LUN_UP);
        assert_int_equal(w->lun[i].size, LUN_SIZE);
        assert_string_equal(w->lun[i].export_kind, "load");
        assert_string_equal(w->lun[i].export_path, "/run/x");
        for (uint32_t j = 0; j < i; j++)
            assert_string_not_equal(w->lun[i].ident, w->lun[j].ident);
    }
    assert_int_equal(w->exports, LUNS);
    assert_int_equal(iod_units_exports(w->units), LUNS);
}

static void
on_logout(void *user, const struct lunette_error *err)
{
    ((struct world *)user)->done = true;
    if (err != NULL)
        fail_msg("%s", err->msg);
}

static void
go_down(struct world *w, uint32_t sid, bool orderly)
{
    struct logout_config cfg = {.sid = sid, .nconns = 1};
    struct iscsi_logout *logout;
    struct target_stats st;

    ctl_watch_del(&w->watch);
    if (!orderly) {
        w->destroyed = true;
        assert_int_equal(ask_for(w, ISCSI_UEVENT_DESTROY_SESSION, sid), 0);
        assert_int_equal(w->exports, 0); /* before the answer */
        return;
    }
    assert_int_equal(ask_for(w, ISCSI_UEVENT_UNBIND_SESSION, sid), 0);
    assert_int_equal(w->exports, 0);
    assert_int_equal(ask_for(w, ISCSI_UEVENT_LIST_LUNS, sid), 0);
    assert_int_equal(w->nluns, 0);
    cfg.conns[0].cid = (uint16_t)w->cid;
    assert_int_equal(session_logout_task(w->ctl, &cfg, on_logout, w, &logout), 0);
    assert_int_equal(wait_done(w), 0);
    logout_free(&logout);
    (void)sim_run_until(w->sim, all_gone, w, LIMIT_NS);
    target_stats(w->target, &st);
    assert_int_equal(st.sessions, 0);
}

struct seen {
    unsigned deaths, cuts, reopens, found_exports;
};

static void
story(uint64_t seed, struct seen *seen)
{
    struct world *w = world_new(seed);
    uint32_t sid = 0;

    for (unsigned plane = 0; plane < PLANES; plane++) {
        plane_start(w);
        w->mortal = plane + 1 < PLANES;
        w->turns = (unsigned)sim_below(w->sim, plane == 0 ? 400 : 200);
        if (seed % 2 == 0 && w->mortal)
            sim_at(w->sim, sim_below(w->sim, 40) * MS, cut_now, w);
        if (plane_work(w, &sid) == 0 && w->mortal) {
            w->done = false;
            (void)sim_run_until(w->sim, done_or_dead, w, LOOP_NS_PER_S);
        }
        if (w->mortal)
            plane_die(w);
        (void)sim_run_until(w->sim, never, w, sim_below(w->sim, GRACE_MS / 2) * MS);
    }
    assert_int_equal(ask_for(w, ISCSI_UEVENT_GET_SESSION, sid), 0);
    if (w->lost) /* cut just now */
        assert_int_equal(log_in(w, &sid), 0);
    assert_string_equal(w->note, "disks");
    look_at_all(w, sid);
    w->ios_wanted = w->ios + 10;
    assert_true(sim_run_until(w->sim, load_goes_on, w, 10 * LOOP_NS_PER_S));
    go_down(w, sid, seed % 5 != 0);
    seen->deaths += w->deaths;
    seen->cuts += w->cuts;
    seen->reopens += w->reopens;
    seen->found_exports += w->found_exports;
    ctl_watch_del(&w->watch);
    planes_part(w->dp, w->generation, &w->binding, &w->ctl);
    world_free(w);
}

static void
test_exports_outlive_control_planes(void **state)
{
    struct seen seen = {.deaths = 0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        story(seed, &seen);
    assert_true(seen.deaths == SEEDS * (PLANES - 1));
    assert_true(seen.cuts > 0 && seen.reopens > 0 && seen.found_exports > SEEDS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exports_outlive_control_planes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
