/* SPDX-License-Identifier: MIT */
/* lu/cmd.h - the device server: SCSI commands on logical units (SPC-4, SBC-3).
 *
 * It knows nothing of PDUs.  tgt_scsi_start() looks at a command and says
 * whether it is over, has data to send, or wants data; the iSCSI side moves
 * the data where tgt_scsi_place() says, then calls tgt_scsi_finish().
 */
#ifndef LU_CMD_H
#define LU_CMD_H

#include "base/htab.h"
#include "lu/unit.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define TGT_SENSE_MAX 64
#define TGT_TIMEOUT_S 30 /* RCTD: what we say a command may take */

/* Limits that page B0h tells; bytes, so that they do not depend on the block. */
#define TGT_TRANSFER_MAX   (32u << 20)
#define TGT_CAW_MAX        (64u << 10)
#define TGT_WRITE_SAME_MAX (64u << 20)
#define TGT_UNMAP_MAX      (1u << 29)
#define TGT_UNMAP_DESC_MAX 256u
#define TGT_PARAM_MAX      65536u /* a parameter list that we take */

/* Unit attentions, in the order in which they are reported. */
enum tgt_ua {
    TGT_UA_POWER_ON,      /* 29/00 */
    TGT_UA_COLD_RESET,    /* 29/01 */
    TGT_UA_TARGET_RESET,  /* 29/02 */
    TGT_UA_LU_RESET,      /* 29/03 */
    TGT_UA_NEXUS_LOSS,    /* 29/07 */
    TGT_UA_MODE_CHANGED,  /* 2A/01 */
    TGT_UA_PR_PREEMPTED,  /* 2A/03 */
    TGT_UA_PR_RELEASED,   /* 2A/04 */
    TGT_UA_REG_PREEMPTED, /* 2A/05 */
    TGT_UA_CAPACITY,      /* 2A/09 */
    TGT_UA_CLEARED,       /* 2F/00 */
    TGT_UA_ISCSI_CLEARED, /* 47/7F */
    TGT_UA_COUNT,
};

/* An initiator port as a target's LUs see it (an I_T nexus: the target has one port). */
struct tgt_nexus {
    struct hnode hnode; /* node->nexus_by_port */
    struct list link;   /* node->nexuses, or node->away: left last first */
    struct tgt_node *node;
    char name[ISCSI_NAME_MAX + 1];
    uint8_t isid[6];
    bool live;    /* a session of it is logged in */
    uint32_t *ua; /* one set of bits per LU */
};

enum tgt_dir { TGT_DIR_NONE, TGT_DIR_IN, TGT_DIR_OUT };

enum tgt_data {
    TGT_DATA_NONE,
    TGT_DATA_BUF,    /* c->buf */
    TGT_DATA_MEDIA,  /* the LU's memory from c->lba on */
    TGT_DATA_STREAM, /* handed to op->chunk as it comes */
};

struct tgt_op {
    uint8_t opcode;
    uint8_t len;       /* of the CDB */
    int8_t sa;         /* service action, -1: none */
    uint8_t pr;        /* enum tgt_pr_class */
    uint16_t flags;    /* TGT_OP_* */
    const char *usage; /* CDB usage data without byte 0, len - 1 bytes */
    void (*start)(struct tgt_cmd *c);
    void (*finish)(struct tgt_cmd *c); /* all data is there; NULL: nothing to do */
    void (*chunk)(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);
};

#define TGT_OP_NO_UA   1u  /* runs although a unit attention is pending */
#define TGT_OP_NO_LU   2u  /* runs on a LUN that is not there */
#define TGT_OP_EXTENT  4u  /* has LBA and count, which are checked */
#define TGT_OP_WRITES  8u  /* changes the medium */
#define TGT_OP_PROTECT 16u /* the upper 3 bits of byte 1 ask for protection information */
#define TGT_OP_RSV6    32u /* allowed although somebody else did RESERVE(6) */
#define TGT_OP_FUA     64u /* byte 1 has FUA at 08h */

/* The SCSI part of a command. */
struct tgt_scsi {
    const struct tgt_op *op;
    struct tgt_lu *lu; /* NULL: there is none at that LUN */
    struct tgt_nexus *nexus;
    uint8_t lun[8];
    uint8_t cdb[16];
    enum tgt_dir dir;
    enum tgt_data data;
    uint32_t len; /* bytes that the CDB moves (SPDTL) */
    uint64_t lba;
    uint32_t blocks;
    uint8_t *buf; /* parameter data, owned */
    uint32_t buf_size;
    uint8_t status;
    bool sync;   /* the file's data must be stable before the response */
    bool failed; /* status and sense say why; no data moves */
    uint8_t sense[TGT_SENSE_MAX];
    uint8_t sense_len;
    uint64_t scan; /* of stream commands: first mismatch + 1 */
};

