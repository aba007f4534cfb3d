/* SPDX-License-Identifier: MIT */
/* ctl/op.h - the life of an asynchronous operation of the control plane: a login, a logout, a
 * discovery.
 *
 * An operation is one heap object with an owner.  The owner is told once how it
 * ended, may cancel it, and may let go of it (ctl_op_free) at any time.  An operation
 * whose owner has let go still has to undo what it has made in the data plane, so it
 * lives on as an orphan of its ctl until it ends by itself, or until ctl_free.
 *
 *   RUNNING ---ctl_op_cancel--> CANCELED        the owner waits to be told
 *   RUNNING, CANCELED ---ctl_op_tell--> DONE    the owner has been told
 *   any ---ctl_op_free--> ORPHANED              there is no owner any more
 *
 * The operation calls ctl_op_end when it has nothing left to tidy up, which may happen
 * in DONE or in ORPHANED.  The object is destroyed when it is both ended and orphaned,
 * but never between ctl_op_enter and ctl_op_leave.
 *
 * All functions are called on the loop's thread.
 */
#ifndef CTL_OP_H
#define CTL_OP_H

#include <stdbool.h>

#include "ctl/ctl.h"

enum ctl_op_state { CTL_OP_RUNNING, CTL_OP_CANCELED, CTL_OP_DONE, CTL_OP_ORPHANED };

struct ctl_op;

struct ctl_op_ops {
    /* Ends the operation early.  Called from the loop after the owner has canceled, or inside
     * ctl_op_free when the owner lets go; not called once the operation has ended.  NULL: the
     * operation goes on as if nothing had happened. */
    void (*cancel)(struct ctl_op *op);
    /* Calls ctl_op_fini and frees the object.  Sends no request. */
    void (*destroy)(struct ctl_op *op);
};

/* Embedded in the operation; the fields are op.c's. */
struct ctl_op {
    struct ctl_orphan orphan;
    struct ctl *ctl;
    const struct ctl_op_ops *ops;
    struct loop_work cancel;
    enum ctl_op_state state;
    bool ended;
    unsigned entered; /* calls of ctl_op_enter that have no ctl_op_leave yet */
};

/* ctl outlives op; ops is constant. */
void ctl_op_init(struct ctl_op *op, struct ctl *ctl, const struct ctl_op_ops *ops);
/* Takes op out of its ctl.  Called by ops->destroy only. */
void ctl_op_fini(struct ctl_op *op);

/* ---- for the owner ------------------------------------------------------------------------- */

/* Cancels op: ops->cancel is called at the end of this turn of the loop, not from inside this
 * call.  Does nothing when the owner has been told how op ended, or has canceled already.  op must
 * have an owner. */
void ctl_op_cancel(struct ctl_op *op);

/* The owner lets go of op: it is not told any more how op ended, and must not use op again, which
 * this call may free. */
void ctl_op_free(struct ctl_op *op);

/* ---- for the operation --------------------------------------------------------------------- */

/* Tells whether the owner has canceled and not been told yet how op ended. */
bool ctl_op_canceled(const struct ctl_op *op);

/* Called when the operation knows how it ended.  Returns true the first time, if there is an owner;
 * the caller then makes the owner's callback.  Returns false when the owner has been told already
 * or has let go. */
bool ctl_op_tell(struct ctl_op *op);

/* Called once, when nothing of the operation is left in the data plane, no reply is outstanding,
 * and the owner has been told (ctl_op_tell) or has let go.  May destroy op, unless it is entered.
 */
void ctl_op_end(struct ctl_op *op);

/* Keep op alive between them, for code that uses op after something that may end it or in which its
 * owner may let go of it, such as the owner's callback.  ctl_op_leave may destroy op.  Pairs may be
 * nested. */
void ctl_op_enter(struct ctl_op *op);
void ctl_op_leave(struct ctl_op *op);

#endif
