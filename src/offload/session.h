/* SPDX-License-Identifier: MIT */
/* offload/session.h - a session that an engine has, as its client sees it (seam/session.h), and its
 * SCSI host.
 *
 * What the engine is asked for goes step by step: CREATE_SESSION, its values, START_CONN; and then
 * the engine tells.  Whenever the attachment is lost, all of it begins anew with the next.
 */
#ifndef OFFLOAD_SESSION_H
#define OFFLOAD_SESSION_H

#include "offload/types.h"
#include "seam/session.h"

extern const struct dp_session_ops offload_session_ops;

#endif
