/* SPDX-License-Identifier: MIT */
/* Clients that break every rule, one after the other, while a session serves verified I/O on the
 * loop that they come to: each is refused or sent away, and neither the session nor the daemon
 * notices. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/ipc.h"
#include "ipc/socket.h"
#include "tests/daemon/nbd_load.h"
#include "tests/daemon/plane.h"
#include "tests/daemon/process.h"
#include "tests/daemon/raw.h"

#define LENGTHS 400

/* A sanitizer's allocator keeps what is freed for a while. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEPS_FREED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS_FREED true
#endif
#endif
#ifndef KEEPS_FREED
#define KEEPS_FREED false
#endif

static struct nbd_load load;
static pid_t iod;

/* After each of them: the daemon lives, and I/O goes on. */
static void
all_is_well(void)
{
    PLANE_CHECK(kill(iod, 0) == 0 && waitpid(iod, NULL, WNOHANG) == 0);
    nbd_load_goes_on(&load, 2);
}

/* ---- messages of any length ------------------------------------------------------------------ */

static void
garbage_of_length(size_t len, uint8_t fill, bool after_hello)
{
    static uint8_t p[IPC_FRAGMENT_MAX];
    struct iscsi_reply rep;
    int s = raw_connect("iod");

    PLANE_CHECK(s >= 0);
    if (after_hello)
        PLANE_CHECK(raw_hello(s, 0) == 0);
    memset(p, fill, sizeof(p));
    if (raw_send(s, p, len, -1, 0) == 0)
        PLANE_CHECK(raw_reply(s, &rep) == -EPIPE);
    (void)close(s);
}

static void
test_garbage(void)
{
    for (size_t len = 1; len < LENGTHS; len += len < 40 ? 1 : 37) {
        garbage_of_length(len, 0, false);
        garbage_of_length(len, 0xff, false);
        garbage_of_length(len, 0, true);
        garbage_of_length(len, 0xff, true);
    }
    garbage_of_length(IPC_FRAGMENT_MAX, 0, true);
    garbage_of_length(IPC_FRAGMENT_MAX, 1, false);
    all_is_well();
}

/* A good request with each of its bytes changed, after HELLO: answered or sent away. */
static void
test_changed_bytes(void)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_CONN, .seq = 7, .sid = 1000};
    uint8_t good[IPC_FRAGMENT_HEAD + IPC_MSG_MAX], p[sizeof(good)];
    int n = ipc_encode_uevent(&ev, good + IPC_FRAGMENT_HEAD, IPC_MSG_MAX);

    PLANE_CHECK(n > 0);
    memset(good, 0, IPC_FRAGMENT_HEAD);
    good[2] = (uint8_t)n;
    for (int at = 0; at < IPC_FRAGMENT_HEAD + n; at++) {
        struct iscsi_reply rep;
        int s = raw_connect("iod"), r;

        PLANE_CHECK(s >= 0 && raw_hello(s, 0) == 0);
        memcpy(p, good, sizeof(good));
        p[at] ^= 0x80;
        PLANE_CHECK(raw_send(s, p, IPC_FRAGMENT_HEAD + (size_t)n, -1, 0) == 0);
        if (at >= 2 && at < 8) { /* more is promised, which does not come */
            (void)close(s);
            continue;
        }
        r = raw_reply(s, &rep);
        PLANE_CHECK(r < 0);
        (void)close(s);
    }
    all_is_well();
}

/* ---- versions, loops, users ------------------------------------------------------------------ */

static int
hello(uint32_t min, uint32_t max, uint32_t loop)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};
    struct iscsi_reply rep = {.err = 0};
    int s = raw_connect("iod"), r;

    ev.u.hello.min = min;
    ev.u.hello.max = max;
    ev.u.hello.loop = loop;
    PLANE_CHECK(s >= 0 && raw_request(s, &ev, NULL, 0, -1, 0) == 0);
    r = raw_reply(s, &rep);
    PLANE_CHECK(r == -EPIPE || r == 0 || rep.why.msg[0] != '\0');
    (void)close(s);
    return r;
}

