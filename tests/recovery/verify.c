/* SPDX-License-Identifier: MIT */
/* tests/recovery/verify.c - random reads and writes whose data is known, over connections that are
 * cut.
 *
 *     verify --url URL [--final-url URL] [--depth 32] [--region 16M] [--seed N] [--seconds S]
 *            [--least N]
 *            [--cuts N --down COMMAND... [--up COMMAND --outage MS] [--interval MIN-MAX]
 *            [--relay CONTROL] [--quiet]] [--errors] [--patience S] [--no-final]
 *
 * It fills the region, then keeps depth requests under way, half of them writes, each on blocks
 * that no other one touches at the time, and compares what each read gives with what was written.
 * Meanwhile the connection is cut as verify_cut.c says, --cuts times, in random order where --down
 * stands several times; with --quiet nothing is under way when it is.  It goes on for S seconds,
 * and until there have been N reads and N writes.  At the end a new session, to
 * --final-url if there is one, reads all of the region.  One line of JSON tells the counts; the
 * exit code is 0 where no request failed (or --errors allows it), none completed twice or never,
 * and all data was right.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/recovery/verify.h"

#define BATCH      64
#define TURN_MS    2   /* no longer without a look at what else is due */
#define PAUSE_MS   10  /* until a request that failed is followed by another */
#define ERRORS_MAX 200 /* where none is allowed */

struct io {
    unsigned char *buf;
    uint32_t first, n;
    enum { IO_READ, IO_WRITE, IO_FLUSH } op;
    bool busy;
    uint64_t start_ns, not_before_ns;
};

struct verify {
    const char *url, *final_url;
    uint32_t depth, patience_s, least;
    uint64_t region, seed;
    double seconds;
    bool errors_allowed, no_final, verbose;
    struct lunette_ctx *ctx;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    struct io ios[VERIFY_DEPTH_MAX];
    struct verify_model model;
    struct verify_cuts cuts;
    uint32_t fill; /* the next unit of the first pass */
    bool stopping;
    uint64_t end_ns, good_ns; /* the last success */
    uint64_t reads, writes, flushes, errors, twice, longest_ns;
    uint32_t by_errno[256];
    char first_error[512];
};

