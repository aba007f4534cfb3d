/* SPDX-License-Identifier: MIT */
/* An NBD export between a disk in memory and clients that behave well, badly, or go away. */
#include "tests/test.h"

#include "export/nbd/internal.h"
#include "tests/support/nbd_world.h"

static struct nbdw w;

struct answer {
    uint64_t cookie;
    uint32_t error;
    uint16_t type; /* of the chunk */
    const uint8_t *data;
    size_t len;
};

/* Takes the next answer from what client c was sent, from *at on.  False: there is none. */
static bool
next_answer(unsigned c, size_t *at, uint32_t read_len, struct answer *ret)
{
    const uint8_t *p = w.clients[c].out + *at;
    size_t left = w.clients[c].out_len - *at, len;

    if (left == 0)
        return false;
    *ret = (struct answer){0};
    assert_true(left >= 16);
    if (ld_be32(p) == NBD_SIMPLE_REPLY_MAGIC) {
        ret->error = ld_be32(p + 4);
        memcpy(&ret->cookie, p + 8, 8);
        len = 16;
        ret->data = p + 16;
        ret->len = ret->error == 0 ? read_len : 0;
        assert_true(left >= len + ret->len);
        *at += len + ret->len;
        return true;
    }
    assert_int_equal(ld_be32(p), NBD_CHUNK_MAGIC);
    assert_true(left >= 20);
    assert_int_equal(ld_be16(p + 4), NBD_CHUNK_FLAG_DONE);
    ret->type = ld_be16(p + 6);
    memcpy(&ret->cookie, p + 8, 8);
    len = ld_be32(p + 16);
    assert_true(left >= 20 + len);
    ret->data = p + 20;
    ret->len = len;
    if (ret->type == NBD_CHUNK_ERROR) {
        ret->error = ld_be32(p + 20);
        assert_int_equal(ld_be16(p + 24), len - 6);
    } else if (ret->type == NBD_CHUNK_OFFSET_DATA) {
        ret->data += 8;
        ret->len -= 8;
    }
    *at += 20 + len;
    return true;
}

static void
request(unsigned c, uint16_t type, uint16_t flags, uint64_t cookie, uint64_t offset, uint32_t len)
{
    struct nbd_request r = nbdw_request(type, flags, cookie, offset, len);

    nbdw_send(&w, c, &r, sizeof(r));
}

/* One request with its data; the answer is awaited. */
static struct answer
ask(unsigned c, uint16_t type, uint16_t flags, uint64_t offset, uint32_t len, const void *data)
{
    static uint64_t cookie = 77;
    struct answer a = {.error = UINT32_MAX};
    size_t at = 0;

    w.clients[c].out_len = 0;
    request(c, type, flags, ++cookie, offset, len);
    if (type == NBD_CMD_WRITE)
        nbdw_send(&w, c, data, len);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_true(next_answer(c, &at, type == NBD_CMD_READ ? len : 0, &a));
    assert_int_equal(at, w.clients[c].out_len);
    assert_int_equal(a.cookie, cookie);
    return a;
}

