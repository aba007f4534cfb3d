/* SPDX-License-Identifier: MIT */
/* ipc/ipc.h - bindings of seam/ipc.h, and the messages as bytes.
 *
 * In all bindings the memory for a reply is taken with its request, so that an
 * answer never fails for want of it; an event that finds none is refused, and
 * the server keeps or counts it.
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include "ipc/carrier.h"
#include "seam/ipc.h"

/* Direct: both sides on one loop, in one process.  Messages are still queued, so that neither side
 * is ever called from inside its own call. */
struct ipc_direct;

/* server is borrowed; *ret_client goes to the server before the first request.  -ENOMEM. */
int ipc_direct_new(struct loop *l, const struct ipc_server_ops *ops, void *server,
                   struct ipc_direct **ret, struct ipc_client *ret_client);
/* Messages under way are dropped.  The server must not answer any more.  NULL is harmless. */
void ipc_direct_free(struct ipc_direct *d);
struct ipc *ipc_direct_ipc(struct ipc_direct *d);

/* Encoded: every message becomes bytes, which a carrier moves.  Two ends, each on its loop. */
struct ipc_encoded_client;
struct ipc_encoded_server;

/* broken (may be NULL) is told once, with -EPROTO, that the other side sent what no encoder writes,
 * or asks for what is not due: nothing is taken from it any more.  The end may not be freed inside.
 */
typedef void ipc_broken_fn(void *user, int err);

/* The carrier is borrowed and outlives the end.  -ENOMEM. */
int ipc_encoded_client_new(struct ipc_carrier *c, ipc_broken_fn *broken, void *user,
                           struct ipc_encoded_client **ret);
void ipc_encoded_client_free(struct ipc_encoded_client *e);
struct ipc *ipc_encoded_client_ipc(struct ipc_encoded_client *e);

/* server is borrowed; *ret_client (hello false) goes to the server before the first request, and is
 * detached from it before the end is freed.  -ENOMEM. */
int ipc_encoded_server_new(struct ipc_carrier *c, const struct ipc_server_ops *ops, void *server,
                           ipc_broken_fn *broken, void *user, struct ipc_encoded_server **ret,
                           struct ipc_client *ret_client);
void ipc_encoded_server_free(struct ipc_encoded_server *e);

/* Messages as bytes: little endian, fixed layout, one version.  Descriptors and data are not in
 * them: a binding carries ipc_uevent_fd and what ipc_..._data_len tells beside the message.
 * encode: bytes written, or -ENOBUFS.  decode: 0, or -EPROTO for what no encoder writes; nothing
 * is trusted, *ret is zeroed where fields are not in the message. */
#define IPC_MSG_MAX 2048 /* bytes of any message, without data */

int ipc_encode_uevent(const struct iscsi_uevent *ev, uint8_t *buf, size_t size);
int ipc_decode_uevent(const uint8_t *buf, size_t len, struct iscsi_uevent *ret);
int ipc_encode_reply(const struct iscsi_reply *rep, uint8_t *buf, size_t size);
int ipc_decode_reply(const uint8_t *buf, size_t len, struct iscsi_reply *ret);
int ipc_encode_kevent(const struct iscsi_kevent *ev, uint8_t *buf, size_t size);
int ipc_decode_kevent(const uint8_t *buf, size_t len, struct iscsi_kevent *ret);

/* Where a request has the descriptor that travels with it; NULL: requests of its type have none. */
int *ipc_uevent_fd(struct iscsi_uevent *ev);

/* Bytes of data that belong to a request, and the most that its reply may bring. */
uint32_t ipc_uevent_data_len(const struct iscsi_uevent *ev);
uint32_t ipc_reply_room(enum iscsi_uevent_type type);

#endif
