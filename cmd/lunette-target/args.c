/* SPDX-License-Identifier: MIT */
#include "cmd/lunette-target/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret_file.h"
#include "cmd/common/option_rows.h"
#include "cmd/lunette-target/options.h"
#include "wire/chap.h"
#include "wire/credentials.h"

#define SECRET_MIN    12        /* bytes that RFC 7143 9.2.1 wants at least */
#define CHAP_FILE_MAX 2048      /* bytes */
#define US_MAX        10000000u /* of --spin-us and --pace-us: 10 s */

static int
args_complain(const char *what, const char *arg)
{
    (void)fprintf(stderr, "lunette-target: %s%s%s\n", what, arg != NULL ? ": " : "",
                  arg != NULL ? arg : "");
    return -EINVAL;
}

/* As args_complain, about a word that may be a USER:SECRET in the wrong place: what stands behind
 * its colon is not shown. */
static int
complain_of_word(const char *what, const char *word)
{
    size_t n = strcspn(word, ":");

    (void)fprintf(stderr, "lunette-target: %s: %.*s%s\n", what, (int)n, word,
                  word[n] != '\0' ? ":..." : "");
    return -EINVAL;
}

/* Takes the secret of USER:SECRET out of a word of the command line, where ps(1) shows it. */
static void
hide_secret(char *word)
{
    char *secret = word + strcspn(word, ":");

    memset(secret, '\0', strlen(secret));
}

/* Takes one direction's name and secret: a copy of them, with NULs, becomes *slot. */
static int
set_account(char **slot, const struct credentials_text *name, const struct credentials_text *secret)
{
    if (name->text == NULL && secret->text == NULL)
        return 0;
    if (name->text == NULL || secret->text == NULL)
        return args_complain("a CHAP name goes with a secret, and a secret with a name", NULL);
    if (*slot != NULL)
        return args_complain("a target has one CHAP secret for each direction", NULL);
    *slot = malloc(name->len + secret->len + 2);
    if (*slot == NULL)
        return args_complain("out of memory", NULL);
    memcpy(*slot, name->text, name->len);
    (*slot)[name->len] = '\0';
    memcpy(*slot + name->len + 1, secret->text, secret->len);
    (*slot)[name->len + 1 + secret->len] = '\0';
    if (secret->len < SECRET_MIN)
        (void)fprintf(stderr,
                      "lunette-target: warning: a CHAP secret of %zu bytes is easily guessed; RFC "
                      "7143 wants %d or more, and some initiators refuse less\n",
                      secret->len, SECRET_MIN);
    return 0;
}

/* NULL: it cannot be read, or others can; stderr says why. */
static FILE *
open_chap_file(const char *path)
{
    FILE *f = fopen(path, "re");
    struct stat st;

    if (f == NULL || fstat(fileno(f), &st) < 0) {
        (void)complain_of_word(strerror(errno), path);
    } else if (!secret_file_is_private(&st)) {
        (void)complain_of_word("the CHAP file can be read or changed by others; chmod 600 it",
                               path);
    } else {
        return f;
    }
    if (f != NULL)
        (void)fclose(f);
    return NULL;
}

static int
set_credentials(struct args_node *n, const struct credentials *c)
{
    const struct credentials_text *f = c->field;
    int r = set_account(&n->chap, &f[CREDENTIALS_NAME], &f[CREDENTIALS_SECRET]);

    if (r == 0)
        r = set_account(&n->mutual, &f[CREDENTIALS_MUTUAL_NAME], &f[CREDENTIALS_MUTUAL_SECRET]);
    if (r == 0 && n->chap != NULL) {
        n->cfg.chap_user = n->chap;
        n->cfg.chap_secret = n->chap + strlen(n->chap) + 1;
    }
    if (r == 0 && n->mutual != NULL) {
        n->cfg.mutual_user = n->mutual;
        n->cfg.mutual_secret = n->mutual + strlen(n->mutual) + 1;
    }
    return r;
}

/* Takes USER:SECRET of an option or of the environment. */
static int
set_chap(struct args_node *n, const char *text, const char *from, bool mutual)
{
    struct credentials c = {.field = {{NULL, 0}}};
    struct lunette_error err;

    if (credentials_read(&c, text, strlen(text), from, &err) < 0)
        return args_complain(err.msg, NULL);
    if (mutual) {
        c.field[CREDENTIALS_MUTUAL_NAME] = c.field[CREDENTIALS_NAME];
        c.field[CREDENTIALS_MUTUAL_SECRET] = c.field[CREDENTIALS_SECRET];
        c.field[CREDENTIALS_NAME] = c.field[CREDENTIALS_SECRET] =
            (struct credentials_text){NULL, 0};
    }
    return set_credentials(n, &c);
}

