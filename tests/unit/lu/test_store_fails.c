/* SPDX-License-Identifier: MIT */
/* A store that fails is a MEDIUM ERROR; syncs run beside the loop, and commands may end meanwhile.
 */
#include "tests/unit/lu/router.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lu/buf.h"

#define READ_ERROR  0x031100
#define WRITE_ERROR 0x030c00
#define NO_SPACE    0x072707

/* Each way to read. */
static void
reading(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], data[2 * BLOCK] = {0};

    w->disk.fail_read = -EIO;
    (void)cdb_read10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), READ_ERROR);
    (void)cdb_verify10(cdb, 0, 2, SCSI_BYTCHK);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), READ_ERROR);
    (void)cdb_write10(cdb, 0, 2, 0); /* which reads nothing */
    assert_int_equal(do_code(w, w->a, cdb, data, sizeof(data)), 0);
    w->disk.fail_read = 0;
    (void)cdb_read10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
}

/* Each way to write. */
static void
writing(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], data[2 * BLOCK], list[24] = {0};

    memset(data, 0x11, sizeof(data));
    w->disk.fail_write = -EIO;
    (void)cdb_write10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), WRITE_ERROR);
    (void)cdb_write_same10(cdb, 0, 8, 0);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), WRITE_ERROR);
    (void)cdb_write_same16(cdb, 0, 8, SCSI_WS_NDOB);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), WRITE_ERROR);
    (void)cdb_compare_and_write(cdb, 0, 1, 0);
    memset(data, 0, BLOCK);
    assert_int_equal(do_code(w, w->a, cdb, data, sizeof(data)), WRITE_ERROR);
    st_be16(list, sizeof(list) - 2);
    st_be16(list + 2, 16);
    st_be32(list + 16, 64);
    (void)cdb_unmap(cdb, sizeof(list), 0);
    assert_int_equal(do_code(w, w->a, cdb, list, sizeof(list)), WRITE_ERROR);
    (void)cdb_read10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    assert_int_equal(w->lu->mem[0], 0);
}

static void
discarding(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX];

    memset(w->lu->mem, 0x55, STORE_SIZE);
    w->disk.fail_discard = -EIO;
    (void)cdb_write_same16(cdb, 0, 64, SCSI_WS_UNMAP | SCSI_WS_NDOB);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), WRITE_ERROR);
    assert_int_equal(w->disk.discards, 1);
    assert_int_equal(lu_resize(w->lu, STORE_SIZE / 2, NULL), -EIO);
    assert_int_equal(w->lu->blocks, BLOCKS);
    w->disk.fail_discard = 0;
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    assert_int_equal(w->lu->mem[64 * BLOCK - 1], 0);
}

/* With a write cache only SYNCHRONIZE CACHE and FUA wait for the store; without one, every write.
 */
static void
syncing(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], data[BLOCK] = {1};

    (void)cdb_write10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    assert_int_equal(w->disk.syncs, 0);
    (void)cdb_write10(cdb, 0, 1, SCSI_FUA);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    assert_int_equal(w->disk.syncs, 1);
    (void)cdb_sync_cache10(cdb, 0, 0, SCSI_SYNC_IMMED);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    assert_int_equal(w->disk.syncs, 1);
    w->disk.fail_sync = -EIO;
    (void)cdb_sync_cache16(cdb, 0, 0, 0);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), WRITE_ERROR);
    assert_true(w->lu->dirty); /* it is tried again at the end */
    w->disk.fail_sync = 0;
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), WRITE_ERROR); /* what is lost stays lost */
    w->lu->mode.wce = false;
    (void)cdb_write10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    assert_int_equal(w->disk.syncs, 4);
    w->disk.fail_sync = -ENOSPC;
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), NO_SPACE);
}

/* What a failure means to the initiator: only "no space" and "read only" are not the medium's. */
static void
codes(void **state)
{
    static const struct {
        int error;
        uint32_t code;
    } rows[] = {
        {-EIO, WRITE_ERROR}, {-ENOSPC, NO_SPACE}, {-EDQUOT, NO_SPACE},    {-EFBIG, NO_SPACE},
        {-EROFS, 0x072700},  {-EPERM, 0x072700},  {-ENOMEM, WRITE_ERROR},
    };
    struct world *w = *state;
    uint8_t cdb[CDB_MAX];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        w->disk.fail_write = w->disk.fail_read = rows[i].error;
        (void)cdb_write10(cdb, 0, 1, 0);
        assert_int_equal(do_code(w, w->a, cdb, NULL, 0), rows[i].code);
        (void)cdb_read10(cdb, 0, 1, 0);
        assert_int_equal(do_code(w, w->a, cdb, NULL, 0), READ_ERROR);
    }
}

