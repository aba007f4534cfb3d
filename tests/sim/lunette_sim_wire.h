/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_wire.h - what is known of sessions and connections on the wire, shared by
 * wire.c, which reads along, and heard.c, which looks at what is acknowledged, moved and cleared.
 */
#ifndef TESTS_SIM_LUNETTE_SIM_WIRE_H
#define TESTS_SIM_LUNETTE_SIM_WIRE_H

#include "tests/sim/lunette_sim.h"
#include "wire/bhs.h"

#define LOGIN_MAX    8192
#define LOST_MAX     256
#define AHEAD_MAX    4096 /* numbers that one connection may be ahead of another */
#define DATA_INS     512  /* of a command, that are looked at */
#define STATUS_AHEAD 256  /* responses behind one that is missing */
#define OWED_MAX     512
#define LOOSE_MAX    32
#define SWEPT_MAX    64

struct r2t {
    uint32_t ttt, offset, len, sent, data_sn;
};

/* A command of a connection that is over, at level 2: it may be reassigned once that is cleared. */
struct owed {
    uint32_t itt;
    uint16_t cid;
    bool cleared;
};

/* A Logout for cid that was under way on a connection which is over: it may arrive yet, until the
 * target has let go of that one. */
struct loose {
    uint16_t cid, via;
};

/* A session, from the login of its leading connection on: what its connections share. */
struct nexus {
    struct list node;
    uint8_t isid[6];
    uint16_t tsih;                  /* 0: not told yet */
    uint32_t conns, ever;           /* that there are, and that there were */
    uint32_t cmd_sn, max_cmd_sn;    /* all below are used; the last that may be sent */
    uint64_t ahead[AHEAD_MAX / 64]; /* bit n: cmd_sn + 1 + n is used as well */
    uint64_t gap_ns;                /* since when cmd_sn is missing; 0: it is not */
    bool outlives;                  /* ErrorRecoveryLevel is 2: it outlives its connections */
    bool repairs; /* ErrorRecoveryLevel is 1 or 2: what is spoiled is asked for again */
    bool again;   /* a connection was lost, or spoiled: numbers may go again */
    struct owed owed[OWED_MAX];
    struct loose loose[LOOSE_MAX];
    uint32_t oweds, looses;
};

struct task {
    uint32_t itt, cmd_sn, ref; /* ref: of task management */
    uint8_t opcode, function, lun, cdb[16];
    uint16_t cid; /* of a Logout */
    struct r2t r2t[16];
    uint32_t r2ts;
    bool reads;
    uint64_t good[DATA_INS / 64]; /* Data-Ins that have come whole */
    uint32_t ack_ttt;             /* of the Data-In that wants to be acknowledged */
    bool answered; /* its response with that number has come, and `want` Data-Ins belong to it */
    uint32_t stat_sn, want;
};

/* One direction of a connection. */
struct lane {
    uint8_t hdr[ISCSI_BHS_LEN];
    uint32_t have;
    uint32_t hdr_rest, data_rest, tail_rest; /* what is still to come of this PDU */
    bool drawn;                              /* that its data are to be spoiled */
    bool bad;                                /* they are */
};

/* A command that may be executed once at most, or goes again with its number. */
struct once {
    uint8_t lun, cdb[16];
    uint32_t itt, cmd_sn;
    uint16_t tsih, cid; /* of its session, in which the number may go again, and its connection */
};

struct wire_conn {
    struct list node;
    uint32_t id;
    uint16_t cid;
    struct lane lane[2]; /* to the client, to the server */
    bool ffp, header_digest, data_digest;
    bool left;           /* a Logout Request was sent */
    bool mended;         /* data were spoiled, for which it must not be lost */
    bool spoiled;        /* what is sent, and whether it is heard, is not what was meant */
    bool deaf;           /* the initiator does not hear what comes */
    struct nexus *nexus; /* NULL: it has not sent anything */
    uint32_t last_sn;    /* the largest that it has sent */
    bool numbered;       /* it has sent one */
    bool stat_known;
    uint32_t stat_sn;                       /* the next response that is missing */
    uint64_t stat_ahead[STATUS_AHEAD / 64]; /* bit n: stat_sn + 1 + n has come */
    struct task *task;
    uint32_t tasks, room;
    struct once swept[SWEPT_MAX]; /* the last commands that functions have ended, a ring */
    uint32_t swepts;
    char login[LOGIN_MAX + 1]; /* text of the target's answers */
    uint32_t login_len;
};

struct ls_wire {
    struct ls_world *w;
    struct list conns, nexuses;
    struct once lost[LOST_MAX]; /* commands that may have been executed, and were not given back */
    uint32_t losts;
    struct ls_spoil spoil;
    uint32_t share; /* of 1024 data segments that are spoiled where that is repaired */
};

struct task *ls_task_of(struct wire_conn *c, uint32_t itt);
void ls_task_end(struct wire_conn *c, uint32_t itt);

/* ---- heard.c -------------------------------------------------------------------------------- */

/* A login on c is through. */
void ls_heard_login(struct wire_conn *c, const uint8_t *h);
/* A whole PDU has come that takes a StatSN, or is a Data-In.  True: its task is over. */
bool ls_heard(struct wire_conn *c, const uint8_t *h);
/* What the initiator says with a request: that has come, or is so. */
void ls_heard_check(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h);
/* c logs in to a session that has connections, or had some. */
void ls_heard_joins(struct ls_wire *wi, const struct wire_conn *c);
/* c is over; its tasks are still there. */
void ls_heard_over(struct wire_conn *c);

#endif
