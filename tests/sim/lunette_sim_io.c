/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_io.c - requests: which are made, with which memory, and what may become of
 * them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"
#include "tests/support/steady_alloc.h"
#include "wire/be.h"

#define OP_READ_12  0xa8
#define OP_WRITE_12 0xaa
#define OP_CAW      0x89

const char *const ls_op_names[LS_OPS] = {
    "read", "write", "zeroes", "discard", "flush", "compare-and-write", "raw read", "raw write"};

bool
ls_io_is_raw_opcode(uint8_t opcode)
{
    return opcode == OP_CAW || opcode == OP_READ_12 || opcode == OP_WRITE_12;
}

bool
ls_io_has(const struct ls_world *w, uint8_t lun, const uint8_t *cdb)
{
    for (int i = 0; i < LS_SLOTS; i++) {
        const struct ls_io *io = &w->io[i];

        if (io->busy && ls_is_raw(io->op) && io->h->index == lun && memcmp(io->cdb, cdb, 14) == 0)
            return true;
    }
    return false;
}

/* ---- memory --------------------------------------------------------------------------------- */

void
ls_io_init(struct ls_world *w)
{
    for (int i = 0; i < LS_SLOTS; i++)
        w->io[i].buf = steady_calloc(1, LS_IO_MAX);
}

/* What a caller writes to its memory after the completion is still there: nobody else did. */
static void
check_poison(struct ls_world *w, struct ls_io *io)
{
    for (size_t i = 0; i < io->mem; i++) {
        if (io->buf[i] != (uint8_t)io->poison)
            ls_fail(w, "memory of %s %u was written to after its completion, at byte %zu of %zu",
                    ls_op_names[io->op], io->id, i, io->mem);
    }
}

void
ls_io_fini(struct ls_world *w)
{
    for (int i = 0; i < LS_SLOTS; i++) {
        if (w->io[i].busy)
            ls_fail(w, "%s %u never completed", ls_op_names[w->io[i].op], w->io[i].id);
        check_poison(w, &w->io[i]);
        steady_free(w->io[i].buf);
    }
}

/* ---- making one ----------------------------------------------------------------------------- */

static bool
may_share(const struct ls_world *w, const struct ls_io *a, const struct ls_io *b)
{
    if (a->h->index == b->h->index && ls_is_raw(a->op) && a->op == b->op && a->at == b->at)
        return false; /* nobody could tell one from the other */
    if (a->h->index != b->h->index || a->at >= b->at + b->len || b->at >= a->at + a->len)
        return true;
    if (a->op == LS_CAW || b->op == LS_CAW) /* what it compares must be known */
        return !ls_writes(a->op) || !ls_writes(b->op);
    return w->plan.overlap;
}

static bool
collides(const struct ls_world *w, const struct ls_io *io)
{
    for (int i = 0; i < LS_SLOTS; i++) {
        if (w->io[i].busy && !may_share(w, &w->io[i], io))
            return true;
    }
    return false;
}

static void
cut_memory(struct ls_world *w, struct ls_io *io)
{
    size_t at = 0;
    int pieces = w->plan.zero_copy && ls_random(w, 2) == 0 ? 1 : 6;

    for (io->iovcnt = 0; at < io->mem; io->iovcnt++) {
        size_t left = io->mem - at;
        size_t n = io->iovcnt + 1 == pieces ? left : 1 + (size_t)ls_random(w, left);

        io->iov[io->iovcnt] = (struct iovec){io->buf + at, n};
        at += n;
    }
}

static enum ls_op
choose_op(struct ls_world *w)
{
    uint64_t n = ls_random(w, 100);

    return n < 38   ? LS_READ
           : n < 76 ? LS_WRITE
           : n < 81 ? LS_WRITE_ZEROES
           : n < 85 ? LS_DISCARD
           : n < 88 ? LS_FLUSH
           : n < 92 ? LS_CAW
           : n < 96 ? LS_RAW_READ
                    : LS_RAW_WRITE;
}

static void
choose_range(struct ls_world *w, struct ls_io *io)
{
    uint32_t block = w->plan.block[io->h->index];
    uint64_t blocks = ls_handle_size(io->h) / block;
    uint64_t most = ls_random(w, 6) == 0 ? LS_IO_MAX / block : 8;
    uint64_t n = io->op == LS_CAW ? 1 : 1 + ls_random(w, most), at;

    if (blocks < w->plan.blocks[io->h->index]) /* what is beyond its end is asked for, too */
        blocks = w->plan.blocks[io->h->index];
    at = ls_random(w, blocks);

    if (n > blocks - at)
        n = blocks - at;
    io->at = at * block;
    io->len = io->op == LS_FLUSH ? 0 : n * block;
    io->mem = io->op == LS_CAW                                              ? 2 * block
              : ls_reads(io->op) || io->op == LS_WRITE || ls_is_raw(io->op) ? io->len
                                                                            : 0;
}

