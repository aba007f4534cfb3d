/* SPDX-License-Identifier: MIT */
/* nodedb/node.c - the records of nodes. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodedb/db.h"
#include "nodedb/internal.h"

#define NODES         "nodes"
#define DEFAULT_IFACE "default"

/* Where a node's record is: the file `name` of the directory dir. */
struct node_place {
    int dir;
    char name[NODEDB_FILE_NAME_MAX + 1];
    char portal[NODEDB_FILE_NAME_MAX + 1]; /* the portal's directory; "": the file is flat */
};

void
nodedb_node_id(const struct nodedb_record *r, struct nodedb_id *ret)
{
    *ret = (struct nodedb_id){.portal = {.tpgt = (int32_t)nodedb_record_num(r, NODEDB_NODE_TPGT),
                                         .port = (uint16_t)nodedb_record_num(r, NODEDB_PORT)}};
    NODEDB_COPY(ret->target, nodedb_record_text(r, NODEDB_NODE_NAME));
    NODEDB_COPY(ret->portal.host, nodedb_record_text(r, NODEDB_ADDRESS));
    NODEDB_COPY(ret->iface, nodedb_record_text(r, NODEDB_IFACE_NAME));
    if (ret->iface[0] == '\0')
        NODEDB_COPY(ret->iface, DEFAULT_IFACE);
}

/* The path says which node it is, whatever the file has to say, which may have been torn. */
static int
set_id(struct nodedb_record *r, const struct nodedb_id *id)
{
    struct nodedb_id has;
    int err = 0;

    nodedb_node_id(r, &has);
    if (strcmp(has.target, id->target) != 0)
        err = nodedb_record_set(r, NODEDB_NODE_NAME, id->target);
    if (err == 0 && (has.portal.tpgt != id->portal.tpgt || r->value[NODEDB_NODE_TPGT] == NULL))
        err = nodedb_record_set_num(r, NODEDB_NODE_TPGT, id->portal.tpgt);
    if (err == 0 && strcmp(has.portal.host, id->portal.host) != 0)
        err = nodedb_record_set(r, NODEDB_ADDRESS, id->portal.host);
    if (err == 0 && (has.portal.port != id->portal.port || r->value[NODEDB_PORT] == NULL))
        err = nodedb_record_set_num(r, NODEDB_PORT, id->portal.port);
    if (err == 0 && (strcmp(has.iface, id->iface) != 0 || r->value[NODEDB_IFACE_NAME] == NULL))
        err = nodedb_record_set(r, NODEDB_IFACE_NAME, id->iface);
    return err;
}

int
nodedb_iface_copy(struct nodedb_record *node, const struct nodedb_record *iface)
{
    int e = 0;

    for (int i = 0; i < NODEDB_KEY_COUNT && e == 0; i++) {
        if (nodedb_key(i)->where & NODEDB_IFACE)
            e = nodedb_record_set(node, i, iface->value[i]);
    }
    return e;
}

int
nodedb_node_init(struct nodedb_record *r, const struct nodedb_id *id,
                 const struct nodedb_record *iface, const struct nodedb_record *conf,
                 struct lunette_error *err)
{
    int e = nodedb_check_id(id, err);

    nodedb_record_init(r, NODEDB_NODE);
    if (e < 0)
        return e;
    if (conf != NULL)
        e = nodedb_record_take(r, conf);
    if (e == 0 && iface != NULL)
        e = nodedb_iface_copy(r, iface);
    if (e == 0)
        e = set_id(r, id);
    if (e == 0)
        return 0;
    nodedb_record_fini(r);
    return lunette_fail(err, e, LUNETTE_DOM_OS, ENOMEM, "no memory for a node's record");
}

static bool
is_kind(int dir, const char *name, mode_t kind)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* Reads the record in the flat file t/name of a portal, and tells which node it is. */
static int
get_flat(const struct nodedb *db, int t, const char *target, const char *name,
         struct nodedb_id *ret_id, struct nodedb_record *r)
{
    bool tagged;
    int e = nodedb_portal_of_file(name, &ret_id->portal, &tagged);
    struct nodedb_id has;

    nodedb_record_init(r, NODEDB_NODE);
    if (e == 0)
        e = nodedb_get(db, NODEDB_NODE, t, name, NODES, target, name, r);
    if (e < 0)
        return e;
    nodedb_node_id(r, &has);
    NODEDB_COPY(ret_id->target, target);
    if (!tagged)
        ret_id->portal.tpgt = has.portal.tpgt;
    NODEDB_COPY(ret_id->iface,
                nodedb_check_iface(has.iface, NULL) == 0 ? has.iface : DEFAULT_IFACE);
    e = set_id(r, ret_id);
    if (e < 0)
        nodedb_record_fini(r);
    return e;
}

