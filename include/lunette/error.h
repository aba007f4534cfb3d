/* SPDX-License-Identifier: MIT */
/* lunette/error.h - how functions of this project fail.
 *
 * A function that can fail returns int: 0 (or a count) on success, -errno on
 * failure.  Where a person may have to read the reason, its last parameter is
 * a struct lunette_error that it fills in; NULL means "not interested".
 *
 * This structure, and each that is declared in lunette/lunette.h and allocated by its caller,
 * begins with struct_size: the bytes that the caller has allocated, which is how structures may
 * grow without an end to the programs that know the old ones.  LUNETTE_INIT sets it and zeroes the
 * rest:
 *
 *     struct lunette_error err = LUNETTE_INIT(err);
 *
 * 0, as in a structure that was zeroed, stands for its first version.  Of a structure that is
 * larger than the library's, what the library does not know must be zero, else the call fails with
 * -E2BIG; if the library fills the structure in, it zeroes that part.  Any other size is -EINVAL:
 * the structure was not initialized.
 */
#ifndef LUNETTE_ERROR_H
#define LUNETTE_ERROR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C++" { /* programs may include this inside extern "C" */
/* Becomes a structure of whatever type is asked for.  An initializer with one value in braces would
 * do as well, but -Wextra warns of the members that it leaves out. */
struct lunette_init {
    size_t struct_size;

    template <typename T> operator T() const
    {
        T s = T();

        s.struct_size = struct_size;
        return s;
    }
};
}
#define LUNETTE_INIT(what) (lunette_init{sizeof(what)})

extern "C" {
#else
#define LUNETTE_INIT(what)                                                                         \
    {                                                                                              \
        .struct_size = sizeof(what)                                                                \
    }
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
    size_t struct_size; /* see LUNETTE_INIT */
    int code;           /* the -errno that was returned */
    enum lunette_domain domain;
    uint32_t detail;
    char msg[260]; /* one sentence for a person, no newline; never holds a secret */
};

#ifdef __cplusplus
}
#endif

#endif
