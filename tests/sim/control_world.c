/* SPDX-License-Identifier: MIT */
#include "tests/sim/control_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/steady_alloc.h"

#define LUN_SIZE (1u << 20)

/* ---- exports -------------------------------------------------------------------------------- */

struct export
{
    struct loop *loop;
    struct loop_work end;
    void (*stopped)(void *user);
    void *user;
    const struct export_events *ev;
    void *up_user;
    char where[128];
};
static struct export *cw_last_export;
static struct export *cw_used_export; /* has a client */
static char cw_used_where[128];       /* of the last that had one */
static uint64_t cw_used_ns, cw_reads;

void
cw_export_breaks(void)
{
    struct lunette_error why;

    (void)lunette_fail(&why, -EIO, LUNETTE_DOM_OS, EIO, "the server was tired");
    if (cw_last_export == NULL || cw_last_export->stopped != NULL)
        return;
    cw_last_export->ev->stopped(cw_last_export->up_user, &why);
}

static void
export_end(struct loop_work *w)
{
    struct export *e = container_of(w, struct export, end);
    void (*stopped)(void *user) = e->stopped;
    void *user = e->user;

    if (cw_last_export == e)
        cw_last_export = NULL;
    if (cw_used_export == e)
        cw_used_export = NULL;
    steady_free(e);
    stopped(user);
}

static int
export_start(struct bdev *b, struct loop *loop, const char *where, bool read_only,
             const struct export_events *ev, void *user, struct export **ret,
             struct lunette_error *err)
{
    struct export *e = steady_calloc(1, sizeof(*e));

    (void)b;
    (void)read_only;
    (void)err;
    assert_int_equal(strncmp(where, "/run/", 5), 0);
    e->loop = loop;
    e->ev = ev;
    e->up_user = user;
    (void)snprintf(e->where, sizeof(e->where), "%s", where);
    cw_last_export = e;
    loop_work_init(&e->end, export_end);
    *ret = e;
    return 0;
}

static void
export_stop(struct export *e, void (*done)(void *user), void *user)
{
    e->stopped = done;
    e->user = user;
    loop_defer(e->loop, &e->end);
}

static void
export_count(const struct export *e, struct export_stats *ret)
{
    *ret = (struct export_stats){.clients = e == cw_used_export, .reads = cw_reads};
}

static const struct export_ops export_ops = {
    .name = "nbd", .start = export_start, .stop = export_stop, .stats = export_count};
static const struct export_ops *const export_kinds[] = {&export_ops, NULL};

void
cw_use(struct cw *w, bool on)
{
    if (!on && cw_used_export != NULL)
        cw_used_ns = sim_now_ns(w->sim);
    cw_used_export = on ? cw_last_export : NULL;
    if (cw_used_export == NULL)
        return;
    cw_reads++;
    cw_used_ns = sim_now_ns(w->sim);
    memcpy(cw_used_where, cw_used_export->where, sizeof(cw_used_where));
}

/* ---- leases --------------------------------------------------------------------------------- */

static void
lease_fill(struct control_lease *l, unsigned owner, uint64_t ttl_ns)
{
    *l = (struct control_lease){.ttl_ns = ttl_ns};
    (void)snprintf(l->owner, sizeof(l->owner), "owner %u", owner);
}

static void
lease_told(struct control_waiter *waiter, const struct lunette_error *err)
{
    struct cw_lease *l = container_of(waiter, struct cw_lease, waiter);

    l->asked = false;
    if (err == NULL)
        l->until = l->asked_until;
}

void
cw_lease_give(struct cw *w, unsigned i, unsigned owner, uint64_t ttl_ns, bool only)
{
    struct cw_node *cn = &w->node[i];
    struct cw_lease *l = &cn->lease[owner];
    uint64_t now = w->loop->now_ns; /* of the last turn, which may be a while ago */
    struct control_lease lease;
    int r;

    if (l->asked)
        return;
    lease_fill(&lease, owner, ttl_ns);
    r = control_lease(cn->n, &lease, only, &l->waiter, NULL);
    assert_true(r == 0 || r == -ENOENT);
    l->asked = r == 0;
    l->asked_until = now + ttl_ns;
    if (l->asked && l->until > l->asked_until) /* it is shortened, maybe before he is told */
        l->until = l->asked_until;
}

