/* SPDX-License-Identifier: MIT */
/* test_message.c - messages of iSNS: what is written is read again, in pieces of any size, and what
 * no server may send is refused. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "isns/message.h"
#include "tests/test.h"
#include "wire/be.h"

#define A "iqn.2026-11.example:a"
#define B "iqn.2026-11.example:b"

static struct sock_addr
address4(uint32_t host, uint16_t port)
{
    struct sock_addr a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (void *)&a.ss;

    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(host);
    in->sin_port = htons(port);
    return a;
}

static struct sock_addr
address6(uint8_t first, uint8_t second, uint8_t last, uint16_t port)
{
    struct sock_addr a = {.len = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 *in6 = (void *)&a.ss;

    in6->sin6_family = AF_INET6;
    in6->sin6_addr.s6_addr[0] = first;
    in6->sin6_addr.s6_addr[1] = second;
    in6->sin6_addr.s6_addr[15] = last;
    in6->sin6_port = htons(port);
    return a;
}

static void
put_group(struct isns_out *o, const char *name, const struct sock_addr *at, int tag)
{
    isns_put_text(o, ISNS_GROUP_NODE, name);
    isns_put_portal(o, ISNS_GROUP_ADDRESS, ISNS_GROUP_PORT, at, 0);
    if (tag < 0)
        isns_put(o, ISNS_GROUP_TAG, NULL, 0);
    else
        isns_put_num(o, ISNS_GROUP_TAG, (uint32_t)tag);
}

static void
begin_answer(struct isns_out *o)
{
    isns_begin(o, ISNS_DEV_ATTR_QRY | ISNS_ANSWER, ISNS_SERVER, 7);
    isns_put_status(o, ISNS_OK);
    isns_put_num(o, ISNS_NODE_TYPE, ISNS_TYPE_TARGET);
    isns_put(o, ISNS_DELIMITER, NULL, 0);
}

/* Feeds pieces of `step` bytes.  Returns what the last one is answered with. */
static int
feed(struct isns_in *in, const uint8_t *bytes, size_t len, size_t step, struct lunette_error *err)
{
    size_t used;
    int r = 0;

    for (size_t at = 0; at < len && r == 0; at += step) {
        size_t n = len - at < step ? len - at : step;

        r = isns_feed(in, bytes + at, n, &used, err);
        assert_true(r < 0 || used == n);
    }
    return r;
}

static int
read_targets(const struct isns_out *o, struct isns_targets *ret, struct lunette_error *err)
{
    struct isns_in in;
    int r;

    assert_false(o->overflow);
    isns_in_init(&in);
    assert_int_equal(feed(&in, o->buf, o->len, 100, err), 1);
    r = isns_read_targets(&in, ret, err);
    isns_in_reset(&in);
    return r;
}

static void
test_pieces(void **state)
{
    struct isns_out o;

    (void)state;
    isns_put_query(&o, 0x1234, A);
    for (size_t step = 1; step <= o.len; step++) {
        struct isns_attr a;
        struct isns_in in;
        uint32_t type = 0;
        size_t at = 0;

        isns_in_init(&in);
        assert_int_equal(feed(&in, o.buf, o.len, step, NULL), 1);
        assert_int_equal(in.function, ISNS_DEV_ATTR_QRY);
        assert_int_equal(in.xid, 0x1234);
        assert_int_equal(isns_next(&in, &at, &a), 1);
        assert_int_equal(a.tag, ISNS_NODE_NAME);
        assert_int_equal(a.len, 24); /* 21 bytes, the NUL, and 2 of padding */
        assert_string_equal((const char *)a.value, A);
        assert_true(isns_find(&in, false, ISNS_NODE_TYPE, &a) && isns_num(&a, &type));
        assert_int_equal(type, ISNS_TYPE_TARGET);
        assert_false(isns_find(&in, false, ISNS_ENTITY, &a));
        isns_in_reset(&in);
    }
}

