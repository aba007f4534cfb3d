/* SPDX-License-Identifier: MIT */
/* What tests of initiators can have a target do: refuse logins, send them elsewhere, shut the
 * window, and send asynchronous messages. */
#include "tests/unit/target/puppet.h"

#include <errno.h>

static void
logins_are_refused_as_ordered(void **state)
{
    static const uint16_t statuses[] = {0x0101, 0x0200, 0x0201, 0x0203, 0x0300, 0x0301, 0x0302};
    struct world *w = *state;
    struct target_faults f = {0};
    struct puppet *p;

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        f.refuse_login = statuses[i];
        target_set_faults(w->target, &f);
        p = puppet_new(w, 1);
        assert_int_equal(puppet_login(p, KEYS("")), statuses[i]);
        puppet_expect_close(p);
        puppet_free(p);
    }
    target_set_faults(w->target, NULL);
    p = puppet_new(w, 1);
    assert_int_equal(puppet_login(p, KEYS("")), 0);
    puppet_free(p);
}

/* Whoever has come to the portal that logins are sent to is let in there. */
static void
logins_are_sent_elsewhere_while_ordered(void **state)
{
    struct world *w = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    char here[PORTAL_TEXT_MAX];
    struct puppet *p = puppet_new(w, 1);

    assert_int_equal(target_redirect(w->target, IQN, "10.0.0.9:3260", true, &err), 0);
    assert_int_equal(puppet_login(p, KEYS("")), 0x0102);
    assert_true(puppet_text_has(&p->rx, "TargetAddress=10.0.0.9:3260"));
    puppet_free(p);
    assert_int_equal(target_redirect(w->target, IQN, "10.0.0.9:3260", false, &err), 0);
    p = puppet_new(w, 1);
    assert_int_equal(puppet_login(p, KEYS("")), 0x0101);
    puppet_free(p);
    (void)sock_addr_format(&w->addr, here, sizeof(here));
    assert_int_equal(target_redirect(w->target, IQN, here, false, &err), 0);
    p = puppet_new(w, 1);
    assert_int_equal(puppet_login(p, KEYS("")), 0);
    puppet_free(p);
    assert_int_equal(target_redirect(w->target, IQN, NULL, false, &err), 0);
    p = puppet_new(w, 1);
    assert_int_equal(puppet_login(p, KEYS("")), 0);
    puppet_free(p);
    assert_int_equal(target_redirect(w->target, IQN "x", NULL, false, &err), -ENOENT);
    assert_int_equal(target_redirect(w->target, IQN, "host:nonsense", false, &err), -EINVAL);
}

static uint32_t
window_after_a_command(struct puppet *p)
{
    const uint8_t tur[16] = {0};

    assert_int_equal(puppet_do(p, tur, ISCSI_FLAG_FINAL, 0, NULL, 0, NULL), 0);
    return get32(p->rx.h.scsi_rsp.max_cmd_sn);
}

static void
the_window_is_shut(void **state)
{
    struct target_faults f = {.shut_window = true};
    struct world *w = *state;
    struct puppet *p = puppet_session(w, KEYS(""));
    uint32_t before = window_after_a_command(p);

    target_set_faults(w->target, &f);
    assert_int_equal(window_after_a_command(p), before);
    assert_int_equal(window_after_a_command(p), before);
    target_set_faults(w->target, NULL);
    assert_int_equal(window_after_a_command(p), before + 3);
    puppet_free(p);
}

static void
asynchronous_messages(void **state)
{
    static const struct {
        uint8_t event;
        uint16_t param1;
        bool closes;
    } rows[] = {
        {ISCSI_ASYNC_LOGOUT_REQUEST, 0, false},
        {ISCSI_ASYNC_NEGOTIATE, 0, false},
        {ISCSI_ASYNC_DROP_CONNECTION, 7, true},
        {ISCSI_ASYNC_DROP_SESSION, 0, true},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *p = puppet_new(w, 1);
        const struct bhs_async *h;

        p->cid = 7;
        assert_int_equal(puppet_login(p, KEYS("")), 0);
        target_tell_async(w->target, rows[i].event, 3, 9);
        h = &puppet_expect(p, ISCSI_OP_ASYNC)->h.async;
        assert_int_equal(h->event, rows[i].event);
        assert_int_equal(get16(h->param1), rows[i].param1);
        assert_int_equal(get16(h->param2), 3);
        assert_int_equal(get16(h->param3), 9);
        if (rows[i].closes)
            puppet_expect_close(p);
        else
            puppet_expect_nothing(p);
        puppet_free(p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(logins_are_refused_as_ordered, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(logins_are_sent_elsewhere_while_ordered, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(the_window_is_shut, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(asynchronous_messages, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
