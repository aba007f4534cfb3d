/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "transport/transport.h"

static const char *
transport_fault(const struct iscsi_transport *t)
{
    if (t->version != ISCSI_TRANSPORT_VERSION)
        return "was made for another version of the interface";
    if (t->name == NULL || t->name[0] == '\0')
        return "has no name";
    if (t->bind_conn == NULL || t->xmit_task == NULL || t->cleanup_task == NULL ||
        t->stop_conn == NULL)
        return "lacks bind_conn, xmit_task, cleanup_task or stop_conn";
    if (!(t->caps & CAP_BIND_DESCRIPTOR) &&
        (t->ep_connect == NULL || t->ep_poll == NULL || t->ep_disconnect == NULL))
        return "connects by itself but lacks ep_connect, ep_poll or ep_disconnect";
    return NULL;
}

int
transport_register(struct transport_registry *r, const struct iscsi_transport *t,
                   struct lunette_error *err)
{
    const char *why = transport_fault(t);

    if (why != NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "transport \"%s\" %s",
                            t->name != NULL ? t->name : "", why);
    if (transport_find(r, t->name) != NULL)
        return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0,
                            "transport \"%s\" is registered already", t->name);
    if (r->count == TRANSPORT_MAX)
        return lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0, "more than %d transports",
                            TRANSPORT_MAX);
    r->t[r->count++] = t;
    return 0;
}

const struct iscsi_transport *
transport_find(const struct transport_registry *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->t[i]->name, name) == 0)
            return r->t[i];
    }
    return NULL;
}
