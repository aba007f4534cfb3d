/* SPDX-License-Identifier: MIT */
#include "iscsid/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Returns a descriptor with the lock, or -errno: -EBUSY where somebody else has it. */
static int
guard_lock(const char *path, int flags, struct guard *g)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600), r;
    ssize_t n;

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
    n = r == -EBUSY ? pread(fd, g->pid, sizeof(g->pid) - 1, 0) : 0;
    g->pid[n > 0 ? n : 0] = '\0';
    g->pid[strspn(g->pid, "0123456789")] = '\0';
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
