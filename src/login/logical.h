/* SPDX-License-Identifier: MIT */
/* login/logical.h - the text of one logical Login Request or Response (RFC 7143 6.2), which may be
 * spread over several PDUs.
 *
 * It lies on the heap and grows.  It may hold authentication keys, so memory is
 * overwritten before it is freed.  Internal to login/; loop's thread.
 */
#ifndef LOGIN_LOGICAL_H
#define LOGIN_LOGICAL_H

#include "base/err.h"
#include "wire/text.h"

#define LOGICAL_TEXT_MAX 65536u /* bytes */

/* Allocates an empty text.  Returns 0 or -ENOMEM; logical_fini may be called in both cases. */
int logical_init(struct text_buf *b);
void logical_fini(struct text_buf *b);

/* Makes room for need bytes in all, need <= LOGICAL_TEXT_MAX.  Returns 0, or -ENOMEM with *err. */
int logical_reserve(struct text_buf *b, size_t need, struct lunette_error *err);

/* Adds a pair to a text that we send.  Returns 0; or with *err -ENOMEM, or -EPROTO where the target
 * asks for more answers than LOGICAL_TEXT_MAX holds. */
int logical_put(struct text_buf *b, const char *key, const char *value, size_t len,
                struct lunette_error *err);

#endif
