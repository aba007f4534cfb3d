/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_session.c - a session outlives its connections: what a program sees of that,
 * behind the public header and on virtual time. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK  512u
#define DEPTH  8u
#define BLOCKS (WORLD_LUN_SIZE / BLOCK)
#define EVENTS 256

static struct told { /* all events of a world, in their order */
    struct lunette_event ev[EVENTS];
    uint64_t at_ns[EVENTS];
    unsigned n;
    struct world *w;
    struct lunette_lun *close_it; /* in the next event */
} told;

static void
on_event(void *user, const struct lunette_event *ev)
{
    struct told *t = user;

    assert_true(t->n < EVENTS);
    t->at_ns[t->n] = sim_now_ns(t->w->sim);
    t->ev[t->n++] = *ev;
    if (t->close_it != NULL) {
        lunette_close_start(t->close_it, NULL, NULL);
        t->close_it = NULL;
    }
}

static void
start_delayed(struct world *w, const char *options, uint64_t ipc_delay_ns)
{
    struct world_config cfg = {.block = BLOCK, .options = options, .ipc_delay_ns = ipc_delay_ns};

    world_new(w, 7, &cfg);
    memset(&told, 0, sizeof(told));
    told.w = w;
    assert_int_equal(lunette_ctx_set_events(w->ctx, on_event, &told), 0);
}

static void
start(struct world *w, const char *options)
{
    start_delayed(w, options, 0);
}

/* Lets virtual time pass. */
static void
pass(struct world *w, uint64_t ms)
{
    uint64_t end = sim_now_ns(w->sim) + ms * LOOP_NS_PER_MS;

    while (sim_now_ns(w->sim) < end)
        assert_int_equal(lunette_ctx_run(w->ctx, 1), 0);
}

static enum lunette_session_state
state_of(const struct lunette_session *s)
{
    struct lunette_session_info info = LUNETTE_INIT(info);

    assert_int_equal(lunette_session_get_info(s, &info), 0);
    return info.state;
}

static void
wait_for_state(struct world *w, const struct lunette_session *s, enum lunette_session_state state)
{
    for (int i = 0; state_of(s) != state; i++) {
        assert_true(i < 1000000);
        assert_int_equal(lunette_ctx_run(w->ctx, 1), 0);
    }
}

static unsigned
count_of(enum lunette_event_type type)
{
    unsigned n = 0;

    for (unsigned i = 0; i < told.n; i++)
        n += told.ev[i].type == type;
    return n;
}

/* The first event of that type behind the i-th. */
static const struct lunette_event *
event_after(unsigned from, enum lunette_event_type type)
{
    for (unsigned i = from; i < told.n; i++) {
        if (told.ev[i].type == type)
            return &told.ev[i];
    }
    fail_msg("there was no event %s", lunette_event_name(type));
    return NULL;
}

/* ---- I/O over many cuts ---------------------------------------------------------------------- */

static void
fill(uint8_t *buf, uint64_t block, unsigned round)
{
    for (unsigned i = 0; i < BLOCK; i++)
        buf[i] = (uint8_t)(block * 7 + round * 31 + i);
}

static void
cut(void *user)
{
    struct world *w = user;

    (void)sim_cut(w->sim, NULL, sim_below(w->sim, 2) == 0 ? SIM_RESET : SIM_EOF);
}

/* Writes and reads at depth DEPTH while the connection is cut again and again: no error, and the
 * disk has what was written. */
