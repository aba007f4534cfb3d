/* SPDX-License-Identifier: MIT */
/* loop/poll_uring.c - readiness by io_uring: one multishot poll per descriptor; by level, one poll
 * after the other, each of which looks at once whether there is something.
 *
 * Completions carry the address of the pollee, so it must stay in memory until the last
 * completion of its poll; `armed` is true until then.  A poll also holds the socket
 * open, so that its deletion is submitted at once.
 *
 * Where a process is killed, nobody deletes its polls: the kernel ends the ring on a work queue,
 * some time after the process is gone and waited for, and the sockets stay open as long.  A socket
 * that listens would keep its name and take connections that nobody answers.  So pollees that are
 * `apart` are registered with an epoll instance, which holds none of them open, and the ring polls
 * that one.
 *
 * What the loop shows to programs that wait by themselves is another epoll instance, the front.
 */
#include "loop/poll.h"

#include <errno.h>

#if HAVE_URING

#include <assert.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096
#define APART_MAX  32 /* events of pollees apart that are taken at once */
#define NEEDED     (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP) /* Linux 5.17 */

struct poller_uring {
    struct poller pub;
    struct io_uring ring;
    bool enabled;
    struct pollee apart; /* the epoll instance; fd -1: none was needed yet */
    int front_fd;        /* another one, what fd() returns; -1: nobody has asked */
    struct list levels;  /* struct pollee, by level */
};

static struct poller_uring *
uring_of(struct poller *p)
{
    return container_of(p, struct poller_uring, pub);
}

static void
uring_free(struct poller *p)
{
    struct poller_uring *u = uring_of(p);

    io_uring_queue_exit(&u->ring);
    if (u->front_fd >= 0)
        (void)close(u->front_fd);
    if (u->pub.bell_fd >= 0)
        (void)close(u->pub.bell_fd);
    if (u->apart.fd >= 0)
        (void)close(u->apart.fd);
    free(u);
}

/* The ring is made disabled, so that it belongs to the thread that uses it first and not to the
 * one that made it. */
