/* SPDX-License-Identifier: MIT */
/* Methods about the targets that the firmware knows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

/* A table may name a target for each of several cards: it is one node all the same. */
int
firmware_ids(const struct firmware_list *l, const char *iface, struct ids *ids,
             struct lunette_error *err)
{
    struct nodedb_id id;
    int r = 0;

    for (size_t i = 0; r == 0 && i < l->n; i++) {
        bool known = false;

        firmware_id(&l->target[i], iface, &id);
        for (size_t k = 0; k < ids->n; k++)
            known |= nodedb_id_same(&ids->id[k], &id);
        if (!known)
            r = ids_add(ids, &id, err);
    }
    return r;
}

int
firmware_list(struct iscsid *d, struct manage_call *call, struct firmware_list *ret)
{
    struct lunette_error err = {.code = 0};
    int r = firmware_load(d, ret, &err);

    if (r == -ENODEV || r == -EPROTO)
        manage_fail(call, MANAGE_LOOKUP, "%s", err.msg);
    else if (r < 0)
        say_fail(call, &err);
    else if (ret->left_out > 0)
        log_line(d->loop->log, LOG_LEVEL_WARN, "%s, and is left out", ret->why.msg);
    return r;
}

static void
firmware_say(json_t *list, const char *name, const char *value)
{
    json_t *pair;

    if (value[0] == '\0')
        return;
    pair = json_array();
    (void)json_array_append_new(pair, json_string(name));
    (void)json_array_append_new(pair, say_text(value));
    (void)json_array_append_new(list, pair);
}

/* In the order of open-iscsi. */
static json_t *
firmware_values(const struct firmware_target *t, bool show_secrets)
{
    const char *secret = show_secrets || t->secret[0] == '\0' ? t->secret : "********";
    const char *secret_in = show_secrets || t->secret_in[0] == '\0' ? t->secret_in : "********";
    char prefix[16] = "", port[16];
    json_t *list = json_array();

    if (t->prefix_len > 0)
        (void)snprintf(prefix, sizeof(prefix), "%u", t->prefix_len);
    (void)snprintf(port, sizeof(port), "%u", t->port);
    firmware_say(list, "iface.initiatorname", t->initiator);
    firmware_say(list, "iface.isid", t->isid);
    firmware_say(list, "iface.transport_name", "tcp");
    firmware_say(list, "iface.hwaddress", t->mac);
    firmware_say(list, "iface.bootproto", t->dhcp ? "DHCP" : "STATIC");
    firmware_say(list, "iface.ipaddress", t->address);
    firmware_say(list, "iface.prefix_len", prefix);
    firmware_say(list, "iface.subnet_mask", t->mask);
    firmware_say(list, "iface.gateway", t->gateway);
    firmware_say(list, "iface.primary_dns", t->dns[0]);
    firmware_say(list, "iface.secondary_dns", t->dns[1]);
    firmware_say(list, "iface.vlan_id", t->vlan);
    firmware_say(list, "iface.net_ifacename", t->device);
    firmware_say(list, "node.name", t->name);
    firmware_say(list, "node.conn[0].address", t->host);
    firmware_say(list, "node.conn[0].port", port);
    firmware_say(list, "node.session.auth.username", t->user);
    firmware_say(list, "node.session.auth.password", secret);
    firmware_say(list, "node.session.auth.username_in", t->user_in);
    firmware_say(list, "node.session.auth.password_in", secret_in);
    firmware_say(list, "node.boot_lun", t->lun);
    return list;
}

METHOD(fw_list_method)
{
    struct lunette_error err = {.code = 0};
    struct firmware_list l;
    json_t *targets;
    bool secrets = false;

    if (manage_get_bool(params, "show_secrets", &secrets, &err) < 0) {
        say_fail(call, &err);
        return;
    }
    if (firmware_list(user, call, &l) < 0)
        return;
    targets = json_array();
    for (size_t i = 0; i < l.n; i++)
        (void)json_array_append_new(
            targets, json_pack("{s:o}", "values", firmware_values(&l.target[i], secrets)));
    firmware_list_fini(&l);
    manage_reply(call, json_pack("{s:o}", "targets", targets));
}

/* By which card a target is reached is the table's to say. */
static int
firmware_check_values(const json_t *values, struct lunette_error *err)
{
    static const char *const fixed[] = {"iface.net_ifacename", "iface.hwaddress",
                                        "iface.transport_name"};
    const char *name, *value;

    for (size_t i = 0; i < json_array_size(values); i++) {
        manage_pair(values, i, &name, &value);
        for (size_t k = 0; k < sizeof(fixed) / sizeof(fixed[0]); k++) {
            if (strcmp(name, fixed[k]) == 0)
                return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                    "Cannot override interface parameters for firmware logins");
        }
    }
    return 0;
}

/* Keeps the nodes that are asked for. */
static void
firmware_filter(const struct filter *f, struct ids *ids)
{
    struct control_name name;
    size_t n = 0;

    for (size_t i = 0; i < ids->n; i++) {
        name_of_id(&ids->id[i], 0, &name);
        if (filter_fits(f, &name))
            ids->id[n++] = ids->id[i];
    }
    ids->n = n;
}

METHOD(fw_login_method)
{
    struct batch_options o = {.firmware = true};
    struct lunette_error err = {.code = 0};
    struct ids ids = {.n = 0};
    struct firmware_list l;
    struct filter f;
    bool wait = true;
    int r = filter_get(params, &f, &err);

    if (r == 0)
        r = manage_get_bool(params, "wait", &wait, &err);
    if (r >= 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &o.values, &err);
    if (r >= 0)
        r = firmware_check_values(o.values, &err);
    if (r < 0) {
        say_fail(call, &err);
        return;
    }
    if (firmware_list(user, call, &l) < 0)
        return;
    r = firmware_ids(&l, "default", &ids, &err);
    firmware_list_fini(&l);
    if (r < 0) {
        ids_fini(&ids);
        say_fail(call, &err);
        return;
    }
    firmware_filter(&f, &ids);
    o.no_wait = !wait;
    batch_login(user, call, &ids, &o);
}
