/* SPDX-License-Identifier: MIT */
/* target/session.h - the target's own structures: nodes, sessions, connections, commands.
 *
 * A connection reads PDUs (rx.c), sends what its txq holds once per turn
 * (tx.c), and logs in (login.c).  A session orders what its connections receive
 * (order.c) and owns the commands (command.c, tmf.c).  Everything happens on
 * one loop; nothing here is shared but through flush.c.
 */
#ifndef TARGET_SESSION_H
#define TARGET_SESSION_H

#include "lu/buf.h"
#include "lu/lu.h"
#include "target/hook.h"
#include "target/target.h"
#include "wire/bhs.h"
#include "wire/keys.h"
#include "wire/pdu.h"
#include "wire/sn.h"
#include "wire/text.h"

#define TGT_TPGT 1

#define TGT_DATA_IN_MAX                                                                            \
    (1u << 20)                    /* data of one Data-In PDU, whatever the initiator would take    \
                                   */
#define TGT_QUEUE_DEPTH       128 /* commands that a session may have, default */
#define TGT_QUEUE_MAX         1024
#define TGT_IMMEDIATE_MAX     16 /* immediate commands that a session may have on top */
#define TGT_TMF_MAX           8  /* task management functions waiting in a session */
#define TGT_R2T_MAX           16 /* outstanding R2Ts of one command */
#define TGT_CONNS_PER_SESSION 8  /* MaxConnections, default */
#define TGT_TSIHS             65536
#define TGT_RING              256 /* PDUs on their way into the socket */
#define TGT_HASH              64
#define TGT_CTL_MAX           64   /* control PDUs waiting in one connection */
#define TGT_DRAIN_MS          2000 /* how long a reset waits for Data-Out that is under way */
#define TGT_PING_MAX          262144u

#define TGT_HDR_MAX (ISCSI_BHS_LEN + PDU_AHS_MAX + PDU_DIGEST_LEN)

struct tgt_login;

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

enum tgt_cmd_state {
    TGT_CMD_FREE,
    TGT_CMD_HELD,   /* its CmdSN has not come up yet */
    TGT_CMD_DATA,   /* waits for Data-Out */
    TGT_CMD_SERVER, /* with the device server, which may wait for a sync */
    TGT_CMD_DELAY,  /* a fault makes it wait */
    TGT_CMD_MUTE,   /* a fault makes it wait for ever */
    TGT_CMD_SEND,   /* in its connection's txq */
    TGT_CMD_DRAIN,  /* aborted; Data-Out that was asked for is still to come */
};

struct tgt_tx {
    struct list link; /* conn->txq */
    bool is_cmd;      /* else a struct tgt_ctl */
};

struct tgt_cmd {
    struct tgt_tx tx;
    struct list link; /* free list, session->held */
    struct list sess_link;
    struct tgt_cmd *hash_next;
    struct tgt_session *sess;
    struct tgt_conn *conn;
    struct tgt_tmf *drain_for; /* state DRAIN */
    enum tgt_cmd_state state;
    bool immediate, opened; /* opened: counted against the window */
    union {
        struct bhs bhs;
        struct bhs_scsi_cmd cmd;
        uint8_t raw[ISCSI_BHS_LEN];
    } h;
    uint32_t itt, edtl;
    uint8_t *early; /* data that came for a held command, owned (lu_buf_alloc) */
    uint32_t early_len;
    bool early_final; /* no more of it is to come */
    struct lu_cmd s;
    /* write side */
    uint32_t need;     /* bytes that will be taken */
    uint32_t rx_off;   /* next byte expected */
    uint32_t r2t_off;  /* next byte to ask for */
    uint32_t r2t_base; /* where the first R2T began; all but the last are MaxBurstLength long */
    uint32_t r2t_sn, r2t_done;
    uint32_t r2t_want; /* R2Ts to be sent */
    uint32_t data_sn;
    bool unsolicited; /* the burst that nobody asked for is under way */
    uint32_t ttt[TGT_R2T_MAX];
    /* read side */
    uint32_t tx_off, tx_len, tx_sn, burst_left;
    struct loop_timer timer;
    struct target *orphan_of; /* it has ended, but the device server still uses s */
};

/* A PDU that is not about data. */
struct tgt_ctl {
    struct tgt_tx tx;
    uint8_t hdr[ISCSI_BHS_LEN];
    uint8_t *data; /* owned; may be NULL */
    uint32_t len;
    bool numbered;    /* takes a StatSN */
    bool ends_login;  /* digests begin behind it */
    bool close_after; /* the connection ends when it is sent */
};

