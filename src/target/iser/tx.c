/* SPDX-License-Identifier: MIT */
/* Requests are made from what is in the connection's queue, and posted together.  The order of the
 * send queue is what the rules of iSER rest on: data that are written are there before the response
 * that follows them (RFC 7145 7.3.2), and a read piece that was posted later has come later.
 *
 * Every request takes its memory from the arena and a place in `posts`; both come back in the order
 * of posting.  Where there is none left, the queue waits for a completion.
 */
#include "target/iser/tx.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lu/buf.h"
#include "lu/lu.h"
#include "target/answer.h"
#include "target/command.h"
#include "target/conn.h"
#include "target/exec.h"
#include "target/flow.h"
#include "target/hook.h"
#include "target/instance.h"
#include "target/iser/lie.h"
#include "target/iser/memory.h"
#include "target/order.h"
#include "target/tmf.h"
#include "target/txq.h"

#define BATCH  32u /* requests that are posted together */
#define ROUNDS 16u /* batches of one connection in one turn */

/* What is about to be posted. */
struct iser_batch {
    struct rnic_wr wr[BATCH];
    unsigned n;
};

static struct tgt_post *
post_at(struct tgt_iser *f, uint64_t id)
{
    return &f->posts[id % TGT_ISER_SENDS];
}

/* Begins a request with len bytes of memory, one SGE; NULL: there is no room for it now. */
static struct rnic_wr *
iser_begin(struct tgt_iser *f, struct iser_batch *b, enum tgt_post_kind kind, uint32_t len)
{
    struct tgt_post *p = post_at(f, f->post_next);
    struct rnic_wr *wr = &b->wr[b->n];

    if (b->n == BATCH || f->post_next - f->post_first == TGT_ISER_SENDS)
        return NULL;
    *p = (struct tgt_post){.kind = kind, .arena = f->arena, .len = len};
    p->mem = tgt_arena_take(f->arena, len, &p->take);
    if (p->mem == NULL)
        return NULL;
    *wr = (struct rnic_wr){.id = f->post_next,
                           .quiet = true,
                           .nsge = 1,
                           .sge[0] = {.addr = p->mem, .len = len, .lkey = f->arena->lkey}};
    wr->op = kind == TGT_POST_SEND ? RNIC_SEND : kind == TGT_POST_WRITE ? RNIC_WRITE : RNIC_READ;
    f->post_next++;
    b->n++;
    return wr;
}

/* Puts data behind the header of a message, with padding. */
static void
put_message_data(uint8_t *msg, const void *data, uint32_t len)
{
    ((struct bhs *)(void *)(msg + ISER_LEN))->dseg_len = put24(len);
    if (len > 0)
        memcpy(msg + ISER_HDRS_LEN, data, len);
    memset(msg + ISER_HDRS_LEN + len, 0, pdu_pad(len));
}

/* The next control PDU.  False: there is no room for it now. */
static bool
send_ctl(struct tgt_iser *f, struct iser_batch *b, struct tgt_ctl *ctl)
{
    struct tgt_conn *c = &f->c;
    uint32_t len = ctl->len < c->xmit_max ? ctl->len : c->xmit_max;
    struct rnic_wr *wr = iser_begin(f, b, TGT_POST_SEND, ISER_HDRS_LEN + len + pdu_pad(len));
    void (*made)(struct tgt_conn * c) = ctl->made;
    uint8_t *msg;

    if (wr == NULL)
        return false;
    msg = wr->sge[0].addr;
    iser_put((struct iser_hdr *)(void *)msg, NULL, NULL);
    memcpy(msg + ISER_LEN, ctl->hdr, ISCSI_BHS_LEN);
    put_message_data(msg, ctl->data, len);
    tgt_order_stamp(c, msg + ISER_LEN, ctl->numbered);
    post_at(f, wr->id)->close_after = ctl->close_after;
    wr->quiet = !ctl->close_after;
    list_del(&ctl->tx.link);
    tgt_ctl_free(c, ctl);
    if (made != NULL)
        made(c);
    return true;
}

