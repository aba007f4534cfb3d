/* SPDX-License-Identifier: MIT */
#include "tests/unit/target/fake_rnic.h"

#include "tests/test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define SENDS_MAX   512u
#define RECVS_MAX   2048u
#define REGIONS_MAX 8u
#define PRIVATE_PAD 196 /* what is carried, whatever was given */
#define BATCH       7u  /* completions of one callback */

void *(*fake_alloc)(size_t size) = malloc;

struct fake_region {
    struct rnic_mr mr;
    uint8_t *addr;
    size_t len;
    bool used;
};

struct fake_ep {
    struct rnic_ep ep;
    struct fake_rnic *rnic;
    const struct rnic_events *ev;
    void *user;
    struct rnic_depth depth;
    enum fake_state state;
    struct loop_work work;
    bool asked, told, hold, leaves;
    enum rnic_status fail;
    uint8_t priv[RNIC_PRIVATE_MAX], answer;
    size_t priv_len;
    struct fake_region regions[REGIONS_MAX];
    struct rnic_wr sends[SENDS_MAX]; /* posted, in order */
    uint32_t sends_count;
    uint32_t quiet; /* places that done quiet requests still hold */
    struct rnic_recv recvs[RECVS_MAX];
    uint32_t recvs_count;
    struct fake_message in[FAKE_MESSAGES], out[FAKE_MESSAGES];
    unsigned in_count, out_count;
    struct fake_key keys[FAKE_KEYS];
    unsigned reads_most;
    uint32_t next_key;
};

static struct fake_ep *
fake_of(struct rnic_ep *ep)
{
    return container_of(ep, struct fake_ep, ep);
}

static struct fake_rnic *
rnic_of(struct loop *l)
{
    return l->rnic_state;
}

static void
put_message(struct fake_message *list, unsigned *count, const void *bytes, uint32_t len,
            uint32_t invalidate)
{
    struct fake_message *m = &list[(*count)++];

    assert_true(*count <= FAKE_MESSAGES);
    *m = (struct fake_message){.bytes = fake_alloc(len + 1), .len = len, .invalidate = invalidate};
    assert_non_null(m->bytes);
    memcpy(m->bytes, bytes, len);
}

static void
take_first(struct fake_message *list, unsigned *count)
{
    memmove(list, list + 1, --*count * sizeof(*list));
}

/* ---- What is posted, carried out ------------------------------------------------------------ */

static bool
registered(const struct fake_ep *e, const struct rnic_sge *s)
{
    for (unsigned i = 0; i < REGIONS_MAX; i++) {
        const struct fake_region *r = &e->regions[i];
        const uint8_t *p = s->addr;

        if (r->used && r->mr.lkey == s->lkey && p >= r->addr && s->len <= r->len &&
            (size_t)(p - r->addr) <= r->len - s->len)
            return true;
    }
    return false;
}

static uint8_t *
opened(struct fake_ep *e, const struct rnic_wr *wr, unsigned access)
{
    for (unsigned i = 0; i < FAKE_KEYS; i++) {
        const struct fake_key *k = &e->keys[i];
        uint64_t off = wr->remote_addr - (uintptr_t)k->addr;

        if (k->open && k->rkey == wr->rkey && (k->access & access) && wr->sge[0].len <= k->len &&
            off <= k->len - wr->sge[0].len)
            return k->addr + off;
    }
    return NULL;
}

static enum rnic_status
invalidate(struct fake_ep *e, uint32_t rkey)
{
    for (unsigned i = 0; i < FAKE_KEYS && rkey != 0; i++) {
        if (e->keys[i].open && e->keys[i].rkey == rkey && e->keys[i].window) {
            e->keys[i].open = false;
            return RNIC_OK;
        }
    }
    return rkey == 0 ? RNIC_OK : RNIC_REMOTE_ERROR;
}

static enum rnic_status
carry_out(struct fake_ep *e, const struct rnic_wr *wr)
{
    enum rnic_status fail = e->fail;
    uint8_t *there;

    e->fail = RNIC_OK;
    if (fail != RNIC_OK)
        return fail;
    assert_int_equal(wr->nsge, 1);
    switch (wr->op) {
    case RNIC_SEND:
        put_message(e->out, &e->out_count, wr->sge[0].addr, wr->sge[0].len, wr->invalidate);
        return invalidate(e, wr->invalidate);
    case RNIC_WRITE:
        there = opened(e, wr, RNIC_PEER_WRITES);
        if (there == NULL)
            return RNIC_REMOTE_ACCESS;
        memcpy(there, wr->sge[0].addr, wr->sge[0].len);
        return RNIC_OK;
    case RNIC_READ:
        there = opened(e, wr, RNIC_PEER_READS);
        if (there == NULL)
            return RNIC_REMOTE_ACCESS;
        memcpy(wr->sge[0].addr, there, wr->sge[0].len);
        return RNIC_OK;
    case RNIC_BIND:
    case RNIC_INVALIDATE:
        break;
    }
    fail_msg("a target neither binds windows nor invalidates any");
    return RNIC_LOCAL_ERROR;
}

