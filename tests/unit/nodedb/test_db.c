/* SPDX-License-Identifier: MIT */
/* test_db.c - nodes, discoveries and interfaces in a directory. */
#include "tests/unit/nodedb/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "nodedb/internal.h"

#define A      "iqn.2026-11.example:a"
#define B      "iqn.2026-11.example:b"
#define A_PATH "nodes/" A "/192.0.2.1,3260,1/default"
#define ST     "send_targets/192.0.2.9,3260"
#define FIXTURE                                                                                    \
    "# BEGIN RECORD 2.1.8\nnode.name = " A "\nnode.tpgt = 1\nnode.startup = automatic\n"           \
    "iface.iscsi_ifacename = default\nnode.discovery_type = static\n"                              \
    "node.session.cmds_max = 64\nnode.conn[0].address = 192.0.2.1\nnode.conn[0].port = 3260\n"     \
    "# END RECORD\n"

struct seen {
    char text[4096];
    unsigned n, torn, skipped;
    struct lunette_error why;
};

static int
see(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    struct seen *s = user;
    size_t len = strlen(s->text);

    s->n++;
    if (r != NULL)
        s->torn += r->torn;
    (void)snprintf(s->text + len, sizeof(s->text) - len, "%s %s,%u,%d %s\n",
                   id->target + strlen("iqn.2026-11.example:"), id->portal.host, id->portal.port,
                   id->portal.tpgt, id->iface);
    return 0;
}

static void
see_skipped(void *user, const struct lunette_error *why)
{
    struct seen *s = user;

    s->skipped++;
    s->why = *why;
}

static void
list(const struct tree *t, const struct nodedb_filter *f, struct seen *s)
{
    static const struct nodedb_filter all = {.tpgt = -1};
    struct nodedb_visitor v = {.node = see, .skipped = see_skipped, .user = s};
    struct lunette_error err = LUNETTE_INIT(err);

    memset(s, 0, sizeof(*s));
    if (nodedb_nodes(t->db, f != NULL ? f : &all, &v, &err) != 0)
        fail_msg("%s", err.msg);
}

static void
test_write_read(void **state)
{
    struct tree *t = *state;
    struct nodedb_id id = tree_id(A, "192.0.2.1", 3260, 1, "default");
    struct nodedb_record r;
    struct lunette_error err = LUNETTE_INIT(err);
    struct stat st;
    char path[256], *text;

    tree_add(t, &id);
    text = tree_get(t, A_PATH);
    assert_non_null(text);
    assert_non_null(strstr(text, "node.session.cmds_max = 128\n"));
    free(text);
    (void)snprintf(path, sizeof(path), "%s/%s", t->root, A_PATH);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(tree_has(t, "static/" A ",192.0.2.1,3260,1,default"));
    assert_int_equal(nodedb_node_update(t->db, &id, "node.session.cmds_max", "256", &err), 0);
    assert_int_equal(nodedb_node_update(t->db, &id, "node.session.cmds_max", "300", &err), -EINVAL);
    assert_int_equal(nodedb_node_read(t->db, &id, &r, &err), 0);
    assert_int_equal(nodedb_record_num(&r, NODEDB_CMDS_MAX), 256);
    nodedb_record_fini(&r);
    assert_int_equal(nodedb_node_delete(t->db, &id, &err), 0);
    assert_int_equal(tree_count(t, "nodes"), 0);
    assert_int_equal(tree_count(t, "static"), 0);
    assert_int_equal(nodedb_node_delete(t->db, &id, &err), -ENOENT);
    assert_int_equal(nodedb_node_read(t->db, &id, &r, &err), -ENOENT);
    assert_false(tree_has(t, WHOLE_TEMP));
}

/* Without a tag the first interface of a portal has the flat file, which is all that open-iscsi
 * changes, and the others do not take it away. */
