/* SPDX-License-Identifier: MIT */
/* records.c - what the test of records does by our code: see the list in main. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nodedb/conf.h"
#include "nodedb/db.h"

static struct lunette_error err = LUNETTE_INIT(err);

static int
die(void)
{
    fprintf(stderr, "records: %s\n", err.msg);
    return 1;
}

static struct nodedb_id
id_of(char **a)
{
    struct nodedb_id id = {.portal = {.port = (uint16_t)atoi(a[2]), .tpgt = atoi(a[3])}};

    (void)snprintf(id.target, sizeof(id.target), "%s", a[0]);
    (void)snprintf(id.portal.host, sizeof(id.portal.host), "%s", a[1]);
    (void)snprintf(id.iface, sizeof(id.iface), "%s", a[4]);
    return id;
}

static struct portal
portal_of(char **a)
{
    struct portal p = {.port = (uint16_t)atoi(a[1]), .tpgt = -1};

    (void)snprintf(p.host, sizeof(p.host), "%s", a[0]);
    return p;
}

/* Frees it, too. */
static int
print(struct nodedb_record *r)
{
    char *text;
    size_t len;

    if (nodedb_record_format(r, NODEDB_FORM_UNMASK, &text, &len) < 0)
        return 1;
    fputs(text, stdout);
    nodedb_text_free(&text);
    nodedb_record_fini(r);
    return 0;
}

static int
list_one(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    (void)user;
    printf("%s,%u,%d %s %s%s\n", id->portal.host, id->portal.port, id->portal.tpgt, id->target,
           id->iface, r->torn ? " torn" : "");
    return 0;
}

static int
list_nodes(struct nodedb *db)
{
    static const struct nodedb_filter all = {.tpgt = -1};
    static const struct nodedb_visitor v = {.node = list_one};

    return nodedb_nodes(db, &all, &v, &err) < 0 ? die() : 0;
}

static int
add(struct nodedb *db, char **a)
{
    struct nodedb_id id = id_of(a);
    struct nodedb_record iface, r;

    if (nodedb_iface_read(db, id.iface, &iface, &err) < 0 ||
        nodedb_node_init(&r, &id, &iface, NULL, &err) < 0 || nodedb_node_write(db, &r, &err) < 0)
        return die();
    nodedb_record_fini(&iface);
    nodedb_record_fini(&r);
    return 0;
}

static int
show(struct nodedb *db, char **a)
{
    struct nodedb_id id = id_of(a);
    struct nodedb_record r;

    return nodedb_node_read(db, &id, &r, &err) < 0 ? die() : print(&r);
}

static int
iface_show(struct nodedb *db, char **a)
{
    struct nodedb_record r;

    return nodedb_iface_read(db, a[0], &r, &err) < 0 ? die() : print(&r);
}

#define BOUND_MAX 16

struct bound {
    struct nodedb_id ids[BOUND_MAX];
    size_t n;
};

static int
bound_add(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    struct bound *b = user;

    (void)r;
    if (b->n == BOUND_MAX)
        return -ENOSPC;
    b->ids[b->n++] = *id;
    return 0;
}

/* Makes an interface where there is none; and sets a key of it, and of the nodes bound to it. */
static int
iface_set(struct nodedb *db, const char *name, const char *key, const char *value)
{
    struct bound b = {.n = 0};
    const struct nodedb_filter f = {.iface = name, .tpgt = -1, .ids_only = true};
    const struct nodedb_visitor v = {.node = bound_add, .user = &b};
    struct nodedb_record r;
    int e = nodedb_iface_read(db, name, &r, &err);

    if (e == -ENOENT)
        e = nodedb_record_set(&r, NODEDB_IFACE_NAME, name);
    if (e == 0 && key != NULL)
        e = nodedb_record_update(&r, key, value, &err);
    if (e == 0)
        e = nodedb_iface_write(db, &r, &err);
    if (e == 0)
        e = nodedb_nodes(db, &f, &v, &err);
    if (e == 0)
        e = nodedb_iface_follow(db, name, b.ids, b.n, &err);
    nodedb_record_fini(&r);
    return e < 0 ? die() : 0;
}

