/* SPDX-License-Identifier: MIT */
/* base/htab.h - intrusive hash table that grows: chains of nodes whose hashes have the same low
 * bits.
 *
 * Entering
 * never fails: where there is no memory to grow, chains get longer.  Of several nodes with one hash
 * the one that was entered last is found first.
 */
#ifndef BASE_HTAB_H
#define BASE_HTAB_H

#include <stddef.h>
#include <stdint.h>

#define HTAB_FIRST_SIZE 16 /* chains that a table has from the start */

/* Embedded in what is entered. */
struct hnode {
    struct hnode *next;
    uint64_t hash;
};

struct htab {
    struct hnode **chain;
    size_t size, count; /* size: a power of two */
    struct hnode *first[HTAB_FIRST_SIZE];
};

void htab_init(struct htab *t);
/* Nodes that are still in t are not touched: they are their owners' to free. */
void htab_fini(struct htab *t);

void htab_add(struct htab *t, struct hnode *n, uint64_t hash);
/* n must be in t. */
void htab_del(struct htab *t, struct hnode *n);

/* Takes any node out; NULL when t is empty.  For the end of a table. */
struct hnode *htab_pop(struct htab *t);

/* The first node that has this hash, and the next one; NULL: there are no more.  Different keys may
 * have one hash, so that the caller compares the keys. */
struct hnode *htab_find(const struct htab *t, uint64_t hash);
struct hnode *htab_next(const struct hnode *n);

/* Hashes a number.  h is 0, or the hash of what comes before it in a key of several parts. */
static inline uint64_t
hash_u64(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 32;
}

/* Hashes bytes (FNV-1a, mixed).  Where a peer chooses the keys, h begins with a number that the
 * peer does not know, so that it cannot make all keys fall into one chain. */
static inline uint64_t
hash_bytes(uint64_t h, const void *p, size_t len)
{
    const uint8_t *b = p;
    uint64_t v = 0xcbf29ce484222325ull ^ h;

    for (size_t i = 0; i < len; i++)
        v = (v ^ b[i]) * 0x100000001b3ull;
    return hash_u64(h, v);
}

#endif