static void
test_flat_interfaces(void **state)
{
    struct tree *t = *state;
    struct nodedb_id one = tree_id(A, "192.0.2.1", 3260, -1, "eth"),
                     two = tree_id(A, "192.0.2.1", 3260, -1, "default");
    struct lunette_error err = LUNETTE_INIT(err);
    struct seen s;

    assert_int_equal(tree_iface(t->db, "eth", NULL, NULL, &err), 0);
    tree_add(t, &one);
    assert_true(tree_has(t, "nodes/" A "/192.0.2.1,3260"));
    tree_add(t, &two);
    assert_int_equal(nodedb_node_update(t->db, &one, "node.startup", "onboot", &err), 0);
    assert_int_equal(nodedb_node_update(t->db, &two, "node.startup", "onboot", &err), 0);
    list(t, NULL, &s);
    assert_string_equal(s.text, "a 192.0.2.1,3260,-1 default\na 192.0.2.1,3260,-1 eth\n");
    assert_int_equal(nodedb_node_delete(t->db, &one, &err), 0);
    assert_int_equal(nodedb_node_delete(t->db, &two, &err), 0);
    assert_int_equal(tree_count(t, "nodes"), 0);
}

/* A node whose tag is not known is a flat file, as open-iscsi writes it. */
static void
test_flat(void **state)
{
    struct tree *t = *state;
    struct nodedb_id id = tree_id(A, "192.0.2.1", 3260, -1, "default"), old;
    struct lunette_error err = LUNETTE_INIT(err);
    struct seen s;

    tree_add(t, &id);
    assert_true(tree_has(t, "nodes/" A "/192.0.2.1,3260"));
    assert_int_equal(tree_count(t, "static"), 0);
    /* old trees have those with a tag, and of interfaces, as well */
    tree_put(t, "nodes/" B "/192.0.2.2,3260",
             "node.name = " B "\nnode.tpgt = 3\niface.iscsi_ifacename = eth\n"
             "node.conn[0].address = 192.0.2.2\nnode.session.cmds_max = 32\n");
    tree_put(t, "nodes/" B "/192.0.2.3,3260,4", "node.name = " B "\n");
    list(t, NULL, &s);
    assert_string_equal(s.text, "a 192.0.2.1,3260,-1 default\nb 192.0.2.2,3260,3 eth\n"
                                "b 192.0.2.3,3260,4 default\n");
    /* a write makes the new form of it, where the tag is known */
    old = tree_id(B, "192.0.2.2", 3260, 3, "eth");
    assert_int_equal(nodedb_node_update(t->db, &old, "node.startup", "automatic", &err), 0);
    assert_false(tree_has(t, "nodes/" B "/192.0.2.2,3260"));
    assert_true(tree_has(t, "nodes/" B "/192.0.2.2,3260,3/eth"));
    old = tree_id(B, "192.0.2.3", 3260, 4, "default");
    assert_int_equal(nodedb_node_update(t->db, &old, "node.startup", "automatic", &err), 0);
    list(t, NULL, &s);
    assert_string_equal(s.text, "a 192.0.2.1,3260,-1 default\nb 192.0.2.2,3260,3 eth\n"
                                "b 192.0.2.3,3260,4 default\n");
    assert_int_equal(nodedb_node_delete(t->db, &old, &err), 0);
    assert_int_equal(nodedb_node_delete(t->db, &id, &err), 0);
    assert_false(tree_has(t, "nodes/" A));
    list(t, NULL, &s);
    assert_int_equal(s.n, 1);
}

