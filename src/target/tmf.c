/* SPDX-License-Identifier: MIT */
#include "target/tmf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lu/lu.h"
#include "target/command.h"
#include "target/conn.h"
#include "target/ctl.h"
#include "target/fence.h"
#include "target/hole.h"
#include "target/instance.h"
#include "target/order.h"
#include "target/query.h"
#include "target/reassign.h"
#include "target/session.h"
#include "target/state/node.h"
#include "target/txq.h"
#include "wire/names.h"
#include "wire/pdu.h"
#include "wire/sense.h"
#include "wire/sn.h"

/* Of the unit attentions that tell of a reset, in byte 12 of sense data. */
#define ASC_RESET            0x29
#define ASC_COMMANDS_CLEARED 0x2f

static void
tmf_free(struct tgt_tmf *t)
{
    free(t->rsp);
    free(t);
}

/* Sends the response and forgets the function.  It must not fail: those who call it walk through
 * lists that the end of a connection would change. */
static void
tmf_respond(struct tgt_tmf *t, uint8_t response)
{
    struct tgt_session *s = t->sess;
    struct tgt_conn *conn = t->conn;
    uint8_t function = t->req.flags & ISCSI_TMF_FUNC_MASK;
    bool closes =
        (function == ISCSI_TMF_TARGET_COLD_RESET || function == ISCSI_TMF_I_T_NEXUS_RESET) &&
        response == ISCSI_TMF_RSP_COMPLETE;

    loop_timer_stop(s->target->loop, &t->timer);
    list_del(&t->link);
    s->tmfs_count--;
    if (!tgt_hook(s->target->hook, TGT_HOOK_TMF, NULL)) {
        ((struct bhs_tmf_rsp *)(void *)t->rsp->hdr)->response = response;
        ((struct bhs_tmf_rsp *)(void *)t->rsp->hdr)->info = put24(t->info);
        t->rsp->close_after = closes;
        tgt_ctl_send(conn, t->rsp);
        t->rsp = NULL;
    }
    if (closes)
        tgt_conn_close_soon(conn);
    tmf_free(t);
}

static bool
on_task_set(const struct tgt_tmf *t)
{
    uint8_t function = t->req.flags & ISCSI_TMF_FUNC_MASK;

    return function != ISCSI_TMF_ABORT_TASK && function <= ISCSI_TMF_TARGET_COLD_RESET;
}

static void fence_next(struct tgt_session *s);

/* The response is acknowledged, so that others may follow. */
static void
fence_over(struct tgt_session *s)
{
    tgt_fence_hold(s, NULL);
    s->fence_busy = false;
    fence_next(s);
}

/* All responses before it are acknowledged. */
static void
fence_open(struct tgt_session *s)
{
    struct tgt_tmf *t = s->fenced;
    struct tgt_conn *conn;

    s->fenced = NULL;
    if (t == NULL) { /* it has ended with its connection */
        fence_over(s);
        return;
    }
    conn = t->conn;
    tmf_respond(t, ISCSI_TMF_RSP_COMPLETE);
    tgt_fence_hold(s, conn);
    tgt_fence_wait(s, conn, false, fence_over);
}

/* The same for the first of the answers that wait, unless that is another one by now. */
static void
answer_open(struct tgt_session *s)
{
    struct tgt_conn *conn = s->fence_for;
    struct tgt_tx *tx = container_of(s->fenced_cmds.next, struct tgt_tx, link);

    if (list_empty(&s->fenced_cmds) || container_of(tx, struct tgt_cmd, tx)->conn != conn) {
        fence_over(s);
        return;
    }
    list_del(&tx->link);
    tgt_tx_queue(conn, tx);
    tgt_fence_hold(s, conn);
    tgt_fence_wait(s, conn, false, fence_over);
}

