/* SPDX-License-Identifier: MIT */
#include "target/iser/rx.h"

#include <assert.h>
#include <string.h>

#include "target/deliver.h"
#include "target/flow.h"
#include "target/iser/memory.h"

void
tgt_iser_arrived(struct tgt_iser *f, uint32_t recv, uint32_t len)
{
    assert(f->waiting_count < f->recvs && recv < f->recvs);
    f->waiting[(f->waiting_head + f->waiting_count++) % f->recvs] =
        (struct tgt_message){.recv = recv, .len = len};
}

/* What is wrong with the way that data are to go; NULL: nothing.  Data that are asked for come by
 * RDMA alone (RFC 7145 7.3.6). */
static const char *
wrong_way(const struct tgt_conn *c, const struct iser_pdu *p)
{
    const struct bhs_scsi_cmd *h = (const struct bhs_scsi_cmd *)(const void *)p->hdr;
    const struct bhs_data_out *d = (const struct bhs_data_out *)(const void *)p->hdr;
    uint32_t edtl = get32(h->edtl), unasked = p->data_len;

    if (pdu_opcode(p->hdr) == ISCSI_OP_DATA_OUT && get32(d->ttt) != ISCSI_TAG_RSVD)
        return "a Data-Out that was not asked for, since over iSER none is";
    if (pdu_opcode(p->hdr) != ISCSI_OP_SCSI_CMD || edtl == 0)
        return NULL;
    if ((h->flags & ISCSI_CMD_READ) && !p->has_read)
        return "a command that reads has no read STag";
    if (!(h->flags & ISCSI_FLAG_FINAL) && c->sess->params.first_burst > unasked)
        unasked = c->sess->params.first_burst; /* Data-Out follows */
    if ((h->flags & ISCSI_CMD_WRITE) && edtl > unasked && !p->has_write)
        return "a command that writes more than comes with it has no write STag";
    return NULL;
}

/* Hands one message up. */
static void
iser_deliver(struct tgt_iser *f, const uint8_t *msg, uint32_t len)
{
    struct tgt_conn *c = &f->c;
    struct lunette_error err;
    struct iser_pdu p;
    const char *wrong;
    int r = iser_take(msg, len, PDU_FROM_INITIATOR, c->recv_max, &p, &err);

    if (r < 0 && err.detail == ISCSI_REJECT_UNSUPPORTED && c->state == TGT_CONN_FFP) {
        /* As on every face, a request of an unknown kind is no reason to end; that there is a
         * header is what has been checked before. */
        tgt_reject(c, (const struct bhs *)(const void *)(msg + ISER_LEN), ISCSI_BHS_LEN,
                   ISCSI_REJECT_UNSUPPORTED);
        return;
    }
    wrong = r == 0 && c->state == TGT_CONN_FFP ? wrong_way(c, &p) : NULL;
    if (r < 0 || wrong != NULL) {
        tgt_format_error(c, r < 0 ? err.msg : wrong);
        return;
    }
    memcpy(c->h.raw, p.hdr, ISCSI_BHS_LEN + pdu_ahs_len(p.hdr));
    c->stags = (struct tgt_stags){
        .write = p.write, .read = p.read, .has_write = p.has_write, .has_read = p.has_read};
    c->rx_cmd = NULL;
    if (!tgt_deliver_header(c))
        return;
    tgt_deliver_begin(c);
    tgt_deliver(c, p.data_len > 0 ? p.data : NULL, true);
}

static bool
iser_wanted(const struct tgt_conn *c)
{
    return (c->state == TGT_CONN_LOGIN || c->state == TGT_CONN_FFP) && tgt_flow_open(c);
}

void
tgt_iser_receive(struct tgt_conn *c)
{
    struct tgt_iser *f = tgt_iser(c);

    if (c->paused)
        return;
    c->turn_pdus = 0;
    while (f->waiting_count > 0 && iser_wanted(c)) {
        struct tgt_message m = f->waiting[f->waiting_head];

        f->waiting_head = (f->waiting_head + 1) % f->recvs;
        f->waiting_count--;
        c->turn_pdus++;
        iser_deliver(f, tgt_memory_recv(f, m.recv), m.len);
        if (c->state == TGT_CONN_DEAD)
            return;
        if (tgt_memory_post(f, m.recv) < 0) {
            tgt_conn_kill(c, "a receive cannot be posted");
            return;
        }
    }
    if ((c->state == TGT_CONN_LOGIN || c->state == TGT_CONN_FFP) && !tgt_flow_open(c))
        tgt_flow_pause(c);
}
