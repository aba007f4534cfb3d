/* SPDX-License-Identifier: MIT */
/* Persistent reservations: the matrix of types and commands, preemption, full status (SPC-4 5.13).
 */
#include "tests/unit/lu/router.h"

#include <errno.h>
#include <string.h>

#include "lu/pr.h"
#include "lu/pr_keep.h"

#define HEAD "lunette persistent reservations 1\n"

#define KEY_A 0xaaaaaaaa11111111ull
#define KEY_B 0xbbbbbbbb22222222ull
#define KEY_C 0xcccccccc33333333ull

static uint8_t
pr_out(struct world *w, struct lu_nexus *n, enum scsi_pr_out sa, uint8_t type, uint64_t key,
       uint64_t sa_key, struct scsi_sense *s)
{
    uint8_t cdb[CDB_MAX], list[24] = {0};

    (void)cdb_pr_out(cdb, sa, type, sizeof(list));
    st_be64(list, key);
    st_be64(list + 8, sa_key);
    return do_cmd(w, n, cdb, list, sizeof(list), NULL, 0, NULL, s);
}

static uint32_t
pr_in(struct world *w, struct lu_nexus *n, enum scsi_pr_in sa, uint8_t *buf)
{
    uint8_t cdb[CDB_MAX];
    uint32_t len = 0;

    (void)cdb_pr_in(cdb, sa, 4096);
    assert_int_equal(do_cmd(w, n, cdb, NULL, 0, buf, 4096, &len, NULL), SCSI_GOOD);
    return len;
}

static uint8_t
run(struct world *w, struct lu_nexus *n, char what)
{
    uint8_t cdb[CDB_MAX];
    static uint8_t buf[BLOCK];

    if (what == 'r')
        (void)cdb_read10(cdb, 0, 1, 0);
    else if (what == 'w')
        (void)cdb_write10(cdb, 0, 1, 0);
    else if (what == 's')
        (void)cdb_sync_cache10(cdb, 0, 0, 0);
    else if (what == 'i')
        (void)cdb_inquiry(cdb, 96);
    else
        (void)cdb_test_unit_ready(cdb);
    return do_cmd(w, n, cdb, buf, what == 'w' ? BLOCK : 0, NULL, 0, NULL, NULL);
}

static void
matrix(void **state)
{
    struct world *w = *state;
    /* may read and write: registrant, then stranger */
    static const struct {
        uint8_t type;
        const char *registrant, *stranger; /* of r w s: those that pass */
    } rows[] = {
        {1, "r", "r"},  {3, "", ""},     {5, "rws", "r"},
        {6, "rws", ""}, {7, "rws", "r"}, {8, "rws", ""},
    };

    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_REGISTER, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_REGISTER, 0, 0, KEY_B, NULL), SCSI_GOOD);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t type = rows[i].type;

        assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RESERVE, type, KEY_A, 0, NULL), SCSI_GOOD);
        for (const char *k = "rws"; *k != '\0'; k++) {
            assert_int_equal(run(w, w->a, *k), SCSI_GOOD);
            assert_int_equal(run(w, w->b, *k), strchr(rows[i].registrant, *k) != NULL
                                                   ? SCSI_GOOD
                                                   : SCSI_RESERVATION_CONFLICT);
            assert_int_equal(run(w, w->c, *k), strchr(rows[i].stranger, *k) != NULL
                                                   ? SCSI_GOOD
                                                   : SCSI_RESERVATION_CONFLICT);
        }
        assert_int_equal(run(w, w->c, 'i'), SCSI_GOOD);
        assert_int_equal(run(w, w->c, 't'), SCSI_GOOD);
        assert_int_equal(pr_out(w, w->c, SCSI_PROUT_RESERVE, type, KEY_C, 0, NULL),
                         SCSI_RESERVATION_CONFLICT);
        assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RELEASE, type, KEY_A, 0, NULL), SCSI_GOOD);
        if (type >= 5)
            assert_int_equal(next_ua(w, w->b), 0x2a04);
        assert_int_equal(run(w, w->c, 'w'), SCSI_GOOD);
    }
}

