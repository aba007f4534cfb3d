/* SPDX-License-Identifier: MIT */
/* seam/host.h - what the SCSI midlayer asks of a host (one I_T nexus, as in Linux a session).
 *
 * scsi/ calls it; iscsi/ implements it, and so may a transport that runs its sessions by itself.
 * Everything runs on the host's loop; no command is completed from inside queuecommand or commit.
 */
#ifndef SEAM_HOST_H
#define SEAM_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/sg.h"

#define SCSI_CDB_MAX    260 /* SPC: a variable-length CDB has at most 8 + 252 bytes */
#define SCSI_CDB_INLINE 32  /* longer CDBs are pointed to */
#define SCSI_SENSE_MAX  252 /* SPC: additional length of sense data ends there */

struct io_watch;
struct loop;
struct scsi_host;

/* What became of a command at the transport (Linux's host byte).  Only with DID_OK is there a SCSI
 * status. */
enum scsi_host_result {
    DID_OK,         /* a response came: look at status */
    DID_NO_CONNECT, /* session gone or never there */
    DID_BAD_TARGET, /* the answer made no sense: residual above the length, bad sense length */
    DID_TRANSPORT_DISRUPTED, /* connection lost with the command outstanding: maybe executed, and
                                perhaps yet to be: it may be sent again on this host, which ends it
                                first, and on no other (docs/design/nexus.md) */
    DID_TRANSPORT_FAILFAST,  /* recovery given up */
    DID_IMM_RETRY,           /* not sent: session in recovery */
    DID_REQUEUE,             /* not sent: transmit suspended */
    DID_ERROR,               /* iSCSI response other than 0: target failure */
    DID_ABORT,               /* aborted by task management */
    DID_RESET,    /* ended by a reset, which the midlayer or another initiator asked for */
    DID_TIME_OUT, /* gave up waiting */
};

/* One command.  Filled in by the midlayer, owned by the host from queuecommand until ->done.
 *
 * The members that every command uses stand in the first two cache lines, and its result in two
 * words, since with many commands outstanding each line that is touched is a miss. */
struct scsi_cmd {
    /* out: all 0 when the host gets the command, which means GOOD with all data moved; the host
     * sets it where a command ends otherwise */
    union {
        struct {
            uint8_t host_result;       /* enum scsi_host_result */
            uint8_t status;            /* SAM status; valid where host_result is DID_OK */
            uint8_t response;          /* iSCSI Response code where host_result is DID_ERROR */
            bool overflow;             /* the target had more to move than was expected */
            uint16_t status_qualifier; /* RFC 7144, else 0 */
            uint16_t sense_len;        /* 0: none */
        };
        uint64_t not_good; /* all of these read as one word: 0 says that all of them are 0 */
    };
    union {
        struct {
            uint32_t resid_out, resid_in; /* bytes of out / in that were not moved */
        };
        uint64_t not_moved; /* both read as one word: 0 says that all data has moved */
    };

    /* in */
    void (*done)(struct scsi_cmd *sc); /* once, later, on the host's loop */
    uint8_t lun[8];                    /* as on the wire */
    union {
        uint8_t cdb[SCSI_CDB_INLINE]; /* shorter ones are filled with 0 up to 16 bytes */
        const uint8_t *cdb_long;      /* where cdb_len > SCSI_CDB_INLINE */
    };
    struct sg in;    /* data from the target; len is exactly what is expected to move */
    struct sg out;   /* data to the target; a bidirectional command has both */
    void *host_priv; /* the host's, while it owns the command */
    uint16_t cdb_len;
    uint8_t attr; /* task attribute: RFC 7143 11.3.1 (1 simple) */

    uint8_t sense[SCSI_SENSE_MAX]; /* out: sense_len bytes of it */
    struct list host_node;         /* as host_priv */
    struct io_watch *watch;        /* NULL until scsi_host_ops.watch: it is not timed */
};

static inline const uint8_t *
scsi_cmd_cdb(const struct scsi_cmd *sc)
{
    return sc->cdb_len > SCSI_CDB_INLINE ? sc->cdb_long : sc->cdb;
}

/* How a task management function ended. */
enum scsi_eh_result {
    SCSI_EH_SUCCESS,   /* done; the commands that it ended have been completed before this is told.
                          eh_query: yes */
    SCSI_EH_NOT_FOUND, /* abort: the command completed by itself; eh_query: no */
    SCSI_EH_FAILED,    /* refused, not supported, or no answer in time: go one step up */
};

/* What eh_query asks of a logical unit, for this nexus (RFC 7144 6.3, SAM-5). */
enum scsi_query {
    SCSI_QUERY_TASK_SET,    /* does it have a task of ours? */
    SCSI_QUERY_ASYNC_EVENT, /* is there a unit attention, or a deferred error, that it will tell? */
};