/* One response after the other is fenced. */
static void
fence_next(struct tgt_session *s)
{
    if (s->fence_busy)
        return;
    if (!list_empty(&s->fenced_cmds)) {
        s->fence_busy = true;
        s->fence_for = container_of(s->fenced_cmds.next, struct tgt_cmd, tx.link)->conn;
        tgt_fence_wait(s, s->fence_for, true, answer_open);
        return;
    }
    LIST_FOREACH (i, &s->tmfs) {
        struct tgt_tmf *t = container_of(i, struct tgt_tmf, link);

        if (!t->fenced)
            continue;
        s->fence_busy = true;
        s->fenced = t;
        tgt_fence_wait(s, t->conn, true, fence_open);
        break;
    }
}

bool
tgt_tmf_fence_answer(struct tgt_cmd *c)
{
    struct tgt_session *s = c->sess;
    struct scsi_sense sense;

    if (s->conns_count < 2 || c->s.ua == 0 || !sense_parse(c->s.sense, c->s.sense_len, &sense) ||
        (sense.asc != ASC_RESET && sense.asc != ASC_COMMANDS_CLEARED))
        return false;
    s->fence_ua = false;
    list_push_back(&s->fenced_cmds, &c->tx.link);
    fence_next(s);
    return true;
}

/* The function is carried out.  That tasks of all connections have ended is told by one of them, so
 * that what the others have told before must have been read (4.2.3.3 d). */
static void
tmf_finish(struct tgt_tmf *t, uint8_t response)
{
    struct tgt_session *s = t->sess;

    if (s->conns_count == 1 || response != ISCSI_TMF_RSP_COMPLETE || !on_task_set(t)) {
        tmf_respond(t, response);
        return;
    }
    loop_timer_stop(s->target->loop, &t->timer);
    t->fenced = true;
    fence_next(s);
}

static void
drain_timeout(struct loop_timer *timer)
{
    struct tgt_tmf *t = container_of(timer, struct tgt_tmf, timer);

    LIST_FOREACH_SAFE (i, &t->sess->cmds) {
        struct tgt_cmd *c = container_of(i, struct tgt_cmd, sess_link);

        if (c->state != TGT_CMD_DRAIN || c->drain_for != t || tgt_cmd_moving(c))
            continue; /* what we read ourselves comes, or breaks the connection */
        tgt_cmd_free(c);
        t->draining--;
    }
    if (t->draining == 0)
        tmf_finish(t, ISCSI_TMF_RSP_COMPLETE);
}

void
tgt_tmf_drained(struct tgt_cmd *c)
{
    struct tgt_tmf *t = c->drain_for;

    assert(c->state == TGT_CMD_DRAIN && t->draining > 0);
    tgt_cmd_free(c);
    if (--t->draining == 0 && t->done)
        tmf_finish(t, ISCSI_TMF_RSP_COMPLETE);
}

void
tgt_tmf_drop(struct tgt_session *s, const struct tgt_conn *conn)
{
    LIST_FOREACH_SAFE (i, &s->tmfs) {
        struct tgt_tmf *t = container_of(i, struct tgt_tmf, link);

        if (conn != NULL && t->conn != conn)
            continue;
        LIST_FOREACH_SAFE (j, &s->cmds) {
            struct tgt_cmd *c = container_of(j, struct tgt_cmd, sess_link);

            if (c->state == TGT_CMD_DRAIN && c->drain_for == t)
                tgt_cmd_free(c);
        }
        loop_timer_stop(s->target->loop, &t->timer);
        list_del(&t->link);
        s->tmfs_count--;
        if (s->fenced == t)
            s->fenced = NULL;
        tmf_free(t);
    }
}

