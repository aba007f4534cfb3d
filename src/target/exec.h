/* SPDX-License-Identifier: MIT */
/* target/exec.h - hands SCSI commands and their data to the device server. */
#ifndef TARGET_EXEC_H
#define TARGET_EXEC_H

#include <stdint.h>

struct tgt_cmd;

/* Fails a command that brings data which the session does not allow (RFC 7143 11.4.7.2). */
void tgt_exec_check_unsolicited(struct tgt_cmd *c, uint32_t immediate);

/* Starts a SCSI command whose CmdSN has come up.  data is the immediate data of len bytes. */
void tgt_exec_run(struct tgt_cmd *c, const uint8_t *data, uint32_t len);

/* Takes data for Buffer Offset off; what lies beyond c->need is dropped. */
void tgt_exec_take(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);

/* Returns where the burst under way ends. */
uint32_t tgt_exec_burst_end(const struct tgt_cmd *c);

/* Called at the end of a burst: asks for the data that are missing, or lets the device server
 * finish. */
void tgt_exec_want_data(struct tgt_cmd *c);

/* Called when the device server has completed the command: queues what it has to send. */
void tgt_exec_complete(struct tgt_cmd *c);

#endif
