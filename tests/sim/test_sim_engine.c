/* SPDX-License-Identifier: MIT */
/* The sessions of an engine on a real data plane and a real target: two uses of one record share a
 * login, which is lost and comes back while both have commands; and the requests about the tables,
 * which log in and out.
 *
 * After each turn the target may have one session at most, and each command ends once.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tables.h"
#include "tests/sim/planes.h"
#include "tests/sim/sim_loop.h"
#include "transport/transport.h"
#include "wire/be.h"

#define MS       LOOP_NS_PER_MS
#define SEC      LOOP_NS_PER_S
#define NODE     "iqn.2026-11.example:sim"
#define ME       "iqn.2026-11.example:engine"
#define DEPTH    4
#define IO_BYTES 4096u
#define SEEDS    30
#define TROUBLES 5
#define LIMIT_NS (120 * SEC)
#define USES     2

enum trouble { CUT_EOF, CUT_RESET, DROPPED, CRASH, STALL, TROUBLES_COUNT };

struct world;
struct user;

struct io {
    struct scsi_cmd sc;
    struct user *u;
    struct iovec iov;
    uint8_t buf[IO_BYTES];
    struct list node; /* of those that were refused */
    bool out;         /* the host has it */
    unsigned good;
};

/* Somebody who uses the session, as a client's attachment does. */
struct user {
    struct engine_use use;
    struct world *w;
    enum ipc_session_state state;
    bool joined, heard; /* heard: of the state */
    unsigned gone, states, failed;
    struct lunette_error why;
    struct io io[DEPTH];
    unsigned good, disrupted, other;
    bool io_stop;
};

/* An answer to a request. */
struct answer {
    unsigned count;
    struct iscsi_reply rep;
    char text[IPC_REPLY_DATA_MAX + 1];
};

struct world {
    struct sim *sim;
    struct loop *loop;
    struct target *target;
    bool chap;
    struct sock_addr portal;
    struct transport_registry registry;
    struct engine_flash *flash;
    struct engine_logins *e;
    struct user user[USES];
    struct answer answer;
    uint64_t seq;
    uint64_t lost_before;
    struct list refused;
    unsigned refusals;
    uint32_t conns; /* the most that the target had at a time */
    bool ended;
};

/* ---- the load ------------------------------------------------------------------------------- */

static void io_done(struct scsi_cmd *sc);

/* Gives it to the host, or puts it behind those that the host has refused. */
static void
io_submit(struct io *io)
{
    struct user *u = io->u;
    struct scsi_host *h = u->use.login != NULL ? engine_login_host(u->use.login) : NULL;
    struct scsi_cmd *sc = &io->sc;

    if (u->io_stop || io->out || h == NULL || u->state != IPC_SESSION_RUNNING)
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
    if (!io->out)
        list_push_back(&u->w->refused, &io->node);
    u->w->refusals += !io->out;
}

/* Those that were refused go first, when the host says so: the two users are fair to each other. */
static void
io_queue(struct io *io)
{
    if (io->out || !list_empty(&io->node))
        return;
    if (list_empty(&io->u->w->refused))
        io_submit(io);
    else
        list_push_back(&io->u->w->refused, &io->node);
}

static void
io_restart(struct world *w)
{
    struct list again;

    list_init(&again);
    list_splice(&again, &w->refused);
    while (!list_empty(&again)) {
        struct io *io = container_of(list_pop_front(&again), struct io, node);

        if (list_empty(&w->refused))
            io_submit(io);
        else
            list_push_back(&w->refused, &io->node);
    }
}

static void
io_done(struct scsi_cmd *sc)
{
    struct io *io = container_of(sc, struct io, sc);

    assert_true(io->out); /* once */
    io->out = false;
    if (sc->host_result == DID_OK) {
        io->u->good++;
        io->good++;
    } else if (sc->host_result == DID_TRANSPORT_DISRUPTED)
        io->u->disrupted++;
    else
        io->u->other++;
    io_queue(io);
}

static void
io_queue_all(struct user *u)
{
    for (int i = 0; i < DEPTH; i++)
        io_queue(&u->io[i]);
}

