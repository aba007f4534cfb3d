/* SPDX-License-Identifier: MIT */
/* export/nbd/client.c - a connection: its handshake, its life. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/nbd/internal.h"

/* ---- the handshake ---- */

static void
begin_requests(struct nbd_client *c)
{
    c->reqs = calloc(NBD_DEPTH, sizeof(c->reqs[0]));
    if (c->reqs == NULL) {
        c->broken = true;
        return;
    }
    for (uint32_t i = NBD_DEPTH; i-- > 0;) {
        c->reqs[i].c = c;
        c->reqs[i].next = c->free;
        c->free = &c->reqs[i];
    }
    loop_timer_stop(c->e->loop, &c->limit);
    if (c->e->stopped != NULL) { /* those who have come this far were not told to leave */
        c->broken = true;
        return;
    }
    c->phase = NBD_PHASE_REQUESTS;
    nbd_take_staged(c);
}

/* Sends what is to be sent.  False: not all of it is. */
static bool
send_out(struct nbd_client *c)
{
    struct iovec iov = {c->out + c->out_from, c->out_len - c->out_from};
    ssize_t r;

    if (iov.iov_len == 0)
        return true;
    r = stream_sendv(c->s, &iov, 1, iov.iov_len);
    if (r < 0 && r != -EAGAIN)
        c->broken = true;
    if (r > 0)
        c->out_from += (size_t)r;
    return c->out_from == c->out_len;
}

static void
go_on_with_handshake(struct nbd_client *c)
{
    struct nbd_export_info x;

    nbd_export_info_make(&x, bdev_get_limits(c->e->b), c->e->read_only);
    x.stopping = c->e->stopped != NULL;
    while (!c->broken && send_out(c)) {
        size_t used;

        if (c->after == NBD_STEP_END)
            c->broken = true;
        else if (c->after == NBD_STEP_TRANSMIT)
            begin_requests(c);
        if (c->broken || c->phase != NBD_PHASE_HANDSHAKE)
            return;
        c->out_from = 0;
        c->after = nbd_handshake_step(&c->hs, &x, c->stage + c->from, c->to - c->from, &used,
                                      c->out, &c->out_len);
        c->from += (uint32_t)used;
        if (c->after == NBD_STEP_MORE)
            return;
    }
}

static void
receive_options(struct nbd_client *c)
{
    struct iovec iov;
    ssize_t r;

    memmove(c->stage, c->stage + c->from, c->to - c->from);
    c->to -= c->from;
    c->from = 0;
    iov = (struct iovec){c->stage + c->to, NBD_STAGE - c->to};
    assert(iov.iov_len > 0); /* what is here is not all of an option */
    r = stream_recvv(c->s, &iov, 1);
    if (r == -EAGAIN)
        return;
    if (r <= 0) {
        c->broken = true;
        return;
    }
    c->to += (uint32_t)r;
    go_on_with_handshake(c);
}

static void
client_too_slow(struct loop_timer *t)
{
    struct nbd_client *c = container_of(t, struct nbd_client, limit);

    c->broken = true;
    nbd_client_touch(c);
}

/* ---- the stream ---- */

static void
client_readable(void *user)
{
    struct nbd_client *c = user;

    if (c->phase == NBD_PHASE_HANDSHAKE)
        receive_options(c);
    else
        nbd_receive(c);
    nbd_client_touch(c);
}

static void
client_writable(void *user)
{
    nbd_client_touch(user);
}

static const struct stream_events reading = {.readable = client_readable,
                                             .writable = client_writable};
static const struct stream_events pausing = {.writable = client_writable};

/* Whether there is a place for what would be received. */
static bool
nbd_may_read(const struct nbd_client *c)
{
    if (c->phase == NBD_PHASE_HANDSHAKE)
        return c->out_from == c->out_len;
    return c->phase == NBD_PHASE_REQUESTS && !c->stalled;
}

/* ---- its life ---- */

/* Of those that have not got through the handshake, the one that has tried longest, or NULL. */
static struct nbd_client *
oldest_in_handshake(struct export *e)
{
    LIST_FOREACH (n, &e->clients) {
        struct nbd_client *c = container_of(n, struct nbd_client, node);

        if (c->s != NULL && c->phase == NBD_PHASE_HANDSHAKE)
            return c;
    }
    return NULL;
}

