/* SPDX-License-Identifier: MIT */
/* Targets that bend a rule after login, and what is too bent, over the fake adapter. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"

static uint32_t
shown(struct world *w)
{
    return dataplane_session(w->dp, w->sid)->bends;
}

/* A NOP-In of the target's own: a question where ttt is not the reserved tag. */
static void
target_pings(uint32_t ttt, bool counted)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.nop_in.ttt = put32(ttt);
    assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
    if (counted)
        fake_adapter.stat_sn++;
}

/* NPI: an answer to a ping of ours with Target Transfer Tag 0 is an answer; with another tag it is
 * an answer and a question at once, which cannot be. */
static void
an_answer_with_tag_zero(void **state)
{
    (void)state;
    for (uint32_t ttt = 0; ttt < 2; ttt++) {
        struct world *w = world_new(1);
        union bhs_any h;

        world_up(w);
        fake_advance(&w->fl, SEC(6));
        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
        h.h.itt = fake_last(ISCSI_OP_NOP_OUT)->h.h.itt;
        h.nop_in.ttt = put32(ttt);
        assert_int_equal(fake_pdu(&h, NULL, 0, true) < 0, ttt != 0);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, ttt);
        assert_int_equal(shown(w), ttt == 0 ? BEND_BIT(NOP_TTT_ZERO) : 0);
        world_free(w);
    }
}

/* SSN-06: a target that gives its own pings numbers leaves gaps of exactly that many. */
static void
pings_that_are_counted(void **state)
{
    struct world *w = world_new(2);

    (void)state;
    world_up(w);
    for (unsigned i = 0; i < 6; i++) {
        struct cmd c;

        for (unsigned n = 0; n < i; n++)
            target_pings(n % 2 == 0 ? ISCSI_TAG_RSVD : 0x70 + n, true);
        one_command(w, &c, true);
        fake_turn(&w->fl);
        assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
        assert_int_equal(c.done, 1);
        fake_adapter.exp_cmdsn++;
        fake_adapter.max_cmdsn++;
        assert_int_equal(shown(w), i > 0 ? BEND_BIT(PING_STATSN) : 0);
    }
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* Any other gap is a loss: one more than there were pings, one less, and one that a ping before an
 * earlier answer would explain. */
static void
gaps_that_pings_do_not_explain(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(3);
        struct cmd c, d;

        world_up(w);
        target_pings(ISCSI_TAG_RSVD, i < 2);
        if (i == 1)
            target_pings(ISCSI_TAG_RSVD, false);
        one_command(w, &c, true);
        one_command(w, &d, true);
        if (i == 0)
            fake_adapter.stat_sn++;
        if (i == 2) {
            assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
            assert_int_equal(d.done, 1);
            fake_adapter.stat_sn++;
            one_command(w, &d, true);
        }
        assert_true(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0) < 0);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->error, ISCSI_ERR_STATSN);
        assert_int_equal(shown(w), 0);
        world_free(w);
    }
}

/* SSN-07: an old StatSN is a repetition only where the answer has come before.  Where a request
 * still waits for it, the target gives several answers one number, and no request would end. */
static void
several_answers_with_one_number(void **state)
{
    struct world *w = world_new(4);
    struct cmd c, d;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    one_command(w, &d, true);
    assert_int_equal(fake_answer(&fake_adapter.sent[1], 0, NULL, 0, 0), 0);
    assert_int_equal(c.done, 1);
    fake_adapter.stat_sn--;
    assert_int_equal(fake_answer(&fake_adapter.sent[1], 0, NULL, 0, 0), 0); /* once more */
    assert_int_equal(w->nerrors, 0);
    fake_adapter.stat_sn--;
    assert_true(fake_answer(&fake_adapter.sent[2], 0, NULL, 0, 0) < 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_STATSN);
    assert_non_null(strstr(w->event.u.conn_error.why.msg, "several answers one StatSN"));
    assert_int_equal(d.done, 1);
    world_free(w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_with_tag_zero),
        cmocka_unit_test(pings_that_are_counted),
        cmocka_unit_test(gaps_that_pings_do_not_explain),
        cmocka_unit_test(several_answers_with_one_number),
    };

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
