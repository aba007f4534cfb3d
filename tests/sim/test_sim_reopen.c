/* SPDX-License-Identifier: MIT */
/* A session on a real data plane and a real target, which is kept by login/reopen.h while
 * connections are cut, the network falls silent, and the target crashes, restarts, or asks for a
 * logout before it does.  I/O goes on all the while, and each command ends once.
 *
 * One seed: one network, one Time2Wait, one replacement timeout, a row of troubles, and a close in
 * the middle of the last.  In the second test the control plane dies in the middle of each trouble,
 * and another takes the session over.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "dataplane/dataplane.h"
#include "login/login.h"
#include "login/logout.h"
#include "login/reopen.h"
#include "target/target.h"
#include "tests/sim/planes.h"
#include "tests/sim/sim_loop.h"
#include "tests/support/ipc_delayed.h"
#include "transport/transport.h"
#include "wire/be.h"

#define MS       LOOP_NS_PER_MS
#define SEC      LOOP_NS_PER_S
#define NODE     "iqn.2026-11.example:sim"
#define DEPTH    8
#define IO_BYTES 4096u
#define SEEDS    40
#define TROUBLES 6
#define LIMIT_NS (120 * LOOP_NS_PER_S)

#define SILENT_MAX 256

enum trouble { CUT_EOF, CUT_RESET, DROPPED, CRASH, STOP, STALL, MUTE, TROUBLES_COUNT };

struct world;

struct io {
    struct scsi_cmd sc;
    struct world *w;
    struct iovec iov;
    uint8_t buf[IO_BYTES];
    bool out; /* the host has it */
};

struct world {
    struct sim *sim;
    struct loop *loop;
    struct target *target;
    struct sock_addr portal;
    struct transport_registry registry;
    struct dataplane *dp;
    struct ipc_delayed *binding;
    uint64_t generation;
    struct ctl *ctl;
    struct login_gate gate;
    struct login_config cfg;
    const char *time2wait;
    struct iscsi_reopen *reopen;
    struct login_result res;
    bool done;
    bool asked; /* the target has asked for a logout: nothing may have been lost */
    unsigned losts, backs, states;
    uint64_t lost_ns, back_ns, well_ns; /* well: when the target could be reached again */
    struct scsi_host *host;
    struct io io[DEPTH];
    unsigned good, disrupted;
    bool io_stop;
    /* A portal without its target: it takes connections and says nothing. */
    struct stream *portal_alone, *silent[SILENT_MAX];
    unsigned silent_count;
};

/* ---- the load ------------------------------------------------------------------------------- */

static void io_done(struct scsi_cmd *sc);

static void
io_queue(struct io *io)
{
    struct scsi_host *h = io->w->host;
    struct scsi_cmd *sc = &io->sc;

    if (io->w->io_stop || io->out || h->state != SCSI_HOST_RUNNING)
        return;
    memset(sc, 0, offsetof(struct scsi_cmd, sense));
    io->iov = (struct iovec){io->buf, IO_BYTES};
    sc->done = io_done;
    sc->cdb[0] = 0x28;
    st_be16(sc->cdb + 7, IO_BYTES / 512);
    sc->cdb_len = 10;
    sc->attr = 1;
    sc->in = sg_from_iov(&io->iov, 1, 0, IO_BYTES);
    io->out = h->ops->queuecommand(h, sc) == 0;
    h->ops->commit(h);
}

static void
io_done(struct scsi_cmd *sc)
{
    struct io *io = container_of(sc, struct io, sc);

    assert_true(io->out); /* once */
    io->out = false;
    if (sc->host_result == DID_OK)
        io->w->good++;
    else if (sc->host_result == DID_TRANSPORT_DISRUPTED) /* it may have been executed */
        io->w->disrupted++;
    io_queue(io);
}

static void
io_queue_all(struct world *w)
{
    for (int i = 0; i < DEPTH; i++)
        io_queue(&w->io[i]);
}

static void
on_restart(void *user)
{
    io_queue_all(user);
}

static void
on_host_state(void *user, enum scsi_host_state s, const struct lunette_error *why)
{
    (void)why;
    if (s == SCSI_HOST_RUNNING)
        io_queue_all(user);
}

static const struct scsi_host_events host_events = {.restart = on_restart, .state = on_host_state};

/* ---- the session ---------------------------------------------------------------------------- */

