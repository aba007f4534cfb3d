/* SPDX-License-Identifier: MIT */
/* cmd/lunette/progress.c - one line on stderr: bar, share, rate, time left. */
#include "cmd/lunette/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/lunette/cli.h"

#define INTERVAL_NS 100000000ull
#define JSON_NS     1000000000ull
#define STALL_NS    3000000000ull
#define BAR_MAX     40
#define BAR_MIN     10

void
progress_start(struct progress *p, enum progress_mode mode, const char *what, uint64_t total,
               uint64_t before)
{
    uint64_t now = now_ns();

    *p = (struct progress){.what = what, .total = total, .before = before};
    p->start_ns = p->rate_ns = p->moved_ns = now;
    p->rate_done = p->moved_done = before;
    p->json = mode == PROGRESS_JSON;
    p->terminal = isatty(STDERR_FILENO) == 1 && !p->json;
    p->on = p->json || mode == PROGRESS_FORCE || (mode == PROGRESS_AUTO && p->terminal);
    p->next_ns = now + (p->json ? JSON_NS : INTERVAL_NS);
}

static void
bar(char *buf, size_t size, double share, int width)
{
    static const char full[] = "########################################";
    static const char empty[] = "........................................";
    int filled = (int)(share * width + 0.5);

    snprintf(buf, size, "[%.*s%.*s] ", filled, full, width - filled, empty);
}

/* "4:05", "1:04:05", "3 d 1 h" */
static void
format_left(char *buf, size_t size, uint64_t secs)
{
    unsigned long long d = secs / 86400, h = secs / 3600 % 24, m = secs / 60 % 60, s = secs % 60;

    if (d > 0)
        snprintf(buf, size, "%llu d %llu h left", d, h);
    else if (h > 0)
        snprintf(buf, size, "%llu:%02llu:%02llu left", h, m, s);
    else
        snprintf(buf, size, "%llu:%02llu left", m, s);
}

static uint64_t
seconds_left(uint64_t done, uint64_t total, double rate)
{
    double left = (double)(total - done) / rate;

    return left < 1e9 ? (uint64_t)left : 1000000000;
}

static double
share_done(uint64_t done, uint64_t total)
{
    return total == 0 ? 1 : (double)done / (double)total;
}

void
progress_format(char buf[PROGRESS_LINE_MAX], int columns, const struct progress_view *v)
{
    char size[TEXT_SIZE], speed[TEXT_SIZE], numbers[PROGRESS_LINE_MAX], picture[BAR_MAX + 4] = "";
    char left[TEXT_SIZE] = "", percent[16] = "", what[16];
    bool known = v->total != UINT64_MAX;

    format_size(size, v->done);
    format_rate(speed, v->rate);
    snprintf(what, sizeof(what), "%-9.14s ", v->what);
    if (known)
        snprintf(percent, sizeof(percent), "%3.0f %%  ", share_done(v->done, v->total) * 100);
    if (v->lost != NULL)
        snprintf(left, sizeof(left), "no connection%s", v->lost);
    else if (v->stalled_sec > 0)
        snprintf(left, sizeof(left), "stalled for %llu s", (unsigned long long)v->stalled_sec);
    else if (known && !v->last && v->rate > 0)
        format_left(left, sizeof(left), seconds_left(v->done, v->total, v->rate));
    if (v->lost != NULL) /* there is no rate */
        snprintf(numbers, sizeof(numbers), "%s%10s  %s", percent, size, left);
    else
        snprintf(numbers, sizeof(numbers), "%s%10s  %12s  %s", percent, size, speed, left);
    /* room is kept for the longest time left, so that the bar does not jump */
    int room = columns - (int)strlen(what) - (int)strlen(percent) - 26 - 18 - 3;
    if (known && room >= BAR_MIN)
        bar(picture, sizeof(picture), share_done(v->done, v->total),
            room > BAR_MAX ? BAR_MAX : room);
    if (picture[0] == '\0' && (int)(strlen(what) + strlen(numbers)) > columns) {
        what[0] = '\0';
        snprintf(numbers, sizeof(numbers), "%s%s  %s  %s", percent, size, speed, left);
    }
    snprintf(buf, PROGRESS_LINE_MAX, "%s%s%s", what, picture, numbers);
    if (columns >= 0 && columns < PROGRESS_LINE_MAX)
        buf[columns] = '\0';
    for (size_t n = strlen(buf); n > 0 && buf[n - 1] == ' '; n--)
        buf[n - 1] = '\0';
}

