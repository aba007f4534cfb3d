/* SPDX-License-Identifier: MIT */
/* gate/lockstep.c - I/O in lockstep with a peer in the same thread, for counting what it costs.
 *
 * Each round queues `depth` requests and submits them, lets the peer answer all of them, and polls
 * until they are done.  Only the calls of the library are inside the counted sections: callgrind
 * collects there alone (run it with --collect-atstart=no), and --mark puts system calls around
 * them that strace shows.  Each case runs a short phase and a long one, after some rounds of
 * warming up; the difference of the two is that of the rounds they differ by, and what a phase
 * costs once falls out.  One line a phase goes to stdout: case, phase, requests, and what
 * lunette_ctx_get_stats says; or one that the case is unsteady, since the sockets do not take a
 * whole answer.
 */
#include <lunette/lunette.h>

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if HAVE_CALLGRIND
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT    (void)0
#define CALLGRIND_ZERO_STATS        (void)0
#define CALLGRIND_DUMP_STATS_AT(at) (void)(at)
#endif

#include "peer.h"

#define DEPTH_MAX   128
#define WARM_ROUNDS 16
#define WARM_MAX    48  /* of them and those in which the socket buffers grow */
#define LONG        3   /* times the short phase */
#define SECONDS     300 /* after which something hangs */

struct test_case {
    const char *name;
    uint32_t size, depth;
    bool write, digests;
    uint32_t rounds; /* of the short phase */
};

static const struct test_case cases[] = {
    {"read-4k-d1", 4096, 1, false, false, 64},
    {"write-4k-d1", 4096, 1, true, false, 64},
    {"read-4k-d32", 4096, 32, false, false, 8},
    {"write-4k-d32", 4096, 32, true, false, 8},
    {"read-4k-d128", 4096, 128, false, false, 4},
    {"write-4k-d128", 4096, 128, true, false, 4},
    {"read-4k-d32-digests", 4096, 32, false, true, 8},
    {"write-4k-d32-digests", 4096, 32, true, true, 8},
    {"read-128k-d2", 131072, 2, false, false, 8},
    {"write-128k-d8", 131072, 8, true, false, 8},
};
#define NCASES (sizeof(cases) / sizeof(cases[0]))

struct options {
    enum lunette_loop loop;
    bool mark;
    bool plant_syscall;  /* one system call a round that is not the library's */
    uint32_t plant_spin; /* turns of an empty loop for each request */
    /* One request in so many is timed.  None, if not given: in a phase there is hardly one, and how
     * many are where there are few requests in a time depends on the machine's speed. */
    uint64_t time_every;
};

struct run {
    const struct options *o;
    const struct test_case *c;
    struct peer *peer;
    struct lunette_ctx *ctx;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    uint8_t *mem; /* depth pieces */
    uint64_t offset[DEPTH_MAX];
    uint64_t random;
    bool counted;
};

static void
die(const char *what, const char *why)
{
    (void)fprintf(stderr, "lockstep: %s: %s\n", what, why);
    exit(1);
}

/* ---- sections ------------------------------------------------------------------------------- */

/* A name that strace shows, and no file. */
static void
mark(const struct run *r, const char *name)
{
    if (r->o->mark && access(name, F_OK) == 0)
        die(name, "exists");
}

/* enter and leave bound what is counted: client requests must stand in the code itself. */
#define ENTER(r)                                                                                   \
    do {                                                                                           \
        if ((r)->counted) {                                                                        \
            mark(r, "lockstep:in");                                                                \
            CALLGRIND_TOGGLE_COLLECT;                                                              \
        }                                                                                          \
    } while (0)

#define LEAVE(r)                                                                                   \
    do {                                                                                           \
        if ((r)->counted) {                                                                        \
            CALLGRIND_TOGGLE_COLLECT;                                                              \
            mark(r, "lockstep:out");                                                               \
        }                                                                                          \
    } while (0)

/* What a worse library would cost, for the gate's own test. */
static void
plant(const struct run *r)
{
    for (volatile uint32_t i = 0; i < r->o->plant_spin; i++)
        ;
}

/* ---- rounds --------------------------------------------------------------------------------- */

/* One request each; what is the same for all is looked at once, as a caller would. */
static int
queue_reads(struct lunette_queue *q, const struct run *r, uint32_t size, uint32_t depth)
{
    const uint64_t *offset = r->offset, *end = offset + depth;
    uint8_t *buf = r->mem;
    int n = 0;

    for (; offset != end && n == 0; offset++, buf += size)
        n = lunette_queue_read(q, buf, size, *offset, buf);
    return n;
}