static void
test_filter(void **state)
{
    static const struct {
        struct nodedb_filter f;
        const char *text;
    } rows[] = {
        {{.tpgt = -1},
         "a 192.0.2.1,860,1 default\na 192.0.2.1,3260,1 default\na 192.0.2.1,3260,1 eth\n"
         "a 192.0.2.1,3260,10 default\na fe80::1%eth0,3260,1 default\nb 192.0.2.1,3260,2 eth\n"},
        {{.target = B, .tpgt = -1}, "b 192.0.2.1,3260,2 eth\n"},
        {{.target = "iqn.none", .tpgt = -1}, ""},
        {{.host = "192.0.2.1", .port = 860, .tpgt = -1}, "a 192.0.2.1,860,1 default\n"},
        {{.host = "192.0.2.1", .port = 3260, .tpgt = 10}, "a 192.0.2.1,3260,10 default\n"},
        {{.iface = "eth", .tpgt = -1}, "a 192.0.2.1,3260,1 eth\nb 192.0.2.1,3260,2 eth\n"},
        {{.host = "fe80::1%eth0", .tpgt = -1}, "a fe80::1%eth0,3260,1 default\n"},
        {{.target = A, .iface = "eth", .tpgt = -1, .ids_only = true}, "a 192.0.2.1,3260,1 eth\n"},
    };
    struct tree *t = *state;
    struct nodedb_id ids[] = {
        tree_id(B, "192.0.2.1", 3260, 2, "eth"),        tree_id(A, "192.0.2.1", 3260, 1, "eth"),
        tree_id(A, "192.0.2.1", 3260, 10, "default"),   tree_id(A, "192.0.2.1", 860, 1, "default"),
        tree_id(A, "fe80::1%eth0", 3260, 1, "default"), tree_id(A, "192.0.2.1", 3260, 1, "default"),
    };
    struct lunette_error err = LUNETTE_INIT(err);

    assert_int_equal(tree_iface(t->db, "eth", NULL, NULL, &err), 0);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        tree_add(t, &ids[i]);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct seen s;

        list(t, &rows[i].f, &s);
        assert_string_equal(s.text, rows[i].text);
    }
}

/* A record is made whole from its path, wherever it was cut; nothing of it is fatal. */
static void
test_torn_rebuilt(void **state)
{
    struct tree *t = *state;
    struct nodedb_id id = tree_id(A, "192.0.2.1", 3260, 1, "default");

    for (size_t n = 0; n < strlen(FIXTURE) - 1; n++) {
        struct lunette_error err = LUNETTE_INIT(err);
        struct nodedb_record r;
        struct nodedb_id is;

        tree_put_bytes(t, A_PATH, FIXTURE, n);
        assert_int_equal(nodedb_node_read(t->db, &id, &r, &err), 0);
        assert_true(r.torn);
        nodedb_node_id(&r, &is);
        assert_true(nodedb_id_same(&is, &id));
        nodedb_record_fini(&r);
        if (n % 32 == 0) {
            char *text;

            assert_int_equal(nodedb_node_update(t->db, &id, "node.startup", "onboot", &err), 0);
            text = tree_get(t, A_PATH);
            assert_non_null(strstr(text, "node.name = " A "\n"));
            assert_non_null(strstr(text, "node.startup = onboot\n"));
            assert_non_null(strstr(text, "# END RECORD\n"));
            free(text);
        }
    }
}

