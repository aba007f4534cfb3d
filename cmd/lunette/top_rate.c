/* SPDX-License-Identifier: MIT */
#include "cmd/lunette/top.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/latency.h"
#include "cmd/lunette/cli.h"

static const char *const classes[] = {"read", "write", "other"};
static const char *const stages[] = {"queue", "window", "send", "target", "receive"};
#define NSTAGES (sizeof(stages) / sizeof(stages[0]))

static int64_t
member(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static const char *
text_member(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text != NULL ? text : "";
}

/* By how much it has grown. */
static double
growth(const json_t *before, const json_t *after, const char *name)
{
    int64_t a = member(before, name), b = member(after, name);

    return (double)(b >= a ? b - a : b);
}

/* Adds the buckets of a histogram, or takes them away. */
static void
buckets_add(double *to, const json_t *h, double sign)
{
    const json_t *list = json_object_get(h, "buckets");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i), *below = json_array_get(pair, 0);
        uint64_t bound = json_is_integer(below) ? (uint64_t)json_integer_value(below) : UINT64_MAX;

        to[latency_bucket(bound - 1)] += sign * (double)json_integer_value(json_array_get(pair, 1));
    }
}

/* The upper bound of the bucket in which 99 of 100 have been counted; -1: nothing has. */
static double
percentile_99(const double *bucket)
{
    double all = 0, seen = 0;

    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
        all += bucket[i] > 0 ? bucket[i] : 0;
    if (all <= 0)
        return -1;
    for (uint32_t i = 0; i < LATENCY_BUCKETS - 1; i++) {
        seen += bucket[i] > 0 ? bucket[i] : 0;
        if (seen >= 0.99 * all)
            return (double)latency_bound(i);
    }
    return (double)latency_bound(LATENCY_BUCKETS - 2);
}

static double
mean_of(double sum, double count)
{
    return count > 0 ? sum / count : -1;
}

static void
row_times(struct top_row *row, const json_t *before, const json_t *after)
{
    const json_t *was = json_object_get(before, "latency"), *is = json_object_get(after, "latency");
    double bucket[LATENCY_BUCKETS] = {0}, sum = 0, count = 0, stage[NSTAGES] = {0};

    if (member(is, "timed") < member(was, "timed"))
        was = NULL; /* all of it has begun anew */
    for (size_t c = 0; c < sizeof(classes) / sizeof(classes[0]); c++) {
        const json_t *a = json_object_get(was, classes[c]), *b = json_object_get(is, classes[c]);
        const json_t *total = json_object_get(b, "total");

        buckets_add(bucket, total, 1);
        buckets_add(bucket, json_object_get(a, "total"), -1);
        sum += growth(json_object_get(a, "total"), total, "sum_ns");
        count += growth(json_object_get(a, "total"), total, "count");
        for (size_t s = 0; s < NSTAGES; s++)
            stage[s] +=
                growth(json_object_get(a, stages[s]), json_object_get(b, stages[s]), "sum_ns");
    }
    row->p99_ns = percentile_99(bucket);
    row->mean_ns = mean_of(sum, count);
    for (size_t s = 0; s < NSTAGES; s++)
        row->stage_ns[s] = mean_of(stage[s], count);
    if (count <= 0)
        row->mean_ns = mean_of(growth(before, after, "driver_ns"), growth(before, after, "pieces"));
}

static void
row_session(struct top_row *row, const json_t *s)
{
    *row = (struct top_row){.sid = member(s, "sid"),
                            .lun = -1,
                            .reopens = member(s, "reopens"),
                            .conns = member(s, "connections_up"),
                            .conns_wanted = member(s, "connections_wanted"),
                            .target = text_member(s, "target"),
                            .portal = text_member(s, "portal"),
                            .state = text_member(s, "state"),
                            .mean_ns = -1,
                            .p99_ns = -1};
    for (size_t i = 0; i < NSTAGES; i++)
        row->stage_ns[i] = -1;
    if (strcmp(row->state, "LOGGED_IN") != 0)
        row->reason = text_member(s, "reason");
}

static void
row_lun(struct top_row *row, const json_t *before, const json_t *lun, double seconds)
{
    row->lun = member(lun, "lun");
    if (row->reason == NULL)
        row->state = text_member(lun, "state");
    if (before == NULL || seconds <= 0)
        return;
    row->reads = growth(before, lun, "reads") / seconds;
    row->writes = growth(before, lun, "writes") / seconds;
    row->read_bytes = growth(before, lun, "read_bytes") / seconds;
    row->written_bytes = growth(before, lun, "written_bytes") / seconds;
    row_times(row, before, lun);
}

