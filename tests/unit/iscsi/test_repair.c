/* SPDX-License-Identifier: MIT */
/* Error recovery level 1: what is lost or broken is asked for again.  The target is scripted; its
 * bytes go through the parser of streams.  CONFORMANCE ids at the rows. */
#include "tests/support/fake_stream.h"
#include "tests/unit/iscsi/world.h"

#include <time.h>

#include "iscsi/internal.h"
#include "iscsi/mend.h"
#include "iscsi/task.h"
#include "wire/pdu.h"

#define PIECE 128u

static struct world *
up_at(const char *level)
{
    struct world *w = world_new(1);

    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_ERL, level), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_DATA_DIGEST, "CRC32C"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_IMM_DATA, "Yes"), 0);
    world_start(w);
    return w;
}

static uint8_t
byte_at(uint32_t offset)
{
    return (uint8_t)(offset * 13 + 1);
}

/* The Data-In of that number of a read in pieces of PIECE bytes, with len bytes. */
static int
data_in_at(struct be32 itt, uint32_t sn, uint32_t offset, uint32_t len, uint8_t flags)
{
    union bhs_any h;
    uint8_t data[512];

    for (uint32_t i = 0; i < len; i++)
        data[i] = byte_at(offset + i);
    bhs_init(&h, ISCSI_OP_DATA_IN, flags);
    h.h.itt = itt;
    h.data_in.ttt = put32(flags & ISCSI_DATA_IN_ACK ? 0x77 : ISCSI_TAG_RSVD);
    h.data_in.lun[1] = flags & ISCSI_DATA_IN_ACK ? 9 : 0;
    h.data_in.data_sn = put32(sn);
    h.data_in.offset = put32(offset);
    return fake_pdu(&h, data, len, (flags & ISCSI_DATA_IN_STATUS) != 0);
}

static int
data_in(struct be32 itt, uint32_t sn)
{
    return data_in_at(itt, sn, sn * PIECE, PIECE, sn == 3 ? ISCSI_FLAG_FINAL : 0);
}

static int
response(struct be32 itt, uint32_t exp_data_sn)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = itt;
    h.scsi_rsp.exp_data_sn = put32(exp_data_sn);
    return fake_pdu(&h, NULL, 0, true);
}

/* A NOP-In of the target, and our answer, whose ExpStatSN is returned. */
static uint32_t
acknowledged(struct world *w)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.nop_in.ttt = put32(3);
    (void)fake_pdu(&h, NULL, 0, false);
    world_commit(w);
    return get32(fake_last(ISCSI_OP_NOP_OUT)->h.nop_out.exp_stat_sn);
}

static unsigned
snacks(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < fake_adapter.nsent; i++)
        n += pdu_opcode(&fake_adapter.sent[i].h.h) == ISCSI_OP_SNACK_REQ;
    return n;
}

/* The last SNACK is this one, exactly (11.16), and there are n. */
static void
is_snack(struct world *w, unsigned n, uint8_t type, struct be32 itt, uint32_t beg, uint32_t run)
{
    union bhs_any want;
    const struct fake_sent *s;

    world_commit(w);
    assert_int_equal(snacks(), n);
    s = fake_last(ISCSI_OP_SNACK_REQ);
    bhs_init(&want, ISCSI_OP_SNACK_REQ, (uint8_t)(ISCSI_FLAG_FINAL | type));
    want.h.itt = itt;
    want.snack_req.ttt = put32(type == ISCSI_SNACK_DATA_ACK ? 0x77 : ISCSI_TAG_RSVD);
    want.snack_req.lun[1] = type == ISCSI_SNACK_DATA_ACK ? 9 : 0;
    want.snack_req.exp_stat_sn = s->h.snack_req.exp_stat_sn;
    want.snack_req.beg_run = put32(beg);
    want.snack_req.run_length = put32(run);
    assert_memory_equal(&s->h, &want, 48);
}

static struct be32
tag_of(const struct cmd *c)
{
    const struct fake_sent *s = fake_last(ISCSI_OP_SCSI_CMD);

    assert_ptr_equal(s->task->sc, &c->sc);
    return s->h.h.itt;
}

static void
read_is_good(const struct cmd *c)
{
    assert_int_equal(c->done, 1);
    assert_int_equal(c->sc.host_result, DID_OK);
    assert_int_equal(c->sc.status, 0);
    assert_int_equal(c->sc.resid_in, 0);
    for (uint32_t i = 0; i < 512; i++)
        assert_int_equal(c->buf[i], byte_at(i));
}

