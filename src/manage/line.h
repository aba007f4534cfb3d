/* SPDX-License-Identifier: MIT */
/* manage/line.h - one line of the management API: JSON that is checked before it is believed.
 *
 * A line comes from another process.  Before a line is parsed its depth and the number of its
 * values are counted, since both decide how much stack and memory the parser takes.  Any thread.
 */
#ifndef MANAGE_LINE_H
#define MANAGE_LINE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "manage/peer.h"

#define MANAGE_DEPTH_MAX  16    /* objects and arrays within each other */
#define MANAGE_VALUES_MAX 65536 /* values of one request */
#define MANAGE_ID_MAX     128   /* bytes of an id that is text */
#define MANAGE_TOKEN_MAX  128   /* bytes */
#define MANAGE_METHOD_MAX 64    /* bytes */

/* Parses text[0..len), one JSON object that stays within MANAGE_DEPTH_MAX and values_max, with no
 * member twice.  Returns 0, and the caller owns *ret; or -EINVAL (what is wrong, in words that
 * quote nothing, since a request may hold secrets) or -ENOMEM. */
int manage_line_parse(const char *text, size_t len, size_t values_max, json_t **ret,
                      struct lunette_error *err);

/* A request; all is borrowed from the JSON that it was read from. */
struct manage_line_request {
    json_t *id;         /* a number, text, or null */
    const char *method; /* never NULL after success */
    const char *token;  /* NULL: none */
    json_t *params;     /* an object, or NULL: none */
};

/* Takes a request apart.  Returns 0 or -EINVAL.  ret->id is set as soon as it is known to be good,
 * so that also an error can name it. */
int manage_line_request(json_t *line, struct manage_line_request *ret, struct lunette_error *err);

/* Sends a JSON value as a line; NULL, which is what jansson returns where memory was short, ends
 * the connection. */
void manage_line_send(struct manage_peer *p, const json_t *line);

#endif
