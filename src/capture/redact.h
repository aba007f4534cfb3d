/* SPDX-License-Identifier: MIT */
/* capture/redact.h - takes secrets out of the text of logins.
 *
 * What an eavesdropper could use are the values of CHAP_N, CHAP_C and CHAP_R (RFC 7143 12.1), and
 * those of the other methods' keys (SRP_, KRB_, SPKM_).  Each byte of such a value becomes an 'x',
 * so that all lengths stay as they were.  Keys and values may be cut anywhere, also between PDUs,
 * and the sender may break every rule: in doubt a byte is taken out.
 */
#ifndef CAPTURE_REDACT_H
#define CAPTURE_REDACT_H

#include <stdbool.h>
#include <stdint.h>

#define REDACT_KEY 8 /* bytes of a key that are looked at, its last ones */

/* The text of one direction of a connection.  One of zeroes stands before the first key. */
struct redact {
    enum { REDACT_IN_KEY, REDACT_IN_VALUE, REDACT_IN_SECRET } at;
    uint8_t len;
    char key[REDACT_KEY];
    bool method; /* a key of SRP, Kerberos or SPKM */
};

/* Nothing is known of what came before: all is taken out up to the next NUL. */
void redact_unknown(struct redact *r);

/* A PDU with text begins.  continued: the one before said that its text goes on (C bit). */
void redact_pdu(struct redact *r, bool continued);

/* Copies len bytes of text from in to out, which may be the same, without what is secret. */
void redact_text(struct redact *r, const uint8_t *in, uint8_t *out, uint32_t len);

#endif
