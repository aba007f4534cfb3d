/* SPDX-License-Identifier: MIT */
/* transport/stream/parser.h - the parts of the parser, for each other only.
 *
 * rx.c frames bytes, and rx_framed.c takes PDUs that others have framed: each calls rx_pdu.c, which
 * calls none of them; rx.c calls rx_fast.c, too.
 */
#ifndef TRANSPORT_STREAM_PARSER_H
#define TRANSPORT_STREAM_PARSER_H

#include "transport/stream/iscsi_tcp.h"

/* rx_pdu.c */

/* The peer broke a rule: reports it, and the parser drops what still arrives. */
void iscsi_tcp_rx_fail(struct iscsi_tcp_conn *tcp, enum iscsi_err err, const char *why);
/* A header that is not of the usual kind: true, and the connection has failed, or it is fine. */
bool iscsi_tcp_refused_header(struct iscsi_tcp_conn *tcp, const struct bhs *h);
/* The data digest of the PDU at tcp->bhs is wrong: it is dropped and asked for again, which is
 * possible from ErrorRecoveryLevel 1 on (RFC 7143 7.8), or the connection fails. */
void iscsi_tcp_bad_data_digest(struct iscsi_tcp_conn *tcp);
/* Somebody looks on (struct iscsi_tap): the header at tcp->bhs has come, and len bytes behind it of
 * which `before` bytes of the same data segment have been shown. */
void iscsi_tcp_tap_header(const struct iscsi_tcp_conn *tcp);
void iscsi_tcp_tap_bytes(const struct iscsi_tcp_conn *tcp, uint32_t before, const void *p,
                         uint32_t len);
/* The header of a Data-In is at tcp->bhs: finds the task whose memory its data fills (tcp->task),
 * or sets tcp->drop, or fails the connection. */
void iscsi_tcp_data_in_begin(struct iscsi_tcp_conn *tcp);
/* The PDU at tcp->bhs is complete, and counts as one that has not come: expects the next header. */
void iscsi_tcp_pdu_drop(struct iscsi_tcp_conn *tcp);
/* The PDU at tcp->bhs is complete and its digests were good: says so above and expects the next
 * header.  data: its data segment, but for Data-In, where it has been placed. */
void iscsi_tcp_pdu_end(struct iscsi_tcp_conn *tcp, const void *data);

/* The header of a Data-In or SCSI Response has no AHS, and its data is no longer than max, which we
 * declared.  TotalAHSLength and DataSegmentLength share a word, so that one comparison does. */
static inline bool
iscsi_tcp_header_fits(const struct bhs *h, uint32_t max)
{
    uint8_t op = h->opcode & ISCSI_OP_MASK;

    return (op == ISCSI_OP_DATA_IN || op == ISCSI_OP_SCSI_RSP) && ld_be32(&h->ahs_words) <= max;
}

/* rx_fast.c */

/* Whether the fast path may begin at the next byte: the parser expects a header, has nothing of it
 * yet, and what follows need not wait for start_conn. */
static inline bool
iscsi_tcp_rx_fast_may(const struct iscsi_tcp_conn *tcp)
{
    return tcp->state == RX_HEADER && tcp->hdr_have == 0 && !tcp->hold && tcp->conn->flight != NULL;
}

/* Takes the PDUs at p by the fast path, which may begin, up to the first that needs the general
 * one.  Returns the bytes used; 0 where that is the first of them. */
size_t iscsi_tcp_rx_fast(struct iscsi_tcp_conn *tcp, const uint8_t *p, size_t len);

#endif
