/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_api.c - the public calls where something goes wrong: single worlds with a
 * target that misbehaves in one way. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/world.h"

#define BLOCK 512u

static void
start(struct world *w, const char *options)
{
    struct world_config cfg = {.block = BLOCK, .options = options};

    world_new(w, 1, &cfg);
}

static void
stopped(void *user)
{
    *(bool *)user = true;
}

/* ASY-02: the target asks for a logout, and does not come back.  What waits for it waits for as
 * long as it was told to, and what comes later does not wait. */
static void
calls_after_the_target_has_had_its_logout(void **state)
{
    struct lunette_scsi tur = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6};
    struct lunette_completion done;
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    uint64_t ns;
    struct world w;
    bool gone = false;

    (void)state;
    start(&w, "?replacement_timeout=30");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    target_stop(w.target, stopped, &gone);
    while (!gone)
        assert_int_equal(lunette_ctx_run(w.ctx, 100), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(lunette_ctx_run(w.ctx, 100), 0);
    assert_int_equal(lunette_pread(lun, buf, BLOCK, 0, &err), -ENOTCONN);
    assert_non_null(strstr(err.msg, "the session was not recovered within 30 s"));
    assert_int_equal(lunette_scsi(lun, &tur, &err), -ENOTCONN);
    assert_int_equal(lunette_ping(lun, 4, &ns, &err), -ENOTCONN);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    assert_int_equal(done.err, -ENOTCONN);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* PL-04: a unit is asked whether it has a command of ours, and whether it has something to tell;
 * neither where the level does not allow it, nor without a session. */
static void
unit_is_asked(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x28};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    struct lunette_completion done;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    uint32_t info = 77;
    struct world w;
    bool gone = false;

    (void)state;
    start(&w, "");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_query(lun, LUNETTE_QUERY_TASKS, &info, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "protocol_level=yes"));
    lunette_close(lun);
    world_free(&w);

    start(&w, "?protocol_level=yes&replacement_timeout=30");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_query(lun, (enum lunette_question)7, NULL, &err), -EINVAL);
    assert_int_equal(lunette_query(lun, LUNETTE_QUERY_TASKS, &info, &err), 0);
    assert_int_equal(info, 0);
    assert_int_equal(lunette_query(lun, LUNETTE_QUERY_EVENTS, NULL, &err), 0);
    target_set_faults(w.target, &mute); /* READ is not answered, so that it stays a task */
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 0, 0), 0);
    assert_int_equal(lunette_query(lun, LUNETTE_QUERY_TASKS, &info, &err), 1);
    assert_int_equal(info, 0);
    target_stop(w.target, stopped, &gone);
    while (!gone)
        assert_int_equal(lunette_ctx_run(w.ctx, 100), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(lunette_ctx_run(w.ctx, 100), 0);
    assert_int_equal(lunette_query(lun, LUNETTE_QUERY_TASKS, NULL, &err), -ENOTCONN);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* The sense of a completion is lent until the next call on the queue: that call gets the slot. */
static void
lent_sense_takes_no_slot(void **state)
{
    uint8_t bad[6] = {0x0b}, *in = NULL; /* an opcode that nobody knows */
    struct lunette_scsi cmd = {.cdb = bad, .cdb_len = 6, .in = in};
    struct lunette_completion done;
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    struct world w;

    (void)state;
    start(&w, "");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 1, &q, &err), 0);
    assert_int_equal(lunette_queue_scsi(q, &cmd, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    assert_int_equal(done.status, 2);
    assert_true(done.sense_len > 0);
    assert_int_equal(lunette_queue_inflight(q), 0);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), -EAGAIN);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    assert_int_equal(done.err, 0);
    /* and the same for raw commands */
    assert_int_equal(lunette_queue_scsi(q, &cmd, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    assert_int_equal(lunette_queue_scsi(q, &cmd, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* min and timeout as the header has them. */
static void
poll_waits_as_told(void **state)
{
    struct target_faults mute = {.mute = true, .mute_opcode = 0x28};
    struct lunette_completion done;
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    uint8_t buf[BLOCK];
    struct world w;
    uint64_t before;

    (void)state;
    start(&w, "");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 4, &q, &err), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 0, 0, 0), -EINVAL);
    before = sim_now_ns(w.sim);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 0); /* nothing is outstanding */
    target_set_faults(w.target, &mute);
    assert_int_equal(lunette_queue_read(q, buf, BLOCK, 0, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 0, -1), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, -1, -1), 0);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, 0), 0);
    assert_true(sim_now_ns(w.sim) - before < LOOP_NS_PER_MS);
    assert_int_equal(lunette_queue_poll(q, &done, 1, 7, 500), 0);
    assert_true(sim_now_ns(w.sim) - before >= 500 * LOOP_NS_PER_MS);
    assert_true(sim_now_ns(w.sim) - before < 600 * LOOP_NS_PER_MS);
    target_set_faults(w.target, NULL);
    lunette_queue_free(q); /* waits for it, with the abort in between */
    lunette_close(lun);
    world_free(&w);
}