/* A message of three PDUs. */
static void
test_many_pdus(void **state)
{
    struct isns_out o;
    uint8_t split[3][ISNS_SEND_MAX];
    struct isns_in in;
    size_t each;

    (void)state;
    isns_put_query(&o, 3, A);
    each = (o.len - ISNS_HEAD_LEN) / 3 / 4 * 4;
    isns_in_init(&in);
    for (size_t i = 0; i < 3; i++) {
        size_t from = ISNS_HEAD_LEN + i * each, n = i < 2 ? each : o.len - from;

        memcpy(split[i], o.buf, ISNS_HEAD_LEN);
        memcpy(split[i] + ISNS_HEAD_LEN, o.buf + from, n);
        st_be16(split[i] + 4, (uint16_t)n);
        st_be16(split[i] + 6, (uint16_t)(i == 0 ? ISNS_FIRST : i == 2 ? ISNS_LAST : 0));
        st_be16(split[i] + 10, (uint16_t)i);
        assert_int_equal(feed(&in, split[i], ISNS_HEAD_LEN + n, 50, NULL), i == 2);
    }
    assert_int_equal(in.len, o.len - ISNS_HEAD_LEN);
    assert_memory_equal(in.data, o.buf + ISNS_HEAD_LEN, in.len);
    isns_in_reset(&in);
    assert_int_equal(feed(&in, split[0], ISNS_HEAD_LEN + each, 50, NULL), 0);
    assert_int_equal(feed(&in, split[2], ISNS_HEAD_LEN, 50, NULL), -EPROTO);
    isns_in_reset(&in);
}

static void
test_heads(void **state)
{
    static const struct {
        size_t at;
        uint16_t value;
        const char *why;
    } t[] = {
        {0, 2, "version 1"},
        {4, 6, "multiple of 4"},
        {6, ISNS_FIRST | ISNS_LAST | ISNS_AUTH, "no key"},
        {6, ISNS_LAST, "out of order"},
        {10, 1, "out of order"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct lunette_error err = {.code = 0};
        struct isns_out o;
        struct isns_in in;

        isns_put_query(&o, 3, A);
        st_be16(o.buf + t[i].at, t[i].value);
        isns_in_init(&in);
        assert_int_equal(feed(&in, o.buf, o.len, 7, &err), -EPROTO);
        assert_non_null(strstr(err.msg, t[i].why));
        isns_in_reset(&in);
    }
}

/* A server that never comes to an end does not fill memory. */
static void
test_endless(void **state)
{
    uint8_t pdu[ISNS_HEAD_LEN + 0xfffc] = {[1] = 1, [3] = 2, [4] = 0xff, [5] = 0xfc, [6] = 4};
    struct lunette_error err;
    struct isns_in in;
    unsigned i = 0;
    size_t used;

    (void)state;
    isns_in_init(&in);
    while (isns_feed(&in, pdu, sizeof(pdu), &used, &err) == 0) {
        pdu[6] = 0;
        st_be16(pdu + 10, (uint16_t)++i);
        assert_true(i < 100);
    }
    assert_non_null(strstr(err.msg, "4 MiB"));
    assert_true(in.room <= 2 * ISNS_MESSAGE_MAX);
    isns_in_reset(&in);
}

static void
test_targets(void **state)
{
    struct sock_addr v4 = address4(0x0a000001, 3260), v6 = address6(0x20, 1, 7, 3261),
                     local = address6(0xfe, 0x80, 9, 3262);
    struct lunette_error err = {.code = 0};
    struct isns_targets t;
    struct isns_out o;

    (void)state;
    begin_answer(&o);
    isns_put_text(&o, ISNS_NODE_NAME, B);
    isns_put_num(&o, ISNS_NODE_TYPE, ISNS_TYPE_TARGET);
    isns_put_text(&o, ISNS_NODE_NAME, A "-initiator");
    isns_put_num(&o, ISNS_NODE_TYPE, ISNS_TYPE_INITIATOR);
    put_group(&o, B, &v4, 1);
    put_group(&o, A, &v6, 2);
    put_group(&o, B, &local, 65535);
    put_group(&o, A "-initiator", &v4, 1);
    put_group(&o, A, &v4, -1); /* not to be reached there */
    assert_int_equal(read_targets(&o, &t, &err), 0);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.bad, 0);
    assert_string_equal(t.portal[0].name, A);
    assert_string_equal(t.portal[0].at.host, "2001::7");
    assert_int_equal(t.portal[0].at.port, 3261);
    assert_int_equal(t.portal[0].at.tpgt, 2);
    assert_string_equal(t.portal[1].name, B);
    assert_string_equal(t.portal[1].at.host, "10.0.0.1");
    assert_int_equal(t.portal[1].at.port, 3260);
    assert_string_equal(t.portal[2].at.host, "fe80::9");
    assert_int_equal(t.portal[2].at.tpgt, 65535);
    isns_targets_free(&t);

    begin_answer(&o);
    assert_int_equal(read_targets(&o, &t, &err), 0);
    assert_int_equal(t.n, 0);
    isns_targets_free(&t);
}