/* DIG-07, DIG-09, ERL-05, ERL-08, DSN-05: each of the four Data-Ins is broken once; the rest and
 * the response come meanwhile, and nothing is acknowledged before the data were good. */
static void
broken_data_in(void **state)
{
    (void)state;
    for (uint32_t bad = 0; bad < 4; bad++) {
        struct world *w = up_at("1");
        struct cmd c;
        struct be32 itt;
        uint32_t sn;

        one_command(w, &c, true);
        itt = tag_of(&c);
        sn = fake_adapter.stat_sn;
        for (uint32_t i = 0; i < 4; i++) {
            fake_spoil = i == bad;
            assert_int_equal(data_in(itt, i), 0);
        }
        is_snack(w, 1, ISCSI_SNACK_DATA_R2T, itt, bad, 1);
        assert_int_equal(response(itt, 4), 0);
        assert_int_equal(c.done, 0);
        assert_int_equal(acknowledged(w), sn);
        assert_int_equal(data_in(itt, (bad + 1) % 4), 0); /* one that came is dropped */
        assert_int_equal(c.done, 0);
        assert_int_equal(data_in(itt, bad), 0);
        read_is_good(&c);
        assert_int_equal(acknowledged(w), sn + 1);
        assert_int_equal(snacks(), 1);
        fake_advance(&w->fl, SEC(20));
        assert_int_equal(w->nerrors, 0);
        world_free(w);
    }
}

/* DSN-04: a hole in DataSN, and DSN-06: a tail that only the response tells of. */
static void
missing_data_in(void **state)
{
    struct world *w = up_at("1");
    struct cmd c;
    struct be32 itt;

    (void)state;
    one_command(w, &c, true);
    itt = tag_of(&c);
    assert_int_equal(data_in(itt, 0), 0);
    assert_int_equal(data_in(itt, 3), 0);
    is_snack(w, 1, ISCSI_SNACK_DATA_R2T, itt, 1, 2);
    assert_int_equal(data_in(itt, 2), 0);
    assert_int_equal(data_in(itt, 1), 0);
    assert_int_equal(c.done, 0);
    assert_int_equal(response(itt, 4), 0);
    read_is_good(&c);

    one_command(w, &c, true);
    itt = tag_of(&c);
    assert_int_equal(data_in(itt, 0), 0);
    assert_int_equal(response(itt, 4), 0);
    is_snack(w, 2, ISCSI_SNACK_DATA_R2T, itt, 1, 0); /* to the end */
    for (uint32_t i = 1; i < 4; i++) {
        assert_int_equal(c.done, 0);
        assert_int_equal(data_in(itt, i), 0);
    }
    read_is_good(&c);
    assert_int_equal(container_of(w->host, struct session, host)->leadconn->pub.stats.snack_pdus,
                     2);
    world_free(w);
}

/* The only Data-In has the status, and is broken: both are asked for, and each may come first. */
static void
broken_data_with_status(void **state)
{
    (void)state;
    for (int status_first = 0; status_first < 2; status_first++) {
        struct world *w = up_at("1");
        uint8_t flags = ISCSI_FLAG_FINAL | ISCSI_DATA_IN_STATUS;
        struct cmd c;
        struct be32 itt;
        uint32_t sn;

        one_command(w, &c, true);
        itt = tag_of(&c);
        sn = fake_adapter.stat_sn;
        fake_spoil = true;
        assert_int_equal(data_in_at(itt, 0, 0, 512, flags), 0);
        is_snack(w, 2, ISCSI_SNACK_STATUS, put32(ISCSI_TAG_RSVD), sn, 1);
        fake_adapter.stat_sn = sn;
        if (status_first) {
            assert_int_equal(response(itt, 1), 0);
            assert_int_equal(c.done, 0);
            fake_adapter.stat_sn = sn;
        }
        assert_int_equal(data_in_at(itt, 0, 0, 512, flags), 0);
        read_is_good(&c);
        fake_adapter.stat_sn = sn;
        assert_int_equal(data_in_at(itt, 0, 0, 512, flags), 0); /* it may come twice */
        assert_int_equal(c.done, 1);
        assert_int_equal(data_in_at(put32(get32(itt) + (5u << ISCSI_SLOT_BITS)), 0, 0, 512, flags),
                         -EPROTO);
        world_free(w);
    }
}

