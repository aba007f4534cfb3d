/* SPDX-License-Identifier: MIT */
/* stack/stack.h - what stands above a SCSI host: the midlayer, its logical units, disks with their
 * block devices, and what happens to them.  No URL, no credentials, no login, no session.
 *
 * An owner of a struct scsi_host (seam/host.h), which is one I_T nexus that has logged in, does
 * this:
 *
 *     stack_attach(host, &params, &events, user, &stack);
 *     stack_scan_lun(stack, lun, found, user);            // or stack_scan()
 *     stack_disk_start(stack, device, disk_is_up, user, NULL);
 *     bdev_queue_new(disk->bdev, loop, depth, &queue);    // seam/bdev.h: I/O from here on
 *     ...
 *     stack_disk_close(disk, closed, user);               // before the session is logged out
 *     (log out, or lose the session: the host gives every command back)
 *     stack_detach(&stack);
 *
 * The owner need not do anything here when a session is lost and comes back: the host tells the
 * midlayer, which holds I/O meanwhile and then looks at the disks again (docs/design/replay.md).
 * When a session is gone for good, the owner calls stack_detach, whatever is still going on.
 *
 * Everything is called on the host's loop.  Callbacks come later, on that loop, and never from
 * inside the call that asked for them.  The exception is stack_detach: it makes the callbacks that
 * are still due from inside, and none comes after it.  A callback may call anything here but
 * stack_detach; one that stack_detach makes (its error is -ENODEV) may call nothing here.
 */
#ifndef STACK_STACK_H
#define STACK_STACK_H

#include "scsi/scsi.h"

struct stack;

/* Where a field is 0, the midlayer's default is taken (scsi/scsi.h). */
struct stack_params {
    uint32_t timeout_ms;   /* of each command to a disk; also bounds the wait for a disk that spins
                              up, which gets 30 s at least */
    uint32_t queue_depth;  /* commands outstanding per device */
    uint64_t max_transfer; /* bytes of a disk command */
    uint32_t max_scan_lun; /* how many LUNs are tried where a target has no list of its units */
};

enum stack_event {
    STACK_EV_CAME,         /* a scan has found the device */
    STACK_EV_CHANGED,      /* its size, write protection or cache; bdev listeners have been told */
    STACK_EV_GONE,         /* offline: error handling gave up, or another unit is in its place; or
                              after a new login the unit was not there or not ready for too long,
                              and then it may come back by itself: see why */
    STACK_EV_LUNS_CHANGED, /* the target's list of units has changed: scan again */
    STACK_EV_ATTENTION,    /* anything else: see why */
};

struct stack_events {
    /* dev is never NULL; for LUNS_CHANGED it is the device that reported the change.  why is the
     * midlayer's name of the event.  The same event of a device that happens again before it has
     * been delivered is delivered once. */
    void (*event)(void *user, enum stack_event ev, struct scsi_device *dev, enum scsi_event why);
};

/* A disk.  Its owner only reads it. */
struct stack_disk {
    struct stack *stack;
    struct scsi_device *dev;
    struct bdev *bdev; /* NULL until it is up */
};

/* Attaches the midlayer to h, which is borrowed until stack_detach, or until it says that it is
 * freed. params are copied; ev and user are borrowed until stack_detach; params and ev may be NULL.
 * *ret is the caller's.  Returns 0 or -ENOMEM. */
int stack_attach(struct scsi_host *h, const struct stack_params *params,
                 const struct stack_events *ev, void *user, struct stack **ret);

/* Frees the stack with its devices and disks, their block devices and the queues on them.  The host
 * must have given every command back, or have been freed; it is not touched.  Requests that are
 * still outstanding end with -ENODEV, and callbacks that are still due are called with -ENODEV,
 * from inside this call.  Sets *s NULL.  NULL is harmless. */
void stack_detach(struct stack **s);

/* Finds all logical units.  done gets err 0 even if single units failed; otherwise -errno and why.
 * Returns 0 or -ENOMEM.  Several scans of one stack are made one after the other. */
int stack_scan(struct stack *s, void (*done)(void *user, int err, const struct lunette_error *why),
               void *user);

