/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_hostile.c - targets that come back and do not serve: whatever they do,
 * requests end in their time, and what is closed is closed. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"
#include "wire/bhs.h"

#define BLOCK 512u

static struct lunette_lun *
open_lun(struct world *w, const char *options)
{
    struct world_config cfg = {.block = BLOCK, .options = options};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    world_new(w, 1, &cfg);
    if (lunette_open(w->ctx, w->url, 0, &lun, &err) < 0)
        fail_msg("%s", err.msg);
    return lun;
}

/* A read, for at most s seconds; returns how it ended, or -EINPROGRESS. */
static int
read_for(struct world *w, struct lunette_queue *q, uint64_t s)
{
    uint64_t end = sim_now_ns(w->sim) + s * LOOP_NS_PER_S;
    struct lunette_completion done = {0};
    uint8_t buf[BLOCK];
    int n = 0;

    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
    while (n == 0 && sim_now_ns(w->sim) < end) {
        n = lunette_queue_poll(q, &done, 1, 1, 1000);
        assert_true(n >= 0);
    }
    if (n == 1)
        return done.err;
    assert_int_equal(lunette_queue_cancel(q, NULL), 1);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    return -EINPROGRESS;
}

/* A target that lets everybody in, and cuts each connection after some PDUs, for ever: a request
 * ends when the session has not been recovered in time. */
static void
logins_that_lead_nowhere(void **state)
{
    unsigned failed = 0;

    (void)state;
    for (uint32_t k = 1; k < 40; k++) {
        struct target_faults f = {.drop_after_pdus = k};
        struct lunette_error err = LUNETTE_INIT(err);
        struct lunette_queue *q = NULL;
        struct lunette_lun *lun;
        struct world w;
        uint64_t before, waited;
        int r;

        lun = open_lun(&w, "?replacement_timeout=10&timeout=2000&reopen_max=0");
        assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
        target_set_faults(w.target, &f);
        target_drop_connections(w.target);
        before = sim_now_ns(w.sim);
        r = read_for(&w, q, 200);
        waited = sim_now_ns(w.sim) - before;
        if (r != 0) { /* -ENOLINK: it went out, and may have been what the target died of */
            assert_true(r == -ENOTCONN || r == -ENOLINK);
            assert_in_range(waited, 10 * LOOP_NS_PER_S, 11 * LOOP_NS_PER_S);
            failed |= 1u << (r == -ENOLINK);
        }
        target_set_faults(w.target, NULL);
        lunette_queue_free(q);
        lunette_close(lun);
        world_free(&w);
    }
    assert_int_equal(failed, 3);
}

/* A target that wants us to leave, gives us 18 hours for it, and does not answer a command: that
 * has its own time. */
static void
asked_to_leave_at_leisure(void **state)
{
    static const uint8_t events[] = {ISCSI_ASYNC_LOGOUT_REQUEST, ISCSI_ASYNC_NEGOTIATE};

    (void)state;
    for (size_t i = 0; i < sizeof(events); i++) {
        struct target_faults mute = {.mute = true, .mute_opcode = 0x28};
        struct lunette_error err = LUNETTE_INIT(err);
        struct lunette_completion done;
        struct lunette_queue *q = NULL;
        struct lunette_lun *lun;
        uint8_t buf[BLOCK];
        struct world w;

        lun = open_lun(&w, "?replacement_timeout=10&timeout=2000");
        assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
        target_set_faults(w.target, &mute);
        assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
        assert_int_equal(lunette_queue_poll(q, &done, 1, 1, 100), 0);
        target_tell_async(w.target, events[i], 0, 65535);
        assert_int_equal(lunette_queue_poll(q, &done, 1, 1, 60 * 1000), 1);
        assert_int_equal(done.err, -ETIMEDOUT);
        target_set_faults(w.target, NULL);
        lunette_queue_free(q);
        lunette_close(lun);
        world_free(&w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logins_that_lead_nowhere),
        cmocka_unit_test(asked_to_leave_at_leisure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
