/* SPDX-License-Identifier: MIT */
/* engine/attach.c - a client from its HELLO until all that it has left has ended. */
#include "engine/attach.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/attachment.h"
#include "engine/tables.h"
#include "seam/shm.h"

/* One that comes again and again does not fill the log. */
#define BROKEN_WINDOW_NS (10 * LOOP_NS_PER_S)
#define BROKEN_MAX       10

static int
attach_fault(struct lunette_error *why, int err, const char *what)
{
    return lunette_fail(why, err, LUNETTE_DOM_USAGE, 0, "%s", what);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void
attach_close_fd(struct engine_attach *a, enum ipc_engine_fd what)
{
    loop_close_fd(a->site->loop, a->fd[what]);
    a->fd[what] = -1;
}

/* Nothing of ours has an address in it any more, which the client may be waiting for. */
static void
attach_unmap(struct engine_attach *a)
{
    struct offload_head *head = a->region;

    if (a->region != NULL) {
        __atomic_store_n(&head->released, 1, __ATOMIC_RELEASE);
        shm_unmap(a->site->loop, a->region, a->region_size);
    }
    if (a->arena != NULL)
        shm_unmap(a->site->loop, a->arena, a->arena_size);
    a->region = a->arena = NULL;
}

static int
attach_map(struct engine_attach *a, enum ipc_engine_fd what, size_t size, void **ret,
           struct lunette_error *why)
{
    int r = shm_map(a->site->loop, a->fd[what], size, ret);

    if (r == 0)
        return 0;
    return lunette_fail(why, r, LUNETTE_DOM_OS, (uint32_t)-r, "the client's %s: %s",
                        what == IPC_ENGINE_REGION ? "region" : "arena",
                        r == -EPERM    ? "its size can still be changed"
                        : r == -EINVAL ? "it is of another size than was said"
                                       : errno_text(r));
}

static void
attach_broken(void *user, const struct lunette_error *why)
{
    struct engine_attach *a = user;
    char more[48] = "";
    unsigned unsaid;

    if (log_limit_ok(&a->site->broken, a->site->loop->now_ns, BROKEN_WINDOW_NS, BROKEN_MAX,
                     &unsaid)) {
        if (unsaid > 0)
            (void)snprintf(more, sizeof(more), " (%u more were since the last such line)", unsaid);
        log_line(a->site->loop->log, LOG_LEVEL_WARN, "client %u of user %u is sent away: %s%s",
                 a->cfg.client_pid, a->cfg.client_uid, why->msg, more);
    }
    a->cfg.close(a->cfg.user, why);
}

static int
attach_make_lane(struct engine_attach *a, const struct iscsi_uevent *ev, struct lunette_error *why)
{
    struct engine_lane_config cfg = {.loop = a->site->loop,
                                     .slots = ev->u.engine_attach.slots,
                                     .generation = ev->u.engine_attach.generation,
                                     .arena = ev->u.engine_attach.arena,
                                     .bell_engine = a->fd[IPC_ENGINE_BELL_ENGINE],
                                     .bell_client = a->fd[IPC_ENGINE_BELL_CLIENT],
                                     .broken = attach_broken,
                                     .user = a};
    int r;

    a->region_size = offload_region_size(cfg.slots);
    a->arena_size = (size_t)cfg.arena;
    r = attach_map(a, IPC_ENGINE_REGION, a->region_size, &a->region, why);
    if (r == 0)
        r = attach_map(a, IPC_ENGINE_ARENA, a->arena_size, &a->arena, why);
    cfg.region = a->region;
    cfg.arena_map = a->arena;
    if (r == 0)
        r = engine_lane_new(&cfg, &a->lane, why);
    if (r < 0)
        attach_unmap(a);
    return r;
}

/* ---- requests ------------------------------------------------------------------------------- */

static int
attach_hello(struct engine_attach *a, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    uint32_t max = ev->u.hello.max;
    int r = ipc_hello_check(ev, a->site->loops, &rep->why);

    if (r < 0)
        return r;
    if (ev->u.hello.loop != a->site->index)
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "HELLO: loop %u is asked for, this is loop %u", ev->u.hello.loop,
                            a->site->index);
    a->greeted = true;
    rep->r.hello.version = max < IPC_VERSION_MAX ? max : IPC_VERSION_MAX;
    rep->r.hello.generation = a->generation;
    rep->r.hello.first_event = rep->r.hello.next_event = a->events.last + 1;
    rep->r.hello.loops = a->site->loops;
    return 0;
}