static void
on_lost(void *user, const struct lunette_error *why)
{
    struct world *w = user;

    (void)why;
    w->losts++;
    w->lost_ns = sim_now_ns(w->sim);
}

static void
on_back(void *user, const struct login_result *res, uint64_t down_ns)
{
    struct world *w = user;

    w->res = *res;
    w->backs++;
    w->back_ns = sim_now_ns(w->sim);
    assert_true(down_ns <= w->back_ns - w->lost_ns + MS);
}

static void
on_gave_up(void *user, const struct lunette_error *why)
{
    (void)user;
    fail_msg("given up: %s", why->msg);
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct world *w = user;

    (void)data;
    w->states += ev->type == ISCSI_KEVENT_SESSION_STATE;
}

static void
on_login(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct world *w = user;

    if (err != NULL)
        fail_msg("%s", err->msg);
    w->res = *res;
    reopen_attach(w->reopen, res);
    w->done = true;
}

static bool
is_done(void *user)
{
    return ((struct world *)user)->done;
}

static void
login_config(struct world *w, uint64_t seed)
{
    static const int32_t replacement[] = {120, 0, 1, -1};
    struct login_config *cfg = &w->cfg;

    planes_login_config(cfg, NODE, 1);
    cfg->offer.time2wait = (uint32_t)(w->time2wait[0] - '0');
    cfg->replacement_timeout_s = replacement[seed / 2 % 4];
    cfg->ping_interval_ms = 500;
    cfg->ping_timeout_ms = 500;
}

static void
keep_session(struct world *w)
{
    struct reopen_config rc = {.login = &w->cfg, .reopen_max = REOPEN_MAX_DEFAULT};
    struct reopen_callbacks cb = {
        .lost = on_lost, .back = on_back, .gave_up = on_gave_up, .event = on_event, .user = w};

    assert_int_equal(reopen_new(w->ctl, &w->gate, &rc, &cb, &w->reopen, NULL), 0);
}

static void
session_open(struct world *w)
{
    struct login_callbacks first = {.done = on_login, .user = w};
    struct iscsi_login *l;

    keep_session(w);
    assert_int_equal(login_start(w->ctl, &w->cfg, &first, &l, NULL), 0);
    assert_true(sim_run_until(w->sim, is_done, w, LIMIT_NS));
    login_free(&l);
    w->host = dataplane_host(w->dp, w->res.sid);
    w->host->ev = &host_events;
    w->host->ev_user = w;
    for (int i = 0; i < DEPTH; i++)
        w->io[i].w = w;
    io_queue_all(w);
}

static void
on_logout(void *user, const struct lunette_error *err)
{
    (void)err;
    ((struct world *)user)->done = true;
}

/* ---- a control plane after another ----------------------------------------------------------- */

static void
plane_start(struct world *w, uint64_t delay_ns)
{
    struct ipc_client client;

    assert_int_equal(
        ipc_delayed_new(w->loop, delay_ns, &dataplane_server_ops, w->dp, &w->binding, &client), 0);
    w->generation = dataplane_set_client(w->dp, &client);
    assert_int_equal(ctl_new(w->loop, ipc_delayed_ipc(w->binding), &w->ctl), 0);
    login_gate_init(&w->gate, w->loop, 1);
}

/* As a process that is killed. */
static void
plane_die(struct world *w)
{
    ipc_delayed_cut(w->binding);
    reopen_free(&w->reopen);
    ctl_free(&w->ctl);
    login_gate_fini(&w->gate);
    dataplane_detach(w->dp, w->generation);
    ipc_delayed_free(w->binding);
}

/* The connection as the data plane knows it: what has happened since is told by events. */
static void
on_found(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;
    struct lunette_error why;

    assert_int_equal(rep->err, 0);
    reopen_attach(w->reopen, &w->res);
    if (rep->r.conn.state != IPC_CONN_STARTED) {
        (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "it was found lost");
        reopen_lost(w->reopen, &why, -1);
    }
    w->done = true;
}

/* Another control plane takes the session over, in whatever state it is. */
static void
plane_take_over(struct world *w, uint64_t delay_ns)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_CONN, .sid = w->res.sid, .cid = w->res.cid};

    plane_start(w, delay_ns);
    keep_session(w);
    w->done = false;
    assert_int_equal(ctl_request(w->ctl, &ev, NULL, 0, on_found, w), 0);
    assert_true(sim_run_until(w->sim, is_done, w, LIMIT_NS));
}

/* ---- the target ----------------------------------------------------------------------------- */

