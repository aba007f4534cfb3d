/* SPDX-License-Identifier: MIT */
#include "wire/sense.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/be.h"

#define FIXED_NOW 0x70u
#define DESC_NOW  0x72u
#define DEFERRED  0x01u /* added to either */

/* Byte 0 of fixed and byte 2 of an information descriptor */
#define VALID 0x80u

/* Fixed, byte 2 */
#define FILEMARK 0x80u
#define EOM      0x40u
#define ILI      0x20u

/* Sense-key specific, first byte */
#define SKSV 0x80u
#define CD   0x40u
#define BPV  0x08u

enum descriptor {
    DESC_INFORMATION = 0x00,
    DESC_COMMAND_SPECIFIC = 0x01,
    DESC_KEY_SPECIFIC = 0x02,
    DESC_FRU = 0x03,
    DESC_STREAM = 0x04,
    DESC_BLOCK = 0x05,
};

/* b: the three sense-key specific bytes */
static void
parse_key_specific(const uint8_t *b, struct scsi_sense *s)
{
    if ((b[0] & SKSV) == 0)
        return;
    if (s->key == SENSE_ILLEGAL_REQUEST) {
        s->has_field = true;
        s->field_in_cdb = (b[0] & CD) != 0;
        s->has_bit = (b[0] & BPV) != 0;
        s->field_bit = b[0] & 7;
        s->field = ld_be16(b + 1);
    } else if (s->key == SENSE_NO_SENSE || s->key == SENSE_NOT_READY) {
        s->has_progress = true;
        s->progress = ld_be16(b + 1);
    }
}

static void
parse_fixed(const uint8_t *buf, size_t len, struct scsi_sense *s)
{
    size_t end = len;

    s->key = buf[2] & 0x0f;
    s->filemark = (buf[2] & FILEMARK) != 0;
    s->eom = (buf[2] & EOM) != 0;
    s->ili = (buf[2] & ILI) != 0;
    if (len >= 7) {
        s->has_info = (buf[0] & VALID) != 0;
        s->info = s->has_info ? ld_be32(buf + 3) : 0;
    }
    if (len < 8)
        return;
    if (end > 8u + buf[7]) /* additional length */
        end = 8u + buf[7];
    if (end >= 12) {
        s->has_cmd_info = true;
        s->cmd_info = ld_be32(buf + 8);
    }
    if (end >= 14) {
        s->asc = buf[12];
        s->ascq = buf[13];
    }
    if (end >= 15)
        s->fru = buf[14];
    if (end >= 18)
        parse_key_specific(buf + 15, s);
}

/* Reads one descriptor, d[0..n), whose length byte has been checked.  Of several of one type the
 * first one counts. */
static void
parse_descriptor(const uint8_t *d, size_t n, unsigned *seen, struct scsi_sense *s)
{
    if (d[0] < 32) {
        if ((*seen >> d[0] & 1) != 0)
            return;
        *seen |= 1u << d[0];
    }
    switch (d[0]) {
    case DESC_INFORMATION:
        if (n >= 12 && (d[2] & VALID) != 0) {
            s->has_info = true;
            s->info = ld_be64(d + 4);
        }
        break;
    case DESC_COMMAND_SPECIFIC:
        if (n >= 12) {
            s->has_cmd_info = true;
            s->cmd_info = ld_be64(d + 4);
        }
        break;
    case DESC_KEY_SPECIFIC:
        if (n >= 8)
            parse_key_specific(d + 4, s);
        break;
    case DESC_FRU:
        if (n >= 4)
            s->fru = d[3];
        break;
    case DESC_STREAM:
        if (n >= 4) {
            s->filemark = (d[3] & FILEMARK) != 0;
            s->eom = (d[3] & EOM) != 0;
            s->ili = (d[3] & ILI) != 0;
        }
        break;
    case DESC_BLOCK:
        if (n >= 4)
            s->ili = (d[3] & ILI) != 0;
        break;
    default:
        break;
    }
}

