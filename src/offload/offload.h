/* SPDX-License-Identifier: MIT */
/* offload/offload.h - the transports whose adapter is a process, iscsi-engine. */
#ifndef OFFLOAD_OFFLOAD_H
#define OFFLOAD_OFFLOAD_H

#include "seam/transport.h"

/* The engine has the whole session ("offload_session"): it logs in, and again after a loss, and
 * several processes may use one login.  Needs seam/shm.h of the loop; whether this system has that
 * is for whoever registers it to say (`usable`). */
extern const struct iscsi_transport offload_session_transport;

#endif
