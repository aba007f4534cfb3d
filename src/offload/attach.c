/* SPDX-License-Identifier: MIT */
#include "offload/attach.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/ipc.h"
#include "ipc/socket.h"
#include "offload/turn.h"

#define TRANSFER_MIN 65536u /* bytes: no disk has larger blocks */

/* ---- users ---------------------------------------------------------------------------------- */

/* Calls fn for each user that is there now; any of them may leave inside. */
static void
attach_tell_users(struct offload_attach *at, void (*fn)(struct offload_user *u))
{
    bool found;

    LIST_FOREACH (n, &at->users)
        container_of(n, struct offload_user, node)->due = true;
    do {
        found = false;
        LIST_FOREACH (n, &at->users) {
            struct offload_user *u = container_of(n, struct offload_user, node);

            if (!u->due)
                continue;
            u->due = false;
            found = true;
            fn(u);
            break;
        }
    } while (found);
}

static void
tell_failed(struct offload_user *u)
{
    struct lunette_error why = u->at->why;

    u->waits = u->up = false;
    u->failed(u, &why);
}

static void
tell_not_now(struct offload_user *u)
{
    if (u->waits)
        tell_failed(u);
}

static void
tell_fenced(struct offload_user *u)
{
    if (u->fenced != NULL)
        u->fenced(u);
}

static void
tell_attached(struct offload_user *u)
{
    if (u->up || !(u->waits || u->keeps) || u->at->state != OFFLOAD_UP)
        return;
    u->waits = false;
    u->up = true;
    u->attached(u);
}

