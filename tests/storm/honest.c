/* SPDX-License-Identifier: MIT */
/* A party that does nothing wrong, but all that is allowed: several connections, CmdSNs out of
 * order, unsolicited data of commands that wait, PDUs that come in two pieces.  So it can be held
 * against the target that every command is answered, that all succeed, and that reads return what
 * was written.  Each slot has a part of the LUN and one command at a time. */
#include <stdio.h>
#include <string.h>

#include "storm.h"
#include "wire/pdu.h"
#include "wire/scsi.h"
#include "wire/sense.h"

static void
honest_fault(struct party *p, const char *what)
{
    if (p->storm->complaint == NULL)
        p->storm->complaint = what;
}

static struct honest_slot *
honest_find(struct party *p, uint32_t itt)
{
    for (unsigned i = 0; i < STORM_SLOTS; i++) {
        if (p->slots[i].busy && p->slots[i].itt == itt)
            return &p->slots[i];
    }
    return NULL;
}

void
honest_lost(struct party *p)
{
    for (unsigned i = 0; i < STORM_SLOTS; i++) {
        struct honest_slot *s = &p->slots[i];

        s->unknown |= s->busy && s->data != NULL;
        s->busy = false;
    }
}

void
honest_nop(struct storm_link *l)
{
    struct party *p = l->party;
    bool immediate = rng_chance(&p->rng, 300);
    uint32_t len = rng_below(&p->rng, 2000);
    struct bhs_nop_out h;

    bhs_init(&h, ISCSI_OP_NOP_OUT | (immediate ? ISCSI_OP_IMMEDIATE : 0), ISCSI_FLAG_FINAL);
    h.itt = put32(party_itt(p));
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.cmd_sn = put32(party_cmd_sn(p, immediate));
    h.exp_stat_sn = put32(l->stat_sn);
    link_pdu(l, &h, NULL, 0, random_data(&p->rng, len), len);
}

void
honest_command(struct storm_link *l)
{
    struct party *p = l->party;
    struct rng *r = &p->rng;
    uint32_t i = rng_below(r, STORM_SLOTS), lba = i * (STORM_SLOT / 512), len = 0;
    struct honest_slot *s = &p->slots[i];
    struct storm_task *t;
    uint8_t cdb[CDB_MAX];
    struct bhs_scsi_cmd h;
    bool writes = s->unknown || rng_chance(r, 600), final = true;

    if (s->busy)
        return;
    t = task_new(p);
    bhs_init(&h, ISCSI_OP_SCSI_CMD, writes ? ISCSI_CMD_WRITE : ISCSI_CMD_READ);
    t->edtl = writes && !s->unknown ? 512 * (1 + rng_below(r, STORM_SLOT / 512)) : STORM_SLOT;
    if (writes) {
        t->data = random_data(r, t->edtl);
        len = plan_write(l, t, &final);
        (void)cdb_write10(cdb, lba, (uint16_t)(t->edtl / 512), 0);
    } else {
        (void)cdb_read10(cdb, lba, STORM_SLOT / 512, 0);
    }
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    t->link = l;
    t->itt = party_itt(p);
    t->cmd_sn = party_cmd_sn(p, false);
    s->busy = true;
    s->itt = t->itt;
    s->data = t->data;
    s->len = t->edtl;
    s->got = 0;
    h.flags |= final ? ISCSI_FLAG_FINAL : 0;
    h.itt = put32(t->itt);
    h.edtl = put32(t->edtl);
    h.cmd_sn = put32(t->cmd_sn);
    h.exp_stat_sn = put32(l->stat_sn);
    link_pdu(l, &h, NULL, 0, t->data, len);
}

static void
honest_end(struct party *p, struct honest_slot *s, uint8_t status, const uint8_t *sense,
           uint32_t len)
{
    struct scsi_sense why = {0};

    s->busy = false;
    if (status == SCSI_CHECK_CONDITION && len > 2 && sense_parse(sense + 2, len - 2, &why) &&
        why.key == SENSE_UNIT_ATTENTION)
        return; /* it was not executed */
    if (status != SCSI_GOOD) {
        static char text[80];

        (void)snprintf(text, sizeof(text), "an honest command failed: status %02x, sense %x/%04x",
                       status, why.key, sense_code(&why));
        honest_fault(p, text);
        return;
    }
    p->storm->n.honest++;
    if (s->data != NULL) {
        memcpy(s->want, s->data, s->len);
        s->unknown = false;
    } else if (s->got != STORM_SLOT) {
        honest_fault(p, "an honest read came without its data");
    }
}

void
honest_got(struct storm_link *l, const union bhs_any *h, const uint8_t *data, uint32_t len)
{
    struct party *p = l->party;
    struct honest_slot *s = honest_find(p, get32(h->h.itt));
    uint8_t opcode = pdu_opcode(&h->h);

    if (opcode == ISCSI_OP_REJECT)
        honest_fault(p, "an honest PDU was rejected");
    if (s == NULL)
        return;
    if (opcode == ISCSI_OP_SCSI_RSP) {
        honest_end(p, s, h->scsi_rsp.status, data, len);
    } else if (opcode == ISCSI_OP_DATA_IN) {
        uint32_t off = get32(h->data_in.offset);

        if (off != s->got || len > STORM_SLOT - off)
            honest_fault(p, "data of an honest read is out of place");
        else if (memcmp(data, s->want + off, len) != 0)
            honest_fault(p, "an honest read does not return what was written");
        s->got += len;
        if (h->h.flags & ISCSI_DATA_IN_STATUS)
            honest_end(p, s, h->data_in.status, NULL, 0);
    }
}
