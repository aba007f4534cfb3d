/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma.h - seam/rdma.h on virtual time: RDMA devices and a fabric between the loops
 * of a sim, from the sim's seed.
 *
 * Each loop is a machine with one device.  A transfer takes time and touches memory in pieces,
 * whenever the seed says so between its posting and its completion, so that memory which was given
 * back too early shows.  The rules are those that were seen on a real kernel; see seam/rdma.h and
 * what tests/rdma/contract.c holds of both.
 */
#ifndef TESTS_SIM_SIM_RDMA_H
#define TESTS_SIM_SIM_RDMA_H

#include "seam/rdma.h"
#include "tests/sim/sim_loop.h"

/* Percentages are of each chance to do so.  All zero will do: a fabric that is polite. */
struct sim_rdma_config {
    /* The devices. */
    bool no_device;       /* rnic_resolve and rnic_listen: -ENODEV */
    bool no_windows;      /* caps.windows is not set, and rnic_mw_new fails */
    uint32_t max_windows; /* of one device; 0: 4096 */
    uint32_t max_regions; /* of one device; 0: 4096 */
    uint64_t max_region;  /* bytes of one; 0: 1 GiB */
    uint64_t memlock; /* bytes that a loop's regions may have together, in whole pages; 0: any */

    /* The fabric.  One way takes what struct sim_config says of delays. */
    uint32_t private_len;        /* bytes that an answer's private data is padded to; 0: 196 */
    uint32_t resolve_timeout_ms; /* nobody has the address; 0: 2000 */
    uint32_t connect_timeout_ms; /* of a request that nobody answers; 0: 60000 */
    uint32_t retry_ms;           /* until what is sent to nobody is RNIC_NO_ANSWER; 0: 4000 */

    /* When memory is touched. */
    uint32_t piece_percent; /* a transfer moves in 2..4 pieces, at different times */
    uint32_t gap_max_us;    /* between pieces; 0: 50 */
    uint32_t early_percent; /* what is sent is read as it leaves, and not as it arrives */
    uint32_t linger_max_us; /* from rnic_disconnect until the device stops; 0: 200 */
    uint32_t flush_max_us;  /* between two that are flushed; 0: 20 */

    /* What owners are told. */
    uint32_t batch_max;           /* completions of one callback; 0: 16 */
    uint32_t turn_max;            /* completions of one loop's turn; 0: 64 */
    uint32_t ended_never_percent; /* nobody says that the peer has left */
    uint32_t ended_late_percent;  /* it is said up to ended_late_max_ms later */
    uint32_t ended_late_max_ms;   /* 0: 1000 */
};

/* Everything that a fabric may do without breaking a connection, at rates that hurt. */
extern const struct sim_rdma_config sim_rdma_rough;

/* Every loop of the world, those that come later too, has a device from now on; once.  cfg may be
 * NULL.  It ends with the world, and all endpoints must be closed then. */
void sim_rdma_open(struct sim *sim, const struct sim_rdma_config *cfg);
void sim_rdma_configure(struct sim *sim, const struct sim_rdma_config *cfg);

/* ---- Who reads along ------------------------------------------------------------------------ */

enum sim_rdma_way { SIM_RDMA_TO_SERVER, SIM_RDMA_TO_CLIENT, SIM_RDMA_WAYS };

enum sim_rdma_stage {
    SIM_RDMA_MADE,   /* no request: the server has accepted, and the client hears of it (way:
                        TO_CLIENT) */
    SIM_RDMA_POSTED, /* it was posted; the verdict is not looked at, and a change changes nothing */
    SIM_RDMA_ARRIVES, /* it is its turn, a receive is there for it, nothing has moved: the verdict
                         decides */
    SIM_RDMA_CLOSED,  /* no request: the end that this way begins at has disconnected or closed */
};

enum sim_rdma_kind { SIM_RDMA_A_SEND, SIM_RDMA_A_WRITE, SIM_RDMA_A_READ };

