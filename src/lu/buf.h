/* SPDX-License-Identifier: MIT */
/* lu/buf.h - buffers for parameter data and for what was read, which can be chained.
 *
 * A transport frees a buffer only when the bytes that refer to it have been sent.  It can
 * chain several buffers behind one, and then frees all with one call.  The chain needs no
 * allocation: the link stands in memory before each buffer.
 */
#ifndef LU_BUF_H
#define LU_BUF_H

#include <stdint.h>

/* Returns size zeroed bytes, owned by the caller, or NULL when there is no memory. */
void *lu_buf_alloc(uint32_t size);

/* Does the same, but leaves the bytes as they are: the caller fills all of them. */
void *lu_buf_alloc_unset(uint32_t size);

/* Frees buf and all that has been chained behind it; does nothing for NULL. */
void lu_buf_free(void *buf);

/* Puts chain (may be NULL) behind buf, which must not have anything behind it, and returns buf:
 * from then on the caller owns both as one. */
void *lu_buf_chain(void *buf, void *chain);

#endif
