/* SPDX-License-Identifier: MIT */
/* seam/loop.h - the loop: the clock, randomness, byte streams, and work from other threads.
 *
 * The rest of the tree reads no clock, draws no random number and makes no socket
 * call by itself; it calls these functions, so that the whole stack runs in a
 * simulator that implements them.  loop/ implements them with epoll or io_uring;
 * tests/sim implements them on virtual time, where one random seed decides all that
 * happens.
 *
 * There is one loop per thread.  Every object belongs to one loop for life, and
 * every function here is called on that loop's thread; only loop_post() may be
 * called on any thread.  loop_run() makes turns.  In a turn the loop first waits
 * until something is ready, then calls the owners of streams that are ready and of
 * timers that are due, then runs posted work and, last, deferred work, with which the owners of
 * watched descriptors are called.
 *
 * A stream is a connection of TCP or of a local socket (AF_UNIX), in which bytes flow.
 * Local sockets can also carry packets, each of which arrives whole and may bring one
 * descriptor with it: see stream_connect_packets and what follows it.
 *
 * Whatever else can be waited for by a descriptor - an eventfd, a pidfd, the completion channel of
 * a device - is watched: see loop_watch.
 *
 * Callbacks are made by loop_run() only, so that no caller is called back from
 * inside its own call.  Only loop_run() blocks.  Functions that can fail return
 * -errno.
 */
#ifndef SEAM_LOOP_H
#define SEAM_LOOP_H

#include <errno.h>
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
struct loop_watch;
struct rnic_ops;
struct shm_ops;

#define LOOP_NS_PER_MS   1000000ull
#define LOOP_NS_PER_S    1000000000ull
#define LOOP_RESOLVE_MAX 8 /* the most addresses that one name lookup returns */

/* A timer is embedded in its owner.  The owner stops it before it frees the memory.
 * loop_timer_init sets fn, which does not change afterwards. */
struct loop_timer {
    struct timerq_node node;
    void (*fn)(struct loop_timer *t);
};

/* Work that the loop does later, embedded in its owner.  A work is queued at most once at a time.
 * While it is queued its memory must stay; the owner may free it from inside fn, or after
 * loop_defer_cancel.  Posted work cannot be canceled. */
struct loop_work {
    struct list node;
    void (*fn)(struct loop_work *w);
};

/* What the loop calls to tell the owner of a stream.  The owner may close the stream inside any of
 * them.  connected must be set for stream_connect, and accepted for stream_listen; readable and
 * writable may be NULL, and are then not called. */
struct stream_events {
    /* The loop calls this once for a stream that stream_connect made.  err is 0 or -errno.  After
     * an error the stream makes no further calls, and the owner still has to close it. */
    void (*connected)(void *user, int err);
    /* The loop calls this when bytes, the end of the stream or an error can be received.  It calls
     * again in each turn until stream_recvv has returned -EAGAIN, 0, an error, or less than there
     * was room for.  So an owner may stop before the stream is empty, to be fair to others, and is
     * called again in the next turn. */
    void (*readable)(void *user);
    /* The loop calls this once after each stream_sendv that returned -EAGAIN or fewer bytes than it
     * was given, as soon as there is room to send again. */
    void (*writable)(void *user);
    /* The loop calls this on a listener for each new connection, s.  The callee owns s and calls
     * stream_set_events on it, or closes it, before it returns.  peer is borrowed for the call. */
    void (*accepted)(void *user, struct stream *s, const struct sock_addr *peer);
};

#define LOOP_DEVICE_MAX 15 /* bytes of a network device's name, without the NUL */

/* Socket options.  Those of TCP and IP are set on IPv4 and IPv6 sockets only.  device and source
 * are for stream_connect alone, since a connection keeps the addresses that it was made with. */
struct stream_opts {
    bool nodelay;             /* TCP_NODELAY */
    bool keepalive;           /* SO_KEEPALIVE */
    uint32_t sndbuf, rcvbuf;  /* SO_SNDBUF, SO_RCVBUF in bytes; 0: the system's choice */
    uint32_t user_timeout_ms; /* TCP_USER_TIMEOUT; 0: the system's choice */
    uint8_t dscp;             /* differentiated services code point, 0..63 */
    /* The network device that the connection uses whatever the routes say; "": any.  It also is the
     * link of link-local addresses that have no scope. */
    char device[LOOP_DEVICE_MAX + 1];
    struct sock_addr source; /* the local address; port 0: any port; len 0: any address */
};

