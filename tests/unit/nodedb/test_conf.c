/* SPDX-License-Identifier: MIT */
/* test_conf.c - iscsid.conf, the initiator's name, and logins that are made of records. */
#include "tests/unit/nodedb/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodedb/conf.h"
#include "nodedb/login_config.h"

#define A "iqn.2026-11.example:a"

static const struct nodedb_initiator me = {.name = "iqn.2026-11.example:me", .alias = "my host"};

static const char *
in_root(const struct tree *t, const char *name, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", t->root, name);
    return path;
}

struct notes {
    char text[4096];
    unsigned malformed, unused;
};

static void
note(void *user, const struct lunette_error *why)
{
    struct notes *n = user;
    size_t len = strlen(n->text);

    n->malformed += why->code == -EINVAL;
    n->unused += why->code == -ENOTSUP;
    (void)snprintf(n->text + len, sizeof(n->text) - len, "%s\n", why->msg);
}

static void
test_conf(void **state)
{
    static const char text[] = "# a comment\n"
                               "iscsid.startup = /bin/systemctl start iscsid.socket\n"
                               "node.startup=automatic\n"
                               "node.session.cmds_max = 256\n"
                               "node.session.timeo.replacement_timeout = soon\n"
                               "node.session.xmit_thread_priority = -20\n"
                               "node.session.iscsi.ERL = 0\n"
                               "node.session.auth.chap_algs = SHA256,MD5\n"
                               "discovery.sendtargets.reopen_max = 2\n"
                               "node.sesion.scan = manual\n"
                               "node.name = iqn.everybody\n"
                               "iscsid.max_logins = 99999\n"
                               "no sense\n"
                               "node.export = nbd";
    const struct tree *t = *state;
    struct nodedb_id id = tree_id(A, "192.0.2.1", 3260, 1, "default");
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record conf, r, d;
    struct notes n = {.text = ""};
    char path[256];

    tree_put(t, "iscsid.conf", text);
    assert_int_equal(nodedb_conf_read(in_root(t, "iscsid.conf", path), &conf, note, &n, &err), 0);
    assert_int_equal(n.malformed, 3);
    assert_int_equal(n.unused, 3);
    assert_non_null(
        strstr(n.text, "iscsid.conf:5: node.session.timeo.replacement_timeout: \"soon\""));
    assert_non_null(strstr(n.text, "iscsid.conf:12: iscsid.max_logins"));
    assert_non_null(strstr(n.text, "iscsid.conf:13: there is no \"=\""));
    assert_non_null(strstr(n.text, "iscsid.conf:6: node.session.xmit_thread_priority is not used "
                                   "here because"));
    assert_non_null(strstr(n.text, "do you mean node.session.scan?"));
    assert_int_equal(nodedb_record_num(&conf, NODEDB_MAX_LOGINS), 4096);
    assert_string_equal(nodedb_record_text(&conf, NODEDB_STARTUP_COMMAND),
                        "/bin/systemctl start iscsid.socket");
    /* its keys are the defaults of new records, each kind its own; but not who they are of */
    assert_int_equal(nodedb_node_init(&r, &id, NULL, &conf, &err), 0);
    assert_int_equal(nodedb_record_num(&r, NODEDB_CMDS_MAX), 256);
    assert_int_equal(nodedb_record_num(&r, NODEDB_REPLACEMENT_TIMEOUT), 120);
    assert_int_equal(nodedb_record_word(&r, NODEDB_NODE_STARTUP), 1);
    assert_int_equal(nodedb_record_word(&r, NODEDB_NODE_EXPORT), 1);
    assert_string_equal(nodedb_record_text(&r, NODEDB_NODE_NAME), A);
    assert_string_equal(r.value[NODEDB_CHAP_ALGS], "SHA256,MD5");
    assert_int_equal(nodedb_disc_init(&d, NODEDB_SENDTARGETS, &id.portal, &conf, &err), 0);
    assert_int_equal(nodedb_record_num(&d, NODEDB_D_REOPEN_MAX), 2);
    assert_string_equal(d.value[NODEDB_D_CHAP_ALGS], "SHA256,MD5");
    assert_null(d.value[NODEDB_CMDS_MAX]);
    nodedb_record_fini(&d);
    nodedb_record_fini(&r);
    nodedb_record_fini(&conf);
    assert_int_equal(nodedb_conf_read(in_root(t, "none.conf", path), &conf, note, &n, &err), 0);
    nodedb_record_fini(&conf);
    assert_int_equal(nodedb_conf_read(t->root, &conf, note, &n, &err), -EISDIR);
}

