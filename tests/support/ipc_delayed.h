/* SPDX-License-Identifier: MIT */
/* tests/support/ipc_delayed.h - a carrier for the encoded binding that delivers each message after
 * a random time and keeps no order but the one that the contract promises.
 *
 * Nothing may come to rely on the direct binding's quickness.
 */
#ifndef TESTS_IPC_DELAYED_H
#define TESTS_IPC_DELAYED_H

#include "ipc/ipc.h"

struct ipc_delayed;

/* Each message waits 0 .. max_delay_ns; randomness is the loop's.  Both ends of the binding are on
 * loop l. */
int ipc_delayed_new(struct loop *l, uint64_t max_delay_ns, const struct ipc_server_ops *ops,
                    void *server, struct ipc_delayed **ret, struct ipc_client *ret_client);
/* Messages under way are dropped. */
void ipc_delayed_free(struct ipc_delayed *d);
struct ipc *ipc_delayed_ipc(struct ipc_delayed *d);

/* The client's process dies: from now on nothing comes from it (-EPIPE) and nothing is delivered to
 * it; what it has sent still arrives, as from a socket. */
void ipc_delayed_cut(struct ipc_delayed *d);

/* It dies at the message that comes after `more` - 1 others from now on, be it one that it sends or
 * one that is handed to it: that one is not.  more 0: at none. */
void ipc_delayed_cut_at(struct ipc_delayed *d, uint64_t more);
bool ipc_delayed_is_cut(const struct ipc_delayed *d);
/* Messages that the client has sent or was handed. */
uint64_t ipc_delayed_messages(const struct ipc_delayed *d);

/* While on, the client takes no events: the data plane keeps them, or drops them and says so. */
void ipc_delayed_refuse_events(struct ipc_delayed *d, bool on);

/* Requests that are under way. */
unsigned ipc_delayed_requests(const struct ipc_delayed *d);

#endif
