/* SPDX-License-Identifier: MIT */
/* tests/conformance/member_fake.c - the fake transport, an offload adapter, with a target behind
 * it.
 *
 * The adapter takes tasks whole: it sends the command, answers R2Ts with Data-Outs, places Data-Ins
 * and hands over all else as whole PDUs.  It has connections of its own, and copies what it sends,
 * so that nothing of it refers to a task's memory.  It lets go of tasks and of connections late. */
#include <stdlib.h>

#include "tests/conformance/conformance.h"
#include "tests/support/fake_adapter.h"
#include "wire/pdu.h"

#define CLEANUP_NS (CONFORM_MS / 5)
#define STOP_NS    (CONFORM_MS / 10)
#define RECEIVE    65536u
#define LINKS_MAX  16

/* Faults that CONFORMANCE_PLANT names, so that planted.py can see that groups find them. */
static bool
planted(const char *fault)
{
    const char *plant = getenv("CONFORMANCE_PLANT");

    return plant != NULL && strcmp(plant, fault) == 0;
}

/* A connection of the adapter. */
struct adapter {
    struct iscsi_endpoint *ep;
    const struct iscsi_upcalls *up;
    struct iscsi_conn *c; /* NULL: none is bound, or it has been stopped */
    struct stream *s;
    int state;   /* of the endpoint: 1 up, 0 not yet, -errno */
    bool held;   /* nothing is handed over before start_conn */
    bool dead;   /* the stream has ended */
    bool parses; /* a PDU is being handed over */
    struct loop_work later;
    uint8_t *in, *out;
    size_t in_len, in_room, out_len, out_from, out_room;
};

/* Connections that are being stopped. */
static struct stopping {
    struct loop_timer timer;
    struct iscsi_conn *c;
} stopping[LINKS_MAX];

static struct adapter *
adapter_of(const struct iscsi_endpoint *ep)
{
    return ((const struct fake_ep *)ep->dd_data)->bridge;
}

/* The adapter that c is bound to; NULL: it has been stopped. */
static struct adapter *bound_to[LINKS_MAX];

static struct adapter *
adapter_for(const struct iscsi_conn *c)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (bound_to[i] != NULL && bound_to[i]->c == c)
            return bound_to[i];
    }
    return NULL;
}

static void
put_bytes(uint8_t **p, size_t *len, size_t *room, const void *from, size_t n)
{
    if (*len + n > *room) {
        *room = 2 * (*len + n);
        *p = realloc(*p, *room);
        assert_non_null(*p);
    }
    if (n > 0)
        memcpy(*p + *len, from, n);
    *len += n;
}

/* Writes that are under way are said to have gone well. */
static void
lie(struct adapter *a)
{
    const struct iscsi_tasks *all = &a->c->session->tasks;

    for (uint32_t slot = 0; slot < all->made; slot++) {
        struct iscsi_task *t = iscsi_task_in(all, slot);
        union bhs_any h;

        if (t->conn != a->c || t->state != ISCSI_TASK_RUNNING || t->sc == NULL ||
            t->sc->out.len == 0)
            continue;
        bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
        h.h.itt = put32(t->itt);
        h.scsi_rsp.stat_sn = put32(a->c->exp_statsn);
        h.scsi_rsp.exp_cmd_sn = put32(t->cmd_sn + 1);
        h.scsi_rsp.max_cmd_sn = put32(t->cmd_sn + 1);
        (void)a->c->up->complete_pdu(a->c, &h.h, NULL, 0);
    }
}

static void
lost(struct adapter *a, enum iscsi_err err, const char *why)
{
    if (planted("lies_at_loss") && a->c != NULL)
        lie(a);
    a->dead = true;
    if (a->c != NULL)
        a->c->up->conn_failure(a->c, err, why);
}

/* ---- what is sent ---------------------------------------------------------------------------- */

static void
adapter_send(struct adapter *a)
{
    while (!a->dead && a->out_from < a->out_len) {
        struct iovec iov = {a->out + a->out_from, a->out_len - a->out_from};
        ssize_t n = stream_sendv(a->s, &iov, 1, iov.iov_len);

        if (n == -EAGAIN)
            return;
        if (n < 0) {
            a->dead = true; /* it is told when it is received */
            loop_defer(a->ep->loop, &a->later);
            return;
        }
        a->out_from += (size_t)n;
        if ((size_t)n < iov.iov_len)
            return;
    }
    a->out_from = a->out_len = 0;
}

static void
put_out(struct adapter *a, const void *p, size_t n)
{
    put_bytes(&a->out, &a->out_len, &a->out_room, p, n);
}