static void
no_error_over_many_cuts(void **state)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_completion c[DEPTH];
    struct lunette_queue *q = NULL;
    uint8_t buf[DEPTH][BLOCK], want[BLOCK];
    struct lunette_lun *lun;
    unsigned cuts = 0;
    struct world w;

    (void)state;
    start(&w, "?default_time2wait=0");
    lun = w.lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, DEPTH, &q, &err), 0);
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < DEPTH; i++) {
            fill(buf[i], round * DEPTH + i, round);
            assert_int_equal(lunette_queue_write(q, buf[i], BLOCK,
                                                 (uint64_t)(round * DEPTH + i) * BLOCK, 0, NULL),
                             0);
        }
        sim_at(w.sim, sim_below(w.sim, 400000), cut, &w);
        cuts++;
        for (unsigned n = 0; n < DEPTH;) {
            int r = lunette_queue_poll(q, c, DEPTH, 1, -1);

            assert_true(r > 0);
            for (int i = 0; i < r; i++) {
                if (lunette_queue_explain(q, &c[i], "write", &err) < 0)
                    fail_msg("%s", err.msg);
            }
            n += (unsigned)r;
        }
    }
    for (unsigned b = 0; b < 60 * DEPTH; b++) {
        fill(want, b, b / DEPTH);
        assert_memory_equal(w.disk + (size_t)b * BLOCK, want, BLOCK);
    }
    pass(&w, 1000); /* the last cut */
    wait_for_state(&w, lun->s, LUNETTE_SESSION_LOGGED_IN);
    assert_int_equal(lunette_get_session_info(lun, &info), 0);
    assert_true(info.reopens > 20 && info.reopens <= cuts);
    assert_int_equal(count_of(LUNETTE_EVENT_CONN_LOST), info.reopens);
    assert_int_equal(count_of(LUNETTE_EVENT_RECOVERED), info.reopens);
    assert_int_equal(count_of(LUNETTE_EVENT_TIMED_OUT), 0);
    assert_true(info.error < 0 && info.error_text[0] != '\0'); /* why it was lost last */
    w.lun = NULL;
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* ---- events and times ------------------------------------------------------------------------ */

/* The network is away for longer than the replacement timeout: each event comes when it is due. */
static void
events_come_in_order_and_in_time(void **state)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_error err = LUNETTE_INIT(err);
    const struct lunette_event *ev;
    struct lunette_session *s;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    uint64_t lost_ns;
    struct world w;

    (void)state;
    start(&w, "?replacement_timeout=30&default_time2wait=0");
    lun = world_open_lun(&w);
    s = lunette_lun_session(lun);
    assert_int_equal(told.n, 0);
    sim_refuse(w.sim, NULL, true);
    (void)sim_cut(w.sim, NULL, SIM_RESET);
    lost_ns = sim_now_ns(w.sim);
    wait_for_state(&w, s, LUNETTE_SESSION_BLOCKED);
    assert_int_equal(lunette_session_get_info(s, &info), 0);
    assert_int_equal(info.nconnections, 1);
    assert_true(info.give_up_ms > 29900 && info.give_up_ms <= 30000);
    assert_true(info.error < 0);

    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -ENOTCONN);
    assert_true(sim_now_ns(w.sim) - lost_ns >= 30 * LOOP_NS_PER_S);
    assert_true(sim_now_ns(w.sim) - lost_ns < 30 * LOOP_NS_PER_S + 100 * LOOP_NS_PER_MS);
    assert_non_null(strstr(err.msg, "read: the session was not recovered within 30 s: "));
    pass(&w, 1);
    assert_int_equal(state_of(s), LUNETTE_SESSION_FAILED);
    lost_ns = sim_now_ns(w.sim);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -ENOTCONN);
    assert_true(sim_now_ns(w.sim) - lost_ns < 10 * LOOP_NS_PER_MS); /* and now it does not wait */

    assert_int_equal(told.ev[0].type, LUNETTE_EVENT_CONN_LOST);
    assert_ptr_equal(told.ev[0].session, s);
    assert_null(told.ev[0].lun);
    assert_int_equal(told.ev[0].give_up_ms, 30000);
    assert_true(told.ev[0].err < 0 && told.ev[0].why[0] != '\0');
    assert_int_equal(told.ev[1].type, LUNETTE_EVENT_REOPENING);
    assert_int_equal(told.ev[1].attempt, 1);
    assert_int_equal(told.ev[2].type, LUNETTE_EVENT_REOPENING);
    assert_int_equal(told.ev[2].attempt, 2);
    assert_non_null(strstr(told.ev[2].why, "refused"));
    assert_true(told.ev[2].next_try_ms > 0 && told.ev[2].give_up_ms > 0);
    ev = event_after(0, LUNETTE_EVENT_TIMED_OUT);
    assert_true(ev->down_ms >= 30000 && ev->down_ms < 30100);
    assert_int_equal(ev->give_up_ms, 0);

    sim_refuse(w.sim, NULL, false); /* the attempts have gone on */
    wait_for_state(&w, s, LUNETTE_SESSION_LOGGED_IN);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);
    ev = event_after(0, LUNETTE_EVENT_RECOVERED);
    assert_true(ev->down_ms > 30000);
    assert_int_equal(count_of(LUNETTE_EVENT_TIMED_OUT), 1);
    lunette_close(lun);
    world_free(&w);
}

