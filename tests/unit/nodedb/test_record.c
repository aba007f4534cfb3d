/* SPDX-License-Identifier: MIT */
/* test_record.c - keys, values and the text of records, without files. */
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/whole_file.h"
#include "nodedb/record.h"

static const char node_text[] = "# BEGIN RECORD 2.1.8\n"
                                "node.name = iqn.2026-11.example:a\n"
                                "node.tpgt = 1\n"
                                "node.startup = automatic\n"
                                "iface.iscsi_ifacename = default\n"
                                "node.session.auth.username = me\n"
                                "node.session.auth.password = topsecret\n"
                                "node.session.cmds_max = 64\n"
                                "node.conn[0].address = 192.0.2.1\n"
                                "node.conn[0].port = 3260\n"
                                "# END RECORD\n";

static void
parse(struct nodedb_record *r, enum nodedb_kind kind, const char *text)
{
    nodedb_record_init(r, kind);
    assert_int_equal(nodedb_record_parse(r, text, strlen(text), "dir/file"), 0);
}

static char *
format(const struct nodedb_record *r, enum nodedb_form form)
{
    char *text;
    size_t len;

    assert_int_equal(nodedb_record_format(r, form, &text, &len), 0);
    assert_int_equal(strlen(text), len);
    return text;
}

static void
test_keys(void **state)
{
    (void)state;
    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        const struct nodedb_key *k = nodedb_key(i);
        char good[NODEDB_VALUE_MAX + 1];

        /* each default is in the range of its key, and each name is found */
        if (k->dflt[0] != '\0' || k->type != NODEDB_TEXT)
            assert_int_equal(nodedb_value_check(k, k->dflt, good, NULL), 0);
        if (i != NODEDB_D_CHAP_ALGS)
            assert_int_equal(nodedb_key_find(NODEDB_CONF, k->name, strlen(k->name), NULL), i);
        assert_true(strlen(k->name) <= NODEDB_NAME_MAX);
    }
    assert_int_equal(nodedb_key_find(NODEDB_SENDTARGETS, "node.session.auth.chap_algs", 27, NULL),
                     NODEDB_D_CHAP_ALGS);
    assert_int_equal(nodedb_key_find(NODEDB_NODE, "iscsid.startup", 14, NULL), -1);
    assert_string_equal(nodedb_key_nearest(NODEDB_NODE, "node.sesion.cmds_max"),
                        "node.session.cmds_max");
}

