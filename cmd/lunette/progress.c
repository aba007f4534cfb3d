/* SPDX-License-Identifier: MIT */
/* cmd/lunette/progress.c - one line on stderr: bar, share, rate, time left. */
#include "cmd/lunette/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/lunette/cli.h"

#define INTERVAL_NS 100000000ull
#define BAR_MAX     40

void
progress_start(struct progress *p, enum progress_mode mode, const char *what, uint64_t total)
{
    uint64_t now = now_ns();

    *p = (struct progress){.what = what, .total = total, .start_ns = now, .rate_ns = now};
    p->terminal = isatty(STDERR_FILENO) == 1;
    p->on = mode == PROGRESS_FORCE || (mode == PROGRESS_AUTO && p->terminal);
    p->next_ns = now + INTERVAL_NS;
}

static int
columns(void)
{
    struct winsize ws;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col >= 40)
        return ws.ws_col;
    return 80;
}

static void
bar(char *buf, size_t size, double share, int width)
{
    static const char full[] = "########################################";
    static const char empty[] = "........................................";
    int filled = (int)(share * width + 0.5);

    snprintf(buf, size, "[%.*s%.*s]", filled, full, width - filled, empty);
}

static void
draw(struct progress *p, uint64_t done, double rate, bool last)
{
    char size[TEXT_SIZE], speed[TEXT_SIZE], line[160], picture[BAR_MAX + 3], left[32] = "";
    double share = p->total == 0 ? 1 : (double)done / (double)p->total;

    format_size(size, done);
    format_rate(speed, rate);
    if (p->total == UINT64_MAX) {
        snprintf(line, sizeof(line), "%-9s %10s  %12s", p->what, size, speed);
    } else {
        int width = p->terminal ? columns() - 56 : BAR_MAX;
        bar(picture, sizeof(picture), share, width < 10 ? 10 : width > BAR_MAX ? BAR_MAX : width);
        uint64_t secs = rate > 0 ? (uint64_t)((double)(p->total - done) / rate) : 0;
        if (!last && rate > 0)
            snprintf(left, sizeof(left), "%llu:%02llu left", (unsigned long long)(secs / 60),
                     (unsigned long long)(secs % 60));
        snprintf(line, sizeof(line), "%-9s %s %3.0f %%  %10s  %12s %s", p->what, picture,
                 share * 100, size, speed, left);
    }
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
    if (now < p->next_ns)
        return;
    p->next_ns = now + INTERVAL_NS;
    if (!p->terminal) { /* not a terminal: a line at each quarter */
        unsigned quarter = p->total == UINT64_MAX ? 0 : (unsigned)(done * 4 / (p->total + 1));
        if (quarter <= p->quarter)
            return;
        p->quarter = quarter;
    }
    /* the rate is that of the last seconds, smoothed */
    double secs = (double)(now - p->rate_ns) / 1e9;
    double recent = (double)(done - p->rate_done) / (secs > 0 ? secs : 1);
    p->rate = p->rate_done == 0 ? recent : p->rate * 0.8 + recent * 0.2;
    p->rate_ns = now;
    p->rate_done = done;
    draw(p, done, p->rate, false);
}

void
progress_end(struct progress *p, uint64_t done)
{
    if (!p->on)
        return;
    double secs = (double)(now_ns() - p->start_ns) / 1e9;
    draw(p, done, secs > 0 ? (double)done / secs : 0, true);
    p->on = false;
}
