/* SPDX-License-Identifier: MIT */
/* iscsid/history.h - what has happened to sessions, for people who want to know why.  All is
 * bounded; where memory is short something is left out. */
#ifndef ISCSID_HISTORY_H
#define ISCSID_HISTORY_H

#include "control/control.h"

struct iscsid;

#define HISTORY_EVENTS 16 /* of a session; older ones go */
#define ASKER_TEXT_MAX 64

struct history_event {
    uint64_t ns;      /* loop clock, of the last one where it counts several */
    const char *what; /* a word for programs; a constant */
    unsigned count;   /* how often the same came, one after the other */
    char *text;       /* NULL: there was no memory */
};

struct history {
    struct list node; /* of those that have ended */
    struct control_name name;
    uint32_t sid; /* of the last session; 0: there was none */
    struct history_event events[HISTORY_EVENTS];
    unsigned n;
    uint64_t began_ns, ended_ns;
    char *by;         /* why it is being logged out; NULL: nobody has said */
    uint64_t lost_ns; /* 0: it is not lost */
    uint32_t tries;   /* since then, or since it began */
    bool conn_lost;   /* a connection was, of several, and the next that comes is told of */
    bool found;       /* the state that follows is what was found */
};

struct histories {
    struct list ended; /* struct history; the oldest first */
    unsigned n;
};

void histories_init(struct histories *all);
/* Before the nodes go. */
void histories_fini(struct iscsid *d);
/* Those that have ended long ago go. */
void history_forget_old(struct iscsid *d);

/* The policy tells something. */
void history_event(struct iscsid *d, const struct control_event *ev,
                   const struct control_info *info);
/* Somebody has asked for the session, with a lease of that owner or (NULL) without. */
void history_asked(struct iscsid *d, struct control_node *n, const struct control_asker *a,
                   const char *lease);
/* Somebody asks for its end; a sentence about why. */
void history_leaves(struct iscsid *d, struct control_node *n, const char *by);
/* That sentence; "": there is none. */
const char *history_reason(const struct control_node *n);

/* Who it is, in words; maybe in buf. */
const char *asker_text(const struct control_asker *a, char buf[ASKER_TEXT_MAX]);

#endif