/* Somebody who waits for the end of an eh_ call.  The structure is part of the caller's memory, and
 * the host uses it until done. */
struct scsi_eh_wait {
    void (*done)(struct scsi_eh_wait *w, enum scsi_eh_result r); /* once, later */
    /* for the host's own use */
    struct list node;
    struct scsi_cmd *sc;
    enum scsi_eh_result result;
    uint8_t function; /* task management function */
    uint8_t lun[8];
    uint32_t info; /* of eh_query, on SUCCESS: the 24 bits of RFC 7144 6.4, else 0 */
};

enum scsi_timeout_action {
    SCSI_TIMEOUT_RESET_TIMER, /* wait as long again: data of it moves, or the session recovers */
    SCSI_TIMEOUT_ABORT,       /* call eh_abort */
};

struct scsi_host_ops {
    /* Takes the command and returns 0; or refuses it with -EBUSY when the command window is closed
     * or no task is free, and calls restart of the events when it is worth another try.  A session
     * that is down takes the command, and completes it later with the host result that says so. */
    int (*queuecommand)(struct scsi_host *h, struct scsi_cmd *sc);
    /* Sends everything that was queued since the last commit. */
    void (*commit)(struct scsi_host *h);
    /* The timer of sc has expired: the host says whether to wait on or to abort. */
    enum scsi_timeout_action (*eh_timed_out)(struct scsi_host *h, struct scsi_cmd *sc);
    /* The eh_ calls end commands, the first three by task management (RFC 7143 11.5.1); the result
     * comes by w->done.  Until an abort is done, sc and its buffers stay the host's: the transport
     * may still write to them. */
    void (*eh_abort)(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w);
    void (*eh_device_reset)(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w);
    void (*eh_target_reset)(struct scsi_host *h, struct scsi_eh_wait *w);
    /* Ends the ACA condition of the logical unit for this nexus (SAM), and no command.  May be
     * NULL: the transport has no such function. */
    void (*eh_clear_aca)(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w);
    /* Asks the logical unit; info of w has more where the answer is yes.  FAILED at once where the
     * target is not to be asked (iSCSIProtocolLevel below 2).  May be NULL. */
    void (*eh_query)(struct scsi_host *h, enum scsi_query what, const uint8_t lun[8],
                     struct scsi_eh_wait *w);
    /* Ends all commands by dropping the session's connections, after I_T NEXUS RESET where the
     * target knows it.  SUCCESS: all of them are back, and
     * the host is RUNNING again or GONE; where it is BLOCKED, that may take as long as it stays so.
     */
    void (*eh_session_reset)(struct scsi_host *h, struct scsi_eh_wait *w);
    /* The host has just taken sc, and sc->watch goes along, in the stage WINDOW: the host moves it
     * from now on (seam/watch.h).  NULL: all that it does is TARGET. */
    void (*watch)(struct scsi_host *h, struct scsi_cmd *sc);
};

enum scsi_host_state {
    SCSI_HOST_RUNNING,
    SCSI_HOST_BLOCKED, /* the session waits for a login: commands are held, not failed */
    SCSI_HOST_GONE,    /* there is no session and nobody waits for one: commands fail; a late login
                          makes it RUNNING */
};

/* What a host calls when something happens to it.  The midlayer sets it before the first command.
 */
struct scsi_host_events {
    /* The command window has opened again, or a task has become free. */
    void (*restart)(void *user);
    /* The host is in another state.  why is valid while the call lasts; NULL when it runs again. */
    void (*state)(void *user, enum scsi_host_state s, const struct lunette_error *why);
    /* Sense data that belongs to no command came: async event 0 (RFC 7143 11.9.1). */
    void (*async_sense)(void *user, const uint8_t lun[8], const uint8_t *sense, uint16_t len);
    /* The host is about to be freed: it has given every command back, and must not be touched after
     * this call.  A midlayer that has left, and set ev to NULL, is not told. */
    void (*freed)(void *user);
    /* The time of commands stands still while the host, though RUNNING, waits for another
     * connection, and then it runs on.  Where the state changes meanwhile, it runs on before that
     * is told.  May be NULL; may be told again what is so already. */
    void (*clock)(void *user, bool runs);
};

struct scsi_host {
    const struct scsi_host_ops *ops;
    struct loop *loop;
    const struct scsi_host_events *ev; /* may be NULL until the midlayer attaches */
    void *ev_user;
    char name[16];         /* "host0": for log lines */
    uint32_t can_queue;    /* commands outstanding at most */
    uint32_t max_cdb_len;  /* bytes */
    uint32_t max_sg;       /* iovecs of one command at most */
    uint64_t max_transfer; /* bytes of one command at most */
    uint64_t
        patience_ns; /* how long it stays BLOCKED by one loss; 0: it does not say, or for ever */
    enum scsi_host_state state;
};

#endif
