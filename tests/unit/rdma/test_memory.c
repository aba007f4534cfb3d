/* SPDX-License-Identifier: MIT */
/* Regions, windows, the requests that name them, and memory that is not enough. */
#include "tests/unit/rdma/verbs_world.h"

#include <errno.h>
#include <sys/resource.h>

#include "rdma/internal.h"

static char memory[8192];

static void
test_regions(void **state)
{
    static const struct {
        unsigned access;
        int flags;
    } rows[] = {
        {0, IBV_ACCESS_LOCAL_WRITE},
        {RNIC_PEER_READS, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ},
        {RNIC_PEER_WRITES, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE},
        {RNIC_WINDOWS, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND},
    };
    struct verbs_world w;
    struct owner o;
    struct rnic_mr *mr[4];
    struct lunette_error err = {0};

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_ready(&o, &small_depth);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rnic_reg(o.ep, memory, sizeof(memory), rows[i].access, &mr[i], &err), 0);
        assert_int_equal(mr[i]->rkey >> 24, rows[i].flags); /* the fake puts them there */
        assert_true(mr[i]->lkey != 0);
    }
    assert_int_equal(fake.mrs, 4);
    rnic_dereg(o.ep, mr[1]);
    assert_int_equal(fake.mrs, 3);
    owner_close(&o); /* the others go with it */
    world_end(&w);
}

static void
test_not_enough(void **state)
{
    struct verbs_world w;
    struct owner o;
    struct rnic_mr *mr = NULL;
    struct rnic_mw *mw = NULL;
    struct lunette_error err = {0};

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_ready(&o, &small_depth);
    fake.reg_errno = ENOMEM;
    assert_int_equal(rnic_reg(o.ep, memory, sizeof(memory), 0, &mr, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "8192"));
    fake.reg_errno = EFAULT;
    assert_int_equal(rnic_reg(o.ep, memory, sizeof(memory), 0, &mr, &err), -EFAULT);
    assert_non_null(strstr(err.msg, "fake0"));
    fake.reg_errno = 0;
    fake.fail_at = fake.made + 1;
    assert_int_equal(rnic_mw_new(o.ep, &mw, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "window"));
    assert_true(mr == NULL && mw == NULL);
    owner_close(&o);
    world_end(&w);
}

static void
test_locked(void **state)
{
    static const char status[] = "Name:\tx\nVmLck:\t      12 kB\nVmPin:\t    3000 kB\n"
                                 "CapInh:\t0000000000000000\nCapEff:\t";
    char text[300];
    struct verbs_locked l = {.limit = 4000000};
    struct lunette_error err = {0};

    (void)state;
    (void)snprintf(text, sizeof(text), "%s%s", status, "0000000000000000\n");
    verbs_locked_read(text, &l);
    assert_true(l.used == 3000 * 1024 && !l.exempt && l.limit == 4000000);
    assert_int_equal(verbs_locked_say(&err, &l, "a thing", 1000000, "rxe0"), -ENOMEM);
    assert_non_null(strstr(err.msg, "a thing needs 1000000 bytes"));
    assert_non_null(strstr(err.msg, "3072000 that are locked already"));
    assert_non_null(strstr(err.msg, "(RLIMIT_MEMLOCK) is 4000000"));
    assert_non_null(strstr(err.msg, "ulimit -l"));
    /* There would be room, there is no limit, or it does not hold for this process. */
    assert_int_equal(verbs_locked_say(&err, &l, "a thing", 1000, "rxe0"), -ENOMEM);
    assert_null(strstr(err.msg, "RLIMIT"));
    assert_non_null(strstr(err.msg, "rxe0"));
    l.limit = UINT64_MAX;
    (void)verbs_locked_say(&err, &l, "a thing", UINT64_C(1) << 50, "rxe0");
    assert_null(strstr(err.msg, "RLIMIT"));
    (void)snprintf(text, sizeof(text), "%s%s", status, "0000000000004000\n");
    l = (struct verbs_locked){.limit = 4096};
    verbs_locked_read(text, &l);
    assert_true(l.exempt);
    (void)verbs_locked_say(&err, &l, "a thing", 1000000, "rxe0");
    assert_null(strstr(err.msg, "RLIMIT"));
    verbs_locked_read("", &l); /* it cannot be read */
    assert_true(l.used == 0 && !l.exempt);
    (void)verbs_locked_say(&err, &l, "a thing", 1000000, "rxe0");
    assert_non_null(strstr(err.msg, "4096"));
}

