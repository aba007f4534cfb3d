/* SPDX-License-Identifier: MIT */
/* transport/registry.c - transports by name, also out of shared objects. */
#include "transport/transport.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* What a complete table lacks, or NULL. */
static const char *
transport_lacks(const struct iscsi_transport *t)
{
    if (t->name == NULL || t->name[0] == '\0')
        return "has no name";
    if (strnlen(t->name, TRANSPORT_NAME_MAX + 1) > TRANSPORT_NAME_MAX)
        return "has a name that is too long to be asked for";
    if (t->bind_conn == NULL || t->xmit_task == NULL || t->cleanup_task == NULL ||
        t->stop_conn == NULL)
        return "lacks bind_conn, xmit_task, cleanup_task or stop_conn";
    if (!(t->caps & CAP_BIND_DESCRIPTOR) &&
        (t->ep_connect == NULL || t->ep_poll == NULL || t->ep_disconnect == NULL))
        return "connects by itself but lacks ep_connect, ep_poll or ep_disconnect";
    if ((t->caps & CAP_BIND_DESCRIPTOR) &&
        (t->ep_connect != NULL || t->ep_poll != NULL || t->ep_disconnect != NULL))
        return "takes descriptors but has ep_connect, ep_poll or ep_disconnect";
    if ((t->gather_room == NULL) != (t->xmit_fast == NULL))
        return "has only one of gather_room and xmit_fast";
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

/* The object stays loaded where its transport was registered. */
static int
transport_of_object(struct transport_registry *r, void *object, struct lunette_error *err)
{
    const struct iscsi_transport *t = dlsym(object, ISCSI_TRANSPORT_SYMBOL);
    int e;

    if (t == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "it has no transport (no symbol " ISCSI_TRANSPORT_SYMBOL ")");
    e = transport_register(r, t, err);
    if (e == 0) {
        assert(r->nobjects < TRANSPORT_MAX);
        r->objects[r->nobjects++] = object;
    }
    return e;
}

int
transport_load(struct transport_registry *r, const char *path, struct lunette_error *err)
{
    struct stat st;
    void *object;
    int e;

    if (strchr(path, '/') == NULL) /* dlopen would look for it where libraries are */
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "transport %s: the path needs a slash", path);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* to open a FIFO would wait for a writer */
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "transport %s: it is no file",
                            path);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        const char *why = dlerror(); /* mostly begins with the path */

        return lunette_fail(err, -ELIBACC, LUNETTE_DOM_USAGE, 0,
                            "transport %s cannot be loaded: %s", path, why != NULL ? why : "?");
    }
    e = transport_of_object(r, object, err);
    if (e < 0) {
        (void)dlclose(object);
        return lunette_fail_prefix(err, e, "transport %s", path);
    }
    return 0;
}

int
transport_load_env(struct transport_registry *r, struct lunette_error *err)
{
    const char *paths = secure_getenv("LUNETTE_TRANSPORTS");
    char *copy, *save = NULL;
    int e = 0;

    if (paths == NULL || paths[0] == '\0')
        return 0;
    copy = strdup(paths);
    if (copy == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (char *p = strtok_r(copy, ":", &save); p != NULL && e == 0; p = strtok_r(NULL, ":", &save))
        e = transport_load(r, p, err);
    free(copy);
    return e < 0 ? lunette_fail_prefix(err, e, "LUNETTE_TRANSPORTS") : 0;
}

void
transport_registry_fini(struct transport_registry *r)
{
    r->count = 0;
    while (r->nobjects > 0)
        (void)dlclose(r->objects[--r->nobjects]);
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
