/* SPDX-License-Identifier: MIT */
#include "ctl/op.h"

#include <assert.h>

static void
ctl_op_destroy_if_over(struct ctl_op *op)
{
    if (op->ended && op->state == CTL_OP_ORPHANED && op->entered == 0)
        op->ops->destroy(op);
}

/* ctl_free destroys an orphan that has not ended. */
static void
ctl_op_on_ctl_free(struct ctl_orphan *o)
{
    struct ctl_op *op = container_of(o, struct ctl_op, orphan);

    assert(op->state == CTL_OP_ORPHANED);
    assert(op->entered == 0);
    op->ops->destroy(op);
}

static void
ctl_op_on_cancel(struct loop_work *w)
{
    struct ctl_op *op = container_of(w, struct ctl_op, cancel);

    if (op->state == CTL_OP_CANCELED && op->ops->cancel != NULL)
        op->ops->cancel(op);
}

void
ctl_op_init(struct ctl_op *op, struct ctl *ctl, const struct ctl_op_ops *ops)
{
    assert(ops->destroy != NULL);
    assert(ctl != NULL);
    *op = (struct ctl_op){.ctl = ctl, .ops = ops, .state = CTL_OP_RUNNING};
    op->orphan.destroy = ctl_op_on_ctl_free;
    list_init(&op->orphan.node);
    loop_work_init(&op->cancel, ctl_op_on_cancel);
}

void
ctl_op_fini(struct ctl_op *op)
{
    loop_defer_cancel(&op->cancel);
    list_del(&op->orphan.node);
}

void
ctl_op_cancel(struct ctl_op *op)
{
    assert(op->state != CTL_OP_ORPHANED);
    if (op->state != CTL_OP_RUNNING)
        return;
    op->state = CTL_OP_CANCELED;
    loop_defer(ctl_loop(op->ctl), &op->cancel);
}

void
ctl_op_free(struct ctl_op *op)
{
    assert(op->state != CTL_OP_ORPHANED);
    op->state = CTL_OP_ORPHANED;
    loop_defer_cancel(&op->cancel);
    ctl_op_enter(op);
    if (!op->ended) {
        ctl_adopt(op->ctl, &op->orphan);
        if (op->ops->cancel != NULL)
            op->ops->cancel(op);
    }
    ctl_op_leave(op);
}

bool
ctl_op_canceled(const struct ctl_op *op)
{
    return op->state == CTL_OP_CANCELED;
}

bool
ctl_op_tell(struct ctl_op *op)
{
    if (op->state != CTL_OP_RUNNING && op->state != CTL_OP_CANCELED)
        return false;
    op->state = CTL_OP_DONE;
    return true;
}

void
ctl_op_end(struct ctl_op *op)
{
    assert(!op->ended);
    assert(op->state == CTL_OP_DONE || op->state == CTL_OP_ORPHANED);
    op->ended = true;
    ctl_op_destroy_if_over(op);
}

void
ctl_op_enter(struct ctl_op *op)
{
    op->entered++;
}

void
ctl_op_leave(struct ctl_op *op)
{
    assert(op->entered > 0);
    op->entered--;
    ctl_op_destroy_if_over(op);
}
