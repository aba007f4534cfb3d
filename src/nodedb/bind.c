/* SPDX-License-Identifier: MIT */
/* nodedb/bind.c - from what an interface's record says to what a socket is bound to. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "nodedb/db.h"
#include "nodedb/internal.h"
#include "nodedb/login_config.h"

static int
bind_fault(struct lunette_error *err, const char *address, const char *what)
{
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "iface.ipaddress is %.80s, %s", address,
                        what);
}

/* The scope of an address is the name of a device. */
static int
bind_scope(const char *address, const char *scope, struct stream_opts *o, struct lunette_error *err)
{
    if (scope[0] == '\0' || strlen(scope) > LOOP_DEVICE_MAX)
        return bind_fault(err, address, "and what is behind the % is no network device");
    if (o->device[0] != '\0' && strcmp(o->device, scope) != 0)
        return bind_fault(err, address, "which is on another device than the interface");
    NODEDB_COPY(o->device, scope);
    return 0;
}

static int
bind_address(const char *address, struct stream_opts *o, struct lunette_error *err)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr_in in = {.sin_family = AF_INET};
    const char *scope = strchr(address, '%');
    char host[INET6_ADDRSTRLEN];
    int r;

    if (inet_pton(AF_INET, address, &in.sin_addr) == 1) {
        o->source = (struct sock_addr){.len = sizeof(in)};
        memcpy(&o->source.ss, &in, sizeof(in));
        return 0;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)strcspn(address, "%"), address);
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
        return bind_fault(err, address, "which is no IPv4 or IPv6 address");
    r = scope != NULL ? bind_scope(address, scope + 1, o, err) : 0;
    if (r < 0)
        return r;
    if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) && o->device[0] == '\0')
        return bind_fault(err, address,
                          "a link-local address: add the device that it is on, as in fe80::1%eth0");
    o->source = (struct sock_addr){.len = sizeof(in6)};
    memcpy(&o->source.ss, &in6, sizeof(in6));
    return 0;
}

int
nodedb_bind(const struct nodedb_binding *b, const char *sys_net, struct login_config *cfg,
            struct lunette_error *err)
{
    struct stream_opts *o = &cfg->sock;
    int r = 0;

    NODEDB_COPY(o->device, b->device);
    memset(&o->source, 0, sizeof(o->source));
    if (o->device[0] == '\0' && b->hwaddress[0] != '\0')
        r = nodedb_iface_device(sys_net, b->hwaddress, o->device, err);
    return r == 0 && b->address[0] != '\0' ? bind_address(b->address, o, err) : r;
}