static unsigned
io_out(const struct user *u)
{
    unsigned n = 0;

    for (int i = 0; i < DEPTH; i++)
        n += u->io[i].out;
    return n;
}

/* ---- uses ----------------------------------------------------------------------------------- */

static void
on_state(struct engine_use *use, enum ipc_session_state st, const struct lunette_error *why)
{
    struct user *u = container_of(use, struct user, use);

    assert_true(u->joined);
    assert_int_equal(why != NULL, st == IPC_SESSION_BLOCKED || st == IPC_SESSION_FAILED);
    u->state = st;
    u->heard = true;
    u->states++;
    u->failed += st == IPC_SESSION_FAILED;
    if (why != NULL)
        u->why = *why;
    if (st == IPC_SESSION_RUNNING) {
        io_restart(u->w);
        io_queue_all(u);
    }
}

static void
on_gone(struct engine_use *use)
{
    struct user *u = container_of(use, struct user, use);

    assert_true(u->joined);
    assert_int_equal(io_out(u), 0); /* the host has given all of them back */
    assert_int_equal(u->state, IPC_SESSION_ENDING);
    u->joined = false;
    u->gone++;
}

static void
on_restart(struct engine_use *use)
{
    io_restart(container_of(use, struct user, use)->w);
}

static void
user_joins(struct world *w, int i, uint32_t index)
{
    struct user *u = &w->user[i];
    struct lunette_error err;

    u->w = w;
    u->use = (struct engine_use){.state = on_state, .gone = on_gone, .restart = on_restart};
    u->joined = true;
    u->heard = u->io_stop = false;
    for (int k = 0; k < DEPTH; k++) {
        u->io[k].u = u;
        list_init(&u->io[k].node);
    }
    if (engine_login_use(w->e, index, &u->use, &err) < 0)
        fail_msg("%s", err.msg);
    assert_false(u->heard); /* later, not from inside the call */
}

static bool
user_idle(void *user)
{
    return io_out(user) == 0;
}

static void
user_leaves(struct world *w, int i)
{
    struct user *u = &w->user[i];

    u->io_stop = true;
    for (int k = 0; k < DEPTH; k++)
        list_del(&u->io[k].node);
    assert_true(sim_run_until(w->sim, user_idle, u, LIMIT_NS));
    engine_login_leave(&u->use);
    u->joined = false;
}

/* ---- the world ------------------------------------------------------------------------------ */

