/* SPDX-License-Identifier: MIT */
/* iod/iod.h - the data plane as a process: loops of threads, each with its sessions, their units
 * and exports, behind one local socket.
 *
 * The thread that calls iod_run has loop 0, and the listening socket; each further loop has a
 * thread of its own.  A control plane opens one connection for each loop and says in HELLO which it
 * means; nothing else ever goes from one loop to another.  Ids of sessions are unique in the
 * process.
 */
#ifndef IOD_IOD_H
#define IOD_IOD_H

#include "base/err.h"
#include "iod/config.h"

struct iod;

/* Makes all loops and listens.  cfg is copied, what it points to is borrowed until iod_free, but
 * at, which is borrowed for the call.  Returns 0, and fd is the caller's no more; or -errno with
 * *err. */
int iod_new(const struct iod_config *cfg, struct iod **ret, struct lunette_error *err);

/* Serves control planes, and whoever uses exports, until iod_stop.  Called once, on the thread that
 * has called iod_new.  Returns 0 when all loops have ended; -ETIMEDOUT where something had not
 * ended by the deadline, or another -errno where a loop has failed, with *err; then threads may
 * still be at work, and the process has to end. */
int iod_run(struct iod *d, struct lunette_error *err);

/* Has iod_run come to its end: no control plane is listened to any more, exports are stopped, disks
 * are flushed and closed, for stop_ms at most; then the sessions are dropped, without a logout,
 * since whether they are wanted is the control plane's to know.  May be called on any thread, and
 * once. */
void iod_stop(struct iod *d);

/* After iod_run has returned 0, or where it was never called.  NULL is harmless. */
void iod_free(struct iod *d);

#endif
