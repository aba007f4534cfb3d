/* SPDX-License-Identifier: MIT */
/* nodedb/record.c - a record in memory, read from text and written as text. */
#include "nodedb/record.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nodedb/lines.h"

#define EXTRA_COMPARED 256

void
nodedb_text_free(char **text)
{
    if (*text != NULL)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void
nodedb_record_init(struct nodedb_record *r, enum nodedb_kind kind)
{
    *r = (struct nodedb_record){.kind = kind};
}

void
nodedb_record_fini(struct nodedb_record *r)
{
    for (int i = 0; i < NODEDB_KEY_COUNT; i++)
        nodedb_text_free(&r->value[i]);
    for (size_t i = 0; i < r->nextra; i++) {
        free(r->extra[i].name);
        nodedb_text_free(&r->extra[i].value);
    }
    free(r->extra);
    free(r->origin);
    nodedb_record_init(r, r->kind);
}

/* Adds a key that is not known, or gives it another value. */
static int
set_extra(struct nodedb_record *r, const char *name, const char *value)
{
    struct nodedb_extra *more, e = {.value = strdup(value)};

    if (e.value == NULL)
        return -ENOMEM;
    /* A file of nothing else has a hundred thousand of them: behind the first ones one that comes
     * twice is kept twice, as it stands there. */
    for (size_t i = 0; i < r->nextra && i < EXTRA_COMPARED; i++) {
        if (strcmp(r->extra[i].name, name) == 0) {
            nodedb_text_free(&r->extra[i].value);
            r->extra[i].value = e.value;
            return 0;
        }
    }
    e.name = strdup(name);
    more = e.name == NULL ? NULL : r->extra;
    if (e.name != NULL && (r->nextra & (r->nextra - 1)) == 0) /* room for a power of two is full */
        more = realloc(r->extra, (r->nextra == 0 ? 1 : 2 * r->nextra) * sizeof(*more));
    if (more == NULL) {
        free(e.name);
        nodedb_text_free(&e.value);
        return -ENOMEM;
    }
    r->extra = more;
    r->extra[r->nextra++] = e;
    return 0;
}

int
nodedb_record_set(struct nodedb_record *r, enum nodedb_key_id id, const char *value)
{
    char *copy = NULL;

    assert((unsigned)id < NODEDB_KEY_COUNT);
    if (value != NULL) {
        copy = strdup(value);
        if (copy == NULL)
            return -ENOMEM;
    }
    nodedb_text_free(&r->value[id]);
    r->value[id] = copy;
    r->line[id] = 0;
    return 0;
}

int
nodedb_record_set_num(struct nodedb_record *r, enum nodedb_key_id id, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    return nodedb_record_set(r, id, text);
}

int
nodedb_record_take(struct nodedb_record *r, const struct nodedb_record *from)
{
    char buf[NODEDB_VALUE_MAX + 1];
    int err = 0;

    for (int i = 0; i < NODEDB_KEY_COUNT && err == 0; i++) {
        /* Which record it is cannot be a default of all. */
        if (from->value[i] != NULL && (nodedb_key(i)->where & r->kind) &&
            !(nodedb_key(i)->flags & NODEDB_FIXED))
            err = nodedb_record_set(r, i, nodedb_record_get(from, i, buf, NULL));
    }
    explicit_bzero(buf, sizeof(buf)); /* a secret may have been there */
    return err;
}

/* Counts a malformed line, and keeps what is wrong with the first. */
static void
note_bad(struct nodedb_record *r, unsigned line, const struct lunette_error *why)
{
    struct lunette_error bad = *why;

    (void)lunette_fail_prefix(&bad, bad.code, "%.150s:%u", r->origin != NULL ? r->origin : "record",
                              line);
    if (r->nbad++ == 0)
        r->bad = bad;
    if (r->note != NULL)
        r->note(r->note_user, &bad);
}

/* Takes the value of a key that is known. */
static int
record_take_known(struct nodedb_record *r, const struct nodedb_line *l, int id, const char *former,
                  const char *value)
{
    char good[NODEDB_VALUE_MAX + 1] = "";
    struct lunette_error why = {.code = 0};

    if (nodedb_key(id)->flags & NODEDB_HIDDEN)
        return 0;
    if (nodedb_value_check(nodedb_key(id), value, good, &why) != 0)
        note_bad(r, l->number, &why);
    explicit_bzero(good, sizeof(good));
    /* Nothing is not written back, and whoever reads that takes the default. */
    if (value[0] == '\0' && nodedb_key(id)->dflt[0] != '\0')
        return 0;
    if (nodedb_record_set(r, id, value) < 0)
        return -ENOMEM;
    r->line[id] = (uint16_t)(l->number < UINT16_MAX ? l->number : UINT16_MAX);
    r->former[id] = former;
    /* One key of iscsid.conf is of nodes and of discovery records. */
    if (id == NODEDB_CHAP_ALGS && r->kind == NODEDB_CONF) {
        r->line[NODEDB_D_CHAP_ALGS] = r->line[id];
        return nodedb_record_set(r, NODEDB_D_CHAP_ALGS, value);
    }
    return 0;
}

static int
record_take_pair(struct nodedb_record *r, const struct nodedb_line *l)
{
    char name[NODEDB_NAME_MAX + 1], value[NODEDB_LINE_MAX + 1];
    const char *former;
    int id = nodedb_key_find(r->kind, l->name, l->name_len, &former), err;

    memcpy(name, l->name, l->name_len);
    name[l->name_len] = '\0';
    memcpy(value, l->value, l->value_len);
    value[l->value_len] = '\0';
    err = id < 0 ? set_extra(r, name, value) : record_take_known(r, l, id, former, value);
    explicit_bzero(value, l->value_len); /* it may be a secret */
    return err;
}

int
nodedb_record_parse(struct nodedb_record *r, const char *text, size_t len, const char *origin)
{
    struct nodedb_lines lines;
    struct nodedb_line l;
    bool any = false, begun = false, ended = false;
    int err = 0;

    if (origin != NULL && r->origin == NULL) {
        r->origin = strdup(origin);
        if (r->origin == NULL)
            return -ENOMEM;
    }
    nodedb_lines_init(&lines, text, len);
    while (err == 0 && !ended && nodedb_lines_next(&lines, &l)) {
        struct lunette_error why = {.code = 0};

        begun |= l.kind == NODEDB_LINE_BEGIN;
        /* What stands behind the end belongs to no record, as after a shorter record was written
         * over a longer one; iscsid.conf may be pasted together of several. */
        ended = l.kind == NODEDB_LINE_END && r->kind != NODEDB_CONF;
        if (r->kind != NODEDB_CONF && !l.ended && l.kind != NODEDB_LINE_END) {
            r->torn = true; /* who knows how the line would have gone on */
        } else if (l.kind == NODEDB_LINE_PAIR) {
            any = true;
            err = record_take_pair(r, &l);
        } else if (l.kind == NODEDB_LINE_BAD) {
            (void)lunette_fail(&why, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s", l.why);
            note_bad(r, l.number, &why);
        }
    }
    if (r->kind != NODEDB_CONF && (!any || (begun && !ended)))
        r->torn = true;
    return err;
}

const char *
nodedb_record_get(const struct nodedb_record *r, enum nodedb_key_id id,
                  char buf[NODEDB_VALUE_MAX + 1], struct lunette_error *ret_bad)
{
    const struct nodedb_key *k = nodedb_key(id);
    struct lunette_error why = {.code = 0};
    int c = r->value[id] != NULL ? nodedb_value_check(k, r->value[id], buf, &why) : -ENOENT;

    if (ret_bad != NULL) {
        ret_bad->code = 0;
        if (c == 1 || c == -EINVAL) {
            (void)lunette_fail(ret_bad, c == 1 ? -ERANGE : -EINVAL, LUNETTE_DOM_USAGE, 0, "%s",
                               why.msg);
            if (r->origin != NULL)
                (void)lunette_fail_prefix(ret_bad, ret_bad->code, "%s:%u", r->origin, r->line[id]);
        }
    }
    return c >= 0 ? buf : k->dflt;
}

int64_t
nodedb_record_num(const struct nodedb_record *r, enum nodedb_key_id id)
{
    char buf[NODEDB_VALUE_MAX + 1];

    assert(nodedb_key(id)->type == NODEDB_NUM);
    return strtoll(nodedb_record_get(r, id, buf, NULL), NULL, 10);
}

int
nodedb_record_word(const struct nodedb_record *r, enum nodedb_key_id id)
{
    char buf[NODEDB_VALUE_MAX + 1];
    const char *word = nodedb_record_get(r, id, buf, NULL);

    assert(nodedb_key(id)->type == NODEDB_WORD);
    return nodedb_word_index(nodedb_key(id)->words, word, strlen(word));
}

const char *
nodedb_record_text(const struct nodedb_record *r, enum nodedb_key_id id)
{
    char buf[NODEDB_VALUE_MAX + 1];
    bool good;

    assert(nodedb_key(id)->type == NODEDB_TEXT);
    /* of a text the check changes nothing, so that it is the value itself or the default */
    good = nodedb_record_get(r, id, buf, NULL) == buf;
    if (nodedb_key(id)->flags & NODEDB_SECRET)
        explicit_bzero(buf, sizeof(buf));
    return good ? r->value[id] : nodedb_key(id)->dflt;
}

/* Sets a value of a key that may be changed. */
static int
record_update_value(struct nodedb_record *r, int id, const char *value, char *good,
                    struct lunette_error *err)
{
    int c = nodedb_value_check(nodedb_key(id), value, good, err);

    if (c != 0)
        return -EINVAL;
    if (r->kind == NODEDB_IFACE && good[0] != '\0' &&
        ((id == NODEDB_IFACE_NETDEV && nodedb_record_text(r, NODEDB_IFACE_HWADDRESS)[0] != '\0') ||
         (id == NODEDB_IFACE_HWADDRESS && nodedb_record_text(r, NODEDB_IFACE_NETDEV)[0] != '\0')))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the interface is bound by iface.%s already: empty that first, or make "
                            "another interface",
                            id == NODEDB_IFACE_NETDEV ? "hwaddress" : "net_ifacename");
    return nodedb_record_set(r, id, good) == 0
               ? 0
               : lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a value");
}

int
nodedb_record_update(struct nodedb_record *r, const char *name, const char *value,
                     struct lunette_error *err)
{
    const char *former, *near;
    int id = nodedb_key_find(r->kind, name, strnlen(name, NODEDB_NAME_MAX + 1), &former), e;
    const struct nodedb_key *k = id >= 0 ? nodedb_key(id) : NULL;
    char good[NODEDB_VALUE_MAX + 1] = "";

    if (k == NULL) {
        near = nodedb_key_nearest(r->kind, name);
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "Cannot modify %.127s. Invalid param name.%s%s%s", name,
                            near != NULL ? " Do you mean " : "", near != NULL ? near : "",
                            near != NULL ? "?" : "");
    }
    if (r->kind == NODEDB_NODE && strncmp(k->name, "iface.", 6) == 0 && (k->flags & NODEDB_FIXED))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "Cannot modify %s. Use iface mode to update this value.", k->name);
    if (k->flags & (r->kind == NODEDB_IFACE ? NODEDB_IDENTITY : NODEDB_FIXED))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "Cannot modify %s. It says which record this is: make another record.",
                            k->name);
    e = record_update_value(r, id, value, good, err);
    explicit_bzero(good, sizeof(good));
    return e;
}

