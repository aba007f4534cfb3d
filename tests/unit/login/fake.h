/* SPDX-License-Identifier: MIT */
/* tests/unit/login/fake.h - a loop, a data plane and a target for the login layer, in one process
 * and on virtual time.
 *
 * The loop has timers, deferred work, name lookup and connections that answer by
 * address.  The data plane keeps book of sessions, connections, endpoints and
 * descriptors and asserts that each is made and ended once; every message each
 * way is delayed at random, in order per connection as seam/ipc.h promises.
 * The target is a puppet that speaks by a script.
 */
#ifndef LOGIN_FAKE_H
#define LOGIN_FAKE_H

#include "base/timerq.h"
#include "ctl/ctl.h"
#include "login/login.h"
#include "login/logout.h"
#include "seam/ipc.h"
#include "seam/loop.h"
#include "wire/bhs.h"
#include "wire/text.h"

#define FAKE_TEXT   (1u << 20)
#define FAKE_LOGINS 64

/* One Login Request and what is said to it.  Words are separated by blanks.
 *
 * want: "Key", "Key=value", "!Key" (must not be there), "^Key" (is the first one), "T", "!T", "C",
 * "CSG0", "CSG1", "empty"
 * say:  "Key=value", or one of
 *   @answer    answers each offered key as a plain target would
 *   @chap=A    CHAP_A=A and a challenge; @chap0 = without it: CHAP_I CHAP_C must be spelled out
 *   @verify    asserts CHAP_N and CHAP_R (the initiator's account)
 *   @prove     CHAP_N and CHAP_R for the initiator's challenge, right
 *   @reflect   CHAP_N and CHAP_R made with the initiator's own secret
 *   @echo      CHAP_C (with CHAP_A, CHAP_I) that another connection of ours sent
 *   @T @noT @C @CSG=n @NSG=n @TSIH=n @ver=n @isid @status=xxxx @op=xx
 *   @isid=zero, @isid=extended, @isid=all   the ISID as zeroes, or with bytes that became FFh, some
 *         or all
 *   @nuls=n    n NULs behind the text
 *   @silent    no response
 *   @twice     the same response twice
 *   @pad=n     fills the data up to n bytes with X-pad keys
 *   @nonul     the last NUL is missing
 *   @async     an Async Message after the response
 *   @cut       the connection breaks
 * Without @T/@noT, T follows the request. */
struct step {
    const char *want, *say;
};

enum fake_stall { STALL_NEVER, STALL_LATE, STALL_FOREVER };

struct fake_conn {
    bool there, bound, started;
    bool leaves;  /* the target wants it to be logged out, and says so once */
    bool leading; /* as the last BIND_CONN has it */
    uint32_t sid;
    uint16_t cid;
    int fd;
    uint64_t ep; /* as the last BIND_CONN has it */
    int script, step;
    /* the text of a request with C, and of a split response */
    char *text;
    size_t text_len;
    char *rest;
    size_t rest_len;
    bool transit_later;
    unsigned chap_alg;
    uint64_t to_server_ns, to_client_ns;          /* when the last message each way arrives */
    char names[ISCSI_PARAM_COUNT][IPC_VALUE_MAX]; /* SET_PARAM */
    uint32_t nparams;
    uint32_t starts, stops;
    enum iscsi_stop stopped_how; /* the last time */
};

