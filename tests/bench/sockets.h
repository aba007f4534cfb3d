/* SPDX-License-Identifier: MIT */
/* tests/bench/sockets.h - the two sides of the bare sockets, whatever engine drives them. */
#ifndef TESTS_BENCH_SOCKETS_H
#define TESTS_BENCH_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "tests/bench/load.h"

#define BHS          48u /* bytes of a header */
#define HEADERS_MAX  4096u
#define STAGING      ((size_t)512 * 1024)
#define IOV_MAX_USED 1024

struct conn {
    int fd;
    bool closed, blocked, watched_out;
    uint32_t lowat;      /* as set; 0: not yet */
    size_t rx_at;        /* bytes of the unit that is coming */
    size_t tx_at;        /* bytes sent of the first unit that is due */
    uint64_t due;        /* units to be sent */
    uint64_t units;      /* received */
    uint64_t inflight;   /* client: requested, not answered */
    uint32_t oldest;     /* client: the request whose answer comes next */
    uint32_t next;       /* client: the request to be made next */
    uint32_t sending;    /* client: the request that is sent next */
    struct load_io *ios; /* client: depth of them, answered in order */
};

struct side {
    struct load *load;
    bool client;
    size_t rx_unit, tx_unit;       /* header and payload */
    size_t rx_payload, tx_payload; /* 0 one way */
    uint64_t calls;                /* system calls */
    uint32_t nconns;
    struct conn conns[LOAD_SESSIONS_MAX];
};

int list_room(const struct side *s, const struct conn *c, char *room, struct iovec v[2]);
void bytes_received(struct side *s, struct conn *c, const char *room, size_t n);
int list_due(const struct side *s, const struct conn *c, struct iovec *iov);
void bytes_sent(struct side *s, struct conn *c, size_t n);
void set_lowat(struct side *s, struct conn *c);
bool side_over(const struct side *s);

void run_uring(struct side *s); /* sockets_uring.c */

#endif
