/* SPDX-License-Identifier: MIT */
/* plain.c - shared objects with a transport that does nothing, for tests of how they are loaded.
 * PLAIN_MISSING: what this machine lacks, so that it cannot be used. */
#include <errno.h>

#include "seam/transport.h"

static int
plain_bind(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
           struct lunette_error *err)
{
    (void)c;
    (void)eph;
    (void)ep;
    (void)leading;
    (void)err;
    return -ENOSYS;
}

static int
plain_stop(struct iscsi_conn *c, enum iscsi_stop how)
{
    (void)c;
    (void)how;
    return 0;
}

static int
plain_task(struct iscsi_task *t)
{
    (void)t;
    return 0;
}

#ifdef PLAIN_MISSING
static int
plain_usable(struct lunette_error *err)
{
    return lunette_fail(err, -ENODEV, LUNETTE_DOM_USAGE, 0, "this machine has no %s",
                        PLAIN_MISSING);
}
#endif

extern const struct iscsi_transport lunette_transport;
ISCSI_TRANSPORT_EXPORT const struct iscsi_transport lunette_transport = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_transport),
    .name = "plain",
    .caps = CAP_RECOVERY_L0 | CAP_BIND_DESCRIPTOR,
    .bind_conn = plain_bind,
    .stop_conn = plain_stop,
    .xmit_task = plain_task,
    .cleanup_task = plain_task,
#ifdef PLAIN_MISSING
    .usable = plain_usable,
#endif
};
