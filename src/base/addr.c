/* SPDX-License-Identifier: MIT */
#include "base/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/hex.h"

/* Reads a decimal number in [min, max], which must fill text[0..len). */
static bool
parse_decimal(const char *text, size_t len, uint32_t max, uint32_t *ret)
{
    uint32_t v = 0;

    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(text[i] - '0');
    }
    if (v > max)
        return false;
    *ret = v;
    return true;
}

static bool
host_char_ok(char c)
{
    return isalnum((unsigned char)c) || strchr("-._:%", c) != NULL;
}

/* Is host[0..len) an IPv6 address, with the %scope that it may have? */
static bool
is_ipv6(const char *host, size_t len)
{
    const char *percent = memchr(host, '%', len);
    size_t n = percent != NULL ? (size_t)(percent - host) : len;
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;

    if (n >= sizeof(text) || (percent != NULL && n + 1 == len))
        return false;
    memcpy(text, host, n);
    text[n] = '\0';
    return inet_pton(AF_INET6, text, &a) == 1;
}

/* Says what is wrong with host[0..len), or NULL. */
static const char *
host_fault(const char *host, size_t len)
{
    if (len == 0)
        return "the host is missing";
    if (len > HOST_MAX)
        return "the host is longer than 255 bytes";
    for (size_t i = 0; i < len; i++) {
        if (!host_char_ok(host[i]))
            return "the host holds a character that no host has";
    }
    if ((memchr(host, ':', len) != NULL || memchr(host, '%', len) != NULL) && !is_ipv6(host, len))
        return "that is neither a host nor an IPv6 address";
    return NULL;
}

/* Copies a host.  A URI spells the % before a scope as %25 (RFC 6874). */
static void
host_copy(char ret[HOST_MAX + 1], const char *host, size_t len)
{
    const char *percent = memchr(host, '%', len);
    size_t n = percent != NULL ? (size_t)(percent - host) + 1 : len;
    size_t skip = percent != NULL && len - n > 2 && memcmp(percent, "%25", 3) == 0 ? 2 : 0;

    memcpy(ret, host, n);
    memcpy(ret + n, host + n + skip, len - n - skip);
    ret[len - skip] = '\0';
}

/* Splits text[0..len) into host and port, ret_port NULL where there is none.  Returns what is
 * wrong, or NULL. */
static const char *
portal_split(const char *text, size_t len, size_t *ret_host_len, const char **ret_host,
             const char **ret_port)
{
    const char *colon = memchr(text, ':', len);

    *ret_host = text;
    *ret_host_len = len;
    *ret_port = NULL;
    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);

        if (end == NULL)
            return "']' is missing";
        *ret_host = text + 1;
        *ret_host_len = (size_t)(end - text - 1);
        if (end + 1 == text + len)
            return NULL;
        if (end[1] != ':')
            return "expected ':' after ']'";
        *ret_port = end + 2;
    } else if (colon != NULL && memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)) == NULL) {
        *ret_host_len = (size_t)(colon - text);
        *ret_port = colon + 1;
    }
    return NULL;
}

const char *
portal_read(const char *text, size_t len, struct portal *ret)
{
    const char *comma = memchr(text, ',', len), *host, *port, *why;
    size_t addr_len = comma != NULL ? (size_t)(comma - text) : len, host_len;
    uint32_t tpgt = 0, port_no = ISCSI_PORT;
    struct portal p = {.tpgt = -1};

    if (comma != NULL) {
        if (!parse_decimal(comma + 1, len - addr_len - 1, 65535, &tpgt))
            return "the portal group tag after ',' must be 0..65535";
        p.tpgt = (int32_t)tpgt;
    }
    why = portal_split(text, addr_len, &host_len, &host, &port);
    if (why != NULL)
        return why;
    if (port != NULL &&
        (!parse_decimal(port, (size_t)(text + addr_len - port), 65535, &port_no) || port_no == 0))
        return "the port must be 1..65535";
    why = host_fault(host, host_len);
    if (why != NULL)
        return why;
    host_copy(p.host, host, host_len);
    p.port = (uint16_t)port_no;
    *ret = p;
    return NULL;
}

