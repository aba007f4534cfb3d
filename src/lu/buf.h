/* SPDX-License-Identifier: MIT */
/* lu/buf.h - zeroed memory that can be chained, so that who sends an answer can hang it, and more
 * of its kind, on whatever must leave first.
 *
 * The chain costs its users no allocation: the room for it stands before each buffer.
 */
#ifndef LU_BUF_H
#define LU_BUF_H

#include <stdint.h>

/* size zeroed bytes, owned by the caller; NULL without memory. */
void *lu_buf_alloc(uint32_t size);

/* Frees buf and all that has been chained behind it; NULL is harmless. */
void lu_buf_free(void *buf);

/* Puts chain (may be NULL) behind buf, which must not have anything behind it, and returns buf:
 * from then on the caller owns both as one. */
void *lu_buf_chain(void *buf, void *chain);

#endif
