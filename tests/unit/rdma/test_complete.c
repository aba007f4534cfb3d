/* SPDX-License-Identifier: MIT */
/* Completions, completion queues, and how much may be posted. */
#include "tests/unit/rdma/verbs_world.h"

#include <errno.h>

static void
test_order_and_content(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(owner_recv(&o, UINT64_MAX - i), 0);
    assert_int_equal(owner_send(&o, 77, false), 0);
    assert_int_equal(owner_send(&o, 78, false), 0);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 300, 0, 0xbad);
    fake_send_done(o.qp, IBV_WC_SUCCESS);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 8268, IBV_WC_WITH_INV, 0x1234);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 0, 0x4, 0x5678); /* as the kernel numbers it */
    fake_recv_done(o.qp, IBV_WC_WR_FLUSH_ERR, 9, IBV_WC_WITH_INV, 0x9abc);
    world_turn(&w);
    assert_int_equal(o.nwc, 5);
    assert_string_equal(o.order, "rec"); /* all in one call */
    assert_true(o.wc[0].id == UINT64_MAX && o.wc[0].recv && o.wc[0].len == 300);
    assert_int_equal(o.wc[0].invalidated, 0);
    assert_true(o.wc[1].id == 77 && !o.wc[1].recv && o.wc[1].status == RNIC_OK);
    assert_true(o.wc[2].id == UINT64_MAX - 1 && o.wc[2].len == 8268);
    assert_int_equal(o.wc[2].invalidated, 0x1234);
    assert_int_equal(o.wc[3].invalidated, 0x5678);
    assert_int_equal(o.wc[4].status, RNIC_FLUSHED);
    assert_int_equal(o.wc[4].len, 0); /* of a completion that failed only little is said */
    assert_int_equal(o.wc[4].invalidated, 0);
    owner_close(&o);
    world_end(&w);
}

static void
test_statuses(void **state)
{
    static const struct {
        enum ibv_wc_status is;
        enum rnic_status send, recv;
    } rows[] = {
        {IBV_WC_SUCCESS, RNIC_OK, RNIC_OK},
        {IBV_WC_LOC_LEN_ERR, RNIC_LOCAL_ERROR, RNIC_TOO_LONG},
        {IBV_WC_LOC_QP_OP_ERR, RNIC_LOCAL_ERROR, RNIC_TOO_LONG},
        {IBV_WC_LOC_PROT_ERR, RNIC_LOCAL_ERROR, RNIC_LOCAL_ERROR},
        {IBV_WC_WR_FLUSH_ERR, RNIC_FLUSHED, RNIC_FLUSHED},
        {IBV_WC_MW_BIND_ERR, RNIC_LOCAL_ERROR, RNIC_LOCAL_ERROR},
        {IBV_WC_REM_INV_REQ_ERR, RNIC_REMOTE_ERROR, RNIC_LOCAL_ERROR},
        {IBV_WC_REM_ACCESS_ERR, RNIC_REMOTE_ACCESS, RNIC_REMOTE_ACCESS},
        {IBV_WC_REM_OP_ERR, RNIC_REMOTE_ERROR, RNIC_REMOTE_ERROR},
        {IBV_WC_RETRY_EXC_ERR, RNIC_NO_ANSWER, RNIC_NO_ANSWER},
        {IBV_WC_RNR_RETRY_EXC_ERR, RNIC_NO_ANSWER, RNIC_NO_ANSWER},
        {IBV_WC_GENERAL_ERR, RNIC_LOCAL_ERROR, RNIC_LOCAL_ERROR},
        {(enum ibv_wc_status)200, RNIC_LOCAL_ERROR, RNIC_LOCAL_ERROR},
    };
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        o.nwc = 0;
        assert_int_equal(owner_send(&o, 1, i % 2 == 1), 0); /* quiet ones, too, when they fail */
        assert_int_equal(owner_recv(&o, 2), 0);
        fake_send_done(o.qp, rows[i].is);
        fake_recv_done(o.qp, rows[i].is, 1, 0, 0);
        world_turn(&w);
        assert_int_equal(o.nwc, 2);
        assert_true(!o.wc[0].recv && o.wc[1].recv);
        assert_int_equal(o.wc[0].status, rows[i].send);
        assert_int_equal(o.wc[1].status, rows[i].recv);
    }
    owner_close(&o);
    world_end(&w);
}

