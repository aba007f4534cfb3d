/* SPDX-License-Identifier: MIT */
/* base/err.h - filling in a struct lunette_error. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "lunette/error.h"

/* Fills *err (if not NULL) and returns code, so that `return lunette_fail(...)` reads as one step.
 * code must be negative.  Bytes outside 20h..7Eh become '?', since messages quote peers. */
int lunette_fail(struct lunette_error *err, int code, enum lunette_domain dom, uint32_t detail,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Puts "text: " before the message that is already in *err (if not NULL); returns code. */
int lunette_fail_prefix(struct lunette_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What an errno means, of either sign; a string that lives for ever, from any thread. */
const char *errno_text(int errnum);

#endif
