/* SPDX-License-Identifier: MIT */
/* Error recovery level 2: tasks outlive their connection.  Over the fake adapter, with the test as
 * the target. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"
#include "wire/pdu.h"

#define CONNS 6

/* The target's end of each connection. */
static struct {
    struct iscsi_conn *conn;
    uint32_t stat_sn;
} end[CONNS + 1];

static struct session *
session_of(const struct world *w)
{
    return container_of(w->host, struct session, host);
}

/* What the target sends from here on goes on the connection cid. */
static void
speak_on(uint16_t cid)
{
    fake_adapter.conn = end[cid].conn;
    fake_adapter.stat_sn = end[cid].stat_sn;
}

/* What the target has said of its numbers it says again, as long as it is asked. */
static void
say_again(struct world *w)
{
    const struct session *s = session_of(w);
    union bhs_any h;

    while (s->again_ping != NULL) {
        uint16_t cid = s->again_ping->pub.conn->cid;

        speak_on(cid);
        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
        h.h.itt = put32(s->again_ping->pub.itt);
        h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        end[cid].stat_sn++;
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        fake_advance(&w->fl, MS(1));
    }
}

/* Another connection logs in. */
static void
add(struct world *w, uint16_t cid)
{
    w->cid = cid;
    w->follows = true;
    if (iscsi_conn_find(&session_of(w)->pub, cid) == NULL)
        assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    end[cid].conn = fake_adapter.conn;
    end[cid].stat_sn = 1000u * cid;
    assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
    say_again(w);
}

/* n connections at level 2, and Time2Wait of so many seconds; tasks are kept for 20 s. */
static struct world *
level2_world(uint64_t seed, uint16_t n, const char *time2wait)
{
    struct world *w = world_new(seed);

    memset(end, 0, sizeof(end));
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "60"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_DEF_TIME2WAIT, time2wait), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_DEF_TIME2RETAIN, "20"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_ERL, "2"), 0);
    world_start(w);
    end[1].conn = fake_adapter.conn;
    end[1].stat_sn = fake_adapter.stat_sn;
    fake_adapter.max_cmdsn += 20;
    end[1].conn->up->update_cmdsn(end[1].conn, put32(fake_adapter.exp_cmdsn),
                                  put32(fake_adapter.max_cmdsn));
    for (uint16_t cid = 2; cid <= n; cid++)
        add(w, cid);
    speak_on(1);
    return w;
}

static uint16_t
cid_of(const struct cmd *c)
{
    return ((struct task *)c->sc.host_priv)->pub.conn->cid;
}

static uint32_t
cmdsn_of(const struct cmd *c)
{
    return ((struct task *)c->sc.host_priv)->pub.cmd_sn;
}

static uint32_t
itt_of(const struct cmd *c)
{
    return ((struct task *)c->sc.host_priv)->pub.itt;
}

/* The last PDU that was sent for the command. */
static const struct fake_sent *
sent_for(const struct cmd *c)
{
    for (unsigned i = fake_adapter.nsent; i-- > 0;) {
        if (get32(fake_adapter.sent[i].h.h.itt) == itt_of(c))
            return &fake_adapter.sent[i];
    }
    return NULL;
}

static void
cut(struct world *w, uint16_t cid)
{
    struct iscsi_conn *c = end[cid].conn;

    c->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, "cut");
    end[cid].conn = NULL;
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* The target answers the Logout for recovery of that connection, and has received what comes before
 * exp_cmdsn. */
static int
logged_out(struct world *w, uint16_t cid, uint32_t exp_cmdsn, uint8_t response, uint16_t wait_s)
{
    const struct fake_sent *s = fake_last(ISCSI_OP_LOGOUT_REQ);
    union bhs_any h;
    int r;

    assert_non_null(s);
    assert_int_equal(get16(s->h.logout_req.cid), cid);
    assert_int_equal(s->h.h.flags, ISCSI_FLAG_FINAL | ISCSI_LOGOUT_RECOVERY);
    speak_on(s->cid);
    fake_adapter.exp_cmdsn = exp_cmdsn;
    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.logout_rsp.response = response;
    h.logout_rsp.time2wait = put16(wait_s);
    h.logout_rsp.time2retain = put16(20);
    end[s->cid].stat_sn++;
    r = fake_pdu(&h, NULL, 0, true);
    fake_advance(&w->fl, MS(1));
    say_again(w);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    return r;
}

/* The TASK REASSIGN that was sent last, if it is about c and has not been answered. */
static const struct fake_sent *
reassign_of(const struct cmd *c)
{
    for (unsigned i = fake_adapter.nsent; i-- > 0;) {
        const struct bhs_tmf_req *h = &fake_adapter.sent[i].h.tmf_req;

        if (pdu_opcode(&fake_adapter.sent[i].h.h) == ISCSI_OP_TMF_REQ &&
            h->flags == (ISCSI_FLAG_FINAL | ISCSI_TMF_TASK_REASSIGN) &&
            get32(h->ref_tag) == itt_of(c)) {
            assert_true(h->opcode & ISCSI_OP_IMMEDIATE);
            assert_int_equal(get32(h->ref_cmd_sn), cmdsn_of(c));
            assert_memory_equal(h->lun, c->sc.lun, 8);
            return &fake_adapter.sent[i];
        }
    }
    return NULL;
}

