/* SPDX-License-Identifier: MIT */
#include "wire/credentials.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "wire/chap.h"

static const char *const field_names[CREDENTIALS_FIELDS] = {
    [CREDENTIALS_NAME] = "name",
    [CREDENTIALS_SECRET] = "secret",
    [CREDENTIALS_MUTUAL_NAME] = "mutual_name",
    [CREDENTIALS_MUTUAL_SECRET] = "mutual_secret",
};

/* A reading under way. */
struct reading {
    struct credentials *c;
    struct credentials_text known[CREDENTIALS_FIELDS]; /* what the caller has put in */
    const char *from;
    unsigned line;  /* the number of the line that is read; 0: there is but one */
    unsigned pairs; /* lines NAME:SECRET so far */
    bool some;      /* a line said something */
    struct lunette_error *err;
};

static int
credentials_fault(const struct reading *r, const char *what)
{
    if (r->line > 0)
        return lunette_fail(r->err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: line %u: %s", r->from,
                            r->line, what);
    return lunette_fail(r->err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: %s", r->from, what);
}

static bool
same_text(const struct credentials_text *a, const struct credentials_text *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* The known name is not shown: where a URL was misspelled, it may be a secret. */
static int
other_user(const struct reading *r)
{
    return credentials_fault(r, "these are credentials of another user than the URL's");
}

static int
set_field(struct reading *r, enum credentials_field f, struct credentials_text t)
{
    struct credentials_text *at = &r->c->field[f];
    const struct credentials_text *known = &r->known[f];

    static_assert(CHAP_NAME_MAX == CHAP_SECRET_MAX, "the text below");
    if (t.len == 0 || t.len > CHAP_SECRET_MAX)
        return lunette_fail(r->err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s: %s has %zu bytes: want 1..%d", r->from, field_names[f], t.len,
                            CHAP_SECRET_MAX);
    if (known->text != NULL && !same_text(known, &t))
        return other_user(r);
    if (known->text == NULL && at->text != NULL)
        return lunette_fail(r->err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: %s is given twice", r->from,
                            field_names[f]);
    *at = t;
    return 0;
}

static struct credentials_text
without_blanks(struct credentials_text t)
{
    while (t.len > 0 && (t.text[0] == ' ' || t.text[0] == '\t')) {
        t.text++;
        t.len--;
    }
    while (t.len > 0 && (t.text[t.len - 1] == ' ' || t.text[t.len - 1] == '\t'))
        t.len--;
    return t;
}

/* Takes a line "field = TEXT".  Returns 1 where it is none. */
static int
take_field(struct reading *r, struct credentials_text line)
{
    const char *eq = memchr(line.text, '=', line.len);
    struct credentials_text key = {line.text, eq != NULL ? (size_t)(eq - line.text) : 0};

    key = without_blanks(key);
    for (unsigned f = 0; f < CREDENTIALS_FIELDS; f++) {
        if (key.len != strlen(field_names[f]) || memcmp(key.text, field_names[f], key.len) != 0)
            continue;
        return set_field(r, (enum credentials_field)f,
                         without_blanks((struct credentials_text){
                             eq + 1, line.len - (size_t)(eq + 1 - line.text)}));
    }
    return 1;
}

/* Returns the length of the name of a line NAME:SECRET, or 0 where there is no colon. */
static size_t
name_length(struct credentials_text line)
{
    bool iscsi_name = line.len > 4 && strncasecmp(line.text, "iqn.", 4) == 0;
    const char *colon =
        iscsi_name ? memrchr(line.text, ':', line.len) : memchr(line.text, ':', line.len);

    return colon != NULL ? (size_t)(colon - line.text) : 0;
}

static int
take_pair(struct reading *r, struct credentials_text line)
{
    enum credentials_field f = r->pairs == 0 ? CREDENTIALS_NAME : CREDENTIALS_MUTUAL_NAME;
    const struct credentials_text *known = &r->known[f];
    size_t name = name_length(line);
    int ret;

    if (r->pairs++ == 2)
        return credentials_fault(r, "more than two lines name:secret");
    if (known->text != NULL) {
        if (line.len <= known->len || line.text[known->len] != ':' ||
            memcmp(line.text, known->text, known->len) != 0)
            return name == 0 ? credentials_fault(r, "want name:secret, or name = and secret =")
                             : other_user(r);
        name = known->len;
    }
    if (name == 0 || name + 1 == line.len)
        return credentials_fault(r, "want name:secret, or name = and secret =");
    ret = set_field(r, f, (struct credentials_text){line.text, name});
    if (ret == 0)
        ret = set_field(r, f + 1,
                        (struct credentials_text){line.text + name + 1, line.len - name - 1});
    return ret;
}

static int
take_line(struct reading *r, struct credentials_text line)
{
    int ret;

    if (line.len > 0 && line.text[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0 || line.text[0] == '#')
        return 0;
    r->some = true;
    ret = take_field(r, line);
    return ret <= 0 ? ret : take_pair(r, line);
}

int
credentials_read(struct credentials *c, const char *text, size_t len, const char *from,
                 struct lunette_error *err)
{
    struct reading r = {.c = c, .from = from, .err = err};
    int ret = 0;

    memcpy(r.known, c->field, sizeof(r.known));
    r.line = memchr(text, '\n', len) != NULL ? 1 : 0;
    if (memchr(text, '\0', len) != NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: it holds a NUL byte", from);
    while (ret == 0 && len > 0) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl != NULL ? (size_t)(nl - text) : len;

        ret = take_line(&r, (struct credentials_text){text, n});
        n += nl != NULL;
        text += n;
        len -= n;
        r.line += r.line > 0;
    }
    r.line = 0;
    if (ret == 0 && !r.some)
        return credentials_fault(&r, "it is empty: want name:secret, or name = and secret =");
    return ret;
}
