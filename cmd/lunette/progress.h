/* SPDX-License-Identifier: MIT */
/* cmd/lunette/progress.h - a bar on a terminal; a few lines elsewhere, if forced; or JSON. */
#ifndef CMD_LUNETTE_PROGRESS_H
#define CMD_LUNETTE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_CHOICES "text|json" /* of the option: what follows PROGRESS_AUTO */
enum progress_mode { PROGRESS_AUTO, PROGRESS_FORCE, PROGRESS_JSON, PROGRESS_NEVER };

struct progress {
    const char *what;
    uint64_t total;  /* UINT64_MAX: not known */
    uint64_t before; /* done already when it began: by an earlier run */
    uint64_t start_ns, next_ns;
    uint64_t rate_ns, rate_done;   /* where the rate of the last moments is counted from */
    uint64_t moved_ns, moved_done; /* when something was done for the last time */
    double rate;
    unsigned quarter;       /* lines printed so far where there is no terminal */
    uint64_t lost_until_ns; /* there is no connection, and requests fail from then on; UINT64_MAX:
                               they wait for ever; 0: there is one */
    bool terminal, json, on;
};

/* What a line shows. */
struct progress_view {
    const char *what;
    uint64_t done, total;
    double rate;          /* bytes per second */
    uint64_t stalled_sec; /* 0: it moves */
    bool last;
    const char *lost; /* NULL: there is a connection; else for how long it is tried again */
};

#define PROGRESS_LINE_MAX 160

/* Writes the line of at most `columns` columns to buf.  The bar goes first where room is short,
 * then the words, then the numbers from the right. */
void progress_format(char buf[PROGRESS_LINE_MAX], int columns, const struct progress_view *v);

void progress_start(struct progress *p, enum progress_mode mode, const char *what, uint64_t total,
                    uint64_t before);
/* May be called often: it prints ten times a second at most. */
void progress_update(struct progress *p, uint64_t done);
/* Takes the line off the terminal, so that something else may be printed; the next update draws it
 * again. */
void progress_clear(struct progress *p);
/* With PROGRESS_JSON: an object for something that has happened. */
void progress_event(const struct progress *p, const char *event, const char *text);
/* There is no connection: requests fail after limit_ms, where that is not negative, else never. */
void progress_lost(struct progress *p, int64_t limit_ms);
/* There is one again. */
void progress_back(struct progress *p);
/* Draws the last state and ends the line. */
void progress_end(struct progress *p, uint64_t done);

#endif
