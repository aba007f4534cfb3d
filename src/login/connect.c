/* SPDX-License-Identifier: MIT */
/* login/connect.c - step one of a login: a transport connection.
 *
 * A transport with CAP_BIND_DESCRIPTOR gets a socket that is connected here; the others
 * connect by themselves (EP_CONNECT, EP_EVENT).  The data plane tells which of the two
 * a transport is.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "login/task.h"

static bool
by_socket(const struct iscsi_login *l)
{
    return l->caps & CAP_BIND_DESCRIPTOR;
}

static const char *
connect_where(const struct iscsi_login *l, char buf[PORTAL_TEXT_MAX])
{
    return portal_format(&l->portal, buf, PORTAL_TEXT_MAX);
}

#define NO_DEVICE_MAX 96

/* What keeps a connection from being bound, or NULL: another errno says nothing of that. */
static const char *
connect_bind_reason(const struct stream_opts *o, int errnum, char buf[NO_DEVICE_MAX])
{
    if (o->device[0] != '\0' && errnum == ENODEV) {
        (void)snprintf(buf, NO_DEVICE_MAX,
                       "this host has no network device %s, to which the connection is bound",
                       o->device);
        return buf;
    }
    if (o->device[0] != '\0' && errnum == EPERM)
        return "this kernel lets only root bind a connection to a network device: use Linux 5.7 or "
               "newer, the capability CAP_NET_RAW, or an address instead of the device";
    if (o->source.len > 0 && errnum == EADDRNOTAVAIL)
        return "this host does not have the address that the connection is bound to";
    if (o->source.len > 0 && errnum == EAFNOSUPPORT)
        return "the connection is bound to an address of the other family: IPv4 and IPv6 do not "
               "mix";
    return NULL;
}

/* Returns the text for an errno.  -ENOENT and -EAGAIN of loop_resolve have texts of their own here,
 * since strerror would speak of files. */
static const char *
connect_reason(const struct iscsi_login *l, int errnum, char buf[NO_DEVICE_MAX])
{
    const char *bound = connect_bind_reason(&l->cfg.sock, errnum, buf);

    if (bound != NULL)
        return bound;
    if (errnum == EINVAL && portal_lacks_scope(&l->portal))
        return "a link-local address needs the interface behind it, as in [fe80::1%eth0]";
    if (l->naddrs == 0 && errnum == ENOENT && strchr(l->portal.host, '%') != NULL)
        return "this host has no interface of the name behind the %";
    if (l->naddrs == 0 && errnum == ENOENT)
        return "there is no host of that name";
    if (l->naddrs == 0 && errnum == EAGAIN)
        return "the name service does not answer";
    return errno_text(errnum);
}

/* The time that all addresses have had. */
static uint32_t
connect_allowed_ms(const struct iscsi_login *l)
{
    uint64_t ms = (uint64_t)l->cfg.connect_try_ms * (uint32_t)l->naddrs;

    return ms > 0 && ms < l->connect_limit_ms ? (uint32_t)ms : l->connect_limit_ms;
}

bool
login_pass_over(struct iscsi_login *l)
{
    const struct portal *next = NULL;
    char buf[PORTAL_TEXT_MAX];

    while (next == NULL && l->ngroup_tried < l->cfg.ngroup) {
        next = &l->cfg.group[l->ngroup_tried++];
        if (login_was_there(l, next))
            next = NULL;
    }
    if (next == NULL)
        return false;
    log_line(l->loop->log, LOG_LEVEL_INFO, "login: %s; trying %s, which is of the same group",
             l->err.msg, portal_format(next, buf, sizeof(buf)));
    l->portal = *next;
    l->nvisited--; /* that redirections go in a circle is told by where we were answered */
    l->after = LOGIN_AFTER_AGAIN;
    return true;
}

/* What is wrong with a request would be wrong again; anything else may be better next time. */
static enum lunette_domain
connect_domain(const struct lunette_error *why)
{
    return why->domain == LUNETTE_DOM_USAGE ? LUNETTE_DOM_USAGE : LUNETTE_DOM_CONNECT;
}

/* Ends the attempt with an error.  It is called in the states RESOLVE and CONNECT and in actions
 * that lead to them, where nothing else sets l->err, so an error that is there already is the
 * first. */
