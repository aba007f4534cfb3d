/* SPDX-License-Identifier: MIT */
#include "iscsid/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Returns a descriptor with the lock, or -errno: -EBUSY where somebody else has it. */
static int
guard_lock(const char *path, int flags, struct guard *g)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600), r;

    /* One that stands in a folder that may only be read can be locked all the same. */
    if (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    do
        r = flock(fd, LOCK_EX | LOCK_NB);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return fd;
    r = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (r == -EBUSY)
        g->held = path;
    (void)close(fd);
    return r;
}

int
guard_take(const char *file, const char *instead, struct guard *ret)
{
    int other, r;

    memset(ret, 0, sizeof(*ret));
    ret->fd = -1;
    r = guard_lock(file, O_RDWR | O_CREAT, ret);
    if (r == -EBUSY)
        return r;
    if (r < 0) {
        (void)lunette_fail(&ret->note, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s: %s", file,
                           errno_text(r));
        r = guard_lock(instead, O_RDWR | O_CREAT, ret);
        if (r < 0)
            return r;
    } else {
        /* One that was started when the first file was not to be had. */
        other = guard_lock(instead, O_RDWR, ret);
        if (other >= 0)
            (void)close(other);
        if (other == -EBUSY) {
            (void)close(r);
            return other;
        }
    }
    ret->fd = r;
    return 0;
}

/* ---- who has it ----------------------------------------------------------------------------- */

/* Has the descriptor with this name in an fdinfo folder the flock of a file?  The kernel tells the
 * locks of a descriptor there, whoever has taken them: the data plane has got its own from the
 * daemon that has started it. */
static bool
holder_has(int dir, const char *name, const struct stat *file)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    unsigned major, minor;
    unsigned long long ino;
    char text[1024];
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (const char *p = text; (p = strstr(p, "FLOCK ")) != NULL; p++) {
        if (sscanf(p, "FLOCK %*s %*s %*d %x:%x:%llu", &major, &minor, &ino) == 3 &&
            ino == file->st_ino && makedev(major, minor) == file->st_dev)
            return true;
    }
    return false;
}

static bool
holder_is(const char *pid, const struct stat *file)
{
    char path[64];
    struct dirent *e;
    bool found = false;
    DIR *d;

    (void)snprintf(path, sizeof(path), "/proc/%.20s/fdinfo", pid);
    d = opendir(path);
    while (d != NULL && !found && (e = readdir(d)) != NULL)
        found = isdigit((unsigned char)e->d_name[0]) && holder_has(dirfd(d), e->d_name, file);
    if (d != NULL)
        (void)closedir(d);
    return found;
}

static void
holder_of_text(int fd, const char *path, char ret[GUARD_PID_MAX])
{
    ssize_t n = access(path, W_OK) == 0 ? pread(fd, ret, GUARD_PID_MAX - 1, 0) : 0;

    ret[n > 0 ? n : 0] = '\0';
    ret[strspn(ret, "0123456789")] = '\0';
}

void
guard_holder(const char *path, char ret[GUARD_PID_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct dirent *e;
    struct stat file;
    DIR *d = NULL;

    ret[0] = '\0';
    if (fd >= 0 && fstat(fd, &file) == 0)
        d = opendir("/proc");
    while (d != NULL && ret[0] == '\0' && (e = readdir(d)) != NULL) {
        if (isdigit((unsigned char)e->d_name[0]) && holder_is(e->d_name, &file))
            (void)snprintf(ret, GUARD_PID_MAX, "%.20s", e->d_name);
    }
    if (d != NULL)
        (void)closedir(d);
    if (fd >= 0 && ret[0] == '\0')
        holder_of_text(fd, path, ret);
    if (fd >= 0)
        (void)close(fd);
}
