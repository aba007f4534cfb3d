/* SPDX-License-Identifier: MIT */
/* tests/rdma/contract_ends.c - two ends of a connection for the tests of contract.c. */
#include "tests/rdma/contract_ends.h"

#include <netinet/in.h>
#include <sys/mman.h>

static const uint8_t request_data[4] = {0xc0, 1, 2, 3}, answer_data[4] = {0x80, 4, 5, 6};

/* What owners are told. */

static void
end_resolved(void *user)
{
    struct end *x = user;

    CHECK(!x->resolved && !x->up && x->ends == 0 && x->ep != NULL);
    x->resolved = true;
    x->calls++;
    rnic_get_caps(x->ep, &x->caps);
    if (x->close_in == CLOSE_RESOLVED)
        end_close(x);
}

static void
end_established(void *user, const void *private_data, size_t len)
{
    struct end *x = user;

    CHECK(!x->up && x->ends == 0 && x->ep != NULL && !x->disconnected);
    CHECK(len <= sizeof(x->private_data) && x->nwc == 0);
    x->up = true;
    x->calls++;
    x->private_len = len;
    if (len > 0)
        memcpy(x->private_data, private_data, len);
    if (x->close_in == CLOSE_UP)
        end_close(x);
}

static void
end_ended(void *user, int err, const char *why)
{
    struct end *x = user;

    CHECK(err < 0 && why != NULL && why[0] != '\0');
    CHECK(x->ep != NULL && !x->disconnected && ++x->ends == 1);
    x->calls++;
    x->end_err = err;
    if (x->close_in == CLOSE_END)
        end_close(x);
}

static void
end_completed(void *user, const struct rnic_wc *wc, unsigned n)
{
    struct end *x = user;

    CHECK(x->ep != NULL && n > 0 && (x->up || x->disconnected));
    CHECK(x->nwc + n <= ENDS_WCS);
    memcpy(&x->wc[x->nwc], wc, n * sizeof(*wc));
    x->nwc += n;
    x->calls++;
    for (unsigned i = 0; i < n; i++)
        CHECK(wc[i].status < RNIC_STATUS_COUNT);
    if (x->close_in == CLOSE_COMPLETED)
        end_close(x);
}

static const struct rnic_events end_events = {.resolved = end_resolved,
                                              .established = end_established,
                                              .ended = end_ended,
                                              .completed = end_completed};

static void
listener_requested(void *user, struct rnic_ep *ep, const struct sock_addr *peer,
                   const void *private_data, size_t len)
{
    struct ends *e = user;
    struct end *x = &e->server;

    CHECK(x->ep == NULL && len >= sizeof(request_data) && len <= sizeof(x->private_data));
    e->requests++;
    x->ep = ep;
    x->peer = *peer;
    x->private_len = len;
    memcpy(x->private_data, private_data, len);
    if (e->setup.close_listener) {
        rnic_close(e->listener);
        e->listener = NULL;
    }
    if (e->setup.refuse) {
        end_close(x);
        return;
    }
    rnic_set_events(ep, &end_events, x);
    rnic_get_caps(ep, &x->caps);
    end_register(x);
    if (e->setup.recvs > 0)
        end_recv(x, e->setup.recvs, 1000, ENDS_RECV);
    if (!e->setup.later)
        CHECK(rnic_accept(ep, answer_data, sizeof(answer_data), NULL) == 0);
}

static void
listener_ended(void *user, int err, const char *why)
{
    (void)user;
    (void)err;
    fprintf(stderr, "the listener has ended: %s\n", why);
    abort();
}

static const struct rnic_events listener_events = {.requested = listener_requested,
                                                   .ended = listener_ended};

/* Waiting. */

static bool
never(void *arg)
{
    (void)arg;
    return false;
}

void
ends_until(const struct rnic_contract *k, bool (*cond)(void *x), void *x)
{
    CHECK(k->run(k->user, cond, x, k->patience_ns));
}

void
ends_moment(const struct rnic_contract *k)
{
    (void)k->run(k->user, never, NULL, k->moment_ns);
}

static bool
is_resolved(void *arg)
{
    const struct end *x = arg;

    return x->resolved || x->ends > 0;
}

static bool
are_up(void *arg)
{
    const struct ends *e = arg;

    return e->client.up && e->server.up;
}

/* Connecting. */

