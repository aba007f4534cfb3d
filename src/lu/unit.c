/* SPDX-License-Identifier: MIT */
#include "lu/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600

static int
fail_os(struct lunette_error *err, const char *path, const char *what)
{
    int e = errno;

    return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e, "%s: %s: %s", path, what,
                        errno_text(e));
}

/* Opens or makes the file; *size gets its length. */
static int
open_file(struct tgt_lu *lu, const struct target_lun_config *cfg, uint64_t *size,
          struct lunette_error *err)
{
    int flags = (cfg->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    struct stat st;

    lu->fd = open(cfg->path, cfg->create ? flags | O_CREAT : flags, FILE_MODE);
    if (lu->fd < 0 && errno == ENOENT)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0,
                            "%s does not exist; file:%s:SIZE makes it", cfg->path, cfg->path);
    if (lu->fd < 0)
        return fail_os(err, cfg->path, "cannot open");
    if (fstat(lu->fd, &st) < 0)
        return fail_os(err, cfg->path, "cannot stat");
    if (S_ISBLK(st.st_mode)) {
        st.st_size = lseek(lu->fd, 0, SEEK_END);
        if (st.st_size < 0)
            return fail_os(err, cfg->path, "cannot tell the size");
    } else if (!S_ISREG(st.st_mode)) {
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s is neither a file nor a block device", cfg->path);
    }
    if (cfg->create && (uint64_t)st.st_size < cfg->size) {
        if (ftruncate(lu->fd, (off_t)cfg->size) < 0)
            return fail_os(err, cfg->path, "cannot extend");
        st.st_size = (off_t)cfg->size;
    }
    *size = cfg->size != 0 && cfg->size < (uint64_t)st.st_size ? cfg->size : (uint64_t)st.st_size;
    return 0;
}

static int
map_memory(struct tgt_lu *lu, const struct target_lun_config *cfg, struct lunette_error *err)
{
    int prot = PROT_READ | (cfg->read_only && lu->fd >= 0 ? 0 : PROT_WRITE);
    int flags = lu->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

    lu->mem_size = lu->blocks_max << lu->block_shift;
    if (lu->mem_size > SIZE_MAX / 2)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the LUN is too large for this machine's address space");
    lu->mem = mmap(NULL, lu->mem_size, prot, flags, lu->fd, 0);
    if (lu->mem == MAP_FAILED) {
        lu->mem = NULL;
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "cannot map %llu bytes: %s",
                            (unsigned long long)lu->mem_size, errno_text(errno));
    }
    if (lu->fd >= 0)
        return 0; /* an old file's holes are not looked for: all of it counts as written */
    lu->written_size = (lu->blocks_max + 63) / 64 * 8;
    lu->written = mmap(NULL, lu->written_size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (lu->written == MAP_FAILED) {
        lu->written = NULL;
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the block map");
    }
    return 0;
}

int
tgt_lu_open(struct tgt_lu *lu, const struct target_lun_config *cfg, const struct loop *loop,
            struct lunette_error *err)
{
    uint64_t size = cfg->size, max;
    int r;

    list_init(&lu->tasks);
    lu->fd = -1;
    lu->kind = cfg->kind;
    lu->read_only = cfg->read_only;
    lu->block = cfg->block != 0 ? cfg->block : TGT_BLOCK_MIN;
    if (lu->block < TGT_BLOCK_MIN || lu->block > TGT_BLOCK_MAX || (lu->block & (lu->block - 1)))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a block of %u bytes is not offered; use 512, 1024, 2048 or 4096",
                            lu->block);
    lu->block_shift = (uint32_t)__builtin_ctz(lu->block);
    lu->mode_default.wce = cfg->wce < 0 ? cfg->kind == TARGET_LUN_FILE : cfg->wce != 0;
    lu->mode = lu->mode_default;
    if (cfg->kind == TARGET_LUN_FILE) {
        r = open_file(lu, cfg, &size, err);
        if (r < 0)
            return r;
        if (size % lu->block != 0)
            log_line(loop->log, LOG_LEVEL_WARN,
                     "%s: the last %u bytes are not a whole block, unused", cfg->path,
                     (unsigned)(size % lu->block));
    }
    max = cfg->kind != TARGET_LUN_FILE && cfg->max_size > size ? cfg->max_size : size;
    lu->blocks = size >> lu->block_shift;
    lu->blocks_max = max >> lu->block_shift;
    if (lu->blocks == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a LUN needs at least one block");
    return cfg->kind == TARGET_LUN_NULL ? 0 : map_memory(lu, cfg, err);
}

