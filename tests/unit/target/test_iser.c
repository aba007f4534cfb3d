/* SPDX-License-Identifier: MIT */
/* The iSER face against a scripted initiator: what it does with messages, STags and memory, and
 * that whatever an initiator does ends its own connection at most.  RFC 7145, ids of CONFORMANCE.
 */
#include "tests/unit/target/iser_puppet.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "target/bounds.h"
#include "target/instance.h"
#include "target/iser/iser.h"
#include "target/state/session.h"
#include "wire/lun.h"
#include "wire/sn.h"

#define PLAIN   (ISER_NO_ZBVA | ISER_NO_SEND_INV) /* an initiator with regions */
#define WINDOWS ISER_NO_ZBVA                      /* ... and with windows */
#define MANY    (700u << 10)                      /* bytes: several pieces, and no round number */

static const struct target_config defaults = {.login_timeout_ms = 2000};

static int
setup(void **state)
{
    static struct iworld w;

    iworld_new(&w, &defaults, NULL, 0);
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    iworld_free(*state);
    return 0;
}

static void
fill(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((i * 31 + i / 253 + seed) & 0xff);
}

static uint8_t *
disk(const struct iworld *w)
{
    return target_lun_memory(w->target, IQN, 0, NULL);
}

static uint32_t
residual_of(const struct ipuppet *p, uint8_t flag)
{
    assert_int_equal(p->h->scsi_rsp.flags & (ISCSI_RSP_OVERFLOW | ISCSI_RSP_UNDERFLOW), flag);
    return get32(p->h->scsi_rsp.residual);
}

/* ---- What goes well ------------------------------------------------------------------------- */

/* The private data of both, and receives before the first message (ISR-08). */
static void
connecting(void **state)
{
    static const struct {
        uint8_t says, answer;
    } rows[] = {{PLAIN, PLAIN}, {WINDOWS, WINDOWS}, {0x40, PLAIN}, {0x00, WINDOWS}};
    struct iworld *w = *state;
    struct target_stats stats;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ipuppet *p = ipuppet_new(w, rows[i].says);

        assert_int_equal(fake_state(p->ep), FAKE_UP);
        assert_int_equal(fake_private(p->ep), rows[i].answer);
        assert_int_equal(fake_receives(p->ep), TGT_ISER_LOGIN_RECVS);
        assert_int_equal(ipuppet_login(p, "Normal", KEYS("")), 0);
        assert_int_equal(fake_receives(p->ep), TGT_QUEUE_DEPTH + TGT_ISER_EXTRA_RECVS);
        target_stats(w->target, &stats);
        assert_int_equal(stats.conns_rdma, 1);
        assert_int_equal(stats.conns, 1);
        ipuppet_free(p);
    }
    target_stats(w->target, &stats);
    assert_int_equal(stats.conns_rdma, 0);
}

/* Data in both directions, in one piece and in many; each ends with a response (ISR-06). */
static void
reads_and_writes(void **state)
{
    static const uint32_t sizes[] = {512, 4096, 65536, 66048, MANY};
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
    struct target_stats stats;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t n = sizes[i];

        fill(p->mem, n, (unsigned)i);
        assert_int_equal(ipuppet_status(p, ipuppet_write(p, 7, n, 0)), SCSI_GOOD);
        assert_memory_equal(disk(w) + 7 * 512, p->mem, n);
        assert_int_equal(residual_of(p, 0), 0);
        memset(p->mem + MEM_SIZE / 2, 0xee, MEM_SIZE / 2);
        assert_int_equal(ipuppet_status(p, ipuppet_read(p, 7, n, MEM_SIZE / 2)), SCSI_GOOD);
        assert_memory_equal(p->mem + MEM_SIZE / 2, disk(w) + 7 * 512, n);
        assert_int_equal(p->mem[MEM_SIZE / 2 + n], 0xee);
        assert_int_equal(p->pdu.data_len, 0);
        assert_int_equal(get32(p->h->scsi_rsp.exp_data_sn), 0);
    }
    assert_int_equal(fake_reads_most(p->ep), (MANY + TGT_ISER_PIECE - 1) / TGT_ISER_PIECE);
    target_stats(w->target, &stats);
    assert_int_equal(stats.rdma_reads, 1 + 1 + 1 + 2 + 11);
    assert_true(stats.rdma_writes >= stats.rdma_reads);
    ipuppet_free(p);
}

/* A queue full of commands, answered and correct, and more data than the arena holds. */
static void
deep_queue(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
    uint32_t first = p->itt + 1, seen[TGT_QUEUE_DEPTH] = {0};
    const uint32_t n = 16384;

    fill(p->mem, MEM_SIZE, 3);
    for (uint32_t i = 0; i < TGT_QUEUE_DEPTH; i++) /* 2 MiB each way */
        (void)ipuppet_write(p, i * (n / 512), n, i % (MEM_SIZE / n) * n);
    for (uint32_t i = 0; i < TGT_QUEUE_DEPTH; i++) {
        ipuppet_expect(p, ISCSI_OP_SCSI_RSP);
        assert_int_equal(p->h->scsi_rsp.status, SCSI_GOOD);
        seen[get32(p->h->scsi_rsp.itt) - first]++;
    }
    for (uint32_t i = 0; i < TGT_QUEUE_DEPTH; i++)
        assert_int_equal(seen[i], 1);
    assert_memory_equal(disk(w), p->mem, MEM_SIZE);
    memset(p->mem, 0, MEM_SIZE);
    for (uint32_t i = 0; i < TGT_QUEUE_DEPTH; i++)
        (void)ipuppet_read(p, i * (n / 512), n, i % (MEM_SIZE / n) * n);
    for (uint32_t i = 0; i < TGT_QUEUE_DEPTH; i++)
        ipuppet_expect(p, ISCSI_OP_SCSI_RSP);
    assert_memory_equal(disk(w), p->mem, MEM_SIZE);
    ipuppet_free(p);
}

/* Data that come with the command need no STag; of a write that is part of both, the base offset is
 * that of what is left. */
