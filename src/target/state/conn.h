/* SPDX-License-Identifier: MIT */
/* target/state/conn.h - the structures of target/conn.h, which says what they are for. */
#ifndef TARGET_STATE_CONN_H
#define TARGET_STATE_CONN_H

#include "base/addr.h"
#include "base/list.h"
#include "base/log.h"
#include "seam/loop.h"
#include "target/bounds.h"
#include "target/state/stags.h"
#include "target/state/text.h"
#include "wire/bhs.h"
#include "wire/keys.h"
#include "wire/pdu.h"

struct lu;
struct target;
struct tgt_cmd;
struct tgt_face;
struct tgt_login;
struct tgt_session;

#define TGT_HDR_MAX (ISCSI_BHS_LEN + PDU_AHS_MAX + PDU_DIGEST_LEN)

enum tgt_conn_state {
    TGT_CONN_LOGIN,
    TGT_CONN_FFP,
    TGT_CONN_CLOSING, /* sends what is queued, then ends; receives nothing more */
    TGT_CONN_DEAD,
};

/* Whether the fence of the session waits for this connection: fence.c. */
enum tgt_fence {
    TGT_FENCE_NONE,
    TGT_FENCE_UP,   /* responses before it are still queued */
    TGT_FENCE_SENT, /* they must be acknowledged up to fence_sn */
};

struct tgt_conn_ops {
    void (*gone)(struct tgt_conn *c);   /* its face is closed; c is in state DEAD, and still a
                                           member of its session */
    void (*forget)(struct tgt_conn *c); /* it is lost, and its session does not wait for it */
};

struct tgt_conn {
    struct list link;       /* target->conns, target->dead */
    struct list sess_link;  /* session->conns, session->lost */
    struct list login_link; /* target->logins, until it is logged in */
    const struct tgt_conn_ops *ops;
    struct target *target;
    const struct tgt_face *face;
    struct sock_addr local, peer;
    struct tgt_session *sess; /* NULL until login knows it */
    struct tgt_login *login;  /* while logging in */
    enum tgt_conn_state state;
    bool rdma;     /* it came in over iSER (RFC 7145); set before its first PDU */
    bool recovers; /* it is logged out, so that its tasks can be reassigned */
    bool lost;     /* state DEAD, and its tasks wait: lost.c */
    bool asked;    /* the initiator has asked for its end, and need not be told on another one */
    uint16_t cid;
    uint32_t stat_sn;
    uint32_t exp_stat_sn; /* keep.c: all below it are acknowledged */
    bool takes_acks;      /* exp_stat_sn is kept up */
    bool held_back;       /* the fence: nothing is sent */
    enum tgt_fence fence;
    uint32_t fence_sn;
    uint32_t told_by;         /* the function of which Async event 5 was sent last */
    const struct lu *told_lu; /* ... and the unit */
    uint8_t erl;              /* of its session, in full feature phase */
    bool check_first;         /* data is taken only when its digest is known to be good */
    bool header_digest, data_digest;
    uint32_t recv_max, xmit_max; /* data segment lengths */
    struct iscsi_params params;  /* agreed on in login */
    uint64_t hook_count;         /* for the hook */
    uint64_t alive_ns;           /* when the initiator last sent, or made room for what we send */
    /* receiving: the face, and deliver.h; the PDU that is under way */
    union {
        struct bhs bhs;
        uint8_t raw[TGT_HDR_MAX];
    } h;
    struct tgt_stags stags; /* with rdma */
    uint32_t data_len, data_off;
    struct tgt_cmd *rx_cmd;  /* Data-Out for it; NULL: discarded */
    bool rx_foreign;         /* that Data-Out is of a command of another connection */
    uint32_t rx_base;        /* Buffer Offset of that PDU */
    uint32_t turn_pdus;      /* that were dealt with in this turn, and what is as much work */
    struct loop_timer again; /* flow.c: reads on in the next turn */
    bool paused;             /* flow.c: nothing is received */
    /* sending: txq.c, the face */
    struct list txq;  /* struct tgt_tx */
    struct list kept; /* struct tgt_tx: keep.c */
    uint32_t kept_count, kept_bytes;
    uint32_t ctl_count, ctl_bytes; /* control PDUs in it, and their data */
    struct loop_work flush;
    bool blocked;            /* the face takes nothing more for now */
    struct loop_timer timer; /* login time limit, then idle ping */
    bool ping_sent;
    uint64_t ping_ns; /* when */
    struct tgt_text text;
};

#endif
