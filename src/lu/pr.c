/* SPDX-License-Identifier: MIT */
#include "lu/pr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lu/cmd.h"
#include "lu/nexus.h"
#include "lu/pr_keep.h"
#include "lu/tasks.h"
#include "wire/be.h"
#include "wire/pr.h"

#define ASC_RELEASE  0x2604 /* invalid release of persistent reservation */
#define ASC_RESOURCE 0x5504 /* insufficient registration resources */
#define ASC_INTERNAL 0x4400 /* internal target failure */

void
lu_pr_fini(struct lu_pr *pr)
{
    free(pr->regs);
    *pr = (struct lu_pr){0};
}

static bool
reg_is(const struct lu_pr_reg *r, const struct lu_nexus *n)
{
    return strcmp(r->port, n->port) == 0;
}

static struct lu_pr_reg *
pr_find(const struct lu_pr *pr, const struct lu_nexus *n)
{
    for (uint32_t i = 0; i < pr->count; i++) {
        if (reg_is(&pr->regs[i], n))
            return &pr->regs[i];
    }
    return NULL;
}

static bool
all_registrants(enum lu_pr_type t)
{
    return t == LU_PR_WE_AR || t == LU_PR_EA_AR;
}

static bool
is_holder(const struct lu_pr *pr, const struct lu_pr_reg *r)
{
    return pr->type != LU_PR_NONE && (r->holder || all_registrants(pr->type));
}

bool
lu_pr_conflict(const struct lu_pr *pr, const struct lu_nexus *n, enum lu_pr_class cls)
{
    const struct lu_pr_reg *r;
    bool exclusive = pr->type == LU_PR_EA || pr->type == LU_PR_EA_RO || pr->type == LU_PR_EA_AR;

    if (pr->type == LU_PR_NONE || cls == LU_PR_ALLOWED)
        return false;
    if (cls == LU_PR_READS && !exclusive)
        return false;
    r = pr_find(pr, n);
    if (r == NULL)
        return true;
    return (pr->type == LU_PR_WE || pr->type == LU_PR_EA) && !r->holder;
}

/* The nexus of a registration, NULL if the target has forgotten it. */
static struct lu_nexus *
nexus_of(const struct lu *lu, const struct lu_pr_reg *r)
{
    return lu_nexus_find(lu->dev, r->port);
}

static void
pr_tell(struct lu *lu, const struct lu_pr_reg *r, enum lu_ua ua)
{
    struct lu_nexus *n = lu->pr.trial ? NULL : nexus_of(lu, r);

    if (n != NULL)
        lu_ua_set(n, lu, ua);
}

static void
pr_tell_others(struct lu *lu, const struct lu_nexus *me, enum lu_ua ua)
{
    for (uint32_t i = 0; i < lu->pr.count; i++) {
        if (!reg_is(&lu->pr.regs[i], me))
            pr_tell(lu, &lu->pr.regs[i], ua);
    }
}

/* Removes the reservation.  With the registrants types the other registered nexuses get a unit
 * attention. */
static void
pr_release(struct lu *lu, const struct lu_nexus *me)
{
    enum lu_pr_type old = lu->pr.type;

    lu->pr.type = LU_PR_NONE;
    for (uint32_t i = 0; i < lu->pr.count; i++)
        lu->pr.regs[i].holder = false;
    if (old >= LU_PR_WE_RO)
        pr_tell_others(lu, me, LU_UA_PR_RELEASED);
}

static void
pr_reserve(struct lu_pr *pr, struct lu_pr_reg *r, enum lu_pr_type type)
{
    for (uint32_t i = 0; i < pr->count; i++)
        pr->regs[i].holder = false;
    pr->type = type;
    r->holder = !all_registrants(type);
}

static void
pr_drop(struct lu_pr *pr, struct lu_pr_reg *r)
{
    size_t i = (size_t)(r - pr->regs);

    assert(i < pr->count);
    memmove(r, r + 1, (pr->count - i - 1) * sizeof(*r));
    pr->count--;
}

static struct lu_pr_reg *
pr_add(struct lu_pr *pr, const struct lu_nexus *n, uint64_t key)
{
    struct lu_pr_reg *r;

    if (pr->count == LU_PR_REGS_MAX)
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
    *r = (struct lu_pr_reg){.key = key};
    (void)strcpy(r->port, n->port);
    return r;
}

static void
pr_unregister(struct lu *lu, struct lu_pr_reg *r, const struct lu_nexus *me)
{
    struct lu_pr *pr = &lu->pr;
    bool last_of_all = all_registrants(pr->type) && pr->count == 1;

    if (r->holder || last_of_all)
        pr_release(lu, me);
    pr_drop(pr, r);
}