static void
test_values(void **state)
{
    static const struct {
        enum nodedb_key_id id;
        const char *value, *good;
        int r;
    } rows[] = {
        {NODEDB_CMDS_MAX, "64", "64", 0},
        {NODEDB_CMDS_MAX, "100", "64", 1},
        {NODEDB_CMDS_MAX, "1", "2", 1},
        {NODEDB_CMDS_MAX, "99999999999999999999", "2048", 1},
        {NODEDB_CMDS_MAX, "64k", NULL, -EINVAL},
        {NODEDB_CMDS_MAX, "", NULL, -EINVAL},
        {NODEDB_QUEUE_DEPTH, "9999", "1024", 1},
        {NODEDB_MAX_XMIT_DSEG, "0", "0", 0},
        {NODEDB_MAX_XMIT_DSEG, "511", "512", 1},
        {NODEDB_REPLACEMENT_TIMEOUT, "-1", "-1", 0},
        {NODEDB_XMIT_PRIORITY, "-21", "-20", 1},
        {NODEDB_NODE_STARTUP, "onboot", "onboot", 0},
        {NODEDB_NODE_STARTUP, "Onboot", NULL, -EINVAL},
        {NODEDB_HEADER_DIGEST, "CRC32C,None", "CRC32C,None", 0},
        {NODEDB_HEADER_DIGEST, "None, CRC32C", NULL, -EINVAL},
        {NODEDB_CHAP_ALGS, "SHA256, MD5  SHA256,nonsense", "SHA256,MD5", 0},
        {NODEDB_CHAP_ALGS, "nonsense", NULL, -EINVAL},
        {NODEDB_USERNAME, "with a blank", "with a blank", 0},
        {NODEDB_USERNAME, " before", NULL, -EINVAL},
        {NODEDB_USERNAME, "a\nnode.startup = onboot", NULL, -EINVAL},
        {NODEDB_CONGESTION_CONTROL, "longer_than_fifteen", NULL, -EINVAL},
        {NODEDB_TRANSPORT_OPTIONS, "", "", 0},
        {NODEDB_TRANSPORT_OPTIONS, "iser_stag=pool&iser_pool=4M", "iser_stag=pool&iser_pool=4M", 0},
        {NODEDB_TRANSPORT_OPTIONS, "mine_x=&yours_y=a=b", "mine_x=&yours_y=a=b", 0},
        {NODEDB_TRANSPORT_OPTIONS, "rubbish", NULL, -EINVAL},
        {NODEDB_TRANSPORT_OPTIONS, "=1", NULL, -EINVAL},
        {NODEDB_TRANSPORT_OPTIONS, "x=_", NULL, -EINVAL},
        {NODEDB_TRANSPORT_OPTIONS, "mine_=1", NULL, -EINVAL},
        {NODEDB_TRANSPORT_OPTIONS, "mine_x=1&", "mine_x=1&", 0},
        {NODEDB_TRANSPORT_OPTIONS, "mine_x=1&&", NULL, -EINVAL},
        {NODEDB_TRANSPORT_OPTIONS, "mine_x=1&iser_stag=pools", NULL, -EINVAL},
        {NODEDB_TRANSPORT_OPTIONS, "iser_stg=pool", NULL, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char good[NODEDB_VALUE_MAX + 1];
        struct lunette_error err = LUNETTE_INIT(err);

        assert_int_equal(nodedb_value_check(nodedb_key(rows[i].id), rows[i].value, good, &err),
                         rows[i].r);
        if (rows[i].good != NULL)
            assert_string_equal(good, rows[i].good);
        if (rows[i].r != 0)
            assert_non_null(strstr(err.msg, nodedb_key(rows[i].id)->name));
    }
}

static void
test_parse(void **state)
{
    struct nodedb_record r;

    (void)state;
    parse(&r, NODEDB_NODE, node_text);
    assert_false(r.torn);
    assert_int_equal(r.nbad, 0);
    assert_string_equal(nodedb_record_text(&r, NODEDB_NODE_NAME), "iqn.2026-11.example:a");
    assert_int_equal(nodedb_record_num(&r, NODEDB_CMDS_MAX), 64);
    assert_int_equal(nodedb_record_num(&r, NODEDB_QUEUE_DEPTH), 32);
    assert_int_equal(nodedb_record_word(&r, NODEDB_NODE_STARTUP), 1);
    nodedb_record_fini(&r);
}

/* Malformed lines are told with file, line and key, and the others are used. */
static void
test_malformed(void **state)
{
    static const char text[] = "  # a comment\r\n"
                               "node.name=iqn.a\r\n"
                               "\tnode.session.queue_depth\t=\t9999 \r\n"
                               "node.session.cmds_max = many\n"
                               "no equals sign\n"
                               " = no key\n"
                               "bad key = 1\n"
                               "node.startup = automatic\n";
    struct nodedb_record r;
    struct lunette_error bad;
    char buf[NODEDB_VALUE_MAX + 1];

    (void)state;
    parse(&r, NODEDB_NODE, text);
    assert_false(r.torn); /* people may leave out the first and last line */
    assert_int_equal(r.nbad, 5);
    assert_string_equal(r.bad.msg, "dir/file:3: node.session.queue_depth: \"9999\" is not in 1 to "
                                   "1024");
    assert_string_equal(nodedb_record_get(&r, NODEDB_QUEUE_DEPTH, buf, &bad), "1024");
    assert_int_equal(bad.code, -ERANGE);
    assert_string_equal(nodedb_record_get(&r, NODEDB_CMDS_MAX, buf, &bad), "128");
    assert_int_equal(bad.code, -EINVAL);
    assert_string_equal(bad.msg,
                        "dir/file:4: node.session.cmds_max: \"many\" is not a whole number");
    assert_int_equal(nodedb_record_word(&r, NODEDB_NODE_STARTUP), 1);
    nodedb_record_fini(&r);
}

/* A record that is cut anywhere is known to be torn, and has no half a value. */
static void
test_torn(void **state)
{
    size_t whole = strlen(node_text) - 1; /* the last newline may be missing */

    (void)state;
    for (size_t n = 0; n < whole; n++) {
        struct nodedb_record r;
        const char *name;

        nodedb_record_init(&r, NODEDB_NODE);
        assert_int_equal(nodedb_record_parse(&r, node_text, n, NULL), 0);
        assert_true(r.torn);
        name = nodedb_record_text(&r, NODEDB_NODE_NAME);
        assert_true(name[0] == '\0' || strcmp(name, "iqn.2026-11.example:a") == 0);
        assert_true(r.value[NODEDB_CMDS_MAX] == NULL ||
                    nodedb_record_num(&r, NODEDB_CMDS_MAX) == 64);
        nodedb_record_fini(&r);
    }
}

/* What a file has that we do not know, or know by another name, is in it afterwards, too. */
static void
test_unknown_kept(void **state)
{
    static const char text[] =
        "# BEGIN RECORD 3.9\n"
        "node.name = iqn.a\n"
        "node.future.setting = 7 and more\n"
        "node.conn[1].address = 192.0.2.9\n"
        "node.transport_name = iser\n"
        "node.session.conn_reopen_log_freq = 9\n"
        "# lunette: node.export = nbd\n"
        "# lunette: node.transport_options = iser_stag=pool&iser_poll_us=20\n"
        "# END RECORD\n"
        "behind.the.end = 1\n";
    struct nodedb_record r;
    char *file, *shown;

    (void)state;
    parse(&r, NODEDB_NODE, text);
    assert_int_equal(r.nextra, 2);
    assert_string_equal(nodedb_record_text(&r, NODEDB_IFACE_TRANSPORT), "iser");
    assert_int_equal(nodedb_record_num(&r, NODEDB_REOPEN_LOG_FREQ), 9);
    assert_int_equal(nodedb_record_word(&r, NODEDB_NODE_EXPORT), 1);
    assert_string_equal(nodedb_record_text(&r, NODEDB_TRANSPORT_OPTIONS),
                        "iser_stag=pool&iser_poll_us=20");
    file = format(&r, NODEDB_FORM_FILE);
    assert_non_null(strstr(file, "\nnode.future.setting = 7 and more\n"));
    assert_non_null(strstr(file, "\nnode.conn[1].address = 192.0.2.9\n"));
    assert_non_null(strstr(file, "\nnode.transport_name = iser\n"));
    assert_non_null(strstr(file, "\nnode.session.conn_reopen_log_freq = 9\n"));
    assert_null(strstr(file, "iface.transport_name"));
    assert_null(strstr(file, "\nnode.export"));
    assert_non_null(strstr(file, "\n# lunette: node.export = nbd\n"));
    assert_non_null(
        strstr(file, "\n# lunette: node.transport_options = iser_stag=pool&iser_poll_us=20\n"));
    shown = format(&r, NODEDB_FORM_SHOW);
    assert_non_null(strstr(shown, "\niface.transport_name = iser\n"));
    assert_non_null(strstr(shown, "\nnode.export = nbd\n"));
    assert_null(strstr(shown, "behind"));
    nodedb_text_free(&shown);
    nodedb_text_free(&file);
    nodedb_record_fini(&r);
}

static void
test_forms(void **state)
{
    struct nodedb_record r;
    char *file, *shown, *open;

    (void)state;
    parse(&r, NODEDB_NODE, node_text);
    file = format(&r, NODEDB_FORM_FILE);
    shown = format(&r, NODEDB_FORM_SHOW);
    open = format(&r, NODEDB_FORM_UNMASK);
    assert_non_null(strstr(file, "password = topsecret\n"));
    assert_null(strstr(file, "<empty>"));
    assert_null(strstr(file, "username_in"));
    assert_null(strstr(file, "sess_reopen_log_freq")); /* older readers fail at it */
    assert_null(strstr(shown, "topsecret"));
    assert_non_null(strstr(shown, "node.session.auth.password = ********\n"));
    assert_non_null(strstr(shown, "node.session.auth.password_in = <empty>\n"));
    assert_non_null(strstr(open, "node.session.auth.password = topsecret\n"));
    assert_null(strstr(shown, "password_length"));
    assert_non_null(strstr(shown, "iface.bootproto"));
    assert_null(strstr(shown, "iface.ipv6_autocfg"));
    assert_null(strstr(shown, "node.export"));
    assert_memory_equal(shown, "# BEGIN RECORD ", 15);
    nodedb_text_free(&file);
    nodedb_text_free(&shown);
    nodedb_text_free(&open);
    nodedb_record_fini(&r);
}

/* The keys of a record stand in the order of open-iscsi. */
static void
test_order(void **state)
{
    static const char *const order[] = {"node.name",
                                        "node.tpgt",
                                        "iface.iscsi_ifacename",
                                        "node.discovery_address",
                                        "node.session.initial_cmdsn",
                                        "node.session.cmds_max",
                                        "node.session.auth.authmethod",
                                        "node.session.timeo.replacement_timeout",
                                        "node.session.iscsi.FastAbort",
                                        "node.session.scan",
                                        "node.conn[0].address",
                                        "node.conn[0].timeo.logout_timeout",
                                        "node.conn[0].iscsi.OFMarker"};
    struct nodedb_record r;
    char *shown, *at;

    (void)state;
    parse(&r, NODEDB_NODE, node_text);
    at = shown = format(&r, NODEDB_FORM_SHOW);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        at = strstr(at, order[i]);
        assert_non_null(at);
    }
    nodedb_text_free(&shown);
    nodedb_record_fini(&r);
}

