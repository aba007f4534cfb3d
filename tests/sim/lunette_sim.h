/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim.h - the simulator: one seed is one world, with the whole initiator behind
 * its public header, lunette-target, the network between them, and everything that goes wrong.
 *
 *   plan    what a seed means: sizes, keys, what is asked for, and which faults come when
 *   world   makes the target, the context and the handles, and ends them
 *   handle  sessions and LUNs, which are opened, closed, and opened again
 *   ctl     a control plane that dies, and another that comes
 *   user    what a program does besides: closes, sets time limits, makes calls that wait
 *   reserve persistent reservations, which outlive connections
 *   fault   makes the faults of the plan happen
 *   disk    the medium, which outlives the target's process, with and without a volatile cache
 *   model   what each block may hold, and whether a read may return what it returned
 *   io      requests and the memory they use
 *   judge   what may become of them, and when
 *   heard   ... and what is acknowledged, moved and cleared
 *   wire    reads along on the connections: sequence numbers, tags, data that was asked for
 *   rdma    sessions over RDMA: the fabric, its faults, and memory that devices may use
 *   engine  worlds of their own, in which sessions go through an engine (lunette_sim_engine.h)
 *   memory  counts allocations, and has one of them fail
 *   check   what must hold after each turn
 *   main    many seeds on many processors, or one with a trace
 *
 * Whoever finds something wrong calls ls_fail, which ends the process.
 */
#ifndef TESTS_SIM_LUNETTE_SIM_H
#define TESTS_SIM_LUNETTE_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "api/internal.h"
#include "ctl/ctl.h"
#include "lu/store.h"
#include "target/target.h"
#include "tests/sim/sim_loop.h"
#include "tests/support/ipc_delayed.h"

#define LS_NODE         "iqn.2026-11.example:sim"
#define LS_LUNS_MAX     3
#define LS_QUEUES_MAX   2 /* of a LUN */
#define LS_SLOTS        24
#define LS_IO_MAX       (64u << 10)
#define LS_UNIT         512u /* the model's grain, bytes */
#define LS_FAULTS_MAX   10
#define LS_NO_LIMIT     (-1)             /* of replacement_timeout */
#define LS_RDMA_FIRST   1000000000000ull /* seeds from here on are worlds over RDMA */
#define LS_ENGINE_FIRST 2000000000000ull /* ... and from here on, worlds with an engine */
#define LS_RDMA_CONNS   1024             /* connections of a world that are told apart */
#define LS_RDMA_SIDS    8                /* sessions made last, whose commands are looked at */

/* ---- plan ----------------------------------------------------------------------------------- */

/* NAME, what the log calls it, and what it may do: E requests may fail, S answers may stay away so
 * long that error handling begins, L the connection may be lost. */
