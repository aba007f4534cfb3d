/* SPDX-License-Identifier: MIT */
/* cmd/lunette/transfer.c - a set of chunks, each read, then written, then free again.
 *
 * Chunks are independent but where an end is a stream: then they are filled
 * and emptied in order.  One thread; the wait is on the library's
 * descriptors and the streams together, so that a slow pipe does not starve
 * the session.
 */
#include "cmd/lunette/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/lunette/buffers.h"

#define HOLE_MAX (64u << 20) /* one request for a hole */
#define RUN_LUN  65536u      /* shorter runs of zeroes are sent to a LUN as data */
#define RUN_FILE 4096u

/* Bytes between two flushes of a LUN with a cache: what is behind the last one is written again
 * when the cache may have lost it.  Where it loses often, they come more often.  What came from a
 * stream cannot be read again, and is kept until then: that much of it, in so many chunks. */
#define FLUSH_MAX  (64u << 20)
#define FLUSH_MIN  (1u << 20)
#define KEEP_BYTES (32u << 20)
#define KEEP_MIN   4u
#define KEEP_MAX   64u
#define LOSSES_MAX 100u /* that often, with nothing made stable in between, it is hopeless */

enum chunk_state {
    CHUNK_FREE,
    CHUNK_READING,
    CHUNK_FULL,
    CHUNK_KEPT, /* written, but perhaps not stable */
};

struct chunk {
    enum chunk_state state;
    bool hole;       /* no data: zeroes */
    char *buf;       /* bs + 2 * BLOCK_MAX */
    size_t skip;     /* where the data begins in buf */
    uint64_t offset; /* from the transfer's begin */
    uint64_t len;
    uint64_t issued; /* bytes of it handed to dst */
    uint64_t seq;
    struct io io;
};

struct run {
    struct transfer *t;
    struct chunk *chunks;
    struct buffers buffers;
    uint64_t nchunks;
    bool keep;                /* chunks that were written are kept until they are stable */
    uint64_t next;            /* from the transfer's begin: where the next chunk begins */
    uint64_t seq_in, seq_out; /* chunks begun; chunks finished, where dst is a stream */
    struct chunk *filling;    /* of a source that is a stream */
    unsigned busy;            /* chunks that are neither free nor kept */
    bool eof;
    uint64_t stable;      /* all before that is on stable storage */
    uint64_t flush_every; /* see FLUSH_MAX */
    uint64_t flush_to;    /* how far the flush that is under way reaches; 0: there is none */
    struct io flush;
    uint64_t losses;      /* of the destination's cache that have been answered */
    unsigned in_vain;     /* of these, the last ones that came with nothing made stable before */
    uint64_t counted;     /* what is before that was counted, and is written again */
    char tail[BLOCK_MAX]; /* the rest that does not fill a block, where it may not be padded */
    size_t tail_len;
    uint64_t tail_offset;
};

/* The destination's cache may have lost writes, and they have not been made again yet. */
static bool
transfer_lost(const struct run *r)
{
    return r->losses != r->t->cli->outages.lost_writes;
}

static uint64_t
transfer_round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static struct chunk *
free_chunk(struct run *r)
{
    for (uint64_t i = 0; i < r->nchunks; i++) {
        if (r->chunks[i].state == CHUNK_FREE)
            return &r->chunks[i];
    }
    return NULL;
}

static void
transfer_begin(struct run *r, struct chunk *c, uint64_t len)
{
    struct transfer *t = r->t;

    *c = (struct chunk){.state = CHUNK_READING,
                        .buf = c->buf,
                        .offset = r->next,
                        .len = len,
                        .seq = r->seq_in++,
                        .io = {.offset = t->src_offset + r->next}};
    r->next += len;
    r->busy++;
}

/* Takes a hole of the source as one chunk.  True: there was one that is worth it. */
static bool
take_hole(struct run *r, struct chunk *c, uint64_t max)
{
    struct transfer *t = r->t;
    bool hole = false;

    if (!t->sparse || t->src->kind != END_FILE)
        return false;
    uint64_t len = end_extent(t->src, t->src_offset + r->next, &hole);
    if (!hole)
        return false;
    if (len > max)
        len = max;
    if (len > HOLE_MAX)
        len = HOLE_MAX;
    if (len < max) /* so that what follows begins on a block */
        len -= len % t->dst->block;
    if (len == 0)
        return false;
    transfer_begin(r, c, len);
    c->hole = true;
    c->state = CHUNK_FULL;
    return true;
}

