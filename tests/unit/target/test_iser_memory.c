/* SPDX-License-Identifier: MIT */
/* test_memory.c over RDMA: each allocation of a conversation fails once, and after that the device
 * has room for less and less.  A connection may end for it; the target lives, and serves whoever
 * comes when there is memory again. */
#include "tests/unit/target/iser_puppet.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/alloc_fail.h"
#include "wire/lun.h"

#define PLAIN       (ISER_NO_ZBVA | ISER_NO_SEND_INV)
#define TURNS       3
#define FAILURES    200 /* far more than a conversation allocates */
#define FAILURES_OK 12  /* fewer would mean that it does not get far */

static void
settle(struct ipuppet *p)
{
    struct fake_message m;

    iworld_turns(p->w, TURNS);
    while (fake_hear(p->ep, &m))
        fake_message_free(&m);
}

static void
login_blindly(struct ipuppet *p)
{
    static const char text[] =
        "InitiatorName=" INITIATOR "\0TargetName=" IQN "\0RDMAExtensions=Yes\0ImmediateData=Yes";
    struct bhs_login_req h;

    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT));
    memcpy(h.isid, p->isid, sizeof(h.isid));
    h.itt = put32(7);
    h.cmd_sn = put32(p->cmd_sn);
    ipuppet_send(p, NULL, NULL, &h, text, sizeof(text));
    settle(p);
}

static void
say(struct ipuppet *p, uint8_t opcode, uint8_t flags, const char *text, size_t len)
{
    union bhs_any h;

    bhs_init(&h, opcode | ISCSI_OP_IMMEDIATE, flags);
    h.h.itt = put32(++p->itt);
    h.nop_out.ttt = put32(ISCSI_TAG_RSVD);
    h.nop_out.cmd_sn = put32(p->cmd_sn);
    ipuppet_send(p, NULL, NULL, &h, text, (uint32_t)len);
    settle(p);
}

static void
conversation(struct ipuppet *p)
{
    struct iser_stag s = {.stag = MEM_RKEY, .base = (uintptr_t)p->mem};
    uint8_t cdb[CDB_MAX];

    settle(p);
    login_blindly(p);
    (void)cdb_test_unit_ready(cdb);
    (void)ipuppet_cmd(p, ISCSI_FLAG_FINAL, cdb, 0, NULL, NULL, NULL, 0);
    settle(p);
    (void)cdb_inquiry(cdb, 255);
    (void)ipuppet_cmd(p, RD, cdb, 255, NULL, &s, NULL, 0);
    settle(p);
    (void)cdb_pr_out(cdb, SCSI_PROUT_REGISTER_AND_IGNORE, 0, 24);
    (void)ipuppet_cmd(p, WR, cdb, 24, &s, NULL, NULL, 0);
    settle(p);
    (void)ipuppet_write(p, 0, 512u << 10, 0);
    settle(p);
    (void)ipuppet_read(p, 0, 512u << 10, 0);
    settle(p);
    say(p, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL, "ping", 4);
    say(p, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL, KEYS("SendTargets="));
    say(p, ISCSI_OP_SNACK_REQ - 1, ISCSI_FLAG_FINAL, NULL, 0);
    say(p, ISCSI_OP_TMF_REQ, ISCSI_FLAG_FINAL | ISCSI_TMF_LU_RESET, NULL, 0);
    say(p, ISCSI_OP_LOGOUT_REQ, ISCSI_FLAG_FINAL, NULL, 0);
}

static void
allocations(void **state)
{
    bool over = false;
    long n;

    (void)state;
    for (n = 0; n < FAILURES && !over; n++) {
        struct iworld w;
        struct ipuppet *p;

        iworld_new(&w, NULL, NULL, 0);
        p = ipuppet_begin(&w, PLAIN);
        alloc_left = n;
        conversation(p);
        over = alloc_left >= 0; /* there are no more than n */
        alloc_left = -1;
        iworld_lives(&w);
        ipuppet_free(p);
        iworld_free(&w);
    }
    assert_true(over && n > FAILURES_OK);
}

static void
locked_memory(void **state)
{
    struct iworld w;

    (void)state;
    iworld_new(&w, NULL, NULL, 0);
    for (uint64_t left = 4096; left < (4u << 20); left += 128u << 10) {
        struct ipuppet *p;

        w.rnic.memlock = left;
        p = ipuppet_begin(&w, PLAIN);
        conversation(p);
        w.rnic.memlock = 0;
        iworld_lives(&w);
        ipuppet_free(p);
    }
    iworld_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations),
                                       cmocka_unit_test(locked_memory)};

    fake_alloc = __real_malloc;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
