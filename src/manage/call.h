/* SPDX-License-Identifier: MIT */
/* manage/call.h - requests of the management API that are under way, and their answers.
 *
 * Whoever implements a method gets a struct manage_call and answers it once, at once or
 * later, by manage_reply or manage_fail; before that it may tell of progress.  The caller
 * may go away meanwhile, which changes nothing of that: the answer then reaches nobody.
 *
 * A request with a token is carried out once: a later one with the same token, method and
 * user waits for the same answer, or gets it at once for MANAGE_TOKEN_LIFE_S seconds after
 * it was given.  What is remembered is bounded; the oldest answers are forgotten first.
 * The loop's thread.
 */
#ifndef MANAGE_CALL_H
#define MANAGE_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "manage/codes.h"

#define MANAGE_TOKEN_LIFE_S 600
#define MANAGE_MESSAGE_MAX                                                                         \
    1024 /* bytes of an error's sentence, with the NUL; longer ones are cut */

struct manage_call;

/* Answers with `result`, which is taken; NULL, what jansson returns where memory was short, becomes
 * an error, and so does each one where memory for JSON was short since the call has begun, since it
 * may lack members.  c must not be used afterwards. */
void manage_reply(struct manage_call *c, json_t *result);

/* Answers with an error: its code, and a sentence that says what to do.  NOT_FOUND becomes
 * NO_MEMORY as a result does.  c must not be used afterwards. */
void manage_fail(struct manage_call *c, enum manage_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Answers those who wait now with an error, since it takes too long; what they have asked for goes
 * on.  c is answered later all the same, which tells who has joined it by its token since.  fn of
 * manage_call_on_gone is called, and then c must not be used afterwards. */
void manage_give_up(struct manage_call *c, enum manage_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Answers that memory is short, parameters are wrong, or whatever else err tells. */
void manage_fail_error(struct manage_call *c, const struct lunette_error *err);

/* Tells what has happened so far; `progress` is taken, NULL is harmless. */
void manage_progress(struct manage_call *c, json_t *progress);

/* An error as results and answers hold it: {"code", "exit", "message"}.  NULL: memory is short. */
json_t *manage_error_json(enum manage_code code, const char *message);

/* The user who asks. */
uid_t manage_call_uid(const struct manage_call *c);
/* His process, as it was when he connected; 0: it is the daemon itself that asks. */
pid_t manage_call_pid(const struct manage_call *c);

/* Has fn called when nobody waits for the answer any more, so that what is only read need not be
 * finished.  It is not called for a request with a token.  fn may answer c, but no other call. */
void manage_call_on_gone(struct manage_call *c, void (*fn)(void *user, struct manage_call *c),
                         void *user);

#endif
