/* SPDX-License-Identifier: MIT */
#include "tests/daemon/plane.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "login/logout.h"

void
plane_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    (void)fprintf(stderr, "%s:%d: ", file, line);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    exit(1);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void
on_alarm(struct loop_timer *t)
{
    (void)t;
}

void
plane_wait(struct plane *p, bool (*done)(void *user), void *user)
{
    struct loop_timer alarm;
    uint64_t until;

    loop_timer_init(&alarm, on_alarm);
    (void)loop_run(p->loop, 0);
    until = p->loop->now_ns + PLANE_WAIT_MS * LOOP_NS_PER_MS;
    loop_timer_start(p->loop, &alarm, PLANE_WAIT_MS * LOOP_NS_PER_MS);
    while (!done(user)) {
        PLANE_CHECK(p->loop->now_ns < until);
        PLANE_CHECK(loop_run(p->loop, -1) >= 0);
    }
    loop_timer_stop(p->loop, &alarm);
}

void
plane_pass(struct plane *p, unsigned ms)
{
    struct loop_timer alarm;

    loop_timer_init(&alarm, on_alarm);
    (void)loop_run(p->loop, 0);
    loop_timer_start(p->loop, &alarm, ms * LOOP_NS_PER_MS);
    while (loop_timer_running(&alarm))
        PLANE_CHECK(loop_run(p->loop, -1) >= 0);
}

static bool
is_done(void *user)
{
    const struct plane_link *k = user;

    return k->p->done || k->gone;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct plane *p = user;

    p->reply = *rep;
    PLANE_CHECK(ipc_reply_data_len(rep) <= sizeof(p->data));
    memcpy(p->data, rep->data, ipc_reply_data_len(rep));
    p->done = true;
}

int
plane_ask(struct plane *p, uint32_t i, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    struct plane_link *k = &p->link[i];
    int r;

    if (k->gone)
        return -EPIPE;
    p->done = false;
    r = ctl_request(k->ctl, ev, data, len, on_reply, p);
    if (r < 0)
        return r;
    plane_wait(p, is_done, k);
    return p->done ? p->reply.err : -EPIPE;
}

int
plane_do(struct plane *p, uint32_t i, enum iscsi_uevent_type type, uint32_t sid)
{
    struct iscsi_uevent ev = {.type = type, .sid = sid};

    return plane_ask(p, i, &ev, NULL, 0);
}

void
plane_list(struct plane *p, uint32_t i, uint32_t sid)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_LUNS, .sid = sid};

    p->nluns = 0;
    do {
        const uint8_t *at = p->data, *end;
        int r;

        r = plane_ask(p, i, &ev, NULL, 0);
        if (r < 0)
            PLANE_FAIL("LIST_LUNS: %s: %s", strerror(-r),
                       r == p->reply.err ? p->reply.why.msg : "");
        end = at + p->reply.r.luns.data_len;
        while (at < end) {
            PLANE_CHECK(p->nluns < PLANE_LUNS_MAX);
            PLANE_CHECK(ipc_lun_next(&at, end, &p->lun[p->nluns]));
            ev.u.list_luns.after = p->lun[p->nluns++].index;
        }
    } while (p->reply.r.luns.more);
}

int
plane_export(struct plane *p, uint32_t i, uint32_t sid, const uint8_t lun[8], const char *path)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_EXPORT, .sid = sid};
    char here[512], whole[sizeof(here) + 64];

    /* The daemon takes no path that would be meant from a working directory. */
    PLANE_CHECK(getcwd(here, sizeof(here)) != NULL);
    (void)snprintf(whole, sizeof(whole), "%s/%s", here, path);
    strcpy(ev.u.start_export.kind, "nbd");
    memcpy(ev.u.start_export.lun, lun, 8);
    ev.u.start_export.path_len = (uint32_t)strlen(whole);
    return plane_ask(p, i, &ev, whole, ev.u.start_export.path_len);
}

void
plane_note(struct plane *p, uint32_t i, uint32_t sid, const char *note)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_NOTE, .sid = sid};

    ev.u.set_note.len = (uint32_t)strlen(note);
    PLANE_CHECK(plane_ask(p, i, &ev, note, ev.u.set_note.len) == 0);
}

/* ---- connections ---------------------------------------------------------------------------- */

static void
link_connected(void *user, int err)
{
    ((struct plane_link *)user)->connected = err == 0 ? 1 : err;
}

static const struct stream_events link_events = {.connected = link_connected};

static void
link_gone(void *user, const struct lunette_error *why)
{
    (void)why;
    ((struct plane_link *)user)->gone = true;
}

static bool
link_is_decided(void *user)
{
    return ((struct plane_link *)user)->connected != 0;
}

static int
link_connect(struct plane_link *k, const char *path)
{
    struct sock_addr at;
    int r;

    PLANE_CHECK(sock_addr_local(path, strlen(path), &at, NULL) == 0);
    k->connected = 0;
    r = stream_connect_packets(k->p->loop, &at, &link_events, k, &k->stream);
    if (r < 0)
        return r;
    plane_wait(k->p, link_is_decided, k);
    if (k->connected > 0)
        return 0;
    stream_close(k->stream);
    return k->connected;
}

