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

#include "base/htab.h"
#include "base/list.h"

#define LU_PORT_MAX    251 /* bytes of a port's name, without its NUL: what a designator holds */
#define LU_NEXUSES_MAX 256 /* ports that a device remembers after they have left */

struct lu;
struct lu_device;

/* Unit attentions, in the order in which they are reported. */
enum lu_ua {
    LU_UA_POWER_ON,         /* 29/00 */
    LU_UA_COLD_RESET,       /* 29/01 */
    LU_UA_TARGET_RESET,     /* 29/02 */
    LU_UA_LU_RESET,         /* 29/03 */
    LU_UA_NEXUS_LOSS,       /* 29/07 */
    LU_UA_MODE_CHANGED,     /* 2A/01 */
    LU_UA_PR_PREEMPTED,     /* 2A/03 */
    LU_UA_PR_RELEASED,      /* 2A/04 */
    LU_UA_REG_PREEMPTED,    /* 2A/05 */
    LU_UA_CAPACITY,         /* 2A/09 */
    LU_UA_CLEARED,          /* 2F/00: by another initiator */
    LU_UA_PROTOCOL_CLEARED, /* 47/7F: by an event of the transport, here iSCSI */
    LU_UA_COUNT,
};

struct lu_nexus {
    struct hnode hnode; /* dev->nexus_by_port */
    struct list link;   /* dev->nexuses, or dev->away: who left last is first */
    struct lu_device *dev;
    char port[LU_PORT_MAX + 1]; /* the name that stands in a TransportID */
    bool live;                  /* it has joined */
    uint32_t *ua;               /* for each unit by index, a bit for each enum lu_ua */
};

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
