/* SPDX-License-Identifier: MIT */
/* What a party does next, and what it makes of the answers. */
#include <stdio.h>
#include <string.h>

#include "storm.h"
#include "wire/pdu.h"
#include "wire/sn.h"

#define IDLE_FILL  60   /* turns after which a CmdSN that got lost is made up for */
#define IDLE_LEAVE 3000 /* ... after which the session is given up */
#define LIFE_MAX   4000 /* PDUs of a connection, then it has a good chance to go */

enum nature { WILD, TAME, HONEST };

static const struct {
    const char *target;
    uint32_t luns;
    bool discovery;
    enum nature nature;
} roles[STORM_PARTIES] = {
    {STORM_PREFIX "open", 5, false, WILD},     {STORM_PREFIX "open", 5, false, TAME},
    {STORM_PREFIX "small", 2, false, TAME},    {STORM_PREFIX "small", 2, false, WILD},
    {STORM_PREFIX "chap", 1, false, WILD},     {STORM_PREFIX "open", 5, true, WILD},
    {STORM_PREFIX "open", 5, false, TAME},     {STORM_PREFIX "moved", 1, false, WILD},
    {STORM_PREFIX "honest", 1, false, HONEST},
};

void
party_init(struct party *p, struct storm *s, unsigned index)
{
    *p = (struct party){.storm = s, .index = index, .seg = 8192};
    p->rng.state = s->seed * 1000003 + index;
    p->target = roles[index].target;
    p->luns = roles[index].luns;
    p->discovery = roles[index].discovery;
    p->tame = roles[index].nature == TAME;
    p->honest = roles[index].nature == HONEST;
    p->isid[0] = 0x80;
    p->isid[5] = (uint8_t)(index + 1);
    p->cmd_sn = (uint32_t)rng_next(&p->rng);
    p->itt = 1;
    for (uint16_t i = 0; i < STORM_LINKS; i++)
        link_init(&p->links[i], p, i);
}

void
party_fini(struct party *p)
{
    for (unsigned i = 0; i < STORM_LINKS; i++)
        link_fini(&p->links[i]);
}

bool
party_harms(struct party *p, uint32_t permille)
{
    return !p->honest && rng_chance(&p->rng, permille) && (!p->tame || rng_chance(&p->rng, 100));
}

static bool
has_link(const struct party *p)
{
    for (unsigned i = 0; i < STORM_LINKS; i++) {
        if (p->links[i].state != LINK_DOWN)
            return true;
    }
    return false;
}

static void
close_all(struct party *p)
{
    for (unsigned i = 0; i < STORM_LINKS; i++)
        link_close(&p->links[i], rng_chance(&p->rng, 500));
}

void
party_lost(struct storm_link *l)
{
    struct party *p = l->party;

    for (unsigned i = 0; i < STORM_TASKS; i++) {
        if (p->tasks[i].link == l)
            p->tasks[i].used = false;
    }
    if (p->honest) { /* what was under way is not to be found out: all begins anew */
        p->honest = false;
        close_all(p);
        p->honest = true;
        honest_lost(p);
    }
    if (has_link(p))
        return;
    p->tsih = 0;
    p->gaps_count = 0;
    p->idle = 0;
    if (!p->honest &&
        rng_chance(&p->rng, 300)) { /* another port: the target remembers some of them only */
        p->isid[3] = (uint8_t)rng_next(&p->rng);
        p->isid[4] = (uint8_t)rng_next(&p->rng);
    }
}

uint32_t
party_itt(struct party *p)
{
    if (party_harms(p, 5)) /* one that is in use, perhaps */
        return p->tasks[rng_below(&p->rng, STORM_TASKS)].itt;
    return p->itt++;
}

