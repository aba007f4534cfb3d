/* SPDX-License-Identifier: MIT */
/* iscsiadm -m iface: through which interface, and by which name, logins are made. */
#include <string.h>

#include "cmd/iscsiadm/adm.h"

/* Those that stand for no binding come last. */
static bool
stands_last(const char *name)
{
    return strcmp(name, "default") == 0 || strcmp(name, "iser") == 0;
}

static void
print_iface_line(const json_t *iface)
{
    (void)printf(
        "%s %s,%s,%s,%s,%s\n", adm_text(iface, "name"), adm_or_empty(adm_text(iface, "transport")),
        adm_or_empty(adm_text(iface, "hwaddress")), adm_or_empty(adm_text(iface, "ipaddress")),
        adm_or_empty(adm_text(iface, "netdev")), adm_or_empty(adm_text(iface, "initiatorname")));
}

/* The records that are bound to an iface. */
static void
print_iface_tree(const json_t *iface, const json_t *nodes)
{
    const char *name = adm_text(iface, "name"), *target = NULL;

    (void)printf("Iface: %s\n", name);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *n = json_array_get(nodes, i);

        if (strcmp(adm_text(n, "iface"), name) != 0)
            continue;
        if (target == NULL || strcmp(target, adm_text(n, "target")) != 0)
            (void)printf("\tTarget: %s\n", adm_text(n, "target"));
        target = adm_text(n, "target");
        (void)fputs("\t\tPortal: ", stdout);
        adm_print_portal(adm_text(n, "portal"), adm_number(n, "tpgt"));
        (void)fputc('\n', stdout);
    }
}

static void
print_ifaces(const json_t *ifaces, const json_t *nodes, bool tree)
{
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < json_array_size(ifaces); i++) {
            const json_t *iface = json_array_get(ifaces, i);

            if (stands_last(adm_text(iface, "name")) != (last == 1))
                continue;
            if (tree)
                print_iface_tree(iface, nodes);
            else
                print_iface_line(iface);
        }
    }
}

static int
iface_list(struct adm *adm)
{
    json_t *result, *nodes = NULL;
    int r = adm_check_level(&adm->args, 1);

    if (r == 0)
        r = adm_read(adm, "iface.list", NULL, "No interfaces found.", &result);
    if (r != 0)
        return r;
    if (adm->args.json) {
        r = adm_print_json(result);
    } else {
        const struct adm_request rq = {
            .method = "node.list", .silence_ms = ADM_READ_MS, .quiet = true};

        /* No record at all is no error here. */
        if (adm->args.level == 1 && adm_call(adm, &rq, &nodes) != 0)
            nodes = NULL;
        print_ifaces(adm_list(result, "ifaces"), adm_list(nodes, "nodes"), adm->args.level == 1);
    }
    json_decref(nodes);
    json_decref(result);
    return r;
}

static json_t *
iface_params(const struct adm_args *a)
{
    json_t *params = adm_made(json_object());

    if (a->ifaces_count > 0)
        adm_put(params, "iface", json_string(a->ifaces[0]));
    if (a->host != NULL)
        adm_put(params, "host", json_string(a->host));
    if (json_array_size(a->values) > 0)
        adm_put(params, "values", json_incref(a->values));
    return params;
}

static int
iface_show(struct adm *adm)
{
    return adm_show(adm, "iface.show", iface_params(&adm->args), "ifaces", adm_print_record, NULL);
}

/* One of the operations that change something, and what is printed when it is done; %s is the name
 * of the iface. */
static int
iface_change(struct adm *adm, const char *method, const char *before, const char *after)
{
    const char *name = adm->args.ifaces[0];
    json_t *result;
    int r;

    if (adm->args.ifaces_count == 0) {
        adm_error("this operation needs an interface: give --interface");
        return MANAGE_INVALID;
    }
    r = adm_read(adm, method, iface_params(&adm->args), NULL, &result);
    if (r != 0)
        return r;
    (void)printf("%s%s%s\n", before, name, after);
    json_decref(result);
    return 0;
}

static int
iface_new(struct adm *adm)
{
    if (adm->args.ifaces_count > 0) {
        json_t *result;
        int r = adm_read(adm, "iface.new", iface_params(&adm->args), NULL, &result);

        if (r != 0)
            return r;
        json_decref(result);
        (void)printf("%s updated.\nNew interface %s added\n", adm->args.ifaces[0],
                     adm->args.ifaces[0]);
        return 0;
    }
    adm_error("a new interface needs a name: give --interface");
    return MANAGE_INVALID;
}

static int
iface_applyall(struct adm *adm)
{
    json_t *result;
    int r;

    if (adm->args.host == NULL) {
        adm_error("applyall needs a host: give --host");
        return MANAGE_INVALID;
    }
    r = adm_read(adm, "iface.apply", iface_params(&adm->args), NULL, &result);
    if (r != 0)
        return r;
    (void)printf("Applied settings to ifaces attached to host%s.\n", adm->args.host);
    json_decref(result);
    return 0;
}

int
adm_mode_iface(struct adm *adm)
{
    const struct adm_args *a = &adm->args;

    if (a->submode != NULL) {
        adm_error(
            "ping is sent by offload adapters, of which there is none; use ping(8), or lunette "
            "ping for a target");
        return MANAGE_NOT_SUPPORTED;
    }
    switch (a->ops) {
    case 0:
    case ADM_SHOW:
        return a->ifaces_count > 0 ? iface_show(adm) : iface_list(adm);
    case ADM_NEW:
        return iface_new(adm);
    case ADM_UPDATE:
        return adm_check_values(a, "Update") != 0
                   ? MANAGE_INVALID
                   : iface_change(adm, "iface.update", "", " updated.");
    case ADM_DELETE:
        return iface_change(adm, "iface.delete", "", " unbound and deleted.");
    case ADM_APPLY:
        return iface_change(adm, "iface.apply", "", " applied.");
    case ADM_APPLYALL:
        return iface_applyall(adm);
    default:
        adm_error("iface mode takes one of the operations new, delete, update, show, apply and "
                  "applyall");
        return MANAGE_INVALID;
    }
}
