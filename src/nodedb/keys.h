/* SPDX-License-Identifier: MIT */
/* nodedb/keys.h - what is known of each key of records and of iscsid.conf.  Any thread.
 */
#ifndef NODEDB_KEYS_H
#define NODEDB_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The kinds of records; also bits that say which of them has a key. */
enum nodedb_kind {
    NODEDB_NODE = 1,
    NODEDB_IFACE = 2,
    NODEDB_SENDTARGETS = 4,
    NODEDB_ISNS = 8,
    NODEDB_CONF = 16, /* iscsid.conf, which has all keys */
};

enum nodedb_type {
    NODEDB_NUM,
    NODEDB_TEXT,
    NODEDB_WORD,
    NODEDB_LIST,
};

enum nodedb_flag {
    NODEDB_FIXED = 1,
    NODEDB_SECRET = 2,
    NODEDB_HIDDEN = 4,
    NODEDB_IPV4 = 8,
    NODEDB_IPV6 = 16,
    NODEDB_NEWER = 32,
    NODEDB_OURS = 64,
    NODEDB_POWER2 = 128,
    NODEDB_DSEG0 = 256,
    NODEDB_IDENTITY = 512, /* FIXED also in the record of an interface */
    NODEDB_OPTIONS = 1024,
};

enum nodedb_key_id {
#define KEY(id, name, where, type, dflt, min, max, words, flags, unused) NODEDB_##id,
#include "nodedb/keys.def"
#undef KEY
    NODEDB_KEY_COUNT,
};

#define NODEDB_NAME_MAX  127 /* bytes of a key's name */
#define NODEDB_VALUE_MAX 255 /* bytes of a value, as in open-iscsi */

struct nodedb_key {
    const char *name;
    uint8_t name_len; /* bytes of it */
    uint8_t where;    /* enum nodedb_kind, as bits */
    enum nodedb_type type;
    const char *dflt; /* the built-in default */
    int64_t min, max;
    const char *words;  /* with | between them */
    uint32_t flags;     /* enum nodedb_flag */
    const char *unused; /* why it is not used here, or NULL */
};

/* Returns what is known of a key, never NULL. */
const struct nodedb_key *nodedb_key(enum nodedb_key_id id);

/* Finds a key of a kind of records by its name, or by a name that it once had, and then *ret_former
 * is that name, which is never freed, else NULL; ret_former may be NULL.  Returns its id, or -1. */
int nodedb_key_find(enum nodedb_kind kind, const char *name, size_t len, const char **ret_former);

/* Returns the known name that is nearest to `name`, or NULL where none is near. */
const char *nodedb_key_nearest(enum nodedb_kind kind, const char *name);

/* Checks a value and writes it, in the form that it is kept in, to ret[NODEDB_VALUE_MAX + 1].  Of a
 * list, words that stand twice or are unknown are dropped.  Returns 0; 1 for a number that is out
 * of range, where *ret is the nearest that is not; or -EINVAL.  But for 0 *err says why, after the
 * key's name, and never shows a secret. */
int nodedb_value_check(const struct nodedb_key *k, const char *value, char *ret,
                       struct lunette_error *err);

/* Is list[0..) a word of `words`, which has | between them?  Returns its index, or -1. */
int nodedb_word_index(const char *words, const char *word, size_t len);

#endif
