/* SPDX-License-Identifier: MIT */
/* Events of a context: in order, bounded, told from the loop and never from inside the report. */
#include "tests/test.h"

#include "tests/support/alloc_fail.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"

static struct fake_loop loop;
static struct lunette_ctx ctx;
static int session_a, session_b, lun_a; /* their addresses are handles */
#define SESSION_A ((struct lunette_session *)(void *)&session_a)
#define SESSION_B ((struct lunette_session *)(void *)&session_b)
#define LUN_A     ((struct lunette_lun *)(void *)&lun_a)

static int told;
static struct lunette_event last;
static struct lunette_session *close_it;

static int
setup(void **state)
{
    (void)state;
    fake_loop_init(&loop, 1);
    memset(&ctx, 0, sizeof(ctx));
    api_events_init(&ctx.events, &loop.l);
    told = 0;
    close_it = NULL;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    api_events_fini(&ctx.events);
    return 0;
}

static void
report(enum lunette_event_type type, struct lunette_session *s, struct lunette_lun *lun)
{
    const struct lunette_event ev = {.type = type, .session = s, .lun = lun, .why = "a reason"};

    api_events_add(&ctx.events, &ev);
}

static void
on_event(void *user, const struct lunette_event *ev)
{
    assert_ptr_equal(user, &told);
    last = *ev;
    told++;
    if (close_it != NULL)
        api_events_forget(&ctx.events, close_it, NULL);
}

static void
takes(enum lunette_event_type type, const struct lunette_session *s)
{
    struct lunette_event ev = LUNETTE_INIT(ev);

    assert_int_equal(lunette_ctx_next_event(&ctx, &ev), 0);
    assert_int_equal(ev.type, type);
    assert_ptr_equal(ev.session, s);
    assert_true(ev.struct_size == sizeof(ev));
}

static void
takes_none(void)
{
    struct lunette_event ev = LUNETTE_INIT(ev);

    assert_int_equal(lunette_ctx_next_event(&ctx, &ev), -EAGAIN);
}

static void
test_nobody_asks(void **state)
{
    (void)state;
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    assert_int_equal(ctx.events.count, 0);
    takes_none(); /* and with this one, somebody has */
    report(LUNETTE_EVENT_RECOVERED, SESSION_A, NULL);
    takes(LUNETTE_EVENT_RECOVERED, SESSION_A);
    takes_none();
}

static void
test_callback(void **state)
{
    (void)state;
    assert_int_equal(lunette_ctx_set_events(&ctx, on_event, &told), 0);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    report(LUNETTE_EVENT_CAPACITY, SESSION_A, LUN_A);
    assert_int_equal(told, 0);
    takes_none(); /* they are the callback's */
    fake_turn(&loop);
    assert_int_equal(told, 2);
    assert_int_equal(last.type, LUNETTE_EVENT_CAPACITY);
    assert_ptr_equal(last.lun, LUN_A);
    assert_int_equal(last.struct_size, sizeof(last));
}

/* What waits when a callback is set is told by it, and what waits when it is taken away is kept. */
static void
test_from_one_to_the_other(void **state)
{
    (void)state;
    (void)lunette_ctx_set_events(&ctx, NULL, NULL);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    (void)lunette_ctx_set_events(&ctx, on_event, &told);
    fake_turn(&loop);
    assert_int_equal(told, 1);
    report(LUNETTE_EVENT_RECOVERED, SESSION_A, NULL);
    (void)lunette_ctx_set_events(&ctx, NULL, NULL);
    fake_turn(&loop);
    assert_int_equal(told, 1);
    takes(LUNETTE_EVENT_RECOVERED, SESSION_A);
}

/* A session that is closed in the callback is not heard of any more. */
static void
test_closed_in_the_callback(void **state)
{
    (void)state;
    (void)lunette_ctx_set_events(&ctx, on_event, &told);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    report(LUNETTE_EVENT_REOPENING, SESSION_A, NULL);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_B, NULL);
    close_it = SESSION_A;
    fake_turn(&loop);
    assert_int_equal(told, 2);
    assert_ptr_equal(last.session, SESSION_B);
}

static void
test_forgotten(void **state)
{
    (void)state;
    (void)lunette_ctx_set_events(&ctx, NULL, NULL);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    report(LUNETTE_EVENT_CAPACITY, SESSION_A, LUN_A);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_B, NULL);
    api_events_forget(&ctx.events, SESSION_A, LUN_A);
    takes(LUNETTE_EVENT_CONN_LOST, SESSION_A);
    report(LUNETTE_EVENT_RECOVERED, SESSION_A, NULL);
    api_events_forget(&ctx.events, SESSION_A, NULL);
    takes(LUNETTE_EVENT_CONN_LOST, SESSION_B);
    takes_none();
}

/* The latest ones are kept, and how many went is told. */
static void
test_bounded(void **state)
{
    struct lunette_event ev = LUNETTE_INIT(ev);

    (void)state;
    (void)lunette_ctx_set_events(&ctx, NULL, NULL);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    for (unsigned i = 0; i < API_EVENTS_MAX; i++)
        report(LUNETTE_EVENT_RECOVERED, SESSION_B, NULL);
    assert_int_equal(lunette_ctx_next_event(&ctx, &ev), 0);
    assert_int_equal(ev.type, LUNETTE_EVENT_DROPPED);
    assert_int_equal(ev.attempt, 2);
    for (unsigned i = 0; i < API_EVENTS_MAX; i++)
        takes(LUNETTE_EVENT_RECOVERED, SESSION_B);
    takes_none();
}

