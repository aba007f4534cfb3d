/* SPDX-License-Identifier: MIT */
#include "iscsid/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/latency.h"

#define SAMPLES_MAX 12
#define LABELS_MAX  1152 /* bytes of the labels of a LUN: names of which each byte is escaped */
#define NS          1000000000u
#define NONE        UINT64_MAX /* stands for a value that was not told */

/* ---- what there is -------------------------------------------------------------------------- */

enum metrics_scope {
    SCOPE_DAEMON,
    SCOPE_SESSION, /* values are members of the session */
    SCOPE_CONN,    /* of its iscsi_stats */
    SCOPE_PARAM,   /* of its params */
    SCOPE_LUN,     /* of each LUN */
    SCOPE_LATENCY, /* histograms of each LUN */
};

/* A sample of a metric: the member that has its value, and what tells it from others. */
struct metrics_sample {
    const char *key;
    const char *label; /* "name=\"value\"", or NULL */
};

struct metrics_family {
    const char *name, *type, *unit, *help;
    enum metrics_scope scope;
    uint64_t divisor; /* of values, to come to the unit */
    struct metrics_sample sample[SAMPLES_MAX];
};

#define COUNTER(name_, scope_, help_, key_)                                                        \
    {                                                                                              \
        .name = (name_), .type = "counter", .help = (help_), .scope = (scope_), .divisor = 1,      \
        .sample = {{(key_), NULL}},                                                                \
    }

