/* SPDX-License-Identifier: MIT */
/* login/backoff.h - how long to wait between tries to log in again.
 *
 * Plain arithmetic, without timers, so that all of it can be tested.  docs/design/reopen.md has
 * the reasons for the numbers.  Used by login/, and by control/ for first logins; loop's thread.
 */
#ifndef LOGIN_BACKOFF_H
#define LOGIN_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "login/config.h"
#include "seam/loop.h"

#define BACKOFF_FIRST_MS  20    /* the first step; each further one is twice as long */
#define BACKOFF_QUICK_MS  400   /* the longest step while the trouble is young, */
#define BACKOFF_YOUNG_S   30    /* which it is for so long, */
#define BACKOFF_SLOW_MS   10000 /* and the longest step afterwards */
#define BACKOFF_GAP_MS    10    /* at least, between the end of a try and the next */
#define BACKOFF_AUTH_MS   1000 /* the shortest step after a login that was refused for who we are */
#define BACKOFF_STEADY_MS 100  /* a session that was up for so long begins anew */
/* For the first try to log in; each one that runs out of time gets the next twice as much. */
#define BACKOFF_LOGIN_MS 2000
/* For a try to connect by a transport that does so itself (RDMA), where the peer's program has to
 * prepare the connection before it answers, and where nothing says whether it has begun to. */
#define BACKOFF_EP_MS 2000
/* So many of these are made as soon as a portal takes connections, for a target that is slow after
 * its start.  While the trouble is young the others are for a portal that is silent: they are given
 * up when no answer comes within BACKOFF_QUICK_MS. */
#define BACKOFF_PATIENT 2

struct login_backoff {
    uint64_t since_ns; /* when the trouble began */
    uint32_t step_ms;  /* the last step; 0: none yet */
    uint32_t timeouts; /* patient tries that ran out of time after they had connected */
    bool hasty;        /* the last try was given little time for an answer */
    bool heard;        /* the last try was answered, by a refusal or more: the peer is there */
};

/* Begins anew: the next wait is the first step. */
void backoff_reset(struct login_backoff *b, uint64_t now_ns);

/* A try that began at began_ns has failed with *why.  Returns how long to wait, in nanoseconds: a
 * random part of the next step, between half and all of it, less what the try itself took. */
uint64_t backoff_next(struct login_backoff *b, struct loop *loop, uint64_t began_ns,
                      const struct lunette_error *why);

/* How long the next try may take to connect to one address, and in all, where the last connection
 * that succeeded took connect_ns.  Neither is more than what *cfg allows. */
uint32_t backoff_connect_ms(const struct login_backoff *b, const struct login_config *cfg,
                            uint64_t connect_ns);
uint32_t backoff_login_ms(const struct login_backoff *b, const struct login_config *cfg,
                          uint64_t connect_ns);

/* Sets ep_try_ms and ep_login_ms of *cfg in the same way; its login_timeout_ms is still the whole
 * one. */
void backoff_ep(const struct login_backoff *b, struct login_config *cfg, uint64_t connect_ns);

/* How long the next try, which begins now, may wait for the first Login Response, where the last
 * one that came took answer_ns; 0: as long as for the whole login. */
uint32_t backoff_answer_ms(struct login_backoff *b, uint64_t now_ns, uint64_t answer_ns);

#endif
