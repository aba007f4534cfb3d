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
#include "login/reopen.h"
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
    struct login_gate gate; /* of all logins of sessions */
    char initiator_name[ISCSI_NAME_MAX + 1];
    uint8_t isid[LOGIN_ISID_LEN]; /* that of the session opened last */
    uint64_t time_every;          /* as in lunette_ctx_options */
    uint16_t isids;   /* sessions that share its random number: its last two bytes count */
    unsigned handles; /* LUNs open, or being opened */
    unsigned closing; /* LUNs on their way out that nobody holds any more */
    unsigned closes;  /* of these, and of exports, those that a caller waits for, or did */
    bool closes_over; /* there are none of those */
    struct api_events events;
};

/* A session with the stack on its host: what LUNs, or a list of LUNs, stand on.  There may be
 * thousands, so what is only needed until it is up is freed by then. */
struct lunette_session {
    struct lunette_ctx *ctx;
    struct list luns;    /* struct lunette_lun.node: until nothing is left of them in the stack */
    struct api_url *url; /* until the login has ended, well or not */
    char *target_name, *initiator_name;
    char *target_alias; /* the peer's text as it came, not to be shown as it is; NULL: none */
    char *portal;       /* where it is logged in, or was last, as text; NULL before */
    uint8_t isid[LOGIN_ISID_LEN];
    uint16_t cid, tsih;
    uint32_t sid;
    int32_t tpgt; /* -1: not told */
    const char *auth_method;
    uint32_t bends;              /* bits of enum wire_bend that its logins have shown */
    struct iscsi_params params;  /* as agreed */
    struct login_turn turn;      /* of the first login */
    struct iscsi_login *login;   /* the first */
    struct iscsi_reopen *reopen; /* logs in again; NULL once it is being closed */
    struct stack *stack;         /* NULL before login and after the end */
    char *last_text;             /* why it was lost last; NULL: it never was */
    int last_error;
    uint32_t reopen_max;
    uint32_t nconnections_wanted; /* by the URL, as is erl_wanted */
    uint32_t erl_wanted;
    uint32_t timeout_ms;         /* of commands to its disks; 0: the default */
    bool zero_copy;              /* asked for by a flag, not by the URL */
    bool logged_in;              /* it is in the data plane: from its first login to its logout */
    bool held;                   /* the program has a handle of it, and hears of its events */
    bool lost;                   /* it has no connection, from its loss until it is back */
    bool timed_out;              /* lost for too long: the data plane has said so */
    bool by_itself;              /* its adapter logs in again, and the data plane tells of it */
    uint64_t down_since_ns;      /* of such a one; 0: it is up, or another kind */
    uint32_t times_back;         /* the same */
    bool gone;                   /* for good */
    bool want_close;             /* the program has closed it */
    bool no_request;             /* there is no connection for a Logout Request */
    uint64_t ep;                 /* of the connection that is to be closed, 0: none */
    struct iscsi_logout *logout; /* under way */
    struct api_ping *ping;
    void *owner; /* of the three callbacks */
    void (*opened)(struct lunette_session *s, const struct lunette_error *err);
    void (*closed)(struct lunette_session *s);
    void (*moved)(struct lunette_session *s);     /* lost, or back; may be NULL */
    void (*unit_gone)(struct lunette_session *s); /* a LUN has been freed, or is not waited for any
                                                     more; may be NULL */
    void (*told)(void *user); /* the program's callback of the closing; may be NULL */
    void *told_user;
    struct loop_work close_work;
    struct loop_timer logout_retry; /* there was no memory for a logout */
};

