/* SPDX-License-Identifier: MIT */
/* What seam/loop.h promises of descriptors that are watched. */
#include <errno.h>

#include "tests/test.h"
#include "tests/unit/loop/contract.h"

#define MS       LOOP_NS_PER_MS
#define LIMIT_NS (20 * LOOP_NS_PER_S)

static const struct loop_factory *factory;

struct world {
    struct loop *a, *b;
};

/* A bell that one of the loops watches. */
struct bell {
    struct loop *l;
    struct loop_watch *w;
    int fd;
    unsigned calls, empty;   /* how often it was called, and how often with nothing to read */
    uint64_t count;          /* what was rung */
    unsigned leave;          /* calls that read nothing */
    struct bell *also_close; /* by the next call */
    bool close_self;
};

static void
bell_close(struct bell *b)
{
    loop_unwatch(b->l, b->w);
    b->w = NULL;
}

static void
on_bell(void *user)
{
    struct bell *b = user;
    uint64_t n;

    assert_non_null(b->w);
    b->calls++;
    if (b->also_close != NULL && b->also_close->w != NULL)
        bell_close(b->also_close);
    if (b->close_self) {
        bell_close(b);
        return;
    }
    if (b->calls <= b->leave)
        return;
    n = factory->read(b->fd);
    b->count += n;
    b->empty += n == 0;
}

static void
bell_open(struct bell *b, struct loop *l)
{
    *b = (struct bell){.l = l, .fd = factory->bell()};
    assert_int_equal(loop_watch(l, b->fd, on_bell, b, &b->w), 0);
}

static void
bell_done(struct bell *b)
{
    if (b->w != NULL)
        bell_close(b);
    factory->bell_free(b->fd);
}

static int
setup(void **state)
{
    static struct world w;
    const char *why = NULL;

    assert_true(factory->make(&w.a, &w.b, &why));
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    factory->unmake(w->a, w->b);
    return 0;
}

#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        uint64_t limit_ = (w)->a->now_ns + LIMIT_NS;                                               \
        while (!(cond)) {                                                                          \
            assert_true(loop_run((w)->a, (int64_t)MS / 2) >= 0);                                   \
            assert_true(loop_run((w)->b, (int64_t)MS / 2) >= 0);                                   \
            if ((w)->a->now_ns > limit_)                                                           \
                fail_msg("never: %s", #cond);                                                      \
        }                                                                                          \
    } while (0)

static void
linger(struct world *w)
{
    uint64_t limit = w->a->now_ns + 20 * MS;

    while (w->a->now_ns < limit) {
        assert_true(loop_run(w->a, (int64_t)MS) >= 0);
        assert_true(loop_run(w->b, (int64_t)MS) >= 0);
    }
}

static void
test_called_for_each_ring(void **state)
{
    struct world *w = *state;
    struct bell b;

    bell_open(&b, w->a);
    linger(w);
    assert_int_equal(b.calls, 0);
    for (unsigned i = 1; i <= 50; i++) {
        factory->ring(b.fd);
        if (i % 3 == 0)
            factory->ring(b.fd);
        UNTIL(w, b.count == i + i / 3);
    }
    linger(w);
    assert_true(b.empty <= 50); /* in vain now and then, but not for ever */
    assert_int_equal(b.count, 50 + 50 / 3);
    bell_done(&b);
}

/* What is there when the watch begins counts, and nothing is lost while nobody watches. */
static void
test_readable_before_it_is_watched(void **state)
{
    struct world *w = *state;
    struct bell b = {.l = w->a, .fd = factory->bell()};

    factory->ring(b.fd);
    assert_int_equal(loop_watch(w->a, b.fd, on_bell, &b, &b.w), 0);
    UNTIL(w, b.count == 1);
    bell_close(&b);
    factory->ring(b.fd);
    linger(w);
    assert_int_equal(b.count, 1);
    assert_int_equal(loop_watch(w->b, b.fd, on_bell, &b, &b.w), 0);
    b.l = w->b;
    UNTIL(w, b.count == 2);
    bell_done(&b);
}

/* A callback that leaves what is there is called in the next turn, and in each after it; the loop
 * does not sleep meanwhile. */
