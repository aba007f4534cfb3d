/* SPDX-License-Identifier: MIT */
/* api/mask.c - a URL without its secrets: the one place where that is decided.
 *
 * Whoever wants to print a URL, or a word that may have been meant as one, prints what comes out of
 * here.  A secret is recognized where it can be, and where a text cannot be understood, all of it
 * that might be one is left out: what is shown is only a help for the eye.
 */
#include <lunette/lunette.h>

#include <stdio.h>
#include <string.h>

#include "api/url.h"
#include "api/url_text.h"

#define HIDDEN "***"

struct mask {
    char *buf; /* ends with a NUL at all times */
    size_t len, size;
};

/* Adds text as far as it fits, and what a terminal might obey as %XX. */
static void
mask_add(struct mask *m, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        char hex[4] = {(char)c};
        size_t n = 1;

        if (c < 0x20 || c > 0x7e)
            n = (size_t)snprintf(hex, sizeof(hex), "%%%02X", c);
        if (m->size - m->len <= n)
            return;
        memcpy(m->buf + m->len, hex, n);
        m->len += n;
        m->buf[m->len] = '\0';
    }
}

static void
mask_hide(struct mask *m)
{
    mask_add(m, HIDDEN, strlen(HIDDEN));
}

/* May name:secret or name%secret stand in the value, where only a name belongs, or the path of a
 * file of secrets?  len bytes, of which the key with its ? or & has the first ones. */
static bool
may_be_pair(const char *option, size_t key, size_t len)
{
    bool file = key > 5 && memcmp(option + key - 5, "_file", 5) == 0;
    bool user = key > 5 && memcmp(option + key - 5, "_user", 5) == 0;

    return (file || user) &&
           (memchr(option, ':', len) != NULL || url_secret_sign(option + key, len - key) != NULL);
}

/* The options, up to the first that holds a secret or is none that is known. */
static void
mask_query(struct mask *m, const char *query)
{
    while (*query != '\0') {
        size_t n = strcspn(query + 1, "&") + 1, key = strcspn(query + 1, "=&") + 1;
        enum url_option_kind kind = url_option_kind(query + 1, key - 1);

        if (kind == URL_OPTION_PLAIN && memchr(query, '@', n) == NULL &&
            !may_be_pair(query, key, n)) {
            mask_add(m, query, n);
            query += n;
            continue;
        }
        /* what follows may be part of a secret that has a & in it */
        mask_add(m, query, kind == URL_OPTION_UNKNOWN ? 1 : key);
        if (kind != URL_OPTION_UNKNOWN)
            mask_add(m, "=", 1);
        mask_hide(m);
        return;
    }
}

/* What stands behind the scheme. */
static void
mask_rest(struct mask *m, const char *text)
{
    const char *at = url_user_end(text);
    size_t n;

    if (at != NULL) {
        bool unclear =
            at > text + strcspn(text, "/?"); /* then even what is behind it may be secret */

        n = strcspn(text, "%:/?@");
        mask_add(m, text, n);
        if (unclear || (text[n] != '%' && text[n] != '@'))
            mask_hide(m);
        if (unclear)
            return;
        mask_add(m, "@", 1);
        text = at + 1;
    }
    n = strcspn(text, "/?");
    if (!url_is_portal(text, n)) { /* nor is the name of a target shown, which might be a user's */
        size_t shown = strcspn(text, "%:/?");

        if (text[shown] == '%' || text[shown] == ':') {
            mask_add(m, text, shown);
            mask_hide(m);
            return;
        }
    }
    n = strcspn(text, "?");
    mask_add(m, text, n);
    mask_query(m, text + n);
}

/* The length of "iscsi://", also with a slash missing or of libiscsi's iser://; 0 where there is no
 * such scheme. */
static size_t
scheme_len(const char *text)
{
    static const char *const known[] = {"iscsi:/", "iser:/"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t n = strlen(known[i]);

        if (strncasecmp(text, known[i], n) == 0)
            return n + strspn(text + n, "/");
    }
    return 0;
}

const char *
lunette_url_mask(const char *url, char *buf, size_t size)
{
    struct mask m = {.buf = buf, .size = size};
    size_t scheme;

    if (size == 0)
        return buf;
    buf[0] = '\0';
    if (url == NULL)
        return buf;
    scheme = scheme_len(url);
    mask_add(&m, url, scheme);
    mask_rest(&m, url + scheme);
    return buf;
}
