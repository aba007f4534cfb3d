/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_judge.c - whether a request may end as it did, and when it must have ended.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define CALM_MS        20000u /* where nothing goes wrong */
#define SLACK_MS       30000u /* beyond what the timeouts add up to */
#define LIMIT_SLACK_MS 25000u /* to abort what the target has, at the worst by giving it up */
#define EH_STEPS       6u     /* tries of a request, each with its timeout and error handling */
#define FAILED_MS      1000u  /* by which commands of a session that is given up have failed */

/* What it is about is not there for a while, and reads as zeroes when it is back. */
bool
ls_judge_cut_off(const struct ls_world *w, const struct ls_io *io)
{
    if (io->crashes != w->crashes) /* the crash has taken something, perhaps there */
        return true;
    return ls_has_fault(w, FAULT_SHRINK) && io->at + io->len > ls_half_of(w, io->h->index);
}

/* The session came back, and was lost each time before the unit had answered, until it had been
 * waited for long enough; its program was told. */
static bool
is_back_in_vain(const struct ls_world *w, const struct ls_io *io)
{
    const struct ls_handle *h = io->h;

    if (h->offline_ns == 0 || h->offline_ns < io->start_ns)
        return false;
    return w->plan.restless || /* which has said another limit meanwhile */
           (h->se->least_s >= 0 &&
            sim_now_ns(w->sim) - h->good_ns >= (uint64_t)h->se->least_s * LOOP_NS_PER_S);
}

/* It was lost with each connection since its session was first lost, for as long as that may be
 * waited for, and has just been lost again.  One of several connections may be lost without its
 * session, before that or after it. */
static bool
is_lost_for_good(const struct ls_world *w, const struct ls_io *io)
{
    const struct ls_session *se = io->h->se;
    bool several = w->plan.conns > 1;
    uint64_t since = several ? io->start_ns : io->lost_ns;

    return since > 0 && se->least_s >= 0 && (se->blocked_ns != 0 || several) &&
           sim_now_ns(w->sim) - since >= (uint64_t)se->least_s * LOOP_NS_PER_S;
}

/* Its session did not wait at some time since the request was made: requests fail then. */
static bool
given_up(const struct ls_world *w, const struct ls_io *io)
{
    const struct ls_session *se = io->h->se;
    const struct scsi_host *host;

    if (se->s == NULL || se->gone || is_back_in_vain(w, io) || is_lost_for_good(w, io) ||
        (se->failing_ns > 0 && se->failing_ns >= io->start_ns))
        return true;
    host = dataplane_host(w->ctx->dp, se->sid);
    return host == NULL || host->state == SCSI_HOST_GONE;
}

/* Where the path was in a state without access, requests fail until one of them has found out that
 * it is in another one. */
static bool
path_is_closed(const struct ls_world *w, const struct ls_io *io)
{
    return ls_has_fault(w, FAULT_ALUA) && (io->h->asked_ns == 0 || io->start_ns <= io->h->asked_ns);
}

/* Whether a request may end like that in this world. */
bool
ls_judge_may_fail(const struct ls_world *w, const struct ls_io *io, int err)
{
    unsigned may = w->plan.may;

    if ((io->canceled && err == -ECANCELED) || (w->plan.limit_ms > 0 && err == -ETIMEDOUT))
        return true;
    if (w->calm && err == -ENXIO && ls_has_fault(w, FAULT_SWAP))
        return true; /* only now is it found out */
    if (!w->calm && (w->lossy || (may & LS_MAY_FAIL)))
        return true;
    if (ls_judge_cut_off(w, io))
        return true;
    if ((err == -EHOSTUNREACH || err == -EIO) && path_is_closed(w, io))
        return true; /* it says itself that it cannot, or that it is not ready */
    if (io->op == LS_CAW && err == -EIO && w->plan.spoils)
        return true; /* its data came in spoiled, and it is not sent again */
    /* Its unit has not answered through several rounds of error handling, and its program was told.
     */
    if ((err == -ENODEV || err == -ETIMEDOUT) && (may & LS_MAY_BE_SILENT) &&
        io->h->offline_ns > 0 && io->h->offline_ns >= io->start_ns)
        return true;
    if (ls_is_raw(io->op) && (err == -ENOLINK || err == -ETIMEDOUT || err == -ECANCELED))
        return may & (LS_MAY_LOSE | LS_MAY_BE_SILENT);
    /* -ENOLINK: it was under way when the connection was lost, and nobody could send it again.
     * What changes nothing is told -ENOTCONN, unless it is lost with the session time and again. */
    if (err == -ENOLINK && !ls_writes(io->op))
        return (may & LS_MAY_LOSE) && is_lost_for_good(w, io);
    return (may & LS_MAY_LOSE) && (err == -ENOTCONN || err == -ENOLINK) && given_up(w, io);
}

static enum ls_outcome
judge_miscompare(struct ls_world *w, const struct ls_io *io)
{
    if (io->match && !ls_judge_cut_off(w, io))
        ls_fail(w,
                "compare-and-write %u found other bytes than those on the disk: was it executed "
                "twice?",
                io->id);
    return LS_NOT_DONE;
}

