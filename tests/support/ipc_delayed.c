/* SPDX-License-Identifier: MIT */
#include "tests/support/ipc_delayed.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/support/steady_alloc.h"

struct ipc_delayed {
    struct ipc_carrier carrier;
    struct ipc_encoded_client *client;
    struct ipc_encoded_server *server;
    uint64_t max_delay_ns;
    uint64_t last_ns[IPC_LANES]; /* a lane keeps its order */
    struct list msgs;
    unsigned requests;
    uint64_t messages, cut_at; /* cut_at 0: at none */
    bool cut, refuse_events;
};

struct msg {
    struct list node;
    struct loop_timer timer;
    struct ipc_delayed *d;
    struct ipc_packet *p;
};

/* The client sends or is handed a message.  False: it has died before. */
static bool
client_lives(struct ipc_delayed *d)
{
    if (!d->cut && d->cut_at > 0 && d->messages + 1 >= d->cut_at)
        d->cut = true;
    else if (!d->cut)
        d->messages++;
    return !d->cut;
}

static struct ipc_packet *
msg_open(struct msg *m)
{
    struct ipc_packet *p = m->p;

    loop_timer_stop(m->d->carrier.server_loop, &m->timer);
    list_del(&m->node);
    if (p->lane == IPC_LANE_REQUESTS)
        m->d->requests--;
    steady_free(m);
    return p;
}

static void
deliver(struct loop_timer *t)
{
    struct msg *m = container_of(t, struct msg, timer);
    struct ipc_delayed *d = m->d;
    struct ipc_packet *p = msg_open(m);
    struct ipc_receiver *to =
        p->lane == IPC_LANE_REQUESTS ? &d->carrier.server : &d->carrier.client;

    if (p->lane == IPC_LANE_REQUESTS || client_lives(d))
        to->take(to->user, p);
    else
        ipc_packet_drop(d->carrier.server_loop, p);
}

static int
delayed_send(struct ipc_carrier *c, struct ipc_packet *p)
{
    struct ipc_delayed *d = container_of(c, struct ipc_delayed, carrier);
    struct loop *l = c->server_loop;
    uint64_t *last = &d->last_ns[p->lane], when;
    struct msg *m;

    if (p->lane == IPC_LANE_REQUESTS && !client_lives(d))
        return -EPIPE;
    if (d->refuse_events && p->lane == IPC_LANE_EVENTS)
        return -EAGAIN;
    m = steady_calloc(1, sizeof(*m));
    m->d = d;
    m->p = p;
    loop_timer_init(&m->timer, deliver);
    list_push_back(&d->msgs, &m->node);
    if (p->lane == IPC_LANE_REQUESTS)
        d->requests++;
    /* Outside a turn the loop reads its clock only here, so the order is made from it. */
    loop_timer_start(l, &m->timer, loop_random(l) % (d->max_delay_ns + 1));
    when = m->timer.node.when_ns;
    if (when <= *last) {
        when = *last + 1;
        loop_timer_start(l, &m->timer, when - l->now_ns);
    }
    *last = when;
    return 0;
}

static const struct ipc_carrier_ops delayed_ops = {.send = delayed_send};

static void
broken(void *user, int err)
{
    (void)user;
    (void)err;
    abort(); /* both ends are ours */
}

int
ipc_delayed_new(struct loop *l, uint64_t max_delay_ns, const struct ipc_server_ops *ops,
                void *server, struct ipc_delayed **ret, struct ipc_client *ret_client)
{
    struct ipc_delayed *d = steady_calloc(1, sizeof(*d));

    d->carrier.ops = &delayed_ops;
    d->carrier.client_loop = d->carrier.server_loop = l;
    d->max_delay_ns = max_delay_ns;
    list_init(&d->msgs);
    if (ipc_encoded_client_new(&d->carrier, broken, NULL, &d->client) < 0 ||
        ipc_encoded_server_new(&d->carrier, ops, server, broken, NULL, &d->server, ret_client) <
            0) {
        ipc_encoded_client_free(d->client);
        steady_free(d);
        return -ENOMEM;
    }
    *ret = d;
    return 0;
}

void
ipc_delayed_refuse_events(struct ipc_delayed *d, bool on)
{
    d->refuse_events = on;
}

void
ipc_delayed_cut(struct ipc_delayed *d)
{
    d->cut = true;
}

void
ipc_delayed_cut_at(struct ipc_delayed *d, uint64_t more)
{
    d->cut_at = more > 0 ? d->messages + more : 0;
}

bool
ipc_delayed_is_cut(const struct ipc_delayed *d)
{
    return d->cut;
}

uint64_t
ipc_delayed_messages(const struct ipc_delayed *d)
{
    return d->messages;
}

void
ipc_delayed_free(struct ipc_delayed *d)
{
    if (d == NULL)
        return;
    while (!list_empty(&d->msgs))
        ipc_packet_drop(d->carrier.server_loop,
                        msg_open(container_of(d->msgs.next, struct msg, node)));
    ipc_encoded_client_free(d->client);
    ipc_encoded_server_free(d->server);
    steady_free(d);
}

struct ipc *
ipc_delayed_ipc(struct ipc_delayed *d)
{
    return ipc_encoded_client_ipc(d->client);
}

unsigned
ipc_delayed_requests(const struct ipc_delayed *d)
{
    return d->requests;
}
