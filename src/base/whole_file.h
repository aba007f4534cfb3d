/* SPDX-License-Identifier: MIT */
/* base/whole_file.h - files that are read whole, and replaced whole or not at all.  Any thread.
 */
#ifndef BASE_WHOLE_FILE_H
#define BASE_WHOLE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define WHOLE_FILE_MAX (1u << 20)     /* bytes of a file that is read */
#define WHOLE_TEMP     ".lunette.new" /* the file that takes the place of another */

/* The calls that change something, so that tests can let each of them fail.  As in libc: -1 and
 * errno. */
struct whole_fileops {
    int (*open)(int dir, const char *name, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *buf, size_t len);
    int (*fsync)(int fd);
    int (*syncfs)(int fd);
    int (*rename)(int from_dir, const char *from, int to_dir, const char *to);
    int (*unlink)(int dir, const char *name, int flags);
    int (*mkdir)(int dir, const char *name, mode_t mode);
    int (*symlink)(const char *target, int dir, const char *name);
};

extern const struct whole_fileops whole_fileops_libc;

/* Waits until what was written to a file, or which names a directory has, is on the disk.  Returns
 * 0 or -errno. */
int whole_file_sync(const struct whole_fileops *ops, int fd);

/* In place of fsync for who changes many files: it does nothing, and one syncfs follows. */
int whole_fsync_later(int fd);

/* Opens a directory below another.  A symbolic link is not followed, so that none leads out of the
 * tree.  With make it is made, for the owner alone, where it is not there.  Returns the descriptor
 * or -errno. */
int whole_dir_open(const struct whole_fileops *ops, int dir, const char *name, bool make);

/* Reads a regular file, which is no symbolic link.  Returns 0 and *ret with a NUL behind *ret_len
 * bytes, which the caller frees, and wipes before where it may hold secrets; or -errno: -EFBIG for
 * one of more than WHOLE_FILE_MAX bytes, -ELOOP for a symbolic link, -EISDIR for a directory,
 * -EINVAL for what is no file. */
int whole_file_read(int dir, const char *name, char **ret, size_t *ret_len);

/* Gives dir/name the text, for the owner alone.  Whatever happens meanwhile, the file has all of
 * the old text or all of the new, and after 0 it has the new one even if the power fails.
 *
 * The new text is first written to temp_dir/WHOLE_TEMP, since whatever stands beside a record is a
 * record to other programs; where the two directories are on different file systems, it is written
 * beside the file all the same.  Callers see to it that one of them writes at a time.  Returns 0,
 * or -errno, and then dir/name is as it was. */
int whole_file_replace(const struct whole_fileops *ops, int temp_dir, int dir, const char *name,
                       const char *text, size_t len);

/* Removes a file or a link, and sees to it that it stays removed.  Returns 0 or -errno. */
int whole_file_remove(const struct whole_fileops *ops, int dir, const char *name);

/* The names in a directory, in the order of strcmp. */
struct whole_names {
    char **name;
    size_t n, room;
};

/* Lists a directory, without names that begin with a dot.  Returns 0, or -errno, and then *ret is
 * empty.  The caller ends it with whole_names_free. */
int whole_dir_list(int dir, struct whole_names *ret);
void whole_names_free(struct whole_names *n);

#endif
