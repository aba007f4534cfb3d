/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

/* ---- jobs ----------------------------------------------------------------------------------- */

void
job_begin(struct job *j, struct iscsid *d, struct manage_call *call, void (*drop)(struct job *j))
{
    j->d = d;
    j->call = call;
    j->drop = drop;
    list_push_back(&d->jobs, &j->node);
}

void
job_begin_plane(struct job *j, struct iscsid *d, struct manage_call *call,
                void (*drop)(struct job *j))
{
    job_begin(j, d, call, drop);
    j->needs_plane = true;
    plane_watch(&d->plane);
}

void
job_finish(struct job *j)
{
    list_del(&j->node);
}

/* ---- values as JSON ------------------------------------------------------------------------- */

json_t *
say_text(const char *text)
{
    json_t *s = json_string(text);
    char *copy;

    if (s != NULL)
        return s;
    copy = strdup(text); /* a name may be of any bytes */
    if (copy == NULL)
        return NULL;
    (void)log_clean(copy, strlen(copy) + 1, copy, strlen(copy));
    s = json_string(copy);
    explicit_bzero(copy, strlen(copy)); /* it may be a password */
    free(copy);
    return s;
}

void
say_put(json_t *o, const char *name, json_t *value)
{
    if (value != NULL)
        (void)json_object_set_new(o, name, value);
}

void
say_portal(json_t *o, const char *name, const struct portal *p)
{
    char text[PORTAL_TEXT_MAX];

    say_put(o, name, say_text(portal_format(p, text, sizeof(text))));
}

json_t *
say_id(const struct nodedb_id *id)
{
    json_t *o = json_object();

    say_put(o, "target", say_text(id->target));
    say_portal(o, "portal", &id->portal);
    say_put(o, "tpgt", json_integer(id->portal.tpgt));
    say_put(o, "iface", say_text(id->iface));
    return o;
}

/* Adds the pair of a line of a record as it is shown, "NAME = VALUE". */
static void
say_line(json_t *list, const char *line, size_t len)
{
    const char *eq = memmem(line, len, " = ", 3);
    char *name, *value;
    json_t *pair;

    if (line[0] == '#' || eq == NULL)
        return;
    name = strndup(line, (size_t)(eq - line));
    value = strndup(eq + 3, len - (size_t)(eq - line) - 3);
    pair = json_array();
    if (name != NULL && value != NULL) {
        (void)json_array_append_new(pair, say_text(name));
        (void)json_array_append_new(pair, say_text(value));
    }
    nodedb_text_free(&value);
    free(name);
    (void)json_array_append_new(list, pair);
}

json_t *
say_record(const struct nodedb_record *r, bool show_secrets)
{
    json_t *list = json_array();
    char *text;
    size_t len;

    if (nodedb_record_format(r, show_secrets ? NODEDB_FORM_UNMASK : NODEDB_FORM_SHOW, &text, &len) <
        0) {
        json_decref(list);
        return NULL;
    }
    for (const char *p = text, *nl; (nl = strchr(p, '\n')) != NULL; p = nl + 1)
        say_line(list, p, (size_t)(nl - p));
    nodedb_text_free(&text);
    return list;
}

/* ---- errors --------------------------------------------------------------------------------- */

/* Status-Class and Status-Detail of a Login Response (RFC 7143 11.13.5), as the tools know them:
 * who could not prove who it is, and who may not log in to this target, is refused. */
static enum manage_code
say_login_code(uint32_t status)
{
    if (status >> 8 != 2)
        return MANAGE_LOGIN;
    return status == 0x0201 || status == 0x0202 ? MANAGE_LOGIN_AUTH : MANAGE_LOGIN_FATAL;
}

enum manage_code
say_code(const struct lunette_error *err)
{
    switch (err->domain) {
    case LUNETTE_DOM_CONNECT:
        return err->code == -ETIMEDOUT ? MANAGE_CONNECT_TIMEOUT : MANAGE_CONNECT;
    case LUNETTE_DOM_LOGIN:
        return say_login_code(err->detail);
    case LUNETTE_DOM_PROTO:
        return MANAGE_LOGIN;
    case LUNETTE_DOM_TIMEOUT: /* -EBUSY: another program had the lock of the records for too long */
        return err->code == -EBUSY ? MANAGE_AGAIN : MANAGE_PDU_TIMEOUT;
    case LUNETTE_DOM_NOTFOUND:
        return MANAGE_NOT_FOUND;
    case LUNETTE_DOM_OS:
    case LUNETTE_DOM_USAGE:
    case LUNETTE_DOM_SCSI:
    default:
        return manage_code_of_errno(err->code);
    }
}

