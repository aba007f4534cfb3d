/* SPDX-License-Identifier: MIT */
#include "lu/device.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lu/flush.h"
#include "lu/nexus.h"
#include "lu/ops.h"
#include "lu/unit.h"
#include "wire/be.h"
#include "wire/lun.h"

static uint64_t
fnv1a(uint64_t h, const char *text)
{
    for (; *text != '\0'; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
    return h;
}

static bool
unit_forgets(const struct lu_config *cfg)
{
    return cfg->kind == LU_RAM && cfg->store == NULL && cfg->serial[0] == '\0';
}

bool
lu_device_forgets(const struct lu_config *luns, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (unit_forgets(&luns[i]))
            return true;
    }
    return false;
}

/* Serial number and NAA 6 name: the same for the same device name and LUN in every run, since it is
 * the same unit, unless what was written to it is gone: then it is another unit, and an initiator
 * which takes it for the one that it knows would go on with half of its data.  The company part has
 * the locally administered bit of an OUI set. */
static void
name_unit(struct lu *lu, const struct lu_config *cfg, uint64_t start_seed)
{
    const char *serial = cfg->serial;
    char tail[LU_SERIAL_MAX + 32];
    uint64_t a, b;

    if (unit_forgets(cfg))
        (void)snprintf(tail, sizeof(tail), "/%u/%016" PRIx64, lu->number, start_seed);
    else
        (void)snprintf(tail, sizeof(tail), "/%u/%s", lu->number, serial);
    a = fnv1a(fnv1a(0xcbf29ce484222325ull, lu->dev->name), tail);
    b = fnv1a(fnv1a(a, tail), lu->dev->name);
    if (serial[0] != '\0')
        (void)snprintf(lu->serial, sizeof(lu->serial), "%s", serial);
    else
        (void)snprintf(lu->serial, sizeof(lu->serial), "%016llx", (unsigned long long)a);
    st_be64(lu->naa, a);
    st_be64(lu->naa + 8, b);
    lu->naa[0] = 0x60;
    lu->naa[1] = 0x25;
}

static int
by_number(const void *a, const void *b)
{
    const struct lu *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

/* Whether n is asked for by any configuration, or given to one of the first `upto` units. */
static bool
number_taken(const struct lu_device *dev, const struct lu_device_config *cfg, uint32_t upto,
             int32_t n)
{
    for (uint32_t i = 0; i < cfg->luns_count; i++) {
        if (cfg->luns[i].lun == n)
            return true;
    }
    for (uint32_t i = 0; i < upto; i++) {
        if (dev->lus[i].number == (uint32_t)n)
            return true;
    }
    return false;
}

static int
number_unit(struct lu_device *dev, const struct lu_device_config *cfg, uint32_t i, int32_t *next,
            struct lunette_error *err)
{
    struct lu *lu = &dev->lus[i];

    while (cfg->luns[i].lun < 0 && number_taken(dev, cfg, i, *next))
        (*next)++;
    lu->number = (uint32_t)(cfg->luns[i].lun < 0 ? (*next)++ : cfg->luns[i].lun);
    for (uint32_t k = 0; k < i; k++) {
        if (dev->lus[k].number == lu->number)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "two LUNs have the number %u",
                                (unsigned)lu->number);
    }
    name_unit(lu, &cfg->luns[i], cfg->start_seed);
    return 0;
}

/* Closes the stores that the caller has brought for units that were not opened because one before
 * them failed: lu_device_open takes all of them in any case. */
static void
close_stores(const struct lu_device_config *cfg, uint32_t from)
{
    for (uint32_t i = from; i < cfg->luns_count; i++)
        lu_store_close(cfg->luns[i].store);
}

static int
open_units(struct lu_device *dev, const struct lu_device_config *cfg, struct lunette_error *err)
{
    int32_t next = 0;
    int r = 0;

    if (cfg->luns_count > LU_UNITS_MAX)
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "too many LUNs");
    else if ((dev->lus = calloc(cfg->luns_count + 1, sizeof(*dev->lus))) == NULL)
        r = lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < cfg->luns_count && r == 0; i++) {
        struct lu *lu = &dev->lus[i];

        lu->dev = dev;
        dev->lus_count++;
        r = lu_open(lu, &cfg->luns[i], cfg->log, err);
        if (r == 0 && lu->store->ops->sync != NULL && !lu->store->ops->sync_on_loop)
            r = lu_flusher_start(dev->flusher);
        if (r == 0)
            r = number_unit(dev, cfg, i, &next, err);
    }
    if (r < 0) {
        close_stores(cfg, dev->lus_count);
        return r;
    }
    qsort(dev->lus, dev->lus_count, sizeof(*dev->lus), by_number);
    for (uint32_t i = 0; i < dev->lus_count; i++) {
        dev->lus[i].index = i;
        list_init(&dev->lus[i].tasks); /* the list's head has moved */
    }
    return 0;
}