/* What cannot be a record, or leads out of the tree, is left out and told; the others are there. */
static void
test_strange_files(void **state)
{
    struct tree *t = *state;
    struct nodedb_id id = tree_id(A, "192.0.2.1", 3260, 1, "default"),
                     linked = tree_id(A, "192.0.2.1", 3260, 1, "link"),
                     out = tree_id("iqn.out", "192.0.2.1", 3260, 1, "default");
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;
    char path[300], outside[128], fifo[300];
    struct seen s;

    tree_put(t, A_PATH, FIXTURE);
    (void)snprintf(outside, sizeof(outside), "%s/outside", t->dir);
    (void)snprintf(path, sizeof(path), "%s/outside/192.0.2.1,3260,1", t->dir);
    assert_int_equal(mkdir(outside, 0700), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/nodes/iqn.out", t->root);
    assert_int_equal(symlink(outside, path), 0);
    (void)snprintf(path, sizeof(path), "%s/nodes/%s/192.0.2.1,3260,1/link", t->root, A);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    (void)snprintf(fifo, sizeof(fifo), "%s/nodes/%s/192.0.2.1,3260,1/fifo", t->root, A);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    tree_put(t, "nodes/" A "/not_a_portal", "x");
    tree_put(t, "nodes/" A "/192.0.2.1,99999,1", "x");
    tree_put(t, "nodes/stray file", "x");
    list(t, NULL, &s);
    assert_string_equal(s.text, "a 192.0.2.1,3260,1 default\n");
    assert_int_equal(s.skipped, 6);
    assert_int_equal(nodedb_node_read(t->db, &linked, &r, &err), -ELOOP);
    assert_int_equal(nodedb_node_read(t->db, &out, &r, &err), -ELOOP);
    assert_non_null(strstr(err.msg, "symbolic link"));
    /* writing replaces a link that was put in a record's place, and touches not what it names */
    tree_add(t, &id);
    nodedb_record_init(&r, NODEDB_NODE);
    assert_int_equal(nodedb_node_init(&r, &out, NULL, NULL, &err), 0);
    assert_int_equal(nodedb_node_write(t->db, &r, &err), -ELOOP);
    nodedb_record_fini(&r);
    (void)snprintf(path, sizeof(path), "%s/192.0.2.1,3260,1/default", outside);
    assert_int_equal(access(path, F_OK), -1);
}

static void
test_hostile_names(void **state)
{
    static const char *const targets[] = {
        "",        "..",     ".",       "../../etc/passwd", "iqn.a/b",
        "iqn.a\n", "iqn. a", ".hidden", "iqn.a\x7f",        "/etc",
    };
    static const char *const hosts[] = {"",    "..",           "a/b", "192.0.2.1,1",
                                        "a b", "fe80::1%../x", "a\nb"};
    static const char *const ifaces[] = {"", "..", "a/b", ".x", "a,b", "a b"};
    struct tree *t = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;
    char longer[300];

    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct nodedb_id id = tree_id(targets[i], "192.0.2.1", 3260, 1, "default");

        assert_int_equal(nodedb_node_init(&r, &id, NULL, NULL, &err), -EINVAL);
        assert_int_equal(nodedb_node_delete(t->db, &id, &err), -EINVAL);
    }
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct nodedb_id id = tree_id(A, hosts[i], 3260, 1, "default");

        assert_int_equal(nodedb_node_init(&r, &id, NULL, NULL, &err), -EINVAL);
        assert_int_equal(nodedb_disc_init(&r, NODEDB_SENDTARGETS, &id.portal, NULL, &err), -EINVAL);
    }
    for (size_t i = 0; i < sizeof(ifaces) / sizeof(ifaces[0]); i++) {
        struct nodedb_id id = tree_id(A, "192.0.2.1", 3260, 1, ifaces[i]);

        assert_int_equal(nodedb_node_init(&r, &id, NULL, NULL, &err), -EINVAL);
        assert_int_equal(nodedb_iface_read(t->db, ifaces[i], &r, &err), -EINVAL);
        assert_int_equal(nodedb_iface_drop(t->db, ifaces[i], &err), -EINVAL);
    }
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(nodedb_check_target(longer, &err), -EINVAL);
    longer[223] = '\0';
    assert_int_equal(nodedb_check_target(longer, &err), 0);
    /* the longest name has a record; only its link has no room */
    {
        struct nodedb_id id = tree_id(longer, "fe80::1234:5678:9abc:def0%eth0", 3260, 1, "default");
        struct seen s;

        tree_add(t, &id);
        list(t, NULL, &s);
        assert_int_equal(s.n, 1);
        assert_int_equal(nodedb_node_delete(t->db, &id, &err), 0);
    }
}

static int
count_disc(void *user, const struct portal *at, struct nodedb_record *r)
{
    unsigned *n = user;

    assert_non_null(r);
    assert_string_equal(at->host, nodedb_record_text(r, NODEDB_D_ADDRESS));
    (*n)++;
    return 0;
}

static void
make_disc(const struct tree *t, const struct portal *at)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;

    assert_int_equal(nodedb_disc_init(&r, NODEDB_SENDTARGETS, at, NULL, &err), 0);
    assert_int_equal(nodedb_disc_write(t->db, &r, &err), 0);
    nodedb_record_fini(&r);
}

static void
discover(const struct tree *t, struct nodedb_discovered *d, const struct nodedb_id *ids, size_t n)
{
    struct lunette_error err = LUNETTE_INIT(err);

    d->ids = ids;
    d->nids = n;
    d->ops = NODEDB_OP_NEW | NODEDB_OP_UPDATE | NODEDB_OP_DELETE;
    if (nodedb_discovered(t->db, d, &err) < 0)
        fail_msg("%s", err.msg);
}

