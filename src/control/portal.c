/* SPDX-License-Identifier: MIT */
#include "control/portal.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static uint64_t
portals_hash(const struct portal *p)
{
    uint64_t h = hash_u64(0, p->port);

    for (const char *s = p->host; *s != '\0'; s++)
        h = hash_u64(h, (uint64_t)tolower((unsigned char)*s));
    return h;
}

void
portals_init(struct portal_table *t)
{
    htab_init(&t->entries);
}

void
portals_fini(struct portal_table *t)
{
    assert(t->entries.count == 0);
    htab_fini(&t->entries);
}

struct portal_entry *
portals_get(struct portal_table *t, const struct portal *p)
{
    uint64_t hash = portals_hash(p);
    struct portal_entry *e;

    for (struct hnode *h = htab_find(&t->entries, hash); h != NULL; h = htab_next(h)) {
        e = container_of(h, struct portal_entry, hnode);
        if (e->port == p->port && strcasecmp(e->host, p->host) == 0) {
            e->refs++;
            return e;
        }
    }
    e = calloc(1, sizeof(*e));
    if (e != NULL)
        e->host = strdup(p->host);
    if (e == NULL || e->host == NULL) {
        free(e);
        return NULL;
    }
    e->port = p->port;
    e->refs = 1;
    htab_add(&t->entries, &e->hnode, hash);
    return e;
}

void
portals_put(struct portal_table *t, struct portal_entry *e)
{
    if (e == NULL || --e->refs > 0)
        return;
    htab_del(&t->entries, &e->hnode);
    free(e->host);
    free(e);
}
