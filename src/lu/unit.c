/* SPDX-License-Identifier: MIT */
#include "lu/unit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lu/medium.h"
#include "lu/pr.h"
#include "lu/pr_keep.h"

/* Makes the bitmap of written blocks for a store that begins empty, so that GET LBA STATUS can tell
 * what was written and unmapped. */
static int
map_written(struct lu *lu, struct lunette_error *err)
{
    if (lu_is_null(lu) || lu->store->ops->remembers)
        return 0;
    lu->written_size = (lu->blocks_max + 63) / 64 * 8;
    if (lu->written_size > SIZE_MAX / 2)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the LUN is too large for this machine's address space");
    lu->written = mmap(NULL, (size_t)lu->written_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lu->written == MAP_FAILED) {
        lu->written = NULL;
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the block map");
    }
    return 0;
}

int
lu_open(struct lu *lu, const struct lu_config *cfg, const struct log *log,
        struct lunette_error *err)
{
    uint64_t bytes = cfg->size;
    int r = 0;

    assert(lu->store == NULL);
    list_init(&lu->tasks);
    lu->store = cfg->store;
    lu->read_only = cfg->read_only;
    lu->block = cfg->block != 0 ? cfg->block : LU_BLOCK_MIN;
    if (lu->block < LU_BLOCK_MIN || lu->block > LU_BLOCK_MAX || (lu->block & (lu->block - 1)))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a block of %u bytes is not offered; use 512, 1024, 2048 or 4096",
                            lu->block);
    lu->block_shift = (uint32_t)__builtin_ctz(lu->block);
    if (lu->store == NULL)
        r = lu_store_open(cfg, log, &lu->store, &bytes, err);
    if (r < 0)
        return r;
    if (bytes == 0 || bytes > lu->store->size)
        bytes = lu->store->size;
    lu->mem = lu->store->mem;
    lu->prepare = lu->store->ops->prepare;
    lu->mode_default.wce = cfg->wce < 0 ? lu->store->ops->remembers : cfg->wce != 0;
    lu->mode = lu->mode_default;
    lu->alua.state = cfg->alua;
    lu->blocks = bytes >> lu->block_shift;
    lu->blocks_max = lu->store->size >> lu->block_shift;
    if (lu->blocks == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a LUN needs at least one block");
    r = map_written(lu, err);
    return r < 0 ? r : lu_pr_resume(lu, err);
}

void
lu_close(struct lu *lu)
{
    assert(list_empty(&lu->tasks));
    if (lu->written != NULL)
        (void)munmap(lu->written, (size_t)lu->written_size);
    if (lu->store != NULL && lu->dirty)
        (void)lu_store_sync(lu->store);
    lu_store_close(lu->store);
    lu->store = NULL;
    lu->mem = NULL;
    lu->written = NULL;
    lu_pr_fini(&lu->pr);
}

static void
set_written_bits(uint64_t *map, uint64_t lba, uint64_t n, bool on)
{
    while (n > 0) {
        uint64_t *w = &map[lba / 64];
        unsigned at = (unsigned)(lba % 64);
        uint64_t k = 64 - at < n ? 64 - at : n;
        uint64_t mask = (k == 64 ? ~0ull : (1ull << k) - 1) << at;

        *w = on ? *w | mask : *w & ~mask;
        lba += k;
        n -= k;
    }
}

void
lu_mark(struct lu *lu, uint64_t lba, uint64_t n)
{
    lu->dirty = true;
    if (lu->written != NULL)
        set_written_bits(lu->written, lba, n, true);
}

/* Zeroes a range: discards its whole pages where the store can, and overwrites the rest at both
 * ends. */
static int
zero_bytes(struct lu *lu, uint64_t from, uint64_t to)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t first = (from + page - 1) / page * page, last = to / page * page;
    int r = -EOPNOTSUPP;

    if (first < last && lu->store->ops->discard != NULL)
        r = lu->store->ops->discard(lu->store, first, last - first);
    if (r == -EOPNOTSUPP)
        return lu_medium_fill(lu, from, to - from, NULL, lu->block);
    if (r == 0)
        r = lu_medium_fill(lu, from, first - from, NULL, lu->block);
    if (r == 0)
        r = lu_medium_fill(lu, last, to - last, NULL, lu->block);
    return r;
}

int
lu_zero(struct lu *lu, uint64_t lba, uint64_t n, bool unmap)
{
    int r;

    assert(lba + n <= lu->blocks_max);
    lu->dirty = true;
    if (lu_is_null(lu) || n == 0)
        return 0;
    r = lu_prepare(lu, lba, n, true);
    if (r == 0)
        r = zero_bytes(lu, lba << lu->block_shift, (lba + n) << lu->block_shift);
    if (r == 0 && lu->written != NULL)
        set_written_bits(lu->written, lba, n, !unmap);
    return r;
}

static bool
written_bit(const struct lu *lu, uint64_t lba)
{
    return (lu->written[lba / 64] >> (lba % 64)) & 1;
}

/* As lu_written, of a store that is asked.  A block counts as written where any of it is, so that a
 * run of holes ends at the last whole block, and one of data behind the last part of a block. */
static bool
written_in_store(const struct lu *lu, uint64_t lba, uint64_t end, uint64_t *ret_run)
{
    uint64_t from = lba << lu->block_shift, to = end << lu->block_shift, stop = to;
    bool is = lu->store->ops->has_data(lu->store, from, to - from, &stop);

    if (!is && stop < from + lu->block)
        is = true;
    if (is)
        stop += lu->block - 1;
    *ret_run = (stop >> lu->block_shift) - lba;
    return is;
}

bool
lu_written(const struct lu *lu, uint64_t lba, uint64_t *ret_run)
{
    uint64_t end = lu->blocks - lba > LU_WRITTEN_MAX ? lba + LU_WRITTEN_MAX : lu->blocks,
             at = lba + 1;
    bool is;

    assert(lba < lu->blocks);
    if (lu->written == NULL && lu->store->ops->has_data != NULL)
        return written_in_store(lu, lba, end, ret_run);
    if (lu->written == NULL) {
        *ret_run = lu->blocks - lba;
        return !lu_is_null(lu);
    }
    is = written_bit(lu, lba);
    while (at < end) {
        if (at % 64 == 0 && end - at >= 64 && lu->written[at / 64] == (is ? ~0ull : 0))
            at += 64;
        else if (written_bit(lu, at) == is)
            at++;
        else
            break;
    }
    *ret_run = at - lba;
    return is;
}
