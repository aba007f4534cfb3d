/* SPDX-License-Identifier: MIT */
/* base/secret_file.h - which files may hold secrets.  Any thread. */
#ifndef BASE_SECRET_FILE_H
#define BASE_SECRET_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

/* Whether nobody but the owner of an open file can read or change it.  What is no regular file,
 * such as a pipe of a password manager, is taken as it is. */
static inline bool
secret_file_is_private(const struct stat *st)
{
    return !S_ISREG(st->st_mode) || (st->st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

#endif