void
cw_lease_release(struct cw *w, unsigned i, unsigned owner)
{
    struct cw_node *cn = &w->node[i];
    struct control_lease lease;

    lease_fill(&lease, owner, 1);
    cn->lease[owner].until = 0;
    cn->lease[owner].asked_until = 0;
    assert_in_set(-control_release(cn->n, lease.owner, NULL),
                  ((const LargestIntegralType[]){0, ENOENT}), 2);
}

static void
leases_forget(struct cw_node *cn)
{
    for (unsigned i = 0; i < CW_OWNERS; i++) {
        control_waiter_cancel(&cn->lease[i].waiter);
        cn->lease[i].asked = false;
        cn->lease[i].until = 0;
    }
}

/* No lease of the session holds, nobody uses it, and nobody has for a while. */
static void
on_over(struct cw *w, struct cw_node *cn)
{
    const char *target = control_node_name(cn->n)->target;
    uint64_t now = sim_now_ns(w->sim);
    struct control_info info;

    control_node_get_info(cn->n, &info);
    if (!cn->leased)
        fail_msg("%s: a session that is wanted without a lease has ended by a lease", w->what);
    for (unsigned i = 0; i < CW_OWNERS; i++) {
        if (cn->lease[i].until > now)
            fail_msg("%s: a session has ended %llu ms before its lease", w->what,
                     (unsigned long long)((cn->lease[i].until - now) / CW_MS));
    }
    if (cw_used_export != NULL && strstr(cw_used_where, target) != NULL)
        fail_msg("%s: a session has ended under a client", w->what);
    if (info.sid != 0 && cw_used_ns > 0 && strstr(cw_used_where, target) != NULL)
        assert_true(now - cw_used_ns >= w->idle_ms * CW_MS);
    cn->overs++;
    cn->want = false;
    leases_forget(cn);
}

/* ---- the owner of the control plane --------------------------------------------------------- */

static void
told(struct control_waiter *waiter, const struct lunette_error *err)
{
    struct cw_node *cn = container_of(waiter, struct cw_node, waiter);

    cn->told++;
    cn->asked = false;
    cn->err = (struct lunette_error){.code = 0};
    if (err != NULL)
        cn->err = *err;
    else if (cn->leased && cn->want)
        cn->lease[0].until = cn->lease[0].asked_until;
}

/* Logs in with a lease, unless there is a session, which goes on by what it has. */
static int
ask_leased(struct cw_node *cn, const struct control_info *info)
{
    struct control_lease lease;

    if (info->sid != 0 && info->wanted != CONTROL_DOWN)
        return -EEXIST;
    leases_forget(cn);
    lease_fill(&lease, 0, cn->ttl_ns);
    cn->lease[0].asked_until = cn->w->loop->now_ns + cn->ttl_ns;
    return control_login_leased(cn->n, &lease, &cn->waiter, &cn->err);
}

/* Asks for what is wanted, unless it is so. */
static void
ask(struct cw_node *cn)
{
    struct control_info info;
    int r;

    control_node_get_info(cn->n, &info);
    if (cn->asked)
        return;
    if (cn->want && cn->leased)
        r = ask_leased(cn, &info);
    else if (cn->want)
        r = control_login(cn->n, &cn->waiter, &cn->err);
    else
        r = control_logout(cn->n, &cn->waiter, &cn->err);
    assert_true(r == 0 || r == (cn->want ? -EEXIST : -ENOENT));
    cn->asked = r == 0;
}

void
cw_want_one(struct cw *w, unsigned i, bool up)
{
    struct cw_node *cn = &w->node[i];

    if (cn->want != up) {
        control_waiter_cancel(&cn->waiter);
        cn->asked = false;
        leases_forget(cn);
    }
    cn->want = up;
    if (w->ready)
        ask(cn);
}

