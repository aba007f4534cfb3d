/* SPDX-License-Identifier: MIT */
/* Targets that the firmware knows: shown, logged in to, and made records of.
 *
 * A login to one needs no record.  Its session is given its configuration from the firmware's table
 * whenever it is asked for and there is no record of that name, so that it comes back after a loss
 * also where this process is another one by then. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

#define FIRMWARE_TPGT 1 /* the table has no tag, and open-iscsi takes this one */

/* ---- the table ------------------------------------------------------------------------------ */

/* Finds the network device of a card, where only its hardware address tells it.  A target by a card
 * that is not in this machine is left out, as open-iscsi does it. */
static void
firmware_find_devices(struct firmware_list *l)
{
    struct lunette_error why = {.code = 0};
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        struct firmware_target *t = &l->target[i];

        if (t->device_by_mac && nodedb_iface_device(SYS_NET, t->mac, t->device, &why) < 0) {
            if (l->left_out++ == 0)
                (void)lunette_fail(&l->why, -ENODEV, LUNETTE_DOM_NOTFOUND, 0, "%.80s: %s", t->name,
                                   why.msg);
            explicit_bzero(t, sizeof(*t));
        } else {
            if (n < i)
                l->target[n] = *t;
            n++;
        }
    }
    if (n < l->n)
        explicit_bzero(&l->target[n], (l->n - n) * sizeof(l->target[0]));
    l->n = n;
}

static int
firmware_load(struct iscsid *d, struct firmware_list *ret, struct lunette_error *err)
{
    int r = firmware_read(d->cfg.firmware, ret, err);

    if (r < 0)
        return r;
    firmware_find_devices(ret);
    if (ret->n > 0)
        return 0;
    r = lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "%s", ret->why.msg);
    firmware_list_fini(ret);
    return r;
}

/* ---- a target as a node --------------------------------------------------------------------- */

/* Linux writes IPv6 in full; records have it as everybody else writes it. */
static void
firmware_host(const struct firmware_target *t, struct portal *ret)
{
    struct portal via = {.tpgt = -1};
    struct in6_addr a;

    (void)snprintf(ret->host, sizeof(ret->host), "%s", t->host);
    if (inet_pton(AF_INET6, t->host, &a) == 1)
        (void)inet_ntop(AF_INET6, &a, ret->host, sizeof(ret->host));
    if (t->device[0] == '\0')
        return;
    (void)snprintf(via.host, sizeof(via.host), "%%%s", t->device);
    portal_take_scope(ret, &via);
}

static void
firmware_id(const struct firmware_target *t, const char *iface, struct nodedb_id *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->target, t->name, sizeof(ret->target));
    (void)snprintf(ret->iface, sizeof(ret->iface), "%s", iface);
    firmware_host(t, &ret->portal);
    ret->portal.port = t->port != 0 ? t->port : ISCSI_PORT;
    ret->portal.tpgt = FIRMWARE_TPGT;
}

static int
firmware_fill_target(const struct firmware_target *t, struct nodedb_record *r)
{
    const struct {
        enum nodedb_key_id key;
        const char *text;
    } values[] = {
        {NODEDB_IFACE_INITIATORNAME, t->initiator},
        {NODEDB_USERNAME, t->user},
        {NODEDB_PASSWORD, t->secret},
        {NODEDB_USERNAME_IN, t->user_in},
        {NODEDB_PASSWORD_IN, t->secret_in},
        {NODEDB_NODE_STARTUP, "onboot"},
    };
    int e = nodedb_node_set_source(r, NODEDB_BY_FW, NULL);

    for (size_t i = 0; e == 0 && i < sizeof(values) / sizeof(values[0]); i++) {
        if (values[i].text[0] != '\0')
            e = nodedb_record_set(r, values[i].key, values[i].text);
    }
    return e;
}

static const struct firmware_target *
firmware_find(const struct firmware_list *l, const struct nodedb_id *id)
{
    struct nodedb_id is;

    for (size_t i = 0; i < l->n; i++) {
        firmware_id(&l->target[i], id->iface, &is);
        if (nodedb_id_same(&is, id))
            return &l->target[i];
    }
    return NULL;
}

int
firmware_fill(const struct firmware_list *l, const struct nodedb_id *id, struct nodedb_record *r)
{
    const struct firmware_target *t = firmware_find(l, id);

    return t != NULL ? firmware_fill_target(t, r) : 0;
}

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

/* ---- a login without a record --------------------------------------------------------------- */

/* Sets the values that are of the kind of the record: those of an iface, or the others. */
static int
firmware_set(struct nodedb_record *r, const json_t *values, struct lunette_error *err)
{
    const char *name, *value;
    int e = 0;

    for (size_t i = 0; e == 0 && i < json_array_size(values); i++) {
        manage_pair(values, i, &name, &value);
        if ((strncmp(name, "iface.", 6) == 0) == (r->kind == NODEDB_IFACE))
            e = nodedb_record_update(r, name, value, err);
    }
    return e;
}

static int
firmware_setup_target(struct iscsid *d, const struct firmware_target *t, const struct nodedb_id *id,
                      const json_t *values, struct setup *ret, struct lunette_error *err)
{
    struct nodedb_record iface, r;
    int e = nodedb_iface_read(d->db, id->iface, &iface, err);

    if (e < 0)
        return e;
    if (t->initiator[0] != '\0')
        e = nodedb_record_set(&iface, NODEDB_IFACE_INITIATORNAME, t->initiator);
    if (e < 0)
        say_no_memory(err);
    else
        e = firmware_set(&iface, values, err);
    if (e == 0)
        e = nodedb_node_init(&r, id, &iface, &d->conf, err);
    if (e < 0) {
        nodedb_record_fini(&iface);
        return e;
    }
    e = firmware_fill_target(t, &r);
    if (e < 0)
        say_no_memory(err);
    else
        e = firmware_set(&r, values, err);
    if (e == 0)
        e = records_setup_of(d, &r, &iface, ret, err);
    nodedb_record_fini(&r);
    nodedb_record_fini(&iface);
    return e;
}

int
firmware_setup(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
               struct setup *ret, struct lunette_error *err)
{
    struct firmware_list l;
    const struct firmware_target *t;
    int r = strcmp(id->iface, "default") != 0 ? -ENOENT : firmware_load(d, &l, NULL);

    if (r < 0)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "there is no record of %s",
                            id->target);
    t = firmware_find(&l, id);
    r = t != NULL ? firmware_setup_target(d, t, id, values, ret, err)
                  : lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                                 "the firmware does not name %s any more", id->target);
    firmware_list_fini(&l);
    return r;
}

/* ---- methods -------------------------------------------------------------------------------- */

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