/* What a person has named without its tag is the same node when a discovery tells the tag. */
static void
test_untagged(void **state)
{
    struct tree *t = *state;
    struct portal at = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS, .via = &at};
    struct nodedb_id flat = tree_id(A, "192.0.2.1", 3260, -1, "default"),
                     found = tree_id(A, "192.0.2.1", 3260, 1, "default");
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;
    struct seen s;

    make_disc(t, &at);
    tree_add(t, &flat);
    assert_int_equal(nodedb_node_update(t->db, &flat, "node.session.cmds_max", "64", &err), 0);
    discover(t, &d, &found, 1);
    assert_int_equal(d.added, 0);
    assert_int_equal(d.known, 1);
    assert_int_equal(nodedb_node_exists(t->db, &flat), 0);
    assert_int_equal(nodedb_node_read(t->db, &found, &r, &err), 0);
    assert_int_equal(nodedb_record_num(&r, NODEDB_CMDS_MAX), 64);
    assert_string_equal(nodedb_record_text(&r, NODEDB_ADDRESS), "192.0.2.1");
    nodedb_record_fini(&r);
    list(t, NULL, &s);
    assert_int_equal(s.n, 1);
    /* One that is made beside it goes when they are seen together. */
    tree_add(t, &flat);
    discover(t, &d, &found, 1);
    assert_int_equal(nodedb_node_exists(t->db, &flat), 0);
    assert_int_equal(nodedb_node_exists(t->db, &found), 1);
    /* It is still a person's. */
    discover(t, &d, NULL, 0);
    assert_int_equal(d.removed, 0);
    assert_int_equal(nodedb_node_exists(t->db, &found), 1);
}

static bool
is_flat(void *user, const struct nodedb_id *id)
{
    (void)user;
    return id->portal.tpgt == -1;
}

/* The record of a session stays where the session has it. */
static void
test_untagged_in_use(void **state)
{
    struct tree *t = *state;
    struct portal at = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS, .via = &at, .in_use = is_flat};
    struct nodedb_id flat = tree_id(A, "192.0.2.1", 3260, -1, "default"),
                     found = tree_id(A, "192.0.2.1", 3260, 1, "default");

    make_disc(t, &at);
    tree_add(t, &flat);
    discover(t, &d, &found, 1);
    assert_int_equal(d.added, 0);
    assert_int_equal(nodedb_node_exists(t->db, &flat), 1);
    assert_int_equal(nodedb_node_exists(t->db, &found), 0);
}

/* What stands in the place of one record keeps no other from being taken, or from going. */
static void
test_one_cannot_be_read(void **state)
{
    struct tree *t = *state;
    struct portal at = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS, .via = &at};
    struct nodedb_id ids[] = {tree_id(A, "192.0.2.1", 3260, 1, "default"),
                              tree_id(B, "192.0.2.1", 3260, 1, "default")};
    struct lunette_error err = LUNETTE_INIT(err);
    char path[300];

    make_disc(t, &at);
    discover(t, &d, ids, 2);
    assert_int_equal(d.added, 2);
    (void)snprintf(path, sizeof(path), "%s/nodes/%s/192.0.2.1,3260,1/default", t->root, A);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_int_equal(nodedb_node_delete(t->db, &ids[1], &err), 0);
    discover(t, &d, ids, 2);
    assert_int_equal(d.added, 1);
    assert_int_equal(d.refused, 1);
    assert_non_null(strstr(d.why.msg, "symbolic link"));
    discover(t, &d, NULL, 0);
    assert_int_equal(d.removed, 1);
    assert_int_equal(d.refused, 1);
    assert_int_equal(nodedb_node_exists(t->db, &ids[1]), 0);
}

static bool
is_b(void *user, const struct nodedb_id *id)
{
    (void)user;
    return strcmp(id->target, B) == 0;
}

