/* SPDX-License-Identifier: MIT */
/* iscsi/task.h - what the iSCSI layer keeps of a task beside what transports see of it.
 *
 * A task is a slot of its session's table.  A tag (ITT) is a generation above the slot's number;
 * the generation changes with each use of the slot, so that a late PDU hits no newer task.  It is
 * never all ones, so that no tag is the reserved one (RFC 7143 11.2.1.8).
 */
#ifndef ISCSI_TASK_H
#define ISCSI_TASK_H

#include <assert.h>

#include "seam/transport.h"

struct session;
struct mend;

#define ITT_GEN_STEP (1u << ISCSI_SLOT_BITS)
#define ITT_GEN_LIMIT                                                                              \
    (UINT32_MAX - (ITT_GEN_STEP - 1)) /* the first tag with the last generation                    \
                                       */

enum task_kind {
    TASK_SCSI,      /* a command of the SCSI midlayer */
    TASK_PING,      /* a NOP-Out of ours that wants an answer */
    TASK_NOP_REPLY, /* a NOP-Out that nobody answers: it ends when it has been sent */
    TASK_TMF,       /* a task management request */
    TASK_USER,      /* a request of the control plane that wants an answer */
    TASK_SNACK,     /* a SNACK: it ends when it has been sent */
    TASK_CLEAR,     /* a Logout of a connection that was lost while others serve */
    TASK_REASSIGN,  /* a TASK REASSIGN of a command whose connection was lost: iscsi/reassign.c */
};

enum task_reassign {                 /* of an UNASSIGNED command, at error recovery level 2 */
                     REASSIGN_NONE,  /* its connection is not known to be over at the target */
                     REASSIGN_DUE,   /* it is to get another connection */
                     REASSIGN_ASKED, /* the answer has not come */
};

struct task {
    struct iscsi_task pub;
    enum task_kind kind;
    union { /* read as one word where all must be 0 */
        struct {
            bool started;      /* init_task was called: cleanup_task is due */
            bool marked : 1;   /* swept, reset or eh are, or were, set */
            bool watched : 1;  /* its command is timed */
            bool mended : 1;   /* mend is set */
            bool numbered : 1; /* PENDING: it goes again with the CmdSN that it has */
            bool
                data_lost : 1; /* the target does not send missing data again: it cannot end well */
            bool resend : 1;   /* RUNNING: its command is to be sent again with its number, on the
                                  connection that it has */
            bool discarded : 1; /* UNASSIGNED: it is to go again when the transport lets go of it */
            bool told : 1;      /* RUNNING: the target may have ended it, and is to be asked */
            bool xmit_fast;     /* xmit_fast took it: cleanup_task is due while its data leaves */
            bool old_nexus : 1; /* it was there before the nexus that works now */
            bool covered : 1;   /* a function of ours that is out ends it: it is quiet until then */
            bool owes : 1;      /* it is quiet, and xmit_task is due when it is not */
            bool unsure : 1; /* UNASSIGNED: it was not acknowledged when its connection was cleared;
                                iscsi/again.c finds out what the target knows of its number */
            bool went_again : 1; /* it went again with its number, perhaps behind higher ones */
        };
        uint16_t end_general; /* the first three: where one is set, the task's end takes the general
                                 path */
        uint32_t flags;       /* all of them */
    };
    uint8_t resent;    /* how often its command was sent again on its connection */
    bool swept;        /* the task management function under way waits for its end */
    bool reset;        /* a session reset waits for its end */
    bool cleaning;     /* cleanup_task has not ended: the transport may refer to the task */
    uint64_t asked_ns; /* loop clock when the midlayer last asked whether it moves */
    union {
        struct mend *mend; /* what is kept while PDUs of it are missing; NULL: none are */
        void *next_data;   /* TASK_USER: as user_data, of the PDU that waits */
    };
    struct scsi_eh_wait *eh;             /* who waits for its abort; NULL: nobody */
    uint64_t lost_ns;                    /* UNASSIGNED: loop clock when its connection had ended, */
    uint16_t lost_cid;                   /* which connection that was, */
    uint16_t time2wait_s, time2retain_s; /* what was in force for it, */
    bool conn_logged_out;                /* whether it had been logged out, */
    bool conn_is_back;                   /* and whether its CID has logged in again: iscsi/fate.h */
    uint8_t reassign;                    /* enum task_reassign */
    uint8_t blamed;      /* connections that the task with that tag was on and that have ended, */
    uint8_t unheard;     /* of these before its number, the next expected, was acknowledged */
    uint32_t blamed_itt; /* it is no longer that tag's where this is another one */
    union {
        uint64_t reassign_ns; /* DUE: not before this; loop clock */
        uint32_t acks_itt; /* TASK_SNACK that is a DataACK: of the command whose data it is about */
        uint32_t next_len; /* TASK_USER: bytes of next_data */
    };
    bool
        answered; /* TASK_USER: the exchange goes on, with this tag, when the control plane asks, */
    bool next;    /* as it has, and its PDU waits for the transport to let go of the one before */
    struct session *session;
    struct task *next_free;
    uint32_t slot;
    uint32_t ended_itt; /* the last tag of the slot whose task was ended by task management, and
                           whose late PDUs are dropped (RFC 7143 4.2.3.3); reserved: none */
    union bhs_any ctl;  /* not of TASK_SCSI: the header to send */
    void *user_data;    /* TASK_USER: a copy of the data segment, freed with the task */
};

static_assert(offsetof(struct task, flags) == offsetof(struct task, started) &&
                  offsetof(struct task, xmit_fast) == offsetof(struct task, started) + 2,
              "the flags lie as the words that read them at once expect");

static inline struct task *
to_task(struct iscsi_task *t)
{
    return container_of(t, struct task, pub);
}

#endif