static void
connect_failed(struct iscsi_login *l, int errnum, const char *what)
{
    struct lunette_error *err = l->err.code == 0 ? &l->err : NULL;
    char buf[PORTAL_TEXT_MAX], no_device[NO_DEVICE_MAX];

    if (l->connect_why.code == -errnum)
        (void)lunette_fail(err, -errnum, connect_domain(&l->connect_why), (uint32_t)errnum,
                           "%s %s: %s", what, connect_where(l, buf), l->connect_why.msg);
    else if (errnum == ETIMEDOUT)
        (void)lunette_fail(err, -ETIMEDOUT, LUNETTE_DOM_CONNECT, ETIMEDOUT,
                           "%s %s: no answer in time (%u ms for %d addresses)", what,
                           connect_where(l, buf), connect_allowed_ms(l), l->naddrs);
    else
        (void)lunette_fail(err, -errnum, LUNETTE_DOM_CONNECT, (uint32_t)errnum, "%s %s: %s", what,
                           connect_where(l, buf), connect_reason(l, errnum, no_device));
    l->passes_over = login_pass_over(l);
    login_post(l, LOGIN_EV_FAIL);
}

/* ---- the transport -------------------------------------------------------------------------- */

/* The two limits were set for a socket as long as it was not known what connects. */
static void
connect_take_ep_limits(struct iscsi_login *l)
{
    if (l->cfg.ep_try_ms > 0)
        l->cfg.connect_try_ms = l->cfg.ep_try_ms;
    if (l->cfg.ep_login_ms > 0)
        login_set_limit(l, l->cfg.ep_login_ms);
}

static void
login_on_transport(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_login *l = user;
    struct iscsi_reply verdict = *rep;

    if (rep->err == 0) {
        l->caps = rep->r.transport.caps;
        if (!by_socket(l) && l->state == LOGIN_TRANSPORT)
            connect_take_ep_limits(l);
        l->max_recv_dlength = rep->r.transport.max_recv_dlength;
        verdict.err = login_config_check_caps(&l->cfg, l->caps, &verdict.why);
    } else if (rep->why.code < 0 && (rep->err == -ENOENT || rep->err == -EOPNOTSUPP)) {
        /* There is no such transport, or nothing built in for it, which comes to the same as no
         * device. */
        verdict.err = verdict.why.code = -ENODEV;
    }
    login_replied(l, &verdict);
}

void
login_get_transport(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_TRANSPORT};

    static_assert(sizeof(ev.u.get_transport.transport) == sizeof(l->cfg.transport), "a name");
    memcpy(ev.u.get_transport.transport, l->cfg.transport, sizeof(l->cfg.transport));
    (void)login_request(l, &ev, NULL, 0, login_on_transport);
}

/* ---- names and addresses -------------------------------------------------------------------- */

static void
on_resolved(void *user, int err, const struct sock_addr *addr, int count)
{
    struct iscsi_login *l = user;

    l->resolving = NULL;
    if (err < 0 || count < 1) {
        connect_failed(l, err < 0 ? -err : ENOENT, "cannot find the address of");
        return;
    }
    if (count > LOOP_RESOLVE_MAX)
        count = LOOP_RESOLVE_MAX;
    memcpy(l->addrs, addr, (size_t)count * sizeof(addr[0]));
    l->naddrs = count;
    l->iaddr = -1;
    login_post(l, LOGIN_EV_RESOLVED);
}

/* How long the portal may take to be connected to.  The portals of a group share the time. */
static uint64_t
connect_limit(struct iscsi_login *l)
{
    uint64_t now = l->loop->now_ns, left;

    if (!l->passes_over)
        l->reach_until_ns = now + l->cfg.connect_timeout_ms * LOOP_NS_PER_MS;
    l->passes_over = false;
    left = l->reach_until_ns > now ? l->reach_until_ns - now : 0;
    left /= l->cfg.ngroup - l->ngroup_tried + 1;
    if (left < LOOP_NS_PER_MS)
        left = LOOP_NS_PER_MS;
    l->connect_limit_ms = (uint32_t)(left / LOOP_NS_PER_MS);
    return left;
}