/* A quiet request holds its place until a later one completes. */
static void
test_room(void **state)
{
    static char byte;
    struct verbs_world w;
    struct owner o;
    struct rnic_wr wr[9];

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    for (uint64_t i = 0; i < 9; i++)
        wr[i] = (struct rnic_wr){
            .id = i, .op = RNIC_SEND, .quiet = true, .nsge = 1, .sge = {{&byte, 1, 5}}};
    assert_int_equal(rnic_post_send(o.ep, wr, 9), -EAGAIN);
    assert_int_equal(fake_sends(o.qp), 0);
    assert_int_equal(rnic_post_send(o.ep, wr, 6), 0);
    assert_int_equal(rnic_post_send(o.ep, wr, 3), -EAGAIN); /* all or none */
    assert_int_equal(fake_sends(o.qp), 6);
    assert_int_equal(rnic_post_send(o.ep, wr, 1), 0);
    assert_int_equal(owner_send(&o, 50, false), 0);
    assert_int_equal(owner_send(&o, 51, false), -EAGAIN);
    for (int i = 0; i < 7; i++)
        fake_send_done(o.qp, IBV_WC_SUCCESS);
    world_turn(&w);
    assert_int_equal(o.nwc, 0);
    assert_int_equal(owner_send(&o, 51, false), -EAGAIN); /* done, and they hold their places */
    fake_send_done(o.qp, IBV_WC_SUCCESS);
    world_turn(&w);
    assert_int_equal(o.nwc, 1);
    assert_int_equal(o.wc[0].id, 50);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(owner_send(&o, 60 + i, i != 3), 0);
    assert_int_equal(owner_send(&o, 99, false), -EAGAIN);
    for (int i = 0; i < 4; i++)
        fake_send_done(o.qp, IBV_WC_SUCCESS);
    world_turn(&w);
    assert_int_equal(o.wc[1].id, 63);
    assert_int_equal(rnic_post_send(o.ep, wr, 5), -EAGAIN);
    assert_int_equal(rnic_post_send(o.ep, wr, 4), 0);
    owner_close(&o);
    world_end(&w);
}

/* What is done quietly is not heard of at the end, the others come back in order. */
static void
test_quiet_at_the_end(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(owner_send(&o, i, true), 0);
    for (int i = 0; i < 3; i++)
        fake_send_done(o.qp, IBV_WC_SUCCESS);
    rnic_disconnect(o.ep);
    for (int i = 0; i < 5; i++)
        fake_send_done(o.qp, IBV_WC_WR_FLUSH_ERR);
    world_turn(&w);
    assert_int_equal(o.nwc, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_true(o.wc[i].id == 3 + i && o.wc[i].status == RNIC_FLUSHED);
    owner_close(&o);
    world_end(&w);
}

static void
test_receive_room(void **state)
{
    static char buf[64];
    struct verbs_world w;
    struct owner o;
    struct rnic_recv r[5];

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    assert_int_equal(owner_resolve(&o, &small_depth), 0);
    assert_int_equal(owner_recv(&o, 1), -ENOTCONN);
    owner_close(&o);
    owner_ready(&o, &small_depth); /* before it is connected */
    for (uint64_t i = 0; i < 5; i++)
        r[i] = (struct rnic_recv){.id = i, .sge = {buf, sizeof(buf), 6}};
    assert_int_equal(rnic_post_recv(o.ep, r, 5), -EAGAIN);
    assert_int_equal(fake_recvs(o.qp), 0);
    assert_int_equal(rnic_post_recv(o.ep, r, 4), 0);
    assert_int_equal(rnic_post_recv(o.ep, r, 1), -EAGAIN);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 1, 0, 0);
    assert_int_equal(rnic_post_recv(o.ep, r, 1), -EAGAIN); /* not told yet */
    world_turn(&w);
    assert_int_equal(rnic_post_recv(o.ep, r + 4, 1), 0);
    assert_int_equal(fake_recvs(o.qp), 4);
    owner_close(&o);
    world_end(&w);
}

