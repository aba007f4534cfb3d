/* SPDX-License-Identifier: MIT */
/* lu/nexus.h - I_T nexuses: the initiator ports that a device knows (it has one port of its own),
 * and the unit attentions that wait for them.
 *
 * A port is known by its name, so that its persistent reservations and unit attentions
 * outlive its sessions.  The router calls lu_nexus_join when a session begins and
 * lu_nexus_leave when it ends; the device then remembers the nexus until LU_NEXUSES_MAX
 * others have left after it.
 */
#ifndef LU_NEXUS_H
#define LU_NEXUS_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/types.h"

/* Called by device.c only. */
void lu_nexus_init(struct lu_device *dev);
void lu_nexus_fini(struct lu_device *dev);

/* Called when a session of an initiator port begins, which must have no other.  Returns the nexus,
 * which the device owns and which stays until lu_nexus_leave, or NULL without memory or for a name
 * that is too long. */
struct lu_nexus *lu_nexus_join(struct lu_device *dev, const char *port);

/* Called when the session has ended and its commands have been ended, which is an I_T nexus loss
 * (SAM-5 6.3.4): RESERVE(6) ends, and the next session finds a unit attention. */
void lu_nexus_leave(struct lu_nexus *n);

/* Returns the nexus of a port, with or without a session, or NULL when the device does not know it.
 */
struct lu_nexus *lu_nexus_find(struct lu_device *dev, const char *port);

/* Set a unit attention for one nexus, or for all that the device knows except one (NULL: for all).
 */
void lu_ua_set(struct lu_nexus *n, const struct lu *lu, enum lu_ua ua);
void lu_ua_all(struct lu *lu, const struct lu_nexus *except, enum lu_ua ua);

static inline bool
lu_ua_pending(const struct lu_nexus *n, uint32_t lu_index)
{
    return n->ua[lu_index] != 0;
}

/* Returns the unit attention that is reported next, ASC << 8 | ASCQ, which stays pending, and in
 * *ret_count how many there are; 0 with none. */
uint16_t lu_ua_next(const struct lu_nexus *n, const struct lu *lu, unsigned *ret_count);

/* Takes the first pending unit attention, for a command that is to report it.  There must be one.
 * Returns it, ASC << 8 | ASCQ, and in *ret what lu_ua_give_back wants where it was not reported. */
uint16_t lu_ua_take(struct lu_nexus *n, const struct lu *lu, uint32_t *ret);
/* What a command took pends again. */
void lu_ua_give_back(struct lu_nexus *n, const struct lu *lu, uint32_t taken);

#endif
