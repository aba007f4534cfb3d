/* SPDX-License-Identifier: MIT */
/* Texts with CHAP names and secrets. */
#include <errno.h>
#include <string.h>

#include "tests/test.h"
#include "wire/credentials.h"

#define HOST "iqn.1991-05.com.example:host1"

/* What is known before, the text, and what it says; "" stands for a field that was not given. */
static const struct {
    const char *known_name, *known_mutual, *text;
    const char *want[CREDENTIALS_FIELDS];
} good[] = {
    {"", "", "alice:secret0secret0", {"alice", "secret0secret0", "", ""}},
    {"", "", "alice:a:b:c\n", {"alice", "a:b:c", "", ""}},
    {"", "", "alice:one\r\nbob:two\r\n", {"alice", "one", "bob", "two"}},
    {"", "", "\n# both\nalice:one\n\nbob:two", {"alice", "one", "bob", "two"}},
    /* iSCSI names hold colons */
    {"", "", HOST ":secret0secret0", {HOST, "secret0secret0", "", ""}},
    {"", "", "IQN.2026-11.a:b:c:s", {"IQN.2026-11.a:b:c", "s", "", ""}},
    {"", "", "iqn.2026-11.a:s", {"iqn.2026-11.a", "s", "", ""}},
    {HOST, "", HOST ":a:b", {HOST, "a:b", "", ""}},
    {"a:b", "", "a:b:c:d", {"a:b", "c:d", "", ""}},
    {"a", "x:y", "a:b:c:d\nx:y:z", {"a", "b:c:d", "x:y", "z"}},
    /* fields */
    {"", "", "name = " HOST "\nsecret = a:b = c\n", {HOST, "a:b = c", "", ""}},
    {"", "", "secret=s\nname=n\nmutual_secret=t\nmutual_name=m", {"n", "s", "m", "t"}},
    {"", "", "  name\t=\t n \r\n\tsecret = s s \r\n", {"n", "s s", "", ""}},
    {HOST, "", "secret = s", {HOST, "s", "", ""}},
    {HOST, "", "name = " HOST "\nsecret = s", {HOST, "s", "", ""}},
    {"", "", "alice:one\nmutual_name = bob\nmutual_secret = two", {"alice", "one", "bob", "two"}},
    {"", "", "names=x:y", {"names=x", "y", "", ""}},
};

static const struct {
    const char *known, *text, *why;
} bad[] = {
    {"secret0secret0", "alice:secret0secret0", "another user"},
    {"", "secret0secret0", "want name:secret"},
    {"", ":secret0secret0", "want name:secret"},
    {"", "alice:", "want name:secret"},
    {"alice", "alice", "want name:secret"},
    {"alice", "alice:", "want name:secret"},
    {"alice", "al:secret0secret0", "another user"},
    {"alice", "alicea:secret0secret0", "another user"},
    {"alice", "name = bob\nsecret = secret0secret0", "another user"},
    {"", "name =\nsecret = secret0secret0", "name has 0 bytes"},
    {"", "secret = \nname = n", "secret has 0 bytes"},
    {"", "secret = secret0secret0\nsecret = secret0secret1", "secret is given twice"},
    {"", "alice:secret0secret0\nsecret = secret0secret0", "secret is given twice"},
    {"", "a:secret0secret0\nb:secret0secret0\nc:secret0secret0", "line 3: more than two lines"},
    {"", "# mine\nname = alice\nsecrt = secret0secret0\n", "line 3: want name:secret"},
    {"", "", "it is empty"},
    {"", "# nothing\n\r\n", "it is empty"},
};

static struct credentials
known(const char *name, const char *mutual)
{
    struct credentials c = {.field = {{NULL, 0}}};

    if (name[0] != '\0')
        c.field[CREDENTIALS_NAME] = (struct credentials_text){name, strlen(name)};
    if (mutual[0] != '\0')
        c.field[CREDENTIALS_MUTUAL_NAME] = (struct credentials_text){mutual, strlen(mutual)};
    return c;
}

static void
test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct credentials c = known(good[i].known_name, good[i].known_mutual);
        struct lunette_error err;

        print_message("%s\n", good[i].text);
        assert_int_equal(credentials_read(&c, good[i].text, strlen(good[i].text), "f", &err), 0);
        for (unsigned f = 0; f < CREDENTIALS_FIELDS; f++) {
            const char *want = good[i].want[f];

            assert_int_equal(c.field[f].text != NULL, want[0] != '\0');
            assert_int_equal(c.field[f].len, strlen(want));
            if (want[0] != '\0')
                assert_memory_equal(c.field[f].text, want, strlen(want));
        }
    }
}

/* No message shows a secret, or what may be one. */
static void
test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct credentials c = known(bad[i].known, "");
        struct lunette_error err;

        print_message("%s\n", bad[i].text);
        assert_int_equal(credentials_read(&c, bad[i].text, strlen(bad[i].text), "file", &err),
                         -EINVAL);
        if (strstr(err.msg, bad[i].why) == NULL)
            fail_msg("\"%s\" should hold \"%s\"", err.msg, bad[i].why);
        assert_int_equal(strncmp(err.msg, "file", 4), 0);
        assert_null(strstr(err.msg, "secret0"));
    }
}

static void
test_lengths(void **state)
{
    char text[600] = "n:";
    struct lunette_error err;

    (void)state;
    for (size_t n = 254; n < 258; n++) {
        struct credentials c = known("", "");

        memset(text + 2, 's', n);
        assert_int_equal(credentials_read(&c, text, 2 + n, "f", &err), n <= 255 ? 0 : -EINVAL);
    }
    for (size_t n = 254; n < 258; n++) {
        struct credentials c = known("", "");

        memset(text, 'n', n);
        memcpy(text + n, ":s", 2);
        assert_int_equal(credentials_read(&c, text, n + 2, "f", &err), n <= 255 ? 0 : -EINVAL);
    }
    {
        struct credentials c = known("", "");

        assert_int_equal(credentials_read(&c, "n:s\0\n", 5, "f", &err), -EINVAL);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
