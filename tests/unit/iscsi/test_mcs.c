/* SPDX-License-Identifier: MIT */
/* Several connections of a session: over the fake adapter, with the test as the target. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"
#include "wire/pdu.h"

#define CONNS 3 /* at most; their CIDs are 1, 2, ... */

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
}

/* n connections, and Time2Wait of so many seconds. */
static struct world *
mcs_world(uint64_t seed, uint16_t n, const char *time2wait)
{
    struct world *w = world_new(seed);

    memset(end, 0, sizeof(end));
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "60"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_DEF_TIME2WAIT, time2wait), 0);
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

/* The target answers the command on its connection. */
static void
answer(struct world *w, struct cmd *c)
{
    const struct fake_sent *s = sent_for(c);

    assert_non_null(s);
    speak_on(cid_of(c));
    end[cid_of(c)].stat_sn++;
    assert_int_equal(fake_answer(s, 0, NULL, 0, 0), 0);
    assert_int_equal(c->done, 1);
    assert_int_equal(c->sc.host_result, DID_OK);
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
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

/* The Logout that the target has been asked for, about cid; NULL: the last one was another. */
static const struct fake_sent *
asked_about(uint16_t cid)
{
    const struct fake_sent *s = fake_last(ISCSI_OP_LOGOUT_REQ);

    if (s == NULL || get16(s->h.logout_req.cid) != cid)
        return NULL;
    assert_int_equal(s->h.h.flags, ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_CONNECTION);
    assert_true(s->h.h.opcode & ISCSI_OP_IMMEDIATE);
    return s;
}

/* The ping that asks what number the target waits for, on the connection `on`. */
static const struct fake_sent *
asking(uint16_t on)
{
    const struct fake_sent *s = fake_last(ISCSI_OP_NOP_OUT);

    if (s == NULL || s->cid != on || get32(s->h.h.itt) == ISCSI_TAG_RSVD)
        return NULL;
    assert_true(s->h.h.opcode & ISCSI_OP_IMMEDIATE);
    return s;
}

/* The target says, as it is asked, that it has received what comes before exp_cmdsn. */
static void
told(struct world *w, uint16_t on, uint32_t exp_cmdsn)
{
    const struct fake_sent *s = asking(on);
    union bhs_any h;

    assert_non_null(s);
    speak_on(on);
    fake_adapter.exp_cmdsn = exp_cmdsn;
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    end[on].stat_sn++;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    fake_advance(&w->fl, MS(1));
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* What the target has said of its numbers it says again, if it is asked. */
static void
say_again(struct world *w)
{
    while (session_of(w)->again_ping != NULL)
        told(w, session_of(w)->again_ping->pub.conn->cid, fake_adapter.exp_cmdsn);
}

/* The target answers it, and has received what comes before exp_cmdsn. */
static int
cleared_once(struct world *w, uint16_t cid, uint32_t exp_cmdsn, uint8_t response)
{
    const struct fake_sent *s = asked_about(cid);
    union bhs_any h;
    int r;

    assert_non_null(s);
    speak_on(s->cid);
    fake_adapter.exp_cmdsn = exp_cmdsn;
    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.logout_rsp.response = response;
    end[s->cid].stat_sn++;
    r = fake_pdu(&h, NULL, 0, true);
    fake_advance(&w->fl, MS(1));
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    return r;
}

static int
cleared(struct world *w, uint16_t cid, uint32_t exp_cmdsn, uint8_t response)
{
    int r = cleared_once(w, cid, exp_cmdsn, response);

    say_again(w);
    return r;
}

/* ID-11, CSN-03: commands go over all connections, each with the next number. */
static void
commands_are_spread(void **state)
{
    struct world *w = mcs_world(1, 3, "0");
    struct cmd c[6];
    unsigned on[CONNS + 1] = {0};

    (void)state;
    for (int i = 0; i < 6; i++) {
        one_command(w, &c[i], true);
        on[cid_of(&c[i])]++;
        assert_int_equal(cmdsn_of(&c[i]), cmdsn_of(&c[0]) + (uint32_t)i);
        assert_int_equal(sent_for(&c[i])->cid, cid_of(&c[i]));
    }
    assert_true(on[1] == 2 && on[2] == 2 && on[3] == 2);
    for (int i = 5; i >= 0; i--) {
        fake_adapter.exp_cmdsn++;
        answer(w, &c[i]);
    }
    world_free(w);
}

/* A connection whose transport is full holds no command and no number that others could take. */
static void
full_connection_holds_nothing(void **state)
{
    struct world *w = mcs_world(2, 2, "0");
    struct cmd c[5];

    (void)state;
    one_command(w, &c[0], true);
    answer(w, &c[0]);
    fake_adapter.full = true;
    fake_adapter.full_cid = 1;
    for (int i = 1; i < 5; i++) {
        cmd_init(&c[i], false, 64);
        assert_int_equal(world_queue(w, &c[i]), 0);
        world_commit(w);
        fake_turn(&w->fl);
    }
    /* The first that it was tried with has a number, since the adapter found out late. */
    for (int i = 1, held = 0; i < 5; i++) {
        held += cid_of(&c[i]) == 1;
        assert_true(held <= 1);
        if (cid_of(&c[i]) == 2)
            answer(w, &c[i]);
    }
    assert_true(list_empty(&session_of(w)->cmdqueue));
    speak_on(1);
    fake_room();
    fake_turn(&w->fl);
    for (int i = 1; i < 5; i++) {
        if (c[i].done == 0)
            answer(w, &c[i]);
    }
    world_free(w);
}

/* ID-13: an answer counts on the connection of its command alone. */
static void
answer_on_another_connection(void **state)
{
    struct world *w = mcs_world(3, 2, "0");
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    speak_on(cid_of(&c) == 1 ? 2 : 1);
    assert_true(fake_answer(sent_for(&c), 0, NULL, 0, 0) < 0);
    assert_int_equal(c.done, 0);
    fake_turn(&w->fl);
    assert_int_equal(session_of(w)->nserving, 1);
    world_free(w);
}

/* The target says something that nobody has asked for, with what it has received. */
static void
tell_once(struct world *w, uint16_t on, uint32_t exp_cmdsn)
{
    union bhs_any h;

    speak_on(on);
    fake_adapter.exp_cmdsn = exp_cmdsn;
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
    fake_advance(&w->fl, MS(1));
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

static void
tell_window(struct world *w, uint16_t on, uint32_t exp_cmdsn)
{
    tell_once(w, on, exp_cmdsn);
    say_again(w);
}

/* LOUT-03, CSN-18, CSN-20: one is lost, and the other serves on.  What the target had not
 * acknowledged goes again with its number and tag, before anything new; what it had is over. */
static void
lost_connection_is_cleared(void **state)
{
    (void)state;
    for (int lead = 0; lead < 2; lead++) {
        struct world *w = mcs_world(4, 2, "0");
        uint16_t gone = lead ? 1 : 2, stays = lead ? 2 : 1;
        struct cmd c[4], fresh;
        const struct fake_sent *s;
        uint32_t sn[4], itt[4];

        for (int i = 0; i < 4; i++) {
            one_command(w, &c[i], i & 2);
            sn[i] = cmdsn_of(&c[i]);
            itt[i] = itt_of(&c[i]);
        }
        cut(w, gone);
        assert_int_equal(session_of(w)->state, ISCSI_STATE_LOGGED_IN);
        assert_non_null(asked_about(gone));
        assert_int_equal(fake_last(ISCSI_OP_LOGOUT_REQ)->cid, stays);
        for (int i = 0; i < 4; i++)
            assert_int_equal(c[i].done, 0);
        /* the first two have been received, the rest has not */
        assert_int_equal(cleared(w, gone, sn[2], ISCSI_LOGOUT_RSP_OK), 0);
        tell_window(w, stays, lead ? sn[2] : sn[3]);
        for (int i = 0; i < 4; i++) {
            if (c[i].done > 0) {
                assert_true(i < 2);
                assert_int_equal(c[i].sc.host_result, DID_TRANSPORT_DISRUPTED);
                continue;
            }
            s = sent_for(&c[i]);
            assert_int_equal(s->cid, stays);
            assert_int_equal(cid_of(&c[i]), stays);
            assert_int_equal(get32(s->h.scsi_cmd.cmd_sn), sn[i]);
            assert_int_equal(get32(s->h.h.itt), itt[i]);
        }
        assert_int_equal(c[0].done + c[1].done, 1);
        assert_int_equal(c[2].done + c[3].done, 0);
        one_command(w, &fresh, true);
        assert_int_equal(cmdsn_of(&fresh), sn[3] + 1);
        for (int i = 0; i < 4; i++) {
            if (c[i].done == 0)
                answer(w, &c[i]);
        }
        answer(w, &fresh);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->event.cid, gone);
        assert_int_equal(w->gone + w->blocked, 0);
        add(w, gone); /* it comes again */
        one_command(w, &c[0], true);
        one_command(w, &c[1], true);
        assert_true(cid_of(&c[0]) != cid_of(&c[1]));
        answer(w, &c[0]);
        answer(w, &c[1]);
        world_free(w);
    }
}

/* CSN-20: a number of another connection is missing when the target lets go of the lost one, so
 * that it may have received what that one had, and count it.  Nothing goes again before it is seen
 * to wait for it: then all that followed goes, too.  What it has counted ends like what it had
 * acknowledged. */
static void
number_is_counted(void **state)
{
    (void)state;
    for (int exp = 1; exp < 5; exp++) { /* 1 and 3 are its own, and the others on their way */
        struct world *w = mcs_world(20, 2, "0");
        struct cmd c[6];
        uint32_t sn[6];

        for (int i = 0; i < 6; i++) {
            one_command(w, &c[i], true);
            sn[i] = cmdsn_of(&c[i]);
            assert_int_equal(cid_of(&c[i]), 1 + i % 2);
        }
        cut(w, 2);
        assert_int_equal(cleared(w, 2, sn[0], ISCSI_LOGOUT_RSP_OK), 0);
        for (int i = 1; i < 6; i += 2)
            assert_int_equal(sent_for(&c[i])->cid, 2);
        tell_window(w, 1, sn[exp]);
        for (int i = 1; i < 6; i += 2) {
            assert_int_equal(c[i].done, i < exp);
            if (c[i].done)
                assert_int_equal(c[i].sc.host_result, DID_TRANSPORT_DISRUPTED);
            else
                assert_int_equal(sent_for(&c[i])->cid, exp % 2 ? 1 : 2);
        }
        if (exp % 2 == 0)
            tell_window(w, 1, sn[exp + 1]);
        for (int i = 0; i < 6; i++) {
            if (c[i].done == 0)
                answer(w, &c[i]);
        }
        assert_int_equal(w->blocked + w->gone, 0);
        world_free(w);
    }
}

/* CSN-20: the number that the target says it waits for is that of a command which it is about to
 * count, since it answers the Logout before it has ended the connection, or works off what it has
 * received out of order.  It is asked, behind that answer, and nothing goes again before it has
 * said the same again. */
static void
number_is_about_to_be_counted(void **state)
{
    struct world *w = mcs_world(22, 3, "0");
    struct cmd c[6];
    uint32_t sn[6];

    (void)state;
    for (int i = 0; i < 6; i++) {
        one_command(w, &c[i], true);
        sn[i] = cmdsn_of(&c[i]);
        assert_int_equal(cid_of(&c[i]), 1 + i % 3);
    }
    cut(w, 2); /* with 1 and 4 */
    assert_int_equal(cleared_once(w, 2, sn[1], ISCSI_LOGOUT_RSP_OK), 0);
    assert_int_equal(sent_for(&c[1])->cid, 2);
    assert_int_equal(sent_for(&c[4])->cid, 2);
    told(w, 1, sn[4]); /* it has counted the first meanwhile, and may count the second */
    assert_int_equal(c[1].done, 1);
    assert_int_equal(c[1].sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(sent_for(&c[4])->cid, 2);
    told(w, 1, sn[4]);
    assert_true(sent_for(&c[4])->cid != 2);
    assert_int_equal(get32(sent_for(&c[4])->h.scsi_cmd.cmd_sn), sn[4]);
    for (int i = 0; i < 6; i++) {
        if (c[i].done == 0)
            answer(w, &c[i]);
    }
    assert_int_equal(w->blocked + w->gone, 0);
    world_free(w);
}

/* The ping is lost with its connection: another one asks, about both.  Where the target refuses it
 * that is an answer as well, and where it gives none, what it has said is believed after a while.
 */
static void
number_is_asked_for(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct world *w = mcs_world(23, 3, "0");
        struct cmd c[3];
        uint32_t sn;
        union bhs_any h;

        for (int i = 0; i < 3; i++)
            one_command(w, &c[i], true);
        sn = cmdsn_of(&c[0]);
        answer(w, &c[2]);
        cut(w, 1);
        assert_int_equal(cleared_once(w, 1, sn, ISCSI_LOGOUT_RSP_OK), 0);
        assert_non_null(asking(2));
        if (how == 0) {
            cut(w, 2);
            assert_int_equal(cleared_once(w, 2, sn, ISCSI_LOGOUT_RSP_OK), 0);
            assert_int_equal(sent_for(&c[0])->cid, 1);
            told(w, 3, sn);
            assert_int_equal(sent_for(&c[0])->cid, 3);
            tell_once(w, 3, sn + 1);
            told(w, 3, sn + 1);
            assert_int_equal(sent_for(&c[1])->cid, 3);
        } else if (how == 1) {
            struct bhs bad = asking(2)->h.h;

            speak_on(2);
            bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
            h.h.itt = put32(ISCSI_TAG_RSVD);
            h.reject.reason = ISCSI_REJECT_TOO_MANY_IMMEDIATE;
            end[2].stat_sn++;
            assert_int_equal(fake_pdu(&h, &bad, sizeof(bad), true), 0);
            fake_advance(&w->fl, MS(1));
        } else {
            fake_advance(&w->fl, MS(4900));
            assert_int_equal(sent_for(&c[0])->cid, 1);
            fake_advance(&w->fl, MS(200));
        }
        assert_int_not_equal(sent_for(&c[0])->cid, 1);
        assert_int_equal(get32(sent_for(&c[0])->h.scsi_cmd.cmd_sn), sn);
        answer(w, &c[0]);
        answer(w, &c[1]);
        world_free(w);
    }
}

/* ASY-03: another connection tells late of a loss that was seen before: the one that has come in
 * the place of the lost one goes on.  Later it is believed. */
static void
drop_is_told_late(void **state)
{
    struct world *w = mcs_world(21, 2, "0");
    union bhs_any h;
    struct cmd c;

    (void)state;
    cut(w, 2);
    bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    h.async.event = ISCSI_ASYNC_DROP_CONNECTION;
    h.async.param1 = put16(2);
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            add(w, 2);
        if (i == 2)
            fake_advance(&w->fl, SEC(6));
        speak_on(1);
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        end[1].stat_sn++;
        fake_turn(&w->fl);
        assert_int_equal(session_of(w)->nserving, i < 2 ? 2 : 1);
    }
    one_command(w, &c, true);
    answer(w, &c);
    world_free(w);
}

/* Of a connection that still logs in, the target need not know what its session has acknowledged:
 * only the last Login Response counts. */
static void
numbers_of_a_login(void **state)
{
    struct world *w = mcs_world(15, 2, "0");
    uint32_t exp = session_of(w)->win.exp_cmdsn, max = session_of(w)->win.max_cmdsn;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = 3};
    union bhs_any h;

    (void)state;
    session_of(w)->win.cmdsn += 7;
    w->cid = 3;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    for (int last = 0; last < 2; last++) {
        uint8_t flags = bhs_login_flags(last, last ? 3 : 1, ISCSI_LOGIN_TRANSIT);

        bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, flags);
        assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
        fake_advance(&w->fl, MS(1));
        bhs_init(&h, ISCSI_OP_LOGIN_RSP, flags);
        h.h.itt = fake_last(ISCSI_OP_LOGIN_REQ)->h.h.itt;
        fake_adapter.exp_cmdsn = exp + 7;
        fake_adapter.max_cmdsn = max + 9;
        assert_int_equal(fake_pdu(&h, NULL, 0, true), last ? ISCSI_RX_HOLD : 0);
        assert_int_equal(session_of(w)->win.exp_cmdsn, last ? exp + 7 : exp);
        assert_int_equal(session_of(w)->win.max_cmdsn, last ? max + 9 : max);
    }
    world_free(w);
}