#define LS_FAULT_LIST(X)                                                                           \
    X(CUT, "cut", L)                                                                               \
    X(CUT_BYTES, "cut-at-byte", L)                                                                 \
    X(BLACK_HOLE, "black-hole", L | S)                                                             \
    X(OLD_PATH, "old-path-held", L | S)                                                            \
    X(REFUSE, "connections-refused", 0)                                                            \
    X(BUSY, "busy", 0)                                                                             \
    X(FULL, "task-set-full", 0)                                                                    \
    X(SLOW, "slow-disk", S)                                                                        \
    X(MUTE, "mute", L | S | E)                                                                     \
    X(MUTE_TMF, "mute-tmf", S | E | L)                                                             \
    X(RESTART, "restart", L)                                                                       \
    X(SPOIL, "spoiled-bytes", L | S)                                                               \
    X(WINDOW, "window-shut", L | S)                                                                \
    X(ASYNC_LOGOUT, "asked-to-log-out", L)                                                         \
    X(ASYNC_DROP, "connection-dropped", L)                                                         \
    X(ASYNC_DROP_ALL, "session-dropped", L)                                                        \
    X(ASYNC_NEGOTIATE, "asked-to-negotiate", L)                                                    \
    X(LOGIN_BUSY, "logins-refused-for-now", 0)                                                     \
    X(LOGIN_REFUSED, "logins-refused", 0)                                                          \
    X(REDIRECT, "redirected", L)                                                                   \
    X(MOVED, "moved-for-good", L)                                                                  \
    X(CRASH, "crash-that-loses-cache", L)                                                          \
    X(SHRINK, "shrunk", 0)                                                                         \
    X(SWAP, "swapped", L | E)                                                                      \
    X(EVENTS, "events-held", 0)                                                                    \
    X(CLOCK, "clock-jump", S | L | E)                                                              \
    X(NOMEM, "no-memory", S | L | E)                                                               \
    X(GROW, "grown", 0)                                                                            \
    X(ALUA, "path-state", 0)                                                                       \
    X(CTL, "control-plane-dies", L)                                                                \
    X(CUT_ONE, "one-connection-cut", L)                                                            \
    X(HOLD_ONE, "one-connection-held", L | S)                                                      \
    X(LOSSES, "pdus-lost", S)                                                                      \
    X(SILENT, "asking-lost", L | S)                                                                \
    X(TWICE, "pdus-twice", 0)                                                                      \
    X(DIGESTS, "digests-wrong", 0)                                                                 \
    X(LATE_ONE, "one-connection-late", S)                                                          \
    X(NOT_READY, "receiver-not-ready", L | S)                                                      \
    X(STUCK, "connects-stuck", 0)                                                                  \
    X(NOBODY, "address-gone", 0)

enum ls_fault_kind {
#define X(name, text, flags) FAULT_##name,
    LS_FAULT_LIST(X)
#undef X
        FAULT_KINDS,
    FAULTS_FIRST = FAULT_GROW,  /* those before it are drawn as they were at first */
    FAULTS_PDUS = FAULT_LOSSES, /* from here on: of PDUs and connections, where a level repairs */
    FAULTS_RDMA = FAULT_NOT_READY, /* from here on: of a fabric */
};

enum { LS_MAY_FAIL = 1, LS_MAY_BE_SILENT = 2, LS_MAY_LOSE = 4 };

struct ls_fault {
    enum ls_fault_kind kind;
    uint32_t at_ms, for_ms;
    uint64_t arg;
};

struct ls_plan {
    uint64_t seed;
    bool rdma;            /* transport=iser */
    bool no_windows;      /* its device has no memory windows */
    uint32_t windows;     /* ... so many; 0: enough */
    uint32_t memlock_mib; /* how much of it a process may have at a device; 0: any */
    bool keep_stags;      /* its target leaves them for us to invalidate */
    bool registers;       /* the program has registered the memory of its requests */
    bool keys_stay;       /* STags are valid as long as their connection: there are no windows */
    uint32_t luns, queues, depth;
    bool mends;   /* nothing is wrong but what is repaired without the loss of a connection */
    bool keeps;   /* ... and connections are cut one by one, at level 2: no session is lost */
    bool flows;   /* ... and one connection at a time: numbers do not stay missing for long */
    bool spoils;  /* bytes are spoiled: there are digests more often */
    bool digests; /* the same, for digests that are spoiled where a level repairs that */
    bool cache;   /* a crash takes what was not flushed */
    uint32_t block[LS_LUNS_MAX], blocks[LS_LUNS_MAX];
    bool medium_calls; /* the medium is read and written by calls, not memory */
    bool wce;
    bool two_loops; /* initiator and target are two processes */
    bool chap, zero_copy, rough, overlap;
    bool cancel;       /* requests are canceled now and then */
    uint32_t limit_ms; /* that each request may take; 0: no limit */
    bool leave;        /* the queues go with requests outstanding */
    bool shared;       /* all LUNs are in one session */
    bool restless;     /* the program closes things, and sets time limits, at any time */
    bool reserves;     /* the program reserves its LUNs, and nothing that comes ends that */
    uint64_t ipc_delay_ns;
    uint32_t ops, span_ms; /* requests, and the time in which they are made */
    uint32_t timeout_ms;   /* of commands */
    int32_t replacement_s;
    uint32_t reopen_max;
    uint32_t level; /* ErrorRecoveryLevel that is asked for, and to be had */
    uint32_t conns; /* of each session, that are wanted */
    struct target_key_value set[10];
    uint32_t set_count;
    char options[512]; /* of the URL */
    struct ls_fault fault[LS_FAULTS_MAX];
    uint32_t nfaults, faults_ms; /* faults_ms: when the last of them is over */
    unsigned may;                /* LS_MAY_..., of all faults */
};