/* Of requests that end since nobody logs in again, those are told apart that may have been
 * executed.
 */
static void
what_may_have_been_executed(void **state)
{
    static uint8_t buf[3][BLOCK];
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_completion c[3];
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    struct world w;

    (void)state;
    start(&w, "?replacement_timeout=30");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    assert_int_equal(lunette_queue_write(q, buf[0], BLOCK, 0, 0, buf[0]), 0);
    assert_int_equal(lunette_queue_read(q, buf[1], BLOCK, BLOCK, buf[1]), 0);
    assert_int_equal(lunette_queue_submit(q), 0);
    sim_refuse(w.sim, NULL, true);
    (void)sim_cut(w.sim, NULL, SIM_RESET);
    wait_for_state(&w, lunette_lun_session(lun), LUNETTE_SESSION_BLOCKED);
    assert_int_equal(lunette_queue_write(q, buf[2], BLOCK, 2 * BLOCK, 0, buf[2]), 0);
    assert_int_equal(lunette_queue_poll(q, c, 3, 3, -1), 3);
    for (int i = 0; i < 3; i++) {
        bool maybe = c[i].user_data == buf[0];

        assert_int_equal(c[i].err, maybe ? -ENOLINK : -ENOTCONN);
        assert_int_equal(lunette_queue_explain(q, &c[i], "it", &err), c[i].err);
        assert_non_null(strstr(err.msg, "it: the session was not recovered within 30 s"));
        assert_true((strstr(err.msg, "may have been executed") != NULL) == maybe);
    }
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* replacement_timeout=0: nobody waits, and it comes back all the same. */
static void
at_once(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    struct world w;
    uint64_t ns;

    (void)state;
    start(&w, "?replacement_timeout=0");
    lun = world_open_lun(&w);
    (void)sim_cut(w.sim, NULL, SIM_RESET);
    wait_for_state(&w, lun->s, LUNETTE_SESSION_FAILED);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -ENOTCONN);
    assert_non_null(strstr(err.msg, "read: the connection is lost: "));
    assert_int_equal(lunette_ping(lun, 8, &ns, &err), -ENOTCONN);
    assert_non_null(strstr(err.msg, "trying again"));
    wait_for_state(&w, lun->s, LUNETTE_SESSION_LOGGED_IN);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);
    assert_int_equal(lunette_ping(lun, 8, &ns, &err), 0);
    assert_int_equal(count_of(LUNETTE_EVENT_TIMED_OUT), 1);
    lunette_close(lun);
    world_free(&w);
}

/* What is asked before the loss was told of fails for want of a connection: the session is there.
 */
static void
at_once_untold(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    const struct scsi_host *host;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    struct world w;

    (void)state;
    start_delayed(&w, "?replacement_timeout=0", LOOP_NS_PER_S);
    lun = world_open_lun(&w);
    host = dataplane_host(w.ctx->dp, lun->s->sid);
    (void)sim_cut(w.sim, NULL, SIM_RESET);
    for (int i = 0; host->state != SCSI_HOST_GONE; i++) {
        assert_true(i < 1000);
        assert_int_equal(lunette_ctx_run(w.ctx, 1), 0);
    }
    assert_int_equal(state_of(lun->s), LUNETTE_SESSION_LOGGED_IN);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -ENOTCONN);
    assert_string_equal(err.msg, "read: there is no connection");
    wait_for_state(&w, lun->s, LUNETTE_SESSION_FAILED);
    wait_for_state(&w, lun->s, LUNETTE_SESSION_LOGGED_IN);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);
    lunette_close(lun);
    world_free(&w);
}

