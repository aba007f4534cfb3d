/* SPDX-License-Identifier: MIT */
/* fuzz_text.c - text keys of Login and Text PDUs, from a peer that says anything.
 *
 * The input is one text.  Each pair is read as an offer, as a declaration and
 * as an answer to an offer of ours, and its value as number, binary and list.
 */
#include <errno.h>

#include "base/err.h"
#include "fuzz.h"
#include "wire/keys.h"
#include "wire/text.h"

#define BINARY_MAX 1024

static void
value_as_data(const struct text_pair *p)
{
    uint8_t bin[BINARY_MAX], again[BINARY_MAX];
    char hex[TEXT_HEX_SIZE(BINARY_MAX)], base64[TEXT_BASE64_SIZE(BINARY_MAX)];
    uint64_t low, high;
    bool yes;
    int n, m;

    (void)text_parse_num(p->value, p->value_len, &low);
    if (text_parse_range(p->value, p->value_len, &low, &high) == 0)
        CHECK(low <= high);
    if (text_parse_bool(p->value, p->value_len, &yes) == 0)
        CHECK(text_is(p->value, p->value_len, yes ? "Yes" : "No"));
    (void)text_word(p->value, p->value_len);
    n = text_parse_bin(p->value, p->value_len, bin, sizeof(bin));
    if (n < 0)
        return;
    /* out and in again is the same */
    CHECK((size_t)n <= sizeof(bin));
    m = text_format_hex(hex, sizeof(hex), bin, (size_t)n);
    CHECK(m >= 0 && (size_t)m == strlen(hex));
    if (n > 0) {
        CHECK(text_parse_bin(hex, (size_t)m, again, sizeof(again)) == n);
        CHECK(memcmp(bin, again, (size_t)n) == 0);
    }
    m = text_format_base64(base64, sizeof(base64), bin, (size_t)n);
    CHECK(m >= 0 && (size_t)m == strlen(base64));
    if (n > 0) {
        CHECK(text_parse_bin(base64, (size_t)m, again, sizeof(again)) == n);
        CHECK(memcmp(bin, again, (size_t)n) == 0);
    }
}

static void
value_as_list(const struct text_pair *p)
{
    struct text_list l;
    const char *item;
    size_t len, items = 0;

    text_list_init(&l, p->value, p->value_len);
    while (text_list_next(&l, &item, &len)) {
        CHECK(item >= p->value && item + len <= p->value + p->value_len);
        items++;
    }
    CHECK(items <= p->value_len + 1);
}

static const char *
our_offer(const struct key *k)
{
    switch (k->type) {
    case KEY_TYPE_NUM:
        return k->def != NULL ? k->def : "1";
    case KEY_TYPE_BOOL:
        return "Yes";
    case KEY_TYPE_LIST:
        return k->values != NULL ? k->values : "None";
    case KEY_TYPE_NAME:
    case KEY_TYPE_TEXT:
    case KEY_TYPE_BINARY:
    case KEY_TYPE_RANGE:
        break;
    }
    return "0x01";
}

static void
value_of_key(const struct key *k, const struct text_pair *p)
{
    char answer[KEY_ANSWER_SIZE];
    struct lunette_error err;
    struct key_value v;

    err.msg[0] = '\0';
    if (key_check_offer(k, p->value, p->value_len, &v, &err) < 0)
        fuzz_check_text(err.msg, sizeof(err.msg));
    err.msg[0] = '\0';
    if (k->result != KEY_RESULT_QUERY &&
        key_answer(k, p->value, p->value_len, our_offer(k), answer, &v, &err) < 0)
        fuzz_check_text(err.msg, sizeof(err.msg));
    err.msg[0] = '\0';
    if (k->result != KEY_RESULT_DECLARE && k->result != KEY_RESULT_QUERY &&
        k->result != KEY_RESULT_REJECT &&
        key_check_answer(k, our_offer(k), p->value, p->value_len, &v, &err) < 0)
        fuzz_check_text(err.msg, sizeof(err.msg));
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    char *text = fuzz_copy(data, len);
    struct lunette_error err;
    struct key_set seen = {0};
    struct text_iter it;
    struct text_pair p;
    int r;

    text_iter_init(&it, text, len);
    err.msg[0] = '\0';
    while ((r = text_next(&it, &p, &err)) > 0) {
        const struct key *k;

        CHECK(p.key >= text && p.key + p.key_len < text + len);
        CHECK(p.value > p.key && p.value + p.value_len < text + len &&
              p.value[p.value_len] == '\0');
        CHECK(text_key_ok(p.key, p.key_len) && p.value_len <= key_value_max(p.key, p.key_len));
        value_as_data(&p);
        value_as_list(&p);
        k = key_find(p.key, p.key_len);
        if (k != NULL) {
            value_of_key(k, &p);
            (void)key_set_add(&seen, k);
            CHECK((k->flags & KEY_FLAG_REPEAT) || !key_set_add(&seen, k));
        }
    }
    CHECK(r == 0 || r == -EPROTO);
    if (r < 0)
        fuzz_check_text(err.msg, sizeof(err.msg));
    free(text);
}
