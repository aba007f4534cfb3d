/* SPDX-License-Identifier: MIT */
/* nodedb/discovered.c - takes what a discovery has found, and never resets what a person has set.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nodedb/db.h"
#include "nodedb/internal.h"

/* Adding many records, db->ops syncs nothing; `safe` does, for those that replace another.
 *
 * What is there stays; only which discovery has found it may be another now. */
static int
merge_node(struct nodedb *db, const struct whole_fileops *safe, const struct nodedb_id *id,
           const struct nodedb_record *found, size_t *rewritten, struct lunette_error *err)
{
    struct nodedb_record has;
    struct portal old_via, via;
    enum nodedb_source old, source = nodedb_node_source(found, &via);
    int r = nodedb_node_read(db, id, &has, err);

    if (r < 0)
        return r;
    old = nodedb_node_source(&has, &old_via);
    /* A torn record has forgotten it, and is put right by the way. */
    if (has.torn ||
        (old != NODEDB_BY_STATIC && old != NODEDB_BY_FW &&
         (old != source || strcmp(old_via.host, via.host) != 0 || old_via.port != via.port))) {
        r = nodedb_node_set_source(&has, source, via.host[0] != '\0' ? &via : NULL);
        r = r == 0 ? nodedb_node_put(db, safe, &has, err)
                   : lunette_fail(err, r, LUNETTE_DOM_OS, ENOMEM, "no memory for a node's record");
        old = source;
        ++*rewritten;
    }
    /* What a person or the firmware has named is not the discovery's to take away again. */
    if (r == 0 && old != NODEDB_BY_STATIC && old != NODEDB_BY_FW)
        r = nodedb_link_add(db, source, &via, id, err);
    nodedb_record_fini(&has);
    return r;
}

static int
add_or_merge(struct nodedb *db, const struct whole_fileops *safe, const struct nodedb_record *r,
             bool *ret_added, size_t *rewritten, struct lunette_error *err)
{
    struct nodedb_id id;
    struct portal via;
    enum nodedb_source source = nodedb_node_source(r, &via);
    int e;

    nodedb_node_id(r, &id);
    e = nodedb_check_id(&id, err);
    if (e < 0)
        return e;
    e = nodedb_node_exists(db, &id);
    if (e < 0)
        return nodedb_fault(db, err, e, "read", "nodes", id.target, NULL);
    *ret_added = e == 0;
    if (e > 0)
        return merge_node(db, safe, &id, r, rewritten, err);
    e = nodedb_node_put(db, db->ops, r, err);
    return e < 0 ? e : nodedb_link_add(db, source, &via, &id, err);
}

int
nodedb_node_add(struct nodedb *db, const struct nodedb_record *r, bool *ret_added,
                struct lunette_error *err)
{
    bool added;
    size_t rewritten = 0;
    int e = nodedb_lock(db, err);

    if (e < 0)
        return e;
    e = add_or_merge(db, db->ops, r, ret_added != NULL ? ret_added : &added, &rewritten, err);
    nodedb_unlock(db);
    return e;
}

/* The ids that were found, sorted, so that those that were not are seen. */
struct stale {
    const struct nodedb_discovered *d;
    struct nodedb_id *found;
    int (*visit)(void *user, const struct nodedb_id *id);
    void *user;
};

static int
found_order(const void *a, const void *b)
{
    return nodedb_id_order(a, b);
}

static int
visit_stale(void *user, const struct nodedb_id *id)
{
    struct stale *s = user;

    if (s->d->nids > 0 &&
        bsearch(id, s->found, s->d->nids, sizeof(s->found[0]), found_order) != NULL)
        return 0;
    return s->visit(s->user, id);
}

int
nodedb_stale(struct nodedb *db, const struct nodedb_discovered *d,
             int (*visit)(void *user, const struct nodedb_id *id), void *user,
             struct lunette_error *err)
{
    struct stale s = {.d = d, .visit = visit, .user = user};
    int r;

    if (d->nids > 0) {
        s.found = malloc(d->nids * sizeof(s.found[0]));
        if (s.found == NULL)
            return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                                "no memory to compare what was found with what is known");
        memcpy(s.found, d->ids, d->nids * sizeof(s.found[0]));
        qsort(s.found, d->nids, sizeof(s.found[0]), found_order);
    }
    r = nodedb_found(db, d->source, d->via, visit_stale, &s, err);
    free(s.found);
    return r;
}

/* Is it one record, or its name, that is the fault, and not the place for all of them? */
static bool
is_fault_of_one(int code)
{
    return code == -EINVAL || code == -ENAMETOOLONG || code == -ELOOP || code == -EISDIR ||
           code == -ENOTDIR || code == -EFBIG;
}

static void
leave_out(struct nodedb_discovered *d, const struct lunette_error *why)
{
    if (d->refused++ == 0)
        (void)lunette_fail_as(&d->why, why);
}

struct drop {
    struct nodedb *db;
    struct nodedb_discovered *d;
    struct lunette_error *err;
};

