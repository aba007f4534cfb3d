/* SPDX-License-Identifier: MIT */
/* lu/device.h - a SCSI target device: its logical units, its one port, and the initiator ports that
 * it knows.
 *
 * A device is embedded in what its router has for it, and lives on one loop's
 * thread.  Its units do not change in number after lu_device_open.
 */
#ifndef LU_DEVICE_H
#define LU_DEVICE_H

#include <stdint.h>

#include "lu/types.h"
#include "seam/loop.h"

/* All pointers but router and flusher are borrowed until lu_device_open returns. */
struct lu_device_config {
    const char *name; /* SCSI name of the target device, UTF-8: for iSCSI the target's name */
    const char *port; /* SCSI name of its port: for iSCSI "NAME,t,0xTPGT" */
    uint8_t protocol; /* PROTOCOL IDENTIFIER of the port (SPC-4 7.6.1): 5, iSCSI */
    uint16_t protocol_version; /* its VERSION DESCRIPTOR */
    const struct lu_config *luns;
    uint32_t luns_count;
    const struct lu_router *router; /* whom commands come from; see lu.h */
    struct lu_flusher *flusher;     /* for stores that must sync; outlived by the device */
    const struct log *log;          /* may be NULL */
    uint64_t hash_seed;             /* random: names of ports are their initiators' choice */
};

/* Opens the units.  *dev is zeroed.  -errno with a sentence in err; lu_device_close is due in any
 * case, also after an error, and harmless for a device that was never opened. */
int lu_device_open(struct lu_device *dev, const struct lu_device_config *cfg,
                   struct lunette_error *err);

/* No command is left in a task set, and no job with the flusher. */
void lu_device_close(struct lu_device *dev);

/* The unit at a LUN in its form of 8 bytes, or with a number; NULL: none. */
struct lu *lu_device_find(const struct lu_device *dev, const uint8_t lun[8]);
struct lu *lu_device_number(const struct lu_device *dev, uint32_t number);

/* Waits until what the units' stores hold is stable; blocks. */
void lu_device_sync(struct lu_device *dev);

/* Changes the size of a unit, up to its store's: UNIT ATTENTION 2A/09 for everyone. */
int lu_resize(struct lu *lu, uint64_t bytes, struct lunette_error *err);

#endif