static void
test_all_requests(void **state)
{
    uint8_t *data = malloc(300000);
    struct export_stats s;

    (void)state;
    assert_non_null(data);
    for (int structured = 0; structured < 2; structured++) {
        struct answer a;
        unsigned c;

        nbdw_open(&w, false, 512);
        c = nbdw_connect(&w);
        nbdw_handshake(&w, c, structured);
        for (size_t i = 0; i < 300000; i++)
            data[i] = (uint8_t)(i * 7 + i / 999);
        assert_int_equal(ask(c, NBD_CMD_WRITE, 0, 1024, 512, data).error, 0);
        assert_int_equal(ask(c, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 4096, 262144, data).error, 0);
        assert_memory_equal(w.disk + 1024, data, 512);
        assert_memory_equal(w.disk + 4096, data, 262144);
        a = ask(c, NBD_CMD_READ, 0, 4096, 262144, NULL);
        assert_int_equal(a.error, 0);
        assert_int_equal(a.len, 262144);
        assert_memory_equal(a.data, data, 262144);
        assert_int_equal(a.type, structured ? NBD_CHUNK_OFFSET_DATA : 0);
        assert_int_equal(ask(c, NBD_CMD_READ, 0, 0, 0, NULL).error, 0);
        assert_int_equal(ask(c, NBD_CMD_WRITE, 0, 0, 0, NULL).error, 0);
        assert_int_equal(ask(c, NBD_CMD_WRITE_ZEROES, 0, 4096, 131072, NULL).error, 0);
        assert_int_equal(w.disk[4096], 0);
        assert_int_equal(w.disk[4096 + 131071], 0);
        assert_memory_equal(w.disk + 4096 + 131072, data + 131072, 131072);
        assert_int_equal(ask(c, NBD_CMD_FLUSH, 0, 0, 0, NULL).error, 0);
        w.ram.count = 0;
        assert_int_equal(ask(c, NBD_CMD_TRIM, 0, 0, 65536, NULL).error, 0);
        assert_int_equal(w.ram.count, 1);
        assert_int_equal(ask(c, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 0, 65536, NULL).error, 0);
        assert_int_equal(w.ram.count, 3); /* and a flush */
        assert_int_equal(ask(c, NBD_CMD_CACHE, 0, 0, 512, NULL).error, NBD_EINVAL);
        assert_int_equal(ask(c, NBD_CMD_READ, 0, 1, 512, NULL).error, NBD_EINVAL);
        assert_int_equal(ask(c, NBD_CMD_WRITE, 0, NBDW_SIZE, 512, data).error, NBD_ENOSPC);
        a = ask(c, NBD_CMD_BLOCK_STATUS, 0, 512, 8192, NULL);
        assert_int_equal(a.error, structured ? 0 : NBD_EINVAL);
        if (structured)
            assert_true(a.type == NBD_CHUNK_BLOCK_STATUS && a.len == 12 &&
                        ld_be32(a.data) == NBD_CONTEXT_ID && ld_be32(a.data + 4) == 8192 &&
                        ld_be32(a.data + 8) == 0);
        w.ram.fail_every = 1;
        assert_int_equal(ask(c, NBD_CMD_READ, 0, 0, 512, NULL).error, NBD_EIO);
        assert_int_equal(ask(c, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 0, 512, NULL).error, NBD_EIO);
        w.ram.fail_every = 0;
        assert_int_equal(ask(c, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
        nbd_export.stats(w.e, &s);
        assert_int_equal(s.clients, 1);
        assert_int_equal(s.reads, 5);
        assert_int_equal(s.flushes, 1);
        assert_int_equal(s.discards, 3);
        assert_int_equal(s.bytes_written, 512 + 262144);
        request(c, NBD_CMD_DISC, 0, 0, 0, 0);
        assert_false(w.clients[c].open);
        nbdw_close(&w);
    }
    free(data);
}

/* 32 MiB is what a client may take for granted: here with a disk of that size. */
static void
test_large(void **state)
{
    uint8_t *data = malloc(NBD_PAYLOAD_MAX);

    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < NBD_PAYLOAD_MAX; i++)
        data[i] = (uint8_t)(i * 5 + i / 4099);
    for (int structured = 0; structured < 2; structured++) {
        struct answer a;
        unsigned c, other;

        nbdw_open_of(&w, NBD_PAYLOAD_MAX, false, 512);
        c = nbdw_connect(&w);
        other = nbdw_connect(&w);
        nbdw_handshake(&w, c, structured);
        nbdw_handshake(&w, other, false);
        assert_int_equal(ask(c, NBD_CMD_WRITE, 0, 0, NBD_PAYLOAD_MAX, data).error, 0);
        assert_memory_equal(w.disk, data, NBD_PAYLOAD_MAX);
        a = ask(c, NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX, NULL);
        assert_int_equal(a.error, 0);
        assert_int_equal(a.len, NBD_PAYLOAD_MAX);
        assert_memory_equal(a.data, data, NBD_PAYLOAD_MAX);
        assert_int_equal(ask(c, NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 512, NULL).error, NBD_EINVAL);
        /* A small request does not wait for all the pieces of a large one. */
        w.clients[other].out_len = w.clients[c].out_len = 0;
        request(c, NBD_CMD_READ, 0, 1, 0, NBD_PAYLOAD_MAX);
        request(other, NBD_CMD_READ, 0, 2, 0, 512);
        mem_advance(&w.loop, RAM_DELAY_NS * 7 / 2);
        assert_int_equal(w.clients[other].out_len, 16 + 512);
        assert_int_equal(w.clients[c].out_len, 0);
        nbdw_close(&w);
    }
    free(data);
}

/* Zeroes that are asked for to be fast, and that the device cannot make as they are wanted. */
static void
test_fast_zero(void **state)
{
    const uint16_t fast = NBD_CMD_FLAG_FAST_ZERO, keep = NBD_CMD_FLAG_NO_HOLE;
    struct bdev_limits l;
    unsigned c;

    (void)state;
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, true);
    memset(w.disk, 1, 4096);
    w.ram.only_unmaps = true;
    assert_int_equal(ask(c, NBD_CMD_WRITE_ZEROES, fast | keep, 0, 4096, NULL).error, NBD_ENOTSUP);
    assert_int_equal(w.disk[0], 1); /* and no zero pages were written either */
    assert_int_equal(w.disk[4095], 1);
    assert_int_equal(ask(c, NBD_CMD_WRITE_ZEROES, fast, 0, 512, NULL).error, 0);
    assert_int_equal(w.disk[0], 0);
    assert_int_equal(ask(c, NBD_CMD_WRITE_ZEROES, keep, 512, 512, NULL).error, 0);
    assert_int_equal(w.disk[512], 0);
    assert_int_equal(w.disk[1024], 1);
    l = *bdev_get_limits(w.b);
    l.max_write_zeroes = 0;
    blk_upcalls.event(w.b, BDEV_EV_LIMITS, &l);
    assert_int_equal(ask(c, NBD_CMD_WRITE_ZEROES, fast, 1024, 512, NULL).error, NBD_ENOTSUP);
    assert_int_equal(w.disk[1024], 1);
    assert_int_equal(ask(c, NBD_CMD_WRITE_ZEROES, 0, 1024, 512, NULL).error, 0);
    assert_int_equal(w.disk[1024], 0);
    nbdw_close(&w);
}