static void
immediate_data(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS("ImmediateData=Yes"));
    struct iser_stag s;
    uint8_t cdb[CDB_MAX], data[8192];
    uint32_t itt;

    fill(data, sizeof(data), 9);
    (void)cdb_write16(cdb, 3, 8, 0);
    itt = ipuppet_cmd(p, WR, cdb, 4096, NULL, NULL, data, 4096);
    assert_int_equal(ipuppet_status(p, itt), SCSI_GOOD);
    assert_memory_equal(disk(w) + 3 * 512, data, 4096);
    (void)cdb_write16(cdb, 40, 32, 0);
    fill(p->mem, 16384, 11);
    s = (struct iser_stag){.stag = MEM_RKEY, .base = (uintptr_t)p->mem + 512};
    itt = ipuppet_cmd(p, WR, cdb, 16384, &s, NULL, data, 512);
    assert_int_equal(ipuppet_status(p, itt), SCSI_GOOD);
    assert_memory_equal(disk(w) + 40 * 512, data, 512);
    assert_memory_equal(disk(w) + 41 * 512, p->mem + 512, 16384 - 512);
    itt = ipuppet_cmd(p, WR, cdb, 8192, NULL, NULL, data, 8192); /* half of what the CDB says */
    assert_int_equal(ipuppet_status(p, itt), SCSI_GOOD);
    assert_int_equal(residual_of(p, ISCSI_RSP_OVERFLOW), 8192);
    ipuppet_free(p);
}

/* Header segments, and behind them all the data that a PDU may have (RFC 7145 6.8). */
static void
header_segments(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS("ImmediateData=Yes"));
    uint8_t cdb[CDB_MAX], msg[ISER_HDRS_LEN + 8 + ISER_DSEG_MAX] = {0};
    struct bhs_scsi_cmd h;

    bhs_init(&h, ISCSI_OP_SCSI_CMD, WR);
    lun_store(h.lun, lun_from_number(0));
    h.itt = put32(++p->itt);
    h.cmd_sn = put32(p->cmd_sn++);
    h.exp_stat_sn = put32(p->exp_stat_sn);
    h.edtl = put32(ISER_DSEG_MAX);
    h.ahs_words = 2;
    h.dseg_len = put24(ISER_DSEG_MAX);
    (void)cdb_write16(cdb, 5, ISER_DSEG_MAX / 512, 0);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    iser_put((struct iser_hdr *)(void *)msg, NULL, NULL);
    memcpy(msg + ISER_LEN, &h, sizeof(h));
    assert_int_equal(ahs_put_bidi(msg + ISER_HDRS_LEN, 8, 0), 8);
    fill(msg + ISER_HDRS_LEN + 8, ISER_DSEG_MAX, 5);
    fake_say(p->ep, msg, sizeof(msg));
    assert_int_equal(ipuppet_status(p, p->itt), SCSI_GOOD);
    assert_memory_equal(disk(w) + 5 * 512, msg + ISER_HDRS_LEN + 8, ISER_DSEG_MAX);
    ipuppet_free(p);
}

/* Residuals, and not a byte behind what was expected. */
static void
residuals(void **state)
{
    struct ipuppet *p = ipuppet_session(*state, PLAIN, KEYS(""));
    struct iser_stag s = {.stag = MEM_RKEY, .base = (uintptr_t)p->mem};
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    memset(p->mem, 0xee, 8192);
    (void)cdb_read16(cdb, 0, 8, 0);
    itt = ipuppet_cmd(p, RD, cdb, 512, NULL, &s, NULL, 0);
    assert_int_equal(ipuppet_status(p, itt), SCSI_GOOD);
    assert_int_equal(residual_of(p, ISCSI_RSP_OVERFLOW), 4096 - 512);
    assert_int_equal(p->mem[511], 0);
    assert_int_equal(p->mem[512], 0xee);
    (void)cdb_read16(cdb, 0, 1, 0);
    itt = ipuppet_cmd(p, RD, cdb, 4096, NULL, &s, NULL, 0);
    assert_int_equal(ipuppet_status(p, itt), SCSI_GOOD);
    assert_int_equal(residual_of(p, ISCSI_RSP_UNDERFLOW), 4096 - 512);
    assert_int_equal(p->mem[512], 0xee);
    (void)cdb_write16(cdb, 0, 1, 0);
    itt = ipuppet_cmd(p, WR, cdb, 4096, &s, NULL, NULL, 0);
    assert_int_equal(ipuppet_status(p, itt), SCSI_GOOD);
    assert_int_equal(residual_of(p, ISCSI_RSP_UNDERFLOW), 4096 - 512);
    ipuppet_free(p);
}

/* A command that fails has its sense data in the response, and moves nothing. */
static void
sense_data(void **state)
{
    struct ipuppet *p = ipuppet_session(*state, PLAIN, KEYS(""));
    struct scsi_sense sense;
    uint32_t itt = ipuppet_write(p, 1ull << 40, 4096, 0);

    assert_int_equal(ipuppet_status(p, itt), SCSI_CHECK_CONDITION);
    assert_true(sense_parse(p->pdu.data + 2, p->pdu.data_len - 2, &sense));
    assert_int_equal(sense.key, SENSE_ILLEGAL_REQUEST);
    assert_int_equal(fake_reads_most(p->ep), 0);
    itt = ipuppet_read(p, 1ull << 40, 4096, 0);
    assert_int_equal(ipuppet_status(p, itt), SCSI_CHECK_CONDITION);
    ipuppet_free(p);
}

/* ISR-04: with windows, the response takes the STag along, of whichever direction; regions stay. */
static void
stags_are_invalidated(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, WINDOWS, KEYS(""));
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    for (uint32_t i = 0; i < 4; i++) {
        uint32_t rkey = WIN_RKEY + i;
        struct iser_stag s = {.stag = rkey, .base = (uintptr_t)p->mem};

        fake_open(p->ep, (struct fake_key){.rkey = rkey,
                                           .addr = p->mem,
                                           .len = 4096,
                                           .access = RNIC_PEER_READS | RNIC_PEER_WRITES,
                                           .window = true});
        if (i % 2 == 0) {
            (void)cdb_write16(cdb, 0, 8, 0);
            itt = ipuppet_cmd(p, WR, cdb, 4096, &s, NULL, NULL, 0);
        } else { /* also one that fails */
            (void)cdb_read16(cdb, i == 1 ? 0 : 1ull << 40, 8, 0);
            itt = ipuppet_cmd(p, RD, cdb, 4096, NULL, &s, NULL, 0);
        }
        assert_int_equal(ipuppet_status(p, itt), i == 3 ? SCSI_CHECK_CONDITION : SCSI_GOOD);
        assert_int_equal(p->rx.invalidate, rkey);
        assert_false(fake_is_open(p->ep, rkey));
    }
    ipuppet_free(p);
    p = ipuppet_session(w, PLAIN, KEYS(""));
    assert_int_equal(ipuppet_status(p, ipuppet_write(p, 0, 4096, 0)), SCSI_GOOD);
    assert_int_equal(p->rx.invalidate, 0);
    assert_true(fake_is_open(p->ep, MEM_RKEY));
    ipuppet_free(p);
}