int
portal_parse(const char *text, size_t len, struct portal *ret, struct lunette_error *err)
{
    const char *why = portal_read(text, len, ret);

    return why == NULL ? 0
                       : lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "portal \"%.*s\": %s",
                                      len > 100 ? 100 : (int)len, text, why);
}

bool
portal_lacks_scope(const struct portal *p)
{
    struct in6_addr a;

    return inet_pton(AF_INET6, p->host, &a) == 1 && IN6_IS_ADDR_LINKLOCAL(&a);
}

void
portal_take_scope(struct portal *p, const struct portal *via)
{
    const char *scope = strchr(via->host, '%');
    size_t more = scope != NULL ? strlen(scope) : 0, len = strcspn(p->host, "%");
    struct portal bare = {.port = 0};

    memcpy(bare.host, p->host, len);
    if (more > 0 && portal_lacks_scope(&bare) && len + more < sizeof(p->host))
        memcpy(p->host + len, scope, more + 1);
}

const char *
portal_format(const struct portal *p, char *buf, size_t size)
{
    bool v6 = strchr(p->host, ':') != NULL;

    (void)snprintf(buf, size, "%s%s%s:%u", v6 ? "[" : "", p->host, v6 ? "]" : "", p->port);
    return buf;
}

/* Bytes of the name in a local socket's address. */
static size_t
local_len(const struct sock_addr *a)
{
    size_t head = offsetof(struct sockaddr_un, sun_path), len = a->len > head ? a->len - head : 0;

    return len <= SOCK_PATH_MAX + 1 ? len : SOCK_PATH_MAX + 1;
}

int
sock_addr_local(const char *name, size_t len, struct sock_addr *ret, struct lunette_error *err)
{
    bool abstract = len > 0 && name[0] == '\0';
    size_t named = abstract ? len - 1 : len;
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (named == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a local socket needs a name");
    if (named > SOCK_PATH_MAX)
        return lunette_fail(err, -ENAMETOOLONG, LUNETTE_DOM_USAGE, 0,
                            "the path of a local socket has at most %d bytes, this one has %zu: "
                            "choose a shorter directory",
                            SOCK_PATH_MAX, named);
    if (!abstract && memchr(name, '\0', len) != NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the path of a local socket holds a NUL");
    memcpy(un.sun_path, name, len);
    *ret = (struct sock_addr){
        .len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (abstract ? 0 : 1))};
    memcpy(&ret->ss, &un, sizeof(un));
    return 0;
}

const char *
sock_addr_path(const struct sock_addr *a)
{
    const struct sockaddr_un *un = (const void *)&a->ss;
    size_t len = local_len(a);

    if (a->ss.ss_family != AF_UNIX || len == 0 || un->sun_path[0] == '\0')
        return NULL;
    /* The system leaves the NUL out where 108 bytes are a path. */
    return memchr(un->sun_path, '\0', len) != NULL ? un->sun_path : NULL;
}

static void
format_local(const struct sock_addr *a, char *buf, size_t size)
{
    const struct sockaddr_un *un = (const void *)&a->ss;
    size_t len = local_len(a), n = 0;
    char name[SOCK_PATH_MAX + 2];

    if (len > 0 && un->sun_path[0] != '\0')
        len = strnlen(un->sun_path, len);
    for (; n < len; n++) {
        unsigned char c = (unsigned char)un->sun_path[n];

        name[n] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
    }
    if (len > 0 && un->sun_path[0] == '\0')
        name[0] = '@';
    name[n] = '\0';
    (void)snprintf(buf, size, "%s", n > 0 ? name : "(unnamed)");
}

static void
format_in6(const struct sockaddr_in6 *in6, char *buf, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?", scope[IF_NAMESIZE + 1] = "";

    (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
    if (in6->sin6_scope_id != 0) {
        scope[0] = '%';
        if (if_indextoname(in6->sin6_scope_id, scope + 1) == NULL)
            (void)snprintf(scope + 1, sizeof(scope) - 1, "%u", in6->sin6_scope_id);
    }
    (void)snprintf(buf, size, "[%s%s]:%u", host, scope, ntohs(in6->sin6_port));
}

const char *
sock_addr_format(const struct sock_addr *a, char *buf, size_t size)
{
    const void *ss = &a->ss;
    char host[INET_ADDRSTRLEN] = "?";

    if (a->ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = ss;

        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        (void)snprintf(buf, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (a->ss.ss_family == AF_INET6) {
        format_in6(ss, buf, size);
    } else if (a->ss.ss_family == AF_UNIX) {
        format_local(a, buf, size);
    } else {
        (void)snprintf(buf, size, "?");
    }
    return buf;
}

static bool
all_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (hex_digit(s[i]) < 0)
            return false;
    }
    return true;
}

/* After "iqn.": yyyy-mm.naming-authority[:anything] */
static const char *
iqn_fault(const char *s, size_t n)
{
    if (n < 7 || s[4] != '-' || s[7 - 1] == '.')
        return "an iqn name starts with iqn.YYYY-MM.";
    for (size_t i = 0; i < 7; i++) {
        if (i != 4 && (s[i] < '0' || s[i] > '9'))
            return "an iqn name starts with iqn.YYYY-MM.";
    }
    if ((s[5] == '0' && s[6] == '0') || s[5] > '1' || (s[5] == '1' && s[6] > '2'))
        return "the month of an iqn name is 01..12";
    if (n < 9 || s[7] != '.' || s[8] == ':')
        return "an iqn name needs a reversed domain after the date";
    return NULL;
}

/* Says what keeps a name of lower case letters out of the grammar, or NULL. */
static const char *
grammar_fault(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-' ||
              s[i] == '.' || s[i] == ':'))
            return "only a-z 0-9 - . : stand in an iSCSI name";
    }
    if (strncmp(s, "iqn.", 4) == 0)
        return iqn_fault(s + 4, n - 4);
    if (strncmp(s, "eui.", 4) == 0)
        return n == 20 && all_hex(s + 4, 16) ? NULL : "an eui name is eui. and 16 hex digits";
    if (strncmp(s, "naa.", 4) == 0)
        return (n == 20 || n == 36) && all_hex(s + 4, n - 4)
                   ? NULL
                   : "a naa name is naa. and 16 or 32 hex digits";
    return "an iSCSI name starts with iqn., eui. or naa.";
}

