/* SPDX-License-Identifier: MIT */
/* Entries that are fine, and each field of them wrong alone; then entries as they are taken from a
 * ring. */
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "offload/take.h"
#include "seam/host.h"
#include "seam/ipc.h"

#define ARENA (UINT64_C(1) << 20)
#define FIELD(type, name, value, fault)                                                            \
    {                                                                                              \
#name " = " #value, offsetof(struct type, name), sizeof(((struct type *)0)->name),         \
            (value), (fault)                                                                       \
    }
#define SQ(name, value, fault) FIELD(offload_sqe, name, value, OFFLOAD_##fault)
#define CQ(name, value, fault) FIELD(offload_cqe, name, value, OFFLOAD_##fault)
#define COUNT(rows)            (sizeof(rows) / sizeof((rows)[0]))

/* A field that gets another value. */
struct wrong {
    const char *what;
    size_t at, size; /* bytes */
    uint64_t value;
    enum offload_fault fault;
};

static const struct offload_limits limits = {.slots = 16, .arena = ARENA};

static const struct offload_sqe command = {
    .kind = OFFLOAD_SQ_COMMAND,
    .attr = 1,
    .slot = 15,
    .cdb_len = 10,
    .generation = 7,
    .sid = 3,
    .lun = {0, 1},
    .in_off = ARENA - 4096,
    .in_len = 4096,
    .out_off = 100,
    .out_len = 1,
    .cdb = {0x28},
};

static const struct offload_sqe abort_one = {
    .kind = OFFLOAD_SQ_TMF,
    .function = OFFLOAD_ABORT,
    .slot = 0,
    .generation = 1,
    .sid = 3,
    .ref_slot = 15,
    .ref_generation = 7,
};

static const struct offload_cqe done = {
    .kind = OFFLOAD_CQ_DONE,
    .host_result = DID_OK,
    .status = 2,
    .slot = 15,
    .sense_len = SCSI_SENSE_MAX,
    .generation = 7,
    .sid = 3,
    .resid_in = 4096,
    .resid_out = 1,
    .overflow = 1,
    .state = IPC_SESSION_RUNNING,
    .state_event = UINT32_MAX,
};

static const struct offload_cqe tmf_done = {
    .kind = OFFLOAD_CQ_TMF_DONE,
    .slot = 0,
    .generation = 1,
    .sid = 3,
    .result = SCSI_EH_FAILED,
    .info = 0xffffff,
    .state = IPC_SESSION_ENDING,
};

/* The numbers of the machine: in its byte order. */
static void
field_put(void *e, const struct wrong *w)
{
    const uint8_t u8 = (uint8_t)w->value;
    const uint16_t u16 = (uint16_t)w->value;
    const uint32_t u32 = (uint32_t)w->value;
    const void *from = w->size == 2 ? (const void *)&u16 : (const void *)&u32;

    if (w->size == 8)
        from = &w->value;
    if (w->size == 1)
        from = &u8;
    memcpy((uint8_t *)e + w->at, from, w->size);
}

static void
sq_rows(const struct offload_sqe *good, const struct wrong *rows, size_t n)
{
    assert_int_equal(offload_check_sqe(good, &limits), OFFLOAD_FINE);
    for (size_t i = 0; i < n; i++) {
        struct offload_sqe e = *good;

        field_put(&e, &rows[i]);
        if (offload_check_sqe(&e, &limits) != rows[i].fault)
            fail_msg("%s: %s", rows[i].what, offload_fault_text(offload_check_sqe(&e, &limits)));
    }
}

static void
cq_rows(const struct offload_cqe *good, const struct wrong *rows, size_t n)
{
    assert_int_equal(offload_check_cqe(good, &limits), OFFLOAD_FINE);
    for (size_t i = 0; i < n; i++) {
        struct offload_cqe e = *good;

        field_put(&e, &rows[i]);
        if (offload_check_cqe(&e, &limits) != rows[i].fault)
            fail_msg("%s: %s", rows[i].what, offload_fault_text(offload_check_cqe(&e, &limits)));
    }
}