/* A target that never does so says it. */
static void
stags_are_kept(void **state)
{
    struct target_config cfg = {.rdma_keeps_stags = true};
    struct iworld w;
    struct ipuppet *p;

    (void)state;
    iworld_new(&w, &cfg, NULL, 0);
    p = ipuppet_session(&w, WINDOWS, KEYS(""));
    assert_int_equal(fake_private(p->ep), PLAIN);
    assert_int_equal(ipuppet_status(p, ipuppet_read(p, 0, 4096, 0)), SCSI_GOOD);
    assert_int_equal(p->rx.invalidate, 0);
    ipuppet_free(p);
    iworld_free(&w);
}

static void
nop_init(struct ipuppet *p, struct bhs_nop_out *h)
{
    bhs_init(h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h->itt = put32(++p->itt);
    h->ttt = put32(ISCSI_TAG_RSVD);
    h->cmd_sn = put32(p->cmd_sn);
}

/* Control PDUs of the full feature phase: pings with and without data, an unknown request, SNACK
 * (ISR-05), a logout, which ends with a disconnect. */
static void
control_pdus(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
    uint8_t data[ISER_DSEG_MAX];
    struct bhs_logout_req out;
    struct bhs_nop_out nop;

    fill(data, sizeof(data), 1);
    for (uint32_t len = 0; len <= sizeof(data); len += len < 8 ? 1 : 1637) {
        nop_init(p, &nop);
        ipuppet_send(p, NULL, NULL, &nop, data, len);
        ipuppet_expect(p, ISCSI_OP_NOP_IN);
        assert_int_equal(p->pdu.data_len, len);
        assert_memory_equal(p->pdu.data, data, len);
    }
    nop_init(p, &nop);
    nop.opcode = 0x0a | ISCSI_OP_IMMEDIATE;
    ipuppet_send(p, NULL, NULL, &nop, NULL, 0);
    ipuppet_expect(p, ISCSI_OP_REJECT);
    bhs_init(&out, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_SESSION);
    out.itt = put32(++p->itt);
    out.cmd_sn = put32(p->cmd_sn);
    ipuppet_send(p, NULL, NULL, &out, NULL, 0);
    ipuppet_expect(p, ISCSI_OP_LOGOUT_RSP);
    ipuppet_expect_end(p);
    ipuppet_free(p);
    iworld_lives(w);
}

/* Discovery has the header, too, and names portals of this kind alone. */
static void
discovery(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_new(w, PLAIN);
    static const char ask[] = "SendTargets=All";
    struct sock_addr tcp = {.len = sizeof(struct sockaddr_in)};
    struct bhs_text_req h;
    char text[256];

    ((struct sockaddr_in *)(void *)&tcp.ss)->sin_family = AF_INET;
    ((struct sockaddr_in *)(void *)&tcp.ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(target_listen(w->target, &tcp, NULL, NULL), 0);
    assert_int_equal(ipuppet_login(p, "Discovery", KEYS("")), 0);
    assert_int_equal(fake_receives(p->ep), TGT_ISER_LOGIN_RECVS);
    bhs_init(&h, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
    h.itt = put32(++p->itt);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(p->cmd_sn++);
    ipuppet_send(p, NULL, NULL, &h, ask, sizeof(ask));
    ipuppet_expect(p, ISCSI_OP_TEXT_RSP);
    assert_true(p->pdu.data_len < sizeof(text));
    memcpy(text, p->pdu.data, p->pdu.data_len);
    for (uint32_t i = 0; i + 1 < p->pdu.data_len; i++)
        text[i] = text[i] == '\0' ? ' ' : text[i];
    assert_string_equal(text, "TargetName=" IQN " TargetAddress=10.0.0.1:3260,1");
    ipuppet_free(p);
}

/* RFC 7145 6.2: MaxRecvDataSegmentLength means nothing, so that no PDU becomes longer by it. */
static void
max_recv_is_ignored(void **state)
{
    static const char bigger[] = "MaxRecvDataSegmentLength=16777215", ask[] = "SendTargets=All";
    enum { NODES = 300 };
    static char names[NODES][64];
    static struct target_node_config nodes[NODES];
    const struct lu_config lun = {.kind = LU_NULL, .size = 1 << 20, .lun = -1, .wce = -1};
    struct target_config cfg = {.nodes = nodes, .nodes_count = NODES};
    struct iworld *w = *state;
    struct ipuppet *p;
    struct bhs_text_req h;
    uint32_t total = 0;

    for (unsigned i = 0; i < NODES; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "iqn.2026-11.example:a-disk-of-many-%u", i);
        nodes[i] = (struct target_node_config){.name = names[i], .luns = &lun, .luns_count = 1};
    }
    target_free(w->target);
    assert_int_equal(target_new(w->loop, &cfg, &w->target, NULL), 0);
    assert_int_equal(target_listen_rdma(w->target, &w->addr, NULL, NULL), 0);
    p = ipuppet_new(w, PLAIN);
    assert_int_equal(ipuppet_login(p, "Discovery", KEYS("")), 0x0203); /* of that name is none */
    ipuppet_free(p);
    p = ipuppet_new(w, PLAIN);
    p->nobody = true;
    assert_int_equal(ipuppet_login(p, "Discovery", KEYS("")), 0);
    bhs_init(&h, ISCSI_OP_TEXT_REQ, ISCSI_FLAG_FINAL);
    h.ttt = put32(ISCSI_TAG_RSVD);
    for (const char *text = bigger; text != NULL; text = text == bigger ? ask : NULL) {
        h.itt = put32(++p->itt);
        h.cmd_sn = put32(p->cmd_sn++);
        ipuppet_send(p, NULL, NULL, &h, text, (uint32_t)strlen(text) + 1);
        ipuppet_expect(p, ISCSI_OP_TEXT_RSP);
    }
    for (total = p->pdu.data_len; p->h->text_rsp.flags & ISCSI_TEXT_CONTINUE;
         total += p->pdu.data_len) {
        assert_int_equal(p->pdu.data_len, ISER_DSEG_MAX);
        h.itt = put32(p->itt);
        h.ttt = p->h->text_rsp.ttt;
        h.cmd_sn = put32(p->cmd_sn++);
        ipuppet_send(p, NULL, NULL, &h, NULL, 0);
        ipuppet_expect(p, ISCSI_OP_TEXT_RSP);
    }
    assert_true(total > 2 * ISER_DSEG_MAX);
    ipuppet_free(p);
}

/* Async messages and the end of the target come over RDMA as well. */
static void
target_tells(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));

    target_tell_async(w->target, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 3);
    ipuppet_expect(p, ISCSI_OP_ASYNC);
    assert_int_equal(get16(p->h->async.param3), 3);
    target_tell_async(w->target, ISCSI_ASYNC_DROP_CONNECTION, 0, 0);
    ipuppet_expect(p, ISCSI_OP_ASYNC);
    ipuppet_expect_end(p);
    ipuppet_free(p);
}