/* A request that never came counts as received: something that does nothing takes its number. */
static bool
tmf_plug(struct tgt_session *s, struct tgt_conn *conn, uint32_t cmd_sn)
{
    struct bhs_scsi_cmd nop;
    struct tgt_cmd *c;

    bhs_init(&nop, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL);
    nop.itt = put32(ISCSI_TAG_RSVD);
    nop.cmd_sn = put32(cmd_sn);
    if (tgt_order_check(s, cmd_sn) == TGT_ORDER_DROP)
        return false;
    c = tgt_cmd_new(conn, &nop);
    if (c == NULL)
        return false;
    tgt_order_hold(s, c);
    return true;
}

/* A held command is aborted.  Its number still counts, but its tag is free. */
static void
abort_held(struct tgt_tmf *t, struct tgt_cmd *c)
{
    uint32_t cmd_sn = get32(c->h.cmd.cmd_sn);

    tgt_cmd_free(c);
    (void)tmf_plug(t->sess, t->conn, cmd_sn); /* it takes the memory of c */
}

/* Whether the tag is that of a function that waits: those are no tasks that can be aborted. */
static bool
is_function(const struct tgt_session *s, uint32_t tag)
{
    LIST_FOREACH (i, &s->tmfs) {
        if (get32(container_of(i, struct tgt_tmf, link)->req.itt) == tag)
            return true;
    }
    return false;
}

/* As tmf_perform. */
static int
abort_task(struct tgt_tmf *t)
{
    struct tgt_session *s = t->sess;
    struct tgt_cmd *c = tgt_cmd_find(s, get32(t->req.ref_tag));
    uint32_t ref_sn = get32(t->req.ref_cmd_sn), cmd_sn = get32(t->req.cmd_sn);

    if (c != NULL && pdu_opcode(&c->h.bhs) != ISCSI_OP_SCSI_CMD)
        return ISCSI_TMF_RSP_REJECTED; /* nor are other requests */
    if (c == NULL && is_function(s, get32(t->req.ref_tag)))
        return ISCSI_TMF_RSP_REJECTED;
    if (c != NULL && memcmp(c->h.cmd.lun, t->req.lun, sizeof(t->req.lun)) != 0)
        return ISCSI_TMF_RSP_NO_TASK;
    if (c != NULL && c->state == TGT_CMD_HELD) {
        abort_held(t, c);
        return ISCSI_TMF_RSP_COMPLETE;
    }
    if (c != NULL) {
        tgt_cmd_abort(c, tgt_cmd_moving(c) ? t : NULL);
        return t->draining > 0 ? -1 : ISCSI_TMF_RSP_COMPLETE;
    }
    if (sn_gte(ref_sn, s->exp_cmd_sn) && sn_lt(ref_sn, cmd_sn) && tmf_plug(s, t->conn, ref_sn))
        return ISCSI_TMF_RSP_COMPLETE;
    return ISCSI_TMF_RSP_NO_TASK;
}

/* Was the command sent before the function? */
static bool
covers(const struct tgt_tmf *t, const struct tgt_cmd *c)
{
    uint32_t sn = get32(c->h.cmd.cmd_sn), limit = get32(t->req.cmd_sn);

    return c->sess != t->sess || sn_lt(sn, limit) || (c->immediate && sn == limit);
}

/* With FastAbort nobody sends data of tasks that have ended; that they have is told, for each unit
 * once, on each connection that had some of them, other than that of t (4.2.3.4 e).  Their Target
 * Transfer Tags need no keeping until the answer, since data of an unknown one is dropped. */
static void
tell_fast_abort(struct tgt_tmf *t, struct tgt_conn *conn, const struct lu *lu, const uint8_t lun[8])
{
    if (conn == t->conn || conn->state != TGT_CONN_FFP)
        return;
    if (conn->told_by == t->serial && conn->told_lu == lu)
        return;
    conn->told_by = t->serial;
    conn->told_lu = lu;
    tgt_tell_fast_abort(conn, lun);
}

