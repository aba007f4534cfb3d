/* SPDX-License-Identifier: MIT */
/* seam/transport.h - what the iSCSI layer asks of a transport, and what a transport calls back.
 *
 * struct iscsi_transport has the operations of Linux's scsi_transport_iscsi.h
 * that make sense outside the kernel.  Three kinds of transport fit:
 *
 *  - stream (sw_tcp): makes PDUs of bytes, with the help of transport/stream;
 *  - whole PDUs (iser, offload class tcp): hands each PDU to complete_pdu;
 *  - self-placing (offload class pdu): takes a task in xmit_task, moves all its
 *    data by itself and hands over only the response (caps DATA_PATH_OFFLOAD).
 *
 * A transport never mentions a descriptor outside bind_conn.  Everything runs
 * on the thread of the connection's loop, and no operation blocks.  An up-call is
 * made from events of the loop, never from inside an operation, with two
 * exceptions: conn_failure at any time, and task_cleaned from inside stop_conn.
 *
 * This header is installed as lunette/transport.h, for transports in shared
 * objects.  Unlike lunette/lunette.h it makes no promise beyond its version: a
 * transport is built for one ISCSI_TRANSPORT_VERSION.
 *
 * Versions and sizes.  Every version of struct iscsi_transport and of struct
 * iscsi_upcalls begins with `version` and `size`, the bytes of the table as
 * whoever made it knew it.  The version of both rises when a structure, a
 * constant or a contract of this header changes in a way that old users do not
 * survive; tables of another version are refused.  Within a version, members
 * are only added, and only at the end of the two tables:
 *
 *  - A table of a transport that is smaller than the library's is completed
 *    with zeroes, and then judged like one that was written so: what it lacks
 *    must be optional.  Of a larger one the tail is ignored where it is all
 *    zero; else the transport needs something that the library does not have,
 *    and is refused.
 *  - A transport that was built for a newer library finds fewer up-calls than it
 *    knows: it asks ISCSI_HAS before it uses one that was added.
 */
#ifndef SEAM_TRANSPORT_H
#define SEAM_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/list.h"
#include "base/sg.h"
#include "seam/host.h"
#include "seam/loop.h"
#include "seam/watch.h"
#include "wire/bhs.h"
#include "wire/flight.h"

#define ISCSI_TRANSPORT_VERSION 6

/* True when a table that somebody else has made is large enough to have that member, and the member
 * is set. */
#define ISCSI_HAS(table, member)                                                                   \
    ((table)->size >= offsetof(__typeof__(*(table)), member) + sizeof((table)->member) &&          \
     (table)->member != 0)

/* The largest header: BHS, the AHS that we ever send (260-byte CDB and bidirectional length),
 * and a digest. */
#define ISCSI_HDR_MAX (48 + 248 + 8 + 4)

enum iscsi_caps { /* struct iscsi_transport.caps; names as in Linux */
                  CAP_RECOVERY_L0 = 1 << 0,
                  CAP_RECOVERY_L1 = 1 << 1,
                  CAP_RECOVERY_L2 = 1 << 2,
                  CAP_MULTI_R2T = 1 << 3,
                  CAP_HDRDGST = 1 << 4,
                  CAP_DATADGST = 1 << 5,
                  CAP_MULTI_CONN = 1 << 6,
                  CAP_TEXT_NEGO = 1 << 7,
                  CAP_DATA_PATH_OFFLOAD = 1 << 11, /* data PDUs never pass the iSCSI layer */
                  /* PDUs pass without digests, which the transport makes and checks where they are
                   * agreed on; and without padding.  Padding alone cannot be, since data digests
                   * cover it. */
                  CAP_DIGEST_OFFLOAD = 1 << 12,
                  CAP_PADDING_OFFLOAD = 1 << 13,
                  CAP_LOGIN_OFFLOAD = 1 << 14,
                  CAP_BIND_DESCRIPTOR =
                      1 << 15, /* bind_conn takes a connected descriptor: the control plane
                                  connects (sw_tcp); else ep_connect does */
                  /* iSER (RFC 7145): the login offers its keys, there are no digests and no
                   * MaxRecvDataSegmentLength, and no Data-In or R2T is ever seen. */
                  CAP_RDMA = 1 << 16,
};

