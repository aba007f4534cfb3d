/* SPDX-License-Identifier: MIT */
/* iscsid/guard.h - the lock that the process of the data plane has as long as it lives, so that no
 * second one is started beside it. */
#ifndef ISCSID_GUARD_H
#define ISCSID_GUARD_H

#include "base/err.h"

struct guard {
    int fd;                    /* with the lock; the caller closes it */
    const char *held;          /* -EBUSY: which of the two files somebody else has; else NULL */
    struct lunette_error note; /* code < 0: why `file` was not to be had, and `instead` was used */
};

/* Takes the flock(2) of a file, which is made where it is missing; where it can neither be made nor
 * read, or has no such locks, that of another file.  Who has either keeps others from both.
 * Returns 0 and *ret; -EBUSY where another process has it, with ret->held; or another -errno where
 * neither can be locked. */
int guard_take(const char *file, const char *instead, struct guard *ret);

/* Finds who has the flock(2) of a file or folder: a process that is seen to have it, or else the
 * one that the file tells of.  A file that may only be read tells of nobody: what it says was
 * written when it could be written to, by another one.  Looks at all processes in /proc, which
 * takes milliseconds.  ret becomes the digits of its pid, or "": not known. */
#define GUARD_PID_MAX 24
void guard_holder(const char *path, char ret[GUARD_PID_MAX]);

#endif