/* Is the address of the record, or of its interface, IPv6?  Adapters name theirs so. */
static bool
shows_ipv6(const struct nodedb_record *r)
{
    return strstr(nodedb_record_text(r, NODEDB_IFACE_NAME), "ipv6") != NULL;
}

/* What to write behind "key = ", or NULL: the key is left out. */
static const char *
shown_value(const struct nodedb_record *r, int id, enum nodedb_form form, bool ipv6)
{
    const struct nodedb_key *k = nodedb_key(id);
    const char *v = r->value[id] != NULL ? r->value[id] : k->dflt;

    if (!(k->where & r->kind) || (k->flags & NODEDB_HIDDEN))
        return NULL;
    if (r->value[id] == NULL && (k->flags & (NODEDB_NEWER | NODEDB_OURS)))
        return NULL;
    if ((k->flags & NODEDB_OURS) && strcmp(v, k->dflt) == 0)
        return NULL;
    if (r->value[id] == NULL && (k->flags & (ipv6 ? NODEDB_IPV4 : NODEDB_IPV6)))
        return NULL;
    if (v[0] == '\0')
        return form == NODEDB_FORM_FILE ? NULL : "<empty>";
    return (k->flags & NODEDB_SECRET) && form != NODEDB_FORM_UNMASK && form != NODEDB_FORM_FILE
               ? "********"
               : v;
}

