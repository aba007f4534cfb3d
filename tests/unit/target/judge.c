/* SPDX-License-Identifier: MIT */
#include "tests/unit/target/judge.h"

#include <string.h>

#include "tests/test.h"

#include "wire/bhs.h"
#include "wire/pdu.h"
#include "wire/scsi.h"
#include "wire/sn.h"
#include "wire/text.h"

#define MUST(rule, cond)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail_msg("%s: %s of the target: %s does not hold", rule, name_of(h), #cond);           \
    } while (0)

static const char *
name_of(const union bhs_any *h)
{
    return pdu_opcode_name(pdu_opcode(&h->h));
}

void
judge_init(struct judge *j)
{
    *j = (struct judge){.limit = ISCSI_LOGIN_DSEG_MAX, .limit_next = ISCSI_LOGIN_DSEG_MAX};
}

static struct judge_task *
task_of(struct judge *j, uint32_t itt)
{
    struct judge_task *t = &j->tasks[itt % JUDGE_TASKS];

    return t->live && t->itt == itt ? t : NULL;
}

/* The number that a pair of the text says; 0: there is none. */
static uint32_t
number_in(const uint8_t *text, uint32_t len, const char *key)
{
    struct text_iter it;
    struct text_pair p;
    uint64_t n;

    text_iter_init(&it, (const char *)text, len);
    while (text_next(&it, &p, NULL) == 1) {
        if (text_is(p.key, p.key_len, key) && text_parse_num(p.value, p.value_len, &n) == 0)
            return (uint32_t)n;
    }
    return 0;
}

void
judge_sent(struct judge *j, const void *bhs, const uint8_t *data, uint32_t len)
{
    const union bhs_any *h = bhs;
    struct judge_task *t = &j->tasks[get32(h->h.itt) % JUDGE_TASKS];
    uint32_t n;

    switch (pdu_opcode(&h->h)) {
    case ISCSI_OP_LOGIN_REQ:
        j->login_flags = h->login_req.flags;
        j->login_itt = get32(h->login_req.itt);
        memcpy(j->login_isid, h->login_req.isid, sizeof(j->login_isid));
        j->recovers |= get16(h->login_req.tsih) != 0; /* its session may, and tasks come over */
        n = number_in(data, len, "MaxRecvDataSegmentLength");
        j->limit_next = n != 0 ? n : j->limit_next;
        break;
    case ISCSI_OP_TEXT_REQ:
        n = number_in(data, len, "MaxRecvDataSegmentLength");
        j->limit_next = n != 0 ? n : j->limit_next;
        break;
    case ISCSI_OP_SCSI_CMD:
        if (task_of(j, get32(h->h.itt)) != NULL) /* a retry, or one too many */
            break;
        *t = (struct judge_task){
            .live = true,
            .itt = get32(h->h.itt),
            .cmd_sn = get32(h->scsi_cmd.cmd_sn),
            .edtl = get32(h->scsi_cmd.edtl),
            .reads = h->h.flags & ISCSI_CMD_READ,
            .writes = h->h.flags & ISCSI_CMD_WRITE,
        };
        break;
    default:
        break;
    }
}

/* CSN-09: where the window is. */
static void
window(struct judge *j, const union bhs_any *h)
{
    uint32_t exp = get32(h->nop_in.exp_cmd_sn), max = get32(h->nop_in.max_cmd_sn);

    MUST("CSN-09", !sn_lt(max, exp - 1));
    if (j->window_any) {
        MUST("CSN-09", !sn_lt(exp, j->exp_cmd_sn));
        MUST("CSN-09", !sn_lt(max, j->max_cmd_sn));
    }
    j->window_any = true;
    j->exp_cmd_sn = exp;
    j->max_cmd_sn = max;
}

/* SSN-02 to SSN-04: what takes a number. */
static void
number(struct judge *j, const union bhs_any *h)
{
    uint8_t op = pdu_opcode(&h->h);
    bool s = op == ISCSI_OP_DATA_IN && (h->data_in.flags & ISCSI_DATA_IN_STATUS);
    bool ping = op == ISCSI_OP_NOP_IN && get32(h->h.itt) == ISCSI_TAG_RSVD;
    bool takes = op != ISCSI_OP_R2T && !ping && (op != ISCSI_OP_DATA_IN || s);
    uint32_t sn = get32(h->nop_in.stat_sn);

    if (op == ISCSI_OP_DATA_IN && !s)
        return; /* it has none */
    if (j->numbered_any && !j->recovers)
        MUST(takes ? "SSN-04" : "SSN-03", sn == j->stat_sn);
    if (takes) {
        j->stat_sn = sn + 1;
        j->numbered_any = true;
    }
}