static void
end_init(struct end *x, const struct rnic_contract *k, enum ends_close close_in)
{
    memset(x, 0, sizeof(*x));
    x->k = k;
    x->close_in = close_in;
    x->mem = mmap(NULL, ENDS_MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(x->mem != MAP_FAILED); /* most of it is never touched */
}

void
ends_listen(struct ends *e, const struct rnic_contract *k, const struct ends_setup *setup)
{
    static const struct ends_setup none;
    struct lunette_error err = {.struct_size = sizeof(err)};

    memset(e, 0, sizeof(*e));
    e->k = k;
    e->setup = setup != NULL ? *setup : none;
    if (e->setup.depth.send == 0)
        e->setup.depth = (struct rnic_depth){.send = ENDS_DEPTH, .recv = ENDS_DEPTH};
    end_init(&e->client, k, e->setup.close_client);
    end_init(&e->server, k, e->setup.close_server);
    if (rnic_listen(k->server, &k->at, &e->setup.depth, &listener_events, e, &e->listener, &e->at,
                    &err) != 0) {
        fprintf(stderr, "rnic_listen: %s\n", err.msg);
        abort();
    }
}

void
ends_resolve(struct ends *e)
{
    struct lunette_error err = {.struct_size = sizeof(err)};

    if (rnic_resolve(e->k->client, &e->at, NULL, &e->setup.depth, &end_events, &e->client,
                     &e->client.ep, &err) != 0) {
        fprintf(stderr, "rnic_resolve: %s\n", err.msg);
        abort();
    }
    CHECK(!e->client.resolved && e->client.ends == 0); /* not from inside the call */
    ends_until(e->k, is_resolved, &e->client);
}

void
ends_connect(struct ends *e)
{
    CHECK(e->client.resolved && e->client.ep != NULL);
    end_register(&e->client);
    if (e->setup.recvs > 0)
        end_recv(&e->client, e->setup.recvs, 1000, ENDS_RECV);
    CHECK(rnic_connect(e->client.ep, request_data, sizeof(request_data), NULL) == 0);
    CHECK(!e->client.up && e->client.ends == 0);
}

void
ends_open(struct ends *e, const struct rnic_contract *k, const struct ends_setup *setup)
{
    ends_listen(e, k, setup);
    ends_resolve(e);
    ends_connect(e);
    ends_until(k, are_up, e);
}

void
end_close(struct end *x)
{
    if (x->ep != NULL)
        rnic_close(x->ep);
    x->ep = NULL;
    x->mr = NULL;
}

void
end_disconnect(struct end *x)
{
    rnic_disconnect(x->ep);
    x->disconnected = true;
}

void
ends_close(struct ends *e)
{
    end_close(&e->client);
    end_close(&e->server);
    if (e->listener != NULL)
        rnic_close(e->listener);
    e->listener = NULL;
    (void)munmap(e->client.mem, ENDS_MEM);
    (void)munmap(e->server.mem, ENDS_MEM);
}

/* Requests. */

void
end_register(struct end *x)
{
    struct lunette_error err = {.struct_size = sizeof(err)};

    if (rnic_reg(x->ep, x->mem, ENDS_MEM,
                 RNIC_PEER_READS | RNIC_PEER_WRITES | (x->caps.windows ? RNIC_WINDOWS : 0u), &x->mr,
                 &err) != 0) {
        fprintf(stderr, "rnic_reg: %s\n", err.msg);
        abort();
    }
}

void
end_recv(struct end *x, unsigned n, uint64_t id, uint32_t len)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t place = (uint32_t)((id + i) % ENDS_DEPTH);
        struct rnic_recv r = {
            .id = id + i, .sge = {x->mem + ENDS_RECVS_AT + place * ENDS_RECV, len, x->mr->lkey}};

        CHECK(rnic_post_recv(x->ep, &r, 1) == 0);
    }
}

struct rnic_wr
end_wr(const struct end *x, enum rnic_op op, uint64_t id, uint32_t off, uint32_t len)
{
    struct rnic_wr wr = {.id = id, .op = op, .nsge = 1};

    wr.sge[0] = (struct rnic_sge){x->mem + off, len, x->mr->lkey};
    return wr;
}

void
end_name(struct rnic_wr *wr, const struct end *other, uint32_t off, uint32_t rkey)
{
    wr->remote_addr = (uint64_t)(uintptr_t)(other->mem + off);
    wr->rkey = rkey;
}

void
end_post(struct end *x, const struct rnic_wr *wr, unsigned n)
{
    unsigned before = x->calls;

    CHECK(rnic_post_send(x->ep, wr, n) == 0);
    CHECK(x->calls == before); /* not from inside the call */
}

const struct rnic_wc *
end_find(const struct end *x, uint64_t id, bool recv)
{
    for (unsigned i = 0; i < x->nwc; i++) {
        if (x->wc[i].id == id && x->wc[i].recv == recv)
            return &x->wc[i];
    }
    return NULL;
}

unsigned
end_count(const struct end *x, enum rnic_status status)
{
    unsigned n = 0;

    for (unsigned i = 0; i < x->nwc; i++)
        n += x->wc[i].status == status;
    return n;
}

struct wanted {
    const struct end *x;
    uint64_t id;
    bool recv;
};

static bool
is_there(void *arg)
{
    const struct wanted *w = arg;

    return end_find(w->x, w->id, w->recv) != NULL;
}

const struct rnic_wc *
end_wait(struct end *x, uint64_t id, bool recv)
{
    struct wanted w = {x, id, recv};

    ends_until(x->k, is_there, &w);
    return end_find(x, id, recv);
}

enum rnic_status
end_do(struct end *x, struct rnic_wr wr)
{
    end_post(x, &wr, 1);
    return end_wait(x, wr.id, false)->status;
}

/* Bytes that depend on where they lie and on `salt`. */
static uint8_t
byte_at(uint32_t i, unsigned salt)
{
    return (uint8_t)(i * 7 + i / 251 + salt * 31);
}

void
end_fill(struct end *x, uint32_t off, uint32_t len, unsigned salt)
{
    for (uint32_t i = 0; i < len; i++)
        x->mem[off + i] = byte_at(i, salt);
}

/* Whether mem[off...) has the bytes that end_fill makes, from its byte `from` on. */
bool
end_holds(const struct end *x, uint32_t off, uint32_t len, unsigned salt, uint32_t from)
{
    for (uint32_t i = 0; i < len; i++) {
        if (x->mem[off + i] != byte_at(from + i, salt))
            return false;
    }
    return true;
}
