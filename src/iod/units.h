/* SPDX-License-Identifier: MIT */
/* iod/units.h - what stands above the sessions of a data plane: their SCSI units, the disks of
 * these, and exports of the disks.
 *
 * It serves SCAN_HOST and the requests after it (seam/ipc.h) as the upper of a data plane
 * (dataplane_set_upper).  A session gets a stack (stack/) with the first scan; its disks and
 * exports outlive lost connections and control planes, and end with UNBIND_SESSION or with the
 * session. Everything is on the thread of the loop.
 */
#ifndef IOD_UNITS_H
#define IOD_UNITS_H

#include "dataplane/dataplane.h"
#include "seam/export.h"
#include "stack/stack.h"

#define IOD_EXPORTS_MAX 1024 /* of a session */
#define IOD_WAITS_MAX   16   /* requests of one kind that wait for the same thing */
#define IOD_UNBIND_MS   5000 /* that what clients have under way may wait for the session */

struct iod_units;

/* Makes it the upper of dp, which has no session and no client yet.  kinds ends with NULL; loop,
 * dp, kinds and what it names are borrowed and outlive it.  Returns 0 or -ENOMEM. */
int iod_units_new(struct loop *loop, struct dataplane *dp, const struct export_ops *const *kinds,
                  struct iod_units **ret);

/* One request in `every` of each disk that comes up from now on is timed (bdev_set_watch); until
 * this is called, BDEV_WATCH_EVERY. */
void iod_units_set_watch(struct iod_units *u, uint32_t every);

/* All sessions of dp must be gone.  NULL is harmless. */
void iod_units_free(struct iod_units *u);

/* The program is about to end: does for each session what UNBIND_SESSION does.  No request is
 * served any more from now on, since no client is attached. */
void iod_units_close(struct iod_units *u);
/* Tells whether that has ended: no export and no disk is left. */
bool iod_units_closed(const struct iod_units *u);

/* Exports that there are, also those that are being stopped. */
unsigned iod_units_exports(const struct iod_units *u);

#endif
