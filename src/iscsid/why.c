/* SPDX-License-Identifier: MIT */
/* session.why: who wants sessions, how they are and what has happened to them, also those that are
 * wanted and not there, and those that have ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "iscsid/internal.h"

/* Times are told as seconds since 1970, by the clock of now: what was kept is the loop's. */
struct why_clock {
    uint64_t now_ns;
    double unix_s;
};

static struct why_clock
why_now(const struct iscsid *d)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (struct why_clock){.now_ns = d->loop->now_ns,
                              .unix_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9};
}

static void
why_put_time(json_t *o, const char *name, const struct why_clock *c, uint64_t ns)
{
    if (ns > 0)
        say_put(o, name, json_real(c->unix_s - (double)(int64_t)(c->now_ns - ns) / 1e9));
}

static json_t *
why_asker(const struct control_asker *a, const struct why_clock *c)
{
    static const char *const ways[CONTROL_ASKED_WAYS] = {"unknown", "startup", "caller",
                                                         "discovery"};
    char buf[ASKER_TEXT_MAX];
    json_t *o = json_object();

    say_put(o, "by", json_string(ways[a->how]));
    if (a->how == CONTROL_ASKED_CALLER) {
        say_put(o, "uid", json_integer(a->uid));
        if (a->pid > 0)
            say_put(o, "pid", json_integer(a->pid));
    }
    why_put_time(o, "time", c, a->at_ns);
    say_put(o, "text", json_string(asker_text(a, buf)));
    return o;
}

static json_t *
why_events(const struct history *h, const struct why_clock *c)
{
    json_t *list = json_array();

    for (unsigned i = 0; h != NULL && i < h->n; i++) {
        const struct history_event *e = &h->events[i];
        json_t *o = json_object();

        why_put_time(o, "time", c, e->ns);
        say_put(o, "event", json_string(e->what));
        if (e->count > 1)
            say_put(o, "count", json_integer(e->count));
        say_put(o, "text", say_text(e->text != NULL ? e->text : e->what));
        (void)json_array_append_new(list, o);
    }
    return list;
}

/* ---- sentences ------------------------------------------------------------------------------ */

/* "1 LUN", "2 LUNs". */
#define WHY_COUNT_MAX 24
static const char *
why_count(unsigned n, const char *what, char buf[WHY_COUNT_MAX])
{
    (void)snprintf(buf, WHY_COUNT_MAX, "%u %s%s", n, what, n == 1 ? "" : "s");
    return buf;
}

/* The lease that holds longest. */
static bool
why_last_lease(const struct control_node *n, struct control_lease *ret)
{
    struct control_lease l;
    bool any = false;

    for (unsigned i = 0; control_node_lease(n, i, &l); i++) {
        if (!any || l.left_ns > ret->left_ns)
            *ret = l;
        any = true;
    }
    return any;
}

/* What a session waits for that nobody has a lease of any more. */
static void
why_over(const struct control_info *i, char *buf, size_t size)
{
    char clients[WHY_COUNT_MAX];

    if (i->clients > 0)
        (void)snprintf(buf, size,
                       "all its leases have ended, but its exports have %s: it is looked at again "
                       "in %llu s",
                       why_count(i->clients, "client", clients),
                       (unsigned long long)(i->idle_ns / LOOP_NS_PER_S));
    else
        (void)snprintf(buf, size,
                       "all its leases have ended: it is logged out if it is unused until it is "
                       "looked at again, in %llu s",
                       (unsigned long long)(i->idle_ns / LOOP_NS_PER_S));
}

/* Who keeps it, or why nobody does. */
static void
why_kept(const struct control_node *n, const struct control_info *i, char *buf, size_t size)
{
    struct control_lease l;
    char asker[ASKER_TEXT_MAX];

    if (i->wanted == CONTROL_DOWN)
        (void)snprintf(buf, size, "nobody wants it: %s",
                       history_reason(n)[0] != '\0' ? history_reason(n) : "somebody logged out");
    else if (!i->has_config)
        (void)snprintf(buf, size, "it was found and has no record");
    else if (i->kept_by_record)
        (void)snprintf(buf, size, "its record wants it at any time (node.startup)");
    else if (i->kept)
        (void)snprintf(buf, size, "wanted by %s, until somebody logs out",
                       asker_text(&i->asker, asker));
    else if (why_last_lease(n, &l))
        (void)snprintf(buf, size, "kept by leases alone, the last one for %llu s, that of %s",
                       (unsigned long long)(l.left_ns / LOOP_NS_PER_S), l.owner);
    else
        why_over(i, buf, size);
}

