/* SPDX-License-Identifier: MIT */
/* The functions of RFC 7144: they ask for tasks and unit attentions, or reset the nexus. */
#include "tests/unit/target/puppet.h"

#include "wire/lun.h"

#define LEVEL2 "iSCSIProtocolLevel=2\0InitialR2T=Yes\0ImmediateData=No\0MaxConnections=2"

static uint8_t
ask(struct puppet *p, uint8_t function, uint64_t lun, uint32_t ref_tag)
{
    struct bhs_tmf_req t;

    bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | function);
    lun_store(t.lun, lun_from_number(lun));
    t.itt = put32(++p->itt);
    t.ref_tag = put32(ref_tag);
    t.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &t, NULL, 0);
    return puppet_expect(p, ISCSI_OP_TMF_RSP)->h.tmf_rsp.response;
}

static uint32_t
write_begin(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    (void)cdb_write10(cdb, 0, 1, 0);
    itt = puppet_cmd(p, 0, WR, cdb, 512, NULL, 0);
    (void)puppet_expect(p, ISCSI_OP_R2T);
    return itt;
}

/* RFC7144-6.3, 6.4: 7 where there is what is asked for, 0 where not. */
static void
tasks(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(LEVEL2)), *q = puppet_new(*state, 2);
    uint32_t itt;

    assert_int_equal(ask(p, ISCSI_TMF_QUERY_TASK_SET, 0, ISCSI_TAG_RSVD), 0);
    assert_int_equal(ask(p, ISCSI_TMF_QUERY_TASK, 0, 4711), 0);
    itt = write_begin(p);
    assert_int_equal(ask(p, ISCSI_TMF_QUERY_TASK, 0, itt), ISCSI_TMF_RSP_SUCCEEDED);
    assert_int_equal(get24(p->rx.h.tmf_rsp.info), 0);
    assert_int_equal(ask(p, ISCSI_TMF_QUERY_TASK, 1, itt), 0);
    assert_int_equal(ask(p, ISCSI_TMF_QUERY_TASK, 7, itt), ISCSI_TMF_RSP_NO_LUN);
    assert_int_equal(ask(p, ISCSI_TMF_QUERY_TASK_SET, 0, ISCSI_TAG_RSVD), ISCSI_TMF_RSP_SUCCEEDED);
    assert_int_equal(ask(p, ISCSI_TMF_QUERY_TASK_SET, 1, ISCSI_TAG_RSVD), 0);
    assert_int_equal(puppet_login(q, KEYS(LEVEL2)), 0); /* another nexus */
    assert_int_equal(ask(q, ISCSI_TMF_QUERY_TASK_SET, 0, ISCSI_TAG_RSVD), 0);
    assert_int_equal(ask(q, ISCSI_TMF_QUERY_TASK, 0, itt), 0);
    puppet_free(q);
    puppet_free(p);
}

/* Unit attentions are told and stay. */
static void
attentions(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(LEVEL2));

    assert_int_equal(ask(p, ISCSI_TMF_QUERY_ASYNC_EVENT, 0, ISCSI_TAG_RSVD), 0);
    assert_int_equal(target_resize(p->w->target, IQN, 0, 2 << 20, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(p, ISCSI_TMF_QUERY_ASYNC_EVENT, 0, ISCSI_TAG_RSVD),
                         ISCSI_TMF_RSP_SUCCEEDED);
        assert_int_equal(get24(p->rx.h.tmf_rsp.info), 0x162a09);
    }
    assert_int_equal(ask(p, ISCSI_TMF_LU_RESET, 0, ISCSI_TAG_RSVD), 0);
    assert_int_equal(ask(p, ISCSI_TMF_QUERY_ASYNC_EVENT, 0, ISCSI_TAG_RSVD),
                     ISCSI_TMF_RSP_SUCCEEDED);
    assert_int_equal(get24(p->rx.h.tmf_rsp.info) >> 16, 0x26); /* more than one */
    puppet_free(p);
}

/* The session ends with all its connections, and the next one is told of the loss. */
static void
nexus(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(LEVEL2)), *b = puppet_new(*state, 1);
    struct scsi_sense s;
    uint8_t cdb[CDB_MAX];

    b->tsih = p->tsih;
    b->cid = 1;
    b->cmd_sn = p->cmd_sn;
    assert_int_equal(puppet_login(b, KEYS("")), 0);
    b->itt = 5000;
    (void)write_begin(b);
    p->cmd_sn = b->cmd_sn;
    (void)write_begin(p);
    assert_int_equal(ask(p, ISCSI_TMF_I_T_NEXUS_RESET, 0, ISCSI_TAG_RSVD), 0);
    puppet_expect_close(p);
    puppet_expect_close(b);
    puppet_free(b);
    puppet_free(p);
    p = puppet_new(*state, 1);
    assert_int_equal(puppet_login(p, KEYS(LEVEL2)), 0);
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(puppet_do(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), 0x062907);
    puppet_free(p);
}

/* RFC7144-5.1.1: below level 2 nobody knows them. */
static void
level_one(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS("iSCSIProtocolLevel=1"));

    for (uint8_t f = ISCSI_TMF_QUERY_TASK; f <= ISCSI_TMF_QUERY_ASYNC_EVENT; f++)
        assert_int_equal(ask(p, f, 0, ISCSI_TAG_RSVD), ISCSI_TMF_RSP_UNSUPPORTED);
    puppet_free(p);
    p = puppet_new(*state, 3);
    assert_int_equal(puppet_login(p, KEYS("iSCSIProtocolLevel=31")), 0);
    assert_true(puppet_text_has(&p->rx, "iSCSIProtocolLevel=2"));
    puppet_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tasks, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(attentions, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(nexus, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(level_one, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
