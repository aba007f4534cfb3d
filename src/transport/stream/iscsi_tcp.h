/* SPDX-License-Identifier: MIT */
/* transport/stream/iscsi_tcp.h - what every transport on a byte stream shares (Linux:
 * libiscsi_tcp).
 *
 * Up: bytes become PDUs (iscsi_tcp_recv); or a transport whose adapter frames them hands over whole
 * PDUs (iscsi_tcp_recv_pdu), and has no use for the rest of the parser.  Data-In goes straight into
 * the command's memory; R2Ts queue at their task.  Down: a task becomes its command PDU, the
 * unsolicited Data-Outs, and the Data-Outs of each R2T in the order they came (RFC 7143
 * 11.8).  How bytes move is the transport's: struct iscsi_tcp_ops.
 *
 * Digests are made and checked here where conn->hdrdgst_en and conn->datadgst_en say so, which they
 * never do with CAP_DIGEST_OFFLOAD; with CAP_PADDING_OFFLOAD no padding is expected.
 *
 * Installed as lunette/transport/stream.h; liblunette-transport.a has the code.
 */
#ifndef TRANSPORT_ISCSI_TCP_H
#define TRANSPORT_ISCSI_TCP_H

#include <assert.h>

#include "seam/transport.h"

#define ISCSI_TCP_R2T_MAX   16 /* R2Ts that a task holds at most: bounds MaxOutstandingR2T */
#define ISCSI_TCP_AGAIN_MAX 64 /* R2Ts for data that had been sent, of one task */

enum iscsi_tcp_rx_state {
    RX_HEADER,  /* BHS and its digest */
    RX_DATA,    /* data segment */
    RX_TRAILER, /* padding and data digest */
    RX_DEAD,    /* the connection failed: bytes are dropped */
};

/* How PDUs leave; called for Data-Outs by iscsi_tcp_xmit_data, and for the PDU of the task by the
 * transport itself.  0, or -errno: the connection has failed. */
struct iscsi_tcp_ops {
    /* Lays out the PDU whose header is at t->hdr, with count bytes of the command's out data from
     * offset on (of t->data, where the task has no command). */
    int (*init_pdu)(struct iscsi_task *t, uint32_t offset, uint32_t count);
    /* Puts the PDU that init_pdu has laid out on its way. */
    int (*xmit_pdu)(struct iscsi_task *t);
};

/* A connection's parser and what it is in the middle of; the head of the transport's dd_data. */
struct iscsi_tcp_conn {
    struct iscsi_conn *conn;
    const struct iscsi_tcp_ops *ops;
    const struct bhs *bhs; /* of the PDU under way: in what was received, or in hdr */
    enum iscsi_tcp_rx_state state;
    uint32_t hdr_have;     /* bytes of hdr */
    uint32_t data_len;     /* of the PDU under way */
    uint32_t last_data_in; /* data_len of the last Data-In */
    uint32_t data_have;
    uint8_t hdr[48 + 4]; /* BHS, header digest, where they come in pieces or their data does */
    uint8_t trailer[3 + 4];
    uint32_t trailer_len, trailer_have;
    uint32_t pad_mask;       /* 3; 0: no padding comes (CAP_PADDING_OFFLOAD) */
    uint32_t crc;            /* running data digest */
    bool drop;               /* Data-In of a task that is gone: received, kept nowhere */
    bool hold;               /* parse nothing before start_conn */
    bool odd;                /* Data-In: not the next one of its task, whose pieces others count */
    struct iscsi_task *task; /* Data-In: whose memory is being filled; NULL: control data */
    uint8_t *ctl;            /* control data that came in pieces, or NULL */
};

struct iscsi_r2t {
    struct be32 ttt;
    uint32_t offset, len; /* bytes still to send, from offset */
    uint32_t again;       /* the first of them were sent before, and are lost (RFC 7143 7.8) */
    uint32_t data_sn;
};

/* A task's part; the head of the transport's task dd_data.  Between two uses r2t_count and
 * unsol.len are 0. */
struct iscsi_tcp_task {
    struct sg_cursor in, out; /* walks along the command's memory */
    bool cmd_sent;            /* the command PDU itself has been handed over, and there was no
                                 cleanup_task since */
    uint32_t r2t_count;
    struct iscsi_r2t unsol; /* unsolicited Data-Out under way; len 0: none */
    uint32_t r2t_head, exp_r2tsn;
    uint32_t next_offset; /* where the next R2T has to start: DataSequenceInOrder=Yes */
    uint32_t asked_again; /* R2Ts for data that had been sent */
    bool any_r2tsn;       /* the next R2T is the first since the task was reassigned */
    struct iscsi_r2t r2t[ISCSI_TCP_R2T_MAX];
};

/* For a transport's create_conn.  ops is borrowed and outlives tcp. */
void iscsi_tcp_conn_init(struct iscsi_tcp_conn *tcp, struct iscsi_conn *c,
                         const struct iscsi_tcp_ops *ops);
/* Forgets a half received PDU; the state is then as after init. */
void iscsi_tcp_conn_reset(struct iscsi_tcp_conn *tcp);

/* Eats received bytes.  Returns how many: all of them, unless the PDUs that follow must wait for
 * start_conn (tcp->hold is set then) or the connection failed. */
size_t iscsi_tcp_recv(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len);

