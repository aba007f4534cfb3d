/* SPDX-License-Identifier: MIT */
/* engine/flash_text.h - a record of the table as text.  Any thread. */
#ifndef ENGINE_FLASH_TEXT_H
#define ENGINE_FLASH_TEXT_H

#include <stddef.h>

#include "engine/flash.h"

#define FLASH_TEXT_MAX 4096 /* bytes of any record's text, with the NUL */

/* Writes a line "NAME = VALUE" for each setting, with the NUL, into buf of FLASH_TEXT_MAX bytes.
 * Returns the length. */
size_t flash_text_format(const struct flash_record *r, char *buf);

/* Takes the lines of text[0..len) into *r; what has no line stays as it is.  Empty lines and those
 * that begin with '#' say nothing.  Returns 0, or -EINVAL with the line, what is wrong, and what to
 * do, and then leaves *r as it was. */
int flash_text_take(const char *text, size_t len, struct flash_record *r,
                    struct lunette_error *err);

#endif