static void
test_hello(struct plane *p)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_SESSIONS};
    struct iscsi_reply rep;
    int s = raw_connect("iod");

    PLANE_CHECK(hello(99, 100, 0) == -EPROTONOSUPPORT);
    PLANE_CHECK(hello(2, 1, 0) == -EINVAL);
    PLANE_CHECK(hello(1, 1, 2) == -EINVAL);
    PLANE_CHECK(hello(1, 1, UINT32_MAX) == -EINVAL);
    PLANE_CHECK(plane_do(p, 1, ISCSI_UEVENT_LIST_SESSIONS, 0) == 0); /* none took its place */
    PLANE_CHECK(s >= 0 && raw_request(s, &ev, NULL, 0, -1, 0) == 0);
    PLANE_CHECK(raw_reply(s, &rep) < 0); /* it does not begin with HELLO */
    (void)close(s);
    all_is_well();
}

static void
other_user(void *user)
{
    int s;

    (void)user;
    PLANE_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    s = raw_connect("iod");
    PLANE_CHECK(s >= 0);
    PLANE_CHECK(raw_hello(s, 0) == -EPIPE);
    process_say_ready();
}

/* Although the file lets everybody in. */
static void
test_other_user(struct plane *p)
{
    if (geteuid() != 0)
        return;
    PLANE_CHECK(raw_connect("nowhere") == -ENOENT);
    PLANE_CHECK(chmod(".", 0755) == 0 && chmod("iod", 0666) == 0);
    PLANE_CHECK(process_end(process_fork(other_user, NULL), 0) == 0);
    PLANE_CHECK(plane_do(p, 0, ISCSI_UEVENT_LIST_SESSIONS, 0) == 0);
    PLANE_CHECK(chmod("iod", 0600) == 0);
    all_is_well();
}

/* ---- descriptors ----------------------------------------------------------------------------- */

enum wrong { PIPE, FILE_PLAIN, LISTENER, DATAGRAM, PACKETS, CLOSED_PEER, UNCONNECTED, NWRONG };

static int
wrong_descriptor(enum wrong kind)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd[2] = {-1, -1};

    switch (kind) {
    case PIPE:
        PLANE_CHECK(pipe2(fd, O_CLOEXEC) == 0);
        break;
    case FILE_PLAIN:
        fd[0] = open("plain", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        break;
    case LISTENER:
        fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        PLANE_CHECK(bind(fd[0], (struct sockaddr *)&in, sizeof(in)) == 0 && listen(fd[0], 1) == 0);
        break;
    case DATAGRAM:
        fd[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        break;
    case PACKETS:
        PLANE_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0);
        break;
    case CLOSED_PEER:
        PLANE_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
        break;
    case UNCONNECTED:
        fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        break;
    case NWRONG:
        break;
    }
    PLANE_CHECK(fd[0] >= 0);
    if (fd[1] >= 0)
        (void)close(fd[1]);
    return fd[0];
}

/* A session with a connection that is bound to such a descriptor: refused, or lost, since what is
 * not connected looks as what is not connected any more.  -1: none. */
static void
bind_descriptor(int s, int fd, bool refused)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};
    struct iscsi_reply rep;
    uint32_t sid;
    int r;

    strcpy(ev.u.create_session.transport, "tcp");
    PLANE_CHECK(raw_request(s, &ev, NULL, 0, -1, 0) == 0 && raw_reply(s, &rep) == 0);
    sid = rep.sid;
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_CREATE_CONN, .sid = sid};
    PLANE_CHECK(raw_request(s, &ev, NULL, 0, -1, 0) == 0 && raw_reply(s, &rep) == 0);
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_BIND_CONN, .sid = sid};
    ev.u.bind_conn.leading = 1;
    PLANE_CHECK(raw_request(s, &ev, NULL, 0, fd, 0) == 0);
    r = raw_reply(s, &rep);
    PLANE_CHECK(r != -EPIPE && (r < 0) >= refused);
    if (r < 0)
        PLANE_CHECK(rep.why.msg[0] != '\0');
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = sid};
    PLANE_CHECK(raw_request(s, &ev, NULL, 0, -1, 0) == 0 && raw_reply(s, &rep) == 0);
}