static void
test_update(void **state)
{
    static const struct {
        const char *name, *value, *why; /* why NULL: it is taken */
    } rows[] = {
        {"node.startup", "onboot", NULL},
        {"node.session.cmds_max", "2048", NULL},
        {"node.session.cmds_max", "2047", "power of two"},
        {"node.session.cmds_max", "4096", "2 to 2048"},
        {"node.transport_name", "iser", NULL},
        {"node.export", "nbd", NULL},
        {"node.export", "ublk", "none|nbd"},
        {"node.name", "iqn.b", "make another record"},
        {"iface.net_ifacename", "eth0", "Use iface mode"},
        {"node.sesion.cmds_max", "2", "Do you mean node.session.cmds_max?"},
        {"node.session.auth.password", "ab\ncd", "control character"},
        {"node.session.auth.password_length", "3", "Cannot modify"},
        {"iscsid.startup", "/bin/true", "Invalid param name"},
    };
    struct nodedb_record r;

    (void)state;
    parse(&r, NODEDB_NODE, node_text);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lunette_error err = LUNETTE_INIT(err);
        int e = nodedb_record_update(&r, rows[i].name, rows[i].value, &err);

        assert_int_equal(e, rows[i].why == NULL ? 0 : -EINVAL);
        if (rows[i].why != NULL && strstr(err.msg, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].name, err.msg);
    }
    assert_int_equal(nodedb_record_num(&r, NODEDB_CMDS_MAX), 2048);
    nodedb_record_fini(&r);
}

