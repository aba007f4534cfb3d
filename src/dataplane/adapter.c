/* SPDX-License-Identifier: MIT */
/* dataplane/adapter.c - the hosts of transports, each of which is an adapter as this loop has it.
 *
 * Sessions and endpoints hold it.  Whoever lets go last may be inside a call of the transport, so
 * that it is ended by deferred work; who comes meanwhile has it again.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/internal.h"

struct dp_adapter {
    struct list node; /* of dataplane.adapters */
    struct dataplane *dp;
    struct list uses;
    struct iscsi_host pub;
    max_align_t dd_data[]; /* the transport's part, which may have any type */
};

/* Tells one of those that are doomed.  False: there is none. */
static bool
tell_doomed(struct dp_adapter *a, enum iscsi_err err, const char *why)
{
    LIST_FOREACH (n, &a->uses) {
        struct dp_adapter_use *u = container_of(n, struct dp_adapter_use, node);

        if (!u->doomed)
            continue;
        u->doomed = false;
        u->failed(u, err, why);
        return true;
    }
    return false;
}

/* Whoever is told may end any use: the list is walked anew.  The adapter itself stays. */
static void
up_host_failure(struct iscsi_host *pub, enum iscsi_err err, const char *why)
{
    struct dp_adapter *a = container_of(pub, struct dp_adapter, pub);

    LIST_FOREACH (n, &a->uses) {
        struct dp_adapter_use *u = container_of(n, struct dp_adapter_use, node);

        u->doomed = u->failed != NULL;
    }
    while (tell_doomed(a, err, why)) {
    }
}

static const struct iscsi_upcalls host_upcalls = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_upcalls),
    .host_failure = up_host_failure,
};

static void
adapters_end(struct dataplane *dp)
{
    LIST_FOREACH_SAFE (n, &dp->adapters) {
        struct dp_adapter *a = container_of(n, struct dp_adapter, node);

        if (!list_empty(&a->uses))
            continue;
        list_del(n);
        a->pub.tt->destroy_host(&a->pub);
        free(a);
    }
}

static void
adapters_left(struct loop_work *w)
{
    adapters_end(container_of(w, struct dataplane, adapters_left));
}

void
dp_adapters_init(struct dataplane *dp)
{
    list_init(&dp->adapters);
    loop_work_init(&dp->adapters_left, adapters_left);
}

void
dp_adapters_fini(struct dataplane *dp)
{
    loop_defer_cancel(&dp->adapters_left);
    adapters_end(dp);
    assert(list_empty(&dp->adapters));
}

static struct dp_adapter *
adapter_of(struct dataplane *dp, const struct iscsi_transport *tt)
{
    LIST_FOREACH (n, &dp->adapters) {
        struct dp_adapter *a = container_of(n, struct dp_adapter, node);

        if (a->pub.tt == tt)
            return a;
    }
    return NULL;
}

static int
adapter_new(struct dataplane *dp, const struct iscsi_transport *tt, struct dp_adapter **ret,
            struct lunette_error *err)
{
    struct dp_adapter *a = calloc(1, sizeof(*a) + tt->host_size);
    int r;

    if (a == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    a->dp = dp;
    list_init(&a->uses);
    a->pub =
        (struct iscsi_host){.tt = tt, .up = &host_upcalls, .loop = dp->loop, .dd_data = a->dd_data};
    r = tt->create_host(&a->pub, err);
    if (r < 0) {
        free(a);
        return r;
    }
    list_push_back(&dp->adapters, &a->node);
    *ret = a;
    return 0;
}

int
dp_adapter_join(struct dataplane *dp, const struct iscsi_transport *tt, struct dp_adapter_use *u,
                struct lunette_error *err)
{
    struct dp_adapter *a = adapter_of(dp, tt);
    int r = a == NULL && tt->create_host != NULL ? adapter_new(dp, tt, &a, err) : 0;

    list_init(&u->node);
    u->adapter = a;
    u->host = NULL;
    if (r < 0 || a == NULL)
        return r;
    u->host = &a->pub;
    list_push_back(&a->uses, &u->node);
    return 0;
}

void
dp_adapter_leave(struct dp_adapter_use *u)
{
    struct dp_adapter *a = u->adapter;

    list_del(&u->node);
    u->adapter = NULL;
    u->host = NULL;
    if (a != NULL && list_empty(&a->uses))
        loop_defer(a->dp->loop, &a->dp->adapters_left);
}
