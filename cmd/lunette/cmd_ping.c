/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_ping.c - lunette ping: NOP-Out there and back (RFC 7143 11.18). */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/lunette/cli.h"

#define JSON_COUNT 5 /* pings where --json comes without a count, since scripts want an end */

struct ping_opts {
    uint64_t count, interval_ns, size;
};

static const struct ping_opts ping_defaults = {.interval_ns = 1000000000u, .size = 56};

static const struct opt ping_options[] = {
    {"count", 'c', OPT_UINT, offsetof(struct ping_opts, count), "N",
     "stop after N (at Ctrl-C; with --json 5)", 1, 0},
    {"interval", 'i', OPT_SECONDS, offsetof(struct ping_opts, interval_ns), "SECONDS",
     "wait that long between two (1)", 0, 0},
    {"size", 's', OPT_SIZE, offsetof(struct ping_opts, size), "N",
     "bytes that travel there and back (56)", 0, 4096},
    {0},
};

struct tally {
    uint64_t sent, answered;
    double sum, squares, min, max; /* ns */
};

static void
ping_add(struct tally *t, uint64_t ns)
{
    double v = (double)ns;

    if (t->answered == 0 || v < t->min)
        t->min = v;
    if (v > t->max)
        t->max = v;
    t->answered++;
    t->sum += v;
    t->squares += v * v;
}

static double
mean(const struct tally *t)
{
    return t->answered == 0 ? 0 : t->sum / (double)t->answered;
}

static double
deviation(const struct tally *t)
{
    if (t->answered == 0)
        return 0;
    double d = t->squares / (double)t->answered - mean(t) * mean(t);
    return d > 0 ? sqrt(d) : 0;
}

/* Serves the session until that time. */
static int
wait_until(struct cli *cli, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = now_ns();
        if (now >= deadline_ns || interrupted() != 0)
            return 0;
        uint64_t ms = (deadline_ns - now + 999999) / 1000000;
        int r = lunette_ctx_run(cli->ctx, ms < 200 ? (int)ms : 200);
        if (r < 0 && r != -EINTR)
            return r;
    }
}

static int
pings(struct cli *cli, const struct ping_opts *o, struct lunette_lun *lun, const char *portal,
      struct tally *t)
{
    uint64_t count = o->count != 0 ? o->count : cli->common.json ? JSON_COUNT : UINT64_MAX;
    struct lunette_error err = LUNETTE_INIT(err);
    char time[TEXT_SIZE];

    while (t->sent < count && interrupted() == 0) {
        uint64_t ns = 0, start = now_ns();
        t->sent++;
        interrupt_in_call(true);
        int e = lunette_ping(lun, (size_t)o->size, &ns, &err);
        interrupt_in_call(false);
        if (e < 0)
            return interrupted() != 0 ? 0 : fail_with(&err, portal);
        ping_add(t, ns);
        if (!cli->common.json) {
            printf("%" PRIu64 " bytes from %s: seq=%" PRIu64 " time=%s\n", o->size, portal, t->sent,
                   format_ns(time, (double)ns));
            fflush(stdout);
        }
        if (t->sent == count)
            break;
        int r = wait_until(cli, start + o->interval_ns);
        if (r < 0)
            return fail_errno(r, "ping");
    }
    return 0;
}

static int
ping_print_json(const struct tally *t, const char *target, const char *portal)
{
    return json_print(json_pack(
        "{s:o, s:s, s:I, s:I, s:{s:f, s:f, s:f, s:f}}", "target", json_of_name(target), "portal",
        portal, "sent", (json_int_t)t->sent, "answered", (json_int_t)t->answered, "rtt_us", "min",
        t->min / 1e3, "mean", mean(t) / 1e3, "max", t->max / 1e3, "stddev", deviation(t) / 1e3));
}

static void
ping_print(const struct tally *t, const char *target)
{
    char a[4][TEXT_SIZE];

    printf("--- %s\n%" PRIu64 " sent, %" PRIu64 " answered, %.0f %% lost\n", target, t->sent,
           t->answered,
           t->sent == 0 ? 0.0 : 100.0 * (double)(t->sent - t->answered) / (double)t->sent);
    if (t->answered > 0)
        printf("round trip min/mean/max/stddev: %s / %s / %s / %s\n", format_ns(a[0], t->min),
               format_ns(a[1], mean(t)), format_ns(a[2], t->max), format_ns(a[3], deviation(t)));
}

static int
run_ping(struct cli *cli, const void *opts, int argc, char **argv)
{
    struct lunette_lun *lun = NULL;
    struct lunette_session_info s = LUNETTE_INIT(s);
    struct tally t = {0};

    (void)argc;
    int code = cli_open(cli, argv[0], LUNETTE_OPEN_RDONLY | LUNETTE_OPEN_RAW, &lun);
    if (code != 0)
        return code;
    (void)lunette_get_session_info(lun, &s);
    interrupt_catch_in_time();
    code = pings(cli, opts, lun, s.portal, &t);
    if (cli->common.json) {
        int r = ping_print_json(&t, s.target_name, s.portal);
        code = code != 0 ? code : r;
    } else {
        if (interrupted() != 0)
            putchar('\n');
        char *encoded = name_encoded(s.target_name);
        ping_print(&t, encoded);
        free(encoded);
    }
    lunette_close(lun);
    return code;
}

const struct command cmd_ping = {
    .name = "ping",
    .operands = "URL",
    .synopsis = "[-c N] [-i SECONDS] [OPTION...]",
    .summary = "NOP-Out there and back: is the target alive, how far is it",
    .about = "Logs in and sends a NOP-Out every interval; the target sends its data back, which is "
             "compared.  Ends after --count or at Ctrl-C, with statistics.",
    .example = "ping iscsi://192.0.2.1/iqn.2026-11.example:disk -c 5\n"
               "ping iscsi://192.0.2.1/iqn.2026-11.example:disk -c 1000 -i 0 --json",
    .opts = ping_options,
    .defaults = &ping_defaults,
    .opts_size = sizeof(struct ping_opts),
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_ping,
};
