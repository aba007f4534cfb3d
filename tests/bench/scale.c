/* SPDX-License-Identifier: MIT */
/* tests/bench/scale.c - thousands of sessions in one process: how fast they log in, what each
 * holds, what it costs to keep them, and how fast they go.
 *
 * Two processes, one after the other, each with a context of its own: sessions
 * alone (LUNETTE_OPEN_SESSION), then the same number with their unit brought
 * up.  Memory is what is private to the process in smaps_rollup, less what it
 * was before the first session; the kernel's share of a socket is not in it.
 * Only the public header is used.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lunette/lunette.h>

#define NODE        "iqn.2026-11.example:scale"
#define SPARE_FILES 64

struct options {
    unsigned sessions, in_flight, idle_seconds, ping_interval_ms;
    const char *url, *target;
    enum lunette_loop loop;
    unsigned long heap_max, unit_heap_max; /* bytes per session; 0: not checked */
    bool json;
};

/* What one process has to tell; it goes through a pipe. */
struct result {
    double seconds, cpu_us; /* of all openings; own CPU of each */
    double rss_kib, heap_bytes;
    double idle_cpu_percent, close_seconds;
    double target_rss_kib, target_cpu_us;
    unsigned long nops, alive;
};

struct run {
    const struct options *opt;
    struct lunette_ctx *ctx;
    struct lunette_lun **lun;
    const char *url;
    uint32_t flags;
    unsigned started, opened, in_flight, closed;
};

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void
die(const char *fmt, ...)
{
    va_list ap;

    (void)fputs("scale: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    exit(1);
}

static double
now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
cpu_s(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* KiB that only this process has; 0 where the kernel does not tell. */
static double
private_kib(pid_t pid)
{
    char path[64], line[256];
    unsigned long sum = 0, n;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    f = pid > 0 ? fopen(path, "r") : NULL;
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "Private_Clean: %lu", &n) == 1 ||
            sscanf(line, "Private_Dirty: %lu", &n) == 1)
            sum += n;
    }
    (void)fclose(f);
    return (double)sum;
}

static double
process_cpu_s(pid_t pid)
{
    unsigned long user = 0, sys = 0;
    char path[64];
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = pid > 0 ? fopen(path, "r") : NULL;
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &sys) != 2)
        user = sys = 0;
    (void)fclose(f);
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static double
heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();

    return (double)m.uordblks + (double)m.hblkhd;
}

/* One descriptor per session. */
static void
raise_limit(unsigned sessions)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        die("getrlimit: %s", strerror(errno));
    if (l.rlim_max != RLIM_INFINITY && l.rlim_max < sessions + SPARE_FILES)
        die("%u sessions need as many descriptors and the hard limit is %lu: raise it (as root: "
            "ulimit -Hn %u, or nofile in /etc/security/limits.conf, or LimitNOFILE= of the "
            "service), or use --sessions %lu",
            sessions, (unsigned long)l.rlim_max, sessions + SPARE_FILES,
            (unsigned long)l.rlim_max - SPARE_FILES);
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}

/* ---- the target ----------------------------------------------------------------------------- */

/* Starts it and gives back its process; url gets where it is. */
static pid_t
spawn_target(const struct options *opt, char *url, size_t size)
{
    char line[256] = "", addr[200];
    int p[2];
    pid_t pid;
    FILE *f;

    if (pipe2(p, O_CLOEXEC) < 0)
        die("pipe: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        (void)dup2(p[1], STDOUT_FILENO);
        (void)execl(opt->target, opt->target, "--listen", "127.0.0.1:0", "--target", NODE, "--lun",
                    "ram:1M", (char *)NULL);
        die("%s: %s", opt->target, strerror(errno));
    }
    (void)close(p[1]);
    f = fdopen(p[0], "r");
    if (f == NULL || fgets(line, sizeof(line), f) == NULL ||
        sscanf(line, "listening on %199s", addr) != 1)
        die("%s did not start: \"%s\"", opt->target, line);
    (void)fclose(f);
    (void)snprintf(url, size, "iscsi://%s/" NODE "/0?ping_interval=%u", addr,
                   opt->ping_interval_ms);
    return pid;
}