uint32_t
party_cmd_sn(struct party *p, bool immediate)
{
    struct rng *r = &p->rng;

    if (immediate)
        return p->cmd_sn;
    if (party_harms(p, 5))
        return p->cmd_sn + rng_odd(r) - 8; /* old, far ahead, or already sent */
    if (p->gaps_count > 0 && rng_chance(r, 250))
        return p->gaps[--p->gaps_count];
    if (p->gaps_count < STORM_GAPS && sn_lt(p->cmd_sn, p->max_cmd_sn) && rng_chance(r, 40)) {
        p->gaps[p->gaps_count++] = p->cmd_sn++;
        p->storm->n.held++;
    }
    return p->cmd_sn++;
}

/* The window is shut, or all waits for a command that never came. */
static bool
party_idles(struct storm_link *l)
{
    struct party *p = l->party;

    p->idle++;
    if (p->honest)
        return false; /* its commands are on their way: it can wait */
    if (p->idle == IDLE_LEAVE) {
        close_all(p);
        return true;
    }
    if (p->idle % IDLE_FILL != 0 || sn_gte(p->exp_cmd_sn, p->cmd_sn))
        return false;
    send_gap(l, p->exp_cmd_sn);
    return true;
}

static void
party_sends(struct storm_link *l)
{
    static const struct {
        uint16_t normal, discovery;
        void (*send)(struct storm_link *l);
    } kinds[] = {
        {712, 20, send_command},  {180, 50, send_nop},    {35, 10, send_tmf},
        {50, 870, send_text},     {10, 10, send_snack},   {3, 10, send_logout},
        {1, 5, send_login_again}, {9, 25, send_nonsense},
    };
    struct party *p = l->party;
    uint32_t at = rng_below(&p->rng, 1000);
    size_t i = 0;

    while (i + 1 < sizeof(kinds) / sizeof(kinds[0])) {
        uint32_t share = p->discovery ? kinds[i].discovery : kinds[i].normal;

        if (at < share)
            break;
        at -= share;
        i++;
    }
    if (i + 2 < sizeof(kinds) / sizeof(kinds[0]) || party_harms(p, 1000))
        kinds[i].send(l);
}

static bool
party_talks(struct storm_link *l)
{
    struct party *p = l->party;
    struct rng *r = &p->rng;

    if (l->out_len > STORM_FULL || (p->discovery && rng_chance(r, 800)))
        return false;
    if (party_harms(p, l->life > LIFE_MAX ? 20 : 2) ||
        (p->honest && l->life > LIFE_MAX / 4 && rng_chance(r, 2))) {
        link_close(l, rng_chance(r, 500));
        return true;
    }
    if (rng_chance(r, 3))
        l->deaf = rng_below(r, 300);
    if (rng_chance(r, 600) && send_data_out(l)) {
        p->idle = 0;
        return true;
    }
    if (p->gaps_count > 0 && rng_chance(r, 60)) {
        send_gap(l, p->gaps[--p->gaps_count]);
        return true;
    }
    if (sn_gt(p->cmd_sn, p->max_cmd_sn) && !party_harms(p, 3))
        return party_idles(l);
    p->idle = 0;
    if (!p->honest)
        party_sends(l);
    else if (rng_chance(r, 850))
        honest_command(l);
    else
        honest_nop(l);
    return true;
}

bool
party_turn(struct party *p)
{
    struct rng *r = &p->rng;
    unsigned i = rng_below(r, STORM_LINKS);
    struct storm_link *l = &p->links[i];
    bool alone = !has_link(p);

    switch (l->state) {
    case LINK_DOWN:
        if (!alone && (p->tsih == 0 || p->discovery || !rng_chance(r, 20)))
            return false;
        if (p->luns == 1 && !p->honest && !rng_chance(r, 20)) /* most of its logins are refused */
            return false;
        if (!link_connect(l))
            return false;
        storm_login_start(l);
        return true;
    case LINK_LOGIN:
        if (p->honest)
            return false;
        if (rng_chance(r, 1) && rng_chance(r, 100))
            send_nonsense(l);
        else if (rng_chance(r, 1) && rng_chance(r, 200))
            link_close(l, true);
        return false;
    case LINK_FFP:
        return party_talks(l);
    }
    return false;
}

