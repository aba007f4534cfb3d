/* SPDX-License-Identifier: MIT */
/* Simulated RDMA connections that do whatever the seed likes, with faults at any moment: what
 * owners are told must add up, and no device may touch memory behind the fence. */
#include "tests/test.h"

#include <netinet/in.h>
#include <string.h>

#include "tests/rdma/contract_ends.h"
#include "tests/sim/sim_rdma.h"

#define SEEDS  600
#define PAIRS  4
#define STEPS  300
#define DEPTH  8u
#define OUT    4096u /* where what is sent lies; behind it is what moves */
#define PLACES 32u   /* of 64 bytes: more than can be posted, since a try may be refused */
#define MOVES  8192u

/* What was posted and not heard of, of one queue of one end. */
struct ledger {
    uint64_t posted, next; /* ids are counted; the next that may complete */
    bool quiet[4096], failed;
};

struct side {
    struct end *x;
    struct ledger send, recv;
    unsigned told;      /* completions that were checked */
    uint32_t got, sent; /* messages */
    struct rnic_mw *mw;
    bool bound;
    uint8_t *left; /* its memory when it was closed */
};

static struct {
    struct sim *sim;
    struct rnic_contract k;
    struct ends e[PAIRS];
    struct side side[2 * PAIRS];
    uint64_t completions, errors, flushed;
} w;

static bool
run(void *user, bool (*done)(void *arg), void *arg, uint64_t ns)
{
    return sim_run_until(user, done, arg, ns);
}

/* One completion: in order, and once. */
static void
check_one(struct side *s, const struct rnic_wc *wc)
{
    struct ledger *l = wc->recv ? &s->recv : &s->send;

    w.completions++;
    w.errors += wc->status != RNIC_OK && wc->status != RNIC_FLUSHED;
    w.flushed += wc->status == RNIC_FLUSHED;
    while (!wc->recv && l->next < wc->id && l->quiet[l->next % 4096])
        l->next++;
    assert_true(wc->id == l->next && l->next < l->posted);
    l->next++;
    if (!wc->recv && l->quiet[wc->id % 4096])
        assert_int_not_equal(wc->status, RNIC_OK);
    if (l->failed) /* nothing is done behind what was not done */
        assert_int_equal(wc->status, RNIC_FLUSHED);
    l->failed = l->failed || wc->status != RNIC_OK;
    if (wc->recv && wc->status == RNIC_OK) { /* the messages come in order */
        uint32_t n;

        memcpy(&n, s->x->mem + ENDS_RECVS_AT + wc->id % ENDS_DEPTH * ENDS_RECV, sizeof(n));
        assert_int_equal(n, s->got);
        assert_int_equal(wc->len, 64);
        s->got++;
    }
}

static void
after_turn(void *user)
{
    (void)user;
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        struct side *s = &w.side[i];

        for (; s->x != NULL && s->told < s->x->nwc; s->told++)
            check_one(s, &s->x->wc[s->told]);
        if (s->x != NULL && s->x->nwc == s->told && s->x->nwc > ENDS_WCS / 2)
            s->told = s->x->nwc = 0;
        if (s->left != NULL)
            assert_memory_equal(s->left, s->x->mem, MOVES + 4096);
    }
}

static void
post_recv(struct side *s)
{
    uint64_t id = s->recv.posted;
    struct rnic_recv r = {
        .id = id,
        .sge = {s->x->mem + ENDS_RECVS_AT + id % ENDS_DEPTH * ENDS_RECV, 64, s->x->mr->lkey}};

    if (rnic_post_recv(s->x->ep, &r, 1) == 0)
        s->recv.posted++;
}

