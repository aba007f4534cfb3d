/* SPDX-License-Identifier: MIT */
/* ctl/op.h - the life of an asynchronous operation of the control plane: a login, a logout, a
 * discovery.
 *
 * An operation is one heap object with an owner.  The owner is told once how it
 * ended, may cancel it, and may let go of it at any time.  What the operation
 * has made in the data plane must be tidied up even when nobody waits any more:
 * then it lives on as an orphan of its ctl until it ends by itself, or until
 * ctl_free.
 *
 *   RUNNING ---ctl_op_cancel--> CANCELED        the owner waits to be told
 *   RUNNING, CANCELED ---ctl_op_tell--> DONE    the owner has been told
 *   any ---ctl_op_free--> ORPHANED              there is no owner any more
 *
 * Beside the state, ctl_op_end marks that nothing is left to tidy up.  The
 * object is destroyed once it is both ended and orphaned, but never between
 * ctl_op_enter and ctl_op_leave.
 *
 * All of it on the loop's thread.
 */
#ifndef CTL_OP_H
#define CTL_OP_H

#include <stdbool.h>

#include "ctl/ctl.h"

enum ctl_op_state { CTL_OP_RUNNING, CTL_OP_CANCELED, CTL_OP_DONE, CTL_OP_ORPHANED };

struct ctl_op;

struct ctl_op_ops {
    /* Makes haste: the owner has canceled (called once, from a turn of the loop) or let go of the
     * operation (called inside ctl_op_free).  Not called once the operation has ended.  NULL: the
     * operation goes on as it would. */
    void (*cancel)(struct ctl_op *op);
    /* Calls ctl_op_fini and frees the object, without another word to the data plane. */
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
    unsigned entered; /* ctl_op_enter without its ctl_op_leave */
};

/* ctl outlives op; ops is constant. */
void ctl_op_init(struct ctl_op *op, struct ctl *ctl, const struct ctl_op_ops *ops);
/* Takes op out of its ctl; for ops->destroy. */
void ctl_op_fini(struct ctl_op *op);

/* ---- for the owner ------------------------------------------------------------------------- */

/* ops->cancel is called in this turn of the loop, not from inside.  Harmless when the owner has
 * been told, and the second time.  Not for an orphan. */
void ctl_op_cancel(struct ctl_op *op);

/* The owner lets go of op, which may be freed in here, and is never told from now on. */
void ctl_op_free(struct ctl_op *op);

/* ---- for the operation --------------------------------------------------------------------- */

/* Has the owner canceled, without having been told since? */
bool ctl_op_canceled(const struct ctl_op *op);

/* True, once: the caller calls its owner's callback now.  False: the owner knows, or is gone. */
bool ctl_op_tell(struct ctl_op *op);

/* Nothing of the operation is left in the data plane, and no reply is to come.  The owner has been
 * told (ctl_op_tell) or is gone.  May destroy op, unless it is entered. */
void ctl_op_end(struct ctl_op *op);

/* Around code that goes on to use op after it may have ended or its owner may have let go of it,
 * such as a callback to the owner.  ctl_op_leave may destroy op.  May be nested. */
void ctl_op_enter(struct ctl_op *op);
void ctl_op_leave(struct ctl_op *op);

#endif
