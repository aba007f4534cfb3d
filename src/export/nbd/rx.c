/* SPDX-License-Identifier: MIT */
/* export/nbd/rx.c - bytes of a client become requests to the device.
 *
 * One receive takes as many small requests as are there.  The data of a write goes straight into
 * the buffer that the device will have, but for what came in the same receive as its head; after a
 * large write, only a head is received ahead.
 *
 * A request that finds no free place, or no room for its data, stays where it is, and nothing more
 * is received until others have been answered.  So a client that does not take its replies is not
 * read any more, and has no more memory than its share. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "export/nbd/internal.h"

#define LARGE      (16u << 10) /* a write of so much is received in place */
#define RECV_TURNS 4           /* receives from one client in a turn of the loop */

/* Only takes note, since the driver may be at work. */
static void
req_done(struct bdev_req *b)
{
    struct nbd_req *r = container_of(b, struct nbd_req, r);
    struct export *e = r->c->e;

    nbd_list_add(&e->done, r);
    loop_defer(e->loop, &e->work);
}

static void
rx_refuse(struct nbd_req *r, uint32_t error, const char *text)
{
    r->error = error;
    r->text = text;
}

static void
count_end(struct nbd_req *r)
{
    struct export_stats *s = &r->c->e->stats;

    s->errors += r->error != 0;
    switch (r->h.type) {
    case NBD_CMD_READ:
        s->reads++;
        s->bytes_read += r->error == 0 ? r->h.len : 0;
        break;
    case NBD_CMD_WRITE:
        s->writes++;
        s->bytes_written += r->error == 0 ? r->h.len : 0;
        break;
    case NBD_CMD_WRITE_ZEROES:
        s->writes++;
        break;
    case NBD_CMD_FLUSH:
        s->flushes++;
        break;
    case NBD_CMD_TRIM:
        s->discards++;
        break;
    default:
        break;
    }
}

/* r has ended, as r->error says. */
static void
end(struct nbd_req *r)
{
    count_end(r);
    nbd_reply(r);
}

static void
submit(struct nbd_req *r)
{
    int err = bdev_submit(r->c->e->q, &r->r);

    if (err == 0) {
        r->c->busy++;
        return;
    }
    rx_refuse(r, nbd_error(err), errno_text(err));
    end(r);
}

void
nbd_req_ended(struct nbd_req *r)
{
    int err = r->r.result.err;

    assert(r->c->busy > 0);
    r->c->busy--;
    /* A discard has no FUA of its own. */
    if (err == 0 && r->h.type == NBD_CMD_TRIM && (r->h.flags & NBD_CMD_FLAG_FUA) != 0 &&
        !r->flushes) {
        r->flushes = true;
        r->r = (struct bdev_req){.op_flags = bdev_op_flags(BDEV_FLUSH, BDEV_F_PROMPT),
                                 .done = req_done};
        submit(r);
        return;
    }
    if (err == 0 && r->h.type == NBD_CMD_BLOCK_STATUS && r->r.extents_n == 0)
        err = -EIO;
    if (err == -EOPNOTSUPP && (r->h.flags & NBD_CMD_FLAG_FAST_ZERO) != 0)
        rx_refuse(r, NBD_ENOTSUP, "the device has no fast way to write these zeroes");
    else if (err != 0)
        rx_refuse(r, nbd_error(err), errno_text(err));
    end(r);
}

/* Makes the request to the device. */
static void
make(struct nbd_req *r)
{
    static const enum bdev_op ops[] = {
        [NBD_CMD_READ] = BDEV_READ,
        [NBD_CMD_WRITE] = BDEV_WRITE,
        [NBD_CMD_FLUSH] = BDEV_FLUSH,
        [NBD_CMD_TRIM] = BDEV_DISCARD,
        [NBD_CMD_WRITE_ZEROES] = BDEV_WRITE_ZEROES,
        [NBD_CMD_BLOCK_STATUS] = BDEV_BLOCK_STATUS,
    };
    struct bdev_req *b = &r->r;
    uint32_t flags = BDEV_F_PROMPT;
    bool write = r->h.type == NBD_CMD_WRITE || r->h.type == NBD_CMD_WRITE_ZEROES;

    if (write && (r->h.flags & NBD_CMD_FLAG_FUA) != 0)
        flags |= BDEV_F_FUA;
    if ((r->h.flags & NBD_CMD_FLAG_NO_HOLE) != 0)
        flags |= BDEV_F_NO_UNMAP;
    if ((r->h.flags & NBD_CMD_FLAG_FAST_ZERO) != 0)
        flags |= BDEV_F_FAST;
    b->op_flags = bdev_op_flags(ops[r->h.type], flags);
    b->offset = r->h.offset;
    b->len = r->h.len;
    b->iov = &r->iov;
    b->iovcnt = 1;
    b->timeout_ms = 0;
    b->done = req_done;
    if (b->op == BDEV_BLOCK_STATUS) {
        b->extents = r->iov.iov_base;
        b->extents_max = NBD_EXTENTS;
    }
}

/* The bytes of memory that a request needs. */
static size_t
room_for(const struct nbd_head *h)
{
    if (h->type == NBD_CMD_BLOCK_STATUS)
        return NBD_EXTENTS * sizeof(struct bdev_extent);
    return h->type == NBD_CMD_READ || h->type == NBD_CMD_WRITE ? h->len : 0;
}

/* There is no memory for the data of the next request of c.  Whether it waits: as long as others
 * are with the device, since memory may come back when one of them ends; and a while beyond that.
 */
