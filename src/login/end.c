/* SPDX-License-Identifier: MIT */
/* login/end.c - how an attempt to log in ends, and what comes after it: another portal, another try
 * later, or the report to the owner. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "login/task.h"
#include "wire/bhs.h"

/* ---- a working state ends ------------------------------------------------------------------ */

/* The attempt is over, with l->err as the reason or with another attempt to follow (l->after).
 * Waits for the replies that are still due. */
void
login_drain(struct iscsi_login *l)
{
    assert(login_is(l, LOGIN_IS_WORKING));
    login_connect_stop(l);
    for (; l->nheld > 0; l->nheld--)
        free(l->held[l->nheld - 1].data);
    loop_timer_start(l->loop, &l->step, l->cfg.teardown_timeout_ms * LOOP_NS_PER_MS);
    if (l->pending == 0)
        login_post(l, LOGIN_EV_REPLIED);
}

/* A time limit is over in a state.  That there is no connection, and that there is one and no
 * answer over it, are different faults, with exit codes of their own in tools. */
static void
login_timed_out(struct iscsi_login *l, enum login_state in, uint32_t limit_ms)
{
    bool connecting = in == LOGIN_RESOLVE || in == LOGIN_CONNECT;
    char where[PORTAL_TEXT_MAX];

    l->err.code = 0;
    (void)lunette_fail(&l->err, -ETIMEDOUT, connecting ? LUNETTE_DOM_CONNECT : LUNETTE_DOM_TIMEOUT,
                       connecting ? ETIMEDOUT : limit_ms, "login to %s timed out after %u ms: %s",
                       portal_format(&l->portal, where, sizeof(where)), limit_ms,
                       fsm_state(&login_fsm, in)->text);
    login_drain(l);
}

void
login_expired(struct iscsi_login *l, enum login_state from, enum login_state to)
{
    assert(to == LOGIN_DRAIN);
    login_timed_out(l, from, l->cfg.login_timeout_ms);
}

/* The portal has taken the connection, and says nothing. */
void
login_unanswered(struct iscsi_login *l)
{
    login_timed_out(l, LOGIN_LOGIN, l->answer_limit_ms);
    if (l->cfg.kind == LOGIN_NEW)
        (void)login_pass_over(l);
}

