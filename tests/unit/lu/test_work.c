/* SPDX-License-Identifier: MIT */
/* Long commands are done in slices: a bounded part of them in each turn, the initiators in turns.
 */
#include "tests/unit/lu/router.h"

#include <string.h>

#include "lu/buf.h"
#include "lu/sbc.h"
#include "lu/unit.h"
#include "wire/mode.h"

#define SLICE_BLOCKS (LU_SLICE / BLOCK)

/* The fake store is of two slices only; for a command to be long, all but `left` bytes of what the
 * turn may do are spent before. */
static void
spend_turn(struct world *w, uint64_t left)
{
    w->worker.turn_ns = w->loop.now_ns;
    w->worker.cost = LU_TURN_COST - left;
}

static void
begin_write_same(struct req *r, struct world *w, struct lu_nexus *n, uint64_t lba, uint32_t blocks,
                 uint8_t byte)
{
    uint8_t cdb[CDB_MAX], data[BLOCK];

    memset(data, byte, sizeof(data));
    (void)cdb_write_same16(cdb, lba, blocks, 0);
    req_begin(r, w, n, 0, cdb, BLOCK);
    assert_int_equal(r->c.dir, LU_DIR_OUT);
    lu_cmd_take(&r->c, 0, data, BLOCK);
    lu_cmd_finish(&r->c);
}

static void
check_bytes(struct world *w, uint64_t lba, uint64_t blocks, uint8_t byte)
{
    for (uint64_t i = lba * BLOCK; i < (lba + blocks) * BLOCK; i++)
        assert_int_equal(w->lu->mem[i], byte);
}

/* A turn does LU_TURN_COST bytes at most, and the command completes once, when all is done. */
static void
slices(void **state)
{
    struct world *w = *state;
    struct req r, s;

    spend_turn(w, 1);
    begin_write_same(&r, w, w->a, 1, BLOCKS - 2, 0x5a);
    assert_false(r.completed);
    check_bytes(w, 1, SLICE_BLOCKS - 1, 0x5a);
    check_bytes(w, SLICE_BLOCKS, BLOCKS - SLICE_BLOCKS, 0);
    begin_write_same(&s, w, w->b, 0, 1, 0x77);
    assert_false(s.completed); /* the turn is spent */
    assert_int_equal(w->lu->mem[0], 0);
    (void)world_turn(w);
    assert_true(r.completed && s.completed);
    assert_int_equal(r.c.status, SCSI_GOOD);
    check_bytes(w, 0, 1, 0x77);
    check_bytes(w, 1, BLOCKS - 2, 0x5a);
    check_bytes(w, BLOCKS - 1, 1, 0);
    req_end(&r);
    req_end(&s);
}

/* Many commands of one initiator do not keep the one of another waiting. */
static void
turns(void **state)
{
    struct world *w = *state;
    struct req many[8], one;
    unsigned done = 0;

    spend_turn(w, 0);
    for (unsigned i = 0; i < 8; i++)
        begin_write_same(&many[i], w, w->a, 0, BLOCKS, (uint8_t)(i + 1));
    begin_write_same(&one, w, w->b, 0, SLICE_BLOCKS, 0xee);
    for (unsigned i = 0; i < 2 && !one.completed; i++)
        (void)world_turn(w);
    assert_true(one.completed);
    for (unsigned i = 0; i < 8; i++)
        done += many[i].completed;
    assert_true(done <= 1); /* the one that was before it */
    for (unsigned i = 0; i < 32 && !many[7].completed; i++)
        (void)world_turn(w);
    assert_true(many[7].completed);
    check_bytes(w, 0, BLOCKS, 8); /* those of one initiator in their order */
    for (unsigned i = 0; i < 8; i++)
        req_end(&many[i]);
    req_end(&one);
}

/* What is aborted in the middle is not gone on with, and the others are. */
static void
aborted_in_the_middle(void **state)
{
    struct world *w = *state;
    struct req r, s;

    spend_turn(w, 0);
    begin_write_same(&r, w, w->a, 0, BLOCKS, 0x11);
    begin_write_same(&s, w, w->a, SLICE_BLOCKS, 1, 0x22);
    w->worker.cost = 0;
    lu_abort_task_set(w->lu, w->b, NULL);
    assert_int_equal(w->aborted, 0);
    assert_true(lu_cmd_end(&r.c));
    lu_buf_free(r.c.buf);
    while (world_turn(w) > 0)
        ;
    assert_true(s.completed && !r.completed);
    check_bytes(w, SLICE_BLOCKS, 1, 0x22);
    check_bytes(w, SLICE_BLOCKS + 1, 1, 0);
    req_end(&s);
}

