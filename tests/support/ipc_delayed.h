/* SPDX-License-Identifier: MIT */
/* tests/support/ipc_delayed.h - a binding of seam/ipc.h that makes every message bytes, delivers it
 * after a random time, and keeps no order but the one that the contract promises.
 *
 * Nothing may come to rely on the direct binding's quickness.
 */
#ifndef TESTS_IPC_DELAYED_H
#define TESTS_IPC_DELAYED_H

#include "ipc/ipc.h"

struct ipc_delayed;

/* Each message waits 0 .. max_delay_ns; randomness is the loop's. */
int ipc_delayed_new(struct loop *l, uint64_t max_delay_ns, const struct ipc_server_ops *ops,
                    void *server, struct ipc_delayed **ret, struct ipc_client *ret_client);
void ipc_delayed_free(struct ipc_delayed *d);
struct ipc *ipc_delayed_ipc(struct ipc_delayed *d);

#endif
