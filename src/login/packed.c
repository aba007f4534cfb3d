/* SPDX-License-Identifier: MIT */
#include "login/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_GAP 8 /* zeroes that end a piece; fewer are part of it, as its head is 4 bytes */

struct login_packed {
    uint32_t size; /* of bytes */
    uint8_t bytes[];
};

struct piece { /* what stands before the bytes of one */
    uint16_t at, len;
};
_Static_assert(sizeof(struct login_config) <= UINT16_MAX, "pieces are told in 16 bits");

/* Finds the next piece of cfg from `from` on.  False: there is none. */
static bool
packed_piece(const uint8_t *cfg, size_t from, struct piece *ret)
{
    size_t end, zeroes = 0;

    while (from < sizeof(struct login_config) && cfg[from] == 0)
        from++;
    if (from == sizeof(struct login_config))
        return false;
    for (end = from; end < sizeof(struct login_config) && zeroes < PIECE_GAP; end++)
        zeroes = cfg[end] == 0 ? zeroes + 1 : 0;
    *ret = (struct piece){(uint16_t)from, (uint16_t)(end - from - zeroes)};
    return true;
}

/* Writes the pieces to out, which may be NULL.  Returns their bytes. */
static uint32_t
packed_write(const uint8_t *cfg, uint8_t *out)
{
    struct piece piece = {0};
    uint32_t size = 0;

    while (packed_piece(cfg, (size_t)piece.at + piece.len, &piece)) {
        if (out != NULL) {
            memcpy(out + size, &piece, sizeof(piece));
            memcpy(out + size + sizeof(piece), cfg + piece.at, piece.len);
        }
        size += (uint32_t)sizeof(piece) + piece.len;
    }
    return size;
}

int
login_pack(const struct login_config *cfg, struct login_packed **ret)
{
    uint32_t size = packed_write((const uint8_t *)cfg, NULL);
    struct login_packed *p = malloc(sizeof(*p) + size);

    if (p == NULL)
        return -ENOMEM;
    p->size = size;
    (void)packed_write((const uint8_t *)cfg, p->bytes);
    *ret = p;
    return 0;
}

void
login_unpack(const struct login_packed *p, struct login_config *ret)
{
    struct piece piece;

    memset(ret, 0, sizeof(*ret));
    for (uint32_t at = 0; at < p->size; at += (uint32_t)sizeof(piece) + piece.len) {
        memcpy(&piece, p->bytes + at, sizeof(piece));
        memcpy((uint8_t *)ret + piece.at, p->bytes + at + sizeof(piece), piece.len);
    }
}

void
login_packed_free(struct login_packed **p)
{
    if (*p == NULL)
        return;
    chap_wipe((*p)->bytes, (*p)->size);
    free(*p);
    *p = NULL;
}
