/* SPDX-License-Identifier: MIT */
#include "iscsid/scrape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iscsid/metrics.h"

#define SCRAPE_CALLERS_MAX 32
#define SCRAPE_REQUEST_MAX 8192  /* bytes of a request of HTTP */
#define SCRAPE_QUIET_MS    200   /* one that has said nothing by then wants the text alone */
#define SCRAPE_REQUEST_MS  5000  /* for a request to come */
#define SCRAPE_STUCK_MS    10000 /* without taking anything */
#define SCRAPE_FRESH_MS    1000  /* figures that are not older are given to others, too */
#define SCRAPE_AGAIN_MS    20    /* where the socket of a process that was killed is still there, */
#define SCRAPE_TRIES       250   /* listening is tried again so often */
#define SCRAPE_PIECE       65536 /* bytes of text that are made at once */
#define SCRAPE_SILENT_MS   1000  /* a loop that says nothing for so long is not waited for */
#define SCRAPE_SILENT2_MS  100   /* where that has been waited once already */
#define SCRAPE_SESSION_MS  20    /* beyond the first second, each session may take so long, */
#define SCRAPE_MOST_MS     8000  /* and all no longer than this: who scrapes has a limit, too */
#define SCRAPE_POLL_MS     2     /* for loops to say that they are there */
#define SCRAPE_TYPE        "application/openmetrics-text; version=1.0.0; charset=utf-8"

enum scrape_state {
    SCRAPE_ASKING,  /* nothing or a part of a request has come */
    SCRAPE_WAITING, /* for the figures */
    SCRAPE_SENDING,
    SCRAPE_ENDED,
};

struct scrape_caller {
    struct list node;
    struct scrape *s;
    struct stream *stream;
    enum scrape_state state;
    struct loop_timer timer;
    struct loop_work work; /* sends, or frees it where it has ended */
    struct metrics *figures;
    struct metrics_at at;
    bool http;
    uint64_t moved_ns;
    char *request;
    size_t request_len;
    char *buf; /* SCRAPE_PIECE bytes while sending: from buf_at on, buf_len are to be sent */
    size_t buf_at, buf_len;
};

struct scrape_session {
    uint32_t sid;
    unsigned loop;
};

struct scrape {
    struct iscsid *d;
    struct stream *listener;
    struct list callers; /* the one that came first is the first */
    unsigned ncallers;
    struct metrics *building, *fresh; /* being asked for; not older than SCRAPE_FRESH_MS */
    struct loop_timer stale;
    struct scrape_session *session; /* of building: n of them, those before `at` were looked at, */
    size_t n, at, later;            /* and `later` of these wait for their loops to answer */
    bool silent;                    /* a loop of the data plane has not answered in time */
    uint64_t greet_ns, until_ns;    /* loop clock: so long for loops to say that they are there, and
                                       for all */
    struct loop_timer next, patience, again;
    unsigned tries;
};

static void scrape_begin(struct scrape *s);

/* ---- callers -------------------------------------------------------------------------------- */

static void
caller_free(struct scrape_caller *c)
{
    struct loop *l = c->s->d->loop;

    list_del(&c->node);
    c->s->ncallers--;
    loop_timer_stop(l, &c->timer);
    loop_defer_cancel(&c->work);
    stream_close(c->stream);
    metrics_unref(c->figures);
    free(c->request);
    free(c->buf);
    free(c);
}

/* Nothing is freed under its own callback. */
static void
caller_end(struct scrape_caller *c)
{
    c->state = SCRAPE_ENDED;
    loop_defer(c->s->d->loop, &c->work);
}

static int
caller_buf(struct scrape_caller *c)
{
    if (c->buf == NULL)
        c->buf = malloc(SCRAPE_PIECE);
    return c->buf != NULL ? 0 : -ENOMEM;
}