/* Removes a node that this discovery found before. */
static int
drop_stale(void *user, const struct nodedb_id *id)
{
    const struct drop *p = user;
    struct nodedb_discovered *d = p->d;
    enum nodedb_source source;
    struct lunette_error why = {.code = 0};
    struct nodedb_record r;
    struct portal via;
    int e = nodedb_node_read(p->db, id, &r, &why);

    if (is_fault_of_one(e)) { /* whose it is cannot be told */
        leave_out(d, &why);
        return 0;
    }
    if (e < 0 && e != -ENOENT)
        return lunette_fail_as(p->err, &why);
    if (e == 0) {
        source = nodedb_node_source(&r, &via);
        nodedb_record_fini(&r);
        /* Another discovery, or a person, has taken the node over: only our link is stale. */
        if (source != d->source ||
            (d->via != NULL && (strcmp(via.host, d->via->host) != 0 || via.port != d->via->port)))
            e = -ENOENT;
        else if (d->in_use != NULL && d->in_use(d->user, id))
            return 0;
        else
            e = nodedb_node_delete(p->db, id, p->err);
        if (e == 0)
            d->removed++;
    }
    if (e == -ENOENT) {
        nodedb_link_remove(p->db, d->source, d->via, id);
        e = 0;
    }
    return e;
}

/* Runs work with db->ops that sync nothing, and syncs once behind it: what is removed is not more
 * than what the next discovery tells, too. */
static int
lazily(struct nodedb *db, int (*work)(struct drop *p), struct drop *p)
{
    const struct whole_fileops *safe = db->ops;
    struct whole_fileops lazy = *safe;
    int r;

    lazy.fsync = whole_fsync_later;
    db->ops = &lazy;
    r = work(p);
    db->ops = safe;
    if (p->d->removed > 0 && !p->d->later && r == 0) {
        r = nodedb_sync(db);
        if (r < 0)
            (void)nodedb_fault(db, p->err, r, "remove what is not found any more from", "nodes",
                               NULL, NULL);
    }
    return r;
}

static int
drop_all_stale(struct drop *p)
{
    return nodedb_stale(p->db, p->d, drop_stale, p, p->err);
}

static int
drop_ids(struct drop *p)
{
    int r = 0;

    for (size_t i = 0; i < p->d->nids && r == 0; i++)
        r = drop_stale(p, &p->d->ids[i]);
    return r;
}

int
nodedb_stale_drop(struct nodedb *db, struct nodedb_discovered *d, struct lunette_error *err)
{
    struct drop p = {.db = db, .d = d, .err = err};
    int r = nodedb_lock(db, err);

    if (r < 0)
        return r;
    d->removed = d->refused = 0;
    d->why = (struct lunette_error){.code = 0};
    r = lazily(db, drop_ids, &p);
    nodedb_unlock(db);
    return r;
}

int
nodedb_untagged_drop(struct nodedb *db, const struct nodedb_id *id,
                     bool (*in_use)(void *user, const struct nodedb_id *id), void *user,
                     struct lunette_error *err)
{
    struct nodedb_id untagged = *id;
    int e;

    untagged.portal.tpgt = -1;
    if (id->portal.tpgt == -1 || (in_use != NULL && in_use(user, &untagged)))
        return 0;
    e = nodedb_node_exists(db, &untagged);
    if (e < 0)
        return nodedb_fault(db, err, e, "read", "nodes", id->target, NULL);
    return e > 0 ? nodedb_node_delete(db, &untagged, err) : 0;
}

/* Makes the directories of a target's records last, which may have been made for another of them
 * and not be synced yet. */
static int
sync_target(const struct nodedb *db, const struct whole_fileops *safe, const char *target)
{
    const char *const below[] = {target, NULL};
    int r = 0;

    for (size_t i = 0; r == 0 && i < 2; i++) {
        int dir = nodedb_walk(db, false, "nodes", below[i], NULL);

        r = dir < 0 ? dir : whole_file_sync(safe, dir);
        if (dir >= 0)
            close(dir);
    }
    return r;
}

/* A person may have named the portal without its tag, which the discovery tells: the record then
 * moves to where it is known with it, as open-iscsi does it, but keeps what is set in it.  Returns
 * 1 where there is such a record and no other is to be made, 0 where there is none, or -errno. */
