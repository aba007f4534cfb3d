/* SPDX-License-Identifier: MIT */
/* lu/store.h - the backing store of a logical unit: memory that the data path reads from and writes
 * into.
 *
 * RAM and file stores are one mapping, so that received data lands in it and
 * sent data leaves from it without a copy.  A null store has no memory: reads
 * come from zeros, writes go nowhere.  Somebody else's store is another table
 * of operations.  All operations but `sync` run on the loop's thread.
 */
#ifndef LU_STORE_H
#define LU_STORE_H

#include "lu/config.h"
#include "seam/loop.h"

struct lu_store_ops {
    const char *product; /* what INQUIRY calls such a disk: up to 16 printable bytes */
    bool remembers; /* what it holds outlives the process: it has a write cache (WCE) by default,
                       and all of it counts as written, since nobody knows better */

    /* Makes sure that the bytes [off, off + len) of the memory can be read, or written: 0, or
     * -errno, which ends the command with MEDIUM ERROR.  NULL: the memory never fails. */
    int (*prepare)(struct lu_store *s, uint64_t off, uint64_t len, bool write);

    /* Lets the bytes [off, off + len), which are whole pages, read as zeros and gives what held
     * them back: 0; -EOPNOTSUPP: the caller is to write zeros; another -errno: MEDIUM ERROR.  NULL:
     * not offered. */
    int (*discard)(struct lu_store *s, uint64_t off, uint64_t len);

    /* Waits until all that was written is stable: 0 or -errno.  It may block, runs on a helper
     * thread, at most once at a time for a store, and beside the others.  NULL: always stable. */
    int (*sync)(struct lu_store *s);

    /* Frees s; nothing else of it runs any more. */
    void (*close)(struct lu_store *s);
};

struct lu_store {
    const struct lu_store_ops *ops;
    uint8_t *mem;  /* `size` bytes; NULL: reads are zeros, writes are dropped */
    uint64_t size; /* bytes that there will ever be */
};

/* Opens what cfg describes.  *ret_bytes: how large the unit is at first, up to (*ret)->size.  *ret
 * is owned by the caller, who calls lu_store_close.  log may be NULL. */
int lu_store_open(const struct lu_config *cfg, const struct log *log, struct lu_store **ret,
                  uint64_t *ret_bytes, struct lunette_error *err);

/* Syncs nothing.  NULL is harmless. */
void lu_store_close(struct lu_store *s);

/* As s->ops->sync, for every store. */
int lu_store_sync(struct lu_store *s);

#endif
