/* SPDX-License-Identifier: MIT */
/* wire/credentials.h - the text in which people keep CHAP names and secrets, for the initiator and
 * the target alike.
 *
 * A line is one of
 *
 *     name = TEXT            secret = TEXT
 *     mutual_name = TEXT     mutual_secret = TEXT
 *     NAME:SECRET
 *
 * The first line of the last form is about the initiator, the second about the target, which proves
 * itself with it (mutual CHAP).  Empty lines, and lines that begin with '#', say nothing.  Blanks
 * around a TEXT are no part of it.  Some line has to say something.  Any thread.
 */
#ifndef WIRE_CREDENTIALS_H
#define WIRE_CREDENTIALS_H

#include <stddef.h>

#include "base/err.h"

enum credentials_field {
    CREDENTIALS_NAME,
    CREDENTIALS_SECRET,
    CREDENTIALS_MUTUAL_NAME,
    CREDENTIALS_MUTUAL_SECRET,
    CREDENTIALS_FIELDS,
};

/* What a text says.  It points into the text, and into what the caller has put in before. */
struct credentials {
    struct credentials_text {
        const char *text; /* without a NUL behind it; NULL: not given */
        size_t len;
    } field[CREDENTIALS_FIELDS];
};

/* Reads text[0..len) into *c.  A name that is in *c already is known: the text must be about the
 * same, and NAME:SECRET is cut behind it, so that it may hold colons.  An iSCSI name (iqn...) that
 * is not known is cut at the last colon, any other name at the first.  Returns 0; or -EINVAL with
 * *err, which names `from`, and the line where there are several, and never shows a secret, and *c
 * is not to be used. */
int credentials_read(struct credentials *c, const char *text, size_t len, const char *from,
                     struct lunette_error *err);

#endif
