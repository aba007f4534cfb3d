/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_bench.c - lunette bench: keeps a queue full and measures.
 *
 * One clock reading per batch of completions; nothing is allocated and nothing
 * is printed between the first request and the last, but where the connection is lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cmd/lunette/buffers.h"
#include "cmd/lunette/cli.h"
#include "cmd/lunette/hist.h"
#include "cmd/lunette/share.h"

#define BATCH      128
#define ERRORS_MAX 100
#define POLL_MS    100
#define STOP_NS    300000000u /* after Ctrl-C, for the requests that are under way */

enum workload { RANDREAD, RANDWRITE, READ, WRITE, RANDRW, RW };
#define WORKLOADS "randread|randwrite|read|write|randrw|rw"
static const char *const workload_names[] = {"randread", "randwrite", "read",
                                             "write",    "randrw",    "rw"};

struct bench_opts {
    uint64_t rw, bs, depth, time_ns, mix, size, offset, ios;
};

static const struct bench_opts bench_defaults = {
    .bs = 4096, .depth = 32, .time_ns = 5000000000u, .mix = 70};

static const struct opt bench_options[] = {
    {"rw", 0, OPT_CHOICE, offsetof(struct bench_opts, rw), WORKLOADS,
     "what to do (randread); all but randread and read overwrite the LUN", 0, 0},
    {"bs", 0, OPT_SIZE, offsetof(struct bench_opts, bs), "SIZE", "bytes of one request (4k)", 512,
     16 << 20},
    {"depth", 0, OPT_UINT, offsetof(struct bench_opts, depth), "N",
     "requests that are under way at a time (32)", 1, 4096},
    {"time", 0, OPT_SECONDS, offsetof(struct bench_opts, time_ns), "SECONDS",
     "how long (5); 1.5, 500ms, 2m", 1000000, 0},
    {"mix", 0, OPT_UINT, offsetof(struct bench_opts, mix), "PERCENT",
     "share of reads with randrw and rw (70)", 0, 100},
    {"size", 0, OPT_SIZE, offsetof(struct bench_opts, size), "SIZE",
     "stay within that many bytes (the whole LUN)", 0, 0},
    {"offset", 0, OPT_SIZE, offsetof(struct bench_opts, offset), "N",
     "begin at that byte of the LUN (0)", 0, 0},
    {"ios", 0, OPT_UINT, offsetof(struct bench_opts, ios), "N",
     "stop after that many requests, if the time is not over before", 0, 0},
    {0},
};

/* The upper half of the product. */
static inline uint64_t
multiply_high(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 uint128;

    return (uint64_t)((uint128)a * b >> 64);
#else
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t middle = ah * bl + (al * bl >> 32);

    return ah * bh + (middle >> 32) + ((al * bh + (uint32_t)middle) >> 32);
#endif
}

struct slot {
    char *buf;
    uint64_t start_ns, offset;
    bool write;
};

struct bench {
    const struct bench_opts *o;
    const struct cli *cli;
    struct lunette_queue *q;
    struct slot *slots;
    struct buffers buffers;
    struct lunette_error err; /* the first */
    uint64_t blocks;          /* requests that fit into the region */
    uint64_t next, random, begun, ios, errors, reads, bytes;
    bool at_random;
    uint32_t reads_of_2_16; /* share of reads, in 1/65536 */
    uint64_t start_ns, end_ns;
    struct lunette_session_info session; /* as it was at the beginning, */
    struct lunette_conn_info conn;       /* with its first connection */
    struct rusage before, after;
    struct lunette_ctx_stats stats_before, stats_after;
    uint32_t given_up;         /* requests that were under way without a connection at the end */
    uint64_t outages, down_ns; /* without a connection */
    uint64_t conns_lost;       /* while the session went on */
    uint64_t stop_ns;          /* when Ctrl-C was noticed */
    struct hist hist;
};

/* xorshift64*: cheap, and far from the point of this program. */
static uint64_t
next_random(struct bench *b)
{
    b->random ^= b->random >> 12;
    b->random ^= b->random << 25;
    b->random ^= b->random >> 27;
    return b->random * 0x2545f4914f6cdd1dull;
}

