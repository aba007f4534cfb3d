/* SPDX-License-Identifier: MIT */
/* engine/ping.h - connects to a portal and closes, to see whether and how fast that goes.  It says
 * nothing about iSCSI, and no more than a connection can.  Loop's thread. */
#ifndef ENGINE_PING_H
#define ENGINE_PING_H

#include "base/addr.h"
#include "base/err.h"
#include "seam/loop.h"

#define ENGINE_PING_MS 10000 /* for all addresses of a name */

struct engine_ping;

/* Begins.  done is called once, later: with why NULL and how long the connect took, in
 * microseconds; or with why it could not.  The ping is gone then.  0, or -ENOMEM or -errno of the
 * lookup, and then done is not called. */
int engine_ping_start(struct loop *l, const struct portal *to,
                      void (*done)(void *user, const struct lunette_error *why, uint64_t us),
                      void *user, struct engine_ping **ret);
/* Ends it early; done is not called. */
void engine_ping_cancel(struct engine_ping *p);

#endif
