/* SPDX-License-Identifier: MIT */
/* target/command.h - a request that lives longer than its PDU: a SCSI command, or any request that
 * waits for the turn of its CmdSN.
 *
 * Here is the life of one, from tgt_cmd_new to tgt_cmd_free.  exec.c runs SCSI
 * commands, dataout.c receives for them, txgen.c sends for them.
 */
#ifndef TARGET_COMMAND_H
#define TARGET_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "lu/cmd.h"
#include "seam/loop.h"
#include "target/bounds.h"
#include "target/txq.h"
#include "wire/bhs.h"

struct target;
struct tgt_conn;
struct tgt_session;
struct tgt_tmf;

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
    struct loop_timer timer;  /* state DELAY */
    struct target *orphan_of; /* state FREE, and the device server still uses s */
};

/* Of a request in conn's session, in state DATA; NULL without memory.  h: its header, of any kind.
 */
struct tgt_cmd *tgt_cmd_new(struct tgt_conn *conn, const struct bhs_scsi_cmd *h);

/* By ITT; NULL: none. */
struct tgt_cmd *tgt_cmd_find(const struct tgt_session *s, uint32_t itt);

/* Out of everything, without a response. */
void tgt_cmd_free(struct tgt_cmd *c);

/* The device server no longer uses a command that was freed. */
void tgt_cmd_released(struct tgt_cmd *c);

/* It needs no room in the window any more: its response is made. */
void tgt_cmd_close_window(struct tgt_cmd *c);

/* Ends a SCSI command without a response.  tmf (may be NULL) waits for its Data-Out: then it stays
 * in state DRAIN as long as there is some under way. */
void tgt_cmd_abort(struct tgt_cmd *c, struct tgt_tmf *tmf);

/* It has something to send: state SEND. */
void tgt_cmd_queue(struct tgt_cmd *c);

/* For the end of the target. */
void tgt_cmd_pool_fini(struct target *t);

#endif
