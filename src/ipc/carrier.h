/* SPDX-License-Identifier: MIT */
/* ipc/carrier.h - what moves messages between the two ends of the encoded binding (ipc/ipc.h).
 *
 * A carrier knows nothing of the messages: it takes packets and hands them to
 * the other end, each lane in order, never from inside the sender's call.  One
 * carrier serves one client.  ipc/posted.c is one between two threads; a socket
 * and the tests' delaying queue are others.
 */
#ifndef IPC_CARRIER_H
#define IPC_CARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "seam/loop.h"

enum ipc_lane { IPC_LANE_REQUESTS, IPC_LANE_REPLIES, IPC_LANE_EVENTS, IPC_LANES };

/* A message and what travels with it.  It belongs to one holder at a time, who may use node and
 * next. */
struct ipc_packet {
    struct list node;
    struct ipc_packet *next;
    enum ipc_lane lane;
    int fd;            /* descriptor that travels beside the bytes, or -1 */
    uint64_t seq;      /* of the request, at the server's end */
    uint32_t len;      /* bytes of the message */
    uint32_t data_len; /* bytes of data behind it */
    uint32_t room;     /* bytes that there are */
    uint8_t bytes[];
};

/* NULL: no memory. */
struct ipc_packet *ipc_packet_new(uint32_t room);
/* Makes p, which is in no list, as it was when it was new. */
void ipc_packet_reset(struct ipc_packet *p);
/* Frees a packet that never arrives, and closes a descriptor in it through the loop. */
void ipc_packet_drop(struct loop *l, struct ipc_packet *p);

/* Where the packets for an end go; take owns p.  take NULL: the end is not there, drop them. */
struct ipc_receiver {
    void (*take)(void *user, struct ipc_packet *p);
    void *user;
};

struct ipc_carrier;
struct ipc_carrier_ops {
    /* Takes p and delivers it later: IPC_LANE_REQUESTS to the server's end, the others to the
     * client's.  0; else p stays the caller's: -EPIPE, the other end has gone for good; -EAGAIN,
     * for events only, so many are under way that this one has to wait. */
    int (*send)(struct ipc_carrier *c, struct ipc_packet *p);
};

struct ipc_carrier {
    const struct ipc_carrier_ops *ops;
    struct loop *client_loop, *server_loop; /* of the two ends; may be one */
    struct ipc_receiver client, server;     /* each set by its end, on its loop */
};

#define IPC_POSTED_EVENTS_MAX 4096 /* events under way to a client that does not take them */

/* Two loops of two threads.  Messages are gathered for the rest of the sender's turn and cross as
 * one batch, by one loop_post where the other side has taken all that came before. */
struct ipc_posted;

/* -ENOMEM.  Both loops must run, or be run once, after both ends have been closed. */
int ipc_posted_new(struct loop *client, struct loop *server, struct ipc_posted **ret);
struct ipc_carrier *ipc_posted_carrier(struct ipc_posted *p);
/* Each once, on the thread of that end, after the end has been freed; what it has sent still
 * arrives.  The last of them, or of the messages under way, frees p. */
void ipc_posted_close_client(struct ipc_posted *p);
void ipc_posted_close_server(struct ipc_posted *p);

#endif