/* ---- one process's work --------------------------------------------------------------------- */

static void start_some(struct run *r);

static void
opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct run *r = user;

    if (lun == NULL)
        die("session %u of %u: %s", r->opened + 1, r->opt->sessions, err->msg);
    r->lun[r->opened++] = lun;
    r->in_flight--;
    start_some(r);
}

static void
start_some(struct run *r)
{
    struct lunette_error err = LUNETTE_INIT(err);

    while (r->started < r->opt->sessions && r->in_flight < r->opt->in_flight) {
        r->started++;
        r->in_flight++;
        if (lunette_open_start(r->ctx, r->url, r->flags, opened, r, NULL, &err) < 0)
            die("%s", err.msg);
    }
}

static void
closed(void *user)
{
    ((struct run *)user)->closed++;
}

static void
drive(struct run *r, int timeout_ms)
{
    int e = lunette_ctx_run(r->ctx, timeout_ms);

    if (e < 0)
        die("lunette_ctx_run: %s", strerror(-e));
}

static void
open_all(struct run *r, pid_t target, struct result *res)
{
    double rss = private_kib(getpid()), heap = heap_bytes(), cpu = cpu_s();
    double target_rss = private_kib(target), target_cpu = process_cpu_s(target), start = now_s();
    double n = r->opt->sessions;

    start_some(r);
    while (r->opened < r->opt->sessions)
        drive(r, -1);
    res->seconds = now_s() - start;
    res->cpu_us = (cpu_s() - cpu) * 1e6 / n;
    res->target_cpu_us = (process_cpu_s(target) - target_cpu) * 1e6 / n;
    res->heap_bytes = (heap_bytes() - heap) / n;
    res->rss_kib = (private_kib(getpid()) - rss) / n;
    res->target_rss_kib = (private_kib(target) - target_rss) / n;
}

/* Nothing is sent in that time but NOPs: each is a send of its own. */
static void
idle(struct run *r, struct result *res)
{
    struct lunette_ctx_stats before = LUNETTE_INIT(before), after = LUNETTE_INIT(after);
    double cpu = cpu_s(), start = now_s(), left;

    if (r->opt->idle_seconds == 0)
        return;
    (void)lunette_ctx_get_stats(r->ctx, &before);
    while ((left = start + r->opt->idle_seconds - now_s()) > 0)
        drive(r, (int)(left * 1000) + 1);
    (void)lunette_ctx_get_stats(r->ctx, &after);
    res->nops = (unsigned long)(after.sends - before.sends);
    res->idle_cpu_percent = (cpu_s() - cpu) / (now_s() - start) * 100;
}

/* Each one answers. */
static void
look_at_all(struct run *r, struct result *res)
{
    for (unsigned i = 0; i < r->opened; i++) {
        struct lunette_error err = LUNETTE_INIT(err);
        char buf[4096];
        struct lunette_info info = LUNETTE_INIT(info);
        uint64_t ns;
        int e;

        (void)lunette_get_info(r->lun[i], &info);
        e = r->flags & LUNETTE_OPEN_SESSION
                ? lunette_ping(r->lun[i], 32, &ns, &err)
                : lunette_pread(r->lun[i], buf, info.block_size, 0, &err);
        if (e < 0)
            die("session %u of %u is gone: %s", i + 1, r->opened, err.msg);
        res->alive++;
    }
}

static void
close_all(struct run *r, struct result *res)
{
    double start = now_s();

    for (unsigned i = 0; i < r->opened; i++)
        lunette_close_start(r->lun[i], closed, r);
    while (r->closed < r->opened)
        drive(r, -1);
    res->close_seconds = now_s() - start;
}

static void
work(struct run *r, pid_t target, struct result *res)
{
    struct lunette_ctx_options o = {.struct_size = sizeof(o),
                                    .initiator_name = "iqn.2026-11.example:scale-initiator",
                                    .loop = r->opt->loop};
    struct lunette_error err = LUNETTE_INIT(err);

    r->lun = calloc(r->opt->sessions, sizeof(struct lunette_lun *));
    if (r->lun == NULL)
        die("no memory");
    if (lunette_ctx_new(&o, &r->ctx, &err) < 0)
        die("%s", err.msg);
    open_all(r, target, res);
    if (r->flags & LUNETTE_OPEN_SESSION)
        idle(r, res);
    look_at_all(r, res);
    close_all(r, res);
    lunette_ctx_free(r->ctx);
    free(r->lun);
}

