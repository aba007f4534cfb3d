/* SPDX-License-Identifier: MIT */
/* Requests of the control plane beside each other, and pings, over the fake adapter. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"
#include "wire/pdu.h"

/* The control plane sends a request; its tag. */
static int
send_request(struct world *w, uint8_t opcode, uint32_t ttt)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = w->cid};
    union bhs_any *h = (void *)&ev.u.send_pdu.hdr;
    int r;

    bhs_init(h, opcode | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h->nop_out.ttt = put32(ttt);
    r = world_ask(w, &ev, NULL, 0);
    fake_advance(&w->fl, MS(1));
    return r;
}

static struct be32
last_tag(uint8_t opcode)
{
    return fake_last(opcode)->h.h.itt;
}

/* The target answers the request of that tag. */
static void
answer_tag(struct world *w, uint8_t opcode, struct be32 itt, uint8_t flags, uint32_t ttt)
{
    unsigned before = w->nevents;
    union bhs_any h;

    bhs_init(&h, opcode, flags);
    h.h.itt = itt;
    h.nop_in.ttt = put32(ttt);
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    fake_advance(&w->fl, MS(60));
    assert_int_equal(w->nevents, before + 1);
    assert_memory_equal(&w->event.u.recv_pdu.hdr.itt, &itt, 4);
}

/* NPO-01: several pings and a Text Request have tags of their own, and are answered in any order.
 */
static void
requests_beside_each_other(void **state)
{
    struct world *w = world_new(1);
    struct be32 ping[3], text;

    (void)state;
    world_up(w);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), 0);
        ping[i] = last_tag(ISCSI_OP_NOP_OUT);
    }
    assert_int_not_equal(get32(ping[0]), get32(ping[1]));
    assert_int_not_equal(get32(ping[1]), get32(ping[2]));
    assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), 0);
    text = last_tag(ISCSI_OP_TEXT_REQ);
    assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), -EBUSY); /* the bound */
    answer_tag(w, ISCSI_OP_NOP_IN, ping[1], ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
    answer_tag(w, ISCSI_OP_TEXT_RSP, text, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
    answer_tag(w, ISCSI_OP_NOP_IN, ping[2], ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
    assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), 0);
    answer_tag(w, ISCSI_OP_NOP_IN, ping[0], ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
    assert_int_equal(w->nerrors, 0);
    world_free(w); /* one is still out */
}

/* TXT-01, TXT-02: one Text Request at a time, one tag through its sequence, a new one for the next.
 */
static void
text_keeps_its_tag(void **state)
{
    struct world *w = world_new(2);
    struct be32 tag;

    (void)state;
    world_up(w);
    assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), 0);
    tag = last_tag(ISCSI_OP_TEXT_REQ);
    assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), -EBUSY);
    answer_tag(w, ISCSI_OP_TEXT_RSP, tag, ISCSI_TEXT_CONTINUE, 5);
    assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), 0); /* in between */
    assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, 5), 0);
    assert_int_equal(get32(last_tag(ISCSI_OP_TEXT_REQ)), get32(tag));
    answer_tag(w, ISCSI_OP_TEXT_RSP, tag, ISCSI_TEXT_CONTINUE, 6);
    assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), 0); /* another exchange */
    assert_int_not_equal(get32(last_tag(ISCSI_OP_TEXT_REQ)), get32(tag));
    answer_tag(w, ISCSI_OP_TEXT_RSP, last_tag(ISCSI_OP_TEXT_REQ), ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
    answer_tag(w, ISCSI_OP_NOP_IN, last_tag(ISCSI_OP_NOP_OUT), ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
    world_free(w);
}

/* An adapter that has been answered may still hold the request: the exchange goes on when it lets
 * go, no request is sent before, and one that waits so ends with its exchange or its connection. */
static void
exchange_waits_for_the_adapter(void **state)
{
    for (int end = 0; end < 4; end++) {
        struct world *w = world_new(20 + (uint64_t)end);
        struct iscsi_conn *c;
        struct be32 tag;
        unsigned sent;

        (void)state;
        world_up(w);
        fake_adapter.control = true;
        fake_adapter.cleanup_delay_ns = SEC(2);
        assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), 0);
        tag = last_tag(ISCSI_OP_TEXT_REQ);
        answer_tag(w, ISCSI_OP_TEXT_RSP, tag, ISCSI_TEXT_CONTINUE, 5);
        sent = fake_adapter.nsent;
        c = fake_adapter.conn;
        assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, 5), 0);
        assert_int_equal(fake_adapter.nsent, sent);
        assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, 5), -EBUSY);
        if (end == 1) {
            assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
        } else if (end == 3) { /* lets go of the task before the connection */
            fake_adapter.stops = true;
            fake_adapter.conn->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, "as the test wants");
            fake_advance(&w->fl, SEC(3));
            fake_adapter.stops = false;
            c->up->conn_stopped(c);
            fake_advance(&w->fl, SEC(1));
            assert_int_equal(fake_adapter.nsent, sent);
            assert_int_equal(w->nerrors, 1);
            world_free(w);
            continue;
        } else if (end == 2) { /* another exchange takes its place */
            assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), 0);
            assert_int_not_equal(get32(last_tag(ISCSI_OP_TEXT_REQ)), get32(tag));
        } else {
            fake_advance(&w->fl, SEC(3));
            assert_int_equal(fake_adapter.nsent, sent + 1);
            assert_int_equal(get32(last_tag(ISCSI_OP_TEXT_REQ)), get32(tag));
            answer_tag(w, ISCSI_OP_TEXT_RSP, tag, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
        }
        fake_advance(&w->fl, SEC(3));
        assert_int_equal(w->nerrors, 0);
        world_free(w);
    }
}

