/* SPDX-License-Identifier: MIT */
/* iscsi/ping.c - our pings and the answers to the target's (RFC 7143 11.18, 7.14). */
#include <stdio.h>
#include <string.h>

#include "iscsi/internal.h"

#define PING_SLOTS                                                                                 \
    64 /* wake-ups for pings in an interval, or in the time that an answer may take */
#define STALL_LOOK_MS   1000 /* between looks at a session of several connections */
#define STALL_ANSWER_MS 2000 /* for the answer to a ping when nothing is answered */
#define GAP_LOOKS       8    /* in a row, until a number that nobody has ends the session */
#define PING_EARLY      8    /* a ping goes out at most an eighth of the interval before its end */

/* Lets the timers of many connections end together, in slots of time that are small against the
 * limits and the same for all connections that have the same limits.  Ten thousand idle connections
 * cost a few wake-ups per second, and as each pings a little early, by its own amount, not all of
 * them fall into one slot even where all went silent at once. */
static void
ping_timer_start(struct conn *c, uint64_t delay)
{
    uint32_t ms =
        c->ping_timeout_ms < c->ping_interval_ms ? c->ping_timeout_ms : c->ping_interval_ms;
    uint64_t slot = ms * LOOP_NS_PER_MS / PING_SLOTS;
    uint64_t when = c->pub.loop->now_ns + delay;

    if (slot > 0)
        delay += (slot - when % slot) % slot;
    loop_timer_start(c->pub.loop, &c->transport_timer, delay);
}

/* Have bytes moved since the timer last asked, other than by receiving them?  Of a large PDU on a
 * slow link only the first bytes may have been received, since the transport waits for many
 * (SO_RCVLOWAT).  And where more of ours was under way than has been acknowledged, a ping waits
 * behind it: each byte that goes over to the target is a sign of life until it has all of them. */
static bool
bytes_have_moved(struct conn *c)
{
    struct iscsi_moved was = c->moved;

    if (c->pub.tt->get_moved == NULL)
        return false;
    c->pub.tt->get_moved(&c->pub, &c->moved);
    return (c->moved.unread > 0 && c->moved.unread != was.unread) ||
           (was.unacked > 0 && c->moved.acked != was.acked);
}

void
iscsi_ask_unacked(struct conn *c)
{
    if (!iscsi_look_unacked(c) || c->ping != NULL)
        return;
    iscsi_send_nopout(c, NULL);
    c->ping_ns = c->pub.loop->now_ns;
}

/* One coarse timer per connection (RFC 7143 7.14): silence for an interval brings a ping, silence
 * for a timeout after it ends the connection.  Traffic of any kind shows that the target lives. The
 * time for the answer counts from the ping and not from the last traffic, since the program may not
 * have run the loop for a while. */
void
iscsi_transport_timer(struct loop_timer *timer)
{
    struct conn *c = container_of(timer, struct conn, transport_timer);
    uint64_t now = c->pub.loop->now_ns;
    uint64_t interval = c->ping_interval_ms * LOOP_NS_PER_MS - c->ping_early_ns;
    uint64_t limit = c->ping_timeout_ms * LOOP_NS_PER_MS;
    uint64_t idle, dead_at, next;

    if (c->suspended || (c->state != CONN_LOGGED_IN && c->state != CONN_LOGOUT_REQUESTED))
        return;
    if (c->mutes_ask && c->ping == NULL) {
        iscsi_send_nopout(c, NULL);
        c->ping_ns = now;
    }
    c->mutes_ask = false;
    if (c->ping_interval_ms == 0)
        return;
    if (now - c->pub.last_recv_ns >= interval && bytes_have_moved(c))
        c->pub.last_recv_ns = now;
    idle = now - c->pub.last_recv_ns;
    dead_at = c->pub.last_recv_ns + interval + limit;
    if (dead_at < c->ping_ns + limit)
        dead_at = c->ping_ns + limit;
    if (c->ping != NULL && now >= dead_at) {
        char why[96];

        (void)snprintf(why, sizeof(why),
                       "no answer to a ping for %u ms, nothing received for %llu ms",
                       c->ping_timeout_ms, (unsigned long long)(idle / LOOP_NS_PER_MS));
        iscsi_conn_failure(&c->pub, ISCSI_ERR_NOP_TIMEDOUT, why);
        return;
    }
    iscsi_ask_unacked(c);
    if (idle >= interval) {
        if (c->ping == NULL) {
            iscsi_send_nopout(c, NULL);
            c->ping_ns = now;
            dead_at = now + limit;
        }
        next = dead_at - now;
    } else {
        next = interval - idle;
    }
    ping_timer_start(c, next);
}

