/* SPDX-License-Identifier: MIT */
/* target/state/command.h - the structures of target/command.h, which says what they are for. */
#ifndef TARGET_STATE_COMMAND_H
#define TARGET_STATE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "lu/cmd.h"
#include "seam/loop.h"
#include "target/bounds.h"
#include "target/segment.h"
#include "target/state/stags.h"
#include "target/state/txq.h"
#include "wire/bhs.h"

struct target;
struct tgt_conn;
struct tgt_session;
struct tgt_tmf;

enum tgt_cmd_state {
    TGT_CMD_FREE,
    TGT_CMD_HELD,   /* it waits for requests with lower CmdSNs */
    TGT_CMD_DATA,   /* waits for Data-Out */
    TGT_CMD_SERVER, /* with the device server, which may wait for a sync */
    TGT_CMD_DELAY,  /* a fault makes it wait */
    TGT_CMD_MUTE,   /* a fault makes it wait for ever */
    TGT_CMD_SEND,   /* in its connection's txq */
    TGT_CMD_SENT, /* its answer is kept until it is acknowledged; it is in no list of the session */
    TGT_CMD_DRAIN, /* aborted; Data-Out that was asked for is still to come */
};

struct tgt_cmd {
    struct tgt_tx tx;
    struct list link; /* target->free_cmds, session->held */
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
    uint8_t *early;      /* data that came for a held request, rx_off bytes, owned (lu_buf_alloc) */
    uint32_t early_room; /* bytes that it has or may still need, counted against the bounds */
    struct lu_cmd s;
    /* write side */
    uint32_t need;     /* bytes that will be taken */
    uint32_t rx_off;   /* next byte expected */
    uint32_t r2t_off;  /* next byte to ask for */
    uint32_t r2t_base; /* where the first R2T began; all but the last are MaxBurstLength long */
    uint32_t r2t_sn, r2t_done;
    uint32_t r2t_want; /* R2Ts to be sent */
    uint32_t data_sn;
    bool unsolicited; /* its unsolicited data are not complete */
    uint8_t lie;      /* enum target_rdma_fault: what a fault makes of its data or its answer ... */
    uint8_t lies;     /* ... a bit for each enum tgt_rdma_step that was asked about */
    /* read side */
    uint32_t tx_off, tx_len, tx_sn, burst_left;
    /* from error recovery level 1 on */
    uint32_t ack_sn;              /* Data-In before this DataSN is acknowledged */
    uint32_t again_sn, again_end; /* Data-In that leaves once more */
    uint32_t snack_tag;           /* of the last R-Data SNACK; 0: none */
    bool ack_asked;               /* a Data-In has carried ack_ttt */
    bool recut;       /* it is cut otherwise from recut_sn on, where the initiator has changed its
                         MaxRecvDataSegmentLength */
    bool r2t_again;   /* the last R2T leaves once more */
    bool data_lost;   /* of the burst under way; the rest of it is dropped */
    bool r2t_recover; /* what was lost is to be asked for, up to the end of that burst */
    struct loop_timer timer;  /* state DELAY */
    struct target *orphan_of; /* state FREE, and the device server still uses s */
    /* Not cleared for a new command: what something above, or of the session, says to be there. */
    uint32_t ttt[TGT_R2T_MAX]; /* of R2Ts that are outstanding */
    uint32_t r2t_from;         /* where the last R2T began */
    struct tgt_seg seg;        /* how what is sent was cut, from error recovery level 1 on */
    uint32_t recut_sn, ack_ttt;
    struct tgt_stags stags; /* over RDMA */
};

#endif
