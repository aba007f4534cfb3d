/* SPDX-License-Identifier: MIT */
/* Those who use a session hear of it, each once, whoever of them leaves meanwhile. */
#include "tests/test.h"

#include <string.h>

#include "engine/login_priv.h"

#define N 5

static struct engine_uses uses;
static struct one {
    struct engine_use use;
    unsigned states, restarts, gone;
    bool leaves[N]; /* whom it takes out when it is told */
    bool brings;    /* it brings the last one in */
} one[N];

static void
one_acts(struct one *o)
{
    for (int i = 0; i < N; i++) {
        if (o->leaves[i] && !list_empty(&one[i].use.node))
            engine_uses_remove(&uses, &one[i].use);
    }
    if (o->brings && list_empty(&one[N - 1].use.node))
        engine_uses_add(&uses, &one[N - 1].use);
}

static void
on_state(struct engine_use *u, enum ipc_session_state st, const struct lunette_error *why)
{
    struct one *o = container_of(u, struct one, use);

    (void)st;
    (void)why;
    assert_false(list_empty(&u->node)); /* who has left hears nothing */
    o->states++;
    one_acts(o);
}

static void
on_restart(struct engine_use *u)
{
    struct one *o = container_of(u, struct one, use);

    assert_false(list_empty(&u->node));
    o->restarts++;
    one_acts(o);
}

static void
on_gone(struct engine_use *u)
{
    struct one *o = container_of(u, struct one, use);

    assert_true(list_empty(&u->node));
    o->gone++;
    one_acts(o);
}

static void
begin(int n)
{
    memset(one, 0, sizeof(one));
    engine_uses_init(&uses);
    for (int i = 0; i < N; i++) {
        one[i].use = (struct engine_use){.state = on_state, .gone = on_gone, .restart = on_restart};
        list_init(&one[i].use.node);
        if (i < n)
            engine_uses_add(&uses, &one[i].use);
    }
}

static void
told(void)
{
    engine_uses_news(&uses, IPC_SESSION_NEW, NULL);
}

/* Each of them in turn takes each other one out, or itself: all others hear it once. */
static void
test_leaving(void **state)
{
    (void)state;
    for (int who = 0; who < N; who++) {
        for (int whom = 0; whom < N; whom++) {
            begin(N);
            told();
            for (int i = 0; i < N; i++)
                one[i].states = 0;
            one[who].leaves[whom] = true;
            engine_uses_state(&uses, IPC_SESSION_RUNNING, NULL);
            for (int i = 0; i < N; i++)
                assert_int_equal(one[i].states, i != whom || whom <= who);
            engine_uses_restart(&uses);
            for (int i = 0; i < N; i++)
                assert_int_equal(one[i].restarts, i != whom);
        }
    }
}

/* All leave at once, also while they are told that it is gone. */
static void
test_all_leave(void **state)
{
    (void)state;
    for (int who = 0; who < N; who++) {
        begin(N);
        told();
        memset(one[who].leaves, true, sizeof(one[who].leaves));
        engine_uses_restart(&uses);
        for (int i = 0; i < N; i++)
            assert_int_equal(one[i].restarts, i <= who);
        assert_true(list_empty(&uses.list));
        begin(N);
        memset(one[who].leaves, true, sizeof(one[who].leaves));
        engine_uses_gone(&uses);
        for (int i = 0; i < N; i++)
            assert_int_equal(one[i].gone, i <= who);
    }
}

/* Who comes hears of the state as it is, once, and of changes after that. */
static void
test_news(void **state)
{
    (void)state;
    begin(N - 1);
    engine_uses_state(&uses, IPC_SESSION_RUNNING, NULL);
    for (int i = 0; i < N; i++)
        assert_int_equal(one[i].states, 0); /* they have not been told what was before */
    told();
    told();
    for (int i = 0; i < N; i++)
        assert_int_equal(one[i].states, i < N - 1);
    one[0].brings = true;
    engine_uses_state(&uses, IPC_SESSION_BLOCKED, NULL);
    assert_int_equal(one[N - 1].states, 0);
    told();
    assert_int_equal(one[N - 1].states, 1);
    engine_uses_state(&uses, IPC_SESSION_RUNNING, NULL);
    assert_int_equal(one[N - 1].states, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_leaving),
                                       cmocka_unit_test(test_all_leave),
                                       cmocka_unit_test(test_news)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
