/* SPDX-License-Identifier: MIT */
/* Each allocation of an iSER connection fails once: it does not come about, with a sentence, or has
 * less of something; and nothing of it stays. */
#include "tests/unit/transport/iser_rig.h"

#include "tests/support/alloc_fail.h"

static const struct iscsi_transport *const tt = &iser_transport;

/* Binds and starts with the n-th allocation failing; false: there are not so many. */
static bool
try(bool windows, int n)
{
    struct lunette_error err = {.code = 0};
    struct rig_cmd c;
    uint8_t buf[512];
    int e;

    assert_int_equal(rig_connect(windows, NULL, RIG_TASKS), 0);
    alloc_left = n;
    fake_rnic->ev->resolved(fake_rnic->user);
    fake_rnic->ev->established(fake_rnic->user, NULL, 0);
    e = r.ep_err;
    if (e == 0)
        e = tt->bind_conn(r.conn, 7, r.ep, true, &err);
    if (e == 0)
        e = tt->start_conn(r.conn, &err);
    if (alloc_left >= 0) {
        alloc_left = -1;
        assert_int_equal(e, 0);
        rig_free();
        return false;
    }
    if (e < 0) {
        assert_int_equal(e, -ENOMEM);
        assert_true(err.msg[0] != '\0');
    } else {
        assert_int_equal(rig_command(&c, buf, sizeof(buf), NULL, 0), 0);
        rig_flush();
    }
    rig_free();
    return true;
}

static void
each_allocation(void **state)
{
    (void)state;
    for (int windows = 0; windows < 2; windows++) {
        int n = 0;

        while (try(windows, n))
            n++;
        assert_true(n >= 8);
    }
}

/* What a command needs is there before. */
static void
none_for_commands(void **state)
{
    static struct rig_cmd c[8];
    static uint8_t buf[65536];

    (void)state;
    for (int windows = 0; windows < 2; windows++) {
        rig_start(windows, NULL);
        alloc_left = 0; /* every one fails */
        for (int i = 0; i < 8; i++)
            assert_int_equal(i % 2 ? rig_command(&c[i], buf, 65536, NULL, 0)
                                   : rig_command(&c[i], NULL, 0, buf, i < 4 ? 512 : 65536),
                             0);
        assert_int_equal(rig_control(ISCSI_OP_TEXT_REQ, "text", 4), 0);
        rig_flush();
        fake_rnic_sends_done(fake_rnic, RNIC_OK);
        for (int i = 0; i < 8; i++)
            rig_answer(&c[i], 0, 0);
        if (windows)
            fake_rnic_sends_done(fake_rnic, RNIC_OK);
        assert_int_equal(alloc_left, 0); /* none was tried */
        alloc_left = -1;
        for (int i = 0; i < 8; i++)
            assert_true(c[i].cleaned);
        rig_free();
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation),
        cmocka_unit_test(none_for_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
