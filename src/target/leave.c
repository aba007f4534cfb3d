/* SPDX-License-Identifier: MIT */
#include "target/leave.h"

#include "lu/nexus.h"
#include "target/command.h"
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
        if (cmd->state == TGT_CMD_DRAIN)
            tgt_tmf_drained(cmd);
        else
            tgt_cmd_abort(cmd, NULL);
    }
}

void
tgt_leave_session(struct tgt_conn *c)
{
    struct tgt_session *s = c->sess;

    tgt_tmf_drop(s, c);
    LIST_FOREACH_SAFE (i, &s->cmds) {
        struct tgt_cmd *cmd = container_of(i, struct tgt_cmd, sess_link);

        if (cmd->conn != c)
            continue;
        if (cmd->state == TGT_CMD_DRAIN) {
            tgt_tmf_drained(cmd);
        } else {
            if (s->conns_count > 1 && cmd->s.lu != NULL) /* the session lives on */
                lu_ua_set(cmd->s.nexus, cmd->s.lu, LU_UA_PROTOCOL_CLEARED);
            tgt_cmd_abort(cmd, NULL);
        }
    }
    list_del(&c->sess_link);
    s->conns_count--;
    c->sess = NULL;
    if (s->conns_count == 0)
        tgt_session_end(s);
}
