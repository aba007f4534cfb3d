/* SPDX-License-Identifier: MIT */
/* Persistent reservations: the matrix of types and commands, preemption, full status (SPC-4 5.13).
 */
#include "tests/unit/target/puppet.h"

#include <stdlib.h>
#include <string.h>

#define KEY_A 0xaaaaaaaa11111111ull
#define KEY_B 0xbbbbbbbb22222222ull
#define KEY_C 0xcccccccc33333333ull

struct three {
    struct world w;
    struct puppet *a, *b, *c; /* holder, registrant, stranger */
};

static int
setup(void **state)
{
    struct three *t = calloc(1, sizeof(*t));
    struct puppet **all[] = {&t->a, &t->b, &t->c};

    world_new(&t->w, NULL, 0);
    for (uint8_t i = 0; i < 3; i++) {
        *all[i] = puppet_new(&t->w, (uint8_t)(i + 1));
        assert_int_equal(puppet_login(*all[i], KEYS("")), 0);
        puppet_clear_ua(*all[i]);
    }
    *state = t;
    return 0;
}

static int
teardown(void **state)
{
    struct three *t = *state;

    puppet_free(t->a);
    puppet_free(t->b);
    puppet_free(t->c);
    world_free(&t->w);
    free(t);
    return 0;
}

static uint8_t
pr_out(struct puppet *p, enum scsi_pr_out sa, uint8_t type, uint64_t key, uint64_t sa_key,
       struct scsi_sense *s)
{
    uint8_t cdb[CDB_MAX], list[24] = {0};

    (void)cdb_pr_out(cdb, sa, type, sizeof(list));
    st_be64(list, key);
    st_be64(list + 8, sa_key);
    return puppet_do(p, cdb, WR, sizeof(list), list, sizeof(list), s);
}

static uint32_t
pr_in(struct puppet *p, enum scsi_pr_in sa, uint8_t *buf)
{
    uint8_t cdb[CDB_MAX];
    uint32_t len = 0;

    (void)cdb_pr_in(cdb, sa, 4096);
    (void)puppet_cmd(p, 0, RD, cdb, 4096, NULL, 0);
    assert_int_equal(puppet_status(p, buf, &len, NULL), SCSI_GOOD);
    return len;
}

static uint8_t
run(struct puppet *p, char what)
{
    uint8_t cdb[CDB_MAX];
    static uint8_t buf[512];

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
    return puppet_do(p, cdb,
                     what == 'w'                  ? WR
                     : what == 'r' || what == 'i' ? RD
                                                  : ISCSI_FLAG_FINAL,
                     what == 'w' || what == 'r' ? 512
                     : what == 'i'              ? 96
                                                : 0,
                     buf, what == 'w' ? 512 : 0, NULL);
}

static void
take_ua(struct puppet *p, uint16_t code)
{
    uint8_t cdb[CDB_MAX];
    struct scsi_sense s = {0};

    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x060000 | code);
}

static void
matrix(void **state)
{
    struct three *t = *state;
    /* may read and write: registrant, then stranger */
    static const struct {
        uint8_t type;
        const char *registrant, *stranger; /* of r w s: those that pass */
    } rows[] = {
        {1, "r", "r"},  {3, "", ""},     {5, "rws", "r"},
        {6, "rws", ""}, {7, "rws", "r"}, {8, "rws", ""},
    };

    assert_int_equal(pr_out(t->a, SCSI_PROUT_REGISTER, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->b, SCSI_PROUT_REGISTER, 0, 0, KEY_B, NULL), SCSI_GOOD);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t type = rows[i].type;

        assert_int_equal(pr_out(t->a, SCSI_PROUT_RESERVE, type, KEY_A, 0, NULL), SCSI_GOOD);
        for (const char *w = "rws"; *w != '\0'; w++) {
            assert_int_equal(run(t->a, *w), SCSI_GOOD);
            assert_int_equal(run(t->b, *w), strchr(rows[i].registrant, *w) != NULL
                                                ? SCSI_GOOD
                                                : SCSI_RESERVATION_CONFLICT);
            assert_int_equal(run(t->c, *w), strchr(rows[i].stranger, *w) != NULL
                                                ? SCSI_GOOD
                                                : SCSI_RESERVATION_CONFLICT);
        }
        assert_int_equal(run(t->c, 'i'), SCSI_GOOD);
        assert_int_equal(run(t->c, 't'), SCSI_GOOD);
        assert_int_equal(pr_out(t->c, SCSI_PROUT_RESERVE, type, KEY_C, 0, NULL),
                         SCSI_RESERVATION_CONFLICT);
        assert_int_equal(pr_out(t->a, SCSI_PROUT_RELEASE, type, KEY_A, 0, NULL), SCSI_GOOD);
        if (type >= 5)
            take_ua(t->b, 0x2a04);
        assert_int_equal(run(t->c, 'w'), SCSI_GOOD);
    }
}

