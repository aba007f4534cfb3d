/* SPDX-License-Identifier: MIT */
/* An allocation fails in the middle of whatever the target does: a connection may end for it, but
 * the target lives, and serves whoever comes when there is memory again. */
#include "tests/unit/target/puppet.h"

#include <string.h>
#include <sys/socket.h>

#include "tests/support/alloc_fail.h"
#include "wire/lun.h"

#define TURNS       3
#define FAILURES    400 /* far more than a conversation allocates */
#define FAILURES_OK 30  /* fewer would mean that it does not get far */

/* Lets the target deal with what it was sent.  Of its answers only the first header is kept. */
static void
settle(struct puppet *p)
{
    static uint8_t drop[65536];

    for (int i = 0; i < TURNS; i++)
        world_turn(p->w);
    memset(&p->rx.h, 0xff, sizeof(p->rx.h));
    if (recv(p->fd, &p->rx.h, sizeof(p->rx.h), MSG_DONTWAIT) > 0) {
        while (recv(p->fd, drop, sizeof(drop), MSG_DONTWAIT) > 0)
            ;
    }
}

static void
login_blindly(struct puppet *p)
{
    static const char text[] = "InitiatorName=" INITIATOR "\0TargetName=" IQN
                               "\0MaxConnections=2\0InitialR2T=No\0FirstBurstLength=8192"
                               "\0ErrorRecoveryLevel=2\0TaskReporting=FastAbort";

    puppet_login_send(p, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT), text,
                      p->tsih == 0 ? sizeof(text)
                                   : sizeof("InitiatorName=" INITIATOR "\0TargetName=" IQN));
    settle(p);
}

static void
say(struct puppet *p, uint8_t opcode, uint8_t flags, uint32_t ref_tag, const char *text, size_t len)
{
    union bhs_any h;

    bhs_init(&h, opcode | ISCSI_OP_IMMEDIATE, flags);
    lun_store(h.h.lun, lun_from_number(0));
    h.h.itt = put32(++p->itt);
    h.nop_out.ttt = put32(ref_tag);
    h.nop_out.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, text, (uint32_t)len);
    settle(p);
}

static void
command(struct puppet *p, uint8_t flags, const uint8_t *cdb, uint32_t edtl, uint32_t len)
{
    static uint8_t data[8192];

    (void)puppet_cmd(p, 0, flags, cdb, edtl, data, len);
    settle(p);
}

/* Commands of every kind that allocates: parameter data in and out, media, held. */
static void
commands(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_test_unit_ready(cdb);
    command(p, ISCSI_FLAG_FINAL, cdb, 0, 0);
    (void)cdb_inquiry(cdb, 255);
    command(p, RD, cdb, 255, 0);
    (void)cdb_pr_out(cdb, SCSI_PROUT_REGISTER_AND_IGNORE, 0, 24);
    command(p, WR, cdb, 24, 24);
    (void)cdb_write_same10(cdb, 0, 8, 0);
    command(p, WR, cdb, 512, 512);
    p->cmd_sn++; /* those behind it wait */
    (void)cdb_write10(cdb, 0, 16, 0);
    command(p, ISCSI_CMD_WRITE, cdb, 8192, 512);
    command(p, ISCSI_CMD_WRITE, cdb, 8192, 0);
    {
        struct bhs_data_out h;

        bhs_init(&h, ISCSI_OP_DATA_OUT, 0);
        h.itt = put32(p->itt);
        h.ttt = put32(ISCSI_TAG_RSVD);
        puppet_send(p, &h, cdb, 4);
    }
    say(p, ISCSI_OP_TMF_REQ, ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK_SET, p->itt, NULL, 0);
    say(p, ISCSI_OP_TMF_REQ, ISCSI_FLAG_FINAL | ISCSI_TMF_LU_RESET, ISCSI_TAG_RSVD, NULL, 0);
}

static void
fill_gap(struct puppet *p, uint32_t cmd_sn)
{
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(cmd_sn);
    puppet_send(p, &h, "here it is", 10);
    settle(p);
}

/* A reset waits for data that was asked for on b, which ends, while a has a write of its own. */
static void
reset_and_end(struct puppet *a, struct puppet *b)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_test_unit_ready(cdb);
    for (int i = 0; i < 4; i++) /* unit attentions */
        command(a, ISCSI_FLAG_FINAL, cdb, 0, 0);
    (void)cdb_write10(cdb, 0, 16, 0);
    b->cmd_sn = a->cmd_sn++;
    command(b, WR, cdb, 8192, 512);
    say(a, ISCSI_OP_TMF_REQ, ISCSI_FLAG_FINAL | ISCSI_TMF_LU_RESET, ISCSI_TAG_RSVD, NULL, 0);
    command(a, ISCSI_CMD_WRITE, cdb, 8192, 512);
    (void)shutdown(b->fd, SHUT_RDWR);
    settle(a);
}

