/* SPDX-License-Identifier: MIT */
/* ipc/acceptor.h - new connections of the process that has the data planes: whose are they, and
 * which loop do they mean?
 *
 * All loops of a process are reached at one socket.  The acceptor, which runs on one of
 * them, reads the first packet of each connection, which must be HELLO, and hands both to
 * its owner.  It refuses by itself what no data plane would serve, so that no client
 * loses its place to one that cannot be served.
 */
#ifndef IPC_ACCEPTOR_H
#define IPC_ACCEPTOR_H

#include "ipc/carrier.h"

#define IPC_ACCEPTOR_PENDING  16   /* connections that have not said HELLO; then the oldest goes */
#define IPC_ACCEPTOR_HELLO_MS 5000 /* until HELLO has come */

struct ipc_acceptor;

struct ipc_acceptor_stats {
    uint64_t accepted;  /* handed to the owner */
    uint64_t strangers; /* of another user */
    uint64_t silent;    /* no HELLO came in time, or it had to make room for others */
    uint64_t refused;   /* HELLO for a version or a loop that there is not */
    uint64_t impostors; /* something else than HELLO came */
    uint64_t starved;   /* there was no memory for it */
};

/* A client of our own user, of root, or of one who is let in has said HELLO, which can be served by
 * `loop`.  The callee owns s, a stream of packets on the acceptor's loop, and hello, which
 * ipc_socket_server_new takes. ipc_hand_over moves them to the thread of another loop. */
typedef void ipc_accepted_fn(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello);

/* Waits for clients of a process of so many loops.  at: where to listen (stream_listen); NULL: fd
 * is a listener of packets that somebody else has made, and is the acceptor's from then on. Returns
 * 0, or -errno with *err, and then fd stays the caller's. */
int ipc_acceptor_new(struct loop *l, const struct sock_addr *at, int fd, uint32_t loops,
                     ipc_accepted_fn *accepted, void *user, struct ipc_acceptor **ret,
                     struct lunette_error *err);
/* How long a connection may take to say HELLO, from its coming on, for those that come later. */
void ipc_acceptor_set_hello_ms(struct ipc_acceptor *a, uint32_t ms);
/* Lets clients of these users in as well, whose number is uids[n]; borrowed.  The socket is to be
 * one that they may connect to (loop.socket_mode). */
void ipc_acceptor_allow(struct ipc_acceptor *a, const uid_t *uids, unsigned n);
/* Closes what has not said HELLO.  NULL is harmless. */
void ipc_acceptor_free(struct ipc_acceptor *a);
const struct ipc_acceptor_stats *ipc_acceptor_get_stats(const struct ipc_acceptor *a);

/* A connection has come to its loop; the callee owns s and hello, as an ipc_accepted_fn does. */
typedef void ipc_arrived_fn(void *user, struct stream *s, struct ipc_packet *hello);

/* Takes a connection to the loop `to` of another thread, where arrived is called with it.  Where
 * memory or descriptors are short it is closed. */
void ipc_hand_over(struct loop *to, struct stream *s, struct ipc_packet *hello,
                   ipc_arrived_fn *arrived, void *user);

#endif