/* The descriptor is ours, whatever is answered. */
static int
attach_take_fd(struct engine_attach *a, const struct iscsi_uevent *ev, struct lunette_error *why)
{
    enum ipc_engine_fd what = ev->u.engine_fd.what;
    int fd = ev->u.engine_fd.fd;

    if (fd < 0)
        return attach_fault(why, fd == -1 ? -EINVAL : fd,
                            fd == -1 ? "a descriptor has to come with that"
                                     : "the engine could not take the descriptor");
    if (what >= IPC_ENGINE_FDS || a->attached || a->fd[what] >= 0) {
        loop_close_fd(a->site->loop, fd);
        return attach_fault(why, -EEXIST, "each descriptor is sent once, before ATTACH");
    }
    if (what == IPC_ENGINE_BELL_ENGINE || what == IPC_ENGINE_BELL_CLIENT) {
        int r = what == IPC_ENGINE_BELL_ENGINE ? shm_bell_check_wait(a->site->loop, fd)
                                               : shm_bell_check(a->site->loop, fd);

        if (r < 0) {
            loop_close_fd(a->site->loop, fd);
            return attach_fault(why, r, "what was sent is no bell");
        }
    }
    a->fd[what] = fd;
    return 0;
}

static int
attach_check(const struct engine_attach *a, const struct iscsi_uevent *ev,
             struct lunette_error *why)
{
    enum ipc_engine_class class = ev->u.engine_attach.class;
    uint32_t slots = ev->u.engine_attach.slots;
    uint64_t arena = ev->u.engine_attach.arena;

    if (a->attached)
        return attach_fault(why, -EBUSY, "the client is attached");
    if (class == IPC_ENGINE_ADMIN)
        return 0;
    if (class != IPC_ENGINE_SESSION)
        return attach_fault(why, -EOPNOTSUPP, "this engine has the classes admin and session");
    if (slots == 0 || slots > OFFLOAD_SLOTS_MAX)
        return attach_fault(why, -EINVAL, "1 to 1024 slots are possible");
    if (arena == 0 || arena > OFFLOAD_ARENA_MAX || arena % 4096 != 0)
        return attach_fault(why, -EINVAL, "an arena has whole pages, and 1 GiB at most");
    for (unsigned i = 0; i < IPC_ENGINE_FDS; i++) {
        if (a->fd[i] < 0)
            return attach_fault(why, -EINVAL, "a descriptor of the memory or of a bell is missing");
    }
    return 0;
}

static int
attach_attach(struct engine_attach *a, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    int r = attach_check(a, ev, &rep->why);

    if (r == 0 && ev->u.engine_attach.class == IPC_ENGINE_SESSION)
        r = attach_make_lane(a, ev, &rep->why);
    if (r < 0)
        return r;
    attach_close_fd(a, IPC_ENGINE_REGION);
    attach_close_fd(a, IPC_ENGINE_ARENA);
    a->attached = true;
    a->class = ev->u.engine_attach.class;
    rep->r.attach.sessions_max = a->lane != NULL ? ENGINE_SESSIONS_MAX : 0;
    rep->r.attach.max_transfer = ENGINE_TRANSFER_MAX;
    rep->r.attach.pid = a->site->pid;
    (void)snprintf(rep->r.attach.version, sizeof(rep->r.attach.version), "%s", a->site->version);
    return 0;
}

