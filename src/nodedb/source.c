/* SPDX-License-Identifier: MIT */
/* nodedb/source.c - where nodes have come from: the links to them. */
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

static const char *const source_dir[] = {
    [NODEDB_BY_SENDTARGETS] = "send_targets",
    [NODEDB_BY_ISNS] = "isns",
    [NODEDB_BY_STATIC] = "static",
    [NODEDB_BY_FW] = "fw",
};

/* As node.discovery_type has them. */
static const char *const source_word[] = {
    [NODEDB_BY_SENDTARGETS] = "send_targets",
    [NODEDB_BY_ISNS] = "isns",
    [NODEDB_BY_STATIC] = "static",
    [NODEDB_BY_FW] = "fw",
};

static bool
has_portal(enum nodedb_source source)
{
    return source == NODEDB_BY_SENDTARGETS || source == NODEDB_BY_ISNS;
}

int
nodedb_node_set_source(struct nodedb_record *r, enum nodedb_source source, const struct portal *via)
{
    int e = nodedb_record_set(r, NODEDB_DISC_TYPE, source_word[source]);

    if (e == 0)
        e = nodedb_record_set(r, NODEDB_DISC_ADDRESS, via != NULL ? via->host : NULL);
    return e < 0 ? e : nodedb_record_set_num(r, NODEDB_DISC_PORT, via != NULL ? via->port : 0);
}

enum nodedb_source
nodedb_node_source(const struct nodedb_record *r, struct portal *ret_via)
{
    char buf[NODEDB_VALUE_MAX + 1];
    const char *word = nodedb_record_get(r, NODEDB_DISC_TYPE, buf, NULL);

    *ret_via =
        (struct portal){.port = (uint16_t)nodedb_record_num(r, NODEDB_DISC_PORT), .tpgt = -1};
    NODEDB_COPY(ret_via->host, nodedb_record_text(r, NODEDB_DISC_ADDRESS));
    for (int i = NODEDB_BY_SENDTARGETS; i <= NODEDB_BY_FW; i++) {
        if (strcmp(word, source_word[i]) == 0)
            return i;
    }
    return NODEDB_BY_SENDTARGETS; /* offload_send_targets */
}

/* Opens the directory that holds the links of a source. */
static int
open_source(struct nodedb *db, enum nodedb_source source, const struct portal *via, bool make)
{
    char portal[NODEDB_FILE_NAME_MAX + 1];

    if (!has_portal(source))
        return nodedb_walk(db, make, source_dir[source], NULL, NULL);
    if (via == NULL || via->port == 0 || nodedb_check_host(via->host, NULL) < 0 ||
        nodedb_portal_file(via, false, portal) < 0)
        return -EINVAL;
    return nodedb_walk(db, make, source_dir[source], portal, NULL);
}

int
nodedb_link_add(struct nodedb *db, enum nodedb_source source, const struct portal *via,
                const struct nodedb_id *id, struct lunette_error *err)
{
    char name[NODEDB_FILE_NAME_MAX + 1], portal[NODEDB_FILE_NAME_MAX + 1];
    char to[sizeof(db->path) + 2 * (NODEDB_FILE_NAME_MAX + 1) + 16];
    int dir, r = 0;

    /* A flat record has no link in open-iscsi, and a discovery that is not told no record to link
     * from.  Where the name is too long for a link, the record names its source all the same. */
    if ((id->portal.tpgt < 0 && !has_portal(source)) || nodedb_link_file(id, name) < 0 ||
        nodedb_portal_file(&id->portal, id->portal.tpgt >= 0, portal) < 0)
        return 0;
    dir = open_source(db, source, via, true);
    if (dir == -EINVAL && has_portal(source))
        return 0;
    if (dir < 0)
        return nodedb_fault(db, err, dir, "make the directory", source_dir[source], NULL, NULL);
    (void)snprintf(to, sizeof(to), "%s/nodes/%s/%s", db->path, id->target, portal);
    if (db->ops->symlink(to, dir, name) == 0)
        r = whole_file_sync(db->ops, dir);
    else if (errno != EEXIST)
        r = -errno;
    if (r < 0)
        (void)nodedb_fault(db, err, r, "make the link", source_dir[source], name, NULL);
    close(dir);
    return r;
}

/* Removes a link: only a link, whatever else may have that name. */
static void
unlink_link(struct nodedb *db, int dir, const char *name)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        (void)db->ops->unlink(dir, name, 0);
}

void
nodedb_link_remove(struct nodedb *db, enum nodedb_source source, const struct portal *via,
                   const struct nodedb_id *id)
{
    char name[NODEDB_FILE_NAME_MAX + 1];
    int dir;

    if (nodedb_link_file(id, name) < 0)
        return;
    dir = open_source(db, source, via, false);
    if (dir < 0)
        return;
    unlink_link(db, dir, name);
    close(dir);
}

void
nodedb_links_remove(struct nodedb *db, const struct nodedb_id *id)
{
    char name[NODEDB_FILE_NAME_MAX + 1];

    if (nodedb_link_file(id, name) < 0)
        return;
    for (int s = NODEDB_BY_SENDTARGETS; s <= NODEDB_BY_FW; s++) {
        int dir = nodedb_walk(db, false, source_dir[s], NULL, NULL);
        struct whole_names names = {0};

        if (dir < 0)
            continue;
        unlink_link(db, dir, name); /* old trees have those of iSNS here, too */
        if (has_portal(s) && whole_dir_list(dir, &names) == 0) {
            for (size_t i = 0; i < names.n; i++) {
                int sub = whole_dir_open(db->ops, dir, names.name[i], false);

                if (sub >= 0) {
                    unlink_link(db, sub, name);
                    close(sub);
                }
            }
        }
        whole_names_free(&names);
        close(dir);
    }
}

int
nodedb_found(struct nodedb *db, enum nodedb_source source, const struct portal *via,
             int (*node)(void *user, const struct nodedb_id *id), void *user,
             struct lunette_error *err)
{
    int dir = open_source(db, source, via, false), r;
    struct whole_names names;

    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return nodedb_fault(db, err, dir, "read", source_dir[source], NULL, NULL);
    r = whole_dir_list(dir, &names);
    close(dir);
    if (r < 0)
        return nodedb_fault(db, err, r, "read", source_dir[source], NULL, NULL);
    for (size_t i = 0; i < names.n && r == 0; i++) {
        struct nodedb_id id;

        if (nodedb_id_of_link(names.name[i], &id) == 0)
            r = node(user, &id);
    }
    whole_names_free(&names);
    return r;
}