static void
target_up(struct world *w)
{
    struct lu_config lun = {.kind = LU_RAM, .size = 1u << 20, .block = 512, .lun = 0};
    struct target_key_value set = {"DefaultTime2Wait", w->time2wait};
    struct target_node_config node = {
        .name = NODE, .luns = &lun, .luns_count = 1, .set = &set, .set_count = 1};
    struct target_config tc = {.nodes = &node, .nodes_count = 1, .stop_timeout_ms = 3000};
    struct sock_addr at = planes_portal();
    struct lunette_error err;

    if (target_new(w->loop, &tc, &w->target, &err) < 0 ||
        target_listen(w->target, &at, &w->portal, &err) < 0)
        fail_msg("%s", err.msg);
    w->well_ns = sim_now_ns(w->sim);
}

static void
portal_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    static const struct stream_events none = {.readable = NULL};
    struct world *w = user;

    (void)peer;
    assert_true(w->silent_count < SILENT_MAX);
    w->silent[w->silent_count++] = s;
    stream_set_events(s, &none, w);
}

static void
portal_alone_up(struct world *w)
{
    static const struct stream_events events = {.accepted = portal_accepted};

    assert_int_equal(stream_listen(w->loop, &w->portal, &events, w, &w->portal_alone, NULL), 0);
}

static void
portal_alone_down(struct world *w)
{
    if (w->portal_alone != NULL)
        stream_close(w->portal_alone);
    w->portal_alone = NULL;
    while (w->silent_count > 0)
        stream_close(w->silent[--w->silent_count]);
}

static void
come_back(void *user)
{
    portal_alone_down(user);
    target_up(user);
}

static void
on_stopped(void *user)
{
    ((struct world *)user)->done = true;
}

static void
stall_ends(void *user)
{
    struct world *w = user;

    sim_stall(w->sim, NULL, false);
    w->well_ns = sim_now_ns(w->sim);
}

/* Makes trouble.  What it ends is over after `ns` at the latest. */
static void
make_trouble(struct world *w, enum trouble what, uint64_t ns)
{
    w->well_ns = sim_now_ns(w->sim);
    w->asked = false;
    switch (what) {
    case CUT_EOF:
    case CUT_RESET:
        assert_true(sim_cut(w->sim, NULL, what == CUT_EOF ? SIM_EOF : SIM_RESET) > 0);
        break;
    case DROPPED:
        target_drop_connections(w->target);
        break;
    case STOP:
        w->done = false;
        w->asked = true;
        target_stop(w->target, on_stopped, w);
        assert_true(sim_run_until(w->sim, is_done, w, LIMIT_NS));
        /* fall through */
    case CRASH:
    case MUTE:
        target_free(w->target);
        w->target = NULL;
        if (what == MUTE)
            portal_alone_up(w);
        sim_at(w->sim, ns, come_back, w);
        w->well_ns = 0;
        break;
    case STALL:
        sim_stall(w->sim, NULL, true);
        sim_at(w->sim, ns, stall_ends, w);
        w->well_ns = 0;
        break;
    case TROUBLES_COUNT:
        fail();
    }
}

/* ---- the story ------------------------------------------------------------------------------ */

static bool
well_again(void *user)
{
    struct world *w = user;

    return w->well_ns != 0 && w->backs == w->losts && w->losts > 0 &&
           w->host->state == SCSI_HOST_RUNNING && w->good > 0;
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static bool
all_gone(void *user)
{
    const struct world *w = user;

    return planes_gone(w->dp, w->target, w->ctl);
}

static struct world *
world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));

    w->sim = sim_new(seed, seed % 3 == 0 ? &sim_rough : NULL);
    w->loop = sim_loop(w->sim);
    w->time2wait = seed % 2 ? "2" : "0";
    target_up(w);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    assert_int_equal(dataplane_new(w->loop, &w->registry, &w->dp, NULL), 0);
    plane_start(w, seed % 5 == 0 ? MS : 0);
    login_config(w, seed);
    session_open(w);
    return w;
}

