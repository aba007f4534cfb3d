/* SPDX-License-Identifier: MIT */
/* iscsi/internal.h - the functions of the iSCSI layer, file by file.  Each file calls only those
 * whose section stands above its own here; those call it back by work, timers and tables of
 * functions. */
#ifndef ISCSI_INTERNAL_H
#define ISCSI_INTERNAL_H

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "iscsi/session.h"
#include "wire/bend.h"

/* statsn.h and datasn.h stand above all of these: they need none of them. */

/* ---- pick.c: which connection ---- */
/* Chooses the connection of a command: one that takes commands and whose transport has room, with
 * the least bytes unsent, then with the fewest commands under way.  NULL: there is none. */
struct conn *iscsi_pick_conn(const struct session *s);
/* A connection that task management can go on, or a NOP-Out that others wait for; where there are
 * several, one that does not look stuck.  NULL: there is none. */
struct conn *iscsi_live_conn(const struct session *s);
/* The leading connection ends, and is suspended or dying: another one leads from here on.  False:
 * there is none. */
bool iscsi_pass_lead_on(struct session *s);
/* Counts the connections that take commands anew, as something that this depends on has changed. */
void iscsi_count_serving(struct session *s);
/* Commands of the session wait to be sent: a connection that has room sends them, later. */
void iscsi_xmit_wanted(struct session *s);
/* The next commands of the fast path go on the connection that is the best one now. */
void iscsi_next_fast(struct session *s);

/* ---- conn_fsm.c: the state of a connection ---- */
void iscsi_conn_event(struct conn *c, enum conn_event ev);

/* ---- failure.c: a connection fails ---- */
void iscsi_conn_failure(struct iscsi_conn *c, enum iscsi_err err, const char *why);
/* All connections of the session fail, so that it is recovered (RFC 7143 7.1.4.4). */
void iscsi_session_failure(struct session *s, enum iscsi_err err, const char *why);

/* ---- bends.c: a target that bends a rule, where that harms nothing ---- */
/* Takes note of a bend, and says so once for each session. */
void iscsi_bend(struct conn *c, enum wire_bend bend);
/* A NOP-In has come that the target sent of its own accord, and that takes no StatSN. */
void iscsi_bend_pinged(struct conn *c);
/* Does a target that gives its own pings numbers explain that the next response has number sn? */
bool iscsi_bend_explains(struct conn *c, uint32_t sn);

/* ---- again.c: commands that are sent again with their number ---- */
/* The target has said on the connection via that it has let go of the connection cid, which was
 * lost: what it had not acknowledged goes again, as soon as it is known to be missing there, and of
 * the rest nothing is executed any more, where over says so, as after a Logout that is not for
 * recovery; else it is to be reassigned at level 2. */
void iscsi_conn_cleared(struct session *s, const struct conn *via, uint16_t cid, bool over);
/* A ping was answered, and the window updated with what came; or it was lost with its connection.
 * It may be the one that asks what number the target waits for, or takes one that nobody has. */
void iscsi_again_told(struct session *s, const struct task *ping);
void iscsi_again_lost(struct session *s, const struct task *ping);
/* The target waits for a number that was used, and whose command has ended: it was aborted before
 * the target had acknowledged it, and what the target knew of that was lost with a connection. */
bool iscsi_has_gap(const struct session *s);
void iscsi_again_init(struct session *s);
/* The transport has let go of a command that is to go again. */
void iscsi_task_again(struct session *s, struct task *t);

/* ---- task.c: the table of tasks, their tags, and their end ---- */
int iscsi_alloc_tasks(struct session *s);
void iscsi_free_tasks(struct session *s);
/* The task is over: asks the transport to let go of it, and finishes it when it has. */
void iscsi_complete_task(struct task *t);
/* The connection of a running command has ended: the command is UNASSIGNED from now on, until
 * recovery.c decides how it ends. */
void iscsi_unassign_task(struct task *t);
/* Connections that a task may cost until the session is recovered instead; one that has ended by
 * what the target does wrong or leaves undone counts for so many that the network may have cut. */
