/* SPDX-License-Identifier: MIT */
/* iscsi/nexus.c - the states of a session, and what begins anew with each nexus (RFC 7143 4.2.6).
 *
 * "The connection is lost" is not "the session is lost": docs/design/nexus.md.
 */
#include <assert.h>
#include <stdio.h>

#include "iscsi/internal.h"

static void
tell_host(struct session *s, enum scsi_host_state state, const struct lunette_error *why)
{
    if (s->host.state == state)
        return;
    s->host.state = state;
    s->ev->state(s->ev_user, state, why);
    if (s->host.ev != NULL)
        s->host.ev->state(s->host.ev_user, state, why);
}

void
iscsi_session_new_nexus(struct session *s)
{
    assert(s->state != ISCSI_STATE_LOGGED_IN && s->win.queued == 0 && list_empty(&s->unassigned));
    cmdsn_window_reset(&s->win, s->win.cmdsn); /* the leading Login Request carries this CmdSN */
    loop_timer_stop(s->pub.loop, &s->win.shut_timer);
    s->want_restart = false; /* the midlayer is told when the host runs */
    s->fast_conn = NULL;
    s->ends = false;
    iscsi_tmf_new_nexus(s);
    s->pub.params = (struct iscsi_session_params){
        /* RFC 7143 13: defaults */
        .initial_r2t = true,  .imm_data = true,    .pdu_inorder = true, .dataseq_inorder = true,
        .first_burst = 65536, .max_burst = 262144, .max_r2t = 1,        .max_connections = 1,
        .time2wait_s = 2,     .time2retain_s = 20, .protocol_level = 1,
    };
}

void
iscsi_session_up(struct session *s)
{
    assert(s->leadconn != NULL && s->leadconn->state == CONN_LOGGED_IN);
    if (s->state == ISCSI_STATE_BLOCKED || s->state == ISCSI_STATE_FAILED) {
        TRACE(s->pub.loop, iscsi_unblock_session, s->pub.sid, 0);
    }
    s->state = ISCSI_STATE_LOGGED_IN;
    iscsi_count_serving(s);
    loop_timer_stop(s->pub.loop, &s->recovery_timer);
    iscsi_tmf_session_changed(s);
    tell_host(s, SCSI_HOST_RUNNING, NULL);
}

void
iscsi_session_fail(struct session *s, const struct lunette_error *why)
{
    loop_timer_stop(s->pub.loop, &s->recovery_timer);
    if (s->state != ISCSI_STATE_TERMINATE)
        s->state = ISCSI_STATE_FAILED;
    iscsi_count_serving(s);
    iscsi_tmf_session_changed(s);
    tell_host(s, SCSI_HOST_GONE, why);
}

/* Nobody waits for another login. */
static void
tell_transport(struct session *s)
{
    if (s->pub.tt->session_recovery_timedout != NULL)
        s->pub.tt->session_recovery_timedout(&s->pub);
}

void
iscsi_session_lost(struct session *s, const struct lunette_error *why)
{
    if (s->state == ISCSI_STATE_LOGGED_IN)
        s->state = iscsi_lost_state(s);
    iscsi_count_serving(s);
    if (s->state != ISCSI_STATE_BLOCKED) {
        if (s->host.state == SCSI_HOST_RUNNING)
            tell_transport(s); /* it is not waited for at all */
        iscsi_session_fail(s, why);
        return;
    }
    if (s->host.state == SCSI_HOST_BLOCKED)
        return; /* a login has failed: the time counts from the loss before it */
    s->blocked_ns = s->pub.loop->now_ns;
    tell_host(s, SCSI_HOST_BLOCKED, why);
    iscsi_recovery_tmo_changed(s);
}

void
iscsi_recovery_tmo_changed(struct session *s)
{
    uint64_t waited = s->pub.loop->now_ns - s->blocked_ns, limit;
    bool never = s->recovery_tmo_s == ISCSI_RECOVERY_TMO_NEVER;

    s->host.patience_ns = never ? 0 : (uint64_t)s->recovery_tmo_s * LOOP_NS_PER_S;
    if (s->state != ISCSI_STATE_BLOCKED || s->host.state != SCSI_HOST_BLOCKED)
        return;
    loop_timer_stop(s->pub.loop, &s->recovery_timer);
    if (never)
        return;
    limit = s->host.patience_ns;
    loop_timer_start(s->pub.loop, &s->recovery_timer, limit > waited ? limit - waited : 0);
}

/* Nobody has logged in again in time. */
static void
recovery_timer(struct loop_timer *t)
{
    struct session *s = container_of(t, struct session, recovery_timer);
    struct lunette_error why;

    assert(s->state == ISCSI_STATE_BLOCKED);
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_TIMEOUT, (uint32_t)s->recovery_tmo_s,
                       "the session was not recovered within %d s", s->recovery_tmo_s);
    tell_transport(s);
    iscsi_session_fail(s, &why);
}

void
iscsi_nexus_init(struct session *s)
{
    s->state = ISCSI_STATE_FREE;
    loop_timer_init(&s->recovery_timer, recovery_timer);
}