/* Of a response that waits for data no more is kept than sense data could be. */
static void
large_response_waits(void **state)
{
    static uint8_t data[8000];
    struct world *w = up_at("1");
    struct task *t;
    union bhs_any h;
    struct be32 itt;
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    itt = tag_of(&c);
    t = c.sc.host_priv;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(data_in(itt, i), 0);
    memcpy(data, "\0\022\160\0\5", 5);
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = itt;
    h.scsi_rsp.status = 2;
    h.scsi_rsp.exp_data_sn = put32(4);
    assert_int_equal(fake_pdu(&h, data, sizeof(data), true), 0);
    assert_true(t->mend->answered && t->mend->rsp_len <= 4096);
    assert_int_equal(data_in(itt, 3), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.status, 2);
    assert_int_equal(c.sc.sense_len, 18);
    assert_int_equal(c.sc.sense[2], 5);
    world_free(w);
}

/* SSN-06, DIG-08: a response that is left out, or whose sense is broken; one that comes twice
 * completes once (SSN-07). */
static void
missing_status(void **state)
{
    struct world *w = up_at("1");
    struct cmd c[4];
    struct be32 itt[4];
    uint32_t sn = fake_adapter.stat_sn;
    union bhs_any h;

    (void)state;
    for (int i = 0; i < 4; i++) {
        one_command(w, &c[i], false);
        itt[i] = tag_of(&c[i]);
    }
    fake_adapter.max_cmdsn += 4;
    fake_adapter.stat_sn = sn + 2;
    assert_int_equal(response(itt[2], 0), 0);
    assert_int_equal(c[2].done, 1);
    is_snack(w, 1, ISCSI_SNACK_STATUS, put32(ISCSI_TAG_RSVD), sn, 2);
    assert_int_equal(acknowledged(w), sn);
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = itt[3];
    h.scsi_rsp.status = 2;
    fake_spoil = true;
    assert_int_equal(fake_pdu(&h, "\0\2\x70\0", 4, true), 0);
    assert_int_equal(c[3].done, 0);
    is_snack(w, 2, ISCSI_SNACK_STATUS, put32(ISCSI_TAG_RSVD), sn + 3, 1);
    fake_adapter.stat_sn = sn;
    for (int i = 0; i < 3; i++) /* the third has come */
        assert_int_equal(response(itt[i], 0), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(c[i].done, 1);
    assert_int_equal(acknowledged(w), sn + 3);
    assert_int_equal(fake_pdu(&h, "\0\2\x70\0", 4, true), 0);
    assert_int_equal(c[3].done, 1);
    assert_int_equal(c[3].sc.status, 2);
    assert_int_equal(c[3].sc.sense_len, 2);
    assert_int_equal(acknowledged(w), sn + 4);
    one_command(w, &c[0], true); /* all is as it was */
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(data_in(tag_of(&c[0]), i), 0);
    assert_int_equal(response(tag_of(&c[0]), 4), 0);
    read_is_good(&c[0]);
    assert_int_equal(snacks(), 2);
    world_free(w);
}

/* A NOP-In of the target that answers nothing, which says that `next` is the next StatSN; asks: it
 * wants an answer. */
static int
nop_in_told(uint32_t next, bool asks)
{
    uint32_t sn = fake_adapter.stat_sn;
    union bhs_any h;
    int r;

    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.nop_in.ttt = put32(asks ? 3 : ISCSI_TAG_RSVD);
    fake_adapter.stat_sn = next;
    r = fake_pdu(&h, NULL, 0, false);
    fake_adapter.stat_sn = sn;
    return r;
}

/* SSN-06, 11.19.2: the last responses are lost, and all that comes are NOP-Ins, which say so.  What
 * they tell is asked for once. */
static void
missing_status_is_told(void **state)
{
    (void)state;
    for (int asks = 0; asks < 2; asks++) {
        struct world *w = up_at("1");
        uint32_t sn = fake_adapter.stat_sn;
        struct be32 itt[3];
        struct cmd c[3];

        for (int i = 0; i < 3; i++) {
            one_command(w, &c[i], false);
            itt[i] = tag_of(&c[i]);
        }
        fake_adapter.max_cmdsn += 4;
        assert_int_equal(nop_in_told(sn - 1, asks), 0); /* behind what has come: nothing new */
        assert_int_equal(nop_in_told(sn, asks), 0);
        assert_int_equal(snacks(), 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(nop_in_told(sn + 2, asks), 0);
        is_snack(w, 1, ISCSI_SNACK_STATUS, put32(ISCSI_TAG_RSVD), sn, 2);
        assert_int_equal(nop_in_told(sn + 3, asks), 0);
        is_snack(w, 2, ISCSI_SNACK_STATUS, put32(ISCSI_TAG_RSVD), sn + 2, 1);
        for (int i = 0; i < 3; i++)
            assert_int_equal(response(itt[i], 0), 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(c[i].done, 1);
        assert_int_equal(nop_in_told(sn + 3, asks), 0);
        assert_int_equal(acknowledged(w), sn + 3);
        fake_advance(&w->fl, SEC(5));
        assert_int_equal(snacks(), 2);
        assert_int_equal(w->nerrors, 0);
        assert_int_equal(nop_in_told(sn + (1u << 30), asks), -EPROTO);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->error, ISCSI_ERR_STATSN);
        assert_int_equal(snacks(), 2);
        world_free(w);
    }
}

/* At level 0 nothing could be asked for, and numbers that responses do not have cost nothing. */
static void
told_at_level_0(void **state)
{
    struct world *w = up_at("0");
    struct cmd c;

    (void)state;
    one_command(w, &c, false);
    assert_int_equal(nop_in_told(fake_adapter.stat_sn + 1, true), 0);
    world_commit(w);
    assert_int_equal(snacks(), 0);
    assert_int_equal(response(tag_of(&c), 0), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

/* SSN-08: so many were not lost. */
static void
status_far_ahead(void **state)
{
    struct world *w = up_at("1");
    struct cmd c;

    (void)state;
    one_command(w, &c, false);
    fake_adapter.stat_sn += 1u << 30;
    assert_int_equal(response(tag_of(&c), 0), -EPROTO);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->error, ISCSI_ERR_STATSN);
    assert_int_equal(snacks(), 0);
    world_free(w);
}

/* What does not come is asked for a few times; then the connection fails as at level 0. */
static void
nothing_comes(void **state)
{
    struct world *w = up_at("1");
    struct cmd c;
    struct be32 itt;
    uint32_t sn;

    (void)state;
    one_command(w, &c, true);
    itt = tag_of(&c);
    assert_int_equal(data_in(itt, 0), 0);
    assert_int_equal(response(itt, 4), 0);
    is_snack(w, 1, ISCSI_SNACK_DATA_R2T, itt, 1, 0);
    fake_advance(&w->fl, SEC(3));
    is_snack(w, 2, ISCSI_SNACK_DATA_R2T, itt, 1, 0); /* to the end */
    assert_int_equal(w->nerrors, 0);
    for (int i = 0; i < 12; i++)
        fake_advance(&w->fl, SEC(1));
    assert_int_equal(snacks(), 4);
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_DATASN);
    world_free(w);

    w = up_at("1");
    one_command(w, &c, false);
    sn = fake_adapter.stat_sn++;
    assert_int_equal(response(tag_of(&c), 0), 0);
    is_snack(w, 1, ISCSI_SNACK_STATUS, put32(ISCSI_TAG_RSVD), sn, 1);
    for (int i = 0; i < 12; i++)
        fake_advance(&w->fl, SEC(1));
    assert_int_equal(snacks(), 4);
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->error, ISCSI_ERR_STATSN);
    world_free(w);
}

/* Several holes of one command are one silence. */
static void
holes_stay_open(void **state)
{
    struct world *w = up_at("1");
    struct cmd c;
    struct be32 itt;

    (void)state;
    one_command(w, &c, true);
    itt = tag_of(&c);
    assert_int_equal(data_in(itt, 1), 0);
    assert_int_equal(data_in(itt, 3), 0);
    assert_int_equal(response(itt, 4), 0);
    for (int i = 0; i < 5; i++)
        fake_advance(&w->fl, SEC(1));
    assert_int_equal(snacks(), 6);
    assert_int_equal(w->nerrors, 0);
    assert_int_equal(data_in(itt, 0), 0);
    assert_int_equal(data_in(itt, 2), 0);
    read_is_good(&c);
    world_free(w);
}

/* It is broken whenever it comes: there is an end to it. */
static void
endless_corruption(void **state)
{
    struct world *w = up_at("1");
    struct cmd c;
    struct be32 itt;
    int n = 0;

    (void)state;
    one_command(w, &c, true);
    itt = tag_of(&c);
    do {
        fake_spoil = true;
        if (data_in(itt, 0) < 0)
            break;
        world_commit(w);
    } while (++n < 1000);
    assert_int_equal(snacks(), 32);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(c.done, 1);
    assert_int_not_equal(c.sc.host_result, DID_OK);
    world_free(w);
}

static int
reject(const struct fake_sent *s, uint8_t reason)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.reject.reason = reason;
    return fake_pdu(&h, &s->h, 48, true);
}