void ls_plan_make(uint64_t seed, struct ls_plan *p);
void ls_plan_print(const struct ls_plan *p);
const char *ls_fault_name(enum ls_fault_kind k);
unsigned ls_fault_may(enum ls_fault_kind k);

/* ---- what a program does besides requests ---------------------------------------------------- */

#define LS_ACT_LIST(X)                                                                             \
    X(CLOSE_LUN, "close a LUN")                                                                    \
    X(CLOSE_SESSION, "close a session")                                                            \
    X(CANCEL_OPENING, "give an opening up")                                                        \
    X(TIMEOUTS, "set time limits")                                                                 \
    X(REOPEN_NOW, "try at once")                                                                   \
    X(CALL, "a call that waits")

enum ls_act {
#define X(name, text) ACT_##name,
    LS_ACT_LIST(X)
#undef X
        LS_ACTS,
};

const char *ls_act_name(enum ls_act a);

/* ---- statistics, shared by all processes ---------------------------------------------------- */

struct ls_stats {
    uint64_t seeds, violations;
    uint64_t ios, failed, canceled, timeouts, losses, reopens, gone, deaths, opens, turns,
        virtual_ms, reserved;
    uint64_t acts[LS_ACTS];
    uint64_t wire_pdus, wire_connections, wire_joined, wire_again, spoiled, mended, snacks,
        reassigned;
    uint64_t worlds[3]; /* over TCP, over RDMA, with an engine */
    uint64_t engine_kills, engine_stops, client_kills, lies, dying_writes, engine_faults[8];
    uint64_t rdma_reads, rdma_writes, rdma_waits, rdma_flushed, rdma_binds, rdma_remote, rdma_local;
    uint64_t hash; /* of the last world */
    uint64_t faults[FAULT_KINDS];
};
extern struct ls_stats *ls_stats;
#define LS_COUNT(what, n) (void)__atomic_add_fetch(&ls_stats->what, (n), __ATOMIC_RELAXED)

/* ---- disk ----------------------------------------------------------------------------------- */

struct ls_world;

struct ls_disk {
    struct lu_store store; /* given to each target anew */
    struct ls_world *w;
    uint8_t *bytes, *stable; /* stable: what a crash cannot take; NULL: it can take nothing */
    uint64_t size, full;     /* bytes: now, and when it has grown */
    bool foreign;            /* nobody has opened it: it must not be written */
    bool crashed;            /* the power is off: nothing becomes stable any more */
};

void ls_disk_init(struct ls_disk *d, struct ls_world *w, uint64_t size, bool calls, bool cache);
/* The power goes: what is not stable is there or not. */
void ls_disk_crash(struct ls_disk *d);
void ls_disk_fini(struct ls_disk *d);

/* ---- model ---------------------------------------------------------------------------------- */

enum ls_what { LS_PATTERN, LS_ZEROES, LS_BYTES };
enum ls_outcome {
    LS_DONE,     /* it was executed */
    LS_NOT_DONE, /* it was not */
    LS_MAYBE,    /* it may have been, in part too, and is not any more in this nexus or another */
    LS_STABLE,   /* it was executed, and the power may go */
    LS_WEAK,     /* it was executed, which may have changed nothing: a discard */
};

struct ls_model;

