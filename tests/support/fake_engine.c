/* SPDX-License-Identifier: MIT */
#include "tests/support/fake_engine.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "seam/host.h"
#include "seam/shm.h"

#define MAX_TRANSFER (1u << 20)

static bool
fe_dead(struct fake_engine *fe)
{
    return fe->l == NULL || fe->dying || sim_process_killed(fe->l);
}

/* ---- clients -------------------------------------------------------------------------------- */

static void
client_forget(struct fake_engine_client *c)
{
    struct loop *l;

    if (!c->there)
        return;
    l = c->fe->l;
    c->there = c->attached = false;
    if (c->bell != NULL)
        loop_unwatch(l, c->bell);
    if (c->region != NULL && c->fe->lets_go)
        ((struct offload_head *)c->region)->released = 1;
    if (c->region != NULL)
        shm_unmap(l, c->region, offload_region_size(c->slots));
    if (c->arena != NULL)
        shm_unmap(l, c->arena, c->arena_size);
    for (unsigned i = 0; i < IPC_ENGINE_FDS; i++)
        loop_close_fd(l, c->fd[i]);
    ipc_encoded_server_free(c->end);
    ipc_socket_free(c->sock);
    c->bell = NULL;
    c->region = c->arena = NULL;
}

static void
client_on_gone(void *user, const struct lunette_error *why)
{
    (void)why;
    client_forget(user);
}

void
fake_engine_drop(struct fake_engine *fe, unsigned client)
{
    client_forget(&fe->client[client]);
}

/* ---- the rings ------------------------------------------------------------------------------ */

static void
client_flush(struct fake_engine_client *c)
{
    ring_release(&c->sq);
    if (ring_publish(&c->cq))
        shm_bell_ring(c->fe->l, c->fd[IPC_ENGINE_BELL_CLIENT]);
}

void
fake_engine_put(struct fake_engine *fe, unsigned client, const struct offload_cqe *e)
{
    struct fake_engine_client *c = &fe->client[client];

    if (!c->attached || fe_dead(fe))
        return;
    (void)ring_put(&c->cq, e);
    client_flush(c);
}

struct offload_cqe
fake_engine_answer(const struct fake_engine *fe, const struct offload_sqe *e)
{
    return (struct offload_cqe){
        .kind = e->kind == OFFLOAD_SQ_COMMAND ? OFFLOAD_CQ_DONE : OFFLOAD_CQ_TMF_DONE,
        .slot = e->slot,
        .generation = e->generation,
        .sid = e->sid,
        .state = IPC_SESSION_RUNNING,
        .state_event = (uint32_t)fe->events,
    };
}

/* A slice of the disk for a READ(10) or WRITE(10); NULL: it is none, or behind the end. */
static uint8_t *
disk_at(struct fake_engine *fe, const struct offload_sqe *e, uint32_t len)
{
    uint32_t lba = (uint32_t)e->cdb[4] << 8 | e->cdb[5];

    if ((e->cdb[0] != 0x28 && e->cdb[0] != 0x2a) || len > FAKE_ENGINE_DISK ||
        lba * 512u > FAKE_ENGINE_DISK - len)
        return NULL;
    return fe->disk + lba * 512u;
}

static unsigned
client_of(const struct fake_engine *fe, const struct offload_sqe *e)
{
    return fe->owner[(e->sid - FAKE_ENGINE_SID) % FAKE_ENGINE_SESSIONS];
}

static void
serve(struct fake_engine *fe, const struct offload_sqe *e)
{
    unsigned which = client_of(fe, e);
    struct fake_engine_client *c = &fe->client[which];
    struct offload_cqe done = fake_engine_answer(fe, e);
    uint8_t *arena = c->arena, *disk;

    if (!c->attached)
        return;
    if (e->kind == OFFLOAD_SQ_COMMAND && e->out_len > 0 &&
        (disk = disk_at(fe, e, e->out_len)) != NULL)
        memcpy(disk, arena + e->out_off, e->out_len);
    if (e->kind == OFFLOAD_SQ_COMMAND && e->in_len > 0 &&
        (disk = disk_at(fe, e, e->in_len)) != NULL)
        memcpy(arena + e->in_off, disk, e->in_len);
    fake_engine_put(fe, which, &done);
}

void
fake_engine_serve_held(struct fake_engine *fe, unsigned i)
{
    struct offload_sqe e = fe->held[i];

    assert(i < fe->nheld);
    fe->nheld--;
    memmove(&fe->held[i], &fe->held[i + 1], (fe->nheld - i) * sizeof(e));
    serve(fe, &e);
}

void
fake_engine_serve_all(struct fake_engine *fe)
{
    while (fe->nheld > 0)
        fake_engine_serve_held(fe, 0);
}

static void
kill_now(void *user)
{
    fake_engine_kill(user);
}

/* It does nothing more in this turn, and is killed behind it. */
static void
fe_step(struct fake_engine *fe)
{
    if (fe->die_after == 0 || --fe->die_after > 0)
        return;
    fe->dying = true;
    sim_at(fe->sim, 0, kill_now, fe);
}

