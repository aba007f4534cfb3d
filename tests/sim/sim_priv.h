/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_priv.h - shared by sim_loop.c (time, work), sim_net.c (streams) and the others. */
#ifndef TESTS_SIM_SIM_PRIV_H
#define TESTS_SIM_SIM_PRIV_H

#include "tests/sim/sim_loop.h"

/* Something that happens at a time, to the world and not to one loop. */
struct sim_event {
    struct timerq_node node;
    void (*fn)(struct sim_event *e);
};

struct sim {
    uint64_t now_ns, hash, rng;
    bool together;
    void (*after_turn)(void *user);
    void *after_turn_user;
    uint32_t (*tap)(void *user, const struct sim_bytes *b);
    void *tap_user;
    struct sim_config cfg;
    struct timerq events;
    struct list loops; /* struct sim_loop */
    uint32_t nloops;
    struct list conns;     /* struct conn */
    struct list listeners; /* struct sim_stream */
    struct list cut_off;   /* struct sim_stream, of processes that were killed */
    struct list rules;     /* struct rule */
    struct list hosts;     /* struct host */
    struct list ats;       /* struct at */
    struct list fds;       /* struct sim_fd */
    struct list processes; /* struct sim_process */
    struct list memories;  /* struct sim_memory */
    int next_fd;
    uint32_t nprocesses;
    uint64_t reap_max_ns;
    uint32_t shm_good; /* calls of seam/shm.h that are still granted before one fails so: */
    int shm_err;
    uint32_t next_id; /* of streams and connections */
    uint16_t next_port;
    struct rsim *rdma; /* NULL: its loops have no RDMA device */
};

/* A process: the loops of its threads, and what is gone with it. */
struct sim_process {
    struct list node; /* sim.processes */
    struct sim *sim;
    struct list maps;    /* struct sim_map, of sim_shm.c */
    struct list watches; /* struct shm_process of others, which wait for its end */
    struct sim_event reaping, dying;
    sim_dying_fn *last; /* writes to memory when it is killed and not reaped */
    void *last_user;
    uid_t uid;
    pid_t pid;
    unsigned fds, fds_max;
    bool killed, reaped;
};

/* What a kind of descriptor does with the object that it is of. */
struct sim_fd_ops {
    void (*opened)(void *of);
    void (*closed)(void *of);
};

/* A descriptor.  Its number is not given away again, so that whoever uses one that is closed is
 * told so. */
struct sim_fd {
    struct list node; /* sim.fds */
    const struct sim_fd_ops *ops;
    void *of;
    struct sim_process *owner; /* NULL: the test's, or on its way in a packet */
    int number;
};
#define SIM_FD_OF_THE_DEAD 999999999 /* what killed processes are given; nothing has it */

struct sim_loop {
    struct loop pub;
    struct sim *sim;
    struct sim_process *process;
    struct list node; /* sim.loops */
    struct timerq timers;
    struct list deferred, posted;
    struct list ready, dead; /* struct sim_stream */
    struct list watches;     /* struct loop_watch */
    struct list resolves;    /* struct resolve */
    unsigned char *scratch;  /* where pub.scratch lies in */
    uint64_t callbacks;
    uint32_t id, streams;
    bool running;
};

/* What goes into the hash. */
enum sim_note {
    NOTE_TURN,
    NOTE_TIMER,
    NOTE_WORK,
    NOTE_RANDOM,
    NOTE_RESOLVED,
    NOTE_CONNECTED,
    NOTE_READABLE,
    NOTE_WRITABLE,
    NOTE_ACCEPTED,
    NOTE_SEND,
    NOTE_RECV,
    NOTE_CLOSE,
    NOTE_ARRIVE,
    NOTE_CUT,
    NOTE_WATCH,
    NOTE_RDMA,
    NOTE_KILLED,
    NOTE_REAPED,
    NOTE_RING,
};

static inline struct sim_loop *
sim_loop_of(struct loop *l)
{
    return container_of(l, struct sim_loop, pub);
}

uint64_t sim_random(struct sim *sim);
bool sim_chance(struct sim *sim, uint32_t percent);
bool sim_chance_ppm(struct sim *sim, uint32_t ppm);
uint64_t sim_delay_ns(struct sim *sim);
void sim_note(struct sim *sim, enum sim_note what, uint64_t a, uint64_t b);
void sim_note_bytes(struct sim *sim, const void *buf, size_t len);

