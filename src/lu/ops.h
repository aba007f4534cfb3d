/* SPDX-License-Identifier: MIT */
/* lu/ops.h - the commands of the device server as one table.
 *
 * It dispatches, it says which reservations stop a command, and it is what
 * REPORT SUPPORTED OPERATION CODES shows.
 */
#ifndef LU_OPS_H
#define LU_OPS_H

#include "lu/op.h"

/* Entries of one opcode lie together. */
extern const struct lu_op lu_ops[];
extern const unsigned lu_ops_count;

/* The table's entry for c->cdb; NULL, and the command has failed. */
const struct lu_op *lu_op_find(struct lu_cmd *c);

#endif
