/* SPDX-License-Identifier: MIT */
/* wire/text.h - key=value text of Login and Text PDUs, RFC 7143 6.1.
 *
 * Nothing is copied or allocated: results point into the received text.  Functions with
 * a struct lunette_error return -EPROTO with the reason for a fault of the peer.  The
 * text_parse_...() functions have none; they return 0, or -EINVAL for a value that is
 * not of their form, or -ERANGE for one that is too large.  Outputs stay as they were
 * on failure.  Any thread.
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
#define TEXT_SEQ_MIN                                                                               \
    8192 /* bytes of text that every side must accept in one negotiation sequence */

/* Text in memory of the caller: text that is gathered from several PDUs with the C bit, or that is
 * being built. */
struct text_buf {
    char *buf;        /* borrowed */
    size_t len, size; /* bytes used; bytes of buf */
};

void text_buf_init(struct text_buf *b, char *mem, size_t size);

/* Adds a received piece as it is.  Returns 0, or -EPROTO when it does not fit. */
int text_append(struct text_buf *b, const void *piece, size_t len, struct lunette_error *err);

/* Add "key=value" and its NUL.  Return 0, or -ENOBUFS, and then add nothing. */
int text_put(struct text_buf *b, const char *key, const char *value);
int text_put_len(struct text_buf *b, const char *key, const char *value, size_t len);
int text_put_num(struct text_buf *b, const char *key, uint64_t value);
int text_put_bool(struct text_buf *b, const char *key, bool value);
int text_put_hex(struct text_buf *b, const char *key, const void *data, size_t len);
int text_put_base64(struct text_buf *b, const char *key, const void *data, size_t len);

/* Returns the length of text[0..len) without NULs at its end that end no pair: all but the first of
 * them, or all where nothing stands before them.  Some targets count the padding of a PDU as text.
 */
size_t text_without_padding(const char *text, size_t len);

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

/* Gets the next pair.  Returns 1 and *ret; 0 at the end; or -EPROTO when the final NUL or a '=' is
 * missing, when a key name is empty, too long or ill-formed, or when a value is longer than its key
 * allows (key_value_max() of wire/key_table.h).  After a failure the caller uses no pair of the
 * text. */
int text_next(struct text_iter *it, struct text_pair *ret, struct lunette_error *err);

/* Tells whether key[0..len) is a legal key name: a capital letter and at most 62 letters, digits
 * and .  - + @ _ #, or a key of the table, two of which begin with a small letter. */
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

/* Write "0x..." and "0b..." with a NUL into out[size].  Return the length of the text, or -ENOBUFS.
 */
int text_format_hex(char *out, size_t size, const void *data, size_t len);
int text_format_base64(char *out, size_t size, const void *data, size_t len);

/* The bytes that the text of n bytes takes, with prefix and NUL. */
#define TEXT_HEX_SIZE(n)    (2 + 2 * (size_t)(n) + 1)
#define TEXT_BASE64_SIZE(n) (2 + ((size_t)(n) + 2) / 3 * 4 + 1)

/* Walks the items of a list, which stand between commas. */
struct text_list {
    const char *at; /* NULL: no more */
    size_t left;
};

void text_list_init(struct text_list *l, const char *value, size_t len);
/* Gets the next item; false at the end.  An empty value has one item, which is empty, and the
 * caller has to refuse empty items. */
bool text_list_next(struct text_list *l, const char **ret_item, size_t *ret_len);
bool text_list_has(const char *list, size_t list_len, const char *item, size_t item_len);

/* Tells whether value[0..len) is this word, byte for byte. */
static inline bool
text_is(const char *value, size_t len, const char *word)
{
    size_t i = 0;

    while (i < len && word[i] != '\0' && word[i] == value[i])
        i++;
    return i == len && word[i] == '\0';
}

#endif
