/* SPDX-License-Identifier: MIT */
/* isns/query.c - one question for targets. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "isns/call.h"

struct isns_query {
    struct isns_config cfg;
    struct isns_call call;
    void (*done)(void *user, struct isns_targets *found, const struct lunette_error *err);
    void *user;
    bool registered; /* by this query, which undoes it */
    struct isns_targets found;
    struct lunette_error why; /* what the owner is told at the end */
};

static void
query_tell(struct isns_query *q)
{
    struct isns_targets found = q->found;

    q->found = (struct isns_targets){.n = 0};
    if (q->why.code < 0)
        q->done(q->user, NULL, &q->why);
    else
        q->done(q->user, &found, NULL);
}

/* ---- registration and its end --------------------------------------------------------------- */

static void
query_on_dereg(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err)
{
    (void)in;
    (void)err; /* the server forgets whom it does not hear of */
    query_tell(container_of(c, struct isns_query, call));
}

static void
query_end(struct isns_query *q)
{
    q->call.write = isns_write_deregistration;
    q->call.done = query_on_dereg;
    if (!q->registered || isns_call_start(&q->call, NULL) < 0)
        query_tell(q);
}

static int query_ask_targets(struct isns_query *q, struct lunette_error *err);

static int
query_write_reg(struct isns_call *c, const struct sock_addr *local, struct isns_out *o,
                struct lunette_error *err)
{
    (void)err;
    isns_put_registration(o, c->xid, c->cfg->source, local, 0, false);
    return 0;
}

static void
query_on_reg(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err)
{
    struct isns_query *q = container_of(c, struct isns_query, call);

    (void)in;
    if (err != NULL)
        (void)lunette_fail_prefix(&q->why, lunette_fail_as(&q->why, err), "registration");
    q->registered = err == NULL;
    if (err != NULL || query_ask_targets(q, &q->why) < 0)
        query_end(q);
}

/* ---- the question --------------------------------------------------------------------------- */

static bool
wants_registration(const struct lunette_error *err)
{
    return err->code == -EREMOTEIO &&
           (err->detail == ISNS_SOURCE_UNKNOWN || err->detail == ISNS_SOURCE_ABSENT ||
            err->detail == ISNS_SOURCE_UNAUTHORIZED);
}

static void
query_on_answer(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err)
{
    struct isns_query *q = container_of(c, struct isns_query, call);

    if (err != NULL && !q->registered && wants_registration(err)) {
        q->call.write = query_write_reg;
        q->call.done = query_on_reg;
        if (isns_call_start(&q->call, &q->why) < 0)
            query_end(q);
        return;
    }
    if (err != NULL && !(err->code == -EREMOTEIO && err->detail == ISNS_NO_SUCH_ENTRY))
        q->why = *err;
    else if (err == NULL)
        (void)isns_read_targets(in, &q->found, &q->why);
    query_end(q);
}

static int
query_write(struct isns_call *c, const struct sock_addr *local, struct isns_out *o,
            struct lunette_error *err)
{
    (void)local;
    (void)err;
    isns_put_query(o, c->xid, c->cfg->source);
    return 0;
}

static int
query_ask_targets(struct isns_query *q, struct lunette_error *err)
{
    q->call.write = query_write;
    q->call.done = query_on_answer;
    return isns_call_start(&q->call, err);
}

int
isns_query(struct loop *l, const struct isns_config *cfg,
           void (*done)(void *user, struct isns_targets *found, const struct lunette_error *err),
           void *user, struct isns_query **ret, struct lunette_error *err)
{
    struct isns_query *q = calloc(1, sizeof(*q));
    int r;

    assert(done != NULL);
    if (q == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    q->cfg = *cfg;
    q->done = done;
    q->user = user;
    isns_call_init(&q->call, l, &q->cfg);
    r = query_ask_targets(q, err);
    if (r < 0) {
        free(q);
        return r;
    }
    *ret = q;
    return 0;
}

void
isns_query_free(struct isns_query **pq)
{
    struct isns_query *q = *pq;

    if (q == NULL)
        return;
    *pq = NULL;
    isns_call_stop(&q->call);
    isns_targets_free(&q->found);
    free(q);
}