static void
target_up(void *user)
{
    struct world *w = user;
    /* Fewer than the commands of both, so that the host refuses some and has them restarted. */
    struct target_key_value set = {"QueueDepth", "3"};
    struct lu_config lun = {.kind = LU_RAM, .size = 1u << 20, .block = 512, .lun = 0};
    struct target_node_config node = {.name = NODE,
                                      .luns = &lun,
                                      .luns_count = 1,
                                      .set = &set,
                                      .set_count = 1,
                                      .chap_user = w->chap ? "alice" : NULL,
                                      .chap_secret = w->chap ? "wonderland wonder" : NULL,
                                      .mutual_user = w->chap ? "queen" : NULL,
                                      .mutual_secret = w->chap ? "of hearts and more" : NULL};
    struct target_config tc = {.nodes = &node, .nodes_count = 1, .stop_timeout_ms = 3000};
    struct sock_addr at = planes_portal();
    struct lunette_error err;

    if (target_new(w->loop, &tc, &w->target, &err) < 0 ||
        target_listen(w->target, &at, &w->portal, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct target_stats
stats_of(const struct world *w)
{
    struct target_stats st;

    memset(&st, 0, sizeof(st));
    if (w->target != NULL)
        target_stats(w->target, &st);
    return st;
}

static void
check_turn(void *user)
{
    struct world *w = user;
    struct target_stats st = stats_of(w);

    assert_true(st.sessions <= 1); /* the target sees one login */
    w->conns = st.conns > w->conns ? st.conns : w->conns;
}

static struct world *
world_new(uint64_t seed, bool with_target, bool chap)
{
    struct world *w = calloc(1, sizeof(*w));
    struct lunette_error err;

    w->sim = sim_new(seed, seed % 3 == 0 ? &sim_rough : NULL);
    w->loop = sim_loop(w->sim);
    list_init(&w->refused);
    w->chap = chap;
    if (with_target)
        target_up(w);
    sim_after_turn(w->sim, check_turn, w);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    assert_int_equal(engine_flash_open(w->loop, NULL, &w->flash, &err), 0);
    assert_int_equal(engine_logins_new(w->loop, &w->registry, NULL, w->flash, &w->e, &err), 0);
    return w;
}

static uint32_t
world_record(struct world *w, bool boot)
{
    struct flash_record r;
    struct lunette_error err;
    int index;

    engine_flash_record_init(&r);
    r.boot = boot;
    strcpy(r.login.target_name, NODE);
    strcpy(r.login.initiator_name, ME);
    strcpy(r.login.portal.host, "10.0.0.1");
    r.login.ping_interval_ms = 1000;
    r.login.replacement_timeout_s = 20;
    index = engine_flash_add(w->flash, &r, &err);
    if (index < 0)
        fail_msg("%s", err.msg);
    return (uint32_t)index;
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static void
world_wait(struct world *w, uint64_t ns)
{
    (void)sim_run_until(w->sim, never, w, ns);
}

static void
on_ended(void *user)
{
    ((struct world *)user)->ended = true;
}

static bool
has_ended(void *user)
{
    return ((struct world *)user)->ended;
}

/* The engine ends, whatever goes on: within the time of a logout and what follows it. */
static void
world_free(struct world *w)
{
    static const struct ipc_client nobody = {.binding = NULL};
    unsigned users = 0;

    for (int i = 0; i < USES; i++)
        users += w->user[i].joined;
    engine_logins_shutdown(w->e, on_ended, w);
    assert_false(w->ended);
    if (!sim_run_until(w->sim, has_ended, w, 12 * SEC))
        fail_msg("the engine does not end");
    for (int i = 0; i < USES; i++) {
        assert_false(w->user[i].joined);
        assert_int_equal(io_out(&w->user[i]), 0);
        users -= w->user[i].gone > 0 && users > 0;
    }
    engine_table_forget(w->e, &nobody);
    engine_logins_free(w->e);
    engine_flash_close(w->flash);
    world_wait(w, 30 * SEC); /* what was planned happens */
    assert_int_equal(stats_of(w).sessions, 0);
    target_free(w->target);
    transport_registry_fini(&w->registry);
    sim_free(w->sim);
    free(w);
}

/* ---- a login that is lost ------------------------------------------------------------------- */

static bool
all_run(void *user)
{
    const struct world *w = user;

    for (int i = 0; i < USES; i++) {
        const struct user *u = &w->user[i];

        if (u->joined && (u->state != IPC_SESSION_RUNNING || u->good == 0))
            return false;
    }
    return w->target != NULL;
}

static void
stall_ends(void *user)
{
    sim_stall(((struct world *)user)->sim, NULL, false);
}

static void
make_trouble(struct world *w, enum trouble what, uint64_t ns)
{
    switch (what) {
    case CUT_EOF:
    case CUT_RESET:
        assert_true(sim_cut(w->sim, NULL, what == CUT_EOF ? SIM_EOF : SIM_RESET) > 0);
        break;
    case DROPPED:
        target_drop_connections(w->target);
        break;
    case CRASH:
        target_free(w->target);
        w->target = NULL;
        sim_at(w->sim, ns, target_up, w);
        break;
    case STALL:
        sim_stall(w->sim, NULL, true);
        sim_at(w->sim, ns + 3 * SEC, stall_ends, w);
        break;
    case TROUBLES_COUNT:
        fail();
    }
}

static bool
has_lost(void *user)
{
    const struct world *w = user;
    struct engine_logins_totals t;

    engine_logins_totals(w->e, &t);
    return t.lost > w->lost_before;
}

/* Every command has its turn: none that was refused is forgotten. */
static void
check_all_move(struct world *w)
{
    for (int k = 0; k < USES; k++) {
        for (int i = 0; i < DEPTH; i++) {
            assert_true(w->user[k].io[i].good > 0);
            w->user[k].io[i].good = 0;
        }
    }
}

static void
story(uint64_t seed, unsigned seen[TROUBLES_COUNT])
{
    struct world *w = world_new(seed, true, false);
    uint32_t index = world_record(w, false);
    uint32_t id;
    uint8_t isid[LOGIN_ISID_LEN];

    memcpy(isid, engine_flash_get(w->flash, index)->login.isid, sizeof(isid));
    user_joins(w, 0, index);
    if (seed % 2 == 0)
        world_wait(w, seed * MS); /* the other comes while it logs in, or later */
    user_joins(w, 1, index);
    assert_true(sim_run_until(w->sim, all_run, w, LIMIT_NS));
    assert_int_equal(stats_of(w).logins, 1); /* they share it */
    world_wait(w, SEC);
    assert_true(w->refusals > 0);
    assert_ptr_equal(w->user[0].use.login, w->user[1].use.login);
    id = engine_login_id(w->user[0].use.login);
    for (int i = 0; i < TROUBLES; i++) {
        enum trouble what = (enum trouble)sim_below(w->sim, TROUBLES_COUNT);
        struct engine_logins_totals before, after;

        world_wait(w, SEC);
        check_all_move(w);
        for (int k = 0; k < USES; k++)
            w->user[k].good = w->user[k].disrupted = w->user[k].states = 0;
        engine_logins_totals(w->e, &before);
        w->lost_before = before.lost;
        make_trouble(w, what, sim_below(w->sim, 10 * SEC));
        if (what == STALL)
            world_wait(w, MS);
        else
            assert_true(sim_run_until(w->sim, has_lost, w, 5 * SEC));
        for (int k = 0; k < USES; k++)
            w->user[k].good = 0;
        if (!sim_run_until(w->sim, all_run, w, LIMIT_NS))
            fail_msg("seed %u trouble %d: it is not back", (unsigned)seed, what);
        engine_logins_totals(w->e, &after);
        assert_int_equal(after.logins - before.logins, after.lost - before.lost);
        assert_int_equal(w->user[0].states, w->user[1].states); /* both hear the same */
        if (what != STALL) {
            assert_true(after.lost > before.lost);
            assert_true(w->user[0].states >= 2); /* BLOCKED, RUNNING */
        }
        seen[what]++;
    }
    /* One leaves in the middle of a trouble, and the other sees nothing of it; the session is the
     * same one, and the record's ISID too. */
    make_trouble(w, CUT_RESET, 0);
    user_leaves(w, 1);
    w->user[0].good = 0;
    assert_true(sim_run_until(w->sim, all_run, w, LIMIT_NS));
    assert_int_equal(engine_login_id(w->user[0].use.login), id);
    assert_memory_equal(engine_flash_get(w->flash, index)->login.isid, isid, sizeof(isid));
    /* The last one leaves, and the session stays. */
    user_leaves(w, 0);
    world_wait(w, 20 * SEC);
    assert_int_equal(stats_of(w).sessions, 1);
    user_joins(w, 1, index);
    w->user[1].good = 0;
    world_wait(w, MS);
    assert_int_equal(w->user[1].state, IPC_SESSION_RUNNING); /* at once */
    assert_true(sim_run_until(w->sim, all_run, w, SEC));
    assert_int_equal(engine_login_id(w->user[1].use.login), id);
    if (seed % 3 != 0)
        make_trouble(w, (enum trouble)(seed % TROUBLES_COUNT), sim_below(w->sim, 5 * SEC));
    world_wait(w, sim_below(w->sim, 4 * SEC));
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

/* An outage that is longer than the replacement timeout: commands fail, both hear of it, and it
 * comes back all the same. */
static void
test_long_outage(void **state)
{
    struct world *w = world_new(1, true, false);
    uint32_t index = world_record(w, false);

    (void)state;
    user_joins(w, 0, index);
    user_joins(w, 1, index);
    assert_true(sim_run_until(w->sim, all_run, w, LIMIT_NS));
    make_trouble(w, CRASH, 300 * SEC);
    world_wait(w, 10 * SEC);
    assert_int_equal(w->user[0].state, IPC_SESSION_BLOCKED);
    world_wait(w, 11 * SEC);
    for (int i = 0; i < USES; i++) {
        assert_int_equal(w->user[i].state, IPC_SESSION_FAILED);
        assert_int_equal(w->user[i].failed, 1);
        assert_int_equal(io_out(&w->user[i]), 0);
        w->user[i].good = 0;
    }
    assert_true(sim_run_until(w->sim, all_run, w, 400 * SEC));
    world_free(w);
}

/* The first login fails, and is tried as long as somebody wants it. */
static void
test_first_fails(void **state)
{
    struct world *w = world_new(1, false, false);
    uint32_t index = world_record(w, false);
    struct engine_logins_totals t;

    (void)state;
    user_joins(w, 0, index);
    world_wait(w, 60 * SEC);
    assert_int_equal(w->user[0].state, IPC_SESSION_FAILED);
    assert_true(w->user[0].failed > 2);
    assert_null(engine_login_host(w->user[0].use.login));
    assert_non_null(engine_login_why(w->user[0].use.login));
    user_joins(w, 1, index);
    world_wait(w, MS);
    assert_int_equal(w->user[1].state, IPC_SESSION_FAILED); /* as it is */
    engine_login_leave(&w->user[0].use);
    w->user[0].joined = false;
    target_up(w);
    assert_true(sim_run_until(w->sim, all_run, w, 15 * SEC));
    user_leaves(w, 1);
    world_free(w);

    w = world_new(2, false, false);
    index = world_record(w, false);
    user_joins(w, 0, index);
    world_wait(w, 5 * SEC);
    engine_login_leave(&w->user[0].use); /* nobody wants it any more */
    w->user[0].joined = false;
    world_wait(w, 60 * SEC);
    engine_logins_totals(w->e, &t);
    assert_int_equal(t.sessions, 0);
    world_free(w);
}

static bool
is_running(void *user)
{
    struct engine_logins_totals t;

    engine_logins_totals(((struct world *)user)->e, &t);
    return t.running == 1;
}

/* A record that is `boot` logs in by itself, and goes on trying. */
static void
test_boot(void **state)
{
    struct world *w = world_new(1, false, false);

    (void)state;
    (void)world_record(w, true);
    engine_logins_start(w->e);
    world_wait(w, 100 * SEC);
    assert_false(is_running(w));
    target_up(w);
    assert_true(sim_run_until(w->sim, is_running, w, 15 * SEC));
    world_free(w);
}

/* The engine ends at any moment of a login. */
static void
test_ends_any_time(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < 4000; us += 53) {
        struct world *w = world_new(1 + us % 7, true, false);
        uint32_t index = world_record(w, true);

        engine_logins_start(w->e);
        user_joins(w, 0, index);
        world_wait(w, us * 1000);
        world_free(w);
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

static void
on_reply(void *binding, const struct iscsi_reply *rep)
{
    struct world *w = binding;
    uint32_t len = ipc_reply_data_len(rep);

    assert_int_equal(rep->seq, w->seq);
    w->answer.count++;
    w->answer.rep = *rep;
    memcpy(w->answer.text, rep->data != NULL ? rep->data : "", len);
    w->answer.text[len] = '\0';
}

static bool
is_answered(void *user)
{
    return ((struct world *)user)->answer.count > 0;
}

static void
ask_only(struct world *w, enum iscsi_uevent_type type, uint32_t index, const char *text)
{
    const struct ipc_client from = {.reply = on_reply, .binding = w};
    struct iscsi_uevent ev;

    memset(&ev, 0, sizeof(ev));
    ev.type = type;
    ev.seq = ++w->seq;
    ev.u.engine_table.index = index;
    ev.u.engine_table.text_len = (uint32_t)strlen(text);
    w->answer.count = 0;
    assert_true(engine_table_is(type));
    engine_table_serve(w->e, &from, &ev, text, ev.u.engine_table.text_len);
}

static int
ask(struct world *w, enum iscsi_uevent_type type, uint32_t index, const char *text)
{
    ask_only(w, type, index, text);
    assert_true(sim_run_until(w->sim, is_answered, w, LIMIT_NS));
    assert_int_equal(w->answer.count, 1);
    if (w->answer.rep.err < 0)
        assert_true(strlen(w->answer.rep.why.msg) > 10); /* a sentence */
    return w->answer.rep.err;
}

static void
test_requests(void **state)
{
    struct world *w = world_new(1, true, false);

    (void)state;
    assert_false(engine_table_is(ISCSI_UEVENT_HELLO));
    assert_false(engine_table_is(ISCSI_UEVENT_COUNT));
    assert_int_equal(ask(w, ISCSI_UEVENT_LIST_FLASHNODES, 0, ""), 0);
    assert_string_equal(w->answer.text, "");
    assert_int_equal(ask(w, ISCSI_UEVENT_NEW_FLASHNODE, 0, ""), 0);
    assert_int_equal(w->answer.rep.r.value, 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_LIST_FLASHNODES, 0, ""), 0);
    assert_string_equal(w->answer.text, "0 NEW - -\n");
    assert_int_equal(ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, 0, ""), -EINVAL);
    assert_non_null(strstr(w->answer.rep.why.msg, "not complete"));
    assert_int_equal(ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, 5, ""), -ENOENT);
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_FLASHNODE, 5, ""), -ENOENT);
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_FLASHNODE, 0,
                         "flashnode.session.targetname = " NODE "\n"
                         "flashnode.session.initiatorname = " ME "\n"
                         "flashnode.conn[0].ipaddress = 10.0.0.1\n"),
                     0);
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_FLASHNODE, 0, "flashnode.session.erl = 9\n"), -EINVAL);
    assert_int_equal(ask(w, ISCSI_UEVENT_LOGOUT_FLASHNODE, 0, ""), -ENOTCONN);
    assert_int_equal(ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, 0, ""), 0);
    assert_int_equal(stats_of(w).sessions, 1);
    assert_int_equal(ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, 0, ""), -EALREADY);
    assert_int_equal(ask(w, ISCSI_UEVENT_LIST_FLASHNODES, 0, ""), 0);
    assert_string_equal(w->answer.text, "0 ACTIVE " NODE " 10.0.0.1:3260\n");
    assert_int_equal(ask(w, ISCSI_UEVENT_LIST_FLASHNODES, 1, ""), 0);
    assert_string_equal(w->answer.text, "");
    assert_int_equal(ask(w, ISCSI_UEVENT_DEL_FLASHNODE, 0, ""), -EBUSY);
    assert_int_equal(
        ask(w, ISCSI_UEVENT_SET_FLASHNODE, 0, "flashnode.session.targetname = iqn.x\n"), -EBUSY);
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_FLASHNODE, 0, "flashnode.session.recovery_tmo = 1\n"),
                     0);
    assert_int_equal(ask(w, ISCSI_UEVENT_GET_FLASHNODE, 0, ""), 0);
    assert_non_null(strstr(w->answer.text, "flashnode.session.recovery_tmo = 1\n"));
    assert_int_equal(ask(w, ISCSI_UEVENT_GET_HOST_STATS, 0, ""), 0);
    assert_non_null(strstr(w->answer.text, "sessions_running = 1\n"));
    assert_non_null(strstr(w->answer.text, "records = 1\n"));
    user_joins(w, 0, 0);
    assert_true(sim_run_until(w->sim, all_run, w, LIMIT_NS));
    /* A logout ends it for those who use it, too. */
    assert_int_equal(ask(w, ISCSI_UEVENT_LOGOUT_FLASHNODE, 0, ""), 0);
    assert_int_equal(w->user[0].gone, 1);
    world_wait(w, SEC);
    assert_int_equal(stats_of(w).sessions, 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_DEL_FLASHNODE, 0, ""), 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_DEL_FLASHNODE, 0, ""), -ENOENT);
    world_free(w);
}

