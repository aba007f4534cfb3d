/* SPDX-License-Identifier: MIT */
/* What a service manager gives to a daemon and wants to know of it (systemd's protocols); nothing
 * of it where the program was built without libsystemd. */
#ifndef CMD_COMMON_SERVICE_H
#define CMD_COMMON_SERVICE_H

#include <stdint.h>

#include "base/log.h"

/* The listening socket that was handed over; -1: none was; or another -errno: -E2BIG, several were.
 */
int service_listener(void);

/* "READY=1" and the like. */
void service_tell(const char *state);

/* How often the service manager has to hear from this process before it takes it for hung, in
 * milliseconds; 0: it does not ask. */
uint32_t service_watchdog_ms(void);

/* Has the process end in any case: where that has not happened by itself within ms, a line says so
 * and it ends with status 1, whatever its threads are doing.  Called once, when it has been told to
 * end; it waits, on the thread that calls.  name is the program's. */
void service_end_within(uint32_t ms, const struct log *log, const char *name);

/* Sends a line to stderr: where that is the journal, with its level, else behind the name of the
 * program, which is user. */
void service_log(void *user, enum log_level level, const char *line);

#endif
