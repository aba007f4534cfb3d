/* SPDX-License-Identifier: MIT */
/* Nexuses: unit attentions, what a lost one takes along, resets and ended task sets
 * (SAM-5 5.14, 6.3, 7).
 */
#include "tests/unit/lu/router.h"

#include <stdio.h>
#include <string.h>

#include "lu/buf.h"

#define CONFLICT ((uint32_t)SCSI_RESERVATION_CONFLICT << 24)

/* They are told one at a time in the order of enum lu_ua, to each nexus by itself. */
static void
attentions(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], buf[256];
    struct scsi_sense s = {0};
    uint32_t len;

    lu_ua_set(w->a, w->lu, LU_UA_PROTOCOL_CLEARED);
    lu_ua_set(w->a, w->lu, LU_UA_CAPACITY);
    lu_ua_set(w->a, w->lu, LU_UA_LU_RESET);
    lu_ua_set(w->a, w->lu, LU_UA_CAPACITY); /* twice is once */
    (void)cdb_inquiry(cdb, 96);             /* answers, and takes none */
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    (void)cdb_report_luns(cdb, 0, 64);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    assert_int_equal(next_ua(w, w->a), 0x2903);
    (void)cdb_request_sense(cdb, false, 252); /* takes one, as data */
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_true(sense_parse(buf, len, &s));
    assert_int_equal(s.key << 16 | sense_code(&s), 0x062a09);
    assert_int_equal(next_ua(w, w->a), 0x477f);
    assert_int_equal(next_ua(w, w->a), 0);
    assert_int_equal(next_ua(w, w->b), 0);
    lu_ua_all(w->lu, w->b, LU_UA_MODE_CHANGED);
    assert_int_equal(next_ua(w, w->a), 0x2a01);
    assert_int_equal(next_ua(w, w->b), 0);
    assert_int_equal(next_ua(w, w->c), 0x2a01);
    assert_int_equal(lu_resize(w->lu, STORE_SIZE / 2, NULL), 0);
    assert_int_equal(next_ua(w, w->b), 0x2a09);
    assert_true(lu_resize(w->lu, STORE_ROOM + BLOCK, NULL) < 0);
}

/* One that is taken is over when the answer with it is on its way, and not where the command ends
 * without an answer, or with another one. */
static void
attention_without_an_answer(void **state)
{
    struct world *w = *state;
    uint8_t tur[CDB_MAX], sense[CDB_MAX];
    struct req r, other;

    (void)cdb_test_unit_ready(tur);
    (void)cdb_request_sense(sense, false, 252);
    lu_ua_set(w->a, w->lu, LU_UA_CAPACITY);
    for (int how = 0; how < 3; how++) {
        req_begin(&r, w, w->a, 0, how == 1 ? sense : tur, how == 1 ? 252 : 0);
        assert_int_equal(r.c.failed, how != 1);
        req_begin(&other, w, w->a, 0, tur, 0); /* one command reports it */
        assert_false(other.c.failed);
        if (how == 2)
            lu_cmd_fail_status(&r.c, SCSI_TASK_ABORTED);
        else
            lu_abort_task_set(w->lu, w->a, w);
        if (how == 2) {
            req_end(&r);
            req_end(&other);
        }
    }
    assert_int_equal(next_ua(w, w->a), 0x2a09);
    assert_int_equal(next_ua(w, w->a), 0);
}

/* Whoever leaves loses RESERVE(6), and finds 29/07; whoever left long ago is forgotten. */
static void
leaving(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX] = {SCSI_RESERVE_6};
    struct lu_nexus *n = NULL;
    char port[64];

    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(do_code(w, w->b, cdb, NULL, 0), CONFLICT);
    (void)cdb_inquiry(cdb, 96);
    assert_int_equal(do_code(w, w->b, cdb, NULL, 0), 0);
    lu_nexus_leave(w->a);
    assert_int_equal(next_ua(w, w->b), 0);
    assert_null(w->lu->reserved);
    assert_ptr_equal(lu_nexus_find(&w->dev, PORT_A), w->a);
    assert_ptr_equal(lu_nexus_join(&w->dev, PORT_A), w->a);
    assert_int_equal(next_ua(w, w->a), 0x2907);
    assert_int_equal(next_ua(w, w->a), 0);
    lu_nexus_leave(w->a);
    for (int i = 0; i < LU_NEXUSES_MAX; i++) {
        assert_non_null(lu_nexus_find(&w->dev, PORT_A));
        (void)snprintf(port, sizeof(port), "port-%d", i);
        n = lu_nexus_join(&w->dev, port);
        assert_non_null(n);
        lu_nexus_leave(n);
    }
    assert_null(lu_nexus_find(&w->dev, PORT_A));
    assert_ptr_equal(lu_nexus_find(&w->dev, port), n);
    w->a = lu_nexus_join(&w->dev, PORT_A);
    assert_int_equal(next_ua(w, w->a), 0x2900); /* as if it were new */
}

