/* SPDX-License-Identifier: MIT */
#include "isns/message.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "wire/be.h"

#define ISNS_VERSION 1
#define STATUS_LEN   4
#define ATTR_HEAD    8
#define ROOM_FIRST   4096

const char *
isns_status_text(uint32_t status)
{
    static const char *const text[] = {
        "success",
        "unknown error",
        "message format error",
        "invalid registration",
        "reserved error",
        "invalid query",
        "source unknown",
        "source absent",
        "source unauthorized",
        "no such entry",
        "version not supported",
        "internal error",
        "busy",
        "option not understood",
        "invalid update",
        "message not supported",
        "SCN event rejected",
        "SCN registration rejected",
        "attribute not implemented",
        "FC_DOMAIN_ID not available",
        "FC_DOMAIN_ID not allocated",
        "ESI not available",
        "invalid deregistration",
        "registration feature not supported",
    };

    return status < sizeof(text) / sizeof(text[0]) ? text[status] : "an error of unknown number";
}

/* ---- writing -------------------------------------------------------------------------------- */

static void
out_bytes(struct isns_out *o, const void *bytes, size_t len, size_t padded)
{
    if (padded > sizeof(o->buf) - o->len) {
        o->overflow = true;
        return;
    }
    memset(o->buf + o->len, 0, padded);
    if (len > 0)
        memcpy(o->buf + o->len, bytes, len);
    o->len += padded;
    st_be16(o->buf + 4, (uint16_t)(o->len - ISNS_HEAD_LEN));
}

void
isns_begin(struct isns_out *o, uint16_t function, uint16_t flags, uint16_t xid)
{
    *o = (struct isns_out){.len = ISNS_HEAD_LEN};
    st_be16(o->buf, ISNS_VERSION);
    st_be16(o->buf + 2, function);
    st_be16(o->buf + 6, flags | ISNS_FIRST | ISNS_LAST);
    st_be16(o->buf + 8, xid);
}

void
isns_put(struct isns_out *o, uint32_t tag, const void *value, size_t len)
{
    size_t padded = (len + 3) & ~(size_t)3;
    uint8_t head[ATTR_HEAD];

    if (len > sizeof(o->buf) || ATTR_HEAD + padded > sizeof(o->buf) - o->len) {
        o->overflow = true;
        return;
    }
    st_be32(head, tag);
    st_be32(head + 4, (uint32_t)padded);
    out_bytes(o, head, sizeof(head), sizeof(head));
    out_bytes(o, value, len, padded);
}

void
isns_put_text(struct isns_out *o, uint32_t tag, const char *text)
{
    isns_put(o, tag, text, text[0] != '\0' ? strlen(text) + 1 : 0);
}

void
isns_put_num(struct isns_out *o, uint32_t tag, uint32_t value)
{
    uint8_t v[4];

    st_be32(v, value);
    isns_put(o, tag, v, sizeof(v));
}

void
isns_put_portal(struct isns_out *o, uint32_t address_tag, uint32_t port_tag,
                const struct sock_addr *at, uint16_t port)
{
    const void *ss = &at->ss;
    uint8_t address[16] = {[10] = 0xff, [11] = 0xff}; /* IPv4 is mapped, RFC 4171 6.3.1 */

    if (at->ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = ss;

        memcpy(address + 12, &in->sin_addr, 4);
        port = port != 0 ? port : ntohs(in->sin_port);
    } else {
        const struct sockaddr_in6 *in6 = ss;

        memcpy(address, &in6->sin6_addr, sizeof(address));
        port = port != 0 ? port : ntohs(in6->sin6_port);
    }
    isns_put(o, address_tag, address, sizeof(address));
    isns_put_num(o, port_tag, port);
}

void
isns_put_status(struct isns_out *o, uint32_t status)
{
    uint8_t v[STATUS_LEN];

    assert(o->len == ISNS_HEAD_LEN);
    st_be32(v, status);
    out_bytes(o, v, sizeof(v), sizeof(v));
}

