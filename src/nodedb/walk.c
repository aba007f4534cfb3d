/* SPDX-License-Identifier: MIT */
/* nodedb/walk.c - visits the records of nodes, in order, with the memory for one target at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodedb/db.h"
#include "nodedb/internal.h"

/* The nodes of one target. */
struct walk_ids {
    struct nodedb_id *id;
    size_t n, room;
};

struct walk {
    struct nodedb *db;
    const struct nodedb_filter *filter;
    const struct nodedb_visitor *v;
    struct lunette_error *err;
};

static void
walk_skip(const struct walk *w, int code, const char *target, const char *portal, const char *what)
{
    struct lunette_error why = {.code = 0};

    if (w->v->skipped == NULL)
        return;
    (void)lunette_fail(&why, code, LUNETTE_DOM_OS, (uint32_t)-code, "%s/nodes/%s%s%s: %s",
                       w->db->path, target, portal != NULL ? "/" : "", portal != NULL ? portal : "",
                       what);
    w->v->skipped(w->v->user, &why);
}

static bool
walk_wants(const struct walk *w, const struct nodedb_id *id)
{
    const struct nodedb_filter *f = w->filter;

    return (f->host == NULL || strcmp(f->host, id->portal.host) == 0) &&
           (f->port == 0 || f->port == id->portal.port) &&
           (f->tpgt < 0 || f->tpgt == id->portal.tpgt) &&
           (f->iface == NULL || strcmp(f->iface, id->iface) == 0);
}

static int
walk_keep(const struct walk *w, struct walk_ids *ids, const struct nodedb_id *id)
{
    if (!walk_wants(w, id))
        return 0;
    for (size_t i = ids->n; i-- > 0;) { /* a record that is being converted stands twice */
        if (nodedb_id_same(&ids->id[i], id))
            return 0;
        if (strcmp(ids->id[i].portal.host, id->portal.host) != 0)
            break;
    }
    if (ids->n == ids->room) {
        size_t room = ids->room > 0 ? ids->room * 2 : 4;
        struct nodedb_id *more = realloc(ids->id, room * sizeof(*more));

        if (more == NULL)
            return -ENOMEM;
        ids->id = more;
        ids->room = room;
    }
    ids->id[ids->n++] = *id;
    return 0;
}

/* The directory of a portal: a file for each interface. */
static int
walk_portal(const struct walk *w, int dir, struct walk_ids *ids, struct nodedb_id *id,
            const char *portal)
{
    struct whole_names names;
    int r = whole_dir_list(dir, &names);

    if (r < 0)
        return r;
    for (size_t i = 0; i < names.n && r == 0; i++) {
        if (nodedb_check_iface(names.name[i], NULL) < 0) {
            walk_skip(w, -EINVAL, id->target, portal, "a file in it is named as no interface is");
            continue;
        }
        NODEDB_COPY(id->iface, names.name[i]);
        r = walk_keep(w, ids, id);
    }
    whole_names_free(&names);
    return r;
}

/* A file in the place of a portal's directory: the record says of which interface it is. */
static int
walk_flat(const struct walk *w, int t, struct walk_ids *ids, struct nodedb_id *id, const char *name,
          bool tagged)
{
    struct nodedb_record r;
    struct nodedb_id has;
    int e = nodedb_get(w->db, NODEDB_NODE, t, name, "nodes", id->target, name, &r);

    if (e < 0)
        return e;
    nodedb_node_id(&r, &has);
    nodedb_record_fini(&r);
    if (!tagged)
        id->portal.tpgt = has.portal.tpgt;
    NODEDB_COPY(id->iface, nodedb_check_iface(has.iface, NULL) == 0 ? has.iface : "default");
    return walk_keep(w, ids, id);
}

