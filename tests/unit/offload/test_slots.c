/* SPDX-License-Identifier: MIT */
/* Slots: generations, what is stale and what is impossible, and the time before the fence. */
#include "tests/test.h"

#include <errno.h>

#include "offload/slots.h"

static void
test_take_and_give(void **state)
{
    uint32_t gen, last = 0;
    uint16_t slot, seen = 0;
    struct slots t;

    (void)state;
    assert_int_equal(slots_init(&t, 4, true), 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(slots_take(&t, 0, &slot, &gen), 0);
        assert_true(slot < 4 && gen == 1);
        seen |= (uint16_t)(1u << slot);
    }
    assert_int_equal(seen, 15);
    assert_int_equal(slots_take(&t, 0, &slot, &gen), -EAGAIN);
    assert_int_equal(t.live, 4);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(slots_give(&t, 2));
        assert_int_equal(slots_take(&t, 0, &slot, &gen), 0);
        assert_true(slot == 2 && gen > last);
        last = gen;
    }
    slots_fini(&t);
}

static void
test_spare(void **state)
{
    uint32_t gen;
    uint16_t slot;
    struct slots t;

    (void)state;
    assert_int_equal(slots_init(&t, 3, true), 0);
    assert_int_equal(slots_take(&t, 2, &slot, &gen), 0);
    assert_int_equal(slots_take(&t, 2, &slot, &gen), -EAGAIN);
    assert_int_equal(slots_take(&t, 1, &slot, &gen), 0);
    assert_int_equal(slots_take(&t, 0, &slot, &gen), 0);
    assert_int_equal(slots_take(&t, 0, &slot, &gen), -EAGAIN);
    slots_fini(&t);
}

static void
test_look(void **state)
{
    uint32_t gen;
    uint16_t slot;
    struct slots t;

    (void)state;
    assert_int_equal(slots_init(&t, 2, true), 0);
    assert_int_equal(slots_look(&t, 0, 1), SLOTS_IMPOSSIBLE); /* it has not begun */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(slots_take(&t, 0, &slot, &gen), 0);
        if (i < 2)
            assert_true(slots_give(&t, slot));
    }
    assert_int_equal(gen, 3);
    assert_int_equal(slots_look(&t, slot, 3), SLOTS_LIVE);
    assert_int_equal(t.stale, 0);
    assert_int_equal(slots_look(&t, slot, 2), SLOTS_STALE);
    assert_int_equal(slots_look(&t, slot, 1), SLOTS_STALE);
    assert_int_equal(t.stale, 2);
    assert_int_equal(slots_look(&t, slot, 0), SLOTS_IMPOSSIBLE);
    assert_int_equal(slots_look(&t, slot, 4), SLOTS_IMPOSSIBLE);
    assert_int_equal(slots_look(&t, 2, 3), SLOTS_IMPOSSIBLE);
    assert_int_equal(slots_look(&t, UINT32_MAX, 3), SLOTS_IMPOSSIBLE);
    assert_true(slots_give(&t, slot));
    assert_int_equal(slots_look(&t, slot, 3), SLOTS_STALE); /* told of twice */
    assert_int_equal(t.stale, 3);
    slots_fini(&t);
}

static void
test_claim(void **state)
{
    struct slots t;

    (void)state;
    assert_int_equal(slots_init(&t, 2, false), 0);
    assert_int_equal(slots_claim(&t, 2, 1), -EPROTO);
    assert_int_equal(slots_claim(&t, UINT32_MAX, 1), -EPROTO);
    assert_int_equal(slots_claim(&t, 0, 0), -EPROTO);
    assert_int_equal(slots_claim(&t, 0, UINT32_C(0xfffffffe)), 0);
    assert_int_equal(slots_claim(&t, 0, UINT32_C(0xffffffff)), -EPROTO); /* in use */
    assert_int_equal(slots_look(&t, 0, UINT32_C(0xfffffffe)), SLOTS_LIVE);
    assert_true(slots_give(&t, 0));
    assert_int_equal(slots_claim(&t, 0, UINT32_C(0xfffffffe)), -EPROTO); /* has been */
    assert_int_equal(slots_claim(&t, 0, UINT32_C(0xfffffff0)), -EPROTO); /* is behind */
    assert_int_equal(slots_claim(&t, 0, 3), 0);                          /* and over the end */
    assert_int_equal(slots_look(&t, 0, UINT32_C(0xfffffffe)), SLOTS_STALE);
    assert_int_equal(slots_look(&t, 0, 3), SLOTS_LIVE);
    assert_int_equal(t.live, 1);
    slots_fini(&t);
}

static void
test_owner(void **state)
{
    uint32_t gen;
    uint16_t slot;
    struct slots t;
    int word;

    (void)state;
    assert_int_equal(slots_init(&t, 2, true), 0);
    assert_int_equal(slots_take(&t, 0, &slot, &gen), 0);
    assert_null(slots_owner(&t, slot));
    slots_own(&t, slot, &word);
    assert_ptr_equal(slots_owner(&t, slot), &word);
    assert_true(slots_give(&t, slot));
    assert_int_equal(slots_take(&t, 0, &slot, &gen), 0);
    assert_null(slots_owner(&t, slot));
    slots_fini(&t);
}

/* Until the fence no use begins or ends, and behind it each is over once. */
static void
test_fence(void **state)
{
    uint32_t gen, n = 0;
    uint16_t slot;
    struct slots t;

    (void)state;
    assert_int_equal(slots_init(&t, 4, true), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(slots_take(&t, 0, &slot, &gen), 0);
    slots_hold(&t);
    assert_int_equal(slots_take(&t, 0, &slot, &gen), -EAGAIN);
    assert_false(slots_give(&t, slot));
    assert_false(slots_give(&t, slot));
    assert_int_equal(t.live, 3);
    slots_fence(&t);
    for (uint32_t s = 0; (s = slots_next_live(&t, s)) < t.count;) {
        assert_true(slots_give(&t, s));
        n++;
    }
    assert_int_equal(n, 3);
    assert_int_equal(t.live, 0);
    assert_int_equal(slots_next_live(&t, 0), t.count);
    slots_fini(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_and_give), cmocka_unit_test(test_spare),
        cmocka_unit_test(test_look),          cmocka_unit_test(test_claim),
        cmocka_unit_test(test_owner),         cmocka_unit_test(test_fence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
