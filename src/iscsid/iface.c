/* SPDX-License-Identifier: MIT */
/* Methods about ifaces, and about hosts, of which each session has one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

/* ---- ifaces --------------------------------------------------------------------------------- */

static int
iface_on_list(void *user, struct nodedb_record *r)
{
    json_t *o = json_object();

    say_put(o, "name", say_text(nodedb_record_text(r, NODEDB_IFACE_NAME)));
    say_put(o, "transport", say_text(nodedb_record_text(r, NODEDB_IFACE_TRANSPORT)));
    say_put(o, "hwaddress", say_text(nodedb_record_text(r, NODEDB_IFACE_HWADDRESS)));
    say_put(o, "ipaddress", say_text(nodedb_record_text(r, NODEDB_IFACE_IPADDRESS)));
    say_put(o, "netdev", say_text(nodedb_record_text(r, NODEDB_IFACE_NETDEV)));
    say_put(o, "initiatorname", say_text(nodedb_record_text(r, NODEDB_IFACE_INITIATORNAME)));
    return json_array_append_new(user, o) < 0 ? -ENOMEM : 0;
}

METHOD(iface_list_method)
{
    struct iscsid *d = user;
    json_t *ifaces = json_array();
    struct lunette_error err;
    int r;

    (void)params;
    say_no_memory(&err); /* where it is told by nobody else */
    r = nodedb_ifaces(d->db, iface_on_list, ifaces, &err);
    if (r < 0) {
        json_decref(ifaces);
        say_fail(call, &err);
        return;
    }
    manage_reply(call, json_pack("{s:o}", "ifaces", ifaces));
}

static json_t *
iface_shown(const struct nodedb_record *r)
{
    json_t *o = json_object();

    say_put(o, "name", say_text(nodedb_record_text(r, NODEDB_IFACE_NAME)));
    say_put(o, "values", say_record(r, false));
    return o;
}

static int
iface_on_show(void *user, struct nodedb_record *r)
{
    return json_array_append_new(user, iface_shown(r)) < 0 ? -ENOMEM : 0;
}

METHOD(iface_show_method)
{
    struct iscsid *d = user;
    json_t *ifaces = json_array();
    const char *name = NULL;
    struct nodedb_record rec;
    struct lunette_error err;
    int r = manage_get_text(params, "iface", MANAGE_OPTIONAL, NODEDB_IFACE_NAME_MAX, &name, &err);

    if (r > 0) {
        r = nodedb_iface_read(d->db, name, &rec, &err);
        if (r == 0) {
            say_no_memory(&err);
            r = iface_on_show(ifaces, &rec);
            nodedb_record_fini(&rec);
        }
    } else if (r == 0) {
        say_no_memory(&err);
        r = nodedb_ifaces(d->db, iface_on_show, ifaces, &err);
    }
    if (r < 0) {
        json_decref(ifaces);
        say_fail(call, &err);
        return;
    }
    manage_reply(call, json_pack("{s:o}", "ifaces", ifaces));
}

static int
iface_named(const json_t *params, const char **ret, struct lunette_error *err)
{
    return manage_get_text(params, "iface", MANAGE_NEEDED, NODEDB_IFACE_NAME_MAX, ret, err);
}

/* All values are set, or none is. */
static int
iface_set(struct iscsid *d, const char *name, const json_t *values, struct lunette_error *err)
{
    struct nodedb_record r;
    int e = nodedb_iface_read(d->db, name, &r, err);

    if (e < 0)
        return e;
    e = records_set(&r, values, err);
    if (e == 0 && json_array_size(values) > 0)
        e = nodedb_iface_change(d->db, &r, err);
    nodedb_record_fini(&r);
    return e;
}

/* An iface that is new has all values, or is not made. */
static int
iface_make(struct iscsid *d, const char *name, const json_t *values, struct lunette_error *err)
{
    int e = nodedb_iface_new(d->db, name, err);

    if (e < 0)
        return e;
    e = iface_set(d, name, values, err);
    if (e < 0)
        (void)nodedb_iface_delete(d->db, name, NULL);
    return e;
}

