/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_memory.c - allocations fail while a session is closed: it is logged out all
 * the same, once there is memory again, and nothing of it stays. */
#include "tests/test.h"

#include "tests/sim/world.h"
#include "tests/support/alloc_fail.h"

static struct lunette_lun *
start(struct world *w)
{
    struct world_config cfg = {.block = 512, .options = ""};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    world_new(w, 1, &cfg);
    if (lunette_open(w->ctx, w->url, LUNETTE_OPEN_SESSION, &lun, &err) < 0)
        fail_msg("%s", err.msg);
    return lun;
}

/* Where there is no disk to be flushed, the first allocation of a close is that of its logout. */
static void
a_logout_without_memory_is_tried_again(void **state)
{
    struct lunette_lun *lun;
    struct world w;

    (void)state;
    lun = start(&w);
    alloc_left = 0;
    lunette_close(lun);
    assert_true(alloc_left < 0); /* it has failed */
    for (int i = 0; i < 10; i++)
        assert_int_equal(lunette_ctx_run(w.ctx, 10), 0);
    assert_int_equal(dataplane_busy(w.ctx->dp), 0);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_logout_without_memory_is_tried_again)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
