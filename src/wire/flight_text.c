/* SPDX-License-Identifier: MIT */
/* wire/flight_text.c - headers as lines, by the names of RFC 7143. */
#include <stdarg.h>
#include <stdio.h>

#include "wire/flight.h"
#include "wire/lun.h"
#include "wire/names.h"
#include "wire/pdu.h"
#include "wire/scsi.h"

struct line {
    char *text;
    size_t at;
};

static void __attribute__((format(printf, 2, 3))) flight_put(struct line *l, const char *fmt, ...)
{
    size_t room = FLIGHT_TEXT_MAX - l->at;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(l->text + l->at, room, fmt, ap);
    va_end(ap);
    if (n > 0)
        l->at += (size_t)n < room ? (size_t)n : room - 1;
}

static void
put_number(struct line *l, const char *name, struct be32 v)
{
    flight_put(l, " %s %u", name, get32(v));
}

static void
put_tag(struct line *l, const char *name, struct be32 v)
{
    if (get32(v) != ISCSI_TAG_RSVD)
        flight_put(l, " %s %08x", name, get32(v));
}

static void
put_lun(struct line *l, const uint8_t lun[8])
{
    uint64_t number = lun_to_view(lun_load(lun));

    (void)lun_to_number(lun_load(lun), &number);
    flight_put(l, " LUN %llu", (unsigned long long)number);
}

/* The numbers that most requests have at 24, and most responses. */
static void
put_request(struct line *l, const union bhs_any *h)
{
    put_number(l, "CmdSN", h->nop_out.cmd_sn);
    put_number(l, "ExpStatSN", h->nop_out.exp_stat_sn);
}

static void
put_response(struct line *l, const union bhs_any *h)
{
    put_number(l, "StatSN", h->nop_in.stat_sn);
    put_number(l, "ExpCmdSN", h->nop_in.exp_cmd_sn);
    put_number(l, "MaxCmdSN", h->nop_in.max_cmd_sn);
}

static void
put_flags(struct line *l, uint8_t flags, const char *names)
{
    char set[9];
    unsigned n = 0;

    for (unsigned i = 0; i < 8; i++) {
        if (names[i] != '.' && (flags & 0x80u >> i) != 0)
            set[n++] = names[i];
    }
    set[n] = '\0';
    if (n > 0)
        flight_put(l, " %s", set);
}

static void
put_text_pdu(struct line *l, uint8_t flags, struct be32 ttt)
{
    put_flags(l, flags, "FC......");
    put_tag(l, "TTT", ttt);
}

/* Where data goes; name: of its number. */
static void
put_data(struct line *l, const char *name, struct be32 sn, struct be32 offset)
{
    put_number(l, name, sn);
    put_number(l, "Offset", offset);
}

static void
put_residual(struct line *l, uint8_t flags, struct be32 residual)
{
    if (flags & (ISCSI_RSP_OVERFLOW | ISCSI_RSP_UNDERFLOW))
        flight_put(l, " %s %u", flags & ISCSI_RSP_OVERFLOW ? "overflow" : "underflow",
                   get32(residual));
}

static void
put_stages(struct line *l, uint8_t flags)
{
    put_flags(l, flags, "TC......");
    flight_put(l, " CSG %u NSG %u", flags >> 2 & 3u, flags & 3u);
}

