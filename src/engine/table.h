/* SPDX-License-Identifier: MIT */
/* engine/table.h - requests for the tables of an engine: targets, names with secrets, numbers. */
#ifndef ENGINE_TABLE_H
#define ENGINE_TABLE_H

#include "engine/login.h"
#include "seam/ipc.h"

/* The request is one of these, from NEW_FLASHNODE to GET_HOST_STATS. */
bool engine_table_is(enum iscsi_uevent_type type);
/* Answers it through from->reply, now or later; *from is copied. */
void engine_table_serve(struct engine_logins *e, const struct ipc_client *from,
                        const struct iscsi_uevent *ev, const void *data, uint32_t data_len);
/* The client is gone: what it still waits for is not answered any more. */
void engine_table_forget(struct engine_logins *e, const struct ipc_client *from);

#endif
