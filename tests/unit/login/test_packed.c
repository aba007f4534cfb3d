/* SPDX-License-Identifier: MIT */
/* A configuration that is packed is the same when it is unpacked, and small; its secrets do not
 * outlive it. */
#include "login/packed.h"

#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int fails;        /* the next malloc does */
static size_t allocated; /* bytes that malloc was asked for last */
static bool watched;     /* the next memory that is freed is looked at */
static bool had_secret;
static const uint8_t secret[] = "a-secret-of-ours";

void *__real_malloc(size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void __wrap_free(void *p);

void *
__wrap_malloc(size_t size)
{
    allocated = size;
    return fails > 0 && fails-- > 0 ? NULL : __real_malloc(size);
}

void
__wrap_free(void *p)
{
    if (watched)
        had_secret = memmem(p, allocated, secret, sizeof(secret) - 1) != NULL;
    watched = false;
    __real_free(p);
}

static void
same_again(const struct login_config *cfg, size_t at_most)
{
    struct login_packed *p = NULL;
    struct login_config back;

    assert_int_equal(login_pack(cfg, &p), 0);
    assert_true(allocated <= at_most);
    memset(&back, 0xee, sizeof(back));
    login_unpack(p, &back);
    assert_memory_equal(&back, cfg, sizeof(back));
    login_packed_free(&p);
    assert_null(p);
    login_packed_free(&p);
}

static void
test_same_again(void **state)
{
    struct login_config cfg;
    uint8_t *bytes = (uint8_t *)&cfg;

    (void)state;
    memset(&cfg, 0, sizeof(cfg));
    same_again(&cfg, 8);
    login_config_init(&cfg);
    strcpy(cfg.initiator_name, "iqn.2026-11.example:initiator");
    strcpy(cfg.target_name, "iqn.2026-11.example:target");
    strcpy(cfg.portal.host, "192.0.2.1");
    strcpy(cfg.transport, "tcp");
    same_again(&cfg, 500); /* the usual one */
    memset(&cfg, 0xff, sizeof(cfg));
    same_again(&cfg, sizeof(cfg) + 16);
    for (size_t every = 1; every < 30; every++) { /* pieces of each length, with each gap */
        for (size_t i = 0; i < sizeof(cfg); i++)
            bytes[i] = i % every < i / 100 % 12 ? (uint8_t)(i | 1) : 0;
        same_again(&cfg, 3 * sizeof(cfg));
    }
    memset(&cfg, 0, sizeof(cfg));
    bytes[sizeof(cfg) - 1] = 1; /* the last byte alone */
    same_again(&cfg, 16);
}

static void
test_secrets(void **state)
{
    struct login_packed *p = NULL;
    struct login_config cfg;

    (void)state;
    login_config_init(&cfg);
    memcpy(cfg.chap.secret, secret, sizeof(secret) - 1);
    cfg.chap.secret_len = sizeof(secret) - 1;
    assert_int_equal(login_pack(&cfg, &p), 0);
    watched = true;
    login_packed_free(&p);
    assert_false(watched);
    assert_false(had_secret);
}

static void
test_no_memory(void **state)
{
    struct login_packed *p = NULL;
    struct login_config cfg;

    (void)state;
    login_config_init(&cfg);
    fails = 1;
    assert_int_equal(login_pack(&cfg, &p), -ENOMEM);
    assert_null(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_again),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