static void
test_called_again_until_read(void **state)
{
    struct world *w = *state;
    struct bell b;

    bell_open(&b, w->a);
    b.leave = 10;
    factory->ring(b.fd);
    for (unsigned i = 0; b.calls < 10; i++) {
        assert_true(i < 30); /* no more than some turns in vain */
        assert_true(loop_run(w->a, (int64_t)LIMIT_NS) > 0);
    }
    assert_int_equal(b.count, 0);
    UNTIL(w, b.count == 1);
    bell_done(&b);
}

/* It does not keep others from their turn. */
static void
test_others_run_beside_it(void **state)
{
    struct world *w = *state;
    struct bell b, other;

    bell_open(&b, w->a);
    bell_open(&other, w->a);
    b.leave = 1000000;
    factory->ring(b.fd);
    UNTIL(w, b.calls > 3);
    factory->ring(other.fd);
    UNTIL(w, other.count == 1);
    bell_done(&b);
    bell_done(&other);
}

static void
test_unwatch_in_its_callback(void **state)
{
    struct world *w = *state;
    struct bell b;

    bell_open(&b, w->a);
    b.close_self = true;
    factory->ring(b.fd);
    UNTIL(w, b.calls == 1);
    linger(w);
    assert_int_equal(b.calls, 1);
    bell_done(&b);
}

/* Of two that are ready, the first that is called ends the other. */
static void
test_unwatch_another_ready_one(void **state)
{
    struct world *w = *state;
    struct bell a, b;

    bell_open(&a, w->a);
    bell_open(&b, w->a);
    a.also_close = &b;
    b.also_close = &a;
    factory->ring(a.fd);
    factory->ring(b.fd);
    UNTIL(w, a.calls + b.calls > 0);
    linger(w);
    assert_true((a.calls == 0) != (b.calls == 0));
    bell_done(&a);
    bell_done(&b);
}

static void
test_watched_anew_at_once(void **state)
{
    struct world *w = *state;
    struct bell b;

    bell_open(&b, w->a);
    for (unsigned i = 0; i < 20; i++) {
        bell_close(&b);
        if (i % 2 == 0)
            factory->ring(b.fd);
        assert_int_equal(loop_watch(w->a, b.fd, on_bell, &b, &b.w), 0);
    }
    UNTIL(w, b.count == 10);
    bell_done(&b);
}

static void
test_many(void **state)
{
    static struct bell b[600]; /* more than the rings and arrays of the loops hold at once */
    struct world *w = *state;
    unsigned left = 600;

    for (unsigned i = 0; i < 600; i++)
        bell_open(&b[i], w->a);
    for (unsigned i = 0; i < 600; i++)
        factory->ring(b[i].fd);
    for (unsigned turns = 0; left > 0; turns++) {
        assert_true(turns < 1000);
        assert_true(loop_run(w->a, (int64_t)LIMIT_NS) >= 0);
        left = 0;
        for (unsigned i = 0; i < 600; i++)
            left += b[i].count == 0;
    }
    for (unsigned i = 0; i < 600; i++) {
        assert_int_equal(b[i].count, 1);
        bell_done(&b[i]);
    }
}

static void
test_what_is_refused(void **state)
{
    struct world *w = *state;
    struct loop_watch *no = NULL;
    struct bell b;

    bell_open(&b, w->a);
    assert_int_equal(loop_watch(w->a, b.fd, on_bell, &b, &no), -EEXIST);
    assert_int_equal(loop_watch(w->a, 1 << 20, on_bell, &b, &no), -EBADF);
    assert_null(no);
    bell_done(&b);
}

int
contract_watch_run(const struct loop_factory *f)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest watch[] = {
        T(test_called_for_each_ring),    T(test_readable_before_it_is_watched),
        T(test_called_again_until_read), T(test_others_run_beside_it),
        T(test_unwatch_in_its_callback), T(test_unwatch_another_ready_one),
        T(test_watched_anew_at_once),    T(test_many),
        T(test_what_is_refused),
    };

    factory = f;
    print_message("watch: %s\n", f->name);
    return cmocka_run_group_tests(watch, NULL, NULL);
}
