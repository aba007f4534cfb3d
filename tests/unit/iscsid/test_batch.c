/* SPDX-License-Identifier: MIT */
/* Logins of many when memory is short for what was asked for them. */
#include "tests/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

static struct iscsid *the_daemon;

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
    f = found_new(the_daemon, &o);
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
    the_daemon = calloc(1, sizeof(*the_daemon));
    assert_non_null(the_daemon);
    fake_loop_init(&loop, 1);
    the_daemon->loop = the_daemon->plane.loop = &loop.l;
    list_init(&the_daemon->jobs);
    assert_int_equal(manage_server_new(&loop.l, &cfg, &the_daemon->manage), 0);
    for (unsigned long n = 1; n < 50; n++) {
        struct loop_timer *t;

        manage_server_ask(the_daemon->manage, "discover", NULL, take_answer, &answers);
        t = container_of(timerq_first(&loop.timers), struct loop_timer, node);
        timerq_del(&loop.timers, &t->node);
        countdown = n;
        t->fn(t);
        countdown = 0;
        LIST_FOREACH_SAFE (m, &the_daemon->jobs) { /* the login was begun */
            struct job *j = container_of(m, struct job, node);

            j->drop(j);
        }
    }
    manage_server_free(&the_daemon->manage);
    assert_int_not_equal(answers, 0);
    free(the_daemon);
}

#define TARGETS (5 * SEARCH_SLICE)

/* Makes or removes the folders of targets, which have no records. */
static void
folders(const char *root, bool make)
{
    char nodes[64], path[128];

    (void)snprintf(nodes, sizeof(nodes), "%s/nodes", root);
    assert_true(!make || mkdir(nodes, 0700) == 0);
    for (int i = 0; i < TARGETS; i++) {
        (void)snprintf(path, sizeof(path), "%s/iqn.%d", nodes, i);
        assert_int_equal(make ? mkdir(path, 0700) : rmdir(path), 0);
    }
    assert_true(make || (rmdir(nodes) == 0 && rmdir(root) == 0));
}

static void
end_of_all(void *user, json_t *results)
{
    *(unsigned *)user = 1;
    json_decref(results);
}

/* Thousands of targets at the start are no reason not to serve anybody for seconds. */
static void
all_records_are_searched_in_slices(void **state)
{
    char root[] = "/tmp/lunette-batch.XXXXXX", locks[64];
    struct nodedb_config cfg = {.root = root, .lock_dir = locks};
    struct batch_options o = {.by_startup = true, .done = end_of_all};
    struct iscsid *d = calloc(1, sizeof(*d));
    struct fake_loop loop;
    unsigned turns = 0, ended = 0;

    (void)state;
    assert_true(d != NULL && mkdtemp(root) != NULL);
    folders(root, true);
    (void)snprintf(locks, sizeof(locks), "%s.locks", root);
    assert_int_equal(nodedb_open(&cfg, &d->db, NULL), 0);
    fake_loop_init(&loop, 1);
    d->loop = d->plane.loop = &loop.l;
    list_init(&d->jobs);
    o.user = &ended;
    batch_login_all(d, &o);
    while (timerq_first(&loop.timers) != NULL && turns < 100) {
        struct loop_timer *t = container_of(timerq_first(&loop.timers), struct loop_timer, node);

        timerq_del(&loop.timers, &t->node);
        if (t->fn == NULL)
            continue; /* that of the data plane, which is not there */
        t->fn(t);
        turns++;
    }
    assert_int_equal(ended, 1);
    assert_true(list_empty(&d->jobs));
    assert_in_range(turns, TARGETS / SEARCH_SLICE, TARGETS / SEARCH_SLICE + 2);
    nodedb_close(&d->db);
    folders(root, false);
    (void)rmdir(locks);
    free(d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_are_not_left_out),
                                       cmocka_unit_test(discovery_tells_that_nothing_was_begun),
                                       cmocka_unit_test(all_records_are_searched_in_slices)};

    json_set_alloc_funcs(short_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