/* In a process of its own, whose memory knows nothing of the one before. */
static void
measure(const struct options *opt, const char *url, uint32_t flags, pid_t target,
        struct result *ret)
{
    struct run r = {.opt = opt, .url = url, .flags = flags};
    int p[2], status;
    pid_t pid;

    if (pipe2(p, O_CLOEXEC) < 0)
        die("pipe: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        struct result res = {0};

        work(&r, target, &res);
        exit(write(p[1], &res, sizeof(res)) == (ssize_t)sizeof(res) ? 0 : 1);
    }
    (void)close(p[1]);
    if (read(p[0], ret, sizeof(*ret)) != (ssize_t)sizeof(*ret) || waitpid(pid, &status, 0) < 0 ||
        status != 0) {
        if (target > 0)
            (void)kill(target, SIGTERM);
        exit(1);
    }
    (void)close(p[0]);
}

/* ---- the outside ---------------------------------------------------------------------------- */

static void
print_json(const struct options *opt, const struct result *s, const struct result *u)
{
    (void)printf("{\"sessions\": %u, \"in_flight\": %u, \"rss_kib_per_session\": %.1f, "
                 "\"heap_bytes_per_session\": %.0f, \"logins_per_second\": %.0f, "
                 "\"login_cpu_us\": %.1f, \"target_login_cpu_us\": %.1f, "
                 "\"idle_seconds\": %u, \"idle_cpu_percent\": %.3f, \"nops_seen\": %lu, "
                 "\"alive\": %lu, \"close_seconds\": %.3f, \"target_rss_kib_per_session\": %.1f, ",
                 opt->sessions, opt->in_flight, s->rss_kib, s->heap_bytes,
                 opt->sessions / s->seconds, s->cpu_us, s->target_cpu_us, opt->idle_seconds,
                 s->idle_cpu_percent, s->nops, s->alive, s->close_seconds, s->target_rss_kib);
    (void)printf("\"opens_per_second\": %.0f, \"open_cpu_us\": %.1f, \"rss_kib_per_unit\": %.1f, "
                 "\"heap_bytes_per_unit\": %.0f, \"units_alive\": %lu, "
                 "\"unit_close_seconds\": %.3f}\n",
                 opt->sessions / u->seconds, u->cpu_us, u->rss_kib, u->heap_bytes, u->alive,
                 u->close_seconds);
}

static void
print_table(const struct options *opt, const struct result *s, const struct result *u)
{
    (void)printf("%u sessions, %u logins under way at a time\n", opt->sessions, opt->in_flight);
    (void)printf("  sessions alone      %8.0f logins/s, %.0f us of CPU each (target %.0f us)\n",
                 opt->sessions / s->seconds, s->cpu_us, s->target_cpu_us);
    (void)printf("                      %8.1f KiB resident each, %.0f bytes of heap (target %.1f "
                 "KiB)\n",
                 s->rss_kib, s->heap_bytes, s->target_rss_kib);
    if (opt->idle_seconds > 0)
        (void)printf("  idle for %3u s      %8.3f %% of a core, %lu NOPs, one per %u ms of "
                     "silence\n",
                     opt->idle_seconds, s->idle_cpu_percent, s->nops, opt->ping_interval_ms);
    (void)printf("                      %8lu alive after it, closed in %.2f s\n", s->alive,
                 s->close_seconds);
    (void)printf("  with a unit         %8.0f opened/s, %.0f us of CPU each\n",
                 opt->sessions / u->seconds, u->cpu_us);
    (void)printf("                      %8.1f KiB resident each, %.0f bytes of heap\n", u->rss_kib,
                 u->heap_bytes);
    (void)printf("                      %8lu alive, closed in %.2f s\n", u->alive,
                 u->close_seconds);
}

