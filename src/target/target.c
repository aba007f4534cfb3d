/* SPDX-License-Identifier: MIT */
#include "target/target.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lu/lu.h"
#include "lu/sidecar.h"
#include "seam/rdma.h"
#include "target/command.h"
#include "target/conn.h"
#include "target/ctl.h"
#include "target/face.h"
#include "target/instance.h"
#include "target/iser/accept.h"
#include "target/node.h"
#include "target/session.h"
#include "target/tcp/ring.h"
#include "target/tcp/tcp.h"

#define LOGIN_TIMEOUT_MS 15000
#define PING_TIMEOUT_MS  5000
#define HOLE_TIMEOUT_MS  60000
#define STOP_TIMEOUT_MS  1000

/* Frees what died in this turn. */
static void
target_reap(struct loop_work *w)
{
    struct target *t = container_of(w, struct target, reap);
    struct list *l;

    while ((l = list_pop_front(&t->dead)) != NULL) {
        struct tgt_conn *c = container_of(l, struct tgt_conn, link);

        c->face->free(c);
    }
    while ((l = list_pop_front(&t->dead_sessions)) != NULL)
        free(container_of(l, struct tgt_session, link));
    if (t->stopping && t->conns_count == 0 && !t->stopped) {
        t->stopped = true;
        loop_timer_stop(t->loop, &t->stop_timer);
        loop_defer(t->loop, &t->stop_done);
    }
}

static void
stop_done(struct loop_work *w)
{
    struct target *t = container_of(w, struct target, stop_done);

    for (uint32_t i = 0; i < t->nodes_count; i++)
        t->stats.sync_errors += lu_device_sync(&t->nodes[i].dev, t->loop->log);
    if (t->stop_cb != NULL)
        t->stop_cb(t->stop_user);
}

static void
drop_all(struct target *t)
{
    LIST_FOREACH_SAFE (i, &t->sessions)
        tgt_session_kill(container_of(i, struct tgt_session, link), "the target stops");
    while (!list_empty(&t->conns))
        tgt_conn_kill(container_of(t->conns.next, struct tgt_conn, link), "the target stops");
}

static void
stop_timeout(struct loop_timer *timer)
{
    drop_all(container_of(timer, struct target, stop_timer));
}

static void
target_init(struct target *t, struct loop *loop, const struct target_config *cfg)
{
    t->loop = loop;
    list_init(&t->conns);
    list_init(&t->dead);
    list_init(&t->logins);
    list_init(&t->sessions);
    htab_init(&t->session_by_port);
    htab_init(&t->node_by_name);
    t->hash_seed = loop_random(loop);
    list_init(&t->dead_sessions);
    list_init(&t->free_cmds);
    list_init(&t->free_rings);
    list_init(&t->chunks);
    loop_work_init(&t->reap, target_reap);
    loop_work_init(&t->stop_done, stop_done);
    loop_timer_init(&t->stop_timer, stop_timeout);
    t->sessions_max = cfg->sessions_max != 0 ? cfg->sessions_max : TARGET_SESSIONS_MAX;
    if (t->sessions_max > TGT_TSIHS - 1)
        t->sessions_max = TGT_TSIHS - 1;
    t->conns_max = cfg->conns_max != 0 ? cfg->conns_max : TARGET_CONNS_MAX;
    t->login_timeout_ms = cfg->login_timeout_ms != 0 ? cfg->login_timeout_ms : LOGIN_TIMEOUT_MS;
    t->ping_timeout_ms = cfg->ping_timeout_ms != 0 ? cfg->ping_timeout_ms : PING_TIMEOUT_MS;
    t->hole_timeout_ms = cfg->hole_timeout_ms != 0 ? cfg->hole_timeout_ms : HOLE_TIMEOUT_MS;
    t->stop_timeout_ms = cfg->stop_timeout_ms != 0 ? cfg->stop_timeout_ms : STOP_TIMEOUT_MS;
    t->pace_ns = cfg->pace_us * 1000ull;
    t->rdma_keeps_stags = cfg->rdma_keeps_stags;
    t->next_tsih = (uint16_t)loop_random(loop);
    target_set_faults(t, cfg->faults);
}

/* The reservations of one unit would be written over the data of another. */
static int
check_sidecar(const struct target_config *cfg, const struct lu_config *lun,
              struct lunette_error *err)
{
    char base[PATH_MAX];

