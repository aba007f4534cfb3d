/* SPDX-License-Identifier: MIT */
/* api/ping.h - lunette_ping: a NOP-Out that the caller asked for, and its answer. */
#ifndef API_PING_H
#define API_PING_H

#include "api/internal.h"

/* The events of a session that a ping under way waits for; harmless without one. */
void api_ping_answered(struct lunette_session *s, const void *data, uint32_t len);
void api_ping_failed(struct lunette_session *s, int err);

#endif
