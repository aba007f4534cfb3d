/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_bound.c - nobody waits for ever: targets that end the session at one command
 * or at each of them, cuts in quick succession, and a target that is silent when a disk is closed.
 */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"

#define MS      LOOP_NS_PER_MS
#define SEC     LOOP_NS_PER_S
#define BLOCK   512u
#define BAD_LBA 0x321u
#define OTHERS  7
#define OPTIONS "timeout=1000&login_timeout=4000&default_time2wait=0"

/* When the connection is cut. */
enum cut_at { NEVER, AT_BAD_LBA, AT_EACH_COMMAND, SPOIL_BAD_LBA };

static struct world w;
static struct lunette_error err;
static enum cut_at cut_at;
static unsigned cuts;
static uint8_t bufs[OTHERS + 1][BLOCK];

static void
cut(void *user)
{
    (void)user;
    cuts++;
    (void)sim_cut(w.sim, NULL, cuts % 2 ? SIM_EOF : SIM_RESET);
}

/* Where the command is that nobody survives, counted from 1; 0: not here. */
static uint32_t
the_one(const uint8_t *p, size_t len)
{
    static const uint8_t cdb[] = {0x2a, 0, 0, 0, BAD_LBA >> 8, BAD_LBA & 0xff, 0, 0, 1};

    for (size_t i = 0; i + sizeof(cdb) <= len; i++) {
        if (memcmp(p + i, cdb, sizeof(cdb)) == 0)
            return (uint32_t)i + 1;
    }
    return 0;
}

static uint32_t
tap(void *user, const struct sim_bytes *b)
{
    (void)user;
    if (b->p == NULL || !b->to_server || b->len < 48)
        return 0;
    if (cut_at == SPOIL_BAD_LBA && the_one(b->p, b->len) != 0) {
        cuts++;
        return the_one(b->p, b->len);
    }
    if ((cut_at == AT_BAD_LBA && the_one(b->p, b->len) != 0) ||
        (cut_at == AT_EACH_COMMAND && (b->p[0] & 0x3f) == 1))
        sim_at(w.sim, MS / 100, cut, NULL);
    return 0;
}

static void
start(uint64_t seed, const char *time2wait, const char *options)
{
    struct target_key_value set[] = {
        {"DefaultTime2Wait", time2wait}, {"MaxConnections", "8"}, {"ErrorRecoveryLevel", "2"}};
    struct world_config cfg = {.block = BLOCK, .options = options, .set = set, .set_count = 3};

    cut_at = NEVER;
    cuts = 0;
    err = (struct lunette_error)LUNETTE_INIT(err);
    world_new(&w, seed, &cfg);
    sim_tap(w.sim, tap, NULL);
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static uint64_t
since_ms(uint64_t t0)
{
    return (sim_now_ns(w.sim) - t0) / MS;
}

/* Reads and writes without a pause on q until the request on bufs[0] ends.  Returns how it ended,
 * and in *ret_good how many of the others did, all of them well. */
static int
run_beside(struct lunette_queue *q, unsigned *ret_good)
{
    *ret_good = 0;
    for (int i = 1; i <= OTHERS; i++)
        assert_int_equal(lunette_queue_read(q, bufs[i], BLOCK, (uint64_t)i * BLOCK, bufs[i]), 0);
    for (;;) {
        struct lunette_completion c;
        uint8_t *buf;

        assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
        if (c.user_data == bufs[0])
            return c.err;
        assert_int_equal(c.err, 0);
        buf = c.user_data;
        (void)lunette_ctx_run(w.ctx, 1); /* a disk takes its time */
        if (++*ret_good % 2)
            assert_int_equal(lunette_queue_write(q, buf, BLOCK, 8192, 0, buf), 0);
        else
            assert_int_equal(lunette_queue_read(q, buf, BLOCK, 4096, buf), 0);
    }
}

static void
drain(struct lunette_queue *q)
{
    struct lunette_completion c;

    while (lunette_queue_inflight(q) > 0) {
        assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
        assert_int_equal(c.err, 0);
    }
}

/* A target that drops the connection whenever one block is written: that write ends, and says the
 * truth; all the others go on. */
static void
one_poison_block(void **state)
{
    static const char *const patience[] = {"?" OPTIONS "&replacement_timeout=5",
                                           "?" OPTIONS "&replacement_timeout=-1"};

    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct lunette_queue *q = NULL;
        struct lunette_lun *lun;
        unsigned good;
        uint64_t t0;
        int r;

        start(seed, seed > 2 ? "2" : "0", patience[seed % 2]);
        w.lun = lun = world_open_lun(&w);
        assert_int_equal(lunette_queue_new(lun, 8, &q, &err), 0);
        cut_at = AT_BAD_LBA;
        t0 = sim_now_ns(w.sim);
        assert_int_equal(lunette_queue_write(q, bufs[0], BLOCK, BAD_LBA * BLOCK, 0, bufs[0]), 0);
        r = run_beside(q, &good);
        assert_int_equal(r, -ENOLINK);
        /* without a limit, its tries are limited by its own time, but not the outages between */
        assert_true(since_ms(t0) <= (seed % 2 == 0 ? 5000 + 2500 : 6000 + 40 * 2100));
        assert_in_range(cuts, 3, 40);
        assert_true(good > (seed > 2 ? 20 : 1000)); /* with Time2Wait there is little time */
        drain(q);
        assert_int_equal(lunette_pwrite(lun, bufs[0], BLOCK, BAD_LBA * BLOCK, 0, &err), -ENOLINK);
        assert_non_null(strstr(err.msg, "may have been executed"));
        cut_at = NEVER;
        assert_int_equal(lunette_pwrite(lun, bufs[0], BLOCK, BAD_LBA * BLOCK, 0, &err), 0);
        lunette_queue_free(q);
        w.lun = NULL;
        lunette_close(lun);
        world_free(&w);
    }
}

