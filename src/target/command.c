/* SPDX-License-Identifier: MIT */
#include "target/command.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lu/buf.h"
#include "lu/lu.h"
#include "target/instance.h"
#include "target/state/conn.h"
#include "target/state/session.h"
#include "target/state/tmf.h"
#include "target/txq.h"

#define CMD_CHUNK 64 /* commands allocated at a time */

struct cmd_chunk {
    struct list link;
    struct tgt_cmd cmds[CMD_CHUNK];
};

static bool
grow_cmds(struct target *t)
{
    struct cmd_chunk *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return false;
    list_push_back(&t->chunks, &k->link);
    for (unsigned i = 0; i < CMD_CHUNK; i++)
        list_push_back(&t->free_cmds, &k->cmds[i].link);
    return true;
}

void
tgt_cmd_pool_fini(struct target *t)
{
    struct list *l;

    while ((l = list_pop_front(&t->chunks)) != NULL)
        free(container_of(l, struct cmd_chunk, link));
}

static unsigned
itt_hash(uint32_t itt)
{
    return (itt ^ itt >> 16) % TGT_HASH;
}

void
tgt_cmd_queue(struct tgt_cmd *c)
{
    c->state = TGT_CMD_SEND;
    if (__builtin_expect(c->sess->fence_ua, 0) && c->sess->fence_answer(c))
        return;
    tgt_tx_queue(c->conn, &c->tx);
}

static void
delay_over(struct loop_timer *timer)
{
    tgt_cmd_queue(container_of(timer, struct tgt_cmd, timer));
}

struct tgt_cmd *
tgt_cmd_new(struct tgt_conn *conn, const struct bhs_scsi_cmd *h)
{
    struct target *t = conn->target;
    struct tgt_session *s = conn->sess;
    struct tgt_cmd *c;

    if (list_empty(&t->free_cmds) && !grow_cmds(t))
        return NULL;
    c = container_of(list_pop_front(&t->free_cmds), struct tgt_cmd, link);
    memset(c, 0, offsetof(struct tgt_cmd, ttt));
    list_init(&c->link);
    list_init(&c->tx.link);
    list_init(&c->tx.kept);
    lu_cmd_init(&c->s);
    c->tx.is_cmd = true;
    c->sess = s;
    c->conn = conn;
    c->h.cmd = *h;
    c->itt = get32(h->itt);
    c->edtl = get32(h->edtl);
    c->immediate = h->opcode & ISCSI_OP_IMMEDIATE;
    c->state = TGT_CMD_DATA;
    loop_timer_init(&c->timer, delay_over);
    if (conn->rdma)
        c->stags = conn->stags;
    list_push_back(&s->cmds, &c->sess_link);
    s->immediate += c->immediate;
    c->hash_next = s->hash[itt_hash(c->itt)];
    s->hash[itt_hash(c->itt)] = c;
    return c;
}

struct tgt_cmd *
tgt_cmd_find(const struct tgt_session *s, uint32_t itt)
{
    struct tgt_cmd *c = s->hash[itt_hash(itt)];

    while (c != NULL && c->itt != itt)
        c = c->hash_next;
    return c;
}

void
tgt_cmd_close_window(struct tgt_cmd *c)
{
    if (c->opened)
        c->sess->open--;
    c->opened = false;
}

bool
tgt_cmd_reserve_early(struct tgt_cmd *c, uint32_t room)
{
    struct tgt_session *s = c->sess;

    assert(c->early_room == 0);
    if (room > TGT_HELD_BYTES - s->held_bytes || room > TGT_HELD_ALL - s->target->held_bytes)
        return false;
    c->early_room = room;
    s->held_bytes += room;
    s->target->held_bytes += room;
    return true;
}

uint8_t *
tgt_cmd_take_early(struct tgt_cmd *c)
{
    uint8_t *early = c->early;

    c->sess->held_bytes -= c->early_room;
    c->sess->target->held_bytes -= c->early_room;
    c->early_room = 0;
    c->early = NULL;
    return early;
}