static int
attach_refuse(struct engine_attach *a, const struct iscsi_uevent *ev, struct lunette_error *why)
{
    if (ev->type == ISCSI_UEVENT_BIND_CONN && ev->u.bind_conn.fd >= 0)
        loop_close_fd(a->site->loop, ev->u.bind_conn.fd);
    if (ev->type == ISCSI_UEVENT_ENGINE_FD && ev->u.engine_fd.fd >= 0)
        loop_close_fd(a->site->loop, ev->u.engine_fd.fd);
    if (a->gone)
        return attach_fault(why, -ESTALE, "this client is not attached any more");
    if (!a->greeted)
        return attach_fault(why, -EPERM, "a client begins with HELLO");
    return attach_fault(why, -EOPNOTSUPP, "an engine has no such request");
}

static void
attachment_serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev,
                 const void *data, uint32_t data_len)
{
    struct engine_attach *a = server;
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .sid = ev->sid, .cid = ev->cid};
    bool open = a->greeted && !a->gone;

    if (open && engine_session_serves(ev->type)) {
        engine_session_serve(a, ev);
        return;
    }
    if (open && a->attached && engine_table_is(ev->type)) {
        engine_table_serve(a->site->logins, from, ev, data, data_len);
        return;
    }
    if (!a->gone && ev->type == ISCSI_UEVENT_HELLO)
        rep.err = attach_hello(a, ev, &rep);
    else if (open && ev->type == ISCSI_UEVENT_ENGINE_FD)
        rep.err = attach_take_fd(a, ev, &rep.why);
    else if (open && ev->type == ISCSI_UEVENT_ENGINE_ATTACH)
        rep.err = attach_attach(a, ev, &rep);
    else if (open && ev->type == ISCSI_UEVENT_TAKE_EVENTS)
        rep.err = 0; /* they flow */
    else
        rep.err = attach_refuse(a, ev, &rep.why);
    from->reply(from->binding, &rep);
}

const struct ipc_server_ops engine_attach_ops = {.serve = attachment_serve};

/* ---- life ----------------------------------------------------------------------------------- */

void
engine_site_init(struct engine_site *s)
{
    list_init(&s->shares);
    list_init(&s->attachments);
    s->nattachments = 0;
    s->generations = 0;
}

/* Sessions, and with them all that a host may still write to, have ended. */
static void
attachment_end(struct loop_work *w)
{
    struct engine_attach *a = container_of(w, struct engine_attach, end);
    struct engine_site *site = a->site;

    if (a->nsessions > 0)
        return;
    engine_lane_free(a->lane);
    attach_unmap(a);
    for (unsigned i = 0; i < IPC_ENGINE_FDS; i++) {
        if (a->fd[i] >= 0)
            attach_close_fd(a, (enum ipc_engine_fd)i);
    }
    list_del(&a->node);
    free(a);
    if (--site->nattachments == 0 && site->empty != NULL)
        site->empty(site->user);
}

int
engine_attach_new(struct engine_site *s, const struct engine_attach_config *cfg,
                  struct engine_attach **ret)
{
    struct engine_attach *a;

    if (s->nattachments >= ENGINE_CLIENTS_MAX)
        return -EAGAIN;
    a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->site = s;
    a->cfg = *cfg;
    a->generation = ++s->generations;
    for (unsigned i = 0; i < IPC_ENGINE_FDS; i++)
        a->fd[i] = -1;
    engine_events_init(a);
    loop_work_init(&a->end, attachment_end);
    list_push_back(&s->attachments, &a->node);
    s->nattachments++;
    *ret = a;
    return 0;
}

void
engine_attach_set_client(struct engine_attach *a, const struct ipc_client *client)
{
    a->client = *client;
}

void
engine_attach_leave(struct engine_attach *a)
{
    assert(!a->gone);
    a->gone = true;
    engine_table_forget(a->site->logins, &a->client);
    engine_events_fini(a);
    if (a->lane != NULL)
        engine_lane_close(a->lane);
    engine_session_drop_all(a);
    loop_defer(a->site->loop, &a->end);
}