static uint8_t
begin_read(struct req *r, struct world *w, struct lu_nexus *n, bool ordered)
{
    uint8_t cdb[CDB_MAX];

    memset(r, 0, sizeof(*r));
    (void)cdb_read10(cdb, BLOCKS - 1, 1, 0);
    r->w = w;
    lu_cmd_init(&r->c);
    r->c.nexus = n;
    r->c.expect = BLOCK;
    r->c.ordered = ordered;
    memcpy(r->c.cdb, cdb, sizeof(r->c.cdb));
    lu_cmd_start(&r->c);
    lu_cmd_finish(&r->c);
    assert_true(r->completed);
    return r->c.status;
}

/* An ORDERED command neither overtakes nor is overtaken.  What is SIMPLE may be, and the control
 * mode page says so. */
static void
task_attributes(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], page[4 + 8 + 12];
    struct req r, o;

    spend_turn(w, 0);
    begin_write_same(&r, w, w->a, 0, BLOCKS, 0x11);
    assert_int_equal(begin_read(&o, w, w->a, false), SCSI_GOOD);
    req_end(&o);
    assert_int_equal(begin_read(&o, w, w->b, true), SCSI_BUSY);
    req_end(&o);
    req_end(&r); /* aborted */
    assert_int_equal(begin_read(&o, w, w->b, true), SCSI_GOOD);
    req_end(&o);

    spend_turn(w, 0);
    (void)cdb_write_same16(cdb, 0, BLOCKS, SCSI_WS_NDOB);
    req_begin(&r, w, w->a, 0, cdb, 0);
    r.c.ordered = true;
    lu_cmd_finish(&r.c);
    assert_int_equal(begin_read(&o, w, w->b, false), SCSI_BUSY);
    req_end(&o);
    while (world_turn(w) > 0)
        ;
    assert_true(r.completed);
    assert_int_equal(begin_read(&o, w, w->b, false), SCSI_GOOD);
    req_end(&o);
    req_end(&r);
    (void)cdb_mode_sense6(cdb, true, 0, MODE_PAGE_CONTROL, 0, sizeof(page));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, page, sizeof(page), NULL, NULL), SCSI_GOOD);
    assert_int_equal(page[4 + 3] >> 4, 1); /* QUEUE ALGORITHM MODIFIER */
}

/* A store that fails in the middle fails the command. */
static void
fails_in_the_middle(void **state)
{
    struct world *w = *state;
    struct req r;

    spend_turn(w, 0);
    begin_write_same(&r, w, w->a, 0, BLOCKS, 0x11);
    w->disk.fail_write = -5;
    while (world_turn(w) > 0)
        ;
    w->disk.fail_write = 0;
    assert_true(r.completed);
    assert_int_equal(r.c.status, SCSI_CHECK_CONDITION);
    check_bytes(w, 0, BLOCKS, 0);
    req_end(&r);
}

/* UNMAP goes through its ranges, and VERIFY finds the difference in the last block. */
static void
other_commands(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], list[8 + 3 * 16] = {0}, data[BLOCK];
    const struct unmap_range ranges[3] = {{1, 3}, {0, 0}, {10, BLOCKS - 11}};

    memset(w->lu->mem, 0x33, STORE_SIZE);
    memset(data, 0x33, sizeof(data));
    (void)cdb_verify16(cdb, 0, BLOCKS, SCSI_BYTCHK_ONE);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    w->lu->mem[STORE_SIZE - 1] = 0;
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), SENSE_MISCOMPARE << 16 | 0x1d00);
    w->lu->mem[STORE_SIZE - 1] = 0x33;
    assert_true(unmap_list_build(list, sizeof(list), ranges, 3) > 0);
    (void)cdb_unmap(cdb, sizeof(list), 0);
    assert_int_equal(do_code(w, w->a, cdb, list, sizeof(list)), 0);
    check_bytes(w, 0, 1, 0x33);
    check_bytes(w, 1, 3, 0);
    check_bytes(w, 4, 6, 0x33);
    check_bytes(w, 10, BLOCKS - 11, 0);
    check_bytes(w, BLOCKS - 1, 1, 0x33);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slices, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(turns, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(aborted_in_the_middle, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(task_attributes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(fails_in_the_middle, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(other_commands, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