static int
disc(struct nodedb *db, bool make, char **a)
{
    struct portal at = portal_of(a);
    struct nodedb_record r;
    int e = make ? nodedb_disc_init(&r, NODEDB_SENDTARGETS, &at, NULL, &err)
                 : nodedb_disc_read(db, NODEDB_SENDTARGETS, &at, &r, &err);

    if (e == 0 && make)
        e = nodedb_disc_write(db, &r, &err);
    if (e < 0)
        return die();
    if (!make)
        return print(&r);
    nodedb_record_fini(&r);
    return 0;
}

static int
found(struct nodedb *db, char **a)
{
    struct portal at = portal_of(a);
    struct nodedb_id id = id_of(a + 2);
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS,
                                  .via = &at,
                                  .ids = &id,
                                  .nids = 1,
                                  .ops = NODEDB_OP_NEW | NODEDB_OP_UPDATE | NODEDB_OP_DELETE};

    return nodedb_discovered(db, &d, &err) < 0 ? die() : 0;
}

static int
hold(struct nodedb *db, char **a)
{
    if (nodedb_lock(db, &err) < 0)
        return die();
    printf("held\n");
    fflush(stdout);
    sleep((unsigned)atoi(a[0]));
    nodedb_unlock(db);
    return 0;
}

/* Fails for a line that is malformed, or has a key that is not known. */
static void
complain(void *user, const struct lunette_error *why)
{
    if (strstr(why->msg, "is not used here because") != NULL)
        return;
    fprintf(stderr, "%s\n", why->msg);
    *(int *)user = 1;
}

static int
conf(const char *path)
{
    struct nodedb_record r;
    int bad = 0;

    if (nodedb_conf_read(path, &r, complain, &bad, &err) < 0)
        return die();
    if (nodedb_record_num(&r, NODEDB_LOGIN_RETRY_MAX) != 8)
        bad = 1; /* as the package has it, and not the built-in 4 */
    nodedb_record_fini(&r);
    return bad;
}

int
main(int argc, char **argv)
{
    struct nodedb_config cfg = {.lock_wait_ms = NODEDB_LOCK_WAIT_MS};
    struct nodedb_id id;
    struct nodedb *db;
    char **a = argv + 4;
    int n = argc - 4, r = 2;

    if (argc < 4)
        return 2;
    if (strcmp(argv[3], "conf") == 0 && n == 1)
        return conf(a[0]);
    cfg.root = argv[1];
    cfg.lock_dir = argv[2];
    if (nodedb_open(&cfg, &db, &err) < 0)
        return die();
    if (strcmp(argv[3], "list") == 0)
        r = list_nodes(db);
    else if (strcmp(argv[3], "add") == 0 && n == 5)
        r = add(db, a);
    else if (strcmp(argv[3], "show") == 0 && n == 5)
        r = show(db, a);
    else if (strcmp(argv[3], "update") == 0 && n == 7)
        r = (id = id_of(a), nodedb_node_update(db, &id, a[5], a[6], &err)) < 0 ? die() : 0;
    else if (strcmp(argv[3], "delete") == 0 && n == 5)
        r = (id = id_of(a), nodedb_node_delete(db, &id, &err)) < 0 ? die() : 0;
    else if (strcmp(argv[3], "iface-new") == 0 && n == 1)
        r = iface_set(db, a[0], NULL, NULL);
    else if (strcmp(argv[3], "iface-update") == 0 && n == 3)
        r = iface_set(db, a[0], a[1], a[2]);
    else if (strcmp(argv[3], "iface-show") == 0 && n == 1)
        r = iface_show(db, a);
    else if (strcmp(argv[3], "disc-new") == 0 && n == 2)
        r = disc(db, true, a);
    else if (strcmp(argv[3], "disc-show") == 0 && n == 2)
        r = disc(db, false, a);
    else if (strcmp(argv[3], "found") == 0 && n == 7)
        r = found(db, a);
    else if (strcmp(argv[3], "hold") == 0 && n == 1)
        r = hold(db, a);
    nodedb_close(&db);
    return r;
}