/* LGR-01, LGN-08, ID-06, ID-07 */
static void
login(struct judge *j, const union bhs_any *h, const uint8_t *data, uint32_t len)
{
    const struct bhs_login_rsp *r = &h->login_rsp;
    bool transit = r->flags & ISCSI_LOGIN_TRANSIT;
    unsigned asked = bhs_login_nsg(j->login_flags);
    uint32_t n;

    MUST("LGN-01", !j->full_feature);
    MUST("ID-07", memcmp(r->isid, j->login_isid, sizeof(j->login_isid)) == 0);
    MUST("ID-07", get32(r->itt) == j->login_itt);
    MUST("LGR-04", r->version_max == 0 && r->version_active == 0);
    MUST("PDU-02", (r->flags & 0x30) == 0);
    if (r->status_class != 0) {
        MUST("LGR-01", !transit);
        return;
    }
    MUST("LGR-01", bhs_login_csg(r->flags) == bhs_login_csg(j->login_flags));
    MUST("LGR-01", !transit || !(r->flags & ISCSI_LOGIN_CONTINUE));
    MUST("LGR-01", !transit || (j->login_flags & ISCSI_LOGIN_TRANSIT));
    MUST("LGR-01", !transit || bhs_login_nsg(r->flags) <= asked);
    MUST("PDU-02", transit || bhs_login_nsg(r->flags) == 0);
    n = number_in(data, len, "MaxBurstLength");
    j->max_burst = n != 0 ? n : j->max_burst;
    j->recovers |= number_in(data, len, "ErrorRecoveryLevel") > 0;
    if (transit && bhs_login_nsg(r->flags) == ISCSI_STAGE_FFP) {
        MUST("ID-06", get16(r->tsih) != 0);
        j->full_feature = true;
        j->limit = j->limit_next;
    }
}

/* RSP-02, RSP-03: the flags of residuals and their counts, which have one place in both PDUs. */
static void
residuals(const union bhs_any *h, const struct judge_task *t)
{
    uint8_t f = h->h.flags;
    uint32_t count = get32(h->scsi_rsp.residual);

    MUST("RSP-02", (f & (ISCSI_RSP_OVERFLOW | ISCSI_RSP_UNDERFLOW)) !=
                       (ISCSI_RSP_OVERFLOW | ISCSI_RSP_UNDERFLOW));
    MUST("RSP-03", (f & (ISCSI_RSP_OVERFLOW | ISCSI_RSP_UNDERFLOW)) || count == 0);
    MUST("RSP-04", !(f & ISCSI_RSP_UNDERFLOW) || count <= t->edtl);
}

static void
response(struct judge *j, const union bhs_any *h, const uint8_t *data, uint32_t len)
{
    const struct bhs_scsi_rsp *r = &h->scsi_rsp;
    struct judge_task *t = task_of(j, get32(r->itt));

    if (t == NULL && j->recovers) /* again */
        return;
    MUST("TMR-02", t != NULL); /* nothing comes for what is over, or never was */
    MUST("PDU-02", (r->flags & 0x61) == 0);
    MUST("PL-03", get16(r->status_qualifier) == 0);
    residuals(h, t);
    if (r->response != 0)
        MUST("RSP-02", (r->flags & ISCSI_RSP_RESIDUALS) == 0);
    if (r->status == SCSI_CHECK_CONDITION)
        MUST("RSP-07", len > 2);
    if (len > 0)
        MUST("RSP-07", len >= 2u && ld_be16(data) + 2u <= len);
    if (!j->recovers)
        MUST("DSN-08", get32(r->exp_data_sn) == t->data_sn);
    t->live = false;
}

