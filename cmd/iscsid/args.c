/* SPDX-License-Identifier: MIT */
#include "cmd/iscsid/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd/common/option_rows.h"

#define THREADS_MAX    64
#define DEBUG_MAX      8
#define TIME_EVERY     512 /* as iscsi-iod has it */
#define TIME_EVERY_MAX 1000000
#define ID_MAX         4294967294L
#define LOOP_KINDS     "auto|epoll|uring" /* as enum loop_kind has them */

enum iscsid_option {
    OPT_ROOT = 256,
    OPT_INSTANCE,
    OPT_IOD,
    OPT_THREADS,
    OPT_TIME,
    OPT_RECORDS,
    OPT_KIND,
    OPT_CLASSIC,
    OPT_SYSFS,
    OPT_FIRMWARE
};

static const struct option_row iscsid_rows[] = {
    {OPT_ROOT, "root", "DIR",
     "keep configuration, records, sockets and run files of an instance below DIR", false},
    {OPT_INSTANCE, "instance", "NAME", "the instance of that name", false},
    {'c', "config", "FILE", "instead of iscsid.conf of the instance", false},
    {'i', "initiatorname", "FILE", "instead of initiatorname.iscsi of the instance", false},
    {OPT_RECORDS, "records", "DIR", "where records are, instead of the instance's", false},
    {OPT_IOD, "iod-socket", "PATH",
     "where a data plane listens that somebody else starts; without it, iscsid starts iscsi-iod "
     "when none runs",
     false},
    {OPT_THREADS, "threads", "N", "threads of the iscsi-iod that it starts (1)", false},
    {OPT_TIME, "time-every", "N",
     "has the iscsi-iod that it starts time one request in N (512); 0: none", false},
    {OPT_CLASSIC, "classic-socket", NULL, "answer the iscsiadm of open-iscsi, too", false},
    {OPT_SYSFS, "sysfs", "DIR", "show sessions below DIR as the kernel would below /sys", false},
    {OPT_FIRMWARE, "firmware", "DIR", "read the firmware's tables there instead of /sys/firmware",
     false},
    {'f', "foreground", NULL, "stay in the foreground and log to standard error", false},
    {'d', "debug", "N", "say more, 0 to 8", false},
    {'u', "uid", "N", "run as that user, when started by root", false},
    {'g', "gid", "N", "run as that group", false},
    {'p', "pid", "FILE", "where to write the process id, instead of iscsid.pid in the run folder",
     false},
    {'n', "no-pid-file", NULL, "write no process id", false},
    {OPT_KIND, "loop", LOOP_KINDS, "how to wait (auto)", false},
    {'h', "help", NULL, "print this and leave", false},
    {'v', "version", NULL, "print the version and leave; so does -V", false},
};

static const struct option_program iscsid_program = {
    .name = "iscsid",
    .usage = "iscsid [OPTION...]",
    .about = "Keeps iSCSI sessions alive: records, logins, and the JSON API of iscsiadm.",
    .end = "SIGTERM and SIGINT end it, and sessions stay with iscsi-iod; SIGHUP has it read\n"
           "its configuration again.\n",
    .rows = iscsid_rows,
    .count = sizeof(iscsid_rows) / sizeof(iscsid_rows[0]),
};

static int
iscsid_complain(const char *what, const char *arg)
{
    (void)fprintf(stderr, "iscsid: %s%s%s\n", what, arg != NULL ? ": " : "",
                  arg != NULL ? arg : "");
    return -EINVAL;
}

static int
iscsid_number(const char *text, long min, long max, const char *what, long *ret)
{
    unsigned long v = 0;

    if (option_number(text, (unsigned long)min, (unsigned long)max, &v) < 0)
        return iscsid_complain(what, text);
    *ret = (long)v;
    return 0;
}

static int
args_kind(const char *text, enum loop_kind *ret)
{
    int kind = option_word(LOOP_KINDS, text);

    if (kind < 0)
        return iscsid_complain("--loop is auto, epoll or uring", text);
    *ret = (enum loop_kind)kind;
    return 0;
}

static int
args_text(const char *what, const char **ret)
{
    if (optarg[0] == '\0')
        return iscsid_complain("nothing stands behind the option, which wants a value", what);
    *ret = optarg;
    return 0;
}

static int
iscsid_small(const char *what, long min, long max, unsigned *ret)
{
    long v = 0;
    int r = iscsid_number(optarg, min, max, what, &v);

    *ret = (unsigned)v;
    return r;
}

static int
args_take(struct iscsid_args *a, int c)
{
    switch (c) {
    case OPT_ROOT:
        return args_text("--root", &a->root);
    case OPT_INSTANCE:
        return args_text("--instance", &a->instance);
    case OPT_IOD:
        return args_text("--iod-socket", &a->iod_socket);
    case OPT_RECORDS:
        return args_text("--records", &a->records);
    case OPT_THREADS:
        return iscsid_small("--threads is 1 to 64", 1, THREADS_MAX, &a->threads);
    case OPT_TIME:
        return iscsid_small("--time-every is 0 to 1000000", 0, TIME_EVERY_MAX, &a->time_every);
    case OPT_SYSFS:
        return args_text("--sysfs", &a->sysfs);
    case OPT_FIRMWARE:
        return args_text("--firmware", &a->firmware);
    case OPT_CLASSIC:
        a->classic_socket = true;
        return 0;
    case OPT_KIND:
        return args_kind(optarg, &a->loop);
    case 'c':
        return args_text("--config", &a->config);
    case 'i':
        return args_text("--initiatorname", &a->initiatorname);
    case 'p':
        return args_text("--pid", &a->pid_file);
    case 'd':
        return iscsid_small("--debug is 0 to 8", 0, DEBUG_MAX, &a->debug);
    case 'u':
        return iscsid_number(optarg, 0, ID_MAX, "--uid is a number", &a->uid);
    case 'g':
        return iscsid_number(optarg, 0, ID_MAX, "--gid is a number", &a->gid);
    case 'f':
        a->foreground = true;
        return 0;
    case 'n':
        a->no_pid_file = true;
        return 0;
    case 'h':
        option_rows_help(&iscsid_program, stdout);
        return 1;
    case 'v':
    case 'V':
        (void)puts("iscsid version " LUNETTE_VERSION);
        return 1;
    default:
        return -EINVAL;
    }
}

int
iscsid_args_parse(struct iscsid_args *a, int argc, char **argv)
{
    struct option longs[OPTION_ROWS_MAX + 1];
    char letters[2 * OPTION_ROWS_MAX + 3];
    int c, r;

    *a = (struct iscsid_args){
        .uid = -1, .gid = -1, .threads = 1, .time_every = TIME_EVERY, .loop = LOOP_AUTO};
    if (argc == 2 && strcmp(argv[1], "--print-options") == 0) {
        option_rows_json(&iscsid_program, stdout);
        return 1;
    }
    option_rows_getopt(&iscsid_program, longs, letters);
    (void)strcat(letters, "V");
    opterr = 0;
    while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (c == '?' || c == ':')
            option_rows_refuse(&iscsid_program, c, optopt, argv[optind - 1]);
        r = args_take(a, c);
        if (r != 0)
            return r;
    }
    if (optind < argc)
        return iscsid_complain("it takes options only", argv[optind]);
    if (a->no_pid_file && a->pid_file != NULL)
        return iscsid_complain("--pid and --no-pid-file exclude each other", NULL);
    return 0;
}
