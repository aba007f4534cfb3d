/* SPDX-License-Identifier: MIT */
#include "cmd/common/option_rows.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "cmd/common/option_json.h"

#define HELP_COLUMNS 80
#define HELP_INDENT  25

void
option_rows_getopt(const struct option_program *p, struct option *longs, char *letters)
{
    assert(p->count <= OPTION_ROWS_MAX);
    *letters++ = ':';
    for (size_t i = 0; i < p->count; i++) {
        const struct option_row *o = &p->rows[i];

        longs[i] = (struct option){o->name, o->argument != NULL ? required_argument : no_argument,
                                   NULL, o->opt};
        if (o->opt < 256)
            *letters++ = (char)o->opt;
        if (o->opt < 256 && o->argument != NULL)
            *letters++ = ':';
    }
    longs[p->count] = (struct option){NULL, 0, NULL, 0};
    *letters = '\0';
}

/* Prints words behind HELP_INDENT blanks, of which the line has `column` columns already. */
static void
print_wrapped(FILE *to, const char *text, int column)
{
    if (column > HELP_INDENT - 1) {
        (void)fputc('\n', to);
        column = 0;
    }
    (void)fprintf(to, "%*s", HELP_INDENT - column, "");
    column = HELP_INDENT;
    while (*text != '\0') {
        int word = (int)strcspn(text, " ");

        if (column > HELP_INDENT && column + 1 + word > HELP_COLUMNS - 1) {
            (void)fprintf(to, "\n%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        }
        if (column > HELP_INDENT)
            column += fprintf(to, " ");
        column += fprintf(to, "%.*s", word, text);
        text += word + (int)strspn(text + word, " ");
    }
    (void)fputc('\n', to);
}

void
option_rows_help(const struct option_program *p, FILE *to)
{
    (void)fprintf(to, "usage: %s\n\n%s\n\n", p->usage, p->about);
    for (size_t i = 0; i < p->count; i++) {
        const struct option_row *o = &p->rows[i];
        int n = o->opt < 256 ? fprintf(to, "  -%c, --%s", o->opt, o->name)
                             : fprintf(to, "      --%s", o->name);

        n += o->argument != NULL ? fprintf(to, " %s", o->argument) : 0;
        print_wrapped(to, o->help, n);
    }
    (void)fprintf(to, "\n%s", p->end);
}

void
option_rows_json(const struct option_program *p, FILE *to)
{
    option_json_begin(to, p->name);
    for (size_t i = 0; i < p->count; i++)
        option_json_add(to, i == 0, &p->rows[i]);
    option_json_end(to);
}

void
option_meant(const struct option *longs, const char *word)
{
    char typed[64];
    struct suggest s = {.typed = typed};

    word += strspn(word, "-");
    (void)snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(word, "="), word);
    for (const struct option *o = longs; o->name != NULL; o++)
        suggest_try(&s, o->name);
    if (s.best != NULL && strcmp(s.best, typed) != 0)
        (void)fprintf(stderr, "  did you mean --%s?\n", s.best);
}

int
option_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v < min || v > max)
        return -EINVAL;
    *ret = v;
    return 0;
}

int
option_word(const char *words, const char *text)
{
    size_t len = strlen(text);

    for (int i = 0;; i++) {
        size_t n = strcspn(words, "|");

        if (n == len && memcmp(words, text, n) == 0)
            return i;
        if (words[n] == '\0')
            return -EINVAL;
        words += n + 1;
    }
}

static bool
row_is(const struct option_program *p, int opt)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->rows[i].opt == opt)
            return true;
    return false;
}

/* Is it a long option as far as it goes?  Then there are several. */
static bool
row_begins(const struct option_program *p, const char *name, size_t len)
{
    for (size_t i = 0; i < p->count; i++)
        if (strncmp(p->rows[i].name, name, len) == 0)
            return true;
    return false;
}

void
option_rows_refuse(const struct option_program *p, int c, int opt, const char *word)
{
    int len = (int)strcspn(word, "=");

    if (c == ':')
        (void)fprintf(stderr, "%s: %.*s wants a value\n", p->name, len, word);
    else if (row_is(p, opt))
        (void)fprintf(stderr, "%s: %.*s takes no value\n", p->name, len, word);
    else if (opt != 0) /* word may be what stands before */
        (void)fprintf(stderr, "%s: unknown option -%c\n", p->name, opt);
    else if (row_begins(p, word + 2, (size_t)len - 2))
        (void)fprintf(stderr, "%s: %.*s may be one option or another: write it out\n", p->name, len,
                      word);
    else
        (void)fprintf(stderr, "%s: unknown option %.*s\n", p->name, len, word);
    if (c == '?' && opt == 0) {
        struct option longs[OPTION_ROWS_MAX + 1];
        char letters[2 * OPTION_ROWS_MAX + 2];

        option_rows_getopt(p, longs, letters);
        option_meant(longs, word);
    }
    (void)fprintf(stderr, "Try `%s --help' for more information.\n", p->name);
}