static void
test_initiator(void **state)
{
    static const uint8_t random[NODEDB_INITIATOR_RANDOM] = {0, 1, 2, 0xab, 0xcd, 0xef};
    static const struct {
        const char *text, *name, *alias;
        int r;
    } rows[] = {
        {"InitiatorName=iqn.a\nInitiatorName=iqn.b\n", "iqn.a", "", 0},
        {"#InitiatorName=iqn.a\n InitiatorName = iqn.b\nInitiatorAlias=my host\n", "iqn.b",
         "my host", 0},
        {"InitiatorName=iqn.a", "iqn.a", "", 0},
        {"InitiatorName=iqn. a\n", NULL, NULL, -EINVAL},
        {"InitiatorAlias=x\n", NULL, NULL, -EINVAL},
        {"rubbish\n", NULL, NULL, -EINVAL},
    };
    const struct tree *t = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_initiator who;
    char path[256], *text;

    (void)in_root(t, "initiatorname.iscsi", path);
    assert_int_equal(nodedb_initiator_read(path, NULL, NULL, &who, &err), -ENOENT);
    for (int i = 0; i < 2; i++) { /* made, and read again */
        assert_int_equal(nodedb_initiator_read(path, random, NULL, &who, &err), 0);
        assert_string_equal(who.name, "iqn.2026-11.org.lunette:000102abcdef");
    }
    text = tree_get(t, "initiatorname.iscsi");
    assert_non_null(strstr(text, "\nInitiatorName=iqn.2026-11.org.lunette:000102abcdef\n"));
    free(text);
    tree_put(t, "initiatorname.iscsi", ""); /* the power failed */
    assert_int_equal(nodedb_initiator_read(path, random, NULL, &who, &err), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tree_put(t, "initiatorname.iscsi", rows[i].text);
        assert_int_equal(nodedb_initiator_read(path, random, NULL, &who, &err), rows[i].r);
        if (rows[i].r == 0) {
            assert_string_equal(who.name, rows[i].name);
            assert_string_equal(who.alias, rows[i].alias);
        } else {
            assert_non_null(strstr(err.msg, "InitiatorName"));
        }
    }
}

/* ---- logins ---- */

static void
make_node(struct nodedb_record *r)
{
    struct nodedb_id id = tree_id(A, "fe80::1%eth0", 3261, 7, "default");

    assert_int_equal(nodedb_node_init(r, &id, NULL, NULL, NULL), 0);
}

/* Each key that works, with a value that is not the default, and where it goes. */
struct mapped {
    enum nodedb_key_id id;
    const char *value;
    size_t cfg, opts; /* offset + 1; 0: not there */
    size_t size;
    int64_t is;
};

#define CFG(id, value, field, is)                                                                  \
    {                                                                                              \
        id, value, offsetof(struct login_config, field) + 1, 0,                                    \
            sizeof(((struct login_config *)0)->field), is                                          \
    }
#define OPT(id, value, field, is)                                                                  \
    {                                                                                              \
        id, value, 0, offsetof(struct nodedb_session_opts, field) + 1,                             \
            sizeof(((struct nodedb_session_opts *)0)->field), is                                   \
    }

