/* SPDX-License-Identifier: MIT */
/* loop/stream.c - byte streams on sockets; the only socket calls of the project.
 *
 * Readiness is edge-triggered: the kernel reports each change once.  So the stream keeps
 * in `readable` that there may be something to receive, until a receive has emptied the
 * socket, and in `out` that there is room to send.  A stream that has an event for its
 * owner is in the loop's ready list.  A callback may close its stream; the closed stream
 * stays in memory until the end of the turn, so that the function that has made the
 * callback can look at `closed`.
 */
#include "loop/sock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BACKLOG         1024
#define ACCEPT_MAX      16   /* connections taken in one turn */
#define ACCEPT_RETRY_MS 100  /* until the next try after descriptors or memory had run out */
#define LOOK_MS         3000 /* between two looks at the file of a listener */
#define HUNG_UP         (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

static struct real_loop *
loop_of(struct sock *s)
{
    return real_loop(s->pub.loop);
}

static void
queue_if_news(struct sock *s)
{
    if (sock_has_news(s) && list_empty(&s->ready))
        list_push_back(&loop_of(s)->ready, &s->ready);
}

/* Keeps what the poller reports.  real_dispatch_streams calls the owner later. */
static void
sock_ready(struct pollee *e, uint32_t events)
{
    struct sock *s = container_of(e, struct sock, poll);

    if (events & HUNG_UP)
        s->hung_up = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        s->out = true;
        s->settled = true;
    }
    if ((events & (EPOLLERR | EPOLLHUP)) || ((events & (EPOLLIN | EPOLLRDHUP)) && !s->ended))
        s->readable = true;
    queue_if_news(s);
}

/* Making and unmaking. */

static struct sock *
sock_new(struct real_loop *l, int family, int type)
{
    struct sock *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->pub.loop = &l->pub;
    s->poll = (struct pollee){.fd = -1, .ready = sock_ready};
    list_init(&s->ready);
    list_init(&s->dead);
    s->family = family;
    s->type = type;
    s->lowat = 1;
    l->streams++;
    return s;
}

static int
sock_register(struct sock *s)
{
    struct real_loop *l = loop_of(s);
    int r;

    assert(s->poll.fd >= 0 && !s->registered && !s->closed);
    s->poll.apart = s->state == SOCK_LISTENING;
    r = l->poller->ops->add(l->poller, &s->poll);
    s->registered = r == 0;
    return r;
}

/* Takes s out of the loop.  The descriptor, which is returned, is the caller's from then on. */
static int
sock_drop(struct sock *s)
{
    struct real_loop *l = loop_of(s);

    assert(!s->closed && l->streams > 0);
    s->closed = true;
    list_del(&s->ready);
    if (s->at != NULL) {
        loop_timer_stop(&l->pub, &s->at->retry);
        loop_timer_stop(&l->pub, &s->at->look);
    }
    if (s->registered)
        l->poller->ops->del(l->poller, &s->poll);
    l->streams--;
    if (l->running || s->poll.armed)
        list_push_back(&l->dead, &s->dead);
    return s->poll.fd;
}

/* Closes and frees a stream: one that is not needed any more, or whose making has failed. */
static void
sock_undo(struct sock *s)
{
    int fd = sock_drop(s);

    if (s->at != NULL)
        local_unlink(s->at->file); /* before nobody answers there any more */
    free(s->at);
    s->at = NULL;
    if (fd >= 0)
        (void)close(fd);
    if (list_empty(&s->dead))
        free(s);
}

void
real_reap_streams(struct real_loop *l, bool all)
{
    LIST_FOREACH_SAFE (n, &l->dead) {
        struct sock *s = container_of(n, struct sock, dead);

        assert(s->closed && list_empty(&s->ready));
        if (s->poll.armed && !all)
            continue;
        list_del(n);
        free(s);
    }
}

void
real_close(struct stream *pub)
{
    struct real_loop *l = real_loop(pub->loop);

    assert(!sock_of(pub)->closed);
    l->pub.stats.syscalls++;
    lend_free(sock_of(pub)->lend, &l->pub.stats);
    sock_undo(sock_of(pub));
}

void
real_reset(struct stream *pub)
{
    real_loop(pub->loop)->pub.stats.syscalls++;
    lend_purge(sock_of(pub)->poll.fd);
    real_close(pub);
}

