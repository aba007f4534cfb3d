/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_ping.c - lunette ping: NOP-Out there and back (RFC 7143 11.18). */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/lunette/cli.h"

#define AWAY_NS    1000000000u /* between two pings where there is no connection, at least */
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
    const char *target, *portal;
    bool json;
    uint64_t sent, answered;
    double sum, squares, min, max; /* ns */
    bool last;                     /* the last one was answered */
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

/* The statistics, which the caller frees. */
static char *
ping_statistics(const struct tally *t)
{
    char a[4][TEXT_SIZE], times[160] = "", *text = NULL;

    if (t->json)
        return json_text(json_pack("{s:o, s:s, s:I, s:I, s:{s:f, s:f, s:f, s:f}}", "target",
                                   json_of_name(t->target), "portal", t->portal, "sent",
                                   (json_int_t)t->sent, "answered", (json_int_t)t->answered,
                                   "rtt_us", "min", t->min / 1e3, "mean", mean(t) / 1e3, "max",
                                   t->max / 1e3, "stddev", deviation(t) / 1e3));
    if (t->answered > 0)
        snprintf(times, sizeof(times), "round trip min/mean/max/stddev: %s / %s / %s / %s\n",
                 format_ns(a[0], t->min), format_ns(a[1], mean(t)), format_ns(a[2], t->max),
                 format_ns(a[3], deviation(t)));
    char *encoded = name_encoded(t->target);
    double lost = t->sent == 0 ? 0.0 : 100.0 * (double)(t->sent - t->answered) / (double)t->sent;
    if (asprintf(&text, "--- %s\n%" PRIu64 " sent, %" PRIu64 " answered, %.0f %% lost\n%s", encoded,
                 t->sent, t->answered, lost, times) < 0)
        text = xstrdup("");
    free(encoded);
    return text;
}

/* Sends one and waits for its answer.  Where Ctrl-C ends the program instead, the statistics are
 * printed all the same.  0 or -errno. */
static int
ping_once(struct tally *t, struct lunette_lun *lun, uint64_t size, struct lunette_error *err)
{
    char time[TEXT_SIZE];
    uint64_t ns = 0;

    t->sent++;
    char *words = ping_statistics(t);
    interrupt_last_words(words);
    interrupt_in_call(true);
    int e = lunette_ping(lun, (size_t)size, &ns, err);
    interrupt_in_call(false);
    interrupt_last_words(NULL);
    free(words);
    t->last = e == 0;
    if (e < 0)
        return e;
    ping_add(t, ns);
    if (!t->json) {
        printf("%" PRIu64 " bytes from %s: seq=%" PRIu64 " time=%s\n", size, t->portal, t->sent,
               format_ns(time, (double)ns));
        fflush(stdout);
    }
    return 0;
}

/* Whether there may be an answer to a later ping, where there was none to this one. */
static bool
ping_goes_on(const struct lunette_lun *lun, int e)
{
    struct lunette_session_info s = LUNETTE_INIT(s);

    (void)lunette_get_session_info(lun, &s);
    return (e == -ENOTCONN || e == -ETIMEDOUT) && s.state != LUNETTE_SESSION_GONE;
}

static int
pings(struct cli *cli, const struct ping_opts *o, struct lunette_lun *lun, struct tally *t)
{
    uint64_t count = o->count != 0 ? o->count : t->json ? JSON_COUNT : UINT64_MAX;
    struct lunette_error err = LUNETTE_INIT(err);

    while (t->sent < count && interrupted() == 0) {
        uint64_t start = now_ns(), pause = o->interval_ns;
        int e = ping_once(t, lun, o->size, &err);
        if (e < 0 && !ping_goes_on(lun, e))
            return interrupted() != 0 ? 0 : fail_with(&err, t->portal);
        if (e < 0 && pause < AWAY_NS)
            pause = AWAY_NS;
        if (t->sent == count)
            break;
        int r = wait_until(cli, start + pause);
        if (r < 0)
            return fail_errno(r, "ping");
    }
    return t->last && cli->outages.down == 0 ? 0 : EXIT_CONNECT;
}

static int
run_ping(struct cli *cli, const void *opts, int argc, char **argv)
{
    struct lunette_lun *lun = NULL;
    struct lunette_session_info s = LUNETTE_INIT(s);
    struct tally t = {
        .json = cli->common.json, .target = s.target_name, .portal = s.portal, .last = true};

    (void)argc;
    cli->outages.endless = true;
    int code = cli_open(cli, argv[0], LUNETTE_OPEN_RDONLY | LUNETTE_OPEN_RAW, &lun);
    if (code != 0)
        return code;
    (void)lunette_get_session_info(lun, &s);
    interrupt_catch_in_time("ping");
    code = pings(cli, opts, lun, &t);
    char *text = ping_statistics(&t);
    if (!t.json && interrupted() != 0)
        putchar('\n');
    fputs(text, stdout);
    free(text);
    int r = cli_flush(); /* now, as what follows may wait, and be ended */
    code = code != 0 ? code : r;
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
