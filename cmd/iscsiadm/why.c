/* SPDX-License-Identifier: MIT */
/* iscsiadm -m session --why: who wants sessions, and what has happened to them; and their leases.
 */
#include <string.h>
#include <time.h>

#include "cmd/iscsiadm/adm.h"

#define WHY_DAY_S 86400

static double
why_number(const json_t *o, const char *name)
{
    return json_number_value(json_object_get(o, name));
}

/* A time of the day, with its day where that is not today or yesterday's night. */
static void
why_time(double unix_s, char *buf, size_t size)
{
    time_t t = (time_t)unix_s, now = time(NULL);
    struct tm tm;

    if (unix_s <= 0 || localtime_r(&t, &tm) == NULL)
        (void)snprintf(buf, size, "?");
    else
        (void)strftime(buf, size, now - t < WHY_DAY_S / 2 ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
}

static void
why_print_events(const json_t *o)
{
    const json_t *events = adm_list(o, "events");
    char when[32];

    if (json_array_size(events) > 0)
        (void)puts("    what has happened:");
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);

        why_time(why_number(e, "time"), when, sizeof(when));
        (void)printf("        %s  %s", when, adm_text(e, "text"));
        if (adm_number(e, "count") > 1)
            (void)printf(" (%lld times)", (long long)adm_number(e, "count"));
        (void)fputc('\n', stdout);
    }
}

static void
why_line(const char *what, const char *text)
{
    if (text[0] != '\0')
        (void)printf("    %s: %s\n", what, text);
}

static void
why_at(const char *what, const char *text, double unix_s)
{
    char when[32];

    if (text[0] == '\0')
        return;
    why_time(unix_s, when, sizeof(when));
    (void)printf("    %s: %s%s%s\n", what, text, unix_s > 0 ? ", at " : "", unix_s > 0 ? when : "");
}

void
adm_print_leases(const json_t *session)
{
    const json_t *leases = adm_list(session, "leases");

    if (json_array_size(leases) == 0)
        (void)printf("[%lld] no leases\n", (long long)adm_number(session, "sid"));
    for (size_t i = 0; i < json_array_size(leases); i++) {
        const json_t *l = json_array_get(leases, i);

        (void)printf("[%lld] %s: %lld s of %lld s left\n", (long long)adm_number(session, "sid"),
                     adm_text(l, "owner"), (long long)((adm_number(l, "left_ms") + 999) / 1000),
                     (long long)adm_number(l, "seconds"));
    }
}

static void
why_print_leases(const json_t *o)
{
    const json_t *leases = adm_list(o, "leases");

    for (size_t i = 0; i < json_array_size(leases); i++) {
        const json_t *l = json_array_get(leases, i);

        (void)printf("    lease: %s, %lld s of %lld s left, given by user %lld\n",
                     adm_text(l, "owner"), (long long)((adm_number(l, "left_ms") + 999) / 1000),
                     (long long)adm_number(l, "seconds"), (long long)adm_number(l, "uid"));
    }
}

/* The number of a session in brackets; one that is wanted and not there has none. */
static void
why_print_sid(const json_t *s)
{
    if (adm_number(s, "sid") > 0)
        (void)printf("[%lld] ", (long long)adm_number(s, "sid"));
    else
        (void)fputs("[-] ", stdout);
}

static void
why_session(const json_t *s)
{
    const json_t *asked = json_object_get(s, "asked");

    why_print_sid(s);
    (void)printf("%s\n", adm_text(s, "text"));
    (void)fputs(adm_text(s, "portal")[0] != '\0' ? "    portal: " : "", stdout);
    if (adm_text(s, "portal")[0] != '\0')
        adm_print_portal(adm_text(s, "portal"), adm_number(s, "tpgt"));
    (void)fputs(adm_text(s, "portal")[0] != '\0' ? "\n" : "", stdout);
    why_at("state", adm_text(s, "state_text"), why_number(s, "since"));
    why_at("asked for by", adm_text(asked, "text"), why_number(asked, "time"));
    why_line("why it stays or goes", adm_text(s, "keeps"));
    why_line("reason", adm_text(s, "reason"));
    if (adm_number(s, "next_try_ms") > 0)
        (void)printf("    next try: number %lld, in %.1f s\n", (long long)adm_number(s, "attempt"),
                     why_number(s, "next_try_ms") / 1000);
    why_print_leases(s);
    why_print_events(s);
}

static void
why_ended(const json_t *s)
{
    char when[32];

    why_time(why_number(s, "ended"), when, sizeof(when));
    why_print_sid(s);
    (void)printf("%s: has ended at %s: %s\n", adm_text(s, "target"), when, adm_text(s, "reason"));
    why_print_events(s);
}

int
adm_why(struct adm *adm, json_t *params)
{
    bool one = adm->args.sid >= 0;
    const json_t *sessions, *ended;
    char none[96] = "No active sessions.";
    json_t *result;
    int r;

    if (one)
        (void)snprintf(none, sizeof(none),
                       "There is no session %lld, and none that has ended within an hour",
                       (long long)adm->args.sid);
    r = adm_read(adm, "session.why", params, none, &result);
    if (r != 0)
        return one && r == MANAGE_NOT_FOUND ? MANAGE_LOOKUP : r;
    sessions = adm_list(result, "sessions");
    ended = adm_list(result, "ended");
    if (adm->args.json)
        (void)adm_print_json(result);
    if (!adm->args.json && adm_text(result, "data_plane")[0] != '\0' &&
        strcmp(adm_text(result, "data_plane"), "up") != 0)
        (void)puts("the data plane, iscsi-iod, is not there: sessions wait for it, and nothing is "
                   "logged in");
    for (size_t i = 0; !adm->args.json && i < json_array_size(sessions); i++)
        why_session(json_array_get(sessions, i));
    for (size_t i = 0; !adm->args.json && i < json_array_size(ended); i++)
        why_ended(json_array_get(ended, i));
    json_decref(result);
    return 0;
}
