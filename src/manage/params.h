/* SPDX-License-Identifier: MIT */
/* manage/params.h - members of a request's parameters, with their types and bounds.
 *
 * Each function looks for the member `name` of params, which may be NULL.  It returns 1 and sets
 * *ret when the member is there and good; 0, and leaves *ret as it was, when it is missing or null;
 * and -EINVAL, with an error that names the member, when it is of another type, out of bounds, or
 * missing although it is needed.  What is returned is borrowed from params.  Any thread.
 */
#ifndef MANAGE_PARAMS_H
#define MANAGE_PARAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum manage_need { MANAGE_OPTIONAL, MANAGE_NEEDED };

/* Text of 1..max bytes; empty text is refused.  Bytes below 20h and 7Fh are refused, too: no name,
 * address, path or secret of this project has them, and records are lines. */
int manage_get_text(const json_t *params, const char *name, enum manage_need need, size_t max,
                    const char **ret, struct lunette_error *err);

/* A whole number within min..max. */
int manage_get_int(const json_t *params, const char *name, enum manage_need need, int64_t min,
                   int64_t max, int64_t *ret, struct lunette_error *err);

int manage_get_bool(const json_t *params, const char *name, bool *ret, struct lunette_error *err);

/* An array of at most max texts of at most text_max bytes each; *ret is that array. */
int manage_get_texts(const json_t *params, const char *name, size_t max, size_t text_max,
                     const json_t **ret, struct lunette_error *err);

/* An array of at most max pairs [name, value], both texts, values also empty, of at most text_max
 * bytes each; *ret is that array, of which manage_pair takes one. */
int manage_get_pairs(const json_t *params, const char *name, size_t max, size_t text_max,
                     const json_t **ret, struct lunette_error *err);
void manage_pair(const json_t *pairs, size_t i, const char **ret_name, const char **ret_value);

/* A word of the list `words`, which ends with NULL; *ret is its place in the list. */
int manage_get_word(const json_t *params, const char *name, enum manage_need need,
                    const char *const *words, unsigned *ret, struct lunette_error *err);

/* Returns 0 where each member of params is in `members`, names with blanks between them; or -EINVAL
 * with an error that names the one that is not, and the one that may have been meant. */
int manage_check_members(const json_t *params, const char *members, struct lunette_error *err);

#endif
