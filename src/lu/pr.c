/* SPDX-License-Identifier: MIT */
#include "lu/pr.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/session.h"
#include "wire/be.h"

#define PARAM_LEN    24u
#define ASC_RELEASE  0x2604 /* invalid release of persistent reservation */
#define ASC_RESOURCE 0x5504 /* insufficient registration resources */

#define FLAG_APTPL     0x01u /* parameter list byte 20 */
#define FLAG_ALL_TG_PT 0x04u
#define FLAG_SPEC_I_PT 0x08u

void
tgt_pr_fini(struct tgt_pr *pr)
{
    free(pr->regs);
    *pr = (struct tgt_pr){0};
}

static bool
reg_is(const struct tgt_pr_reg *r, const struct tgt_nexus *n)
{
    return memcmp(r->isid, n->isid, sizeof(r->isid)) == 0 && strcmp(r->name, n->name) == 0;
}

static struct tgt_pr_reg *
find(const struct tgt_pr *pr, const struct tgt_nexus *n)
{
    for (uint32_t i = 0; i < pr->count; i++) {
        if (reg_is(&pr->regs[i], n))
            return &pr->regs[i];
    }
    return NULL;
}

static bool
all_registrants(enum tgt_pr_type t)
{
    return t == TGT_PR_WE_AR || t == TGT_PR_EA_AR;
}

static bool
is_holder(const struct tgt_pr *pr, const struct tgt_pr_reg *r)
{
    return pr->type != TGT_PR_NONE && (r->holder || all_registrants(pr->type));
}

static bool
type_ok(uint8_t t)
{
    return t == TGT_PR_WE || t == TGT_PR_EA || (t >= TGT_PR_WE_RO && t <= TGT_PR_EA_AR);
}

bool
tgt_pr_conflict(const struct tgt_lu *lu, const struct tgt_nexus *n, enum tgt_pr_class cls)
{
    const struct tgt_pr *pr = &lu->pr;
    const struct tgt_pr_reg *r;
    bool exclusive = pr->type == TGT_PR_EA || pr->type == TGT_PR_EA_RO || pr->type == TGT_PR_EA_AR;

    if (pr->type == TGT_PR_NONE || cls == TGT_PR_ALLOWED)
        return false;
    if (cls == TGT_PR_READS && !exclusive)
        return false;
    r = find(pr, n);
    if (r == NULL)
        return true;
    return (pr->type == TGT_PR_WE || pr->type == TGT_PR_EA) && !r->holder;
}

/* The nexus of a registration, NULL if the target has forgotten it. */
static struct tgt_nexus *
nexus_of(const struct tgt_lu *lu, const struct tgt_pr_reg *r)
{
    return tgt_nexus_find(lu->node, r->name, r->isid);
}

static void
tell(struct tgt_lu *lu, const struct tgt_pr_reg *r, enum tgt_ua ua)
{
    struct tgt_nexus *n = nexus_of(lu, r);

    if (n != NULL)
        tgt_ua_set(n, lu, ua);
}

static void
tell_others(struct tgt_lu *lu, const struct tgt_nexus *me, enum tgt_ua ua)
{
    for (uint32_t i = 0; i < lu->pr.count; i++) {
        if (!reg_is(&lu->pr.regs[i], me))
            tell(lu, &lu->pr.regs[i], ua);
    }
}

/* The reservation is gone; with the registrants types the others hear of it. */
static void
release(struct tgt_lu *lu, const struct tgt_nexus *me)
{
    enum tgt_pr_type old = lu->pr.type;

    lu->pr.type = TGT_PR_NONE;
    for (uint32_t i = 0; i < lu->pr.count; i++)
        lu->pr.regs[i].holder = false;
    if (old >= TGT_PR_WE_RO)
        tell_others(lu, me, TGT_UA_PR_RELEASED);
}

static void
reserve(struct tgt_pr *pr, struct tgt_pr_reg *r, enum tgt_pr_type type)
{
    for (uint32_t i = 0; i < pr->count; i++)
        pr->regs[i].holder = false;
    pr->type = type;
    r->holder = !all_registrants(type);
}

static void
drop(struct tgt_pr *pr, struct tgt_pr_reg *r)
{
    size_t i = (size_t)(r - pr->regs);

    assert(i < pr->count);
    memmove(r, r + 1, (pr->count - i - 1) * sizeof(*r));
    pr->count--;
}

static struct tgt_pr_reg *
add(struct tgt_pr *pr, const struct tgt_nexus *n, uint64_t key)
{
    struct tgt_pr_reg *r;

    if (pr->count == TGT_PR_REGS_MAX)
        return NULL;
    if (pr->count == pr->room) {
        uint32_t room = pr->room == 0 ? 4 : 2 * pr->room;

        r = realloc(pr->regs, room * sizeof(*r));
        if (r == NULL)
            return NULL;
        pr->regs = r;
        pr->room = room;
    }
    r = &pr->regs[pr->count++];
    *r = (struct tgt_pr_reg){.key = key};
    memcpy(r->name, n->name, sizeof(r->name));
    memcpy(r->isid, n->isid, sizeof(r->isid));
    return r;
}