struct lunette_lun {
    struct list node; /* of the session */
    struct lunette_session *s;
    bool own_session;        /* made with this LUN, and ends with it */
    struct lunette_open *op; /* the opening; NULL once it has ended or was canceled */
    struct scsi_device *dev; /* NULL: only a session */
    struct stack_disk *disk; /* NULL: not a disk that came up */
    struct bdev_queue *q;    /* of the synchronous calls; NULL before the first */
    struct sync *sync;       /* what one of them needs, while none has it; NULL before the first */
    uint8_t lun_wire[8];
    int disk_err; /* why the disk did not come up, where it was opened all the same; 0 */
    uint32_t flags;
    uint32_t timeout_ms; /* of each synchronous call; 0: none */
    unsigned queues;     /* those that there are, the exports, and the call that waits on it */
    void (*closed)(void *user); /* the program's callback of the closing; may be NULL */
    void *closed_user;
    void (*moved)(struct lunette_lun *lun); /* while it is being opened: its session is lost, or
                                               back; may be NULL */
    /* unit.c's */
    struct stack_disk *rising; /* the disk that is coming up */
    bool waits;                /* the stack is due to call back */
    bool ending;
    void (*up)(struct lunette_lun *lun, const struct lunette_error *err);
    void (*ended)(struct lunette_lun *lun); /* NULL: not due, or told already */
    struct loop_work work;
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

/* Registers all that is built in.  real: the loops are this system's, so that what it lacks is a
 * reason why a transport cannot be used. */
int api_transports_built_in(struct transport_registry *r, bool real, struct lunette_error *err);

/* How long s has had no connection, in nanoseconds; and how often it has come back. */
uint64_t api_session_down_ns(const struct lunette_session *s);
uint32_t api_session_reopens(const struct lunette_session *s);

/* Runs the loop until *flag.  -errno and *err where it cannot run. */
int api_wait(struct lunette_ctx *ctx, const bool *flag, struct lunette_error *err);

/* For closings that are waited for and cannot fail towards their caller.  What they set when they
 * are over is ctx's, so that it is there where they were not waited for to the end; whoever waits
 * for one waits for those as well.  api_close_over is a `done` of closings, with ctx as its user.
 * api_close_wait says in the log why `what` was not waited for. */
void api_close_begun(struct lunette_ctx *ctx);
void api_close_over(void *ctx);
void api_close_wait(struct lunette_ctx *ctx, const char *what);

/* session.c: connects, logs in, attaches the stack; and back.  s is zeroed memory, but for owner
 * and zero_copy.  opened is called once, later: err NULL, or why not (api_session_close_start is
 * due all the same).  -errno and *err: nothing was started. */
int api_session_open_start(struct lunette_ctx *ctx, const char *url, struct lunette_session *s,
                           void (*opened)(struct lunette_session *s,
                                          const struct lunette_error *err),
                           struct lunette_error *err);
/* Makes s->reopen, which logs in again as cfg says.  Apart from the opening, only a test in which a
 * control plane dies calls this. */
int api_session_keep(struct lunette_session *s, const struct login_config *cfg,
                     struct lunette_error *err);
/* Ends a session in any state.  opened is not called any more, and its LUNs are not their owners'
 * any more (api_unit_end).  closed is called once, later, when everything that s had has been
 * freed. */
void api_session_close_start(struct lunette_session *s, void (*closed)(struct lunette_session *s));
/* status.c: tells whether commands flow on s, and if not, how it is. */
bool api_session_is_up(const struct lunette_session *s);
enum lunette_session_state api_session_state(const struct lunette_session *s);
/* Why s has no connection, or had none last; code 0: it always had one. */
void api_session_why(const struct lunette_session *s, struct lunette_error *ret);
/* How long it will wait before requests fail: -1 for ever, 0 it does not. */
int64_t api_session_give_up_ms(const struct lunette_session *s, uint64_t down_ns);
/* info.c: all that is known of s. */
void api_session_info(const struct lunette_session *s, struct lunette_session_info *ret);

/* unit.c: a LUN of a session.  Makes lun, which is zeroed memory, one of s; s, whose stack may
 * come later, outlives it. */
void api_unit_init(struct lunette_lun *lun, struct lunette_session *s, const uint8_t lun_wire[8],
                   uint32_t flags);
/* Looks for the LUN and brings its disk up; s is logged in.  up is called once, later: err NULL, or
 * why not (api_unit_end is due all the same).  -errno and *err: nothing was started. */
int api_unit_start(struct lunette_lun *lun,
                   void (*up)(struct lunette_lun *lun, const struct lunette_error *err),
                   struct lunette_error *err);
/* Ends a LUN in any state.  up is not called any more.  ended is called once, later: when its disk
 * has been drained and flushed, or, where the session has no connection, as it is.  lun is freed
 * behind it, in its own time.  NULL: not interested. */
void api_unit_end(struct lunette_lun *lun, void (*ended)(struct lunette_lun *lun));
/* The session has lost its connection, or has one again.  Endings are told as they are, openings
 * have a time limit while there is none. */
void api_units_moved(struct lunette_session *s);
/* The midlayer has told of dev: logs it, and tells the program where it wants to hear of it. */
void api_unit_event(struct lunette_session *s, const struct scsi_device *dev, enum scsi_event why);
/* The stack is gone, and so is what its callbacks have not freed. */
void api_units_free(struct lunette_session *s);
/* Some LUN of s, whose ending has not been told, is left. */
bool api_units_busy(const struct lunette_session *s);
/* What is known of dev, and of its disk where limits is not NULL. */
void api_device_info(const struct scsi_device *dev, const struct bdev_limits *limits,
                     struct lunette_info *ret);

/* b is the disk of a LUN of ctx, whose requests are timed as its options say. */
void api_watch(const struct lunette_ctx *ctx, struct bdev *b);

/* The caller's error from how a request on lun ended; returns r->err. */
int api_result(const struct lunette_lun *lun, const struct bdev_result *r, const uint8_t *sense,
               const char *what, struct lunette_error *err);

/* The error of a call that wants a unit where there is only a session. */
int api_no_unit(const char *what, struct lunette_error *err);

/* A whole URL or "host[:port]" into u, with credentials: a session's, or a discovery's. */
int api_url_of(struct lunette_ctx *ctx, const char *where, bool discovery, struct api_url *u,
               struct lunette_error *err);

#endif