static void
registrations(void **state)
{
    struct world *w = *state;
    struct scsi_sense s = {0};
    uint8_t buf[4096];

    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_REGISTER, 0, 5, KEY_A, NULL),
                     SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_REGISTER, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_REGISTER, 0, 0, KEY_B, NULL),
                     SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_REGISTER_AND_IGNORE, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_in(w, w->c, SCSI_PRIN_READ_KEYS, buf), 16);
    assert_int_equal(ld_be32(buf), 2); /* generation */
    assert_true(ld_be64(buf + 8) == KEY_A);
    assert_int_equal(pr_in(w, w->c, SCSI_PRIN_READ_RESERVATION, buf), 8);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RESERVE, 2, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RESERVE, 0x11, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RESERVE, 3, KEY_A, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RELEASE, 1, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x052604);
    assert_int_equal(pr_in(w, w->c, SCSI_PRIN_READ_RESERVATION, buf), 24);
    assert_int_equal(buf[21], 3);
    assert_true(pr_in(w, w->c, SCSI_PRIN_READ_FULL_STATUS, buf) > 36);
    assert_int_equal(buf[8 + 12], 1); /* holder */
    assert_int_equal(buf[8 + 24], 0x45);
    assert_string_equal((char *)buf + 8 + 28, PORT_A);
    lu_nexus_leave(w->a); /* the registration outlives the session */
    assert_int_equal(run(w, w->b, 'r'), SCSI_RESERVATION_CONFLICT);
    assert_ptr_equal(lu_nexus_join(&w->dev, PORT_A), w->a);
    assert_int_equal(next_ua(w, w->a), 0x2907);
    assert_int_equal(run(w, w->a, 'w'), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_CLEAR, 0, KEY_A, 0, NULL), SCSI_GOOD);
    assert_int_equal(run(w, w->b, 'w'), SCSI_GOOD);
}

static void
preemption(void **state)
{
    struct world *w = *state;
    struct scsi_sense s = {0};
    uint8_t buf[4096], cdb[CDB_MAX];
    struct req r;

    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_REGISTER, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_REGISTER, 0, 0, KEY_B, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RESERVE, 1, KEY_A, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->c, SCSI_PROUT_PREEMPT, 1, KEY_C, KEY_A, NULL),
                     SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_PREEMPT, 3, KEY_B, KEY_C, NULL),
                     SCSI_RESERVATION_CONFLICT); /* nobody has that key */
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_PREEMPT, 3, KEY_B, 0, &s), SCSI_CHECK_CONDITION);
    (void)cdb_write10(cdb, 0, 1, 0); /* a write of the holder waits for its data */
    req_begin(&r, w, w->a, 0, cdb, BLOCK);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_PREEMPT_AND_ABORT, 3, KEY_B, KEY_A, NULL),
                     SCSI_GOOD);
    assert_true(r.aborted && r.abort_ctx == NULL && !r.completed); /* it ended without a word */
    assert_int_equal(next_ua(w, w->a), 0x2a05);
    assert_int_equal(run(w, w->a, 'r'), SCSI_RESERVATION_CONFLICT);
    assert_int_equal(run(w, w->b, 'w'), SCSI_GOOD);
    assert_int_equal(pr_in(w, w->c, SCSI_PRIN_READ_KEYS, buf), 16);
    /* all registrants: the reservation ends with the last of them */
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_RELEASE, 3, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_RESERVE, 8, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->c, SCSI_PROUT_REGISTER, 0, 0, KEY_C, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_REGISTER, 0, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(run(w, w->b, 'r'), SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(w, w->c, SCSI_PROUT_REGISTER, 0, KEY_C, 0, NULL), SCSI_GOOD);
    assert_int_equal(run(w, w->b, 'r'), SCSI_GOOD);
}

/* ---- APTPL ---- */

static uint8_t
aptpl(struct world *w, struct lu_nexus *n, uint64_t key, uint64_t sa_key, bool on,
      struct scsi_sense *s)
{
    uint8_t cdb[CDB_MAX], list[24] = {0};

    (void)cdb_pr_out(cdb, SCSI_PROUT_REGISTER, 0, sizeof(list));
    st_be64(list, key);
    st_be64(list + 8, sa_key);
    list[20] = on;
    return do_cmd(w, n, cdb, list, sizeof(list), NULL, 0, NULL, s);
}