static bool
attach_is_wanted(const struct offload_attach *at)
{
    LIST_FOREACH (n, &at->users) {
        const struct offload_user *u = container_of(n, struct offload_user, node);

        if (u->keeps || u->waits)
            return true;
    }
    return false;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
attach_close_control(struct offload_attach *at)
{
    ipc_encoded_client_free(at->end);
    ipc_socket_free(at->carrier);
    if (at->s != NULL)
        stream_close(at->s);
    at->end = NULL;
    at->carrier = NULL;
    at->ipc = NULL;
    at->s = NULL;
}

/* Forgets an engine that has nothing of ours any more. */
static void
attach_clear(struct offload_attach *at)
{
    attach_close_control(at);
    loop_timer_stop(at->loop, &at->limit);
    loop_timer_stop(at->loop, &at->pulse);
    loop_defer_cancel(&at->turn);
    if (at->bell != NULL)
        loop_unwatch(at->loop, at->bell);
    at->bell = NULL;
    if (at->process != NULL)
        shm_process_unwatch(at->loop, at->process);
    at->process = NULL;
    offload_share_free(&at->share);
    at->state = OFFLOAD_IDLE;
}

static void
attach_log(const struct offload_attach *at)
{
    log_line(at->loop->log, LOG_LEVEL_WARN, "%s", at->why.msg);
}

/* The next try is later than the one before, unless the engine has served us, or the attachment has
 * held for a while. */
static void
attach_back_off(struct offload_attach *at)
{
    uint64_t steady = (uint64_t)OFFLOAD_RETRY_MAX * LOOP_NS_PER_MS;

    if (at->up_ns != 0 && (at->looked_ns > at->up_ns || at->loop->now_ns - at->up_ns >= steady))
        at->retry_ms = 0;
    at->retry_ms = at->retry_ms == 0 ? OFFLOAD_RETRY_MS : 2 * at->retry_ms;
    if (at->retry_ms > OFFLOAD_RETRY_MAX)
        at->retry_ms = OFFLOAD_RETRY_MAX;
    at->up_ns = 0;
}

/* at->why says it. */
static void
attach_over(struct offload_attach *at)
{
    bool known = at->state != OFFLOAD_UP && at->silent;

    at->state = OFFLOAD_LOST;
    at->lost_ns = at->loop->now_ns;
    at->silent = true; /* of further tries that fail: the first has been told of */
    loop_timer_stop(at->loop, &at->limit);
    loop_timer_stop(at->loop, &at->pulse);
    loop_defer_cancel(&at->turn);
    if (at->bell != NULL)
        loop_unwatch(at->loop, at->bell);
    at->bell = NULL;
    LIST_FOREACH_SAFE (n, &at->calls)
        list_del(n);
    if (offload_share_there(&at->share))
        slots_hold(&at->share.slots);
    attach_back_off(at);
    if (!known)
        attach_log(at);
    loop_defer(at->loop, &at->work);
    attach_tell_users(at, tell_failed);
}

void
offload_lost(struct offload_attach *at, int err, const char *fmt, ...)
{
    char what[256];
    va_list ap;

    if (at->state == OFFLOAD_IDLE || at->state == OFFLOAD_LOST)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    (void)lunette_fail(&at->why, err, LUNETTE_DOM_CONNECT, (uint32_t)-err, "the engine at %s %s",
                       at->opt.engine, what);
    attach_over(at);
}

/* The same where there is a sentence already. */
static void
attach_refused(struct offload_attach *at, const struct lunette_error *why)
{
    if (at->state == OFFLOAD_IDLE || at->state == OFFLOAD_LOST)
        return;
    (void)lunette_fail_as(&at->why, why);
    attach_over(at);
}

/* attach_on_limit comes in `ns`. */
static void
attach_set_limit(struct offload_attach *at, uint64_t ns)
{
    at->limit_ns = at->loop->now_ns + ns;
    loop_timer_start(at->loop, &at->limit, ns);
}

/* ---- requests ------------------------------------------------------------------------------- */

void
offload_ask(struct offload_attach *at, struct iscsi_uevent *ev, struct offload_call *c,
            uint32_t limit_ms)
{
    uint64_t limit = limit_ms * LOOP_NS_PER_MS;
    int r;

    assert(at->ipc != NULL && at->state != OFFLOAD_LOST && list_empty(&c->node));
    r = ipc_request(at->ipc, ev, NULL, 0);
    if (r < 0) {
        if (ev->type == ISCSI_UEVENT_ENGINE_FD)
            loop_close_fd(at->loop, ev->u.engine_fd.fd);
        offload_lost(at, r, "cannot be asked for anything: %s", errno_text(-r));
        return;
    }
    c->seq = ev->seq;
    c->type = ev->type;
    c->due_ns = at->loop->now_ns + limit;
    list_push_back(&at->calls, &c->node);
    /* One that may take longer may be waited for already. */
    if (!loop_timer_running(&at->limit) || at->limit_ns > c->due_ns)
        attach_set_limit(at, limit);
}

/* Whoever hears of a refusal relies on a reason, which an engine may have left out. */
static void
attach_answer(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct iscsi_reply with_why;

    if (rep->err >= 0 || rep->why.code < 0) {
        c->done(c, rep);
        return;
    }
    with_why = *rep;
    (void)lunette_fail(&with_why.why, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err,
                       "the engine has refused it and not said why: %s", errno_text(rep->err));
    c->done(c, &with_why);
}

static void
attach_on_reply(void *user, const struct iscsi_reply *rep)
{
    struct offload_attach *at = user;

    LIST_FOREACH (n, &at->calls) {
        struct offload_call *c = container_of(n, struct offload_call, node);

        if (c->seq != rep->seq)
            continue;
        list_del(n);
        if (c->type == rep->type)
            attach_answer(c, rep);
        else
            offload_lost(at, -EPROTO, "has answered something else than it was asked");
        return;
    }
    /* of what was lost meanwhile */
}

static void
attach_on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct offload_attach *at = user;

    (void)data;
    if (at->state != OFFLOAD_UP)
        return;
    if (ev->type == ISCSI_KEVENT_LOST) {
        offload_lost(at, -ENOBUFS, "had no memory to tell what has happened");
        return;
    }
    LIST_FOREACH (n, &at->users) {
        struct offload_user *u = container_of(n, struct offload_user, node);

        if (u->event == NULL || u->sid != ev->sid || ev->sid == 0)
            continue;
        u->event(u, ev);
        return;
    }
}