/* ERL-05: the target rejects the SNACK, before the status and after it. */
static void
snack_rejected(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        struct world *w = up_at("1");
        struct cmd c;
        struct be32 itt;

        one_command(w, &c, true);
        itt = tag_of(&c);
        for (uint32_t i = 0; i < 4; i++) {
            fake_spoil = i == 1;
            assert_int_equal(data_in(itt, i), 0);
        }
        is_snack(w, 1, ISCSI_SNACK_DATA_R2T, itt, 1, 1);
        if (after)
            assert_int_equal(response(itt, 4), 0);
        assert_int_equal(c.done, 0);
        assert_int_equal(reject(fake_last(ISCSI_OP_SNACK_REQ), ISCSI_REJECT_SNACK), 0);
        if (!after)
            assert_int_equal(response(itt, 4), 0);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.sc.status, 2);
        assert_int_equal(c.sc.sense[2], 0x0b);
        assert_int_equal(c.sc.sense[12], 0x47);
        assert_int_equal(c.sc.sense[13], 0x05);
        fake_advance(&w->fl, SEC(20));
        assert_int_equal(w->nerrors, 0);
        assert_int_equal(snacks(), 1);
        world_free(w);
    }
}

/* A target that answers with the wrong run, or with other bounds. */
static void
hostile_answers(void **state)
{
    (void)state;
    for (int how = 0; how < 5; how++) {
        struct world *w = up_at("1");
        struct cmd c;
        struct be32 itt;
        int r = 0;

        one_command(w, &c, true);
        itt = tag_of(&c);
        assert_int_equal(data_in(itt, 0), 0);
        assert_int_equal(data_in(itt, 2), 0);
        assert_int_equal(data_in(itt, 3), 0);
        is_snack(w, 1, ISCSI_SNACK_DATA_R2T, itt, 1, 1);
        switch (how) {
        case 0: /* longer, into bytes that are good */
            r = data_in_at(itt, 1, PIECE, PIECE + 4, 0);
            break;
        case 1: /* elsewhere */
            r = data_in_at(itt, 1, 0, PIECE, 0);
            break;
        case 2: /* shorter: the hole stays */
            assert_int_equal(data_in_at(itt, 1, PIECE, PIECE - 4, 0), 0);
            r = response(itt, 4);
            break;
        case 3: /* beyond all numbers that can be */
            r = data_in_at(itt, 4000, PIECE, 4, 0);
            break;
        default: /* before all of them, were they serial numbers */
            r = data_in_at(itt, UINT32_MAX, PIECE, PIECE, 0);
            break;
        }
        assert_int_equal(r, -EPROTO);
        assert_int_equal(c.done, 0);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_true(w->error == ISCSI_ERR_DATA_OFFSET || w->error == ISCSI_ERR_DATASN);
        assert_int_not_equal(c.sc.host_result, DID_OK);
        world_free(w);
    }
}

