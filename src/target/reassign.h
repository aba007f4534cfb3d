/* SPDX-License-Identifier: MIT */
/* target/reassign.h - TASK REASSIGN (RFC 7143 7.2.2, 11.5.6): a task whose connection was lost
 * (lost.h) goes on over another one.
 */
#ifndef TARGET_REASSIGN_H
#define TARGET_REASSIGN_H

#include <stdint.h>

struct tgt_cmd;
struct tgt_conn;
struct tgt_session;

/* Returns the task for a TASK REASSIGN request, or NULL with the response code. */
struct tgt_cmd *tgt_reassign_task(const struct tgt_session *s, uint32_t itt, uint8_t *ret_response);

/* Gives a task to c, where it goes on: after the Data-In before exp_data_sn, if that makes sense.
 */
void tgt_reassign(struct tgt_cmd *cmd, struct tgt_conn *c, uint32_t exp_data_sn);

#endif