void
login_canceled(struct iscsi_login *l)
{
    loop_defer_cancel(&l->begin);
    l->after = LOGIN_AFTER_GIVE_UP;
    (void)lunette_fail(&l->err, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the login was canceled");
    login_drain(l);
}

/* The target has moved, for now or for good (RFC 7143 11.13.5, class 1).  Goes on with the first of
 * its addresses that has not been tried in this login, so that targets that refer to each other do
 * not send us in a circle. */
void
login_redirect(struct iscsi_login *l)
{
    const struct portal *to = NULL;
    char buf[PORTAL_TEXT_MAX];

    for (uint32_t i = 0; to == NULL && i < l->nego.naddresses; i++) {
        portal_take_scope(&l->nego.addresses[i], &l->portal); /* it is on the link of this portal */
        if (!login_was_there(l, &l->nego.addresses[i]))
            to = &l->nego.addresses[i];
    }
    if (to == NULL) {
        (void)lunette_fail(&l->err, -ELOOP, LUNETTE_DOM_LOGIN, l->status,
                           "the target redirects in a circle: %s sends us back to where we came "
                           "from",
                           portal_format(&l->portal, buf, sizeof(buf)));
    } else if (l->redirects >= l->cfg.max_redirects) {
        (void)lunette_fail(&l->err, -ELOOP, LUNETTE_DOM_LOGIN, l->status,
                           "the target redirects again and again: %s is not followed after %u hops",
                           portal_format(to, buf, sizeof(buf)), l->redirects);
    } else {
        bool from_base = portal_same(&l->portal, &l->base);

        l->redirects++;
        l->portal = *to;
        if (l->status == ISCSI_LOGIN_MOVED_PERMANENTLY && from_base)
            l->base = *to;
        l->after = LOGIN_AFTER_AGAIN;
    }
    login_drain(l);
}

/* The target cannot serve us now (Status-Class 3); l->err has its reason. */
void
login_retry(struct iscsi_login *l)
{
    if (l->retries < l->cfg.max_retries) {
        l->retries++;
        l->after = LOGIN_AFTER_DELAY;
    }
    login_drain(l);
}

/* The target has refused the login, or has closed the connection while it owed a response.  Where
 * another way to log in may suit it, the same portal is tried once more. */
void
login_refused(struct iscsi_login *l)
{
    enum wire_bend bend = nego_other_way(&l->nego, l->status, &l->cfg);

    if (bend != BEND_COUNT) {
        assert(l->err.code < 0 && l->nvisited > 0);
        log_line(l->loop->log, LOG_LEVEL_INFO, "login: %s; trying once more, in case the target %s",
                 l->err.msg, bend_text(bend));
        l->bends |= UINT32_C(1) << bend;
        l->nvisited--;
        l->after = LOGIN_AFTER_AGAIN;
    }
    login_drain(l);
}

/* ---- the data plane is tidied up ------------------------------------------------------------ */

/* The owner has canceled while an attempt is being undone already. */
void
login_canceled_late(struct iscsi_login *l)
{
    l->after = LOGIN_AFTER_GIVE_UP;
    (void)lunette_fail(&l->err, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the login was canceled");
}

/* The time for the login is over while an attempt is being undone, so no other attempt follows it.
 */
void
login_no_more_tries(struct iscsi_login *l)
{
    if (l->after == LOGIN_AFTER_GIVE_UP)
        return;
    l->after = LOGIN_AFTER_GIVE_UP;
    if (l->err.code == 0)
        (void)lunette_fail(&l->err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, l->cfg.login_timeout_ms,
                           "the login ended while it followed a redirection");
}

static void
login_undone(struct undo *u)
{
    struct iscsi_login *l = container_of(u, struct iscsi_login, undo);

    ctl_watch_del(&l->watch);
    if (l->cfg.kind == LOGIN_NEW)
        l->have_session = false;
    if (!l->conn_stays)
        l->have_conn = false;
    l->bound = false;
    l->ep = 0;
    nego_fini(&l->nego);
    loop_timer_stop(l->loop, &l->step);
    login_post(l, l->after == LOGIN_AFTER_AGAIN   ? LOGIN_EV_AGAIN
                  : l->after == LOGIN_AFTER_DELAY ? LOGIN_EV_DELAY
                                                  : LOGIN_EV_GIVE_UP);
}

/* All replies are there, so it is known what the attempt has made; undoes it. */
void
login_teardown(struct iscsi_login *l)
{
    assert(l->pending == 0);
    l->undo = (struct undo){
        .ctl = l->ctl,
        .sid = l->sid,
        .conns = {{.cid = l->cfg.cid,
                   .ep = l->ep,
                   .stop = l->bound,
                   .destroy = l->have_conn && !l->conn_stays}},
        .nconns = 1,
        .how = l->cfg.kind == LOGIN_NEW ? STOP_CONN_TERM : STOP_CONN_RECOVER,
        .destroy_session = l->have_session && l->cfg.kind == LOGIN_NEW,
        .done = login_undone,
    };
    undo_start(&l->undo);
}

void
login_wait_for_retry(struct iscsi_login *l)
{
    uint32_t shift = l->retries > 6 ? 6 : l->retries - 1;

    assert(l->retries > 0);
    l->after = LOGIN_AFTER_GIVE_UP;
    l->portal = l->base; /* a temporary move holds for one attempt only */
    l->nvisited = 0;
    l->ngroup_tried = 0;
    loop_timer_start(l->loop, &l->step,
                     ((uint64_t)l->cfg.retry_delay_ms << shift) * LOOP_NS_PER_MS);
}

/* ---- the owner is told ---------------------------------------------------------------------- */

static void
login_tell_failure(struct iscsi_login *l)
{
    struct lunette_error err = l->err;

    assert(err.code < 0);
    l->cb.done(l->cb.user, NULL, &err);
}

/* The data plane has not undone the attempt in time.  Tells the owner now, who need not wait for
 * it; the undoing goes on. */
void
login_report_untidy(struct iscsi_login *l, enum login_state from, enum login_state to)
{
    assert(from == to);
    login_no_more_tries(l);
    log_line(l->loop->log, LOG_LEVEL_WARN, "login: %s for %u ms", fsm_state(&login_fsm, from)->text,
             l->cfg.teardown_timeout_ms);
    loop_timer_stop(l->loop, &l->deadline);
    if (ctl_op_tell(&l->op))
        login_tell_failure(l);
}

void
login_report(struct iscsi_login *l)
{
    bool tell = ctl_op_tell(&l->op);

    login_config_wipe(&l->cfg);
    loop_timer_stop(l->loop, &l->deadline);
    loop_timer_stop(l->loop, &l->step);
    ctl_op_end(&l->op);
    if (tell)
        login_tell_failure(l);
}
