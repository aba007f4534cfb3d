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

/* One more chunk onto the free list; sessions start small and grow to cmds_max. */
int
iscsi_alloc_tasks(struct session *s)
{
    const struct iscsi_transport *tt = s->pub.tt;
    size_t own = round_up(sizeof(struct task)), dd = round_up(tt->task_size);
    uint32_t n = s->pub.tasks.made / ISCSI_TASK_CHUNK;
    void *mem;

    s->pub.tasks.chunk = s->chunk;
    s->pub.tasks.bytes =
        (uint32_t)(own + dd) + (tt->alloc_pdu == NULL ? (uint32_t)round_up(ISCSI_HDR_MAX) : 0);
    if (s->pub.tasks.made >= s->pub.cmds_max + MGMT_TASKS)
        return -EBUSY;
    assert(n < s->chunks);
    mem = aligned_alloc(64, s->pub.tasks.bytes * ISCSI_TASK_CHUNK);
    if (mem == NULL)
        return -ENOMEM;
    memset(mem, 0, s->pub.tasks.bytes * ISCSI_TASK_CHUNK);
    s->chunk[n] = mem;
    for (uint32_t i = ISCSI_TASK_CHUNK; i-- > 0;) { /* the first slot ends up on top */
        struct task *t = iscsi_task_at(s, s->pub.tasks.made + i);

        t->pub.itt = t->slot = s->pub.tasks.made + i;
        t->pub.dd_data = (char *)t + own;
        if (tt->alloc_pdu == NULL)
            t->pub.hdr = (void *)((char *)t + own + dd);
        list_init(&t->pub.node);
        t->next_free = s->free_tasks;
        s->free_tasks = t;
    }
    s->pub.tasks.made += ISCSI_TASK_CHUNK;
    return 0;
}

void
iscsi_free_tasks(struct session *s)
{
    for (uint32_t i = 0; i < s->chunks; i++)
        free(s->chunk[i]);
}

/* RFC 7143 4.2.5.3: a tag of the peer is looked up, never trusted. */
struct iscsi_task *
iscsi_itt_to_task(struct iscsi_conn *pub, struct be32 itt)
{
    struct task *t = iscsi_task_of_itt(to_conn(pub), itt);

    return t != NULL ? &t->pub : NULL;
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

static void __attribute__((noinline, cold)) finish_session(struct session *s, struct conn *c)
{
    if (s->want_restart)
        iscsi_want_restart(s);
    if (s->dying || c->dying)
        iscsi_session_maybe_free(s);
}

void
iscsi_finish_task(struct task *t)
{
    struct conn *c = to_conn(t->pub.conn);
    struct session *s = c->session;
    struct scsi_cmd *sc = t->pub.sc;

    assert(t->pub.state != ISCSI_TASK_FREE);
    t->pub.unsol = (struct iscsi_unsolicited){0};
    if (t->kind == TASK_SCSI) {
        s->outstanding--;
        if (__builtin_expect(t->marked, 0))
            s->marked_ended(s, t);
    } else {
        free(t->user_data);
        t->user_data = NULL;
        t->pub.data = NULL;
        t->pub.data_len = 0;
    }
    t->pub.state = ISCSI_TASK_FREE;
    t->pub.sc = NULL;
    t->next_free = s->free_tasks;
    s->free_tasks = t;
    if (__builtin_expect(s->want_restart || s->dying || c->dying, 0))
        finish_session(s, c); /* may free both */
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
    if (t->kind == TASK_SCSI)
        return;
    if (c->ping == t)
        c->ping = NULL;
    if (c->user == t)
        c->user = NULL;
}

void
iscsi_complete_task(struct task *t)
{
    const struct iscsi_transport *tt = t->pub.conn->tt;
    bool cleanup = t->started || t->xmit_fast;

    /* A command of the fast path that only reads was sent without the transport's knowledge; its
     * Data-In may be half received unless it ends with its own answer. */
    if (!cleanup && t->pub.state == ISCSI_TASK_RUNNING && t->pub.sc != NULL)
        cleanup = t->pub.sc->host_result != DID_OK;
    iscsi_task_detained(t);
    if (cleanup && tt->cleanup_task(&t->pub) == -EINPROGRESS)
        return; /* iscsi_task_cleaned goes on */
    iscsi_finish_task(t);
}

void
iscsi_task_cleaned(struct iscsi_task *t)
{
    assert(t->state == ISCSI_TASK_COMPLETED);
    iscsi_finish_task(to_task(t));
}
