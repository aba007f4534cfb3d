/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_net.h - connections, for sim_net.c, which has those of bytes and what both have in
 * common, and sim_packets.c above it. */
#ifndef TESTS_SIM_SIM_NET_H
#define TESTS_SIM_SIM_NET_H

#include <sys/socket.h>

#include "tests/sim/sim_priv.h"

struct sim_packet;

enum seg_kind { SEG_DATA, SEG_PACKET, SEG_FIN, SEG_RST };

struct seg {
    struct list node;
    uint64_t at_ns;
    size_t len;
    enum seg_kind kind;
    struct sim_packet *packet; /* owned */
};

/* Bytes under way that still lie in the sender's memory. */
struct loan {
    struct list node;
    uint64_t at; /* counted as `launched` is */
    size_t len;
    const uint8_t *from;
};

enum end_state {
    END_CLOSED,     /* also: the server's, before anybody has listened */
    END_CONNECTING, /* the client's */
    END_QUEUED,     /* the server's, to be accepted */
    END_OPEN,
    END_RELEASED,
};

struct end {
    struct conn *conn;
    struct sim_stream *s;     /* CONNECTING and OPEN only */
    struct sim_process *made; /* who has connected, or listened; NULL: nobody yet */
    enum end_state state;
    struct sock_addr addr;
    struct list queued; /* sim_stream.queue while QUEUED */
    unsigned fds;       /* descriptors of it, of which one at least keeps it open */

    uint8_t *ring;
    size_t cap, head, unread, flying;
    struct list packets; /* struct sim_packet: those that are there, `unread` bytes */
    size_t room_wanted;  /* for the packet that this end could not send */
    struct list segs;
    struct list loans;
    uint64_t launched, arrived; /* bytes ever sent to this end, and those that were there */
    uint64_t spoil_at;          /* which of them is spoiled when it arrives */
    uint64_t last_ns;           /* nothing arrives before what was sent before */
    struct sim_event arrive;
    uint64_t cut_left; /* bytes that may still arrive */
    bool fin;
    int err;       /* 0 or -errno */
    bool err_told; /* as SO_ERROR is: once */

    struct sim_event room;    /* this end hears that it may send */
    struct sim_event give_up; /* what it has sent does not arrive */
    uint32_t user_timeout_ms, sndbuf, rcvbuf;
    char device[LOOP_DEVICE_MAX + 1];

    uint32_t lend_min;      /* pieces of what this end sends are lent; 0: none */
    uint64_t acked, acking; /* of the peer's `arrived`: known here, and under way */
    struct sim_event ack;
};

struct conn {
    struct list node; /* sim.conns */
    struct sim *sim;
    struct end end[2];       /* client, server */
    bool packets;            /* no bytes, but sim_packets.c */
    struct sock_addr server; /* where it was made to */
    struct sim_event setup, timeout;
    void (*next_step)(struct conn *c);
    bool held;        /* setup waits for the network */
    bool lost;        /* for ever */
    bool stalled;     /* for now */
    bool kept;        /* by sim_hold */
    uint64_t late_ns; /* by sim_late_one */
    bool severed;
    enum sim_cut how;
    uint32_t id;
};

struct sim_stream {
    struct stream pub;
    struct list ready, dead; /* sim_loop */
    struct list listener;    /* sim.listeners */
    struct list queue;       /* struct end; of a listener */
    struct end *end;         /* NULL: a listener, or cut off */
    const struct stream_events *ev;
    void *user;
    struct sock_addr at; /* of a listener */
    uint32_t id, lowat;
    unsigned fds; /* of a listener */
    int connect_err;
    bool connecting, settled, failed;
    bool readable, out, want_write, closed;
    bool packets;
    bool parked;  /* a listener that is a descriptor, and nobody's stream */
    bool cut_off; /* its process was killed: nothing that is done with it is heard */
};

static inline struct sim_stream *
stream_of(struct stream *s)
{
    return container_of(s, struct sim_stream, pub);
}

static inline struct sim_loop *
loop_of(const struct sim_stream *s)
{
    return sim_loop_of(s->pub.loop);
}

static inline struct end *
peer_of(struct end *e)
{
    return &e->conn->end[e == &e->conn->end[0]];
}

static inline bool
is_local(const struct sock_addr *a)
{
    return a->ss.ss_family == AF_UNIX;
}

static inline size_t
room_for(const struct end *to)
{
    return to->cap - to->unread - to->flying;
}

/* sim_net.c */
struct end *sim_end_of(struct stream *s);
void sim_push_seg(struct end *to, enum seg_kind kind, size_t len, struct sim_packet *packet);
void sim_queue_if_news(struct sim_stream *s);
void sim_tell(struct end *e);
void sim_schedule_room(struct end *e);
int sim_open(struct loop *l, const struct sock_addr *to, bool packets,
             const struct stream_opts *opts, const struct stream_events *ev, void *user,
             struct stream **ret);
int sim_hear(struct loop *l, const struct sock_addr *at, bool packets,
             const struct stream_events *ev, void *user, struct stream **ret,
             struct sock_addr *ret_bound);
int sim_take_over_listener(struct loop *l, int fd, bool packets, const struct stream_events *ev,
                           void *user, struct stream **ret);
int sim_take_over(struct loop *l, int fd, bool packets, const struct stream_events *ev, void *user,
                  struct stream **ret);
/* The process has been killed: its connections and listeners end. */
void sim_net_cut_off(struct sim *sim, const struct sim_process *p);

/* sim_packets.c */
void sim_packet_arrive(struct end *to, struct sim_packet *packet);
void sim_packet_free(struct sim *sim, struct sim_packet *packet);
void sim_packets_drop(struct end *e);

#endif
