/* SPDX-License-Identifier: MIT */
/* Extents against a map of pages, and the pattern of what is free. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "offload/arena.h"
#include "tests/support/dice.h"

#define OUT_MAX 64

struct model {
    struct arena a;
    uint8_t *mem;
    uint32_t pages;
    uint8_t *owner; /* of each page: 0 free, else the number of its extent */
    struct {
        uint64_t off;
        uint32_t len;
    } out[OUT_MAX];
};

static void
model_init(struct model *m, uint32_t pages, bool poison)
{
    *m = (struct model){.pages = pages};
    m->mem = malloc((size_t)pages * ARENA_PAGE);
    m->owner = calloc(pages, 1);
    assert_true(m->mem != NULL && m->owner != NULL);
    assert_int_equal(arena_init(&m->a, m->mem, (uint64_t)pages * ARENA_PAGE, poison), 0);
}

static void
model_fini(struct model *m)
{
    arena_fini(&m->a);
    free(m->mem);
    free(m->owner);
}

static uint32_t
pages_of(uint32_t len)
{
    uint32_t n = 1;

    while (n * ARENA_PAGE < len)
        n *= 2;
    return n;
}

/* Whether an aligned run of n pages is free in the map. */
static bool
model_room(const struct model *m, uint32_t n)
{
    for (uint32_t at = 0; at + n <= m->pages; at += n) {
        uint32_t used = 0;

        for (uint32_t i = 0; i < n; i++)
            used += m->owner[at + i] != 0;
        if (used == 0)
            return true;
    }
    return false;
}

static void
model_alloc(struct model *m, unsigned i, uint32_t len)
{
    uint32_t n = pages_of(len);
    int64_t off = arena_alloc(&m->a, len);

    if (off < 0) {
        assert_int_equal(off, -EAGAIN);
        assert_false(model_room(m, n));
        return;
    }
    assert_true((uint64_t)off % (n * ARENA_PAGE) == 0 && (uint64_t)off + len <= m->a.size);
    for (uint32_t p = 0; p < n; p++) {
        uint8_t *owner = &m->owner[(uint64_t)off / ARENA_PAGE + p];

        assert_int_equal(*owner, 0);
        *owner = (uint8_t)(i + 1);
    }
    memset(m->mem + off, (int)i, len);
    m->out[i].off = (uint64_t)off;
    m->out[i].len = len;
}

static void
model_free(struct model *m, unsigned i)
{
    for (uint32_t b = 0; b < m->out[i].len; b++)
        assert_int_equal(m->mem[m->out[i].off + b], i);
    arena_free(&m->a, m->out[i].off);
    for (uint32_t p = 0; p < m->pages; p++) {
        if (m->owner[p] == i + 1)
            m->owner[p] = 0;
    }
    m->out[i].len = 0;
}

static void
model_run(uint64_t seed)
{
    struct dice d = {seed};
    struct model m;

    model_init(&m, 1 + dice_below(&d, 80), dice_below(&d, 2) == 0);
    for (unsigned n = 0; n < 200; n++) {
        unsigned i = dice_below(&d, OUT_MAX);

        if (m.out[i].len > 0)
            model_free(&m, i);
        else if (dice_below(&d, 3) > 0)
            model_alloc(&m, i,
                        1 + dice_below(&d, (uint32_t)arena_largest(&m.a)) % (8 * ARENA_PAGE));
        else
            model_alloc(&m, i, 1 + dice_below(&d, (uint32_t)arena_largest(&m.a)));
    }
    for (unsigned i = 0; i < OUT_MAX; i++) {
        if (m.out[i].len > 0)
            model_free(&m, i);
    }
    assert_true(arena_check(&m.a) && m.a.spoiled == 0);
    model_alloc(&m, 0, arena_largest(&m.a)); /* all is one again */
    assert_int_equal(m.out[0].len, arena_largest(&m.a));
    model_fini(&m);
}

static void
test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        model_run(seed);
}

/* A byte that was written to what is free is found at its next use, and by arena_check. */
static void
test_late_byte_is_found(void **state)
{
    struct model m;

    (void)state;
    model_init(&m, 8, true);
    model_alloc(&m, 0, 3 * ARENA_PAGE);
    model_alloc(&m, 1, 10);
    model_free(&m, 0);
    assert_true(arena_check(&m.a));
    m.mem[m.out[0].off + 5000] ^= 1;
    assert_false(arena_check(&m.a));
    assert_int_equal(m.a.spoiled, 1);
    assert_int_equal(m.a.spoiled_at, m.out[0].off + 5000);
    model_alloc(&m, 0, 4 * ARENA_PAGE);
    assert_int_equal(m.a.spoiled, 2);
    model_free(&m, 0); /* now it has its pattern again */
    model_alloc(&m, 0, 4 * ARENA_PAGE);
    assert_int_equal(m.a.spoiled, 2);
    model_fini(&m);
}

/* The tail of the last page, which the command had not asked for, is watched as well. */
static void
test_whole_pages_are_watched(void **state)
{
    struct model m;

    (void)state;
    model_init(&m, 3, true);
    model_alloc(&m, 0, 1);
    model_free(&m, 0);
    m.mem[m.out[0].off + ARENA_PAGE - 1] ^= 0x80;
    assert_false(arena_check(&m.a));
    model_fini(&m);
}

/* Without the pattern no byte is touched or looked at. */
static void
test_no_poison(void **state)
{
    struct model m;

    (void)state;
    model_init(&m, 4, false);
    memset(m.mem, 7, 4 * ARENA_PAGE);
    model_alloc(&m, 7, 4 * ARENA_PAGE);
    model_free(&m, 7);
    m.mem[0] = 8;
    assert_true(arena_check(&m.a) && m.a.spoiled == 0 && m.mem[1] == 7);
    model_fini(&m);
}

static void
test_sizes(void **state)
{
    static const struct {
        uint32_t pages, largest;
    } rows[] = {{1, 1}, {2, 2}, {3, 2}, {7, 4}, {1000, 512}};
    struct model m;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        model_init(&m, rows[i].pages, false);
        assert_int_equal(arena_largest(&m.a), rows[i].largest * ARENA_PAGE);
        for (uint32_t n = 0; n < rows[i].pages; n++) /* each page can be had */
            assert_true(arena_alloc(&m.a, ARENA_PAGE) >= 0);
        assert_int_equal(arena_alloc(&m.a, 1), -EAGAIN);
        model_fini(&m);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_late_byte_is_found),
        cmocka_unit_test(test_whole_pages_are_watched),
        cmocka_unit_test(test_no_poison),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
