/* SPDX-License-Identifier: MIT */
/* How long the answer of a request with a token is remembered, on virtual time. */
#include "tests/unit/fake_loop.h"

#include <stdlib.h>

#include "manage/calls.h"

static struct stream a_stream;
static char sent[4096];

static void
set_no_events(struct stream *s, const struct stream_events *ev, void *user)
{
    (void)s;
    (void)ev;
    (void)user;
}

static ssize_t
keep_bytes(struct stream *s, const struct iovec *iov, int n, size_t total)
{
    (void)s;
    assert_int_equal(n, 1);
    assert_true(total < sizeof(sent));
    memcpy(sent, iov[0].iov_base, total);
    sent[total] = '\0';
    return (ssize_t)total;
}

static void
close_nothing(struct stream *s)
{
    (void)s;
}

static void
line_unexpected(struct manage_peer *p, const char *text, size_t len)
{
    (void)p;
    (void)text;
    (void)len;
    fail();
}

static void
gone_unexpected(struct manage_peer *p, const char *why)
{
    (void)p;
    fail_msg("%s", why);
}

static const struct manage_peer_ops no_ops = {line_unexpected, gone_unexpected};

/* Begins a request; the answer, when it is known already, is in `sent` then. */
static struct manage_call *
begin(struct fake_loop *f, struct manage_calls *all, struct manage_peer *p, const char *token)
{
    struct manage_line_request rq = {.method = "m", .token = token};
    struct manage_call *c = NULL;
    int r;

    sent[0] = '\0';
    r = manage_calls_begin(all, p, "m", &rq, &c);
    assert_int_equal(r, c != NULL);
    fake_turn(f);
    return c;
}

static void
answers_live_for_ten_minutes(void **state)
{
    struct loop_ops ops = fake_loop_ops;
    struct manage_calls all;
    struct manage_peer *p;
    struct manage_call *c;
    struct fake_loop f;

    (void)state;
    fake_loop_init(&f, 1);
    ops.set_events = set_no_events;
    ops.sendv = keep_bytes;
    ops.close = close_nothing;
    f.l.ops = &ops;
    a_stream.loop = &f.l;
    manage_calls_init(&all, &f.l);
    all.per_peer_max = all.under_way_max = 10;
    all.tokens_max = 10;
    all.kept_max = 10000;
    assert_int_equal(manage_peer_new(&f.l, &a_stream, 100, 1000, &no_ops, NULL, &p), 0);

    c = begin(&f, &all, p, "t");
    assert_non_null(c);
    /* as long as it is under way, however long that is */
    fake_advance(&f, SEC(10000));
    assert_null(begin(&f, &all, p, "t"));
    assert_string_equal(sent, "");
    manage_reply(c, json_pack("{s:i}", "n", 1));
    fake_turn(&f);
    assert_non_null(strstr(sent, "\"n\":1"));
    fake_advance(&f, SEC(MANAGE_TOKEN_LIFE_S) - 1);
    assert_null(begin(&f, &all, p, "t"));
    assert_non_null(strstr(sent, "\"n\":1"));
    fake_advance(&f, 1);
    c = begin(&f, &all, p, "t");
    assert_non_null(c);
    manage_reply(c, json_object());
    assert_int_equal(all.tokens, 1);
    fake_advance(&f, SEC(MANAGE_TOKEN_LIFE_S));
    manage_reply(begin(&f, &all, p, "u"), json_object());
    assert_int_equal(all.tokens, 1);
    assert_int_equal(p->calls, 0);
    manage_calls_fini(&all);
    assert_int_equal(all.tokens, 0);
    assert_int_equal(all.kept_bytes, 0);
    manage_peer_free(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_live_for_ten_minutes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
