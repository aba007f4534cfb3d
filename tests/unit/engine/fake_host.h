/* SPDX-License-Identifier: MIT */
/* tests/unit/engine/fake_host.h - a SCSI host that keeps what it gets until the test ends it. */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include "tests/unit/fake_loop.h"

#include "seam/host.h"

#define FAKE_HOST_MAX 2048

struct fake_host {
    struct scsi_host h;
    struct scsi_cmd *cmd[FAKE_HOST_MAX]; /* in the order of their coming */
    unsigned ncmd, window;               /* window: of commands at a time */
    unsigned taken, busy, commits;       /* counts */
    struct scsi_eh_wait *wait[FAKE_HOST_MAX];
    struct scsi_cmd *victim[FAKE_HOST_MAX]; /* of wait: whose abort, or NULL */
    char what[FAKE_HOST_MAX]; /* of wait: a abort, d device, t target, s session, ... */
    unsigned nwait;
};

static inline struct fake_host *
fake_host_of(struct scsi_host *h)
{
    return container_of(h, struct fake_host, h);
}

static inline int
fake_queuecommand(struct scsi_host *h, struct scsi_cmd *sc)
{
    struct fake_host *f = fake_host_of(h);

    assert_true(sc->not_good == 0 && sc->not_moved == 0 && sc->watch == NULL);
    if (f->ncmd >= f->window) {
        f->busy++;
        return -EBUSY;
    }
    for (unsigned i = 0; i < f->ncmd; i++)
        assert_ptr_not_equal(f->cmd[i], sc);
    f->taken++;
    f->cmd[f->ncmd++] = sc;
    return 0;
}

static inline void
fake_commit(struct scsi_host *h)
{
    fake_host_of(h)->commits++;
}

static inline void
fake_wait(struct fake_host *f, char what, struct scsi_cmd *victim, struct scsi_eh_wait *w)
{
    assert_true(f->nwait < FAKE_HOST_MAX);
    for (unsigned i = 0; i < f->nwait; i++)
        assert_ptr_not_equal(f->wait[i], w);
    f->what[f->nwait] = what;
    f->victim[f->nwait] = victim;
    f->wait[f->nwait++] = w;
}

static inline void
fake_eh_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w)
{
    struct fake_host *f = fake_host_of(h);
    bool known = false;

    for (unsigned i = 0; i < f->ncmd; i++)
        known = known || f->cmd[i] == sc;
    assert_true(known);
    fake_wait(f, 'a', sc, w);
}

static inline void
fake_eh_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    memcpy(w->lun, lun, 8);
    fake_wait(fake_host_of(h), 'd', NULL, w);
}

static inline void
fake_eh_target_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    fake_wait(fake_host_of(h), 't', NULL, w);
}

static inline void
fake_eh_session_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    fake_wait(fake_host_of(h), 's', NULL, w);
}

static inline void
fake_eh_query(struct scsi_host *h, enum scsi_query what, const uint8_t lun[8],
              struct scsi_eh_wait *w)
{
    (void)what;
    (void)lun;
    w->info = 0x123456;
    fake_wait(fake_host_of(h), 'q', NULL, w);
}

static const struct scsi_host_ops fake_host_ops = {
    .queuecommand = fake_queuecommand,
    .commit = fake_commit,
    .eh_abort = fake_eh_abort,
    .eh_device_reset = fake_eh_device_reset,
    .eh_target_reset = fake_eh_target_reset,
    .eh_session_reset = fake_eh_session_reset,
    .eh_query = fake_eh_query,
};

static inline void
fake_host_init(struct fake_host *f, struct loop *l, unsigned window)
{
    memset(f, 0, sizeof(*f));
    f->h.ops = &fake_host_ops;
    f->h.loop = l;
    f->h.can_queue = window;
    f->h.max_cdb_len = SCSI_CDB_MAX;
    f->h.max_sg = 16;
    f->h.max_transfer = 1 << 20;
    f->h.state = SCSI_HOST_RUNNING;
    f->window = window;
}

/* Ends the i-th of the commands that it has. */
static inline void
fake_host_done(struct fake_host *f, unsigned i, enum scsi_host_result r)
{
    struct scsi_cmd *sc = f->cmd[i];

    assert_true(i < f->ncmd);
    f->ncmd--;
    memmove(&f->cmd[i], &f->cmd[i + 1], (f->ncmd - i) * sizeof(f->cmd[0]));
    sc->host_result = (uint8_t)r;
    sc->done(sc);
}

/* The index of a command, or ncmd. */
static inline unsigned
fake_host_find(const struct fake_host *f, const struct scsi_cmd *sc)
{
    unsigned i = 0;

    while (i < f->ncmd && f->cmd[i] != sc)
        i++;
    return i;
}

/* Ends the first eh_ call that waits; its victim, if it is still there, is ended first with
 * SUCCESS.
 */
static inline void
fake_host_eh(struct fake_host *f, enum scsi_eh_result r)
{
    struct scsi_eh_wait *w = f->wait[0];
    struct scsi_cmd *sc = f->victim[0];

    assert_true(f->nwait > 0);
    f->nwait--;
    memmove(&f->wait[0], &f->wait[1], f->nwait * sizeof(f->wait[0]));
    memmove(&f->victim[0], &f->victim[1], f->nwait * sizeof(f->victim[0]));
    memmove(&f->what[0], &f->what[1], f->nwait);
    if (r == SCSI_EH_SUCCESS && sc != NULL && fake_host_find(f, sc) < f->ncmd)
        fake_host_done(f, fake_host_find(f, sc), DID_ABORT);
    w->done(w, r);
}

#endif
