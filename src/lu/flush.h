/* SPDX-License-Identifier: MIT */
/* lu/flush.h - syncs of stores on a helper thread, because they may take long; those of a store
 * that says sync_on_loop run on the loop, a little later.
 *
 * One flusher may serve the devices of a whole process.  All functions are
 * called on the loop's thread, and so is a job's `done`; only the store's own
 * `sync` runs on the helper thread.
 */
#ifndef LU_FLUSH_H
#define LU_FLUSH_H

#include <stdbool.h>

#include "base/list.h"
#include "lu/store.h"
#include "seam/loop.h"

struct lu_flusher;

/* One sync, embedded in what waits for it.  The flusher owns the job from lu_flusher_sync until
 * `done`. */
struct lu_flush_job {
    struct list link;
    struct lu_store *store; /* borrowed; must outlive the job */
    int result;             /* 0 or -errno */
    bool queued;            /* the flusher's: the thread has not taken it yet */
    void (*done)(struct lu_flush_job *job);
};

/* Makes a flusher without a thread, owned by the caller.  loop is borrowed.  Returns 0 or -errno.
 */
int lu_flusher_new(struct loop *loop, struct lu_flusher **ret);

/* Starts the thread if it does not run.  To be called before the first job that needs it.  Returns
 * 0 or -errno.
 */
int lu_flusher_start(struct lu_flusher *f);

/* Has the thread sync job->store; job->done is called later, from the loop. */
void lu_flusher_sync(struct lu_flusher *f, struct lu_flush_job *job);

/* Takes back a job that the thread has not begun: returns true, and job->done is not called.
 * Returns false when it is too late for that. */
bool lu_flusher_cancel(struct lu_flusher *f, struct lu_flush_job *job);

/* Blocks until all jobs have run, and frees f; does nothing for NULL.  A `done` that has not been
 * called yet is not called any more, and the owner may free the job from now on. */
void lu_flusher_free(struct lu_flusher *f);

#endif
