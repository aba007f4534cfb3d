/* SPDX-License-Identifier: MIT */
/* wire/keys.h - the rules of negotiation that the table of the text keys (wire/key_table.h) drives,
 * RFC 7143 6.2, 12, 13.
 *
 * Initiator and target both use it.  The side that receives an offer calls
 * key_answer(); the side that made it calls key_check_answer() with what came back; and
 * either reads a declaration of its peer with key_check_offer().  These functions know
 * nothing of PDUs or of the state of a login; key_check_context() tells whether a key
 * may be sent in a given state.
 *
 * A fault of the peer is -EPROTO in LUNETTE_DOM_PROTO, with the key in the text of the
 * error.  A key_value points into the text that it was read from.  Any thread.
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
    /* The value as a number: of a number itself, of a boolean 0 or 1, of a binary its bytes.  For
     * the word that was chosen from a list it is the index in key->values; where that is NULL, the
     * word itself as a number (CHAP_A=5); where it is none, KEY_NO_NUM. */
    uint64_t num;
    const char *text; /* the chosen word, name, text, or binary in its coded form; no NUL ends it */
    size_t len;
};

/* Tells whether value[0..len) is a legal offer or declaration of k.  Returns 0 and *ret, with the
 * outcome KEY_DECLARED and for a list the whole list as text.  Returns -ERANGE for a value that is
 * well formed but out of range, and -EINVAL for one that is not of the key's type; the responder
 * may answer both with Reject.  Returns -EPROTO for a reserved word that nobody may propose (6.2).
 * For a caller that reads a declaration every failure is a protocol error. */
int key_check_offer(const struct key *k, const char *value, size_t len, struct key_value *ret,
                    struct lunette_error *err);

#define KEY_ANSWER_SIZE 256 /* bytes of any answer's text, with the NUL */

/* Makes a responder's answer to the offer value[0..len).  ours is NUL-terminated: our number, Yes
 * or No, or the list of the words that we can choose.  Returns 0, the NUL-terminated text of the
 * answer in answer, and in *ret the outcome:
 *   KEY_AGREED    *ret is the result; a list's text points into `value`
 *   KEY_REJECTED  the offer was out of range, not of the key's type, without a word of ours, or of
 *                 an obsolete key; the answer is "Reject"
 *   KEY_DECLARED  *ret is the peer's declaration; the answer is "", as for SendTargets
 * Returns -EPROTO when the offer breaks the protocol: a reserved word, or a declaration that is not
 * legal. */
int key_answer(const struct key *k, const char *value, size_t len, const char *ours,
               char answer[KEY_ANSWER_SIZE], struct key_value *ret, struct lunette_error *err);

/* Tells whether answer[0..len) is a legal answer to offer, which is NUL-terminated, as we sent it.
 * Returns 0 and *ret, with the outcome KEY_AGREED, KEY_REJECTED, KEY_IRRELEVANT, or, for keys with
 * KEY_FLAG_LATER only, KEY_NOT_UNDERSTOOD.  Returns -EPROTO for a value that the result function
 * cannot yield, for a word that was not in our list, for NotUnderstood to a key that everybody must
 * know, and for a value as the answer to a declaration.  (When the peer sends a value for a key
 * that each side declares, it declares its own; the caller reads that with key_check_offer().) */
int key_check_answer(const struct key *k, const char *offer, const char *answer, size_t len,
                     struct key_value *ret, struct lunette_error *err);

/* Tells whether the offerer may go on without an answer: when it has offered No for an AND key or
 * Yes for an OR key, so that the result is settled (6.2.2), and after declarations. */
bool key_answer_optional(const struct key *k, const char *offer);

/* By whom, on which connection and in which stage a key is sent. */
struct key_context {
    bool from_target;
    bool leading;   /* leading connection */
    bool discovery; /* Discovery session */
    unsigned stage; /* KEY_STAGE_SEC or KEY_STAGE_OPER in login, 0 in full feature phase */
};

/* Returns 0, or -EPROTO when that side may not send k in that stage or on that connection. */
int key_check_context(const struct key *k, const struct key_context *ctx,
                      struct lunette_error *err);

/* Tells whether k has no meaning with the values p that are agreed so far, so that we do not offer
 * it and answer its offer with Irrelevant. */
bool key_irrelevant(const struct key *k, bool discovery, const struct iscsi_params *p);

/* A set of keys, such as those that one side has sent already, since it may send each only once
 * (RFC 7143 6.3). */
struct key_set {
    uint64_t bits;
};
/* Adds k, and returns false if it was in the set already; for keys with KEY_FLAG_REPEAT it always
 * returns true. */
bool key_set_add(struct key_set *s, const struct key *k);
bool key_set_has(const struct key_set *s, enum key_id id);

#endif
