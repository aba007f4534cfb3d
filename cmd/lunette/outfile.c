/* SPDX-License-Identifier: MIT */
#include "cmd/lunette/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cmd/lunette/cli.h"

#define MAGIC       "lunette partial copy 1\n"
#define RECORD_SIZE 1024u
#define MARK_NS     2000000000ull
#define BOOT_MAX    64

/* ---- before the copy ------------------------------------------------------------------------ */

static mode_t
mode_of_new_file(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return 0666 & ~mask;
}

/* The folder of path must let us make and rename files. */
static int
check_folder(const struct outfile *f)
{
    char copy[PATH_MAX];

    if (snprintf(copy, sizeof(copy), "%s", f->path) >= (int)sizeof(copy))
        return fail_errno(-ENAMETOOLONG, "%s", f->name);
    const char *dir = dirname(copy);
    if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0) {
        int e = errno;
        fail_errno(-e, "%s: nothing can be made in its folder", f->name);
        if (e == EACCES || e == EPERM)
            hint("--in-place writes into a file that is there, without another beside it");
        return EXIT_USAGE;
    }
    return 0;
}

int
outfile_check(const char *path, struct outfile *ret)
{
    struct stat st;

    *ret = (struct outfile){.fd = -1, .mode = mode_of_new_file(), .name = path_public(path)};
    if (lstat(path, &st) == 0) {
        ret->path = realpath(path, NULL);
        if (ret->path == NULL || stat(path, &st) < 0) {
            fail_errno(-errno, "%s: a link that leads nowhere", ret->name);
            return EXIT_USAGE;
        }
        ret->exists = true;
        ret->mode = st.st_mode & 0777;
        ret->uid = st.st_uid;
        ret->gid = st.st_gid;
        if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0) {
            fail_errno(-errno, "%s: may not be written", ret->name);
            return EXIT_USAGE;
        }
    } else {
        ret->path = xmalloc(strlen(path) + 1);
        memcpy(ret->path, path, strlen(path) + 1);
    }
    size_t size = strlen(ret->path) + sizeof(".partial");
    ret->partial = xmalloc(size);
    snprintf(ret->partial, size, "%s.partial", ret->path);
    ret->partial_name = path_public(ret->partial);
    return check_folder(ret);
}

/* The bytes that are free where the file is, or will be. */
static int
find_room(const struct outfile *f, int fd, uint64_t *ret)
{
    char copy[PATH_MAX];
    struct statvfs v;
    struct stat st;

    if (f != NULL)
        snprintf(copy, sizeof(copy), "%s", f->path);
    if ((f != NULL ? statvfs(dirname(copy), &v) : fstatvfs(fd, &v)) < 0)
        return -errno;
    *ret = (uint64_t)v.f_bavail * v.f_frsize;
    if ((f != NULL ? stat(f->partial, &st) : fstat(fd, &st)) == 0) /* what is there goes */
        *ret += (uint64_t)st.st_blocks * 512;
    return 0;
}

int
outfile_room(const struct outfile *f, int fd, const char *name, uint64_t need)
{
    char have[TEXT_SIZE], want[TEXT_SIZE];
    uint64_t room;
    struct rlimit l;

    if (getrlimit(RLIMIT_FSIZE, &l) == 0 && need > l.rlim_cur) {
        fail_usage("%s: files may have %s here (ulimit -f), and %s are to be written", name,
                   format_size(have, l.rlim_cur), format_size(want, need));
        return EXIT_OTHER;
    }
    if (find_room(f, fd, &room) < 0) /* then the writes will tell */
        return 0;
    if (need <= room)
        return 0;
    fail_usage("%s: the file system has %s left, and %s are to be written: nothing was copied",
               name, format_size(have, room), format_size(want, need));
    hint("zeroes take no room there: with --no-space-check the copy goes on until it is full");
    return EXIT_OTHER;
}

/* ---- the record ------------------------------------------------------------------------------ */

static void
boot_id(char buf[BOOT_MAX])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, BOOT_MAX - 1) : -1;

    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
}

