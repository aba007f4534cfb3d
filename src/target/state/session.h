/* SPDX-License-Identifier: MIT */
/* target/state/session.h - the structures of target/session.h, which says what they are for. */
#ifndef TARGET_STATE_SESSION_H
#define TARGET_STATE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/htab.h"
#include "base/list.h"
#include "seam/loop.h"
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
    struct list lost; /* struct tgt_conn by sess_link: lost.c */
    uint32_t lost_count;
    char user[256]; /* as whom all its connections log in */
    uint32_t exp_cmd_sn, max_cmd_sn;
    uint32_t told_max; /* MaxCmdSN that was sent last */
    uint32_t depth;
    uint32_t open;          /* non-immediate commands that count against the window */
    uint32_t immediate;     /* immediate commands there are */
    struct loop_timer hole; /* hole.c: while something waits for hole_sn */
    uint32_t hole_sn;
    struct list held;    /* struct tgt_cmd by link, in the order of CmdSN */
    uint32_t held_bytes; /* early_room of them */
    struct list cmds;    /* all, by sess_link */
    struct list tmfs;
    uint32_t tmfs_count;
    uint32_t fences; /* connections that the fence waits for */
    struct loop_timer fence_timer;
    void (*fence_passed)(struct tgt_session *s);
    struct tgt_tmf *fenced; /* whose response waits, or must be acknowledged; tmf.c */
    bool fence_busy;
    bool fence_ua; /* tasks have ended by somebody's reset: the first answer that tells of it is
                      fenced */
    bool (*fence_answer)(struct tgt_cmd *c); /* true: the answer waits for its turn */
    struct list fenced_cmds;                 /* struct tgt_cmd by tx.link: those */
    struct tgt_conn *fence_for;              /* whose others are waited for; never followed */
    uint32_t next_ttt;
    struct tgt_cmd *hash[TGT_HASH]; /* by ITT */
};

#endif