static int
reassigned(struct world *w, const struct fake_sent *s, uint8_t response)
{
    union bhs_any h;
    int r;

    assert_non_null(s);
    speak_on(s->cid);
    bhs_init(&h, ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.tmf_rsp.response = response;
    end[s->cid].stat_sn++;
    r = fake_pdu(&h, NULL, 0, true);
    fake_advance(&w->fl, MS(1));
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    return r;
}

/* The answer comes on the connection that has the task now. */
static void
answer_reassigned(struct world *w, struct cmd *c)
{
    speak_on(cid_of(c));
    end[cid_of(c)].stat_sn++;
    assert_int_equal(fake_answer(sent_for(c), 0, NULL, 0, 0), 0);
    assert_int_equal(c->done, 1);
    assert_int_equal(c->sc.host_result, DID_OK);
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* ERL-12, LOUT-03, TMF-08: what the target had is reassigned, one request at a time on each
 * connection, and what it had not goes again with its number. */
static void
lost_tasks_are_reassigned(void **state)
{
    (void)state;
    for (int lead = 0; lead < 2; lead++) {
        struct world *w = level2_world(1, 2, "0");
        uint16_t gone = lead ? 1 : 2, stays = lead ? 2 : 1;
        struct cmd c[6];
        uint32_t sn[6], itt[6];

        for (int i = 0; i < 6; i++) {
            one_command(w, &c[i], i & 2);
            sn[i] = cmdsn_of(&c[i]);
            itt[i] = itt_of(&c[i]);
        }
        cut(w, gone);
        for (int i = 0; i < 6; i++)
            assert_null(reassign_of(&c[i])); /* the target has not let go of it */
        assert_int_equal(logged_out(w, gone, sn[4], ISCSI_LOGOUT_RSP_OK, 0), 0);
        for (int i = 0; i < 4; i++) {
            const struct fake_sent *s;

            if (((struct task *)c[i].sc.host_priv)->pub.state == ISCSI_TASK_RUNNING)
                continue;
            s = reassign_of(&c[i]);
            assert_int_equal(s->cid, stays);
            assert_int_equal(reassigned(w, s, ISCSI_TMF_RSP_COMPLETE), 0);
            assert_int_equal(cid_of(&c[i]), stays);
        }
        fake_adapter.exp_cmdsn = lead ? sn[4] : sn[5]; /* the other was on its way */
        end[stays].conn->up->update_cmdsn(end[stays].conn, put32(fake_adapter.exp_cmdsn),
                                          put32(fake_adapter.max_cmdsn));
        fake_advance(&w->fl, MS(1));
        say_again(w);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(c[i].done, 0);
            assert_int_equal(cid_of(&c[i]), stays);
            assert_int_equal(cmdsn_of(&c[i]), sn[i]);
            assert_int_equal(itt_of(&c[i]), itt[i]);
            answer_reassigned(w, &c[i]);
        }
        assert_int_equal(w->blocked + w->gone, 0);
        assert_int_equal(end[stays].conn->stats.tasks_reassigned, 2);
        world_free(w);
    }
}

/* 11.15.3: the Logout Response says how long to wait before tasks are reassigned. */
static void
time2wait_of_the_answer(void **state)
{
    struct world *w = level2_world(2, 2, "0");
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK, 3), 0);
    fake_advance(&w->fl, SEC(3) - MS(10));
    assert_null(reassign_of(&c[1]));
    fake_advance(&w->fl, MS(40));
    assert_int_equal(reassigned(w, reassign_of(&c[1]), ISCSI_TMF_RSP_COMPLETE), 0);
    answer_reassigned(w, &c[0]);
    answer_reassigned(w, &c[1]);
    world_free(w);
}

/* A command waits to be sent again on its connection, as the target has thrown its data away, when
 * that is lost: it goes on another one, and the data that is asked for there is sent. */
static void
lost_before_it_went_again(void **state)
{
    struct world *w = level2_world(13, 2, "0");
    struct cmd c[2];
    union bhs_any h;
    unsigned n;

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], false);
    fake_adapter.full = true;
    fake_adapter.full_cid = 2;
    speak_on(2);
    end[2].stat_sn++;
    bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.reject.reason = ISCSI_REJECT_DATA_DIGEST;
    assert_int_equal(fake_pdu(&h, &sent_for(&c[1])->h, ISCSI_BHS_LEN, true), 0);
    cut(w, 2);
    fake_adapter.full = false;
    assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]), ISCSI_LOGOUT_RSP_OK, 0), 0);
    assert_int_equal(cid_of(&c[1]), 1);
    assert_int_equal(sent_for(&c[1])->cid, 1);
    n = fake_adapter.nsent;
    end[1].conn->up->requeue_task(sent_for(&c[1])->task); /* an R2T came */
    assert_false(((struct task *)c[1].sc.host_priv)->resend);
    fake_turn(&w->fl);
    assert_int_equal(fake_adapter.nsent, n + 1);
    answer_reassigned(w, &c[0]);
    answer_reassigned(w, &c[1]);
    world_free(w);
}