static int
outfile_record(struct outfile *f, uint64_t done, bool stable)
{
    char record[RECORD_SIZE] = "", boot[BOOT_MAX];

    boot_id(boot);
    snprintf(record, sizeof(record), "%sdone=%llu\nboot=%s\n", f->head, (unsigned long long)done,
             stable ? "any" : boot);
    ssize_t n = pwrite(f->fd, record, sizeof(record), (off_t)f->length);
    return n == (ssize_t)sizeof(record) ? 0 : n < 0 ? -errno : -ENOSPC;
}

/* Whether the open file is the one that has the name: others may remove or replace it. */
static bool
has_its_name(const struct outfile *f)
{
    struct stat is, named;

    return fstat(f->fd, &is) == 0 && lstat(f->partial, &named) == 0 && is.st_dev == named.st_dev &&
           is.st_ino == named.st_ino;
}

/* Whether nobody has cut it off: the record is the last that is in it from the beginning, and what
 * is written before the record does not bring that back. */
static bool
has_its_record(const struct outfile *f)
{
    struct stat st;

    return fstat(f->fd, &st) == 0 && (uint64_t)st.st_size == f->length + RECORD_SIZE;
}

void
outfile_mark(struct outfile *f, uint64_t done)
{
    uint64_t now = now_ns();

    if (now < f->next_ns || !has_its_record(f)) /* else outfile_commit would not see it */
        return;
    f->next_ns = now + MARK_NS;
    (void)outfile_record(f, done, false); /* the copy is complete without it, too */
}

int
outfile_mark_stable(struct outfile *f, uint64_t done)
{
    if (!has_its_name(f) || !has_its_record(f))
        return -ESTALE;
    /* the data first: the record must not be there before it */
    if (fdatasync(f->fd) < 0)
        return -errno;
    int r = outfile_record(f, done, true);
    if (r == 0 && fdatasync(f->fd) < 0)
        r = -errno;
    return r;
}

/* Reads the record at the end of the file.  False: there is none of ours. */
static bool
get_record(int fd, char record[RECORD_SIZE])
{
    struct stat st;

    if (fstat(fd, &st) < 0 || st.st_size < (off_t)RECORD_SIZE)
        return false;
    if (pread(fd, record, RECORD_SIZE, st.st_size - (off_t)RECORD_SIZE) != (ssize_t)RECORD_SIZE)
        return false;
    record[RECORD_SIZE - 1] = '\0';
    return strncmp(record, MAGIC, sizeof(MAGIC) - 1) == 0;
}

/* ---- the partial file ------------------------------------------------------------------------ */

/* Says which line of a record is not of this copy. */
static int
refuse_record(const struct outfile *f, const char *record)
{
    const char *was = record + sizeof(MAGIC) - 1, *is = f->head + sizeof(MAGIC) - 1;
    size_t n = strcspn(was, "\n"), m = strcspn(is, "\n");
    char line[RECORD_SIZE];

    while (n > 0 && n == m && memcmp(was, is, n) == 0 && was[n] == '\n' && is[n] == '\n') {
        was += n + 1;
        is += n + 1;
        n = strcspn(was, "\n");
        m = strcspn(is, "\n");
    }
    for (size_t i = 0; i < n; i++) /* the file may be anybody's */
        line[i] = was[i] >= ' ' && was[i] <= '~' ? was[i] : '?';
    line[n] = '\0';
    if (m == 0)
        fail_usage("copy: %s says where it ended in a way that is not understood", f->partial_name);
    else
        fail_usage("copy: %s is of another source, or of another part of it: it has %s, and this "
                   "copy %.*s",
                   f->partial_name, line, (int)m, is);
    hint("remove it, or copy without --resume");
    return EXIT_USAGE;
}

/* How far the partial file that is there got.  Exit code. */
static int
take_over(struct outfile *f, const char *record, uint64_t *ret_done)
{
    size_t head = strlen(f->head);
    unsigned long long done;
    char was[BOOT_MAX], boot[BOOT_MAX];

    if (strncmp(record, f->head, head) != 0 || !has_its_record(f) ||
        sscanf(record + head, "done=%llu\nboot=%63s", &done, was) != 2 || done > f->length) {
        return refuse_record(f, record);
    }
    boot_id(boot);
    if (strcmp(was, "any") != 0 && (boot[0] == '\0' || strcmp(was, boot) != 0)) {
        note("copy: the machine went down meanwhile: what is in %s cannot be relied on, and the "
             "copy begins anew",
             f->partial_name);
        done = 0;
    }
    *ret_done = done;
    return 0;
}