static int
read_chap_file(struct args_node *n, const char *path)
{
    struct credentials c = {.field = {{NULL, 0}}};
    char text[CHAP_FILE_MAX];
    struct lunette_error err;
    FILE *f = open_chap_file(path);
    size_t len;
    int r;

    if (f == NULL)
        return -EINVAL;
    (void)setvbuf(f, NULL, _IONBF, 0); /* no copy of the secret in between */
    len = fread(text, 1, sizeof(text), f);
    (void)fclose(f);
    if (len == sizeof(text))
        r = args_complain("the CHAP file is too long", path);
    else if (credentials_read(&c, text, len, path, &err) < 0)
        r = args_complain(err.msg, NULL);
    else if (c.field[CREDENTIALS_SECRET].text == NULL &&
             c.field[CREDENTIALS_MUTUAL_SECRET].text == NULL)
        r = args_complain("the CHAP file holds no USER:SECRET", path);
    else
        r = set_credentials(n, &c);
    chap_wipe(text, sizeof(text));
    return r;
}

/* Makes room for one more item behind the first `count` of an array that grows by doubling.  What
 * is in it may move. */
static int
grow(void **array, uint32_t count, size_t item)
{
    void *p = *array;

    if ((count & (count - 1)) != 0)
        return 0; /* count is no power of 2: there is room up to the next one */
    p = realloc(p, item * (count == 0 ? 1 : 2 * (size_t)count));
    if (p == NULL)
        return -ENOMEM;
    *array = p;
    return 0;
}

static int
add_listen(struct args *a, const char *at, bool iser)
{
    if (a->listen_count == ARGS_LISTEN_MAX)
        return args_complain("too many --listen", NULL);
    a->listen[a->listen_count].at = at;
    a->listen[a->listen_count++].iser = iser;
    return 0;
}

static int
add_node(struct args *a, const char *name)
{
    if (a->nodes_count == TARGET_NODES_MAX)
        return args_complain("too many targets", NULL);
    if (grow((void **)&a->nodes, a->nodes_count, sizeof(*a->nodes)) < 0)
        return args_complain("out of memory", NULL);
    a->nodes[a->nodes_count++] = (struct args_node){.cfg = {.name = name}};
    return 0;
}

static int
add_lun(struct args_node *n, const char *text)
{
    struct lunette_error err;

    if (n->cfg.luns_count == ARGS_LUNS_MAX)
        return args_complain("too many LUNs", NULL);
    if (grow((void **)&n->luns, n->cfg.luns_count, sizeof(*n->luns)) < 0)
        return args_complain("out of memory", NULL);
    n->luns[n->cfg.luns_count] = (struct lu_config){.kind = LU_RAM};
    if (lu_config_parse(text, &n->luns[n->cfg.luns_count], &err) < 0)
        return args_complain(err.msg, NULL);
    n->cfg.luns_count++;
    return 0;
}

static int
set_one(struct args_node *n, const char *key, const char *value)
{
    if (n->cfg.set_count == ARGS_SET_MAX)
        return args_complain("too many --set", NULL);
    n->set[n->cfg.set_count++] = (struct target_key_value){key, value};
    return 0;
}

static int
add_set(struct args_node *n, char *text)
{
    char *eq = strchr(text, '=');

    if (eq == NULL || eq == text)
        return args_complain("--set wants KEY=VALUE", text);
    *eq = '\0';
    return set_one(n, text, eq + 1);
}

static int
node_option(struct args *a, int opt, char *arg)
{
    struct args_node *n;
    int r;

    if (a->nodes_count == 0)
        return args_complain("--target must come before what is about it", NULL);
    n = &a->nodes[a->nodes_count - 1];
    switch (opt) {
    case OPT_LUN:
        return add_lun(n, arg);
    case OPT_ALIAS:
        n->cfg.alias = arg;
        return 0;
    case OPT_CHAP:
    case OPT_MUTUAL:
        r = set_chap(n, arg, opt == OPT_MUTUAL ? "--mutual-chap" : "--chap", opt == OPT_MUTUAL);
        hide_secret(arg);
        return r;
    case OPT_CHAP_FILE:
        return read_chap_file(n, arg);
    case OPT_SET:
        return add_set(n, arg);
    case OPT_MAX_CONNECTIONS:
        return set_one(n, "MaxConnections", arg);
    case OPT_RECOVERY_LEVEL:
        return set_one(n, "ErrorRecoveryLevel", arg);
    default:
        n->cfg.redirect = arg;
        n->cfg.redirect_permanent = opt == OPT_REDIRECT_PERMANENT;
        return 0;
    }
}

