/* SPDX-License-Identifier: MIT */
/* lu/ops.h - the commands of the device server as one table.
 *
 * The table has the handlers of each command and the reservations that stop it, and
 * REPORT SUPPORTED OPERATION CODES returns it.
 */
#ifndef LU_OPS_H
#define LU_OPS_H

#include "lu/op.h"

/* Entries of one opcode lie together. */
extern const struct lu_op lu_ops[];
extern const unsigned lu_ops_count;

/* Returns the table's entry for c->cdb; or NULL, after failing the command. */
const struct lu_op *lu_op_find(struct lu_cmd *c);

#endif