/* Sends what is in the buffer.  True when all of it has been sent. */
static bool
caller_flush(struct scrape_caller *c)
{
    struct iovec iov = {c->buf + c->buf_at, c->buf_len};
    ssize_t n;

    if (c->buf_len == 0)
        return true;
    n = stream_sendv(c->stream, &iov, 1, c->buf_len);
    if (n < 0 && n != -EAGAIN) {
        caller_end(c);
        return false;
    }
    if (n > 0) {
        c->moved_ns = c->s->d->loop->now_ns;
        c->buf_at += (size_t)n;
        c->buf_len -= (size_t)n;
    }
    return c->buf_len == 0; /* else it is told when there is room */
}

/* One piece in each turn, so that others are served, too. */
static void
caller_send(struct scrape_caller *c)
{
    if (!caller_flush(c))
        return;
    if (c->figures == NULL) { /* it was sent a refusal */
        caller_end(c);
        return;
    }
    c->buf_at = 0;
    c->buf_len = metrics_text(c->figures, &c->at, c->buf, SCRAPE_PIECE);
    if (c->buf_len == 0)
        caller_end(c);
    else if (caller_flush(c))
        loop_defer(c->s->d->loop, &c->work);
}

static void
caller_on_work(struct loop_work *w)
{
    struct scrape_caller *c = container_of(w, struct scrape_caller, work);

    if (c->state == SCRAPE_SENDING)
        caller_send(c);
    else if (c->state == SCRAPE_ENDED)
        caller_free(c);
}

static void
caller_start(struct scrape_caller *c, const char *status, const char *type, const char *body)
{
    if (caller_buf(c) < 0) {
        caller_end(c);
        return;
    }
    c->state = SCRAPE_SENDING;
    c->moved_ns = c->s->d->loop->now_ns;
    if (c->http)
        c->buf_len = (size_t)snprintf(
            c->buf, SCRAPE_PIECE, "HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s",
            status, type, body);
    loop_timer_start(c->s->d->loop, &c->timer, SCRAPE_STUCK_MS * LOOP_NS_PER_MS);
    loop_defer(c->s->d->loop, &c->work);
}

static void
caller_serve(struct scrape_caller *c, struct metrics *figures)
{
    c->figures = metrics_ref(figures);
    caller_start(c, "200 OK", SCRAPE_TYPE, "");
}

static void
caller_refuse(struct scrape_caller *c, const char *status)
{
    caller_start(c, status, "text/plain", "Ask for /metrics.\n");
}

/* It has asked: figures that are fresh are there, or it waits for those that come next. */
static void
caller_asks(struct scrape_caller *c)
{
    c->state = SCRAPE_WAITING;
    loop_timer_stop(c->s->d->loop, &c->timer);
    if (c->s->fresh != NULL)
        caller_serve(c, c->s->fresh);
    else if (c->s->building == NULL)
        scrape_begin(c->s);
}

/* The request is whole: its first line says what is wanted. */
static void
caller_request(struct scrape_caller *c)
{
    const char *path;
    bool get = strncmp(c->request, "GET ", 4) == 0;

    c->http = true;
    if (!get) {
        caller_refuse(c, "405 Method Not Allowed");
        return;
    }
    path = c->request + 4;
    if (strncmp(path, "/metrics ", 9) == 0 || strncmp(path, "/metrics?", 9) == 0 ||
        strncmp(path, "/ ", 2) == 0)
        caller_asks(c);
    else
        caller_refuse(c, "404 Not Found");
}

static void
caller_take(struct scrape_caller *c, const char *p, size_t n)
{
    if (c->state != SCRAPE_ASKING)
        return; /* what it says besides is dropped */
    if (c->request == NULL) {
        c->request = calloc(1, SCRAPE_REQUEST_MAX + 1);
        loop_timer_start(c->s->d->loop, &c->timer, SCRAPE_REQUEST_MS * LOOP_NS_PER_MS);
    }
    if (c->request == NULL || n > SCRAPE_REQUEST_MAX - c->request_len) {
        caller_end(c);
        return;
    }
    memcpy(c->request + c->request_len, p, n);
    c->request_len += n;
    if (strstr(c->request, "\r\n\r\n") != NULL || strstr(c->request, "\n\n") != NULL)
        caller_request(c);
}

