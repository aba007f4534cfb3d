/* SPDX-License-Identifier: MIT */
/* CHAP while memory fails: each of the first allocations of the crypto library in turn, each in a
 * process of its own, since the library keeps what it has. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "wire/chap.h"

#define FIRST     400  /* each of these */
#define LAST      6000 /* and of the later ones up to here, */
#define STEP      97   /* one of so many */
#define EXIT_NONE 3    /* of the child: without memory there is no response */
#define EXIT_BAD  4    /* of the child: and with memory again there is none, either */

static long left;

static bool
one_fails(void)
{
    return left-- == 0;
}

static void *
some_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return one_fails() ? NULL : malloc(size);
}

static void *
some_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return one_fails() ? NULL : realloc(p, size);
}

static void
some_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static int
respond(void)
{
    uint8_t out[CHAP_RESPONSE_MAX];

    return chap_alg_usable(CHAP_SHA256)
               ? chap_response(CHAP_SHA256, 1, "secret", 6, "challenge", 9, out)
               : -ENOTSUP;
}

/* Returns the exit code of the child, or the negative number of the signal that ended it. */
static int
child_without(long allocation)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        left = allocation;
        int r = respond();
        _exit(respond() != 0 ? EXIT_BAD : r != 0 ? EXIT_NONE : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
each_fails(void **state)
{
    unsigned none = 0;

    (void)state;
    for (long i = 0; i < LAST; i += i < FIRST ? 1 : STEP) {
        int code = child_without(i);
        if (code != 0 && code != EXIT_NONE)
            fail_msg("allocation %ld: %d", i, code);
        none += code == EXIT_NONE;
    }
    assert_true(none > 0);
    assert_int_equal(child_without(-1), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_fails)};

    if (CRYPTO_set_mem_functions(some_malloc, some_realloc, some_free) != 1)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
