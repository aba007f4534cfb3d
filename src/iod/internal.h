/* SPDX-License-Identifier: MIT */
/* iod/internal.h - what the files of iod/ that deal with units share.
 *
 * Each calls only those after it: units.c (requests, sessions, and what happens
 * next), unit_list.c (answers that describe), unit_scan.c, unit_export.c,
 * unit.c.  Whoever has ended something defers unit_host.step, in which units.c
 * looks what can be done now; so nothing is freed under its own callback.
 */
#ifndef IOD_INTERNAL_H
#define IOD_INTERNAL_H

#include "base/htab.h"
#include "iod/units.h"
#include "seam/ipc_latency.h"
#include "seam/ipc_lun.h"

struct iod_units {
    struct loop *loop;
    struct dataplane *dp;
    const struct export_ops *const *kinds;
    struct htab by_sid; /* of unit_host */
    struct list hosts;  /* the same */
    unsigned nexports;
    uint32_t watch_every;            /* bdev_set_watch of each disk */
    uint8_t page[IPC_LUNS_DATA_MAX]; /* the data of an answer to LIST_LUNS or GET_LUN_STATS */
};

/* Requests that wait for the same end: struct iod_wait. */
struct iod_waits {
    struct list calls;
    unsigned n;
};

/* What is above one session. */
struct unit_host {
    struct hnode hnode; /* of iod_units.by_sid */
    struct list node;   /* of iod_units.hosts */
    struct iod_units *units;
    uint32_t sid;
    struct stack *stack; /* NULL until the first scan */
    struct list list;    /* of unit, ascending by index */
    struct htab by_lun;
    unsigned nunits, nexports;
    uint32_t last_index;
    struct list jobs; /* of scan_job; the first one is under way or next */
    unsigned njobs;
    unsigned starting, closing; /* disks on their way */
    struct loop_work step;
    struct iod_waits unbind;
    int unbind_err;
    struct loop_timer patience; /* of unbinding with requests that wait for the session */
    bool unbinding;             /* UNBIND_SESSION has been asked for and has not ended */
    bool unbound;               /* nothing is scanned until the session is started again */
    bool ending;                /* the session is being torn down */
    bool gone;                  /* its host is freed */
    bool detaching;             /* in stack_detach: callbacks call nothing of the stack */
};

struct unit_export;

/* A logical unit that a scan has found. */
struct unit {
    struct list node;   /* of the host */
    struct hnode hnode; /* of unit_host.by_lun */
    struct unit_host *host;
    uint8_t lun[8]; /* as on the wire */
    struct scsi_device *dev;
    struct stack_disk *disk; /* coming up, up, or closing; NULL: none */
    uint32_t index;
    bool up, closing;
    bool gone;                     /* the block device takes nothing any more, for good */
    struct bdev_listener listener; /* where up */
    struct unit_export *export;    /* NULL: none */
    int err;                       /* why the disk did not come up, or 0 */
    char why[IPC_LUN_WHY_MAX];
};

/* ---- unit_list.c ---------------------------------------------------------------------------- */

/* h NULL: there is nothing above the session yet. */
int unit_serve_list(struct iod_units *u, struct unit_host *h, const struct iscsi_uevent *ev,
                    struct iscsi_reply *rep);
int unit_serve_stats(struct unit_host *h, const struct iscsi_uevent *ev, struct iscsi_reply *rep);

/* ---- unit_scan.c ---------------------------------------------------------------------------- */

int unit_serve_scan(struct unit_host *h, const struct iscsi_uevent *ev, struct iscsi_reply *rep);
/* Takes the next step of the scans of h, where there is one to take. */
void unit_scan_step(struct unit_host *h);
/* Ends the scans of h with that error, also the one that is under way, as far as it can end. */
void unit_scan_cancel(struct unit_host *h, int err, const char *text);
/* Closes the disk of u, which has no export; unit_host.closing counts it until it is closed. */
void unit_close(struct unit *u);

/* ---- unit_export.c -------------------------------------------------------------------------- */

int unit_serve_start_export(struct unit_host *h, const struct iscsi_uevent *ev, const void *path,
                            struct iscsi_reply *rep);
int unit_serve_stop_export(struct unit_host *h, const struct iscsi_uevent *ev,
                           struct iscsi_reply *rep);
/* Stops the export of u, where it has one that is not being stopped yet. */
void unit_export_stop(struct unit *u);
/* Says in *info what u is exported as; counters are 0 where it has no export. */
void unit_export_info(const struct unit *u, struct ipc_lun_info *info);
void unit_export_stats(const struct unit *u, struct export_stats *ret);

/* ---- unit.c --------------------------------------------------------------------------------- */

struct unit *unit_find(struct unit_host *h, const uint8_t lun[8]);
/* -ENXIO with a sentence. */
int unit_missing(const uint8_t lun[8], struct iscsi_reply *rep);
/* The unit of dev, which is made where it is not known; NULL: no memory. */
struct unit *unit_of_device(struct unit_host *h, struct scsi_device *dev);
/* u has no export, and its disk is gone. */
void unit_free(struct unit *u);
/* What the stack tells of the units of a struct unit_host. */
extern const struct stack_events unit_stack_events;

void iod_waits_init(struct iod_waits *w);
/* The request is answered together with those that wait already. */
int iod_wait_add(struct iod_waits *w, struct dataplane *dp, const struct iscsi_uevent *ev,
                 struct iscsi_reply *rep);
/* Answers all of them; rep has the type, the sid and the result. */
void iod_waits_answer(struct iod_waits *w, struct dataplane *dp, struct iscsi_reply *rep);

#endif