/* LOUT-01: pings without an answer keep nobody from logging out. */
static void
logout_beside_pings(void **state)
{
    struct world *w = world_new(3);

    (void)state;
    world_up(w);
    while (send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD) == 0) {
    }
    assert_int_equal(send_request(w, ISCSI_OP_LOGOUT_REQ, 0), 0);
    assert_non_null(fake_last(ISCSI_OP_LOGOUT_REQ));
    assert_int_equal(send_request(w, ISCSI_OP_LOGOUT_REQ, 0), -EBUSY);
    answer_tag(w, ISCSI_OP_NOP_IN, last_tag(ISCSI_OP_NOP_OUT), ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD);
    answer_tag(w, ISCSI_OP_LOGOUT_RSP, last_tag(ISCSI_OP_LOGOUT_REQ), ISCSI_FLAG_FINAL, 0);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* An answer to a tag that is free, or to a request of another kind, ends the connection. */
static void
answers_fit_their_requests(void **state)
{
    for (int twice = 0; twice < 2; twice++) {
        struct world *w = world_new(4);
        union bhs_any h;

        (void)state;
        world_up(w);
        assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), 0);
        bhs_init(&h, twice ? ISCSI_OP_NOP_IN : ISCSI_OP_TEXT_RSP, ISCSI_FLAG_FINAL);
        h.h.itt = last_tag(ISCSI_OP_NOP_OUT);
        h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        if (twice)
            assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        assert_true(fake_pdu(&h, NULL, 0, true) < 0);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        world_free(w);
    }
}

/* Whatever the control plane sends, only requests that are its own go out, in their phase, and
 * whole: no SCSI command without a command, no header that announces segments which nobody sends.
 */
static void
foreign_requests_are_refused(void **state)
{
    static const uint8_t foreign[] = {ISCSI_OP_SCSI_CMD,
                                      ISCSI_OP_TMF_REQ,
                                      ISCSI_OP_DATA_OUT,
                                      ISCSI_OP_SNACK_REQ,
                                      ISCSI_OP_NOP_IN,
                                      ISCSI_OP_LOGIN_REQ,
                                      0x1f};
    struct world *w = world_new(7);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU};
    unsigned before;

    (void)state;
    world_logged_in(w);
    before = fake_adapter.nsent;
    assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), -EINVAL); /* too early */
    world_start(w);
    for (size_t i = 0; i < sizeof(foreign); i++)
        assert_int_equal(send_request(w, foreign[i], ISCSI_TAG_RSVD), -EINVAL);
    ev.sid = w->sid;
    ev.cid = w->cid;
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    ev.u.send_pdu.hdr.ahs_words = 3;
    assert_int_equal(world_ask(w, &ev, NULL, 0), -EINVAL);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(fake_adapter.nsent, before);
    assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), 0);
    assert_int_equal(fake_adapter.nsent, before + 1);
    world_free(w);
}

