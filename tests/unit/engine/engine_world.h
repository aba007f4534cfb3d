/* SPDX-License-Identifier: MIT */
/* tests/unit/engine/engine_world.h - the site of an engine with clients that the test plays, at the
 * seams of sockets, memory and logins. */
#ifndef TESTS_ENGINE_WORLD_H
#define TESTS_ENGINE_WORLD_H

#include "tests/unit/engine/fake_logins.h"
#include "tests/unit/engine/ring_client.h"

#include "engine/attachment.h"
#include "engine/flash.h"
#include "engine/lane.h"

#define EW_TARGET    "iqn.2026-01.org.example:disk"
#define EW_INITIATOR "iqn.2026-01.org.example:host"
#define EW_KEPT      128 /* replies and events that are remembered */
#define EW_CLIENTS   4
#define EW_ARENA     65536 /* bytes */

struct ew_client {
    struct engine_attach *a; /* NULL: it is gone */
    struct ipc_client ipc;
    struct ring_client c;
    uint64_t seq;
    struct iscsi_reply reply[EW_KEPT];
    struct iscsi_kevent event[EW_KEPT];
    unsigned nreplies, nevents;
    unsigned waiting; /* requests that have no answer */
    bool deaf;        /* takes no events */
    bool closed;      /* the engine has sent it away */
    struct lunette_error why;
};

static struct engine_world {
    struct fake_shm w;
    struct engine_site site;
    struct ew_client client[EW_CLIENTS];
    unsigned emptied;
    uint8_t values[IPC_SESSION_DATA_MAX]; /* of the last reply */
} ew;

static inline void
ew_reply(void *binding, const struct iscsi_reply *rep)
{
    struct ew_client *c = binding;

    assert_non_null(c->a);
    assert_true(c->waiting > 0);
    c->waiting--;
    if (rep->err == 0 && ipc_reply_data_len(rep) > 0)
        memcpy(ew.values, rep->data, ipc_reply_data_len(rep));
    c->reply[c->nreplies++ % EW_KEPT] = *rep;
}

static inline int
ew_event(void *binding, const struct iscsi_kevent *ev, const void *data)
{
    struct ew_client *c = binding;

    (void)data;
    assert_non_null(c->a);
    if (c->deaf)
        return -EAGAIN;
    c->event[c->nevents++ % EW_KEPT] = *ev;
    return 0;
}

static inline void
ew_close(void *user, const struct lunette_error *why)
{
    struct ew_client *c = user;

    c->closed = true;
    c->why = *why;
    engine_attach_leave(c->a);
    c->a = NULL;
}

static inline void
ew_empty(void *user)
{
    (void)user;
    ew.emptied++;
}

static inline void
ew_begin(uint64_t seed)
{
    for (unsigned i = 0; i < EW_CLIENTS; i++)
        ew.client[i].a = NULL; /* the rest is cleared when it comes: it is large */
    ew.emptied = 0;
    fake_shm_init(&ew.w, seed);
    fake_logins_init(&ew.w.f.l);
    ew.site = (struct engine_site){
        .loop = &ew.w.f.l, .loops = 1, .pid = 42, .version = "1.2.3", .empty = ew_empty};
    engine_site_init(&ew.site);
    assert_int_equal(engine_flash_open(&ew.w.f.l, NULL, &ew.site.flash, NULL), 0);
}

/* A client that has connected, and said nothing. */
static inline struct ew_client *
ew_connect(unsigned i)
{
    struct ew_client *c = &ew.client[i];
    struct engine_attach_config cfg = {.close = ew_close, .user = c};

    memset(c, 0, sizeof(*c));
    if (engine_attach_new(&ew.site, &cfg, &c->a) < 0)
        return NULL;
    c->ipc = (struct ipc_client){.reply = ew_reply, .event = ew_event, .binding = c, .hello = true};
    engine_attach_set_client(c->a, &c->ipc);
    return c;
}

/* Asks; 0 or the error where it has been answered at once, else 1. */
static inline int
ew_ask(struct ew_client *c, struct iscsi_uevent *ev)
{
    unsigned before = c->nreplies;

    ev->seq = ++c->seq;
    c->waiting++;
    engine_attach_ops.serve(c->a, &c->ipc, ev, "", 0);
    return c->nreplies > before ? c->reply[before % EW_KEPT].err : 1;
}