static const struct mapped mapped[] = {
    OPT(NODEDB_NODE_STARTUP, "automatic", startup, NODEDB_STARTUP_AUTOMATIC),
    OPT(NODEDB_CONN_STARTUP, "onboot", startup, NODEDB_STARTUP_ONBOOT),
    OPT(NODEDB_NODE_LEADING_LOGIN, "Yes", leading_login, true),
    OPT(NODEDB_LOGIN_RETRY_MAX, "9", login_retry_max, 9),
    CFG(NODEDB_CMDS_MAX, "256", cmds_max, 256), OPT(NODEDB_QUEUE_DEPTH, "64", queue_depth, 64),
    OPT(NODEDB_NR_SESSIONS, "3", nr_sessions, 3),
    CFG(NODEDB_REPLACEMENT_TIMEOUT, "-5", replacement_timeout_s, -1),
    CFG(NODEDB_ABORT_TIMEOUT, "7", abort_timeout_ms, 7000),
    CFG(NODEDB_LU_RESET_TIMEOUT, "8", lu_reset_timeout_ms, 8000),
    CFG(NODEDB_TGT_RESET_TIMEOUT, "9", tgt_reset_timeout_ms, 9000),
    CFG(NODEDB_INITIAL_R2T, "Yes", offer.initial_r2t, true),
    CFG(NODEDB_IMMEDIATE_DATA, "No", offer.immediate_data, false),
    CFG(NODEDB_FIRST_BURST, "65536", offer.first_burst, 65536),
    CFG(NODEDB_MAX_BURST, "1048576", offer.max_burst, 1048576),
    CFG(NODEDB_TIME2RETAIN, "20", offer.time2retain, 20),
    CFG(NODEDB_TIME2WAIT, "3", offer.time2wait, 3),
    CFG(NODEDB_MAX_CONNECTIONS, "4", offer.max_connections, 4),
    OPT(NODEDB_MAX_CONNECTIONS, "4", max_connections, 4),
    CFG(NODEDB_MAX_CONNECTIONS, "4", nr_connections, 4),
    CFG(NODEDB_MAX_CONNECTIONS, "99", nr_connections, 32),
    CFG(NODEDB_NR_CONNECTIONS, "3", nr_connections, 3),
    CFG(NODEDB_NR_CONNECTIONS, "1", offer.time2wait, 2),
    CFG(NODEDB_NR_CONNECTIONS, "2", offer.time2wait, 0), /* others would wait so long */
    CFG(NODEDB_MAX_CONNECTIONS, "2", offer.time2wait, 0),
    CFG(NODEDB_ERROR_RECOVERY_LEVEL, "1", offer.time2wait, 2),
    CFG(NODEDB_ERROR_RECOVERY_LEVEL, "2", offer.time2wait, 0),
    CFG(NODEDB_MAX_OUTSTANDING_R2T, "8", offer.max_outstanding_r2t, 8),
    CFG(NODEDB_ERROR_RECOVERY_LEVEL, "1", offer.erl, 1), OPT(NODEDB_SCAN, "manual", scan, false),
    OPT(NODEDB_REOPEN_MAX, "6", reopen_max, 6),
    OPT(NODEDB_REOPEN_LOG_FREQ, "10", reopen_log_freq, 10),
    CFG(NODEDB_WINDOW_SIZE, "65536", sock.rcvbuf, 65536),
    CFG(NODEDB_WINDOW_SIZE, "65536", sock.sndbuf, 65536),
    CFG(NODEDB_WINDOW_SIZE, "524288", sock.sndbuf, 0), /* open-iscsi writes it by itself */
    CFG(NODEDB_TYPE_OF_SERVICE, "184", sock.dscp, 46),
    OPT(NODEDB_LOGOUT_TIMEOUT, "4", logout_timeout_ms, 4000),
    CFG(NODEDB_LOGIN_TIMEOUT, "12", login_timeout_ms, 12000),
    CFG(NODEDB_LOGIN_TIMEOUT, "12", connect_timeout_ms, 12000),
    CFG(NODEDB_NOOP_INTERVAL, "0", ping_interval_ms, 0),
    CFG(NODEDB_NOOP_TIMEOUT, "9", ping_timeout_ms, 9000),
    CFG(NODEDB_MAX_RECV_DSEG, "131072", offer.max_recv_dseg, 131072),
    OPT(NODEDB_NODE_EXPORT, "nbd", export_nbd, true),
    /* what others write unchecked is taken as the nearest */
    OPT(NODEDB_QUEUE_DEPTH, "9999", queue_depth, 1024), CFG(NODEDB_CMDS_MAX, "300", cmds_max, 256),
    CFG(NODEDB_FIRST_BURST, "99999999", offer.first_burst, 16776192), /* at most MaxBurstLength */
};