/* DIN-05: what is whole is acknowledged at once, what has holes when they are filled. */
static void
data_ack(void **state)
{
    struct world *w = up_at("1");
    struct cmd c;
    struct be32 itt;

    (void)state;
    one_command(w, &c, true);
    itt = tag_of(&c);
    assert_int_equal(data_in(itt, 0), 0);
    assert_int_equal(data_in_at(itt, 1, PIECE, PIECE, ISCSI_DATA_IN_ACK), 0);
    is_snack(w, 1, ISCSI_SNACK_DATA_ACK, put32(ISCSI_TAG_RSVD), 2, 0);
    fake_spoil = true;
    assert_int_equal(data_in(itt, 2), 0);
    is_snack(w, 2, ISCSI_SNACK_DATA_R2T, itt, 2, 1);
    assert_int_equal(data_in_at(itt, 3, 3 * PIECE, PIECE, ISCSI_DATA_IN_ACK | ISCSI_FLAG_FINAL), 0);
    world_commit(w);
    assert_int_equal(snacks(), 2);
    assert_int_equal(data_in(itt, 2), 0);
    is_snack(w, 3, ISCSI_SNACK_DATA_ACK, put32(ISCSI_TAG_RSVD), 4, 0);
    assert_int_equal(response(itt, 4), 0);
    read_is_good(&c);
    world_free(w);
}

/* DIN-05: where the status has come before the DataACK has left, the acknowledgment of the one is
 * that of the other; after it the target knows the tag no more. */
