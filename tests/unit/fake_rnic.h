/* SPDX-License-Identifier: MIT */
/* tests/unit/fake_rnic.h - seam/rdma.h for unit tests: it keeps what is posted, and does what the
 * test says.  It judges its owner: memory that is named must be registered, queues do not
 * overflow, nothing that is in use is given back. */
#ifndef TESTS_FAKE_RNIC_H
#define TESTS_FAKE_RNIC_H

#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "seam/rdma.h"

#define FAKE_REGIONS 1024
#define FAKE_POSTS   1100

struct fake_region {
    struct rnic_mr mr; /* the first member */
    bool used;
    uint8_t *addr;
    size_t len;
    unsigned access;
};

struct fake_window {
    struct rnic_mw mw;
    bool bound;
    const struct rnic_mr *mr;
    uint8_t *addr;
    uint64_t len;
    unsigned access;
};

/* The connection that was made last: a test has one at a time. */
struct fake_rnic {
    struct rnic_ep pub;
    const struct rnic_events *ev;
    void *user;
    struct rnic_depth depth;
    struct rnic_caps caps;
    struct sock_addr to, from;
    bool has_from, open, connected, disconnected;
    uint8_t private_data[RNIC_PRIVATE_MAX];
    struct rnic_wr sent[FAKE_POSTS]; /* posted, and not completed */
    uint32_t nsent, posts;           /* calls */
    struct rnic_recv recv[FAKE_POSTS];
    uint32_t nrecv;
    struct fake_region region[FAKE_REGIONS];
    uint32_t nregions, nwindows, windows_max;
    struct fake_window *window[FAKE_REGIONS];
    uint32_t regs, fail_reg, fail_reg_from; /* calls; the how many-th fails, or all from it on */
    int fail_connect, fail_send, fail_recv;
    uint32_t recv_some; /* so many are posted all the same by a call that fails */
    uint64_t spin_ns;
    uint32_t closed; /* times */
};

extern const struct rnic_ops fake_rnic_ops; /* FAKE_RNIC_OPS, once in a program */
extern struct fake_rnic *fake_rnic;
extern struct rnic_caps fake_rnic_caps; /* of the next */
extern int fake_rnic_resolve_err;       /* of the next */

static inline struct fake_rnic *
fake_rnic_of(const struct rnic_ep *ep)
{
    return (struct fake_rnic *)(uintptr_t)ep;
}

static inline int
fake_rnic_resolve(struct loop *l, const struct sock_addr *to, const struct sock_addr *from,
                  const struct rnic_depth *depth, const struct rnic_events *ev, void *user,
                  struct rnic_ep **ret, struct lunette_error *err)
{
    struct fake_rnic *f;

    if (fake_rnic_resolve_err < 0)
        return lunette_fail(err, fake_rnic_resolve_err, LUNETTE_DOM_OS, 0, "as the test wants");
    f = calloc(1, sizeof(*f));
    assert_non_null(f);
    free(fake_rnic);
    fake_rnic = f;

    f->pub = (struct rnic_ep){.ops = &fake_rnic_ops, .loop = l};
    f->ev = ev;
    f->user = user;
    f->depth = *depth;
    f->caps = fake_rnic_caps;
    /* As a device that has so many places, where the test says how many. */
    f->caps.sends = depth->send;
    f->caps.recvs = depth->recv;
    if (fake_rnic_caps.sends > 0 && fake_rnic_caps.sends < f->caps.sends)
        f->caps.sends = fake_rnic_caps.sends;
    if (fake_rnic_caps.recvs > 0 && fake_rnic_caps.recvs < f->caps.recvs)
        f->caps.recvs = fake_rnic_caps.recvs;
    assert_true(f->caps.sends >= depth->least_send && f->caps.recvs >= depth->least_recv);
    f->depth.send = f->caps.sends;
    f->depth.recv = f->caps.recvs;
    f->windows_max = FAKE_REGIONS;
    f->to = *to;
    f->has_from = from != NULL;
    if (from != NULL)
        f->from = *from;
    f->open = true;
    *ret = &f->pub;
    return 0;
}

static inline int
fake_rnic_connect(struct rnic_ep *ep, const void *private_data, size_t len,
                  struct lunette_error *err)
{
    struct fake_rnic *f = fake_rnic_of(ep);

    if (f->fail_connect < 0)
        return lunette_fail(err, f->fail_connect, LUNETTE_DOM_OS, 0, "as the test wants");
    f->connected = true;
    memcpy(f->private_data, private_data, len);
    return 0;
}

static inline void
fake_rnic_disconnect(struct rnic_ep *ep)
{
    assert_true(fake_rnic_of(ep)->open);
    fake_rnic_of(ep)->disconnected = true;
}

static inline void
fake_rnic_close(struct rnic_ep *ep)
{
    struct fake_rnic *f = fake_rnic_of(ep);

    assert_true(f->open);
    f->open = false;
    f->closed++;
    f->nsent = f->nrecv = f->nregions = 0;
    memset(f->region, 0, sizeof(f->region));
    for (uint32_t i = 0; i < f->nwindows; i++)
        free(f->window[i]);
    f->nwindows = 0;
}