static const struct ipc_events attach_events = {.reply = attach_on_reply, .event = attach_on_event};

/* Something has not been answered in time, or the next deadline is later. */
static void
attach_on_limit(struct loop_timer *t)
{
    struct offload_attach *at = container_of(t, struct offload_attach, limit);
    uint64_t now = at->loop->now_ns, next = UINT64_MAX;

    if (at->state != OFFLOAD_UP && now >= at->began_ns + OFFLOAD_ANSWER_MS * LOOP_NS_PER_MS)
        next = 0;
    else if (at->state != OFFLOAD_UP)
        next = at->began_ns + OFFLOAD_ANSWER_MS * LOOP_NS_PER_MS;
    LIST_FOREACH (n, &at->calls) {
        const struct offload_call *c = container_of(n, struct offload_call, node);

        if (c->due_ns < next)
            next = c->due_ns;
    }
    if (next <= now)
        offload_lost(at, -ETIMEDOUT, "does not answer");
    else if (next != UINT64_MAX)
        attach_set_limit(at, next - now);
}

/* The engine has beaten, or an entry has come; or neither for too long.  Of one that was lost: it
 * is time to look whether it has let go. */
static void
attach_on_pulse(struct loop_timer *t)
{
    struct offload_attach *at = container_of(t, struct offload_attach, pulse);
    uint64_t beat, now = at->loop->now_ns;

    if (at->state == OFFLOAD_LOST) {
        loop_defer(at->loop, &at->work);
        return;
    }
    if (at->share.slots.live == 0)
        return;
    beat = offload_share_beat(&at->share);
    if (beat != at->beat || at->looked_ns > at->beat_ns)
        at->beat_ns = now;
    at->beat = beat;
    if (now - at->beat_ns >= OFFLOAD_WEDGED_MS * LOOP_NS_PER_MS)
        offload_lost(at, -ETIMEDOUT, "has done nothing for %u s, though it has something to do",
                     OFFLOAD_WEDGED_MS / 1000);
    else
        loop_timer_start(at->loop, &at->pulse, OFFLOAD_BEAT_MS * LOOP_NS_PER_MS);
}

/* ---- attaching ------------------------------------------------------------------------------ */

static void
attach_turn(struct offload_attach *at)
{
    char what[128];

    if (at->state != OFFLOAD_UP)
        return;
    if (at->sq_broken) {
        offload_lost(at, -EPROTO, "has taken requests that were never made");
        return;
    }
    if (offload_turn(at, what, sizeof(what)))
        loop_defer(at->loop, &at->turn);
    if (what[0] != '\0')
        offload_lost(at, -EPROTO, "%s", what);
}

/* The bell was rung; or it is seen to be rung though nothing is there, which is no harm. */
static void
attach_on_bell(void *user)
{
    struct offload_attach *at = user;

    shm_bell_clear(at->loop, at->share.bell_client);
    ring_awake(&at->share.cq);
    attach_turn(at);
}

static void
attach_on_turn(struct loop_work *w)
{
    attach_turn(container_of(w, struct offload_attach, turn));
}

