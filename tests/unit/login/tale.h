/* SPDX-License-Identifier: MIT */
/* tests/unit/login/tale.h - one session that is kept by login/reopen.h, on the fakes of fake.h, and
 * what its owner hears. */
#ifndef LOGIN_TALE_H
#define LOGIN_TALE_H

#include "login/reopen.h"
#include "tests/unit/login/fake.h"

#define MS  LOOP_NS_PER_MS
#define SEC LOOP_NS_PER_S
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

/* What the target says to a login. */
extern const struct step say_good[];
extern const struct step say_group2[];
extern const struct step say_not_found[];
extern const struct step say_refused[];
extern const struct step say_busy[];
extern const struct step say_garbage[];
extern const struct step say_cut[];
extern const struct step say_silent[];
extern const struct step say_moved_now[];
extern const struct step say_moved_ever[];

#define WAITS_MAX 4096

/* One session and what its owner has heard. */
struct tale {
    struct world *w;
    struct login_gate gate;
    struct login_config cfg;
    struct iscsi_reopen *r;
    struct fake_conn *c;
    struct login_result res;
    struct lunette_error why; /* of the last call back */
    unsigned losts, backs, gave_ups, waits, others, lost_events, leds;
    uint16_t led_cid;          /* of the last that took the lead */
    unsigned downs, ups;       /* connections of a session that is not lost */
    uint16_t down_cid, up_cid; /* of the last ones */
    uint32_t down_left;        /* how many were up then */
    uint32_t delay_ms[WAITS_MAX], attempt[WAITS_MAX];
    uint64_t down_ns, lost_ns, back_ns;
    bool back, over;     /* to wait for */
    const char *free_in; /* the callback that frees the reopen */
};

/* Logs a session in, to which the target says `script`. */
void tale_begin_as(struct tale *t, uint64_t seed, uint32_t reopen_max,
                   void (*tweak)(struct login_config *cfg), const struct step *script);
/* The same with a plain script. */
void tale_begin(struct tale *t, uint64_t seed, uint32_t reopen_max,
                void (*tweak)(struct login_config *cfg));
/* Closes the session as an owner does, in any state, and looks that nothing is left. */
void tale_end(struct tale *t);

/* Time passes. */
void tale_pass(struct tale *t, uint64_t ns);
/* The session has been up for a second, so that a back-off begins anew, and is lost. */
void tale_lose(struct tale *t, uint32_t time2wait_s);
void tale_run_until_back(struct tale *t);

/* Callbacks of a reopen whose user is a tale, and of its first login. */
void tale_on_lost(void *user, const struct lunette_error *why);
void tale_on_back(void *user, const struct login_result *res, uint64_t down_ns);
void tale_on_gave_up(void *user, const struct lunette_error *why);
void tale_on_first_login(void *user, const struct login_result *res,
                         const struct lunette_error *err);

#endif
