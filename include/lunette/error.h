/* SPDX-License-Identifier: MIT */
/* lunette/error.h - how functions of this project fail.
 *
 * A function that can fail returns int: 0 (or a count) on success, -errno on
 * failure.  Where a person may have to read the reason, its last parameter is
 * a struct lunette_error that it fills in; NULL means "not interested".
 */
#ifndef LUNETTE_ERROR_H
#define LUNETTE_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Who refused, and what `detail` then holds. */
enum lunette_domain {
    LUNETTE_DOM_OS,      /* the operating system; detail: errno */
    LUNETTE_DOM_USAGE,   /* the caller's input: URL, option, range; detail: 0 */
    LUNETTE_DOM_CONNECT, /* name lookup, TCP connect; detail: errno */
    LUNETTE_DOM_LOGIN, /* detail: Status-Class << 8 | Status-Detail (RFC 7143 11.13.5), 0 if ours */
    LUNETTE_DOM_PROTO, /* the peer broke the protocol; detail: Reject reason that fits */
    LUNETTE_DOM_SCSI,  /* detail: status << 24 | sense key << 16 | ASC << 8 | ASCQ */
    LUNETTE_DOM_TIMEOUT,  /* detail: milliseconds waited */
    LUNETTE_DOM_NOTFOUND, /* no such target or LUN; detail: 0 */
};

struct lunette_error {
    int code; /* the -errno that was returned */
    enum lunette_domain domain;
    uint32_t detail;
    char msg[256]; /* one sentence for a person, no newline; never holds a secret */
};

#ifdef __cplusplus
}
#endif

#endif