/* REGISTER, and REGISTER AND IGNORE EXISTING KEY */
static void
do_register(struct lu_cmd *c, uint64_t key, uint64_t new_key, bool ignore)
{
    struct lu *lu = c->lu;
    struct lu_pr_reg *r = pr_find(&lu->pr, c->nexus);
    uint8_t refused = PR_ALL_TG_PT | PR_SPEC_I_PT | (lu_pr_can_keep(lu) ? 0 : PR_APTPL);

    if (c->buf[20] & refused) {
        lu_cmd_fail_field(c, false, 20);
    } else if (!ignore && key != (r != NULL ? r->key : 0)) {
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
    } else if (r != NULL && new_key == 0) {
        lu->pr.generation++;
        pr_unregister(lu, r, c->nexus);
    } else if (r != NULL) {
        lu->pr.generation++;
        r->key = new_key;
    } else if (new_key != 0) {
        if (pr_add(&lu->pr, c->nexus, new_key) == NULL)
            lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_RESOURCE);
        else
            lu->pr.generation++;
    }
    if (!c->failed)
        lu->pr.aptpl = (c->buf[20] & PR_APTPL) != 0;
}

static void
do_reserve(struct lu_cmd *c, struct lu_pr_reg *r, uint8_t type)
{
    struct lu_pr *pr = &c->lu->pr;

    if (pr->type == LU_PR_NONE)
        pr_reserve(pr, r, type);
    else if (!is_holder(pr, r) || pr->type != type)
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
}

static void
do_release(struct lu_cmd *c, struct lu_pr_reg *r, uint8_t type)
{
    struct lu_pr *pr = &c->lu->pr;

    if (!is_holder(pr, r))
        return;
    if (pr->type != type)
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_RELEASE);
    else
        pr_release(c->lu, c->nexus);
}

static void
do_clear(struct lu_cmd *c)
{
    struct lu *lu = c->lu;

    pr_tell_others(lu, c->nexus, LU_UA_PR_PREEMPTED);
    lu->pr.type = LU_PR_NONE;
    lu->pr.count = 0;
    lu->pr.generation++;
}

/* Takes away the registrations with that key (0: all) but the caller's own.  False: there was none.
 */
static bool
preempt_keys(struct lu_cmd *c, uint64_t key, bool abort)
{
    struct lu *lu = c->lu;
    bool any = false;

    for (uint32_t i = lu->pr.count; i-- > 0;) {
        struct lu_pr_reg *r = &lu->pr.regs[i];
        struct lu_nexus *n;

        if (key != 0 && r->key != key)
            continue;
        any = true;
        if (reg_is(r, c->nexus))
            continue;
        pr_tell(lu, r, LU_UA_REG_PREEMPTED);
        n = abort && !lu->pr.trial ? nexus_of(lu, r) : NULL;
        if (n != NULL)
            lu_preempt_tasks(lu, n);
        pr_drop(&lu->pr, r);
    }
    return any;
}

static void
do_preempt(struct lu_cmd *c, uint64_t key, uint8_t type, bool abort)
{
    struct lu *lu = c->lu;
    struct lu_pr *pr = &lu->pr;
    enum lu_pr_type old = pr->type;
    bool takes = false;

    if (key == 0 && !all_registrants(old)) {
        lu_cmd_fail_field(c, false, 8);
        return;
    }
    for (uint32_t i = 0; i < pr->count; i++)
        takes = takes || (pr->regs[i].holder && pr->regs[i].key == key);
    takes = takes || (all_registrants(old) && key == 0);
    if (takes && !pr_type_known(type)) {
        lu_cmd_fail_field(c, true, 2);
        return;
    }
    if (!preempt_keys(c, key, abort)) {
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
        return;
    }
    pr->generation++;
    if (takes) {
        pr_reserve(pr, pr_find(pr, c->nexus), type);
        if (old != type)
            pr_tell_others(lu, c->nexus, LU_UA_PR_RELEASED);
    }
}

void
lu_pr_out(struct lu_cmd *c)
{
    uint8_t sa = c->cdb[1] & 0x1f;
    uint32_t len = ld_be32(&c->cdb[5]);

    if (sa == SCSI_PROUT_REGISTER_AND_MOVE || sa > SCSI_PROUT_REGISTER_AND_MOVE) {
        lu_cmd_fail_field(c, true, 1);
    } else if (c->lu->reserved != NULL) {
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
    } else if ((sa == SCSI_PROUT_RESERVE || sa == SCSI_PROUT_RELEASE) &&
               !pr_type_known(c->cdb[2])) {
        lu_cmd_fail_field(c, true, 2); /* scope 0 and a type that there is, in one byte */
    } else if (len != PR_LIST_LEN) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, SENSE_ASC(0x1a, 0)); /* parameter list length */
    } else if (lu_cmd_buf(c, PR_LIST_LEN)) {
        lu_cmd_want(c, LU_DATA_BUF, PR_LIST_LEN);
    }
}

