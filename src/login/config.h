/* SPDX-License-Identifier: MIT */
/* login/config.h - what to log in to, as whom, and what to offer.
 *
 * A config holds secrets: whoever keeps one ends it with login_config_wipe.
 */
#ifndef LOGIN_CONFIG_H
#define LOGIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "seam/ipc.h"
#include "seam/loop.h"
#include "wire/chap.h"
#include "wire/iscsi_params.h"

#define LOGIN_ALIAS_MAX     255
#define LOGIN_LIST_MAX      63 /* bytes of a list offered, e.g. "CRC32C,None" */
#define LOGIN_REDIRECTS_MAX 16
#define LOGIN_ISID_LEN      6
#define LOGIN_OPTIONS_MAX   (IPC_VALUE_MAX - 1) /* bytes of a transport's options */
#define LOGIN_GROUP_MAX     7                   /* further portals of a session */
#define LOGIN_CONNS_MAX     32                  /* connections of a session: IPC_CONNS_MAX */

enum login_kind {
    LOGIN_NEW,      /* a new session with its leading connection */
    LOGIN_REOPEN,   /* session reinstatement: (sid, cid) are there and stopped for recovery */
    LOGIN_ADD_CONN, /* another connection cid of session sid, whose tsih is given */
};

/* One side's name and secret; name "": not configured. */
struct login_account {
    char name[CHAP_NAME_MAX + 1];
    uint8_t secret[CHAP_SECRET_MAX];
    uint16_t secret_len; /* bytes of secret */
};

/* What to log in to and what to offer.  It holds no pointers, so that it may be copied. */
struct login_config {
    enum login_kind kind;
    uint32_t sid;  /* of the session; not for LOGIN_NEW */
    uint16_t cid;  /* of the connection to make; 0 is usual for the leading one */
    uint16_t tsih; /* of the session, for LOGIN_ADD_CONN */
    bool rejoins;  /* LOGIN_ADD_CONN: the data plane knows the connection, which is down */
    /* Connections that the session is to have, 1..LOGIN_CONNS_MAX; 0: one.  The login itself makes
     * one and offers MaxConnections for as many; login/reopen.h adds the others. */
    uint32_t nr_connections;

    char initiator_name[ISCSI_NAME_MAX + 1];
    char target_name[ISCSI_NAME_MAX + 1]; /* may be "" when discovery is set */
    char initiator_alias[LOGIN_ALIAS_MAX + 1];
    uint8_t isid[LOGIN_ISID_LEN];
    bool discovery;       /* SessionType is Discovery */
    struct portal portal; /* where to connect; its tpgt is ignored */
    /* Further portals of that portal's group, where the connections of the session may go as well
     * (RFC 7143 4.4.1): a login goes on to the next one where a portal takes no connection, or
     * where it is the first one and a portal says nothing, and login/reopen.h spreads the
     * connections of the session over all of them.  Their tpgt is ignored. */
    struct portal group[LOGIN_GROUP_MAX];
    uint32_t ngroup;
    int32_t expected_tpgt; /* TargetPortalGroupTag that the target must name; -1: any */

    /* The name of the transport.  The login asks the data plane what that transport can do, and
     * offers no more than that. */
    char transport[IPC_NAME_MAX];
    /* Its own options as ISCSI_PARAM_OPTIONS has them, "": none.  The NAME of each begins with the
     * name of the transport and an underscore; the rest is for the transport to judge. */
    char transport_options[LOGIN_OPTIONS_MAX + 1];
    struct stream_opts sock; /* of the socket, where the transport takes a descriptor */
    bool zero_copy;          /* the transport may lend payload to the kernel */

    /* CHAP (RFC 7143 12.1.3, 9.2.1).  mutual makes the target prove who it is. */
    struct login_account chap, mutual;
    bool auth_required;      /* AuthMethod None is not offered; mutual implies it */
    bool allow_short_secret; /* secrets of fewer than 12 bytes, which RFC 7143 9.2.1 forbids without
                                IPsec, are accepted */
    /* enum chap_alg in the order of preference; 0 ends the list.  5 (MD5) is always offered, as RFC
     * 7143 12.1.3 demands; if it is not in this list, the login fails when the target chooses it.
     */
    uint8_t chap_algs[4];
    bool chap_algs_fixed; /* a target that refuses the list is not asked again with MD5 alone */
    /* A login without credentials begins with the operational stage, and tries the security stage
     * when that is refused.  With this it begins with the security stage at once. */
    bool security_first;

    /* What to offer.  Lists of words are not in offer but in the texts below it.
     * offer.max_xmit_dseg is ignored, since the target declares it. */
    struct iscsi_params offer;
    char header_digest[LOGIN_LIST_MAX + 1], data_digest[LOGIN_LIST_MAX + 1];
    char task_reporting[LOGIN_LIST_MAX + 1]; /* "": not offered */
    bool offer_protocol_level;               /* iSCSIProtocolLevel (RFC 7144) */

    /* Limits.  login_timeout_ms is for a login with all its connects, redirects and retries. */
    uint32_t connect_timeout_ms, login_timeout_ms;
    uint32_t connect_try_ms; /* for one address of the portal; 0: its share of all */
    /* Where the transport connects by itself, these stand for connect_try_ms and login_timeout_ms;
     * 0: they do not. */
    uint32_t ep_try_ms, ep_login_ms;
    uint32_t answer_try_ms;       /* for a portal's first Login Response; 0: as login_timeout_ms */
    uint32_t teardown_timeout_ms; /* for the data plane to tidy up after a failure */
    uint32_t max_redirects;       /* <= LOGIN_REDIRECTS_MAX */
    uint32_t max_retries;         /* tries after a target that answers with Status-Class 3 */
    uint32_t retry_delay_ms;      /* before the first retry; it doubles with each */

    /* For the data path: 0 leaves its default, except that ping_interval_ms 0 means no pings. */
    uint32_t cmds_max;
    uint32_t ping_interval_ms, ping_timeout_ms;
    uint32_t abort_timeout_ms, lu_reset_timeout_ms, tgt_reset_timeout_ms;
    /* How long commands wait for another login when the session has lost its connection, before
     * they fail: seconds; 0: not at all; -1: for ever. */
    int32_t replacement_timeout_s;
};

/* Sets defaults for everything but names, portal, ISID and transport. */
void login_config_init(struct login_config *cfg);

/* Overwrites the secrets. */
void login_config_wipe(struct login_config *cfg);

/* Checks names, secrets, lists, ranges and the ISID's type.  Of names only what cannot be sent is
 * refused; they go out byte for byte.  Returns 0, or -EINVAL with what is wrong and what to do. */
int login_config_check(const struct login_config *cfg, struct lunette_error *err);

/* Checks options of whichever transport, as transport_options has them: each is NAME=VALUE, where
 * NAME has a prefix with an underscore, and those of iser have values that it takes.  Returns 0, or
 * -EINVAL with the option and what is allowed. */
int login_options_check(const char *text, struct lunette_error *err);

/* Checks that a transport with these capabilities (enum iscsi_caps) can do what cfg insists on.
 * Returns 0, or -EINVAL with what it cannot do. */
int login_config_check_caps(const struct login_config *cfg, uint32_t caps,
                            struct lunette_error *err);

/* Makes an ISID of the random type (RFC 7143 11.12.5: T=10b).  The caller keeps it: it names the
 * initiator's SCSI port, and a target ends the old session when the same one logs in again. */
void login_isid_random(struct loop *loop, uint8_t isid[LOGIN_ISID_LEN]);

#endif
