/* SPDX-License-Identifier: MIT */
/* loop/real.h - the structure of the real loop, and what the files of this folder offer each other.
 * loop.c is above the others: it makes the turn and calls them, and none of them calls it. */
#ifndef LOOP_REAL_H
#define LOOP_REAL_H

#include <errno.h>
#include <sys/socket.h>

#include "loop/loop.h"
#include "loop/mailbox.h"
#include "loop/poll.h"

struct real_ringer;

struct real_loop {
    struct loop pub;
    struct poller *poller;
    struct timerq timers;
    struct list deferred;     /* struct loop_work, borrowed */
    struct list works;        /* struct loop_work: those that this turn runs */
    struct list ready;        /* struct sock that has an event for its owner */
    struct list now;          /* ... and is being dispatched in this turn */
    struct list dead;         /* struct sock that is closed, and freed by real_reap_streams */
    struct list watches;      /* struct loop_watch */
    struct list watches_over; /* those that have ended while the kernel still knows them */
    struct mailbox *mail;
    struct pollee wake;
    struct pollee alarm;        /* timerfd, only when loop_fd was asked for */
    uint64_t alarm_ns;          /* when it goes off, on the clock of now_ns; 0: never set */
    uint64_t callbacks;         /* how many were ever made: loop_run returns the difference */
    uint64_t spin_ns, spin_now; /* busy polling: the longest, and the length of the next */
    uint32_t spin_skipped;      /* shortened polls since the last one of full length */
    uint64_t rng[4];
    struct list lookups; /* struct resolve that waits for a thread */
    uint32_t lookup_threads, lookups_pending;
    uint32_t streams;
    struct real_ringer *ringer; /* owned: what rings bells (shm.c); NULL: it has none yet */
    /* Inside loop_run; loop_fd was called; its descriptor shows already that there is something to
     * do. */
    bool running, fd_asked, kicked;
};

static inline struct real_loop *
real_loop(struct loop *l)
{
    return container_of(l, struct real_loop, pub);
}

/* Whether there is something to do without asking the kernel. */
static inline bool
real_busy(struct real_loop *l)
{
    return !list_empty(&l->ready) || !list_empty(&l->deferred) || mailbox_any(l->mail);
}

/* fd.c */
int real_fd(struct loop *l);
/* Makes the descriptor that loop_fd returned readable if there is something to do, and sets the
 * alarm. */
void real_fd_show(struct real_loop *l);
/* The `ready` of a descriptor whose only purpose is to end a wait; does nothing. */
void real_woken(struct pollee *e, uint32_t events);

/* Called after each change that may give the loop something to do.  A change that is made outside
 * loop_run has to make the descriptor of loop_fd readable. */
static inline void
real_changed(struct real_loop *l)
{
    if (!l->running && l->fd_asked)
        real_fd_show(l);
}

/* resolve.c */
int real_resolve(struct loop *l, const char *host, uint16_t port,
                 void (*done)(void *user, int err, const struct sock_addr *addr, int count),
                 void *user, struct resolve **ret);
void real_resolve_cancel(struct loop *l, struct resolve *r);
/* Frees the lookup that w is part of, if it is part of one.  Called for posted work that is not run
 * because the loop ends. */
void real_resolve_drop(struct loop_work *w);

/* stream.c */
int real_connect(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
                 const struct stream_events *ev, void *user, struct stream **ret);
int real_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
                void *user, struct stream **ret, struct sock_addr *ret_bound);
int real_adopt(struct loop *l, int fd, const struct stream_events *ev, void *user,
               struct stream **ret);
int real_adopt_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                        struct stream **ret);
int real_release(struct stream *s);
void real_set_events(struct stream *s, const struct stream_events *ev, void *user);
ssize_t real_sendv(struct stream *s, const struct iovec *iov, int n, size_t total);
ssize_t real_recvv(struct stream *s, const struct iovec *iov, int n);
int real_set_rcvlowat(struct stream *s, uint32_t bytes);
int real_set_opts(struct stream *s, const struct stream_opts *opts);
int real_lend(struct stream *s, uint32_t min);
int64_t real_unacked(struct stream *s);
int64_t real_unread(struct stream *s);
int real_names(struct stream *s, struct sock_addr *ret_local, struct sock_addr *ret_peer);
void real_close(struct stream *s);
void real_reset(struct stream *s);
int real_peer_cred(struct stream *s, uid_t *ret_uid, pid_t *ret_pid);
void real_close_fd(struct loop *l, int fd);
extern const struct packet_ops real_packet_ops;