#define ISCSI_BLAMED_MAX   32
#define ISCSI_BLAMED_FAULT 11
/* The same for a command that goes again since the target has not acknowledged it, while all that
 * follow wait for its number. */
#define ISCSI_UNHEARD_MAX 4
/* Counts that c, which the task was on or was to go on with, has ended. */
void iscsi_blame_task(struct task *t, const struct conn *c);
/* Ends an unassigned command with the result that its scsi_cmd has. */
void iscsi_complete_unassigned(struct task *t);
struct iscsi_task *iscsi_itt_to_task(struct iscsi_conn *c, struct be32 itt);
bool iscsi_itt_ended(struct iscsi_conn *c, struct be32 itt);
bool iscsi_itt_late(struct iscsi_conn *c, struct be32 itt);
void iscsi_task_cleaned(struct iscsi_task *t);
/* Queues a control task whose header is in t->ctl. */
void iscsi_queue_mgmt(struct task *t, const void *data, uint32_t len);
/* The same for TASK_USER, whose header in t->ctl is complete but for what is known when it is sent;
 * data, which may be NULL, is the task's from now on, in the place of what it had. */
void iscsi_send_user(struct task *t, void *data, uint32_t len);

/* sc ends without a SCSI status: r says why, and none of its data counts as moved. */
static inline void
iscsi_set_unfinished(struct scsi_cmd *sc, enum scsi_host_result r)
{
    sc->host_result = (uint8_t)r;
    sc->status = 0;
    sc->sense_len = 0;
    sc->resid_in = sc->in.len;
    sc->resid_out = sc->out.len;
    sc->overflow = false;
}

/* The tag of the next use of t's slot. */
static inline uint32_t
iscsi_next_itt(const struct task *t)
{
    uint32_t itt = t->pub.itt + ITT_GEN_STEP;

    return itt < ITT_GEN_LIMIT ? itt : t->slot;
}

/* Takes the free task on top of the stack, which is not empty; c is NULL for a command that waits
 * for a connection.  data, user_data, unsol, eh and
 * swept are not set here, since the end of a task leaves them as a new one needs them. */
static inline struct task *
iscsi_take_task(struct session *s, struct conn *c, enum task_kind kind)
{
    struct task *t = s->free_tasks;

    s->free_tasks = t->next_free;
    t->pub.itt = iscsi_next_itt(t);
    t->pub.conn = c != NULL ? &c->pub : NULL;
    t->pub.state = ISCSI_TASK_PENDING;
    t->pub.exp_datasn = 0;
    t->pub.in_done = t->pub.out_done = 0;
    t->pub.imm_count = 0;
    t->pub.moved_ns = t->asked_ns = s->pub.loop->now_ns;
    t->kind = kind;
    t->flags = 0;
    t->resent = 0;
    if (kind == TASK_SCSI)
        s->outstanding++;
    else
        t->pub.sc = NULL;
    return t;
}

/* A task, PENDING; NULL: all are taken, or no memory. */
static inline struct task *
iscsi_alloc_task(struct session *s, struct conn *c, enum task_kind kind)
{
    if (kind == TASK_SCSI && s->outstanding >= s->pub.cmds_max)
        return NULL;
    if (s->free_tasks == NULL && iscsi_alloc_tasks(s) < 0)
        return NULL;
    assert(s->free_tasks->pub.state == ISCSI_TASK_FREE);
    return iscsi_take_task(s, c, kind);
}

/* The running task of a tag that came from the target, or NULL. */
static inline struct task *
iscsi_task_of_itt(const struct conn *c, struct be32 itt)
{
    struct iscsi_task *t = iscsi_task_of(&c->pub, itt);

    return t != NULL ? to_task(t) : NULL;
}

/* The command was lost with its connection or its nexus, and ends by itself as soon as the
 * transport has let go of it: the target that is there now knows nothing of it. */