static void
put_pad(struct adapter *a, uint32_t len)
{
    put_out(a, "\0\0\0", pdu_pad(len));
}

/* len bytes of what the command writes, from offset on. */
static void
put_payload(struct adapter *a, const struct iscsi_task *t, uint32_t offset, uint32_t len)
{
    struct sg_cursor at;
    uint8_t *p = malloc(len + 1u);

    assert_non_null(p);
    sg_cursor_init(&at, &t->sc->out);
    sg_cursor_seek(&at, &t->sc->out, offset);
    sg_copy_from(&at, &t->sc->out, p, len);
    put_out(a, p, len);
    put_pad(a, len);
    free(p);
}

static void
send_data_outs(struct adapter *a, struct iscsi_task *t, struct be32 ttt, uint32_t offset,
               uint32_t len)
{
    struct iscsi_conn *c = a->c;
    uint32_t max = c->max_xmit_dlength & ~3u;

    for (uint32_t sn = 0; len > 0; sn++) {
        uint32_t n = len <= c->max_xmit_dlength ? len : max;
        union bhs_any h;

        bhs_init(&h, ISCSI_OP_DATA_OUT, n == len ? ISCSI_FLAG_FINAL : 0);
        h.h.dseg_len = put24(n);
        memcpy(h.h.lun, t->sc->lun, sizeof(h.h.lun));
        h.h.itt = put32(t->itt);
        h.data_out.ttt = ttt;
        h.data_out.exp_stat_sn = put32(c->exp_statsn);
        h.data_out.data_sn = put32(sn);
        h.data_out.offset = put32(offset);
        put_out(a, &h, sizeof(h));
        put_payload(a, t, offset, n);
        c->stats.dataout_pdus += planted("uncounted") ? 0 : 1;
        c->stats.txdata_octets += n;
        offset += n;
        len -= n;
    }
    t->moved_ns = c->loop->now_ns;
}

static void
bridge_sent(struct iscsi_conn *c, const struct fake_sent *s, bool fast)
{
    struct adapter *a = adapter_for(c);
    struct iscsi_task *t = s->task;
    uint32_t len = pdu_dseg_len(&s->h.h);

    assert_non_null(a); /* nothing is sent on a connection that was stopped */
    if (a->dead || (planted("no_abort") && pdu_opcode(&s->h.h) == ISCSI_OP_TMF_REQ))
        return;
    put_out(a, &s->h, ISCSI_BHS_LEN);
    put_out(a, s->ahs, pdu_ahs_len(&s->h.h));
    if (t->sc == NULL) {
        assert_int_equal(len, t->data_len);
        put_out(a, t->data, planted("empty_text") ? 0 : len);
        put_pad(a, planted("empty_text") ? 0 : len);
    } else {
        assert_int_equal(len, t->imm_count);
        if (len > 0)
            put_payload(a, t, 0, len);
        send_data_outs(a, t, put32(ISCSI_TAG_RSVD), t->unsol.offset, t->unsol.len);
    }
    if (!fast)
        c->stats.txdata_octets += len;
    adapter_send(a);
}

/* ---- what is received ------------------------------------------------------------------------ */

/* The task of a Data-In or R2T.  NULL: there is none, and where it has not ended lately, the
 * connection fails. */
static struct iscsi_task *
task_of(struct adapter *a, const union bhs_any *h)
{
    struct iscsi_task *t = iscsi_task_of(a->c, h->h.itt);

    if (t != NULL && t->sc != NULL)
        return t;
    if (!a->c->up->itt_ended(a->c, h->h.itt))
        lost(a, ISCSI_ERR_BAD_ITT, "the adapter got data for a task that there is not");
    return NULL;
}

/* False: the connection has failed. */
static bool
place(struct adapter *a, const union bhs_any *h, const uint8_t *data, uint32_t len)
{
    struct iscsi_task *t = task_of(a, h);
    uint32_t offset = get32(h->data_in.offset);
    struct sg_cursor at;

    a->c->stats.datain_pdus++;
    a->c->stats.rxdata_octets += len;
    if (t == NULL)
        return !a->dead;
    if (offset != t->in_done || len > t->sc->in.len - offset ||
        get32(h->data_in.data_sn) != t->exp_datasn) {
        lost(a, ISCSI_ERR_DATA_OFFSET, "the adapter got data that do not follow those before");
        return false;
    }
    if (len > 0) {
        sg_cursor_init(&at, &t->sc->in);
        sg_cursor_seek(&at, &t->sc->in, offset);
        sg_copy_to(&at, &t->sc->in, data, planted("short_copy") ? len - 1 : len);
    }
    t->in_done += len;
    t->exp_datasn++;
    t->moved_ns = a->c->loop->now_ns;
    return true;
}

