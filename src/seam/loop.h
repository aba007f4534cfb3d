/* SPDX-License-Identifier: MIT */
/* seam/loop.h - the only door to time, randomness, descriptors and other threads.
 *
 * One loop per thread; every object belongs to one loop for life, and every
 * function here is called on that loop's thread, but for loop_post().  A turn is:
 * wait, streams that are ready, timers that are due, posted work, deferred work.
 *
 * No callback is ever made from inside a call of this header but loop_run(), and
 * nothing else blocks.  Errors are -errno.
 *
 * Implemented by loop/ (epoll, io_uring) and by tests/sim (virtual time, one
 * seed).  Nobody else makes a socket call, so sw_tcp itself runs in the
 * simulator.
 */
#ifndef SEAM_LOOP_H
#define SEAM_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/timerq.h"
#include "base/trace.h"

struct loop;
struct stream;
struct resolve;

#define LOOP_NS_PER_MS   1000000ull
#define LOOP_NS_PER_S    1000000000ull
#define LOOP_RESOLVE_MAX 8 /* addresses that one name lookup has at most */

/* A timer, embedded in its owner, which stops it before the memory goes; fn is set once by
 * loop_timer_init. */
struct loop_timer {
    struct timerq_node node;
    void (*fn)(struct loop_timer *t);
};

/* Work to do later, embedded in its owner, which may go once fn has been called or the work is
 * canceled; queued at most once at a time. */
struct loop_work {
    struct list node;
    void (*fn)(struct loop_work *w);
};

/* What a stream tells its owner.  The owner may close the stream in any of these. */
struct stream_events {
    /* Once for a stream made by stream_connect: err is 0 or -errno. */
    void (*connected)(void *user, int err);
    /* There is something to read, or the end.  Comes again each turn until stream_recvv has
     * returned -EAGAIN, 0, an error, or less than there was room for: a callback may stop reading
     * for fairness and go on in the next turn. */
    void (*readable)(void *user);
    /* There is room to send again: once after each stream_sendv that returned -EAGAIN or fewer
     * bytes than it was given. */
    void (*writable)(void *user);
    /* A listener only: s is the new connection, owned by the callee, which calls
     * stream_set_events (or closes it) before it returns. */
    void (*accepted)(void *user, struct stream *s, const struct sock_addr *peer);
};

struct stream_opts {
    bool nodelay;             /* TCP_NODELAY */
    bool keepalive;           /* SO_KEEPALIVE */
    uint32_t sndbuf, rcvbuf;  /* SO_SNDBUF, SO_RCVBUF in bytes; 0: the system's choice */
    uint32_t user_timeout_ms; /* TCP_USER_TIMEOUT; 0: the system's choice */
    uint8_t dscp;             /* 0..63 */
};

struct loop_stats {
    uint64_t turns, waits; /* turns made; how often the kernel was asked what is ready */
    uint64_t syscalls;     /* all system calls made through this loop */
    uint64_t sends, recvs, bytes_sent, bytes_received;
};

/* What an implementation provides; callers use the functions below. */
struct loop_ops {
    const char *name; /* "epoll", "uring", "sim" */
    int (*run)(struct loop *l, int64_t timeout_ns);
    int (*fd)(struct loop *l);
    void (*timer_start)(struct loop *l, struct loop_timer *t, uint64_t delay_ns);
    void (*timer_stop)(struct loop *l, struct loop_timer *t);
    void (*defer)(struct loop *l, struct loop_work *w);
    void (*post)(struct loop *l, struct loop_work *w);
    uint64_t (*random)(struct loop *l);
    int (*secure_random)(struct loop *l, void *buf, size_t len);
    int (*resolve)(struct loop *l, const char *host, uint16_t port,
                   void (*done)(void *user, int err, const struct sock_addr *addr, int count),
                   void *user, struct resolve **ret);
    void (*resolve_cancel)(struct loop *l, struct resolve *r);
    int (*connect)(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
                   const struct stream_events *ev, void *user, struct stream **ret);
    int (*listen)(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
                  void *user, struct stream **ret, struct sock_addr *ret_bound);
    int (*adopt)(struct loop *l, int fd, const struct stream_events *ev, void *user,
                 struct stream **ret);
    int (*release)(struct stream *s);
    void (*set_events)(struct stream *s, const struct stream_events *ev, void *user);
    ssize_t (*sendv)(struct stream *s, const struct iovec *iov, int n, size_t total);
    ssize_t (*recvv)(struct stream *s, const struct iovec *iov, int n);
    int (*set_rcvlowat)(struct stream *s, uint32_t bytes);
    int (*set_opts)(struct stream *s, const struct stream_opts *opts);
    int (*lend)(struct stream *s, uint32_t min);
    int64_t (*unacked)(struct stream *s);
    int (*names)(struct stream *s, struct sock_addr *ret_local, struct sock_addr *ret_peer);
    void (*close)(struct stream *s);
};