/* Nothing is asked before Time2Wait is over, and the CID is not bound before it is answered. */
static void
time2wait_is_kept(void **state)
{
    struct world *w = mcs_world(5, 2, "3");
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    fake_advance(&w->fl, SEC(3) - MS(1));
    assert_null(asked_about(2));
    w->cid = 2;
    world_connect(w);
    fake_advance(&w->fl, MS(1));
    assert_non_null(asked_about(2));
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY);
    assert_int_equal(cleared(w, 2, cmdsn_of(&c[1]), ISCSI_LOGOUT_RSP_OK), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    speak_on(1);
    answer(w, &c[0]);
    answer(w, &c[1]);
    world_free(w);
}

/* "CID not found" makes numbers free.  What was acknowledged may be executed yet, until the CID has
 * logged in again. */
static void
cid_is_not_known(void **state)
{
    struct world *w = mcs_world(6, 2, "0");
    struct cmd c[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        one_command(w, &c[i], true);
    assert_true(cid_of(&c[1]) == 2 && cid_of(&c[3]) == 2);
    cut(w, 2);
    assert_int_equal(cleared(w, 2, cmdsn_of(&c[2]), ISCSI_LOGOUT_RSP_CID_NOT_FOUND), 0);
    assert_int_equal(c[1].done + c[3].done, 0);
    tell_window(w, 1, cmdsn_of(&c[3]));
    assert_int_equal(cid_of(&c[3]), 1);
    answer(w, &c[3]);
    answer(w, &c[0]);
    answer(w, &c[2]);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(c[1].done, 0);
    add(w, 2);
    fake_turn(&w->fl);
    assert_int_equal(c[1].done, 1);
    assert_int_equal(c[1].sc.host_result, DID_TRANSPORT_DISRUPTED);
    world_free(w);
}

/* A target that does not log it out, or does not answer, leaves session recovery. */
static void
clearing_fails(void **state)
{
    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        struct world *w = mcs_world(7, 2, "0");
        struct cmd c[2];

        one_command(w, &c[0], true);
        one_command(w, &c[1], true);
        cut(w, 2);
        if (silent) {
            fake_advance(&w->fl, SEC(5));
        } else {
            assert_int_equal(cleared(w, 2, cmdsn_of(&c[0]), ISCSI_LOGOUT_RSP_CLEANUP_FAILED),
                             -EPROTO);
        }
        fake_turn(&w->fl);
        assert_int_equal(w->blocked, 1);
        assert_int_equal(c[0].done + c[1].done, 2);
        assert_int_equal(c[0].sc.host_result, DID_TRANSPORT_DISRUPTED);
        assert_int_equal(c[1].sc.host_result, DID_TRANSPORT_DISRUPTED);
        world_free(w);
    }
}

