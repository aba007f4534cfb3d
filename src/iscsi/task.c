/* SPDX-License-Identifier: MIT */
/* iscsi/task.c - the table of tasks, their tags, and their end. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "iscsi/internal.h"

static size_t
round_up(size_t n)
{
    return (n + 63) & ~(size_t)63; /* a task starts on a cache line */
}

struct task *
iscsi_task_at(const struct session *s, uint32_t slot)
{
    return (void *)((char *)s->chunk[slot / TASK_CHUNK] + (slot % TASK_CHUNK) * s->task_bytes);
}

/* One more chunk onto the free list; sessions start small and grow to cmds_max. */
int
iscsi_alloc_tasks(struct session *s)
{
    const struct iscsi_transport *tt = s->pub.tt;
    size_t own = round_up(sizeof(struct task)), dd = round_up(tt->task_size);
    uint32_t n = s->tasks_made / TASK_CHUNK;
    void *mem;

    s->task_bytes = own + dd + (tt->alloc_pdu == NULL ? round_up(ISCSI_HDR_MAX) : 0);
    if (s->tasks_made >= s->pub.cmds_max + MGMT_TASKS)
        return -EBUSY;
    assert(n < s->chunks);
    mem = aligned_alloc(64, s->task_bytes * TASK_CHUNK);
    if (mem == NULL)
        return -ENOMEM;
    memset(mem, 0, s->task_bytes * TASK_CHUNK);
    s->chunk[n] = mem;
    for (uint32_t i = 0; i < TASK_CHUNK; i++) {
        struct task *t = iscsi_task_at(s, s->tasks_made);

        t->slot = s->tasks_made++;
        t->pub.dd_data = (char *)t + own;
        if (tt->alloc_pdu == NULL)
            t->pub.hdr = (void *)((char *)t + own + dd);
        list_push_back(&s->free_tasks, &t->pub.node);
    }
    return 0;
}

void
iscsi_free_tasks(struct session *s)
{
    for (uint32_t i = 0; i < s->chunks; i++)
        free(s->chunk[i]);
}

struct task *
task_alloc(struct session *s, struct conn *c, enum task_kind kind)
{
    struct task *t;

    if (kind == TASK_SCSI && s->outstanding >= s->pub.cmds_max)
        return NULL;
    if (list_empty(&s->free_tasks) && iscsi_alloc_tasks(s) < 0)
        return NULL;
    t = to_task(container_of(list_pop_front(&s->free_tasks), struct iscsi_task, node));
    assert(t->pub.state == ISCSI_TASK_FREE);
    t->gen = (uint16_t)((t->gen + 1) % GEN_LIMIT);
    t->pub.itt = (uint32_t)t->gen << 16 | t->slot;
    t->pub.conn = &c->pub;
    t->pub.sc = NULL;
    t->pub.state = ISCSI_TASK_PENDING;
    t->pub.data = NULL;
    t->pub.data_len = 0;
    t->pub.imm_count = 0;
    t->pub.unsol.len = 0;
    t->pub.exp_datasn = 0;
    t->pub.in_done = t->pub.out_done = 0;
    t->pub.moved_ns = t->asked_ns = s->pub.loop->now_ns;
    t->kind = kind;
    t->started = false;
    t->eh = NULL;
    t->swept = false;
    t->user_data = NULL;
    c->tasks++;
    if (kind == TASK_SCSI)
        s->outstanding++;
    return t;
}

/* RFC 7143 4.2.5.3: a tag of the peer is looked up, never trusted. */
struct iscsi_task *
iscsi_itt_to_task(struct iscsi_conn *pub, struct be32 itt)
{
    struct session *s = to_conn(pub)->session;
    uint32_t tag = get32(itt), slot = tag & ((1u << SLOT_BITS) - 1);
    struct task *t;

    if (slot >= s->tasks_made)
        return NULL;
    t = iscsi_task_at(s, slot);
    if (t->pub.itt != tag || t->pub.state != ISCSI_TASK_RUNNING || t->pub.conn != pub)
        return NULL;
    return &t->pub;
}

/* Was the tag that of a task which task management has ended not long ago? */
bool
iscsi_itt_ended(struct iscsi_conn *pub, struct be32 itt)
{
    const struct session *s = to_conn(pub)->session;
    uint32_t n = s->nended < ENDED_TAGS ? s->nended : ENDED_TAGS;

    for (uint32_t i = 0; i < n; i++) {
        if (s->ended[i] == get32(itt))
            return true;
    }
    return false;
}

/* Gives the slot back and tells whoever waited.  The last use of t. */
static void
finish(struct task *t)
{
    struct conn *c = to_conn(t->pub.conn);
    struct session *s = c->session;
    struct scsi_cmd *sc = t->pub.sc;

    assert(c->tasks > 0);
    c->tasks--;
    free(t->user_data);
    t->user_data = NULL;
    if (t->kind == TASK_SCSI) {
        s->outstanding--;
        if (t->swept)
            iscsi_tmf_task_back(s, t);
        if (t->eh != NULL)
            iscsi_tmf_task_gone(t);
    }
    t->pub.state = ISCSI_TASK_FREE;
    t->pub.sc = NULL;
    list_push_front(&s->free_tasks, &t->pub.node);
    if (s->want_restart)
        iscsi_want_restart(s);
    if (s->dying || c->dying)
        iscsi_session_maybe_free(s);
    if (sc != NULL) {
        sc->host_priv = NULL;
        sc->done(sc);
    }
}

void
iscsi_task_detained(struct task *t)
{
    struct conn *c = to_conn(t->pub.conn);

    assert(t->pub.state == ISCSI_TASK_PENDING || t->pub.state == ISCSI_TASK_RUNNING);
    TRACE(c->pub.loop, iscsi_complete_task, t->pub.itt, t->pub.sc != NULL ? t->pub.sc->status : 0);
    t->pub.state = ISCSI_TASK_COMPLETED;
    list_del(&t->pub.node);
    if (c->xmit_task == t)
        c->xmit_task = NULL;
    if (c->ping == t)
        c->ping = NULL;
    if (c->user == t)
        c->user = NULL;
}

void
iscsi_complete_task(struct task *t)
{
    struct conn *c = to_conn(t->pub.conn);

    iscsi_task_detained(t);
    if (t->started && c->pub.tt->cleanup_task(&t->pub) == -EINPROGRESS)
        return; /* iscsi_task_cleaned goes on */
    finish(t);
}

void
iscsi_task_cleaned(struct iscsi_task *t)
{
    assert(t->state == ISCSI_TASK_COMPLETED);
    finish(to_task(t));
}
