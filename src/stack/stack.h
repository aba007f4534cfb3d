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
 * A session that is lost and comes back needs nothing of its owner here: the host says so to the
 * midlayer, which holds I/O meanwhile and looks at the disks again.  One that is gone for good ends
 * with stack_detach, whatever is under way.
 *
 * Everything is called on the host's loop.  Callbacks come later, on that loop, never from inside
 * the call that asked for them; but stack_detach, after which none comes, makes those that are due.
 * A callback may call anything here but stack_detach.
 */
#ifndef STACK_STACK_H
#define STACK_STACK_H

#include "scsi/scsi.h"

struct stack;

/* All may be 0: what the midlayer thinks best (scsi/scsi.h). */
struct stack_params {
    uint32_t timeout_ms;   /* of each command to a disk; it bounds patience with spin-up, too */
    uint32_t queue_depth;  /* commands outstanding per device */
    uint64_t max_transfer; /* bytes of a disk command */
    uint32_t max_scan_lun; /* of a target that has no list of its units */
};

enum stack_event {
    STACK_EV_CAME,         /* a scan has found the device */
    STACK_EV_CHANGED,      /* its size, write protection or cache; bdev listeners have been told */
    STACK_EV_GONE,         /* offline: error handling gave up, or another unit is in its place */
    STACK_EV_LUNS_CHANGED, /* the target says that its list of units is another: scan again */
    STACK_EV_ATTENTION,    /* anything else: why tells */
};

struct stack_events {
    /* dev: never NULL; for LUNS_CHANGED the one that brought the news.  why: what the midlayer
     * calls it.  Each is told at most once while it waits to be told. */
    void (*event)(void *user, enum stack_event ev, struct scsi_device *dev, enum scsi_event why);
};

/* A disk that has come up.  Read only for its owner. */
struct stack_disk {
    struct stack *stack;
    struct scsi_device *dev;
    struct bdev *bdev; /* NULL until it is up */
};

/* Attaches the midlayer to h, which is borrowed until it goes or stack_detach.  params are copied;
 * ev and user are borrowed until stack_detach; both params and ev may be NULL.  *ret is the
 * caller's. 0 or -ENOMEM. */
int stack_attach(struct scsi_host *h, const struct stack_params *params,
                 const struct stack_events *ev, void *user, struct stack **ret);

/* Frees the stack with its devices and disks, their block devices and the queues on them.  The host
 * must have given every command back, or have gone out of memory; it is not touched.  What is under
 * way ends from inside this call: requests and callbacks that are due, with -ENODEV.  Sets *s NULL.
 * NULL is harmless. */
void stack_detach(struct stack **s);

/* Finds all logical units.  done: err 0 even if single units failed; else -errno and why.  0 or
 * -ENOMEM.  Scans of one stack are made one after the other. */
int stack_scan(struct stack *s, void (*done)(void *user, int err, const struct lunette_error *why),
               void *user);

/* Looks at one LUN (as on the wire) without looking for others.  done: dev, which lives until
 * stack_detach, or NULL and why (LUNETTE_DOM_NOTFOUND with -ENXIO: there is no such LUN).  0 or
 * -ENOMEM. */
int stack_scan_lun(struct stack *s, const uint8_t lun[8],
                   void (*done)(void *user, struct scsi_device *dev,
                                const struct lunette_error *why),
                   void *user);

/* All devices, in the order in which they were found; NULL at the end. */
struct scsi_device *stack_first_device(struct stack *s);
struct scsi_device *stack_next_device(struct scsi_device *dev);

/* Brings dev up as a disk, with a block device on it.  done, once: the disk, which is the caller's
 * until stack_disk_close or stack_detach; or NULL and why, and nothing is left of it (the device
 * is, and it may be tried again).  0: *ret, where ret is not NULL, is the disk that is on its way,
 * for stack_disk_close.  Else -errno and no done: -EMEDIUMTYPE the device is not a disk, -EALREADY
 * it has a disk, -ENODEV it has been closed (scan again), -ENOMEM. */
int stack_disk_start(struct stack *s, struct scsi_device *dev,
                     void (*done)(void *user, struct stack_disk *d,
                                  const struct lunette_error *why),
                     void *user, struct stack_disk **ret);

/* Takes no new requests, waits for those that are outstanding, flushes the disk's cache where it
 * has one, frees the block device with the queues that are left on it (the owner forgets them), and
 * calls closed once, later; the disk is gone then.  The device refuses everything from then on; a
 * new scan of its LUN finds it afresh.  A disk that is still on its way is let come up or fail
 * first; its done is not called any more, and its device stays as it is. */
void stack_disk_close(struct stack_disk *d, void (*closed)(void *user), void *user);

/* Thin provisioned, as far as the device told; meaningful once a disk has come up. */
bool stack_disk_thin(const struct scsi_device *dev);

/* One raw CDB to a device of any type: scsi_execute of scsi/scsi.h, where struct scsi_exec says
 * what is whose.  0, or -errno and no done: -EINVAL, -ENODEV, -ENOTCONN. */
int stack_execute(struct scsi_device *dev, struct scsi_exec *x);

const char *stack_event_name(enum scsi_event why);

/* For tests: asserts that neither block/ nor scsi/ is set to take the fast path in vain. */
void stack_check_fast(struct stack *s);

#endif
