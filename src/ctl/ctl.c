/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct call {
    struct list node;
    uint64_t seq;
    void (*fn)(void *user, const struct iscsi_reply *rep);
    void *user;
};

struct ctl {
    struct loop *loop;
    struct ipc *ipc;
    struct list calls;       /* in the order sent, so that the call of a reply is near the front */
    struct htab watches;     /* by (sid, cid), last added first */
    struct htab ep_watches;  /* by endpoint */
    struct list all, all_ep; /* the same watches, for what concerns each of them */
    struct list orphans;
    struct list challenges;
    struct list spare_calls; /* for requests that tidy up */
    unsigned reserved, nspare;
    void *spare; /* CTL_SPARE_SIZE bytes */
    bool spare_taken;
    bool closing; /* ctl_free runs: requests fail */
    struct ctl_stats stats;
};

/* The call is over: its memory fills up what is reserved, or is freed. */
static void
call_done(struct ctl *ctl, struct call *c)
{
    if (ctl->nspare == ctl->reserved) {
        free(c);
        return;
    }
    list_push_back(&ctl->spare_calls, &c->node);
    ctl->nspare++;
}

static struct call *
call_new(struct ctl *ctl, enum iscsi_uevent_type type)
{
    struct call *c = malloc(sizeof(*c));

    if (c != NULL || !ipc_tidies_up(type) || list_empty(&ctl->spare_calls))
        return c;
    assert(ctl->nspare > 0);
    ctl->nspare--;
    return container_of(list_pop_front(&ctl->spare_calls), struct call, node);
}

static void
ctl_on_reply(void *user, const struct iscsi_reply *rep)
{
    struct ctl *ctl = user;
    struct call over;

    LIST_FOREACH (n, &ctl->calls) {
        struct call *c = container_of(n, struct call, node);

        if (c->seq != rep->seq)
            continue;
        ctl->stats.replies++;
        list_del(&c->node);
        over = *c;
        call_done(ctl, c); /* first: fn may send the next request, for which this is kept */
        over.fn(over.user, rep);
        return;
    }
    ctl->stats.stray_replies++;
}

static void
ctl_watch_forgotten(struct ctl_watch *w)
{
    w->ctl = NULL;
    list_del(&w->all);
}

static void
ctl_ep_watch_forgotten(struct ctl_ep_watch *w)
{
    w->ctl = NULL;
    list_del(&w->all);
}

static void
ctl_on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    ctl_dispatch(user, ev, data);
}

static const struct ipc_events ctl_events = {.reply = ctl_on_reply, .event = ctl_on_event};

int
ctl_new(struct loop *loop, struct ipc *ipc, struct ctl **ret)
{
    struct ctl *ctl = calloc(1, sizeof(*ctl));

    if (ctl == NULL)
        return -ENOMEM;
    ctl->loop = loop;
    ctl->ipc = ipc;
    list_init(&ctl->calls);
    list_init(&ctl->spare_calls);
    list_init(&ctl->all);
    list_init(&ctl->all_ep);
    htab_init(&ctl->watches);
    htab_init(&ctl->ep_watches);
    list_init(&ctl->orphans);
    list_init(&ctl->challenges);
    ctl->spare = calloc(1, CTL_SPARE_SIZE);
    if (ctl->spare == NULL || ctl_reserve(ctl) < 0) {
        free(ctl->spare);
        free(ctl);
        return -ENOMEM;
    }
    ipc->ev = &ctl_events;
    ipc->ev_user = ctl;
    *ret = ctl;
    return 0;
}

int
ctl_reserve(struct ctl *ctl)
{
    struct call *c = malloc(sizeof(*c));

    if (c == NULL)
        return -ENOMEM;
    if (ipc_reserve(ctl->ipc) < 0) {
        free(c);
        return -ENOMEM;
    }
    ctl->reserved++;
    call_done(ctl, c);
    return 0;
}

void
ctl_unreserve(struct ctl *ctl)
{
    assert(ctl->reserved > 0);
    ipc_unreserve(ctl->ipc);
    ctl->reserved--;
    if (ctl->nspare <= ctl->reserved)
        return;
    ctl->nspare--;
    free(container_of(list_pop_front(&ctl->spare_calls), struct call, node));
}

void *
ctl_spare_take(struct ctl *ctl)
{
    if (ctl->spare_taken)
        return NULL;
    ctl->spare_taken = true;
    memset(ctl->spare, 0, CTL_SPARE_SIZE);
    return ctl->spare;
}

