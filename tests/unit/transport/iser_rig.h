/* SPDX-License-Identifier: MIT */
/* iser_rig.h - the iSER transport between a fake RDMA device and a fake iSCSI layer. */
#ifndef TESTS_ISER_RIG_H
#define TESTS_ISER_RIG_H

#include "tests/test.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_rnic.h"

#include <netinet/in.h>

#include "transport/iser/internal.h"
#include "transport/transport.h"
#include "wire/pdu.h"

#define RIG_TASKS 16

/* A command of the fake SCSI layer. */
struct rig_cmd {
    struct scsi_cmd sc;
    struct iovec iov[8];
    struct iscsi_task *task;
    bool answered; /* its response was handed up */
    bool cleaned;  /* the transport has let go of it */
    uint32_t in_done;
};

struct rig {
    struct fake_loop fl;
    struct iscsi_session *session;
    struct iscsi_conn *conn;
    struct iscsi_endpoint *ep;
    void *chunk[RIG_TASKS / ISCSI_TASK_CHUNK];
    struct rig_cmd *cmd[RIG_TASKS]; /* by slot */
    struct iscsi_task *user;        /* for control PDUs */

    /* What was told. */
    unsigned events, failures, xmits, stopped, cleaned, pdus;
    int ep_err;
    enum iscsi_err err;
    char why[300];
    struct bhs last; /* PDU that was handed up */
    uint8_t data[ISER_DSEG_MAX];
    uint32_t data_len;
    int answer; /* of complete_pdu to what is no SCSI Response */
};

extern struct rig r;
/* The places of the device's queues, of the connections that follow; 0: as many as are wanted. */
extern uint32_t rig_sends, rig_recvs;

/* Makes session, connection and endpoint, and begins to connect.  The result of ep_connect. */
int rig_connect(bool windows, const char *options, uint32_t cmds_max);
/* The same, up to a connection that is bound (rig_bind) or in full feature phase (rig_start). */
void rig_up(bool windows, const char *options, uint32_t cmds_max);
void rig_bind(bool windows, const char *options);
void rig_start(bool windows, const char *options);
void rig_free(void);

/* A command of in and out bytes at those addresses.  alloc_pdu's result; it is sent if that is 0,
 * without a flush. */
int rig_command(struct rig_cmd *c, void *in, uint32_t in_len, void *out, uint32_t out_len);
int rig_queue(struct rig_cmd *c); /* one whose sc.in and sc.out are set */
/* A control PDU with that opcode and data; the same. */
int rig_control(uint8_t opcode, const void *data, uint32_t len);
void rig_flush(void);
/* The header of the last Send that was posted, and its Send. */
const struct iser_hdr *rig_sent(const struct rnic_wr **ret_wr);
/* A SCSI Response comes. */
void rig_answer(struct rig_cmd *c, uint32_t underflow, uint32_t invalidate);
/* A PDU without data comes. */
void rig_message(uint8_t opcode, uint32_t itt, uint32_t invalidate);

#endif
