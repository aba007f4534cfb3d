/* SPDX-License-Identifier: MIT */
/* dataplane/capture.c - captures of sessions: who reads them, and when they end.
 *
 * A capture goes to whoever reads it, over a local socket: a program that has opened the file by
 * itself, as its own user and where it may write, or one that shows the capture as it grows.  The
 * data plane never opens a file and never waits for one (docs/design/tape.md).  The reader owns the
 * capture: it ends with the reader, or when that has shut down its side, and else with the session
 * or at the limits that were asked for.  One that has ended stands in no other's way while its
 * reader takes what is left.
 */
#include "capture/capture.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/internal.h"

#define READER_MS    10000 /* for the reader to come */
#define READER_TURNS 4     /* receives in a row of what it has no business to say */
#define DRAIN_MS     3000  /* for it to take what is left at the end */

struct dp_capture {
    struct list node; /* dataplane.captures */
    struct dataplane *dp;
    struct capture *k;
    uint32_t sid;            /* 0: all sessions */
    struct stream *listener; /* until the reader has come */
    struct stream *reader;
    struct loop_work work;
    struct loop_timer limit;    /* the time that was asked for is over */
    struct loop_timer patience; /* for the reader */
    bool ended;                 /* only what waits is still sent */
    bool full;                  /* the reader's socket takes no more for now */
};

static void reader_readable(void *user);
static void reader_writable(void *user);
static const struct stream_events reading = {.readable = reader_readable,
                                             .writable = reader_writable};
static const struct stream_events writing = {.writable = reader_writable};

/* ---- the end -------------------------------------------------------------------------------- */

/* No session is captured by x any more. */
static void
capture_let_go(struct dp_capture *x)
{
    struct dataplane *dp = x->dp;

    LIST_FOREACH (n, &dp->sessions) {
        struct dp_session *ds = container_of(n, struct dp_session, node);

        if (ds->capture == x)
            ds->capture = NULL;
    }
    if (dp->capture_all == x)
        dp->capture_all = NULL;
}

static void
capture_gone(struct dp_capture *x)
{
    struct dataplane *dp = x->dp;

    capture_let_go(x);
    loop_defer_cancel(&x->work);
    loop_timer_stop(dp->loop, &x->limit);
    loop_timer_stop(dp->loop, &x->patience);
    if (x->listener != NULL)
        stream_close(x->listener);
    if (x->reader != NULL)
        stream_close(x->reader);
    capture_free(x->k);
    list_del(&x->node);
    dp->ncaptures--;
    dp->nended -= x->ended;
    free(x);
}

/* Of those that have ended and are still read there are few, so that they take no memory without
 * bound: the one that began first goes. */
static void
capture_bound_ended(struct dataplane *dp)
{
    LIST_FOREACH_SAFE (n, &dp->captures) {
        struct dp_capture *x = container_of(n, struct dp_capture, node);

        if (dp->nended <= DP_CAPTURES_END)
            return;
        if (x->ended)
            capture_gone(x);
    }
}

/* One of the session that has ended before its reader came gives its path to the next. */
static void
capture_end_unread(struct dataplane *dp, uint32_t sid)
{
    LIST_FOREACH_SAFE (n, &dp->captures) {
        struct dp_capture *x = container_of(n, struct dp_capture, node);

        if (x->ended && x->sid == sid && x->listener != NULL)
            capture_gone(x);
    }
}

/* Looks at nothing any more; the reader gets what waits. */
static void
capture_over(struct dp_capture *x, const char *why)
{
    if (x->ended)
        return;
    x->ended = true;
    x->dp->nended++;
    capture_end(x->k, why);
    capture_let_go(x);
    loop_timer_stop(x->dp->loop, &x->limit);
    loop_timer_start(x->dp->loop, &x->patience, DRAIN_MS * LOOP_NS_PER_MS);
    loop_defer(x->dp->loop, &x->work);
}

/* ---- the reader ----------------------------------------------------------------------------- */

/* Sends what the socket takes.  Returns false where the reader is gone. */
static bool
capture_pump(struct dp_capture *x)
{
    struct iovec iov[2];
    size_t len = 0;
    int n;

    while (!x->full && (n = capture_peek(x->k, iov, &len)) > 0) {
        ssize_t r = stream_sendv(x->reader, iov, n, len);

        if (r < 0 && r != -EAGAIN)
            return false;
        if (r > 0)
            capture_took(x->k, (size_t)r);
        x->full = r < 0 || (size_t)r < len;
    }
    return true;
}

static void
capture_tend(struct dp_capture *x)
{
    struct iovec iov[2];
    size_t len;

    if (!x->ended && capture_full(x->k))
        capture_over(x, "ended at the number of packets that was asked for");
    if (x->reader == NULL)
        return;
    if (!capture_pump(x) || (x->ended && capture_peek(x->k, iov, &len) == 0))
        capture_gone(x);
}

