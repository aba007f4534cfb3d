/* SPDX-License-Identifier: MIT */
#include "wire/iser_options.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/size.h"

static const char *const way_names[] = {
    [ISER_WAY_AUTO] = "auto",
    [ISER_WAY_WINDOW] = "window",
    [ISER_WAY_POOL] = "pool",
    [ISER_WAY_REGISTER] = "register",
};

const char *
iser_way_name(enum iser_way way)
{
    return way_names[way];
}

static bool
option_is(const char *text, size_t len, const char *what)
{
    return strlen(what) == len && memcmp(text, what, len) == 0;
}

static int
option_way(const char *v, size_t len, struct iser_options *o, struct lunette_error *err)
{
    for (int way = ISER_WAY_WINDOW; way <= ISER_WAY_REGISTER; way++) {
        if (option_is(v, len, way_names[way])) {
            o->way = (enum iser_way)way;
            return 0;
        }
    }
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "iser_stag=%.*s: window, pool or register is wanted", (int)len, v);
}

static int
option_pool(const char *v, size_t len, struct iser_options *o, struct lunette_error *err)
{
    uint64_t n;

    if (size_parse(v, len, &n) < 0 || n < ISER_POOL_MIN || n > ISER_POOL_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "iser_pool=%.*s: a size from 1M to 1G is wanted", (int)len, v);
    o->pool = (uint32_t)n / ISER_POOL_MIN * ISER_POOL_MIN;
    return 0;
}

static int
option_poll(const char *v, size_t len, struct iser_options *o, struct lunette_error *err)
{
    uint32_t n = 0;

    for (size_t i = 0; i < len && n <= ISER_POLL_US_MAX; i++)
        n = v[i] >= '0' && v[i] <= '9' ? n * 10 + (uint32_t)(v[i] - '0') : UINT32_MAX;
    if (len == 0 || n > ISER_POLL_US_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "iser_poll_us=%.*s: microseconds from 0 to %u are wanted", (int)len, v,
                            ISER_POLL_US_MAX);
    o->poll_us = n;
    return 0;
}

static const struct {
    const char *name;
    int (*parse)(const char *v, size_t len, struct iser_options *o, struct lunette_error *err);
} options[] = {
    {"iser_stag", option_way},
    {"iser_pool", option_pool},
    {"iser_poll_us", option_poll},
};

static int
iser_one_option(const char *text, size_t len, struct iser_options *o, struct lunette_error *err)
{
    const char *eq = memchr(text, '=', len);
    size_t name = eq != NULL ? (size_t)(eq - text) : len;

    for (size_t i = 0; eq != NULL && i < sizeof(options) / sizeof(options[0]); i++) {
        if (option_is(text, name, options[i].name))
            return options[i].parse(eq + 1, len - name - 1, o, err);
    }
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "\"%.*s\" is no option of iser, which has iser_stag=, iser_pool= and "
                        "iser_poll_us=",
                        (int)(len < 64 ? len : 64), text);
}

int
iser_options_parse(const char *text, struct iser_options *ret, struct lunette_error *err)
{
    struct iser_options o = {.way = ISER_WAY_AUTO};

    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, "&");
        int r = iser_one_option(text, len, &o, err);

        if (r < 0)
            return r;
        text += len + (text[len] == '&');
    }
    *ret = o;
    return 0;
}
