/* SPDX-License-Identifier: MIT */
/* target/session.h - sessions: found by initiator port, with their connections and their numbers.
 *
 * A session comes into being with the last Login Response of its first
 * connection and ends with its last one (leave.c).  It owns its commands
 * (command.c), orders them (order.c), and its task management (tmf.c).
 */
#ifndef TARGET_SESSION_H
#define TARGET_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/htab.h"
#include "base/list.h"
#include "target/bounds.h"
#include "wire/keys.h"

struct lu_nexus;
struct target;
struct tgt_cmd;
struct tgt_conn;
struct tgt_node;

struct tgt_session {
    struct hnode hnode; /* target->session_by_port */
    struct list link;   /* target->sessions, target->dead_sessions */
    struct target *target;
    struct tgt_node *node;  /* NULL: discovery without a name */
    struct lu_nexus *nexus; /* NULL: discovery */
    char initiator[ISCSI_NAME_MAX + 1];
    uint8_t isid[6];
    uint16_t tsih;
    bool discovery, live;
    struct iscsi_params params; /* session-wide part */
    struct list conns;          /* struct tgt_conn by sess_link */
    uint32_t conns_count;
    uint32_t exp_cmd_sn, max_cmd_sn;
    uint32_t told_max; /* MaxCmdSN that was sent last */
    uint32_t depth;
    uint32_t open;      /* non-immediate commands that count against the window */
    uint32_t immediate; /* immediate commands there are */
    struct list held;   /* struct tgt_cmd by link, in the order of CmdSN */
    struct list cmds;   /* all, by sess_link */
    struct list tmfs;
    uint32_t tmfs_count;
    uint32_t next_ttt;
    struct tgt_cmd *hash[TGT_HASH]; /* by ITT */
};

/* node may be NULL.  NULL: there is no such session. */
struct tgt_session *tgt_session_find(struct target *t, const struct tgt_node *node,
                                     const char *initiator, const uint8_t isid[6]);

/* A session without connections; the caller adds one or calls tgt_session_end.  NULL without
 * memory. */
struct tgt_session *tgt_session_new(struct target *t, struct tgt_node *node, const char *initiator,
                                    const uint8_t isid[6]);

/* Its connections die, and with the last one it ends. */
void tgt_session_kill(struct tgt_session *s, const char *why);

/* Nothing is left in it: it is found no more.  Its memory stays until the end of the turn. */
void tgt_session_end(struct tgt_session *s);

void tgt_session_add_conn(struct tgt_session *s, struct tgt_conn *c);
/* By its CID; NULL: none. */
struct tgt_conn *tgt_session_conn(struct tgt_session *s, uint16_t cid);

/* A Target Transfer Tag that is not the reserved one. */
uint32_t tgt_session_ttt(struct tgt_session *s);

#endif