static bool
rx_lacks(struct nbd_client *c)
{
    struct export *e = c->e;

    if (list_empty(&e->lacking))
        e->lacking_ns = e->loop->now_ns;
    if (bdev_queue_outstanding(e->q) == 0 && e->loop->now_ns - e->lacking_ns >= NBD_SHORT_NS)
        return false;
    if (list_empty(&c->lacks))
        list_push_back(&e->lacking, &c->lacks);
    if (!loop_timer_running(&e->again))
        loop_timer_start(e->loop, &e->again, NBD_AGAIN_NS);
    return true;
}

/* Takes the request that h says.  False: not now. */
static bool
rx_take_request(struct nbd_client *c, const struct nbd_head *h)
{
    struct export *e = c->e;
    struct nbd_refusal why = nbd_request_check(h, &c->hs, bdev_get_limits(e->b), e->read_only);
    size_t room = why.error == 0 ? room_for(h) : 0;
    struct nbd_req *r = c->free;
    void *buf = NULL;

    if (r == NULL || (room > 0 && c->bytes > 0 && c->bytes + nbd_buf_size(room) > NBD_CLIENT_BYTES))
        return false;
    if (room > 0) {
        buf = nbd_buf_get(&e->memory, room);
        if (buf == NULL && rx_lacks(c))
            return false;
    }
    if (!list_empty(&c->lacks))
        list_del(&c->lacks);
    c->free = r->next;
    c->used++;
    r->h = *h;
    r->flushes = false;
    rx_refuse(r, why.error, why.text);
    r->iov = (struct iovec){buf, room};
    if (buf != NULL)
        c->bytes += nbd_buf_size(room);
    else if (room > 0)
        rx_refuse(r, NBD_ENOMEM, "no memory for the data");
    c->have = 0;
    c->large = h->type == NBD_CMD_WRITE && h->len >= LARGE;
    if (h->type == NBD_CMD_WRITE && h->len > 0) {
        c->incoming = r;
    } else if (r->error != 0) {
        end(r);
    } else {
        make(r);
        submit(r);
    }
    return true;
}

/* The data of a write is all here. */
static void
end_incoming(struct nbd_client *c)
{
    struct nbd_req *r = c->incoming;

    c->incoming = NULL;
    if (r->error != 0) {
        end(r);
        return;
    }
    make(r);
    submit(r);
}

static void
take_write_data(struct nbd_client *c)
{
    struct nbd_req *r = c->incoming;
    uint32_t n = r->h.len - c->have;

    if (n > c->to - c->from)
        n = c->to - c->from;
    if (r->iov.iov_base != NULL)
        memcpy((uint8_t *)r->iov.iov_base + c->have, c->stage + c->from, n);
    c->from += n;
    c->have += n;
    if (c->have == r->h.len)
        end_incoming(c);
}

void
nbd_take_staged(struct nbd_client *c)
{
    c->stalled = false;
    while (c->phase == NBD_PHASE_REQUESTS && !c->broken) {
        struct nbd_head h;

        if (c->incoming != NULL) {
            if (c->from == c->to)
                break;
            take_write_data(c);
            continue;
        }
        if (c->to - c->from < sizeof(struct nbd_request))
            break;
        if (!nbd_request_read(c->stage + c->from, &h) ||
            (h.type == NBD_CMD_WRITE && h.len > NBD_DROP_MAX)) {
            c->broken = true; /* where the next request begins is not known */
            break;
        }
        if (h.type == NBD_CMD_DISC) {
            c->phase = NBD_PHASE_LEAVING;
            break;
        }
        if (!rx_take_request(c, &h)) {
            c->stalled = true;
            break;
        }
        c->from += (uint32_t)sizeof(struct nbd_request);
    }
}

/* Where the next bytes go.  What is staged is less than a head. */
static int
rx_iov(struct nbd_client *c, struct iovec iov[2], size_t *ret_direct)
{
    uint32_t left = c->to - c->from, ahead = NBD_STAGE - left;
    struct nbd_req *r = c->incoming;
    int n = 0;

    *ret_direct = 0;
    if (c->from > 0)
        memmove(c->stage, c->stage + c->from, left);
    c->from = 0;
    c->to = left;
    if (r != NULL && r->iov.iov_base != NULL) {
        *ret_direct = r->h.len - c->have;
        iov[n++] = (struct iovec){(uint8_t *)r->iov.iov_base + c->have, *ret_direct};
    }
    if (c->large && (r == NULL || n > 0))
        ahead = (uint32_t)sizeof(struct nbd_request) - left;
    iov[n++] = (struct iovec){c->stage + c->to, ahead};
    return n;
}

void
nbd_receive(struct nbd_client *c)
{
    for (int turns = 0; turns < RECV_TURNS; turns++) {
        struct iovec iov[2];
        size_t direct, room;
        int n;
        ssize_t r;

        if (c->stalled || c->broken || c->phase != NBD_PHASE_REQUESTS)
            return;
        assert(c->to - c->from < sizeof(struct nbd_request));
        n = rx_iov(c, iov, &direct);
        room = iov[0].iov_len + (n > 1 ? iov[1].iov_len : 0);
        r = stream_recvv(c->s, iov, n);
        if (r == -EAGAIN)
            return;
        if (r <= 0) {
            c->broken = true;
            return;
        }
        room -= (size_t)r;
        if (direct > 0) {
            size_t in_place = (size_t)r < direct ? (size_t)r : direct;

            c->have += (uint32_t)in_place;
            r -= (ssize_t)in_place;
            if (in_place == direct)
                end_incoming(c);
        }
        c->to += (uint32_t)r;
        nbd_take_staged(c);
        if (room > 0)
            return; /* that was all, or else the loop calls again */
    }
}
