/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
log_line(const struct log *log, enum log_level level, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    if (log == NULL || log->sink == NULL || level > log->level)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    (void)log_clean(line, sizeof(line), line, strlen(line));
    log->sink(log->user, level, line);
}

const char *
log_clean(char *buf, size_t size, const void *text, size_t len)
{
    const unsigned char *p = text;
    size_t i;

    assert(size > 0);
    for (i = 0; i < len && i + 1 < size; i++)
        buf[i] = (char)(p[i] >= 0x20 && p[i] <= 0x7e ? p[i] : '?');
    buf[i] = '\0';
    return buf;
}
