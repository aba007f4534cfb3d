/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_info.c - lunette info: a LUN, and what was agreed at login. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/hex.h"
#include "cmd/lunette/cli.h"

struct info_opts {
    bool watch;
};

static const struct opt info_options[] = {
    {"watch", 'w', OPT_FLAG, offsetof(struct info_opts, watch), NULL,
     "stay, and tell what happens to session and LUN, until Ctrl-C", 0, 0},
    {0},
};

static const struct info_opts info_defaults = {false};

static const char *
yes(bool b)
{
    return b ? "yes" : "no";
}

static void
print_bytes(const char *name, uint64_t bytes)
{
    char t[TEXT_SIZE];

    printf("  %-25s %s\n", name, bytes != 0 ? format_size(t, bytes) : "not told");
}

static void
print_disk(const struct lunette_info *i)
{
    char t[TEXT_SIZE];

    printf("  %-25s %s (%" PRIu64 " bytes, %" PRIu64 " blocks)\n", "size", format_size(t, i->size),
           i->size, i->block_size != 0 ? i->size / i->block_size : 0);
    printf("  %-25s %" PRIu32 " bytes (physical: %" PRIu32 ")\n", "block", i->block_size,
           i->physical_block_size);
    print_bytes("transfer at most", i->max_transfer);
    print_bytes("transfer at best", i->optimal_transfer);
    printf("  %-25s %s", "discard", i->max_discard != 0 ? "" : "no\n");
    if (i->max_discard != 0)
        printf("up to %s\n", format_size(t, i->max_discard));
    printf("  %-25s %s", "write zeroes", i->max_write_zeroes != 0 ? "" : "no\n");
    if (i->max_write_zeroes != 0)
        printf("up to %s\n", format_size(t, i->max_write_zeroes));
    printf("  %-25s %s\n", "compare and write", yes(i->max_compare_write != 0));
    printf("  %-25s %s\n", "write protected", yes(i->read_only));
    printf("  %-25s %s (FUA: %s)\n", "write cache", yes(i->write_cache), yes(i->fua));
    printf("  %-25s %s\n", "thin provisioned", yes(i->thin));
    printf("  %-25s %s\n", "rotational", yes(i->rotational));
}

static void
print_device(const struct lunette_info *i)
{
    printf("LUN %" PRIu64 "\n", i->lun);
    printf("  %-25s %s\n", "type", device_type_name(i->type));
    printf("  %-25s %s %s%s%s\n", "model", i->vendor, i->product, i->revision[0] != '\0' ? " " : "",
           i->revision);
    if (i->serial[0] != '\0')
        printf("  %-25s %s\n", "serial", i->serial);
    if (i->name[0] != '\0')
        printf("  %-25s %s\n", "name", i->name);
    if (i->error != 0)
        printf("  %-25s %s\n", "not ready", unit_error_text(i->error));
    else if (i->type == 0)
        print_disk(i);
}

static void
print_name(const char *what, const char *name)
{
    char *encoded = name_encoded(name);

    printf("  %-25s %s%s\n", what, encoded, iscsi_name_oddity(name) != NULL ? " !" : "");
    free(encoded);
}

/* "logged_in" is for programs. */
static const char *
info_words(const char *name)
{
    return strcmp(name, "logged_in") == 0 ? "logged in" : name;
}

static void
print_state(const struct lunette_session *session, const struct lunette_session_info *s)
{
    struct lunette_conn_info c = LUNETTE_INIT(c);
    char time[TEXT_SIZE], name[TEXT_SIZE];

    printf("  %-25s %s", "state", info_words(session_state_name(s->state)));
    if (s->reopens > 0)
        printf(", recovered %" PRIu32 " time%s", s->reopens, s->reopens == 1 ? "" : "s");
    if (s->state != LUNETTE_SESSION_LOGGED_IN)
        printf(", no connection for %s (%s)", format_ns(time, 1e6 * (double)s->down_ms),
               s->error_text);
    putchar('\n');
    for (size_t i = 0; lunette_session_get_conn(session, i, &c) == 0; i++) {
        snprintf(name, sizeof(name), "connection %" PRIu32, c.cid);
        printf("  %-25s %s%s%s%s%s%s%s\n", name, c.portal, c.portal[0] != '\0' ? ", " : "",
               info_words(conn_state_name(c.state)), c.local[0] != '\0' ? " from " : "", c.local,
               c.carrier[0] != '\0' ? " by " : "", c.carrier);
        if (c.error != 0)
            printf("  %-25s %s\n", "", c.error_text);
    }
}

