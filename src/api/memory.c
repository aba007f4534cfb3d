/* SPDX-License-Identifier: MIT */
/* api/memory.c - memory that is registered once (docs/design/memory.md). */
#include <assert.h>

#include "api/internal.h"
#include "api/sized.h"

static_assert(LUNETTE_REGIONS_MAX == DATAPLANE_REGIONS_MAX, "a context has one data plane");

int
lunette_register(struct lunette_ctx *ctx, void *addr, size_t len, struct lunette_error *err)
{
    int r = api_error_check(err);

    return r < 0 ? r : dataplane_mem_add(ctx->dp, addr, len, err);
}

int
lunette_unregister(struct lunette_ctx *ctx, void *addr, struct lunette_error *err)
{
    int r = api_error_check(err);

    return r < 0 ? r : dataplane_mem_remove(ctx->dp, addr, err);
}
