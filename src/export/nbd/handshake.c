/* SPDX-License-Identifier: MIT */
#include "export/nbd/handshake.h"

#include <assert.h>
#include <string.h>

/* What is being written. */
struct reply {
    uint8_t *out;
    size_t len;
    uint32_t option;
};

static void
hs_put(struct reply *r, const void *data, size_t len)
{
    assert(r->len + len <= NBD_HANDSHAKE_OUT);
    memcpy(r->out + r->len, data, len);
    r->len += len;
}

static void
hs_put_reply(struct reply *r, uint32_t type, size_t len)
{
    struct nbd_option_reply h = {put64(NBD_OPTION_REPLY_MAGIC), put32(r->option), put32(type),
                                 put32((uint32_t)len)};

    hs_put(r, &h, sizeof(h));
}

static enum nbd_step
hs_refuse(struct reply *r, uint32_t type, const char *text)
{
    hs_put_reply(r, type, strlen(text));
    hs_put(r, text, strlen(text));
    return NBD_STEP_REPLY;
}

static enum nbd_step
ack(struct reply *r)
{
    hs_put_reply(r, NBD_REP_ACK, 0);
    return NBD_STEP_REPLY;
}

/* ---- reading the data of an option; whoever reads has looked whether all went well ---- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *
take(struct reader *d, size_t n)
{
    const uint8_t *p = d->at;

    if (d->bad || n > d->left) {
        d->bad = true;
        return NULL;
    }
    d->at += n;
    d->left -= n;
    return p;
}

static uint32_t
take32(struct reader *d)
{
    const uint8_t *p = take(d, 4);

    return p != NULL ? ld_be32(p) : 0;
}

static uint16_t
take16(struct reader *d)
{
    const uint8_t *p = take(d, 2);

    return p != NULL ? ld_be16(p) : 0;
}

/* A string with its length before it. */
static const uint8_t *
hs_take_text(struct reader *d, uint32_t *ret_len)
{
    *ret_len = take32(d);
    if (*ret_len > NBD_NAME_MAX)
        d->bad = true;
    return take(d, *ret_len);
}

/* ---- options ---- */

static uint16_t
transmission_flags(const struct nbd_handshake *h, const struct nbd_export_info *x)
{
    return (uint16_t)(x->flags | (h->structured ? NBD_FLAG_SEND_DF : 0));
}

/* There is one export, and its name is empty. */
static enum nbd_step
option_export_name(struct nbd_handshake *h, const struct nbd_export_info *x, size_t len,
                   struct reply *r)
{
    static const uint8_t zeroes[124];
    struct nbd_info_export e = {.size = put64(x->size), .flags = put16(transmission_flags(h, x))};

    if (len != 0)
        return NBD_STEP_END; /* an error cannot be told here */
    hs_put(r, &e.size, sizeof(e.size) + sizeof(e.flags));
    if (!h->no_zeroes)
        hs_put(r, zeroes, sizeof(zeroes));
    return NBD_STEP_TRANSMIT;
}

static enum nbd_step
option_list(size_t len, struct reply *r)
{
    struct be32 name_len = put32(0);

    if (len != 0)
        return hs_refuse(r, NBD_REP_ERR_INVALID, "LIST has no data");
    hs_put_reply(r, NBD_REP_SERVER, sizeof(name_len));
    hs_put(r, &name_len, sizeof(name_len));
    return ack(r);
}

static void
put_infos(struct nbd_handshake *h, const struct nbd_export_info *x, bool name, bool block_size,
          struct reply *r)
{
    struct nbd_info_export e = {put16(NBD_INFO_EXPORT), put64(x->size),
                                put16(transmission_flags(h, x))};
    struct nbd_info_block_size b = {put16(NBD_INFO_BLOCK_SIZE), put32(x->min), put32(x->preferred),
                                    put32(x->max)};
    struct be16 n = put16(NBD_INFO_NAME);

    if (name) {
        hs_put_reply(r, NBD_REP_INFO, sizeof(n));
        hs_put(r, &n, sizeof(n));
    }
    if (block_size) {
        hs_put_reply(r, NBD_REP_INFO, sizeof(b));
        hs_put(r, &b, sizeof(b));
    }
    hs_put_reply(r, NBD_REP_INFO, sizeof(e));
    hs_put(r, &e, sizeof(e));
}

