/* SPDX-License-Identifier: MIT */
/* cmd/lunette/outage.c: what is said of connections that are lost, and how often. */
#include "tests/test.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd/lunette/cli.h"
#include "cmd/lunette/progress.h"

#define SEC 1000000000u

static const struct command copying = {.name = "copy"};
static void (*told)(void *user, const struct lunette_event *ev);
static void *told_user;
static uint64_t clock_ns;
static unsigned said;
static char last_said[1024], last_event[32];
static bool lost_shown;

uint64_t __wrap_now_ns(void);

uint64_t
__wrap_now_ns(void)
{
    return clock_ns;
}

int
lunette_ctx_set_events(struct lunette_ctx *ctx,
                       void (*fn)(void *user, const struct lunette_event *ev), void *user)
{
    (void)ctx;
    told = fn;
    told_user = user;
    return 0;
}

const char *
lunette_event_text(const struct lunette_event *ev, char *buf, size_t size)
{
    (void)snprintf(buf, size, "connection %u, %u left", ev->cid, ev->nconnections);
    return buf;
}

const char *
lunette_event_name(enum lunette_event_type type)
{
    return type == LUNETTE_EVENT_CONN_LOST ? "conn_lost" : "another";
}

void
note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(last_said, sizeof(last_said), fmt, ap);
    va_end(ap);
    said++;
}

void
progress_clear(struct progress *p)
{
    (void)p;
}

void
progress_event(const struct progress *p, const char *event, const char *text)
{
    (void)p;
    (void)snprintf(last_event, sizeof(last_event), "%s", event);
    (void)snprintf(last_said, sizeof(last_said), "%s", text);
}

void
progress_lost(struct progress *p, int64_t limit_ms)
{
    (void)p;
    (void)limit_ms;
    lost_shown = true;
}

void
progress_back(struct progress *p)
{
    (void)p;
    lost_shown = false;
}

static void
begin(struct cli *cli)
{
    *cli = (struct cli){.cmd = &copying};
    clock_ns = 1000ull * SEC;
    said = 0;
    last_said[0] = last_event[0] = '\0';
    lost_shown = false;
    outage_watch(cli);
    assert_ptr_equal(told_user, cli);
}

static void
happens(enum lunette_event_type type, const char *why, uint32_t attempt, int64_t down_ms)
{
    struct lunette_event ev = LUNETTE_INIT(ev);

    ev.type = type;
    ev.attempt = attempt;
    ev.down_ms = down_ms;
    ev.give_up_ms = 120000 - down_ms;
    (void)snprintf(ev.why, sizeof(ev.why), "%s", why);
    told(told_user, &ev);
}

static void
conn_happens(enum lunette_event_type type, uint16_t up)
{
    struct lunette_event ev = LUNETTE_INIT(ev);

    ev.type = type;
    ev.cid = 2;
    ev.nconnections = up;
    ev.nconnections_wanted = 4;
    (void)snprintf(ev.why, sizeof(ev.why), "reset");
    told(told_user, &ev);
}

/* Connections of a session that goes on: less and less is told of them, and the rest at the end. */
static void
one_of_several(void **state)
{
    struct cli cli;

    (void)state;
    begin(&cli);
    conn_happens(LUNETTE_EVENT_CONN_UP, 4);
    assert_int_equal(said, 0);
    conn_happens(LUNETTE_EVENT_CONN_DOWN, 3);
    assert_int_equal(said, 1);
    conn_happens(LUNETTE_EVENT_CONN_UP, 4);
    for (int i = 0; i < 10; i++)
        conn_happens(LUNETTE_EVENT_CONN_DOWN, 3);
    assert_int_equal(said, 1);
    clock_ns += 3ull * SEC;
    conn_happens(LUNETTE_EVENT_CONN_DOWN, 3);
    assert_int_equal(said, 2);
    conn_happens(LUNETTE_EVENT_CONN_DOWN,
                 0); /* requests wait: that is told, and that they do not */
    assert_int_equal(said, 3);
    conn_happens(LUNETTE_EVENT_CONN_UP, 1);
    assert_int_equal(said, 4);
    conn_happens(LUNETTE_EVENT_CONN_UP, 2);
    assert_int_equal(said, 4);
    assert_int_equal(cli.outages.count, 0);
    assert_int_equal(cli.outages.conns, 13);
    outage_summary(&cli);
    assert_string_equal(last_said,
                        "copy: connections of a session that went on were lost 13 times in all");
}

