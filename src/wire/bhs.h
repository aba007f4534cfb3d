/* SPDX-License-Identifier: MIT */
/* wire/bhs.h - the basic header segment of every PDU, RFC 7143 section 11 (and RFC 7144 for the
 * fields of protocol level 2), as structs whose offsets are asserted below.
 *
 * Every struct is 48 bytes with alignment 1 and may overlay any buffer that
 * holds 48 bytes.  Fields called rsvd* are sent as 0 and ignored on receipt
 * (RFC 7143 11); bhs_init() clears them.
 */
#ifndef WIRE_BHS_H
#define WIRE_BHS_H

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "wire/be.h"

#define ISCSI_BHS_LEN        48
#define ISCSI_DSEG_MAX       0xffffffu   /* DataSegmentLength has 24 bits */
#define ISCSI_TAG_RSVD       0xffffffffu /* reserved Initiator/Target Transfer/Referenced Task Tag */
#define ISCSI_OP_IMMEDIATE   0x40u       /* byte 0 of requests: I */
#define ISCSI_OP_MASK        0x3fu       /* byte 0: opcode */
#define ISCSI_LOGIN_DSEG_MAX 8192u       /* in both directions while logging in (13.12) */

/* RFC 7143 11.2.1.2 */
enum iscsi_opcode {
    ISCSI_OP_NOP_OUT = 0x00,
    ISCSI_OP_SCSI_CMD = 0x01,
    ISCSI_OP_TMF_REQ = 0x02,
    ISCSI_OP_LOGIN_REQ = 0x03,
    ISCSI_OP_TEXT_REQ = 0x04,
    ISCSI_OP_DATA_OUT = 0x05,
    ISCSI_OP_LOGOUT_REQ = 0x06,
    ISCSI_OP_SNACK_REQ = 0x10,
    ISCSI_OP_NOP_IN = 0x20,
    ISCSI_OP_SCSI_RSP = 0x21,
    ISCSI_OP_TMF_RSP = 0x22,
    ISCSI_OP_LOGIN_RSP = 0x23,
    ISCSI_OP_TEXT_RSP = 0x24,
    ISCSI_OP_DATA_IN = 0x25,
    ISCSI_OP_LOGOUT_RSP = 0x26,
    ISCSI_OP_R2T = 0x31,
    ISCSI_OP_ASYNC = 0x32,
    ISCSI_OP_REJECT = 0x3f,
};

/* The flags of byte 1.  Bit 0 of the RFC is 0x80. */
#define ISCSI_FLAG_FINAL 0x80u /* F; also the bit that is always 1 where a PDU has no F */

#define ISCSI_CMD_READ      0x40u /* SCSI Command: R */
#define ISCSI_CMD_WRITE     0x20u /* SCSI Command: W */
#define ISCSI_CMD_ATTR_MASK 0x07u

#define ISCSI_TEXT_CONTINUE 0x40u /* Text Request/Response: C */

#define ISCSI_LOGIN_TRANSIT   0x80u /* T */
#define ISCSI_LOGIN_CONTINUE  0x40u /* C */
#define ISCSI_LOGIN_CSG_SHIFT 2
#define ISCSI_LOGIN_CSG_MASK  0x0cu
#define ISCSI_LOGIN_NSG_MASK  0x03u

#define ISCSI_RSP_BIDI_OVERFLOW  0x10u /* SCSI Response: o */
#define ISCSI_RSP_BIDI_UNDERFLOW 0x08u /* u */
#define ISCSI_RSP_OVERFLOW       0x04u /* O; Data-In too, with S */
#define ISCSI_RSP_UNDERFLOW      0x02u /* U; Data-In too, with S */

#define ISCSI_RSP_RESIDUALS 0x1eu /* any of the four */

#define ISCSI_DATA_IN_ACK    0x40u /* A */
#define ISCSI_DATA_IN_STATUS 0x01u /* S */

#define ISCSI_TMF_FUNC_MASK      0x7fu
#define ISCSI_LOGOUT_REASON_MASK 0x7fu
#define ISCSI_SNACK_TYPE_MASK    0x0fu

