/* SPDX-License-Identifier: MIT */
/* What waits for the lock of the records.  Whoever else has it, another program or one of
 * open-iscsi's, has it for the time of writing a few files; or it was left by one that was killed,
 * and then it takes seconds until that is known.  The loop goes on meanwhile. */
#include <errno.h>
#include <stdlib.h>

#include "iscsid/internal.h"

#define LOCKED_AGAIN_MS  10
#define LOCKED_SELDOM_MS 50 /* once it takes longer than writing a record does */
#define LOCKED_SOON_NS   (500 * LOOP_NS_PER_MS)

int
records_lock(struct iscsid *d, struct loop_timer *again, uint64_t *until_ns,
             struct lunette_error *err)
{
    const uint64_t wait_ns = RECORDS_LOCK_MS * LOOP_NS_PER_MS;
    uint64_t now = d->loop->now_ns;
    int r = nodedb_lock(d->db, err);

    if (r == -EBUSY && *until_ns == 0)
        *until_ns = now + wait_ns;
    if (r == -EBUSY && now < *until_ns) {
        bool soon = now + wait_ns - *until_ns < LOCKED_SOON_NS;

        loop_timer_start(d->loop, again,
                         (soon ? LOCKED_AGAIN_MS : LOCKED_SELDOM_MS) * LOOP_NS_PER_MS);
        return -EAGAIN;
    }
    *until_ns = 0;
    return r == -EBUSY ? nodedb_lock_busy(d->db, RECORDS_LOCK_MS, err) : r;
}

/* A request that waits. */
struct locked {
    struct job job;
    json_t *params;
    METHOD((*fn));
    struct loop_timer again;
    uint64_t until_ns;
};

static void
locked_free(struct locked *l)
{
    loop_timer_stop(l->job.d->loop, &l->again);
    job_finish(&l->job);
    json_decref(l->params);
    free(l);
}

static void
locked_drop(struct job *j)
{
    locked_free(container_of(j, struct locked, job));
}

static void
locked_on_again(struct loop_timer *t)
{
    struct locked *l = container_of(t, struct locked, again);
    struct iscsid *d = l->job.d;
    struct lunette_error err = {.code = 0};
    int r = records_lock(d, t, &l->until_ns, &err);

    if (r == -EAGAIN)
        return;
    if (r < 0) {
        say_fail(l->job.call, &err);
    } else {
        l->fn(d, l->job.call, l->params);
        nodedb_unlock(d->db);
    }
    locked_free(l);
}

void
locked_method(struct iscsid *d, struct manage_call *call, const json_t *params, METHOD((*fn)))
{
    struct lunette_error err = {.code = 0};
    int r = nodedb_lock(d->db, &err);
    struct locked *l;

    if (r == 0) {
        fn(d, call, params);
        nodedb_unlock(d->db);
        return;
    }
    if (r != -EBUSY) {
        say_fail(call, &err);
        return;
    }
    l = calloc(1, sizeof(*l));
    if (l != NULL && params != NULL)
        l->params = json_deep_copy(params);
    if (l == NULL || (params != NULL && l->params == NULL)) {
        free(l);
        say_no_memory(&err);
        say_fail(call, &err);
        return;
    }
    l->fn = fn;
    loop_timer_init(&l->again, locked_on_again);
    job_begin(&l->job, d, call, locked_drop);
    locked_on_again(&l->again);
}