/* A secret that is too long, or has a control character, is not in the error. */
static void
test_secret_not_told(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;
    char text[1024];

    (void)state;
    (void)snprintf(text, sizeof(text), "node.session.auth.password = S3cr%0300d\n", 1);
    parse(&r, NODEDB_NODE, text);
    assert_int_equal(r.nbad, 1);
    assert_null(strstr(r.bad.msg, "S3cr"));
    assert_int_equal(nodedb_record_update(&r, "node.session.auth.password", "S3cret\t", &err),
                     -EINVAL);
    assert_null(strstr(err.msg, "S3cr"));
    nodedb_record_fini(&r);
}

/* ---- secrets ---- */

#define STACK_SIZE (1u << 20)
#define PASSWORD   "S3cr3t-of-the-test"

/* All that is done with a secret, on a stack of its own. */
static void *
use_secret(void *arg)
{
    static const char text[] = "node.session.auth.password = " PASSWORD "\n"
                               "node.some.password = " PASSWORD "\n";
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record conf, r;
    int e;

    nodedb_record_init(&conf, NODEDB_CONF);
    e = nodedb_record_parse(&conf, text, strlen(text), "conf");
    nodedb_record_init(&r, NODEDB_NODE);
    if (e == 0)
        e = nodedb_record_take(&r, &conf);
    if (e == 0)
        e = nodedb_record_update(&r, "node.session.auth.password_in", PASSWORD, &err);
    if (e == 0 && strcmp(nodedb_record_text(&r, NODEDB_PASSWORD), PASSWORD) != 0)
        e = -EIO;
    nodedb_record_fini(&r);
    nodedb_record_fini(&conf);
    *(int *)arg = e;
    return NULL;
}

static void
test_no_secret_stays_on_the_stack(void **state)
{
    void *stack =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attr;
    pthread_t thread;
    int e = -1;

    (void)state;
    assert_true(stack != MAP_FAILED);
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstack(&attr, stack, STACK_SIZE), 0);
    assert_int_equal(pthread_create(&thread, &attr, use_secret, &e), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(e, 0);
    assert_null(memmem(stack, STACK_SIZE, PASSWORD, strlen(PASSWORD)));
    (void)pthread_attr_destroy(&attr);
    (void)munmap(stack, STACK_SIZE);
}

/* A file as large as one may be, of nothing but keys that are none, holds nobody up. */
static void
test_many_unknown(void **state)
{
    struct nodedb_record r;
    char *text = malloc(WHOLE_FILE_MAX), *out;
    size_t len = 0, out_len;
    clock_t began = clock();

    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; len + 16 < WHOLE_FILE_MAX; i++)
        len += (size_t)snprintf(text + len, 16, "%x=1\n", i);
    nodedb_record_init(&r, NODEDB_NODE);
    assert_int_equal(nodedb_record_parse(&r, text, len, "file"), 0);
    assert_true(r.nextra > 100000);
    assert_int_equal(nodedb_record_format(&r, NODEDB_FORM_FILE, &out, &out_len), 0);
    assert_true(out_len > len);
    nodedb_text_free(&out);
    nodedb_record_fini(&r);
    free(text);
    assert_true(clock() - began < 4 * CLOCKS_PER_SEC);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_torn),
        cmocka_unit_test(test_unknown_kept),
        cmocka_unit_test(test_many_unknown),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_secret_not_told),
        cmocka_unit_test(test_no_secret_stays_on_the_stack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
