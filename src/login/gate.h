/* SPDX-License-Identifier: MIT */
/* login/gate.h - how many logins may be under way at a time.
 *
 * When a target with thousands of sessions comes back, all of them want to log in at the same
 * moment.  Whoever logs in passes the gate first: as many as its limit are under way, and the
 * others wait for their turn in the order in which they came, first logins and reopened sessions
 * alike.
 *
 * Those whose last try has failed, or whose portal does not answer others, stand behind: they wait
 * in a row of their own, let all others go first, and have half of the places at most.  So dead
 * portals, each of which holds a place until a time limit is over, never keep the living out.  To
 * be sure of their turn, one of them goes after LOGIN_GATE_OVERTAKEN that have gone first.
 *
 * There is one gate for each context or process.  All of it runs on the loop's thread, and nothing
 * is allocated.
 */
#ifndef LOGIN_GATE_H
#define LOGIN_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "seam/loop.h"

#define LOGIN_GATE_MAX 32 /* logins under way, unless the owner says otherwise */

#define LOGIN_GATE_OVERTAKEN 8 /* go first while others stand behind, then one of those goes */

struct login_gate {
    struct loop *loop;
    uint32_t max;           /* logins under way at a time; 0: no limit */
    uint32_t inside;        /* that have passed and not left */
    uint32_t inside_behind; /* of these, those that stood behind */
    uint32_t overtaken;     /* how many have gone first since one that stood behind went */
    struct list waiting;    /* struct login_turn, the one that came first in front */
    struct list behind;     /* likewise */
    struct loop_work work;
};

/* A place at the gate, embedded in whoever logs in. */
struct login_turn {
    struct list node;
    struct login_gate *gate; /* NULL: neither waiting nor inside */
    bool inside;             /* it has passed */
    bool behind; /* it stands behind others; its owner says so before it comes to the gate */
    void (*passed)(struct login_turn *t); /* may leave the gate, or free what t is part of */
};

/* loop is borrowed and outlives the gate. */
void login_gate_init(struct login_gate *g, struct loop *loop, uint32_t max);

/* Nobody is inside or waits. */
void login_gate_fini(struct login_gate *g);

/* Changes the limit.  Those that are inside stay, though they be more. */
void login_gate_set_max(struct login_gate *g, uint32_t max);

void login_turn_init(struct login_turn *t, void (*passed)(struct login_turn *t));

/* Comes to the gate.  t must be neither waiting nor inside.  Returns true when t has passed at
 * once.  Else t waits, and t->passed is called later, from the loop, when it has passed. */
bool login_gate_enter(struct login_gate *g, struct login_turn *t);

/* Leaves the gate from inside, which lets the next one in, or gives up waiting.  Does nothing when
 * t is neither.  Never calls anybody from inside this call. */
void login_gate_leave(struct login_turn *t);

#endif