static void
caller_readable(void *user)
{
    struct scrape_caller *c = user;
    char text[4096];
    struct iovec iov = {text, sizeof(text)};
    ssize_t n = stream_recvv(c->stream, &iov, 1);

    if (n > 0) {
        caller_take(c, text, (size_t)n);
    } else if (n == 0) {
        if (c->state == SCRAPE_ASKING && c->request_len == 0)
            caller_asks(c);
        else if (c->state == SCRAPE_ASKING)
            caller_end(c);
    } else if (n != -EAGAIN) {
        caller_end(c);
    }
}

static void
caller_writable(void *user)
{
    struct scrape_caller *c = user;

    if (c->state == SCRAPE_SENDING)
        loop_defer(c->s->d->loop, &c->work);
}

static void
caller_on_timer(struct loop_timer *t)
{
    struct scrape_caller *c = container_of(t, struct scrape_caller, timer);
    struct loop *l = c->s->d->loop;
    uint64_t stuck_ns = SCRAPE_STUCK_MS * LOOP_NS_PER_MS;

    if (c->state == SCRAPE_ASKING && c->request_len == 0)
        caller_asks(c);
    else if (c->state == SCRAPE_SENDING && l->now_ns - c->moved_ns < stuck_ns)
        loop_timer_start(l, t, stuck_ns - (l->now_ns - c->moved_ns));
    else
        caller_end(c);
}

static const struct stream_events caller_events = {.readable = caller_readable,
                                                   .writable = caller_writable};

/* ---- who comes ------------------------------------------------------------------------------ */

/* The one that has taken nothing for the longest time makes room. */
static void
scrape_make_room(struct scrape *s)
{
    struct scrape_caller *found = NULL;

    if (s->ncallers < SCRAPE_CALLERS_MAX)
        return;
    LIST_FOREACH (n, &s->callers) {
        struct scrape_caller *c = container_of(n, struct scrape_caller, node);

        if (found == NULL || c->moved_ns < found->moved_ns)
            found = c;
    }
    caller_free(found);
}

static bool
scrape_allowed(struct scrape *s, struct stream *stream)
{
    uid_t uid;
    pid_t pid;

    if (stream_peer_cred(stream, &uid, &pid) == 0 && (uid == 0 || uid == geteuid()))
        return true;
    log_line(s->d->loop->log, LOG_LEVEL_WARN,
             "a caller is not sent metrics: only the user whose daemon this is, and root, are");
    return false;
}

static void
scrape_accepted(void *user, struct stream *stream, const struct sock_addr *peer)
{
    struct scrape *s = user;
    struct scrape_caller *c = scrape_allowed(s, stream) ? calloc(1, sizeof(*c)) : NULL;

    (void)peer;
    if (c == NULL) {
        stream_close(stream);
        return;
    }
    scrape_make_room(s);
    c->s = s;
    c->stream = stream;
    c->moved_ns = s->d->loop->now_ns;
    loop_timer_init(&c->timer, caller_on_timer);
    loop_work_init(&c->work, caller_on_work);
    list_push_back(&s->callers, &c->node);
    s->ncallers++;
    stream_set_events(stream, &caller_events, c);
    loop_timer_start(s->d->loop, &c->timer, SCRAPE_QUIET_MS * LOOP_NS_PER_MS);
}

/* ---- the figures ---------------------------------------------------------------------------- */

/* All that wait get what there is. */
static void
scrape_ready(struct scrape *s)
{
    loop_timer_stop(s->d->loop, &s->patience);
    free(s->session);
    s->session = NULL;
    metrics_set_plane_up(s->building, !s->silent && control_is_ready(s->d->control));
    s->fresh = s->building;
    s->building = NULL;
    loop_timer_start(s->d->loop, &s->stale, SCRAPE_FRESH_MS * LOOP_NS_PER_MS);
    LIST_FOREACH_SAFE (n, &s->callers) {
        struct scrape_caller *c = container_of(n, struct scrape_caller, node);

        if (c->state == SCRAPE_WAITING)
            caller_serve(c, s->fresh);
    }
}