/* What the workload says, in the form that each request asks for. */
static void
set_workload(struct bench *b)
{
    enum workload w = (enum workload)b->o->rw;

    b->at_random = w == RANDREAD || w == RANDWRITE || w == RANDRW;
    b->reads_of_2_16 = w == RANDREAD || w == READ ? 0x10000
                       : w == RANDWRITE || w == WRITE
                           ? 0
                           : (uint32_t)((b->o->mix * 0x10000 + 50) / 100);
}

static inline bool
is_write(struct bench *b)
{
    if (b->reads_of_2_16 == 0x10000 || b->reads_of_2_16 == 0)
        return b->reads_of_2_16 == 0;
    return next_random(b) >> 48 >= b->reads_of_2_16;
}

static inline uint64_t
next_offset(struct bench *b)
{
    uint64_t n;

    if (b->at_random) { /* a multiplication spreads as well as a division, and costs less */
        n = multiply_high(next_random(b), b->blocks);
    } else {
        n = b->next++;
        if (b->next == b->blocks)
            b->next = 0;
    }
    return b->o->offset + n * b->o->bs;
}

static inline int
bench_begin(struct bench *b, struct slot *s, uint64_t now)
{
    s->write = is_write(b);
    s->offset = next_offset(b);
    s->start_ns = now;
    return s->write ? lunette_queue_write(b->q, s->buf, (size_t)b->o->bs, s->offset, 0, s)
                    : lunette_queue_read(b->q, s->buf, (size_t)b->o->bs, s->offset, s);
}

static void __attribute__((noinline, cold))
account_error(struct bench *b, const struct lunette_completion *c, const struct slot *s)
{
    if (b->given_up > 0 && c->err == -ECANCELED)
        return;
    if (b->errors++ == 0)
        error_of_completion(&b->err, b->q, c, s->write ? "writing" : "reading", s->offset);
}

static inline void
account(struct bench *b, const struct lunette_completion *c, const struct slot *s, uint64_t now)
{
    if (__builtin_expect(c->err != 0, 0)) {
        account_error(b, c, s);
        return;
    }
    hist_add(&b->hist, now - s->start_ns);
    b->reads += !s->write;
}

/* How many requests may be begun now. */
static uint64_t
may_begin(const struct bench *b, uint64_t now)
{
    if (now >= b->end_ns || interrupted() != 0 || b->errors >= ERRORS_MAX ||
        b->err.code == -ENOTCONN)
        return 0;
    return b->o->ios == 0 ? UINT64_MAX : b->o->ios - b->begun;
}

/* Accounts for n completions, and begins as many requests again.  0 or -errno of the queue. */
static int
turn(struct bench *b, const struct lunette_completion *c, int n, uint64_t now)
{
    uint64_t left = may_begin(b, now);

    for (int i = 0; i < n; i++) {
        struct slot *s = c[i].user_data;

        account(b, &c[i], s, now);
        if (__builtin_expect(c[i].err != 0, 0))
            left = may_begin(b, now);
        if (__builtin_expect(left == 0, 0))
            continue;
        int r = bench_begin(b, s, now);
        if (__builtin_expect(r < 0, 0))
            return r;
        left--;
        b->begun++;
    }
    return 0;
}

/* Nothing has come for a while.  Where the time is over, what waits for a connection is given up.
 * True: what is under way is not waited for any longer. */
static bool __attribute__((noinline, cold)) bench_idle(struct bench *b, uint64_t now)
{
    if (now < b->end_ns && interrupted() == 0)
        return false;
    if (b->cli->outages.down > 0 && b->given_up == 0) {
        b->given_up = lunette_queue_inflight(b->q);
        for (uint64_t i = 0; i < b->o->depth; i++)
            (void)lunette_queue_cancel(b->q, &b->slots[i]);
        return false;
    }
    if (interrupted() == 0)
        return false;
    if (b->stop_ns == 0) {
        b->stop_ns = now;
        interrupt_tell("bench", lunette_queue_inflight(b->q));
    }
    return now - b->stop_ns >= STOP_NS;
}

