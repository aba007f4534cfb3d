/* SPDX-License-Identifier: MIT */
/* scsi/scsi.h - the SCSI midlayer: logical units of a host, commands, errors, and the disk driver.
 *
 * A host (seam/host.h) is one I_T nexus with one target behind it.  Everything runs on the host's
 * loop.  No callback is made from inside the call that asked for it.  Plugging a disk to block/
 * takes five steps:
 *
 *     scsi_attach(host, NULL, &events, user, &target);
 *     scsi_scan_lun(target, lun, got_device, user);       // or scsi_scan()
 *     scsi_disk_start(device, disk_is_up, user);
 *     blk_dev_new(&scsi_disk_ops, device, scsi_disk_limits(device), &bdev);
 *     scsi_disk_plug(device, &blk_upcalls, bdev);
 *
 * How a request of the disk ends (bdev_result.err; status and sense beside it):
 *
 *     -ENOLINK     path   connection lost, or the target failed the task: it may have been
 *                         executed, in part or as a whole, and is not safe to send again, or there
 *                         was no session any more on which to do so
 *     -ENOTCONN    path   no session: it was not recovered in time, or the disk is being closed;
 *                         what changes the disk has not been executed
 *     -ENXIO       path   no such logical unit any more, or another one is in its place
 *     -ETIMEDOUT   path   no answer in time; aborted
 *     -ECANCELED   path   swept by a reset, and not safe to send again; or bdev_cancel has ended it
 *     -EIO         path   any other failure
 *     -EHOSTUNREACH path the path is in an ALUA state without access; scsi_path_trouble says which
 *     -ENODEV      path   the device is offline or being removed
 *     -EBUSY       later  BUSY or TASK SET FULL until the time was up
 *     -EPROTO             an answer that makes no sense
 *     -EREMOTEIO          the device refused or failed the command
 *     -ENODATA            unrecovered medium error
 *     -EBADMSG            protection information did not match
 *     -ENOSPC             the thin pool is full
 *     -EROFS              write protected
 *     -EBADE              reservation conflict
 *     -EILSEQ             miscompare
 *     -ENOMEDIUM          no medium
 *     -EOPNOTSUPP         the device cannot do it
 *     -EINVAL             it reaches beyond the end of the device, which has become smaller
 *
 * "path": another path may fare better; "later": so may this one.  scsi_device_why has a sentence
 * where it is the device that fails them all.
 *
 * While the host is BLOCKED, and until a device has been found to be the same again after that,
 * requests wait, raw commands too, and no time of theirs passes.  How long a host stays BLOCKED is
 * the host's to say: GONE ends the wait.
 */
#ifndef SCSI_SCSI_H
#define SCSI_SCSI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "seam/bdev.h"
#include "seam/host.h"
#include "seam/loop.h"

#define SCSI_NAME_MAX     256 /* bytes of a logical unit's name with its NUL */
#define SCSI_SERIAL_MAX   253
#define SCSI_LUNS_MAX     16384 /* of one target */
#define SCSI_DISK_RETRIES 5     /* counted retries of a disk command */

struct scsi_target;
struct scsi_disk;

/* The states of a device; what each means and which may follow which is in scsi/state.def. */
enum scsi_device_state {
#define STATE(name, flags, text) SDEV_##name,
#include "scsi/state.def"
    SDEV_NSTATES,
};

/* Counters of one device: whatever the midlayer does about an answer can be seen in one of them. */
struct scsi_device_stats {
    uint64_t commands;          /* handed to the host */
    uint64_t retries, requeues; /* counted and uncounted re-sends */
    uint64_t busy, task_set_full, held;
    uint64_t unit_attentions, recovered, deferred;
    uint64_t short_transfers, residual_errors;
    uint64_t timeouts, aborts, lu_resets, target_resets, session_resets;
    uint64_t lost_writes; /* times cached writes may have been lost */
};