static int
link_hello(struct plane_link *k, uint32_t index, uint32_t loop)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};

    ev.u.hello.min = IPC_VERSION_MIN;
    ev.u.hello.max = IPC_VERSION_MAX;
    ev.u.hello.loop = loop;
    return plane_ask(k->p, index, &ev, NULL, 0);
}

int
plane_link_open(struct plane *p, uint32_t index, const char *path, uint32_t loop)
{
    struct plane_link *k = &p->link[index];
    int r;

    *k = (struct plane_link){.p = p};
    r = link_connect(k, path);
    if (r < 0)
        return r;
    PLANE_CHECK(ipc_socket_client_new(k->stream, link_gone, k, &k->socket) == 0);
    PLANE_CHECK(ipc_encoded_client_new(ipc_socket_carrier(k->socket), ipc_socket_broken, k->socket,
                                       &k->end) == 0);
    PLANE_CHECK(ctl_new(p->loop, ipc_encoded_client_ipc(k->end), &k->ctl) == 0);
    return link_hello(k, index, loop);
}

void
plane_link_close(struct plane_link *k)
{
    ctl_free(&k->ctl);
    ipc_encoded_client_free(k->end);
    ipc_socket_free(k->socket);
    *k = (struct plane_link){.p = k->p};
}

static void
plane_attach(struct plane *p, uint32_t i, const char *path)
{
    int r = -ENOENT;

    for (int tries = 0; tries < 400; tries++) {
        r = plane_link_open(p, i, path, i);
        if (r != -ENOENT && r != -ECONNREFUSED && r != -EPIPE)
            break;
        if (r == -EPIPE) /* it was one that has died: the kernel had not let go of it yet */
            plane_link_close(&p->link[i]);
        plane_pass(p, 25);
    }
    if (r < 0)
        PLANE_FAIL("loop %u at %s: %s", i, path, strerror(-r));
    p->loops = p->reply.r.hello.loops;
    PLANE_CHECK(p->loops >= 1 && p->loops <= PLANE_LOOPS_MAX);
    PLANE_CHECK(plane_do(p, i, ISCSI_UEVENT_TAKE_EVENTS, 0) == 0);
}

void
plane_open(struct plane *p, const char *path)
{
    memset(p, 0, sizeof(*p));
    PLANE_CHECK(loop_new(NULL, &p->loop, NULL) == 0);
    p->loops = 1;
    for (uint32_t i = 0; i < p->loops; i++)
        plane_attach(p, i, path);
}

void
plane_close(struct plane *p)
{
    for (uint32_t i = 0; i < PLANE_LOOPS_MAX; i++) {
        if (p->link[i].socket != NULL)
            plane_link_close(&p->link[i]);
    }
    while (loop_run(p->loop, 0) > 0)
        ;
    loop_free(p->loop);
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void
on_login(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct plane *p = user;

    if (err != NULL)
        PLANE_FAIL("login: %s", err->msg);
    p->res = *res;
    p->done = true;
}

uint32_t
plane_login(struct plane *p, uint32_t i, const char *target, uint16_t port, uint8_t isid)
{
    struct login_callbacks cb = {.done = on_login, .user = p};
    struct iscsi_login *login;
    struct login_config cfg;

    login_config_init(&cfg);
    strcpy(cfg.initiator_name, "iqn.2026-11.example:plane");
    (void)snprintf(cfg.target_name, sizeof(cfg.target_name), "%s", target);
    strcpy(cfg.portal.host, "127.0.0.1");
    cfg.portal.port = port;
    strcpy(cfg.transport, "tcp");
    memcpy(cfg.isid, "\x80\x00\x00\x00\x00", LOGIN_ISID_LEN - 1);
    cfg.isid[LOGIN_ISID_LEN - 1] = isid;
    p->done = false;
    if (login_start(p->link[i].ctl, &cfg, &cb, &login, &p->err) < 0)
        PLANE_FAIL("login: %s", p->err.msg);
    plane_wait(p, is_done, &p->link[i]);
    PLANE_CHECK(p->done);
    login_free(&login);
    return p->res.sid;
}

static void
on_logout(void *user, const struct lunette_error *err)
{
    if (err != NULL)
        PLANE_FAIL("logout: %s", err->msg);
    ((struct plane *)user)->done = true;
}

void
plane_logout(struct plane *p, uint32_t i, uint32_t sid)
{
    struct logout_config cfg = {.sid = sid, .nconns = 1};
    struct iscsi_logout *logout;

    p->done = false;
    PLANE_CHECK(session_logout_task(p->link[i].ctl, &cfg, on_logout, p, &logout) == 0);
    plane_wait(p, is_done, &p->link[i]);
    PLANE_CHECK(p->done);
    logout_free(&logout);
}
