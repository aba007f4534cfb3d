/* SPDX-License-Identifier: MIT */
#include "wire/pdu.h"

#include <endian.h>
#include <errno.h>

/* How long a data segment a kind of PDU may have. */
enum dseg_rule {
    DSEG_ANY,
    DSEG_NONE, /* RFC 7143 11.5.2, 11.6.2, 11.8, 11.14.2, 11.15.2 */
    DSEG_BHS,  /* at least a header: 11.17 */
};

static const struct {
    const char *name;
    enum pdu_side side;
    enum dseg_rule dseg;
} opcodes[] = {
    [ISCSI_OP_NOP_OUT] = {"NOP-Out", PDU_FROM_INITIATOR, DSEG_ANY},
    [ISCSI_OP_SCSI_CMD] = {"SCSI Command", PDU_FROM_INITIATOR, DSEG_ANY},
    [ISCSI_OP_TMF_REQ] = {"Task Management Request", PDU_FROM_INITIATOR, DSEG_NONE},
    [ISCSI_OP_LOGIN_REQ] = {"Login Request", PDU_FROM_INITIATOR, DSEG_ANY},
    [ISCSI_OP_TEXT_REQ] = {"Text Request", PDU_FROM_INITIATOR, DSEG_ANY},
    [ISCSI_OP_DATA_OUT] = {"SCSI Data-Out", PDU_FROM_INITIATOR, DSEG_ANY},
    [ISCSI_OP_LOGOUT_REQ] = {"Logout Request", PDU_FROM_INITIATOR, DSEG_NONE},
    [ISCSI_OP_SNACK_REQ] = {"SNACK Request", PDU_FROM_INITIATOR, DSEG_ANY},
    [ISCSI_OP_NOP_IN] = {"NOP-In", PDU_FROM_TARGET, DSEG_ANY},
    [ISCSI_OP_SCSI_RSP] = {"SCSI Response", PDU_FROM_TARGET, DSEG_ANY},
    [ISCSI_OP_TMF_RSP] = {"Task Management Response", PDU_FROM_TARGET, DSEG_NONE},
    [ISCSI_OP_LOGIN_RSP] = {"Login Response", PDU_FROM_TARGET, DSEG_ANY},
    [ISCSI_OP_TEXT_RSP] = {"Text Response", PDU_FROM_TARGET, DSEG_ANY},
    [ISCSI_OP_DATA_IN] = {"SCSI Data-In", PDU_FROM_TARGET, DSEG_ANY},
    [ISCSI_OP_LOGOUT_RSP] = {"Logout Response", PDU_FROM_TARGET, DSEG_NONE},
    [ISCSI_OP_R2T] = {"Ready To Transfer", PDU_FROM_TARGET, DSEG_NONE},
    [ISCSI_OP_ASYNC] = {"Asynchronous Message", PDU_FROM_TARGET, DSEG_ANY},
    [ISCSI_OP_REJECT] = {"Reject", PDU_FROM_TARGET, DSEG_BHS},
};
static_assert(sizeof(opcodes) / sizeof(opcodes[0]) == ISCSI_OP_MASK + 1u, "all opcodes");

const char *
pdu_opcode_name(uint8_t opcode)
{
    const char *name = opcodes[opcode & ISCSI_OP_MASK].name;

    return name != NULL ? name : "unknown opcode";
}

int
pdu_check_header(const struct bhs *h, enum pdu_side side, uint32_t max_dseg,
                 struct lunette_error *err)
{
    uint8_t op = pdu_opcode(h);
    uint32_t dlen = pdu_dseg_len(h);

    assert(max_dseg <= ISCSI_DSEG_MAX);
    if (opcodes[op].name == NULL || opcodes[op].side != side)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_UNSUPPORTED,
                            "opcode 0x%02x (%s) must not come from the %s", op, pdu_opcode_name(op),
                            side == PDU_FROM_TARGET ? "target" : "initiator");
    if (h->ahs_words != 0 && op != ISCSI_OP_SCSI_CMD)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_INVALID_FIELD,
                            "%s with TotalAHSLength %u", opcodes[op].name, h->ahs_words);
    if (dlen > max_dseg)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "%s with DataSegmentLength %u, the limit is %u", opcodes[op].name, dlen,
                            max_dseg);
    if (opcodes[op].dseg == DSEG_NONE && dlen != 0)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_INVALID_FIELD,
                            "%s with a data segment of %u bytes", opcodes[op].name, dlen);
    if (opcodes[op].dseg == DSEG_BHS && dlen < ISCSI_BHS_LEN)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_INVALID_FIELD,
                            "%s with %u bytes of the rejected header", opcodes[op].name, dlen);
    return 0;
}

void
ahs_iter_init(struct ahs_iter *it, const void *buf, uint32_t len)
{
    assert(len % 4 == 0 && len <= PDU_AHS_MAX);
    *it = (struct ahs_iter){.at = buf, .left = len};
}

static int
bad_ahs(struct lunette_error *err, unsigned type, const char *why)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_INVALID_FIELD,
                        "AHS of type %u: %s", type, why);
}

int
ahs_next(struct ahs_iter *it, struct ahs *ret, struct lunette_error *err)
{
    uint32_t len, whole;
    uint8_t type;

    if (it->left == 0)
        return 0;
    /* left is a multiple of 4, so length and type are there */
    len = ld_be16(it->at);
    type = it->at[2] & 0x3f;
    if (len == 0)
        return bad_ahs(err, type, "empty");
    whole = 3 + len + pdu_pad(3 + len);
    if (whole > it->left)
        return bad_ahs(err, type, "runs past TotalAHSLength");
    *ret = (struct ahs){.type = type, .len = (uint16_t)len, .data = it->at + 3};
    it->at += whole;
    it->left -= whole;
    return 1;
}