static void
data_ack_is_late(void **state)
{
    struct world *w = up_at("1");
    struct cmd c;
    struct be32 itt;

    (void)state;
    one_command(w, &c, true);
    itt = tag_of(&c);
    for (uint32_t sn = 0; sn < 3; sn++)
        assert_int_equal(data_in(itt, sn), 0);
    assert_int_equal(data_in_at(itt, 3, 3 * PIECE, PIECE, ISCSI_DATA_IN_ACK | ISCSI_FLAG_FINAL), 0);
    assert_int_equal(response(itt, 4), 0);
    read_is_good(&c);
    world_commit(w);
    assert_int_equal(snacks(), 0);
    assert_int_equal(acknowledged(w), fake_adapter.stat_sn);
    iscsi_session_check(dataplane_session(w->dp, w->sid));
    world_free(w);
}

/* SNK-01: level 0 asks for nothing, and ignores the A bit (DIN-04). */
static void
level_0(void **state)
{
    struct world *w = up_at("0");
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    assert_int_equal(data_in_at(tag_of(&c), 0, 0, PIECE, ISCSI_DATA_IN_ACK), 0);
    fake_spoil = true;
    assert_int_equal(data_in(tag_of(&c), 1), -EPROTO);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->error, ISCSI_ERR_DATA_DGST);
    assert_int_equal(snacks(), 0);
    world_free(w);
}

/* ERL-03, CSN-18: a command whose immediate data were broken goes again, with its number; when it
 * was thrown away too often the connection fails. */
static void
command_goes_again(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct world *w = up_at("1");
        struct cmd c;
        struct fake_sent first;

        fake_adapter.cleanup_delay_ns = (uint64_t)late;
        one_command(w, &c, false);
        first = *fake_last(ISCSI_OP_SCSI_CMD);
        assert_int_equal(first.data_len, 512);
        for (int i = 0; i < 8; i++) {
            unsigned n = fake_adapter.nsent;

            assert_int_equal(reject(&first, ISCSI_REJECT_DATA_DIGEST), 0);
            if (late) {
                world_commit(w);
                assert_int_equal(fake_adapter.nsent, n);
                fake_cleaned();
            }
            world_commit(w);
            assert_int_equal(fake_adapter.nsent, n + 1);
            first.h.scsi_cmd.exp_stat_sn = fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.exp_stat_sn;
            assert_memory_equal(&fake_last(ISCSI_OP_SCSI_CMD)->h, &first.h, 48);
            assert_int_equal(fake_last(ISCSI_OP_SCSI_CMD)->data_len, 512);
        }
        if (late) {
            assert_int_equal(response(first.h.h.itt, 0), 0);
            assert_int_equal(c.done, 0);
            fake_cleaned();
            assert_int_equal(c.done, 1);
            assert_int_equal(c.sc.host_result, DID_OK);
        } else {
            assert_int_equal(reject(&first, ISCSI_REJECT_DATA_DIGEST), -EPROTO);
            fake_advance(&w->fl, SEC(1));
            assert_int_equal(w->nerrors, 1);
        }
        world_free(w);
    }
}

static void
answer_ping(struct world *w)
{
    const struct fake_sent *s = fake_last(ISCSI_OP_NOP_OUT);
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.nop_in.ttt = put32(ISCSI_TAG_RSVD);
    if (get32(h.h.itt) != ISCSI_TAG_RSVD && iscsi_task_of(fake_adapter.conn, h.h.itt) != NULL)
        assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
    world_commit(w);
}

/* CSN-17, CSN-18, ERL-03: a command that is not acknowledged for long goes again, on its
 * connection, when a ping has been answered since; one that is acknowledged does not. */
static void
unacknowledged_command(void **state)
{
    (void)state;
    for (int acked = 0; acked < 3; acked++) { /* 2: at level 0 */
        struct world *w = up_at(acked == 2 ? "0" : "1");
        struct fake_sent first;
        struct cmd c;
        unsigned n = 0;

        assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "2000"), 0);
        assert_int_equal(world_param(w, ISCSI_PARAM_PING_TIMEOUT_MS, "2000"), 0);
        one_command(w, &c, true);
        first = *fake_last(ISCSI_OP_SCSI_CMD);
        fake_adapter.exp_cmdsn = get32(first.h.scsi_cmd.cmd_sn) + (acked == 1);
        for (int i = 0; i < 25 && n == 0; i++) {
            fake_advance(&w->fl, SEC(1));
            if (fake_last(ISCSI_OP_NOP_OUT) != NULL)
                answer_ping(w);
            for (unsigned k = 0; k < fake_adapter.nsent; k++)
                n += pdu_opcode(&fake_adapter.sent[k].h.h) == ISCSI_OP_SCSI_CMD;
            n -= 1;
            assert_true(n == 0 || i > 0);
            assert_true(n > 0 || acked > 0 || i < 5);
        }
        assert_int_equal(n, acked == 0);
        first.h.scsi_cmd.exp_stat_sn = fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.exp_stat_sn;
        assert_memory_equal(&fake_last(ISCSI_OP_SCSI_CMD)->h, &first.h, 48);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(data_in(first.h.h.itt, i), 0);
        assert_int_equal(response(first.h.h.itt, 4), 0);
        read_is_good(&c);
        world_free(w);
    }
}