/* Sends the NOP-Out t, which wants an answer. */
static void
queue_ping(struct task *t, uint8_t immediate)
{
    struct bhs_nop_out *h = &t->ctl.nop_out;

    bhs_init(h, (uint8_t)(ISCSI_OP_NOP_OUT | immediate), ISCSI_FLAG_FINAL);
    h->itt = put32(t->pub.itt);
    h->ttt = put32(ISCSI_TAG_RSVD);
    iscsi_queue_mgmt(t, NULL, 0);
}

/* Sends a ping of ours (answer_to NULL), or the answer to the target's (RFC 7143 11.18). */
void
iscsi_send_nopout(struct conn *c, const struct bhs_nop_in *answer_to)
{
    enum task_kind kind = answer_to != NULL ? TASK_NOP_REPLY : TASK_PING;
    struct task *t = iscsi_alloc_task(c->session, c, kind);
    struct bhs_nop_out *h;

    if (t == NULL && answer_to != NULL) { /* a flood: sending what waits frees its tasks */
        iscsi_xmitworker(c);
        t = iscsi_alloc_task(c->session, c, kind);
        if (t == NULL)
            iscsi_conn_failure(&c->pub, ISCSI_ERR_PROTO,
                               "the target sends more pings than it takes answers");
    }
    if (t == NULL)
        return;
    if (answer_to == NULL) {
        c->ping = t;
        queue_ping(t, ISCSI_OP_IMMEDIATE);
        return;
    }
    h = &t->ctl.nop_out;
    bhs_init(h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h->itt = put32(ISCSI_TAG_RSVD);
    h->ttt = answer_to->ttt;
    memcpy(h->lun, answer_to->lun, sizeof(h->lun));
    iscsi_queue_mgmt(t, NULL, 0);
}

/* Asks what number the target waits for, for iscsi/again.c, which does not wait for the answer for
 * ever, nor where there is no task for the ping; or takes it, where that is known. */
static void
ask_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, ask_work);
    struct conn *c = iscsi_conn_of_cid(s, s->again_cid);

    if (s->again_known) {
        iscsi_fill_gap(s);
        return;
    }
    if (c == NULL || !iscsi_conn_serves(c))
        c = iscsi_live_conn(s);
    if (c == NULL || s->again_ping != NULL ||
        (s->again_ping = iscsi_alloc_task(s, c, TASK_PING)) == NULL)
        return;
    queue_ping(s->again_ping, ISCSI_OP_IMMEDIATE);
}

/* ---- one connection of several holds all of them up ------------------------------------------ */

/* Commands that have come back, counted round. */
static uint32_t
ended_commands(const struct session *s)
{
    return s->win.cmdsn + s->win.queued - s->outstanding;
}

/* The connection has been pinged for that long, and nothing has come or moved since. */
static bool
is_stuck(struct conn *c)
{
    uint64_t limit = c->ping_timeout_ms < STALL_ANSWER_MS ? c->ping_timeout_ms : STALL_ANSWER_MS;

    return c->ping != NULL && c->pub.last_recv_ns <= c->ping_ns &&
           c->pub.loop->now_ns - c->ping_ns >= limit * LOOP_NS_PER_MS && !bytes_have_moved(c);
}

