/* SPDX-License-Identifier: MIT */
/* base/addr.h - portals as people and TargetAddress keys write them, and names of nodes.  Any
 * thread. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define ISCSI_PORT     3260
#define ISCSI_NAME_MAX 223 /* RFC 7143 4.2.7.1, bytes without the NUL */
#define HOST_MAX       255 /* bytes of a host's name or address, without the NUL */

struct portal {
    char
        host[HOST_MAX + 1]; /* name, IPv4, or IPv6 without brackets, with %scope if there was one */
    uint16_t port;
    int32_t tpgt; /* TargetPortalGroupTag, -1 if not given */
};

/* Reads text[0..len), which is "host", "host:port" or "[v6%scope]:port", each with an optional
 * ",tpgt" behind it (RFC 7143 13.8).  An IPv6 address may also stand without brackets, and then has
 * no port.  The % of a scope may be spelled %25, as in URIs (RFC 6874).  Where no port is given,
 * ISCSI_PORT is taken.  Returns 0, or -EINVAL with the reason, and then leaves *ret as it was. */
int portal_parse(const char *text, size_t len, struct portal *ret, struct lunette_error *err);

/* The same, but returns NULL, or what is wrong as words that quote nothing: what stands in the
 * place of a host may be a secret. */
const char *portal_read(const char *text, size_t len, struct portal *ret);

/* Is the host a link-local IPv6 address without the interface (RFC 4007: the zone) behind it?  Such
 * an address exists once on every link, and the system cannot tell which is meant. */
bool portal_lacks_scope(const struct portal *p);

/* Gives p, where it is a link-local address, the scope of the portal that told of p.  A scope that
 * p has been told with is replaced: it is what the other host calls its link (RFC 4007 6, 11.2). */
void portal_take_scope(struct portal *p, const struct portal *via);

/* Writes "host:port" with the NUL, an IPv6 address in brackets, and cuts it where size is less than
 * PORTAL_TEXT_MAX.  The portal group tag is left out.  Returns buf. */
const char *portal_format(const struct portal *p, char *buf, size_t size);
#define PORTAL_TEXT_MAX (HOST_MAX + 16) /* bytes of any portal's text, with the NUL */

/* An address that needs no lookup: IPv4, IPv6 with port, or AF_UNIX. */
struct sock_addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* Makes the address of a local socket: name[0..len) is a path of 1..SOCK_PATH_MAX bytes without a
 * NUL, or a NUL and 1..SOCK_PATH_MAX bytes, which are a name of Linux's abstract namespace.
 * Returns 0, or -EINVAL or -ENAMETOOLONG with the reason, and then leaves *ret as it was.  Only
 * what is meant to be a path comes here: no portal is ever read as one. */
int sock_addr_local(const char *name, size_t len, struct sock_addr *ret, struct lunette_error *err);
#define SOCK_PATH_MAX 107 /* bytes, without the NUL */

/* The path of a local socket's address, or NULL where it is another address or has no path.  Lives
 * as long as a does. */
const char *sock_addr_path(const struct sock_addr *a);

/* Writes the numeric "host:port" of an IPv4 or IPv6 address, the path of a local socket, its
 * abstract name behind an @, "(unnamed)", or "?" for any other, cut to size with the NUL.  A
 * control character becomes a question mark.  Returns buf. */
const char *sock_addr_format(const struct sock_addr *a, char *buf, size_t size);

/* Copies name[0..len) with a NUL into ret[ISCSI_NAME_MAX + 1], byte for byte: a name as a peer told
 * it or a person typed it.  Refused is only what cannot be sent: no byte at all, more than
 * ISCSI_NAME_MAX, NUL, control characters and blanks of ASCII.  Returns 0, or -EINVAL with the
 * reason, and then leaves ret as it was.  ret may be name itself. */
int iscsi_name_take(const char *name, size_t len, char *ret, struct lunette_error *err);

/* Says in a few words what of a name is outside the grammar of RFC 7143 4.2.7, or NULL where
 * nothing is.  Targets with such names exist, so that they are used all the same, and marked. */
const char *iscsi_name_oddity(const char *name);

/* Checks that name[0..len) is an iSCSI name (RFC 7143 4.2.7: iqn., eui.  or naa., in the ASCII
 * subset of RFC 3722), and writes it in lower case and with a NUL into ret[ISCSI_NAME_MAX + 1].
 * Returns 0, or -EINVAL with the reason, and then leaves ret as it was. */
int iscsi_name_normalize(const char *name, size_t len, char *ret, struct lunette_error *err);

#endif
