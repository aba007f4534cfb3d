/* SPDX-License-Identifier: MIT */
/* wire/keys.h - the rules of negotiation that the table of the text keys (wire/key_table.h) drives,
 * RFC 7143 6.2, 12, 13.
 *
 * Both roles use it.  Who receives an offer calls key_answer(); who made one
 * calls key_check_answer() with what came back; a declaration is read with
 * key_check_offer().  Nothing here knows about PDUs or login state: what may
 * come when is asked with key_check_context().
 *
 * The peer's faults are -EPROTO in LUNETTE_DOM_PROTO, with the key in the
 * sentence.  Values point into the text they were read from.  Any thread.
 */
#ifndef WIRE_KEYS_H
#define WIRE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/iscsi_params.h"
#include "wire/key_table.h"

enum key_outcome {
    KEY_AGREED,         /* the value is the result */
    KEY_DECLARED,       /* the value is the sender's; no answer is due */
    KEY_REJECTED,       /* the key keeps its value */
    KEY_IRRELEVANT,     /* the key keeps its value */
    KEY_NOT_UNDERSTOOD, /* the key keeps its value, and the peer does not have the feature */
};

#define KEY_NO_NUM UINT64_MAX

struct key_value {
    enum key_outcome outcome;
    /* Number; 0 or 1 for booleans; bytes of a binary; for a list's choice its index in key->values,
     * else the number it is, else KEY_NO_NUM. */
    uint64_t num;
    const char *text; /* list choice, name, text, binary as text */
    size_t len;
};

/* Is value a legal offer or declaration of k?  0 and *ret (outcome KEY_DECLARED; a list's text is
 * the whole list); -ERANGE: well-formed but out of range, which may be answered with Reject;
 * -EINVAL: not of the key's type, likewise; -EPROTO: a reserved word that nobody may propose (6.2).
 * A caller that reads a declaration treats every failure as a protocol error. */
int key_check_offer(const struct key *k, const char *value, size_t len, struct key_value *ret,
                    struct lunette_error *err);

#define KEY_ANSWER_SIZE 256 /* of any answer's text, with NUL */

/* What a responder says to the offer value[0..len).  ours, NUL-terminated: our number, Yes or No,
 * or the list of what we can and may choose.  0, the text of the answer in answer ("" when none is
 * due: declarations and SendTargets) and the outcome in *ret:
 *   KEY_AGREED    the result; a list's text points into `value`
 *   KEY_REJECTED  answer is "Reject": out of range, ill-typed, nothing in common, or obsolete
 *   KEY_DECLARED  the peer's declaration, answer is ""
 * -EPROTO: the offer breaks the protocol (reserved word; ill-formed declaration). */
int key_answer(const struct key *k, const char *value, size_t len, const char *ours,
               char answer[KEY_ANSWER_SIZE], struct key_value *ret, struct lunette_error *err);

/* Was answer[0..len) admissible for our offer (NUL-terminated, as we sent it)?  0 and *ret, with
 * the outcome KEY_AGREED, KEY_REJECTED, KEY_IRRELEVANT or KEY_NOT_UNDERSTOOD (only for keys with
 * KEY_FLAG_LATER), or -EPROTO: not what the result function can yield, a word that was not in our
 * list, NotUnderstood for a key everybody must know, an answer with a value to a declaration (what
 * the peer says of a declared key is its own declaration: key_check_offer()). */
int key_check_answer(const struct key *k, const char *offer, const char *answer, size_t len,
                     struct key_value *ret, struct lunette_error *err);

/* May the offerer go on without an answer (6.2.2: AND with No, OR with Yes; declarations)? */
bool key_answer_optional(const struct key *k, const char *offer);

/* Where and by whom a key is sent. */
struct key_context {
    bool from_target;
    bool leading;   /* leading connection */
    bool discovery; /* Discovery session */
    unsigned stage; /* KEY_STAGE_SEC or KEY_STAGE_OPER in login, 0 in full feature phase */
};

/* 0, or -EPROTO when k may not be sent by that side, in that stage, or on that connection. */
int key_check_context(const struct key *k, const struct key_context *ctx,
                      struct lunette_error *err);

/* Is k irrelevant, so that it is not offered and its offer is answered Irrelevant?  p: the values
 * agreed so far. */
bool key_irrelevant(const struct key *k, bool discovery, const struct iscsi_params *p);

/* Which keys have come or gone already: each may do so once (RFC 7143 6.3). */
struct key_set {
    uint64_t bits;
};
/* Adds; false if it was in already.  Keys with KEY_FLAG_REPEAT always yield true. */
bool key_set_add(struct key_set *s, const struct key *k);
bool key_set_has(const struct key_set *s, enum key_id id);

#endif
