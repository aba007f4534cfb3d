/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_many.c - openings and closings that do not wait: each outcome, given up and
 * cut off at every step, and hundreds of sessions at a time. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/internal.h"
#include "tests/sim/world.h"

#define BLOCK      512u
#define MANY       300
#define IN_FLIGHT  24
#define TURNS_MAX  100000
#define SEEDS      6
#define SEED_SLOTS 250
#define SEED_STEPS 4000

struct opening {
    struct lunette_open *op;
    struct lunette_lun *lun;
    struct lunette_error err;
    unsigned done;
};

static void
opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct opening *o = user;

    o->done++;
    o->op = NULL;
    o->lun = lun;
    assert_true((lun == NULL) == (err != NULL));
    if (err != NULL) {
        assert_true(err->code < 0 && err->msg[0] != '\0');
        o->err = *err;
    }
}

static void
closed(void *user)
{
    ++*(unsigned *)user;
}

static void
start_with(struct world *w, uint64_t seed, const char *options)
{
    struct world_config cfg = {
        .block = BLOCK, .options = options, .ipc_delay_ns = seed % 2 * LOOP_NS_PER_MS};

    world_new(w, seed, &cfg);
}

static void
start(struct world *w, uint64_t seed)
{
    start_with(w, seed, "");
}

static void
open_start(struct world *w, const char *url, uint32_t flags, struct opening *o)
{
    *o = (struct opening){0};
    if (lunette_open_start(w->ctx, url, flags, opened, o, &o->op, &o->err) < 0)
        fail_msg("%s", o->err.msg);
    assert_int_equal(o->done, 0);
    assert_non_null(o->op);
}

static void
turn(struct world *w)
{
    assert_int_equal(lunette_ctx_run(w->ctx, -1), 0);
}

static void
wait_for(struct world *w, const struct opening *o)
{
    for (int i = 0; o->done == 0; i++) {
        assert_true(i < TURNS_MAX);
        turn(w);
    }
}

static uint32_t
sessions_at_target(const struct world *w)
{
    struct target_stats st;

    target_stats(w->target, &st);
    return st.sessions;
}

/* The target has seen the end of everything. */
static void
end(struct world *w)
{
    for (int i = 0; i < TURNS_MAX && sessions_at_target(w) > 0; i++)
        (void)lunette_ctx_run(w->ctx, 1);
    assert_int_equal(sessions_at_target(w), 0);
    world_free(w);
}

static void
opens_and_closes(void **state)
{
    uint8_t buf[BLOCK], want[BLOCK];
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_info info = LUNETTE_INIT(info);
    struct opening o;
    unsigned gone = 0;
    struct world w;

    (void)state;
    start(&w, 1);
    open_start(&w, w.url, 0, &o);
    wait_for(&w, &o);
    assert_non_null(o.lun);
    (void)lunette_get_info(o.lun, &info);
    assert_int_equal(info.size, WORLD_LUN_SIZE);
    memset(want, 0x5a, sizeof(want));
    memcpy(w.disk + 7 * BLOCK, want, sizeof(want));
    assert_int_equal(lunette_pread(o.lun, buf, BLOCK, 7 * (uint64_t)BLOCK, &err), 0);
    assert_memory_equal(buf, want, sizeof(want));
    lunette_close_start(o.lun, closed, &gone);
    assert_int_equal(gone, 0);
    while (gone == 0)
        turn(&w);
    assert_int_equal(gone, 1);
    end(&w);
}

/* A synchronous call of more pieces than the one before: with the queue grown, all of it moves. */
static void
synchronous_calls_of_any_length(void **state)
{
    static const size_t lens[] = {BLOCK, WORLD_LUN_SIZE, BLOCK, WORLD_LUN_SIZE / 2};
    struct world_config cfg = {.block = BLOCK, .options = "?max_transfer=4096"};
    uint8_t *buf = malloc(WORLD_LUN_SIZE);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct world w;

    (void)state;
    assert_non_null(buf);
    world_new(&w, 3, &cfg);
    assert_int_equal(lunette_open(w.ctx, w.url, 0, &lun, &err), 0);
    for (size_t i = 0; i < WORLD_LUN_SIZE; i++)
        w.disk[i] = (uint8_t)(i * 7 + i / 509);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        memset(buf, 0xee, WORLD_LUN_SIZE);
        assert_int_equal(lunette_pread(lun, buf, lens[i], 0, &err), 0);
        assert_memory_equal(buf, w.disk, lens[i]);
    }
    for (size_t i = 0; i < WORLD_LUN_SIZE; i++)
        buf[i] = (uint8_t)(i * 13 + i / 511);
    assert_int_equal(lunette_pwrite(lun, buf, WORLD_LUN_SIZE, 0, 0, &err), 0);
    assert_memory_equal(buf, w.disk, WORLD_LUN_SIZE);
    lunette_close(lun);
    free(buf);
    end(&w);
}

