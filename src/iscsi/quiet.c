/* SPDX-License-Identifier: MIT */
/* iscsi/quiet.c - tasks that send no data any more (RFC 7143 4.2.3.4, TaskReporting=FastAbort): a
 * reset of ours is out and ends them, or one of somebody else has ended them (async event 5). */
#include "iscsi/internal.h"
#include "wire/sn.h"

static void
hush(struct task *t)
{
    const struct conn *c = to_conn(t->pub.conn);

    t->pub.quiet = t->marked = true;
    if (t->resend)
        return; /* its command goes again first; xmit_task sends that alone */
    t->owes |= !list_empty(&t->pub.node) || c->xmit_task == t;
    list_del(&t->pub.node);
}

/* It may send again what it owes. */
static void
speak_again(struct task *t)
{
    struct conn *c = to_conn(t->pub.conn);

    t->pub.quiet = false;
    if (!t->owes)
        return;
    t->owes = false;
    if (c->suspended || c->xmit_task == t || !list_empty(&t->pub.node))
        return;
    c->session->fast_conn = NULL;
    list_push_back(&c->requeue, &t->pub.node);
    iscsi_conn_queue_xmit(c);
}

/* The function ends tasks, and more than one, whoever has sent them. */
static bool
ends_tasks(uint8_t function)
{
    switch (function) {
    case ISCSI_TMF_ABORT_TASK_SET:
    case ISCSI_TMF_CLEAR_TASK_SET:
    case ISCSI_TMF_LU_RESET:
    case ISCSI_TMF_TARGET_WARM_RESET:
    case ISCSI_TMF_TARGET_COLD_RESET:
        return true;
    default:
        return false;
    }
}

static bool
runs_on(const struct task *t, const struct conn *c)
{
    return t->kind == TASK_SCSI && t->pub.state == ISCSI_TASK_RUNNING && t->pub.conn == &c->pub;
}

void
iscsi_quiet_covered(struct conn *c, const struct bhs_tmf_req *h)
{
    struct session *s = c->session;
    uint8_t function = h->flags & ISCSI_TMF_FUNC_MASK;
    bool all = function == ISCSI_TMF_TARGET_WARM_RESET || function == ISCSI_TMF_TARGET_COLD_RESET;

    if (!s->pub.params.fast_abort || !ends_tasks(function))
        return;
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (!runs_on(t, c) || !sn_lt(t->pub.cmd_sn, get32(h->cmd_sn)) ||
            (!all && memcmp(t->pub.sc->lun, h->lun, sizeof(h->lun)) != 0))
            continue;
        hush(t);
        t->covered = true;
    }
}

void
iscsi_quiet_uncovered(struct session *s)
{
    if (!s->pub.params.fast_abort)
        return;
    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        if (t->kind != TASK_SCSI || t->pub.state != ISCSI_TASK_RUNNING || !t->covered)
            continue;
        t->covered = false;
        if (!t->told)
            speak_again(t);
    }
}

void
iscsi_quiet_told(struct conn *c, const uint8_t lun[8], uint32_t exp_cmdsn)
{
    struct session *s = c->session;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        struct task *t = iscsi_task_at(s, slot);

        /* What the target had not received when it sent this, it has not ended. */
        if (!runs_on(t, c) || !sn_lt(t->pub.cmd_sn, exp_cmdsn) ||
            memcmp(t->pub.sc->lun, lun, 8) != 0)
            continue;
        hush(t);
        t->told = true;
    }
}

void
iscsi_quiet_lives(struct task *t)
{
    t->told = false;
    if (t->pub.quiet && !t->covered)
        speak_again(t);
}

/* An R2T that came behind the message that tasks were ended is of one that was not. */
bool
iscsi_quiet_asked(struct task *t)
{
    t->told = false;
    if (t->covered) {
        t->owes = true;
        return false;
    }
    t->pub.quiet = t->owes = false;
    return true;
}