uint64_t
verify_random(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15u; /* splitmix64 */

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t
verify_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void
verify_die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fputs("verify: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

/* Chooses what the request does; false: nothing for now. */
static bool
io_choose(struct verify *v, struct io *io)
{
    uint64_t r = verify_random(&v->seed);

    if (v->fill < v->model.nunits) {
        io->op = IO_WRITE;
        io->first = v->fill;
        io->n = v->model.nunits - v->fill < VERIFY_IO_UNITS ? v->model.nunits - v->fill
                                                            : VERIFY_IO_UNITS;
        v->fill += io->n;
        return verify_model_take(&v->model, io->first, io->n);
    }
    io->op = r & 1 ? IO_READ : IO_WRITE;
    if ((r >> 1) % 256 == 0) {
        io->op = IO_FLUSH;
        io->first = io->n = 0;
        return true;
    }
    io->n = r >> 9 & 1 ? 1 : 1 + (uint32_t)(r >> 10 & 15);
    io->first = (uint32_t)((r >> 16) % (v->model.nunits - io->n + 1));
    return verify_model_take(&v->model, io->first, io->n);
}

static void
io_failed(struct verify *v, struct io *io, int r, const char *why, uint64_t now_ns)
{
    if (v->errors++ == 0)
        snprintf(v->first_error, sizeof(v->first_error), "%s", why);
    if (v->by_errno[-r & 255]++ == 0)
        fprintf(stderr, "verify: the first that failed so, units %u and %u more: %s\n", io->first,
                io->n, why);
    io->not_before_ns = now_ns + PAUSE_MS * 1000000u;
}

/* A request that is refused at once has failed like one that comes back so. */
static void
io_begin(struct verify *v, struct io *io, uint64_t now_ns)
{
    uint64_t offset = (uint64_t)io->first * VERIFY_UNIT;
    size_t len = (size_t)io->n * VERIFY_UNIT;
    int r;

    io->start_ns = now_ns;
    if (io->op == IO_READ) {
        memset(io->buf, 0xee, len);
        r = lunette_queue_read(v->q, io->buf, len, offset, io);
    } else if (io->op == IO_WRITE) {
        verify_model_write(&v->model, io->first, io->n, io->buf);
        r = lunette_queue_write(v->q, io->buf, len, offset, 0, io);
    } else {
        r = lunette_queue_flush(v->q, io);
    }
    io->busy = r == 0;
    if (r == 0)
        return;
    io_failed(v, io, r, strerror(-r), now_ns);
    verify_model_give(&v->model, io->first, io->n);
}

/* Whether it was a success. */
static bool
io_end(struct verify *v, const struct lunette_completion *c, uint64_t now_ns)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct io *io = c->user_data;

    if (!io->busy) {
        v->twice++;
        return false;
    }
    io->busy = false;
    if (now_ns - io->start_ns > v->longest_ns)
        v->longest_ns = now_ns - io->start_ns;
    if (c->err != 0) {
        (void)lunette_queue_explain(v->q, c, io->op == IO_READ ? "reading" : "writing", &err);
        io_failed(v, io, c->err, err.msg, now_ns);
    } else if (io->op == IO_READ) {
        v->reads++;
        verify_model_read(&v->model, io->first, io->n, io->buf);
    } else if (io->op == IO_WRITE) {
        v->writes++;
        verify_model_written(&v->model, io->first, io->n);
    } else {
        v->flushes++;
    }
    verify_model_give(&v->model, io->first, io->n);
    return c->err == 0;
}

/* ---- the run ----------------------------------------------------------------------------------
 */

static void
start_some(struct verify *v, uint64_t now_ns)
{
    if (v->fill == v->model.nunits && verify_cuts_rests(&v->cuts, now_ns))
        return;
    for (uint32_t i = 0; i < v->depth && !v->stopping; i++) {
        struct io *io = &v->ios[i];

        if (!io->busy && now_ns >= io->not_before_ns && io_choose(v, io))
            io_begin(v, io, now_ns);
    }
}

static void
turn(struct verify *v)
{
    struct lunette_completion c[BATCH];
    uint64_t now_ns = verify_now_ns();
    int n, good = 0;

    start_some(v, now_ns);
    n = lunette_queue_inflight(v->q) > 0 ? lunette_queue_poll(v->q, c, BATCH, 1, TURN_MS)
                                         : lunette_ctx_run(v->ctx, TURN_MS);
    if (n < 0)
        verify_die("polling: %s", strerror(-n));
    now_ns = verify_now_ns();
    for (int i = 0; i < n; i++)
        good += io_end(v, &c[i], now_ns);
    if (good > 0)
        v->good_ns = now_ns;
    verify_cuts_io(&v->cuts, now_ns, good, n - good, &v->seed);
    if (v->fill == v->model.nunits && !v->stopping)
        verify_cuts_run(&v->cuts, now_ns, lunette_queue_inflight(v->q) == 0, &v->seed);
    if (!v->stopping && now_ns - v->good_ns > v->patience_s * 1000000000ull) {
        fprintf(stderr, "verify: no I/O for %u s\n", v->patience_s);
        v->errors_allowed = false;
        v->errors++;
        v->stopping = true;
    }
    if (!v->errors_allowed && v->errors >= ERRORS_MAX)
        v->stopping = true;
}

static void
log_line(void *user, int level, const char *line)
{
    (void)user;
    fprintf(stderr, "%.3f %d %s\n", (double)verify_now_ns() / 1e9, level, line);
}

static void
open_lun(struct verify *v, const char *url)
{
    struct lunette_ctx_options opts = LUNETTE_INIT(opts);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_info info = LUNETTE_INIT(info);

    opts.log_level = v->verbose ? 2 : 0;
    opts.log = v->verbose ? log_line : NULL;
    if (lunette_ctx_new(&opts, &v->ctx, &err) < 0 ||
        lunette_open(v->ctx, url, 0, &v->lun, &err) < 0 ||
        lunette_queue_new(v->lun, v->depth, &v->q, &err) < 0)
        verify_die("%s", err.msg);
    if (lunette_get_info(v->lun, &info) < 0 || info.size < v->region)
        verify_die("the unit has %ju bytes, the region %ju", (uintmax_t)info.size,
                   (uintmax_t)v->region);
}

static void
close_lun(struct verify *v)
{
    lunette_queue_free(v->q);
    lunette_close(v->lun);
    lunette_ctx_free(v->ctx);
}

static void
run(struct verify *v)
{
    uint64_t now_ns = v->good_ns = verify_now_ns();

    v->end_ns = now_ns + (uint64_t)(v->seconds * 1e9);
    verify_cuts_init(&v->cuts, now_ns);
    while (!v->stopping) {
        turn(v);
        if (v->fill == v->model.nunits && verify_cuts_over(&v->cuts) && v->reads >= v->least &&
            v->writes >= v->least && verify_now_ns() >= v->end_ns)
            v->stopping = true;
    }
    while (lunette_queue_inflight(v->q) > 0 &&
           verify_now_ns() - v->good_ns < 2 * v->patience_s * 1000000000ull)
        turn(v);
}

/* What a session that has seen none of the cuts reads. */
static void
read_all(struct verify *v)
{
    struct lunette_error err = LUNETTE_INIT(err);

    for (uint32_t at = 0; at < v->model.nunits;) {
        uint32_t n =
            v->model.nunits - at < VERIFY_IO_UNITS ? v->model.nunits - at : VERIFY_IO_UNITS;

        if (lunette_pread(v->lun, v->ios[0].buf, (size_t)n * VERIFY_UNIT,
                          (uint64_t)at * VERIFY_UNIT, &err) < 0)
            verify_die("reading all of it: %s", err.msg);
        verify_model_read(&v->model, at, n, v->ios[0].buf);
        at += n;
    }
}

static void
print_text(const char *name, const char *text)
{
    printf("\"%s\": \"", name);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar((unsigned char)*text < ' ' ? ' ' : *text);
    printf("\", ");
}

static void
print(struct verify *v, uint32_t unfinished)
{
    const char *comma = "";

    printf("{\"cuts\": %u, \"reads\": %ju, \"writes\": %ju, \"flushes\": %ju, ", v->cuts.done,
           (uintmax_t)v->reads, (uintmax_t)v->writes, (uintmax_t)v->flushes);
    printf("\"compared\": %ju, \"mismatches\": %ju, \"twice\": %ju, \"unfinished\": %u, ",
           (uintmax_t)v->model.compared, (uintmax_t)v->model.mismatches, (uintmax_t)v->twice,
           unfinished);
    verify_times_print("recovery_ms", &v->cuts.recovery);
    verify_times_print("first_error_ms", &v->cuts.first_error);
    printf("\"longest_ms\": %.1f, ", (double)v->longest_ns / 1e6);
    print_text("first_error", v->first_error);
    printf("\"errors\": %ju, \"by_errno\": {", (uintmax_t)v->errors);
    for (int i = 0; i < 256; i++) {
        if (v->by_errno[i] == 0)
            continue;
        printf("%s\"%s\": %u", comma, strerrorname_np(i) ? strerrorname_np(i) : "?",
               v->by_errno[i]);
        comma = ", ";
    }
    printf("}}\n");
}

/* ---- options ----------------------------------------------------------------------------------
 */

static uint64_t
size_of(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    return *end == 'M' ? n << 20 : *end == 'G' ? n << 30 : n;
}

/* What a word of the command line sets. */
struct option_of {
    const char *name;
    const char **text;
    uint32_t *number;
    uint64_t *size;
    bool *flag;
};

static void
option(struct verify *v, const char *name, const char *value)
{
    struct verify_cuts *c = &v->cuts;

    if (strcmp(name, "--seconds") == 0) {
        v->seconds = strtod(value, NULL);
    } else if (strcmp(name, "--interval") == 0) {
        if (sscanf(value, "%u-%u", &c->min_ms, &c->max_ms) != 2 || c->max_ms < c->min_ms)
            verify_die("--interval MIN-MAX");
    } else if (strcmp(name, "--down") == 0 && c->ndown < VERIFY_DOWNS_MAX) {
        c->down[c->ndown++] = value;
    } else {
        verify_die("%s: the head of verify.c has all options", name);
    }
}

static void
options(struct verify *v, int argc, char **argv)
{
    struct verify_cuts *c = &v->cuts;
    const struct option_of known[] = {
        {"--url", .text = &v->url},
        {"--final-url", .text = &v->final_url},
        {"--relay", .text = &c->relay},
        {"--up", .text = &c->up},
        {"--depth", .number = &v->depth},
        {"--cuts", .number = &c->wanted},
        {"--outage", .number = &c->outage_ms},
        {"--patience", .number = &v->patience_s},
        {"--least", .number = &v->least},
        {"--region", .size = &v->region},
        {"--seed", .size = &v->seed},
        {"--quiet", .flag = &c->quiet},
        {"--errors", .flag = &v->errors_allowed},
        {"--no-final", .flag = &v->no_final},
        {"--verbose", .flag = &v->verbose},
        {.name = NULL},
    };

    for (int i = 1; i < argc; i++) {
        const struct option_of *k = known;

        while (k->name && strcmp(k->name, argv[i]) != 0)
            k++;
        if (k->flag) {
            *k->flag = true;
            continue;
        }
        if (i + 1 == argc)
            verify_die("%s wants a value", argv[i]);
        if (k->text)
            *k->text = argv[i + 1];
        else if (k->number)
            *k->number = (uint32_t)size_of(argv[i + 1]);
        else if (k->size)
            *k->size = size_of(argv[i + 1]);
        else
            option(v, argv[i], argv[i + 1]);
        i++;
    }
    if (v->url == NULL || v->depth == 0 || v->depth > VERIFY_DEPTH_MAX ||
        v->region < 64ull * v->depth * VERIFY_UNIT || v->region >> 32 != 0 ||
        (c->wanted > 0 && c->ndown == 0))
        verify_die("the options do not go together");
}

int
main(int argc, char **argv)
{
    static struct verify v = {
        .depth = 32, .region = 16 << 20, .seed = 1, .patience_s = 60, .cuts = {.max_ms = 50}};
    uint32_t unfinished;

    options(&v, argc, argv);
    if (verify_model_init(&v.model, (uint32_t)(v.region / VERIFY_UNIT), v.seed) < 0)
        verify_die("no memory");
    for (uint32_t i = 0; i < v.depth; i++)
        if ((v.ios[i].buf = malloc(VERIFY_IO_UNITS * VERIFY_UNIT)) == NULL)
            verify_die("no memory");
    open_lun(&v, v.url);
    run(&v);
    unfinished = lunette_queue_inflight(v.q);
    if (unfinished == 0) {
        close_lun(&v);
        if (!v.no_final) {
            open_lun(&v, v.final_url ? v.final_url : v.url);
            read_all(&v);
            close_lun(&v);
        }
        for (uint32_t i = 0; i < v.depth; i++)
            free(v.ios[i].buf);
    }
    print(&v, unfinished);
    verify_model_fini(&v.model);
    verify_cuts_fini(&v.cuts);
    return (v.errors > 0 && !v.errors_allowed) || v.model.mismatches > 0 || v.twice > 0 ||
           unfinished > 0;
}
