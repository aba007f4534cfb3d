/* SPDX-License-Identifier: MIT */
/* iscsi/conn.h - what the iSCSI layer keeps of a connection: its transport's state, its queues, and
 * StatSN, which counts per connection (RFC 7143 4.2.2.2). */
#ifndef ISCSI_CONN_H
#define ISCSI_CONN_H

#include <stddef.h>

#include "iscsi/conn_fsm.h"
#include "iscsi/statsn.h"
#include "iscsi/task.h"

#define USER_TASKS                                                                                 \
    5 /* requests of the control plane that a connection has at most; one of these                 \
         places is kept for a Logout, which nothing else may keep out */

enum conn_clear {              /* of a connection that was lost while others serve: iscsi/clear.c */
                  CLEAR_NONE,  /* the target needs not be asked about it */
                  CLEAR_DUE,   /* it is to be asked when Time2Wait is over */
                  CLEAR_ASKED, /* the answer has not come */
                  CLEAR_CARRIED, /* the connection that carried the question was lost: it may be
                                    asked yet */
};

struct conn {
    struct iscsi_conn pub;
    struct session *session;
    struct list node; /* session->conns */
    enum conn_state state;
    const char *last_row;
    uint32_t refused_events;
    bool down;       /* not bound: the transport holds nothing of it, no task is left */
    bool suspended;  /* transmits and receives nothing any more */
    bool rx_fast;    /* answers may take the fast path: the general path sets it where
                        iscsi_rx_fast_ok() says so, and whatever may change that clears it */
    bool failing;    /* iscsi_conn_failure was called, fail_work is on its way */
    bool report;     /* conn_error is due */
    bool dying;      /* it is freed once its tasks are gone */
    bool stopping;   /* stop_conn has not ended yet */
    bool logged_out; /* the target has closed it, or the session, as our Logout asked */
    bool leave_hold; /* the target has asked for a logout, which waits for what is under way */
    enum conn_clear clear;
    uint64_t clear_ns;      /* DUE: loop clock when Time2Wait is over */
    struct conn *clear_via; /* CARRIED: by this one, which is itself to be cleared */
    struct list clear_node; /* session->clearing */
    bool carrier;           /* it was lost with a question about another one */
    bool times_told;        /* by the target: */
    uint32_t told_time2wait_s, told_time2retain_s;
    struct task *reassign; /* the TASK REASSIGN that is out on it; NULL: none is */
    uint32_t declared_recv_dlength, declared_xmit_dlength; /* bytes; in force from start on */
    bool want_hdrdgst, want_datadgst;                      /* in force from start on */
    struct list mgmtqueue;   /* struct iscsi_task.node: control PDUs to be sent */
    struct list requeue;     /* tasks that have been asked for data */
    struct task *xmit_task;  /* the transport stopped in the middle of it with -EAGAIN */
    bool full;               /* it has no room for another PDU, and says when it has */
    bool unflushed;          /* PDUs may have been gathered since its last flush */
    uint32_t max_unexpected; /* as the target has declared; 0: no limit */
    bool unexpected_held;    /* a control PDU waits for that, */
    bool mutes_ask;          /* and only the answer to a ping tells that it may go */
    /* NOP-Outs that nobody answers and that the target may not have taken, the CmdSN of the last,
     * and how many of them went before the ping that is out: unexpected.c. */
    uint32_t mutes, mute_cmdsn, mutes_asked;
    uint32_t running;        /* commands that are its own: they have a CmdSN and no answer */
    uint32_t fast_write_max; /* bytes: the largest write whose data goes with the command */
    struct list mends;       /* struct mend.node: snack.c */
    struct loop_timer snack_timer;
    uint32_t unacked_itt;     /* of a command that a ping asks about: resend.c */
    uint64_t status_asked_ns; /* loop clock of the last SNACK for status */
    uint32_t status_asked_to; /* StatSN up to which status was asked for, */
    uint32_t status_forgot;   /* but for what was dropped, as too far ahead, from there on */
    bool status_forgets;      /* something was */
    bool status_unasked;      /* something was not asked for, as all tasks were taken */
    uint32_t status_asks, status_asks_sn; /* how often, while ExpStatSN was that */
    struct statsn_window statsn; /* lags behind pub.exp_statsn while answers come in order */
    /* The target's own pings that came while nothing else was numbered (bends.c): how many, and
     * what ExpStatSN was then. */
    uint32_t pings_in_a_row, pings_statsn;
    uint32_t unserved_sn;   /* where pub.exp_statsn would be if no request had been answered */
    bool started;           /* it was logged in, */
    uint64_t started_ns;    /* since then; loop clock */
    bool flight_of_login;   /* nothing was recorded before its login */
    struct flight_few *few; /* owned: the last PDUs while pub.flight is NULL; NULL: no memory */
    struct loop_work xmit_work, fail_work;
    struct loop_timer leave_timer;     /* leave.c */
    uint32_t leave_given_s;            /* within which the target wants a Logout Request */
    struct loop_timer transport_timer; /* ping.c */
    uint32_t ping_interval_ms, ping_timeout_ms;
    uint64_t ping_early_ns; /* a ping goes out so long before the interval is over; each connection
                               has a number of its own */
    struct task *ping;      /* waits for its answer */
    uint64_t ping_ns;       /* loop clock when it was sent */
    struct iscsi_moved moved;      /* when the timer last asked */
    struct task *user[USER_TASKS]; /* requests of the control plane; NULL: a free place */
    enum iscsi_err err;
    struct lunette_error why; /* of its failure; code 0: none */
    max_align_t dd_data[];    /* the transport's part, which may have any type */
};

static inline struct conn *
to_conn(struct iscsi_conn *c)
{
    return container_of(c, struct conn, pub);
}

/* Our Logout Request is out: nothing new goes on this connection (RFC 7143 11.14). */
static inline bool
iscsi_conn_leaving(const struct conn *c)
{
    return c->state == CONN_IN_LOGOUT || c->state == CONN_FREE;
}

/* What holds for the loss of this connection instead of what was agreed on (RFC 7143 7.5). */
static inline void
iscsi_conn_set_times(struct conn *c, uint32_t time2wait_s, uint32_t time2retain_s)
{
    c->times_told = true;
    c->told_time2wait_s = time2wait_s;
    c->told_time2retain_s = time2retain_s;
}

#endif