static unsigned
sent_of(uint8_t opcode)
{
    unsigned n = 0;

    for (unsigned i = 0; i < fake_adapter.nsent; i++)
        n += pdu_opcode(&fake_adapter.sent[i].h.h) == opcode;
    return n;
}

/* The answer to a ping acknowledges the command that it asked about, and not the next one, of which
 * it may know nothing: that one goes again only when a ping of its own has been answered. */
static void
each_command_is_asked_about(void **state)
{
    struct world *w = up_at("1");
    struct cmd c[2];
    uint32_t sn;

    (void)state;
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_INTERVAL_MS, "2000"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_PING_TIMEOUT_MS, "20000"), 0);
    one_command(w, &c[0], true);
    one_command(w, &c[1], true);
    sn = get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn);
    fake_adapter.exp_cmdsn = sn - 1;
    fake_advance(&w->fl, SEC(3));
    assert_int_equal(sent_of(ISCSI_OP_NOP_OUT), 1);
    fake_adapter.exp_cmdsn = sn;
    answer_ping(w);
    fake_advance(&w->fl, SEC(5));
    assert_int_equal(sent_of(ISCSI_OP_SCSI_CMD), 2);
    assert_int_equal(sent_of(ISCSI_OP_NOP_OUT), 2);
    answer_ping(w);
    assert_int_equal(sent_of(ISCSI_OP_SCSI_CMD), 3);
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn), sn);
    assert_int_equal(w->nerrors, 0);
    world_free(w);
}

static int
r2t(struct be32 itt, uint32_t sn, uint32_t offset, uint32_t len)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    h.h.itt = itt;
    h.r2t.ttt = put32(0x100 + sn);
    h.r2t.r2t_sn = put32(sn);
    h.r2t.offset = put32(offset);
    h.r2t.desired_len = put32(len);
    return fake_pdu(&h, NULL, 0, false);
}

static void
is_data_out(struct world *w, uint32_t ttt, uint32_t offset, uint32_t len)
{
    const struct fake_sent *s;

    world_commit(w);
    s = fake_last(ISCSI_OP_DATA_OUT);
    assert_int_equal(get32(s->h.data_out.ttt), ttt);
    assert_int_equal(get32(s->h.data_out.data_sn), 0);
    assert_int_equal(get32(s->h.data_out.offset), offset);
    assert_int_equal(pdu_dseg_len(&s->h.h) == 0 ? s->data_len : len, len);
}

/* DSN-03..05, ERL-06, ERL-07: data that were lost are asked for with the next number; one R2T that
 * was left out is asked for, but none that may only be late; one that comes twice is answered once.
 */
static void
recovery_r2t(void **state)
{
    struct world *w = world_new(1);
    struct cmd c;
    struct be32 itt;
    unsigned n;

    (void)state;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_ERL, "1"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_IMM_DATA, "No"), 0);
    world_start(w);
    one_command(w, &c, false);
    itt = tag_of(&c);
    assert_int_equal(r2t(itt, 0, 0, 128), 0);
    is_data_out(w, 0x100, 0, 128);
    n = fake_adapter.nsent;
    fake_advance(&w->fl, SEC(4));
    assert_int_equal(fake_adapter.nsent, n);
    assert_int_equal(r2t(itt, 1, 0, 128), 0); /* it was broken */
    is_data_out(w, 0x101, 0, 128);
    n = fake_adapter.nsent;
    assert_int_equal(r2t(itt, 1, 0, 128), 0);
    world_commit(w);
    assert_int_equal(fake_adapter.nsent, n);
    assert_int_equal(r2t(itt, 3, 256, 256), 0);
    is_data_out(w, 0x103, 256, 256);
    is_snack(w, 1, ISCSI_SNACK_DATA_R2T, itt, 2, 1);
    assert_int_equal(r2t(itt, 2, 128, 128), 0);
    is_data_out(w, 0x102, 128, 128);
    assert_int_equal(fake_last(ISCSI_OP_SCSI_CMD)->task->out_done, 512);
    assert_int_equal(response(itt, 0), 0);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.resid_out, 0);
    assert_int_equal(c.sc.host_result, DID_OK);
    one_command(w, &c, false);
    assert_int_equal(r2t(tag_of(&c), 0, 128, 128), -EPROTO); /* it leaves out data */
    world_free(w);
}

