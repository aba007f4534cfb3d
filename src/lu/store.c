/* SPDX-License-Identifier: MIT */
#include "lu/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "lu/sidecar.h"

#define FILE_MODE 0600

/* Memory, a file, or neither. */
struct backing {
    struct lu_store store;
    int fd;       /* -1: no file */
    bool regular; /* it is a file, not a block device */
    char *path;   /* of a file; else NULL */
};

static struct backing *
backing_of(struct lu_store *s)
{
    return container_of(s, struct backing, store);
}

static int
ram_discard(struct lu_store *s, uint64_t off, uint64_t len)
{
    return madvise(s->mem + off, (size_t)len, MADV_DONTNEED) == 0 ? 0 : -EOPNOTSUPP;
}

/* Whether [0, end) is still there.  A write behind the end of a file would make it longer again,
 * and what somebody has cut off would read as zeroes: those blocks are lost, and must not look
 * whole. */
static int
still_there(const struct backing *b, uint64_t end)
{
    struct stat st;

    if (fstat(b->fd, &st) < 0)
        return -errno;
    if (!b->regular)
        st.st_size = lseek(b->fd, 0, SEEK_END);
    return st.st_size >= 0 && (uint64_t)st.st_size >= end ? 0 : -EIO;
}

/* Not every file system punches holes; an error of the medium is one nevertheless. */
static int
file_discard(struct lu_store *s, uint64_t off, uint64_t len)
{
    const struct backing *b = backing_of(s);
    int r = b->regular ? still_there(b, off + len) : 0;

    if (r < 0)
        return r;
    if (fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0)
        return 0;
    return errno == EIO ? -EIO : -EOPNOTSUPP;
}

static int
file_read(struct lu_store *s, uint64_t off, void *buf, uint32_t len)
{
    uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = pread(backing_of(s)->fd, p, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO; /* somebody has shortened it */
        p += n;
        off += (uint64_t)n;
        len -= (uint32_t)n;
    }
    return 0;
}

static int
file_write(struct lu_store *s, uint64_t off, const void *buf, uint32_t len)
{
    const struct backing *b = backing_of(s);
    const uint8_t *p = buf;
    int r = b->regular ? still_there(b, off + len) : 0;

    while (r == 0 && len > 0) {
        ssize_t n = pwrite(b->fd, p, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = -errno;
        else if (n == 0)
            r = -EIO;
        /* A device says "no space" behind its end, too, and not only when its pool is full. */
        if (r == -ENOSPC && !b->regular && still_there(b, off + len) < 0)
            r = -EIO;
        if (r < 0)
            break;
        p += n;
        off += (uint64_t)n;
        len -= (uint32_t)n;
    }
    return r;
}

/* Where the file system cannot tell, all counts as data. */
static bool
file_has_data(struct lu_store *s, uint64_t off, uint64_t len, uint64_t *ret_end)
{
    int fd = backing_of(s)->fd;
    off_t data = lseek(fd, (off_t)off, SEEK_DATA), end;
    bool hole = (data < 0 && errno == ENXIO) || data > (off_t)off;

    *ret_end = off + len;
    end = hole ? data : lseek(fd, (off_t)off, SEEK_HOLE);
    if (end > (off_t)off && (uint64_t)end < off + len)
        *ret_end = (uint64_t)end;
    return !hole;
}

static int
file_sync(struct lu_store *s)
{
    return fdatasync(backing_of(s)->fd) < 0 ? -errno : 0;
}

/* ---- what is kept beside a file ---- */

#define KEEP_PATH_MAX (PATH_MAX + sizeof(LU_SIDECAR_NEW_SUFFIX))

static void
keep_path(const struct backing *b, const char *suffix, char path[KEEP_PATH_MAX])
{
    (void)snprintf(path, KEEP_PATH_MAX, "%s%s", b->path, suffix);
}

/* Makes a change of the folder's entries stable. */
static int
keep_sync_folder(const char *path)
{
    char folder[KEEP_PATH_MAX];
    char *slash;
    int fd, r;

    (void)snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash == NULL)
        (void)strcpy(folder, ".");
    else
        slash[slash == folder] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = fsync(fd) < 0 ? -errno : 0;
    (void)close(fd);
    return r;
}

/* Makes the file, whatever somebody, or an earlier end of this process, has left in its place: that
 * may be another name of a file that is not ours. */
static int
keep_write_new(const char *path, const char *data, size_t len)
{
    int fd, r = 0;

    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return -errno;
    while (r == 0 && len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r = n < 0 ? -errno : -EIO;
            break;
        }
        data += n;
        len -= (size_t)n;
    }
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

static int
file_keep(struct lu_store *s, const void *data, size_t len)
{
    char path[KEEP_PATH_MAX], fresh[KEEP_PATH_MAX];
    int r;

    keep_path(backing_of(s), LU_SIDECAR_SUFFIX, path);
    if (len == 0) {
        if (unlink(path) < 0)
            return errno == ENOENT ? 0 : -errno;
        return keep_sync_folder(path);
    }
    keep_path(backing_of(s), LU_SIDECAR_NEW_SUFFIX, fresh);
    r = keep_write_new(fresh, data, len);
    if (r == 0 && rename(fresh, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(fresh);
        return r;
    }
    return keep_sync_folder(path);
}

static int
file_kept(struct lu_store *s, void *buf, size_t size)
{
    char path[KEEP_PATH_MAX], *to = buf, more;
    size_t len = 0;
    ssize_t n = 1;
    struct stat st;
    int fd;

    keep_path(backing_of(s), LU_SIDECAR_SUFFIX, path);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) { /* file_keep does not make such a thing */
        (void)close(fd);
        return -EINVAL;
    }
    while (n > 0) {
        n = len < size ? read(fd, to + len, size - len) : read(fd, &more, 1);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0 && len == size)
            n = -(errno = EFBIG);
        else if (n > 0)
            len += (size_t)n;
    }
    n = n < 0 ? -errno : (ssize_t)len;
    (void)close(fd);
    return (int)n;
}