/* The connection that carried the Logout is lost, too: it is cleared first, since the Logout may be
 * on its way, and then the CID is asked about once more. */
static void
carrier_is_lost(void **state)
{
    struct world *w = mcs_world(8, 3, "0");
    struct cmd c[3];
    uint32_t first;
    uint16_t via;

    (void)state;
    for (int i = 0; i < 3; i++)
        one_command(w, &c[i], true);
    first = cmdsn_of(&c[0]);
    cut(w, 3);
    assert_non_null(asked_about(3));
    via = fake_last(ISCSI_OP_LOGOUT_REQ)->cid;
    cut(w, via);
    assert_non_null(asked_about(via));
    w->cid = 3;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY);
    assert_int_equal(cleared(w, via, first, ISCSI_LOGOUT_RSP_OK), 0);
    assert_non_null(asked_about(3));
    assert_int_equal(cleared(w, 3, first, ISCSI_LOGOUT_RSP_OK), 0);
    for (int i = 0; i < 3; i++) {
        tell_window(w, session_of(w)->leadconn->pub.cid, cmdsn_of(&c[i]));
        answer(w, &c[i]);
    }
    assert_int_equal(w->blocked + w->gone, 0);
    world_free(w);
}

/* The transport takes its time to let go of what goes again. */
static void
transport_lets_go_late(void **state)
{
    struct world *w = mcs_world(9, 2, "0");
    struct cmd c[2];

    (void)state;
    fake_adapter.cleanup_delay_ns = MS(300);
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    cut(w, 2);
    assert_int_equal(cleared(w, 2, cmdsn_of(&c[1]), ISCSI_LOGOUT_RSP_OK), 0);
    assert_int_equal(sent_for(&c[1])->cid, 2); /* not sent again yet */
    fake_advance(&w->fl, MS(300));
    assert_int_equal(sent_for(&c[1])->cid, 1);
    fake_adapter.cleanup_delay_ns = 0;
    answer(w, &c[1]);
    answer(w, &c[0]);
    world_free(w);
}