/* What goes from one end to the other: a Send message, or a request to write or read. */
struct sim_rdma_message {
    enum sim_rdma_stage stage;
    uint32_t conn; /* the how many-th connection of the world that was asked for, from 1 on */
    const struct sock_addr *server; /* the address that was asked for */
    enum sim_rdma_way way;
    enum sim_rdma_kind kind;
    uint32_t number;      /* the how many-th request of this connection and way, from 1 on */
    uint32_t invalidate;  /* SEND: the rkey that it invalidates; 0: none */
    uint64_t remote_addr; /* WRITE, READ: of the end that this way leads to */
    uint32_t rkey;
    uint8_t *bytes; /* SEND, else NULL; what is changed here at ARRIVES goes on so */
    uint32_t len;   /* of the message or transfer; it stays */
};

/* What becomes of a request that arrives. */
enum sim_rdma_verdict {
    SIM_RDMA_PASS,
    SIM_RDMA_HOLD,       /* it waits, and all of its way behind it: see sim_rdma_hold */
    SIM_RDMA_SWALLOW,    /* as if it had not been posted: no fabric does this, but peers do */
    SIM_RDMA_CUT_BEFORE, /* sim_rdma_cut, as SIM_RDMA_LEAVE, and it does not go on */
    SIM_RDMA_CUT_INSIDE, /* half of it is moved, then the same */
    SIM_RDMA_CUT_BEHIND, /* all of it goes on, then the same */
};

/* fn is asked about every request; NULL: all pass.  It may use every function here. */
void sim_rdma_tap(struct sim *sim,
                  enum sim_rdma_verdict (*fn)(void *user, const struct sim_rdma_message *m),
                  void *user);

/* While on, nothing that arrives on that way of such connections goes on, neither messages nor
 * reads and writes: as if the receiver were not ready, so that nothing breaks.  conn 0: of all,
 * those that come later too.  Off: it goes on, and the tap is asked about it again; off with 0 also
 * ends what was held one by one and by SIM_RDMA_HOLD. */
void sim_rdma_hold(struct sim *sim, uint32_t conn, enum sim_rdma_way way, bool on);
/* Bytes of messages and writes that have left and wait, since their way is held. */
uint64_t sim_rdma_kept(const struct sim *sim, enum sim_rdma_way way);

struct sim_rdma_stats {
    uint64_t asked, made, cuts; /* connections: asked for, established, cut by faults */
    uint64_t messages[SIM_RDMA_WAYS], message_bytes[SIM_RDMA_WAYS]; /* delivered */
    uint64_t writes[SIM_RDMA_WAYS], write_bytes[SIM_RDMA_WAYS];     /* the way is the requests' */
    uint64_t reads[SIM_RDMA_WAYS], read_bytes[SIM_RDMA_WAYS];
    uint64_t binds, invalidations, remote_invalidations;
    uint64_t waits;          /* messages that found no receive */
    uint64_t refused;        /* reads and writes that memory was not open to */
    uint64_t flushed, again; /* completions; calls that returned -EAGAIN */
    uint64_t spins;          /* calls of rnic_spin that were not 0 */
    uint64_t late_writes;    /* that would have gone to memory which is registered no more: 0 */
    uint64_t open, regions, region_bytes, windows; /* endpoints and listeners, and so on: now */
};

const struct sim_rdma_stats *sim_rdma_stats(const struct sim *sim);
/* Connections to a server that are up at both ends; NULL: to all. */
unsigned sim_rdma_links(const struct sim *sim, const struct sock_addr *server);
/* Connections that their client has disconnected or closed and their server has not: it may still
 * receive what was sent to it before. */
unsigned sim_rdma_orphans(const struct sim *sim);

/* ---- Judging -------------------------------------------------------------------------------- */

enum sim_rdma_use {
    SIM_RDMA_RECEIVES = 1 << 0,    /* a posted receive is not completed */
    SIM_RDMA_READS_IN = 1 << 1,    /* a posted RNIC_READ into it is not completed */
    SIM_RDMA_SENDS = 1 << 2,       /* a posted send or RNIC_WRITE out of it is not completed */
    SIM_RDMA_PEER_WRITES = 1 << 3, /* a request of the peer's is under way that may write there */
    SIM_RDMA_PEER_READS = 1 << 4,  /* the same, read */
    SIM_RDMA_WINDOW = 1 << 5, /* a window is bound to it, or its bind is posted, and the connection
                                 is not closed */
    SIM_RDMA_REGION = 1 << 6, /* it is in a region that the peer may write to, and so on */
};

/* In what ways a device may still use any of the bytes, of enum sim_rdma_use.  A request is
 * completed for this when its owner has been told, or a later one that holds its place open, of a
 * quiet one.  Whoever gets a buffer back asks: `SIM_RDMA_PEER_WRITES | SIM_RDMA_WINDOW` and so on
 * must not be in it. */
