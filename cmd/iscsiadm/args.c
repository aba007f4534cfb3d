/* SPDX-License-Identifier: MIT */
#include "cmd/iscsiadm/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "cmd/common/option_rows.h"
#include "cmd/iscsiadm/adm.h"

#define GIVEN_MAX 64 /* different options of one command line; there are fewer */

static const char *const op_names[] = {"new",   "delete",   "update", "show",  "nonpersistent",
                                       "apply", "applyall", "login",  "logout"};

/* Which options were given, each once and in their order, to be held against the mode at the end.
 */
struct given {
    int opts[GIVEN_MAX];
    int count;
    bool unknown; /* getopt has complained */
};

static void
given_note(struct given *g, int opt)
{
    g->unknown |= opt == '?';
    for (int i = 0; i < g->count; i++)
        if (g->opts[i] == opt)
            return;
    if (g->count < GIVEN_MAX)
        g->opts[g->count++] = opt;
}

static int
args_range(const char *what, const char *text, int64_t min, int64_t max, int64_t *ret)
{
    char *end = NULL;
    long long n = 0;

    errno = 0;
    if (text[0] >= '0' && text[0] <= '9')
        n = strtoll(text, &end, 10);
    if (end == NULL || *end != '\0' || errno != 0 || n < min || n > max) {
        adm_error("%s wants a number from %lld to %lld, not '%s'", what, (long long)min,
                  (long long)max, text);
        return -EINVAL;
    }
    *ret = n;
    return 0;
}

static int
args_number(const char *what, const char *text, int64_t max, int64_t *ret)
{
    return args_range(what, text, 0, max, ret);
}

static int
args_small(const char *what, const char *text, int max, int *ret)
{
    int64_t n = 0;
    int r = args_number(what, text, max, &n);

    *ret = r == 0 ? (int)n : *ret;
    return r;
}

/* Says which word was meant, or else which there are. */
static void
args_meant(const struct adm_args *a, const char *typed, const char *const *words, size_t count)
{
    struct suggest s = {.typed = typed};
    char list[256] = "";

    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(list);

        suggest_try(&s, words[i]);
        (void)snprintf(list + n, sizeof(list) - n, "%s%s",
                       i == 0           ? ""
                       : i + 1 == count ? " and "
                                        : ", ",
                       words[i]);
    }
    if (s.best != NULL)
        (void)fprintf(stderr, "  did you mean %s?\n", s.best);
    else
        adm_advice(a, "it is one of %s", list);
}

static int
args_op(struct adm_args *a, const char *text)
{
    for (unsigned i = 0; i < sizeof(op_names) / sizeof(op_names[0]); i++) {
        if (strcmp(text, op_names[i]) == 0) {
            a->ops |= 1u << i;
            return 0;
        }
    }
    adm_error("can not recognize operation: '%s'", text);
    args_meant(a, text, op_names, sizeof(op_names) / sizeof(op_names[0]));
    return -EINVAL;
}

/* Was a port given?  A text with two or more colons and without brackets is an address alone. */
static bool
args_has_port(const char *text)
{
    const char *end = strchr(text, ']'), *colon = strchr(end != NULL ? end : text, ':');

    return colon != NULL && (end != NULL || strchr(colon + 1, ':') == NULL);
}

static int
args_portal(struct adm_args *a, const char *text)
{
    struct lunette_error err;

    if (portal_parse(text, strlen(text), &a->portal, &err) < 0) {
        adm_error("%s", err.msg);
        return -EINVAL;
    }
    a->has_portal = true;
    a->has_port = args_has_port(text);
    return 0;
}

/* A number, or a path below /sys, in which the session stands as a folder. */
static int
args_sid(struct adm_args *a, const char *text)
{
    const char *at = strstr(text, "/session");
    char digits[16];

    if (at == NULL)
        return args_number("--sid", text, UINT32_MAX, &a->sid);
    at += strlen("/session");
    (void)snprintf(digits, sizeof(digits), "%.*s", (int)strspn(at, "0123456789"), at);
    if (digits[0] != '\0' && args_number("--sid", digits, UINT32_MAX, &a->sid) == 0)
        return 0;
    adm_error("invalid sid '%s'", text);
    return -EINVAL;
}

/* When both are there they are a pair.  A value may be a secret, and ps(1) shows it: once it has
 * been copied it is overwritten, in whatever way it was written (-vX, --val=X). */
