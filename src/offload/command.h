/* SPDX-License-Identifier: MIT */
/* offload/command.h - the SCSI host of a session that an engine has (seam/host.h). */
#ifndef OFFLOAD_COMMAND_H
#define OFFLOAD_COMMAND_H

#include "offload/attach.h"
#include "offload/session_priv.h"

/* s is all zero but for loop, stated and moved.  cmds_max: 0 is the default. */
void offload_host_init(struct offload_session *s, uint32_t sid, uint32_t cmds_max);
/* The session has an attachment that is up: what the host takes is known from now on.  -EINVAL with
 * *err: it takes less than it did. */
int offload_host_attached(struct offload_session *s, struct lunette_error *err);
/* Nothing of it is under way. */
void offload_host_fini(struct offload_session *s);
bool offload_host_idle(const struct offload_session *s);
/* s->host.state has changed. */
void offload_host_moved(struct offload_session *s);
/* Nobody waits any more for what an engine that was lost has of the session: gives it back.  Slots
 * and data stay as they are until the engine runs no more. */
void offload_host_give_up(struct offload_session *s);

#endif