static inline bool
iscsi_task_is_lost(const struct task *t)
{
    if (t->pub.state == ISCSI_TASK_PENDING)
        return false;
    return t->old_nexus || t->pub.conn == NULL || to_conn(t->pub.conn)->suspended;
}

/* mend.h stands here: it needs none of what follows, and task.c ends what it keeps. */

/* ---- window.c: the command window ---- */
void iscsi_window_init(struct session *s, uint32_t initial_cmdsn);
/* Takes ExpCmdSN and MaxCmdSN of a PDU that came from the target. */
void iscsi_window_update(struct session *s, struct be32 exp_cmdsn, struct be32 max_cmdsn);
/* Remembers that something waits for room in the window or for a task, and sees to it that a target
 * which never opens the window is given up. */
void iscsi_window_wanted(struct session *s);
void iscsi_update_cmdsn(struct iscsi_conn *c, struct be32 exp_cmdsn, struct be32 max_cmdsn);

/* ---- unexpected.c: how many requests may be out that the target has not asked for ---- */
/* The control PDU waits until others have been answered, and iscsi_unexpected_over has it go. */
bool iscsi_unexpected_holds(struct conn *c, const struct task *t);
/* A control PDU goes out on the connection. */
void iscsi_unexpected_sent(struct conn *c, const struct task *t);
/* One waits, after all that can go has gone: where only an answer to a ping would tell that there
 * is room, and none is out, has one sent. */
void iscsi_unexpected_ask(struct conn *c);
/* A control PDU of the connection has been answered, or has ended with it. */
void iscsi_unexpected_over(struct conn *c, const struct task *t);

/* ---- leave.c: a connection is left in order ---- */
/* The target asks for a Logout Request within so many seconds. */
void iscsi_leave_asked(struct conn *c, uint32_t seconds);
/* The control PDU waits until the commands that are under way have ended. */
bool iscsi_leave_holds(const struct conn *c, const struct task *t);
/* A marked command of the session has ended. */
void iscsi_leave_command_ended(struct session *s);
/* A Logout Request goes out on the connection, and has been answered; false: the target has not
 * done as it was asked, so that the connection has failed. */
void iscsi_leave_sent(struct conn *c, const struct bhs_logout_req *h);
bool iscsi_leave_answered(struct conn *c, const struct bhs_logout_req *asked,
                          const struct bhs_logout_rsp *h);
void iscsi_leave_timer(struct loop_timer *timer);

/* ---- last_pdus.c ---- */
/* Makes a recorder where there is none: there are commands, or a login. */
void iscsi_flight_need(struct conn *c);
/* The digests of c are others. */
void iscsi_flight_digests(struct conn *c);
/* The login has gone well: c only waits from now on, and where that was all that is recorded it is
 * given back but for a few PDUs. */
void iscsi_flight_rest(struct conn *c);
/* A PDU of a connection that has no recorder: few of them are kept. */
void iscsi_flight_add(struct conn *c, bool tx, const struct bhs *h);
void iscsi_flight_free(struct conn *c);

/* ---- quiet.c: tasks that send no data any more ---- */
/* A task management request goes out on the connection. */
void iscsi_quiet_covered(struct conn *c, const struct bhs_tmf_req *h);
/* That request is over, or is to be sent again. */
void iscsi_quiet_uncovered(struct session *s);
/* The target has ended tasks of that unit on the connection, of those whose CmdSN is below
 * exp_cmdsn. */
void iscsi_quiet_told(struct conn *c, const uint8_t lun[8], uint32_t exp_cmdsn);
/* The target has the quiet task: it goes on. */
void iscsi_quiet_lives(struct task *t);
/* The target asks for data of the quiet task.  True: it goes on. */
bool iscsi_quiet_asked(struct task *t);