static inline struct iscsi_reply *
ew_last_reply(struct ew_client *c)
{
    assert_true(c->nreplies > 0);
    return &c->reply[(c->nreplies - 1) % EW_KEPT];
}

static inline struct iscsi_kevent *
ew_last_event(struct ew_client *c)
{
    assert_true(c->nevents > 0);
    return &c->event[(c->nevents - 1) % EW_KEPT];
}

static inline int
ew_do(struct ew_client *c, enum iscsi_uevent_type type, uint32_t sid)
{
    struct iscsi_uevent ev = {.type = type, .sid = sid};

    return ew_ask(c, &ev);
}

static inline int
ew_hello(struct ew_client *c)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};

    ev.u.hello.min = IPC_VERSION_MIN;
    ev.u.hello.max = IPC_VERSION_MAX;
    return ew_ask(c, &ev);
}

static inline int
ew_send_fd(struct ew_client *c, enum ipc_engine_fd what, int fd)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_ENGINE_FD};

    ev.u.engine_fd.fd = fd;
    ev.u.engine_fd.what = what;
    return ew_ask(c, &ev);
}

static inline int
ew_attach(struct ew_client *c, enum ipc_engine_class class, uint32_t slots, uint64_t arena)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_ENGINE_ATTACH};

    ev.u.engine_attach.class = class;
    ev.u.engine_attach.slots = slots;
    ev.u.engine_attach.generation = 1;
    ev.u.engine_attach.arena = arena;
    return ew_ask(c, &ev);
}

/* HELLO, memory, ATTACH. */
static inline struct ew_client *
ew_up(unsigned i, uint32_t slots)
{
    struct ew_client *c = ew_connect(i);

    assert_non_null(c);
    assert_int_equal(ew_hello(c), 0);
    ring_client_init(&c->c, &ew.w, slots, EW_ARENA);
    for (unsigned k = 0; k < IPC_ENGINE_FDS; k++)
        assert_int_equal(ew_send_fd(c, (enum ipc_engine_fd)k, c->c.fd[k]), 0);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, slots, EW_ARENA), 0);
    return c;
}

static inline uint32_t
ew_create(struct ew_client *c)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};

    strcpy(ev.u.create_session.transport, "session");
    assert_int_equal(ew_ask(c, &ev), 0);
    return ew_last_reply(c)->sid;
}

static inline int
ew_set(struct ew_client *c, uint32_t sid, enum iscsi_param p, const char *value)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = sid};

    ev.u.set_param.param = p;
    strcpy(ev.u.set_param.value, value);
    return ew_ask(c, &ev);
}

/* A session that has asked for the target. */
static inline uint32_t
ew_start(struct ew_client *c)
{
    uint32_t sid = ew_create(c);

    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, EW_TARGET), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_INITIATOR_NAME, EW_INITIATOR), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_PORTAL, "192.0.2.1:3260"), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), 0);
    return sid;
}

/* The client dies. */
static inline void
ew_die(struct ew_client *c)
{
    engine_attach_leave(c->a);
    c->a = NULL;
}

static inline void
ew_end(void)
{
    for (unsigned i = 0; i < EW_CLIENTS; i++) {
        if (ew.client[i].a != NULL)
            ew_die(&ew.client[i]);
    }
    for (unsigned turns = 0; ew.site.nattachments > 0; turns++) {
        assert_true(turns < 100);
        for (unsigned i = 0; i < FAKE_LOGINS; i++) {
            while (fake_logins.login[i].host.nwait > 0)
                fake_host_eh(&fake_logins.login[i].host, SCSI_EH_SUCCESS);
        }
        fake_shm_turn(&ew.w);
        fake_advance(&ew.w.f, MS(ENGINE_ABORT_MS)); /* aborts that failed are tried again */
    }
    for (unsigned i = 0; i < FAKE_LOGINS; i++)
        assert_int_equal(fake_logins.login[i].nuses, 0);
    assert_true(list_empty(&ew.site.shares));
    assert_true(list_empty(&ew.site.attachments));
    engine_flash_close(ew.site.flash);
    fake_shm_fini(&ew.w);
}

#endif
