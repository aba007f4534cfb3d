/* SPDX-License-Identifier: MIT */
/* tests/bench/null_scsi.c - what initiators want to know before they read and write. */
#include "tests/bench/null_target.h"

#include <string.h>

#define LUNS 8

/* Returns the number of bytes, 0 when there is no such page. */
static uint32_t
vital_page(const uint8_t *cdb, uint8_t lun, uint8_t *b)
{
    static const uint8_t pages[] = {0x00, 0x80, 0x83, 0xb0};

    b[1] = cdb[2];
    switch (cdb[2]) {
    case 0x00:
        b[3] = sizeof(pages);
        memcpy(b + 4, pages, sizeof(pages));
        return 4 + sizeof(pages);
    case 0x80:
        b[3] = 4;
        memcpy(b + 4, "0001", 4);
        return 8;
    case 0x83: /* one NAA name */
        b[3] = 12;
        b[4] = 1;
        b[5] = 3;
        b[7] = 8;
        b[8] = 0x50;
        b[15] = (uint8_t)(lun + 1);
        return 16;
    case 0xb0:
        b[3] = 0x3c;
        return 64;
    default:
        return 0;
    }
}

static uint32_t
inquiry(const uint8_t *cdb, uint8_t lun, uint8_t *b)
{
    if ((cdb[1] & 1) != 0)
        return vital_page(cdb, lun, b);
    b[2] = 5; /* SPC-3 */
    b[3] = 2;
    b[4] = 91;
    b[7] = 2; /* CMDQUE */
    memcpy(b + 8, "BENCH   NULL            0001", 28);
    return 96;
}

static uint32_t
report_luns(uint8_t *b)
{
    put32(b, LUNS * 8);
    for (int i = 0; i < LUNS; i++)
        b[8 + i * 8 + 1] = (uint8_t)i;
    return 8 + LUNS * 8;
}

static uint32_t
least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void
other_command(struct conn *c)
{
    const uint8_t *cdb = c->header + 32;
    uint32_t itt = get32(c->header + 16), n = 0;
    uint8_t b[512] = {0};

    switch (cdb[0]) {
    case 0x00: /* TEST UNIT READY, START STOP, PREVENT, SYNCHRONIZE CACHE, UNMAP: all well */
    case 0x1b:
    case 0x1e:
    case 0x35:
    case 0x42:
    case 0x91:
        respond(c, itt, STATUS_GOOD, NULL, 0, 0);
        return;
    case 0x12:
        n = least(inquiry(cdb, c->header[9], b), (uint32_t)cdb[3] << 8 | cdb[4]);
        if (n == 0) {
            check_condition(c, itt, ASC_INVALID_FIELD);
            return;
        }
        break;
    case 0x1a: /* MODE SENSE(6) */
        b[0] = 3;
        n = least(4, cdb[4]);
        break;
    case 0x5a: /* MODE SENSE(10) */
        b[1] = 6;
        n = 8;
        break;
    case 0x03: /* REQUEST SENSE */
        b[0] = 0x70;
        b[7] = 10;
        n = 18;
        break;
    case 0x25: /* READ CAPACITY(10) */
        put32(b, blocks - 1 > UINT32_MAX ? UINT32_MAX : (uint32_t)(blocks - 1));
        put32(b + 4, options.block_size);
        n = 8;
        break;
    case 0x9e: /* READ CAPACITY(16) */
        if ((cdb[1] & 31) == 0x10) {
            put64(b, blocks - 1);
            put32(b + 8, options.block_size);
            n = least(32, get32(cdb + 10));
        }
        break;
    case 0xa0:
        n = least(report_luns(b), get32(cdb + 6));
        break;
    default:
        break;
    }
    if (n == 0)
        check_condition(c, itt, ASC_INVALID_OPCODE);
    else
        data_in(c, 0, b, n);
    flush(c); /* while b is there */
}
