/* SPDX-License-Identifier: MIT */
#include "lu/cmd.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lu/buf.h"
#include "lu/nexus.h"
#include "lu/types.h"

#define ASC_CDB_FIELD     SENSE_ASC(0x24, 0x00)
#define ASC_PARAM_FIELD   SENSE_ASC(0x26, 0x00)
#define ASC_RESOURCES     SENSE_ASC(0x55, 0x03)
#define ASC_WRITE_ERROR   SENSE_ASC(0x0c, 0x00)
#define ASC_READ_ERROR    SENSE_ASC(0x11, 0x00)
#define ASC_WRITE_PROTECT SENSE_ASC(0x27, 0x00)
#define ASC_NO_SPACE      SENSE_ASC(0x27, 0x07)

void
lu_cmd_fail_status(struct lu_cmd *c, uint8_t status)
{
    if (c->ua != 0)
        lu_ua_give_back(c->nexus, c->lu, c->ua); /* it is not what the answer tells any more */
    c->ua = 0;
    c->sync_failed = false;
    c->status = status;
    c->failed = true;
    c->dir = LU_DIR_NONE;
    c->data = LU_DATA_NONE;
    c->len = 0;
}

void
lu_cmd_fail_sense(struct lu_cmd *c, struct scsi_sense *s)
{
    uint8_t buf[SENSE_MAX];
    bool descriptor = c->lu != NULL && c->lu->mode.d_sense;
    int n = descriptor ? sense_build_descriptor(buf, s) : sense_build_fixed(buf, s);

    assert(n > 0 && n <= LU_SENSE_MAX);
    lu_cmd_fail_status(c, SCSI_CHECK_CONDITION);
    memcpy(c->sense, buf, (size_t)n);
    c->sense_len = (uint8_t)n;
}

void
lu_cmd_fail(struct lu_cmd *c, uint8_t key, uint16_t asc)
{
    struct scsi_sense s = {.key = key, .asc = (uint8_t)(asc >> 8), .ascq = (uint8_t)asc};

    lu_cmd_fail_sense(c, &s);
}

void
lu_cmd_fail_field(struct lu_cmd *c, bool in_cdb, uint16_t byte)
{
    struct scsi_sense s = {
        .key = SENSE_ILLEGAL_REQUEST,
        .asc = in_cdb ? ASC_CDB_FIELD >> 8 : ASC_PARAM_FIELD >> 8,
        .has_field = true,
        .field_in_cdb = in_cdb,
        .field = byte,
    };

    lu_cmd_fail_sense(c, &s);
}

void
lu_cmd_fail_store(struct lu_cmd *c, int r, bool write)
{
    assert(r < 0);
    if (write && (r == -ENOSPC || r == -EDQUOT || r == -EFBIG))
        lu_cmd_fail(c, SENSE_DATA_PROTECT, ASC_NO_SPACE);
    else if (write && (r == -EROFS || r == -EPERM))
        lu_cmd_fail(c, SENSE_DATA_PROTECT, ASC_WRITE_PROTECT);
    else
        lu_cmd_fail(c, SENSE_MEDIUM_ERROR, write ? ASC_WRITE_ERROR : ASC_READ_ERROR);
}

bool
lu_cmd_buf(struct lu_cmd *c, uint32_t size)
{
    assert(c->buf == NULL);
    c->buf = lu_buf_alloc(size);
    c->buf_size = size;
    if (c->buf == NULL)
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_RESOURCES);
    return c->buf != NULL;
}

void
lu_cmd_reply(struct lu_cmd *c, uint32_t len, uint32_t alloc)
{
    assert(!c->failed && len <= c->buf_size);
    c->dir = LU_DIR_IN;
    c->data = LU_DATA_BUF;
    c->len = len < alloc ? len : alloc;
}

void
lu_cmd_want(struct lu_cmd *c, enum lu_data data, uint32_t len)
{
    assert(!c->failed && (data != LU_DATA_BUF || len <= c->buf_size));
    c->dir = LU_DIR_OUT;
    c->data = data;
    c->len = len;
}