/* A request that runs out of its time has had it. */
static void
check_limit(struct ls_world *w, const struct ls_io *io)
{
    uint64_t ms = (sim_now_ns(w->sim) - io->start_ns) / LOOP_NS_PER_MS;

    if (ls_is_raw(io->op) && ms + 1 >= w->plan.timeout_ms)
        return; /* a raw command has a time of its own */
    if (ms + 1 < w->plan.limit_ms && !(w->plan.may & LS_MAY_BE_SILENT))
        ls_fail(w, "%s %u timed out after %llu ms, and may take %u", ls_op_names[io->op], io->id,
                (unsigned long long)ms, w->plan.limit_ms);
}

/* What sense data and status of a raw command say of it. */
static enum ls_outcome
judge_status(struct ls_world *w, const struct ls_io *io)
{
    const struct lunette_scsi *s = &io->scsi;
    struct scsi_sense sense = {0};
    unsigned may = w->plan.may;

    if (s->status == 0)
        return LS_DONE;
    if (s->status != SCSI_CHECK_CONDITION)
        return s->status == SCSI_TASK_ABORTED ? LS_MAYBE : LS_NOT_DONE;
    if (!sense_parse(s->sense, s->sense_len, &sense) || !sense.valid)
        ls_fail(w, "%s %u: sense data that make no sense", ls_op_names[io->op], io->id);
    if (sense.key == SENSE_MISCOMPARE) {
        if (io->op != LS_CAW)
            ls_fail(w, "%s %u ended with MISCOMPARE", ls_op_names[io->op], io->id);
        return judge_miscompare(w, io);
    }
    if (sense.key == SENSE_UNIT_ATTENTION ||
        (sense.key == SENSE_NOT_READY && path_is_closed(w, io)) ||
        (sense.asc == 0x21 && ls_judge_may_fail(w, io, -EINVAL))) /* LBA out of range */
        return LS_NOT_DONE;
    if (sense.key == SENSE_ABORTED_COMMAND || (may & LS_MAY_FAIL) || w->lossy)
        return LS_MAYBE;
    ls_fail(w, "%s %u failed: key %x, code %02x/%02x", ls_op_names[io->op], io->id, sense.key,
            sense.asc, sense.ascq);
}

enum ls_outcome
ls_judge(struct ls_world *w, const struct ls_io *io, int err)
{
    if (err == 0 && ls_is_raw(io->op) && !io->public_caw)
        return judge_status(w, io);
    if (err == -EILSEQ && io->public_caw)
        return judge_miscompare(w, io);
    if (err == -ETIMEDOUT && w->plan.limit_ms > 0)
        check_limit(w, io);
    if (err == 0)
        return io->op == LS_DISCARD ? LS_WEAK : LS_DONE;
    w->failed++;
    if (!ls_judge_may_fail(w, io, err))
        ls_fail(w, "%s %u failed: %s, in a world where it may not", ls_op_names[io->op], io->id,
                strerror(-err));
    return err == -ENOTCONN ? LS_NOT_DONE : LS_MAYBE; /* for that is what it says */
}

/* How long a request may take at most: all its tries with their error handling, and as long as the
 * session may be waited for.  However often that is lost, and whatever else goes wrong, it is not
 * longer; only a session that is waited for without end is out for as long as somebody wants. */
static uint64_t
limit_ms(const struct ls_world *w)
{
    const struct ls_plan *p = &w->plan;
    uint64_t ms = (uint64_t)EH_STEPS * 2 * p->timeout_ms + SLACK_MS;

    if (p->limit_ms > 0)
        return p->limit_ms + LIMIT_SLACK_MS;

    if (p->restless)
        ms += 120000; /* the most that the program sets */
    if (p->replacement_s >= 0)
        return ms + (uint64_t)p->replacement_s * 1000;
    for (uint32_t i = 0; i < p->nfaults; i++)
        ms += p->fault[i].for_ms;
    return ms;
}

/* Where nobody logs in in time, requests fail, and do so at once. */
static void
check_failed(const struct ls_world *w, const struct ls_io *io)
{
    const struct ls_session *se = io->h->se;
    uint64_t since = io->start_ns - io->jumped_ns, now = ls_clock_ns(w);

    if (se->gone_ns == 0)
        return;
    if (since < se->gone_ns)
        since = se->gone_ns;
    if (now - since > FAILED_MS * LOOP_NS_PER_MS)
        ls_fail(w, "%s %u has not failed, and its session has been given up for %llu ms",
                ls_op_names[io->op], io->id, (unsigned long long)((now - since) / LOOP_NS_PER_MS));
}

void
ls_judge_deadlines(struct ls_world *w)
{
    uint64_t limit = (w->plan.nfaults == 0 ? CALM_MS : limit_ms(w)) * LOOP_NS_PER_MS;

    for (int i = 0; i < LS_SLOTS; i++) {
        const struct ls_io *io = &w->io[i];
        uint64_t jumped = w->jumped_ns - io->jumped_ns;

        if (io->busy && sim_now_ns(w->sim) - io->start_ns - jumped > limit)
            ls_fail(w, "%s %u has not ended within %llu s", ls_op_names[io->op], io->id,
                    (unsigned long long)(limit / LOOP_NS_PER_S));
        if (io->busy)
            check_failed(w, io);
    }
}
