/* SPDX-License-Identifier: MIT */
/* isns/call.h - one message to a server, and its answer.  Internal to isns/; loop's thread. */
#ifndef ISNS_CALL_H
#define ISNS_CALL_H

#include "isns/isns.h"

/* Embedded in its owner; at most one message is under way. */
struct isns_call {
    struct loop *loop;
    const struct isns_config *cfg;
    /* Writes the message; local is this end's address of the connection.  Returns 0 or -errno, and
     * then the call ends with *err. */
    int (*write)(struct isns_call *c, const struct sock_addr *local, struct isns_out *o,
                 struct lunette_error *err);
    /* in is the answer, NULL where there is none; where the server has refused, both are given. */
    void (*done)(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err);

    struct resolve *resolving;
    struct sock_addr addr[LOOP_RESOLVE_MAX];
    int naddr, iaddr;
    struct stream *stream;
    struct loop_timer limit;
    struct loop_timer next; /* runs while another address waits for its turn */
    struct isns_out out;
    size_t sent;
    struct isns_in in;
    uint16_t xid;
    struct lunette_error err;
};

void isns_call_init(struct isns_call *c, struct loop *l, const struct isns_config *cfg);
/* Starts a message whose write and done are set. */
int isns_call_start(struct isns_call *c, struct lunette_error *err);
/* Ends what is under way; done is not called. */
void isns_call_stop(struct isns_call *c);

/* Writes a registration of the initiator with a portal, which is `at` with that port; listening:
 * the server may send SCN and ESI there. */
void isns_put_registration(struct isns_out *o, uint16_t xid, const char *source,
                           const struct sock_addr *at, uint16_t port, bool listening);
/* The write of a message that deregisters the initiator. */
int isns_write_deregistration(struct isns_call *c, const struct sock_addr *local,
                              struct isns_out *o, struct lunette_error *err);

#endif
