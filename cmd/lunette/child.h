/* SPDX-License-Identifier: MIT */
/* cmd/lunette/child.h - programs that the demo runs, by posix_spawn. */
#ifndef CMD_LUNETTE_CHILD_H
#define CMD_LUNETTE_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/* Starts argv[0] (a path, or a name to be found) in dir.  ret_out not NULL: its standard output
 * comes from there; the caller closes it.  0 or -errno. */
int child_start(const char *const *argv, const char *dir, pid_t *ret, int *ret_out);

/* Waits for the program's end: its exit code, 128 + signal, or -errno. */
int child_wait(pid_t pid);

/* Ends the program: SIGTERM, then SIGKILL after five seconds. */
int child_stop(pid_t pid);

#endif
