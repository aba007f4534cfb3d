/* SPDX-License-Identifier: MIT */
/* transport/iser/data.c - where the data of a command are while the target may use them: where the
 * application has them, if the device knows that memory and it is in one piece, else in a block. */
#include <assert.h>
#include <errno.h>

#include "transport/iser/internal.h"

/* Memory of the application that the device can use as it is. */
static bool
data_direct(struct iser_ep *e, struct iser_data *d, const struct sg *sg, bool target_reads)
{
    void *flat = sg_start(sg, sg->len);

    if (flat == NULL)
        return false; /* one STag is for one range of one region */
    d->mr = iser_mem_find(e, flat, sg->len);
    if (d->mr == NULL && e->way == ISER_WAY_REGISTER &&
        rnic_reg(e->rnic, flat, sg->len, target_reads ? RNIC_PEER_READS : RNIC_PEER_WRITES, &d->own,
                 NULL) == 0)
        d->mr = d->own;
    d->at = d->mr != NULL ? flat : NULL;
    return d->at != NULL;
}

int
iser_data_place(struct iser_ep *e, struct iser_data *d, const struct sg *sg, bool target_reads)
{
    assert(sg->len > 0 && sg->len <= ISER_MAX_TRANSFER);
    if (e->way == ISER_WAY_WINDOW && e->nfree_mw == 0)
        return -EAGAIN;
    *d = (struct iser_data){.len = sg->len};
    if (!data_direct(e, d, sg, target_reads)) {
        d->block = iser_pool_take(&e->pool, sg->len);
        if (d->block == NULL)
            return -EAGAIN;
        d->at = d->block;
        d->mr = e->pool_mr;
    }
    if (e->way == ISER_WAY_WINDOW)
        d->mw = e->mw[--e->nfree_mw];
    else
        d->stag = d->mr->rkey;
    return 0;
}

void
iser_data_release(struct iser_ep *e, struct iser_data *d)
{
    assert(!d->open);
    if (d->mw != NULL)
        e->mw[e->nfree_mw++] = d->mw;
    if (d->own != NULL)
        rnic_dereg(e->rnic, d->own);
    if (d->block != NULL)
        iser_pool_give(&e->pool, d->block);
    *d = (struct iser_data){.at = NULL};
}

void
iser_data_fill(const struct iser_data *d, const struct sg *sg)
{
    struct sg_cursor at;

    if (d->block == NULL)
        return;
    sg_cursor_init(&at, sg);
    sg_copy_from(&at, sg, d->block, d->len);
}

void
iser_data_take(const struct iser_data *d, const struct sg *sg, uint32_t len)
{
    struct sg_cursor at;

    if (d->block == NULL || len == 0)
        return;
    assert(len <= d->len);
    sg_cursor_init(&at, sg);
    sg_copy_to(&at, sg, d->block, len);
}
