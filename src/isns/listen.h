/* SPDX-License-Identifier: MIT */
/* isns/listen.h - where the server tells of changes (SCN) and asks whether we live (ESI).  Internal
 * to isns/; loop's thread. */
#ifndef ISNS_LISTEN_H
#define ISNS_LISTEN_H

#include "isns/message.h"
#include "seam/loop.h"

#define ISNS_LISTEN_CONNS 8
#define ISNS_LISTEN_MAX   (64u << 10) /* bytes of a message that is told here */

struct isns_listener {
    struct loop *loop;
    void (*changed)(struct isns_listener *n);
    struct stream *stream;   /* NULL: it does not listen */
    struct sock_addr bound;  /* where it does */
    struct sock_addr server; /* only this host may connect */
    struct list conns;
    unsigned nconns;
};

void isns_listener_init(struct isns_listener *n, struct loop *l,
                        void (*changed)(struct isns_listener *n));
/* Listens at a free port of the address of `at`; listening there already is success. */
int isns_listener_open(struct isns_listener *n, const struct sock_addr *at,
                       const struct sock_addr *server, struct lunette_error *err);
void isns_listener_close(struct isns_listener *n);
uint16_t isns_listener_port(const struct isns_listener *n);

#endif