static void
fails_with_a_sentence(void **state)
{
    static const struct {
        const char *path;
        int code;
        const char *text;
    } rows[] = {
        {"iqn.2026-11.example:other/0", 0, "no such target"},
        {WORLD_NODE "/5", -ENXIO, "LUN"},
    };
    struct lunette_open *op = NULL;
    struct lunette_error err = LUNETTE_INIT(err);
    char url[256], portal[64];
    struct opening o;
    struct world w;

    (void)state;
    start(&w, 2);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)snprintf(url, sizeof(url), "iscsi://%s/%s",
                       sock_addr_format(&w.portal, portal, sizeof(portal)), rows[i].path);
        open_start(&w, url, 0, &o);
        wait_for(&w, &o);
        assert_null(o.lun);
        if (rows[i].code != 0)
            assert_int_equal(o.err.code, rows[i].code);
        if (strstr(o.err.msg, rows[i].text) == NULL)
            fail_msg("\"%s\" says nothing of \"%s\"", o.err.msg, rows[i].text);
        assert_int_equal(sessions_at_target(&w), 0); /* nothing was left when done was called */
    }
    /* what can be told at once */
    o = (struct opening){0};
    assert_int_equal(
        lunette_open_start(w.ctx, "iscsi://10.0.0.1/?nonsense=1", 0, opened, &o, &op, &err),
        -EINVAL);
    assert_true(err.msg[0] != '\0');
    assert_int_equal(lunette_open_start(w.ctx, "iscsi://10.0.0.1/", 0, opened, &o, &op, &err),
                     -EINVAL);
    assert_non_null(strstr(err.msg, "target's name"));
    assert_null(op);
    (void)lunette_ctx_run(w.ctx, 100);
    assert_int_equal(o.done, 0);
    lunette_open_cancel(NULL);
    end(&w);
}

static void
session_without_a_unit(void **state)
{
    struct lunette_scsi tur = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6};
    struct lunette_session_info si = LUNETTE_INIT(si);
    struct lunette_queue *q = NULL;
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_info info = LUNETTE_INIT(info);
    struct target_stats st;
    uint8_t buf[BLOCK];
    struct opening o;
    uint64_t ns;
    struct world w;

    (void)state;
    start(&w, 4);
    open_start(&w, w.url, LUNETTE_OPEN_SESSION, &o);
    wait_for(&w, &o);
    assert_non_null(o.lun);
    target_stats(w.target, &st);
    assert_int_equal(st.commands, 0); /* nobody asked for a LUN */
    assert_int_equal(lunette_ping(o.lun, 100, &ns, &err), 0);
    (void)lunette_get_session_info(o.lun, &si);
    assert_string_equal(si.target_name, WORLD_NODE);
    (void)lunette_get_info(o.lun, &info);
    assert_int_equal(info.size, 0);
    assert_int_equal(lunette_pread(o.lun, buf, BLOCK, 0, &err), -ENXIO);
    assert_non_null(strstr(err.msg, "session"));
    assert_int_equal(lunette_pwrite(o.lun, buf, BLOCK, 0, 0, &err), -ENXIO);
    assert_int_equal(lunette_flush(o.lun, &err), -ENXIO);
    assert_int_equal(lunette_scsi(o.lun, &tur, &err), -ENXIO);
    assert_int_equal(lunette_queue_new(o.lun, 4, &q, &err), -ENXIO);
    assert_null(q);
    lunette_close(o.lun);
    end(&w);
}

/* After 0, 1, 2, ... turns, until it is open before.  Half of them with a context that is freed at
 * once.  ASan looks at what is left. */
static void
canceled_at_every_step(void **state)
{
    int n;

    (void)state;
    for (n = 0; n < TURNS_MAX; n++) {
        struct opening o;
        struct world w;

        start(&w, 100 + (uint64_t)n);
        open_start(&w, w.url, n % 3 == 0 ? LUNETTE_OPEN_RAW : 0, &o);
        for (int i = 0; i < n && o.done == 0; i++)
            turn(&w);
        if (o.done > 0) {
            assert_non_null(o.lun);
            lunette_close(o.lun);
            end(&w);
            break;
        }
        lunette_open_cancel(o.op);
        if (n / 2 % 2 == 0)
            (void)lunette_ctx_run(w.ctx, 100);
        assert_int_equal(o.done, 0);
        world_free(&w);
    }
    assert_true(n > 40); /* there were that many steps */
}

