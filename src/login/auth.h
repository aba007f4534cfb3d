/* SPDX-License-Identifier: MIT */
/* login/auth.h - the security stage of one login: AuthMethod and CHAP (RFC 7143 9.2, 12.1), without
 * I/O.  Internal to login/. */
#ifndef LOGIN_AUTH_H
#define LOGIN_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/ctl.h"
#include "login/config.h"
#include "wire/chap.h"
#include "wire/text.h"

/* How far the exchange of CHAP is (RFC 7143 12.1.3). */
enum auth_step {
    AUTH_START,      /* AuthMethod has not been sent */
    AUTH_OFFERED,    /* AuthMethod has been sent */
    AUTH_CHOSEN,     /* the target chose CHAP: CHAP_A is to be sent */
    AUTH_ALGS_SENT,  /* CHAP_A has been sent */
    AUTH_CHALLENGED, /* CHAP_N and CHAP_R are to be sent */
    AUTH_RESPONDED,  /* they have been sent */
    AUTH_DONE,
};

/* The authentication keys of one logical text; values point into it. */
struct auth_keys {
    uint32_t have; /* which of them are there: bit (key id - KEY_AUTH_METHOD) */
    struct text_pair method, chap_a, chap_i, chap_c, chap_n, chap_r;
};

struct auth {
    const struct login_config *cfg;
    struct ctl *ctl;
    enum auth_step step;
    bool chap;                           /* the method chosen is CHAP, not None */
    unsigned alg;                        /* enum chap_alg that the target chose */
    uint8_t id;                          /* CHAP_I of the target's challenge */
    uint8_t response[CHAP_RESPONSE_MAX]; /* our response to that challenge */
    uint8_t our_id;                      /* CHAP_I of our challenge */
    struct ctl_challenge ours; /* our challenge, in ctl's list until the target has responded */
    bool verified;             /* the target has responded, and is who it claims to be */
};

/* Tells whether there are credentials of ours to offer. */
bool auth_has_account(const struct login_config *cfg);

void auth_init(struct auth *a, const struct login_config *cfg, struct ctl *ctl);
void auth_fini(struct auth *a);

/* Tells whether CHAP_A has been sent, with more than MD5 in it, and no answer has come. */
bool auth_list_is_out(const struct auth *a);
/* Says of a login that was refused with "authentication failure" what has failed. */
const char *auth_failure_hint(const struct auth *a);

/* Returns the list that AuthMethod offers, such as "CHAP,None". */
const char *auth_offer(const struct login_config *cfg);

/* Takes the security keys of one logical response; transit is its T bit.  Returns 0, or -errno with
 * *err. */
int auth_receive(struct auth *a, const struct auth_keys *keys, bool transit,
                 struct lunette_error *err);

/* Adds the keys of the present step to out (login/logical.h).  *ret_transit tells whether the
 * request may ask for the next stage.  Returns 0, or -errno with *err. */
int auth_send(struct auth *a, struct text_buf *out, bool *ret_transit, struct lunette_error *err);
/* Returns "None", "CHAP" or "CHAP mutual". */
const char *auth_method_name(const struct auth *a);

#endif