static void
registrations(void **state)
{
    struct three *t = *state;
    struct scsi_sense s = {0};
    uint8_t buf[4096];

    assert_int_equal(pr_out(t->a, SCSI_PROUT_REGISTER, 0, 5, KEY_A, NULL),
                     SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_REGISTER, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_REGISTER, 0, 0, KEY_B, NULL),
                     SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_REGISTER_AND_IGNORE, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_in(t->c, SCSI_PRIN_READ_KEYS, buf), 16);
    assert_int_equal(ld_be32(buf), 2); /* generation */
    assert_true(ld_be64(buf + 8) == KEY_A);
    assert_int_equal(pr_in(t->c, SCSI_PRIN_READ_RESERVATION, buf), 8);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_RESERVE, 2, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_RESERVE, 0x11, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_RESERVE, 3, KEY_A, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_RELEASE, 1, KEY_A, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x052604);
    assert_int_equal(pr_in(t->c, SCSI_PRIN_READ_RESERVATION, buf), 24);
    assert_int_equal(buf[21], 3);
    assert_true(pr_in(t->c, SCSI_PRIN_READ_FULL_STATUS, buf) > 36);
    assert_int_equal(buf[8 + 12], 1); /* holder */
    assert_int_equal(buf[8 + 24], 0x45);
    assert_string_equal((char *)buf + 8 + 28, INITIATOR ",i,0x800000000001");
    puppet_free(t->a); /* the registration outlives the session */
    t->a = puppet_new(&t->w, 1);
    assert_int_equal(run(t->b, 'r'), SCSI_RESERVATION_CONFLICT);
    assert_int_equal(puppet_login(t->a, KEYS("")), 0);
    puppet_clear_ua(t->a);
    assert_int_equal(run(t->a, 'w'), SCSI_GOOD);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_CLEAR, 0, KEY_A, 0, NULL), SCSI_GOOD);
    assert_int_equal(run(t->b, 'w'), SCSI_GOOD);
}

static void
preemption(void **state)
{
    struct three *t = *state;
    struct scsi_sense s = {0};
    uint8_t buf[4096], cdb[CDB_MAX];
    uint32_t itt;

    assert_int_equal(pr_out(t->a, SCSI_PROUT_REGISTER, 0, 0, KEY_A, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->b, SCSI_PROUT_REGISTER, 0, 0, KEY_B, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->a, SCSI_PROUT_RESERVE, 1, KEY_A, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->c, SCSI_PROUT_PREEMPT, 1, KEY_C, KEY_A, NULL),
                     SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(t->b, SCSI_PROUT_PREEMPT, 3, KEY_B, KEY_C, NULL),
                     SCSI_RESERVATION_CONFLICT); /* nobody has that key */
    assert_int_equal(pr_out(t->b, SCSI_PROUT_PREEMPT, 3, KEY_B, 0, &s), SCSI_CHECK_CONDITION);
    (void)cdb_write10(cdb, 0, 1, 0); /* a write of the holder waits for its data */
    itt = puppet_cmd(t->a, 0, WR, cdb, 512, NULL, 0);
    (void)puppet_expect(t->a, ISCSI_OP_R2T);
    (void)itt;
    assert_int_equal(pr_out(t->b, SCSI_PROUT_PREEMPT_AND_ABORT, 3, KEY_B, KEY_A, NULL), SCSI_GOOD);
    puppet_expect_nothing(t->a); /* it ended without a word */
    take_ua(t->a, 0x2a05);
    assert_int_equal(run(t->a, 'r'), SCSI_RESERVATION_CONFLICT);
    assert_int_equal(run(t->b, 'w'), SCSI_GOOD);
    assert_int_equal(pr_in(t->c, SCSI_PRIN_READ_KEYS, buf), 16);
    /* all registrants: the reservation ends with the last of them */
    assert_int_equal(pr_out(t->b, SCSI_PROUT_RELEASE, 3, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->b, SCSI_PROUT_RESERVE, 8, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->c, SCSI_PROUT_REGISTER, 0, 0, KEY_C, NULL), SCSI_GOOD);
    assert_int_equal(pr_out(t->b, SCSI_PROUT_REGISTER, 0, KEY_B, 0, NULL), SCSI_GOOD);
    assert_int_equal(run(t->b, 'r'), SCSI_RESERVATION_CONFLICT);
    assert_int_equal(pr_out(t->c, SCSI_PROUT_REGISTER, 0, KEY_C, 0, NULL), SCSI_GOOD);
    assert_int_equal(run(t->b, 'r'), SCSI_GOOD);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(matrix, setup, teardown),
        cmocka_unit_test_setup_teardown(registrations, setup, teardown),
        cmocka_unit_test_setup_teardown(preemption, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