static void
drop_incoming(struct nbd_client *c)
{
    if (c->incoming != NULL)
        nbd_req_free(c->incoming);
    c->incoming = NULL;
}

void
nbd_client_leave(struct nbd_client *c)
{
    if (c->phase == NBD_PHASE_HANDSHAKE)
        return;
    c->phase = NBD_PHASE_LEAVING;
    list_del(&c->lacks);
    loop_timer_stop(c->e->loop, &c->limit); /* that of an earlier NBD_CMD_DISC is longer */
    drop_incoming(c);
    nbd_client_touch(c);
}

void
nbd_client_cut(struct nbd_client *c)
{
    struct nbd_req *r;

    c->phase = NBD_PHASE_LEAVING;
    list_del(&c->lacks);
    drop_incoming(c);
    loop_timer_stop(c->e->loop, &c->limit);
    stream_close(c->s);
    c->s = NULL;
    c->e->nconns--;
    while ((r = nbd_list_take(&c->replies)) != NULL)
        nbd_req_free(r);
}

static void
client_free(struct nbd_client *c)
{
    struct export *e = c->e;

    assert(c->used == 0 && c->bytes == 0);
    list_del(&c->dirty);
    list_del(&c->node);
    e->nclients--;
    free(c->stage);
    free(c->reqs);
    free(c);
    if (list_empty(&e->clients))
        nbd_memory_trim(&e->memory);
}

void
nbd_client_new(struct export *e, struct stream *s)
{
    struct nbd_client *c, *old;

    if (e->nclients >= NBD_CLIENTS_MAX && (old = oldest_in_handshake(e)) != NULL) {
        nbd_client_cut(old);
        client_free(old);
    }
    c = e->nclients < NBD_CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
    if (c != NULL)
        c->stage = malloc(NBD_STAGE);
    if (c == NULL || c->stage == NULL) {
        free(c);
        stream_close(s);
        return;
    }
    c->e = e;
    c->s = s;
    c->reads = true;
    list_init(&c->dirty);
    list_init(&c->lacks);
    nbd_list_init(&c->replies);
    loop_timer_init(&c->limit, client_too_slow);
    list_push_back(&e->clients, &c->node);
    e->nclients++;
    e->nconns++;
    stream_set_events(s, &reading, c);
    loop_timer_start(e->loop, &c->limit, NBD_HANDSHAKE_NS);
    c->out_len = nbd_handshake_begin(&c->hs, c->out);
    c->after = NBD_STEP_REPLY;
    nbd_client_touch(c);
}

/* Whether nothing more is to come for c.  When it leaves, what is left is in the end replies that
 * the socket has not taken, and c has some time to receive them. */
static bool
client_is_over(struct nbd_client *c)
{
    if (c->broken || (c->phase == NBD_PHASE_LEAVING && c->used == 0))
        return true;
    if (c->phase == NBD_PHASE_LEAVING && c->busy == 0 && !loop_timer_running(&c->limit))
        loop_timer_start(c->e->loop, &c->limit, c->e->stopped != NULL ? NBD_STOP_NS : NBD_LEAVE_NS);
    return false;
}

void
nbd_client_tend(struct nbd_client *c)
{
    if (c->s != NULL && c->phase == NBD_PHASE_HANDSHAKE && !c->broken)
        go_on_with_handshake(c);
    if (c->s != NULL && !c->broken && !nbd_send(c))
        c->broken = true;
    if (c->s != NULL && c->stalled)
        nbd_take_staged(c);
    if (c->s != NULL && client_is_over(c))
        nbd_client_cut(c);
    if (c->s != NULL && nbd_may_read(c) != c->reads) {
        c->reads = !c->reads;
        stream_set_events(c->s, c->reads ? &reading : &pausing, c);
    }
    if (c->s == NULL && c->busy == 0)
        client_free(c);
}

void
nbd_take_lacking(struct export *e)
{
    LIST_FOREACH_SAFE (n, &e->lacking)
        nbd_client_tend(container_of(n, struct nbd_client, lacks));
}
