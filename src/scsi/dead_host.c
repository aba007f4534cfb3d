/* SPDX-License-Identifier: MIT */
/* scsi/dead_host.c - a host that refuses every command; it stands in for one that has been freed.
 */
#include <errno.h>

#include "scsi/internal.h"

static int
dead_queuecommand(struct scsi_host *h, struct scsi_cmd *sc)
{
    (void)h;
    (void)sc;
    return -ENOTCONN;
}

static void
dead_commit(struct scsi_host *h)
{
    (void)h;
}

static enum scsi_timeout_action
dead_timed_out(struct scsi_host *h, struct scsi_cmd *sc)
{
    (void)h;
    (void)sc;
    return SCSI_TIMEOUT_RESET_TIMER;
}

static void
dead_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w)
{
    (void)h;
    (void)sc;
    w->done(w, SCSI_EH_FAILED);
}

static void
dead_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    (void)h;
    (void)lun;
    w->done(w, SCSI_EH_FAILED);
}

static void
dead_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    (void)h;
    w->done(w, SCSI_EH_FAILED);
}

static const struct scsi_host_ops dead_ops = {
    .queuecommand = dead_queuecommand,
    .commit = dead_commit,
    .eh_timed_out = dead_timed_out,
    .eh_abort = dead_abort,
    .eh_device_reset = dead_device_reset,
    .eh_clear_aca = dead_device_reset,
    .eh_target_reset = dead_reset,
    .eh_session_reset = dead_reset,
};

void
scsi_dead_host_init(struct scsi_host *dead, const struct scsi_host *h)
{
    *dead = (struct scsi_host){.ops = &dead_ops,
                               .loop = h->loop,
                               .max_cdb_len = h->max_cdb_len,
                               .max_sg = h->max_sg,
                               .max_transfer = h->max_transfer,
                               .state = SCSI_HOST_GONE};
    memcpy(dead->name, h->name, sizeof(dead->name));
}
