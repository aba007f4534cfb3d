/* SPDX-License-Identifier: MIT */
/* What has happened to sessions: the last events of each, and the last sessions that have ended.
 *
 * A node has a history from its first login, or from when it was found, until it is down; then the
 * history goes to those that have ended, of which the last ones are kept for a while.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/history.h"
#include "iscsid/internal.h"

#define HISTORY_TEXT_MAX 240 /* bytes of the text of an event, with the NUL */
#define HISTORY_ENDED    64  /* sessions that have ended */
#define HISTORY_KEPT_NS  (3600 * LOOP_NS_PER_S)

void
histories_init(struct histories *all)
{
    *all = (struct histories){.n = 0};
    list_init(&all->ended);
}

static void
history_free(struct history *h)
{
    for (unsigned i = 0; i < h->n; i++)
        free(h->events[i].text);
    list_del(&h->node);
    free(h->by);
    free(h);
}

void
histories_fini(struct iscsid *d)
{
    struct list *at;

    if (d->control != NULL) {
        for (struct control_node *n = NULL; (n = control_next(d->control, n)) != NULL;) {
            struct history *h = control_node_user(n);

            if (h != NULL)
                history_free(h);
            control_node_set_user(n, NULL);
        }
    }
    while ((at = list_pop_front(&d->histories.ended)) != NULL)
        history_free(container_of(at, struct history, node));
}

/* The history of a node; one begins where it has none.  NULL: no memory, and then nothing is kept.
 */
static struct history *
history_of(struct iscsid *d, struct control_node *n)
{
    struct history *h = control_node_user(n);

    if (h != NULL)
        return h;
    h = calloc(1, sizeof(*h));
    if (h == NULL)
        return NULL;
    list_init(&h->node);
    h->name = *control_node_name(n);
    h->began_ns = d->loop->now_ns;
    control_node_set_user(n, h);
    return h;
}

/* The same again counts, so that it does not push out what came before: the same words, or another
 * try, of which there may be hundreds that fail in one way or another, or another connection of
 * several, which come and go with a bad path. */
static bool
history_is_again(const struct history_event *e, const char *what, const char *text)
{
    if (strcmp(e->what, what) != 0)
        return false;
    return strcmp(what, "try") == 0 || strcmp(what, "connection") == 0 ||
           (e->text != NULL && text != NULL && strcmp(e->text, text) == 0);
}

/* Adds an event, or counts the last one once more. */
static void
history_add(struct iscsid *d, struct control_node *n, const char *what, const char *text)
{
    struct history *h = history_of(d, n);
    struct history_event *e;
    char *copy;

    if (h == NULL)
        return;
    copy = strndup(text, HISTORY_TEXT_MAX - 1);
    e = h->n > 0 ? &h->events[h->n - 1] : NULL;
    if (e != NULL && history_is_again(e, what, copy)) {
        e->count++;
    } else {
        if (h->n == HISTORY_EVENTS) {
            free(h->events[0].text);
            memmove(&h->events[0], &h->events[1], (HISTORY_EVENTS - 1) * sizeof(h->events[0]));
            h->n--;
        }
        e = &h->events[h->n++];
        *e = (struct history_event){.what = what, .count = 1};
    }
    free(e->text);
    e->text = copy;
    e->ns = d->loop->now_ns;
}

static void history_say(struct iscsid *d, struct control_node *n, const char *what, const char *fmt,
                        ...) __attribute__((format(printf, 4, 5)));