/* ---- Aborts and resets while data moves ----------------------------------------------------- */

static uint32_t
send_tmf(struct ipuppet *p, uint8_t function, uint32_t ref)
{
    struct bhs_tmf_req h;

    bhs_init(&h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL | function);
    lun_store(h.lun, lun_from_number(0));
    h.itt = put32(++p->itt);
    h.ref_tag = put32(ref);
    h.cmd_sn = put32(p->cmd_sn);
    h.ref_cmd_sn = put32(p->cmd_sn - 1);
    ipuppet_send(p, NULL, NULL, &h, NULL, 0);
    return p->itt;
}

/* The response waits for the RDMA Reads that are under way: memory is only then the initiator's
 * again.  No more are begun, and what comes goes nowhere. */
static void
abort_waits_for_reads(void **state)
{
    static const uint8_t functions[] = {ISCSI_TMF_ABORT_TASK, ISCSI_TMF_ABORT_TASK_SET,
                                        ISCSI_TMF_LU_RESET};
    struct iworld *w = *state;

    for (size_t i = 0; i < sizeof(functions); i++) {
        struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
        struct fake_message m;
        uint32_t itt, reads;

        memset(disk(w), 0x11, MANY);
        fill(p->mem, MEM_SIZE, 5);
        fake_hold(p->ep, true);
        itt = ipuppet_write(p, 0, 2u << 20, 0);
        iworld_turns(w, 3);
        reads = fake_reads_posted(p->ep);
        assert_true(reads > 1 && reads <= TGT_R2T_MAX);
        fake_step(p->ep, 1);
        assert_int_equal(disk(w)[0], p->mem[0]);
        (void)send_tmf(p, functions[i], itt);
        iworld_turns(w, 3);
        reads = fake_reads_posted(p->ep);
        assert_int_equal(fake_posted(p->ep), reads);
        for (; reads > 0; reads--) {
            assert_false(fake_hear(p->ep, &m));
            fake_step(p->ep, 1);
            iworld_turns(w, 1);
        }
        assert_int_equal(fake_reads_posted(p->ep), 0);
        fake_shut(p->ep, MEM_RKEY);
        fake_hold(p->ep, false);
        ipuppet_expect(p, ISCSI_OP_TMF_RSP);
        assert_int_equal(p->h->tmf_rsp.response, ISCSI_TMF_RSP_COMPLETE);
        assert_int_equal(disk(w)[3 * TGT_ISER_PIECE], 0x11);
        assert_false(ipuppet_recv(p));
        assert_int_equal(fake_state(p->ep), FAKE_UP);
        ipuppet_free(p);
    }
}

/* One that waits while its command has no data under way is answered at once. */
static void
abort_of_what_is_idle(void **state)
{
    static const struct target_faults mute = {.mute = true, .mute_opcode = 0x88};
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
    uint32_t itt;

    target_set_faults(w->target, &mute);
    itt = ipuppet_read(p, 0, 4096, 0);
    assert_false(ipuppet_recv(p));
    (void)send_tmf(p, ISCSI_TMF_ABORT_TASK, itt);
    ipuppet_expect(p, ISCSI_OP_TMF_RSP);
    assert_int_equal(p->h->tmf_rsp.response, ISCSI_TMF_RSP_COMPLETE);
    target_set_faults(w->target, NULL);
    assert_int_equal(ipuppet_status(p, ipuppet_read(p, 0, 4096, 0)), SCSI_GOOD);
    ipuppet_free(p);
}

/* The connection ends at any moment of a write and a read, by either side: nothing is touched any
 * more, and the target lives. */
static void
ends_at_each_step(void **state)
{
    struct iworld *w = *state;

    for (unsigned how = 0; how < 3; how++) {
        for (unsigned steps = 0; steps < 30; steps++) {
            struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));

            fake_hold(p->ep, true);
            (void)ipuppet_write(p, 0, MANY, 0);
            (void)ipuppet_read(p, 0, MANY, MANY);
            for (unsigned i = 0; i < steps; i++) {
                iworld_turns(w, 1);
                fake_step(p->ep, 1);
            }
            if (how == 0)
                fake_leave(p->ep, true);
            else if (how == 1)
                target_drop_connections(w->target);
            else
                fake_fail(p->ep, RNIC_NO_ANSWER), fake_hold(p->ep, false);
            if (how == 2) { /* something must be said for that to show */
                struct bhs_nop_out nop;

                nop_init(p, &nop);
                ipuppet_send(p, NULL, NULL, &nop, NULL, 0);
            }
            ipuppet_expect_end(p);
            ipuppet_free(p);
        }
    }
    iworld_lives(w);
}

/* A session is reinstated while data of the old one moves. */
static void
reinstatement(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *a = ipuppet_session(w, PLAIN, KEYS("")), *b;

    fake_hold(a->ep, true);
    (void)ipuppet_write(a, 0, MANY, 0);
    iworld_turns(w, 3);
    b = ipuppet_session(w, PLAIN, KEYS(""));
    ipuppet_expect_end(a);
    ipuppet_free(a);
    assert_int_equal(ipuppet_status(b, ipuppet_read(b, 0, 4096, 0)), SCSI_GOOD);
    ipuppet_free(b);
}

/* ---- Room ----------------------------------------------------------------------------------- */

/* Where nothing that is sent completes, the initiator is not read any more, and nothing is lost. */
static void
pings_without_end(void **state)
{
    enum { PINGS = 700 };
    struct ipuppet *p = ipuppet_session(*state, PLAIN, KEYS(""));
    uint8_t data[ISER_DSEG_MAX];
    struct bhs_nop_out nop;
    uint32_t first = p->itt + 1;

    fill(data, sizeof(data), 1);
    fake_hold(p->ep, true);
    for (unsigned i = 0; i < PINGS; i++) {
        nop_init(p, &nop);
        ipuppet_send(p, NULL, NULL, &nop, data, sizeof(data));
    }
    iworld_turns(p->w, 20);
    assert_true(fake_unheard(p->ep) > 0); /* they wait where they come from */
    fake_hold(p->ep, false);
    for (unsigned i = 0; i < PINGS; i++) {
        ipuppet_expect(p, ISCSI_OP_NOP_IN);
        assert_int_equal(get32(p->h->nop_in.itt), first + i);
    }
    assert_int_equal(fake_unheard(p->ep), 0);
    ipuppet_free(p);
}

/* Not enough memory may be locked: the connection is refused, or the login, with the device's
 * sentence; one that has room is served. */