/* Counts since the loop was made. */
struct loop_stats {
    uint64_t turns, waits; /* turns made; how often the kernel was asked what is ready */
    uint64_t syscalls;     /* all system calls made through this loop */
    uint64_t sends, recvs, bytes_sent, bytes_received;
};

/* What an implementation that has packets fills in. */
struct packet_ops {
    int (*connect)(struct loop *l, const struct sock_addr *to, const struct stream_events *ev,
                   void *user, struct stream **ret);
    int (*listen)(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
                  void *user, struct stream **ret);
    int (*adopt)(struct loop *l, int fd, const struct stream_events *ev, void *user,
                 struct stream **ret);
    int (*adopt_listener)(struct loop *l, int fd, const struct stream_events *ev, void *user,
                          struct stream **ret);
    int (*send)(struct stream *s, const struct iovec *iov, int n, int fd);
    ssize_t (*recv)(struct stream *s, void *buf, size_t size, int *ret_fd);
};

/* What an implementation of the loop fills in.  Callers use the functions below, which say what
 * each operation does. */
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
    int (*adopt_listener)(struct loop *l, int fd, const struct stream_events *ev, void *user,
                          struct stream **ret);
    int (*release)(struct stream *s);
    void (*set_events)(struct stream *s, const struct stream_events *ev, void *user);
    ssize_t (*sendv)(struct stream *s, const struct iovec *iov, int n, size_t total);
    ssize_t (*recvv)(struct stream *s, const struct iovec *iov, int n);
    int (*set_rcvlowat)(struct stream *s, uint32_t bytes);
    int (*set_opts)(struct stream *s, const struct stream_opts *opts);
    int (*lend)(struct stream *s, uint32_t min);
    int64_t (*unacked)(struct stream *s);
    int64_t (*unread)(struct stream *s);
    int (*names)(struct stream *s, struct sock_addr *ret_local, struct sock_addr *ret_peer);
    void (*close)(struct stream *s);
    void (*reset)(struct stream *s);
    int (*peer_cred)(struct stream *s, uid_t *ret_uid, pid_t *ret_pid);
    void (*close_fd)(struct loop *l, int fd);
    uint64_t (*clock)(struct loop *l); /* NULL: no time passes within a turn */
    const struct packet_ops *packets;  /* NULL: there are no packets in this loop */
    /* Both NULL: this loop watches nothing. */
    int (*watch)(struct loop *l, int fd, void (*readable)(void *user), void *user,
                 struct loop_watch **ret);
    void (*unwatch)(struct loop *l, struct loop_watch *w);
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
    struct log_limit flights;    /* of the flight recorders that are written to the log */
    const struct rnic_ops *rnic; /* seam/rdma.h: borrowed; NULL: this loop has no RDMA */
    void *rnic_state;            /* its own; NULL while nobody uses it */
    uint64_t rnic_spin_ns;       /* what rnic_spin was told last, for rnic */
    const struct shm_ops *shm;   /* seam/shm.h: borrowed; NULL: this loop shares no memory */
    /* Of socket files that are made by this loop, less the umask, where others than the owner may
     * connect, and the listener asks who they are; 0: 0600. */
    mode_t socket_mode;
    /* For how long after its last entry a ring in shared memory is looked at without sleeping, in
     * nanoseconds; 0: not at all.  It takes a core for itself.  Whoever makes the loop sets it. */
    uint64_t shm_spin_ns;
};

/* The public head of every stream. */
struct stream {
    struct loop *loop;
};

/* Makes turns until a turn has made a callback, timeout_ns nanoseconds have passed, or a signal
 * handler has run.  A negative timeout_ns means no limit; with 0 the loop makes one turn and does
 * not wait.  Returns the number of callbacks made, which is 0 after a timeout or a signal, or
 * -errno.  Must not be called from a callback. */
static inline int
loop_run(struct loop *l, int64_t timeout_ns)
{
    return l->ops->run(l, timeout_ns);
}

