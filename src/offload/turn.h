/* SPDX-License-Identifier: MIT */
/* offload/turn.h - the rings of an attachment. */
#ifndef OFFLOAD_TURN_H
#define OFFLOAD_TURN_H

#include "offload/types.h"

/* Takes what the engine has put into its ring, for as long as one turn should.  True: the ring is
 * to be looked at again without waiting for a bell.  The engine has done what it must not: false,
 * and what, which is empty otherwise, says that behind "the engine". */
bool offload_turn(struct offload_attach *at, char *what, size_t size);

/* The engine runs no more: gives back all that it had. */
void offload_give_back(struct offload_attach *at);

/* Shows the engine what was put into its ring, and wakes it where it sleeps. */
void offload_publish(struct offload_attach *at);

#endif
