/* SPDX-License-Identifier: MIT */
/* export/nbd/request.h - requests of the transmission phase: read, and checked.  No I/O. */
#ifndef EXPORT_NBD_REQUEST_H
#define EXPORT_NBD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "export/nbd/handshake.h"
#include "seam/bdev.h"

/* Bytes of one read or write: what a client may take for granted that has not been told. */
#define NBD_PAYLOAD_MAX (32u << 20)
/* A write that is too long is refused up to that; beyond, the client is cut off. */
#define NBD_DROP_MAX (64u << 20)

struct nbd_head {
    uint16_t flags, type;
    uint8_t cookie[8];
    uint64_t offset;
    uint32_t len;
};

/* Why a request is refused; error 0: it is not.  text is a sentence that is never freed. */
struct nbd_refusal {
    uint32_t error; /* NBD_E... */
    const char *text;
};

/* What a client may send, which follows from the limits of the device.  `stopping` is left false.
 */
void nbd_export_info_make(struct nbd_export_info *x, const struct bdev_limits *l, bool read_only);

/* Reads a request.  False: the magic number is wrong, and what follows cannot be read. */
bool nbd_request_read(const uint8_t b[sizeof(struct nbd_request)], struct nbd_head *ret);

/* Checks a request of a client that has agreed to what h says; not for NBD_CMD_DISC.  One that
 * passes is a good bdev_req, unless the device changes. */
struct nbd_refusal nbd_request_check(const struct nbd_head *r, const struct nbd_handshake *h,
                                     const struct bdev_limits *l, bool read_only);

/* The error on the wire for a -errno of the device. */
uint32_t nbd_error(int err);

#endif