static void
take_r2t(struct party *p, const struct bhs_r2t *h)
{
    struct storm_task *t = task_find(p, get32(h->itt));

    if (t == NULL || t->r2ts == STORM_R2TS)
        return;
    t->r2t[t->r2ts++] = (struct storm_r2t){get32(h->ttt), get32(h->offset), get32(h->desired_len)};
}

static void
take_end(struct party *p, uint32_t itt, uint8_t status)
{
    struct storm_task *t = task_find(p, itt);

    p->storm->n.statuses[status]++;
    if (t != NULL)
        t->used = false;
}

/* A request that was rejected does not count as received. */
static void
take_reject(struct party *p, const uint8_t *data, uint32_t len)
{
    union bhs_any h;

    if (len < ISCSI_BHS_LEN)
        return;
    memcpy(&h, data, ISCSI_BHS_LEN);
    take_end(p, get32(h.h.itt), 0xff);
    if (!(h.h.opcode & ISCSI_OP_IMMEDIATE) && pdu_opcode(&h.h) <= ISCSI_OP_LOGOUT_REQ &&
        pdu_opcode(&h.h) != ISCSI_OP_DATA_OUT && p->gaps_count < STORM_GAPS)
        p->gaps[p->gaps_count++] = get32(h.nop_out.cmd_sn);
}

static void
take_numbers(struct storm_link *l, const union bhs_any *h)
{
    struct party *p = l->party;
    uint8_t opcode = pdu_opcode(&h->h);
    bool numbered = opcode == ISCSI_OP_NOP_IN    ? get32(h->h.itt) != ISCSI_TAG_RSVD
                    : opcode == ISCSI_OP_DATA_IN ? h->h.flags & ISCSI_DATA_IN_STATUS
                                                 : opcode != ISCSI_OP_R2T;

    if (numbered)
        l->stat_sn = get32(h->nop_in.stat_sn) + 1;
    if (sn_gt(get32(h->nop_in.exp_cmd_sn), p->exp_cmd_sn))
        p->exp_cmd_sn = get32(h->nop_in.exp_cmd_sn);
    if (sn_gt(get32(h->nop_in.max_cmd_sn), p->max_cmd_sn))
        p->max_cmd_sn = get32(h->nop_in.max_cmd_sn);
}

void
party_got(struct storm_link *l, const union bhs_any *h, const uint8_t *data, uint32_t len)
{
    struct party *p = l->party;

    take_numbers(l, h);
    if (p->honest)
        honest_got(l, h, data, len);
    switch (pdu_opcode(&h->h)) {
    case ISCSI_OP_R2T:
        take_r2t(p, &h->r2t);
        break;
    case ISCSI_OP_SCSI_RSP:
        take_end(p, get32(h->h.itt), h->scsi_rsp.status);
        break;
    case ISCSI_OP_DATA_IN:
        if (h->h.flags & ISCSI_DATA_IN_STATUS)
            take_end(p, get32(h->h.itt), h->data_in.status);
        break;
    case ISCSI_OP_REJECT:
        take_reject(p, data, len);
        break;
    case ISCSI_OP_TEXT_RSP:
        l->text_open = !(h->h.flags & ISCSI_FLAG_FINAL);
        l->text_ttt = get32(h->text_rsp.ttt);
        break;
    case ISCSI_OP_NOP_IN:
        if (get32(h->nop_in.ttt) != ISCSI_TAG_RSVD && rng_chance(&p->rng, 900)) {
            struct bhs_nop_out out;

            bhs_init(&out, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
            memcpy(out.lun, h->nop_in.lun, sizeof(out.lun));
            out.itt = put32(ISCSI_TAG_RSVD);
            out.ttt = h->nop_in.ttt;
            out.cmd_sn = put32(p->cmd_sn);
            out.exp_stat_sn = put32(l->stat_sn);
            link_pdu(l, &out, NULL, 0, NULL, 0);
        }
        break;
    default:
        break;
    }
}
