/* SPDX-License-Identifier: MIT */
/* What was seen and what is good: windows of StatSN, runs of DataSN and of bytes. */
#include "tests/test.h"

#include <string.h>

#include "iscsi/datasn.h"
#include "iscsi/statsn.h"
#include "iscsi/window.h"

/* SSN-01: the first number may be any, and the numbers wrap. */
static void
statsn_in_order(void **state)
{
    struct statsn_window w;
    uint32_t first;

    (void)state;
    statsn_window_reset(&w);
    assert_int_equal(statsn_window_missing(&w, &first), 0);
    for (uint32_t sn = 0xfffffff0; sn != 0x10; sn++) {
        assert_int_equal(statsn_window_add(&w, sn), STATSN_IN_ORDER);
        assert_int_equal(w.good, sn + 1);
        assert_int_equal(w.seen, sn + 1);
        assert_int_equal(statsn_window_missing(&w, &first), 0);
        assert_int_equal(statsn_window_add(&w, sn), STATSN_DUPLICATE);
    }
    assert_int_equal(w.acked, 0xfffffff0); /* nothing has been sent since */
    statsn_window_ack(&w, 0x10);
    assert_int_equal(w.acked, 0x10);
    statsn_window_good(&w, 0x20); /* the fast path has counted on */
    assert_int_equal(w.seen, 0x20);
    assert_int_equal(statsn_window_add(&w, 0x1f), STATSN_DUPLICATE);
    assert_int_equal(statsn_window_add(&w, 0x20), STATSN_IN_ORDER);
}

/* SSN-01: on a connection that has been up for long, more answers have gone by in order than
 * numbers can be compared over. */
static void
statsn_after_many_answers(void **state)
{
    static const uint32_t many[] = {0x7fffffff, 0x80000000, 0x80000001, 0xffffffff};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct statsn_window w;
        uint32_t first;

        statsn_window_reset(&w);
        assert_int_equal(statsn_window_add(&w, 7), STATSN_IN_ORDER);
        statsn_window_good(&w, 8 + many[i]);
        assert_int_equal(w.good, 8 + many[i]);
        assert_int_equal(w.seen, 8 + many[i]);
        assert_int_equal(statsn_window_add(&w, 7 + many[i]), STATSN_DUPLICATE);
        assert_int_equal(statsn_window_add(&w, 9 + many[i]), STATSN_GAP);
        assert_int_equal(statsn_window_missing(&w, &first), 1);
        assert_int_equal(first, 8 + many[i]);
    }
}

/* SSN-06..08: gaps, what is behind them, and how they close. */
static void
statsn_gaps(void **state)
{
    struct statsn_window w;
    uint32_t first;

    (void)state;
    statsn_window_reset(&w);
    assert_int_equal(statsn_window_add(&w, 100), STATSN_IN_ORDER);
    assert_int_equal(statsn_window_add(&w, 103), STATSN_GAP);
    assert_int_equal(statsn_window_add(&w, 103), STATSN_DUPLICATE);
    assert_int_equal(statsn_window_missing(&w, &first), 2);
    assert_int_equal(first, 101);
    assert_int_equal(statsn_window_add(&w, 105), STATSN_GAP);
    assert_int_equal(w.seen, 106);
    assert_int_equal(w.good, 101);
    assert_int_equal(statsn_window_add(&w, 101), STATSN_IN_ORDER);
    assert_int_equal(w.good, 102);
    assert_int_equal(statsn_window_missing(&w, &first), 1);
    assert_int_equal(first, 102);
    assert_int_equal(statsn_window_add(&w, 102), STATSN_IN_ORDER);
    assert_int_equal(w.good, 104); /* 103 was there */
    assert_int_equal(statsn_window_add(&w, 104), STATSN_IN_ORDER);
    assert_int_equal(w.good, 106);
    assert_int_equal(w.ahead, 0);
    /* what is remembered ends somewhere */
    assert_int_equal(statsn_window_add(&w, 106 + STATSN_AHEAD), STATSN_GAP);
    assert_int_equal(statsn_window_add(&w, 107 + STATSN_AHEAD), STATSN_TOO_FAR);
    assert_int_equal(w.seen, 108 + STATSN_AHEAD);
    for (uint32_t sn = 106; sn < 106 + STATSN_AHEAD; sn++)
        assert_int_equal(statsn_window_add(&w, sn), STATSN_IN_ORDER);
    assert_int_equal(w.good, 107 + STATSN_AHEAD);
    assert_int_equal(statsn_window_missing(&w, &first), 1); /* it came, but was forgotten */
    assert_int_equal(first, 107 + STATSN_AHEAD);
    assert_int_equal(statsn_window_add(&w, first), STATSN_IN_ORDER);
    assert_int_equal(statsn_window_missing(&w, &first), 0);
}