static inline void
fake_rnic_get_caps(const struct rnic_ep *ep, struct rnic_caps *ret)
{
    *ret = fake_rnic_of(ep)->caps;
}

static inline int
fake_rnic_names(const struct rnic_ep *ep, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    *ret_peer = fake_rnic_of(ep)->to;
    *ret_local = fake_rnic_of(ep)->from;
    return 0;
}

static inline int
fake_rnic_reg(struct rnic_ep *ep, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
              struct lunette_error *err)
{
    struct fake_rnic *f = fake_rnic_of(ep);
    uint32_t n = ++f->regs;

    assert_true(f->open && len > 0);
    if (n == f->fail_reg || (f->fail_reg_from > 0 && n >= f->fail_reg_from))
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "%zu bytes are wanted, RLIMIT_MEMLOCK is 64", len);
    for (uint32_t i = 0; i < FAKE_REGIONS; i++) {
        struct fake_region *r = &f->region[i];

        if (r->used)
            continue;
        *r = (struct fake_region){.mr = {0x1000 + n, 0x2000 + n},
                                  .used = true,
                                  .addr = addr,
                                  .len = len,
                                  .access = access};
        f->nregions++;
        *ret = &r->mr;
        return 0;
    }
    fail_msg("too many regions");
    return -ENOMEM;
}

static inline const struct fake_region *
fake_region_of(const struct rnic_mr *mr)
{
    return (const struct fake_region *)(const void *)mr;
}

static inline bool
fake_region_has(const struct fake_region *r, const void *addr, size_t len)
{
    return r->used && (const uint8_t *)addr >= r->addr &&
           (const uint8_t *)addr + len <= r->addr + r->len;
}

static inline void
fake_rnic_dereg(struct rnic_ep *ep, struct rnic_mr *mr)
{
    struct fake_rnic *f = fake_rnic_of(ep);
    struct fake_region *r = container_of(mr, struct fake_region, mr);

    assert_true(f->open && r->used);
    for (uint32_t i = 0; i < f->nwindows; i++)
        assert_false(f->window[i]->bound && f->window[i]->mr == mr);
    for (uint32_t i = 0; i < f->nrecv; i++)
        assert_int_not_equal(f->recv[i].sge.lkey, mr->lkey);
    r->used = false;
    f->nregions--;
}

static inline int
fake_rnic_mw_new(struct rnic_ep *ep, struct rnic_mw **ret, struct lunette_error *err)
{
    struct fake_rnic *f = fake_rnic_of(ep);
    struct fake_window *w;

    assert_true(f->open && f->caps.windows);
    if (f->nwindows >= f->windows_max || f->nwindows >= f->caps.max_windows)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no more windows");
    w = calloc(1, sizeof(*w));
    if (w == NULL) /* as the test wants */
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a window");
    w->mw.rkey = 0x10000u + f->nwindows * 0x100 + 0xfe; /* the low byte wraps soon */
    f->window[f->nwindows++] = w;
    *ret = &w->mw;
    return 0;
}

static inline void
fake_rnic_mw_free(struct rnic_ep *ep, struct rnic_mw *mw)
{
    (void)ep;
    (void)mw;
    fail_msg("nobody frees windows");
}

static inline struct fake_window *
fake_window_of(struct fake_rnic *f, uint32_t rkey)
{
    for (uint32_t i = 0; i < f->nwindows; i++) {
        if (f->window[i]->bound && f->window[i]->mw.rkey == rkey)
            return f->window[i];
    }
    return NULL;
}

static inline void
fake_check_sge(const struct fake_rnic *f, const struct rnic_sge *s)
{
    for (uint32_t i = 0; i < FAKE_REGIONS; i++) {
        if (f->region[i].mr.lkey == s->lkey && fake_region_has(&f->region[i], s->addr, s->len))
            return;
    }
    fail_msg("memory that is not registered");
}

/* Binds and invalidations take effect as they are posted. */
static inline void
fake_rnic_run(struct fake_rnic *f, const struct rnic_wr *wr)
{
    struct fake_window *w;

    switch (wr->op) {
    case RNIC_BIND:
        w = container_of(wr->bind.mw, struct fake_window, mw);
        assert_false(w->bound);
        assert_true(fake_region_has(fake_region_of(wr->bind.mr), wr->bind.addr, wr->bind.len));
        assert_true(fake_region_of(wr->bind.mr)->access & RNIC_WINDOWS);
        w->mw.rkey = rnic_next_rkey(&w->mw);
        w->bound = true;
        w->mr = wr->bind.mr;
        w->addr = wr->bind.addr;
        w->len = wr->bind.len;
        w->access = wr->bind.access;
        break;
    case RNIC_INVALIDATE:
        w = fake_window_of(f, wr->invalidate);
        assert_non_null(w);
        w->bound = false;
        break;
    case RNIC_SEND:
        assert_true(wr->nsge >= 1 && wr->nsge <= RNIC_SGE_MAX && wr->invalidate == 0);
        for (unsigned i = 0; i < wr->nsge; i++)
            fake_check_sge(f, &wr->sge[i]);
        break;
    case RNIC_WRITE:
    case RNIC_READ:
        fail_msg("an initiator does neither");
    }
}