static void
test_read_only(void **state)
{
    uint8_t data[512] = {1};
    unsigned c;

    (void)state;
    nbdw_open(&w, true, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, true);
    assert_int_equal(ask(c, NBD_CMD_WRITE, 0, 0, 512, data).error, NBD_EPERM);
    assert_int_equal(ask(c, NBD_CMD_TRIM, 0, 0, 512, NULL).error, NBD_EPERM);
    assert_int_equal(ask(c, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
    assert_int_equal(ask(c, NBD_CMD_FLUSH, 0, 0, 0, NULL).error, 0);
    assert_int_equal(w.disk[0], 0);
    nbdw_close(&w);
}

/* More than a client may have under way, in one piece: all are answered, each once. */
static void
test_many_at_once(void **state)
{
    enum { N = 1000 };
    struct nbd_request *r = calloc(N, sizeof(*r));
    uint8_t seen[N] = {0};
    struct answer a;
    size_t at = 0;
    unsigned c;

    (void)state;
    assert_non_null(r);
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, true);
    for (unsigned i = 0; i < N; i++) {
        r[i] = nbdw_request(NBD_CMD_READ, 0, i, i * 1024, i % 3 == 0 ? 1024 : 512);
        w.disk[i * 1024] = (uint8_t)i;
    }
    nbdw_send(&w, c, r, N * sizeof(*r));
    mem_advance(&w.loop, LOOP_NS_PER_S);
    while (next_answer(c, &at, 0, &a)) {
        assert_int_equal(a.error, 0);
        assert_true(a.cookie < N);
        assert_int_equal(a.data[0], a.cookie & 0xff);
        assert_int_equal(seen[a.cookie]++, 0);
    }
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    nbdw_close(&w);
    free(r);
}

/* Any bytes of writes at a time, so that data and heads are cut everywhere. */
static void
test_cut_anywhere(void **state)
{
    static const uint32_t lens[] = {512, 20480, 512, 16384, 65536, 512};
    uint8_t *bytes = malloc(200000), *want = calloc(1, NBDW_SIZE);
    size_t n = 0, offset = 0;

    (void)state;
    assert_true(bytes != NULL && want != NULL);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct nbd_request r = nbdw_request(NBD_CMD_WRITE, 0, i, offset, lens[i]);

        memcpy(bytes + n, &r, sizeof(r));
        n += sizeof(r);
        for (uint32_t k = 0; k < lens[i]; k++)
            bytes[n + k] = want[offset + k] = (uint8_t)(i * 31 + k * 7 + k / 513);
        n += lens[i];
        offset += lens[i];
    }
    for (size_t step = 1; step < 70000; step = step * 3 + 1) {
        unsigned c;

        nbdw_open(&w, false, 512);
        c = nbdw_connect(&w);
        nbdw_handshake(&w, c, false);
        for (size_t i = 0; i < n; i += step)
            nbdw_send(&w, c, bytes + i, n - i < step ? n - i : step);
        mem_advance(&w.loop, LOOP_NS_PER_S);
        assert_int_equal(w.clients[c].out_len, 16 * sizeof(lens) / sizeof(lens[0]));
        assert_memory_equal(w.disk, want, NBDW_SIZE);
        nbdw_close(&w);
    }
    free(bytes);
    free(want);
}