/* What the login has agreed on, which an adapter that logs in by itself does not tell. */
static void
print_agreed(const struct lunette_session_info *s)
{
    char isid[2 * sizeof(s->isid) + 1];
    const struct {
        const char *key;
        uint32_t value, wanted;
    } keys[] = {
        {"MaxRecvDataSegmentLength", s->max_recv_data_segment_length, 0},
        {"  of the target", s->max_xmit_data_segment_length, 0},
        {"MaxBurstLength", s->max_burst_length, 0},
        {"FirstBurstLength", s->first_burst_length, 0},
        {"MaxOutstandingR2T", s->max_outstanding_r2t, 0},
        {"MaxConnections", s->max_connections, s->nconnections_wanted},
        {"ErrorRecoveryLevel", s->error_recovery_level, s->error_recovery_level_wanted},
        {"DefaultTime2Wait", s->time2wait, 0},
        {"DefaultTime2Retain", s->time2retain, 0},
    };

    *hex_put(isid, s->isid, sizeof(s->isid)) = '\0';
    printf("  %-25s ISID %s, TSIH %u\n", "identifiers", isid, s->tsih);
    printf("  %-25s %s\n", "authentication", s->auth_method);
    printf("  %-25s header %s, data %s\n", "digests", s->header_digest ? "CRC32C" : "none",
           s->data_digest ? "CRC32C" : "none");
    printf("  %-25s %s\n", "InitialR2T", s->initial_r2t ? "Yes" : "No");
    printf("  %-25s %s\n", "ImmediateData", s->immediate_data ? "Yes" : "No");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        printf("  %-25s %" PRIu32, keys[i].key, keys[i].value);
        if (keys[i].value < keys[i].wanted)
            printf(" (asked for: %" PRIu32 ")", keys[i].wanted);
        putchar('\n');
    }
}

static void
print_session(const struct lunette_session *session, const struct lunette_session_info *s)
{
    printf("session\n");
    print_state(session, s);
    print_name("target", s->target_name);
    if (s->target_alias[0] != '\0')
        printf("  %-25s %s\n", "alias", s->target_alias);
    if (s->auth_method[0] == '\0') {
        printf("  %-25s %s\n", "portal", s->portal);
        printf("  %-25s %s, which logs in by itself and has names and secrets of its own\n",
               "transport", s->transport);
        return;
    }
    printf("  %-25s %s (portal group %u)\n", "portal", s->portal, s->tpgt);
    printf("  %-25s %s\n", "transport", s->transport);
    print_name("initiator", s->initiator_name);
    print_agreed(s);
}

static void
print_bends(uint32_t bends)
{
    const char *text;

    for (unsigned i = 0; (text = lunette_bend_text(i)) != NULL; i++) {
        if (bends >> i & 1)
            printf("  this target bends: it %s\n", text);
    }
}

/* ---- --watch -------------------------------------------------------------------------------- */

struct watch {
    struct cli *cli;
    struct lunette_lun *lun;
    int code;
    bool over;
    char reason[260]; /* that was printed last */
};

/* Attempts of an outage come several a second: a person reads of each new reason, and else of fewer
 * and fewer of them. */
static bool
watch_shows(struct watch *w, const struct lunette_event *ev)
{
    bool same = strcmp(w->reason, ev->why) == 0;

    if (ev->type != LUNETTE_EVENT_REOPENING)
        return true;
    if (same && (ev->attempt & (ev->attempt - 1)) != 0)
        return false;
    snprintf(w->reason, sizeof(w->reason), "%s", ev->why);
    return true;
}

static int
watch_print(struct watch *w, const struct lunette_event *ev, const char *text)
{
    time_t now = time(NULL);
    char at[32] = "--:--:--";
    struct tm tm;
    int columns = isatty(STDOUT_FILENO) == 1 ? terminal_columns() - 1 : INT_MAX;

    if (!watch_shows(w, ev))
        return 0;
    if (localtime_r(&now, &tm) != NULL)
        (void)strftime(at, sizeof(at), "%H:%M:%S", &tm);
    printf("%s ", at);
    text_wrap(stdout, text, columns, (int)strlen(at) + 1, (int)strlen(at) + 1);
    return cli_flush();
}

