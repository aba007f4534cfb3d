/* SPDX-License-Identifier: MIT */
#include "tests/bench/load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000u
#define US_PER_S 1000000u
#define MIB      ((uint64_t)1 << 20)

#define VERIFY_REGION     (64 * MIB) /* if no other is given */
#define NULL_TARGET_CYCLE MIB        /* bytes after which its pattern begins again */
#define UNTOUCHED         0xa5       /* what is in a buffer before a read is compared */

enum option_id {
    OPT_URL = 1,
    OPT_OP,
    OPT_BS,
    OPT_DEPTH,
    OPT_SESSIONS,
    OPT_RANDOM,
    OPT_SECS,
    OPT_WARM,
    OPT_IOS,
    OPT_REGION,
    OPT_ENGINE,
    OPT_PEER_ENGINE,
    OPT_SPIN,
    OPT_ZERO_COPY,
    OPT_LOWAT,
    OPT_CPU,
    OPT_PEER_CPU,
    OPT_VERIFY,
    OPT_HELP,
};

static const struct option options[] = {
    {"url", required_argument, NULL, OPT_URL},
    {"op", required_argument, NULL, OPT_OP},
    {"bs", required_argument, NULL, OPT_BS},
    {"depth", required_argument, NULL, OPT_DEPTH},
    {"sessions", required_argument, NULL, OPT_SESSIONS},
    {"random", no_argument, NULL, OPT_RANDOM},
    {"secs", required_argument, NULL, OPT_SECS},
    {"warm", required_argument, NULL, OPT_WARM},
    {"ios", required_argument, NULL, OPT_IOS},
    {"region", required_argument, NULL, OPT_REGION},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"peer-engine", required_argument, NULL, OPT_PEER_ENGINE},
    {"spin-us", required_argument, NULL, OPT_SPIN},
    {"zero-copy", no_argument, NULL, OPT_ZERO_COPY},
    {"lowat", required_argument, NULL, OPT_LOWAT},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"peer-cpu", required_argument, NULL, OPT_PEER_CPU},
    {"verify", required_argument, NULL, OPT_VERIFY},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static const char usage_text[] =
    "  --url URL             the unit; digests by its keys\n"
    "  --op read|write       what to do (read)\n"
    "  --bs BYTES            of a request (4096)\n"
    "  --depth N             requests under way at a time, of each session (32)\n"
    "  --sessions N          sessions, or connections of the bare sockets (1)\n"
    "  --random              at random places, not one behind the other\n"
    "  --secs S              how long to measure (1)\n"
    "  --warm S              how long to run before that (0.3)\n"
    "  --ios N               exactly so many requests, all measured, instead\n"
    "  --region BYTES        stay in the first bytes of the unit\n"
    "  --engine NAME         epoll, uring; the bare sockets also spin\n"
    "  --peer-engine NAME    the same for the peer of the bare sockets (epoll)\n"
    "  --spin-us N           busy polling before sleeping, microseconds (0)\n"
    "  --zero-copy           lunette: lends the data of writes to the system\n"
    "  --lowat BYTES         SO_RCVLOWAT of the bare sockets' large reads (0: not set)\n"
    "  --cpu N               runs there\n"
    "  --peer-cpu N          the peer of the bare sockets runs there\n"
    "  --verify pattern|zero|write\n"
    "                        compare what is read: with the pattern of the null target, with\n"
    "                        zeroes, or with what a first pass has written\n";

void
load_die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    exit(1);
}

uint64_t
load_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void
load_pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        load_die("CPU %d: %s", cpu, strerror(errno));
}