/* Each name ends with its unit.  Samples of counters get the suffix _total. */
static const struct metrics_family families[] = {
    {.name = "lunette_build",
     .type = "info",
     .help = "The version of iscsid.",
     .scope = SCOPE_DAEMON,
     .divisor = 1},
    {.name = "lunette_data_plane_up",
     .type = "gauge",
     .help = "Whether iscsi-iod answers.",
     .scope = SCOPE_DAEMON,
     .divisor = 1},
    {.name = "lunette_sessions",
     .type = "gauge",
     .help = "Sessions that are told of here.",
     .scope = SCOPE_DAEMON,
     .divisor = 1},
    {.name = "lunette_session_up",
     .type = "gauge",
     .help = "Whether the session is logged in.",
     .scope = SCOPE_SESSION,
     .divisor = 1,
     .sample = {{"state", NULL}}},
    {.name = "lunette_session_wanted",
     .type = "gauge",
     .help = "Whether the session is wanted.",
     .scope = SCOPE_SESSION,
     .divisor = 1,
     .sample = {{"wanted", NULL}}},
    {.name = "lunette_session_down_seconds",
     .type = "gauge",
     .unit = "seconds",
     .help = "How long the session has been without a connection.",
     .scope = SCOPE_SESSION,
     .divisor = 1000,
     .sample = {{"down_ms", NULL}}},
    COUNTER("lunette_session_reopens", SCOPE_SESSION, "Logins after a loss of the connection.",
            "reopens"),
    {.name = "lunette_session_connections",
     .type = "gauge",
     .help = "Connections that are logged in.",
     .scope = SCOPE_SESSION,
     .divisor = 1,
     .sample = {{"connections_up", NULL}}},
    {.name = "lunette_session_connections_wanted",
     .type = "gauge",
     .help = "Connections that the session is to have.",
     .scope = SCOPE_SESSION,
     .divisor = 1,
     .sample = {{"connections_wanted", NULL}}},
    {.name = "lunette_session_error_recovery_level",
     .type = "gauge",
     .help = "ErrorRecoveryLevel as negotiated.",
     .scope = SCOPE_PARAM,
     .divisor = 1,
     .sample = {{"ErrorRecoveryLevel", NULL}}},
    {.name = "lunette_session_data_bytes",
     .type = "counter",
     .unit = "bytes",
     .help = "Data of commands on the connections.",
     .scope = SCOPE_CONN,
     .divisor = 1,
     .sample = {{"txdata_octets", "direction=\"sent\""},
                {"rxdata_octets", "direction=\"received\""}}},
    {.name = "lunette_session_pdus",
     .type = "counter",
     .help = "PDUs of the connections.",
     .scope = SCOPE_CONN,
     .divisor = 1,
     .sample = {{"scsicmd_pdus", "pdu=\"scsi_command\""},
                {"scsirsp_pdus", "pdu=\"scsi_response\""},
                {"dataout_pdus", "pdu=\"data_out\""},
                {"datain_pdus", "pdu=\"data_in\""},
                {"r2t_pdus", "pdu=\"r2t\""},
                {"noptx_pdus", "pdu=\"nop_out\""},
                {"noprx_pdus", "pdu=\"nop_in\""},
                {"tmfcmd_pdus", "pdu=\"task_management_request\""},
                {"tmfrsp_pdus", "pdu=\"task_management_response\""},
                {"async_pdus", "pdu=\"async_message\""},
                {"rjt_pdus", "pdu=\"reject\""},
                {"snack_pdus", "pdu=\"snack\""}}},
    COUNTER("lunette_session_digest_errors", SCOPE_CONN, "PDUs with a wrong digest.", "digest_err"),
    COUNTER("lunette_session_tasks_reassigned", SCOPE_CONN,
            "Tasks that went on after their connection was lost.", "tasks_reassigned"),
    {.name = "lunette_lun_up",
     .type = "gauge",
     .help = "Whether the disk takes I/O.",
     .scope = SCOPE_LUN,
     .divisor = 1,
     .sample = {{"state", NULL}}},
    {.name = "lunette_lun_size_bytes",
     .type = "gauge",
     .unit = "bytes",
     .help = "The size of the disk.",
     .scope = SCOPE_LUN,
     .divisor = 1,
     .sample = {{"size", NULL}}},
    {.name = "lunette_lun_export_clients",
     .type = "gauge",
     .help = "Clients of the exports of the disk.",
     .scope = SCOPE_LUN,
     .divisor = 1,
     .sample = {{"exports", NULL}}},
    {.name = "lunette_lun_requests",
     .type = "counter",
     .help = "Requests that have ended.",
     .scope = SCOPE_LUN,
     .divisor = 1,
     .sample = {{"reads", "op=\"read\""},
                {"writes", "op=\"write\""},
                {"flushes", "op=\"flush\""},
                {"discards", "op=\"discard\""},
                {"write_zeroes", "op=\"write_zeroes\""}}},
    {.name = "lunette_lun_data_bytes",
     .type = "counter",
     .unit = "bytes",
     .help = "Data of requests that have gone well.",
     .scope = SCOPE_LUN,
     .divisor = 1,
     .sample = {{"read_bytes", "op=\"read\""}, {"written_bytes", "op=\"write\""}}},
    COUNTER("lunette_lun_errors", SCOPE_LUN, "Requests that have failed.", "errors"),
    COUNTER("lunette_lun_pieces", SCOPE_LUN,
            "Parts of requests that were handed to the SCSI layer.", "pieces"),
    {.name = "lunette_lun_piece_seconds",
     .type = "counter",
     .unit = "seconds",
     .help = "Sum over pieces, from being handed down until they were completed.",
     .scope = SCOPE_LUN,
     .divisor = NS,
     .sample = {{"driver_ns", NULL}}},
    COUNTER("lunette_lun_splits", SCOPE_LUN, "Requests that were cut into pieces.", "splits"),
    COUNTER("lunette_lun_requeues", SCOPE_LUN, "Pieces that were issued again.", "requeues"),
    COUNTER("lunette_lun_refusals", SCOPE_LUN,
            "Pieces that had to wait for the window or the depth of the unit.", "busy"),
    COUNTER("lunette_lun_timeouts", SCOPE_LUN, "Pieces whose time was up.", "timeouts"),
    COUNTER("lunette_lun_commands", SCOPE_LUN, "SCSI commands that were sent.", "commands"),
    COUNTER("lunette_lun_retries", SCOPE_LUN, "SCSI commands that were sent again.", "retries"),
    COUNTER("lunette_lun_unit_attentions", SCOPE_LUN, "Unit attention conditions.",
            "unit_attentions"),
    COUNTER("lunette_lun_aborts", SCOPE_LUN, "SCSI commands that were aborted.", "aborts"),
    COUNTER("lunette_lun_resets", SCOPE_LUN, "Resets of the logical unit.", "lu_resets"),
    COUNTER("lunette_lun_lost_writes", SCOPE_LUN,
            "Writes that the unit had acknowledged and may have lost.", "lost_writes"),
    {.name = "lunette_lun_request_seconds",
     .type = "histogram",
     .unit = "seconds",
     .help = "How long requests took, from their submission until they were completed.",
     .scope = SCOPE_LATENCY,
     .divisor = NS,
     .sample = {{"total", "op=\"read\""}, {"total", "op=\"write\""}, {"total", "op=\"other\""}}},
    {.name = "lunette_lun_stage_seconds",
     .type = "histogram",
     .unit = "seconds",
     .help = "How long requests were in each stage.",
     .scope = SCOPE_LATENCY,
     .divisor = NS,
     .sample = {{"queue", "stage=\"queue\""},
                {"window", "stage=\"window\""},
                {"send", "stage=\"send\""},
                {"target", "stage=\"target\""},
                {"receive", "stage=\"receive\""}}},
};
#define NFAMILIES    (sizeof(families) / sizeof(families[0]))
#define FAMILY_TOTAL (NFAMILIES - 2) /* its samples are the classes, as in the member's name */
#define CLASSES      3
#define STAGES       5