/* The I/O phase.  0 or -errno of the queue itself. */
static int
bench_loop(struct bench *b)
{
    struct lunette_completion c[BATCH];
    uint64_t now = now_ns();
    int r = 0;

    b->start_ns = now;
    b->end_ns = now + b->o->time_ns;
    for (uint64_t i = 0; i < b->o->depth && may_begin(b, now) > 0; i++, b->begun++) {
        r = bench_begin(b, &b->slots[i], now);
        if (r < 0)
            return r;
    }
    while (r == 0 && lunette_queue_inflight(b->q) > 0) {
        int n = lunette_queue_poll(b->q, c, BATCH, 1, POLL_MS);
        if (n < 0 && n != -EINTR)
            return n;
        now = now_ns();
        if (__builtin_expect(n == 0 && bench_idle(b, now), 0))
            break;
        r = turn(b, c, n, now);
    }
    b->end_ns = now;
    b->ios = b->hist.count;
    b->bytes = b->ios * b->o->bs;
    return r;
}

static double
us_per_io(struct timeval a, struct timeval b, uint64_t ios)
{
    double us = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_usec - a.tv_usec);

    return ios == 0 ? 0 : us / (double)ios;
}

static double
per_io(uint64_t before, uint64_t after, uint64_t ios)
{
    return ios == 0 ? 0 : (double)(after - before) / (double)ios;
}

static double
seconds(const struct bench *b)
{
    return (double)(b->end_ns - b->start_ns + 1) / 1e9;
}

static double
share_used(const struct bench *b)
{
    return cpu_share(&b->before, &b->after, b->end_ns - b->start_ns);
}

/* Busy polling uses a CPU whether or not it is the limit, so that its share says nothing. */
static bool
share_tells(const struct cli *cli)
{
    return cli->common.spin_us == 0;
}

static bool
limited_by_cpu(const struct bench *b, const struct cli *cli)
{
    return share_tells(cli) && cpu_is_limit(share_used(b), b->end_ns - b->start_ns);
}

static int
bench_print_json(const struct bench *b, const struct cli *cli)
{
    const struct hist *h = &b->hist;
    double mean = h->count == 0 ? 0 : (double)h->sum / (double)h->count;
    json_t *lat = json_pack("{s:f, s:f, s:f, s:f, s:f}", "mean", mean / 1e3, "p50",
                            (double)hist_percentile(h, 0.5) / 1e3, "p99",
                            (double)hist_percentile(h, 0.99) / 1e3, "p999",
                            (double)hist_percentile(h, 0.999) / 1e3, "max", (double)h->max / 1e3);
    json_t *cpu =
        json_pack("{s:f, s:f}", "user", us_per_io(b->before.ru_utime, b->after.ru_utime, b->ios),
                  "system", us_per_io(b->before.ru_stime, b->after.ru_stime, b->ios));

    return json_print(json_pack(
        "{s:s, s:I, s:I, s:s, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:f, s:o, s:f, s:I, s:I, s:f, "
        "s:I, s:o, s:o}",
        "rw", workload_names[b->o->rw], "bs", (json_int_t)b->o->bs, "depth",
        (json_int_t)b->o->depth, "loop", lunette_ctx_loop_name(cli->ctx), "ios", (json_int_t)b->ios,
        "reads", (json_int_t)b->reads, "seconds", seconds(b), "iops", (double)b->ios / seconds(b),
        "bytes_per_second", (double)b->bytes / seconds(b), "latency_us", lat, "cpu_us_per_io", cpu,
        "cpu_percent", 100 * share_used(b), "cpu_is_limit",
        share_tells(cli) ? json_boolean(limited_by_cpu(b, cli)) : json_null(), "syscalls_per_io",
        per_io(b->stats_before.syscalls, b->stats_after.syscalls, b->ios), "errors",
        (json_int_t)b->errors, "outages", (json_int_t)b->outages, "outage_seconds",
        (double)b->down_ns / 1e9, "connections_lost", (json_int_t)b->conns_lost, "transport",
        json_of_name(b->session.transport), "carrier", json_of_name(b->conn.carrier)));
}

