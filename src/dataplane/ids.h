/* SPDX-License-Identifier: MIT */
/* dataplane/ids.h - ids of sessions and endpoints that are unique in the process.
 *
 * Data planes of several threads (one per loop) share one struct dp_ids, so that
 * a control plane which talks to all of them can name a session by its id
 * alone.  All functions but new and free may be called from any thread.
 */
#ifndef DATAPLANE_IDS_H
#define DATAPLANE_IDS_H

#include <stdint.h>

#define DP_SIDS_MAX 65535 /* sessions of a process at a time */

struct dp_ids;

/* NULL: no memory. */
struct dp_ids *dp_ids_new(void);
/* No data plane uses it any more.  NULL is harmless. */
void dp_ids_free(struct dp_ids *ids);

/* An id above 0 that no living session has: 1, 2, ... and so on over the whole range before any
 * comes again.  0: there are DP_SIDS_MAX sessions. */
uint32_t dp_ids_take_sid(struct dp_ids *ids);
/* The session is gone. */
void dp_ids_put_sid(struct dp_ids *ids, uint32_t sid);

/* 1, 2, ...; 64 bits do not come again. */
uint64_t dp_ids_take_ep(struct dp_ids *ids);

#endif
