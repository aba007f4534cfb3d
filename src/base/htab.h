/* SPDX-License-Identifier: MIT */
/* base/htab.h - an intrusive hash table that grows.
 *
 * Nodes whose hashes have the same low bits are in one chain.  Adding a node never
 * fails: when there is no memory for more chains, the chains get longer.  Of several
 * nodes with one hash the one that was added last is found first.
 */
#ifndef BASE_HTAB_H
#define BASE_HTAB_H

#include <stddef.h>
#include <stdint.h>

#define HTAB_FIRST_SIZE 16 /* chains that a table has from the start */

/* A node is embedded in the object that is added. */
struct hnode {
    struct hnode *next;
    uint64_t hash;
};

struct htab {
    struct hnode **chain;
    size_t size, count; /* size: a power of two */
    struct hnode *first[HTAB_FIRST_SIZE];
};

/* t must not be moved after htab_init. */
void htab_init(struct htab *t);
/* Empties t and frees what it has allocated.  The nodes belong to their owners and are not touched.
 */
void htab_fini(struct htab *t);

void htab_add(struct htab *t, struct hnode *n, uint64_t hash);
/* n must be in t. */
void htab_del(struct htab *t, struct hnode *n);

/* Removes some node and returns it, or NULL when t is empty.  Owners call it to empty a table
 * before its end; it searches from the first chain each time. */
struct hnode *htab_pop(struct htab *t);

/* Return the first node that has this hash, and the next one after n with the same hash, or NULL.
 * Different keys may have the same hash, so the caller compares the keys. */
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
