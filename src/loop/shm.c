/* SPDX-License-Identifier: MIT */
/* loop/shm.c - seam/shm.h on Linux: memory is a sealed memfd, a bell an eventfd, and the end of a
 * process is seen by its pidfd.
 *
 * A descriptor that came from another process has the file description that the other process still
 * has, which can clear O_NONBLOCK at any time and fill the counter of an eventfd: to write(2) to
 * one can block for ever.  What never does is the kernel's own signal to an eventfd, by which it
 * tells that an I/O is done: it counts up to a bound and waits for nobody.  So whoever rings
 * submits an I/O of nothing that completes at once and names the bell as the eventfd to be told
 * (aio_resfd of io_submit(2)).  Whoever clears reads with RWF_NOWAIT, which says for this one call
 * what O_NONBLOCK says for all.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/magic.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "loop/loop.h"
#include "loop/sock.h"
#include "seam/shm.h"

#define SHM_PAGE        4096u
#define SHM_SEALS       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define RINGER_EVENTS   32 /* completions that may wait to be thrown away */
#define RINGER_TRIES    4
#define BELL_LOOKS      8
#define PEERPIDFD_LINUX 77 /* SO_PEERPIDFD of Linux 6.5, where SO_PEERCRED is 17 */

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

/* Memory. */

static bool
shm_size_fits(uint64_t size)
{
    return size > 0 && size % SHM_PAGE == 0 && size <= SHM_SIZE_MAX;
}

static int
shm_map_all(struct loop *l, int fd, size_t size, void **ret_map)
{
    void *map;

    l->stats.syscalls += 2;
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return errno == EACCES ? -EPERM : -errno;
    if (madvise(map, size, MADV_DONTFORK) < 0) {
        int r = -errno;

        (void)munmap(map, size);
        return r;
    }
    *ret_map = map;
    return 0;
}

/* Where the administrator wants it so (vm.memfd_noexec), memory has to say that nobody executes it,
 * which kernels before 6.3 do not know. */
static int
open_memory(struct loop *l)
{
    int fd;

    l->stats.syscalls++;
    fd = memfd_create("lunette-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) {
        l->stats.syscalls++;
        fd = memfd_create("lunette-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd < 0)
        return errno == ENFILE ? -EMFILE : errno == ENOSYS ? -EOPNOTSUPP : -errno;
    return fd;
}

static int
real_shm_make(struct loop *l, size_t size, int *ret_fd, void **ret_map)
{
    int fd, r = 0;

    if (!shm_size_fits(size))
        return -EINVAL;
    fd = open_memory(l);
    if (fd < 0)
        return fd;
    l->stats.syscalls += 2;
    if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, SHM_SEALS) < 0)
        r = -errno;
    if (r == 0)
        r = shm_map_all(l, fd, size, ret_map);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* Of memory in huge pages, too, the size can be sealed, but a page that its maker has given back is
 * there again only while the system has another one: whoever touches it is killed. */
static int
real_shm_map(struct loop *l, int fd, size_t size, void **ret_map)
{
    struct statfs fs;
    struct stat st;
    int seals;

    if (!shm_size_fits(size))
        return -EINVAL;
    l->stats.syscalls += 3;
    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
        return -EPERM;
    if (fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
        return -EPERM;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size != size)
        return -EINVAL;
    return shm_map_all(l, fd, size, ret_map);
}

static void
real_shm_unmap(struct loop *l, void *map, size_t size)
{
    int r;

    l->stats.syscalls++;
    r = munmap(map, size);
    assert(r == 0);
    (void)r;
}

/* Bells. */

struct real_ringer {
    aio_context_t aio;
    int nothing; /* a file without a byte, of which reads return at once */
};

void
real_ringer_free(struct real_ringer *r)
{
    if (r == NULL)
        return;
    (void)syscall(SYS_io_destroy, r->aio);
    (void)close(r->nothing);
    free(r);
}

/* Makes what rings bells of this loop, unless it is there. */
static int
ringer_open(struct real_loop *l)
{
    struct real_ringer *r;
    int err;

    if (l->ringer != NULL)
        return 0;
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return -ENOMEM;
    r->nothing = open_memory(&l->pub);
    err = r->nothing < 0 ? r->nothing : 0;
    l->pub.stats.syscalls++;
    if (err == 0 && syscall(SYS_io_setup, RINGER_EVENTS, &r->aio) < 0) {
        err = errno == ENOSYS || errno == EPERM ? -EOPNOTSUPP : -errno;
        (void)close(r->nothing);
    }
    if (err < 0) {
        free(r);
        return err;
    }
    l->ringer = r;
    return 0;
}

/* The completions, which say nothing, fill a ring of the kernel's: it says so with EAGAIN, and then
 * they are taken out. */
static void
ringer_forget(struct real_loop *l)
{
    struct io_event ev[RINGER_EVENTS];
    struct timespec zero = {0};

    l->pub.stats.syscalls++;
#ifdef SYS_io_getevents
    while (syscall(SYS_io_getevents, l->ringer->aio, 0, RINGER_EVENTS, ev, &zero) == RINGER_EVENTS)
        l->pub.stats.syscalls++;
#else
    while (syscall(SYS_io_pgetevents_time64, l->ringer->aio, 0, RINGER_EVENTS, ev, NULL, NULL) ==
           RINGER_EVENTS)
        l->pub.stats.syscalls++;
    (void)zero;
#endif
}

/* Rings.  -EINVAL: fd is no eventfd; else 0 or what io_submit returns. */
static int
ringer_ring(struct real_loop *l, int fd)
{
    struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PREAD,
                      .aio_fildes = (uint32_t)l->ringer->nothing,
                      .aio_flags = IOCB_FLAG_RESFD,
                      .aio_resfd = (uint32_t)fd};
    struct iocb *all[] = {&cb};

    for (int i = 0; i < RINGER_TRIES; i++) {
        l->pub.stats.syscalls++;
        if (syscall(SYS_io_submit, l->ringer->aio, 1, all) == 1)
            return 0;
        if (errno != EAGAIN)
            return errno == EBADF ? -EINVAL : -errno;
        ringer_forget(l);
    }
    return -EAGAIN;
}