struct ls_model *ls_model_new(struct ls_world *w, uint32_t lun, uint64_t size, bool cache);
void ls_model_free(struct ls_model *m);
/* What the write `id` has in the bytes [at, at + len) of the LUN. */
void ls_pattern(uint32_t id, uint64_t at, uint8_t *to, size_t len);
/* Both return the moment, for the end of the same. */
uint64_t ls_model_write(struct ls_model *m, uint32_t id, enum ls_what what, uint64_t at,
                        uint64_t len);
uint64_t ls_model_read(struct ls_model *m);
void ls_model_wrote(struct ls_model *m, uint32_t id, uint64_t at, uint64_t len,
                    enum ls_outcome how);
void ls_model_check(struct ls_model *m, uint64_t since, uint64_t at, const uint8_t *got,
                    uint64_t len, const char *what);
void ls_model_read_over(struct ls_model *m, uint64_t since);
/* The one value that the bytes can have now; false: there are several. */
bool ls_model_known(struct ls_model *m, uint64_t at, uint8_t *ret, uint64_t len);
/* A flush that began at that moment has ended: what had ended before is stable. */
void ls_model_flushed(struct ls_model *m, uint64_t since);
/* What is not stable may be gone. */
void ls_model_crash(struct ls_model *m);
/* A nexus begins, and has ended the one before it, or there was none. */
void ls_model_new_nexus(struct ls_model *m);
/* The nexus was left without an end, and the network has bytes of it: what may have been executed
 * in it may be yet, whatever is written in others meanwhile. */
void ls_model_adrift(struct ls_model *m);
/* Nothing is under way any more but what is known to be. */
void ls_model_settled(struct ls_model *m);
/* Any bytes may be where writes are under way: they were spoiled. */
void ls_model_spoiled(struct ls_model *m);

/* ---- io ------------------------------------------------------------------------------------- */

enum ls_op {
    LS_READ,
    LS_WRITE,
    LS_WRITE_ZEROES,
    LS_DISCARD,
    LS_FLUSH,
    LS_CAW,       /* COMPARE AND WRITE */
    LS_RAW_READ,  /* READ(12), which the library itself never sends */
    LS_RAW_WRITE, /* WRITE(12) */
    LS_OPS,
};

extern const char *const ls_op_names[LS_OPS];

static inline bool
ls_writes(enum ls_op op)
{
    return op == LS_WRITE || op == LS_WRITE_ZEROES || op == LS_DISCARD || op == LS_CAW ||
           op == LS_RAW_WRITE;
}

static inline bool
ls_reads(enum ls_op op)
{
    return op == LS_READ || op == LS_RAW_READ;
}

/* It is sent once at most. */
static inline bool
ls_is_raw(enum ls_op op)
{
    return op == LS_CAW || op == LS_RAW_READ || op == LS_RAW_WRITE;
}

struct ls_handle;

struct ls_io {
    enum ls_op op;
    bool busy;
    bool fua;
    bool public_caw; /* LS_CAW by the call for it, not as a raw CDB */
    bool canceled;
    struct lunette_queue *q; /* NULL: it is a call that waits */
    uint32_t crashes;        /* before it began */
    bool match;              /* of LS_CAW: the bytes compared are those on the disk */
    struct ls_handle *h;
    uint64_t at, len; /* bytes on the LUN */
    size_t mem;       /* bytes of memory that it uses */
    uint32_t id;
    uint64_t since; /* the model's moment */
    uint64_t start_ns, jumped_ns;
    uint64_t lost_ns; /* when its session was first lost since it was made; 0: it was not */
    struct iovec iov[6];
    int iovcnt;
    uint8_t cdb[16];
    struct lunette_scsi scsi;
    uint8_t *buf; /* LS_IO_MAX */
    uint64_t poison;
};

/* ---- world ---------------------------------------------------------------------------------- */

