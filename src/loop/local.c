/* SPDX-License-Identifier: MIT */
/* loop/local.c - what is particular to sockets of AF_UNIX: their files, who is at the other end,
 * and packets with descriptors.
 *
 * A socket file outlives the process that made it, so that the next one finds the name
 * taken.  Whether somebody listens there is told by connecting.  Between the answer "nobody"
 * and the removal of the file another process could replace it, and a file that has just
 * been made has nobody who listens yet either.  So whoever makes one holds a lock on the
 * directory until it listens.  Where the directory cannot be locked, because somebody else
 * holds it locked or it may not be read, a free name is taken all the same, but no file is
 * replaced.
 *
 * A process that was killed listens until the kernel is done with it, and whoever is to take its
 * place is often started before that.  The kernel tells who listens, so that the end of one that is
 * about to be gone is waited for, and nobody else's.  Each question takes a place in the backlog of
 * a process that accepts nothing any more, and a process that writes a core takes long: so it is
 * asked once, and then the process is looked at instead.  Inside a turn of the loop nothing is
 * waited for longer than some milliseconds.
 */
#include "loop/real.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_MODE 0600
#define FOLDER_MODE 0700
#define WAIT_US     1000 /* between two tries */
/* How many tries there are for the lock of a directory, which others hold for a few system calls;
 * inside a turn, and outside. */
#define LOCK_TRIES_INSIDE 5
#define LOCK_TRIES        200
/* How often the end of a process that listens is looked for. */
#define END_WAITS_INSIDE 5
#define END_WAITS        2000
#define PF_EXITING       4u /* of the flags in /proc/PID/stat */
#define SIGKILL_PENDING  0x100u

/* The socket that is bound to a file holds its inode, so that no other file gets the number before
 * the socket is closed.  Times say nothing: anybody may touch a file. */
struct local_file {
    dev_t dev;
    ino_t ino;
    char path[SOCK_PATH_MAX + 1];
};

/* Socket files. */

/* Locks the directory of a path.  Returns a descriptor to close, or -errno: -EADDRINUSE, or inside
 * a turn -EAGAIN, where others hold it locked. */
static int
lock_dir(const char *path, bool inside)
{
    const char *slash = strrchr(path, '/');
    char dir[SOCK_PATH_MAX + 2] = ".";
    int fd;

    if (slash != NULL)
        (void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1, path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (int i = 0; i < (inside ? LOCK_TRIES_INSIDE : LOCK_TRIES); i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        (void)usleep(WAIT_US);
    }
    (void)close(fd);
    return inside ? -EAGAIN : -EADDRINUSE;
}

/* Reads a file of a process.  Returns false where there is none. */
static bool
read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
    char path[64];
    ssize_t n = -1;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, buf, size - 1);
        (void)close(fd);
    }
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Is a core being written, or the signal that cannot be caught on its way to the process? */
static bool
is_killed(pid_t pid)
{
    static const char *const names[] = {"\nSigPnd:", "\nShdPnd:"};
    char text[4096];

    if (!read_proc(pid, "status", text, sizeof(text)))
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *p = strstr(text, names[i]);

        if (p != NULL && (strtoull(p + strlen(names[i]), NULL, 16) & SIGKILL_PENDING))
            return true;
    }
    return strstr(text, "\nCoreDumping:\t1") != NULL;
}

enum holder { HOLDER_STAYS, HOLDER_ENDS, HOLDER_ENDED };

/* Is the process gone, or about to be? */
static enum holder
look_at_process(pid_t pid)
{
    char text[1024], *p;
    unsigned flags = 0;
    char state = 0;

    if (kill(pid, 0) < 0 && errno == ESRCH)
        return HOLDER_ENDED;
    if (!read_proc(pid, "stat", text, sizeof(text)))
        return HOLDER_STAYS;
    p = strrchr(text, ')');
    if (p != NULL && sscanf(p, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) == 2) {
        if (state == 'Z' || state == 'X')
            return HOLDER_ENDED;
        if (flags & PF_EXITING)
            return HOLDER_ENDS;
    }
    return is_killed(pid) ? HOLDER_ENDS : HOLDER_STAYS;
}