/* Takes what was rung.  Returns the count, or -errno: -EAGAIN where there is none. */
static int
bell_take(struct loop *l, int fd, uint64_t *ret_count)
{
    struct iovec iov = {ret_count, sizeof(*ret_count)};
    ssize_t r;

    l->stats.syscalls++;
    r = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
    return r == (ssize_t)sizeof(*ret_count) ? 0 : r < 0 ? -errno : -EINVAL;
}

/* Whether fd is an eventfd that a read sets back to nothing.  One with EFD_SEMAPHORE only counts
 * down, so that its maker, who fills it once, would keep the loop of whoever watches it awake for
 * years; each read of it returns 1.  Nobody else reads a bell that we watch, or else it is the
 * other side's own fault that it is not found to be one. */
static int
bell_is_plain(struct real_loop *l, int fd)
{
    for (int i = 0; i < BELL_LOOKS; i++) {
        uint64_t count = 0;
        int r = ringer_ring(l, fd);

        if (r == 0)
            r = ringer_ring(l, fd);
        if (r == 0)
            r = bell_take(&l->pub, fd, &count);
        if (r < 0 && r != -EAGAIN)
            return r;
        if (r == 0 && count > 1)
            return 0;
    }
    return -EINVAL;
}

static int
real_bell_check(struct loop *pub, int fd)
{
    struct real_loop *l = real_loop(pub);
    int r = ringer_open(l);

    return r == 0 ? ringer_ring(l, fd) : r;
}

static int
real_bell_check_wait(struct loop *pub, int fd)
{
    struct real_loop *l = real_loop(pub);
    int r = ringer_open(l);

    if (r == 0)
        r = bell_is_plain(l, fd);
    return r == 0 ? ringer_ring(l, fd) : r;
}

static int
real_bell_make(struct loop *pub, int *ret_fd)
{
    struct real_loop *l = real_loop(pub);
    uint64_t count;
    int fd, r = ringer_open(l);

    if (r < 0)
        return r;
    pub->stats.syscalls++;
    fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return errno == ENFILE ? -EMFILE : -errno;
    r = bell_is_plain(l, fd);
    /* Kernels before 5.8 do not have this read for an eventfd. */
    if (r == 0 && bell_take(pub, fd, &count) != -EAGAIN)
        r = -EINVAL;
    if (r < 0) {
        (void)close(fd);
        return r == -EINVAL ? -EOPNOTSUPP : r;
    }
    *ret_fd = fd;
    return 0;
}

/* An I/O of nothing needs one small piece of the kernel's memory, for which it waits and kills
 * others rather than to be without; a bell that was closed meanwhile rings for nobody. */
static void
real_bell_ring(struct loop *pub, int fd)
{
    struct real_loop *l = real_loop(pub);

    assert(l->ringer != NULL); /* made or checked on this loop */
    (void)ringer_ring(l, fd);
}

static void
real_bell_clear(struct loop *l, int fd)
{
    uint64_t count;

    (void)bell_take(l, fd, &count);
}

/* Processes. */

struct shm_process {
    struct loop *loop;
    struct loop_watch *watch; /* NULL: it has ended */
    int fd;
    void (*gone)(void *user);
    void *user;
};

/* The process whose credentials the socket has, on kernels that cannot name it by a descriptor.
 * Another process may have got its number meanwhile; not while the other end of the socket is open,
 * unless it has given that away and ended. */