void
iscsi_conn_connect(struct iscsi_login *l)
{
    uint64_t limit = connect_limit(l);
    int r;

    TRACE(l->loop, iscsi_conn_connect, l->sid, l->portal.port);
    l->err = (struct lunette_error){.code = 0};
    l->after = LOGIN_AFTER_GIVE_UP;
    l->status = 0;
    l->naddrs = 0;
    assert(l->nvisited <= LOGIN_REDIRECTS_MAX);
    l->visited[l->nvisited++] = l->portal;
    l->connect_until_ns = l->loop->now_ns + limit;
    r = nego_init(&l->nego, &l->cfg, l->caps, l->max_recv_dlength, l->ctl);
    if (r == 0)
        r = loop_resolve(l->loop, l->portal.host, l->portal.port, on_resolved, l, &l->resolving);
    if (r < 0) {
        l->resolving = NULL;
        connect_failed(l, -r, "cannot look up");
        return;
    }
    loop_timer_start(l->loop, &l->step, limit);
}

void
login_resolve_expired(struct iscsi_login *l)
{
    connect_failed(l, ETIMEDOUT, "cannot look up");
}

/* ---- sockets ------------------------------------------------------------------------------- */

static void
on_connected(void *user, int err)
{
    struct iscsi_login *l = user;

    TRACE(l->loop, session_conn_poll, l->sid, err);
    if (err == 0) {
        login_post(l, LOGIN_EV_CONNECTED);
        return;
    }
    l->connect_errno = -err;
    stream_close(l->stream);
    l->stream = NULL;
    login_post(l, LOGIN_EV_NEXT);
}

/* Reads nothing, since what has come is for the transport that adopts the descriptor. */
static void
on_readiness(void *user)
{
    (void)user;
}

static const struct stream_events stream_events = {
    .connected = on_connected, .readable = on_readiness, .writable = on_readiness};

static int
connect_socket(struct iscsi_login *l)
{
    int r =
        stream_connect(l->loop, &l->addrs[l->iaddr], &l->cfg.sock, &stream_events, l, &l->stream);

    if (r < 0)
        l->stream = NULL;
    return r;
}

/* ---- endpoints ----------------------------------------------------------------------------- */

static void
ep_drop(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, .ep = l->ep};

    l->attempt_over = false;
    ctl_ep_watch_del(&l->ep_watch);
    if (l->ep == 0)
        return;
    l->ep = 0;
    if (login_request(l, &ev, NULL, 0, login_on_reply))
        login_post(l, LOGIN_EV_NEXT);
}

static void
ep_failed(struct iscsi_login *l, int err)
{
    l->connect_errno = -err;
    if (l->ep != 0)
        ep_drop(l);
    else
        login_post(l, LOGIN_EV_NEXT);
}

/* Called for a reply of EP_CONNECT or EP_POLL.  Returns false when it is too late: the attempt is
 * over, and what the request made is undone with the rest. */
static bool
ep_still_wanted(struct iscsi_login *l)
{
    assert(l->pending > 0 && l->ep_asked);
    l->pending--;
    l->ep_asked = false;
    if (l->state == LOGIN_CONNECT)
        return true;
    if (l->pending == 0)
        login_post(l, LOGIN_EV_REPLIED);
    return false;
}

/* Goes on with what is known of the endpoint: up, failed, or not yet, and then the event or the
 * timer of the step goes on. */
static void
session_conn_poll(struct iscsi_login *l)
{
    assert(!l->ep_asked);
    TRACE(l->loop, session_conn_poll, l->sid, l->ep_state);
    if (l->ep_state < 0) {
        ep_failed(l, l->ep_state);
    } else if (l->ep_state > 0) {
        ctl_ep_watch_del(&l->ep_watch);
        login_post(l, LOGIN_EV_CONNECTED);
    } else if (l->attempt_over) {
        ep_failed(l, -ETIMEDOUT);
    }
}

static void on_ep_poll(void *user, const struct iscsi_reply *rep);

static void
ep_ask(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TRANSPORT_EP_POLL, .ep = l->ep};

    l->ep_asked = login_request(l, &ev, NULL, 0, on_ep_poll);
}

static void
on_ep_poll(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_login *l = user;

    if (!ep_still_wanted(l))
        return;
    if (rep->err < 0) {
        if (l->ep_state >= 0)
            l->ep_state = rep->err;
        if (l->ep_state == rep->err)
            l->connect_why = rep->why;
    } else if (l->ep_state < 0 && !l->attempt_over) {
        ep_ask(l); /* it failed since it was asked */
        return;
    } else if (l->ep_state == 0) {
        l->ep_state = rep->r.value > 0;
    }
    session_conn_poll(l);
}