unsigned sim_rdma_owns(const struct sim *sim, const void *addr, size_t len);

/* Whether an rkey of one end of a connection, the one that `way` leads to, is open to the other:
 * a bound window, or a region with access, of an endpoint that is not closed. */
bool sim_rdma_key_is_open(const struct sim *sim, uint32_t conn, enum sim_rdma_way way,
                          uint32_t rkey);

/* fn is called, in the middle of the call that is wrong, when an owner breaks seam/rdma.h: memory
 * deregistered that is in use, a window freed that is bound, an endpoint used in a state that has
 * no such call.  NULL, as at first: the sentence is printed and the program aborts. */
void sim_rdma_judge(struct sim *sim, void (*fn)(void *user, const char *what), void *user);

/* ---- Faults --------------------------------------------------------------------------------- */
/* server is the address that connections were asked for; NULL: all. */

enum sim_rdma_fate {
    SIM_RDMA_NORMAL,     /* who listens there is asked; nobody does: REFUSED */
    SIM_RDMA_REFUSED,    /* rejected, reason 8: no such listener */
    SIM_RDMA_UNWANTED,   /* rejected, reason 28: the listener refuses */
    SIM_RDMA_NOBODY,     /* nobody has the address (of any port) */
    SIM_RDMA_BLACK_HOLE, /* it is resolved, and then nothing comes until connect_timeout_ms */
    SIM_RDMA_STUCK,      /* established at once; the listener's owner does not hear of it */
};

/* What happens to connections that are asked for from now on.  Those that wait in BLACK_HOLE or
 * STUCK go on when the fate is NORMAL again. */
void sim_rdma_set_fate(struct sim *sim, const struct sock_addr *server, enum sim_rdma_fate fate);

/* Connections that are asked for at `portal` reach the listener at `to` from now on; NULL: the one
 * at portal again. */
void sim_rdma_lead(struct sim *sim, const struct sock_addr *portal, const struct sock_addr *to);

enum sim_rdma_cut {
    SIM_RDMA_LEAVE,  /* either end is told as if the other had disconnected: at once, late, never */
    SIM_RDMA_SILENT, /* nothing arrives any more, and nobody is told */
    /* The queues of that end go to error, and what is posted there is flushed; the other end is
     * told nothing. */
    SIM_RDMA_CLIENT_ERROR,
    SIM_RDMA_SERVER_ERROR,
};

/* Cuts connections now; returns how many. */
int sim_rdma_cut(struct sim *sim, const struct sock_addr *server, enum sim_rdma_cut how);
/* Cuts one of the connections that are up: the n-th, counted round. */
void sim_rdma_cut_one(struct sim *sim, unsigned n, enum sim_rdma_cut how);
/* Cuts each connection that is up, and the next one made, as soon as that many more requests of
 * that way - messages, writes, reads - are done.  UINT64_MAX: never. */
void sim_rdma_cut_after(struct sim *sim, const struct sock_addr *server, enum sim_rdma_cut how,
                        uint64_t to_server, uint64_t to_client);

/* Nothing arrives while on, of connections that there are and that come: who has sent something
 * gets RNIC_NO_ANSWER after retry_ms, and requests to connect wait. */
void sim_rdma_stall(struct sim *sim, const struct sock_addr *server, bool on);
/* Stalls one of the connections that are up, the n-th, counted round; sim_rdma_stall(sim, NULL,
 * false) ends it. */
void sim_rdma_stall_one(struct sim *sim, unsigned n);

/* What goes that way takes ns longer from now on. */
void sim_rdma_late(struct sim *sim, const struct sock_addr *server, enum sim_rdma_way way,
                   uint64_t ns);

/* The device of a loop is removed: its connections end with -ENODEV, the peers are told nothing,
 * and there is no device until `on` is false. */
void sim_rdma_remove_device(struct sim *sim, struct loop *l, bool on);

/* The process of a loop dies as by SIGKILL: nobody calls its endpoints' owners any more, its memory
 * is not touched any more, its listeners are gone, and the peers hear of it late or never.  Its
 * endpoints may still be closed, which does nothing, and need not be. */
void sim_rdma_kill(struct sim *sim, struct loop *l);

#endif
