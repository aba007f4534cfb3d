/* SPDX-License-Identifier: MIT */
/* lu/nexus.h - I_T nexuses: the initiator ports that a device knows (it has one port of its own),
 * and the unit attentions that wait for them.
 *
 * A port is known by its name, so its persistent reservations and unit
 * attentions outlive its sessions: a nexus joins when a session begins and
 * leaves when it ends, and is remembered until many others have left after it.
 */
#ifndef LU_NEXUS_H
#define LU_NEXUS_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/types.h"

/* What the device has, for device.c. */
void lu_nexus_init(struct lu_device *dev);
void lu_nexus_fini(struct lu_device *dev);

/* A session of that initiator port begins; it must have none.  The nexus is the device's and stays
 * until lu_nexus_leave.  NULL without memory, or if the name is too long. */
struct lu_nexus *lu_nexus_join(struct lu_device *dev, const char *port);

/* The session has ended, an I_T nexus loss (SAM-5 6.3.4): RESERVE(6) ends, a unit attention waits
 * for the next session.  Its commands have been ended. */
void lu_nexus_leave(struct lu_nexus *n);

/* NULL: no such port is known (any more). */
struct lu_nexus *lu_nexus_find(struct lu_device *dev, const char *port);

/* Sets a unit attention of one nexus, or of all that are known but one (NULL: of all). */
void lu_ua_set(struct lu_nexus *n, const struct lu *lu, enum lu_ua ua);
void lu_ua_all(struct lu *lu, const struct lu_nexus *except, enum lu_ua ua);

static inline bool
lu_ua_pending(const struct lu_nexus *n, uint32_t lu_index)
{
    return n->ua[lu_index] != 0;
}

/* Takes the first pending one, which there must be: ASC << 8 | ASCQ. */
uint16_t lu_ua_take(struct lu_nexus *n, const struct lu *lu);

#endif