/* What would be after a restart of the target with what is kept now. */
static int
resume(struct world *w, struct lu_pr *ret)
{
    struct lu lu = {.store = &w->disk.store};
    struct lunette_error err = {0};
    int r = lu_pr_resume(&lu, &err);

    assert_true((r < 0) == (err.msg[0] != '\0'));
    *ret = lu.pr;
    return r;
}

static void
kept(void **state)
{
    struct world *w = *state;
    struct lu_pr pr;
    uint8_t buf[4096];

    assert_int_equal(aptpl(w, w->a, 0, KEY_A, false, NULL), SCSI_GOOD);
    assert_int_equal(w->disk.kept_len, 0); /* nobody has asked for it */
    (void)pr_in(w, w->a, SCSI_PRIN_REPORT_CAPABILITIES, buf);
    assert_int_equal(buf[2] & 1, 1);
    assert_int_equal(buf[3] & 1, 0);
    assert_int_equal(aptpl(w, w->b, 0, KEY_B, true, NULL), SCSI_GOOD);
    (void)pr_in(w, w->a, SCSI_PRIN_REPORT_CAPABILITIES, buf);
    assert_int_equal(buf[3] & 1, 1);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_RESERVE, 5, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(resume(w, &pr), 0);
    assert_int_equal(pr.count, 2); /* all of them, also who did not ask */
    assert_true(pr.aptpl && pr.type == LU_PR_WE_RO);
    assert_string_equal(pr.regs[0].port, PORT_A);
    assert_true(pr.regs[0].key == KEY_A && !pr.regs[0].holder);
    assert_string_equal(pr.regs[1].port, PORT_B);
    assert_true(pr.regs[1].key == KEY_B && pr.regs[1].holder);
    lu_pr_fini(&pr);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_RELEASE, 5, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(resume(w, &pr), 0);
    assert_int_equal(pr.type, LU_PR_NONE);
    lu_pr_fini(&pr);
    assert_int_equal(next_ua(w, w->a), 0x2a04);
    assert_int_equal(aptpl(w, w->a, KEY_A, KEY_C, false, NULL), SCSI_GOOD); /* the latest counts */
    assert_int_equal(w->disk.kept_len, 0);
    assert_int_equal(aptpl(w, w->a, KEY_C, KEY_C, true, NULL), SCSI_GOOD);
    assert_true(w->disk.kept_len > 0);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_CLEAR, 0, KEY_C, 0, NULL), SCSI_GOOD);
    assert_int_equal(w->disk.kept_len, 0);
}

/* Neither is a command of the victim aborted, nor is anybody told. */
static void
preempt_that_is_not_kept(struct world *w)
{
    uint32_t generation = w->lu->pr.generation;
    uint8_t cdb[CDB_MAX], data[BLOCK] = {0};
    struct scsi_sense s = {0};
    struct req r;

    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_REGISTER, 0, 0, KEY_B, NULL), SCSI_GOOD);
    assert_int_equal(aptpl(w, w->b, KEY_B, KEY_B, true, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->b, SCSI_PROUT_RESERVE, 5, KEY_B, 0, NULL), SCSI_GOOD);
    generation = w->lu->pr.generation;
    (void)cdb_write10(cdb, 0, 1, 0);
    req_begin(&r, w, w->b, 0, cdb, BLOCK); /* waits for its data */
    for (int clear = 0; clear < 2; clear++) {
        w->disk.fail_keep = -ENOSPC;
        assert_int_equal(pr_out(w, w->a, clear ? SCSI_PROUT_CLEAR : SCSI_PROUT_PREEMPT_AND_ABORT, 7,
                                KEY_A, KEY_B, &s),
                         SCSI_CHECK_CONDITION);
        assert_int_equal(s.key << 16 | sense_code(&s), 0x044400);
        w->disk.fail_keep = 0;
        assert_int_equal(w->lu->pr.count, 2);
        assert_int_equal(w->lu->pr.generation, generation);
        assert_true(w->lu->pr.type == LU_PR_WE_RO && w->lu->pr.regs[1].holder);
    }
    req_finish(&r, data, BLOCK);
    assert_int_equal(r.c.status, SCSI_GOOD);
    req_end(&r);
    assert_int_equal(run(w, w->b, 'w'), SCSI_GOOD); /* no unit attention */
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_PREEMPT, 7, KEY_A, KEY_B, NULL), SCSI_GOOD);
    assert_int_equal(w->lu->pr.generation, generation + 1);
    assert_int_equal(next_ua(w, w->b), 0x2a05);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RELEASE, 7, KEY_A, 0, NULL), SCSI_GOOD);
}

