/* SPDX-License-Identifier: MIT */
/* offload/ring.h - a ring of entries in shared memory, between one producer and one consumer that
 * do not trust each other.
 *
 * Each side keeps its own index privately and only publishes it; the other's index is read once,
 * and must not be ahead of what is possible, else the ring is broken (-EPROTO) and its owner closes
 * the attachment.  An entry is copied out once, and whoever takes it checks the copy.  Nothing here
 * makes a system call: ring_publish tells whether the other side has to be woken.
 *
 * Indices are 32 bits wide and run freely; sizes are powers of two.
 */
#ifndef OFFLOAD_RING_H
#define OFFLOAD_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_ENTRIES_MAX (1u << 16)

/* The shared part: each word on a cache line of its own, since each is written by one side and read
 * by the other. */
struct ring_shared {
    _Alignas(64) uint32_t produced; /* entries that were ever published */
    _Alignas(64) uint32_t consumed; /* entries that were ever taken */
    _Alignas(64) uint32_t asleep;   /* 1: the consumer sleeps, and wants its bell rung */
};
_Static_assert(sizeof(struct ring_shared) == 192, "layout of a ring");

struct ring_producer {
    struct ring_shared *sh;
    uint8_t *entries;
    uint32_t entry_size, count; /* bytes; a power of two */
    uint32_t produced;          /* ours, with what is not published yet */
    uint32_t published;
    uint32_t consumed; /* the other's, as it was read last */
};

struct ring_consumer {
    struct ring_shared *sh;
    const uint8_t *entries;
    uint32_t entry_size, count;
    uint32_t consumed; /* ours */
    uint32_t produced; /* the other's, as it was read last */
};

/* Bytes that a ring takes: its shared part and the entries behind it. */
static inline size_t
ring_bytes(uint32_t entry_size, uint32_t count)
{
    return sizeof(struct ring_shared) + (size_t)entry_size * count;
}

/* Begin with a ring at mem, which is all zero and aligned to 64 bytes. */
void ring_producer_init(struct ring_producer *p, void *mem, uint32_t entry_size, uint32_t count);
void ring_consumer_init(struct ring_consumer *c, void *mem, uint32_t entry_size, uint32_t count);

/* Copies an entry into the ring; nobody sees it before ring_publish.  0; -EAGAIN: the ring is full;
 * -EPROTO: the consumer's index cannot be. */
int ring_put(struct ring_producer *p, const void *entry);

/* Shows the consumer all that was put.  True: it sleeps, and its bell has to be rung; so once for a
 * batch, and not at all while it is awake. */
bool ring_publish(struct ring_producer *p);

/* Copies the next entry to *entry.  1: done; 0: there is none; -EPROTO: the producer's index cannot
 * be. */
int ring_get(struct ring_consumer *c, void *entry);

/* Gives the entries that were taken back to the producer. */
void ring_release(struct ring_consumer *c);

/* The consumer wants to sleep: says so, and looks once more, since an entry may have come between.
 * True: it may sleep until its bell rings; false: there is something, and it is awake. */
bool ring_sleep(struct ring_consumer *c);

/* The consumer is awake: its bell need not be rung. */
void ring_awake(struct ring_consumer *c);

#endif
