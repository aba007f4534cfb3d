/* SPDX-License-Identifier: MIT */
/* No byte of a password that went through requests and answers is left in memory afterwards. */
#include "served.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>

#define PASSWORD_LEN 40
#define MAP_MAX      (256u << 20)

/* The password is never in memory of this file's own but where it is put together. */
static char
password_at(size_t i)
{
    return (char)('A' + ((uint32_t)(i + 3) * 2654435761u >> 11) % 26);
}

static void
password_put(char *to)
{
    for (size_t i = 0; i < PASSWORD_LEN; i++)
        to[i] = password_at(i);
}

/* How often half of it or more is there; the first bytes of what is freed are malloc's. */
static unsigned
count_in(const char *from, const char *end)
{
    unsigned found = 0;

    for (const char *p = from; end - p >= PASSWORD_LEN / 2; p++) {
        size_t n = PASSWORD_LEN / 2;

        while (n < PASSWORD_LEN && p[n - PASSWORD_LEN / 2] == password_at(n))
            n++;
        found += n == PASSWORD_LEN;
    }
    return found;
}

/* In the heap, and in what malloc has mapped. */
static unsigned
count_in_heap(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    unsigned found = 0;
    char line[512];

    assert_non_null(f);
    (void)setvbuf(f, NULL, _IONBF, 0);
    while (fgets(line, sizeof(line), f) != NULL) {
        uintptr_t from, end;
        unsigned long inode;
        char may[5], name[256] = "";

        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu %255s", &from, &end, may,
                   &inode, name) < 4)
            continue;
        if (strcmp(may, "rw-p") != 0 || inode != 0 || end - from > MAP_MAX ||
            (name[0] != '\0' && strcmp(name, "[heap]") != 0))
            continue;
        found += count_in((const char *)from, (const char *)end);
    }
    (void)fclose(f);
    return found;
}

static void
what_is_found(void **state)
{
    char *p = malloc(1000);

    (void)state;
    assert_non_null(p);
    assert_int_equal(count_in_heap(), 0);
    password_put(p + 100);
    assert_int_equal(count_in_heap(), 1);
    explicit_bzero(p, 1000);
    assert_int_equal(count_in_heap(), 0);
    free(p);
}

/* Two requests at once: the answer to the second one makes the buffer of the first one grow. */
static void
of_the_server(void **state)
{
    static const char head[] = "{\"id\":1,\"method\":\"echo\",\"params\":{\"password\":\"";
    static const char tail[] =
        "\"}}\n{\"id\":2,\"method\":\"large\",\"params\":{\"bytes\":9000}}\n";
    char ask[sizeof(head) + PASSWORD_LEN + sizeof(tail)];
    struct served t;
    bool end;
    int fd;

    (void)state;
    memcpy(ask, head, sizeof(head) - 1);
    password_put(ask + sizeof(head) - 1);
    memcpy(ask + sizeof(head) - 1 + PASSWORD_LEN, tail, sizeof(tail));
    served_begin(&t, NULL);
    for (int i = 0; i < 3; i++) {
        fd = served_raw(&t, SERVED_UID);
        served_send(&t, fd, ask, strlen(ask));
        assert_int_equal(count_in(t.text, t.text + SERVED_TEXT), 0);
        assert_true(strlen(served_recv(&t, fd, &end)) > 9000);
        assert_int_equal(count_in(t.text, t.text + SERVED_TEXT), 1);
        explicit_bzero(t.text, SERVED_TEXT);
        assert_int_equal(count_in_heap(), 0); /* the connection is there */
        close(fd);
        served_turns(&t, 3);
    }
    explicit_bzero(ask, sizeof(ask));
    served_end(&t);
    assert_int_equal(count_in_heap(), 0);
}

/* Both ends, where the answer has the password as well. */
static void
of_the_client(void **state)
{
    char password[PASSWORD_LEN + 1] = "";
    struct manage_failure fail;
    struct manage_client *c;
    json_t *params, *result;
    struct served t;

    (void)state;
    served_begin(&t, NULL);
    c = served_client(&t);
    password_put(password);
    params = json_pack("{s:s}", "password", password);
    explicit_bzero(password, sizeof(password));
    assert_int_equal(
        manage_client_request(c, "echo", NULL, params, 5000, NULL, NULL, &result, &fail), 0);
    assert_in_range(count_in_heap(), 1, 2);
    json_decref(result);
    assert_int_equal(count_in_heap(), 0);
    manage_client_free(&c);
    served_turns(&t, 2);
    served_end(&t);
    assert_int_equal(count_in_heap(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found),
        cmocka_unit_test(of_the_server),
        cmocka_unit_test(of_the_client),
    };

    (void)mallopt(M_PERTURB, 0); /* which would overwrite what is freed */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
