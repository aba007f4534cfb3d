/* SPDX-License-Identifier: MIT */
/* Blocks of a largest size in memory of any size; offload/test_arena.c has the model. */
#include "tests/test.h"

#include <errno.h>

#include "base/buddy.h"

static void
test_all_units_can_be_had(void **state)
{
    (void)state;
    for (uint32_t units = 1; units < 70; units++) {
        for (uint32_t largest = 1; largest <= 128; largest *= 2) {
            uint32_t at, seen = 0;
            struct buddy b;

            assert_int_equal(buddy_init(&b, units, largest), 0);
            assert_true(b.largest <= largest && b.largest <= units);
            assert_true(b.largest == largest || b.largest * 2 > units);
            while (buddy_take(&b, 1, &at) == 0) {
                assert_true(at < units);
                seen++;
            }
            assert_int_equal(seen, units);
            for (at = 0; at < units; at++)
                assert_int_equal(buddy_give(&b, at * 71 % units), 1);
            /* the largest are whole again, and none is larger */
            for (seen = 0; buddy_take(&b, b.largest, &at) == 0; seen++)
                assert_int_equal(at % b.largest, 0);
            assert_int_equal(seen, units / b.largest);
            buddy_fini(&b);
        }
    }
}

static void
test_next_free(void **state)
{
    uint32_t at = 0, units = 0, taken;
    struct buddy b;

    (void)state;
    assert_int_equal(buddy_init(&b, 11, 8), 0);
    assert_int_equal(buddy_take(&b, 3, &taken), 0);
    assert_int_equal(taken, 0);
    assert_true(buddy_next_free(&b, 0, &at, &units));
    assert_true(at == 4 && units == 4);
    assert_true(buddy_next_free(&b, 8, &at, &units));
    assert_true(at == 8 && units == 2);
    assert_true(buddy_next_free(&b, 10, &at, &units));
    assert_true(at == 10 && units == 1);
    assert_false(buddy_next_free(&b, 11, &at, &units));
    assert_int_equal(buddy_give(&b, 0), 4);
    assert_true(buddy_next_free(&b, 0, &at, &units));
    assert_true(at == 0 && units == 8);
    buddy_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_units_can_be_had),
        cmocka_unit_test(test_next_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