void
cw_want(struct cw *w, bool up)
{
    for (unsigned i = 0; i < CW_NODES; i++)
        cw_want_one(w, i, up);
}

static struct cw_node *
node_of(struct cw *w, const struct control_node *n)
{
    for (unsigned i = 0; i < CW_NODES; i++) {
        if (w->node[i].n == n)
            return &w->node[i];
    }
    return NULL;
}

static void
on_state(struct cw_node *cn)
{
    struct control_info info;

    control_node_get_info(cn->n, &info);
    if (info.state != CONTROL_IS_UP)
        return;
    if (!cn->has_isid)
        memcpy(cn->isid, info.isid, sizeof(cn->isid));
    cn->has_isid = true;
    assert_memory_equal(cn->isid, info.isid, sizeof(cn->isid));
}

static void
on_event(void *user, const struct control_event *ev)
{
    struct cw *w = user;
    struct cw_node *cn = node_of(w, ev->node);

    w->events[ev->type]++;
    if (ev->type == CONTROL_READY) {
        w->ready = true;
        for (unsigned i = 0; i < CW_NODES && !w->no_nodes && !w->quiet; i++)
            ask(&w->node[i]);
    } else if (ev->type == CONTROL_LOOP) {
        assert_int_equal(ev->value, w->loops);
    } else if (ev->type == CONTROL_FOUND && cn != NULL) {
        cn->founds++;
    } else if (ev->type == CONTROL_STATE && cn != NULL) {
        on_state(cn);
    } else if (ev->type == CONTROL_LEASES_OVER) {
        on_over(w, cn);
    } else if (ev->type == CONTROL_EXPORTED) {
        w->exported++;
    } else if (ev->type == CONTROL_TROUBLE) {
        w->troubles++;
        w->trouble = *ev->why;
    }
}

static int
on_export_path(void *user, const struct control_node *node, const char *kind, const uint8_t lun[8],
               char *path)
{
    (void)user;
    assert_true(kind[0] != '\0');
    (void)snprintf(path, CONTROL_PATH_MAX + 1, "/run/%s-%u", control_node_name(node)->target,
                   lun[1]);
    return 0;
}

/* ---- the control plane ---------------------------------------------------------------------- */

void
cw_config(struct cw *w, unsigned target, struct login_config *login,
          struct control_node_config *cfg)
{
    static const struct control_export all = {.all = true, .kind = "nbd"};
    struct sockaddr_in in;

    *cfg = (struct control_node_config){.login = login,
                                        .login_retries = CONTROL_FOR_EVER,
                                        .owner = "sim",
                                        .exports = &all,
                                        .nexports = 1};
    login_config_init(login);
    strcpy(login->initiator_name, "iqn.2026-11.example:initiator");
    (void)snprintf(login->target_name, sizeof(login->target_name), "iqn.2026-11.example:t%u",
                   target);
    strcpy(login->portal.host, "10.0.0.1");
    memcpy(&in, &w->portal.ss, sizeof(in));
    login->portal.port = ntohs(in.sin_port);
    strcpy(login->transport, "tcp");
    login->offer.time2wait = 0;
    login->nr_connections = w->conns;
    login->offer.erl = w->erl;
    strcpy(cfg->name.target, login->target_name);
    cfg->name.portal = login->portal;
    cfg->name.portal.tpgt = 1;
    strcpy(cfg->name.iface, "default");
}

static void
add_node(struct cw *w, unsigned i)
{
    struct control_node_config cfg;
    struct login_config login;

    cw_config(w, i, &login, &cfg);
    assert_int_equal(control_node_add(w->c, &cfg, &w->node[i].n, &w->node[i].err), 0);
}

static void
ctl_start(struct cw *w, unsigned i)
{
    struct ipc_client client;

    assert_int_equal(ipc_delayed_new(w->loop, w->delay_ns, &dataplane_server_ops, w->dp[i],
                                     &w->binding[i], &client),
                     0);
    client.hello = true;
    w->generation[i] = dataplane_set_client(w->dp[i], &client);
    assert_int_equal(ctl_new(w->loop, ipc_delayed_ipc(w->binding[i]), &w->ctl[i]), 0);
    assert_int_equal(control_loop_set(w->c, i, w->ctl[i]), 0);
}

