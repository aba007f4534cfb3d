/* SPDX-License-Identifier: MIT */
/* cmd/lunette/progress.h - a bar on a terminal; a few lines elsewhere, if forced. */
#ifndef CMD_LUNETTE_PROGRESS_H
#define CMD_LUNETTE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_mode { PROGRESS_AUTO, PROGRESS_FORCE, PROGRESS_NEVER };

struct progress {
    const char *what;
    uint64_t total; /* UINT64_MAX: not known */
    uint64_t start_ns, next_ns;
    uint64_t rate_ns, rate_done; /* where the rate of the last moments is counted from */
    double rate;
    unsigned quarter; /* lines printed so far where there is no terminal */
    bool terminal, on;
};

void progress_start(struct progress *p, enum progress_mode mode, const char *what, uint64_t total);
/* May be called often: it prints ten times a second at most. */
void progress_update(struct progress *p, uint64_t done);
/* Draws the last state and ends the line. */
void progress_end(struct progress *p, uint64_t done);

#endif
