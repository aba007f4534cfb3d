/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_calls.c - cancel, time limits, compare-and-write and persistent reservations
 * through the whole initiator, to a target that may not answer. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK 512u
#define KEY_A 0xaaaaaaaa11111111ull
#define KEY_B 0xbbbbbbbb22222222ull
#define WERO  LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY

static struct world w;
static struct lunette_error err;

static void
start_on(const struct sim_config *net, uint64_t seed, const char *options)
{
    struct world_config cfg = {.block = BLOCK, .options = options};

    if (net != NULL)
        cfg.net = *net;
    err = (struct lunette_error)LUNETTE_INIT(err);
    world_new(&w, seed, &cfg);
}

static void
start(uint64_t seed, const char *options)
{
    start_on(NULL, seed, options);
}

static uint64_t
since_ms(uint64_t t0)
{
    return (sim_now_ns(w.sim) - t0) / LOOP_NS_PER_MS;
}

/* Waits for the one completion that is due. */
static int
ends(struct lunette_queue *q)
{
    struct lunette_completion c;

    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
    assert_int_equal(lunette_queue_inflight(q), 0);
    return c.err;
}

static void
canceled(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x28};
    struct lunette_queue *q = NULL;
    struct lunette_completion c;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    uint64_t t0;

    (void)state;
    start(1, "");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    target_set_faults(w.target, &mute);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, buf), 0);
    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, 500), 0);
    t0 = sim_now_ns(w.sim);
    assert_int_equal(lunette_queue_cancel(q, buf), 1);
    assert_int_equal(ends(q), -ECANCELED);
    assert_true(since_ms(t0) < 100);
    target_set_faults(w.target, NULL);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, buf), 0); /* nothing else has happened */
    assert_int_equal(ends(q), 0);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* A target that does not answer task management either loses the connection, and with it all
 * claims to the memory. */
static void
canceled_at_a_dead_target(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x28, .mute_tmf = true};
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    uint64_t t0;

    (void)state;
    start(1, "?abort_timeout=2000");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    target_set_faults(w.target, &mute);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, buf), 0);
    assert_int_equal(lunette_queue_submit(q), 0);
    (void)lunette_ctx_run(w.ctx, 10);
    t0 = sim_now_ns(w.sim);
    assert_int_equal(lunette_queue_cancel(q, buf), 1);
    assert_int_equal(ends(q), -ECANCELED);
    assert_true(since_ms(t0) >= 2000 && since_ms(t0) < 2500);
    target_set_faults(w.target, NULL);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

static void
out_of_time(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x2a};
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK] = {0};
    uint64_t t0;

    (void)state;
    start(1, "");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    assert_int_equal(lunette_queue_set_timeout(q, 1000), 0);
    assert_int_equal(lunette_set_timeout(lun, 3000), 0);
    target_set_faults(w.target, &mute);
    t0 = sim_now_ns(w.sim);
    assert_int_equal(lunette_queue_write(q, buf, BLOCK, 0, 0, NULL), 0);
    assert_int_equal(ends(q), -ETIMEDOUT);
    assert_true(since_ms(t0) >= 1000 && since_ms(t0) < 1100);
    t0 = sim_now_ns(w.sim);
    assert_int_equal(lunette_pwrite(lun, buf, BLOCK, 0, 0, &err), -ETIMEDOUT);
    assert_true(since_ms(t0) >= 3000 && since_ms(t0) < 3100);
    assert_non_null(strstr(err.msg, "was aborted"));
    target_set_faults(w.target, NULL);
    assert_int_equal(lunette_pwrite(lun, buf, BLOCK, 0, 0, &err), 0);
    sim_refuse(w.sim, NULL, true);
    assert_true(sim_cut(w.sim, NULL, SIM_RESET) > 0);
    assert_int_equal(lunette_pwrite(lun, buf, BLOCK, 0, 0, &err), -ETIMEDOUT); /* nothing is sent */
    assert_int_equal(err.domain, LUNETTE_DOM_TIMEOUT);
    assert_non_null(strstr(err.msg, "not done in time, since there is no connection: "));
    assert_null(strstr(err.msg, "abort"));
    sim_refuse(w.sim, NULL, false);
    assert_int_equal(lunette_pwrite(lun, buf, BLOCK, 0, 0, &err), 0);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

static const struct loop_ops *sims;
static int turns_left; /* then waiting fails */

static int
run_some(struct loop *l, int64_t timeout_ns)
{
    return turns_left-- > 0 ? sims->run(l, timeout_ns) : -ENOMEM;
}

/* Uses the stack where calls had theirs, and looks whether anybody else does. */
static void __attribute__((noinline)) drive_over_the_stack(int ms)
{
    volatile uint8_t mine[6000];

    for (size_t i = 0; i < sizeof(mine); i++)
        mine[i] = 0xa5;
    (void)lunette_ctx_run(w.ctx, ms);
    for (size_t i = 0; i < sizeof(mine); i++)
        assert_int_equal(mine[i], 0xa5);
}

