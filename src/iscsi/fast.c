/* SPDX-License-Identifier: MIT */
/* iscsi/fast.c - the fast path of commands down and of answers up (docs/design/fast.md).
 *
 * Nearly every command moves data one way, all of it with the command if it is sent, and nearly
 * every answer says nothing but that all went well.  These go here, and leave
 * everything as the general path (xmit.c, complete.c) would.  Whatever differs in any way is seen
 * before anything is changed, and goes there.
 */
#include <assert.h>
#include <string.h>

#include "iscsi/internal.h"
#include "wire/pdu.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

void
iscsi_check_fast(const struct iscsi_session *pub)
{
    const struct session *s = (const void *)((const char *)pub - offsetof(struct session, pub));

    assert(s->fast_conn == NULL || iscsi_tx_fast_ok(s, s->fast_conn));
    LIST_FOREACH (n, &s->conns) {
        const struct conn *c = container_of(n, struct conn, node);

        assert(!c->rx_fast || iscsi_rx_fast_ok(c));
    }
}

/* ---- down ---- */

uint32_t
iscsi_fast_write_max(const struct conn *c)
{
    const struct iscsi_session_params *p = &c->session->pub.params;
    uint32_t max =
        p->imm_data && p->erl == 0 ? p->first_burst : 0; /* an R2T may follow, with erl */

    if (max > c->pub.max_xmit_dlength)
        max = c->pub.max_xmit_dlength;
    return max < c->pub.fast_write_limit ? max : c->pub.fast_write_limit;
}

/* The transport has no room for one more header, as before the first command of a batch.  It makes
 * room, or the command takes the general path. */
static int __attribute__((noinline))
queue_first(struct session *s, struct conn *c, struct scsi_cmd *sc, bool traced)
{
    if (c->pub.tt->gather_room(&c->pub) != 0)
        return iscsi_queue_general(s, sc);
    return traced ? iscsi_queuecommand_traced(&s->host, sc) : iscsi_queuecommand(&s->host, sc);
}

static int __attribute__((noinline)) digest_header(struct conn *c, uint8_t *h)
{
    pdu_header_digest(h, ISCSI_BHS_LEN, h + ISCSI_BHS_LEN);
    c->pub.gather.next += PDU_DIGEST_LEN;
    return 0;
}

static ALWAYS_INLINE int
queue_fast(struct session *s, struct scsi_cmd *sc, bool traced)
{
    uint32_t out = sc->out.len, in = sc->in.len, cmdsn = s->win.cmdsn;
    struct conn *c = s->fast_conn;
    struct task *t;
    uint8_t *h;

    if (__builtin_expect(c == NULL || sc->cdb_len > 16 || cmdsn_window_closed(&s->win) ||
                             (out > 0 && (in > 0 || out > c->fast_write_max)) ||
                             s->outstanding >= s->pub.cmds_max || s->free_tasks == NULL,
                         0))
        return iscsi_queue_general(s, sc);
    if (__builtin_expect(c->pub.gather.end - c->pub.gather.next < ISCSI_GATHER_MIN, 0))
        return queue_first(s, c, sc, traced);
    t = iscsi_take_task(s, c, TASK_SCSI);
    if (traced)
        TRACE(s->pub.loop, iscsi_queuecommand, sc->cdb[0], t->pub.itt);
    h = c->pub.gather.next;
    t->pub.sc = sc;
    sc->host_priv = t;
    t->pub.state = ISCSI_TASK_RUNNING;
    t->pub.imm_count = out;
    t->pub.cmd_sn = cmdsn;
    s->win.cmdsn = cmdsn + 1;
    c->running++;
    c->pub.stats.scsicmd_pdus++;
    iscsi_put_scsi_cmd(h, sc, sc->cdb,
                       ISCSI_FLAG_FINAL | (out > 0  ? ISCSI_CMD_WRITE
                                           : in > 0 ? ISCSI_CMD_READ
                                                    : 0),
                       out, t->pub.itt, out | in, cmdsn, c->pub.exp_statsn); /* one of them is 0 */
    if (out > 0) {
        t->pub.out_done = out;
        t->xmit_fast = true;
        c->pub.stats.txdata_octets += out;
        return c->pub.tt->xmit_fast(&t->pub);
    }
    c->pub.gather.next = h + ISCSI_BHS_LEN;
    return c->pub.hdrdgst_en ? digest_header(c, h) : 0;
}