/* Keys that have a test of their own below. */
static const enum nodedb_key_id told_apart[] = {
    NODEDB_NODE_NAME,         NODEDB_NODE_TPGT,
    NODEDB_ADDRESS,           NODEDB_PORT,
    NODEDB_IFACE_NAME,        NODEDB_IFACE_NETDEV,
    NODEDB_IFACE_IPADDRESS,   NODEDB_IFACE_HWADDRESS,
    NODEDB_IFACE_TRANSPORT,   NODEDB_IFACE_INITIATORNAME,
    NODEDB_USERNAME,          NODEDB_PASSWORD,
    NODEDB_USERNAME_IN,       NODEDB_PASSWORD_IN,
    NODEDB_CHAP_ALGS,         NODEDB_HEADER_DIGEST,
    NODEDB_DATA_DIGEST,       NODEDB_DISC_ADDRESS,
    NODEDB_DISC_PORT,         NODEDB_DISC_TYPE,
    NODEDB_PASSWORD_LENGTH,   NODEDB_PASSWORD_IN_LENGTH,
    NODEDB_TRANSPORT_OPTIONS,
};

static int64_t
field(const void *at, size_t size)
{
    int32_t v32;
    uint8_t v8;

    if (size == 1) {
        memcpy(&v8, at, 1);
        return v8;
    }
    assert_int_equal(size, 4);
    memcpy(&v32, at, 4);
    return v32;
}

static void
test_each_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mapped) / sizeof(mapped[0]); i++) {
        const struct mapped *m = &mapped[i];
        struct nodedb_session_opts opts;
        struct login_config cfg;
        struct lunette_error err = LUNETTE_INIT(err);
        struct nodedb_record r;
        const char *at;

        make_node(&r);
        assert_int_equal(nodedb_record_set(&r, m->id, m->value), 0);
        if (nodedb_to_login_config(&r, NULL, NULL, &me, &cfg, &opts, &err) < 0)
            fail_msg("%s", err.msg);
        at = m->cfg > 0 ? (char *)&cfg + m->cfg - 1 : (char *)&opts + m->opts - 1;
        if (field(at, m->size) != m->is)
            fail_msg("%s = %s became %lld", nodedb_key(m->id)->name, m->value,
                     (long long)field(at, m->size));
        /* nonsense is an error that names the key, except where any text will do */
        assert_int_equal(nodedb_record_set(&r, m->id, "non sense"), 0);
        assert_int_equal(nodedb_to_login_config(&r, NULL, NULL, &me, &cfg, &opts, &err), -EINVAL);
        assert_non_null(strstr(err.msg, nodedb_key(m->id)->name));
        nodedb_record_fini(&r);
    }
    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        const struct nodedb_key *k = nodedb_key(i);
        bool tested = k->unused != NULL || !(k->where & NODEDB_NODE);

        for (size_t j = 0; j < sizeof(mapped) / sizeof(mapped[0]); j++)
            tested |= (int)mapped[j].id == i;
        for (size_t j = 0; j < sizeof(told_apart) / sizeof(told_apart[0]); j++)
            tested |= (int)told_apart[j] == i;
        if (!tested)
            fail_msg("%s neither goes anywhere nor is said to be unused", k->name);
    }
}

static void
set(struct nodedb_record *r, enum nodedb_key_id id, const char *value)
{
    assert_int_equal(nodedb_record_set(r, id, value), 0);
}