/* ---- options -------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) usage(const struct load *l, int status)
{
    (void)fprintf(status == 0 ? stdout : stderr, "usage: load_%s [OPTION...]\n%s", l->name,
                  usage_text);
    exit(status);
}

static uint64_t
number(const struct load *l, const char *text, uint64_t min, uint64_t max)
{
    char *end;

    errno = 0;
    uint64_t n = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || n < min || n > max) {
        (void)fprintf(stderr, "%s: want a number of %" PRIu64 " to %" PRIu64 "\n", text, min, max);
        usage(l, 2);
    }
    return n;
}

static double
seconds_option(const struct load *l, const char *text)
{
    char *end;
    double s = strtod(text, &end);

    if (end == text || *end != '\0' || !(s >= 0 && s < 1e6))
        usage(l, 2);
    return s;
}

static bool
is_write(const struct load *l, const char *text)
{
    if (strcmp(text, "read") != 0 && strcmp(text, "write") != 0)
        usage(l, 2);
    return text[0] == 'w';
}

static enum load_verify
verify_option(const struct load *l, const char *text)
{
    static const char *const names[] = {"none", "pattern", "zero", "write"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0)
            return (enum load_verify)i;
    }
    usage(l, 2);
}

static void
workload_option(struct load *l, enum option_id id, const char *arg)
{
    if (id == OPT_OP)
        l->write = is_write(l, arg);
    else if (id == OPT_BS)
        l->bs = number(l, arg, 512, 16 * MIB);
    else if (id == OPT_DEPTH)
        l->depth = (uint32_t)number(l, arg, 1, LOAD_DEPTH_MAX);
    else if (id == OPT_SESSIONS)
        l->sessions = (uint32_t)number(l, arg, 1, LOAD_SESSIONS_MAX);
    else if (id == OPT_RANDOM)
        l->random = true;
    else if (id == OPT_SECS)
        l->secs = seconds_option(l, arg);
    else if (id == OPT_WARM)
        l->warm = seconds_option(l, arg);
    else if (id == OPT_IOS)
        l->ios = number(l, arg, 1, UINT64_MAX);
    else if (id == OPT_REGION)
        l->region = number(l, arg, 1, UINT64_MAX);
}

static void
how_option(struct load *l, enum option_id id, const char *arg)
{
    if (id == OPT_URL)
        l->url = arg;
    else if (id == OPT_ENGINE)
        l->engine = arg;
    else if (id == OPT_PEER_ENGINE)
        l->peer_engine = arg;
    else if (id == OPT_SPIN)
        l->spin_us = (uint32_t)number(l, arg, 0, US_PER_S);
    else if (id == OPT_ZERO_COPY)
        l->zero_copy = true;
    else if (id == OPT_LOWAT)
        l->lowat = (uint32_t)number(l, arg, 0, 1u << 30);
    else if (id == OPT_CPU)
        l->cpu = (int)number(l, arg, 0, CPU_SETSIZE - 1);
    else if (id == OPT_PEER_CPU)
        l->peer_cpu = (int)number(l, arg, 0, CPU_SETSIZE - 1);
    else if (id == OPT_VERIFY)
        l->verify = verify_option(l, arg);
}

void
load_options(struct load *l, const char *name, int argc, char **argv)
{
    int id;

    *l = (struct load){.name = name,
                       .engine = "auto",
                       .peer_engine = "epoll",
                       .bs = 4096,
                       .depth = 32,
                       .sessions = 1,
                       .secs = 1,
                       .warm = 0.3,
                       .cpu = -1,
                       .peer_cpu = -1,
                       .peer_cpu_us = -1,
                       .seed = 2463534242u};
    while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (id == OPT_HELP || id == '?')
            usage(l, id == OPT_HELP ? 0 : 2);
        if (id >= OPT_OP && id <= OPT_REGION)
            workload_option(l, (enum option_id)id, optarg);
        else
            how_option(l, (enum option_id)id, optarg);
    }
    if (optind != argc)
        usage(l, 2);
    load_pin(l->cpu);
}

/* ---- memory and places ---------------------------------------------------------------------- */

struct load_io *
load_ios_new(const struct load *l, uint32_t n)
{
    struct load_io *ios = calloc(n, sizeof(*ios));

    for (uint32_t i = 0; ios != NULL && i < n; i++) {
        void *buf;

        if (posix_memalign(&buf, 4096, l->bs) != 0)
            load_die("no memory");
        memset(buf, (int)(i + 1), l->bs);
        ios[i].buf = buf;
    }
    if (ios == NULL)
        load_die("no memory");
    return ios;
}

