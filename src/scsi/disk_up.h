/* SPDX-License-Identifier: MIT */
/* scsi/disk_up.h - between the run (disk_run.c) and its steps (disk_ready.c, disk_look.c). */
#ifndef SCSI_DISK_UP_H
#define SCSI_DISK_UP_H

#include "scsi/internal.h"

/* A step, one of enum disk_step, and the function that begins it, which has disk_step_done or
 * disk_fail called in the end. */
struct disk_step_row {
    uint32_t step;
    void (*start)(struct scsi_disk *d);
};

/* d->work: begins a run with the steps that are wanted. */
void disk_run_work(struct loop_work *w);

/* Sends the CDB in d->cdb, which wants in_len bytes into d->buf; next looks at the answer. */
void disk_send(struct scsi_disk *d, int cdb_len, uint32_t in_len,
               void (*next)(struct scsi_disk *d));

/* disk_good: the answer was GOOD, or CHECK CONDITION with RECOVERED ERROR.  disk_sense: it came
 * with sense data, which *ret has then. */
bool disk_good(const struct scsi_disk *d);
bool disk_sense(const struct scsi_disk *d, struct scsi_sense *ret);

/* The step is over; the next begins. */
void disk_step_done(struct scsi_disk *d);
/* The same, but the step is to be done once more, later; it does not hold up the others. */
void disk_step_missed(struct scsi_disk *d);
/* The run is over. */
void disk_fail(struct scsi_disk *d, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void disk_fail_sense(struct scsi_disk *d, int err, const char *what);
/* The unit differs as text says. */
void disk_replaced(struct scsi_disk *d, const char *text);

/* disk_ready.c */
void disk_start_ready(struct scsi_disk *d);
void disk_poll_expired(struct loop_timer *t);
void disk_start_name(struct scsi_disk *d);

/* alua.c */
void disk_start_alua(struct scsi_disk *d);

/* disk_look.c */
void disk_start_capacity(struct scsi_disk *d);
void disk_start_provisioning(struct scsi_disk *d);
void disk_start_block_limits(struct scsi_disk *d);
void disk_start_block_char(struct scsi_disk *d);
void disk_start_write_protect(struct scsi_disk *d);
void disk_start_cache(struct scsi_disk *d);
void disk_start_opcodes(struct scsi_disk *d);

#endif
