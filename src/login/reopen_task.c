/* SPDX-License-Identifier: MIT */
/* login/reopen_task.c - what all parts of a reopen need. */
#include "login/reopen_task.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "login/task.h"

void
reopen_retry_later(struct iscsi_reopen *r)
{
    loop_timer_start(r->loop, &r->timer, REOPEN_RETRY_MS * LOOP_NS_PER_MS);
}

void
reopen_led(struct iscsi_reopen *r)
{
    if (r->cb.led != NULL)
        r->cb.led(r->cb.user, r->cid);
}

void
reopen_tell_conn(struct iscsi_reopen *r, uint16_t cid, const struct lunette_error *why)
{
    if (r->cb.conn != NULL && !r->freed)
        r->cb.conn(r->cb.user, cid, why);
}

void
reopen_unwatch(struct iscsi_reopen *r)
{
    ctl_watch_del(&r->watch);
    ctl_watch_del(&r->session_watch);
}

void
reopen_end_if_over(struct iscsi_reopen *r)
{
    if (r->freed && r->undo == NULL && !r->asking && reopen_members_are_over(&r->members))
        ctl_op_end(&r->op);
}

void
reopen_wait(struct iscsi_reopen *r)
{
    uint64_t now = r->loop->now_ns, delay;
    struct lunette_error why = r->why;

    if (r->due_ns < r->ready_ns)
        r->due_ns = r->ready_ns;
    delay = r->due_ns > now ? r->due_ns - now : 0;
    r->state = REOPEN_WAITING;
    r->attempt++;
    loop_timer_start(r->loop, &r->timer, delay);
    if (r->cb.waiting != NULL && !r->rejoins)
        r->cb.waiting(r->cb.user, r->attempt,
                      (uint32_t)((delay + LOOP_NS_PER_MS - 1) / LOOP_NS_PER_MS), &why);
}

void
reopen_get_config(const struct iscsi_reopen *r, struct login_config *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (r->packed != NULL)
        login_unpack(r->packed, ret);
    if (r->moved_to != NULL)
        ret->portal = *r->moved_to;
    ret->kind = LOGIN_REOPEN;
    ret->sid = r->sid;
    ret->cid = r->cid;
    ret->max_retries = 0;
    ret->login_timeout_ms = r->limits.login_timeout_ms;
    ret->ping_interval_ms = r->limits.ping_interval_ms;
    ret->ping_timeout_ms = r->limits.ping_timeout_ms;
    ret->replacement_timeout_s = r->limits.replacement_timeout_s;
}

/* Without memory for it the target has to send us on again. */
void
reopen_move(struct iscsi_reopen *r, const struct portal *to)
{
    if (r->moved_to == NULL)
        r->moved_to = malloc(sizeof(*r->moved_to));
    if (r->moved_to != NULL)
        *r->moved_to = *to;
}

void
reopen_moved(struct iscsi_reopen *r, const struct portal *from, const struct portal *to)
{
    struct login_config cfg;

    reopen_get_config(r, &cfg);
    if (portal_same(&cfg.portal, from))
        reopen_move(r, to);
    login_config_wipe(&cfg);
}
