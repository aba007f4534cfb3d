/* SPDX-License-Identifier: MIT */
/* engine/share.h - one SCSI host that several clients share, so that each of them gets its turn.
 *
 * A client's session on the host is a sharer.  Its commands go to the host at once where there is
 * room, and wait in a queue of the sharer otherwise.  Sharers that have something in their queues
 * take turns, a command each; and some of the host's tasks are kept for the sharers of which the
 * host has no command, so that one that fills the host does not make the next one wait for the
 * end of its commands.
 *
 * Who joins while commands of others are being ended may be the next life of one of these: its
 * first command waits until they have ended, so that no write of a former life is executed after
 * it.
 *
 * Everything runs on the host's loop.  Nothing is allocated for a command.
 */
#ifndef ENGINE_SHARE_H
#define ENGINE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/host.h"
#include "seam/loop.h"

/* A command, embedded in what its owner has for it.  The owner fills sc in, and may use node while
 * the item is not queued. */
struct engine_item {
    struct list node; /* of engine_sharer.queue, else in no list of ours */
    struct scsi_cmd sc;
};

/* All zero and engine_sharer_init before use. */
struct engine_sharer {
    struct engine_share *share; /* NULL: it has joined none */
    struct list node;           /* of engine_share.waiting, while its queue is not empty */
    struct list queue;          /* items, the oldest first */
    uint32_t outstanding;       /* commands that the host has */
    bool leaving;               /* its commands are being ended */
    bool behind; /* it has joined while others were leaving, and has given none yet */
};

struct engine_share {
    struct list node;       /* of the list that engine_share_join was given */
    const void *key;        /* tells whose host it is; nothing is done with it */
    struct scsi_host *host; /* NULL: not there yet */
    struct loop *loop;
    struct list waiting; /* sharers with something in their queues, the next one to serve first */
    uint32_t sharers;
    uint32_t idle;        /* sharers of which the host has no command */
    uint32_t outstanding; /* commands that the host has */
    uint32_t leaving;     /* sharers whose commands are being ended */
    bool refused;         /* the host has no room: it has said -EBUSY */
    bool given;           /* it has got commands since its last commit */
    struct loop_work work;
};

void engine_sharer_init(struct engine_sharer *s);

/* Joins the share of that key in the list, or a new one.  0 or -ENOMEM. */
int engine_share_join(struct list *shares, struct loop *l, const void *key,
                      struct engine_sharer *s);
/* Leaves it, with nothing queued and nothing outstanding; the last one frees the share. */
void engine_share_leave(struct engine_sharer *s);

/* The commands of s are being ended from now on, or have ended. */
void engine_share_leaving(struct engine_sharer *s, bool leaving);

/* Gives a command to the host, now or when its turn has come.  The share has a host.  sc->done is
 * called later, on the loop, and calls engine_share_ended. */
void engine_share_submit(struct engine_sharer *s, struct engine_item *it);
/* Takes a command back that is still queued: the host has never seen it. */
void engine_share_take_back(struct engine_sharer *s, struct engine_item *it);
/* The host has given a command of s back. */
void engine_share_ended(struct engine_sharer *s);
/* The host has room again (scsi_host_events.restart). */
void engine_share_restart(struct engine_share *sh);

#endif
