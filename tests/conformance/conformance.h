/* SPDX-License-Identifier: MIT */
/* tests/conformance/conformance.h - one suite for every transport: what the whole stack above
 * struct iscsi_transport (src/seam/transport.h) may rely on, in twelve groups.
 *
 * README.md says how a transport becomes a member.  A member is a transport and the machine that
 * carries it; a net is where it runs: a real loop with sockets, or the simulator.  A row of the
 * matrix is both.  A group that does not apply to a row says why, in a sentence that is printed.
 *
 * The initiator is the whole library on the net's loop, the target is lunette-target's library on
 * the same loop, and between them is a path (path.h) that counts, holds, drops and cuts PDUs.
 */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "api/internal.h"
#include "lu/store.h"
#include "target/target.h"
#include "tests/conformance/path.h"

#define CONFORM_MS    LOOP_NS_PER_MS
#define CONFORM_SEC   LOOP_NS_PER_S
#define CONFORM_NODE  "iqn.2026-11.example:conformance"
#define CONFORM_NAME  "iqn.2026-11.example:initiator"
#define CONFORM_BLOCK 512u
#define CONFORM_DISK  (17u << 20) /* bytes, where a test does not say otherwise */

enum conform_group {
    CONFORM_CONNECT,
    CONFORM_LOGIN,
    CONFORM_SIZES,
    CONFORM_WINDOW,
    CONFORM_ABORT,
    CONFORM_RESET,
    CONFORM_CUT,
    CONFORM_ORDER,
    CONFORM_UNBIND,
    CONFORM_PARAMS,
    CONFORM_STATS,
    CONFORM_KILL,
    CONFORM_GROUPS,
};

struct conform_world;

/* Where a member runs. */
struct conform_net {
    const char *name;
    const struct conform_path_kind *path;
    bool rdma; /* the target listens for RDMA connections */
    /* Sets w->loop.  -errno: this machine has no such loop. */
    int (*open)(struct conform_world *w);
    void (*close)(struct conform_world *w);
    /* An address to listen at; its port may be 0. */
    void (*address)(struct conform_world *w, struct sock_addr *ret);
    /* A portal that refuses connections, and one where no answer comes. */
    void (*nobody)(struct conform_world *w, struct sock_addr *ret);
    void (*silent)(struct conform_world *w, struct sock_addr *ret);
    /* One where connections are made, and whoever is to have them does not hear of it.  NULL: there
     * is no such thing. */
    void (*stuck)(struct conform_world *w, struct sock_addr *ret);
    /* The silent portal answers from now on, and leads to the target. */
    void (*speak)(struct conform_world *w);
    /* Starts a target that is apart: a process of its own at w->target_at, which is set where its
     * port is 0; and ends it by SIGKILL, in the middle of whatever it does.  NULL, both: there are
     * no processes, and the world frees a target of this one without asking anybody. */
    void (*revive)(struct conform_world *w);
    void (*kill)(struct conform_world *w);
};

struct conform_member {
    const char *name;
    const struct iscsi_transport *tt; /* NULL: find does */
    /* Returns a transport that is not linked in, or NULL: it is not here, and its tests are
     * skipped. Called once. */
    const struct iscsi_transport *(*find)(void);
    const char *options;    /* of a URL that has it: "transport=NAME", or "" */
    const char *ep_options; /* the transport's own of them; NULL: it has none */
    /* May be NULL: makes what carries the transport, once w->ctx is there, and ends it before
     * w->ctx does. */
    void (*begin)(struct conform_world *w);
    void (*end)(struct conform_world *w);
    /* May be NULL: what must hold between two turns. */
    void (*check)(struct conform_world *w);
    /* Of a transport that logs in by itself, both; NULL: it does not.  record: its adapter is
     * to log in as w->url and w->secret say.  forget: it ends the sessions that it keeps. */
    void (*record)(struct conform_world *w);
    void (*forget)(struct conform_world *w);
    /* The process that plays the adapter dies as by SIGKILL, and is started again.  NULL, both:
     * there is none. */
    void (*kill)(struct conform_world *w);
    void (*revive)(struct conform_world *w);
};

struct conform_row {
    const struct conform_member *member;
    const struct conform_net *net;
    const char *not_for[CONFORM_GROUPS]; /* NULL: the group applies */
};

extern const struct conform_row conform_rows[];
extern const unsigned conform_nrows;

/* What a test wants its world to be.  All zero will do. */
struct conform_setup {
    const char *options;                /* of the URL, "key=value&..."; NULL: none */
    const struct target_key_value *set; /* keys that the target offers */
    uint32_t set_count;
    bool chap;    /* mutual */
    bool digests; /* header and data */
    bool apart;   /* the target can be killed */
};