static void
capture_work(struct loop_work *w)
{
    capture_tend(container_of(w, struct dp_capture, work));
}

static void
capture_wake(void *user)
{
    struct dp_capture *x = user;

    loop_defer(x->dp->loop, &x->work);
}

static void
reader_writable(void *user)
{
    struct dp_capture *x = user;

    x->full = false;
    capture_tend(x);
}

/* A reader has nothing to say: what it sends is dropped, and when it shuts down its side it has
 * seen enough. */
static void
reader_readable(void *user)
{
    struct dp_capture *x = user;
    uint8_t bytes[4096];
    struct iovec v = {bytes, sizeof(bytes)};
    ssize_t r = (ssize_t)sizeof(bytes);

    /* Whoever sends without end has his turn again later. */
    for (unsigned i = 0; i < READER_TURNS && r == (ssize_t)sizeof(bytes); i++)
        r = stream_recvv(x->reader, &v, 1);
    if (r > 0 || r == -EAGAIN)
        return;
    if (r < 0) {
        capture_gone(x);
        return;
    }
    stream_set_events(x->reader, &writing, x);
    capture_over(x, "ended by its reader");
}

static void
capture_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct dp_capture *x = user;
    uid_t uid = 0;

    (void)peer;
    if (x->reader != NULL || stream_peer_cred(s, &uid, NULL) < 0 ||
        (uid != 0 && uid != geteuid())) {
        stream_close(s);
        return;
    }
    x->reader = s;
    stream_set_events(s, &reading, x);
    if (!x->ended)
        loop_timer_stop(x->dp->loop, &x->patience);
    stream_close(x->listener);
    x->listener = NULL;
    loop_defer(x->dp->loop, &x->work);
}

static const struct stream_events listening = {.accepted = capture_accepted};

static void
capture_limit(struct loop_timer *t)
{
    capture_over(container_of(t, struct dp_capture, limit),
                 "ended after the time that was asked for");
}

static void
capture_patience(struct loop_timer *t)
{
    struct dp_capture *x = container_of(t, struct dp_capture, patience);

    if (!x->ended)
        log_line(x->dp->loop->log, LOG_LEVEL_WARN,
                 "a capture is given up: nobody has come to read it");
    capture_gone(x);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static int
capture_make(struct dataplane *dp, const struct capture_config *cfg, struct dp_capture **ret)
{
    struct capture_config copy = *cfg;
    struct dp_capture *x = calloc(1, sizeof(*x));
    int r;

    if (x == NULL)
        return -ENOMEM;
    copy.loop = dp->loop;
    copy.wake = capture_wake;
    copy.user = x;
    x->dp = dp;
    loop_work_init(&x->work, capture_work);
    loop_timer_init(&x->limit, capture_limit);
    loop_timer_init(&x->patience, capture_patience);
    r = capture_new(&copy, &x->k);
    if (r < 0) {
        free(x);
        return r;
    }
    list_push_back(&dp->captures, &x->node);
    dp->ncaptures++;
    *ret = x;
    return 0;
}

static int
capture_listen(struct dp_capture *x, const char *path, uint32_t len, struct lunette_error *err)
{
    struct sock_addr at;
    int r;

    r = sock_addr_local(path, len, &at, err);
    if (r < 0)
        return r;
    r = stream_listen(x->dp->loop, &at, &listening, x, &x->listener, NULL);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%.*s: cannot listen: %s",
                            (int)len, path, errno_text(r));
    return 0;
}

static struct iscsi_conn *
capture_conn_of(const struct dp_session *ds, const struct dp_conn *c)
{
    return ds->ops == &dp_iscsi_session_ops ? c->handle : NULL;
}

static int
refuse_capture(const struct dataplane *dp, const struct dp_session *ds, struct lunette_error *err)
{
    if (ds->ops != &dp_iscsi_session_ops)
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "transport %s has its sessions for itself: their PDUs are not seen",
                            ds->tt->name);
    if (ds->capture != NULL)
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "session %u is being captured already", ds->sid);
    if (dp->ncaptures - dp->nended >= DP_CAPTURES_MAX)
        return lunette_fail(err, -EAGAIN, LUNETTE_DOM_USAGE, 0,
                            "%d captures are under way already: end one of them", DP_CAPTURES_MAX);
    return 0;
}

static void
capture_about(const struct dp_session *ds, bool no_payload, char *text, size_t size)
{
    char target[ISCSI_NAME_MAX + 1] = "?";

    dp_values_get(&ds->values, ISCSI_PARAM_TARGET_NAME, target, sizeof(target));
    (void)snprintf(text, size,
                   "iSCSI session %u with %s.  TCP and IP are made up around true PDUs.  Secrets "
                   "of logins are replaced by x.  Payload is %s.",
                   ds->sid, target, no_payload ? "left out" : "there");
}