static void
text_initiator(struct line *l, const union bhs_any *h)
{
    switch (pdu_opcode(&h->h)) {
    case ISCSI_OP_NOP_OUT:
        put_tag(l, "TTT", h->nop_out.ttt);
        put_request(l, h);
        break;
    case ISCSI_OP_SCSI_CMD:
        put_flags(l, h->h.flags, "FRW.....");
        put_lun(l, h->scsi_cmd.lun);
        flight_put(l, " CDB %02x %s", h->scsi_cmd.cdb[0], cdb_name(h->scsi_cmd.cdb, 16));
        put_number(l, "EDTL", h->scsi_cmd.edtl);
        put_request(l, h);
        break;
    case ISCSI_OP_TMF_REQ:
        flight_put(l, " %s", iscsi_tmf_name(h->h.flags & 0x7f));
        put_lun(l, h->h.lun);
        put_tag(l, "RefTag", h->tmf_req.ref_tag);
        put_number(l, "RefCmdSN", h->tmf_req.ref_cmd_sn);
        put_request(l, h);
        break;
    case ISCSI_OP_LOGIN_REQ:
        put_stages(l, h->h.flags);
        flight_put(l, " CID %u TSIH %u", get16(h->login_req.cid), get16(h->login_req.tsih));
        put_request(l, h);
        break;
    case ISCSI_OP_TEXT_REQ:
        put_text_pdu(l, h->h.flags, h->text_req.ttt);
        put_request(l, h);
        break;
    case ISCSI_OP_DATA_OUT:
        put_flags(l, h->h.flags, "F.......");
        put_tag(l, "TTT", h->data_out.ttt);
        put_data(l, "DataSN", h->data_out.data_sn, h->data_out.offset);
        put_number(l, "ExpStatSN", h->data_out.exp_stat_sn);
        break;
    case ISCSI_OP_LOGOUT_REQ:
        flight_put(l, " %s", iscsi_logout_reason_name(h->h.flags & 0x7f));
        flight_put(l, " CID %u", get16(h->logout_req.cid));
        put_request(l, h);
        break;
    default:
        break;
    }
}

static void
text_target(struct line *l, const union bhs_any *h)
{
    switch (pdu_opcode(&h->h)) {
    case ISCSI_OP_NOP_IN:
        put_tag(l, "TTT", h->nop_in.ttt);
        break;
    case ISCSI_OP_SCSI_RSP:
        flight_put(l, " response %u status %02x", h->scsi_rsp.response, h->scsi_rsp.status);
        put_residual(l, h->h.flags, h->scsi_rsp.residual);
        put_number(l, "ExpDataSN", h->scsi_rsp.exp_data_sn);
        break;
    case ISCSI_OP_TMF_RSP:
        flight_put(l, " %s", iscsi_tmf_response_name(h->tmf_rsp.response));
        break;
    case ISCSI_OP_LOGIN_RSP:
        put_stages(l, h->h.flags);
        flight_put(l, " status %02x%02x TSIH %u", h->login_rsp.status_class,
                   h->login_rsp.status_detail, get16(h->login_rsp.tsih));
        break;
    case ISCSI_OP_TEXT_RSP:
        put_text_pdu(l, h->h.flags, h->text_rsp.ttt);
        break;
    case ISCSI_OP_DATA_IN:
        put_flags(l, h->h.flags, "FA.....S");
        put_data(l, "DataSN", h->data_in.data_sn, h->data_in.offset);
        if (h->h.flags & ISCSI_DATA_IN_STATUS) {
            flight_put(l, " status %02x", h->data_in.status);
            put_residual(l, h->h.flags, h->data_in.residual);
        }
        break;
    case ISCSI_OP_R2T:
        put_tag(l, "TTT", h->r2t.ttt);
        put_data(l, "R2TSN", h->r2t.r2t_sn, h->r2t.offset);
        put_number(l, "Desired", h->r2t.desired_len);
        break;
    case ISCSI_OP_LOGOUT_RSP:
        flight_put(l, " %s", iscsi_logout_response_name(h->logout_rsp.response));
        break;
    case ISCSI_OP_ASYNC:
        flight_put(l, " %s", iscsi_async_name(h->async.event));
        break;
    case ISCSI_OP_REJECT:
        flight_put(l, " %s", iscsi_reject_name(h->reject.reason));
        break;
    default:
        break;
    }
    put_response(l, h);
}

void
flight_text(const struct bhs *h, char *text)
{
    struct line l = {.text = text};
    uint8_t op = pdu_opcode(h);

    text[0] = '\0';
    flight_put(&l, "%s", pdu_opcode_name(op));
    if (strcmp(pdu_opcode_name(op), "unknown opcode") == 0)
        flight_put(&l, " %02x", op);
    if (h->opcode & ISCSI_OP_IMMEDIATE)
        flight_put(&l, " I");
    put_tag(&l, "ITT", h->itt);
    if (pdu_dseg_len(h) > 0)
        flight_put(&l, " data %u", pdu_dseg_len(h));
    if (op & 0x20)
        text_target(&l, (const void *)h);
    else
        text_initiator(&l, (const void *)h);
}
