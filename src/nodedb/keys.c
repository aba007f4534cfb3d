/* SPDX-License-Identifier: MIT */
/* nodedb/keys.c - the table of keys, and the check of values by it. */
#include "nodedb/keys.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "login/config.h"

#define NODE     NODEDB_NODE
#define IFACE    NODEDB_IFACE
#define ST       NODEDB_SENDTARGETS
#define ISNS     NODEDB_ISNS
#define DAEMON   0
#define NUM      NODEDB_NUM
#define TEXT     NODEDB_TEXT
#define WORD     NODEDB_WORD
#define LIST     NODEDB_LIST
#define FIXED    NODEDB_FIXED
#define SECRET   NODEDB_SECRET
#define HIDDEN   NODEDB_HIDDEN
#define IPV4     NODEDB_IPV4
#define IPV6     NODEDB_IPV6
#define NEWER    NODEDB_NEWER
#define OURS     NODEDB_OURS
#define POWER2   NODEDB_POWER2
#define DSEG0    NODEDB_DSEG0
#define OPTIONS  NODEDB_OPTIONS
#define IDENTITY NODEDB_IDENTITY
#define ADAPTER  "it sets up a host bus adapter, and sessions run over the system's network"

static const struct nodedb_key keys[] = {
#define KEY(id, name, where, type, dflt, min, max, words, flags, unused)                           \
    [NODEDB_##                                                                                     \
        id] = {name,  sizeof(name) - 1, (where) | NODEDB_CONF, type, dflt, min, max, words, flags, \
               unused},
#include "nodedb/keys.def"
#undef KEY
};

/* Names that keys once had, or have in one version of open-iscsi only. */
static const struct {
    const char *name;
    enum nodedb_key_id id;
} former_names[] = {
    {"node.transport_name", NODEDB_IFACE_TRANSPORT},
    {"node.session.conn_reopen_log_freq", NODEDB_REOPEN_LOG_FREQ},
};

const struct nodedb_key *
nodedb_key(enum nodedb_key_id id)
{
    assert((unsigned)id < NODEDB_KEY_COUNT);
    return &keys[id];
}

int
nodedb_key_find(enum nodedb_kind kind, const char *name, size_t len, const char **ret_former)
{
    if (ret_former != NULL)
        *ret_former = NULL;
    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        if ((keys[i].where & kind) && keys[i].name_len == len &&
            memcmp(keys[i].name, name, len) == 0)
            return i;
    }
    for (size_t i = 0; i < sizeof(former_names) / sizeof(former_names[0]); i++) {
        if ((keys[former_names[i].id].where & kind) && strlen(former_names[i].name) == len &&
            memcmp(former_names[i].name, name, len) == 0) {
            if (ret_former != NULL)
                *ret_former = former_names[i].name;
            return (int)former_names[i].id;
        }
    }
    return -1;
}

const char *
nodedb_key_nearest(enum nodedb_kind kind, const char *name)
{
    struct suggest s = {.typed = name};

    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        if ((keys[i].where & kind) && !(keys[i].flags & NODEDB_HIDDEN))
            suggest_try(&s, keys[i].name);
    }
    return s.best;
}

int
nodedb_word_index(const char *words, const char *word, size_t len)
{
    for (int i = 0;; i++) {
        size_t n = strcspn(words, "|");

        if (n == len && memcmp(words, word, len) == 0)
            return i;
        if (words[n] == '\0')
            return -1;
        words += n + 1;
    }
}

static int
key_fault(const struct nodedb_key *k, struct lunette_error *err, int code, const char *value,
          const char *want)
{
    (void)lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: \"%.60s\" is not %s", k->name,
                       k->flags & NODEDB_SECRET ? "********" : value, want);
    return code;
}

static int
check_number_value(const struct nodedb_key *k, const char *value, char *ret,
                   struct lunette_error *err)
{
    char *end, want[80];
    long long v, near;

    errno = 0;
    v = strtoll(value, &end, 10);
    if (end == value || *end != '\0')
        return key_fault(k, err, -EINVAL, value, "a whole number");
    near = v < k->min ? k->min : v > k->max ? k->max : v;
    if ((k->flags & NODEDB_DSEG0) && near > 0 && near < 512)
        near = 512;
    while ((k->flags & NODEDB_POWER2) && (near & (near - 1)) != 0)
        near &= near - 1; /* clears the lowest bit, so that the largest power of two stays */
    (void)snprintf(ret, NODEDB_VALUE_MAX + 1, "%lld", near);
    if (near == v && errno == 0)
        return 0;
    (void)snprintf(want, sizeof(want), "%s%" PRId64 " to %" PRId64 "%s",
                   k->flags & NODEDB_DSEG0 ? "0, or 512 and more, and in " : "in ", k->min, k->max,
                   k->flags & NODEDB_POWER2 ? " and a power of two" : "");
    return key_fault(k, err, 1, value, want);
}

/* A list as people write it, with commas or blanks between the words, becomes "A,B". */
static int
check_list_value(const struct nodedb_key *k, const char *value, char *ret,
                 struct lunette_error *err)
{
    unsigned seen = 0;
    size_t out = 0;

    for (const char *p = value + strspn(value, ", \t"); *p != '\0';) {
        size_t len = strcspn(p, ", \t");
        int i = nodedb_word_index(k->words, p, len);

        if (i >= 0 && !(seen & 1u << i)) {
            seen |= 1u << i;
            out += (size_t)snprintf(ret + out, NODEDB_VALUE_MAX + 1 - out, "%s%.*s",
                                    out > 0 ? "," : "", (int)len, p);
        }
        p += len;
        p += strspn(p, ", \t");
    }
    return out > 0 ? 0 : key_fault(k, err, -EINVAL, value, k->words);
}

int
nodedb_value_check(const struct nodedb_key *k, const char *value, char *ret,
                   struct lunette_error *err)
{
    size_t len = strnlen(value, NODEDB_VALUE_MAX + 1);

    if (len > NODEDB_VALUE_MAX || (k->type == NODEDB_TEXT && (int64_t)len > k->max)) {
        (void)lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                           "%s: the value is longer than %d bytes", k->name,
                           k->type == NODEDB_TEXT ? (int)k->max : NODEDB_VALUE_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "%s: the value holds a control character", k->name);
    }
    /* What stands in a file is read without the blanks around it, so that they would be lost. */
    if (len > 0 && (value[0] == ' ' || value[len - 1] == ' '))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s: the value begins or ends with a blank, which a record cannot keep",
                            k->name);
    if (k->type == NODEDB_NUM)
        return check_number_value(k, value, ret, err);
    if (k->type == NODEDB_LIST)
        return check_list_value(k, value, ret, err);
    if (k->type == NODEDB_WORD && nodedb_word_index(k->words, value, len) < 0)
        return key_fault(k, err, -EINVAL, value, k->words);
    if (k->flags & NODEDB_OPTIONS && login_options_check(value, err) < 0)
        return lunette_fail_prefix(err, -EINVAL, "%s", k->name);
    memcpy(ret, value, len + 1);
    return 0;
}
