/* SPDX-License-Identifier: MIT */
/* The flight recorder: what went through it comes out again, however its rings wrap. */
#include "tests/test.h"

#include "wire/flight.h"
#include "wire/pdu.h"

static struct flight f;
static struct flight_pdu pdus[FLIGHT_MAX];

static void
put_cmd(uint8_t *p, uint32_t itt, uint32_t data)
{
    struct bhs_scsi_cmd h = {.opcode = ISCSI_OP_SCSI_CMD,
                             .flags = ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE,
                             .dseg_len = put24(data),
                             .itt = put32(itt),
                             .edtl = put32(data),
                             .cmd_sn = put32(itt + 7),
                             .exp_stat_sn = put32(3),
                             .cdb = {0x2a}};

    memcpy(p, &h, sizeof(h));
}

static void
sent(uint64_t ns, uint32_t itt)
{
    uint8_t p[ISCSI_BHS_LEN];

    put_cmd(p, itt, 0);
    flight_now(&f, ns);
    flight_tx(&f, p, sizeof(p));
}

static void
came(uint64_t ns, uint32_t itt)
{
    struct bhs_scsi_rsp h = {.opcode = ISCSI_OP_SCSI_RSP, .flags = 0x80, .itt = put32(itt)};

    flight_now(&f, ns);
    flight_rx(&f, &h);
}

static void
rig(void)
{
    memset(&f, 0, sizeof(f));
    memset(pdus, 0, sizeof(pdus));
}

static void
test_empty(void **state)
{
    (void)state;
    rig();
    assert_int_equal(flight_read(&f, pdus, FLIGHT_MAX), 0);
    flight_now(&f, 5);
    assert_int_equal(flight_read(&f, pdus, FLIGHT_MAX), 0);
}

/* In the order of time, and of one time what came before what went. */
static void
test_order(void **state)
{
    (void)state;
    rig();
    sent(1, 10);
    sent(1, 11);
    came(2, 10);
    sent(3, 12);
    came(4, 11);
    sent(4, 13);
    assert_int_equal(flight_read(&f, pdus, FLIGHT_MAX), 6);
    for (unsigned i = 0; i < 6; i++) {
        static const struct {
            uint64_t ns;
            uint32_t itt;
            bool tx;
        } want[] = {{1, 10, true}, {1, 11, true},  {2, 10, false},
                    {3, 12, true}, {4, 11, false}, {4, 13, true}};

        assert_int_equal(pdus[i].ns, want[i].ns);
        assert_int_equal(get32(pdus[i].hdr.itt), want[i].itt);
        assert_int_equal(pdus[i].tx, want[i].tx);
    }
    assert_int_equal(flight_read(&f, pdus, 2), 2);
    assert_int_equal(get32(pdus[0].hdr.itt), 11);
    assert_int_equal(get32(pdus[1].hdr.itt), 13);
}

/* Whatever has been recorded, the last PDUs come back without a hole. */
static void
test_wrap(void **state)
{
    (void)state;
    rig();
    for (uint32_t i = 1; i <= 5000; i++) {
        unsigned n;

        sent(i, i);
        came(i * 2 + 10000, i);
        n = flight_read(&f, pdus, FLIGHT_MAX);
        assert_true(n <= FLIGHT_MAX && (n == 2 * i || n >= FLIGHT_TURNS - 8));
        for (unsigned k = 0; k < n; k++) {
            uint32_t itt = i - (n - 1 - k) / 2;

            assert_int_equal(get32(pdus[k].hdr.itt), itt);
            assert_int_equal(pdus[k].hdr.opcode,
                             pdus[k].tx ? ISCSI_OP_SCSI_CMD : ISCSI_OP_SCSI_RSP);
        }
    }
}