    if (!lu_sidecar_base(lun, base))
        return 0;
    for (uint32_t i = 0; i < cfg->nodes_count; i++) {
        for (uint32_t k = 0; k < cfg->nodes[i].luns_count; k++) {
            if (lu_sidecar_is_of(&cfg->nodes[i].luns[k], base))
                return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                    "%s cannot be a LUN beside %s, whose persistent reservations "
                                    "are kept in a file of that name: rename it",
                                    lun->path, cfg->nodes[i].luns[k].path);
        }
    }
    return 0;
}

static int
check_sidecars(const struct target_config *cfg, struct lunette_error *err)
{
    int r = 0;

    for (uint32_t i = 0; i < cfg->nodes_count; i++) {
        for (uint32_t k = 0; k < cfg->nodes[i].luns_count && r == 0; k++)
            r = check_sidecar(cfg, &cfg->nodes[i].luns[k], err);
    }
    return r;
}

static int
open_nodes(struct target *t, const struct target_config *cfg, struct lunette_error *err)
{
    int r;

    if (cfg->nodes_count == 0 || cfg->nodes_count > TARGET_NODES_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "want 1 to %d targets",
                            TARGET_NODES_MAX);
    r = check_sidecars(cfg, err);
    if (r < 0)
        return r;
    t->nodes = calloc(cfg->nodes_count, sizeof(*t->nodes));
    if (t->nodes == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < cfg->nodes_count; i++) {
        t->nodes[i].target = t;
        t->nodes_count++;
        r = tgt_node_init(&t->nodes[i], &cfg->nodes[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

int
target_new(struct loop *loop, const struct target_config *cfg, struct target **ret,
           struct lunette_error *err)
{
    struct target *t = calloc(1, sizeof(*t));
    int r;

    if (t == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    if (err != NULL)
        err->code = 0;
    target_init(t, loop, cfg);
    lu_worker_init(&t->worker, loop);
    r = lu_flusher_new(loop, &t->flusher);
    if (r == 0)
        r = open_nodes(t, cfg, err);
    if (r < 0) {
        if (err != NULL && err->code == 0)
            (void)lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r));
        target_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

static void
target_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    tgt_tcp_serve(user, s, peer);
}

void
target_accept(struct target *t, struct stream *s, const struct sock_addr *peer)
{
    tgt_tcp_serve(t, s, peer);
}

/* The next one, which is not counted yet; NULL: there are too many. */
static struct tgt_listener *
next_listener(struct target *t, bool rdma, struct lunette_error *err)
{
    struct tgt_listener *l = &t->listeners[t->listeners_count];

    if (t->listeners_count == TARGET_LISTENERS_MAX) {
        (void)lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0, "more than %d listeners",
                           TARGET_LISTENERS_MAX);
        return NULL;
    }
    *l = (struct tgt_listener){.target = t, .rdma = rdma};
    return l;
}

static void
listener_added(struct tgt_listener *l, struct sock_addr *ret_bound)
{
    l->target->listeners_count++;
    if (ret_bound != NULL)
        *ret_bound = l->bound;
}

int
target_listen(struct target *t, const struct sock_addr *at, struct sock_addr *ret_bound,
              struct lunette_error *err)
{
    static const struct stream_events events = {.accepted = target_accepted};
    struct tgt_listener *l = next_listener(t, false, err);
    char text[PORTAL_TEXT_MAX];
    int r;

    if (l == NULL)
        return -ENOSPC;
    r = stream_listen(t->loop, at, &events, t, &l->stream, &l->bound);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot listen on %s: %s",
                            sock_addr_format(at, text, sizeof(text)), errno_text(-r));
    listener_added(l, ret_bound);
    return 0;
}

int
target_listen_rdma(struct target *t, const struct sock_addr *at, struct sock_addr *ret_bound,
                   struct lunette_error *err)
{
    struct tgt_listener *l = next_listener(t, true, err);
    char text[PORTAL_TEXT_MAX];
    int r;

    if (l == NULL)
        return -ENOSPC;
    r = tgt_iser_listen(l, at, err);
    if (r < 0)
        return lunette_fail_prefix(err, r, "cannot listen for iSER on %s",
                                   sock_addr_format(at, text, sizeof(text)));
    listener_added(l, ret_bound);
    return 0;
}

static void
stop_listening(struct target *t)
{
    while (t->listeners_count > 0) {
        struct tgt_listener *l = &t->listeners[--t->listeners_count];

        if (l->stream != NULL)
            stream_close(l->stream);
        if (l->rnic != NULL)
            rnic_close(l->rnic);
    }
}

void
target_stop(struct target *t, void (*done)(void *user), void *user)
{
    assert(!t->stopping);
    t->stopping = true;
    t->stop_cb = done;
    t->stop_user = user;
    stop_listening(t);
    LIST_FOREACH_SAFE (i, &t->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, link);

        if (c->state == TGT_CONN_FFP && !c->sess->discovery)
            tgt_ask_logout(c, (t->stop_timeout_ms + 999) / 1000);
        else if (c->state != TGT_CONN_CLOSING)
            tgt_conn_kill(c, "the target stops");
    }
    loop_timer_start(t->loop, &t->stop_timer, t->stop_timeout_ms * LOOP_NS_PER_MS);
    loop_defer(t->loop, &t->reap);
}

void
target_free(struct target *t)
{
    if (t == NULL)
        return;
    stop_listening(t);
    if (t->conns.next != NULL)
        drop_all(t);
    t->stopping = false;
    target_reap(&t->reap);
    loop_defer_cancel(&t->reap);
    loop_defer_cancel(&t->stop_done);
    loop_timer_stop(t->loop, &t->stop_timer);
    lu_worker_fini(&t->worker);
    lu_flusher_free(t->flusher);
    tgt_rings_free(t);
    for (uint32_t i = 0; i < t->nodes_count; i++)
        tgt_node_fini(&t->nodes[i]);
    free(t->nodes);
    htab_fini(&t->session_by_port);
    htab_fini(&t->node_by_name);
    tgt_cmd_pool_fini(t);
    free(t);
}

static struct lu *
find_lu(struct target *t, const char *node, uint32_t lun)
{
    struct tgt_node *n = tgt_node_find(t, node);

    return n != NULL ? lu_device_number(&n->dev, lun) : NULL;
}

int
target_resize(struct target *t, const char *node, uint32_t lun, uint64_t size,
              struct lunette_error *err)
{
    struct lu *lu = find_lu(t, node, lun);

    if (lu == NULL)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "%s has no LUN %u", node, lun);
    return lu_resize(lu, size, err);
}