static void
no_memory_to_lock(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p;

    w->rnic.memlock = 16u << 10;
    iworld_expect_log(w, "cannot be locked");
    p = ipuppet_new(w, PLAIN);
    assert_int_equal(fake_state(p->ep), FAKE_REFUSED);
    ipuppet_free(p);
    iworld_check_log(w);
    w->rnic.memlock = 512u << 10;
    iworld_expect_log(w, "cannot be locked");
    p = ipuppet_new(w, PLAIN);
    assert_int_equal(fake_state(p->ep), FAKE_UP);
    assert_int_equal(ipuppet_login(p, "Normal", KEYS("")), 0x0302);
    ipuppet_expect_end(p);
    ipuppet_free(p);
    iworld_check_log(w);
    w->rnic.memlock = 0;
    iworld_lives(w);
}

/* ---- Hostile initiators --------------------------------------------------------------------- */

/* A message that is not in order ends its connection with a reason. */
static void
end_with(struct ipuppet *p, const char *words)
{
    iworld_expect_log(p->w, words);
    ipuppet_expect_end(p);
    iworld_check_log(p->w);
    ipuppet_free(p);
}

static void
bad_messages(void **state)
{
    static const struct {
        const char *words;
        uint32_t len;
        uint8_t at, byte; /* of a NOP-Out of ISER_HDRS_LEN bytes */
    } rows[] = {
        {"no iSER header", 0, 0, 0},
        {"no iSER header", 27, 0, ISER_CONTROL},
        {"no whole PDU header", 28, 0, ISER_CONTROL},
        {"no whole PDU header", 75, 0, ISER_CONTROL},
        {"iSER message of type 0", 76, 0, 0x00},
        {"iSER message of type 2", 76, 0, ISER_HELLO},
        {"iSER message of type 3", 76, 0, ISER_HELLO_REPLY},
        {"iSER message of type 15", 76, 0, 0xff},
        {"only a SCSI Command has an STag", 76, 0, ISER_CONTROL | ISER_WSV},
        {"only a SCSI Command has an STag", 76, 0, ISER_CONTROL | ISER_RSV},
        {"came in a message of", 76, ISER_LEN + 7, 9}, /* a data segment that is not there */
        {"came in a message of", 80, 0, ISER_CONTROL}, /* bytes that belong to nothing */
        {"TotalAHSLength 255", 76, ISER_LEN + 4, 255},
        {"DataSegmentLength", 76, ISER_LEN + 5, 255}, /* 16 MiB */
    };
    struct iworld *w = *state;

    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        size_t k = i / 2;
        struct ipuppet *p =
            i % 2 != 0 ? ipuppet_session(w, PLAIN, KEYS("")) : ipuppet_new(w, PLAIN);
        uint8_t msg[128] = {ISER_CONTROL};
        struct bhs_nop_out nop;

        nop_init(p, &nop);
        memcpy(msg + ISER_LEN, &nop, sizeof(nop));
        msg[rows[k].at] = rows[k].byte;
        fake_say(p->ep, msg, rows[k].len);
        end_with(p, rows[k].words);
    }
    iworld_lives(w);
}

/* Login: another PDU, one with an AHS, silence. */
static void
bad_logins(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_new(w, PLAIN);
    struct bhs_nop_out nop;

    nop_init(p, &nop);
    ipuppet_send(p, NULL, NULL, &nop, NULL, 0);
    end_with(p, "the first PDU is not a Login Request");
    p = ipuppet_new(w, PLAIN);
    end_with(p, "login took too long");
    p = ipuppet_new(w, PLAIN); /* it leaves before it has said anything */
    fake_leave(p->ep, true);
    end_with(p, "the initiator has left");
    iworld_lives(w);
}

/* Longer than what was agreed on: in the header of the PDU, or more than the receive has. */
static void
long_messages(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
    static uint8_t data[20000];
    struct bhs_nop_out nop;

    nop_init(p, &nop);
    ipuppet_send(p, NULL, NULL, &nop, data, ISER_DSEG_MAX + 4);
    end_with(p, "the limit is 8192");
    p = ipuppet_session(w, PLAIN, KEYS(""));
    nop_init(p, &nop);
    ipuppet_send(p, NULL, NULL, &nop, data, ISER_DSEG_MAX + 260);
    end_with(p, "longer than what was agreed on");
    p = ipuppet_session(w, PLAIN, KEYS(""));
    nop_init(p, &nop);
    ipuppet_send(p, NULL, NULL, &nop, data, sizeof(data));
    end_with(p, "longer than what was agreed on");
    p = ipuppet_session(w, PLAIN, KEYS("MaxBurstLength=8192"));
    fake_say(p->ep, data, sizeof(data)); /* not even a header */
    end_with(p, "longer than what was agreed on");
    iworld_lives(w);
}

/* STags that are not there, and such as do not fit their command. */
static void
missing_stags(void **state)
{
    static const struct {
        const char *words;
        uint8_t flags;
        bool writes, with_write, with_read;
        uint32_t edtl, immediate;
    } rows[] = {
        {"no read STag", RD, false, false, false, 4096, 0},
        {"a write STag, and nothing is written", RD, false, true, true, 4096, 0},
        {"no write STag", WR, true, false, false, 4096, 0},
        {"no write STag", WR, true, false, false, 4096, 512},
        {"a read STag, and nothing is read", WR, true, true, true, 4096, 0},
        {"a read STag, and nothing is read", WR, true, false, true, 4096, 0},
        {"a write STag, and nothing is written", ISCSI_FLAG_FINAL, false, true, false, 0, 0},
    };
    struct iworld *w = *state;
    uint8_t cdb[CDB_MAX], data[512] = {0};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS("ImmediateData=Yes"));
        struct iser_stag s = {.stag = MEM_RKEY, .base = (uintptr_t)p->mem};

        if (rows[i].writes)
            (void)cdb_write16(cdb, 0, 8, 0);
        else
            (void)cdb_read16(cdb, 0, 8, 0);
        (void)ipuppet_cmd(p, rows[i].flags, cdb, rows[i].edtl, rows[i].with_write ? &s : NULL,
                          rows[i].with_read ? &s : NULL, data, rows[i].immediate);
        end_with(p, rows[i].words);
    }
    iworld_lives(w);
}

