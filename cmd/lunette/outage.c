/* SPDX-License-Identifier: MIT */
/* cmd/lunette/outage.c - says that a connection was lost, that it is tried again, and that it is
 * back, while the command goes on.
 *
 * A connection that is lost every moment would fill the screen: lines about others come later and
 * later, and what none told of is counted.  What ends the command is not told here, since the error
 * that it ends with does.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/lunette/cli.h"
#include "cmd/lunette/progress.h"

#define OUTAGE_WAIT_MIN 2000000000u /* between the lines about two losses, at first */
#define OUTAGE_WAIT_MAX                                                                            \
    60000000000u /* and at last; so long without a loss, and it is as at first */
#define OUTAGE_TRIES_NS 10000000000u /* between the lines about attempts of one */
#define OUTAGE_LONG_MS  2000         /* a line tells of one that lasts so long in any case */

/* One line, above the progress.  For a program that reads the progress it is an object, too. */
static void __attribute__((format(printf, 3, 4)))
outage_say(const struct cli *cli, const char *event, const char *fmt, ...)
{
    char text[800];
    va_list ap;

    if (cli->quiet)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (cli->progress != NULL)
        progress_clear(cli->progress);
    if (cli->progress != NULL && cli->progress->json)
        progress_event(cli->progress, event, text);
    else
        note("%s: %s", cli->cmd->name, text);
}

/* ", trying again for 118 s", or what stands in its place. */
static const char *
outage_limit(const struct cli *cli, const struct lunette_event *ev, char *buf, size_t size)
{
    if (cli->outages.endless)
        return ", trying again";
    if (ev->give_up_ms < 0)
        return ", trying again until it is back";
    if (ev->give_up_ms == 0)
        return "";
    snprintf(buf, size, ", trying again for %lld s", (long long)(ev->give_up_ms + 999) / 1000);
    return buf;
}

static void
outage_tell(struct cli *cli, const struct lunette_event *ev, const char *what)
{
    struct outages *o = &cli->outages;
    char limit[64];

    o->shown = true;
    o->tries_ns = now_ns();
    snprintf(o->reason, sizeof(o->reason), "%s", ev->why);
    outage_say(cli, lunette_event_name(ev->type), "%s (%s)%s", what, ev->why,
               outage_limit(cli, ev, limit, sizeof(limit)));
}

/* Whether a line is due about a loss that comes now; first: there was none before, or long ago. */
static bool
outage_due(bool first, uint64_t now, uint64_t *told_ns, uint64_t *wait_ns)
{
    if (first)
        *wait_ns = OUTAGE_WAIT_MIN;
    else if (now - *told_ns < *wait_ns)
        return false;
    else if (*wait_ns < OUTAGE_WAIT_MAX)
        *wait_ns *= 2;
    *told_ns = now;
    return true;
}

static void
outage_lost(struct cli *cli, const struct lunette_event *ev)
{
    struct outages *o = &cli->outages;
    uint64_t now = now_ns();

    if (o->down++ > 0) /* the other side of a copy, at the same target most likely */
        return;
    bool due = outage_due(o->count == 0 || now - o->since_ns >= OUTAGE_WAIT_MAX, now, &o->told_ns,
                          &o->wait_ns);
    o->count++;
    o->since_ns = now;
    o->shown = false;
    if (due)
        outage_tell(cli, ev, "connection lost");
    else
        o->untold++;
}

/* An attempt has failed for another reason than the one before, or one of an outage that no line
 * has told of yet. */
static void
outage_tried(struct cli *cli, const struct lunette_event *ev)
{
    struct outages *o = &cli->outages;

    if (ev->attempt < 2)
        return;
    if (!o->shown && ev->down_ms >= OUTAGE_LONG_MS) {
        o->untold--;
        outage_tell(cli, ev, "connection lost");
    } else if (o->shown && strcmp(o->reason, ev->why) != 0 &&
               now_ns() - o->tries_ns >= OUTAGE_TRIES_NS) {
        outage_tell(cli, ev, "still no connection");
    }
}