static int
take_untagged(struct nodedb *db, const struct whole_fileops *safe, struct nodedb_discovered *d,
              const struct nodedb_id *id, struct lunette_error *err)
{
    struct nodedb_id untagged = *id;
    struct nodedb_record r;
    struct portal via;
    enum nodedb_source source;
    int e;

    untagged.portal.tpgt = -1;
    if (id->portal.tpgt == -1)
        return 0;
    e = nodedb_node_exists(db, &untagged);
    if (e <= 0)
        return e < 0 ? nodedb_fault(db, err, e, "read", "nodes", id->target, NULL) : 0;
    e = nodedb_node_exists(db, id);
    if (e < 0)
        return nodedb_fault(db, err, e, "read", "nodes", id->target, NULL);
    if (e > 0) /* the one with the tag has been there before, and stays */
        return d->ops & NODEDB_OP_UPDATE ? nodedb_untagged_drop(db, id, d->in_use, d->user, err)
                                         : 0;
    if (!(d->ops & NODEDB_OP_UPDATE) || (d->in_use != NULL && d->in_use(d->user, &untagged)))
        return 1;
    e = nodedb_node_read(db, &untagged, &r, err);
    if (e < 0)
        return e;
    source = nodedb_node_source(&r, &via);
    e = nodedb_record_set_num(&r, NODEDB_NODE_TPGT, id->portal.tpgt);
    if (e < 0)
        (void)lunette_fail(err, e, LUNETTE_DOM_OS, ENOMEM, "no memory for a node's record");
    if (e == 0)
        e = nodedb_node_put(db, safe, &r, err);
    if (e == 0)
        e = nodedb_link_add(db, source, via.host[0] != '\0' ? &via : NULL, id, err);
    if (e == 0 && (e = sync_target(db, safe, id->target)) < 0)
        (void)nodedb_fault(db, err, e, "keep", "nodes", id->target, NULL);
    if (e == 0)
        e = nodedb_untagged_drop(db, id, NULL, NULL, err);
    nodedb_record_fini(&r);
    d->rewritten++;
    return e < 0 ? e : 1;
}

static int
take_one(struct nodedb *db, const struct whole_fileops *safe, struct nodedb_discovered *d,
         const struct nodedb_id *id, struct lunette_error *err)
{
    struct nodedb_record iface, r;
    bool added = false;
    int e = nodedb_check_id(id, err);

    if (e < 0)
        return e;
    e = take_untagged(db, safe, d, id, err);
    if (e != 0) {
        d->known += e > 0;
        return e < 0 ? e : 0;
    }
    e = nodedb_node_exists(db, id);
    if (e < 0)
        return nodedb_fault(db, err, e, "read", "nodes", id->target, NULL);
    if (!(d->ops & (e > 0 ? NODEDB_OP_UPDATE : NODEDB_OP_NEW)))
        return 0;
    e = nodedb_iface_read(db, id->iface, &iface, err);
    if (e < 0)
        return e;
    e = nodedb_node_init(&r, id, &iface, d->conf, err);
    nodedb_record_fini(&iface);
    if (e < 0)
        return e;
    e = nodedb_node_set_source(&r, d->source, d->via);
    if (e == 0 && d->fill != NULL)
        e = d->fill(d->fill_user, id, &r);
    if (e == 0)
        e = add_or_merge(db, safe, &r, &added, &d->rewritten, err);
    else
        (void)lunette_fail(err, e, LUNETTE_DOM_OS, ENOMEM, "no memory for a node's record");
    nodedb_record_fini(&r);
    if (e == 0 && added)
        d->added++;
    else if (e == 0)
        d->known++;
    return e;
}

/* A name that somebody else has chosen, or what stands in the place of a record, keeps no other
 * from being taken. */
static int
take_found(struct nodedb *db, const struct whole_fileops *safe, struct nodedb_discovered *d,
           const struct nodedb_id *id, struct lunette_error *err)
{
    struct lunette_error why = {.code = 0};
    int e = take_one(db, safe, d, id, &why);

    if (e < 0 && !is_fault_of_one(e))
        return lunette_fail_as(err, &why);
    if (e < 0)
        leave_out(d, &why);
    return 0;
}

int
nodedb_discovered(struct nodedb *db, struct nodedb_discovered *d, struct lunette_error *err)
{
    /* Thousands of new records, each of them synced, would take minutes.  They hold nothing that
     * the next discovery does not tell again, so that one sync at the end is enough for them. */
    const struct whole_fileops *safe = db->ops;
    struct whole_fileops lazy = *safe;
    struct drop p = {.db = db, .d = d, .err = err};
    int r = nodedb_lock(db, err), dir;

    if (r < 0)
        return r;
    /* What is wrong with all of them is no fault of each. */
    dir = nodedb_walk(db, false, "nodes", NULL, NULL);
    if (dir >= 0)
        close(dir);
    else if (dir != -ENOENT)
        r = nodedb_fault(db, err, dir, "read", "nodes", NULL, NULL);
    lazy.fsync = whole_fsync_later;
    d->added = d->known = d->removed = d->refused = d->rewritten = d->taken = 0;
    d->why = (struct lunette_error){.code = 0};
    if (d->nids > 1 || d->later)
        db->ops = &lazy;
    while (r == 0 && d->taken < d->nids &&
           (d->rewritten_max == 0 || d->rewritten < d->rewritten_max))
        r = take_found(db, safe, d, &d->ids[d->taken++], err);
    db->ops = safe;
    if (d->added > 0 && d->nids > 1 && !d->later && r == 0) {
        r = nodedb_sync(db);
        if (r < 0)
            (void)nodedb_fault(db, err, r, "keep what was found in", "nodes", NULL, NULL);
    }
    if (r == 0 && (d->ops & NODEDB_OP_DELETE))
        r = lazily(db, drop_all_stale, &p);
    nodedb_unlock(db);
    return r;
}