/* One object a line, for programs. */
static void
progress_json(const struct progress *p, uint64_t done, double rate, bool last)
{
    fprintf(stderr, "{\"phase\": \"%s\", \"bytes\": %llu, \"total\": ", p->what,
            (unsigned long long)done);
    if (p->total != UINT64_MAX)
        fprintf(stderr, "%llu", (unsigned long long)p->total);
    else
        fputs("null", stderr);
    fprintf(stderr, ", \"bytes_per_second\": %.0f, \"seconds_left\": ", rate);
    if (p->total != UINT64_MAX && rate > 0)
        fprintf(stderr, "%llu", (unsigned long long)seconds_left(done, p->total, rate));
    else
        fputs("null", stderr);
    fprintf(stderr, ", \"connected\": %s, \"last\": %s}\n",
            p->lost_until_ns == 0 ? "true" : "false", last ? "true" : "false");
}

/* " (118 s)": how long it is tried yet. */
static const char *
lost_limit(const struct progress *p, uint64_t now, char *buf, size_t size)
{
    uint64_t left = p->lost_until_ns > now ? p->lost_until_ns - now : 0;

    buf[0] = '\0';
    if (p->lost_until_ns != UINT64_MAX)
        snprintf(buf, size, " (%llu s)", (unsigned long long)((left + 999999999u) / 1000000000u));
    return buf;
}

static void
draw(struct progress *p, uint64_t done, double rate, bool last)
{
    struct progress_view v = {p->what, done, p->total, rate, .last = last};
    char line[PROGRESS_LINE_MAX], limit[TEXT_SIZE];
    uint64_t now = now_ns(), idle = now - p->moved_ns;

    if (!last && idle >= STALL_NS)
        v.stalled_sec = idle / 1000000000u;
    if (!last && p->lost_until_ns != 0)
        v.lost = lost_limit(p, now, limit, sizeof(limit));
    if (p->json) {
        progress_json(p, done, rate, last);
        return;
    }
    /* the last column stays free: some terminals begin a new line when it is filled */
    progress_format(line, p->terminal ? terminal_columns() - 1 : PROGRESS_LINE_MAX - 1, &v);
    if (p->terminal)
        fprintf(stderr, "\r%s\033[K%s", line, last ? "\n" : "");
    else
        fprintf(stderr, "%s\n", line);
    fflush(stderr);
}

void
progress_update(struct progress *p, uint64_t done)
{
    if (!p->on)
        return;
    uint64_t now = now_ns();
    if (done != p->moved_done) {
        p->moved_ns = now;
        p->moved_done = done;
    }
    if (now < p->next_ns)
        return;
    p->next_ns = now + (p->json ? JSON_NS : INTERVAL_NS);
    if (!p->terminal && !p->json) { /* a line at each quarter */
        unsigned quarter = p->total == UINT64_MAX ? 0 : (unsigned)(done / (p->total / 4 + 1));
        if (quarter <= p->quarter)
            return;
        p->quarter = quarter;
    }
    /* the rate is that of the last seconds, smoothed */
    double secs = (double)(now - p->rate_ns) / 1e9;
    double recent = (double)(done - p->rate_done) / (secs > 0 ? secs : 1);
    p->rate = p->rate_done == p->before ? recent : p->rate * 0.8 + recent * 0.2;
    p->rate_ns = now;
    p->rate_done = done;
    draw(p, done, p->rate, false);
}

void
progress_clear(struct progress *p)
{
    if (!p->on || !p->terminal)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    p->next_ns = 0;
}

void
progress_event(const struct progress *p, const char *event, const char *text)
{
    json_t *j = json_pack("{s:s, s:s, s:s}", "phase", p->what, "event", event, "text", text);

    if (j == NULL)
        return;
    (void)json_dumpf(j, stderr, JSON_ENSURE_ASCII);
    fputc('\n', stderr);
    fflush(stderr);
    json_decref(j);
}

void
progress_lost(struct progress *p, int64_t limit_ms)
{
    p->lost_until_ns = limit_ms < 0 ? UINT64_MAX : now_ns() + (uint64_t)limit_ms * 1000000u;
}

void
progress_back(struct progress *p)
{
    if (p->lost_until_ns == 0)
        return;
    p->lost_until_ns = 0;
    p->moved_ns = now_ns(); /* it stood still, but not for want of anything that moves now */
}

void
progress_end(struct progress *p, uint64_t done)
{
    if (!p->on)
        return;
    double secs = (double)(now_ns() - p->start_ns) / 1e9;
    draw(p, done, secs > 0 ? (double)(done - p->before) / secs : 0, true);
    p->on = false;
}