void
cw_control_start(struct cw *w)
{
    struct control_callbacks cb = {.event = on_event, .export_path = on_export_path, .user = w};

    login_gate_init(&w->gate, w->loop, w->gate_max);
    assert_int_equal(control_new(w->loop, &w->gate, &cb, &w->c), 0);
    if (w->idle_ms > 0)
        control_set_idle(w->c, w->idle_ms);
    for (unsigned i = 0; i < CW_NODES; i++) {
        w->node[i].w = w;
        w->node[i].n = NULL;
        w->node[i].asked = false;
        w->node[i].founds = 0;
        control_waiter_init(&w->node[i].waiter, told);
        for (unsigned k = 0; k < CW_OWNERS; k++) {
            w->node[i].lease[k].asked = false;
            control_waiter_init(&w->node[i].lease[k].waiter, lease_told);
        }
        if (!w->no_nodes)
            add_node(w, i);
    }
    for (unsigned i = 0; i < w->loops; i++)
        ctl_start(w, i);
}

static bool
no_requests(void *user)
{
    struct cw *w = user;
    unsigned n = 0;

    for (unsigned i = 0; i < w->loops; i++)
        n += ipc_delayed_requests(w->binding[i]);
    return n == 0;
}

static void
cut_all(struct cw *w)
{
    for (unsigned i = 0; i < w->loops; i++)
        ipc_delayed_cut(w->binding[i]);
}

static void
ctl_end(struct cw *w, unsigned i)
{
    dataplane_detach(w->dp[i], w->generation[i]);
    ipc_delayed_free(w->binding[i]);
    w->binding[i] = NULL;
}

void
cw_control_die(struct cw *w)
{
    cut_all(w);
    for (unsigned i = 0; i < CW_NODES && !w->no_nodes; i++) /* else it is drawn anew */
        w->node[i].has_isid &= w->node[i].n != NULL && node_is(w->node[i].n, NODE_IS_SESSION);
    control_free(&w->c);
    for (unsigned i = 0; i < w->loops; i++)
        ctl_free(&w->ctl[i]);
    login_gate_fini(&w->gate);
    w->ready = false;
    if (sim_below(w->sim, 2) == 0)
        assert_true(sim_run_until(w->sim, no_requests, w, CW_LIMIT_NS));
    for (unsigned i = 0; i < w->loops; i++)
        ctl_end(w, i);
}

/* ---- the data plane ------------------------------------------------------------------------- */

static void
data_start(struct cw *w)
{
    const struct dataplane_limits limits = {
        .grace_ms = CW_GRACE_MS, .events_max = 64, .event_bytes_max = 1u << 16};

    w->ids = dp_ids_new();
    assert_non_null(w->ids);
    for (unsigned i = 0; i < w->loops; i++) {
        assert_int_equal(dataplane_new(w->loop, &w->registry, &w->dp[i], NULL), 0);
        dataplane_share_ids(w->dp[i], w->ids);
        dataplane_set_limits(w->dp[i], &limits);
        dataplane_set_loops(w->dp[i], i, w->loops);
        assert_int_equal(iod_units_new(w->loop, w->dp[i], export_kinds, &w->units[i]), 0);
    }
}

static bool
data_gone(void *user)
{
    struct cw *w = user;
    unsigned n = 0;

    for (unsigned i = 0; i < w->loops; i++)
        n += dataplane_busy(w->dp[i]);
    return n == 0;
}

/* The end of a process: all its sockets are closed at once. */
static void
data_end(struct cw *w)
{
    for (unsigned i = 0; i < w->loops; i++)
        dataplane_shutdown(w->dp[i]);
    (void)sim_cut(w->sim, NULL, SIM_RESET);
    assert_true(sim_run_until(w->sim, data_gone, w, CW_LIMIT_NS));
    for (unsigned i = 0; i < w->loops; i++) {
        dataplane_free(w->dp[i]);
        iod_units_free(w->units[i]);
    }
    dp_ids_free(w->ids);
}

