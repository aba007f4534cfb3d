/* SPDX-License-Identifier: MIT */
#include "manage/manage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "manage/calls.h"
#include "manage/params.h"
#include "manage/wipe.h"

#define SUBSCRIBE "events.subscribe" /* the one method that is the server's own */

struct manage_server {
    struct loop *loop;
    struct manage_config cfg;
    struct list peers; /* the one that spoke least lately is not necessarily the first */
    unsigned peers_count;
    struct manage_calls calls;
    struct stream *listeners[MANAGE_LISTEN_MAX];
    unsigned listeners_count;
};

static const struct manage_limits limits_default = {
    .peers_max = 512,
    .calls_max = 64,
    .under_way = 4096,
    .silence_ms = 1000,
    .tokens_max = 1024,
    .kept_max = 8u << 20,
    .waiting_max = MANAGE_WAITING_MAX,
    .event_max = 1u << 20,
};

static void
server_fill_limits(struct manage_limits *l)
{
    const struct manage_limits *d = &limits_default;

    l->peers_max = l->peers_max > 0 ? l->peers_max : d->peers_max;
    l->calls_max = l->calls_max > 0 ? l->calls_max : d->calls_max;
    l->under_way = l->under_way > 0 ? l->under_way : d->under_way;
    l->silence_ms = l->silence_ms > 0 ? l->silence_ms : d->silence_ms;
    l->tokens_max = l->tokens_max > 0 ? l->tokens_max : d->tokens_max;
    l->kept_max = l->kept_max > 0 ? l->kept_max : d->kept_max;
    l->waiting_max = l->waiting_max > 0 ? l->waiting_max : d->waiting_max;
    l->event_max = l->event_max > 0 ? l->event_max : d->event_max;
}

int
manage_server_new(struct loop *l, const struct manage_config *config, struct manage_server **ret)
{
    struct manage_server *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return -ENOMEM;
    manage_wipe_json();
    m->loop = l;
    m->cfg = *config;
    server_fill_limits(&m->cfg.limits);
    list_init(&m->peers);
    manage_calls_init(&m->calls, l);
    m->calls.per_peer_max = m->cfg.limits.calls_max;
    m->calls.under_way_max = m->cfg.limits.under_way;
    m->calls.tokens_max = m->cfg.limits.tokens_max;
    m->calls.kept_max = m->cfg.limits.kept_max;
    *ret = m;
    return 0;
}

void
manage_server_free(struct manage_server **server)
{
    struct manage_server *m = *server;

    if (m == NULL)
        return;
    *server = NULL;
    while (m->listeners_count > 0)
        stream_close(m->listeners[--m->listeners_count]);
    manage_calls_fini(&m->calls);
    LIST_FOREACH_SAFE (n, &m->peers) {
        struct manage_peer *p = container_of(n, struct manage_peer, node);

        manage_peer_free(&p);
    }
    free(m);
}

static void
server_drop(struct manage_server *m, struct manage_peer *p)
{
    m->peers_count--;
    manage_calls_peer_gone(&m->calls, p);
    manage_peer_free(&p);
}

static void
server_subscribe(struct manage_peer *p, json_t *id)
{
    json_t *line = json_pack("{s:O*, s:{}}", "id", id, "result");

    p->subscribed = true;
    manage_line_send(p, line);
    json_decref(line);
}

static void
server_unknown(const struct manage_server *m, struct manage_peer *p,
               const struct manage_line_request *rq)
{
    struct suggest s = {.typed = rq->method};
    struct lunette_error err;

    suggest_try(&s, SUBSCRIBE);
    for (const struct manage_method *k = m->cfg.methods; k->name != NULL; k++)
        suggest_try(&s, k->name);
    lunette_fail(&err, -EINVAL, LUNETTE_DOM_USAGE, 0, "there is no method %s%s%s", rq->method,
                 s.best != NULL ? "; was this meant: " : "", s.best != NULL ? s.best : "");
    manage_calls_refuse(p, rq->id, MANAGE_UNKNOWN_METHOD, err.msg);
}

