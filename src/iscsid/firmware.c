/* SPDX-License-Identifier: MIT */
/* Targets that the firmware knows, as nodes.
 *
 * A login to one needs no record.  Its session is given its configuration from the firmware's table
 * whenever it is asked for and there is no record of that name, so that it comes back after a loss
 * also where this process is another one by then.
 *
 * The table is the same from one start of the machine to the next.  Where it cannot be read any
 * more, since the module that shows it is gone, or with fewer targets, since a network device is
 * missing just now, sessions go by what it said before. */
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

/* Keeps what was read, unless more was known before.  Where memory is short it is kept as it was.
 */
static void
firmware_keep(struct iscsid *d, const struct firmware_list *l)
{
    struct firmware_target *copy;

    if (l->n == 0 || (d->firmware.n > 0 && l->left_out > d->firmware.left_out))
        return;
    copy = calloc(l->n, sizeof(*copy));
    if (copy == NULL)
        return;
    memcpy(copy, l->target, l->n * sizeof(*copy));
    firmware_list_fini(&d->firmware);
    d->firmware = *l;
    d->firmware.target = copy;
    d->firmware_told = false;
}

/* Says once that the table is not read as it was. */
static void
firmware_tell_kept(struct iscsid *d, const struct lunette_error *why)
{
    if (d->firmware_told)
        return;
    d->firmware_told = true;
    log_line(d->loop->log, LOG_LEVEL_WARN,
             "sessions of the firmware's targets go by what its table said before: %s", why->msg);
}

int
firmware_load(struct iscsid *d, struct firmware_list *ret, struct lunette_error *err)
{
    int r = firmware_read(d->cfg.firmware, ret, err);

    if (r < 0)
        return r;
    firmware_find_devices(ret);
    firmware_keep(d, ret);
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

void
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
firmware_make(struct iscsid *d, const struct firmware_target *t, const struct nodedb_id *id,
              const json_t *values, struct nodedb_record *ret, struct nodedb_record *ret_iface,
              struct lunette_error *err)
{
    int e = nodedb_iface_read(d->db, id->iface, ret_iface, err);

    if (e < 0)
        return e;
    if (t->initiator[0] != '\0')
        e = nodedb_record_set(ret_iface, NODEDB_IFACE_INITIATORNAME, t->initiator);
    if (e < 0)
        say_no_memory(err);
    else
        e = firmware_set(ret_iface, values, err);
    if (e == 0)
        e = nodedb_node_init(ret, id, ret_iface, &d->conf, err);
    if (e < 0) {
        nodedb_record_fini(ret_iface);
        return e;
    }
    e = firmware_fill_target(t, ret);
    if (e < 0)
        say_no_memory(err);
    else
        e = firmware_set(ret, values, err);
    if (e < 0) {
        nodedb_record_fini(ret);
        nodedb_record_fini(ret_iface);
    }
    return e;
}

/* Is it a fault of now, and not what the table says, or that it is not shown to us? */
static bool
firmware_may_pass(int code)
{
    return code != -ENOENT && code != -ENODEV && code != -EACCES && code != -EPROTO;
}

/* Reads the table, as far as it can be read, into d->firmware.  Returns 0; or -errno where nothing
 * is known of it, though there may be something. */
static int
firmware_refresh(struct iscsid *d, struct lunette_error *err)
{
    struct lunette_error why = {.code = 0};
    struct firmware_list l;
    int r = firmware_load(d, &l, &why);

    if (r < 0 && d->firmware.n > 0)
        firmware_tell_kept(d, &why);
    if (r < 0)
        return d->firmware.n > 0 || !firmware_may_pass(r) ? 0 : lunette_fail_as(err, &why);
    if (l.left_out > d->firmware.left_out)
        firmware_tell_kept(d, &l.why);
    firmware_list_fini(&l);
    if (d->firmware.n > 0)
        return 0;
    say_no_memory(err); /* to keep it */
    return -ENOMEM;
}

int
firmware_record(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
                struct nodedb_record *ret, struct nodedb_record *ret_iface,
                struct lunette_error *err)
{
    const struct firmware_target *t = NULL;
    int r = 0;

    if (strcmp(id->iface, "default") == 0) {
        r = firmware_refresh(d, err);
        t = firmware_find(&d->firmware, id);
    }
    if (r < 0)
        return r;
    return t != NULL ? firmware_make(d, t, id, values, ret, ret_iface, err)
                     : lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                                    "the firmware names no target %s at this portal", id->target);
}