/* The session is lost while commands wait to go again: nobody has executed them. */
static void
session_is_lost_meanwhile(void **state)
{
    struct world *w = mcs_world(10, 2, "0");
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    fake_adapter.full = true;
    fake_adapter.full_cid = 1;
    cut(w, 2);
    fake_adapter.full = false;
    speak_on(1);
    fake_room();
    fake_turn(&w->fl);
    fake_adapter.full = true;
    assert_int_equal(cleared(w, 2, cmdsn_of(&c[0]), ISCSI_LOGOUT_RSP_OK), 0);
    cut(w, 1);
    assert_int_equal(c[0].done + c[1].done, 2);
    assert_int_equal(c[0].sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(w->blocked, 1);
    world_free(w);
}

/* The target answers task management, on the connection of the request. */
static void
tmf_answered(struct world *w, uint8_t response)
{
    uint16_t cid = fake_last(ISCSI_OP_TMF_REQ)->cid;

    speak_on(cid);
    end[cid].stat_sn++;
    assert_int_equal(tmf_answer(response), 0);
    fake_turn(&w->fl);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* TMF-05: an abort goes where its command is. */
static void
abort_follows_its_command(void **state)
{
    struct world *w = mcs_world(11, 3, "0");
    struct waiter x[3];
    struct cmd c[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        one_command(w, &c[i], true);
    for (int i = 0; i < 3; i++) {
        const struct fake_sent *s;

        x[i] = (struct waiter){.w.done = eh_done};
        w->host->ops->eh_abort(w->host, &c[i].sc, &x[i].w);
        fake_turn(&w->fl);
        s = fake_last(ISCSI_OP_TMF_REQ);
        assert_int_equal(s->cid, cid_of(&c[i]));
        assert_int_equal(get32(s->h.tmf_req.ref_tag), itt_of(&c[i]));
        tmf_answered(w, ISCSI_TMF_RSP_COMPLETE);
        assert_int_equal(x[i].done, 1);
        assert_int_equal(x[i].r, SCSI_EH_SUCCESS);
        assert_int_equal(c[i].sc.host_result, DID_ABORT);
    }
    world_free(w);
}

/* The command of an abort is lost with its connection: whoever waits is told when it is back, and
 * one that goes again can be aborted there. */
static void
abort_of_a_lost_command(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct world *w = mcs_world(12, 2, "0");
        struct waiter x = {.w.done = eh_done};
        struct cmd c[2];

        one_command(w, &c[0], true);
        one_command(w, &c[1], true);
        w->host->ops->eh_abort(w->host, &c[1].sc, &x.w);
        fake_turn(&w->fl);
        assert_int_equal(fake_last(ISCSI_OP_TMF_REQ)->cid, 2);
        cut(w, 2);
        assert_int_equal(x.done, 0);
        assert_int_equal(cleared(w, 2, cmdsn_of(&c[1]) + !again, ISCSI_LOGOUT_RSP_OK), 0);
        fake_turn(&w->fl);
        if (again) {
            assert_int_equal(fake_last(ISCSI_OP_TMF_REQ)->cid, 1);
            assert_int_equal(get32(fake_last(ISCSI_OP_TMF_REQ)->h.tmf_req.ref_tag), itt_of(&c[1]));
            tmf_answered(w, ISCSI_TMF_RSP_COMPLETE);
        }
        assert_int_equal(c[1].done, 1);
        assert_int_equal(c[1].sc.host_result, again ? DID_ABORT : DID_TRANSPORT_DISRUPTED);
        assert_int_equal(x.done, 1);
        assert_int_equal(x.r, again ? SCSI_EH_SUCCESS : SCSI_EH_NOT_FOUND);
        answer(w, &c[0]);
        world_free(w);
    }
}

/* ERL-16: a reset survives the death of its connection, and ends the commands of all; what was
 * acknowledged on the lost one is over with it as well.  Late answers are dropped (TM-05). */
static void
reset_over_connections(void **state)
{
    static const uint8_t lun[8];

    (void)state;
    for (int dies = 0; dies < 3; dies++) { /* none, the one of the request, another */
        struct world *w = mcs_world(13, 3, "1");
        struct waiter x = {.w.done = eh_done};
        struct fake_sent late;
        uint16_t via, gone = 0, other;
        struct cmd c[6];

        for (int i = 0; i < 6; i++)
            one_command(w, &c[i], true);
        w->host->ops->eh_device_reset(w->host, lun, &x.w);
        fake_turn(&w->fl);
        via = fake_last(ISCSI_OP_TMF_REQ)->cid;
        if (dies > 0) {
            gone = dies == 1 ? via : via % 3 + 1;
            speak_on(gone % 3 + 1); /* the target has received all commands */
            fake_adapter.exp_cmdsn = cmdsn_of(&c[5]) + 1;
            end[gone % 3 + 1].conn->up->update_cmdsn(
                fake_adapter.conn, put32(fake_adapter.exp_cmdsn), put32(fake_adapter.max_cmdsn));
            cut(w, gone);
        }
        via = fake_last(ISCSI_OP_TMF_REQ)->cid;
        assert_int_not_equal(via, gone);
        other = via % 3 + 1 != gone ? via % 3 + 1 : (uint16_t)((via + 1) % 3 + 1);
        for (int i = 0; i < 6; i++) {
            if (c[i].done == 0 && sent_for(&c[i])->cid == other)
                late = *sent_for(&c[i]);
        }
        tmf_answered(w, ISCSI_TMF_RSP_COMPLETE);
        fake_advance(&w->fl, MS(1));
        assert_int_equal(x.done, 1);
        assert_int_equal(x.r, SCSI_EH_SUCCESS);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(c[i].done, 1);
            assert_true(c[i].sc.host_result == DID_RESET ||
                        (dies > 0 && c[i].sc.host_result == DID_TRANSPORT_DISRUPTED));
        }
        speak_on(other);
        end[other].stat_sn++;
        assert_int_equal(fake_answer(&late, 0, NULL, 0, 0), 0);
        fake_turn(&w->fl);
        assert_int_equal(session_of(w)->nserving, dies > 0 ? 2 : 3);
        world_free(w);
    }
}

static void
answer_ping(struct world *w, uint16_t cid)
{
    union bhs_any h;

    for (unsigned i = fake_adapter.nsent; i-- > 0;) {
        const struct fake_sent *s = &fake_adapter.sent[i];

        if (s->cid != cid || (s->h.h.opcode & ISCSI_OP_MASK) != ISCSI_OP_NOP_OUT)
            continue;
        speak_on(cid);
        bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
        h.h.itt = s->h.h.itt;
        h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
        end[cid].stat_sn++;
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        fake_turn(&w->fl);
        return;
    }
    fail_msg("no ping on %u", cid);
}

/* One connection swallows what it is given, and the target waits for its number: it is found and
 * replaced long before the pings of an idle connection would find it. */
static void
stuck_connection_is_found(void **state)
{
    struct world *w = mcs_world(16, 2, "0");
    struct cmd c[2];
    uint32_t first;

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    first = cmdsn_of(&c[0]);
    assert_int_equal(cid_of(&c[0]), 1);
    fake_advance(&w->fl, SEC(2));
    answer_ping(w, 2);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(session_of(w)->nserving, 2);
    fake_advance(&w->fl, SEC(1));
    answer_ping(w, 2);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_NOP_TIMEDOUT);
    assert_int_equal(w->event.cid, 1);
    assert_int_equal(cleared(w, 1, first, ISCSI_LOGOUT_RSP_OK), 0);
    answer(w, &c[0]);
    answer(w, &c[1]);
    world_free(w);
}