/* Returns a descriptor for programs that wait in a poll of their own.  It is readable whenever
 * loop_run has something to do, due timers included; now and then it is readable and loop_run finds
 * nothing.  The loop owns it and closes it.  On failure the function returns -errno; the simulator
 * has no descriptor and returns -ENOTSUP. */
static inline int
loop_fd(struct loop *l)
{
    return l->ops->fd(l);
}

/* Prepares a timer that has never been started, or that is stopped. */
static inline void
loop_timer_init(struct loop_timer *t, void (*fn)(struct loop_timer *t))
{
    *t = (struct loop_timer){.fn = fn};
}

/* Starts t; when t is running already, the new delay replaces the old one.  fn runs once, delay_ns
 * after now_ns at the earliest.  Timers that are due at the same time run in the order in which
 * they were started. */
static inline void
loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ns)
{
    l->ops->timer_start(l, t, delay_ns);
}

/* Stops t, so that fn is not called, not even when t is due already.  Does nothing when t is not
 * running. */
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

/* Prepares work that is not queued. */
static inline void
loop_work_init(struct loop_work *w, void (*fn)(struct loop_work *w))
{
    list_init(&w->node);
    w->fn = fn;
}

/* Has w->fn run at the end of this turn, or of the next one when the call is made outside a turn.
 * Callers use it to send in one system call what all callbacks of a turn have gathered.  Work that
 * is deferred from deferred work runs in the same turn as well, but a loop bounds how often it does
 * so; what is beyond the bound runs in the next turn.  Does nothing when w is queued already. */
static inline void
loop_defer(struct loop *l, struct loop_work *w)
{
    if (list_empty(&w->node))
        l->ops->defer(l, w);
}

/* Takes deferred work back, so that fn is not called.  Does nothing when w is not queued. */
static inline void
loop_defer_cancel(struct loop_work *w)
{
    list_del(&w->node);
}

/* Queues w for the loop's thread, which is woken and runs w->fn.  May be called on any thread while
 * the loop exists; w must not be queued.  Works that one thread posts run in the order of their
 * posting. */
static inline void
loop_post(struct loop *l, struct loop_work *w)
{
    l->ops->post(l, w);
}

/* Reads the monotonic clock of which now_ns is a copy that is as old as the turn.  It costs more
 * than to read now_ns, and is for those who measure what a turn does.  Nothing is changed. */
static inline uint64_t
loop_clock(struct loop *l)
{
    return l->ops->clock != NULL ? l->ops->clock(l) : l->now_ns;
}

/* Returns 64 random bits of the loop's own generator.  They are good enough for jitter and
 * identifiers, but a peer could guess them, so they are not for secrets.  Never fails. */
static inline uint64_t
loop_random(struct loop *l)
{
    return l->ops->random(l);
}

/* Fills buf with len bytes from the system's generator, for challenges and secrets.  Returns 0 or
 * -errno: -EAGAIN when the system has not gathered enough randomness yet, early in boot.  buf may
 * have been written in part then. */
static inline int
loop_secure_random(struct loop *l, void *buf, size_t len)
{
    return l->ops->secure_random(l, buf, len);
}

/* Looks host up, which is a numeric IPv4 address, a numeric IPv6 address with an optional %scope,
 * or a name of HOST_MAX bytes at most.  host is borrowed for the call; port is in host byte order
 * and is put into each address.
 *
 * done is called once, in a later callback: with err 0 and 1..LOOP_RESOLVE_MAX addresses, which
 * live until it returns, or with err -errno and count 0 (-ENOENT: there is no such name; -EAGAIN:
 * no name server answered).  *ret names the lookup for loop_resolve_cancel until done is called.
 *
 * Returns 0, or -errno, and then done is not called: -EINVAL for a name that is empty or too long,
 * -EBUSY when too many lookups are under way. */
static inline int
loop_resolve(struct loop *l, const char *host, uint16_t port,
             void (*done)(void *user, int err, const struct sock_addr *addr, int count), void *user,
             struct resolve **ret)
{
    return l->ops->resolve(l, host, port, done, user, ret);
}

/* Cancels a lookup whose done has not been called yet.  done is not called any more, and r must not
 * be used again. */
static inline void
loop_resolve_cancel(struct loop *l, struct resolve *r)
{
    l->ops->resolve_cancel(l, r);
}

