/* SPDX-License-Identifier: MIT */
/* Memory that is registered: who is told of it and when, and when it can be taken away. */
#include "tests/unit/dataplane/dpw.h"

static char memory[65536];

static struct command {
    struct scsi_cmd sc;
    struct iovec iov[2];
    unsigned done;
} cmd;

static void
cmd_done(struct scsi_cmd *sc)
{
    (void)sc;
    cmd.done++;
}

/* The target opens a window of eight commands. */
static void
open_window(void)
{
    union bhs_any h;

    fake_adapter.exp_cmdsn = 0;
    fake_adapter.max_cmdsn = 7;
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    assert_int_equal(fake_pdu(&h, NULL, 0, false), 0);
}

/* A command that reads to p, behind a few bytes that go elsewhere. */
static void
send_read(struct dpw *w, uint32_t sid, void *p, size_t len)
{
    static char elsewhere[16];
    struct scsi_host *h = dataplane_host(w->dp, sid);

    open_window();
    memset(&cmd, 0, sizeof(cmd));
    cmd.iov[0] = (struct iovec){elsewhere, sizeof(elsewhere)};
    cmd.iov[1] = (struct iovec){p, len};
    cmd.sc.done = cmd_done;
    cmd.sc.cdb_len = 16;
    cmd.sc.attr = 1;
    cmd.sc.in = sg_from_iov(cmd.iov, 2, 0, (uint32_t)(sizeof(elsewhere) + len));
    assert_int_equal(h->ops->queuecommand(h, &cmd.sc), 0);
    h->ops->commit(h);
    fake_turn(&w->fl);
}

static int
add(struct dpw *w, size_t at, size_t len)
{
    return dataplane_mem_add(w->dp, memory + at, len, NULL);
}

static int
take_away(struct dpw *w, size_t at)
{
    return dataplane_mem_remove(w->dp, memory + at, NULL);
}

static void
told(unsigned adds, unsigned removes)
{
    assert_int_equal(fake_adapter.mem_adds, adds);
    assert_int_equal(fake_adapter.mem_removes, removes);
}

/* Before there are sessions, while there are some, and to those that come; not to those that are
 * gone, and to no session whose transport does not want it. */
static void
test_who_is_told(void **state)
{
    struct dpw *w = dpw_new();
    struct iscsi_uevent tcp = {.type = ISCSI_UEVENT_CREATE_SESSION};
    uint32_t first;

    (void)state;
    assert_int_equal(add(w, 0, 100), 0);
    told(0, 0);
    first = dpw_session(w);
    told(1, 0);
    assert_int_equal(add(w, 100, 4096), 0);
    told(2, 0);
    (void)dpw_session(w);
    told(4, 0);
    strcpy(tcp.u.create_session.transport, "tcp");
    assert_int_equal(dpw_ask(w, &tcp, NULL, 0), 0);
    told(4, 0);
    assert_int_equal(take_away(w, 0), 0);
    told(4, 2);
    assert_int_equal(take_away(w, 0), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_SESSION, first, 0, 0), 0);
    told(4, 2); /* what it knew went with it */
    assert_int_equal(take_away(w, 100), 0);
    told(4, 3);
    assert_int_equal(add(w, 0, sizeof(memory)), 0);
    told(5, 3);
    dpw_free(w); /* with a region, as a program may leave it */
    told(5, 3);
}