static void
parse_descriptors(const uint8_t *buf, size_t len, struct scsi_sense *s)
{
    size_t end = len, at = 8;
    unsigned seen = 0;

    s->key = buf[1] & 0x0f;
    s->asc = len > 2 ? buf[2] : 0;
    s->ascq = len > 3 ? buf[3] : 0;
    if (len < 8)
        return;
    if (end > 8u + buf[7])
        end = 8u + buf[7];
    while (end - at >= 2) {
        size_t n = 2u + buf[at + 1];

        if (n > end - at)
            return; /* a descriptor that runs past the end is as good as absent */
        parse_descriptor(buf + at, n, &seen, s);
        at += n;
    }
}

bool
sense_parse(const uint8_t *buf, size_t len, struct scsi_sense *ret)
{
    unsigned code;

    *ret = (struct scsi_sense){0};
    if (len < 2)
        return false;
    code = buf[0] & 0x7f;
    if ((code & ~DEFERRED) != FIXED_NOW && (code & ~DEFERRED) != DESC_NOW)
        return false;
    ret->descriptor = (code & ~DEFERRED) == DESC_NOW;
    if (!ret->descriptor && len < 3)
        return false;
    ret->valid = true;
    ret->deferred = (code & DEFERRED) != 0;
    if (ret->descriptor)
        parse_descriptors(buf, len, ret);
    else
        parse_fixed(buf, len, ret);
    return true;
}

/* False: there is nothing to say, and b is untouched. */
static bool
put_key_specific(uint8_t *b, const struct scsi_sense *s)
{
    if (s->has_field) {
        b[0] = (uint8_t)(SKSV | (s->field_in_cdb ? CD : 0) |
                         (s->has_bit ? BPV | (s->field_bit & 7u) : 0));
        st_be16(b + 1, s->field);
        return true;
    }
    if (s->has_progress) {
        b[0] = SKSV;
        st_be16(b + 1, s->progress);
    }
    return s->has_progress;
}

int
sense_build_fixed(uint8_t *buf, const struct scsi_sense *s)
{
    assert(s->key <= 15);
    memset(buf, 0, SENSE_FIXED_LEN);
    buf[0] = (uint8_t)(FIXED_NOW | (s->deferred ? DEFERRED : 0));
    buf[2] =
        (uint8_t)(s->key | (s->filemark ? FILEMARK : 0) | (s->eom ? EOM : 0) | (s->ili ? ILI : 0));
    if (s->has_info && s->info <= UINT32_MAX) {
        buf[0] |= VALID;
        st_be32(buf + 3, (uint32_t)s->info);
    }
    buf[7] = SENSE_FIXED_LEN - 8;
    if (s->has_cmd_info && s->cmd_info <= UINT32_MAX)
        st_be32(buf + 8, (uint32_t)s->cmd_info);
    buf[12] = s->asc;
    buf[13] = s->ascq;
    buf[14] = s->fru;
    (void)put_key_specific(buf + 15, s);
    return SENSE_FIXED_LEN;
}

/* The descriptor at b[0..n), cleared, with its head. */
static uint8_t *
start_descriptor(uint8_t *b, enum descriptor type, size_t n)
{
    memset(b, 0, n);
    b[0] = (uint8_t)type;
    b[1] = (uint8_t)(n - 2);
    return b;
}

