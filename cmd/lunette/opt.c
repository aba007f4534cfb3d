/* SPDX-License-Identifier: MIT */
/* cmd/lunette/opt.c - options as tables: parsed by getopt_long, printed by --help. */
#include "cmd/lunette/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/suggest.h"

#define OPTIONS_MAX     32 /* of one subcommand, the common ones included */
#define SPIN_DEFAULT_US 100
#define HELP_INDENT     26
#define HELP_COLUMNS    80

static const struct opt common_opts[] = {
    {"loop", 0, OPT_CHOICE, offsetof(struct common, loop), "auto|epoll|uring",
     "how to wait: auto takes io_uring where it is allowed, else epoll", 0, 0},
    {"busy-poll", 0, OPT_SPIN, offsetof(struct common, spin_us), "USEC",
     "poll for at most that long before sleeping (100 if no number is given): lower latency, more "
     "CPU",
     0, 10000000},
    {"initiator-name", 0, OPT_STR, offsetof(struct common, initiator_name), "NAME",
     "the name to log in with (iqn., eui. or naa.)", 0, 0},
    {"chap-file", 0, OPT_STR, offsetof(struct common, chap_file), "FILE",
     "read user:secret from FILE, so that no secret stands in a process list", 0, 0},
    {"trace", 0, OPT_STR, offsetof(struct common, trace), "FILE",
     "write the trace points of this run to FILE", 0, 0},
    {"capture", 0, OPT_STR, offsetof(struct common, capture), "FILE",
     "write the PDUs of this run to FILE, for Wireshark, without secrets", 0, 0},
    {"no-payload", 0, OPT_FLAG, offsetof(struct common, no_payload), NULL,
     "of --capture: leave out the data of commands; lengths stay true", 0, 0},
    {"verbose", 'v', OPT_COUNT, offsetof(struct common, verbose), NULL,
     "say what happens; twice: in detail", 0, 0},
    {"help", 'h', OPT_FLAG, offsetof(struct common, help), NULL, "print this and leave", 0, 0},
    {0},
};

static const struct opt json_opt = {"json",       0, OPT_FLAG, offsetof(struct common, json), NULL,
                                    "print JSON", 0, 0};

/* What getopt_long needs, and the options in the order of its answers. */
struct parser {
    const struct opt *opts[OPTIONS_MAX];
    char *base[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 2];
    char letters[2 * OPTIONS_MAX + 2];
    int count;
    /* an option that may have a value, had none, and stood before `behind` */
    const struct opt *bare;
    const char *behind;
};

#define LONG_BASE 256 /* getopt_long's value of opts[0]: behind all letters */
#define LONG_CHAP (LONG_BASE + OPTIONS_MAX)

/* Does the command take this one of the common options? */
static bool
has_common(const struct command *cmd, const struct opt *o)
{
    bool waits =
        o->offset == offsetof(struct common, loop) || o->offset == offsetof(struct common, spin_us);

    return cmd->common == COMMON_ALL || o->offset == offsetof(struct common, help) ||
           (cmd->common == COMMON_WAIT && waits);
}

static bool
has_value(const struct opt *o)
{
    return o->kind != OPT_FLAG && o->kind != OPT_COUNT;
}

static bool
maybe_value(const struct opt *o)
{
    return o->kind == OPT_SPIN || o->kind == OPT_MAYBE_SIZE || o->kind == OPT_MAYBE_CHOICE;
}

static void
opt_add(struct parser *p, const struct opt *o, void *base)
{
    int n = p->count++;
    size_t at = strlen(p->letters);

    p->opts[n] = o;
    p->base[n] = base;
    p->longs[n] = (struct option){o->name,
                                  maybe_value(o) ? optional_argument
                                  : has_value(o) ? required_argument
                                                 : no_argument,
                                  NULL, LONG_BASE + n};
    if (o->letter != 0) {
        p->letters[at] = o->letter;
        p->letters[at + 1] = has_value(o) ? ':' : '\0';
    }
}

