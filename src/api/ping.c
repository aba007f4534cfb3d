/* SPDX-License-Identifier: MIT */
#include "api/ping.h"
#include "api/sized.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define PING_MAX      4096
#define PING_LIMIT_NS (15 * LOOP_NS_PER_S)

struct api_ping {
    struct lunette_session *s;
    const uint8_t *data;
    size_t len;
    bool done;
    int err; /* 0; -EBADMSG: the echo was altered; -ENOTCONN; -ENOMEM; -ETIMEDOUT */
    struct loop_timer timer;
};

static void
ping_finish(struct lunette_session *s, int err)
{
    struct api_ping *p = s->ping;

    if (p == NULL || p->done)
        return;
    p->done = true;
    p->err = err;
    loop_timer_stop(s->ctx->loop, &p->timer);
}

void
api_ping_answered(struct lunette_session *s, const void *data, uint32_t len)
{
    struct api_ping *p = s->ping;
    size_t echo;
    bool same;

    if (p == NULL)
        return;
    /* Of a ping that is longer than what we take in a PDU, that much comes back (RFC 7143 11.19).
     * LIO gives nothing back over iSER. */
    echo = p->len < s->params.max_recv_dseg ? p->len : s->params.max_recv_dseg;
    same =
        (len == 0 && s->params.rdma_extensions) || (len == echo && memcmp(data, p->data, len) == 0);
    ping_finish(s, same ? 0 : -EBADMSG);
}

void
api_ping_failed(struct lunette_session *s, int err)
{
    ping_finish(s, err);
}

static void
too_late(struct loop_timer *t)
{
    ping_finish(container_of(t, struct api_ping, timer)->s, -ETIMEDOUT);
}

static void
sent(void *user, const struct iscsi_reply *rep)
{
    if (rep->err < 0)
        ping_finish(user, rep->err);
}

static uint64_t
ping_clock_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * LOOP_NS_PER_S + (uint64_t)t.tv_nsec;
}

static int
ping_tell(struct lunette_session *s, int r, struct lunette_error *err)
{
    struct lunette_error why;

    switch (r) {
    case 0:
        return 0;
    case -EBADMSG:
        return lunette_fail(err, r, LUNETTE_DOM_PROTO, 0,
                            "ping: the echo differs from what was "
                            "sent");
    case -ETIMEDOUT:
        return lunette_fail(err, r, LUNETTE_DOM_TIMEOUT, PING_LIMIT_NS / LOOP_NS_PER_MS,
                            "ping: no answer in %llu s", PING_LIMIT_NS / LOOP_NS_PER_S);
    case -ENOMEM:
        return lunette_fail(err, r, LUNETTE_DOM_OS, ENOMEM, "ping: no memory");
    case -ENOTCONN:
        api_session_why(s, &why);
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, ENOTCONN, "ping: %s%s",
                            why.code < 0 ? why.msg : errno_text(ENOTCONN),
                            s->gone ? "" : "; trying again");
    default:
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, (uint32_t)-r, "ping: %s", errno_text(-r));
    }
}

int
lunette_ping(struct lunette_lun *lun, size_t len, uint64_t *ret_ns, struct lunette_error *err)
{
    return lunette_session_ping(lun->s, len, ret_ns, err);
}

int
lunette_session_ping(struct lunette_session *s, size_t len, uint64_t *ret_ns,
                     struct lunette_error *err)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = s->sid, .cid = s->cid};
    struct bhs_nop_out *h = (void *)&ev.u.send_pdu.hdr;
    struct api_ping p = {.s = s, .len = len};
    uint8_t data[PING_MAX];
    uint32_t most = PING_MAX;
    uint64_t start;
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (s->logged_in && most > s->params.max_xmit_dseg)
        most = s->params.max_xmit_dseg; /* a NOP-Out has one data segment */
    if (len > most)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "ping: at most %u bytes%s", most,
                            most < PING_MAX ? ", which is what the target takes in a PDU" : "");
    if (!api_session_is_up(s)) /* that is the answer: whoever pings wants it now */
        return ping_tell(s, -ENOTCONN, err);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)loop_random(s->ctx->loop);
    p.data = data;
    bhs_init(h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h->ttt = put32(ISCSI_TAG_RSVD);
    ev.u.send_pdu.data_len = (uint32_t)len;
    loop_timer_init(&p.timer, too_late);
    loop_timer_start(s->ctx->loop, &p.timer, PING_LIMIT_NS);
    assert(s->ping == NULL);
    s->ping = &p;
    start = ping_clock_ns();
    r = ctl_request(s->ctx->ctl, &ev, data, (uint32_t)len, sent, s);
    if (r == 0)
        r = api_wait(s->ctx, &p.done, err);
    loop_timer_stop(s->ctx->loop, &p.timer);
    s->ping = NULL;
    if (r < 0)
        return ping_tell(s, r, err);
    if (ret_ns != NULL)
        *ret_ns = ping_clock_ns() - start;
    return ping_tell(s, p.err, err);
}
