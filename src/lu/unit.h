/* SPDX-License-Identifier: MIT */
/* lu/unit.h - a logical unit's blocks: memory that the data path reads from and writes into.
 *
 * RAM and file LUNs are one mapping, so that received data lands in it and sent
 * data leaves from it without a copy.  A null LUN has no memory: reads come
 * from a page of zeros, writes go nowhere.
 */
#ifndef LU_UNIT_H
#define LU_UNIT_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/pr.h"
#include "target/target.h"

struct tgt_node;
struct tgt_nexus;

#define TGT_BLOCK_MIN 512
#define TGT_BLOCK_MAX 4096
#define TGT_GRANULE   4096 /* what transfers and unmaps are best aligned to: a page */

/* What MODE SELECT can change, and LOGICAL UNIT RESET restores. */
struct tgt_mode {
    bool wce;
    bool swp;
    bool d_sense;
};

struct tgt_lu {
    struct tgt_node *node;
    uint32_t index;  /* in the node's table */
    uint32_t number; /* the LUN */
    enum target_lun_kind kind;
    int fd;
    uint8_t *mem; /* NULL: null LUN */
    uint64_t mem_size;
    uint64_t *written; /* one bit per block that holds data; NULL: all do (or none, if null LUN) */
    uint64_t written_size;
    uint64_t blocks, blocks_max;
    uint32_t block;
    uint32_t block_shift;
    bool read_only;
    struct tgt_mode mode, mode_default;
    char serial[TARGET_SERIAL_MAX + 1];
    uint8_t naa[16];
    struct tgt_pr pr;
    struct tgt_nexus *reserved; /* RESERVE(6) holder */
    struct list tasks;          /* every command of this LU, from its start to its response */
    bool file_dirty;            /* something was written since the last flush */
};

int tgt_lu_open(struct tgt_lu *lu, const struct target_lun_config *cfg, const struct loop *loop,
                struct lunette_error *err);
void tgt_lu_close(struct tgt_lu *lu);

static inline bool
tgt_lu_read_only(const struct tgt_lu *lu)
{
    return lu->read_only || lu->mode.swp;
}

/* Blocks [lba, lba + n) hold data from now on. */
void tgt_lu_mark(struct tgt_lu *lu, uint64_t lba, uint64_t n);

/* Blocks [lba, lba + n) read as zeros from now on; unmap also gives their memory back. */
int tgt_lu_zero(struct tgt_lu *lu, uint64_t lba, uint64_t n, bool unmap);

/* Whether lba holds data; *ret_run: how many blocks from it on are alike, at least 1. */
bool tgt_lu_written(const struct tgt_lu *lu, uint64_t lba, uint64_t *ret_run);

/* Waits until the file's data is stable.  Blocks: for the helper thread. */
int tgt_lu_sync(const struct tgt_lu *lu);

#endif