static void
complete(struct fake_ep *e, struct rnic_wc *wc, unsigned *n)
{
    unsigned count = *n;

    *n = 0;
    if (count > 0 && e->state != FAKE_GONE)
        e->ev->completed(e->user, wc, count);
}

/* Messages that have a receive. */
static void
pour(struct fake_ep *e, struct rnic_wc *wc, unsigned *n)
{
    while (e->state == FAKE_UP && e->in_count > 0 && e->recvs_count > 0) {
        struct rnic_recv r = e->recvs[0];
        struct fake_message m = e->in[0];

        take_first(e->in, &e->in_count);
        memmove(e->recvs, e->recvs + 1, --e->recvs_count * sizeof(r));
        wc[*n] = (struct rnic_wc){.id = r.id, .recv = true, .len = m.len};
        if (m.len > r.sge.len) {
            wc[*n].status = RNIC_TOO_LONG;
            e->state = FAKE_BROKEN;
        } else {
            memcpy(r.sge.addr, m.bytes, m.len);
        }
        free(m.bytes);
        if (++*n == BATCH || e->state == FAKE_BROKEN)
            complete(e, wc, n);
    }
}

static void
perform(struct fake_ep *e, unsigned max)
{
    struct rnic_wc wc[BATCH];
    unsigned n = 0;

    for (unsigned i = 0; i < max && e->state == FAKE_UP && e->sends_count > 0; i++) {
        struct rnic_wr wr = e->sends[0];
        enum rnic_status status = carry_out(e, &wr);

        memmove(e->sends, e->sends + 1, --e->sends_count * sizeof(wr));
        if (status != RNIC_OK)
            e->state = FAKE_BROKEN;
        if (status == RNIC_OK && wr.quiet) {
            e->quiet++;
            continue;
        }
        e->quiet = 0;
        wc[n++] = (struct rnic_wc){.id = wr.id, .status = status};
        if (n == BATCH || e->state == FAKE_BROKEN)
            complete(e, wc, &n);
    }
    complete(e, wc, &n);
    pour(e, wc, &n);
    complete(e, wc, &n);
}

static void
fake_work(struct loop_work *w)
{
    struct fake_ep *e = container_of(w, struct fake_ep, work);
    struct sock_addr peer = {.len = sizeof(struct sockaddr_in)};
    uint8_t padded[PRIVATE_PAD] = {0};

    if (!e->asked) {
        e->asked = true;
        ((struct sockaddr_in *)(void *)&peer.ss)->sin_family = AF_INET;
        memcpy(padded, e->priv, e->priv_len);
        e->rnic->listener->ev->requested(e->rnic->listener->user, &e->ep, &peer, padded,
                                         e->priv_len == 0 ? 0 : sizeof(padded));
        return;
    }
    if (e->state == FAKE_UP && !e->told) {
        e->told = true;
        e->ev->established(e->user, NULL, 0);
    }
    if (e->leaves) {
        e->leaves = false;
        e->ev->ended(e->user, -ECONNRESET, "the initiator has left");
        return;
    }
    perform(e, e->hold ? 0 : UINT32_MAX);
}

static void
later(struct fake_ep *e)
{
    if (e->state == FAKE_UP || e->state == FAKE_ASKED)
        loop_defer(e->rnic->loop, &e->work);
}

/* ---- The operations ------------------------------------------------------------------------- */

static struct fake_ep *
fake_ep_new(struct fake_rnic *r)
{
    struct fake_ep *e = fake_alloc(sizeof(*e));

    assert_non_null(e);
    memset(e, 0, sizeof(*e));
    e->rnic = r;
    e->ep.ops = r->loop->rnic;
    e->ep.loop = r->loop;
    e->next_key = 100;
    loop_work_init(&e->work, fake_work);
    r->eps++;
    return e;
}