void
isns_put_query(struct isns_out *o, uint16_t xid, const char *source)
{
    static const uint32_t wanted[] = {ISNS_NODE_NAME,     ISNS_NODE_TYPE,  ISNS_GROUP_NODE,
                                      ISNS_GROUP_ADDRESS, ISNS_GROUP_PORT, ISNS_GROUP_TAG};

    isns_begin(o, ISNS_DEV_ATTR_QRY, ISNS_CLIENT, xid);
    isns_put_text(o, ISNS_NODE_NAME, source);
    isns_put_num(o, ISNS_NODE_TYPE, ISNS_TYPE_TARGET);
    isns_put(o, ISNS_DELIMITER, NULL, 0);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        isns_put(o, wanted[i], NULL, 0);
}

/* ---- reading a stream ----------------------------------------------------------------------- */

static int
in_fault(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, 0, "iSNS: the other side %s", what);
}

void
isns_in_init(struct isns_in *in)
{
    *in = (struct isns_in){.head_len = 0};
}

void
isns_in_reset(struct isns_in *in)
{
    free(in->data);
    isns_in_init(in);
}

/* A head is complete. */
static int
in_head(struct isns_in *in, struct lunette_error *err)
{
    uint16_t function = ld_be16(in->head + 2), len = ld_be16(in->head + 4);
    uint16_t flags = ld_be16(in->head + 6), xid = ld_be16(in->head + 8);
    bool first = in->sequence == 0;

    if (ld_be16(in->head) != ISNS_VERSION)
        return in_fault(err, "does not speak iSNS version 1");
    if (len % 4 != 0)
        return in_fault(err, "sent a PDU whose length is no multiple of 4");
    if (flags & ISNS_AUTH)
        return in_fault(err, "signs its messages, and this initiator has no key for that");
    if (ld_be16(in->head + 10) != in->sequence || first != ((flags & ISNS_FIRST) != 0))
        return in_fault(err, "sent the PDUs of a message out of order");
    if (!first && (function != in->function || xid != in->xid))
        return in_fault(err, "mixed two messages");
    if (len == 0 && !(flags & ISNS_LAST))
        return in_fault(err, "sent an empty PDU in the middle of a message");
    if (in->len + len > ISNS_MESSAGE_MAX)
        return in_fault(err, "sent a message of more than 4 MiB, the most that is read here");
    in->function = function;
    in->flags = flags;
    in->xid = xid;
    in->sequence++;
    in->left = len;
    return 0;
}

