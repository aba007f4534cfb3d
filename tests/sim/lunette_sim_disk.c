/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_disk.c - media that outlive the target's process. */
#include <string.h>

#include "base/list.h"
#include "tests/sim/lunette_sim.h"
#include "tests/support/steady_alloc.h"

static struct ls_disk *
disk_of(struct lu_store *s)
{
    return container_of(s, struct ls_disk, store);
}

static void
must_be_ours(const struct ls_disk *d, uint64_t off, const char *what)
{
    if (d->foreign)
        ls_fail(d->w, "a %s at byte %llu of a disk that nobody has opened", what,
                (unsigned long long)off);
}

static int
disk_prepare(struct lu_store *s, uint64_t off, uint64_t len, bool write)
{
    (void)len;
    if (write)
        must_be_ours(disk_of(s), off, "write");
    return 0;
}

static int
disk_read(struct lu_store *s, uint64_t off, void *buf, uint32_t len)
{
    memcpy(buf, disk_of(s)->bytes + off, len);
    return 0;
}

static int
disk_write(struct lu_store *s, uint64_t off, const void *buf, uint32_t len)
{
    must_be_ours(disk_of(s), off, "write");
    memcpy(disk_of(s)->bytes + off, buf, len);
    return 0;
}

static int
disk_discard(struct lu_store *s, uint64_t off, uint64_t len)
{
    must_be_ours(disk_of(s), off, "discard");
    memset(disk_of(s)->bytes + off, 0, len);
    return 0;
}

static int
disk_sync(struct lu_store *s)
{
    struct ls_disk *d = disk_of(s);

    if (d->stable != NULL && !d->crashed)
        memcpy(d->stable, d->bytes, d->size);
    return 0;
}

static void
disk_close(struct lu_store *s)
{
    (void)s; /* the next target opens it again */
}

static const struct lu_store_ops memory_ops = {.product = "simulated disk",
                                               .prepare = disk_prepare,
                                               .discard = disk_discard,
                                               .sync = disk_sync,
                                               .sync_on_loop = true,
                                               .close = disk_close};
static const struct lu_store_ops calls_ops = {.product = "simulated disk",
                                              .read = disk_read,
                                              .write = disk_write,
                                              .discard = disk_discard,
                                              .sync = disk_sync,
                                              .sync_on_loop = true,
                                              .close = disk_close};

void
ls_disk_init(struct ls_disk *d, struct ls_world *w, uint64_t size, bool calls, bool cache)
{
    *d = (struct ls_disk){.w = w, .size = size, .bytes = steady_calloc(1, size)};
    if (cache)
        d->stable = steady_calloc(1, size);
    d->store.ops = calls ? &calls_ops : &memory_ops;
    d->store.mem = calls ? NULL : d->bytes;
    d->store.size = d->full = size;
}

void
ls_disk_crash(struct ls_disk *d)
{
    for (uint64_t at = 0; d->stable != NULL && at < d->size; at += LS_UNIT) {
        bool same = memcmp(d->bytes + at, d->stable + at, LS_UNIT) == 0;

        if (!same && ls_random(d->w, 2) == 0)
            memcpy(d->bytes + at, d->stable + at, LS_UNIT);
        else
            memcpy(d->stable + at, d->bytes + at, LS_UNIT);
    }
}

void
ls_disk_fini(struct ls_disk *d)
{
    steady_free(d->bytes);
    steady_free(d->stable);
}
