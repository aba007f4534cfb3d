/* SPDX-License-Identifier: MIT */
/* api/transports.c - the transports that there are and could be. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
#include "loop/loop.h"
#include "offload/offload.h"
#include "rdma/rdma.h"
#include "transport/transport.h"

int
api_transports_built_in(struct transport_registry *r, bool real, struct lunette_error *err)
{
    struct iscsi_transport session = offload_session_transport;
    int e = transport_register_built_in(r, real ? rdma_usable : NULL, err);

    session.usable = real ? loop_shm_usable : NULL;
    return e < 0 ? e : transport_register(r, &session, err);
}

struct api_transport {
    struct lunette_transport_info info;
    char *path; /* owned; NULL: built in */
};

struct lunette_transports {
    size_t n;
    bool no_memory;
    struct api_transport *t;
};

static int
transport_convert(const struct transport_found *f, struct api_transport *to)
{
    static const enum lunette_transport_from from[] = {
        [TRANSPORT_BUILT_IN] = LUNETTE_TRANSPORT_BUILT_IN,
        [TRANSPORT_NAMED] = LUNETTE_TRANSPORT_NAMED,
        [TRANSPORT_INSTALLED] = LUNETTE_TRANSPORT_INSTALLED,
    };
    struct lunette_transport_info *info = &to->info;

    *to = (struct api_transport){.info = {.from = from[f->from], .err = f->err}};
    if (f->path != NULL) {
        info->path = to->path = strdup(f->path);
        if (to->path == NULL)
            return -ENOMEM;
    }
    if (f->t != NULL) {
        (void)snprintf(info->name, sizeof(info->name), "%s", f->t->name);
        (void)transport_cap_words(f->t->caps, info->caps, sizeof(info->caps));
        info->max_recv_data_segment_length = f->t->max_recv_dlength;
    }
    if (f->err < 0)
        (void)snprintf(info->why, sizeof(info->why), "%s", f->why->msg);
    return 0;
}

static void
note_transport(void *user, const struct transport_found *f)
{
    struct lunette_transports *list = user;
    struct api_transport *t = realloc(list->t, (list->n + 1) * sizeof(*t));

    if (t != NULL)
        list->t = t;
    if (t == NULL || transport_convert(f, &t[list->n]) < 0)
        list->no_memory = true;
    else
        list->n++;
}

int
lunette_list_transports(struct lunette_transports **ret, struct lunette_error *err)
{
    struct transport_registry r = {.count = 0};
    struct lunette_transports *list;
    int e = api_error_check(err);

    if (e < 0)
        return e;
    list = calloc(1, sizeof(*list));
    if (list != NULL && api_transports_built_in(&r, true, NULL) == 0)
        transport_survey(&r, note_transport, list);
    transport_registry_fini(&r);
    if (list == NULL || list->no_memory) {
        lunette_transports_free(list);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    }
    *ret = list;
    return 0;
}

size_t
lunette_transports_count(const struct lunette_transports *list)
{
    return list->n;
}

int
lunette_transports_get(const struct lunette_transports *list, size_t i,
                       struct lunette_transport_info *ret)
{
    if (i >= list->n)
        return -ENOENT;
    return api_sized_out(ret, API_FIRST_TRANSPORT, &list->t[i].info, sizeof(list->t[i].info));
}

void
lunette_transports_free(struct lunette_transports *list)
{
    for (size_t i = 0; list != NULL && i < list->n; i++)
        free(list->t[i].path);
    if (list != NULL)
        free(list->t);
    free(list);
}