static void
scrape_on_stale(struct loop_timer *t)
{
    struct scrape *s = container_of(t, struct scrape, stale);

    metrics_unref(s->fresh);
    s->fresh = NULL;
}

/* A loop is not waited for any longer: what it has not told is left out.  It is asked once more
 * whether it is there, and then only for that. */
static void
scrape_on_patience(struct loop_timer *t)
{
    struct scrape *s = container_of(t, struct scrape, patience);

    manage_server_forget(s->d->manage, s);
    s->silent = true;
    plane_ask(&s->d->plane);
    loop_timer_start(s->d->loop, &s->next, 0);
}

static void
scrape_no_memory(struct scrape *s)
{
    log_line(s->d->loop->log, LOG_LEVEL_WARN, "no memory for the metrics of a session");
}

static void
scrape_answered(void *user, const json_t *answer)
{
    struct scrape *s = user;
    const json_t *list = json_object_get(json_object_get(answer, "result"), "sessions");

    loop_timer_stop(s->d->loop, &s->patience);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (metrics_add(s->building, json_array_get(list, i)) < 0)
            scrape_no_memory(s);
    }
    loop_timer_start(s->d->loop, &s->next, 0);
}

static void
scrape_ask(struct scrape *s, uint32_t sid)
{
    json_t *params = json_pack("{s:I,s:b}", "sid", (json_int_t)sid, "histograms", 1);
    uint64_t wait_ms = s->silent ? SCRAPE_SILENT2_MS : SCRAPE_SILENT_MS;

    if (params == NULL) { /* without them it would be about all sessions */
        scrape_no_memory(s);
        loop_timer_start(s->d->loop, &s->next, 0);
        return;
    }
    loop_timer_start(s->d->loop, &s->patience, wait_ms * LOOP_NS_PER_MS);
    manage_server_ask(s->d->manage, "session.stats", params, scrape_answered, s);
    json_decref(params);
}

/* The next session of a loop that has said that it is there.  Others follow later: each request to
 * a loop that does not answer would be kept.  NULL: all were looked at, and `n` are left. */
static const struct scrape_session *
scrape_next_session(struct scrape *s)
{
    while (s->at < s->n) {
        const struct scrape_session *i = &s->session[s->at++];

        if (plane_answers(&s->d->plane, i->loop))
            return i;
        if (control_ctl(s->d->control, i->loop) != NULL) /* else there is nobody to ask */
            s->session[s->later++] = *i;
    }
    s->n = s->later;
    s->at = s->later = 0;
    return NULL;
}

/* Have all loops of the data plane answered that they are there? */
static bool
scrape_all_answer(const struct scrape *s)
{
    for (unsigned i = 0; i < s->d->plane.nlinks; i++) {
        if (!plane_answers(&s->d->plane, i) && control_ctl(s->d->control, i) != NULL)
            return false;
    }
    return true;
}

static void
scrape_on_next(struct loop_timer *t)
{
    struct scrape *s = container_of(t, struct scrape, next);
    uint64_t now = s->d->loop->now_ns;
    const struct scrape_session *i = NULL;
    bool all;

    if (now < s->until_ns)
        i = scrape_next_session(s);
    if (i != NULL) {
        scrape_ask(s, i->sid);
        return;
    }
    all = scrape_all_answer(s);
    if (now < s->greet_ns && (s->n > 0 || !all)) {
        loop_timer_start(s->d->loop, t, SCRAPE_POLL_MS * LOOP_NS_PER_MS);
        return;
    }
    s->silent |= s->n > 0 || !all;
    scrape_ready(s);
}

/* Nobody can be told anything. */
static void
scrape_drop_waiting(struct scrape *s)
{
    LIST_FOREACH_SAFE (n, &s->callers) {
        struct scrape_caller *c = container_of(n, struct scrape_caller, node);

        if (c->state == SCRAPE_WAITING)
            caller_end(c);
    }
}

static int
scrape_sid_order(const void *a, const void *b)
{
    uint32_t x = ((const struct scrape_session *)a)->sid;
    uint32_t y = ((const struct scrape_session *)b)->sid;

    return x < y ? -1 : x > y;
}