/* STags that lead nowhere, or not so far: the device says so. */
static void
wrong_stags(void **state)
{
    struct iworld *w = *state;

    for (unsigned i = 0; i < 8; i++) {
        bool writes = i % 2 != 0;
        struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
        struct iser_stag s = {.stag = MEM_RKEY, .base = (uintptr_t)p->mem};
        uint8_t cdb[CDB_MAX];

        if (i / 2 == 0)
            s.stag ^= 0x55;
        else if (i / 2 == 1)
            s.base--;
        else if (i / 2 == 2)
            s.base += MEM_SIZE - 4095;
        else
            s.base = UINT64_MAX - 5;
        if (writes)
            (void)cdb_write16(cdb, 0, 8, 0);
        else
            (void)cdb_read16(cdb, 0, 8, 0);
        (void)ipuppet_cmd(p, writes ? WR : RD, cdb, 4096, writes ? &s : NULL, writes ? NULL : &s,
                          NULL, 0);
        end_with(p, writes ? "an RDMA Read failed: the initiator's memory is not open to it"
                           : "an RDMA Write failed: the initiator's memory is not open to it");
    }
    iworld_lives(w);
}

/* Data-Out PDUs: none is ever asked for (ISR-05), and with InitialR2T=Yes none may come unasked. */
static void
data_out_pdus(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
    struct bhs_data_out h;
    uint8_t data[512] = {0};
    uint32_t itt;

    bhs_init(&h, ISCSI_OP_DATA_OUT, ISCSI_FLAG_FINAL);
    fake_hold(p->ep, true);
    itt = ipuppet_write(p, 0, 4096, 0);
    iworld_turns(w, 3);
    h.itt = put32(itt);
    h.ttt = put32(0); /* a guess */
    ipuppet_send(p, NULL, NULL, &h, data, sizeof(data));
    end_with(p, "a Data-Out that was not asked for");
    p = ipuppet_session(w, PLAIN, KEYS("InitialR2T=No"));
    h.itt = put32(p->itt + 1000); /* of no command: dropped, as on TCP */
    h.ttt = put32(ISCSI_TAG_RSVD);
    ipuppet_send(p, NULL, NULL, &h, data, sizeof(data));
    assert_int_equal(ipuppet_status(p, ipuppet_write(p, 0, 4096, 0)), SCSI_GOOD);
    ipuppet_free(p);
}

/* Where a session has InitialR2T=No (no login over RDMA agrees on that here, but the face does not
 * know), Data-Out comes unasked up to FirstBurstLength, and the rest is read from behind that. */
static void
unasked_data(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS("FirstBurstLength=4096"));
    struct tgt_session *s = container_of(w->target->sessions.next, struct tgt_session, link);
    struct iser_stag tag = {.stag = MEM_RKEY, .base = (uintptr_t)p->mem + 4096};
    struct bhs_data_out h;
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    s->params.initial_r2t = false;
    fill(p->mem, 16384, 21);
    (void)cdb_write16(cdb, 0, 32, 0);
    itt = ipuppet_cmd(p, ISCSI_CMD_WRITE, cdb, 16384, &tag, NULL, NULL, 0);
    for (uint32_t i = 0; i < 2; i++) {
        bhs_init(&h, ISCSI_OP_DATA_OUT, i == 1 ? ISCSI_FLAG_FINAL : 0);
        h.itt = put32(itt);
        h.ttt = put32(ISCSI_TAG_RSVD);
        h.data_sn = put32(i);
        h.offset = put32(i * 2048);
        ipuppet_send(p, NULL, NULL, &h, p->mem + i * 2048, 2048);
    }
    assert_int_equal(ipuppet_status(p, itt), SCSI_GOOD);
    assert_memory_equal(disk(w), p->mem, 16384);
    assert_int_equal(fake_reads_most(p->ep), 1);
    (void)ipuppet_cmd(p, ISCSI_CMD_WRITE, cdb, 16384, NULL, NULL, NULL, 0);
    end_with(p, "no write STag"); /* of which more than FirstBurstLength is to be read */
}

/* Messages of random bytes, and good ones with one byte changed: connections end, or go on. */
static void
random_messages(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = NULL;
    uint32_t rng = 12345;

    for (unsigned i = 0; i < 3000; i++) {
        uint8_t msg[ISER_HDRS_LEN + 64], cdb[CDB_MAX];
        struct iser_stag s;
        struct bhs_scsi_cmd h;
        uint32_t len = ISER_HDRS_LEN;
        struct fake_message m;

        if (p == NULL)
            p = ipuppet_session(w, i % 2 ? PLAIN : WINDOWS, KEYS("ImmediateData=Yes"));
        s = (struct iser_stag){.stag = MEM_RKEY, .base = (uintptr_t)p->mem};
        bhs_init(&h, ISCSI_OP_SCSI_CMD, i % 3 ? RD : WR);
        h.itt = put32(++p->itt);
        h.cmd_sn = put32(p->cmd_sn++);
        h.edtl = put32(4096);
        if (i % 3)
            (void)cdb_read16(cdb, 0, 8, 0);
        else
            (void)cdb_write16(cdb, 0, 8, 0);
        memcpy(h.cdb, cdb, sizeof(h.cdb));
        memset(msg, 0, sizeof(msg));
        iser_put((struct iser_hdr *)(void *)msg, i % 3 ? NULL : &s, i % 3 ? &s : NULL);
        memcpy(msg + ISER_LEN, &h, sizeof(h));
        for (unsigned k = 0; k < 1 + i % 3; k++) {
            rng = rng * 1664525 + 1013904223;
            msg[(rng >> 8) % ISER_HDRS_LEN] = (uint8_t)(rng >> 24);
        }
        len += i % 11 == 0 ? 64 : 0;
        fake_say(p->ep, msg, len);
        iworld_turns(w, 2);
        while (fake_hear(p->ep, &m))
            fake_message_free(&m);
        if (fake_state(p->ep) == FAKE_GONE) {
            ipuppet_free(p);
            p = NULL;
        }
    }
    if (p != NULL)
        ipuppet_free(p);
    iworld_lives(w);
}

/* ---- Lives at random ------------------------------------------------------------------------ */

struct life {
    struct ipuppet *p;
    bool held;
    uint32_t last; /* ITT */
    uint32_t max_cmd_sn;
};

static uint32_t
draw(uint32_t *rng, uint32_t below)
{
    *rng = *rng * 1664525 + 1013904223;
    return (*rng >> 8) % below;
}

static void
life_logout(struct ipuppet *p)
{
    struct bhs_logout_req out;

    bhs_init(&out, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_SESSION);
    out.itt = put32(++p->itt);
    out.cmd_sn = put32(p->cmd_sn);
    ipuppet_send(p, NULL, NULL, &out, NULL, 0);
}