bool
tgt_tmf_abort(struct tgt_tmf *t, struct tgt_cmd *c)
{
    struct tgt_session *s = c->sess;
    struct tgt_conn *conn = c->conn;
    bool fast = s->params.task_reporting == ISCSI_TASK_FAST_ABORT;

    if (!covers(t, c))
        return false;
    s->fence_ua |= s->conns_count > 1 && on_task_set(t);
    if (fast)
        tell_fast_abort(t, conn, c->s.lu, c->s.lun);
    tgt_cmd_abort(c, s == t->sess && (!fast || tgt_cmd_moving(c)) ? t : NULL);
    if (s != t->sess && sn_lt(s->told_max, s->exp_cmd_sn) && conn->state == TGT_CONN_FFP)
        tgt_nop_tell(conn); /* it would not learn that its window is open again */
    return true;
}

/* All that is of the session but the connection of t, which closes behind the response. */
static void
end_session(struct tgt_tmf *t, const char *why)
{
    t->conn->asked = true;
    tgt_session_forget(t->sess);
    LIST_FOREACH_SAFE (i, &t->sess->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);

        if (c == t->conn)
            continue;
        c->asked = true;
        tgt_conn_kill(c, why);
    }
}

/* I_T NEXUS RESET (RFC 7144 6.3): the loss of the nexus follows when the session has ended. */
static void
nexus_reset(struct tgt_tmf *t)
{
    end_session(t, "I_T nexus reset");
    LIST_FOREACH_SAFE (i, &t->sess->cmds) {
        struct tgt_cmd *c = container_of(i, struct tgt_cmd, sess_link);

        if (c->state == TGT_CMD_DRAIN)
            tgt_tmf_drained(c);
        else
            tgt_cmd_abort(c, NULL);
    }
}

/* The other sessions of the target, and this one. */
static void
cold_reset(struct tgt_tmf *t)
{
    LIST_FOREACH_SAFE (i, &t->sess->target->sessions) {
        struct tgt_session *s = container_of(i, struct tgt_session, link);

        if (s->node == t->sess->node && s != t->sess)
            tgt_session_kill(s, "target cold reset");
    }
    end_session(t, "target cold reset");
}

/* The functions of RFC 7144, which sessions below protocol level 2 do not know. */
static int
tmf_perform_new(struct tgt_tmf *t, const struct lu *lu)
{
    uint8_t function = t->req.flags & ISCSI_TMF_FUNC_MASK;

    if (t->sess->params.protocol_level < 2)
        return ISCSI_TMF_RSP_UNSUPPORTED;
    if (function == ISCSI_TMF_I_T_NEXUS_RESET) {
        nexus_reset(t);
        return ISCSI_TMF_RSP_COMPLETE;
    }
    return tgt_query(t, lu);
}

/* The response code, or -1: it comes when the aborted tasks' data has come. */
static int
tmf_perform(struct tgt_tmf *t)
{
    uint8_t function = t->req.flags & ISCSI_TMF_FUNC_MASK;
    struct lu_device *dev = &t->sess->node->dev;
    const struct lu_nexus *n = t->sess->nexus;
    struct lu *lu = lu_device_find(dev, t->req.lun);

    if (lu == NULL && function <= ISCSI_TMF_LU_RESET)
        return ISCSI_TMF_RSP_NO_LUN;
    switch (function) {
    case ISCSI_TMF_ABORT_TASK:
        return abort_task(t);
    case ISCSI_TMF_ABORT_TASK_SET:
        lu_abort_task_set(lu, n, t);
        break;
    case ISCSI_TMF_CLEAR_TASK_SET:
        lu_clear_task_set(lu, n, t);
        break;
    case ISCSI_TMF_LU_RESET:
        lu_reset(lu, n, t);
        break;
    case ISCSI_TMF_TARGET_WARM_RESET:
        lu_device_reset(dev, n, false, t);
        break;
    case ISCSI_TMF_TARGET_COLD_RESET:
        lu_device_reset(dev, n, true, t);
        cold_reset(t);
        break;
    case ISCSI_TMF_QUERY_TASK:
    case ISCSI_TMF_QUERY_TASK_SET:
    case ISCSI_TMF_I_T_NEXUS_RESET:
    case ISCSI_TMF_QUERY_ASYNC_EVENT:
        return tmf_perform_new(t, lu);
    default:
        return ISCSI_TMF_RSP_UNSUPPORTED;
    }
    return t->draining > 0 ? -1 : ISCSI_TMF_RSP_COMPLETE;
}

