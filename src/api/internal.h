/* SPDX-License-Identifier: MIT */
/* api/internal.h - the structures behind the handles of <lunette/lunette.h>. */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include <lunette/lunette.h>

#include "api/event.h"
#include "api/url.h"
#include "dataplane/dataplane.h"
#include "ipc/ipc.h"
#include "login/login.h"
#include "login/logout.h"
#include "loop/loop.h"
#include "seam/bdev.h"
#include "stack/stack.h"
#include "transport/transport.h"

#define API_WRITE_FLAGS LUNETTE_FUA /* those that writes know; others are -EINVAL */
#define API_ZERO_FLAGS  (LUNETTE_FUA | LUNETTE_NO_UNMAP)

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
    uint8_t isid[LOGIN_ISID_LEN]; /* that of the session opened last */
    uint16_t isids;   /* sessions that share its random number: its last two bytes count */
    unsigned handles; /* LUNs open, or being opened */
    unsigned closing; /* LUNs on their way out that nobody holds any more */
    struct api_events events;
};

/* A session with the stack on its host: what a LUN, or a list of LUNs, stands on.  There may be
 * thousands, so what is only needed until it is up is freed by then. */
struct api_session {
    struct lunette_ctx *ctx;
    struct api_url *url; /* until the login has ended, well or not */
    char *target_name, *initiator_name;
    char *target_alias; /* the peer's text as it came, not to be shown as it is; NULL: none */
    char *portal;       /* where it is logged in, as text; NULL before */
    uint8_t isid[LOGIN_ISID_LEN];
    uint16_t cid, tsih;
    uint32_t sid;
    int32_t tpgt; /* -1: not told */
    uint64_t ep;  /* endpoint of a transport that connects by itself, 0: none */
    const char *auth_method;
    uint32_t bends;             /* bits of enum wire_bend that the login has shown */
    struct iscsi_params params; /* as agreed */
    struct iscsi_login *login;
    struct stack *stack; /* NULL before login and after the end */
    struct ctl_watch watch;
    bool zero_copy; /* asked for by a flag, not by the URL */
    bool logged_in, dead;
    struct iscsi_logout *logout; /* under way: asked for by its owner, or by the target */
    struct lunette_error why;    /* why it is dead */
    struct api_ping *ping;
    void (*opened)(struct api_session *s, const struct lunette_error *err);
    void (*closed)(struct api_session *s);
    struct loop_work close_work;
    struct loop_timer logout_retry; /* there was no memory for a logout */
};

struct lunette_lun {
    struct api_session s;
    struct lunette_open *op; /* the opening; NULL once it has ended or was canceled */
    struct scsi_device *dev; /* NULL: only a session */
    struct stack_disk *disk; /* NULL: not a disk that came up */
    struct bdev_queue *q;    /* of the synchronous calls; NULL before the first */
    uint8_t lun_wire[8];
    struct lunette_info info;
    uint32_t flags;
    uint32_t timeout_ms; /* of each synchronous call; 0: none */
    unsigned queues;
    struct bdev_listener listener;
    void (*closed)(void *user); /* may be NULL */
    void *closed_user;
};

/* For tests: a context on a loop and with a binding (seam/ipc.h) of the test's own.  make_ipc is
 * called once the data plane exists; it returns the control plane's end. */
struct api_hooks {
    struct loop *loop;
    struct ipc *(*make_ipc)(void *user, struct loop *loop, const struct ipc_server_ops *ops,
                            void *server, struct ipc_client *ret_client);
    void *user;
};
int api_ctx_new(const struct lunette_ctx_options *opts, const struct api_hooks *hooks,
                struct lunette_ctx **ret, struct lunette_error *err);

/* Runs the loop until *flag.  -errno and *err where it cannot run. */
int api_wait(struct lunette_ctx *ctx, const bool *flag, struct lunette_error *err);

/* session.c: connects, logs in, attaches the stack; and back.  s is zeroed memory, but for
 * zero_copy.  opened is called once, later: err NULL, or why not (api_session_close_start is due
 * all the same).  -errno and *err: nothing was started. */
int api_session_open_start(struct lunette_ctx *ctx, const char *url, struct api_session *s,
                           void (*opened)(struct api_session *s, const struct lunette_error *err),
                           struct lunette_error *err);
/* Ends a session in any state.  opened is not called any more.  closed is called once, later, when
 * everything that s had has been freed. */
void api_session_close_start(struct api_session *s, void (*closed)(struct api_session *s));
void api_session_info(const struct api_session *s, struct lunette_session_info *ret);

void api_device_info(const struct scsi_device *dev, const struct bdev_limits *limits,
                     struct lunette_info *ret);

/* The caller's error from how a request on s ended; returns r->err. */
int api_result(const struct api_session *s, const struct bdev_result *r, const uint8_t *sense,
               const char *what, struct lunette_error *err);

/* The error of a call that wants a unit where there is only a session. */
int api_no_unit(const char *what, struct lunette_error *err);

/* A whole URL or "host[:port]" into u, with credentials: a session's, or a discovery's. */
int api_url_of(struct lunette_ctx *ctx, const char *where, bool discovery, struct api_url *u,
               struct lunette_error *err);

#endif
