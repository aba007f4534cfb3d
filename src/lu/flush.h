/* SPDX-License-Identifier: MIT */
/* lu/flush.h - syncs of stores on a helper thread, because they may take long.
 *
 * One flusher may serve the devices of a whole process.  All functions are
 * called on the loop's thread, and so is a job's `done`; only the store's own
 * `sync` runs on the helper thread.
 */
#ifndef LU_FLUSH_H
#define LU_FLUSH_H

#include "base/list.h"
#include "lu/store.h"
#include "seam/loop.h"

struct lu_flusher;

/* One sync.  Embedded in what waits for it; the flusher's from lu_flusher_sync until `done`. */
struct lu_flush_job {
    struct list link;
    struct lu_store *store; /* borrowed; must outlive the job */
    int result;             /* 0 or -errno */
    void (*done)(struct lu_flush_job *job);
};

/* loop is borrowed.  No thread runs yet. */
int lu_flusher_new(struct loop *loop, struct lu_flusher **ret);

/* Starts the thread if it does not run: before the first job. */
int lu_flusher_start(struct lu_flusher *f);

void lu_flusher_sync(struct lu_flusher *f, struct lu_flush_job *job);

/* Waits until all jobs have run.  Those whose `done` has not been called yet are forgotten: whoever
 * owns them may free them from now on.  NULL is harmless. */
void lu_flusher_free(struct lu_flusher *f);

#endif
