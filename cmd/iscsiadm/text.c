/* SPDX-License-Identifier: MIT */
/* Portals, records and targets as scripts know them. */
#include <stdlib.h>
#include <string.h>

#include "cmd/iscsiadm/adm.h"

void
adm_portal_read(const char *text, struct adm_portal *ret)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : strlen(text);

    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    (void)snprintf(ret->addr, sizeof(ret->addr), "%.*s", (int)n, text);
    ret->port = colon != NULL ? atoi(colon + 1) : 0;
}

void
adm_print_portal(const char *portal, int64_t tpgt)
{
    bool dot;
    struct adm_portal p;

    adm_portal_read(portal, &p);
    dot = strchr(p.addr, '.') != NULL;
    (void)printf("%s%s%s:%d,%lld", dot ? "" : "[", p.addr, dot ? "" : "]", p.port, (long long)tpgt);
}

const char *
adm_or_empty(const char *text)
{
    return text[0] != '\0' ? text : "<empty>";
}

void
adm_print_record(const json_t *record)
{
    const json_t *values = adm_list(record, "values");

    (void)puts("# BEGIN RECORD " LUNETTE_VERSION);
    for (size_t i = 0; i < json_array_size(values); i++) {
        const json_t *pair = json_array_get(values, i);
        const char *name = json_string_value(json_array_get(pair, 0));
        const char *value = json_string_value(json_array_get(pair, 1));

        if (name != NULL)
            (void)printf("%s = %s\n", name, adm_or_empty(value != NULL ? value : ""));
    }
    (void)puts("# END RECORD");
}

void
adm_print_target_tree(const json_t *targets)
{
    const char *target = NULL, *portal = NULL;

    for (size_t i = 0; i < json_array_size(targets); i++) {
        const json_t *t = json_array_get(targets, i);
        const char *name = adm_text(t, "target"), *at = adm_text(t, "portal");

        if (target == NULL || strcmp(target, name) != 0) {
            (void)printf("Target: %s\n", name);
            portal = NULL;
        }
        if (portal == NULL || strcmp(portal, at) != 0) {
            (void)fputs("\tPortal: ", stdout);
            adm_print_portal(at, adm_number(t, "tpgt"));
            (void)fputc('\n', stdout);
        }
        if (adm_text(t, "iface")[0] != '\0')
            (void)printf("\t\tIface Name: %s\n", adm_text(t, "iface"));
        target = name;
        portal = at;
    }
}

void
adm_print_targets(const json_t *targets, int level)
{
    if (level == 1) {
        adm_print_target_tree(targets);
        return;
    }
    for (size_t i = 0; i < json_array_size(targets); i++) {
        const json_t *t = json_array_get(targets, i);

        adm_print_portal(adm_text(t, "portal"), adm_number(t, "tpgt"));
        (void)printf(" %s\n", adm_text(t, "target"));
    }
}

json_t *
adm_filter(const struct adm_args *a)
{
    char portal[PORTAL_TEXT_MAX];
    json_t *f = adm_made(json_object());

    if (a->target != NULL)
        adm_put(f, "target", json_string(a->target));
    if (a->has_portal)
        adm_put(f, "portal", json_string(portal_format(&a->portal, portal, sizeof(portal))));
    if (a->has_portal && a->portal.tpgt >= 0)
        adm_put(f, "tpgt", json_integer(a->portal.tpgt));
    if (a->ifaces_count > 0)
        adm_put(f, "iface", json_string(a->ifaces[0]));
    return f;
}

bool
adm_selects(const struct adm_args *a)
{
    return a->target != NULL || a->has_portal || a->ifaces_count > 0;
}

int
adm_check_level(const struct adm_args *a, int max)
{
    if (a->level <= max)
        return 0;
    adm_error("Invalid info level %d. Try 0 - %d.", a->level, max);
    return MANAGE_INVALID;
}

int
adm_check_values(const struct adm_args *a, const char *what)
{
    if (a->name == NULL && a->value == NULL && json_array_size(a->values) > 0)
        return 0;
    adm_error("%s requires name and value", what);
    return MANAGE_INVALID;
}