/* Random orders against a plain table of what came. */
static void
statsn_any_order(void **state)
{
    uint32_t x = 1;

    (void)state;
    for (int round = 0; round < 200; round++) {
        bool came[60] = {true};
        uint32_t base = x * 2654435761u, good = 1, first;
        struct statsn_window w;

        statsn_window_reset(&w);
        assert_int_equal(statsn_window_add(&w, base), STATSN_IN_ORDER);
        for (int i = 0; i < 400; i++) {
            uint32_t n, at;

            x = x * 1664525 + 1013904223;
            n = (x >> 16) % 60;
            assert_int_equal(statsn_window_add(&w, base + n), came[n]     ? STATSN_DUPLICATE
                                                              : n == good ? STATSN_IN_ORDER
                                                                          : STATSN_GAP);
            came[n] = true;
            while (good < 60 && came[good])
                good++;
            assert_int_equal(w.good, base + good);
            for (at = good; at < 60 && !came[at];)
                at++;
            assert_int_equal(statsn_window_missing(&w, &first), at < 60 ? at - good : 0);
            assert_int_equal(first, base + good);
        }
    }
}

/* Seen is not good: a PDU whose data was broken is asked for by its bytes, not its number.
 */
static void
datasn_seen_and_good(void **state)
{
    struct datasn_runs r;
    uint32_t first;

    (void)state;
    datasn_runs_init(&r, 0, 0);
    assert_int_equal(datasn_set_missing(&r.seen, 4, &first), 4);
    assert_int_equal(first, 0);
    datasn_runs_init(&r, 2, 1024);
    assert_int_equal(datasn_set_missing(&r.seen, 2, &first), 0);
    assert_int_equal(datasn_set_missing(&r.good, 4096, &first), 3072);
    assert_int_equal(first, 1024);
    assert_true(datasn_runs_add(&r, 2, 1024, 0)); /* its digest was wrong */
    assert_true(datasn_runs_add(&r, 4, 2048, 512));
    assert_false(datasn_runs_add(&r, 4, 2048, 512));
    assert_int_equal(datasn_set_missing(&r.seen, 5, &first), 1);
    assert_int_equal(first, 3);
    assert_int_equal(datasn_set_missing(&r.good, 4096, &first), 1024);
    assert_int_equal(first, 1024);
    assert_true(datasn_runs_add(&r, 2, 1024, 512)); /* once more, and right */
    assert_int_equal(datasn_set_missing(&r.good, 4096, &first), 512);
    assert_int_equal(first, 1536);
    assert_true(datasn_runs_add(&r, 3, 1536, 512));
    assert_int_equal(r.seen.count, 1);
    assert_int_equal(r.good.count, 1);
    assert_int_equal(r.good.run[0].end, 2560);
    assert_int_equal(datasn_set_missing(&r.seen, 5, &first), 0);
    assert_false(datasn_runs_add(&r, UINT32_MAX, UINT32_MAX, 2)); /* nonsense adds nothing */
    datasn_runs_saw(&r, 3, 3);
    datasn_runs_saw(&r, 7, UINT32_MAX);
    assert_int_equal(datasn_set_missing(&r.seen, UINT32_MAX, &first), 2);
    assert_int_equal(first, 5);
}