/* A new session of the same port; the code of its first command but for the unit attentions. */
static uint32_t
rejoin(struct world *w, struct lu_nexus **n, const uint8_t *cdb)
{
    char port[LU_PORT_MAX + 1];

    (void)snprintf(port, sizeof(port), "%s", (*n)->port);
    lu_nexus_leave(*n);
    *n = lu_nexus_join(&w->dev, port);
    assert_non_null(*n);
    assert_int_equal(next_ua(w, *n), 0x2907);
    return do_code(w, *n, cdb, NULL, 0);
}

/* The system tells a failed sync once and drops what it could not write; all who may have lost
 * something are told, those that wait at that time and each nexus at its next sync.  Initiators try
 * again after MEDIUM ERROR: that must not succeed, until a nexus that was told has joined anew. */
static void
sync_failure_is_told_to_all(void **state)
{
    struct world *w = *state;
    static struct req r[3];
    uint8_t cdb[CDB_MAX], data[BLOCK] = {1};
    struct scsi_sense s;

    (void)cdb_write10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->c, cdb, data, BLOCK), 0); /* into the cache */
    w->disk.fail_next_sync = -EIO;
    (void)pthread_mutex_lock(&w->disk.gate);
    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    for (int i = 0; i < 3; i++) {
        req_begin(&r[i], w, i < 2 ? w->a : w->b, 0, cdb, 0);
        lu_cmd_finish(&r[i].c);
    }
    (void)pthread_mutex_unlock(&w->disk.gate);
    while (w->completed < 3 + 4) /* 4: those of world_setup, and the write */
        (void)world_turn(w);
    for (int i = 0; i < 3; i++) {
        assert_true(sense_parse(r[i].c.sense, r[i].c.sense_len, &s));
        assert_int_equal(s.key << 16 | sense_code(&s), WRITE_ERROR);
        req_end(&r[i]);
    }
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), WRITE_ERROR);
    assert_int_equal(do_code(w, w->b, cdb, NULL, 0), WRITE_ERROR);
    assert_int_equal(rejoin(w, &w->c, cdb), WRITE_ERROR); /* it was not told before */
    assert_int_equal(rejoin(w, &w->c, cdb), 0);
    assert_int_equal(rejoin(w, &w->a, cdb), 0);
    assert_int_equal(do_code(w, w->b, cdb, NULL, 0), WRITE_ERROR);
    w->lu->mode.wce = false;
    (void)cdb_write10(cdb, 0, 1, 0); /* which brings its own data to the disk */
    assert_int_equal(do_code(w, w->b, cdb, data, BLOCK), 0);
}

/* Whoever ends its command before the answer has not been told. */
static void
sync_failure_without_an_answer(void **state)
{
    struct world *w = *state;
    static struct req r;
    uint8_t cdb[CDB_MAX], data[BLOCK] = {1};

    (void)cdb_write10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    w->disk.fail_next_sync = -EIO;
    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    req_begin(&r, w, w->a, 0, cdb, 0);
    req_finish(&r, NULL, 0);
    assert_int_equal(r.c.status, SCSI_CHECK_CONDITION);
    lu_abort_task_set(w->lu, w->a, w);
    assert_true(r.aborted);
    assert_int_equal(rejoin(w, &w->a, cdb), WRITE_ERROR);
    assert_int_equal(rejoin(w, &w->a, cdb), 0);
}

static void
wait_for_sync(struct world *w)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < 5000 && w->disk.arrived == 0; i++)
        (void)nanosleep(&moment, NULL);
    assert_true(w->disk.arrived > 0);
}

/* A command that ends while its sync runs stays in place until it is released, and never completes.
 */
static void
ended_while_syncing(void **state)
{
    struct world *w = *state;
    struct req r;
    uint8_t cdb[CDB_MAX];

    (void)pthread_mutex_lock(&w->disk.gate);
    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    req_begin(&r, w, w->a, 0, cdb, 0);
    lu_cmd_finish(&r.c);
    wait_for_sync(w);
    (void)world_turn(w);
    assert_false(r.completed);
    lu_abort_task_set(w->lu, w->a, w);
    assert_true(r.aborted && !r.released);
    assert_ptr_equal(r.abort_ctx, w);
    assert_true(list_empty(&w->lu->tasks));
    lu_nexus_leave(w->a); /* the session may end before its sync */
    (void)pthread_mutex_unlock(&w->disk.gate);
    while (!r.released)
        (void)world_turn(w);
    assert_false(r.completed);
}

