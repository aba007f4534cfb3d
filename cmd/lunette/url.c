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

static const char scheme[] = "iscsi://";
#define SCHEME_LEN (sizeof(scheme) - 1)

struct parts {
    const char *user, *host, *target,
        *query; /* each part ends where the next begins; "" where it is missing */
    size_t user_len, host_len, target_len; /* user with its @, target without its / */
};

bool
url_is_iscsi(const char *text)
{
    return strncasecmp(text, scheme, SCHEME_LEN) == 0;
}

static struct parts
split(const char *url)
{
    struct parts p = {0};
    const char *s = url_is_iscsi(url) ? url + SCHEME_LEN : url;
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

    snprintf(ret, size, "%s%.*s/%s", scheme, (int)(p.user_len + p.host_len), p.user, p.query);
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

    snprintf(ret, size, "%s%.*s%s/%s%s", scheme, (int)p.user_len, p.user, portal, encoded, p.query);
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
