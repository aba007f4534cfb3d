/* SPDX-License-Identifier: MIT */
#include "dataplane/values.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the value begins, or where the next one would. */
static uint32_t
values_find(const struct dp_values *v, enum iscsi_param p, uint32_t *ret_bytes)
{
    const uint8_t *at = v->bytes, *end = at != NULL ? at + v->len : at;
    struct ipc_value val;

    while (at != end && ipc_value_next(&at, end, &val)) {
        if (val.param != (uint32_t)p)
            continue;
        *ret_bytes = IPC_VALUE_HEAD + val.len;
        return (uint32_t)(at - v->bytes) - *ret_bytes;
    }
    *ret_bytes = 0;
    return v->len;
}

int
dp_values_reserve(struct dp_values *v, enum iscsi_param p, uint32_t len)
{
    uint32_t old, want;
    uint8_t *bytes;

    (void)values_find(v, p, &old);
    want = v->len - old + IPC_VALUE_HEAD + len;
    if (want > IPC_VALUES_MAX)
        return -ENOSPC;
    if (want <= v->room)
        return 0;
    bytes = realloc(v->bytes, want);
    if (bytes == NULL)
        return -ENOMEM;
    v->bytes = bytes;
    v->room = want;
    return 0;
}

void
dp_values_set(struct dp_values *v, enum iscsi_param p, const char *text, uint32_t len)
{
    uint32_t old, at = values_find(v, p, &old);
    uint8_t *b;

    if (old > 0) {
        memmove(v->bytes + at, v->bytes + at + old, v->len - at - old);
        v->len -= old;
    }
    assert(v->bytes != NULL && v->room - v->len >= IPC_VALUE_HEAD + len);
    b = v->bytes + v->len;
    b[0] = (uint8_t)p;
    b[1] = (uint8_t)((uint32_t)p >> 8);
    b[2] = (uint8_t)len;
    b[3] = (uint8_t)(len >> 8);
    memcpy(b + IPC_VALUE_HEAD, text, len);
    v->len += IPC_VALUE_HEAD + len;
}

bool
dp_values_has(const struct dp_values *v, enum iscsi_param p)
{
    uint32_t bytes;

    (void)values_find(v, p, &bytes);
    return bytes > 0;
}

void
dp_values_get(const struct dp_values *v, enum iscsi_param p, char *text, size_t size)
{
    uint32_t bytes, at = values_find(v, p, &bytes);

    if (bytes > 0)
        (void)snprintf(text, size, "%.*s", (int)(bytes - IPC_VALUE_HEAD),
                       (const char *)v->bytes + at + IPC_VALUE_HEAD);
}

void
dp_values_fini(struct dp_values *v)
{
    free(v->bytes);
    *v = (struct dp_values){NULL, 0, 0};
}

bool
dp_param_of_conn(enum iscsi_param p)
{
    return p == ISCSI_PARAM_HEADER_DIGEST || p == ISCSI_PARAM_DATA_DIGEST ||
           p == ISCSI_PARAM_MAX_RECV_DLENGTH || p == ISCSI_PARAM_MAX_XMIT_DLENGTH ||
           p == ISCSI_PARAM_EXP_STATSN || p == ISCSI_PARAM_PING_INTERVAL_MS ||
           p == ISCSI_PARAM_PING_TIMEOUT_MS || p == ISCSI_PARAM_ZERO_COPY ||
           p == ISCSI_PARAM_PORTAL || p == ISCSI_PARAM_OPTIONS ||
           p == ISCSI_PARAM_MAX_UNEXPECTED_PDUS;
}