/* A client that goes while the device has its requests: they are waited for, and others go on. */
static void
test_gone_in_the_middle(void **state)
{
    struct nbd_request part = nbdw_request(NBD_CMD_WRITE, 0, 1, 0, 65536);
    struct export_stats s;
    unsigned a, b;

    (void)state;
    nbdw_open(&w, false, 512);
    a = nbdw_connect(&w);
    b = nbdw_connect(&w);
    nbdw_handshake(&w, a, true);
    nbdw_handshake(&w, b, false);
    w.ram.hold = true;
    for (unsigned i = 0; i < 20; i++)
        request(a, NBD_CMD_READ, 0, i, i * 4096, 4096);
    nbdw_send(&w, a, &part, sizeof(part));
    nbdw_send(&w, a, w.disk, 1000);
    nbdw_hang_up(&w, a);
    assert_false(w.clients[a].open);
    nbd_export.stats(w.e, &s);
    assert_int_equal(s.clients, 1);
    assert_int_equal(s.reads, 0);
    w.ram.hold = false;
    loop_timer_start(&w.loop.l, &w.ram.timer, 0);
    assert_int_equal(ask(b, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
    nbd_export.stats(w.e, &s);
    assert_int_equal(s.reads, 21);
    nbdw_close(&w);
}

/* The same while the export is being stopped, which ends with the last request. */
static void
test_gone_at_a_stop(void **state)
{
    unsigned c;

    (void)state;
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, true);
    w.ram.hold = true;
    request(c, NBD_CMD_READ, 0, 1, 0, 512);
    mem_work(&w.loop);
    nbdw_hang_up(&w, c);
    nbd_export.stop(w.e, nbdw_stopped, &w);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_int_equal(w.stopped, 0);
    w.ram.hold = false;
    loop_timer_start(&w.loop.l, &w.ram.timer, 0);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_int_equal(w.stopped, 1);
    nbdw_close(&w);
}

/* Requests under way at a disconnect are answered; those behind it do not count. */
static void
test_disconnect(void **state)
{
    struct nbd_request r[3] = {nbdw_request(NBD_CMD_READ, 0, 5, 0, 512),
                               nbdw_request(NBD_CMD_DISC, 0, 0, 0, 0),
                               nbdw_request(NBD_CMD_WRITE_ZEROES, 0, 6, 0, 512)};
    struct answer a;
    size_t at = 0;
    unsigned c;

    (void)state;
    nbdw_open(&w, false, 512);
    w.disk[0] = 9;
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, false);
    nbdw_send(&w, c, r, sizeof(r));
    assert_true(w.clients[c].open);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_false(w.clients[c].open);
    assert_true(next_answer(c, &at, 512, &a));
    assert_true(a.cookie == 5 && a.data[0] == 9);
    assert_false(next_answer(c, &at, 0, &a));
    assert_int_equal(w.disk[0], 9);
    nbdw_close(&w);
}

