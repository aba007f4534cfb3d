/* SPDX-License-Identifier: MIT */
#include "cmd/iscsid/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX    64
#define DEBUG_MAX      8
#define TIME_EVERY     512 /* as iscsi-iod has it */
#define TIME_EVERY_MAX 1000000
#define ID_MAX         4294967294L

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

static const struct option iscsid_options[] = {
    {"root", required_argument, NULL, OPT_ROOT},
    {"instance", required_argument, NULL, OPT_INSTANCE},
    {"iod-socket", required_argument, NULL, OPT_IOD},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"time-every", required_argument, NULL, OPT_TIME},
    {"records", required_argument, NULL, OPT_RECORDS},
    {"loop", required_argument, NULL, OPT_KIND},
    {"classic-socket", no_argument, NULL, OPT_CLASSIC},
    {"sysfs", required_argument, NULL, OPT_SYSFS},
    {"firmware", required_argument, NULL, OPT_FIRMWARE},
    {"config", required_argument, NULL, 'c'},
    {"initiatorname", required_argument, NULL, 'i'},
    {"foreground", no_argument, NULL, 'f'},
    {"debug", required_argument, NULL, 'd'},
    {"uid", required_argument, NULL, 'u'},
    {"gid", required_argument, NULL, 'g'},
    {"no-pid-file", no_argument, NULL, 'n'},
    {"pid", required_argument, NULL, 'p'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static const char iscsid_usage[] =
    "usage: iscsid [options]\n"
    "\n"
    "Keeps iSCSI sessions alive: records, logins, and the JSON API of iscsiadm.\n"
    "\n"
    "  --root DIR             keep configuration, records, sockets and run files of\n"
    "                         an instance below DIR\n"
    "  --instance NAME        the instance of that name\n"
    "  -c, --config FILE      instead of iscsid.conf of the instance\n"
    "  -i, --initiatorname FILE\n"
    "                         instead of initiatorname.iscsi of the instance\n"
    "  --records DIR          where records are, instead of the instance's\n"
    "  --iod-socket PATH      where a data plane listens that somebody else starts;\n"
    "                         without it, iscsid starts iscsi-iod when none runs\n"
    "  --threads N            threads of the iscsi-iod that it starts (1)\n"
    "  --time-every N         has the iscsi-iod that it starts time one request in N\n"
    "                         (512); 0: none\n"
    "  --classic-socket       answer the iscsiadm of open-iscsi, too\n"
    "  --sysfs DIR            show sessions below DIR as the kernel would below /sys\n"
    "  --firmware DIR         read the firmware's tables there instead of /sys/firmware\n"
    "  -f, --foreground       stay in the foreground and log to standard error\n"
    "  -d, --debug N          say more, 0 to 8\n"
    "  -u, --uid N            run as that user, when started by root\n"
    "  -g, --gid N            run as that group\n"
    "  -p, --pid FILE         where to write the process id, instead of iscsid.pid\n"
    "                         in the run folder\n"
    "  -n, --no-pid-file      write none\n"
    "  --loop epoll|uring|auto\n"
    "                         how to wait (auto)\n"
    "  -h, --help             this text\n"
    "  -v, --version          the version\n"
    "\n"
    "SIGTERM and SIGINT end it, and sessions stay with iscsi-iod; SIGHUP has it read\n"
    "its configuration again.\n";

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
    char *end;
    long v;

    errno = 0;
    v = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v < min || v > max)
        return iscsid_complain(what, text);
    *ret = v;
    return 0;
}

static int
args_kind(const char *text, enum loop_kind *ret)
{
    static const char *const names[] = {
        [LOOP_AUTO] = "auto", [LOOP_EPOLL] = "epoll", [LOOP_URING] = "uring"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum loop_kind)i;
            return 0;
        }
    }
    return iscsid_complain("--loop is auto, epoll or uring", text);
}

static int
args_text(const char **ret)
{
    if (optarg[0] == '\0')
        return iscsid_complain("an option wants a path and has an empty one", NULL);
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
        return args_text(&a->root);
    case OPT_INSTANCE:
        return args_text(&a->instance);
    case OPT_IOD:
        return args_text(&a->iod_socket);
    case OPT_RECORDS:
        return args_text(&a->records);
    case OPT_THREADS:
        return iscsid_small("--threads is 1 to 64", 1, THREADS_MAX, &a->threads);
    case OPT_TIME:
        return iscsid_small("--time-every is 0 to 1000000", 0, TIME_EVERY_MAX, &a->time_every);
    case OPT_SYSFS:
        return args_text(&a->sysfs);
    case OPT_FIRMWARE:
        return args_text(&a->firmware);
    case OPT_CLASSIC:
        a->classic_socket = true;
        return 0;
    case OPT_KIND:
        return args_kind(optarg, &a->loop);
    case 'c':
        return args_text(&a->config);
    case 'i':
        return args_text(&a->initiatorname);
    case 'p':
        return args_text(&a->pid_file);
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
        (void)fputs(iscsid_usage, stdout);
        return 1;
    case 'v':
        (void)puts("iscsid version " LUNETTE_VERSION);
        return 1;
    default: /* getopt_long has said why */
        (void)fputs("Try `iscsid --help' for more information.\n", stderr);
        return -EINVAL;
    }
}

int
iscsid_args_parse(struct iscsid_args *a, int argc, char **argv)
{
    int c;

    *a = (struct iscsid_args){
        .uid = -1, .gid = -1, .threads = 1, .time_every = TIME_EVERY, .loop = LOOP_AUTO};
    while ((c = getopt_long(argc, argv, "c:i:fd:u:g:np:hv", iscsid_options, NULL)) != -1) {
        int r = args_take(a, c);

        if (r != 0)
            return r;
    }
    if (optind < argc)
        return iscsid_complain("it takes options only", argv[optind]);
    if (a->no_pid_file && a->pid_file != NULL)
        return iscsid_complain("--pid and --no-pid-file exclude each other", NULL);
    return 0;
}
