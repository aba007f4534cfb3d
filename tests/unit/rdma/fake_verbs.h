/* SPDX-License-Identifier: MIT */
/* tests/unit/rdma/fake_verbs.h - stands in for libibverbs and librdmacm: one device, and a test
 * that decides what it does and when.
 *
 * It holds its caller to what the libraries want and what would hang or corrupt there: things are
 * destroyed in the right order and only once, all events are acknowledged before, nothing is posted
 * beyond the size of a queue, no completion queue overflows. */
#ifndef TESTS_FAKE_VERBS_H
#define TESTS_FAKE_VERBS_H

#include "tests/test.h"

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>

#define FAKE_QUEUE 512

struct fake_qp {
    struct ibv_qp qp; /* its first member: what rdma_cm_id.qp points to */
    struct rdma_cm_id *id;
    struct ibv_cq *cq;
    uint32_t max_send, max_recv;
    bool error; /* in the error state */
    /* Posted and not complete, and for sends, quiet ones that are done and hold their place. */
    struct ibv_send_wr send[FAKE_QUEUE];
    struct ibv_sge send_sge[FAKE_QUEUE][2];
    struct ibv_recv_wr recv[FAKE_QUEUE];
    struct ibv_sge recv_sge[FAKE_QUEUE];
    uint32_t send_head, send_tail, recv_head, recv_tail, send_held;
};

struct fake_verbs {
    /* What the device and the libraries do. */
    bool no_device, no_driver;
    int channel_errno; /* of rdma_create_event_channel; 0: it works */
    struct ibv_device_attr attr;
    int resize_errno, modify_errno, reg_errno, post_errno;
    unsigned post_bad; /* with post_errno: how many of a call are posted all the same */
    bool poll_broken;
    unsigned fail_at; /* the how many-th call that makes something fails with ENOMEM; 0: none */
    bool cq_exact;    /* completion queues are not larger than asked for */
    void (*before_arm)(void); /* called once, just before a queue is armed */
    int first_cqe;            /* != 0: what the first completion queue is limited to */

    /* What has been done. */
    unsigned made; /* calls that make something */
    unsigned channels, ids, pds, qps, cqs, comp_channels, mrs, mws;
    unsigned resizes, notifies, polls, cq_events, cq_acks, ack_calls, rejects, disconnects,
        connects, accepts, told_up, fork_inits, resolves;
    int listening; /* backlog */
    struct rdma_conn_param param;
    uint8_t private_data[64];
    struct rdma_cm_id *id; /* the last one that was made */
};

extern struct fake_verbs fake;

/* All as new; nothing may be left. */
void fake_verbs_reset(void);
void fake_verbs_nothing_left(void);

/* Has an event of a connection come. */
void fake_cm(struct rdma_cm_id *id, enum rdma_cm_event_type event, int status, const void *data,
             uint8_t len);
/* A request to connect, from 192.0.2.9:700; its id. */
struct rdma_cm_id *fake_cm_request(struct rdma_cm_id *listener, const void *data, uint8_t len);

struct fake_qp *fake_qp_of(struct rdma_cm_id *id);
/* Requests that are posted and not done. */
uint32_t fake_sends(const struct fake_qp *q);
uint32_t fake_recvs(const struct fake_qp *q);
/* The n-th of them. */
const struct ibv_send_wr *fake_send(const struct fake_qp *q, uint32_t n);
/* The oldest is done.  A quiet one that goes well makes no completion. */
void fake_send_done(struct fake_qp *q, enum ibv_wc_status status);
void fake_recv_done(struct fake_qp *q, enum ibv_wc_status status, uint32_t len, unsigned flags,
                    uint32_t rkey);
/* A completion that nobody has asked for. */
void fake_stray(struct ibv_cq *cq, uint64_t wr_id);

#endif
