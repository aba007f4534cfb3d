/* SPDX-License-Identifier: MIT */
/* manage/client.h - the caller's end of the management API, for programs that wait.
 *
 * Its functions run the loop until what they wait for is there; so none of them may be
 * called from a callback of that loop.
 */
#ifndef MANAGE_CLIENT_H
#define MANAGE_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "seam/loop.h"

#define MANAGE_ANSWER_MAX (256u << 20) /* bytes of a line that a daemon sends */

struct manage_client;

/* How a request failed. */
struct manage_failure {
    int exit; /* enum manage_code, also one that we do not know; never 0 */
    char code[32];
    char message[1024]; /* a sentence, printable */
};

/* Takes s, a stream that is connected to a daemon.  Returns 0, or -ENOMEM and s stays the
 * caller's. */
int manage_client_adopt(struct loop *l, struct stream *s, struct manage_client **ret);

/* Connects to the daemon that answers at a path, within timeout_ms.  What answers there must run as
 * uid or as root, since it is told secrets.  Returns 0, or -errno with the reason; -ENOENT and
 * -ECONNREFUSED: no daemon is there; -ETIMEDOUT: one is, but takes no connection. */
int manage_client_connect(struct loop *l, const char *path, uid_t uid, int64_t timeout_ms,
                          struct manage_client **ret, struct lunette_error *err);

/* *c becomes NULL; NULL is harmless. */
void manage_client_free(struct manage_client **c);

/* Sends a request and waits for its answer.  params is taken, NULL for none; token may be NULL.
 * progress is called for each progress object, which it
 * borrows and may change; it may be NULL.  silence_ms is how
 * long the daemon may say nothing about this request; negative: for ever.
 *
 * Returns 0, and the caller owns *ret, an object or whatever else the result is; or a negative
 * number, and *fail says why, also when the connection is lost. */
int manage_client_request(struct manage_client *c, const char *method, const char *token,
                          json_t *params, int64_t silence_ms,
                          void (*progress)(void *user, json_t *progress), void *user, json_t **ret,
                          struct manage_failure *fail);

/* Waits for an event, after events.subscribe.  Returns 0 and the caller owns *ret; -ETIMEDOUT; or
 * another negative number, and *fail says why. */
int manage_client_event(struct manage_client *c, int64_t timeout_ms, json_t **ret,
                        struct manage_failure *fail);

/* Reads an error as an answer or a result holds it; what is missing or wrong in it becomes "unknown
 * error". */
void manage_failure_read(const json_t *error, struct manage_failure *ret);

#endif
