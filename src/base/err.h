/* SPDX-License-Identifier: MIT */
/* base/err.h - filling in a struct lunette_error.  Any thread. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "lunette/error.h"

/* Fills *err (if not NULL) and returns code, so that `return lunette_fail(...)` reads as one step.
 * code is -errno.  What detail means depends on dom (lunette/error.h).  The text is cut to fit, and
 * bytes of it outside 20h..7Eh become '?', since it may quote a peer. */
int lunette_fail(struct lunette_error *err, int code, enum lunette_domain dom, uint32_t detail,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Puts what fmt makes, and ": ", before the text that is already in *err (if not NULL).  Returns
 * code. */
int lunette_fail_prefix(struct lunette_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Fills *err (if not NULL) in as *why, a failure.  struct_size of *err stays as it is, since it
 * says what its owner has allocated: so a public error is never assigned to.  Returns why->code. */
int lunette_fail_as(struct lunette_error *err, const struct lunette_error *why);

/* Says what an errno means; errnum may have either sign.  The string is never freed. */
const char *errno_text(int errnum);

#endif