enum iscsi_param {                            /* set_param: values travel as text, as in Linux */
                   ISCSI_PARAM_HEADER_DIGEST, /* "CRC32C" or "None" */
                   ISCSI_PARAM_DATA_DIGEST,
                   ISCSI_PARAM_MAX_RECV_DLENGTH, /* what we declared */
                   ISCSI_PARAM_MAX_XMIT_DLENGTH, /* what the target declared */
                   ISCSI_PARAM_INITIAL_R2T,      /* "Yes" or "No", from here to ERL session-wide */
                   ISCSI_PARAM_IMM_DATA,
                   ISCSI_PARAM_FIRST_BURST,
                   ISCSI_PARAM_MAX_BURST,
                   ISCSI_PARAM_MAX_R2T,
                   ISCSI_PARAM_PDU_INORDER,
                   ISCSI_PARAM_DATASEQ_INORDER,
                   ISCSI_PARAM_ERL,
                   ISCSI_PARAM_MAX_CONNECTIONS,
                   ISCSI_PARAM_DEF_TIME2WAIT,
                   ISCSI_PARAM_DEF_TIME2RETAIN,
                   ISCSI_PARAM_TASK_REPORTING,
                   ISCSI_PARAM_PROTOCOL_LEVEL,
                   ISCSI_PARAM_EXP_STATSN, /* of the connection after login */
                   ISCSI_PARAM_TARGET_NAME,
                   ISCSI_PARAM_INITIATOR_NAME,
                   ISCSI_PARAM_TPGT,
                   ISCSI_PARAM_TSIH,
                   ISCSI_PARAM_PING_INTERVAL_MS, /* idle time before a NOP-Out; 0: none */
                   ISCSI_PARAM_PING_TIMEOUT_MS,
                   ISCSI_PARAM_ABORT_TIMEOUT_MS,
                   ISCSI_PARAM_LU_RESET_TIMEOUT_MS,
                   ISCSI_PARAM_TGT_RESET_TIMEOUT_MS,
                   ISCSI_PARAM_ZERO_COPY, /* "Yes": a permission, which a transport need not use */
                   ISCSI_PARAM_ISID,      /* 12 hexadecimal digits */
                   ISCSI_PARAM_PORTAL,    /* of the connection: host:port, as it was reached */
                   ISCSI_PARAM_RECOVERY_TMO, /* seconds that a session which has lost its leading
                                                connection waits for another; 0: it fails at once,
                                                -1: it waits for ever.  A change concerns a session
                                                that waits, too, from the loss on */
                   ISCSI_PARAM_OPTIONS, /* the transport's own, of URL or record: NAME=VALUE with &
                                           between them, as "iser_stag=pool".  The iSCSI layer
                                           does not look at it */
                   ISCSI_PARAM_MAX_UNEXPECTED_PDUS, /* of the connection, what the target declared
                                                       (RFC 7145 6.7); 0: no limit */
                   ISCSI_PARAM_COUNT, /* the numbers stay: new ones come before this */
};

/* Why a connection failed; ISCSI_ERR_ as in Linux. */
enum iscsi_err {
    ISCSI_OK,
    ISCSI_ERR_CONN_CLOSED, /* the peer closed, or a socket error */
    ISCSI_ERR_BAD_OPCODE,
    ISCSI_ERR_PROTO, /* a rule of RFC 7143 was broken by the peer */
    ISCSI_ERR_BAD_ITT,
    ISCSI_ERR_DATASN,
    ISCSI_ERR_DATA_OFFSET,
    ISCSI_ERR_STATSN, /* a gap: responses were lost */
    ISCSI_ERR_DATALEN,
    ISCSI_ERR_R2TSN,
    ISCSI_ERR_HDR_DGST,
    ISCSI_ERR_DATA_DGST,
    ISCSI_ERR_NOP_TIMEDOUT,
    ISCSI_ERR_TMF_TIMEDOUT,
    ISCSI_ERR_WINDOW, /* the target keeps the command window closed */
    ISCSI_ERR_ASYNC,  /* an Async Message asked for the end of the connection, or announced it */
    ISCSI_ERR_LOCAL,  /* we ended it */
    ISCSI_ERR_MEMORY, /* there was no memory to go on */
    ISCSI_ERR_COUNT,
};

/* Bytes on their way.  Over a slow link a PDU takes longer than a ping may. */
struct iscsi_moved {
    uint64_t unread;  /* that have arrived and not been received: many at a time are received */
    uint64_t acked;   /* of ours that the target has, since bind */
    uint64_t unacked; /* of ours that it does not have yet, perhaps among them our ping */
};

#define ISCSI_RECOVERY_TMO_MAX   31536000 /* seconds: a year */
#define ISCSI_RECOVERY_TMO_NEVER (-1)

enum iscsi_stop { STOP_CONN_TERM, STOP_CONN_RECOVER };

