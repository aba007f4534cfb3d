/* SPDX-License-Identifier: MIT */
/* offload/session.h - sessions that an engine has. */
#ifndef OFFLOAD_SESSION_H
#define OFFLOAD_SESSION_H

#include "seam/session.h"

/* Those of a transport whose endpoints are offload/ep.h's. */
extern const struct dp_session_ops offload_session_ops;

#endif