static int
queue_writes(struct lunette_queue *q, const struct run *r, uint32_t size, uint32_t depth)
{
    const uint64_t *offset = r->offset, *end = offset + depth;
    uint8_t *buf = r->mem;
    int n = 0;

    for (; offset != end && n == 0; offset++, buf += size)
        n = lunette_queue_write(q, buf, size, *offset, 0, buf);
    return n;
}

static void
queue_all(struct run *r)
{
    const struct test_case *c = r->c;
    int n;

    ENTER(r);
    if (r->o->plant_syscall)
        (void)getppid();
    for (uint32_t i = 0; i < c->depth; i++)
        plant(r);
    n = c->write ? queue_writes(r->q, r, c->size, c->depth)
                 : queue_reads(r->q, r, c->size, c->depth);
    if (n == 0)
        n = lunette_queue_submit(r->q);
    LEAVE(r);
    if (n < 0)
        die("queue", strerror(-n));
}

/* Takes completions; waits for one only where the peer has sent what ends one. */
static uint32_t
poll_some(struct run *r, bool wait)
{
    struct lunette_completion done[DEPTH_MAX];
    int n;

    ENTER(r);
    n = lunette_queue_poll(r->q, done, DEPTH_MAX, wait ? 1 : 0, wait ? -1 : 0);
    LEAVE(r);
    if (n < 0)
        die("poll", strerror(-n));
    for (int i = 0; i < n; i++)
        if (done[i].err != 0)
            die("completion", strerror(-done[i].err));
    return (uint32_t)n;
}

/* Somewhere on the disk, the same in every run; large requests go on in sequence. */
static void
choose(struct run *r)
{
    for (uint32_t i = 0; i < r->c->depth; i++) {
        r->random = r->random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        r->offset[i] = r->c->size > 4096 ? r->offset[i] + (uint64_t)r->c->depth * r->c->size
                                         : (r->random >> 33) * r->c->size;
        r->offset[i] %= PEER_DISK;
        if (r->c->write)
            memcpy(r->mem + (size_t)i * r->c->size, peer_content(r->peer, r->offset[i], r->c->size),
                   r->c->size);
        else
            memset(r->mem + (size_t)i * r->c->size, 0, r->c->size);
    }
}

static void
check(const struct run *r)
{
    for (uint32_t i = 0; i < r->c->depth && !r->c->write; i++)
        if (memcmp(r->mem + (size_t)i * r->c->size, peer_content(r->peer, r->offset[i], r->c->size),
                   r->c->size) != 0)
            die(r->c->name, "wrong data");
}

static void
one_round(struct run *r)
{
    uint32_t done = 0;

    choose(r);
    queue_all(r);
    while (done < r->c->depth)
        done += poll_some(r, peer_turn(r->peer) > 0);
    check(r);
}

/* ---- phases --------------------------------------------------------------------------------- */

/* Until no answer has had to wait for a while.  False where the sockets' buffers do not grow that
 * far. */
static bool
warm_up(struct run *r)
{
    uint32_t steady = 0;

    for (uint32_t i = 0; i < WARM_MAX && steady < WARM_ROUNDS; i++) {
        unsigned before = peer_blocked(r->peer);

        one_round(r);
        steady = peer_blocked(r->peer) == before ? steady + 1 : 0;
    }
    return steady == WARM_ROUNDS;
}

static void
phase(struct run *r, const char *name, uint32_t rounds)
{
    struct lunette_ctx_stats a = LUNETTE_INIT(a), b = LUNETTE_INIT(b);
    unsigned blocked = peer_blocked(r->peer);
    char label[64];

    (void)snprintf(label, sizeof(label), "lockstep:%s:%s", r->c->name, name);
    mark(r, label);
    (void)lunette_ctx_get_stats(r->ctx, &a);
    CALLGRIND_ZERO_STATS;
    r->counted = true;
    for (uint32_t i = 0; i < rounds; i++)
        one_round(r);
    r->counted = false;
    CALLGRIND_DUMP_STATS_AT(label);
    (void)lunette_ctx_get_stats(r->ctx, &b);
    (void)printf("%s %s ios=%" PRIu32 " syscalls=%" PRIu64 " sends=%" PRIu64 " recvs=%" PRIu64
                 " waits=%" PRIu64 " blocked=%u\n",
                 r->c->name, name, rounds * r->c->depth, b.syscalls - a.syscalls, b.sends - a.sends,
                 b.recvs - a.recvs, b.waits - a.waits, peer_blocked(r->peer) - blocked);
    (void)fflush(stdout);
}

