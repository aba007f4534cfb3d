/* SPDX-License-Identifier: MIT */
/* lu/cmd.h - a SCSI command, and the functions that set its answer: status, sense data, parameter
 * data. */
#ifndef LU_CMD_H
#define LU_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "lu/flush.h"
#include "lu/work.h"
#include "wire/scsi.h"
#include "wire/sense.h"

struct lu;
struct lu_device;
struct lu_nexus;
struct lu_op;

#define LU_SENSE_MAX 64

enum lu_dir { LU_DIR_NONE, LU_DIR_IN, LU_DIR_OUT };

enum lu_data {
    LU_DATA_NONE,
    LU_DATA_BUF,    /* c->buf */
    LU_DATA_MEDIA,  /* the unit's blocks from c->lba on */
    LU_DATA_STREAM, /* handed to op->chunk as it comes */
};

struct lu_cmd {
    /* The router sets these after lu_cmd_init. */
    struct lu_nexus *nexus; /* who sent it */
    uint8_t lun[8];
    uint8_t cdb[16];
    uint32_t expect; /* bytes that the initiator expects to move */
    bool ordered;    /* its task attribute is ORDERED */

    /* The device server sets these, and the router may read them. */
    struct lu_device *dev;
    struct lu *lu; /* NULL: there is none at that LUN */
    const struct lu_op *op;
    struct list link; /* lu->tasks */
    enum lu_dir dir;
    enum lu_data data;
    uint32_t len; /* bytes that the CDB moves (SPDTL) */
    uint64_t lba;
    uint32_t blocks;
    uint8_t *buf; /* parameter data, or what was read from a store without memory, of lu_buf_alloc;
                     the router frees it after lu_cmd_end */
    uint32_t buf_size;
    uint32_t buf_off; /* of what was read: where among the command's data buf begins */
    uint8_t status;
    bool sync;     /* the store must be stable before the command completes */
    bool flushing; /* the flusher has job */
    bool ended;    /* lu_cmd_end was called while the flusher had job */
    bool failed;   /* status and sense say why; no data moves */
    uint8_t sense_len;
    uint8_t sense[LU_SENSE_MAX];
    uint64_t scan; /* with LU_DATA_STREAM: 1 + the offset of the first mismatch; 0: none yet */
    uint32_t sync_failures; /* of the unit: those before do not matter to the command */
    uint32_t ua;            /* the unit attention that it reports, of lu_ua_take; 0: none */
    bool sync_failed;       /* its answer tells of all of the unit's sync_failures */
    uint64_t at;            /* blocks that op->slice is done with */
    struct lu_work work;
    struct lu_flush_job job;
};

/* Fails the command with CHECK CONDITION; asc is ASC << 8 | ASCQ.  A later failure replaces an
 * earlier one. */
void lu_cmd_fail(struct lu_cmd *c, uint8_t key, uint16_t asc);
/* Fails the command with ILLEGAL REQUEST and a field pointer to a byte of the CDB, or of the
 * parameter list. */
void lu_cmd_fail_field(struct lu_cmd *c, bool in_cdb, uint16_t byte);
void lu_cmd_fail_sense(struct lu_cmd *c, struct scsi_sense *s);
/* Fails the command because the store failed to read or write, with -errno r: with MEDIUM ERROR,
 * or with DATA PROTECT where there is no space to write to, or no permission any more. */
void lu_cmd_fail_store(struct lu_cmd *c, int r, bool write);
/* Fails the command with a status other than CHECK CONDITION, and no sense data. */
void lu_cmd_fail_status(struct lu_cmd *c, uint8_t status);

/* Allocates c->buf with `size` zeroed bytes.  Without memory it fails the command and returns
 * false. */
bool lu_cmd_buf(struct lu_cmd *c, uint32_t size);

/* Makes the first len bytes of c->buf the answer, cut to alloc, the ALLOCATION LENGTH. */
void lu_cmd_reply(struct lu_cmd *c, uint32_t len, uint32_t alloc);

/* Says that the command moves len bytes of data, and where they are. */
void lu_cmd_want(struct lu_cmd *c, enum lu_data data, uint32_t len);

#endif