/* More than one call of the library takes at once, and positions that wrap. */
static void
test_many(void **state)
{
    static const struct rnic_depth depth = {.send = 100, .recv = 100};
    static struct rnic_wr wr[100];
    static struct rnic_recv rv[100];
    static char byte;
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &depth);
    for (uint64_t round = 0; round < 9; round++) {
        o.nwc = 0;
        for (uint64_t i = 0; i < 100; i++) {
            wr[i] = (struct rnic_wr){
                .id = round << 32 | i, .op = RNIC_SEND, .nsge = 1, .sge = {{&byte, 1, 5}}};
            rv[i] = (struct rnic_recv){.id = round << 32 | i, .sge = {&byte, 1, 5}};
        }
        assert_int_equal(rnic_post_send(o.ep, wr, 100), 0);
        assert_int_equal(rnic_post_recv(o.ep, rv, 100), 0);
        assert_int_equal(rnic_post_send(o.ep, wr, 1), -EAGAIN); /* whatever it was rounded up to */
        assert_int_equal(rnic_post_recv(o.ep, rv, 1), -EAGAIN);
        for (int i = 0; i < 100; i++)
            fake_send_done(o.qp, IBV_WC_SUCCESS);
        for (int i = 0; i < 100; i++)
            fake_recv_done(o.qp, IBV_WC_SUCCESS, 1, 0, 0);
        world_turn(&w);
        assert_int_equal(o.nwc, 200);
        for (uint64_t i = 0; i < 200; i++)
            assert_true(o.wc[i].id == (round << 32 | i % 100));
    }
    owner_close(&o);
    world_end(&w);
}

static void
test_post_fails(void **state)
{
    static char byte;
    struct verbs_world w;
    struct owner o;
    struct rnic_wr wr[4];

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    for (uint64_t i = 0; i < 4; i++)
        wr[i] = (struct rnic_wr){.id = i, .op = RNIC_SEND, .nsge = 1, .sge = {{&byte, 1, 5}}};
    fake.post_errno = EINVAL;
    fake.post_bad = 2;
    assert_int_equal(rnic_post_send(o.ep, wr, 4), -EINVAL);
    assert_int_equal(fake_sends(o.qp), 2);
    fake.post_bad = 0;
    assert_int_equal(owner_recv(&o, 9), -EINVAL);
    fake.post_errno = 0;
    rnic_disconnect(o.ep);
    fake_send_done(o.qp, IBV_WC_WR_FLUSH_ERR);
    fake_send_done(o.qp, IBV_WC_WR_FLUSH_ERR);
    world_turn(&w);
    assert_int_equal(o.nwc, 2); /* those that were posted come back */
    assert_true(o.wc[0].id == 0 && o.wc[1].id == 1);
    for (uint64_t i = 0; i < 8; i++) /* and the others have no place */
        assert_int_equal(owner_send(&o, i, false), 0);
    owner_close(&o);
    world_end(&w);
}

/* ---- queues -----------------------------------------------------------------------------------
 */

static struct owner many[40];

/* Fills all that the connections may have under way, completes it, and counts. */
static void
fill_all(struct verbs_world *w, unsigned n, const struct rnic_depth *d)
{
    for (unsigned i = 0; i < n; i++) {
        many[i].nwc = 0;
        for (uint32_t k = 0; k < d->send; k++)
            assert_int_equal(owner_send(&many[i], k, false), 0);
        for (uint32_t k = 0; k < d->recv; k++)
            assert_int_equal(owner_recv(&many[i], k), 0);
    }
    for (unsigned i = 0; i < n; i++) {
        for (uint32_t k = 0; k < d->send; k++)
            fake_send_done(many[i].qp, IBV_WC_SUCCESS);
        for (uint32_t k = 0; k < d->recv; k++)
            fake_recv_done(many[i].qp, IBV_WC_SUCCESS, 1, 0, 0);
    }
    for (int i = 0; i < 20; i++)
        world_turn(w);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(many[i].nwc, d->send + d->recv);
}

static void
test_queue_grows(void **state)
{
    static const struct rnic_depth d = {.send = 30, .recv = 34};
    struct verbs_world w;

    (void)state;
    world_begin(&w);
    fake.cq_exact = true;
    for (unsigned i = 0; i < 40; i++) {
        owner_init(&many[i], &w);
        owner_up(&many[i], &d);
    }
    assert_int_equal(fake.cqs, 1);
    assert_int_equal(fake.comp_channels, 1);
    assert_int_equal(fake.channels, 1);
    assert_int_equal(w.nwatches, 2);
    assert_in_range(fake.resizes, 1, 5); /* it doubles */
    fill_all(&w, 40, &d);
    for (unsigned i = 0; i < 40; i++)
        owner_close(&many[i]);
    world_end(&w);
}

