/* SPDX-License-Identifier: MIT */
/* login/nego.h - the text negotiation of one login, RFC 7143 6.2, 6.3, 12 and 13, without I/O.
 *
 * It makes the text and the flags of Login Requests and reads the responses.  It keeps
 * the stage, joins and splits texts by the C bit, and makes offers and answers by the
 * table of keys; auth.h does CHAP.  Internal to login/; loop's thread.
 */
#ifndef LOGIN_NEGO_H
#define LOGIN_NEGO_H

#include <stdbool.h>
#include <stdint.h>

#include "login/auth.h"
#include "login/config.h"
#include "wire/bend.h"
#include "wire/bhs.h"
#include "wire/keys.h"
#include "wire/text.h"

#define NEGO_EXCHANGES_MAX 40u   /* logical requests of one login (TNG-16: at least 6) */
#define NEGO_PDUS_MAX      1024u /* PDUs of one login */
#define NEGO_UNKNOWN_MAX   256u  /* keys of one login that we do not know */
#define NEGO_ADDRESSES_MAX 8u    /* TargetAddress keys of a redirection that are kept */

/* A key that we do not know and that the target has sent: hashes of its name and its value. */
struct nego_unknown {
    uint64_t key, value;
};

struct nego {
    const struct login_config *cfg;
    struct loop *loop;
    uint32_t caps;              /* of the transport, enum iscsi_caps */
    struct iscsi_params offer;  /* cfg's, lowered to what the transport can do */
    struct iscsi_params params; /* agreed so far */
    struct auth auth;
    unsigned csg;      /* the stage that we are in; ISCSI_STAGE_FFP: done */
    unsigned began;    /* the stage that we began with */
    bool want_transit; /* T of the last PDU of the logical request */
    bool transit;      /* T of the request that is out, or being sent */
    bool continuing;   /* the request that is out had C=1: an empty response is due */
    bool gathering;    /* the response had C=1: an empty request is due */
    bool first_sent, offers_sent;
    struct text_buf out, in; /* logical texts (login/logical.h) */
    size_t out_sent;         /* bytes of out that are in PDUs already */
    uint32_t exchanges, pdus;
    struct key_set offered, seen; /* by us; by the target */
    uint64_t said[KEY_COUNT];     /* hashes of the values of the keys in `seen` */
    struct nego_unknown *unknown; /* nunknown keys */
    uint32_t nunknown;
    uint32_t bends;  /* bits of enum wire_bend */
    bool answer_due; /* the text being read holds a key of the table that needs an answer */
    /* What the target has told us. */
    uint16_t tsih;
    int32_t tpgt;
    uint32_t stat_sn; /* of the last response */
    char target_alias[LOGIN_ALIAS_MAX + 1];
    struct portal addresses[NEGO_ADDRESSES_MAX]; /* TargetAddress */
    uint32_t naddresses;
};

/* Begins a negotiation.  caps and max_recv_dlength (bytes, 0: no limit) are the transport's.  cfg
 * and ctl are borrowed until nego_fini.  Returns 0 or -ENOMEM. */
int nego_init(struct nego *n, const struct login_config *cfg, uint32_t caps,
              uint32_t max_recv_dlength, struct ctl *ctl);
void nego_fini(struct nego *n);

/* Makes the next Login Request for iscsi_login_req.  *data lives until the next call.  Returns 0,
 * or -errno with *err. */
int nego_request(struct nego *n, struct bhs_login_req *hdr, const void **data, uint32_t *len,
                 struct lunette_error *err);

enum nego_verdict {
    NEGO_MORE,     /* call nego_request */
    NEGO_FINAL,    /* logged in; n->params hold */
    NEGO_REDIRECT, /* to n->addresses; the status tells whether for good */
    NEGO_LATER,    /* Status-Class 3; *err has the reason */
    NEGO_REFUSED,  /* Status-Class 2 or an unknown one, or a Reject; *err has the reason */
};

/* Reads a Login Response for iscsi_recv_login_rsp.  Returns an enum nego_verdict and *ret_status,
 * or -errno with *err; -EPROTO is the target's fault. */
int nego_response(struct nego *n, const struct bhs *hdr, const void *data, uint32_t len,
                  uint16_t *ret_status, struct lunette_error *err);

/* Tells whether a login that the target has refused with this status, or by closing the connection
 * (status 0), may be accepted when it is made in another way, and sets cfg, of which n->cfg is the
 * same or a copy, to that way.  Each way is tried once.  Returns the bend that the target shows
 * then, or BEND_COUNT. */
enum wire_bend nego_other_way(const struct nego *n, uint16_t status, struct login_config *cfg);

/* Takes note that the target bends a rule, and says so once. */
void nego_bend(struct nego *n, enum wire_bend bend);

/* ---- for response.c ------------------------------------------------------------------------ */

/* Takes one pair of the target's text; a security key goes to *auth.  transit is the T bit of the
 * response.  Returns 0, or -errno with *err. */
int nego_take_pair(struct nego *n, const struct text_pair *p, bool transit, struct auth_keys *auth,
                   struct lunette_error *err);
/* Checks, after the last response, that the agreed values fit together, and fills in what follows
 * from them.  Returns 0, or -EPROTO with *err. */
int nego_conclude(struct nego *n, struct lunette_error *err);

#endif