/* Many at once, as a run of answers and a batch of commands are. */
static void
test_runs(void **state)
{
    static uint8_t many[300 * ISCSI_BHS_LEN];

    (void)state;
    for (uint32_t len = 1; len <= 300; len++) {
        unsigned n, rx = 0, tx = 0;

        rig();
        for (uint32_t before = 0; before < len % 89; before++)
            came(1, 1000 + before);
        for (uint32_t i = 0; i < len; i++)
            put_cmd(many + (size_t)i * ISCSI_BHS_LEN, i, 0);
        flight_now(&f, 2);
        flight_rx_run(&f, many, (size_t)len * ISCSI_BHS_LEN);
        flight_tx(&f, many, (size_t)len * ISCSI_BHS_LEN);
        n = flight_read(&f, pdus, FLIGHT_MAX);
        for (unsigned k = n; k-- > 0;) {
            unsigned *of = pdus[k].tx ? &tx : &rx;

            if (pdus[k].ns != 2)
                break;
            assert_int_equal(get32(pdus[k].hdr.itt), len - 1 - *of);
            ++*of;
        }
        assert_int_equal(rx, len < 85 ? len : 85);
        assert_int_equal(tx, len < FLIGHT_TX / ISCSI_BHS_LEN ? len : FLIGHT_TX / ISCSI_BHS_LEN);
    }
}

/* A turn that sends more than there is room for. */
static void
test_long_turn(void **state)
{
    unsigned n;

    (void)state;
    for (uint32_t len = 1; len < 1000; len++) {
        rig();
        for (uint32_t i = 0; i < len; i++)
            sent(7, i);
        n = flight_read(&f, pdus, FLIGHT_MAX);
        assert_true(n == len || n >= 85);
        for (unsigned k = 0; k < n; k++)
            assert_int_equal(get32(pdus[k].hdr.itt), len - n + k);
    }
}

