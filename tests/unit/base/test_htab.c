/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/htab.h"
#include "base/list.h"

#define N 5000

struct thing {
    struct hnode node;
    uint64_t key;
    bool in;
};

static struct thing things[N];

static struct thing *
find(const struct htab *t, uint64_t hash, uint64_t key)
{
    for (struct hnode *n = htab_find(t, hash); n != NULL; n = htab_next(n)) {
        struct thing *x = container_of(n, struct thing, node);

        if (x->key == key)
            return x;
    }
    return NULL;
}

/* hash: of a key; few: so bad that most chains are long. */
static void
in_and_out(bool few)
{
    struct htab t;
    size_t in = 0;

    htab_init(&t);
    srandom(11);
    for (int i = 0; i < N; i++)
        things[i] = (struct thing){.key = (uint64_t)i};
    for (int i = 0; i < 20 * N; i++) {
        struct thing *x = &things[random() % N];
        uint64_t hash = few ? x->key % 7 : hash_u64(1, x->key);

        assert_ptr_equal(find(&t, hash, x->key), x->in ? x : NULL);
        if (x->in)
            htab_del(&t, &x->node);
        else
            htab_add(&t, &x->node, hash);
        x->in = !x->in;
        in += x->in ? 1 : SIZE_MAX;
        assert_int_equal(t.count, in);
    }
    assert_true(in > N / 3 && t.size >= in / 2);
    while (htab_pop(&t) != NULL)
        in--;
    assert_int_equal(in, 0);
    assert_int_equal(t.count, 0);
    htab_fini(&t);
}

static void
what_is_in_is_found(void **state)
{
    (void)state;
    in_and_out(false);
}

static void
a_bad_hash_is_slow_but_right(void **state)
{
    (void)state;
    in_and_out(true);
}

static void
the_last_of_one_hash_comes_first(void **state)
{
    struct htab t;

    (void)state;
    htab_init(&t);
    for (int i = 0; i < N; i++) { /* it grows meanwhile */
        things[i] = (struct thing){.key = (uint64_t)i};
        htab_add(&t, &things[i].node, (uint64_t)i % 10 == 0 ? 3 : hash_u64(0, (uint64_t)i));
    }
    for (int i = N - 10; i >= 0; i -= 10) {
        struct hnode *n = htab_find(&t, 3);

        assert_ptr_equal(n, &things[i].node);
        htab_del(&t, n);
    }
    assert_null(htab_find(&t, 3));
    htab_fini(&t);
}

static void
hashes_of_near_keys_are_far(void **state)
{
    unsigned used[256] = {0}, most = 0;

    (void)state;
    for (unsigned i = 0; i < 256 * 16; i++)
        used[hash_u64(7, i) & 255]++;
    for (int i = 0; i < 256; i++)
        most = used[i] > most ? used[i] : most;
    assert_true(most < 16 * 3);
    assert_true(hash_bytes(1, "ab", 2) != hash_bytes(1, "ba", 2));
    assert_true(hash_bytes(1, "ab", 2) != hash_bytes(2, "ab", 2));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_is_found),
        cmocka_unit_test(a_bad_hash_is_slow_but_right),
        cmocka_unit_test(the_last_of_one_hash_comes_first),
        cmocka_unit_test(hashes_of_near_keys_are_far),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
