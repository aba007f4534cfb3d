/* SPDX-License-Identifier: MIT */
/* dataplane/values.h - the texts that a session or a connection was told, packed as seam/ipc.h says
 * (struct ipc_value). */
#ifndef DATAPLANE_VALUES_H
#define DATAPLANE_VALUES_H

#include "seam/ipc.h"

struct dp_values {
    uint8_t *bytes;
    uint32_t len, room; /* len <= IPC_VALUES_MAX */
};

/* Makes room for a text of len bytes, so that dp_values_set cannot fail.  0, -ENOMEM, or -ENOSPC:
 * there would be more than IPC_VALUES_MAX bytes. */
int dp_values_reserve(struct dp_values *v, enum iscsi_param p, uint32_t len);
/* Sets the value, in place of one that is there; after dp_values_reserve of the same. */
void dp_values_set(struct dp_values *v, enum iscsi_param p, const char *text, uint32_t len);
bool dp_values_has(const struct dp_values *v, enum iscsi_param p);
/* Copies the value with a NUL to text[size], as far as it goes; where there is none, text stays as
 * it is. */
void dp_values_get(const struct dp_values *v, enum iscsi_param p, char *text, size_t size);
void dp_values_fini(struct dp_values *v);

/* The value is one of a connection, not of its session. */
bool dp_param_of_conn(enum iscsi_param p);

#endif