static void
opt_collect(struct parser *p, const struct command *cmd, struct common *common, void *opts)
{
    *p = (struct parser){.letters = ":"};
    for (const struct opt *o = cmd->opts; o != NULL && o->name != NULL; o++)
        opt_add(p, o, opts);
    if (cmd->json)
        opt_add(p, &json_opt, common);
    for (const struct opt *o = common_opts; o->name != NULL; o++)
        if (has_common(cmd, o))
            opt_add(p, o, common);
    /* As an abbreviation of --chap-file, a secret behind it would be shown as a file's name. */
    p->longs[p->count] = (struct option){"chap", optional_argument, NULL, LONG_CHAP};
}

static int
parse_choice(const char *choices, const char *text, uint64_t *ret)
{
    size_t len = strlen(text);

    for (uint64_t i = 0; *choices != '\0'; i++) {
        size_t n = strcspn(choices, "|");
        if (n == len && memcmp(choices, text, n) == 0) {
            *ret = i;
            return 0;
        }
        choices += choices[n] == '|' ? n + 1 : n;
    }
    return -EINVAL;
}

static int
parse_number(const struct opt *o, const char *text, uint64_t *ret)
{
    uint64_t v = 0;
    int r = o->kind == OPT_SIZE || o->kind == OPT_MAYBE_SIZE ? size_parse(text, strlen(text), &v)
            : o->kind == OPT_SECONDS                         ? parse_seconds(text, &v)
                                                             : parse_uint(text, &v);

    if (r == 0 && (v < o->min || (o->max != 0 && v > o->max)))
        r = -ERANGE;
    if (r == 0)
        *ret = v;
    return r;
}

/* Writes a bound as one would type it. */
static const char *
bound(char buf[TEXT_SIZE], const struct opt *o, uint64_t v)
{
    if (o->kind == OPT_SECONDS)
        snprintf(buf, TEXT_SIZE, "%g", (double)v / 1e9);
    else if (o->kind == OPT_SIZE || o->kind == OPT_MAYBE_SIZE)
        return format_size_short(buf, v);
    else
        snprintf(buf, TEXT_SIZE, "%llu", (unsigned long long)v);
    return buf;
}

/* Says what an option takes. */
static int
refuse_value(const struct command *cmd, const struct opt *o, const char *text)
{
    char low[TEXT_SIZE], high[TEXT_SIZE], range[3 * TEXT_SIZE] = "", *public = url_public(text);
    const char *want = o->kind == OPT_SECONDS ? "seconds, such as 2, 1.5, 500ms or 2m"
                       : o->kind == OPT_SIZE || o->kind == OPT_MAYBE_SIZE
                           ? "a size, such as 4096, 64k or 1.5G"
                           : "a number";

    if (o->kind == OPT_CHOICE || o->kind == OPT_MAYBE_CHOICE) {
        struct suggest s = {.typed = text};
        char copy[128], *at = copy, *word;
        snprintf(copy, sizeof(copy), "%s", o->arg);
        while ((word = strsep(&at, "|")) != NULL)
            suggest_try(&s, word);
        fail_usage("%s: --%s=%s: want one of %s", cmd->name, o->name, public, o->arg);
        free(public);
        if (s.best != NULL)
            hint("did you mean %s?", s.best);
        return -EINVAL;
    }
    if (o->max != 0)
        snprintf(range, sizeof(range), ", from %s to %s", bound(low, o, o->min),
                 bound(high, o, o->max));
    else if (o->min != 0)
        snprintf(range, sizeof(range), ", at least %s", bound(low, o, o->min));
    fail_usage("%s: --%s=%s: want %s%s", cmd->name, o->name, public, want, range);
    free(public);
    return -EINVAL;
}