/* -1: days are not too long. */
static void
for_ever(void **state)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_completion c;
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    struct world w;

    (void)state;
    start(&w, "?replacement_timeout=-1");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 1, &q, &err), 0);
    sim_refuse(w.sim, NULL, true);
    (void)sim_cut(w.sim, NULL, SIM_EOF);
    wait_for_state(&w, lun->s, LUNETTE_SESSION_BLOCKED);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
    assert_int_equal(lunette_queue_submit(q), 0);
    (void)lunette_ctx_set_events(w.ctx, NULL, NULL); /* they would be many */
    for (int hour = 0; hour < 49; hour++)
        assert_int_equal(lunette_queue_poll(q, &c, 1, 1, 3600 * 1000), 0);
    assert_int_equal(lunette_get_session_info(lun, &info), 0);
    assert_int_equal(info.state, LUNETTE_SESSION_BLOCKED);
    assert_int_equal(info.give_up_ms, -1);
    assert_true(info.attempt > 49 && info.down_ms > INT64_C(48) * 3600 * 1000);
    sim_refuse(w.sim, NULL, false);
    assert_int_equal(lunette_session_reopen_now(lun->s), 0);
    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, 5000), 1);
    assert_int_equal(c.err, 0);
    assert_int_equal(lunette_session_reopen_now(lun->s), -EALREADY);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* The limit is changed while the session waits, and counts from the loss. */
static void
changed_while_it_waits(void **state)
{
    struct lunette_timeouts t = LUNETTE_INIT(t);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    struct world w;
    uint64_t lost_ns;

    (void)state;
    start(&w, "?replacement_timeout=-1&noop_interval=3&noop_timeout=2s&timeout=7000&reopen_max=3");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_session_get_timeouts(lun->s, &t), 0);
    assert_int_equal(t.replacement_s, -1);
    assert_int_equal(t.noop_interval_ms, 3000);
    assert_int_equal(t.noop_timeout_ms, 2000);
    assert_int_equal(t.command_ms, 7000);
    assert_int_equal(t.login_ms, 30000);
    assert_int_equal(t.reopen_max, 3);
    t.login_ms = 0;
    assert_int_equal(lunette_session_set_timeouts(lun->s, &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "login_ms: want 1.."));
    t.login_ms = 5000;
    t.replacement_s = -2;
    assert_int_equal(lunette_session_set_timeouts(lun->s, &t, &err), -EINVAL);

    sim_refuse(w.sim, NULL, true);
    (void)sim_cut(w.sim, NULL, SIM_EOF);
    lost_ns = sim_now_ns(w.sim);
    pass(&w, 10000);
    assert_int_equal(state_of(lun->s), LUNETTE_SESSION_BLOCKED);
    t.replacement_s = 15;
    assert_int_equal(lunette_session_set_timeouts(lun->s, &t, &err), 0);
    wait_for_state(&w, lun->s, LUNETTE_SESSION_FAILED);
    assert_true(sim_now_ns(w.sim) - lost_ns >= 15 * LOOP_NS_PER_S);
    assert_true(sim_now_ns(w.sim) - lost_ns < 15 * LOOP_NS_PER_S + 100 * LOOP_NS_PER_MS);
    sim_refuse(w.sim, NULL, false);
    wait_for_state(&w, lun->s, LUNETTE_SESSION_LOGGED_IN);
    assert_int_equal(lunette_session_get_timeouts(lun->s, &t), 0);
    assert_int_equal(t.replacement_s, 15);
    assert_int_equal(t.login_ms, 5000);
    lunette_close(lun);
    world_free(&w);
}

/* Pings are told of their new interval without another login: a network that loses everything is
 * found out in that time. */
static void
pings_change_at_once(void **state)
{
    struct lunette_timeouts t = LUNETTE_INIT(t);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    struct world w;
    uint64_t stalled_ns;

    (void)state;
    start(&w, "?noop_interval=0");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_session_get_timeouts(lun->s, &t), 0);
    t.noop_interval_ms = t.noop_timeout_ms = 1000;
    assert_int_equal(lunette_session_set_timeouts(lun->s, &t, &err), 0);
    pass(&w, 3000);
    assert_int_equal(state_of(lun->s), LUNETTE_SESSION_LOGGED_IN);
    sim_stall(w.sim, NULL, true);
    stalled_ns = sim_now_ns(w.sim);
    wait_for_state(&w, lun->s, LUNETTE_SESSION_BLOCKED);
    assert_true(sim_now_ns(w.sim) - stalled_ns < 2200 * LOOP_NS_PER_MS);
    sim_stall(w.sim, NULL, false);
    wait_for_state(&w, lun->s, LUNETTE_SESSION_LOGGED_IN);
    lunette_close(lun);
    world_free(&w);
}