static void
test_command(void **state)
{
    static const struct wrong rows[] = {
        SQ(kind, 0, BAD_KIND),
        SQ(kind, 3, BAD_KIND),
        SQ(kind, 255, BAD_KIND),
        SQ(attr, 0, FINE),
        SQ(attr, 4, FINE),
        SQ(attr, 5, BAD_ATTR),
        SQ(attr, 255, BAD_ATTR),
        SQ(function, 1, BAD_RESERVED),
        SQ(reserved, 1, BAD_RESERVED),
        SQ(reserved2, 0x100, BAD_RESERVED),
        SQ(reserved3[0], 1, BAD_RESERVED),
        SQ(reserved3[31], 0x80, BAD_RESERVED),
        SQ(slot, 0, FINE),
        SQ(slot, 16, BAD_SLOT),
        SQ(slot, 0xffff, BAD_SLOT),
        SQ(cdb_len, 1, FINE),
        SQ(cdb_len, 32, FINE),
        SQ(cdb_len, 33, FINE), /* at the start of the arena */
        SQ(cdb_len, 260, FINE),
        SQ(cdb_len, 0, BAD_CDB_LEN),
        SQ(cdb_len, 261, BAD_CDB_LEN),
        SQ(cdb_len, 0xffff, BAD_CDB_LEN),
        SQ(cdb_off, 1, BAD_RESERVED),
        SQ(ref_slot, 1, BAD_RESERVED),
        SQ(ref_generation, 1, BAD_RESERVED),
        SQ(in_off, ARENA - 4095, BAD_RANGE),
        SQ(in_off, ARENA, BAD_RANGE),
        SQ(in_off, ARENA + 1, BAD_RANGE),
        SQ(in_off, UINT32_MAX - 4095, BAD_RANGE),
        SQ(in_off, UINT64_C(1) << 32, BAD_RANGE),
        SQ(in_off, UINT64_C(0xfffffffffffff000), BAD_RANGE), /* the sum is 0 */
        SQ(in_off, UINT64_MAX, BAD_RANGE),
        SQ(in_len, 4095, FINE),
        SQ(in_len, 4097, BAD_RANGE),
        SQ(in_len, UINT32_MAX, BAD_RANGE),
        SQ(in_len, 0, BAD_RESERVED),
        SQ(out_off, ARENA - 1, FINE),
        SQ(out_off, ARENA, BAD_RANGE),
        SQ(out_off, UINT64_MAX, BAD_RANGE),
        SQ(out_len, ARENA - 100, FINE),
        SQ(out_len, ARENA - 99, BAD_RANGE),
        SQ(out_len, UINT32_MAX, BAD_RANGE),
        SQ(out_len, 0, BAD_RESERVED),
        SQ(lun[0], 0xff, FINE),
    };

    (void)state;
    sq_rows(&command, rows, COUNT(rows));
}

static void
test_long_cdb(void **state)
{
    static const struct wrong rows[] = {
        SQ(cdb_off, 0, FINE),
        SQ(cdb_off, ARENA - 260, FINE),
        SQ(cdb_off, ARENA - 259, BAD_RANGE),
        SQ(cdb_off, UINT64_MAX - 259, BAD_RANGE),
        SQ(cdb_off, UINT64_MAX, BAD_RANGE),
        SQ(cdb_len, 259, FINE),
        SQ(cdb_len, 32, BAD_RESERVED),
    };
    struct offload_sqe e = command;

    (void)state;
    e.cdb_len = 260;
    e.cdb_off = 4096;
    sq_rows(&e, rows, COUNT(rows));
}

static void
test_without_data(void **state)
{
    static const struct wrong rows[] = {
        SQ(in_off, 1, BAD_RESERVED),
        SQ(out_off, UINT64_MAX, BAD_RESERVED),
        SQ(in_len, ARENA, FINE),
        SQ(in_len, ARENA + 1, BAD_RANGE),
    };
    struct offload_sqe e = command;

    (void)state;
    e.in_off = e.out_off = e.in_len = e.out_len = 0;
    sq_rows(&e, rows, COUNT(rows));
}

static void
test_tmf(void **state)
{
    static const struct wrong rows[] = {
        SQ(function, 0, BAD_FUNCTION),
        SQ(function, 8, BAD_FUNCTION),
        SQ(function, 255, BAD_FUNCTION),
        SQ(function, OFFLOAD_LU_RESET, BAD_RESERVED), /* it names a command */
        SQ(slot, 15, BAD_SLOT),                       /* itself */
        SQ(slot, 16, BAD_SLOT),
        SQ(ref_slot, 16, BAD_SLOT),
        SQ(ref_slot, 0, BAD_SLOT),
        SQ(ref_generation, 0, FINE), /* slots.h knows */
        SQ(attr, 1, BAD_RESERVED),
        SQ(cdb_len, 1, BAD_RESERVED),
        SQ(in_len, 1, BAD_RESERVED),
        SQ(out_len, 1, BAD_RESERVED),
        SQ(in_off, 1, BAD_RESERVED),
        SQ(out_off, 1, BAD_RESERVED),
        SQ(cdb_off, 1, BAD_RESERVED),
        SQ(cdb[0], 1, BAD_RESERVED),
        SQ(cdb[31], 1, BAD_RESERVED),
        SQ(reserved, 1, BAD_RESERVED),
        SQ(reserved2, 1, BAD_RESERVED),
        SQ(reserved3[5], 1, BAD_RESERVED),
        SQ(lun[7], 1, FINE),
    };
    struct offload_sqe e = abort_one;

    (void)state;
    sq_rows(&e, rows, COUNT(rows));
    e.ref_slot = 0;
    e.ref_generation = 0;
    for (uint8_t f = OFFLOAD_LU_RESET; f <= OFFLOAD_QUERY_ASYNC_EVENT; f++) {
        e.function = f;
        assert_int_equal(offload_check_sqe(&e, &limits), OFFLOAD_FINE);
        e.ref_generation = 1;
        assert_int_equal(offload_check_sqe(&e, &limits), OFFLOAD_BAD_RESERVED);
        e.ref_generation = 0;
    }
}

