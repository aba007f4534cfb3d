/* SPDX-License-Identifier: MIT */
/* nodedb/disc.c - discovery records. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nodedb/db.h"
#include "nodedb/internal.h"

static const char *
disc_dir(enum nodedb_kind kind)
{
    assert(kind == NODEDB_SENDTARGETS || kind == NODEDB_ISNS);
    return kind == NODEDB_SENDTARGETS ? "send_targets" : "isns";
}

static const char *
disc_file(enum nodedb_kind kind)
{
    return kind == NODEDB_SENDTARGETS ? "st_config" : "isns_config";
}

static enum nodedb_source
disc_source(enum nodedb_kind kind)
{
    return kind == NODEDB_SENDTARGETS ? NODEDB_BY_SENDTARGETS : NODEDB_BY_ISNS;
}

static int
disc_name(const struct portal *at, char ret[NODEDB_FILE_NAME_MAX + 1], struct lunette_error *err)
{
    int r = nodedb_check_host(at->host, err);

    if (r == 0 && at->port == 0)
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "the portal has no port");
    return r < 0 ? r : nodedb_portal_file(at, false, ret);
}

static int
disc_set_id(struct nodedb_record *r, enum nodedb_kind kind, const struct portal *at)
{
    int e =
        nodedb_record_set(r, NODEDB_D_TYPE, kind == NODEDB_SENDTARGETS ? "sendtargets" : "isns");

    if (e == 0)
        e = nodedb_record_set(r, NODEDB_D_ADDRESS, at->host);
    return e < 0 ? e : nodedb_record_set_num(r, NODEDB_D_PORT, at->port);
}

int
nodedb_disc_init(struct nodedb_record *r, enum nodedb_kind kind, const struct portal *at,
                 const struct nodedb_record *conf, struct lunette_error *err)
{
    char name[NODEDB_FILE_NAME_MAX + 1];
    int e = disc_name(at, name, err);

    nodedb_record_init(r, kind);
    if (e < 0)
        return e;
    if (conf != NULL)
        e = nodedb_record_take(r, conf);
    if (e == 0)
        e = disc_set_id(r, kind, at);
    if (e == 0)
        return 0;
    nodedb_record_fini(r);
    return lunette_fail(err, e, LUNETTE_DOM_OS, ENOMEM, "no memory for a discovery record");
}

int
nodedb_disc_read(struct nodedb *db, enum nodedb_kind kind, const struct portal *at,
                 struct nodedb_record *r, struct lunette_error *err)
{
    char name[NODEDB_FILE_NAME_MAX + 1];
    int e = disc_name(at, name, err), dir;

    nodedb_record_init(r, kind);
    if (e < 0)
        return e;
    dir = e = nodedb_walk(db, false, disc_dir(kind), name, NULL);
    if (dir >= 0) {
        e = nodedb_get(db, kind, dir, disc_file(kind), disc_dir(kind), name, disc_file(kind), r);
        close(dir);
    }
    if (e == 0) {
        e = disc_set_id(r, kind, at);
        if (e < 0)
            nodedb_record_fini(r);
    }
    if (e == -ENOENT)
        return lunette_fail(err, e, LUNETTE_DOM_NOTFOUND, 0,
                            "there is no discovery record of %.200s in %s", name, disc_dir(kind));
    return e < 0 ? nodedb_fault(db, err, e, "read", disc_dir(kind), name, disc_file(kind)) : 0;
}

int
nodedb_disc_write(struct nodedb *db, const struct nodedb_record *r, struct lunette_error *err)
{
    struct portal at = {.port = (uint16_t)nodedb_record_num(r, NODEDB_D_PORT), .tpgt = -1};
    char name[NODEDB_FILE_NAME_MAX + 1];
    int e, dir;

    NODEDB_COPY(at.host, nodedb_record_text(r, NODEDB_D_ADDRESS));
    e = disc_name(&at, name, err);
    if (e == 0)
        e = nodedb_lock(db, err);
    if (e < 0)
        return e;
    dir = e = nodedb_walk(db, true, disc_dir(r->kind), name, NULL);
    if (dir >= 0) {
        e = nodedb_put(db, db->ops, dir, disc_file(r->kind), r);
        close(dir);
    }
    nodedb_unlock(db);
    return e < 0 ? nodedb_fault(db, err, e, "write", disc_dir(r->kind), name, disc_file(r->kind))
                 : 0;
}

int
nodedb_disc_update(struct nodedb *db, enum nodedb_kind kind, const struct portal *at,
                   const char *name, const char *value, struct lunette_error *err)
{
    struct nodedb_record r;
    int e = nodedb_lock(db, err);

    if (e < 0)
        return e;
    e = nodedb_disc_read(db, kind, at, &r, err);
    if (e == 0) {
        e = nodedb_record_update(&r, name, value, err);
        if (e == 0)
            e = nodedb_disc_write(db, &r, err);
        nodedb_record_fini(&r);
    }
    nodedb_unlock(db);
    return e;
}

struct disc_delete {
    struct nodedb *db;
    bool (*in_use)(void *user, const struct nodedb_id *id);
    void *user;
    size_t removed;
    struct lunette_error *err;
};

static int
delete_found(void *user, const struct nodedb_id *id)
{
    struct disc_delete *d = user;
    int r;

    if (d->in_use != NULL && d->in_use(d->user, id))
        return 0;
    r = nodedb_node_delete(d->db, id, d->err);
    d->removed += r == 0;
    if (r == -ENOENT) { /* the link led nowhere */
        nodedb_links_remove(d->db, id);
        r = 0;
    }
    return r;
}