struct iscsi_stats {
    uint64_t txdata_octets, rxdata_octets;
    uint64_t scsicmd_pdus, scsirsp_pdus, dataout_pdus, datain_pdus, r2t_pdus, noptx_pdus,
        noprx_pdus;
    uint64_t tmfcmd_pdus, tmfrsp_pdus, async_pdus, reject_pdus;
    uint64_t digest_err;
    uint64_t snack_pdus;       /* what was missing was asked for, or data acknowledged (level 1) */
    uint64_t tasks_reassigned; /* went on here, after their connection was lost (level 2) */
};

struct iscsi_transport;
struct iscsi_upcalls;
struct iscsi_conn;
struct iscsi_task;
struct dp_session_ops;

/* An adapter, as the sessions and endpoints of one loop have it in common.  It is made before the
 * first of them and ended when the last is gone.  Only transports that have create_host have hosts.
 */
struct iscsi_host {
    const struct iscsi_transport *tt;
    const struct iscsi_upcalls *up; /* of these only host_failure */
    struct loop *loop;
    void *dd_data; /* the transport's, host_size bytes */
};

/* Operational values of a session (RFC 7143 13), as agreed at login. */
struct iscsi_session_params {
    bool initial_r2t, imm_data, pdu_inorder, dataseq_inorder;
    uint32_t first_burst, max_burst; /* bytes */
    uint32_t max_r2t, erl, max_connections;
    uint32_t time2wait_s, time2retain_s;
    uint32_t protocol_level;
    bool fast_abort; /* TaskReporting=FastAbort */
};

/* The table of a session's tasks.  `made` of them exist; ISCSI_TASK_CHUNK of them lie in each
 * chunk, `bytes` apart from one to the next.  The low ISCSI_SLOT_BITS of a tag are the slot. */
#define ISCSI_TASK_CHUNK 4
#define ISCSI_SLOT_BITS  12
struct iscsi_tasks {
    void **chunk;
    uint32_t made, bytes;
};

/* The part of a session that transports see. */
struct iscsi_session {
    const struct iscsi_transport *tt;
    struct loop *loop;
    uint32_t sid;
    struct iscsi_session_params params;
    uint32_t cmds_max; /* tasks that may be outstanding */
    struct iscsi_tasks tasks;
    struct iscsi_host *host; /* NULL: its transport has none */
    void *dd_data;           /* the transport's */
    uint32_t
        bends; /* bits of enum wire_bend (wire/bend.h): what the target has shown after login */
};

/* Room for headers in what a transport gathers for its next flush; empty for one that does not
 * gather.  While ISCSI_GATHER_MIN bytes are left, a command all of whose data goes with it may take
 * the fast path, without alloc_pdu, init_task and xmit_task: the iSCSI layer puts a header of 48
 * bytes at `next` and, where there is data, calls xmit_fast.  For a command that sends nothing but
 * its header it adds the header digest, if there is one, and moves `next` behind it by itself; the
 * transport has not set anything in that task's dd_data then.
 * `end` is NULL while everything that was gathered has been sent.  cleanup_task is left out for a
 * task that took the fast path and is ended by its own answer (complete_data_in,
 * complete_scsi_rsp), if it sent no data, or if its data has left, which `end` NULL says.  A task
 * that ends in any other way always gets cleanup_task. */
struct iscsi_gather {
    uint8_t *next, *end;
};
#define ISCSI_GATHER_MIN (ISCSI_HDR_MAX + 8)

/* Whoever wants to see each PDU of a connection as it is on the wire, while conn->tap is set.  A
 * stream transport calls both on the connection's loop, in the order of the bytes; what is passed
 * is borrowed for the call.  They must not touch the connection.  It is NULL on nearly all
 * connections, and whoever sets it leaves the fast path of what is received. */
struct iscsi_tap {
    /* A PDU begins: hdr_len bytes at hdr are BHS, AHS and header digest.  `rest` bytes follow,
     * data, padding and data digest, unless the connection ends before they do. */
    void (*begin)(void *user, struct iscsi_conn *c, bool tx, const void *hdr, uint32_t hdr_len,
                  uint32_t rest);
    /* The next len bytes of those. */
    void (*more)(void *user, struct iscsi_conn *c, bool tx, const void *data, uint32_t len);
    void *user;
};

