/* SPDX-License-Identifier: MIT */
/* ipc/socket.h - the encoded binding between two processes: a carrier over a local socket that
 * carries packets.
 *
 * A message and its data can be larger than a packet, so they go in fragments, each with a
 * head of IPC_FRAGMENT_HEAD bytes; those of one message follow each other.  A descriptor
 * goes with the first fragment of a request.  The head is, low byte first: the lane (1
 * byte), 0 (1), the length of the message (2), that of its data (4), how many bytes of
 * both came before (4).
 *
 * Nothing grows without a bound, however the other side behaves.  The client's end keeps
 * the packet of a request for its answer, and does not send more requests than may be
 * without an answer; the others wait in the memory of their sender.  The server's end
 * reads no request while too much waits to be sent, and takes no event beyond a bound.
 */
#ifndef IPC_SOCKET_H
#define IPC_SOCKET_H

#include "ipc/carrier.h"
#include "ipc/ipc.h"

#define IPC_FRAGMENT_HEAD 12
#define IPC_FRAGMENT_MAX  65536 /* bytes of a packet, head and all */
#define IPC_FRAGMENT_MIN  4096  /* where the socket takes no larger ones: a message fits in one */

#define IPC_SOCKET_REQUESTS_MAX    8192       /* that have no answer yet */
#define IPC_SOCKET_OUT_MAX         (1u << 18) /* memory that waits to be sent while requests are read */
#define IPC_SOCKET_EVENTS_MAX      4096       /* events that wait to be sent, */
#define IPC_SOCKET_EVENT_BYTES_MAX (1u << 20) /* and their bytes; one alone may be larger */

/* One end of a connection. */
struct ipc_socket;

/* The connection is of no use any more: the other process has closed it or has died, or sent what
 * no encoder writes.  Called once, from the loop and not from inside a call of this header; why is
 * borrowed for the call.  What was sent may not have arrived, and requests without an answer get
 * none.  The owner may free both ends inside. */
typedef void ipc_socket_gone_fn(void *user, const struct lunette_error *why);

/* Make the end of a connection on the loop of the stream of packets s, which it owns from then on.
 * first is the packet that an acceptor (ipc/acceptor.h) has read, or NULL; it is taken, too, and
 * handed to the server in the next turn.  The ends of the encoded binding (ipc/ipc.h) are to be
 * made on the carrier before the loop turns, with ipc_socket_broken as `broken` and the socket as
 * its user.  -ENOMEM, and then s and first stay the caller's. */
int ipc_socket_client_new(struct stream *s, ipc_socket_gone_fn *gone, void *user,
                          struct ipc_socket **ret);
int ipc_socket_server_new(struct stream *s, struct ipc_packet *first, ipc_socket_gone_fn *gone,
                          void *user, struct ipc_socket **ret);
struct ipc_carrier *ipc_socket_carrier(struct ipc_socket *k);

/* An end of the binding has found what no encoder writes: ends the connection.  An ipc_broken_fn.
 */
void ipc_socket_broken(void *socket, int err);

/* Sends what can be sent without waiting, closes the connection and drops the rest.  The end on the
 * carrier must be freed before.  NULL is harmless.  May be called from a callback of the end. */
void ipc_socket_free(struct ipc_socket *k);

#endif
