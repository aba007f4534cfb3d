/* SPDX-License-Identifier: MIT */
/* engine/node.c - clients come to their loop, and go. */
#include "engine/node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/attach.h"

struct engine_node {
    struct engine_site site;
    struct list clients; /* those that are connected */
    bool stopping, logged_out;
    void (*done)(void *user);
    void *user;
    struct loop_work work;
};

/* A client's connection. */
struct node_client {
    struct list node;
    struct engine_node *of;
    struct ipc_socket *socket;
    struct ipc_encoded_server *server;
    struct engine_attach *attach;
    uint32_t pid, uid;
};

static void
node_client_end(struct node_client *c)
{
    list_del(&c->node);
    engine_attach_leave(c->attach);
    ipc_encoded_server_free(c->server);
    ipc_socket_free(c->socket);
    free(c);
}

static void
node_client_gone(void *user, const struct lunette_error *why)
{
    struct node_client *c = user;

    log_line(c->of->site.loop->log, LOG_LEVEL_INFO, "loop %u: client %u is gone: %s",
             c->of->site.index, c->pid, why->msg);
    node_client_end(c);
}

static void
node_client_broken(void *user, const struct lunette_error *why)
{
    (void)why; /* it is in the log */
    node_client_end(user);
}

/* Returns 0, and s and hello are taken; or -errno. */
static int
node_client_connect(struct node_client *c, struct stream *s, struct ipc_packet *hello)
{
    struct ipc_client client;
    int r = ipc_socket_server_new(s, hello, node_client_gone, c, &c->socket);

    if (r < 0)
        return r;
    r = ipc_encoded_server_new(ipc_socket_carrier(c->socket), &engine_attach_ops, c->attach,
                               ipc_socket_broken, c->socket, &c->server, &client);
    if (r < 0) {
        ipc_socket_free(c->socket); /* with s and hello */
        engine_attach_leave(c->attach);
        free(c);
        return 0;
    }
    client.hello = true;
    engine_attach_set_client(c->attach, &client);
    list_push_back(&c->of->clients, &c->node);
    log_line(c->of->site.loop->log, LOG_LEVEL_INFO, "loop %u: client %u of user %u has come",
             c->of->site.index, c->pid, c->uid);
    return 0;
}

static int
node_client_new(struct engine_node *n, struct stream *s, struct ipc_packet *hello)
{
    struct node_client *c = calloc(1, sizeof(*c));
    struct engine_attach_config cfg = {.close = node_client_broken, .user = c};
    uid_t uid = 0;
    pid_t pid = 0;
    int r;

    if (c == NULL)
        return -ENOMEM;
    (void)stream_peer_cred(s, &uid, &pid);
    c->of = n;
    cfg.client_pid = c->pid = (uint32_t)pid;
    cfg.client_uid = c->uid = uid;
    r = engine_attach_new(&n->site, &cfg, &c->attach);
    if (r == 0) {
        r = node_client_connect(c, s, hello);
        if (r == 0)
            return 0;
        engine_attach_leave(c->attach);
    }
    free(c);
    return r;
}

void
engine_node_take(struct engine_node *n, struct stream *s, struct ipc_packet *hello)
{
    int r = n->stopping ? -ESHUTDOWN : node_client_new(n, s, hello);

    if (r == 0)
        return;
    log_line(n->site.loop->log, LOG_LEVEL_WARN, "loop %u: a client was turned away: %s",
             n->site.index, r == -EAGAIN ? "there are as many as there may be" : errno_text(r));
    ipc_packet_drop(n->site.loop, hello);
    stream_close(s);
}

void
engine_node_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct engine_node *n = user;

    assert(loop == n->site.index);
    engine_node_take(n, s, hello);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Hosts that are logged out of have given back what clients have left there, so that the clients'
 * memory is free then. */
static void
node_work(struct loop_work *w)
{
    struct engine_node *n = container_of(w, struct engine_node, work);
    void (*done)(void *) = n->done;

    if (!n->stopping || !n->logged_out || n->site.nattachments > 0 || done == NULL)
        return;
    n->done = NULL;
    done(n->user);
}

static void
node_empty(void *user)
{
    struct engine_node *n = user;

    loop_defer(n->site.loop, &n->work);
}

static void
node_logged_out(void *user)
{
    struct engine_node *n = user;

    n->logged_out = true;
    loop_defer(n->site.loop, &n->work);
}

void
engine_node_stop(struct engine_node *n, void (*done)(void *user), void *user)
{
    assert(!n->stopping);
    n->stopping = true;
    n->done = done;
    n->user = user;
    while (!list_empty(&n->clients))
        node_client_end(container_of(n->clients.next, struct node_client, node));
    engine_logins_shutdown(n->site.logins, node_logged_out, n);
}

uint32_t
engine_node_clients(const struct engine_node *n)
{
    return n->site.nattachments;
}

/* ---- life ----------------------------------------------------------------------------------- */

int
engine_node_new(struct loop *l, const struct engine_node_config *cfg, struct engine_node **ret,
                struct lunette_error *err)
{
    struct engine_node *n = calloc(1, sizeof(*n));
    int r;

    if (n == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    n->site = (struct engine_site){.loop = l,
                                   .index = cfg->index,
                                   .loops = cfg->loops,
                                   .fixed = cfg->fixed,
                                   .pid = cfg->pid,
                                   .version = cfg->version,
                                   .empty = node_empty,
                                   .user = n};
    engine_site_init(&n->site);
    list_init(&n->clients);
    loop_work_init(&n->work, node_work);
    r = engine_flash_open(l, cfg->state, &n->site.flash, err);
    if (r == 0) {
        engine_flash_share(n->site.flash, cfg->index, cfg->loops);
        if (cfg->identity != NULL)
            engine_flash_set_identity(n->site.flash, cfg->identity);
        r = engine_logins_new(l, cfg->registry, cfg->ids, n->site.flash, &n->site.logins, err);
    }
    if (r < 0) {
        engine_node_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

struct engine_flash *
engine_node_flash(const struct engine_node *n)
{
    return n->site.flash;
}

void
engine_node_start(struct engine_node *n)
{
    engine_logins_start(n->site.logins);
}

void
engine_node_free(struct engine_node *n)
{
    if (n == NULL)
        return;
    assert(list_empty(&n->clients) && n->site.nattachments == 0);
    loop_defer_cancel(&n->work);
    engine_logins_free(n->site.logins);
    engine_flash_close(n->site.flash);
    free(n);
}
