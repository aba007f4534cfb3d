/* SPDX-License-Identifier: MIT */
#include "wire/text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "wire/bhs.h"
#include "wire/key_table.h"

void
text_buf_init(struct text_buf *b, char *mem, size_t size)
{
    b->buf = mem;
    b->len = 0;
    b->size = size;
}

int
text_append(struct text_buf *b, const void *piece, size_t len, struct lunette_error *err)
{
    assert(b->len <= b->size);
    if (len > b->size - b->len)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "more than %zu bytes of text in one negotiation", b->size);
    if (len > 0)
        memcpy(b->buf + b->len, piece, len);
    b->len += len;
    return 0;
}

size_t
text_without_padding(const char *text, size_t len)
{
    while (len > 0 && text[len - 1] == '\0' && (len == 1 || text[len - 2] == '\0'))
        len--;
    return len;
}

int
text_put_len(struct text_buf *b, const char *key, const char *value, size_t len)
{
    size_t klen = strlen(key);
    char *at = b->buf + b->len;

    assert(text_key_ok(key, klen) && b->len <= b->size);
    if (b->size - b->len < klen + 2 || b->size - b->len - klen - 2 < len)
        return -ENOBUFS;
    memcpy(at, key, klen);
    at[klen] = '=';
    if (len > 0)
        memcpy(at + klen + 1, value, len);
    at[klen + 1 + len] = '\0';
    b->len += klen + len + 2;
    return 0;
}

int
text_put(struct text_buf *b, const char *key, const char *value)
{
    return text_put_len(b, key, value, strlen(value));
}

int
text_put_num(struct text_buf *b, const char *key, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    return text_put(b, key, text);
}

int
text_put_bool(struct text_buf *b, const char *key, bool value)
{
    return text_put(b, key, value ? TEXT_YES : TEXT_NO);
}

/* The value is formatted in place: key and '=' first, then the binary. */
static int
put_bin(struct text_buf *b, const char *key, const void *data, size_t len,
        int (*format)(char *out, size_t size, const void *data, size_t len))
{
    size_t before = b->len;
    int r = text_put(b, key, "");

    if (r == 0) {
        r = format(b->buf + b->len - 1, b->size - (b->len - 1), data, len);
        if (r < 0)
            b->len = before;
        else
            b->len += (size_t)r;
    }
    return r < 0 ? r : 0;
}

int
text_put_hex(struct text_buf *b, const char *key, const void *data, size_t len)
{
    return put_bin(b, key, data, len, text_format_hex);
}

int
text_put_base64(struct text_buf *b, const char *key, const void *data, size_t len)
{
    return put_bin(b, key, data, len, text_format_base64);
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 7143 6.1: standard-label, and '#' of X#NodeArchitecture.  A label begins with a capital, yet
 * RFC 7144 and RFC 7145 have named keys iSCSIProtocolLevel and iSERHelloRequired. */
bool
text_key_ok(const char *key, size_t len)
{
    if (len == 0 || len > TEXT_KEY_MAX)
        return false;
    if ((key[0] < 'A' || key[0] > 'Z') && key_find(key, len) == NULL)
        return false;
    for (size_t i = 1; i < len; i++) {
        char c = key[i];

        if (!is_digit(c) && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            (c == '\0' || strchr(".-+@_#", c) == NULL))
            return false;
    }
    return true;
}

void
text_iter_init(struct text_iter *it, const char *text, size_t len)
{
    *it = (struct text_iter){.at = text, .left = len};
}

static int
bad_text(struct lunette_error *err, const char *key, size_t len, const char *why)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                        "text key \"%.*s\": %s", text_key_ok(key, len) ? (int)len : 0, key, why);
}

int
text_next(struct text_iter *it, struct text_pair *ret, struct lunette_error *err)
{
    const char *end, *eq;
    size_t len, key_len, value_len;

    if (it->left == 0)
        return 0;
    end = memchr(it->at, '\0', it->left);
    if (end == NULL)
        return bad_text(err, it->at, 0, "the last pair has no NUL");
    len = (size_t)(end - it->at);
    eq = memchr(it->at, '=', len);
    if (eq == NULL)
        return bad_text(err, it->at, 0, "a pair has no '='");
    key_len = (size_t)(eq - it->at);
    value_len = len - key_len - 1;
    if (!text_key_ok(it->at, key_len))
        return bad_text(err, it->at, 0, "a name that is no key name");
    if (value_len > key_value_max(it->at, key_len))
        return bad_text(err, it->at, key_len, "the value is too long");
    *ret = (struct text_pair){it->at, key_len, eq + 1, value_len};
    it->at = end + 1;
    it->left -= len + 1;
    return 1;
}

enum text_word
text_word(const char *value, size_t len)
{
    if (text_is(value, len, TEXT_NONE))
        return TEXT_WORD_NONE;
    if (text_is(value, len, TEXT_REJECT))
        return TEXT_WORD_REJECT;
    if (text_is(value, len, TEXT_IRRELEVANT))
        return TEXT_WORD_IRRELEVANT;
    if (text_is(value, len, TEXT_NOT_UNDERSTOOD))
        return TEXT_WORD_NOT_UNDERSTOOD;
    return TEXT_WORD_OTHER;
}

static bool
has_prefix(const char *value, size_t len, char lower)
{
    return len >= 2 && value[0] == '0' && (value[1] == lower || value[1] == lower - 'a' + 'A');
}

