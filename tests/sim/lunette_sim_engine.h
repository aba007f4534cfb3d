/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_engine.h - worlds in which sessions go through an engine (transport
 * offload_session): clients that are processes of their own share the engine's login to a target.
 *
 *   engine        what a seed means, the processes, and the story
 *   engine_io     requests of a client, and what its part of the medium may hold
 *   engine_between  what others do while one looks at a ring
 *   engine_death  what processes do between being killed and being reaped, and clients that lie
 *
 * Each client has a part of the medium for each of its lives, so that whatever it leaves behind
 * when it dies concerns nobody else.  Asked of a world: each request ends once, with the truth; no
 * acknowledged write is lost; memory that belongs to nobody's request is written by nobody, neither
 * the program's nor the arena's; the death of one harms no other.
 */
#ifndef TESTS_SIM_LUNETTE_SIM_ENGINE_H
#define TESTS_SIM_LUNETTE_SIM_ENGINE_H

#include "offload/types.h"
#include "tests/sim/lunette_sim.h"
#include "tests/support/engine_process.h"

#define LE_CLIENTS   3
#define LE_LIVES     5 /* of each client */
#define LE_SLOTS     6 /* requests of a client at a time */
#define LE_PART      (32u << 10)
#define LE_BLOCK     512u
#define LE_LIFE      ((uint64_t)LE_SLOTS * LE_PART)
#define LE_DISK      (LE_CLIENTS * LE_LIVES * LE_LIFE)
#define LE_MAYBE_MAX 6
#define LE_LEFT_MAX  64

enum le_fault {
    LE_CUT,        /* the engine's connection to the target */
    LE_BLACK_HOLE, /* nothing arrives at the target for a while, or from it */
    LE_REFUSE,
    LE_SLOW,
    LE_RESTART,     /* of the target */
    LE_KILL_ENGINE, /* and another follows */
    LE_STOP_ENGINE, /* the same, in order */
    LE_KILL_CLIENT,
    LE_LIE,   /* a client puts an entry into its ring that no client does, and is killed later */
    LE_LEAVE, /* a client closes all it has and ends */
    LE_FAULTS,
};

struct le_plan {
    uint64_t seed;
    bool rough, patient; /* patient: requests wait for as long as it takes, and none may fail */
    uint32_t clients, span_ms, calm_ms;
    uint32_t most;              /* bytes of a request */
    uint32_t chance[LE_FAULTS]; /* in a step: 1 of so many; 0: never */
    uint32_t slots, arena_mib;  /* what each client shares */
    bool table;                 /* the engine has a folder */
    bool only_clients_die;      /* nothing else goes wrong */
    bool cancels;               /* clients change their minds */
    bool garbage;               /* the dead write to what they had mapped */
    uint32_t reap_ms;
};

struct le_world;
struct le_client;

/* A place of LE_PART bytes on the medium, and its request. */
struct le_slot {
    struct le_client *c;
    uint64_t at; /* of the place, on the medium */
    uint8_t *buf;
    uint32_t off, len;
    bool write, busy, canceled;
    uint32_t id;
    /* What each block may hold: what writes of these numbers have there; with `any`, anything. */
    struct le_block {
        uint32_t id[LE_MAYBE_MAX];
        uint32_t n;
        bool any;
    } block[LE_PART / LE_BLOCK];
};

struct le_client {
    struct le_world *w;
    uint32_t index, life;
    struct loop *loop; /* NULL: it does not run */
    struct lunette_ctx *ctx;
    struct lunette_open *op;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    bool lied, leaving, closed;
    uint64_t again_ns, lied_ns, dies_ns; /* dies_ns: of one that has lied */
    uint32_t lied_generation;
    uint32_t inflight, done, good, failed, good_in_calm;
    struct le_slot slot[LE_LIVES][LE_SLOTS];
};

/* Data that a dead engine may still write to: an extent of a client's arena. */
struct le_left {
    struct le_client *c;
    uint32_t life;
    struct offload_attach *at;
    uint32_t generation;
    uint64_t off;
    uint32_t len;
};

struct le_world {
    struct ls_world base; /* for ls_fail and ls_say */
    struct le_plan plan;
    struct sim *sim;
    struct loop *tloop;
    struct target *target;
    struct sock_addr portal;
    struct lu_store store;
    uint8_t *disk;
    char state[64];                /* the engine's folder */
    struct engine_process *engine; /* NULL: none runs */
    uint64_t engine_ns;            /* when another is to be started */
    bool engine_stops;
    struct le_client client[LE_CLIENTS];
    struct le_left left[LE_LEFT_MAX];
    uint32_t nleft, next_id, engines;
    bool calm, leaving;
    bool killed;        /* somebody was, so that memory stays */
    enum le_fault held; /* LE_FAULTS: none */
    uint64_t held_until_ns, target_ns;
};

#define LE_FAIL(w, ...) ls_fail(&(w)->base, __VA_ARGS__)
#define LE_SAY(w, ...)  ls_say(&(w)->base, __VA_ARGS__)

static inline uint64_t
le_below(struct le_world *w, uint64_t n)
{
    return sim_below(w->sim, n);
}

/* ---- engine_io --------------------------------------------------------------------------------
 */

void le_slots_init(struct le_client *c);
/* What a write of that number has at that byte of the medium. */
uint8_t le_byte(uint32_t id, uint64_t at);
/* Begins requests where the client has room and the seed wants some; takes those that have ended.
 */
void le_io_turn(struct le_client *c, bool more);
/* Memory of no request has not changed. */
void le_io_memory(struct le_client *c);
/* The client has died: what it was writing may be there or not, in part too, and is garbage where
 * garbage was written to what it had shared. */
void le_io_died(struct le_client *c, bool garbage);
/* The medium has what it may have. */
void le_io_compare(struct le_world *w);

/* ---- engine_death -----------------------------------------------------------------------------
 */

/* The attachment of a client; NULL: it has none. */
struct offload_attach *le_attachment(struct le_client *c);
/* The engine is about to be killed, or the client. */
void le_engine_dies(struct le_world *w);
void le_client_dies(struct le_client *c);
/* The client puts something into its ring that is wrong.  False: it has nothing to begin with. */
bool le_client_lies(struct le_client *c);

/* ---- engine_between ---------------------------------------------------------------------------
 */

/* From now on other processes do things between two looks of one at a ring; NULL: no more. */
void le_between(struct le_world *w);

/* ---- the world --------------------------------------------------------------------------------
 */

void le_world_run(uint64_t seed);
/* What a process that has failed may have left behind in the file system. */
void le_sweep(long pid);

#endif
