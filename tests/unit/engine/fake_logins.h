/* SPDX-License-Identifier: MIT */
/* tests/unit/engine/fake_logins.h - logins that the test plays, each with a host that it plays
 * (engine/login.h, engine/tables.h). */
#ifndef TESTS_FAKE_LOGINS_H
#define TESTS_FAKE_LOGINS_H

#include "tests/unit/engine/fake_host.h"

#include "engine/login.h"
#include "engine/tables.h"

#define FAKE_LOGINS 4

struct engine_login {
    uint32_t index;
    bool there;
    struct fake_host host;
    bool has_host;
    enum ipc_session_state state;
    struct lunette_error why;
    struct list uses;
    unsigned nuses;
};

struct fake_logins {
    struct engine_login login[FAKE_LOGINS];
    struct loop *loop;
    unsigned served, forgotten; /* of the tables */
    bool refuse;                /* engine_login_use says -ENOMEM */
};

static struct fake_logins fake_logins;

static inline void
fake_logins_init(struct loop *l)
{
    memset(&fake_logins, 0, sizeof(fake_logins));
    fake_logins.loop = l;
    for (unsigned i = 0; i < FAKE_LOGINS; i++)
        list_init(&fake_logins.login[i].uses);
}

int
engine_login_use(struct engine_logins *e, uint32_t index, struct engine_use *u,
                 struct lunette_error *err)
{
    struct engine_login *l = &fake_logins.login[index % FAKE_LOGINS];

    (void)e;
    if (fake_logins.refuse)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    l->index = index;
    l->there = true;
    u->login = l;
    list_push_back(&l->uses, &u->node);
    l->nuses++;
    return 0;
}

void
engine_login_leave(struct engine_use *u)
{
    assert_true(u->login->nuses > 0);
    u->login->nuses--;
    list_del(&u->node);
}

struct scsi_host *
engine_login_host(const struct engine_login *l)
{
    return l->has_host ? (struct scsi_host *)(uintptr_t)&l->host.h : NULL;
}

enum ipc_session_state
engine_login_state(const struct engine_login *l)
{
    return l->state;
}

uint32_t
engine_login_id(const struct engine_login *l)
{
    return l->index + 1;
}

void
engine_login_stats(const struct engine_login *l, struct iscsi_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->txdata_octets = 1000 + l->index;
}

bool
engine_table_is(enum iscsi_uevent_type type)
{
    return type >= ISCSI_UEVENT_NEW_FLASHNODE && type <= ISCSI_UEVENT_GET_HOST_STATS;
}

void
engine_table_serve(struct engine_logins *e, const struct ipc_client *from,
                   const struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq};

    (void)e;
    (void)data;
    (void)data_len;
    fake_logins.served++;
    from->reply(from->binding, &rep);
}

void
engine_table_forget(struct engine_logins *e, const struct ipc_client *from)
{
    (void)e;
    (void)from;
    fake_logins.forgotten++;
}

/* The session is in that state, as all who use it hear. */
static inline void
fake_login_set(struct engine_login *l, enum ipc_session_state st, const struct lunette_error *why)
{
    if (st == IPC_SESSION_RUNNING && !l->has_host) {
        fake_host_init(&l->host, fake_logins.loop, 32);
        l->has_host = true;
    }
    l->state = st;
    LIST_FOREACH_SAFE (n, &l->uses)
        container_of(n, struct engine_use, node)
            ->state(container_of(n, struct engine_use, node), st, why);
}

/* It is logged out of: its host gives everything back, and is gone. */
static inline void
fake_login_end(struct engine_login *l)
{
    while (l->has_host && l->host.nwait > 0)
        fake_host_eh(&l->host, SCSI_EH_FAILED);
    while (l->has_host && l->host.ncmd > 0)
        fake_host_done(&l->host, 0, DID_NO_CONNECT);
    l->has_host = false;
    while (!list_empty(&l->uses)) {
        struct engine_use *u = container_of(list_pop_front(&l->uses), struct engine_use, node);

        l->nuses--;
        u->gone(u);
    }
}

#endif