/* INFO and GO, which only differ in what follows. */
static enum nbd_step
option_go(struct nbd_handshake *h, const struct nbd_export_info *x, struct reader d,
          struct reply *r)
{
    bool name = false, block_size = false;
    uint32_t name_len;
    uint16_t n;

    (void)hs_take_text(&d, &name_len);
    n = take16(&d);
    for (uint16_t i = 0; i < n && !d.bad; i++) {
        uint16_t what = take16(&d);

        name |= what == NBD_INFO_NAME;
        block_size |= what == NBD_INFO_BLOCK_SIZE;
    }
    if (d.bad || d.left > 0)
        return hs_refuse(r, NBD_REP_ERR_INVALID, "the lengths in the option make no sense");
    if (name_len > 0)
        return hs_refuse(r, NBD_REP_ERR_UNKNOWN, "the only export has an empty name");
    /* Without being asked for, it helps a client that looks at it, and the others ignore it: one
     * that does not keep to the block size gets an error for what is not aligned. */
    put_infos(h, x, name, block_size || x->min > 512, r);
    (void)ack(r);
    return r->option == NBD_OPT_GO ? NBD_STEP_TRANSMIT : NBD_STEP_REPLY;
}

static enum nbd_step
option_structured(struct nbd_handshake *h, size_t len, struct reply *r)
{
    if (len != 0)
        return hs_refuse(r, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY has no data");
    h->structured = true;
    return ack(r);
}

/* Whether a query asks for base:allocation.  In a list, the namespace alone asks for all in it. */
static bool
query_matches(const uint8_t *q, uint32_t len, bool list)
{
    if (list && len == 5)
        return memcmp(q, NBD_CONTEXT, 5) == 0;
    return len == NBD_CONTEXT_LEN && memcmp(q, NBD_CONTEXT, NBD_CONTEXT_LEN) == 0;
}

static enum nbd_step
option_meta_context(struct nbd_handshake *h, struct reader d, struct reply *r)
{
    bool list = r->option == NBD_OPT_LIST_META_CONTEXT, found;
    struct be32 id = put32(list ? 0 : NBD_CONTEXT_ID);
    uint32_t name_len, n;

    if (!h->structured)
        return hs_refuse(r, NBD_REP_ERR_INVALID, "structured replies have to be agreed on before");
    if (!list)
        h->allocation = false; /* also where the option is refused */
    (void)hs_take_text(&d, &name_len);
    n = take32(&d);
    found = list && n == 0;
    for (uint32_t i = 0; i < n && !d.bad; i++) {
        uint32_t len;
        const uint8_t *q = hs_take_text(&d, &len);

        found |= q != NULL && query_matches(q, len, list);
    }
    if (d.bad || d.left > 0)
        return hs_refuse(r, NBD_REP_ERR_INVALID, "the lengths in the option make no sense");
    if (name_len > 0)
        return hs_refuse(r, NBD_REP_ERR_UNKNOWN, "the only export has an empty name");
    if (found) {
        hs_put_reply(r, NBD_REP_META_CONTEXT, sizeof(id) + NBD_CONTEXT_LEN);
        hs_put(r, &id, sizeof(id));
        hs_put(r, NBD_CONTEXT, NBD_CONTEXT_LEN);
    }
    h->allocation |= found && !list;
    return ack(r);
}

/* Whatever is sent with it is ignored. */
static enum nbd_step
option_abort(struct reply *r)
{
    (void)ack(r);
    return NBD_STEP_END;
}

static enum nbd_step
take_option(struct nbd_handshake *h, const struct nbd_export_info *x, const uint8_t *data,
            size_t len, struct reply *r)
{
    struct reader d = {data, len, false};

    if (x->stopping && r->option == NBD_OPT_EXPORT_NAME)
        return NBD_STEP_END; /* an error cannot be told here */
    if (x->stopping && r->option != NBD_OPT_ABORT)
        return hs_refuse(r, NBD_REP_ERR_SHUTDOWN, "the export is being stopped");
    switch (r->option) {
    case NBD_OPT_EXPORT_NAME:
        return option_export_name(h, x, len, r);
    case NBD_OPT_ABORT:
        return option_abort(r);
    case NBD_OPT_LIST:
        return option_list(len, r);
    case NBD_OPT_STARTTLS:
        return hs_refuse(r, NBD_REP_ERR_POLICY, "there is no TLS on a local socket");
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return option_go(h, x, d, r);
    case NBD_OPT_STRUCTURED_REPLY:
        return option_structured(h, len, r);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        return option_meta_context(h, d, r);
    default:
        return hs_refuse(r, NBD_REP_ERR_UNSUP, "no such option here");
    }
}

/* ---- steps ---- */

size_t
nbd_handshake_begin(struct nbd_handshake *h, uint8_t out[NBD_HANDSHAKE_OUT])
{
    struct nbd_greeting g = {put64(NBD_INIT_MAGIC), put64(NBD_OPTION_MAGIC),
                             put16(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)};

    *h = (struct nbd_handshake){0};
    memcpy(out, &g, sizeof(g));
    return sizeof(g);
}

static enum nbd_step
take_client_flags(struct nbd_handshake *h, const uint8_t *in, size_t len, size_t *ret_used)
{
    uint32_t flags;

    if (len < 4)
        return NBD_STEP_MORE;
    flags = ld_be32(in);
    *ret_used = 4;
    h->flags_seen = true;
    h->no_zeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
    return (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0 ? NBD_STEP_END
                                                                          : NBD_STEP_REPLY;
}

/* An option that is too long to be looked at, of which all has been dropped. */
static enum nbd_step
refuse_long(struct nbd_handshake *h, struct reply *r)
{
    switch (r->option) {
    case NBD_OPT_ABORT:
        return option_abort(r);
    case NBD_OPT_SET_META_CONTEXT:
        h->allocation = false; /* also where the option is refused */
        break;
    case NBD_OPT_LIST:
    case NBD_OPT_STARTTLS:
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
    case NBD_OPT_STRUCTURED_REPLY:
    case NBD_OPT_LIST_META_CONTEXT:
        break;
    default:
        return hs_refuse(r, NBD_REP_ERR_UNSUP, "no such option here");
    }
    return hs_refuse(r, NBD_REP_ERR_TOO_BIG, "the option is too long");
}

static enum nbd_step
drop_data(struct nbd_handshake *h, size_t len, size_t *ret_used, struct reply *r)
{
    *ret_used = len < h->drop ? len : h->drop;
    h->drop -= (uint32_t)*ret_used;
    if (h->drop > 0)
        return NBD_STEP_MORE;
    r->option = h->drop_option;
    h->drop_option = 0;
    return refuse_long(h, r);
}

enum nbd_step
nbd_handshake_step(struct nbd_handshake *h, const struct nbd_export_info *x, const uint8_t *in,
                   size_t len, size_t *ret_used, uint8_t out[NBD_HANDSHAKE_OUT], size_t *ret_out)
{
    struct reply r = {.out = out};
    struct nbd_option o;
    enum nbd_step step;
    uint32_t data_len;

    *ret_used = *ret_out = 0;
    if (!h->flags_seen)
        return take_client_flags(h, in, len, ret_used);
    if (h->drop > 0) {
        step = drop_data(h, len, ret_used, &r);
        *ret_out = r.len;
        return step;
    }
    if (len < sizeof(o))
        return NBD_STEP_MORE;
    memcpy(&o, in, sizeof(o));
    data_len = get32(o.len);
    r.option = get32(o.option);
    if (get64(o.magic) != NBD_OPTION_MAGIC || data_len > NBD_OPTION_DROP)
        return NBD_STEP_END;
    if (data_len <= NBD_OPTION_MAX && len - sizeof(o) < data_len)
        return NBD_STEP_MORE;
    if (++h->options > NBD_OPTIONS_MAX)
        return NBD_STEP_END;
    *ret_used = sizeof(o);
    if (data_len > NBD_OPTION_MAX) {
        h->drop = data_len;
        h->drop_option = r.option;
        return r.option == NBD_OPT_EXPORT_NAME ? NBD_STEP_END : NBD_STEP_REPLY;
    }
    step = take_option(h, x, in + sizeof(o), data_len, &r);
    *ret_used += data_len;
    *ret_out = r.len;
    return step;
}
