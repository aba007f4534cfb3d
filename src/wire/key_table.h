/* SPDX-License-Identifier: MIT */
/* wire/key_table.h - the text keys of RFC 7143 12 and 13, RFC 7144 and RFC 7145 as one table, which
 * is wire/keys.def.  wire/keys.h has the rules of negotiation.  Any thread. */
#ifndef WIRE_KEY_TABLE_H
#define WIRE_KEY_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define KEY_VALUE_MAX 255 /* bytes of a value, unless its key allows more (RFC 7143 6.1) */

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
    KEY_TYPE_NAME, /* an iSCSI name; the rules of negotiation check only its length, and
                      iscsi_name_normalize() the rest */
    KEY_TYPE_TEXT,
    KEY_TYPE_BINARY, /* hex (0x) or base64 (0b) */
    KEY_TYPE_RANGE,  /* n~m */
};

/* The function that makes the result of a negotiation from the values of both sides. */
enum key_result {
    KEY_RESULT_DECLARE, /* each side declares a value of its own, which gets no answer */
    KEY_RESULT_MIN,
    KEY_RESULT_MAX,
    KEY_RESULT_AND,
    KEY_RESULT_OR,
    KEY_RESULT_FIRST,  /* the first of the offerer's list that the responder can do */
    KEY_RESULT_QUERY,  /* SendTargets, which is answered with other keys */
    KEY_RESULT_REJECT, /* an obsolete key, which is never offered and answered with Reject */
};

/* When a side may send a key (bits).  The combinations have the names that the RFC has in the
 * tables of the keys: LO leading only, IO initialize only, ALL, FFPO full feature phase only. */
#define KEY_USE_LEADING 1u /* on a session's leading connection only */
#define KEY_USE_LOGIN   2u
#define KEY_USE_FFP     4u
#define KEY_USE_LO      (KEY_USE_LEADING | KEY_USE_LOGIN)
#define KEY_USE_IO      KEY_USE_LOGIN
#define KEY_USE_ALL     (KEY_USE_LOGIN | KEY_USE_FFP)
#define KEY_USE_FFPO    KEY_USE_FFP

enum key_scope {
    KEY_SCOPE_SW, /* session-wide */
    KEY_SCOPE_CO, /* connection only */
};

/* The login stages in which a key may be sent (bits). */
#define KEY_STAGE_SEC  1u
#define KEY_STAGE_OPER 2u
#define KEY_STAGE_ANY  3u

/* When a key has no meaning, so that it is not offered and its offer is answered with Irrelevant.
 */
enum key_irrelevant {
    KEY_IRR_0,           /* never */
    KEY_IRR_DISCOVERY,   /* in Discovery sessions */
    KEY_IRR_UNSOLICITED, /* in Discovery sessions, and when InitialR2T=Yes and ImmediateData=No */
    KEY_IRR_ISER,        /* when RDMAExtensions=Yes */
    KEY_IRR_NOT_ISER,    /* when RDMAExtensions=No, and in Discovery sessions */
};

#define KEY_FLAG_LATER  1u /* newer than RFC 3720, so that NotUnderstood is a legal answer */
#define KEY_FLAG_ZERO   2u /* 0 is legal, too, though it is below min */
#define KEY_FLAG_REPEAT 4u /* may come more than once, as the addresses of one target do */

struct key {
    enum key_id id;
    const char *name;
    enum key_type type;
    enum key_result result;
    uint64_t min, max;  /* of the number, or of the bytes of the value, as wire/keys.def says */
    const char *def;    /* the default; NULL if there is none */
    const char *values; /* the words that a list may have, in their order; NULL if any word may
                           stand there */
    uint8_t use_initiator, use_target, stage, flags;
    enum key_scope scope;
    enum key_irrelevant irrelevant;
    int field;           /* offset in struct iscsi_params, -1 if it has none there */
    const char *section; /* of RFC 7143, or of the RFC that stands before it */
};

/* Finds a key by its name, name[0..len).  Returns NULL for a key that is not in the table, private
 * X- keys among them; such a key is answered with NotUnderstood. */
const struct key *key_find(const char *name, size_t len);
const struct key *key_get(enum key_id id);

/* Returns the most bytes that the text of a value of the key name[0..len) may have: KEY_VALUE_MAX,
 * or for a binary what its longest value takes in hex. */
size_t key_value_max(const char *name, size_t len);

#endif
