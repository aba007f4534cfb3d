/* SPDX-License-Identifier: MIT */
/* target/tcp/tcp.h - the face on TCP: a byte stream that is cut into PDUs (RFC 7143 5.1, 11).
 *
 * accept.c makes connections, rx.c receives, pace.c says how often, txgen.c makes what commands
 * send, ring.c has it until the socket takes it, and tx.c sends it.
 */
#ifndef TARGET_TCP_TCP_H
#define TARGET_TCP_TCP_H

#include "seam/loop.h"
#include "target/state/conn.h"

struct tgt_ring;

enum tgt_rx_state { TGT_RX_HEADER, TGT_RX_DATA, TGT_RX_TAIL };

struct tgt_pace {
    struct loop_timer timer;
    uint64_t turn_ns;     /* of the last turn that brought commands */
    uint32_t gap_ns;      /* from one command to the next, smoothed */
    uint32_t exp_stat_sn; /* of the newest command */
    uint32_t commands;    /* of this turn */
    uint32_t usual;       /* commands of a turn that did not wait, smoothed, in 1/16 */
    uint32_t due;         /* commands that the initiator could send during the wait */
    uint32_t rest;        /* turns until a wait is tried again */
    bool waits, timed;    /* timed: the wait is over because of the timer */
};

struct tgt_tcp {
    struct tgt_conn c; /* first, so that either pointer is the other one */
    struct stream *stream;
    /* receiving: rx.c */
    enum tgt_rx_state rx;
    uint32_t h_have, h_need; /* of c.h, bytes */
    uint32_t crc;
    uint8_t tail[4 + PDU_DIGEST_LEN];
    uint32_t tail_have, tail_need;
    uint8_t *buf;   /* data of the PDU being received, if it goes to no command; owned */
    uint32_t lowat; /* bytes that ->readable waits for */
    uint8_t *rest;  /* rest_len bytes that were received and wait for their turn; owned */
    uint32_t rest_off, rest_len;
    struct tgt_pace pace;
    /* sending: tx.c */
    struct tgt_ring *ring; /* NULL: nothing is made */
};

static inline struct tgt_tcp *
tgt_tcp(struct tgt_conn *c)
{
    return container_of(c, struct tgt_tcp, c);
}

/* Takes s, which was accepted, and serves it until it ends, or closes it at once if there are too
 * many.  peer may be NULL. */
void tgt_tcp_serve(struct target *t, struct stream *s, const struct sock_addr *peer);

#endif