static int
set(const struct command *cmd, const struct opt *o, char *base, const char *text)
{
    void *at = base + o->offset;
    int r = 0;

    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)at = true;
        break;
    case OPT_COUNT:
        ++*(uint64_t *)at;
        break;
    case OPT_STR:
        *(const char **)at = text;
        break;
    case OPT_SPIN:
    case OPT_MAYBE_SIZE:
        *(uint64_t *)at = o->kind == OPT_SPIN ? SPIN_DEFAULT_US : UINT64_MAX;
        if (text != NULL)
            r = parse_number(o, text, at);
        break;
    case OPT_UINT:
    case OPT_SIZE:
    case OPT_SECONDS:
        r = parse_number(o, text, at);
        break;
    case OPT_CHOICE:
        r = parse_choice(o->arg, text, at);
        break;
    case OPT_MAYBE_CHOICE:
        *(uint64_t *)at = 0;
        if (text != NULL)
            r = parse_choice(o->arg, text, at);
        ++*(uint64_t *)at;
        break;
    }
    return r == 0 ? 0 : refuse_value(cmd, o, text);
}

/* --chap is an option of lunette-target.  What follows is not shown. */
static int
refuse_chap(const struct command *cmd)
{
    fail_usage("%s: there is no --chap: a secret is not for the command line, where others see it",
               cmd->name);
    hint("put user:secret into a file of mode 600 and add --chap-file=FILE");
    return -EINVAL;
}

/* The common option of other commands that a word begins with, or NULL. */
static const struct opt *
common_of_others(const struct command *cmd, const char *name, bool letter)
{
    for (const struct opt *o = common_opts; o->name != NULL; o++)
        if (!has_common(cmd, o) &&
            (letter ? o->letter != 0 && name[0] == o->letter
                    : strlen(name) >= 3 && strncmp(o->name, name, strlen(name)) == 0))
            return o;
    return NULL;
}

static int
unknown(const struct parser *p, const struct command *cmd, const char *word)
{
    struct suggest s = {.typed = word + strspn(word, "-")};
    char copy[64];

    if (strchr(s.typed, '=') != NULL) { /* --option=value */
        snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(s.typed, "="), s.typed);
        s.typed = copy;
    }
    const struct opt *other = common_of_others(cmd, s.typed, word[1] != '-');
    if (other != NULL) {
        fail_usage("%s: --%s is for commands that log in themselves, and %s does not", cmd->name,
                   other->name, cmd->name);
        return -EINVAL;
    }
    for (int i = 0; i < p->count; i++)
        suggest_try(&s, p->opts[i]->name);
    char *public = url_public(word);
    fail_usage("%s: unknown option %.*s", cmd->name, (int)strcspn(public, "="), public);
    free(public);
    if (s.best != NULL)
        hint("did you mean --%s?", s.best);
    hint("`lunette %s --help` lists what there is", cmd->name);
    return -EINVAL;
}

static int
no_value(const struct command *cmd, const struct opt *o, const char *word)
{
    if (o == NULL) {
        char *public = url_public(word);
        fail_usage("%s: %s: a value must follow", cmd->name, public);
        free(public);
    } else {
        fail_usage("%s: --%s: %s is missing: --%s=%s", cmd->name, o->name,
                   o->kind == OPT_CHOICE ? "a choice" : o->arg, o->name, o->arg);
    }
    return -EINVAL;
}

static int
takes_none(const struct command *cmd, const struct opt *o)
{
    fail_usage("%s: --%s takes no value", cmd->name, o->name);
    return -EINVAL;
}

/* Where a value that may be left out stands apart from its option, it is taken for an operand. */
static void
hint_apart(const struct parser *p)
{
    uint64_t v;

    if (p->bare == NULL || p->behind == NULL)
        return;
    if ((p->bare->kind == OPT_MAYBE_CHOICE ? parse_choice(p->bare->arg, p->behind, &v)
                                           : parse_number(p->bare, p->behind, &v)) == 0)
        hint("a value of --%s stands behind a =: --%s=%s", p->bare->name, p->bare->name, p->behind);
}

