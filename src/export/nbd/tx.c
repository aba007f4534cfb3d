/* SPDX-License-Identifier: MIT */
/* export/nbd/tx.c - requests that have ended become bytes to a client.
 *
 * All replies that one turn of the loop has gathered for a client leave in one call; what was read
 * is sent from the buffer into which the device has put it. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "export/nbd/internal.h"

#define SEND_IOVS 128

void
nbd_req_free(struct nbd_req *r)
{
    struct nbd_client *c = r->c;

    if (r->iov.iov_base != NULL) {
        c->bytes -= nbd_buf_size(r->iov.iov_len);
        nbd_buf_put(&c->e->memory, r->iov.iov_base, r->iov.iov_len);
        r->iov.iov_base = NULL;
    }
    r->next = c->free;
    c->free = r;
    c->used--;
}

/* ---- replies ---- */

static void
make_simple(struct nbd_req *r)
{
    struct nbd_simple_reply h = {.magic = put32(NBD_SIMPLE_REPLY_MAGIC), .error = put32(r->error)};

    memcpy(h.cookie, r->h.cookie, sizeof(h.cookie));
    memcpy(r->head, &h, sizeof(h));
    r->head_len = sizeof(h);
}

static struct nbd_chunk
chunk(const struct nbd_req *r, uint16_t type, size_t len)
{
    struct nbd_chunk h = {.magic = put32(NBD_CHUNK_MAGIC),
                          .flags = put16(NBD_CHUNK_FLAG_DONE),
                          .type = put16(type),
                          .len = put32((uint32_t)len)};

    memcpy(h.cookie, r->h.cookie, sizeof(h.cookie));
    return h;
}

static void
make_error(struct nbd_req *r)
{
    size_t len = r->text != NULL ? strlen(r->text) : 0;
    struct nbd_chunk_error h = {chunk(r, NBD_CHUNK_ERROR, sizeof(h) - sizeof(h.h) + len),
                                put32(r->error), put16((uint16_t)len)};

    memcpy(r->head, &h, sizeof(h));
    r->head_len = sizeof(h);
    r->body = (struct iovec){(void *)(uintptr_t)r->text, len};
}

static void
make_data(struct nbd_req *r)
{
    struct nbd_chunk_data h = {chunk(r, NBD_CHUNK_OFFSET_DATA, sizeof(h) - sizeof(h.h) + r->h.len),
                               put64(r->h.offset)};

    memcpy(r->head, &h, sizeof(h));
    r->head_len = sizeof(h);
}

/* The descriptors take the place of the extents: each is shorter, and ends before the next extent
 * that has not been read. */
static void
make_status(struct nbd_req *r)
{
    uint8_t *at = r->iov.iov_base;
    uint32_t n = r->r.extents_n;
    struct nbd_chunk h;
    struct be32 id = put32(NBD_CONTEXT_ID);

    if ((r->h.flags & NBD_CMD_FLAG_REQ_ONE) != 0 && n > 1)
        n = 1;
    for (uint32_t i = 0; i < n; i++) {
        struct bdev_extent e = r->r.extents[i];
        struct nbd_descriptor d = {put32((uint32_t)e.len),
                                   put32(((e.state & BDEV_EXTENT_HOLE) != 0 ? NBD_STATE_HOLE : 0) |
                                         ((e.state & BDEV_EXTENT_ZERO) != 0 ? NBD_STATE_ZERO : 0))};

        memcpy(at + sizeof(id) + i * sizeof(d), &d, sizeof(d));
    }
    memcpy(at, &id, sizeof(id));
    r->body = (struct iovec){at, sizeof(id) + n * sizeof(struct nbd_descriptor)};
    h = chunk(r, NBD_CHUNK_BLOCK_STATUS, r->body.iov_len);
    memcpy(r->head, &h, sizeof(h));
    r->head_len = sizeof(h);
}

void
nbd_reply(struct nbd_req *r)
{
    struct nbd_client *c = r->c;
    bool structured = c->hs.structured, read = r->h.type == NBD_CMD_READ;
    struct nbd_chunk none;

    if (c->s == NULL) {
        nbd_req_free(r);
        nbd_client_touch(c); /* it may have been the last that c waited for */
        return;
    }
    r->body.iov_len = 0;
    if (read && r->error == 0)
        r->body = (struct iovec){r->iov.iov_base, r->h.len};
    if (r->h.type == NBD_CMD_BLOCK_STATUS && r->error == 0) {
        make_status(r);
    } else if (!structured || (!read && r->error == 0)) {
        make_simple(r);
    } else if (r->error != 0) {
        make_error(r);
    } else if (r->h.len > 0) {
        make_data(r);
    } else {
        none = chunk(r, NBD_CHUNK_NONE, 0);
        memcpy(r->head, &none, sizeof(none));
        r->head_len = sizeof(none);
    }
    nbd_list_add(&c->replies, r);
    nbd_client_touch(c);
}

/* ---- sending ---- */

static int
gather(const struct nbd_client *c, struct iovec *iov, size_t *ret_total)
{
    size_t skip = c->sent, total = 0;
    int n = 0;

    for (struct nbd_req *r = c->replies.first; r != NULL && n + 2 <= SEND_IOVS; r = r->next) {
        struct iovec part[2] = {{r->head, r->head_len}, r->body};

        for (int i = 0; i < 2; i++) {
            size_t k = skip < part[i].iov_len ? skip : part[i].iov_len;

            skip -= k;
            if (k == part[i].iov_len)
                continue;
            iov[n++] = (struct iovec){(uint8_t *)part[i].iov_base + k, part[i].iov_len - k};
            total += part[i].iov_len - k;
        }
    }
    *ret_total = total;
    return n;
}

static void
take_sent(struct nbd_client *c, size_t n)
{
    n += c->sent;
    while (c->replies.first != NULL) {
        struct nbd_req *r = c->replies.first;
        size_t len = r->head_len + r->body.iov_len;

        if (n < len)
            break;
        n -= len;
        nbd_req_free(nbd_list_take(&c->replies));
    }
    c->sent = n;
}

bool
nbd_send(struct nbd_client *c)
{
    while (c->replies.first != NULL) {
        struct iovec iov[SEND_IOVS];
        size_t total;
        int n = gather(c, iov, &total);
        ssize_t r = stream_sendv(c->s, iov, n, total);

        if (r < 0)
            return r == -EAGAIN;
        take_sent(c, (size_t)r);
        if ((size_t)r < total)
            return true; /* `writable` follows */
    }
    return true;
}
