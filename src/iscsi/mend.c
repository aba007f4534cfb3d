/* SPDX-License-Identifier: MIT */
/* iscsi/mend.c - what is kept of a command some of whose PDUs were lost or broken. */
#include "iscsi/mend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/internal.h"

/* Bytes that are kept of the data of a response: sense is at most 252 of them (SPC-4 4.5.1), and
 * each command may have a response that is kept. */
#define KEPT_MAX 4096

/* Bytes from 0 on without a hole. */
static uint32_t
first_run(const struct datasn_set *s)
{
    return s->count > 0 && s->run[0].first == 0 ? s->run[0].end : 0;
}

struct mend *
iscsi_mend(struct task *t, uint32_t seen)
{
    struct conn *c = to_conn(t->pub.conn);
    struct mend *m = t->mend;

    if (m != NULL)
        return m;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;
    m->task = t;
    datasn_runs_init(&m->came, seen, t->pub.in_done);
    list_push_back(&c->mends, &m->node);
    t->mend = m;
    t->mended = true;
    if (t->pub.sc->in.len > 0)
        t->pub.in_done = ISCSI_IN_PIECES;
    return m;
}

uint32_t
iscsi_mend_missing(const struct mend *m, uint32_t from, uint32_t *ret_first)
{
    return datasn_set_missing_from(&m->came.seen, from, m->task->pub.exp_datasn, ret_first);
}

bool
iscsi_mend_joins(const struct mend *m)
{
    const struct datasn_set *good = &m->came.good;

    return good->count == 0 || (good->count == 1 && good->run[0].first == 0);
}

bool
iscsi_mend_keep_answer(struct mend *m, const union bhs_any *h, const void *data, uint32_t len)
{
    void *copy = NULL;

    if (len > KEPT_MAX)
        len = KEPT_MAX;
    if (len > 0) {
        copy = malloc(len);
        if (copy == NULL)
            return false;
        memcpy(copy, data, len);
    }
    free(m->rsp_data);
    m->rsp_data = copy;
    m->rsp_len = len;
    m->rsp = *h;
    m->answered = true;
    return true;
}

void
iscsi_mend_end(struct task *t)
{
    struct mend *m = t->mend;

    assert(m != NULL && m->task == t);
    if (t->pub.in_done == ISCSI_IN_PIECES)
        t->pub.in_done = first_run(&m->came.good);
    list_del(&m->node);
    t->mend = NULL;
    t->mended = false;
    free(m->rsp_data);
    free(m);
}