static inline int
fake_rnic_post_send(struct rnic_ep *ep, const struct rnic_wr *wr, unsigned n)
{
    struct fake_rnic *f = fake_rnic_of(ep);

    assert_true(f->open && f->connected && n > 0);
    if (f->fail_send < 0)
        return f->fail_send;
    f->posts++;
    assert_false(wr[n - 1].quiet); /* or its place is never free */
    assert_true(f->nsent + n <= f->depth.send);
    for (unsigned i = 0; i < n; i++) {
        assert_true(i == 0 || wr[i].id > wr[i - 1].id);
        fake_rnic_run(f, &wr[i]);
        f->sent[f->nsent++] = wr[i];
    }
    return 0;
}

static inline int
fake_rnic_post_recv(struct rnic_ep *ep, const struct rnic_recv *r, unsigned n)
{
    struct fake_rnic *f = fake_rnic_of(ep);

    assert_true(f->open);
    if (f->fail_recv < 0) {
        assert_true(n > f->recv_some);
        n = f->recv_some;
    }
    assert_true(f->nrecv + n <= f->depth.recv);
    for (unsigned i = 0; i < n; i++) {
        fake_check_sge(f, &r[i].sge);
        f->recv[f->nrecv++] = r[i];
    }
    return f->fail_recv;
}

static inline void
fake_rnic_spin(struct loop *l, uint64_t ns)
{
    (void)l;
    fake_rnic->spin_ns = ns;
}

#define FAKE_RNIC_OPS                                                                              \
    const struct rnic_ops fake_rnic_ops = {                                                        \
        .name = "fake",                                                                            \
        .resolve = fake_rnic_resolve,                                                              \
        .connect = fake_rnic_connect,                                                              \
        .disconnect = fake_rnic_disconnect,                                                        \
        .close = fake_rnic_close,                                                                  \
        .caps = fake_rnic_get_caps,                                                                \
        .names = fake_rnic_names,                                                                  \
        .reg = fake_rnic_reg,                                                                      \
        .dereg = fake_rnic_dereg,                                                                  \
        .mw_new = fake_rnic_mw_new,                                                                \
        .mw_free = fake_rnic_mw_free,                                                              \
        .post_send = fake_rnic_post_send,                                                          \
        .post_recv = fake_rnic_post_recv,                                                          \
        .spin = fake_rnic_spin,                                                                    \
    };                                                                                             \
    struct fake_rnic *fake_rnic;                                                                   \
    struct rnic_caps fake_rnic_caps;                                                               \
    int fake_rnic_resolve_err

/* ---- what the test makes happen ---- */

/* All that was posted to the send queue is done: OK, or flushed. */
static inline void
fake_rnic_sends_done(struct fake_rnic *f, enum rnic_status status)
{
    struct rnic_wc wc[FAKE_POSTS];
    unsigned n = 0;

    for (uint32_t i = 0; i < f->nsent; i++) {
        if (!f->sent[i].quiet || status != RNIC_OK)
            wc[n++] = (struct rnic_wc){.id = f->sent[i].id, .status = status};
    }
    f->nsent = 0;
    if (n > 0)
        f->ev->completed(f->user, wc, n);
}

/* The first receive is completed. */
static inline void
fake_rnic_recv_done(struct fake_rnic *f, enum rnic_status status, uint32_t len,
                    uint32_t invalidated)
{
    struct rnic_wc wc = {.id = f->recv[0].id,
                         .status = status,
                         .recv = true,
                         .len = len,
                         .invalidated = invalidated};

    assert_true(f->nrecv > 0);
    memmove(&f->recv[0], &f->recv[1], --f->nrecv * sizeof(f->recv[0]));
    f->ev->completed(f->user, &wc, 1);
}

/* A message comes, and invalidates that window, if it is not 0. */
static inline void
fake_rnic_message(struct fake_rnic *f, const void *msg, uint32_t len, uint32_t invalidate)
{
    assert_true(f->nrecv > 0 && len <= f->recv[0].sge.len);
    memcpy(f->recv[0].sge.addr, msg, len);
    if (invalidate != 0 && fake_window_of(f, invalidate) != NULL)
        fake_window_of(f, invalidate)->bound = false;
    fake_rnic_recv_done(f, RNIC_OK, len, invalidate);
}

/* Everything comes back, as after rnic_disconnect. */
static inline void
fake_rnic_flush(struct fake_rnic *f)
{
    if (f->nsent > 0)
        fake_rnic_sends_done(f, RNIC_FLUSHED);
    while (f->open && f->nrecv > 0)
        fake_rnic_recv_done(f, RNIC_FLUSHED, 0, 0);
}

#endif
