/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_check.c - what must hold after each turn of any loop. */
#include <assert.h>

#include "dataplane/dataplane.h"
#include "iscsi/iscsi.h"
#include "iscsi/session.h"
#include "tests/sim/lunette_sim.h"
#include "transport/transport.h"

static void
check_session(struct ls_world *w, const struct iscsi_session *pub)
{
    const struct session *s = (const void *)((const char *)pub - offsetof(struct session, pub));

    iscsi_session_check(pub);
    LIST_FOREACH (n, &s->conns)
        sw_tcp_check_fast(&container_of(n, struct conn, node)->pub);
    if (s->state == ISCSI_STATE_LOGGED_IN && loop_timer_running(&s->recovery_timer))
        ls_fail(w, "the session runs, and the time in which it must come back is still counted");
}

void
ls_check_turn(struct ls_world *w)
{
    for (uint32_t i = 0; w->ctx != NULL && i < w->plan.luns; i++) {
        const struct lunette_lun *lun = w->handle[i].lun;
        const struct iscsi_session *s;

        if (lun == NULL)
            continue;
        s = dataplane_session(w->ctx->dp, lun->s->sid);
        if (s != NULL)
            check_session(w, s);
        if (lun->s->stack != NULL)
            stack_check_fast(lun->s->stack);
    }
}
