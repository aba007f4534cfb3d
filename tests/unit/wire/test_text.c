/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/text.h"

/* Memory of exactly len bytes, so that a sanitizer sees one byte too many; the caller frees. */
static char *
exact(const char *text, size_t len)
{
    char *p = malloc(len > 0 ? len : 1);

    memcpy(p, text, len);
    return p;
}

/* TNG-05 */
static void
test_num(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"9", 0, 9},
        {"10", 0, 10},
        {"262144", 0, 262144},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999", -ERANGE, 0},
        {"0x0", 0, 0},
        {"0x10000", 0, 65536},
        {"0X1aB", 0, 0x1ab},
        {"0xffffffffffffffff", 0, UINT64_MAX},
        {"0x0000000000000000000001", 0, 1},
        {"0x10000000000000000", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"00", -EINVAL, 0},
        {"01", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"1k", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"0x", -EINVAL, 0},
        {"0xg", -EINVAL, 0},
        {"x10", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {"a", -EINVAL, 0},
        {"0b1", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].text);
        char *text = exact(rows[i].text, len);
        uint64_t v = 77;
        int r = text_parse_num(text, len, &v);

        if (r != rows[i].r)
            fail_msg("%s: %d", rows[i].text, r);
        assert_true(v == (r == 0 ? rows[i].value : 77));
        free(text);
    }
}

static void
test_range_and_bool(void **state)
{
    uint64_t low = 5, high = 6;
    bool b = true;

    (void)state;
    assert_int_equal(text_parse_range("1~65535", 7, &low, &high), 0);
    assert_int_equal(low, 1);
    assert_int_equal(high, 65535);
    assert_int_equal(text_parse_range("0x10~0x20", 9, &low, &high), 0);
    assert_int_equal(high, 32);
    assert_int_equal(text_parse_range("7~7", 3, &low, &high), 0);
    assert_int_equal(text_parse_range("8~7", 3, &low, &high), -EINVAL);
    assert_int_equal(text_parse_range("8", 1, &low, &high), -EINVAL);
    assert_int_equal(text_parse_range("~8", 2, &low, &high), -EINVAL);
    assert_int_equal(text_parse_range("8~", 2, &low, &high), -EINVAL);
    assert_int_equal(text_parse_range("1~2~3", 5, &low, &high), -EINVAL);
    assert_int_equal(text_parse_range("", 0, &low, &high), -EINVAL);
    assert_int_equal(low, 7);
    assert_int_equal(text_parse_bool("No", 2, &b), 0);
    assert_false(b);
    assert_int_equal(text_parse_bool("Yes", 3, &b), 0);
    assert_true(b);
    assert_int_equal(text_parse_bool("yes", 3, &b), -EINVAL);
    assert_int_equal(text_parse_bool("Ye", 2, &b), -EINVAL);
    assert_int_equal(text_parse_bool("Yes ", 4, &b), -EINVAL);
    assert_int_equal(text_parse_bool("", 0, &b), -EINVAL);
}