static const char *const classes[CLASSES] = {"read", "write", "other"};

/* Upper bounds of the buckets that are told, as powers of two of nanoseconds: where disks are they
 * are twice one another, and elsewhere four times. */
static const uint8_t bounds[] = {11, 13, 15, 16, 17, 18, 19, 20, 21, 22,
                                 23, 24, 25, 26, 27, 29, 31, 33, 35};
#define NBOUNDS (sizeof(bounds) / sizeof(bounds[0]))

struct metrics_histogram {
    uint64_t sum_ns, count;
    uint64_t below[NBOUNDS]; /* how many are below each bound */
};

struct metrics_lun {
    char *labels;
    uint64_t *value;
    struct metrics_histogram *latency; /* CLASSES, then STAGES; NULL: nothing was timed */
};

struct metrics_session {
    char *labels;
    uint64_t *value;
    struct metrics_lun *lun;
    size_t nluns;
};

struct metrics {
    unsigned refs;
    bool plane_up;
    char version[32];
    struct metrics_session *session;
    size_t n, room;
};

static size_t
family_samples(const struct metrics_family *f)
{
    size_t n = 0;

    while (n < SAMPLES_MAX && f->sample[n].key != NULL)
        n++;
    return n;
}

/* Sessions have a value for each sample of their three scopes, and LUNs of theirs. */
static bool
family_is_of(const struct metrics_family *f, bool lun)
{
    return lun ? f->scope == SCOPE_LUN
               : f->scope == SCOPE_SESSION || f->scope == SCOPE_CONN || f->scope == SCOPE_PARAM;
}

/* The place of the family's first sample among the values of a session or LUN; with `end`, how many
 * there are. */
static size_t
family_place(const struct metrics_family *f, bool lun)
{
    size_t at = 0;

    for (const struct metrics_family *i = families; i < f; i++)
        at += family_is_of(i, lun) ? family_samples(i) : 0;
    return at;
}

/* ---- taking over ---------------------------------------------------------------------------- */

/* A number; or whether it is as it should be: true, and states.  NONE: there is none. */
static uint64_t
metrics_value(const json_t *v)
{
    uint64_t sum = 0;

    if (v == NULL)
        return NONE;
    if (json_is_string(v))
        return strcmp(json_string_value(v), "LOGGED_IN") == 0 ||
               strcmp(json_string_value(v), "UP") == 0;
    for (size_t i = 0; i < json_array_size(v); i++) /* exports */
        sum += (uint64_t)json_integer_value(json_object_get(json_array_get(v, i), "clients"));
    if (json_is_array(v))
        return sum;
    return json_is_true(v) ? 1 : (uint64_t)json_integer_value(v);
}