int
iscsi_queuecommand(struct scsi_host *host, struct scsi_cmd *sc)
{
    return queue_fast(container_of(host, struct session, host), sc, false);
}

int
iscsi_queuecommand_traced(struct scsi_host *host, struct scsi_cmd *sc)
{
    return queue_fast(container_of(host, struct session, host), sc, true);
}

/* ---- up ---- */

/* The end of a SCSI command that was sent and has been answered: what iscsi_complete_task does
 * where the transport knows nothing of the task any more and nobody else waits for it. */
static ALWAYS_INLINE void
complete_task_fast(struct session *s, struct conn *c, struct task *t, bool traced)
{
    struct scsi_cmd *sc = t->pub.sc;

    assert(t->pub.state == ISCSI_TASK_RUNNING);
    if (__builtin_expect(t->end_general != 0 || (t->xmit_fast && c->pub.gather.end != NULL), 0)) {
        iscsi_complete_task(t);
        return;
    }
    s->outstanding--;
    c->running--;
    t->pub.state = ISCSI_TASK_FREE;
    t->next_free = s->free_tasks;
    s->free_tasks = t;
    sc->host_priv = NULL;
    if (traced)
        TRACE(s->pub.loop, iscsi_complete_task, t->pub.itt, 0);
    sc->done(sc);
}

/* StatSN is the next (11.4.8), the window makes sense (4.2.2.1) and nobody waits for it. */
static inline bool
fast_numbers(const struct conn *c, const struct session *s, const struct bhs_scsi_rsp *h)
{
    return c->rx_fast && !s->win.wanted && get32(h->stat_sn) == c->pub.exp_statsn &&
           cmdsn_window_possible(get32(h->exp_cmd_sn), get32(h->max_cmd_sn));
}

static ALWAYS_INLINE void
fast_end(struct session *s, struct conn *c, struct task *t, const struct bhs_scsi_rsp *h,
         bool traced)
{
    c->pub.exp_statsn++;
    (void)cmdsn_window_grow(&s->win, get32(h->max_cmd_sn)); /* nobody waits for it */
    complete_task_fast(s, c, t, traced); /* its result is as the midlayer left it: all good */
}

static void __attribute__((noinline)) general_answer(struct conn *c, const struct bhs_scsi_rsp *h)
{
    (void)iscsi_complete_pdu(&c->pub, (const void *)h, NULL, 0);
}

/* A SCSI command that reads nothing, and all of whose data has been asked for and sent. */
static inline bool
all_sent(const struct task *t)
{
    return t->pub.sc != NULL && t->pub.sc->in.len == 0 && t->pub.out_done == t->pub.sc->out.len;
}

static ALWAYS_INLINE void
scsi_rsp_fast(struct iscsi_conn *pub, const struct bhs_scsi_rsp *h, bool traced)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;
    struct task *t;

    if (__builtin_expect(get16(h->status_qualifier) != 0 || !fast_numbers(c, s, h) ||
                             (t = iscsi_task_of_itt(c, h->itt)) == NULL ||
                             (!t->xmit_fast && !all_sent(t)),
                         0)) {
        general_answer(c, h);
        return;
    }
    c->pub.stats.scsirsp_pdus++;
    fast_end(s, c, t, h, traced);
}

void
iscsi_complete_scsi_rsp(struct iscsi_conn *pub, const struct bhs_scsi_rsp *h)
{
    scsi_rsp_fast(pub, h, false);
}

void
iscsi_complete_scsi_rsp_traced(struct iscsi_conn *pub, const struct bhs_scsi_rsp *h)
{
    scsi_rsp_fast(pub, h, true);
}

static ALWAYS_INLINE void
data_in_fast(struct iscsi_task *t, const struct bhs_data_in *hdr, bool traced)
{
    const struct bhs_scsi_rsp *h = (const void *)hdr; /* the numbers are at the same place */
    struct conn *c = to_conn(t->conn);
    struct session *s = c->session;

    if (__builtin_expect(!fast_numbers(c, s, h) || t->sc->out.len > 0, 0)) {
        general_answer(c, h);
        return;
    }
    fast_end(s, c, to_task(t), h, traced);
}

void
iscsi_complete_data_in(struct iscsi_task *t, const struct bhs_data_in *h)
{
    data_in_fast(t, h, false);
}

void
iscsi_complete_data_in_traced(struct iscsi_task *t, const struct bhs_data_in *h)
{
    data_in_fast(t, h, true);
}