/* Task attribute, SCSI Command flags bits 0..2 (11.3.1); 5..7 are reserved. */
enum iscsi_attr {
    ISCSI_ATTR_UNTAGGED = 0,
    ISCSI_ATTR_SIMPLE = 1,
    ISCSI_ATTR_ORDERED = 2,
    ISCSI_ATTR_HEAD_OF_QUEUE = 3,
    ISCSI_ATTR_ACA = 4,
};

/* 11.4.3; 0x80..0xff are the vendor's */
enum iscsi_response {
    ISCSI_RESPONSE_COMPLETED = 0x00,
    ISCSI_RESPONSE_TARGET_FAILURE = 0x01,
};

/* 11.5.1; 9..12 are RFC 7144 5.1 (protocol level 2) */
enum iscsi_tmf {
    ISCSI_TMF_ABORT_TASK = 1,
    ISCSI_TMF_ABORT_TASK_SET = 2,
    ISCSI_TMF_CLEAR_ACA = 3,
    ISCSI_TMF_CLEAR_TASK_SET = 4,
    ISCSI_TMF_LU_RESET = 5,
    ISCSI_TMF_TARGET_WARM_RESET = 6,
    ISCSI_TMF_TARGET_COLD_RESET = 7,
    ISCSI_TMF_TASK_REASSIGN = 8,
    ISCSI_TMF_QUERY_TASK = 9,
    ISCSI_TMF_QUERY_TASK_SET = 10,
    ISCSI_TMF_I_T_NEXUS_RESET = 11,
    ISCSI_TMF_QUERY_ASYNC_EVENT = 12,
};

/* 11.6.1; 7 is RFC 7144 6.4 */
enum iscsi_tmf_response {
    ISCSI_TMF_RSP_COMPLETE = 0,
    ISCSI_TMF_RSP_NO_TASK = 1,
    ISCSI_TMF_RSP_NO_LUN = 2,
    ISCSI_TMF_RSP_STILL_ALLEGIANT = 3,
    ISCSI_TMF_RSP_REASSIGN_UNSUPPORTED = 4,
    ISCSI_TMF_RSP_UNSUPPORTED = 5,
    ISCSI_TMF_RSP_AUTH_FAILED = 6,
    ISCSI_TMF_RSP_SUCCEEDED = 7,
    ISCSI_TMF_RSP_REJECTED = 255,
};

/* 11.9.1 */
enum iscsi_async_event {
    ISCSI_ASYNC_SCSI = 0,
    ISCSI_ASYNC_LOGOUT_REQUEST = 1,
    ISCSI_ASYNC_DROP_CONNECTION = 2,
    ISCSI_ASYNC_DROP_SESSION = 3,
    ISCSI_ASYNC_NEGOTIATE = 4,
    ISCSI_ASYNC_FAST_ABORT = 5, /* all active tasks of the LU are being ended */
    ISCSI_ASYNC_VENDOR_FIRST = 248,
    ISCSI_ASYNC_VENDOR_LAST = 255,
};

/* 11.12.3; 2 is reserved */
enum iscsi_stage {
    ISCSI_STAGE_SECURITY = 0,
    ISCSI_STAGE_OPERATIONAL = 1,
    ISCSI_STAGE_FFP = 3,
};

/* 11.13.5 */
enum iscsi_login_class {
    ISCSI_LOGIN_SUCCESS = 0,
    ISCSI_LOGIN_REDIRECT = 1,
    ISCSI_LOGIN_INITIATOR_ERROR = 2,
    ISCSI_LOGIN_TARGET_ERROR = 3,
};

/* Status-Class << 8 | Status-Detail */
enum iscsi_login_status {
    ISCSI_LOGIN_OK = 0x0000,
    ISCSI_LOGIN_MOVED_TEMPORARILY = 0x0101,
    ISCSI_LOGIN_MOVED_PERMANENTLY = 0x0102,
    ISCSI_LOGIN_BAD_REQUEST = 0x0200,
    ISCSI_LOGIN_AUTH_FAILED = 0x0201,
    ISCSI_LOGIN_FORBIDDEN = 0x0202,
    ISCSI_LOGIN_NOT_FOUND = 0x0203,
    ISCSI_LOGIN_TARGET_REMOVED = 0x0204,
    ISCSI_LOGIN_BAD_VERSION = 0x0205,
    ISCSI_LOGIN_TOO_MANY_CONNECTIONS = 0x0206,
    ISCSI_LOGIN_MISSING_PARAMETER = 0x0207,
    ISCSI_LOGIN_CANNOT_INCLUDE = 0x0208,
    ISCSI_LOGIN_SESSION_TYPE = 0x0209,
    ISCSI_LOGIN_NO_SESSION = 0x020a,
    ISCSI_LOGIN_INVALID_DURING_LOGIN = 0x020b,
    ISCSI_LOGIN_TARGET_FAILURE = 0x0300,
    ISCSI_LOGIN_UNAVAILABLE = 0x0301,
    ISCSI_LOGIN_OUT_OF_RESOURCES = 0x0302,
};

