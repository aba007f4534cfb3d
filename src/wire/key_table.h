/* SPDX-License-Identifier: MIT */
/* wire/key_table.h - the text keys of RFC 7143 12 and 13, RFC 7144 and RFC 7145 as one table, which
 * is wire/keys.def.  What may be said with them is in wire/keys.h.  Any thread. */
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
    KEY_RESULT_FIRST,  /* the first of the offerer's list that the responder can do */
    KEY_RESULT_QUERY,  /* SendTargets: the answer is other keys */
    KEY_RESULT_REJECT, /* obsolete: it is answered with Reject and never offered */
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
    KEY_IRR_UNSOLICITED, /* in Discovery sessions, and when InitialR2T=Yes and ImmediateData=No */
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

/* Finds a key by its name.  NULL: it is not in the table, as private X- keys and unknown ones,
 * whose answer is NotUnderstood. */
const struct key *key_find(const char *name, size_t len);
const struct key *key_get(enum key_id id);

/* The length of the longest value text of a key: KEY_VALUE_MAX, or what the longest binary of the
 * key takes in hex. */
size_t key_value_max(const char *name, size_t len);

#endif
