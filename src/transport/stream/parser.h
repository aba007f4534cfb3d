/* SPDX-License-Identifier: MIT */
/* transport/stream/parser.h - the three parts of the parser, for each other only.
 *
 * rx.c frames: it calls the two others, which call neither it nor each other.
 */
#ifndef TRANSPORT_STREAM_PARSER_H
#define TRANSPORT_STREAM_PARSER_H

#include "transport/stream/iscsi_tcp.h"

/* rx_pdu.c */

/* The peer broke a rule: reports it, and the parser drops what still arrives. */
void iscsi_tcp_rx_fail(struct iscsi_tcp_conn *tcp, enum iscsi_err err, const char *why);
/* The header of a Data-In is at tcp->bhs: finds the task whose memory its data fills (tcp->task),
 * or sets tcp->drop, or fails the connection. */
void iscsi_tcp_data_in_begin(struct iscsi_tcp_conn *tcp);
/* The PDU at tcp->bhs is complete, and counts as one that has not come: expects the next header. */
void iscsi_tcp_pdu_drop(struct iscsi_tcp_conn *tcp);
/* The PDU at tcp->bhs is complete and its digests were good: says so above and expects the next
 * header.  data: its data segment, but for Data-In, where it has been placed. */
void iscsi_tcp_pdu_end(struct iscsi_tcp_conn *tcp, const void *data);

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
