/* SPDX-License-Identifier: MIT */
/* iscsi/datasn.h - which data of a command have come: runs of DataSN and of bytes (RFC
 * 7143 4.2.2.4, 11.7.5, 11.7.6).
 *
 * Seen is every PDU of the sequence whose header arrived; good are its bytes only when they were
 * placed and their digest was right.  At error recovery level 0 both are one run from 0, which a
 * task keeps as two numbers (exp_datasn and in_done); this is the general form, for what comes out
 * of order or broken.  Memory is bounded: runs beyond DATASN_RUNS are forgotten, which is safe, as
 * what is forgotten counts as missing.
 */
#ifndef ISCSI_DATASN_H
#define ISCSI_DATASN_H

#include <stdbool.h>
#include <stdint.h>

#define DATASN_RUNS 8 /* of either kind */

struct datasn_run {
    uint32_t first, end; /* from first up to, but without, end; first < end */
};

/* In rising order, with a gap between each two. */
struct datasn_set {
    struct datasn_run run[DATASN_RUNS];
    uint32_t count;
};

struct datasn_runs {
    struct datasn_set seen; /* DataSN */
    struct datasn_set good; /* bytes of the buffer */
};

/* Sets *r to what a task at level 0 knows: sn PDUs seen and `bytes` bytes placed, both from 0
 * without a hole. */
void datasn_runs_init(struct datasn_runs *r, uint32_t sn, uint32_t bytes);

/* A Data-In with that DataSN was seen; len of its bytes from offset are good (0: they were not).
 * False when it was forgotten, or had been seen and brings no byte that is new.  Where there is no
 * room for its bytes it does not count as seen, so that both are missing. */
bool datasn_runs_add(struct datasn_runs *r, uint32_t sn, uint32_t offset, uint32_t len);

/* The PDUs with numbers from first up to, but without, end were seen, however many. */
void datasn_runs_saw(struct datasn_runs *r, uint32_t first, uint32_t end);

enum datasn_overlap { DATASN_NONE, DATASN_SOME, DATASN_ALL };

/* Which of the numbers from first up to, but without, end are in the set; first < end. */
enum datasn_overlap datasn_set_has(const struct datasn_set *s, uint32_t first, uint32_t end);

/* The same as datasn_set_missing, for the numbers from `from` on. */
uint32_t datasn_set_missing_from(const struct datasn_set *s, uint32_t from, uint32_t limit,
                                 uint32_t *ret_first);

/* Finds the first run of numbers below limit that is not in the set.  Returns its length, 0 when
 * none is missing, and in *ret_first where it begins. */
uint32_t datasn_set_missing(const struct datasn_set *s, uint32_t limit, uint32_t *ret_first);

#endif