static void
take_entry(struct fake_engine *fe, const struct offload_sqe *e)
{
    fe->entries++;
    fe->last = *e;
    if (e->kind == OFFLOAD_SQ_COMMAND)
        fe->commands++;
    else
        fe->tmfs++;
    if (fe->hold) {
        assert(fe->nheld < FAKE_ENGINE_HELD);
        fe->held[fe->nheld++] = *e;
    } else {
        serve(fe, e);
    }
    fe_step(fe);
}

static void
client_on_bell(void *user)
{
    struct fake_engine_client *c = user;
    struct fake_engine *fe = c->fe;
    struct offload_sqe e;
    int r = 1;

    shm_bell_clear(fe->l, c->fd[IPC_ENGINE_BELL_ENGINE]);
    ring_awake(&c->sq);
    do {
        while (c->attached && !fe_dead(fe) && (r = ring_get(&c->sq, &e)) > 0)
            take_entry(fe, &e);
        assert(r >= 0);
        if (!c->attached || fe_dead(fe))
            return;
        client_flush(c);
    } while (!ring_sleep(&c->sq));
    if (!fe->no_beat)
        ((struct offload_head *)c->region)->beat++;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void
client_event(struct fake_engine_client *c, struct iscsi_kevent *ev)
{
    ev->sid = c->sid;
    (void)c->ipc.event(c->ipc.binding, ev, NULL);
}

uint64_t
fake_engine_number(struct fake_engine *fe)
{
    return ++fe->events;
}

void
fake_engine_state_as(struct fake_engine *fe, unsigned client, enum ipc_session_state st,
                     uint64_t number)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_SESSION_STATE, .number = number};

    ev.u.session_state.state = st;
    if (st != IPC_SESSION_RUNNING)
        (void)lunette_fail(&ev.u.session_state.why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the wire is cut");
    client_event(&fe->client[client], &ev);
}

uint64_t
fake_engine_state(struct fake_engine *fe, unsigned client, enum ipc_session_state st)
{
    fake_engine_state_as(fe, client, st, fake_engine_number(fe));
    return fe->events;
}

static void
tell_login(struct fake_engine_client *c)
{
    struct fake_engine *fe = c->fe;
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_CONN_LOGIN_STATE};

    if (fe->no_login)
        return;
    ev.number = fake_engine_number(fe);
    if (fe->login_err < 0)
        (void)lunette_fail(&ev.u.conn_login.why, fe->login_err, LUNETTE_DOM_LOGIN, 0x0202,
                           "the target does not know us");
    client_event(c, &ev);
    if (fe->login_err == 0)
        (void)fake_engine_state(fe, (unsigned)(c - fe->client), IPC_SESSION_RUNNING);
}

static int
attach(struct fake_engine_client *c, const struct iscsi_uevent *ev)
{
    struct loop *l = c->fe->l;
    int r;

    c->slots = ev->u.engine_attach.slots;
    c->arena_size = ev->u.engine_attach.arena;
    c->generation = ev->u.engine_attach.generation;
    r = shm_map(l, c->fd[IPC_ENGINE_REGION], offload_region_size(c->slots), &c->region);
    if (r == 0)
        r = shm_map(l, c->fd[IPC_ENGINE_ARENA], c->arena_size, &c->arena);
    if (r == 0)
        r = shm_bell_check_wait(l, c->fd[IPC_ENGINE_BELL_ENGINE]);
    if (r == 0)
        r = shm_bell_check(l, c->fd[IPC_ENGINE_BELL_CLIENT]);
    if (r == 0)
        r = loop_watch(l, c->fd[IPC_ENGINE_BELL_ENGINE], client_on_bell, c, &c->bell);
    if (r < 0)
        return r;
    ring_consumer_init(&c->sq, (uint8_t *)c->region + offload_sq_at(), sizeof(struct offload_sqe),
                       offload_ring_count(c->slots));
    ring_producer_init(&c->cq, (uint8_t *)c->region + offload_cq_at(c->slots),
                       sizeof(struct offload_cqe), offload_ring_count(c->slots));
    c->attached = true;
    c->fe->attaches++;
    return 0;
}

static void
reply(struct fake_engine_client *c, struct iscsi_reply *rep, int err, const char *what)
{
    rep->err = err;
    if (err < 0)
        (void)lunette_fail(&rep->why, err, LUNETTE_DOM_USAGE, 0, "%s", what);
    if (c->fe->wordless)
        memset(&rep->why, 0, sizeof(rep->why));
    if (c->fe->confused && rep->type == ISCSI_UEVENT_ENGINE_ATTACH)
        rep->type = ISCSI_UEVENT_ENGINE_FD;
    c->ipc.reply(c->ipc.binding, rep);
}

static void
on_start(struct fake_engine_client *c, struct iscsi_reply *rep)
{
    struct fake_engine *fe = c->fe;

    fe->starts++;
    if (fe->early_login && fe->start_err == 0)
        tell_login(c);
    c->running = fe->start_err == 0;
    reply(c, rep, fe->start_err, "no such record");
    if (!fe->early_login && fe->start_err == 0)
        tell_login(c);
}

