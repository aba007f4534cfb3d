/* SPDX-License-Identifier: MIT */
/* tests/support/fake_adapter.h - what fake_transport.c and fake_stream.c have in common: an
 * endpoint that connects after a while, what was sent, and the numbers of what is answered. */
#ifndef TESTS_FAKE_ADAPTER_H
#define TESTS_FAKE_ADAPTER_H

#include "tests/support/fake_transport.h"

struct fake_ep {
    struct loop_timer timer;
    struct iscsi_endpoint *ep;
    const struct iscsi_upcalls *up;
    bool up_now;
    void *bridge; /* that of fake_bridge */
};

/* Of a struct iscsi_transport whose ep_size is that of struct fake_ep.  It connects after
 * fake_adapter.ep_delay_ns, with fake_adapter.ep_result. */
int fake_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                    const struct iscsi_upcalls *up, struct lunette_error *err);
int fake_ep_poll(struct iscsi_endpoint *ep);
void fake_ep_why(const struct iscsi_endpoint *ep, struct lunette_error *ret);
void fake_ep_disconnect(struct iscsi_endpoint *ep);

/* What was sent next on that connection; all but cid is for the caller to set. */
struct fake_sent *fake_sent_next(const struct iscsi_conn *c);
/* Sets StatSN, which is advanced when numbered, ExpCmdSN and MaxCmdSN. */
void fake_set_numbers(union bhs_any *h, bool numbered);

#endif
