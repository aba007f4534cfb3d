/* SPDX-License-Identifier: MIT */
/* tests/sim/offload_world.h - offload_session against an engine that a test leads: a world
 * of the simulator with a client, who does what the data plane does, and
 * tests/support/fake_engine.h.
 */
#ifndef TESTS_SIM_OFFLOAD_WORLD_H
#define TESTS_SIM_OFFLOAD_WORLD_H

#include "offload/offload.h"
#include "offload/session.h"
#include "offload/session_priv.h"
#include "tests/support/fake_engine.h"

/* The least arena, since all of it is filled and looked at. */
#define WORLD_ENGINE "engine=" FAKE_ENGINE_PATH "&offload_arena=4M"

#define WORLD_CMDS     32
#define WORLD_SESSIONS 2
#define MS             LOOP_NS_PER_MS
#define SEC            LOOP_NS_PER_S

struct world;

struct world_cmd {
    struct scsi_cmd sc;
    struct world *w;
    struct iovec iov;
    uint8_t data[4096];
    bool out; /* with the host */
    unsigned done;
};

struct world_wait {
    struct scsi_eh_wait w;
    unsigned done;
    enum scsi_eh_result result;
};

/* One session with its endpoint. */
struct world_session {
    struct world *w;
    void *s, *conn;
    struct scsi_host *host;
    struct iscsi_endpoint ep;
    struct offload_ep *dd;
    int ep_event; /* 1 up, 0 none yet, -errno */
    unsigned ep_events;
    unsigned logins; /* login_state: how often, and how the last went */
    struct lunette_error login_why;
    unsigned downs, freed, restarts, pdus, states;
    enum scsi_host_state state; /* as it was told last */
    struct lunette_error state_why;
    struct bhs pdu;
    bool ep_there;
    void (*in_state)(struct world_session *ws); /* from inside of what the session tells */
    void (*in_down)(struct world_session *ws);
};

struct world {
    struct sim *sim;
    struct loop *l;
    struct fake_engine fe;
    struct iscsi_host host;
    struct world_session ses[WORLD_SESSIONS];
    struct world_cmd cmd[WORLD_CMDS];
    char log[8192];
    struct log logger;
};

void world_begin(struct world *w, uint64_t seed, const struct sim_config *cfg);
/* Tears down what there is, and checks that nothing is left. */
void world_end(struct world *w);

/* The client's connection to the engine; ep_event says how it went. */
int world_connect(struct world *w, unsigned i, const char *options, struct lunette_error *err);
void world_disconnect(struct world *w, unsigned i);
/* Makes session i, binds it, tells it names and portal. */
void world_create(struct world *w, unsigned i);
int world_start(struct world *w, unsigned i);
/* All of it, until it is logged in. */
void world_log_in(struct world *w, unsigned i);
void world_param(struct world *w, unsigned i, enum iscsi_param p, const char *value);

void world_run(struct world *w, uint64_t ns);
bool world_until(struct world *w, bool (*done)(void *user), uint64_t ns);

/* A READ(10) or WRITE(10) of 512-byte blocks; any other opcode has no data.  Returns what
 * queuecommand did. */
int world_submit(struct world *w, unsigned i, unsigned cmd, uint8_t opcode, uint32_t lba,
                 uint32_t len);
unsigned world_outstanding(const struct world *w);
bool world_idle(void *world);
void world_wait_init(struct world_wait *x);
void world_abort(struct world *w, unsigned i, unsigned cmd, struct world_wait *x);

#endif
