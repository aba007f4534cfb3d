/* SPDX-License-Identifier: MIT */
/* Where the time of a command goes, from being taken by the host until it comes back. */
#include "tests/unit/iscsi/world.h"

static struct io_watch watch;

/* Time passes without a turn. */
static void
pass(struct world *w, unsigned ms)
{
    w->fl.l.now_ns += MS(ms);
}

/* Takes c, which is timed from here on. */
static void
queue_watched(struct world *w, struct cmd *c, bool read)
{
    cmd_init(c, read, 512);
    assert_int_equal(world_queue(w, c), 0);
    io_watch_start(&watch, w->fl.l.now_ns);
    watch.stage = IO_STAGE_WINDOW;
    c->sc.watch = &watch;
    w->host->ops->watch(w->host, &c->sc);
}

static void
check(unsigned window, unsigned send, unsigned target)
{
    assert_int_equal(watch.ns[IO_STAGE_QUEUE], 0);
    assert_int_equal(watch.ns[IO_STAGE_WINDOW], MS(window));
    assert_int_equal(watch.ns[IO_STAGE_SEND], MS(send));
    assert_int_equal(watch.ns[IO_STAGE_TARGET], MS(target));
    assert_null(watch.link);
}

static void
test_stages(void **state)
{
    for (int read = 0; read < 2; read++) {
        struct world *w = world_new(1);
        struct cmd c, first; /* the way is prepared for those that follow */
        bool fast = fake_gathers;

        (void)state;
        world_up(w);
        one_command(w, &first, true);
        queue_watched(w, &c, read);
        if (fast) /* it has been laid out already */
            assert_int_equal(watch.stage, IO_STAGE_SEND);
        else
            assert_int_equal(watch.stage, IO_STAGE_WINDOW);
        pass(w, 3);
        world_commit(w);
        assert_int_equal(watch.stage, IO_STAGE_TARGET);
        pass(w, 5);
        assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
        assert_int_equal(c.done, 1);
        assert_int_equal(watch.stage, IO_STAGE_RECEIVE);
        check(fast ? 0 : 3, fast ? 3 : 0, 5);
        world_free(w);
    }
}

/* The transport is full: that is the time of sending, since the command has its number. */
static void
test_transport_is_full(void **state)
{
    struct world *w = world_new(1);
    struct cmd c;

    (void)state;
    world_up(w);
    fake_adapter.full = true;
    queue_watched(w, &c, false);
    pass(w, 1);
    world_commit(w);
    assert_int_equal(watch.stage, IO_STAGE_SEND);
    pass(w, 4);
    fake_room();
    fake_turn(&w->fl);
    assert_int_equal(watch.stage, IO_STAGE_TARGET);
    pass(w, 2);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    check(1, 4, 2);
    world_free(w);
}

/* The target asks for more data: it has answered so far, and now something is to be sent again. */
static void
test_more_data_is_asked_for(void **state)
{
    struct world *w = world_new(1);
    struct iscsi_task *t;
    struct cmd c;

    (void)state;
    world_up(w);
    queue_watched(w, &c, false);
    world_commit(w);
    t = c.sc.host_priv;
    pass(w, 6);
    fake_adapter.conn->last_recv_ns = w->fl.l.now_ns;
    fake_adapter.conn->up->requeue_task(t);
    assert_int_equal(watch.stage, IO_STAGE_SEND);
    assert_null(watch.link);
    fake_adapter.full = true;
    fake_turn(&w->fl);
    pass(w, 7);
    fake_room();
    fake_turn(&w->fl);
    assert_int_equal(watch.stage, IO_STAGE_TARGET);
    pass(w, 8);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    check(0, 7, 6 + 8);
    world_free(w);
}

/* The answer came in this turn, after the command had been sent: now_ns is older than that. */
static void
test_answer_in_the_same_turn(void **state)
{
    struct world *w = world_new(1);
    uint64_t turn;
    struct cmd c;

    (void)state;
    world_up(w);
    turn = w->fl.l.now_ns;
    pass(w, 2); /* what the clock says when it is read */
    queue_watched(w, &c, true);
    world_commit(w);
    assert_int_equal(watch.stage, IO_STAGE_TARGET);
    io_watch_arrived(&watch, IO_STAGE_RECEIVE, turn, &w->fl.l);
    assert_int_equal(watch.at_ns, w->fl.l.now_ns);
    check(0, 0, 0);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    world_free(w);
}

/* The connection is lost: nothing refers to the watch, and the command waits to be sent again. */
static void
test_connection_is_lost(void **state)
{
    for (int sent = 0; sent < 2; sent++) {
        struct world *w = world_new(1);
        struct cmd c;

        (void)state;
        world_up(w);
        fake_adapter.full = sent == 1; /* which then has been sent in part */
        queue_watched(w, &c, true);
        if (sent)
            world_commit(w);
        pass(w, 2);
        w->how = STOP_CONN_RECOVER;
        assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
        assert_null(watch.link);
        assert_true(watch.stage == IO_STAGE_WINDOW || !sent);
        world_free(w);
        assert_int_equal(c.done, 1);
        assert_null(watch.link);
    }
}

/* "gathers": the adapter gathers, so that the fast path is taken. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_transport_is_full),
        cmocka_unit_test(test_more_data_is_asked_for),
        cmocka_unit_test(test_answer_in_the_same_turn),
        cmocka_unit_test(test_connection_is_lost),
    };

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
