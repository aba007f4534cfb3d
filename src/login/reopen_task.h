/* SPDX-License-Identifier: MIT */
/* login/reopen_task.h - the inside of a reopen.
 *
 *   UP       --asked to leave---------> LEAVING
 *   UP       --lost-------------------> STOPPING, or WAITING where nothing is to be stopped
 *   LEAVING  --logged out, or lost----> likewise
 *   STOPPING --stopped----------------> WAITING
 *   WAITING  --due--------------------> QUEUED --passed--> LOGIN
 *   LOGIN    --logged in--------------> UP
 *   LOGIN    --failed-----------------> WAITING, or STOPPING where the data plane still has another
 *                                       connection, which we took for lost
 *   LOGIN    --refused for good-------> ENDING --stopped--> GAVE_UP
 *
 * One timer serves all states (reopen_on_timer).  What needs memory and finds none is tried again
 * after REOPEN_RETRY_MS.  Functions that call the owner back may free r.  Internal to login/; all
 * on the loop's thread.  The files:
 *
 *   reopen_life.c  its life, what the owner asks, and where events go
 *   reopen_try.c   how another connection is made
 *   reopen_lost.c  how a connection ends
 *   members.c      the connections beside the leading one
 *   reopen_task.c  what these three need
 */
#ifndef LOGIN_REOPEN_TASK_H
#define LOGIN_REOPEN_TASK_H

#include "ctl/op.h"
#include "ctl/undo.h"
#include "login/backoff.h"
#include "login/login.h"
#include "login/packed.h"
#include "login/reopen.h"
#include "wire/bhs.h"

#define REOPEN_RETRY_MS 50 /* until what found no memory is tried again */

/* login/members.h says what the states of a member are. */
enum member_state {
    MEMBER_OFF,
    MEMBER_WAITING,
    MEMBER_QUEUED,
    MEMBER_LOGIN,
    MEMBER_UP,
    MEMBER_STOPPING,
};

struct login_member { /* a connection beside the leading one */
    struct iscsi_reopen *reopen;
    enum member_state state;
    uint16_t cid;
    bool made;           /* the data plane knows the connection, which is down unless it is UP */
    bool told;           /* the owner takes it for up */
    bool asking;         /* GET_CONN has no reply yet, */
    uint16_t asked_cid;  /* which was asked of this one, */
    uint32_t ask_wait_s; /* and after which it is tried again so late where it is down */
    uint64_t up_ns;
    uint64_t ep;
    struct ctl_watch watch;
    struct iscsi_login *login; /* NULL, or one that goes on or tidies up */
    struct login_turn turn;
    struct loop_timer timer;
    struct login_backoff backoff;
    uint64_t began_ns, due_ns;
    uint64_t leave_ns;    /* UP: by then the target wants it to be logged out; 0: it does not */
    uint32_t tries;       /* that have failed since it was up */
    struct portal portal; /* where it is logged in or tried, or was last; host "": nowhere yet */
    struct undo *undo;    /* NULL: it does not work */
    int err;              /* why it was lost, or the last login failed: -errno; 0: it is up, or it
                             has not been tried */
    char *why;            /* and a sentence; NULL: no memory for it */
};

struct login_members {
    uint32_t wanted; /* of the session, with the leading one; 0 or 1: it has no members */
    uint32_t n;      /* members that there are places for */
    uint32_t on;     /* of these are to be there: as many as the target takes */
    uint32_t turn;   /* of these have been looked at by members_try_another since the loss */
    uint16_t tsih;
    struct login_member *m; /* NULL: none was ever wanted */
    struct portal *portal;  /* where the leading one is logged in, or was last; host "": not known;
                               NULL where m is */
};

/* What takes a connection out of the data plane.  It is large and seldom needed, so it is made at
 * its time, with a reservation of ctl. */
struct reopen_undo {
    struct undo undo;
    struct iscsi_reopen *reopen;
};

struct iscsi_reopen {
    struct ctl_op op;
    struct ctl *ctl;
    struct loop *loop;
    struct reopen_callbacks cb;
    struct login_packed
        *packed; /* the configuration as it was given; NULL once it has been wiped */
    struct reopen_limits limits;
    struct reopen_limits told; /* those of the login under way: it tells the data plane of them */
    char *target_name;
    struct portal *moved_to; /* where the target has moved for good; NULL: nowhere */
    uint32_t sid;
    uint16_t cid;
    uint32_t reopen_max;
    enum reopen_state state;
    bool freed; /* the owner has let go: only what is on its way is waited for */

    struct loop_timer timer;
    struct loop_work told_work; /* reopen_lost has been called */
    struct ctl_watch watch, session_watch;
    struct login_gate *gate;
    struct login_turn turn;
    struct iscsi_login *login;   /* while WAITING: one that still tidies up */
    struct iscsi_logout *logout; /* likewise */
    struct reopen_undo *undo;    /* NULL: it does not work */
    bool asking;                 /* GET_CONN has no reply yet */
    uint64_t leave_ns; /* of the leading connection, as login_member's; before it is LEAVING */
    struct login_members members;
    /* The target wants a member to be logged out within so many seconds. */
    void (*member_asked)(struct iscsi_reopen *r, struct login_member *m, uint32_t given_s);
    /* An event of a member that is not its loss; data is borrowed. */
    void (*member_event)(struct iscsi_reopen *r, struct login_member *m,
                         const struct iscsi_kevent *ev, const void *data);

