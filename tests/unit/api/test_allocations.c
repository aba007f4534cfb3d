/* SPDX-License-Identifier: MIT */
/* Each of the first 2,000 allocations of a program's way through the library fails, alone or with
 * all that follow: whoever asked is told -ENOMEM with a sentence, or is served; nothing aborts,
 * hangs or leaks.  The target is another process, on a real network.  Linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <lunette/lunette.h>

#include "loop/loop.h"
#include "target/target.h"

#define NODE     "iqn.2026-11.example:memory"
#define FAILURES 2000 /* allocations that fail in turn */
#define DATA     ((size_t)300 * 1024)
#define DEPTH    8
#define PIECE    ((size_t)16 * 1024)
#define LIMIT_NS 3000000000ull /* of one way through: well below any time limit */

/* Volatile, as a compiler that sees all of the program (LTO) may take it that malloc changes no
 * variable of ours. */
static volatile unsigned long allocations, fail_at; /* counted from 1; 0: none fails */
static volatile bool fail_all;
static volatile long live; /* allocations that have not been freed */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int __real_posix_memalign(void **ret, size_t align, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *s);
int __wrap_posix_memalign(void **ret, size_t align, size_t size);
void __wrap_free(void *p);

static bool
allocation_fails(void)
{
    unsigned long n = __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);

    return fail_at != 0 && (n == fail_at || (fail_all && n > fail_at));
}

static void *
counted(void *p)
{
    if (p != NULL)
        (void)__atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
    return p;
}

void *
__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : counted(__real_malloc(size));
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return allocation_fails() ? NULL : counted(__real_calloc(n, size));
}

void *
__wrap_realloc(void *p, size_t size)
{
    if (allocation_fails())
        return NULL;
    return p == NULL ? counted(__real_realloc(p, size)) : __real_realloc(p, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
    return allocation_fails() ? NULL : counted(__real_aligned_alloc(align, size));
}

int
__wrap_posix_memalign(void **ret, size_t align, size_t size)
{
    int e = allocation_fails() ? ENOMEM : __real_posix_memalign(ret, align, size);

    if (e == 0)
        (void)counted(*ret);
    return e;
}

char *
__wrap_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *p = __wrap_malloc(size);

    return p != NULL ? memcpy(p, s, size) : NULL;
}

void
__wrap_free(void *p)
{
    if (p != NULL)
        (void)__atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
    __real_free(p);
}

/* ---- the target ----------------------------------------------------------------------------- */

struct world {
    pid_t target;
    char portal[64], url[256], other[256];
    uint8_t *data, *back;
    const struct way *way;
    int loop; /* LUNETTE_LOOP_ */
    unsigned bad;
    int turns; /* before leave_early leaves */
};

static void
serve(int tell)
{
    struct lu_config luns[] = {
        {.kind = LU_RAM, .size = 1 << 20, .block = 512, .lun = 0, .wce = 1},
        {.kind = LU_RAM, .size = 1 << 20, .block = 512, .lun = 1, .wce = 1},
    };
    struct target_node_config node = {.name = NODE, .luns = luns, .luns_count = 2};
    struct target_config cfg = {.nodes = &node, .nodes_count = 1};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sock_addr at = {.len = sizeof(in)}, bound;
    struct lunette_error err = {0};
    struct target *t = NULL;
    struct loop *l = NULL;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    memcpy(&at.ss, &in, sizeof(in));
    if (loop_new(NULL, &l, &err) < 0 || target_new(l, &cfg, &t, &err) < 0 ||
        target_listen(t, &at, &bound, &err) < 0) {
        (void)fprintf(stderr, "target: %s\n", err.msg);
        _exit(1);
    }
    if (write(tell, &bound, sizeof(bound)) != (ssize_t)sizeof(bound))
        _exit(1);
    while (loop_run(l, -1) >= 0) {
    }
    _exit(1);
}

static int
start(void **state)
{
    static struct world w;
    struct sock_addr bound;
    int fds[2];

    if (pipe(fds) < 0)
        return -1;
    w.target = fork();
    if (w.target == 0)
        serve(fds[1]);
    if (w.target < 0 || read(fds[0], &bound, sizeof(bound)) != (ssize_t)sizeof(bound))
        return -1;
    (void)close(fds[0]);
    (void)close(fds[1]);
    (void)sock_addr_format(&bound, w.portal, sizeof(w.portal));
    (void)snprintf(w.url, sizeof(w.url), "iscsi://%s/" NODE "/0", w.portal);
    (void)snprintf(w.other, sizeof(w.other), "iscsi://%s/" NODE "/1", w.portal);
    w.data = malloc(DATA);
    w.back = malloc(DATA);
    if (w.data == NULL || w.back == NULL)
        return -1;
    for (size_t i = 0; i < DATA; i++)
        w.data[i] = (uint8_t)(i * 7 + i / 251);
    *state = &w;
    return 0;
}