static void
test_what_is_no_memory(void **state)
{
    static const struct {
        size_t at, len;
        int r;
    } rows[] = {
        {99, 2, -EEXIST},   {100, 1, -EEXIST},  {149, 1, -EEXIST},  {149, 100, -EEXIST},
        {0, 1000, -EEXIST}, {120, 10, -EEXIST}, {100, 50, -EEXIST}, {0, 100, 0},
        {150, 1, 0},        {151, 49, 0},       {199, 1, -EEXIST},  {1000, 0, -EINVAL},
    };
    struct dpw *w = dpw_new();
    struct lunette_error err = {.code = 0};

    (void)state;
    assert_int_equal(add(w, 100, 50), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(add(w, rows[i].at, rows[i].len), rows[i].r);
    assert_int_equal(dataplane_mem_add(w->dp, NULL, 10, &err), -EINVAL);
    assert_int_equal(dataplane_mem_add(w->dp, memory, SIZE_MAX, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "no memory"));
    assert_int_equal(dataplane_mem_remove(w->dp, NULL, &err), -ENOENT);
    assert_int_equal(take_away(w, 101), -ENOENT);
    for (size_t n = 4; n < DATAPLANE_REGIONS_MAX; n++)
        assert_int_equal(add(w, 1000 + n, 1), 0);
    assert_int_equal(dataplane_mem_add(w->dp, memory + 2000, 1, &err), -ENOSPC);
    assert_non_null(strstr(err.msg, "64 regions"));
    (void)dpw_session(w);
    told(DATAPLANE_REGIONS_MAX, 0);
    assert_int_equal(take_away(w, 100), 0);
    assert_int_equal(add(w, 2000, 1), 0);
    told(DATAPLANE_REGIONS_MAX + 1, 1);
    dpw_free(w);
}

/* Where a session that is there refuses it, nobody knows it; where one that comes does, it does
 * without. */
static void
test_a_transport_that_refuses(void **state)
{
    struct lunette_error err = {.code = 0};
    struct dpw *w = dpw_new();
    uint32_t third;

    (void)state;
    (void)dpw_session(w);
    (void)dpw_session(w);
    third = dpw_session(w);
    (void)dpw_session(w);
    fake_adapter.mem_result = -ENOMEM;
    fake_adapter.mem_sid = third;
    assert_int_equal(dataplane_mem_add(w->dp, memory, 100, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "the adapter has no room"));
    assert_int_equal(fake_adapter.mem_adds, fake_adapter.mem_removes);
    assert_int_equal(take_away(w, 0), -ENOENT);
    fake_adapter.mem_result = 0;
    assert_int_equal(add(w, 0, 100), 0);
    fake_adapter.mem_adds = fake_adapter.mem_removes = 0;

    fake_adapter.mem_result = -ENOMEM;
    fake_adapter.mem_sid = 0;
    (void)dpw_session(w);
    fake_adapter.mem_result = 0;
    told(0, 0);
    assert_int_equal(take_away(w, 0), 0);
    told(0, 4);
    dpw_free(w);
}

/* As long as a command has it, whoever is to end it; the adapter lets go of it late. */
static void
test_in_use(void **state)
{
    struct lunette_error err = {.code = 0};
    struct dpw *w = dpw_new();
    uint64_t ep;
    uint32_t sid;

    (void)state;
    fake_adapter.cleanup_delay_ns = MS(20);
    sid = dpw_started(w, &ep);
    assert_int_equal(add(w, 0, 4096), 0);
    assert_int_equal(add(w, 8192, 4096), 0);
    send_read(w, sid, memory + 4095, 100);
    assert_int_equal(dataplane_mem_remove(w->dp, memory, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "1 command that has not ended uses"));
    assert_int_equal(take_away(w, 8192), 0);
    told(2, 1);
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    fake_advance(&w->fl, MS(10));
    assert_int_equal(cmd.done, 0);
    assert_int_equal(take_away(w, 0), -EBUSY);
    fake_advance(&w->fl, MS(15));
    assert_int_equal(cmd.done, 1);
    assert_int_equal(take_away(w, 0), 0);
    told(2, 2);
    dpw_free(w);
}

/* A session that is ending still has its connection, and so the memory; and its commands. */
static void
test_in_a_session_that_ends(void **state)
{
    struct dpw *w = dpw_new();
    struct iscsi_uevent end = {.type = ISCSI_UEVENT_DESTROY_SESSION};
    uint64_t ep;

    (void)state;
    fake_adapter.cleanup_delay_ns = MS(20);
    end.sid = dpw_started(w, &ep);
    assert_int_equal(add(w, 0, 4096), 0);
    assert_int_equal(add(w, 4096, 4096), 0);
    send_read(w, end.sid, memory, 4096);
    dpw_adapter.slow_stop = true;
    dpw_send(w, &end, NULL, 0);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(take_away(w, 0), -EBUSY);
    assert_int_equal(take_away(w, 4096), 0);
    told(2, 1);
    assert_int_equal(add(w, 4096, 1), 0); /* it is not told of what it will not need */
    told(2, 1);
    dpw_stopped();
    fake_advance(&w->fl, MS(30));
    assert_int_equal(cmd.done, 1);
    assert_null(dataplane_host(w->dp, end.sid));
    assert_int_equal(take_away(w, 0), 0);
    assert_int_equal(take_away(w, 4096), 0);
    told(2, 1);
    dpw_free(w);
}

/* While a connection logs in, at each step of it. */
static void
test_during_a_login(void **state)
{
    struct dpw *w = dpw_new();
    uint32_t sid;
    uint64_t ep;
    unsigned n = 0;

    (void)state;
    ep = dpw_endpoint(w);
    sid = dpw_session(w);
    for (int step = 0; step < 4; step++) {
        if (step == 1)
            assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 1, 0), 0);
        if (step == 2)
            assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), 0);
        if (step == 3)
            assert_int_equal(dpw_do(w, ISCSI_UEVENT_START_CONN, sid, 1, 0), 0);
        for (size_t at = 0; at < 4 && step > 0; at++) {
            if (take_away(w, at * 100 + (size_t)step - 1) == 0)
                n++;
        }
        for (size_t at = 0; at < 4; at++)
            assert_int_equal(add(w, at * 100 + (size_t)step, 100 - 2 * (size_t)step), 0);
    }
    assert_int_equal(n, 12);
    told(16, 12);
    dpw_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_told),
        cmocka_unit_test(test_what_is_no_memory),
        cmocka_unit_test(test_a_transport_that_refuses),
        cmocka_unit_test(test_in_use),
        cmocka_unit_test(test_in_a_session_that_ends),
        cmocka_unit_test(test_during_a_login),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
