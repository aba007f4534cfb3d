/* SPDX-License-Identifier: MIT */
/* iscsiadm -m discovery and -m discoverydb: finding targets, and the records of how to. */
#include <string.h>

#include "cmd/iscsiadm/adm.h"

#define ISNS_PORT 3205 /* RFC 4171 2.1 */

enum kind { KIND_NONE, KIND_SENDTARGETS, KIND_ISNS, KIND_FW, KIND_UNKNOWN };

static const char *const kind_names[] = {"", "sendtargets", "isns", "fw"};

static enum kind
discovery_kind(const char *type)
{
    if (type == NULL)
        return KIND_NONE;
    if (strcmp(type, "st") == 0)
        return KIND_SENDTARGETS;
    for (unsigned i = KIND_SENDTARGETS; i <= KIND_FW; i++)
        if (strcmp(type, kind_names[i]) == 0)
            return (enum kind)i;
    return KIND_UNKNOWN;
}

/* The portal that was given, with the port that belongs to the kind where none was. */
static struct portal
kind_portal(const struct adm_args *a, enum kind kind)
{
    struct portal p = a->portal;

    if (kind == KIND_ISNS && !a->has_port)
        p.port = ISNS_PORT;
    return p;
}

static json_t *
discovery_params(const struct adm_args *a, enum kind kind)
{
    struct portal p = kind_portal(a, kind);
    char text[PORTAL_TEXT_MAX];
    json_t *params = adm_made(json_object());

    if (kind != KIND_NONE)
        adm_put(params, "type", json_string(kind_names[kind]));
    if (a->has_portal)
        adm_put(params, "portal", json_string(portal_format(&p, text, sizeof(text))));
    return params;
}

/* Operations as words; all three where none was given, in both modes, as open-iscsi does it. */
static void
add_operations(json_t *params, unsigned ops)
{
    static const struct {
        unsigned op;
        const char *word;
    } words[] = {{ADM_NEW, "new"},
                 {ADM_UPDATE, "update"},
                 {ADM_DELETE, "delete"},
                 {ADM_NONPERSISTENT, "nonpersistent"}};
    json_t *list = adm_made(json_array());

    ops &= ADM_NEW | ADM_UPDATE | ADM_DELETE | ADM_NONPERSISTENT;
    if (ops == 0)
        ops = ADM_NEW | ADM_UPDATE | ADM_DELETE;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (ops & words[i].op)
            adm_append(list, json_string(words[i].word));
    adm_put(params, "op", list);
}

/* Says that a discovery failed: why, and then in words that scripts know. */
static int
discovery_failed(enum kind kind, const struct manage_failure *fail)
{
    static const char *const names[] = {"", "SendTargets", "iSNS", "fw"};

    if (fail->message[0] == '\0') /* no daemon: that has been said */
        return fail->exit;
    adm_error("%s", fail->message);
    if (kind == KIND_FW && (fail->exit == MANAGE_NOT_FOUND || fail->exit == MANAGE_LOOKUP)) {
        adm_error("Could not get list of targets from firmware. (err %d)", fail->exit);
        return fail->exit;
    }
    adm_error("Could not perform %s discovery: %s", names[kind], manage_code_text(fail->exit));
    return fail->exit;
}

/* A discovery that is under way. */
struct discovery {
    struct adm *adm;
    bool printed; /* what was found */
};

static void
print_found(struct discovery *d, const json_t *targets)
{
    if (!d->printed && !d->adm->args.json)
        adm_print_targets(targets, d->adm->args.level);
    d->printed = true;
}

/* What was found stands before the logins to it. */
static void
discovery_progress(void *user, const json_t *progress)
{
    struct discovery *d = user;
    struct manage_failure fail;

    if (strcmp(adm_text(progress, "state"), "found") == 0) {
        print_found(d, adm_list(progress, "targets"));
    } else if (strcmp(adm_text(progress, "state"), "retrying") == 0) {
        manage_failure_read(json_object_get(progress, "error"), &fail);
        adm_error("cannot make connection to %s: %s", d->adm->args.portal.host, fail.message);
    } else {
        adm_login_progress(d->adm, progress);
    }
}