static void
hold_ends(void *user)
{
    sim_hold(((struct world *)user)->sim, false);
}

static bool
both_answered(void *user)
{
    return ((struct world *)user)->answer.count == 2;
}

/* A login that is asked for while a logout is under way comes after it: the target never has both.
 */
static void
test_login_after_logout(void **state)
{
    struct world *w = world_new(1, true, false);
    uint32_t index = world_record(w, false);

    (void)state;
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, index, ""), 0);
        assert_int_equal(stats_of(w).logins, 2 * i - 1);
        sim_hold(w->sim, true); /* the logout takes its time; another connection would work */
        sim_at(w->sim, 2 * SEC, hold_ends, w);
        ask_only(w, ISCSI_UEVENT_LOGOUT_FLASHNODE, index, "");
        w->seq--; /* both have the same number, and one handler */
        ask_only(w, ISCSI_UEVENT_LOGIN_FLASHNODE, index, "");
        assert_true(sim_run_until(w->sim, both_answered, w, LIMIT_NS));
        assert_true(is_running(w));
        assert_int_equal(stats_of(w).logins, 2 * i);
        assert_int_equal(ask(w, ISCSI_UEVENT_LOGOUT_FLASHNODE, index, ""), 0);
    }
    assert_int_equal(w->conns, 1);
    world_free(w);
}