/* TNG-06; base64 from RFC 4648 10 */
static void
test_binary(void **state)
{
    static const struct {
        const char *text;
        int r;
        const char *bytes;
    } rows[] = {
        {"0x00", 1, "\0"},
        {"0x1", 1, "\1"},
        {"0x123", 2, "\x01\x23"},
        {"0XaBcD", 2, "\xab\xcd"},
        {"0x000102", 3, "\0\1\2"},
        {"0bZg==", 1, "f"},
        {"0bZm8=", 2, "fo"},
        {"0bZm9v", 3, "foo"},
        {"0BZm9vYg==", 4, "foob"},
        {"0bZm9vYmE=", 5, "fooba"},
        {"0bZm9vYmFy", 6, "foobar"},
        {"0b+/+/", 3, "\xfb\xff\xbf"},
        {"0x", -EINVAL, ""},
        {"0b", -EINVAL, ""},
        {"", -EINVAL, ""},
        {"0", -EINVAL, ""},
        {"12", -EINVAL, ""},
        {"0xg0", -EINVAL, ""},
        {"0x0 ", -EINVAL, ""},
        {"0bZg=", -EINVAL, ""},
        {"0bZg", -EINVAL, ""},
        {"0bZ===", -EINVAL, ""},
        {"0b====", -EINVAL, ""},
        {"0b=g==", -EINVAL, ""},
        {"0bZh==", -EINVAL, ""}, /* bits behind the end */
        {"0bZm9=", -EINVAL, ""},
        {"0bZg==Zg==", -EINVAL, ""},
        {"0bZm-v", -EINVAL, ""},
        {"0x00010203040506070809", -ERANGE, ""},
        {"0bZm9vYmFyZm9vYmFy", -ERANGE, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].text);
        char *text = exact(rows[i].text, len);
        uint8_t *out = malloc(8);
        int r;

        memset(out, 0x5a, 8);
        r = text_parse_bin(text, len, out, 8);
        if (r != rows[i].r)
            fail_msg("%s: %d", rows[i].text, r);
        if (r > 0)
            assert_memory_equal(out, rows[i].bytes, (size_t)r);
        else
            assert_int_equal(out[0], 0x5a);
        free(out);
        free(text);
    }
}

static void
test_binary_round_trip(void **state)
{
    (void)state;
    srand(2);
    for (size_t len = 1; len <= 1024; len = len < 40 ? len + 1 : len * 2) {
        uint8_t *data = malloc(len), *back = malloc(len);
        char *hex = malloc(TEXT_HEX_SIZE(len)), *b64 = malloc(TEXT_BASE64_SIZE(len));
        int n;

        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)rand();
        assert_int_equal(text_format_hex(hex, TEXT_HEX_SIZE(len) - 1, data, len), -ENOBUFS);
        n = text_format_hex(hex, TEXT_HEX_SIZE(len), data, len);
        assert_int_equal(n, strlen(hex));
        assert_int_equal(text_parse_bin(hex, (size_t)n, back, len), len);
        assert_memory_equal(data, back, len);
        assert_int_equal(text_parse_bin(hex, (size_t)n, back, len - 1), -ERANGE);
        assert_int_equal(text_format_base64(b64, TEXT_BASE64_SIZE(len) - 1, data, len), -ENOBUFS);
        n = text_format_base64(b64, TEXT_BASE64_SIZE(len), data, len);
        assert_int_equal(n, strlen(b64));
        memset(back, 0, len);
        assert_int_equal(text_parse_bin(b64, (size_t)n, back, len), len);
        assert_memory_equal(data, back, len);
        free(data);
        free(back);
        free(hex);
        free(b64);
    }
}

static void
test_lists(void **state)
{
    static const struct {
        const char *list;
        int n;
        const char *items[4];
    } rows[] = {
        {"a", 1, {"a"}},
        {"a,bb,c", 3, {"a", "bb", "c"}},
        {"", 1, {""}},
        {",", 2, {"", ""}},
        {"a,", 2, {"a", ""}},
        {",a", 2, {"", "a"}},
        {"a,,b", 3, {"a", "", "b"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].list), n;
        char *text = exact(rows[i].list, len);
        struct text_list l;
        const char *at;
        int k = 0;

        text_list_init(&l, text, len);
        for (; text_list_next(&l, &at, &n); k++) {
            assert_true(k < rows[i].n);
            assert_true(text_is(at, n, rows[i].items[k]));
        }
        assert_int_equal(k, rows[i].n);
        assert_false(text_list_next(&l, &at, &n));
        free(text);
    }
    assert_true(text_list_has("CRC32C,None", 11, "None", 4));
    assert_true(text_list_has("CRC32C,None", 11, "CRC32C", 6));
    assert_false(text_list_has("CRC32C,None", 11, "CRC32", 5));
    assert_false(text_list_has("CRC32C,None", 11, "CRC32CC", 7));
    assert_false(text_list_has("CRC32C,None", 11, "C32C", 4));
}

