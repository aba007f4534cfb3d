/* SPDX-License-Identifier: MIT */
/* capture/pcapng.h - blocks of a pcapng file, with one interface, in a ring of bytes.
 *
 * The format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html.  Numbers have the
 * byte order of this machine, which the file tells.
 */
#ifndef CAPTURE_PCAPNG_H
#define CAPTURE_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define PCAPNG_TEXT_MAX 511 /* bytes of a text; longer ones are cut */
#define PCAPNG_END_ROOM 768 /* bytes that packets leave free for the last block */

struct pcapng {
    uint8_t *mem;
    size_t size;         /* a power of two */
    uint64_t head, tail; /* bytes that ever came and went */
};

/* -ENOMEM. */
int pcapng_init(struct pcapng *p, size_t room);
void pcapng_fini(struct pcapng *p);

/* The section and its interface (raw IP, nanoseconds); the first blocks of a file. */
void pcapng_begin(struct pcapng *p, const char *about, const char *interface);

/* A packet: the bytes of n parts, `captured` together, of one that has `length`.  comment may be
 * NULL.  Returns the bytes of the block; 0 where there is no room, and nothing was written. */
size_t pcapng_packet(struct pcapng *p, uint64_t unix_ns, bool outbound, const struct iovec *parts,
                     int n, uint32_t captured, uint32_t length, const char *comment);

/* The last block.  There always is room for it, once. */
void pcapng_end(struct pcapng *p, uint64_t begun_ns, uint64_t unix_ns, uint64_t packets,
                uint64_t dropped, const char *comment);

#endif