static void
unregister(struct tgt_lu *lu, struct tgt_pr_reg *r, const struct tgt_nexus *me)
{
    struct tgt_pr *pr = &lu->pr;
    bool last_of_all = all_registrants(pr->type) && pr->count == 1;

    if (r->holder || last_of_all)
        release(lu, me);
    drop(pr, r);
}

/* REGISTER, and REGISTER AND IGNORE EXISTING KEY */
static void
do_register(struct tgt_cmd *c, uint64_t key, uint64_t new_key, bool ignore)
{
    struct tgt_lu *lu = c->s.lu;
    struct tgt_pr_reg *r = find(&lu->pr, c->s.nexus);

    if (c->s.buf[20] & (FLAG_APTPL | FLAG_ALL_TG_PT | FLAG_SPEC_I_PT)) {
        tgt_scsi_fail_field(c, false, 20);
    } else if (!ignore && key != (r != NULL ? r->key : 0)) {
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
    } else if (r != NULL && new_key == 0) {
        lu->pr.generation++;
        unregister(lu, r, c->s.nexus);
    } else if (r != NULL) {
        lu->pr.generation++;
        r->key = new_key;
    } else if (new_key != 0) {
        if (add(&lu->pr, c->s.nexus, new_key) == NULL)
            tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_RESOURCE);
        else
            lu->pr.generation++;
    }
}

static void
do_reserve(struct tgt_cmd *c, struct tgt_pr_reg *r, uint8_t type)
{
    struct tgt_pr *pr = &c->s.lu->pr;

    if (pr->type == TGT_PR_NONE)
        reserve(pr, r, type);
    else if (!is_holder(pr, r) || pr->type != type)
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
}

static void
do_release(struct tgt_cmd *c, struct tgt_pr_reg *r, uint8_t type)
{
    struct tgt_pr *pr = &c->s.lu->pr;

    if (!is_holder(pr, r))
        return;
    if (pr->type != type)
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_RELEASE);
    else
        release(c->s.lu, c->s.nexus);
}

static void
do_clear(struct tgt_cmd *c)
{
    struct tgt_lu *lu = c->s.lu;

    tell_others(lu, c->s.nexus, TGT_UA_PR_PREEMPTED);
    lu->pr.type = TGT_PR_NONE;
    lu->pr.count = 0;
    lu->pr.generation++;
}

/* Takes away the registrations with that key (0: all) but the caller's own.  False: there was none.
 */
static bool
preempt_keys(struct tgt_cmd *c, uint64_t key, bool abort)
{
    struct tgt_lu *lu = c->s.lu;
    bool any = false;

    for (uint32_t i = lu->pr.count; i-- > 0;) {
        struct tgt_pr_reg *r = &lu->pr.regs[i];
        struct tgt_nexus *n;

        if (key != 0 && r->key != key)
            continue;
        any = true;
        if (reg_is(r, c->s.nexus))
            continue;
        n = nexus_of(lu, r);
        if (n != NULL) {
            tgt_ua_set(n, lu, TGT_UA_REG_PREEMPTED);
            if (abort)
                tgt_abort_nexus(lu, n);
        }
        drop(&lu->pr, r);
    }
    return any;
}

static void
do_preempt(struct tgt_cmd *c, uint64_t key, uint8_t type, bool abort)
{
    struct tgt_lu *lu = c->s.lu;
    struct tgt_pr *pr = &lu->pr;
    enum tgt_pr_type old = pr->type;
    bool takes = false;

    if (key == 0 && !all_registrants(old)) {
        tgt_scsi_fail_field(c, false, 8);
        return;
    }
    for (uint32_t i = 0; i < pr->count; i++)
        takes = takes || (pr->regs[i].holder && pr->regs[i].key == key);
    takes = takes || (all_registrants(old) && key == 0);
    if (takes && !type_ok(type)) {
        tgt_scsi_fail_field(c, true, 2);
        return;
    }
    if (!preempt_keys(c, key, abort)) {
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
        return;
    }
    pr->generation++;
    if (takes) {
        reserve(pr, find(pr, c->s.nexus), type);
        if (old != type)
            tell_others(lu, c->s.nexus, TGT_UA_PR_RELEASED);
    }
}

void
tgt_pr_out(struct tgt_cmd *c)
{
    uint8_t sa = c->s.cdb[1] & 0x1f;
    uint32_t len = ld_be32(&c->s.cdb[5]);

    if (sa == SCSI_PROUT_REGISTER_AND_MOVE || sa > SCSI_PROUT_REGISTER_AND_MOVE) {
        tgt_scsi_fail_field(c, true, 1);
    } else if (c->s.lu->reserved != NULL) {
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
    } else if ((sa == SCSI_PROUT_RESERVE || sa == SCSI_PROUT_RELEASE) && !type_ok(c->s.cdb[2])) {
        tgt_scsi_fail_field(c, true, 2); /* scope 0 and a type that there is, in one byte */
    } else if (len != PARAM_LEN) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, SENSE_ASC(0x1a, 0)); /* parameter list length */
    } else if (tgt_scsi_buf(c, PARAM_LEN)) {
        c->s.dir = TGT_DIR_OUT;
        c->s.data = TGT_DATA_BUF;
        c->s.len = PARAM_LEN;
    }
}