/* The part of a connection that transports see. */
struct iscsi_conn {
    struct iscsi_session *session;
    const struct iscsi_transport *tt;
    const struct iscsi_upcalls *up;
    struct loop *loop;
    uint16_t cid;
    /* Digests that go with PDUs as they pass between the iSCSI layer and the transport, from full
     * feature phase on; and those that the transport makes and checks by itself, below that. */
    bool hdrdgst_en, datadgst_en;
    bool hdrdgst_offload, datadgst_offload;
    bool zero_copy;            /* payload may be lent to the system (ISCSI_PARAM_ZERO_COPY) */
    bool failed;               /* what is received from now on is dropped */
    uint32_t max_recv_dlength; /* bytes; 8192 until start_conn (RFC 7143 6.3) */
    uint32_t max_xmit_dlength;
    /* Bytes of data that xmit_fast takes at most.  A transport lowers it in start_conn where it
     * needs cleanup_task even after all data has left. */
    uint32_t fast_write_limit;
    /* Unsolicited data is the whole of a write, as immediate data, or there is none of it.  A
     * transport sets it where it cannot send a write in part (RFC 7145 9.2 leaves open what the
     * base offset of such a one means). */
    bool all_or_none;
    uint32_t exp_statsn; /* next StatSN expected: goes into every PDU sent */
    struct iscsi_gather gather;
    uint64_t last_recv_ns; /* loop clock; the transport stamps it as bytes arrive */
    struct iscsi_stats stats;
    void *dd_data; /* the transport's, conn_size bytes */
    /* Commands that are timed and all of which is with the transport; NULL: there is none.  Where
     * there is one when the transport has given everything to the system, other than from inside
     * xmit_flush, it calls io_watch_sent (seam/watch.h).  After xmit_flush the iSCSI layer looks
     * whether gather.end is NULL. */
    struct io_watch *sending;
    /* For those who look on. */
    const struct iscsi_tap *tap;
    /* A transport that can records each header there; NULL: nobody wants them, as of an idle
     * connection, or there is no memory for them.  It may come and go between two PDUs. */
    struct flight *flight;
};

enum iscsi_task_state {
    ISCSI_TASK_FREE,
    ISCSI_TASK_PENDING,    /* on the cmdqueue or mgmtqueue, no CmdSN yet */
    ISCSI_TASK_RUNNING,    /* handed to the transport */
    ISCSI_TASK_COMPLETED,  /* result known, waiting for cleanup_task to end */
    ISCSI_TASK_UNASSIGNED, /* a command whose connection has ended: it waits for a verdict */
};

/* Data that the initiator may send without being asked (RFC 7143 4.2.5.2). */
struct iscsi_unsolicited {
    uint32_t offset, len; /* within the command's out data; len 0: none */
};

/* For in_done of a task: its data come in pieces, since some were lost or broken, and the iSCSI
 * layer counts them (odd_data_in).  Its exp_datasn is one more than the largest DataSN that the
 * target is known to have used. */
#define ISCSI_IN_PIECES UINT32_MAX

/* The part of a task that transports see.  What every SCSI command uses comes first: with many of
 * them outstanding each cache line of a task is a miss. */
struct iscsi_task {
    struct iscsi_conn *conn;
    struct scsi_cmd *sc; /* NULL: a control PDU */
    struct bhs *hdr;     /* header memory from alloc_pdu: BHS, then AHS */
    void *dd_data;       /* the transport's, task_size bytes */
    uint32_t itt;        /* in host order; put32 of it goes on the wire */
    enum iscsi_task_state state;
    uint32_t exp_datasn; /* Data-In PDUs (bidirectional: and R2Ts) seen; the transport counts */
    uint32_t in_done;    /* bytes of in that the transport has placed, from 0 without a hole; or
                            ISCSI_IN_PIECES */
    uint32_t out_done;   /* bytes of out that the transport has sent; not counted with
                            CAP_DATA_PATH_OFFLOAD */
    uint32_t imm_count;  /* immediate data: first bytes of out, bytes */
    struct iscsi_unsolicited unsol;
    uint64_t moved_ns; /* loop clock when it last made progress */
    struct list node;  /* the queue that it is on; the iSCSI layer's */
    uint32_t cmd_sn;
    uint16_t hdr_max; /* bytes at hdr */
    uint16_t hdr_len; /* BHS and AHS, bytes */
    const void *data; /* control PDU: its data segment, lives until the task ends */
    uint32_t data_len;
    bool quiet; /* xmit_task begins no Data-Out PDU: what is due is sent when it is called with this
                   cleared (RFC 7143 4.2.3.4) */
};

static inline struct iscsi_task *
iscsi_task_in(const struct iscsi_tasks *all, uint32_t slot)
{
    return (struct iscsi_task *)(void *)((char *)all->chunk[slot / ISCSI_TASK_CHUNK] +
                                         (size_t)(slot % ISCSI_TASK_CHUNK) * all->bytes);
}

