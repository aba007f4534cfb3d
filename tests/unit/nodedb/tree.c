/* SPDX-License-Identifier: MIT */
#include "tests/unit/nodedb/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int
no_sync(int fd)
{
    (void)fd;
    return 0;
}

/* Ten thousand records, made and removed on a busy disk, take minutes. */
static bool
roomy(const char *path)
{
    struct statvfs st;

    return statvfs(path, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize >= 256u << 20 &&
           st.f_favail >= 100000 && access(path, W_OK) == 0;
}

int
tree_setup(void **state)
{
    static struct whole_fileops quick;

    struct tree *t = calloc(1, sizeof(*t));
    struct nodedb_config cfg = {0};
    struct lunette_error err = LUNETTE_INIT(err);

    assert_non_null(t);
    (void)snprintf(t->dir, sizeof(t->dir), "%s/nodedb.XXXXXX",
                   roomy("/dev/shm") ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(t->dir));
    (void)snprintf(t->root, sizeof(t->root), "%s/iscsi", t->dir);
    (void)snprintf(t->locks, sizeof(t->locks), "%s/run/lock/iscsi", t->dir);
    quick = whole_fileops_libc;
    quick.fsync = quick.syncfs = no_sync;
    cfg.ops = &quick;
    cfg.root = t->root;
    cfg.lock_dir = t->locks;
    assert_int_equal(nodedb_open(&cfg, &t->db, &err), 0);
    *state = t;
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int
tree_teardown(void **state)
{
    struct tree *t = *state;

    nodedb_close(&t->db);
    (void)nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(t);
    return 0;
}

static void
path_of(const struct tree *t, const char *path, char ret[1024])
{
    assert_true(snprintf(ret, 1024, "%s/%s", t->root, path) < 1024);
}

void
tree_put_bytes(const struct tree *t, const char *path, const void *text, size_t len)
{
    char full[1024];
    int fd;

    path_of(t, path, full);
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

void
tree_put(const struct tree *t, const char *path, const char *text)
{
    tree_put_bytes(t, path, text, strlen(text));
}

char *
tree_get(const struct tree *t, const char *path)
{
    char full[1024], *text = calloc(1, 65536);
    int fd;

    path_of(t, path, full);
    fd = open(full, O_RDONLY);
    assert_non_null(text);
    if (fd < 0) {
        free(text);
        return NULL;
    }
    assert_true(read(fd, text, 65535) >= 0);
    close(fd);
    return text;
}

bool
tree_has(const struct tree *t, const char *path)
{
    char full[1024];
    struct stat st;

    path_of(t, path, full);
    return lstat(full, &st) == 0;
}

unsigned
tree_count(const struct tree *t, const char *path)
{
    char full[1024];
    struct dirent *e;
    unsigned n = 0;
    DIR *d;

    path_of(t, path, full);
    d = opendir(full);
    while (d != NULL && (e = readdir(d)) != NULL)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d != NULL)
        closedir(d);
    return n;
}

struct nodedb_id
tree_id(const char *target, const char *host, int port, int tpgt, const char *iface)
{
    struct nodedb_id id = {.portal = {.port = (uint16_t)port, .tpgt = tpgt}};

    (void)snprintf(id.target, sizeof(id.target), "%s", target);
    (void)snprintf(id.portal.host, sizeof(id.portal.host), "%s", host);
    (void)snprintf(id.iface, sizeof(id.iface), "%s", iface);
    return id;
}

void
tree_add(const struct tree *t, const struct nodedb_id *id)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record iface, r;

    if (nodedb_iface_read(t->db, id->iface, &iface, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(nodedb_node_init(&r, id, &iface, NULL, &err), 0);
    if (nodedb_node_write(t->db, &r, &err) < 0)
        fail_msg("%s", err.msg);
    nodedb_record_fini(&r);
    nodedb_record_fini(&iface);
}

int
tree_iface(struct nodedb *db, const char *name, const char *key, const char *value,
           struct lunette_error *err)
{
    struct nodedb_record r;
    int e = nodedb_iface_read(db, name, &r, err);

    if (e == -ENOENT)
        e = nodedb_record_set(&r, NODEDB_IFACE_NAME, name);
    if (e == 0 && key != NULL)
        e = nodedb_record_update(&r, key, value, err);
    if (e == 0)
        e = nodedb_iface_write(db, &r, err);
    nodedb_record_fini(&r);
    return e;
}