int
target_set_alua(struct target *t, const char *node, uint32_t lun, uint8_t state,
                uint8_t transition_s, struct lunette_error *err)
{
    struct lu *lu = find_lu(t, node, lun);

    if (lu == NULL)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "%s has no LUN %u", node, lun);
    if (state > 0x0f)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "there is no ALUA state %u", state);
    lu_set_alua(lu, (struct lu_alua){.state = state, .transition_s = transition_s});
    return 0;
}

void
target_set_faults(struct target *t, const struct target_faults *faults)
{
    t->hook = tgt_faults_set(&t->faults, faults);
}

int
target_redirect(struct target *t, const char *node, const char *to, bool permanent,
                struct lunette_error *err)
{
    struct tgt_node *n = tgt_node_find(t, node);

    if (n == NULL)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "there is no target %s", node);
    return tgt_node_redirect(n, to, permanent, err);
}

void
target_tell_async(struct target *t, uint8_t event, uint16_t param2, uint16_t param3)
{
    bool drops = event == ISCSI_ASYNC_DROP_CONNECTION || event == ISCSI_ASYNC_DROP_SESSION;

    LIST_FOREACH_SAFE (i, &t->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, link);
        const uint16_t param[3] = {event == ISCSI_ASYNC_DROP_CONNECTION ? c->cid : 0, param2,
                                   param3};

        if (c->state == TGT_CONN_FFP && !c->sess->discovery)
            tgt_tell_async(c, event, param, drops);
    }
}

void
target_drop_connections(struct target *t)
{
    drop_all(t);
}

void *
target_lun_memory(struct target *t, const char *node, uint32_t lun, uint64_t *ret_size)
{
    struct lu *lu = find_lu(t, node, lun);

    if (lu == NULL || lu->mem == NULL || lu->store->ops->remembers)
        return NULL;
    if (ret_size != NULL)
        *ret_size = lu->blocks << lu->block_shift;
    return lu->mem;
}

void
target_stats(const struct target *t, struct target_stats *ret)
{
    *ret = t->stats;
}
