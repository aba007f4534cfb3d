/* SPDX-License-Identifier: MIT */
/* capture/capture.h - PDUs of connections as a capture file (pcapng) that Wireshark reads.
 *
 * Each connection is one TCP conversation with made-up segments: the real addresses where they are
 * known, sequence numbers that fit, each PDU at the start of a segment, and no segment above 64
 * KiB.  Secrets of logins are always taken out (capture/redact.h); the payload of commands is, if
 * that is asked for: then segments have their true lengths, and their bytes end behind the header.
 *
 * Nothing here waits or allocates while PDUs pass.  What is made waits in a bounded buffer, and
 * whoever takes it out decides how (dataplane/capture.c).  What finds no room is left out: the file
 * says where, and how much in all.
 *
 * Everything on the loop of the connections (docs/design/tape.md).
 */
#ifndef CAPTURE_CAPTURE_H
#define CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "seam/transport.h"

struct capture;

#define CAPTURE_ROOM     (4u << 20) /* bytes that may wait */
#define CAPTURE_TEXT_MAX 512        /* bytes of a comment, with the NUL */

struct capture_config {
    struct loop *loop;
    uint64_t unix_ns;      /* since 1970, at this moment: the loop's clock has no date */
    uint64_t segments_max; /* then it is full; 0: no limit */
    size_t room;           /* bytes that may wait; 0: CAPTURE_ROOM */
    bool no_payload;
    const char *about; /* what the file says of itself; borrowed for the call */
    /* Bytes wait where none did, or the capture is full; the head of the file waits from the
     * beginning, which is not told.  Called from inside an I/O callback, so
     * that the owner takes note only. */
    void (*wake)(void *user);
    void *user;
};

struct capture_stats {
    uint64_t segments, bytes;                 /* in the file, with all headers */
    uint64_t dropped_segments, dropped_bytes; /* left out for want of room */
};

/* -ENOMEM. */
int capture_new(const struct capture_config *cfg, struct capture **ret);
/* Looks at no connection any more, and is gone.  NULL is harmless. */
void capture_free(struct capture *k);

/* Looks at a connection from now on, of which nothing has been sent yet (fresh) or that is in the
 * middle of its life.  -EBUSY: somebody does; -ENOMEM. */
int capture_add(struct capture *k, struct iscsi_conn *c, bool fresh);
/* The connection has come to its end, or its memory is about to. Harmless where k does not look at
 * it. */
void capture_del(struct capture *k, const struct iscsi_conn *c);

/* Ends the capture: looks at nothing any more, and closes the file with what there is to say; why
 * is a sentence.  Not twice. */
void capture_end(struct capture *k, const char *why);
/* Is segments_max reached? */
bool capture_full(const struct capture *k);

/* What waits, in at most two pieces; returns how many, and the bytes in *ret_len. */
int capture_peek(const struct capture *k, struct iovec iov[2], size_t *ret_len);
/* len bytes of that have been taken. */
void capture_took(struct capture *k, size_t len);

void capture_get_stats(const struct capture *k, struct capture_stats *ret);

#endif