static bool
asked_for(struct adapter *a, const union bhs_any *h)
{
    struct iscsi_task *t = task_of(a, h);
    uint32_t offset = get32(h->r2t.offset), len = get32(h->r2t.desired_len);

    a->c->stats.r2t_pdus++;
    if (t == NULL)
        return !a->dead;
    if (offset > t->sc->out.len || len > t->sc->out.len - offset || len == 0) {
        lost(a, ISCSI_ERR_DATALEN, "the adapter got an R2T beyond the end of the data");
        return false;
    }
    send_data_outs(a, t, h->r2t.ttt, offset, len);
    adapter_send(a);
    return true;
}

/* Hands one PDU over.  False: nothing more is to be handed over now. */
static bool
hand_over(struct adapter *a, const union bhs_any *h, const uint8_t *data, uint32_t len)
{
    const struct iscsi_upcalls *up = a->c->up;
    uint8_t op = pdu_opcode(&h->h);
    int r;

    if (op == ISCSI_OP_DATA_IN && !place(a, h, data, len))
        return false;
    if (op == ISCSI_OP_R2T && !asked_for(a, h))
        return false;
    if (op == ISCSI_OP_R2T || (op == ISCSI_OP_DATA_IN && !(h->h.flags & ISCSI_DATA_IN_STATUS))) {
        up->update_cmdsn(a->c, h->nop_in.exp_cmd_sn, h->nop_in.max_cmd_sn);
        return !a->c->failed;
    }
    if (planted("window_ignored") && op == ISCSI_OP_SCSI_RSP)
        up->update_cmdsn(a->c, h->nop_in.exp_cmd_sn, put32(get32(h->nop_in.max_cmd_sn) + 100));
    if (planted("loses_an_answer") && op == ISCSI_OP_TMF_RSP)
        return true;
    r = up->complete_pdu(a->c, &h->h, op == ISCSI_OP_DATA_IN || len == 0 ? NULL : data,
                         op == ISCSI_OP_DATA_IN ? 0 : len);
    if (r == ISCSI_RX_HOLD)
        a->held = true;
    return r == 0 && a->c != NULL && !a->c->failed;
}

static void
adapter_parse(struct adapter *a)
{
    size_t from = 0;

    if (a->parses)
        return;
    a->parses = true;
    while (a->c != NULL && !a->c->failed && !a->held && a->in_len - from >= ISCSI_BHS_LEN) {
        union bhs_any h;
        const uint8_t *data = a->in + from + ISCSI_BHS_LEN; /* borrowed: nothing is received now */
        size_t len;

        memcpy(&h, a->in + from, sizeof(h));
        len = ISCSI_BHS_LEN + pdu_trailer(&h.h, false, false);
        if (a->in_len - from < len)
            break;
        from += len;
        if (!hand_over(a, &h, data, pdu_dseg_len(&h.h)))
            break;
    }
    if (from > 0)
        memmove(a->in, a->in + from, a->in_len - from);
    a->in_len -= from;
    a->parses = false;
    if (a->dead && a->c != NULL && !a->c->failed && !a->held)
        lost(a, ISCSI_ERR_CONN_CLOSED, "the adapter's connection has ended");
}

static void
adapter_readable(void *user)
{
    static uint8_t piece[RECEIVE];
    struct adapter *a = user;
    struct iovec iov = {piece, sizeof(piece)};
    ssize_t n = stream_recvv(a->s, &iov, 1);

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        a->dead = true;
    } else {
        put_bytes(&a->in, &a->in_len, &a->in_room, piece, (size_t)n);
        if (a->c != NULL)
            a->c->last_recv_ns = a->c->loop->now_ns;
    }
    adapter_parse(a);
}

static void
adapter_writable(void *user)
{
    adapter_send(user);
}

static void
adapter_later(struct loop_work *w)
{
    adapter_parse(container_of(w, struct adapter, later));
}

/* ---- endpoints and connections --------------------------------------------------------------- */

static void
adapter_connected(void *user, int err)
{
    struct adapter *a = user;

    if (planted("up_though_refused"))
        err = 0;
    a->state = err == 0 ? 1 : err;
    a->up->ep_event(a->ep, err);
}

static const struct stream_events adapter_events = {
    .connected = adapter_connected, .readable = adapter_readable, .writable = adapter_writable};

static int
bridge_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
               const struct iscsi_upcalls *up)
{
    const struct stream_opts opts = {.nodelay = true};
    struct adapter *a = calloc(1, sizeof(*a));
    int r;

    assert_non_null(a);
    a->ep = ep;
    a->up = up;
    loop_work_init(&a->later, adapter_later);
    r = stream_connect(ep->loop, to, &opts, &adapter_events, a, &a->s);
    if (r < 0) {
        free(a);
        return r;
    }
    ((struct fake_ep *)ep->dd_data)->bridge = a;
    return 0;
}