/* The target wants more and more data acknowledged and reads nothing: tasks are left for others. */
static void
acks_do_not_pile_up(void **state)
{
    struct world *w = level2_world(21, 1, "0");
    struct iscsi_task *t;
    struct bhs_data_in h;
    unsigned snacks = 0, pings = 0;
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    t = sent_for(&c)->task;
    fake_adapter.full = true;
    bhs_init(&h, ISCSI_OP_DATA_IN, ISCSI_DATA_IN_ACK);
    for (uint32_t i = 0; i < 100; i++) {
        h.data_sn = put32(i);
        h.ttt = put32(i);
        assert_int_equal(end[1].conn->up->odd_data_in(t, &h), ISCSI_ODD_TAKE);
        end[1].conn->up->data_in_came(t, &h);
    }
    fake_advance(&w->fl, SEC(6)); /* it is silent for long enough for a ping */
    fake_adapter.full = false;
    fake_room();
    fake_turn(&w->fl);
    for (unsigned i = 0; i < fake_adapter.nsent; i++) {
        snacks += pdu_opcode(&fake_adapter.sent[i].h.h) == ISCSI_OP_SNACK_REQ;
        pings += pdu_opcode(&fake_adapter.sent[i].h.h) == ISCSI_OP_NOP_OUT;
    }
    assert_int_equal(snacks, 8);
    assert_int_equal(pings, 1);
    t->in_done = 0;
    world_free(w);
}

/* A SNACK is half sent when its connection is lost.  It takes no number, and leaves no gap. */
static void
lost_with_a_snack(void **state)
{
    struct world *w = level2_world(14, 2, "0");
    struct cmd c[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        one_command(w, &c[i], true);
    assert_int_equal(cid_of(&c[1]), 2);
    assert_int_equal(cid_of(&c[3]), 2);
    answer_reassigned(w, &c[1]);
    fake_adapter.full = true;
    fake_adapter.full_cid = 2;
    end[2].stat_sn += 2; /* a response is missing */
    speak_on(2);
    assert_int_equal(fake_answer(sent_for(&c[3]), 0, NULL, 0, 0), 0);
    assert_int_equal(c[3].done, 1);
    fake_turn(&w->fl);
    assert_int_equal(pdu_opcode(&to_conn(end[2].conn)->xmit_task->ctl.h), ISCSI_OP_SNACK_REQ);
    cut(w, 2);
    fake_adapter.full = false;
    assert_int_equal(w->blocked, 0);
    answer_reassigned(w, &c[0]);
    answer_reassigned(w, &c[2]);
    world_free(w);
}

/* A task is not reassigned while its old connection may touch its memory. */
static void
memory_comes_back_first(void **state)
{
    struct world *w = level2_world(3, 2, "0");
    struct cmd c[2];

    (void)state;
    fake_adapter.cleanup_delay_ns = MS(300);
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    assert_null(reassign_of(&c[1]));
    fake_advance(&w->fl, MS(310));
    fake_adapter.cleanup_delay_ns = 0;
    assert_int_equal(reassigned(w, reassign_of(&c[1]), ISCSI_TMF_RSP_COMPLETE), 0);
    answer_reassigned(w, &c[0]);
    answer_reassigned(w, &c[1]);
    world_free(w);
}

/* The task is not there: its status is lost.  Every other refusal leaves session recovery. */
static void
target_has_not_kept_it(void **state)
{
    static const uint8_t answers[] = {ISCSI_TMF_RSP_NO_TASK, ISCSI_TMF_RSP_STILL_ALLEGIANT,
                                      ISCSI_TMF_RSP_REASSIGN_UNSUPPORTED, ISCSI_TMF_RSP_REJECTED};

    (void)state;
    for (unsigned i = 0; i < sizeof(answers); i++) {
        struct world *w = level2_world(4, 2, "0");
        bool lost = answers[i] == ISCSI_TMF_RSP_NO_TASK;
        struct cmd c[2];

        one_command(w, &c[0], true);
        one_command(w, &c[1], true);
        cut(w, 2);
        assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
        assert_int_equal(reassigned(w, reassign_of(&c[1]), answers[i]), lost ? 0 : -EPROTO);
        assert_int_equal(c[1].done, 1);
        assert_int_equal(c[1].sc.host_result, DID_TRANSPORT_DISRUPTED);
        assert_int_equal(w->blocked, lost ? 0 : 1);
        if (lost)
            answer_reassigned(w, &c[0]);
        world_free(w);
    }
}

/* The target does not recover connections (11.15.2, response 2). */
static void
target_does_not_recover(void **state)
{
    struct world *w = level2_world(5, 2, "0");
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_NO_RECOVERY, 0),
                     -EPROTO);
    assert_int_equal(c[0].done + c[1].done, 2);
    assert_int_equal(w->blocked, 1);
    world_free(w);
}

