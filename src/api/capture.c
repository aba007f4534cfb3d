/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <time.h>

#include "api/internal.h"
#include "api/sized.h"

int
lunette_ctx_capture(struct lunette_ctx *ctx, int fd, uint32_t flags, struct lunette_error *err)
{
    struct timespec now;
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (fd < 0 || (flags & ~LUNETTE_CAPTURE_NO_PAYLOAD) != 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "lunette_ctx_capture takes a socket, and no flags but "
                            "LUNETTE_CAPTURE_NO_PAYLOAD");
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return dataplane_capture_all(ctx->dp, fd,
                                 (uint64_t)now.tv_sec * LOOP_NS_PER_S + (uint64_t)now.tv_nsec,
                                 (flags & LUNETTE_CAPTURE_NO_PAYLOAD) != 0, err);
}