static void
attach_is_up(struct offload_attach *at, const struct iscsi_reply *rep)
{
    uint64_t most = at->opt.arena / OFFLOAD_TRANSFER_N;
    int r = loop_watch(at->loop, at->share.bell_client, attach_on_bell, at, &at->bell);

    if (r < 0) {
        offload_lost(at, r, "cannot be listened to: %s", errno_text(-r));
        return;
    }
    if (rep->r.attach.max_transfer < most)
        most = rep->r.attach.max_transfer;
    if (most > arena_largest(&at->share.arena))
        most = arena_largest(&at->share.arena);
    if (most < TRANSFER_MIN) {
        offload_lost(at, -EINVAL, "takes %llu bytes at a time at most, which is too little",
                     (unsigned long long)most);
        return;
    }
    at->max_transfer = (uint32_t)most;
    at->engine_pid = rep->r.attach.pid;
    at->state = OFFLOAD_UP;
    at->silent = false;
    at->up_ns = at->loop->now_ns;
    at->beat = offload_share_beat(&at->share);
    log_line(at->loop->log, LOG_LEVEL_DEBUG, "attached to the engine at %s", at->opt.engine);
    loop_defer(at->loop, &at->turn);
    loop_defer(at->loop, &at->work);
}

static void
attach_on_attached(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct offload_attach *at = container_of(c, struct offload_attach, call);

    if (rep->err < 0)
        attach_refused(at, &rep->why);
    else
        attach_is_up(at, rep);
}

static void
attach_ask_attach(struct offload_attach *at)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_ENGINE_ATTACH};

    ev.u.engine_attach.class = IPC_ENGINE_SESSION;
    ev.u.engine_attach.slots = at->opt.slots;
    ev.u.engine_attach.arena = at->opt.arena;
    ev.u.engine_attach.generation = at->generation;
    at->call.done = attach_on_attached;
    offload_ask(at, &ev, &at->call, OFFLOAD_ANSWER_MS);
}

static void attach_send_fd(struct offload_attach *at);

static void
attach_on_fd(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct offload_attach *at = container_of(c, struct offload_attach, call);

    if (rep->err < 0)
        attach_refused(at, &rep->why);
    else
        attach_send_fd(at);
}

/* One descriptor after the other, and then ATTACH. */
static void
attach_send_fd(struct offload_attach *at)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_ENGINE_FD};
    unsigned i = 0;

    while (i < IPC_ENGINE_FDS && at->share.send[i] < 0)
        i++;
    if (i == IPC_ENGINE_FDS) {
        attach_ask_attach(at);
        return;
    }
    ev.u.engine_fd.fd = at->share.send[i];
    ev.u.engine_fd.what = (enum ipc_engine_fd)i;
    at->share.send[i] = -1;
    at->call.done = attach_on_fd;
    offload_ask(at, &ev, &at->call, OFFLOAD_ANSWER_MS);
}

static void
attach_on_hello(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct offload_attach *at = container_of(c, struct offload_attach, call);
    struct lunette_error why;

    if (rep->err < 0) {
        attach_refused(at, &rep->why);
        return;
    }
    at->loops = rep->r.hello.loops;
    if (at->loops == 0) {
        offload_lost(at, -EPROTO, "says that it has no loop");
        return;
    }
    if (++at->generation == 0)
        at->generation = 1;
    if (offload_share_make(at->loop, &at->opt, at->generation, &at->share, &why) < 0) {
        attach_refused(at, &why);
        return;
    }
    at->state = OFFLOAD_ATTACHING;
    attach_send_fd(at);
}

static void
attach_on_gone(void *user, const struct lunette_error *why)
{
    struct offload_attach *at = user;

    if (at->state == OFFLOAD_CONNECTING)
        offload_lost(at, -EPERM,
                     "has closed the connection at once: it takes no clients of this user, or is "
                     "no iscsi-engine");
    else
        offload_lost(at, why->code, "is lost: %s", why->msg);
}

static void
attach_on_process_gone(void *user)
{
    struct offload_attach *at = user;

    at->process_gone = true;
    offload_lost(at, -ECONNRESET, "has ended");
    loop_defer(at->loop, &at->work);
}

static int
attach_make_end(struct offload_attach *at)
{
    int r = ipc_socket_client_new(at->s, attach_on_gone, at, &at->carrier);

    if (r < 0)
        return r;
    at->s = NULL;
    r = ipc_encoded_client_new(ipc_socket_carrier(at->carrier), ipc_socket_broken, at->carrier,
                               &at->end);
    if (r < 0)
        return r;
    at->ipc = ipc_encoded_client_ipc(at->end);
    at->ipc->ev = &attach_events;
    at->ipc->ev_user = at;
    return 0;
}

