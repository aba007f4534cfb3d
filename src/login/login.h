/* SPDX-License-Identifier: MIT */
/* login/login.h - logs a session in and out: connect, negotiate, hand over to the data path.
 *
 * RFC 7143 sections 6, 12 and 13 from the initiator's side.  Speaks to the
 * data path only through seam/ipc.h (by way of ctl/ctl.h) and to the network
 * only to connect the socket of transports with CAP_BIND_DESCRIPTOR.  All on
 * the loop's thread; done callbacks come later, never from inside a call.
 */
#ifndef LOGIN_LOGIN_H
#define LOGIN_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "ctl/ctl.h"
#include "seam/ipc.h"
#include "seam/loop.h"
#include "wire/chap.h"
#include "wire/keys.h"

#define LOGIN_ALIAS_MAX     255
#define LOGIN_LIST_MAX      63 /* bytes of a list offered, e.g. "CRC32C,None" */
#define LOGIN_REDIRECTS_MAX 16
#define LOGIN_ISID_LEN      6

enum login_kind {
    LOGIN_NEW,      /* a new session with its leading connection */
    LOGIN_REOPEN,   /* session reinstatement: (sid, cid) are there and stopped for recovery */
    LOGIN_ADD_CONN, /* another connection cid of session sid, whose tsih is given */
};

/* One side's name and secret; name "": not configured. */
struct login_account {
    char name[CHAP_NAME_MAX + 1];
    uint8_t secret[CHAP_SECRET_MAX];
    uint16_t secret_len; /* bytes */
};

/* What to log in to and what to offer.  Self-contained: may be copied, must be wiped. */
struct login_config {
    enum login_kind kind;
    uint32_t sid;  /* but LOGIN_NEW */
    uint16_t cid;  /* of the connection to make; 0 is usual for the leading one */
    uint16_t tsih; /* LOGIN_ADD_CONN */

    char initiator_name[ISCSI_NAME_MAX + 1];
    char target_name[ISCSI_NAME_MAX + 1]; /* may be "" where discovery */
    char initiator_alias[LOGIN_ALIAS_MAX + 1];
    uint8_t isid[LOGIN_ISID_LEN];
    bool discovery;        /* SessionType */
    struct portal portal;  /* where to connect; its tpgt is not looked at */
    int32_t expected_tpgt; /* TargetPortalGroupTag that the target must name; -1: any */

    /* The transport, as the data plane knows it. */
    char transport[IPC_NAME_MAX];
    uint32_t caps;             /* enum iscsi_caps: offers are lowered to them */
    uint32_t max_recv_dlength; /* bytes, 0: no limit */
    struct stream_opts sock;   /* CAP_BIND_DESCRIPTOR */
    bool zero_copy;            /* the transport may lend payload to the system */

    /* CHAP (RFC 7143 12.1.3, 9.2.1).  mutual makes the target prove who it is. */
    struct login_account chap, mutual;
    bool auth_required;      /* do not offer AuthMethod None; implied by mutual */
    bool allow_short_secret; /* secrets of fewer than 12 bytes: what RFC 7143 forbids without IPsec
                              */
    uint8_t chap_algs[4];    /* enum chap_alg in order of preference, 0 ends; 5 is always offered,
                                but refused when chosen and not in here */

    /* What to offer: each field of struct iscsi_params that an initiator may offer; lists as text.
     * max_xmit_dseg is not looked at. */
    struct iscsi_params offer;
    char header_digest[LOGIN_LIST_MAX + 1], data_digest[LOGIN_LIST_MAX + 1];
    char task_reporting[LOGIN_LIST_MAX + 1]; /* "": not offered */
    bool offer_protocol_level;               /* iSCSIProtocolLevel (RFC 7144) */

    /* Limits.  login_timeout_ms is for all of it: connects, redirects, retries. */
    uint32_t connect_timeout_ms, login_timeout_ms;
    uint32_t teardown_timeout_ms; /* for the data plane to tidy up after a failure */
    uint32_t max_redirects;       /* <= LOGIN_REDIRECTS_MAX */
    uint32_t max_retries;         /* when the target says "later" (class 3) */
    uint32_t retry_delay_ms;      /* before the first retry; doubles */

    /* For the data path; 0: its default, but ping_interval_ms 0: no pings. */
    uint32_t cmds_max;
    uint32_t ping_interval_ms, ping_timeout_ms;
    uint32_t abort_timeout_ms, lu_reset_timeout_ms, tgt_reset_timeout_ms;
};

