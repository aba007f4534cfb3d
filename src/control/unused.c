/* SPDX-License-Identifier: MIT */
/* control/lease.c - leases of a session, and its end when all of them have ended and nobody uses
 * it.
 *
 * A session that has no lease any more is looked at, once in control.idle_ns: LIST_LUNS page by
 * page, and GET_LUN_STATS of each LUN that is exported.  It ends when two of these looks, one after
 * the other, find that no export has a client and that no request was made between them.  Where
 * there is no session there is nobody who uses it, but whoever had it open may still wait for it to
 * come back; so a node that was up is given the same time.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"
#include "seam/ipc_lun.h"

/* A look at the LUNs of a session. */
struct lease_look {
    struct control_node *n;
    uint8_t lun[IPC_LUNS_PAGE][8]; /* of this page, exported */
    unsigned nluns, at;
    uint32_t last; /* index of the last unit of this page */
    bool more;
    uint64_t count; /* of requests, of all LUNs so far */
    uint32_t clients;
};

/* ---- leases that come and go ---------------------------------------------------------------- */

static void
lease_tell(struct control_node *n, enum control_event_type type, const struct node_lease *l)
{
    struct control_lease lease = {.uid = l->uid, .ttl_ns = l->ttl_ns};
    struct control_event ev = {.type = type, .node = n, .value = l->released, .lease = &lease};

    memcpy(lease.owner, l->owner, sizeof(lease.owner));
    control_tell(n->c, &ev);
}

/* Tells of those that are new, and takes those away that have ended.  Leases may come and go in
 * each call that tells. */
static void
leases_sort_out(struct control_node *n)
{
    struct node_leases *l = &n->leases;

    for (unsigned i = 0; i < l->n;) {
        struct node_lease now = l->lease[i];

        if (now.ends_ns <= n->c->loop->now_ns) {
            memcpy(l->last, now.owner, sizeof(l->last));
            memmove(&l->lease[i], &l->lease[i + 1], (l->n - i - 1) * sizeof(l->lease[0]));
            l->n--;
            lease_tell(n, CONTROL_LEASE_ENDED, &now);
            i = 0;
        } else if (!now.told) {
            l->lease[i].told = true;
            lease_tell(n, CONTROL_LEASE_GIVEN, &now);
            i = 0;
        } else {
            i++;
        }
    }
}

static uint64_t
leases_first_end(const struct node_leases *l)
{
    uint64_t first = UINT64_MAX;

    for (unsigned i = 0; i < l->n; i++)
        first = l->lease[i].ends_ns < first ? l->lease[i].ends_ns : first;
    return first;
}

static void
leases_wake_at(struct control_node *n, uint64_t ns)
{
    uint64_t now = n->c->loop->now_ns;

    loop_timer_start(n->c->loop, &n->leases.timer, ns > now ? ns - now : 0);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Have leases alone kept the session, and have all of them ended?  What was asked for in this turn
 * counts. */
static bool
unused_is_over(const struct control_node *n)
{
    const struct node_leases *l = &n->leases;

    for (unsigned i = 0; i < l->n; i++) {
        if (l->lease[i].ends_ns > n->c->loop->now_ns)
            return false;
    }
    return !l->kept && !l->kept_by_record && n->wanted == CONTROL_UP;
}

/* Nobody wants the session, and nobody uses it. */
static void
leases_end_session(struct control_node *n)
{
    struct node_leases *l = &n->leases;
    uint64_t since = n->c->loop->now_ns - l->over_ns;
    struct lunette_error why = {.code = 0};

    (void)lunette_fail(&why, -ETIME, LUNETTE_DOM_USAGE, 0,
                       "its last lease, that of %s, has ended %llu s ago, and nobody has used it "
                       "since",
                       l->last[0] != '\0' ? l->last : "somebody",
                       (unsigned long long)(since / LOOP_NS_PER_S));
    log_line(n->c->loop->log, LOG_LEVEL_INFO, "%s: the session is logged out: %s", n->name.target,
             why.msg);
    l->over = false;
    loop_timer_stop(n->c->loop, &l->timer);
    n->wanted = CONTROL_DOWN;
    n->wish_new = true;
    node_kick(n);
    node_tell(n, CONTROL_LEASES_OVER, 0, &why);
}

/* ---- looking -------------------------------------------------------------------------------- */

static void look_ask_list(struct control_node *n, uint32_t after);
static void look_ask_stats(struct control_node *n);

static void
look_end(struct control_node *n)
{
    free(n->leases.look);
    n->leases.look = NULL;
}

/* It could not be found out, so somebody may use it. */
static void
look_failed(struct control_node *n)
{
    look_end(n);
    n->leases.has_count = false;
    if (!unused_is_over(n))
        return;
    n->leases.look_ns = n->c->loop->now_ns + n->c->idle_ns;
    leases_wake_at(n, n->leases.look_ns);
}

static void
look_done(struct control_node *n)
{
    struct node_leases *l = &n->leases;
    bool idle = l->look->clients == 0 && l->has_count && l->count == l->look->count;

    l->clients = l->look->clients;
    l->has_count = l->clients == 0;
    l->count = l->look->count;
    look_end(n);
    if (!unused_is_over(n)) /* somebody has a lease again, or has asked without one */
        return;
    if (idle) {
        leases_end_session(n);
        return;
    }
    l->look_ns = n->c->loop->now_ns + n->c->idle_ns;
    leases_wake_at(n, l->look_ns);
}

static void
look_ask(struct control_node *n, struct iscsi_uevent *ev,
         void (*fn)(void *user, const struct iscsi_reply *rep))
{
    ev->sid = n->session.sid;
    if (ask_send(n->loop, &n->asks, ev, NULL, 0, fn, n) < 0)
        look_failed(n);
}

static void
look_on_stats(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;
    const struct ipc_lun_stats *s = &rep->r.lun_stats;

    assert(n->leases.look != NULL);
    if (rep->err < 0) { /* the LUN has gone meanwhile, or the session */
        look_failed(n);
        return;
    }
    /* Mixed, since one LUN may begin anew while another goes on. */
    n->leases.look->count = hash_u64(n->leases.look->count,
                                     s->read.reqs + s->write.reqs + s->flush.reqs +
                                         s->discard.reqs + s->write_zeroes.reqs + s->export_reads +
                                         s->export_writes + s->export_flushes + s->export_discards);
    n->leases.look->clients += (uint32_t)s->export_clients;
    look_ask_stats(n);
}

static void
look_ask_stats(struct control_node *n)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_LUN_STATS};
    struct lease_look *k = n->leases.look;

    if (k->at < k->nluns) {
        memcpy(ev.u.lun.lun, k->lun[k->at++], sizeof(ev.u.lun.lun));
        look_ask(n, &ev, look_on_stats);
    } else if (k->more) {
        look_ask_list(n, k->last);
    } else {
        look_done(n);
    }
}