static void
attach_connect_failed(struct offload_attach *at, int err)
{
    if (err == -ENOENT || err == -ECONNREFUSED || err == -ENOTSOCK)
        (void)lunette_fail(&at->why, err, LUNETTE_DOM_CONNECT, (uint32_t)-err,
                           "there is no engine at %s: start one with `iscsi-engine --socket %s`, "
                           "or give the path of one that runs",
                           at->opt.engine, at->opt.engine);
    else if (err == -EACCES || err == -EPERM)
        (void)lunette_fail(&at->why, err, LUNETTE_DOM_CONNECT, (uint32_t)-err,
                           "this user may not use the engine at %s: its socket is for another "
                           "user, or in a folder that is",
                           at->opt.engine);
    else
        (void)lunette_fail(&at->why, err, LUNETTE_DOM_CONNECT, (uint32_t)-err,
                           "the engine at %s cannot be reached: %s", at->opt.engine,
                           errno_text(-err));
    attach_over(at);
}

static void
attach_on_connected(void *user, int err)
{
    struct offload_attach *at = user;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};
    int r = err;

    if (r == 0)
        r = shm_process_watch(at->loop, at->s, attach_on_process_gone, at, &at->process);
    if (r == 0)
        r = attach_make_end(at);
    if (r < 0) {
        attach_connect_failed(at, r);
        return;
    }
    ev.u.hello.min = IPC_VERSION_MIN;
    ev.u.hello.max = IPC_VERSION_MAX;
    ev.u.hello.loop = at->index;
    at->call.done = attach_on_hello;
    offload_ask(at, &ev, &at->call, OFFLOAD_ANSWER_MS);
}

static const struct stream_events attach_stream_events = {.connected = attach_on_connected};

static void
attach_begin(struct offload_attach *at)
{
    struct sock_addr to;
    int r;

    assert(at->state == OFFLOAD_IDLE && !offload_share_there(&at->share));
    loop_timer_stop(at->loop, &at->retry);
    at->state = OFFLOAD_CONNECTING;
    at->process_gone = at->sq_broken = false;
    at->began_ns = at->loop->now_ns;
    r = sock_addr_local(at->opt.engine, strlen(at->opt.engine), &to, NULL);
    if (r == 0)
        r = stream_connect_packets(at->loop, &to, &attach_stream_events, at, &at->s);
    if (r < 0)
        attach_connect_failed(at, r);
    else
        attach_set_limit(at, OFFLOAD_ANSWER_MS * LOOP_NS_PER_MS);
}

