/* SPDX-License-Identifier: MIT */
/* Connections of rdma/ from their beginning to their end. */
#include "tests/unit/rdma/verbs_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "rdma/rdma.h"

static void
test_up_and_closed(void **state)
{
    struct verbs_world w;
    struct owner o;
    struct sock_addr local, peer;
    struct rnic_caps caps;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_string_equal(o.order, "re");
    assert_int_equal(o.private_len, 196);
    assert_int_equal(o.private_data[0], 0xc0);
    assert_int_equal(fake.param.private_data_len, 4);
    assert_memory_equal(fake.private_data, "\x80\0\0", 4);
    assert_int_equal(fake.param.rnr_retry_count, 7); /* a peer without a receive is waited for */
    assert_int_equal(fake.param.retry_count, 7);
    assert_int_equal(fake.param.responder_resources, 16);
    assert_int_equal(fake.param.initiator_depth, 16);
    rnic_get_caps(o.ep, &caps);
    assert_true(caps.windows);
    assert_int_equal(caps.max_windows, 99);
    assert_true(caps.max_region == UINT64_C(1) << 40);
    assert_string_equal(caps.device, "fake0");
    assert_int_equal(rnic_names(o.ep, &local, &peer), 0);
    assert_int_equal(((struct sockaddr_in *)&peer.ss)->sin_port, htons(3260));
    assert_int_equal(((struct sockaddr_in *)&local.ss)->sin_port, htons(1024));
    assert_int_equal(fake.fork_inits <= 1, 1);
    owner_close(&o);
    assert_int_equal(fake.disconnects, 1); /* the peer hears of it */
    world_end(&w);
}

/* No more RDMA Reads are agreed on than the device can do. */
static void
test_reads_of_a_small_device(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    fake.attr.max_qp_rd_atom = 3;
    fake.attr.max_qp_init_rd_atom = 0;
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(fake.param.responder_resources, 3);
    assert_int_equal(fake.param.initiator_depth, 0);
    owner_close(&o);
    world_end(&w);
}

