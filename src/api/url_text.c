/* SPDX-License-Identifier: MIT */
#include "api/url_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/addr.h"
#include "base/hex.h"

size_t
url_scheme_len(const char *text)
{
    static const char *const known[] = {URL_SCHEME, URL_SCHEME_ISER};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strncasecmp(text, known[i], strlen(known[i])) == 0)
            return strlen(known[i]);
    }
    return 0;
}

/* The byte that the %XX at p stands for, or -1 where there is none before end. */
static int
encoded_byte(const char *p, const char *end)
{
    if (end - p < 3 || p[0] != '%' || hex_digit(p[1]) < 0 || hex_digit(p[2]) < 0)
        return -1;
    return hex_digit(p[1]) << 4 | hex_digit(p[2]);
}

/* Is the %XX at p one that somebody has encoded?  Letters, digits and - . _ ~ need it nowhere (RFC
 * 3986 2.3), control characters are in no name, and a byte of UTF-8 above 7Fh has another beside
 * it. */
static bool
is_encoding(const char *start, const char *p, const char *end)
{
    int c = encoded_byte(p, end);

    if (c < 0x80)
        return c >= 0x20 && c != 0x7f && !isalnum(c) && strchr("-._~", c) == NULL;
    return encoded_byte(p + 3, end) >= 0x80 || (p - start >= 3 && encoded_byte(p - 3, end) >= 0x80);
}

const char *
url_secret_sign(const char *user, size_t len)
{
    const char *end = user + len, *p;

    for (p = user; (p = memchr(p, '%', (size_t)(end - p))) != NULL; p++) {
        if (encoded_byte(p, end) < 0)
            return p;
    }
    for (p = user; (p = memchr(p, '%', (size_t)(end - p))) != NULL; p++) {
        if (!is_encoding(user, p, end))
            return p;
    }
    return NULL;
}

int
url_decode(char *text, size_t len)
{
    const char *from = text, *end = text + len;
    char *to = text;

    while (from < end) {
        int c = encoded_byte(from, end);

        if (c == 0)
            return -EINVAL;
        *to++ = c > 0 ? (char)c : *from;
        from += c > 0 ? 3 : 1;
    }
    if (to < end)
        *to = '\0';
    return (int)(to - text);
}

const char *
url_user_end(const char *text)
{
    const char *query = strchr(text, '?'), *end = NULL;
    bool value = false;

    for (const char *p = text; *p != '\0'; p++) {
        if (query != NULL && p >= query) {
            if (*p == '=')
                value = true;
            else if (*p == '&')
                value = false;
        }
        if (*p == '@' && !value)
            end = p;
    }
    return end;
}

bool
url_is_portal(const char *text, size_t len)
{
    struct portal p;

    return len == 0 || portal_read(text, len, &p) == NULL;
}
