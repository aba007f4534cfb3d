/* SPDX-License-Identifier: MIT */
/* api/times.c - how long requests took. */
#include <errno.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"

_Static_assert(LUNETTE_TIMES_BUCKETS == LATENCY_BUCKETS &&
                   (int)LUNETTE_TIMES_TOTAL == (int)IO_STAGES &&
                   (int)LUNETTE_TIMES_RECEIVE == (int)IO_STAGE_RECEIVE &&
                   (int)LUNETTE_TIMES_OTHER == (int)BDEV_CLASS_OTHER,
               "the names of the header are those of seam/");

void
api_watch(const struct lunette_ctx *ctx, struct bdev *b)
{
    uint64_t every = ctx->time_every;

    if (every == LUNETTE_TIME_NONE)
        bdev_set_watch(b, 0, false);
    else if (every > 0)
        bdev_set_watch(b, every < UINT32_MAX ? (uint32_t)every : UINT32_MAX, false);
}

int
lunette_get_times(const struct lunette_lun *lun, enum lunette_times_op op,
                  enum lunette_times_stage stage, struct lunette_times *ret)
{
    const struct bdev_latency *l = lun->disk != NULL ? bdev_get_latency(lun->disk->bdev) : NULL;
    struct lunette_times times = {0};
    const struct latency *h;

    if ((unsigned)op > LUNETTE_TIMES_OTHER || (unsigned)stage > LUNETTE_TIMES_TOTAL)
        return -EINVAL;
    if (l != NULL) {
        h = stage == LUNETTE_TIMES_TOTAL ? &l->total[op] : &l->stage[op][stage];
        times.count = latency_count(h);
        times.sum_ns = h->sum_ns;
        memcpy(times.bucket, h->bucket, sizeof(times.bucket));
    }
    return api_sized_out(ret, API_FIRST_TIMES, &times, sizeof(times));
}

uint64_t
lunette_times_bound(uint32_t bucket)
{
    return latency_bound(bucket);
}
