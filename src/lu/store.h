/* SPDX-License-Identifier: MIT */
/* lu/store.h - the backing store of a logical unit: memory that the data path reads from and writes
 * into, or calls that read and write.
 *
 * The data of a RAM store are memory, so that data are received into it and sent from it
 * without a copy.  A file store is read and written by calls.  A mapping would save a copy,
 * but a page of it that cannot be read or written (the disk is full or fails, or somebody
 * has shortened the file) raises SIGBUS instead of returning an error.  A null store has
 * neither memory nor calls: it reads as zeroes and drops what is written.  A caller may
 * bring a store of its own, with its own operations (lu_config.store).  All operations but
 * `sync` are called on the loop's thread, and that, too, where the store says so.
 */
#ifndef LU_STORE_H
#define LU_STORE_H

#include "lu/config.h"
#include "seam/loop.h"

struct lu_store_ops {
    const char *product; /* what INQUIRY calls such a disk: up to 16 printable bytes */
    /* What the store holds outlives the process.  It then has a write cache (WCE) by default, and
     * which of its blocks are written is not recorded here, but asked for (`has_data`). */
    bool remembers;

    /* Makes sure that the bytes [off, off + len) of the memory can be read, or written.  Returns 0,
     * or -errno, which ends the command as lu_cmd_fail_store says.  NULL: the memory never fails.
     */
    int (*prepare)(struct lu_store *s, uint64_t off, uint64_t len, bool write);

    /* Reads or writes the bytes [off, off + len), all of them, and may block.  Returns 0, or
     * -errno, and then any of them may or may not have been read or written.  For a store without
     * memory; NULL: it has memory, or is a null store. */
    int (*read)(struct lu_store *s, uint64_t off, void *buf, uint32_t len);
    int (*write)(struct lu_store *s, uint64_t off, const void *buf, uint32_t len);

    /* Makes the bytes [off, off + len), which are whole pages, read as zeroes, and frees their
     * memory or disk space.  Returns 0; -EOPNOTSUPP, and then the caller writes zeroes; or another
     * -errno, which ends the command as lu_cmd_fail_store says.  NULL: the caller always writes
     * zeroes. */
    int (*discard)(struct lu_store *s, uint64_t off, uint64_t len);

    /* Tells whether the byte at off has storage, or lies in a hole, which reads as zeroes. *ret_end
     * is where that ends, after off and at most off + len.  Only for a store that remembers; NULL:
     * all of it has storage. */
    bool (*has_data)(struct lu_store *s, uint64_t off, uint64_t len, uint64_t *ret_end);

    /* Waits until all that was written is stable.  Returns 0 or -errno.  It may block, because it
     * is called on a helper thread, while the loop's thread may call the other operations; it is
     * called at most once at a time for a store.  NULL: what is written is always stable. */
    int (*sync)(struct lu_store *s);
    bool sync_on_loop; /* sync does not block, and is called on the loop's thread as the others are
                        */

    /* Keeps len bytes beside the data, in place of those that it kept before, or with len 0 none
     * any more, so that they outlive the process.  May block.  Returns 0 when that is stable; or
     * -errno, and then what was kept before still is, or what should have been.  `kept` gets them:
     * their number, 0 for none, or -errno (-EFBIG: more than size; -EINVAL: `keep` has not made
     * it).  NULL, both: the store cannot.
     */
    int (*keep)(struct lu_store *s, const void *data, size_t len);
    int (*kept)(struct lu_store *s, void *buf, size_t size);

    /* Frees s.  No other operation runs any more. */
    void (*close)(struct lu_store *s);
};

struct lu_store {
    const struct lu_store_ops *ops;
    uint8_t *mem;  /* `size` bytes; NULL: ops->read and ops->write, or a null store */
    uint64_t size; /* the most bytes that the unit may ever have */
};

/* Opens the store that cfg describes.  *ret_bytes is the size of the unit at first, at most
 * (*ret)->size.  The caller owns *ret and calls lu_store_close.  log may be NULL.  Returns 0, or
 * -errno with a sentence in err. */
int lu_store_open(const struct lu_config *cfg, const struct log *log, struct lu_store **ret,
                  uint64_t *ret_bytes, struct lunette_error *err);

/* Closes a store without a sync; does nothing for NULL. */
void lu_store_close(struct lu_store *s);

/* Calls s->ops->sync, or returns 0 where the store has none. */
int lu_store_sync(struct lu_store *s);

#endif