static void
one_outage(void **state)
{
    struct cli cli;

    (void)state;
    begin(&cli);
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    assert_string_equal(last_said, "copy: connection lost (reset), trying again for 120 s");
    happens(LUNETTE_EVENT_REOPENING, "reset", 1, 0);
    happens(LUNETTE_EVENT_REOPENING, "refused", 2, 2000);
    assert_int_equal(said, 1);
    clock_ns += 11ull * SEC; /* another reason, after a while */
    happens(LUNETTE_EVENT_REOPENING, "refused", 9, 11000);
    assert_string_equal(last_said, "copy: still no connection (refused), trying again for 109 s");
    happens(LUNETTE_EVENT_REOPENING, "refused", 10, 11000);
    happens(LUNETTE_EVENT_TIMED_OUT, "refused", 0, 11000); /* the requests that fail say so */
    assert_int_equal(said, 2);
    clock_ns += SEC;
    assert_int_equal(outage_down_ns(&cli), 12ull * SEC);
    happens(LUNETTE_EVENT_RECOVERED, "", 0, 12000);
    assert_string_equal(last_said, "copy: connected again after 12.00 s");
    clock_ns += SEC;
    assert_int_equal(outage_down_ns(&cli), 12ull * SEC);
    outage_summary(&cli); /* all was told */
    assert_int_equal(said, 3);
}

/* Losses that come every second for ten minutes fill no screen, and are counted. */
static void
flapping(void **state)
{
    struct cli cli;

    (void)state;
    begin(&cli);
    for (unsigned i = 0; i < 600; i++) {
        happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
        clock_ns += SEC / 2;
        happens(LUNETTE_EVENT_LOST_WRITES, "", 0, 0);
        outage_rewrite(&cli, i);
        happens(LUNETTE_EVENT_RECOVERED, "", 0, 500);
        clock_ns += SEC / 2;
    }
    assert_in_range(said, 9, 60);
    assert_int_equal(cli.outages.lost_writes, 600);
    assert_int_equal(outage_down_ns(&cli), 300ull * SEC);
    outage_summary(&cli);
    assert_string_equal(last_said, "copy: the connection was lost 600 times in all, and writes "
                                   "were made again 600 times");
    /* one that lasts is told though none is due */
    assert_true(clock_ns - cli.outages.told_ns < cli.outages.wait_ns);
    unsigned before = said;
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    happens(LUNETTE_EVENT_REOPENING, "refused", 2, 1000);
    assert_int_equal(said, before);
    happens(LUNETTE_EVENT_REOPENING, "refused", 3, 3000);
    assert_string_equal(last_said, "copy: connection lost (refused), trying again for 117 s");
    happens(LUNETTE_EVENT_RECOVERED, "", 0, 4000);
    assert_string_equal(last_said, "copy: connected again after 4.00 s");
    /* and after a quiet while the next is told at once */
    clock_ns += 61ull * SEC;
    before = said;
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    assert_int_equal(said, before + 1);
}

static void
limits(void **state)
{
    struct lunette_event ev = LUNETTE_INIT(ev);
    struct cli cli;

    (void)state;
    begin(&cli);
    ev.type = LUNETTE_EVENT_CONN_LOST;
    ev.give_up_ms = -1;
    told(told_user, &ev);
    assert_string_equal(last_said, "copy: connection lost (), trying again until it is back");
    begin(&cli);
    ev.give_up_ms = 0;
    told(told_user, &ev);
    assert_string_equal(last_said, "copy: connection lost ()");
    begin(&cli);
    cli.outages.endless = true;
    told(told_user, &ev);
    assert_string_equal(last_said, "copy: connection lost (), trying again");
}

/* Two sessions with one target, as LUN to LUN has them, lose their connections as one. */
static void
two_sessions(void **state)
{
    struct progress p = {0};
    struct cli cli;

    (void)state;
    begin(&cli);
    cli.progress = &p;
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    clock_ns += SEC;
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    clock_ns += SEC;
    happens(LUNETTE_EVENT_RECOVERED, "", 0, 2000);
    assert_true(lost_shown);
    assert_int_equal(said, 1);
    clock_ns += SEC;
    happens(LUNETTE_EVENT_RECOVERED, "", 0, 2000);
    assert_false(lost_shown);
    assert_int_equal(said, 2);
    assert_int_equal(outage_down_ns(&cli), 3ull * SEC);
    assert_int_equal(cli.outages.count, 1);
}

static void
for_good(void **state)
{
    struct cli cli;

    (void)state;
    begin(&cli);
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    clock_ns += SEC;
    happens(LUNETTE_EVENT_GONE, "wrong secret", 0, 1000); /* the requests that fail say so */
    clock_ns += SEC;
    assert_int_equal(said, 1);
    assert_int_equal(outage_down_ns(&cli), SEC);
}

static void
for_programs(void **state)
{
    struct progress p = {.json = true};
    struct cli cli;

    (void)state;
    begin(&cli);
    cli.progress = &p;
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    assert_int_equal(said, 0);
    assert_string_equal(last_event, "conn_lost");
    assert_string_equal(last_said, "connection lost (reset), trying again for 120 s");
    begin(&cli);
    cli.quiet = true;
    happens(LUNETTE_EVENT_CONN_LOST, "reset", 0, 0);
    happens(LUNETTE_EVENT_RECOVERED, "", 0, 500);
    outage_rewrite(&cli, 0);
    outage_summary(&cli);
    assert_int_equal(said, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_several), cmocka_unit_test(one_outage),
        cmocka_unit_test(flapping),       cmocka_unit_test(limits),
        cmocka_unit_test(two_sessions),   cmocka_unit_test(for_good),
        cmocka_unit_test(for_programs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