/* The time limit of requests is changed under an open unit. */
static void
requests_get_another_limit(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x28};
    struct lunette_timeouts t = LUNETTE_INIT(t);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    struct world w;
    uint64_t began, took[2];

    (void)state;
    start(&w, "?timeout=20s");
    lun = world_open_lun(&w);
    target_set_faults(w.target, &mute);
    for (int i = 0; i < 2; i++) {
        began = sim_now_ns(w.sim);
        assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -ETIMEDOUT);
        took[i] = sim_now_ns(w.sim) - began;
        assert_int_equal(lunette_session_get_timeouts(lun->s, &t), 0);
        assert_int_equal(t.command_ms, i == 0 ? 20000 : 2000);
        t.command_ms = 2000;
        assert_int_equal(lunette_session_set_timeouts(lun->s, &t, &err), 0);
    }
    assert_true(took[0] >= 20 * LOOP_NS_PER_S);
    assert_true(took[1] >= 2 * LOOP_NS_PER_S && took[1] * 9 < took[0]);
    lunette_close(lun);
    world_free(&w);
}

/* ---- closing --------------------------------------------------------------------------------- */

/* A close leaves any state at once: lost, waiting for a try, in a login that nobody answers, timed
 * out. */
static void
closed_in_each_state(void **state)
{
    static const uint32_t after_ms[] = {1, 3, 10, 100, 1000, 2001, 2500, 4000, 31000};

    (void)state;
    for (int stalls = 0; stalls < 2; stalls++) {
        for (size_t i = 0; i < sizeof(after_ms) / sizeof(after_ms[0]); i++) {
            struct lunette_lun *lun;
            struct world w;
            uint64_t began;

            start(&w, "?replacement_timeout=30&noop_interval=0");
            lun = world_open_lun(&w);
            sim_refuse(w.sim, NULL, !stalls);
            (void)sim_cut(w.sim, NULL, SIM_RESET);
            wait_for_state(&w, lun->s, LUNETTE_SESSION_BLOCKED);
            sim_stall(w.sim, NULL, stalls); /* logins are not answered */
            pass(&w, after_ms[i]);
            assert_true(state_of(lun->s) != LUNETTE_SESSION_LOGGED_IN);
            began = sim_now_ns(w.sim);
            lunette_close(lun);
            assert_true(sim_now_ns(w.sim) - began < 500 * LOOP_NS_PER_MS);
            sim_stall(w.sim, NULL, false);
            world_free(&w);
        }
    }
}

/* A LUN and then its session are closed without waiting in between, and so is the session of an
 * opening that was given up just before: nobody waits for the connection. */
static void
closed_with_its_session(void **state)
{
    (void)state;
    for (int opening = 0; opening < 2; opening++) {
        struct lunette_error err = LUNETTE_INIT(err);
        struct lunette_session *s = NULL;
        struct lunette_lun *lun = NULL;
        struct lunette_open *op = NULL;
        struct world w;
        uint64_t began;

        start(&w, "?replacement_timeout=-1");
        assert_int_equal(lunette_session_open(w.ctx, w.url, 0, &s, &err), 0);
        if (!opening)
            assert_int_equal(lunette_session_lun(s, 0, 0, &lun, &err), 0);
        sim_refuse(w.sim, NULL, true);
        (void)sim_cut(w.sim, NULL, SIM_RESET);
        wait_for_state(&w, s, LUNETTE_SESSION_BLOCKED);
        if (opening) {
            assert_int_equal(lunette_session_lun_start(s, 0, 0, NULL, NULL, &op, &err), 0);
            pass(&w, 1000);
            lunette_open_cancel(op);
        } else {
            lunette_close_start(lun, NULL, NULL);
        }
        began = sim_now_ns(w.sim);
        lunette_session_close(s);
        assert_true(sim_now_ns(w.sim) - began < 500 * LOOP_NS_PER_MS);
        world_free(&w);
    }
}