static int
walk_entry(const struct walk *w, int t, struct walk_ids *ids, const char *target, const char *name)
{
    struct nodedb_id id = {.portal = {.tpgt = -1}};
    bool tagged;
    int dir, r;

    NODEDB_COPY(id.target, target);
    if (nodedb_portal_of_file(name, &id.portal, &tagged) < 0) {
        walk_skip(w, -EINVAL, target, name, "that is not the name of a portal");
        return 0;
    }
    if (w->filter->host != NULL && strcmp(w->filter->host, id.portal.host) != 0)
        return 0;
    dir = whole_dir_open(w->db->ops, t, name, false);
    if (dir >= 0) {
        r = tagged ? walk_portal(w, dir, ids, &id, name) : 0;
        close(dir);
    } else if (dir == -ENOTDIR) {
        r = walk_flat(w, t, ids, &id, name, tagged);
    } else {
        r = dir;
    }
    if (r == 0 || r == -ENOMEM)
        return r;
    walk_skip(w, r, target, name, r == -ELOOP ? "a symbolic link is not followed" : errno_text(r));
    return 0;
}

static int
walk_order(const void *a, const void *b)
{
    return nodedb_id_order(a, b);
}

static int
walk_visit(const struct walk *w, const struct nodedb_id *id)
{
    struct lunette_error why = {.code = 0};
    struct nodedb_record rec;
    int r;

    if (w->filter->ids_only)
        return w->v->node(w->v->user, id, NULL);
    r = nodedb_node_read(w->db, id, &rec, &why);
    if (r == 0) {
        r = w->v->node(w->v->user, id, &rec);
        nodedb_record_fini(&rec);
        return r;
    }
    if (r == -ENOMEM)
        return lunette_fail_as(w->err, &why);
    if (r != -ENOENT && w->v->skipped != NULL) /* it may have been removed meanwhile */
        w->v->skipped(w->v->user, &why);
    return 0;
}

static int
walk_target(const struct walk *w, const char *target)
{
    int t = nodedb_walk(w->db, false, "nodes", target, NULL), r;
    struct whole_names names;
    struct walk_ids ids = {0};

    if (t < 0) {
        if (t != -ENOENT)
            walk_skip(w, t, target, NULL,
                      t == -ELOOP ? "a symbolic link is not followed" : errno_text(t));
        return 0;
    }
    r = whole_dir_list(t, &names);
    for (size_t i = 0; r == 0 && i < names.n; i++)
        r = walk_entry(w, t, &ids, target, names.name[i]);
    close(t);
    if (r < 0)
        (void)nodedb_fault(w->db, w->err, r, "read", "nodes", target, NULL);
    whole_names_free(&names);
    if (ids.n > 1)
        qsort(ids.id, ids.n, sizeof(ids.id[0]), walk_order);
    for (size_t i = 0; r == 0 && i < ids.n; i++)
        r = walk_visit(w, &ids.id[i]);
    free(ids.id);
    return r;
}

int
nodedb_targets(struct nodedb *db, struct whole_names *ret, struct lunette_error *err)
{
    int dir = nodedb_walk(db, false, "nodes", NULL, NULL), r;

    *ret = (struct whole_names){0};
    if (dir == -ENOENT)
        return 0;
    r = dir < 0 ? dir : whole_dir_list(dir, ret);
    if (dir >= 0)
        close(dir);
    return r < 0 ? nodedb_fault(db, err, r, "read", "nodes", NULL, NULL) : 0;
}

int
nodedb_nodes(struct nodedb *db, const struct nodedb_filter *filter, const struct nodedb_visitor *v,
             struct lunette_error *err)
{
    struct walk w = {.db = db, .filter = filter, .v = v, .err = err};
    struct whole_names names;
    int r;

    if (filter->target != NULL) {
        r = nodedb_check_target(filter->target, err);
        return r < 0 ? r : walk_target(&w, filter->target);
    }
    r = nodedb_targets(db, &names, err);
    for (size_t i = 0; i < names.n && r == 0; i++) {
        if (nodedb_check_target(names.name[i], NULL) < 0)
            walk_skip(&w, -EINVAL, names.name[i], NULL, "that is not the name of a target");
        else
            r = walk_target(&w, names.name[i]);
    }
    whole_names_free(&names);
    return r;
}