int
text_parse_num(const char *value, size_t len, uint64_t *ret)
{
    unsigned base = 10;
    uint64_t v = 0;

    if (has_prefix(value, len, 'x')) {
        base = 16;
        value += 2;
        len -= 2;
    } else if (len > 1 && value[0] == '0') {
        return -EINVAL;
    }
    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        int d = hex_digit(value[i]);

        if (d < 0 || (unsigned)d >= base)
            return -EINVAL;
        if (v > (UINT64_MAX - (unsigned)d) / base)
            return -ERANGE;
        v = v * base + (unsigned)d;
    }
    *ret = v;
    return 0;
}

int
text_parse_range(const char *value, size_t len, uint64_t *ret_low, uint64_t *ret_high)
{
    const char *tilde = len > 0 ? memchr(value, '~', len) : NULL;
    uint64_t low = 0, high = 0;
    size_t n;
    int r;

    if (tilde == NULL)
        return -EINVAL;
    n = (size_t)(tilde - value);
    r = text_parse_num(value, n, &low);
    if (r == 0)
        r = text_parse_num(tilde + 1, len - n - 1, &high);
    if (r < 0)
        return r;
    if (low > high)
        return -EINVAL;
    *ret_low = low;
    *ret_high = high;
    return 0;
}

int
text_parse_bool(const char *value, size_t len, bool *ret)
{
    bool yes = text_is(value, len, TEXT_YES);

    if (!yes && !text_is(value, len, TEXT_NO))
        return -EINVAL;
    *ret = yes;
    return 0;
}

/* Reads digits[0..n); if n is odd, the first byte has one digit only. */
static int
text_parse_hex_digits(const char *digits, size_t n, uint8_t *out, size_t size)
{
    size_t bytes = n / 2 + n % 2;

    for (size_t i = 0; i < n; i++)
        if (hex_digit(digits[i]) < 0)
            return -EINVAL;
    if (bytes == 0)
        return -EINVAL;
    if (bytes > size)
        return -ERANGE;
    memset(out, 0, bytes);
    for (size_t i = 0; i < n; i++) {
        size_t at = (i + n % 2) / 2;

        out[at] = (uint8_t)(out[at] << 4 | hex_digit(digits[i]));
    }
    return (int)bytes;
}

static int
base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 4.  The bits behind the last byte must be 0, so that a value has one spelling. */
static int
parse_base64(const char *text, size_t n, uint8_t *out, size_t size)
{
    size_t pad = 0, bytes;
    uint32_t acc = 0;

    if (n == 0 || n % 4 != 0)
        return -EINVAL;
    while (pad < 2 && text[n - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < n - pad; i++)
        if (base64_digit(text[i]) < 0)
            return -EINVAL;
    if (pad > 0 && (base64_digit(text[n - 1 - pad]) & (pad == 1 ? 3 : 15)) != 0)
        return -EINVAL;
    bytes = n / 4 * 3 - pad;
    if (bytes > size)
        return -ERANGE;
    for (size_t i = 0, at = 0; i < n; i++) {
        acc = acc << 6 | (i < n - pad ? (uint32_t)base64_digit(text[i]) : 0);
        if (i % 4 != 3)
            continue;
        for (int shift = 16; shift >= 0 && at < bytes; shift -= 8)
            out[at++] = (uint8_t)(acc >> shift);
        acc = 0;
    }
    return (int)bytes;
}

int
text_parse_bin(const char *value, size_t len, void *out, size_t size)
{
    if (has_prefix(value, len, 'x'))
        return text_parse_hex_digits(value + 2, len - 2, out, size);
    if (has_prefix(value, len, 'b'))
        return parse_base64(value + 2, len - 2, out, size);
    return -EINVAL;
}

int
text_format_hex(char *out, size_t size, const void *data, size_t len)
{
    if (size < TEXT_HEX_SIZE(len))
        return -ENOBUFS;
    *out++ = '0';
    *out++ = 'x';
    *hex_put(out, data, len) = '\0';
    return (int)(TEXT_HEX_SIZE(len) - 1);
}

int
text_format_base64(char *out, size_t size, const void *data, size_t len)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    const uint8_t *b = data;

    if (size < TEXT_BASE64_SIZE(len))
        return -ENOBUFS;
    *out++ = '0';
    *out++ = 'b';
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t acc =
            (uint32_t)b[i] << 16 | (n > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (n > 2 ? b[i + 2] : 0);

        for (size_t j = 0; j < 4; j++)
            *out++ = digits[j <= n ? acc >> (18 - 6 * j) & 63 : 64];
    }
    *out = '\0';
    return (int)(TEXT_BASE64_SIZE(len) - 1);
}

void
text_list_init(struct text_list *l, const char *value, size_t len)
{
    *l = (struct text_list){.at = value, .left = len};
}

bool
text_list_next(struct text_list *l, const char **ret_item, size_t *ret_len)
{
    const char *comma;

    if (l->at == NULL)
        return false;
    comma = l->left > 0 ? memchr(l->at, ',', l->left) : NULL;
    *ret_item = l->at;
    *ret_len = comma != NULL ? (size_t)(comma - l->at) : l->left;
    l->at = comma != NULL ? comma + 1 : NULL;
    l->left -= comma != NULL ? *ret_len + 1 : *ret_len;
    return true;
}

bool
text_list_has(const char *list, size_t list_len, const char *item, size_t item_len)
{
    struct text_list l;
    const char *at;
    size_t len;

    text_list_init(&l, list, list_len);
    while (text_list_next(&l, &at, &len))
        if (len == item_len && memcmp(at, item, len) == 0)
            return true;
    return false;
}