/* IPv4 in the other two ways, and what is left out. */
static void
test_odd_targets(void **state)
{
    static const uint8_t compatible[16] = {[12] = 10, [15] = 2}, loopback[16] = {[15] = 1};
    static const uint8_t nowhere[16], nowhere4[16] = {[10] = 0xff, [11] = 0xff};
    struct sock_addr v4 = address4(0x0a000001, 3260), no_port = address4(0x0a000001, 0);
    struct lunette_error err = {.code = 0};
    struct isns_targets t;
    struct isns_out o;

    (void)state;
    begin_answer(&o);
    put_group(&o, "a name", &v4, 1);
    put_group(&o, "", &v4, 1);
    put_group(&o, A, &no_port, 1);
    put_group(&o, A, &v4, 65536);
    isns_put_text(&o, ISNS_GROUP_NODE, A); /* nothing but a name */
    isns_put_text(&o, ISNS_GROUP_NODE, A);
    isns_put(&o, ISNS_GROUP_ADDRESS, compatible, 16);
    isns_put_num(&o, ISNS_GROUP_PORT, 3260);
    isns_put_num(&o, ISNS_GROUP_TAG, 1);
    isns_put_text(&o, ISNS_GROUP_NODE, B);
    isns_put(&o, ISNS_GROUP_ADDRESS, loopback, 16);
    isns_put_num(&o, ISNS_GROUP_PORT, 3260);
    isns_put_num(&o, ISNS_GROUP_TAG, 1);
    isns_put_text(&o, ISNS_GROUP_NODE, B);
    isns_put(&o, ISNS_GROUP_ADDRESS, loopback, 16);
    isns_put_num(&o, ISNS_GROUP_PORT, 3260 | 0x10000); /* UDP */
    isns_put_num(&o, ISNS_GROUP_TAG, 1);
    for (int i = 0; i < 2; i++) {
        isns_put_text(&o, ISNS_GROUP_NODE, A);
        isns_put(&o, ISNS_GROUP_ADDRESS, i == 0 ? nowhere : nowhere4, 16);
        isns_put_num(&o, ISNS_GROUP_PORT, 3260);
        isns_put_num(&o, ISNS_GROUP_TAG, 1);
    }
    assert_int_equal(read_targets(&o, &t, &err), 0);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.bad, 8);
    assert_int_equal(t.why.code, -EPROTO);
    assert_string_equal(t.portal[0].at.host, "10.0.0.2");
    assert_string_equal(t.portal[1].at.host, "::1");
    isns_targets_free(&t);
}

static void
test_malformed(void **state)
{
    struct lunette_error err = {.code = 0};
    struct isns_targets t;
    struct isns_out o;

    (void)state;
    begin_answer(&o);
    isns_put_text(&o, ISNS_GROUP_NODE, A);
    st_be32(o.buf + o.len - 28, 25); /* the length of the name */
    assert_int_equal(read_targets(&o, &t, &err), -EPROTO);
    st_be32(o.buf + o.len - 28, 28);
    assert_int_equal(read_targets(&o, &t, &err), -EPROTO);
    st_be32(o.buf + o.len - 28, 0xfffffffc);
    assert_int_equal(read_targets(&o, &t, &err), -EPROTO);
    isns_begin(&o, ISNS_DEV_ATTR_QRY | ISNS_ANSWER, 0, 1);
    assert_int_equal(read_targets(&o, &t, &err), -EPROTO);
    isns_put_num(&o, 7, 7);
    o.buf[5] = 4; /* a status and the half of an attribute */
    o.len -= 8;
    assert_int_equal(read_targets(&o, &t, &err), 0);
    isns_targets_free(&t);
}

static void
test_overflow(void **state)
{
    struct isns_out o;

    (void)state;
    isns_begin(&o, ISNS_DEV_ATTR_REG, 0, 1);
    for (unsigned i = 0; i < 300; i++)
        isns_put_num(&o, 1, i);
    assert_true(o.overflow);
    assert_true(o.len <= ISNS_SEND_MAX);
    assert_int_equal(ld_be16(o.buf + 4), o.len - ISNS_HEAD_LEN);
    isns_begin(&o, ISNS_DEV_ATTR_REG, 0, 1);
    isns_put(&o, 1, "", SIZE_MAX);
    assert_true(o.overflow);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),    cmocka_unit_test(test_many_pdus),
        cmocka_unit_test(test_heads),     cmocka_unit_test(test_endless),
        cmocka_unit_test(test_targets),   cmocka_unit_test(test_odd_targets),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