/* Task management that waits for its turn or for data of what it aborted. */
struct tgt_tmf {
    struct list link; /* session->tmfs */
    struct tgt_session *sess;
    struct tgt_conn *conn;
    struct bhs_tmf_req req;
    bool started, done; /* done: only `draining` is waited for */
    uint32_t draining;  /* commands in state DRAIN for it */
    struct loop_timer timer;
};

struct tgt_session {
    struct hnode hnode; /* target->session_by_port */
    struct list link;   /* target->sessions */
    struct target *target;
    struct tgt_node *node; /* NULL: discovery without a name */
    struct lu_nexus *nexus;
    char initiator[ISCSI_NAME_MAX + 1];
    uint8_t isid[6];
    uint16_t tsih;
    bool discovery, live;
    struct iscsi_params params; /* session-wide part */
    struct list conns;
    uint32_t conns_count;
    uint32_t exp_cmd_sn, max_cmd_sn;
    uint32_t told_max; /* MaxCmdSN that was sent last */
    uint32_t depth;
    uint32_t open;      /* non-immediate commands that count against the window */
    uint32_t immediate; /* immediate commands there are */
    struct list held;   /* by CmdSN */
    struct list cmds;   /* all, by sess_link */
    struct list tmfs;
    uint32_t tmfs_count;
    uint32_t next_ttt;
    struct tgt_cmd *hash[TGT_HASH];
};

enum tgt_conn_state {
    TGT_CONN_LOGIN,
    TGT_CONN_FFP,
    TGT_CONN_CLOSING, /* sends what is queued, then ends; receives nothing more */
    TGT_CONN_DEAD,
};

enum tgt_rx_state { TGT_RX_HEADER, TGT_RX_DATA, TGT_RX_TAIL };

struct tgt_slot {
    uint8_t hdr[ISCSI_BHS_LEN + PDU_DIGEST_LEN];
    uint8_t tail[4 + PDU_DIGEST_LEN]; /* padding, data digest */
    uint8_t small[LU_SENSE_MAX + 4];  /* sense data */
    const uint8_t *data;
    void *owned; /* chain of lu_buf_alloc memory, freed when it is sent */
    uint32_t data_len;
    uint8_t hdr_len, tail_len;
    bool digest;  /* the data digest is computed just before it leaves */
    bool corrupt; /* a fault spoils the digest */
    bool close_after;
};

/* PDUs of one connection between txq and socket; borrowed from the target while there are any. */
struct tgt_ring {
    struct list link;
    struct tgt_slot slots[TGT_RING];
    uint32_t head, count; /* slots [head, head + count) are unsent */
    size_t sent;          /* bytes of slots[head] that are gone */
    uint8_t *bounce;      /* copy of the data of a PDU that is partly sent, owned */
    uint32_t bounce_size;
};

struct tgt_text { /* a Text negotiation in full feature phase */
    bool active;
    uint32_t ttt;
    struct text_buf request, answer; /* owned */
    size_t answer_sent;
    uint32_t new_xmit_max; /* takes effect when the sequence is over; 0: none */
};

struct tgt_pace { /* see pace.c */
    struct loop_timer timer;
    uint64_t turn_ns;     /* of the last turn that brought commands */
    uint32_t gap_ns;      /* from one command to the next, smoothed */
    uint32_t exp_stat_sn; /* of the newest command */
    uint32_t commands;    /* of this turn */
    uint32_t usual;       /* commands of a turn that did not wait, smoothed, in 1/16 */
    uint32_t due;         /* commands that the initiator could send during the wait */
    uint32_t rest;        /* turns until a wait is tried again */
    bool waits, timed;    /* timed: the wait is over because of the timer */
};

struct tgt_conn {
    struct list link;      /* target->conns, target->dead */
    struct list sess_link; /* session->conns */
    struct target *target;
    struct stream *stream;
    struct sock_addr local, peer;
    struct tgt_session *sess; /* NULL until login knows it */
    struct tgt_login *login;  /* while logging in */
    enum tgt_conn_state state;
    uint16_t cid;
    uint32_t stat_sn;
    bool header_digest, data_digest;
    uint32_t recv_max, xmit_max; /* data segment lengths */
    struct iscsi_params params;  /* agreed on in login */
    char auth_user[256];         /* as whom it logged in */
    uint64_t hook_count;         /* for the hook */
    uint64_t last_rx_ns;
    /* receiving */
    enum tgt_rx_state rx;
    union {
        struct bhs bhs;
        uint8_t raw[TGT_HDR_MAX];
    } h;
    uint32_t h_have, h_need;
    uint32_t data_len, data_off;
    uint32_t crc;
    uint8_t tail[4 + PDU_DIGEST_LEN];
    uint32_t tail_have, tail_need;
    uint8_t *buf;           /* data of the PDU being received, if it goes to no command */
    struct tgt_cmd *rx_cmd; /* Data-Out for it; NULL: discarded */
    uint32_t rx_base;       /* Buffer Offset of that PDU */
    uint32_t lowat;         /* bytes that ->readable waits for */
    struct tgt_pace pace;
    /* sending */
    struct list txq;
    uint32_t ctl_count;
    struct tgt_ring *ring;
    struct loop_work flush;
    bool blocked;            /* ->writable will tell */
    struct loop_timer timer; /* login time limit, then idle ping */
    bool ping_sent, logout_asked;
    struct tgt_text text;
};

