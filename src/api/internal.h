/* SPDX-License-Identifier: MIT */
/* api/internal.h - what stands behind the handles of <lunette/lunette.h>. */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include <lunette/lunette.h>

#include "api/url.h"
#include "block/block.h"
#include "dataplane/dataplane.h"
#include "ipc/ipc.h"
#include "login/login.h"
#include "loop/loop.h"
#include "scsi/scsi.h"
#include "transport/transport.h"

struct lunette_ctx {
    struct loop *loop;
    bool own_loop;
    struct log log;
    void (*user_log)(void *user, int level, const char *line);
    void *user_log_arg;
    struct transport_registry registry;
    struct dataplane *dp;
    struct ipc_direct *direct; /* NULL where a test brought a binding of its own */
    struct ctl *ctl;
    char initiator_name[ISCSI_NAME_MAX + 1];
    unsigned handles; /* LUNs open */
};

/* A session with its midlayer: what a LUN, or a list of LUNs, stands on. */
struct api_session {
    struct lunette_ctx *ctx;
    struct api_url url; /* secrets wiped after login */
    struct login_result res;
    struct iscsi_login *login;
    struct scsi_target *target;
    struct ctl_watch watch;
    bool logged_in, dead, ending;
    struct iscsi_logout *logout; /* the target asked for it */
    struct lunette_error why;    /* of its death */
    struct api_ping *ping;
};

struct lunette_lun {
    struct api_session s;
    struct scsi_device *dev;
    struct bdev *bdev;    /* NULL: not a disk, or raw */
    struct bdev_queue *q; /* of the synchronous calls */
    struct lunette_info info;
    uint32_t flags;
    unsigned queues;
    struct bdev_listener listener;
};

/* For tests: a context on a loop and a binding of theirs.  make_ipc is called once the data plane
 * exists; it returns the control plane's end. */
struct api_hooks {
    struct loop *loop;
    struct ipc *(*make_ipc)(void *user, struct loop *loop, const struct ipc_server_ops *ops,
                            void *server, struct ipc_client *ret_client);
    void *user;
};
int api_ctx_new(const struct lunette_ctx_options *opts, const struct api_hooks *hooks,
                struct lunette_ctx **ret, struct lunette_error *err);

/* Runs the loop until *flag. */
int api_wait(struct lunette_ctx *ctx, const bool *flag, struct lunette_error *err);

/* session.c: connects, logs in, attaches the midlayer; and back. */
int api_session_open(struct lunette_ctx *ctx, const char *url, struct api_session *s,
                     struct lunette_error *err);
void api_session_close(struct api_session *s);
void api_session_info(const struct api_session *s, struct lunette_session_info *ret);

void api_device_info(const struct scsi_device *dev, const struct bdev_limits *limits,
                     struct lunette_info *ret);

/* The caller's error from how a request on s ended; returns r->err. */
int api_result(const struct api_session *s, const struct bdev_result *r, const uint8_t *sense,
               const char *what, struct lunette_error *err);

/* A whole URL or "host[:port]" into u, with credentials. */
int api_url_of(struct lunette_ctx *ctx, const char *where, struct api_url *u,
               struct lunette_error *err);

#endif
