/* SPDX-License-Identifier: MIT */
/* base/log.h - log lines.
 *
 * The library never prints; it hands each line to a function that the application has
 * set.  A line is for the operator, and says as a sentence what happened to which
 * object.  It may quote a peer: log_line makes every line fit for a terminal.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log {
    enum log_level level; /* lines of a higher level than this are dropped */
    /* Called on the thread that logs.  line has no newline, is cut to 511 bytes, and is borrowed
     * for the call. */
    void (*sink)(void *user, enum log_level level, const char *line);
    void *user;
};

/* Formats a line and gives it to the sink.  Does nothing where log or its sink is NULL. */
void log_line(const struct log *log, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies text[0..len), cut to size - 1 bytes, into buf and ends it with a NUL; each byte outside
 * 20h..7Eh becomes '?'.  size > 0; text may be buf.  Returns buf. */
const char *log_clean(char *buf, size_t size, const void *text, size_t len);

#endif