static void
test_login(void **state)
{
    struct nodedb_session_opts opts;
    struct login_config cfg;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r, iface;

    (void)state;
    make_node(&r);
    set(&r, NODEDB_USERNAME, "user");
    set(&r, NODEDB_PASSWORD, "short");
    set(&r, NODEDB_USERNAME_IN, "target");
    set(&r, NODEDB_PASSWORD_IN, "a longer one");
    set(&r, NODEDB_CHAP_ALGS, "SHA3-256,SHA1,MD5");
    set(&r, NODEDB_HEADER_DIGEST, "CRC32C,None");
    set(&r, NODEDB_DATA_DIGEST, "CRC32C");
    assert_int_equal(nodedb_to_login_config(&r, NULL, NULL, &me, &cfg, &opts, &err), 0);
    assert_string_equal(cfg.target_name, A);
    assert_string_equal(cfg.portal.host, "fe80::1%eth0");
    assert_int_equal(cfg.portal.port, 3261);
    assert_int_equal(cfg.expected_tpgt, 7);
    assert_string_equal(cfg.initiator_name, me.name);
    assert_string_equal(cfg.initiator_alias, me.alias);
    assert_string_equal(cfg.transport, "tcp");
    assert_string_equal(cfg.chap.name, "user");
    assert_memory_equal(cfg.chap.secret, "short", 5);
    assert_int_equal(cfg.chap.secret_len, 5);
    assert_string_equal(cfg.mutual.name, "target");
    assert_int_equal(cfg.mutual.secret_len, 12);
    assert_false(cfg.auth_required);
    assert_memory_equal(cfg.chap_algs, ((uint8_t[]){CHAP_SHA3_256, CHAP_SHA1, CHAP_MD5, 0}), 4);
    assert_string_equal(cfg.header_digest, "CRC32C,None");
    assert_string_equal(cfg.data_digest, "CRC32C");
    login_config_wipe(&cfg);

    /* the interface's record counts more than the copy */
    nodedb_record_init(&iface, NODEDB_IFACE);
    set(&iface, NODEDB_IFACE_TRANSPORT, "iser");
    set(&iface, NODEDB_IFACE_NETDEV, "eth7");
    set(&iface, NODEDB_IFACE_HWADDRESS, "default");
    set(&iface, NODEDB_IFACE_IPADDRESS, "192.0.2.77");
    set(&iface, NODEDB_IFACE_INITIATORNAME, "iqn.2026-11.example:other");
    assert_int_equal(nodedb_to_login_config(&r, &iface, NULL, &me, &cfg, &opts, &err), 0);
    assert_string_equal(cfg.transport, "iser");
    assert_string_equal(cfg.initiator_name, "iqn.2026-11.example:other");
    assert_string_equal(opts.bind.device, "eth7");
    assert_string_equal(opts.bind.hwaddress, "");
    assert_string_equal(opts.bind.address, "192.0.2.77");
    login_config_wipe(&cfg);
    set(&r, NODEDB_TRANSPORT_OPTIONS, "iser_stag=pool&iser_poll_us=20");
    assert_int_equal(nodedb_to_login_config(&r, &iface, NULL, &me, &cfg, &opts, &err), 0);
    assert_string_equal(cfg.transport_options, "iser_stag=pool&iser_poll_us=20");
    login_config_wipe(&cfg);
    set(&iface, NODEDB_IFACE_TRANSPORT, "tcp"); /* of which they are none */
    assert_int_equal(nodedb_to_login_config(&r, &iface, NULL, &me, &cfg, &opts, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "the transport is tcp"));
    set(&r, NODEDB_IFACE_TRANSPORT, "iser"); /* which the node's record may say by itself */
    assert_int_equal(nodedb_to_login_config(&r, &iface, NULL, &me, &cfg, &opts, &err), 0);
    assert_string_equal(cfg.transport, "iser");
    login_config_wipe(&cfg);
    set(&r, NODEDB_TRANSPORT_OPTIONS, "");
    set(&r, NODEDB_IFACE_TRANSPORT, "tcp");
    set(&iface, NODEDB_IFACE_TRANSPORT, "iser");
    set(&iface, NODEDB_IFACE_NAME, "iser"); /* that has no record to be changed instead */
    assert_int_equal(nodedb_to_login_config(&r, &iface, NULL, &me, &cfg, &opts, &err), 0);
    assert_string_equal(cfg.transport, "tcp");
    login_config_wipe(&cfg);
    set(&iface, NODEDB_IFACE_NAME, "eth7");
    set(&iface, NODEDB_IFACE_TRANSPORT, "bnx2i");
    assert_int_equal(nodedb_to_login_config(&r, &iface, NULL, &me, &cfg, &opts, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "adapter"));
    nodedb_record_fini(&iface);
    nodedb_record_fini(&r);
}