bool
ctl_spare_is(const struct ctl *ctl, const void *mem)
{
    return mem == ctl->spare;
}

void
ctl_spare_put(struct ctl *ctl, void *mem)
{
    assert(ctl->spare_taken && ctl_spare_is(ctl, mem));
    ctl->spare_taken = false;
}

static void
ctl_forget_watches(struct ctl *ctl)
{
    struct hnode *h;

    while ((h = htab_pop(&ctl->watches)) != NULL)
        ctl_watch_forgotten(container_of(h, struct ctl_watch, node));
    while ((h = htab_pop(&ctl->ep_watches)) != NULL)
        ctl_ep_watch_forgotten(container_of(h, struct ctl_ep_watch, node));
    htab_fini(&ctl->watches);
    htab_fini(&ctl->ep_watches);
}

void
ctl_free(struct ctl **pctl)
{
    struct ctl *ctl = *pctl;
    struct list *n;

    if (ctl == NULL)
        return;
    *pctl = NULL;
    ctl->closing = true;
    while ((n = list_pop_front(&ctl->orphans)) != NULL) {
        struct ctl_orphan *o = container_of(n, struct ctl_orphan, node);

        o->destroy(o);
    }
    while ((n = list_pop_front(&ctl->calls)) != NULL)
        free(container_of(n, struct call, node));
    ctl_forget_watches(ctl);
    assert(!ctl->spare_taken);
    while (ctl->reserved > 0)
        ctl_unreserve(ctl);
    free(ctl->spare);
    ctl->ipc->ev = NULL;
    ctl->ipc->ev_user = NULL;
    free(ctl);
}

struct loop *
ctl_loop(const struct ctl *ctl)
{
    return ctl->loop;
}

const struct ctl_stats *
ctl_get_stats(const struct ctl *ctl)
{
    return &ctl->stats;
}

bool
ctl_idle(const struct ctl *ctl)
{
    return list_empty(&ctl->calls) && list_empty(&ctl->orphans);
}

int
ctl_request(struct ctl *ctl, struct iscsi_uevent *ev, const void *data, uint32_t data_len,
            void (*fn)(void *user, const struct iscsi_reply *rep), void *user)
{
    struct call *c;
    int r;

    assert(fn != NULL);
    assert(ev->type != ISCSI_UEVENT_UNKNOWN && ev->type < ISCSI_UEVENT_COUNT);
    assert(data_len <= IPC_PDU_DATA_MAX);
    if (ctl->closing)
        return -EPIPE;
    c = call_new(ctl, ev->type);
    if (c == NULL)
        return -ENOMEM;
    r = ipc_request(ctl->ipc, ev, data, data_len);
    if (r < 0) {
        call_done(ctl, c);
        return r;
    }
    ctl->stats.requests++;
    *c = (struct call){.seq = ev->seq, .fn = fn, .user = user};
    list_push_back(&ctl->calls, &c->node);
    return 0;
}

void
ctl_watch_init(struct ctl_watch *w,
               void (*fn)(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data))
{
    *w = (struct ctl_watch){.fn = fn};
}

static uint64_t
hash_of(uint32_t sid, uint32_t cid)
{
    return hash_u64(0, (uint64_t)sid << 17 | cid);
}

static void
ctl_watch_enter(struct ctl *ctl, struct ctl_watch *w, uint32_t sid, uint32_t cid)
{
    assert(w->fn != NULL);
    assert(w->ctl == NULL);
    w->ctl = ctl;
    w->sid = sid;
    w->cid = cid;
    htab_add(&ctl->watches, &w->node, hash_of(sid, cid));
    list_push_back(&ctl->all, &w->all);
}

void
ctl_watch_add(struct ctl *ctl, struct ctl_watch *w, uint32_t sid, uint16_t cid)
{
    ctl_watch_enter(ctl, w, sid, cid);
}

void
ctl_watch_add_session(struct ctl *ctl, struct ctl_watch *w, uint32_t sid)
{
    ctl_watch_enter(ctl, w, sid, CTL_NO_CID);
}

void
ctl_watch_del(struct ctl_watch *w)
{
    if (w->ctl == NULL)
        return;
    htab_del(&w->ctl->watches, &w->node);
    ctl_watch_forgotten(w);
}

void
ctl_ep_watch_init(struct ctl_ep_watch *w, void (*fn)(struct ctl_ep_watch *w, int err))
{
    *w = (struct ctl_ep_watch){.fn = fn};
}