/* A client that does not take its replies after a disconnect loses its place. */
static void
test_disconnect_unread(void **state)
{
    struct export_stats s;
    unsigned c, other;

    (void)state;
    for (int stop = 0; stop < 2; stop++) {
        nbdw_open(&w, false, 512);
        c = nbdw_connect(&w);
        other = nbdw_connect(&w);
        nbdw_handshake(&w, c, true);
        nbdw_handshake(&w, other, false);
        w.clients[c].stuck = true; /* 100 bytes, then no more */
        request(c, NBD_CMD_READ, 0, 1, 0, 65536);
        request(c, NBD_CMD_DISC, 0, 0, 0, 0);
        mem_advance(&w.loop, NBD_LEAVE_NS / 2);
        assert_true(w.clients[c].open);
        if (stop) { /* which does not wait as long */
            nbd_export.stop(w.e, nbdw_stopped, &w);
            mem_work(&w.loop);
            mem_advance(&w.loop, NBD_STOP_NS);
            assert_int_equal(w.stopped, 1);
        } else {
            mem_advance(&w.loop, NBD_LEAVE_NS / 2 + LOOP_NS_PER_MS);
            nbd_export.stats(w.e, &s);
            assert_int_equal(s.clients, 1);
            assert_int_equal(ask(other, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
        }
        assert_false(w.clients[c].open);
        nbdw_close(&w);
    }
}

/* One that has not got through the handshake is told why it does not. */
static void
test_stop_in_a_handshake(void **state)
{
    uint8_t go[64] = {0, 0, 0, NBD_FLAG_FIXED_NEWSTYLE};
    struct nbd_option_reply r;
    unsigned busy, shaking;
    size_t n;

    (void)state;
    nbdw_open(&w, false, 512);
    busy = nbdw_connect(&w);
    nbdw_handshake(&w, busy, false);
    shaking = nbdw_connect(&w);
    w.ram.hold = true;
    request(busy, NBD_CMD_READ, 0, 1, 0, 512);
    nbd_export.stop(w.e, nbdw_stopped, &w);
    mem_work(&w.loop);
    w.clients[shaking].out_len = 0;
    n = 4 + nbdw_option(go + 4, NBD_OPT_GO, "\0\0\0\0\0\0", 6);
    nbdw_send(&w, shaking, go, n);
    assert_int_equal(w.clients[shaking].out_len, sizeof(r) + strlen("the export is being stopped"));
    memcpy(&r, w.clients[shaking].out, sizeof(r));
    assert_int_equal(get32(r.type), NBD_REP_ERR_SHUTDOWN);
    assert_true(w.clients[shaking].open);
    w.ram.hold = false;
    loop_timer_start(&w.loop.l, &w.ram.timer, 0);
    mem_advance(&w.loop, LOOP_NS_PER_MS);
    assert_int_equal(w.stopped, 1);
    assert_false(w.clients[shaking].open);
    nbdw_close(&w);
}

static struct stream *no_room; /* takes 100 bytes, and then no more while it is set */

static ssize_t
sendv_once(struct stream *s, const struct iovec *iov, int n, size_t total)
{
    struct mem_stream *m = mem_stream_of(s);

    if (s != no_room || m->out_len < 100)
        return mem_loop_ops.sendv(s, iov, n, total);
    m->want_room = true;
    return -EAGAIN;
}

/* Nor does one wait for ever whose handshake was over but for the rest of a reply. */
static void
test_stop_at_the_end_of_a_handshake(void **state)
{
    static const uint8_t infos[] = {0, 0, 0, 0, 0, 2, 0, NBD_INFO_NAME, 0, NBD_INFO_BLOCK_SIZE};
    uint8_t go[64] = {0, 0, 0, NBD_FLAG_FIXED_NEWSTYLE};
    unsigned busy, shaking;

    (void)state;
    nbdw_open(&w, false, 512);
    busy = nbdw_connect(&w);
    nbdw_handshake(&w, busy, false);
    shaking = nbdw_connect(&w);
    w.clients[shaking].out_len = 0;
    w.clients[shaking].stuck = true;
    no_room = &w.clients[shaking].base;
    w.ops.sendv = sendv_once;
    nbdw_send(&w, shaking, go, 4 + nbdw_option(go + 4, NBD_OPT_GO, infos, sizeof(infos)));
    assert_int_equal(w.clients[shaking].out_len, 100);
    w.ram.hold = true;
    request(busy, NBD_CMD_READ, 0, 1, 0, 512);
    nbd_export.stop(w.e, nbdw_stopped, &w);
    no_room = NULL;
    mem_room(&w.loop, &w.clients[shaking], false);
    assert_true(w.clients[shaking].out_len > 100);
    assert_false(w.clients[shaking].open);
    assert_int_equal(w.stopped, 0);
    w.ram.hold = false;
    loop_timer_start(&w.loop.l, &w.ram.timer, 0);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_int_equal(w.stopped, 1);
    nbdw_close(&w);
}

static void
test_stop_answers_what_is_under_way(void **state)
{
    struct nbd_request r = nbdw_request(NBD_CMD_READ, 0, 1, 0, 512);
    struct answer a;
    size_t at = 0;
    unsigned c, shaking, idle;

    (void)state;
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, false);
    idle = nbdw_connect(&w);
    nbdw_handshake(&w, idle, false);
    shaking = nbdw_connect(&w);
    w.ram.hold = true;
    nbdw_send(&w, c, &r, sizeof(r));
    nbd_export.stop(w.e, nbdw_stopped, &w);
    assert_false(w.listener.open);
    assert_int_equal(w.stopped, 0);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_int_equal(w.stopped, 0);
    assert_true(w.clients[c].open && w.clients[shaking].open && !w.clients[idle].open);
    w.ram.hold = false;
    loop_timer_start(&w.loop.l, &w.ram.timer, 0);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    assert_int_equal(w.stopped, 1);
    assert_false(w.clients[shaking].open);
    assert_true(next_answer(c, &at, 512, &a));
    assert_int_equal(a.cookie, 1);
    nbdw_close(&w);
}

/* A reply that does not fit into the socket at once is sent whole, also when the export is being
 * stopped, to a client that takes it. */
static void
test_stop_sends_the_rest(void **state)
{
    struct answer a;
    size_t at = 0;
    unsigned c, half;

    (void)state;
    nbdw_open(&w, false, 512);
    memset(w.disk, 7, 65536);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, true);
    half = nbdw_connect(&w);
    nbdw_handshake(&w, half, true);
    request(half, NBD_CMD_WRITE, 0, 2, 0, 512); /* its data never comes */
    w.clients[c].out_len = 0;
    w.clients[c].stuck = true; /* 100 bytes, then no more for a while */
    request(c, NBD_CMD_READ, 0, 1, 0, 65536);
    nbd_export.stop(w.e, nbdw_stopped, &w);
    mem_advance(&w.loop, NBD_STOP_NS / 2);
    assert_int_equal(w.stopped, 0);
    assert_true(w.clients[c].open && !w.clients[half].open);
    mem_room(&w.loop, &w.clients[c], false);
    assert_int_equal(w.stopped, 1);
    assert_true(next_answer(c, &at, 65536, &a));
    assert_true(a.error == 0 && a.len == 65536 && a.data[65535] == 7);
    nbdw_close(&w);
}