/* Waiting fails in the middle of a call: what is left of it refers to nothing of the caller's
 * stack, and ends when the loop runs again. */
static void
waiting_fails(void **state)
{
    static uint8_t buf[BLOCK];
    const struct loop_ops *good;
    struct loop_ops bad;

    (void)state;
    for (int call = 0; call < 8; call++) {
        static const uint8_t cdb[6] = {0x12, 0, 0, 0, 96, 0};
        struct lunette_scsi cmd = LUNETTE_INIT(cmd);
        struct lunette_lun *lun;
        int r;

        start(1, "");
        lun = world_open_lun(&w);
        assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);
        good = w.loop->ops;
        bad = *good;
        bad.run = run_some;
        sims = good;
        turns_left = call & 2 ? 1 : 0;
        w.loop->ops = &bad;
        cmd.cdb = cdb;
        cmd.cdb_len = 6;
        cmd.in = buf;
        cmd.in_len = 96;
        r = call % 2 == 0 ? lunette_pread(lun, buf, BLOCK, 0, &err) : lunette_scsi(lun, &cmd, &err);
        w.loop->ops = good;
        assert_int_equal(r, -ENOMEM);
        if (call & 4) { /* it is closed before that */
            lunette_close(lun);
            world_free(&w);
            continue;
        }
        drive_over_the_stack(1000);
        assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), 0);
        assert_int_equal(lunette_scsi(lun, &cmd, &err), 0);
        assert_int_equal(cmd.in_done, 96);
        lunette_close(lun);
        world_free(&w);
    }
}

