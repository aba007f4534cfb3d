/* SPDX-License-Identifier: MIT */
/* nodedb/lock.h - who may change records, among us and the tools of open-iscsi.
 *
 * Their protocol: whoever can make the link DIR/lock.write to the file DIR/lock has the lock, and
 * removes the link afterwards; the others try again and again.  Nothing says who has it, and
 * whoever is killed leaves it locked.  Ours is a link, too, so that both keep out of each other's
 * way, but to the file DIR/lock.lunette, on which its owner has an flock(2): of a dead owner the
 * kernel takes it away, so that the next one of us knows.  docs/design/records.md says more.
 *
 * One thread at a time; a struct nodedb_lock is not shared.
 */
#ifndef NODEDB_LOCK_H
#define NODEDB_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"

#define NODEDB_LOCK_WAIT_MS 30000 /* as long as open-iscsi waits */
#define NODEDB_LOCK_POLL_MS 10
/* A link of open-iscsi's that has stood unchanged for so long was left by one that was killed, if
 * no program that can have made it is at work: each of them has it for the time of writing a few
 * files. */
#define NODEDB_LOCK_STALE_MS 2000
/* The same where it cannot be seen whether one is at work, as in a container.  It is less than
 * callers of the daemon wait. */
#define NODEDB_LOCK_UNSEEN_STALE_MS 8000
/* How often such programs are looked at. */
#define NODEDB_LOCK_LOOK_MS  200
#define NODEDB_LOCK_SUSPECTS 16

/* A program of open-iscsi's that ran when the link stood already. */
struct nodedb_lock_suspect {
    long pid;
    char name[16];
    unsigned long long started; /* in ticks since the start of the machine, as /proc has it */
};

struct nodedb_lock {
    int dir;          /* -1: not opened */
    int fd;           /* of lock.lunette; -1: not ours */
    unsigned depth;   /* how often it is taken */
    const char *proc; /* where processes are looked up: "/proc" */
    /* Of somebody else's link that was in the way: what it was, and since when it has been the
     * same, by the clock that does not jump.  Kept between calls, so that it ages for those who do
     * not wait, too. */
    bool any;
    struct stat seen;
    uint64_t same_since_ms;
    /* Who may have made it.  Whoever has started later has not, so that all processes are gone
     * through once, and afterwards these alone are looked at. */
    bool looked;
    bool unseen; /* or somebody who is not among them */
    unsigned nsuspects;
    struct nodedb_lock_suspect suspects[NODEDB_LOCK_SUSPECTS];
    uint64_t look_again_ms;
};

/* Opens the directory of the lock, and makes it and its last two parents where they are missing.
 * Returns 0, or -errno with *err. */
int nodedb_lock_open(struct nodedb_lock *l, const char *path, struct lunette_error *err);

/* Takes the lock; whoever has it may take it again.  Waits at most wait_ms, in steps of
 * NODEDB_LOCK_POLL_MS; 0: does not wait.  Returns 0; -EBUSY with *err where somebody else has it;
 * or another -errno with *err. */
int nodedb_lock_take(struct nodedb_lock *l, uint32_t wait_ms, struct lunette_error *err);

/* After -EBUSY: says in *err who has the lock, as far as that can be seen, and returns -EBUSY.  It
 * reads files of /proc, and is for the end of a wait. */
int nodedb_lock_tell(const struct nodedb_lock *l, uint32_t waited_ms, struct lunette_error *err);

/* Gives it back once. */
void nodedb_lock_drop(struct nodedb_lock *l);

/* Gives it back for good and closes the directory. */
void nodedb_lock_close(struct nodedb_lock *l);

#endif
