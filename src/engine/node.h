/* SPDX-License-Identifier: MIT */
/* engine/node.h - all that an engine has on one loop: its tables, its logins and its clients.
 *
 * engine/engine.h runs one on each loop of a process; the simulator runs one on a loop of its own:
 * it makes a node, starts it, and an acceptor (ipc/acceptor.h) with engine_node_accepted.
 */
#ifndef ENGINE_NODE_H
#define ENGINE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ipc/socket.h"
#include "transport/transport.h"

struct dp_ids;
struct engine_flash;
struct engine_node;

struct engine_node_config {
    const struct transport_registry *registry; /* borrowed, shared by all loops, as ids are */
    struct dp_ids *ids;
    const char *state;     /* folder of the tables, locked; NULL: they are in memory only */
    const char *identity;  /* names the engine (engine_flash_set_identity); NULL: nothing does */
    uint32_t index, loops; /* this loop, of so many */
    bool fixed;            /* a client cannot add to the table of targets */
    uint32_t pid;
    const char *version; /* borrowed */
};

/* The loop is borrowed.  0, or -errno with *err. */
int engine_node_new(struct loop *l, const struct engine_node_config *cfg, struct engine_node **ret,
                    struct lunette_error *err);
struct engine_flash *engine_node_flash(const struct engine_node *n);
/* Records that say so begin to log in. */
void engine_node_start(struct engine_node *n);

/* A client that has said hello; takes s and hello.  Where it cannot be served it is closed. */
void engine_node_take(struct engine_node *n, struct stream *s, struct ipc_packet *hello);
/* The same as an ipc_accepted_fn: user is the node of the loop that is meant. */
void engine_node_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello);

/* Sends all clients away and logs out of all sessions.  done is called once, later, when all that
 * has ended.  Once. */
void engine_node_stop(struct engine_node *n, void (*done)(void *user), void *user);
/* Clients that are served, and such that are gone and have left commands. */
uint32_t engine_node_clients(const struct engine_node *n);
/* After done, or where it was never started and has had no client.  NULL is harmless. */
void engine_node_free(struct engine_node *n);

#endif
