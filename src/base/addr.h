/* SPDX-License-Identifier: MIT */
/* base/addr.h - portals as people and TargetAddress keys write them, and names of nodes. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define ISCSI_PORT     3260
#define ISCSI_NAME_MAX 223 /* RFC 7143 4.2.7.1, bytes without the NUL */
#define HOST_MAX       255

struct portal {
    char
        host[HOST_MAX + 1]; /* name, IPv4, or IPv6 without brackets, with %scope if there was one */
    uint16_t port;
    int32_t tpgt; /* TargetPortalGroupTag, -1 if not given */
};

/* "host", "host:port", "[v6%scope]:port", and ",tpgt" after each (RFC 7143 13.8).  An IPv6
 * address without brackets is taken whole, with the default port.  *ret untouched on failure. */
int portal_parse(const char *text, size_t len, struct portal *ret, struct lunette_error *err);

/* host:port, IPv6 in brackets; returns buf. */
const char *portal_format(const struct portal *p, char *buf, size_t size);
#define PORTAL_TEXT_MAX (HOST_MAX + 16)

/* A resolved address. */
struct sock_addr {
    struct sockaddr_storage ss;
    socklen_t len;
};
/* Numeric host:port; returns buf. */
const char *sock_addr_format(const struct sock_addr *a, char *buf, size_t size);

/* Checks an iSCSI name (RFC 7143 4.2.7: iqn. eui. naa., ASCII subset of RFC 3722) and writes it
 * folded to lower case into ret[ISCSI_NAME_MAX + 1].  -EINVAL with the reason, ret untouched. */
int iscsi_name_normalize(const char *name, size_t len, char *ret, struct lunette_error *err);

#endif
