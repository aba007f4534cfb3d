/* SPDX-License-Identifier: MIT */
/* ipc/fragment.h - the packets that messages travel in; their form is described in ipc/socket.h. */
#ifndef IPC_FRAGMENT_H
#define IPC_FRAGMENT_H

#include "ipc/socket.h"

struct ipc_fragment {
    enum ipc_lane lane;
    uint32_t len, data_len; /* of the whole message */
    uint32_t at;            /* how many bytes of both came before */
    const uint8_t *bytes;   /* count of them; borrowed from the packet */
    uint32_t count;
};

static inline void
ipc_fragment_put(uint8_t head[IPC_FRAGMENT_HEAD], const struct ipc_packet *p, uint32_t at)
{
    head[0] = (uint8_t)p->lane;
    head[1] = 0;
    head[2] = (uint8_t)p->len;
    head[3] = (uint8_t)(p->len >> 8);
    for (unsigned i = 0; i < 4; i++) {
        head[4 + i] = (uint8_t)(p->data_len >> (8 * i));
        head[8 + i] = (uint8_t)(at >> (8 * i));
    }
}

/* The most data that a message of a lane can have. */
static inline uint32_t
ipc_lane_data_max(enum ipc_lane lane)
{
    return lane == IPC_LANE_REQUESTS  ? IPC_PDU_DATA_MAX
           : lane == IPC_LANE_REPLIES ? IPC_REPLY_DATA_MAX
                                      : IPC_RECV_DATA_MAX;
}

/* Reads a packet.  Returns false where nobody would have made it, whatever came before. */
static inline bool
ipc_fragment_get(const uint8_t *p, size_t size, struct ipc_fragment *ret)
{
    struct ipc_fragment f;

    if (size <= IPC_FRAGMENT_HEAD || size > IPC_FRAGMENT_MAX || p[0] >= IPC_LANES || p[1] != 0)
        return false;
    f.lane = (enum ipc_lane)p[0];
    f.len = (uint32_t)p[2] | (uint32_t)p[3] << 8;
    f.data_len = f.at = 0;
    for (unsigned i = 0; i < 4; i++) {
        f.data_len |= (uint32_t)p[4 + i] << (8 * i);
        f.at |= (uint32_t)p[8 + i] << (8 * i);
    }
    f.bytes = p + IPC_FRAGMENT_HEAD;
    f.count = (uint32_t)size - IPC_FRAGMENT_HEAD;
    if (f.len == 0 || f.len > IPC_MSG_MAX || f.data_len > ipc_lane_data_max(f.lane) ||
        f.at >= f.len + f.data_len || f.count > f.len + f.data_len - f.at)
        return false;
    *ret = f;
    return true;
}

/* The memory of a request is that of its answer. */
static inline struct ipc_packet *
ipc_request_packet(uint32_t data_len)
{
    return ipc_packet_new(IPC_MSG_MAX +
                          (data_len > IPC_REPLY_DATA_MAX ? data_len : IPC_REPLY_DATA_MAX));
}

#endif