/* Removes the nodes that were found: ids[0..nids), or where at is not NULL all of a source.  There
 * may be thousands, and to sync each of them would take minutes: they are synced together, before
 * the record of the discovery, which would tell of them, goes too. */
static int
delete_all_found(struct disc_delete *d, const struct nodedb_id *ids, size_t nids,
                 enum nodedb_source source, const struct portal *at)
{
    const struct whole_fileops *safe = d->db->ops;
    struct whole_fileops lazy = *safe;
    int r = 0;

    lazy.fsync = whole_fsync_later;
    d->db->ops = &lazy;
    for (size_t i = 0; i < nids && r == 0; i++)
        r = delete_found(d, &ids[i]);
    if (at != NULL)
        r = nodedb_found(d->db, source, at, delete_found, d, d->err);
    d->db->ops = safe;
    return at != NULL && d->removed > 0 && r == 0 ? nodedb_sync(d->db) : r;
}

int
nodedb_found_drop(struct nodedb *db, const struct nodedb_id *ids, size_t nids,
                  bool (*in_use)(void *user, const struct nodedb_id *id), void *user,
                  struct lunette_error *err)
{
    struct disc_delete d = {.db = db, .in_use = in_use, .user = user, .err = err};
    int r = nodedb_lock(db, err);

    if (r < 0)
        return r;
    r = delete_all_found(&d, ids, nids, NODEDB_BY_SENDTARGETS, NULL);
    nodedb_unlock(db);
    return r < 0 ? nodedb_fault(db, err, r, "remove what was found from", "nodes", NULL, NULL) : 0;
}

int
nodedb_disc_delete(struct nodedb *db, enum nodedb_kind kind, const struct portal *at,
                   bool (*in_use)(void *user, const struct nodedb_id *id), void *user,
                   struct lunette_error *err)
{
    struct disc_delete d = {.db = db, .in_use = in_use, .user = user, .err = err};
    char name[NODEDB_FILE_NAME_MAX + 1];
    struct whole_names left = {0};
    int e = disc_name(at, name, err), dir;

    if (e == 0)
        e = nodedb_lock(db, err);
    if (e < 0)
        return e;
    dir = e = nodedb_walk(db, false, disc_dir(kind), name, NULL);
    if (dir >= 0) {
        e = delete_all_found(&d, NULL, 0, disc_source(kind), at);
        if (e == 0)
            e = whole_file_remove(db->ops, dir, disc_file(kind));
        if (e == -ENOENT) /* what is left of a removal that was cut short */
            e = 0;
        if (e == 0 && whole_dir_list(dir, &left) == 0) {
            /* Nodes that are in use stay, but nothing discovers them any more. */
            for (size_t i = 0; i < left.n; i++) {
                struct nodedb_id id;

                if (nodedb_id_of_link(left.name[i], &id) == 0)
                    nodedb_link_remove(db, disc_source(kind), at, &id);
            }
        }
        whole_names_free(&left);
        close(dir);
    }
    if (e == 0) {
        dir = nodedb_walk(db, false, disc_dir(kind), NULL, NULL);
        if (dir >= 0) {
            (void)db->ops->unlink(dir, name, AT_REMOVEDIR);
            close(dir);
        }
    }
    nodedb_unlock(db);
    if (e == -ENOENT)
        return lunette_fail(err, e, LUNETTE_DOM_NOTFOUND, 0,
                            "there is no discovery record of %.200s in %s", name, disc_dir(kind));
    return e < 0 ? nodedb_fault(db, err, e, "remove", disc_dir(kind), name, NULL) : 0;
}

static int
disc_order(const void *a, const void *b)
{
    const struct portal *x = a, *y = b;
    int r = strcmp(x->host, y->host);

    return r != 0 ? r : (int)x->port - (int)y->port;
}

int
nodedb_discs(struct nodedb *db, enum nodedb_kind kind,
             int (*disc)(void *user, const struct portal *at, struct nodedb_record *r), void *user,
             struct lunette_error *err)
{
    int dir = nodedb_walk(db, false, disc_dir(kind), NULL, NULL), r = dir < 0 ? dir : 0;
    struct whole_names names = {0};
    struct portal *at = NULL;
    size_t n = 0;

    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = whole_dir_list(dir, &names);
    if (dir >= 0)
        close(dir);
    if (r == 0 && names.n > 0) {
        at = calloc(names.n, sizeof(*at));
        r = at == NULL ? -ENOMEM : 0;
    }
    if (r < 0) {
        whole_names_free(&names);
        return nodedb_fault(db, err, r, "read", disc_dir(kind), NULL, NULL);
    }
    for (size_t i = 0; i < names.n; i++) {
        bool tagged;

        if (nodedb_portal_of_file(names.name[i], &at[n], &tagged) == 0 && !tagged)
            n++;
    }
    whole_names_free(&names);
    if (n > 1)
        qsort(at, n, sizeof(at[0]), disc_order);
    for (size_t i = 0; i < n && r == 0; i++) {
        struct nodedb_record rec;
        int e = nodedb_disc_read(db, kind, &at[i], &rec, NULL);

        if (e == -ENOENT)
            continue;
        r = disc(user, &at[i], e == 0 ? &rec : NULL);
        if (e == 0)
            nodedb_record_fini(&rec);
    }
    free(at);
    return r;
}