static void
print_table(const struct bench *b, const struct cli *cli)
{
    const struct hist *h = &b->hist;
    char t[6][TEXT_SIZE];
    double mean = h->count == 0 ? 0 : (double)h->sum / (double)h->count;

    printf("%s, %s requests, depth %" PRIu64 ", %s%s", workload_names[b->o->rw],
           format_size_short(t[0], b->o->bs), b->o->depth, lunette_ctx_loop_name(cli->ctx),
           cli->common.spin_us > 0 ? ", busy polling" : "");
    if (b->conn.carrier[0] != '\0')
        printf(", %s by %s", b->session.transport, b->conn.carrier);
    putchar('\n');
    printf("  requests   %14" PRIu64 "  in %.2f s\n", b->ios, seconds(b));
    if (b->reads > 0 && b->reads < b->ios)
        printf("  reads      %14" PRIu64 "  (%.0f %%)\n", b->reads,
               100.0 * (double)b->reads / (double)b->ios);
    printf("  per second %14.0f  %s\n", (double)b->ios / seconds(b),
           format_rate(t[0], (double)b->bytes / seconds(b)));
    printf("  latency    %14s  mean\n", format_ns(t[0], mean));
    printf("             50 %%: %s, 99 %%: %s, 99.9 %%: %s, max: %s\n",
           format_ns(t[1], (double)hist_percentile(h, 0.5)),
           format_ns(t[2], (double)hist_percentile(h, 0.99)),
           format_ns(t[3], (double)hist_percentile(h, 0.999)), format_ns(t[4], (double)h->max));
    double user = us_per_io(b->before.ru_utime, b->after.ru_utime, b->ios);
    double sys = us_per_io(b->before.ru_stime, b->after.ru_stime, b->ios);
    printf("  CPU        %11.2f us  per request\n"
           "             user %.2f us, system %.2f us, %.2f system calls\n",
           user + sys, user, sys,
           per_io(b->stats_before.syscalls, b->stats_after.syscalls, b->ios));
    if (b->outages > 0)
        printf("  outages    %14" PRIu64 "  in all %s without a connection\n", b->outages,
               format_ns(t[0], (double)b->down_ns));
    if (b->conns_lost > 0)
        printf("  connections lost %8" PRIu64 "  and the session went on\n", b->conns_lost);
    if (b->errors > 0)
        printf("  errors     %14" PRIu64 "\n", b->errors);
}

static int
print_result(const struct bench *b, const struct cli *cli)
{
    int code = 0;

    if (cli->common.json)
        code = bench_print_json(b, cli);
    else
        print_table(b, cli);
    if (limited_by_cpu(b, cli)) {
        note("bench: this process used %.0f %% of a CPU, which is the limit here",
             100 * share_used(b));
        hint("the LUN may be faster");
    }
    return code;
}

static int
measure(struct cli *cli, struct bench *b)
{
    char pattern[8];

    b->slots = xmalloc(b->o->depth * sizeof(*b->slots));
    buffers_init(&b->buffers, cli, b->o->depth, b->o->bs);
    for (uint64_t i = 0; i < b->o->depth; i++) {
        b->slots[i].buf = buffers_at(&b->buffers, i);
        for (uint64_t at = 0; at + 8 <= b->o->bs; at += 8) { /* nothing that compresses */
            uint64_t r = next_random(b);
            memcpy(pattern, &r, 8);
            memcpy(b->slots[i].buf + at, pattern, 8);
        }
    }
    interrupt_catch_in_time("bench");
    uint64_t outages = cli->outages.count, down_ns = outage_down_ns(cli);
    uint64_t conns_lost = cli->outages.conns;
    (void)lunette_ctx_get_stats(cli->ctx, &b->stats_before);
    getrusage(RUSAGE_SELF, &b->before);
    int r = bench_loop(b);
    b->outages = cli->outages.count - outages;
    b->down_ns = outage_down_ns(cli) - down_ns;
    b->conns_lost = cli->outages.conns - conns_lost;
    getrusage(RUSAGE_SELF, &b->after);
    (void)lunette_ctx_get_stats(cli->ctx, &b->stats_after);
    if (r < 0 && b->err.code == 0)
        (void)lunette_queue_explain(b->q, &(struct lunette_completion){.err = r}, "the queue",
                                    &b->err);
    return r;
}

static bool
only_reads(const struct bench_opts *o)
{
    return o->rw == RANDREAD || o->rw == READ;
}