/* What was agreed on at login stays, whichever connection the control plane names, and what the
 * data plane gives back is what is in force. */
static void
agreed_values_stay(void **state)
{
    struct world *w = world_new(8);
    const struct iscsi_session *s;

    (void)state;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_TASK_REPORTING, "RFC3720"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "16384"), 0);
    world_start(w);
    s = dataplane_session(w->dp, w->sid);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "512"), -EBUSY);
    assert_int_equal(world_param(w, ISCSI_PARAM_HEADER_DIGEST, "None"), -EBUSY);
    assert_int_equal(world_param(w, ISCSI_PARAM_TASK_REPORTING, "FastAbort"), -EBUSY);
    assert_false(s->params.fast_abort);
    w->cid = 2; /* it logs in beside the first */
    w->follows = true;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_BURST, "512"), -EBUSY);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_BURST, "512"), -EBUSY);
    assert_int_equal(world_param(w, ISCSI_PARAM_IMM_DATA, "No"), -EBUSY);
    assert_int_equal(s->params.max_burst, 65536);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "512"), 0); /* its own */
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    world_free(w);
}

/* TMO-01: an interval that changes on a live connection is in force at once. */
static void
interval_of_pings_changes(void **state)
{
    struct world *w = world_new(5);
    unsigned before;

    (void)state;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "80000"), 0);
    world_start(w);
    before = fake_adapter.nsent;
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "1000"), 0);
    fake_advance(&w->fl, MS(1100));
    assert_int_equal(fake_adapter.nsent, before + 1);
    assert_int_equal(fake_last(ISCSI_OP_NOP_OUT)->h.h.opcode & ISCSI_OP_MASK, ISCSI_OP_NOP_OUT);
    for (int i = 0; i < 10; i++) /* nobody answers */
        fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_NOP_TIMEDOUT);
    world_free(w);

    w = world_new(6); /* off, and on again */
    world_up(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    before = fake_adapter.nsent;
    for (int i = 0; i < 60; i++)
        fake_advance(&w->fl, SEC(1));
    assert_int_equal(fake_adapter.nsent, before);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "2000"), 0);
    fake_advance(&w->fl, SEC(3));
    assert_int_equal(fake_adapter.nsent, before + 1);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* TMO-01: bytes that move, either way, show that the target lives; bytes that do not, do not. */
static void
bytes_on_their_way_are_life(void **state)
{
    struct world *w = world_new(7);

    (void)state;
    world_up(w); /* an interval of 5 s, and 5 s for the answer */
    for (int i = 0; i < 40; i++) {
        fake_adapter.moved.unread += 1000;
        fake_advance(&w->fl, SEC(1));
    }
    assert_int_equal(w->nerrors, 0);
    fake_adapter.moved = (struct iscsi_moved){.unacked = 100000, .acked = 1};
    for (int i = 0; i < 40; i++) {
        fake_adapter.moved.unacked -= 1000;
        fake_adapter.moved.acked += 1000;
        fake_advance(&w->fl, SEC(1));
    }
    assert_int_equal(w->nerrors, 0);
    for (int i = 0; i < 21; i++) /* some is left, and does not move */
        fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_NOP_TIMEDOUT);
    world_free(w);
}

/* TMO-01: that our ping has been acknowledged is the target's kernel's doing, and no answer; and
 * what was read in the past and lies there still is no life either. */
