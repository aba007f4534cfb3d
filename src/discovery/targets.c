/* SPDX-License-Identifier: MIT */
#include "discovery/targets.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL_ERROR 4 /* Reject reason, RFC 7143 11.17.1 */

void
targets_init(struct targets *t, const struct portal *in_use)
{
    *t = (struct targets){.in_use = *in_use};
}

void
targets_fini(struct targets *t)
{
    discovery_result_free(&t->res);
    *t = (struct targets){.part_len = 0};
}

void
discovery_result_free(struct discovery_result *r)
{
    for (size_t i = 0; i < r->ntargets; i++) {
        struct discovered_target *dt = &r->targets[i];

        while (dt->nunclear > 0)
            free(dt->unclear[--dt->nunclear]);
        free(dt->unclear);
        free(dt->portals);
    }
    free(r->targets);
    *r = (struct discovery_result){.targets = NULL};
}

static int
targets_fault(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, PROTOCOL_ERROR,
                        "SendTargets: the target %s", what);
}

static int
no_memory(struct lunette_error *err)
{
    return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
}

static struct discovered_target *
current(struct targets *t)
{
    return t->res.ntargets > 0 ? &t->res.targets[t->res.ntargets - 1] : NULL;
}

/* The list's room doubles: it is reallocated when its length is a power of two.  Returns the list,
 * which has room for one more; or NULL with the old one untouched. */
static void *
list_grown(void *list, size_t len, size_t each)
{
    if ((len & (len - 1)) != 0)
        return list;
    return realloc(list, (len == 0 ? 1 : 2 * len) * each);
}

static int
targets_count_address(struct targets *t, struct lunette_error *err)
{
    if (t->nportals == DISCOVERY_PORTALS_MAX)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, PROTOCOL_ERROR,
                            "SendTargets: the target names more than %u addresses, which is the "
                            "most that this initiator keeps",
                            DISCOVERY_PORTALS_MAX);
    t->nportals++;
    return 0;
}

static int
add_portal(struct targets *t, const struct portal *p, struct lunette_error *err)
{
    struct discovered_target *dt = current(t);
    struct portal *q;
    int r = targets_count_address(t, err);

    assert(dt != NULL);
    if (r < 0)
        return r;
    q = list_grown(dt->portals, dt->nportals, sizeof(*q));
    if (q == NULL)
        return no_memory(err);
    dt->portals = q;
    q[dt->nportals++] = *p;
    return 0;
}

/* Keeps an address that cannot be understood as it came, so that it can be shown. */
static int
add_unclear(struct targets *t, const struct text_pair *p, struct lunette_error *err)
{
    struct discovered_target *dt = current(t);
    char **q, *copy;
    int r = targets_count_address(t, err);

    if (r < 0)
        return r;
    q = list_grown(dt->unclear, dt->nunclear, sizeof(*q));
    if (q == NULL)
        return no_memory(err);
    dt->unclear = q;
    copy = strndup(p->value, p->value_len);
    if (copy == NULL)
        return no_memory(err);
    q[dt->nunclear++] = copy;
    return 0;
}

/* A record without an address means the portal that was asked (RFC 7143 appendix C). */
static int
end_record(struct targets *t, struct lunette_error *err)
{
    struct discovered_target *dt = current(t);

    if (dt == NULL || t->skip || t->has_address)
        return 0;
    return add_portal(t, &t->in_use, err);
}

static void
remember_bad(struct targets *t, const struct lunette_error *why)
{
    if (t->res.bad_names + t->res.bad_addresses == 0)
        t->res.bad = *why;
}