/* Asks for more of a command's data.  False: there is no room for that now. */
static bool
read_piece(struct tgt_iser *f, struct iser_batch *b, struct tgt_cmd *cmd)
{
    uint32_t len = cmd->need - cmd->r2t_off;
    struct rnic_wr *wr;
    struct tgt_post *p;

    if (len > TGT_ISER_PIECE)
        len = TGT_ISER_PIECE;
    wr = iser_begin(f, b, TGT_POST_READ, len);
    if (wr == NULL)
        return false;
    p = post_at(f, wr->id);
    p->cmd = cmd;
    p->off = cmd->r2t_off;
    /* The STag is of what does not come unasked. */
    wr->remote_addr = cmd->stags.write.base + (cmd->r2t_off - cmd->r2t_base);
    wr->rkey = cmd->stags.write.stag;
    wr->quiet = false;
    tgt_lie_move(cmd, wr);
    cmd->r2t_sn++;
    cmd->r2t_off += len;
    f->c.target->stats.rdma_reads++;
    return true;
}

/* A command that waits for data: r2t_off is the next that is to be asked for.  It comes into the
 * queue again with each piece that has come (tgt_exec_want_data). */
static bool
send_wants(struct tgt_iser *f, struct iser_batch *b, struct tgt_cmd *cmd)
{
    tgt_lie_ask(cmd, TGT_RDMA_WANTS);
    if (cmd->lie == TARGET_RDMA_R2T && cmd->r2t_want > 0) {
        struct rnic_wr *wr = iser_begin(f, b, TGT_POST_SEND, ISER_HDRS_LEN);

        if (wr == NULL)
            return false;
        tgt_lie_r2t(cmd, wr->sge[0].addr);
        cmd->r2t_want = 0; /* and it waits for ever */
    }
    while (cmd->r2t_want > 0 && cmd->r2t_off < cmd->need &&
           cmd->r2t_sn - cmd->r2t_done < TGT_R2T_MAX) {
        if (!read_piece(f, b, cmd))
            return false;
    }
    cmd->r2t_want = 0;
    list_del(&cmd->tx.link);
    return true;
}

/* Writes the next data of a command into the initiator's memory.  False: there is no room. */
static bool
write_piece(struct tgt_iser *f, struct iser_batch *b, struct tgt_cmd *cmd)
{
    uint32_t left = cmd->tx_len - cmd->tx_off;
    uint32_t len = left < TGT_ISER_PIECE ? left : TGT_ISER_PIECE;
    struct tgt_conn *c = &f->c;
    void *owned = NULL;
    const uint8_t *data;
    struct rnic_wr *wr;

    if (!tgt_arena_has(f->arena, len) || b->n == BATCH ||
        f->post_next - f->post_first == TGT_ISER_SENDS)
        return false;
    data = lu_cmd_source(&cmd->s, cmd->tx_off, &len, &owned);
    if (data == NULL) { /* what was sent so far counts, and the response says why it ends */
        cmd->s.len = cmd->tx_len = cmd->tx_off;
        return true;
    }
    if (cmd->lie != TARGET_RDMA_NO_DATA) {
        wr = iser_begin(f, b, TGT_POST_WRITE, len);
        assert(wr != NULL);
        memcpy(wr->sge[0].addr, data, len);
        wr->remote_addr = cmd->stags.read.base + cmd->tx_off;
        wr->rkey = cmd->stags.read.stag;
        tgt_lie_move(cmd, wr);
    }
    lu_buf_free(owned);
    cmd->tx_off += len;
    c->target->stats.bytes_read += len;
    c->target->stats.rdma_writes++;
    return true;
}

/* The STag that the response invalidates; 0: none. */
static uint32_t
ended_stag(const struct tgt_iser *f, const struct tgt_cmd *cmd)
{
    if (!f->invalidates || tgt_hook(f->c.target->hook, TGT_HOOK_STAG, NULL))
        return 0;
    return cmd->stags.has_read    ? cmd->stags.read.stag
           : cmd->stags.has_write ? cmd->stags.write.stag
                                  : 0;
}

