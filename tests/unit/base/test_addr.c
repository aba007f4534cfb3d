/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"

static void
test_portals(void **state)
{
    static const struct {
        const char *text, *host;
        int port, tpgt, r;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1", 3260, -1, 0},
        {"127.0.0.1:13260", "127.0.0.1", 13260, -1, 0},
        {"host.example:1,7", "host.example", 1, 7, 0},
        {"[fe80::1%eth0]:3261,0", "fe80::1%eth0", 3261, 0, 0},
        {"[::1]", "::1", 3260, -1, 0},
        {"::1", "::1", 3260, -1, 0},
        {"fe80::1%eth0", "fe80::1%eth0", 3260, -1, 0},
        {"[fe80::1%25eth0]:9", "fe80::1%eth0", 9, -1, 0},
        {"fe80::1%25eth0.7", "fe80::1%eth0.7", 3260, -1, 0},
        {"[fe80::1%25]", "fe80::1%25", 3260, -1, 0},
        {"[fe80::1%2]", "fe80::1%2", 3260, -1, 0},
        {"[fe80::1%]", "", 0, 0, -EINVAL},
        {"user%secret", "", 0, 0, -EINVAL},
        {"1::2::3", "", 0, 0, -EINVAL},
        {"[host]", "host", 3260, -1, 0},
        {"", "", 0, 0, -EINVAL},
        {":3260", "", 0, 0, -EINVAL},
        {"a:0", "", 0, 0, -EINVAL},
        {"a:65536", "", 0, 0, -EINVAL},
        {"a:12x", "", 0, 0, -EINVAL},
        {"[::1", "", 0, 0, -EINVAL},
        {"[::1]3260", "", 0, 0, -EINVAL},
        {"a,65536", "", 0, 0, -EINVAL},
        {"a b", "", 0, 0, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct portal p = {.port = 9};
        struct lunette_error err = {0};
        char buf[PORTAL_TEXT_MAX];

        assert_int_equal(portal_parse(rows[i].text, strlen(rows[i].text), &p, &err), rows[i].r);
        if (rows[i].r < 0) {
            assert_int_equal(p.port, 9);
            assert_true(err.msg[0] != '\0');
            continue;
        }
        assert_string_equal(p.host, rows[i].host);
        assert_int_equal(p.port, rows[i].port);
        assert_int_equal(p.tpgt, rows[i].tpgt);
        portal_format(&p, buf, sizeof(buf));
        assert_int_equal(portal_parse(buf, strlen(buf), &p, NULL), 0);
        assert_string_equal(p.host, rows[i].host);
    }
}

static void
test_scopes(void **state)
{
    static const struct portal via = {.host = "fe80::1%eth0"}, wide = {.host = "2001:db8::1"};
    static const struct {
        const char *host, *with;
        bool lacks;
    } rows[] = {
        {"fe80::2", "fe80::2%eth0", true},       {"febf::2", "febf::2%eth0", true},
        {"fe80::2%eth1", "fe80::2%eth0", false}, {"2001:db8::2", "2001:db8::2", false},
        {"10.0.0.1", "10.0.0.1", false},         {"fe80", "fe80", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct portal p = {.port = 1};

        (void)strcpy(p.host, rows[i].host);
        assert_int_equal(portal_lacks_scope(&p), rows[i].lacks);
        portal_take_scope(&p, &wide);
        assert_string_equal(p.host, rows[i].host);
        portal_take_scope(&p, &via);
        assert_string_equal(p.host, rows[i].with);
    }
}

/* CONFORMANCE NAME-02..10 */
static void
test_names(void **state)
{
    static const char *good[] = {"iqn.2001-04.com.example", "iqn.2001-04.com.example:a:b.c-d",
                                 "eui.02004567A425678D", "naa.52004567BA64678D",
                                 "naa.62004567BA64678D0123456789ABCDEF"};
    static const char *bad[] = {"",
                                "iqn.01-04.x",
                                "iqn.2001-00.x",
                                "iqn.2001-13.x",
                                "iqn.200104.x",
                                "iqn.2001-04.",
                                "iqn.2001-04.:x",
                                "eui.02004567a425678",
                                "eui.02004567a425678dd",
                                "eui.02004567a425678g",
                                "naa.5200456",
                                "naa.62004567BA64678D0123456",
                                "foo.x",
                                "iqn.2001-04.com.ex ample",
                                "iqn.2001-04.com.ex_ample",
                                "iqn.2001-04.com.\xc3\xa9"};
    char out[ISCSI_NAME_MAX + 1], longest[ISCSI_NAME_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(iscsi_name_normalize(good[i], strlen(good[i]), out, NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(iscsi_name_normalize(bad[i], strlen(bad[i]), out, NULL), -EINVAL);
    assert_int_equal(iscsi_name_normalize("IQN.2001-04.COM.Example:X", 25, out, NULL), 0);
    assert_string_equal(out, "iqn.2001-04.com.example:x");
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "iqn.2001-04.", 12);
    assert_int_equal(iscsi_name_normalize(longest, 223, out, NULL), 0);
    assert_int_equal(iscsi_name_normalize(longest, 224, out, NULL), -EINVAL);
}

/* Peers have names that no grammar allows: they are taken byte for byte, and something is said of
 * each.  What cannot be sent is refused. */
static void
test_names_as_they_are(void **state)
{
    static const struct {
        const char *name, *oddity;
    } rows[] = {
        {"iqn.2001-04.com.example:x", NULL},       {"eui.02004567a425678d", NULL},
        {"eui.02004567A425678D", "capitals"},      {"iqn.2001-04.com.example:Disk", "capitals"},
        {"IQN.2001-04.COM.EXAMPLE:X", "capitals"}, {"iqn.2001-04.com.example:my_lun", "only a-z"},
        {"iqn.com.example-10", "iqn.YYYY-MM"},     {"iqn.2026-1.example:vg0", "iqn.YYYY-MM"},
        {"iqn.2026-13.example", "month"},          {"disk", "starts with"},
        {"iqn.2001-04.com.\xc3\xa9", "only a-z"},  {"iqn.2001-04.com.example:%41/?#", "only a-z"},
    };
    static const struct {
        const char *name;
        size_t len;
    } bad[] = {{"", 0}, {"a b", 3}, {"a\tb", 3}, {"a\0b", 3}, {"a\x1b[2J", 5}, {"a\x7f", 2}};
    char out[ISCSI_NAME_MAX + 1] = "before", longest[ISCSI_NAME_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(iscsi_name_take(bad[i].name, bad[i].len, out, NULL), -EINVAL);
    assert_string_equal(out, "before");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *odd = iscsi_name_oddity(rows[i].name);

        assert_int_equal(iscsi_name_take(rows[i].name, strlen(rows[i].name), out, NULL), 0);
        assert_string_equal(out, rows[i].name);
        if (rows[i].oddity == NULL)
            assert_null(odd);
        else
            assert_true(odd != NULL && strstr(odd, rows[i].oddity) != NULL);
    }
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(iscsi_name_take(longest, 223, out, NULL), 0);
    assert_int_equal(iscsi_name_take(longest, 224, out, NULL), -EINVAL);
}

/* A path is made an address only where a path is asked for, and an address is written as it is. */
static void
test_local_sockets(void **state)
{
    char path[SOCK_PATH_MAX + 2], buf[256];
    struct lunette_error err;
    struct sock_addr a = {.len = 7};
    struct portal p;

    (void)state;
    memset(path, 'p', sizeof(path));
    assert_int_equal(sock_addr_local("", 0, &a, &err), -EINVAL);
    assert_int_equal(sock_addr_local("", 1, &a, &err), -EINVAL); /* a NUL, and no name behind it */
    assert_int_equal(sock_addr_local("a\0b", 3, &a, &err), -EINVAL);
    assert_int_equal(sock_addr_local(path, SOCK_PATH_MAX + 1, &a, &err), -ENAMETOOLONG);
    assert_int_equal(a.len, 7);
    assert_int_equal(sock_addr_local(path, SOCK_PATH_MAX, &a, &err), 0);
    assert_int_equal(strlen(sock_addr_path(&a)), SOCK_PATH_MAX);
    assert_int_equal(strlen(sock_addr_format(&a, buf, sizeof(buf))), SOCK_PATH_MAX);
    assert_int_equal(sock_addr_local("/run/x\ny", 8, &a, &err), 0);
    assert_string_equal(sock_addr_path(&a), "/run/x\ny");
    assert_string_equal(sock_addr_format(&a, buf, sizeof(buf)), "/run/x?y");
    assert_string_equal(sock_addr_format(&a, buf, 5), "/run");
    assert_int_equal(sock_addr_local("\0NAME", 5, &a, &err), 0);
    assert_null(sock_addr_path(&a));
    assert_string_equal(sock_addr_format(&a, buf, sizeof(buf)), "@NAME");
    a.len = sizeof(sa_family_t);
    assert_null(sock_addr_path(&a));
    assert_string_equal(sock_addr_format(&a, buf, sizeof(buf)), "(unnamed)");
    a.ss.ss_family = AF_UNSPEC;
    assert_null(sock_addr_path(&a));
    assert_string_equal(sock_addr_format(&a, buf, sizeof(buf)), "?");
    assert_int_equal(portal_parse("/run/sock", 9, &p, &err), -EINVAL);
    assert_int_equal(portal_parse("@sock", 5, &p, &err), -EINVAL);
}

/* Lengths and bytes that only a hostile peer of ours would hand over. */
static void
test_local_sockets_of_any_bytes(void **state)
{
    struct sock_addr a = {.len = 0};
    char buf[256];

    (void)state;
    memset(&a.ss, 'x', sizeof(a.ss));
    a.ss.ss_family = AF_UNIX;
    for (unsigned len = 0; len <= sizeof(a.ss) + 8; len++) {
        a.len = len;
        assert_null(sock_addr_path(&a)); /* no NUL ends it */
        assert_true(strlen(sock_addr_format(&a, buf, sizeof(buf))) <= SOCK_PATH_MAX + 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_portals),
                                       cmocka_unit_test(test_local_sockets),
                                       cmocka_unit_test(test_local_sockets_of_any_bytes),
                                       cmocka_unit_test(test_scopes),
                                       cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_names_as_they_are)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