/* The non-immediate NOP-Out that has that number; NULL: there is none. */
static const struct fake_sent *
filler_of(uint32_t cmd_sn)
{
    for (unsigned i = fake_adapter.nsent; i-- > 0;) {
        const struct fake_sent *s = &fake_adapter.sent[i];

        if (s->h.h.opcode == ISCSI_OP_NOP_OUT && get32(s->h.nop_out.cmd_sn) == cmd_sn)
            return s;
    }
    return NULL;
}

/* A second passes, and the target answers all pings. */
static void
live_on(struct world *w)
{
    fake_advance(&w->fl, SEC(1));
    for (uint16_t cid = 1; cid <= 2; cid++) {
        if (end[cid].conn != NULL && to_conn(end[cid].conn)->ping != NULL)
            answer_ping(w, cid);
    }
    iscsi_session_check(dataplane_session(w->dp, w->sid));
}

/* CSN-20: the target is slow, and lives: nothing is given up or sent.  Where it waits for the
 * number of a command that has ended, a NOP-Out takes it there. */
static void
number_that_nobody_has(void **state)
{
    (void)state;
    for (int gap = 0; gap < 2; gap++) {
        struct world *w = mcs_world(17, 2, "0");
        struct cmd c[2];
        uint32_t first;

        one_command(w, &c[0], true);
        first = fake_adapter.exp_cmdsn = cmdsn_of(&c[0]);
        if (gap) {
            answer(w, &c[0]); /* it is over, and ExpCmdSN does not say so */
            one_command(w, &c[0], true);
        }
        one_command(w, &c[1], true);
        for (int i = 0; i < 14 && filler_of(first) == NULL; i++)
            live_on(w);
        assert_true((filler_of(first) != NULL) == gap);
        if (gap) {
            struct fake_sent s = *filler_of(first);
            union bhs_any h;

            speak_on(s.cid);
            fake_adapter.exp_cmdsn = first + 3;
            bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
            h.h.itt = s.h.h.itt;
            h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
            end[s.cid].stat_sn++;
            assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        }
        answer(w, &c[0]);
        answer(w, &c[1]);
        assert_int_equal(w->blocked + w->nerrors, 0);
        world_free(w);
    }
}