/* A disk and a queue of a session of one or four connections at each level, whose target closes
 * each connection on which that one block is written before it has taken note of the command. */
static struct lunette_queue *
start_several(uint64_t seed, int patience_s)
{
    struct lunette_queue *q = NULL;
    char options[256];

    (void)snprintf(options, sizeof(options),
                   "?" OPTIONS "&header_digest=crc32c&nr_connections=%u&error_recovery_level=%u"
                   "&replacement_timeout=%d",
                   seed % 2 ? 4 : 1, (unsigned)(seed / 2 % 3), patience_s);
    start(seed, "0", options);
    w.lun = world_open_lun(&w);
    (void)lunette_ctx_run(w.ctx, 100); /* further connections log in */
    assert_int_equal(lunette_queue_new(w.lun, 8, &q, &err), 0);
    cut_at = SPOIL_BAD_LBA;
    return q;
}

static void
end_several(struct lunette_queue *q)
{
    struct lunette_lun *lun = w.lun;

    drain(q);
    cut_at = NEVER;
    assert_int_equal(lunette_pwrite(lun, bufs[0], BLOCK, BAD_LBA * BLOCK, 0, &err), 0);
    lunette_queue_free(q);
    w.lun = NULL;
    lunette_close(lun);
    world_free(&w);
}

/* A command that costs each connection that it is sent on ends, and the others go on: also at level
 * 2, where it goes again with its number, and all that follow wait for that. */
static void
one_poison_among_several(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct lunette_queue *q = start_several(seed, seed > 6 ? -1 : 5);
        uint64_t t0 = sim_now_ns(w.sim);
        unsigned good;

        assert_int_equal(lunette_queue_write(q, bufs[0], BLOCK, BAD_LBA * BLOCK, 0, bufs[0]), 0);
        assert_int_equal(run_beside(q, &good), -ENOLINK);
        /* without a limit, its tries are limited by its own time, but not the outages between */
        assert_true(since_ms(t0) <= (seed > 6 ? 6000 + 6000 : 5000 + 2500));
        assert_in_range(cuts, 3, 150);
        assert_true(good > 10000);
        end_several(q);
    }
}

/* Who says how long a request may take as a whole hears of its end by then, though a session is
 * waited for without end. */
static void
caller_has_a_limit(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct lunette_queue *q = start_several(seed, -1);
        uint64_t t0 = sim_now_ns(w.sim);
        unsigned good;

        (void)lunette_queue_set_timeout(q, 1500);
        assert_int_equal(lunette_queue_write(q, bufs[0], BLOCK, BAD_LBA * BLOCK, 0, bufs[0]), 0);
        (void)lunette_queue_set_timeout(q, 0);
        assert_int_equal(run_beside(q, &good), -ETIMEDOUT);
        assert_in_range(since_ms(t0), 1500, 1600);
        assert_true(good > 1000);
        end_several(q);
    }
}