/* The event has the errno only of an endpoint that is not up: the reply to EP_POLL has the
 * sentence, too. */
static void
login_on_ep_event(struct ctl_ep_watch *w, int err)
{
    struct iscsi_login *l = container_of(w, struct iscsi_login, ep_watch);

    assert(l->state == LOGIN_CONNECT && l->ep == w->ep && !l->running);
    l->ep_state = err < 0 ? err : 1;
    if (l->ep_asked)
        return; /* the reply to EP_POLL goes on */
    if (err < 0)
        ep_ask(l);
    else
        session_conn_poll(l);
}

/* Asks once how the endpoint is.  Its event may have come before the reply that told us its id,
 * since events and replies may overtake each other, and was then not recognized. */
static void
ep_poll(struct iscsi_login *l)
{
    l->ep_state = 0;
    ctl_ep_watch_add(l->ctl, &l->ep_watch, l->ep);
    ep_ask(l);
}

static void
on_ep_connect(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_login *l = user;

    if (rep->err == 0)
        l->ep = rep->r.ep;
    if (!ep_still_wanted(l))
        return;
    if (rep->err < 0) {
        l->connect_why = rep->why;
        ep_failed(l, rep->err);
    } else if (l->attempt_over) {
        ep_failed(l, -ETIMEDOUT);
    } else {
        ep_poll(l);
    }
}

static void
connect_ep(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TRANSPORT_EP_CONNECT};

    memcpy(ev.u.ep_connect.transport, l->cfg.transport, sizeof(ev.u.ep_connect.transport));
    ev.u.ep_connect.to = l->addrs[l->iaddr];
    ev.u.ep_connect.source = l->cfg.sock.source;
    memcpy(ev.u.ep_connect.options, l->cfg.transport_options, sizeof(ev.u.ep_connect.options));
    l->ep_asked = login_request(l, &ev, NULL, 0, on_ep_connect);
}

/* ---- sockets and endpoints ------------------------------------------------------------------ */

/* Tries the next address.  The time that is left is divided equally among the addresses that are
 * left, and no address has more than connect_try_ms. */
void
login_connect_next(struct iscsi_login *l)
{
    uint64_t now = l->loop->now_ns, left;
    int r;

    if (++l->iaddr >= l->naddrs || now >= l->connect_until_ns) {
        connect_failed(l, l->iaddr >= l->naddrs ? l->connect_errno : ETIMEDOUT,
                       "cannot connect to");
        return;
    }
    left = (l->connect_until_ns - now) / (uint64_t)(l->naddrs - l->iaddr);
    if (l->cfg.connect_try_ms > 0 && left > l->cfg.connect_try_ms * LOOP_NS_PER_MS)
        left = l->cfg.connect_try_ms * LOOP_NS_PER_MS;
    l->connect_began_ns = now;
    loop_timer_start(l->loop, &l->step, left);
    l->attempt_over = false;
    l->connect_why.code = 0;
    if (!by_socket(l)) {
        connect_ep(l);
        return;
    }
    r = connect_socket(l);
    if (r < 0) {
        l->connect_errno = -r;
        login_post(l, LOGIN_EV_NEXT);
    }
}

void
login_connect_expired(struct iscsi_login *l)
{
    l->connect_errno = ETIMEDOUT;
    if (by_socket(l)) {
        stream_close(l->stream);
        l->stream = NULL;
        login_post(l, LOGIN_EV_NEXT);
        return;
    }
    if (l->ep_asked)
        l->attempt_over = true;
    else
        ep_drop(l);
}

void
login_connect_init(struct iscsi_login *l)
{
    ctl_ep_watch_init(&l->ep_watch, login_on_ep_event);
}

void
login_connect_stop(struct iscsi_login *l)
{
    ctl_ep_watch_del(&l->ep_watch);
    if (l->resolving != NULL)
        loop_resolve_cancel(l->loop, l->resolving);
    if (l->stream != NULL)
        stream_close(l->stream);
    l->resolving = NULL;
    l->stream = NULL;
}