/* 11.14.1 */
enum iscsi_logout_reason {
    ISCSI_LOGOUT_CLOSE_SESSION = 0,
    ISCSI_LOGOUT_CLOSE_CONNECTION = 1,
    ISCSI_LOGOUT_RECOVERY = 2,
};

/* 11.15.1 */
enum iscsi_logout_response {
    ISCSI_LOGOUT_RSP_OK = 0,
    ISCSI_LOGOUT_RSP_CID_NOT_FOUND = 1,
    ISCSI_LOGOUT_RSP_NO_RECOVERY = 2,
    ISCSI_LOGOUT_RSP_CLEANUP_FAILED = 3,
};

/* 11.16.1 */
enum iscsi_snack_type {
    ISCSI_SNACK_DATA_R2T = 0,
    ISCSI_SNACK_STATUS = 1,
    ISCSI_SNACK_DATA_ACK = 2,
    ISCSI_SNACK_R_DATA = 3,
};

/* 11.17.1 */
enum iscsi_reject_reason {
    ISCSI_REJECT_DATA_DIGEST = 0x02,
    ISCSI_REJECT_SNACK = 0x03,
    ISCSI_REJECT_PROTOCOL_ERROR = 0x04,
    ISCSI_REJECT_UNSUPPORTED = 0x05,
    ISCSI_REJECT_TOO_MANY_IMMEDIATE = 0x06,
    ISCSI_REJECT_TASK_IN_PROGRESS = 0x07,
    ISCSI_REJECT_INVALID_DATA_ACK = 0x08,
    ISCSI_REJECT_INVALID_FIELD = 0x09,
    ISCSI_REJECT_LONG_OPERATION = 0x0a,
    ISCSI_REJECT_NEGOTIATION_RESET = 0x0b, /* deprecated by RFC 7143: a negotiation failure */
    ISCSI_REJECT_WAITING_FOR_LOGOUT = 0x0c,
};

/* What all PDUs have in common (11.2.1). */
struct bhs {
    uint8_t opcode; /* bit 0x40 of requests: immediate */
    uint8_t flags;
    uint8_t op2[2];
    uint8_t ahs_words; /* TotalAHSLength, in 4-byte words */
    struct be24 dseg_len;
    uint8_t lun[8]; /* or opcode-specific */
    struct be32 itt;
    uint8_t rest[28];
};

struct bhs_scsi_cmd { /* 11.3 */
    uint8_t opcode;
    uint8_t flags; /* F R W . . ATTR(3) */
    uint8_t pri;   /* RFC 7144 5: task priority in the high nibble; 0 below protocol level 2 */
    uint8_t rsvd3;
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 edtl; /* Expected Data Transfer Length */
    struct be32 cmd_sn;
    struct be32 exp_stat_sn;
    uint8_t cdb[16];
};

struct bhs_scsi_rsp { /* 11.4 */
    uint8_t opcode;
    uint8_t flags; /* 1 . . o u O U . */
    uint8_t response;
    uint8_t status;
    uint8_t ahs_words;
    struct be24 dseg_len;
    struct be16 status_qualifier; /* RFC 7144 4: 0 below protocol level 2 */
    uint8_t rsvd10[6];
    struct be32 itt;
    struct be32 snack_tag;
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    struct be32 exp_data_sn;
    struct be32 bidi_residual;
    struct be32 residual;
};

struct bhs_tmf_req { /* 11.5 */
    uint8_t opcode;
    uint8_t flags; /* 1, Function(7) */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ref_tag; /* Referenced Task Tag */
    struct be32 cmd_sn;
    struct be32 exp_stat_sn;
    struct be32 ref_cmd_sn;
    struct be32 exp_data_sn;
    uint8_t rsvd40[8];
};

