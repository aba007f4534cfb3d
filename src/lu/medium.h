/* SPDX-License-Identifier: MIT */
/* lu/medium.h - the bytes of a unit, whether its store has memory, calls or neither (store.h).
 *
 * All take addresses in bytes, which must be on the unit.  They return 0, or the -errno with which
 * the store has failed.  The commands that move data do not come here where there is memory: it is
 * their buffer (lu_cmd_place, lu_cmd_source).
 */
#ifndef LU_MEDIUM_H
#define LU_MEDIUM_H

#include <stdint.h>

struct lu;

int lu_medium_read(const struct lu *lu, uint64_t at, void *buf, uint32_t len);
int lu_medium_write(struct lu *lu, uint64_t at, const void *data, uint32_t len);

/* Writes the unit bytes of data again and again to [at, at + len), which is a multiple of unit;
 * unit is a power of 2, at most LU_BLOCK_MAX.  data NULL: zeroes. */
int lu_medium_fill(struct lu *lu, uint64_t at, uint64_t len, const void *data, uint32_t unit);

/* Compares [at, at + len) with data; *ret_off gets the offset of the first byte that differs, len
 * if none does. */
int lu_medium_compare(const struct lu *lu, uint64_t at, const uint8_t *data, uint32_t len,
                      uint32_t *ret_off);

/* Reads [at, at + len) where that can fail, and drops what it has read. */
int lu_medium_check(const struct lu *lu, uint64_t at, uint32_t len);

#endif