static json_t *
discovery_run_params(const struct adm_args *a, enum kind kind)
{
    json_t *params = discovery_params(a, kind), *ifaces = adm_made(json_array());

    for (unsigned i = 0; i < a->ifaces_count; i++)
        adm_append(ifaces, json_string(a->ifaces[i]));
    if (a->ifaces_count > 0)
        adm_put(params, "iface", json_incref(ifaces));
    json_decref(ifaces);
    if (json_array_size(a->values) > 0)
        adm_put(params, "values", json_incref(a->values));
    if (a->login)
        adm_put(params, "login", json_true());
    if (a->login && a->no_wait)
        adm_put(params, "wait", json_false());
    add_operations(params, a->ops);
    return params;
}

/* Runs a discovery, prints what it found, and logs in where that is asked for. */
static int
discovery_run(struct adm *adm, enum kind kind)
{
    static const char *const methods[] = {NULL, "discovery.sendtargets", "discovery.isns",
                                          "discovery.fw"};
    struct discovery d = {.adm = adm};
    const struct adm_request rq = {.method = methods[kind],
                                   .params = discovery_run_params(&adm->args, kind),
                                   .silence_ms = ADM_REACH_MS,
                                   .quiet = true,
                                   .progress = discovery_progress,
                                   .user = &d};
    struct manage_failure fail;
    const json_t *targets;
    json_t *result;
    int r = adm_call_failure(adm, &rq, &result, &fail);

    if (r != 0)
        return discovery_failed(kind, &fail);
    targets = adm_list(result, "targets");
    if (json_array_size(targets) == 0) {
        adm_error("No portals found");
        r = MANAGE_NOT_FOUND;
    }
    print_found(&d, targets);
    if (adm->args.json)
        (void)adm_print_json(result);
    if (r == 0)
        r = adm_print_logins(adm_list(result, "results"));
    json_decref(result);
    return r;
}

/* One section of the tree of all records; discoveries by a portal are named by it. */
static void
print_section(const json_t *records, const char *title, const char *type, bool portals)
{
    bool any = false;

    (void)printf("%s:\n", title);
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *rec = json_array_get(records, i);
        struct adm_portal p;

        if (strcmp(adm_text(rec, "type"), type) != 0)
            continue;
        any = true;
        adm_portal_read(adm_text(rec, "portal"), &p);
        if (portals)
            (void)printf("DiscoveryAddress: %s,%d\n", p.addr, p.port);
        adm_print_target_tree(adm_list(rec, "targets"));
    }
    if (!any)
        (void)puts("No targets found.");
}

static void
print_discoveries(const json_t *records)
{
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *rec = json_array_get(records, i);
        const char *type = adm_text(rec, "type");
        struct adm_portal p;

        adm_portal_read(adm_text(rec, "portal"), &p);
        if (strcmp(type, "sendtargets") == 0 || strcmp(type, "isns") == 0)
            (void)printf("%s:%d via %s\n", p.addr, p.port, type);
    }
}

static int
discovery_list(struct adm *adm)
{
    int level = adm->args.level, r = adm_check_level(&adm->args, 1);
    const json_t *records;
    json_t *result;

    if (r == 0)
        r = adm_read(adm, "discovery.list", adm_made(json_pack("{s:b}", "targets", level == 1)), "",
                     &result);
    if (r != 0)
        return r;
    records = adm_list(result, "records");
    r = json_array_size(records) == 0 ? MANAGE_NOT_FOUND : 0;
    if (adm->args.json) {
        (void)adm_print_json(result);
    } else if (level == 1) {
        print_section(records, "SENDTARGETS", "sendtargets", true);
        print_section(records, "iSNS", "isns", true);
        print_section(records, "STATIC", "static", false);
        print_section(records, "FIRMWARE", "fw", false);
        r = 0;
    } else {
        print_discoveries(records);
    }
    json_decref(result);
    return r;
}

static int
record_missing(const struct adm_args *a, enum kind kind)
{
    struct portal p = kind_portal(a, kind);

    adm_error("Discovery record [%s,%d] not found!", p.host, p.port);
    return MANAGE_NOT_FOUND;
}