struct tasks {
    struct req a1, a2, b1, other;
};

/* Writes that wait for their data: two of a, one of b, and one of a at another unit. */
static void
begin_tasks(struct tasks *t, struct world *w)
{
    uint8_t cdb[CDB_MAX];
    struct req r;

    (void)cdb_test_unit_ready(cdb);
    req_begin(&r, w, w->a, 5, cdb, 0); /* takes a unit attention */
    lu_cmd_finish(&r.c);
    req_end(&r);
    (void)cdb_write10(cdb, 0, 1, 0);
    req_begin(&t->a1, w, w->a, 0, cdb, BLOCK);
    req_begin(&t->a2, w, w->a, 0, cdb, BLOCK);
    req_begin(&t->b1, w, w->b, 0, cdb, BLOCK);
    req_begin(&t->other, w, w->a, 5, cdb, 4096);
    assert_true(!t->a1.c.failed && !t->a2.c.failed && !t->b1.c.failed && !t->other.c.failed);
}

/* Ends what has not been aborted; the letters say which those are. */
static void
check_left(struct tasks *t, const char *left)
{
    struct req *all[] = {&t->a1, &t->a2, &t->b1, &t->other};
    const char *names = "12bo";

    for (int i = 0; i < 4; i++) {
        assert_int_equal(all[i]->aborted, strchr(left, names[i]) == NULL);
        if (!all[i]->aborted)
            req_end(all[i]);
    }
}

static void
task_sets(void **state)
{
    struct world *w = *state;
    struct tasks t;

    begin_tasks(&t, w);
    lu_abort_task_set(w->lu, w->a, &t);
    assert_ptr_equal(t.a1.abort_ctx, &t);
    check_left(&t, "bo");
    assert_int_equal(next_ua(w, w->b), 0);

    begin_tasks(&t, w);
    t.a2.keep = true; /* it was sent after the function */
    lu_clear_task_set(w->lu, w->a, &t);
    check_left(&t, "2o");
    assert_int_equal(next_ua(w, w->a), 0);
    assert_int_equal(next_ua(w, w->b), 0x2f00);
    assert_int_equal(next_ua(w, w->c), 0);

    begin_tasks(&t, w);
    t.b1.keep = true;
    lu_clear_task_set(w->lu, w->a, &t);
    check_left(&t, "bo");
    assert_int_equal(next_ua(w, w->b), 0); /* none of its tasks has ended */

    begin_tasks(&t, w);
    lu_preempt_tasks(w->lu, w->b);
    assert_null(t.b1.abort_ctx);
    check_left(&t, "12o");
}

static void
resets(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX] = {SCSI_RESERVE_6};
    struct tasks t;

    assert_int_equal(do_code(w, w->b, cdb, NULL, 0), 0);
    w->lu->mode.d_sense = true;
    w->lu->reserved = NULL;
    begin_tasks(&t, w);
    w->lu->reserved = w->b;
    lu_reset(w->lu, w->a, NULL);
    check_left(&t, "o");
    assert_null(w->lu->reserved);
    assert_false(w->lu->mode.d_sense);
    assert_int_equal(next_ua(w, w->a), 0x2903);
    assert_int_equal(next_ua(w, w->b), 0x2903);
    assert_int_equal(next_ua(w, w->b), 0x2f00);
    assert_int_equal(next_ua(w, w->c), 0x2903);

    begin_tasks(&t, w);
    lu_device_reset(&w->dev, w->a, false, NULL);
    check_left(&t, "");
    assert_int_equal(next_ua(w, w->c), 0x2902);
    lu_device_reset(&w->dev, w->a, true, NULL);
    assert_int_equal(next_ua(w, w->c), 0x2901);
    assert_int_equal(next_ua(w, w->c), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attentions, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(attention_without_an_answer, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(leaving, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(task_sets, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(resets, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
