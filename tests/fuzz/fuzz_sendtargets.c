/* SPDX-License-Identifier: MIT */
/* fuzz_sendtargets.c - the answer to SendTargets, from a target that says anything.
 *
 * The first byte says how large the pieces are in which the rest comes.  Whole and in pieces it
 * must come to the same, and whatever is taken can be sent to a target and shown to a person.
 */
#include <errno.h>

#include "discovery/targets.h"
#include "fuzz.h"

static int
read_pieces(const uint8_t *data, size_t len, size_t step, struct discovery_result *ret,
            struct lunette_error *err)
{
    const struct portal asked = {.host = "192.0.2.1", .port = 3260, .tpgt = 7};
    struct targets t;
    int r = 0;

    targets_init(&t, &asked);
    for (size_t at = 0; at < len && r == 0; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *piece = fuzz_copy(data + at, n);

        r = targets_feed(&t, piece, n, err);
        free(piece);
    }
    if (r == 0)
        r = targets_end(&t, ret, err);
    targets_fini(&t);
    return r;
}

static void
look_at(const struct discovery_result *r)
{
    CHECK(r->ntargets <= DISCOVERY_TARGETS_MAX);
    CHECK((r->bad_names + r->bad_addresses == 0) == (r->bad.code == 0));
    if (r->bad.code != 0)
        fuzz_check_text(r->bad.msg, sizeof(r->bad.msg));
    for (size_t i = 0; i < r->ntargets; i++) {
        const struct discovered_target *t = &r->targets[i];
        char name[ISCSI_NAME_MAX + 1];
        struct lunette_error err;

        CHECK(strnlen(t->name, sizeof(t->name)) <= ISCSI_NAME_MAX && t->name[0] != '\0');
        CHECK(iscsi_name_take(t->name, strlen(t->name), name, &err) == 0);
        CHECK(strcmp(name, t->name) == 0);
        CHECK(t->nportals + t->nunclear > 0);
        for (size_t k = 0; k < t->nportals; k++) {
            CHECK(t->portals[k].host[0] != '\0' && t->portals[k].port != 0);
            CHECK(t->portals[k].tpgt >= -1 && t->portals[k].tpgt <= 65535);
        }
        for (size_t k = 0; k < t->nunclear; k++)
            CHECK(strlen(t->unclear[k]) <= TEXT_VALUE_MAX);
    }
}

static void
compare(const struct discovery_result *a, const struct discovery_result *b)
{
    CHECK(a->ntargets == b->ntargets && a->bad_names == b->bad_names);
    CHECK(a->bad_addresses == b->bad_addresses);
    for (size_t i = 0; i < a->ntargets; i++) {
        const struct discovered_target *s = &a->targets[i], *t = &b->targets[i];

        CHECK(strcmp(s->name, t->name) == 0);
        CHECK(s->nportals == t->nportals && s->nunclear == t->nunclear);
        for (size_t k = 0; k < s->nportals; k++) {
            CHECK(strcmp(s->portals[k].host, t->portals[k].host) == 0);
            CHECK(s->portals[k].port == t->portals[k].port);
            CHECK(s->portals[k].tpgt == t->portals[k].tpgt);
        }
        for (size_t k = 0; k < s->nunclear; k++)
            CHECK(strcmp(s->unclear[k], t->unclear[k]) == 0);
    }
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    struct discovery_result whole = {.targets = NULL}, cut = {.targets = NULL};
    struct lunette_error err = {.code = 0}, other = {.code = 0};
    int r;

    if (len == 0)
        return;
    r = read_pieces(data + 1, len - 1, len, &whole, &err);
    CHECK(r == 0 || err.code == r);
    fuzz_check_text(err.msg, sizeof(err.msg));
    CHECK(read_pieces(data + 1, len - 1, (size_t)data[0] + 1, &cut, &other) == r);
    CHECK(strcmp(err.msg, other.msg) == 0);
    if (r == 0) {
        look_at(&whole);
        compare(&whole, &cut);
        discovery_result_free(&whole);
        discovery_result_free(&cut);
    }
}