struct target {
    struct loop *loop;
    struct tgt_node *nodes;
    uint32_t nodes_count;
    struct stream *listeners[TARGET_LISTENERS_MAX];
    struct sock_addr bound[TARGET_LISTENERS_MAX];
    uint32_t listeners_count;
    struct list conns, dead, sessions, dead_sessions;
    uint32_t conns_count, sessions_count, sessions_max, conns_max;
    uint32_t login_timeout_ms, stop_timeout_ms;
    uint64_t pace_ns; /* 0: every connection is read as soon as it can be */
    struct htab session_by_port;
    uint64_t hash_seed; /* names and ISIDs are the initiators' choice */
    uint16_t next_tsih;
    uint64_t tsih_taken[TGT_TSIHS / 64]; /* a bit for each */
    struct tgt_faults faults;
    struct tgt_hook *hook; /* faults.hook, NULL: behave */
    struct list free_cmds, free_rings;
    struct list chunks; /* memory of the commands */
    struct lu_flusher *flusher;
    struct loop_work reap; /* frees dead connections */
    struct loop_timer stop_timer;
    struct loop_work stop_done;
    bool stopping, stopped;
    void (*stop_cb)(void *user);
    void *stop_user;
    struct target_stats stats;
};

/* node.c */
struct tgt_node *tgt_node_find(struct target *t, const char *name);
/* Of an initiator port. */
uint64_t tgt_port_hash(const struct target *t, const char *name, const uint8_t isid[6]);
/* The nexus of a new session; NULL without memory. */
struct lu_nexus *tgt_node_join(struct tgt_node *node, const char *initiator, const uint8_t isid[6]);
int tgt_node_init(struct tgt_node *node, const struct target_node_config *cfg,
                  struct lunette_error *err);
void tgt_node_fini(struct tgt_node *node);

/* conn.c */
void tgt_conn_new(struct target *t, struct stream *s, const struct sock_addr *peer);
/* The connection is gone; the caller must not touch its streams or queues any more, but the memory
 * stays until the end of the turn. */
void tgt_conn_kill(struct tgt_conn *c, const char *why);
void tgt_conn_log(const struct tgt_conn *c, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Full feature phase begins. */
void tgt_conn_start_ffp(struct tgt_conn *c);
void tgt_conn_ask_logout(struct tgt_conn *c, uint32_t seconds);

/* rx.c */
void tgt_conn_readable(void *user);

/* pace.c */
void tgt_pace_init(struct tgt_conn *c);
void tgt_pace_stop(struct tgt_conn *c);
/* A SCSI command has come. */
void tgt_pace_command(struct tgt_conn *c, uint32_t exp_stat_sn);
/* All that was there has been read.  Returns the bytes to wait for; when there are more than 1, a
 * timer is set that ends the wait. */
uint32_t tgt_pace_turn(struct tgt_conn *c);

/* tx.c */
void tgt_conn_writable(void *user);
void tgt_tx_flush(struct loop_work *w);
/* Queues and lets it leave at the end of the turn. */
void tgt_tx_queue(struct tgt_conn *c, struct tgt_tx *tx);
struct tgt_ctl *tgt_ctl_new(struct tgt_conn *c, uint8_t opcode, uint32_t itt);
void tgt_ctl_send(struct tgt_conn *c, struct tgt_ctl *ctl);
void tgt_tx_drop(struct tgt_conn *c);
void tgt_ring_free(struct tgt_ring *r);
/* Frees buf when everything that is in the ring now has left. */
void tgt_tx_release(struct tgt_conn *c, void *buf);

/* Puts StatSN, ExpCmdSN and MaxCmdSN where every PDU of a target has them. */
void tgt_tx_stamp(struct tgt_conn *c, struct tgt_slot *slot, bool numbered);

/* txgen.c: makes the next PDU of a command in a slot; false: nothing (more) to send now. */
bool tgt_cmd_next_pdu(struct tgt_cmd *c, struct tgt_slot *slot);

/* login.c, login_text.c: PDUs while logging in */
void tgt_login_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len);
struct tgt_login *tgt_login_new(void);
void tgt_login_free(struct tgt_login *l);

