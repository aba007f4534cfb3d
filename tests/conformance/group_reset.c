/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_reset.c - group "reset", the half of it that asks the host by itself:
 * what seam/host.h promises of resets while commands are under way. */
#include "tests/conformance/nexus.h"

#define CMDS 10
#define LEN  (16u << 10)

static struct reset {
    struct conform_world w;
    struct conform_nexus n;
    struct conform_cmd cmd[CMDS];
    uint8_t mem[CMDS][LEN];
    struct scsi_eh_wait wait;
    enum scsi_eh_result result;
    unsigned told, back_when_told;
    uint64_t before; /* commands that the target had when it was asked for a reset; 0: not yet */
} r;

static unsigned
back(void)
{
    unsigned n = 0;

    for (int i = 0; i < CMDS; i++) {
        assert_true(r.cmd[i].done <= 1);
        n += r.cmd[i].done;
    }
    return n;
}

static void
told(struct scsi_eh_wait *wait, enum scsi_eh_result result)
{
    assert_ptr_equal(wait, &r.wait);
    r.result = result;
    r.told++;
    r.back_when_told = back();
}

static void
scribbled(struct conform_cmd *c)
{
    memset(c->mem, 0xee, LEN);
}

enum which { UNIT, TARGET, SESSION, WHICHES };

static void
ask_for(enum which which)
{
    const struct scsi_host_ops *ops = r.n.host->ops;
    const uint8_t lun[8] = {0};

    r.wait = (struct scsi_eh_wait){.done = told};
    r.told = 0;
    if (which == UNIT)
        ops->eh_device_reset(r.n.host, lun, &r.wait);
    else if (which == TARGET)
        ops->eh_target_reset(r.n.host, &r.wait);
    else
        ops->eh_session_reset(r.n.host, &r.wait);
    assert_int_equal(r.told, 0); /* never from inside */
}

/* Reads and writes are under way, some half received or half sent, and the target does not answer
 * in time. */
static void
send_all(uint64_t turns)
{
    for (uint32_t i = 0; i < CMDS; i++) {
        conform_fill(r.mem[i], LEN, (uint64_t)i * LEN, 0);
        conform_cmd_init(&r.cmd[i], i % 2 == 0, i * (LEN / CONFORM_BLOCK), r.mem[i], LEN);
        r.cmd[i].then = scribbled;
        conform_cmd_send(&r.n, &r.cmd[i]);
    }
    for (; turns > 0; turns--)
        conform_turn(&r.w);
}

/* Another login. */
static void
again(void)
{
    if (!conform_by_itself()) {
        CONFORM_UNTIL(&r.w, r.n.downs == r.n.binds);
        target_set_faults(r.w.target, NULL);
        conform_nexus_bind(&r.n);
        conform_nexus_login(&r.n);
        return;
    }
    target_set_faults(r.w.target, NULL);
    CONFORM_UNTIL(&r.w, r.n.host->state == SCSI_HOST_RUNNING);
}

/* Another login, where the connection went with the reset, and a command that goes well. */
static void
works_as_before(void)
{
    struct conform_cmd c;
    unsigned tries = 0;

    do {
        if (r.n.host->state != SCSI_HOST_RUNNING)
            again();
        conform_cmd_init(&c, false, 0, NULL, 0);
        conform_cmd_send(&r.n, &c);
        CONFORM_UNTIL(&r.w, c.done > 0);
        assert_true(tries++ < 9);
    } while (c.sc.host_result != DID_OK || c.sc.status != 0);
    conform_fill(r.mem[0], LEN, 0, 0);
    conform_cmd_init(&c, true, 0, r.mem[0], LEN);
    conform_cmd_run(&r.n, &c);
    assert_memory_equal(r.w.disk, r.mem[0], LEN);
}

/* From the request on the target answers at once. */
static enum conform_verdict
note_tmf(void *user, const struct conform_pdu *pdu)
{
    (void)user;
    if ((pdu->h->h.opcode & ISCSI_OP_MASK) == ISCSI_OP_TMF_REQ) {
        target_set_faults(r.w.target, NULL);
        r.before = conform_path_counts(r.w.path)->pdus[ISCSI_OP_SCSI_CMD] - r.before;
    }
    return CONFORM_PASS;
}

static void
reset_under_io(enum which which, bool answers, uint64_t turns)
{
    static const struct target_key_value set[] = {{"MaxRecvDataSegmentLength", "4096"},
                                                  {"MaxBurstLength", "8192"},
                                                  {"FirstBurstLength", "4096"},
                                                  {"QueueDepth", "32"}};
    const struct conform_setup setup = {.set = set, .set_count = 4};
    struct target_faults late = {.response_delay_ms = answers ? 5 : 60000};

    memset(&r, 0, sizeof(r));
    conform_open(&r.w, &setup);
    conform_nexus_new(&r.n, &r.w);
    conform_nexus_bind(&r.n);
    conform_nexus_login(&r.n);
    target_set_faults(r.w.target, &late);
    r.before = conform_path_counts(r.w.path)->pdus[ISCSI_OP_SCSI_CMD];
    conform_path_filter(r.w.path, note_tmf, NULL);
    send_all(turns);
    ask_for(which);
    if (which == SESSION)
        again();
    CONFORM_UNTIL(&r.w, r.told > 0);
    assert_int_equal(r.told, 1);
    assert_int_equal(r.result, SCSI_EH_SUCCESS);
    if (which == SESSION)
        assert_int_equal(r.back_when_told, CMDS);
    else if (!answers)
        assert_true(r.back_when_told >= r.before);
    CONFORM_UNTIL(&r.w, back() == CMDS);
    conform_wait_ms(&r.w, 10);
    works_as_before();
    conform_medium_is_sound(&r.w, (size_t)CMDS * LEN);
    conform_nexus_end(&r.n);
    conform_close(&r.w);
}

void
conform_reset_hosts(void)
{
    for (enum which which = UNIT; which < WHICHES; which++) {
        for (uint64_t turns = 0; turns < 12; turns += turns < 4 ? 1 : 4) {
            reset_under_io(which, false, turns);
            reset_under_io(which, true, turns);
        }
    }
}