/* A device that cannot make a queue grow gets a second one on the same channel. */
static void
test_queue_cannot_grow(void **state)
{
    static const struct rnic_depth d = {.send = 30, .recv = 34};

    (void)state;
    for (int how = 0; how < 2; how++) {
        struct verbs_world w;

        world_begin(&w);
        fake.cq_exact = true;
        if (how == 0)
            fake.resize_errno = ENOSYS;
        else
            fake.attr.max_cqe = 300;
        for (unsigned i = 0; i < 16; i++) {
            owner_init(&many[i], &w);
            owner_up(&many[i], &d);
        }
        assert_int_equal(fake.cqs, 4);
        assert_int_equal(fake.comp_channels, 1);
        fill_all(&w, 16, &d);
        for (unsigned i = 0; i < 16; i++)
            owner_close(&many[i]);
        world_end(&w);
    }
}

static void
test_no_further_queue(void **state)
{
    static const struct rnic_depth d = {.send = 130, .recv = 126};
    struct verbs_world w;
    struct owner *o = &many[1];

    (void)state;
    world_begin(&w);
    fake.cq_exact = true;
    fake.resize_errno = ENOSYS;
    owner_init(&many[0], &w);
    owner_init(o, &w);
    owner_up(&many[0], &d);
    assert_int_equal(owner_resolve(o, &d), 0);
    fake.fail_at = fake.made + 2; /* route, then the queue */
    fake_cm(o->id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    fake_cm(o->id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    world_turn(&w);
    assert_string_equal(o->order, "x");
    assert_int_equal(o->err, -ENOMEM);
    fill_all(&w, 1, &d); /* the other one goes on */
    owner_close(&many[0]);
    owner_close(o);
    world_end(&w);
}

/* A connection that ends at once, with all that it may have under way. */
static void
fill_and_end(void *user)
{
    struct owner *o = user;

    o->resolved++;
    o->qp = fake_qp_of(o->id);
    for (uint32_t k = 0; k < 200; k++)
        assert_int_equal(owner_recv(o, 1000 + k), 0);
    rnic_disconnect(o->ep);
    for (uint32_t k = 0; k < 200; k++)
        assert_int_equal(owner_send(o, k, false), 0);
    for (uint32_t k = 0; k < 200; k++) {
        fake_recv_done(o->qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
        fake_send_done(o->qp, IBV_WC_WR_FLUSH_ERR);
    }
}

/* What a closed connection has left in the queue is dropped, and its room is given away only when
 * it is known to be empty: the fake asserts that nothing overflows. */
static void
test_left_overs(void **state)
{
    static const struct rnic_depth d = {.send = 200, .recv = 200};
    static struct rnic_events ev;
    struct verbs_world w;
    struct owner *a = &many[0], *b = &many[1];

    (void)state;
    ev = owner_events;
    ev.resolved = fill_and_end;
    world_begin(&w);
    fake.cq_exact = true;
    owner_init(&many[2], &w);
    owner_up(&many[2], &small_depth); /* keeps the device open */
    owner_init(a, &w);
    owner_up(a, &d);
    for (uint32_t k = 0; k < 200; k++) {
        assert_int_equal(owner_recv(a, k), 0);
        assert_int_equal(owner_send(a, k, false), 0);
    }
    for (uint32_t k = 0; k < 200; k++) {
        fake_recv_done(a->qp, IBV_WC_SUCCESS, 1, 0, 0);
        fake_send_done(a->qp, IBV_WC_SUCCESS);
    }
    owner_close(a);
    owner_init(b, &w);
    assert_int_equal(owner_resolve(b, &d), 0);
    rnic_set_events(b->ep, &ev, b);
    /* These come before completions, since their descriptor was watched first. */
    fake_cm(b->id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    fake_cm(b->id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(a->nwc, 0);
    assert_int_equal(b->nwc, 400);
    assert_int_equal(b->wc[0].id, 1000);
    assert_int_equal(fake.resizes, 2);
    owner_close(b); /* and when it is, the room is had again */
    world_turn(&w);
    owner_init(b, &w);
    owner_up(b, &d);
    assert_int_equal(fake.resizes, 2);
    owner_close(b);
    owner_close(&many[2]);
    world_end(&w);
}

/* Completions that nobody can have asked for, as a device that is broken might make them. */
static void
test_strays(void **state)
{
    struct verbs_world w;
    struct owner o;
    uint64_t id;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(owner_send(&o, 5, false), 0);
    id = fake_send(o.qp, 0)->wr_id;
    fake_stray(o.qp->cq, 0);
    fake_stray(o.qp->cq, UINT64_MAX);
    fake_stray(o.qp->cq, id + 1);                    /* not posted yet */
    fake_stray(o.qp->cq, id | UINT64_C(0x80000000)); /* a receive */
    fake_stray(o.qp->cq, id + (UINT64_C(1) << 32));  /* another connection's */
    fake_send_done(o.qp, IBV_WC_SUCCESS);
    fake_stray(o.qp->cq, id); /* twice */
    world_turn(&w);
    assert_int_equal(o.nwc, 1);
    assert_int_equal(o.wc[0].id, 5);
    owner_close(&o);
    world_end(&w);
}

/* ---- inside callbacks -------------------------------------------------------------------------
 */

static void
test_closed_inside(void **state)
{
    (void)state;
    for (int both = 0; both <= 1; both++) {
        struct verbs_world w;
        struct owner a, b;

        world_begin(&w);
        owner_init(&a, &w);
        owner_init(&b, &w);
        owner_up(&a, &small_depth);
        owner_up(&b, &small_depth);
        for (uint64_t i = 0; i < 4; i++) {
            assert_int_equal(owner_recv(&a, i), 0);
            assert_int_equal(owner_recv(&b, i), 0);
        }
        fake_recv_done(a.qp, IBV_WC_SUCCESS, 1, 0, 0);
        fake_recv_done(b.qp, IBV_WC_SUCCESS, 1, 0, 0);
        fake_recv_done(a.qp, IBV_WC_SUCCESS, 1, 0, 0);
        fake_recv_done(b.qp, IBV_WC_SUCCESS, 1, 0, 0);
        a.close_at_wc = 1;
        if (both)
            a.other = b.ep;
        world_turn(&w);
        assert_int_equal(a.nwc, 1);
        assert_int_equal(b.nwc, both ? 0 : 2);
        if (!both)
            owner_close(&b);
        world_end(&w);
    }
}

/* One is closed inside, and its device with it, while two queues are walked. */
static void
test_closed_inside_of_two_queues(void **state)
{
    static const struct rnic_depth d = {.send = 130, .recv = 126};
    struct verbs_world w;
    struct owner *a = &many[0], *b = &many[1];

    (void)state;
    world_begin(&w);
    fake.cq_exact = true;
    fake.resize_errno = ENOSYS;
    for (int i = 0; i < 2; i++) {
        owner_init(&many[i], &w);
        owner_up(&many[i], &d);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(owner_recv(&many[i], 1), 0);
        fake_recv_done(many[i].qp, IBV_WC_SUCCESS, 1, 0, 0);
    }
    assert_int_equal(fake.cqs, 2);
    a->close_at_wc = 1;
    a->other = b->ep;
    world_turn(&w);
    assert_int_equal(a->nwc, 1);
    assert_int_equal(b->nwc, 0);
    world_end(&w);
}

/* The last one is closed inside, and a new one begins there. */
static struct owner successor;

static void
begin_successor(void *user, const struct rnic_wc *wc, unsigned n)
{
    struct owner *o = user;

    (void)wc;
    (void)n;
    owner_close(o);
    owner_init(&successor, o->w);
    assert_int_equal(owner_resolve(&successor, &small_depth), 0);
}

static void
test_begun_inside(void **state)
{
    static struct rnic_events ev;
    struct verbs_world w;
    struct owner o;

    (void)state;
    ev = owner_events;
    ev.completed = begin_successor;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(owner_recv(&o, 1), 0);
    assert_int_equal(owner_recv(&o, 2), 0);
    rnic_set_events(o.ep, &ev, &o);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 1, 0, 0);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 1, 0, 0);
    world_turn(&w);
    fake_cm(successor.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    fake_cm(successor.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    world_turn(&w);
    assert_string_equal(successor.order, "r");
    owner_close(&successor);
    world_end(&w);
}

/* ---- waking and spinning ----------------------------------------------------------------------
 */

/* Completes one receive after the other, each in a turn of its own. */
static void
one_by_one(struct verbs_world *w, struct owner *o, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(owner_recv(o, i), 0);
        fake_recv_done(o->qp, IBV_WC_SUCCESS, 1, 0, 0);
        world_turn(w);
        assert_int_equal(o->nwc, i + 1);
    }
}

static void
test_waking(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    world_turn(&w);
    assert_int_equal(fake.notifies, 1); /* armed, and nothing deferred: the loop may sleep */
    assert_true(list_empty(&w.f.deferred));
    one_by_one(&w, &o, 200);
    assert_int_equal(fake.cq_events, 200);
    assert_in_range(fake.ack_calls, 1, 4); /* events are acknowledged together */
    assert_true(list_empty(&w.f.deferred));
    owner_close(&o);
    world_end(&w);
}

static struct owner *racing;

static void
completes_now(void)
{
    fake_recv_done(racing->qp, IBV_WC_SUCCESS, 1, 0, 0);
}

/* What completes just before a queue is armed makes no event. */
static void
test_waking_race(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    racing = &o;
    owner_up(&o, &small_depth);
    world_turn(&w);
    assert_int_equal(owner_recv(&o, 1), 0);
    assert_int_equal(owner_recv(&o, 2), 0);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 1, 0, 0);
    fake.before_arm = completes_now;
    world_turn(&w);
    assert_int_equal(o.nwc, 2);
    assert_int_equal(fake.cq_events, 1);
    owner_close(&o);
    world_end(&w);
}

/* With much to do others have their turn between, and nothing is armed meanwhile. */
static void
test_fairness(void **state)
{
    static const struct rnic_depth d = {.send = 8, .recv = 500};
    struct verbs_world w;
    struct owner o;
    unsigned notifies;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &d);
    world_turn(&w);
    for (uint64_t i = 0; i < 500; i++)
        assert_int_equal(owner_recv(&o, i), 0);
    for (int i = 0; i < 500; i++)
        fake_recv_done(o.qp, IBV_WC_SUCCESS, 1, 0, 0);
    notifies = fake.notifies;
    call_only_watches(&w);
    assert_int_equal(o.nwc, 64);
    assert_int_equal(fake.notifies, notifies);
    world_turn(&w);
    assert_in_range(w.rounds, 6, 9);
    assert_int_equal(o.nwc, 500);
    assert_int_equal(fake.notifies, notifies + 1);
    assert_int_equal(fake.cq_events, 1);
    owner_close(&o);
    world_end(&w);
}

static void
test_spinning(void **state)
{
    struct verbs_world w;
    struct owner o;
    unsigned notifies;

    (void)state;
    world_begin(&w);
    rnic_spin(&w.f.l, 5000);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    world_turn(&w);
    assert_true(list_empty(&w.f.deferred)); /* not before there was something */
    one_by_one(&w, &o, 1);
    notifies = fake.notifies;
    assert_false(list_empty(&w.f.deferred)); /* the loop does not sleep */
    for (int i = 0; i < 10; i++) {
        w.f.l.now_ns += 4000; /* each comes early enough */
        o.nwc = 0;
        one_by_one(&w, &o, 1);
        assert_false(list_empty(&w.f.deferred));
    }
    assert_int_equal(fake.notifies, notifies);
    assert_int_equal(fake.cq_events, 1);
    w.f.l.now_ns += 4000;
    world_turn(&w);
    assert_false(list_empty(&w.f.deferred));
    w.f.l.now_ns += 1000;
    world_turn(&w);
    assert_true(list_empty(&w.f.deferred)); /* it sleeps, and will be woken */
    assert_int_equal(fake.notifies, notifies + 1);
    o.nwc = 0;
    one_by_one(&w, &o, 1);
    assert_int_equal(fake.cq_events, 2);
    rnic_spin(&w.f.l, 0);
    world_turn(&w);
    assert_true(list_empty(&w.f.deferred));
    owner_close(&o);
    owner_init(&o, &w);
    owner_up(&o, &small_depth); /* what was asked for outlives what a loop has of its own */
    rnic_spin(&w.f.l, 5000);
    owner_close(&o);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    one_by_one(&w, &o, 1);
    assert_false(list_empty(&w.f.deferred));
    owner_close(&o); /* while it spins */
    world_end(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_content),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_quiet_at_the_end),
        cmocka_unit_test(test_receive_room),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_post_fails),
        cmocka_unit_test(test_queue_grows),
        cmocka_unit_test(test_queue_cannot_grow),
        cmocka_unit_test(test_no_further_queue),
        cmocka_unit_test(test_left_overs),
        cmocka_unit_test(test_strays),
        cmocka_unit_test(test_closed_inside),
        cmocka_unit_test(test_closed_inside_of_two_queues),
        cmocka_unit_test(test_begun_inside),
        cmocka_unit_test(test_waking),
        cmocka_unit_test(test_waking_race),
        cmocka_unit_test(test_fairness),
        cmocka_unit_test(test_spinning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
