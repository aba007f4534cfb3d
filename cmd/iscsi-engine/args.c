/* SPDX-License-Identifier: MIT */
#include "cmd/iscsi-engine/args.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cmd/common/option_rows.h"

#define ENGINE_SECONDS_MAX 86400u             /* of --stop-timeout */
#define ENGINE_LOOP_KINDS  "auto|epoll|uring" /* as enum loop_kind has them */
#define ENGINE_USER_MAX    64                 /* bytes of a user's name, with the NUL */

enum engine_option {
    OPT_SOCKET = 256,
    OPT_LOG,
    OPT_STATE,
    OPT_THREADS,
    OPT_FIXED,
    OPT_ALLOW,
    OPT_STOP,
    OPT_KIND,
    OPT_UNCONFINED,
};

static const struct option_row engine_rows[] = {
    {OPT_SOCKET, "socket", "PATH",
     "where clients find it; only its own user and root may come, and whom --allow names.  Not "
     "needed where a service manager hands over a socket",
     false},
    {OPT_STATE, "state", "DIR",
     "where its tables of targets and secrets are kept; without it they end with the process",
     false},
    {OPT_ALLOW, "allow", "USERS",
     "let in processes of these users, too: names or numbers, with commas", true},
    {OPT_FIXED, "fixed", NULL, "clients may use the targets of the table and add none", false},
    {OPT_THREADS, "threads", "N",
     "loops, each on a thread of its own (1); all sessions of a target live on one", false},
    {OPT_LOG, "log", "FILE",
     "where it says what happens, instead of stderr; when that has 4 MiB it becomes FILE.1", false},
    {OPT_STOP, "stop-timeout", "SECONDS",
     "how long sessions may take to be logged out when it is stopped (15)", false},
    {OPT_KIND, "loop", ENGINE_LOOP_KINDS, "how to wait (auto)", false},
    {OPT_UNCONFINED, "unconfined", NULL, "do not give up system calls that it has no need of",
     false},
    {'f', "foreground", NULL, "it never goes to the background; this is for symmetry", false},
    {'v', "verbose", NULL, "say what happens on stderr; twice for more", true},
    {'h', "help", NULL, "print this and leave", false},
    {'V', "version", NULL, "print the version and leave", false},
};

static const struct option_program engine_program = {
    .name = "iscsi-engine",
    .usage = "iscsi-engine --socket PATH [OPTION...]",
    .about = "iSCSI sessions that several processes share, as if it were an adapter.",
    .end = "SIGTERM and SIGINT end it: clients are sent away, and sessions are logged out.\n",
    .rows = engine_rows,
    .count = sizeof(engine_rows) / sizeof(engine_rows[0]),
};

static int
engine_complain(const char *what, const char *arg)
{
    (void)fprintf(stderr, "iscsi-engine: %s%s%s\n", what, arg != NULL ? ": " : "",
                  arg != NULL ? arg : "");
    return -EINVAL;
}

static int
engine_take_path(const char **ret, const char *what)
{
    *ret = optarg;
    return optarg[0] != '\0' ? 0 : engine_complain(what, NULL);
}

static int
engine_take_user(struct engine_args *a, const char *user)
{
    const struct passwd *pw;
    unsigned long n = 0;

    if (a->nallow == ENGINE_ALLOW_MAX)
        return engine_complain("--allow takes 64 users", NULL);
    if (option_number(user, 0, UINT32_MAX - 1, &n) < 0) {
        pw = getpwnam(user);
        if (pw == NULL)
            return engine_complain("--allow: there is no such user", user);
        n = pw->pw_uid;
    }
    a->allow[a->nallow++] = (uid_t)n;
    return 0;
}

static int
engine_take_users(struct engine_args *a, const char *text)
{
    char user[ENGINE_USER_MAX];
    int r = 0;

    while (r == 0) {
        size_t len = strcspn(text, ",");

        if (len == 0 || len >= sizeof(user))
            return engine_complain("--allow wants users with commas between them", text);
        memcpy(user, text, len);
        user[len] = '\0';
        r = engine_take_user(a, user);
        if (text[len] == '\0')
            return r;
        text += len + 1;
    }
    return r;
}

static int
engine_take_number(unsigned max, const char *what, unsigned *ret)
{
    unsigned long v = 0;

    if (option_number(optarg, 1, max, &v) < 0)
        return engine_complain(what, optarg);
    *ret = (unsigned)v;
    return 0;
}

static int
engine_take_stop(struct engine_args *a)
{
    unsigned s = 0;
    int r = engine_take_number(ENGINE_SECONDS_MAX, "--stop-timeout is 1 to 86400 seconds", &s);

    a->stop_ms = s * 1000;
    return r;
}

static int
engine_take_kind(struct engine_args *a)
{
    int kind = option_word(ENGINE_LOOP_KINDS, optarg);

    if (kind < 0)
        return engine_complain("--loop is auto, epoll or uring", optarg);
    a->loop = (enum loop_kind)kind;
    return 0;
}

static int
engine_take_option(struct engine_args *a, int c)
{
    switch (c) {
    case OPT_SOCKET:
        return engine_take_path(&a->socket, "--socket wants a path");
    case OPT_LOG:
        return engine_take_path(&a->log, "--log wants a path");
    case OPT_STATE:
        return engine_take_path(&a->state, "--state wants a path");
    case OPT_THREADS:
        return engine_take_number(CREW_LOOPS_MAX, "--threads is 1 to 64", &a->threads);
    case OPT_ALLOW:
        return engine_take_users(a, optarg);
    case OPT_STOP:
        return engine_take_stop(a);
    case OPT_KIND:
        return engine_take_kind(a);
    case OPT_FIXED:
        a->fixed = true;
        return 0;
    case OPT_UNCONFINED:
        a->unconfined = true;
        return 0;
    case 'f':
        return 0;
    case 'v':
        a->verbose++;
        return 0;
    case 'h':
        option_rows_help(&engine_program, stdout);
        return 1;
    case 'V':
        (void)puts("iscsi-engine " LUNETTE_VERSION);
        return 1;
    default:
        return -EINVAL;
    }
}

int
engine_args_parse(struct engine_args *a, int argc, char **argv)
{
    struct option longs[OPTION_ROWS_MAX + 1];
    char letters[2 * OPTION_ROWS_MAX + 2];
    int c;

    *a = (struct engine_args){.threads = 1, .loop = LOOP_AUTO, .stop_ms = ENGINE_STOP_MS};
    if (argc == 2 && strcmp(argv[1], "--print-options") == 0) {
        option_rows_json(&engine_program, stdout);
        return 1;
    }
    option_rows_getopt(&engine_program, longs, letters);
    opterr = 0;
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (c == '?' || c == ':')
            option_rows_refuse(&engine_program, c, optopt, argv[optind - 1]);
        int r = engine_take_option(a, c);

        if (r != 0)
            return r;
    }
    if (optind < argc)
        return engine_complain("it takes options only", argv[optind]);
    return 0;
}
