/* SPDX-License-Identifier: MIT */
/* iscsi/internal.h - the layer's own view of sessions, connections and tasks.
 *
 * ITT = generation (16 bits) | queue (4) | slot (12).  The generation changes
 * with each use of a slot, so that a late PDU hits no newer task; it is never
 * ffff, so that no tag is the reserved one (RFC 7143 11.2.1.8).
 */
#ifndef ISCSI_INTERNAL_H
#define ISCSI_INTERNAL_H

#include <assert.h>
#include <errno.h>

#include "iscsi/conn_fsm.h"
#include "iscsi/iscsi.h"

#define MGMT_TASKS 8  /* tasks kept for NOPs, task management and the control plane */
#define ENDED_TAGS 16 /* tags of aborted tasks whose late PDUs are dropped (4.2.3.3) */
#define GEN_LIMIT  0xffffu

enum session_state { /* Linux's ISCSI_STATE_ */
                     ISCSI_STATE_FREE,
                     ISCSI_STATE_LOGGED_IN,
                     ISCSI_STATE_FAILED,
                     ISCSI_STATE_TERMINATE,
};

enum task_kind { TASK_SCSI, TASK_PING, TASK_NOP_REPLY, TASK_TMF, TASK_USER };

struct task {
    struct iscsi_task pub;
    enum task_kind kind;
    union { /* how it goes, and why its end is not plain: one look */
        struct {
            bool started;   /* init_task was called: cleanup_task is due */
            bool marked;    /* swept or eh are, or were, set */
            bool xmit_fast; /* xmit_fast took it: cleanup_task is due while its data leaves */
        };
        uint16_t special; /* started, marked */
        uint32_t ways;    /* all of them */
    };
    bool swept;              /* the function under way waits for it */
    uint64_t asked_ns;       /* when the midlayer last asked whether it moves */
    struct scsi_eh_wait *eh; /* an abort is under way */
    struct task *next_free;
    uint32_t slot;
    union bhs_any ctl; /* control PDUs: the header to send */
    void *user_data;   /* TASK_USER: copy of the data segment, freed with the task */
};

struct session {
    struct iscsi_session pub;
    struct scsi_host host;
    const struct iscsi_session_events *ev;
    void *ev_user;
    enum session_state state;
    struct list conns; /* struct conn */
    struct conn *leadconn;
    struct conn
        *fast_conn;     /* commands may go to its transport at once: nothing waits before them */
    uint32_t cmdsn;     /* next to assign */
    uint32_t queued;    /* commands on cmdqueues, without CmdSN yet */
    uint32_t max_cmdsn; /* the last that the target takes */
    struct task *free_tasks; /* a stack: the last one used is the one in the cache */
    uint32_t outstanding;    /* SCSI commands */
    bool want_restart;       /* a command was refused */
    bool window_wanted;      /* something waits for MaxCmdSN to grow */
    bool dying;
    struct loop_work restart_work, done_work, free_work, eh_work;
    struct list done;                /* struct scsi_cmd that end without having been sent */
    struct list eh_waiting, eh_done; /* struct scsi_eh_wait */
    struct scsi_eh_wait *eh_now;     /* whose task management request is out */
    uint32_t eh_detained;            /* it was answered; that many commands have not come back */
    struct task *tmf;
    uint32_t tmf_cmdsn; /* of the request answered last: what came later is not covered */
    uint32_t ended[ENDED_TAGS], nended; /* a ring; nended counts on */
    struct loop_timer tmf_timer, shut_timer;
    uint32_t abort_timeout_ms, lu_reset_timeout_ms, tgt_reset_timeout_ms;
    struct lunette_error why; /* of the failure that ended it */
    uint32_t chunks;          /* that cmds_max may need */
    void *chunk[];            /* pub.tasks: NULL from made on; the transport's part follows */
};