/* The first half is compared, the second one written. */
static bool
fill_caw(struct ls_world *w, struct ls_io *io)
{
    if (!ls_model_known(w->model[io->h->index], io->at, io->buf, io->len))
        return false;
    io->match = ls_random(w, 4) != 0;
    if (!io->match)
        io->buf[ls_random(w, io->len)] ^= 0x80;
    ls_pattern(io->id, io->at, io->buf + io->len, io->len);
    return true;
}

static void
make_cdb(struct ls_world *w, struct ls_io *io)
{
    uint32_t block = w->plan.block[io->h->index];
    uint64_t lba = io->at / block;

    memset(io->cdb, 0, sizeof(io->cdb));
    io->scsi = (struct lunette_scsi){.struct_size = sizeof(io->scsi),
                                     .cdb = io->cdb,
                                     .cdb_len = io->op == LS_CAW ? 16 : 12,
                                     .timeout_ms = w->plan.timeout_ms};
    if (io->op == LS_CAW) {
        io->cdb[0] = OP_CAW;
        st_be64(io->cdb + 2, lba);
        io->cdb[13] = 1;
    } else {
        io->cdb[0] = io->op == LS_RAW_READ ? OP_READ_12 : OP_WRITE_12;
        st_be32(io->cdb + 2, (uint32_t)lba);
        st_be32(io->cdb + 6, (uint32_t)(io->len / block));
    }
    if (io->op == LS_RAW_READ) {
        io->scsi.in = io->buf;
        io->scsi.in_len = io->mem;
    } else {
        io->scsi.out = io->buf;
        io->scsi.out_len = io->mem;
    }
}

static int
submit(struct ls_world *w, struct ls_io *io)
{
    struct lunette_queue *q = io->q = io->h->q[ls_random(w, w->plan.queues)];
    uint32_t fua = ls_random(w, 8) == 0 ? LUNETTE_FUA : 0;

    io->fua = io->op == LS_WRITE && fua != 0;
    io->public_caw = io->op == LS_CAW && ls_random(w, 2) == 0;
    io->canceled = false;
    if (io->public_caw)
        return lunette_queue_compare_and_write(q, io->buf, io->buf + io->len, io->len, io->at, 0,
                                               io);

    switch (io->op) {
    case LS_READ:
        return lunette_queue_readv(q, io->iov, io->iovcnt, io->at, io);
    case LS_WRITE:
        return lunette_queue_writev(q, io->iov, io->iovcnt, io->at, fua, io);
    case LS_WRITE_ZEROES:
        return lunette_queue_write_zeroes(q, io->len, io->at,
                                          ls_random(w, 2) == 0 ? LUNETTE_NO_UNMAP : 0, io);
    case LS_DISCARD:
        return lunette_queue_discard(q, io->len, io->at, io);
    case LS_FLUSH:
        return lunette_queue_flush(q, io);
    case LS_CAW:
    case LS_RAW_READ:
    case LS_RAW_WRITE:
        return lunette_queue_scsi(q, &io->scsi, io);
    case LS_OPS:
        break;
    }
    return -EINVAL;
}

static bool
prepare(struct ls_world *w, struct ls_io *io)
{
    io->op = choose_op(w);
    choose_range(w, io);
    io->id = w->next_id + 1;
    if (collides(w, io) || (io->op == LS_CAW && !fill_caw(w, io)))
        return false;
    if (io->op == LS_WRITE || io->op == LS_RAW_WRITE)
        ls_pattern(io->id, io->at, io->buf, io->len);
    if (ls_reads(io->op))
        memset(io->buf, 0xdb, io->mem);
    if (ls_is_raw(io->op))
        make_cdb(w, io);
    else
        cut_memory(w, io);
    return true;
}

static void
begin(struct ls_world *w, struct ls_io *io)
{
    struct ls_model *m = w->model[io->h->index];

    w->next_id++;
    io->busy = true;
    io->start_ns = sim_now_ns(w->sim);
    io->jumped_ns = w->jumped_ns;
    io->lost_ns = 0;
    io->crashes = w->crashes;
    if (ls_writes(io->op))
        io->since = ls_model_write(
            m, io->id, io->op == LS_WRITE_ZEROES || io->op == LS_DISCARD ? LS_ZEROES : LS_PATTERN,
            io->at, io->len);
    else if (ls_reads(io->op) || io->op == LS_FLUSH)
        io->since = ls_model_read(m);
    w->submitted++;
    ls_say(w, "io: %s %u, LUN %u, bytes %llu..%llu", ls_op_names[io->op], io->id, io->h->index,
           (unsigned long long)io->at, (unsigned long long)(io->at + io->len));
}

