/* SPDX-License-Identifier: MIT */
/* manage/calls.h - all requests of one server: who waits for which, and what is remembered.  The
 * loop's thread. */
#ifndef MANAGE_CALLS_H
#define MANAGE_CALLS_H

#include "manage/call.h"
#include "manage/line.h"
#include "manage/peer.h"

/* Bounds; see struct manage_limits. */
struct manage_calls {
    struct loop *loop;
    unsigned per_peer_max, under_way_max, tokens_max;
    size_t kept_max;
    struct list under_way, kept; /* struct manage_call; kept: the oldest answer first */
    unsigned of_peers; /* calls under way that peers have begun, also those who are gone */
    unsigned tokens;   /* calls with a token, under way or kept */
    size_t kept_bytes;
};

void manage_calls_init(struct manage_calls *all, struct loop *l);
/* Forgets all; no call may be used afterwards. */
void manage_calls_fini(struct manage_calls *all);

/* Begins a request of p.  Returns 1 and the call, which the method has to answer; or 0 where
 * nothing is to be done, since it was refused, and p was told, or is carried out or answered
 * already. */
int manage_calls_begin(struct manage_calls *all, struct manage_peer *p, const char *method,
                       const struct manage_line_request *rq, struct manage_call **ret);

/* Begins a request that nobody sent.  Returns 0 and the call, or -ENOMEM. */
int manage_calls_begin_inside(struct manage_calls *all, const char *method, uid_t uid,
                              void (*done)(void *user, const json_t *answer), void *user,
                              struct manage_call **ret);
/* Calls done with an error. */
void manage_calls_tell(void (*done)(void *user, const json_t *answer), void *user,
                       enum manage_code code, const char *message);

/* p waits for nothing any more. */
void manage_calls_peer_gone(struct manage_calls *all, struct manage_peer *p);

/* Nor do those inside the daemon who have asked with that user; their done is not called. */
void manage_calls_forget_inside(struct manage_calls *all, const void *user);

/* Sends p an error with that id, which may be NULL. */
void manage_calls_refuse(struct manage_peer *p, json_t *id, enum manage_code code,
                         const char *message);

#endif