json_t *
say_error(const struct lunette_error *err)
{
    return manage_error_json(say_code(err), err->msg);
}

void
say_fail(struct manage_call *call, const struct lunette_error *err)
{
    manage_fail(call, say_code(err), "%s", err->msg);
}

const char *
say_plane_state(const struct iscsid *d)
{
    if (control_is_ready(d->control))
        return "up";
    return plane_is_up(&d->plane) ? "starting" : "lost";
}

void
say_no_memory(struct lunette_error *err)
{
    (void)lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "the daemon has no memory left");
}

/* ---- what a request is about ---------------------------------------------------------------- */

int
filter_get(const json_t *params, struct filter *ret, struct lunette_error *err)
{
    const char *target = NULL, *portal = NULL, *iface = NULL;
    int64_t tpgt = -1;
    int r;

    *ret = (struct filter){.db.tpgt = -1};
    r = manage_get_text(params, "target", MANAGE_OPTIONAL, ISCSI_NAME_MAX, &target, err);
    if (r >= 0)
        r = manage_get_text(params, "portal", MANAGE_OPTIONAL, PORTAL_TEXT_MAX, &portal, err);
    if (r >= 0)
        r = manage_get_text(params, "iface", MANAGE_OPTIONAL, NODEDB_IFACE_NAME_MAX, &iface, err);
    if (r >= 0)
        r = manage_get_int(params, "tpgt", MANAGE_OPTIONAL, -1, 65535, &tpgt, err);
    if (r < 0)
        return r;
    if (portal != NULL) {
        r = portal_parse(portal, strlen(portal), &ret->portal, err);
        if (r < 0)
            return r;
        ret->db.host = ret->portal.host;
        ret->db.port = ret->portal.port;
        if (tpgt < 0) /* as in "192.0.2.1:3260,1" */
            tpgt = ret->portal.tpgt;
    }
    ret->portal.tpgt = (int32_t)tpgt;
    ret->db.tpgt = (int32_t)tpgt;
    ret->db.target = target;
    ret->db.iface = iface;
    ret->any = target != NULL || portal != NULL || iface != NULL || tpgt >= 0;
    return 0;
}

bool
filter_fits(const struct filter *f, const struct control_name *name)
{
    const struct nodedb_filter *db = &f->db;

    return (db->target == NULL || strcmp(db->target, name->target) == 0) &&
           (db->host == NULL || strcasecmp(db->host, name->portal.host) == 0) &&
           (db->port == 0 || db->port == name->portal.port) &&
           (db->tpgt < 0 || db->tpgt == name->portal.tpgt) &&
           (db->iface == NULL || strcmp(db->iface, name->iface) == 0);
}

void
id_of_name(const struct control_name *name, struct nodedb_id *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->target, name->target, sizeof(ret->target));
    ret->portal = name->portal;
    (void)snprintf(ret->iface, sizeof(ret->iface), "%s", name->iface);
}

void
name_of_id(const struct nodedb_id *id, uint32_t instance, struct control_name *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->target, id->target, sizeof(ret->target));
    ret->portal = id->portal;
    (void)snprintf(ret->iface, sizeof(ret->iface), "%s", id->iface);
    ret->instance = instance;
}

bool
name_is_of(const struct control_name *name, const struct nodedb_id *id)
{
    return strcmp(name->target, id->target) == 0 && name->portal.port == id->portal.port &&
           strcasecmp(name->portal.host, id->portal.host) == 0 &&
           strcmp(name->iface, id->iface) == 0 && name->portal.tpgt == id->portal.tpgt;
}

bool
session_is_told(const struct control_node *n, struct control_info *ret)
{
    control_node_get_info(n, ret);
    return ret->sid != 0 && ret->state != CONTROL_IS_LOGIN && ret->state != CONTROL_IS_CANCELING;
}

bool
session_is_at(const struct iscsid *d, const struct control_name *name, unsigned index)
{
    const struct control_node *n = control_find(d->control, name);
    struct control_info info;

    if (n == NULL)
        return false;
    control_node_get_info(n, &info);
    return info.sid == 0 || info.loop == index;
}

struct control_node *
session_next(struct control *c, struct control_node *n, struct control_info *ret)
{
    do {
        n = control_next(c, n);
    } while (n != NULL && !session_is_told(n, ret));
    return n;
}