static struct rnic_wr
some_wr(struct side *s, const struct side *peer)
{
    uint64_t id = s->send.posted;
    struct rnic_wr wr = end_wr(s->x, RNIC_SEND, id, OUT + (uint32_t)(id % PLACES) * 64, 64);
    uint32_t key = peer->x->mr != NULL ? peer->x->mr->rkey : 77;

    wr.quiet = sim_below(w.sim, 3) == 0;
    switch (sim_below(w.sim, 8)) {
    case 0:
    case 1:
        wr.op = sim_below(w.sim, 2) == 0 ? RNIC_WRITE : RNIC_READ;
        wr.sge[0].addr = s->x->mem + MOVES;
        wr.sge[0].len = 1 + (uint32_t)sim_below(w.sim, 4096);
        end_name(&wr, peer->x, MOVES, sim_below(w.sim, 80) == 0 ? key + 1 : key);
        break;
    case 2:
        if (s->mw == NULL)
            break;
        wr.op = s->bound ? RNIC_INVALIDATE : RNIC_BIND;
        wr.invalidate = s->mw->rkey;
        if (!s->bound) {
            wr.bind.mw = s->mw;
            wr.bind.mr = s->x->mr;
            wr.bind.addr = s->x->mem + MOVES;
            wr.bind.len = 4096;
            wr.bind.access = RNIC_PEER_READS;
        }
        break;
    default:
        break;
    }
    return wr;
}

static void
post_send(struct side *s, const struct side *peer)
{
    struct rnic_wr wr = some_wr(s, peer);

    if (wr.op == RNIC_SEND)
        memcpy(wr.sge[0].addr, &s->sent, sizeof(s->sent));
    wr.quiet = wr.quiet && s->send.posted % 4 != 3; /* a loud one comes */
    if (rnic_post_send(s->x->ep, &wr, 1) != 0)
        return;
    s->send.quiet[s->send.posted % 4096] = wr.quiet;
    s->send.posted++;
    s->sent += wr.op == RNIC_SEND;
    if (wr.op == RNIC_BIND || wr.op == RNIC_INVALIDATE)
        s->bound = wr.op == RNIC_BIND;
}

static void
close_side(struct side *s)
{
    end_close(s->x);
    s->mw = NULL;
    assert_int_equal(sim_rdma_owns(w.sim, s->x->mem, ENDS_MEM), 0);
    s->left = malloc(MOVES + 4096);
    assert_non_null(s->left);
    memcpy(s->left, s->x->mem, MOVES + 4096);
}

static void
fault(void)
{
    uint64_t one = sim_below(w.sim, 3);

    switch (sim_below(w.sim, 9)) {
    case 0:
        sim_rdma_cut_one(w.sim, (unsigned)sim_below(w.sim, PAIRS),
                         (enum sim_rdma_cut)sim_below(w.sim, 4));
        break;
    case 1:
        sim_rdma_cut_after(w.sim, NULL, (enum sim_rdma_cut)sim_below(w.sim, 4),
                           1 + sim_below(w.sim, 30), 1 + sim_below(w.sim, 30));
        break;
    case 2:
        sim_rdma_stall(w.sim, NULL, one == 0);
        break;
    case 3:
        sim_rdma_stall_one(w.sim, (unsigned)sim_below(w.sim, PAIRS));
        break;
    case 4:
    case 5:
        sim_rdma_hold(w.sim, one == 0 ? 0 : (uint32_t)one, (enum sim_rdma_way)(one % 2),
                      sim_below(w.sim, 2) == 0);
        break;
    case 6:
        sim_rdma_late(w.sim, NULL, (enum sim_rdma_way)(one % 2), one * LOOP_NS_PER_MS);
        break;
    case 7:
        if (one == 0)
            sim_rdma_remove_device(w.sim, w.k.client, true);
        break;
    default:
        break;
    }
}

static enum sim_rdma_verdict
tap(void *user, const struct sim_rdma_message *m)
{
    (void)user;
    if (m->stage != SIM_RDMA_ARRIVES || sim_below(w.sim, 200) > 0)
        return SIM_RDMA_PASS;
    if (sim_below(w.sim, 2) == 0)
        fault();
    switch (sim_below(w.sim, 12)) {
    case 0:
        return SIM_RDMA_CUT_BEFORE;
    case 1:
        return SIM_RDMA_CUT_INSIDE;
    case 2:
        return SIM_RDMA_CUT_BEHIND;
    case 3:
        return SIM_RDMA_HOLD;
    default:
        return SIM_RDMA_PASS;
    }
}