static int
bridge_poll(struct iscsi_endpoint *ep)
{
    return adapter_of(ep)->state;
}

static void
forget(struct adapter *a)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (bound_to[i] == a)
            bound_to[i] = NULL;
    }
    a->c = NULL;
}

static void
bridge_disconnect(struct iscsi_endpoint *ep)
{
    struct adapter *a = adapter_of(ep);

    assert_null(a->c); /* stop_conn comes first */
    loop_defer_cancel(&a->later);
    if (a->out_len > a->out_from)
        stream_reset(a->s);
    else
        stream_close(a->s);
    free(a->in);
    free(a->out);
    free(a);
}

static void
bridge_bound(struct iscsi_conn *c, struct iscsi_endpoint *ep)
{
    struct adapter *a = adapter_of(ep);
    int i = 0;

    assert_null(adapter_for(c));
    while (i < LINKS_MAX && bound_to[i] != NULL)
        i++;
    assert_true(i < LINKS_MAX);
    bound_to[i] = a;
    a->c = c;
    a->held = false;
    if (a->dead || a->in_len > 0)
        loop_defer(ep->loop, &a->later);
}

static void
bridge_started(struct iscsi_conn *c)
{
    struct adapter *a = adapter_for(c);

    a->held = false;
    loop_defer(c->loop, &a->later);
}

static void
stop_is_over(struct loop_timer *timer)
{
    struct stopping *s = container_of(timer, struct stopping, timer);
    struct iscsi_conn *c = s->c;

    s->c = NULL;
    c->up->conn_stopped(c);
}

static int
bridge_stopped(struct iscsi_conn *c)
{
    struct adapter *a = adapter_for(c);
    int i = 0;

    if (a != NULL && planted("sends_when_stopped")) { /* what is in memory that is not its own */
        if (a->out_len > a->out_from)
            memset(a->out + a->out_from, 0xee, a->out_len - a->out_from);
        forget(a);
    } else if (a != NULL && !planted("goes_on_when_stopped")) {
        forget(a);
        a->in_len = a->parses ? a->in_len : 0;
        a->out_from = a->out_len = 0;
    }
    if (!fake_adapter.stops)
        return 0;
    for (i = 0; i < LINKS_MAX; i++) {
        if (stopping[i].c == c)
            return -EINPROGRESS;
    }
    for (i = 0; i < LINKS_MAX && stopping[i].c != NULL; i++) {
    }
    assert_true(i < LINKS_MAX);
    stopping[i].c = c;
    loop_timer_init(&stopping[i].timer, stop_is_over);
    loop_timer_start(c->loop, &stopping[i].timer, STOP_NS);
    return -EINPROGRESS;
}

static const struct fake_bridge bridge = {.connect = bridge_connect,
                                          .poll = bridge_poll,
                                          .disconnect = bridge_disconnect,
                                          .bound = bridge_bound,
                                          .started = bridge_started,
                                          .sent = bridge_sent,
                                          .stopped = bridge_stopped};

/* ---- the member ------------------------------------------------------------------------------ */

static void
fake_begin(struct conform_world *w)
{
    fake_adapter_reset();
    fake_adapter.cleanup_delay_ns = w->row->net == &conform_sim ? CLEANUP_NS : 1; /* next turn */
    fake_adapter.control = fake_adapter.stops = true;
    fake_gathers = false;
    fake_bridge = &bridge;
    conform_register(w);
}

/* The same, but it gathers commands that may take the fast path, and lets go of all at once. */
static void
gathers_begin(struct conform_world *w)
{
    fake_begin(w);
    fake_adapter.cleanup_delay_ns = 0;
    fake_adapter.control = fake_adapter.stops = false;
    fake_gathers = true;
}

static void
fake_end(struct conform_world *w)
{
    (void)w;
    for (int i = 0; i < LINKS_MAX; i++) {
        assert_null(bound_to[i]);
        assert_null(stopping[i].c);
    }
}

const struct conform_member conform_fake = {.name = "fake",
                                            .tt = &fake_transport,
                                            .options = "transport=fake",
                                            .begin = fake_begin,
                                            .end = fake_end,
                                            .check = conform_check_sessions};
const struct conform_member conform_fake_gathers = {.name = "fake_gathers",
                                                    .tt = &fake_transport,
                                                    .options = "transport=fake",
                                                    .begin = gathers_begin,
                                                    .end = fake_end,
                                                    .check = conform_check_sessions};