/* Starts to connect; ->connected tells later how it went (of a local socket also -EAGAIN: so many
 * connections wait for the listener already that this one has to be tried again later).  The call
 * itself fails, with -errno, only where descriptors or memory are short, an option is refused, or
 * the address family is not supported (-ENODEV: there is no such device; -EADDRNOTAVAIL: this host
 * does not have the source address; -EAFNOSUPPORT: source and to are of different families; -EPERM:
 * the kernel is older than 5.7, and lets only root bind to a device).  to and opts are borrowed for
 * the call, ev as long as the stream has it; opts may be NULL.  The caller owns *ret until
 * stream_close or stream_release. */
static inline int
stream_connect(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
               const struct stream_events *ev, void *user, struct stream **ret)
{
    return l->ops->connect(l, to, opts, ev, user, ret);
}

/* Listens at an address; with port 0 the system chooses a free port.  *ret_bound gets the address
 * with the port that was taken; ret_bound may be NULL.  Returns 0 or -errno.  The caller owns *ret.
 *
 * Listening at a path makes a socket file there, which only its owner may connect to (mode 0600,
 * whatever the umask; see loop.socket_mode) and which is removed when the stream is closed.  A
 * socket file that a dead process has left behind is replaced.  -EADDRINUSE: somebody listens
 * there, or what stands there is not a socket.  A relative path is meant from the working
 * directory, also when it is removed. The directory is locked (flock) for that; where somebody else
 * holds that lock, this call waits for a fifth of a second, and where a process that is about to be
 * gone listens there, for it to be gone, but no longer than some seconds.  Inside loop_run it waits
 * for either some milliseconds only; -EAGAIN: that was too short, try again later.  A file that
 * somebody removes is made anew some seconds later, with the folders above it that are gone, and
 * the log says so; connections stay.  When the process dies, however it does, nobody listens there
 * any more as soon as it is gone. */
static inline int
stream_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
              void *user, struct stream **ret, struct sock_addr *ret_bound)
{
    return l->ops->listen(l, at, ev, user, ret, ret_bound);
}

/* Makes a stream of a connected descriptor, which comes from another loop's stream_release or from
 * another process.  Returns 0, and the stream owns fd; or -errno, and fd stays the caller's
 * (-EPROTOTYPE: fd is not a stream socket; -EINVAL: it listens).  The caller owns *ret. */
static inline int
stream_adopt(struct loop *l, int fd, const struct stream_events *ev, void *user,
             struct stream **ret)
{
    return l->ops->adopt(l, fd, ev, user, ret);
}

/* Makes a listening stream of a descriptor that listens already, as service managers hand them
 * over; ->accepted is called as after stream_listen.  A socket file stays when the stream is
 * closed.  Whoever connects from now on sees this process at the other end (stream_peer_cred).
 * Returns 0, and the stream owns fd; or -errno, and fd stays the caller's (-EPROTOTYPE: fd is not a
 * stream socket; -EINVAL: it does not listen).  The caller owns *ret. */
static inline int
stream_adopt_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                      struct stream **ret)
{
    return l->ops->adopt_listener(l, fd, ev, user, ret);
}

/* Frees s, but not its descriptor, which is returned and which the caller owns from then on;
 * another loop or process can adopt it.  s must be connected, and stream_lend must not have been
 * called on it.  Cannot fail. */
static inline int
stream_release(struct stream *s)
{
    return s->loop->ops->release(s);
}

/* Closes a descriptor that nobody adopts; it may be of any kind, since it can come from another
 * process.  -1 is harmless. */
static inline void
loop_close_fd(struct loop *l, int fd)
{
    if (fd >= 0)
        l->ops->close_fd(l, fd);
}

/* Calls readable(user) in each turn in which fd can be read from, has come to its end or has an
 * error, until loop_unwatch.  It says so of what is there, not of what has come: a callback that
 * reads nothing is called again in the next turn.  Now and then it is called and there is nothing,
 * so fd must not block.  Nothing is told of room to write.
 *
 * fd is not a stream of any loop, and is watched once at most on each; it stays the caller's, who
 * closes it after loop_unwatch.  *ret is the loop's, and the caller's name of the watch.  Returns
 * 0; or -errno: -EBADF; -EPERM where a descriptor cannot be waited for, as that of a file; -EEXIST
 * where it is watched already; -EOPNOTSUPP where the loop watches nothing. */