int
cmd_ahs_parse(const void *buf, uint32_t len, struct cmd_ahs *ret, struct lunette_error *err)
{
    struct cmd_ahs out = {0};
    struct ahs_iter it;
    struct ahs a = {0}; /* gcc -O3 does not see that ahs_next has set it */
    int r;

    ahs_iter_init(&it, buf, len);
    while ((r = ahs_next(&it, &a, err)) > 0) {
        switch (a.type) {
        case AHS_EXT_CDB: /* RFC 7143 11.2.2.3 */
            if (out.ext_cdb != NULL)
                return bad_ahs(err, a.type, "twice");
            if (a.len < 2)
                return bad_ahs(err, a.type, "holds no CDB bytes");
            out.ext_cdb = a.data + 1;
            out.ext_cdb_len = (uint16_t)(a.len - 1);
            break;
        case AHS_BIDI_READ_LEN: /* RFC 7143 11.2.2.4 */
            if (out.has_bidi)
                return bad_ahs(err, a.type, "twice");
            if (a.len != 5)
                return bad_ahs(err, a.type, "AHSLength is not 5");
            out.has_bidi = true;
            out.bidi_read_len = ld_be32(a.data + 1);
            break;
        default:
            return bad_ahs(err, a.type, "unknown");
        }
    }
    if (r < 0)
        return r;
    *ret = out;
    return 0;
}

int
cmd_cdb_gather(const struct bhs_scsi_cmd *h, const struct cmd_ahs *a, uint8_t *cdb, size_t size)
{
    size_t ext = a != NULL && a->ext_cdb != NULL ? a->ext_cdb_len : 0;

    if (size < sizeof(h->cdb) + ext)
        return -ENOBUFS;
    memcpy(cdb, h->cdb, sizeof(h->cdb));
    if (ext > 0)
        memcpy(cdb + sizeof(h->cdb), a->ext_cdb, ext);
    return (int)(sizeof(h->cdb) + ext);
}

int
ahs_put_ext_cdb(uint8_t *out, size_t size, const uint8_t *cdb, size_t cdb_len)
{
    size_t ext = cdb_len - 16;
    size_t whole = 4 + ext + pdu_pad((uint32_t)ext);

    assert(cdb_len > 16 && cdb_len <= 16 + PDU_AHS_MAX - 4);
    if (size < whole)
        return -ENOBUFS;
    st_be16(out, (uint16_t)(ext + 1)); /* the reserved byte counts */
    out[2] = AHS_EXT_CDB;
    out[3] = 0;
    memcpy(out + 4, cdb + 16, ext);
    memset(out + 4 + ext, 0, whole - 4 - ext);
    return (int)whole;
}

int
ahs_put_bidi(uint8_t *out, size_t size, uint32_t read_len)
{
    if (size < 8)
        return -ENOBUFS;
    st_be16(out, 5);
    out[2] = AHS_BIDI_READ_LEN;
    out[3] = 0;
    st_be32(out + 4, read_len);
    return 8;
}

void
pdu_digest_put(uint8_t out[PDU_DIGEST_LEN], uint32_t running)
{
    uint32_t crc = htole32(crc32c_final(running));

    memcpy(out, &crc, PDU_DIGEST_LEN);
}

bool
pdu_digest_ok(uint32_t running, const uint8_t digest[PDU_DIGEST_LEN])
{
    uint32_t crc;

    memcpy(&crc, digest, PDU_DIGEST_LEN);
    return le32toh(crc) == crc32c_final(running);
}

uint32_t
pdu_crc_zero_pad(uint32_t running, uint32_t dseg_len)
{
    static const uint8_t zeros[3];

    return crc32c_update(running, zeros, pdu_pad(dseg_len));
}

void
pdu_header_digest(const void *hdr, size_t len, uint8_t out[PDU_DIGEST_LEN])
{
    assert(len >= ISCSI_BHS_LEN && len % 4 == 0);
    pdu_digest_put(out, crc32c_update(CRC32C_INIT, hdr, len));
}

bool
pdu_header_digest_ok(const void *hdr, size_t len, const uint8_t digest[PDU_DIGEST_LEN])
{
    assert(len >= ISCSI_BHS_LEN && len % 4 == 0);
    return pdu_digest_ok(crc32c_update(CRC32C_INIT, hdr, len), digest);
}

void
pdu_data_digest(const void *data, uint32_t dseg_len, uint8_t out[PDU_DIGEST_LEN])
{
    assert(dseg_len > 0 && dseg_len <= ISCSI_DSEG_MAX);
    pdu_digest_put(out, pdu_crc_zero_pad(crc32c_update(CRC32C_INIT, data, dseg_len), dseg_len));
}

bool
pdu_data_digest_ok(const void *data_and_pad, uint32_t dseg_len,
                   const uint8_t digest[PDU_DIGEST_LEN])
{
    assert(dseg_len > 0 && dseg_len <= ISCSI_DSEG_MAX);
    return pdu_digest_ok(crc32c_update(CRC32C_INIT, data_and_pad, dseg_len + pdu_pad(dseg_len)),
                         digest);
}
