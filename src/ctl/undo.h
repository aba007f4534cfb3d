/* SPDX-License-Identifier: MIT */
/* ctl/undo.h - takes connections and a session out of the data plane, one uevent after the other:
 * STOP_CONN, DESTROY_CONN, EP_DISCONNECT for each, then DESTROY_SESSION. */
#ifndef CTL_UNDO_H
#define CTL_UNDO_H

#include "ctl/ctl.h"

#define UNDO_CONNS_MAX 32

struct undo_conn {
    uint16_t cid;
    uint64_t ep;        /* 0: none */
    bool stop, destroy; /* STOP_CONN, DESTROY_CONN are to be sent */
};

/* The owner fills it in and keeps it until done is called.  There is no way to cancel it.  Loop's
 * thread. */
struct undo {
    struct ctl *ctl;
    uint32_t sid;
    struct undo_conn conns[UNDO_CONNS_MAX];
    uint32_t nconns;
    enum iscsi_stop how;
    bool destroy_session;
    void (*done)(struct undo *u); /* called once, possibly from inside undo_start */
    uint32_t at;                  /* the next request's number; undo.c sets it */
};

/* Sends the first request, and each further one when the one before is answered.  A failure is
 * logged, and the rest is undone all the same.  The owner has a reservation of ctl (ctl_reserve),
 * so that no request is left out for want of memory. */
void undo_start(struct undo *u);

#endif
