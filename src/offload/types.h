/* SPDX-License-Identifier: MIT */
/* offload/types.h - a client's attachment to one loop of an engine: the control socket, the memory
 * that both share, and what becomes of them when the engine ends.
 *
 * There is one for each (engine, engine's loop, sizes) of a loop of ours; the endpoints and
 * sessions that go there use it together.  It attaches when the first of them comes, again whenever
 * it was lost while somebody keeps it, and ends when the last has left.
 *
 * An engine that is lost is believed no more: nothing is taken from the rings.  But it may still
 * execute what it has been given, so that the commands are given back, to be sent again, only when
 * its process runs no more, or says that all of them have ended; and only then is another
 * attachment made (docs/design/offload.md).
 *
 * Everything runs on our loop.
 */
#ifndef OFFLOAD_TYPES_H
#define OFFLOAD_TYPES_H

#include "offload/share.h"
#include "seam/transport.h"

#define OFFLOAD_ANSWER_MS  10000 /* that an engine may take for an answer, or to be attached to */
#define OFFLOAD_LEAVE_MS   60000 /* for one that has to end commands first */
#define OFFLOAD_WEDGED_MS  10000 /* without a beat while there is something to do: it is lost */
#define OFFLOAD_LOOK_MS    100   /* between looks whether an engine that was lost has let go */
#define OFFLOAD_RETRY_MS   50    /* until the first new try, and then twice as long each time up */
#define OFFLOAD_RETRY_MAX  10000 /* to this */
#define OFFLOAD_TMF_SLOTS  4     /* that no command takes */
#define OFFLOAD_TRANSFER_N 4     /* the longest command may have so much of the arena */

struct offload_attach;

/* The host of the transport (struct iscsi_host.dd_data): the attachments of a loop. */
struct offload_adapter {
    struct loop *loop;
    struct list attachments;
};

/* A request to the engine that waits for its answer; embedded in whoever has asked. */
struct offload_call {
    struct list node;
    uint64_t seq, due_ns;
    enum iscsi_uevent_type type;
    /* The answer, of the same type and with a reason where it is a refusal; borrowed for the call.
     */
    void (*done)(struct offload_call *c, const struct iscsi_reply *rep);
};

/* Whoever uses an attachment; embedded in it.  The callbacks come from the loop, and not from
 * inside a call of this header, except that failed may come from inside offload_ask.  Inside them
 * any user may leave. */
struct offload_user {
    struct list node; /* of the attachment */
    struct offload_attach *at;
    bool keeps;   /* the attachment is to be made again when it is lost */
    uint32_t sid; /* the session whose events it wants; 0: none */
    bool waits;   /* it is new, and for attached or failed */
    bool up;      /* told attached, and not failed since */
    bool due;     /* for the attachment's own use */
    /* It is attached, for the first time or (with keeps) again. */
    void (*attached)(struct offload_user *u);
    /* It is lost, or could not be attached.  Calls that wait have no answer. */
    void (*failed)(struct offload_user *u, const struct lunette_error *why);
    /* An answer that is fine has come, for the slot that e names, which is u's to give
     * (offload_share_give) when it has copied what it wants. */
    void (*answer)(struct offload_user *u, const struct offload_cqe *e);
    /* The engine that was lost runs no more, and will not answer what was in that slot, which is
     * free already. */
    void (*back)(struct offload_user *u, const struct offload_use *was);
    /* And all that it had has been given back.  NULL: it does not matter. */
    void (*fenced)(struct offload_user *u);
    void (*event)(struct offload_user *u, const struct iscsi_kevent *ev); /* may be NULL */
    /* A slot, or room in the arena, has become free after one was missing.  May be NULL. */
    void (*room)(struct offload_user *u);
};

enum offload_attach_state {
    OFFLOAD_IDLE,       /* not attached; perhaps a timer is running */
    OFFLOAD_CONNECTING, /* no answer to HELLO yet */
    OFFLOAD_ATTACHING,  /* none to ATTACH */
    OFFLOAD_UP,
    OFFLOAD_LOST, /* the engine may still run */
};

struct offload_attach {
    struct list node; /* of the adapter */
    struct offload_adapter *ad;
    struct loop *loop;
    struct offload_options opt;
    uint32_t index, loops; /* the engine's loop; how many it has, 0: not known */
    enum offload_attach_state state;
    struct list users;
    struct lunette_error why; /* of the last failure */
    bool silent;              /* it has failed since it was up, and the log has been told */
    uint64_t began_ns, up_ns; /* of this try; of its being up, 0: it is not */

    /* The control socket. */
    struct stream *s; /* until the carrier has it */
    struct ipc_socket *carrier;
    struct ipc_encoded_client *end;
    struct ipc *ipc;
    struct list calls;        /* the oldest first */
    struct offload_call call; /* its own */
    struct shm_process *process;
    bool process_gone;

    struct offload_share share;
    uint32_t generation, max_transfer, engine_pid;
    struct loop_watch *bell;
    bool want_room, looking; /* a slot was missing; the ring is looked at without a bell */
    bool sq_broken;          /* its index of our ring cannot be: it is told with the next turn */
    uint64_t looked_ns;      /* when the last entry came */

    uint64_t beat, beat_ns; /* the engine's word, and when it moved */
    uint64_t stale;         /* entries about what was over, which were dropped */
    uint32_t retry_ms;
    struct loop_timer limit, retry, pulse;
    uint64_t limit_ns;     /* when `limit` comes */
    uint64_t lost_ns;      /* when it was lost */
    struct loop_work work; /* closes, and goes on */
    struct loop_work turn; /* looks at the ring */
};

#endif
