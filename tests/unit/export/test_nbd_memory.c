/* SPDX-License-Identifier: MIT */
/* An NBD export without memory: in steady use it needs none, a request for which there is none
 * waits, and a client for whom there is none is cut off.  Linked with -Wl,--wrap=malloc and so on
 * (tests/support/alloc_fail.h). */
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
    assert_int_equal(cut, 3);     /* the client, what it sends, its requests */
    assert_int_equal(refused, 0); /* the data of a request is waited for */
    assert_int_equal(served, 3);
}

#define LEN 16384 /* with a write before it, it is received ahead */

static void
ask(unsigned c, uint16_t type, uint32_t len)
{
    static uint8_t data[sizeof(struct nbd_request) + LEN];
    struct nbd_request r = nbdw_request(type, 0, 5, 0, len);

    memcpy(data, &r, sizeof(r));
    nbdw_send(&w, c, data, sizeof(r) + (type == NBD_CMD_WRITE ? len : 0));
}

static uint32_t
error_of(unsigned c)
{
    assert_true(w.clients[c].out_len >= 16);
    assert_int_equal(ld_be32(w.clients[c].out), NBD_SIMPLE_REPLY_MAGIC);
    return ld_be32(w.clients[c].out + 4);
}

/* Two clients, one of which has a request with the device, which holds it. */
static void
begin_short(unsigned *ret_has, unsigned *ret_lacks)
{
    nbdw_open(&w, false, 512);
    *ret_has = nbdw_connect(&w);
    *ret_lacks = nbdw_connect(&w);
    nbdw_handshake(&w, *ret_has, false);
    nbdw_handshake(&w, *ret_lacks, false);
    w.ram.hold = true;
    ask(*ret_has, NBD_CMD_READ, LEN);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    alloc_none = true;
}

static void
let_go(void)
{
    w.ram.hold = false;
    loop_timer_start(&w.loop.l, &w.ram.timer, 0);
}

/* As long as something is under way, what there is no memory for waits, and it goes on with what
 * the other request had. */
static void
test_short_waits_for_others(void **state)
{
    unsigned has, lacks;

    (void)state;
    for (int write = 0; write < 2; write++) {
        begin_short(&has, &lacks);
        ask(lacks, write ? NBD_CMD_WRITE : NBD_CMD_READ, LEN);
        mem_advance(&w.loop, 60 * LOOP_NS_PER_S);
        assert_int_equal(w.clients[lacks].out_len, 0);
        if (POOL_KEPT_MAX == 1)
            alloc_none = false; /* with ASan nothing is kept */
        let_go();
        mem_advance(&w.loop, 50 * LOOP_NS_PER_MS);
        alloc_none = false;
        assert_int_equal(error_of(has), 0);
        if (POOL_KEPT_MAX == 1)
            mem_advance(&w.loop, LOOP_NS_PER_S);
        assert_int_equal(error_of(lacks), 0);
        nbdw_close(&w);
    }
}

/* What is kept in other sizes is given back before anybody waits. */
static void
test_short_gives_back(void **state)
{
    unsigned c;

    (void)state;
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, false);
    ask(c, NBD_CMD_READ, 65536);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    w.clients[c].out_len = 0;
    alloc_left = 0;
    ask(c, NBD_CMD_READ, 4096);
    mem_advance(&w.loop, POOL_KEPT_MAX == 1 ? LOOP_NS_PER_S : 50 * LOOP_NS_PER_MS);
    alloc_left = -1;
    assert_int_equal(error_of(c), 0);
    nbdw_close(&w);
}

/* With nothing under way memory is tried for again, and then the client is told. */
static void
test_short_ends(void **state)
{
    unsigned has, lacks;

    (void)state;
    begin_short(&has, &lacks);
    ask(lacks, NBD_CMD_WRITE, 4096);
    let_go();
    mem_advance(&w.loop, 9 * LOOP_NS_PER_S);
    w.clients[has].out_len = 0;
    ask(has, NBD_CMD_READ, 1 << 20);
    assert_int_equal(w.clients[lacks].out_len, 0);
    mem_advance(&w.loop, 2 * LOOP_NS_PER_S);
    assert_int_equal(error_of(lacks), NBD_ENOMEM);
    ask(lacks, NBD_CMD_READ, 4096); /* begins anew */
    w.clients[lacks].out_len = 0;
    mem_advance(&w.loop, 2 * LOOP_NS_PER_S);
    assert_int_equal(w.clients[lacks].out_len, 0);
    alloc_none = false;
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_int_equal(error_of(lacks), 0);
    nbdw_close(&w);
}

/* The export is stopped while a client waits for memory, with another request under way and
 * without. */
static void
test_short_and_stopped(void **state)
{
    unsigned has, lacks;

    (void)state;
    for (int alone = 0; alone < 2; alone++) {
        begin_short(&has, &lacks);
        ask(lacks, NBD_CMD_READ, 2 * LEN);
        if (alone)
            let_go();
        mem_advance(&w.loop, LOOP_NS_PER_S);
        nbd_export.stop(w.e, nbdw_stopped, &w);
        mem_advance(&w.loop, LOOP_NS_PER_S);
        let_go();
        mem_advance(&w.loop, 20 * LOOP_NS_PER_S);
        alloc_none = false;
        assert_int_equal(w.stopped, 1);
        assert_int_equal(w.clients[lacks].out_len, 0);
        assert_int_equal(error_of(has), 0);
        nbdw_close(&w);
    }
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
        cmocka_unit_test(test_short_waits_for_others),
        cmocka_unit_test(test_short_gives_back),
        cmocka_unit_test(test_short_ends),
        cmocka_unit_test(test_short_and_stopped),
        cmocka_unit_test(test_start_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