/* DIN-01, DIN-02, DIN-04, DSN-01, RSP-11, KEY-14 */
static void
data_in(struct judge *j, const union bhs_any *h, uint32_t len)
{
    const struct bhs_data_in *d = &h->data_in;
    struct judge_task *t = task_of(j, get32(d->itt));
    bool s = d->flags & ISCSI_DATA_IN_STATUS, f = d->flags & ISCSI_FLAG_FINAL;

    if (t == NULL && j->recovers)
        return;
    MUST("TMR-02", t != NULL);
    MUST("ID-14", t->reads);
    MUST("DIN-01", !s || f);
    MUST("PDU-02", (d->flags & 0x38) == 0);
    if (s) {
        MUST("RSP-11", d->status == SCSI_GOOD || d->status == SCSI_CONDITION_MET);
        residuals(h, t);
    } else {
        MUST("DIN-01", d->status == 0 && get32(d->residual) == 0 && (d->flags & 6) == 0);
    }
    if (!j->recovers) {
        MUST("DIN-04", !(d->flags & ISCSI_DATA_IN_ACK) && get32(d->ttt) == ISCSI_TAG_RSVD);
        MUST("DSN-01", get32(d->data_sn) == t->data_sn);
        MUST("KEY-14", get32(d->offset) == t->in_off);
        t->in_burst += len;
        MUST("DIN-02", j->max_burst == 0 || t->in_burst <= j->max_burst);
        MUST("DOU-05", f || len % 4 == 0);
        t->in_burst = f ? 0 : t->in_burst;
    }
    MUST("DIN-03", get32(d->offset) <= t->edtl && len <= t->edtl - get32(d->offset));
    t->in_off = get32(d->offset) + len;
    t->data_sn++;
    t->live = !s;
}

/* R2T-02, DSN-03 */
static void
r2t(struct judge *j, const union bhs_any *h)
{
    const struct bhs_r2t *r = &h->r2t;
    struct judge_task *t = task_of(j, get32(r->itt));
    uint32_t off = get32(r->offset), len = get32(r->desired_len);

    if (t == NULL && j->recovers)
        return;
    MUST("TMR-02", t != NULL);
    MUST("ID-14", t->writes);
    MUST("R2T-02", get32(r->ttt) != ISCSI_TAG_RSVD);
    MUST("R2T-02", len > 0 && (j->max_burst == 0 || len <= j->max_burst));
    MUST("R2T-03", off <= t->edtl && len <= t->edtl - off);
    if (!j->recovers)
        MUST("DSN-03", get32(r->r2t_sn) == t->r2t_sn);
    t->r2t_sn = get32(r->r2t_sn) + 1;
}

/* TXR-01; and what it settles of our limit. */
static void
text(struct judge *j, const union bhs_any *h)
{
    const struct bhs_text_rsp *r = &h->text_rsp;
    bool final = r->flags & ISCSI_FLAG_FINAL;

    MUST("TXR-01", !final || !(r->flags & ISCSI_TEXT_CONTINUE));
    MUST("TXR-01", final == (get32(r->ttt) == ISCSI_TAG_RSVD));
    MUST("PDU-02", (r->flags & 0x3f) == 0);
    if (final)
        j->limit = j->limit_next;
}

static void
nop_in(const union bhs_any *h, uint32_t len)
{
    bool answer = get32(h->nop_in.itt) != ISCSI_TAG_RSVD;

    MUST("NPI-01", !answer || get32(h->nop_in.ttt) == ISCSI_TAG_RSVD);
    MUST("NPI-02", answer || len == 0);
}

static void
reject(struct judge *j, const union bhs_any *h, const uint8_t *data, uint32_t len)
{
    static const uint8_t reasons[] = {2, 3, 4, 5, 6, 7, 8, 9, 10, 12};
    const struct bhs *bad = (const struct bhs *)(const void *)data;

    MUST("REJ-01", get32(h->h.itt) == ISCSI_TAG_RSVD);
    MUST("REJ-02", memchr(reasons, h->reject.reason, sizeof(reasons)) != NULL);
    MUST("REJ-01", len >= ISCSI_BHS_LEN && len == ISCSI_BHS_LEN + pdu_ahs_len(bad));
    /* REJ-04: a command that was rejected is over; it may be one that runs by that tag already. */
    if (pdu_opcode(bad) == ISCSI_OP_SCSI_CMD && h->reject.reason != ISCSI_REJECT_TASK_IN_PROGRESS &&
        h->reject.reason != ISCSI_REJECT_DATA_DIGEST)
        j->tasks[get32(bad->itt) % JUDGE_TASKS].live = false;
}

