/* SPDX-License-Identifier: MIT */
/* tests/conformance/members.c - the rows of the matrix. */
#include "iscsi/session.h"
#include "tests/conformance/conformance.h"

/* Sessions and connections are set to take the fast paths only where their state allows it. */
static void
sw_tcp_check(struct conform_world *w)
{
    for (uint32_t sid = 1; w->ctx != NULL && sid <= 8; sid++) {
        const struct iscsi_session *s = dataplane_session(w->ctx->dp, sid);

        if (s == NULL)
            continue;
        iscsi_session_check(s);
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
};
const unsigned conform_nrows = sizeof(conform_rows) / sizeof(conform_rows[0]);
