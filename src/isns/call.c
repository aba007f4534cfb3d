/* SPDX-License-Identifier: MIT */
#include "isns/call.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define TIMEOUT_MS     10000
#define ESI_INTERVAL_S 60

static const char *
call_where(const struct isns_call *c, char buf[PORTAL_TEXT_MAX])
{
    return portal_format(&c->cfg->server, buf, PORTAL_TEXT_MAX);
}

static uint32_t
call_timeout_ms(const struct isns_call *c)
{
    return c->cfg->timeout_ms > 0 ? c->cfg->timeout_ms : TIMEOUT_MS;
}

void
isns_call_stop(struct isns_call *c)
{
    if (c->resolving != NULL)
        loop_resolve_cancel(c->loop, c->resolving);
    if (c->stream != NULL)
        stream_close(c->stream);
    loop_timer_stop(c->loop, &c->limit);
    loop_timer_stop(c->loop, &c->next);
    isns_in_reset(&c->in);
    c->resolving = NULL;
    c->stream = NULL;
}

/* Tells the owner, who may start the next message or free everything. */
static void
call_end(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err)
{
    struct isns_in answer = c->in;

    isns_in_init(&c->in); /* the answer lives until its reader has returned */
    isns_call_stop(c);
    c->done(c, in != NULL ? &answer : NULL, err);
    isns_in_reset(&answer);
}

static void
call_failed(struct isns_call *c, int err, const char *what, const char *why)
{
    struct lunette_error e = {.code = 0};
    char buf[PORTAL_TEXT_MAX];

    (void)lunette_fail(&e, err, LUNETTE_DOM_CONNECT, (uint32_t)-err, "%s the iSNS server %s: %s",
                       what, call_where(c, buf), why);
    call_end(c, NULL, &e);
}

static void
call_on_limit(struct loop_timer *t)
{
    struct isns_call *c = container_of(t, struct isns_call, limit);
    struct lunette_error e = {.code = 0};
    char buf[PORTAL_TEXT_MAX];
    bool heard = c->stream != NULL && c->out.len > 0 && c->sent == c->out.len;

    (void)lunette_fail(&e, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, call_timeout_ms(c),
                       "the iSNS server %s does not answer within %u ms%s", call_where(c, buf),
                       call_timeout_ms(c),
                       heard ? "; one that takes signed messages only (Security of isnsd.conf) "
                               "says nothing, and this initiator signs none"
                             : "");
    call_end(c, NULL, &e);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void
call_complete(struct isns_call *c)
{
    uint16_t asked = (uint16_t)(c->out.buf[2] << 8 | c->out.buf[3]);
    struct lunette_error e = {.code = 0};
    char buf[PORTAL_TEXT_MAX];
    uint32_t status = 0;

    if (c->in.function != (asked | ISNS_ANSWER) || c->in.xid != c->xid ||
        isns_status(&c->in, &status) < 0) {
        (void)lunette_fail(&e, -EPROTO, LUNETTE_DOM_PROTO, 0,
                           "iSNS: what %s sent is no answer to what it was asked",
                           call_where(c, buf));
        call_end(c, NULL, &e);
    } else if (status != ISNS_OK) {
        (void)lunette_fail(&e, -EREMOTEIO, LUNETTE_DOM_NOTFOUND, status,
                           "the iSNS server %s refuses: %s (%u)", call_where(c, buf),
                           isns_status_text(status), status);
        call_end(c, &c->in, &e);
    } else {
        call_end(c, &c->in, NULL);
    }
}

static void
call_on_readable(void *user)
{
    struct isns_call *c = user;
    uint8_t bytes[4096];
    struct iovec iov = {bytes, sizeof(bytes)};
    ssize_t n = stream_recvv(c->stream, &iov, 1);
    struct lunette_error e = {.code = 0};
    size_t used;
    int r;

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        call_failed(c, n < 0 ? (int)n : -ECONNRESET, "lost the connection to",
                    errno_text(n < 0 ? (int)n : -ECONNRESET));
        return;
    }
    r = isns_feed(&c->in, bytes, (size_t)n, &used, &e);
    if (r < 0)
        call_end(c, NULL, &e);
    else if (r > 0)
        call_complete(c);
}

static void
call_send(void *user)
{
    struct isns_call *c = user;
    struct iovec iov = {c->out.buf + c->sent, c->out.len - c->sent};
    ssize_t n;

    if (iov.iov_len == 0)
        return;
    n = stream_sendv(c->stream, &iov, 1, iov.iov_len);
    if (n > 0)
        c->sent += (size_t)n;
    else if (n < 0 && n != -EAGAIN)
        call_failed(c, (int)n, "cannot send to", errno_text((int)n));
}

/* ---- connecting ----------------------------------------------------------------------------- */

static void call_connect(struct isns_call *c, int err);

static void
call_on_connected(void *user, int err)
{
    struct isns_call *c = user;
    struct sock_addr local;
    int r = 0;

    loop_timer_stop(c->loop, &c->next);
    if (err < 0) {
        stream_close(c->stream);
        c->stream = NULL;
        call_connect(c, err);
        return;
    }
    r = stream_names(c->stream, &local, NULL);
    if (r < 0) {
        call_failed(c, r, "lost the connection to", errno_text(r));
        return;
    }
    r = c->write(c, &local, &c->out, &c->err);
    if (r == 0 && c->out.overflow)
        r = lunette_fail(&c->err, -EMSGSIZE, LUNETTE_DOM_USAGE, 0,
                         "iSNS: the initiator's name makes the message too long");
    if (r < 0) {
        struct lunette_error e = c->err;

        call_end(c, NULL, &e);
        return;
    }
    call_send(c);
}