/* The flush of a close is under way when the connection is lost: nobody waits for it. */
static void
lost_while_it_closes(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x35};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    uint8_t buf[BLOCK] = {0};
    struct world w;
    uint64_t began;

    (void)state;
    start(&w, "");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_pwrite(lun, buf, BLOCK, 0, 0, &err), 0);
    target_set_faults(w.target, &mute);
    sim_at(w.sim, LOOP_NS_PER_S, cut, &w);
    began = sim_now_ns(w.sim);
    lunette_close(lun);
    assert_true(sim_now_ns(w.sim) - began >= LOOP_NS_PER_S);
    assert_true(sim_now_ns(w.sim) - began < LOOP_NS_PER_S + 500 * LOOP_NS_PER_MS);
    assert_int_equal(told.n, 0); /* it was the program's no more */
    world_free(&w);
}

static void
closed_in_the_callback(void **state)
{
    struct lunette_lun *lun;
    struct world w;

    (void)state;
    start(&w, "");
    lun = world_open_lun(&w);
    told.close_it = lun;
    (void)sim_cut(w.sim, NULL, SIM_RESET);
    pass(&w, 10000);
    assert_int_equal(told.n, 1);
    world_free(&w);
}

/* ---- several LUNs ---------------------------------------------------------------------------- */

static void
open_has_failed(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    assert_null(lun);
    *(struct lunette_error *)user = *err;
}

static void
luns_of_one_session(void **state)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_conn_info conn = LUNETTE_INIT(conn);
    struct lunette_error err = LUNETTE_INIT(err), late = LUNETTE_INIT(late);
    struct lunette_session *s = NULL;
    struct lunette_lun *lun = NULL, *other = NULL;
    struct lunette_open *op = NULL;
    uint8_t buf[BLOCK];
    struct target_stats st;
    struct world w;
    uint64_t ns;

    (void)state;
    start(&w, "?default_time2wait=0");
    assert_int_equal(lunette_session_open(w.ctx, w.url, LUNETTE_OPEN_RAW, &s, &err), -EINVAL);
    assert_int_equal(lunette_session_open(w.ctx, w.url, 0, &s, &err), 0);
    assert_int_equal(lunette_session_ping(s, 100, &ns, &err), 0);
    assert_int_equal(lunette_session_get_conn(s, 0, &conn), 0);
    assert_int_equal(conn.state, LUNETTE_CONN_LOGGED_IN);
    assert_string_equal(conn.portal, "10.0.0.1:3260");
    assert_int_equal(lunette_session_get_conn(s, 1, &conn), -ENOENT);

    assert_int_equal(lunette_session_lun(s, 0, 0, &lun, &err), 0);
    assert_ptr_equal(lunette_lun_session(lun), s);
    assert_int_equal(lunette_session_lun(s, 0, LUNETTE_OPEN_RDONLY, &other, &err), -EBUSY);
    assert_int_equal(lunette_session_lun(s, 1, LUNETTE_OPEN_SESSION, &other, &err), -EINVAL);
    assert_int_equal(lunette_session_lun(s, 5, 0, &other, &err), -ENXIO); /* there is none */
    assert_int_equal(
        lunette_session_lun(s, 5, LUNETTE_OPEN_RAW | LUNETTE_OPEN_ANY_LUN, &other, &err), 0);
    assert_int_equal(lunette_pread(other, buf, BLOCK, 0, &err), -EOPNOTSUPP);
    lunette_close(other);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);

    /* closed and opened again in the same session, also while the connection is lost */
    lunette_close(lun);
    assert_int_equal(lunette_session_lun(s, 0, 0, &lun, &err), 0);
    sim_refuse(w.sim, NULL, true);
    (void)sim_cut(w.sim, NULL, SIM_RESET);
    wait_for_state(&w, s, LUNETTE_SESSION_BLOCKED);
    assert_int_equal(lunette_session_get_conn(s, 0, &conn), 0);
    assert_true(conn.state != LUNETTE_CONN_LOGGED_IN);
    assert_int_equal(lunette_session_ping(s, 100, &ns, &err), -ENOTCONN);
    assert_int_equal(lunette_session_lun_start(s, 5, 0, open_has_failed, &late, &op, &err), 0);
    ns = sim_now_ns(w.sim);
    lunette_close(lun); /* does not wait for it */
    assert_true(sim_now_ns(w.sim) - ns < 100 * LOOP_NS_PER_MS);
    assert_int_equal(late.code, 0);
    sim_refuse(w.sim, NULL, false);
    wait_for_state(&w, s, LUNETTE_SESSION_LOGGED_IN);
    pass(&w, 1000);
    assert_int_equal(late.code, -ENXIO); /* it has been looked for, once there was a connection */
    assert_int_equal(lunette_session_lun(s, 0, 0, &lun, &err), 0);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);
    assert_int_equal(lunette_session_get_info(s, &info), 0);
    assert_int_equal(info.reopens, 1);
    target_stats(w.target, &st);
    assert_int_equal(st.sessions, 1);
    lunette_close_start(lun, NULL, NULL); /* the session waits for it */
    lunette_session_close(s);
    lunette_session_close(NULL);
    world_free(&w);
}

