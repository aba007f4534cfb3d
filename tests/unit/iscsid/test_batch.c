/* SPDX-License-Identifier: MIT */
/* Logins of many when memory is short for what was asked for them. */
#include "tests/test.h"

#include <stdlib.h>

#include "iscsid/internal.h"
#include "tests/unit/fake_loop.h"

static unsigned long countdown; /* 0: no allocation of JSON fails */

static void *
short_malloc(size_t size)
{
    return countdown > 0 && --countdown == 0 ? NULL : malloc(size);
}

/* Told at the end; NULL: nothing was begun. */
static void
count_failure(void *user, json_t *results)
{
    *(unsigned *)user += results == NULL;
    json_decref(results);
}

/* A login without its values would be one with another password, or none: it is not made. */
static void
values_are_not_left_out(void **state)
{
    json_t *values = json_pack("[[s,s]]", "node.session.auth.password", "a-password");
    struct batch_options o = {.values = values, .done = count_failure};
    struct iscsid *d = calloc(1, sizeof(*d));
    struct fake_loop loop;
    unsigned failures = 0;

    (void)state;
    assert_true(values != NULL && d != NULL);
    fake_loop_init(&loop, 1);
    d->loop = d->plane.loop = &loop.l;
    list_init(&d->jobs);
    o.user = &failures;
    for (unsigned long n = 1; n <= 100; n++) {
        struct ids ids = {.n = 0};

        countdown = n;
        batch_login(d, NULL, &ids, &o);
        if (failures < n)
            break; /* what fails now is told of, and no part of what is asked for */
        assert_true(list_empty(&d->jobs));
    }
    countdown = 0;
    assert_in_range(failures, 8, 99); /* as many as a copy of the values takes, at least */
    LIST_FOREACH_SAFE (n, &d->jobs) {
        struct job *j = container_of(n, struct job, node);

        j->drop(j);
    }
    free(d);
    json_decref(values);
}

static struct iscsid *daemon;

/* A discovery that has found a target, and is to log in to it. */
static void
discover(void *user, struct manage_call *call, const json_t *params)
{
    struct found_options o = {.source = NODEDB_BY_FW, .login = true};
    struct found *f;

    (void)user;
    (void)params;
    o.firmware.target = calloc(1, sizeof(*o.firmware.target));
    assert_non_null(o.firmware.target);
    o.firmware.n = 1;
    (void)snprintf(o.firmware.target->name, sizeof(o.firmware.target->name), "iqn.2026-11.example");
    (void)snprintf(o.firmware.target->host, sizeof(o.firmware.target->host), "192.0.2.1");
    f = found_new(daemon, &o);
    assert_non_null(f);
    assert_int_equal(found_add_firmware(f, "default", NULL), 0);
    found_start(f, call);
}

static void
take_answer(void *user, const json_t *answer)
{
    unsigned *answers = user;

    if (answer == NULL) /* the login was begun, and this is the end of all */
        return;
    assert_null(json_object_get(answer, "result")); /* nobody has logged in to anything */
    (*answers)++;
}

/* What was found and cannot be logged in to for want of memory is not told as if all were well. */
static void
discovery_tells_that_nothing_was_begun(void **state)
{
    static const struct manage_method methods[] = {{.name = "discover", .fn = discover}, {0}};
    const struct manage_config cfg = {.methods = methods};
    struct fake_loop loop;
    unsigned answers = 0;

    (void)state;
    daemon = calloc(1, sizeof(*daemon));
    assert_non_null(daemon);
    fake_loop_init(&loop, 1);
    daemon->loop = daemon->plane.loop = &loop.l;
    list_init(&daemon->jobs);
    assert_int_equal(manage_server_new(&loop.l, &cfg, &daemon->manage), 0);
    for (unsigned long n = 1; n < 50; n++) {
        struct loop_timer *t;

        manage_server_ask(daemon->manage, "discover", NULL, take_answer, &answers);
        t = container_of(timerq_first(&loop.timers), struct loop_timer, node);
        timerq_del(&loop.timers, &t->node);
        countdown = n;
        t->fn(t);
        countdown = 0;
        LIST_FOREACH_SAFE (m, &daemon->jobs) { /* the login was begun */
            struct job *j = container_of(m, struct job, node);

            j->drop(j);
        }
    }
    manage_server_free(&daemon->manage);
    assert_int_not_equal(answers, 0);
    free(daemon);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_are_not_left_out),
                                       cmocka_unit_test(discovery_tells_that_nothing_was_begun)};

    json_set_alloc_funcs(short_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
