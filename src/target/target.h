/* SPDX-License-Identifier: MIT */
/* target/target.h - an iSCSI target on RAM, files or nothing.
 *
 * Everything runs on the loop that it was given: a real one in the program
 * lunette-target and the demo, one with virtual time in the simulator.  Only the flush of
 * a file runs on a helper thread of the target, which is started only if a LUN is a file.
 * All functions are called on the loop's thread.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "seam/loop.h"
#include "target/config.h"

struct target;

/* Checks the configuration and opens the LUNs.  *ret is owned by the caller.  loop is borrowed. */
int target_new(struct loop *loop, const struct target_config *cfg, struct target **ret,
               struct lunette_error *err);

/* Adds a listener; with port 0 the system chooses a port.  *ret_bound gets the address with the
 * port.  Returns 0, or -errno with err. */
int target_listen(struct target *t, const struct sock_addr *at, struct sock_addr *ret_bound,
                  struct lunette_error *err);

/* The same for initiators that come over RDMA (iSER, RFC 7145).  -EOPNOTSUPP: the loop has no
 * RDMA; -ENODEV: this machine has no such device. */
int target_listen_rdma(struct target *t, const struct sock_addr *at, struct sock_addr *ret_bound,
                       struct lunette_error *err);

/* Serves a connection that the caller accepted; takes s. */
void target_accept(struct target *t, struct stream *s, const struct sock_addr *peer);

/* Stops listening, asks initiators to log out, closes the connections that are left after
 * stop_timeout_ms, flushes files, then calls done once, from the loop.  After target_stop only
 * target_free may be called. */
void target_stop(struct target *t, void (*done)(void *user), void *user);

/* Closes everything at once, without asking, and frees the target; does nothing for NULL.  It must
 * not be called from a callback of the target, except from the done of target_stop.  What the
 * helper thread has posted to the loop is freed in the loop's next turn. */
void target_free(struct target *t);

/* Changes the size of a RAM or null LUN, at most to its max_size (bytes), and sets unit attention
 * 2A/09 for all initiators.  Returns 0, or -errno with err. */
int target_resize(struct target *t, const char *node, uint32_t lun, uint64_t size,
                  struct lunette_error *err);

/* Sets the ALUA state of a LUN (enum alua_state of wire/capacity.h), and how many seconds a
 * transition is said to take at most (0: not said); unit attention 2A/06 tells all initiators of a
 * new state. Returns 0, or -errno with err. */
int target_set_alua(struct target *t, const char *node, uint32_t lun, uint8_t state,
                    uint8_t transition_s, struct lunette_error *err);

/* Sets the faults that the target makes; faults is copied, NULL: none. */
void target_set_faults(struct target *t, const struct target_faults *faults);

/* Sends logins of a target that come to another portal than `to` ("host:port") there from now on;
 * NULL: none.  Returns 0, or -errno with err. */
int target_redirect(struct target *t, const char *node, const char *to, bool permanent,
                    struct lunette_error *err);

/* Sends an Asynchronous Message (RFC 7143 11.9.1) on every connection in full feature phase, with
 * the connection's CID as Parameter1 where the event is about one.  Events that announce that the
 * connection is dropped drop it. */
void target_tell_async(struct target *t, uint8_t event, uint16_t param2, uint16_t param3);

/* Closes every connection, as a crash would; sessions are lost, LUNs and reservations stay. */
void target_drop_connections(struct target *t);

/* The memory of a RAM LUN, for tests that compare it; NULL for others.  ret_size may be NULL. */
void *target_lun_memory(struct target *t, const char *node, uint32_t lun, uint64_t *ret_size);

void target_stats(const struct target *t, struct target_stats *ret);

#endif
