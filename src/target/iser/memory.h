/* SPDX-License-Identifier: MIT */
/* target/iser/memory.h - the memory of a connection that its device may use. */
#ifndef TARGET_ISER_MEMORY_H
#define TARGET_ISER_MEMORY_H

#include "target/iser/iser.h"

/* Makes the memory of a login, and posts its receives.  f->ep is there.  -ENOMEM, or what the
 * device says, with a sentence; the caller closes f->ep and then calls tgt_memory_fini. */
int tgt_memory_init(struct tgt_iser *f, struct lunette_error *err);

/* Makes the memory of the full feature phase with that many commands, and posts its receives: what
 * is taken from the arena comes from there from then on.  The same errors, and then all is as it
 * was. */
int tgt_memory_grow(struct tgt_iser *f, uint32_t commands, struct lunette_error *err);

/* Frees all; f->ep is closed. */
void tgt_memory_fini(struct tgt_iser *f);

/* The bytes of a receive, TGT_ISER_RECV_LEN of them. */
uint8_t *tgt_memory_recv(struct tgt_iser *f, uint32_t recv);

/* Posts a receive again.  0 or -errno. */
int tgt_memory_post(struct tgt_iser *f, uint32_t recv);

/* Takes len bytes, at most half of the arena, for a request that is posted next.  *ret_take is what
 * tgt_arena_give gets when the request is done.  NULL: there is no room before others are done. */
uint8_t *tgt_arena_take(struct tgt_arena *a, uint32_t len, uint32_t *ret_take);
/* Whether there is room for len bytes, and so for fewer. */
bool tgt_arena_has(const struct tgt_arena *a, uint32_t len);
void tgt_arena_give(struct tgt_arena *a, uint32_t take);

#endif