/* A session that is open, or that is to be: of one LUN, or of all. */
struct ls_session {
    struct ls_world *w;
    uint32_t index, sid;
    char url[768];
    struct lunette_session *s;
    struct lunette_open *op; /* of one that LUNs share */
    bool closing, want_close;
    unsigned tries;
    uint64_t again_ns;   /* not to be touched before */
    uint64_t opening_ns; /* since when it is being opened */
    /* What the library has said. */
    bool lost, failed, gone;
    uint32_t reopens, attempt;
    /* How long it is to be waited for: what the program has said last, and, as long as that may be
     * under way, the bounds of what holds. */
    int32_t replacement_s, least_s, most_s;
    uint64_t said_ns; /* when */
    /* What its host does, looked at after each turn, on the clock that does not jump (ls_clock_ns);
     * blocked_at and failing on that of the world. */
    uint64_t blocked_ns, blocked_at_ns; /* since when commands wait; 0: they do not */
    uint64_t gone_ns;                   /* since when they fail; 0: they do not */
    uint64_t failing_ns;                /* the last moment at which they did; 0: they never have */
    /* While another control plane asks for its connection. */
    struct ctl_watch asked;
    bool missed; /* an event has come that nobody has had */
};

/* A LUN that is open, or that is to be. */
struct ls_handle {
    struct ls_world *w;
    uint32_t index;
    struct ls_session *se;
    struct lunette_open *op;
    struct lunette_lun *lun;
    struct lunette_queue *q[LS_QUEUES_MAX];
    bool closing;
    bool gone; /* its unit is not there any more: to be closed, and opened again */
    bool want_close;
    bool reserve_tried, reserved;
    uint64_t good_ns,
        offline_ns;    /* when a request went well last; when it was told to be offline */
    uint64_t asked_ns; /* when a request first went well since nothing is wrong any more; or 0 */
    unsigned tries;
    uint64_t again_ns; /* not to be touched before */
};

/* The control plane, where one dies. */
struct ls_ctl {
    bool doomed, noticed; /* noticed: the data plane hears of its death at once */
    bool down;
    uint64_t at; /* the message at which it dies */
    uint64_t back_ns, generation;
    uint32_t away_ms, adoptions; /* sessions that are being taken over */
    struct ipc_delayed *old;
    struct login_config cfg[LS_LUNS_MAX];
};

struct ls_world {
    struct ls_plan plan;
    struct sim *sim;
    struct loop *loop, *tloop;
    struct target *target;      /* NULL while it is down */
    struct sock_addr portal[2]; /* of one target */
    struct ipc_delayed *binding;
    struct lunette_ctx *ctx;
    struct ls_disk disk[LS_LUNS_MAX],
        other[LS_LUNS_MAX]; /* other: in its place, of somebody else */
    struct ls_model *model[LS_LUNS_MAX];
    struct ls_session session[LS_LUNS_MAX];
    struct ls_handle handle[LS_LUNS_MAX];
    uint32_t last_sid; /* of the data plane */
    struct ls_ctl ctl;
    uint8_t path_state; /* ALUA */
    struct ls_io io[LS_SLOTS];
    struct ls_wire *wire;
    struct ls_rdma *rdma;        /* NULL: sessions go over TCP */
    struct target_faults orders; /* of the target, also of the next one */
    uint32_t next_id;
    uint32_t submitted, completed, failed;
    uint64_t start_ns;             /* on the clock of the world */
    uint64_t jumped_ns;            /* by which the clock has jumped */
    uint32_t held[FAULT_KINDS];    /* faults of each kind that hold now */
    uint32_t stalls, downs, swaps; /* and what several kinds hold */
    uint32_t crashes;
    unsigned held_moves; /* logins are sent away: 1 for now, 2 for good */
    uint64_t login_arg;
    uint64_t turns;
    uint32_t turns_left; /* of this step */
    uint32_t trace_seen;
    bool moved;   /* the first portal is shut for good */
    bool calm;    /* nothing is wrong any more */
    bool dropped; /* events did not come */
    bool leaving;
    bool lossy;  /* memory was short: anything may have failed */
    bool adrift; /* the network has bytes of sessions that nobody has any more */
};