struct world {
    struct loop l;
    struct ipc ipc;
    struct ctl *ctl;
    struct timerq timers;
    struct list deferred;
    uint64_t seed, rng;
    uint64_t delay_max_ns;
    uint32_t turns;
    /* books */
    int open_streams, open_fds, open_eps, resolving;
    struct fake_ep {
        uint64_t id;
        uint64_t settled_ns; /* when it came up or failed */
        bool silent;         /* it never does */
        int err;
    } eps[4 * FAKE_LOGINS];
    int neps; /* ever made */
    uint32_t nrequests, requests[ISCSI_UEVENT_COUNT];
    uint32_t sessions_made, sessions_gone;
    bool session[FAKE_LOGINS + 1];
    struct fake_conn conn[FAKE_LOGINS];
    int nconn;                          /* ever created */
    int nbound;                         /* ever bound: script number */
    uint8_t connected_to[FAKE_LOGINS];  /* last octet */
    uint64_t connected_ns[FAKE_LOGINS]; /* when */
    int nconnects;
    struct stream_opts connected_with; /* the last connection */
    struct sock_addr ep_source;        /* of the last EP_CONNECT */
    char ep_options[IPC_VALUE_MAX];    /* the same */
    int connect_err;                   /* what every stream_connect fails with */
    uint64_t seq;
    uint64_t other_ns[2];
    /* behaviour */
    uint32_t caps, max_recv_dlength; /* what GET_TRANSPORT says of "tcp" */
    const char *ep_why;              /* of endpoints that do not come up; NULL: nothing */
    bool no_ep_events;               /* EP_EVENT gets lost: only EP_POLL tells */
    const char *adapter_fails; /* with CAP_LOGIN_OFFLOAD: why it cannot log in; NULL: it does */
    bool adapter_silent;       /* it never tells */
    const struct step *scripts[FAKE_LOGINS];
    int nscripts;
    enum fake_stall stall;
    uint32_t stall_at;      /* number of the request, 1...; 0: none */
    uint32_t refuse_at;     /* request answered with an error */
    const char *refuse_why; /* with a sentence; NULL: none */
    int ep_connect_err;     /* what every EP_CONNECT is answered with */
    uint64_t ep_ns;         /* what it takes until an endpoint comes up */
    unsigned eps_given_up;  /* that the peer worked at, and would have come up */
    uint32_t send_fails_at; /* ipc_request itself fails */
    int split;              /* response text is split there; -1: not */
    uint64_t mutate;        /* seed of mutation of responses, 0: none */
    bool strict;            /* script violations fail the test */
    uint8_t early; /* flags of answers to requests with C; ISCSI_LOGIN_TRANSIT: with text */
    const char *chap_user, *chap_secret, *target_user, *target_secret;
    /* Until then a connection that is begun is refused, or, in a black hole, never comes up; mute:
     * it comes up, and then nothing is said. */
    uint64_t outage_until_ns;
    bool black_hole, mute;
    uint8_t dead; /* 10.0.0.DEAD takes no connection: it refuses, or is a black hole; 0: none */
    uint64_t answer_ns;  /* what each answer takes */
    bool no_memory;      /* for requests but those that tidy up */
    bool several;        /* the session has several connections, and ends with all of them */
    uint32_t busy_binds; /* BIND_CONN that are refused yet, as the CID is asked about */
    uint32_t busy_cids;  /* those of these CIDs, one a bit, are refused as well */
    bool gone_is_ok; /* requests may be about what is gone or lost already: -ENOENT, -ENOTCONN */
    uint32_t pdus;
    char last_challenge[200];          /* CHAP_C that the initiator sent last */
    uint8_t isid_sent[LOGIN_ISID_LEN]; /* in the last Login Request */
    /* logout */
    bool silent_logout;
    uint8_t logout_response;
    uint16_t logout_time2wait;
    uint32_t logouts;
    /* discovery */
    const char *targets; /* text with '|' for NUL */
    size_t targets_len, targets_at, targets_piece;
    bool text_c_bit, silent_text, cut_text;
    uint8_t text_reject;
    uint32_t texts, ttt;
    bool odd_text; /* these instead of what is right */
    uint8_t text_flags;
    uint32_t text_ttt;
    /* what the login said */
    bool done;
    int dones;
    struct login_result res;
    struct lunette_error err;
};

struct world *world_new(uint64_t seed);
/* Asserts that nothing is left. */
void world_free(struct world *w);
void world_config(struct world *w, struct login_config *cfg);
uint64_t world_random(struct world *w);
/* One callback or deferred batch; false: nothing to do. */
bool world_step(struct world *w);
/* Until *flag or nothing is left to do. */
void world_run(struct world *w, const bool *flag);
/* Until nothing is left to do. */
void world_drain(struct world *w);

void world_login_done(void *user, const struct login_result *res, const struct lunette_error *err);
/* Starts and runs a login to its end; the result is in w. */
void world_login(struct world *w, const struct login_config *cfg);
void world_logout(struct world *w);
void world_logout_done(void *user, const struct lunette_error *err);
void world_logout_conns(struct world *w, uint32_t n);

struct fake_conn *fake_conn(struct world *w, uint32_t sid, uint16_t cid);
const char *fake_param(struct world *w, enum iscsi_param p);

/* puppet.c: a PDU of the initiator. */
void puppet_receive(struct world *w, struct fake_conn *c, const struct bhs *hdr, const void *data,
                    uint32_t len);
/* fake.c: zeroed memory, also where a test has the next allocation fail. */
void *fake_alloc(size_t size);
/* fake.c: to the initiator. */
bool fake_is_mute(const struct world *w);
void fake_send_pdu(struct world *w, struct fake_conn *c, const struct bhs *hdr, const void *data,
                   uint32_t len);
void fake_cut(struct world *w, struct fake_conn *c);
/* The data plane has lost the connection, and has stopped it. */
void fake_lose(struct world *w, struct fake_conn *c, uint32_t time2wait_s, uint32_t time2retain_s);
/* The same, after a request has been answered. */
void fake_lose_served(struct world *w, struct fake_conn *c);
/* The same, but without an event. */
void fake_conn_down(struct world *w, struct fake_conn *c);
void fake_lose_events(struct world *w);
void fake_session_state(struct world *w, uint32_t sid, enum ipc_session_state state);
/* An event of what is above the session: LUN, EXPORT_STOPPED. */
void fake_unit_event(struct world *w, uint32_t sid, enum iscsi_kevent_type type);
void fake_async(struct world *w, struct fake_conn *c, uint8_t event, uint16_t param1,
                uint16_t param2, uint16_t param3);

#endif