int
sense_build_descriptor(uint8_t *buf, const struct scsi_sense *s)
{
    uint8_t *at = buf + 8, ks[3];

    assert(s->key <= 15);
    memset(buf, 0, 8);
    buf[0] = (uint8_t)(DESC_NOW | (s->deferred ? DEFERRED : 0));
    buf[1] = s->key;
    buf[2] = s->asc;
    buf[3] = s->ascq;
    if (s->has_info) {
        start_descriptor(at, DESC_INFORMATION, 12);
        at[2] = VALID;
        st_be64(at + 4, s->info);
        at += 12;
    }
    if (s->has_cmd_info) {
        start_descriptor(at, DESC_COMMAND_SPECIFIC, 12);
        st_be64(at + 4, s->cmd_info);
        at += 12;
    }
    if (put_key_specific(ks, s)) {
        memcpy(start_descriptor(at, DESC_KEY_SPECIFIC, 8) + 4, ks, sizeof(ks));
        at += 8;
    }
    if (s->fru != 0) {
        start_descriptor(at, DESC_FRU, 4)[3] = s->fru;
        at += 4;
    }
    if (s->filemark || s->eom) {
        start_descriptor(at, DESC_STREAM, 4)[3] =
            (uint8_t)((s->filemark ? FILEMARK : 0) | (s->eom ? EOM : 0) | (s->ili ? ILI : 0));
        at += 4;
    } else if (s->ili) {
        start_descriptor(at, DESC_BLOCK, 4)[3] = ILI;
        at += 4;
    }
    buf[7] = (uint8_t)(at - buf - 8);
    return (int)(at - buf);
}

int
sense_build(uint8_t *buf, uint8_t key, uint8_t asc, uint8_t ascq)
{
    return sense_build_fixed(buf, &(struct scsi_sense){.key = key, .asc = asc, .ascq = ascq});
}

const char *
sense_key_name(uint8_t key)
{
    static const char *const names[16] = {
        "NO SENSE",        "RECOVERED ERROR", "NOT READY",      "MEDIUM ERROR",
        "HARDWARE ERROR",  "ILLEGAL REQUEST", "UNIT ATTENTION", "DATA PROTECT",
        "BLANK CHECK",     "VENDOR SPECIFIC", "COPY ABORTED",   "ABORTED COMMAND",
        "obsolete key Ch", "VOLUME OVERFLOW", "MISCOMPARE",     "COMPLETED",
    };

    return names[key & 15];
}

static const struct {
    uint16_t code;
    const char *text;
} codes[] = {
#define CODE(asc, ascq, text_) {SENSE_ASC(0x##asc, 0x##ascq), text_},
#include "wire/sense_codes.def"
#undef CODE
};

const char *
sense_code_text(uint8_t asc, uint8_t ascq)
{
    uint16_t code = SENSE_ASC(asc, ascq);
    size_t low = 0, high = sizeof(codes) / sizeof(codes[0]);

    while (low < high) { /* the table is sorted */
        size_t mid = (low + high) / 2;

        if (codes[mid].code == code)
            return codes[mid].text;
        if (codes[mid].code < code)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

__attribute__((format(printf, 4, 5))) static size_t
sense_add(char *buf, size_t size, size_t at, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (at >= size)
        return at;
    va_start(ap, fmt);
    n = vsnprintf(buf + at, size - at, fmt, ap);
    va_end(ap);
    return n > 0 ? at + (size_t)n : at;
}

const char *
sense_format(const struct scsi_sense *s, char *buf, size_t size)
{
    const char *text = sense_code_text(s->asc, s->ascq);
    size_t at = 0;

    assert(size > 0);
    buf[0] = '\0';
    if (!s->valid) {
        (void)sense_add(buf, size, 0, "no sense data");
        return buf;
    }
    at = sense_add(buf, size, at, "%s%s", s->deferred ? "deferred " : "", sense_key_name(s->key));
    if (text != NULL)
        at = sense_add(buf, size, at, ": %s", text);
    at = sense_add(buf, size, at, " (%02x/%02x/%02x)", s->key, s->asc, s->ascq);
    if (s->has_field)
        at = sense_add(buf, size, at, ", %s byte %u", s->field_in_cdb ? "CDB" : "parameter",
                       s->field);
    if (s->has_field && s->has_bit)
        at = sense_add(buf, size, at, " bit %u", s->field_bit);
    if (s->has_progress)
        at = sense_add(buf, size, at, ", %u%% done", (unsigned)(s->progress * 100u / 65536u));
    if (s->has_info)
        at = sense_add(buf, size, at, ", information %" PRIu64, s->info);
    if (s->ili)
        (void)sense_add(buf, size, at, ", incorrect length");
    return buf;
}