/* The target waits for a command on the second connection, which is stuck, before it answers a
 * reset on the first: it is the second that is given up, and the reset goes on.  Rows: where it
 * knows all commands, or the first one does not live either, it is the first. */
static void
reset_is_held_up(void **state)
{
    static const uint8_t lun[8];
    static const struct {
        bool waits, lives;
        uint16_t lost;
    } rows[] = {{true, true, 2}, {true, false, 1}, {false, true, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = mcs_world(60 + i, 2, "0");
        struct waiter x = {.w.done = eh_done};
        struct cmd c[2];
        uint32_t second;

        for (w->cid = 1; w->cid <= 2; w->cid++) /* nothing else is to find it */
            assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
        w->cid = 1;
        assert_int_equal(world_param(w, ISCSI_PARAM_LU_RESET_TIMEOUT_MS, "5000"), 0);
        one_command(w, &c[0], true);
        one_command(w, &c[1], true);
        assert_int_equal(cid_of(&c[1]), 2);
        second = cmdsn_of(&c[1]);
        speak_on(1);
        fake_adapter.exp_cmdsn = second + (rows[i].waits ? 0 : 1);
        end[1].conn->up->update_cmdsn(end[1].conn, put32(fake_adapter.exp_cmdsn),
                                      put32(fake_adapter.max_cmdsn));
        w->host->ops->eh_device_reset(w->host, lun, &x.w);
        fake_turn(&w->fl);
        assert_int_equal(fake_last(ISCSI_OP_TMF_REQ)->cid, 1);
        fake_advance(&w->fl, MS(4999));
        assert_int_equal(w->nerrors, 0);
        fake_advance(&w->fl, MS(2));
        assert_int_equal(w->nerrors, 0);
        if (rows[i].waits && rows[i].lives)
            answer_ping(w, 1);
        fake_advance(&w->fl, MS(2100));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->error, ISCSI_ERR_TMF_TIMEDOUT);
        assert_int_equal(w->event.cid, rows[i].lost);
        if (rows[i].lost == 1) {
            assert_int_equal(session_of(w)->nserving, 1);
            world_free(w);
            continue;
        }
        assert_int_equal(x.done, 0);
        assert_int_equal(cleared(w, 2, second, ISCSI_LOGOUT_RSP_OK), 0);
        assert_int_equal(cid_of(&c[1]), 1); /* it goes again, with its number */
        assert_int_equal(cmdsn_of(&c[1]), second);
        tmf_answered(w, ISCSI_TMF_RSP_COMPLETE);
        fake_advance(&w->fl, MS(1));
        assert_int_equal(x.done, 1);
        assert_int_equal(x.r, SCSI_EH_SUCCESS);
        assert_int_equal(c[0].done + c[1].done, 2);
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(session_of(w)->nserving, 1);
        world_free(w);
    }
}

/* What others wait for does not go on a connection that has not answered its ping: a reset, and the
 * NOP-Out that takes the target over a number which nobody has. */
static void
stuck_connection_is_not_used(void **state)
{
    static const uint8_t lun[8];
    struct world *w = mcs_world(64, 2, "0");
    struct waiter x = {.w.done = eh_done};
    struct cmd c[2];
    uint32_t first;

    (void)state;
    one_command(w, &c[0], true);
    first = fake_adapter.exp_cmdsn = cmdsn_of(&c[0]);
    answer(w, &c[0]); /* it is over, and ExpCmdSN does not say so */
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    for (int i = 0; i < 12 && filler_of(first) == NULL; i++) {
        fake_advance(&w->fl, SEC(1));
        if (to_conn(end[2].conn)->ping != NULL)
            answer_ping(w, 2);
        assert_int_equal(w->nerrors, 0);
        fake_adapter.moved.unread++; /* slow it is, but it is not given up yet */
    }
    assert_non_null(filler_of(first));
    assert_int_equal(filler_of(first)->cid, 2);
    assert_non_null(to_conn(end[1].conn)->ping);
    w->host->ops->eh_device_reset(w->host, lun, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(fake_last(ISCSI_OP_TMF_REQ)->cid, 2);
    world_free(w);
}

/* A connection is destroyed while the transport needs time to let go of it: no other one takes its
 * number until it has been cleared, or the Logout about it would end the new one. */
static void
number_of_one_that_stops(void **state)
{
    struct world *w = mcs_world(24, 2, "0");
    struct iscsi_conn *old = end[2].conn;
    struct cmd c[2];

    (void)state;
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    fake_adapter.stops = true;
    cut(w, 2);
    w->cid = 2;
    w->follows = true;
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY);
    fake_adapter.stops = false;
    old->up->conn_stopped(old);
    fake_turn(&w->fl);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY);
    assert_int_equal(cleared(w, 2, cmdsn_of(&c[1]) + 1, ISCSI_LOGOUT_RSP_OK), 0);
    assert_int_equal(c[1].done, 1);
    add(w, 2);
    speak_on(1);
    answer(w, &c[0]);
    assert_int_equal(session_of(w)->nserving, 2);
    world_free(w);
}

/* ASY-03: the target tells on one connection that it has dropped another, in whose place one logs
 * in by now: that goes on. */
static void
dropped_and_back(void **state)
{
    struct world *w = mcs_world(23, 2, "0");
    union bhs_any h;

    (void)state;
    cut(w, 2);
    w->cid = 2;
    w->follows = true;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    end[2].conn = fake_adapter.conn;
    speak_on(1);
    bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.async.event = ISCSI_ASYNC_DROP_CONNECTION;
    h.async.param1 = put16(2);
    end[1].stat_sn++;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
    assert_int_equal(session_of(w)->nserving, 2);
    world_free(w);
}

/* CSN-05: answers on the fast path do not look at ExpCmdSN, which may lag behind by more than
 * numbers can be compared over.  One that acknowledges what was never sent is none. */