static int
loop_option(struct args *a, const char *arg)
{
    static const char *const kinds[] = {"auto", "epoll", "uring"};

    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(arg, kinds[i]) == 0) {
            a->loop.kind = (enum loop_kind)i;
            return 0;
        }
    }
    return args_complain("--loop is epoll, uring or auto, not", arg);
}

/* Microseconds, in digits only. */
static int
take_us(const char *option, const char *arg, uint32_t *ret)
{
    unsigned long long n = 0;
    char *end = NULL;

    errno = 0;
    if (arg[0] >= '0' && arg[0] <= '9')
        n = strtoull(arg, &end, 10);
    if (end == NULL || *end != '\0' || errno != 0 || n > US_MAX) {
        (void)fprintf(stderr, "lunette-target: %s wants microseconds, 0 to %u, not: %s\n", option,
                      US_MAX, arg);
        return -EINVAL;
    }
    *ret = (uint32_t)n;
    return 0;
}

/* Says what is wrong with an option, opt being '?' or ':', and which one may have been meant. */
static int
refuse_option(const struct option *longs, int opt, const char *word)
{
    (void)complain_of_word(opt == '?' ? "unknown option" : "a value must follow", word);
    option_meant(longs, word);
    (void)fputs("  lunette-target --help tells the options\n", stderr);
    return -EINVAL;
}

static int
one_option(struct args *a, int opt, char *arg)
{
    switch (opt) {
    case OPT_LISTEN:
    case OPT_LISTEN_ISER:
        return add_listen(a, arg, opt == OPT_LISTEN_ISER);
    case OPT_ISER_KEEP_STAGS:
        a->iser_keep_stags = true;
        return 0;
    case OPT_TARGET:
        return add_node(a, arg);
    case OPT_LOOP:
        return loop_option(a, arg);
    case OPT_SPIN:
        return take_us("--spin-us", arg, &a->loop.spin_us);
    case OPT_PACE:
        return take_us("--pace-us", arg, &a->pace_us);
    case 'v':
        a->verbose++;
        return 0;
    case 'h':
        (void)fputs(options_usage, stdout);
        return 1;
    case 'V':
        (void)puts("lunette-target " LUNETTE_VERSION);
        return 1;
    default:
        return node_option(a, opt, arg);
    }
}

/* What holds for all targets. */
static int
complete(struct args *a)
{
    const char *chap = getenv("LUNETTE_TARGET_CHAP");

    if (a->nodes_count == 0) {
        (void)args_complain("there is no --target", NULL);
        (void)fputs(
            "  for example: lunette-target --target iqn.2026-11.example:disk --lun ram:1G\n",
            stderr);
        return -EINVAL;
    }
    a->cfgs = calloc(a->nodes_count, sizeof(*a->cfgs));
    if (a->cfgs == NULL)
        return args_complain("out of memory", NULL);
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        struct args_node *n = &a->nodes[i];

        n->cfg.luns = n->luns;
        n->cfg.set = n->set;
        if (n->cfg.luns_count == 0 && n->cfg.redirect == NULL)
            return args_complain("no --lun for target", n->cfg.name);
        if (chap != NULL && n->chap == NULL && set_chap(n, chap, "LUNETTE_TARGET_CHAP", false) < 0)
            return -EINVAL;
        a->cfgs[i] = n->cfg;
    }
    if (a->listen_count == 0)
        return add_listen(a, "127.0.0.1:3260", false);
    return 0;
}

int
args_parse(struct args *a, int argc, char **argv)
{
    struct option longs[OPTION_ROWS_MAX + 1];
    char letters[2 * OPTION_ROWS_MAX + 2];
    int opt, r;

    *a = (struct args){.loop = {.kind = LOOP_AUTO}, .pace_us = TARGET_PACE_US};
    if (argc == 2 && strcmp(argv[1], "--print-options") == 0) {
        option_rows_json(&options_program,
                         stdout); /* for generators of completions: not in --help */
        return 1;
    }
    opterr = 0; /* getopt's own messages would show what follows a = */
    option_rows_getopt(&options_program, longs, letters);
    while ((opt = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (opt == '?' || opt == ':')
            return refuse_option(longs, opt, argv[optind - 1]);
        r = one_option(a, opt, optarg);
        if (r != 0)
            return r;
    }
    if (optind < argc)
        return complain_of_word("what is this", argv[optind]);
    return complete(a);
}

void
args_free(struct args *a)
{
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        free(a->nodes[i].luns);
        free(a->nodes[i].chap);
        free(a->nodes[i].mutual);
    }
    free(a->nodes);
    free(a->cfgs);
}