/* The response goes before the task does (7.2.2). */
static void
tmf_reassign(struct tgt_tmf *t)
{
    struct tgt_conn *conn = t->conn;
    uint32_t exp_data_sn = get32(t->req.exp_data_sn);
    uint8_t response;
    struct tgt_cmd *cmd = tgt_reassign_task(t->sess, get32(t->req.ref_tag), &response);

    if (response == ISCSI_TMF_RSP_NO_TASK && is_function(t->sess, get32(t->req.ref_tag)))
        response = ISCSI_TMF_RSP_REJECTED;
    tmf_respond(t, response);
    if (cmd != NULL)
        tgt_reassign(cmd, conn, exp_data_sn);
}

static void
tmf_start(struct tgt_tmf *t)
{
    int r;

    t->started = true;
    if ((t->req.flags & ISCSI_TMF_FUNC_MASK) == ISCSI_TMF_TASK_REASSIGN) {
        tmf_reassign(t);
        return;
    }
    r = tmf_perform(t);
    t->done = true;
    if (r >= 0)
        tmf_finish(t, (uint8_t)r);
    else
        loop_timer_start(t->sess->target->loop, &t->timer, TGT_DRAIN_MS * LOOP_NS_PER_MS);
}

/* Functions on task sets act when all that was sent before them has come. */
static bool
tmf_ready(const struct tgt_tmf *t)
{
    uint8_t function = t->req.flags & ISCSI_TMF_FUNC_MASK;

    if (function != ISCSI_TMF_ABORT_TASK_SET && function != ISCSI_TMF_CLEAR_TASK_SET &&
        function != ISCSI_TMF_LU_RESET)
        return true;
    return !(t->req.opcode & ISCSI_OP_IMMEDIATE) ||
           sn_gte(t->sess->exp_cmd_sn, get32(t->req.cmd_sn));
}

void
tgt_tmf_run_waiting(struct tgt_session *s)
{
    LIST_FOREACH_SAFE (i, &s->tmfs) {
        struct tgt_tmf *t = container_of(i, struct tgt_tmf, link);

        if (!t->started && tmf_ready(t))
            tmf_start(t);
    }
}

void
tgt_tmf_pdu(struct tgt_conn *c, const struct bhs_tmf_req *h)
{
    struct tgt_session *s = c->sess;
    struct tgt_tmf *t;

    if (s->tmfs_count >= TGT_TMF_MAX) {
        tgt_reject(c, (const struct bhs *)(const void *)h, ISCSI_BHS_LEN,
                   ISCSI_REJECT_TOO_MANY_IMMEDIATE);
        return;
    }
    t = calloc(1, sizeof(*t));
    if (t != NULL)
        t->rsp = tgt_ctl_new(ISCSI_OP_TMF_RSP, get32(h->itt));
    if (t == NULL || t->rsp == NULL) {
        free(t);
        tgt_conn_kill(c, "out of memory");
        return;
    }
    t->sess = s;
    t->conn = c;
    t->serial = ++s->target->tmf_serial;
    t->req = *h;
    loop_timer_init(&t->timer, drain_timeout);
    list_push_back(&s->tmfs, &t->link);
    s->tmfs_count++;
    tgt_conn_log(c, LOG_LEVEL_INFO, "%s", iscsi_tmf_name(h->flags & ISCSI_TMF_FUNC_MASK));
    if (tmf_ready(t))
        tmf_start(t);
    else
        tgt_hole_watch(s);
}