/* There is a connection again, or there will be none any more. */
static void
outage_over(struct cli *cli, const struct lunette_event *ev)
{
    struct outages *o = &cli->outages;
    char time[TEXT_SIZE];

    if (o->down == 0 || --o->down > 0)
        return;
    o->down_ns += now_ns() - o->since_ns;
    if (o->shown && ev->type == LUNETTE_EVENT_RECOVERED)
        outage_say(cli, lunette_event_name(ev->type), "connected again after %s",
                   format_ns(time, 1e6 * (double)ev->down_ms));
}

/* One connection of several.  That requests wait, as the last one is lost at level 2, is told as if
 * nothing had been told before, and then that there is another. */
static void
outage_conn(struct cli *cli, const struct lunette_event *ev)
{
    struct outages *o = &cli->outages;
    uint64_t now = now_ns();
    char text[400];
    bool due = o->conn_awaited, last = ev->nconnections == 0;

    if (ev->type == LUNETTE_EVENT_CONN_DOWN) {
        bool calm = o->conns == 0 || now - o->conn_since_ns >= OUTAGE_WAIT_MAX;

        due = outage_due(calm, now, &o->conn_told_ns, &o->conn_wait_ns);
        if (last)
            due |=
                outage_due(calm || o->last_told_ns == 0, now, &o->last_told_ns, &o->last_wait_ns);
        o->conns++;
        o->conn_since_ns = now;
        o->conns_untold += !due;
        o->conn_awaited = last && due;
    } else {
        o->conn_awaited &= last;
    }
    if (due)
        outage_say(cli, lunette_event_name(ev->type), "%s",
                   lunette_event_text(ev, text, sizeof(text)));
}

static void
outage_event(void *user, const struct lunette_event *ev)
{
    struct cli *cli = user;

    if (ev->type == LUNETTE_EVENT_CONN_LOST)
        outage_lost(cli, ev);
    else if (ev->type == LUNETTE_EVENT_REOPENING)
        outage_tried(cli, ev);
    else if (ev->type == LUNETTE_EVENT_RECOVERED || ev->type == LUNETTE_EVENT_GONE)
        outage_over(cli, ev);
    else if (ev->type == LUNETTE_EVENT_CONN_DOWN || ev->type == LUNETTE_EVENT_CONN_UP)
        outage_conn(cli, ev);
    else if (ev->type == LUNETTE_EVENT_CAPACITY)
        outage_say(cli, lunette_event_name(ev->type), "%s", ev->why);
    else if (ev->type == LUNETTE_EVENT_LOST_WRITES)
        cli->outages.lost_writes++;
    if (cli->progress == NULL)
        return;
    if (ev->type == LUNETTE_EVENT_CONN_LOST)
        progress_lost(cli->progress, ev->give_up_ms);
    else if (cli->outages.down == 0)
        progress_back(cli->progress);
}

void
outage_watch(struct cli *cli)
{
    (void)lunette_ctx_set_events(cli->ctx, outage_event, cli);
}

uint64_t
outage_down_ns(const struct cli *cli)
{
    const struct outages *o = &cli->outages;

    return o->down_ns + (o->down > 0 ? now_ns() - o->since_ns : 0);
}

void
outage_rewrite(struct cli *cli, uint64_t offset)
{
    struct outages *o = &cli->outages;

    o->rewrites++;
    if (!o->shown) {
        o->untold_rewrites++;
        return;
    }
    outage_say(cli, "rewriting",
               "the LUN's cache may have lost writes, writing again from byte %llu on",
               (unsigned long long)offset);
}

void
outage_summary(const struct cli *cli)
{
    const struct outages *o = &cli->outages;
    char again[64] = "";

    if (o->conns_untold > 0)
        outage_say(cli, "outages",
                   "connections of a session that went on were lost %llu times in all",
                   (unsigned long long)o->conns);
    if (o->untold == 0 && o->untold_rewrites == 0)
        return;
    if (o->rewrites > 0)
        snprintf(again, sizeof(again), ", and writes were made again %llu times",
                 (unsigned long long)o->rewrites);
    outage_say(cli, "outages", "the connection was lost %llu times in all%s",
               (unsigned long long)o->count, again);
}
