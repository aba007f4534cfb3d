/* SPDX-License-Identifier: MIT */
/* wire/sense.h - sense data, fixed and descriptor format (SPC), read and written.
 *
 * The caller has cut the buffer to min(SenseLength, DataSegmentLength - 2) (RFC 7143
 * 11.4.7.2).  Sense data that a device has cut anywhere can be parsed.  Any thread.
 */
#ifndef WIRE_SENSE_H
#define WIRE_SENSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scsi_sense_key {
    SENSE_NO_SENSE = 0x0,
    SENSE_RECOVERED = 0x1,
    SENSE_NOT_READY = 0x2,
    SENSE_MEDIUM_ERROR = 0x3,
    SENSE_HARDWARE_ERROR = 0x4,
    SENSE_ILLEGAL_REQUEST = 0x5,
    SENSE_UNIT_ATTENTION = 0x6,
    SENSE_DATA_PROTECT = 0x7,
    SENSE_BLANK_CHECK = 0x8,
    SENSE_VENDOR = 0x9,
    SENSE_COPY_ABORTED = 0xa,
    SENSE_ABORTED_COMMAND = 0xb,
    SENSE_VOLUME_OVERFLOW = 0xd,
    SENSE_MISCOMPARE = 0xe,
    SENSE_COMPLETED = 0xf,
};

#define SENSE_ASC(asc, ascq) ((uint16_t)((asc) << 8 | (ascq))) /* to compare with sense_code() */

struct scsi_sense {
    bool valid;      /* there are a known response code and a sense key; if not, the other fields
                        have no meaning */
    bool deferred;   /* it is about an earlier command */
    bool descriptor; /* in descriptor format; else in fixed format */
    uint8_t key, asc, ascq;
    bool filemark, eom, ili;
    bool has_info; /* VALID */
    uint64_t info; /* INFORMATION */
    /* COMMAND-SPECIFIC INFORMATION is there.  Fixed format has no bit for it, so it always counts
     * as there when the data are long enough. */
    bool has_cmd_info;
    uint64_t cmd_info;
    uint8_t fru;
    bool has_field; /* with ILLEGAL REQUEST: a field pointer is there */
    bool field_in_cdb;
    bool has_bit;
    uint8_t field_bit;
    uint16_t field;
    bool has_progress; /* with NO SENSE and NOT READY: a progress indication is there */
    uint16_t progress; /* in 65536ths */
};

#define SENSE_FIXED_LEN 18
#define SENSE_MAX       252

/* Parses sense data and sets all of *ret.  ret->valid is false for less than 3 (fixed) or 2
 * (descriptor) bytes and for response codes other than 70h..73h.  Returns ret->valid. */
bool sense_parse(const uint8_t *buf, size_t len, struct scsi_sense *ret);

static inline uint16_t
sense_code(const struct scsi_sense *s)
{
    return (uint16_t)(s->asc << 8 | s->ascq);
}

/* Write s, whose valid need not be set, to buf[SENSE_MAX].  Return the length: 18 in fixed format,
 * 8 and the descriptors in descriptor format.  Fixed format has no INFORMATION of more than 32
 * bits, so that is left out. */
int sense_build_fixed(uint8_t *buf, const struct scsi_sense *s);
int sense_build_descriptor(uint8_t *buf, const struct scsi_sense *s);

/* Writes key, ASC and ASCQ alone, in fixed format.  Returns the length. */
int sense_build(uint8_t *buf, uint8_t key, uint8_t asc, uint8_t ascq);

const char *sense_key_name(uint8_t key);

/* Returns the meaning of ASC and ASCQ, or NULL when they are not in wire/sense_codes.def. */
const char *sense_code_text(uint8_t asc, uint8_t ascq);

/* Writes s as one line, such as "ILLEGAL REQUEST: invalid field in CDB (05/24/00), field byte 2 bit
 * 7", cut to size.  Returns buf. */
const char *sense_format(const struct scsi_sense *s, char *buf, size_t size);
#define SENSE_TEXT_MAX 200

#endif