/* A target that drops the connection at each command: whatever is asked for ends, and when that is
 * over all works again. */
static void
each_command_is_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct lunette_pr_registrants *keys = NULL;
        struct lunette_lun *lun, *other = NULL;
        uint64_t t0;
        int r;

        start(seed, "0", "?" OPTIONS "&replacement_timeout=5");
        w.lun = lun = world_open_lun(&w);
        cut_at = AT_EACH_COMMAND;
        t0 = sim_now_ns(w.sim);
        r = lunette_pwrite(lun, bufs[0], BLOCK, 0, 0, &err);
        assert_int_equal(r, -ENOLINK);
        assert_true(since_ms(t0) <= (5 + 100 + 6) * 1000);
        assert_true(cuts > 5);
        t0 = sim_now_ns(w.sim);
        assert_true(lunette_pread(lun, bufs[0], BLOCK, 0, &err) < 0);
        assert_true(lunette_flush(lun, &err) < 0);
        assert_true(lunette_pr_read_keys(lun, &keys, &err) < 0);
        assert_true(since_ms(t0) <= 1000); /* the unit is known not to work */
        t0 = sim_now_ns(w.sim);
        assert_true(lunette_session_lun(lunette_lun_session(lun), 1, 0, &other, &err) < 0);
        assert_true(since_ms(t0) <= 4000 + 1000);
        cut_at = NEVER;
        (void)sim_run_until(w.sim, never, NULL, 12 * SEC); /* it knocks once in 10 s by now */
        assert_int_equal(lunette_pwrite(lun, bufs[0], BLOCK, 0, 0, &err), 0);
        w.lun = NULL;
        lunette_close(lun);

        cut_at = AT_EACH_COMMAND; /* nor does opening it take for ever */
        t0 = sim_now_ns(w.sim);
        assert_true(lunette_open(w.ctx, w.url, 0, &lun, &err) < 0);
        assert_true(since_ms(t0) <= 4000 + 1000);
        world_free(&w);
    }
}

static void
cut_again(void *user)
{
    if (cut_at == NEVER)
        return;
    cut(NULL);
    sim_at(w.sim, 30 * MS + loop_random(w.loop) % (40 * MS), cut_again, user);
}

/* Cuts all connections about every 50 ms for a minute: there is progress all the time. */
static void
cuts_in_quick_succession(void **state)
{
    static const char *const options[] = {
        "?" OPTIONS "&replacement_timeout=5",
        "?" OPTIONS "&replacement_timeout=5&error_recovery_level=2",
        "?" OPTIONS "&replacement_timeout=5&nr_connections=4",
        "?" OPTIONS "&replacement_timeout=5&nr_connections=4&error_recovery_level=2",
    };

    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct lunette_queue *q = NULL;
        struct lunette_lun *lun;
        uint64_t t0, worst = 0;

        start(seed, "0", options[seed % 4]);
        w.lun = lun = world_open_lun(&w);
        assert_int_equal(lunette_queue_new(lun, 8, &q, &err), 0);
        cut_at = AT_BAD_LBA; /* which nobody writes */
        cut_again(NULL);
        t0 = sim_now_ns(w.sim);
        while (since_ms(t0) < 60000) {
            uint64_t last = sim_now_ns(w.sim);

            for (int i = 0; i < 8; i++)
                assert_int_equal(
                    lunette_queue_read(q, bufs[i], BLOCK, (uint64_t)i * BLOCK, bufs[i]), 0);
            drain(q);
            (void)lunette_ctx_run(w.ctx, 1);
            if (since_ms(last) > worst)
                worst = since_ms(last);
        }
        cut_at = NEVER;
        assert_true(cuts > 1000);
        assert_true(worst <= (seed % 4 < 2 ? 500 : 2000)); /* more of them, fewer answers of each */
        lunette_queue_free(q);
        w.lun = NULL;
        lunette_close(lun);
        world_free(&w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_poison_block),         cmocka_unit_test(one_poison_among_several),
        cmocka_unit_test(caller_has_a_limit),       cmocka_unit_test(each_command_is_cut),
        cmocka_unit_test(cuts_in_quick_succession),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