/* A LUN that is looked for while the connection stays away is given up with the login timeout. */
static void
an_opening_does_not_wait_for_ever(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_session *s = NULL;
    struct lunette_lun *lun = NULL;
    struct world w;
    uint64_t began;

    (void)state;
    start(&w, "?replacement_timeout=-1&login_timeout=4s");
    assert_int_equal(lunette_session_open(w.ctx, w.url, 0, &s, &err), 0);
    sim_refuse(w.sim, NULL, true);
    (void)sim_cut(w.sim, NULL, SIM_RESET);
    wait_for_state(&w, s, LUNETTE_SESSION_BLOCKED);
    began = sim_now_ns(w.sim);
    assert_int_equal(lunette_session_lun(s, 0, 0, &lun, &err), -ECONNREFUSED);
    assert_true(sim_now_ns(w.sim) - began >= 4 * LOOP_NS_PER_S);
    assert_true(sim_now_ns(w.sim) - began < 4 * LOOP_NS_PER_S + 100 * LOOP_NS_PER_MS);
    assert_int_equal(lunette_session_lun(s, 0, 0, &lun, &err), -EBUSY); /* it is still waited for */
    lunette_session_close(s);
    world_free(&w);
}

static void
gone_for_good(void *user)
{
    struct world *w = user;

    sim_refuse(w->sim, NULL, true);
    (void)sim_cut(w->sim, NULL, SIM_RESET);
}

/* The list of LUNs survives a cut, and a network that is gone ends it in time. */
static void
listing(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_luns *luns = NULL;
    struct world w;
    uint64_t began;

    (void)state;
    for (uint64_t bytes = 500; bytes < 2500; bytes += 100) {
        start(&w, "?default_time2wait=0");
        sim_cut_after(w.sim, NULL, SIM_RESET, UINT64_MAX, bytes);
        if (lunette_list_luns(w.ctx, w.url, &luns, NULL, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(lunette_luns_count(luns), 1);
        lunette_luns_free(luns);
        world_free(&w);
    }
    start(&w, "?replacement_timeout=-1&login_timeout=6s");
    target_set_faults(w.target, &(struct target_faults){.mute = true, .mute_opcode = 0x12});
    sim_at(w.sim, LOOP_NS_PER_S, gone_for_good, &w);
    began = sim_now_ns(w.sim);
    assert_int_equal(lunette_list_luns(w.ctx, w.url, &luns, NULL, &err), -ECONNREFUSED);
    assert_true(sim_now_ns(w.sim) - began >= 6 * LOOP_NS_PER_S);
    assert_true(sim_now_ns(w.sim) - began < 6 * LOOP_NS_PER_S + 100 * LOOP_NS_PER_MS);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_error_over_many_cuts),
        cmocka_unit_test(events_come_in_order_and_in_time),
        cmocka_unit_test(what_may_have_been_executed),
        cmocka_unit_test(at_once),
        cmocka_unit_test(at_once_untold),
        cmocka_unit_test(for_ever),
        cmocka_unit_test(changed_while_it_waits),
        cmocka_unit_test(pings_change_at_once),
        cmocka_unit_test(requests_get_another_limit),
        cmocka_unit_test(closed_in_each_state),
        cmocka_unit_test(closed_with_its_session),
        cmocka_unit_test(lost_while_it_closes),
        cmocka_unit_test(closed_in_the_callback),
        cmocka_unit_test(luns_of_one_session),
        cmocka_unit_test(an_opening_does_not_wait_for_ever),
        cmocka_unit_test(listing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