static inline int
loop_watch(struct loop *l, int fd, void (*readable)(void *user), void *user,
           struct loop_watch **ret)
{
    return l->ops->watch != NULL ? l->ops->watch(l, fd, readable, user, ret) : -EOPNOTSUPP;
}

/* Ends a watch: readable is not called any more, not even where it is due in this turn, and w must
 * not be used again.  May be called from inside any callback, that of w as well. */
static inline void
loop_unwatch(struct loop *l, struct loop_watch *w)
{
    l->ops->unwatch(l, w);
}

/* Replaces the callbacks of s, and the user that they are called with.  ev is borrowed as long as s
 * has it.  Bytes that came before, and that the former callbacks have not received, are reported to
 * the new ones. */
static inline void
stream_set_events(struct stream *s, const struct stream_events *ev, void *user)
{
    s->loop->ops->set_events(s, ev, user);
}

/* Sends as much of n pieces as the system takes.  Returns the number of bytes taken, -EAGAIN when
 * there is no room, or another -errno when the connection is dead.  After -EAGAIN or a short count
 * ->writable is called once.  n is 0..IOV_MAX; total is the sum of the lengths of the pieces, which
 * the caller knows from gathering them. */
static inline ssize_t
stream_sendv(struct stream *s, const struct iovec *iov, int n, size_t total)
{
    return s->loop->ops->sendv(s, iov, n, total);
}

/* Receives what is there into n pieces; n is 1..IOV_MAX.  Returns the number of bytes, 0 at the end
 * of the stream, -EAGAIN when nothing is there, or another -errno when the connection is dead. */
static inline ssize_t
stream_recvv(struct stream *s, const struct iovec *iov, int n)
{
    return s->loop->ops->recvv(s, iov, n);
}

/* From now on ->readable is called only when that many bytes can be received, or the end of the
 * stream or an error.  A new stream has 1; 0 means 1, too.  Returns 0 or -errno. */
static inline int
stream_set_rcvlowat(struct stream *s, uint32_t bytes)
{
    return s->loop->ops->set_rcvlowat(s, bytes);
}

/* Sets all options of opts on a stream.  Returns 0, or -errno of the first option that the system
 * refuses; those before it are then set, those after it are not. */
static inline int
stream_set_opts(struct stream *s, const struct stream_opts *opts)
{
    return s->loop->ops->set_opts(s, opts);
}

/* Allows the system, from now on, to send pieces of at least min bytes of a stream_sendv from the
 * caller's memory instead of copying them ("lending").  min is a power of two.
 *
 * The system reads lent memory until the peer has acknowledged the bytes; if the caller changes it
 * earlier, the peer may get the changed bytes.  So the caller must keep the memory of bytes that
 * stream_sendv has taken until they are no longer among stream_unacked, or until the stream is
 * closed.  The system may also refer to bytes that stream_sendv has not taken yet: the next
 * stream_sendv must begin with the same bytes in the same memory.  The implementation decides which
 * pieces are lent, and copies where it cannot lend.
 *
 * This may be called once on a connected stream, which cannot be released afterwards.  Returns 0 or
 * -errno: -ENOTSUP where nothing is ever lent. */
static inline int
stream_lend(struct stream *s, uint32_t min)
{
    return s->loop->ops->lend(s, min);
}

/* Returns how many bytes have arrived that stream_recvv has not given yet, or -errno. */
static inline int64_t
stream_unread(struct stream *s)
{
    return s->loop->ops->unread(s);
}

/* Returns how many of the bytes that stream_sendv has taken the peer has not acknowledged yet, or
 * -errno.  TCP acknowledges in order, so it is always the last so many bytes. */
static inline int64_t
stream_unacked(struct stream *s)
{
    return s->loop->ops->unacked(s);
}

/* Gets the addresses of both ends; either pointer may be NULL.  Returns 0, or -errno, and then
 * writes neither. */
static inline int
stream_names(struct stream *s, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    return s->loop->ops->names(s, ret_local, ret_peer);
}

/* Tells who is at the other end of a connection of a local socket: the user and the process that
 * connected, or that listened, at the time when they did so.  Either pointer may be NULL.  Returns
 * 0, or -errno, and then writes neither: -EOPNOTSUPP where s is not of a local socket. */