static void
test_discovery(void **state)
{
    struct tree *t = *state;
    struct portal at = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS, .via = &at};
    struct nodedb_id ids[] = {tree_id(A, "192.0.2.1", 3260, 1, "default"),
                              tree_id(B, "192.0.2.1", 3260, 1, "default"),
                              tree_id("iqn.2026-11.example:../x", "192.0.2.1", 3260, 1, "default")},
                     mine = tree_id("iqn.2026-11.example:mine", "192.0.2.1", 3260, 1, "default");
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;
    unsigned n = 0;
    struct seen s;
    char *text;

    make_disc(t, &at);
    text = tree_get(t, ST "/st_config");
    assert_non_null(strstr(text, "discovery.sendtargets.timeo.login_timeout = 15\n"));
    assert_non_null(strstr(text, "node.session.auth.chap_algs = MD5\n"));
    assert_null(strstr(text, "isns"));
    free(text);
    assert_int_equal(nodedb_discs(t->db, NODEDB_SENDTARGETS, count_disc, &n, &err), 0);
    assert_int_equal(nodedb_discs(t->db, NODEDB_ISNS, count_disc, &n, &err), 0);
    assert_int_equal(n, 1);

    tree_add(t, &mine);
    discover(t, &d, ids, 3); /* one of the names is hostile */
    assert_int_equal(d.added, 2);
    assert_int_equal(d.refused, 1);
    assert_non_null(strstr(d.why.msg, "slash"));
    assert_true(tree_has(t, ST "/" A ",192.0.2.1,3260,1,default"));
    text = tree_get(t, A_PATH);
    assert_non_null(strstr(text, "node.discovery_address = 192.0.2.9\n"));
    assert_non_null(strstr(text, "node.discovery_type = send_targets\n"));
    free(text);

    /* what a person sets stays, and what a person made stays a person's */
    assert_int_equal(nodedb_node_update(t->db, &ids[0], "node.session.cmds_max", "64", &err), 0);
    ids[2] = mine;
    discover(t, &d, ids, 3);
    assert_int_equal(d.added, 0);
    assert_int_equal(d.known, 3);
    assert_int_equal(nodedb_node_read(t->db, &ids[0], &r, &err), 0);
    assert_int_equal(nodedb_record_num(&r, NODEDB_CMDS_MAX), 64);
    nodedb_record_fini(&r);
    /* what is not found any more goes, but not what a person made, nor what is in use */
    d.in_use = is_b;
    discover(t, &d, NULL, 0);
    assert_int_equal(d.removed, 1);
    list(t, NULL, &s);
    assert_string_equal(s.text, "b 192.0.2.1,3260,1 default\nmine 192.0.2.1,3260,1 default\n");
    d.in_use = NULL;
    discover(t, &d, NULL, 0);
    assert_int_equal(d.removed, 1);
    discover(t, &d, ids, 2);
    assert_int_equal(nodedb_disc_update(t->db, NODEDB_SENDTARGETS, &at,
                                        "discovery.sendtargets.auth.authmethod", "CHAP", &err),
                     0);
    assert_int_equal(nodedb_disc_delete(t->db, NODEDB_SENDTARGETS, &at, NULL, NULL, &err), 0);
    list(t, NULL, &s);
    assert_string_equal(s.text, "mine 192.0.2.1,3260,1 default\n");
    assert_int_equal(tree_count(t, "send_targets"), 0);
    assert_int_equal(nodedb_disc_delete(t->db, NODEDB_SENDTARGETS, &at, NULL, NULL, &err), -ENOENT);
}

static unsigned fsyncs, syncfss;

static int
count_fsync(int fd)
{
    (void)fd;
    fsyncs++;
    return 0;
}

static int
count_syncfs(int fd)
{
    (void)fd;
    syncfss++;
    return 0;
}

