/* SPDX-License-Identifier: MIT */
/* lu/unit.h - a logical unit: the blocks of a backing store and the state that SCSI gives it. */
#ifndef LU_UNIT_H
#define LU_UNIT_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/store.h"
#include "lu/types.h"

/* Opens a unit as cfg says, and takes cfg->store.  *lu must be zeroed.  Returns 0, or -errno with
 * err; the caller calls lu_close in both cases. */
int lu_open(struct lu *lu, const struct lu_config *cfg, const struct log *log,
            struct lunette_error *err);

/* Syncs what is dirty and closes the store.  The task set must be empty. */
void lu_close(struct lu *lu);

static inline bool
lu_read_only(const struct lu *lu)
{
    return lu->read_only || lu->mode.swp;
}

/* Whether the blocks are zeroes and stay so. */
static inline bool
lu_is_null(const struct lu *lu)
{
    return lu->mem == NULL && lu->store->ops->read == NULL;
}

/* Returns the address of block lba in bytes. */
static inline uint64_t
lu_address(const struct lu *lu, uint64_t lba)
{
    return lba << lu->block_shift;
}

/* Returns the memory of block lba, or NULL when the unit has no memory. */
static inline uint8_t *
lu_block_memory(const struct lu *lu, uint64_t lba)
{
    return lu->mem == NULL ? NULL : lu->mem + (lba << lu->block_shift);
}

/* Has the store make blocks [lba, lba + n) ready to be read, or written.  Returns 0, or -errno for
 * lu_cmd_fail_store. */
static inline int
lu_prepare(const struct lu *lu, uint64_t lba, uint64_t n, bool write)
{
    if (lu->prepare == NULL || n == 0)
        return 0;
    return lu->prepare(lu->store, lba << lu->block_shift, n << lu->block_shift, write);
}

/* Notes that blocks [lba, lba + n) hold data from now on. */
void lu_mark(struct lu *lu, uint64_t lba, uint64_t n);

/* Makes blocks [lba, lba + n) read as zeroes; with unmap they also count as not written.  Returns
 * 0, or -errno when the store has failed, and then any of them may or may not be zeroes. */
int lu_zero(struct lu *lu, uint64_t lba, uint64_t n, bool unmap);

#define LU_WRITTEN_MAX (1u << 22) /* blocks looked at for one answer: bounds the time it takes */

/* Tells whether block lba holds data.  *ret_run is how many blocks from lba on are the same in
 * that, at least 1. */
bool lu_written(const struct lu *lu, uint64_t lba, uint64_t *ret_run);

#endif
