/* SPDX-License-Identifier: MIT */
/* tests/rdma/contract_ends.h - two ends of a connection for the tests of contract.c, which do what
 * owners do and write down what they are told. */
#ifndef TESTS_RDMA_CONTRACT_ENDS_H
#define TESTS_RDMA_CONTRACT_ENDS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rdma/contract.h"

#define ENDS_MEM   (256u * 1024) /* bytes that each end has registered */
#define ENDS_DEPTH 16            /* where a test does not say otherwise */
#define ENDS_WCS   1024          /* completions that are written down */

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum ends_close { CLOSE_NEVER, CLOSE_RESOLVED, CLOSE_UP, CLOSE_END, CLOSE_COMPLETED };

struct end {
    const struct rnic_contract *k;
    struct rnic_ep *ep; /* NULL: closed */
    uint8_t *mem;
    struct rnic_mr *mr; /* of all of mem, open for everything */
    struct rnic_caps caps;
    struct sock_addr peer; /* of a request */
    uint8_t private_data[512];
    size_t private_len;
    struct rnic_wc wc[ENDS_WCS];
    unsigned nwc;
    int end_err;
    unsigned ends, calls;
    bool resolved, up, disconnected;
    enum ends_close close_in;
};

/* What is to be different in a connection. */
struct ends_setup {
    struct rnic_depth depth; /* of both; 0: ENDS_DEPTH */
    unsigned recvs;          /* of 8 KiB that each end has posted before the connection is up */
    bool refuse, later;      /* the listener closes the endpoint; it leaves it alone for now */
    bool close_listener;     /* in `requested` */
    enum ends_close close_client, close_server;
};

struct ends {
    const struct rnic_contract *k;
    struct ends_setup setup;
    struct rnic_ep *listener;
    struct sock_addr at;
    struct end client, server;
    unsigned requests;
};

/* Where the receive with that number lies in an end's memory, and how long it is. */
#define ENDS_RECV     8192u
#define ENDS_RECVS_AT (ENDS_MEM / 2)

void ends_listen(struct ends *e, const struct rnic_contract *k, const struct ends_setup *setup);
/* Begins to connect to the listener. */
void ends_resolve(struct ends *e);
void ends_connect(struct ends *e);
/* All of it, until both are up. */
void ends_open(struct ends *e, const struct rnic_contract *k, const struct ends_setup *setup);
void ends_close(struct ends *e);

void end_close(struct end *x);
void end_disconnect(struct end *x);
/* Registers the memory of an end whose endpoint is there. */
void end_register(struct end *x);
void end_recv(struct end *x, unsigned n, uint64_t id, uint32_t len);
/* A request whose one piece is mem[off, off + len). */
struct rnic_wr end_wr(const struct end *x, enum rnic_op op, uint64_t id, uint32_t off,
                      uint32_t len);
void end_post(struct end *x, const struct rnic_wr *wr, unsigned n);
/* Names mem[off...) of the other end in a WRITE or READ. */
void end_name(struct rnic_wr *wr, const struct end *other, uint32_t off, uint32_t rkey);

/* Waits until one completion of that id is there, and returns it. */
const struct rnic_wc *end_wait(struct end *x, uint64_t id, bool recv);
const struct rnic_wc *end_find(const struct end *x, uint64_t id, bool recv);
unsigned end_count(const struct end *x, enum rnic_status status);
/* Posts one request and waits for its status. */
enum rnic_status end_do(struct end *x, struct rnic_wr wr);

/* Until cond(x), which must come true. */
void ends_until(const struct rnic_contract *k, bool (*cond)(void *x), void *x);
/* What must not happen has time to. */
void ends_moment(const struct rnic_contract *k);
void end_fill(struct end *x, uint32_t off, uint32_t len, unsigned salt);
bool end_holds(const struct end *x, uint32_t off, uint32_t len, unsigned salt, uint32_t from);

#endif
