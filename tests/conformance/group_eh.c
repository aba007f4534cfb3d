/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_eh.c - groups "abort" and "reset": commands that end before their time.
 *
 * A request ends once, and its memory is its owner's from then on: whatever the target still sends
 * for it goes nowhere, and what is in its memory later is never sent. */
#include <stdlib.h>

#include "tests/conformance/conformance.h"

#define READ_10 0x28u
#define LEN     (64u << 10)
#define LONG    (8 * LEN) /* of a write that the target asks for in eight pieces over RDMA */
#define BUSY    8u        /* requests that go on meanwhile */
#define AFTER   'z'       /* what a request's memory holds when it is over */

static struct eh {
    struct conform_world w;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    struct lunette_error err;
    uint8_t buf[LONG], other[BUSY][CONFORM_BLOCK];
    unsigned ended[1 + BUSY];
    int result[1 + BUSY];
    uint32_t refused; /* task management: 1 << function */
    unsigned asked;   /* the function that was asked for last */
    unsigned r2ts, hold_at_r2t;
    unsigned unmute_at_tmf, unmute_at_link;
} e;

static const struct conform_counts *
counts(void)
{
    return conform_path_counts(e.w.path);
}

static void
eh_open(const struct conform_setup *setup)
{
    memset(&e, 0, sizeof(e));
    conform_open(&e.w, setup);
    e.lun = conform_lun(&e.w);
    CONFORM_OK(lunette_queue_new(e.lun, 16, &e.q, &e.err), e.err);
}

/* The session is as good as before, and on the same connection where nothing else is expected. */
static void
eh_close(unsigned links)
{
    conform_fill(e.buf, LEN, 0, 99);
    CONFORM_OK(lunette_pwrite(e.lun, e.buf, LEN, 0, 0, &e.err), e.err);
    assert_memory_equal(e.w.disk, e.buf, LEN);
    memset(e.buf, 0, LEN);
    CONFORM_OK(lunette_pread(e.lun, e.buf, LEN, 0, &e.err), e.err);
    assert_memory_equal(e.w.disk, e.buf, LEN);
    assert_int_equal(counts()->links, links);
    lunette_queue_free(e.q);
    lunette_close(e.lun);
    conform_close(&e.w);
}

static void
take_ended(void)
{
    struct lunette_completion c[16];
    int n = lunette_queue_poll(e.q, c, 16, 0, 0);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        ptrdiff_t k = (unsigned *)c[i].user_data - e.ended;

        assert_int_equal(++e.ended[k], 1);
        e.result[k] = c[i].err;
        if (k == 0)
            memset(e.buf, AFTER, LONG);
    }
}

#define ENDED(n) (take_ended(), e.ended[n] > 0)

static void
memory_is_ours(void)
{
    conform_wait_ms(&e.w, 50);
    take_ended();
    for (size_t i = 0; i < LONG; i++)
        assert_int_equal(e.buf[i], AFTER);
}

static void
ask_to_read(void)
{
    assert_int_equal(lunette_queue_read(e.q, e.buf, LEN, 0, &e.ended[0]), 0);
    assert_int_equal(lunette_queue_submit(e.q), 0);
}

static void
cancel(void)
{
    assert_int_equal(lunette_queue_cancel(e.q, &e.ended[0]), 1);
}

/* ---- aborts ---------------------------------------------------------------------------------- */

/* The window is shut: the target never hears of it. */
static void
before_it_is_sent(void)
{
    static const struct target_key_value set[] = {{"QueueDepth", "4"}};
    const struct conform_setup setup = {.set = set, .set_count = 1};
    struct target_faults f = {.shut_window = true};
    uint64_t sent;

    eh_open(&setup);
    target_set_faults(e.w.target, &f);
    for (int i = 0; i < 4; i++)
        CONFORM_OK(lunette_pread(e.lun, e.other[0], CONFORM_BLOCK, 0, &e.err), e.err);
    sent = counts()->pdus[ISCSI_OP_SCSI_CMD];
    ask_to_read();
    conform_wait_ms(&e.w, 5);
    cancel();
    CONFORM_UNTIL(&e.w, ENDED(0));
    assert_int_equal(e.result[0], -ECANCELED);
    target_set_faults(e.w.target, NULL);
    conform_ping(e.lun, 0);
    memory_is_ours();
    assert_int_equal(counts()->pdus[ISCSI_OP_SCSI_CMD], sent);
    assert_int_equal(counts()->pdus[ISCSI_OP_TMF_REQ], 0);
    eh_close(1);
}