/* Starts the next read of a LUN or a file.  1: started; 0: nothing to do; -errno. */
static int
start_read(struct run *r)
{
    struct transfer *t = r->t;
    struct chunk *c = free_chunk(r);

    if (c == NULL || r->next == t->length || transfer_lost(r)) {
        r->eof = r->next == t->length;
        return 0;
    }
    uint64_t left = t->length - r->next;
    if (take_hole(r, c, left))
        return 1;
    uint64_t at = t->src_offset + r->next;
    uint64_t max = t->src->kind == END_LUN ? t->bs - at % t->bs : t->bs; /* get aligned soon */
    transfer_begin(r, c, left < max ? left : max);
    uint64_t from = at / t->src->block * t->src->block;
    c->skip = (size_t)(at - from);
    size_t n = (size_t)transfer_round_up(c->skip + c->len, t->src->block);
    int e = end_read(t->src, c->buf, n, from, &c->io);
    if (e == -EAGAIN) { /* its queue is full: the chunk is free again */
        c->state = CHUNK_FREE;
        r->next -= c->len;
        r->seq_in--;
        r->busy--;
        return 0;
    }
    return e < 0 ? e : 1;
}

/* Fills the current chunk from a stream. */
static int
transfer_fill(struct run *r)
{
    struct transfer *t = r->t;

    if (r->eof || transfer_lost(r))
        return 0;
    if (r->filling == NULL) {
        r->filling = free_chunk(r);
        if (r->filling == NULL)
            return 0;
        transfer_begin(r, r->filling, 0);
    }
    struct chunk *c = r->filling;
    uint64_t want = t->bs - c->len;
    if (t->length - r->next < want)
        want = t->length - r->next;
    ssize_t n = want == 0 ? 0 : end_stream_read(t->src, c->buf + c->len, (size_t)want);
    if (n < 0)
        return n == -EAGAIN ? 0 : (int)n;
    c->len += (uint64_t)n;
    r->next += (uint64_t)n;
    r->eof = n == 0 || r->next == t->length;
    if (!r->eof && c->len < t->bs)
        return 1;
    c->state = CHUNK_FULL;
    r->filling = NULL;
    return 1;
}

/* The length of the run of zeroes, or of other data, that starts at p, in steps of `step`. */
static size_t
next_run(const char *p, size_t len, size_t step, bool *ret_zero)
{
    size_t n = len < step ? len : step;

    *ret_zero = all_zero(p, n);
    while (n < len) {
        size_t more = len - n < step ? len - n : step;
        if (all_zero(p + n, more) != *ret_zero)
            break;
        n += more;
    }
    return n;
}

/* Hands the next piece of a full chunk to dst, which is no stream. */
static int
issue_piece(struct run *r, struct chunk *c)
{
    struct transfer *t = r->t;
    char *data = c->buf + c->skip + c->issued;
    uint64_t at = t->dst_offset + c->offset + c->issued;
    uint64_t n = c->len - c->issued;
    bool zero = c->hole;

    if (!c->hole && t->sparse)
        n = next_run(data, (size_t)n, t->dst->kind == END_LUN ? RUN_LUN : RUN_FILE, &zero);
    uint64_t full = n;
    if (c->issued + n == c->len) {
        full = transfer_round_up(n, t->dst->block);
        if (!c->hole)
            memset(data + n, 0, (size_t)(full - n));
    }
    c->io.offset = at;
    int e = zero ? end_zero(t->dst, full, at, &c->io)
                 : end_write(t->dst, data, (size_t)full, at, &c->io);
    if (e < 0)
        return e;
    c->issued += n;
    if (c->offset >= r->counted) {
        t->zeroes += zero ? n : 0;
        t->padded += (uint32_t)(full - n);
    }
    return 1;
}