void
iscsi_fill_gap(struct session *s)
{
    struct conn *via = iscsi_live_conn(s);
    struct task *t;

    if (via == NULL || !iscsi_has_gap(s) || (t = iscsi_alloc_task(s, via, TASK_PING)) == NULL)
        return;
    t->pub.cmd_sn = s->win.exp_cmdsn;
    t->numbered = true;
    queue_ping(t, 0);
}

/* What we know of ExpCmdSN may be old, as answers on the fast path do not look at it: it is asked
 * for by a ping.  A gap is one that is there when that has been answered. */
static void
look_for_gap(struct session *s)
{
    struct conn *c = iscsi_live_conn(s);

    if (!iscsi_has_gap(s) || s->win.exp_cmdsn != s->gap_sn || c == NULL) {
        s->gap_sn = s->win.exp_cmdsn;
        s->gap_looks = 0;
        s->gap_ns = s->pub.loop->now_ns;
        return;
    }
    if (c->ping == NULL && c->ping_ns >= s->gap_ns && s->gap_looks++ > 0)
        iscsi_fill_gap(s);
    if (s->gap_looks > GAP_LOOKS) {
        iscsi_session_failure(s, ISCSI_ERR_WINDOW,
                              "the target waits for a command number that no command has");
        return;
    }
    if (c->ping == NULL) {
        iscsi_send_nopout(c, NULL);
        c->ping_ns = s->pub.loop->now_ns;
    }
}

/* Nothing is answered on any connection, though commands are under way: one of them may hold a
 * number that the others wait for, in a socket that the target does not read or that leads nowhere.
 * Each is pinged, and one that says nothing while another one answers is given up for it. */
static void
look_for_stuck(struct session *s)
{
    bool heard = false;

    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (!iscsi_conn_serves(c) || c->ping_interval_ms == 0)
            continue;
        heard |= s->pub.loop->now_ns - c->pub.last_recv_ns < STALL_ANSWER_MS * LOOP_NS_PER_MS;
        (void)iscsi_look_unacked(c); /* the ping is sent in any case */
        if (c->ping == NULL) {
            iscsi_send_nopout(c, NULL);
            c->ping_ns = s->pub.loop->now_ns;
        }
    }
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (heard && iscsi_conn_serves(c) && is_stuck(c))
            iscsi_conn_failure(&c->pub, ISCSI_ERR_NOP_TIMEDOUT,
                               "it does not answer a ping while other connections do, and may hold "
                               "up the session");
    }
}

static void
stall_timer(struct loop_timer *timer)
{
    struct session *s = container_of(timer, struct session, stall_timer);
    uint32_t ended = ended_commands(s);

    if (s->state != ISCSI_STATE_LOGGED_IN ||
        (s->nserving < 2 && list_empty(&s->unassigned) && s->gap_looks == 0))
        return;
    loop_timer_start(s->pub.loop, timer, STALL_LOOK_MS * LOOP_NS_PER_MS);
    look_for_gap(s);
    if (s->outstanding == 0 || ended != s->stall_ended) {
        s->stall_ended = ended;
        s->stall_looks = 0;
        return;
    }
    if (++s->stall_looks < 2) /* less than the time between two looks */
        return;
    look_for_stuck(s);
}

void
iscsi_stall_start(struct session *s)
{
    if (s->nserving < 2 || loop_timer_running(&s->stall_timer))
        return;
    s->stall_ended = ended_commands(s);
    s->stall_looks = 0;
    loop_timer_start(s->pub.loop, &s->stall_timer, STALL_LOOK_MS * LOOP_NS_PER_MS);
}

void
iscsi_ping_init(struct session *s)
{
    loop_timer_init(&s->stall_timer, stall_timer);
    loop_work_init(&s->ask_work, ask_work);
}

void
iscsi_ping_start(struct conn *c)
{
    uint64_t interval = c->ping_interval_ms * LOOP_NS_PER_MS;

    loop_timer_stop(c->pub.loop, &c->transport_timer);
    if (interval == 0)
        return;
    c->ping_early_ns = loop_random(c->pub.loop) % (interval / PING_EARLY + 1);
    ping_timer_start(c, c->ping != NULL ? 0 : interval - c->ping_early_ns);
}
