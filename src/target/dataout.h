/* SPDX-License-Identifier: MIT */
/* target/dataout.h - Data-Out PDUs, solicited and unsolicited (RFC 7143 11.7, 4.2.5.2).
 *
 * DataPDUInOrder and DataSequenceInOrder are Yes, so the data of a command is
 * one run of bytes: rx_off is the next one expected.
 */
#ifndef TARGET_DATAOUT_H
#define TARGET_DATAOUT_H

#include <stdbool.h>
#include <stdint.h>

struct tgt_conn;

/* Looks at the header in conn->h and sets conn->rx_cmd, NULL if its data is to be dropped. */
void tgt_data_out_begin(struct tgt_conn *conn);

/* Takes the next len bytes of the PDU's data, which are those from conn->data_off on. */
void tgt_data_out_sink(struct tgt_conn *conn, const uint8_t *data, uint32_t len);

/* Called when the PDU is complete. */
void tgt_data_out_end(struct tgt_conn *conn, bool digest_ok);

#endif
