/* SPDX-License-Identifier: MIT */
/* iscsid/guard.h - the lock that the process of the data plane has as long as it lives, so that no
 * second one is started beside it. */
#ifndef ISCSID_GUARD_H
#define ISCSID_GUARD_H

#include "base/err.h"

struct guard {
    int fd;                    /* with the lock; the caller closes it */
    char pid[24];              /* of who has it, as its file says; "": it does not */
    struct lunette_error note; /* code < 0: why `file` was not to be had, and `instead` was used */
};

/* Takes the flock(2) of a file, which is made where it is missing; where it can neither be made nor
 * read, or has no such locks, that of another file.  Who has either keeps others from both.
 * Returns 0 and *ret; -EBUSY where another process has it, with ret->pid; or another -errno where
 * neither can be locked. */
int guard_take(const char *file, const char *instead, struct guard *ret);

#endif
