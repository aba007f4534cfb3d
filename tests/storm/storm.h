/* SPDX-License-Identifier: MIT */
/* storm.h - random initiators against a real lunette-target, from a seed.
 *
 * A party is an initiator port with its session and up to STORM_LINKS connections.  It logs in as
 * initiators do, so that what it sends goes deep, and then sends a mixture: what is right, what is
 * allowed but odd, what is wrong, and what is spoiled on the way out.  Each party has random
 * numbers of its own, so that what it decides does not depend on the turns of the others.
 *
 * One party is honest: what it writes must be what it reads.  storm.c runs the target and the
 * parties, link.c moves bytes, login.c logs in, party.c decides what comes next, send.c makes
 * single PDUs, scsi.c makes commands, watch.c is a well-behaved initiator beside them.
 */
#ifndef TESTS_STORM_H
#define TESTS_STORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/bhs.h"
#include "wire/text.h"

#define STORM_PARTIES 9
#define STORM_LINKS   3
#define STORM_TASKS   48
#define STORM_GAPS    4
#define STORM_R2TS    16
#define STORM_SLOTS   24
#define STORM_SLOT    16384u /* bytes */

#define STORM_OUT     (512u << 10) /* bytes that may wait for the socket */
#define STORM_FULL    (96u << 10)  /* no new PDU with so much waiting */
#define STORM_IN      (600u << 10) /* our longest MaxRecvDataSegmentLength, and a header */
#define STORM_SEG_MAX (256u << 10)

#define STORM_PREFIX "iqn.2026-11.example:"
#define STORM_USER   "storm"
#define STORM_SECRET "a secret of the storm"
#define STORM_MUTUAL "the secret of the eye"

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *r);
/* 0 .. n - 1; 0 for n 0. */
uint32_t rng_below(struct rng *r, uint32_t n);
/* True in `permille` of 1000 cases. */
bool rng_chance(struct rng *r, uint32_t permille);
/* Mostly small numbers, sometimes at the edges of the type. */
uint32_t rng_odd(struct rng *r);

enum storm_state { LINK_DOWN, LINK_LOGIN, LINK_FFP };

struct party;

struct storm_link {
    struct party *party;
    int fd;
    enum storm_state state;
    uint16_t cid;
    bool header_digest, data_digest;
    uint32_t stat_sn;
    /* login */
    unsigned plan, step, csg, nsg;
    uint16_t tsih;                   /* of the session that it wants to join; 0: a new one */
    bool agreed_header, agreed_data; /* digests from the full feature phase on */
    char text[8192];
    struct text_buf keys; /* what is still to be sent, in text */
    /* text negotiation in full feature phase */
    uint32_t text_ttt;
    bool text_open;
    /* bytes */
    uint8_t *out, *in;
    size_t out_len, in_len;
    uint64_t unsent;      /* PDUs that begin in out */
    size_t cut;           /* send that much of out, then wait; 0: all */
    unsigned pause, deaf; /* turns without sending, without reading */
    uint64_t life;        /* PDUs since connect */
};

struct storm_r2t {
    uint32_t ttt, off, len;
};

struct storm_task {
    bool used, unsolicited;
    uint8_t lun[8];
    uint32_t itt, edtl, cmd_sn;
    uint32_t off, end, sn; /* of the burst under way */
    const uint8_t *data;   /* all of its data; NULL: any */
    struct storm_r2t r2t[STORM_R2TS];
    unsigned r2ts;
    struct storm_link *link;
};

/* A part of an honest party's LUN. */
struct honest_slot {
    bool busy, unknown; /* unknown: a write was lost with its connection */
    uint32_t itt, len, got;
    const uint8_t *data; /* of a write; NULL: a read */
    uint8_t want[STORM_SLOT];
};

struct party {
    struct storm *storm;
    struct rng rng;
    unsigned index;
    uint8_t isid[6];
    bool discovery;
    bool honest;
    bool tame; /* a tenth of what spoils: its sessions grow old */
    const char *target;
    uint32_t luns;
    uint16_t tsih; /* 0: no session */
    uint32_t cmd_sn, exp_cmd_sn, max_cmd_sn, itt;
    uint32_t gaps[STORM_GAPS]; /* CmdSNs that were left out */
    unsigned gaps_count;
    bool initial_r2t, immediate_data;
    uint32_t first_burst, max_burst, seg; /* seg: bytes of a data segment that we send */
    struct storm_task tasks[STORM_TASKS];
    struct storm_link links[STORM_LINKS];
    struct honest_slot slots[STORM_SLOTS];
    unsigned idle; /* turns in which it could do nothing */
};