static void
server_dispatch(struct manage_server *m, struct manage_peer *p,
                const struct manage_line_request *rq)
{
    const struct manage_method *k = m->cfg.methods;
    struct manage_call *call;
    struct lunette_error err;

    if (strcmp(rq->method, SUBSCRIBE) == 0) {
        if (manage_check_members(rq->params, "", &err) < 0)
            manage_calls_refuse(p, rq->id, MANAGE_INVALID, err.msg);
        else
            server_subscribe(p, rq->id);
        return;
    }
    while (k->name != NULL && strcmp(k->name, rq->method) != 0)
        k++;
    if (k->name == NULL)
        server_unknown(m, p, rq);
    else if (k->members != NULL && manage_check_members(rq->params, k->members, &err) < 0)
        manage_calls_refuse(p, rq->id, MANAGE_INVALID, err.msg);
    else if (manage_calls_begin(&m->calls, p, k->name, rq, &call) > 0)
        k->fn(m->cfg.user, call, rq->params);
}

static void
server_line(struct manage_peer *p, const char *text, size_t len)
{
    struct manage_line_request rq = {.id = NULL};
    struct lunette_error err;
    json_t *line = NULL;
    int r = manage_line_parse(text, len, MANAGE_VALUES_MAX, &line, &err);

    if (r == 0)
        r = manage_line_request(line, &rq, &err);
    if (r < 0)
        manage_calls_refuse(p, rq.id, manage_code_of_errno(r), err.msg);
    else
        server_dispatch(p->user, p, &rq);
    json_decref(line);
}

static void
server_gone(struct manage_peer *p, const char *why)
{
    struct manage_server *m = p->user;

    log_line(m->loop->log, LOG_LEVEL_DEBUG, "the caller with pid %ld is gone: %s", (long)p->pid,
             why);
    server_drop(m, p);
}

static const struct manage_peer_ops server_peer_ops = {
    .line = server_line,
    .gone = server_gone,
};

/* The caller who has been silent for the longest time, of those who wait for nothing.  Who has just
 * come is about to ask, and who has asked is not silent, though others are looked at first. */
static struct manage_peer *
server_idle_peer(const struct manage_server *m)
{
    uint64_t silence_ns = m->cfg.limits.silence_ms * LOOP_NS_PER_MS;
    struct manage_peer *found = NULL;

    LIST_FOREACH (n, &m->peers) {
        struct manage_peer *p = container_of(n, struct manage_peer, node);

        if (!p->subscribed && p->calls == 0 && !p->in_line &&
            m->loop->now_ns - p->active_ns >= silence_ns &&
            (found == NULL || p->active_ns < found->active_ns) && stream_unread(p->s) <= 0)
            found = p;
    }
    return found;
}

/* NULL, or why this caller is not served. */
static const char *
server_refusal(struct manage_server *m, uid_t uid)
{
    struct manage_peer *idle;

    if (uid != 0 && uid != m->cfg.uid)
        return "only the user whose daemon this is, and root, may call it";
    if (m->peers_count < m->cfg.limits.peers_max)
        return NULL;
    idle = server_idle_peer(m);
    if (idle == NULL)
        return "too many callers are connected; try again later";
    log_line(m->loop->log, LOG_LEVEL_INFO,
             "the caller with pid %ld, which was silent, makes room for another", (long)idle->pid);
    server_drop(m, idle);
    return NULL;
}

void
manage_server_adopt(struct manage_server *m, struct stream *s, uid_t uid, pid_t pid)
{
    const char *why = server_refusal(m, uid);
    struct manage_peer *p;

    if (manage_peer_new(m->loop, s, MANAGE_LINE_MAX, m->cfg.limits.waiting_max, &server_peer_ops, m,
                        &p) < 0) {
        log_line(m->loop->log, LOG_LEVEL_WARN, "no memory for the caller with pid %ld", (long)pid);
        stream_close(s);
        return;
    }
    p->uid = uid;
    p->pid = pid;
    list_push_back(&m->peers, &p->node);
    m->peers_count++;
    if (why == NULL)
        return;
    log_line(m->loop->log, LOG_LEVEL_WARN, "the caller with uid %ld, pid %ld is refused: %s",
             (long)uid, (long)pid, why);
    manage_calls_refuse(p, NULL, uid != 0 && uid != m->cfg.uid ? MANAGE_ACCESS : MANAGE_BUSY, why);
    manage_peer_end(p, why);
}