/* Finds the sessions that there are. */
static void
scrape_find(struct scrape *s)
{
    struct control_info info;
    size_t room = 0;

    for (struct control_node *n = NULL; (n = session_next(s->d->control, n, &info)) != NULL;)
        room++;
    s->n = s->at = s->later = 0;
    s->session = calloc(room + 1, sizeof(*s->session));
    if (s->session == NULL)
        return;
    for (struct control_node *n = NULL; (n = session_next(s->d->control, n, &info)) != NULL;)
        s->session[s->n++] = (struct scrape_session){info.sid, info.loop};
    qsort(s->session, s->n, sizeof(s->session[0]), scrape_sid_order);
}

static void
scrape_begin(struct scrape *s)
{
    uint64_t most_ms;

    scrape_find(s);
    s->building = metrics_new(s->d->cfg.version);
    if (s->session == NULL || s->building == NULL) {
        free(s->session);
        s->session = NULL;
        metrics_unref(s->building);
        s->building = NULL;
        scrape_drop_waiting(s);
        return;
    }
    most_ms = SCRAPE_SILENT_MS + s->n * SCRAPE_SESSION_MS;
    if (most_ms > SCRAPE_MOST_MS)
        most_ms = SCRAPE_MOST_MS;
    s->greet_ns = s->d->loop->now_ns + SCRAPE_SILENT_MS * LOOP_NS_PER_MS;
    s->until_ns = s->d->loop->now_ns + most_ms * LOOP_NS_PER_MS;
    s->silent = false;
    plane_ask(&s->d->plane);
    loop_timer_start(s->d->loop, &s->next, 0);
}

/* ---- life ----------------------------------------------------------------------------------- */

static const struct stream_events scrape_events = {.accepted = scrape_accepted};

void
scrape_listen(struct scrape *s)
{
    struct lunette_error err = {.code = 0};
    struct sock_addr at;
    char path[4200];
    int r;

    if (s->listener != NULL)
        return;
    (void)snprintf(path, sizeof(path), "%s/metrics.sock", s->d->cfg.run);
    r = sock_addr_local(path, strlen(path), &at, &err);
    if (r < 0) {
        log_line(s->d->loop->log, LOG_LEVEL_WARN, "there are no metrics: %s", err.msg);
        return;
    }
    r = stream_listen(s->d->loop, &at, &scrape_events, s, &s->listener, NULL);
    if (r == -EADDRINUSE && s->tries++ < SCRAPE_TRIES)
        loop_timer_start(s->d->loop, &s->again, SCRAPE_AGAIN_MS * LOOP_NS_PER_MS);
    else if (r < 0)
        log_line(s->d->loop->log, LOG_LEVEL_WARN, "there are no metrics: cannot listen at %s: %s",
                 path, errno_text(r));
}

static void
scrape_on_again(struct loop_timer *t)
{
    scrape_listen(container_of(t, struct scrape, again));
}

int
scrape_new(struct iscsid *d, struct scrape **ret, struct lunette_error *err)
{
    struct scrape *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        say_no_memory(err);
        return -ENOMEM;
    }
    s->d = d;
    list_init(&s->callers);
    loop_timer_init(&s->stale, scrape_on_stale);
    loop_timer_init(&s->next, scrape_on_next);
    loop_timer_init(&s->patience, scrape_on_patience);
    loop_timer_init(&s->again, scrape_on_again);
    *ret = s;
    return 0;
}

void
scrape_free(struct scrape **scrape)
{
    struct scrape *s = *scrape;

    if (s == NULL)
        return;
    *scrape = NULL;
    LIST_FOREACH_SAFE (n, &s->callers)
        caller_free(container_of(n, struct scrape_caller, node));
    if (s->listener != NULL)
        stream_close(s->listener);
    loop_timer_stop(s->d->loop, &s->stale);
    loop_timer_stop(s->d->loop, &s->next);
    loop_timer_stop(s->d->loop, &s->patience);
    loop_timer_stop(s->d->loop, &s->again);
    metrics_unref(s->building);
    metrics_unref(s->fresh);
    free(s->session);
    free(s);
}