bool ls_has_fault(const struct ls_world *w, enum ls_fault_kind k);

void ls_world_run(const struct ls_plan *p);

/* The time that has passed in the world. */
uint64_t ls_now_ms(const struct ls_world *w);
/* The clock without its jumps: how long everybody has had. */
uint64_t ls_clock_ns(const struct ls_world *w);
/* Some turns, and what completes in them. */
void ls_world_step(struct ls_world *w, uint64_t max_ns);
/* Runs until done(w), at most that long. */
bool ls_world_until(struct ls_world *w, bool (*done)(struct ls_world *w), uint64_t max_ms);
void ls_target_start(struct ls_world *w);
void ls_target_kill(struct ls_world *w);
void ls_target_orders(struct ls_world *w);
/* Data on their way to the medium were spoiled. */
void ls_world_spoiled(struct ls_world *w);
uint64_t ls_random(struct ls_world *w, uint64_t below);

/* ---- handle.c ------------------------------------------------------------------------------- */

void ls_handles_init(struct ls_world *w);
void ls_session_ask(struct ls_session *se);
/* Whether its commands are sent, whatever anybody has been told yet. */
bool ls_session_runs(const struct ls_session *se);
/* It is logged in anew: what was under way before has ended. */
void ls_session_new_nexus(struct ls_session *se);
/* Opens and closes what is due. */
void ls_handles_look(struct ls_world *w);
bool ls_handles_up(struct ls_world *w);
void ls_handles_close(struct ls_world *w);
void ls_handles_free_queues(struct ls_world *w);
/* Gives up what is being opened. */
void ls_handles_cancel(struct ls_world *w);
void ls_handle_cancel(struct ls_handle *h);
/* The size that the library knows. */
uint64_t ls_handle_size(const struct ls_handle *h);
bool ls_handle_leaves(const struct ls_handle *h);

/* ---- ctl.c ---------------------------------------------------------------------------------- */

/* The control plane dies at one of its next messages, and another comes in its time. */
void ls_ctl_doom(struct ls_world *w, uint64_t arg, uint32_t for_ms);
void ls_ctl_look(struct ls_world *w);
bool ls_ctl_is_due(const struct ls_world *w);
/* There is none, or it does not have all sessions yet. */
bool ls_ctl_is_away(const struct ls_world *w);

/* ---- user.c --------------------------------------------------------------------------------- */

void ls_user_acts(struct ls_world *w);
/* The control plane has told the data plane once more what was said last. */
void ls_user_said(struct ls_session *se);

/* ---- reserve.c ------------------------------------------------------------------------------ */

/* Reserves LUNs that are open and have not been reserved. */
void ls_reserve_some(struct ls_world *w);
/* What was reserved still is; all LUNs are open. */
void ls_reserve_check(struct ls_world *w);

/* ---- io.c ----------------------------------------------------------------------------------- */

void ls_io_init(struct ls_world *w);
void ls_io_fini(struct ls_world *w);
/* Makes one request; false: not now. */
bool ls_io_start(struct ls_world *w);
/* A few of each queue that have ended; returns how many. */
uint32_t ls_io_poll(struct ls_world *w);
/* Now and then one is canceled; all of those whose LUN is to be closed are. */
void ls_io_cancel_some(struct ls_world *w);
/* Makes one by a call that waits for its end. */
void ls_io_call(struct ls_world *w, struct ls_handle *h);
uint32_t ls_io_outstanding(const struct ls_world *w);
/* Frees queues that have reads outstanding: nothing is written to their memory afterwards. */
void ls_io_leave(struct ls_world *w);
/* Of a command that only we send, and that may be executed once at most. */
bool ls_io_is_raw_opcode(uint8_t opcode);
/* Whether that command is outstanding. */
bool ls_io_has(const struct ls_world *w, uint8_t lun, const uint8_t *cdb);

/* ---- judge.c -------------------------------------------------------------------------------- */

