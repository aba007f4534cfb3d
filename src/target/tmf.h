/* SPDX-License-Identifier: MIT */
/* target/tmf.h - task management (RFC 7143 11.5, 11.6, and 4.2.3.3 with the semantics of RFC 3720).
 */
#ifndef TARGET_TMF_H
#define TARGET_TMF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "seam/loop.h"
#include "wire/bhs.h"

struct tgt_cmd;
struct tgt_conn;
struct tgt_session;

/* A function that waits for its turn, or for data of what it aborted. */
struct tgt_tmf {
    struct list link; /* session->tmfs */
    struct tgt_session *sess;
    struct tgt_conn *conn;
    struct bhs_tmf_req req;
    bool started, done; /* done: only `draining` is waited for */
    uint32_t draining;  /* commands in state DRAIN for it */
    struct loop_timer timer;
};

/* A request that has its turn (or is immediate). */
void tgt_tmf_pdu(struct tgt_conn *c, const struct bhs_tmf_req *h);

/* ExpCmdSN has advanced: functions that waited for it run. */
void tgt_tmf_run_waiting(struct tgt_session *s);

/* The device server carries out t and has come to c: ends it and returns true, or false if c was
 * sent after t. */
bool tgt_tmf_abort(struct tgt_tmf *t, struct tgt_cmd *c);

/* Frees a command in state DRAIN whose data has come, or will not come. */
void tgt_tmf_drained(struct tgt_cmd *c);

/* Forgets the functions that came on conn, or all of the session (conn NULL). */
void tgt_tmf_drop(struct tgt_session *s, const struct tgt_conn *conn);

#endif
