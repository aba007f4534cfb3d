/* SPDX-License-Identifier: MIT */
#include "base/whole_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
libc_openat(int dir, const char *name, int flags, mode_t mode)
{
    return openat(dir, name, flags, mode);
}

const struct whole_fileops whole_fileops_libc = {
    .open = libc_openat,
    .write = write,
    .fsync = fsync,
    .syncfs = syncfs,
    .rename = renameat,
    .unlink = unlinkat,
    .mkdir = mkdirat,
    .symlink = symlinkat,
};

int
whole_file_sync(const struct whole_fileops *ops, int fd)
{
    int r;

    do
        r = ops->fsync(fd);
    while (r < 0 && errno == EINTR);
    /* Some file systems have nothing to sync of a directory, and say so. */
    return r < 0 && errno != EINVAL && errno != EROFS ? -errno : 0;
}

int
whole_fsync_later(int fd)
{
    (void)fd;
    return 0;
}

int
whole_dir_open(const struct whole_fileops *ops, int dir, const char *name, bool make)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir, name, flags), r;

    if (fd < 0 && errno == ENOENT && make) {
        if (ops->mkdir(dir, name, 0700) < 0 && errno != EEXIST)
            return -errno;
        r = whole_file_sync(ops, dir);
        if (r < 0)
            return r;
        fd = openat(dir, name, flags);
    }
    /* With O_DIRECTORY a link is "not a directory", which would send people searching. */
    if (fd < 0 && errno == ENOTDIR) {
        struct stat st;

        return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) ? -ELOOP
                                                                                        : -ENOTDIR;
    }
    return fd < 0 ? -errno : fd;
}

static int
read_whole(int fd, size_t size, char **ret, size_t *ret_len)
{
    size_t len = 0;
    char *text = calloc(1, size + 1);

    if (text == NULL)
        return -ENOMEM;
    while (len < size) {
        ssize_t n = read(fd, text + len, size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int r = -errno;

            explicit_bzero(text, len);
            free(text);
            return r;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret = text;
    *ret_len = len;
    return 0;
}

int
whole_file_read(int dir, const char *name, char **ret, size_t *ret_len)
{
    /* O_NONBLOCK: a FIFO in the place of a record holds nobody up. */
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), r;
    struct stat st;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    else if (st.st_size > WHOLE_FILE_MAX)
        r = -EFBIG;
    else
        r = read_whole(fd, (size_t)st.st_size, ret, ret_len);
    close(fd);
    return r;
}

static int
write_temp(const struct whole_fileops *ops, int dir, const char *text, size_t len)
{
    int fd, r = 0;

    /* One of an earlier write that was cut short. */
    if (ops->unlink(dir, WHOLE_TEMP, 0) < 0 && errno != ENOENT)
        return -errno;
    fd = ops->open(dir, WHOLE_TEMP, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    for (size_t done = 0; done < len && r == 0;) {
        ssize_t n = ops->write(fd, text + done, len - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            r = -ENOSPC;
        else if (errno != EINTR)
            r = -errno;
    }
    if (r == 0)
        r = whole_file_sync(ops, fd);
    if (close(fd) < 0 && r == 0 && errno != EINTR)
        r = -errno;
    return r;
}

static int
replace_from(const struct whole_fileops *ops, int temp_dir, int dir, const char *name,
             const char *text, size_t len)
{
    int r = write_temp(ops, temp_dir, text, len);

    if (r == 0 && ops->rename(temp_dir, WHOLE_TEMP, dir, name) < 0)
        r = -errno;
    if (r < 0)
        (void)ops->unlink(temp_dir, WHOLE_TEMP, 0);
    return r;
}

int
whole_file_replace(const struct whole_fileops *ops, int temp_dir, int dir, const char *name,
                   const char *text, size_t len)
{
    int r = replace_from(ops, temp_dir, dir, name, text, len);

    if (r == -EXDEV && temp_dir != dir)
        r = replace_from(ops, dir, dir, name, text, len);
    return r < 0 ? r : whole_file_sync(ops, dir);
}

int
whole_file_remove(const struct whole_fileops *ops, int dir, const char *name)
{
    return ops->unlink(dir, name, 0) < 0 ? -errno : whole_file_sync(ops, dir);
}

static int
names_add(struct whole_names *n, const char *name)
{
    if (n->n == n->room) {
        size_t room = n->room > 0 ? n->room * 2 : 16;
        char **more = realloc(n->name, room * sizeof(*more));

        if (more == NULL)
            return -ENOMEM;
        n->name = more;
        n->room = room;
    }
    n->name[n->n] = strdup(name);
    if (n->name[n->n] == NULL)
        return -ENOMEM;
    n->n++;
    return 0;
}

static int
names_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void
whole_names_free(struct whole_names *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->name[i]);
    free(n->name);
    *n = (struct whole_names){0};
}

int
whole_dir_list(int dir, struct whole_names *ret)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;

    *ret = (struct whole_names){0};
    if (d == NULL) {
        r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    while (r == 0 && (errno = 0, e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.')
            r = names_add(ret, e->d_name);
    }
    if (r == 0 && errno != 0)
        r = -errno;
    closedir(d);
    if (r < 0)
        whole_names_free(ret);
    else if (ret->n > 0)
        qsort(ret->name, ret->n, sizeof(ret->name[0]), names_order);
    return r;
}