/* Is there a flat file, with or without the tag in its name, that is this node's?  Returns 0 and
 * the name, or -errno. */
static int
find_flat(const struct nodedb *db, int t, const struct nodedb_id *id, char *ret)
{
    for (int tagged = 1; tagged >= 0; tagged--) {
        struct nodedb_record r;
        struct nodedb_id is;
        int e;

        if (nodedb_portal_file(&id->portal, tagged, ret) < 0 || !is_kind(t, ret, S_IFREG))
            continue;
        e = get_flat(db, t, id->target, ret, &is, &r);
        if (e < 0)
            return e;
        nodedb_record_fini(&r);
        if (nodedb_id_same(&is, id))
            return 0;
    }
    return -ENOENT;
}

static void
leave_place(const struct nodedb *db, struct node_place *p)
{
    if (p->dir >= 0 && p->dir != db->root)
        close(p->dir);
    p->dir = -1;
}

/* Finds a node's record.  Returns 0 and *ret, to be left by leave_place; or -errno. */
static int
find_place(const struct nodedb *db, const struct nodedb_id *id, struct node_place *ret)
{
    int t = nodedb_walk(db, false, NODES, id->target, NULL), r;

    if (t < 0)
        return t;
    *ret = (struct node_place){.dir = -1};
    r = nodedb_portal_file(&id->portal, true, ret->portal);
    if (r == 0)
        ret->dir = r = whole_dir_open(db->ops, t, ret->portal, false);
    if (r >= 0) {
        struct stat st;

        NODEDB_COPY(ret->name, id->iface);
        if (fstatat(ret->dir, ret->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            close(t);
            return 0;
        }
        close(ret->dir);
        r = -ENOENT;
    }
    if (r == -ENOENT || r == -ENOTDIR)
        r = find_flat(db, t, id, ret->name);
    if (r < 0) {
        close(t);
        ret->dir = -1;
        return r;
    }
    ret->dir = t;
    ret->portal[0] = '\0';
    return 0;
}

int
nodedb_node_exists(const struct nodedb *db, const struct nodedb_id *id)
{
    struct node_place p;
    int r = find_place(db, id, &p);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    leave_place(db, &p);
    return 1;
}

static int
node_fault(const struct nodedb *db, struct lunette_error *err, int code, const char *did,
           const struct nodedb_id *id)
{
    char portal[NODEDB_FILE_NAME_MAX + 1] = "?";

    (void)nodedb_portal_file(&id->portal, true, portal);
    if (code == -ENOENT)
        return lunette_fail(err, code, LUNETTE_DOM_NOTFOUND, 0,
                            "there is no record of %.100s at %.80s on interface %s", id->target,
                            portal, id->iface);
    return nodedb_fault(db, err, code, did, NODES, id->target, portal);
}

/* Reads the record at a place. */
static int
get_at(const struct nodedb *db, const struct node_place *p, const struct nodedb_id *id,
       struct nodedb_record *r)
{
    struct nodedb_id is;
    char place[2 * NODEDB_FILE_NAME_MAX + 2];
    int e;

    if (p->portal[0] == '\0')
        return get_flat(db, p->dir, id->target, p->name, &is, r);
    (void)snprintf(place, sizeof(place), "%s/%s", p->portal, p->name);
    e = nodedb_get(db, NODEDB_NODE, p->dir, p->name, NODES, id->target, place, r);
    if (e == 0) {
        e = set_id(r, id);
        if (e < 0)
            nodedb_record_fini(r);
    }
    return e;
}

int
nodedb_node_read(struct nodedb *db, const struct nodedb_id *id, struct nodedb_record *r,
                 struct lunette_error *err)
{
    struct node_place p;
    int e = nodedb_check_id(id, err);

    nodedb_record_init(r, NODEDB_NODE);
    if (e < 0)
        return e;
    e = find_place(db, id, &p);
    if (e == 0) {
        e = get_at(db, &p, id, r);
        leave_place(db, &p);
    }
    return e < 0 ? node_fault(db, err, e, "read", id) : 0;
}

/* Opens the place where a record of this id is to be written: where it is, if that form can hold
 * it, else where open-iscsi would look for it.  *ret_old gets a flat file that the new one
 * replaces,
 * "" for none. */
static int
open_place(const struct nodedb *db, const struct nodedb_id *id, struct node_place *ret,
           char ret_old[NODEDB_FILE_NAME_MAX + 1])
{
    char tagged[NODEDB_FILE_NAME_MAX + 1];
    int r = nodedb_portal_file(&id->portal, true, tagged);
    bool found;

    ret_old[0] = '\0';
    if (r < 0)
        return r;
    r = find_place(db, id, ret);
    if (r < 0 && r != -ENOENT)
        return r;
    found = r == 0;
    if (found &&
        (ret->portal[0] != '\0' || strcmp(ret->name, tagged) == 0 || id->portal.tpgt == -1))
        return 0;
    if (found) {
        (void)strcpy(ret_old, ret->name);
        leave_place(db, ret);
    }
    *ret = (struct node_place){.dir = -1};
    ret->dir = r = nodedb_walk(db, true, NODES, id->target, NULL);
    if (r < 0)
        return r;
    /* Without a tag open-iscsi has one file for all interfaces, and finds no other form to change
     * it.  Where that is another interface's, both are to be there all the same. */
    (void)nodedb_portal_file(&id->portal, false, ret->name);
    if (id->portal.tpgt == -1 && !is_kind(ret->dir, ret->name, S_IFREG))
        return 0;
    NODEDB_COPY(ret->portal, tagged);
    NODEDB_COPY(ret->name, id->iface);
    r = whole_dir_open(db->ops, ret->dir, tagged, true);
    close(ret->dir);
    ret->dir = r;
    return r < 0 ? r : 0;
}

static int
node_put(struct nodedb *db, const struct nodedb_record *r, struct lunette_error *err)
{
    char old[NODEDB_FILE_NAME_MAX + 1];
    struct node_place p;
    struct nodedb_id id;
    int e, t;

    nodedb_node_id(r, &id);
    e = nodedb_check_id(&id, err);
    if (e < 0)
        return e;
    e = open_place(db, &id, &p, old);
    if (e < 0)
        return node_fault(db, err, e, "write", &id);
    e = nodedb_put(db, db->ops, p.dir, p.name, r);
    leave_place(db, &p);
    if (e == 0 && old[0] != '\0') {
        t = nodedb_walk(db, false, NODES, id.target, NULL);
        if (t >= 0) {
            (void)whole_file_remove(db->ops, t, old);
            close(t);
        }
    }
    return e < 0 ? node_fault(db, err, e, "write", &id) : 0;
}

int
nodedb_node_put(struct nodedb *db, const struct whole_fileops *ops, const struct nodedb_record *r,
                struct lunette_error *err)
{
    const struct whole_fileops *was = db->ops;
    int e;

    db->ops = ops; /* also for the directories on the way to it */
    e = node_put(db, r, err);
    db->ops = was;
    return e;
}

int
nodedb_node_write(struct nodedb *db, const struct nodedb_record *r, struct lunette_error *err)
{
    enum nodedb_source source;
    struct portal via;
    struct nodedb_id id;
    int e = nodedb_lock(db, err);

    if (e < 0)
        return e;
    e = nodedb_node_put(db, db->ops, r, err);
    if (e == 0) {
        source = nodedb_node_source(r, &via);
        nodedb_node_id(r, &id);
        e = nodedb_link_add(db, source, &via, &id, err);
    }
    nodedb_unlock(db);
    return e;
}

int
nodedb_node_update(struct nodedb *db, const struct nodedb_id *id, const char *name,
                   const char *value, struct lunette_error *err)
{
    struct nodedb_record r;
    int e = nodedb_lock(db, err);

    if (e < 0)
        return e;
    e = nodedb_node_read(db, id, &r, err);
    if (e == 0) {
        e = nodedb_record_update(&r, name, value, err);
        if (e == 0)
            e = nodedb_node_put(db, db->ops, &r, err);
        nodedb_record_fini(&r);
    }
    nodedb_unlock(db);
    return e;
}

int
nodedb_node_delete(struct nodedb *db, const struct nodedb_id *id, struct lunette_error *err)
{
    char portal[NODEDB_FILE_NAME_MAX + 1];
    struct node_place p;
    int e = nodedb_check_id(id, err), t;

    if (e == 0)
        e = nodedb_lock(db, err);
    if (e < 0)
        return e;
    e = find_place(db, id, &p);
    if (e == 0) {
        e = whole_file_remove(db->ops, p.dir, p.name);
        leave_place(db, &p);
    }
    /* Also what is left of a removal that was cut short. */
    if (e == 0 || e == -ENOENT) {
        nodedb_links_remove(db, id);
        t = nodedb_walk(db, false, NODES, id->target, NULL);
        if (t >= 0) {
            if (nodedb_portal_file(&id->portal, true, portal) == 0)
                (void)db->ops->unlink(t, portal, AT_REMOVEDIR);
            close(t);
        }
        t = nodedb_walk(db, false, NODES, NULL, NULL);
        if (t >= 0) {
            (void)db->ops->unlink(t, id->target, AT_REMOVEDIR); /* stays while it holds another */
            close(t);
        }
    }
    nodedb_unlock(db);
    return e < 0 ? node_fault(db, err, e, "remove", id) : 0;
}
