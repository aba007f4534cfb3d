/* SPDX-License-Identifier: MIT */
/* target/node.h - a target as initiators name it: its device, its secrets and what it negotiates.
 */
#ifndef TARGET_NODE_H
#define TARGET_NODE_H

#include "base/err.h"
#include "target/state/node.h"

/* Makes *node, which is zeroed and an element of target->nodes, from cfg.  Returns 0, or -errno
 * with err; the caller calls tgt_node_fini in both cases. */
int tgt_node_init(struct tgt_node *node, const struct target_node_config *cfg,
                  struct lunette_error *err);
/* Sends every login to another portal from now on; to NULL: none.  0 or -EINVAL with err. */
int tgt_node_redirect(struct tgt_node *node, const char *to, bool permanent,
                      struct lunette_error *err);
void tgt_node_fini(struct tgt_node *node);

/* name is normalized; NULL: there is no such target. */
struct tgt_node *tgt_node_find(struct target *t, const char *name);

/* Returns the nexus for a new session, which gives it back by lu_nexus_leave; NULL without memory.
 */
struct lu_nexus *tgt_node_join(struct tgt_node *node, const char *initiator, const uint8_t isid[6]);

#endif