/* Digests, padding and header segments stand between headers that are sent. */
static void
test_digests(void **state)
{
    uint8_t p[256];
    uint32_t at = 0;

    (void)state;
    rig();
    sent(1, 1);
    flight_digests(&f, true, true);
    put_cmd(p, 2, 5); /* its data are elsewhere: three bytes of padding, and both digests */
    at += 48 + 4 + 3 + 4;
    put_cmd(p + at, 3, 0);
    p[at + 4] = 2; /* words of AHS */
    at += 48 + 8 + 4;
    put_cmd(p + at, 4, 0);
    at += 52;
    flight_now(&f, 2);
    flight_tx(&f, p, at);
    flight_digests(&f, false, false);
    sent(3, 5);
    assert_int_equal(flight_read(&f, pdus, FLIGHT_MAX), 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(get32(pdus[i].hdr.itt), i + 1);
    /* A batch that is longer than the ring leaves its last whole PDUs. */
    {
        static uint8_t many[400 * 52];
        unsigned n;

        flight_digests(&f, true, false);
        for (uint32_t i = 0; i < 400; i++)
            put_cmd(many + (size_t)i * 52, i, 0);
        flight_now(&f, 9);
        flight_tx(&f, many, sizeof(many));
        n = flight_read(&f, pdus, FLIGHT_MAX);
        assert_int_equal(n, FLIGHT_TX / 52);
        assert_int_equal(get32(pdus[n - 1].hdr.itt), 399);
        assert_int_equal(get32(pdus[0].hdr.itt), 400 - n);
    }
}

/* Any header makes a line, and no line is too long. */
static void
test_text(void **state)
{
    char text[FLIGHT_TEXT_MAX];
    uint32_t x = 1;
    uint8_t p[ISCSI_BHS_LEN];

    (void)state;
    put_cmd(p, 0x12, 512);
    flight_text((const void *)p, text);
    assert_string_equal(text, "SCSI Command ITT 00000012 data 512 FW LUN 0 CDB 2a WRITE(10) EDTL "
                              "512 CmdSN 25 ExpStatSN 3");
    for (unsigned i = 0; i < 200000; i++) {
        for (unsigned k = 0; k < sizeof(p); k++) {
            x = x * 1664525 + 1013904223;
            p[k] = (uint8_t)(x >> 24);
        }
        p[0] = (uint8_t)i;
        memset(text, 'x', sizeof(text));
        flight_text((const void *)p, text);
        assert_true(strnlen(text, sizeof(text)) < sizeof(text) - 1);
        assert_non_null(strchr(text, ' '));
    }
}

/* Places are numbers modulo 2^32: 5 GiB of headers with digests are read as such all the time. */
static void
test_gigabytes(void **state)
{
    enum { LEN = ISCSI_BHS_LEN + PDU_DIGEST_LEN, RUN = 39 };
    static uint8_t run[RUN * LEN];

    (void)state;
    rig();
    flight_now(&f, 1);
    flight_digests(&f, true, false);
    for (unsigned i = 0; i < RUN; i++)
        put_cmd(run + (size_t)i * LEN, i, 0);
    for (uint64_t n = 0, next = 0; n < 5ull << 30; n += sizeof(run)) {
        flight_now(&f, n + 2);
        flight_tx(&f, run, sizeof(run));
        if (n < next)
            continue;
        next = n + (100u << 20);
        unsigned read = flight_read(&f, pdus, FLIGHT_MAX);

        assert_true(n < FLIGHT_TX || read >= 2 * RUN);
        for (unsigned i = 0; i < read; i++)
            assert_int_equal(pdus[i].hdr.opcode & 0x3f, ISCSI_OP_SCSI_CMD);
    }
}

/* What a waiting connection keeps: the last few, which a full recorder goes on with, and which come
 * out of one. */
static void
test_few(void **state)
{
    struct bhs_nop_out out = {.opcode = ISCSI_OP_NOP_OUT, .flags = 0x80};
    struct bhs_nop_in in = {.opcode = ISCSI_OP_NOP_IN, .flags = 0x80};
    struct flight_few few = {.count = 0};

    (void)state;
    assert_int_equal(flight_few_read(&few, pdus, FLIGHT_MAX), 0);
    for (uint32_t i = 1; i < 50; i++) {
        uint32_t n = i < FLIGHT_FEW ? i : FLIGHT_FEW;
        uint64_t ns = 100 + i / 3; /* several at one time */
        bool tx = i % 2 == 1;

        out.itt = in.itt = put32(i);
        out.dseg_len = put24(i % 5); /* with padding on the wire */
        flight_few_add(&few, ns, tx, tx ? (const void *)&out : (const void *)&in);
        for (int full = 0; full < 3; full++) {
            if (full == 1) {
                rig();
                flight_from_few(&f, &few);
            } else if (full == 2) {
                struct flight_few again;

                flight_few_from(&again, &f);
                assert_int_equal(flight_few_read(&again, pdus, 1), 1);
                assert_int_equal(get32(pdus[0].hdr.itt), i);
                sent(500, 1000);
                assert_int_equal(flight_read(&f, pdus, 1), 1);
                assert_int_equal(get32(pdus[0].hdr.itt), 1000);
                break;
            }
            memset(pdus, 0, sizeof(pdus));
            assert_int_equal(full ? flight_read(&f, pdus, FLIGHT_MAX)
                                  : flight_few_read(&few, pdus, FLIGHT_MAX),
                             n);
            for (uint32_t k = 0; k < n; k++) {
                uint32_t itt = i - n + 1 + k;

                assert_int_equal(get32(pdus[k].hdr.itt), itt);
                assert_int_equal(pdus[k].tx, itt % 2 == 1);
                assert_int_equal(pdus[k].ns, 100 + itt / 3);
            }
        }
    }
    assert_true(sizeof(few) <= 128);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),     cmocka_unit_test(test_few),
        cmocka_unit_test(test_order),     cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_runs),      cmocka_unit_test(test_long_turn),
        cmocka_unit_test(test_digests),   cmocka_unit_test(test_text),
        cmocka_unit_test(test_gigabytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