/* A change of the record counts from the next login on: the session comes back by what it says. */
static void
test_change_under_session(void **state)
{
    struct world *w = world_new(1, true, false);
    uint32_t index = world_record(w, false);

    (void)state;
    user_joins(w, 0, index);
    assert_true(sim_run_until(w->sim, all_run, w, LIMIT_NS));
    assert_int_equal(
        ask(w, ISCSI_UEVENT_SET_FLASHNODE, index, "flashnode.session.recovery_tmo = 2\n"), 0);
    make_trouble(w, CUT_EOF, 0);
    world_wait(w, 5 * SEC);
    assert_true(sim_run_until(w->sim, all_run, w, LIMIT_NS));
    make_trouble(w, CRASH, 30 * SEC);
    world_wait(w, 4 * SEC);
    assert_int_equal(w->user[0].state, IPC_SESSION_FAILED); /* after 2 s, not 20 */
    world_free(w);
}

/* Requests that are under way are forgotten with who has asked, and end with the engine. */
static void
test_late_answers(void **state)
{
    struct world *w = world_new(1, false, false);
    const struct ipc_client from = {.reply = on_reply, .binding = w};
    uint32_t index = world_record(w, false);

    (void)state;
    sim_stall(w->sim, NULL, true);
    for (int i = 0; i < 300; i++) {
        ask_only(w, ISCSI_UEVENT_LOGIN_FLASHNODE, index, "");
        if (i >= 256) { /* no more are kept */
            assert_int_equal(w->answer.count, 1);
            assert_int_equal(w->answer.rep.err, -ENOMEM);
        }
    }
    ask_only(w, ISCSI_UEVENT_SEND_PING, 0, "10.0.0.1");
    w->answer.count = 0;
    engine_table_forget(w->e, &from);
    world_wait(w, 60 * SEC);
    assert_int_equal(w->answer.count, 0);
    ask_only(w, ISCSI_UEVENT_LOGIN_FLASHNODE, index, "");
    world_free(w);
}