void
tgt_lu_close(struct tgt_lu *lu)
{
    assert(list_empty(&lu->tasks));
    if (lu->mem != NULL)
        (void)munmap(lu->mem, lu->mem_size);
    if (lu->written != NULL)
        (void)munmap(lu->written, lu->written_size);
    if (lu->fd >= 0) {
        if (lu->file_dirty)
            (void)fdatasync(lu->fd);
        (void)close(lu->fd);
    }
    lu->mem = NULL;
    lu->written = NULL;
    lu->fd = -1;
    tgt_pr_fini(&lu->pr);
}

static void
set_bits(uint64_t *map, uint64_t lba, uint64_t n, bool on)
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
tgt_lu_mark(struct tgt_lu *lu, uint64_t lba, uint64_t n)
{
    lu->file_dirty = true;
    if (lu->written != NULL)
        set_bits(lu->written, lba, n, true);
}

/* Gives whole pages of [from, to) back; returns the bytes at both ends that are left. */
static bool
punch(struct tgt_lu *lu, uint64_t from, uint64_t to)
{
    if (lu->fd >= 0)
        return fallocate(lu->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                         (off_t)(to - from)) == 0;
    return madvise(lu->mem + from, to - from, MADV_DONTNEED) == 0;
}

int
tgt_lu_zero(struct tgt_lu *lu, uint64_t lba, uint64_t n, bool unmap)
{
    uint64_t from = lba << lu->block_shift, to = (lba + n) << lu->block_shift;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t first = (from + page - 1) / page * page, last = to / page * page;

    assert(lba + n <= lu->blocks_max);
    lu->file_dirty = true;
    if (lu->mem == NULL || n == 0)
        return 0;
    if (first >= last || !punch(lu, first, last)) {
        memset(lu->mem + from, 0, to - from);
    } else {
        memset(lu->mem + from, 0, first - from);
        memset(lu->mem + last, 0, to - last);
    }
    if (lu->written != NULL)
        set_bits(lu->written, lba, n, !unmap);
    return 0;
}

static bool
bit(const struct tgt_lu *lu, uint64_t lba)
{
    return (lu->written[lba / 64] >> (lba % 64)) & 1;
}

#define RUN_MAX (1u << 24) /* blocks looked at for one answer: bounds the time it takes */

bool
tgt_lu_written(const struct tgt_lu *lu, uint64_t lba, uint64_t *ret_run)
{
    uint64_t end = lu->blocks - lba > RUN_MAX ? lba + RUN_MAX : lu->blocks, at = lba + 1;
    bool is;

    assert(lba < lu->blocks);
    if (lu->written == NULL) {
        *ret_run = lu->blocks - lba;
        return lu->mem != NULL;
    }
    is = bit(lu, lba);
    while (at < end) {
        if (at % 64 == 0 && end - at >= 64 && lu->written[at / 64] == (is ? ~0ull : 0))
            at += 64;
        else if (bit(lu, at) == is)
            at++;
        else
            break;
    }
    *ret_run = at - lba;
    return is;
}

int
tgt_lu_sync(const struct tgt_lu *lu)
{
    if (lu->fd < 0)
        return 0;
    return fdatasync(lu->fd) < 0 ? -errno : 0;
}