struct bhs_tmf_rsp { /* 11.6 */
    uint8_t opcode;
    uint8_t flags; /* 1 */
    uint8_t response;
    uint8_t rsvd3;
    uint8_t ahs_words;
    struct be24 dseg_len;
    struct be24 info; /* RFC 7144 6: additional response information */
    uint8_t rsvd11[5];
    struct be32 itt;
    uint8_t rsvd20[4];
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    uint8_t rsvd36[12];
};

struct bhs_data_out { /* 11.7 */
    uint8_t opcode;
    uint8_t flags; /* F */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ttt;
    uint8_t rsvd24[4];
    struct be32 exp_stat_sn;
    uint8_t rsvd32[4];
    struct be32 data_sn;
    struct be32 offset;
    uint8_t rsvd44[4];
};

struct bhs_data_in { /* 11.7 */
    uint8_t opcode;
    uint8_t flags; /* F A . . . O U S */
    uint8_t rsvd2;
    uint8_t status; /* if S */
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8]; /* if A */
    struct be32 itt;
    struct be32 ttt;     /* if A, else reserved tag */
    struct be32 stat_sn; /* if S */
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    struct be32 data_sn;
    struct be32 offset;
    struct be32 residual; /* if S */
};

struct bhs_r2t { /* 11.8 */
    uint8_t opcode;
    uint8_t flags; /* 1 */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ttt;
    struct be32 stat_sn; /* the next one; an R2T does not advance it (11.8.2) */
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    struct be32 r2t_sn;
    struct be32 offset;
    struct be32 desired_len;
};

struct bhs_async { /* 11.9 */
    uint8_t opcode;
    uint8_t flags; /* 1 */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];  /* events 0 and 5 */
    struct be32 itt; /* reserved tag */
    uint8_t rsvd20[4];
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    uint8_t event;
    uint8_t vcode;
    struct be16 param1;
    struct be16 param2;
    struct be16 param3;
    uint8_t rsvd44[4];
};

struct bhs_text_req { /* 11.10 */
    uint8_t opcode;
    uint8_t flags; /* F C */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ttt;
    struct be32 cmd_sn;
    struct be32 exp_stat_sn;
    uint8_t rsvd32[16];
};

struct bhs_text_rsp { /* 11.11 */
    uint8_t opcode;
    uint8_t flags; /* F C */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ttt;
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    uint8_t rsvd36[12];
};

struct bhs_login_req { /* 11.12 */
    uint8_t opcode;
    uint8_t flags; /* T C . . CSG(2) NSG(2) */
    uint8_t version_max;
    uint8_t version_min;
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t isid[6];
    struct be16 tsih;
    struct be32 itt;
    struct be16 cid;
    uint8_t rsvd22[2];
    struct be32 cmd_sn;
    struct be32 exp_stat_sn;
    uint8_t rsvd32[16];
};

struct bhs_login_rsp { /* 11.13 */
    uint8_t opcode;
    uint8_t flags; /* T C . . CSG(2) NSG(2) */
    uint8_t version_max;
    uint8_t version_active;
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t isid[6];
    struct be16 tsih;
    struct be32 itt;
    uint8_t rsvd20[4];
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    uint8_t status_class;
    uint8_t status_detail;
    uint8_t rsvd38[10];
};

struct bhs_logout_req { /* 11.14 */
    uint8_t opcode;
    uint8_t flags; /* 1, Reason(7) */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t rsvd8[8];
    struct be32 itt;
    struct be16 cid; /* reasons 1 and 2 */
    uint8_t rsvd22[2];
    struct be32 cmd_sn;
    struct be32 exp_stat_sn;
    uint8_t rsvd32[16];
};

struct bhs_logout_rsp { /* 11.15 */
    uint8_t opcode;
    uint8_t flags; /* 1 */
    uint8_t response;
    uint8_t rsvd3;
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t rsvd8[8];
    struct be32 itt;
    uint8_t rsvd20[4];
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    uint8_t rsvd36[4];
    struct be16 time2wait;
    struct be16 time2retain;
    uint8_t rsvd44[4];
};