/* Checks the number of operands, and names the first that is missing or too many. */
static int
check_operands(const struct parser *p, const struct command *cmd, int n, char **words)
{
    const char *at = cmd->operands;

    if (n >= cmd->min_args && (cmd->max_args < 0 || n <= cmd->max_args))
        return 0;
    if (n < cmd->min_args) {
        for (int i = 0; i < n; i++)
            at += strcspn(at, " ") + 1;
        fail_usage("%s: %.*s is missing", cmd->name, (int)strcspn(at, " ."), at);
    } else {
        char *word = url_public(words[cmd->max_args]);
        fail_usage("%s: one argument too many: '%s'", cmd->name, word);
        free(word);
        hint_apart(p);
    }
    hint("usage: lunette %s%s%s%s%s", cmd->name, cmd->operands[0] != '\0' ? " " : "", cmd->operands,
         cmd->synopsis[0] != '\0' ? " " : "", cmd->synopsis);
    return -EINVAL;
}

/* The option that getopt_long's answer stands for, or NULL. */
static const struct opt *
opt_find(const struct parser *p, int c, char **ret_base)
{
    for (int i = 0; i < p->count; i++) {
        if (c == LONG_BASE + i || (p->opts[i]->letter != 0 && c == p->opts[i]->letter)) {
            *ret_base = p->base[i];
            return p->opts[i];
        }
    }
    return NULL;
}

int
opt_parse(const struct command *cmd, int argc, char **argv, struct common *common, void *opts,
          int *ret_args)
{
    struct parser p;
    char *base = NULL;
    int c;

    opt_collect(&p, cmd, common, opts);
    optind = 0; /* this makes glibc's getopt start afresh */
    opterr = 0;
    while ((c = getopt_long(argc, argv, p.letters, p.longs, NULL)) != -1) {
        const struct opt *o = opt_find(&p, c == ':' || c == '?' ? optopt : c, &base);
        if (c == LONG_CHAP)
            return refuse_chap(cmd);
        if (c == ':')
            return no_value(cmd, o, argv[optind - 1]);
        if (c == '?' && o != NULL)
            return takes_none(cmd, o);
        if (o == NULL)
            return unknown(&p, cmd, argv[optind - 1]);
        if (set(cmd, o, base, optarg) < 0)
            return -EINVAL;
        if (maybe_value(o) && optarg == NULL) {
            p.bare = o;
            p.behind = argv[optind];
        }
        if (common->help)
            return 0;
    }
    *ret_args = optind;
    return check_operands(&p, cmd, argc - optind, argv + optind);
}

static void
print_option(const struct opt *o)
{
    char left[80], letter[8] = "    ";

    if (o->letter != 0)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    snprintf(left, sizeof(left), "  %s--%s%s%s%s", letter, o->name,
             !has_value(o)    ? ""
             : maybe_value(o) ? "[="
                              : "=",
             has_value(o) ? o->arg : "", maybe_value(o) ? "]" : "");
    if (strlen(left) >= HELP_INDENT)
        printf("%s\n%*s", left, HELP_INDENT, "");
    else
        printf("%-*s", HELP_INDENT, left);
    text_wrap(stdout, o->help, HELP_COLUMNS, HELP_INDENT, HELP_INDENT);
}

/* Prints a command line, continued behind a backslash where it is long. */
static void
print_example(const char *line, size_t n)
{
    bool bare = line[0] == '|'; /* not one of lunette alone */
    int column = printf("  %s", bare ? "" : "lunette ");
    size_t at = bare ? 1 : 0;

    while (at < n) {
        size_t gap = line[at] == ' ', word = gap;
        while (at + word < n && line[at + word] != ' ')
            word++;
        if (strncmp(line + at, " --", 3) == 0 && at + word + 1 < n && line[at + word + 1] != '-' &&
            line[at + word + 1] != '|') { /* an option stays with its value */
            word++;
            while (at + word < n && line[at + word] != ' ')
                word++;
        }
        if (gap && column + (int)word + 2 > HELP_COLUMNS) {
            column = printf(" \\\n     ") - 3;
        }
        column += printf("%.*s", (int)word, line + at);
        at += word;
    }
    putchar('\n');
}