struct conn {
    struct iscsi_conn pub;
    struct session *session;
    struct list node; /* session->conns */
    enum conn_state state;
    const char *last_row;
    uint32_t refused_events;
    bool first_rsp_seen; /* StatSN of this connection is known */
    bool down;           /* not bound: the transport holds nothing of it, no task is left */
    bool suspended;      /* transmits and receives nothing any more */
    bool rx_fast;        /* logged in, StatSN known, nothing suspended, dying or traced, no refusal:
                          answers may take the short way; set and cleared with those */
    bool failing;        /* conn_failure was called, fail_work is on its way */
    bool report;         /* conn_error is due */
    bool dying;
    bool stopping;                                         /* stop_conn has not ended yet */
    uint32_t declared_recv_dlength, declared_xmit_dlength; /* in force from start on */
    bool want_hdrdgst, want_datadgst;
    struct list mgmtqueue, requeue, cmdqueue; /* struct iscsi_task.node */
    struct task *xmit_task;                   /* stopped in the middle by -EAGAIN */
    uint32_t fast_write_max;                  /* largest write whose data goes with the command */
    struct loop_work xmit_work, fail_work;
    struct loop_timer transport_timer;
    uint32_t ping_interval_ms, ping_timeout_ms;
    uint64_t ping_early_ns; /* that much before the interval is over: connections differ */
    struct task *ping;
    uint64_t ping_ns;   /* loop clock when it was sent */
    struct task *user;  /* the control plane's request; its ITT stays through a login */
    bool user_answered; /* the next request of the control plane may use it again */
    enum iscsi_err err;
    struct lunette_error why;
};

static inline struct session *
to_session(struct iscsi_session *s)
{
    return container_of(s, struct session, pub);
}

static inline struct conn *
to_conn(struct iscsi_conn *c)
{
    return container_of(c, struct conn, pub);
}

/* Something is not as usual: commands and answers take the long way until it has found that all is
 * well again. */
static inline void
iscsi_leave_fast(struct conn *c)
{
    c->rx_fast = false;
    c->session->fast_conn = NULL;
}

/* Our Logout Request is out: nothing new goes on this connection (RFC 7143 11.14). */
static inline bool
iscsi_conn_leaving(const struct conn *c)
{
    return c->state == CONN_IN_LOGOUT || c->state == CONN_FREE;
}

static inline struct task *
to_task(struct iscsi_task *t)
{
    return container_of(t, struct task, pub);
}

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

/* task.c */
int iscsi_alloc_tasks(struct session *s);

/* The next generation of the slot. */
static inline uint32_t
next_itt(const struct task *t)
{
    uint32_t itt = t->pub.itt + (1u << 16);

    return itt < GEN_LIMIT << 16 ? itt : t->slot;
}

/* The free task on top.  What the end of a task leaves as it was is not set again: data, user_data,
 * unsol, eh, swept and marked. */
static inline struct task *
task_take(struct session *s, struct conn *c, enum task_kind kind)
{
    struct task *t = s->free_tasks;

    s->free_tasks = t->next_free;
    t->pub.itt = next_itt(t);
    t->pub.conn = &c->pub;
    t->pub.state = ISCSI_TASK_PENDING;
    t->pub.exp_datasn = 0;
    t->pub.in_done = t->pub.out_done = 0;
    t->pub.imm_count = 0;
    t->pub.moved_ns = t->asked_ns = c->pub.loop->now_ns;
    t->kind = kind;
    t->ways = 0;
    if (kind == TASK_SCSI)
        s->outstanding++;
    else
        t->pub.sc = NULL;
    return t;
}

/* A task, PENDING; NULL: all are taken, or no memory. */
static inline struct task *
task_alloc(struct session *s, struct conn *c, enum task_kind kind)
{
    if (kind == TASK_SCSI && s->outstanding >= s->pub.cmds_max)
        return NULL;
    if (s->free_tasks == NULL && iscsi_alloc_tasks(s) < 0)
        return NULL;
    assert(s->free_tasks->pub.state == ISCSI_TASK_FREE);
    return task_take(s, c, kind);
}

/* The task is over: lets the transport go, then finishes it (later, where the transport needs
 * time). */
void iscsi_complete_task(struct task *t);
/* Ends a task after the transport has let go: gives the slot back and tells whoever waited.  The
 * last use of t. */
void iscsi_finish_task(struct task *t);

/* The end of a SCSI command that was sent, on a plain connection: what iscsi_complete_task does,
 * for the case that it is. */