/* The running task of a tag that came from the target.  NULL: the tag is unknown, its task is free
 * or over, or it belongs to another connection (RFC 7143 4.2.5.1, 4.2.5.3). */
static inline struct iscsi_task *
iscsi_task_of(const struct iscsi_conn *c, struct be32 itt)
{
    const struct iscsi_tasks *all = &c->session->tasks;
    uint32_t tag = get32(itt), slot = tag & ((1u << ISCSI_SLOT_BITS) - 1);
    struct iscsi_task *t;

    if (__builtin_expect(slot >= all->made, 0))
        return NULL;
    t = iscsi_task_in(all, slot);
    return __builtin_expect(t->itt == tag && t->state == ISCSI_TASK_RUNNING && t->conn == c, 1)
               ? t
               : NULL;
}

/* With all_or_none: all that the command writes goes with it.  It has no header segments then (its
 * CDB is short, and it does not read as well), since a target's receives have room for a header
 * without them and MaxRecvDataSegmentLength, and real ones for no more. */
static inline bool
iscsi_is_immediate(const struct iscsi_conn *c, const struct scsi_cmd *sc)
{
    const struct iscsi_session_params *p = &c->session->params;

    return p->imm_data && sc->out.len <= p->first_burst && sc->out.len <= c->max_xmit_dlength &&
           sc->out.len > 0 && sc->in.len == 0 && sc->cdb_len <= 16;
}

/* An endpoint of a transport that connects by itself. */
struct iscsi_endpoint {
    const struct iscsi_transport *tt;
    struct iscsi_host *host; /* NULL: its transport has none */
    struct loop *loop;
    uint64_t id;
    void *dd_data;
    struct sock_addr source; /* the local address that it has to use, without a port; len 0: any */
    /* Those that ISCSI_PARAM_OPTIONS will tell the connection, where they must be known before it
     * is made; NULL: none.  Borrowed until ep_connect returns. */
    const char *options;
};

#define ISCSI_RX_HOLD 1

/* What becomes of a PDU that does not continue where the last one ended. */
enum iscsi_odd {
    ISCSI_ODD_FAIL, /* it breaks a rule: the connection fails */
    ISCSI_ODD_TAKE,
    ISCSI_ODD_DROP, /* it has come before, or brings nothing that can be used: received, kept
                       nowhere */
};

/* The first four bytes of the two answers that only say that all went well.  A SCSI Response has
 * the final bit alone, response 0 (completed at target) and status GOOD.  A Data-In has the final
 * and status bits alone and status GOOD; its third byte is reserved and masked out. */
#define ISCSI_FAST_RSP ((uint32_t)ISCSI_OP_SCSI_RSP << 24 | ISCSI_FLAG_FINAL << 16)
#define ISCSI_FAST_DATA_IN                                                                         \
    ((uint32_t)ISCSI_OP_DATA_IN << 24 | (ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS) << 16)
#define ISCSI_FAST_DATA_IN_MASK 0xffff00ffu

/* What a transport calls, on the thread of the connection's or endpoint's loop.  The table is the
 * library's and lives as long as the connection or endpoint; headers and data that are passed are
 * the transport's and borrowed for the call.  Connections have all up-calls but ep_event and
 * host_failure, endpoints only the first of these and hosts only the second. */
