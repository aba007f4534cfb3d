/* SPDX-License-Identifier: MIT */
/* iscsiadm -m node: records of targets, and logins to them. */
#include <string.h>

#include "cmd/iscsiadm/adm.h"

#define NO_RECORDS "No records found"

static json_t *
show_params(const struct adm *adm)
{
    json_t *params = adm_filter(&adm->args);

    if (adm->args.show)
        adm_put(params, "show_secrets", json_true());
    return params;
}

static int
node_show(struct adm *adm)
{
    return adm_show(adm, "node.show", show_params(adm), "nodes", adm_print_record, NO_RECORDS);
}

static int
node_list(struct adm *adm)
{
    json_t *result;
    int r = adm_check_level(&adm->args, 1);

    if (r == 0)
        r = adm_read(adm, "node.list", NULL, NO_RECORDS, &result);
    if (r != 0)
        return r;
    if (adm->args.json)
        (void)adm_print_json(result);
    else
        adm_print_targets(adm_list(result, "nodes"), adm->args.level);
    r = json_array_size(adm_list(result, "nodes")) == 0 ? MANAGE_NOT_FOUND : 0;
    if (r != 0)
        adm_error(NO_RECORDS);
    json_decref(result);
    return r;
}

static void
print_added(const json_t *n)
{
    const json_t *iface = json_object_get(n, "iface_settings");
    const char *transport = adm_text(iface, "transport");
    struct adm_portal p;

    adm_portal_read(adm_text(n, "portal"), &p);
    (void)printf("New iSCSI node [%s:[hw=%s,ip=%s,net_if=%s,iscsi_if=%s] %s,%d,%lld %s] added\n",
                 transport[0] != '\0' ? transport : "tcp", adm_text(iface, "hwaddress"),
                 adm_text(iface, "ipaddress"), adm_text(iface, "netdev"), adm_text(n, "iface"),
                 p.addr, p.port, (long long)adm_number(n, "tpgt"), adm_text(n, "target"));
}

static int
mode_node_new(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    json_t *params;

    if (a->target == NULL) {
        adm_error("a new record wants at least --targetname, and --portal where the target is not "
                  "known yet");
        return MANAGE_INVALID;
    }
    params = adm_filter(a);
    if (json_array_size(a->values) > 0)
        adm_put(params, "values", json_incref(a->values));
    return adm_show(adm, "node.new", params, "nodes", print_added, NULL);
}

/* A request about all records that are selected. */
static int
node_all(struct adm *adm, const char *method, json_t *params)
{
    const struct adm_request rq = {
        .method = method, .params = params, .silence_ms = ADM_READ_MS, .none = NO_RECORDS};
    json_t *result;
    int r = adm_call(adm, &rq, &result);

    if (r == 0)
        json_decref(result);
    else if (r != MANAGE_NOT_FOUND && r != MANAGE_DAEMON_LOST && r != MANAGE_DAEMON_NOT_FOUND)
        adm_error("Could not execute operation on all records: %s", manage_code_text(r));
    return r;
}

/* Names of an iface's settings are refused but one, as ever; and an old name has become another. */
static int
node_update(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    json_t *params;
    int r = adm_check_values(a, "update");

    for (size_t i = 0; r == 0 && i < json_array_size(a->values); i++) {
        json_t *pair = json_array_get(a->values, i);
        const char *name = json_string_value(json_array_get(pair, 0));

        if (strcmp(name, "node.transport_name") == 0) {
            if (json_array_set_new(pair, 0, json_string("iface.transport_name")) < 0)
                (void)adm_made(NULL);
        } else if (strncmp(name, "iface.", 6) == 0 && strcmp(name, "iface.transport_name") != 0) {
            adm_error("Cannot modify %s. Use iface mode to update this value.", name);
            r = MANAGE_INVALID;
        }
    }
    if (r != 0)
        return r;
    params = adm_filter(a);
    adm_put(params, "values", json_incref(a->values));
    return node_all(adm, "node.update", params);
}

static int
node_operation(struct adm *adm)
{
    switch (adm->args.ops) {
    case 0:
        return adm_selects(&adm->args) ? node_show(adm) : node_list(adm);
    case ADM_SHOW:
        return node_show(adm);
    case ADM_NEW:
        return mode_node_new(adm);
    case ADM_UPDATE:
        return node_update(adm);
    case ADM_DELETE:
        return node_all(adm, "node.delete", adm_filter(&adm->args));
    default:
        adm_error("node mode takes one of the operations new, delete, update and show");
        return MANAGE_INVALID;
    }
}

static bool
is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

/* -L and -U: all records, or all sessions, by the startup of their records. */
static int
node_by_startup(struct adm *adm)
{
    static const char *const login[] = {"all", "manual", "automatic", "onboot", NULL};
    static const char *const logout[] = {"all", "manual", "automatic", NULL};
    const struct adm_args *a = &adm->args;
    const char *word = a->login_all != NULL ? a->login_all : a->logout_all;
    json_t *params;

    if (a->login_all != NULL && a->logout_all != NULL) {
        adm_error("Invalid parameters. Both logout_all and login_all passed in");
        return MANAGE_INVALID;
    }
    if (!is_one_of(word, a->login_all != NULL ? login : logout)) {
        adm_error("Invalid parameter '%s'. It is one of all, manual and automatic%s", word,
                  a->login_all != NULL ? ", or onboot" : "");
        return MANAGE_INVALID;
    }
    params = adm_filter(a);
    adm_put(params, "all", json_string(word));
    return a->login_all != NULL ? adm_login(adm, "node.login", params)
                                : adm_logout(adm, "node.logout", params);
}

static json_t *
node_login_params(const struct adm_args *a)
{
    json_t *params = adm_filter(a), *lease;

    if (a->lease_owner == NULL)
        return params;
    lease = adm_made(json_object());
    adm_put(lease, "owner", json_string(a->lease_owner));
    adm_put(lease, "seconds", json_integer(a->lease_s));
    adm_put(params, "lease", lease);
    return params;
}

int
adm_mode_node(struct adm *adm)
{
    const struct adm_args *a = &adm->args;

    if ((a->login_all != NULL || a->logout_all != NULL) && a->lease_owner == NULL)
        return node_by_startup(adm);
    if (a->login && a->logout) {
        adm_error("Invalid parameters. Both login and logout passed in");
        return MANAGE_INVALID;
    }
    if ((a->login || a->logout) && a->ops != 0) {
        adm_error("Invalid parameters. Login/logout and op passed in");
        return MANAGE_INVALID;
    }
    if (a->lease_owner != NULL && !a->login) {
        adm_error("--lease is about --login in node mode; sessions that exist get one in session "
                  "mode");
        return MANAGE_INVALID;
    }
    if (a->login)
        return adm_login(adm, "node.login", node_login_params(a));
    if (a->logout)
        return adm_logout(adm, "node.logout", adm_filter(a));
    if (a->rescan)
        return adm_rescan(adm, adm_filter(a), "No session found.");
    if (a->stats)
        return adm_stats(adm, adm_filter(a), "No session found.");
    return node_operation(adm);
}