/* The public head of every loop. */
struct loop {
    const struct loop_ops *ops;
    uint64_t now_ns; /* monotonic clock, read once per turn: exact enough for stamps and timers */
    struct trace *trace;   /* borrowed, may be NULL */
    const struct log *log; /* borrowed, may be NULL */
    void *scratch;         /* memory that any user of this loop may use within one callback */
    size_t scratch_size;   /* its bytes; the contents are lost when the callback returns */
    struct pool tx;        /* buffers that connections take while they have something to send */
    struct loop_stats stats;
};

/* The public head of every stream. */
struct stream {
    struct loop *loop;
};

/* Runs turns until one did something, timeout_ns passed (<0: no limit; 0: one turn without
 * waiting) or a signal handler ran.  Returns the number of callbacks made, or -errno.  Must not
 * be called from a callback. */
static inline int
loop_run(struct loop *l, int64_t timeout_ns)
{
    return l->ops->run(l, timeout_ns);
}

/* A descriptor that polls readable when loop_run has something to do, timers included; at times it
 * does so in vain.  Owned by the loop.  Or -errno; -ENOTSUP in the simulator. */
static inline int
loop_fd(struct loop *l)
{
    return l->ops->fd(l);
}

static inline void
loop_timer_init(struct loop_timer *t, void (*fn)(struct loop_timer *t))
{
    *t = (struct loop_timer){.fn = fn};
}

/* Starts t, or starts it anew; fn runs once, delay_ns after now_ns at the earliest. */
static inline void
loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ns)
{
    l->ops->timer_start(l, t, delay_ns);
}

/* Harmless when t does not run. */
static inline void
loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    l->ops->timer_stop(l, t);
}

static inline bool
loop_timer_running(const struct loop_timer *t)
{
    return t->node.queued;
}

static inline void
loop_work_init(struct loop_work *w, void (*fn)(struct loop_work *w))
{
    list_init(&w->node);
    w->fn = fn;
}

/* Runs w->fn at the end of this turn (or of the next, when called outside one): there what a turn's
 * callbacks have gathered can be sent at once.  Work that deferred work defers runs in the same
 * turn too, up to a bound.  Harmless when w is queued already. */
static inline void
loop_defer(struct loop *l, struct loop_work *w)
{
    if (list_empty(&w->node))
        l->ops->defer(l, w);
}

/* Takes back deferred work that has not run; harmless otherwise. */
static inline void
loop_defer_cancel(struct loop_work *w)
{
    list_del(&w->node);
}

/* May be called on any thread while the loop exists: runs w->fn on the loop's thread, and wakes
 * that. w must not be queued. */
static inline void
loop_post(struct loop *l, struct loop_work *w)
{
    l->ops->post(l, w);
}

/* For jitter and identifiers, not for secrets.  Never fails. */
static inline uint64_t
loop_random(struct loop *l)
{
    return l->ops->random(l);
}

/* From the system's generator, for challenges.  0 or -errno. */
static inline int
loop_secure_random(struct loop *l, void *buf, size_t len)
{
    return l->ops->secure_random(l, buf, len);
}

/* Looks host up (numeric IPv4, IPv6 with %scope, or a name) without blocking; done is called once,
 * later, with err 0 and 1..LOOP_RESOLVE_MAX addresses that live until it returns, or with -errno
 * and count 0: -ENOENT when there is no such name, -EAGAIN when no server answered.  *ret is valid
 * until then.  Returns 0 or -errno: -EINVAL for a name that is empty or too long, -EBUSY when too
 * many lookups are under way; done is then not called. */
static inline int
loop_resolve(struct loop *l, const char *host, uint16_t port,
             void (*done)(void *user, int err, const struct sock_addr *addr, int count), void *user,
             struct resolve **ret)
{
    return l->ops->resolve(l, host, port, done, user, ret);
}

