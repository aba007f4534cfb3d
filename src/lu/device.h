/* SPDX-License-Identifier: MIT */
/* lu/device.h - a SCSI target device: its logical units, its one port, and the initiator ports that
 * it knows.
 *
 * A device is embedded in a structure of its router, and all functions are called on the
 * thread of one loop.  The number of units does not change after lu_device_open.
 */
#ifndef LU_DEVICE_H
#define LU_DEVICE_H

#include <stdint.h>

#include "lu/types.h"
#include "seam/loop.h"

/* All pointers but router, flusher and worker are borrowed until lu_device_open returns. */
struct lu_device_config {
    const char *name; /* SCSI name of the target device, UTF-8: for iSCSI the target's name */
    const char *port; /* SCSI name of its port: for iSCSI "NAME,t,0xTPGT" */
    uint8_t protocol; /* PROTOCOL IDENTIFIER of the port (SPC-4 7.6.1): 5, iSCSI */
    uint16_t protocol_version; /* its VERSION DESCRIPTOR */
    const struct lu_config *luns;
    uint32_t luns_count;
    const struct lu_router *router; /* sends the commands; see lu.h */
    struct lu_flusher *flusher; /* for stores that must sync; freed before the device is closed */
    struct lu_worker *worker;   /* for long commands; outlives the device */
    const struct log *log;      /* may be NULL */
    uint64_t hash_seed;         /* random, since initiators choose the names that are hashed */
    uint64_t start_seed;        /* another with each start; names the units that forget */
};

/* Tells whether the units of cfg that the device would make forget what was written to them when
 * they are opened anew, and nobody has named them: then start_seed is used. */
bool lu_device_forgets(const struct lu_config *luns, uint32_t count);

/* Opens the units.  *dev must be zeroed.  Returns 0, or -errno with a sentence in err.  The caller
 * calls lu_device_close in both cases. */
int lu_device_open(struct lu_device *dev, const struct lu_device_config *cfg,
                   struct lunette_error *err);

/* Closes the units.  The caller has ended all commands, and no job of theirs is with the flusher.
 * Does nothing for a device that was never opened. */
void lu_device_close(struct lu_device *dev);

/* Return the unit with a LUN of 8 bytes, or with a number, or NULL. */
struct lu *lu_device_find(const struct lu_device *dev, const uint8_t lun[8]);
struct lu *lu_device_number(const struct lu_device *dev, uint32_t number);

/* Blocks until all that was written to the units' stores is stable.  Returns the number of units of
 * which the store has failed, and may have lost something; each is a line in log, which may be
 * NULL.
 */
uint32_t lu_device_sync(struct lu_device *dev, const struct log *log);

/* Changes the size of a unit, at most to that of its store, and sets unit attention 2A/09 for all
 * nexuses.  Returns 0, or -errno with a sentence in err. */
int lu_resize(struct lu *lu, uint64_t bytes, struct lunette_error *err);

/* Sets how initiators reach a unit (SPC, ALUA), as a storage system with several controllers would
 * by itself, and sets unit attention 2A/06 for all nexuses where the state is another than before.
 * In a state without access most commands fail; those that have been started go on. */
void lu_set_alua(struct lu *lu, struct lu_alua alua);

#endif