/* LUNs of an answer by "sid/lun"; they are borrowed. */
static json_t *
luns_by_name(const json_t *answer)
{
    const json_t *sessions = json_object_get(answer, "sessions");
    json_t *ret = json_object();
    char name[64];

    for (size_t i = 0; i < json_array_size(sessions); i++) {
        const json_t *s = json_array_get(sessions, i), *luns = json_object_get(s, "luns");

        for (size_t k = 0; k < json_array_size(luns); k++) {
            json_t *lun = json_array_get(luns, k);

            (void)snprintf(name, sizeof(name), "%" PRId64 "/%" PRId64, member(s, "sid"),
                           member(lun, "lun"));
            (void)json_object_set(ret, name, lun);
        }
    }
    return ret;
}

static size_t
count_rows(const json_t *sessions)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(sessions); i++) {
        size_t luns = json_array_size(json_object_get(json_array_get(sessions, i), "luns"));

        n += luns > 0 ? luns : 1;
    }
    return n;
}

static void
rates_session(struct top_rates *r, const json_t *s, const json_t *before, double seconds)
{
    const json_t *luns = json_object_get(s, "luns");
    char name[64];

    r->sessions++;
    r->up += strcmp(text_member(s, "state"), "LOGGED_IN") == 0;
    for (size_t k = 0; k == 0 || k < json_array_size(luns); k++) {
        const json_t *lun = json_array_get(luns, k);
        struct top_row *row = &r->row[r->n++];

        row_session(row, s);
        if (lun == NULL)
            return;
        (void)snprintf(name, sizeof(name), "%" PRId64 "/%" PRId64, row->sid, member(lun, "lun"));
        row_lun(row, json_object_get(before, name), lun, seconds);
        r->reads += row->reads;
        r->writes += row->writes;
        r->bytes += row->read_bytes + row->written_bytes;
    }
}

void
top_rates(struct top_rates *ret, const json_t *before, const json_t *after, double seconds)
{
    const json_t *sessions = json_object_get(after, "sessions");
    size_t n = count_rows(sessions);
    json_t *was = luns_by_name(before);

    *ret = (struct top_rates){.seconds = seconds, .row = xmalloc((n + 1) * sizeof(*ret->row))};
    for (size_t i = 0; i < json_array_size(sessions); i++)
        rates_session(ret, json_array_get(sessions, i), was, seconds);
    json_decref(was);
}

void
top_rates_fini(struct top_rates *r)
{
    free(r->row);
    r->row = NULL;
    r->n = 0;
}

/* ---- as JSON -------------------------------------------------------------------------------- */

static json_t *
top_known(double ns)
{
    return ns < 0 ? json_null() : json_integer((json_int_t)ns);
}

static json_t *
lun_json(const struct top_row *row)
{
    json_t *o =
        json_pack("{s:I,s:s,s:f,s:f,s:f,s:f,s:o,s:o}", "lun", (json_int_t)row->lun, "state",
                  row->state, "reads_per_s", row->reads, "writes_per_s", row->writes,
                  "read_bytes_per_s", row->read_bytes, "written_bytes_per_s", row->written_bytes,
                  "mean_ns", top_known(row->mean_ns), "p99_ns", top_known(row->p99_ns));
    char name[32];

    for (size_t s = 0; s < NSTAGES; s++) {
        (void)snprintf(name, sizeof(name), "%s_ns", stages[s]);
        (void)json_object_set_new(o, name, top_known(row->stage_ns[s]));
    }
    return o;
}

json_t *
top_rates_json(const struct top_rates *r)
{
    json_t *sessions = json_array(), *luns = NULL;

    for (size_t i = 0; i < r->n; i++) {
        const struct top_row *row = &r->row[i];

        if (i == 0 || row->sid != r->row[i - 1].sid) {
            json_t *s = json_pack("{s:I,s:s,s:s,s:s,s:I,s:I,s:I,s:o}", "sid", (json_int_t)row->sid,
                                  "target", row->target, "portal", row->portal, "state",
                                  row->reason != NULL || row->lun < 0 ? row->state : "LOGGED_IN",
                                  "reopens", (json_int_t)row->reopens, "connections_up",
                                  (json_int_t)row->conns, "connections_wanted",
                                  (json_int_t)row->conns_wanted, "luns", luns = json_array());

            if (row->reason != NULL && row->reason[0] != '\0')
                (void)json_object_set_new(s, "reason", json_string(row->reason));
            (void)json_array_append_new(sessions, s);
        }
        if (row->lun >= 0)
            (void)json_array_append_new(luns, lun_json(row));
    }
    return json_pack("{s:f,s:o}", "seconds", r->seconds, "sessions", sessions);
}