/* ---- xmit.c: PDUs down ---- */
void iscsi_xmitworker(struct conn *c);
/* Sends the commands that wait, as many as the window and the transports take. */
void iscsi_xmit_queued(struct session *s);
void iscsi_flush(struct conn *c);
/* What iscsi_xmit_queued has handed to the connection's transport leaves. */
void iscsi_round_over(struct conn *c);
/* What has been handed to the transport has been flushed, and there are commands that are timed. */
void iscsi_watch_sent(struct conn *c);
void iscsi_requeue_task(struct iscsi_task *t);
/* The general path of queuecommand: takes any command at any time. */
int iscsi_queue_general(struct session *s, struct scsi_cmd *sc);

/* Lays out a SCSI Command (RFC 7143 11.3) at h, 48 bytes.  flags: those of byte 1 without the task
 * attribute, which sc has; cdb: 16 bytes. */
static inline void
iscsi_put_scsi_cmd(uint8_t *h, const struct scsi_cmd *sc, const uint8_t *cdb, uint32_t flags,
                   uint32_t imm_count, uint32_t itt, uint32_t edtl, uint32_t cmdsn,
                   uint32_t exp_statsn)
{
    flags |= sc->attr;
    memcpy(h + 32, cdb, 16);
    memcpy(h + 8, sc->lun, 8);
    /* TotalAHSLength 0, then DataSegmentLength */
    st_be64(h, (uint64_t)(ISCSI_OP_SCSI_CMD << 24 | flags << 16) << 32 | imm_count);
    st_be64(h + 16, (uint64_t)itt << 32 | edtl);
    st_be64(h + 24, (uint64_t)cmdsn << 32 | exp_statsn);
}

/* ---- resend.c: a command goes again on its connection ---- */
/* The target does not have the running command: it is sent again, with its number.  False: that has
 * been tried often enough. */
bool iscsi_resend(struct conn *c, struct task *t);
/* Looks, now and then, whether a command of the connection was not acknowledged for long, and sends
 * it again when the answer to a ping has not acknowledged it either.  True: that ping is wanted. */
bool iscsi_look_unacked(struct conn *c);

/* ---- tmf.c: task management ---- */
void iscsi_tmf_init(struct session *s);
void iscsi_eh_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w);
void iscsi_eh_clear_aca(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w);
void iscsi_eh_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w);
void iscsi_eh_target_reset(struct scsi_host *h, struct scsi_eh_wait *w);
void iscsi_eh_session_reset(struct scsi_host *h, struct scsi_eh_wait *w);
void iscsi_eh_query(struct scsi_host *h, enum scsi_query what, const uint8_t lun[8],
                    struct scsi_eh_wait *w);
void iscsi_tmf_rsp(struct conn *c, struct task *t, const struct bhs_tmf_rsp *h);
/* Tasks may have been ended by somebody else: the target is asked about each. */
void iscsi_tmf_told(struct session *s);
/* The session is down: fails all requests that wait or are out, except session resets. */
void iscsi_tmf_fail_all(struct session *s);
/* The request t is over without an answer: its connection has ended. */
void iscsi_tmf_lost(struct session *s, const struct task *t);
/* The state of the session has changed: a session reset may be over. */
void iscsi_tmf_session_changed(struct session *s);
/* Forgets the ended tags and the CmdSN of the nexus before. */
void iscsi_tmf_new_nexus(struct session *s);

/* ---- ping.c: pings of ours and answers to the target's ---- */
/* Starts the timer that looks for silence, or starts it anew after a change of the limits. */
void iscsi_ping_start(struct conn *c);
/* A session of several connections is looked after from now on, so that one which is stuck does not
 * hold all of them up. */
void iscsi_stall_start(struct session *s);
void iscsi_ping_init(struct session *s);
/* Where the target waits for a number that no command has any more, a NOP-Out takes it there (RFC
 * 7143 7.3: the initiator plugs the gap). */
void iscsi_fill_gap(struct session *s);
void iscsi_send_nopout(struct conn *c, const struct bhs_nop_in *answer_to);
/* iscsi_look_unacked, and sends the ping that it wants, if none is out. */
void iscsi_ask_unacked(struct conn *c);
void iscsi_transport_timer(struct loop_timer *timer);

