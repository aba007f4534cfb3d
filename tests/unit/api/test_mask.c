/* SPDX-License-Identifier: MIT */
/* URLs without their secrets, whatever form they have, and text that is none. */
#include "tests/test.h"

#include <lunette/lunette.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/url.h"

#define IQN "iqn.2026-11.example:d"

/* What is understood is shown. */
static void
shown(void **state)
{
    static const char *const rows[][2] = {
        {"iscsi://h/iqn.x/0", "iscsi://h/iqn.x/0"},
        {"iscsi://h:3260/" IQN "/0?timeout=5&max_transfer=1M",
         "iscsi://h:3260/" IQN "/0?timeout=5&max_transfer=1M"},
        {"iscsi://u%hunter2@h:1/iqn.x/0", "iscsi://u@h:1/iqn.x/0"},
        {"iscsi://u%hunter2@hunter2@h/iqn.x", "iscsi://u@h/iqn.x"},
        {"iscsi://u%41hunter2@h/iqn.x", "iscsi://u@h/iqn.x"},
        {"iscsi://u@h/iqn.x?target_user=t&target_password=hunter2&timeout=1",
         "iscsi://u@h/iqn.x?target_user=t&target_password=***"},
        {"iscsi://[fe80::1%eth0]:1/", "iscsi://[fe80::1%eth0]:1/"},
        {"iscsi://fe80::1%25eth0/iqn%3ax", "iscsi://fe80::1%25eth0/iqn%3ax"},
        {"iscsi://u%hunter2@[fe80::1%eth0]/", "iscsi://u@[fe80::1%eth0]/"},
        {"iscsi://h?chap_file=/a/b&timeout=1", "iscsi://h?chap_file=/a/b&timeout=1"},
        {"192.0.2.1:3260", "192.0.2.1:3260"},
        {"/a/file.img", "/a/file.img"},
        {"a file", "a file"},
        {"-", "-"},
        {"", ""},
        {"iscsi://", "iscsi://"},
        {"iscsi://h?target_user=t&timeout=1", "iscsi://h?target_user=t&timeout=1"},
        {IQN, "iqn.2026-11.example***"},
        {"iscsi://h/a\x1b[31m\xc3\xa9", "iscsi://h/a%1B[31m%C3%A9"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char buf[200];

        assert_string_equal(lunette_url_mask(rows[i][0], buf, sizeof(buf)), rows[i][1]);
    }
}

/* Wrong spellings of every kind: the secret is hunter2, and it may be cut anywhere. */
static void
hidden(void **state)
{
    static const char *const urls[] = {
        "iscsi://user%hunter2/with/slash@127.0.0.1:1/" IQN "/0",
        "iscsi://user%hunter2?with-mark@127.0.0.1:1/" IQN "/0",
        "iscsi://user%a?b=hunter2@127.0.0.1:1/" IQN "/0",
        "iscsi://user%a/b?c=hunter2@127.0.0.1:1/" IQN "/0",
        "iscsi://user%a@b?hunter2=c@127.0.0.1/" IQN,
        "iscsi://user%a@b?timeout=hunter2@127.0.0.1/" IQN,
        "iscsi://user%hunter2",
        "iscsi://user:hunter2@127.0.0.1:1/" IQN "/0",
        "iscsi://user:hunter2/x@127.0.0.1:1/" IQN,
        "iscsi://user:12345/hunter2@127.0.0.1:1/" IQN,
        "iscsi://user:12345?hunter2@127.0.0.1:1/" IQN,
        "user%hunter2@127.0.0.1:1",
        "user:hunter2@127.0.0.1:1",
        "user:hunter2",
        "iscsi:/user%hunter2@127.0.0.1:1/" IQN "/0",
        "iscsi:user%hunter2@127.0.0.1:1/" IQN "/0",
        "ISCSI://user%hunter2@127.0.0.1:1/" IQN "/0",
        "iser://user%hunter2@127.0.0.1:1/" IQN "/0",
        "http://user:hunter2@127.0.0.1/",
        "iscsi://h/" IQN "/0?target_user=t&target_password=hunter2&nonsense=1",
        "iscsi://h/" IQN "/0?target_user=t&target_password=a&hunter2=b",
        "iscsi://h/" IQN "/0?target_user=t&target_password=a&timeout=hunter2",
        "iscsi://h/" IQN "/0?chap_secret=hunter2",
        "iscsi://h/" IQN "/0?chap_secret=a&timeout=hunter2",
        "iscsi://h/" IQN "/0?target%5Fpassword=hunter2",
        "iscsi://h/" IQN "/0?TARGET_PASSWORD=hunter2",
        "iscsi://h/" IQN "/0?hunter2",
        "iscsi://h/" IQN "/0?chap_file=user:hunter2",
        "--chap-file=user:hunter2",
        "iqn.2026-11.example:hunter2",
        IQN ":hunter2",
        "iscsi://" IQN ":hunter2",
        "iscsi://h/" IQN "/0?chap_file=" IQN ":hunter2",
        "iscsi://h/" IQN "/0?chap_file=user%hunter2",
        "iscsi://h/" IQN "/0?target_user=" IQN ":hunter2",
        "iscsi://h/" IQN "/0?target_user=user%hunter2",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct lunette_error err = {.code = 0};
        struct api_url u;
        char buf[300];

        if (strstr(lunette_url_mask(urls[i], buf, sizeof(buf)), "hunter2") != NULL)
            fail_msg("%s: shown as %s", urls[i], buf);
        if (url_parse(urls[i], &u, &err) == 0)
            url_wipe(&u);
        if (strstr(err.msg, "hunter2") != NULL)
            fail_msg("%s: the secret is in \"%s\"", urls[i], err.msg);
    }
}

/* The buffer is never passed, and what is cut ends with a NUL. */
static void
cut(void **state)
{
    static const char url[] = "iscsi://u%hunter2@h/iqn.x\x1b\x1b/0?target_password=hunter2";

    (void)state;
    for (size_t size = 0; size < sizeof(url) + 10; size++) {
        char *buf = malloc(size > 0 ? size : 1);

        assert_ptr_equal(lunette_url_mask(url, buf, size), buf);
        assert_true(size == 0 || strnlen(buf, size) < size);
        free(buf);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shown),
        cmocka_unit_test(hidden),
        cmocka_unit_test(cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