void
cw_loop_lose(struct cw *w, unsigned i)
{
    ipc_delayed_cut(w->binding[i]);
    control_loop_lost(w->c, i);
    ctl_free(&w->ctl[i]);
    ctl_end(w, i);
    w->ready = false;
}

void
cw_loop_back(struct cw *w, unsigned i)
{
    ctl_start(w, i);
}

void
cw_loop_hiccup(struct cw *w, unsigned i)
{
    cw_loop_lose(w, i);
    cw_loop_back(w, i);
}

/* What no control plane has learned yet ends with the data plane. */
static void
forget_isid(struct cw_node *cn)
{
    static const uint8_t none[LOGIN_ISID_LEN];
    struct control_info info;

    control_node_get_info(cn->n, &info);
    cn->has_isid &= memcmp(info.isid, none, sizeof(none)) != 0;
}

void
cw_data_restart(struct cw *w, uint64_t away_ns)
{
    cut_all(w);
    for (unsigned i = 0; i < w->loops; i++) {
        control_loop_lost(w->c, i);
        ctl_free(&w->ctl[i]);
        ctl_end(w, i);
    }
    w->ready = false;
    for (unsigned i = 0; i < CW_NODES; i++)
        forget_isid(&w->node[i]);
    data_end(w);
    cw_pass(w, away_ns);
    data_start(w);
    for (unsigned i = 0; i < w->loops; i++)
        ctl_start(w, i);
}

/* ---- the world ------------------------------------------------------------------------------ */

void
cw_listen(struct cw *w, unsigned host, struct sock_addr *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sock_addr at = {.len = sizeof(in)};
    struct lunette_error err;

    in.sin_addr.s_addr = htonl(0x0a000000 + host);
    in.sin_port = htons(3260);
    memcpy(&at.ss, &in, sizeof(in));
    if (target_listen(w->target, &at, ret, &err) < 0)
        fail_msg("%s", err.msg);
}

static void
target_start(struct cw *w)
{
    struct lu_config lun[CW_LUNS];
    static const struct target_key_value set[] = {{"ErrorRecoveryLevel", "2"}};
    struct target_node_config node[CW_NODES];
    struct target_config tc = {.nodes = node, .nodes_count = CW_NODES};
    char name[CW_NODES][64];
    struct lunette_error err;

    for (unsigned i = 0; i < CW_LUNS; i++)
        lun[i] = (struct lu_config){.kind = LU_RAM, .size = LUN_SIZE, .block = 512, .lun = i};
    for (unsigned i = 0; i < CW_NODES; i++) {
        (void)snprintf(name[i], sizeof(name[i]), "iqn.2026-11.example:t%u", i);
        node[i] = (struct target_node_config){
            .name = name[i], .luns = lun, .luns_count = CW_LUNS, .set = set, .set_count = 1};
    }
    if (target_new(sim_loop(w->sim), &tc, &w->target, &err) < 0)
        fail_msg("%s", err.msg);
    cw_listen(w, 1, &w->portal);
}

struct cw *
cw_new(uint64_t seed, unsigned loops)
{
    struct cw *w = calloc(1, sizeof(*w));

    assert_true(loops <= CW_LOOPS);
    w->loops = loops;
    cw_used_export = NULL;
    cw_used_ns = 0;
    cw_reads = 1;
    w->gate_max = 4;
    w->sim = sim_new(seed, seed % 3 == 2 ? &sim_rough : NULL);
    w->loop = sim_loop(w->sim);
    w->delay_ns = sim_below(w->sim, 2) * CW_MS;
    target_start(w);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    data_start(w);
    return w;
}

static bool
target_idle(void *user)
{
    struct cw *w = user;
    struct target_stats st;

    target_stats(w->target, &st);
    return st.conns == 0;
}