static void
history_say(struct iscsid *d, struct control_node *n, const char *what, const char *fmt, ...)
{
    char text[HISTORY_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    history_add(d, n, what, text);
}

void
history_forget_old(struct iscsid *d)
{
    struct histories *all = &d->histories;

    while (!list_empty(&all->ended)) {
        struct history *h = container_of(all->ended.next, struct history, node);

        if (all->n <= HISTORY_ENDED && d->loop->now_ns - h->ended_ns < HISTORY_KEPT_NS)
            return;
        history_free(h);
        all->n--;
    }
}

static void
history_end(struct iscsid *d, struct control_node *n)
{
    struct history *h = control_node_user(n);

    if (h == NULL)
        return;
    control_node_set_user(n, NULL);
    h->ended_ns = d->loop->now_ns;
    list_push_back(&d->histories.ended, &h->node);
    d->histories.n++;
    history_forget_old(d);
}

/* ---- who --------------------------------------------------------------------------------------
 */

const char *
asker_text(const struct control_asker *a, char buf[ASKER_TEXT_MAX])
{
    static const char *const ways[CONTROL_ASKED_WAYS] = {
        [CONTROL_ASKED_UNKNOWN] = "somebody whom nobody has noted",
        [CONTROL_ASKED_STARTUP] = "its record, at the start of the daemon",
        [CONTROL_ASKED_DISCOVERY] = "a discovery that logs in to what it finds"};

    if (a->how != CONTROL_ASKED_CALLER)
        return ways[a->how];
    if (a->pid > 0)
        (void)snprintf(buf, ASKER_TEXT_MAX, "user %u, process %d", a->uid, a->pid);
    else
        (void)snprintf(buf, ASKER_TEXT_MAX, "user %u", a->uid);
    return buf;
}

void
history_asked(struct iscsid *d, struct control_node *n, const struct control_asker *a,
              const char *lease)
{
    char buf[ASKER_TEXT_MAX];

    struct history *h = control_node_user(n);

    control_node_set_asker(n, a);
    if (h != NULL) { /* a logout that had been asked for before is overtaken */
        free(h->by);
        h->by = NULL;
    }
    history_say(d, n, "asked", "asked for by %s%s%s", asker_text(a, buf),
                lease != NULL ? ", with a lease of " : "", lease != NULL ? lease : "");
}

void
history_leaves(struct iscsid *d, struct control_node *n, const char *by)
{
    struct history *h = history_of(d, n);

    if (h == NULL)
        return;
    free(h->by);
    h->by = strdup(by);
    history_add(d, n, "leave", by);
}

const char *
history_reason(const struct control_node *n)
{
    const struct history *h = control_node_user(n);

    return h != NULL && h->by != NULL ? h->by : "";
}

/* ---- what the policy tells --------------------------------------------------------------------
 */

/* The session is up, for the first time or again. */
static void
history_up(struct iscsid *d, struct control_node *n, const struct control_info *info)
{
    struct history *h = history_of(d, n);

    if (h == NULL || h->lost_ns == 0)
        history_say(d, n, "up", "logged in, session %u", info->sid);
    else
        history_say(d, n, "back", "logged in again after %.1f s, with try %u",
                    (double)(d->loop->now_ns - h->lost_ns) / 1e9, h->tries + 1);
    if (h != NULL)
        h->lost_ns = h->tries = 0;
}

static void
history_lost(struct iscsid *d, struct control_node *n, const char *what, const char *text,
             const struct lunette_error *why)
{
    struct history *h = history_of(d, n);

    if (h != NULL && h->lost_ns == 0) {
        h->lost_ns = d->loop->now_ns;
        h->tries = 0;
    }
    if (h != NULL)
        h->found = false;
    history_say(d, n, what, "%s%s%s", text, why != NULL ? ": " : "", why != NULL ? why->msg : "");
}

static void
history_state(struct iscsid *d, const struct control_event *ev, const struct control_info *info)
{
    struct history *h = control_node_user(ev->node);
    const char *why = ev->why != NULL ? ev->why->msg : "no reason is known";

    switch (info->state) {
    case CONTROL_IS_UP:
        if (h == NULL || !h->found) /* CONTROL_FOUND has said so */
            history_up(d, ev->node, info);
        if (h != NULL)
            h->found = false;
        break;
    case CONTROL_IS_LOST:
        history_lost(d, ev->node, "lost", "has lost its connection", ev->why);
        break;
    case CONTROL_IS_GAVE_UP:
        history_say(d, ev->node, "gave-up", "is not tried again: %s", why);
        break;
    case CONTROL_IS_FAILED:
        history_say(d, ev->node, "failed", "could not log in, and is not tried again: %s", why);
        break;
    case CONTROL_IS_AWAY:
        if (h != NULL && info->up_ns == 0 && h->sid != 0)
            history_lost(d, ev->node, "away", "the session is not there any more", ev->why);
        break;
    case CONTROL_IS_LOGOUT:
        history_say(d, ev->node, "logout", "is being logged out");
        break;
    case CONTROL_IS_DOWN:
        history_end(d, ev->node);
        break;
    case CONTROL_IS_WAITING: /* CONTROL_WAITING says more */
    case CONTROL_IS_QUEUED:
    case CONTROL_IS_LOGIN:
    case CONTROL_IS_CANCELING:
    case CONTROL_STATES:
        break;
    }
}

static void
history_waits(struct iscsid *d, const struct control_event *ev, const struct control_info *info)
{
    struct history *h = history_of(d, ev->node);

    if (h != NULL)
        h->tries =
            info->state == CONTROL_IS_LOST && info->attempt > 0 ? info->attempt - 1 : h->tries + 1;
    history_say(d, ev->node, "try", "a try to log in has failed: %s", ev->why->msg);
}

/* Those that are added after a login are no news. */
static void
history_conn(struct iscsid *d, const struct control_event *ev, const struct control_info *info)
{
    struct history *h = history_of(d, ev->node);
    unsigned cid = (unsigned)ev->value;

    if (h == NULL || (ev->why == NULL && !h->conn_lost))
        return;
    h->conn_lost = ev->why != NULL || info->conns < info->conns_wanted;
    if (ev->why == NULL)
        history_say(d, ev->node, "connection", "connection %u is logged in, one of %u", cid,
                    info->conns);
    else if (info->conns > 0)
        history_say(d, ev->node, "connection", "connection %u is lost, %u of %u go on: %s", cid,
                    info->conns, info->conns_wanted,
                    ev->why->code < 0 ? ev->why->msg : "it has ended");
    else
        history_say(d, ev->node, "connection",
                    "connection %u is lost, and I/O waits for another: %s", cid,
                    ev->why->code < 0 ? ev->why->msg : "it has ended");
}

void
history_event(struct iscsid *d, const struct control_event *ev, const struct control_info *info)
{
    const char *owner = ev->lease != NULL ? ev->lease->owner : "";
    struct history *h;

    switch (ev->type) {
    case CONTROL_FOUND:
        history_say(d, ev->node, "found", "found in the data plane, session %u", info->sid);
        h = control_node_user(ev->node);
        if (h != NULL) {
            h->found = true;
            h->lost_ns = 0;
        }
        break;
    case CONTROL_STATE:
        history_state(d, ev, info);
        break;
    case CONTROL_WAITING:
        history_waits(d, ev, info);
        break;
    case CONTROL_CONN:
        history_conn(d, ev, info);
        break;
    case CONTROL_FAILING:
        history_say(d, ev->node, "failing", "I/O fails until it is back: %s", ev->why->msg);
        break;
    case CONTROL_EXPORT_STOPPED:
        history_say(d, ev->node, "export", "an export has ended: %s", ev->why->msg);
        break;
    case CONTROL_TROUBLE:
        history_say(d, ev->node, "trouble", "%s", ev->why->msg);
        break;
    case CONTROL_LEASE_GIVEN:
        history_say(d, ev->node, "lease-given", "%s has a lease, of %llu s", owner,
                    (unsigned long long)(ev->lease->ttl_ns / LOOP_NS_PER_S));
        break;
    case CONTROL_LEASE_ENDED:
        history_say(d, ev->node, "lease-ended", "the lease of %s %s", owner,
                    ev->value != 0 ? "was released" : "has ended");
        break;
    case CONTROL_LEASES_OVER:
        history_leaves(d, ev->node, ev->why->msg);
        break;
    case CONTROL_GONE:
        history_end(d, ev->node);
        break;
    case CONTROL_LOOP:
    case CONTROL_READY:
    case CONTROL_MOVED:
    case CONTROL_SCANNED:
    case CONTROL_LUN:
    case CONTROL_EXPORTED:
        break;
    }
    h = ev->node != NULL ? control_node_user(ev->node) : NULL;
    if (h != NULL && info->sid != 0)
        h->sid = info->sid;
}