/* One logical unit.  Read only for others than scsi/. */
struct scsi_device {
    struct list node; /* of the target */
    struct scsi_target *target;
    uint8_t lun[8]; /* as on the wire: the identity */
    enum scsi_device_state state;
    uint8_t type, qualifier; /* INQUIRY byte 0 */
    uint8_t version;         /* INQUIRY byte 2 */
    uint8_t level; /* 0 not told, 1 SCSI-1, 3 SCSI-2, 4 SCSI-3/SPC, 5 SPC-2, 6 SPC-3 ... */
    uint8_t tpgs;  /* ALUA: 0 none, 1 implicit, 2 explicit, 3 both */
    bool alua_told, alua_preferred; /* told: alua_state is what a disk has said of this path */
    uint8_t alua_state;             /* enum alua_state (wire/capacity.h) */
    int32_t rel_port, port_group;   /* of the target port that answers; -1: not told */
    bool removable, cmdque, protect;
    char vendor[9], product[17], revision[5]; /* printable */
    char serial[SCSI_SERIAL_MAX];             /* printable; "" if not told */
    char name[SCSI_NAME_MAX]; /* "naa.…", "eui.…", "t10.…", a SCSI name string, or
                                 made of vendor, product and serial; never empty */
    struct scsi_device_stats stats;
    void *user;             /* of whoever uses the device; not touched by scsi/ */
    struct scsi_disk *disk; /* scsi/'s; NULL until scsi_disk_start */
};

/* What happened to a device or to the target, apart from any command. */
enum scsi_event {
    SCSI_EV_FOUND,        /* a scan has added the device */
    SCSI_EV_LUNS_CHANGED, /* 3F/0E: scan again */
    SCSI_EV_INQUIRY_CHANGED,
    SCSI_EV_CAPACITY,    /* size changed; the bdev has been told */
    SCSI_EV_MODE,        /* write protect or cache changed; the bdev has been told */
    SCSI_EV_POWER_ON,    /* 29/xx: reset by somebody */
    SCSI_EV_LOST_WRITES, /* a cache with acknowledged writes lost its power: possible data loss */
    SCSI_EV_DEFERRED_ERROR, /* an earlier, acknowledged write failed */
    SCSI_EV_RESERVATIONS,   /* 2A/03..05: preempted or released */
    SCSI_EV_ALUA, /* the ALUA state of the path is another now, and stands in the device */
    SCSI_EV_SOFT_THRESHOLD, /* 38/07 */
    SCSI_EV_REPLACED,       /* another unit answers at this LUN: the device is offline, for good */
    SCSI_EV_OFFLINE, /* error handling gave up; or after a new login the unit was not there or not
                        ready for too long, and then it may come back by itself */
    SCSI_EV_ONLINE,  /* a device that was told to be offline is tried again, or is back */
    SCSI_NEVENTS,
};

struct scsi_events {
    /* Tells of an event of dev, which is never NULL.  An event that waits to be told already is not
     * told a second time. */
    void (*event)(void *user, struct scsi_device *dev, enum scsi_event ev);
};

struct scsi_params {
    uint32_t timeout_ms;   /* disk commands; 0: 30 s */
    uint32_t queue_depth;  /* commands outstanding per device; 0: the host's can_queue */
    uint64_t max_transfer; /* bytes of a disk command; 0: 1 MiB */
    uint32_t max_scan_lun; /* sequential scan; 0: 256 */
    uint32_t spinup_s;     /* how long a disk may take to become ready, seconds; 0: 100 */
    uint32_t eh_tur_ms;    /* TEST UNIT READY after a reset; 0: 10 s.  How long the host waits for
                              an abort or a reset is a parameter of its session. */
};

/* Attaches the midlayer: sets h->ev and h->ev_user.  params and ev may be NULL.  0 or -ENOMEM. */
int scsi_attach(struct scsi_host *h, const struct scsi_params *params, const struct scsi_events *ev,
                void *user, struct scsi_target **ret);

/* Changes the time limit of disk commands, which is not 0: with (SCSI_DISK_RETRIES + 1) times that
 * a request is given up.  The time limits of block devices are set beside it (bdev_set_timeout). */
void scsi_set_timeout(struct scsi_target *t, uint32_t timeout_ms);

/* Frees the target and its devices.  The host must have given back every command, since its session
 * is gone; it is not touched any more, except that its ev is set to NULL unless it has said that it
 * is freed.  Commands and scans that still wait here end with -ENODEV from inside this call.  Block
 * devices that are plugged to its disks get BDEV_EV_GONE, and are to be freed afterwards.  NULL is
 * harmless. */
void scsi_detach(struct scsi_target **t);

/* Finds all logical units: new ones are added, known ones are asked again, those that are gone
 * are set offline (SCSI_EV_REPLACED where another unit answers).  done: err 0 even if single
 * units failed; else -errno and why.  Scans and scan_luns wait for each other. */
int scsi_scan(struct scsi_target *t,
              void (*done)(void *user, int err, const struct lunette_error *why), void *user);

