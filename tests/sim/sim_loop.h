/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_loop.h - seam/loop.h on virtual time and a simulated network, from one seed.
 *
 * A sim is a world: one clock, one network, any number of loops, one thread.
 * The clock stands still while nothing happens and jumps to what happens next;
 * each turn costs a little of it.  Everything random comes from the seed, so a
 * run with the same seed and the same calls is the same run: sim_hash tells.
 */
#ifndef TESTS_SIM_SIM_LOOP_H
#define TESTS_SIM_SIM_LOOP_H

#include "seam/loop.h"

struct sim;

/* Percentages are of each chance to do so, ppm are parts per million of it. */
struct sim_config {
    uint32_t delay_min_us, delay_max_us; /* one way, drawn for each segment; max 0: 20..200 */
    uint32_t turn_max_ns;                /* what a turn of a loop costs at most; 0: 2000 */
    uint32_t buffer; /* bytes that a direction holds when no sndbuf/rcvbuf is set; 0: 128 KiB */
    uint32_t connect_timeout_ms; /* of a lost connection attempt; 0: 127 s */
    uint32_t split_percent;      /* what is sent arrives in several pieces */
    uint32_t coalesce_percent;   /* it arrives with what was sent before */
    uint32_t short_send_percent; /* stream_sendv takes less than there is room for */
    uint32_t short_recv_percent; /* stream_recvv gives less than there is */
    uint32_t
        spurious_percent; /* ->readable without cause, as may happen when data was read early */
    uint32_t reset_ppm, eof_ppm;   /* of each segment: the connection is cut there */
    uint32_t refuse_ppm, lose_ppm; /* of each connection attempt */
};

/* The device that a connection was bound to; "": none. */
const char *sim_device(struct stream *s);

/* Everything that a network may do without breaking a connection, at rates that hurt. */
extern const struct sim_config sim_rough;

/* cfg may be NULL: whole segments, no faults. */
struct sim *sim_new(uint64_t seed, const struct sim_config *cfg);
/* All streams, watches, timers, lookups, mappings and descriptors must be gone, but for those of
 * processes that were killed; frees the loops, too. */
void sim_free(struct sim *sim);

/* Adds a loop: a process of its own.  The sim owns it. */
struct loop *sim_loop(struct sim *sim);
/* Adds a loop to the process of another one: a thread. */
struct loop *sim_loop_beside(struct loop *l);
/* The sim that has made it. */
struct sim *sim_of(struct loop *l);

uint64_t sim_now_ns(const struct sim *sim);
uint64_t sim_hash(const struct sim *sim);
/* From the seed, for the test's own choices: 0 <= result < below. */
uint64_t sim_below(struct sim *sim, uint64_t below);
void sim_configure(struct sim *sim, const struct sim_config *cfg);

/* Turns of all loops, in an order that the seed chooses, until done(user) or max_ns have passed.
 * Returns done(user); false early when nothing can happen any more.  done may be NULL.  loop_run
 * in the simulator runs one loop only, and returns -EDEADLK when that would wait forever. */
bool sim_run_until(struct sim *sim, bool (*done)(void *user), void *user, uint64_t max_ns);

/* While on, loop_run of one loop gives the others their turns, too, so that a program can wait for
 * one that runs on another loop. */
void sim_together(struct sim *sim, bool on);

/* From inside a turn, or between two: another loop, which has work and is in no turn, has one, as
 * on another processor.  False: there is none. */
bool sim_interleave(struct sim *sim);

/* Calls fn(user) after each turn of any loop: the place to check what must always hold. */
void sim_after_turn(struct sim *sim, void (*fn)(void *user), void *user);

/* Calls fn(user) between two turns, delay_ns from now. */
void sim_at(struct sim *sim, uint64_t delay_ns, void (*fn)(void *user), void *user);

/* The clock jumps forward, as that of a machine that was suspended. */
void sim_jump(struct sim *sim, uint64_t ns);

/* Bytes of a connection, for whoever reads along: those to the server when they are sent, those to
 * the client when they have arrived.  p NULL: the client has closed the connection. */
struct sim_bytes {
    uint32_t conn;
    bool to_server;
    const uint8_t *p;
    size_t len;
};
/* fn is called for all connections, in the order of each direction's bytes.  It returns 0; or which
 * of the bytes, counted from 1, is to be another one when it is received. */
void sim_tap(struct sim *sim, uint32_t (*fn)(void *user, const struct sim_bytes *b), void *user);

/* What a name resolves to; addresses without port, numeric.  err <0: how its lookup fails.
 * "localhost" is known. */
void sim_host(struct sim *sim, const char *name, int err, const char *const *numeric, int count);

/* Faults.  server is where the connections were made to; NULL: all. */

enum sim_cut {
    SIM_RESET, /* both ends see -ECONNRESET */
    SIM_EOF,   /* both ends see the end of the stream */
};

/* Cuts connections now; what is under way is lost.  Returns how many. */
int sim_cut(struct sim *sim, const struct sock_addr *server, enum sim_cut how);

