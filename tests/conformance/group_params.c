/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_params.c - groups "params" and "stats": values that are set too late, and
 * counts. */
#include <stdlib.h>

#include "tests/conformance/nexus.h"

#define LEN (32u << 10)

static struct params {
    struct conform_world w;
    struct conform_nexus n;
    uint8_t out[LEN], in[LEN];
} p;

static void
there_and_back(unsigned salt)
{
    struct conform_cmd c;

    conform_fill(p.out, LEN, 0, salt);
    memset(p.in, 0, LEN);
    conform_cmd_init(&c, true, 7, p.out, LEN);
    conform_cmd_run(&p.n, &c);
    conform_cmd_init(&c, false, 7, p.in, LEN);
    conform_cmd_run(&p.n, &c);
    assert_memory_equal(p.in, p.out, LEN);
}

static void
params_open(void)
{
    static const struct target_key_value set[] = {{"MaxRecvDataSegmentLength", "4096"},
                                                  {"MaxBurstLength", "8192"},
                                                  {"FirstBurstLength", "4096"}};
    const struct conform_setup setup = {.set = set, .set_count = 3};

    conform_open(&p.w, &setup);
    conform_nexus_new(&p.n, &p.w);
    conform_nexus_bind(&p.n);
    conform_nexus_login(&p.n);
}

/* ---- parameters ------------------------------------------------------------------------------ */

struct late {
    enum iscsi_param p;
    const char *value;
    int r; /* what is said to it in full feature phase */
};

static const struct late late[] = {
    {ISCSI_PARAM_HEADER_DIGEST, "CRC32C", -EBUSY},
    {ISCSI_PARAM_DATA_DIGEST, "CRC32C", -EBUSY},
    {ISCSI_PARAM_MAX_RECV_DLENGTH, "512", -EBUSY},
    {ISCSI_PARAM_MAX_XMIT_DLENGTH, "16777215", -EBUSY},
    {ISCSI_PARAM_MAX_UNEXPECTED_PDUS, "2", -EBUSY},
    {ISCSI_PARAM_INITIAL_R2T, "Yes", -EBUSY},
    {ISCSI_PARAM_IMM_DATA, "No", -EBUSY},
    {ISCSI_PARAM_FIRST_BURST, "512", -EBUSY},
    {ISCSI_PARAM_MAX_BURST, "16777215", -EBUSY},
    {ISCSI_PARAM_MAX_R2T, "8", -EBUSY},
    {ISCSI_PARAM_ERL, "2", -EBUSY},
    {ISCSI_PARAM_DEF_TIME2WAIT, "100", -EBUSY},
    {ISCSI_PARAM_PING_INTERVAL_MS, "40", 0},
    {ISCSI_PARAM_PING_TIMEOUT_MS, "20000", 0},
    {ISCSI_PARAM_ABORT_TIMEOUT_MS, "1000", 0},
    {ISCSI_PARAM_LU_RESET_TIMEOUT_MS, "1000", 0},
    {ISCSI_PARAM_TGT_RESET_TIMEOUT_MS, "1000", 0},
    {ISCSI_PARAM_RECOVERY_TMO, "30", 0},
    {ISCSI_PARAM_RECOVERY_TMO, "-1", 0},
    {ISCSI_PARAM_ZERO_COPY, "Yes", 0},
    {ISCSI_PARAM_ZERO_COPY, "No", 0},
    {ISCSI_PARAM_TARGET_NAME, "iqn.2026-11.example:another", 0},
    {ISCSI_PARAM_EXP_STATSN, "77", 0},
    {ISCSI_PARAM_PING_INTERVAL_MS, "soon", -EINVAL},
    {ISCSI_PARAM_PING_TIMEOUT_MS, "0", -EINVAL},
    {ISCSI_PARAM_RECOVERY_TMO, "-2", -EINVAL},
    {ISCSI_PARAM_ZERO_COPY, "perhaps", -EINVAL},
    {ISCSI_PARAM_COUNT, "1", -ENOTSUP},
    {(enum iscsi_param)4711, "1", -ENOTSUP},
};

/* Each is refused with a sentence or applied, and data go on as they were agreed. */
void
conform_group_params(void)
{
    uint64_t pings;

    params_open();
    there_and_back(0);
    for (unsigned i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
        struct lunette_error err = LUNETTE_INIT(err);
        int r = conform_nexus_set(&p.n, late[i].p, late[i].value, &err);

        /* Values of connections are no business of an adapter that has these for itself. */
        if (!conform_by_itself() || late[i].p == ISCSI_PARAM_RECOVERY_TMO || late[i].r == -ENOTSUP)
            assert_int_equal(r, late[i].r);
        assert_int_equal(err.code, r);
        assert_true(r == 0 || strlen(err.msg) > 5);
        there_and_back(i + 1);
    }
    if (conform_by_itself()) {
        conform_nexus_end(&p.n);
        conform_close(&p.w);
        return;
    }
    pings = conform_path_counts(p.w.path)->pdus[ISCSI_OP_NOP_OUT]; /* PING_INTERVAL_MS is heeded */
    CONFORM_UNTIL(&p.w, conform_path_counts(p.w.path)->pdus[ISCSI_OP_NOP_OUT] > pings);
    conform_nexus_end(&p.n);
    conform_table_params(&p.w);
    conform_close(&p.w);
}