/* Defaults for everything but names, portal, ISID and transport. */
void login_config_init(struct login_config *cfg);

/* Overwrites the secrets. */
void login_config_wipe(struct login_config *cfg);

/* 0, or -EINVAL with what is wrong and what to do: names, secrets, lists, ranges, ISID type.
 * Names are folded to lower case in place. */
int login_config_check(struct login_config *cfg, struct lunette_error *err);

/* A fresh ISID of the random type (RFC 7143 11.12.5: T=10b).  Keep it: it names the initiator's
 * SCSI port, and a target ends the old session when the same one logs in again. */
void login_isid_random(struct loop *loop, uint8_t isid[LOGIN_ISID_LEN]);

struct login_result {
    uint32_t sid;
    uint16_t cid;
    uint64_t ep; /* endpoint of transports that connect by themselves, 0: none; logout needs it */
    uint16_t tsih;
    int32_t tpgt;                           /* -1: not told */
    struct iscsi_params params;             /* agreed; max_xmit_dseg is the target's */
    char target_alias[LOGIN_ALIAS_MAX + 1]; /* as it came: peer text */
    const char *auth_method;                /* "None", "CHAP", "CHAP mutual" */
    struct portal portal;                   /* actually used, after redirects */
    struct sock_addr peer;                  /* its address */
    bool moved;                             /* a permanent redirect: */
    struct portal moved_to;                 /* keep this instead of the configured portal */
    uint32_t redirects, retries;            /* that it took */
};

struct login_callbacks {
    /* Once.  err NULL: logged in, START_CONN was answered, *res lives until done returns.  The
     * owner adds its own ctl_watch for (res->sid, res->cid) inside this call to miss no event.
     * err not NULL: failed or canceled (-ECANCELED); res NULL; what had been made in the data plane
     * is gone (of a reopened session: stopped for recovery again).  domain and detail: CONNECT
     * (errno); LOGIN (Status-Class << 8 | Status-Detail, 0 if the refusal is ours); PROTO;
     * TIMEOUT; USAGE; OS.  login_free may be called inside. */
    void (*done)(void *user, const struct login_result *res, const struct lunette_error *err);
    void *user;
};

struct iscsi_login;

/* session_login_task: starts.  cfg is copied.  0 and *ret, or -EINVAL and -ENOMEM with *err. */
int login_start(struct ctl *ctl, const struct login_config *cfg, const struct login_callbacks *cb,
                struct iscsi_login **ret, struct lunette_error *err);

/* Ends it: done comes with -ECANCELED once the data plane is tidy.  Harmless after done. */
void login_cancel(struct iscsi_login *l);

/* Any time; *l becomes NULL.  Before done: done is never called, tidying up goes on by itself
 * (ctl_idle).  A session that is logged in stays.  *l may be NULL. */
void login_free(struct iscsi_login **l);

/* Might the same login succeed later without anybody's doing? (time limits, connection refused or
 * lost, Status-Class 3) */
bool login_error_retryable(const struct lunette_error *err);

/* ---- logout -------------------------------------------------------------------------------- */

#define LOGOUT_CONNS_MAX  32
#define LOGOUT_TIMEOUT_MS 5000

struct logout_config {
    uint32_t sid;
    struct {
        uint16_t cid;
        uint64_t ep;           /* 0: none */
    } conns[LOGOUT_CONNS_MAX]; /* all of the session; the Logout Request goes on the first */
    uint32_t nconns;           /* >= 1 */
    uint32_t timeout_ms;       /* for the response, then the session is ended anyway; 0: 5 s */
    bool skip_request;         /* connection is dead: only tidy up */
};

struct iscsi_logout;

/* Logout Request with reason 0 (close the session), then stops and destroys all of it.  Takes over
 * the events of these connections.  done comes once, err NULL: the target agreed; else why not
 * (time limit, connection lost, response code as detail): the session is gone nevertheless.  0 or
 * -ENOMEM. */
int session_logout_task(struct ctl *ctl, const struct logout_config *cfg,
                        void (*done)(void *user, const struct lunette_error *err), void *user,
                        struct iscsi_logout **ret);

/* done is not called any more; the work goes on by itself.  *l may be NULL. */
void logout_free(struct iscsi_logout **l);

#endif