static void
begin(struct run *r)
{
    struct lunette_ctx_options co = {.struct_size = sizeof(co),
                                     .initiator_name = "iqn.2026-11.example:lockstep-initiator",
                                     .loop = r->o->loop,
                                     .time_every = r->o->time_every};
    struct lunette_error err = LUNETTE_INIT(err);
    char url[256];
    int n;

    /* No ping while the peer waits for its turn; a day's timer stays armed all the same. */
    (void)snprintf(
        url, sizeof(url), "iscsi://127.0.0.1:%u/" PEER_TARGET "/0?ping_interval=86400000%s",
        peer_port(r->peer), r->c->digests ? "&header_digest=crc32c&data_digest=crc32c" : "");
    peer_start(r->peer);
    n = lunette_ctx_new(&co, &r->ctx, &err);
    if (n == 0)
        n = lunette_open(r->ctx, url, 0, &r->lun, &err);
    if (n == 0)
        n = lunette_queue_new(r->lun, r->c->depth, &r->q, &err);
    if (n < 0)
        die("open", err.msg);
    peer_stop(r->peer);
    peer_watch(r->peer);
}

static void
end(struct run *r)
{
    peer_start(r->peer);
    lunette_queue_free(r->q);
    lunette_close(r->lun);
    lunette_ctx_free(r->ctx);
    peer_stop(r->peer);
}

static void
run_case(const struct options *o, const struct test_case *c)
{
    struct run r = {.o = o, .c = c, .random = 1};

    r.mem = aligned_alloc(4096, (size_t)c->depth * c->size);
    r.peer = peer_new();
    if (r.mem == NULL)
        die(c->name, "no memory");
    for (uint32_t i = 0; i < c->depth; i++)
        r.offset[i] = (uint64_t)i * c->size;
    begin(&r);
    if (warm_up(&r)) {
        phase(&r, "short", c->rounds);
        phase(&r, "long", LONG * c->rounds);
    } else {
        (void)printf("%s unsteady blocked=%u\n", c->name, peer_blocked(r.peer));
    }
    end(&r);
    peer_free(r.peer);
    free(r.mem);
}

/* ---- options -------------------------------------------------------------------------------- */

static int
loop_allowed(enum lunette_loop loop)
{
    struct lunette_ctx_options co = {.struct_size = sizeof(co), .loop = loop};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;
    int r = lunette_ctx_new(&co, &ctx, &err);

    lunette_ctx_free(ctx);
    if (r < 0)
        (void)printf("%s\n", err.msg);
    return r < 0 ? 77 : 0; /* 77: skipped */
}

static int
usage(void)
{
    (void)fprintf(stderr, "usage: lockstep [--loop epoll|uring] [--mark] [--plant-syscall]\n"
                          "                [--plant-spin N] [--time-every N] CASE...\n"
                          "       lockstep --list | --build | --loop epoll|uring --allowed\n");
    return 2;
}

static const struct test_case *
find_case(const char *name)
{
    for (size_t i = 0; i < NCASES; i++)
        if (strcmp(cases[i].name, name) == 0)
            return &cases[i];
    return NULL;
}

int
main(int argc, char **argv)
{
    enum { LOOP = 1, MARK, SYSCALL, SPIN, TIME, LIST, BUILD, ALLOWED };
    static const struct option longs[] = {{"loop", required_argument, NULL, LOOP},
                                          {"mark", no_argument, NULL, MARK},
                                          {"plant-syscall", no_argument, NULL, SYSCALL},
                                          {"plant-spin", required_argument, NULL, SPIN},
                                          {"time-every", required_argument, NULL, TIME},
                                          {"list", no_argument, NULL, LIST},
                                          {"build", no_argument, NULL, BUILD},
                                          {"allowed", no_argument, NULL, ALLOWED},
                                          {0}};
    struct options o = {.loop = LUNETTE_LOOP_EPOLL, .time_every = LUNETTE_TIME_NONE};
    int opt;

    while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1)
        switch (opt) {
        case LOOP:
            o.loop = strcmp(optarg, "uring") == 0 ? LUNETTE_LOOP_URING : LUNETTE_LOOP_EPOLL;
            break;
        case MARK:
            o.mark = true;
            break;
        case SYSCALL:
            o.plant_syscall = true;
            break;
        case SPIN:
            o.plant_spin = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case TIME:
            o.time_every = strtoul(optarg, NULL, 10);
            break;
        case LIST:
            for (size_t i = 0; i < NCASES; i++)
                (void)puts(cases[i].name);
            return 0;
        case BUILD:
            (void)puts(BUILD_KIND);
            return 0;
        case ALLOWED:
            return loop_allowed(o.loop);
        default:
            return usage();
        }
    if (optind == argc)
        return usage();
    (void)alarm(SECONDS);
    for (int i = optind; i < argc; i++) {
        const struct test_case *c = find_case(argv[i]);

        if (c == NULL)
            die(argv[i], "no such case; see --list");
        run_case(&o, c);
    }
    return 0;
}