static int
stop(void **state)
{
    struct world *w = *state;

    (void)kill(w->target, SIGKILL);
    free(w->data);
    free(w->back);
    return 0;
}

/* ---- a program's ways through the library --------------------------------------------------- */

struct way {
    const char *name;
    int (*go)(struct world *w, struct lunette_ctx *ctx, struct lunette_error *err);
};

static int
read_and_write(struct world *w, struct lunette_ctx *ctx, struct lunette_error *err)
{
    struct lunette_lun *lun = NULL;
    uint64_t ns;
    int r = lunette_open(ctx, w->url, 0, &lun, err);

    if (r < 0)
        return r;
    r = lunette_pwrite(lun, w->data, DATA, 4096, 0, err);
    if (r == 0)
        r = lunette_flush(lun, err);
    memset(w->back, 0, DATA);
    if (r == 0)
        r = lunette_pread(lun, w->back, DATA, 4096, err);
    if (r == 0)
        assert_memory_equal(w->back, w->data, DATA);
    if (r == 0)
        r = lunette_ping(lun, 64, &ns, err);
    lunette_close(lun);
    return r;
}

/* Compare-and-write, and a registration, which is cleared even where something has failed. */
static int
compare_and_register(struct world *w, struct lunette_ctx *ctx, struct lunette_error *err)
{
    struct lunette_pr_registrants *regs = NULL;
    struct lunette_pr_reservation held = LUNETTE_INIT(held);
    struct lunette_lun *lun = NULL;
    int r = lunette_open(ctx, w->url, 0, &lun, err);

    if (r < 0)
        return r;
    r = lunette_pread(lun, w->back, 512, 0, err);
    if (r == 0)
        r = lunette_compare_and_write(lun, w->back, w->data, 512, 0, 0, NULL, err);
    if (r == 0)
        r = lunette_pr_register(lun, 0, 5, 0, err);
    if (r == 0)
        r = lunette_pr_read_keys(lun, &regs, err);
    if (r == 0) {
        assert_true(lunette_pr_registrants_count(regs) >= 1);
        lunette_pr_registrants_free(regs);
        r = lunette_pr_read_full_status(lun, &regs, err);
    }
    if (r == 0) {
        lunette_pr_registrants_free(regs);
        r = lunette_pr_read_reservation(lun, &held, err);
    }
    if (r == 0)
        r = lunette_pr_clear(lun, 5, err);
    else
        (void)lunette_pr_clear(lun, 5, NULL);
    lunette_close(lun);
    return r;
}

/* Copies a piece: from the first unit to memory, and from there to the second. */
static int
poll_one(struct lunette_queue *q, const char *what, struct lunette_error *err)
{
    struct lunette_completion c = {0};
    int r = lunette_queue_poll(q, &c, 1, 1, -1);

    if (r < 0) {
        err->code = r;
        (void)snprintf(err->msg, sizeof(err->msg), "%s: %s", what, strerror(-r));
        return r;
    }
    return r == 1 && c.err < 0 ? lunette_queue_explain(q, &c, what, err) : 0;
}

static int
copy_all(struct world *w, struct lunette_queue *from, struct lunette_queue *to,
         struct lunette_error *err)
{
    for (size_t at = 0; at < DATA; at += PIECE) {
        size_t len = DATA - at < PIECE ? DATA - at : PIECE;
        int r = lunette_queue_read(from, w->back + at, len, at, NULL);

        if (r == 0)
            r = poll_one(from, "read", err);
        else
            err->code = r;
        if (r == 0) {
            r = lunette_queue_write(to, w->back + at, len, at, 0, NULL);
            if (r == 0)
                r = poll_one(to, "write", err);
            else
                err->code = r;
        }
        if (r < 0) {
            if (err->msg[0] == '\0')
                (void)snprintf(err->msg, sizeof(err->msg), "queue: %s", strerror(-r));
            return r;
        }
    }
    return 0;
}

static int
copy(struct world *w, struct lunette_ctx *ctx, struct lunette_error *err)
{
    struct lunette_lun *from = NULL, *to = NULL;
    struct lunette_queue *fq = NULL, *tq = NULL;
    int r = lunette_open(ctx, w->url, 0, &from, err);

    if (r == 0)
        r = lunette_open(ctx, w->other, 0, &to, err);
    if (r == 0)
        r = lunette_queue_new(from, DEPTH, &fq, err);
    if (r == 0)
        r = lunette_queue_new(to, DEPTH, &tq, err);
    if (r == 0)
        r = copy_all(w, fq, tq, err);
    lunette_queue_free(fq);
    lunette_queue_free(tq);
    lunette_close(from);
    lunette_close(to);
    return r;
}

