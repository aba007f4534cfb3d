/* SPDX-License-Identifier: MIT */
#include "cmd/lunette/top.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/lunette/cli.h"

#define LINE_MAX_BYTES 1024
#define MB             1e6

enum top_field {
    FIELD_SID,
    FIELD_LUN,
    FIELD_STATE,
    FIELD_READS,
    FIELD_WRITES,
    FIELD_READ_MB,
    FIELD_WRITTEN_MB,
    FIELD_MEAN,
    FIELD_P99,
    FIELD_CONNS,
    FIELD_REOPENS,
    FIELD_TARGET, /* as wide as there is room */
    FIELDS,
};

/* A column, which is shown where the terminal has so many. */
static const struct top_column {
    const char *title;
    int width, from; /* width negative: to the left */
} columns_of[FIELDS] = {
    [FIELD_SID] = {"SID", 4, 0},           [FIELD_LUN] = {"LUN", 4, 10},
    [FIELD_STATE] = {"STATE", -8, 40},     [FIELD_READS] = {"r/s", 7, 20},
    [FIELD_WRITES] = {"w/s", 7, 30},       [FIELD_READ_MB] = {"rMB/s", 7, 96},
    [FIELD_WRITTEN_MB] = {"wMB/s", 7, 96}, [FIELD_MEAN] = {"mean", 8, 50},
    [FIELD_P99] = {"p99", 8, 72},          [FIELD_CONNS] = {"conns", 5, 86},
    [FIELD_REOPENS] = {"lost", 5, 110},    [FIELD_TARGET] = {"TARGET", 0, 60},
};

/* Text of a target, which may hold anything: what a terminal might obey becomes a question mark. */
static void
top_clean(char *to, size_t size, const char *from)
{
    size_t n = 0;

    for (; *from != '\0' && n + 1 < size; from++)
        to[n++] = (unsigned char)*from < 0x20 || (unsigned char)*from >= 0x7f ? '?' : *from;
    to[n] = '\0';
}

static void
time_text(char *to, double ns)
{
    if (ns < 0)
        (void)snprintf(to, TEXT_SIZE, "-");
    else
        (void)format_ns(to, ns);
}

static void
cell(char *to, size_t size, const struct top_row *row, enum top_field f)
{
    static const char *const no_lun = "-";

    switch (f) {
    case FIELD_SID:
        (void)snprintf(to, size, "%" PRId64, row->sid);
        break;
    case FIELD_LUN:
        if (row->lun < 0)
            (void)snprintf(to, size, "%s", no_lun);
        else
            (void)snprintf(to, size, "%" PRId64, row->lun);
        break;
    case FIELD_STATE:
        top_clean(to, size, row->state);
        break;
    case FIELD_READS:
        (void)snprintf(to, size, "%.0f", row->reads);
        break;
    case FIELD_WRITES:
        (void)snprintf(to, size, "%.0f", row->writes);
        break;
    case FIELD_READ_MB:
        (void)snprintf(to, size, "%.1f", row->read_bytes / MB);
        break;
    case FIELD_WRITTEN_MB:
        (void)snprintf(to, size, "%.1f", row->written_bytes / MB);
        break;
    case FIELD_MEAN:
        time_text(to, row->mean_ns);
        break;
    case FIELD_P99:
        time_text(to, row->p99_ns);
        break;
    case FIELD_CONNS:
        if (row->conns_wanted > 0)
            (void)snprintf(to, size, "%" PRId64 "/%" PRId64, row->conns, row->conns_wanted);
        else
            (void)snprintf(to, size, "-");
        break;
    case FIELD_REOPENS:
        (void)snprintf(to, size, "%" PRId64, row->reopens);
        break;
    case FIELD_TARGET:
        top_clean(to, size, row->target);
        break;
    case FIELDS:
        break;
    }
}

/* One line, of the titles where row is NULL.  Of a name that is too long the end is shown, which is
 * what tells it from others. */
static void
draw_line(FILE *to, const struct top_row *row, int columns, const char *end)
{
    char line[LINE_MAX_BYTES] = "", text[256];
    int at = 0, room;

    for (int f = 0; f < FIELDS; f++) {
        const struct top_column *c = &columns_of[f];

        if (columns < c->from)
            continue;
        if (row != NULL)
            cell(text, sizeof(text), row, (enum top_field)f);
        else
            (void)snprintf(text, sizeof(text), "%s", c->title);
        room = columns - at - 2;
        if (f == FIELD_TARGET && room > 0)
            at += snprintf(line + at, sizeof(line) - (size_t)at, " %s",
                           row != NULL && (int)strlen(text) > room
                               ? text + strlen(text) - (size_t)room
                               : text);
        else if (f != FIELD_TARGET)
            at += snprintf(line + at, sizeof(line) - (size_t)at, "%s%*s", at > 0 ? " " : "",
                           c->width, text);
    }
    (void)fprintf(to, "%.*s%s", columns > 1 ? columns - 1 : 1, line, end);
}

void
top_draw(FILE *to, const struct top_rates *r, int columns, int rows, const char *end)
{
    char head[160], rate[TEXT_SIZE];
    size_t most = rows > 3 ? (size_t)rows - 3 : 1;

    columns = columns > 500 ? 500 : columns;
    (void)snprintf(head, sizeof(head), "%zu session%s, %zu up   %.0f reads/s  %.0f writes/s  %s",
                   r->sessions, r->sessions == 1 ? "" : "s", r->up, r->reads, r->writes,
                   format_rate(rate, r->bytes));
    (void)fprintf(to, "%.*s%s%s", columns > 1 ? columns - 1 : 1, head, end, end);
    draw_line(to, NULL, columns, end);
    for (size_t i = 0; i < r->n && (rows == 0 || i < most); i++)
        draw_line(to, &r->row[i], columns, end);
}
