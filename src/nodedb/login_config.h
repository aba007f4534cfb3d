/* SPDX-License-Identifier: MIT */
/* nodedb/login_config.h - from records to what a login and its session need.  Any thread.
 */
#ifndef NODEDB_LOGIN_CONFIG_H
#define NODEDB_LOGIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "login/config.h"
#include "nodedb/conf.h"
#include "nodedb/record.h"

enum nodedb_startup {
    NODEDB_STARTUP_MANUAL,
    NODEDB_STARTUP_AUTOMATIC,
    NODEDB_STARTUP_ONBOOT,
};

/* Where connections leave this host, as an interface's record says it. */
struct nodedb_binding {
    char device[LOOP_DEVICE_MAX + 1]; /* the network device; "": any */
    char hwaddress[65];               /* the same by its hardware address; "": any */
    char address[HOST_MAX + 1];       /* the local address; "": any */
};

/* What a session needs beside its login. */
struct nodedb_session_opts {
    enum nodedb_startup startup; /* node.startup, or that of its connection where it is more */
    bool leading_login;          /* one session of the target is enough */
    uint32_t nr_sessions;        /* sessions of this record */
    uint32_t max_connections;    /* connections that a session is to have */
    uint32_t login_retry_max;    /* further tries of the first login; each may take login_timeout */
    uint32_t reopen_max;         /* as reopen_config.reopen_max; 0: never gives up */
    uint32_t reopen_log_freq;    /* each so-manieth try to log in again is logged */
    uint32_t queue_depth;        /* commands that a logical unit has at a time */
    uint32_t logout_timeout_ms;
    bool scan;       /* its units are looked for after a login, and when they change */
    bool export_nbd; /* each unit is exported by NBD */
    struct nodedb_binding bind;
};

/* Fills in a login of a node, and what its session needs.  iface is the interface's record, NULL:
 * the copy in the node's; conf may be NULL; who is the initiator, whose name that of the interface
 * replaces.  The caller sets the ISID, and ends cfg with login_config_wipe.  Of a number that is
 * out of range the nearest is taken.  Returns 0; or -EINVAL with *err, which names file, line and
 * key where a value that is needed is malformed, and then cfg holds no secret. */
int nodedb_to_login_config(const struct nodedb_record *node, const struct nodedb_record *iface,
                           const struct nodedb_record *conf, const struct nodedb_initiator *who,
                           struct login_config *cfg, struct nodedb_session_opts *opts,
                           struct lunette_error *err);

/* Fills in where connections of cfg leave this host: cfg->sock.device and cfg->sock.source.
 * Hardware addresses are looked for in the directory sys_net, which is /sys/class/net but for
 * tests.  The scope of a link-local address is its device.  Returns 0; or -EINVAL or -ENODEV with
 * the reason. */
int nodedb_bind(const struct nodedb_binding *b, const char *sys_net, struct login_config *cfg,
                struct lunette_error *err);

struct nodedb_disc_opts {
    bool periodic;            /* use_discoveryd: it is repeated */
    uint32_t poll_s;          /* how often; 0: once, or for iSNS: only when the server says so */
    uint32_t reopen_max;      /* further tries */
    uint32_t text_timeout_ms; /* for each answer to SendTargets */
    struct nodedb_binding bind;
};

/* Fills in the login of a SendTargets discovery, and how it is repeated.  Of an iSNS discovery,
 * which has no login, it is the server, the initiator's name and the socket. */
int nodedb_to_discovery_config(const struct nodedb_record *disc, const struct nodedb_record *iface,
                               const struct nodedb_record *conf, const struct nodedb_initiator *who,
                               struct login_config *cfg, struct nodedb_disc_opts *opts,
                               struct lunette_error *err);

#endif