static uint64_t *
metrics_values(const json_t *session, const json_t *lun)
{
    bool of_lun = lun != NULL;
    uint64_t *v = calloc(family_place(families + NFAMILIES, of_lun), sizeof(*v));
    size_t at = 0;

    for (const struct metrics_family *f = families; v != NULL && f < families + NFAMILIES; f++) {
        const json_t *o = f->scope == SCOPE_CONN    ? json_object_get(session, "iscsi_stats")
                          : f->scope == SCOPE_PARAM ? json_object_get(session, "params")
                          : of_lun                  ? lun
                                                    : session;

        for (size_t i = 0; family_is_of(f, of_lun) && i < family_samples(f); i++)
            v[at++] = metrics_value(json_object_get(o, f->sample[i].key));
    }
    return v;
}

/* Appends name="value" with what has to be escaped, as far as there is room. */
static void
label_put(char *to, size_t size, const char *name, const char *value)
{
    size_t at = strlen(to), room = size - 3; /* for an escape that is cut, the quote and the NUL */

    if (at + strlen(name) + 4 > room)
        return;
    at += (size_t)snprintf(to + at, size - at, "%s%s=\"", at > 0 ? "," : "", name);
    for (; *value != '\0' && at < room; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n')
            to[at++] = '\\';
        to[at++] = *value == '\n' ? 'n' : *value;
    }
    to[at++] = '"';
    to[at] = '\0';
}

static void
label_number(char *to, size_t size, const char *name, const json_t *v)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    label_put(to, size, name, text);
}

static char *
metrics_labels(const json_t *session, const json_t *lun)
{
    char text[LABELS_MAX] = "";
    const char *target = json_string_value(json_object_get(session, "target"));
    const char *portal = json_string_value(json_object_get(session, "portal"));

    label_number(text, sizeof(text), "sid", json_object_get(session, "sid"));
    if (lun != NULL)
        label_number(text, sizeof(text), "lun", json_object_get(lun, "lun"));
    label_put(text, sizeof(text), "portal", portal != NULL ? portal : "");
    label_put(text, sizeof(text), "target", target != NULL ? target : "");
    return strdup(text);
}

/* Adds one of the histograms of session.stats, whose bounds are those of base/latency.h. */
static void
histogram_add(struct metrics_histogram *h, const json_t *from)
{
    const json_t *buckets = json_object_get(from, "buckets");

    h->sum_ns += (uint64_t)json_integer_value(json_object_get(from, "sum_ns"));
    for (size_t i = 0; i < json_array_size(buckets); i++) {
        const json_t *pair = json_array_get(buckets, i), *below = json_array_get(pair, 0);
        uint64_t n = (uint64_t)json_integer_value(json_array_get(pair, 1));

        h->count += n;
        for (size_t b = 0; b < NBOUNDS && json_is_integer(below); b++) {
            if ((uint64_t)json_integer_value(below) <= 1ull << bounds[b])
                h->below[b] += n;
        }
    }
}

static int
lun_latency(struct metrics_lun *l, const json_t *lun)
{
    const json_t *latency = json_object_get(lun, "latency");
    const struct metrics_sample *stage = families[FAMILY_TOTAL + 1].sample;

    if (json_integer_value(json_object_get(latency, "timed")) == 0)
        return 0;
    l->latency = calloc(CLASSES + STAGES, sizeof(*l->latency));
    if (l->latency == NULL)
        return -ENOMEM;
    for (size_t c = 0; c < CLASSES; c++) {
        const json_t *class = json_object_get(latency, classes[c]);

        histogram_add(&l->latency[c], json_object_get(class, "total"));
        for (size_t s = 0; s < STAGES; s++)
            histogram_add(&l->latency[CLASSES + s], json_object_get(class, stage[s].key));
    }
    return 0;
}