/* A fault: the response that was made last comes twice. */
static void
answer_twice(struct tgt_iser *f, struct iser_batch *b)
{
    const struct rnic_wr *last = &b->wr[b->n - 1];
    struct rnic_wr *wr = iser_begin(f, b, TGT_POST_SEND, last->sge[0].len);

    if (wr != NULL)
        memcpy(wr->sge[0].addr, last->sge[0].addr, last->sge[0].len);
}

/* A fault: the response that was made last goes before the RDMA Write that was made before it. */
static void
answer_first(struct tgt_iser *f, struct iser_batch *b)
{
    struct rnic_wr *data, *answer, wr;

    if (b->n < 2 || b->wr[b->n - 2].op != RNIC_WRITE)
        return;
    data = &b->wr[b->n - 2];
    answer = &b->wr[b->n - 1];
    post_at(f, data->id)->kind = TGT_POST_SEND;
    post_at(f, answer->id)->kind = TGT_POST_WRITE;
    wr = *answer;
    wr.id = data->id;
    data->id = answer->id;
    *answer = *data;
    *data = wr;
}

/* What is made of the response that was made last. */
static void
lie_in_answer(struct tgt_iser *f, struct iser_batch *b, const struct tgt_cmd *cmd)
{
    tgt_lie_answer(cmd, &b->wr[b->n - 1]);
    if (cmd->lie == TARGET_RDMA_TWICE)
        answer_twice(f, b);
    else if (cmd->lie == TARGET_RDMA_DATA_LATE)
        answer_first(f, b);
}

/* The response, with which the command ends: all of its data are posted. */
static bool
send_response(struct tgt_iser *f, struct iser_batch *b, struct tgt_cmd *cmd)
{
    uint8_t sense[TGT_ANSWER_MAX];
    struct bhs_scsi_rsp h;
    uint32_t len = tgt_answer(cmd, &h, sense);
    uint32_t whole = ISER_HDRS_LEN + len + pdu_pad(len);
    struct rnic_wr *wr;
    uint8_t *msg;

    if (cmd->lie == TARGET_RDMA_LONG)
        whole = TGT_LIE_LONG;
    wr = iser_begin(f, b, TGT_POST_SEND, whole);
    if (wr == NULL)
        return false;
    msg = wr->sge[0].addr;
    iser_put((struct iser_hdr *)(void *)msg, NULL, NULL);
    tgt_cmd_close_window(cmd);
    tgt_order_stamp(&f->c, &h, true);
    memcpy(msg + ISER_LEN, &h, sizeof(h));
    put_message_data(msg, sense, len);
    wr->invalidate = ended_stag(f, cmd);
    if (cmd->lie != TARGET_RDMA_HONEST)
        lie_in_answer(f, b, cmd);
    list_del(&cmd->tx.link);
    lu_cmd_answered(&cmd->s);
    tgt_cmd_free(cmd);
    return true;
}

/* False: what is first in the queue has no room. */
static bool
send_cmd(struct tgt_iser *f, struct iser_batch *b, struct tgt_cmd *cmd)
{
    if (cmd->state == TGT_CMD_DATA)
        return send_wants(f, b, cmd);
    assert(cmd->state == TGT_CMD_SEND); /* nothing is kept over RDMA */
    tgt_lie_ask(cmd, cmd->tx_len > 0 ? TGT_RDMA_BRINGS : TGT_RDMA_ANSWERS);
    while (cmd->tx_off < cmd->tx_len) {
        if (!write_piece(f, b, cmd))
            return false;
    }
    f->leaves = cmd->lie == TARGET_RDMA_LEAVES;
    return !f->leaves && send_response(f, b, cmd);
}

