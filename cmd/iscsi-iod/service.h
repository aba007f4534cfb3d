/* SPDX-License-Identifier: MIT */
/* What a service manager gives to iscsi-iod and wants to know of it (systemd's protocols); nothing
 * of it where the program was built without libsystemd. */
#ifndef CMD_ISCSI_IOD_SERVICE_H
#define CMD_ISCSI_IOD_SERVICE_H

#include "base/log.h"

/* The listening socket that was handed over; -1: none was; or another -errno: -E2BIG, several were.
 */
int service_listener(void);

/* "READY=1" and the like. */
void service_tell(const char *state);

/* Sends a line to stderr: where that is the journal, with its level. */
void service_log(void *user, enum log_level level, const char *line);

#endif