/* Opens or makes the partial file and locks it.  Exit code. */
static int
open_partial(struct outfile *f)
{
    struct stat st;

    f->fd = open(f->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd < 0 || fstat(f->fd, &st) < 0)
        return fail_errno(-errno, "%s", f->partial_name);
    /* not into a file that somebody else has put there to read along */
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return fail_usage("copy: %s is in the way: the copy is kept there until it is complete",
                          f->partial_name);
    if (flock(f->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return fail_usage("copy: another copy is writing %s", f->partial_name);
    if (!has_its_name(f)) /* it ended between our open and our lock */
        return fail_usage("copy: another copy was writing %s: try again", f->partial_name);
    return 0;
}

/* What an earlier copy wrote behind `done`, out of order, becomes a hole again.  The record stays
 * meanwhile where the file system can do that: what is there is worth nothing without it. */
static int
clear_behind(const struct outfile *f, uint64_t done)
{
    if (done == f->length && done > 0)
        return 0;
    if (done > 0 && fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)done,
                              (off_t)(f->length - done)) == 0)
        return 0;
    if (ftruncate(f->fd, (off_t)done) < 0 || ftruncate(f->fd, (off_t)f->length) < 0)
        return -errno;
    return 0;
}

int
outfile_open(struct outfile *f, const char *source, uint64_t length, bool resume,
             uint64_t *ret_done)
{
    char record[RECORD_SIZE];
    struct stat st;
    int code = open_partial(f);

    *ret_done = 0;
    f->length = length;
    snprintf(f->head, sizeof(f->head), MAGIC "%slength=%llu\n", source, (unsigned long long)length);
    if (code == 0 && fstat(f->fd, &st) == 0 && st.st_size > 0) {
        bool ours = get_record(f->fd, record);
        if (!ours) {
            code =
                fail_usage("copy: %s is in the way, and no copy of ours: move it", f->partial_name);
        } else if (resume) {
            code = take_over(f, record, ret_done);
        } else {
            note("copy: %s of an earlier copy is overwritten (--resume goes on with one)",
                 f->partial_name);
        }
    }
    if (code != 0) { /* it is not ours to remove */
        if (f->fd >= 0)
            close(f->fd);
        f->fd = -1;
        return code;
    }
    int r = clear_behind(f, *ret_done);
    if (r < 0)
        code = fail_errno(r, "%s: making it %llu bytes long", f->partial_name,
                          (unsigned long long)length);
    if (code == 0) {
        r = outfile_record(f, *ret_done, *ret_done == 0);
        code = r < 0 ? fail_errno(r, "%s", f->partial_name) : 0;
    }
    if (code != 0 && *ret_done == 0)
        outfile_drop(f);
    return code;
}

/* A new name is on stable storage when its folder is. */
static void
sync_folder(const char *path)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof(copy), "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

int
outfile_commit(struct outfile *f)
{
    if (!has_its_name(f) || !has_its_record(f)) {
        fail_usage("copy: %s was cut off, removed or replaced by somebody else meanwhile: %s is %s",
                   f->partial_name, f->name, f->exists ? "as it was" : "not made");
        outfile_drop(f);
        return EXIT_OTHER;
    }
    if (f->exists && fchown(f->fd, f->uid, f->gid) < 0 && fchown(f->fd, (uid_t)-1, f->gid) < 0)
        note("copy: %s: another owner may not be given to the file that takes its place", f->name);
    if (fchmod(f->fd, f->mode) < 0 || ftruncate(f->fd, (off_t)f->length) < 0 || fsync(f->fd) < 0 ||
        rename(f->partial, f->path) < 0)
        return fail_errno(-errno, "%s: becoming %s", f->partial_name, f->name);
    close(f->fd);
    f->fd = -1;
    sync_folder(f->path);
    return 0;
}

void
outfile_drop(struct outfile *f)
{
    if (f->fd < 0)
        return;
    if (has_its_name(f))
        (void)unlink(f->partial);
    close(f->fd);
    f->fd = -1;
}

void
outfile_close(struct outfile *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f->partial);
    free(f->name);
    free(f->partial_name);
    *f = (struct outfile){.fd = -1};
}