static void
step(void)
{
    unsigned i = (unsigned)sim_below(w.sim, 2 * PAIRS);
    struct side *s = &w.side[i], *peer = &w.side[i ^ 1];

    (void)sim_run_until(w.sim, NULL, NULL, sim_below(w.sim, 300000));
    if (sim_below(w.sim, 60) == 0)
        fault();
    if (s->x->ep == NULL)
        return;
    switch (sim_below(w.sim, 200)) {
    case 0:
        if (!s->x->disconnected)
            end_disconnect(s->x);
        break;
    case 1:
        if (sim_below(w.sim, 3) == 0)
            close_side(s);
        break;
    default:
        for (unsigned n = (unsigned)sim_below(w.sim, 4); n > 0; n--)
            post_recv(s);
        for (unsigned n = (unsigned)sim_below(w.sim, 4); n > 0; n--)
            post_send(s, peer);
        break;
    }
}

static void
begin(uint64_t seed)
{
    struct ends_setup setup = {.depth = {.send = DEPTH, .recv = DEPTH}};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};

    memset(&w.side, 0, sizeof(w.side));
    w.sim = sim_new(seed, seed % 3 == 0 ? NULL : &sim_rough);
    sim_rdma_open(w.sim, seed % 3 == 0 ? NULL : &sim_rdma_rough);
    w.k = (struct rnic_contract){
        .run = run, .user = w.sim, .patience_ns = 100 * LOOP_NS_PER_S, .at.len = sizeof(in)};
    memcpy(&w.k.at.ss, &in, sizeof(in));
    w.k.server = sim_loop(w.sim);
    w.k.client = seed % 2 == 0 ? w.k.server : sim_loop(w.sim);
    for (unsigned i = 0; i < PAIRS; i++) {
        ends_open(&w.e[i], &w.k, &setup);
        rnic_close(w.e[i].listener); /* it would end with its device */
        w.e[i].listener = NULL;
        w.side[2 * i].x = &w.e[i].client;
        w.side[2 * i + 1].x = &w.e[i].server;
        assert_int_equal(rnic_mw_new(w.e[i].client.ep, &w.side[2 * i].mw, NULL), 0);
    }
    sim_after_turn(w.sim, after_turn, NULL);
    if (seed % 4 != 0)
        sim_rdma_tap(w.sim, tap, NULL);
}

/* All that was posted comes back, once, after an end. */
static void
finish(void)
{
    sim_rdma_tap(w.sim, NULL, NULL);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        struct side *s = &w.side[i];

        if (s->x->ep != NULL && !s->x->disconnected && sim_below(w.sim, 2) == 0)
            end_disconnect(s->x);
    }
    (void)sim_run_until(w.sim, NULL, NULL, 10 * LOOP_NS_PER_S);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        struct side *s = &w.side[i];

        if (s->x->ep != NULL && !s->x->disconnected)
            end_disconnect(s->x);
    }
    (void)sim_run_until(w.sim, NULL, NULL, 60 * LOOP_NS_PER_S);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        struct side *s = &w.side[i];

        if (s->x->ep == NULL)
            continue;
        while (s->send.next < s->send.posted && s->send.quiet[s->send.next % 4096])
            s->send.next++;
        assert_true(s->send.next == s->send.posted && s->recv.next == s->recv.posted);
    }
}

static uint64_t
one(uint64_t seed)
{
    uint64_t hash;

    begin(seed);
    for (unsigned i = 0; i < STEPS; i++)
        step();
    finish();
    sim_after_turn(w.sim, NULL, NULL);
    for (unsigned i = 0; i < PAIRS; i++)
        ends_close(&w.e[i]);
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        free(w.side[i].left);
    assert_int_equal(sim_rdma_stats(w.sim)->late_writes, 0);
    hash = sim_hash(w.sim);
    sim_free(w.sim);
    return hash;
}

static void
storm(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint64_t hash = one(seed);

        if (seed < 10)
            assert_true(one(seed) == hash);
    }
    print_message("%llu completions, %llu failed, %llu flushed\n",
                  (unsigned long long)w.completions, (unsigned long long)w.errors,
                  (unsigned long long)w.flushed);
    /* It has been one. */
    assert_true(w.completions > 100000 && w.errors > 500 && w.flushed > 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(storm)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
