/* SPDX-License-Identifier: MIT */
/* base/log.h - the library never prints: lines go to a sink that the caller gave.
 *
 * A line is for the operator: what happened to which object, as a sentence.
 * Text that came from a peer is passed through log_clean first.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log {
    enum log_level level; /* lines of a higher level than this are dropped */
    void (*sink)(void *user, enum log_level level, const char *line);
    void *user;
};

/* log may be NULL. */
void log_line(const struct log *log, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies at most len bytes of peer text into buf[size], NUL-terminated, with every byte outside
 * 20h..7Eh replaced by '?'.  Returns buf. */
const char *log_clean(char *buf, size_t size, const void *text, size_t len);

#endif
