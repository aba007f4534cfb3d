/* SPDX-License-Identifier: MIT */
/* Reads CDBs and names commands, as wire/scsi.h says. */
#include "wire/scsi.h"

#include <errno.h>

#include "wire/be.h"

/* What the bytes of a command mean. */
enum cdb_kind {
    KIND_NONE,     /* no length in the CDB, or one that is not looked at here */
    KIND_EXTENT,   /* LBA and count */
    KIND_CAW,      /* count in byte 13 */
    KIND_LEN8,     /* length in byte 4 */
    KIND_LEN16,    /* in 3-4 (INQUIRY) */
    KIND_LEN16_7,  /* in 7-8 */
    KIND_LEN24,    /* in 6-8 */
    KIND_LEN32_5,  /* in 5-8 */
    KIND_LEN32_6,  /* in 6-9 */
    KIND_LEN32_10, /* in 10-13 */
};

struct command {
    uint8_t opcode;
    uint8_t kind;
    const char *name;
};

static const struct command commands[] = {
    {SCSI_TEST_UNIT_READY, KIND_NONE, "TEST UNIT READY"},
    {SCSI_REQUEST_SENSE, KIND_LEN8, "REQUEST SENSE"},
    {SCSI_FORMAT_UNIT, KIND_NONE, "FORMAT UNIT"},
    {SCSI_READ_6, KIND_EXTENT, "READ(6)"},
    {SCSI_WRITE_6, KIND_EXTENT, "WRITE(6)"},
    {SCSI_INQUIRY, KIND_LEN16, "INQUIRY"},
    {SCSI_MODE_SELECT_6, KIND_LEN8, "MODE SELECT(6)"},
    {SCSI_RESERVE_6, KIND_NONE, "RESERVE(6)"},
    {SCSI_RELEASE_6, KIND_NONE, "RELEASE(6)"},
    {SCSI_MODE_SENSE_6, KIND_LEN8, "MODE SENSE(6)"},
    {SCSI_START_STOP_UNIT, KIND_NONE, "START STOP UNIT"},
    {SCSI_PREVENT_ALLOW, KIND_NONE, "PREVENT ALLOW MEDIUM REMOVAL"},
    {SCSI_READ_CAPACITY_10, KIND_NONE, "READ CAPACITY(10)"},
    {SCSI_READ_10, KIND_EXTENT, "READ(10)"},
    {SCSI_WRITE_10, KIND_EXTENT, "WRITE(10)"},
    {SCSI_WRITE_VERIFY_10, KIND_EXTENT, "WRITE AND VERIFY(10)"},
    {SCSI_VERIFY_10, KIND_EXTENT, "VERIFY(10)"},
    {SCSI_PREFETCH_10, KIND_EXTENT, "PRE-FETCH(10)"},
    {SCSI_SYNC_CACHE_10, KIND_EXTENT, "SYNCHRONIZE CACHE(10)"},
    {SCSI_WRITE_BUFFER, KIND_LEN24, "WRITE BUFFER"},
    {SCSI_READ_BUFFER, KIND_LEN24, "READ BUFFER"},
    {SCSI_WRITE_SAME_10, KIND_EXTENT, "WRITE SAME(10)"},
    {SCSI_UNMAP, KIND_LEN16_7, "UNMAP"},
    {SCSI_LOG_SENSE, KIND_LEN16_7, "LOG SENSE"},
    {SCSI_MODE_SELECT_10, KIND_LEN16_7, "MODE SELECT(10)"},
    {SCSI_MODE_SENSE_10, KIND_LEN16_7, "MODE SENSE(10)"},
    {SCSI_PERSISTENT_RESERVE_IN, KIND_LEN16_7, "PERSISTENT RESERVE IN"},
    {SCSI_PERSISTENT_RESERVE_OUT, KIND_LEN32_5, "PERSISTENT RESERVE OUT"},
    {SCSI_VARIABLE_LENGTH, KIND_NONE, "variable-length command"},
    {SCSI_READ_16, KIND_EXTENT, "READ(16)"},
    {SCSI_COMPARE_AND_WRITE, KIND_CAW, "COMPARE AND WRITE"},
    {SCSI_WRITE_16, KIND_EXTENT, "WRITE(16)"},
    {SCSI_WRITE_VERIFY_16, KIND_EXTENT, "WRITE AND VERIFY(16)"},
    {SCSI_VERIFY_16, KIND_EXTENT, "VERIFY(16)"},
    {SCSI_PREFETCH_16, KIND_EXTENT, "PRE-FETCH(16)"},
    {SCSI_SYNC_CACHE_16, KIND_EXTENT, "SYNCHRONIZE CACHE(16)"},
    {SCSI_WRITE_SAME_16, KIND_EXTENT, "WRITE SAME(16)"},
    {SCSI_WRITE_ATOMIC_16, KIND_NONE, "WRITE ATOMIC(16)"},
    {SCSI_SERVICE_ACTION_IN_16, KIND_LEN32_10, "SERVICE ACTION IN(16)"},
    {SCSI_REPORT_LUNS, KIND_LEN32_6, "REPORT LUNS"},
    {SCSI_MAINTENANCE_IN, KIND_LEN32_6, "MAINTENANCE IN"},
    {SCSI_MAINTENANCE_OUT, KIND_LEN32_6, "MAINTENANCE OUT"},
    {SCSI_READ_12, KIND_EXTENT, "READ(12)"},
    {SCSI_WRITE_12, KIND_EXTENT, "WRITE(12)"},
    {SCSI_WRITE_VERIFY_12, KIND_EXTENT, "WRITE AND VERIFY(12)"},
    {SCSI_VERIFY_12, KIND_EXTENT, "VERIFY(12)"},
};