static void
test_source_and_family(void **state)
{
    struct verbs_world w;
    struct owner o;
    struct sock_addr to = world_addr("192.0.2.5", 3260), from = world_addr("192.0.2.77", 0);
    struct sock_addr path, local, peer;
    struct lunette_error err = {0};

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    assert_int_equal(rnic_resolve(&w.f.l, &to, &from, &small_depth, &owner_events, &o, &o.ep, &err),
                     0);
    o.id = fake.id;
    assert_int_equal(rnic_names(o.ep, &local, &peer), -ENOTCONN);
    fake_cm(o.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    fake_cm(o.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    world_turn(&w);
    assert_int_equal(rnic_names(o.ep, &local, &peer), 0);
    assert_int_equal(((struct sockaddr_in *)&local.ss)->sin_addr.s_addr, inet_addr("192.0.2.77"));
    owner_close(&o);
    assert_int_equal(sock_addr_local("/x", 2, &path, NULL), 0);
    assert_int_equal(
        rnic_resolve(&w.f.l, &path, NULL, &small_depth, &owner_events, &o, &o.ep, &err),
        -EAFNOSUPPORT);
    assert_non_null(strstr(err.msg, "/x"));
    world_end(&w);
}

/* Every event that ends a connection, told once, as an errno and a sentence. */
static void
test_ends(void **state)
{
    static const struct {
        enum rdma_cm_event_type event;
        int status, err;
        bool early; /* before the address is resolved */
        const char *word;
    } rows[] = {
        {RDMA_CM_EVENT_ADDR_ERROR, -ETIMEDOUT, -ETIMEDOUT, true, "nobody has the address"},
        {RDMA_CM_EVENT_ADDR_ERROR, -ENODEV, -ENODEV, true, "no RDMA device"},
        {RDMA_CM_EVENT_ADDR_ERROR, 0, -EHOSTUNREACH, true, "no RDMA device"},
        {RDMA_CM_EVENT_ROUTE_ERROR, -EINVAL, -EINVAL, true, "no RDMA route"},
        {RDMA_CM_EVENT_ROUTE_ERROR, 1, -EHOSTUNREACH, true, "no RDMA route"},
        {RDMA_CM_EVENT_REJECTED, 8, -ECONNREFUSED, false, "nobody listens"},
        {RDMA_CM_EVENT_REJECTED, 28, -ECONNREFUSED, false, "does not want it"},
        {RDMA_CM_EVENT_REJECTED, 3, -ECONNREFUSED, false, "no room"},
        {RDMA_CM_EVENT_REJECTED, 10, -ECONNREFUSED, false, "try again"},
        {RDMA_CM_EVENT_REJECTED, 99, -ECONNREFUSED, false, "reason 99"},
        {RDMA_CM_EVENT_REJECTED, -ECONNRESET, -ECONNREFUSED, false, "refused"},
        {RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, -ETIMEDOUT, false, "does not answer"},
        {RDMA_CM_EVENT_UNREACHABLE, 7, -ETIMEDOUT, false, "does not answer"},
        {RDMA_CM_EVENT_CONNECT_ERROR, -EINVAL, -EINVAL, false, "could not be set up"},
        {RDMA_CM_EVENT_DISCONNECTED, 0, -ECONNRESET, false, "has ended"},
        {RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV, false, "is gone"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct verbs_world w;
        struct owner o;

        world_begin(&w);
        owner_init(&o, &w);
        if (rows[i].early) {
            assert_int_equal(owner_resolve(&o, &small_depth), 0);
        } else {
            owner_ready(&o, &small_depth);
            assert_int_equal(rnic_connect(o.ep, NULL, 0, NULL), 0);
        }
        fake_cm(o.id, rows[i].event, rows[i].status, "because", 7);
        fake_cm(o.id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, NULL, 0);
        fake_cm(o.id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
        fake_cm(o.id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, 0);
        world_turn(&w);
        assert_int_equal(o.ended, 1);
        assert_int_equal(o.established, 0);
        assert_int_equal(o.err, rows[i].err);
        if (strstr(o.why, rows[i].word) == NULL || strstr(o.why, "192.0.2.5:3260") == NULL)
            fail_msg("row %zu: %s", i, o.why);
        owner_close(&o);
        world_end(&w);
    }
}

static void
test_nothing_for_others_to_do(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    fake_cm(o.id, RDMA_CM_EVENT_ADDR_CHANGE, 0, NULL, 0);
    fake_cm(o.id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, NULL, 0);
    fake_cm(o.id, (enum rdma_cm_event_type)99, 0, NULL, 0);
    fake_cm(o.id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, 0);
    fake_cm(o.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    fake_cm(o.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    world_turn(&w);
    assert_string_equal(o.order, "re");
    owner_close(&o);
    world_end(&w);
}

/* 127.0.0.1 with soft RDMA: the address resolves, and no more is heard. */
static void
test_route_never(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    assert_int_equal(owner_resolve(&o, &small_depth), 0);
    world_sleep(&w, SEC(3));
    fake_cm(o.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    world_turn(&w);
    world_sleep(&w, SEC(5));
    assert_int_equal(o.calls, 0);
    world_sleep(&w, SEC(2));
    assert_string_equal(o.order, "x");
    assert_int_equal(o.err, -ETIMEDOUT);
    assert_non_null(strstr(o.why, "loopback"));
    fake_cm(o.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0); /* too late */
    world_turn(&w);
    assert_string_equal(o.order, "x");
    owner_close(&o);
    world_end(&w);
}

static void
test_address_never(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    o.close_at_ended = true;
    assert_int_equal(owner_resolve(&o, &small_depth), 0);
    world_sleep(&w, SEC(7));
    assert_string_equal(o.order, "x");
    assert_int_equal(o.err, -ETIMEDOUT);
    world_end(&w);
}

/* Each call that makes something fails once: it is told, and nothing is left. */
static void
test_out_of_everything(void **state)
{
    unsigned told = 0, failed = 0, n = 1;

    (void)state;
    for (; n < 100; n++) {
        struct verbs_world w;
        struct owner o;
        bool over = false;

        world_begin(&w);
        fake.fail_at = n;
        owner_init(&o, &w);
        if (owner_resolve(&o, &small_depth) < 0) {
            failed++;
            assert_true(strlen(o.why) > 10);
        } else {
            fake_cm(o.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
            fake_cm(o.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
            world_turn(&w);
            if (o.ended > 0) {
                told++;
                assert_string_equal(o.order, "x");
                assert_int_equal(o.err, -ENOMEM);
            } else {
                struct lunette_error err = {0};

                assert_string_equal(o.order, "r");
                over = rnic_connect(o.ep, NULL, 0, &err) == 0;
                assert_true(over || err.code == -ENOMEM);
            }
            rnic_disconnect(o.ep);
            owner_close(&o);
        }
        world_end(&w);
        if (over)
            break;
    }
    assert_int_equal(failed, 3); /* channel, id, address */
    assert_true(told >= 5);
    assert_true(n < 100);
}

static void
test_no_device(void **state)
{
    struct verbs_world w;
    struct owner o;
    struct sock_addr at = world_addr("192.0.2.1", 0);
    struct lunette_error err = {0};
    struct rnic_ep *ep;

    (void)state;
    world_begin(&w);
    fake.no_device = true;
    owner_init(&o, &w);
    assert_int_equal(owner_resolve(&o, &small_depth), -ENODEV);
    assert_non_null(strstr(o.why, "this machine has "));
    assert_int_equal(rnic_listen(&w.f.l, &at, &small_depth, &owner_events, &o, &ep, NULL, &err),
                     -ENODEV);
    world_end(&w);
}

static void
test_usable(void **state)
{
    static const struct {
        bool no_device, no_driver;
        int channel_errno, err;
        const char *word;
    } rows[] = {
        {false, false, 0, 0, NULL},
        {true, false, 0, -ENODEV, "this machine has "},
        {false, true, 0, -ENODEV, "this machine has "},
        {false, false, ENODEV, -ENODEV, "this machine has "},
        {false, false, ENOENT, -ENODEV, "this machine has "},
        {false, false, EACCES, -EACCES, "/dev/infiniband/rdma_cm"},
        {false, false, EMFILE, -EMFILE, "cannot be used"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lunette_error err = {0};

        fake_verbs_reset();
        fake.no_device = rows[i].no_device;
        fake.no_driver = rows[i].no_driver;
        fake.channel_errno = rows[i].channel_errno;
        assert_int_equal(rdma_usable(&err), rows[i].err);
        assert_int_equal(rdma_usable(NULL), rows[i].err);
        if (rows[i].word != NULL)
            assert_non_null(strstr(err.msg, rows[i].word));
        fake_verbs_nothing_left();
    }
}

static void
test_too_deep(void **state)
{
    static const struct rnic_depth deep = {.send = 513, .recv = 4},
                                   deeper = {.send = 4, .recv = 70000};
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    assert_int_equal(owner_resolve(&o, &deep), 0);
    fake_cm(o.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
    fake_cm(o.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
    world_turn(&w);
    assert_string_equal(o.order, "x");
    assert_non_null(strstr(o.why, "512"));
    assert_non_null(strstr(o.why, "513"));
    owner_close(&o);
    assert_int_equal(owner_resolve(&o, &deeper), -EINVAL);
    world_end(&w);
}

/* Rows: what the device can have, what is wanted of it, and what that becomes; 0: no connection. */
static void
test_as_deep_as_the_device(void **state)
{
    static const struct {
        int pair, queue;
        struct rnic_depth wanted;
        uint32_t send, recv;
    } rows[] = {
        {512, 4096, {1024, 528, 64, 24}, 512, 512},  {512, 700, {1024, 528, 64, 24}, 188, 512},
        {512, 512, {1024, 528, 64, 24}, 64, 448},    {64, 4096, {1024, 528, 64, 24}, 64, 64},
        {512, 88, {1024, 528, 64, 24}, 64, 24},      {512, 87, {1024, 528, 64, 24}, 0, 0},
        {63, 4096, {1024, 528, 64, 24}, 0, 0},       {2000, 4096, {500, 400, 64, 24}, 500, 400},
        {512, 4096, {1024, 528, 64, 0}, 0, 0},       {512, 4096, {8, 528, 64, 24}, 8, 512},
        {512, 4096, {100, 100, 200, 200}, 100, 100}, {-1, 4096, {1024, 528, 64, 24}, 0, 0},
        {512, -1, {1024, 528, 64, 24}, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct verbs_world w;
        struct owner o;

        world_begin(&w);
        fake.attr.max_qp_wr = rows[i].pair;
        fake.attr.max_cqe = rows[i].queue;
        owner_init(&o, &w);
        assert_int_equal(owner_resolve(&o, &rows[i].wanted), 0);
        fake_cm(o.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
        fake_cm(o.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
        world_turn(&w);
        if (rows[i].send == 0) {
            assert_string_equal(o.order, "x");
            assert_non_null(strstr(o.why, "are wanted at least"));
        } else {
            struct rnic_caps caps;

            assert_int_equal(o.resolved, 1);
            rnic_get_caps(o.ep, &caps);
            assert_int_equal(caps.sends, rows[i].send);
            assert_int_equal(caps.recvs, rows[i].recv);
        }
        owner_close(&o);
        world_end(&w);
    }
}

/* The owner closes inside each callback, and may close another connection there. */
static void
test_closed_inside(void **state)
{
    (void)state;
    for (int at = 0; at < 3; at++) {
        struct verbs_world w;
        struct owner o, other;

        world_begin(&w);
        owner_init(&o, &w);
        owner_init(&other, &w);
        owner_up(&other, &small_depth);
        o.other = other.ep;
        o.close_at_resolved = at == 0;
        o.close_at_established = at == 1;
        o.close_at_ended = at == 2;
        assert_int_equal(owner_resolve(&o, &small_depth), 0);
        fake_cm(o.id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0);
        fake_cm(o.id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0);
        if (at == 0) { /* what is under way for either is dropped */
            fake_cm(other.id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
            fake_cm(o.id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
        }
        world_turn(&w);
        if (at > 0) {
            assert_int_equal(rnic_connect(o.ep, NULL, 0, NULL), 0);
            if (at == 1)
                fake_cm(o.id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, 0);
            fake_cm(o.id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
            world_turn(&w);
        }
        assert_string_equal(o.order, at == 0 ? "r" : at == 1 ? "re" : "rx");
        assert_null(o.ep);
        assert_int_equal(other.ended, 0);
        world_end(&w);
    }
}

/* What came before the peer left is told before that it has. */
static void
test_messages_before_the_end(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(owner_recv(&o, 1), 0);
    assert_int_equal(owner_recv(&o, 2), 0);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 9, 0, 0);
    fake_cm(o.id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
    world_turn(&w);
    assert_string_equal(o.order, "recx");
    assert_int_equal(o.nwc, 1);
    rnic_disconnect(o.ep);
    assert_true(o.qp->error);
    fake_recv_done(o.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
    world_turn(&w);
    assert_int_equal(o.nwc, 2);
    assert_int_equal(o.wc[1].status, RNIC_FLUSHED);
    owner_close(&o);

    owner_init(&o, &w); /* and the owner may close when it gets them */
    owner_up(&o, &small_depth);
    o.close_at_wc = 1;
    assert_int_equal(owner_recv(&o, 1), 0);
    fake_recv_done(o.qp, IBV_WC_SUCCESS, 9, 0, 0);
    fake_cm(o.id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
    world_turn(&w);
    assert_string_equal(o.order, "rec");
    world_end(&w);
}

static void
test_disconnect(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    assert_int_equal(owner_resolve(&o, &small_depth), 0);
    rnic_disconnect(o.ep); /* there is nothing yet */
    assert_int_equal(fake.disconnects, 0);
    owner_close(&o);
    owner_ready(&o, &small_depth);
    assert_int_equal(owner_recv(&o, 7), 0);
    assert_int_equal(owner_send(&o, 8, false), -ENOTCONN);
    rnic_disconnect(o.ep);
    rnic_disconnect(o.ep);
    assert_int_equal(fake.disconnects, 1);
    assert_int_equal(rnic_connect(o.ep, NULL, 0, NULL), -ENOTCONN);
    fake_cm(o.id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0);
    fake_recv_done(o.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
    assert_int_equal(owner_send(&o, 8, false), 0); /* comes back, too */
    fake_send_done(o.qp, IBV_WC_WR_FLUSH_ERR);
    world_turn(&w);
    assert_int_equal(o.ended, 0);
    assert_int_equal(o.nwc, 2);
    assert_int_equal(o.wc[0].id, 7);
    assert_int_equal(o.wc[1].id, 8);
    owner_close(&o);
    world_end(&w);
}

/* Soft RDMA never looks at a receive that is posted in the error state: those come back without it,
 * behind the others. */
static void
test_receives_after_the_end(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(owner_recv(&o, 1), 0);
    assert_int_equal(owner_recv(&o, 2), 0);
    rnic_disconnect(o.ep);
    assert_int_equal(owner_recv(&o, 3), 0);
    assert_int_equal(owner_recv(&o, 4), 0);
    assert_int_equal(owner_recv(&o, 5), -EAGAIN);
    assert_int_equal(fake_recvs(o.qp), 2);
    world_turn(&w);
    assert_int_equal(o.nwc, 0);
    fake_recv_done(o.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
    world_turn(&w);
    assert_int_equal(o.nwc, 1);
    fake_recv_done(o.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
    world_turn(&w);
    assert_int_equal(o.nwc, 4);
    assert_int_equal(owner_recv(&o, 5), 0); /* and where there is nothing before it */
    world_turn(&w);
    assert_int_equal(o.nwc, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_true(o.wc[i].id == i + 1 && o.wc[i].status == RNIC_FLUSHED && o.wc[i].recv);
    owner_close(&o);
    world_end(&w);
}

/* A device that is gone gives nothing back; all comes back all the same. */
static void
test_device_gone(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct verbs_world w;
        struct owner o;

        world_begin(&w);
        owner_init(&o, &w);
        owner_up(&o, &small_depth);
        for (uint64_t i = 0; i < 4; i++)
            assert_int_equal(owner_recv(&o, 100 + i), 0);
        assert_int_equal(owner_send(&o, 1, true), 0);
        assert_int_equal(owner_send(&o, 2, false), 0);
        fake_recv_done(o.qp, IBV_WC_SUCCESS, 3, 0, 0);
        if (how == 0)
            fake_cm(o.id, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, NULL, 0);
        else if (how == 1)
            fake.modify_errno = EIO;
        else
            fake.poll_broken = true;
        world_turn(&w);
        assert_int_equal(o.ended, how != 1);
        assert_int_equal(o.nwc, how == 2 ? 0 : 1);
        rnic_disconnect(o.ep);
        world_turn(&w);
        assert_int_equal(o.nwc, 6);
        for (unsigned i = how == 2 ? 0 : 1; i < 6; i++)
            assert_int_equal(o.wc[i].status, RNIC_FLUSHED);
        assert_int_equal(owner_send(&o, 3, false), 0);
        assert_int_equal(owner_recv(&o, 104), 0);
        world_turn(&w);
        assert_int_equal(o.nwc, 8);
        assert_int_equal(o.wc[6].id, 3);
        assert_int_equal(o.wc[7].id, 104);
        fake.poll_broken = false;
        if (how != 2)
            fake_send_done(o.qp, IBV_WC_WR_FLUSH_ERR); /* too late */
        world_turn(&w);
        assert_int_equal(o.nwc, 8);
        owner_close(&o);
        world_end(&w);
    }
}

static void
test_device_gone_closed_inside(void **state)
{
    struct verbs_world w;
    struct owner o;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(owner_recv(&o, 1), 0);
    assert_int_equal(owner_send(&o, 2, false), 0);
    fake.modify_errno = EIO;
    o.close_at_wc = 1;
    rnic_disconnect(o.ep);
    world_turn(&w);
    assert_int_equal(o.nwc, 1);
    world_end(&w);
}

/* An owner that posts again whatever comes back is not called for ever. */
static void
post_again(void *user, const struct rnic_wc *wc, unsigned n)
{
    struct owner *o = user;

    o->nwc += n;
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(wc[i].recv ? owner_recv(o, wc[i].id) : owner_send(o, wc[i].id, false), 0);
}

static void
test_posted_again(void **state)
{
    static struct rnic_events ev;

    (void)state;
    ev = owner_events;
    ev.completed = post_again;
    for (int gone = 0; gone <= 1; gone++) {
        struct verbs_world w;
        struct owner o;

        world_begin(&w);
        owner_init(&o, &w);
        owner_up(&o, &small_depth);
        rnic_set_events(o.ep, &ev, &o);
        fake.modify_errno = gone ? EIO : 0;
        assert_int_equal(owner_recv(&o, 1), 0);
        assert_int_equal(owner_recv(&o, 2), 0);
        rnic_disconnect(o.ep);
        if (!gone) {
            fake_recv_done(o.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
            fake_recv_done(o.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
        }
        world_turn(&w);
        assert_in_range(o.nwc, 4, 60); /* in one turn */
        owner_close(&o);
        world_end(&w);
    }
}

/* A device that fails takes all its connections with it, whoever closes which meanwhile. */
static void
test_queue_fails_for_all(void **state)
{
    struct verbs_world w;
    struct owner o[3];

    (void)state;
    world_begin(&w);
    for (int i = 0; i < 3; i++) {
        owner_init(&o[i], &w);
        owner_up(&o[i], &small_depth);
    }
    o[0].close_at_ended = true;
    o[0].other = o[1].ep;
    assert_int_equal(owner_recv(&o[2], 1), 0);
    fake_recv_done(o[2].qp, IBV_WC_SUCCESS, 3, 0, 0);
    fake.poll_broken = true;
    world_turn(&w);
    world_turn(&w);
    assert_int_equal(o[0].ended, 1);
    assert_int_equal(o[1].ended, 0);
    assert_int_equal(o[2].ended, 1);
    assert_int_equal(o[2].err, -EIO);
    owner_close(&o[2]);
    world_end(&w);
}

/* ---- listeners --------------------------------------------------------------------------------
 */

static void
listen_on(struct owner *o)
{
    struct sock_addr at = world_addr("192.0.2.1", 0), bound;

    assert_int_equal(
        rnic_listen(&o->w->f.l, &at, &small_depth, &owner_events, o, &o->ep, &bound, NULL), 0);
    o->id = fake.id;
    assert_int_equal(((struct sockaddr_in *)&bound.ss)->sin_port, htons(4711));
    assert_true(fake.listening >= 16);
}

static void
test_listen(void **state)
{
    struct verbs_world w;
    struct owner o, a;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_init(&a, &w);
    o.accepted = &a;
    listen_on(&o);
    a.id = fake_cm_request(o.id, "\xc0\0\0\0\1", 5);
    world_turn(&w);
    assert_string_equal(o.order, "q");
    assert_int_equal(o.private_len, 5);
    assert_memory_equal(o.private_data, "\xc0\0\0\0\1", 5);
    a.qp = fake_qp_of(a.id);
    assert_int_equal(owner_recv(&a, 1), 0);
    assert_int_equal(rnic_accept(a.ep, "\xc0\0\0", 4, NULL), 0);
    assert_int_equal(fake.param.responder_resources, 4); /* what the peer asked for */
    assert_int_equal(fake.param.initiator_depth, 16);    /* what this side can do */
    fake_cm(a.id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, 0);
    world_turn(&w);
    assert_string_equal(a.order, "e");
    owner_close(&o); /* the connection goes on */
    assert_int_equal(owner_send(&a, 2, false), 0);
    fake_send_done(a.qp, IBV_WC_SUCCESS);
    world_turn(&w);
    assert_int_equal(a.nwc, 1);
    owner_close(&a);
    assert_int_equal(fake.rejects, 0);
    world_end(&w);
}

static void
test_listen_refuses(void **state)
{
    struct verbs_world w;
    struct owner o, a;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_init(&a, &w);
    listen_on(&o);
    (void)fake_cm_request(o.id, NULL, 0); /* closed inside */
    world_turn(&w);
    assert_int_equal(fake.rejects, 1);
    o.accepted = &a;
    (void)fake_cm_request(o.id, NULL, 0); /* ... later */
    world_turn(&w);
    owner_close(&a);
    assert_int_equal(fake.rejects, 2);
    o.close_at_requested = true;
    (void)fake_cm_request(o.id, NULL, 0); /* and the listener is closed inside */
    (void)fake_cm_request(o.id, NULL, 0); /* this one is not told of any more */
    world_turn(&w);
    assert_int_equal(o.requested, 3);
    owner_close(&a);
    world_end(&w);
}

/* A request for which there is no memory is refused, and the listener goes on. */
static void
test_listen_out_of_everything(void **state)
{
    unsigned n = 1, refused_ones = 0;

    (void)state;
    for (; n < 100; n++) {
        struct verbs_world w;
        struct owner o, a;
        bool over;

        world_begin(&w);
        owner_init(&o, &w);
        owner_init(&a, &w);
        o.accepted = &a;
        listen_on(&o);
        fake.fail_at = fake.made + 1 + n; /* the request makes an id itself */
        (void)fake_cm_request(o.id, NULL, 0);
        world_turn(&w);
        over = o.requested > 0;
        refused_ones += fake.rejects;
        assert_int_equal(fake.rejects + o.requested, 1);
        owner_close(&a);
        fake.fail_at = 0;
        (void)fake_cm_request(o.id, NULL, 0);
        world_turn(&w);
        assert_int_equal(o.requested, over ? 2 : 1);
        owner_close(&a);
        owner_close(&o);
        world_end(&w);
        if (over)
            break;
    }
    assert_true(refused_ones >= 4);
    assert_true(n < 100);
}

static void
test_listen_fails(void **state)
{
    struct sock_addr at = world_addr("192.0.2.1", 0);

    (void)state;
    for (unsigned n = 1; n <= 4; n++) { /* channel, id, address, listening */
        struct verbs_world w;
        struct lunette_error err = {0};
        struct rnic_ep *ep = NULL;

        world_begin(&w);
        fake.fail_at = n;
        assert_int_equal(rnic_listen(&w.f.l, &at, &small_depth, &owner_events, &w, &ep, NULL, &err),
                         -ENOMEM);
        assert_true(strlen(err.msg) > 10);
        assert_null(ep);
        world_end(&w);
    }
}

/* The peer's first message overtakes the event that says that the connection is up. */
static void
test_message_before_established(void **state)
{
    (void)state;
    for (int closes = 0; closes <= 1; closes++) {
        struct verbs_world w;
        struct owner o, a;

        world_begin(&w);
        owner_init(&o, &w);
        owner_init(&a, &w);
        o.accepted = &a;
        listen_on(&o);
        a.id = fake_cm_request(o.id, NULL, 0);
        world_turn(&w);
        a.qp = fake_qp_of(a.id);
        assert_int_equal(owner_recv(&a, 1), 0);
        assert_int_equal(rnic_accept(a.ep, NULL, 0, NULL), 0);
        a.close_at_established = closes > 0;
        fake_recv_done(a.qp, IBV_WC_SUCCESS, 3, 0, 0);
        world_turn(&w);
        assert_string_equal(a.order, closes > 0 ? "e" : "ec");
        assert_int_equal(fake.told_up, 1);
        if (closes == 0) {
            fake_cm(a.id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, 0);
            world_turn(&w);
            assert_string_equal(a.order, "ec");
        }
        owner_close(&a);
        owner_close(&o);
        world_end(&w);
    }
}

/* What a pair that has broken gives back before it is up waits for rnic_disconnect, and the owner
 * is told that nothing comes of it. */
static void
test_flush_before_established(void **state)
{
    struct verbs_world w;
    struct owner o, a;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_init(&a, &w);
    o.accepted = &a;
    listen_on(&o);
    a.id = fake_cm_request(o.id, NULL, 0);
    world_turn(&w);
    a.qp = fake_qp_of(a.id);
    assert_int_equal(owner_recv(&a, 1), 0);
    assert_int_equal(owner_recv(&a, 2), 0);
    assert_int_equal(rnic_accept(a.ep, NULL, 0, NULL), 0);
    fake_recv_done(a.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0);
    world_turn(&w);
    assert_string_equal(a.order, "x");
    assert_int_equal(a.err, -ECONNRESET);
    rnic_disconnect(a.ep);
    fake_recv_done(a.qp, IBV_WC_WR_FLUSH_ERR, 0, 0, 0); /* the device is slow with the other */
    world_turn(&w);
    assert_string_equal(a.order, "xc");
    assert_int_equal(a.nwc, 2);
    assert_int_equal(a.wc[0].status, RNIC_FLUSHED);
    assert_int_equal(a.wc[1].status, RNIC_FLUSHED);
    owner_close(&a);
    owner_close(&o);
    world_end(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_and_closed),
        cmocka_unit_test(test_reads_of_a_small_device),
        cmocka_unit_test(test_source_and_family),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_nothing_for_others_to_do),
        cmocka_unit_test(test_route_never),
        cmocka_unit_test(test_address_never),
        cmocka_unit_test(test_out_of_everything),
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_usable),
        cmocka_unit_test(test_too_deep),
        cmocka_unit_test(test_as_deep_as_the_device),
        cmocka_unit_test(test_closed_inside),
        cmocka_unit_test(test_messages_before_the_end),
        cmocka_unit_test(test_disconnect),
        cmocka_unit_test(test_receives_after_the_end),
        cmocka_unit_test(test_device_gone),
        cmocka_unit_test(test_device_gone_closed_inside),
        cmocka_unit_test(test_posted_again),
        cmocka_unit_test(test_queue_fails_for_all),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_listen_refuses),
        cmocka_unit_test(test_listen_out_of_everything),
        cmocka_unit_test(test_listen_fails),
        cmocka_unit_test(test_message_before_established),
        cmocka_unit_test(test_flush_before_established),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
