/* SPDX-License-Identifier: MIT */
/* fuzz_engine.c - an engine's side of two clients, of which the first is hostile: requests in any
 * order, entries and indices of any kind in its rings, and hosts and logins that change meanwhile.
 * The second one only works, and must be served to the end. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/engine/engine_world.h"

#define STEPS_MAX 400

struct input {
    const uint8_t *at, *end;
};

static uint8_t
take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint32_t
take32(struct input *in)
{
    uint32_t v = take(in);

    v |= (uint32_t)take(in) << 8;
    v |= (uint32_t)take(in) << 16;
    return v | (uint32_t)take(in) << 24;
}

/* Mostly a session that is there. */
static uint32_t
take_sid(struct input *in, const struct ew_client *c)
{
    uint8_t b = take(in);

    for (unsigned i = 0; b < 0xe0 && c->a != NULL && i < ENGINE_SESSIONS_MAX; i++) {
        const struct engine_session *s = c->a->session[(b + i) % ENGINE_SESSIONS_MAX];

        if (s != NULL)
            return s->m.sid;
    }
    return take32(in);
}

static void
hostile_request(struct input *in, struct ew_client *c)
{
    static const char *const value[] = {EW_TARGET, EW_INITIATOR, "192.0.2.1:3260",
                                        "-1",      "",           "\xff"};
    struct iscsi_uevent ev = {.type = (enum iscsi_uevent_type)(take(in) % 50)};

    ev.sid = take_sid(in, c);
    ev.cid = take(in);
    if (ev.type == ISCSI_UEVENT_SET_PARAM) {
        ev.u.set_param.param = (enum iscsi_param)(take(in) % ISCSI_PARAM_COUNT);
        strcpy(ev.u.set_param.value, value[take(in) % 6]);
    } else if (ev.type == ISCSI_UEVENT_CREATE_SESSION) {
        strcpy(ev.u.create_session.transport, take(in) < 0xf0 ? "session" : "tcp");
    } else if (ev.type == ISCSI_UEVENT_HELLO) {
        ev.u.hello.min = take(in) % 3;
        ev.u.hello.max = take(in) % 3;
    } else if (ev.type == ISCSI_UEVENT_ENGINE_ATTACH) {
        ev.u.engine_attach.class = (enum ipc_engine_class)(take(in) % IPC_ENGINE_CLASSES);
        ev.u.engine_attach.slots = take32(in);
        ev.u.engine_attach.arena = (uint64_t)take32(in) << take(in) % 32;
    } else if (ev.type == ISCSI_UEVENT_ENGINE_FD) {
        ev.u.engine_fd.what = (enum ipc_engine_fd)(take(in) % IPC_ENGINE_FDS);
        if (take(in) % 2 != 0 || shm_bell_make(&ew.w.f.l, &ev.u.engine_fd.fd) < 0)
            ev.u.engine_fd.fd = -1;
    } else if (ev.type == ISCSI_UEVENT_BIND_CONN) {
        ev.u.bind_conn.fd = -1;
    }
    (void)ew_ask(c, &ev);
}

/* An entry that would be fine, with some of its bytes changed; or one of any bytes. */
static void
hostile_entry(struct input *in, struct ew_client *c)
{
    uint16_t slot = take(in) % 8;
    struct offload_sqe e = ring_client_entry(&c->c, take_sid(in, c), slot);
    uint8_t how = take(in);

    if (how % 4 == 0) {
        e = (struct offload_sqe){.kind = OFFLOAD_SQ_TMF,
                                 .function = (uint8_t)(take(in) % 9),
                                 .slot = e.slot,
                                 .generation = e.generation,
                                 .sid = e.sid};
        if (e.function == OFFLOAD_ABORT) {
            e.ref_slot = take(in) % 8;
            e.ref_generation = c->c.gen[e.ref_slot];
        }
    } else {
        e.in_len = take32(in) % 65536;
        e.out_len = how % 4 == 1 ? 512 : 0;
    }
    for (unsigned n = how / 64; n > 0; n--) {
        uint8_t at = take(in);

        ((uint8_t *)&e)[at % sizeof(e)] = take(in);
    }
    if (ring_put(&c->c.sq, &e) == 0 && how % 16 != 3)
        ring_client_publish(&c->c);
}

