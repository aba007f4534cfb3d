/* SPDX-License-Identifier: MIT */
/* target/login_state.h - what a connection knows while it logs in.
 *
 * Private to login.c (PDUs and stages), login_keys.c (keys) and login_chap.c
 * (authentication), each of which calls only the next, and login_session.c, which
 * login.c calls at the end.
 */
#ifndef TARGET_LOGIN_STATE_H
#define TARGET_LOGIN_STATE_H

#include "base/addr.h"
#include "target/state/node.h"
#include "wire/chap.h"
#include "wire/keys.h"
#include "wire/text.h"

struct tgt_conn;

#define LOGIN_TEXT_MAX      16384u /* text of one request, over all its PDUs */
#define LOGIN_ANSWER_MAX    16384u
#define LOGIN_EXCHANGES_MAX 64u /* requests of one login, not counting pieces of their text */

enum tgt_auth {
    AUTH_START,  /* no method yet */
    AUTH_CHAP_A, /* CHAP is chosen; the initiator's CHAP_A is due */
    AUTH_CHAP_R, /* our challenge is sent; the initiator's CHAP_R is due */
    AUTH_DONE,
};

struct tgt_login {
    bool started, identified, declared, tpgt_told, finished;
    unsigned stage;
    uint32_t exchanges;
    /* of the first request, and unchanged from then on */
    uint8_t isid[6];
    uint16_t tsih, cid;
    uint32_t itt, cmd_sn, exp_stat_sn;
    /* who wants to talk to whom */
    char initiator[ISCSI_NAME_MAX + 1];
    bool discovery, leading;
    bool rdma;       /* as that of the connection */
    bool rdma_asked; /* we have proposed RDMAExtensions=Yes, and the answer is due */
    /* RDMAExtensions=No is the answer to this request: the initiator hears of it, so that it can
     * say why it gives up, and is refused when it goes on. */
    bool rdma_declined;
    struct tgt_node *node; /* NULL: unnamed discovery */
    struct key_set seen;
    struct iscsi_params params;
    struct text_buf request, answer; /* have memory, owned, while there is something in them */
    size_t answer_sent;
    /* authentication */
    enum tgt_auth auth;
    unsigned chap_alg;
    uint8_t chap_id;
    uint8_t challenge[CHAP_CHALLENGE_LEN];
    bool challenged;
    char user[256];
};

/* The functions below return Status-Class << 8 | Status-Detail; ISCSI_LOGIN_OK to go on. */

/* The keys of a complete request, in the stage that l->stage says. */
uint16_t tgt_login_keys(struct tgt_conn *c);

/* Makes the session, or adds the connection to the one that it names. */
uint16_t tgt_login_session(struct tgt_conn *c);

/* The keys of the security stage that are about authentication. */
struct tgt_auth_keys {
    struct text_pair method, a, i, c, n, r; /* key NULL: not there */
};
uint16_t tgt_login_auth(struct tgt_conn *c, const struct tgt_auth_keys *k);
/* Tells whether the login may leave the security stage. */
bool tgt_login_auth_ok(const struct tgt_login *l);

#endif