/* The connection is cut after each number of bytes: the opening fails, once and with a reason, or
 * the unit is open and later calls fail.  One way down is given up in the middle, too.  Where
 * nobody waits for another connection, that is all; else nothing fails. */
static void
cut_off_everywhere(bool waits)
{
    unsigned failed = 0, succeeded = 0;

    for (uint64_t at = 0; at < 2600; at += 26) {
        struct lunette_error err = LUNETTE_INIT(err);
        uint8_t buf[BLOCK];
        struct opening o;
        struct world w;

        start_with(&w, 1000 + at, waits ? "" : "?replacement_timeout=0");
        sim_cut_after(w.sim, NULL, at % 4 == 0 ? SIM_RESET : SIM_EOF, at % 8 < 4 ? at : UINT64_MAX,
                      at % 8 < 4 ? UINT64_MAX : at);
        open_start(&w, w.url, 0, &o);
        if (at % 5 == 0) {
            for (uint64_t i = 0; i < 10 + at / 26 && o.done == 0; i++)
                turn(&w);
            if (o.done == 0)
                lunette_open_cancel(o.op);
        } else {
            wait_for(&w, &o);
        }
        assert_true(o.done <= 1);
        if (o.lun != NULL) {
            int r = lunette_pread(o.lun, buf, BLOCK, 0, &err);

            assert_true(r == 0 || (!waits && (r == -ENOTCONN || r == -ENOLINK)));
            succeeded++;
            lunette_close(o.lun);
        } else if (o.done > 0) {
            assert_int_equal(o.err.domain, LUNETTE_DOM_CONNECT); /* not that INQUIRY failed */
            failed++;
        }
        world_free(&w);
    }
    if (waits)
        assert_true(failed == 0 && succeeded > 70);
    else
        assert_true(failed > 20 && succeeded > 0);
}

static void
cut_off_at_every_step(void **state)
{
    (void)state;
    cut_off_everywhere(false);
    cut_off_everywhere(true);
}

struct many {
    struct world w;
    struct opening o[MANY];
    unsigned started, opened, in_flight, closed;
};

static void many_next(struct many *m);

static void
many_opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct many *m = user;

    if (lun == NULL)
        fail_msg("%s", err->msg);
    m->o[m->opened++].lun = lun;
    m->in_flight--;
    many_next(m); /* from inside the callback */
}

static void
many_next(struct many *m)
{
    struct lunette_error err = LUNETTE_INIT(err);

    while (m->started < MANY && m->in_flight < IN_FLIGHT) {
        m->started++;
        m->in_flight++;
        assert_int_equal(lunette_open_start(m->w.ctx, m->w.url, 0, many_opened, m, NULL, &err), 0);
    }
}

/* Pings that are near each other share a wake-up, and no wake-up has most of them. */
static void
pings_share_and_spread(struct many *m)
{
    static uint64_t when[MANY];
    unsigned slots = 0, most = 0;

    for (int i = 0; i < MANY; i++) {
        struct scsi_host *h = dataplane_host(m->w.ctx->dp, m->o[i].lun->s->sid);
        const struct conn *c = container_of(h, struct session, host)->leadconn;

        assert_true(loop_timer_running(&c->transport_timer));
        when[i] = c->transport_timer.node.when_ns;
    }
    for (int i = 0; i < MANY; i++) {
        unsigned same = 0, earlier = 0;

        for (int k = 0; k < MANY; k++) {
            same += when[k] == when[i];
            earlier += k < i && when[k] == when[i];
        }
        slots += earlier == 0;
        most = same > most ? same : most;
    }
    assert_in_range(slots, 4, 20); /* an eighth of 64, and those that logged in over some time */
    assert_in_range(most, MANY / 20, MANY / 3);
}

static int
by_isid(const void *a, const void *b)
{
    return memcmp(a, b, 6);
}

