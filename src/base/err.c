/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Messages quote peers and devices: nothing of theirs may steer a terminal or forge a log line. */
static void
clean(char *msg)
{
    for (; *msg != '\0'; msg++) {
        if ((unsigned char)*msg < 0x20 || (unsigned char)*msg > 0x7e)
            *msg = '?';
    }
}

int
lunette_fail(struct lunette_error *err, int code, enum lunette_domain dom, uint32_t detail,
             const char *fmt, ...)
{
    va_list ap;

    assert(code < 0);
    if (err == NULL)
        return code;
    err->code = code;
    err->domain = dom;
    err->detail = detail;
    va_start(ap, fmt);
    (void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    clean(err->msg);
    return code;
}

int
lunette_fail_prefix(struct lunette_error *err, int code, const char *fmt, ...)
{
    char old[sizeof(err->msg)];
    va_list ap;
    int n;

    assert(code < 0);
    if (err == NULL)
        return code;
    memcpy(old, err->msg, sizeof(old));
    va_start(ap, fmt);
    n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(err->msg))
        (void)snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s", old);
    clean(err->msg);
    return code;
}

int
lunette_fail_as(struct lunette_error *err, const struct lunette_error *why)
{
    assert(why->code < 0);
    if (err != NULL) {
        err->code = why->code;
        err->domain = why->domain;
        err->detail = why->detail;
        memcpy(err->msg, why->msg, sizeof(err->msg));
    }
    return why->code;
}

const char *
errno_text(int errnum)
{
    const char *text = strerrordesc_np(errnum < 0 ? -errnum : errnum);

    return text != NULL ? text : "unknown error";
}
