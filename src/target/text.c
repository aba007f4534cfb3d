/* SPDX-License-Identifier: MIT */
#include "target/text.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/conn.h"
#include "target/ctl.h"
#include "target/instance.h"
#include "target/node.h"
#include "target/state/session.h"
#include "target/txq.h"
#include "wire/keys.h"

#define ANSWER_EXTRA  4096u /* for other keys than SendTargets */
#define ADDRESSES_MAX (TARGET_LISTENERS_MAX * (sizeof("TargetAddress=") + PORTAL_TEXT_MAX + 8))

void
tgt_text_fini(struct tgt_conn *c)
{
    free(c->text.request.buf);
    free(c->text.answer.buf);
    c->text = (struct tgt_text){.ttt = c->text.ttt};
}

static bool
is_wildcard(const struct sock_addr *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a->ss;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a->ss;

    if (a->ss.ss_family == AF_INET)
        return v4->sin_addr.s_addr == htonl(INADDR_ANY);
    return a->ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

/* A listener as the initiator of c can reach it: for a wildcard, the address that it did reach. */
static struct sock_addr
portal_of(const struct tgt_conn *c, const struct tgt_listener *l)
{
    struct sock_addr a = l->bound, local = c->local;
    struct sockaddr_in *a4 = (struct sockaddr_in *)(void *)&a.ss;
    struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)(void *)&a.ss;
    struct sockaddr_in *l4 = (struct sockaddr_in *)(void *)&local.ss;
    struct sockaddr_in6 *l6 = (struct sockaddr_in6 *)(void *)&local.ss;

    if (!is_wildcard(&a))
        return a;
    if (local.ss.ss_family == AF_INET)
        l4->sin_port = a.ss.ss_family == AF_INET ? a4->sin_port : a6->sin6_port;
    else if (local.ss.ss_family == AF_INET6)
        l6->sin6_port = a.ss.ss_family == AF_INET ? a4->sin_port : a6->sin6_port;
    else
        return a;
    return local;
}

/* TargetAddress of every listener, which are the same for all targets.  An address does not say
 * what is spoken there, so that each initiator is told those that speak what it does. */
static void
put_addresses(const struct tgt_conn *c, struct text_buf *b)
{
    for (uint32_t i = 0; i < c->target->listeners_count; i++) {
        char addr[PORTAL_TEXT_MAX], value[PORTAL_TEXT_MAX + 8];
        const struct tgt_listener *l = &c->target->listeners[i];
        struct sock_addr a = portal_of(c, l);

        if (l->rdma != c->rdma)
            continue;
        /* What this host calls its link means nothing to another one (RFC 4007 6). */
        if (a.ss.ss_family == AF_INET6)
            ((struct sockaddr_in6 *)(void *)&a.ss)->sin6_scope_id = 0;
        (void)snprintf(value, sizeof(value), "%s,%d", sock_addr_format(&a, addr, sizeof(addr)),
                       TGT_TPGT);
        (void)text_put(b, "TargetAddress", value); /* ADDRESSES_MAX is room for all */
    }
}

static size_t
record_size(const struct tgt_node *node, const struct text_buf *addresses)
{
    return sizeof("TargetName=") + strlen(node->name) + addresses->len;
}

/* The answer grows by what the records need, and keeps the room for other keys.  False: there is no
 * memory, or the initiator's other keys have left no room. */
static bool
put_records(struct tgt_conn *c, const struct tgt_node *nodes, uint32_t count)
{
    struct text_buf *b = &c->text.answer, addresses;
    char mem[ADDRESSES_MAX], *p;
    size_t size = b->size;
    int r = 0;

    text_buf_init(&addresses, mem, sizeof(mem));
    put_addresses(c, &addresses);
    for (uint32_t i = 0; i < count; i++)
        size += record_size(&nodes[i], &addresses);
    p = realloc(b->buf, size);
    if (p == NULL)
        return false;
    b->buf = p;
    b->size = size;
    for (uint32_t i = 0; i < count && r == 0; i++) {
        r = text_put(b, "TargetName", nodes[i].name);
        if (r == 0 && addresses.len > 0)
            r = text_append(b, addresses.buf, addresses.len, NULL);
    }
    return r == 0;
}

/* False: it is not allowed here, or does not fit. */
static bool
send_targets(struct tgt_conn *c, const struct text_pair *p)
{
    struct target *t = c->target;

    if (text_is(p->value, p->value_len, "All")) {
        if (!c->sess->discovery)
            return false;
        return put_records(c, t->nodes, t->nodes_count);
    } else if (p->value_len == 0) {
        if (c->sess->discovery)
            return false;
        return put_records(c, c->sess->node, 1);
    } else {
        char name[ISCSI_NAME_MAX + 1];
        struct tgt_node *node;

        if (iscsi_name_normalize(p->value, p->value_len, name, NULL) < 0)
            return true; /* no such target: nothing to tell */
        node = tgt_node_find(t, name);
        if (node != NULL && (c->sess->discovery || node == c->sess->node))
            return put_records(c, node, 1);
    }
    return true;
}