/* What does not fit counts as missing, and may come again. */
static void
datasn_is_bounded(void **state)
{
    struct datasn_runs r;
    uint32_t first;

    (void)state;
    datasn_runs_init(&r, 0, 0);
    for (uint32_t i = 0; i < DATASN_RUNS; i++)
        assert_true(datasn_runs_add(&r, 2 * i + 1, (2 * i + 1) * 512, 512));
    assert_false(datasn_runs_add(&r, 100, 51200, 512));
    assert_int_equal(r.seen.count, DATASN_RUNS);
    assert_int_equal(datasn_set_missing(&r.seen, 200, &first), 1);
    assert_int_equal(first, 0);
    for (uint32_t i = 0; i < DATASN_RUNS; i++)
        assert_true(datasn_runs_add(&r, 2 * i, 2 * i * 512, 512));
    assert_int_equal(r.seen.count, 1);
    assert_int_equal(datasn_set_missing(&r.good, 2 * DATASN_RUNS * 512, &first), 0);
    assert_true(datasn_runs_add(&r, 100, 51200, 512));
    assert_int_equal(datasn_set_missing(&r.seen, 10, &first), 0);
    assert_int_equal(datasn_set_missing(&r.seen, 50, &first), 50 - 2 * DATASN_RUNS);
}

/* Random PDUs against a plain table. */
static void
datasn_any_order(void **state)
{
    uint32_t x = 7;

    (void)state;
    for (int round = 0; round < 300; round++) {
        bool came[12] = {false};
        struct datasn_runs r;
        uint32_t first, at, end;

        datasn_runs_init(&r, 0, 0);
        for (int i = 0; i < 40; i++) {
            uint32_t n;

            x = x * 1664525 + 1013904223;
            n = (x >> 16) % 12;
            assert_int_equal(datasn_runs_add(&r, n, n * 100, 100), !came[n]);
            came[n] = true;
            for (at = 0; at < 12 && came[at];)
                at++;
            for (end = at; end < 12 && !came[end];)
                end++;
            assert_int_equal(datasn_set_missing(&r.seen, 12, &first), end - at);
            assert_int_equal(datasn_set_missing(&r.good, 1200, &first), (end - at) * 100);
            if (end > at)
                assert_int_equal(first, at * 100);
        }
    }
}

/* CSN-06, CSN-07: the rules of the command window, by themselves. */
static void
command_window(void **state)
{
    struct cmdsn_window w = {.queued = 0};

    (void)state;
    cmdsn_window_reset(&w, 0xfffffffe);
    assert_true(cmdsn_window_closed(&w));
    assert_int_equal(w.exp_cmdsn, 0xfffffffe);
    assert_true(cmdsn_window_possible(5, 4)); /* closed, but possible */
    assert_false(cmdsn_window_possible(5, 3));
    assert_true(cmdsn_window_possible(0xffffffff, 3));
    assert_true(cmdsn_window_grow(&w, 0)); /* three commands */
    assert_false(cmdsn_window_grow(&w, 0));
    assert_false(cmdsn_window_grow(&w, 0xffffffff));
    assert_false(cmdsn_window_closed(&w));
    w.queued = 2;
    assert_false(cmdsn_window_full(&w));
    w.queued = 3;
    assert_true(cmdsn_window_full(&w));
    assert_false(cmdsn_window_closed(&w));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statsn_in_order),      cmocka_unit_test(statsn_after_many_answers),
        cmocka_unit_test(statsn_gaps),          cmocka_unit_test(statsn_any_order),
        cmocka_unit_test(datasn_seen_and_good), cmocka_unit_test(datasn_is_bounded),
        cmocka_unit_test(datasn_any_order),     cmocka_unit_test(command_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
