/* SPDX-License-Identifier: MIT */
/* offload/ring.c - the order of loads and stores that makes a ring safe.
 *
 * An entry is written before the producer's index is (release, acquire), and read before the
 * consumer's index is, so that neither side sees or overwrites half of one.
 *
 * Going to sleep is a store and then a load of another word, and so is publishing.  All four are
 * sequentially consistent, so that of a producer and a consumer that do this at the same time at
 * least one sees the other's store: either the bell rings, or the consumer stays awake.
 */
#include "offload/ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define WORD sizeof(uintptr_t) /* bytes that are copied at once, on every machine by one access */

static void
assert_shape(const void *mem, uint32_t entry_size, uint32_t count)
{
    assert((uintptr_t)mem % _Alignof(struct ring_shared) == 0);
    assert(entry_size > 0 && entry_size % sizeof(uint64_t) == 0);
    assert(count > 0 && count <= RING_ENTRIES_MAX && (count & (count - 1)) == 0);
}

void
ring_producer_init(struct ring_producer *p, void *mem, uint32_t entry_size, uint32_t count)
{
    assert_shape(mem, entry_size, count);
    *p = (struct ring_producer){.sh = mem,
                                .entries = (uint8_t *)mem + sizeof(struct ring_shared),
                                .entry_size = entry_size,
                                .count = count};
}

void
ring_consumer_init(struct ring_consumer *c, void *mem, uint32_t entry_size, uint32_t count)
{
    assert_shape(mem, entry_size, count);
    *c = (struct ring_consumer){.sh = mem,
                                .entries = (const uint8_t *)mem + sizeof(struct ring_shared),
                                .entry_size = entry_size,
                                .count = count};
}

/* Entries are copied by atomic words: the other side may write to them at any time, whether it may
 * or not, and a compiler may read ordinary memory once more where it needs a value again. */
static void
words_put(uint8_t *to, const uint8_t *from, uint32_t len)
{
    for (uint32_t at = 0; at < len; at += WORD) {
        uintptr_t w;

        memcpy(&w, from + at, WORD);
        __atomic_store_n((uintptr_t *)(void *)(to + at), w, __ATOMIC_RELAXED);
    }
}

static void
words_get(uint8_t *to, const uint8_t *from, uint32_t len)
{
    for (uint32_t at = 0; at < len; at += WORD) {
        uintptr_t w =
            __atomic_load_n((const uintptr_t *)(const void *)(from + at), __ATOMIC_RELAXED);

        memcpy(to + at, &w, WORD);
    }
}

/* Reads the consumer's index, which only goes forward, and never past what was published. */
static int
look_at_consumed(struct ring_producer *p)
{
    uint32_t consumed = __atomic_load_n(&p->sh->consumed, __ATOMIC_ACQUIRE);

    if (consumed - p->consumed > p->published - p->consumed)
        return -EPROTO;
    p->consumed = consumed;
    return 0;
}

int
ring_put(struct ring_producer *p, const void *entry)
{
    if (p->produced - p->consumed == p->count) {
        int r = look_at_consumed(p);

        if (r < 0)
            return r;
        if (p->produced - p->consumed == p->count)
            return -EAGAIN;
    }
    words_put(p->entries + (size_t)(p->produced & (p->count - 1)) * p->entry_size, entry,
              p->entry_size);
    p->produced++;
    return 0;
}

bool
ring_publish(struct ring_producer *p)
{
    if (p->published == p->produced)
        return false;
    p->published = p->produced;
    __atomic_store_n(&p->sh->produced, p->produced, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&p->sh->asleep, __ATOMIC_SEQ_CST) != 0;
}

int
ring_get(struct ring_consumer *c, void *entry)
{
    if (c->consumed == c->produced) {
        uint32_t produced = __atomic_load_n(&c->sh->produced, __ATOMIC_ACQUIRE);

        if (produced - c->consumed > c->count)
            return -EPROTO;
        c->produced = produced;
        if (c->consumed == produced)
            return 0;
    }
    words_get(entry, c->entries + (size_t)(c->consumed & (c->count - 1)) * c->entry_size,
              c->entry_size);
    c->consumed++;
    return 1;
}

void
ring_release(struct ring_consumer *c)
{
    __atomic_store_n(&c->sh->consumed, c->consumed, __ATOMIC_RELEASE);
}

bool
ring_sleep(struct ring_consumer *c)
{
    if (c->consumed != c->produced)
        return false;
    __atomic_store_n(&c->sh->asleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->sh->produced, __ATOMIC_SEQ_CST) == c->consumed)
        return true;
    ring_awake(c);
    return false;
}

void
ring_awake(struct ring_consumer *c)
{
    __atomic_store_n(&c->sh->asleep, 0, __ATOMIC_RELAXED);
}
