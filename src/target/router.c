/* SPDX-License-Identifier: MIT */
#include "target/router.h"

#include "target/command.h"
#include "target/exec.h"
#include "target/tmf.h"

static void
router_complete(struct lu_cmd *s)
{
    tgt_exec_complete(container_of(s, struct tgt_cmd, s));
}

static void
router_released(struct lu_cmd *s)
{
    tgt_cmd_released(container_of(s, struct tgt_cmd, s));
}

/* ctx: the function that is carried out; NULL: PREEMPT AND ABORT. */
static bool
router_abort(struct lu_cmd *s, void *ctx)
{
    struct tgt_cmd *c = container_of(s, struct tgt_cmd, s);

    if (ctx != NULL)
        return tgt_tmf_abort(ctx, c);
    tgt_cmd_abort(c, NULL);
    return true;
}

const struct lu_router tgt_router = {
    .complete = router_complete, .released = router_released, .abort = router_abort};