/* Copies with capitals in lower case (RFC 3722, table B.2), and tells whether there were any. */
static bool
name_fold(char *ret, const char *name)
{
    bool capitals = false;
    size_t i;

    for (i = 0; name[i] != '\0'; i++) {
        bool capital = name[i] >= 'A' && name[i] <= 'Z';

        ret[i] = (char)(capital ? name[i] - 'A' + 'a' : name[i]);
        capitals |= capital;
    }
    ret[i] = '\0';
    return capitals;
}

int
iscsi_name_take(const char *name, size_t len, char *ret, struct lunette_error *err)
{
    if (len == 0 || len > ISCSI_NAME_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "an iSCSI name has 1..%d bytes, this one has %zu", ISCSI_NAME_MAX, len);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c <= 0x20 || c == 0x7f)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "an iSCSI name cannot hold blanks and control characters: there is "
                                "byte %02xh at offset %zu",
                                c, i);
    }
    memmove(ret, name, len);
    ret[len] = '\0';
    return 0;
}

const char *
iscsi_name_oddity(const char *name)
{
    char folded[ISCSI_NAME_MAX + 1];
    const char *why;
    bool capitals;

    if (strnlen(name, sizeof(folded)) == sizeof(folded))
        return "an iSCSI name has at most 223 bytes";
    capitals = name_fold(folded, name);
    why = grammar_fault(folded, strlen(folded));
    return why == NULL && capitals ? "an iSCSI name has no capitals" : why;
}

int
iscsi_name_normalize(const char *name, size_t len, char *ret, struct lunette_error *err)
{
    char taken[ISCSI_NAME_MAX + 1], out[ISCSI_NAME_MAX + 1];
    const char *why;
    int r = iscsi_name_take(name, len, taken, err);

    if (r < 0)
        return r;
    (void)name_fold(out, taken);
    why = grammar_fault(out, len);
    if (why != NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "iSCSI name \"%s\": %s", out, why);
    memcpy(ret, out, len + 1);
    return 0;
}
