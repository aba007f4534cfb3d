/* SPDX-License-Identifier: MIT */
#include "tests/support/engine_process.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/acceptor.h"
#include "tests/support/steady_alloc.h"

struct engine_process {
    struct loop *loop;
    struct engine_node *node;
    struct ipc_acceptor *acceptor;
    struct transport_registry registry;
    bool killed, over;
    struct engine_process *next; /* of the killed ones */
};

/* Whoever looks for leaks finds the memory of those that were killed here. */
static struct engine_process *killed;

static void
must(int r, const struct lunette_error *err)
{
    if (r == 0)
        return;
    (void)fprintf(stderr, "an engine does not start: %s\n", err->msg);
    abort();
}

struct engine_process *
engine_process_start(struct sim *sim, const char *path, const char *state)
{
    struct engine_process *e = steady_calloc(1, sizeof(*e));
    struct lunette_error err = LUNETTE_INIT(err);
    struct engine_node_config cfg = {
        .registry = &e->registry, .state = state, .loops = 1, .pid = 1, .version = "simulated"};
    struct sock_addr at;

    e->loop = sim_loop(sim);
    must(transport_register(&e->registry, &sw_tcp_transport, &err), &err);
    must(engine_node_new(e->loop, &cfg, &e->node, &err), &err);
    must(sock_addr_local(path, strlen(path), &at, &err), &err);
    must(ipc_acceptor_new(e->loop, &at, -1, 1, engine_node_accepted, e->node, &e->acceptor, &err),
         &err);
    engine_node_start(e->node);
    return e;
}

struct loop *
engine_process_loop(const struct engine_process *e)
{
    return e->loop;
}

struct engine_node *
engine_process_node(const struct engine_process *e)
{
    return e->node;
}

void
engine_process_kill(struct engine_process *e)
{
    assert(!e->killed);
    sim_process_kill(e->loop);
    e->killed = true;
}

static void
stopped(void *user)
{
    ((struct engine_process *)user)->over = true;
}

void
engine_process_stop(struct engine_process *e)
{
    ipc_acceptor_free(e->acceptor);
    e->acceptor = NULL;
    engine_node_stop(e->node, stopped, e);
}

bool
engine_process_over(const struct engine_process *e)
{
    return e->killed || e->over;
}

void
engine_process_free(struct engine_process *e)
{
    if (e == NULL)
        return;
    if (e->killed) {
        e->next = killed;
        killed = e;
        return;
    }
    assert(e->over);
    engine_node_free(e->node);
    steady_free(e);
}
