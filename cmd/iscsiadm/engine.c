/* SPDX-License-Identifier: MIT */
#include "cmd/iscsiadm/engine.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/common/instance.h"
#include "ipc/socket.h"
#include "loop/loop.h"

#define ENGINE_FOLDER     "engine"
#define ENGINE_CONNECT_NS (10 * LOOP_NS_PER_S)
#define ENGINE_ASK_NS     (900 * LOOP_NS_PER_S) /* a login may take its time */

/* The connection to one loop of it. */
struct engine_link {
    struct adm_engine *e;
    struct stream *stream; /* until it is the socket's */
    int connected;         /* 1: not yet; 0 or -errno */
    struct ipc_socket *socket;
    struct ipc_encoded_client *end;
    bool gone;
    struct lunette_error why; /* it is gone */
};

struct adm_engine {
    struct loop *loop;
    char path[SOCK_PATH_MAX + 1];
    struct engine_link link[ADM_ENGINE_LOOPS_MAX];
    uint32_t loops;
    /* the question that is under way */
    uint64_t seq;
    enum iscsi_uevent_type type;
    bool answered;
    uint32_t told_loops; /* by HELLO */
    int result;
    struct lunette_error why;
    struct adm_engine_answer *answer;
};

/* ---- which there are ------------------------------------------------------------------------ */

static int
engines_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void
adm_engines_find(const struct instance *at, struct adm_engines *ret)
{
    char dir[INSTANCE_PATH_MAX + 16], path[INSTANCE_PATH_MAX + 16 + 256];
    struct dirent *d;
    struct stat st;
    DIR *open;

    *ret = (struct adm_engines){.n = 0};
    (void)snprintf(dir, sizeof(dir), "%s/" ENGINE_FOLDER, at->run);
    open = opendir(dir);
    while (open != NULL && ret->n < ADM_ENGINES_MAX && (d = readdir(open)) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
        if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
            continue;
        ret->path[ret->n] = strdup(path);
        ret->n += ret->path[ret->n] != NULL;
    }
    if (open != NULL)
        (void)closedir(open);
    if (ret->n > 0)
        qsort(ret->path, ret->n, sizeof(ret->path[0]), engines_order);
}

void
adm_engines_free(struct adm_engines *e)
{
    while (e->n > 0)
        free(e->path[--e->n]);
}

/* ---- one of them ---------------------------------------------------------------------------- */

static void
engine_on_gone(void *user, const struct lunette_error *why)
{
    struct engine_link *k = user;

    k->gone = true;
    k->why = *why;
}

/* Lines are shown on a terminal, which an engine of another user must not steer. */
static void
engine_take_text(struct adm_engine_answer *a, const void *text, uint32_t len)
{
    len = len <= IPC_REPLY_DATA_MAX ? len : IPC_REPLY_DATA_MAX;
    memcpy(a->text, text, len);
    a->text[len] = '\0';
    for (char *c = a->text; *c != '\0'; c++) {
        if (((unsigned char)*c < ' ' && *c != '\n') || *c == 0x7f)
            *c = '?';
    }
}

static void
engine_on_reply(void *user, const struct iscsi_reply *rep)
{
    struct engine_link *k = user;
    struct adm_engine *e = k->e;
    uint32_t len = ipc_reply_data_len(rep);

    if (rep->seq != e->seq || e->answered)
        return;
    e->answered = true;
    e->result = rep->err;
    e->why = rep->why;
    if (rep->type != e->type)
        e->result =
            lunette_fail(&e->why, -EPROTO, LUNETTE_DOM_CONNECT, EPROTO,
                         "the engine at %s answers something else than it was asked", e->path);
    else if (rep->err < 0 && rep->why.code >= 0)
        (void)lunette_fail(&e->why, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err,
                           "the engine at %s has refused it and not said why: %s", e->path,
                           errno_text(rep->err));
    if (e->result < 0)
        return;
    if (rep->type == ISCSI_UEVENT_HELLO)
        e->told_loops = rep->r.hello.loops;
    if (e->answer == NULL)
        return;
    e->answer->value = rep->r.value;
    e->answer->more = len > 0 && rep->r.text.more;
    engine_take_text(e->answer, rep->data, len);
}

/* Who only asks about tables is not interested. */
static void
engine_on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    (void)user;
    (void)ev;
    (void)data;
}

static int
engine_lost(const struct adm_engine *e, const char *why, struct lunette_error *err)
{
    return lunette_fail(err, -EPIPE, LUNETTE_DOM_CONNECT, EPIPE, "the engine at %s is gone: %s",
                        e->path, why);
}

/* Sends *ev, waits for the answer and leaves it in e. */
static int
engine_ask(struct adm_engine *e, struct engine_link *k, struct iscsi_uevent *ev, const char *text,
           struct lunette_error *err)
{
    uint64_t until = e->loop->now_ns + ENGINE_ASK_NS;
    int r;

    if (k->gone)
        return engine_lost(e, k->why.msg, err);
    e->answered = false;
    e->seq = 0;
    e->type = ev->type;
    r = ipc_request(ipc_encoded_client_ipc(k->end), ev, text, (uint32_t)strlen(text));
    if (r < 0)
        return engine_lost(e, errno_text(r), err);
    e->seq = ev->seq;
    while (!e->answered && !k->gone && e->loop->now_ns < until && r >= 0)
        r = loop_run(e->loop, (int64_t)LOOP_NS_PER_S);
    if (!e->answered)
        return k->gone ? engine_lost(e, k->why.msg, err)
                       : lunette_fail(err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, 0,
                                      "the engine at %s does not answer", e->path);
    return e->result < 0 ? lunette_fail_as(err, &e->why) : 0;
}