void
cw_free(struct cw *w)
{
    cw_control_die(w);
    data_end(w);
    assert_true(sim_run_until(w->sim, target_idle, w, CW_LIMIT_NS));
    target_free(w->target);
    sim_free(w->sim);
    free(w);
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

void
cw_pass(struct cw *w, uint64_t ns)
{
    (void)sim_run_until(w->sim, never, w, ns);
}

/* ---- what is there -------------------------------------------------------------------------- */

static bool
node_is_steady(const struct cw_node *cn)
{
    struct control_info info;

    control_node_get_info(cn->n, &info);
    if (cn->asked)
        return false;
    if (!cn->want)
        return info.state == CONTROL_IS_DOWN;
    return info.state == CONTROL_IS_UP && info.settled && info.exports == CW_LUNS;
}

bool
cw_steady(void *user)
{
    struct cw *w = user;

    for (unsigned i = 0; i < CW_NODES; i++) {
        if (w->c == NULL || !w->ready || !node_is_steady(&w->node[i]))
            return false;
    }
    return true;
}

void
cw_settle(struct cw *w)
{
    struct control_info info;

    if (sim_run_until(w->sim, cw_steady, w, CW_LIMIT_NS))
        return;
    for (unsigned i = 0; i < CW_NODES; i++) {
        control_node_get_info(w->node[i].n, &info);
        print_error("node %u: wanted %d, %s, session %u, %u LUNs, %u exports, asked %d, settled "
                    "%d: %s\n",
                    i, (int)info.wanted, control_state_name(info.state), info.sid, info.luns,
                    info.exports, w->node[i].asked, info.settled, info.why.msg);
    }
    fail_msg("%s: ready %d, last trouble: %s", w->what, w->ready, w->trouble.msg);
}

bool
cw_has_session(struct cw *w, uint32_t sid)
{
    for (unsigned i = 0; i < w->loops; i++) {
        if (dataplane_host(w->dp[i], sid) != NULL)
            return true;
    }
    return false;
}

unsigned
cw_running(struct cw *w, uint32_t *sids)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->loops; i++) {
        for (uint32_t sid = 1; sid < 64; sid++) {
            const struct scsi_host *h = dataplane_host(w->dp[i], sid);

            if (h == NULL || h->state != SCSI_HOST_RUNNING)
                continue;
            assert_true(n < CW_NODES);
            if (sids != NULL)
                sids[n] = sid;
            n++;
        }
    }
    return n;
}

uint64_t
cw_logins(struct cw *w)
{
    struct target_stats st;

    target_stats(w->target, &st);
    return st.logins;
}

/* Also what takes a little longer than the steady state has gone. */
static bool
nothing_more(void *user)
{
    struct cw *w = user;
    unsigned ups = 0, sessions = 0, exports = 0;
    struct target_stats st;
    bool idle = true;

    for (unsigned i = 0; i < CW_NODES; i++)
        ups += w->node[i].want;
    for (unsigned i = 0; i < w->loops; i++) {
        sessions += dataplane_busy(w->dp[i]);
        exports += iod_units_exports(w->units[i]);
        idle &= ctl_idle(w->ctl[i]);
    }
    target_stats(w->target, &st);
    return idle && sessions == ups && exports == ups * CW_LUNS && st.sessions == ups &&
           st.conns == ups * (w->conns > 1 ? w->conns : 1) && w->gate.inside == 0;
}

void
cw_check(struct cw *w)
{
    struct target_stats st;
    unsigned sessions = 0;

    if (!sim_run_until(w->sim, nothing_more, w, 10 * LOOP_NS_PER_S)) {
        target_stats(w->target, &st);
        for (unsigned i = 0; i < w->loops; i++)
            sessions += dataplane_busy(w->dp[i]);
        fail_msg("%s: %u sessions in the data plane, %u at the target, %u connections; gate %u",
                 w->what, sessions, st.sessions, st.conns, w->gate.inside);
    }
    assert_true(cw_steady(w));
    assert_int_equal(w->c->refused, 0);
    for (unsigned i = 0; i < w->loops; i++) {
        unsigned counted = 0;

        for (unsigned k = 0; k < CW_NODES; k++)
            counted += w->node[k].n->loop == w->c->loops[i];
        assert_int_equal(w->c->loops[i]->nsessions, counted);
    }
}
