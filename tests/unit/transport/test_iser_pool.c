/* SPDX-License-Identifier: MIT */
/* What iSER needs before it has a connection: its options, and the pool. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/iser/pool.h"
#include "wire/iser_options.h"

static void
options(void **state)
{
    static const struct {
        const char *text;
        enum iser_way way;
        uint32_t pool, poll_us;
    } good[] = {
        {NULL, ISER_WAY_AUTO, 0, 0},
        {"", ISER_WAY_AUTO, 0, 0},
        {"iser_stag=window", ISER_WAY_WINDOW, 0, 0},
        {"iser_stag=pool&", ISER_WAY_POOL, 0, 0},
        {"iser_stag=pool&iser_stag=register", ISER_WAY_REGISTER, 0, 0},
        {"iser_pool=1M", ISER_WAY_AUTO, 1u << 20, 0},
        {"iser_pool=3000000", ISER_WAY_AUTO, 2u << 20, 0},
        {"iser_pool=1G&iser_poll_us=1000000", ISER_WAY_AUTO, 1u << 30, 1000000},
        {"iser_poll_us=0", ISER_WAY_AUTO, 0, 0},
    };
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"iser_stag=", "window, pool or register"},
        {"iser_stag=auto", "window, pool or register"},
        {"iser_stag=windows", "window, pool or register"},
        {"iser_stag", "is no option of iser"},
        {"iser_pool=1023k", "from 1M to 1G"},
        {"iser_pool=2G", "from 1M to 1G"},
        {"iser_pool=99999999999999999999", "from 1M to 1G"},
        {"iser_poll_us=", "microseconds"},
        {"iser_poll_us=1000001", "from 0 to 1000000"},
        {"iser_poll_us=99999999999", "from 0 to 1000000"},
        {"iser_poll_us=-1", "from 0 to 1000000"},
        {"iser_stag=pool&&", "\"\" is no option"},
        {"engine=/run/x", "has iser_stag=, iser_pool= and iser_poll_us="},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct iser_options o;

        memset(&o, 0xee, sizeof(o));
        assert_int_equal(iser_options_parse(good[i].text, &o, NULL), 0);
        assert_int_equal(o.way, good[i].way);
        assert_int_equal(o.pool, good[i].pool);
        assert_int_equal(o.poll_us, good[i].poll_us);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct iser_options o = {.poll_us = 77};
        struct lunette_error err = {.code = 0};

        assert_int_equal(iser_options_parse(bad[i].text, &o, &err), -EINVAL);
        if (strstr(err.msg, bad[i].why) == NULL)
            fail_msg("'%s' does not have '%s'", err.msg, bad[i].why);
        assert_int_equal(o.poll_us, 77);
    }
}

static void
the_largest_come_back(void **state)
{
    struct iser_pool p;
    uint8_t *small[512], *large[2];

    (void)state;
    assert_int_equal(iser_pool_init(&p, 2 * ISER_BLOCK_MAX), 0);
    for (int i = 0; i < 512; i++) {
        small[i] = iser_pool_take(&p, 1 + (uint32_t)i * 8);
        assert_non_null(small[i]);
    }
    assert_null(iser_pool_take(&p, 1));
    for (int i = 0; i < 512; i++) /* in an order that leaves holes for long */
        iser_pool_give(&p, small[(i * 37) % 512]);
    for (int i = 0; i < 2; i++) {
        large[i] = iser_pool_take(&p, ISER_BLOCK_MAX);
        assert_non_null(large[i]);
        assert_int_equal((large[i] - p.base) % ISER_BLOCK_MAX, 0);
    }
    assert_null(iser_pool_take(&p, 1));
    iser_pool_give(&p, large[0]);
    iser_pool_give(&p, large[1]);
    assert_int_equal(p.pages.taken, 0);
    iser_pool_fini(&p);
    iser_pool_fini(&p);
}

static uint64_t
next(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Blocks that are out never overlap, whatever is taken and given back in whatever order. */
static void
nothing_overlaps(void **state)
{
    static uint8_t owner[4 * ISER_BLOCK_MAX / ISER_PAGE];
    struct {
        uint8_t *at;
        uint32_t pages;
    } out[200] = {{NULL, 0}};
    uint64_t x = 88172645463325252ull;
    struct iser_pool p;
    unsigned full = 0;

    (void)state;
    assert_int_equal(iser_pool_init(&p, 4 * ISER_BLOCK_MAX), 0);
    for (int step = 0; step < 50000; step++) {
        unsigned i = (unsigned)(next(&x) % 200);
        uint32_t len = 1 + (uint32_t)(next(&x) % (next(&x) % 8 == 0 ? ISER_BLOCK_MAX : 20000));
        size_t first;

        if (out[i].at != NULL) {
            first = (size_t)(out[i].at - p.base) / ISER_PAGE;
            for (uint32_t k = 0; k < out[i].pages; k++)
                owner[first + k] = 0;
            iser_pool_give(&p, out[i].at);
            out[i].at = NULL;
            continue;
        }
        out[i].at = iser_pool_take(&p, len);
        full += out[i].at == NULL;
        if (out[i].at == NULL)
            continue;
        out[i].pages = (len + ISER_PAGE - 1) / ISER_PAGE;
        first = (size_t)(out[i].at - p.base) / ISER_PAGE;
        assert_true(first + out[i].pages <= sizeof(owner));
        for (uint32_t k = 0; k < out[i].pages; k++) {
            assert_int_equal(owner[first + k], 0);
            owner[first + k] = 1;
        }
    }
    assert_true(full > 100);
    for (int i = 0; i < 200; i++)
        if (out[i].at != NULL)
            iser_pool_give(&p, out[i].at);
    for (int i = 0; i < 4; i++)
        assert_non_null(iser_pool_take(&p, ISER_BLOCK_MAX));
    iser_pool_fini(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(the_largest_come_back),
        cmocka_unit_test(nothing_overlaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
