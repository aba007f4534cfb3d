/* SPDX-License-Identifier: MIT */
/* ipc/ipc.h - bindings of seam/ipc.h, and the messages as bytes. */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include "seam/ipc.h"

/* Direct: both sides on one loop, in one process.  Messages are still queued, so that neither side
 * is ever called from inside its own call. */
struct ipc_direct;

/* server is borrowed; *ret_client goes to the server before the first request. */
int ipc_direct_new(struct loop *l, const struct ipc_server_ops *ops, void *server,
                   struct ipc_direct **ret, struct ipc_client *ret_client);
/* Messages under way are dropped.  NULL is harmless. */
void ipc_direct_free(struct ipc_direct *d);
struct ipc *ipc_direct_ipc(struct ipc_direct *d);

/* Messages as bytes: little endian, fixed layout, one version.  Descriptors are not in them: a
 * binding carries bind_conn.fd beside the message and puts it back.
 * encode: bytes written, or -ENOBUFS.  decode: 0, or -EPROTO for what no encoder writes; nothing
 * is trusted, *ret is zeroed where fields are not in the message. */
#define IPC_MSG_MAX 2048 /* bytes of any message, without PDU data */

int ipc_encode_uevent(const struct iscsi_uevent *ev, uint8_t *buf, size_t size);
int ipc_decode_uevent(const uint8_t *buf, size_t len, struct iscsi_uevent *ret);
int ipc_encode_reply(const struct iscsi_reply *rep, uint8_t *buf, size_t size);
int ipc_decode_reply(const uint8_t *buf, size_t len, struct iscsi_reply *ret);
int ipc_encode_kevent(const struct iscsi_kevent *ev, uint8_t *buf, size_t size);
int ipc_decode_kevent(const uint8_t *buf, size_t len, struct iscsi_kevent *ret);

#endif
