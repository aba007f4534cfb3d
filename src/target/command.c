/* SPDX-License-Identifier: MIT */
/* The life of a SCSI command: from its PDU through the device server to its response. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "target/session.h"

#define CHUNK 64 /* commands allocated at a time */

#define ASC_UNEXPECTED   SENSE_ASC(0x0c, 0x0c)
#define ASC_WRONG_AMOUNT SENSE_ASC(0x0c, 0x0d)

struct chunk {
    struct list link;
    struct tgt_cmd cmds[CHUNK];
};

static bool
grow(struct target *t)
{
    struct chunk *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return false;
    list_push_back(&t->chunks, &k->link);
    for (unsigned i = 0; i < CHUNK; i++)
        list_push_back(&t->free_cmds, &k->cmds[i].link);
    return true;
}

void
tgt_cmd_pool_fini(struct target *t)
{
    struct list *l;

    while ((l = list_pop_front(&t->chunks)) != NULL)
        free(container_of(l, struct chunk, link));
}

static unsigned
hash(uint32_t itt)
{
    return (itt ^ itt >> 16) % TGT_HASH;
}

static void
delay_over(struct loop_timer *timer)
{
    struct tgt_cmd *c = container_of(timer, struct tgt_cmd, timer);

    c->state = TGT_CMD_SEND;
    tgt_tx_queue(c->conn, &c->tx);
}

struct tgt_cmd *
tgt_cmd_new(struct tgt_conn *conn, const struct bhs_scsi_cmd *h)
{
    struct target *t = conn->target;
    struct tgt_session *s = conn->sess;
    struct tgt_cmd *c;

    if (list_empty(&t->free_cmds) && !grow(t))
        return NULL;
    c = container_of(list_pop_front(&t->free_cmds), struct tgt_cmd, link);
    memset(c, 0, sizeof(*c));
    list_init(&c->link);
    list_init(&c->tx.link);
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
    list_push_back(&s->cmds, &c->sess_link);
    s->immediate += c->immediate;
    c->hash_next = s->hash[hash(c->itt)];
    s->hash[hash(c->itt)] = c;
    return c;
}