static bool
text_one_key(struct tgt_conn *c, const struct text_pair *p, struct key_set *seen)
{
    const struct key *k = key_find(p->key, p->key_len);
    struct key_context ctx = {.leading = true, .discovery = c->sess->discovery};
    char name[TEXT_KEY_MAX + 1];
    struct key_value v;

    memcpy(name, p->key, p->key_len);
    name[p->key_len] = '\0';
    if (k == NULL)
        return text_put(&c->text.answer, name, TEXT_NOT_UNDERSTOOD) == 0;
    if (key_check_context(k, &ctx, NULL) < 0 || !key_set_add(seen, k) ||
        key_check_offer(k, p->value, p->value_len, &v, NULL) < 0)
        return false;
    if (k->id == KEY_SEND_TARGETS)
        return send_targets(c, p);
    if (k->id == KEY_MAX_RECV_DSEG && !c->rdma) /* it means nothing over iSER (RFC 7145 6.2) */
        c->text.new_xmit_max = (uint32_t)v.num;
    return true;
}

static bool
text_answer(struct tgt_conn *c)
{
    struct text_iter it;
    struct text_pair p;
    struct key_set seen = {0};
    char *mem = malloc(ANSWER_EXTRA);
    int r;

    if (mem == NULL)
        return false;
    text_buf_init(&c->text.answer, mem, ANSWER_EXTRA);
    text_iter_init(&it, c->text.request.buf, c->text.request.len);
    while ((r = text_next(&it, &p, NULL)) == 1) {
        if (!text_one_key(c, &p, &seen))
            return false;
    }
    c->turn_pdus += (uint32_t)(c->text.answer.len / TGT_RX_TEXT);
    return r == 0;
}

/* Sends what is next of the answer; nothing when the request goes on (C). */
static void
text_respond(struct tgt_conn *c, const struct bhs_text_req *req)
{
    struct tgt_text *t = &c->text;
    size_t left = t->answer.len - t->answer_sent;
    size_t len = left < c->xmit_max ? left : c->xmit_max;
    bool more = req->flags & ISCSI_TEXT_CONTINUE;
    struct bhs_text_rsp *h;
    struct tgt_ctl *ctl;

    ctl = tgt_ctl_new_with(ISCSI_OP_TEXT_RSP, get32(req->itt),
                           len > 0 ? t->answer.buf + t->answer_sent : NULL, (uint32_t)len);
    if (ctl == NULL) {
        tgt_conn_kill(c, "out of memory");
        return;
    }
    h = (struct bhs_text_rsp *)(void *)ctl->hdr;
    t->answer_sent += len;
    if (++t->ttt == ISCSI_TAG_RSVD)
        t->ttt = 0;
    h->ttt = put32(t->ttt);
    memcpy(h->lun, req->lun, sizeof(h->lun));
    h->flags = len < left ? ISCSI_TEXT_CONTINUE : 0;
    t->active = true;
    if (len == left && !more && (req->flags & ISCSI_FLAG_FINAL)) {
        h->flags = ISCSI_FLAG_FINAL;
        h->ttt = put32(ISCSI_TAG_RSVD);
        if (t->new_xmit_max != 0)
            c->xmit_max = t->new_xmit_max;
        tgt_text_fini(c);
    }
    tgt_ctl_send(c, ctl);
}

void
tgt_text_pdu(struct tgt_conn *c, const struct bhs_text_req *h, const uint8_t *data, uint32_t len)
{
    bool more = h->flags & ISCSI_TEXT_CONTINUE;
    uint8_t reason = 0;

    if (get32(h->ttt) == ISCSI_TAG_RSVD)
        tgt_text_fini(c); /* a new negotiation; what was before is forgotten */
    else if (!c->text.active || get32(h->ttt) != c->text.ttt)
        reason = ISCSI_REJECT_INVALID_FIELD;
    if (more && (h->flags & ISCSI_FLAG_FINAL))
        reason = ISCSI_REJECT_PROTOCOL_ERROR;
    if (reason == 0 && c->text.request.buf == NULL) {
        char *mem = malloc(TGT_TEXT_MAX);

        if (mem == NULL) {
            tgt_conn_kill(c, "out of memory");
            return;
        }
        text_buf_init(&c->text.request, mem, TGT_TEXT_MAX);
    }
    if (reason == 0 && len > 0 &&
        (c->text.answer.buf != NULL || text_append(&c->text.request, data, len, NULL) < 0))
        reason = ISCSI_REJECT_PROTOCOL_ERROR; /* text while ours is not at its end, or too much */
    if (reason == 0 && !more && c->text.answer.buf == NULL && !text_answer(c))
        reason = ISCSI_REJECT_PROTOCOL_ERROR;
    if (reason != 0) {
        tgt_text_fini(c);
        tgt_reject(c, (const struct bhs *)(const void *)h, ISCSI_BHS_LEN, reason);
        return;
    }
    text_respond(c, h);
}