int
dp_capture_start(struct dp_session *ds, const struct iscsi_uevent *ev, const void *data,
                 uint32_t data_len, struct iscsi_reply *rep)
{
    struct dataplane *dp = ds->dp;
    char about[CAPTURE_TEXT_MAX];
    struct capture_config cfg = {
        .unix_ns = ev->u.start_capture.unix_ns,
        .segments_max = ev->u.start_capture.segments_max,
        .no_payload = ev->u.start_capture.no_payload,
        .about = about,
    };
    struct dp_capture *x;
    int r = refuse_capture(dp, ds, &rep->why);

    if (r < 0)
        return r;
    if (data_len == 0 || *(const char *)data != '/') /* whoever asks may be in another folder */
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the path at which the capture is to be read is to be absolute");
    capture_end_unread(dp, ds->sid);
    capture_bound_ended(dp);
    capture_about(ds, cfg.no_payload, about, sizeof(about));
    r = capture_make(dp, &cfg, &x);
    if (r < 0)
        return lunette_fail(&rep->why, r, LUNETTE_DOM_OS, ENOMEM, "no memory for a capture");
    r = capture_listen(x, data, data_len, &rep->why);
    if (r < 0) {
        capture_gone(x);
        return r;
    }
    ds->capture = x;
    x->sid = ds->sid;
    loop_timer_start(dp->loop, &x->patience, READER_MS * LOOP_NS_PER_MS);
    if (ev->u.start_capture.limit_s > 0)
        loop_timer_start(dp->loop, &x->limit, ev->u.start_capture.limit_s * LOOP_NS_PER_S);
    LIST_FOREACH (n, &ds->conns) {
        struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (c->bound)
            dp_capture_bound(ds, c, false);
    }
    return 0;
}

int
dataplane_capture_all(struct dataplane *dp, int fd, uint64_t unix_ns, bool no_payload,
                      struct lunette_error *err)
{
    const struct capture_config cfg = {
        .unix_ns = unix_ns,
        .no_payload = no_payload,
        .about = no_payload
                     ? "iSCSI.  TCP and IP are made up around true PDUs.  Secrets of logins are "
                       "replaced by x.  Payload is left out."
                     : "iSCSI.  TCP and IP are made up around true PDUs.  Secrets of logins are "
                       "replaced by x.",
    };
    struct dp_capture *x;
    int r;

    if (dp->capture_all != NULL || dp->nsessions > 0)
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "a capture begins before the first session, and once");
    r = capture_make(dp, &cfg, &x);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, ENOMEM, "no memory for a capture");
    r = stream_adopt(dp->loop, fd, &reading, x, &x->reader);
    if (r < 0) {
        capture_gone(x);
        return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0,
                            "the descriptor for the capture is no connected stream socket: %s",
                            errno_text(r));
    }
    dp->capture_all = x;
    loop_defer(dp->loop, &x->work);
    return 0;
}

/* ---- what happens to sessions --------------------------------------------------------------- */

void
dp_capture_created(struct dp_session *ds)
{
    ds->capture = ds->ops == &dp_iscsi_session_ops ? ds->dp->capture_all : NULL;
}

void
dp_capture_bound(const struct dp_session *ds, const struct dp_conn *c, bool fresh)
{
    struct dp_capture *x = ds->capture;
    struct iscsi_conn *conn = x != NULL && !x->ended ? capture_conn_of(ds, c) : NULL;

    if (conn != NULL && capture_add(x->k, conn, fresh) < 0)
        capture_over(x, "ended: no memory for a further connection");
}

void
dp_capture_down(const struct dp_session *ds, const void *conn)
{
    if (ds->capture != NULL)
        capture_del(ds->capture->k, conn);
}

void
dp_capture_session_over(const struct dp_session *ds)
{
    if (ds->capture != NULL && ds->capture != ds->dp->capture_all)
        capture_over(ds->capture, "ended with the session");
}

/* ---- life ----------------------------------------------------------------------------------- */

void
dp_captures_shutdown(struct dataplane *dp)
{
    LIST_FOREACH_SAFE (n, &dp->captures) {
        struct dp_capture *x = container_of(n, struct dp_capture, node);

        if (x == dp->capture_all && dp->nsessions > 0)
            continue; /* it ends with the last of them */
        if (x->reader == NULL && x->listener != NULL)
            capture_gone(x);
        else if (x == dp->capture_all)
            capture_over(x, "ended");
    }
}

void
dp_captures_drop(struct dataplane *dp)
{
    LIST_FOREACH_SAFE (n, &dp->captures)
        capture_gone(container_of(n, struct dp_capture, node));
}
