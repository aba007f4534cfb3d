/* SPDX-License-Identifier: MIT */
#include "lu/medium.h"

#include <assert.h>
#include <string.h>

#include "lu/unit.h"

#define PIECE (16u << 10) /* bytes on the stack that one call of a store reads or writes */

static_assert(PIECE % LU_BLOCK_MAX == 0, "a piece is whole blocks");

static uint32_t
piece_of(uint64_t left)
{
    return left < PIECE ? (uint32_t)left : PIECE;
}

int
lu_medium_read(const struct lu *lu, uint64_t at, void *buf, uint32_t len)
{
    assert(at + len <= lu->store->size);
    if (lu->mem != NULL)
        memcpy(buf, lu->mem + at, len);
    else if (lu->store->ops->read != NULL)
        return lu->store->ops->read(lu->store, at, buf, len);
    else
        memset(buf, 0, len);
    return 0;
}

int
lu_medium_write(struct lu *lu, uint64_t at, const void *data, uint32_t len)
{
    assert(at + len <= lu->store->size);
    if (lu->mem != NULL)
        memcpy(lu->mem + at, data, len);
    else if (lu->store->ops->write != NULL)
        return lu->store->ops->write(lu->store, at, data, len);
    return 0;
}

int
lu_medium_fill(struct lu *lu, uint64_t at, uint64_t len, const void *data, uint32_t unit)
{
    uint8_t pattern[PIECE];
    int r = 0;

    assert(unit > 0 && unit <= LU_BLOCK_MAX && PIECE % unit == 0 && len % unit == 0);
    if (lu_is_null(lu))
        return 0;
    if (data == NULL && lu->mem != NULL) {
        memset(lu->mem + at, 0, (size_t)len);
        return 0;
    }
    for (uint32_t i = 0; i < piece_of(len); i += unit) {
        if (data != NULL)
            memcpy(pattern + i, data, unit);
        else
            memset(pattern + i, 0, unit);
    }
    while (len > 0 && r == 0) {
        uint32_t n = piece_of(len);

        r = lu_medium_write(lu, at, pattern, n);
        at += n;
        len -= n;
    }
    return r;
}

/* Offset of the first byte that differs, len if none; mem NULL stands for zeroes. */
static uint32_t
first_difference(const uint8_t *mem, const uint8_t *data, uint32_t len)
{
    uint32_t i = 0;

    if (mem != NULL && memcmp(mem, data, len) == 0)
        return len;
    while (i < len && data[i] == (mem != NULL ? mem[i] : 0))
        i++;
    return i;
}

int
lu_medium_compare(const struct lu *lu, uint64_t at, const uint8_t *data, uint32_t len,
                  uint32_t *ret_off)
{
    uint8_t piece[PIECE];
    uint32_t off = 0, n, same;
    int r;

    if (lu->mem != NULL || lu_is_null(lu)) {
        *ret_off = first_difference(lu->mem == NULL ? NULL : lu->mem + at, data, len);
        return 0;
    }
    while (off < len) {
        n = piece_of(len - off);
        r = lu_medium_read(lu, at + off, piece, n);
        if (r < 0)
            return r;
        same = first_difference(piece, data + off, n);
        off += same;
        if (same < n)
            break;
    }
    *ret_off = off;
    return 0;
}

int
lu_medium_check(const struct lu *lu, uint64_t at, uint32_t len)
{
    uint8_t piece[PIECE];
    int r = 0;

    if (lu->store->ops->read == NULL)
        return 0;
    while (len > 0 && r == 0) {
        uint32_t n = piece_of(len);

        r = lu_medium_read(lu, at, piece, n);
        at += n;
        len -= n;
    }
    return r;
}
