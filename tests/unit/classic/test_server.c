/* SPDX-License-Identifier: MIT */
/* Callers of the classic socket who leave, crowd or stop in the middle, on a loop in memory. */
#include "tests/test.h"

#include "classic/classic.h"
#include "tests/fuzz/mem_loop.h"

#define OWNER    1u
#define STRANGER 2u
#define LINKS    4

/* A server, and callers who hold the other ends. */
struct desk {
    struct mem_loop loop;
    struct classic_server *s;
    struct mem_stream link[LINKS];
    struct classic_caller *asked[LINKS]; /* requests that have come, in their order */
    enum classic_form form;              /* of the latest */
    unsigned nasked;
};

static void
desk_request(void *user, struct classic_caller *c, const struct classic_request *rq)
{
    struct desk *d = user;

    assert_true(d->nasked < LINKS);
    d->asked[d->nasked++] = c;
    d->form = rq->form;
}

static void
desk_open(struct desk *d, unsigned callers, unsigned reading)
{
    const struct classic_config cfg = {.request = desk_request,
                                       .user = d,
                                       .uid = OWNER,
                                       .callers_max = callers,
                                       .reading_max = reading};

    memset(d, 0, sizeof(*d));
    mem_loop_init(&d->loop);
    assert_int_equal(classic_server_new(&d->loop.l, &cfg, &d->s), 0);
}

static void
desk_close(struct desk *d)
{
    classic_server_free(&d->s);
    for (unsigned i = 0; i < LINKS; i++)
        free(d->link[i].out);
}

static void
desk_come(struct desk *d, unsigned i, uid_t uid)
{
    free(d->link[i].out);
    d->link[i] = (struct mem_stream){.base = {.loop = &d->loop.l}, .open = true};
    classic_server_adopt(d->s, &d->link[i].base, uid);
}

static void
desk_send(struct desk *d, unsigned i, size_t len)
{
    static const uint8_t request[CLASSIC_REQUEST_MAX] = {CLASSIC_CONFIG_FILE};

    mem_feed(&d->loop, &d->link[i], request, len, false);
}

/* Sends what follows. */
static void
desk_send_on(struct desk *d, unsigned i, size_t len)
{
    static const uint8_t zeroes[CLASSIC_REQUEST_MAX];

    mem_feed(&d->loop, &d->link[i], zeroes, len, false);
}

static void
desk_answer(struct desk *d, unsigned i)
{
    struct classic_reply rep;

    classic_reply_init(&rep, CLASSIC_CONFIG_FILE, 0);
    classic_answer(d->asked[i], &rep);
}

/* What a caller who has gone has asked for goes on, and is something that the server keeps. */
static void
callers_who_leave_count(void **state)
{
    struct desk d;

    (void)state;
    desk_open(&d, 3, 3);
    for (unsigned i = 0; i < 3; i++) {
        desk_come(&d, i, OWNER);
        desk_send(&d, i, classic_form_size[0]);
        assert_int_equal(d.nasked, i + 1);
        mem_feed(&d.loop, &d.link[i], NULL, 0, true);
        assert_false(d.link[i].open);
    }
    assert_int_equal(classic_server_callers(d.s), 3);
    desk_come(&d, 3, OWNER);
    assert_false(d.link[3].open);
    desk_answer(&d, 1);
    assert_int_equal(classic_server_callers(d.s), 2);
    desk_come(&d, 3, OWNER);
    assert_true(d.link[3].open);
    desk_close(&d);
}

static void
strangers_push_nobody_out(void **state)
{
    struct desk d;

    (void)state;
    desk_open(&d, 0, 2);
    desk_come(&d, 0, OWNER);
    desk_come(&d, 1, 0);
    desk_come(&d, 2, STRANGER);
    assert_true(d.link[0].open && d.link[1].open && !d.link[2].open);
    desk_send(&d, 0, classic_form_size[0]);
    desk_come(&d, 2, STRANGER);
    assert_true(d.link[2].open);
    desk_come(&d, 3, OWNER); /* a stranger goes before one who may call */
    assert_true(d.link[1].open && !d.link[2].open && d.link[3].open);
    desk_close(&d);
}

/* It stops where a smaller request would end, and a little behind that. */
static void
a_request_with_a_pause(void **state)
{
    size_t small = classic_form_size[CLASSIC_FORM_2_1_4];
    struct desk d;

    (void)state;
    desk_open(&d, 0, 0);
    desk_come(&d, 0, OWNER);
    desk_send(&d, 0, 100);
    desk_send_on(&d, 0, small - 100);
    assert_int_equal(d.nasked, 0);
    desk_send_on(&d, 0, 4);
    mem_advance(&d.loop, 2 * LOOP_NS_PER_S);
    assert_true(d.link[0].open);
    desk_send_on(&d, 0, 4);
    mem_advance(&d.loop, LOOP_NS_PER_S);
    assert_int_equal(d.nasked, 1);
    assert_int_equal(d.form, CLASSIC_FORM_2_1_11);

    /* But not for longer than any request. */
    desk_come(&d, 1, OWNER);
    desk_send(&d, 1, 100);
    mem_advance(&d.loop, 3 * LOOP_NS_PER_S);
    desk_send_on(&d, 1, small - 100);
    desk_send_on(&d, 1, 4);
    mem_advance(&d.loop, 1900 * LOOP_NS_PER_MS);
    assert_true(d.link[1].open);
    mem_advance(&d.loop, 200 * LOOP_NS_PER_MS);
    assert_false(d.link[1].open);
    assert_int_equal(d.nasked, 1);
    desk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_who_leave_count),
        cmocka_unit_test(strangers_push_nobody_out),
        cmocka_unit_test(a_request_with_a_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
