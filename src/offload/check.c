/* SPDX-License-Identifier: MIT */
#include "offload/check.h"

#include <assert.h>
#include <string.h>

#include "seam/host.h"
#include "seam/ipc.h"

#define ATTR_ACA 4 /* RFC 7143 11.3.1: the last that there is */

const char *
offload_fault_text(enum offload_fault f)
{
    static const char *const text[OFFLOAD_FAULTS] = {
        [OFFLOAD_FINE] = "nothing wrong",
        [OFFLOAD_BAD_KIND] = "an unknown kind",
        [OFFLOAD_BAD_SLOT] = "a slot that there is not",
        [OFFLOAD_BAD_GENERATION] = "a generation that its slot cannot have",
        [OFFLOAD_BAD_INDEX] = "an index of its ring that cannot be",
        [OFFLOAD_BAD_RESERVED] = "something in a place that has to be 0",
        [OFFLOAD_BAD_ATTR] = "an unknown task attribute",
        [OFFLOAD_BAD_CDB_LEN] = "a CDB of an impossible length",
        [OFFLOAD_BAD_RANGE] = "data outside of the arena",
        [OFFLOAD_BAD_FUNCTION] = "an unknown task management function",
        [OFFLOAD_BAD_RESULT] = "an unknown result",
        [OFFLOAD_BAD_SENSE] = "sense data that are too long",
        [OFFLOAD_BAD_STATE] = "an unknown state of its session",
        [OFFLOAD_BAD_RESIDUAL] = "more bytes that were not moved than there are",
        [OFFLOAD_BAD_ANSWER] = "the answer to something else",
    };

    assert(f < OFFLOAD_FAULTS);
    return text[f];
}

/* len is a multiple of 8, as all such places have it. */
static bool
offload_zero(const uint8_t *p, size_t len)
{
    uint64_t any = 0, w;

    for (size_t at = 0; at < len; at += sizeof(w)) {
        memcpy(&w, p + at, sizeof(w));
        any |= w;
    }
    return any == 0;
}

/* Of nothing, the offset is 0, too.  The sum is in 64 bits and cannot overflow: there is none. */
static enum offload_fault
check_extent_of(uint64_t off, uint32_t len, const struct offload_limits *lim)
{
    if (len == 0)
        return off == 0 ? OFFLOAD_FINE : OFFLOAD_BAD_RESERVED;
    return off <= lim->arena && len <= lim->arena - off ? OFFLOAD_FINE : OFFLOAD_BAD_RANGE;
}

static enum offload_fault
check_sq_command(const struct offload_sqe *e, const struct offload_limits *lim)
{
    bool inside = e->cdb_len <= OFFLOAD_CDB_INLINE;
    enum offload_fault f;

    if (e->function != 0 || e->ref_slot != 0 || e->ref_generation != 0)
        return OFFLOAD_BAD_RESERVED;
    if (e->attr > ATTR_ACA)
        return OFFLOAD_BAD_ATTR;
    if (e->cdb_len == 0 || e->cdb_len > OFFLOAD_CDB_MAX)
        return OFFLOAD_BAD_CDB_LEN;
    f = check_extent_of(e->cdb_off, inside ? 0 : e->cdb_len, lim);
    if (f == OFFLOAD_FINE)
        f = check_extent_of(e->in_off, e->in_len, lim);
    return f == OFFLOAD_FINE ? check_extent_of(e->out_off, e->out_len, lim) : f;
}

static enum offload_fault
check_sq_tmf(const struct offload_sqe *e, const struct offload_limits *lim)
{
    if (e->function < OFFLOAD_ABORT || e->function > OFFLOAD_QUERY_ASYNC_EVENT)
        return OFFLOAD_BAD_FUNCTION;
    if (e->attr != 0 || e->cdb_len != 0 || e->in_len != 0 || e->out_len != 0 || e->in_off != 0 ||
        e->out_off != 0 || e->cdb_off != 0 || !offload_zero(e->cdb, sizeof(e->cdb)))
        return OFFLOAD_BAD_RESERVED;
    if (e->function != OFFLOAD_ABORT)
        return e->ref_slot == 0 && e->ref_generation == 0 ? OFFLOAD_FINE : OFFLOAD_BAD_RESERVED;
    return e->ref_slot < lim->slots && e->ref_slot != e->slot ? OFFLOAD_FINE : OFFLOAD_BAD_SLOT;
}

enum offload_fault
offload_check_sqe(const struct offload_sqe *e, const struct offload_limits *lim)
{
    if (e->kind != OFFLOAD_SQ_COMMAND && e->kind != OFFLOAD_SQ_TMF)
        return OFFLOAD_BAD_KIND;
    if (e->slot >= lim->slots)
        return OFFLOAD_BAD_SLOT;
    if (e->reserved != 0 || e->reserved2 != 0 || !offload_zero(e->reserved3, sizeof(e->reserved3)))
        return OFFLOAD_BAD_RESERVED;
    return e->kind == OFFLOAD_SQ_COMMAND ? check_sq_command(e, lim) : check_sq_tmf(e, lim);
}

static enum offload_fault
check_cq_done(const struct offload_cqe *e)
{
    if (e->result != 0 || e->info != 0)
        return OFFLOAD_BAD_RESERVED;
    if (e->host_result > DID_TIME_OUT || e->overflow > 1)
        return OFFLOAD_BAD_RESULT;
    return e->sense_len <= SCSI_SENSE_MAX ? OFFLOAD_FINE : OFFLOAD_BAD_SENSE;
}

static enum offload_fault
check_cq_tmf_done(const struct offload_cqe *e)
{
    if (e->host_result != 0 || e->status != 0 || e->response != 0 || e->sense_len != 0 ||
        e->resid_in != 0 || e->resid_out != 0 || e->status_qualifier != 0 || e->overflow != 0)
        return OFFLOAD_BAD_RESERVED;
    /* RFC 7144 6.4: the answer of a query has 24 bits. */
    return e->result <= SCSI_EH_FAILED && e->info < UINT32_C(1) << 24 ? OFFLOAD_FINE
                                                                      : OFFLOAD_BAD_RESULT;
}

enum offload_fault
offload_check_cqe(const struct offload_cqe *e, const struct offload_limits *lim)
{
    if (e->kind != OFFLOAD_CQ_DONE && e->kind != OFFLOAD_CQ_TMF_DONE)
        return OFFLOAD_BAD_KIND;
    if (e->slot >= lim->slots)
        return OFFLOAD_BAD_SLOT;
    if (!offload_zero(e->reserved, sizeof(e->reserved)))
        return OFFLOAD_BAD_RESERVED;
    if (e->state >= IPC_SESSION_STATES)
        return OFFLOAD_BAD_STATE;
    return e->kind == OFFLOAD_CQ_DONE ? check_cq_done(e) : check_cq_tmf_done(e);
}

enum offload_fault
offload_check_answer(const struct offload_cqe *e, const struct offload_asked *asked)
{
    uint8_t kind = asked->kind == OFFLOAD_SQ_COMMAND ? OFFLOAD_CQ_DONE : OFFLOAD_CQ_TMF_DONE;

    if (e->kind != kind || e->sid != asked->sid)
        return OFFLOAD_BAD_ANSWER;
    return e->resid_in <= asked->in_len && e->resid_out <= asked->out_len ? OFFLOAD_FINE
                                                                          : OFFLOAD_BAD_RESIDUAL;
}