/* Before done was called; it is not called any more, and r is gone. */
static inline void
loop_resolve_cancel(struct loop *l, struct resolve *r)
{
    l->ops->resolve_cancel(l, r);
}

/* Starts a connection; ->connected tells how it went.  The call itself fails, with -errno, only
 * where descriptors or memory are short, an option is refused, or the address family is not
 * supported. opts may be NULL.  *ret is owned by the caller until stream_close or stream_release.
 */
static inline int
stream_connect(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
               const struct stream_events *ev, void *user, struct stream **ret)
{
    return l->ops->connect(l, to, opts, ev, user, ret);
}

/* Listens at an address (port 0: any free one); *ret_bound gets the one that was taken.  0 or
 * -errno; *ret is owned by the caller. */
static inline int
stream_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
              void *user, struct stream **ret, struct sock_addr *ret_bound)
{
    return l->ops->listen(l, at, ev, user, ret, ret_bound);
}

/* Takes over a connected descriptor (the fd of another loop's stream_release, or of another
 * process); on failure fd stays the caller's. */
static inline int
stream_adopt(struct loop *l, int fd, const struct stream_events *ev, void *user,
             struct stream **ret)
{
    return l->ops->adopt(l, fd, ev, user, ret);
}

/* Gives the descriptor up, so that another loop or process can adopt it; s is gone.  Returns the
 * descriptor, which the caller owns. */
static inline int
stream_release(struct stream *s)
{
    return s->loop->ops->release(s);
}

/* From now on s tells these events, with this user; ev is borrowed as long as s has it. */
static inline void
stream_set_events(struct stream *s, const struct stream_events *ev, void *user)
{
    s->loop->ops->set_events(s, ev, user);
}

/* Sends what fits; returns bytes taken, -EAGAIN, or -errno (the connection is then dead).  After
 * -EAGAIN or a short count, ->writable comes once.  n <= IOV_MAX; total is the sum of the lengths
 * of the n pieces, which the caller knows from gathering them. */
static inline ssize_t
stream_sendv(struct stream *s, const struct iovec *iov, int n, size_t total)
{
    return s->loop->ops->sendv(s, iov, n, total);
}

/* Receives what is there, into n pieces, 1..IOV_MAX.  Returns bytes, 0 at the end of the stream,
 * -EAGAIN, or -errno. */
static inline ssize_t
stream_recvv(struct stream *s, const struct iovec *iov, int n)
{
    return s->loop->ops->recvv(s, iov, n);
}

/* ->readable comes only when that many bytes are there, or the end, or an error; 1 is the default,
 * and what 0 is taken for.  0 or -errno. */
static inline int
stream_set_rcvlowat(struct stream *s, uint32_t bytes)
{
    return s->loop->ops->set_rcvlowat(s, bytes);
}

/* 0 or -errno of the first option that the system refuses. */
static inline int
stream_set_opts(struct stream *s, const struct stream_opts *opts)
{
    return s->loop->ops->set_opts(s, opts);
}

/* From now on pieces of a stream_sendv that have at least min bytes may be lent, not copied: the
 * system refers to the caller's memory until the peer has acknowledged the bytes, and what is
 * written there before may be what the peer gets.  So memory whose bytes have been taken is the
 * caller's again when they are not among stream_unacked any more, or when the stream is closed;
 * bytes that have not been taken yet are offered again, first, from the same memory.  Which
 * pieces are lent is the implementation's to decide: it copies where it cannot lend.  Once, on a
 * stream that stays with its loop: it cannot be released any more.  0, or -errno: -ENOTSUP where
 * nothing is ever lent.  min is a power of two. */
static inline int
stream_lend(struct stream *s, uint32_t min)
{
    return s->loop->ops->lend(s, min);
}

/* How many of the bytes that stream_sendv has taken the peer has not acknowledged: always the last
 * ones.  Or -errno. */
static inline int64_t
stream_unacked(struct stream *s)
{
    return s->loop->ops->unacked(s);
}

/* The addresses of both ends; either may be NULL.  0 or -errno, and then both are untouched. */
static inline int
stream_names(struct stream *s, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    return s->loop->ops->names(s, ret_local, ret_peer);
}

/* Closes; no event comes any more, s is gone.  The system goes on sending the bytes that it has
 * taken, except where lent bytes are not acknowledged: then it drops all of them, the peer sees a
 * reset, and nothing refers to lent memory afterwards. */
static inline void
stream_close(struct stream *s)
{
    s->loop->ops->close(s);
}

#endif