/* Sets a unit attention of one nexus, or of all of the node but one (NULL: of all). */
void tgt_ua_set(struct tgt_nexus *n, const struct tgt_lu *lu, enum tgt_ua ua);
/* Takes the first pending one: ASC << 8 | ASCQ. */
uint16_t tgt_ua_take(struct tgt_nexus *n, const struct tgt_lu *lu);
void tgt_ua_all(struct tgt_lu *lu, const struct tgt_nexus *except, enum tgt_ua ua);

/* Finds op and LU, checks, starts.  Afterwards: failed or dir NONE: tgt_scsi_finish is not called,
 * the response is due; IN: len bytes can be sent; OUT: len bytes are wanted. */
void tgt_scsi_start(struct tgt_cmd *c);

/* All data that will come has come; the response is due (after a sync if c->s.sync). */
void tgt_scsi_finish(struct tgt_cmd *c);

/* Where the bytes at off belong: memory and how much of it, or NULL for what tgt_scsi_chunk takes
 * (or what nobody wants). */
uint8_t *tgt_scsi_place(struct tgt_cmd *c, uint32_t off, uint32_t *len);
void tgt_scsi_chunk(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);

/* Where the bytes at off are to be sent from. */
const uint8_t *tgt_scsi_source(const struct tgt_cmd *c, uint32_t off, uint32_t *len);

/* Ends the command with CHECK CONDITION. */
void tgt_scsi_fail(struct tgt_cmd *c, uint8_t key, uint16_t asc);
/* ... with a pointer to a byte of the CDB, or of the parameter list. */
void tgt_scsi_fail_field(struct tgt_cmd *c, bool in_cdb, uint16_t byte);
void tgt_scsi_fail_sense(struct tgt_cmd *c, struct scsi_sense *s);
void tgt_scsi_fail_status(struct tgt_cmd *c, uint8_t status);

/* c->s.buf of `size` zeroed bytes, or the command fails.  False then. */
bool tgt_scsi_buf(struct tgt_cmd *c, uint32_t size);

/* Data of len bytes in c->s.buf, of which the CDB takes alloc. */
void tgt_scsi_reply(struct tgt_cmd *c, uint32_t len, uint32_t alloc);

/* LOGICAL UNIT RESET and the like: reservations of RESERVE(6) and changed modes go. */
void tgt_scsi_reset_lu(struct tgt_lu *lu);

/* Handlers of the table, by the file they are in. */
extern const struct tgt_op tgt_ops[];
extern const unsigned tgt_ops_count;

void tgt_spc_inquiry(struct tgt_cmd *c);
void tgt_spc_request_sense(struct tgt_cmd *c);
void tgt_spc_report_luns(struct tgt_cmd *c);
void tgt_spc_test_unit_ready(struct tgt_cmd *c);
void tgt_spc_reserve6(struct tgt_cmd *c);
void tgt_spc_release6(struct tgt_cmd *c);
void tgt_spc_rtpg(struct tgt_cmd *c);
void tgt_spc_report_opcodes(struct tgt_cmd *c);
void tgt_spc_report_tmfs(struct tgt_cmd *c);
void tgt_mode_sense(struct tgt_cmd *c);
void tgt_mode_select(struct tgt_cmd *c);
void tgt_mode_select_finish(struct tgt_cmd *c);

void tgt_sbc_read(struct tgt_cmd *c);
void tgt_sbc_write(struct tgt_cmd *c);
void tgt_sbc_write_finish(struct tgt_cmd *c);
void tgt_sbc_verify(struct tgt_cmd *c);
void tgt_sbc_verify_chunk(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);
void tgt_sbc_verify_finish(struct tgt_cmd *c);
void tgt_sbc_write_verify(struct tgt_cmd *c);
void tgt_sbc_caw(struct tgt_cmd *c);
void tgt_sbc_caw_finish(struct tgt_cmd *c);
void tgt_sbc_write_same(struct tgt_cmd *c);
void tgt_sbc_write_same_finish(struct tgt_cmd *c);
void tgt_sbc_unmap(struct tgt_cmd *c);
void tgt_sbc_unmap_finish(struct tgt_cmd *c);
void tgt_sbc_sync_cache(struct tgt_cmd *c);
void tgt_sbc_prefetch(struct tgt_cmd *c);
void tgt_sbc_capacity10(struct tgt_cmd *c);
void tgt_sbc_capacity16(struct tgt_cmd *c);
void tgt_sbc_lba_status(struct tgt_cmd *c);
void tgt_sbc_start_stop(struct tgt_cmd *c);
void tgt_sbc_prevent_allow(struct tgt_cmd *c);
void tgt_sbc_defects(struct tgt_cmd *c);

#endif