/* Returns a message of n pieces.  The pieces of a struct msghdr are not const, because recvmsg
 * writes to them; sendmsg does not. */
static inline struct msghdr
real_message(const struct iovec *iov, int n)
{
    const union {
        const struct iovec *in;
        struct iovec *out;
    } u = {iov};

    return (struct msghdr){.msg_iov = u.out, .msg_iovlen = (size_t)n};
}

/* Calls sendmsg so that it neither blocks nor raises SIGPIPE.  Returns the bytes sent, -EAGAIN or
 * another -errno. */
static inline ssize_t
real_send(int fd, const struct iovec *iov, int n, int flags, struct loop_stats *stats)
{
    struct msghdr msg = real_message(iov, n);
    ssize_t r;

    do {
        stats->syscalls++;
        stats->sends++;
        r = sendmsg(fd, &msg, flags | MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    return r;
}

/* lend.c: sending on one socket without a copy */
struct lend;
int lend_new(int fd, uint32_t min, struct lend **ret);
/* As stream_sendv; pieces of at least min bytes are lent where that works. */
ssize_t lend_sendv(struct lend *d, const struct iovec *iov, int n, size_t total,
                   struct loop_stats *stats);
/* Bytes in the socket that the peer has not acknowledged, or -errno. */
int64_t lend_unacked(int fd, struct loop_stats *stats);
/* Called before the socket is closed; afterwards the kernel refers to none of the lent memory.  d
 * may be NULL. */
void lend_free(struct lend *d, struct loop_stats *stats);
/* Drops the write queue of a socket at once and sends a reset, even when another process has the
 * socket, too. */
void lend_purge(int fd);

/* local.c: what is particular to the sockets of AF_UNIX */
struct local_file;
/* Binds a socket to a local address and listens; inside: in a turn of a loop; mode: of the file, 0:
 * 0600.  *ret_file gets the
 * file that was made, also where listening then failed; NULL: none was, or the name is abstract.
 * Returns 0 or -errno. */
int local_listen(int fd, const struct sock_addr *at, int backlog, bool inside, mode_t mode,
                 struct local_file **ret_file);
/* Is the file still where it was made?  0; -EEXIST: another has taken its place; or -errno, -ENOENT
 * where it was removed.  Only while the socket that was bound to it is open. */
int local_look(const struct local_file *f);
const char *local_path(const struct local_file *f);
/* Makes the folders of the path that are missing, for their owner alone. */
void local_make_folders(const struct local_file *f);
/* Removes the file, unless another has taken its place, and frees f, which may be NULL; before its
 * socket is closed. */
void local_unlink(struct local_file *f);
int local_peer_cred(int fd, uid_t *ret_uid, pid_t *ret_pid);
/* As stream_send_packet and stream_recv_packet. */
int local_send_packet(int fd, const struct iovec *iov, int n, int passed, struct loop_stats *stats);
ssize_t local_recv_packet(int fd, void *buf, size_t size, int *ret_fd, struct loop_stats *stats);

/* watch.c */
int real_watch(struct loop *l, int fd, void (*readable)(void *user), void *user,
               struct loop_watch **ret);
void real_unwatch(struct loop *l, struct loop_watch *w);
/* Frees the watches that have ended; the poller is gone. */
void real_drop_watches(struct real_loop *l);

/* shm.c: seam/shm.h */
extern const struct shm_ops real_shm_ops;
void real_ringer_free(struct real_ringer *r); /* NULL is harmless */

/* Makes the callbacks of all streams that are ready now. */
void real_dispatch_streams(struct real_loop *l);
/* Frees the closed streams to which the kernel does not refer any more.  all is true when the
 * poller is gone, so that every closed stream can be freed. */
void real_reap_streams(struct real_loop *l, bool all);

#endif