static void
compared_and_written(void **state)
{
    uint8_t zero[2 * BLOCK] = {0}, ones[2 * BLOCK], buf[2 * BLOCK];
    struct lunette_queue *q = NULL;
    struct lunette_completion c;
    struct lunette_lun *lun;
    uint64_t at = 0;

    (void)state;
    start(1, "");
    lun = world_open_lun(&w);
    memset(ones, 1, sizeof(ones));
    assert_int_equal(lunette_write_zeroes(lun, 4 * BLOCK, 0, 0, &err), 0);
    assert_int_equal(
        lunette_compare_and_write(lun, zero, ones, sizeof(ones), BLOCK, LUNETTE_FUA, &at, &err), 0);
    assert_true(at == UINT64_MAX);
    assert_int_equal(lunette_pread(lun, buf, sizeof(buf), BLOCK, &err), 0);
    assert_memory_equal(buf, ones, sizeof(ones));
    buf[BLOCK + 7] = 9;
    assert_int_equal(lunette_compare_and_write(lun, buf, zero, sizeof(buf), BLOCK, 0, &at, &err),
                     -EILSEQ);
    assert_int_equal(at, BLOCK + 7);
    assert_int_equal(lunette_queue_new(lun, 2, &q, &err), 0);
    assert_int_equal(lunette_queue_compare_and_write(q, buf, zero, sizeof(buf), BLOCK, 0, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
    assert_int_equal(c.err, -EILSEQ);
    at = 0;
    assert_int_equal(lunette_sense_information(c.sense, c.sense_len, &at), 0);
    assert_int_equal(at, BLOCK + 7);
    assert_int_equal(lunette_pread(lun, buf, sizeof(buf), BLOCK, &err), 0);
    assert_memory_equal(buf, ones, sizeof(ones));
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

static void
reserved(void **state)
{
    struct lunette_pr_reservation held = LUNETTE_INIT(held);
    struct lunette_pr_registrant one = LUNETTE_INIT(one);
    struct lunette_pr_registrants *regs = NULL;
    struct lunette_lun *a, *b;
    uint8_t buf[BLOCK] = {0};

    (void)state;
    start(1, "");
    a = world_open_lun(&w);
    b = world_open_lun(&w);
    assert_int_equal(lunette_pr_register(a, KEY_B, KEY_A, 0, &err), -EBADE);
    assert_int_equal(lunette_pr_register(a, 0, KEY_A, LUNETTE_PR_APTPL, &err), -EREMOTEIO);
    assert_non_null(strstr(err.msg, "parameter list")); /* memory keeps nothing */
    assert_int_equal(lunette_pr_register(a, 0, KEY_A, 0, &err), 0);
    assert_int_equal(lunette_pr_reserve(a, KEY_A, WERO, &err), 0);
    assert_int_equal(lunette_pwrite(b, buf, BLOCK, 0, 0, &err), -EBADE);
    assert_int_equal(lunette_pread(b, buf, BLOCK, 0, &err), 0);
    assert_int_equal(lunette_pr_read_reservation(b, &held, &err), 0);
    assert_true(held.type == WERO && held.key == KEY_A);
    assert_int_equal(lunette_pr_register(b, 5, KEY_B, LUNETTE_PR_IGNORE_KEY, &err), 0);
    assert_int_equal(lunette_pwrite(b, buf, BLOCK, 0, 0, &err), 0);
    assert_int_equal(lunette_pr_read_keys(b, &regs, &err), 0);
    assert_int_equal(lunette_pr_registrants_count(regs), 2);
    lunette_pr_registrants_free(regs);
    assert_int_equal(lunette_pr_preempt(b, KEY_B, KEY_A, WERO, LUNETTE_PR_ABORT, &err), 0);
    assert_int_equal(lunette_pwrite(a, buf, BLOCK, 0, 0, &err), -EBADE);
    assert_int_equal(lunette_pr_read_full_status(a, &regs, &err), 0);
    assert_int_equal(lunette_pr_registrants_count(regs), 1);
    assert_int_equal(lunette_pr_registrants_get(regs, 0, &one), 0);
    assert_true(one.key == KEY_B && one.holder && one.type == WERO);
    assert_non_null(strstr(one.port, ",i,0x"));
    lunette_pr_registrants_free(regs);
    assert_int_equal(lunette_pr_release(b, KEY_B, WERO, &err), 0);
    assert_int_equal(lunette_pr_clear(b, KEY_B, &err), 0);
    assert_int_equal(lunette_pr_read_reservation(b, &held, &err), 0);
    assert_int_equal(held.type, LUNETTE_PR_NONE);
    assert_int_equal(lunette_pwrite(a, buf, BLOCK, 0, 0, &err), 0);
    lunette_close(a);
    lunette_close(b);
    world_free(&w);
}

/* ---- at random ---- */

#define DEPTH 16
#define BYTES 8192u

static struct slot {
    uint8_t buf[BYTES];
    bool out, untouched; /* under way; not to be written to any more */
} slots[DEPTH];
static unsigned ended_early, ended_well;

static void
is_untouched(const struct slot *s)
{
    for (size_t i = 0; s->untouched && i < BYTES; i++)
        assert_int_equal(s->buf[i], 0xee);
}

static void
collect(struct lunette_queue *q)
{
    struct lunette_completion c[DEPTH];
    int n = lunette_queue_poll(q, c, DEPTH, 0, 0);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        struct slot *s = c[i].user_data;

        assert_true(s->out);
        s->out = false;
        assert_true(c[i].err == 0 || c[i].err == -ECANCELED || c[i].err == -ETIMEDOUT);
        ended_early += c[i].err != 0;
        ended_well += c[i].err == 0;
        s->untouched = true;
        memset(s->buf, 0xee, BYTES);
    }
}

static void
one_seed(uint64_t seed)
{
    struct sim_config slow = sim_rough;
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;

    slow.delay_min_us = 100;
    slow.delay_max_us = 3000;
    start_on(&slow, seed, seed % 2 == 0 ? "" : "?header_digest=CRC32C&data_digest=CRC32C");
    lun = w.lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, DEPTH, &q, &err), 0);
    memset(slots, 0, sizeof(slots));
    for (int step = 0; step < 3000; step++) {
        struct slot *s = &slots[loop_random(w.loop) % DEPTH];
        uint64_t offset = loop_random(w.loop) % (WORLD_LUN_SIZE / BYTES) * BYTES;

        is_untouched(s);
        if (s->out) {
            assert_int_equal(lunette_queue_cancel(q, s), 1);
        } else {
            (void)lunette_queue_set_timeout(q, loop_random(w.loop) % 4 == 0 ? 1 : 0);
            s->untouched = false;
            s->out = true;
            assert_int_equal(loop_random(w.loop) % 2 == 0
                                 ? lunette_queue_read(q, s->buf, BYTES, offset, s)
                                 : lunette_queue_write(q, s->buf, BYTES, offset, 0, s),
                             0);
        }
        if (loop_random(w.loop) % 3 == 0)
            (void)lunette_ctx_run(w.ctx, (int)(loop_random(w.loop) % 2));
        collect(q);
    }
    while (lunette_queue_inflight(q) > 0) {
        (void)lunette_ctx_run(w.ctx, 10);
        collect(q);
    }
    for (int i = 0; i < DEPTH; i++) {
        assert_false(slots[i].out);
        is_untouched(&slots[i]);
    }
    w.lun = NULL;
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

static void
at_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        one_seed(seed);
    assert_true(ended_early > 100 && ended_well > 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canceled),
        cmocka_unit_test(canceled_at_a_dead_target),
        cmocka_unit_test(out_of_time),
        cmocka_unit_test(waiting_fails),
        cmocka_unit_test(compared_and_written),
        cmocka_unit_test(reserved),
        cmocka_unit_test(at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
