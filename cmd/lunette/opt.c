/* SPDX-License-Identifier: MIT */
/* cmd/lunette/opt.c - options as tables: parsed by getopt_long, printed by --help. */
#include "cmd/lunette/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

#define OPTIONS_MAX     32 /* of one subcommand, the common ones included */
#define SPIN_DEFAULT_US 100
#define HELP_INDENT     30
#define HELP_COLUMNS    90

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
    struct option longs[OPTIONS_MAX + 1];
    char letters[2 * OPTIONS_MAX + 2];
    int count;
};

#define LONG_BASE 256 /* getopt_long's value of opts[0]: behind all letters */

static bool
has_value(const struct opt *o)
{
    return o->kind != OPT_FLAG && o->kind != OPT_COUNT;
}

static void
opt_add(struct parser *p, const struct opt *o, void *base)
{
    int n = p->count++;
    size_t at = strlen(p->letters);

    p->opts[n] = o;
    p->base[n] = base;
    p->longs[n] = (struct option){o->name,
                                  o->kind == OPT_SPIN ? optional_argument
                                  : has_value(o)      ? required_argument
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
        opt_add(p, o, common);
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
    int r = o->kind == OPT_SIZE      ? size_parse(text, strlen(text), &v)
            : o->kind == OPT_SECONDS ? parse_seconds(text, &v)
                                     : parse_uint(text, &v);

    if (r == 0 && (v < o->min || (o->max != 0 && v > o->max)))
        r = -ERANGE;
    if (r == 0)
        *ret = v;
    return r;
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
        *(uint64_t *)at = SPIN_DEFAULT_US;
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
    }
    if (r == 0)
        return 0;
    char *public = url_public(text);
    fail_usage("%s: --%s=%s: %s%s", cmd->name, o->name, public,
               r == -ERANGE            ? "out of range"
               : o->kind == OPT_CHOICE ? "want one of "
               : o->kind == OPT_SIZE   ? "want a size, such as 4096, 64k or 1.5G"
                                       : "want a number",
               o->kind == OPT_CHOICE ? o->arg : "");
    free(public);
    if (r == -ERANGE && o->kind != OPT_SECONDS)
        fprintf(stderr, "  from %llu to %llu\n", (unsigned long long)o->min,
                (unsigned long long)(o->max != 0 ? o->max : UINT64_MAX));
    return -EINVAL;
}

static int
unknown(const struct command *cmd, const char *word, const char *what)
{
    char *public = url_public(word);
    fail_usage("%s: %s %s", cmd->name, what, public);
    free(public);
    fprintf(stderr, "  `lunette %s --help` lists what there is\n", cmd->name);
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
        const struct opt *o = opt_find(&p, c == ':' ? optopt : c, &base);
        if (c == ':')
            return unknown(cmd, argv[optind - 1], "a value must follow");
        if (o == NULL)
            return unknown(cmd, argv[optind - 1], "unknown option");
        if (set(cmd, o, base, optarg) < 0)
            return -EINVAL;
        if (common->help)
            return 0;
    }
    *ret_args = optind;
    int n = argc - optind;
    if (n < cmd->min_args || (cmd->max_args >= 0 && n > cmd->max_args)) {
        fail_usage("%s: %s", cmd->name,
                   n < cmd->min_args ? "something is missing" : "too many arguments");
        fprintf(stderr, "  usage: lunette %s %s\n", cmd->name, cmd->args);
        return -EINVAL;
    }
    return 0;
}

/* Prints text from column `indent` on, wrapped. */
static void
print_wrapped(const char *text, int indent)
{
    int column = indent;

    while (*text != '\0') {
        int word = (int)strcspn(text, " ");
        if (column > indent && column + 1 + word > HELP_COLUMNS) {
            printf("\n%*s", indent, "");
            column = indent;
        }
        column += printf("%s%.*s", column > indent ? " " : "", word, text);
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void
print_option(const struct opt *o)
{
    char left[80], letter[8] = "    ";
    const char *sep = o->kind == OPT_SPIN ? "[=" : "=";

    if (o->letter != 0)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    snprintf(left, sizeof(left), "  %s--%s%s%s%s", letter, o->name, has_value(o) ? sep : "",
             has_value(o) ? o->arg : "", o->kind == OPT_SPIN ? "]" : "");
    if (strlen(left) >= HELP_INDENT)
        printf("%s\n%*s", left, HELP_INDENT, "");
    else
        printf("%-*s", HELP_INDENT, left);
    print_wrapped(o->help, HELP_INDENT);
}

void
opt_help(const struct command *cmd)
{
    printf("usage: lunette %s %s\n\n%s\n\noptions:\n", cmd->name, cmd->args, cmd->about);
    for (const struct opt *o = cmd->opts; o != NULL && o->name != NULL; o++)
        print_option(o);
    if (cmd->json)
        print_option(&json_opt);
    for (const struct opt *o = common_opts; o->name != NULL; o++)
        print_option(o);
    printf("\nfor example:\n");
    for (const char *line = cmd->example; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        printf("  %s%.*s\n", line[0] == '|' ? "" : "lunette ", (int)(n - (line[0] == '|')),
               line + (line[0] == '|'));
        line += line[n] == '\n' ? n + 1 : n;
    }
}
