/* SPDX-License-Identifier: MIT */
/* iscsi/session.h - what the iSCSI layer keeps of a session: its connections, its tasks, the
 * command window and task management, which all connections share (RFC 7143 4.2.2.1, 4.2.1). */
#ifndef ISCSI_SESSION_H
#define ISCSI_SESSION_H

#include "iscsi/conn.h"
#include "iscsi/iscsi.h"
#include "iscsi/window.h"

#define MGMT_TASKS      16 /* tasks kept for NOPs, task management and the control plane, */
#define MGMT_TASKS_CONN 2  /* and so many more for each connection */
#define MGMT_TASKS_MAX  (MGMT_TASKS + 32 * MGMT_TASKS_CONN)

enum session_state { /* Linux's ISCSI_STATE_, but for BLOCKED, which it calls IN_RECOVERY */
                     ISCSI_STATE_FREE,      /* never logged in */
                     ISCSI_STATE_LOGGED_IN, /* commands flow on the leading connection */
                     ISCSI_STATE_BLOCKED,   /* the leading connection is lost: the midlayer holds
                                               commands back until another has logged in, or
                                               recovery_timer has run out */
                     ISCSI_STATE_FAILED,    /* nobody waits for a login any more; one brings the
                                               session back */
                     ISCSI_STATE_TERMINATE, /* it is being freed */
};

struct session {
    struct iscsi_session pub;
    struct scsi_host host;
    const struct iscsi_session_events *ev;
    void *ev_user;
    enum session_state state;
    struct list conns; /* struct conn */
    uint32_t nserving; /* of them take commands */
    struct conn *leadconn;
    struct conn *fast_conn; /* commands may go to its transport at once: nothing waits before them;
                               NULL: they take the general path */
    struct list cmdqueue;   /* struct iscsi_task.node: commands without a CmdSN and a connection */
    struct list reissue;    /* the same: those that go again with their CmdSN, which rises */
    bool unsure;            /* a task is: again_work runs when ExpCmdSN moves */
    struct loop_work again_work;
    struct task
        *again_ping; /* which asks whether the target waits for again_sn; NULL: none is out */
    uint32_t again_sn;
    bool again_known;   /* what it had to say to that counts */
    uint16_t again_cid; /* where it is asked: where the last one that was lost was cleared */
    struct loop_work ask_work;
    struct loop_timer again_timer;
    struct list clearing;    /* struct conn.clear_node: iscsi/clear.c */
    struct task *clear_task; /* the Logout about clear_conn that is out; NULL: none is */
    struct conn *clear_conn;
    uint32_t clear_silent; /* Logouts in a row that were not answered */
    struct loop_timer clear_timer;
    struct loop_timer stall_timer; /* ping.c: runs while there are several connections */
    uint32_t stall_ended, stall_looks, gap_sn, gap_looks;
    uint64_t gap_ns;
    struct loop_work reassign_work; /* iscsi/reassign.c */
    struct loop_timer reassign_timer;
    bool adrift; /* LOGGED_IN at level 2, and all connections are lost: their tasks wait for one
                    that logs in to the same session, until adrift_timer has run out */
    bool ends;   /* the session is to be recovered, so that it is not set adrift */
    struct loop_timer adrift_timer;
    struct cmdsn_window win;
    struct task *free_tasks; /* a stack: the last one used is the one in the cache */
    uint32_t outstanding;    /* SCSI commands */
    bool want_restart;       /* a command was refused */
    bool dying;
    struct loop_work restart_work, done_work, free_work, eh_work;
    struct list unassigned;       /* struct iscsi_task.node: commands whose connection has ended */
    struct loop_timer fate_timer; /* the first of those may be known to be over */
    struct loop_timer recovery_timer;
    uint64_t blocked_ns;             /* loop clock when the session became BLOCKED */
    int32_t recovery_tmo_s;          /* how long the session may be BLOCKED; 0: it fails at once, or
                                        ISCSI_RECOVERY_TMO_NEVER */
    struct list done;                /* struct scsi_cmd that end without having been sent */
    struct list eh_waiting, eh_done; /* struct scsi_eh_wait */
    struct list eh_lost;   /* the same: of commands that were lost with their connection */
    struct list eh_resets; /* struct scsi_eh_wait: of session resets */
    uint32_t reset_left;   /* commands that were outstanding when a session reset was asked for and
                              have not come back */
    struct scsi_eh_wait *eh_now; /* whose task management request is out */
    uint32_t eh_detained; /* commands that eh_now has ended at the target and that the transport
                             still has */
    struct task *tmf;
    bool tmf_overdue;      /* it was not answered in time */
    bool tmf_spared;       /* it has had its time once more, while what it waits for is repaired */
    uint64_t tmf_asked_ns; /* loop clock when its connection was asked whether it lives; 0: it was
                              not */
    uint32_t tmf_cmdsn;    /* of the request that was answered last: it does not cover commands from
                              this number on */
    /* A marked task is about to be free: task management, which has marked it, is told. */
    void (*marked_ended)(struct session *s, struct task *t);
    struct scsi_eh_wait ask; /* about a task that the target may have ended */
    bool asking, nexus_resetting;
    struct scsi_eh_wait nexus_reset; /* before the connections are dropped */
    struct loop_timer tmf_timer;
    uint32_t abort_timeout_ms, lu_reset_timeout_ms, tgt_reset_timeout_ms;
    uint32_t chunks; /* chunks that cmds_max commands need at most */
    void *chunk[];   /* what pub.tasks.chunk points to: NULL where no chunk is made yet; the
                        transport's part follows */
};

