/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <string.h>

#include "base/pool.h"

#define SIZE 100

static void
test_the_last_one_given_back_is_the_first_one_taken(void **state)
{
    struct pool p = {0};
    void *a = pool_get(&p, SIZE), *b = pool_get(&p, SIZE);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    assert_int_equal(p.taken, 2);
    pool_put(&p, a);
    pool_put(&p, b);
    if (POOL_KEPT_MAX > 1) {
        assert_ptr_equal(pool_get(&p, SIZE), b);
        assert_ptr_equal(pool_get(&p, SIZE), a);
        pool_put(&p, a);
        pool_put(&p, b);
    }
    assert_int_equal(p.taken, 0);
    pool_fini(&p);
    assert_null(p.free);
}

static void
test_few_are_kept_however_many_were_taken(void **state)
{
    enum { N = POOL_KEPT_MAX + 10 };
    struct pool p = {0};
    void *buf[N];

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            buf[i] = pool_get(&p, SIZE);
            assert_non_null(buf[i]);
            memset(buf[i], i, SIZE);
        }
        assert_int_equal(p.kept, 0);
        for (int i = 0; i < N; i++) {
            const unsigned char *c = buf[i];

            for (int k = 0; k < SIZE; k++)
                assert_int_equal(c[k], i); /* nobody else's */
            pool_put(&p, buf[i]);
        }
        assert_int_equal(p.kept, POOL_KEPT_MAX);
    }
    pool_fini(&p);
    assert_int_equal(p.kept, 0);
}

/* What is reserved is kept for good, and is the next one to be had. */
static void
a_reserved_buffer_is_there(void **state)
{
    struct pool p = {0};
    void *a, *b;

    (void)state;
    assert_int_equal(pool_reserve(&p, SIZE), 0);
    assert_int_equal(pool_reserve(&p, SIZE), 0); /* one is enough */
    assert_int_equal(p.kept, 1);
    a = pool_get(&p, SIZE);
    assert_int_equal(p.kept, 0);
    pool_put(&p, a);
    assert_int_equal(p.kept, 1);
    b = pool_get(&p, SIZE);
    assert_ptr_equal(a, b);
    pool_put(&p, b);
    pool_fini(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reserved_buffer_is_there),
        cmocka_unit_test(test_the_last_one_given_back_is_the_first_one_taken),
        cmocka_unit_test(test_few_are_kept_however_many_were_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
