/* SPDX-License-Identifier: MIT */
/* cmd/lunette/url.c - the little that the tool itself needs to know about URLs.
 *
 * The library parses them; here they are only taken apart to print them
 * without secrets, and put together for a target that was discovered.
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
    char *ret = xmalloc(p.host_len + 1);

    memcpy(ret, p.host, p.host_len);
    return ret;
}

char *
url_with_target(const char *base, const char *portal, const char *target)
{
    struct parts p = split(base);
    size_t size = strlen(base) + strlen(portal) + strlen(target) + sizeof(scheme) + 2;
    char *ret = xmalloc(size);

    snprintf(ret, size, "%s%.*s%s/%s%s", scheme, (int)p.user_len, p.user, portal, target, p.query);
    return ret;
}

/* Appends the query without the values of keys that hold secrets. */
static void
append_query(char *to, size_t size, const char *query)
{
    size_t at = strlen(to);

    while (*query != '\0' && at + 1 < size) {
        size_t n = strcspn(query + 1, "&") + 1; /* with its ? or & */
        size_t key = strcspn(query + 1, "=&");
        bool secret = memmem(query + 1, key, "password", 8) != NULL;
        int len = snprintf(to + at, size - at, "%.*s%s", (int)(secret ? key + 1 : n), query,
                           secret ? "=***" : "");
        if (len < 0 || (size_t)len >= size - at)
            return;
        at += (size_t)len;
        query += n;
    }
}

char *
url_public(const char *url)
{
    if (!url_is_iscsi(url))
        return strdup(url);
    struct parts p = split(url);
    size_t secret = strcspn(p.user, "%:@"); /* the user without the secret */
    size_t size = strlen(url) * 2 + 64;
    char *ret = xmalloc(size);
    const char *rest = p.host + p.host_len;

    if (p.user_len > 0 && secret < p.user_len)
        snprintf(ret, size, "%s%.*s@", scheme, (int)secret, p.user);
    else
        snprintf(ret, size, "%s", scheme);
    size_t at = strlen(ret);
    snprintf(ret + at, size - at, "%.*s%.*s", (int)p.host_len, p.host, (int)(p.query - rest), rest);
    append_query(ret, size, p.query);
    return ret;
}
