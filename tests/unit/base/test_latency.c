/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <string.h>

#include "base/latency.h"

/* Each time falls below the bound of its bucket, and not below that of the one before. */
static void
holds(uint64_t ns)
{
    uint32_t b = latency_bucket(ns);

    assert_true(b < LATENCY_BUCKETS);
    assert_true(b == LATENCY_BUCKETS - 1 || ns < latency_bound(b));
    if (b > 0)
        assert_true(ns >= latency_bound(b - 1));
}

static void
test_bounds(void **state)
{
    (void)state;
    assert_int_equal(latency_bound(0), 1024);
    assert_int_equal(latency_bound(1), 1536);
    assert_int_equal(latency_bound(2), 2048);
    assert_int_equal(latency_bound(3), 3072);
    assert_int_equal(latency_bound(LATENCY_BUCKETS - 2), 1ull << 36);
    assert_true(latency_bound(LATENCY_BUCKETS - 1) == UINT64_MAX);
    for (uint32_t i = 1; i < LATENCY_BUCKETS; i++) {
        assert_true(latency_bound(i) > latency_bound(i - 1));
        assert_int_equal(latency_bucket(latency_bound(i - 1)), i);
        assert_int_equal(latency_bucket(latency_bound(i - 1) - 1), i - 1);
    }
}

static void
test_each_time_has_its_bucket(void **state)
{
    (void)state;
    holds(0);
    holds(UINT64_MAX);
    for (unsigned p = 0; p < 64; p++) {
        uint64_t ns = 1ull << p;

        holds(ns - 1);
        holds(ns);
        holds(ns + 1);
        holds(ns + ns / 2);
        holds(ns + ns / 2 - (p > 1));
    }
    assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
}

static void
test_counts_and_sums(void **state)
{
    struct latency a, b;

    (void)state;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    assert_int_equal(latency_count(&a), 0);
    latency_add(&a, 1000, 1);
    latency_add(&a, 2000000, 256);
    assert_int_equal(latency_count(&a), 257);
    assert_int_equal(a.sum_ns, 1000 + 256 * 2000000ull);
    assert_int_equal(a.bucket[0], 1);
    assert_int_equal(a.bucket[latency_bucket(2000000)], 256);
    latency_add(&b, 3000000, 2);
    latency_merge(&a, &b);
    assert_int_equal(latency_count(&a), 259);
    assert_int_equal(a.sum_ns, 1000 + 256 * 2000000ull + 6000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_each_time_has_its_bucket),
        cmocka_unit_test(test_counts_and_sums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
