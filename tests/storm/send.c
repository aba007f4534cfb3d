/* SPDX-License-Identifier: MIT */
/* Single PDUs other than SCSI commands and their data. */
#include <string.h>

#include "storm.h"
#include "wire/pdu.h"

/* The fields that all requests have at the same place. */
static void
begin_request(struct storm_link *l, union bhs_any *h, uint8_t opcode, uint8_t flags, bool immediate)
{
    struct party *p = l->party;

    bhs_init(h, opcode | (immediate ? ISCSI_OP_IMMEDIATE : 0), flags);
    random_lun(p, h->h.lun);
    h->h.itt = put32(party_itt(p));
    h->nop_out.cmd_sn = put32(party_cmd_sn(p, immediate));
    h->nop_out.exp_stat_sn = put32(rng_chance(&p->rng, 20) ? rng_odd(&p->rng) : l->stat_sn);
}

void
send_nop(struct storm_link *l)
{
    struct rng *r = &l->party->rng;
    uint32_t len = rng_chance(r, 600) ? 0 : rng_below(r, rng_chance(r, 800) ? 300 : l->party->seg);
    union bhs_any h;

    begin_request(l, &h, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL, rng_chance(r, 300));
    h.nop_out.ttt = put32(rng_chance(r, 950) ? ISCSI_TAG_RSVD : rng_odd(r));
    if (rng_chance(r, 50))
        h.nop_out.itt = put32(ISCSI_TAG_RSVD);
    link_pdu(l, &h, NULL, 0, random_data(r, len), len);
}

/* One of the party's commands, or any tag. */
static void
refer(struct party *p, struct bhs_tmf_req *h)
{
    const struct storm_task *t = &p->tasks[rng_below(&p->rng, STORM_TASKS)];

    h->ref_tag = put32(ISCSI_TAG_RSVD);
    h->ref_cmd_sn = put32(0);
    if (t->used && rng_chance(&p->rng, 900)) {
        memcpy(h->lun, t->lun, sizeof(h->lun));
        h->ref_tag = put32(t->itt);
        h->ref_cmd_sn = put32(t->cmd_sn);
    } else if (rng_chance(&p->rng, 300)) {
        h->ref_tag = put32(rng_odd(&p->rng));
        h->ref_cmd_sn = put32(p->exp_cmd_sn + rng_below(&p->rng, 8) - 2);
    }
}

void
send_tmf(struct storm_link *l)
{
    static const uint8_t functions[] = {1, 1, 1, 1, 1, 2, 2, 4, 4, 5, 5, 6, 3, 8, 9, 10, 11, 12, 0};
    struct rng *r = &l->party->rng;
    uint8_t function = functions[rng_below(r, sizeof(functions))];
    union bhs_any h;

    if (rng_chance(r, 10))
        function = rng_chance(r, 500) ? 7 : (uint8_t)rng_below(r, 128);
    begin_request(l, &h, ISCSI_OP_TMF_REQ, (uint8_t)(ISCSI_FLAG_FINAL | function),
                  rng_chance(r, 750));
    refer(l->party, &h.tmf_req);
    link_pdu(l, &h, NULL, 0, NULL, 0);
}

static uint32_t
request_text(struct rng *r, char *mem, size_t size)
{
    static const char *const pairs[][2] = {
        {"SendTargets", "All"},
        {"SendTargets", ""},
        {"SendTargets", STORM_PREFIX "open"},
        {"SendTargets", "nobody"},
        {"MaxRecvDataSegmentLength", "262144"},
        {"X-storm", "?"},
        {"InitiatorAlias", "eye"},
        {"HeaderDigest", "None"},
        {"MaxBurstLength", "512"},
        {"TargetName", "x"},
    };
    struct text_buf b;

    text_buf_init(&b, mem, size);
    do {
        size_t i = rng_below(r, rng_chance(r, 600) ? 4 : sizeof(pairs) / sizeof(pairs[0]));

        if (rng_chance(r, 5)) { /* fills the answer */
            while (text_put(&b, "A", "") == 0)
                ;
        }
        (void)text_put(&b, pairs[i][0], pairs[i][1]);
    } while (rng_chance(r, 300));
    if (rng_chance(r, 30))
        (void)text_append(&b, random_data(r, 200), rng_below(r, 200), NULL);
    return (uint32_t)b.len;
}

