/* SPDX-License-Identifier: MIT */
/* What a service manager gives to a daemon and wants to know of it (systemd's protocols); nothing
 * of it where the program was built without libsystemd. */
#ifndef CMD_COMMON_SERVICE_H
#define CMD_COMMON_SERVICE_H

#include "base/log.h"

/* The listening socket that was handed over; -1: none was; or another -errno: -E2BIG, several were.
 */
int service_listener(void);

/* "READY=1" and the like. */
void service_tell(const char *state);

/* Sends a line to stderr: where that is the journal, with its level, else behind the name of the
 * program, which is user. */
void service_log(void *user, enum log_level level, const char *line);

#endif
