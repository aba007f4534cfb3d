/* SPDX-License-Identifier: MIT */
/* tests/sim/control_world.h - control/ over the encoded binding, a data plane with units and
 * exports on one loop or several, and lunette-target, all on virtual time.
 *
 * Either plane can be killed and another started.  The owner of the control plane is stubborn: what
 * it wants of a node it asks for again whenever all is looked at.
 */
#ifndef TESTS_CONTROL_WORLD_H
#define TESTS_CONTROL_WORLD_H

#include "tests/test.h"

#include "control/control.h"
#include "control/internal.h"
#include "dataplane/dataplane.h"
#include "iod/units.h"
#include "target/target.h"
#include "tests/sim/sim_loop.h"
#include "tests/support/ipc_delayed.h"
#include "transport/transport.h"

#define CW_MS       LOOP_NS_PER_MS
#define CW_LIMIT_NS (120 * LOOP_NS_PER_S)
#define CW_NODES    2
#define CW_LUNS     2
#define CW_LOOPS    2 /* at most */
#define CW_GRACE_MS 200u

#define CW_OWNERS 2 /* of leases */

struct cw;
struct cw_node;

/* A lease of one of the owners: what he was told, he relies on. */
struct cw_lease {
    struct control_waiter waiter;
    struct cw_node *cn;
    bool asked;
    uint64_t asked_until, until;
};

struct cw_node {
    struct cw *w;
    struct control_node *n;
    bool want, asked;
    struct control_waiter waiter;
    unsigned told; /* how often the waiter was called */
    struct lunette_error err;
    uint8_t isid[LOGIN_ISID_LEN]; /* of the first session that was up */
    bool has_isid;
    unsigned founds, backs;
    bool leased; /* it is asked for with the lease of the first owner, and nobody else keeps it */
    struct cw_lease lease[CW_OWNERS];
    uint64_t ttl_ns; /* of logins with a lease */
    unsigned overs;  /* how often it was logged out since nobody had a lease */
};

struct cw {
    struct sim *sim;
    struct loop *loop;
    struct target *target;
    struct sock_addr portal;
    struct transport_registry registry;
    unsigned loops, gate_max;
    uint64_t delay_ns;
    uint32_t conns, erl; /* what records want; 0: as it is by default */
    bool no_nodes;       /* the next control plane has no records */
    bool quiet;          /* nothing is asked for by itself */
    uint32_t idle_ms;    /* control_set_idle; 0: as it is */
    /* the data plane */
    struct dp_ids *ids;
    struct dataplane *dp[CW_LOOPS];
    struct iod_units *units[CW_LOOPS];
    /* the control plane */
    struct ipc_delayed *binding[CW_LOOPS];
    uint64_t generation[CW_LOOPS];
    struct ctl *ctl[CW_LOOPS];
    struct login_gate gate;
    struct control *c;
    bool ready;
    struct cw_node node[CW_NODES];
    enum control_state until;          /* for a test that waits for a state */
    char what[96];                     /* happens here */
    unsigned events[CONTROL_GONE + 1]; /* by type */
    unsigned exported, troubles;
    struct lunette_error trouble;
};

struct cw *cw_new(uint64_t seed, unsigned loops);
void cw_free(struct cw *w);

/* The target listens at 10.0.0.HOST, too. */
void cw_listen(struct cw *w, unsigned host, struct sock_addr *ret);
/* The configuration of a node for target number `target`; cfg points to login. */
void cw_config(struct cw *w, unsigned target, struct login_config *login,
               struct control_node_config *cfg);
/* The export that was started last, if it is there, cannot go on. */
void cw_export_breaks(void);

/* A client of the export that was started last comes, or (false) goes; either reads. */
void cw_use(struct cw *w, bool on);

/* Owner number `owner` gives or renews a lease of node i, or releases it. */
void cw_lease_give(struct cw *w, unsigned i, unsigned owner, uint64_t ttl_ns, bool only);
void cw_lease_release(struct cw *w, unsigned i, unsigned owner);

void cw_control_start(struct cw *w);
/* As a process that is killed: what it has written may still be read. */
void cw_control_die(struct cw *w);
/* The data plane's process dies and another comes `away_ns` later. */
void cw_data_restart(struct cw *w, uint64_t away_ns);

/* The connection to one loop is lost, and made again; sessions live on. */
void cw_loop_lose(struct cw *w, unsigned i);
void cw_loop_back(struct cw *w, unsigned i);
void cw_loop_hiccup(struct cw *w, unsigned i);

void cw_want_one(struct cw *w, unsigned i, bool up);
void cw_want(struct cw *w, bool up);
/* Everything is as it is wanted, and nothing is under way. */
bool cw_steady(void *user);
/* Runs until it is. */
void cw_settle(struct cw *w);
void cw_pass(struct cw *w, uint64_t ns);

/* Sessions whose host runs; sids[CW_NODES] (may be NULL) gets them. */
unsigned cw_running(struct cw *w, uint32_t *sids);
bool cw_has_session(struct cw *w, uint32_t sid);
uint64_t cw_logins(struct cw *w);
/* What must hold where all is steady: nothing more and nothing less than what is wanted is there.
 */
void cw_check(struct cw *w);

#endif