/* The target has it and does not answer; by the caller's wish, or as its time is over. */
static void
in_flight(bool by_time)
{
    struct target_faults f = {.mute = true, .mute_opcode = READ_10};
    uint64_t sent;

    eh_open(NULL);
    target_set_faults(e.w.target, &f);
    sent = counts()->pdus[ISCSI_OP_SCSI_CMD];
    if (by_time)
        (void)lunette_queue_set_timeout(e.q, 100);
    ask_to_read();
    CONFORM_UNTIL(&e.w, counts()->pdus[ISCSI_OP_SCSI_CMD] > sent);
    if (!by_time)
        cancel();
    CONFORM_UNTIL(&e.w, ENDED(0));
    assert_int_equal(e.result[0], by_time ? -ETIMEDOUT : -ECANCELED);
    assert_int_equal(counts()->tmf[ISCSI_TMF_ABORT_TASK], 1);
    target_set_faults(e.w.target, NULL);
    memory_is_ours();
    eh_close(1);
}

/* The answer is under way as the abort is sent, which comes too late. */
static void
after_the_answer(void)
{
    uint64_t kept;

    eh_open(NULL);
    conform_fill(e.w.disk, LEN, 0, 5);
    conform_path_hold(e.w.path, CONFORM_TO_INITIATOR, true);
    ask_to_read();
    CONFORM_UNTIL(&e.w, conform_path_kept(e.w.path, CONFORM_TO_INITIATOR) >= LEN);
    cancel();
    CONFORM_UNTIL(&e.w, counts()->tmf[ISCSI_TMF_ABORT_TASK] == 1);
    kept = conform_path_kept(e.w.path, CONFORM_TO_INITIATOR);
    CONFORM_UNTIL(&e.w, conform_path_kept(e.w.path, CONFORM_TO_INITIATOR) > kept);
    take_ended();
    assert_int_equal(e.ended[0], 0);
    conform_path_hold(e.w.path, CONFORM_TO_INITIATOR, false);
    CONFORM_UNTIL(&e.w, ENDED(0));
    assert_int_equal(e.result[0], 0);
    memory_is_ours();
    eh_close(1);
}

static enum conform_verdict
hold_at_r2t(void *user, const struct conform_pdu *pdu)
{
    (void)user;
    if ((pdu->h->h.opcode & ISCSI_OP_MASK) == ISCSI_OP_R2T && ++e.r2ts == e.hold_at_r2t)
        conform_path_hold(e.w.path, CONFORM_TO_INITIATOR, true);
    return CONFORM_PASS;
}

/* Between two R2Ts, at one of them, with data of the one before on their way.  Over RDMA an RDMA
 * Read Request is what an R2T is elsewhere (path.h): it is held, so that the target may still read
 * the memory as the abort is answered. */
static void
at_an_r2t(unsigned n)
{
    static const struct target_key_value set[] = {{"InitialR2T", "Yes"},
                                                  {"ImmediateData", "No"},
                                                  {"MaxRecvDataSegmentLength", "1024"},
                                                  {"MaxBurstLength", "8192"}};
    const struct conform_setup setup = {.set = set, .set_count = 4};
    const size_t len = conform_tt->caps & CAP_RDMA ? LONG : LEN;
    uint8_t *was;

    eh_open(&setup);
    e.hold_at_r2t = n;
    conform_path_filter(e.w.path, hold_at_r2t, NULL);
    conform_fill(e.buf, len, 0, 6);
    assert_int_equal(lunette_queue_write(e.q, e.buf, len, 0, 0, &e.ended[0]), 0);
    assert_int_equal(lunette_queue_submit(e.q), 0);
    CONFORM_UNTIL(&e.w, e.r2ts == n);
    cancel();
    CONFORM_UNTIL(&e.w, counts()->tmf[ISCSI_TMF_ABORT_TASK] == 1);
    conform_path_hold(e.w.path, CONFORM_TO_INITIATOR, false);
    CONFORM_UNTIL(&e.w, ENDED(0));
    assert_int_equal(e.result[0], -ECANCELED);
    memory_is_ours();
    was = malloc(len);
    assert_non_null(was);
    conform_fill(was, len, 0, 6);
    for (size_t i = 0; i < len; i++)
        assert_true(e.w.disk[i] == was[i] || e.w.disk[i] == 0);
    free(was);
    conform_path_filter(e.w.path, NULL, NULL);
    eh_close(1);
}