static struct ls_handle *
choose_handle(struct ls_world *w)
{
    struct ls_handle *h = &w->handle[ls_random(w, w->plan.luns)];

    return h->lun != NULL && !h->closing && !ls_handle_leaves(h) && h->q[0] != NULL ? h : NULL;
}

/* Another unit is in its place, or the device is offline: that is for good. */
static void
note_gone(struct ls_handle *h, int err)
{
    h->gone |= err == -ENXIO || err == -ENODEV;
}

static struct ls_io *
free_slot(struct ls_world *w)
{
    for (int i = 0; i < LS_SLOTS; i++) {
        if (!w->io[i].busy) {
            check_poison(w, &w->io[i]);
            return &w->io[i];
        }
    }
    return NULL;
}

bool
ls_io_start(struct ls_world *w)
{
    struct ls_io *io = free_slot(w);
    struct ls_handle *h = choose_handle(w);
    int r;

    if (io == NULL || h == NULL)
        return false;
    io->h = h;
    io->start_ns = sim_now_ns(w->sim);
    ls_check_host(w, h->se);
    if (prepare(w, io)) {
        r = submit(w, io);
        if (r == 0) {
            begin(w, io);
            return true;
        }
        note_gone(h, r);
        if (r != -EAGAIN && !ls_judge_may_fail(w, io, r))
            ls_fail(w, "%s was refused: %s", ls_op_names[io->op], strerror(-r));
    }
    memset(io->buf, (uint8_t)io->poison, io->mem);
    return false;
}

/* ---- the end of one ------------------------------------------------------------------------- */

static void
finish(struct ls_world *w, struct ls_io *io, int err)
{
    struct ls_model *m = w->model[io->h->index];
    enum ls_outcome how;

    if (!io->busy)
        ls_fail(w, "%s %u completed twice", ls_op_names[io->op], io->id);
    ls_say(w, "io: %s %u ends: %s%s", ls_op_names[io->op], io->id,
           err == 0 ? "good" : strerror(-err),
           ls_is_raw(io->op) && !io->public_caw && io->scsi.status != 0 ? ", with a status" : "");
    note_gone(io->h, err);
    if (w->plan.rdma)
        ls_rdma_given_back(w, io);
    how = ls_judge(w, io, err);
    if (how == LS_DONE && io->op == LS_CAW && !io->match && !ls_judge_cut_off(w, io))
        ls_fail(w, "compare-and-write %u wrote, though the bytes differ", io->id);
    if (how == LS_DONE && (io->fua || !w->plan.wce))
        how = LS_STABLE;
    if (how == LS_DONE && ls_writes(io->op) && io->crashes != w->crashes)
        how = LS_WEAK; /* the crash may have taken it before we heard of its end */
    if (ls_writes(io->op))
        ls_model_wrote(m, io->id, io->at, io->len, how);
    if (ls_reads(io->op) && (how == LS_DONE || how == LS_STABLE))
        ls_model_check(m, io->since, io->at, io->buf, io->len, ls_op_names[io->op]);
    if (io->op == LS_FLUSH && (how == LS_DONE || how == LS_STABLE) && io->crashes == w->crashes)
        ls_model_flushed(m, io->since);
    if (ls_reads(io->op) || io->op == LS_FLUSH)
        ls_model_read_over(m, io->since);
    if (ls_is_raw(io->op))
        ls_wire_given_back(w->wire, (uint8_t)io->h->index, io->cdb);
    if (err == 0 && io->op != LS_FLUSH && io->op != LS_DISCARD) /* these may have nothing to do */
        io->h->good_ns = sim_now_ns(w->sim);
    if (w->calm && err == 0 && (io->op == LS_READ || io->op == LS_WRITE) && io->h->asked_ns == 0 &&
        !io->h->closing)
        io->h->asked_ns = sim_now_ns(w->sim);
    io->busy = false;
    io->poison = 0x5a ^ (io->id & 0xff);
    memset(io->buf, (uint8_t)io->poison, io->mem);
    w->completed++;
}

