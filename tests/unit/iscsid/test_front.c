/* SPDX-License-Identifier: MIT */
/* Requests of open-iscsi's iscsiadm when memory is short for what they become.  Linked with
 * -Wl,--wrap=classic_server_new and so on. */
#include "tests/test.h"

#include <stdlib.h>

#include "classic/classic.h"
#include "iscsid/front.h"
#include "manage/wipe.h"
#include "tests/unit/fake_loop.h"

static unsigned long countdown; /* 0: no allocation of JSON fails */

static void *
short_malloc(size_t size)
{
    return countdown > 0 && --countdown == 0 ? NULL : malloc(size);
}

/* ---- what is around it ---- */

static struct classic_config config;
static json_t *asked; /* what the method was asked with */

int __wrap_classic_server_new(struct loop *l, const struct classic_config *cfg,
                              struct classic_server **ret);
void __wrap_classic_server_free(struct classic_server **s);
void __wrap_manage_server_ask(struct manage_server *m, const char *method, const json_t *params,
                              void (*done)(void *user, const json_t *answer), void *user);

int
__wrap_classic_server_new(struct loop *l, const struct classic_config *cfg,
                          struct classic_server **ret)
{
    (void)l;
    (void)ret;
    config = *cfg;
    return 0;
}

void
__wrap_classic_server_free(struct classic_server **s)
{
    (void)s;
}

void
__wrap_manage_server_ask(struct manage_server *m, const char *method, const json_t *params,
                         void (*done)(void *user, const json_t *answer), void *user)
{
    (void)m;
    countdown = 0;
    assert_string_equal(method, "node.login");
    asked = json_deep_copy(params);
    assert_non_null(asked);
    done(user, NULL);
}

/* ---- the test ---- */

/* Asks for a login with the n-th allocation failing.  Returns what the API was asked with, to be
 * freed, or NULL: it was not asked. */
static json_t *
login(unsigned long n)
{
    struct classic_request *rq = calloc(1, sizeof(*rq));
    struct iscsid *d = calloc(1, sizeof(*d));
    struct front *f = NULL;
    struct fake_loop loop;

    assert_true(rq != NULL && d != NULL);
    fake_loop_init(&loop, 1);
    d->loop = &loop.l;
    rq->command = CLASSIC_SESSION_LOGIN;
    (void)strcpy(rq->record.target, "iqn.2026-11.example:t");
    (void)strcpy(rq->record.portal.host, "192.0.2.1");
    rq->record.portal.port = 3260;
    rq->record.portal.tpgt = 1;
    rq->record.nvalues = 1;
    rq->record.values[0].name = "node.session.auth.password";
    (void)strcpy(rq->record.values[0].text, "a-password");
    assert_int_equal(front_new(d, &f, NULL), 0);
    asked = NULL;
    countdown = n;
    config.request(config.user, NULL, rq);
    countdown = 0;
    front_free(&f);
    free(d);
    free(rq);
    return asked;
}

/* A login without its portal would be one of many, and without its values one with another
 * password. */
static void
nothing_is_left_out(void **state)
{
    json_t *want, *got;
    unsigned failures = 0;

    (void)state;
    manage_wipe_json();
    want = login(0);
    assert_non_null(want);
    for (unsigned long n = 1; n <= 100; n++) {
        got = login(n);
        failures += got == NULL;
        if (got != NULL && !json_equal(got, want))
            fail_msg("allocation %lu: %s", n, json_dumps(got, 0));
        json_decref(got);
    }
    json_decref(want);
    assert_in_range(failures, 10, 90);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_left_out)};

    json_set_alloc_funcs(short_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