static void
pr_out_do(struct lu_cmd *c)
{
    struct lu_pr *pr = &c->lu->pr;
    uint64_t key = ld_be64(c->buf), sa_key = ld_be64(c->buf + 8);
    uint8_t sa = c->cdb[1] & 0x1f, type = c->cdb[2];
    struct lu_pr_reg *r = pr_find(pr, c->nexus);

    if (sa == SCSI_PROUT_REGISTER || sa == SCSI_PROUT_REGISTER_AND_IGNORE) {
        do_register(c, key, sa_key, sa == SCSI_PROUT_REGISTER_AND_IGNORE);
        return;
    }
    if (r == NULL || r->key != key) {
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
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

static bool
pr_copy(const struct lu_pr *pr, struct lu_pr *ret)
{
    *ret = *pr;
    ret->room = pr->count + 1; /* so that a registration can be added */
    ret->regs = malloc(ret->room * sizeof(*pr->regs));
    if (ret->regs == NULL)
        return false;
    if (pr->count > 0)
        memcpy(ret->regs, pr->regs, pr->count * sizeof(*pr->regs));
    return true;
}

void
lu_pr_out_finish(struct lu_cmd *c)
{
    struct lu_pr *pr = &c->lu->pr, before;
    bool kept;

    if (!pr->aptpl && (c->buf[20] & PR_APTPL) == 0) {
        pr_out_do(c);
        return;
    }
    if (!pr_copy(pr, &before)) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_RESOURCE);
        return;
    }
    /* What cannot be kept has not happened: nobody is told of it and no command is aborted for it.
     * So it is done for the store alone, and, when that has it, once more for all. */
    pr->trial = true;
    pr_out_do(c);
    pr->trial = false;
    if (c->failed) {
        lu_pr_fini(&before);
        return;
    }
    kept = !lu_pr_can_keep(c->lu) || lu_pr_keep(c->lu) == 0;
    lu_pr_fini(pr);
    *pr = before;
    if (kept)
        pr_out_do(c);
    else
        lu_cmd_fail(c, SENSE_HARDWARE_ERROR, ASC_INTERNAL);
}

static uint32_t
read_keys(const struct lu_pr *pr, uint8_t *b)
{
    for (uint32_t i = 0; i < pr->count; i++)
        st_be64(b + 8 + 8 * i, pr->regs[i].key);
    st_be32(b, pr->generation);
    st_be32(b + 4, 8 * pr->count);
    return 8 + 8 * pr->count;
}

static uint32_t
read_reservation(const struct lu_pr *pr, uint8_t *b)
{
    st_be32(b, pr->generation);
    if (pr->type == LU_PR_NONE)
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
report_capabilities(const struct lu *lu, uint8_t *b)
{
    st_be16(b, 8);
    b[2] = lu_pr_can_keep(lu) ? 0x01 : 0;       /* PTPL_C */
    b[3] = 0x80 | (lu->pr.aptpl ? 0x01 : 0x00); /* TMV: the type mask is valid; PTPL_A */
    b[4] = 0xea;                                /* WE_AR, EA_RO, WE_RO, EA, WE */
    b[5] = 0x01;                                /* EA_AR */
    return 8;
}

/* Bytes of a descriptor of READ FULL STATUS: before its TransportID, and that, padded. */
#define FULL_STATUS_ONE (24 + 4 + LU_PORT_MAX + 1 + 3)

static uint32_t
full_status_one(const struct lu *lu, const struct lu_pr_reg *r, uint8_t *b)
{
    struct pr_registrant told = {.key = r->key,
                                 .holder = is_holder(&lu->pr, r),
                                 .type = (uint8_t)lu->pr.type,
                                 .target_port = 1,
                                 .protocol = lu->dev->protocol};
    int n;

    _Static_assert(sizeof(r->port) <= sizeof(told.port), "its name fits");
    (void)strcpy(told.port, r->port);
    n = pr_status_build(b, FULL_STATUS_ONE, &told);
    assert(n > 0);
    return (uint32_t)n;
}

static uint32_t
read_full_status(const struct lu *lu, uint8_t *b)
{
    uint32_t len = 8;

    for (uint32_t i = 0; i < lu->pr.count; i++)
        len += full_status_one(lu, &lu->pr.regs[i], b + len);
    st_be32(b, lu->pr.generation);
    st_be32(b + 4, len - 8);
    return len;
}

void
lu_pr_in(struct lu_cmd *c)
{
    const struct lu_pr *pr = &c->lu->pr;
    uint32_t alloc = ld_be16(&c->cdb[7]), len;
    uint8_t sa = c->cdb[1] & 0x1f;

    if (sa > SCSI_PRIN_READ_FULL_STATUS) {
        lu_cmd_fail_field(c, true, 1);
        return;
    }
    if (!lu_cmd_buf(c, 32 + pr->count * FULL_STATUS_ONE))
        return;
    if (sa == SCSI_PRIN_READ_KEYS)
        len = read_keys(pr, c->buf);
    else if (sa == SCSI_PRIN_READ_RESERVATION)
        len = read_reservation(pr, c->buf);
    else if (sa == SCSI_PRIN_REPORT_CAPABILITIES)
        len = report_capabilities(c->lu, c->buf);
    else
        len = read_full_status(c->lu, c->buf);
    lu_cmd_reply(c, len, alloc);
}