struct iscsi_upcalls {
    uint32_t version; /* ISCSI_TRANSPORT_VERSION */
    size_t size;      /* bytes of the table */
    /* Tells whether the task of that tag is over, and PDUs for it may still be under way, which the
     * transport drops with their data: task management has ended it (RFC 7143 4.2.3.3), or some
     * were asked for again. */
    bool (*itt_ended)(struct iscsi_conn *c, struct be32 itt);
    /* Hands up a PDU with its header and data_len bytes of data, both borrowed for the call.  A
     * Data-In with status comes with data NULL, after its data has been placed.  A Data-In without
     * status and an R2T do not come here, since stream transports consume them.  Returns 0; or
     * ISCSI_RX_HOLD: the transport keeps what follows unparsed until start_conn, since digests
     * begin there (RFC 7143 13.1); or < 0: the connection has failed. */
    int (*complete_pdu)(struct iscsi_conn *c, const struct bhs *hdr, const void *data,
                        uint32_t data_len);
    /* These two do the same for the PDUs that most of the stream consists of: a Data-In that begins
     * with ISCSI_FAST_DATA_IN, where t is the running SCSI task of its tag and all that it reads
     * has been placed; and a SCSI Response without data that begins with ISCSI_FAST_RSP.  Where
     * they set c->failed, the transport parses nothing that follows. */
    void (*complete_data_in)(struct iscsi_task *t, const struct bhs_data_in *h);
    void (*complete_scsi_rsp)(struct iscsi_conn *c, const struct bhs_scsi_rsp *h);
    /* Takes ExpCmdSN and MaxCmdSN of a PDU that does not go to complete_pdu (RFC 7143 4.2.2.1). */
    void (*update_cmdsn)(struct iscsi_conn *c, struct be32 exp_cmdsn, struct be32 max_cmdsn);
    /* The connection is lost; why is a sentence.  May be called more than once, also from inside
     * an operation; only the first counts. */
    void (*conn_failure)(struct iscsi_conn *c, enum iscsi_err err, const char *why);
    /* The task has more to send (an R2T came): xmit_task will be called again. */
    void (*requeue_task)(struct iscsi_task *t);
    /* There is room again after alloc_pdu, gather_room or xmit_task had returned -EAGAIN; once for
     * any number of them.  The iSCSI layer sends later, not from inside. */
    void (*queue_xmit)(struct iscsi_conn *c);
    /* cleanup_task, which had returned -EINPROGRESS, has ended: task and memory are the iSCSI
     * layer's again, which may use the task for another command before this returns. */
    void (*task_cleaned)(struct iscsi_task *t);
    /* stop_conn, which had returned -EINPROGRESS, has ended: the last up-call for c until it is
     * bound again. */
    void (*conn_stopped)(struct iscsi_conn *c);
    /* An endpoint came up (0) or failed (-errno); once for each ep_connect that returned 0. */
    void (*ep_event)(struct iscsi_endpoint *ep, int err);
    /* The other four are called from ErrorRecoveryLevel 1 on, by transports that have
     * CAP_RECOVERY_L1, which ask ISCSI_HAS.
     * A Data-In of the running SCSI task is not the next one, or asks for an acknowledgement (A
     * bit, RFC 7143 11.7.2); its offset and length lie in the task's buffer.  TAKE: the transport
     * places its data at its offset and calls data_in_came, and leaves exp_datasn and in_done
     * alone. */
    enum iscsi_odd (*odd_data_in)(struct iscsi_task *t, const struct bhs_data_in *h);
    /* The data of a PDU for which odd_data_in has said TAKE is placed, and its digest was right.
     * Called before complete_pdu or update_cmdsn. */
    void (*data_in_came)(struct iscsi_task *t, const struct bhs_data_in *h);
    /* An R2T of the running SCSI task, whose next one is expected to have number exp_r2tsn, has
     * another number. */
    enum iscsi_odd (*odd_r2t)(struct iscsi_task *t, const struct bhs_r2t *h, uint32_t exp_r2tsn);
    /* The data digest of a PDU is wrong, its header is as it was sent, as far as is known; t is the
     * task of a Data-In whose data were being placed, else NULL.  True: it is asked for again, and
     * the transport drops it.  False: the connection fails. */
    bool (*bad_data_digest)(struct iscsi_conn *c, struct iscsi_task *t, const struct bhs *hdr);
    /* The adapter was reset, or is gone: every connection of its sessions on this loop that is
     * bound is lost, as by conn_failure.  The host stays, and what its sessions have is let go of
     * as ever, by stop_conn and cleanup_task, which take their time (-EINPROGRESS) as long as the
     * adapter may still touch memory.  Endpoints that are not bound, and sessions that are the
     * transport's own (session_ops), are the transport's to tell of.  From events of the loop only.
     */
    void (*host_failure)(struct iscsi_host *h, enum iscsi_err err, const char *why);
};

/* A transport.  The first four operations are required, unless it has session_ops, the others may
 * be NULL where that is said. Called are those of endpoints by the data plane, which serves the
 * control plane's requests, and all others by the iSCSI layer.  All return 0 or -errno unless they
 * say otherwise.  Those with an err describe a failure there for a person (lunette_fail); err may
 * be NULL.  Strings and addresses that are passed are borrowed for the call. */
struct iscsi_transport {
    uint32_t version;          /* ISCSI_TRANSPORT_VERSION */
    size_t size;               /* bytes of the table */
    const char *name;          /* as in transport=NAME of a URL: 1..31 bytes */
    uint32_t caps;             /* of enum iscsi_caps */
    uint32_t max_recv_dlength; /* the largest MaxRecvDataSegmentLength worth declaring, bytes */
    /* Bytes of the transport's part of each, dd_data: zeroed, suited for any type, and alive as
     * long as what it belongs to. */
    size_t session_size, conn_size, task_size, ep_size;