/* Of a command that was never sent, nothing moved. */
static void
raw_command_without_a_session(void **state)
{
    uint8_t cdb[10] = {0x2a, [8] = 1}, data[BLOCK] = {0};
    struct lunette_scsi cmd = {
        .cdb = cdb, .cdb_len = 10, .out = data, .out_len = BLOCK, .timeout_ms = 1000};
    struct target_faults mute = {.mute = true, .mute_opcode = 0x2a};
    struct lunette_completion done;
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    struct lunette_lun *lun;
    struct world w;

    (void)state;
    start(&w, "?replacement_timeout=0");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_queue_new(lun, 1, &q, &err), 0);
    assert_int_equal(lunette_scsi(lun, &cmd, &err), 0);
    assert_int_equal(cmd.out_done, BLOCK);
    target_set_faults(w.target, &mute);
    assert_int_equal(lunette_scsi(lun, &cmd, &err), -ETIMEDOUT);
    assert_int_equal(cmd.out_done, 0);
    assert_int_equal(lunette_queue_scsi(q, &cmd, NULL), 0); /* and then, before it is sent: */
    target_drop_connections(w.target);
    cmd.out_done = BLOCK;
    assert_int_equal(lunette_queue_poll(q, &done, 1, 1, -1), 1);
    assert_true(done.err < 0);
    assert_int_equal(cmd.out_done, 0);
    while (!lun->s->lost)
        assert_int_equal(lunette_ctx_run(w.ctx, 10), 0);
    cmd.out_done = BLOCK;
    assert_int_equal(lunette_scsi(lun, &cmd, &err), -ENOTCONN);
    assert_int_equal(cmd.out_done, 0);
    lunette_queue_free(q);
    lunette_close(lun);
    world_free(&w);
}

/* No part of a secret is in any message, whatever is wrong with the URL. */
static void
secrets_stay_out_of_messages(void **state)
{
    static const char *const urls[] = {
        "iscsi://user%hush/hush@10.0.0.1/iqn.2026-11.example:sim/0",
        "iscsi://user%hush?hush@10.0.0.1/iqn.2026-11.example:sim/0",
        "iscsi://user%hush@hush@10.0.0.1/iqn.2026-11.example:sim/0",
        "iscsi:/user%hush@10.0.0.1/iqn.2026-11.example:sim/0",
        "ISCSI://user%hush@10.0.0.1/iqn.2026-11.example:sim/0",
        "user%hush@10.0.0.1",
        "user%hush",
        "iscsi://user%hush@10.0.0.1:99999/iqn.2026-11.example:sim/0",
        "iscsi://user%hush@/iqn.2026-11.example:sim/0",
        "iscsi://u%x@10.0.0.1/iqn.2026-11.example:sim/0?target_password=a&hush&hush=1",
        "iscsi://u%x@10.0.0.1/iqn.2026-11.example:sim/0?target_password=",
        "iscsi://u%hush@10.0.0.1/iqn.2026-11.example:sim/0?target_user=t&target_password=hush",
        "iscsi://10.0.0.1/hush@iqn",
        "iscsi://user%hush",
    };
    struct world w;

    (void)state;
    start(&w, "");
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct lunette_targets *found = NULL;
        struct lunette_lun *lun = NULL;
        struct lunette_error err = LUNETTE_INIT(err);

        assert_true(lunette_open(w.ctx, urls[i], 0, &lun, &err) < 0);
        if (strstr(err.msg, "hush") != NULL)
            fail_msg("%s: %s", urls[i], err.msg);
        if (lunette_discover(w.ctx, urls[i], &found, &err) == 0)
            lunette_targets_free(found);
        else if (strstr(err.msg, "hush") != NULL)
            fail_msg("discover %s: %s", urls[i], err.msg);
    }
    world_free(&w);
}