static void
session_fini(struct metrics_session *s)
{
    for (size_t i = 0; i < s->nluns; i++) {
        free(s->lun[i].labels);
        free(s->lun[i].value);
        free(s->lun[i].latency);
    }
    free(s->lun);
    free(s->labels);
    free(s->value);
}

static int
session_take(struct metrics_session *s, const json_t *session)
{
    const json_t *luns = json_object_get(session, "luns");
    size_t n = json_array_size(luns);
    int r = 0;

    s->labels = metrics_labels(session, NULL);
    s->value = metrics_values(session, NULL);
    s->lun = n > 0 ? calloc(n, sizeof(*s->lun)) : NULL;
    if (s->labels == NULL || s->value == NULL || (n > 0 && s->lun == NULL))
        return -ENOMEM;
    for (s->nluns = 0; r == 0 && s->nluns < n; s->nluns++) {
        const json_t *lun = json_array_get(luns, s->nluns);
        struct metrics_lun *l = &s->lun[s->nluns];

        l->labels = metrics_labels(session, lun);
        l->value = metrics_values(session, lun);
        r = l->labels == NULL || l->value == NULL ? -ENOMEM : lun_latency(l, lun);
    }
    return r;
}

int
metrics_add(struct metrics *m, const json_t *session)
{
    struct metrics_session s = {.labels = NULL}, *more;
    int r = session_take(&s, session);

    if (r == 0 && m->n == m->room) {
        size_t room = m->room > 0 ? 2 * m->room : 16;

        more = reallocarray(m->session, room, sizeof(*more));
        if (more != NULL) {
            m->session = more;
            m->room = room;
        }
        r = more != NULL ? 0 : -ENOMEM;
    }
    if (r < 0)
        session_fini(&s);
    else
        m->session[m->n++] = s;
    return r;
}

struct metrics *
metrics_new(const char *version)
{
    struct metrics *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return NULL;
    m->refs = 1;
    (void)snprintf(m->version, sizeof(m->version), "%s", version);
    return m;
}

void
metrics_set_plane_up(struct metrics *m, bool up)
{
    m->plane_up = up;
}

struct metrics *
metrics_ref(struct metrics *m)
{
    m->refs++;
    return m;
}

void
metrics_unref(struct metrics *m)
{
    if (m == NULL || --m->refs > 0)
        return;
    for (size_t i = 0; i < m->n; i++)
        session_fini(&m->session[i]);
    free(m->session);
    free(m);
}

/* ---- text ----------------------------------------------------------------------------------- */

/* Text that grows; what does not fit any more is cut, which METRICS_PIECE_MIN sees to. */
struct metrics_out {
    char *at, *end;
};

static void __attribute__((format(printf, 2, 3)))
metrics_print(struct metrics_out *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(t->at, (size_t)(t->end - t->at), fmt, ap);
    va_end(ap);
    if (n > 0)
        t->at += n < t->end - t->at ? n : t->end - t->at - 1;
}

static void
metrics_put_value(struct metrics_out *t, uint64_t v, uint64_t divisor)
{
    if (divisor == 1)
        metrics_print(t, " %" PRIu64 "\n", v);
    else
        metrics_print(t, " %" PRIu64 ".%09" PRIu64 "\n", v / divisor, v % divisor * (NS / divisor));
}

static void
metrics_put_head(struct metrics_out *t, const struct metrics_family *f)
{
    metrics_print(t, "# TYPE %s %s\n", f->name, f->type);
    if (f->unit != NULL)
        metrics_print(t, "# UNIT %s %s\n", f->name, f->unit);
    metrics_print(t, "# HELP %s %s\n", f->name, f->help);
}

static void
metrics_put_daemon(struct metrics_out *t, const struct metrics *m, const struct metrics_family *f)
{
    if (strcmp(f->type, "info") == 0)
        metrics_print(t, "%s_info{version=\"%s\"} 1\n", f->name, m->version);
    else if (strcmp(f->name, "lunette_sessions") == 0)
        metrics_print(t, "%s %zu\n", f->name, m->n);
    else
        metrics_print(t, "%s %d\n", f->name, m->plane_up);
}