void
tgt_pr_out_finish(struct tgt_cmd *c)
{
    struct tgt_pr *pr = &c->s.lu->pr;
    uint64_t key = ld_be64(c->s.buf), sa_key = ld_be64(c->s.buf + 8);
    uint8_t sa = c->s.cdb[1] & 0x1f, type = c->s.cdb[2];
    struct tgt_pr_reg *r = find(pr, c->s.nexus);

    if (sa == SCSI_PROUT_REGISTER || sa == SCSI_PROUT_REGISTER_AND_IGNORE) {
        do_register(c, key, sa_key, sa == SCSI_PROUT_REGISTER_AND_IGNORE);
        return;
    }
    if (r == NULL || r->key != key) {
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
        return;
    }
    if (sa == SCSI_PROUT_RESERVE)
        do_reserve(c, r, type);
    else if (sa == SCSI_PROUT_RELEASE)
        do_release(c, r, type);
    else if (sa == SCSI_PROUT_CLEAR)
        do_clear(c);
    else
        do_preempt(c, sa_key, type, sa == SCSI_PROUT_PREEMPT_AND_ABORT);
}

static uint32_t
read_keys(const struct tgt_pr *pr, uint8_t *b)
{
    for (uint32_t i = 0; i < pr->count; i++)
        st_be64(b + 8 + 8 * i, pr->regs[i].key);
    st_be32(b, pr->generation);
    st_be32(b + 4, 8 * pr->count);
    return 8 + 8 * pr->count;
}

static uint32_t
read_reservation(const struct tgt_pr *pr, uint8_t *b)
{
    st_be32(b, pr->generation);
    if (pr->type == TGT_PR_NONE)
        return 8;
    st_be32(b + 4, 16);
    for (uint32_t i = 0; i < pr->count; i++) {
        if (pr->regs[i].holder)
            st_be64(b + 8, pr->regs[i].key);
    }
    b[21] = (uint8_t)pr->type;
    return 24;
}

static uint32_t
report_capabilities(uint8_t *b)
{
    st_be16(b, 8);
    b[3] = 0x80; /* TMV: the type mask is valid */
    b[4] = 0xea; /* WE_AR, EA_RO, WE_RO, EA, WE */
    b[5] = 0x01; /* EA_AR */
    return 8;
}

/* Descriptor with the TransportID of RFC 7143 4.4.2's port name. */
static uint32_t
full_status_one(const struct tgt_pr *pr, const struct tgt_pr_reg *r, uint8_t *b)
{
    const uint8_t *i = r->isid;
    int n;
    uint32_t id;

    st_be64(b, r->key);
    if (is_holder(pr, r)) {
        b[12] = 0x01;
        b[13] = (uint8_t)pr->type;
    }
    st_be16(b + 18, 1); /* relative target port */
    n = snprintf((char *)b + 28, ISCSI_NAME_MAX + 24, "%s,i,0x%02x%02x%02x%02x%02x%02x", r->name,
                 i[0], i[1], i[2], i[3], i[4], i[5]);
    assert(n > 0);
    id = ((uint32_t)n + 1 + 3) & ~3u; /* with its NUL, padded */
    b[24] = 0x45;                     /* initiator port, iSCSI */
    st_be16(b + 26, (uint16_t)id);
    st_be32(b + 20, 4 + id);
    return 24 + 4 + id;
}

#define FULL_STATUS_ONE (24 + 4 + ISCSI_NAME_MAX + 24)

static uint32_t
read_full_status(const struct tgt_pr *pr, uint8_t *b)
{
    uint32_t len = 8;

    for (uint32_t i = 0; i < pr->count; i++)
        len += full_status_one(pr, &pr->regs[i], b + len);
    st_be32(b, pr->generation);
    st_be32(b + 4, len - 8);
    return len;
}

void
tgt_pr_in(struct tgt_cmd *c)
{
    const struct tgt_pr *pr = &c->s.lu->pr;
    uint32_t alloc = ld_be16(&c->s.cdb[7]), len;
    uint8_t sa = c->s.cdb[1] & 0x1f;

    if (sa > SCSI_PRIN_READ_FULL_STATUS) {
        tgt_scsi_fail_field(c, true, 1);
        return;
    }
    if (!tgt_scsi_buf(c, 32 + pr->count * FULL_STATUS_ONE))
        return;
    if (sa == SCSI_PRIN_READ_KEYS)
        len = read_keys(pr, c->s.buf);
    else if (sa == SCSI_PRIN_READ_RESERVATION)
        len = read_reservation(pr, c->s.buf);
    else if (sa == SCSI_PRIN_REPORT_CAPABILITIES)
        len = report_capabilities(c->s.buf);
    else
        len = read_full_status(pr, c->s.buf);
    tgt_scsi_reply(c, len, alloc);
}
