/* SPDX-License-Identifier: MIT */
/* tests/sim/planes.h - what worlds with a data plane, a control plane over the delaying binding and
 * a target have in common: where the target is, how it is logged in to, and how a plane ends. */
#ifndef TESTS_SIM_PLANES_H
#define TESTS_SIM_PLANES_H

#include <arpa/inet.h>
#include <string.h>

#include "ctl/ctl.h"
#include "dataplane/dataplane.h"
#include "login/login.h"
#include "target/target.h"
#include "tests/support/ipc_delayed.h"

/* The portal of the target, 10.0.0.1:3260. */
static inline struct sock_addr
planes_portal(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sock_addr at = {.len = sizeof(in)};

    in.sin_addr.s_addr = htonl(0x0a000001);
    in.sin_port = htons(3260);
    memcpy(&at.ss, &in, sizeof(in));
    return at;
}

/* Logins there, as a port whose last byte is isid. */
static inline void
planes_login_config(struct login_config *cfg, const char *target, uint8_t isid)
{
    login_config_init(cfg);
    strcpy(cfg->initiator_name, "iqn.2026-11.example:initiator");
    strcpy(cfg->target_name, target);
    strcpy(cfg->portal.host, "10.0.0.1");
    strcpy(cfg->transport, "tcp");
    memcpy(cfg->isid, "\x80\x00\x00\x00\x00", LOGIN_ISID_LEN - 1);
    cfg->isid[LOGIN_ISID_LEN - 1] = isid;
}

/* Whether nothing of any session is left, at either end; the target may be NULL, the control plane
 * too. */
static inline bool
planes_gone(const struct dataplane *dp, const struct target *target, const struct ctl *ctl)
{
    struct target_stats st = {.conns = 0};

    if (target != NULL)
        target_stats(target, &st);
    return dataplane_busy(dp) == 0 && st.conns == 0 && (ctl == NULL || ctl_idle(ctl));
}

/* The end of a control plane, the binding of which was cut: the data plane finds out. */
static inline void
planes_detach(struct dataplane *dp, uint64_t generation, struct ipc_delayed **binding)
{
    dataplane_detach(dp, generation);
    ipc_delayed_free(*binding);
    *binding = NULL;
}

/* The end of a control plane of which nothing is read any more. */
static inline void
planes_part(struct dataplane *dp, uint64_t generation, struct ipc_delayed **binding,
            struct ctl **ctl)
{
    ipc_delayed_cut(*binding);
    ctl_free(ctl);
    planes_detach(dp, generation, binding);
}

#endif
