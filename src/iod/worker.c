/* SPDX-License-Identifier: MIT */
#include "iod/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ipc/acceptor.h"
#include "rdma/rdma.h"

/* ---- the control plane ---------------------------------------------------------------------- */

/* Detaches and frees a connection; a control plane that still waits for answers gets none. */
static void
client_end(struct worker_client *c)
{
    struct worker *w = c->w;

    assert(w->client == c);
    w->client = NULL;
    dataplane_detach(w->dp, c->generation);
    ipc_encoded_server_free(c->server);
    ipc_socket_free(c->socket);
    free(c);
}

static void
client_gone(void *user, const struct lunette_error *why)
{
    struct worker_client *c = user;

    log_line(c->w->loop->log, LOG_LEVEL_INFO, "loop %u: the control plane is gone: %s", c->w->index,
             why->msg);
    client_end(c);
}

static int
client_new(struct worker *w, struct stream *s, struct ipc_packet *hello)
{
    struct worker_client *c = calloc(1, sizeof(*c));
    struct ipc_client client;
    int r;

    if (c == NULL)
        return -ENOMEM;
    c->w = w;
    r = ipc_socket_server_new(s, hello, client_gone, c, &c->socket);
    if (r < 0) {
        free(c);
        return r;
    }
    r = ipc_encoded_server_new(ipc_socket_carrier(c->socket), &dataplane_server_ops, w->dp,
                               ipc_socket_broken, c->socket, &c->server, &client);
    if (r < 0) {
        ipc_socket_free(c->socket); /* with s and hello */
        free(c);
        return 0;
    }
    if (w->client != NULL) {
        log_line(w->loop->log, LOG_LEVEL_INFO, "loop %u: another control plane has come", w->index);
        client_end(w->client);
    }
    client.hello = true;
    c->generation = dataplane_set_client(w->dp, &client);
    w->client = c;
    return 0;
}

void
worker_take(struct worker *w, struct stream *s, struct ipc_packet *hello)
{
    if (w->phase == WORKER_SERVING && client_new(w, s, hello) == 0)
        return;
    stream_close(s);
    ipc_packet_drop(w->loop, hello);
}

/* ---- from another thread -------------------------------------------------------------------- */

static void
worker_arrived(void *user, struct stream *s, struct ipc_packet *hello)
{
    worker_take(user, s, hello);
}

void
worker_hand_over(struct worker *w, struct stream *s, struct ipc_packet *hello)
{
    ipc_hand_over(w->loop, s, hello, worker_arrived, w);
}

void
worker_stop(struct worker *w)
{
    loop_post(w->loop, &w->stop);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
worker_drop(struct worker *w)
{
    w->phase = WORKER_DROPPING;
    loop_timer_start(w->loop, &w->deadline, IOD_DROP_MS * LOOP_NS_PER_MS);
    dataplane_shutdown(w->dp);
}

/* Goes on to the next phase where the present one has ended. */
static void
worker_step(struct worker *w)
{
    if (w->phase == WORKER_CLOSING && iod_units_closed(w->units))
        worker_drop(w);
    if (w->phase == WORKER_DROPPING && dataplane_busy(w->dp) == 0)
        w->phase = WORKER_ENDED;
}

static void
worker_stopped(struct loop_work *work)
{
    struct worker *w = container_of(work, struct worker, stop);

    if (w->client != NULL)
        client_end(w->client);
    w->phase = WORKER_CLOSING;
    loop_timer_start(w->loop, &w->deadline, w->stop_ms * LOOP_NS_PER_MS);
    iod_units_close(w->units);
}

static void
worker_late(struct loop_timer *t)
{
    struct worker *w = container_of(t, struct worker, deadline);

    if (w->phase == WORKER_CLOSING) {
        log_line(w->loop->log, LOG_LEVEL_WARN,
                 "loop %u: exports and disks have not ended in time: their sessions are dropped, "
                 "and what was written last may not be on stable storage",
                 w->index);
        worker_drop(w);
    } else if (w->phase == WORKER_DROPPING) {
        dataplane_drop_captures(w->dp); /* nothing is lost with readers that do not read */
        w->phase = dataplane_busy(w->dp) == 0 ? WORKER_ENDED : WORKER_STUCK;
    }
}

int
worker_run(struct worker *w)
{
    int r = 0;

    while (r >= 0 && w->phase != WORKER_ENDED && w->phase != WORKER_STUCK) {
        r = loop_run(w->loop, -1);
        worker_step(w);
    }
    if (r < 0)
        return r;
    return w->phase == WORKER_STUCK ? -ETIMEDOUT : 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int
worker_fill(struct worker *w, const struct iod_config *cfg, const struct transport_registry *reg,
            struct dp_ids *ids, struct lunette_error *err)
{
    const struct dataplane_limits limits = {.grace_ms = cfg->grace_ms,
                                            .events_max = DATAPLANE_EVENTS_MAX,
                                            .event_bytes_max = DATAPLANE_EVENT_BYTES_MAX};
    int r = loop_new(&cfg->loop, &w->loop, err);

    if (r < 0)
        return r;
    w->loop->log = cfg->log;
    w->loop->rnic = rdma_verbs;
    rnic_spin(w->loop, cfg->loop.spin_us * 1000ull);
    r = dataplane_new(w->loop, reg, &w->dp, err);
    if (r < 0)
        return r;
    dataplane_share_ids(w->dp, ids);
    dataplane_set_limits(w->dp, &limits);
    dataplane_set_loops(w->dp, w->index, cfg->loops);
    r = iod_units_new(w->loop, w->dp, cfg->kinds, &w->units);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, ENOMEM, "no memory");
    iod_units_set_watch(w->units, cfg->watch_every);
    return 0;
}

int
worker_new(const struct iod_config *cfg, uint32_t index, const struct transport_registry *reg,
           struct dp_ids *ids, struct worker **ret, struct lunette_error *err)
{
    struct worker *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    w->index = index;
    w->stop_ms = cfg->stop_ms != 0 ? cfg->stop_ms : IOD_STOP_MS;
    loop_work_init(&w->stop, worker_stopped);
    loop_timer_init(&w->deadline, worker_late);
    r = worker_fill(w, cfg, reg, ids, err);
    if (r < 0) {
        worker_free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void
worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    assert(w->client == NULL);
    if (w->loop != NULL)
        loop_timer_stop(w->loop, &w->deadline);
    dataplane_free(w->dp);
    iod_units_free(w->units);
    while (w->loop != NULL && loop_run(w->loop, 0) > 0)
        ; /* descriptors that are being closed */
    loop_free(w->loop);
    free(w);
}
