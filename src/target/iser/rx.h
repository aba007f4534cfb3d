/* SPDX-License-Identifier: MIT */
/* target/iser/rx.h - receiving: each message is a PDU. */
#ifndef TARGET_ISER_RX_H
#define TARGET_ISER_RX_H

#include "target/iser/iser.h"

/* A message of len bytes has come into that receive; it waits for tgt_iser_receive. */
void tgt_iser_arrived(struct tgt_iser *f, uint32_t recv, uint32_t len);

/* receive of the face: deals with what waits, within bounds. */
void tgt_iser_receive(struct tgt_conn *c);

#endif