/* Answers the call: r and err are what has become of a change. */
static void
iface_changed(struct iscsid *d, struct manage_call *call, int r, const struct lunette_error *err)
{
    if (r < 0) {
        say_fail(call, err);
        return;
    }
    records_all_changed(d);
    periodic_follow(d);
    manage_reply(call, json_object());
}

static void
iface_alter(struct iscsid *d, struct manage_call *call, const json_t *params, bool make)
{
    const json_t *values = NULL;
    const char *name = NULL;
    struct lunette_error err;
    int r = iface_named(params, &name, &err);

    if (r >= 0)
        r = manage_get_pairs(params, "values", VALUES_MAX, NODEDB_VALUE_MAX, &values, &err);
    if (r >= 0)
        r = make ? iface_make(d, name, values, &err) : iface_set(d, name, values, &err);
    iface_changed(d, call, r, &err);
}

LOCKED_METHOD(iface_new_method)
{
    iface_alter(user, call, params, true);
}

LOCKED_METHOD(iface_update_method)
{
    iface_alter(user, call, params, false);
}

/* Is there a session by the iface? */
static bool
iface_in_use(struct iscsid *d, const char *name)
{
    struct control_info info;

    for (struct control_node *n = NULL; (n = session_next(d->control, n, &info)) != NULL;) {
        if (strcmp(control_node_name(n)->iface, name) == 0)
            return true;
    }
    return false;
}

LOCKED_METHOD(iface_delete_method)
{
    struct iscsid *d = user;
    const char *name = NULL;
    struct lunette_error err;
    int r = iface_named(params, &name, &err);

    if (r >= 0 && iface_in_use(d, name)) {
        manage_fail(call, MANAGE_SESSION_EXISTS,
                    "there are sessions by iface %s; log them out, and then delete it", name);
        return;
    }
    if (r >= 0)
        r = nodedb_iface_delete(d->db, name, &err);
    iface_changed(d, call, r, &err);
}

/* What an iface holds takes effect with the next login; there is no adapter to be told. */
METHOD(iface_apply_method)
{
    struct iscsid *d = user;
    const char *name = NULL;
    struct nodedb_record rec;
    struct lunette_error err;
    int r = manage_get_text(params, "iface", MANAGE_OPTIONAL, NODEDB_IFACE_NAME_MAX, &name, &err);

    if (r > 0) {
        r = nodedb_iface_read(d->db, name, &rec, &err);
        if (r == 0)
            nodedb_record_fini(&rec);
    }
    if (r < 0)
        say_fail(call, &err);
    else
        manage_reply(call, json_object());
}

/* ---- hosts ---------------------------------------------------------------------------------- */

/* What the iface of a session says, as far as it says something. */
static void
host_say_iface(struct iscsid *d, json_t *o, const char *name)
{
    static const struct {
        const char *member;
        enum nodedb_key_id key;
    } told[] = {
        {"transport", NODEDB_IFACE_TRANSPORT},         {"ipaddress", NODEDB_IFACE_IPADDRESS},
        {"hwaddress", NODEDB_IFACE_HWADDRESS},         {"netdev", NODEDB_IFACE_NETDEV},
        {"initiatorname", NODEDB_IFACE_INITIATORNAME},
    };
    struct nodedb_record r;

    say_put(o, "transport", json_string("tcp"));
    say_put(o, "initiatorname", say_text(d->who.name));
    if (nodedb_iface_read(d->db, name[0] != '\0' ? name : "default", &r, NULL) < 0)
        return;
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        const char *text = nodedb_record_text(&r, told[i].key);

        if (text[0] != '\0')
            say_put(o, told[i].member, say_text(text));
    }
    nodedb_record_fini(&r);
}

METHOD(host_list_method)
{
    struct iscsid *d = user;
    json_t *hosts = json_array(), *o;
    struct control_info info;

    (void)params;
    for (struct control_node *n = NULL; (n = session_next(d->control, n, &info)) != NULL;) {
        o = json_object();
        say_put(o, "number", json_integer(info.sid));
        say_put(o, "sid", json_integer(info.sid));
        say_put(o, "state", json_string(info.state == CONTROL_IS_UP ? "running" : "recovery"));
        host_say_iface(d, o, control_node_name(n)->iface);
        (void)json_array_append_new(hosts, o);
    }
    manage_reply(call, json_pack("{s:o}", "hosts", hosts));
}
