/* SPDX-License-Identifier: MIT */
#include "iscsid/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_MARK  ".iscsid-tree" /* a directory with it is a tree of ours */
#define TREE_TMP   ".tmp"
#define TREE_PATH  512
#define TREE_DEPTH 32

struct tree {
    int root, tmp;
    const char *const *dirs;
    char path[4096]; /* of the root, for errors */
};

/* ---- sets ----------------------------------------------------------------------------------- */

void
tree_put(struct tree_set *s, int kind, const char *text, const char *fmt, ...)
{
    size_t room = s->room > 0 ? 2 * s->room : 96;
    struct tree_entry *e = s->entries;
    char path[TREE_PATH];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    if (s->n == s->room) {
        e = realloc(s->entries, room * sizeof(*e));
        if (e != NULL) {
            s->entries = e;
            s->room = room;
        }
    }
    if (e == NULL || n >= (int)sizeof(path)) {
        s->failed = true;
        return;
    }
    e += s->n;
    *e = (struct tree_entry){.path = strdup(path), .text = strdup(text), .kind = kind};
    if (e->path == NULL || e->text == NULL) {
        free(e->path);
        free(e->text);
        s->failed = true;
        return;
    }
    s->n++;
    s->ordered = false;
}

void
tree_set_fini(struct tree_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->entries[i].kind == TREE_SECRET && s->entries[i].text != NULL)
            explicit_bzero(s->entries[i].text, strlen(s->entries[i].text));
        free(s->entries[i].path);
        free(s->entries[i].text);
    }
    free(s->entries);
    *s = (struct tree_set){.n = 0};
}

