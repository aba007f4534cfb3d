/* SPDX-License-Identifier: MIT */
/* wire/pdu.h - framing, additional header segments and digests, RFC 7143 11.2 and 13.1.
 *
 * A PDU is BHS, AHS, [header digest], [data, padding, [data digest]].  No function here
 * does I/O or allocates, and all may be called on any thread.  A fault of the peer is
 * -EPROTO in LUNETTE_DOM_PROTO, with the fitting Reject reason as detail.  Lengths are
 * in bytes.
 */
#ifndef WIRE_PDU_H
#define WIRE_PDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "wire/bhs.h"

#define PDU_DIGEST_LEN 4u
#define PDU_AHS_MAX    (255u * 4u)

enum pdu_side {
    PDU_FROM_INITIATOR,
    PDU_FROM_TARGET,
};

static inline uint8_t
pdu_opcode(const struct bhs *h)
{
    return h->opcode & ISCSI_OP_MASK;
}

/* Bytes of all AHS. */
static inline uint32_t
pdu_ahs_len(const struct bhs *h)
{
    return 4u * h->ahs_words;
}

/* DataSegmentLength: without padding and digest. */
static inline uint32_t
pdu_dseg_len(const struct bhs *h)
{
    return get24(h->dseg_len);
}

/* Pad bytes, 0..3, after len bytes. */
static inline uint32_t
pdu_pad(uint32_t len)
{
    return (4u - (len & 3u)) & 3u;
}

/* What follows the 48 bytes of BHS: AHS and header digest. */
static inline uint32_t
pdu_header_trailer(const struct bhs *h, bool header_digest)
{
    return pdu_ahs_len(h) + (header_digest ? PDU_DIGEST_LEN : 0);
}

/* What follows the header: data, padding and data digest; 0 when there is no data, since empty
 * data has no digest (11.2.3). */
static inline uint32_t
pdu_data_trailer(const struct bhs *h, bool data_digest)
{
    uint32_t len = pdu_dseg_len(h);

    return len == 0 ? 0 : len + pdu_pad(len) + (data_digest ? PDU_DIGEST_LEN : 0);
}

/* All that follows the BHS; with 48 added, the length of the PDU. */
static inline uint32_t
pdu_trailer(const struct bhs *h, bool header_digest, bool data_digest)
{
    return pdu_header_trailer(h, header_digest) + pdu_data_trailer(h, data_digest);
}

/* Checks a header that has just been received, before the rest of the PDU is: that the opcode is
 * one that `side` sends (vendor opcodes are refused); that only a SCSI Command has AHS; that
 * DataSegmentLength is at most max_dseg (our MaxRecvDataSegmentLength; 8192 during login), 0 on
 * task management, Logout and R2T, and at least 48 on Reject.  Returns 0, or -EPROTO with the
 * reason in *err.  The caller checks the fields that depend on the state of the connection. */
int pdu_check_header(const struct bhs *h, enum pdu_side side, uint32_t max_dseg,
                     struct lunette_error *err) __attribute__((warn_unused_result));

/* Returns the name of an opcode, such as "SCSI Command", or "unknown opcode". */
const char *pdu_opcode_name(uint8_t opcode);

/* Additional header segments (11.2.2).  AHSLength is the number of bytes behind the type byte
 * without the padding, so it counts the reserved byte that stands before the data. */
enum ahs_type {
    AHS_EXT_CDB = 1,
    AHS_BIDI_READ_LEN = 2,
};

struct ahs {
    uint8_t type;        /* 6 bits; the two upper ones are reserved */
    uint16_t len;        /* AHSLength */
    const uint8_t *data; /* len bytes; the first is the AHS-specific (reserved) byte */
};

struct ahs_iter {
    const uint8_t *at;
    uint32_t left;
};

/* Starts a walk over the len bytes of AHS at buf (len = pdu_ahs_len()), which is borrowed for it.
 */
void ahs_iter_init(struct ahs_iter *it, const void *buf, uint32_t len);

/* Gets the next segment.  Returns 1 and *ret, 0 at the end, or -EPROTO when a segment is empty or
 * runs past the end. */
int ahs_next(struct ahs_iter *it, struct ahs *ret, struct lunette_error *err);

/* What the AHS of a SCSI Command say. */
struct cmd_ahs {
    const uint8_t *ext_cdb; /* the CDB from byte 16 on, in the parsed buffer; NULL if it is no
                               longer than 16 bytes */
    uint16_t ext_cdb_len;
    bool has_bidi;
    uint32_t bidi_read_len; /* Bidirectional Read Expected Data Transfer Length */
};

/* Parses all AHS of a SCSI Command.  Returns 0, or -EPROTO (Reject reason 9) for what ahs_next
 * refuses, for unknown and repeated types, and for wrong lengths. */
int cmd_ahs_parse(const void *buf, uint32_t len, struct cmd_ahs *ret, struct lunette_error *err);

/* Writes the CDB, which is the 16 bytes of the BHS and the extension in a (a may be NULL), to
 * cdb[size].  Returns its length, or -ENOBUFS. */
int cmd_cdb_gather(const struct bhs_scsi_cmd *h, const struct cmd_ahs *a, uint8_t *cdb,
                   size_t size);

/* Writes to out[size] an Extended CDB AHS with the bytes from 16 on of a CDB of cdb_len > 16 bytes;
 * a shorter CDB must not have one (11.2.2.3).  Returns the bytes written, a multiple of 4, or
 * -ENOBUFS.  The caller counts them in ahs_words. */
int ahs_put_ext_cdb(uint8_t *out, size_t size, const uint8_t *cdb, size_t cdb_len);

/* Writes a Bidirectional Read Expected Data Transfer Length AHS to out[size].  Returns 8 or
 * -ENOBUFS. */
int ahs_put_bidi(uint8_t *out, size_t size, uint32_t read_len);

/* Make the 4 bytes on the wire, least significant first, of a running CRC (crc32c_update from
 * CRC32C_INIT), and compare them with a digest that was received. */
void pdu_digest_put(uint8_t out[PDU_DIGEST_LEN], uint32_t running);
bool pdu_digest_ok(uint32_t running, const uint8_t digest[PDU_DIGEST_LEN]);

/* Continues a running CRC over the zero bytes with which a sender pads dseg_len bytes of data. */
uint32_t pdu_crc_zero_pad(uint32_t running, uint32_t dseg_len);

/* Make and check the header digest of the BHS and all AHS, which lie together in hdr[len]. */
void pdu_header_digest(const void *hdr, size_t len, uint8_t out[PDU_DIGEST_LEN]);
bool pdu_header_digest_ok(const void *hdr, size_t len, const uint8_t digest[PDU_DIGEST_LEN]);

/* Makes the data digest of data that lie together, and of the zero padding, which need not be in
 * memory.  dseg_len > 0. */
void pdu_data_digest(const void *data, uint32_t dseg_len, uint8_t out[PDU_DIGEST_LEN]);
/* Checks the data digest of data that were received together; the pad bytes, whatever their value,
 * follow the data in memory. */
bool pdu_data_digest_ok(const void *data_and_pad, uint32_t dseg_len,
                        const uint8_t digest[PDU_DIGEST_LEN]);

#endif