static void
snack(struct puppet *p, uint8_t type, uint32_t itt, uint32_t ttt)
{
    struct bhs_snack_req h;

    bhs_init(&h, ISCSI_OP_SNACK_REQ, ISCSI_FLAG_FINAL | type);
    h.itt = put32(itt);
    h.ttt = put32(ttt);
    puppet_send(p, &h, NULL, 0);
    settle(p);
}

/* What levels above 0 have: all that was sent is sent again, and what the other connection, 1, has
 * left is reassigned to this one. */
static void
recover(struct puppet *p)
{
    struct bhs_logout_req l;
    struct bhs_tmf_req t;
    uint8_t cdb[CDB_MAX];

    (void)cdb_inquiry(cdb, 255);
    command(p, RD, cdb, 255, 0);
    snack(p, ISCSI_SNACK_DATA_R2T, p->itt, ISCSI_TAG_RSVD);
    snack(p, ISCSI_SNACK_STATUS, ISCSI_TAG_RSVD, ISCSI_TAG_RSVD);
    snack(p, ISCSI_SNACK_R_DATA, p->itt, 77);
    bhs_init(&l, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_RECOVERY);
    l.itt = put32(++p->itt);
    l.cid = put16(1);
    puppet_send(p, &l, NULL, 0);
    settle(p);
    for (uint32_t itt = 990; itt < 1010; itt++) { /* those of b */
        bhs_init(&t, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE,
                 ISCSI_FLAG_FINAL | ISCSI_TMF_TASK_REASSIGN);
        t.itt = put32(++p->itt);
        t.ref_tag = put32(itt);
        puppet_send(p, &t, NULL, 0);
    }
    settle(p);
}

/* With two connections, so that the session outlives one. */
static void
conversation(struct puppet *a, struct puppet *b)
{
    login_blindly(a);
    b->tsih = get16(a->rx.h.login_rsp.tsih);
    b->cid = 1;
    login_blindly(b);
    commands(a);
    b->itt = 1000;
    fill_gap(b, a->cmd_sn - 3); /* the one that commands() has left out */
    say(b, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, "ping", 4);
    say(a, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, KEYS("SendTargets="));
    say(b, ISCSI_OP_SNACK_REQ, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, NULL, 0);
    say(a, ISCSI_OP_TMF_REQ, ISCSI_FLAG_FINAL | ISCSI_TMF_TARGET_WARM_RESET, ISCSI_TAG_RSVD, NULL,
        0);
    reset_and_end(a, b);
    recover(a);
    say(a, ISCSI_OP_LOGOUT_REQ, ISCSI_FLAG_FINAL, 0, NULL, 0);
}

/* Somebody who comes when there is memory again finds a target that works. */
static void
expect_service(struct world *w)
{
    struct puppet *p = puppet_new(w, 9);
    uint8_t cdb[CDB_MAX], data[512];

    assert_int_equal(puppet_login(p, KEYS("")), 0);
    puppet_clear_ua(p);
    (void)cdb_read10(cdb, 0, 1, 0);
    assert_int_equal(puppet_do(p, cdb, RD, 512, data, 0, NULL), SCSI_GOOD);
    puppet_free(p);
}

static void
every_allocation_fails_once(const char *level)
{
    const struct lu_config luns[] = {{.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1},
                                     {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1}};
    const struct target_key_value set = {"ErrorRecoveryLevel", level};
    const struct target_node_config node = {
        .name = IQN, .luns = luns, .luns_count = 2, .set = &set, .set_count = 1};
    bool over = false;
    long n;

    for (n = 0; n < FAILURES && !over; n++) {
        struct puppet *a, *b;
        struct world w;

        world_new(&w, &node, 1);
        a = puppet_new(&w, 1);
        b = puppet_new(&w, 1);
        alloc_left = n;
        conversation(a, b);
        over = alloc_left >= 0; /* there are no more than n */
        alloc_left = -1;
        expect_service(&w);
        puppet_free(a);
        puppet_free(b);
        world_free(&w);
    }
    assert_true(over && n > FAILURES_OK);
}

static void
without_recovery(void **state)
{
    (void)state;
    every_allocation_fails_once("0");
}

static void
with_recovery(void **state)
{
    (void)state;
    every_allocation_fails_once("2");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_recovery),
                                       cmocka_unit_test(with_recovery)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