static void
try_to_open(struct world *w, const struct target_faults *f, unsigned *opened)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    uint64_t before = sim_now_ns(w->sim);
    uint8_t buf[BLOCK];

    target_set_faults(w->target, f);
    if (lunette_open(w->ctx, w->url, 0, &lun, &err) == 0) {
        (*opened)++;
        (void)lunette_pread(lun, buf, BLOCK, 0, NULL);
        (void)lunette_pwrite(lun, buf, BLOCK, 0, LUNETTE_FUA, NULL);
        lunette_close(lun);
    } else {
        assert_true(err.code < 0);
        assert_true(err.msg[0] != '\0');
    }
    assert_true(sim_now_ns(w->sim) - before < 300 * LOOP_NS_PER_S);
}

/* Whatever step of opening or closing fails, it says so, ends, and leaves nothing behind. */
static void
opening_fails_at_each_step(void **state)
{
    static const uint8_t opcodes[] = {0x00, 0x12, 0xa0, 0x9e, 0x25, 0x1a, 0x5a, 0xa3, 0x28, 0x35};
    unsigned opened = 0;
    struct world w;

    (void)state;
    start(&w, "?timeout=2000&abort_timeout=2000&lu_reset_timeout=2000&target_reset_timeout=2000"
              "&login_timeout=10000&replacement_timeout=0");
    for (uint32_t k = 1; k < 40; k++)
        try_to_open(&w, &(struct target_faults){.drop_after_pdus = k}, &opened);
    for (size_t i = 0; i < sizeof(opcodes); i++) {
        try_to_open(&w, &(struct target_faults){.mute = true, .mute_opcode = opcodes[i]}, &opened);
        try_to_open(
            &w, &(struct target_faults){.mute = true, .mute_opcode = opcodes[i], .mute_tmf = true},
            &opened);
    }
    try_to_open(&w, &(struct target_faults){.busy_every = 1}, &opened);
    try_to_open(&w, &(struct target_faults){.task_set_full_every = 1}, &opened);
    assert_true(opened > 0);
    opened = 0;
    try_to_open(&w, &(struct target_faults){.mute_login = true}, &opened);
    assert_int_equal(opened, 0);
    world_free(&w);
}

/* What of each direction moved, as the target and the wire have it. */
static void
raw_commands_tell_what_moved(void **state)
{
    uint8_t inquiry[6] = {0x12, [4] = 36}, w10[10] = {0x2a, [8] = 1}, in[255], out[2 * BLOCK];
    struct lunette_scsi cmd = {.cdb = inquiry, .cdb_len = 6, .in = in, .in_len = 20};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    struct world w;

    (void)state;
    start(&w, "");
    lun = world_open_lun(&w);
    assert_int_equal(lunette_scsi(lun, &cmd, &err), 0);
    assert_int_equal(cmd.in_done, 20);
    assert_true(cmd.overflow);
    cmd.in_len = sizeof(in);
    memset(in, 0xaa, sizeof(in));
    assert_int_equal(lunette_scsi(lun, &cmd, &err), 0);
    assert_int_equal(cmd.in_done, 36);
    assert_false(cmd.overflow);
    assert_int_equal(in[36], 0xaa);
    memset(out, 0x11, sizeof(out));
    cmd = (struct lunette_scsi){.cdb = w10, .cdb_len = 10, .out = out, .out_len = sizeof(out)};
    assert_int_equal(lunette_scsi(lun, &cmd, &err), 0);
    assert_int_equal(cmd.out_done, cmd.status == 0 ? BLOCK : 0);
    w10[2] = 0x7f; /* past the end */
    assert_int_equal(lunette_scsi(lun, &cmd, &err), 0);
    assert_int_equal(cmd.status, 2);
    assert_int_equal(cmd.out_done, 0);
    inquiry[0] = 0x0b;
    cmd = (struct lunette_scsi){.cdb = inquiry, .cdb_len = 6, .in = in, .in_len = sizeof(in)};
    assert_int_equal(lunette_scsi(lun, &cmd, &err), 0);
    assert_int_equal(cmd.in_done, 0);
    lunette_close(lun);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_after_the_target_has_had_its_logout),
        cmocka_unit_test(unit_is_asked),
        cmocka_unit_test(lent_sense_takes_no_slot),
        cmocka_unit_test(poll_waits_as_told),
        cmocka_unit_test(raw_command_without_a_session),
        cmocka_unit_test(opening_fails_at_each_step),
        cmocka_unit_test(raw_commands_tell_what_moved),
        cmocka_unit_test(secrets_stay_out_of_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
