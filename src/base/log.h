/* SPDX-License-Identifier: MIT */
/* base/log.h - log lines.
 *
 * The library never prints; it hands each line to a function that the application has
 * set.  A line is for the operator, and says as a sentence what happened to which
 * object.  It may quote a peer: log_line makes every line fit for a terminal.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* How much of something that could be said too often is said: at most `max` times within
 * window_ns.  One of zeroes is new. */
struct log_limit {
    uint64_t since_ns; /* when the window began */
    unsigned said;     /* in it */
    unsigned unsaid;   /* since something was said last */
};

/* Tells whether it may be said now; *ret_unsaid gets how often it was not since the last time. */
static inline bool
log_limit_ok(struct log_limit *l, uint64_t now_ns, uint64_t window_ns, unsigned max,
             unsigned *ret_unsaid)
{
    if (l->said > 0 && now_ns - l->since_ns >= window_ns)
        l->said = 0;
    if (l->said >= max) {
        l->unsaid++;
        return false;
    }
    if (l->said++ == 0)
        l->since_ns = now_ns;
    *ret_unsaid = l->unsaid;
    l->unsaid = 0;
    return true;
}

/* Copies text[0..len), cut to size - 1 bytes, into buf and ends it with a NUL; each byte outside
 * 20h..7Eh becomes '?'.  size > 0; text may be buf.  Returns buf. */
const char *log_clean(char *buf, size_t size, const void *text, size_t len);

#endif