static void
backing_close(struct lu_store *s)
{
    struct backing *m = backing_of(s);

    if (s->mem != NULL)
        (void)munmap(s->mem, (size_t)s->size);
    if (m->fd >= 0)
        (void)close(m->fd);
    free(m->path);
    free(m);
}

static const struct lu_store_ops ram_ops = {
    .product = "RAM disk", .discard = ram_discard, .close = backing_close};
static const struct lu_store_ops file_ops = {.product = "file disk",
                                             .remembers = true,
                                             .read = file_read,
                                             .write = file_write,
                                             .discard = file_discard,
                                             .has_data = file_has_data,
                                             .sync = file_sync,
                                             .keep = file_keep,
                                             .kept = file_kept,
                                             .close = backing_close};
/* A block device: there is no place beside it that is its own. */
static const struct lu_store_ops device_ops = {.product = "file disk",
                                               .remembers = true,
                                               .read = file_read,
                                               .write = file_write,
                                               .discard = file_discard,
                                               .sync = file_sync,
                                               .close = backing_close};
static const struct lu_store_ops null_ops = {.product = "null disk", .close = backing_close};

static int
store_os_error(struct lunette_error *err, const char *path, const char *what)
{
    int e = errno;

    return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e, "%s: %s: %s", path, what,
                        errno_text(e));
}

/* Opens or makes the file; *size gets its length. */
static int
open_backing_file(struct backing *m, const struct lu_config *cfg, uint64_t *size,
                  struct lunette_error *err)
{
    int flags = (cfg->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    struct stat st;

    m->fd = open(cfg->path, cfg->create ? flags | O_CREAT : flags, FILE_MODE);
    if (m->fd < 0 && errno == ENOENT && cfg->create)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0,
                            "%s cannot be made: there is no such folder", cfg->path);
    if (m->fd < 0 && errno == ENOENT)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0,
                            "%s does not exist; file:%s:SIZE makes it", cfg->path, cfg->path);
    if (m->fd < 0)
        return store_os_error(err, cfg->path, "cannot open");
    if (fstat(m->fd, &st) < 0)
        return store_os_error(err, cfg->path, "cannot stat");
    if (S_ISBLK(st.st_mode)) {
        st.st_size = lseek(m->fd, 0, SEEK_END);
        if (st.st_size < 0)
            return store_os_error(err, cfg->path, "cannot tell the size");
    } else if (!S_ISREG(st.st_mode)) {
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s is neither a file nor a block device", cfg->path);
    }
    m->regular = S_ISREG(st.st_mode);
    m->store.ops = m->regular ? &file_ops : &device_ops;
    m->path = strdup(cfg->path);
    if (m->path == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    if (cfg->create && (uint64_t)st.st_size < cfg->size) {
        if (ftruncate(m->fd, (off_t)cfg->size) < 0)
            return store_os_error(err, cfg->path, "cannot extend");
        st.st_size = (off_t)cfg->size;
    }
    *size = cfg->size != 0 && cfg->size < (uint64_t)st.st_size ? cfg->size : (uint64_t)st.st_size;
    return 0;
}

static int
map_memory(struct backing *m, struct lunette_error *err)
{
    if (m->store.size == 0)
        return 0; /* the unit says that it needs a block */
    if (m->store.size > SIZE_MAX / 2)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the LUN is too large for this machine's address space");
    m->store.mem = mmap(NULL, (size_t)m->store.size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->store.mem == MAP_FAILED) {
        m->store.mem = NULL;
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "cannot map %llu bytes: %s",
                            (unsigned long long)m->store.size, errno_text(errno));
    }
    return 0;
}

static int
open_backing(struct backing *m, const struct lu_config *cfg, const struct log *log, uint64_t *size,
             struct lunette_error *err)
{
    uint32_t block = cfg->block != 0 ? cfg->block : LU_BLOCK_MIN;
    int r;

    *size = cfg->size;
    m->fd = -1;
    if (cfg->kind == LU_FILE) {
        m->store.ops = &file_ops;
        r = open_backing_file(m, cfg, size, err);
        if (r < 0)
            return r;
        if (*size % block != 0)
            log_line(log, LOG_LEVEL_WARN, "%s: the last %u bytes are not a whole block, unused",
                     cfg->path, (unsigned)(*size % block));
    } else {
        m->store.ops = cfg->kind == LU_RAM ? &ram_ops : &null_ops;
    }
    *size = *size / block * block;
    m->store.size = *size;
    if (cfg->kind != LU_FILE && cfg->max_size > *size)
        m->store.size = cfg->max_size / block * block;
    return cfg->kind == LU_RAM ? map_memory(m, err) : 0;
}

int
lu_store_open(const struct lu_config *cfg, const struct log *log, struct lu_store **ret,
              uint64_t *ret_bytes, struct lunette_error *err)
{
    struct backing *m = calloc(1, sizeof(*m));
    uint64_t size = 0;
    int r;

    if (m == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    r = open_backing(m, cfg, log, &size, err);
    if (r < 0) {
        backing_close(&m->store);
        return r;
    }
    *ret = &m->store;
    *ret_bytes = size;
    return 0;
}

void
lu_store_close(struct lu_store *s)
{
    if (s != NULL)
        s->ops->close(s);
}

int
lu_store_sync(struct lu_store *s)
{
    return s->ops->sync != NULL ? s->ops->sync(s) : 0;
}
