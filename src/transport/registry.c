/* SPDX-License-Identifier: MIT */
/* transport/registry.c - transports by name. */
#include "transport/transport.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seam/session.h"

#define TRANSPORT_TRANSFER_MIN 65536 /* bytes: no disk has larger blocks */

/* Every version of the table begins so. */
struct table_head {
    uint32_t version;
    size_t size;
};

static_assert(offsetof(struct table_head, size) == offsetof(struct iscsi_transport, size),
              "version and size stand first in every version");

/* The table as this library knows it, out of one of another size.  What is wrong, or NULL. */
static const char *
transport_complete(const struct iscsi_transport *from, struct iscsi_transport *to)
{
    const struct table_head *head = (const void *)from;
    size_t size = head->size;

    if (size < sizeof(*head) || size % sizeof(void *) != 0)
        return "does not say its size";
    for (size_t i = sizeof(*to); i < size; i++) {
        if (((const char *)from)[i] != 0)
            return "was made for a newer library and needs what this one does not have";
    }
    memset(to, 0, sizeof(*to));
    memcpy(to, from, size < sizeof(*to) ? size : sizeof(*to));
    to->size = sizeof(*to);
    return NULL;
}

static bool
session_ops_complete(const struct dp_session_ops *o)
{
    return o->size == sizeof(*o) && o->create != NULL && o->teardown != NULL &&
           o->create_conn != NULL && o->destroy_conn != NULL && o->bind_conn != NULL &&
           o->start_conn != NULL && o->stop_conn != NULL && o->set_param != NULL &&
           o->send_pdu != NULL && o->get_stats != NULL;
}

/* What a complete table lacks, or NULL. */
static const char *
transport_lacks(const struct iscsi_transport *t)
{
    if (t->name == NULL || t->name[0] == '\0')
        return "has no name";
    if (strnlen(t->name, TRANSPORT_NAME_MAX + 1) > TRANSPORT_NAME_MAX)
        return "has a name that is too long to be asked for";
    if (t->session_ops == NULL && (t->bind_conn == NULL || t->xmit_task == NULL ||
                                   t->cleanup_task == NULL || t->stop_conn == NULL))
        return "lacks bind_conn, xmit_task, cleanup_task or stop_conn";
    if (t->session_ops == NULL && (t->caps & CAP_LOGIN_OFFLOAD))
        return "logs in by itself but lacks session_ops";
    if (t->session_ops != NULL && !session_ops_complete(t->session_ops))
        return "has session_ops of another size, or that lack an operation";
    if ((t->create_host == NULL) != (t->destroy_host == NULL))
        return "has only one of create_host and destroy_host";
    if (!(t->caps & CAP_BIND_DESCRIPTOR) &&
        (t->ep_connect == NULL || t->ep_poll == NULL || t->ep_disconnect == NULL))
        return "connects by itself but lacks ep_connect, ep_poll or ep_disconnect";
    if ((t->caps & CAP_BIND_DESCRIPTOR) &&
        (t->ep_connect != NULL || t->ep_poll != NULL || t->ep_disconnect != NULL))
        return "takes descriptors but has ep_connect, ep_poll or ep_disconnect";
    if ((t->gather_room == NULL) != (t->xmit_fast == NULL))
        return "has only one of gather_room and xmit_fast";
    if ((t->mem_add == NULL) != (t->mem_remove == NULL))
        return "has only one of mem_add and mem_remove";
    if (t->mem_add != NULL && t->session_ops != NULL)
        return "has mem_add for sessions that are its own";
    if (t->max_transfer != 0 && t->max_transfer < TRANSPORT_TRANSFER_MIN)
        return "takes commands that are shorter than the blocks of some disks";
    if ((t->caps & CAP_RDMA) && (t->caps & (CAP_HDRDGST | CAP_DATADGST)))
        return "says rdma, and digests, of which iSER has none";
    if ((t->caps & CAP_PADDING_OFFLOAD) && (t->caps & CAP_DATADGST) &&
        !(t->caps & CAP_DIGEST_OFFLOAD))
        return "takes padding away but leaves data digests, which cover it";
    return NULL;
}

int
transport_register(struct transport_registry *r, const struct iscsi_transport *table,
                   struct lunette_error *err)
{
    const struct table_head *head = (const void *)table;
    struct iscsi_transport t;
    const char *why;

    if (head->version != ISCSI_TRANSPORT_VERSION)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the transport was made for version %u of the interface, this library "
                            "has version %u: build it again with the library's headers",
                            head->version, ISCSI_TRANSPORT_VERSION);
    why = transport_complete(table, &t);
    if (why != NULL) /* its other members may be anywhere */
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "the transport %s", why);
    why = transport_lacks(&t);
    if (why != NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "transport \"%s\" %s",
                            t.name != NULL ? t.name : "", why);
    if (transport_find(r, t.name) != NULL)
        return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0,
                            "transport \"%s\" is registered already", t.name);
    if (r->count == TRANSPORT_MAX)
        return lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0, "more than %d transports",
                            TRANSPORT_MAX);
    r->t[r->count++] = t;
    return 0;
}

int
transport_register_built_in(struct transport_registry *r,
                            int (*iser_usable)(struct lunette_error *err),
                            struct lunette_error *err)
{
    struct iscsi_transport iser = iser_transport;
    int e = transport_register(r, &sw_tcp_transport, err);

    iser.usable = iser_usable;
    return e < 0 ? e : transport_register(r, &iser, err);
}

void
transport_registry_fini(struct transport_registry *r)
{
    r->count = 0;
    while (r->nobjects > 0) {
        r->nobjects--;
        (void)dlclose(r->objects[r->nobjects].handle);
        free(r->objects[r->nobjects].path);
    }
}

const struct iscsi_transport *
transport_find(const struct transport_registry *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->t[i].name, name) == 0)
            return &r->t[i];
    }
    return NULL;
}

const char *
transport_names(const struct transport_registry *r, char *buf, size_t size)
{
    size_t n = 0;

    assert(size > 0);
    buf[0] = '\0';
    for (size_t i = 0; i < r->count && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%s", i > 0 ? ", " : "", r->t[i].name);
    return buf;
}

const char *
transport_cap_words(uint32_t caps, char *buf, size_t size)
{
    static const struct {
        uint32_t cap;
        const char *word;
    } words[] = {
        {CAP_RECOVERY_L0, "recovery_l0"},
        {CAP_RECOVERY_L1, "recovery_l1"},
        {CAP_RECOVERY_L2, "recovery_l2"},
        {CAP_MULTI_R2T, "multi_r2t"},
        {CAP_HDRDGST, "hdrdgst"},
        {CAP_DATADGST, "datadgst"},
        {CAP_MULTI_CONN, "multi_conn"},
        {CAP_TEXT_NEGO, "text_nego"},
        {CAP_DATA_PATH_OFFLOAD, "data_path_offload"},
        {CAP_DIGEST_OFFLOAD, "digest_offload"},
        {CAP_PADDING_OFFLOAD, "padding_offload"},
        {CAP_LOGIN_OFFLOAD, "login_offload"},
        {CAP_BIND_DESCRIPTOR, "bind_descriptor"},
        {CAP_RDMA, "rdma"},
    };
    size_t n = 0;

    assert(size > 0);
    buf[0] = '\0';
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && n < size; i++) {
        if (caps & words[i].cap)
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n > 0 ? " " : "", words[i].word);
    }
    return buf;
}
