/* SPDX-License-Identifier: MIT */
/* target/state/tmf.h - the structures of target/tmf.h, which says what they are for. */
#ifndef TARGET_STATE_TMF_H
#define TARGET_STATE_TMF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "seam/loop.h"
#include "wire/bhs.h"

struct tgt_cmd;
struct tgt_conn;
struct tgt_ctl;
struct tgt_session;

/* A function that waits for its turn, or for data of what it aborted. */
struct tgt_tmf {
    struct list link; /* session->tmfs */
    struct tgt_session *sess;
    struct tgt_conn *conn;
    struct bhs_tmf_req req;
    struct tgt_ctl *rsp; /* made with the function, so that its end cannot fail; owned */
    uint32_t serial;
    bool started, done; /* done: only `draining` is waited for */
    uint32_t info;      /* 24 bits that go with the response */
    bool fenced;        /* only its response is to come */
    uint32_t draining;  /* commands in state DRAIN for it */
    struct loop_timer timer;
};

#endif