/* One thing that an initiator, its device or its network may do. */
static void
life_step(struct life *l, uint32_t *rng)
{
    static const uint8_t functions[] = {ISCSI_TMF_ABORT_TASK, ISCSI_TMF_ABORT_TASK_SET,
                                        ISCSI_TMF_CLEAR_TASK_SET, ISCSI_TMF_LU_RESET,
                                        ISCSI_TMF_TARGET_WARM_RESET};
    uint32_t bytes = 512 * (1 + draw(rng, draw(rng, 4) == 0 ? 2048 : 16));
    uint32_t lba = draw(rng, LUN_SIZE / 512 - bytes / 512 + 1);
    uint32_t off = draw(rng, (MEM_SIZE - bytes) / 512 + 1) * 512;
    struct bhs_nop_out nop;

    switch (draw(rng, 40)) {
    case 0:
        (void)send_tmf(l->p, functions[draw(rng, sizeof(functions))], l->last - draw(rng, 4));
        break;
    case 1:
        nop_init(l->p, &nop);
        ipuppet_send(l->p, NULL, NULL, &nop, l->p->mem, draw(rng, ISER_DSEG_MAX));
        break;
    case 2:
    case 3:
    case 4:
        l->held = !l->held;
        fake_hold(l->p->ep, l->held);
        break;
    case 5:
        if (draw(rng, 8) == 0)
            fake_leave(l->p->ep, draw(rng, 2) == 0);
        break;
    case 6:
        if (draw(rng, 8) == 0)
            fake_fail(l->p->ep, (enum rnic_status)(1 + draw(rng, RNIC_STATUS_COUNT - 1)));
        break;
    case 7:
        if (draw(rng, 8) == 0)
            fake_shut(l->p->ep, MEM_RKEY);
        break;
    case 8:
        if (draw(rng, 8) == 0)
            life_logout(l->p);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
        fake_step(l->p->ep, draw(rng, 6));
        break;
    default:
        if (!sn_lte(l->p->cmd_sn, l->max_cmd_sn))
            break;
        if (draw(rng, 2) == 0)
            l->last = ipuppet_write(l->p, lba, bytes, off);
        else
            l->last = ipuppet_read(l->p, lba, bytes, off);
        break;
    }
}

/* Initiators that do all of that to one unit at a time, in each other's way.  The fake asserts what
 * the seam asks for; sanitizers see the rest. */
static void
lives_at_random(void **state)
{
    struct iworld *w = *state;
    struct life lives[3] = {{.p = NULL}};
    struct fake_message m;
    uint32_t rng = 4711, good = 0;

    for (unsigned i = 0; i < 20000; i++) {
        struct life *l = &lives[draw(&rng, 3)];

        if (l->p != NULL && fake_state(l->p->ep) == FAKE_GONE) {
            ipuppet_free(l->p);
            *l = (struct life){.p = NULL};
        }
        if (l->p == NULL) {
            l->p = ipuppet_new(w, draw(&rng, 2) == 0 ? PLAIN : WINDOWS);
            l->p->isid[5] = (uint8_t)(l - lives);
            assert_int_equal(ipuppet_login(l->p, "Normal", KEYS("ImmediateData=Yes")), 0);
            l->max_cmd_sn = l->p->cmd_sn + TGT_QUEUE_DEPTH / 2;
        }
        life_step(l, &rng);
        while (fake_hear(l->p->ep, &m)) {
            const struct bhs_scsi_rsp *rsp = (const void *)(m.bytes + ISER_LEN);

            l->max_cmd_sn = get32(rsp->max_cmd_sn);
            good += pdu_opcode((const struct bhs *)(const void *)rsp) == ISCSI_OP_SCSI_RSP &&
                    rsp->status == SCSI_GOOD;
            fake_message_free(&m);
        }
        if (draw(&rng, 4) == 0)
            iworld_turns(w, 1);
    }
    assert_true(good > 2000);
    for (unsigned i = 0; i < 3; i++) {
        if (lives[i].p == NULL)
            continue;
        fake_hold(lives[i].p->ep, false);
        target_drop_connections(w->target);
        ipuppet_free(lives[i].p);
    }
    iworld_lives(w);
}

/* ---- A hostile target, on order ------------------------------------------------------------- */

/* Each fault is seen by the initiator as what it is, and only as often as was ordered. */
static void
faults(void **state)
{
    static const struct {
        enum target_rdma_fault fault;
        enum fake_state then;
        uint32_t len; /* of the message in place of the response; 0: no matter */
        int byte, is; /* one byte of it */
        bool writes;
    } rows[] = {
        {TARGET_RDMA_R2T, FAKE_UP, ISER_HDRS_LEN, ISER_LEN, ISCSI_OP_R2T, true},
        {TARGET_RDMA_READ_FAR, FAKE_GONE, 0, -1, 0, true},
        {TARGET_RDMA_READ_STAG, FAKE_GONE, 0, -1, 0, true},
        {TARGET_RDMA_NO_DATA, FAKE_UP, ISER_HDRS_LEN, ISER_LEN, ISCSI_OP_SCSI_RSP, false},
        {TARGET_RDMA_WRITE_BEFORE, FAKE_GONE, 0, -1, 0, false},
        {TARGET_RDMA_WRITE_BEHIND, FAKE_GONE, 0, -1, 0, false},
        {TARGET_RDMA_WRITE_FAR, FAKE_GONE, 0, -1, 0, false},
        {TARGET_RDMA_WRITE_STAG, FAKE_GONE, 0, -1, 0, false},
        {TARGET_RDMA_DATA_LATE, FAKE_UP, ISER_HDRS_LEN, ISER_LEN, ISCSI_OP_SCSI_RSP, false},
        {TARGET_RDMA_LEAVES, FAKE_GONE, 0, -1, 0, false},
        {TARGET_RDMA_LEAVES, FAKE_GONE, 0, -1, 0, true},
        {TARGET_RDMA_TYPE, FAKE_UP, ISER_HDRS_LEN, 0, 0xf0, false},
        {TARGET_RDMA_TYPE, FAKE_UP, ISER_HDRS_LEN, 0, 0xf0, true},
        {TARGET_RDMA_HELLO, FAKE_UP, ISER_HDRS_LEN, 0, ISER_HELLO_REPLY, false},
        {TARGET_RDMA_STAGS, FAKE_UP, ISER_HDRS_LEN, 0, ISER_CONTROL | ISER_WSV | ISER_RSV, false},
        {TARGET_RDMA_SHORT, FAKE_UP, 20, 0, ISER_CONTROL, false},
        {TARGET_RDMA_CUT, FAKE_UP, 60, ISER_LEN, ISCSI_OP_SCSI_RSP, false},
        {TARGET_RDMA_LENGTH, FAKE_UP, ISER_HDRS_LEN, ISER_LEN + 7, 100, false},
        {TARGET_RDMA_LONG, FAKE_UP, 16384, ISER_LEN, ISCSI_OP_SCSI_RSP, false},
        {TARGET_RDMA_DATA_IN, FAKE_UP, ISER_HDRS_LEN, ISER_LEN, ISCSI_OP_DATA_IN, false},
        {TARGET_RDMA_TWICE, FAKE_UP, ISER_HDRS_LEN, ISER_LEN, ISCSI_OP_SCSI_RSP, false},
        {TARGET_RDMA_INVALIDATE, FAKE_GONE, 0, -1, 0, false},
    };
    struct iworld *w = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct target_faults f = {.rdma = rows[i].fault, .rdma_every = 2};
        struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
        struct fake_message m;

        fake_shut(p->ep, MEM_RKEY);
        fake_open(p->ep, (struct fake_key){.rkey = MEM_RKEY,
                                           .addr = p->mem + 4096,
                                           .len = 4096,
                                           .access = RNIC_PEER_READS | RNIC_PEER_WRITES});
        memset(disk(w), 0x77, 4096);
        memset(p->mem, 0x22, 3 * 4096);
        target_set_faults(w->target, &f);
        for (unsigned k = 0; k < 2; k++) { /* the second one */
            if (rows[i].writes)
                (void)ipuppet_write(p, 8, 4096, 4096);
            else
                (void)ipuppet_read(p, 0, 4096, 4096);
            if (k == 0)
                ipuppet_expect(p, ISCSI_OP_SCSI_RSP);
        }
        if (!rows[i].writes) {
            assert_int_equal(p->mem[4096], 0x77);
            memset(p->mem, 0x22, 3 * 4096);
        }
        iworld_turns(w, 6);
        assert_int_equal(fake_state(p->ep), rows[i].then);
        if (rows[i].fault == TARGET_RDMA_NO_DATA)
            assert_int_equal(p->mem[4096], 0x22);
        assert_int_equal(p->mem[4095], 0x22);
        assert_int_equal(p->mem[8192], 0x22);
        if (rows[i].byte >= 0) {
            assert_true(fake_hear(p->ep, &m));
            assert_int_equal(m.len, rows[i].len);
            assert_int_equal(m.bytes[rows[i].byte] & (rows[i].byte == ISER_LEN ? 0x3f : 0xff),
                             rows[i].is);
            fake_message_free(&m);
        }
        if (rows[i].fault == TARGET_RDMA_TWICE) {
            assert_true(fake_hear(p->ep, &m));
            fake_message_free(&m);
        }
        target_set_faults(w->target, NULL);
        ipuppet_free(p);
    }
    iworld_lives(w);
}

