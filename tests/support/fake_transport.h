/* SPDX-License-Identifier: MIT */
/* tests/support/fake_transport.h - an offload adapter: connects by itself, takes tasks whole,
 * places data itself, hands over whole PDUs, and lets go of buffers late.
 *
 * It proves that seam/transport.h carries more than byte streams.  A test plays
 * the target: it looks at what was sent and makes answers.
 */
#ifndef TESTS_FAKE_TRANSPORT_H
#define TESTS_FAKE_TRANSPORT_H

#include "seam/transport.h"

#define FAKE_SENT_MAX 4096

struct fake_sent {
    union bhs_any h;
    uint16_t cid; /* of the connection that it was sent on */
    uint8_t ahs[256];
    struct iscsi_task *task; /* may be over by now */
    uint8_t data[512];
    uint32_t data_len;
};

/* One per process: tests are single-threaded. */
extern struct fake_adapter {
    uint64_t cleanup_delay_ns; /* 0: at once */
    uint64_t ep_delay_ns;
    int ep_result;      /* 0 or -errno, */
    const char *ep_why; /* with a sentence; NULL: without */
    bool full;          /* xmit_task says -EAGAIN */
    int bind_result;    /* 0 or -errno, of bind_conn */
    bool stops;         /* stop_conn says -EINPROGRESS: the test calls conn_stopped */
    bool all_or_none;   /* of connections that start */
    bool control;       /* cleanup_delay_ns is for control PDUs, too */
    struct fake_sent sent[FAKE_SENT_MAX];
    unsigned nsent, cleanups, late_cleanups, flushes, touched_after;
    uint32_t stat_sn, exp_cmdsn, max_cmdsn;
    struct iscsi_moved moved;
    unsigned mem_adds, mem_removes; /* that went well */
    int mem_result;                 /* 0 or -errno, of mem_add, */
    uint32_t mem_sid;               /* where not 0: in that session alone */
    struct iscsi_conn *conn;        /* bound last: the one that answers come on */
    uint32_t full_cid;              /* where not 0: `full` holds for this connection alone */
} fake_adapter;

/* The adapter gathers, so that commands may take the fast path (docs/design/fast.md); for a test
 * that runs all it has once more. */
extern bool fake_gathers;
extern unsigned fake_fast; /* commands that came the fast path, ever */

/* What carries the adapter's PDUs to a target, where a test does not play the target by itself; all
 * of it is required.  fake_adapter.sent then has the last PDU only. */
struct fake_bridge {
    int (*connect)(struct iscsi_endpoint *ep, const struct sock_addr *to,
                   const struct iscsi_upcalls *up);
    int (*poll)(struct iscsi_endpoint *ep);
    void (*disconnect)(struct iscsi_endpoint *ep);
    void (*bound)(struct iscsi_conn *c, struct iscsi_endpoint *ep);
    void (*started)(struct iscsi_conn *c);
    /* s->task has the data.  fast: it came the fast path, and the iSCSI layer has counted its data.
     */
    void (*sent)(struct iscsi_conn *c, const struct fake_sent *s, bool fast);
    int (*stopped)(struct iscsi_conn *c); /* as stop_conn; of a connection in any state */
};
extern const struct fake_bridge *fake_bridge; /* NULL: there is none */

void fake_adapter_reset(void);
extern const struct iscsi_transport fake_transport;

/* Room again after `full`. */
void fake_room(void);

/* The adapter moves all data of the command in s and answers it. */
int fake_answer(const struct fake_sent *s, uint8_t status, const void *sense, uint16_t sense_len,
                uint32_t underflow);
/* Any PDU; StatSN is filled in and advanced when numbered. */
int fake_pdu(union bhs_any *h, const void *data, uint32_t len, bool numbered);
/* The last PDU sent with that opcode, or NULL. */
const struct fake_sent *fake_last(uint8_t opcode);

#endif
