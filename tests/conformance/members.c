/* SPDX-License-Identifier: MIT */
/* tests/conformance/members.c - the rows of the matrix. */
#include <stdio.h>
#include <stdlib.h>

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

void
conform_register(struct conform_world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);

    CONFORM_OK(transport_register(&w->ctx->registry, conform_tt, &err), err);
}

/* ---- iser ------------------------------------------------------------------------------------ */

/* A program registers it where it has RDMA; the simulator's is not the program's. */
static void
iser_begin(struct conform_world *w)
{
    if (transport_find(&w->ctx->registry, conform_tt->name) == NULL)
        conform_register(w);
}

/* A session's pool is open to its target as long as there is the connection. */
static void
iser_check(struct conform_world *w)
{
    const struct iscsi_session *s[SIDS_CHECKED];
    uint32_t n = 0;

    conform_check_sessions(w);
    for (uint32_t sid = 1; w->ctx != NULL && sid <= SIDS_CHECKED; sid++) {
        s[n] = dataplane_session(w->ctx->dp, sid);
        n += s[n] != NULL;
    }
    if (w->row->member != &conform_iser_pool)
        assert_true(conform_keys_are_closed(w->loop, s, n));
}

/* One for each way in which memory is opened to the target. */
const struct conform_member conform_iser = {.name = "iser",
                                            .tt = &iser_transport,
                                            .options = "transport=iser",
                                            .begin = iser_begin,
                                            .check = iser_check};
const struct conform_member conform_iser_pool = {.name = "iser_pool",
                                                 .tt = &iser_transport,
                                                 .options = "transport=iser&iser_stag=pool",
                                                 .begin = iser_begin,
                                                 .check = iser_check};
const struct conform_member conform_iser_register = {.name = "iser_register",
                                                     .tt = &iser_transport,
                                                     .options = "transport=iser&iser_stag=register",
                                                     .begin = iser_begin,
                                                     .check = iser_check};

/* ---- a transport in a shared object -----------------------------------------------------------
 */

static struct transport_registry objects;
static char object_options[64];

static const struct iscsi_transport *
object_find(void)
{
    const char *path = getenv("CONFORMANCE_OBJECT");
    struct lunette_error err = LUNETTE_INIT(err);

    if (path == NULL)
        return NULL;
    if (transport_load(&objects, path, &err) < 0) {
        (void)fprintf(stderr, "conformance: %s\n", err.msg);
        exit(1);
    }
    (void)snprintf(object_options, sizeof(object_options), "transport=%s", objects.t[0].name);
    return &objects.t[0];
}

const struct conform_member conform_object = {.name = "object",
                                              .find = object_find,
                                              .options = object_options,
                                              .begin = conform_register,
                                              .check = conform_check_sessions};

/* Why a row is not asked for more. */
#define BESIDE "the second client is there to be killed; offload_session has this group"

const struct conform_row conform_rows[] = {
    {.member = &conform_sw_tcp, .net = &conform_sim},
    {.member = &conform_sw_tcp, .net = &conform_epoll},
    {.member = &conform_sw_tcp, .net = &conform_uring},
    {.member = &conform_fake, .net = &conform_sim},
    {.member = &conform_fake, .net = &conform_epoll},
    {.member = &conform_fake_gathers, .net = &conform_sim},
    {.member = &conform_iser, .net = &conform_sim_rdma},
    {.member = &conform_iser_pool, .net = &conform_sim_rdma},
    {.member = &conform_iser_register, .net = &conform_sim_rdma},
    {.member = &conform_offload_session, .net = &conform_sim},
    {.member = &conform_offload_beside,
     .net = &conform_sim,
     .not_for = {[CONFORM_CONNECT] = BESIDE,
                 [CONFORM_LOGIN] = BESIDE,
                 [CONFORM_SIZES] = BESIDE,
                 [CONFORM_WINDOW] = BESIDE,
                 [CONFORM_ABORT] = BESIDE,
                 [CONFORM_RESET] = BESIDE,
                 [CONFORM_CUT] = BESIDE,
                 [CONFORM_ORDER] = BESIDE,
                 [CONFORM_UNBIND] = BESIDE,
                 [CONFORM_PARAMS] = BESIDE,
                 [CONFORM_STATS] = BESIDE}},
    {.member = &conform_object, .net = &conform_sim},
    {.member = &conform_object, .net = &conform_epoll},
    {.member = &conform_object, .net = &conform_uring},
};
const unsigned conform_nrows = sizeof(conform_rows) / sizeof(conform_rows[0]);