static int
take_name(struct targets *t, const struct text_pair *p, struct lunette_error *err)
{
    struct discovered_target dt = {.portals = NULL};
    struct lunette_error why;
    int r = end_record(t, err);

    if (r < 0)
        return r;
    t->has_address = false;
    r = iscsi_name_take(p->value, p->value_len, dt.name, &why);
    t->skip = r < 0;
    if (t->skip) {
        (void)lunette_fail_prefix(&why, r, "a target has a name that cannot be sent");
        remember_bad(t, &why);
        t->res.bad_names++;
        return 0;
    }
    if (t->res.ntargets == DISCOVERY_TARGETS_MAX)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, PROTOCOL_ERROR,
                            "SendTargets: there are more than %u targets, which is the most that "
                            "this initiator keeps",
                            DISCOVERY_TARGETS_MAX);
    if (t->res.ntargets == t->room) {
        size_t room = t->room == 0 ? 4 : 2 * t->room;
        struct discovered_target *q = realloc(t->res.targets, room * sizeof(*q));

        if (q == NULL)
            return no_memory(err);
        t->res.targets = q;
        t->room = room;
    }
    t->res.targets[t->res.ntargets++] = dt;
    return 0;
}

static int
take_address(struct targets *t, const struct text_pair *p, struct lunette_error *err)
{
    struct lunette_error why;
    struct portal portal;

    if (t->skip)
        return 0;
    if (current(t) == NULL)
        return targets_fault(err, "names an address before any target");
    t->has_address = true;
    if (portal_parse(p->value, p->value_len, &portal, &why) < 0) {
        (void)lunette_fail_prefix(&why, why.code, "%s has an address that cannot be understood",
                                  current(t)->name);
        remember_bad(t, &why);
        t->res.bad_addresses++;
        return add_unclear(t, p, err);
    }
    portal_take_scope(&portal, &t->in_use);
    return add_portal(t, &portal, err);
}

static int
targets_take_pair(struct targets *t, struct lunette_error *err)
{
    struct text_iter it;
    struct text_pair p;
    int r;

    text_iter_init(&it, t->part, t->part_len);
    r = text_next(&it, &p, err);
    t->part_len = 0;
    if (r <= 0) /* 0: a part without a pair */
        return r;
    if (text_is(p.key, p.key_len, "TargetName"))
        return take_name(t, &p, err);
    if (text_is(p.key, p.key_len, "TargetAddress"))
        return take_address(t, &p, err);
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, PROTOCOL_ERROR,
                        "SendTargets: the target answers with the key %.*s, which is not allowed",
                        (int)p.key_len, p.key);
}

int
targets_feed(struct targets *t, const void *text, size_t len, struct lunette_error *err)
{
    const char *at = text, *end;

    if (len == 0)
        return 0; /* an empty response need not have any data */
    end = at + len;
    t->text_len += len;
    if (t->text_len > DISCOVERY_TEXT_MAX)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, PROTOCOL_ERROR,
                            "SendTargets: the target sends more than %u bytes of text, which is "
                            "the most that this initiator takes",
                            DISCOVERY_TEXT_MAX);
    while (at < end) {
        const char *nul = memchr(at, '\0', (size_t)(end - at));
        size_t n = nul != NULL ? (size_t)(nul + 1 - at) : (size_t)(end - at);
        int r;

        if (n > sizeof(t->part) - t->part_len)
            return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, PROTOCOL_ERROR,
                                "SendTargets: the target sends a pair that is too long, of more "
                                "than the %zu bytes that a key and its value may have",
                                sizeof(t->part) - 1);
        memcpy(t->part + t->part_len, at, n);
        t->part_len += n;
        at += n;
        if (nul == NULL)
            break;
        if (t->part_len == 1) { /* a NUL too many, as padding: it says nothing */
            t->part_len = 0;
            continue;
        }
        r = targets_take_pair(t, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int
targets_end(struct targets *t, struct discovery_result *ret, struct lunette_error *err)
{
    int r;

    if (t->part_len > 0)
        return targets_fault(err, "ends in the middle of a pair");
    r = end_record(t, err);
    if (r < 0)
        return r;
    *ret = t->res;
    t->res = (struct discovery_result){.targets = NULL};
    return 0;
}