struct storm_counts {
    uint64_t sent[ISCSI_OP_MASK + 1], got[ISCSI_OP_MASK + 1];
    uint64_t honest, pdus, spoiled, logins, refused, joined, closed, held, statuses[256];
};

struct storm {
    uint64_t seed, want;
    uint16_t port;
    struct storm_counts n;
    struct party parties[STORM_PARTIES];
    const char *complaint; /* what the target did wrong; NULL: nothing */
};

/* link.c */
void link_init(struct storm_link *l, struct party *p, uint16_t cid);
void link_fini(struct storm_link *l);
bool link_connect(struct storm_link *l);
/* Closes it, with a reset or in order, and forgets what is queued. */
void link_close(struct storm_link *l, bool reset);
/* Sends and receives what can be; true: something moved. */
bool link_turn(struct storm_link *l);
/* Queues a PDU with padding and digests, perhaps spoiled.  ahs may be NULL. */
void link_pdu(struct storm_link *l, void *bhs, const void *ahs, uint32_t ahs_len, const void *data,
              uint32_t len);
/* Queues bytes that are no PDU. */
void link_raw(struct storm_link *l, const void *bytes, size_t len);

/* login.c */
void storm_login_start(struct storm_link *l);
/* Called with a Login Response. */
void storm_login_answer(struct storm_link *l, const struct bhs_login_rsp *h, const char *text,
                        uint32_t len);

/* party.c */
void party_init(struct party *p, struct storm *s, unsigned index);
void party_fini(struct party *p);
/* Decides and queues; true: it did something. */
bool party_turn(struct party *p);
/* Called with each PDU of the full feature phase. */
void party_got(struct storm_link *l, const union bhs_any *h, const uint8_t *data, uint32_t len);
/* Called when a link has closed. */
void party_lost(struct storm_link *l);
/* As rng_chance, for what does harm: rarer where the party is tame. */
bool party_harms(struct party *p, uint32_t permille);
/* The CmdSN of a new request: the next one, or one that was left out. */
uint32_t party_cmd_sn(struct party *p, bool immediate);
uint32_t party_itt(struct party *p);

/* send.c */
void send_nop(struct storm_link *l);
void send_tmf(struct storm_link *l);
void send_text(struct storm_link *l);
void send_snack(struct storm_link *l);
void send_logout(struct storm_link *l);
void send_login_again(struct storm_link *l);
void send_nonsense(struct storm_link *l);
/* ABORT TASK for a command that was left out, or a NOP-Out in its place. */
void send_gap(struct storm_link *l, uint32_t cmd_sn);

/* scsi.c */
void send_command(struct storm_link *l);
/* Data-Out for one of the commands of l; false: none waits for any. */
bool send_data_out(struct storm_link *l);
void random_lun(struct party *p, uint8_t lun[8]);
/* A task that was free, or if need be one that was not. */
struct storm_task *task_new(struct party *p);
/* How much of a write leaves with the command, and how much follows unasked. */
uint32_t plan_write(struct storm_link *l, struct storm_task *t, bool *ret_final);
/* The task of an ITT, or NULL. */
struct storm_task *task_find(struct party *p, uint32_t itt);
/* len bytes of random data, at most STORM_SEG_MAX. */
const uint8_t *random_data(struct rng *r, uint32_t len);

/* honest.c */
void honest_command(struct storm_link *l);
void honest_nop(struct storm_link *l);
void honest_got(struct storm_link *l, const union bhs_any *h, const uint8_t *data, uint32_t len);
/* Called when the session has gone. */
void honest_lost(struct party *p);

/* watch.c */
struct watch;
/* Starts a thread that writes, reads and compares.  NULL when it cannot. */
struct watch *watch_start(uint16_t port, const char *target, uint64_t seed);
/* Ends it; returns NULL, or what went wrong.  *ret_passes, *ret_worst_ms: what it saw. */
const char *watch_stop(struct watch *w, uint64_t *ret_passes, uint64_t *ret_worst_ms);
/* True when it has failed already. */
bool watch_failed(struct watch *w);

#endif