static void
test_done(void **state)
{
    static const struct wrong rows[] = {
        CQ(kind, 0, BAD_KIND),
        CQ(kind, 3, BAD_KIND),
        CQ(host_result, DID_TIME_OUT, FINE),
        CQ(host_result, DID_TIME_OUT + 1, BAD_RESULT),
        CQ(host_result, 255, BAD_RESULT),
        CQ(status, 255, FINE), /* the target's */
        CQ(response, 255, FINE),
        CQ(slot, 16, BAD_SLOT),
        CQ(slot, 0xffff, BAD_SLOT),
        CQ(sense_len, 0, FINE),
        CQ(sense_len, SCSI_SENSE_MAX + 1, BAD_SENSE),
        CQ(sense_len, 0xffff, BAD_SENSE),
        CQ(status_qualifier, 0xffff, FINE),
        CQ(overflow, 0, FINE),
        CQ(overflow, 2, BAD_RESULT),
        CQ(result, 1, BAD_RESERVED),
        CQ(info, 1, BAD_RESERVED),
        CQ(state, IPC_SESSION_STATES, BAD_STATE),
        CQ(state, UINT32_MAX, BAD_STATE),
        CQ(reserved[0], 1, BAD_RESERVED),
        CQ(reserved[23], 1, BAD_RESERVED),
    };

    (void)state;
    cq_rows(&done, rows, COUNT(rows));
}

static void
test_tmf_done(void **state)
{
    static const struct wrong rows[] = {
        CQ(result, SCSI_EH_SUCCESS, FINE), CQ(result, SCSI_EH_FAILED + 1, BAD_RESULT),
        CQ(info, 0x1000000, BAD_RESULT),   CQ(host_result, 1, BAD_RESERVED),
        CQ(status, 1, BAD_RESERVED),       CQ(response, 1, BAD_RESERVED),
        CQ(sense_len, 1, BAD_RESERVED),    CQ(resid_in, 1, BAD_RESERVED),
        CQ(resid_out, 1, BAD_RESERVED),    CQ(status_qualifier, 1, BAD_RESERVED),
        CQ(overflow, 1, BAD_RESERVED),     CQ(state, IPC_SESSION_STATES, BAD_STATE),
        CQ(reserved[7], 1, BAD_RESERVED),  CQ(slot, 16, BAD_SLOT),
    };

    (void)state;
    cq_rows(&tmf_done, rows, COUNT(rows));
}

static void
test_answer(void **state)
{
    static const struct wrong rows[] = {
        CQ(kind, OFFLOAD_CQ_TMF_DONE, BAD_ANSWER),
        CQ(sid, 4, BAD_ANSWER),
        CQ(resid_in, 4097, BAD_RESIDUAL),
        CQ(resid_in, UINT32_MAX, BAD_RESIDUAL),
        CQ(resid_out, 2, BAD_RESIDUAL),
        CQ(resid_in, 0, FINE),
    };
    struct offload_asked asked = {OFFLOAD_SQ_COMMAND, 3, 4096, 1};

    (void)state;
    assert_int_equal(offload_check_answer(&done, &asked), OFFLOAD_FINE);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct offload_cqe e = done;

        field_put(&e, &rows[i]);
        assert_int_equal(offload_check_answer(&e, &asked), rows[i].fault);
    }
    asked = (struct offload_asked){OFFLOAD_SQ_TMF, 3, 0, 0};
    assert_int_equal(offload_check_answer(&tmf_done, &asked), OFFLOAD_FINE);
    assert_int_equal(offload_check_answer(&done, &asked), OFFLOAD_BAD_ANSWER);
}

static void
test_every_fault_has_words(void **state)
{
    (void)state;
    for (int f = 0; f < OFFLOAD_FAULTS; f++)
        assert_true(strlen(offload_fault_text((enum offload_fault)f)) > 8);
}