static void
test_words(void **state)
{
    (void)state;
    assert_int_equal(text_word("None", 4), TEXT_WORD_NONE);
    assert_int_equal(text_word("Reject", 6), TEXT_WORD_REJECT);
    assert_int_equal(text_word("Irrelevant", 10), TEXT_WORD_IRRELEVANT);
    assert_int_equal(text_word("NotUnderstood", 13), TEXT_WORD_NOT_UNDERSTOOD);
    assert_int_equal(text_word("none", 4), TEXT_WORD_OTHER);
    assert_int_equal(text_word("Non", 3), TEXT_WORD_OTHER);
    assert_int_equal(text_word("Nonee", 5), TEXT_WORD_OTHER);
    assert_int_equal(text_word("", 0), TEXT_WORD_OTHER);
}

/* TNG-02 */
static void
test_key_names(void **state)
{
    char longest[65];

    (void)state;
    assert_true(text_key_ok("A", 1));
    assert_true(text_key_ok("X-com.example.K@1_+", 19));
    assert_true(text_key_ok("X#NodeArchitecture", 18));
    assert_false(text_key_ok("", 0));
    assert_true(text_key_ok("SendTargets", 11));
    assert_false(text_key_ok("iSCSIProtocolLeve ", 18));
    assert_false(text_key_ok("1A", 2));
    assert_false(text_key_ok("A b", 3));
    assert_false(text_key_ok("A\0b", 3));
    assert_false(text_key_ok("A\n", 2));
    assert_false(text_key_ok("A\xc3\xa9", 3));
    memset(longest, 'A', sizeof(longest));
    assert_true(text_key_ok(longest, 63));
    assert_false(text_key_ok(longest, 64));
}

/* Parses all; the number of pairs or the error. */
static int
count_pairs(const char *text, size_t len)
{
    char *copy = exact(text, len);
    struct text_pair p;
    struct text_iter it;
    int n = 0, r;

    text_iter_init(&it, copy, len);
    while ((r = text_next(&it, &p, NULL)) > 0) {
        assert_int_equal(p.key[p.key_len], '=');
        assert_int_equal(p.value[p.value_len], '\0');
        assert_true(p.value + p.value_len < copy + len);
        n++;
    }
    free(copy);
    return r < 0 ? r : n;
}
#define COUNT(s) count_pairs(s, sizeof(s) - 1)

/* TNG-01 */
static void
test_pairs(void **state)
{
    (void)state;
    assert_int_equal(COUNT(""), 0);
    assert_int_equal(COUNT("A=1\0"), 1);
    assert_int_equal(COUNT("A=1\0B=2\0C=\0"), 3);
    assert_int_equal(COUNT("A=b=c\0"), 1);
    assert_int_equal(COUNT("A=1"), -EPROTO);
    assert_int_equal(COUNT("A=1\0B=2"), -EPROTO);
    assert_int_equal(COUNT("\0"), -EPROTO);
    assert_int_equal(COUNT("A=1\0\0"), -EPROTO);
    assert_int_equal(COUNT("A\0"), -EPROTO);
    assert_int_equal(COUNT("=1\0"), -EPROTO);
    assert_int_equal(COUNT("a=1\0"), -EPROTO);
    assert_int_equal(COUNT("A B=1\0"), -EPROTO);
    assert_int_equal(COUNT("iSCSIProtocolLevel=2\0"), 1);
}

static void
test_value_lengths(void **state)
{
    static const struct {
        const char *key;
        size_t max;
    } rows[] = {{"InitiatorAlias", 255}, {"X-a", 255}, {"CHAP_C", 2050}, {"CHAP_R", 2050}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[3000];
        size_t k = strlen(rows[i].key), n = rows[i].max;

        memset(text, 'a', sizeof(text));
        memcpy(text, rows[i].key, k);
        text[k] = '=';
        text[k + 1 + n] = '\0';
        assert_int_equal(count_pairs(text, k + 1 + n + 1), 1);
        text[k + 1 + n] = 'a';
        text[k + 1 + n + 1] = '\0';
        assert_int_equal(count_pairs(text, k + 1 + n + 2), -EPROTO);
    }
}