    /* of the connection, or of the last one */
    uint64_t ep; /* 0: none, or somebody undoes it already */
    uint64_t up_ns, connect_ns, answer_ns;
    int32_t tpgt;                        /* of the nexus; -1: not told */
    uint32_t time2wait_s, time2retain_s; /* as agreed, or as told since */
    uint32_t erl;                        /* ErrorRecoveryLevel, as agreed */
    uint32_t leave_ms; /* LEAVING: for the Logout; 0: the target ends the connection itself */

    /* of the loss */
    uint64_t lost_ns;
    uint64_t ready_ns;  /* Time2Wait is over */
    uint64_t linger_ns; /* Time2Retain is over, too: nothing of the old nexus runs any more */
    uint64_t due_ns;    /* of the next try */
    uint64_t began_ns;  /* of the last try */
    bool session_down;  /* the data plane has said that it has lost its nexus */
    bool rejoins;       /* the session waits for a connection: the next login is one to it, until
                           linger_ns       or until the target refuses it (docs/design/level2.md) */
    uint32_t attempt, reopens;
    uint32_t refusals;   /* that have counted */
    uint64_t refused_ns; /* when the last of them came */
    bool pinned;         /* this try insists on the nexus' portal group */
    bool elsewhere;      /* it is not at the portal that the session is known by */
    struct login_backoff backoff;
    struct lunette_error why;
};

/* Is nothing of the members on its way any more? */
static inline bool
reopen_members_are_over(const struct login_members *all)
{
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->m[i].undo != NULL || all->m[i].asking || all->m[i].ep != 0)
            return false;
    }
    return true;
}

/* Is a connection there, as far as we know? */
static inline bool
reopen_has_conn(const struct iscsi_reopen *r)
{
    return r->state == REOPEN_UP || r->state == REOPEN_LEAVING;
}

/* ---- reopen_task.c -------------------------------------------------------------------------- */

void reopen_retry_later(struct iscsi_reopen *r);
/* Tells the owner that another connection leads.  May free r. */
void reopen_led(struct iscsi_reopen *r);
/* Tells the owner of one connection of several; see reopen_callbacks.conn. */
void reopen_tell_conn(struct iscsi_reopen *r, uint16_t cid, const struct lunette_error *why);
void reopen_unwatch(struct iscsi_reopen *r);
/* Frees r when the owner has let go, and nothing is on its way any more. */
void reopen_end_if_over(struct iscsi_reopen *r);
/* Waits for due_ns, and in any case for Time2Wait. */
void reopen_wait(struct iscsi_reopen *r);
/* The session is known by the portal `to` from now on. */
void reopen_move(struct iscsi_reopen *r, const struct portal *to);
/* The target has moved for good from a portal, which may be the one that the session is known by:
 * then that is `to` from now on. */
void reopen_moved(struct iscsi_reopen *r, const struct portal *from, const struct portal *to);

/* ---- members.c stands here: login/members.h ---------------------------------------------------
 */

/* ---- reopen_lost.c -------------------------------------------------------------------------- */

/* No login will bring the session back; r->why says why. */
void reopen_give_up(struct iscsi_reopen *r);
/* Takes what is left of the connection out of the data plane.  While ENDING, the data plane is also
 * told that nobody will log in again. */
void reopen_stop(struct iscsi_reopen *r);
void reopen_conn_error(struct iscsi_reopen *r, const struct iscsi_kevent *ev);
void reopen_on_told(struct loop_work *w);
/* Asks whether the connection is there. */
void reopen_ask(struct iscsi_reopen *r);
/* Takes an Asynchronous Message (RFC 7143 11.9.1).  Returns false when it is not about the end of
 * our connection. */
bool reopen_async(struct iscsi_reopen *r, const struct bhs_async *a);
void reopen_log_out(struct iscsi_reopen *r);
/* The target wants us to log out, within so many seconds; 0: nobody knows any more. */
void reopen_leave(struct iscsi_reopen *r, uint32_t given_s);
/* The target has announced the end of the connection, and has not ended it. */
void reopen_not_dropped(struct iscsi_reopen *r);

/* ---- reopen_try.c --------------------------------------------------------------------------- */

void reopen_keep_result(struct iscsi_reopen *r, const struct login_result *res);
/* Tells the data plane of the limits that are not those of the last login, or of all. */
void reopen_tell_limits(struct iscsi_reopen *r, bool all);
/* A login to the session that has lost its last connection will not do, and it is recovered.  May
 * free r. */
void reopen_rejoin_over(struct iscsi_reopen *r);
/* It is time for the next try. */
void reopen_due(struct iscsi_reopen *r);
void reopen_passed(struct login_turn *t);

#endif