struct bhs_snack_req { /* 11.16 */
    uint8_t opcode;
    uint8_t flags; /* 1 . . . Type(4) */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ttt; /* or SNACK Tag */
    uint8_t rsvd24[4];
    struct be32 exp_stat_sn;
    uint8_t rsvd32[8];
    struct be32 beg_run;
    struct be32 run_length;
};

struct bhs_reject { /* 11.17 */
    uint8_t opcode;
    uint8_t flags; /* 1 */
    uint8_t reason;
    uint8_t rsvd3;
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t rsvd8[8];
    struct be32 itt; /* reserved tag */
    uint8_t rsvd20[4];
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    struct be32 data_sn; /* DataSN/R2TSN, for Rejects of SNACK */
    uint8_t rsvd40[8];
};

struct bhs_nop_out { /* 11.18 */
    uint8_t opcode;
    uint8_t flags; /* 1 */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ttt;
    struct be32 cmd_sn;
    struct be32 exp_stat_sn;
    uint8_t rsvd32[16];
};

struct bhs_nop_in { /* 11.19 */
    uint8_t opcode;
    uint8_t flags; /* 1 */
    uint8_t rsvd2[2];
    uint8_t ahs_words;
    struct be24 dseg_len;
    uint8_t lun[8];
    struct be32 itt;
    struct be32 ttt;
    struct be32 stat_sn;
    struct be32 exp_cmd_sn;
    struct be32 max_cmd_sn;
    uint8_t rsvd36[12];
};

/* A header whose kind is known only at run time. */
union bhs_any {
    struct bhs h;
    struct bhs_nop_out nop_out;
    struct bhs_scsi_cmd scsi_cmd;
    struct bhs_tmf_req tmf_req;
    struct bhs_login_req login_req;
    struct bhs_text_req text_req;
    struct bhs_data_out data_out;
    struct bhs_logout_req logout_req;
    struct bhs_snack_req snack_req;
    struct bhs_nop_in nop_in;
    struct bhs_scsi_rsp scsi_rsp;
    struct bhs_tmf_rsp tmf_rsp;
    struct bhs_login_rsp login_rsp;
    struct bhs_text_rsp text_rsp;
    struct bhs_data_in data_in;
    struct bhs_logout_rsp logout_rsp;
    struct bhs_r2t r2t;
    struct bhs_async async;
    struct bhs_reject reject;
    uint8_t raw[ISCSI_BHS_LEN];
};

/* Clears the 48 bytes at h and sets opcode (with ISCSI_OP_IMMEDIATE where wanted) and flags. */
static inline void
bhs_init(void *h, uint8_t opcode, uint8_t flags)
{
    uint8_t *b = (uint8_t *)h;

    memset(b, 0, ISCSI_BHS_LEN);
    b[0] = opcode;
    b[1] = flags;
}

static inline uint8_t
bhs_login_flags(unsigned csg, unsigned nsg, unsigned transit_or_continue)
{
    assert(csg <= 3 && nsg <= 3 && (transit_or_continue & 0x3f) == 0);
    return (uint8_t)(transit_or_continue | csg << ISCSI_LOGIN_CSG_SHIFT | nsg);
}

static inline unsigned
bhs_login_csg(uint8_t flags)
{
    return (flags & ISCSI_LOGIN_CSG_MASK) >> ISCSI_LOGIN_CSG_SHIFT;
}

static inline unsigned
bhs_login_nsg(uint8_t flags)
{
    return flags & ISCSI_LOGIN_NSG_MASK;
}