/* ---- snack.c: SNACKs, and responses that are missing, from ErrorRecoveryLevel 1 on ---- */
/* A SNACK whose answer did not come and that is sent again weighs so many others. */
#define ISCSI_SNACK_LATE 10
/* Sees to it that the timer looks after what is missing. */
void iscsi_snack_watch(struct conn *c);
/* What was asked for then should have come. */
bool iscsi_snack_due(const struct conn *c, uint64_t asked_ns);
/* Asks for n Data-Ins, or R2Ts of a write, from number `first` on.  When it has been tried often
 * enough, by weight, the connection fails. */
void iscsi_ask_data(struct mend *m, uint32_t first, uint32_t n, uint32_t weight);
/* The same for n responses from StatSN `first` on. */
void iscsi_ask_status(struct conn *c, uint32_t first, uint32_t n, uint32_t weight);
/* All Data-Ins of t below `next` have come, as a Data-In with that LUN and tag wants to know. */
void iscsi_ack_data(const struct iscsi_task *t, const uint8_t lun[8], struct be32 ttt,
                    uint32_t next);
/* Responses before sn are missing, where seen was the next that had not been seen: those from there
 * on are asked for.  dropped: that one was too far ahead.  False: the connection has failed. */
bool iscsi_snack_gap(struct conn *c, uint32_t seen, uint32_t sn, bool dropped);
/* A response has come that was missing, and others behind it may never have been asked for. */
void iscsi_snack_closed(struct conn *c);
/* The response with number sn has not come in a form that counts; ask: it is to be asked for.
 * False: the connection has failed. */
bool iscsi_status_lost(struct conn *c, uint32_t sn, bool ask);
/* A PDU that has no number of its own says that `next` is the next StatSN: what of those below it
 * has not been seen is missing, and asked for.  False: the connection has failed. */
bool iscsi_status_told(struct conn *c, uint32_t next);

/* ---- repair.c: data that are missing, and what does not come ---- */
void iscsi_snack_timer(struct loop_timer *timer);
enum iscsi_odd iscsi_odd_data_in(struct iscsi_task *t, const struct bhs_data_in *h);
void iscsi_data_in_came(struct iscsi_task *t, const struct bhs_data_in *h);
enum iscsi_odd iscsi_odd_r2t(struct iscsi_task *t, const struct bhs_r2t *h, uint32_t exp_r2tsn);
bool iscsi_bad_data_digest(struct iscsi_conn *c, struct iscsi_task *t, const struct bhs *hdr);
/* The response of a command whose data have not all come is kept until they have; then, or when the
 * connection has failed, true. */
bool iscsi_snack_holds(struct conn *c, const union bhs_any *h, const void *data, uint32_t len);
/* The target rejects a SNACK of ours. */
void iscsi_snack_rejected(struct conn *c, const struct bhs_snack_req *h);

/* ---- control.c: PDUs of the control plane ---- */
/* Hands a PDU to the control plane. */
int iscsi_to_control_plane(struct conn *c, const struct bhs *h, const void *data, uint32_t len);
/* Hands an answer to the control plane's request t up.  final: the exchange is over and the tag
 * free. */
int iscsi_user_answer(struct conn *c, struct task *t, const union bhs_any *h, const void *data,
                      uint32_t len, bool final);
/* Ends the task of the login exchange if there is one: full feature phase begins. */
void iscsi_user_login_over(struct conn *c);

/* ---- clear.c: a connection that was lost while others serve is cleared ---- */
void iscsi_clear_init(struct session *s);
/* The connection is down: the target is asked to let go of it, if that is needed. */
void iscsi_clear_conn(struct conn *c);
/* The connection has logged in.  What could not be asked about while the session was adrift is, and
 * what had to wait for this connection since that had carried a Logout about it. */
