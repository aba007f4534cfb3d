/* SPDX-License-Identifier: MIT */
#include "offload/offload.h"

#include "offload/ep.h"
#include "offload/session.h"

static int
offload_create_host(struct iscsi_host *h, struct lunette_error *err)
{
    (void)err;
    offload_adapter_init(h->dd_data, h->loop);
    return 0;
}

static void
offload_destroy_host(struct iscsi_host *h)
{
    offload_adapter_fini(h->dd_data);
}

const struct iscsi_transport offload_session_transport = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_transport),
    .name = "offload_session",
    .caps = CAP_RECOVERY_L0 | CAP_DATA_PATH_OFFLOAD | CAP_LOGIN_OFFLOAD,
    .ep_size = sizeof(struct offload_ep),
    .host_size = sizeof(struct offload_adapter),
    .ep_connect = offload_ep_connect,
    .ep_poll = offload_ep_poll,
    .ep_disconnect = offload_ep_disconnect,
    .ep_why = offload_ep_why,
    .create_host = offload_create_host,
    .destroy_host = offload_destroy_host,
    .session_ops = &offload_session_ops,
};
