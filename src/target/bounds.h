/* SPDX-License-Identifier: MIT */
/* target/bounds.h - the limits of the target, and defaults of what it offers to initiators. */
#ifndef TARGET_BOUNDS_H
#define TARGET_BOUNDS_H

#define TGT_TPGT 1 /* the one portal group */

#define TGT_DATA_IN_MAX       (1u << 20) /* bytes of one Data-In PDU, if the initiator takes them */
#define TGT_QUEUE_DEPTH       128        /* commands that a session may have, default */
#define TGT_QUEUE_MAX         1024
#define TGT_IMMEDIATE_MAX     16 /* immediate commands that a session may have on top */
#define TGT_TMF_MAX           8  /* task management functions waiting in a session */
#define TGT_R2T_MAX           16 /* outstanding R2Ts of one command */
#define TGT_LOST_MAX          8  /* lost connections of a session whose tasks wait */
#define TGT_CONNS_PER_SESSION 8  /* MaxConnections, default */
#define TGT_TSIHS             65536
#define TGT_UNEXPECTED_MAX    16           /* MaxOutstandingUnexpectedPDUs that can be declared */
#define TGT_RDMA_DSEG_MAX     8192         /* bytes of the data of a PDU over iSER, either way */
#define TGT_RING              256          /* PDUs on their way into the socket */
#define TGT_HASH              64           /* chains of a session's table of commands */
#define TGT_CTL_MAX           64           /* control PDUs waiting in one connection that is read */
#define TGT_CTL_BYTES         (512u << 10) /* bytes of data in them */
#define TGT_RX_PDUS           1024  /* PDUs of one connection that are dealt with in one turn */
#define TGT_RX_TEXT           512u  /* bytes of a text that are as much work as a PDU */
#define TGT_TEXT_MAX          8192u /* bytes of a text request */
#define TGT_HELD_MAX                                                                               \
    (TGT_TEXT_MAX + 1) /* bytes of data kept with a request that is not a                          \
                        * SCSI command and waits for its turn: a text that                         \
                        * is too long stays so, and pings may come back                            \
                        * shorter than they went (11.19) */
/* Data of SCSI commands that wait for their turn; what would be more ends with BUSY. */
#define TGT_HELD_BYTES (16u << 20) /* of one session */
#define TGT_HELD_ALL   (32u << 20) /* of all sessions together */
/* Responses kept until an ExpStatSN acknowledges them; more ends a connection. */
#define TGT_KEPT_MAX   4096        /* of one connection */
#define TGT_KEPT_BYTES (4u << 20)  /* of data with them */
#define TGT_KEPT_ALL   (32u << 20) /* of all connections together ... */
#define TGT_KEPT_FAIR  (64u << 10) /* ... except those that have no more than this */
#define TGT_LOGINS_MAX 1024        /* connections that are not logged in; the oldest makes room */
#define TGT_DRAIN_MS   2000        /* how long a reset waits for Data-Out that is under way */

#endif
