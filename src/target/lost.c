/* SPDX-License-Identifier: MIT */
#include "target/lost.h"

#include <assert.h>

#include "target/command.h"
#include "target/conn.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/leave.h"
#include "target/state/session.h"
#include "target/tmf.h"

bool
tgt_lost_waits(const struct tgt_conn *c)
{
    const struct tgt_session *s = c->sess;

    return s->params.erl == 2 && !s->discovery && c->login == NULL && (!c->asked || c->recovers) &&
           s->params.time2retain > 0 && !s->target->stopping;
}

static void
start_time(struct tgt_conn *c)
{
    const struct iscsi_params *p = &c->sess->params;

    loop_timer_start(c->target->loop, &c->timer,
                     ((uint64_t)p->time2wait + p->time2retain) * LOOP_NS_PER_S);
}

void
tgt_lost_begin(struct tgt_conn *c)
{
    struct tgt_session *s = c->sess;

    if (s->lost_count >= TGT_LOST_MAX)
        tgt_lost_end(container_of(s->lost.next, struct tgt_conn, sess_link));
    c->lost = c->blocked = true; /* what is queued stays queued */
    tgt_tmf_drop(s, c);
    LIST_FOREACH_SAFE (i, &s->cmds) {
        struct tgt_cmd *cmd = container_of(i, struct tgt_cmd, sess_link);

        if (cmd->conn != c)
            continue;
        if (cmd->state == TGT_CMD_DRAIN)
            tgt_tmf_drained(cmd);
        else if (cmd->immediate || cmd->state == TGT_CMD_HELD)
            tgt_cmd_abort(cmd, NULL);
    }
    tgt_keep_commands_only(c);
    list_del(&c->sess_link);
    s->conns_count--;
    list_push_back(&s->lost, &c->sess_link);
    s->lost_count++;
    start_time(c);
}

void
tgt_lost_end(struct tgt_conn *c)
{
    assert(c->lost);
    loop_timer_stop(c->target->loop, &c->timer);
    tgt_end_commands(c->sess, c);
    tgt_keep_drop(c);
    c->lost = false;
    c->sess->lost_count--;
    tgt_leave_list(c);
    list_push_back(&c->target->dead, &c->link);
    loop_defer(c->target->loop, &c->target->reap);
}

struct tgt_conn *
tgt_lost_find(const struct tgt_session *s, uint16_t cid)
{
    for (struct list *l = s->lost.prev; l != &s->lost; l = l->prev) {
        struct tgt_conn *c = container_of(l, struct tgt_conn, sess_link);

        if (c->cid == cid)
            return c;
    }
    return NULL;
}

void
tgt_lost_logged_out(struct tgt_conn *c)
{
    c->recovers = true;
    start_time(c);
}