/* ---- counts ---------------------------------------------------------------------------------- */

static struct iscsi_stats
stats_now(void)
{
    struct iscsi_stats s = {0};

    p.n.ops->get_stats(p.n.c, &s);
    return s;
}

static void
reset_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    (void)r;
    w->sc = (void *)w; /* told */
}

static void
ping_once(void)
{
    struct lunette_error err = LUNETTE_INIT(err);
    unsigned before = p.n.answers;
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.nop_out.ttt = put32(ISCSI_TAG_RSVD);
    CONFORM_OK(p.n.ops->send_pdu(p.n.c, &h.h, p.out, 100, &err), err);
    CONFORM_UNTIL(&p.w, p.n.answers > before);
}

/* Commands, data both ways, and a reset. */
static void
count_some(void)
{
    struct scsi_eh_wait reset = {.done = reset_done};
    uint8_t lun[8] = {0};
    struct conform_cmd c;

    for (unsigned i = 0; i < 20; i++) {
        uint32_t len = CONFORM_BLOCK * (1 + (uint32_t)conform_random(&p.w, LEN / CONFORM_BLOCK));

        conform_cmd_init(&c, i % 2 == 0, i, p.out, len);
        conform_cmd_run(&p.n, &c);
    }
    for (unsigned i = 0; i < 3 && !conform_by_itself(); i++)
        ping_once();
    p.n.host->ops->eh_device_reset(p.n.host, lun, &reset);
    CONFORM_UNTIL(&p.w, reset.sc != NULL);
    do { /* the unit attention of the reset */
        conform_cmd_init(&c, false, 0, NULL, 0);
        conform_cmd_send(&p.n, &c);
        CONFORM_UNTIL(&p.w, c.done > 0);
    } while (c.sc.status != 0);
}

/* PDUs of connections that are ours. */
static void
pdus_are_counted(void)
{
    const struct conform_counts *n = conform_path_counts(p.w.path);
    struct iscsi_stats s;

    target_tell_async(p.w.target, ISCSI_ASYNC_VENDOR_FIRST, 0, 0);
    CONFORM_UNTIL(&p.w, n->pdus[ISCSI_OP_ASYNC] == 1 && stats_now().async_pdus == 1);
    s = stats_now();
    assert_int_equal(s.scsirsp_pdus, n->pdus[ISCSI_OP_SCSI_RSP]);
    assert_int_equal(s.dataout_pdus, n->pdus[ISCSI_OP_DATA_OUT]);
    assert_int_equal(s.datain_pdus, n->pdus[ISCSI_OP_DATA_IN]);
    assert_int_equal(s.r2t_pdus, n->pdus[ISCSI_OP_R2T]);
    assert_int_equal(s.noptx_pdus, n->pdus[ISCSI_OP_NOP_OUT]);
    assert_int_equal(s.noprx_pdus, n->pdus[ISCSI_OP_NOP_IN]);
    assert_int_equal(s.reject_pdus, n->pdus[ISCSI_OP_REJECT]);
    assert_int_equal(s.digest_err, 0);
}

/* What the connection has counted is what has passed on the path, and what the target says. */
void
conform_group_stats(void)
{
    const struct conform_counts *n;
    struct target_stats before, after;
    uint64_t read, written, beside = 0;
    struct iscsi_stats s;

    params_open();
    n = conform_path_counts(p.w.path);
    target_stats(p.w.target, &before);
    count_some();
    if (!conform_by_itself()) {
        pdus_are_counted();
        beside = n->bytes[ISCSI_OP_LOGIN_REQ] + n->bytes[ISCSI_OP_NOP_OUT];
    }
    s = stats_now();
    if (conform_by_itself()) /* it counts answers, whatever PDU they come in */
        assert_int_equal(s.scsirsp_pdus, s.scsicmd_pdus);
    assert_int_equal(s.scsicmd_pdus, n->pdus[ISCSI_OP_SCSI_CMD]);
    assert_int_equal(s.tmfcmd_pdus, n->pdus[ISCSI_OP_TMF_REQ]);
    assert_int_equal(s.tmfrsp_pdus, n->pdus[ISCSI_OP_TMF_RSP]);
    read = n->bytes[ISCSI_OP_DATA_IN] + n->moved[CONFORM_TO_INITIATOR];
    written =
        n->bytes[ISCSI_OP_DATA_OUT] + n->bytes[ISCSI_OP_SCSI_CMD] + n->moved[CONFORM_TO_TARGET];
    assert_true(read > 0 && written > 0);
    assert_int_equal(s.rxdata_octets, read);
    assert_int_equal(s.txdata_octets, written + beside);
    target_stats(p.w.target, &after);
    assert_int_equal(after.bytes_written - before.bytes_written, written);
    assert_int_equal(after.bytes_read - before.bytes_read, read);
    conform_nexus_end(&p.n);
    conform_close(&p.w);
}
