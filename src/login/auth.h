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

/* Where the exchange of CHAP stands (RFC 7143 12.1.3). */
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
    uint32_t have; /* bit: enum key_id - KEY_AUTH_METHOD */
    struct text_pair method, chap_a, chap_i, chap_c, chap_n, chap_r;
};

struct auth {
    const struct login_config *cfg;
    struct ctl *ctl;
    enum auth_step step;
    bool chap; /* the method chosen */
    unsigned alg;
    uint8_t id; /* the target's challenge, and our answer to it */
    uint8_t response[CHAP_RESPONSE_MAX];
    uint8_t our_id;
    struct ctl_challenge ours; /* mutual: outstanding while listed */
    bool verified;
};

void auth_init(struct auth *a, const struct login_config *cfg, struct ctl *ctl);
void auth_fini(struct auth *a);

/* "CHAP,None" and the like: what AuthMethod offers. */
const char *auth_offer(const struct login_config *cfg);

/* Takes the security keys of one response (with or without T).  0 or -errno with *err. */
int auth_receive(struct auth *a, const struct auth_keys *keys, bool transit,
                 struct lunette_error *err);

/* Adds this step's keys to out (login/logical.h).  *ret_transit: the request may ask for the next
 * stage.  0 or -errno with *err. */
int auth_send(struct auth *a, struct text_buf *out, bool *ret_transit, struct lunette_error *err);
/* "None", "CHAP" or "CHAP mutual". */
const char *auth_method_name(const struct auth *a);

#endif