/* PDU-02: bytes that are reserved in all PDUs of a kind; a bit for each, byte 0 is bit 0. */
static uint64_t
reserved_bytes(uint8_t opcode)
{
#define BYTES(from, to) (((1ull << ((to) - (from))) - 1) << (from))
    switch (opcode) {
    case ISCSI_OP_NOP_IN:
        return BYTES(2, 4) | BYTES(36, 48);
    case ISCSI_OP_SCSI_RSP:
        return BYTES(10, 16);
    case ISCSI_OP_TMF_RSP:
        return BYTES(3, 4) | BYTES(11, 16) | BYTES(20, 24) | BYTES(36, 48);
    case ISCSI_OP_LOGIN_RSP:
        return BYTES(20, 24) | BYTES(38, 48);
    case ISCSI_OP_TEXT_RSP:
        return BYTES(2, 4) | BYTES(36, 48);
    case ISCSI_OP_DATA_IN:
        return BYTES(2, 3);
    case ISCSI_OP_LOGOUT_RSP:
        return BYTES(3, 4) | BYTES(8, 16) | BYTES(20, 24) | BYTES(36, 40) | BYTES(44, 48);
    case ISCSI_OP_R2T:
        return BYTES(2, 4);
    case ISCSI_OP_ASYNC:
        return BYTES(2, 4) | BYTES(20, 24) | BYTES(44, 48);
    default:
        return BYTES(3, 4) | BYTES(8, 16) | BYTES(20, 24) | BYTES(40, 48);
    }
}

void
judge_got(struct judge *j, const void *bhs, const uint8_t *data, uint32_t len, const uint8_t *pad)
{
    const union bhs_any *h = bhs;
    uint8_t op = pdu_opcode(&h->h);
    struct lunette_error err;
    bool refusal = op == ISCSI_OP_LOGIN_RSP && h->login_rsp.status_class != 0;

    if (j->off)
        return;
    /* PDU-04 to PDU-07, TMF-01, TMR-01: opcode, no AHS, data where there may be some */
    if (pdu_check_header(&h->h, PDU_FROM_TARGET, j->limit, &err) < 0)
        fail_msg("PDU-05: %s", err.msg);
    MUST("PDU-02", (h->h.opcode & 0xc0) == 0);
    for (unsigned i = 0; i < ISCSI_BHS_LEN; i++)
        MUST("PDU-02", !(reserved_bytes(op) >> i & 1) || ((const uint8_t *)bhs)[i] == 0);
    for (uint32_t i = 0; i < pdu_pad(len); i++)
        MUST("PDU-08", pad[i] == 0);
    MUST("LGN-01", op == ISCSI_OP_LOGIN_RSP || j->full_feature);
    if (op != ISCSI_OP_LOGIN_RSP && op != ISCSI_OP_DATA_IN && op != ISCSI_OP_TEXT_RSP)
        MUST("PDU-02", h->h.flags & ISCSI_FLAG_FINAL);
    if (!refusal) {
        window(j, h);
        number(j, h);
    }
    switch (op) {
    case ISCSI_OP_LOGIN_RSP:
        login(j, h, data, len);
        break;
    case ISCSI_OP_SCSI_RSP:
        response(j, h, data, len);
        break;
    case ISCSI_OP_DATA_IN:
        data_in(j, h, len);
        break;
    case ISCSI_OP_R2T:
        r2t(j, h);
        break;
    case ISCSI_OP_TEXT_RSP:
        text(j, h);
        break;
    case ISCSI_OP_NOP_IN:
        nop_in(h, len);
        break;
    case ISCSI_OP_REJECT:
        reject(j, h, data, len);
        break;
    case ISCSI_OP_TMF_RSP:
        MUST("TMR-01", h->tmf_rsp.response <= ISCSI_TMF_RSP_SUCCEEDED ||
                           h->tmf_rsp.response == ISCSI_TMF_RSP_REJECTED);
        break;
    case ISCSI_OP_LOGOUT_RSP:
        MUST("LOR-01", h->logout_rsp.response <= ISCSI_LOGOUT_RSP_CLEANUP_FAILED);
        break;
    default:
        MUST("ASY-01", get32(h->h.itt) == ISCSI_TAG_RSVD);
        break;
    }
}
