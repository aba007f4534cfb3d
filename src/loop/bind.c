/* SPDX-License-Identifier: MIT */
/* loop/bind.c - by which device and from which address a connection leaves this host. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/sock.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static bool
has_port(const struct sock_addr *a)
{
    const void *ss = &a->ss;

    return a->ss.ss_family == AF_INET ? ((const struct sockaddr_in *)ss)->sin_port != 0
                                      : ((const struct sockaddr_in6 *)ss)->sin6_port != 0;
}

/* The port is chosen when the socket connects: the system then knows the peer, and the same port
 * can serve for many. */
static void
choose_port_late(struct stream *s, int fd)
{
    int one = 1;

    s->loop->stats.syscalls++;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
}

int
sock_bind_source(struct stream *pub, const struct stream_opts *o, const struct sock_addr *to)
{
    size_t len = strnlen(o->device, sizeof(o->device));
    int fd = sock_of(pub)->poll.fd;

    /* The device comes first: it is the link of a source address without a scope. */
    if (len > 0) {
        pub->loop->stats.syscalls++;
        if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->device, (socklen_t)len) < 0)
            return -errno;
    }
    if (o->source.len == 0)
        return 0;
    if (o->source.ss.ss_family != to->ss.ss_family)
        return -EAFNOSUPPORT;
    if (!has_port(&o->source))
        choose_port_late(pub, fd);
    pub->loop->stats.syscalls++;
    return bind(fd, (const void *)&o->source.ss, o->source.len) < 0 ? -errno : 0;
}
