/* SPDX-License-Identifier: MIT */
#include "tests/unit/target/iser_puppet.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "wire/lun.h"
#include "wire/text.h"

#define TURNS_MAX   3000
#define QUIET_TURNS 20

static void
count_line(void *user, enum log_level level, const char *line)
{
    struct iworld *w = user;

    (void)level;
    w->log_count += w->log_has != NULL && strstr(line, w->log_has) != NULL;
}

void
iworld_new(struct iworld *w, const struct target_config *like, const struct target_key_value *set,
           uint32_t set_count)
{
    static const struct lu_config luns[] = {
        {.kind = LU_RAM, .size = LUN_SIZE, .lun = -1, .wce = -1},
    };
    const struct target_node_config node = {
        .name = IQN, .luns = luns, .luns_count = 1, .set = set, .set_count = set_count};
    const struct loop_config lc = {.kind = LOOP_EPOLL};
    struct target_config cfg = like != NULL ? *like : (struct target_config){0};
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&w->addr.ss;

    memset(w, 0, sizeof(*w));
    w->log = (struct log){.level = LOG_LEVEL_DEBUG, .sink = count_line, .user = w};
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(0x0a000001);
    in->sin_port = htons(3260);
    w->addr.len = sizeof(*in);
    cfg.nodes = &node;
    cfg.nodes_count = 1;
    cfg.ping_timeout_ms = 1500;
    cfg.stop_timeout_ms = 100;
    assert_int_equal(loop_new(&lc, &w->loop, NULL), 0);
    w->loop->log = &w->log;
    fake_rnic_init(&w->rnic, w->loop);
    assert_int_equal(target_new(w->loop, &cfg, &w->target, NULL), 0);
    assert_int_equal(target_listen_rdma(w->target, &w->addr, NULL, NULL), 0);
}

void
iworld_free(struct iworld *w)
{
    target_free(w->target);
    assert_int_equal(w->rnic.eps, 0);
    assert_int_equal(w->rnic.locked, 0);
    while (loop_run(w->loop, 0) > 0)
        ;
    w->loop->rnic = NULL;
    w->loop->rnic_state = NULL;
    loop_free(w->loop);
}

void
iworld_turns(struct iworld *w, unsigned n)
{
    while (n-- > 0)
        (void)loop_run(w->loop, (int64_t)LOOP_NS_PER_MS);
}

struct ipuppet *
ipuppet_begin(struct iworld *w, uint8_t flags)
{
    struct ipuppet *p = calloc(1, sizeof(*p));
    uint8_t priv[ISER_PRIVATE_LEN];

    assert_non_null(p);
    p->mem = calloc(1, MEM_SIZE);
    assert_non_null(p->mem);
    p->w = w;
    p->isid[0] = 0x80;
    p->cmd_sn = 1;
    p->itt = 100;
    iser_put_private(priv, flags);
    p->ep = fake_connect(&w->rnic, priv, sizeof(priv));
    fake_open(p->ep, (struct fake_key){.rkey = MEM_RKEY,
                                       .addr = p->mem,
                                       .len = MEM_SIZE,
                                       .access = RNIC_PEER_READS | RNIC_PEER_WRITES});
    return p;
}

struct ipuppet *
ipuppet_new(struct iworld *w, uint8_t flags)
{
    struct ipuppet *p = ipuppet_begin(w, flags);

    iworld_turns(w, 3);
    return p;
}

void
ipuppet_free(struct ipuppet *p)
{
    if (fake_state(p->ep) == FAKE_UP) {
        fake_leave(p->ep, true);
        iworld_turns(p->w, 5);
    }
    fake_message_free(&p->rx);
    fake_free(p->ep);
    free(p->mem);
    free(p);
}

void
ipuppet_send(struct ipuppet *p, const struct iser_stag *write, const struct iser_stag *read,
             void *bhs, const void *data, uint32_t len)
{
    static uint8_t msg[64u << 10];
    uint32_t pad = pdu_pad(len);

    assert_true(ISER_HDRS_LEN + len + pad <= sizeof(msg));
    memset(msg, 0, sizeof(msg));
    iser_put((struct iser_hdr *)(void *)msg, write, read);
    ((struct bhs *)bhs)->dseg_len = put24(len);
    ((struct bhs_scsi_cmd *)bhs)->exp_stat_sn = put32(p->exp_stat_sn);
    memcpy(msg + ISER_LEN, bhs, ISCSI_BHS_LEN);
    if (len > 0)
        memcpy(msg + ISER_HDRS_LEN, data, len);
    fake_say(p->ep, msg, ISER_HDRS_LEN + len + pad);
}

bool
ipuppet_recv(struct ipuppet *p)
{
    struct lunette_error err;

    fake_message_free(&p->rx);
    for (unsigned i = 0; i < QUIET_TURNS; i++) {
        iworld_turns(p->w, 1);
        if (!fake_hear(p->ep, &p->rx))
            continue;
        if (iser_take(p->rx.bytes, p->rx.len, PDU_FROM_TARGET, ISER_DSEG_MAX, &p->pdu, &err) < 0)
            fail_msg("%s", err.msg);
        p->h = (const union bhs_any *)(const void *)p->pdu.hdr;
        if (pdu_opcode(p->pdu.hdr) != ISCSI_OP_NOP_IN || get32(p->h->nop_in.itt) != ISCSI_TAG_RSVD)
            p->exp_stat_sn = get32(p->h->nop_in.stat_sn) + 1;
        return true;
    }
    return false;
}