/* Asserts the layout: BHS(type) the fields that all PDUs have, AT(type, field, byte) the others. */
#define AT(t, f, o) static_assert(offsetof(struct t, f) == (o), #t "." #f)
#define BHS(t)                                                                                     \
    static_assert(sizeof(struct t) == ISCSI_BHS_LEN && _Alignof(struct t) == 1, #t);               \
    static_assert(offsetof(struct t, opcode) == 0 && offsetof(struct t, flags) == 1, #t);          \
    static_assert(offsetof(struct t, ahs_words) == 4 && offsetof(struct t, dseg_len) == 5, #t)
BHS(bhs);
AT(bhs, opcode, 0);
AT(bhs, flags, 1);
AT(bhs, op2, 2);
AT(bhs, ahs_words, 4);
AT(bhs, dseg_len, 5);
AT(bhs, lun, 8);
AT(bhs, itt, 16);
AT(bhs, rest, 20);
BHS(bhs_nop_out);
AT(bhs_nop_out, lun, 8);
AT(bhs_nop_out, itt, 16);
AT(bhs_nop_out, ttt, 20);
AT(bhs_nop_out, cmd_sn, 24);
AT(bhs_nop_out, exp_stat_sn, 28);
AT(bhs_nop_out, rsvd32, 32);
BHS(bhs_scsi_cmd);
AT(bhs_scsi_cmd, pri, 2);
AT(bhs_scsi_cmd, lun, 8);
AT(bhs_scsi_cmd, itt, 16);
AT(bhs_scsi_cmd, edtl, 20);
AT(bhs_scsi_cmd, cmd_sn, 24);
AT(bhs_scsi_cmd, exp_stat_sn, 28);
AT(bhs_scsi_cmd, cdb, 32);
BHS(bhs_tmf_req);
AT(bhs_tmf_req, lun, 8);
AT(bhs_tmf_req, itt, 16);
AT(bhs_tmf_req, ref_tag, 20);
AT(bhs_tmf_req, cmd_sn, 24);
AT(bhs_tmf_req, exp_stat_sn, 28);
AT(bhs_tmf_req, ref_cmd_sn, 32);
AT(bhs_tmf_req, exp_data_sn, 36);
AT(bhs_tmf_req, rsvd40, 40);
BHS(bhs_login_req);
AT(bhs_login_req, version_max, 2);
AT(bhs_login_req, version_min, 3);
AT(bhs_login_req, isid, 8);
AT(bhs_login_req, tsih, 14);
AT(bhs_login_req, itt, 16);
AT(bhs_login_req, cid, 20);
AT(bhs_login_req, cmd_sn, 24);
AT(bhs_login_req, exp_stat_sn, 28);
AT(bhs_login_req, rsvd32, 32);
BHS(bhs_text_req);
AT(bhs_text_req, lun, 8);
AT(bhs_text_req, itt, 16);
AT(bhs_text_req, ttt, 20);
AT(bhs_text_req, cmd_sn, 24);
AT(bhs_text_req, exp_stat_sn, 28);
AT(bhs_text_req, rsvd32, 32);
BHS(bhs_data_out);
AT(bhs_data_out, lun, 8);
AT(bhs_data_out, itt, 16);
AT(bhs_data_out, ttt, 20);
AT(bhs_data_out, exp_stat_sn, 28);
AT(bhs_data_out, data_sn, 36);
AT(bhs_data_out, offset, 40);
AT(bhs_data_out, rsvd44, 44);
BHS(bhs_logout_req);
AT(bhs_logout_req, rsvd8, 8);
AT(bhs_logout_req, itt, 16);
AT(bhs_logout_req, cid, 20);
AT(bhs_logout_req, cmd_sn, 24);
AT(bhs_logout_req, exp_stat_sn, 28);
AT(bhs_logout_req, rsvd32, 32);
BHS(bhs_snack_req);
AT(bhs_snack_req, lun, 8);
AT(bhs_snack_req, itt, 16);
AT(bhs_snack_req, ttt, 20);
AT(bhs_snack_req, exp_stat_sn, 28);
AT(bhs_snack_req, beg_run, 40);
AT(bhs_snack_req, run_length, 44);
BHS(bhs_nop_in);
AT(bhs_nop_in, lun, 8);
AT(bhs_nop_in, itt, 16);
AT(bhs_nop_in, ttt, 20);
AT(bhs_nop_in, stat_sn, 24);
AT(bhs_nop_in, exp_cmd_sn, 28);
AT(bhs_nop_in, max_cmd_sn, 32);
AT(bhs_nop_in, rsvd36, 36);
BHS(bhs_scsi_rsp);
AT(bhs_scsi_rsp, response, 2);
AT(bhs_scsi_rsp, status, 3);
AT(bhs_scsi_rsp, status_qualifier, 8);
AT(bhs_scsi_rsp, itt, 16);
AT(bhs_scsi_rsp, snack_tag, 20);
AT(bhs_scsi_rsp, stat_sn, 24);
AT(bhs_scsi_rsp, exp_cmd_sn, 28);
AT(bhs_scsi_rsp, max_cmd_sn, 32);
AT(bhs_scsi_rsp, exp_data_sn, 36);
AT(bhs_scsi_rsp, bidi_residual, 40);
AT(bhs_scsi_rsp, residual, 44);
BHS(bhs_tmf_rsp);
AT(bhs_tmf_rsp, response, 2);
AT(bhs_tmf_rsp, info, 8);
AT(bhs_tmf_rsp, itt, 16);
AT(bhs_tmf_rsp, stat_sn, 24);
AT(bhs_tmf_rsp, exp_cmd_sn, 28);
AT(bhs_tmf_rsp, max_cmd_sn, 32);
AT(bhs_tmf_rsp, rsvd36, 36);
BHS(bhs_login_rsp);
AT(bhs_login_rsp, version_max, 2);
AT(bhs_login_rsp, version_active, 3);
AT(bhs_login_rsp, isid, 8);
AT(bhs_login_rsp, tsih, 14);
AT(bhs_login_rsp, itt, 16);
AT(bhs_login_rsp, stat_sn, 24);
AT(bhs_login_rsp, exp_cmd_sn, 28);
AT(bhs_login_rsp, max_cmd_sn, 32);
AT(bhs_login_rsp, status_class, 36);
AT(bhs_login_rsp, status_detail, 37);
AT(bhs_login_rsp, rsvd38, 38);
BHS(bhs_text_rsp);
AT(bhs_text_rsp, lun, 8);
AT(bhs_text_rsp, itt, 16);
AT(bhs_text_rsp, ttt, 20);
AT(bhs_text_rsp, stat_sn, 24);
AT(bhs_text_rsp, exp_cmd_sn, 28);
AT(bhs_text_rsp, max_cmd_sn, 32);
AT(bhs_text_rsp, rsvd36, 36);
BHS(bhs_data_in);
AT(bhs_data_in, status, 3);
AT(bhs_data_in, lun, 8);
AT(bhs_data_in, itt, 16);
AT(bhs_data_in, ttt, 20);
AT(bhs_data_in, stat_sn, 24);
AT(bhs_data_in, exp_cmd_sn, 28);
AT(bhs_data_in, max_cmd_sn, 32);
AT(bhs_data_in, data_sn, 36);
AT(bhs_data_in, offset, 40);
AT(bhs_data_in, residual, 44);
BHS(bhs_logout_rsp);
AT(bhs_logout_rsp, response, 2);
AT(bhs_logout_rsp, itt, 16);
AT(bhs_logout_rsp, stat_sn, 24);
AT(bhs_logout_rsp, exp_cmd_sn, 28);
AT(bhs_logout_rsp, max_cmd_sn, 32);
AT(bhs_logout_rsp, time2wait, 40);
AT(bhs_logout_rsp, time2retain, 42);
AT(bhs_logout_rsp, rsvd44, 44);
BHS(bhs_r2t);
AT(bhs_r2t, lun, 8);
AT(bhs_r2t, itt, 16);
AT(bhs_r2t, ttt, 20);
AT(bhs_r2t, stat_sn, 24);
AT(bhs_r2t, exp_cmd_sn, 28);
AT(bhs_r2t, max_cmd_sn, 32);
AT(bhs_r2t, r2t_sn, 36);
AT(bhs_r2t, offset, 40);
AT(bhs_r2t, desired_len, 44);
BHS(bhs_async);
AT(bhs_async, lun, 8);
AT(bhs_async, itt, 16);
AT(bhs_async, stat_sn, 24);
AT(bhs_async, exp_cmd_sn, 28);
AT(bhs_async, max_cmd_sn, 32);
AT(bhs_async, event, 36);
AT(bhs_async, vcode, 37);
AT(bhs_async, param1, 38);
AT(bhs_async, param2, 40);
AT(bhs_async, param3, 42);
AT(bhs_async, rsvd44, 44);
BHS(bhs_reject);
AT(bhs_reject, reason, 2);
AT(bhs_reject, itt, 16);
AT(bhs_reject, stat_sn, 24);
AT(bhs_reject, exp_cmd_sn, 28);
AT(bhs_reject, max_cmd_sn, 32);
AT(bhs_reject, data_sn, 36);
AT(bhs_reject, rsvd40, 40);
#undef AT
#undef BHS

#endif