/* The owner closes the session, whatever goes on. */
static void
world_free(struct world *w)
{
    struct logout_config lc;
    struct iscsi_logout *logout;

    w->io_stop = true;
    reopen_logout_config(w->reopen, &lc);
    reopen_free(&w->reopen);
    w->done = false;
    assert_int_equal(session_logout_task(w->ctl, &lc, on_logout, w, &logout), 0);
    assert_true(sim_run_until(w->sim, is_done, w, 11 * SEC));
    logout_free(&logout);
    (void)sim_run_until(w->sim, never, w, 30 * SEC); /* what was planned happens */
    assert_true(sim_run_until(w->sim, all_gone, w, LIMIT_NS));
    for (int i = 0; i < DEPTH; i++)
        assert_false(w->io[i].out);
    login_gate_fini(&w->gate);
    planes_part(w->dp, w->generation, &w->binding, &w->ctl);
    dataplane_free(w->dp);
    target_free(w->target);
    sim_free(w->sim);
    free(w);
}

/* A trouble is overcome: half a second after the target can be reached again at the latest, or when
 * Time2Wait is over. */
static void
overcome(struct world *w, enum trouble what)
{
    uint64_t wait = (uint64_t)(w->time2wait[0] - '0') * SEC;
    uint64_t since;

    if (!sim_run_until(w->sim, well_again, w, LIMIT_NS))
        fail_msg("trouble %d: the session is not back", what);
    since = w->lost_ns + wait > w->well_ns ? w->lost_ns + wait : w->well_ns;
    if (what == STALL) /* the pings tell late that it was lost, and TCP when it is not */
        assert_true(w->back_ns <= since + 1500 * MS);
    else if (what == MUTE && w->well_ns - w->lost_ns - wait < 6100 * MS) /* patient at first */
        assert_true(w->back_ns <= since + 4100 * MS);
    else if (what == CRASH || what == STOP || what == MUTE)
        assert_true(w->back_ns <= since + 500 * MS);
    else
        assert_true(w->back_ns <= since + 60 * MS);
}

static void
story(uint64_t seed, unsigned seen[TROUBLES_COUNT])
{
    struct world *w = world_new(seed);

    for (int i = 0; i < TROUBLES; i++) {
        enum trouble what = (enum trouble)sim_below(w->sim, TROUBLES_COUNT);
        uint64_t ns =
            sim_below(w->sim, 2) == 0 ? sim_below(w->sim, SEC) : sim_below(w->sim, 12 * SEC);

        if (what == STALL)
            ns += 3 * SEC; /* so that it is noticed */
        (void)sim_run_until(w->sim, never, w, SEC);
        assert_true(w->good > 0);
        w->good = w->disrupted = 0;
        w->losts = w->backs = 0;
        make_trouble(w, what, ns);
        overcome(w, what);
        seen[what]++;
        if (w->asked) /* the commands under way ended first, and the others waited */
            assert_int_equal(w->disrupted, 0);
    }
    make_trouble(w, (enum trouble)(seed % TROUBLES_COUNT), sim_below(w->sim, 5 * SEC));
    (void)sim_run_until(w->sim, never, w, sim_below(w->sim, 4 * SEC));
    world_free(w);
}

static void
test_troubles(void **state)
{
    unsigned seen[TROUBLES_COUNT] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        story(seed, seen);
    for (int i = 0; i < TROUBLES_COUNT; i++)
        assert_true(seen[i] > SEEDS / 4);
}

static bool
runs_again(void *user)
{
    struct world *w = user;
    struct reopen_info info;

    reopen_get_info(w->reopen, &info);
    return w->well_ns != 0 && info.state == REOPEN_UP && w->host->state == SCSI_HOST_RUNNING &&
           w->good > 0;
}

/* The control plane dies anywhere in a trouble, also when that is nearly over; the next one brings
 * the session back, or finds that it is. */
static void
test_takeovers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
        struct world *w = world_new(seed);

        for (int i = 0; i < TROUBLES; i++) {
            enum trouble what = (enum trouble)sim_below(w->sim, TROUBLES_COUNT);

            (void)sim_run_until(w->sim, never, w, SEC);
            make_trouble(w, what, sim_below(w->sim, 4 * SEC));
            (void)sim_run_until(w->sim, never, w,
                                sim_below(w->sim, sim_below(w->sim, 2) == 0 ? 20 * MS : 5 * SEC));
            plane_die(w);
            (void)sim_run_until(w->sim, never, w, sim_below(w->sim, 100 * MS));
            plane_take_over(w, seed % 5 == 0 ? MS : 0);
            w->good = 0;
            if (!sim_run_until(w->sim, runs_again, w, LIMIT_NS))
                fail_msg("seed %u trouble %d: the session is not back", (unsigned)seed, what);
        }
        world_free(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_troubles),
                                       cmocka_unit_test(test_takeovers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
