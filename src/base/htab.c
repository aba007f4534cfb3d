/* SPDX-License-Identifier: MIT */
#include "base/htab.h"

#include <assert.h>
#include <stdlib.h>

void
htab_init(struct htab *t)
{
    *t = (struct htab){.size = HTAB_FIRST_SIZE};
    t->chain = t->first;
}

void
htab_fini(struct htab *t)
{
    if (t->chain != t->first)
        free(t->chain);
    htab_init(t);
}

/* Doubles the number of chains: each of the old ones becomes two, which keep its order. */
static void
htab_grow(struct htab *t)
{
    size_t size = t->size * 2;
    struct hnode **chain = calloc(size, sizeof(struct hnode *));

    if (chain == NULL)
        return;
    for (size_t i = 0; i < t->size; i++) {
        struct hnode **tail[2] = {&chain[i], &chain[i + t->size]};

        for (struct hnode *n = t->chain[i]; n != NULL; n = n->next) {
            struct hnode ***to = &tail[(n->hash & t->size) != 0];

            **to = n;
            *to = &n->next;
        }
        *tail[0] = *tail[1] = NULL;
    }
    if (t->chain != t->first)
        free(t->chain);
    t->chain = chain;
    t->size = size;
}

void
htab_add(struct htab *t, struct hnode *n, uint64_t hash)
{
    struct hnode **at;

    if (t->count >= t->size)
        htab_grow(t);
    at = &t->chain[hash & (t->size - 1)];
    n->hash = hash;
    n->next = *at;
    *at = n;
    t->count++;
}

void
htab_del(struct htab *t, struct hnode *n)
{
    struct hnode **at = &t->chain[n->hash & (t->size - 1)];

    while (*at != n) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    t->count--;
}

struct hnode *
htab_pop(struct htab *t)
{
    for (size_t i = 0; t->count > 0 && i < t->size; i++) {
        struct hnode *n = t->chain[i];

        if (n != NULL) {
            htab_del(t, n);
            return n;
        }
    }
    return NULL;
}

static struct hnode *
same(struct hnode *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash)
        n = n->next;
    return n;
}

struct hnode *
htab_find(const struct htab *t, uint64_t hash)
{
    return same(t->chain[hash & (t->size - 1)], hash);
}

struct hnode *
htab_next(const struct hnode *n)
{
    return same(n->next, n->hash);
}