/* The connection to which a task was to go is lost before the answer: the task may be its own. */
static void
reassignment_is_lost(void **state)
{
    struct world *w = level2_world(6, 3, "0");
    struct cmd c[3];
    const struct fake_sent *s;
    uint16_t via;

    (void)state;
    for (int i = 0; i < 3; i++)
        one_command(w, &c[i], true);
    cut(w, 3);
    assert_int_equal(logged_out(w, 3, cmdsn_of(&c[2]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    s = reassign_of(&c[2]);
    via = s->cid;
    cut(w, via);
    assert_ptr_equal(reassign_of(&c[2]), s);
    assert_int_equal(logged_out(w, via, cmdsn_of(&c[2]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    for (int n = 0; n < 2; n++) {
        for (int i = 0; i < 3; i++) {
            struct task *t = c[i].sc.host_priv;

            if (t->pub.state == ISCSI_TASK_UNASSIGNED && t->reassign == REASSIGN_ASKED)
                assert_int_equal(reassigned(w, reassign_of(&c[i]), ISCSI_TMF_RSP_COMPLETE), 0);
        }
    }
    for (int i = 0; i < 3; i++)
        answer_reassigned(w, &c[i]);
    assert_int_equal(w->blocked + w->gone, 0);
    world_free(w);
}

/* The target does not answer a TASK REASSIGN: its connection is given up after 5 s, also where a
 * reset has ended the command meanwhile. */
static void
reassignment_is_not_answered(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct world *w = level2_world(17, 3, "0");
        struct waiter x = {.w.done = eh_done};
        const uint8_t lun[8] = {0};
        struct cmd c[3];
        uint16_t via;

        for (int i = 0; i < 3; i++)
            one_command(w, &c[i], true);
        cut(w, 3);
        assert_int_equal(logged_out(w, 3, cmdsn_of(&c[2]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
        via = reassign_of(&c[2])->cid;
        if (reset) {
            w->host->ops->eh_device_reset(w->host, lun, &x.w);
            fake_turn(&w->fl);
            speak_on(fake_last(ISCSI_OP_TMF_REQ)->cid);
            end[fake_last(ISCSI_OP_TMF_REQ)->cid].stat_sn++;
            assert_int_equal(tmf_answer(ISCSI_TMF_RSP_COMPLETE), 0);
            fake_advance(&w->fl, MS(1));
            assert_int_equal(x.r, SCSI_EH_SUCCESS);
            assert_int_equal(c[2].done, 1);
        }
        fake_advance(&w->fl, MS(60)); /* the loss is told late */
        for (int i = 0; i < 5; i++) {
            assert_int_equal(w->nerrors, 1);
            end[1].conn->last_recv_ns = end[2].conn->last_recv_ns = w->fl.l.now_ns;
            fake_advance(&w->fl, SEC(1));
        }
        fake_advance(&w->fl, MS(100));
        assert_int_equal(w->nerrors, 2);
        assert_int_equal(w->event.cid, via);
        assert_int_equal(w->error, ISCSI_ERR_TMF_TIMEDOUT);
        iscsi_session_check(dataplane_session(w->dp, w->sid));
        world_free(w);
    }
}

/* The CID logs in again while its tasks are being reassigned: each is asked for once. */
static void
cid_is_back_meanwhile(void **state)
{
    struct world *w = level2_world(11, 2, "0");
    const struct fake_sent *s;
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    s = reassign_of(&c[1]);
    add(w, 2);
    fake_advance(&w->fl, MS(30));
    assert_ptr_equal(reassign_of(&c[1]), s);
    assert_int_equal(reassigned(w, s, ISCSI_TMF_RSP_COMPLETE), 0);
    answer_reassigned(w, &c[0]);
    answer_reassigned(w, &c[1]);
    world_free(w);
}

/* ERL-12, REIN-03: the last connection is lost, and its CID logs in to the session again. */
static void
last_connection_is_replaced(void **state)
{
    struct world *w = level2_world(7, 1, "0");
    struct cmd c[3], late;
    uint32_t sn[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        one_command(w, &c[i], true);
        sn[i] = cmdsn_of(&c[i]);
    }
    fake_adapter.exp_cmdsn = sn[2]; /* the last one does not get there */
    end[1].conn->up->update_cmdsn(end[1].conn, put32(sn[2]), put32(fake_adapter.max_cmdsn));
    assert_false(w->still);
    cut(w, 1);
    assert_int_equal(w->nerrors, 0); /* it is on its way */
    assert_true(w->still);
    fake_advance(&w->fl, SEC(5));
    assert_int_equal(w->nerrors, 1);
    cmd_init(&late, true, 64);
    assert_int_equal(world_queue(w, &late), -EBUSY); /* it waits */
    w->restarts = 0;
    add(w, 1);
    speak_on(1);
    fake_turn(&w->fl);
    assert_int_equal(w->restarts, 1);
    assert_false(w->still);
    for (int i = 0; i < 2; i++)
        assert_int_equal(reassigned(w, reassign_of(&c[i]), ISCSI_TMF_RSP_COMPLETE), 0);
    assert_int_equal(cmdsn_of(&c[2]), sn[2]);
    for (int i = 0; i < 3; i++)
        answer_reassigned(w, &c[i]);
    one_command(w, &late, true);
    assert_int_equal(cmdsn_of(&late), sn[2] + 1);
    answer_reassigned(w, &late);
    assert_int_equal(w->blocked + w->gone, 0);
    world_free(w);
}

/* The control plane logs a lost connection out, and not for recovery: the target ends its tasks,
 * and there is nothing to reassign. */
static void
logged_out_for_good(void **state)
{
    struct world *w = level2_world(19, 2, "3");
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = 1};
    struct cmd c[2];
    union bhs_any h;

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_CONNECTION);
    ((struct bhs_logout_req *)(void *)&ev.u.send_pdu.hdr)->cid = put16(2);
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_turn(&w->fl);
    speak_on(1);
    fake_adapter.exp_cmdsn = cmdsn_of(&c[1]) + 1;
    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_LOGOUT_REQ)->h.h.itt;
    end[1].stat_sn++;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(c[1].done, 1);
    assert_int_equal(c[1].sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_null(fake_last(ISCSI_OP_TMF_REQ));
    answer_reassigned(w, &c[0]);
    world_free(w);
}

/* A connection that was lost cannot be bound, and another one takes its place as the leading one:
 * it is logged out through that like the others. */
static void
cannot_be_bound(void **state)
{
    struct world *w = level2_world(20, 2, "1");
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    cut(w, 1);
    fake_advance(&w->fl, SEC(2));
    w->cid = 1;
    w->follows = true;
    world_connect(w);
    fake_adapter.bind_result = -ENOMEM;
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -ENOMEM);
    fake_adapter.bind_result = 0;
    add(w, 2);
    fake_advance(&w->fl, SEC(2));
    assert_int_equal(logged_out(w, 1, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    world_free(w);
}

/* A session adrift has nothing to do: no timer looks at it many times a second.  What was to be
 * done before is done when somebody has logged in. */
static void
nothing_is_done_adrift(void **state)
{
    struct world *w = level2_world(18, 3, "0");
    const struct session *s = session_of(w);
    struct cmd c[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        one_command(w, &c[i], true);
    cut(w, 3);
    assert_int_equal(logged_out(w, 3, cmdsn_of(&c[2]) + 1, ISCSI_LOGOUT_RSP_OK, 1), 0);
    cut(w, 2);
    cut(w, 1);
    for (int i = 0; i < 10; i++) {
        fake_advance(&w->fl, MS(500));
        assert_true(s->adrift);
        assert_false(loop_timer_running(&s->clear_timer));
        assert_true(i < 2 || !loop_timer_running(&s->reassign_timer)); /* Time2Wait */
    }
    add(w, 1);
    fake_advance(&w->fl, MS(1));
    speak_on(1);
    assert_int_equal(reassigned(w, reassign_of(&c[2]), ISCSI_TMF_RSP_COMPLETE), 0);
    assert_int_equal(logged_out(w, 2, cmdsn_of(&c[2]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    world_free(w);
}

/* 6.3.4, 7.5: the login in place of a lost connection is its logout for recovery, from which on the
 * target keeps the tasks for the agreed time once more.  A command that cannot be reassigned, as it
 * moves data both ways, does not end before: the target may execute it until then. */
static void
login_begins_the_time_anew(void **state)
{
    struct world *w = level2_world(16, 1, "0");
    uint8_t buf[512];
    struct iovec iov = {buf, sizeof(buf)};
    struct cmd c;

    (void)state;
    cmd_init(&c, true, 512);
    c.sc.out = sg_from_iov(&iov, 1, 0, sizeof(buf));
    assert_int_equal(world_queue(w, &c), 0);
    world_commit(w);
    fake_adapter.exp_cmdsn = cmdsn_of(&c) + 1;
    end[1].conn->up->update_cmdsn(end[1].conn, put32(fake_adapter.exp_cmdsn),
                                  put32(fake_adapter.max_cmdsn));
    cut(w, 1);
    fake_advance(&w->fl, SEC(15));
    add(w, 1);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    fake_advance(&w->fl, SEC(19)); /* and the ten seconds from the loss on are over as well */
    assert_int_equal(c.done, 0);
    fake_advance(&w->fl, SEC(15));
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    world_free(w);
}

/* LGQ-03: the first Login Request of a connection that is logged in again acknowledges what had
 * come on the lost one. */
/* LGQ-03: the first Login Request of a connection that is logged in again acknowledges what had
 * come on the lost one. */
static void
login_acknowledges_what_had_come(void **state)
{
    struct world *w = level2_world(12, 1, "0");
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = 1};
    const struct fake_sent *s;
    uint32_t was;
    struct cmd c[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        one_command(w, &c[i], true);
    answer_reassigned(w, &c[0]);
    was = end[1].conn->exp_statsn;
    assert_int_equal(was, end[1].stat_sn);
    cut(w, 1);
    fake_advance(&w->fl, SEC(5));
    w->cid = 1;
    w->follows = true;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT));
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_advance(&w->fl, MS(1));
    s = fake_last(ISCSI_OP_LOGIN_REQ);
    assert_int_equal(get32(s->h.login_req.exp_stat_sn), was);
    world_free(w);
    assert_int_equal(c[1].done, 1);
}

/* ERL-13, ERL-17: nobody comes in time, or whoever comes begins a new nexus. */
static void
session_recovery_goes_before(void **state)
{
    (void)state;
    for (int late = 0; late < 3; late++) {
        struct world *w = level2_world(8, 2, "1");
        struct cmd c;

        one_command(w, &c, true);
        cut(w, 1);
        assert_false(w->still); /* another connection serves */
        cut(w, 2);
        fake_advance(&w->fl, SEC(20));
        assert_int_equal(c.done + w->blocked, 0);
        assert_true(w->still);
        if (late > 0) {
            fake_advance(&w->fl, SEC(1));
            assert_int_equal(w->blocked, 1);
            assert_false(w->still);
        }
        w->cid = session_of(w)->leadconn->pub.cid;
        world_connect(w);
        w->follows = late == 1;
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), late == 1 ? -ENOTCONN : 0);
        fake_turn(&w->fl);
        assert_int_equal(w->blocked, 1);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
        iscsi_session_check(dataplane_session(w->dp, w->sid));
        world_free(w);
    }
}

/* The session is closed, or nobody will log in, while its tasks wait. */
static void
closed_adrift(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct world *w = level2_world(9, 1, "0");
        struct cmd c;

        one_command(w, &c, true);
        cut(w, 1);
        if (how == 0) {
            w->how = STOP_CONN_TERM;
            assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
            assert_int_equal(w->gone, 1);
            assert_int_equal(c.done, 1);
        }
        world_free(w);
        assert_int_equal(c.done, 1);
    }
}

/* Another connection comes in place of the last, and its login is given up at that moment: the one
 * that was lost may come back yet. */
static void
given_up_as_it_leads(void **state)
{
    struct world *w = level2_world(12, 1, "3"); /* no Logout is on its way */
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    fake_adapter.exp_cmdsn = cmdsn_of(&c) + 1;
    end[1].conn->up->update_cmdsn(end[1].conn, put32(fake_adapter.exp_cmdsn),
                                  put32(fake_adapter.max_cmdsn));
    cut(w, 1);
    add(w, 2);
    w->how = STOP_CONN_RECOVER;
    assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
    fake_turn(&w->fl);
    assert_int_equal(c.done + w->gone + w->blocked, 0);
    add(w, 1);
    assert_int_equal(reassigned(w, reassign_of(&c), ISCSI_TMF_RSP_COMPLETE), 0);
    answer_reassigned(w, &c);
    world_free(w);
}

/* The last connection is destroyed while it logs in again: another one that was lost may come in
 * its place; where there is none the session is recovered. */
static void
destroyed_while_it_logs_in(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        for (int tasks = 0; tasks < 2; tasks++) {
            struct world *w = level2_world(15, other ? 2 : 1, "3");
            struct cmd c = {.done = 1};

            if (tasks)
                one_command(w, &c, true);
            if (other)
                cut(w, 2);
            cut(w, 1);
            w->cid = 1;
            w->follows = true;
            world_connect(w);
            assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
            assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
            iscsi_session_check(dataplane_session(w->dp, w->sid));
            assert_int_equal(w->blocked, !other);
            fake_advance(&w->fl, SEC(30));
            iscsi_session_check(dataplane_session(w->dp, w->sid));
            assert_int_equal(w->blocked, 1);
            assert_int_equal(c.done, 1);
            world_free(w);
        }
    }
}

/* The last connection was lost with a Logout about another one.  It logs in again, but until that
 * is through the Logout may arrive, and would end the other one if that had come back: the other
 * one has to wait, also where the login fails. */
static void
carrier_logs_in_again(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct world *w = level2_world(21, 2, "0");
        struct cmd c[2];

        for (int i = 0; i < 2; i++)
            one_command(w, &c[i], true);
        cut(w, 2);
        assert_int_equal(fake_last(ISCSI_OP_LOGOUT_REQ)->cid, 1);
        cut(w, 1);
        w->cid = 1;
        w->follows = true;
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
        iscsi_session_check(dataplane_session(w->dp, w->sid));
        if (fails) {
            end[1].conn = fake_adapter.conn;
            cut(w, 1);
        }
        w->cid = 2;
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY);
        w->cid = 1;
        if (fails) {
            add(w, 1);
        } else {
            end[1].conn = iscsi_conn_find(&session_of(w)->pub, 1);
            end[1].stat_sn = 1000;
            assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
        }
        fake_turn(&w->fl);
        assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
        add(w, 2);
        assert_int_equal(w->blocked + w->gone, 0);
        world_free(w);
    }
}

/* The session is lost for good while its last connection is down, which has carried a Logout about
 * another one.  That Logout may arrive yet, and the target may still know of the session: no other
 * connection logs in to what was lost, not before the session is up again. */
static void
nobody_joins_what_is_lost(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct world *w = level2_world(22, 2, "0");
        struct cmd c[2];

        for (int i = 0; i < 2; i++)
            one_command(w, &c[i], true);
        cut(w, 2);
        assert_int_equal(fake_last(ISCSI_OP_LOGOUT_REQ)->cid, 1);
        cut(w, 1);
        assert_int_equal(w->blocked, 0);
        if (!late)
            iscsi_session_failure(session_of(w), ISCSI_ERR_LOCAL, "session reset");
        fake_advance(&w->fl, late ? SEC(21) : MS(1));
        assert_int_equal(w->blocked, 1);
        w->cid = 2;
        w->follows = true;
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -ENOTCONN);
        iscsi_session_check(dataplane_session(w->dp, w->sid));
        w->cid = 1;
        w->follows = false;
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
        end[1].conn = fake_adapter.conn;
        end[1].stat_sn = 1000;
        w->cid = 2;
        w->follows = true;
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -ENOTCONN); /* it logs in yet */
        w->cid = 1;
        assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
        add(w, 2);
        assert_int_equal(w->blocked, 1);
        assert_int_equal(w->gone, 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(c[i].done, 1);
        world_free(w);
    }
}

/* An abort waits for its command, and goes where it is. */
static void
abort_follows_a_reassigned_command(void **state)
{
    struct world *w = level2_world(10, 2, "0");
    struct waiter x = {.w.done = eh_done};
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    w->host->ops->eh_abort(w->host, &c[1].sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(logged_out(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    assert_int_equal(x.done, 0);
    assert_int_equal(reassigned(w, reassign_of(&c[1]), ISCSI_TMF_RSP_COMPLETE), 0);
    fake_turn(&w->fl);
    assert_int_equal(fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req.flags,
                     ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK);
    speak_on(1);
    end[1].stat_sn++;
    assert_int_equal(tmf_answer(ISCSI_TMF_RSP_COMPLETE), 0);
    fake_turn(&w->fl);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    assert_int_equal(c[1].sc.host_result, DID_ABORT);
    answer_reassigned(w, &c[0]);
    world_free(w);
}

/* A reset has been answered, and a command that it has to wait for goes again on another
 * connection, where nothing answers it: its connection is given up for it, and the reset fails in
 * time. */
static void
reset_waits_for_what_goes_again(void **state)
{
    static const uint8_t lun[8];
    struct world *w = level2_world(13, 3, "0");
    struct cmd c[3];
    struct waiter x = {.w.done = eh_done};
    uint16_t cid;

    (void)state;
    assert_int_equal(world_param(w, ISCSI_PARAM_LU_RESET_TIMEOUT_MS, "1000"), 0);
    for (int i = 0; i < 3; i++)
        one_command(w, &c[i], true);
    cid = cid_of(&c[2]);
    cut(w, cid);
    w->host->ops->eh_device_reset(w->host, lun, &x.w);
    fake_turn(&w->fl);
    speak_on(fake_last(ISCSI_OP_TMF_REQ)->cid);
    end[fake_last(ISCSI_OP_TMF_REQ)->cid].stat_sn++;
    assert_int_equal(tmf_answer(ISCSI_TMF_RSP_COMPLETE), 0);
    assert_int_equal(c[0].done + c[1].done, 2);
    assert_int_equal(logged_out(w, cid, cmdsn_of(&c[2]), ISCSI_LOGOUT_RSP_OK, 0), 0);
    assert_int_equal(x.done, 0);
    cid = cid_of(&c[2]);
    fake_advance(&w->fl, MS(1000));
    assert_true(end[cid].conn->failed);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    assert_int_equal(logged_out(w, cid, cmdsn_of(&c[2]) + 1, ISCSI_LOGOUT_RSP_OK, 0), 0);
    assert_int_equal(reassigned(w, reassign_of(&c[2]), ISCSI_TMF_RSP_COMPLETE), 0);
    assert_int_equal(x.done, 0);
    fake_advance(&w->fl, MS(1000));
    assert_int_equal(x.done, 1);
    assert_int_equal(x.r, SCSI_EH_FAILED);
    assert_int_equal(w->blocked, 0);
    answer_reassigned(w, &c[2]);
    world_free(w);
}

/* The target answers nothing by itself, and nobody pings it. */
static struct world *
silent_world(uint64_t seed, uint16_t n)
{
    struct world *w = level2_world(seed, n, "0");

    for (w->cid = 1; w->cid <= n; w->cid++)
        assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    return w;
}

/* A target that lets no task go on costs some connections, and then the session is recovered. */
static void
no_reassignment_is_answered(void **state)
{
    struct world *w = silent_world(12, 6);
    struct cmd c;
    uint32_t exp;
    uint16_t cid;

    (void)state;
    one_command(w, &c, true);
    cid = cid_of(&c);
    exp = cmdsn_of(&c) + 1;
    cut(w, cid);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(logged_out(w, cid, exp, ISCSI_LOGOUT_RSP_OK, 0), 0);
        cid = reassign_of(&c)->cid;
        fake_advance(&w->fl, MS(5100));
        end[cid].conn = NULL;
        assert_int_equal(w->blocked + c.done, 0);
    }
    (void)logged_out(w, cid, exp, ISCSI_LOGOUT_RSP_OK, 0);
    assert_int_equal(w->blocked, 1);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    world_free(w);
}

/* The same for one that answers no Logout of a connection that was lost. */
static void
no_logout_is_answered(void **state)
{
    struct world *w = silent_world(13, 6);
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    cut(w, cid_of(&c));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->blocked + c.done, 0);
        fake_advance(&w->fl, MS(5100));
    }
    assert_int_equal(w->blocked, 1);
    assert_int_equal(c.done, 1);
    world_free(w);
}

/* The same where the target ends each connection that a task is to go on with. */
static void
connections_end_with_a_task(void **state)
{
    struct world *w = level2_world(14, 3, "0");
    uint16_t cid;
    struct cmd c;
    uint32_t exp;

    (void)state;
    one_command(w, &c, true);
    exp = cmdsn_of(&c) + 1;
    for (int n = 0; n < 40 && c.done == 0; n++) {
        cid = cid_of(&c);
        cut(w, cid);
        (void)logged_out(w, cid, exp, ISCSI_LOGOUT_RSP_OK, 0);
        if (c.done == 0)
            assert_int_equal(reassigned(w, reassign_of(&c), ISCSI_TMF_RSP_COMPLETE), 0);
        if (c.done == 0)
            add(w, cid);
    }
    assert_int_equal(w->blocked, 1);
    assert_int_equal(c.done, 1);
    world_free(w);
}

/* The connection of c is lost before the target has taken note of any command from sn on. */
static void
lost_unheard(struct world *w, const struct cmd *c, uint32_t sn)
{
    uint16_t cid = cid_of(c);

    cut(w, cid);
    if (w->blocked > 0)
        return;
    (void)logged_out(w, cid, sn, ISCSI_LOGOUT_RSP_OK, 0);
    add(w, cid);
}

/* Nor does a command that is never acknowledged keep the session, since all that follow wait for
 * its number. */
static void
connections_end_with_a_command(void **state)
{
    struct world *w = level2_world(15, 3, "0");
    struct cmd c[2];
    uint32_t sn;

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    sn = cmdsn_of(&c[0]);
    for (int i = 0; i < 3; i++) {
        lost_unheard(w, &c[0], sn);
        assert_int_equal(w->blocked + c[0].done + c[1].done, 0);
        assert_int_equal(cmdsn_of(&c[0]), sn);
    }
    lost_unheard(w, &c[0], sn);
    fake_turn(&w->fl);
    assert_int_equal(w->blocked, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(c[i].done, 1);
        assert_int_equal(c[i].sc.host_result, DID_TRANSPORT_DISRUPTED);
    }
    world_free(w);
}

/* A command that is lost behind another one, or was acknowledged in the end, has cost none. */
static void
connections_end_beside_a_command(void **state)
{
    struct world *w = level2_world(16, 1, "0");
    struct cmd c[2];
    uint32_t sn;

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    sn = cmdsn_of(&c[0]);
    for (int i = 0; i < 6; i++) {
        if (i == 3) {
            fake_adapter.exp_cmdsn = sn + 1;
            answer_reassigned(w, &c[0]);
            say_again(w);
        }
        assert_int_equal(cid_of(&c[i / 3]), 1);
        cut(w, 1);
        add(w, 1);
        speak_on(1);
        fake_turn(&w->fl);
    }
    answer_reassigned(w, &c[1]);
    assert_int_equal(w->blocked + w->gone, 0);
    world_free(w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_tasks_are_reassigned),
        cmocka_unit_test(time2wait_of_the_answer),
        cmocka_unit_test(lost_before_it_went_again),
        cmocka_unit_test(acks_do_not_pile_up),
        cmocka_unit_test(lost_with_a_snack),
        cmocka_unit_test(memory_comes_back_first),
        cmocka_unit_test(target_has_not_kept_it),
        cmocka_unit_test(target_does_not_recover),
        cmocka_unit_test(reassignment_is_lost),
        cmocka_unit_test(reassignment_is_not_answered),
        cmocka_unit_test(cid_is_back_meanwhile),
        cmocka_unit_test(last_connection_is_replaced),
        cmocka_unit_test(logged_out_for_good),
        cmocka_unit_test(cannot_be_bound),
        cmocka_unit_test(nothing_is_done_adrift),
        cmocka_unit_test(login_begins_the_time_anew),
        cmocka_unit_test(login_acknowledges_what_had_come),
        cmocka_unit_test(session_recovery_goes_before),
        cmocka_unit_test(closed_adrift),
        cmocka_unit_test(given_up_as_it_leads),
        cmocka_unit_test(destroyed_while_it_logs_in),
        cmocka_unit_test(carrier_logs_in_again),
        cmocka_unit_test(nobody_joins_what_is_lost),
        cmocka_unit_test(abort_follows_a_reassigned_command),
        cmocka_unit_test(reset_waits_for_what_goes_again),
        cmocka_unit_test(no_reassignment_is_answered),
        cmocka_unit_test(no_logout_is_answered),
        cmocka_unit_test(connections_end_with_a_task),
        cmocka_unit_test(connections_end_with_a_command),
        cmocka_unit_test(connections_end_beside_a_command),
    };

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