void
ipuppet_expect(struct ipuppet *p, uint8_t opcode)
{
    assert_true(ipuppet_recv(p));
    assert_string_equal(pdu_opcode_name(pdu_opcode(p->pdu.hdr)), pdu_opcode_name(opcode));
}

uint16_t
ipuppet_login(struct ipuppet *p, const char *session, const char *keys, size_t len)
{
    static const char target[] = "TargetName=" IQN;
    static const char names[] =
        "InitiatorName=" INITIATOR "\0HeaderDigest=None\0DataDigest=None\0RDMAExtensions=Yes\0"
        "InitiatorRecvDataSegmentLength=8192\0"
        "TargetRecvDataSegmentLength=8192\0SessionType=";
    struct bhs_login_req h;
    char text[1024];
    size_t at = sizeof(names) - 1;

    memcpy(text, names, sizeof(names));
    memcpy(text + at, session, strlen(session) + 1);
    at += strlen(session) + 1;
    if (!p->nobody) {
        memcpy(text + at, target, sizeof(target));
        at += sizeof(target);
    }
    if (len > 1)
        memcpy(text + at, keys, len);
    at += len > 1 ? len : 0;
    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT));
    memcpy(h.isid, p->isid, sizeof(h.isid));
    h.itt = put32(7);
    h.cmd_sn = put32(p->cmd_sn);
    ipuppet_send(p, NULL, NULL, &h, text, (uint32_t)at);
    ipuppet_expect(p, ISCSI_OP_LOGIN_RSP);
    return (uint16_t)(p->h->login_rsp.status_class << 8 | p->h->login_rsp.status_detail);
}

uint32_t
ipuppet_cmd(struct ipuppet *p, uint8_t flags, const uint8_t *cdb, uint32_t edtl,
            const struct iser_stag *write, const struct iser_stag *read, const void *data,
            uint32_t len)
{
    struct bhs_scsi_cmd h;

    bhs_init(&h, ISCSI_OP_SCSI_CMD, flags);
    lun_store(h.lun, lun_from_number(0));
    h.itt = put32(++p->itt);
    h.cmd_sn = put32(p->cmd_sn++);
    h.edtl = put32(edtl);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    ipuppet_send(p, write, read, &h, data, len);
    return p->itt;
}

static struct iser_stag
stag_at(const struct ipuppet *p, uint32_t off)
{
    return (struct iser_stag){.stag = MEM_RKEY, .base = (uintptr_t)p->mem + off};
}

uint32_t
ipuppet_write(struct ipuppet *p, uint64_t lba, uint32_t bytes, uint32_t off)
{
    struct iser_stag s = stag_at(p, off);
    uint8_t cdb[CDB_MAX];

    (void)cdb_write16(cdb, lba, bytes / 512, 0);
    return ipuppet_cmd(p, WR, cdb, bytes, &s, NULL, NULL, 0);
}

uint32_t
ipuppet_read(struct ipuppet *p, uint64_t lba, uint32_t bytes, uint32_t off)
{
    struct iser_stag s = stag_at(p, off);
    uint8_t cdb[CDB_MAX];

    (void)cdb_read16(cdb, lba, bytes / 512, 0);
    return ipuppet_cmd(p, RD, cdb, bytes, NULL, &s, NULL, 0);
}

uint8_t
ipuppet_status(struct ipuppet *p, uint32_t itt)
{
    ipuppet_expect(p, ISCSI_OP_SCSI_RSP);
    assert_int_equal(get32(p->h->scsi_rsp.itt), itt);
    return p->h->scsi_rsp.status;
}

struct ipuppet *
ipuppet_session(struct iworld *w, uint8_t flags, const char *keys, size_t len)
{
    struct ipuppet *p = ipuppet_new(w, flags);
    uint8_t cdb[CDB_MAX];
    uint32_t itt;

    assert_int_equal(fake_state(p->ep), FAKE_UP);
    assert_int_equal(ipuppet_login(p, "Normal", keys, len), 0);
    (void)cdb_test_unit_ready(cdb);
    do {
        itt = ipuppet_cmd(p, ISCSI_FLAG_FINAL, cdb, 0, NULL, NULL, NULL, 0);
    } while (ipuppet_status(p, itt) != SCSI_GOOD);
    return p;
}

void
ipuppet_expect_end(struct ipuppet *p)
{
    for (unsigned i = 0; i < TURNS_MAX && fake_state(p->ep) != FAKE_GONE; i++)
        iworld_turns(p->w, 1);
    assert_int_equal(fake_state(p->ep), FAKE_GONE);
}

void
iworld_expect_log(struct iworld *w, const char *words)
{
    w->log_has = words;
    w->log_count = 0;
}

void
iworld_check_log(struct iworld *w)
{
    if (w->log_count == 0)
        fail_msg("no line says: %s", w->log_has);
    w->log_has = NULL;
}

void
iworld_lives(struct iworld *w)
{
    struct ipuppet *p = ipuppet_session(w, ISER_NO_ZBVA | ISER_NO_SEND_INV, KEYS(""));

    assert_int_equal(ipuppet_status(p, ipuppet_read(p, 0, 4096, 0)), SCSI_GOOD);
    ipuppet_free(p);
}