/* Adds one unit without looking for others.  done: dev, or NULL and why (LUNETTE_DOM_NOTFOUND
 * with -ENXIO: there is no such LUN). */
int scsi_scan_lun(struct scsi_target *t, const uint8_t lun[8],
                  void (*done)(void *user, struct scsi_device *dev,
                               const struct lunette_error *why),
                  void *user);

/* The same, for raw commands: where the target has no such unit, or INQUIRY fails, dev is a device
 * of type SCSI_TYPE_NONE, and only where no answer comes there is none. */
int scsi_add_lun(struct scsi_target *t, const uint8_t lun[8],
                 void (*done)(void *user, struct scsi_device *dev, const struct lunette_error *why),
                 void *user);

/* All devices, in the order in which they were found; NULL at the end. */
struct scsi_device *scsi_first_device(struct scsi_target *t);
struct scsi_device *scsi_next_device(struct scsi_device *dev);
struct scsi_device *scsi_find_device(struct scsi_target *t, const uint8_t lun[8]);

const char *scsi_state_name(enum scsi_device_state s);
const char *scsi_event_name(enum scsi_event ev);

/* The unit attention that raised the last event ev of dev, ASC << 8 | ASCQ, so that its text
 * (sense_code_text) can be told with the event; 0: something else raised it. */
uint16_t scsi_event_code(const struct scsi_device *dev, enum scsi_event ev);

/* NULL where the path to dev takes I/O, as far as is known, or else a sentence that says why it
 * does not, as "the path is in ALUA standby state".  It goes with -EHOSTUNREACH. */
const char *scsi_path_trouble(const struct scsi_device *dev);

/* Sets a device RUNNING again that had gone OFFLINE; where the session is another one than it went
 * offline in, it is looked at first.  0, or -EINVAL from any other state, and where another unit is
 * in its place.  Where error handling had given it up, a scan that finds the same unit does so, and
 * so does a new session. */
int scsi_device_online(struct scsi_device *dev);

/* Why all commands of dev fail, as a sentence; NULL where they do not, or nobody has said.  Valid
 * until the loop's next turn. */
const struct lunette_error *scsi_device_why(const struct scsi_device *dev);

/* The user of dev has decided to close it: from now on commands do not wait for a session or for
 * the unit to be looked at, but fail with -ENOTCONN, those that wait now as well. */
void scsi_device_leave(struct scsi_device *dev);

/* Flushes the cache of a disk that has one, and then refuses everything (states CANCEL, DEL).  done
 * is called once, later.  scsi_detach frees the device.  The caller drains its block device first.
 * The flush is tried in the session that there is, and no other is waited for: err says why writes
 * that were acknowledged may not be on stable storage (-ENOTCONN: no session), or is 0. */
int scsi_device_remove(struct scsi_device *dev, void (*done)(void *user, int err), void *user);

/* True when a READ or WRITE of dev may take the fast path down, found from the state itself: the
 * device is a disk that is plugged to block/ and runs, and nothing holds its commands back. */
bool scsi_fast_ok(const struct scsi_device *dev);

/* True when a command that comes back GOOD may end the fast path: no refused command, queue depth,
 * back-off or error handling waits to hear of it. */
bool scsi_fast_done_ok(const struct scsi_device *dev);

/* For tests: asserts for each device of t that it is not set to take the fast path, down or up,
 * where the two above say no; that its gate is shut unless it RUNs, which it does only in a session
 * in which it has been looked at; and that somebody looks at it where it waits for that. */
void scsi_check_fast(struct scsi_target *t);

/* ---- commands -------------------------------------------------------------------------------- */

/* A command of scsi/.  It is the driver's part of a blk_request, or a member of a scsi_exec. Behind
 * a blk_request its pointers and those members of sc that depend on nothing but the device are set
 * once, and sc begins at a cache line. */
