/* SPDX-License-Identifier: MIT */
/* iod/worker.h - one loop of the data plane process, with the control plane that is attached to it.
 *
 * A worker is made by one thread and then belongs to the thread that runs it; only
 * worker_hand_over and worker_stop are called from others.
 */
#ifndef IOD_WORKER_H
#define IOD_WORKER_H

#include "iod/config.h"
#include "iod/units.h"
#include "ipc/socket.h"
#include "transport/transport.h"

/* A control plane's connection to a loop. */
struct worker_client {
    struct worker *w;
    struct ipc_socket *socket;
    struct ipc_encoded_server *server;
    uint64_t generation;
};

enum worker_phase {
    WORKER_SERVING,
    WORKER_CLOSING,  /* exports end, disks are flushed */
    WORKER_DROPPING, /* sessions end */
    WORKER_ENDED,
    WORKER_STUCK, /* they have not ended in time */
};

struct worker {
    uint32_t index, stop_ms;
    struct loop *loop;
    struct dataplane *dp;
    struct iod_units *units;
    struct worker_client *client; /* NULL: none is attached */
    enum worker_phase phase;
    struct loop_work stop;
    struct loop_timer deadline;
};

/* ids and registry are shared with other workers and outlive them all. */
int worker_new(const struct iod_config *cfg, uint32_t index, const struct transport_registry *reg,
               struct dp_ids *ids, struct worker **ret, struct lunette_error *err);
/* A worker that has ended, or was never run.  NULL is harmless. */
void worker_free(struct worker *w);

/* Attaches a control plane that has said hello; the one before it is sent away.  Takes s and hello.
 */
void worker_take(struct worker *w, struct stream *s, struct ipc_packet *hello);
/* The same from the thread of another loop, on which s is. */
void worker_hand_over(struct worker *w, struct stream *s, struct ipc_packet *hello);

/* Has worker_run end; from any thread, once. */
void worker_stop(struct worker *w);

/* Makes turns until it is stopped and all has ended.  Returns 0, -ETIMEDOUT, or -errno of the loop.
 */
int worker_run(struct worker *w);

#endif