/* A client that does not take its replies is not read, has no more than its share, and neither
 * disturbs others nor delays a stop for long. */
static void
test_stalled(void **state)
{
    unsigned a, b;

    (void)state;
    nbdw_open(&w, false, 512);
    a = nbdw_connect(&w);
    b = nbdw_connect(&w);
    nbdw_handshake(&w, a, true);
    nbdw_handshake(&w, b, true);
    w.clients[a].stuck = true; /* 100 bytes, then no more */
    for (unsigned i = 0; i < 2 * NBD_DEPTH; i++) {
        struct nbd_request r = nbdw_request(NBD_CMD_READ, 0, i, 0, 65536);

        if (w.clients[a].ev->readable == NULL)
            break;
        nbdw_send(&w, a, &r, sizeof(r));
        mem_advance(&w.loop, 10000000);
    }
    assert_null(w.clients[a].ev->readable);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(ask(b, NBD_CMD_READ, 0, 0, 65536, NULL).error, 0);
    nbd_export.stop(w.e, nbdw_stopped, &w);
    mem_work(&w.loop);
    mem_advance(&w.loop, NBD_STOP_NS);
    assert_int_equal(w.stopped, 1);
    nbdw_close(&w);
}

static void
test_nonsense_is_cut_off(void **state)
{
    struct nbd_request bad[] = {nbdw_request(NBD_CMD_READ, 0, 1, 0, 512),
                                nbdw_request(NBD_CMD_WRITE, 0, 1, 0, 0xffffffff),
                                nbdw_request(NBD_CMD_WRITE, 0, 1, 0, NBD_DROP_MAX + 512)};
    uint8_t *much = calloc(1, NBD_PAYLOAD_MAX + 512);
    unsigned good;

    (void)state;
    assert_non_null(much);
    bad[0].magic = put32(0);
    nbdw_open(&w, false, 512);
    good = nbdw_connect(&w);
    nbdw_handshake(&w, good, true);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned c = nbdw_connect(&w);

        nbdw_handshake(&w, c, true);
        nbdw_send(&w, c, &bad[i], sizeof(bad[i]));
        assert_false(w.clients[c].open);
    }
    /* What is too long, but not absurd, is dropped and refused, and the next request is found. */
    assert_int_equal(ask(good, NBD_CMD_WRITE, 0, 0, NBD_PAYLOAD_MAX + 512, much).error, NBD_EINVAL);
    assert_int_equal(ask(good, NBD_CMD_READ, 0, 0, 0xffffffff, NULL).error, NBD_EINVAL);
    assert_int_equal(ask(good, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
    nbdw_close(&w);
    free(much);
}

static void
test_handshake_has_a_limit(void **state)
{
    unsigned slow, good;

    (void)state;
    nbdw_open(&w, false, 512);
    slow = nbdw_connect(&w);
    good = nbdw_connect(&w);
    nbdw_handshake(&w, good, false);
    nbdw_send(&w, slow, "\0\0\0\3IHAVEO", 10);
    mem_advance(&w.loop, NBD_HANDSHAKE_NS - 20000000);
    assert_true(w.clients[slow].open);
    mem_advance(&w.loop, 40000000);
    assert_false(w.clients[slow].open);
    assert_int_equal(ask(good, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
    nbdw_close(&w);
}

/* Who has not got through the handshake makes place for who comes; who has does not. */
static void
test_connections_are_bounded(void **state)
{
    unsigned first, good;

    (void)state;
    nbdw_open(&w, false, 512);
    first = nbdw_connect(&w);
    for (unsigned i = 1; i < NBD_CLIENTS_MAX; i++)
        (void)nbdw_connect(&w);
    assert_true(w.clients[first].open);
    good = nbdw_connect(&w);
    assert_false(w.clients[first].open);
    nbdw_handshake(&w, good, false);
    assert_int_equal(ask(good, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
    for (unsigned i = 1; i < NBD_CLIENTS_MAX; i++)
        nbdw_handshake(&w, i, false);
    assert_false(w.clients[nbdw_connect(&w)].open);
    nbdw_hang_up(&w, 1);
    assert_true(w.clients[nbdw_connect(&w)].open);
    nbdw_close(&w);
}

/* Those that are gone, but whose requests the device still has, count. */
static void
test_the_gone_are_bounded(void **state)
{
    unsigned last = 0;

    (void)state;
    nbdw_open(&w, false, 512);
    w.ram.hold = true;
    for (unsigned i = 0; i <= NBD_CLIENTS_MAX; i++) {
        last = nbdw_connect(&w);
        nbdw_handshake(&w, last, false);
        if (!w.clients[last].open)
            break;
        request(last, NBD_CMD_READ, 0, 1, 0, 512);
        nbdw_hang_up(&w, last);
    }
    assert_int_equal(last, NBD_CLIENTS_MAX);
    assert_int_equal(w.ram.count, NBD_CLIENTS_MAX);
    w.ram.hold = false;
    loop_timer_start(&w.loop.l, &w.ram.timer, 0);
    mem_advance(&w.loop, LOOP_NS_PER_S);
    last = nbdw_connect(&w);
    nbdw_handshake(&w, last, false);
    assert_int_equal(ask(last, NBD_CMD_READ, 0, 0, 512, NULL).error, 0);
    nbdw_close(&w);
}

static void
test_the_device_goes(void **state)
{
    unsigned c;

    (void)state;
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, true);
    blk_upcalls.event(w.b, BDEV_EV_GONE, NULL);
    assert_int_equal(w.ended, 0);
    mem_work(&w.loop);
    assert_int_equal(w.ended, 1);
    assert_int_equal(ask(c, NBD_CMD_READ, 0, 0, 512, NULL).error, NBD_EIO);
    assert_int_equal(w.ended, 1);
    nbdw_close(&w);
}

/* Requests are compared with the size of the moment. */
static void
test_another_size(void **state)
{
    struct bdev_limits l;
    unsigned c;

    (void)state;
    nbdw_open(&w, false, 512);
    c = nbdw_connect(&w);
    nbdw_handshake(&w, c, true);
    l = *bdev_get_limits(w.b);
    l.size /= 2;
    blk_upcalls.event(w.b, BDEV_EV_RESIZED, &l);
    assert_int_equal(ask(c, NBD_CMD_READ, 0, NBDW_SIZE / 2, 512, NULL).error, NBD_EINVAL);
    assert_int_equal(ask(c, NBD_CMD_READ, 0, NBDW_SIZE / 2 - 512, 512, NULL).error, 0);
    l.size *= 2;
    blk_upcalls.event(w.b, BDEV_EV_RESIZED, &l);
    assert_int_equal(ask(c, NBD_CMD_READ, 0, NBDW_SIZE / 2, 512, NULL).error, 0);
    nbdw_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_requests),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_fast_zero),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_gone_in_the_middle),
        cmocka_unit_test(test_gone_at_a_stop),
        cmocka_unit_test(test_disconnect),
        cmocka_unit_test(test_disconnect_unread),
        cmocka_unit_test(test_stop_in_a_handshake),
        cmocka_unit_test(test_stop_at_the_end_of_a_handshake),
        cmocka_unit_test(test_stop_answers_what_is_under_way),
        cmocka_unit_test(test_stop_sends_the_rest),
        cmocka_unit_test(test_stalled),
        cmocka_unit_test(test_nonsense_is_cut_off),
        cmocka_unit_test(test_handshake_has_a_limit),
        cmocka_unit_test(test_connections_are_bounded),
        cmocka_unit_test(test_the_gone_are_bounded),
        cmocka_unit_test(test_the_device_goes),
        cmocka_unit_test(test_another_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
