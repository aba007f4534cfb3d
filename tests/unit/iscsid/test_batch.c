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

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_are_not_left_out)};

    json_set_alloc_funcs(short_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