void sim_event_at(struct sim *sim, struct sim_event *e, uint64_t when_ns);
void sim_event_del(struct sim *sim, struct sim_event *e);

/* sim_process.c */
struct sim_process *sim_process_new(struct sim *sim);
void sim_processes_free(struct sim *sim);
/* Gives a descriptor of the object to a process, or to nobody.  Returns its number. */
int sim_fd_new(struct sim *sim, const struct sim_fd_ops *ops, void *of, struct sim_process *owner);
struct sim_fd *sim_fd_find(struct sim *sim, int fd);
void sim_fd_close(struct sim *sim, int fd);
/* The same by a process, which may have been killed. */
void sim_process_close_fd(struct sim_process *p, int fd);
/* Whether the process may have one more. */
bool sim_fd_room(const struct sim_process *p);
void sim_fd_give(struct sim_fd *f, struct sim_process *owner);

/* sim_packets.c */
extern const struct packet_ops sim_packet_ops;

/* sim_shm.c */
extern const struct shm_ops sim_shm_ops;
/* The process is killed: what its program does with its mappings is not seen by others any more. */
void sim_shm_cut_off(struct sim_process *p);
/* It is reaped: nothing writes any more, and those who wait for that are told. */
void sim_shm_reaped(struct sim_process *p);
/* Has something of it write to what it had mapped. */
void sim_shm_last(struct sim_process *p);
/* Takes back what the programs of killed processes have. */
void sim_shm_drop_dead(struct sim *sim);
void sim_shm_free(struct sim *sim);

/* sim_watch.c */
/* The bell rings after late_ns, and counts at once. */
void sim_bell_wake(struct sim *sim, int fd, uint64_t late_ns);
int sim_bell_of(struct sim *sim, struct sim_process *owner);
bool sim_is_bell(struct sim *sim, int fd);
void sim_watches_cut_off(struct sim_loop *l);
void sim_watches_drop(struct sim_loop *l);
int sim_watch(struct loop *l, int fd, void (*readable)(void *user), void *user,
              struct loop_watch **ret);
void sim_unwatch(struct loop *l, struct loop_watch *w);
bool sim_watches_ready(const struct sim_loop *l);
void sim_dispatch_watches(struct sim_loop *l);
void sim_watch_free(struct sim *sim);

/* sim_rdma.c */
void sim_rdma_new_loop(struct sim *sim, struct sim_loop *l);
void sim_rdma_free(struct sim *sim);

/* sim_net.c */
int sim_connect(struct loop *l, const struct sock_addr *to, const struct stream_opts *opts,
                const struct stream_events *ev, void *user, struct stream **ret);
int sim_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev,
               void *user, struct stream **ret, struct sock_addr *ret_bound);
int sim_adopt(struct loop *l, int fd, const struct stream_events *ev, void *user,
              struct stream **ret);
int sim_adopt_listener(struct loop *l, int fd, const struct stream_events *ev, void *user,
                       struct stream **ret);
int sim_release(struct stream *s);
void sim_set_events(struct stream *s, const struct stream_events *ev, void *user);
ssize_t sim_sendv(struct stream *s, const struct iovec *iov, int n, size_t len);
ssize_t sim_recvv(struct stream *s, const struct iovec *iov, int n);
int sim_set_rcvlowat(struct stream *s, uint32_t bytes);
int sim_set_opts(struct stream *s, const struct stream_opts *opts);
int sim_lend(struct stream *s, uint32_t min);
int64_t sim_unacked(struct stream *s);
int64_t sim_unread(struct stream *s);
int sim_names(struct stream *s, struct sock_addr *ret_local, struct sock_addr *ret_peer);
int sim_peer_cred(struct stream *s, uid_t *ret_uid, pid_t *ret_pid);
void sim_close(struct stream *s);
void sim_reset(struct stream *s);
void sim_dispatch_streams(struct sim_loop *l);
void sim_reap_streams(struct sim_loop *l);
void sim_net_drop_dead(struct sim *sim);
void sim_net_free(struct sim *sim);

#endif