static void
hundreds_one_starting_the_next(void **state)
{
    struct many *m = calloc(1, sizeof(*m));
    static uint8_t isid[MANY][6];
    struct lunette_session_info si = LUNETTE_INIT(si);
    struct lunette_error err = LUNETTE_INIT(err);
    uint8_t buf[BLOCK];
    uint64_t ns;

    (void)state;
    assert_non_null(m);
    start(&m->w, 7);
    many_next(m);
    while (m->opened < MANY)
        turn(&m->w);
    assert_int_equal(m->started, MANY);
    pings_share_and_spread(m);
    assert_int_equal(sessions_at_target(&m->w), MANY);
    for (int i = 0; i < MANY; i++) {
        (void)lunette_get_session_info(m->o[i].lun, &si);
        memcpy(isid[i], si.isid, 6);
        assert_int_equal(lunette_pread(m->o[i].lun, buf, BLOCK, 0, &err), 0);
    }
    qsort(isid, MANY, 6, by_isid);
    for (int i = 1; i < MANY; i++)
        assert_true(memcmp(isid[i - 1], isid[i], 6) < 0); /* each a port of its own */
    /* pings keep all of them through a minute without a word */
    for (uint64_t t = sim_now_ns(m->w.sim); sim_now_ns(m->w.sim) - t < 60 * LOOP_NS_PER_S;)
        (void)lunette_ctx_run(m->w.ctx, 1000);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(lunette_ping(m->o[i].lun, 8, &ns, &err), 0);
    for (int i = 0; i < MANY; i++)
        lunette_close_start(m->o[i].lun, i % 2 == 0 ? closed : NULL, &m->closed);
    while (m->closed < MANY / 2)
        turn(&m->w);
    assert_int_equal(m->closed, MANY / 2);
    end(&m->w);
    free(m);
}

/* ---- anything, anytime ---------------------------------------------------------------------- */

struct seed_run {
    struct world w;
    struct opening o[SEED_SLOTS];
    unsigned opens, fails, cancels, reads, lost, closes, closed;
};

static void
seed_step(struct seed_run *r)
{
    struct opening *o = &r->o[sim_below(r->w.sim, SEED_SLOTS)];
    struct lunette_error err = LUNETTE_INIT(err);
    uint8_t buf[BLOCK];

    if (o->op == NULL && o->lun == NULL) {
        if (o->done > 0)
            r->fails++;
        open_start(&r->w, r->w.url, sim_below(r->w.sim, 4) == 0 ? LUNETTE_OPEN_SESSION : 0, o);
        r->opens++;
    } else if (o->op != NULL) {
        if (sim_below(r->w.sim, 10) == 0) {
            lunette_open_cancel(o->op);
            *o = (struct opening){0};
            r->cancels++;
        }
    } else if (sim_below(r->w.sim, 8) == 0) {
        lunette_close_start(o->lun, closed, &r->closed);
        *o = (struct opening){0};
        r->closes++;
    } else {
        int e = lunette_pread(o->lun, buf, BLOCK, 0, &err);

        assert_true(e == 0 || e == -ENXIO || e == -ENOTCONN || e == -ENOLINK);
        r->reads += e == 0;
        if (e == -ENOTCONN || e == -ENOLINK) {
            r->lost++;
            lunette_close_start(o->lun, closed, &r->closed);
            *o = (struct opening){0};
            r->closes++;
        }
    }
    for (uint64_t n = sim_below(r->w.sim, 12); n > 0; n--)
        (void)lunette_ctx_run(r->w.ctx, 1);
    if (sim_below(r->w.sim, SEED_STEPS / 12) == 0)
        (void)sim_cut(r->w.sim, NULL, SIM_RESET);
}

static void
anything_at_any_time(void **state)
{
    unsigned opens = 0, cancels = 0, reads = 0, lost = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct seed_run *r = calloc(1, sizeof(*r));
        struct world_config cfg = {
            .block = BLOCK, .options = "?login_timeout=60000", .ipc_delay_ns = seed % 3 * 100000};

        assert_non_null(r);
        if (seed % 2 == 0)
            cfg.net = sim_rough;
        world_new(&r->w, seed, &cfg);
        for (int i = 0; i < SEED_STEPS; i++)
            seed_step(r);
        for (int i = 0; i < SEED_SLOTS; i++) {
            lunette_open_cancel(r->o[i].op);
            if (r->o[i].lun != NULL)
                lunette_close_start(r->o[i].lun, NULL, NULL);
        }
        opens += r->opens;
        cancels += r->cancels;
        reads += r->reads;
        lost += r->lost + r->fails;
        end(&r->w);
        assert_int_equal(r->closed, r->closes);
        free(r);
    }
    if (opens < SEEDS * SEED_SLOTS || cancels < SEEDS * 10 || reads < SEEDS * 100 || lost < SEEDS)
        fail_msg("too little happened: %u opens, %u cancels, %u reads, %u lost", opens, cancels,
                 reads, lost);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_closes),
        cmocka_unit_test(synchronous_calls_of_any_length),
        cmocka_unit_test(fails_with_a_sentence),
        cmocka_unit_test(session_without_a_unit),
        cmocka_unit_test(canceled_at_every_step),
        cmocka_unit_test(cut_off_at_every_step),
        cmocka_unit_test(hundreds_one_starting_the_next),
        cmocka_unit_test(anything_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
