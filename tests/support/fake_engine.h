/* SPDX-License-Identifier: MIT */
/* tests/support/fake_engine.h - an engine of the offload family in the simulator: a process of its
 * own, with a disk of FAKE_ENGINE_DISK bytes, that does what a test wants.
 *
 * It takes clients at a path, maps what they share, and serves READ(10) and WRITE(10) in blocks of
 * 512 bytes by itself, all other commands as GOOD, unless told to hold. */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include "ipc/acceptor.h"
#include "ipc/ipc.h"
#include "ipc/socket.h"
#include "offload/entry.h"
#include "seam/ipc.h"
#include "tests/sim/sim_loop.h"

#define FAKE_ENGINE_PATH     "/run/engine"
#define FAKE_ENGINE_DISK     (64u << 10)
#define FAKE_ENGINE_CLIENTS  4
#define FAKE_ENGINE_HELD     64
#define FAKE_ENGINE_SESSIONS 512
#define FAKE_ENGINE_SID      100 /* of the first session */

struct fake_engine;

struct fake_engine_client {
    struct fake_engine *fe;
    bool there, attached;
    struct ipc_socket *sock;
    struct ipc_encoded_server *end;
    struct ipc_client ipc;
    int fd[IPC_ENGINE_FDS];
    void *region, *arena;
    uint32_t slots, generation, index; /* index: of the loop that HELLO has asked for */
    uint64_t arena_size;
    struct ring_consumer sq;
    struct ring_producer cq;
    struct loop_watch *bell;
    uint32_t sid; /* of its last session; 0: none */
    bool running; /* that has been started */
    char param[ISCSI_PARAM_COUNT][IPC_VALUE_MAX];
    struct iscsi_uevent leaving; /* DESTROY_SESSION that is answered later */
    bool leaves;
};

struct fake_engine {
    struct sim *sim;
    struct loop *l;
    struct ipc_acceptor *acceptor;
    struct fake_engine_client client[FAKE_ENGINE_CLIENTS];
    uint64_t events; /* the number of the last event */
    uint8_t disk[FAKE_ENGINE_DISK];

    /* What it does. */
    uint32_t loops;
    uint32_t max_transfer;
    int hello_err, attach_err, create_err, start_err, param_err; /* -errno: refuses */
    int login_err;                                               /* of CONN_LOGIN_STATE */
    bool wordless;                                               /* refuses with no reason at all */
    bool confused;    /* answers a request as if another one had been made */
    bool silent;      /* does not answer requests */
    bool no_login;    /* does not tell how the login went */
    bool early_login; /* tells before it answers START_CONN */
    bool keeps;       /* does not answer DESTROY_SESSION */
    bool hold;        /* keeps commands and functions instead of serving them */
    bool no_beat;
    bool lets_go;       /* of a client that has gone: says that it has nothing of it any more */
    unsigned die_after; /* is killed at its n-th request or entry; 0: never */
    bool dying;
    uint8_t owner[FAKE_ENGINE_SESSIONS]; /* the client of each session */

    /* What it has seen. */
    unsigned hellos, attaches, sessions, starts, leaves, commands, tmfs, entries;
    struct offload_sqe held[FAKE_ENGINE_HELD]; /* in order */
    unsigned nheld;
    struct offload_sqe last;
};

/* The process listens from now on. */
void fake_engine_start(struct fake_engine *fe, struct sim *sim);
/* Ends it: killed where it has not been, and what it had is freed. */
void fake_engine_stop(struct fake_engine *fe);
/* kill -9; it is reaped later. */
void fake_engine_kill(struct fake_engine *fe);
/* Closes the connection of a client, and goes on. */
void fake_engine_drop(struct fake_engine *fe, unsigned client);

/* Answers what is held: entry i, and forgets it. */
void fake_engine_serve_held(struct fake_engine *fe, unsigned i);
void fake_engine_serve_all(struct fake_engine *fe);
/* Puts an entry into the ring of a client, whatever it says, and rings. */
void fake_engine_put(struct fake_engine *fe, unsigned client, const struct offload_cqe *e);
/* The answer to an entry: GOOD or SUCCESS, and the state RUNNING of the last event. */
struct offload_cqe fake_engine_answer(const struct fake_engine *fe, const struct offload_sqe *e);
/* Tells a state of the session; returns the number of the event. */
uint64_t fake_engine_state(struct fake_engine *fe, unsigned client, enum ipc_session_state st);
/* Takes the number of an event without telling it: it has been lost, or comes later. */
uint64_t fake_engine_number(struct fake_engine *fe);
void fake_engine_state_as(struct fake_engine *fe, unsigned client, enum ipc_session_state st,
                          uint64_t number);

#endif