/* Cuts one of the connections that are open: the n-th, counted round. */
void sim_cut_one(struct sim *sim, unsigned n, enum sim_cut how);

/* Cuts each open connection, and the next one made, when that many more bytes have arrived.
 * UINT64_MAX: never. */
void sim_cut_after(struct sim *sim, const struct sock_addr *server, enum sim_cut how,
                   uint64_t bytes_to_server, uint64_t bytes_to_client);

/* Connection attempts are refused while on. */
void sim_refuse(struct sim *sim, const struct sock_addr *server, bool on);

/* Nothing arrives while on: a network that lost its way.  Senders with data under way give up
 * after their user_timeout_ms (or 15 minutes). */
void sim_stall(struct sim *sim, const struct sock_addr *server, bool on);

/* The same for the connections that there are now: those that are made meanwhile work.  Off: what
 * was on its way arrives after all. */
void sim_hold(struct sim *sim, bool on);

/* Holds one of the connections that are open: the n-th, counted round.  sim_hold lets go. */
void sim_hold_one(struct sim *sim, unsigned n);

/* What one of the open connections, the n-th, counted round, carries takes ns longer each way, so
 * that the others overtake it; sim_late_none ends that for all. */
void sim_late_one(struct sim *sim, unsigned n, uint64_t ns);
void sim_late_none(struct sim *sim);

/* Connections that their client has closed and their server has not: it may still receive what was
 * sent to it before. */
unsigned sim_orphans(struct sim *sim);

/* A descriptor of the simulator that loop_watch takes and that is no stream: a counter, as an
 * eventfd is.  It lives until sim_bell_free, which comes after loop_unwatch, or until the end of
 * the world. What a test has behind it, a queue or a device, is its own. */
int sim_bell(struct sim *sim);
void sim_bell_free(struct sim *sim, int fd);
/* Adds to the counter: the descriptor can be read from now on, or after delay_ns where that is not
 * 0.  May be called at any time, from inside callbacks as well. */
void sim_bell_ring(struct sim *sim, int fd, uint64_t delay_ns);
/* Reads the counter, which is 0 afterwards. */
uint64_t sim_bell_read(struct sim *sim, int fd);

/* A descriptor that listens already, as a service manager hands it over, for
 * stream_adopt_listener or stream_adopt_packet_listener.  The process of l owns *ret_fd.  Whoever
 * connects before it is adopted waits.  As stream_listen. */
int sim_listening_fd(struct loop *l, const struct sock_addr *at, bool packets, int *ret_fd);

/* Closes a descriptor, as one of stream_release that nobody has adopted. */
void sim_close_fd(struct sim *sim, int fd);

/* Processes, which are named by any of their loops.  The processes of a world are all of one user,
 * the test's own, unless it says otherwise. */
void sim_process_set_uid(struct loop *l, uid_t uid);
/* How many descriptors it may have; more are lost (-EMFILE). */
void sim_process_set_fds(struct loop *l, unsigned most);
/* How many there are in the whole world, and how many the process has. */
unsigned sim_fds(struct sim *sim);
unsigned sim_process_fds(struct loop *l);

/* Kills a process with SIGKILL, between two turns.  Its loops run no more, its connections and
 * listeners end, its descriptors are closed, what it had sent arrives.  It is reaped after a delay
 * from the seed; until then something of it, as a thread that is in the kernel, may still write to
 * the memory of seam/shm.h that it had mapped.
 *
 * The program's own memory is the test's: it frees what the program had with the program's own
 * calls, at any time after this, or leaves it alone.  On a loop that was killed these do nothing
 * that others could see: what it sends or writes to shared memory goes nowhere. */
void sim_process_kill(struct loop *l);
bool sim_process_killed(struct loop *l);
bool sim_process_reaped(struct loop *l);
/* The longest that a killed process waits to be reaped; 0: 50 ms. */
void sim_set_reaping(struct sim *sim, uint64_t max_ns);

/* Is called for each memory that the process had mapped, at times from the seed between its being
 * killed and being reaped, to write there what it likes. */
typedef void sim_dying_fn(void *user, uint8_t *mem, size_t size);
void sim_process_set_dying(struct loop *l, sim_dying_fn *fn, void *user);

/* Memory of seam/shm.h.  In each process it is mapped at another address, between pages that
 * nobody may touch. */

/* Makes memory as a careless or hostile process does: with these seals only (F_SEAL_*), and not
 * mapped.  The process owns *ret_fd. */
int sim_memory_unsealed(struct loop *l, size_t size, int seals, int *ret_fd);
/* The call of seam/shm.h after so many good ones, of any process, fails with -err, once. */
void sim_shm_fail(struct sim *sim, uint32_t after, int err);

/* Watches bytes of a mapping: they must not change, whoever writes, until sim_unguard. */
struct sim_guard;
struct sim_guard *sim_guard(struct loop *l, const void *p, size_t len);
/* Whether they are what they were when they were guarded. */
bool sim_guard_holds(const struct sim_guard *g);
void sim_unguard(struct sim_guard *g);

#endif
