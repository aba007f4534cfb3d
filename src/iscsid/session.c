/* SPDX-License-Identifier: MIT */
/* Methods about sessions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

METHOD(session_list_method)
{
    query_start(user, call, params, 0);
}

METHOD(session_stats_method)
{
    query_start(user, call, params, QUERY_SESSION | QUERY_LUNS | QUERY_STATS);
}

METHOD(session_logout_method)
{
    struct batch_options o = {.logout = true};
    struct filter all = {.db.tpgt = -1};
    struct lunette_error err;
    int64_t sid = 0;

    if (manage_get_int(params, "sid", MANAGE_OPTIONAL, 1, UINT32_MAX, &sid, &err) < 0)
        say_fail(call, &err);
    else
        batch_logout(user, call, &all, (uint32_t)sid, &o);
}

/* ---- why ------------------------------------------------------------------------------------ */

static const char *
why_wanted(const struct control_info *i)
{
    if (i->wanted == CONTROL_DOWN)
        return "it is wanted down";
    if (i->wanted == CONTROL_AS_FOUND)
        return "nobody has said whether it is wanted";
    return i->has_config ? "it is wanted up by its record or by who logged in"
                         : "it was found and has no record";
}

static json_t *
why_say(struct control_node *n, const struct control_info *i)
{
    char more[400] = "", next[80] = "", text[700];
    json_t *o = json_object();

    if (i->why.code != 0)
        (void)snprintf(more, sizeof(more), ": %s", i->why.msg);
    if (i->next_try_ns > 0)
        (void)snprintf(next, sizeof(next), "; try %u follows in %llu ms", i->attempt,
                       (unsigned long long)(i->next_try_ns / LOOP_NS_PER_MS));
    (void)snprintf(text, sizeof(text),
                   "%s: %s%s%s; %s; it has come back %u times; %u LUNs, %u of them exported",
                   control_node_name(n)->target, control_state_text(i->state), more, next,
                   why_wanted(i), i->reopens, i->luns, i->exports);
    say_put(o, "sid", json_integer(i->sid));
    say_put(o, "text", say_text(text));
    return o;
}

METHOD(session_why_method)
{
    struct iscsid *d = user;
    json_t *sessions = json_array();
    struct control_info info;
    struct lunette_error err;
    int64_t sid = 0;

    if (manage_get_int(params, "sid", MANAGE_OPTIONAL, 1, UINT32_MAX, &sid, &err) < 0) {
        json_decref(sessions);
        say_fail(call, &err);
        return;
    }
    for (struct control_node *n = NULL; (n = control_next(d->control, n)) != NULL;) {
        control_node_get_info(n, &info);
        if ((info.sid == 0 && info.wanted != CONTROL_UP) || (sid != 0 && info.sid != sid))
            continue;
        (void)json_array_append_new(sessions, why_say(n, &info));
    }
    if (json_array_size(sessions) == 0) {
        json_decref(sessions);
        manage_fail(call, MANAGE_NOT_FOUND, "there is no such session");
        return;
    }
    manage_reply(call, json_pack("{s:o}", "sessions", sessions));
}
