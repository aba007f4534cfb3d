/* SPDX-License-Identifier: MIT */
/* lu/unit.h - a logical unit: the blocks of a backing store and the state that SCSI gives it. */
#ifndef LU_UNIT_H
#define LU_UNIT_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/store.h"
#include "lu/types.h"

/* Makes *lu, which is zeroed, of cfg; takes cfg->store.  After an error lu_close is called, too. */
int lu_open(struct lu *lu, const struct lu_config *cfg, const struct log *log,
            struct lunette_error *err);

/* Syncs what is dirty and closes the store.  The task set must be empty. */
void lu_close(struct lu *lu);

static inline bool
lu_read_only(const struct lu *lu)
{
    return lu->read_only || lu->mode.swp;
}

/* The memory of block lba; NULL: there is none, and its blocks are zeros. */
static inline uint8_t *
lu_medium(const struct lu *lu, uint64_t lba)
{
    return lu->mem == NULL ? NULL : lu->mem + (lba << lu->block_shift);
}

/* Asks the store for blocks [lba, lba + n): 0, or -errno, which is a MEDIUM ERROR. */
static inline int
lu_prepare(const struct lu *lu, uint64_t lba, uint64_t n, bool write)
{
    if (lu->prepare == NULL || n == 0)
        return 0;
    return lu->prepare(lu->store, lba << lu->block_shift, n << lu->block_shift, write);
}

/* Blocks [lba, lba + n) hold data from now on. */
void lu_mark(struct lu *lu, uint64_t lba, uint64_t n);

/* Blocks [lba, lba + n) read as zeros from now on; unmap also takes them for unwritten.  -errno:
 * the store failed, and any of them may or may not be zeros. */
int lu_zero(struct lu *lu, uint64_t lba, uint64_t n, bool unmap);

/* Whether lba holds data; *ret_run: how many blocks from it on are alike, at least 1. */
bool lu_written(const struct lu *lu, uint64_t lba, uint64_t *ret_run);

#endif
