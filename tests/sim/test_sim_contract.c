/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_contract.c - what lunette.h says of memory, iovecs, offsets and lengths,
 * through the whole stack and back. */
#include "tests/test.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK  512u
#define BLOCKS 1024u /* of the memory that the tests write and read */

static struct unit {
    struct world w;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    struct lunette_error err;
    uint64_t size;
} u;

static uint8_t out[BLOCKS * BLOCK + 64], in[BLOCKS * BLOCK + 64];
static struct iovec iov[BLOCKS * BLOCK];

static void
unit_open(void)
{
    struct world_config cfg = {.block = BLOCK, .options = ""};
    struct lunette_info info = LUNETTE_INIT(info);

    memset(&u, 0, sizeof(u));
    world_new(&u.w, 1, &cfg);
    if (lunette_open(u.w.ctx, u.w.url, 0, &u.lun, &u.err) < 0 ||
        lunette_queue_new(u.lun, 4, &u.q, &u.err) < 0)
        fail_msg("%s", u.err.msg);
    assert_int_equal(lunette_get_info(u.lun, &info), 0);
    assert_int_equal(info.block_size, BLOCK);
    u.size = info.size;
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    memset(in, 0, sizeof(in));
}

static void
unit_close(void)
{
    lunette_queue_free(u.q);
    lunette_close(u.lun);
    world_free(&u.w);
}

/* What became of the only request; its completion comes once. */
static int
outcome(int queued)
{
    struct lunette_completion c;

    if (queued < 0)
        return queued;
    assert_int_equal(lunette_queue_poll(u.q, &c, 1, 1, -1), 1);
    assert_int_equal(lunette_queue_inflight(u.q), 0);
    return c.err;
}

/* iovecs of `each` bytes over memory, with an empty one before each third; returns their number. */
static int
spread(uint8_t *memory, size_t len, size_t each)
{
    int n = 0;

    for (size_t at = 0, i = 0; at < len; i++) {
        size_t take = len - at < each ? len - at : each;

        if (i % 3 == 0)
            iov[n++] = (struct iovec){NULL, 0};
        iov[n++] = (struct iovec){memory + at, take};
        at += take;
    }
    return n;
}

static void
memory_at_any_address(void **state)
{
    (void)state;
    unit_open();
    for (size_t at = 0; at < 9; at++) {
        memset(in, 0, sizeof(in));
        assert_int_equal(lunette_pwrite(u.lun, out + at, 8 * BLOCK, 0, 0, &u.err), 0);
        assert_int_equal(lunette_pread(u.lun, in + 8 - at, 8 * BLOCK, 0, &u.err), 0);
        assert_memory_equal(in + 8 - at, out + at, 8 * BLOCK);
    }
    unit_close();
}

/* Of any length, some of them 0, and more than go into one command. */
static void
iovecs_of_any_length(void **state)
{
    static const size_t each[] = {3, 7, 100, 511, 513, 4096, 100000};
    const size_t len = BLOCKS * BLOCK;

    (void)state;
    unit_open();
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        int n = spread(out + 1, len, each[i]);

        memset(in, 0, sizeof(in));
        assert_int_equal(outcome(lunette_queue_writev(u.q, iov, n, 0, 0, NULL)), 0);
        n = spread(in + 5, len, each[i] + 1);
        assert_int_equal(outcome(lunette_queue_readv(u.q, iov, n, 0, NULL)), 0);
        assert_memory_equal(in + 5, out + 1, len);
    }
    unit_close();
}

/* A command takes LUNETTE_IOV_PER_BLOCK_MAX of them: a block has to fit. */
static void
iovecs_that_are_too_short(void **state)
{
    (void)state;
    unit_open();
    for (size_t i = 0; i < BLOCK; i++)
        iov[i] = (struct iovec){in + i, 1};
    assert_int_equal(outcome(lunette_queue_readv(u.q, iov, BLOCK, 0, NULL)), -EINVAL);
    for (size_t i = 0; i < LUNETTE_IOV_PER_BLOCK_MAX; i++)
        iov[i] = (struct iovec){in + 2 * i, BLOCK / LUNETTE_IOV_PER_BLOCK_MAX};
    assert_int_equal(outcome(lunette_queue_readv(u.q, iov, LUNETTE_IOV_PER_BLOCK_MAX, 0, NULL)), 0);
    unit_close();
}