/* A request about the record; tells one that is not there. */
static int
record_request(struct adm *adm, enum kind kind, const char *method, json_t *params, json_t **ret)
{
    const struct adm_request rq = {
        .method = method, .params = params, .silence_ms = ADM_READ_MS, .quiet = true};
    struct manage_failure fail;
    int r = adm_call_failure(adm, &rq, ret, &fail);

    if (r == MANAGE_NOT_FOUND)
        return record_missing(&adm->args, kind);
    if (r != 0 && fail.message[0] != '\0')
        adm_error("%s", fail.message);
    return r;
}

static int
record_dump(struct adm *adm, enum kind kind)
{
    json_t *params = discovery_params(&adm->args, kind), *result;
    int r;

    if (adm->args.show)
        adm_put(params, "show_secrets", json_true());
    r = record_request(adm, kind, "discovery.show", params, &result);
    return r == 0 ? adm_print_list(adm, result, "records", adm_print_record, NULL) : r;
}

static int
record_operation(struct adm *adm, enum kind kind, const char *method)
{
    json_t *params = discovery_params(&adm->args, kind), *result;
    struct portal p = kind_portal(&adm->args, kind);
    int r;

    if (json_array_size(adm->args.values) > 0)
        adm_put(params, "values", json_incref(adm->args.values));
    r = record_request(adm, kind, method, params, &result);
    if (r != 0)
        return r;
    json_decref(result);
    if (adm->args.ops == ADM_NEW)
        (void)printf("New discovery record for [%s,%d] added.\n", p.host, p.port);
    return 0;
}

static int
record_edit(struct adm *adm, enum kind kind)
{
    switch (adm->args.ops) {
    case 0:
    case ADM_SHOW:
        return record_dump(adm, kind);
    case ADM_NEW:
        if (adm->args.mode == ADM_DISCOVERYDB)
            return record_operation(adm, kind, "discovery.new");
        break;
    case ADM_UPDATE:
        if (adm->args.mode == ADM_DISCOVERYDB)
            return adm_check_values(&adm->args, "Update") != 0
                       ? MANAGE_INVALID
                       : record_operation(adm, kind, "discovery.update");
        break;
    case ADM_DELETE:
        return record_operation(adm, kind, "discovery.delete");
    default:
        adm_error("Operation is not supported.");
        return MANAGE_INVALID;
    }
    adm_error(
        "Operations new and update for discovery mode is not supported. Use discoverydb mode.");
    return MANAGE_INVALID;
}

/* A kind is known. */
static int
discovery_of_kind(struct adm *adm, enum kind kind)
{
    const struct adm_args *a = &adm->args;
    bool db = a->mode == ADM_DISCOVERYDB;

    if (kind != KIND_FW && !a->has_portal) {
        adm_error("Please specify portal as <ipaddr>[:<ipport>]");
        return MANAGE_INVALID;
    }
    if (!db || a->discover)
        return discovery_run(adm, kind);
    if (kind == KIND_FW) {
        adm_error("Invalid command. Possibly missing --discover argument.");
        return MANAGE_INVALID;
    }
    if (a->login) {
        adm_error("Invalid command. --login in discoverydb mode wants --discover, too.");
        return MANAGE_INVALID;
    }
    return record_edit(adm, kind);
}

int
adm_mode_discovery(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    enum kind kind = discovery_kind(a->type);
    bool db = a->mode == ADM_DISCOVERYDB;

    if (kind == KIND_UNKNOWN) {
        adm_error("unknown discovery type '%s'; it is st, isns or fw", a->type);
        return MANAGE_DISCOVERY_TYPE;
    }
    if (kind != KIND_NONE)
        return discovery_of_kind(adm, kind);
    if (!a->has_portal && (a->ops & ~(unsigned)ADM_SHOW) == 0)
        return discovery_list(adm);
    if (!a->has_portal) {
        adm_error("Invalid operation. Operation not supported.");
        return MANAGE_INVALID;
    }
    if (db) {
        adm_error("Invalid command. Portal not needed or Possibly missing discovery --type.");
        return MANAGE_INVALID;
    }
    /* Discovery mode has records of SendTargets only. */
    return a->discover || a->login ? discovery_run(adm, KIND_SENDTARGETS)
                                   : record_edit(adm, KIND_SENDTARGETS);
}
