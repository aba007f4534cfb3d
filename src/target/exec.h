/* SPDX-License-Identifier: MIT */
/* target/exec.h - SCSI commands between their PDUs and the device server. */
#ifndef TARGET_EXEC_H
#define TARGET_EXEC_H

#include <stdint.h>

struct tgt_cmd;

/* Fails a command that brings data which the session does not allow (RFC 7143 11.4.7.2). */
void tgt_exec_check_unsolicited(struct tgt_cmd *c, uint32_t immediate);

/* The SCSI command has its turn; data: what came with it. */
void tgt_exec_run(struct tgt_cmd *c, const uint8_t *data, uint32_t len);

/* Takes data for Buffer Offset off; what lies beyond c->need is dropped. */
void tgt_exec_take(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);

/* A burst is over: asks for what is missing, or lets the device server finish. */
void tgt_exec_want_data(struct tgt_cmd *c);

/* The device server is done with it: its response is due. */
void tgt_exec_complete(struct tgt_cmd *c);

#endif