void
tgt_cmd_drop_early(struct tgt_cmd *c)
{
    lu_buf_free(tgt_cmd_take_early(c));
}

/* Out of all lists of its session, so that it is no task any more.  Inline, for each command ends
 * with it. */
static inline __attribute__((always_inline)) void
unlist_cmd(struct tgt_cmd *c)
{
    struct tgt_session *s = c->sess;
    struct tgt_cmd **at = &s->hash[itt_hash(c->itt)];

    while (*at != c)
        at = &(*at)->hash_next;
    *at = c->hash_next;
    if (c->conn->rx_cmd == c)
        c->conn->rx_cmd = NULL;
    tgt_cmd_close_window(c);
    s->immediate -= c->immediate;
    list_del(&c->link);
    list_del(&c->tx.link);
    list_del(&c->sess_link);
    if (c->early != NULL || c->early_room > 0)
        tgt_cmd_drop_early(c);
}

static void
release_buf(struct tgt_cmd *c)
{
    tgt_tx_release(c->conn, c->s.buf);
    c->s.buf = NULL;
}

void
tgt_cmd_sent(struct tgt_cmd *c)
{
    bool ended;

    assert(c->state == TGT_CMD_SEND);
    unlist_cmd(c);
    ended = lu_cmd_end(&c->s);
    assert(ended); /* it has been answered: nothing is under way for it */
    (void)ended;
    c->state = TGT_CMD_SENT;
}

void
tgt_cmd_rewind(struct tgt_cmd *c)
{
    uint32_t off;

    assert(c->state == TGT_CMD_SEND || c->state == TGT_CMD_SENT);
    if (c->tx_sn == 0 || c->tx_sn == c->seg.base_sn)
        return; /* nothing was sent */
    off = tgt_seg_off(&c->seg, c->ack_sn);
    if (off > c->tx_off)
        off = c->tx_off; /* all of it is acknowledged */
    if (c->s.data == LU_DATA_MEDIA)
        release_buf(c); /* a part that was read ahead */
    c->recut = false;
    c->tx_off = c->seg.base_off = off;
    c->tx_sn = c->seg.base_sn = c->ack_sn;
    c->burst_left = c->sess->params.max_burst;
}

void
tgt_cmd_forget(struct tgt_cmd *c)
{
    assert(c->state == TGT_CMD_SENT && list_empty(&c->tx.kept));
    list_del(&c->tx.link);
    release_buf(c);
    c->state = TGT_CMD_FREE;
    list_push_front(&c->conn->target->free_cmds, &c->link);
}

void
tgt_cmd_free(struct tgt_cmd *c)
{
    struct target *t = c->sess->target;

    assert(c->state != TGT_CMD_FREE && c->state != TGT_CMD_SENT);
    if (c->r2t_sn != c->r2t_done)
        c->conn->face->forget(c);
    unlist_cmd(c);
    release_buf(c);
    loop_timer_stop(t->loop, &c->timer);
    c->state = TGT_CMD_FREE;
    if (lu_cmd_end(&c->s))
        list_push_front(&t->free_cmds, &c->link);
    else
        c->orphan_of = t; /* until tgt_cmd_released */
}

void
tgt_cmd_released(struct tgt_cmd *c)
{
    assert(c->state == TGT_CMD_FREE);
    list_push_front(&c->orphan_of->free_cmds, &c->link);
}

void
tgt_cmd_abort(struct tgt_cmd *c, struct tgt_tmf *tmf)
{
    bool data_due = c->state == TGT_CMD_DATA && (c->unsolicited || c->r2t_sn != c->r2t_done);

    if (c->state == TGT_CMD_DRAIN)
        return;
    if (tmf == NULL || !data_due || c->conn->lost) {
        tgt_cmd_free(c);
        return;
    }
    list_del(&c->tx.link);
    (void)lu_cmd_end(&c->s);
    c->r2t_want = 0;
    if (!c->s.failed)
        lu_cmd_fail_status(&c->s, SCSI_TASK_ABORTED);
    c->state = TGT_CMD_DRAIN;
    c->drain_for = tmf;
    tmf->draining++;
}