/* Where connections leave this host. */
static void
test_bind(void **state)
{
    static const struct {
        struct nodedb_binding b;
        const char *device, *source, *why;
    } t[] = {
        {{.device = ""}, "", "", NULL},
        {{.device = "eth7"}, "eth7", "", NULL},
        {{.hwaddress = "00:11:22:33:44:bb"}, "eth1", "", NULL},
        {{.hwaddress = "00:11:22:33:44:cc"}, "", "", "no network device has"},
        {{.address = "192.0.2.77"}, "", "192.0.2.77:0", NULL},
        {{.device = "eth7", .address = "2001:db8::7"}, "eth7", "[2001:db8::7]:0", NULL},
        {{.device = "eth7", .address = "fe80::7"}, "eth7", "[fe80::7]:0", NULL},
        {{.address = "fe80::7%eth7"}, "eth7", "[fe80::7]:0", NULL},
        {{.device = "eth7", .address = "fe80::7%eth7"}, "eth7", "[fe80::7]:0", NULL},
        {{.device = "eth8", .address = "fe80::7%eth7"}, "", "", "on another device"},
        {{.address = "fe80::7"}, "", "", "add the device"},
        {{.address = "fe80::7%"}, "", "", "no network device"},
        {{.address = "fe80::7%a-name-of-16-byt"}, "", "", "no network device"},
        {{.address = "192.0.2.77%eth7"}, "", "", "no IPv4 or IPv6"},
        {{.address = "host.example"}, "", "", "no IPv4 or IPv6"},
        {{.address = "2001:db8:1111:2222:3333:4444:5555:6666:7777:8888:9999"}, "", "", "no IPv4"},
    };
    const struct tree *tree = *state;
    struct lunette_error err;
    struct login_config cfg;
    char sys[256], text[64];

    tree_put(*state, "sys/eth0/address", "00:11:22:33:44:aa\n");
    tree_put(*state, "sys/eth1/address", "00:11:22:33:44:bb\n");
    (void)in_root(tree, "sys", sys);
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        int r;

        login_config_init(&cfg);
        err = (struct lunette_error){.code = 0};
        r = nodedb_bind(&t[i].b, sys, &cfg, &err);
        if (t[i].why != NULL) {
            assert_true(r == -EINVAL || r == -ENODEV);
            assert_non_null(strstr(err.msg, t[i].why));
            continue;
        }
        assert_int_equal(r, 0);
        assert_string_equal(cfg.sock.device, t[i].device);
        if (cfg.sock.source.len > 0)
            (void)sock_addr_format(&cfg.sock.source, text, sizeof(text));
        assert_string_equal(cfg.sock.source.len > 0 ? text : "", t[i].source);
    }
}

/* A failure leaves no secret behind, nor tells one. */
static void
test_login_fails(void **state)
{
    static const uint8_t none[CHAP_SECRET_MAX];
    struct nodedb_session_opts opts;
    struct login_config cfg;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;

    (void)state;
    make_node(&r);
    set(&r, NODEDB_PASSWORD, "S3cret of mine");
    assert_int_equal(nodedb_to_login_config(&r, NULL, NULL, &me, &cfg, &opts, &err), -EINVAL);
    assert_null(strstr(err.msg, "S3cret"));
    assert_memory_equal(cfg.chap.secret, none, sizeof(none));
    set(&r, NODEDB_USERNAME, "user");
    set(&r, NODEDB_CHAP_ALGS, "ROT13");
    assert_int_equal(nodedb_to_login_config(&r, NULL, NULL, &me, &cfg, &opts, &err), -EINVAL);
    assert_memory_equal(cfg.chap.secret, none, sizeof(none));
    nodedb_record_fini(&r);
}

