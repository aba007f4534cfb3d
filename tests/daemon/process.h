/* SPDX-License-Identifier: MIT */
/* tests/daemon/process.h - the programs of a test, and its folder. */
#ifndef TESTS_DAEMON_PROCESS_H
#define TESTS_DAEMON_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#define DAEMON_TARGET "iqn.2026-11.example:disks"

/* Makes a folder for sockets, which is the working directory from then on, and has all that is
 * started here killed at the end of the program. */
void process_begin(void);

/* lunette-target with that many RAM disks of 16 MiB.  Returns its port. */
uint16_t process_target(unsigned disks);

pid_t process_last_target(void);

/* iscsi-iod on the socket "iod" of the folder, with further arguments that end with NULL. */
pid_t process_iod(const char *const *args);

/* Runs fn in a process of its own, and waits until it has called process_say_ready. */
pid_t process_fork(void (*fn)(void *user), void *user);
void process_say_ready(void);

/* Sends a signal and waits for the end, for 30 s at most.  Returns what waitpid tells. */
int process_end(pid_t pid, int signal);

#endif
