/* SPDX-License-Identifier: MIT */
/* test_call.c - answers of the daemon, which may hold passwords: no text of them is freed as it
 * was. Linked with -Wl,--wrap=free. */
#include <malloc.h>
#include <stdlib.h>

#include "cmd/iscsiadm/adm.h"
#include "tests/unit/fake_loop.h"

static const char password[] = "a-password-\x1b-of-25-bytes";
static unsigned left; /* frees of memory that it is in */

void __real_free(void *p);
void __wrap_free(void *p);

void
__wrap_free(void *p)
{
    if (p != NULL && memmem(p, malloc_usable_size(p), "-of-25-bytes", 12) != NULL)
        left++;
    __real_free(p);
}

int
adm_connect(struct adm *adm)
{
    (void)adm;
    return 0;
}

const char *
instance_options(const struct instance *at, char *options)
{
    (void)at;
    options[0] = '\0';
    return options;
}

int
manage_client_request(struct manage_client *c, const char *method, const char *token,
                      json_t *params, int64_t silence_ms,
                      void (*progress)(void *user, json_t *progress), void *user, json_t **ret,
                      struct manage_failure *fail)
{
    (void)c;
    (void)method;
    (void)token;
    (void)params;
    (void)silence_ms;
    (void)progress;
    (void)user;
    (void)fail;
    *ret = json_pack("{s:s,s:s}", "password", password, "plain", "x-of-25-bytes");
    return *ret != NULL ? 0 : -1;
}

static void
nothing_is_left(void **state)
{
    struct fake_loop loop;
    struct adm adm = {.loop = &loop.l};
    char *p = malloc(100);
    json_t *result = NULL;

    (void)state;
    assert_non_null(p);
    (void)strcpy(p, password);
    assert_int_equal(strlen(p), strlen(password)); /* else the compiler drops the copy */
    free(p);                                       /* so it is seen */
    assert_int_equal(left, 1);
    left = 0;
    fake_loop_init(&loop, 1);
    assert_int_equal(adm_read(&adm, "node.show", NULL, NULL, &result), 0);
    assert_string_equal(adm_text(result, "password"), "a-password-?-of-25-bytes");
    assert_int_equal(left, 0);
    assert_int_equal(adm_print_json(result), 0);
    assert_int_equal(left, 0);
    json_decref(result);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_left)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