/* Whose sync has not begun is gone with it: an initiator that aborts its syncs again and again
 * piles up nothing. */
static void
ended_before_its_sync(void **state)
{
    struct world *w = *state;
    static struct req first, r[3];
    uint8_t cdb[CDB_MAX];

    (void)pthread_mutex_lock(&w->disk.gate);
    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    req_begin(&first, w, w->b, 0, cdb, 0);
    lu_cmd_finish(&first.c);
    wait_for_sync(w);
    for (int i = 0; i < 3; i++) {
        req_begin(&r[i], w, w->a, 0, cdb, 0);
        lu_cmd_finish(&r[i].c);
    }
    assert_true(lu_cmd_end(&r[1].c));
    memset(&r[1], 0xff, sizeof(r[1])); /* nobody looks at it any more */
    lu_abort_task_set(w->lu, w->a, w);
    assert_true(r[0].aborted && r[2].aborted);
    (void)pthread_mutex_unlock(&w->disk.gate);
    while (!first.completed)
        (void)world_turn(w);
    req_end(&first);
    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    assert_int_equal(do_code(w, w->b, cdb, NULL, 0), 0);
    assert_int_equal(w->disk.syncs, 2);
    assert_int_equal(w->released, 0);
}

/* At the end the store is synced once, if anything was written; a failure is counted. */
static void
synced_at_the_end(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], data[BLOCK] = {1};

    assert_int_equal(lu_device_sync(&w->dev, NULL), 0);
    assert_int_equal(w->disk.syncs, 0);
    (void)cdb_write10(cdb, 0, 1, 0);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    w->disk.fail_sync = -EIO;
    assert_int_equal(lu_device_sync(&w->dev, NULL), 1);
    w->disk.fail_sync = 0;
    assert_int_equal(lu_device_sync(&w->dev, NULL), 0);
    assert_int_equal(lu_device_sync(&w->dev, NULL), 0);
    assert_int_equal(w->disk.syncs, 2);
}

/* The flusher may end with jobs that have not come back. */
static void
ends_with_a_sync_under_way(void **state)
{
    struct world *w = *state;
    static struct req r;
    uint8_t cdb[CDB_MAX];

    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    req_begin(&r, w, w->a, 0, cdb, 0);
    lu_cmd_finish(&r.c);
    lu_abort_task_set(w->lu, w->a, NULL);
    assert_true(r.aborted); /* world_teardown does the rest */
}

/* A store that does not block is synced on the loop: in the order of the commands, but for those
 * that have ended before. */
static void
syncs_on_the_loop(void **state)
{
    struct world *w = *state;
    const struct lu_store_ops *honest = w->disk.store.ops;
    struct lu_store_ops ops = *honest;
    static struct req r[3];
    uint8_t cdb[CDB_MAX], data[BLOCK] = {1};

    ops.sync_on_loop = true;
    w->disk.store.ops = &ops;
    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    for (int i = 0; i < 3; i++) {
        req_begin(&r[i], w, i == 0 ? w->a : w->b, 0, cdb, 0);
        lu_cmd_finish(&r[i].c);
    }
    assert_int_equal(w->disk.syncs, 0); /* later, never from inside the call */
    lu_abort_task_set(w->lu, w->a, w);
    assert_true(r[0].aborted);
    while (!r[2].completed)
        (void)world_turn(w);
    assert_true(r[1].completed && !r[0].completed);
    assert_int_equal(w->disk.syncs, 2);
    req_end(&r[1]);
    req_end(&r[2]);
    req_begin(&r[0], w, w->a, 0, cdb, 0); /* the only one there is, and it is taken back */
    lu_cmd_finish(&r[0].c);
    lu_abort_task_set(w->lu, w->a, w);
    (void)cdb_write10(cdb, 0, 1, SCSI_FUA);
    w->disk.fail_sync = -EIO;
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), WRITE_ERROR);
    assert_int_equal(w->disk.syncs, 3);
    w->disk.fail_sync = 0;
    (void)cdb_sync_cache10(cdb, 0, 0, 0);
    req_begin(&r[1], w, w->b, 0, cdb, 0); /* under way when all ends */
    lu_cmd_finish(&r[1].c);
    lu_abort_task_set(w->lu, w->b, NULL);
    (void)world_turn(w);
    w->disk.store.ops = honest;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reading, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(writing, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(discarding, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(syncing, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(codes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(syncs_on_the_loop, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(sync_failure_is_told_to_all, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(sync_failure_without_an_answer, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(ended_while_syncing, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(ended_before_its_sync, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(synced_at_the_end, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(ends_with_a_sync_under_way, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
