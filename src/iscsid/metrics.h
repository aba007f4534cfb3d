/* SPDX-License-Identifier: MIT */
/* iscsid/metrics.h - sessions and LUNs as OpenMetrics text.
 *
 * The format wants all samples of a metric together, while sessions are asked about one after the
 * other.  So a struct metrics takes a copy of what was told, session by session, and then text is
 * made of it in pieces, metric by metric.  It knows no sockets.  docs/design/observe.md has the
 * names.
 */
#ifndef ISCSID_METRICS_H
#define ISCSID_METRICS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_PIECE_MIN 32768 /* bytes that a piece of text may need at least */

struct metrics;

/* Made with a reference, with no session in it, and of a data plane that is not there.  NULL: no
 * memory. */
struct metrics *metrics_new(const char *version);
/* Whether iscsi-iod answers. */
void metrics_set_plane_up(struct metrics *m, bool up);
struct metrics *metrics_ref(struct metrics *m);
/* Gives a reference back, with the last one all is freed.  NULL is harmless. */
void metrics_unref(struct metrics *m);

/* Takes over one of the sessions of an answer to session.stats, with histograms; what it does not
 * hold is left out, since 0 would be a number.  Returns 0, or -ENOMEM, and then it is as if the
 * session were not there. */
int metrics_add(struct metrics *m, const json_t *session);

/* Where the text is; all 0 at its beginning. */
struct metrics_at {
    size_t family, session, lun, sample;
    bool begun, ended;
};

/* Puts as many whole lines as fit at buf, where there are `size` bytes, METRICS_PIECE_MIN at least.
 * Returns the bytes; 0: the text has ended. */
size_t metrics_text(const struct metrics *m, struct metrics_at *at, char *buf, size_t size);

#endif
