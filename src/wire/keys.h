/* SPDX-License-Identifier: MIT */
/* wire/keys.h - the text keys as one table (wire/keys.def) and the rules of negotiation that it
 * drives, RFC 7143 6.2, 12, 13.
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

#define KEY(id, ...) KEY_##id,
enum key_id {
#include "wire/keys.def"
    KEY_COUNT
};
#undef KEY

enum key_type {
    KEY_TYPE_LIST, /* words between commas */
    KEY_TYPE_NUM,
    KEY_TYPE_BOOL,
    KEY_TYPE_NAME, /* an iSCSI name; only its length is checked here: iscsi_name_normalize() */
    KEY_TYPE_TEXT,
    KEY_TYPE_BINARY, /* 0x or 0b */
    KEY_TYPE_RANGE,  /* n~m */
};

/* How the two values become one. */
enum key_result {
    KEY_RESULT_DECLARE, /* no answer: each side's own */
    KEY_RESULT_MIN,
    KEY_RESULT_MAX,
    KEY_RESULT_AND,
    KEY_RESULT_OR,
    KEY_RESULT_FIRST,  /* first of the offerer's list that the responder can */
    KEY_RESULT_QUERY,  /* SendTargets: the answer is other keys */
    KEY_RESULT_REJECT, /* obsolete: answered Reject, never offered */
};

/* When it may be sent (bits). */
#define KEY_USE_LEADING 1u /* on a session's leading connection only */
#define KEY_USE_LOGIN   2u
#define KEY_USE_FFP     4u
#define KEY_USE_LO      (KEY_USE_LEADING | KEY_USE_LOGIN)
#define KEY_USE_IO      KEY_USE_LOGIN
#define KEY_USE_ALL     (KEY_USE_LOGIN | KEY_USE_FFP)
#define KEY_USE_FFPO    KEY_USE_FFP

enum key_scope {
    KEY_SCOPE_SW, /* session */
    KEY_SCOPE_CO, /* connection */
};

/* Login stages in which it may be sent (bits). */
#define KEY_STAGE_SEC  1u
#define KEY_STAGE_OPER 2u
#define KEY_STAGE_ANY  3u

enum key_irrelevant {
    KEY_IRR_0,           /* never */
    KEY_IRR_DISCOVERY,   /* in Discovery sessions */
    KEY_IRR_UNSOLICITED, /* there, and when InitialR2T=Yes and ImmediateData=No */
    KEY_IRR_ISER,        /* when RDMAExtensions=Yes */
    KEY_IRR_NOT_ISER,    /* when RDMAExtensions=No, and in Discovery sessions */
};

#define KEY_FLAG_LATER  1u /* newer than RFC 3720: NotUnderstood is a legal answer */
#define KEY_FLAG_ZERO   2u /* 0 is legal though below min */
#define KEY_FLAG_REPEAT 4u /* may come more than once: several addresses of one target */

struct key {
    enum key_id id;
    const char *name;
    enum key_type type;
    enum key_result result;
    uint64_t min, max;
    const char *def;    /* default, NULL if none */
    const char *values; /* words, NULL if open */
    uint8_t use_initiator, use_target, stage, flags;
    enum key_scope scope;
    enum key_irrelevant irrelevant;
    int field; /* offset in struct iscsi_params, -1 if it has none there */
    const char *section;
};

/* NULL for names that are not in the table: private X- keys and unknown ones, whose answer is
 * NotUnderstood. */
const struct key *key_find(const char *name, size_t len);
const struct key *key_get(enum key_id id);

/* Longest value text: 255, or what the longest binary of the key takes in hex. */
size_t key_value_max(const char *name, size_t len);

enum key_outcome {
    KEY_AGREED,         /* the value is the result */
    KEY_DECLARED,       /* the value is the sender's; no answer is due */
    KEY_REJECTED,       /* the key keeps its value */
    KEY_IRRELEVANT,     /* likewise */
    KEY_NOT_UNDERSTOOD, /* likewise, and the feature is not there */
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

struct iscsi_params;

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

/* Which keys came or went already (6.3: each once). */
struct key_set {
    uint64_t bits;
};
/* Adds; false if it was in already.  Keys with KEY_FLAG_REPEAT always yield true. */
bool key_set_add(struct key_set *s, const struct key *k);
bool key_set_has(const struct key_set *s, enum key_id id);

enum iscsi_digest {
    ISCSI_DIGEST_NONE = 0,
    ISCSI_DIGEST_CRC32C = 1,
};
enum iscsi_session_type {
    ISCSI_SESSION_NORMAL = 0,
    ISCSI_SESSION_DISCOVERY = 1,
};
enum iscsi_task_reporting {
    ISCSI_TASK_RFC3720 = 0,
    ISCSI_TASK_RESPONSE_FENCE = 1,
    ISCSI_TASK_FAST_ABORT = 2,
};

/* Operational values of a session and one connection.  Lists hold the index of the chosen word. */
struct iscsi_params {
    uint32_t header_digest, data_digest; /* enum iscsi_digest */
    uint32_t session_type, task_reporting;
    uint32_t max_connections;
    uint32_t max_recv_dseg; /* MaxRecvDataSegmentLength that we declared: what we take */
    uint32_t max_xmit_dseg; /* the peer's: what we may send in one PDU */
    uint32_t max_burst, first_burst;
    uint32_t time2wait, time2retain; /* seconds */
    uint32_t max_outstanding_r2t;
    uint32_t erl;
    uint32_t protocol_level;
    uint32_t target_recv_dseg, initiator_recv_dseg, max_unexpected_pdus, max_ahs_len; /* iSER */
    bool initial_r2t, immediate_data;
    bool data_pdu_in_order, data_sequence_in_order;
    bool rdma_extensions, tagged_solicited_only, iser_hello_required; /* iSER */
};

/* The defaults of the RFCs. */
void params_init(struct iscsi_params *p);

/* Takes over a result or the peer's declaration; nothing for keys without a field and for outcomes
 * other than KEY_AGREED and KEY_DECLARED.  A declared MaxRecvDataSegmentLength is the peer's, so it
 * goes to max_xmit_dseg. */
void params_set(struct iscsi_params *p, const struct key *k, const struct key_value *v);

/* The value of k in p as text (what to offer or to hold against an offer) into buf[size]; its
 * length, -ENOBUFS, or -ENOENT when k has no field. */
int params_format(const struct iscsi_params *p, const struct key *k, char *buf, size_t size);

/* The rules that bind several keys, on the final set before it takes effect (6.2, 13.14, 13.19):
 * FirstBurstLength <= MaxBurstLength (unless irrelevant); ErrorRecoveryLevel > 0 with
 * DataSequenceInOrder needs MaxOutstandingR2T 1.  -EPROTO with the reason. */
int params_check_integrity(const struct iscsi_params *p, struct lunette_error *err);

#endif