static void
test_windows(void **state)
{
    struct verbs_world w;
    struct owner o;
    struct rnic_mr *mr;
    struct rnic_mw *mw, *other;
    const struct ibv_send_wr *wr;
    uint32_t key, first;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(rnic_reg(o.ep, memory, sizeof(memory), RNIC_WINDOWS, &mr, NULL), 0);
    assert_int_equal(rnic_mw_new(o.ep, &mw, NULL), 0);
    assert_int_equal(rnic_mw_new(o.ep, &other, NULL), 0);
    first = mw->rkey;
    for (int i = 0; i < 3; i++) { /* the low byte wraps: the fake begins at 0xfe */
        struct rnic_wr two[] = {
            {.id = 1,
             .op = RNIC_BIND,
             .quiet = true,
             .bind = {mw, mr, memory + 100, 50, RNIC_PEER_READS}},
            {.id = 2, .op = RNIC_SEND, .nsge = 2, .sge = {{memory, 3, 4}, {memory + 5, 6, 7}}}};

        key = rnic_next_rkey(mw);
        assert_int_equal(key >> 8, first >> 8);
        assert_int_not_equal(key, mw->rkey);
        assert_int_equal(rnic_post_send(o.ep, two, 2), 0);
        assert_int_equal(mw->rkey, key);
        wr = fake_send(o.qp, 0);
        assert_int_equal(wr->opcode, IBV_WR_BIND_MW);
        assert_int_equal(wr->send_flags & IBV_SEND_SIGNALED, 0);
        assert_int_equal(wr->bind_mw.rkey, key);
        assert_int_equal(wr->bind_mw.bind_info.addr, (uintptr_t)memory + 100);
        assert_int_equal(wr->bind_mw.bind_info.length, 50);
        assert_int_equal(wr->bind_mw.bind_info.mw_access_flags, IBV_ACCESS_REMOTE_READ);
        assert_int_equal(wr->bind_mw.bind_info.mr->lkey, mr->lkey);
        wr = fake_send(o.qp, 1);
        assert_int_equal(wr->opcode, IBV_WR_SEND);
        assert_int_equal(wr->num_sge, 2);
        assert_true(wr->sg_list[1].addr == (uintptr_t)memory + 5 && wr->sg_list[1].length == 6 &&
                    wr->sg_list[1].lkey == 7);
        fake_send_done(o.qp, IBV_WC_SUCCESS);
        fake_send_done(o.qp, IBV_WC_SUCCESS);
        world_turn(&w);
    }
    rnic_mw_free(o.ep, other);
    assert_int_equal(fake.mws, 1);
    owner_close(&o);
    world_end(&w);
}

/* The library has to know of a bind before the next one of the same window is posted, which the
 * fake asserts. */
static void
test_two_binds_in_one_call(void **state)
{
    struct verbs_world w;
    struct owner o;
    struct rnic_mr *mr;
    struct rnic_mw *mw[2];
    struct rnic_wr wr[6];
    uint32_t key;

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(rnic_reg(o.ep, memory, sizeof(memory), RNIC_WINDOWS, &mr, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(rnic_mw_new(o.ep, &mw[i], NULL), 0);
    key = mw[0]->rkey;
    for (uint64_t i = 0; i < 6; i++)
        wr[i] = (struct rnic_wr){
            .id = i, .op = RNIC_BIND, .bind = {mw[i == 1], mr, memory, 1, RNIC_PEER_WRITES}};
    wr[3] = (struct rnic_wr){.id = 3, .op = RNIC_INVALIDATE, .invalidate = 0x4711};
    assert_int_equal(rnic_post_send(o.ep, wr, 6), 0);
    assert_int_equal(mw[0]->rkey, (key & ~0xffu) | ((key + 4) & 0xff));
    assert_int_equal(fake_sends(o.qp), 6);
    assert_int_equal(fake_send(o.qp, 3)->opcode, IBV_WR_LOCAL_INV);
    assert_int_equal(fake_send(o.qp, 3)->invalidate_rkey, 0x4711);
    for (int i = 0; i < 6; i++)
        fake_send_done(o.qp, IBV_WC_SUCCESS);
    world_turn(&w);
    for (uint64_t i = 0; i < 6; i++)
        assert_int_equal(o.wc[i].id, i);
    /* A bind that was not posted leaves the window as it was. */
    key = mw[0]->rkey;
    fake.post_errno = EINVAL;
    assert_int_equal(rnic_post_send(o.ep, wr, 1), -EINVAL);
    assert_int_equal(mw[0]->rkey, key);
    fake.post_errno = 0;
    owner_close(&o);
    world_end(&w);
}

static void
test_remote_requests(void **state)
{
    struct verbs_world w;
    struct owner o;
    struct rnic_wr wr[] = {
        {.op = RNIC_WRITE,
         .nsge = 1,
         .sge = {{memory, 10, 1}},
         .remote_addr = UINT64_C(0x123456789abcdef0),
         .rkey = 0xa},
        {.op = RNIC_READ, .nsge = 1, .sge = {{memory, 10, 1}}, .remote_addr = 2, .rkey = 0xb},
        {.op = RNIC_SEND, .nsge = 1, .sge = {{memory, 10, 1}}, .invalidate = 0xc}};

    (void)state;
    world_begin(&w);
    owner_init(&o, &w);
    owner_up(&o, &small_depth);
    assert_int_equal(rnic_post_send(o.ep, wr, 3), 0);
    assert_int_equal(fake_send(o.qp, 0)->opcode, IBV_WR_RDMA_WRITE);
    assert_true(fake_send(o.qp, 0)->wr.rdma.remote_addr == UINT64_C(0x123456789abcdef0));
    assert_int_equal(fake_send(o.qp, 0)->wr.rdma.rkey, 0xa);
    assert_int_equal(fake_send(o.qp, 1)->opcode, IBV_WR_RDMA_READ);
    assert_int_equal(fake_send(o.qp, 1)->wr.rdma.rkey, 0xb);
    assert_int_equal(fake_send(o.qp, 2)->opcode, IBV_WR_SEND_WITH_INV);
    assert_int_equal(fake_send(o.qp, 2)->invalidate_rkey, 0xc);
    owner_close(&o);
    world_end(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_not_enough),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_two_binds_in_one_call),
        cmocka_unit_test(test_remote_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