static void
test_no_memory(void **state)
{
    (void)state;
    (void)lunette_ctx_set_events(&ctx, on_event, &told);
    alloc_left = 0;
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    alloc_left = -1;
    fake_turn(&loop);
    assert_int_equal(told, 1);
    assert_int_equal(last.type, LUNETTE_EVENT_DROPPED);
    assert_int_equal(last.attempt, 1);
}

static bool
readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void
test_descriptor(void **state)
{
    int fd = lunette_ctx_events_fd(&ctx);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(lunette_ctx_events_fd(&ctx), fd);
    assert_false(readable(fd));
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    report(LUNETTE_EVENT_RECOVERED, SESSION_A, NULL);
    assert_true(readable(fd));
    takes(LUNETTE_EVENT_CONN_LOST, SESSION_A);
    assert_true(readable(fd));
    takes(LUNETTE_EVENT_RECOVERED, SESSION_A);
    assert_false(readable(fd));
    report(LUNETTE_EVENT_RECOVERED, SESSION_A, NULL);
    api_events_forget(&ctx.events, SESSION_A, NULL);
    assert_false(readable(fd));
    alloc_left = 0; /* of what was dropped there is something to take, too */
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    alloc_left = -1;
    assert_true(readable(fd));
    takes(LUNETTE_EVENT_DROPPED, NULL);
    assert_false(readable(fd));
}

static void
test_sizes(void **state)
{
    struct {
        struct lunette_event ev;
        uint64_t more;
    } newer = {.ev = {.struct_size = sizeof(newer)}, .more = 7};
    struct lunette_event ev = {.struct_size = 3};

    (void)state;
    (void)lunette_ctx_set_events(&ctx, NULL, NULL);
    report(LUNETTE_EVENT_CONN_LOST, SESSION_A, NULL);
    assert_int_equal(lunette_ctx_next_event(&ctx, &ev), -EINVAL); /* and it is still there */
    assert_int_equal(lunette_ctx_next_event(&ctx, &newer.ev), 0);
    assert_int_equal(newer.ev.type, LUNETTE_EVENT_CONN_LOST);
    assert_int_equal(newer.more, 0);
}

static void
says(const struct lunette_event *ev, const char *text)
{
    char buf[400];

    assert_string_equal(lunette_event_text(ev, buf, sizeof(buf)), text);
}

static void
test_words(void **state)
{
    struct lunette_event ev = {
        .type = LUNETTE_EVENT_CONN_LOST, .give_up_ms = 120000, .why = "reset by peer"};
    struct {
        struct lunette_event ev;
        uint64_t more;
    } newer;
    char small[8];

    (void)state;
    says(&ev, "connection lost (reset by peer); requests wait for 120 s");
    newer.ev = ev; /* a program that knows more, and has set it: the rest is as it is */
    newer.ev.struct_size = sizeof(newer);
    newer.more = 1;
    says(&newer.ev, "connection lost (reset by peer); requests wait for 120 s");
    newer.ev.struct_size = API_FIRST_EVENT - 1;
    says(&newer.ev, "");
    assert_string_equal(lunette_event_text(&ev, small, sizeof(small)), "connect");
    ev.type = LUNETTE_EVENT_REOPENING;
    ev.attempt = 2;
    ev.next_try_ms = 1950;
    ev.give_up_ms = 117400;
    says(&ev, "logging in again in 2.0 s, attempt 2 (reset by peer); requests wait for 118 s more");
    ev.next_try_ms = 0;
    ev.give_up_ms = -1;
    says(&ev, "logging in again now, attempt 2 (reset by peer); requests wait until it is back");
    ev.give_up_ms = 0;
    says(&ev, "logging in again now, attempt 2 (reset by peer); requests fail until it is back");
    ev.type = LUNETTE_EVENT_RECOVERED;
    ev.down_ms = 2150;
    says(&ev, "logged in again after 2.1 s");
    ev.type = LUNETTE_EVENT_TIMED_OUT;
    ev.down_ms = 30000;
    says(&ev, "not recovered in 30 s (reset by peer): requests fail until it is back");
    ev.down_ms -= 3; /* the loss was heard of a little later */
    says(&ev, "not recovered in 30 s (reset by peer): requests fail until it is back");
    ev.type = LUNETTE_EVENT_GONE;
    says(&ev, "the session is gone for good: reset by peer");
    ev.type = LUNETTE_EVENT_CAPACITY;
    says(&ev, "reset by peer");
    ev.type = LUNETTE_EVENT_DROPPED;
    says(&ev, "2 events were dropped: nobody took them in time");
    ev.type = LUNETTE_EVENT_CONN_DOWN;
    ev.cid = 2;
    ev.nconnections = 3;
    ev.nconnections_wanted = 4;
    ev.struct_size = sizeof(ev);
    says(&ev, "connection 2 lost (reset by peer); 3 of 4 go on");
    ev.nconnections = 0;
    says(&ev, "connection 2 lost (reset by peer); requests wait for another");
    ev.type = LUNETTE_EVENT_CONN_UP;
    ev.nconnections = 1;
    says(&ev, "connection 2 is logged in: 1 of 4");
    ev.struct_size = 1; /* no event */
    says(&ev, "");
    for (int t = LUNETTE_EVENT_NONE; t <= LUNETTE_EVENT_CONN_UP; t++)
        assert_non_null(lunette_event_name((enum lunette_event_type)t));
    assert_string_equal(lunette_event_name(LUNETTE_EVENT_CONN_LOST), "conn_lost");
    assert_null(lunette_event_name((enum lunette_event_type)(LUNETTE_EVENT_CONN_UP + 1)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nobody_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_from_one_to_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_in_the_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