static void
attach_on_retry(struct loop_timer *t)
{
    struct offload_attach *at = container_of(t, struct offload_attach, retry);

    if (at->state == OFFLOAD_IDLE && attach_is_wanted(at))
        attach_begin(at);
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The engine that was lost runs no more, or has nothing of ours. */
static void
attach_settle(struct offload_attach *at)
{
    if (offload_share_there(&at->share)) {
        slots_fence(&at->share.slots);
        offload_give_back(at);
    }
    attach_clear(at);
    attach_tell_users(at, tell_fenced);
}

static void
attach_free(struct offload_attach *at)
{
    attach_clear(at);
    loop_timer_stop(at->loop, &at->retry);
    loop_defer_cancel(&at->work);
    list_del(&at->node);
    free(at);
}

/* Waits for its next try.  Whoever comes anew does not wait for what others had to. */
static void
attach_try_later(struct offload_attach *at)
{
    uint64_t half = (uint64_t)at->retry_ms * LOOP_NS_PER_MS / 2;
    bool fresh = false;

    LIST_FOREACH (n, &at->users)
        fresh |= container_of(n, struct offload_user, node)->waits;
    if (fresh)
        attach_begin(at);
    else if (!loop_timer_running(&at->retry))
        loop_timer_start(at->loop, &at->retry, half + loop_random(at->loop) % (half + 1));
}

/* An engine that lives on has let go of what was ours, or had nothing. */
static bool
attach_has_nothing(const struct offload_attach *at)
{
    return !offload_share_there(&at->share) || at->share.slots.live == 0 ||
           offload_share_released(&at->share);
}

/* Whoever has come meanwhile learns why nothing happens, and may come again. */
static void
attach_keep_waiting(struct offload_attach *at)
{
    loop_timer_start(at->loop, &at->pulse, OFFLOAD_LOOK_MS * LOOP_NS_PER_MS);
    if (at->loop->now_ns - at->lost_ns >= OFFLOAD_ANSWER_MS * LOOP_NS_PER_MS)
        attach_tell_users(at, tell_not_now);
}

static void
attach_on_work(struct loop_work *w)
{
    struct offload_attach *at = container_of(w, struct offload_attach, work);

    if (at->state == OFFLOAD_LOST) {
        attach_close_control(at);
        if (at->process_gone || attach_has_nothing(at))
            attach_settle(at);
        else
            attach_keep_waiting(at);
    }
    if (list_empty(&at->users)) {
        if (at->state != OFFLOAD_LOST)
            attach_free(at);
        return;
    }
    if (at->state == OFFLOAD_UP)
        attach_tell_users(at, tell_attached);
    else if (at->state == OFFLOAD_IDLE && attach_is_wanted(at))
        attach_try_later(at);
}

static struct offload_attach *
attach_find(struct offload_adapter *ad, const struct offload_options *o, uint32_t index)
{
    LIST_FOREACH (n, &ad->attachments) {
        struct offload_attach *at = container_of(n, struct offload_attach, node);

        if (at->index == index && offload_options_equal(&at->opt, o))
            return at;
    }
    return NULL;
}

static struct offload_attach *
attach_new(struct offload_adapter *ad, const struct offload_options *o, uint32_t index)
{
    struct offload_attach *at = calloc(1, sizeof(*at));

    if (at == NULL)
        return NULL;
    at->ad = ad;
    at->loop = ad->loop;
    at->opt = *o;
    at->index = index;
    list_init(&at->users);
    list_init(&at->calls);
    list_init(&at->call.node);
    loop_timer_init(&at->limit, attach_on_limit);
    loop_timer_init(&at->retry, attach_on_retry);
    loop_timer_init(&at->pulse, attach_on_pulse);
    loop_work_init(&at->work, attach_on_work);
    loop_work_init(&at->turn, attach_on_turn);
    list_push_back(&ad->attachments, &at->node);
    return at;
}

int
offload_join(struct offload_adapter *ad, const struct offload_options *o, uint32_t index,
             struct offload_user *u, struct lunette_error *err)
{
    struct offload_attach *at = attach_find(ad, o, index);

    if (at == NULL)
        at = attach_new(ad, o, index);
    if (at == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    u->at = at;
    u->waits = true;
    u->up = u->due = false;
    list_push_back(&at->users, &u->node);
    loop_defer(at->loop, &at->work);
    return 0;
}

void
offload_leave(struct offload_user *u)
{
    struct offload_attach *at = u->at;

    if (at == NULL)
        return;
    list_del(&u->node);
    u->at = NULL;
    u->waits = u->up = u->due = false;
    if (list_empty(&at->users))
        loop_defer(at->loop, &at->work);
}

void
offload_adapter_init(struct offload_adapter *ad, struct loop *l)
{
    ad->loop = l;
    list_init(&ad->attachments);
}

void
offload_adapter_fini(struct offload_adapter *ad)
{
    LIST_FOREACH_SAFE (n, &ad->attachments) {
        struct offload_attach *at = container_of(n, struct offload_attach, node);

        assert(list_empty(&at->users));
        attach_free(at);
    }
}