    /* The connection is to use eph: a descriptor, which is the transport's on success, or the id of
     * an endpoint that is up, then ep is that endpoint; else ep is NULL.  leading: the session's
     * first connection.  A connection that has been stopped may be bound again. */
    int (*bind_conn)(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                     struct lunette_error *err);
    /* Lets go of descriptor or endpoint and of all output that is queued: nothing is sent or
     * received any more, no up-call is made but task_cleaned and conn_stopped, and every
     * cleanup_task under way ends (task_cleaned may be called from inside).  It is called in any
     * state, and a second call is harmless.  0, or -EINPROGRESS and conn_stopped.  Tasks that were
     * with the transport get their cleanup_task afterwards. */
    int (*stop_conn)(struct iscsi_conn *c, enum iscsi_stop how);
    /* Sends the PDU of the task, whose header is at t->hdr, and unsolicited data behind it; when it
     * is called again, after requeue_task, the data that R2Ts ask for.  The task, its header and
     * its data are the transport's to read until cleanup_task, or until it ends without one
     * (struct iscsi_gather).  0: done for now; -EAGAIN: is to be
     * called again after queue_xmit; else the connection has failed, and conn_failure was called.
     */
    int (*xmit_task)(struct iscsi_task *t);
    /* The task is over or given up, in whatever state it is: the answer may not have come, its
     * Data-In may be half received, R2Ts may wait, its data may be half sent.  Called once for each
     * use of the task that needs it (struct iscsi_gather says when it does not).
     * 0: it has ended; -EINPROGRESS: it ends with task_cleaned, never from inside cleanup_task,
     * since bytes have not been sent, or the kernel, an RDMA engine or another process still has
     * the memory.  After it has ended, nothing in the transport refers to the task or to its
     * memory, neither what receives nor what sends: the task may be used for another command, on
     * another connection, and its memory for anything.  What the target still sends for its tag is
     * received and dropped. */
    int (*cleanup_task)(struct iscsi_task *t);

    /* Endpoints: NULL where caps say CAP_BIND_DESCRIPTOR, else required.  ep_connect starts, and
     * ep_event follows later where it has returned 0.  ep_poll: 1 up, 0 not yet, -errno.
     * ep_disconnect: in any state, once, and after stop_conn of the connection bound to it; nothing
     * arrives afterwards. */
    int (*ep_connect)(struct iscsi_endpoint *ep, const struct sock_addr *to,
                      const struct iscsi_upcalls *up, struct lunette_error *err);
    int (*ep_poll)(struct iscsi_endpoint *ep);
    void (*ep_disconnect)(struct iscsi_endpoint *ep);

    /* Life of sessions and connections; each may be NULL.  What create_* has begun, destroy_* ends;
     * it is not called after a create_* that failed. */
    int (*create_session)(struct iscsi_session *s, struct lunette_error *err);
    void (*destroy_session)(struct iscsi_session *s);
    int (*create_conn)(struct iscsi_conn *c, struct lunette_error *err);
    void (*destroy_conn)(struct iscsi_conn *c);
    /* Full feature phase begins: digests and lengths in *c are final.  May be NULL. */
    int (*start_conn)(struct iscsi_conn *c, struct lunette_error *err);
    /* Tells of a value that the iSCSI layer has checked and kept.  The transport may refuse one
     * that it cannot work with, and the control plane's request fails.  At any time between
     * create_conn and destroy_conn, mostly between bind_conn and start_conn.  May be NULL. */
    int (*set_param)(struct iscsi_conn *c, enum iscsi_param p, const char *value,
                     struct lunette_error *err);