static inline __attribute__((always_inline)) void
complete_task_fast(struct session *s, struct conn *c, struct task *t)
{
    struct scsi_cmd *sc = t->pub.sc;

    assert(t->pub.state == ISCSI_TASK_RUNNING);
    if (__builtin_expect(t->special != 0 || (t->xmit_fast && c->pub.gather.end != NULL), 0)) {
        iscsi_complete_task(t);
        return;
    }
    s->outstanding--;
    t->pub.state = ISCSI_TASK_FREE;
    t->next_free = s->free_tasks;
    s->free_tasks = t;
    sc->host_priv = NULL;
    sc->done(sc);
}
/* The same where the transport has been asked to let go and needs time. */
void iscsi_task_detained(struct task *t);
struct iscsi_task *iscsi_itt_to_task(struct iscsi_conn *c, struct be32 itt);

static inline struct task *
iscsi_task_at(const struct session *s, uint32_t slot)
{
    return to_task(iscsi_task_in(&s->pub.tasks, slot));
}

static inline struct task *
task_of_itt(const struct conn *c, struct be32 itt)
{
    struct iscsi_task *t = iscsi_task_of(&c->pub, itt);

    return t != NULL ? to_task(t) : NULL;
}
void iscsi_task_cleaned(struct iscsi_task *t);
bool iscsi_itt_ended(struct iscsi_conn *c, struct be32 itt);
void iscsi_free_tasks(struct session *s);

/* xmit.c */
extern const struct scsi_host_ops iscsi_host_ops;
void iscsi_xmitworker(struct conn *c);
void iscsi_queue_xmit(struct iscsi_conn *c);
void iscsi_requeue_task(struct iscsi_task *t);
/* Queues a control task whose header is in t->ctl. */
void iscsi_queue_mgmt(struct task *t, const void *data, uint32_t len);
void iscsi_done_later(struct session *s, struct scsi_cmd *sc, enum scsi_host_result r);

/* complete.c */
int iscsi_complete_pdu(struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len);
void iscsi_complete_data_in(struct iscsi_task *t, const struct bhs_data_in *h);
void iscsi_complete_scsi_rsp(struct iscsi_conn *c, const struct bhs_scsi_rsp *h);
void iscsi_want_restart(struct session *s);

/* tmf.c */
void iscsi_tmf_init(struct session *s);
void iscsi_eh_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w);
void iscsi_eh_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w);
void iscsi_eh_target_reset(struct scsi_host *h, struct scsi_eh_wait *w);
void iscsi_eh_session_reset(struct scsi_host *h, struct scsi_eh_wait *w);
void iscsi_tmf_rsp(struct conn *c, struct task *t, const struct bhs_tmf_rsp *h);
/* All waiting and pending requests fail: the session is down. */
void iscsi_tmf_fail_all(struct session *s);
/* The command of an abort ended by itself. */
void iscsi_tmf_task_gone(struct task *t);
/* A command that a function waits for is back. */
void iscsi_tmf_task_back(struct session *s, struct task *t);

/* ping.c */
void iscsi_ping_start(struct conn *c);
void iscsi_send_nopout(struct conn *c, const struct bhs_nop_in *answer_to);
void iscsi_transport_timer(struct loop_timer *timer);

/* window.c */
bool iscsi_cmdsn_window_closed(const struct session *s);
void iscsi_window_update(struct session *s, struct be32 exp_cmdsn, struct be32 max_cmdsn);
void iscsi_update_cmdsn(struct iscsi_conn *c, struct be32 exp_cmdsn, struct be32 max_cmdsn);
void iscsi_window_shut(struct loop_timer *t);

/* conn_fsm.c */
void conn_event(struct conn *c, enum conn_event ev);

/* failure.c */
void iscsi_conn_failure(struct iscsi_conn *c, enum iscsi_err err, const char *why);

/* recovery.c */
void iscsi_host_state(struct session *s, enum scsi_host_state state,
                      const struct lunette_error *why);
void iscsi_conn_stopped(struct iscsi_conn *c);
void iscsi_fail_work(struct loop_work *w);

/* conn.c */
void iscsi_conn_free(struct conn *c);

/* session.c */
void iscsi_session_maybe_free(struct session *s);

#endif