static inline int
stream_peer_cred(struct stream *s, uid_t *ret_uid, pid_t *ret_pid)
{
    return s->loop->ops->peer_cred(s, ret_uid, ret_pid);
}

/* Closes and frees s; none of its callbacks is called any more.  The system goes on sending the
 * bytes that it has taken, except when lent bytes are not acknowledged yet: it then drops all
 * unsent bytes and resets the connection, so that nothing refers to lent memory afterwards. */
static inline void
stream_close(struct stream *s)
{
    s->loop->ops->close(s);
}

/* The same as stream_close, but the system drops what it has not sent, and resets the connection.
 * The peer's system then reports an error, so that the peer does not serve what it may have
 * received from a connection that nobody wants any more. */
static inline void
stream_reset(struct stream *s)
{
    s->loop->ops->reset(s);
}

/* Packets (SOCK_SEQPACKET of AF_UNIX).  A stream of packets is made by the four calls that follow,
 * or comes from a listener that two of them make.  They do what the calls of streams of bytes do,
 * and also return -EOPNOTSUPP where the loop has no packets or the address is not that of a local
 * socket.  For a stream of packets all functions above may be called but stream_sendv,
 * stream_recvv, stream_set_rcvlowat, stream_lend, stream_unread and stream_unacked. */
static inline int
stream_connect_packets(struct loop *l, const struct sock_addr *to, const struct stream_events *ev,
                       void *user, struct stream **ret)
{
    const struct packet_ops *ops = l->ops->packets;

    return ops != NULL ? ops->connect(l, to, ev, user, ret) : -EOPNOTSUPP;
}

/* See stream_listen. */
static inline int
stream_listen_packets(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
                      void *user, struct stream **ret)
{
    const struct packet_ops *ops = l->ops->packets;

    return ops != NULL ? ops->listen(l, at, ev, user, ret) : -EOPNOTSUPP;
}

/* See stream_adopt; -EPROTOTYPE: fd carries no packets. */
static inline int
stream_adopt_packets(struct loop *l, int fd, const struct stream_events *ev, void *user,
                     struct stream **ret)
{
    const struct packet_ops *ops = l->ops->packets;

    return ops != NULL ? ops->adopt(l, fd, ev, user, ret) : -EOPNOTSUPP;
}

/* See stream_adopt_listener; -EPROTOTYPE: fd carries no packets. */
static inline int
stream_adopt_packet_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                             struct stream **ret)
{
    const struct packet_ops *ops = l->ops->packets;

    return ops != NULL ? ops->adopt_listener(l, fd, ev, user, ret) : -EOPNOTSUPP;
}

/* Sends n pieces, which together are not empty, as one packet, and with it a copy of descriptor fd;
 * -1: none.  fd stays the caller's.  Returns 0, and the packet is under way; -EAGAIN when there is
 * no room, and then ->writable is called once; -EMSGSIZE when a packet can never be as large (256
 * bytes always can); -ENOMEM, -ENOBUFS or -ETOOMANYREFS when memory is short or too many
 * descriptors are under way, which may be better later; or another -errno when the connection is
 * dead. */
static inline int
stream_send_packet(struct stream *s, const struct iovec *iov, int n, int fd)
{
    return s->loop->ops->packets->send(s, iov, n, fd);
}

/* Receives one packet into buf[0..size).  Returns its length; 0 at the end of the stream (a packet
 * without a byte, which a peer might send, is taken for the end, too); -EAGAIN when nothing is
 * there; -EMSGSIZE when it was longer than size, or -EPROTO when it brought more than one
 * descriptor, and then the packet is gone and its descriptors are closed, and the next can be
 * received; or another -errno when the connection is dead.
 * What the other end sent before it was closed is received first, whether or not it had received
 * what was sent to it.
 *
 * *ret_fd gets the descriptor that came with it, which the caller owns and which is not kept over
 * exec; -1: none came, or the call has failed; -EMFILE: one came and was lost, because this process
 * may not open any more. */
static inline ssize_t
stream_recv_packet(struct stream *s, void *buf, size_t size, int *ret_fd)
{
    return s->loop->ops->packets->recv(s, buf, size, ret_fd);
}

#endif
