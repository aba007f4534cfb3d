/* SPDX-License-Identifier: MIT */
/* What the data plane has counted and timed, as JSON. */
#include <string.h>

#include "iscsid/internal.h"

static const char *const stats_classes[BDEV_CLASSES] = {
    [BDEV_CLASS_READ] = "read", [BDEV_CLASS_WRITE] = "write", [BDEV_CLASS_OTHER] = "other"};

static const char *const stats_stages[IO_STAGES] = {
    [IO_STAGE_QUEUE] = "queue",   [IO_STAGE_WINDOW] = "window",   [IO_STAGE_SEND] = "send",
    [IO_STAGE_TARGET] = "target", [IO_STAGE_RECEIVE] = "receive",
};

struct stats_row {
    const char *name;
    uint64_t value;
};

static void
stats_put(json_t *o, const struct stats_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        say_put(o, rows[i].name, json_integer((json_int_t)rows[i].value));
}

void
stats_add_conn(struct iscsi_stats *sum, const struct iscsi_stats *s)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)s;

    _Static_assert(sizeof(*s) % sizeof(*from) == 0, "counters of 64 bits, and nothing else");
    for (size_t i = 0; i < sizeof(*s) / sizeof(*from); i++)
        to[i] += from[i];
}

void
stats_say_conn(json_t *o, const struct iscsi_stats *s)
{
    const struct stats_row rows[] = {
        {"txdata_octets", s->txdata_octets}, {"rxdata_octets", s->rxdata_octets},
        {"noptx_pdus", s->noptx_pdus},       {"scsicmd_pdus", s->scsicmd_pdus},
        {"tmfcmd_pdus", s->tmfcmd_pdus},     {"dataout_pdus", s->dataout_pdus},
        {"noprx_pdus", s->noprx_pdus},       {"scsirsp_pdus", s->scsirsp_pdus},
        {"tmfrsp_pdus", s->tmfrsp_pdus},     {"datain_pdus", s->datain_pdus},
        {"r2t_pdus", s->r2t_pdus},           {"async_pdus", s->async_pdus},
        {"rjt_pdus", s->reject_pdus},        {"digest_err", s->digest_err},
        {"snack_pdus", s->snack_pdus},       {"tasks_reassigned", s->tasks_reassigned},
    };

    stats_put(o, rows, sizeof(rows) / sizeof(rows[0]));
}

void
stats_say_lun(json_t *o, const struct ipc_lun_stats *s)
{
    const struct stats_row rows[] = {
        {"reads", s->read.reqs},
        {"writes", s->write.reqs},
        {"flushes", s->flush.reqs},
        {"discards", s->discard.reqs},
        {"write_zeroes", s->write_zeroes.reqs},
        {"read_bytes", s->read.bytes},
        {"written_bytes", s->write.bytes},
        {"errors", s->read.errors + s->write.errors + s->flush.errors + s->discard.errors +
                       s->write_zeroes.errors},
        {"pieces", s->pieces},
        {"driver_ns", s->driver_ns},
        {"splits", s->splits},
        {"requeues", s->requeues},
        {"busy", s->busy},
        {"timeouts", s->timeouts},
        {"commands", s->commands},
        {"retries", s->retries},
        {"unit_attentions", s->unit_attentions},
        {"aborts", s->aborts},
        {"lu_resets", s->lu_resets},
        {"lost_writes", s->lost_writes},
    };

    stats_put(o, rows, sizeof(rows) / sizeof(rows[0]));
}

/* ---- histograms ----------------------------------------------------------------------------- */

static json_t *
stats_histogram(const struct latency *h)
{
    json_t *o = json_object(), *buckets = json_array();

    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t bound = latency_bound(i);
        json_t *pair;

        if (h->bucket[i] == 0)
            continue;
        pair = json_array();
        (void)json_array_append_new(pair, bound == UINT64_MAX ? json_null()
                                                              : json_integer((json_int_t)bound));
        (void)json_array_append_new(pair, json_integer((json_int_t)h->bucket[i]));
        (void)json_array_append_new(buckets, pair);
    }
    say_put(o, "count", json_integer((json_int_t)latency_count(h)));
    say_put(o, "sum_ns", json_integer((json_int_t)h->sum_ns));
    say_put(o, "buckets", buckets);
    return o;
}

json_t *
stats_say_latency(const struct bdev_latency *l)
{
    json_t *o = json_object();

    say_put(o, "timed", json_integer((json_int_t)l->timed));
    for (int c = 0; c < BDEV_CLASSES; c++) {
        json_t *class;

        if (latency_count(&l->total[c]) == 0)
            continue;
        class = json_object();
        say_put(class, "total", stats_histogram(&l->total[c]));
        for (int s = 0; s < IO_STAGES; s++)
            say_put(class, stats_stages[s], stats_histogram(&l->stage[c][s]));
        say_put(o, stats_classes[c], class);
    }
    return o;
}

void
stats_merge_latency(struct bdev_latency *to, const struct bdev_latency *from)
{
    to->timed += from->timed;
    for (int c = 0; c < BDEV_CLASSES; c++) {
        latency_merge(&to->total[c], &from->total[c]);
        for (int s = 0; s < IO_STAGES; s++)
            latency_merge(&to->stage[c][s], &from->stage[c][s]);
    }
}