/* The part of a last block that must not be padded waits until all else is written. */
static void
cut_tail(struct run *r, struct chunk *c)
{
    struct transfer *t = r->t;
    size_t rest = (size_t)(c->len % t->dst->block);

    if (rest == 0 || t->pad)
        return;
    c->len -= rest;
    memcpy(r->tail, c->buf + c->skip + c->len, rest);
    r->tail_len = rest;
    r->tail_offset = t->dst_offset + c->offset + c->len;
    t->done += rest;
}

static int
write_chunk(struct run *r, struct chunk *c)
{
    struct transfer *t = r->t;
    int moved = 0;

    if (c->issued == 0)
        cut_tail(r, c);
    while (c->issued < c->len) {
        int e;
        if (t->dst->kind == END_STREAM) {
            if (c->seq != r->seq_out)
                return moved;
            ssize_t n = end_stream_write(t->dst, c->buf + c->skip + c->issued,
                                         (size_t)(c->len - c->issued));
            e = n < 0 ? (int)n : 1;
            c->issued += n > 0 ? (uint64_t)n : 0;
        } else {
            e = issue_piece(r, c);
        }
        if (e == -EAGAIN)
            return moved;
        if (e < 0)
            return e;
        moved = 1;
    }
    if (c->io.pending > 0 || (t->dst->kind == END_STREAM && c->seq != r->seq_out))
        return moved;
    r->seq_out++;
    t->done += c->len;
    c->state = r->keep ? CHUNK_KEPT : CHUNK_FREE;
    r->busy--;
    progress_update(t->progress, t->before + t->done);
    return 1;
}

/* Does what can be done without waiting.  Above 0: something was done; 0: nothing; or -errno. */
static int
transfer_step(struct run *r)
{
    struct transfer *t = r->t;
    int moved = 0, n;

    do {
        n = t->src->kind == END_STREAM ? transfer_fill(r) : start_read(r);
        if (n < 0)
            return n;
        moved |= n;
        /* a file is read in the call: the other side goes on in between */
    } while (n > 0 && t->src->kind == END_LUN);
    n = end_reap(t->src);
    if (n < 0 || t->src->err.code != 0)
        return n < 0 ? n : t->src->err.code;
    moved |= n;
    for (uint64_t i = 0; i < r->nchunks; i++) {
        struct chunk *c = &r->chunks[i];
        if (c->state == CHUNK_READING && c != r->filling && c->io.pending == 0)
            c->state = CHUNK_FULL;
        if (c->state != CHUNK_FULL)
            continue;
        n = write_chunk(r, c);
        if (n < 0)
            return n;
        moved |= n;
    }
    n = end_reap(t->dst);
    if (n < 0 || t->dst->err.code != 0)
        return n < 0 ? n : t->dst->err.code;
    return moved | n;
}

static int
wait_more(struct run *r)
{
    struct transfer *t = r->t;
    bool in = !r->eof && !transfer_lost(r) && (r->filling != NULL || free_chunk(r) != NULL);
    bool out = false;

    for (uint64_t i = 0; i < r->nchunks && !out; i++)
        out = r->chunks[i].state == CHUNK_FULL && r->chunks[i].seq == r->seq_out;
    return end_wait(t->src, t->dst, in, out);
}

int
transfer_patch_block(struct end *dst, const void *data, size_t len, uint64_t offset)
{
    struct lunette_error err = LUNETTE_INIT(err);
    uint64_t from = offset / dst->block * dst->block;
    char *block = xbuffer(dst->block);
    interrupt_in_call(true);
    int e = lunette_pread(dst->lun, block, dst->block, from, &err);

    if (e == 0) {
        memcpy(block + (offset - from), data, len);
        e = lunette_pwrite(dst->lun, block, dst->block, from, LUNETTE_FUA, &err);
    }
    interrupt_in_call(false);
    free(block);
    return e < 0 ? fail_with(&err, dst->name) : 0;
}

/* Ends the progress, and says why.  Exit code. */
static int
transfer_report(struct transfer *t, int code)
{
    struct lunette_error err = LUNETTE_INIT(err);

    progress_end(t->progress, t->before + t->done);
    if (t->src->err.code != 0)
        return fail_with(&t->src->err, t->src->name);
    if (t->dst->err.code != 0)
        return fail_with(&t->dst->err, t->dst->name);
    error_of_code(&err, code, "waiting");
    return fail_with(&err, t->cli->cmd->name);
}