static void
hostile_step(struct input *in, struct ew_client *c)
{
    struct ring_shared *sq = (void *)(c->c.region + offload_sq_at());
    uint8_t op = take(in);

    switch (op % 8) {
    case 0:
        hostile_request(in, c);
        break;
    case 1: /* along the way that clients go */
        if (c->a->lane != NULL && c->a->nsessions < ENGINE_SESSIONS_MAX)
            (void)ew_start(c);
        break;
    case 2:
    case 3:
        if (c->a->lane != NULL)
            hostile_entry(in, c);
        break;
    case 4:
        if (c->a->lane != NULL) {
            sq->produced += take(in) < 0x80 ? take(in) : take32(in);
            fake_bell_ring(&ew.w.f.l, c->c.fd[IPC_ENGINE_BELL_ENGINE]);
        }
        break;
    case 5:
        if (c->a->lane != NULL)
            memset(c->c.region + take32(in) % (offload_region_size(8) - 64), take(in),
                   take(in) % 64);
        break;
    case 6:
        c->deaf = !c->deaf;
        break;
    default:
        if (op < 0x40)
            ew_die(c);
        else
            (void)ring_client_turn(&c->c);
        break;
    }
}

/* What hosts and logins do meanwhile. */
static void
others_step(struct input *in)
{
    struct engine_login *l = &fake_logins.login[0];
    uint8_t op = take(in);

    if (op % 4 == 0 && l->has_host && l->host.ncmd > 0)
        fake_host_done(&l->host, (unsigned)take(in) % l->host.ncmd,
                       (enum scsi_host_result)(take(in) % (DID_TIME_OUT + 1)));
    if (op % 4 == 1 && l->has_host && l->host.nwait > 0)
        fake_host_eh(&l->host, (enum scsi_eh_result)(take(in) % 3));
    if (op % 16 == 2 && l->there)
        fake_login_set(l, (enum ipc_session_state)(1 + take(in) % 3), NULL);
    if (op == 3 && l->there)
        fake_login_end(l);
    if (op % 4 == 3)
        fake_advance(&ew.w.f, MS(take(in)));
}

/* The fake keeps all memory that was ever made until the world ends, so that there are few. */
static bool
has_descriptors(void)
{
    unsigned left = 0;

    for (unsigned i = 0; i < FAKE_FDS; i++)
        left += !ew.w.fd[i].open && ew.w.fd[i].mem == NULL;
    return left >= IPC_ENGINE_FDS;
}

/* Comes again where it has been sent away. */
static struct ew_client *
hostile_client(void)
{
    if (ew.client[0].a != NULL)
        return &ew.client[0];
    return has_descriptors() ? ew_up(0, 8) : NULL;
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    struct input in = {data, data + len};
    struct ew_client *good;
    uint32_t sid;

    ew_begin(1);
    good = ew_up(1, 8);
    sid = ew_start(good);
    fake_login_set(&fake_logins.login[0], IPC_SESSION_RUNNING, NULL);
    for (unsigned i = 0; i < STEPS_MAX && in.at < in.end; i++) {
        struct ew_client *c = hostile_client();

        if (c != NULL)
            hostile_step(&in, c);
        others_step(&in);
        fake_shm_turn(&ew.w);
        if (i % 16 == 0 && good->a->lane->slot[0].stage == SLOT_FREE) {
            ring_client_read(&good->c, sid, 0, 512);
            ring_client_publish(&good->c);
        }
        (void)ring_client_turn(&good->c);
        if (good->c.ngot > CLIENT_ANSWERS / 2)
            good->c.ngot = 0;
    }
    CHECK(!good->closed);
    ew_end();
}
