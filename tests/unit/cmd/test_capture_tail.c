/* SPDX-License-Identifier: MIT */
/* How a capture went, of bytes that come in any pieces and may be no pcapng. */
#include "tests/test.h"

#include <string.h>

#include "cmd/common/capture_tail.h"

#define STATISTICS 5

struct bytes {
    uint8_t b[4096];
    size_t len;
};

static void
put(struct bytes *o, const void *p, size_t len)
{
    memcpy(o->b + o->len, p, len);
    o->len += len;
}

static void
put32(struct bytes *o, uint32_t v)
{
    put(o, &v, sizeof(v));
}

static void
put_option(struct bytes *o, uint16_t code, const void *p, uint16_t len)
{
    put(o, &code, sizeof(code));
    put(o, &len, sizeof(len));
    put(o, p, len);
    put(o, "\0\0\0", (4 - len % 4) % 4);
}

static void
put_packet(struct bytes *o, uint32_t len)
{
    put32(o, 6);
    put32(o, len);
    o->len += len - 12;
    put32(o, len);
}

static void
put_statistics(struct bytes *o, const char *why, uint64_t packets, uint64_t dropped)
{
    size_t at = o->len;
    uint32_t len;

    put32(o, STATISTICS);
    put32(o, 0);
    o->len += 12; /* interface and time */
    put_option(o, 1, why, (uint16_t)strlen(why));
    put_option(o, 4, &packets, sizeof(packets));
    put_option(o, 5, &dropped, sizeof(dropped));
    put_option(o, 0, "", 0);
    len = (uint32_t)(o->len + 4 - at);
    put32(o, len);
    memcpy(o->b + at + 4, &len, sizeof(len));
}

static void
any_pieces(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 200; piece += 7) {
        struct bytes o = {.len = 0};
        struct capture_tail t = {.done = false};
        size_t packets_end;

        put_packet(&o, 1500);
        put_packet(&o, 32);
        packets_end = o.len;
        put_statistics(&o, "ended in its time", 2, 7);
        for (size_t at = 0; at < o.len; at += piece) {
            capture_tail_take(&t, o.b + at, piece < o.len - at ? piece : o.len - at);
            assert_int_equal(t.done, at + piece >= o.len);
            if (at + piece >= packets_end && !t.done)
                assert_int_equal(t.whole, packets_end);
        }
        assert_int_equal(t.whole, o.len);
        assert_int_equal(t.packets, 2);
        assert_int_equal(t.dropped, 7);
        assert_string_equal(t.reason, "ended in its time");
    }
}

static void
no_pcapng(void **state)
{
    static const uint32_t lengths[] = {0, 1, 11, 0xffffffff, 1u << 31};
    struct bytes o = {.len = 0};
    struct capture_tail t = {.done = false};
    uint32_t beyond = 0xfff0;

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        t = (struct capture_tail){.done = false};
        o = (struct bytes){.len = 0};
        put32(&o, STATISTICS);
        put32(&o, lengths[i]);
        o.len = sizeof(o.b);
        capture_tail_take(&t, o.b, o.len);
        assert_false(t.done);
        assert_int_equal(t.whole, 0);
    }
    /* an option that says that it is longer than its block */
    t = (struct capture_tail){.done = false};
    o = (struct bytes){.len = 0};
    put_statistics(&o, "why", 2, 0);
    memcpy(o.b + 22, &beyond, 2);
    capture_tail_take(&t, o.b, o.len);
    assert_false(t.done);
    assert_string_equal(t.reason, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_pieces),
        cmocka_unit_test(no_pcapng),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