static bool
send_next(struct tgt_iser *f, struct iser_batch *b)
{
    struct tgt_tx *tx = container_of(f->c.txq.next, struct tgt_tx, link);

    if (tx->is_cmd)
        return send_cmd(f, b, container_of(tx, struct tgt_cmd, tx));
    return send_ctl(f, b, container_of(tx, struct tgt_ctl, tx));
}

/* Posts a batch.  The last one of it is not quiet, so that all of it comes back. */
static bool
post_batch(struct tgt_iser *f, struct iser_batch *b)
{
    int r;

    if (b->n == 0)
        return true;
    b->wr[b->n - 1].quiet = false;
    r = rnic_post_send(f->ep, b->wr, b->n);
    b->n = 0;
    if (r < 0)
        tgt_conn_kill(&f->c, errno_text(-r));
    return r == 0;
}

void
tgt_iser_flush(struct loop_work *w)
{
    struct tgt_iser *f = container_of(w, struct tgt_iser, c.flush);
    struct tgt_conn *c = &f->c;
    struct iser_batch b;

    assert(c->state != TGT_CONN_DEAD);
    if (c->blocked || c->held_back || !f->up)
        return;
    b.n = 0;
    for (unsigned rounds = 0; !list_empty(&c->txq);) {
        bool more = send_next(f, &b);

        if (more)
            continue;
        more = b.n > 0; /* a batch that was full, perhaps */
        if (!post_batch(f, &b))
            return;
        if (f->leaves) {
            tgt_conn_kill(c, "disconnected on order");
            return;
        }
        if (!more) { /* a completion makes room */
            c->blocked = true;
            break;
        }
        if (++rounds == ROUNDS) { /* fairness: the others first */
            loop_defer(c->target->loop, &c->flush);
            break;
        }
    }
    if (post_batch(f, &b))
        tgt_flow_sent(c);
}

/* A piece of a command's data has come; or the command needs no more. */
static void
piece_came(struct tgt_iser *f, struct tgt_post *p)
{
    struct tgt_cmd *cmd = p->cmd;

    cmd->r2t_done++;
    if (cmd->state == TGT_CMD_DRAIN) {
        if (cmd->r2t_done == cmd->r2t_sn && !cmd->unsolicited)
            tgt_tmf_drained(cmd);
        return;
    }
    assert(cmd->state == TGT_CMD_DATA);
    tgt_exec_take(cmd, p->off, p->mem, p->len);
    cmd->rx_off = p->off + p->len;
    f->c.target->stats.bytes_written += p->len;
    tgt_exec_want_data(cmd);
}

void
tgt_iser_done(struct tgt_iser *f, uint64_t id)
{
    struct tgt_conn *c = &f->c;

    assert(id - f->post_first < f->post_next - f->post_first);
    c->alive_ns = c->target->loop->now_ns;
    while (f->post_first <= id) {
        struct tgt_post *p = post_at(f, f->post_first++);

        if (p->kind == TGT_POST_READ && p->cmd != NULL)
            piece_came(f, p);
        tgt_arena_give(p->arena, p->take);
        if (p->close_after) {
            tgt_conn_kill(c, NULL);
            return;
        }
        if (c->state == TGT_CONN_DEAD)
            return;
    }
    if (!c->blocked)
        return;
    c->blocked = false;
    loop_defer(c->target->loop, &c->flush);
}

void
tgt_iser_forget(struct tgt_cmd *cmd)
{
    struct tgt_iser *f = tgt_iser(cmd->conn);

    for (uint64_t id = f->post_first; id != f->post_next; id++) {
        struct tgt_post *p = post_at(f, id);

        if (p->cmd == cmd)
            p->cmd = NULL;
    }
}

const char *
tgt_iser_request_name(const struct tgt_iser *f, uint64_t id)
{
    static const char *const names[] = {[TGT_POST_SEND] = "a Send",
                                        [TGT_POST_WRITE] = "an RDMA Write",
                                        [TGT_POST_READ] = "an RDMA Read"};

    return names[f->posts[id % TGT_ISER_SENDS].kind];
}