/* What an engine takes: the slot is claimed once. */
static void
test_take_sqe(void **state)
{
    size_t bytes = ring_bytes(sizeof(command), 4);
    enum offload_fault why = OFFLOAD_FINE;
    struct offload_sqe e = command, got;
    struct ring_producer p;
    struct ring_consumer c;
    struct slots t;
    void *mem = aligned_alloc(64, bytes);

    (void)state;
    assert_non_null(mem);
    memset(mem, 0, bytes);
    ring_producer_init(&p, mem, sizeof(e), 4);
    ring_consumer_init(&c, mem, sizeof(e), 4);
    assert_int_equal(slots_init(&t, limits.slots, false), 0);
    assert_int_equal(offload_take_sqe(&c, &t, &limits, &got, &why), OFFLOAD_NONE);
    assert_int_equal(ring_put(&p, &e), 0);
    assert_int_equal(ring_put(&p, &e), 0); /* the same use twice */
    e.in_off = UINT64_MAX;
    assert_int_equal(ring_put(&p, &e), 0);
    (void)ring_publish(&p);
    assert_int_equal(offload_take_sqe(&c, &t, &limits, &got, &why), OFFLOAD_TAKEN);
    assert_memory_equal(&got, &command, sizeof(got));
    assert_int_equal(slots_look(&t, 15, 7), SLOTS_LIVE);
    assert_int_equal(offload_take_sqe(&c, &t, &limits, &got, &why), OFFLOAD_BROKEN);
    assert_int_equal(why, OFFLOAD_BAD_GENERATION);
    assert_int_equal(offload_take_sqe(&c, &t, &limits, &got, &why), OFFLOAD_BROKEN);
    assert_int_equal(why, OFFLOAD_BAD_RANGE);
    p.sh->produced += 100;
    assert_int_equal(offload_take_sqe(&c, &t, &limits, &got, &why), OFFLOAD_BROKEN);
    assert_int_equal(why, OFFLOAD_BAD_INDEX);
    slots_fini(&t);
    free(mem);
}

/* What a client takes: stale ones are dropped, impossible ones end it, and nothing while held. */
static void
test_take_cqe(void **state)
{
    size_t bytes = ring_bytes(sizeof(done), 8);
    struct offload_asked asked[16] = {{0}};
    enum offload_fault why = OFFLOAD_FINE;
    struct offload_cqe e = done, got;
    struct ring_producer p;
    struct ring_consumer c;
    struct slots t;
    void *mem = aligned_alloc(64, bytes);

    (void)state;
    assert_non_null(mem);
    memset(mem, 0, bytes);
    ring_producer_init(&p, mem, sizeof(e), 8);
    ring_consumer_init(&c, mem, sizeof(e), 8);
    assert_int_equal(slots_init(&t, limits.slots, true), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(slots_take(&t, 0, &e.slot, &e.generation), 0);
        if (i == 0)
            assert_true(slots_give(&t, e.slot));
    }
    asked[e.slot] = (struct offload_asked){OFFLOAD_SQ_COMMAND, 3, 4096, 1};
    e.generation = 1;
    assert_int_equal(ring_put(&p, &e), 0);
    e.generation = 2;
    assert_int_equal(ring_put(&p, &e), 0);
    e.resid_out = 2;
    assert_int_equal(ring_put(&p, &e), 0);
    e.generation = 3;
    assert_int_equal(ring_put(&p, &e), 0);
    e.sense_len = 253;
    assert_int_equal(ring_put(&p, &e), 0);
    (void)ring_publish(&p);
    slots_hold(&t);
    assert_int_equal(offload_take_cqe(&c, &t, &limits, asked, &got, &why), OFFLOAD_NONE);
    slots_fence(&t);
    assert_int_equal(offload_take_cqe(&c, &t, &limits, asked, &got, &why), OFFLOAD_DROPPED);
    assert_int_equal(t.stale, 1);
    assert_int_equal(offload_take_cqe(&c, &t, &limits, asked, &got, &why), OFFLOAD_TAKEN);
    assert_int_equal(got.generation, 2);
    assert_int_equal(offload_take_cqe(&c, &t, &limits, asked, &got, &why), OFFLOAD_BROKEN);
    assert_int_equal(why, OFFLOAD_BAD_RESIDUAL);
    assert_int_equal(offload_take_cqe(&c, &t, &limits, asked, &got, &why), OFFLOAD_BROKEN);
    assert_int_equal(why, OFFLOAD_BAD_GENERATION);
    assert_int_equal(offload_take_cqe(&c, &t, &limits, asked, &got, &why), OFFLOAD_BROKEN);
    assert_int_equal(why, OFFLOAD_BAD_SENSE);
    assert_int_equal(offload_take_cqe(&c, &t, &limits, asked, &got, &why), OFFLOAD_NONE);
    slots_fini(&t);
    free(mem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command),      cmocka_unit_test(test_long_cdb),
        cmocka_unit_test(test_without_data), cmocka_unit_test(test_tmf),
        cmocka_unit_test(test_done),         cmocka_unit_test(test_tmf_done),
        cmocka_unit_test(test_answer),       cmocka_unit_test(test_every_fault_has_words),
        cmocka_unit_test(test_take_sqe),     cmocka_unit_test(test_take_cqe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