/* What else is known of a PDU that somebody else has framed. */
#define ISCSI_TCP_PLACED     1u /* a Data-In whose data lie in the command's memory already */
#define ISCSI_TCP_BAD_HEADER 2u /* its header digest was wrong */
#define ISCSI_TCP_BAD_DATA                                                                         \
    4u /* its data digest was wrong; data of a Data-In may have been placed */

/* Takes a whole PDU that somebody else has framed, as bytes would be taken by iscsi_tcp_recv, which
 * is not called on the same connection.  hdr is the BHS, which is read once, so that it may lie
 * where another process can change it.  data is the data segment without padding, data_len bytes,
 * which the header has to say, too; NULL where that is 0, or with ISCSI_TCP_PLACED.  Data of other
 * PDUs than Data-In must not change during the call.  Nothing needs to have been checked before.
 * Returns 0; ISCSI_RX_HOLD: those that follow must wait for start_conn, and tcp->hold is set until
 * the transport clears it; or < 0: the connection has failed, and those that follow are dropped. */
int iscsi_tcp_recv_pdu(struct iscsi_tcp_conn *tcp, const struct bhs *hdr, const void *data,
                       uint32_t data_len, uint32_t flags);

/* For tests, between two calls: asserts that where the fast path may begin the parser is in the
 * middle of nothing, and that memory which it fills belongs to a running task of this connection.
 */
void iscsi_tcp_check_fast(const struct iscsi_tcp_conn *tcp);

/* In the middle of a Data-In: fills iov with where the next bytes belong, so that they can be
 * received in place.  Returns iovecs (0: not in one), *ret_len bytes. */
int iscsi_tcp_map_in(struct iscsi_tcp_conn *tcp, struct iovec *iov, int max, uint32_t *ret_len);
/* len bytes arrived where iscsi_tcp_map_in said. */
void iscsi_tcp_placed(struct iscsi_tcp_conn *tcp, const struct iovec *iov, uint32_t len);

/* For a transport's init_task, before it lays out the first PDU.  Returns the bytes of data that go
 * with that. */
static inline uint32_t
iscsi_tcp_task_init(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = (struct iscsi_tcp_task *)t->dd_data;
    const struct scsi_cmd *sc = t->sc;

    TRACE(t->conn->loop, init_task, t->itt, 0);
    assert(tt->r2t_count == 0 && tt->unsol.len == 0); /* the slot's last user was cleaned up */
    tt->cmd_sent = false;
    if (sc == NULL)
        return t->data_len;
    if (sc->out.len > 0) {
        tt->out.at = SG_CURSOR_NOWHERE; /* most commands have their data in one piece: no walk */
        tt->unsol.ttt = put32(ISCSI_TAG_RSVD);
        tt->unsol.offset = t->unsol.offset;
        tt->unsol.len = t->unsol.len;
        tt->unsol.data_sn = 0;
        tt->exp_r2tsn = tt->asked_again = 0;
        tt->any_r2tsn = false;
        tt->unsol.again = 0;
        tt->next_offset = t->imm_count + t->unsol.len;
    }
    return t->imm_count;
}

/* For a transport's xmit_task: counts the PDU of the task itself, which the transport has put on
 * its way, as sent.  True where Data-Out PDUs are to follow: iscsi_tcp_xmit_data. */
static inline bool
iscsi_tcp_task_sent(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = (struct iscsi_tcp_task *)t->dd_data;

    tt->cmd_sent = true;
    t->out_done = t->imm_count;
    t->conn->stats.txdata_octets += t->sc != NULL ? t->imm_count : t->data_len;
    return tt->unsol.len > 0 || tt->r2t_count > 0;
}

/* For a transport's xmit_task: sends the Data-Out PDUs that are due.  0: all have been sent;
 * -EAGAIN: alloc_pdu has no room, to be called again after queue_xmit; else the connection has
 * failed. */
int iscsi_tcp_xmit_data(struct iscsi_task *t);

/* For a transport's reassign_task. */
void iscsi_tcp_reassign_task(struct iscsi_task *t);

/* The Data-In under way, of which the task has counted the header, does not come to its end: at
 * level 2 it counts as one that has not come, since another connection may bring it again. */
static inline void
iscsi_tcp_half_data_in(const struct iscsi_tcp_conn *tcp)
{
    if (tcp->task != NULL && !tcp->odd && tcp->conn->session->params.erl >= 2 &&
        tcp->task->in_done != ISCSI_IN_PIECES)
        tcp->task->exp_datasn--;
}

/* For a transport's cleanup_task: sees to it that nothing more is sent for the task, and that the
 * parser does not refer to it any more.  Where its Data-In is under way, the rest of that is
 * received, its digest checked, and kept nowhere.  What the transport has laid out already is the
 * transport's to wait for. */
static inline void
iscsi_tcp_cleanup_task(struct iscsi_task *t)
{
    struct iscsi_tcp_conn *tcp = (struct iscsi_tcp_conn *)t->conn->dd_data;
    struct iscsi_tcp_task *tt = (struct iscsi_tcp_task *)t->dd_data;

    if (__builtin_expect(tcp->task == t, 0)) {
        iscsi_tcp_half_data_in(tcp);
        tcp->task = NULL;
        tcp->drop = true;
        tcp->odd = false;
        tcp->last_data_in = 0; /* what is dropped is received into scratch, as much as goes in */
    }
    tt->r2t_count = 0;
    tt->unsol.len = 0;
    tt->cmd_sent = false;
}

#endif