/* authmethod does nothing, as in open-iscsi, unless the daemon is told to obey it. */
static void
test_authmethod(void **state)
{
    struct nodedb_session_opts opts;
    struct login_config cfg;
    struct nodedb_record r, conf;

    (void)state;
    make_node(&r);
    nodedb_record_init(&conf, NODEDB_CONF);
    set(&r, NODEDB_USERNAME, "user");
    set(&r, NODEDB_PASSWORD, "twelve bytes and more");
    assert_int_equal(nodedb_to_login_config(&r, NULL, &conf, &me, &cfg, &opts, NULL), 0);
    assert_string_equal(cfg.chap.name, "user");
    login_config_wipe(&cfg);
    set(&conf, NODEDB_HONOUR_AUTHMETHOD, "Yes");
    assert_int_equal(nodedb_to_login_config(&r, NULL, &conf, &me, &cfg, &opts, NULL), 0);
    assert_string_equal(cfg.chap.name, "");
    set(&r, NODEDB_AUTHMETHOD, "CHAP");
    assert_int_equal(nodedb_to_login_config(&r, NULL, &conf, &me, &cfg, &opts, NULL), 0);
    assert_string_equal(cfg.chap.name, "user");
    assert_true(cfg.auth_required);
    login_config_wipe(&cfg);
    nodedb_record_fini(&r);
    nodedb_record_fini(&conf);
}

static void
test_discovery_login(void **state)
{
    struct portal at = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};
    struct nodedb_disc_opts opts;
    struct login_config cfg;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;

    (void)state;
    assert_int_equal(nodedb_disc_init(&r, NODEDB_SENDTARGETS, &at, NULL, NULL), 0);
    set(&r, NODEDB_D_USERNAME, "user");
    set(&r, NODEDB_D_PASSWORD, "secret");
    set(&r, NODEDB_D_USERNAME_IN, "target");
    set(&r, NODEDB_D_PASSWORD_IN, "secret too");
    set(&r, NODEDB_D_CHAP_ALGS, "SHA1");
    set(&r, NODEDB_D_LOGIN_TIMEOUT, "3");
    set(&r, NODEDB_D_USE_DISCOVERYD, "Yes");
    set(&r, NODEDB_D_POLL_INTERVAL, "60");
    set(&r, NODEDB_D_REOPEN_MAX, "1");
    set(&r, NODEDB_D_ACTIVE_TIMEOUT, "11");
    set(&r, NODEDB_D_MAX_RECV_DSEG, "65536");
    assert_int_equal(nodedb_to_discovery_config(&r, NULL, NULL, &me, &cfg, &opts, &err), 0);
    assert_true(cfg.discovery);
    assert_string_equal(cfg.portal.host, "192.0.2.9");
    assert_string_equal(cfg.chap.name, "user");
    assert_string_equal(cfg.mutual.name, "target");
    assert_int_equal(cfg.chap_algs[0], CHAP_SHA1);
    assert_int_equal(cfg.login_timeout_ms, 3000);
    assert_int_equal(cfg.offer.max_recv_dseg, 65536);
    assert_true(opts.periodic);
    assert_int_equal(opts.poll_s, 60);
    assert_int_equal(opts.reopen_max, 1);
    assert_int_equal(opts.text_timeout_ms, 11000);
    login_config_wipe(&cfg);
    nodedb_record_fini(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_conf, tree_setup, tree_teardown),
        cmocka_unit_test_setup_teardown(test_initiator, tree_setup, tree_teardown),
        cmocka_unit_test(test_each_key),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_login_fails),
        cmocka_unit_test_setup_teardown(test_bind, tree_setup, tree_teardown),
        cmocka_unit_test(test_authmethod),
        cmocka_unit_test(test_discovery_login),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