/* What became of a request that ended so; does not return where it may not end so. */
enum ls_outcome ls_judge(struct ls_world *w, const struct ls_io *io, int err);
bool ls_judge_may_fail(const struct ls_world *w, const struct ls_io *io, int err);
/* What it is about is not there for a while, and reads as zeroes when it is back. */
bool ls_judge_cut_off(const struct ls_world *w, const struct ls_io *io);
void ls_judge_deadlines(struct ls_world *w);

/* ---- fault.c -------------------------------------------------------------------------------- */

void ls_faults_plan(struct ls_world *w);
/* The bytes that are there while a LUN is shrunk. */
uint64_t ls_half_of(const struct ls_world *w, uint32_t lun);
/* A target has been started: what faults have set in the one before is set in it. */
void ls_faults_of_target(struct ls_world *w);

/* ---- event.c -------------------------------------------------------------------------------- */

void ls_events_init(struct ls_world *w);
void ls_events_check(struct ls_world *w);

/* ---- check.c -------------------------------------------------------------------------------- */

void ls_check_turn(struct ls_world *w);
/* What its commands do now: wait, or fail. */
void ls_check_host(struct ls_world *w, struct ls_session *se);
/* The session is lost: so is what is under way in it. */
void ls_io_lost(struct ls_world *w, const struct ls_session *se);

/* ---- memory.c ------------------------------------------------------------------------------- */

/* The n-th allocation from now on fails, n >= 1; 0: none does. */
void ls_memory_fail_nth(uint64_t n);
/* Tells whether it has failed since. */
bool ls_memory_failed(void);
/* Memory that was taken since the beginning and not given back: says what, and returns how much. */
size_t ls_memory_left(void);
/* None fails while on. */
void ls_memory_pause(bool on);

/* ---- wire.c --------------------------------------------------------------------------------- */

struct ls_wire *ls_wire_new(struct ls_world *w);
void ls_wire_free(struct ls_wire *wi);
uint32_t ls_wire_tap(void *user, const struct sim_bytes *b);

/* Bytes that are to be spoiled: so many, of headers or of data, in one direction. */
struct ls_spoil {
    bool to_server, data;
    uint32_t count, skip, every; /* places are left out before the first, and between two */
    uint32_t at;                 /* which byte of a header */
};
void ls_wire_spoil(struct ls_wire *wi, const struct ls_spoil *s);
/* That share of 1024 of all data segments is spoiled, both ways, where the level repairs it. */
void ls_wire_spoil_share(struct ls_wire *wi, uint32_t share);
/* The command is its owner's again. */
void ls_wire_given_back(struct ls_wire *wi, uint8_t lun, const uint8_t *cdb);

/* ---- rdma.c --------------------------------------------------------------------------------- */

struct ls_rdma *ls_rdma_new(struct ls_world *w);
/* What must not be left of it is not.  NULL is harmless. */
void ls_rdma_free(struct ls_rdma *r);
/* Registers memory of requests, where the plan says so. */
void ls_rdma_register(struct ls_world *w);
/* A request is over: no device uses its memory. */
void ls_rdma_given_back(struct ls_world *w, const struct ls_io *io);
/* What must hold after each turn. */
void ls_rdma_check(struct ls_world *w);
/* Makes a fault happen, or ends it; false: it is one that does not differ. */
bool ls_rdma_fault(struct ls_world *w, const struct ls_fault *f, bool on);
/* A portal that nobody is to use any more. */
void ls_rdma_shut(struct ls_world *w, unsigned portal, bool shut);
/* The same over whatever connections go: all are cut, both ends being told, if anybody is; and
 * those that their client has left and their server has not. */
void ls_world_cut(struct ls_world *w);
unsigned ls_world_orphans(const struct ls_world *w);

/* ---- trace ---------------------------------------------------------------------------------- */

extern bool ls_tracing;
/* A line of the trace, with the time. */
void ls_say(const struct ls_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void ls_fail(const struct ls_world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The trace points that have come since the last call. */
void ls_trace_new(struct ls_world *w);

#endif
