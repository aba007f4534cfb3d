/* SPDX-License-Identifier: MIT */
/* login/nego.h - the text negotiation of one login, RFC 7143 6.2, 6.3, 12 and 13, without I/O.
 *
 * Makes the Login Requests' text and flags and reads the responses: stages,
 * the C bit both ways, offers and answers from the table of keys, CHAP.
 * Internal to login/.
 */
#ifndef LOGIN_NEGO_H
#define LOGIN_NEGO_H

#include <stdbool.h>
#include <stdint.h>

#include "login/login.h"
#include "wire/bhs.h"
#include "wire/text.h"

#define NEGO_TEXT_MAX      65536u /* bytes of one logical text, either way */
#define NEGO_EXCHANGES_MAX 40u    /* logical requests of one login (TNG-16: at least 6) */
#define NEGO_PDUS_MAX      1024u  /* PDUs of one login */
#define NEGO_UNKNOWN_MAX   256u   /* keys of one login that we do not know */
#define NEGO_ADDRESSES_MAX 8u     /* TargetAddress keys of a redirection that are kept */

/* Where the exchange of CHAP stands (RFC 7143 12.1.3). */
enum auth_step {
    AUTH_START,      /* AuthMethod not sent yet */
    AUTH_OFFERED,    /* AuthMethod sent */
    AUTH_CHOSEN,     /* CHAP: CHAP_A is to be sent */
    AUTH_ALGS_SENT,  /* CHAP_A sent */
    AUTH_CHALLENGED, /* CHAP_N and CHAP_R are to be sent */
    AUTH_RESPONDED,  /* they are sent */
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

struct nego;
/* Adds this step's keys.  *ret_transit: may ask for the next stage. */
int auth_send(struct auth *a, struct nego *n, bool *ret_transit, struct lunette_error *err);
const char *auth_method_name(const struct auth *a);

struct nego {
    const struct login_config *cfg;
    struct loop *loop;
    struct iscsi_params offer;  /* cfg's, lowered to what the transport can do */
    struct iscsi_params params; /* agreed so far */
    struct auth auth;
    unsigned csg;      /* stage that we are in; ISCSI_STAGE_FFP: done */
    bool want_transit; /* T of the last PDU of the logical request */
    bool transit;      /* T of the request that is out, or being sent */
    bool continuing;   /* the request that is out had C=1: an empty response is due */
    bool gathering;    /* the response had C=1: an empty request is due */
    bool first_sent, offers_sent;
    struct text_buf out, in; /* heap; grow up to NEGO_TEXT_MAX */
    size_t out_sent;         /* bytes of out that are in PDUs already */
    uint32_t exchanges, pdus;
    struct key_set offered, seen; /* by us; by the target */
    uint64_t *unknown;            /* hashes of unknown keys seen */
    uint32_t nunknown;
    bool answer_due; /* the text being read holds a key of the table that needs an answer */
    /* what the target told */
    uint16_t tsih;
    int32_t tpgt;
    uint32_t stat_sn; /* of the last response */
    char target_alias[LOGIN_ALIAS_MAX + 1];
    struct portal addresses[NEGO_ADDRESSES_MAX]; /* TargetAddress */
    uint32_t naddresses;
};

/* cfg is borrowed until nego_fini.  0 or -ENOMEM. */
int nego_init(struct nego *n, const struct login_config *cfg, struct ctl *ctl);
void nego_fini(struct nego *n);

/* iscsi_login_req: the next PDU; *data lives until the next call.  0 or -errno with *err. */
int nego_request(struct nego *n, struct bhs_login_req *hdr, const void **data, uint32_t *len,
                 struct lunette_error *err);

enum nego_verdict {
    NEGO_MORE,     /* call nego_request */
    NEGO_FINAL,    /* logged in; n->params hold */
    NEGO_REDIRECT, /* n->addresses; *status tells which kind */
    NEGO_LATER,    /* Status-Class 3; *err says so */
    NEGO_REFUSED,  /* Status-Class 2 or unknown; *err says so */
};

/* iscsi_recv_login_rsp: a verdict, or -EPROTO and other -errno with *err. */
int nego_response(struct nego *n, const struct bhs *hdr, const void *data, uint32_t len,
                  uint16_t *ret_status, struct lunette_error *err);

/* Between nego.c and response.c. */
int nego_take_pair(struct nego *n, const struct text_pair *p, bool transit, struct auth_keys *auth,
                   struct lunette_error *err);
int nego_conclude(struct nego *n, struct lunette_error *err);

/* For auth.c: adds a pair to the request being made. */
int nego_put(struct nego *n, const char *key, const char *value, size_t len,
             struct lunette_error *err);

#endif
