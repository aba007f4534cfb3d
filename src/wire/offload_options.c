/* SPDX-License-Identifier: MIT */
#include "wire/offload_options.h"

#include <errno.h>
#include <string.h>

#include "base/size.h"

static int
take_engine(const char *v, size_t len, struct offload_options *o, struct lunette_error *err)
{
    if (len == 0 || len > SOCK_PATH_MAX || v[0] != '/')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "engine=PATH: want the whole path of the engine's socket, which begins "
                            "with a slash and has %d bytes at most",
                            SOCK_PATH_MAX);
    memcpy(o->engine, v, len);
    o->engine[len] = '\0';
    return 0;
}

static int
take_slots(const char *v, size_t len, struct offload_options *o, struct lunette_error *err)
{
    uint64_t n;

    if (size_parse(v, len, &n) < 0 || n < OFFLOAD_OPT_SLOTS_MIN || n > OFFLOAD_OPT_SLOTS_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "offload_slots: want %d..%d",
                            OFFLOAD_OPT_SLOTS_MIN, OFFLOAD_OPT_SLOTS_MAX);
    o->slots = (uint32_t)n;
    return 0;
}

/* Rounded down to whole pages. */
static int
take_arena(const char *v, size_t len, struct offload_options *o, struct lunette_error *err)
{
    uint64_t n;

    if (size_parse(v, len, &n) < 0 || n < OFFLOAD_OPT_ARENA_MIN || n > OFFLOAD_OPT_ARENA_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "offload_arena: want a size of 4M..1G, as 64M");
    o->arena = n & ~(uint64_t)4095;
    return 0;
}

static const struct {
    const char *name;
    int (*take)(const char *v, size_t len, struct offload_options *o, struct lunette_error *err);
} known[] = {{"engine", take_engine}, {"offload_slots", take_slots}, {"offload_arena", take_arena}};

static int
offload_take_option(const char *at, size_t len, struct offload_options *o,
                    struct lunette_error *err)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t n = strlen(known[i].name);

        if (len > n && at[n] == '=' && memcmp(at, known[i].name, n) == 0)
            return known[i].take(at + n + 1, len - n - 1, o, err);
    }
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "there is no option %.*s of engines: engine, offload_slots and "
                        "offload_arena are there",
                        (int)strnlen(at, len < 32 ? len : 32), at);
}

bool
offload_options_are_of(const char *transport)
{
    return strncmp(transport, "offload_", 8) == 0;
}

bool
offload_option_known(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strlen(known[i].name) == len && memcmp(name, known[i].name, len) == 0)
            return true;
    }
    return false;
}

int
offload_options_read(const char *text, struct offload_options *ret, struct lunette_error *err)
{
    struct offload_options o = {.slots = OFFLOAD_OPT_SLOTS, .arena = OFFLOAD_OPT_ARENA};

    for (const char *at = text != NULL ? text : ""; *at != '\0';) {
        size_t len = strcspn(at, "&");
        int r = offload_take_option(at, len, &o, err);

        if (r < 0)
            return r;
        at += len;
        if (*at == '&')
            at++;
    }
    *ret = o;
    return 0;
}

int
offload_options_parse(const char *text, struct offload_options *ret, struct lunette_error *err)
{
    struct offload_options o;
    int r = offload_options_read(text, &o, err);

    if (r < 0)
        return r;
    if (o.engine[0] == '\0')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "which engine is meant?  Add engine=PATH, the path of the socket that "
                            "`iscsi-engine --socket PATH` has");
    *ret = o;
    return 0;
}

bool
offload_options_equal(const struct offload_options *a, const struct offload_options *b)
{
    return strcmp(a->engine, b->engine) == 0 && a->slots == b->slots && a->arena == b->arena;
}