static json_t *
watch_json(const struct watch *w, const struct lunette_event *ev, const char *text)
{
    time_t now = time(NULL);
    char at[32] = "";
    struct tm tm;
    struct lunette_session_info s = LUNETTE_INIT(s);
    const struct lunette_session *session = lunette_lun_session(w->lun);

    if (gmtime_r(&now, &tm) != NULL)
        (void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
    (void)lunette_session_get_info(session, &s);
    json_t *j = json_pack("{s:s, s:s, s:s, s:o}", "time", at, "event", lunette_event_name(ev->type),
                          "text", text, "session", json_of_state(session, &s));
    if (j != NULL && ev->type == LUNETTE_EVENT_CAPACITY) {
        struct lunette_info info = LUNETTE_INIT(info);
        (void)lunette_get_info(w->lun, &info);
        json_object_set_new(j, "size", json_integer((json_int_t)info.size));
    }
    return j;
}

static void
watch_event(void *user, const struct lunette_event *ev)
{
    struct watch *w = user;
    char text[600];

    (void)lunette_event_text(ev, text, sizeof(text));
    w->code =
        w->cli->common.json ? json_print_line(watch_json(w, ev, text)) : watch_print(w, ev, text);
    if (ev->type == LUNETTE_EVENT_GONE && w->code == 0)
        w->code = EXIT_CONNECT;
    w->over = w->code != 0;
}

/* Tells of events until Ctrl-C, or until there is nothing to be told of any more. */
static int
info_watch(struct cli *cli, struct lunette_lun *lun)
{
    struct watch w = {.cli = cli, .lun = lun};

    interrupt_catch_in_time("info");
    (void)lunette_ctx_set_events(cli->ctx, watch_event, &w);
    while (interrupted() == 0 && !w.over) {
        int r = lunette_ctx_run(cli->ctx, 200);
        if (r < 0 && r != -EINTR)
            return fail_errno(r, "info");
    }
    (void)lunette_ctx_set_events(cli->ctx, NULL, NULL);
    return interrupted() != 0 ? EXIT_SIGNAL + interrupted() : w.code;
}

/* With --watch and --json each object is one line, and the first is what there is. */
static int
info_json(const struct lunette_session *session, const struct lunette_info *info,
          const struct lunette_session_info *s, bool line)
{
    json_t *j = json_of_info(info);

    json_object_set_new(j, "session", json_of_session(session, s));
    return line ? json_print_line(j) : json_print(j);
}

static int
run_info(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct info_opts *o = opts;
    struct lunette_lun *lun = NULL;
    struct lunette_info info = LUNETTE_INIT(info);
    struct lunette_session_info s = LUNETTE_INIT(s);

    (void)argc;
    int code = cli_open(cli, argv[0], LUNETTE_OPEN_RDONLY | LUNETTE_OPEN_RAW, &lun);
    if (code != 0)
        return code;
    const struct lunette_session *session = lunette_lun_session(lun);
    (void)lunette_get_info(lun, &info);
    (void)lunette_session_get_info(session, &s);
    if (cli->common.json) {
        code = info_json(session, &info, &s, o->watch);
    } else {
        print_device(&info);
        print_session(session, &s);
        print_bends(s.bends);
        code = cli_flush();
    }
    if (code == 0 && o->watch)
        code = info_watch(cli, lun);
    lunette_close(lun);
    return code;
}

const struct command cmd_info = {
    .name = "info",
    .operands = "URL",
    .synopsis = "[--watch] [OPTION...]",
    .summary = "what a LUN is and can do, and what was agreed at login",
    .about = "Prints identity, size, block size and limits of the LUN, and the session's state, "
             "connections and parameters (RFC 7143 section 13).  With --watch it stays, and prints "
             "a line for each thing that happens: a connection that is lost or comes back, another "
             "size, another unit.",
    .example = "info iscsi://192.0.2.1/iqn.2026-11.example:disk/0\n"
               "info 'iscsi://192.0.2.1/iqn.2026-11.example:disk/0?header_digest=crc32c' --json\n"
               "info iscsi://192.0.2.1/iqn.2026-11.example:disk/0 --watch",
    .opts = info_options,
    .defaults = &info_defaults,
    .opts_size = sizeof(struct info_opts),
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_info,
};
