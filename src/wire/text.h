/* SPDX-License-Identifier: MIT */
/* wire/text.h - key=value text of Login and Text PDUs, RFC 7143 6.1.
 *
 * Values are looked at where they lie in the received text; nothing is copied
 * or allocated.  The pure parsers answer -EINVAL (not of the form) or -ERANGE
 * (of the form, but too large); what reads a peer's text answers -EPROTO with
 * a reason.  Outputs are untouched on failure.  Any thread.
 */
#ifndef WIRE_TEXT_H
#define WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/key_table.h"

#define TEXT_KEY_MAX   63 /* bytes of a key name */
#define TEXT_VALUE_MAX KEY_VALUE_MAX
#define TEXT_SEQ_MIN   8192 /* text per negotiation sequence that all must take */

/* Text in memory of the caller: received text being gathered from PDUs with the C bit, or text
 * being built. */
struct text_buf {
    char *buf;
    size_t len, size;
};

void text_buf_init(struct text_buf *b, char *mem, size_t size);

/* Adds a received piece as it is; -EPROTO when it does not fit. */
int text_append(struct text_buf *b, const void *piece, size_t len, struct lunette_error *err);

/* Add "key=value" and its NUL.  0, or -ENOBUFS and nothing added. */
int text_put(struct text_buf *b, const char *key, const char *value);
int text_put_len(struct text_buf *b, const char *key, const char *value, size_t len);
int text_put_num(struct text_buf *b, const char *key, uint64_t value);
int text_put_bool(struct text_buf *b, const char *key, bool value);
int text_put_hex(struct text_buf *b, const char *key, const void *data, size_t len);
int text_put_base64(struct text_buf *b, const char *key, const void *data, size_t len);

struct text_pair {
    const char *key; /* not NUL-terminated: '=' follows */
    size_t key_len;
    const char *value; /* NUL-terminated */
    size_t value_len;
};

struct text_iter {
    const char *at;
    size_t left;
};

void text_iter_init(struct text_iter *it, const char *text, size_t len);

/* 1 and *ret, 0 at the end, -EPROTO: no final NUL, empty or overlong or ill-formed key name, no
 * '=', a value longer than its key allows (key_value_max() of wire/key_table.h).  After a failure
 * the text is not to be used at all. */
int text_next(struct text_iter *it, struct text_pair *ret, struct lunette_error *err);

/* Does key[0..len) consist of a capital letter and at most 62 of letters, digits, . - + @ _ #?  Or
 * is it a key of the table, two of which begin with a small letter? */
bool text_key_ok(const char *key, size_t len);

/* The words that RFC 7143 6.2 reserves. */
enum text_word {
    TEXT_WORD_OTHER, /* not a reserved word */
    TEXT_WORD_NONE,
    TEXT_WORD_REJECT,
    TEXT_WORD_IRRELEVANT,
    TEXT_WORD_NOT_UNDERSTOOD,
};
enum text_word text_word(const char *value, size_t len);

#define TEXT_NONE           "None"
#define TEXT_REJECT         "Reject"
#define TEXT_IRRELEVANT     "Irrelevant"
#define TEXT_NOT_UNDERSTOOD "NotUnderstood"
#define TEXT_YES            "Yes"
#define TEXT_NO             "No"

/* Reads a decimal number without sign or leading zeros, or 0x and hex digits; below 2^64. */
int text_parse_num(const char *value, size_t len, uint64_t *ret);
/* Reads "n~m" with n <= m (numerical-range). */
int text_parse_range(const char *value, size_t len, uint64_t *ret_low, uint64_t *ret_high);
/* Reads Yes or No, in this spelling. */
int text_parse_bool(const char *value, size_t len, bool *ret);
/* Reads 0x and hex digits, of which an odd number n makes (n + 1) / 2 bytes, or 0b and base64 with
 * padding.  Returns the number of bytes, or -EINVAL, or -ERANGE (more than size). */
int text_parse_bin(const char *value, size_t len, void *out, size_t size);

/* Write "0x..." and "0b..." with a NUL into out[size]; the text's length, or -ENOBUFS. */
int text_format_hex(char *out, size_t size, const void *data, size_t len);
int text_format_base64(char *out, size_t size, const void *data, size_t len);

/* Sizes, with prefix and NUL, for n bytes. */
#define TEXT_HEX_SIZE(n)    (2 + 2 * (size_t)(n) + 1)
#define TEXT_BASE64_SIZE(n) (2 + ((size_t)(n) + 2) / 3 * 4 + 1)

/* Walks the items of a list, which stand between commas. */
struct text_list {
    const char *at; /* NULL: no more */
    size_t left;
};

void text_list_init(struct text_list *l, const char *value, size_t len);
/* False at the end.  An empty value is one empty item; the caller refuses empty items. */
bool text_list_next(struct text_list *l, const char **ret_item, size_t *ret_len);
bool text_list_has(const char *list, size_t list_len, const char *item, size_t item_len);

/* Is value[0..len) this word, byte for byte? */
static inline bool
text_is(const char *value, size_t len, const char *word)
{
    size_t i = 0;

    while (i < len && word[i] != '\0' && word[i] == value[i])
        i++;
    return i == len && word[i] == '\0';
}

#endif