static void
usage(FILE *f)
{
    (void)fputs("usage: scale [options]\n\n"
                "  --sessions N       how many (10000)\n"
                "  --in-flight N      logins under way at a time (64)\n"
                "  --idle-seconds N   how long to keep them without a word (65)\n"
                "  --ping-interval MS silence before a NOP-Out (30000); not with --url\n"
                "  --target PROGRAM   the lunette-target to start (./build/bin/lunette-target)\n"
                "  --url URL          a target that runs already, with its LUN\n"
                "  --loop auto|epoll|uring\n"
                "  --heap-max BYTES   fail when a session holds more of the heap\n"
                "  --unit-heap-max BYTES  fail when one with its unit does\n"
                "  --json             one object instead of a table\n",
                f);
}

static unsigned long
number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || n > 100000000)
        die("\"%s\" is not a number that makes sense here", text);
    return n;
}

static enum lunette_loop
loop_named(const char *text)
{
    if (strcmp(text, "auto") == 0)
        return LUNETTE_LOOP_AUTO;
    if (strcmp(text, "epoll") == 0)
        return LUNETTE_LOOP_EPOLL;
    if (strcmp(text, "uring") == 0)
        return LUNETTE_LOOP_URING;
    die("there is no loop \"%s\"", text);
}

static void
parse(int argc, char **argv, struct options *opt)
{
    static const struct option names[] = {
        {"sessions", required_argument, NULL, 'n'},
        {"in-flight", required_argument, NULL, 'f'},
        {"idle-seconds", required_argument, NULL, 'i'},
        {"ping-interval", required_argument, NULL, 'p'},
        {"target", required_argument, NULL, 't'},
        {"url", required_argument, NULL, 'u'},
        {"loop", required_argument, NULL, 'l'},
        {"heap-max", required_argument, NULL, 'm'},
        {"unit-heap-max", required_argument, NULL, 'M'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (c) {
        case 'n':
            opt->sessions = (unsigned)number(optarg);
            break;
        case 'f':
            opt->in_flight = (unsigned)number(optarg);
            break;
        case 'i':
            opt->idle_seconds = (unsigned)number(optarg);
            break;
        case 'p':
            opt->ping_interval_ms = (unsigned)number(optarg);
            break;
        case 't':
            opt->target = optarg;
            break;
        case 'u':
            opt->url = optarg;
            break;
        case 'l':
            opt->loop = loop_named(optarg);
            break;
        case 'm':
            opt->heap_max = number(optarg);
            break;
        case 'M':
            opt->unit_heap_max = number(optarg);
            break;
        case 'j':
            opt->json = true;
            break;
        default:
            usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (optind < argc || opt->sessions == 0 || opt->in_flight == 0) {
        usage(stderr);
        exit(2);
    }
}

static void
check_heap(const char *what, double bytes, unsigned long max)
{
    if (max > 0 && bytes > (double)max)
        die("%s holds %.0f bytes of the heap, more than %lu", what, bytes, max);
}

int
main(int argc, char **argv)
{
    struct options opt = {.sessions = 10000,
                          .in_flight = 64,
                          .idle_seconds = 65,
                          .ping_interval_ms = 30000,
                          .target = "./build/bin/lunette-target"};
    struct result s = {0}, u = {0};
    char url[512];
    pid_t target = 0;

    parse(argc, argv, &opt);
    raise_limit(opt.sessions);
    if (opt.url != NULL)
        (void)snprintf(url, sizeof(url), "%s", opt.url);
    else
        target = spawn_target(&opt, url, sizeof(url));
    measure(&opt, url, LUNETTE_OPEN_SESSION, target, &s);
    measure(&opt, url, 0, target, &u);
    if (target > 0)
        (void)kill(target, SIGTERM);
    if (opt.json)
        print_json(&opt, &s, &u);
    else
        print_table(&opt, &s, &u);
    check_heap("a session", s.heap_bytes, opt.heap_max);
    check_heap("a session with its unit", u.heap_bytes, opt.unit_heap_max);
    if (s.alive != opt.sessions || u.alive != opt.sessions)
        die("%lu and %lu of %u sessions are alive", s.alive, u.alive, opt.sessions);
    return 0;
}