void
conform_group_abort(void)
{
    before_it_is_sent();
    in_flight(false);
    in_flight(true);
    after_the_answer();
    for (unsigned n = 1; n <= 8; n += n == 2 ? 5 : 1)
        at_an_r2t(n);
}

/* ---- resets ---------------------------------------------------------------------------------- */

static enum conform_verdict
refuse_some(void *user, const struct conform_pdu *pdu)
{
    uint8_t op = pdu->h->h.opcode & ISCSI_OP_MASK;

    (void)user;
    if (op == ISCSI_OP_TMF_REQ)
        e.asked = pdu->h->h.flags & ISCSI_TMF_FUNC_MASK;
    if (pdu->link == e.unmute_at_link || (op == ISCSI_OP_TMF_REQ && e.asked == e.unmute_at_tmf))
        target_set_faults(e.w.target, NULL);
    if (op == ISCSI_OP_TMF_RSP && (e.refused & 1u << e.asked) != 0)
        pdu->h->tmf_rsp.response = ISCSI_TMF_RSP_REJECTED;
    return CONFORM_PASS;
}

/* The target answers no READ, and refuses the functions in `refused`, until it gets the one that is
 * expected, or with 0 a new login.  The midlayer goes up step by step.  What was asked for before
 * and beside it ends well: it is sent again. */
static void
climb(uint32_t refused, unsigned expected, bool silent)
{
    const struct conform_setup setup = {.options = "timeout=500&abort_timeout=2000"};
    struct target_faults f = {.mute = true, .mute_opcode = READ_10, .mute_tmf = silent};

    eh_open(&setup);
    e.refused = refused;
    e.unmute_at_tmf = expected != 0 ? expected : UINT32_MAX;
    e.unmute_at_link = expected != 0 ? UINT32_MAX : 2;
    conform_path_filter(e.w.path, refuse_some, NULL);
    conform_fill(e.w.disk, LEN, 0, 7);
    target_set_faults(e.w.target, &f);
    ask_to_read();
    for (unsigned i = 0; i < BUSY; i++) {
        uint64_t at = LEN + (uint64_t)i * CONFORM_BLOCK;

        conform_fill(e.other[i], CONFORM_BLOCK, at, 8);
        assert_int_equal(
            lunette_queue_write(e.q, e.other[i], CONFORM_BLOCK, at, 0, &e.ended[1 + i]), 0);
    }
    assert_int_equal(lunette_queue_submit(e.q), 0);
    for (unsigned i = 0; i <= BUSY; i++) {
        CONFORM_UNTIL(&e.w, ENDED(i));
        if (e.result[i] != 0)
            fail_msg("request %u of the climb to function %u: %d", i, expected, e.result[i]);
    }
    for (unsigned i = 0; i < BUSY; i++)
        assert_memory_equal(e.w.disk + LEN + (size_t)i * CONFORM_BLOCK, e.other[i], CONFORM_BLOCK);
    if (expected != 0)
        assert_true(counts()->tmf[expected] > 0);
    memory_is_ours();
    conform_path_filter(e.w.path, NULL, NULL);
    eh_close(expected != 0 ? 1 : 2);
}

void
conform_group_reset(void)
{
    const uint32_t task = 1u << ISCSI_TMF_ABORT_TASK, unit = 1u << ISCSI_TMF_LU_RESET;

    climb(0, ISCSI_TMF_ABORT_TASK, false);
    climb(task, ISCSI_TMF_LU_RESET, false);
    climb(task | unit, ISCSI_TMF_TARGET_WARM_RESET, false);
    climb(UINT32_MAX, 0, false);
    climb(0, 0, true);
    conform_reset_hosts();
}
