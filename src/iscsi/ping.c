/* SPDX-License-Identifier: MIT */
/* iscsi/ping.c - our pings and the answers to the target's (RFC 7143 11.18, 7.14). */
#include <stdio.h>
#include <string.h>

#include "iscsi/internal.h"

#define PING_SLOTS                                                                                 \
    64               /* wake-ups for pings in an interval, or in the time that an answer may take */
#define PING_EARLY 8 /* a ping goes out at most an eighth of the interval before its end */

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
    h = &t->ctl.nop_out;
    bhs_init(h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    if (answer_to != NULL) {
        h->itt = put32(ISCSI_TAG_RSVD);
        h->ttt = answer_to->ttt;
        memcpy(h->lun, answer_to->lun, sizeof(h->lun));
    } else {
        h->itt = put32(t->pub.itt);
        h->ttt = put32(ISCSI_TAG_RSVD);
        c->ping = t;
    }
    c->pub.stats.noptx_pdus++;
    iscsi_queue_mgmt(t, NULL, 0);
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
