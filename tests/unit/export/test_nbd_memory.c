/* SPDX-License-Identifier: MIT */
/* An NBD export without memory: in steady use it needs none, and a client for whom there is none is
 * told so, or cut off.  Linked with -Wl,--wrap=malloc and so on (tests/support/alloc_fail.h). */
#include "tests/test.h"

#include "tests/support/alloc_fail.h"

/* The test's own side always has memory. */
#define malloc  __real_malloc
#define calloc  __real_calloc
#define realloc __real_realloc

#include "base/pool.h"
#include "tests/support/nbd_world.h"

#define DEPTH 32

static struct nbdw w;

static void
ask_many(unsigned c)
{
    static uint8_t data[4096];

    for (unsigned i = 0; i < DEPTH; i++) {
        struct nbd_request wr = nbdw_request(NBD_CMD_WRITE, 0, i, i * 4096, 4096),
                           rd = nbdw_request(NBD_CMD_READ, 0, i, i * 4096, 4096);

        nbdw_send(&w, c, &wr, sizeof(wr));
        nbdw_send(&w, c, data, sizeof(data));
        nbdw_send(&w, c, &rd, sizeof(rd));
    }
    mem_advance(&w.loop, LOOP_NS_PER_S);
}

static void
test_steady_use_needs_none(void **state)
{
    const size_t want = (size_t)DEPTH * (16 + 16 + 4096);
    unsigned c;

    (void)state;
    if (POOL_KEPT_MAX == 1)
        skip(); /* with ASan nothing is kept */
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, false);
    ask_many(c);
    assert_int_equal(w.clients[c].out_len, want);
    for (int i = 0; i < 10; i++) {
        w.clients[c].out_len = 0;
        alloc_none = true;
        ask_many(c);
        alloc_none = false;
        assert_int_equal(w.clients[c].out_len, want);
        for (size_t at = 0; at < want;) { /* no error */
            assert_int_equal(ld_be32(w.clients[c].out + at), NBD_SIMPLE_REPLY_MAGIC);
            assert_int_equal(ld_be32(w.clients[c].out + at + 4), 0);
            /* A read's reply has zeroes behind it, as this disk has. */
            at += at + 16 == want || ld_be32(w.clients[c].out + at + 16) != 0 ? 16 : 16 + 4096;
        }
    }
    nbdw_close(&w);
}

static void
test_each_allocation_fails(void **state)
{
    struct nbd_request r = nbdw_request(NBD_CMD_READ, 0, 5, 0, 65536);
    unsigned cut = 0, refused = 0, served = 0;

    (void)state;
    for (int left = 0; left < 6; left++) {
        unsigned c, other;

        nbdw_open(&w, false, 512);
        other = nbdw_connect(&w);
        nbdw_handshake(&w, other, false);
        alloc_left = left;
        c = nbdw_connect(&w);
        nbdw_handshake(&w, c, false);
        nbdw_send(&w, c, &r, sizeof(r));
        mem_advance(&w.loop, LOOP_NS_PER_S);
        alloc_left = -1;
        if (!w.clients[c].open) {
            cut++;
        } else {
            assert_true(w.clients[c].out_len >= 16);
            refused += ld_be32(w.clients[c].out + 4) == NBD_ENOMEM;
            served += ld_be32(w.clients[c].out + 4) == 0;
        }
        ask_many(other);
        assert_int_equal(w.clients[other].out_len, DEPTH * (16 + 16 + 4096));
        nbdw_close(&w);
    }
    assert_int_equal(cut, 3); /* the client, what it sends, its requests */
    assert_int_equal(refused, 1);
    assert_int_equal(served, 2);
}

static void
test_start_fails(void **state)
{
    struct lunette_error err;
    struct export *e = NULL;

    (void)state;
    nbdw_open(&w, false, 512);
    for (int left = 0; left < 4; left++) {
        alloc_left = left;
        assert_int_equal(nbd_export.start(w.b, &w.loop.l, "/there", false, NULL, NULL, &e, &err),
                         -ENOMEM);
        alloc_left = -1;
        assert_null(e);
        assert_int_equal(err.code, -ENOMEM);
    }
    nbdw_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady_use_needs_none),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_start_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
