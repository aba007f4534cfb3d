/* SPDX-License-Identifier: MIT */
/* tests/support/fake_stream.h - what fake_stream.c has beside fake_transport.h. */
#ifndef TESTS_FAKE_STREAM_H
#define TESTS_FAKE_STREAM_H

#include "tests/support/fake_transport.h"

extern bool fake_spoil;             /* a byte of the data of the next answer is turned over */
extern uint32_t fake_cleanup_later; /* cleanups that have not ended, with cleanup_delay_ns */

/* They end now. */
void fake_cleaned(void);
/* Any PDU, with the numbers that are in its header. */
int fake_bytes(union bhs_any *h, const void *data, uint32_t len);

#endif