/* Who has a name that is taken?  Somebody who stays, or is about to be gone, and then *ret_pid is
 * the process; or nobody answers there any more, as when that has just happened. */
static enum holder
look_at_holder(const struct sock_addr *at, int type, pid_t *ret_pid)
{
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enum holder found = HOLDER_STAYS;

    *ret_pid = 0;
    if (fd < 0)
        return found;
    if (connect(fd, (const void *)&at->ss, at->len) < 0)
        found = errno == ECONNREFUSED ? HOLDER_ENDED : HOLDER_STAYS;
    else if (local_peer_cred(fd, NULL, ret_pid) == 0 && *ret_pid > 0 &&
             look_at_process(*ret_pid) != HOLDER_STAYS)
        found = HOLDER_ENDS;
    (void)close(fd);
    return found;
}

/* Waits until a process is gone, and *step times WAIT_US at least: what it had may take a moment
 * longer, and is looked for less and less often.  *left: how many more waits there may be. */
static void
await_end(pid_t pid, int *step, int *left)
{
    int n = 0;

    for (; *left > 0 && (n < *step || look_at_process(pid) == HOLDER_ENDS); n++, --*left)
        (void)usleep(WAIT_US);
    *step *= 2;
}

/* Whether a socket file has nobody who listens. */
static bool
is_stale(const char *path, const struct sock_addr *at)
{
    struct stat st;
    bool refused;
    int fd;

    /* Connecting to a file that is no socket is refused, too. */
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    /* A listener of the other type answers with EPROTOTYPE. */
    refused = connect(fd, (const void *)&at->ss, at->len) < 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

static int
try_bind(int fd, const struct sock_addr *at)
{
    return bind(fd, (const void *)&at->ss, at->len) < 0 ? -errno : 0;
}

/* Makes the socket file, in place of one that nobody needs.  dir: the lock, or -errno of it. */
static int
bind_file(int fd, const struct sock_addr *at, struct local_file *f, int dir)
{
    struct stat st;
    int r;

    r = try_bind(fd, at);
    if (r == -EADDRINUSE && dir < 0)
        return dir;
    if (r == -EADDRINUSE && is_stale(f->path, at)) {
        r = unlink(f->path) < 0 && errno != ENOENT ? -errno : 0;
        if (r == 0)
            r = try_bind(fd, at);
    }
    if (r < 0)
        return r;
    if (lstat(f->path, &st) < 0)
        return -errno;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    return 0;
}

static int
start_listening(int fd, int backlog)
{
    return listen(fd, backlog) < 0 ? -errno : 0;
}

/* Tries once. */
static int
listen_once(int fd, const struct sock_addr *at, int backlog, bool inside,
            struct local_file **ret_file)
{
    const char *path = sock_addr_path(at);
    struct local_file *f;
    int dir, r;

    if (path == NULL) {
        r = try_bind(fd, at);
        return r < 0 ? r : start_listening(fd, backlog);
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL)
        return -ENOMEM;
    memcpy(f->path, path, strlen(path) + 1);
    dir = lock_dir(path, inside);
    r = bind_file(fd, at, f, dir);
    if (r == 0) {
        *ret_file = f;
        r = start_listening(fd, backlog);
    } else {
        free(f);
    }
    if (dir >= 0)
        (void)close(dir);
    return r;
}

int
local_listen(int fd, const struct sock_addr *at, int backlog, bool inside, mode_t mode,
             struct local_file **ret_file)
{
    int type = SOCK_STREAM, left = inside ? END_WAITS_INSIDE : END_WAITS, step = 1, r;
    enum holder last = HOLDER_STAYS, holder;
    const char *path = sock_addr_path(at);
    socklen_t len = sizeof(type);
    pid_t pid;

    *ret_file = NULL;
    if (path != NULL && strlen(path) > SOCK_PATH_MAX)
        return -ENAMETOOLONG;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -errno;
    /* Linux makes the file with the mode of the socket, less the umask: there is no moment in which
     * others could connect. */
    if (path != NULL && fchmod(fd, mode != 0 ? mode : SOCKET_MODE) < 0)
        return -errno;
    for (;;) {
        r = listen_once(fd, at, backlog, inside, ret_file);
        if (r != -EADDRINUSE)
            return r;
        /* A name at which nobody answers is free with the next try, or is no listener's at all. */
        holder = look_at_holder(at, type, &pid);
        if (holder == HOLDER_STAYS || (holder == HOLDER_ENDED && last == HOLDER_ENDED))
            return r;
        last = holder;
        if (left == 0)
            return inside ? -EAGAIN : r;
        if (holder == HOLDER_ENDS)
            await_end(pid, &step, &left);
        else
            (void)usleep(WAIT_US);
    }
}

int
local_look(const struct local_file *f)
{
    struct stat st;

    if (lstat(f->path, &st) < 0)
        return -errno;
    return st.st_dev == f->dev && st.st_ino == f->ino ? 0 : -EEXIST;
}

const char *
local_path(const struct local_file *f)
{
    return f->path;
}

void
local_make_folders(const struct local_file *f)
{
    char part[sizeof(f->path)];

    memcpy(part, f->path, sizeof(part));
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(part, FOLDER_MODE);
        *slash = '/';
    }
}