static struct ctl_ep_watch *
ctl_ep_watch_of(const struct ctl *ctl, uint64_t ep)
{
    struct hnode *n = htab_find(&ctl->ep_watches, hash_u64(0, ep));

    for (; n != NULL; n = htab_next(n)) {
        struct ctl_ep_watch *w = container_of(n, struct ctl_ep_watch, node);

        if (w->ep == ep)
            return w;
    }
    return NULL;
}

void
ctl_ep_watch_add(struct ctl *ctl, struct ctl_ep_watch *w, uint64_t ep)
{
    assert(w->fn != NULL);
    assert(w->ctl == NULL);
    assert(ctl_ep_watch_of(ctl, ep) == NULL);
    w->ctl = ctl;
    w->ep = ep;
    htab_add(&ctl->ep_watches, &w->node, hash_u64(0, ep));
    list_push_back(&ctl->all_ep, &w->all);
}

void
ctl_ep_watch_del(struct ctl_ep_watch *w)
{
    if (w->ctl == NULL)
        return;
    htab_del(&w->ctl->ep_watches, &w->node);
    ctl_ep_watch_forgotten(w);
}

static void
ctl_dispatch_ep(struct ctl *ctl, uint64_t ep, int err)
{
    struct ctl_ep_watch *w = ctl_ep_watch_of(ctl, ep);

    if (w == NULL) {
        ctl->stats.stray_events++;
        return;
    }
    ctl->stats.events++;
    w->fn(w, err);
}

/* The data plane has dropped events: each watch may have missed one.  A watch may go, and others
 * may come, in each call. */
static void
ctl_dispatch_lost(struct ctl *ctl, const struct iscsi_kevent *ev)
{
    struct list due, due_ep;
    struct list *n;

    ctl->stats.events++;
    list_init(&due);
    list_init(&due_ep);
    list_splice(&due, &ctl->all);
    list_splice(&due_ep, &ctl->all_ep);
    while ((n = list_pop_front(&due)) != NULL) {
        struct ctl_watch *w = container_of(n, struct ctl_watch, all);

        list_push_back(&ctl->all, n);
        w->fn(w, ev, NULL);
    }
    while ((n = list_pop_front(&due_ep)) != NULL) {
        struct ctl_ep_watch *w = container_of(n, struct ctl_ep_watch, all);

        list_push_back(&ctl->all_ep, n);
        w->fn(w, -ENOBUFS);
    }
}

/* Tells whether an event is one for the watch of a session, and not of a connection. */
static bool
ctl_event_of_session(enum iscsi_kevent_type type)
{
    return type == ISCSI_KEVENT_SESSION_STATE || type == ISCSI_KEVENT_LUN ||
           type == ISCSI_KEVENT_EXPORT_STOPPED;
}

void
ctl_dispatch(struct ctl *ctl, const struct iscsi_kevent *ev, const void *data)
{
    uint32_t cid = ev->cid;
    struct hnode *n;

    if (ev->type == ISCSI_KEVENT_EP_EVENT) {
        ctl_dispatch_ep(ctl, ev->u.ep_event.ep, ev->u.ep_event.err);
        return;
    }
    if (ev->type == ISCSI_KEVENT_LOST) {
        ctl_dispatch_lost(ctl, ev);
        return;
    }
    if (ctl_event_of_session(ev->type))
        cid = CTL_NO_CID;
    n = htab_find(&ctl->watches, hash_of(ev->sid, cid));
    for (; n != NULL; n = htab_next(n)) {
        struct ctl_watch *w = container_of(n, struct ctl_watch, node);

        if (w->sid == ev->sid && w->cid == cid) {
            ctl->stats.events++;
            w->fn(w, ev, data);
            return;
        }
    }
    ctl->stats.stray_events++;
}

void
ctl_adopt(struct ctl *ctl, struct ctl_orphan *o)
{
    list_push_back(&ctl->orphans, &o->node);
}

void
ctl_challenge_add(struct ctl *ctl, struct ctl_challenge *c)
{
    list_push_back(&ctl->challenges, &c->node);
}

bool
ctl_challenge_is_ours(const struct ctl *ctl, const uint8_t *bytes, size_t len)
{
    while (len > CTL_CHALLENGE_LEN && bytes[0] == 0) {
        bytes++;
        len--;
    }
    if (len != CTL_CHALLENGE_LEN)
        return false;
    LIST_FOREACH (n, &ctl->challenges) {
        const struct ctl_challenge *c = container_of(n, struct ctl_challenge, node);

        if (memcmp(c->bytes, bytes, CTL_CHALLENGE_LEN) == 0)
            return true;
    }
    return false;
}
