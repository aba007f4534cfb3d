/* SPDX-License-Identifier: MIT */
/* gate/peer.h - an iSCSI target that takes turns with the initiator, in one process.
 *
 * Log in and out with the peer in a child (peer_start, peer_stop), since lunette_open waits for the
 * whole login; not in a thread, since valgrind runs no other one while one waits for an io_uring.
 * In between the caller plays both parts: peer_turn reads all that the initiator has given to the
 * kernel, answers it in one send, and returns when the answer is in the initiator's socket.  So
 * what the initiator finds there depends on nobody's speed.
 *
 * One connection at a time, one disk of 512 byte blocks whose content follows from the offset;
 * what is written must be just that.  A mistake of the initiator's ends the program.
 */
#ifndef GATE_PEER_H
#define GATE_PEER_H

#include <stddef.h>
#include <stdint.h>

#define PEER_TARGET "iqn.2026-11.example:lockstep"
#define PEER_DISK   (1u << 30)

struct peer;

/* Listens on 127.0.0.1. */
struct peer *peer_new(void);
void peer_free(struct peer *p);
uint16_t peer_port(const struct peer *p);

/* A child serves the connection until peer_stop. */
void peer_start(struct peer *p);
void peer_stop(struct peer *p);

/* Looks for the initiator's end of the connection among the descriptors of this process, to know
 * what has arrived there. */
void peer_watch(struct peer *p);

/* One turn.  Returns the commands that were ended and whose status is in the initiator's socket;
 * 0 also where the answer is not all there, since the initiator has to read first. */
unsigned peer_turn(struct peer *p);

/* Turns so far whose answer did not fit into the initiator's socket at once. */
unsigned peer_blocked(const struct peer *p);

/* len bytes of the disk's content; a piece must not cross a MiB. */
const uint8_t *peer_content(const struct peer *p, uint64_t offset, size_t len);

#endif
