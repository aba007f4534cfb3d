/* SPDX-License-Identifier: MIT */
#include "wire/inquiry.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/be.h"
#include "wire/clean.h"

#define INQUIRY_BUILT  96
#define VERSIONS_AT    58
#define VERSIONS_COUNT 8

void
clean_text(const uint8_t *in, size_t len, char *out, size_t size)
{
    size_t n = 0;

    assert(size > 0);
    while (n < len && n < size - 1 && in[n] != '\0') {
        out[n] = ' ';
        if (in[n] >= 0x20 && in[n] <= 0x7e)
            out[n] = (char)in[n];
        n++;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

/* From SCSI-2 on the level is VERSION + 1, so that SPC-3 is 6. */
static uint8_t
level_of(uint8_t version, uint8_t response_format)
{
    unsigned n = version & 7;

    if (n >= 2)
        return (uint8_t)(n + 1);
    return n == 1 && response_format == 1 ? 2 : (uint8_t)n;
}

int
inquiry_parse(const uint8_t *buf, size_t len, struct scsi_inquiry *ret)
{
    uint8_t b[VERSIONS_AT + 2 * VERSIONS_COUNT] = {0};
    struct scsi_inquiry q = {0};

    if (len == 0)
        return -EINVAL;
    /* The length that the data claim, but at least the fixed part's. */
    if (len >= 5 && len > 5u + buf[4] && len > INQUIRY_MIN)
        len = 5u + buf[4] > INQUIRY_MIN ? 5u + buf[4] : INQUIRY_MIN;
    memcpy(b, buf, len < sizeof(b) ? len : sizeof(b));
    q.qualifier = b[0] >> 5;
    q.type = b[0] & 0x1f;
    q.removable = (b[1] & 0x80) != 0;
    q.version = b[2];
    q.response_format = b[3] & 0x0f;
    q.scsi_level = level_of(b[2], q.response_format);
    q.naca = (b[3] & 0x20) != 0;
    q.hisup = (b[3] & 0x10) != 0;
    q.length = (uint16_t)(b[4] + 5u);
    q.sccs = (b[5] & 0x80) != 0;
    q.tpgs = b[5] >> 4 & 3;
    q.third_party_copy = (b[5] & 0x08) != 0;
    q.protect = (b[5] & 0x01) != 0;
    q.encserv = (b[6] & 0x40) != 0;
    q.multip = (b[6] & 0x10) != 0;
    q.cmdque = (b[7] & 0x02) != 0;
    clean_text(b + 8, 8, q.vendor, sizeof(q.vendor));
    clean_text(b + 16, 16, q.product, sizeof(q.product));
    clean_text(b + 32, 4, q.revision, sizeof(q.revision));
    for (unsigned i = 0; i < VERSIONS_COUNT; i++)
        q.versions[i] = ld_be16(b + VERSIONS_AT + 2 * (size_t)i);
    *ret = q;
    return 0;
}

static void
put_padded(uint8_t *out, size_t width, const char *text)
{
    size_t len = strlen(text);

    memset(out, ' ', width);
    memcpy(out, text, len < width ? len : width);
}

int
inquiry_build(uint8_t *buf, size_t size, const struct scsi_inquiry *q)
{
    assert(q->qualifier <= 7 && q->type <= 0x1f && q->tpgs <= 3);
    if (size < INQUIRY_BUILT)
        return -ENOBUFS;
    memset(buf, 0, INQUIRY_BUILT);
    buf[0] = (uint8_t)(q->qualifier << 5 | q->type);
    buf[1] = q->removable ? 0x80 : 0;
    buf[2] = q->version;
    buf[3] = (uint8_t)(q->response_format | (q->naca ? 0x20 : 0) | (q->hisup ? 0x10 : 0));
    buf[4] = INQUIRY_BUILT - 5;
    buf[5] = (uint8_t)((q->sccs ? 0x80 : 0) | q->tpgs << 4 | (q->third_party_copy ? 0x08 : 0) |
                       (q->protect ? 0x01 : 0));
    buf[6] = (uint8_t)((q->encserv ? 0x40 : 0) | (q->multip ? 0x10 : 0));
    buf[7] = q->cmdque ? 0x02 : 0;
    put_padded(buf + 8, 8, q->vendor);
    put_padded(buf + 16, 16, q->product);
    put_padded(buf + 32, 4, q->revision);
    for (unsigned i = 0; i < VERSIONS_COUNT; i++)
        st_be16(buf + VERSIONS_AT + 2 * (size_t)i, q->versions[i]);
    return INQUIRY_BUILT;
}

const char *
scsi_type_name(uint8_t type)
{
    switch (type) {
    case SCSI_TYPE_DISK:
        return "disk";
    case SCSI_TYPE_TAPE:
        return "tape";
    case SCSI_TYPE_CDROM:
        return "cd/dvd";
    case SCSI_TYPE_OPTICAL:
        return "optical";
    case SCSI_TYPE_CHANGER:
        return "media changer";
    case SCSI_TYPE_CONTROLLER:
        return "storage array controller";
    case SCSI_TYPE_ENCLOSURE:
        return "enclosure";
    case SCSI_TYPE_RBC:
        return "simplified disk";
    case SCSI_TYPE_ZONED:
        return "zoned disk";
    case SCSI_TYPE_WELL_KNOWN:
        return "well-known logical unit";
    case SCSI_TYPE_NONE:
        return "no device";
    default:
        return "unknown type";
    }
}