/* Looks at one LUN (as on the wire) and at no other.  done gets dev, which is valid until
 * stack_detach, or NULL and why (LUNETTE_DOM_NOTFOUND with -ENXIO where there is no such LUN).
 * Returns 0 or -ENOMEM. */
int stack_scan_lun(struct stack *s, const uint8_t lun[8],
                   void (*done)(void *user, struct scsi_device *dev,
                                const struct lunette_error *why),
                   void *user);

/* The same, for raw commands: where there is no such LUN, or INQUIRY fails, dev is a device that no
 * driver takes; only where no answer comes there is none. */
int stack_add_lun(struct stack *s, const uint8_t lun[8],
                  void (*done)(void *user, struct scsi_device *dev,
                               const struct lunette_error *why),
                  void *user);

/* All devices, in the order in which they were found; NULL at the end. */
struct scsi_device *stack_first_device(struct stack *s);
struct scsi_device *stack_next_device(struct scsi_device *dev);

/* Brings dev up as a disk with a block device on it.  done is called once: with the disk, which is
 * the caller's until stack_disk_close or stack_detach; or with NULL and why, and then nothing of
 * the disk is left, and dev may be tried again.  Returns 0, and in *ret, where ret is not NULL, the
 * disk that is coming up, which may be given to stack_disk_close.  Otherwise returns -errno, and
 * done is not called: -EMEDIUMTYPE (dev is not a disk), -EALREADY (dev has a disk), -ENODEV (its
 * disk has been closed: scan again), -ENOMEM. */
int stack_disk_start(struct stack *s, struct scsi_device *dev,
                     void (*done)(void *user, struct stack_disk *d,
                                  const struct lunette_error *why),
                     void *user, struct stack_disk **ret);

/* Closes a disk: refuses new requests, waits for those that are outstanding, flushes the disk's
 * cache where it has one, frees the block device with the queues that are left on it, and calls
 * closed once, later, when all of it is gone.  The owner must not touch those queues any more
 * when closed is called.  The device refuses everything from then on; a new scan of its LUN makes
 * another device of it.
 *
 * No session is waited for: requests that wait for one fail with -ENOTCONN, and the flush is tried
 * where there is one.  err is 0, or says why what was written last may not be on stable storage. If
 * the disk is still coming up, it is given up at once; the done of stack_disk_start is not called
 * any more, and the device stays as it is. */
void stack_disk_close(struct stack_disk *d, void (*closed)(void *user, int err), void *user);

/* The disk is going to be closed, but somebody still uses its block device and has to end first:
 * from now on requests wait for no session, but fail with -ENOTCONN. */
void stack_disk_leave(struct stack_disk *d);

/* Why all commands of dev fail, as a sentence: scsi_device_why of scsi/scsi.h. */
const struct lunette_error *stack_device_why(const struct scsi_device *dev);

#define STACK_TIMEOUT_MS 30000 /* of disk commands, where nobody has said otherwise */

/* Changes the time limit of commands to disks, of those that are up and of those to come; commands
 * under way keep theirs.  It is not 0. */
void stack_set_timeout(struct stack *s, uint32_t timeout_ms);

/* True when the device has said that it is thin provisioned.  Only valid once its disk has come up.
 */
bool stack_disk_thin(const struct scsi_device *dev);

/* One raw CDB to a device of any type: scsi_execute of scsi/scsi.h, where struct scsi_exec says
 * what is whose.  0, or -errno and no done: -EINVAL, -ENODEV, -ENOTCONN. */
int stack_execute(struct scsi_device *dev, struct scsi_exec *x);

/* Asks dev: scsi_query_unit of scsi/scsi.h. */
int stack_query(struct scsi_device *dev, enum scsi_query what, struct scsi_eh_wait *w);

/* Has x end as soon as it can: scsi_exec_cancel of scsi/scsi.h. */
void stack_cancel(struct scsi_exec *x, int err);

const char *stack_event_name(enum scsi_event why);

/* For tests: asserts that neither block/ nor scsi/ is set to take the fast path in vain. */
void stack_check_fast(struct stack *s);

#endif