    /* Header memory for a PDU of this task and opcode (enum iscsi_opcode): sets t->hdr and
     * t->hdr_max, which is ISCSI_HDR_MAX less the digest or more.  The memory is the transport's;
     * the iSCSI layer writes to it before init_task, which follows at once.  -EAGAIN: full,
     * queue_xmit follows, and nothing has changed; else the connection has failed.  NULL: the iSCSI
     * layer has memory of its own in the task. */
    int (*alloc_pdu)(struct iscsi_task *t, uint8_t opcode);
    /* The header at t->hdr is complete, and CmdSN is about to be used: prepares the PDU of the
     * task, and xmit_task follows at once.  0; else the connection has failed: there is no -EAGAIN,
     * since alloc_pdu has promised the room.  May be NULL. */
    int (*init_task)(struct iscsi_task *t);
    /* The xmitworker has nothing more: what was gathered leaves now, together.  May be NULL. */
    void (*xmit_flush)(struct iscsi_conn *c);
    /* Makes room in conn->gather, sending what is there if it must.  0, or -EAGAIN: full,
     * queue_xmit follows, or -errno.  NULL where conn->gather is never set. */
    int (*gather_room)(struct iscsi_conn *c);
    /* Lays out a command all of whose data goes with it, the header of which is at
     * conn->gather.next, and moves next behind what it has put there.  Returns 0, always.  NULL
     * where conn->gather is never set. */
    int (*xmit_fast)(struct iscsi_task *t);
    /* Recovery of the session was given up: its commands fail from now on, and what the transport
     * keeps for its return may go.  May be NULL. */
    void (*session_recovery_timedout)(struct iscsi_session *s);
    /* Adds what the transport counts by itself.  May be NULL. */
    void (*get_stats)(struct iscsi_conn *c, struct iscsi_stats *stats);
    /* Tells what moves below the PDUs that conn->last_recv_ns shows, when the iSCSI layer is about
     * to doubt that the target lives.  NULL: nothing does. */
    void (*get_moved)(struct iscsi_conn *c, struct iscsi_moved *ret);
    /* Tells both ends' addresses of a connection that is bound; neither pointer is NULL.  May be
     * NULL. */
    int (*get_names)(struct iscsi_conn *c, struct sock_addr *ret_local, struct sock_addr *ret_peer);
    /* Bytes that the connection has been given and has not sent: a session of several connections
     * gives a command to the one that has the least.  NULL: the transport does not count them. */
    uint64_t (*unsent)(const struct iscsi_conn *c);
    /* The task, whose connection had ended and for which cleanup_task was called, goes on with
     * t->conn from now on: its command was sent, and t->exp_datasn and t->in_done say what of its
     * data has come.  What is asked for of its out data from now on may have been sent before, and
     * the first R2T may have any number (RFC 7143 7.2.2).  With CAP_RECOVERY_L2; may be NULL. */
    void (*reassign_task)(struct iscsi_task *t);
    /* Tells whether sessions can be made here and now, by this process on this machine: 0; or
     * -errno, as -ENODEV without a device, and a sentence that says what is missing and what to do.
     * Called at any time, also before all others and when there are sessions; it changes nothing.
     * NULL: they can. */
    int (*usable)(struct lunette_error *err);
    /* Life of hosts; both or neither.  A create_host that fails fails what needed the host, and
     * destroy_host is not called after it. */
    size_t host_size;
    int (*create_host)(struct iscsi_host *h, struct lunette_error *err);
    void (*destroy_host)(struct iscsi_host *h);
    /* The transport runs its sessions by itself (seam/session.h): each has a struct scsi_host of
     * its own, and of the operations above only those of endpoints and hosts and usable are called.
     * NULL: sessions are the iSCSI layer's.  CAP_LOGIN_OFFLOAD needs it. */
    const struct dp_session_ops *session_ops;
    uint64_t max_transfer; /* bytes of one command at most; 0: what the iSCSI layer can do */
    /* Memory that the application will use for many commands (lunette_register), to be made ready
     * for the device once; both or neither.  It is known to a session from mem_add to mem_remove,
     * whatever becomes of its connections, and lives longer.  A command's memory may be in it or
     * not.  Ranges have any address and length, overlap none of the session's, and are 64 at most.
     * mem_add comes at any time from create_session on, mostly right behind it; 0, or -errno, and
     * then commands of that memory go as any others, and no mem_remove comes.  mem_remove comes at
     * any time, also in a session that is ending, when no command uses the memory: when it returns,
     * no device has it any more, whatever the state of connections.  What a session knows when
     * destroy_session is called is not removed before.  Not with session_ops. */
    int (*mem_add)(struct iscsi_session *s, void *addr, size_t len, struct lunette_error *err);
    void (*mem_remove)(struct iscsi_session *s, void *addr, size_t len);
    /* Writes what carries a connection that is bound to buf, in a few words for a person, as
     * "rxe0, memory windows", of at most size - 1 bytes and a NUL.  May be NULL. */
    void (*describe)(const struct iscsi_conn *c, char *buf, size_t size);
    /* Says why an endpoint did not come up, of which ep_poll returns -errno: a sentence for a
     * person, with the same code.  NULL: the errno says all. */
    void (*ep_why)(const struct iscsi_endpoint *ep, struct lunette_error *ret);
};

/* What a shared object exports, once:
 *     ISCSI_TRANSPORT_EXPORT const struct iscsi_transport lunette_transport = {
 *         .version = ISCSI_TRANSPORT_VERSION, .size = sizeof(struct iscsi_transport), ...
 */
#define ISCSI_TRANSPORT_EXPORT __attribute__((visibility("default")))
#define ISCSI_TRANSPORT_SYMBOL "lunette_transport"

#endif