static int
op_listen(struct loop *l, const struct sock_addr *at, const struct rnic_depth *depth,
          const struct rnic_events *ev, void *user, struct rnic_ep **ret,
          struct sock_addr *ret_bound, struct lunette_error *err)
{
    struct fake_rnic *r = rnic_of(l);

    if (r->no_device)
        return lunette_fail(err, -ENODEV, LUNETTE_DOM_OS, ENODEV,
                            "this machine has no RDMA device");
    assert_null(r->listener);
    r->listener = fake_ep_new(r);
    r->listener->ev = ev;
    r->listener->user = user;
    r->listener->depth = *depth;
    *ret = &r->listener->ep;
    *ret_bound = *at;
    return 0;
}

static int
op_accept(struct rnic_ep *ep, const void *private_data, size_t len, struct lunette_error *err)
{
    struct fake_ep *e = fake_of(ep);

    (void)err;
    assert_int_equal(e->state, FAKE_ASKED);
    assert_true(len > 0);
    e->answer = *(const uint8_t *)private_data;
    e->state = FAKE_UP;
    later(e);
    return 0;
}

static void
op_set_events(struct rnic_ep *ep, const struct rnic_events *ev, void *user)
{
    fake_of(ep)->ev = ev;
    fake_of(ep)->user = user;
}

static void
op_disconnect(struct rnic_ep *ep)
{
    (void)ep;
    fail_msg("rnic_close is all that the target needs");
}

static void
op_close(struct rnic_ep *ep)
{
    struct fake_ep *e = fake_of(ep);

    assert_true(e->state != FAKE_GONE && e->state != FAKE_REFUSED);
    e->state = e->state == FAKE_ASKED ? FAKE_REFUSED : FAKE_GONE;
    loop_defer_cancel(&e->work);
    e->sends_count = e->recvs_count = 0;
    for (unsigned i = 0; i < REGIONS_MAX; i++)
        e->rnic->locked -= e->regions[i].used ? e->regions[i].len : 0;
    memset(e->regions, 0, sizeof(e->regions));
    e->rnic->eps--;
    if (e != e->rnic->listener)
        return;
    e->rnic->listener = NULL;
    free(e);
}

static void
op_caps(const struct rnic_ep *ep, struct rnic_caps *ret)
{
    (void)ep;
    *ret = (struct rnic_caps){.windows = true, .max_region = 1u << 30, .device = "fake0"};
}

static int
op_names(const struct rnic_ep *ep, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    (void)ep;
    *ret_local = *ret_peer = (struct sock_addr){.len = sizeof(struct sockaddr_in)};
    ((struct sockaddr_in *)(void *)&ret_local->ss)->sin_family = AF_INET;
    ((struct sockaddr_in *)(void *)&ret_local->ss)->sin_addr.s_addr = htonl(0x0a000001);
    ((struct sockaddr_in *)(void *)&ret_local->ss)->sin_port = htons(3260);
    ((struct sockaddr_in *)(void *)&ret_peer->ss)->sin_family = AF_INET;
    return 0;
}

static int
op_reg(struct rnic_ep *ep, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
       struct lunette_error *err)
{
    struct fake_ep *e = fake_of(ep);
    unsigned i = 0;

    assert_int_equal(access, 0); /* nothing of the target is open to an initiator */
    if (e->rnic->memlock != 0 && e->rnic->locked + len > e->rnic->memlock)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "%zu bytes cannot be locked: the limit is %llu", len,
                            (unsigned long long)e->rnic->memlock);
    while (i < REGIONS_MAX && e->regions[i].used)
        i++;
    assert_true(i < REGIONS_MAX);
    e->regions[i] = (struct fake_region){.addr = addr, .len = len, .used = true};
    e->regions[i].mr.lkey = e->regions[i].mr.rkey = e->next_key++;
    e->rnic->locked += len;
    *ret = &e->regions[i].mr;
    return 0;
}

static int
op_post_send(struct rnic_ep *ep, const struct rnic_wr *wr, unsigned n)
{
    struct fake_ep *e = fake_of(ep);
    unsigned reads = 0;

    assert_true(e->told);
    if (e->sends_count + e->quiet + n > e->depth.send)
        return -EAGAIN;
    for (unsigned i = 0; i < n; i++) {
        assert_true(registered(e, &wr[i].sge[0]));
        e->sends[e->sends_count++] = wr[i];
    }
    reads = fake_reads_posted(e);
    if (reads > e->reads_most)
        e->reads_most = reads;
    later(e);
    return 0;
}