/* Calls `each` with every option of the command. */
static void
each_option(const struct command *cmd, void (*each)(const struct opt *o, void *user), void *user)
{
    for (const struct opt *o = cmd->opts; o != NULL && o->name != NULL; o++)
        each(o, user);
    if (cmd->json)
        each(&json_opt, user);
    for (const struct opt *o = common_opts; o->name != NULL; o++)
        if (has_common(cmd, o))
            each(o, user);
}

static void
help_option(const struct opt *o, void *user)
{
    (void)user;
    print_option(o);
}

void
opt_help(const struct command *cmd)
{
    char usage[256], paragraph[512];

    snprintf(usage, sizeof(usage), "%s%s%s%s%s", cmd->name, cmd->operands[0] != '\0' ? " " : "",
             cmd->operands, cmd->synopsis[0] != '\0' ? " " : "", cmd->synopsis);
    printf("usage: lunette ");
    text_wrap(stdout, usage, HELP_COLUMNS, 15, 17);
    putchar('\n');
    for (const char *line = cmd->about; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        snprintf(paragraph, sizeof(paragraph), "%.*s", (int)n, line);
        text_wrap(stdout, paragraph, HELP_COLUMNS, 0, 0);
        line += line[n] == '\n' ? n + 1 : n;
    }
    printf("\noptions:\n");
    each_option(cmd, help_option, NULL);
    printf("\nfor example:\n");
    for (const char *line = cmd->example; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        print_example(line, n);
        line += line[n] == '\n' ? n + 1 : n;
    }
}

static void
dump_option(const struct opt *o, void *user)
{
    static const char *const kinds[] = {
        [OPT_FLAG] = "flag",          [OPT_COUNT] = "count", [OPT_STR] = "text",
        [OPT_UINT] = "number",        [OPT_SIZE] = "size",   [OPT_SECONDS] = "seconds",
        [OPT_CHOICE] = "choice",      [OPT_SPIN] = "number", [OPT_MAYBE_SIZE] = "size",
        [OPT_MAYBE_CHOICE] = "choice"};
    const char *value = !has_value(o) ? "no" : maybe_value(o) ? "optional" : "required";
    char letter[2] = {o->letter, '\0'};
    json_t *j = json_pack("{s:s, s:s, s:s, s:s}", "name", o->name, "kind", kinds[o->kind], "value",
                          value, "help", o->help);

    if (o->letter != 0)
        json_object_set_new(j, "letter", json_string(letter));
    if (o->kind == OPT_CHOICE || o->kind == OPT_MAYBE_CHOICE) {
        json_t *choices = json_array();
        char copy[128], *at = copy, *word;
        snprintf(copy, sizeof(copy), "%s", o->arg);
        while ((word = strsep(&at, "|")) != NULL)
            json_array_append_new(choices, json_string(word));
        json_object_set_new(j, "choices", choices);
    } else if (o->arg != NULL) {
        json_object_set_new(j, "argument", json_string(o->arg));
    }
    json_array_append_new(user, j);
}

json_t *
opt_dump(const struct command *cmd)
{
    json_t *options = json_array(), *operands = json_array();
    char copy[64], *at = copy, *word;

    snprintf(copy, sizeof(copy), "%s", cmd->operands);
    while ((word = strsep(&at, " ")) != NULL) {
        if (*word != '\0')
            json_array_append_new(operands, json_string(word));
    }
    each_option(cmd, dump_option, options);
    return json_pack("{s:s, s:s, s:o, s:o}", "name", cmd->name, "summary", cmd->summary, "operands",
                     operands, "options", options);
}