static void
on_request(struct fake_engine_client *c, const struct iscsi_uevent *ev)
{
    struct fake_engine *fe = c->fe;
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .sid = ev->sid, .cid = ev->cid};

    if (ev->type == ISCSI_UEVENT_HELLO) {
        fe->hellos++;
        c->index = ev->u.hello.loop;
        rep.r.hello.version = IPC_VERSION_MAX;
        rep.r.hello.loops = fe->loops;
        reply(c, &rep, fe->hello_err, "versions 7 to 9 are spoken here");
    } else if (ev->type == ISCSI_UEVENT_ENGINE_FD) {
        loop_close_fd(fe->l, c->fd[ev->u.engine_fd.what]);
        c->fd[ev->u.engine_fd.what] = ev->u.engine_fd.fd;
        reply(c, &rep, 0, "");
    } else if (ev->type == ISCSI_UEVENT_ENGINE_ATTACH) {
        rep.r.attach.sessions_max = 16;
        rep.r.attach.max_transfer = fe->max_transfer;
        rep.r.attach.pid = 4711;
        reply(c, &rep, fe->attach_err < 0 ? fe->attach_err : attach(c, ev), "not now");
    } else if (ev->type == ISCSI_UEVENT_CREATE_SESSION) {
        fe->sessions++;
        c->sid = rep.sid = FAKE_ENGINE_SID + fe->sessions;
        fe->owner[fe->sessions % FAKE_ENGINE_SESSIONS] = (uint8_t)(c - fe->client);
        reply(c, &rep, fe->create_err, "there are too many sessions");
    } else if (ev->type == ISCSI_UEVENT_SET_PARAM) {
        memcpy(c->param[ev->u.set_param.param], ev->u.set_param.value, IPC_VALUE_MAX);
        reply(c, &rep, fe->param_err, "no such value");
    } else if (ev->type == ISCSI_UEVENT_START_CONN) {
        on_start(c, &rep);
    } else if (ev->type == ISCSI_UEVENT_DESTROY_SESSION) {
        fe->leaves++;
        c->running = false;
        if (!fe->keeps)
            reply(c, &rep, 0, "");
    } else {
        reply(c, &rep, -EOPNOTSUPP, "what is that?");
    }
}

static void
fe_serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev,
         const void *data, uint32_t data_len)
{
    struct fake_engine_client *c = server;
    struct fake_engine *fe = c->fe;

    (void)from;
    (void)data;
    (void)data_len;
    if (fe_dead(fe) || fe->silent) {
        if (ev->type == ISCSI_UEVENT_ENGINE_FD)
            loop_close_fd(fe->l, ev->u.engine_fd.fd);
        return;
    }
    on_request(c, ev);
    fe_step(fe);
}

static const struct ipc_server_ops fe_ops = {.serve = fe_serve};

static void
fe_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct fake_engine *fe = user;
    struct fake_engine_client *c = fe->client;
    int r;

    (void)loop;
    while (c < fe->client + FAKE_ENGINE_CLIENTS && c->there)
        c++;
    assert(c < fe->client + FAKE_ENGINE_CLIENTS);
    *c = (struct fake_engine_client){.fe = fe, .there = true};
    for (unsigned i = 0; i < IPC_ENGINE_FDS; i++)
        c->fd[i] = -1;
    r = ipc_socket_server_new(s, hello, client_on_gone, c, &c->sock);
    assert(r == 0);
    r = ipc_encoded_server_new(ipc_socket_carrier(c->sock), &fe_ops, c, ipc_socket_broken, c->sock,
                               &c->end, &c->ipc);
    assert(r == 0);
    (void)r;
}

/* ---- life ----------------------------------------------------------------------------------- */

void
fake_engine_start(struct fake_engine *fe, struct sim *sim)
{
    struct sock_addr at;
    struct lunette_error why;
    int r;

    fe->sim = sim;
    fe->dying = false;
    fe->l = sim_loop(sim);
    if (fe->loops == 0)
        fe->loops = 1;
    if (fe->max_transfer == 0)
        fe->max_transfer = MAX_TRANSFER;
    r = sock_addr_local(FAKE_ENGINE_PATH, strlen(FAKE_ENGINE_PATH), &at, &why);
    if (r == 0)
        r = ipc_acceptor_new(fe->l, &at, -1, fe->loops, fe_accepted, fe, &fe->acceptor, &why);
    assert(r == 0);
}

void
fake_engine_kill(struct fake_engine *fe)
{
    if (fe->l != NULL && !sim_process_killed(fe->l))
        sim_process_kill(fe->l);
}

void
fake_engine_stop(struct fake_engine *fe)
{
    if (fe->l == NULL)
        return;
    fake_engine_kill(fe);
    for (unsigned i = 0; i < FAKE_ENGINE_CLIENTS; i++)
        client_forget(&fe->client[i]);
    ipc_acceptor_free(fe->acceptor);
    fe->acceptor = NULL;
    fe->l = NULL;
    fe->nheld = 0;
}