static void
look_on_list(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;
    struct lease_look *k = n->leases.look;
    const uint8_t *at = rep->data, *end;
    struct ipc_lun_info info;

    assert(k != NULL);
    if (rep->err < 0 && rep->err != -EOPNOTSUPP) {
        look_failed(n);
        return;
    }
    k->nluns = k->at = 0;
    k->more = false; /* also where nobody stands above the sessions, and nothing is exported */
    end = rep->err == 0 ? at + rep->r.luns.data_len : at;
    while (k->nluns < IPC_LUNS_PAGE && ipc_lun_next(&at, end, &info)) {
        k->more = rep->r.luns.more;
        k->last = info.index;
        if (info.export_kind[0] != '\0')
            memcpy(k->lun[k->nluns++], info.lun, sizeof(info.lun));
    }
    look_ask_stats(n);
}

static void
look_ask_list(struct control_node *n, uint32_t after)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_LUNS};

    ev.u.list_luns.after = after;
    look_ask(n, &ev, look_on_list);
}

static void
look_begin(struct control_node *n)
{
    struct node_leases *l = &n->leases;

    if (l->look != NULL)
        return;
    if (n->c->loop->now_ns < l->look_ns) {
        leases_wake_at(n, l->look_ns);
        return;
    }
    l->look = calloc(1, sizeof(*l->look));
    if (l->look == NULL) {
        look_failed(n);
        return;
    }
    l->look->n = n;
    look_ask_list(n, 0);
}

/* ---- what is due ---------------------------------------------------------------------------- */

/* There is no session: nobody uses it, but where there was one somebody may wait for it. */
static void
leases_without_session(struct control_node *n)
{
    struct node_leases *l = &n->leases;
    uint64_t now = n->c->loop->now_ns;

    if (l->alone_ns == 0)
        l->alone_ns = now;
    l->look_ns = n->was_up ? l->alone_ns + n->c->idle_ns : now;
    if (now >= l->look_ns)
        leases_end_session(n);
    else
        leases_wake_at(n, l->look_ns);
}

static void
leases_are_over(struct control_node *n)
{
    struct node_leases *l = &n->leases;

    if (!l->over) {
        l->over = true;
        l->over_ns = n->c->loop->now_ns;
        l->look_ns = l->alone_ns = 0;
        l->has_count = false;
        l->clients = 0;
    }
    switch (n->state) {
    case CONTROL_IS_UP:
    case CONTROL_IS_LOST:
    case CONTROL_IS_GAVE_UP:
        l->alone_ns = 0;
        look_begin(n);
        break;
    case CONTROL_IS_DOWN:
    case CONTROL_IS_WAITING:
    case CONTROL_IS_QUEUED:
    case CONTROL_IS_LOGIN:
    case CONTROL_IS_FAILED:
        leases_without_session(n);
        break;
    case CONTROL_IS_AWAY:      /* there may be one, which nobody has looked for yet */
    case CONTROL_IS_CANCELING: /* the state that follows says what is to be done */
    case CONTROL_IS_LOGOUT:
    case CONTROL_STATES:
        loop_timer_stop(n->c->loop, &l->timer);
        break;
    }
}

void
unused_go_on(struct control_node *n)
{
    struct node_leases *l = &n->leases;

    leases_sort_out(n);
    if (unused_is_over(n)) {
        leases_are_over(n);
        return;
    }
    l->over = false;
    if (l->n > 0)
        leases_wake_at(n, leases_first_end(l));
    else
        loop_timer_stop(n->c->loop, &l->timer);
}

static void
leases_on_timer(struct loop_timer *t)
{
    struct control_node *n = container_of(t, struct control_node, leases.timer);

    node_kick(n);
}

void
unused_init(struct control_node *n)
{
    loop_timer_init(&n->leases.timer, leases_on_timer);
}
