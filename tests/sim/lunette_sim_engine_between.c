/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_engine_between.c - what other processes do while one is in the middle of a
 * look at a ring: the linker puts these functions before those of src/offload.
 *
 * In the simulator a turn is not interrupted, and so it could not be seen that an entry is read
 * once only, nor that who goes to sleep looks once more. */
#include <string.h>

#include "offload/check.h"
#include "tests/sim/lunette_sim_engine.h"

enum offload_fault __real_offload_check_sqe(const struct offload_sqe *e,
                                            const struct offload_limits *lim);
enum offload_fault __real_offload_check_cqe(const struct offload_cqe *e,
                                            const struct offload_limits *lim);
bool __real_ring_sleep(struct ring_consumer *c);
enum offload_fault __wrap_offload_check_sqe(const struct offload_sqe *e,
                                            const struct offload_limits *lim);
enum offload_fault __wrap_offload_check_cqe(const struct offload_cqe *e,
                                            const struct offload_limits *lim);
bool __wrap_ring_sleep(struct ring_consumer *c);

static struct le_world *between; /* NULL: the world is of another kind */

void
le_between(struct le_world *w)
{
    between = w;
}

static struct offload_share *
share_of(uint32_t i)
{
    struct le_client *c = &between->client[i];
    struct offload_attach *at = c->loop != NULL ? le_attachment(c) : NULL;

    return at != NULL && at->state == OFFLOAD_UP ? &at->share : NULL;
}

/* Where the submission entry lies that an engine has taken; NULL where that cannot be told: two
 * clients may have asked for the same at the same time. */
static struct offload_sqe *
submission(const struct offload_sqe *copy)
{
    struct offload_sqe *found = NULL;

    for (uint32_t i = 0; i < between->plan.clients; i++) {
        struct offload_share *sh = share_of(i);

        for (uint32_t k = 0; sh != NULL && k < sh->sq.count; k++) {
            struct offload_sqe *e =
                (struct offload_sqe *)(void *)(sh->sq.entries + (size_t)k * sizeof(*e));

            if (memcmp(e, copy, sizeof(*e)) != 0)
                continue;
            if (found != NULL)
                return NULL;
            found = e;
        }
    }
    return found;
}

/* The client changes an entry right after it was checked. */
enum offload_fault
__wrap_offload_check_sqe(const struct offload_sqe *e, const struct offload_limits *lim)
{
    enum offload_fault f = __real_offload_check_sqe(e, lim);
    struct offload_sqe *there;

    if (between == NULL || le_below(between, 4) != 0)
        return f;
    there = submission(e);
    if (there != NULL) {
        there->in_off ^= (uint64_t)1 << 40;
        there->out_off ^= (uint64_t)1 << 40;
    }
    return f;
}

/* And so does the engine with what a client has taken last. */
enum offload_fault
__wrap_offload_check_cqe(const struct offload_cqe *e, const struct offload_limits *lim)
{
    enum offload_fault f = __real_offload_check_cqe(e, lim);

    for (uint32_t i = 0; between != NULL && i < between->plan.clients; i++) {
        struct offload_share *sh = share_of(i);
        struct offload_cqe *last;

        /* In a ring that is full an answer that has not been taken lies in that place. */
        if (sh == NULL || sh->cq.sh->produced - sh->cq.consumed >= sh->cq.count ||
            le_below(between, 4) != 0)
            continue;
        last = (struct offload_cqe *)(uintptr_t)(sh->cq.entries + (size_t)((sh->cq.consumed - 1) &
                                                                           (sh->cq.count - 1)) *
                                                                      sizeof(*last));
        if (memcmp(last, e, sizeof(*e)) == 0) {
            last->status ^= 2; /* CHECK CONDITION */
            last->sense_len = UINT16_MAX;
        }
    }
    return f;
}

/* Others have a turn between the last look and the sleep. */
bool
__wrap_ring_sleep(struct ring_consumer *c)
{
    while (between != NULL && le_below(between, 2) == 0 && sim_interleave(between->sim))
        ;
    return __real_ring_sleep(c);
}