static int
enable(struct poller_uring *u)
{
    if (u->enabled)
        return 0;
    u->pub.stats->syscalls++;
    /* Not io_uring_enable_rings: liburing 2.3 forgets to export it. */
    if (syscall(SYS_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
        return -errno;
    u->enabled = true;
    return 0;
}

/* Submits what is prepared, and lets the kernel do the work that it has put off until this thread
 * enters it, such as the end of polls that hold closed sockets open. */
static int
uring_submit(struct poller_uring *u)
{
    int r = enable(u);

    if (r < 0)
        return r;
    u->pub.stats->syscalls++;
    r = io_uring_submit_and_get_events(&u->ring);
    return r < 0 ? r : 0;
}

static struct io_uring_sqe *
get_sqe(struct poller_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

    if (sqe == NULL && uring_submit(u) == 0)
        sqe = io_uring_get_sqe(&u->ring);
    return sqe;
}

/* Makes an eventfd to which the kernel writes when there are completions, the bell.  The ring's own
 * descriptor would not do: completions that the kernel puts off until we enter it do not make that
 * readable.  When what is polled is an eventfd itself, the kernel writes only after an RCU grace
 * period, which is too late for posted work; so those who post write to this eventfd directly
 * (bell_fd), and descriptors by level, which may be eventfds, are in the front beside it. */
static int
make_bell(struct poller_uring *u)
{
    int r, fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC); /* readable at first, for completions that
                                                           came before it was registered */

    if (fd < 0)
        return -errno;
    r = io_uring_register_eventfd(&u->ring, fd);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    u->pub.bell_fd = fd;
    return 0;
}

static int
front_add(struct poller_uring *u, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP};

    u->pub.stats->syscalls++;
    return epoll_ctl(u->front_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int
make_front(struct poller_uring *u)
{
    int r;

    u->front_fd = epoll_create1(EPOLL_CLOEXEC);
    if (u->front_fd < 0)
        return -errno;
    r = front_add(u, u->pub.bell_fd);
    LIST_FOREACH (n, &u->levels) {
        if (r == 0)
            r = front_add(u, container_of(n, struct pollee, levels)->fd);
    }
    if (r < 0) {
        (void)close(u->front_fd);
        u->front_fd = -1;
    }
    return r;
}

static int
uring_fd(struct poller *p)
{
    struct poller_uring *u = uring_of(p);
    int r = enable(u);

    if (r == 0 && u->pub.bell_fd < 0)
        r = make_bell(u);
    if (r == 0 && u->front_fd < 0)
        r = make_front(u);
    return r < 0 ? r : u->front_fd;
}

static int
poll_by_ring(struct poller_uring *u, struct pollee *e)
{
    struct io_uring_sqe *sqe = get_sqe(u);

    if (sqe == NULL)
        return -EBUSY;
    if (e->level)
        io_uring_prep_poll_add(sqe, e->fd, EPOLLIN | EPOLLRDHUP);
    else
        io_uring_prep_poll_multishot(sqe, e->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    io_uring_sqe_set_data(sqe, e);
    e->armed = true;
    return 0;
}

/* Some of the pollees that are apart are ready. */
static void
apart_ready(struct pollee *apart, uint32_t events)
{
    struct poller_uring *u = container_of(apart, struct poller_uring, apart);
    struct epoll_event ev[APART_MAX];
    int n;

    (void)events;
    do {
        u->pub.stats->syscalls++;
        n = epoll_wait(apart->fd, ev, APART_MAX, 0);
        for (int i = 0; i < n; i++) {
            struct pollee *e = ev[i].data.ptr;

            e->ready(e, ev[i].events);
        }
    } while (n == APART_MAX);
}

/* Makes the epoll instance where there is none yet. */
static int
need_apart(struct poller_uring *u)
{
    int r;

    if (u->apart.fd >= 0)
        return 0;
    u->apart = (struct pollee){.fd = epoll_create1(EPOLL_CLOEXEC), .ready = apart_ready};
    if (u->apart.fd < 0)
        return -errno;
    r = poll_by_ring(u, &u->apart);
    if (r < 0) {
        (void)close(u->apart.fd);
        u->apart.fd = -1;
    }
    return r;
}

static int
poll_apart(struct poller_uring *u, struct pollee *e)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = e};
    int r = need_apart(u);

    if (r < 0)
        return r;
    u->pub.stats->syscalls++;
    return epoll_ctl(u->apart.fd, EPOLL_CTL_ADD, e->fd, &ev) < 0 ? -errno : 0;
}

static int
uring_add(struct poller *p, struct pollee *e)
{
    struct poller_uring *u = uring_of(p);
    int r;

    assert(e->fd >= 0 && e->ready != NULL && !e->gone && !e->armed);
    if (!e->level)
        return e->apart ? poll_apart(u, e) : poll_by_ring(u, e);
    r = u->front_fd >= 0 ? front_add(u, e->fd) : 0;
    if (r < 0)
        return r;
    r = poll_by_ring(u, e);
    if (r == 0)
        list_push_back(&u->levels, &e->levels);
    else if (u->front_fd >= 0)
        (void)epoll_ctl(u->front_fd, EPOLL_CTL_DEL, e->fd, NULL);
    return r;
}

static int
uring_again(struct poller *p, struct pollee *e)
{
    assert(e->level && !e->gone);
    return e->armed ? 0 : poll_by_ring(uring_of(p), e);
}

static void
uring_del(struct poller *p, struct pollee *e)
{
    struct poller_uring *u = uring_of(p);
    struct io_uring_sqe *sqe;

    assert(!e->gone);
    e->gone = true;
    if (e->apart) {
        u->pub.stats->syscalls++;
        (void)epoll_ctl(u->apart.fd, EPOLL_CTL_DEL, e->fd, NULL);
    }
    if (e->level) {
        list_del(&e->levels);
        if (u->front_fd >= 0) {
            u->pub.stats->syscalls++;
            (void)epoll_ctl(u->front_fd, EPOLL_CTL_DEL, e->fd, NULL);
        }
    }
    if (!e->armed)
        return;
    sqe = get_sqe(u);
    if (sqe == NULL)
        return; /* the poll goes on until the ring ends, and e stays armed as long */
    /* A cancel, since a poll removal fails with -EALREADY while an event is on its way. */
    io_uring_prep_cancel(sqe, e, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data(sqe, NULL);
    (void)uring_submit(u); /* on failure the next wait submits it */
}

static void
completed(struct poller *p, struct pollee *e, int res, bool more)
{
    uint32_t events = res >= 0 ? (uint32_t)res : 0;

    if (!more) {
        e->armed = false;
        if (e->gone)
            return;
        /* The poll has ended though nobody deleted it: the completion queue was full, or the thread
         * that had armed it is gone.  It is armed again, but by level not before its owner has
         * looked. */
        if (res < 0 && res != -ECANCELED)
            events = EPOLLERR;
        else if ((!e->level || events == 0) && poll_by_ring(uring_of(p), e) < 0)
            events |= EPOLLERR;
    }
    if (events != 0 && !e->gone)
        e->ready(e, events);
}

static void
uring_reap(struct poller *p)
{
    struct io_uring *ring = &uring_of(p)->ring;
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;

    io_uring_for_each_cqe(ring, head, cqe)
    {
        struct pollee *e = io_uring_cqe_get_data(cqe);

        n++;
        if (e != NULL)
            completed(p, e, cqe->res, (cqe->flags & IORING_CQE_F_MORE) != 0);
    }
    io_uring_cq_advance(ring, n);
    /* Its poll may have ended when there was no room to begin another. */
    if (uring_of(p)->apart.fd >= 0 && !uring_of(p)->apart.armed)
        (void)poll_by_ring(uring_of(p), &uring_of(p)->apart);
}

/* Whether there is something to submit, or work that the kernel does only when it is entered. */
static bool
needs_kernel(const struct io_uring *ring)
{
    return io_uring_sq_ready(ring) > 0 || (IO_URING_READ_ONCE(*ring->sq.kflags) &
                                           (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
}

static int
sleep_for(struct poller_uring *u, int64_t timeout_ns)
{
    struct __kernel_timespec ts = {.tv_sec = timeout_ns / (int64_t)LOOP_NS_PER_S,
                                   .tv_nsec = timeout_ns % (int64_t)LOOP_NS_PER_S};
    struct io_uring_cqe *cqe;
    int r;

    u->pub.stats->syscalls++;
    r = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, timeout_ns < 0 ? NULL : &ts, NULL);
    return r < 0 && r != -ETIME ? r : 0;
}

/* Reads the bell before the completions are taken, so that it is written again for what comes
 * meanwhile.  Has the kernel do the work that it does only when it is entered, which may write to
 * the bell as well. */
static int
drain_bell(struct poller_uring *u)
{
    uint64_t count;
    int r = 0;

    do {
        u->pub.stats->syscalls++;
        if (read(u->pub.bell_fd, &count, sizeof(count)) < 0)
            break; /* -EAGAIN: nobody has rung it */
        if (needs_kernel(&u->ring))
            r = uring_submit(u);
        else
            break;
    } while (r == 0);
    return r;
}

static int
uring_wait(struct poller *p, int64_t timeout_ns)
{
    struct poller_uring *u = uring_of(p);
    int r = enable(u);

    if (r < 0)
        return r;
    if (timeout_ns != 0 && io_uring_cq_ready(&u->ring) == 0)
        r = sleep_for(u, timeout_ns);
    else if (needs_kernel(&u->ring))
        r = uring_submit(u);
    if (u->pub.bell_fd >= 0 && r == 0)
        r = drain_bell(u);
    uring_reap(p);
    return r == -EBUSY || r == -EAGAIN
               ? 0
               : r; /* after 0: the completion queue was full, and uring_reap has made room */
}

static void
uring_flush(struct poller *p)
{
    struct poller_uring *u = uring_of(p);

    if (!u->enabled || io_uring_sq_ready(&u->ring) > 0)
        (void)uring_submit(u);
}

static const struct poller_ops uring_ops = {
    .name = "uring",
    .free = uring_free,
    .fd = uring_fd,
    .add = uring_add,
    .again = uring_again,
    .del = uring_del,
    .wait = uring_wait,
    .flush = uring_flush,
};

static int
open_ring(struct poller_uring *u)
{
    /* The first that the kernel knows is taken.  With DEFER_TASKRUN (Linux 6.1) completions are
     * made when this thread waits and at no other time, so that they neither interrupt it nor are
     * part of its other system calls. */
    static const unsigned tries[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int r = -ENOSYS;

    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        struct io_uring_params params = {
            .flags = tries[i] | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
            .cq_entries = CQ_ENTRIES,
        };

        r = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &params);
        if (r == 0 && (params.features & NEEDED) != NEEDED) {
            io_uring_queue_exit(&u->ring);
            return -ENOSYS;
        }
        if (r != -EINVAL)
            return r;
    }
    return r;
}

int
poller_uring_new(struct loop_stats *stats, struct poller **ret)
{
    struct poller_uring *u = calloc(1, sizeof(*u));
    int r;

    if (u == NULL)
        return -ENOMEM;
    u->pub = (struct poller){.ops = &uring_ops, .stats = stats, .bell_fd = -1};
    u->apart.fd = u->front_fd = -1;
    list_init(&u->levels);
    r = open_ring(u);
    if (r < 0) {
        free(u);
        return r;
    }
    *ret = &u->pub;
    return 0;
}

#else

int
poller_uring_new(struct loop_stats *stats, struct poller **ret)
{
    (void)stats;
    (void)ret;
    return -ENOSYS;
}

#endif