/* ffp.c: PDUs in full feature phase, complete and in good order. */
void tgt_ffp_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len);
void tgt_reject(struct tgt_conn *c, const struct bhs *h, uint32_t hdr_len, uint8_t reason);
/* NOP-In that asks for an answer; that only tells the numbers. */
void tgt_nop_ping(struct tgt_conn *c);
void tgt_nop_tell(struct tgt_conn *c);

/* A held request has its turn; takes c. */
void tgt_ffp_held(struct tgt_cmd *c);

/* text.c */
void tgt_text_pdu(struct tgt_conn *c, const struct bhs_text_req *h, const uint8_t *data,
                  uint32_t len);
void tgt_text_fini(struct tgt_conn *c);

/* order.c: CmdSN */
enum tgt_order { TGT_ORDER_NOW, TGT_ORDER_LATER, TGT_ORDER_DROP };
enum tgt_order tgt_order_check(const struct tgt_session *s, uint32_t cmd_sn);
/* CmdSN exp_cmd_sn has been taken. */
void tgt_order_advance(struct tgt_session *s);
void tgt_order_hold(struct tgt_session *s, struct tgt_cmd *c);
/* Runs what was held and has its turn now. */
void tgt_order_run(struct tgt_session *s);
/* MaxCmdSN for what is sent now. */
uint32_t tgt_order_window(struct tgt_session *s);

/* session.c */
struct tgt_session *tgt_session_find(struct target *t, const struct tgt_node *node,
                                     const char *initiator, const uint8_t isid[6]);
struct tgt_session *tgt_session_new(struct target *t, struct tgt_node *node, const char *initiator,
                                    const uint8_t isid[6]);
/* Ends it: its connections die, its tasks end silently. */
void tgt_session_kill(struct tgt_session *s, const char *why);
void tgt_session_add_conn(struct tgt_session *s, struct tgt_conn *c);
void tgt_session_del_conn(struct tgt_session *s, struct tgt_conn *c);
struct tgt_conn *tgt_session_conn(struct tgt_session *s, uint16_t cid);

/* command.c */
struct tgt_cmd *tgt_cmd_new(struct tgt_conn *conn, const struct bhs_scsi_cmd *h);
void tgt_cmd_pool_fini(struct target *t);
struct tgt_cmd *tgt_cmd_find(const struct tgt_session *s, uint32_t itt);
void tgt_cmd_free(struct tgt_cmd *c);
/* Fails a command that brings data which the session does not allow. */
void tgt_cmd_check_unsolicited(struct tgt_cmd *c, uint32_t immediate);
/* The SCSI command has its turn; data: what came with it. */
void tgt_cmd_run(struct tgt_cmd *c, const uint8_t *data, uint32_t len);
/* Takes data for Buffer Offset off; what lies beyond `need` is dropped. */
void tgt_cmd_take(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);
/* Its data is complete or it has failed: finish and answer. */
void tgt_cmd_complete(struct tgt_cmd *c);
void tgt_cmd_send(struct tgt_cmd *c);
/* What the device server asks of its router. */
extern const struct lu_router tgt_router;
/* It needs no window any more: its response is made. */
void tgt_cmd_close_window(struct tgt_cmd *c);
/* Ends it without a response.  tmf (may be NULL) waits for its Data-Out. */
void tgt_cmd_abort(struct tgt_cmd *c, struct tgt_tmf *tmf);

/* dataout.c */
/* Looks at the header in conn->h and sets rx_cmd.  False: the connection died. */
bool tgt_data_out_begin(struct tgt_conn *conn);
void tgt_data_out_sink(struct tgt_conn *conn, const uint8_t *data, uint32_t len);
void tgt_data_out_end(struct tgt_conn *conn, bool digest_ok);
/* Asks for what is missing, or completes. */
void tgt_cmd_want_data(struct tgt_cmd *c);

/* tmf.c */
void tgt_tmf_pdu(struct tgt_conn *c, const struct bhs_tmf_req *h);
void tgt_tmf_run_waiting(struct tgt_session *s);
void tgt_tmf_drained(struct tgt_tmf *t);
/* Frees a command in state DRAIN whose data will not come. */
void tgt_tmf_drained_early(struct tgt_cmd *c);
void tgt_tmf_drop(struct tgt_session *s, const struct tgt_conn *conn);
/* For the device server: a function of t's may end c, which is then gone, or not. */
bool tgt_tmf_abort(struct tgt_tmf *t, struct tgt_cmd *c);

#endif
