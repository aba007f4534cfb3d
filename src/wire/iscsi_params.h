/* SPDX-License-Identifier: MIT */
/* wire/iscsi_params.h - the operational values of a session and of one connection, which the text
 * keys negotiate (RFC 7143 13). */
#ifndef WIRE_ISCSI_PARAMS_H
#define WIRE_ISCSI_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

enum iscsi_digest {
    ISCSI_DIGEST_NONE = 0,
    ISCSI_DIGEST_CRC32C = 1,
};
enum iscsi_session_type {
    ISCSI_SESSION_NORMAL = 0,
    ISCSI_SESSION_DISCOVERY = 1,
};
enum iscsi_task_reporting {
    ISCSI_TASK_RFC3720 = 0,
    ISCSI_TASK_RESPONSE_FENCE = 1,
    ISCSI_TASK_FAST_ABORT = 2,
};

/* Operational values of a session and one connection.  The value of a key that is a list of words
 * is the index of the chosen word in the key's `values` (wire/keys.def), for which there are enums.
 */
struct iscsi_params {
    uint32_t header_digest, data_digest; /* enum iscsi_digest */
    uint32_t session_type, task_reporting;
    uint32_t max_connections;
    uint32_t max_recv_dseg; /* the MaxRecvDataSegmentLength that we declared, in bytes */
    uint32_t max_xmit_dseg; /* the one that the peer declared, which bounds each PDU that we send */
    uint32_t max_burst, first_burst; /* bytes */
    uint32_t time2wait, time2retain; /* seconds */
    uint32_t max_outstanding_r2t;
    uint32_t erl;
    uint32_t protocol_level;
    uint32_t target_recv_dseg, initiator_recv_dseg, max_unexpected_pdus, max_ahs_len; /* iSER */
    bool initial_r2t, immediate_data;
    bool data_pdu_in_order, data_sequence_in_order;
    bool rdma_extensions, tagged_solicited_only, iser_hello_required; /* iSER */
};

#endif
