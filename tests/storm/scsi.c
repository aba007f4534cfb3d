/* SPDX-License-Identifier: MIT */
/* SCSI commands and the data that they bring. */
#include <string.h>

#include "storm.h"
#include "wire/be.h"
#include "wire/lun.h"
#include "wire/pdu.h"
#include "wire/scsi.h"

enum dir { NONE, IN, OUT };

/* Where LBA and count stand in a CDB; count_len 0: there is none. */
static const struct cdb_kind {
    uint8_t opcode;
    int8_t sa;
    uint8_t dir, lba_at, lba_len, count_at, count_len;
    bool blocks; /* the count is one of blocks */
} kinds[] = {
    {0x28, -1, IN, 2, 4, 7, 2, true},     {0x88, -1, IN, 2, 8, 10, 4, true},
    {0xa8, -1, IN, 2, 4, 6, 4, true},     {0x08, -1, IN, 2, 2, 4, 1, true},
    {0x2a, -1, OUT, 2, 4, 7, 2, true},    {0x8a, -1, OUT, 2, 8, 10, 4, true},
    {0xaa, -1, OUT, 2, 4, 6, 4, true},    {0x0a, -1, OUT, 2, 2, 4, 1, true},
    {0x2a, -1, OUT, 2, 4, 7, 2, true},    {0x8a, -1, OUT, 2, 8, 10, 4, true},
    {0x2e, -1, OUT, 2, 4, 7, 2, true},    {0xae, -1, OUT, 2, 4, 6, 4, true},
    {0x8e, -1, OUT, 2, 8, 10, 4, true},   {0x2f, -1, OUT, 2, 4, 7, 2, true},
    {0xaf, -1, OUT, 2, 4, 6, 4, true},    {0x8f, -1, OUT, 2, 8, 10, 4, true},
    {0x41, -1, OUT, 2, 4, 7, 2, false},   {0x93, -1, OUT, 2, 8, 10, 4, false},
    {0x89, -1, OUT, 2, 8, 13, 1, false},  {0x42, -1, OUT, 0, 0, 7, 2, false},
    {0x15, -1, OUT, 0, 0, 4, 1, false},   {0x55, -1, OUT, 0, 0, 7, 2, false},
    {0x5f, -1, OUT, 0, 0, 5, 4, false},   {0x34, -1, NONE, 2, 4, 7, 2, true},
    {0x90, -1, NONE, 2, 8, 10, 4, true},  {0x35, -1, NONE, 2, 4, 7, 2, true},
    {0x91, -1, NONE, 2, 8, 10, 4, true},  {0x00, -1, NONE, 0, 0, 0, 0, false},
    {0x03, -1, IN, 0, 0, 4, 1, false},    {0x12, -1, IN, 0, 0, 3, 2, false},
    {0xa0, -1, IN, 0, 0, 6, 4, false},    {0x1a, -1, IN, 0, 0, 4, 1, false},
    {0x5a, -1, IN, 0, 0, 7, 2, false},    {0x16, -1, NONE, 0, 0, 0, 0, false},
    {0x17, -1, NONE, 0, 0, 0, 0, false},  {0x1b, -1, NONE, 0, 0, 0, 0, false},
    {0x1e, -1, NONE, 0, 0, 0, 0, false},  {0x25, -1, IN, 2, 4, 0, 0, false},
    {0x37, -1, IN, 0, 0, 7, 2, false},    {0xb7, -1, IN, 0, 0, 6, 4, false},
    {0x5e, -1, IN, 0, 0, 7, 2, false},    {0x9e, 0x10, IN, 2, 8, 10, 4, false},
    {0x9e, 0x12, IN, 2, 8, 10, 4, false}, {0xa3, 0x0a, IN, 0, 0, 6, 4, false},
    {0xa3, 0x0c, IN, 0, 0, 6, 4, false},  {0xa3, 0x0d, IN, 0, 0, 6, 4, false},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

const uint8_t *
random_data(struct rng *r, uint32_t len)
{
    static uint64_t words[STORM_SEG_MAX / 8 + 512];

    if (words[0] == 0) {
        struct rng own = {1}; /* whoever comes first: the bytes are the same */

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            words[i] = rng_next(&own) | 1;
    }
    (void)len;
    return (const uint8_t *)words + rng_below(r, 4096);
}

void
random_lun(struct party *p, uint8_t lun[8])
{
    uint32_t n = rng_below(&p->rng, rng_chance(&p->rng, 980) ? p->luns : 300);

    lun_store(lun, lun_from_number(n));
    if (rng_chance(&p->rng, 3))
        memcpy(lun, random_data(&p->rng, 8), 8);
}

struct storm_task *
task_find(struct party *p, uint32_t itt)
{
    for (unsigned i = 0; i < STORM_TASKS; i++) {
        if (p->tasks[i].used && p->tasks[i].itt == itt)
            return &p->tasks[i];
    }
    return NULL;
}

struct storm_task *
task_new(struct party *p)
{
    struct storm_task *t = &p->tasks[0];

    for (unsigned i = 0; i < STORM_TASKS && t->used; i++)
        t = &p->tasks[i];
    if (t->used)
        t = &p->tasks[rng_below(&p->rng, STORM_TASKS)];
    *t = (struct storm_task){.used = true};
    return t;
}

static void
put_number(uint8_t *at, unsigned len, uint64_t n)
{
    while (len-- > 0) {
        at[len] = (uint8_t)n;
        n >>= 8;
    }
}

/* Parameter lists that mean something: reservations, mode pages, ranges. */
static const uint8_t *
parameters(struct rng *r, uint8_t opcode, uint32_t len)
{
    static const uint8_t caching[] = {0x08, 0x12, 0x04}, control[] = {0x0a, 0x0a, 0x04, 0, 0};
    static uint8_t list[STORM_SEG_MAX];

    if ((opcode != 0x5f && opcode != 0x15 && opcode != 0x55 && opcode != 0x42) ||
        rng_chance(r, 100) || len > sizeof(list))
        return random_data(r, len);
    memset(list, 0, len < 64 ? 64 : len);
    if (opcode == 0x5f) {
        list[7] = (uint8_t)rng_below(r, 4);
        list[15] = (uint8_t)rng_below(r, 4);
    } else if (opcode == 0x42) {
        st_be16(list, (uint16_t)(len >= 2 ? len - 2 : 0));
        st_be16(list + 2, (uint16_t)(len >= 8 ? (len - 8) & ~15u : 0));
        for (uint32_t at = 8; at + 16 <= len; at += 16) {
            list[at + 7] = (uint8_t)rng_next(r);
            st_be32(list + at + 8, rng_odd(r));
        }
    } else {
        uint32_t head = opcode == 0x15 ? 4 : 8;

        if (rng_chance(r, 500))
            memcpy(list + head, caching, sizeof(caching));
        else
            memcpy(list + head, control, sizeof(control));
        list[head + 2] = (uint8_t)(rng_chance(r, 300) ? rng_next(r) : rng_below(r, 2) << 2);
    }
    return list;
}

/* The bytes that the command asks for, by its kind: set into its CDB. */
static uint32_t
make_cdb(struct party *p, const struct cdb_kind *k, uint8_t cdb[16])
{
    static const uint32_t lengths[] = {0, 8, 12, 16, 18, 24, 24, 24, 28, 36, 64, 252, 512, 4096};
    struct rng *r = &p->rng;
    uint32_t blocks = rng_below(r, rng_chance(r, 950) ? 32 : 700), n = blocks;

    memset(cdb, 0, 16);
    cdb[0] = k->opcode;
    if (k->sa >= 0)
        cdb[1] = (uint8_t)k->sa;
    else if (rng_chance(r, k->opcode == 0x5e || k->opcode == 0x5f ? 950 : 150))
        cdb[1] = (uint8_t)(rng_chance(r, 900) ? rng_below(r, 8) : rng_next(r));
    if (k->opcode == 0x12 && rng_chance(r, 500)) { /* VPD pages */
        cdb[1] = 1;
        cdb[2] = (uint8_t)(rng_chance(r, 500) ? 0xb0 + rng_below(r, 4) : rng_below(r, 256));
    } else if (k->lba_len == 0 && k->sa < 0) {
        cdb[2] = (uint8_t)(rng_chance(r, 700) ? rng_below(r, 64) : rng_next(r));
    }
    if (k->lba_len > 0)
        put_number(cdb + k->lba_at, k->lba_len,
                   rng_chance(r, 970) ? rng_below(r, 1300) : rng_odd(r));
    if (!k->blocks)
        n = lengths[rng_below(r, sizeof(lengths) / sizeof(lengths[0]))];
    if (k->opcode == 0x41 || k->opcode == 0x93) {
        put_number(cdb + k->count_at, k->count_len, blocks * 16);
        return 512;
    }
    if (k->opcode == 0x89) {
        cdb[13] = (uint8_t)rng_below(r, 4);
        return cdb[13] * 1024u;
    }
    if (rng_chance(r, 15))
        n = rng_odd(r);
    put_number(cdb + k->count_at, k->count_len, n);
    if (rng_chance(r, 10))
        cdb[rng_below(r, 16)] ^= (uint8_t)(1u << rng_below(r, 8));
    return k->blocks ? n * 512 : n;
}

uint32_t
plan_write(struct storm_link *l, struct storm_task *t, bool *ret_final)
{
    struct party *p = l->party;
    struct rng *r = &p->rng;
    uint32_t burst = t->edtl < p->first_burst ? t->edtl : p->first_burst;
    uint32_t immediate = p->immediate_data && rng_chance(r, 600) ? burst : 0;
    bool more;

    if (immediate > 0 && rng_chance(r, 400))
        immediate = rng_below(r, burst);
    if (immediate > p->seg)
        immediate = p->seg;
    if (party_harms(p, 15))
        immediate = rng_below(r, p->seg); /* more than it may be, perhaps */
    if (immediate > t->edtl && rng_chance(r, 900))
        immediate = t->edtl;
    more = !p->initial_r2t && immediate < burst && rng_chance(r, 500);
    if (party_harms(p, 10))
        more = !more;
    t->unsolicited = more;
    t->off = more ? immediate : 0;
    t->end = more ? burst : 0;
    *ret_final = !more;
    return immediate;
}

static uint32_t
additional(struct rng *r, uint8_t *ahs, bool bidi)
{
    if (bidi && rng_chance(r, 800))
        return (uint32_t)ahs_put_bidi(ahs, 64, rng_odd(r));
    if (rng_chance(r, 5)) {
        uint8_t cdb[32] = {0x7f};

        return (uint32_t)ahs_put_ext_cdb(ahs, 64, cdb, sizeof(cdb));
    }
    return 0;
}

void
send_command(struct storm_link *l)
{
    struct party *p = l->party;
    struct rng *r = &p->rng;
    size_t at = rng_below(r, rng_chance(r, 550) ? 10 : KINDS);
    const struct cdb_kind *k = &kinds[at];
    struct storm_task *t = task_new(p);
    bool immediate = rng_chance(r, 30), final = true;
    uint8_t flags = 0, ahs[64];
    struct bhs_scsi_cmd h;
    uint32_t len = 0, ahs_len;

    bhs_init(&h, ISCSI_OP_SCSI_CMD | (immediate ? ISCSI_OP_IMMEDIATE : 0), 0);
    t->edtl = make_cdb(p, k, h.cdb);
    if (rng_chance(r, 8))
        memcpy(h.cdb, random_data(r, sizeof(h.cdb)), sizeof(h.cdb));
    if (rng_chance(r, 40))
        t->edtl = rng_chance(r, 800) ? rng_below(r, 70000) : rng_odd(r);
    if (k->dir != NONE)
        flags = k->dir == IN ? ISCSI_CMD_READ : ISCSI_CMD_WRITE;
    if (rng_chance(r, 10))
        flags = (uint8_t)(rng_below(r, 4) << 5);
    if (flags == 0 && rng_chance(r, 950))
        t->edtl = 0;
    if (flags & ISCSI_CMD_WRITE)
        len = plan_write(l, t, &final);
    random_lun(p, t->lun);
    t->link = l;
    t->itt = party_itt(p);
    t->cmd_sn = party_cmd_sn(p, immediate);
    h.flags = (uint8_t)(flags | (final ? ISCSI_FLAG_FINAL : 0) |
                        rng_below(r, rng_chance(r, 990) ? 5 : 8));
    memcpy(h.lun, t->lun, sizeof(h.lun));
    h.itt = put32(t->itt);
    h.edtl = put32(t->edtl);
    h.cmd_sn = put32(t->cmd_sn);
    h.exp_stat_sn = put32(l->stat_sn);
    ahs_len = additional(r, ahs, (flags & 0x60) == 0x60);
    link_pdu(l, &h, ahs_len > 0 ? ahs : NULL, ahs_len, parameters(r, k->opcode, len), len);
    if (rng_chance(r, 5)) /* the same again */
        link_pdu(l, &h, NULL, 0, random_data(r, len), len);
}

/* A command of l that has data to send: unsolicited, or asked for. */
static struct storm_task *
task_with_data(struct storm_link *l)
{
    struct party *p = l->party;
    unsigned first = rng_below(&p->rng, STORM_TASKS);

    for (unsigned i = 0; i < STORM_TASKS; i++) {
        struct storm_task *t = &p->tasks[(first + i) % STORM_TASKS];

        if (t->used && t->link == l && (t->unsolicited || t->r2ts > 0))
            return t;
    }
    return NULL;
}

/* What makes a sequence wrong: offset, number, length, tag, or the final bit. */
static void
distort(struct rng *r, struct bhs_data_out *h, uint32_t *len)
{
    switch (rng_below(r, 6)) {
    case 0:
        h->offset = put32(rng_odd(r));
        break;
    case 1:
        h->data_sn = put32(rng_odd(r));
        break;
    case 2:
        *len = rng_below(r, 20000);
        break;
    case 3:
        h->ttt = put32(rng_chance(r, 500) ? ISCSI_TAG_RSVD : rng_odd(r));
        break;
    case 4:
        h->flags ^= ISCSI_FLAG_FINAL;
        break;
    default:
        h->itt = put32(rng_odd(r));
        break;
    }
}

static void
next_burst(struct storm_task *t)
{
    if (t->unsolicited) {
        t->unsolicited = false;
    } else {
        t->r2ts--;
        memmove(t->r2t, t->r2t + 1, t->r2ts * sizeof(t->r2t[0]));
    }
    t->sn = 0;
    t->off = t->end = 0;
}

bool
send_data_out(struct storm_link *l)
{
    struct party *p = l->party;
    struct rng *r = &p->rng;
    struct storm_task *t = task_with_data(l);
    struct bhs_data_out h;
    uint32_t len;
    bool last;

    if (t == NULL)
        return false;
    if (!t->unsolicited && t->end == 0) {
        t->off = t->r2t[0].off;
        t->end = t->off + t->r2t[0].len;
    }
    len = t->end - t->off < p->seg ? t->end - t->off : p->seg;
    if (rng_chance(r, 400))
        len = rng_below(r, len + 1);
    if (t->unsolicited && party_harms(p, 30))
        t->end += rng_below(r, 20000); /* beyond the burst */
    last = t->off + len >= t->end;
    bhs_init(&h, ISCSI_OP_DATA_OUT, last ? ISCSI_FLAG_FINAL : 0);
    memcpy(h.lun, t->lun, sizeof(h.lun));
    h.itt = put32(t->itt);
    h.ttt = put32(t->unsolicited ? ISCSI_TAG_RSVD : t->r2t[0].ttt);
    h.exp_stat_sn = put32(l->stat_sn);
    h.data_sn = put32(t->sn++);
    h.offset = put32(t->off);
    t->off += len;
    if (party_harms(p, 20))
        distort(r, &h, &len);
    link_pdu(l, &h, NULL, 0, t->data != NULL ? t->data + get32(h.offset) : random_data(r, len),
             len);
    if (last)
        next_burst(t);
    return true;
}