static int
args_pair(struct adm_args *a)
{
    if (a->name == NULL || a->value == NULL)
        return 0;
    if (json_array_append_new(a->values, json_pack("[s, s]", a->name, a->value)) < 0) {
        adm_error("--value must be text in UTF-8");
        return -EINVAL;
    }
    memset(a->value, '*', strlen(a->value));
    a->name = a->value = NULL;
    return 0;
}

static int
args_iface(struct adm_args *a, const char *text)
{
    if (text[0] == '\0' || strlen(text) > 64) {
        adm_error("Invalid iface name '%s'. Must be from 1 to 64 characters.", text);
        return -EINVAL;
    }
    if (a->ifaces_count == ADM_IFACES_MAX) {
        adm_error("too many --interface");
        return -EINVAL;
    }
    a->ifaces[a->ifaces_count++] = text;
    return 0;
}

static void
args_mode(struct adm_args *a, const char *text)
{
    a->mode = ADM_MODE_NONE;
    for (unsigned i = 0; i < ADM_MODES; i++)
        if (strcmp(text, adm_mode_names[i]) == 0)
            a->mode = (enum adm_mode)i;
}

static int
args_kill(struct adm_args *a, const char *text)
{
    a->kill = true;
    if (strcmp(text, "0") == 0)
        return 0;
    adm_error("Invalid killiscsid priority %s. Priority must be zero.", text);
    return -EINVAL;
}

/* OWNER:SECONDS; the owner may have colons of its own. */
static int
args_lease(struct adm_args *a, const char *text)
{
    const char *colon = strrchr(text, ':');

    if (colon == NULL || colon == text || colon - text > ADM_OWNER_MAX) {
        adm_error("--lease wants OWNER:SECONDS, with a name of 1 to %d bytes, not '%s'",
                  ADM_OWNER_MAX, text);
        return -EINVAL;
    }
    free(a->lease_owner);
    a->lease_owner = strndup(text, (size_t)(colon - text));
    if (a->lease_owner == NULL) {
        adm_error("out of memory");
        return -ENOMEM;
    }
    if (strcmp(colon + 1, "0") == 0) {
        adm_error("a lease of 0 seconds holds no session; --release OWNER ends one");
        return -EINVAL;
    }
    return args_range("the time of --lease, in seconds,", colon + 1, 1, ADM_LEASE_S_MAX,
                      &a->lease_s);
}

/* Options that only have to be noted: where, and what. */
static bool
args_note(struct adm_args *a, int opt, const char *arg)
{
    switch (opt) {
    case 'T':
        a->target = arg;
        return true;
    case 't':
        a->type = arg;
        return true;
    case 'H':
        a->host = arg;
        return true;
    case 'C':
        a->submode = arg;
        return true;
    case 'a':
        a->ip = arg;
        return true;
    case 'L':
        a->login_all = arg;
        return true;
    case 'U':
        a->logout_all = arg;
        return true;
    case ADM_LONG_CAPTURE:
        a->capture = arg;
        return true;
    case ADM_LONG_EXPORT:
        a->export_kind = arg;
        return true;
    case ADM_LONG_RELEASE:
        a->release = arg;
        return true;
    case ADM_LONG_ROOT:
        a->root = arg;
        return true;
    case ADM_LONG_INSTANCE:
        a->instance = arg;
        return true;
    default:
        return false;
    }
}