/* Finds how many requests fit into the part that was asked for.  0 or an exit code. */
static int
bench_region(const struct bench_opts *o, const struct lunette_info *info, const char *url,
             uint64_t *ret_blocks)
{
    uint64_t room = o->offset < info->size ? info->size - o->offset : 0;

    if (info->read_only && !only_reads(o)) {
        fail_usage("%s: the device is write protected", url);
        return EXIT_SCSI;
    }
    if (info->block_size == 0 || o->bs % info->block_size != 0 || o->offset % info->block_size != 0)
        return fail_usage("bench: --bs and --offset must be multiples of the block size, %u",
                          info->block_size);
    if (room == 0 || o->size > room)
        return fail_usage("bench: --%s=%llu reaches past the end: the LUN has %llu bytes",
                          room == 0 ? "offset" : "size",
                          (unsigned long long)(room == 0 ? o->offset : o->size),
                          (unsigned long long)info->size);
    *ret_blocks = (o->size != 0 ? o->size : room) / o->bs;
    return *ret_blocks > 0 ? 0
                           : fail_usage("bench: no request of %llu bytes fits into that part of "
                                        "the LUN",
                                        (unsigned long long)o->bs);
}

/* The exit code where nothing has failed. */
static int
bench_code(const struct bench *b, const char *url)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (interrupted() != 0)
        return EXIT_SIGNAL + interrupted();
    if (b->given_up == 0)
        return 0;
    error_of_code(&err, -ENOTCONN, "no connection at the end");
    snprintf(err.msg, sizeof(err.msg), "no connection at the end: %u request%s given up",
             (unsigned)b->given_up, b->given_up == 1 ? " was" : "s were");
    return fail_with(&err, url);
}

static int
bench_lun(struct cli *cli, const struct bench_opts *o, struct lunette_lun *lun, const char *url)
{
    struct bench *b = xmalloc(sizeof(*b));
    struct lunette_error err = LUNETTE_INIT(err);

    b->o = o;
    b->cli = cli;
    set_workload(b);
    b->random = now_ns() | 1;
    struct lunette_info info = LUNETTE_INIT(info);
    (void)lunette_get_info(lun, &info);
    b->session.struct_size = sizeof(b->session);
    b->conn.struct_size = sizeof(b->conn);
    (void)lunette_get_session_info(lun, &b->session);
    (void)lunette_session_get_conn(lunette_lun_session(lun), 0, &b->conn);
    int code = bench_region(o, &info, url, &b->blocks);
    if (code == 0 && lunette_queue_new(lun, (uint32_t)o->depth, &b->q, &err) < 0)
        code = fail_with(&err, url);
    if (code == 0) {
        int r = measure(cli, b);
        if (r == 0)
            code = print_result(b, cli);
        if (code == 0)
            code = cli_flush(); /* now, as what follows may wait, and be ended */
        if (b->err.code != 0)
            code = fail_with(&b->err, url);
        else if (code == 0)
            code = bench_code(b, url);
        lunette_queue_free(b->q);
        buffers_fini(&b->buffers);
        free(b->slots);
    }
    free(b);
    return code;
}

static int
run_bench(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct bench_opts *o = opts;
    struct lunette_lun *lun = NULL;

    (void)argc;
    int code = cli_open(cli, argv[0], only_reads(o) ? LUNETTE_OPEN_RDONLY : 0, &lun);
    if (code != 0)
        return code;
    char *public = url_public(argv[0]);
    code = bench_lun(cli, o, lun, public);
    free(public);
    lunette_close(lun);
    return code;
}

const struct command cmd_bench = {
    .name = "bench",
    .operands = "URL",
    .synopsis = "[--rw=WORKLOAD] [--bs=SIZE] [--depth=N] [--time=SECONDS] [OPTION...]",
    .summary = "requests per second, bandwidth, latency and CPU of a LUN",
    .about = "Keeps --depth requests under way for --time seconds and measures.  Workloads that "
             "write destroy what is on the LUN; the default, randread, does not write.",
    .example = "bench iscsi://192.0.2.1/iqn.2026-11.example:disk/0\n"
               "bench 'iscsi://192.0.2.1/iqn.2026-11.example:disk/0?nr_connections=4'\n"
               "bench iscsi://192.0.2.1/iqn.2026-11.example:disk/0 --rw write --bs 1M --depth 8 "
               "--json",
    .opts = bench_options,
    .defaults = &bench_defaults,
    .opts_size = sizeof(struct bench_opts),
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_bench,
};
