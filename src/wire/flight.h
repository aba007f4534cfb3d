/* SPDX-License-Identifier: MIT */
/* wire/flight.h - the flight recorder: the last headers that a connection has sent and received.
 *
 * It is fixed memory that takes no lock and never allocates, since it records each PDU of the I/O
 * path (docs/design/tape.md).  Headers alone are kept, never data, and so no secret.  What is sent
 * is copied as it stands in a transport's output, many headers at once, and taken apart when
 * somebody reads it; what is received is copied header by header.
 *
 * A recorder of zeroes is empty.  One thread at a time.
 */
#ifndef WIRE_FLIGHT_H
#define WIRE_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/bhs.h"

#define FLIGHT_TX     8192 /* bytes of output: 170 headers without digests */
#define FLIGHT_RX     4096 /* bytes of headers that came: 85 */
#define FLIGHT_TURNS  128  /* turns of the loop of which something is known */
#define FLIGHT_EPOCHS 4
#define FLIGHT_FEW    2 /* PDUs of a connection that waits */
/* PDUs that a recorder gives back at most. */
#define FLIGHT_MAX (FLIGHT_TX / ISCSI_BHS_LEN + FLIGHT_RX / ISCSI_BHS_LEN)

/* Where both rings were at a time of the loop's clock: bytes that ever went through them, modulo
 * 2^32. */
struct flight_at {
    uint32_t tx, rx;
};
struct flight_turn {
    uint64_t ns;
    struct flight_at from;
};

/* What is sent from here on has these digests. */
struct flight_epoch {
    uint32_t from;
    bool hdrdgst, datadgst;
};

struct flight {
    uint64_t ns; /* of the last turn */
    struct flight_at at;
    uint32_t turns; /* that ever were, modulo 2^32 */
    uint32_t epochs;
    struct flight_epoch epoch[FLIGHT_EPOCHS];
    struct flight_turn turn[FLIGHT_TURNS];
    uint8_t tx[FLIGHT_TX];
    uint8_t rx[FLIGHT_RX + ISCSI_BHS_LEN]; /* a header that begins before the end goes beyond it */
};

/* What is recorded from here on happens at ns (loop clock).  Of one time, what came is told before
 * what went: so it is in a turn of the loop. */
static inline void
flight_now(struct flight *f, uint64_t ns)
{
    struct flight_turn *t;

    if (f->ns == ns)
        return;
    f->ns = ns;
    t = &f->turn[f->turns++ % FLIGHT_TURNS];
    t->ns = ns;
    memcpy(&t->from, &f->at, sizeof(t->from)); /* in one piece */
}

/* A header has come: 48 bytes at bhs. */
static inline void
flight_rx(struct flight *f, const void *bhs)
{
    memcpy(f->rx + f->at.rx % FLIGHT_RX, bhs, ISCSI_BHS_LEN);
    f->at.rx += ISCSI_BHS_LEN;
}

/* len bytes of headers have come, one behind the other. */
void flight_rx_run(struct flight *f, const uint8_t *p, size_t len);

/* From here on, what is sent has these digests; none from the beginning. */
void flight_digests(struct flight *f, bool hdrdgst, bool datadgst);

/* len bytes at p leave: PDUs without their data segments, which is for each its BHS, AHS and header
 * digest, and where it has data also padding and data digest. */
void flight_tx_wrap(struct flight *f, const uint8_t *p, size_t len);
static inline void
flight_tx(struct flight *f, const uint8_t *p, size_t len)
{
    uint32_t at = f->at.tx % FLIGHT_TX;

    if (__builtin_expect(len >= FLIGHT_TX / 2 - at % (FLIGHT_TX / 2), 0)) {
        flight_tx_wrap(f, p, len);
        return;
    }
    f->at.tx += (uint32_t)len;
    __asm__("" : "+r"(len)); /* the length stays unknown, so that a good memcpy is called */
    memcpy(f->tx + at, p, len);
}

/* A PDU as it is read back. */
struct flight_pdu {
    uint64_t ns; /* loop clock */
    bool tx;     /* we have sent it */
    struct bhs hdr;
};

/* Copies the last PDUs, max at most, to ret, the oldest first.  Returns how many. */
unsigned flight_read(const struct flight *f, struct flight_pdu *ret, unsigned max);

/* ---- a connection that waits ----
 *
 * Of one that has nothing but pings the last PDUs are kept in memory that thousands may have. */

struct flight_few {
    uint32_t count; /* so many places are taken, at most; modulo FLIGHT_FEW the next one */
    uint32_t tx;    /* a bit for each place: we have sent it */
    struct {
        uint64_t ns;
        struct bhs hdr;
    } pdu[FLIGHT_FEW];
};

void flight_few_add(struct flight_few *few, uint64_t ns, bool tx, const struct bhs *h);
/* As flight_read. */
unsigned flight_few_read(const struct flight_few *few, struct flight_pdu *ret, unsigned max);
/* Makes few of a full recorder, and a full one, which is empty, of few. */
void flight_few_from(struct flight_few *few, const struct flight *f);
void flight_from_few(struct flight *f, const struct flight_few *few);

#define FLIGHT_TEXT_MAX 256

/* Writes what a PDU says as one line: its type, then lengths, tags and numbers by their names in
 * RFC 7143.  text[FLIGHT_TEXT_MAX]. */
void flight_text(const struct bhs *h, char *text);

#endif
