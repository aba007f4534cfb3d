/* SPDX-License-Identifier: MIT */
#include "cmd/iscsi-iod/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd/common/option_rows.h"
#include "dataplane/dataplane.h"

#define SECONDS_MAX 86400u             /* of --grace and --stop-timeout */
#define LOOP_KINDS  "auto|epoll|uring" /* as enum loop_kind has them */

enum iod_option { OPT_SOCKET = 256, OPT_LOG, OPT_THREADS, OPT_GRACE, OPT_STOP, OPT_TIME, OPT_KIND };

static const struct option_row iod_rows[] = {
    {OPT_SOCKET, "socket", "PATH",
     "where control planes find it; only its owner and root may come.  Not needed where a service "
     "manager hands over a socket",
     false},
    {OPT_LOG, "log", "FILE",
     "where it says what happens, instead of stderr; when that has 4 MiB it becomes FILE.1", false},
    {OPT_THREADS, "threads", "N",
     "loops, each on a thread of its own (1); a session with all that belongs to it lives on one",
     false},
    {OPT_GRACE, "grace", "SECONDS",
     "how long it keeps for the next control plane what one has left half-made (60)", false},
    {OPT_STOP, "stop-timeout", "SECONDS",
     "how long exports may take to end and disks to be flushed when it is stopped (20)", false},
    {OPT_TIME, "time-every", "N",
     "time one request in N, or more where there are few (512); 0: none", false},
    {OPT_KIND, "loop", LOOP_KINDS, "how to wait (auto)", false},
    {'f', "foreground", NULL, "it never goes to the background; this is for symmetry", false},
    {'v', "verbose", NULL, "say what happens on stderr; twice for more", true},
    {'h', "help", NULL, "print this and leave", false},
    {'V', "version", NULL, "print the version and leave", false},
};

static const struct option_program iod_program = {
    .name = "iscsi-iod",
    .usage = "iscsi-iod --socket PATH [OPTION...]",
    .about = "The iSCSI data plane: sessions, disks and their exports, for a control plane.",
    .end = "SIGTERM and SIGINT end it: exports end, disks are flushed, and sessions are\n"
           "dropped without a logout.\n",
    .rows = iod_rows,
    .count = sizeof(iod_rows) / sizeof(iod_rows[0]),
};

static int
iod_complain(const char *what, const char *arg)
{
    (void)fprintf(stderr, "iscsi-iod: %s%s%s\n", what, arg != NULL ? ": " : "",
                  arg != NULL ? arg : "");
    return -EINVAL;
}

static int
iod_parse_number(const char *text, unsigned min, unsigned max, const char *what, unsigned *ret)
{
    unsigned long v = 0;

    if (option_number(text, min, max, &v) < 0)
        return iod_complain(what, text);
    *ret = (unsigned)v;
    return 0;
}

static int
iod_parse_seconds(const char *text, const char *what, uint32_t *ret_ms)
{
    unsigned s = 0;
    int r = iod_parse_number(text, 1, SECONDS_MAX, what, &s);

    *ret_ms = s * 1000;
    return r;
}

static int
parse_kind(const char *text, enum loop_kind *ret)
{
    int kind = option_word(LOOP_KINDS, text);

    if (kind < 0)
        return iod_complain("--loop is auto, epoll or uring", text);
    *ret = (enum loop_kind)kind;
    return 0;
}

static int
iod_take_option(struct iod_args *a, int c)
{
    switch (c) {
    case OPT_SOCKET:
        a->socket = optarg;
        return optarg[0] != '\0' ? 0 : iod_complain("--socket wants a path", NULL);
    case OPT_LOG:
        a->log = optarg;
        return optarg[0] != '\0' ? 0 : iod_complain("--log wants a path", NULL);
    case OPT_THREADS:
        return iod_parse_number(optarg, 1, IOD_LOOPS_MAX, "--threads is 1 to 64", &a->threads);
    case OPT_GRACE:
        return iod_parse_seconds(optarg, "--grace is 1 to 86400 seconds", &a->grace_ms);
    case OPT_STOP:
        return iod_parse_seconds(optarg, "--stop-timeout is 1 to 86400 seconds", &a->stop_ms);
    case OPT_TIME:
        return iod_parse_number(optarg, 0, 1000000, "--time-every is 0 to 1000000",
                                &a->watch_every);
    case OPT_KIND:
        return parse_kind(optarg, &a->loop);
    case 'f':
        return 0;
    case 'v':
        a->verbose++;
        return 0;
    case 'h':
        option_rows_help(&iod_program, stdout);
        return 1;
    case 'V':
        (void)puts("iscsi-iod " LUNETTE_VERSION);
        return 1;
    default:
        return -EINVAL;
    }
}

int
iod_args_parse(struct iod_args *a, int argc, char **argv)
{
    struct option longs[OPTION_ROWS_MAX + 1];
    char letters[2 * OPTION_ROWS_MAX + 2];
    int c;

    *a = (struct iod_args){.threads = 1,
                           .loop = LOOP_AUTO,
                           .grace_ms = DATAPLANE_GRACE_MS,
                           .stop_ms = IOD_STOP_MS,
                           .watch_every = BDEV_WATCH_EVERY};
    if (argc == 2 && strcmp(argv[1], "--print-options") == 0) {
        option_rows_json(&iod_program, stdout);
        return 1;
    }
    option_rows_getopt(&iod_program, longs, letters);
    opterr = 0;
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (c == '?' || c == ':')
            option_rows_refuse(&iod_program, c, optopt, argv[optind - 1]);
        int r = iod_take_option(a, c);

        if (r != 0)
            return r;
    }
    if (optind < argc)
        return iod_complain("it takes options only", argv[optind]);
    return 0;
}
