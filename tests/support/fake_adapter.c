/* SPDX-License-Identifier: MIT */
#include "tests/support/fake_adapter.h"

#include <assert.h>

#include "wire/pdu.h"

struct fake_adapter fake_adapter;
const struct fake_bridge *fake_bridge;

static void
fake_ep_ready(struct loop_timer *t)
{
    struct fake_ep *e = container_of(t, struct fake_ep, timer);

    e->up_now = fake_adapter.ep_result == 0;
    e->up->ep_event(e->ep, fake_adapter.ep_result);
}

int
fake_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                const struct iscsi_upcalls *up, struct lunette_error *err)
{
    struct fake_ep *e = ep->dd_data;

    (void)err;
    e->ep = ep;
    e->up = up;
    if (fake_bridge != NULL)
        return fake_bridge->connect(ep, to, up);
    loop_timer_init(&e->timer, fake_ep_ready);
    loop_timer_start(ep->loop, &e->timer, fake_adapter.ep_delay_ns);
    return 0;
}

int
fake_ep_poll(struct iscsi_endpoint *ep)
{
    return fake_bridge != NULL ? fake_bridge->poll(ep) : ((struct fake_ep *)ep->dd_data)->up_now;
}

void
fake_ep_why(const struct iscsi_endpoint *ep, struct lunette_error *ret)
{
    (void)ep;
    if (fake_adapter.ep_why != NULL)
        (void)lunette_fail(ret, fake_adapter.ep_result, LUNETTE_DOM_OS, 0, "%s",
                           fake_adapter.ep_why);
}

void
fake_ep_disconnect(struct iscsi_endpoint *ep)
{
    if (fake_bridge != NULL)
        fake_bridge->disconnect(ep);
    else
        loop_timer_stop(ep->loop, &((struct fake_ep *)ep->dd_data)->timer);
}

struct fake_sent *
fake_sent_next(const struct iscsi_conn *c)
{
    struct fake_sent *s = &fake_adapter.sent[fake_adapter.nsent];

    assert(fake_adapter.nsent < FAKE_SENT_MAX);
    fake_adapter.nsent++;
    s->cid = c->cid;
    return s;
}

void
fake_set_numbers(union bhs_any *h, bool numbered)
{
    h->nop_in.stat_sn = put32(fake_adapter.stat_sn);
    h->nop_in.exp_cmd_sn = put32(fake_adapter.exp_cmdsn);
    h->nop_in.max_cmd_sn = put32(fake_adapter.max_cmdsn);
    if (numbered)
        fake_adapter.stat_sn++;
}

const struct fake_sent *
fake_last(uint8_t opcode)
{
    for (unsigned i = fake_adapter.nsent; i > 0; i--) {
        if (pdu_opcode(&fake_adapter.sent[i - 1].h.h) == opcode)
            return &fake_adapter.sent[i - 1];
    }
    return NULL;
}