void iscsi_clear_back(struct conn *c);
/* The request t is over without an answer: its connection has ended. */
void iscsi_clear_lost(struct session *s, const struct task *t);
/* The request t was answered.  < 0: the connection has failed, with all others. */
int iscsi_clear_answered(struct conn *via, struct task *t, const struct bhs_logout_rsp *h);
/* The connection is about to be bound, and no Logout about it can be on its way, since all are
 * lost: its login does what the Logout would have done.  False: one may be. */
bool iscsi_clear_yields(struct conn *c);
/* No connection of that number may be bound: a Logout may be on its way to it, or may be sent yet,
 * since the transport has not let go of an older one. */
bool iscsi_clear_holds(const struct session *s, uint16_t cid);
/* The target tells of the times that are in force for a connection that was lost already. */
void iscsi_clear_told(struct session *s, uint16_t cid, uint32_t time2wait_s,
                      uint32_t time2retain_s);
/* The session is lost: nothing is asked about any more. */
void iscsi_clear_none(struct session *s);

/* ---- reassign.c: tasks of a lost connection go on with another ---- */
void iscsi_reassign_init(struct session *s);
/* The request r was answered.  < 0: the session is to be recovered. */
int iscsi_reassign_answered(struct conn *c, struct task *r, uint8_t response);
/* The target has not taken the request r, for that reason. */
int iscsi_reassign_rejected(struct conn *c, struct task *r, uint8_t reason);
/* The request r is over without an answer: its connection has ended. */
void iscsi_reassign_lost(struct session *s, const struct task *r);

/* ---- complete.c: PDUs up ---- */
int iscsi_complete_pdu(struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len);

/* ---- fast.c: the fast path down and up ---- */
int iscsi_queuecommand(struct scsi_host *h, struct scsi_cmd *sc);
int iscsi_queuecommand_traced(struct scsi_host *h, struct scsi_cmd *sc);
void iscsi_complete_data_in(struct iscsi_task *t, const struct bhs_data_in *h);
void iscsi_complete_data_in_traced(struct iscsi_task *t, const struct bhs_data_in *h);
void iscsi_complete_scsi_rsp(struct iscsi_conn *c, const struct bhs_scsi_rsp *h);
void iscsi_complete_scsi_rsp_traced(struct iscsi_conn *c, const struct bhs_scsi_rsp *h);
/* The largest write that takes the fast path: all of its data goes with its command. */
uint32_t iscsi_fast_write_max(const struct conn *c);

/* ---- host.c: the session as the SCSI midlayer sees it ---- */
/* The operations of a session; watched: some command that is timed is about to be sent. */
const struct scsi_host_ops *iscsi_host_ops_of(const struct loop *l, bool watched);

/* ---- nexus.c: the states of a session ---- */
void iscsi_nexus_init(struct session *s);
/* A leading connection is bound: numbers, task management, timers and agreed values begin anew. */
void iscsi_session_new_nexus(struct session *s);
/* The leading connection is in full feature phase. */
void iscsi_session_up(struct session *s);
/* The leading connection is lost: the session waits for another, or fails.  why: for the midlayer.
 */
void iscsi_session_lost(struct session *s, const struct lunette_error *why);
/* RECOVERY_TMO has changed: a session that waits does so until then, from the loss on. */
void iscsi_recovery_tmo_changed(struct session *s);
/* The session fails, whatever its state was. */
void iscsi_session_fail(struct session *s, const struct lunette_error *why);

/* ---- recovery.c: the end of a connection ---- */
void iscsi_recovery_init(struct session *s);
/* The connection has logged in: commands that a connection of this number had are over. */
void iscsi_conn_is_back(const struct conn *c);
void iscsi_conn_stopped(struct iscsi_conn *c);
void iscsi_fail_work(struct loop_work *w);
/* The session was adrift, and c has logged in to it: it leads. */
void iscsi_adrift_ended(struct conn *c);
/* The session is adrift, and is to be recovered instead. */
void iscsi_adrift_over(struct session *s);

/* ---- conn.c: the life of a connection ---- */
void iscsi_conn_free(struct conn *c);

#endif
