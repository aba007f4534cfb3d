/* SPDX-License-Identifier: MIT */
/* tests/conformance/members.c - the rows of the matrix. */
#include "iscsi/session.h"
#include "tests/conformance/conformance.h"

#define SIDS_CHECKED 8 /* sessions of a context are numbered from 1 */

void
conform_check_sessions(struct conform_world *w)
{
    for (uint32_t sid = 1; w->ctx != NULL && sid <= SIDS_CHECKED; sid++) {
        const struct iscsi_session *s = dataplane_session(w->ctx->dp, sid);

        if (s != NULL)
            iscsi_session_check(s);
    }
}

/* Connections are set to take the fast paths only where their state allows it. */
static void
sw_tcp_check(struct conform_world *w)
{
    conform_check_sessions(w);
    for (uint32_t sid = 1; w->ctx != NULL && sid <= SIDS_CHECKED; sid++) {
        const struct iscsi_session *s = dataplane_session(w->ctx->dp, sid);

        if (s == NULL)
            continue;
        LIST_FOREACH (n, &to_session((struct iscsi_session *)(uintptr_t)s)->conns)
            sw_tcp_check_fast(&container_of(n, struct conn, node)->pub);
    }
}

const struct conform_member conform_sw_tcp = {
    .name = "sw_tcp", .tt = &sw_tcp_transport, .options = "", .check = sw_tcp_check};

const struct conform_row conform_rows[] = {
    {.member = &conform_sw_tcp, .net = &conform_sim},
    {.member = &conform_sw_tcp, .net = &conform_epoll},
    {.member = &conform_sw_tcp, .net = &conform_uring},
    {.member = &conform_fake, .net = &conform_sim},
    {.member = &conform_fake, .net = &conform_epoll},
    {.member = &conform_fake_gathers, .net = &conform_sim},
};
const unsigned conform_nrows = sizeof(conform_rows) / sizeof(conform_rows[0]);