static bool
args_flag(struct adm_args *a, int opt)
{
    const struct {
        int opt;
        bool *flag;
    } flags[] = {
        {'R', &a->rescan},
        {'D', &a->discover},
        {'l', &a->login},
        {'u', &a->logout},
        {'s', &a->stats},
        {'S', &a->show},
        {'W', &a->no_wait},
        {ADM_LONG_JSON, &a->json},
        {ADM_LONG_WHY, &a->why},
        {ADM_LONG_LEASES_ONLY, &a->leases_only},
        {ADM_LONG_FLIGHT, &a->flight},
        {ADM_LONG_NO_PAYLOAD, &a->no_payload},
        {ADM_LONG_UNEXPORT, &a->unexport},
        {ADM_LONG_READ_ONLY, &a->read_only},
        {ADM_LONG_NO_START, &a->no_start},
        {ADM_LONG_HISTOGRAM, &a->histogram},
    };

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (flags[i].opt == opt) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static int
args_one(struct adm_args *a, int opt, char *arg)
{
    int ignored = 0;

    if (args_note(a, opt, arg) || args_flag(a, opt))
        return 0;
    switch (opt) {
    case 'm':
        args_mode(a, arg);
        return 0;
    case 'o':
        return args_op(a, arg);
    case 'p':
        return args_portal(a, arg);
    case 'I':
        return args_iface(a, arg);
    case 'n':
        a->name = arg;
        return args_pair(a);
    case 'v':
        a->value = arg;
        return args_pair(a);
    case 'r':
        return args_sid(a, arg);
    case 'P':
        return args_small("--print", arg, 100, &a->level);
    case 'd':
        return args_small("--debug", arg, 8, &a->debug);
    case 'k':
        return args_kill(a, arg);
    case ADM_LONG_LEASE:
        return args_lease(a, arg);
    case ADM_LONG_LUN:
        return args_number("--lun", arg, 16383, &a->lun);
    case ADM_LONG_SECONDS:
        return args_range("--seconds", arg, 1, UINT32_MAX, &a->seconds);
    case 'c':
        return args_range("--count", arg, 1, INT32_MAX, &a->count);
    case 'x':
        return args_range("--index", arg, 0, INT32_MAX, &a->index);
    case 'i':
        return args_small("--interval", arg, INT32_MAX, &a->interval);
    case 'b':
        return args_small(adm_option_name(opt), arg, INT32_MAX, &ignored);
    default: /* --portal_type, which the address of a record says by itself */
        return 0;
    }
}

static int
args_hint(void)
{
    (void)fprintf(stderr, "Try `iscsiadm --help' for more information.\n");
    return -EINVAL;
}

/* Says what a mode does not take, as scripts know it. */
static int
args_check(const struct adm_args *a, const struct given *g, const char *mode_word)
{
    if (a->kill) /* a mistyped --root would end another daemon than was meant */
        return g->unknown ? args_hint() : 0;
    if (mode_word == NULL) {
        adm_error("no mode specified");
        return args_hint();
    }
    if (a->mode == ADM_MODE_NONE) {
        adm_error("mode -1 is not yet supported");
        args_meant(a, mode_word, adm_mode_names, ADM_MODES);
        return -EINVAL;
    }
    for (int i = 0; i < g->count; i++) {
        int opt = g->opts[i];

        if (opt == '?')
            return args_hint();
        if (adm_option_allowed(a->mode, opt))
            continue;
        if (opt < 256)
            adm_error("%s mode: option '-%c' is not allowed/supported", adm_mode_names[a->mode],
                      opt);
        else
            adm_error("%s mode: option '--%s' is not allowed/supported", adm_mode_names[a->mode],
                      adm_option_name(opt));
        return -EINVAL;
    }
    if (a->ifaces_count > 1 && a->mode != ADM_DISCOVERY && a->mode != ADM_DISCOVERYDB) {
        adm_error("%s mode takes one --interface", adm_mode_names[a->mode]);
        return -EINVAL;
    }
    if ((a->ops & ADM_NEW) && (a->name != NULL || a->value != NULL)) {
        adm_error("--name and --value make a pair: one of them is missing");
        return -EINVAL;
    }
    return 0;
}

int
adm_args_parse(struct adm_args *a, int argc, char **argv)
{
    struct given g = {.count = 0};
    const char *mode_word = NULL;
    int opt, r = 0;

    *a = (struct adm_args){.mode = ADM_MODE_NONE, .sid = -1, .lun = -1, .index = -1, .level = -1};
    a->values = adm_made(json_array());
    if (argc == 2 && strcmp(argv[1], "--print-options") == 0) {
        adm_options_print(stdout);
        return 1;
    }
    while (r == 0 && (opt = getopt_long(argc, argv, adm_letters, adm_options, NULL)) >= 0) {
        if (opt == 'h') {
            adm_options_usage(stdout);
            return 1;
        }
        if (opt == 'V') {
            (void)puts("iscsiadm version " LUNETTE_VERSION);
            return 1;
        }
        given_note(&g, opt);
        if (opt == '?' && optopt == 0)
            option_meant(adm_options, argv[optind - 1]); /* getopt has said that there is none */
        if (opt == 'm')
            mode_word = optarg;
        r = opt == '?' ? 0 : args_one(a, opt, optarg);
    }
    if (a->value != NULL) /* without a name */
        memset(a->value, '*', strlen(a->value));
    if (r == 0)
        r = args_check(a, &g, mode_word);
    if (r == 0 && optind < argc) {
        if (a->name != NULL) /* whose value it may be, and that a secret */
            adm_error("there is an argument too many; does it belong to --value?");
        else
            adm_error("there is an argument too many: '%s'", argv[optind]);
        r = -EINVAL;
    }
    return r;
}

void
adm_args_free(struct adm_args *a)
{
    json_decref(a->values);
    a->values = NULL;
    free(a->lease_owner);
    a->lease_owner = NULL;
}