static void
exp_cmdsn_after_many_commands(void **state)
{
    static const uint32_t many[] = {1, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffff0};
    struct world *w = mcs_world(22, 1, "0");
    struct cmdsn_window *win = &session_of(w)->win;
    struct iscsi_conn *c = end[1].conn;

    (void)state;
    for (unsigned i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
        win->exp_cmdsn = win->cmdsn - many[i];
        c->up->update_cmdsn(c, put32(win->cmdsn - 1), put32(win->max_cmdsn));
        assert_int_equal(win->exp_cmdsn, win->cmdsn - 1);
        c->up->update_cmdsn(c, put32(win->cmdsn - 2), put32(win->max_cmdsn)); /* it is late */
        assert_int_equal(win->exp_cmdsn, win->cmdsn - 1);
        c->up->update_cmdsn(c, put32(win->cmdsn + 1), put32(win->max_cmdsn));
        assert_int_equal(win->exp_cmdsn, win->cmdsn - 1);
    }
    world_free(w);
}

/* CSN-20: a command that the target has thrown away without a word holds all connections up.  From
 * level 1 on it goes again on its connection, as soon as a ping that was sent behind it has been
 * answered and it is waited for still; a ping that was out before says nothing. */
static void
thrown_away_command_holds_all_up(void **state)
{
    struct world *w = mcs_world(24, 2, "0");
    struct cmd c[2];
    uint32_t first;
    unsigned sent = 0;

    (void)state;
    session_of(w)->pub.params.erl = 1;
    fake_advance(&w->fl, SEC(6));
    for (uint16_t cid = 1; cid <= 2; cid++)
        assert_non_null(to_conn(end[cid].conn)->ping);
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    first = fake_adapter.exp_cmdsn = cmdsn_of(&c[0]);
    fake_advance(&w->fl, SEC(2));
    for (int i = 0; i < 3 && sent < 2; i++) {
        live_on(w);
        sent = 0;
        for (unsigned k = 0; k < fake_adapter.nsent; k++)
            sent += pdu_opcode(&fake_adapter.sent[k].h.h) == ISCSI_OP_SCSI_CMD &&
                    get32(fake_adapter.sent[k].h.scsi_cmd.cmd_sn) == first;
        assert_true(sent == 1 || i > 0);
    }
    assert_int_equal(sent, 2);
    assert_int_equal(sent_for(&c[0])->cid, cid_of(&c[0]));
    fake_adapter.exp_cmdsn += 2;
    answer(w, &c[0]);
    answer(w, &c[1]);
    world_free(w);
}

/* The NOP-Out that was to fill a gap is lost with its connection: another one fills it. */
static void
filler_is_lost(void **state)
{
    struct world *w = mcs_world(20, 2, "0");
    struct cmd c[2];
    uint32_t first;
    uint16_t gone;

    (void)state;
    one_command(w, &c[0], true);
    first = fake_adapter.exp_cmdsn = cmdsn_of(&c[0]);
    answer(w, &c[0]); /* it is over, and ExpCmdSN does not say so */
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    for (int i = 0; i < 14 && filler_of(first) == NULL; i++)
        live_on(w);
    gone = filler_of(first)->cid;
    cut(w, gone);
    assert_int_equal(w->blocked, 0);
    assert_int_equal(cleared(w, gone, first, ISCSI_LOGOUT_RSP_OK), 0);
    for (int i = 0; i < 5 && filler_of(first)->cid == gone; i++)
        live_on(w);
    assert_int_not_equal(filler_of(first)->cid, gone);
    assert_int_equal(w->blocked, 0);
    for (uint32_t i = 1; i <= 2; i++) { /* what was lost goes again as soon as it is waited for */
        fake_adapter.exp_cmdsn = first + i;
        live_on(w);
        say_again(w);
    }
    answer(w, &c[0]);
    answer(w, &c[1]);
    world_free(w);
}

/* An aborted command that the target had not acknowledged leaves its number to the connection, and
 * that is lost: the number is filled as soon as the connection has been cleared. */
static void
aborted_number_is_lost(void **state)
{
    struct world *w = mcs_world(19, 2, "0");
    struct waiter x = {.w.done = eh_done};
    struct cmd c[3];
    uint32_t first;

    (void)state;
    for (int i = 0; i < 3; i++)
        one_command(w, &c[i], true);
    first = cmdsn_of(&c[0]);
    fake_adapter.exp_cmdsn = first;
    w->host->ops->eh_abort(w->host, &c[1].sc, &x.w);
    fake_turn(&w->fl);
    tmf_answered(w, ISCSI_TMF_RSP_COMPLETE);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    one_command(w, &c[1], true); /* the same connection has another one that nobody has seen */
    assert_int_equal(cid_of(&c[1]), 2);
    cut(w, 2);
    assert_int_equal(cleared(w, 2, first + 1, ISCSI_LOGOUT_RSP_OK), 0);
    assert_non_null(filler_of(first + 1));
    assert_int_equal(filler_of(first + 1)->cid, 1);
    world_free(w);
}

/* The same, and it is waited for only after the connection has been cleared: it is filled as soon
 * as the target has said so again, and not where it counts the number after all, since commands
 * wait to go again behind it.  What fills it may be lost in its turn. */
static void
aborted_number_is_waited_for(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) { /* counted; filled; the filler is lost */
        struct world *w = mcs_world(25, 3, "0");
        struct waiter x = {.w.done = eh_done};
        struct cmd c[5];
        uint32_t first;
        uint16_t on;

        for (int i = 0; i < 5; i++)
            one_command(w, &c[i], true);
        first = cmdsn_of(&c[0]);
        assert_int_equal(cid_of(&c[1]), 2);
        assert_int_equal(cid_of(&c[4]), 2);
        fake_adapter.exp_cmdsn = first;
        w->host->ops->eh_abort(w->host, &c[1].sc, &x.w);
        fake_turn(&w->fl);
        tmf_answered(w, ISCSI_TMF_RSP_COMPLETE);
        cut(w, 2);
        assert_int_equal(cleared(w, 2, first, ISCSI_LOGOUT_RSP_OK), 0);
        tell_once(w, 3, first + 1);
        assert_non_null(session_of(w)->again_ping);
        assert_null(filler_of(first + 1));
        on = session_of(w)->again_ping->pub.conn->cid;
        told(w, on, how == 0 ? first + 4 : first + 1);
        assert_true((filler_of(first + 1) != NULL) == (how > 0));
        if (how == 2) {
            on = filler_of(first + 1)->cid;
            cut(w, on);
            fake_advance(&w->fl, MS(1));
            assert_int_not_equal(filler_of(first + 1)->cid, on);
        }
        if (how > 0) {
            assert_int_equal(sent_for(&c[4])->cid, 2);
            tell_once(w, filler_of(first + 1)->cid, first + 4);
        }
        say_again(w);
        assert_int_not_equal(sent_for(&c[4])->cid, 2);
        assert_int_equal(get32(sent_for(&c[4])->h.scsi_cmd.cmd_sn), first + 4);
        answer(w, &c[4]);
        assert_int_equal(w->blocked + w->gone, 0);
        world_free(w);
    }
}