static const struct {
    uint8_t opcode;
    uint16_t sa;
    const char *name;
} service_actions[] = {
    {SCSI_SERVICE_ACTION_IN_16, SCSI_SAI_READ_CAPACITY_16, "READ CAPACITY(16)"},
    {SCSI_SERVICE_ACTION_IN_16, SCSI_SAI_GET_LBA_STATUS, "GET LBA STATUS"},
    {SCSI_MAINTENANCE_IN, SCSI_MI_REPORT_TARGET_PORT_GROUPS, "REPORT TARGET PORT GROUPS"},
    {SCSI_MAINTENANCE_IN, SCSI_MI_REPORT_SUPPORTED_OPCODES, "REPORT SUPPORTED OPERATION CODES"},
    {SCSI_MAINTENANCE_IN, SCSI_MI_REPORT_SUPPORTED_TMFS,
     "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS"},
    {SCSI_MAINTENANCE_OUT, SCSI_MO_SET_TARGET_PORT_GROUPS, "SET TARGET PORT GROUPS"},
    {SCSI_VARIABLE_LENGTH, SCSI_VL_READ_32, "READ(32)"},
    {SCSI_VARIABLE_LENGTH, SCSI_VL_VERIFY_32, "VERIFY(32)"},
    {SCSI_VARIABLE_LENGTH, SCSI_VL_WRITE_32, "WRITE(32)"},
    {SCSI_VARIABLE_LENGTH, SCSI_VL_WRITE_VERIFY_32, "WRITE AND VERIFY(32)"},
    {SCSI_VARIABLE_LENGTH, SCSI_VL_WRITE_SAME_32, "WRITE SAME(32)"},
    {SCSI_PERSISTENT_RESERVE_IN, SCSI_PRIN_READ_KEYS, "PERSISTENT RESERVE IN, READ KEYS"},
    {SCSI_PERSISTENT_RESERVE_IN, SCSI_PRIN_READ_RESERVATION,
     "PERSISTENT RESERVE IN, READ RESERVATION"},
    {SCSI_PERSISTENT_RESERVE_IN, SCSI_PRIN_REPORT_CAPABILITIES,
     "PERSISTENT RESERVE IN, REPORT CAPABILITIES"},
    {SCSI_PERSISTENT_RESERVE_IN, SCSI_PRIN_READ_FULL_STATUS,
     "PERSISTENT RESERVE IN, READ FULL STATUS"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_REGISTER, "PERSISTENT RESERVE OUT, REGISTER"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_RESERVE, "PERSISTENT RESERVE OUT, RESERVE"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_RELEASE, "PERSISTENT RESERVE OUT, RELEASE"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_CLEAR, "PERSISTENT RESERVE OUT, CLEAR"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_PREEMPT, "PERSISTENT RESERVE OUT, PREEMPT"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_PREEMPT_AND_ABORT,
     "PERSISTENT RESERVE OUT, PREEMPT AND ABORT"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_REGISTER_AND_IGNORE,
     "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY"},
    {SCSI_PERSISTENT_RESERVE_OUT, SCSI_PROUT_REGISTER_AND_MOVE,
     "PERSISTENT RESERVE OUT, REGISTER AND MOVE"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct command *
cdb_find(uint8_t opcode)
{
    for (size_t i = 0; i < COUNT(commands); i++)
        if (commands[i].opcode == opcode)
            return &commands[i];
    return NULL;
}

int
cdb_length(const uint8_t *cdb, size_t avail)
{
    static const uint8_t by_group[8] = {6, 10, 10, 0, 16, 12, 0, 0};
    int len = by_group[cdb[0] >> 5];

    if (cdb[0] == SCSI_VARIABLE_LENGTH)
        return avail < 8 ? -EINVAL : 8 + cdb[7];
    return len > 0 ? len : -EINVAL;
}

/* 0 if the whole CDB is there. */
static int
check_len(const uint8_t *cdb, size_t len)
{
    int want = len > 0 ? cdb_length(cdb, len) : -EINVAL;

    return want < 0 || len < (size_t)want ? -EINVAL : 0;
}

static int
cdb_parse_extent32(const uint8_t *cdb, struct scsi_extent *ret)
{
    uint16_t sa = ld_be16(cdb + 8);

    if (cdb[7] != 0x18 || sa < SCSI_VL_READ_32 || sa > SCSI_VL_WRITE_SAME_32)
        return -ENOTSUP;
    *ret = (struct scsi_extent){.lba = ld_be64(cdb + 12),
                                .blocks = ld_be32(cdb + 28),
                                .flags = cdb[10] & 0x1f,
                                .protect = cdb[10] >> SCSI_PROTECT_SHIFT};
    return 0;
}

int
cdb_extent(const uint8_t *cdb, size_t len, struct scsi_extent *ret)
{
    const struct command *c = len > 0 ? cdb_find(cdb[0]) : NULL;
    struct scsi_extent e = {0};

    if (check_len(cdb, len) < 0)
        return -EINVAL;
    if (cdb[0] == SCSI_VARIABLE_LENGTH)
        return len >= 32 ? cdb_parse_extent32(cdb, ret) : -ENOTSUP;
    if (c == NULL || (c->kind != KIND_EXTENT && c->kind != KIND_CAW))
        return -ENOTSUP;
    e.flags = cdb[1] & 0x1f;
    e.protect = cdb[1] >> SCSI_PROTECT_SHIFT;
    switch (cdb_length(cdb, len)) {
    case 6:
        e.flags = 0;
        e.protect = 0;
        e.lba = ld_be24(cdb + 1) & 0x1fffff;
        e.blocks = cdb[4] != 0 ? cdb[4] : 256;
        break;
    case 10:
        e.lba = ld_be32(cdb + 2);
        e.blocks = ld_be16(cdb + 7);
        break;
    case 12:
        e.lba = ld_be32(cdb + 2);
        e.blocks = ld_be32(cdb + 6);
        break;
    default:
        e.lba = ld_be64(cdb + 2);
        e.blocks = c->kind == KIND_CAW ? cdb[13] : ld_be32(cdb + 10);
        break;
    }
    *ret = e;
    return 0;
}

int
cdb_param_len(const uint8_t *cdb, size_t len, uint32_t *ret)
{
    const struct command *c = len > 0 ? cdb_find(cdb[0]) : NULL;

    if (check_len(cdb, len) < 0)
        return -EINVAL;
    switch (c != NULL ? c->kind : KIND_NONE) {
    case KIND_LEN8:
        *ret = cdb[4];
        return 0;
    case KIND_LEN16:
        *ret = ld_be16(cdb + 3);
        return 0;
    case KIND_LEN16_7:
        *ret = ld_be16(cdb + 7);
        return 0;
    case KIND_LEN24:
        *ret = ld_be24(cdb + 6);
        return 0;
    case KIND_LEN32_5:
        *ret = ld_be32(cdb + 5);
        return 0;
    case KIND_LEN32_6:
        *ret = ld_be32(cdb + 6);
        return 0;
    case KIND_LEN32_10:
        *ret = ld_be32(cdb + 10);
        return 0;
    default:
        return -ENOTSUP;
    }
}

int
cdb_service_action(const uint8_t *cdb, size_t len)
{
    if (len < 2)
        return -1;
    switch (cdb[0]) {
    case SCSI_SERVICE_ACTION_IN_16:
    case SCSI_MAINTENANCE_IN:
    case SCSI_MAINTENANCE_OUT:
    case SCSI_PERSISTENT_RESERVE_IN:
    case SCSI_PERSISTENT_RESERVE_OUT:
        return cdb[1] & 0x1f;
    case SCSI_VARIABLE_LENGTH:
        return len >= 10 ? ld_be16(cdb + 8) : -1;
    default:
        return -1;
    }
}

const char *
cdb_name(const uint8_t *cdb, size_t len)
{
    const struct command *c = len > 0 ? cdb_find(cdb[0]) : NULL;
    int sa = cdb_service_action(cdb, len);

    for (size_t i = 0; i < COUNT(service_actions) && sa >= 0; i++)
        if (service_actions[i].opcode == cdb[0] && service_actions[i].sa == sa)
            return service_actions[i].name;
    return c != NULL ? c->name : "unknown command";
}

const char *
scsi_status_name(uint8_t status)
{
    switch (status) {
    case SCSI_GOOD:
        return "GOOD";
    case SCSI_CHECK_CONDITION:
        return "CHECK CONDITION";
    case SCSI_CONDITION_MET:
        return "CONDITION MET";
    case SCSI_BUSY:
        return "BUSY";
    case SCSI_INTERMEDIATE:
        return "INTERMEDIATE";
    case SCSI_INTERMEDIATE_CONDITION_MET:
        return "INTERMEDIATE-CONDITION MET";
    case SCSI_RESERVATION_CONFLICT:
        return "RESERVATION CONFLICT";
    case SCSI_COMMAND_TERMINATED:
        return "COMMAND TERMINATED";
    case SCSI_TASK_SET_FULL:
        return "TASK SET FULL";
    case SCSI_ACA_ACTIVE:
        return "ACA ACTIVE";
    case SCSI_TASK_ABORTED:
        return "TASK ABORTED";
    default:
        return "unknown status";
    }
}