/* Bytes from the transfer's begin that are all written. */
static uint64_t
low_mark(const struct run *r)
{
    uint64_t mark = r->tail_len > 0 ? r->tail_offset - r->t->dst_offset : r->next;

    for (uint64_t i = 0; i < r->nchunks; i++) {
        enum chunk_state state = r->chunks[i].state;
        if (state != CHUNK_FREE && state != CHUNK_KEPT && r->chunks[i].offset < mark)
            mark = r->chunks[i].offset;
    }
    return mark;
}

/* ---- a cache that may have lost what it had acknowledged ------------------------------------ */

static bool
has_cache(const struct end *e)
{
    return e->kind == END_LUN && e->info.write_cache;
}

/* A flush has ended: all that was written before it began is stable, unless the cache has lost
 * something meanwhile. */
static void
take_flush(struct run *r)
{
    if (r->flush_to == 0 || r->flush.pending > 0)
        return;
    if (!transfer_lost(r) && r->flush_to > r->stable) {
        r->stable = r->flush_to;
        r->in_vain = 0;
    }
    r->flush_to = 0;
    for (uint64_t i = 0; i < r->nchunks && r->keep; i++) {
        struct chunk *c = &r->chunks[i];
        if (c->state == CHUNK_KEPT && c->offset + c->len <= r->stable)
            c->state = CHUNK_FREE;
    }
}

static int
begin_flush(struct run *r)
{
    int e = end_flush_start(r->t->dst, &r->flush);

    if (e == 0)
        r->flush_to = low_mark(r);
    return e == -EAGAIN ? 0 : e;
}

/* Flushes now and then.  0 or -errno. */
static int
flush_some(struct run *r)
{
    take_flush(r);
    if (!has_cache(r->t->dst) || r->flush_to != 0 || transfer_lost(r) ||
        low_mark(r) < r->stable + r->flush_every)
        return 0;
    return begin_flush(r);
}

/* Nothing is under way any more. */
static bool
has_settled(const struct run *r)
{
    return r->busy == (r->filling != NULL) && r->flush.pending == 0;
}

/* The chunks that were kept are written again. */
static void
rewrite_kept(struct run *r)
{
    for (uint64_t i = 0; i < r->nchunks; i++) {
        struct chunk *c = &r->chunks[i];
        if (c->state != CHUNK_KEPT)
            continue;
        c->state = CHUNK_FULL;
        c->issued = 0;
        r->t->done -= c->len;
        r->busy++;
    }
}

