/* SPDX-License-Identifier: MIT */
/* iscsi/session.c - the life of a session. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "iscsi/internal.h"

static void
done_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, done_work);
    struct list now;

    list_init(&now);
    list_splice(&now, &s->done);
    while (!list_empty(&now)) {
        struct scsi_cmd *sc = container_of(list_pop_front(&now), struct scsi_cmd, host_node);

        sc->done(sc);
    }
    if (s->dying)
        iscsi_session_maybe_free(s);
}

static void
restart_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, restart_work);

    if (!s->want_restart)
        return;
    s->want_restart = false;
    if (s->host.ev != NULL && s->host.ev->restart != NULL)
        s->host.ev->restart(s->host.ev_user);
}

static bool
has_tasks(const struct conn *c)
{
    const struct session *s = c->session;

    for (uint32_t slot = 0; slot < s->pub.tasks.made; slot++) {
        const struct task *t = iscsi_task_at(s, slot);

        if (t->pub.state != ISCSI_TASK_FREE && t->pub.conn == &c->pub)
            return true;
    }
    return false;
}

static void
free_work(struct loop_work *w)
{
    struct session *s = container_of(w, struct session, free_work);

    LIST_FOREACH_SAFE (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if ((c->dying || s->dying) && !has_tasks(c) && !c->stopping && c->clear == CLEAR_NONE)
            iscsi_conn_free(c);
    }
    if (!s->dying || !list_empty(&s->conns) || !list_empty(&s->done) || !list_empty(&s->eh_done) ||
        !list_empty(&s->eh_waiting) || !list_empty(&s->eh_resets) || !list_empty(&s->eh_lost))
        return;
    assert(s->outstanding == 0 && list_empty(&s->unassigned));
    TRACE(s->pub.loop, destroy_session, s->pub.sid, 0);
    if (s->host.ev != NULL && s->host.ev->freed != NULL)
        s->host.ev->freed(s->host.ev_user);
    if (s->pub.tt->destroy_session != NULL)
        s->pub.tt->destroy_session(&s->pub);
    loop_timer_stop(s->pub.loop, &s->tmf_timer);
    loop_timer_stop(s->pub.loop, &s->recovery_timer);
    loop_timer_stop(s->pub.loop, &s->fate_timer);
    loop_timer_stop(s->pub.loop, &s->clear_timer);
    loop_timer_stop(s->pub.loop, &s->stall_timer);
    loop_timer_stop(s->pub.loop, &s->reassign_timer);
    loop_timer_stop(s->pub.loop, &s->adrift_timer);
    loop_defer_cancel(&s->reassign_work);
    loop_timer_stop(s->pub.loop, &s->again_timer);
    loop_defer_cancel(&s->again_work);
    loop_defer_cancel(&s->ask_work);
    loop_timer_stop(s->pub.loop, &s->win.shut_timer);
    loop_defer_cancel(&s->restart_work);
    loop_defer_cancel(&s->done_work);
    loop_defer_cancel(&s->eh_work);
    iscsi_free_tasks(s);
    s->ev->freed(s->ev_user, s->pub.sid);
    free(s);
}

/* Bytes of a session with its table of tasks, without the transport's part. */
static size_t
own_bytes(uint32_t chunks)
{
    size_t n = sizeof(struct session) + chunks * sizeof(struct task *);

    return (n + 15) & ~(size_t)15;
}

static void
session_init(struct session *s, struct loop *l, const struct iscsi_transport *tt,
             const struct iscsi_session_config *cfg)
{
    s->pub.tt = tt;
    s->pub.host = cfg->host;
    s->pub.loop = l;
    s->pub.sid = cfg->sid;
    s->pub.dd_data = (char *)s + own_bytes(s->chunks);
    list_init(&s->conns);
    list_init(&s->done);
    list_init(&s->cmdqueue);
    list_init(&s->reissue);
    loop_work_init(&s->done_work, done_work);
    loop_work_init(&s->restart_work, restart_work);
    loop_work_init(&s->free_work, free_work);
    iscsi_window_init(s, cfg->initial_cmdsn);
    iscsi_tmf_init(s);
    iscsi_nexus_init(s);
    iscsi_recovery_init(s);
    iscsi_clear_init(s);
    iscsi_ping_init(s);
    iscsi_reassign_init(s);
    iscsi_again_init(s);
    s->host = (struct scsi_host){
        .ops = iscsi_host_ops_of(l, false),
        .loop = l,
        .can_queue = s->pub.cmds_max,
        .max_cdb_len = SCSI_CDB_MAX,
        .max_sg = ISCSI_HOST_MAX_SG,
        .max_transfer = tt->max_transfer > 0 && tt->max_transfer < ISCSI_HOST_MAX_TRANSFER
                            ? tt->max_transfer
                            : ISCSI_HOST_MAX_TRANSFER,
        .state = SCSI_HOST_BLOCKED,
    };
    (void)snprintf(s->host.name, sizeof(s->host.name), "host%u", cfg->sid);
}

int
iscsi_session_setup(struct loop *l, const struct iscsi_transport *tt,
                    const struct iscsi_session_config *cfg, struct iscsi_session **ret,
                    struct lunette_error *err)
{
    uint32_t cmds_max = cfg->cmds_max > 0 ? cfg->cmds_max : ISCSI_CMDS_MAX_DEFAULT;
    uint32_t chunks = (cmds_max + MGMT_TASKS_MAX + ISCSI_TASK_CHUNK - 1) / ISCSI_TASK_CHUNK;
    struct session *s;
    int r;

    if (cmds_max > ISCSI_CMDS_MAX_LIMIT)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "cmds_max %u: at most %d", cmds_max,
                            ISCSI_CMDS_MAX_LIMIT);
    s = calloc(1, own_bytes(chunks) + tt->session_size);
    if (s == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a session");
    s->pub.cmds_max = cmds_max;
    s->chunks = chunks;
    session_init(s, l, tt, cfg);
    s->ev = cfg->ev;
    s->ev_user = cfg->user;
    TRACE(l, create_session, cfg->sid, 0);
    r = iscsi_alloc_tasks(s);
    if (r == 0 && tt->create_session != NULL)
        r = tt->create_session(&s->pub, err);
    if (r < 0) {
        iscsi_free_tasks(s);
        free(s);
        return r == -ENOMEM ? lunette_fail(err, r, LUNETTE_DOM_OS, ENOMEM, "no memory for tasks")
                            : r;
    }
    *ret = &s->pub;
    return 0;
}

void
iscsi_session_teardown(struct iscsi_session *pub)
{
    struct session *s = to_session(pub);
    struct lunette_error why;

    assert(!s->dying);
    if (s->adrift)
        iscsi_adrift_over(s);
    s->dying = true;
    s->state = ISCSI_STATE_TERMINATE;
    s->fast_conn = NULL;
    LIST_FOREACH (n, &s->conns)
        iscsi_leave_fast(container_of(n, struct conn, node));
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the session was closed");
    iscsi_session_fail(s, &why);
    LIST_FOREACH_SAFE (n, &s->conns) {
        iscsi_conn_stop(&container_of(n, struct conn, node)->pub, STOP_CONN_TERM);
    }
    iscsi_session_maybe_free(s);
}

struct scsi_host *
iscsi_session_host(struct iscsi_session *pub)
{
    return &to_session(pub)->host;
}