static void
acknowledgements_are_no_answers(void **state)
{
    struct world *w = world_new(8);

    (void)state;
    world_up(w);
    fake_adapter.moved.unread = 7000;
    fake_advance(&w->fl, SEC(6)); /* these have come since */
    for (int i = 0; i < 11; i++) {
        fake_advance(&w->fl, SEC(1));
        fake_adapter.moved.acked = fake_last(ISCSI_OP_NOP_OUT) != NULL ? 48 : 0;
    }
    assert_non_null(fake_last(ISCSI_OP_NOP_OUT));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_NOP_TIMEDOUT);
    world_free(w);
}

/* ---- MaxOutstandingUnexpectedPDUs (RFC 7145 6.7) ----------------------------------------------
 */

/* How many immediate requests of ours the target has not answered, by what was sent. */
struct unexpected {
    struct be32 itt[64];
    unsigned seen, out, most;
};

static void
unexpected_look(struct unexpected *u)
{
    for (; u->seen < fake_adapter.nsent; u->seen++) {
        const union bhs_any *h = &fake_adapter.sent[u->seen].h;

        if (pdu_opcode(&h->h) == ISCSI_OP_SCSI_CMD || pdu_opcode(&h->h) == ISCSI_OP_LOGIN_REQ ||
            get32(h->h.itt) == ISCSI_TAG_RSVD)
            continue;
        assert_true(u->out < 64);
        u->itt[u->out++] = h->h.itt;
        if (u->out > u->most)
            u->most = u->out;
    }
}

/* The target answers the request that has waited longest, whatever it is. */
static void
unexpected_answer(struct world *w, struct unexpected *u)
{
    union bhs_any h;
    uint8_t op = 0;

    for (unsigned i = 0; i < fake_adapter.nsent; i++) {
        if (get32(fake_adapter.sent[i].h.h.itt) == get32(u->itt[0]))
            op = (uint8_t)pdu_opcode(&fake_adapter.sent[i].h.h);
    }
    bhs_init(&h, (uint8_t)(op | 0x20), ISCSI_FLAG_FINAL);
    h.h.itt = u->itt[0];
    if (op != ISCSI_OP_TMF_REQ && op != ISCSI_OP_LOGOUT_REQ)
        h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    memmove(u->itt, u->itt + 1, --u->out * sizeof(u->itt[0]));
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    fake_advance(&w->fl, MS(60));
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    unexpected_look(u);
}

static struct world *
world_with_limit(uint64_t seed, const char *limit, struct unexpected *u)
{
    struct world *w = world_new(seed);

    world_logged_in(w);
    if (limit != NULL)
        assert_int_equal(world_param(w, ISCSI_PARAM_MAX_UNEXPECTED_PDUS, limit), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "1000"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_TIMEOUT_MS, "80000"), 0);
    world_start(w);
    memset(u, 0, sizeof(*u));
    unexpected_look(u);
    assert_int_equal(u->out, 0);
    return w;
}

/* Pings of the control plane, a text, an abort and a logout, our own ping beside them: no more are
 * out than the target has room for, and all of them go at last, our ping at once. */
static void
no_more_than_the_target_has_room_for(void **state)
{
    static const struct {
        const char *limit;
        unsigned at_once, most;
    } rows[] = {{NULL, 6, 7}, {"0", 6, 7}, {"2", 1, 2},         {"3", 2, 3},
                {"5", 4, 5},  {"7", 6, 7}, {"4294967295", 6, 7}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct unexpected u;
        struct world *w = world_with_limit(100 + i, rows[i].limit, &u);
        struct waiter x = {.w.done = eh_done};
        struct cmd c;
        unsigned answers = 0;

        (void)one_command(w, &c, true);
        for (int n = 0; n < 3; n++)
            assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), 0);
        assert_int_equal(send_request(w, ISCSI_OP_TEXT_REQ, ISCSI_TAG_RSVD), 0);
        w->host->ops->eh_abort(w->host, &c.sc, &x.w);
        fake_advance(&w->fl, MS(10));
        unexpected_look(&u);
        assert_in_range(u.out, rows[i].at_once - 1, rows[i].at_once); /* the logout is to come */
        fake_advance(&w->fl, SEC(2));
        unexpected_look(&u); /* and our ping */
        assert_true(u.out == rows[i].most || u.out == rows[i].most - 1);
        assert_int_equal(send_request(w, ISCSI_OP_LOGOUT_REQ, 0), 0);
        unexpected_look(&u);
        assert_int_equal(u.out, rows[i].most);
        while (u.out > 0) {
            unexpected_answer(w, &u);
            answers++;
        }
        assert_int_equal(u.most, rows[i].most);
        assert_int_equal(answers, 7);
        assert_int_equal(x.done, 1);
        assert_int_equal(c.done, 1);
        assert_int_equal(w->nerrors, 0);
        world_free(w);
    }
}