/* Goes back to what is certain to be stable.  0 or an exit code. */
static int
rewind_lost(struct run *r)
{
    struct transfer *t = r->t;

    r->losses = t->cli->outages.lost_writes;
    const char *hopeless = t->src->kind == END_STREAM && !r->keep
                               ? "what came from a pipe cannot be read again"
                           : r->in_vain++ == LOSSES_MAX ? "that happens again and again"
                                                        : NULL;
    if (hopeless != NULL) {
        progress_end(t->progress, t->before + t->done);
        return fail_lost_writes(t->dst->name, hopeless);
    }
    outage_rewrite(t->cli, t->before + r->stable);
    if (r->flush_every >= 2 * FLUSH_MIN)
        r->flush_every /= 2;
    uint64_t begun = r->filling != NULL ? r->filling->offset : r->next;
    if (begun > r->counted)
        r->counted = begun;
    if (r->keep) {
        rewrite_kept(r);
        return 0;
    }
    r->next = t->done = r->stable;
    r->tail_len = 0;
    r->eof = r->next == t->length;
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* One turn.  0 or an exit code. */
static int
pump_once(struct run *r)
{
    struct transfer *t = r->t;

    if (interrupted() != 0)
        return EXIT_SIGNAL + interrupted();
    if (transfer_lost(r) && has_settled(r)) {
        int code = rewind_lost(r);
        if (code != 0)
            return code;
    }
    int moved = transfer_step(r);
    int e = moved < 0 ? moved : flush_some(r);
    if (e == 0 && moved == 0)
        e = wait_more(r);
    if (e < 0 && e != -EINTR)
        return transfer_report(t, e);
    progress_update(t->progress, t->before + t->done);
    if (t->dst->out != NULL)
        outfile_mark(t->dst->out, t->before + low_mark(r));
    return 0;
}

static int
pump(struct run *r)
{
    int code = 0;

    while (code == 0 && (!r->eof || r->busy > 0 || r->flush.pending > 0 || transfer_lost(r)))
        code = pump_once(r);
    return code;
}

/* Makes all of it stable.  0 or an exit code. */
static int
flush_all(struct run *r)
{
    struct transfer *t = r->t;
    int e;

    if (t->dst->kind != END_LUN) {
        progress_update(t->progress, t->before + t->done);
        e = end_flush(t->dst, t->before + t->done);
        return e < 0 ? transfer_report(t, e) : 0;
    }
    e = begin_flush(r);
    while (e >= 0 && r->flush.pending > 0) {
        if (interrupted() != 0)
            return EXIT_SIGNAL + interrupted();
        e = end_reap(t->dst);
        if (e == 0 && r->flush.pending > 0)
            e = end_wait(t->src, t->dst, false, false);
        progress_update(t->progress, t->before + t->done);
        if (e == -EINTR)
            e = 0;
    }
    take_flush(r);
    return e < 0 || t->dst->err.code != 0 ? transfer_report(t, e) : 0;
}

/* Moves all of it and makes it stable, as often as it takes. */
static int
write_all(struct run *r)
{
    struct transfer *t = r->t;
    int code;

    do {
        code = pump(r);
        if (code == 0 && r->tail_len > 0)
            code = transfer_patch_block(t->dst, r->tail, r->tail_len, r->tail_offset);
        if (code == 0)
            code = flush_all(r);
    } while (code == 0 && transfer_lost(r));
    return code;
}

/* Bytes from the transfer's begin that another run need not write again. */
static uint64_t
mark_of(const struct run *r)
{
    const struct end *dst = r->t->dst;

    if (has_cache(dst) && (transfer_lost(r) || !end_connected(dst)))
        return r->stable;
    return low_mark(r);
}

static void
transfer_chunks(struct run *r)
{
    struct transfer *t = r->t;
    uint64_t more = KEEP_BYTES / t->bs;

    r->flush_every = FLUSH_MAX;
    r->nchunks = t->depth;
    r->keep = t->src->kind == END_STREAM && has_cache(t->dst);
    if (r->keep) {
        more = more < KEEP_MIN ? KEEP_MIN : more > KEEP_MAX ? KEEP_MAX : more;
        r->nchunks += more;
        r->flush_every = more / 2 * t->bs;
    }
    r->chunks = xmalloc(r->nchunks * sizeof(*r->chunks));
    buffers_init(&r->buffers, t->cli, r->nchunks, t->bs + 2 * (uint64_t)BLOCK_MAX);
    for (uint64_t i = 0; i < r->nchunks; i++)
        r->chunks[i].buf = buffers_at(&r->buffers, i);
}

/* It has not got to its end: ends the queues, which use the buffers until they are gone. */
static void
transfer_stop(struct run *r, int code)
{
    struct transfer *t = r->t;

    if (t->stopped != NULL)
        t->stopped(t, code);
    for (uint64_t i = 0; i < r->nchunks; i++) {
        end_give_up(t->src, &r->chunks[i].io);
        end_give_up(t->dst, &r->chunks[i].io);
    }
    end_give_up(t->dst, &r->flush);
    end_drain(t->src, t->dst, t->cli->cmd->name);
    lunette_queue_free(t->src->queue);
    lunette_queue_free(t->dst->queue);
    t->src->queue = t->dst->queue = NULL;
}

int
transfer_run(struct transfer *t)
{
    struct run *r = xmalloc(sizeof(*r));

    r->t = t;
    r->losses = t->cli->outages.lost_writes;
    transfer_chunks(r);
    t->cli->progress = t->progress;
    int code = write_all(r);
    progress_end(t->progress, t->before + t->done);
    t->cli->progress = NULL;
    t->mark = mark_of(r);
    if (code != 0)
        transfer_stop(r, code);
    buffers_fini(&r->buffers);
    free(r->chunks);
    free(r);
    return code;
}