static void
index_ops(struct lu_device *dev)
{
    memset(dev->op_first, LU_OP_ABSENT, sizeof(dev->op_first));
    assert(lu_ops_count < LU_OP_ABSENT);
    for (unsigned i = lu_ops_count; i-- > 0;)
        dev->op_first[lu_ops[i].opcode] = (uint8_t)i;
}

int
lu_device_open(struct lu_device *dev, const struct lu_device_config *cfg, struct lunette_error *err)
{
    assert(dev->router == NULL && cfg->router != NULL && cfg->flusher != NULL &&
           cfg->worker != NULL);
    assert(strlen(cfg->name) <= LU_NAME_MAX && strlen(cfg->port) <= LU_PORT_MAX);
    dev->router = cfg->router;
    dev->flusher = cfg->flusher;
    dev->worker = cfg->worker;
    dev->hash_seed = cfg->hash_seed;
    dev->protocol = cfg->protocol;
    dev->protocol_version = cfg->protocol_version;
    (void)strcpy(dev->name, cfg->name);
    (void)strcpy(dev->port, cfg->port);
    lu_nexus_init(dev);
    index_ops(dev);
    dev->zeros = mmap(NULL, LU_ZEROS_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (dev->zeros == MAP_FAILED) {
        dev->zeros = NULL;
        close_stores(cfg, 0);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    }
    return open_units(dev, cfg, err);
}

void
lu_device_close(struct lu_device *dev)
{
    if (dev->router == NULL)
        return;
    lu_nexus_fini(dev);
    for (uint32_t i = 0; i < dev->lus_count; i++)
        lu_close(&dev->lus[i]);
    free(dev->lus);
    if (dev->zeros != NULL)
        (void)munmap(dev->zeros, LU_ZEROS_SIZE);
    dev->router = NULL;
    dev->lus = NULL;
    dev->lus_count = 0;
}

struct lu *
lu_device_number(const struct lu_device *dev, uint32_t number)
{
    uint32_t low = 0, high = dev->lus_count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (dev->lus[mid].number == number)
            return &dev->lus[mid];
        if (dev->lus[mid].number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

struct lu *
lu_device_find(const struct lu_device *dev, const uint8_t lun[8])
{
    uint64_t number;

    if (lun_to_number(lun_load(lun), &number) < 0 || number > LU_NUMBER_MAX)
        return NULL;
    return lu_device_number(dev, (uint32_t)number);
}

uint32_t
lu_device_sync(struct lu_device *dev, const struct log *log)
{
    uint32_t failed = 0;

    for (uint32_t i = 0; i < dev->lus_count; i++) {
        int r = dev->lus[i].dirty ? lu_store_sync(dev->lus[i].store) : 0;

        dev->lus[i].dirty = r < 0;
        if (r == 0)
            continue;
        failed++;
        log_line(log, LOG_LEVEL_ERROR, "%s: LUN %u: what was written last may be lost: %s",
                 dev->name, dev->lus[i].number, errno_text(-r));
    }
    return failed;
}

int
lu_resize(struct lu *lu, uint64_t bytes, struct lunette_error *err)
{
    uint64_t blocks = bytes >> lu->block_shift;
    int r = 0;

    if (blocks == 0 || blocks > lu->blocks_max)
        return lunette_fail(err, -ERANGE, LUNETTE_DOM_USAGE, 0,
                            "LUN %u can have up to %llu bytes; max=SIZE raises that", lu->number,
                            (unsigned long long)(lu->blocks_max << lu->block_shift));
    if (blocks < lu->blocks)
        r = lu_zero(lu, blocks, lu->blocks - blocks, true);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "LUN %u: %s", lu->number,
                            errno_text(-r));
    if (blocks != lu->blocks)
        lu_ua_all(lu, NULL, LU_UA_CAPACITY);
    lu->blocks = blocks;
    return 0;
}

void
lu_set_alua(struct lu *lu, struct lu_alua alua)
{
    assert(alua.state <= 0x0f);
    if (alua.state != lu->alua.state)
        lu_ua_all(lu, NULL, LU_UA_ALUA);
    lu->alua = alua;
}
