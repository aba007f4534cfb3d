/* SPDX-License-Identifier: MIT */
/* target/segment.h, against a walk that cuts the data one PDU after the other. */
#include "tests/test.h"

#include "target/segment.h"

static uint32_t
smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void
walk(const struct tgt_seg *g, uint32_t total)
{
    uint32_t off = g->base_off, sn = g->base_sn, burst_left = g->burst, since_ack = 0;

    while (off < total) {
        uint32_t len = smaller(smaller(total - off, g->xmit), burst_left);
        bool part_ends = false, final;

        if (g->part != 0) {
            uint32_t left = g->part - (off - g->base_off) % g->part;

            part_ends = len >= left;
            len = smaller(len, left);
        }
        assert_int_equal(tgt_seg_off(g, sn), off);
        assert_int_equal(tgt_seg_len(g, off, total), len);
        off += len;
        sn++;
        burst_left -= len;
        since_ack += len;
        final = off == total || burst_left == 0 || part_ends;
        assert_int_equal(tgt_seg_final(g, off, total), final);
        if (tgt_seg_ack(g, off, total)) {
            assert_true(final && off != total && since_ack >= g->burst);
            since_ack = 0;
        }
        assert_true(since_ack < 2 * g->burst + g->part);
        if (final)
            burst_left = g->burst;
    }
}

static void
as_a_walk_cuts(void **state)
{
    static const uint32_t xmits[] = {512, 516, 8192, 262144}, parts[] = {0, 4096, 10000, 262144};
    static const uint32_t bursts[] = {512, 513, 1000, 4096, 65536, 262144, 300000};
    static const uint32_t totals[] = {1, 511, 512, 513, 4096, 65537, 786432};

    (void)state;
    for (size_t x = 0; x < 4; x++) {
        for (size_t b = 0; b < 7; b++) {
            for (size_t p = 0; p < 4; p++) {
                for (size_t t = 0; t < 7; t++) {
                    struct tgt_seg g = {0, 0, xmits[x], bursts[b], parts[p]};

                    walk(&g, totals[t]);
                    g.base_off = totals[t] / 3; /* as R-Data SNACK begins anew */
                    g.base_sn = 0xfffffffeu;
                    walk(&g, totals[t]);
                }
            }
        }
    }
}

/* Near 4 GiB nothing wraps. */
static void
large(void **state)
{
    const struct tgt_seg g = {0, 0, 512, 1u << 24, 0};
    const uint32_t total = 0xfffffe00u, last = total / 512 - 1;

    (void)state;
    assert_int_equal(tgt_seg_off(&g, last), total - 512);
    assert_int_equal(tgt_seg_len(&g, total - 512, total), 512);
    assert_true(tgt_seg_final(&g, total, total));
    assert_false(tgt_seg_ack(&g, total, total));
    assert_true(tgt_seg_ack(&g, 1u << 24, total));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_walk_cuts),
        cmocka_unit_test(large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