static void
what_cannot_be_kept_does_not_happen(void **state)
{
    struct world *w = *state;
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX], list[24] = {0};

    w->disk.fail_keep = -EIO;
    assert_int_equal(aptpl(w, w->a, 0, KEY_A, true, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x044400);
    assert_int_equal(w->lu->pr.count, 0);
    assert_false(w->lu->pr.aptpl);
    w->disk.fail_keep = 0;
    assert_int_equal(aptpl(w, w->a, 0, KEY_A, true, NULL), SCSI_GOOD);
    w->disk.fail_keep = -ENOSPC;
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RESERVE, 1, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(w->lu->pr.type, LU_PR_NONE);
    assert_int_equal(run(w, w->b, 'w'), SCSI_GOOD);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_CLEAR, 0, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(w->lu->pr.count, 1);
    w->disk.fail_keep = 0;
    preempt_that_is_not_kept(w);
    assert_int_equal(pr_out(w, w->a, SCSI_PROUT_RESERVE, 1, KEY_A, 0, NULL), SCSI_GOOD);
    (void)cdb_pr_out(cdb, SCSI_PROUT_REGISTER, 0, sizeof(list)); /* a null disk keeps nothing */
    st_be64(list + 8, KEY_A);
    list[20] = 1;
    {
        struct req r;

        req_begin(&r, w, w->a, 5, cdb, sizeof(list));
        req_finish(&r, list, sizeof(list));
        assert_int_equal(r.c.status, SCSI_CHECK_CONDITION); /* its unit attention */
        req_end(&r);
        req_begin(&r, w, w->a, 5, cdb, sizeof(list));
        req_finish(&r, list, sizeof(list));
        assert_true(sense_parse(r.c.sense, r.c.sense_len, &s));
        assert_int_equal(s.key << 16 | sense_code(&s), 0x052600);
        req_end(&r);
    }
}

static void
kept_nonsense(void **state)
{
    static const char *const texts[] = {
        "",
        "x",
        "lunette persistent reservations 2\n",
        HEAD,
        HEAD "type 5\n",
        HEAD "type 5\nend\n",
        HEAD "type 5\nregistered 0000000000000001 a\nend\n",
        HEAD "type 0\nholder 0000000000000001 a\nend\n",
        HEAD "type 2\nholder 0000000000000001 a\nend\n",
        HEAD "type 7\nholder 0000000000000001 a\nend\n",
        HEAD "type 1\nholder 0000000000000001 a\nholder 0000000000000001 b\nend\n",
        HEAD "type 0\nregistered 0000000000000001 a\nregistered 0000000000000002 a\nend\n",
        HEAD "type 0\nregistered 0000000000000000 a\nend\n",
        HEAD "type 0\nregistered 000000000000001 a\nend\n",
        HEAD "type 0\nregistered 0000000000000001 \nend\n",
        HEAD "type 0\nregistered 0000000000000001\nend\n",
        HEAD "type 0\nregistered\nend\n",
        HEAD "type 0\nregistered 0000000000000001 a\nend",
        HEAD "type 0\nregistered 0000000000000001 a\nend\nmore",
        HEAD "type -1\nregistered 0000000000000001 a\nend\n",
        HEAD "type 99999999999999999999999\nregistered 0000000000000001 a\nend\n",
    };
    struct world *w = *state;
    struct lu_pr pr;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        w->disk.kept_len = strlen(texts[i]);
        memcpy(w->disk.kept, texts[i], w->disk.kept_len);
        if (resume(w, &pr) != (i == 0 ? 0 : -EINVAL))
            fail_msg("\"%s\" is taken", texts[i]);
        lu_pr_fini(&pr);
    }
    w->disk.kept_len = sizeof(w->disk.kept);
    memset(w->disk.kept, 0, w->disk.kept_len);
    assert_int_equal(resume(w, &pr), -EINVAL);
    lu_pr_fini(&pr);
    w->disk.fail_keep = -EACCES;
    assert_int_equal(resume(w, &pr), -EACCES);
    lu_pr_fini(&pr);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(matrix, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(registrations, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(preemption, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(kept, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_kept_does_not_happen, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(kept_nonsense, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
