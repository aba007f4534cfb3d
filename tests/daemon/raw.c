/* SPDX-License-Identifier: MIT */
#include "tests/daemon/raw.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/ipc.h"
#include "ipc/socket.h"
#include "tests/daemon/plane.h"

int
raw_connect(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err;

    PLANE_CHECK(s >= 0 && strlen(path) < sizeof(at.sun_path));
    strcpy(at.sun_path, path);
    if (connect(s, (struct sockaddr *)&at, sizeof(at)) == 0)
        return s;
    err = errno;
    (void)close(s);
    return -err;
}

int
raw_send(int s, const void *p, size_t len, int fd, int flags)
{
    struct iovec iov = {(void *)(uintptr_t)p, len};
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } c;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    memset(&c, 0, sizeof(c));
    if (fd >= 0) {
        m.msg_control = &c;
        m.msg_controllen = sizeof(c.room);
        c.h = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
    }
    return sendmsg(s, &m, flags | MSG_NOSIGNAL) == (ssize_t)len ? 0 : -errno;
}

static void
put_head(uint8_t *p, unsigned lane, uint32_t len, uint32_t data_len)
{
    memset(p, 0, IPC_FRAGMENT_HEAD);
    p[0] = (uint8_t)lane;
    p[2] = (uint8_t)len;
    p[3] = (uint8_t)(len >> 8);
    for (unsigned i = 0; i < 4; i++)
        p[4 + i] = (uint8_t)(data_len >> (8 * i));
}

int
raw_request(int s, struct iscsi_uevent *ev, const void *data, uint32_t len, int fd, int flags)
{
    static uint64_t seq;
    uint8_t p[IPC_FRAGMENT_HEAD + IPC_MSG_MAX + 4096];
    int n;

    ev->seq = ++seq;
    n = ipc_encode_uevent(ev, p + IPC_FRAGMENT_HEAD, IPC_MSG_MAX);
    PLANE_CHECK(n > 0 && len <= 4096);
    put_head(p, IPC_LANE_REQUESTS, (uint32_t)n, len);
    if (len > 0)
        memcpy(p + IPC_FRAGMENT_HEAD + n, data, len);
    return raw_send(s, p, IPC_FRAGMENT_HEAD + (size_t)n + len, fd, flags);
}

int
raw_reply(int s, struct iscsi_reply *ret)
{
    static uint8_t p[IPC_FRAGMENT_MAX];

    for (;;) {
        struct pollfd wait = {.fd = s, .events = POLLIN};
        uint32_t len;
        ssize_t n;

        PLANE_CHECK(poll(&wait, 1, 10000) == 1);
        n = recv(s, p, sizeof(p), 0);
        if (n <= 0)
            return -EPIPE;
        PLANE_CHECK(n > IPC_FRAGMENT_HEAD);
        len = (uint32_t)p[2] | (uint32_t)p[3] << 8;
        if (p[0] != IPC_LANE_REPLIES)
            continue;
        PLANE_CHECK(ipc_decode_reply(p + IPC_FRAGMENT_HEAD, len, ret) == 0);
        return ret->err;
    }
}

int
raw_hello(int s, uint32_t loop)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};
    struct iscsi_reply rep;
    int r;

    ev.u.hello.min = ev.u.hello.max = IPC_VERSION_MAX;
    ev.u.hello.loop = loop;
    r = raw_request(s, &ev, NULL, 0, -1, 0);
    return r < 0 ? r : raw_reply(s, &rep);
}
