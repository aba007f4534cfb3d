/* SPDX-License-Identifier: MIT */
/* What lunette.h says of threads, on the loops of the system: one thread makes a context, another
 * uses it from then on. */
#include "tests/test.h"

#include <errno.h>
#include <lunette/lunette.h>
#include <pthread.h>
#include <string.h>

#define URL "iscsi://127.0.0.1:1/iqn.2026-11.example:none/0?login_retries=0"

static struct lunette_ctx *ctx;

/* An opening that fails goes through the whole of a context: it connects to where nobody listens.
 */
static void *
use(void *ret)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    *(int *)ret = lunette_open(ctx, URL, 0, &lun, &err);
    return NULL;
}

static void *
use_and_free(void *ret)
{
    (void)use(ret);
    lunette_ctx_free(ctx);
    return NULL;
}

static void
in_a_thread(void *(*what)(void *), int *ret)
{
    pthread_t t;

    assert_int_equal(pthread_create(&t, NULL, what, ret), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
}

static void *
use_from_outside(void *ret)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    int r = lunette_open(ctx, URL, 0, &lun, &err);

    if (r == -EEXIST && strstr(err.msg, "belongs to another thread") == NULL)
        r = 2;
    *(int *)ret = r;
    return NULL;
}

static bool
made(enum lunette_loop loop)
{
    struct lunette_ctx_options o = {.struct_size = sizeof(o), .loop = loop};
    struct lunette_error err = LUNETTE_INIT(err);

    return lunette_ctx_new(&o, &ctx, &err) == 0;
}

static void
test_made_by_one_used_by_another(void **state)
{
    static const enum lunette_loop loops[] = {LUNETTE_LOOP_EPOLL, LUNETTE_LOOP_URING};
    int r = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
        if (!made(loops[i])) {
            assert_int_equal(loops[i], LUNETTE_LOOP_URING); /* not everywhere allowed */
            continue;
        }
        in_a_thread(use_and_free, &r);
        assert_int_equal(r, -ECONNREFUSED);
    }
}

/* Where the kernel tells threads apart (io_uring with a single issuer) the wrong one hears of it,
 * and the right one goes on. */
static void *
use_twice(void *wrong)
{
    int first = 0, second = 0;

    (void)use(&first);
    in_a_thread(use_from_outside, wrong);
    (void)use(&second);
    lunette_ctx_free(ctx);
    if (first != -ECONNREFUSED || second != -ECONNREFUSED)
        *(int *)wrong = 1;
    return NULL;
}

static void
test_the_wrong_thread(void **state)
{
    int r = 0;

    (void)state;
    if (!made(LUNETTE_LOOP_URING))
        skip();
    in_a_thread(use_twice, &r);
    if (r != -EEXIST)
        assert_int_equal(r, -ECONNREFUSED); /* an older kernel, which does not tell them apart */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_by_one_used_by_another),
        cmocka_unit_test(test_the_wrong_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