static void
counts_of_iovecs(void **state)
{
    (void)state;
    unit_open();
    assert_int_equal(outcome(lunette_queue_readv(u.q, NULL, 0, 0, NULL)), 0);
    assert_int_equal(outcome(lunette_queue_writev(u.q, NULL, 0, 0, 0, NULL)), 0);
    assert_int_equal(lunette_queue_readv(u.q, iov, -1, 0, NULL), -EINVAL);
    assert_int_equal(lunette_queue_writev(u.q, iov, INT_MIN, 0, 0, NULL), -EINVAL);
    iov[0] = (struct iovec){in, SIZE_MAX};
    iov[1] = (struct iovec){in, 1 + BLOCK};
    assert_int_equal(outcome(lunette_queue_readv(u.q, iov, 2, 0, NULL)), -EINVAL);
    unit_close();
}

static void
offsets_and_lengths_are_whole_blocks(void **state)
{
    static const struct {
        uint64_t offset, len;
    } bad[] = {{1, BLOCK}, {0, 1}, {BLOCK, BLOCK - 1}, {BLOCK / 2, BLOCK}, {1, 0}};

    (void)state;
    unit_open();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t at = bad[i].offset, len = bad[i].len;

        assert_int_equal(lunette_pread(u.lun, in, len, at, &u.err), -EINVAL);
        assert_int_equal(u.err.domain, LUNETTE_DOM_USAGE);
        assert_int_equal(lunette_pwrite(u.lun, out, len, at, 0, &u.err), -EINVAL);
        assert_int_equal(lunette_discard(u.lun, len, at, &u.err), -EINVAL);
        assert_int_equal(lunette_write_zeroes(u.lun, len, at, 0, &u.err), -EINVAL);
        assert_int_equal(outcome(lunette_queue_read(u.q, in, len, at, NULL)), -EINVAL);
        assert_int_equal(outcome(lunette_queue_write(u.q, out, len, at, 0, NULL)), -EINVAL);
        assert_int_equal(outcome(lunette_queue_discard(u.q, len, at, NULL)), -EINVAL);
        assert_int_equal(outcome(lunette_queue_write_zeroes(u.q, len, at, 0, NULL)), -EINVAL);
    }
    unit_close();
}

/* No command is sent for them, but they are looked at like others: up to the end, and not behind.
 */
static void
lengths_of_zero(void **state)
{
    struct target_stats before, after;

    (void)state;
    unit_open();
    target_stats(u.w.target, &before);
    for (uint64_t at = 0; at <= u.size; at += u.size) {
        assert_int_equal(lunette_pread(u.lun, NULL, 0, at, &u.err), 0);
        assert_int_equal(lunette_pwrite(u.lun, NULL, 0, at, 0, &u.err), 0);
        assert_int_equal(lunette_discard(u.lun, 0, at, &u.err), 0);
        assert_int_equal(lunette_write_zeroes(u.lun, 0, at, 0, &u.err), 0);
        assert_int_equal(outcome(lunette_queue_read(u.q, NULL, 0, at, NULL)), 0);
        assert_int_equal(outcome(lunette_queue_write(u.q, NULL, 0, at, LUNETTE_FUA, NULL)), 0);
        assert_int_equal(outcome(lunette_queue_discard(u.q, 0, at, NULL)), 0);
        assert_int_equal(outcome(lunette_queue_write_zeroes(u.q, 0, at, 0, NULL)), 0);
    }
    target_stats(u.w.target, &after);
    assert_int_equal(before.commands, after.commands);
    assert_int_equal(lunette_pread(u.lun, NULL, 0, u.size + BLOCK, &u.err), -EINVAL);
    assert_int_equal(lunette_pread(u.lun, NULL, 0, UINT64_MAX - BLOCK + 1, &u.err), -EINVAL);
    assert_int_equal(lunette_pread(u.lun, in, BLOCK, u.size, &u.err), -EINVAL);
    assert_int_equal(lunette_pread(u.lun, in, 2 * BLOCK, u.size - BLOCK, &u.err), -EINVAL);
    unit_close();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_at_any_address),
        cmocka_unit_test(iovecs_of_any_length),
        cmocka_unit_test(iovecs_that_are_too_short),
        cmocka_unit_test(counts_of_iovecs),
        cmocka_unit_test(offsets_and_lengths_are_whole_blocks),
        cmocka_unit_test(lengths_of_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