static void
server_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct manage_server *m = user;
    uid_t uid;
    pid_t pid;
    int r = stream_peer_cred(s, &uid, &pid);

    (void)peer;
    if (r == 0) {
        manage_server_adopt(m, s, uid, pid);
        return;
    }
    log_line(m->loop->log, LOG_LEVEL_WARN, "a caller is refused, since who it is is not known: %s",
             errno_text(r));
    stream_close(s);
}

static const struct stream_events server_listen_events = {.accepted = server_accepted};

int
manage_server_listen(struct manage_server *m, const char *path, int fd, struct lunette_error *err)
{
    struct stream **slot = &m->listeners[m->listeners_count];
    struct sock_addr at;
    int r = 0;

    if (m->listeners_count == MANAGE_LISTEN_MAX)
        return lunette_fail(err, -ENOBUFS, LUNETTE_DOM_USAGE, 0,
                            "the management API listens at %d sockets at most", MANAGE_LISTEN_MAX);
    if (path == NULL)
        r = stream_adopt_listener(m->loop, fd, &server_listen_events, m, slot);
    else if ((r = sock_addr_local(path, strlen(path), &at, err)) < 0)
        return r;
    else
        r = stream_listen(m->loop, &at, &server_listen_events, m, slot, NULL);
    if (r == -EADDRINUSE)
        return lunette_fail(
            err, r, LUNETTE_DOM_OS, EADDRINUSE,
            "another daemon answers at %s, or what is there is no socket; end it, or "
            "take another --root or --instance",
            path != NULL ? path : "the socket that was handed over");
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot listen at %s: %s",
                            path != NULL ? path : "the socket that was handed over", errno_text(r));
    m->listeners_count++;
    return 0;
}

void
manage_server_ask(struct manage_server *m, const char *method, const json_t *params,
                  void (*done)(void *user, const json_t *answer), void *user)
{
    const struct manage_method *k = m->cfg.methods;
    struct manage_call *call;

    while (k->name != NULL && strcmp(k->name, method) != 0)
        k++;
    if (k->name == NULL)
        manage_calls_tell(done, user, MANAGE_UNKNOWN_METHOD, "there is no such method");
    else if (manage_calls_begin_inside(&m->calls, k->name, m->cfg.uid, done, user, &call) < 0)
        manage_calls_tell(done, user, MANAGE_NO_MEMORY, "out of memory");
    else
        k->fn(m->cfg.user, call, params);
}

void
manage_server_forget(struct manage_server *m, const void *user)
{
    manage_calls_forget_inside(&m->calls, user);
}

void
manage_event(struct manage_server *m, const char *name, json_t *what)
{
    json_t *line = json_pack("{s:s}", "event", name);

    if (line != NULL && m->cfg.unix_time != NULL)
        (void)json_object_set_new(line, "time", json_real(m->cfg.unix_time(m->cfg.user)));
    if (line != NULL && what != NULL)
        (void)json_object_update(line, what);
    json_decref(what);
    LIST_FOREACH (n, &m->peers) {
        struct manage_peer *p = container_of(n, struct manage_peer, node);

        if (!p->subscribed)
            continue;
        if (manage_peer_waiting(p) > m->cfg.limits.event_max)
            manage_peer_end(p, "it does not read its events");
        else
            manage_line_send(p, line);
    }
    json_decref(line);
}

void
manage_server_load(const struct manage_server *m, unsigned *ret_peers, size_t *ret_waiting)
{
    size_t waiting = 0;

    LIST_FOREACH (n, &m->peers)
        waiting += manage_peer_waiting(container_of(n, struct manage_peer, node));
    if (ret_peers != NULL)
        *ret_peers = m->peers_count;
    if (ret_waiting != NULL)
        *ret_waiting = waiting;
}
