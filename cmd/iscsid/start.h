/* SPDX-License-Identifier: MIT */
/* What is done before the daemon begins: its folders, its lock, its user, and the background. */
#ifndef CMD_ISCSID_START_H
#define CMD_ISCSID_START_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define START_PATH_MAX 4096

/* Makes a folder and those above it that are missing, for the owner alone, and writes where it is,
 * absolute and without links, to ret[START_PATH_MAX]. */
int start_folder(const char *path, char *ret, struct lunette_error *err);

/* Writes the path as it is meant from here to ret[START_PATH_MAX], since a daemon in the background
 * has another working directory. */
int start_absolute(const char *path, char *ret, struct lunette_error *err);

/* Takes the lock folder/name, which only one daemon has at a time, and notes the process id in it.
 * Waits some seconds for it, since a daemon that was killed has it until it is gone.  With
 * `both` the folder is locked, too, for daemons that cannot make the file there.  Returns a
 * descriptor that holds the lock until the process ends; -EBUSY where another daemon has it; or
 * another -errno where there are no locks. */
int start_lock(const char *folder, const char *name, bool both, struct lunette_error *err);

/* Becomes another group and user, without any supplementary group or folder of the user before;
 * -1: stays. */
int start_become(long uid, long gid, struct lunette_error *err);

/* Goes to the background: returns in the child, with *ret_ready a descriptor on which start_ready
 * tells the parent, which waits for that and ends; where the child ends before, with its status.
 * Returns 0 or -errno. */
int start_background(int *ret_ready, struct lunette_error *err);
/* Lets the parent end with success, and standard error go; -1 is harmless. */
void start_ready(int ready);

int start_pid_file(const char *path, struct lunette_error *err);
/* At the end, so that nobody signals whoever gets the number next.  One of another process stays.
 */
void start_pid_file_remove(const char *path);

/* Finds the program beside this one, or else in PATH: writes what can be started. */
void start_program(const char *name, char *ret);

#endif