/* ... and one of them, step by step: the response is there, and its data are not. */
static void
late_data(void **state)
{
    const struct target_faults f = {.rdma = TARGET_RDMA_DATA_LATE, .rdma_every = 1};
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));

    memset(disk(w), 0x77, 4096);
    target_set_faults(w->target, &f);
    fake_hold(p->ep, true);
    (void)ipuppet_read(p, 0, 4096, 0);
    iworld_turns(w, 3);
    fake_step(p->ep, 1);
    ipuppet_expect(p, ISCSI_OP_SCSI_RSP);
    assert_int_equal(p->mem[0], 0);
    fake_step(p->ep, 1);
    assert_int_equal(p->mem[0], 0x77);
    target_set_faults(w->target, NULL);
    fake_hold(p->ep, false);
    assert_int_equal(ipuppet_status(p, ipuppet_read(p, 0, MANY, 0)), SCSI_GOOD);
    ipuppet_free(p);
}

/* ---- Listening ------------------------------------------------------------------------------ */

static void
no_device(void **state)
{
    struct lunette_error err;
    struct iworld *w = *state;
    struct loop_config lc = {.kind = LOOP_EPOLL};
    const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const struct target_node_config node = {.name = IQN, .luns = &lun, .luns_count = 1};
    const struct target_config cfg = {.nodes = &node, .nodes_count = 1};
    struct fake_rnic rnic;
    struct target *t;
    struct loop *l;

    assert_int_equal(loop_new(&lc, &l, NULL), 0);
    l->rnic = NULL;
    assert_int_equal(target_new(l, &cfg, &t, NULL), 0);
    assert_int_equal(target_listen_rdma(t, &w->addr, NULL, &err), -EOPNOTSUPP);
    assert_string_equal(err.msg, "cannot listen for iSER on 10.0.0.1:3260: RDMA is not built into "
                                 "this program");
    fake_rnic_init(&rnic, l);
    rnic.no_device = true;
    assert_int_equal(target_listen_rdma(t, &w->addr, NULL, &err), -ENODEV);
    assert_string_equal(err.msg,
                        "cannot listen for iSER on 10.0.0.1:3260: this machine has no RDMA "
                        "device");
    target_free(t);
    l->rnic = NULL;
    l->rnic_state = NULL;
    while (loop_run(l, 0) > 0)
        ;
    loop_free(l);
}

/* The device goes: who is there is told by itself, and the target goes on without the listener. */
static void
device_goes(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));

    iworld_expect_log(w, "no longer listening for iSER on 10.0.0.1:3260: the device is gone");
    fake_unplug(&w->rnic);
    iworld_check_log(w);
    assert_null(w->rnic.listener);
    fake_leave(p->ep, true);
    ipuppet_expect_end(p);
    ipuppet_free(p);
}

static void
stop_done(void *user)
{
    *(bool *)user = true;
}

static void
target_stops(void **state)
{
    struct iworld *w = *state;
    struct ipuppet *p = ipuppet_session(w, PLAIN, KEYS(""));
    bool stopped = false;

    fake_hold(p->ep, true);
    (void)ipuppet_write(p, 0, MANY, 0);
    iworld_turns(w, 2);
    target_stop(w->target, stop_done, &stopped);
    assert_null(w->rnic.listener);
    for (unsigned i = 0; i < 500 && !stopped; i++)
        iworld_turns(w, 1);
    assert_true(stopped);
    assert_int_equal(fake_state(p->ep), FAKE_GONE);
    ipuppet_free(p);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(connecting),
        T(reads_and_writes),
        T(deep_queue),
        T(immediate_data),
        T(header_segments),
        T(residuals),
        T(sense_data),
        T(stags_are_invalidated),
        cmocka_unit_test(stags_are_kept),
        T(control_pdus),
        T(discovery),
        T(max_recv_is_ignored),
        T(target_tells),
        T(abort_waits_for_reads),
        T(abort_of_what_is_idle),
        T(ends_at_each_step),
        T(reinstatement),
        T(pings_without_end),
        T(no_memory_to_lock),
        T(bad_messages),
        T(bad_logins),
        T(long_messages),
        T(missing_stags),
        T(wrong_stags),
        T(data_out_pdus),
        T(unasked_data),
        T(random_messages),
        T(lives_at_random),
        T(faults),
        T(late_data),
        T(no_device),
        T(device_goes),
        T(target_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
