/* SPDX-License-Identifier: MIT */
/* target/state/node.h - the structures of target/node.h, which says what they are for. */
#ifndef TARGET_STATE_NODE_H
#define TARGET_STATE_NODE_H

#include "base/htab.h"
#include "lu/device.h"
#include "target/config.h"
#include "wire/keys.h"

struct tgt_chap_secret {
    char user[256];
    uint8_t secret[256];
    size_t secret_len; /* 0: none */
};

struct tgt_node {
    struct target *target;
    struct hnode hnode; /* target->node_by_name */
    char name[ISCSI_NAME_MAX + 1];
    char alias[256];
    struct lu_device dev;
    struct tgt_chap_secret chap, mutual;
    struct iscsi_params params; /* what we offer and hold against offers */
    char header_digests[32], data_digests[32];
    uint32_t queue_depth, nop_interval_s;
    char redirect[HOST_MAX + 16];
    bool redirect_permanent;
};

#endif