struct tgt_cmd *
tgt_cmd_find(const struct tgt_session *s, uint32_t itt)
{
    struct tgt_cmd *c = s->hash[hash(itt)];

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

/* Out of all lists of its session, connection and LU. */
static void
detach(struct tgt_cmd *c)
{
    struct tgt_session *s = c->sess;
    struct tgt_cmd **at = &s->hash[hash(c->itt)];

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
    tgt_tx_release(c->conn, c->s.buf);
    lu_buf_free(c->early);
    c->s.buf = c->early = NULL;
}

void
tgt_cmd_free(struct tgt_cmd *c)
{
    struct target *t = c->sess->target;

    assert(c->state != TGT_CMD_FREE);
    detach(c);
    loop_timer_stop(t->loop, &c->timer);
    c->state = TGT_CMD_FREE;
    if (lu_cmd_end(&c->s))
        list_push_front(&t->free_cmds, &c->link);
    else
        c->orphan_of = t; /* until cmd_released */
}

static void
cmd_released(struct lu_cmd *s)
{
    struct tgt_cmd *c = container_of(s, struct tgt_cmd, s);

    assert(c->state == TGT_CMD_FREE);
    list_push_front(&c->orphan_of->free_cmds, &c->link);
}

/* A fault makes the response wait. */
static void
delay_response(struct tgt_cmd *c, uint32_t ms)
{
    c->state = ms == TGT_HOOK_NEVER ? TGT_CMD_MUTE : TGT_CMD_DELAY;
    if (ms != TGT_HOOK_NEVER)
        loop_timer_start(c->sess->target->loop, &c->timer, ms * LOOP_NS_PER_MS);
}

void
tgt_cmd_send(struct tgt_cmd *c)
{
    uint32_t ms = tgt_hook(c->sess->target->hook, TGT_HOOK_RESPONSE, c->s.cdb);

    c->tx_len = 0;
    if (!c->s.failed && c->s.dir == LU_DIR_IN && (c->h.cmd.flags & ISCSI_CMD_READ))
        c->tx_len = c->s.len < c->edtl ? c->s.len : c->edtl;
    c->burst_left = c->sess->params.max_burst;
    if (ms != 0) {
        delay_response(c, ms);
        return;
    }
    c->state = TGT_CMD_SEND;
    tgt_tx_queue(c->conn, &c->tx);
}

static void
cmd_complete(struct lu_cmd *s)
{
    struct tgt_cmd *c = container_of(s, struct tgt_cmd, s);

    assert(c->state == TGT_CMD_SERVER);
    tgt_cmd_send(c);
}

void
tgt_cmd_complete(struct tgt_cmd *c)
{
    c->state = TGT_CMD_SERVER;
    lu_cmd_finish(&c->s);
}

void
tgt_cmd_take(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    if (c->s.failed || off >= c->need)
        return;
    lu_cmd_take(&c->s, off, data, len < c->need - off ? len : c->need - off);
}

/* Whether the direction that the initiator expects goes with what the CDB moves.  A read that is
 * flagged as a write moves nothing, which the residual tells; a write that would silently not
 * happen must fail. */
static void
check_direction(struct tgt_cmd *c)
{
    if (c->s.failed || c->edtl == 0)
        return;
    if (c->s.dir == LU_DIR_OUT && (c->h.cmd.flags & ISCSI_CMD_READ))
        lu_cmd_fail_field(&c->s, true, 0);
    else if (c->s.dir == LU_DIR_IN && (c->h.cmd.flags & ISCSI_CMD_WRITE))
        c->s.len = 0;
}

/* What came without being asked for, against what was negotiated (RFC 7143 11.4.7.2). */
void
tgt_cmd_check_unsolicited(struct tgt_cmd *c, uint32_t immediate)
{
    const struct iscsi_params *p = &c->sess->params;

    if (!(c->h.cmd.flags & ISCSI_FLAG_FINAL) && p->initial_r2t)
        lu_cmd_fail(&c->s, SENSE_ABORTED_COMMAND, ASC_UNEXPECTED);
    else if (immediate > 0 && !p->immediate_data)
        lu_cmd_fail(&c->s, SENSE_ABORTED_COMMAND, ASC_UNEXPECTED);
    else if (immediate > p->first_burst)
        lu_cmd_fail(&c->s, SENSE_ABORTED_COMMAND, ASC_WRONG_AMOUNT);
}

void
tgt_cmd_run(struct tgt_cmd *c, const uint8_t *data, uint32_t len)
{
    bool writes = c->h.cmd.flags & ISCSI_CMD_WRITE;
    uint32_t status;

    c->sess->target->stats.commands++;
    memcpy(c->s.cdb, c->h.cmd.cdb, sizeof(c->s.cdb));
    memcpy(c->s.lun, c->h.cmd.lun, sizeof(c->s.lun));
    c->s.nexus = c->sess->nexus;
    c->s.expect = c->edtl;
    c->state = TGT_CMD_DATA;
    status = c->s.failed ? 0 : tgt_hook(c->sess->target->hook, TGT_HOOK_COMMAND, NULL);
    if (status != 0)
        lu_cmd_fail_status(&c->s, (uint8_t)status);
    lu_cmd_start(&c->s);
    check_direction(c);
    if (!c->s.failed && c->s.dir == LU_DIR_OUT) {
        c->need = writes && c->edtl < c->s.len ? c->edtl : writes ? c->s.len : 0;
        if (c->need < c->s.len && c->s.data != LU_DATA_MEDIA)
            lu_cmd_fail_field(&c->s, true, 0); /* half a parameter list means nothing */
    }
    c->unsolicited = writes && !(c->h.cmd.flags & ISCSI_FLAG_FINAL);
    tgt_cmd_take(c, 0, data, len);
    c->sess->target->stats.bytes_written += len;
    c->rx_off = c->r2t_off = c->r2t_base = len;
    tgt_cmd_want_data(c);
}

void
tgt_cmd_abort(struct tgt_cmd *c, struct tgt_tmf *tmf)
{
    bool data_due = c->state == TGT_CMD_DATA && (c->unsolicited || c->r2t_sn != c->r2t_done);

    if (c->state == TGT_CMD_DRAIN)
        return;
    if (tmf == NULL || !data_due) {
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

static bool
cmd_abort(struct lu_cmd *s, void *tmf)
{
    struct tgt_cmd *c = container_of(s, struct tgt_cmd, s);

    if (tmf != NULL)
        return tgt_tmf_abort(tmf, c);
    tgt_cmd_abort(c, NULL);
    return true;
}

const struct lu_router tgt_router = {
    .complete = cmd_complete, .released = cmd_released, .abort = cmd_abort};