struct conform_world {
    const struct conform_row *row;
    struct conform_setup setup;
    struct loop *loop;
    void *net, *machine; /* the net's and the member's own */
    struct lu_store store;
    uint8_t *disk; /* what the unit holds, shared with a target that is apart */
    struct target *target;
    struct sock_addr target_at, portal;
    uint64_t seed;             /* of conform_random */
    struct conform_path *path; /* from portal to target_at */
    struct lunette_ctx *ctx;
    const char *secret[2]; /* the initiator's and the target's, as the initiator has them */
    char url[512];
};

/* ---- world.c -------------------------------------------------------------------------------- */

/* The row that is being tested, its transport, and what all choices are made of. */
extern const struct conform_row *conform_row;
extern const struct iscsi_transport *conform_tt;
extern uint64_t conform_seed;

void conform_open(struct conform_world *w, const struct conform_setup *setup);
/* Everything that was opened in w->ctx has been closed.  Nothing may be left of it, neither here
 * nor at the target. */
void conform_close(struct conform_world *w);
/* A URL of the unit by way of another portal, with further options, "key=value&..." or "". */
const char *conform_url(struct conform_world *w, const struct sock_addr *portal, const char *more);
/* The row's adapter has the sessions: it logs in, and again after a loss, by itself. */
bool conform_by_itself(void);
/* A ping with so many bytes, which is answered; nothing where the pings are the adapter's own. */
void conform_ping(struct lunette_lun *lun, size_t len);
/* Sessions that an adapter keeps by itself end; harmless where none does. */
void conform_forget(struct conform_world *w);
/* Opens the unit, which must go well. */
struct lunette_lun *conform_lun(struct conform_world *w);
/* Makes a target on w->loop: 0, or -errno with a sentence. */
int conform_target_new(struct conform_world *w, struct lunette_error *err);
/* Has it listen at one more address, whose port may be 0 where the net can choose one. */
int conform_target_listen(struct conform_world *w, struct sock_addr *at, struct lunette_error *err);
/* Starts the target, apart or not; ends it without asking anybody. */
void conform_target_start(struct conform_world *w);
void conform_target_kill(struct conform_world *w);
uint64_t conform_random(struct conform_world *w, uint64_t below);
/* Bytes that depend on where they lie and on `salt`. */
void conform_fill(uint8_t *p, size_t len, uint64_t offset, unsigned salt);
/* Lets the time of the loop pass. */
void conform_wait_ms(struct conform_world *w, uint64_t ms);
/* One turn, which waits no longer than a millisecond. */
void conform_turn(struct conform_world *w);

/* Turns until cond, or failure after a minute: of waiting, not of guessing how long. */
#define CONFORM_UNTIL(w, cond)                                                                     \
    do {                                                                                           \
        uint64_t limit_ = (w)->loop->now_ns + 60 * CONFORM_SEC;                                    \
        while (!(cond)) {                                                                          \
            conform_turn(w);                                                                       \
            if ((w)->loop->now_ns > limit_)                                                        \
                fail_msg("never: %s", #cond);                                                      \
        }                                                                                          \
    } while (0)

/* Fails with the sentence of err where r is not 0. */
#define CONFORM_OK(r, err)                                                                         \
    do {                                                                                           \
        if ((r) != 0)                                                                              \
            fail_msg("%s", (err).msg);                                                             \
    } while (0)

/* ---- the groups ----------------------------------------------------------------------------- */

void conform_group_connect(void);
void conform_group_login(void);
void conform_group_sizes(void);
void conform_group_window(void);
void conform_group_abort(void);
void conform_group_reset(void);
void conform_group_cut(void);
void conform_group_order(void);
void conform_group_unbind(void);
void conform_group_params(void);
void conform_group_stats(void);
void conform_group_kill(void);
/* The half of the group "reset" that asks the host by itself. */
void conform_reset_hosts(void);

/* ---- nets and members ----------------------------------------------------------------------- */

extern const struct conform_net conform_epoll, conform_uring, conform_sim, conform_sim_rdma;
extern const struct conform_member conform_sw_tcp, conform_fake, conform_fake_gathers,
    conform_object, conform_offload_session, conform_offload_beside, conform_iser,
    conform_iser_pool, conform_iser_register;
/* The simulator of a net that is one; NULL: it is not. */
struct sim *conform_simulator(struct conform_world *w);
/* For `begin`: w->ctx knows conform_tt. */
void conform_register(struct conform_world *w);
/* For `check`: the iSCSI layer's sessions of w->ctx are as they have to be between two turns. */
void conform_check_sessions(struct conform_world *w);

#endif