static unsigned
descriptors_of(pid_t pid)
{
    char path[64];
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++) {
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
        n += access(path, F_OK) == 0;
    }
    return n;
}

static void
test_descriptors(void)
{
    int s = raw_connect("iod"), fd;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_SESSIONS};
    struct iscsi_reply rep;
    unsigned before;

    PLANE_CHECK(s >= 0 && raw_hello(s, 0) == 0);
    before = descriptors_of(iod);
    for (enum wrong kind = PIPE; kind < NWRONG; kind++) {
        fd = wrong_descriptor(kind);
        bind_descriptor(s, fd, kind != CLOSED_PEER && kind != UNCONNECTED);
        (void)close(fd);
    }
    bind_descriptor(s, -1, true);
    for (int tries = 0; descriptors_of(iod) > before; tries++) {
        PLANE_CHECK(tries < 3000);
        (void)usleep(10000);
    }
    fd = wrong_descriptor(PIPE); /* with a request that has none */
    PLANE_CHECK(raw_request(s, &ev, NULL, 0, fd, 0) == 0 && raw_reply(s, &rep) == -EPIPE);
    (void)close(fd);
    (void)close(s);
    all_is_well();
}

/* ---- one that never reads -------------------------------------------------------------------- */

static unsigned long
memory_of(pid_t pid)
{
    char path[64];
    unsigned long pages = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    f = fopen(path, "r");
    PLANE_CHECK(f != NULL && fscanf(f, "%*u %lu", &pages) == 1);
    (void)fclose(f);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

/* It asks and asks: in the end there is no room for its requests, and none is kept for it. */
static void
test_one_that_never_reads(void)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_SESSIONS};
    unsigned long before = memory_of(iod);
    int s = raw_connect("iod"), full = 0;

    PLANE_CHECK(s >= 0 && raw_hello(s, 0) == 0);
    for (unsigned i = 0; full < 50; i++) {
        int r = raw_request(s, &ev, NULL, 0, -1, MSG_DONTWAIT);

        PLANE_CHECK(r == 0 || r == -EAGAIN);
        PLANE_CHECK(i < 1000000);
        full = r == 0 ? 0 : full + 1;
        if (r != 0)
            (void)usleep(2000);
    }
    PLANE_CHECK(KEEPS_FREED || memory_of(iod) < before + (64ul << 20));
    all_is_well();
    (void)close(s);
    all_is_well();
}

int
main(void)
{
    static const char *const args[] = {"--threads", "2", "--grace", "1", NULL};
    struct plane p;
    uint32_t sid;
    uint16_t port;

    process_begin();
    port = process_target(1);
    iod = process_iod(args);
    plane_open(&p, "iod");
    sid = plane_login(&p, 0, DAEMON_TARGET, port, 1);
    PLANE_CHECK(plane_do(&p, 0, ISCSI_UEVENT_SCAN_HOST, sid) == 0);
    plane_list(&p, 0, sid);
    PLANE_CHECK(p.nluns == 1 && plane_export(&p, 0, sid, p.lun[0].lun, "nbd0") == 0);
    nbd_load_start(&load, "nbd0");
    test_hello(&p);
    test_other_user(&p);
    test_garbage();
    test_changed_bytes();
    test_descriptors();
    test_one_that_never_reads();
    plane_close(&p);
    plane_open(&p, "iod"); /* the good one comes again, and finds everything */
    plane_list(&p, 0, sid);
    PLANE_CHECK(p.nluns == 1 && p.lun[0].export_clients == 1);
    nbd_load_stop(&load);
    PLANE_CHECK(plane_do(&p, 0, ISCSI_UEVENT_UNBIND_SESSION, sid) == 0);
    plane_logout(&p, 0, sid);
    plane_close(&p);
    PLANE_CHECK(process_end(iod, SIGTERM) == 0);
    return 0;
}
