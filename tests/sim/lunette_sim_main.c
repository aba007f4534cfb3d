/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_main.c - many seeds, each in a process of its own, or one with a trace. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/trace.h"
#include "tests/sim/lunette_sim_engine.h"

#define JOBS_MAX    64
#define STUCK_S     600  /* a process that computes for so long makes no turns any more */
#define ENOUGH      1000 /* seeds, in which each kind of fault has to come */
#define ENOUGH_RDMA 200  /* the same of those over RDMA, and of those with an engine */
#define TEXT_MAX    1024

struct ls_stats *ls_stats;
bool ls_tracing;
static const char *program;

/* ---- what is told --------------------------------------------------------------------------- */

static void
stamp(const struct ls_world *w, FILE *to)
{
    uint64_t ns = w->sim != NULL ? sim_now_ns(w->sim) - w->start_ns : 0;

    (void)fprintf(to, "%5llu.%06llu ", (unsigned long long)(ns / LOOP_NS_PER_S),
                  (unsigned long long)(ns % LOOP_NS_PER_S / 1000));
}

void
ls_say(const struct ls_world *w, const char *fmt, ...)
{
    va_list args;

    if (!ls_tracing)
        return;
    stamp(w, stdout);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)printf("\n");
}

void
ls_fail(const struct ls_world *w, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)fflush(stdout);
    (void)fprintf(stderr, "seed %llu, after %llu ms: %s\n", (unsigned long long)w->plan.seed,
                  (unsigned long long)(w->sim != NULL ? ls_now_ms(w) : 0), text);
    _exit(1);
}

void
ls_trace_new(struct ls_world *w)
{
    const struct trace *t = w->loop->trace;

    if (t == NULL || w->ctx == NULL)
        return;
    if (t->head - w->trace_seen > t->size)
        w->trace_seen = t->head - t->size;
    for (; w->trace_seen != t->head; w->trace_seen++) {
        const struct trace_event *e = &t->ev[w->trace_seen & (t->size - 1)];

        stamp(w, stdout);
        (void)printf("        %s %llu %llu\n", trace_name(e->id), (unsigned long long)e->a,
                     (unsigned long long)e->b);
    }
}

/* ---- processes ------------------------------------------------------------------------------ */

struct job {
    pid_t pid;
    uint64_t seed;
};

static void
how_to_replay(uint64_t seed)
{
    (void)fprintf(stderr, "    replay: %s --seed %llu --trace\n", program,
                  (unsigned long long)seed);
}

static void
job_ended(struct job *j, int status)
{
    le_sweep(j->pid);
    j->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    ls_stats->violations++;
    if (WIFSIGNALED(status))
        (void)fprintf(stderr, "seed %llu: ended by signal %d, %s\n", (unsigned long long)j->seed,
                      WTERMSIG(status), strsignal(WTERMSIG(status)));
    how_to_replay(j->seed);
}

static struct job *
wait_for_one(struct job *jobs, unsigned n)
{
    int status;
    pid_t pid = wait(&status);

    for (unsigned i = 0; i < n; i++) {
        if (pid > 0 && jobs[i].pid == pid) {
            job_ended(&jobs[i], status);
            return &jobs[i];
        }
    }
    return NULL;
}

static void
run_here(uint64_t seed)
{
    struct ls_plan p;

    (void)alarm(STUCK_S);
    if (seed >= LS_ENGINE_FIRST) {
        le_world_run(seed);
        return;
    }
    ls_plan_make(seed, &p);
    if (ls_tracing)
        ls_plan_print(&p);
    ls_world_run(&p);
}

static void
start(struct job *j, uint64_t seed)
{
    struct rlimit none = {0, 0};

    (void)fflush(stdout);
    j->seed = seed;
    j->pid = fork();
    if (j->pid < 0) {
        perror("fork");
        exit(2);
    }
    if (j->pid > 0)
        return;
    (void)setrlimit(RLIMIT_CORE, &none);
    run_here(seed);
    (void)fflush(stdout);
    _exit(0); /* exit would put the file of seeds back to where it was at the fork */
}

/* ---- the command ---------------------------------------------------------------------------- */

struct command {
    uint64_t seed, first, count;
    const char *file;
    unsigned jobs;
    bool stop; /* at the first violation */
};

/* Of a range, behind every four worlds one more over RDMA and one with an engine, so that those
 * over TCP are what they are without. */
static uint64_t
nth_seed(const struct command *c, uint64_t n)
{
    bool mixed = c->first < LS_RDMA_FIRST;
    uint64_t count = mixed ? c->count + c->count / 4 * 2 : c->count;

    if (n >= count)
        return 0;
    if (!mixed)
        return c->first + n;
    if (n / 6 * 4 + 4 <= c->count && n % 6 >= 4)
        return (n % 6 == 4 ? LS_RDMA_FIRST : LS_ENGINE_FIRST) + c->first + n / 6;
    return c->first + n - n / 6 * 2;
}

static uint64_t
next_seed(const struct command *c, FILE *file, uint64_t *n)
{
    unsigned long long seed;
    char line[256];

    if (file == NULL) {
        uint64_t next = nth_seed(c, *n);

        *n += next != 0;
        return next;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%llu", &seed) == 1 && seed != 0) {
            (*n)++;
            return seed;
        }
    }
    return 0;
}