static void
test_ping(void **state)
{
    struct world *w = world_new(1, true, false);

    (void)state;
    assert_int_equal(ask(w, ISCSI_UEVENT_SEND_PING, 0, "10.0.0.1:3260"), 0);
    assert_true(w->answer.rep.r.value >= 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_SEND_PING, 0, "10.0.0.1:3261"), -ECONNREFUSED);
    assert_int_equal(ask(w, ISCSI_UEVENT_SEND_PING, 0, ""), -EINVAL);
    assert_true(ask(w, ISCSI_UEVENT_SEND_PING, 0, "no.such.name") < 0);
    sim_stall(w->sim, NULL, true);
    assert_int_equal(ask(w, ISCSI_UEVENT_SEND_PING, 0, "10.0.0.1:3260"), -ETIMEDOUT);
    sim_stall(w->sim, NULL, false);
    world_free(w);
}

/* ---- secrets -------------------------------------------------------------------------------- */

static void
test_secrets(void **state)
{
    struct world *w = world_new(1, true, true);
    uint32_t index = world_record(w, false);

    (void)state;
    assert_true(ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, index, "") < 0); /* it wants to know who */
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_CHAP, 0, "alice"), -EINVAL);
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_CHAP, 0, "alice\nwonderland wonder\n"), 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_CHAP, 1, "queen\nof hearts and more"), 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_CHAP, 2, "queen\nof spades, no more"), 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_LIST_CHAP, 0, ""), 0);
    assert_string_equal(w->answer.text, "0 alice\n1 queen\n2 queen\n");
    assert_int_equal(ask(w, ISCSI_UEVENT_LIST_CHAP, 1, ""), 0);
    assert_string_equal(w->answer.text, "1 queen\n2 queen\n");
    assert_int_equal(
        ask(w, ISCSI_UEVENT_SET_FLASHNODE, index, "flashnode.session.chap_in_idx = 1\n"),
        -EINVAL); /* it needs one of ours, too */
    assert_int_equal(ask(w, ISCSI_UEVENT_SET_FLASHNODE, index,
                         "flashnode.session.chap_out_idx = 0\nflashnode.session.chap_in_idx = 2\n"),
                     0);
    assert_true(ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, index, "") < 0); /* it cannot prove itself */
    assert_int_equal(
        ask(w, ISCSI_UEVENT_SET_FLASHNODE, index, "flashnode.session.chap_in_idx = 1\n"), 0);
    if (ask(w, ISCSI_UEVENT_LOGIN_FLASHNODE, index, "") < 0)
        fail_msg("%s", w->answer.rep.why.msg);
    assert_int_equal(ask(w, ISCSI_UEVENT_DELETE_CHAP, 1, ""), -EBUSY);
    assert_int_equal(ask(w, ISCSI_UEVENT_DELETE_CHAP, 2, ""), 0);
    assert_int_equal(ask(w, ISCSI_UEVENT_DELETE_CHAP, 2, ""), -ENOENT);
    /* No answer shows one. */
    assert_int_equal(ask(w, ISCSI_UEVENT_GET_FLASHNODE, index, ""), 0);
    assert_null(strstr(w->answer.text, "wonder"));
    /* It comes back with them. */
    make_trouble(w, CUT_EOF, 0);
    world_wait(w, 5 * SEC);
    assert_true(is_running(w));
    world_free(w);
}

