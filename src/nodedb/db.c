/* SPDX-License-Identifier: MIT */
/* nodedb/db.c - the directory of records, and what all kinds of records have in common. */
#include "nodedb/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodedb/internal.h"

static const char *
fault_advice(int code)
{
    switch (-code) {
    case EACCES:
    case EPERM:
    case EROFS:
        return "; see that the records may be written, or choose another root";
    case ENOSPC:
    case EDQUOT:
        return "; it is as it was before: make room and try again";
    case ELOOP:
        return "; links among records are not followed: put the file itself there";
    default:
        return "";
    }
}

int
nodedb_fault(const struct nodedb *db, struct lunette_error *err, int code, const char *did,
             const char *a, const char *b, const char *c)
{
    const char *what = code == -ELOOP ? "it is a symbolic link" : errno_text(code);

    return lunette_fail(err, code, LUNETTE_DOM_OS, (uint32_t)-code,
                        "cannot %s %s%s%s%s%s%s%s: %s%s", did, db->path, a != NULL ? "/" : "",
                        a != NULL ? a : "", b != NULL ? "/" : "", b != NULL ? b : "",
                        c != NULL ? "/" : "", c != NULL ? c : "", what, fault_advice(code));
}

int
nodedb_walk(const struct nodedb *db, bool make, const char *a, const char *b, const char *c)
{
    const char *part[] = {a, b, c};
    int dir = db->root;

    for (size_t i = 0; i < 3 && part[i] != NULL; i++) {
        int next = whole_dir_open(db->ops, dir, part[i], make);

        if (dir != db->root)
            close(dir);
        if (next < 0)
            return next;
        dir = next;
    }
    return dir;
}

int
nodedb_put(struct nodedb *db, const struct whole_fileops *ops, int dir, const char *name,
           const struct nodedb_record *r)
{
    char *text = NULL;
    size_t len;
    int err = nodedb_record_format(r, NODEDB_FORM_FILE, &text, &len);

    if (err == 0)
        err = whole_file_replace(ops, db->root, dir, name, text, len);
    nodedb_text_free(&text);
    return err;
}

int
nodedb_get(const struct nodedb *db, enum nodedb_kind kind, int dir, const char *name, const char *a,
           const char *b, const char *c, struct nodedb_record *r)
{
    char *text = NULL, origin[sizeof(db->path) + 3 * (NODEDB_FILE_NAME_MAX + 1)];
    size_t len;
    int err = whole_file_read(dir, name, &text, &len);

    nodedb_record_init(r, kind);
    if (err < 0)
        return err;
    (void)snprintf(origin, sizeof(origin), "%s/%s/%s%s%s", db->path, a, b, c != NULL ? "/" : "",
                   c != NULL ? c : "");
    err = nodedb_record_parse(r, text, len, origin);
    nodedb_text_free(&text);
    if (err < 0)
        nodedb_record_fini(r);
    return err;
}

int
nodedb_sync_open(const struct nodedb *db, int ret[NODEDB_SYNC_MAX])
{
    static const char *const dirs[] = {NULL,     "nodes", "send_targets", "isns",
                                       "static", "fw",    "ifaces"};
    dev_t seen[NODEDB_SYNC_MAX];
    int n = 0, r = 0;

    _Static_assert(sizeof(dirs) / sizeof(dirs[0]) == NODEDB_SYNC_MAX, "one for each directory");
    for (size_t i = 0; r == 0 && i < NODEDB_SYNC_MAX; i++) {
        int fd = dirs[i] == NULL ? fcntl(db->root, F_DUPFD_CLOEXEC, 3)
                                 : nodedb_walk(db, false, dirs[i], NULL, NULL);
        struct stat st;
        int k = 0;

        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
            continue; /* nothing was written there */
        if (fd < 0 || fstat(fd, &st) < 0) {
            r = fd < -1 ? fd : -errno;
        } else {
            while (k < n && seen[k] != st.st_dev)
                k++;
        }
        if (r == 0 && k == n) {
            seen[n] = st.st_dev;
            ret[n++] = fd;
        } else if (fd >= 0) {
            close(fd);
        }
    }
    while (r < 0 && n > 0)
        close(ret[--n]);
    return r < 0 ? r : n;
}

int
nodedb_sync(const struct nodedb *db)
{
    int fd[NODEDB_SYNC_MAX], n = nodedb_sync_open(db, fd), r = n < 0 ? n : 0;

    for (int i = 0; i < n; i++) {
        if (db->ops->syncfs(fd[i]) < 0 && r == 0)
            r = -errno;
        close(fd[i]);
    }
    return r;
}

static int
make_root(const char *path, struct lunette_error *err)
{
    char part[PATH_MAX];

    if (path[0] == '\0' || strlen(path) >= sizeof(part))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the directory of the records has no name, or one that is too long");
    (void)strcpy(part, path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(part, 0755);
        *slash = '/';
    }
    if (mkdir(part, 0700) < 0 && errno != EEXIST)
        return lunette_fail(err, -errno, LUNETTE_DOM_OS, (uint32_t)errno, "cannot make %s: %s",
                            path, errno_text(errno));
    return 0;
}

int
nodedb_open(const struct nodedb_config *cfg, struct nodedb **ret, struct lunette_error *err)
{
    struct nodedb *db;
    int r = make_root(cfg->root, err);

    if (r < 0)
        return r;
    db = calloc(1, sizeof(*db));
    if (db == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the records");
    db->lock.dir = db->lock.fd = -1;
    db->ops = cfg->ops != NULL ? cfg->ops : &whole_fileops_libc;
    db->lock_wait_ms = cfg->lock_wait_ms;
    /* The root itself may be a link, which only its owner can have made. */
    db->root = open(cfg->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (db->root < 0 || realpath(cfg->root, db->path) == NULL) {
        r = lunette_fail(err, -errno, LUNETTE_DOM_OS, (uint32_t)errno,
                         "cannot open the records in %s: %s", cfg->root, errno_text(errno));
        nodedb_close(&db);
        return r;
    }
    r = nodedb_lock_open(&db->lock, cfg->lock_dir, err);
    if (r < 0) {
        nodedb_close(&db);
        return r;
    }
    *ret = db;
    return 0;
}

void
nodedb_close(struct nodedb **db)
{
    if (*db == NULL)
        return;
    nodedb_lock_close(&(*db)->lock);
    if ((*db)->root >= 0)
        close((*db)->root);
    free(*db);
    *db = NULL;
}

int
nodedb_lock(struct nodedb *db, struct lunette_error *err)
{
    return nodedb_lock_take(&db->lock, db->lock_wait_ms, err);
}

int
nodedb_lock_busy(const struct nodedb *db, uint32_t waited_ms, struct lunette_error *err)
{
    return nodedb_lock_tell(&db->lock, waited_ms, err);
}

void
nodedb_unlock(struct nodedb *db)
{
    nodedb_lock_drop(&db->lock);
}
