/* SPDX-License-Identifier: MIT */
/* target/node.h - a target as initiators name it: its device, its secrets and what it negotiates.
 */
#ifndef TARGET_NODE_H
#define TARGET_NODE_H

#include "lu/device.h"
#include "target/target.h"
#include "wire/keys.h"

struct tgt_chap_secret {
    char user[256];
    uint8_t secret[256];
    size_t secret_len; /* 0: none */
};

struct tgt_node {
    struct target *target;
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

/* Makes *node, which is zeroed and stands in target->nodes, of cfg.  tgt_node_fini is due after an
 * error, too. */
int tgt_node_init(struct tgt_node *node, const struct target_node_config *cfg,
                  struct lunette_error *err);
void tgt_node_fini(struct tgt_node *node);

/* name is normalized; NULL: there is no such target. */
struct tgt_node *tgt_node_find(struct target *t, const char *name);

/* The nexus of a new session, which gives it back by lu_nexus_leave; NULL without memory. */
struct lu_nexus *tgt_node_join(struct tgt_node *node, const char *initiator, const uint8_t isid[6]);

#endif
