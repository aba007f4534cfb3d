/* SPDX-License-Identifier: MIT */
#include "wire/iser.h"

#include <errno.h>

void
iser_put(struct iser_hdr *h, const struct iser_stag *write, const struct iser_stag *read)
{
    memset(h, 0, sizeof(*h));
    h->flags = ISER_CONTROL;
    if (write != NULL) {
        h->flags |= ISER_WSV;
        h->write_stag = put32(write->stag);
        st_be64(h->write_base.b, write->base);
    }
    if (read != NULL) {
        h->flags |= ISER_RSV;
        h->read_stag = put32(read->stag);
        st_be64(h->read_base.b, read->base);
    }
}

static int
bad_iser(struct lunette_error *err, enum iscsi_reject_reason reason, const char *why,
         const char *pdu)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, reason, "%s: %s", pdu, why);
}

/* What comes before the BHS, and that there is one. */
static int
check_iser(const struct iser_hdr *h, uint32_t len, struct lunette_error *err)
{
    if (len < ISER_LEN)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "a message of %u bytes has no iSER header, which has %u", len,
                            ISER_LEN);
    if ((h->flags & ISER_OP_MASK) != ISER_CONTROL)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "iSER message of type %u, where only PDUs (%u) are expected",
                            h->flags >> 4, ISER_CONTROL >> 4);
    if (len < ISER_HDRS_LEN)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "an iSER message of %u bytes has no whole PDU header, which ends at %u",
                            len, ISER_HDRS_LEN);
    return 0;
}

/* PDUs that iSCSI has and iSER does without (RFC 7145 3.3). */
static bool
not_in_iser(uint8_t opcode)
{
    return opcode == ISCSI_OP_DATA_IN || opcode == ISCSI_OP_R2T || opcode == ISCSI_OP_SNACK_REQ;
}

/* 9.2: STags are the initiator's, and of the data of a SCSI Command. */
static int
check_stags(uint8_t flags, const struct bhs *b, struct lunette_error *err)
{
    const char *name;

    if ((flags & (ISER_WSV | ISER_RSV)) == 0)
        return 0;
    name = pdu_opcode_name(b->opcode);
    if (pdu_opcode(b) != ISCSI_OP_SCSI_CMD)
        return bad_iser(err, ISCSI_REJECT_INVALID_FIELD, "only a SCSI Command has an STag", name);
    if ((flags & ISER_WSV) != 0 && (b->flags & ISCSI_CMD_WRITE) == 0)
        return bad_iser(err, ISCSI_REJECT_INVALID_FIELD, "a write STag, and nothing is written",
                        name);
    if ((flags & ISER_RSV) != 0 && (b->flags & ISCSI_CMD_READ) == 0)
        return bad_iser(err, ISCSI_REJECT_INVALID_FIELD, "a read STag, and nothing is read", name);
    return 0;
}

static int
check_pdu(const struct bhs *b, uint32_t len, enum pdu_side side, uint32_t max_dseg,
          struct lunette_error *err)
{
    uint32_t want, dseg = pdu_dseg_len(b);
    int r = pdu_check_header(b, side, max_dseg, err);

    if (r < 0)
        return r;
    if (not_in_iser(pdu_opcode(b)))
        return bad_iser(err, ISCSI_REJECT_PROTOCOL_ERROR, "there is none over iSER",
                        pdu_opcode_name(b->opcode));
    want = ISER_HDRS_LEN + pdu_ahs_len(b) + dseg;
    if (len != want && len != want + pdu_pad(dseg))
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "%s of %u bytes came in a message of %u, want %u",
                            pdu_opcode_name(b->opcode), want - ISER_LEN, len, want + pdu_pad(dseg));
    return 0;
}

static struct iser_stag
stag_of(bool valid, struct be32 stag, struct be64 base)
{
    return valid ? (struct iser_stag){.stag = get32(stag), .base = get64(base)}
                 : (struct iser_stag){0};
}

int
iser_take(const void *msg, uint32_t len, enum pdu_side side, uint32_t max_dseg,
          struct iser_pdu *ret, struct lunette_error *err)
{
    const struct iser_hdr *h = msg;
    const struct bhs *b;
    int r = check_iser(h, len, err);

    if (r < 0)
        return r;
    b = (const struct bhs *)(h + 1);
    r = check_pdu(b, len, side, max_dseg, err);
    if (r == 0)
        r = check_stags(h->flags, b, err);
    if (r < 0)
        return r;
    *ret = (struct iser_pdu){
        .has_write = (h->flags & ISER_WSV) != 0,
        .has_read = (h->flags & ISER_RSV) != 0,
        .write = stag_of((h->flags & ISER_WSV) != 0, h->write_stag, h->write_base),
        .read = stag_of((h->flags & ISER_RSV) != 0, h->read_stag, h->read_base),
        .hdr = b,
        .data = (const uint8_t *)(b + 1) + pdu_ahs_len(b),
        .data_len = pdu_dseg_len(b),
    };
    return 0;
}

void
iser_put_hello(struct iser_hello *h, uint16_t ird)
{
    memset(h, 0, sizeof(*h));
    h->flags = ISER_HELLO;
    h->versions = ISER_VERSION << 4 | ISER_VERSION;
    h->depth = put16(ird);
}

void
iser_put_hello_reply(struct iser_hello *h, uint16_t ord, bool reject)
{
    iser_put_hello(h, ord);
    h->flags = (uint8_t)(ISER_HELLO_REPLY | (reject ? ISER_REJ : 0));
}

static int
check_hello(const struct iser_hello *h, uint32_t len, uint8_t op, const char *name,
            struct lunette_error *err)
{
    if (len != ISER_LEN)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "a message of %u bytes instead of a %s of %u", len, name, ISER_LEN);
    if ((h->flags & ISER_OP_MASK) != op)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "iSER message of type %u instead of a %s (%u)", h->flags >> 4, name,
                            op >> 4);
    return 0;
}

int
iser_take_hello(const void *msg, uint32_t len, uint16_t *ret_ird, struct lunette_error *err)
{
    const struct iser_hello *h = msg;
    int r = check_hello(h, len, ISER_HELLO, "Hello", err);

    if (r < 0)
        return r;
    if (h->versions >> 4 < ISER_VERSION || (h->versions & 0x0f) > ISER_VERSION)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "Hello with versions %u to %u of iSER, we speak %u", h->versions & 0x0f,
                            h->versions >> 4, ISER_VERSION);
    *ret_ird = get16(h->depth);
    return 0;
}

int
iser_take_hello_reply(const void *msg, uint32_t len, uint16_t ird, uint16_t *ret_ord,
                      struct lunette_error *err)
{
    const struct iser_hello *h = msg;
    int r = check_hello(h, len, ISER_HELLO_REPLY, "HelloReply", err);

    if (r < 0)
        return r;
    if ((h->flags & ISER_REJ) != 0)
        return lunette_fail(err, -ECONNREFUSED, LUNETTE_DOM_PROTO, 0,
                            "the target refuses the connection in its HelloReply");
    if ((h->versions & 0x0f) != ISER_VERSION)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "HelloReply with version %u of iSER, we speak %u", h->versions & 0x0f,
                            ISER_VERSION);
    if (get16(h->depth) > ird)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "HelloReply with iSER-ORD %u, above our iSER-IRD %u", get16(h->depth),
                            ird);
    *ret_ord = get16(h->depth);
    return 0;
}