void
send_text(struct storm_link *l)
{
    struct rng *r = &l->party->rng;
    uint8_t flags = ISCSI_FLAG_FINAL;
    union bhs_any h;
    char text[8192];
    uint32_t len = 0;

    if (rng_chance(r, 100))
        flags = rng_chance(r, 900) ? ISCSI_TEXT_CONTINUE : rng_chance(r, 500) ? 0xc0 : 0;
    if (!l->text_open || rng_chance(r, 100))
        len = request_text(r, text, rng_chance(r, 900) ? 1000 : sizeof(text));
    if (rng_chance(r, 50))
        len = rng_below(r, len);
    begin_request(l, &h, ISCSI_OP_TEXT_REQ, flags, rng_chance(r, 200));
    h.text_req.ttt = put32(l->text_open && !rng_chance(r, 50) ? l->text_ttt : ISCSI_TAG_RSVD);
    if (rng_chance(r, 20))
        h.text_req.ttt = put32(rng_odd(r));
    link_pdu(l, &h, NULL, 0, text, len);
}

void
send_snack(struct storm_link *l)
{
    struct rng *r = &l->party->rng;
    struct bhs_snack_req h;

    bhs_init(&h, ISCSI_OP_SNACK_REQ, (uint8_t)(ISCSI_FLAG_FINAL | rng_below(r, 5)));
    h.itt = put32(l->party->tasks[rng_below(r, STORM_TASKS)].itt);
    h.ttt = put32(rng_odd(r));
    h.exp_stat_sn = put32(l->stat_sn);
    h.beg_run = put32(rng_odd(r));
    h.run_length = put32(rng_odd(r));
    if (rng_chance(r, 700)) { /* near to what makes sense */
        bool status = (h.flags & ISCSI_SNACK_TYPE_MASK) == ISCSI_SNACK_STATUS;

        if (status || (h.flags & ISCSI_SNACK_TYPE_MASK) == ISCSI_SNACK_DATA_ACK)
            h.itt = put32(ISCSI_TAG_RSVD);
        h.beg_run = put32(rng_chance(r, 300) ? 0 : (status ? l->stat_sn - 4 : 0) + rng_below(r, 8));
        h.run_length = put32(rng_below(r, 4));
    }
    link_pdu(l, &h, NULL, 0, NULL, 0);
}

void
send_logout(struct storm_link *l)
{
    struct rng *r = &l->party->rng;
    union bhs_any h;

    begin_request(l, &h, ISCSI_OP_LOGOUT_REQ,
                  (uint8_t)(ISCSI_FLAG_FINAL | rng_below(r, rng_chance(r, 950) ? 3 : 128)),
                  rng_chance(r, 600));
    memset(h.logout_req.rsvd8, 0, sizeof(h.logout_req.rsvd8));
    h.logout_req.cid =
        put16(rng_chance(r, 900) ? (uint16_t)rng_below(r, STORM_LINKS + 1) : (uint16_t)rng_next(r));
    link_pdu(l, &h, NULL, 0, NULL, 0);
}

void
send_login_again(struct storm_link *l)
{
    static const char names[] = "InitiatorName=" STORM_PREFIX "party";
    struct bhs_login_req h;

    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, bhs_login_flags(1, 3, 0x80));
    memcpy(h.isid, l->party->isid, sizeof(h.isid));
    link_pdu(l, &h, NULL, 0, names, sizeof(names));
}

/* A header of random bytes under any opcode, or bytes that are no header. */
void
send_nonsense(struct storm_link *l)
{
    struct rng *r = &l->party->rng;
    uint32_t len = rng_chance(r, 500) ? 0 : rng_below(r, 1000);
    union bhs_any h;

    memcpy(&h, random_data(r, sizeof(h)), sizeof(h));
    if (rng_chance(r, 500)) { /* what may go on behind it */
        h.h.itt = put32(party_itt(l->party));
        h.nop_out.cmd_sn = put32(party_cmd_sn(l->party, h.h.opcode & ISCSI_OP_IMMEDIATE));
    }
    if (rng_chance(r, 950))
        link_pdu(l, &h, NULL, 0, random_data(r, len), len);
    else
        link_raw(l, random_data(r, len), len);
}

void
send_gap(struct storm_link *l, uint32_t cmd_sn)
{
    struct party *p = l->party;
    union bhs_any h;

    if (rng_chance(&p->rng, 300)) {
        bhs_init(&h, ISCSI_OP_TMF_REQ | ISCSI_OP_IMMEDIATE,
                 ISCSI_FLAG_FINAL | ISCSI_TMF_ABORT_TASK);
        h.tmf_req.ref_tag = put32(party_itt(p));
        h.tmf_req.ref_cmd_sn = put32(cmd_sn);
        h.tmf_req.cmd_sn = put32(p->cmd_sn);
    } else {
        bhs_init(&h, ISCSI_OP_NOP_OUT, ISCSI_FLAG_FINAL);
        h.nop_out.ttt = put32(ISCSI_TAG_RSVD);
        h.nop_out.cmd_sn = put32(cmd_sn);
    }
    h.h.itt = put32(party_itt(p));
    h.nop_out.exp_stat_sn = put32(l->stat_sn);
    link_pdu(l, &h, NULL, 0, NULL, 0);
}