static void
summary(void)
{
    const struct ls_stats *s = ls_stats;

    (void)printf("%llu requests (%llu failed, %llu canceled), %llu connections lost, %llu logins "
                 "again, %llu given up, %llu gone for good, "
                 "%llu s of virtual time\n",
                 (unsigned long long)s->ios, (unsigned long long)s->failed,
                 (unsigned long long)s->canceled, (unsigned long long)s->losses,
                 (unsigned long long)s->reopens, (unsigned long long)s->timeouts,
                 (unsigned long long)s->gone, (unsigned long long)s->virtual_ms / 1000);
    (void)printf("%llu connections, %llu of them added to a session, %llu PDUs and %llu spoiled "
                 "bytes on the wire, %llu numbers sent again\n",
                 (unsigned long long)s->wire_connections, (unsigned long long)s->wire_joined,
                 (unsigned long long)s->wire_pdus, (unsigned long long)s->spoiled,
                 (unsigned long long)s->wire_again);
    (void)printf("%llu bytes of data spoiled at level 1, %llu SNACKs, %llu tasks reassigned\n",
                 (unsigned long long)s->mended, (unsigned long long)s->snacks,
                 (unsigned long long)s->reassigned);
    (void)printf(
        "%llu worlds over RDMA: %llu reads and %llu writes by the target, %llu binds, %llu "
        "STags invalidated by it and %llu by us, %llu messages that waited, %llu flushed\n",
        (unsigned long long)s->worlds[1], (unsigned long long)s->rdma_reads,
        (unsigned long long)s->rdma_writes, (unsigned long long)s->rdma_binds,
        (unsigned long long)s->rdma_remote, (unsigned long long)s->rdma_local,
        (unsigned long long)s->rdma_waits, (unsigned long long)s->rdma_flushed);
    (void)printf(
        "%llu worlds with an engine: it was killed %llu times and ended %llu, clients were "
        "killed %llu times and lied %llu, the dead wrote %llu times\n",
        (unsigned long long)s->worlds[2], (unsigned long long)s->engine_kills,
        (unsigned long long)s->engine_stops, (unsigned long long)s->client_kills,
        (unsigned long long)s->lies, (unsigned long long)s->dying_writes);
    (void)printf("faults:");
    for (int k = 0; k < FAULT_KINDS; k++)
        (void)printf(" %s %llu", ls_fault_name((enum ls_fault_kind)k),
                     (unsigned long long)s->faults[k]);
    (void)printf("\nprograms:");
    for (int a = 0; a < LS_ACTS; a++)
        (void)printf("%s %s %llu", a > 0 ? "," : "", ls_act_name((enum ls_act)a),
                     (unsigned long long)s->acts[a]);
    (void)printf(", LUNs reserved %llu\n", (unsigned long long)s->reserved);
}

/* Something that a number of worlds have to have had. */
struct end {
    const uint64_t *n;
    const char *what;
};

static bool
have_had(const struct end *e, size_t count)
{
    bool all = true;

    for (size_t i = 0; i < count; i++) {
        if (*e[i].n > 0)
            continue;
        (void)fprintf(stderr, "no world had %s\n", e[i].what);
        all = false;
    }
    return all;
}

static bool
had_faults(enum ls_fault_kind from, enum ls_fault_kind to)
{
    bool all = true;

    for (int k = (int)from; k < (int)to; k++) {
        if (ls_stats->faults[k] > 0)
            continue;
        (void)fprintf(stderr, "no world had the fault %s\n", ls_fault_name((enum ls_fault_kind)k));
        all = false;
    }
    return all;
}

static bool
programs_did_all(void)
{
    bool all = true;

    for (int a = 0; a < LS_ACTS; a++) {
        if (ls_stats->acts[a] > 0)
            continue;
        (void)fprintf(stderr, "no program did this: %s\n", ls_act_name((enum ls_act)a));
        all = false;
    }
    return all;
}