static int
list(struct world *w, struct lunette_ctx *ctx, struct lunette_error *err)
{
    struct lunette_targets *targets = NULL;
    struct lunette_luns *luns = NULL;
    int r = lunette_discover(ctx, w->portal, &targets, err);

    if (r == 0) {
        assert_int_equal(lunette_targets_count(targets), 1);
        lunette_targets_free(targets);
        r = lunette_list_luns(ctx, w->url, &luns, NULL, err);
    }
    if (r == 0)
        assert_int_equal(lunette_luns_count(luns), 2);
    lunette_luns_free(luns);
    return r;
}

struct leaving {
    bool told;
    struct lunette_lun *lun;
    struct lunette_error err;
};

static void
leaving_opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct leaving *l = user;

    l->told = true;
    l->lun = lun;
    if (err != NULL)
        l->err = *err;
}

/* A program that leaves in the middle of opening a unit. */
static int
leave_early(struct world *w, struct lunette_ctx *ctx, struct lunette_error *err)
{
    struct leaving l = {0};
    struct lunette_open *op = NULL;
    int r = lunette_open_start(ctx, w->url, 0, leaving_opened, &l, &op, err);

    if (r < 0)
        return r;
    for (int i = 0; !l.told && i < w->turns; i++)
        assert_int_equal(lunette_ctx_run(ctx, 1000), 0);
    if (!l.told)
        lunette_open_cancel(op);
    lunette_close(l.lun);
    *err = l.err;
    return l.err.code;
}

/* ---- the failures --------------------------------------------------------------------------- */

static uint64_t
clock_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int
go_through(struct world *w, struct lunette_error *err)
{
    struct lunette_ctx_options opts = {
        .struct_size = sizeof(opts), .initiator_name = "iqn.2026-11.example:i", .loop = w->loop};
    struct lunette_ctx *ctx = NULL;
    int r = lunette_ctx_new(&opts, &ctx, err);

    if (r == 0)
        r = w->way->go(w, ctx, err);
    lunette_ctx_free(ctx);
    return r;
}

static void __attribute__((format(printf, 2, 3))) complain(struct world *w, const char *fmt, ...)
{
    va_list ap;

    w->bad++;
    (void)fprintf(stderr, "%s: allocation %lu%s: ", w->way->name, fail_at,
                  fail_all ? " and all after it" : "");
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

static void
fail_one(struct world *w, unsigned long at, bool all)
{
    struct lunette_error err = {0};
    long before = live;
    uint64_t start_ns = clock_now(), took;
    int r;

    allocations = 0;
    fail_all = all;
    fail_at = at;
    r = go_through(w, &err);
    took = clock_now() - start_ns;
    if (took > LIMIT_NS)
        complain(w, "%.1f s", (double)took / 1e9);
    if (r != 0 && (r != -ENOMEM || err.code != r || err.msg[0] == '\0'))
        complain(w, "%d, %d \"%s\"", r, err.code, err.msg);
    if (live != before)
        complain(w, "%ld allocations are left", live - before);
}

static void
fail_each(struct world *w, const struct way *way)
{
    struct lunette_error err = {0};
    unsigned long most;

    w->way = way;
    fail_at = 0;
    if (go_through(w, &err) != 0)
        fail_msg("%s: %s", way->name, err.msg);
    allocations = 0;
    assert_int_equal(go_through(w, &err), 0);
    most = allocations < FAILURES ? allocations : FAILURES;
    print_message("%s: %lu allocations\n", way->name, most);
    assert_true(most > 20);
    for (unsigned long at = 1; at <= most; at++) {
        fail_one(w, at, false);
        fail_one(w, at, true);
    }
}

static void
each_allocation_fails(struct world *w)
{
    static const struct way ways[] = {
        {"read and write", read_and_write},
        {"compare and register", compare_and_register},
        {"copy", copy},
        {"list", list},
    };
    static const struct way leave = {"leave early", leave_early};

    w->bad = 0;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        fail_each(w, &ways[i]);
    for (w->turns = 1; w->turns <= 16; w->turns *= 2)
        fail_each(w, &leave);
    assert_int_equal(w->bad, 0);
}

static void
on_epoll(void **state)
{
    struct world *w = *state;

    w->loop = LUNETTE_LOOP_EPOLL;
    each_allocation_fails(w);
}

static void
on_the_usual_loop(void **state)
{
    struct world *w = *state;

    w->loop = LUNETTE_LOOP_AUTO;
    each_allocation_fails(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_epoll),
        cmocka_unit_test(on_the_usual_loop),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