/* What a discovery has found goes as fast as it came: it is synced as a whole, not one by one. */
static void
test_many_found_go(void **state)
{
    enum { MANY = 200 };
    struct tree *t = *state;
    struct portal at = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};
    struct lunette_error err = LUNETTE_INIT(err);
    const struct whole_fileops *before = t->db->ops;
    struct whole_fileops counting = *before;
    struct nodedb_id ids[MANY];
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS, .via = &at};
    struct seen s;
    char name[32];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "many%d", i);
        ids[i] = tree_id(name, "192.0.2.1", 3260, 1, "default");
    }
    counting.fsync = count_fsync;
    counting.syncfs = count_syncfs;
    make_disc(t, &at);
    discover(t, &d, ids, MANY);
    assert_int_equal(d.added, MANY);
    t->db->ops = &counting;
    fsyncs = syncfss = 0;
    discover(t, &d, NULL, 0);
    assert_int_equal(d.removed, MANY);
    assert_true(fsyncs < 10);
    assert_int_equal(syncfss, 1);

    discover(t, &d, ids, MANY);
    fsyncs = syncfss = 0;
    assert_int_equal(nodedb_disc_delete(t->db, NODEDB_SENDTARGETS, &at, NULL, NULL, &err), 0);
    assert_true(fsyncs < 10);
    assert_int_equal(syncfss, 1);
    t->db->ops = before;
    list(t, NULL, &s);
    assert_string_equal(s.text, "");
}

/* A link of another discovery is not ours to follow: the node belongs to who found it last. */
static void
test_two_discoveries(void **state)
{
    struct tree *t = *state;
    struct portal one = {.host = "192.0.2.8", .port = 3260},
                  two = {.host = "192.0.2.9", .port = 3260};
    struct nodedb_discovered d1 = {.source = NODEDB_BY_SENDTARGETS, .via = &one},
                             d2 = {.source = NODEDB_BY_SENDTARGETS, .via = &two};
    struct nodedb_id a = tree_id(A, "192.0.2.1", 3260, 1, "default");
    struct seen s;

    make_disc(t, &one);
    make_disc(t, &two);
    discover(t, &d1, &a, 1);
    discover(t, &d2, &a, 1);
    discover(t, &d1, NULL, 0);
    assert_int_equal(d1.removed, 0);
    list(t, NULL, &s);
    assert_int_equal(s.n, 1);
    discover(t, &d2, NULL, 0);
    assert_int_equal(d2.removed, 1);
    list(t, NULL, &s);
    assert_int_equal(s.n, 0);
}

static int
list_iface(void *user, struct nodedb_record *r)
{
    char *text = user;

    (void)sprintf(text + strlen(text), "%s/%s ", nodedb_record_text(r, NODEDB_IFACE_NAME),
                  nodedb_record_text(r, NODEDB_IFACE_TRANSPORT));
    return 0;
}

static void
test_ifaces(void **state)
{
    struct tree *t = *state;
    struct nodedb_id id = tree_id(A, "192.0.2.1", 3260, 1, "eth"),
                     other = tree_id(A, "192.0.2.1", 3260, 1, "default");
    struct lunette_error err = LUNETTE_INIT(err);
    char names[256] = "", *text, device[16];

    assert_int_equal(tree_iface(t->db, "eth", NULL, NULL, &err), 0);
    assert_int_equal(tree_iface(t->db, "default", NULL, NULL, &err), -EINVAL);
    assert_int_equal(tree_iface(t->db, "iser", "iface.ipaddress", "::1", &err), -EINVAL);
    tree_put(t, "ifaces/iface.example", "# an example\n");
    tree_put(t, "ifaces/torn", "# BEGIN RECORD 2.1.8\nifa");
    assert_int_equal(nodedb_ifaces(t->db, list_iface, names, &err), 0);
    assert_string_equal(names, "eth/tcp torn/tcp default/tcp iser/iser ");
    tree_add(t, &id);
    tree_add(t, &other);
    assert_int_equal(tree_iface(t->db, "eth", "iface.net_ifacename", "eth7", &err), 0);
    assert_int_equal(nodedb_iface_follow(t->db, "eth", &id, 1, &err), 0);
    text = tree_get(t, "nodes/" A "/192.0.2.1,3260,1/eth");
    assert_non_null(strstr(text, "iface.net_ifacename = eth7\n"));
    free(text);
    assert_int_equal(tree_iface(t->db, "eth", "iface.hwaddress", "00:11:22:33:44:55", &err),
                     -EINVAL);
    assert_int_equal(tree_iface(t->db, "eth", "iface.iscsi_ifacename", "x", &err), -EINVAL);
    /* A node gets what the record says by now, not what somebody read before. */
    tree_put(t, "ifaces/eth", "iface.iscsi_ifacename = eth\niface.net_ifacename = eth8\n");
    assert_int_equal(nodedb_iface_follow(t->db, "eth", &id, 1, &err), 0);
    text = tree_get(t, "nodes/" A "/192.0.2.1,3260,1/eth");
    assert_non_null(strstr(text, "iface.net_ifacename = eth8\n"));
    free(text);
    assert_int_equal(nodedb_iface_drop(t->db, "iser", &err), -EINVAL);
    assert_int_equal(nodedb_iface_drop(t->db, "eth", &err), 0);
    assert_true(tree_has(t, "nodes/" A "/192.0.2.1,3260,1/eth"));
    assert_int_equal(nodedb_iface_follow(t->db, "eth", &id, 1, &err), -ENOENT);
    assert_int_equal(nodedb_iface_drop(t->db, "eth", &err), -ENOENT);
    assert_true(tree_has(t, A_PATH));

    tree_put(t, "sys/eth0/address", "00:11:22:33:44:aa\n");
    tree_put(t, "sys/eth1/address", "00:11:22:33:44:BB\n");
    {
        char sys[128];

        (void)snprintf(sys, sizeof(sys), "%s/sys", t->root);
        assert_int_equal(nodedb_iface_device(sys, "00:11:22:33:44:bb", device, &err), 0);
        assert_string_equal(device, "eth1");
        assert_int_equal(nodedb_iface_device(sys, "00:11:22:33:44:cc", device, &err), -ENODEV);
    }
}