/* A fault that never comes, or a cut that nobody notices, would be no test. */
static bool
all_happened(void)
{
    const struct end any[] = {{&ls_stats->losses, "a connection that was lost"},
                              {&ls_stats->reopens, "a session that came back"},
                              {&ls_stats->timeouts, "a session that was given up"},
                              {&ls_stats->gone, "a session that was gone for good"},
                              {&ls_stats->deaths, "a control plane that died"},
                              {&ls_stats->canceled, "a request that was canceled"},
                              {&ls_stats->failed, "a request that failed"}};
    const struct end tcp[] = {{&ls_stats->spoiled, "a byte that was spoiled"},
                              {&ls_stats->mended, "a byte of data that was spoiled at level 1"},
                              {&ls_stats->snacks, "a SNACK"},
                              {&ls_stats->reassigned, "a TASK REASSIGN"},
                              {&ls_stats->reserved, "a LUN that was reserved"},
                              {&ls_stats->wire_joined, "a session of several connections"},
                              {&ls_stats->wire_again, "a number that was sent again"}};
    const struct end rdma[] = {{&ls_stats->rdma_reads, "an RDMA Read"},
                               {&ls_stats->rdma_writes, "an RDMA Write"},
                               {&ls_stats->rdma_binds, "a window that was bound"},
                               {&ls_stats->rdma_remote, "an STag that the target invalidated"},
                               {&ls_stats->rdma_local, "an STag that we invalidated"},
                               {&ls_stats->rdma_flushed, "a request that was flushed"}};
    const struct end engine[] = {{&ls_stats->engine_kills, "an engine that was killed"},
                                 {&ls_stats->engine_stops, "an engine that ended"},
                                 {&ls_stats->client_kills, "a client that was killed"},
                                 {&ls_stats->lies, "a client that lied"},
                                 {&ls_stats->dying_writes, "something that the dead wrote"},
                                 {&ls_stats->engine_faults[LE_CUT], "an engine that was cut off"},
                                 {&ls_stats->engine_faults[LE_BLACK_HOLE], "a black hole"},
                                 {&ls_stats->engine_faults[LE_REFUSE], "a target that refuses"},
                                 {&ls_stats->engine_faults[LE_SLOW], "a slow target"},
                                 {&ls_stats->engine_faults[LE_RESTART], "a target that dies"}};
    bool all = true;

    if (ls_stats->worlds[2] >= ENOUGH_RDMA)
        all = have_had(engine, sizeof(engine) / sizeof(engine[0]));
    if (ls_stats->worlds[0] + ls_stats->worlds[1] >= ENOUGH)
        all = all && have_had(any, sizeof(any) / sizeof(any[0])) && programs_did_all();
    if (ls_stats->worlds[0] >= ENOUGH)
        all = have_had(tcp, sizeof(tcp) / sizeof(tcp[0])) && had_faults(0, FAULTS_RDMA) && all;
    if (ls_stats->worlds[1] >= ENOUGH_RDMA)
        all = have_had(rdma, sizeof(rdma) / sizeof(rdma[0])) &&
              had_faults(FAULTS_RDMA, FAULT_KINDS) && all;
    return all;
}

static int
run_many(const struct command *c)
{
    FILE *file = c->file != NULL ? fopen(c->file, "r") : NULL;
    struct job jobs[JOBS_MAX] = {{0, 0}};
    uint64_t n = 0, seed;
    unsigned running = 0;
    bool all;

    if (c->file != NULL && file == NULL) {
        perror(c->file);
        return 2;
    }
    while (!(c->stop && ls_stats->violations > 0) && (seed = next_seed(c, file, &n)) != 0) {
        struct job *j = running < c->jobs ? &jobs[running] : wait_for_one(jobs, c->jobs);

        if (j == NULL)
            return 2;
        running += running < c->jobs;
        start(j, seed);
    }
    for (; running > 0 && wait_for_one(jobs, c->jobs) != NULL; running--)
        ;
    if (file != NULL)
        (void)fclose(file);
    summary();
    all = all_happened();
    (void)printf("%llu seeds, %llu violations\n", (unsigned long long)n,
                 (unsigned long long)ls_stats->violations);
    return ls_stats->violations > 0 || !all || n == 0;
}

static int
usage(void)
{
    (void)fprintf(stderr,
                  "usage: %s --seeds N [--first N] [--jobs N] [--stop]\n"
                  "       %s --file SEEDS\n"
                  "       %s --seed N [--trace]\n",
                  program, program, program);
    return 2;
}

static bool
number(const char *text, uint64_t *ret)
{
    char *end;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *ret > 0;
}

static bool
parse(int argc, char **argv, struct command *c)
{
    uint64_t jobs = c->jobs;

    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        uint64_t *to = strcmp(a, "--seed") == 0    ? &c->seed
                       : strcmp(a, "--seeds") == 0 ? &c->count
                       : strcmp(a, "--first") == 0 ? &c->first
                       : strcmp(a, "--jobs") == 0  ? &jobs
                                                   : NULL;

        if (strcmp(a, "--trace") == 0)
            ls_tracing = true;
        else if (strcmp(a, "--stop") == 0)
            c->stop = true;
        else if (strcmp(a, "--file") == 0 && i + 1 < argc)
            c->file = argv[++i];
        else if (to == NULL || !number(i + 1 < argc ? argv[++i] : NULL, to))
            return false;
    }
    c->jobs = jobs > JOBS_MAX ? JOBS_MAX : (unsigned)jobs;
    return (c->seed != 0) + (c->count != 0) + (c->file != NULL) == 1;
}

int
main(int argc, char **argv)
{
    struct command c = {.first = 1, .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};

    program = argv[0];
    ls_stats =
        mmap(NULL, sizeof(*ls_stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ls_stats == MAP_FAILED || !parse(argc, argv, &c))
        return usage();
    if (c.seed == 0)
        return run_many(&c);
    run_here(c.seed);
    (void)printf("seed %llu: no violation in %llu requests, %llu turns, hash %016llx\n",
                 (unsigned long long)c.seed, (unsigned long long)ls_stats->ios,
                 (unsigned long long)ls_stats->turns, (unsigned long long)ls_stats->hash);
    return 0;
}
