/* SPDX-License-Identifier: MIT */
/* A ring against a model of it, over the end of its indices, and against an index that lies. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "offload/ring.h"
#include "tests/support/dice.h"

#define ENTRY 64u

struct pair {
    void *mem;
    struct ring_producer p;
    struct ring_consumer c;
    uint32_t count;
    uint64_t put, published, got, released; /* the model: numbers of entries */
    bool asleep;
};

/* A ring that has been in use for `index` entries; its memory has no byte more than it needs. */
static void
pair_init(struct pair *w, uint32_t count, uint32_t index)
{
    struct ring_shared *sh;

    *w = (struct pair){.count = count};
    w->mem = aligned_alloc(64, ring_bytes(ENTRY, count));
    assert_non_null(w->mem);
    memset(w->mem, 0, ring_bytes(ENTRY, count));
    ring_producer_init(&w->p, w->mem, ENTRY, count);
    ring_consumer_init(&w->c, w->mem, ENTRY, count);
    sh = w->mem;
    sh->produced = sh->consumed = index;
    w->p.produced = w->p.published = w->p.consumed = index;
    w->c.consumed = w->c.produced = index;
}

static void
entry_of(uint64_t n, uint8_t *e)
{
    for (uint32_t i = 0; i < ENTRY; i++)
        e[i] = (uint8_t)(n * 31 + i * 7 + (n >> 8));
}

static void
step_put(struct pair *w)
{
    uint8_t e[ENTRY];
    int r;

    entry_of(w->put, e);
    r = ring_put(&w->p, e);
    assert_int_equal(r, w->put - w->released == w->count ? -EAGAIN : 0);
    w->put += r == 0;
}

static void
step_get(struct pair *w)
{
    uint8_t e[ENTRY], want[ENTRY];
    int r;

    r = ring_get(&w->c, e);
    assert_int_equal(r, w->got < w->published);
    if (r == 0)
        return;
    entry_of(w->got++, want);
    assert_memory_equal(e, want, ENTRY);
}

static void
step_publish(struct pair *w)
{
    /* The bell is wanted exactly where something is new and the consumer sleeps. */
    assert_int_equal(ring_publish(&w->p), w->asleep && w->published != w->put);
    w->published = w->put;
}

static void
step_sleep(struct pair *w)
{
    w->asleep = ring_sleep(&w->c);
    assert_int_equal(w->asleep, w->got == w->published);
}

static void
model_run(uint64_t seed)
{
    struct dice d = {seed};
    struct pair w;
    uint32_t count = 1u << dice_below(&d, 6);

    pair_init(&w, count, dice_below(&d, 2) == 0 ? UINT32_MAX - dice_below(&d, 40) : dice_u32(&d));
    for (unsigned i = 0; i < 400; i++) {
        switch (dice_below(&d, 8)) {
        case 0:
        case 1:
        case 2:
            step_put(&w);
            break;
        case 3:
        case 4:
            step_get(&w);
            break;
        case 5:
            step_publish(&w);
            break;
        case 6:
            ring_release(&w.c);
            w.released = w.got;
            break;
        default:
            if (w.asleep)
                ring_awake(&w.c);
            w.asleep = false;
            if (dice_below(&d, 2) == 0)
                step_sleep(&w);
        }
    }
    free(w.mem);
}

static void
test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++)
        model_run(seed);
}

static void
test_wraps(void **state)
{
    struct pair w;

    (void)state;
    pair_init(&w, 4, UINT32_MAX - 1);
    for (unsigned i = 0; i < 4; i++)
        step_put(&w);
    step_put(&w); /* full */
    step_publish(&w);
    assert_int_equal(w.p.sh->produced, 2);
    for (unsigned i = 0; i < 5; i++)
        step_get(&w);
    ring_release(&w.c);
    w.released = w.got;
    assert_int_equal(w.p.sh->consumed, 2);
    step_put(&w);
    free(w.mem);
}

/* Whatever the producer says, no more than a ring of entries is read, and never one twice. */
static void
test_produced_lies(void **state)
{
    static const uint32_t start[] = {0, 5, UINT32_MAX - 2};
    uint8_t e[ENTRY];
    struct pair w;

    (void)state;
    for (size_t s = 0; s < sizeof(start) / sizeof(start[0]); s++) {
        for (int64_t off = -20; off <= 20; off++) {
            unsigned n = 0;
            int r;

            pair_init(&w, 8, start[s]);
            w.p.sh->produced = start[s] + (uint32_t)off;
            while ((r = ring_get(&w.c, e)) == 1)
                n++;
            if (off >= 0 && off <= 8)
                assert_true(r == 0 && n == off);
            else
                assert_true(r == -EPROTO && n == 0);
            /* one that lies is not slept for, so that it is found out */
            assert_int_equal(ring_sleep(&w.c), w.p.sh->produced == w.c.consumed);
            free(w.mem);
        }
    }
}

/* While there are entries that were seen, the index is not even looked at. */
static void
test_index_is_read_once(void **state)
{
    uint8_t e[ENTRY] = {0};
    struct pair w;

    (void)state;
    pair_init(&w, 8, 0);
    w.p.sh->produced = 3;
    assert_int_equal(ring_get(&w.c, e), 1);
    w.p.sh->produced = 1; /* back */
    assert_false(ring_sleep(&w.c));
    assert_int_equal(ring_get(&w.c, e), 1);
    assert_int_equal(ring_get(&w.c, e), 1);
    assert_int_equal(ring_get(&w.c, e), -EPROTO);
    free(w.mem);
}

/* The consumer's index goes neither back, nor past what was published. */
static void
test_consumed_lies(void **state)
{
    uint8_t e[ENTRY] = {0};
    struct pair w;

    (void)state;
    for (uint32_t lie = 0; lie < 64; lie++) {
        pair_init(&w, 4, 30);
        for (unsigned i = 0; i < 3; i++)
            step_put(&w);
        step_publish(&w);
        step_put(&w); /* not published */
        w.p.sh->consumed = lie;
        if (lie == 30)
            assert_int_equal(ring_put(&w.p, e), -EAGAIN);
        else
            assert_int_equal(ring_put(&w.p, e), lie > 30 && lie <= 33 ? 0 : -EPROTO);
        free(w.mem);
    }
    pair_init(&w, 2, 30);
    step_put(&w);
    step_put(&w);
    step_publish(&w);
    w.p.sh->consumed = 31;
    assert_int_equal(ring_put(&w.p, e), 0);
    w.p.sh->consumed = 30;
    assert_int_equal(ring_put(&w.p, e), -EPROTO);
    free(w.mem);
}

/* The bell is rung where `asleep` has any value but 0: the consumer may be woken for nothing. */
static void
test_asleep_lies(void **state)
{
    struct pair w;

    (void)state;
    pair_init(&w, 4, 0);
    w.p.sh->asleep = 0x80000000;
    step_put(&w);
    assert_true(ring_publish(&w.p));
    assert_false(ring_publish(&w.p)); /* nothing is new */
    free(w.mem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),         cmocka_unit_test(test_wraps),
        cmocka_unit_test(test_produced_lies), cmocka_unit_test(test_index_is_read_once),
        cmocka_unit_test(test_consumed_lies), cmocka_unit_test(test_asleep_lies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