uint32_t
ls_io_poll(struct ls_world *w)
{
    struct lunette_completion c[8];
    uint32_t all = 0;

    for (uint32_t i = 0; i < w->plan.luns * w->plan.queues; i++) {
        struct lunette_queue *q = w->handle[i / w->plan.queues].q[i % w->plan.queues];
        int n = q != NULL ? lunette_queue_poll(q, c, 8, 0, 0) : 0;

        if (n < 0)
            ls_fail(w, "polling failed: %s", strerror(-n));
        for (int k = 0; k < n; k++)
            finish(w, c[k].user_data, c[k].err);
        all += (uint32_t)n;
    }
    return all;
}

void
ls_io_leave(struct ls_world *w)
{
    for (int i = 0; i < LS_SLOTS; i++) {
        struct ls_io *io = &w->io[i];
        struct ls_handle *h = choose_handle(w);

        check_poison(w, io);
        io->op = LS_READ;
        io->mem = LS_IO_MAX / 2;
        cut_memory(w, io);
        (void)lunette_queue_readv(h->q[0], io->iov, io->iovcnt, 0, io);
    }
    if (ls_random(w, 2) == 0)
        (void)lunette_queue_submit(w->handle[0].q[0]);
    if (ls_random(w, 2) == 0)
        target_drop_connections(w->target);
    ls_handles_free_queues(w);
    for (int i = 0; i < LS_SLOTS; i++)
        memset(w->io[i].buf, (uint8_t)w->io[i].poison, LS_IO_MAX / 2);
}

void
ls_io_lost(struct ls_world *w, const struct ls_session *se)
{
    for (int i = 0; i < LS_SLOTS; i++) {
        struct ls_io *io = &w->io[i];

        if (io->busy && io->h->se == se && io->lost_ns == 0)
            io->lost_ns = sim_now_ns(w->sim);
    }
}

static void
cancel(struct ls_world *w, struct ls_io *io)
{
    int r = lunette_queue_cancel(io->q, io);

    ls_say(w, "io: %s %u is canceled (%d)", ls_op_names[io->op], io->id, r);
    if (r != 1 && r != -ENOENT)
        ls_fail(w, "canceling %s %u returns %d", ls_op_names[io->op], io->id, r);
    io->canceled |= r == 1;
    LS_COUNT(canceled, r == 1);
}

void
ls_io_cancel_some(struct ls_world *w)
{
    struct ls_io *io = &w->io[ls_random(w, LS_SLOTS)];

    if (w->plan.cancel && io->busy && ls_random(w, 8) == 0)
        cancel(w, io);
    for (int i = 0; i < LS_SLOTS; i++) {
        io = &w->io[i];
        if (io->busy && !io->canceled && (io->h->want_close || io->h->se->want_close))
            cancel(w, io);
    }
}

/* ---- calls that wait ------------------------------------------------------------------------ */

static int
call(struct ls_world *w, struct ls_io *io)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = io->h->lun;
    int r = -EINVAL;

    if (io->op == LS_READ)
        r = lunette_pread(lun, io->buf, io->len, io->at, &err);
    else if (io->op == LS_WRITE)
        r = lunette_pwrite(lun, io->buf, io->len, io->at, io->fua ? LUNETTE_FUA : 0, &err);
    else if (io->op == LS_FLUSH)
        r = lunette_flush(lun, &err);
    if (r < 0 && (err.code != r || err.msg[0] == '\0'))
        ls_fail(w, "a call fails with %d, and its error says %d, \"%s\"", r, err.code, err.msg);
    return r;
}

void
ls_io_call(struct ls_world *w, struct ls_handle *h)
{
    static const enum ls_op ops[] = {LS_READ, LS_WRITE, LS_FLUSH};
    struct ls_io *io = free_slot(w);

    if (io == NULL || h->lun == NULL || h->closing || ls_handle_leaves(h))
        return;
    ls_check_host(w, h->se);
    io->h = h;
    io->q = NULL;
    io->op = ops[ls_random(w, 3)];
    io->canceled = io->public_caw = false;
    choose_range(w, io);
    io->id = w->next_id + 1;
    if (!collides(w, io)) {
        io->fua = io->op == LS_WRITE && ls_random(w, 4) == 0;
        if (io->op == LS_WRITE)
            ls_pattern(io->id, io->at, io->buf, io->len);
        if (io->op == LS_READ)
            memset(io->buf, 0xdb, io->mem);
        begin(w, io);
        finish(w, io, call(w, io));
        while (ls_io_poll(w) > 0) /* nobody has asked for those that ended meanwhile */
            continue;
        return;
    }
    memset(io->buf, (uint8_t)io->poison, io->mem);
}

uint32_t
ls_io_outstanding(const struct ls_world *w)
{
    return w->submitted - w->completed;
}
