/* SPDX-License-Identifier: MIT */
/* offload/share.h - the memory that a client shares with its engine, as the client has it: region
 * and arena, both bells, and what it keeps about them by itself. */
#ifndef OFFLOAD_SHARE_H
#define OFFLOAD_SHARE_H

#include "base/err.h"
#include "offload/arena.h"
#include "offload/take.h"
#include "seam/host.h"
#include "seam/ipc.h"
#include "seam/shm.h"
#include "wire/offload_options.h"

struct offload_user;

/* What a slot in use was taken for. */
struct offload_use {
    struct offload_user *user; /* NULL: nobody waits for it any more */
    union {
        struct scsi_cmd *sc;    /* of OFFLOAD_SQ_COMMAND */
        struct scsi_eh_wait *w; /* of OFFLOAD_SQ_TMF */
    };
    bool command;            /* sc is set, else w */
    struct scsi_eh_wait *eh; /* waits for the abort of the command; or NULL */
    uint32_t generation;
    int64_t in, out, cdb; /* extents of the arena; -1: none */
};

struct offload_share {
    struct loop *loop;
    void *region, *map; /* the arena is at map */
    size_t region_size;
    uint64_t map_size;
    int bell_engine, bell_client; /* ours; what is sent are others of the same */
    int send[IPC_ENGINE_FDS];     /* -1: it has been sent */
    struct ring_producer sq;
    struct ring_consumer cq;
    struct slots slots;
    struct arena arena;
    struct offload_limits lim;
    struct offload_asked *asked; /* one for each slot, as is use */
    struct offload_use *use;
    uint64_t spoiled; /* as the arena had it when it was looked at last */
};

/* Makes all of it.  0, or -errno with a sentence, and then there is nothing. */
int offload_share_make(struct loop *l, const struct offload_options *o, uint32_t generation,
                       struct offload_share *ret, struct lunette_error *err);
/* Nobody writes to it any more, or nothing that is written to it matters.  Harmless where it is all
 * zero. */
void offload_share_free(struct offload_share *sh);

/* Has it been made? */
static inline bool
offload_share_there(const struct offload_share *sh)
{
    return sh->region != NULL;
}

/* Takes a slot for what e says, with space for its data: fills in slot, generation and offsets of
 * *e.  user and what waits are the caller's to set in the use that is returned.  NULL: no slot is
 * free, or the arena has no room, and nothing has changed.  keep: so many slots stay free. */
struct offload_use *offload_share_take(struct offload_share *sh, struct offload_sqe *e,
                                       uint32_t keep);
/* The use of that slot is over. */
void offload_share_give(struct offload_share *sh, uint32_t slot);

/* The word that moves while the engine lives, read once. */
uint64_t offload_share_beat(const struct offload_share *sh);

/* Tells whether the engine says that it has nothing of the memory any more (offload/entry.h). */
bool offload_share_released(const struct offload_share *sh);

#endif
