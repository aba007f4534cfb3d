/* SPDX-License-Identifier: MIT */
/* export/nbd/handshake.h - the fixed newstyle handshake, from bytes to bytes: no I/O. */
#ifndef EXPORT_NBD_HANDSHAKE_H
#define EXPORT_NBD_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "export/nbd/proto.h"

/* The longest option that is looked at.  What is longer is dropped and refused, but up to
 * NBD_OPTION_DROP bytes only: a client that sends more is cut off. */
#define NBD_OPTION_MAX  (2 * NBD_NAME_MAX)
#define NBD_OPTION_DROP (1u << 20)
#define NBD_OPTIONS_MAX 128u /* options of one handshake */

/* Bytes of input that a step may need at once, and of output that it may write. */
#define NBD_HANDSHAKE_IN  (sizeof(struct nbd_option) + NBD_OPTION_MAX)
#define NBD_HANDSHAKE_OUT 256u

/* What a client is told of the export. */
struct nbd_export_info {
    uint64_t size;
    uint16_t flags; /* NBD_FLAG_..., without NBD_FLAG_SEND_DF, which depends on the client */
    uint32_t min, preferred, max; /* block sizes in bytes */
    bool stopping;                /* nobody gets through the handshake any more */
};

struct nbd_handshake {
    bool flags_seen; /* the client flags are here */
    bool no_zeroes;
    bool structured; /* agreed: replies are structured */
    bool allocation; /* agreed: the metadata context base:allocation */
    uint32_t options;
    uint32_t drop, drop_option; /* bytes to come that are dropped, and the option that they are of;
                                   0: none is */
};

enum nbd_step {
    NBD_STEP_MORE,     /* what is here is not all of an option */
    NBD_STEP_REPLY,    /* out is to be sent, then another step is due */
    NBD_STEP_TRANSMIT, /* out is to be sent, then requests come */
    NBD_STEP_END,      /* out is to be sent, then the connection is to be closed */
};

/* Begins a handshake: writes the greeting.  Returns its length. */
size_t nbd_handshake_begin(struct nbd_handshake *h, uint8_t out[NBD_HANDSHAKE_OUT]);

/* Takes the next option from in[0..len).  *ret_used: bytes of it that are done with, also with
 * NBD_STEP_MORE.  *ret_out: bytes written to out, which may be 0. */
enum nbd_step nbd_handshake_step(struct nbd_handshake *h, const struct nbd_export_info *x,
                                 const uint8_t *in, size_t len, size_t *ret_used,
                                 uint8_t out[NBD_HANDSHAKE_OUT], size_t *ret_out);

#endif