static void
engine_connected(void *user, int err)
{
    ((struct engine_link *)user)->connected = err;
}

static int
engine_connect(struct adm_engine *e, struct engine_link *k, struct lunette_error *err)
{
    static const struct stream_events events = {.connected = engine_connected};
    uint64_t until = e->loop->now_ns + ENGINE_CONNECT_NS;
    struct sock_addr at;
    int r = sock_addr_local(e->path, strlen(e->path), &at, err);

    if (r < 0)
        return r;
    k->connected = 1;
    r = stream_connect_packets(e->loop, &at, &events, k, &k->stream);
    if (r < 0)
        k->stream = NULL;
    while (r >= 0 && k->connected == 1 && e->loop->now_ns < until)
        r = loop_run(e->loop, (int64_t)LOOP_NS_PER_S);
    if (r >= 0)
        r = k->connected == 1 ? -ETIMEDOUT : k->connected;
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, (uint32_t)-r,
                            "no engine answers at %s: %s", e->path, errno_text(r));
    return 0;
}

/* Says hello to a loop of the engine, and that we are here for the tables alone. */
static int
engine_greet(struct adm_engine *e, uint32_t i, struct lunette_error *err)
{
    static const struct ipc_events events = {.reply = engine_on_reply, .event = engine_on_event};
    struct engine_link *k = &e->link[i];
    struct iscsi_uevent ev;
    struct ipc *ipc;
    int r;

    r = ipc_socket_client_new(k->stream, engine_on_gone, k, &k->socket);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    k->stream = NULL;
    r = ipc_encoded_client_new(ipc_socket_carrier(k->socket), ipc_socket_broken, k->socket,
                               &k->end);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    ipc = ipc_encoded_client_ipc(k->end);
    ipc->ev = &events;
    ipc->ev_user = k;
    memset(&ev, 0, sizeof(ev));
    ev.type = ISCSI_UEVENT_HELLO;
    ev.u.hello.min = IPC_VERSION_MIN;
    ev.u.hello.max = IPC_VERSION_MAX;
    ev.u.hello.loop = i;
    r = engine_ask(e, k, &ev, "", err);
    if (r < 0)
        return r;
    memset(&ev, 0, sizeof(ev));
    ev.type = ISCSI_UEVENT_ENGINE_ATTACH;
    ev.u.engine_attach.class = IPC_ENGINE_ADMIN;
    return engine_ask(e, k, &ev, "", err);
}

int
adm_engine_open(struct loop *l, const char *path, struct adm_engine **ret,
                struct lunette_error *err)
{
    struct adm_engine *e = calloc(1, sizeof(*e));
    int r = 0;

    if (e == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    if (strlen(path) >= sizeof(e->path)) {
        free(e);
        return lunette_fail(err, -ENAMETOOLONG, LUNETTE_DOM_USAGE, 0,
                            "the path of the socket is longer than %d bytes", SOCK_PATH_MAX);
    }
    e->loop = l;
    (void)snprintf(e->path, sizeof(e->path), "%s", path);
    e->told_loops = 1;
    while (r == 0 && e->loops < e->told_loops && e->loops < ADM_ENGINE_LOOPS_MAX) {
        struct engine_link *k = &e->link[e->loops];

        k->e = e;
        r = engine_connect(e, k, err);
        if (r == 0)
            r = engine_greet(e, e->loops, err);
        e->loops++;
    }
    if (r < 0) {
        adm_engine_close(e);
        return r;
    }
    *ret = e;
    return 0;
}

void
adm_engine_close(struct adm_engine *e)
{
    if (e == NULL)
        return;
    for (uint32_t i = 0; i < e->loops; i++) {
        struct engine_link *k = &e->link[i];

        if (k->end != NULL)
            ipc_encoded_client_free(k->end);
        ipc_socket_free(k->socket);
        if (k->stream != NULL)
            stream_close(k->stream);
    }
    free(e);
}

uint32_t
adm_engine_loops(const struct adm_engine *e)
{
    return e->loops;
}

int
adm_engine_ask(struct adm_engine *e, uint32_t loop, enum iscsi_uevent_type type, uint32_t index,
               const char *text, struct adm_engine_answer *ret, struct lunette_error *err)
{
    struct iscsi_uevent ev;
    int r;

    memset(&ev, 0, sizeof(ev));
    ev.type = type;
    ev.u.engine_table.index = index;
    ev.u.engine_table.text_len = (uint32_t)strlen(text);
    e->answer = ret;
    r = engine_ask(e, &e->link[loop], &ev, text, err);
    e->answer = NULL;
    return r;
}

int
adm_engine_ask_owner(struct adm_engine *e, int not_mine, enum iscsi_uevent_type type,
                     uint32_t index, const char *text, struct adm_engine_answer *ret,
                     uint32_t *ret_loop, struct lunette_error *err)
{
    int r = not_mine;

    for (uint32_t i = 0; r == not_mine && i < e->loops; i++) {
        r = adm_engine_ask(e, i, type, index, text, ret, err);
        if (ret_loop != NULL)
            *ret_loop = i;
    }
    return r;
}