int
nodedb_record_format(const struct nodedb_record *r, enum nodedb_form form, char **ret,
                     size_t *ret_len)
{
    bool ipv6 = r->kind & (NODEDB_NODE | NODEDB_IFACE) && shows_ipv6(r);
    size_t room = 128, len = 0;
    char *out;

    for (int i = 0; i < NODEDB_KEY_COUNT; i++)
        room += NODEDB_NAME_MAX + 32 + (r->value[i] != NULL ? strlen(r->value[i]) : 16);
    for (size_t i = 0; i < r->nextra; i++)
        room += strlen(r->extra[i].name) + strlen(r->extra[i].value) + 8;
    out = malloc(room);
    if (out == NULL)
        return -ENOMEM;
    len += (size_t)snprintf(out, room, "# BEGIN RECORD " NODEDB_FORMAT_VERSION "\n");
    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        const char *v = shown_value(r, i, form, ipv6);
        const struct nodedb_key *k = nodedb_key(i);

        if (v == NULL)
            continue;
        len += (size_t)snprintf(
            out + len, room - len, "%s%s = %s\n",
            form == NODEDB_FORM_FILE && (k->flags & NODEDB_OURS) ? NODEDB_OURS_PREFIX " " : "",
            form == NODEDB_FORM_FILE && r->former[i] != NULL ? r->former[i] : k->name, v);
    }
    /* What an unknown key holds may be a secret. */
    for (size_t i = 0; i < r->nextra; i++)
        len += (size_t)snprintf(out + len, room - len, "%s = %s\n", r->extra[i].name,
                                form == NODEDB_FORM_SHOW && strstr(r->extra[i].name, "pass") != NULL
                                    ? "********"
                                    : r->extra[i].value);
    len += (size_t)snprintf(out + len, room - len, "# END RECORD\n");
    assert(len < room);
    *ret = out;
    *ret_len = len;
    return 0;
}