/* What the target waits for is not counted: the answers to its own pings go at once. */
static void
answers_to_pings_are_expected(void **state)
{
    struct unexpected u;
    struct world *w = world_with_limit(120, "2", &u);
    union bhs_any h;
    unsigned before;

    (void)state;
    for (int n = 0; n < 3; n++)
        assert_int_equal(send_request(w, ISCSI_OP_NOP_OUT, ISCSI_TAG_RSVD), 0);
    before = fake_adapter.nsent;
    for (unsigned n = 0; n < 5; n++) {
        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
        h.h.itt = put32(ISCSI_TAG_RSVD);
        h.nop_in.ttt = put32(70 + n);
        assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
        fake_advance(&w->fl, MS(1));
        assert_int_equal(fake_adapter.nsent, before + n + 1);
        assert_int_equal(get32(fake_last(ISCSI_OP_NOP_OUT)->h.nop_out.ttt), 70 + n);
    }
    world_free(w);
}

/* The control plane sends a NOP-Out that nobody answers. */
static void
send_mute(struct world *w)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = w->cid};
    union bhs_any *h = (void *)&ev.u.send_pdu.hdr;

    bhs_init(h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h->h.itt = h->nop_out.ttt = put32(ISCSI_TAG_RSVD);
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_advance(&w->fl, MS(1));
}

/* A NOP-Out that nobody answers has been taken when a command behind it has, or a ping has been
 * answered that was sent behind it; where nothing else would show that, a ping is sent. */
static void
nobody_answers(void **state)
{
    struct unexpected u;
    struct world *w = world_with_limit(121, "3", &u);
    struct cmd c;
    unsigned before;

    (void)state;
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    before = fake_adapter.nsent;
    send_mute(w);
    send_mute(w);
    assert_int_equal(fake_adapter.nsent, before + 2);
    send_mute(w);
    send_mute(w);
    send_mute(w);
    assert_int_equal(fake_adapter.nsent, before + 3); /* a ping */
    unexpected_look(&u);
    assert_int_equal(u.out, 1);
    unexpected_answer(w, &u);
    assert_int_equal(fake_adapter.nsent, before + 6); /* two more, and another ping */
    unexpected_look(&u);
    unexpected_answer(w, &u);
    assert_int_equal(fake_adapter.nsent, before + 7); /* the last */
    send_mute(w);
    assert_int_equal(fake_adapter.nsent, before + 8);
    (void)one_command(w, &c, true);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    fake_adapter.exp_cmdsn++;
    (void)one_command(w, &c, true);
    fake_adapter.exp_cmdsn++;
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    before = fake_adapter.nsent;
    send_mute(w);
    send_mute(w);
    assert_int_equal(fake_adapter.nsent, before + 2);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_beside_each_other),
        cmocka_unit_test(text_keeps_its_tag),
        cmocka_unit_test(exchange_waits_for_the_adapter),
        cmocka_unit_test(logout_beside_pings),
        cmocka_unit_test(no_more_than_the_target_has_room_for),
        cmocka_unit_test(answers_to_pings_are_expected),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(answers_fit_their_requests),
        cmocka_unit_test(interval_of_pings_changes),
        cmocka_unit_test(bytes_on_their_way_are_life),
        cmocka_unit_test(acknowledgements_are_no_answers),
        cmocka_unit_test(foreign_requests_are_refused),
        cmocka_unit_test(agreed_values_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