/* A connection is logged out, and whoever did that dies: the next one is told when it is given up,
 * or finds it down with the session. */
static void
logged_out_and_left(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        struct world *w = mcs_world(18, 2, "0");
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = 2};
        union bhs_any h;

        bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
                 ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_CONNECTION);
        ((struct bhs_logout_req *)(void *)&ev.u.send_pdu.hdr)->cid = put16(2);
        assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
        fake_turn(&w->fl);
        speak_on(2);
        bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
        h.h.itt = fake_last(ISCSI_OP_LOGOUT_REQ)->h.h.itt;
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
        if (lost) {
            cut(w, 1);
            assert_true(to_conn(end[2].conn)->down);
            assert_int_equal(w->blocked, 1);
        }
        for (int i = 0; i < 31 && !lost; i++) {
            assert_int_equal(w->nerrors, 0);
            end[1].conn->last_recv_ns = w->fl.l.now_ns;
            fake_advance(&w->fl, SEC(1));
        }
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->event.cid, lost ? 1 : 2);
        assert_int_equal(w->blocked, lost);
        world_free(w);
    }
}

/* LGO-02: a session is logged out on all of its connections. */
static void
session_is_logged_out(void **state)
{
    struct world *w = mcs_world(14, 2, "0");
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = 2};
    union bhs_any h;
    struct cmd c;

    (void)state;
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_SESSION);
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_turn(&w->fl);
    cmd_init(&c, true, 512);
    assert_int_equal(world_queue(w, &c), -EBUSY);
    speak_on(2);
    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_LOGOUT_REQ)->h.h.itt;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    end[1].conn->up->conn_failure(end[1].conn, ISCSI_ERR_CONN_CLOSED, "the target closes it");
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 0); /* as it should */
    assert_null(asked_about(1));
    world_free(w);
}

static void
count_warning(void *user, enum log_level level, const char *line)
{
    (void)line;
    *(unsigned *)user += level <= LOG_LEVEL_WARN;
}

/* A target may close the others before the response is read, and that is no loss to warn of. */
/* LGO-02: a target closes the others before it answers on the one that the Logout has gone on. That
 * is no loss to warn of, unlike what is lost without having been asked for. */
static void
logged_out_without_a_warning(void **state)
{
    struct world *w = mcs_world(14, 3, "0");
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = w->sid, .cid = 1};
    unsigned warnings = 0;
    const struct log log = {.level = LOG_LEVEL_DEBUG, .sink = count_warning, .user = &warnings};

    (void)state;
    w->fl.l.log = &log;
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_SESSION);
    assert_int_equal(world_ask(w, &ev, NULL, 0), 0);
    fake_turn(&w->fl);
    end[2].conn->up->conn_failure(end[2].conn, ISCSI_ERR_CONN_CLOSED, "the target closes it");
    assert_int_equal(warnings, 0);
    end[3].conn->up->conn_failure(end[3].conn, ISCSI_ERR_HDR_DGST, "this is another matter");
    assert_int_equal(warnings, 1);
    w->fl.l.log = NULL;
    world_free(w);
}

/* However many connections log in at the same moment, there is a task for each. */
static void
all_log_in_at_once(void **state)
{
    struct world *w = mcs_world(1, 1, "0");
    struct iscsi_session *s = &session_of(w)->pub;
    struct bhs_login_req h;

    (void)state;
    for (uint16_t cid = 2; cid <= IPC_CONNS_MAX; cid++) {
        w->cid = cid;
        w->follows = true;
        assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    }
    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, ISCSI_LOGIN_TRANSIT);
    for (uint16_t cid = 2; cid <= IPC_CONNS_MAX; cid++) {
        struct lunette_error err;

        if (iscsi_conn_send_pdu(iscsi_conn_find(s, cid), (const void *)&h, NULL, 0, &err) < 0)
            fail_msg("connection %u: %s", cid, err.msg);
    }
    world_free(w);
}

/* "gathers": the adapter gathers, so that the fast path is taken. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_log_in_at_once),
        cmocka_unit_test(commands_are_spread),
        cmocka_unit_test(full_connection_holds_nothing),
        cmocka_unit_test(answer_on_another_connection),
        cmocka_unit_test(lost_connection_is_cleared),
        cmocka_unit_test(number_is_counted),
        cmocka_unit_test(number_is_about_to_be_counted),
        cmocka_unit_test(number_is_asked_for),
        cmocka_unit_test(drop_is_told_late),
        cmocka_unit_test(numbers_of_a_login),
        cmocka_unit_test(time2wait_is_kept),
        cmocka_unit_test(cid_is_not_known),
        cmocka_unit_test(clearing_fails),
        cmocka_unit_test(carrier_is_lost),
        cmocka_unit_test(transport_lets_go_late),
        cmocka_unit_test(session_is_lost_meanwhile),
        cmocka_unit_test(abort_follows_its_command),
        cmocka_unit_test(abort_of_a_lost_command),
        cmocka_unit_test(reset_over_connections),
        cmocka_unit_test(stuck_connection_is_found),
        cmocka_unit_test(number_that_nobody_has),
        cmocka_unit_test(reset_is_held_up),
        cmocka_unit_test(stuck_connection_is_not_used),
        cmocka_unit_test(number_of_one_that_stops),
        cmocka_unit_test(dropped_and_back),
        cmocka_unit_test(exp_cmdsn_after_many_commands),
        cmocka_unit_test(thrown_away_command_holds_all_up),
        cmocka_unit_test(filler_is_lost),
        cmocka_unit_test(aborted_number_is_lost),
        cmocka_unit_test(aborted_number_is_waited_for),
        cmocka_unit_test(logged_out_and_left),
        cmocka_unit_test(session_is_logged_out),
        cmocka_unit_test(logged_out_without_a_warning),
    };
    int r;

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    return r != 0 || (fake_gathers && fake_fast == 0);
}