/* A target that throws a command away and asks for its data all the same, or that was just slow to
 * take note of it: the R2T is dropped while the command waits to be sent again. */
static void
r2t_before_the_command_goes_again(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct world *w = up_at("1");
        struct fake_sent first;
        struct cmd c;
        struct be32 itt;

        fake_adapter.cleanup_delay_ns = how == 2;
        one_command(w, &c, false);
        itt = tag_of(&c);
        first = *fake_last(ISCSI_OP_SCSI_CMD);
        assert_int_equal(reject(&first, ISCSI_REJECT_DATA_DIGEST), 0);
        assert_int_equal(r2t(itt, 0, 0, 128), 0);
        if (how == 1) { /* it is over before it has been sent again: its slot is used at once */
            assert_int_equal(response(itt, 0), 0);
            assert_int_equal(c.done, 1);
            one_command(w, &c, false);
            world_free(w);
            continue;
        }
        world_commit(w);
        if (how == 2) {
            assert_ptr_equal(fake_last(ISCSI_OP_SCSI_CMD), &fake_adapter.sent[1]);
            fake_cleaned();
            world_commit(w);
        }
        assert_null(fake_last(ISCSI_OP_DATA_OUT));
        assert_ptr_equal(fake_last(ISCSI_OP_SCSI_CMD), &fake_adapter.sent[fake_adapter.nsent - 1]);
        assert_int_equal(r2t(itt, 0, 0, 128), 0);
        is_data_out(w, 0x100, 0, 128);
        fake_adapter.cleanup_delay_ns = 0;
        assert_int_equal(response(itt, 0), 0);
        assert_int_equal(c.done, 1);
        world_free(w);
    }
}

/* After a TASK REASSIGN the first R2T may have any number: however large it is, a gap behind it is
 * found at once. */
static void
r2t_with_a_large_number(void **state)
{
    struct world *w = world_new(1);
    struct cmd c;
    struct be32 itt;
    union bhs_any h;
    clock_t from;

    (void)state;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_ERL, "1"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_IMM_DATA, "No"), 0);
    world_start(w);
    one_command(w, &c, false);
    itt = tag_of(&c);
    assert_int_equal(r2t(itt, 0, 0, 128), 0);
    assert_int_equal(r2t(itt, 2, 256, 256), 0);
    is_snack(w, 1, ISCSI_SNACK_DATA_R2T, itt, 1, 1);
    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    h.r2t.r2t_sn = put32(0xffffff02);
    from = clock();
    assert_int_equal(
        fake_adapter.conn->up->odd_r2t(fake_last(ISCSI_OP_SCSI_CMD)->task, &h.r2t, 0xffffff00),
        ISCSI_ODD_TAKE);
    assert_true(clock() - from < CLOCKS_PER_SEC);
    is_snack(w, 2, ISCSI_SNACK_DATA_R2T, itt, 0xffffff00, 2);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_data_in),
        cmocka_unit_test(missing_data_in),
        cmocka_unit_test(broken_data_with_status),
        cmocka_unit_test(large_response_waits),
        cmocka_unit_test(missing_status),
        cmocka_unit_test(missing_status_is_told),
        cmocka_unit_test(told_at_level_0),
        cmocka_unit_test(status_far_ahead),
        cmocka_unit_test(nothing_comes),
        cmocka_unit_test(holes_stay_open),
        cmocka_unit_test(endless_corruption),
        cmocka_unit_test(snack_rejected),
        cmocka_unit_test(hostile_answers),
        cmocka_unit_test(data_ack),
        cmocka_unit_test(data_ack_is_late),
        cmocka_unit_test(level_0),
        cmocka_unit_test(command_goes_again),
        cmocka_unit_test(recovery_r2t),
        cmocka_unit_test(r2t_before_the_command_goes_again),
        cmocka_unit_test(r2t_with_a_large_number),
        cmocka_unit_test(unacknowledged_command),
        cmocka_unit_test(each_command_is_asked_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