static void
metrics_put_samples(struct metrics_out *t, const struct metrics_family *f, const char *labels,
                    const uint64_t *value)
{
    const char *suffix = strcmp(f->type, "counter") == 0 ? "_total" : "";

    for (size_t i = 0; i < family_samples(f); i++) {
        const char *more = f->sample[i].label;

        if (value[i] == NONE)
            continue;
        metrics_print(t, "%s%s{%s%s%s}", f->name, suffix, labels, more != NULL ? "," : "",
                      more != NULL ? more : "");
        metrics_put_value(t, value[i], f->divisor);
    }
}

static void
metrics_put_histogram(struct metrics_out *t, const struct metrics_family *f, const char *labels,
                      const char *more, const struct metrics_histogram *h)
{
    if (h->count == 0)
        return;
    for (size_t b = 0; b < NBOUNDS; b++)
        metrics_print(t, "%s_bucket{%s,%s,le=\"%.9g\"} %" PRIu64 "\n", f->name, labels, more,
                      (double)(1ull << bounds[b]) / NS, h->below[b]);
    metrics_print(t, "%s_bucket{%s,%s,le=\"+Inf\"} %" PRIu64 "\n", f->name, labels, more, h->count);
    metrics_print(t, "%s_count{%s,%s} %" PRIu64 "\n", f->name, labels, more, h->count);
    metrics_print(t, "%s_sum{%s,%s}", f->name, labels, more);
    metrics_put_value(t, h->sum_ns, f->divisor);
}

/* Values of a LUN, or the next of its histograms. */
static void
metrics_put_lun(struct metrics_out *t, const struct metrics_family *f, const struct metrics_lun *l,
                struct metrics_at *at)
{
    const struct metrics_histogram *h = l->latency;
    size_t i = at->sample++;

    if (f->scope == SCOPE_LUN)
        metrics_put_samples(t, f, l->labels, l->value + family_place(f, true));
    else if (h != NULL)
        metrics_put_histogram(t, f, l->labels, f->sample[i].label,
                              h + i + (f == &families[FAMILY_TOTAL] ? 0 : CLASSES));
    if (f->scope == SCOPE_LUN || h == NULL || at->sample == family_samples(f)) {
        at->lun++;
        at->sample = 0;
    }
}

/* Puts what comes next, which fits METRICS_PIECE_MIN: the head of a family, or what it has of one
 * session or one LUN, or one histogram. */
static void
metrics_put_next(struct metrics_out *t, const struct metrics *m, struct metrics_at *at)
{
    const struct metrics_family *f = &families[at->family];
    bool of_lun = f->scope == SCOPE_LUN || f->scope == SCOPE_LATENCY;
    const struct metrics_session *s;

    if (!at->begun) {
        metrics_put_head(t, f);
        at->begun = true;
        if (f->scope == SCOPE_DAEMON)
            metrics_put_daemon(t, m, f);
        return;
    }
    s = at->session < m->n ? &m->session[at->session] : NULL;
    if (s == NULL || f->scope == SCOPE_DAEMON) {
        *at = (struct metrics_at){.family = at->family + 1};
    } else if (!of_lun) {
        metrics_put_samples(t, f, s->labels, s->value + family_place(f, false));
        at->session++;
    } else if (at->lun < s->nluns) {
        metrics_put_lun(t, f, &s->lun[at->lun], at);
    } else {
        at->session++;
        at->lun = 0;
    }
}

size_t
metrics_text(const struct metrics *m, struct metrics_at *at, char *buf, size_t size)
{
    struct metrics_out t = {buf, buf + size};

    while (t.end - t.at >= METRICS_PIECE_MIN && at->family < NFAMILIES)
        metrics_put_next(&t, m, at);
    if (at->family == NFAMILIES && !at->ended && t.end - t.at >= METRICS_PIECE_MIN) {
        metrics_print(&t, "# EOF\n");
        at->ended = true;
    }
    return (size_t)(t.at - buf);
}