void
load_ios_free(struct load_io *ios, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free(ios[i].buf);
    free(ios);
}

void
load_target_size(struct load *l, uint64_t bytes, uint32_t block_size)
{
    uint64_t region = l->region;

    if (region == 0 && l->verify != LOAD_VERIFY_NONE)
        region = VERIFY_REGION;
    if (region == 0 || region > bytes)
        region = bytes;
    l->positions = region / l->bs;
    if (l->positions > UINT32_MAX)
        l->positions = UINT32_MAX;
    if (block_size == 0 || l->bs % block_size != 0)
        load_die("the unit's blocks have %" PRIu32 " bytes: no multiple is --bs", block_size);
    if (l->positions == 0)
        load_die("no request of %" PRIu64 " bytes fits into the unit", l->bs);
}

/* ---- the data ------------------------------------------------------------------------------- */

/* The word that stands at a place: the place and the pass, well mixed. */
static uint64_t
pattern_word(const struct load *l, uint64_t offset)
{
    uint64_t x = offset ^ l->pattern_seed;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint8_t
null_target_byte(uint64_t offset)
{
    return (uint8_t)((offset % NULL_TARGET_CYCLE) * 131 >> 3);
}

void
load_fill(struct load *l, struct load_io *io)
{
    if (!l->write) {
        memset(io->buf, UNTOUCHED, l->bs);
        return;
    }
    for (uint64_t i = 0; i < l->bs; i += sizeof(uint64_t)) {
        uint64_t word = pattern_word(l, io->offset + i);

        memcpy(io->buf + i, &word, sizeof(word));
    }
}

static uint8_t
expected_byte(const struct load *l, uint64_t offset)
{
    uint64_t word;

    if (l->verify == LOAD_VERIFY_ZERO)
        return 0;
    if (l->verify == LOAD_VERIFY_PATTERN)
        return null_target_byte(offset);
    word = pattern_word(l, offset & ~(uint64_t)7);
    uint8_t bytes[sizeof(word)];
    memcpy(bytes, &word, sizeof(word));
    return bytes[offset & 7];
}

void
load_compare(struct load *l, const struct load_io *io)
{
    if (l->write)
        return;
    for (uint64_t i = 0; i < l->bs; i++) {
        uint8_t got = (uint8_t)io->buf[i], want = expected_byte(l, io->offset + i);

        if (got != want)
            load_die("wrong data: byte %" PRIu64 " of the unit is %02x, not %02x", io->offset + i,
                     got, want);
    }
    l->compared++;
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void
snapshot(struct load *l, struct rusage *usage, uint64_t *syscalls)
{
    (void)getrusage(RUSAGE_SELF, usage);
    if (l->syscalls != NULL)
        *syscalls = l->syscalls(l->syscalls_user);
}

static void
measure(struct load *l)
{
    l->measuring = true;
    l->measure_ns = l->now_ns;
    l->end_ns = l->ios != 0 ? UINT64_MAX : l->now_ns + (uint64_t)(l->secs * NS_PER_S);
    l->done_before = l->done;
    snapshot(l, &l->before, &l->syscalls_before);
}

static void
stop(struct load *l)
{
    l->measuring = false;
    l->stopped = true;
    l->limit = 0;
    l->end_ns = l->now_ns;
    l->done_after = l->done;
    snapshot(l, &l->after, &l->syscalls_after);
}

/* The time of the phase is over: that before the batch whose completions are about to be counted.
 */
void
load_phase(struct load *l)
{
    if (l->measuring)
        stop(l);
    else if (!l->stopped)
        measure(l);
}

static void
run_pass(struct load *l, void (*loop)(struct load *l))
{
    l->begun = l->done = 0;
    l->limit = l->ios != 0 ? l->ios : UINT64_MAX;
    l->stopped = l->measuring = false;
    l->now_ns = l->start_ns = load_now_ns();
    l->end_ns = l->now_ns + (uint64_t)(l->warm * NS_PER_S);
    if (l->ios != 0)
        measure(l);
    loop(l);
    l->now_ns = load_now_ns();
    if (!l->stopped)
        stop(l);
    l->done_all_passes += l->done;
}

static double
per_io(const struct load *l, double x)
{
    uint64_t ios = l->done_after - l->done_before;

    return ios == 0 ? 0 : x / (double)ios;
}

static double
timeval_us(struct timeval from, struct timeval to)
{
    return (double)(to.tv_sec - from.tv_sec) * US_PER_S + (double)(to.tv_usec - from.tv_usec);
}

double
load_rusage_us(const struct rusage *r)
{
    struct timeval zero = {0};

    return timeval_us(zero, r->ru_utime) + timeval_us(zero, r->ru_stime);
}

static void
print_number(const char *key, bool known, double x)
{
    if (known)
        printf(", \"%s\": %.4f", key, x);
    else
        printf(", \"%s\": null", key);
}

void
load_print(const struct load *l)
{
    uint64_t ios = l->done_after - l->done_before;
    double secs = (double)(l->end_ns - l->measure_ns + 1) / NS_PER_S;
    const struct hist *h = &l->hist;

    printf("{\"load\": \"%s\", \"engine\": \"%s\", \"op\": \"%s\", \"random\": %s, \"bs\": %" PRIu64
           ", \"depth\": %" PRIu32 ", \"sessions\": %" PRIu32 ", \"spin_us\": %" PRIu32,
           l->name, l->engine, l->write ? "write" : "read", l->random ? "true" : "false", l->bs,
           l->depth, l->sessions, l->spin_us);
    printf(", \"ios\": %" PRIu64 ", \"total_ios\": %" PRIu64 ", \"compared\": %" PRIu64
           ", \"seconds\": %.6f",
           ios, l->done_all_passes, l->compared, secs);
    print_number("iops", true, (double)ios / secs);
    print_number("mb_per_s", true, (double)(ios * l->bs) / secs / 1e6);
    print_number("mean_us", true, h->count == 0 ? 0 : (double)h->sum / (double)h->count / 1e3);
    print_number("p50_us", true, (double)hist_percentile(h, 0.5) / 1e3);
    print_number("p99_us", true, (double)hist_percentile(h, 0.99) / 1e3);
    print_number("p999_us", true, (double)hist_percentile(h, 0.999) / 1e3);
    print_number("max_us", true, (double)h->max / 1e3);
    print_number("user_us", true, per_io(l, timeval_us(l->before.ru_utime, l->after.ru_utime)));
    print_number("system_us", true, per_io(l, timeval_us(l->before.ru_stime, l->after.ru_stime)));
    print_number("syscalls", l->syscalls != NULL,
                 per_io(l, (double)(l->syscalls_after - l->syscalls_before)));
    print_number("peer_cpu_us", l->peer_cpu_us >= 0,
                 l->done_all_passes == 0 ? 0 : l->peer_cpu_us / (double)l->done_all_passes);
    printf("}\n");
}

void
load_run(struct load *l, void (*loop)(struct load *l))
{
    if (l->verify != LOAD_VERIFY_NONE && l->ios == 0)
        l->ios = 2 * l->positions;
    if (l->verify == LOAD_VERIFY_WRITE) {
        uint64_t ios = l->ios;
        bool random = l->random;

        l->pattern_seed = load_now_ns(); /* what an earlier pass left is wrong */
        l->write = true;
        l->random = false;
        l->ios = l->positions;
        run_pass(l, loop);
        l->random = random;
        l->ios = ios;
    }
    if (l->verify != LOAD_VERIFY_NONE) {
        l->write = false;
        l->hist = (struct hist){0};
    }
    run_pass(l, loop);
    if (l->verify != LOAD_VERIFY_NONE && l->compared != l->ios)
        load_die("%" PRIu64 " of %" PRIu64 " requests were compared", l->compared, l->ios);
}