static const struct stream_events call_events = {
    .connected = call_on_connected, .readable = call_on_readable, .writable = call_send};

/* An address is silent: the next one is tried. */
static void
call_on_next(struct loop_timer *t)
{
    struct isns_call *c = container_of(t, struct isns_call, next);

    stream_close(c->stream);
    c->stream = NULL;
    call_connect(c, -ETIMEDOUT);
}

/* Tries the next address; err is why the one before has failed.  Each has its share of the time,
 * and the last one all that is left. */
static void
call_connect(struct isns_call *c, int err)
{
    while (c->iaddr < c->naddr) {
        bool last = c->iaddr + 1 == c->naddr;
        int r = stream_connect(c->loop, &c->addr[c->iaddr++], &c->cfg->sock, &call_events, c,
                               &c->stream);

        if (r == 0) {
            if (!last)
                loop_timer_start(c->loop, &c->next,
                                 call_timeout_ms(c) * LOOP_NS_PER_MS / (uint64_t)c->naddr);
            return;
        }
        c->stream = NULL;
        err = r;
    }
    call_failed(c, err, "cannot connect to", errno_text(err));
}

static void
call_on_resolved(void *user, int err, const struct sock_addr *addr, int count)
{
    struct isns_call *c = user;

    c->resolving = NULL;
    if (err < 0 || count < 1) {
        call_failed(c, err < 0 ? err : -ENOENT, "cannot find the address of",
                    err == -EAGAIN ? "the name service does not answer" : "there is no such host");
        return;
    }
    c->naddr = count < LOOP_RESOLVE_MAX ? count : LOOP_RESOLVE_MAX;
    memcpy(c->addr, addr, (size_t)c->naddr * sizeof(addr[0]));
    c->iaddr = 0;
    call_connect(c, -ENOENT);
}

void
isns_call_init(struct isns_call *c, struct loop *l, const struct isns_config *cfg)
{
    *c = (struct isns_call){.loop = l, .cfg = cfg};
    loop_timer_init(&c->limit, call_on_limit);
    loop_timer_init(&c->next, call_on_next);
    isns_in_init(&c->in);
}

int
isns_call_start(struct isns_call *c, struct lunette_error *err)
{
    char buf[PORTAL_TEXT_MAX];
    int r;

    assert(c->resolving == NULL && c->stream == NULL);
    c->sent = 0;
    c->naddr = c->iaddr = 0;
    c->xid = (uint16_t)loop_random(c->loop);
    c->err = (struct lunette_error){.code = 0};
    r = loop_resolve(c->loop, c->cfg->server.host, c->cfg->server.port, call_on_resolved, c,
                     &c->resolving);
    if (r < 0) {
        c->resolving = NULL;
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, (uint32_t)-r,
                            "cannot look up the iSNS server %s: %s", call_where(c, buf),
                            errno_text(r));
    }
    loop_timer_start(c->loop, &c->limit, call_timeout_ms(c) * LOOP_NS_PER_MS);
    return 0;
}

/* ---- what more than one sends --------------------------------------------------------------- */

/* The entity has the initiator's name: it stays the same, and is nobody else's. */
void
isns_put_registration(struct isns_out *o, uint16_t xid, const char *source,
                      const struct sock_addr *at, uint16_t port, bool listening)
{
    isns_begin(o, ISNS_DEV_ATTR_REG, ISNS_CLIENT | ISNS_REPLACE, xid);
    isns_put_text(o, ISNS_NODE_NAME, source);
    isns_put_text(o, ISNS_ENTITY, source);
    isns_put(o, ISNS_DELIMITER, NULL, 0);
    isns_put_text(o, ISNS_ENTITY, source);
    isns_put_num(o, ISNS_ENTITY_PROTOCOL, ISNS_PROTOCOL_ISCSI);
    isns_put_portal(o, ISNS_PORTAL_ADDRESS, ISNS_PORTAL_PORT, at, port);
    if (listening) {
        isns_put_num(o, ISNS_ESI_INTERVAL, ESI_INTERVAL_S);
        isns_put_num(o, ISNS_ESI_PORT, port);
        isns_put_num(o, ISNS_SCN_PORT, port);
    }
    isns_put_text(o, ISNS_NODE_NAME, source);
    isns_put_num(o, ISNS_NODE_TYPE, ISNS_TYPE_INITIATOR);
}

int
isns_write_deregistration(struct isns_call *c, const struct sock_addr *local, struct isns_out *o,
                          struct lunette_error *err)
{
    (void)local;
    (void)err;
    isns_begin(o, ISNS_DEREG_DEV, ISNS_CLIENT, c->xid);
    isns_put_text(o, ISNS_NODE_NAME, c->cfg->source);
    isns_put(o, ISNS_DELIMITER, NULL, 0);
    isns_put_text(o, ISNS_ENTITY, c->cfg->source);
    return 0;
}