static int
op_post_recv(struct rnic_ep *ep, const struct rnic_recv *r, unsigned n)
{
    struct fake_ep *e = fake_of(ep);

    if (e->recvs_count + n > e->depth.recv)
        return -EAGAIN;
    for (unsigned i = 0; i < n; i++) {
        assert_true(registered(e, &r[i].sge));
        e->recvs[e->recvs_count++] = r[i];
    }
    if (e->in_count > 0)
        later(e);
    return 0;
}

static void
op_spin(struct loop *l, uint64_t ns)
{
    (void)l;
    (void)ns;
}

static const struct rnic_ops fake_ops = {
    .name = "fake",
    .listen = op_listen,
    .accept = op_accept,
    .set_events = op_set_events,
    .disconnect = op_disconnect,
    .close = op_close,
    .caps = op_caps,
    .names = op_names,
    .reg = op_reg,
    .post_send = op_post_send,
    .post_recv = op_post_recv,
    .spin = op_spin,
};

/* ---- The test's side ------------------------------------------------------------------------ */

void
fake_rnic_init(struct fake_rnic *r, struct loop *l)
{
    *r = (struct fake_rnic){.loop = l};
    l->rnic = &fake_ops;
    l->rnic_state = r;
}

struct fake_ep *
fake_connect(struct fake_rnic *r, const void *private_data, size_t len)
{
    struct fake_ep *e = fake_ep_new(r);

    assert_non_null(r->listener);
    assert_true(len <= sizeof(e->priv));
    if (len > 0)
        memcpy(e->priv, private_data, len);
    e->priv_len = len;
    e->depth = r->listener->depth;
    later(e);
    return e;
}

void
fake_free(struct fake_ep *e)
{
    assert_true(e->state == FAKE_GONE || e->state == FAKE_REFUSED);
    while (e->in_count > 0)
        free(e->in[--e->in_count].bytes);
    while (e->out_count > 0)
        free(e->out[--e->out_count].bytes);
    free(e);
}

enum fake_state
fake_state(const struct fake_ep *e)
{
    return e->state;
}

uint8_t
fake_private(const struct fake_ep *e)
{
    return e->answer;
}

void
fake_say(struct fake_ep *e, const void *bytes, uint32_t len)
{
    put_message(e->in, &e->in_count, bytes, len, 0);
    later(e);
}

unsigned
fake_unheard(const struct fake_ep *e)
{
    return e->in_count;
}

unsigned
fake_receives(const struct fake_ep *e)
{
    return e->recvs_count;
}

bool
fake_hear(struct fake_ep *e, struct fake_message *ret)
{
    if (e->out_count == 0)
        return false;
    *ret = e->out[0];
    take_first(e->out, &e->out_count);
    return true;
}

void
fake_message_free(struct fake_message *m)
{
    free(m->bytes);
    m->bytes = NULL;
}

void
fake_open(struct fake_ep *e, struct fake_key key)
{
    for (unsigned i = 0; i < FAKE_KEYS; i++) {
        if (!e->keys[i].open) {
            e->keys[i] = key;
            e->keys[i].open = true;
            return;
        }
    }
    fail_msg("too many keys");
}

bool
fake_is_open(const struct fake_ep *e, uint32_t rkey)
{
    for (unsigned i = 0; i < FAKE_KEYS; i++) {
        if (e->keys[i].open && e->keys[i].rkey == rkey)
            return true;
    }
    return false;
}

void
fake_shut(struct fake_ep *e, uint32_t rkey)
{
    for (unsigned i = 0; i < FAKE_KEYS; i++) {
        if (e->keys[i].rkey == rkey)
            e->keys[i].open = false;
    }
}

void
fake_hold(struct fake_ep *e, bool on)
{
    e->hold = on;
    later(e);
}

void
fake_step(struct fake_ep *e, unsigned n)
{
    perform(e, n);
}

unsigned
fake_posted(const struct fake_ep *e)
{
    return e->sends_count;
}

unsigned
fake_reads_posted(const struct fake_ep *e)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < e->sends_count; i++)
        n += e->sends[i].op == RNIC_READ;
    return n;
}

unsigned
fake_reads_most(const struct fake_ep *e)
{
    return e->reads_most;
}

void
fake_fail(struct fake_ep *e, enum rnic_status status)
{
    e->fail = status;
}

void
fake_leave(struct fake_ep *e, bool told)
{
    e->leaves = told;
    later(e);
}

void
fake_unplug(struct fake_rnic *r)
{
    r->listener->ev->ended(r->listener->user, -ENODEV, "the device is gone");
}