static int
entry_order(const void *a, const void *b)
{
    return strcmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

static void
set_order(struct tree_set *s)
{
    if (!s->ordered && s->n > 1)
        qsort(s->entries, s->n, sizeof(s->entries[0]), entry_order);
    s->ordered = true;
}

static const struct tree_entry *
set_find(const struct tree_set *s, const char *path)
{
    const struct tree_entry key = {.path = (char *)(uintptr_t)path};

    return s->n > 0 ? bsearch(&key, s->entries, s->n, sizeof(key), entry_order) : NULL;
}

/* Is path before what is below dir[0..len), below it, or behind that?  <0, 0, >0. */
static int
below_order(const char *path, const char *dir, size_t len)
{
    int r = strncmp(path, dir, len);

    return r != 0 ? r : (int)(unsigned char)path[len] - '/';
}

static bool
is_below(const char *path, const char *dir, size_t len)
{
    return below_order(path, dir, len) == 0;
}

/* The first entry that is not before what is below dir[0..len); all that is below follows it. */
static size_t
set_first_below(const struct tree_set *s, const char *dir, size_t len)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (below_order(s->entries[mid].path, dir, len) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool
set_has_below(const struct tree_set *s, const char *dir, size_t len)
{
    size_t i = set_first_below(s, dir, len);

    return i < s->n && is_below(s->entries[i].path, dir, len);
}

static bool
tree_stays(const struct tree *t, const char *dir, size_t len)
{
    for (const char *const *d = t->dirs; *d != NULL; d++)
        if (strlen(*d) == len && memcmp(*d, dir, len) == 0)
            return true;
    return false;
}

/* The length of the first directory on the path that does not stay, and below which `other` has
 * nothing; 0: there is none. */
static size_t
tree_own_dir(const struct tree *t, const struct tree_set *other, const char *path)
{
    for (const char *p = path; (p = strchr(p, '/')) != NULL; p++) {
        size_t len = (size_t)(p - path);

        if (!tree_stays(t, path, len) && !set_has_below(other, path, len))
            return len;
    }
    return 0;
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Removes name in dir, with all that is below; links are removed, not followed. */
static void
remove_all(int dir, const char *name, int depth)
{
    struct dirent *e;
    DIR *d;
    int fd;

    if (unlinkat(dir, name, 0) == 0 || depth == 0)
        return;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove_all(fd, e->d_name, depth - 1);
    (void)closedir(d);
    (void)unlinkat(dir, name, AT_REMOVEDIR);
}

/* Writes a file or link that is not there yet. */
static int
write_entry(int dir, const char *name, const struct tree_entry *e)
{
    size_t len = strlen(e->text);
    int fd, r = 0;

    if (e->kind == TREE_LINK)
        return symlinkat(e->text, dir, name) < 0 ? -errno : 0;
    fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < len && r == 0;) {
        ssize_t n = write(fd, e->text + at, len - at);

        if (n <= 0)
            r = n < 0 ? -errno : -EIO;
        else
            at += (size_t)n;
    }
    if (e->kind != TREE_SECRET && r == 0 && fchmod(fd, 0644) < 0)
        r = -errno;
    (void)close(fd);
    return r;
}

/* Makes the directories of path[0..) up to its last slash, below dir; those that are there are no
 * error. */
static int
make_parents(int dir, const char *path)
{
    char copy[TREE_PATH];

    (void)snprintf(copy, sizeof(copy), "%s", path);
    for (char *p = copy; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        if (mkdirat(dir, copy, 0755) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return 0;
}

/* Puts what stands at tmp/name in the place of path. */
static int
tree_move_in(const struct tree *t, const char *name, const char *path)
{
    if (renameat2(t->tmp, name, t->root, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (renameat2(t->tmp, name, t->root, path, RENAME_EXCHANGE) < 0)
        return -errno;
    remove_all(t->tmp, name, TREE_DEPTH);
    return 0;
}

/* Builds the directory path[0..len) of all that the set has below it, and puts it in its place. */
static int
tree_add_dir(const struct tree *t, struct tree_set *now, const char *path, size_t len)
{
    char dir[TREE_PATH];
    int r = 0, fd;

    (void)snprintf(dir, sizeof(dir), "%.*s", (int)len, path);
    remove_all(t->tmp, "new", TREE_DEPTH);
    if (mkdirat(t->tmp, "new", 0755) < 0)
        return -errno;
    fd = openat(t->tmp, "new", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t i = set_first_below(now, dir, len); i < now->n && r == 0; i++) {
        struct tree_entry *e = &now->entries[i];

        if (!is_below(e->path, dir, len))
            break;
        r = make_parents(fd, e->path + len + 1);
        if (r == 0)
            r = write_entry(fd, e->path + len + 1, e);
        e->done = true;
    }
    (void)close(fd);
    return r < 0 ? r : tree_move_in(t, "new", dir);
}

static int
tree_add(const struct tree *t, const struct tree_set *old, struct tree_set *now,
         struct tree_entry *e)
{
    const struct tree_entry *was = e->done ? NULL : set_find(old, e->path);
    size_t len;
    int r;

    if (e->done || (was != NULL && was->kind == e->kind && strcmp(was->text, e->text) == 0))
        return 0;
    len = tree_own_dir(t, old, e->path);
    if (len > 0)
        return tree_add_dir(t, now, e->path, len);
    remove_all(t->tmp, "new", TREE_DEPTH);
    r = write_entry(t->tmp, "new", e);
    return r < 0 ? r : tree_move_in(t, "new", e->path);
}

static void
tree_remove(const struct tree *t, const struct tree_set *now, const char *path)
{
    size_t len = tree_own_dir(t, now, path);
    char what[TREE_PATH];

    (void)snprintf(what, sizeof(what), "%.*s", len > 0 ? (int)len : (int)strlen(path), path);
    remove_all(t->tmp, "old", TREE_DEPTH);
    if (renameat(t->root, what, t->tmp, "old") == 0)
        remove_all(t->tmp, "old", TREE_DEPTH);
}

/* Below class and bus are links to the rest. */
static bool
is_way_in(const char *path)
{
    return strncmp(path, "class/", 6) == 0 || strncmp(path, "bus/", 4) == 0;
}

int
tree_change(struct tree *t, struct tree_set *old, struct tree_set *now, struct lunette_error *err)
{
    static const struct tree_set nothing;
    const struct tree_set *there = old->doubted ? &nothing : old;
    int r = 0;

    if (now->failed) {
        old->doubted = true;
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for what is below %s",
                            t->path);
    }
    set_order(old);
    set_order(now);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < old->n; i++)
            if (is_way_in(old->entries[i].path) == (pass == 0) &&
                set_find(now, old->entries[i].path) == NULL)
                tree_remove(t, now, old->entries[i].path);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < now->n && r == 0; i++)
            if (is_way_in(now->entries[i].path) == (pass == 1))
                r = tree_add(t, there, now, &now->entries[i]);
    old->doubted = r < 0;
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot write below %s: %s",
                            t->path, errno_text(r));
    return 0;
}

void
tree_sweep(struct tree *t, bool (*known)(void *user, const char *name), void *user)
{
    char path[TREE_PATH];

    for (const char *const *dir = t->dirs; *dir != NULL; dir++) {
        int fd = openat(t->root, *dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *e;

        while (d != NULL && (e = readdir(d)) != NULL) {
            int n = snprintf(path, sizeof(path), "%s/%s", *dir, e->d_name);

            if (e->d_name[0] == '.' || n >= (int)sizeof(path) || tree_stays(t, path, (size_t)n) ||
                known(user, e->d_name))
                continue;
            remove_all(t->tmp, "old", TREE_DEPTH);
            if (renameat(t->root, path, t->tmp, "old") == 0)
                remove_all(t->tmp, "old", TREE_DEPTH);
        }
        if (d != NULL)
            (void)closedir(d);
        else if (fd >= 0)
            (void)close(fd);
    }
}

bool
tree_is_written(const struct tree *t, const char *path)
{
    struct stat st;

    return fstatat(t->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_size > 0;
}

void
tree_rewind(struct tree *t, const char *path)
{
    struct tree_entry e = {.text = (char[]){""}, .kind = TREE_FILE};

    remove_all(t->tmp, "new", TREE_DEPTH);
    if (write_entry(t->tmp, "new", &e) == 0)
        (void)tree_move_in(t, "new", path);
}

/* ---- opening -------------------------------------------------------------------------------- */

/* Is it ours, or empty? */
static int
tree_check(const struct tree *t, struct lunette_error *err)
{
    int fd = openat(t->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    bool any = false, ours = faccessat(t->root, TREE_MARK, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    struct dirent *e;
    struct stat st;

    if (d == NULL || fstat(t->root, &st) < 0) {
        if (d != NULL)
            (void)closedir(d);
        else if (fd >= 0)
            (void)close(fd);
        return lunette_fail(err, -EIO, LUNETTE_DOM_OS, EIO, "%s cannot be read", t->path);
    }
    while ((e = readdir(d)) != NULL)
        any |= strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(d);
    if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return lunette_fail(err, -EPERM, LUNETTE_DOM_USAGE, 0,
                            "%s is not iscsid's alone: give --sysfs a directory of its user that "
                            "nobody else may write to",
                            t->path);
    if (any && !ours)
        return lunette_fail(err, -ENOTEMPTY, LUNETTE_DOM_USAGE, 0,
                            "%s holds something that iscsid has not made; give an empty "
                            "directory to --sysfs",
                            t->path);
    fd = openat(t->root, TREE_MARK, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return lunette_fail(err, -errno, LUNETTE_DOM_OS, (uint32_t)errno, "cannot write to %s: %s",
                            t->path, errno_text(errno));
    (void)close(fd);
    return 0;
}

/* Makes a directory that stays.  What is there instead, such as a link, leads elsewhere. */
static int
tree_make_dir(const struct tree *t, const char *dir)
{
    struct stat st;

    if (mkdirat(t->root, dir, 0755) == 0)
        return 0;
    if (errno != EEXIST || fstatat(t->root, dir, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int
tree_make_dirs(struct tree *t, struct lunette_error *err)
{
    int r = 0;

    remove_all(t->root, TREE_TMP, TREE_DEPTH);
    if (mkdirat(t->root, TREE_TMP, 0700) < 0)
        r = -errno;
    for (const char *const *d = t->dirs; *d != NULL && r == 0; d++)
        r = tree_make_dir(t, *d);
    if (r == 0)
        t->tmp = openat(t->root, TREE_TMP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r == 0 && t->tmp < 0)
        r = -errno;
    return r < 0 ? lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                                "cannot make directories in %s: %s", t->path, errno_text(r))
                 : 0;
}

int
tree_open(const char *path, const char *const *dirs, struct tree **ret, struct lunette_error *err)
{
    struct tree *t = calloc(1, sizeof(*t));
    int r = 0;

    if (t == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    t->dirs = dirs;
    t->tmp = -1;
    (void)snprintf(t->path, sizeof(t->path), "%s", path);
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        r = -errno;
    t->root = r == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (r == 0 && t->root < 0)
        r = -errno;
    if (r < 0)
        (void)lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s cannot be opened: %s", path,
                           errno_text(r));
    if (r == 0)
        r = tree_check(t, err);
    if (r == 0)
        r = tree_make_dirs(t, err);
    if (r < 0)
        tree_close(&t);
    *ret = t;
    return r;
}

void
tree_close(struct tree **tree)
{
    struct tree *t = *tree;

    if (t == NULL)
        return;
    *tree = NULL;
    if (t->tmp >= 0)
        (void)close(t->tmp);
    if (t->root >= 0)
        (void)close(t->root);
    free(t);
}