void
local_unlink(struct local_file *f)
{
    if (f == NULL)
        return;
    if (local_look(f) == 0)
        (void)unlink(f->path);
    free(f);
}

/* Who is there. */

int
local_peer_cred(int fd, uid_t *ret_uid, pid_t *ret_pid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    if (ret_uid != NULL)
        *ret_uid = cred.uid;
    if (ret_pid != NULL)
        *ret_pid = cred.pid;
    return 0;
}

/* Packets. */

/* Room for one descriptor; alignment makes it room for two on most machines. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int
local_send_packet(int fd, const struct iovec *iov, int n, int passed, struct loop_stats *stats)
{
    struct msghdr msg = real_message(iov, n);
    union control control = {.bytes = {0}};
    ssize_t r;

    if (passed >= 0) {
        struct cmsghdr *c;

        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &passed, sizeof(passed));
    }
    do {
        stats->syscalls++;
        stats->sends++;
        r = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    stats->bytes_sent += (uint64_t)r;
    return 0;
}

/* Takes the descriptors out of a message: *ret_fd gets the first, the others are closed.  Returns
 * how many there were. */
static int
take_descriptors(struct msghdr *msg, int *ret_fd)
{
    int count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        size_t len = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= len; at += sizeof(int)) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
            if (count++ == 0)
                *ret_fd = fd;
            else
                (void)close(fd);
        }
    }
    return count;
}

ssize_t
local_recv_packet(int fd, void *buf, size_t size, int *ret_fd, struct loop_stats *stats)
{
    struct iovec iov = {buf, size};
    union control control;
    struct msghdr msg;
    int passed = -1, count;
    bool reset = false;
    ssize_t r;

    *ret_fd = -1;
    do {
        msg = (struct msghdr){.msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof(control.bytes)};
        stats->syscalls++;
        stats->recvs++;
        r = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        /* A peer that closes with packets unread leaves this error, once, before those that it has
         * sent itself. */
        if (r < 0 && errno == ECONNRESET && !reset) {
            reset = true;
            errno = EINTR;
        }
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    count = take_descriptors(&msg, &passed);
    /* The kernel cuts the list where there is no room for it here, or none in the process. */
    if ((msg.msg_flags & MSG_TRUNC) || count > 1 || (count == 1 && (msg.msg_flags & MSG_CTRUNC))) {
        if (passed >= 0)
            (void)close(passed);
        return (msg.msg_flags & MSG_TRUNC) ? -EMSGSIZE : -EPROTO;
    }
    stats->bytes_received += (uint64_t)r;
    *ret_fd = (msg.msg_flags & MSG_CTRUNC) ? -EMFILE : passed;
    return r;
}
