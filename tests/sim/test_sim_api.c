/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_api.c - the public calls where something goes wrong: single worlds with a
 * target that misbehaves in one way. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK 512u

static struct lunette_lun *
open_lun(struct world *w)
{
    struct lunette_error err = {0};
    struct lunette_lun *lun = NULL;

    if (lunette_open(w->ctx, w->url, 0, &lun, &err) < 0)
        fail_msg("%s", err.msg);
    return lun;
}

static void
start(struct world *w, const char *options)
{
    struct world_config cfg = {.block = BLOCK, .options = options};

    world_new(w, 1, &cfg);
}

static void
stopped(void *user)
{
    *(bool *)user = true;
}

/* ASY-02: the target asks for a logout.  The session is gone, the handle is not. */
static void
calls_after_the_target_has_had_its_logout(void **state)
{
    struct lunette_scsi tur = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6};
    struct lunette_completion done;
    struct lunette_error err = {0};
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    uint64_t ns;
    struct world w;
    bool gone = false;

    (void)state;
    start(&w, "");
    lun = open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    target_stop(w.target, stopped, &gone);
    while (!gone)
        assert_int_equal(lunette_ctx_run(w.ctx, 100), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(lunette_ctx_run(w.ctx, 100), 0);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -ENOTCONN);
    assert_non_null(strstr(err.msg, "asked for a logout"));
    assert_int_equal(lunette_scsi(lun, &tur, &err), -ENOTCONN);
    assert_int_equal(lunette_ping(lun, 4, &ns, &err), -ENOTCONN);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    assert_int_equal(done.err, -ENOTCONN);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_after_the_target_has_had_its_logout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
