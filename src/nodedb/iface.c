/* SPDX-License-Identifier: MIT */
/* nodedb/iface.c - the records of interfaces. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodedb/db.h"
#include "nodedb/internal.h"

#define IFACES "ifaces"

/* Those that mean "as the system routes it", over one transport each. */
static const struct {
    const char *name, *transport;
    bool shown;
} built_in[] = {
    {"default", "tcp", true},    {"iser", "iser", true},    {"cxgb3i", "cxgb3i", false},
    {"cxgb4i", "cxgb4i", false}, {"bnx2i", "bnx2i", false},
};

#define BUILT_INS (sizeof(built_in) / sizeof(built_in[0]))

static int
built_in_index(const char *name)
{
    for (size_t i = 0; i < BUILT_INS; i++) {
        if (strcmp(built_in[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

bool
nodedb_iface_reserved(const char *name)
{
    return built_in_index(name) >= 0;
}

static int
iface_no_memory(struct nodedb_record *r, int e, struct lunette_error *err)
{
    nodedb_record_fini(r);
    return lunette_fail(err, e, LUNETTE_DOM_OS, ENOMEM, "no memory for an interface's record");
}

int
nodedb_iface_read(struct nodedb *db, const char *name, struct nodedb_record *r,
                  struct lunette_error *err)
{
    int i = built_in_index(name), e = nodedb_check_iface(name, err), dir;

    nodedb_record_init(r, NODEDB_IFACE);
    if (e < 0)
        return e;
    if (i >= 0) {
        e = nodedb_record_set(r, NODEDB_IFACE_NAME, name);
        if (e == 0)
            e = nodedb_record_set(r, NODEDB_IFACE_TRANSPORT, built_in[i].transport);
        return e < 0 ? iface_no_memory(r, e, err) : 0;
    }
    dir = e = nodedb_walk(db, false, IFACES, NULL, NULL);
    if (dir >= 0) {
        e = nodedb_get(db, NODEDB_IFACE, dir, name, IFACES, name, NULL, r);
        close(dir);
    }
    if (e == -ENOENT)
        return lunette_fail(err, e, LUNETTE_DOM_NOTFOUND, 0, "there is no interface %s", name);
    if (e < 0)
        return nodedb_fault(db, err, e, "read", IFACES, name, NULL);
    if (strcmp(nodedb_record_text(r, NODEDB_IFACE_NAME), name) != 0)
        e = nodedb_record_set(r, NODEDB_IFACE_NAME, name);
    return e < 0 ? iface_no_memory(r, e, err) : 0;
}

int
nodedb_iface_write(struct nodedb *db, const struct nodedb_record *r, struct lunette_error *err)
{
    const char *name = nodedb_record_text(r, NODEDB_IFACE_NAME);
    int e = nodedb_check_iface(name, err), dir;

    if (e == 0 && nodedb_iface_reserved(name))
        e = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "the interface %s is built in and cannot be changed: make another one",
                         name);
    if (e == 0)
        e = nodedb_lock(db, err);
    if (e < 0)
        return e;
    dir = e = nodedb_walk(db, true, IFACES, NULL, NULL);
    if (dir >= 0) {
        e = nodedb_put(db, db->ops, dir, name, r);
        close(dir);
    }
    nodedb_unlock(db);
    return e < 0 ? nodedb_fault(db, err, e, "write", IFACES, name, NULL) : 0;
}

/* Copies the record of an interface to that of a node. */
static int
iface_follow_one(struct nodedb *db, const struct nodedb_record *iface, struct nodedb_record *node,
                 struct lunette_error *err)
{
    int e = nodedb_iface_copy(node, iface);

    return e < 0 ? lunette_fail(err, e, LUNETTE_DOM_OS, ENOMEM, "no memory for a record")
                 : nodedb_node_put(db, db->ops, node, err);
}

int
nodedb_iface_follow(struct nodedb *db, const char *name, const struct nodedb_id *ids, size_t nids,
                    struct lunette_error *err)
{
    struct nodedb_record iface, node;
    int e = nodedb_lock(db, err);

    if (e < 0)
        return e;
    e = nodedb_iface_read(db, name, &iface, err);
    for (size_t i = 0; e == 0 && i < nids; i++) {
        if (nodedb_node_read(db, &ids[i], &node, NULL) < 0)
            continue;
        e = iface_follow_one(db, &iface, &node, err);
        nodedb_record_fini(&node);
    }
    nodedb_record_fini(&iface);
    nodedb_unlock(db);
    return e;
}

int
nodedb_iface_drop(struct nodedb *db, const char *name, struct lunette_error *err)
{
    int e = nodedb_check_iface(name, err), dir;

    if (e == 0 && nodedb_iface_reserved(name))
        e = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "the interface %s is built in and cannot be removed", name);
    if (e == 0)
        e = nodedb_lock(db, err);
    if (e < 0)
        return e;
    dir = nodedb_walk(db, false, IFACES, NULL, NULL);
    e = dir < 0 ? dir : whole_file_remove(db->ops, dir, name);
    if (e == -ENOENT)
        (void)lunette_fail(err, e, LUNETTE_DOM_NOTFOUND, 0, "there is no interface %s", name);
    else if (e < 0)
        (void)nodedb_fault(db, err, e, "remove", IFACES, name, NULL);
    if (dir >= 0)
        close(dir);
    nodedb_unlock(db);
    return e;
}

int
nodedb_ifaces(struct nodedb *db, int (*iface)(void *user, struct nodedb_record *r), void *user,
              struct lunette_error *err)
{
    int dir = nodedb_walk(db, false, IFACES, NULL, NULL), e = 0;
    struct whole_names names = {0};
    struct nodedb_record r;

    if (dir >= 0) {
        e = whole_dir_list(dir, &names);
        close(dir);
    } else if (dir != -ENOENT) {
        e = dir;
    }
    if (e < 0)
        return nodedb_fault(db, err, e, "read", IFACES, NULL, NULL);
    for (size_t i = 0; i < names.n + BUILT_INS && e == 0; i++) {
        const char *name = i < names.n ? names.name[i] : built_in[i - names.n].name;

        /* open-iscsi installs an example beside them; a file with a reserved name means nothing */
        if (i < names.n ? strcmp(name, "iface.example") == 0 || nodedb_iface_reserved(name)
                        : !built_in[i - names.n].shown)
            continue;
        e = nodedb_iface_read(db, name, &r, err);
        if (e == 0)
            e = iface(user, &r);
        else if (e != -ENOMEM)
            e = 0; /* what is no record is left out */
        nodedb_record_fini(&r);
    }
    whole_names_free(&names);
    return e;
}

int
nodedb_iface_device(const char *sys_net, const char *hwaddress, char ret[16],
                    struct lunette_error *err)
{
    int dir = open(sys_net, O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = -ENODEV;
    struct whole_names names = {0};

    if (dir >= 0 && whole_dir_list(dir, &names) < 0)
        names.n = 0;
    for (size_t i = 0; i < names.n && e < 0; i++) {
        char path[64], text[64] = "";
        ssize_t n;
        int fd;

        if (strlen(names.name[i]) >= 16)
            continue;
        (void)snprintf(path, sizeof(path), "%s/address", names.name[i]);
        fd = openat(dir, path, O_RDONLY | O_CLOEXEC); /* the devices are links in /sys */
        if (fd < 0)
            continue;
        n = read(fd, text, sizeof(text) - 1);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        if (strcasecmp(text, hwaddress) == 0) {
            (void)strcpy(ret, names.name[i]);
            e = 0;
        }
    }
    whole_names_free(&names);
    if (dir >= 0)
        close(dir);
    return e < 0 ? lunette_fail(err, e, LUNETTE_DOM_NOTFOUND, 0,
                                "no network device has the hardware address %.60s", hwaddress)
                 : 0;
}
