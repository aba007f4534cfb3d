/* SPDX-License-Identifier: MIT */
/* cmd/lunette/child.h - programs that the demo runs, by posix_spawn. */
#ifndef CMD_LUNETTE_CHILD_H
#define CMD_LUNETTE_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/* Starts argv[0] (a path, or a name that is looked up in PATH) in dir.  Where ret_out is not NULL,
 * *ret_out is a descriptor from which the program's standard output can be read, and which the
 * caller closes.  Returns 0 or -errno. */
int child_start(const char *const *argv, const char *dir, pid_t *ret, int *ret_out);

/* Waits for the program's end.  Returns its exit code, 128 + signal, or -errno. */
int child_wait(pid_t pid);

/* Ends the program: SIGTERM, then SIGKILL after five seconds. */
int child_stop(pid_t pid);

#endif
