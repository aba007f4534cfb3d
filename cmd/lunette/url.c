/* SPDX-License-Identifier: MIT */
/* cmd/lunette/url.c - the little that the tool itself needs to know about URLs.
 *
 * The library parses them and hides their secrets; here they are only taken apart
 * to be put together for a target that was discovered.
 */
#include "cmd/lunette/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char scheme[] = "iscsi://", iser[] = "iser://"; /* the second is libiscsi's */

struct parts {
    const char *user, *host, *target,
        *query; /* each part ends where the next begins; "" where it is missing */
    size_t user_len, host_len, target_len; /* user with its @, target without its / */
};

/* The scheme that text begins with, or NULL. */
static const char *
scheme_of(const char *text)
{
    if (strncasecmp(text, iser, strlen(iser)) == 0)
        return iser;
    return strncasecmp(text, scheme, strlen(scheme)) == 0 ? scheme : NULL;
}

/* The same for what is made of text. */
static const char *
scheme_like(const char *text)
{
    return scheme_of(text) != NULL ? scheme_of(text) : scheme;
}

bool
url_is_iscsi(const char *text)
{
    return scheme_of(text) != NULL;
}

static struct parts
split(const char *url)
{
    struct parts p = {0};
    const char *s = scheme_of(url) != NULL ? url + strlen(scheme_of(url)) : url;
    size_t authority = strcspn(s, "/?");

    /* the last @ counts, since a secret may hold one */
    for (size_t i = 0; i < authority; i++) {
        if (s[i] == '@')
            p.user_len = i + 1;
    }
    p.user = s;
    p.host = s + p.user_len;
    p.host_len = authority - p.user_len;
    s += authority;
    if (*s == '/')
        s++;
    p.target = s;
    p.target_len = strcspn(s, "/?");
    s += strcspn(s, "?");
    p.query = s;
    return p;
}

bool
url_has_target(const char *url)
{
    return split(url).target_len > 0;
}

static char *
copy_part(const char *at, size_t len)
{
    char *ret = xmalloc(len + 1); /* which zeroes it */

    return memcpy(ret, at, len);
}

char *
url_target(const char *url)
{
    struct parts p = split(url);

    return copy_part(p.target, p.target_len);
}

char *
url_without_target(const char *url)
{
    struct parts p = split(url);
    size_t size = strlen(url) + sizeof(scheme) + 1;
    char *ret = xmalloc(size);

    snprintf(ret, size, "%s%.*s/%s", scheme_like(url), (int)(p.user_len + p.host_len), p.user,
             p.query);
    return ret;
}

char *
url_of_portal(const char *text)
{
    size_t size = strlen(text) + sizeof(scheme);
    char *ret = xmalloc(size);

    snprintf(ret, size, "%s%s", url_is_iscsi(text) ? "" : scheme, text);
    return ret;
}

char *
url_portal(const char *text)
{
    struct parts p = split(text);

    return copy_part(p.host, p.host_len);
}

char *
url_with_target(const char *base, const char *portal, const char *target)
{
    struct parts p = split(base);
    char *encoded = name_encoded(target);
    size_t size = strlen(base) + strlen(portal) + strlen(encoded) + sizeof(scheme) + 2;
    char *ret = xmalloc(size);

    snprintf(ret, size, "%s%.*s%s/%s%s", scheme_like(base), (int)p.user_len, p.user, portal,
             encoded, p.query);
    free(encoded);
    return ret;
}

char *
url_public(const char *url)
{
    size_t size = 3 * strlen(url) + 16; /* %XX is the longest that a byte becomes */
    char *ret = xmalloc(size);

    (void)lunette_url_mask(url, ret, size);
    return ret;
}

char *
path_public(const char *path)
{
    bool plain = strchr(path, '@') == NULL && strstr(path, "://") == NULL;

    return plain ? xstrdup(path) : url_public(path);
}

void
url_hide_secrets(char *word)
{
    size_t len = strlen(word);
    char *public = url_public(word);

    if (strcmp(public, word) != 0)
        strncpy(word, public, len); /* NOLINT: the NUL behind it is there */
    free(public);
}