struct scsi_io {
    struct scsi_device *dev;
    struct blk_request *rq; /* a disk's, else NULL */
    union {
        struct {
            uint8_t state;           /* enum io_state */
            uint8_t stalls;          /* re-issues in a row that moved nothing */
            uint8_t unit_attentions; /* in a row */
            bool back : 1;           /* the host gave it back while an abort was under way */
            bool timed_out : 1;
            bool maybe_done : 1; /* it may have been executed, by whichever of its tries */
            bool lost : 1;       /* with a connection, first at lost_ns */
        };
        uint32_t not_fresh; /* all of them read as one word: 0 says that io is idle, and that none
                               of what the others record has happened to it */
    };
    uint8_t form;   /* how the CDB was built: enum disk_form */
    uint8_t losses; /* where `lost`: how often in a row */
    struct scsi_cmd sc;
    struct list node; /* of dev: in error handling */
    uint64_t seen;    /* flush: writes done when it was sent */
    uint64_t lost_ns;
    struct iovec small; /* data that is not the caller's */
    uint8_t param[24];
    struct scsi_eh_wait wait;
    void (*complete)(struct scsi_io *io); /* the host has given it back for good */
};

/* One raw CDB to a device of any type, embedded in its owner, who keeps it and its buffers until
 * done.  The command is sent once: it is only repeated where it was not sent, or after a unit
 * attention, as often as ua_retries says. */
struct scsi_exec {
    /* in */
    const uint8_t *cdb; /* copied if it fits, else the owner's */
    uint16_t cdb_len;
    uint8_t ua_retries;  /* unit attentions swallowed; each is acted on */
    uint32_t timeout_ms; /* 0: 30 s; also for the wait before it is sent, but not for that until the
                            session has been recovered and the unit been looked at: the time that
                            it takes to get a session back is not the device's, and has a bound of
                            its own */
    struct sg out, in;
    void (*done)(struct scsi_exec *x); /* once, later */
    void *user;
    /* out; err is 0 when any status came back */
    struct bdev_result result;
    uint32_t in_len; /* bytes received */

    /* scsi/'s; sense data is io.sc.sense, result.sense_len bytes */
    struct scsi_io io;
    struct loop_timer timer;
    struct list node;
    uint64_t deadline_ns;
    uint64_t wait_until_ns; /* it is given up where it still waits to be sent */
    uint64_t still_ns;      /* since when its clock stands still; 0: it runs */
    uint64_t lost_ns;       /* where `lost`: when its session was first lost */
    uint32_t backoff_ms;
    int canceled; /* 0, or the err of the first scsi_exec_cancel */
    uint8_t tries, ua_left;
    bool internal; /* a command of the midlayer itself, which is also repeated after BUSY and after
                      a lost connection, and which waits as long as it takes */
    bool waits;    /* it is on the target's waiting list */
    bool lost;     /* it is to go again since its session was lost */
};

/* 0, or -errno and no done: -EINVAL CDB longer than the host takes, -EMSGSIZE more data than it
 * moves in one command, -ENODEV device being removed or offline, -ENOTCONN no session, -ENXIO
 * another unit is in its place. */
int scsi_execute(struct scsi_device *dev, struct scsi_exec *x);

/* Asks the unit by task management: eh_query of seam/host.h, and w->done is called once, later.  0,
 * or -errno and no done: -ENOTCONN no session, -EOPNOTSUPP the host cannot ask. */
int scsi_query_unit(struct scsi_device *dev, enum scsi_query what, struct scsi_eh_wait *w);

/* Has x, which has been started and whose done has not been called, end as soon as the host has let
 * go of it: as bdev_cancel of seam/bdev.h does, with the same err.  done is called once, later. */
void scsi_exec_cancel(struct scsi_exec *x, int err);

/* ---- disks ------------------------------------------------------------------------------------
 */

/* Brings a disk up: spin-up, capacity, provisioning, write protect, cache, limits.  On success
 * done has err 0 and the limits are there; else why is a sentence, and it may be tried again.
 * -EMEDIUMTYPE and no done when the device is not a disk; -EALREADY. */
int scsi_disk_start(struct scsi_device *dev,
                    void (*done)(void *user, int err, const struct lunette_error *why), void *user);

/* Whoever called scsi_disk_start does not want to know any more: done is not called.  What is under
 * way goes on by itself, and another scsi_disk_start takes it over. */
void scsi_disk_abandon(struct scsi_device *dev);

/* Valid once the disk has come up. */
const struct bdev_limits *scsi_disk_limits(const struct scsi_device *dev);
bool scsi_disk_thin(const struct scsi_device *dev);

/* The disk as a driver; drv is the struct scsi_device *. */
extern const struct bdev_driver_ops scsi_disk_ops;

/* Plugs the disk to the block device b, whose up-calls are up; both NULL unplug it, and nothing may
 * be outstanding then. */
void scsi_disk_plug(struct scsi_device *dev, const struct blk_upcalls *up, struct bdev *b);

#endif