static int
count_node(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    (void)id;
    assert_int_equal(nodedb_record_num(r, NODEDB_CMDS_MAX), 128);
    ++*(unsigned *)user;
    return 0;
}

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Ten thousand targets in one answer.  Nothing is synced, which would measure what else the disk
 * has to do. */
static void
test_many(void **state)
{
    enum { N = 10000 };
    struct tree *t = *state;
    struct portal at = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS, .via = &at};
    struct nodedb_id *ids = calloc(N, sizeof(*ids));
    static const struct nodedb_filter all = {.tpgt = -1};
    unsigned n = 0;
    struct nodedb_visitor v = {.node = count_node, .user = &n};
    struct lunette_error err = LUNETTE_INIT(err);
    double t0, t1, t2, t3;
    clock_t cpu;

    assert_non_null(ids);
    for (int i = 0; i < N; i++) {
        char name[64];

        (void)snprintf(name, sizeof(name), "iqn.2026-11.example:%05d", i);
        ids[i] = tree_id(name, "192.0.2.1", 3260, 1, "default");
    }
    make_disc(t, &at);
    t0 = now();
    discover(t, &d, ids, N);
    assert_int_equal(d.added, N);
    t1 = now();
    cpu = clock();
    assert_int_equal(nodedb_nodes(t->db, &all, &v, &err), 0);
    assert_int_equal(n, N);
    cpu = clock() - cpu;
    t2 = now();
    discover(t, &d, ids, N);
    assert_int_equal(d.known, N);
    t3 = now();
    print_message("10000 records: added in %.2f s, read in %.2f s, found again in %.2f s\n",
                  t1 - t0, t2 - t1, t3 - t2);
    /* some 0.6 s of its own time, and several times as much under a sanitizer */
    assert_true(cpu < 20 * CLOCKS_PER_SEC);
    free(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)
        TREE_TEST(test_write_read),
        TREE_TEST(test_flat),
        TREE_TEST(test_flat_interfaces),
        TREE_TEST(test_filter),
        TREE_TEST(test_torn_rebuilt),
        TREE_TEST(test_strange_files),
        TREE_TEST(test_hostile_names),
        TREE_TEST(test_discovery),
        TREE_TEST(test_many_found_go),
        TREE_TEST(test_two_discoveries),
        TREE_TEST(test_ifaces),
        TREE_TEST(test_many),
        TREE_TEST(test_untagged),
        TREE_TEST(test_untagged_in_use),
        TREE_TEST(test_one_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