void
real_close_fd(struct loop *pub, int fd)
{
    assert(fd >= 0);
    pub->stats.syscalls++;
    (void)close(fd);
}

int
real_release(struct stream *pub)
{
    struct sock *s = sock_of(pub);
    int fd;

    assert(!s->closed && s->state == SOCK_OPEN && s->lend == NULL);
    (void)real_set_rcvlowat(pub, 1); /* the next owner expects the default */
    fd = sock_drop(s);
    if (list_empty(&s->dead))
        free(s);
    return fd;
}

void
real_set_events(struct stream *pub, const struct stream_events *ev, void *user)
{
    struct sock *s = sock_of(pub);

    assert(ev != NULL && !s->closed);
    s->ev = ev;
    s->user = user;
    queue_if_news(s); /* there may be bytes for which the former events had no callback */
}

/* Options. */

static int
set_int(struct sock *s, int level, int name, int value)
{
    s->pub.loop->stats.syscalls++;
    return setsockopt(s->poll.fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int
clamp_int(uint32_t v)
{
    return v > INT_MAX ? INT_MAX : (int)v;
}

static int
set_tcp_opts(struct sock *s, const struct stream_opts *o)
{
    int r = set_int(s, IPPROTO_TCP, TCP_NODELAY, o->nodelay);

    if (r == 0 && o->user_timeout_ms > 0)
        r = set_int(s, IPPROTO_TCP, TCP_USER_TIMEOUT, clamp_int(o->user_timeout_ms));
    if (r == 0 && s->family == AF_INET)
        r = set_int(s, IPPROTO_IP, IP_TOS, o->dscp << 2);
    if (r == 0 && s->family == AF_INET6)
        r = set_int(s, IPPROTO_IPV6, IPV6_TCLASS, o->dscp << 2);
    return r;
}

int
real_set_opts(struct stream *pub, const struct stream_opts *o)
{
    struct sock *s = sock_of(pub);
    int r;

    assert(!s->closed && o->dscp < 64);
    r = set_int(s, SOL_SOCKET, SO_KEEPALIVE, o->keepalive);
    if (r == 0 && o->sndbuf > 0)
        r = set_int(s, SOL_SOCKET, SO_SNDBUF, clamp_int(o->sndbuf));
    if (r == 0 && o->rcvbuf > 0)
        r = set_int(s, SOL_SOCKET, SO_RCVBUF, clamp_int(o->rcvbuf));
    if (r == 0 && (s->family == AF_INET || s->family == AF_INET6))
        r = set_tcp_opts(s, o);
    return r;
}

static int __attribute__((noinline)) change_rcvlowat(struct sock *s, uint32_t bytes)
{
    int r = set_int(s, SOL_SOCKET, SO_RCVLOWAT, clamp_int(bytes));

    if (r == 0)
        s->lowat = bytes;
    return r;
}

int
real_set_rcvlowat(struct stream *pub, uint32_t bytes)
{
    struct sock *s = sock_of(pub);

    if (bytes == 0)
        bytes = 1;
    return bytes == s->lowat ? 0 : change_rcvlowat(s, bytes); /* mostly it stays as it is */
}

int
real_names(struct stream *pub, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    struct sock *s = sock_of(pub);
    struct sock_addr local = {.len = sizeof(local.ss)}, peer = {.len = sizeof(peer.ss)};

    if (ret_local != NULL && getsockname(s->poll.fd, (void *)&local.ss, &local.len) < 0)
        return -errno;
    if (ret_peer != NULL && getpeername(s->poll.fd, (void *)&peer.ss, &peer.len) < 0)
        return -errno;
    if (ret_local != NULL)
        *ret_local = local;
    if (ret_peer != NULL)
        *ret_peer = peer;
    return 0;
}

/* Connecting, listening, adopting. */

/* A stream on a new socket, which is not registered with the poller yet. */
static int
open_socket(struct real_loop *l, const struct sock_addr *a, int type,
            const struct stream_events *ev, void *user, struct sock **ret)
{
    struct sock *s = sock_new(l, a->ss.ss_family, type);

    if (s == NULL)
        return -ENOMEM;
    s->ev = ev;
    s->user = user;
    l->pub.stats.syscalls++;
    s->poll.fd = socket(s->family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->poll.fd < 0) {
        int r = -errno;

        sock_undo(s);
        return r;
    }
    *ret = s;
    return 0;
}

int
sock_connect(struct loop *pub, const struct sock_addr *to, int type, const struct stream_opts *opts,
             const struct stream_events *ev, void *user, struct stream **ret)
{
    struct real_loop *l = real_loop(pub);
    struct sock *s = NULL;
    int r;

    assert(ev != NULL && ev->connected != NULL);
    r = open_socket(l, to, type, ev, user, &s);
    if (r < 0)
        return r;
    assert(s != NULL);
    s->state = SOCK_CONNECTING;
    r = opts != NULL ? real_set_opts(&s->pub, opts) : 0;
    if (r == 0 && opts != NULL && s->family != AF_UNIX)
        r = sock_bind_source(&s->pub, opts, to);
    if (r < 0)
        goto fail;
    pub->stats.syscalls++;
    if (connect(s->poll.fd, (const void *)&to->ss, to->len) < 0 && errno != EINPROGRESS) {
        s->connect_err = -errno;
        s->settled = true;
        queue_if_news(s);
    } else {
        r = sock_register(s);
        if (r < 0)
            goto fail;
    }
    *ret = &s->pub;
    real_changed(l);
    return 0;

fail:
    sock_undo(s);
    return r;
}

int
real_connect(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
             const struct stream_events *ev, void *user, struct stream **ret)
{
    return sock_connect(l, to, SOCK_STREAM, opts, ev, user, ret);
}

static int
bind_and_listen(struct sock *s, const struct sock_addr *at)
{
    int r = 0;

    if (s->family != AF_UNIX)
        r = set_int(s, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0 && s->family == AF_INET6)
        r = set_int(s, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (r < 0)
        return r;
    if (s->family == AF_UNIX)
        r = local_listen(s->poll.fd, at, BACKLOG, loop_of(s)->running, s->pub.loop->socket_mode,
                         &s->at->file);
    else if (bind(s->poll.fd, (const void *)&at->ss, at->len) < 0 ||
             listen(s->poll.fd, BACKLOG) < 0)
        r = -errno;
    return r < 0 ? r : sock_register(s);
}

/* Replaces the socket of a listener, whose file is gone and cannot be made for the same socket
 * again, by one with a file.  Nothing waits at the old one. */
static int
listen_anew(struct sock *s)
{
    struct real_loop *l = loop_of(s);
    const char *path = local_path(s->at->file);
    struct local_file *file = NULL;
    struct sock_addr at;
    int fd, r;

    r = sock_addr_local(path, strlen(path), &at, NULL);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, s->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    local_make_folders(s->at->file);
    r = local_listen(fd, &at, BACKLOG, true, s->pub.loop->socket_mode, &file);
    if (r < 0) {
        local_unlink(file);
        (void)close(fd);
        return r;
    }
    if (s->registered)
        l->poller->ops->del(l->poller, &s->poll);
    s->registered = s->poll.gone = false;
    local_unlink(s->at->file);
    (void)close(s->poll.fd);
    s->poll.fd = fd;
    s->at->file = file;
    return sock_register(s);
}

static void
tell_of_file(struct sock *s, int r)
{
    const struct log *log = loop_of(s)->pub.log;
    const char *path = local_path(s->at->file);

    if (r == s->at->file_err)
        return;
    s->at->file_err = r;
    if (r == -EADDRINUSE)
        log_line(log, LOG_LEVEL_ERROR,
                 "%s was removed, and another process listens there now: nobody reaches this one",
                 path);
    else if (r < 0)
        log_line(log, LOG_LEVEL_ERROR,
                 "%s was removed and cannot be made anew, so that nobody can connect: %s", path,
                 errno_text(r));
}

/* Whoever removes the file, by mistake or with a temporary folder, locks everybody out. */
static void
look_at_file(struct loop_timer *t)
{
    struct sock *s = container_of(t, struct sock_listening, look)->s;
    int r = local_look(s->at->file);

    if (r == 0 && !s->registered) /* made anew, when there was no memory for what follows */
        r = sock_register(s);
    if (r < 0 && !s->readable) { /* what waits is taken first */
        r = listen_anew(s);
        if (r == 0)
            log_line(loop_of(s)->pub.log, LOG_LEVEL_WARN, "%s was removed, and is made anew",
                     local_path(s->at->file));
        tell_of_file(s, r);
    } else if (r == 0) {
        s->at->file_err = 0;
    }
    loop_timer_start(&loop_of(s)->pub, t, LOOK_MS * LOOP_NS_PER_MS);
}

static void
retry_accept(struct loop_timer *t)
{
    struct sock *s = container_of(t, struct sock_listening, retry)->s;

    s->readable = true;
    queue_if_news(s);
}

static int
become_listener(struct sock *s)
{
    s->at = calloc(1, sizeof(*s->at));
    if (s->at == NULL)
        return -ENOMEM;
    s->at->s = s;
    loop_timer_init(&s->at->retry, retry_accept);
    loop_timer_init(&s->at->look, look_at_file);
    return 0;
}

int
sock_listen(struct loop *pub, const struct sock_addr *at, int type, const struct stream_events *ev,
            void *user, struct stream **ret, struct sock_addr *ret_bound)
{
    struct real_loop *l = real_loop(pub);
    struct sock *s = NULL;
    int r;

    assert(ev != NULL && ev->accepted != NULL);
    r = open_socket(l, at, type, ev, user, &s);
    if (r < 0)
        return r;
    assert(s != NULL);
    s->state = SOCK_LISTENING;
    r = become_listener(s);
    if (r == 0)
        r = bind_and_listen(s, at);
    if (r == 0)
        r = real_names(&s->pub, ret_bound, NULL);
    if (r < 0) {
        sock_undo(s);
        return r;
    }
    if (s->at->file != NULL)
        loop_timer_start(pub, &s->at->look, LOOK_MS * LOOP_NS_PER_MS);
    *ret = &s->pub;
    real_changed(l);
    return 0;
}

int
real_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev, void *user,
            struct stream **ret, struct sock_addr *ret_bound)
{
    return sock_listen(l, at, SOCK_STREAM, ev, user, ret, ret_bound);
}

/* On failure fd stays the caller's. */
static int
take_fd(struct real_loop *l, int fd, int family, int type, enum sock_state state, struct sock **ret)
{
    struct sock *s = sock_new(l, family, type);
    int r;

    if (s == NULL)
        return -ENOMEM;
    s->state = state;
    s->poll.fd = fd;
    r = state == SOCK_LISTENING ? become_listener(s) : 0;
    if (r == 0)
        r = sock_register(s);
    if (r < 0) {
        s->poll.fd = -1;
        sock_undo(s);
        return r;
    }
    *ret = s;
    return 0;
}

static int
get_int(int fd, int name, int *ret)
{
    socklen_t len = sizeof(*ret);

    return getsockopt(fd, SOL_SOCKET, name, ret, &len) < 0 ? -errno : 0;
}

/* Takes a socket of that type that another loop or process has made. */
int
sock_adopt(struct loop *pub, int fd, int want_type, enum sock_state state,
           const struct stream_events *ev, void *user, struct stream **ret)
{
    struct real_loop *l = real_loop(pub);
    struct sock *s = NULL;
    int type = 0, family = 0, listening = 0, lowat = 1, flags, r;

    r = get_int(fd, SO_TYPE, &type);
    if (r == 0)
        r = get_int(fd, SO_DOMAIN, &family);
    if (r == 0)
        r = get_int(fd, SO_ACCEPTCONN, &listening);
    if (r == 0)
        r = get_int(fd, SO_RCVLOWAT, &lowat);
    if (r < 0)
        return r;
    if (type != want_type || (type != SOCK_STREAM && family != AF_UNIX))
        return -EPROTOTYPE;
    if ((state == SOCK_LISTENING) != (listening != 0))
        return -EINVAL;
    flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
        return -errno;
    r = take_fd(l, fd, family, type, state, &s);
    if (r < 0)
        return r;
    s->ev = ev;
    s->user = user;
    s->lowat = lowat > 0 ? (uint32_t)lowat : 0;
    (void)real_set_rcvlowat(&s->pub, 1);
    *ret = &s->pub;
    real_changed(l);
    return 0;
}

int
real_adopt(struct loop *l, int fd, const struct stream_events *ev, void *user, struct stream **ret)
{
    assert(ev != NULL);
    return sock_adopt(l, fd, SOCK_STREAM, SOCK_OPEN, ev, user, ret);
}

int
sock_adopt_listener(struct loop *l, int fd, int type, const struct stream_events *ev, void *user,
                    struct stream **ret)
{
    int flags = fcntl(fd, F_GETFL), r;

    assert(ev != NULL && ev->accepted != NULL);
    /* accept4 has no flag like MSG_DONTWAIT. */
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    r = sock_adopt(l, fd, type, SOCK_LISTENING, ev, user, ret);
    /* Who connects to a local socket sees the credentials of whoever listened last: those of a
     * service manager, unless we do so once more.  It cannot fail where it is listened already. */
    if (r == 0 && sock_of(*ret)->family == AF_UNIX)
        (void)listen(fd, BACKLOG);
    return r;
}

int
real_adopt_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                    struct stream **ret)
{
    return sock_adopt_listener(l, fd, SOCK_STREAM, ev, user, ret);
}

int
real_peer_cred(struct stream *pub, uid_t *ret_uid, pid_t *ret_pid)
{
    const struct sock *s = sock_of(pub);

    if (s->family != AF_UNIX || s->state != SOCK_OPEN)
        return -EOPNOTSUPP;
    pub->loop->stats.syscalls++;
    return local_peer_cred(s->poll.fd, ret_uid, ret_pid);
}

/* Moving bytes. */

ssize_t
real_sendv(struct stream *pub, const struct iovec *iov, int n, size_t total)
{
    struct sock *s = sock_of(pub);
    struct loop_stats *stats = &pub->loop->stats;
    ssize_t r;

    assert(!s->closed && n >= 0 && n <= IOV_MAX);
    if (__builtin_expect(s->lend != NULL, 0))
        r = lend_sendv(s->lend, iov, n, total, stats);
    else
        r = real_send(s->poll.fd, iov, n, 0, stats);
    if (r < 0 && r != -EAGAIN)
        return r;
    if (r > 0)
        stats->bytes_sent += (uint64_t)r;
    if (r < 0 || (size_t)r < total) {
        s->want_write =
            true; /* the kernel saw the send fall short, and will report room as an edge */
        s->out = false;
    }
    return r;
}

int
real_lend(struct stream *pub, uint32_t min)
{
    struct sock *s = sock_of(pub);

    assert(!s->closed && s->state == SOCK_OPEN && s->lend == NULL);
    return lend_new(s->poll.fd, min, &s->lend);
}

int64_t
real_unacked(struct stream *pub)
{
    return lend_unacked(sock_of(pub)->poll.fd, &pub->loop->stats);
}

int64_t
real_unread(struct stream *pub)
{
    int n;

    pub->loop->stats.syscalls++;
    return ioctl(sock_of(pub)->poll.fd, SIOCINQ, &n) < 0 ? -errno : n;
}

/* Whether a receive that returned r has emptied the socket.  On TCP a count below the room that was
 * offered says so, which saves a receive that finds nothing.  The end or an error that comes later
 * is a new edge; one that had come before is in `hung_up`, and then only the next receive shows it.
 * On AF_UNIX a receive also stops behind descriptors that the other end has sent along, and says so
 * by MSG_CTRUNC, since nobody here takes them. */
static bool
sock_drained(const struct sock *s, ssize_t r, const struct iovec *iov, int n, int flags)
{
    if (r <= 0 || s->hung_up || (flags & MSG_CTRUNC) != 0)
        return r <= 0;
    return (size_t)r < sock_total(iov, n);
}

ssize_t
real_recvv(struct stream *pub, const struct iovec *iov, int n)
{
    struct sock *s = sock_of(pub);
    struct msghdr msg = real_message(iov, n);
    struct loop_stats *stats = &pub->loop->stats;
    ssize_t r;

    assert(!s->closed && n > 0 && n <= IOV_MAX);
    do {
        stats->syscalls++;
        stats->recvs++;
        r = recvmsg(s->poll.fd, &msg, MSG_DONTWAIT);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        r = errno == EWOULDBLOCK ? -EAGAIN : -errno;
    if (sock_drained(s, r, iov, n, msg.msg_flags)) {
        s->readable = false;
        if (r == 0)
            s->ended = true;
        if (!sock_has_news(s))
            list_del(&s->ready);
    }
    if (r > 0)
        stats->bytes_received += (uint64_t)r;
    return r;
}

/* Calling the owners. */

/* There was nothing left for a connection.  Whatever lasts is told once, and when it is over. */
static void
starve(struct sock *s, const char *what, int err)
{
    if (s->at->starved++ == 0)
        log_line(loop_of(s)->pub.log, LOG_LEVEL_WARN, "%s: %s; this is not told again", what,
                 errno_text(err));
}

static void
starve_end(struct sock *s)
{
    if (s->at->starved > 0)
        log_line(loop_of(s)->pub.log, LOG_LEVEL_WARN,
                 "connections are taken again, after memory or descriptors were missing %u times",
                 s->at->starved);
    s->at->starved = 0;
}

/* Hands one new connection to the owner of the listener.  Returns false when the owner has closed
 * the listener in the callback. */
static bool
hand_over(struct sock *s, int fd, const struct sock_addr *peer)
{
    struct real_loop *l = loop_of(s);
    struct sock *n = NULL;
    int r = take_fd(l, fd, s->family, s->type, SOCK_OPEN, &n);

    if (r < 0) {
        starve(s, "a connection is dropped", -r);
        (void)close(fd);
        return true;
    }
    starve_end(s);
    l->callbacks++;
    s->ev->accepted(s->user, &n->pub, peer);
    assert(n->closed || n->ev != NULL);
    return !s->closed;
}

/* Deals with an errno of accept4.  False: there is nothing more to accept in this turn. */
static bool
accept_failed(struct sock *s, int err)
{
    struct real_loop *l = loop_of(s);

    switch (err) {
    case EAGAIN:
        s->readable = false;
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        starve(s, "connections have to wait", err);
        s->readable = false;
        loop_timer_start(&l->pub, &s->at->retry, ACCEPT_RETRY_MS * LOOP_NS_PER_MS);
        return false;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
        log_line(l->pub.log, LOG_LEVEL_ERROR, "a listener has died: %s", errno_text(err));
        s->state = SOCK_FAILED;
        return false;
    default: /* that connection failed before it was accepted; the next may be good */
        return true;
    }
}

/* By itself, as tell_connected is, so that the usual way pays for no address on the stack. */
static void __attribute__((noinline)) accept_some(struct sock *s)
{
    for (int i = 0; i < ACCEPT_MAX; i++) {
        struct sock_addr peer = {.len = sizeof(peer.ss)};
        int fd;

        s->pub.loop->stats.syscalls++;
        fd = accept4(s->poll.fd, (void *)&peer.ss, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 ? !hand_over(s, fd, &peer) : !accept_failed(s, errno))
            return;
    }
}

static void __attribute__((noinline)) tell_connected(struct sock *s)
{
    int err = s->connect_err;
    socklen_t len = sizeof(err);

    if (err == 0) {
        s->pub.loop->stats.syscalls++;
        if (getsockopt(s->poll.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
            err = errno;
        err = -err;
    }
    s->state = err == 0 ? SOCK_OPEN : SOCK_FAILED;
    loop_of(s)->callbacks++;
    s->ev->connected(s->user, err);
}

static void
dispatch(struct sock *s)
{
    if (s->state == SOCK_LISTENING) {
        accept_some(s);
        return;
    }
    if (s->state == SOCK_CONNECTING)
        tell_connected(s);
    if (!s->closed && s->state == SOCK_OPEN && s->want_write && s->out) {
        s->want_write = false;
        if (s->ev->writable != NULL) {
            loop_of(s)->callbacks++;
            s->ev->writable(s->user);
        }
    }
    if (!s->closed && s->state == SOCK_OPEN && s->readable && s->ev->readable != NULL) {
        loop_of(s)->callbacks++;
        s->ev->readable(s->user);
    }
}

void
real_dispatch_streams(struct real_loop *l)
{
    struct list *n;

    assert(list_empty(&l->now));
    list_splice(&l->now, &l->ready);
    while ((n = list_pop_front(&l->now)) != NULL) {
        struct sock *s = container_of(n, struct sock, ready);

        dispatch(s);
        if (!s->closed)
            queue_if_news(s);
    }
}