/* As many records as there may be are listed in pages. */
static void
test_pages(void **state)
{
    struct world *w = world_new(1, false, false);
    unsigned lines = 0, pages = 0, last = 0;
    uint32_t from = 0;

    (void)state;
    for (int i = 0; i < IPC_FLASHNODES_MAX; i++) {
        char text[400];

        (void)snprintf(text, sizeof(text),
                       "flashnode.session.targetname = iqn.2026-11.example:%0180d\n"
                       "flashnode.conn[0].ipaddress = host%d.example\n",
                       i, i);
        assert_int_equal(ask(w, ISCSI_UEVENT_NEW_FLASHNODE, 0, text), 0);
    }
    assert_int_equal(ask(w, ISCSI_UEVENT_NEW_FLASHNODE, 0, ""), -ENOSPC);
    do {
        char *save = NULL;

        assert_int_equal(ask(w, ISCSI_UEVENT_LIST_FLASHNODES, from, ""), 0);
        for (char *l = strtok_r(w->answer.text, "\n", &save); l != NULL;
             l = strtok_r(NULL, "\n", &save)) {
            last = (unsigned)strtoul(l, NULL, 10);
            assert_int_equal(last, lines);
            lines++;
        }
        from = last + 1;
        pages++;
    } while (w->answer.rep.r.text.more);
    assert_int_equal(lines, IPC_FLASHNODES_MAX);
    assert_true(pages > 5);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_troubles),
        cmocka_unit_test(test_long_outage),
        cmocka_unit_test(test_first_fails),
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_ends_any_time),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_change_under_session),
        cmocka_unit_test(test_login_after_logout),
        cmocka_unit_test(test_late_answers),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
