/* SPDX-License-Identifier: MIT */
#include "nodedb/lines.h"

#include <string.h>

#include "nodedb/keys.h"

void
nodedb_lines_init(struct nodedb_lines *l, const char *text, size_t len)
{
    *l = (struct nodedb_lines){.p = text, .end = text + len};
}

static bool
is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void
strip(const char **p, const char **end)
{
    while (*p < *end && is_blank(**p))
        (*p)++;
    while (*end > *p && is_blank((*end)[-1]))
        (*end)--;
}

static bool
begins(const char *p, const char *end, const char *with)
{
    size_t n = strlen(with);

    return (size_t)(end - p) >= n && memcmp(p, with, n) == 0;
}

static const char *
split_pair(const char *p, const char *end, struct nodedb_line *ret)
{
    const char *eq = memchr(p, '=', (size_t)(end - p)), *name_end, *value;

    if (eq == NULL)
        return "there is no \"=\" in the line";
    name_end = eq;
    value = eq + 1;
    strip(&p, &name_end);
    strip(&value, &end);
    if (p == name_end)
        return "there is no key before the \"=\"";
    if (name_end - p > NODEDB_NAME_MAX)
        return "the key is too long";
    for (const char *q = p; q < name_end; q++) {
        if ((unsigned char)*q <= 0x20 || (unsigned char)*q > 0x7e)
            return "the key holds a blank or a control character";
    }
    for (const char *q = value; q < end; q++) {
        if (((unsigned char)*q < 0x20 && *q != '\t') || *q == 0x7f)
            return "the value holds a control character";
    }
    ret->name = p;
    ret->name_len = (size_t)(name_end - p);
    ret->value = value;
    ret->value_len = (size_t)(end - value);
    return NULL;
}

bool
nodedb_lines_next(struct nodedb_lines *l, struct nodedb_line *ret)
{
    while (l->p < l->end) {
        const char *p = l->p, *nl = memchr(p, '\n', (size_t)(l->end - p));
        const char *end = nl != NULL ? nl : l->end;
        bool too_long = end - p > NODEDB_LINE_MAX;

        l->p = nl != NULL ? nl + 1 : l->end;
        *ret = (struct nodedb_line){
            .kind = NODEDB_LINE_PAIR, .number = ++l->number, .ended = nl != NULL};
        strip(&p, &end);
        if (p == end)
            continue;
        if (begins(p, end, "# BEGIN RECORD") || begins(p, end, "# END RECORD")) {
            ret->kind = p[2] == 'B' ? NODEDB_LINE_BEGIN : NODEDB_LINE_END;
            return true;
        }
        if (begins(p, end, NODEDB_OURS_PREFIX))
            p += strlen(NODEDB_OURS_PREFIX);
        else if (*p == '#')
            continue;
        ret->why = too_long ? "the line is longer than 2047 bytes" : split_pair(p, end, ret);
        if (ret->why != NULL)
            ret->kind = NODEDB_LINE_BAD;
        return true;
    }
    return false;
}