static void
why_sentence(const struct control_node *n, const struct control_info *i, const char *kept,
             char *text, size_t size)
{
    char more[400] = "", next[80] = "", back[24 + WHY_COUNT_MAX] = "", times[WHY_COUNT_MAX],
         luns[WHY_COUNT_MAX], conns[64] = "";

    if (i->conns_wanted > 1)
        (void)snprintf(conns, sizeof(conns), ", %u of %u connections", i->conns, i->conns_wanted);
    if (i->why.code != 0)
        (void)snprintf(more, sizeof(more), ": %s", i->why.msg);
    if (i->next_try_ns > 0)
        (void)snprintf(next, sizeof(next), "; try %u follows in %llu ms", i->attempt,
                       (unsigned long long)(i->next_try_ns / LOOP_NS_PER_MS));
    if (i->reopens > 0)
        (void)snprintf(back, sizeof(back), "; it has come back %s",
                       i->reopens == 1 ? "once" : why_count(i->reopens, "time", times));
    (void)snprintf(text, size, "%s: %s%s%s%s; %s%s; %s, %u exported", control_node_name(n)->target,
                   control_state_text(i->state), conns, more, next, kept, back,
                   why_count(i->luns, "LUN", luns), i->exports);
}

/* ---- sessions ------------------------------------------------------------------------------- */

static json_t *
why_name(const struct control_name *name, uint32_t sid)
{
    struct nodedb_id id;
    json_t *o;

    id_of_name(name, &id);
    o = say_id(&id);
    say_put(o, "sid", json_integer(sid));
    return o;
}

static void
why_put_progress(json_t *o, const struct control_info *i)
{
    if (i->why.code != 0)
        say_put(o, "reason", say_text(i->why.msg));
    if (i->attempt > 0)
        say_put(o, "attempt", json_integer(i->attempt));
    if (i->next_try_ns > 0)
        say_put(o, "next_try_ms", json_integer((json_int_t)(i->next_try_ns / LOOP_NS_PER_MS)));
    if (i->down_ns > 0)
        say_put(o, "down_ms", json_integer((json_int_t)(i->down_ns / LOOP_NS_PER_MS)));
    say_put(o, "reopens", json_integer(i->reopens));
    say_put(o, "luns", json_integer(i->luns));
    say_put(o, "exports", json_integer(i->exports));
}

static json_t *
why_say(struct control_node *n, const struct control_info *i, const struct why_clock *c)
{
    char kept[300], text[1100];
    json_t *o = why_name(control_node_name(n), i->sid);

    why_kept(n, i, kept, sizeof(kept));
    why_sentence(n, i, kept, text, sizeof(text));
    say_put(o, "text", say_text(text));
    say_put(o, "state", json_string(control_state_name(i->state)));
    say_put(o, "state_text", json_string(control_state_text(i->state)));
    why_put_time(o, "since", c, i->state_ns);
    why_put_time(o, "up_since", c, i->up_ns);
    say_put(o, "wanted", json_boolean(i->wanted == CONTROL_UP));
    say_put(o, "record", json_boolean(i->has_config));
    say_put(o, "kept_by_record", json_boolean(i->kept_by_record));
    say_put(o, "kept", json_boolean(i->kept || i->kept_by_record));
    say_put(o, "keeps", say_text(kept));
    say_put(o, "asked", why_asker(&i->asker, c));
    say_put(o, "leases", say_leases(n));
    why_put_progress(o, i);
    say_put(o, "events", why_events(control_node_user(n), c));
    return o;
}

static json_t *
why_say_ended(const struct history *h, const struct why_clock *c)
{
    const char *last = h->n > 0 ? h->events[h->n - 1].text : NULL;
    const char *reason = h->by != NULL ? h->by : last != NULL ? last : "nobody has said why";
    json_t *o = why_name(&h->name, h->sid);

    why_put_time(o, "began", c, h->began_ns);
    why_put_time(o, "ended", c, h->ended_ns);
    say_put(o, "reason", say_text(reason));
    say_put(o, "events", why_events(h, c));
    return o;
}

METHOD(session_why_method)
{
    struct iscsid *d = user;
    json_t *sessions = json_array(), *ended = json_array();
    struct why_clock clock = why_now(d);
    struct control_info info;
    struct lunette_error err;
    int64_t sid = 0;

    if (manage_get_int(params, "sid", MANAGE_OPTIONAL, 1, UINT32_MAX, &sid, &err) < 0) {
        json_decref(sessions);
        json_decref(ended);
        say_fail(call, &err);
        return;
    }
    for (struct control_node *n = NULL; (n = control_next(d->control, n)) != NULL;) {
        control_node_get_info(n, &info);
        if ((info.sid == 0 && info.wanted != CONTROL_UP) || (sid != 0 && info.sid != sid))
            continue;
        (void)json_array_append_new(sessions, why_say(n, &info, &clock));
    }
    history_forget_old(d);
    LIST_FOREACH (at, &d->histories.ended) {
        const struct history *h = container_of(at, struct history, node);

        if (sid == 0 || h->sid == sid)
            (void)json_array_append_new(ended, why_say_ended(h, &clock));
    }
    /* Where the data plane is not there, that is why there is no session. */
    if (json_array_size(sessions) == 0 && json_array_size(ended) == 0 &&
        (sid != 0 || control_is_ready(d->control))) {
        json_decref(sessions);
        json_decref(ended);
        manage_fail(call, MANAGE_NOT_FOUND, "there is no such session");
        return;
    }
    manage_reply(call, json_pack("{s:o,s:o,s:s}", "sessions", sessions, "ended", ended,
                                 "data_plane", say_plane_state(d)));
}
