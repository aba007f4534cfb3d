/* SPDX-License-Identifier: MIT */
#include "target/leave.h"

#include "lu/nexus.h"
#include "target/command.h"
#include "target/ctl.h"
#include "target/fence.h"
#include "target/session.h"
#include "target/state/conn.h"
#include "target/tmf.h"

void
tgt_end_commands(struct tgt_session *s, const struct tgt_conn *only)
{
    tgt_tmf_drop(s, only);
    LIST_FOREACH_SAFE (i, &s->cmds) {
        struct tgt_cmd *cmd = container_of(i, struct tgt_cmd, sess_link);

        if (only != NULL && cmd->conn != only)
            continue;
        if (cmd->state == TGT_CMD_DRAIN) {
            tgt_tmf_drained(cmd);
            continue;
        }
        if (only != NULL && s->conns_count + s->lost_count > 1 && cmd->s.lu != NULL)
            lu_ua_set(cmd->s.nexus, cmd->s.lu, LU_UA_PROTOCOL_CLEARED);
        tgt_cmd_abort(cmd, NULL);
    }
}

/* Where nothing of c waits, there is nothing to reassign (Time2Retain), nor a reason to wait before
 * another connection is tried (Time2Wait). */
static void
tell_others(struct tgt_session *s, const struct tgt_conn *c)
{
    const uint16_t param[3] = {c->cid, c->lost ? (uint16_t)s->params.time2wait : 0,
                               c->lost ? (uint16_t)s->params.time2retain : 0};

    LIST_FOREACH_SAFE (i, &s->conns) {
        struct tgt_conn *other = container_of(i, struct tgt_conn, sess_link);

        if (other->state == TGT_CONN_FFP)
            tgt_tell_async(other, ISCSI_ASYNC_DROP_CONNECTION, param, false);
    }
}

void
tgt_leave_list(struct tgt_conn *c)
{
    struct tgt_session *s = c->sess;

    list_del(&c->sess_link);
    c->sess = NULL;
    if (s->conns_count + s->lost_count == 0)
        tgt_session_end(s);
}

void
tgt_leave_told(struct tgt_conn *c, struct tgt_session *s)
{
    if (c->login == NULL && !c->asked && s->live)
        tell_others(s, c);
}

void
tgt_leave_session(struct tgt_conn *c)
{
    struct tgt_session *s = c->sess;

    tgt_end_commands(s, c);
    tgt_fence_leave(c);
    s->conns_count--;
    tgt_leave_list(c);
    tgt_leave_told(c, s);
}