static inline struct session *
to_session(struct iscsi_session *s)
{
    return container_of(s, struct session, pub);
}

static inline struct task *
iscsi_task_at(const struct session *s, uint32_t slot)
{
    return to_task(iscsi_task_in(&s->pub.tasks, slot));
}

/* The state into which a session that was logged in goes when its leading connection is lost. */
static inline enum session_state
iscsi_lost_state(const struct session *s)
{
    return s->recovery_tmo_s != 0 ? ISCSI_STATE_BLOCKED : ISCSI_STATE_FAILED;
}

/* Time2Wait and Time2Retain that are in force for the loss of the connection. */
static inline uint32_t
iscsi_time2wait(const struct conn *c)
{
    return c->times_told ? c->told_time2wait_s : c->session->pub.params.time2wait_s;
}

static inline uint32_t
iscsi_time2retain(const struct conn *c)
{
    return c->times_told ? c->told_time2retain_s : c->session->pub.params.time2retain_s;
}

/* The target keeps the tasks of a connection that is lost, and we can have them again (RFC 7143
 * 7.2.2). */
static inline bool
iscsi_reassigns(const struct session *s)
{
    return s->pub.params.erl >= 2;
}

/* Where c is the last connection of its session and is lost, is the session set adrift?  Else it is
 * recovered. */
static inline bool
iscsi_may_drift(const struct conn *c)
{
    const struct session *s = c->session;

    return s->state == ISCSI_STATE_LOGGED_IN && iscsi_reassigns(s) && !s->ends && !s->dying &&
           !c->logged_out && !c->dying && s->recovery_tmo_s != 0 && iscsi_time2retain(c) > 0;
}

/* Commands and answers take the general path until it has found that all is well again. */
static inline void
iscsi_leave_fast(struct conn *c)
{
    c->rx_fast = false;
    c->session->fast_conn = NULL;
}

/* The midlayer, which was refused a command, is told to try again, later. */
static inline void
iscsi_want_restart(struct session *s)
{
    loop_defer(s->pub.loop, &s->restart_work);
}

/* Frees, later, what is dying and not in use any more: connections, and the session. */
static inline void
iscsi_session_maybe_free(struct session *s)
{
    loop_defer(s->pub.loop, &s->free_work);
}

static inline void
iscsi_conn_queue_xmit(struct conn *c)
{
    loop_defer(c->pub.loop, &c->xmit_work);
}

/* It takes commands. */
static inline bool
iscsi_conn_serves(const struct conn *c)
{
    return c->state == CONN_LOGGED_IN && !c->suspended && !c->dying &&
           c->session->state == ISCSI_STATE_LOGGED_IN;
}

/* May commands of the session take the fast path, to c?  Nothing waits to be sent before them, and
 * c's transport can take them so.  session->fast_conn is only ever set to a connection of which
 * this is true, and is cleared wherever it may become untrue. */
static inline bool
iscsi_tx_fast_ok(const struct session *s, const struct conn *c)
{
    return iscsi_conn_serves(c) && c->pub.tt->gather_room != NULL && c->pub.tt->xmit_fast != NULL &&
           c->xmit_task == NULL && list_empty(&c->mgmtqueue) && list_empty(&c->requeue) &&
           list_empty(&s->cmdqueue) && list_empty(&s->reissue) && s->win.queued == 0;
}

/* The command that is sent next; NULL: none may be sent now.  Those that go again have numbers that
 * the window has let through before. */
static inline struct task *
iscsi_next_command(const struct session *s)
{
    const struct list *from = list_empty(&s->reissue) ? &s->cmdqueue : &s->reissue;

    if (list_empty(from) || (from == &s->cmdqueue && cmdsn_window_closed(&s->win)))
        return NULL;
    return to_task(container_of(from->next, struct iscsi_task, node));
}

/* As far as we have been told, the target does not have the command of a connection that was lost.
 * Where the connection has been logged out since, and the session has heard of ExpCmdSN with the
 * answer, that is certain. */
static inline bool
iscsi_task_unacknowledged(const struct session *s, const struct task *t)
{
    return sn_gte(t->pub.cmd_sn, s->win.exp_cmdsn) && t->pub.in_done == 0 && t->pub.exp_datasn == 0;
}

/* The connection of that number that is not about to go; NULL: there is none. */
static inline struct conn *
iscsi_conn_of_cid(const struct session *s, uint16_t cid)
{
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (c->pub.cid == cid && !c->dying)
            return c;
    }
    return NULL;
}

/* May answers take the fast path?  The connection works, and nobody waits for what the general path
 * does at the end of a command.  conn->rx_fast is only ever set while this is true. */
static inline bool
iscsi_rx_fast_ok(const struct conn *c)
{
    return c->state == CONN_LOGGED_IN && c->statsn.no_gap && !c->suspended && !c->failing &&
           !c->dying && !c->session->dying && !c->session->want_restart && !c->session->unsure;
}

#endif
