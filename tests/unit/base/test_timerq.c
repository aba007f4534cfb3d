/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdlib.h>

#include "base/timerq.h"

static void
test_expire_in_order_of_time_then_start(void **state)
{
    enum { N = 500 };
    struct timerq q = {0};
    static struct timerq_node n[N];
    uint64_t last = 0, last_seq = 0;
    int left = 0;

    (void)state;
    srandom(7);
    for (int i = 0; i < N; i++)
        timerq_add(&q, &n[i], (uint64_t)random() % 50);
    for (int i = 0; i < N; i += 3)
        timerq_del(&q, &n[i]);
    for (int i = 0; i < N; i += 6)
        timerq_add(&q, &n[i], (uint64_t)random() % 50);
    for (struct timerq_node *t; (t = timerq_first(&q)) != NULL; left++) {
        assert_true(t->when_ns > last || (t->when_ns == last && (left == 0 || t->seq > last_seq)));
        last = t->when_ns;
        last_seq = t->seq;
        timerq_del(&q, t);
        assert_false(t->queued);
    }
    assert_int_equal(left, N - (N + 2) / 3 + (N + 5) / 6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expire_in_order_of_time_then_start)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
