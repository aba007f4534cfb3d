/* SPDX-License-Identifier: MIT */
/* export/nbd/memory.h - buffers of an export's requests, in sizes that are powers of four, but for
 * the largest.
 *
 * They are kept when they are given back, the last first, so that in steady use nothing is
 * allocated.  Large ones are kept in small number: beside the transfer of so much the allocation
 * does not count. */
#ifndef EXPORT_NBD_MEMORY_H
#define EXPORT_NBD_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define NBD_BUF_MIN     4096u
#define NBD_BUF_MAX     (32u << 20)
#define NBD_BUF_CLASSES 8 /* 4 KiB, 16 KiB ... 16 MiB, 32 MiB */

/* All zero: empty. */
struct nbd_memory {
    void *free[NBD_BUF_CLASSES]; /* chained through their first words */
    size_t kept;                 /* bytes in free */
};

/* The size of the buffer that len bytes need, which are NBD_BUF_MAX at most. */
size_t nbd_buf_size(size_t len);

/* A buffer of nbd_buf_size(len) bytes, or NULL: no memory, also without what is kept.  The caller
 * owns it until nbd_buf_put with the same length. */
void *nbd_buf_get(struct nbd_memory *m, size_t len);
void nbd_buf_put(struct nbd_memory *m, void *buf, size_t len);

/* Frees all that is kept. */
void nbd_memory_trim(struct nbd_memory *m);

#endif
