/* SPDX-License-Identifier: MIT */
/* cmd/common/logfile.h - standard error as a file that does not grow without bound.
 *
 * What is said goes to FILE.  When that has LOGFILE_MAX bytes it becomes FILE.1, in place of what
 * had that name, and FILE begins anew: so the two have twice as much at most.  A device, as
 * /dev/null, stays what it is.
 */
#ifndef CMD_COMMON_LOGFILE_H
#define CMD_COMMON_LOGFILE_H

#include <stddef.h>

#define LOGFILE_MAX (4u << 20) /* bytes */

/* Has standard error go to that file from now on, which is made where it is missing.  path is
 * borrowed for good.  Before there are threads.  Returns 0 or -errno. */
int logfile_open(const char *path);

/* Around what is written to standard error, on any thread; len bytes of it at most.  Harmless where
 * no file is open. */
void logfile_begin(void);
void logfile_end(size_t len);

#endif
