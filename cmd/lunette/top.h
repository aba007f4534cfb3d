/* SPDX-License-Identifier: MIT */
/* cmd/lunette/top.h - what the files of lunette top share: top_ask.c asks iscsid, top_rate.c
 * compares two answers, top_draw.c makes lines of that, and cmd_top.c does it again and again. */
#ifndef CMD_LUNETTE_TOP_H
#define CMD_LUNETTE_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/* ---- top_ask.c ------------------------------------------------------------------------------ */

/* A connection to the management API (docs/api.md). */
struct top_daemon {
    char path[108]; /* of its socket */
    int fd;         /* -1: not connected */
    bool denied;    /* somebody else's */
};

/* Asks for the statistics of all sessions; connects where there is no connection.  `enough` is
 * asked now and then while an answer is waited for, and ends that.  Returns the answer, which is
 * the caller's; or NULL with a sentence in why, and then the connection is closed. */
json_t *top_ask(struct top_daemon *d, bool (*enough)(void), char *why, size_t size);
void top_hang_up(struct top_daemon *d);

/* ---- top_rate.c ----------------------------------------------------------------------------- */

/* A LUN between two answers, or a session without one (lun -1). */
struct top_row {
    int64_t sid, lun, reopens;
    int64_t conns, conns_wanted; /* connections of the session now, and as its record wants; 0 of
                                    the latter: not known */
    const char *target, *portal, *state;             /* of the later answer, which lives as long */
    const char *reason;                              /* why the session is not up; NULL: it is */
    double reads, writes, read_bytes, written_bytes; /* in a second */
    double mean_ns, p99_ns;                          /* negative: nothing is known */
    double stage_ns[5];                              /* mean, likewise */
};

struct top_rates {
    double seconds;
    size_t sessions, up;
    double reads, writes, bytes; /* of all */
    struct top_row *row;
    size_t n;
};

/* Fills in *ret from two answers, so many seconds apart; before may be NULL, and all rates are 0
 * then.  What has fallen has begun anew.  top_rates_fini frees it. */
void top_rates(struct top_rates *ret, const json_t *before, const json_t *after, double seconds);
void top_rates_fini(struct top_rates *r);
/* The same as JSON. */
json_t *top_rates_json(const struct top_rates *r);

/* ---- top_draw.c ----------------------------------------------------------------------------- */

/* Prints the rates as lines that are not longer than `columns`, `rows` of them at most; with 0 rows
 * as many as there are.  end comes behind each line. */
void top_draw(FILE *to, const struct top_rates *r, int columns, int rows, const char *end);

#endif
