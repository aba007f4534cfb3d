/* SPDX-License-Identifier: MIT */
/* engine/logins.c - all sessions of one loop of an engine, and the data plane below them. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dataplane.h"
#include "engine/login_priv.h"
#include "ipc/ipc.h"

#define SETTLE_MS 10 /* between two looks whether all has ended */

static void logins_settle(struct loop_timer *t);

static int
logins_plug(struct engine_logins *e, const struct transport_registry *reg, struct dp_ids *ids,
            struct lunette_error *err)
{
    struct ipc_client client;
    int r = dataplane_new(e->loop, reg, &e->dp, err);

    if (r < 0)
        return r;
    if (ids != NULL)
        dataplane_share_ids(e->dp, ids);
    r = ipc_direct_new(e->loop, &dataplane_server_ops, e->dp, &e->direct, &client);
    if (r == 0)
        r = ctl_new(e->loop, ipc_direct_ipc(e->direct), &e->ctl);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory for sessions");
    (void)dataplane_set_client(e->dp, &client);
    return 0;
}

int
engine_logins_new(struct loop *loop, const struct transport_registry *reg, struct dp_ids *ids,
                  struct engine_flash *f, struct engine_logins **ret, struct lunette_error *err)
{
    struct engine_logins *e = calloc(1, sizeof(*e));
    int r;

    if (e == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for sessions");
    e->loop = loop;
    e->flash = f;
    list_init(&e->list);
    list_init(&e->calls);
    login_gate_init(&e->gate, loop, LOGIN_GATE_MAX);
    loop_timer_init(&e->settle, logins_settle);
    r = logins_plug(e, reg, ids, err);
    if (r < 0) {
        engine_logins_free(e);
        return r;
    }
    *ret = e;
    return 0;
}

void
engine_logins_start(struct engine_logins *e)
{
    for (uint32_t i = 0; i < IPC_FLASHNODES_MAX; i++) {
        const struct flash_record *r = engine_flash_get(e->flash, i);
        struct lunette_error err;

        if (r != NULL && r->boot && engine_login_of(e, i) == NULL &&
            engine_login_begin(e, i, NULL, &err) < 0)
            log_line(e->loop->log, LOG_LEVEL_ERROR, "engine: record %u: %s", i, err.msg);
    }
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Everybody has been logged out of: what is left is what the data plane and logins that were given
 * up have under way. */
static void
logins_settle(struct loop_timer *t)
{
    struct engine_logins *e = container_of(t, struct engine_logins, settle);

    if (!list_empty(&e->list))
        return; /* the last one comes here again */
    if (!e->shut && (ctl_idle(e->ctl) || e->loop->now_ns >= e->settle_until_ns)) {
        dataplane_shutdown(e->dp);
        e->shut = true;
    }
    if (!e->shut || dataplane_busy(e->dp) > 0)
        loop_timer_start(e->loop, &e->settle, SETTLE_MS * LOOP_NS_PER_MS);
    else
        e->done(e->done_user); /* e may be gone */
}

void
engine_logins_shutdown(struct engine_logins *e, void (*done)(void *user), void *user)
{
    assert(!e->ending);
    e->ending = true;
    e->done = done;
    e->done_user = user;
    LIST_FOREACH (n, &e->list)
        engine_login_out(container_of(n, struct engine_login, node));
    engine_logins_check_end(e);
}

void
engine_logins_free(struct engine_logins *e)
{
    if (e == NULL)
        return;
    assert(list_empty(&e->list) && list_empty(&e->calls));
    loop_timer_stop(e->loop, &e->settle);
    login_gate_fini(&e->gate);
    ctl_free(&e->ctl);
    ipc_direct_free(e->direct);
    dataplane_free(e->dp);
    free(e);
}

/* ---- what there is -------------------------------------------------------------------------- */

struct loop *
engine_logins_loop(const struct engine_logins *e)
{
    return e->loop;
}

struct engine_flash *
engine_logins_flash(const struct engine_logins *e)
{
    return e->flash;
}

/* The counters are all of 64 bits, so that sums of them can be made in a loop. */
static void
totals_add(struct iscsi_stats *to, const struct iscsi_stats *s)
{
    uint64_t sum[sizeof(*to) / sizeof(uint64_t)], one[sizeof(*to) / sizeof(uint64_t)];

    _Static_assert(sizeof(struct iscsi_stats) % sizeof(uint64_t) == 0, "counters of 64 bits");
    memcpy(sum, to, sizeof(sum));
    memcpy(one, s, sizeof(one));
    for (size_t i = 0; i < sizeof(sum) / sizeof(sum[0]); i++)
        sum[i] += one[i];
    memcpy(to, sum, sizeof(sum));
}

void
engine_logins_totals(const struct engine_logins *e, struct engine_logins_totals *ret)
{
    *ret = (struct engine_logins_totals){.logins = e->nlogins, .lost = e->nlost};
    LIST_FOREACH (n, &e->list) {
        const struct engine_login *l = container_of(n, struct engine_login, node);
        struct iscsi_stats s;

        ret->sessions++;
        ret->running += l->state == IPC_SESSION_RUNNING;
        engine_login_stats(l, &s);
        totals_add(&ret->stats, &s);
    }
}
