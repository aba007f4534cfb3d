/* SPDX-License-Identifier: MIT */
/* wire/iser.h - the iSER header that stands before every PDU on RDMA, RFC 7145 section 9, and the
 * private data of connecting (InfiniBand Architecture, annex A12).
 *
 * A message is one Send: iSER header, BHS, AHS, data segment with padding.  There are no digests,
 * and the length is that of the message.  Functions here do no I/O and do not allocate, and may be
 * called on any thread.  A fault of the peer is -EPROTO in LUNETTE_DOM_PROTO, with the fitting
 * Reject reason as detail.
 */
#ifndef WIRE_ISER_H
#define WIRE_ISER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/be.h"
#include "wire/bhs.h"
#include "wire/pdu.h"

#define ISER_LEN      28u
#define ISER_HDRS_LEN (ISER_LEN + ISCSI_BHS_LEN) /* of the shortest control-type message */
/* The data segment of any Send.  RFC 7143 has this for login; real targets have receives of this
 * size throughout, whatever they have agreed to. */
#define ISER_DSEG_MAX 8192u
#define ISER_RECV_LEN (ISER_HDRS_LEN + ISER_DSEG_MAX) /* bytes of a receive that takes them all */

/* Byte 0: what the message is, and flags of that kind. */
#define ISER_OP_MASK     0xf0u
#define ISER_CONTROL     0x10u /* a PDU follows the header */
#define ISER_HELLO       0x20u
#define ISER_HELLO_REPLY 0x30u
#define ISER_WSV         0x08u /* ISER_CONTROL: the write STag is valid */
#define ISER_RSV         0x04u /* ISER_CONTROL: the read STag is valid */
#define ISER_REJ         0x01u /* ISER_HELLO_REPLY: the target refuses */

#define ISER_VERSION 10u /* the only one (RFC 7145 9.3) */

/* Private data of a connect request and of its answer: four bytes, of which all but the first are
 * zero.  Each bit says what its sender cannot do. */
#define ISER_PRIVATE_LEN 4u
#define ISER_NO_ZBVA     0x80u /* base offsets are virtual addresses, never zero-based */
#define ISER_NO_SEND_INV 0x40u /* its STags are not to be invalidated by a Send */

/* The header of a control-type message (9.2). */
struct iser_hdr {
    uint8_t flags; /* ISER_CONTROL, ISER_WSV, ISER_RSV */
    uint8_t rsvd1[3];
    struct be32 write_stag; /* valid with ISER_WSV: the target reads the data of a write there */
    struct be64 write_base;
    struct be32 read_stag; /* valid with ISER_RSV: the target writes what a command reads there */
    struct be64 read_base;
};

/* The header of a Hello or HelloReply message (9.3, 9.4), which is all of it. */
struct iser_hello {
    uint8_t flags;    /* ISER_HELLO, or ISER_HELLO_REPLY with ISER_REJ */
    uint8_t versions; /* the largest in the high nibble; in the low one the smallest of a Hello, the
                         chosen one of a HelloReply */
    struct be16 depth; /* RDMA Reads at a time: iSER-IRD of a Hello, iSER-ORD of a HelloReply */
    uint8_t rsvd4[24];
};

static_assert(sizeof(struct iser_hdr) == ISER_LEN, "iSER header");
static_assert(offsetof(struct iser_hdr, rsvd1) == 1, "iSER header");
static_assert(offsetof(struct iser_hdr, write_stag) == 4, "iSER header");
static_assert(offsetof(struct iser_hdr, write_base) == 8, "iSER header");
static_assert(offsetof(struct iser_hdr, read_stag) == 16, "iSER header");
static_assert(offsetof(struct iser_hdr, read_base) == 20, "iSER header");
static_assert(sizeof(struct iser_hello) == ISER_LEN, "iSER Hello");
static_assert(offsetof(struct iser_hello, versions) == 1, "iSER Hello");
static_assert(offsetof(struct iser_hello, depth) == 2, "iSER Hello");
static_assert(_Alignof(struct iser_hdr) == 1 && _Alignof(struct iser_hello) == 1, "iSER alignment");

/* Memory of the initiator that the target may use for one command. */
struct iser_stag {
    uint32_t stag;
    uint64_t base; /* the address of the command's first byte there */
};

/* Writes the header of a control-type message.  write, read: the STags of a SCSI Command, NULL
 * where it has none. */
void iser_put(struct iser_hdr *h, const struct iser_stag *write, const struct iser_stag *read);

/* A control-type message that was received and is in order.  The pointers are into the message. */
struct iser_pdu {
    bool has_write, has_read;
    struct iser_stag write, read; /* zero where there is none */
    const struct bhs *hdr;        /* and behind it the AHS */
    const uint8_t *data;          /* data_len bytes, which all have been received */
    uint32_t data_len;
};

/* Checks and takes apart a message of len bytes that `side` has sent, the data segment of which may
 * have max_dseg bytes (at most ISCSI_DSEG_MAX).  It is a control-type message; its length is that
 * of its PDU, and the padding may be missing; only a SCSI Command brings STags, for data that it
 * has (9.2); the PDU is one that pdu_check_header takes, and not one of those that iSER has no use
 * for: Data-In and R2T, SNACK (RFC 7145 3.3).  0, or -EPROTO with the reason in *err and *ret
 * untouched. */
int iser_take(const void *msg, uint32_t len, enum pdu_side side, uint32_t max_dseg,
              struct iser_pdu *ret, struct lunette_error *err) __attribute__((warn_unused_result));

/* Writes a Hello of the initiator, which can serve ird RDMA Reads at a time. */
void iser_put_hello(struct iser_hello *h, uint16_t ird);

/* Writes the answer of the target, which has ord RDMA Reads out at most. */
void iser_put_hello_reply(struct iser_hello *h, uint16_t ord, bool reject);

/* Checks a Hello, as the target does: its length, and that it speaks our version.  0 and the number
 * of RDMA Reads; or -EPROTO. */
int iser_take_hello(const void *msg, uint32_t len, uint16_t *ret_ird, struct lunette_error *err)
    __attribute__((warn_unused_result));

/* Checks a HelloReply, as the initiator does that had ird.  0 and the number of RDMA Reads; or
 * -ECONNREFUSED: the target refuses; or -EPROTO. */
int iser_take_hello_reply(const void *msg, uint32_t len, uint16_t ird, uint16_t *ret_ord,
                          struct lunette_error *err) __attribute__((warn_unused_result));

static inline void
iser_put_private(uint8_t out[ISER_PRIVATE_LEN], uint8_t flags)
{
    memset(out, 0, ISER_PRIVATE_LEN);
    out[0] = flags;
}

/* The peer that gave the private data lets its STags be invalidated by a Send.  One that gave none
 * does not say so. */
static inline bool
iser_private_send_inv(const void *private_data, size_t len)
{
    return len > 0 && (*(const uint8_t *)private_data & ISER_NO_SEND_INV) == 0;
}

#endif
