/* SPDX-License-Identifier: MIT */
/* cmd/common/stdfds.h - what programs of this tree need to know of their descriptors. */
#ifndef CMD_COMMON_STDFDS_H
#define CMD_COMMON_STDFDS_H

/* Opens /dev/null in place of each of the descriptors 0 to 2 that is closed, so that no socket and
 * no file takes their number and gets what is meant for standard output or error.  Reading such a
 * standard input and writing such a standard output fail with EBADF, as they would have without
 * this; what is written to such a standard error is lost.  Returns 0 or -errno. */
int stdfds_open(void);

/* Can n more descriptors be opened?  What takes connections asks before it says that it is there:
 * with none left for them, those who come would wait for ever.  Returns 0 or -errno, -EMFILE. */
#define STDFDS_ROOM_MAX 64
int stdfds_room(unsigned n);

/* Raises the soft limit of descriptors, which is there for programs that use select(2), to the hard
 * one: a connection is a descriptor. */
void stdfds_raise(void);

/* For a program that has printed what it was asked for, and leaves: EXIT_SUCCESS, or EXIT_FAILURE
 * after a line on standard error where it could not be written. */
int stdfds_shown(const char *program);

#endif