static const char split_text[] =
    "InitiatorName=iqn.2024-01.org.example:i\0AuthMethod=CHAP,None\0CHAP_C=0b+/+/\0A=x=y";

/* TNG-03: gathered from pieces split at every byte, it is the same text; cut there, it is refused
 * unless the cut is between pairs. */
static void
test_split(void **state)
{
    const size_t len = sizeof(split_text);
    char mem[sizeof(split_text)];
    struct lunette_error err;
    struct text_buf b;

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        bool whole = cut == 0 || split_text[cut - 1] == '\0';

        text_buf_init(&b, mem, sizeof(mem));
        assert_int_equal(text_append(&b, split_text, cut, NULL), 0);
        assert_int_equal(text_append(&b, split_text + cut, len - cut, NULL), 0);
        assert_int_equal(b.len, len);
        assert_int_equal(count_pairs(b.buf, b.len), 4);
        assert_int_equal(count_pairs(split_text, cut) >= 0, whole);
    }
    assert_int_equal(text_append(&b, "x", 1, &err), -EPROTO);
    assert_int_equal(b.len, len);
    text_buf_init(&b, mem, 3);
    assert_int_equal(text_append(&b, "xyzu", 4, &err), -EPROTO);
    assert_int_equal(b.len, 0);
}

static void
test_builder(void **state)
{
    static const char want[] = "A=b\0Num=18446744073709551615\0Yes=Yes\0No=No\0H=0x00ff\0B=0bAP8=";
    char mem[sizeof(want)];
    struct text_buf b;

    (void)state;
    for (size_t size = 0; size <= sizeof(want); size++) {
        int r;

        memset(mem, 0x5a, sizeof(mem));
        text_buf_init(&b, mem, size);
        r = text_put(&b, "A", "b");
        r = r < 0 ? r : text_put_num(&b, "Num", UINT64_MAX);
        r = r < 0 ? r : text_put_bool(&b, "Yes", true);
        r = r < 0 ? r : text_put_bool(&b, "No", false);
        r = r < 0 ? r : text_put_hex(&b, "H", "\0\xff", 2);
        r = r < 0 ? r : text_put_base64(&b, "B", "\0\xff", 2);
        assert_int_equal(r, size == sizeof(want) ? 0 : -ENOBUFS);
        assert_memory_equal(mem, want, b.len);
        assert_true(b.len == 0 || mem[b.len - 1] == '\0'); /* only whole pairs */
        for (size_t i = size; i < sizeof(mem); i++)
            assert_int_equal(mem[i], 0x5a);
    }
}

/* Mutations of good text: no over-read, and an end. */
static void
test_fuzz(void **state)
{
    (void)state;
    srand(3);
    for (int n = 0; n < 100000; n++) {
        char text[sizeof(split_text)];
        size_t len = (size_t)rand() % (sizeof(text) + 1);

        memcpy(text, split_text, sizeof(text));
        for (int k = rand() % 4; k > 0; k--)
            text[(size_t)rand() % sizeof(text)] =
                rand() % 2 == 0 ? (char)rand() : "\0=,A"[rand() % 4];
        assert_true(count_pairs(text, len) <= 40);
    }
}

static void
test_padding(void **state)
{
    static const struct {
        const char *text;
        size_t len, want;
    } rows[] = {
        {"", 0, 0},         {"a=1", 3, 3}, {"a=1\0", 4, 4},  {"a=1\0\0", 5, 4},
        {"a=\0\0\0", 5, 3}, {"\0", 1, 0},  {"\0\0\0", 3, 0}, {"a=1\0\0b=2\0", 9, 9},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(text_without_padding(rows[i].text, rows[i].len), rows[i].want);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_num),       cmocka_unit_test(test_range_and_bool),
        cmocka_unit_test(test_binary),    cmocka_unit_test(test_binary_round_trip),
        cmocka_unit_test(test_lists),     cmocka_unit_test(test_words),
        cmocka_unit_test(test_key_names), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_split),     cmocka_unit_test(test_value_lengths),
        cmocka_unit_test(test_padding),   cmocka_unit_test(test_builder),
        cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