/* Room for n bytes that have come, not for what a head promises. */
static int
in_room(struct isns_in *in, size_t n, struct lunette_error *err)
{
    size_t room = in->room < ROOM_FIRST ? ROOM_FIRST : in->room;
    uint8_t *more;

    if (n <= in->room - in->len)
        return 0;
    while (room - in->len < n)
        room *= 2;
    more = realloc(in->data, room);
    if (more == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    in->data = more;
    in->room = room;
    return 0;
}

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

int
isns_feed(struct isns_in *in, const void *bytes, size_t len, size_t *ret_used,
          struct lunette_error *err)
{
    const uint8_t *p = bytes;
    size_t used = 0, n;
    int r = 0;

    while (r == 0 && used < len) {
        if (in->head_len < ISNS_HEAD_LEN) {
            n = smaller(len - used, ISNS_HEAD_LEN - in->head_len);
            memcpy(in->head + in->head_len, p + used, n);
            in->head_len += n;
            used += n;
            if (in->head_len < ISNS_HEAD_LEN)
                break;
            r = in_head(in, err);
        }
        n = r == 0 ? smaller(len - used, in->left) : 0;
        if (n > 0)
            r = in_room(in, n, err);
        if (r == 0 && n > 0) {
            memcpy(in->data + in->len, p + used, n);
            in->len += n;
            in->left -= n;
            used += n;
        }
        if (r == 0 && in->left == 0) {
            in->head_len = 0;
            r = (in->flags & ISNS_LAST) != 0;
        }
    }
    *ret_used = used;
    return r;
}

/* ---- reading attributes --------------------------------------------------------------------- */

int
isns_next(const struct isns_in *in, size_t *at, struct isns_attr *ret)
{
    size_t left = in->len - *at;

    assert(*at <= in->len);
    if (left == 0)
        return 0;
    if (left < ATTR_HEAD)
        return -EPROTO;
    ret->tag = ld_be32(in->data + *at);
    ret->len = ld_be32(in->data + *at + 4);
    ret->value = in->data + *at + ATTR_HEAD;
    if (ret->len % 4 != 0 || ret->len > left - ATTR_HEAD)
        return -EPROTO;
    *at += ATTR_HEAD + ret->len;
    return 1;
}

int
isns_status(const struct isns_in *in, uint32_t *ret)
{
    if (in->len < STATUS_LEN)
        return -EPROTO;
    *ret = ld_be32(in->data);
    return 0;
}

bool
isns_find(const struct isns_in *in, bool answer, uint32_t tag, struct isns_attr *ret)
{
    size_t at = answer ? STATUS_LEN : 0;

    if (at > in->len)
        return false;
    while (isns_next(in, &at, ret) == 1) {
        if (ret->tag == tag)
            return true;
    }
    return false;
}

bool
isns_num(const struct isns_attr *a, uint32_t *ret)
{
    if (a->len != 4)
        return false;
    *ret = ld_be32(a->value);
    return true;
}

/* ---- targets -------------------------------------------------------------------------------- */

/* What one portal group, or one node, has told; values of NULL have not come. */
struct row {
    struct isns_attr name, address, port, tag;
    uint32_t type;
    size_t order;
};

struct rows {
    struct row *row;
    size_t n;
};

static int
rows_add(struct rows *rows, const struct isns_attr *name, struct lunette_error *err)
{
    struct row *more = rows->row;

    if (rows->n == ISNS_PORTALS_MAX)
        return in_fault(err, "names more than 65536 nodes or portals, the most that is read here");
    if ((rows->n & (rows->n - 1)) == 0)
        more = realloc(more, (rows->n == 0 ? 1 : 2 * rows->n) * sizeof(*more));
    if (more == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    rows->row = more;
    more[rows->n] = (struct row){.name = *name, .order = rows->n};
    rows->n++;
    return 0;
}

/* Takes an attribute: the name of a node or of a group begins a new one (RFC 4171 5.7.5.2: objects
 * follow each other, their keys first). */
static int
rows_take(struct rows *nodes, struct rows *groups, const struct isns_attr *a,
          struct lunette_error *err)
{
    struct row *node = nodes->n > 0 ? &nodes->row[nodes->n - 1] : NULL;
    struct row *group = groups->n > 0 ? &groups->row[groups->n - 1] : NULL;

    if (a->tag == ISNS_NODE_NAME)
        return rows_add(nodes, a, err);
    if (a->tag == ISNS_GROUP_NODE)
        return rows_add(groups, a, err);
    if (a->tag == ISNS_NODE_TYPE && node != NULL)
        (void)isns_num(a, &node->type);
    else if (a->tag == ISNS_GROUP_ADDRESS && group != NULL)
        group->address = *a;
    else if (a->tag == ISNS_GROUP_PORT && group != NULL)
        group->port = *a;
    else if (a->tag == ISNS_GROUP_TAG && group != NULL)
        group->tag = *a;
    return 0;
}

static int
name_order(const struct row *x, const struct row *y)
{
    size_t n = smaller(x->name.len, y->name.len);
    int c = n > 0 ? memcmp(x->name.value, y->name.value, n) : 0;

    return c != 0 ? c : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static int
row_order(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = name_order(x, y);

    return c != 0 ? c : (x->order > y->order) - (x->order < y->order);
}

static int
row_named(const void *a, const void *b)
{
    return name_order(a, b);
}

static void
targets_bad(struct isns_targets *t, const char *what)
{
    if (t->bad++ == 0)
        (void)lunette_fail(&t->why, -EPROTO, LUNETTE_DOM_PROTO, 0, "iSNS: %s", what);
}

static bool
row_portal(const struct row *r, struct portal *ret)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, zero[16];
    const uint8_t *a = r->address.value;
    uint32_t port, tag;
    bool v4;

    if (r->address.len != 16 || !isns_num(&r->port, &port) || (port & 0xffff) == 0 || port > 0xffff)
        return false; /* bit 16 of a port says UDP */
    if (!isns_num(&r->tag, &tag) || tag > 0xffff)
        return false;
    *ret = (struct portal){.port = (uint16_t)port, .tpgt = (int32_t)tag};
    /* Open-iSNS writes IPv4 as RFC 4291 2.5.5.1 has it, "compatible". */
    v4 = memcmp(a, mapped, sizeof(mapped)) == 0 ||
         (memcmp(a, zero, sizeof(mapped)) == 0 && memcmp(a, zero, sizeof(zero) - 1) != 0);
    /* The unspecified address would lead to this host itself. */
    if (memcmp(v4 ? a + 12 : a, zero, v4 ? 4 : sizeof(zero)) == 0)
        return false;
    return inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a + 12 : a, ret->host, sizeof(ret->host)) !=
           NULL;
}

/* A group without a tag says that the node is not to be reached there (RFC 4171 6.5.4). */
static void
targets_take(struct isns_targets *t, const struct rows *nodes, const struct row *r)
{
    struct isns_portal *p = &t->portal[t->n];
    const struct row *node = NULL;

    if (r->tag.value != NULL && r->tag.len == 0)
        return;
    if (nodes->n > 0)
        node = bsearch(r, nodes->row, nodes->n, sizeof(*r), row_named);
    if (node != NULL && node->type != 0 && !(node->type & ISNS_TYPE_TARGET))
        return;
    if (iscsi_name_take((const char *)r->name.value,
                        strnlen((const char *)r->name.value, r->name.len), p->name, NULL) < 0)
        targets_bad(t, "the server names a target by what is no iSCSI name");
    else if (!row_portal(r, &p->at))
        targets_bad(t, "the server names a portal without a usable address, port or group tag");
    else
        t->n++;
}

static int
targets_collect(const struct isns_in *in, struct rows *nodes, struct rows *groups,
                struct lunette_error *err)
{
    bool operating = false;
    size_t at = STATUS_LEN;
    struct isns_attr a;
    int r = 0, more;

    if (in->len < STATUS_LEN)
        return in_fault(err, "sent an answer without a status");
    while (r == 0 && (more = isns_next(in, &at, &a)) != 0) {
        if (more < 0)
            return in_fault(err, "sent an attribute that goes beyond its message");
        if (operating)
            r = rows_take(nodes, groups, &a, err);
        operating |= a.tag == ISNS_DELIMITER;
    }
    return r;
}

void
isns_targets_free(struct isns_targets *t)
{
    free(t->portal);
    *t = (struct isns_targets){.n = 0};
}

int
isns_read_targets(const struct isns_in *in, struct isns_targets *ret, struct lunette_error *err)
{
    struct rows nodes = {.n = 0}, groups = {.n = 0};
    struct isns_targets t = {.n = 0};
    int r = targets_collect(in, &nodes, &groups, err);

    if (r == 0 && groups.n > 0) {
        t.portal = calloc(groups.n, sizeof(*t.portal));
        if (t.portal == NULL)
            r = lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
        if (nodes.n > 0)
            qsort(nodes.row, nodes.n, sizeof(*nodes.row), row_order);
        qsort(groups.row, groups.n, sizeof(*groups.row), row_order);
    }
    for (size_t i = 0; r == 0 && i < groups.n; i++)
        targets_take(&t, &nodes, &groups.row[i]);
    free(nodes.row);
    free(groups.row);
    if (r < 0)
        isns_targets_free(&t);
    else
        *ret = t;
    return r;
}
