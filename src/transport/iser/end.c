/* SPDX-License-Identifier: MIT */
/* transport/iser/end.c - the end of a bound endpoint.
 *
 * We disconnect in every case: what is posted comes back only then, also where the target has left.
 * When it has come back, or after a while, the connection is closed.  That is the fence, behind
 * which no device touches memory, and so tasks end only then.
 */
#include <assert.h>
#include <errno.h>

#include "transport/iser/internal.h"

/* Nothing refers to e afterwards but its endpoint. */
static void
iser_end(struct iser_ep *e)
{
    struct iser_conn *ic = e->conn;
    struct loop *l = e->pub->loop;

    assert(ic != NULL && ic->ep == e && e->stopping);
    loop_timer_stop(l, &e->drain);
    loop_defer_cancel(&ic->start_work);
    loop_defer_cancel(&ic->room_work);
    iser_close(e);
    ic->ep = NULL;
    e->conn = NULL;
    e->state = ISER_EP_FAILED;
    (void)lunette_fail(&e->err, -ENOTCONN, LUNETTE_DOM_CONNECT, ENOTCONN,
                       "the RDMA connection has ended");
    iser_finish_cleanups(e, true);
}

static bool
all_came_back(const struct iser_ep *e)
{
    return e->unsure || (e->posted == 0 && e->done == e->next);
}

int
iser_stop(struct iser_ep *e)
{
    if (e->stopping)
        return -EINPROGRESS;
    e->stopping = true;
    e->next -= e->nchain; /* these have not been posted */
    e->nchain = 0;
    rnic_disconnect(e->rnic);
    if (all_came_back(e)) {
        iser_end(e);
        return 0;
    }
    loop_timer_start(e->pub->loop, &e->drain, ISER_DRAIN_NS);
    return -EINPROGRESS;
}

static void
end_and_tell(struct iser_ep *e)
{
    struct iscsi_conn *c = e->conn->conn;

    iser_end(e);
    c->up->conn_stopped(c);
}

void
iser_drained(struct iser_ep *e)
{
    if (e->stopping && e->conn != NULL && all_came_back(e))
        end_and_tell(e);
}

void
iser_drain_timer(struct loop_timer *t)
{
    end_and_tell(container_of(t, struct iser_ep, drain));
}
