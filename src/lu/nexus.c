/* SPDX-License-Identifier: MIT */
#include "lu/nexus.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const uint16_t ua_codes[LU_UA_COUNT] = {
    [LU_UA_POWER_ON] = 0x2900,         [LU_UA_COLD_RESET] = 0x2901,
    [LU_UA_TARGET_RESET] = 0x2902,     [LU_UA_LU_RESET] = 0x2903,
    [LU_UA_NEXUS_LOSS] = 0x2907,       [LU_UA_MODE_CHANGED] = 0x2a01,
    [LU_UA_PR_PREEMPTED] = 0x2a03,     [LU_UA_PR_RELEASED] = 0x2a04,
    [LU_UA_REG_PREEMPTED] = 0x2a05,    [LU_UA_ALUA] = 0x2a06,
    [LU_UA_CAPACITY] = 0x2a09,         [LU_UA_CLEARED] = 0x2f00,
    [LU_UA_PROTOCOL_CLEARED] = 0x477f,
};

void
lu_ua_set(struct lu_nexus *n, const struct lu *lu, enum lu_ua ua)
{
    assert(n->dev == lu->dev);
    n->ua[lu->index] |= 1u << ua;
}

void
lu_ua_all(struct lu *lu, const struct lu_nexus *except, enum lu_ua ua)
{
    struct list *const lists[] = {&lu->dev->nexuses, &lu->dev->away};

    for (int k = 0; k < 2; k++) {
        LIST_FOREACH (i, lists[k]) {
            struct lu_nexus *n = container_of(i, struct lu_nexus, link);

            if (n != except)
                lu_ua_set(n, lu, ua);
        }
    }
}

uint16_t
lu_ua_take(struct lu_nexus *n, const struct lu *lu, uint32_t *ret)
{
    uint32_t *ua = &n->ua[lu->index];
    unsigned i;

    assert(*ua != 0);
    i = (unsigned)__builtin_ctz(*ua);
    *ret = 1u << i;
    *ua &= ~*ret;
    return ua_codes[i];
}

uint16_t
lu_ua_next(const struct lu_nexus *n, const struct lu *lu, unsigned *ret_count)
{
    uint32_t ua = n->ua[lu->index];

    *ret_count = (unsigned)__builtin_popcount(ua);
    return ua != 0 ? ua_codes[__builtin_ctz(ua)] : 0;
}

void
lu_ua_give_back(struct lu_nexus *n, const struct lu *lu, uint32_t taken)
{
    n->ua[lu->index] |= taken;
}

void
lu_nexus_init(struct lu_device *dev)
{
    list_init(&dev->nexuses);
    list_init(&dev->away);
    htab_init(&dev->nexus_by_port);
}

static uint64_t
port_hash(const struct lu_device *dev, const char *port)
{
    return hash_bytes(dev->hash_seed, port, strlen(port));
}

struct lu_nexus *
lu_nexus_find(struct lu_device *dev, const char *port)
{
    struct hnode *h = htab_find(&dev->nexus_by_port, port_hash(dev, port));

    for (; h != NULL; h = htab_next(h)) {
        struct lu_nexus *n = container_of(h, struct lu_nexus, hnode);

        if (strcmp(n->port, port) == 0)
            return n;
    }
    return NULL;
}

static void
nexus_free(struct lu_nexus *n)
{
    htab_del(&n->dev->nexus_by_port, &n->hnode);
    list_del(&n->link);
    free(n->ua);
    free(n->sync);
    free(n);
}

static struct lu_nexus *
nexus_new(struct lu_device *dev, const char *port)
{
    struct lu_nexus *n = strlen(port) > LU_PORT_MAX ? NULL : calloc(1, sizeof(*n));

    if (n == NULL)
        return NULL;
    n->ua = calloc(dev->lus_count + 1, sizeof(*n->ua));
    n->sync = calloc(dev->lus_count + 1, sizeof(*n->sync));
    if (n->ua == NULL || n->sync == NULL) {
        free(n->ua);
        free(n->sync);
        free(n);
        return NULL;
    }
    n->dev = dev;
    (void)strcpy(n->port, port);
    htab_add(&dev->nexus_by_port, &n->hnode, port_hash(dev, port));
    for (uint32_t i = 0; i < dev->lus_count; i++) {
        n->sync[i].told = n->sync[i].done_with = dev->lus[i].sync_failures;
        lu_ua_set(n, &dev->lus[i], LU_UA_POWER_ON);
    }
    return n;
}

struct lu_nexus *
lu_nexus_join(struct lu_device *dev, const char *port)
{
    struct lu_nexus *n = lu_nexus_find(dev, port);

    if (n == NULL) {
        n = nexus_new(dev, port);
        if (n == NULL)
            return NULL;
    } else {
        assert(!n->live); /* the router has ended an older session of the port */
        for (uint32_t i = 0; i < dev->lus_count; i++)
            n->sync[i].done_with = n->sync[i].told;
        list_del(&n->link);
        dev->away_count--;
    }
    n->live = true;
    lu_work_owner_init(&n->work);
    list_push_front(&dev->nexuses, &n->link);
    return n;
}

void
lu_nexus_leave(struct lu_nexus *n)
{
    struct lu_device *dev = n->dev;

    assert(n->live);
    for (uint32_t i = 0; i < dev->lus_count; i++) {
        if (dev->lus[i].reserved == n)
            dev->lus[i].reserved = NULL;
        lu_ua_set(n, &dev->lus[i], LU_UA_NEXUS_LOSS);
    }
    n->live = false;
    list_del(&n->link);
    list_push_front(&dev->away, &n->link);
    if (++dev->away_count <= LU_NEXUSES_MAX)
        return;
    dev->away_count--;
    nexus_free(container_of(dev->away.prev, struct lu_nexus, link)); /* the one that left first */
}

void
lu_nexus_fini(struct lu_device *dev)
{
    while (!list_empty(&dev->nexuses))
        nexus_free(container_of(dev->nexuses.next, struct lu_nexus, link));
    while (!list_empty(&dev->away))
        nexus_free(container_of(dev->away.next, struct lu_nexus, link));
    htab_fini(&dev->nexus_by_port);
}