static int
pidfd_by_number(struct loop *l, int sock)
{
    struct pollfd p = {.fd = sock, .events = POLLRDHUP};
    pid_t pid = 0;
    int fd, r = local_peer_cred(sock, NULL, &pid);

    l->stats.syscalls++;
    if (r < 0)
        return r;
    if (pid <= 0) /* of another pid namespace */
        return -EOPNOTSUPP;
    l->stats.syscalls += 2;
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ENOSYS ? -EOPNOTSUPP : -errno;
    if (poll(&p, 1, 0) != 0) {
        (void)close(fd);
        return -ESRCH;
    }
    return fd;
}

static int
pidfd_of_peer(struct loop *l, int sock)
{
    socklen_t len = sizeof(int);
    int fd = -1;

    l->stats.syscalls++;
    if (SO_PEERCRED != 17 || getsockopt(sock, SOL_SOCKET, PEERPIDFD_LINUX, &fd, &len) < 0) {
        if (SO_PEERCRED == 17 && (errno == EINVAL || errno == ESRCH))
            return -ESRCH;
        if (SO_PEERCRED == 17 && errno != ENOPROTOOPT)
            return errno == ENODATA ? -EOPNOTSUPP : -errno;
        return pidfd_by_number(l, sock);
    }
    return fd;
}

static bool
pidfd_has_ended(struct loop *l, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    l->stats.syscalls++;
    return poll(&p, 1, 0) > 0;
}

static void
process_stop(struct shm_process *p)
{
    if (p->watch == NULL)
        return;
    loop_unwatch(p->loop, p->watch);
    (void)close(p->fd);
    p->watch = NULL;
}

static void
process_readable(void *user)
{
    struct shm_process *p = user;

    if (!pidfd_has_ended(p->loop, p->fd))
        return;
    process_stop(p);
    p->gone(p->user); /* which may end the watch */
}

static int
real_process_watch(struct loop *l, struct stream *pub, void (*gone)(void *user), void *user,
                   struct shm_process **ret)
{
    struct sock *s = sock_of(pub);
    struct shm_process *p;
    int fd, r = 0;

    assert(gone != NULL && !s->closed && pub->loop == l);
    if (s->family != AF_UNIX || s->state != SOCK_OPEN)
        return -EOPNOTSUPP;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    fd = pidfd_of_peer(l, s->poll.fd);
    if (fd >= 0 && pidfd_has_ended(l, fd))
        r = -ESRCH;
    *p = (struct shm_process){.loop = l, .fd = fd, .gone = gone, .user = user};
    if (fd >= 0 && r == 0)
        r = loop_watch(l, fd, process_readable, p, &p->watch);
    if (fd < 0 || r < 0) {
        if (fd >= 0)
            (void)close(fd);
        free(p);
        return fd < 0 ? fd : r;
    }
    *ret = p;
    return 0;
}

static void
real_process_unwatch(struct shm_process *p)
{
    process_stop(p);
    free(p);
}

/* Each of the three is let go of again: a program that only asks keeps nothing. */
int
loop_shm_usable(struct lunette_error *err)
{
    static const char *const lacks[] = {"memory of a fixed size (memfd_create)",
                                        "a way to watch another process (pidfd_open)",
                                        "asynchronous I/O, with which bells are rung (io_setup)"};
    aio_context_t aio = 0;
    int fd[2], r = 0, which = 0;

    fd[0] = memfd_create("lunette-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    fd[1] = (int)syscall(SYS_pidfd_open, getpid(), 0);
    for (int i = 1; i >= 0; i--) {
        if (fd[i] >= 0)
            (void)close(fd[i]);
        else
            which = i;
    }
    r = fd[0] < 0 || fd[1] < 0 ? -ENOSYS : 0;
    if (r == 0 && syscall(SYS_io_setup, 1, &aio) < 0) {
        which = 2;
        r = -errno;
    } else if (r == 0) {
        (void)syscall(SYS_io_destroy, aio);
    }
    return r == 0 ? 0
                  : lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                                 "this system, or what confines this process, does not have %s, "
                                 "which sharing memory with an engine needs",
                                 lacks[which]);
}

static int
real_shm_dup(struct loop *l, int fd, int *ret_fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    l->stats.syscalls++;
    if (copy < 0)
        return -errno;
    *ret_fd = copy;
    return 0;
}

const struct shm_ops real_shm_ops = {
    .make = real_shm_make,
    .map = real_shm_map,
    .unmap = real_shm_unmap,
    .bell_make = real_bell_make,
    .bell_check = real_bell_check,
    .bell_ring = real_bell_ring,
    .bell_clear = real_bell_clear,
    .process_watch = real_process_watch,
    .process_unwatch = real_process_unwatch,
    .dup = real_shm_dup,
    .bell_check_wait = real_bell_check_wait,
};
