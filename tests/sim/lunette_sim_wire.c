/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_wire.c - reads along on every connection, at the initiator's end: what it
 * sends, and what has come to it.
 *
 * CmdSN goes up by one from the Login Request on and stays inside the window that the target has
 * told (RFC 7143 4.2.2.1).  Over several connections of a session it goes up on each, and each
 * number is used once; one that a connection has lost may go again, with its tag and CDB, and as
 * long as none is missing the session goes on.  No tag names two tasks at a time (11.2.1.8).  Each
 * R2T is answered by data that are all of it, in order (11.7, 11.8).  A command that may be
 * executed once at most is not sent again when its connection was lost.  Where a header was spoiled
 * on the way, nothing is known of that connection any more.
 */
#include <string.h>

#include "tests/sim/lunette_sim_wire.h"
#include "tests/support/steady_alloc.h"
#include "wire/be.h"
#include "wire/bhs.h"
#include "wire/pdu.h"
#include "wire/sn.h"

#define GAP_MAX_NS (10 * LOOP_NS_PER_S) /* that a number of a session is missing */

struct ls_wire *
ls_wire_new(struct ls_world *w)
{
    struct ls_wire *wi = steady_calloc(1, sizeof(*wi));

    wi->w = w;
    list_init(&wi->conns);
    list_init(&wi->nexuses);
    return wi;
}

static void
nexus_gone(struct nexus *n)
{
    list_del(&n->node);
    steady_free(n);
}

/* At level 2 the last connection of a session may be replaced. */
static void
conn_gone(struct wire_conn *c)
{
    struct nexus *n = c->nexus;

    if (n != NULL && --n->conns == 0 && !n->outlives)
        nexus_gone(n);
    list_del(&c->node);
    steady_free(c->task);
    steady_free(c);
}

void
ls_wire_free(struct ls_wire *wi)
{
    if (wi == NULL)
        return;
    while (!list_empty(&wi->conns))
        conn_gone(container_of(wi->conns.next, struct wire_conn, node));
    while (!list_empty(&wi->nexuses))
        nexus_gone(container_of(wi->nexuses.next, struct nexus, node));
    steady_free(wi);
}

void
ls_wire_spoil_share(struct ls_wire *wi, uint32_t share)
{
    wi->share = share;
}

void
ls_wire_spoil(struct ls_wire *wi, const struct ls_spoil *s)
{
    wi->spoil = *s;
}

static struct wire_conn *
conn_of(struct ls_wire *wi, uint32_t id)
{
    struct wire_conn *c;

    LIST_FOREACH (n, &wi->conns) {
        c = container_of(n, struct wire_conn, node);
        if (c->id == id)
            return c;
    }
    c = steady_calloc(1, sizeof(*c));
    c->id = id;
    list_push_back(&wi->conns, &c->node);
    LS_COUNT(wire_connections, 1);
    return c;
}

/* The first Login Request of a connection tells what session it belongs to. */
static void
join(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h)
{
    uint16_t tsih = ld_be16(h + 14);

    if (c->nexus != NULL)
        return;
    c->cid = ld_be16(h + 20);
    LIST_FOREACH (at, &wi->nexuses) {
        struct nexus *n = container_of(at, struct nexus, node);

        if (tsih != 0 && n->tsih == tsih && memcmp(n->isid, h + 8, sizeof(n->isid)) == 0)
            c->nexus = n;
    }
    if (c->nexus != NULL) {
        LS_COUNT(wire_joined, 1);
        ls_heard_joins(wi, c);
    } else {
        c->nexus = steady_calloc(1, sizeof(*c->nexus));
        memcpy(c->nexus->isid, h + 8, sizeof(c->nexus->isid));
        c->nexus->cmd_sn = ld_be32(h + 24);
        list_push_back(&wi->nexuses, &c->nexus->node);
    }
    c->nexus->conns++;
    c->nexus->ever++;
}

/* ---- tasks ---------------------------------------------------------------------------------- */

struct task *
ls_task_of(struct wire_conn *c, uint32_t itt)
{
    for (uint32_t i = 0; i < c->tasks; i++) {
        if (c->task[i].itt == itt)
            return &c->task[i];
    }
    return NULL;
}

/* Is h the SCSI Command with that tag, number and CDB? */
static bool
is_same(const uint8_t *h, uint32_t itt, uint32_t cmd_sn, const uint8_t *cdb)
{
    return itt == ld_be32(h + 16) && cmd_sn == ld_be32(h + 24) && memcmp(cdb, h + 32, 16) == 0;
}

/* A command goes again on its connection, as the target has thrown it away.  The answer to the
 * function that ends it may have come, and not been read. */
static bool
resends(struct wire_conn *c, const uint8_t *h, uint8_t opcode)
{
    const struct task *t = ls_task_of(c, ld_be32(h + 16));

    if (!c->nexus->repairs || !c->mended || opcode != ISCSI_OP_SCSI_CMD)
        return false;
    if (t != NULL)
        return is_same(h, t->itt, t->cmd_sn, t->cdb);
    for (uint32_t i = 0; i < c->swepts && i < SWEPT_MAX; i++) {
        if (is_same(h, c->swept[i].itt, c->swept[i].cmd_sn, c->swept[i].cdb))
            return true;
    }
    return false;
}

static void
task_begin(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h, uint8_t opcode)
{
    uint32_t itt = ld_be32(h + 16);
    struct task *t = ls_task_of(c, itt);

    if (itt == ISCSI_TAG_RSVD || resends(c, h, opcode))
        return;
    if (t != NULL && t->opcode == opcode &&
        (opcode == ISCSI_OP_LOGIN_REQ || opcode == ISCSI_OP_TEXT_REQ))
        return;                     /* the exchange goes on */
    LIST_FOREACH (at, &wi->conns) { /* a tag is a session's */
        struct wire_conn *other = container_of(at, struct wire_conn, node);

        if (other->nexus == c->nexus && !other->deaf && !other->spoiled)
            t = t == NULL ? ls_task_of(other, itt) : t;
    }
    if (t != NULL)
        ls_fail(wi->w, "%s has the tag %x of a task that has not ended", pdu_opcode_name(opcode),
                itt);
    if (c->tasks == c->room) {
        c->room = c->room == 0 ? 32 : 2 * c->room;
        c->task = steady_realloc(c->task, c->room * sizeof(*c->task));
    }
    t = &c->task[c->tasks++];
    memset(t, 0, sizeof(*t));
    t->itt = itt;
    t->cmd_sn = ld_be32(h + 24);
    t->opcode = opcode;
    t->lun = h[9];
    t->ack_ttt = ISCSI_TAG_RSVD;
    if (opcode == ISCSI_OP_LOGOUT_REQ)
        t->cid = (h[1] & ISCSI_LOGOUT_REASON_MASK) != ISCSI_LOGOUT_CLOSE_SESSION ? ld_be16(h + 20)
                                                                                 : c->cid;
    if (opcode == ISCSI_OP_SCSI_CMD) {
        memcpy(t->cdb, h + 32, sizeof(t->cdb));
        t->reads = (h[1] & (ISCSI_CMD_READ | ISCSI_CMD_WRITE)) == ISCSI_CMD_READ;
    }
    if (opcode == ISCSI_OP_TMF_REQ) {
        t->function = h[1] & ISCSI_TMF_FUNC_MASK;
        t->ref = ld_be32(h + 20);
    }
}

void
ls_task_end(struct wire_conn *c, uint32_t itt)
{
    struct task *t = ls_task_of(c, itt);

    if (t != NULL)
        *t = c->task[--c->tasks];
}

/* A function has ended the task t of c. */
static void
task_swept(struct wire_conn *c, struct task *t)
{
    struct once *o = &c->swept[c->swepts++ % SWEPT_MAX];

    *o = (struct once){.lun = t->lun, .itt = t->itt, .cmd_sn = t->cmd_sn};
    memcpy(o->cdb, t->cdb, sizeof(o->cdb));
    *t = c->task[--c->tasks];
}

/* Functions that were carried out have ended tasks, on all connections of the session. */
static void
function_done(struct ls_wire *wi, struct wire_conn *c, uint32_t itt, uint8_t response)
{
    const struct task *f = ls_task_of(c, itt);
    uint8_t function, lun;
    uint32_t ref;

    if (f == NULL)
        return;
    function = f->function;
    lun = f->lun;
    ref = f->ref;
    ls_task_end(c, itt);
    if (response != ISCSI_TMF_RSP_COMPLETE && response != ISCSI_TMF_RSP_NO_TASK)
        return;
    if (function == ISCSI_TMF_ABORT_TASK && ls_task_of(c, ref) != NULL)
        task_swept(c, ls_task_of(c, ref));
    if (function == ISCSI_TMF_ABORT_TASK || function == ISCSI_TMF_TASK_REASSIGN)
        return;
    LIST_FOREACH (at, &wi->conns) {
        struct wire_conn *d = container_of(at, struct wire_conn, node);

        for (uint32_t i = d->nexus == c->nexus ? d->tasks : 0; i-- > 0;) {
            if (d->task[i].opcode == ISCSI_OP_SCSI_CMD &&
                (d->task[i].lun == lun || function == ISCSI_TMF_TARGET_WARM_RESET ||
                 function == ISCSI_TMF_TARGET_COLD_RESET))
                task_swept(d, &d->task[i]);
        }
    }
}

/* ---- once at most --------------------------------------------------------------------------- */

static bool
is_once(const struct once *o, uint8_t lun, const uint8_t *cdb)
{
    return o->lun == lun && memcmp(o->cdb, cdb, 14) == 0;
}

/* What goes again with its number was not executed: the target would drop it else. */
static bool
goes_again(const struct once *o, const struct wire_conn *c, const uint8_t *h)
{
    return o->tsih == c->nexus->tsih && o->itt == ld_be32(h + 16) && o->cmd_sn == ld_be32(h + 24);
}

static void
check_once(struct ls_wire *wi, const struct wire_conn *c, const uint8_t *h)
{
    for (uint32_t i = wi->losts; i-- > 0;) {
        if (!is_once(&wi->lost[i], h[9], h + 32))
            continue;
        if (!goes_again(&wi->lost[i], c, h))
            ls_fail(wi->w, "a command %02x that may have been executed was sent once more", h[32]);
        wi->lost[i] = wi->lost[--wi->losts];
    }
}

void
ls_wire_given_back(struct ls_wire *wi, uint8_t lun, const uint8_t *cdb)
{
    for (uint32_t i = wi->losts; i-- > 0;) {
        if (is_once(&wi->lost[i], lun, cdb))
            wi->lost[i] = wi->lost[--wi->losts];
    }
}

/* The target has let go of the connection that the session of c had with that number, and has
 * acknowledged what is below exp_cmd_sn: it has discarded the rest (RFC 7143 11.14), which may go
 * again in another session, too. */
static void
once_discarded(struct ls_wire *wi, const struct wire_conn *c, uint16_t cid, uint32_t exp_cmd_sn)
{
    for (uint32_t i = wi->losts; i-- > 0;) {
        const struct once *o = &wi->lost[i];

        if (o->tsih == c->nexus->tsih && o->cid == cid && sn_gte(o->cmd_sn, exp_cmd_sn))
            wi->lost[i] = wi->lost[--wi->losts];
    }
}

static void
conn_over(struct ls_wire *wi, struct wire_conn *c)
{
    for (uint32_t i = 0; i < c->tasks; i++) {
        const struct task *t = &c->task[i];

        if (t->opcode != ISCSI_OP_SCSI_CMD || !ls_io_is_raw_opcode(t->cdb[0]))
            continue;
        if (!ls_io_has(wi->w, t->lun, t->cdb) || wi->losts == LOST_MAX)
            continue; /* given back before */
        wi->lost[wi->losts] = (struct once){.lun = t->lun,
                                            .itt = t->itt,
                                            .cmd_sn = t->cmd_sn,
                                            .tsih = c->nexus->tsih,
                                            .cid = c->cid};
        memcpy(wi->lost[wi->losts++].cdb, t->cdb, sizeof(t->cdb));
    }
    if (c->nexus != NULL)
        c->nexus->again = true;
    if (c->ffp && !c->left && wi->w->plan.mends && !wi->w->leaving)
        ls_fail(wi->w, "connection %u was lost for what can be repaired", c->id);
    ls_heard_over(c);
    conn_gone(c);
}

/* ---- what the initiator sends -----------------------------------------------------------------
 */

static bool
is_used(const struct nexus *n, uint32_t sn)
{
    uint32_t i = sn - n->cmd_sn - 1;

    return sn_lt(sn, n->cmd_sn) || (sn != n->cmd_sn && n->ahead[i / 64] >> i % 64 & 1);
}

/* Takes note of a number that is at most AHEAD_MAX ahead. */
static void
use(struct nexus *n, uint32_t sn)
{
    uint32_t i = sn - n->cmd_sn - 1;

    if (sn != n->cmd_sn) {
        n->ahead[i / 64] |= 1ull << i % 64;
        return;
    }
    n->gap_ns = 0;
    do {
        bool next = n->ahead[0] & 1;

        n->cmd_sn++;
        for (uint32_t k = 0; k < AHEAD_MAX / 64; k++)
            n->ahead[k] = n->ahead[k] >> 1 | (k + 1 < AHEAD_MAX / 64 ? n->ahead[k + 1] << 63 : 0);
        if (!next)
            break;
    } while (true);
}

/* A connection that is stuck, or one that was lost, holds no number for long that others wait for.
 */
static void
look_for_gap(const struct ls_wire *wi, struct nexus *n)
{
    static const uint64_t none[AHEAD_MAX / 64];
    uint64_t now = sim_now_ns(wi->w->sim);

    if (memcmp(n->ahead, none, sizeof(none)) == 0)
        n->gap_ns = 0;
    else if (n->gap_ns == 0)
        n->gap_ns = now;
    else if (wi->w->plan.flows && now - n->gap_ns > GAP_MAX_NS)
        ls_fail(wi->w, "CmdSN %u is missing for %llu ms, and others wait for it", n->cmd_sn,
                (unsigned long long)((now - n->gap_ns) / LOOP_NS_PER_MS));
}

/* A number that was used already goes again: its connection must be over, or its bytes lost. */
static void
check_again(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h, uint8_t opcode)
{
    if ((opcode != ISCSI_OP_SCSI_CMD && opcode != ISCSI_OP_NOP_OUT) || c->nexus->ever < 2 ||
        !c->nexus->again)
        ls_fail(wi->w, "%s has CmdSN %u, which was used before", pdu_opcode_name(opcode),
                ld_be32(h + 24));
    LIST_FOREACH (at, &wi->conns) {
        struct wire_conn *other = container_of(at, struct wire_conn, node);

        for (uint32_t i = 0; other->nexus == c->nexus && i < other->tasks; i++) {
            if (other->task[i].cmd_sn == ld_be32(h + 24) &&
                other->task[i].opcode == ISCSI_OP_SCSI_CMD)
                ls_fail(wi->w, "CmdSN %u goes again while its connection lives", ld_be32(h + 24));
        }
    }
    LS_COUNT(wire_again, 1);
}

static bool
has_cmd_sn(uint8_t opcode)
{
    return opcode != ISCSI_OP_DATA_OUT && opcode != ISCSI_OP_SNACK_REQ &&
           opcode != ISCSI_OP_LOGIN_REQ;
}

/* A target may keep a connection on which something was spoiled.  Nothing else is known of it any
 * more, but what numbers the initiator uses there are not missing. */
static void
note_cmd_sn(struct nexus *n, const uint8_t *h, uint8_t opcode)
{
    uint32_t sn = ld_be32(h + 24);

    if (has_cmd_sn(opcode) && (h[0] & ISCSI_OP_IMMEDIATE) == 0 && !is_used(n, sn) &&
        sn - n->cmd_sn <= AHEAD_MAX)
        use(n, sn);
}

static void
check_cmd_sn(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h, uint8_t opcode)
{
    uint32_t sn = ld_be32(h + 24);
    struct nexus *n = c->nexus;

    if (!has_cmd_sn(opcode) || resends(c, h, opcode))
        return;
    if (n->ever == 1 && sn != n->cmd_sn)
        ls_fail(wi->w, "%s has CmdSN %u, and %u is the next", pdu_opcode_name(opcode), sn,
                n->cmd_sn);
    if (h[0] & ISCSI_OP_IMMEDIATE)
        return;
    if (!sn_lte(sn, n->max_cmd_sn))
        ls_fail(wi->w, "%s has CmdSN %u, and MaxCmdSN is %u", pdu_opcode_name(opcode), sn,
                n->max_cmd_sn);
    if (is_used(n, sn)) {
        check_again(wi, c, h, opcode);
        return;
    }
    if (sn - n->cmd_sn > AHEAD_MAX)
        ls_fail(wi->w, "CmdSN %u, and %u was never sent", sn, n->cmd_sn);
    if (c->numbered && !n->again && !sn_gt(sn, c->last_sn)) /* CSN-05 */
        ls_fail(wi->w, "CmdSN %u behind %u on one connection", sn, c->last_sn);
    c->numbered = true;
    c->last_sn = sn;
    use(n, sn);
}

static void
check_data_out(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h, uint32_t len)
{
    struct task *t = ls_task_of(c, ld_be32(h + 16));
    uint32_t ttt = ld_be32(h + 20), i = 0;
    struct r2t *r;

    if (t == NULL || ttt == ISCSI_TAG_RSVD)
        return; /* the task has ended meanwhile */
    while (i < t->r2ts && t->r2t[i].ttt != ttt)
        i++;
    if (i == t->r2ts)
        ls_fail(wi->w, "Data-Out with the tag %x, which no R2T has", ttt);
    r = &t->r2t[i];
    if (ld_be32(h + 36) != r->data_sn || ld_be32(h + 40) != r->offset + r->sent)
        ls_fail(wi->w, "Data-Out has DataSN %u and offset %u where %u and %u are due",
                ld_be32(h + 36), ld_be32(h + 40), r->data_sn, r->offset + r->sent);
    r->data_sn++;
    r->sent += len;
    if (r->sent > r->len || ((h[1] & ISCSI_FLAG_FINAL) != 0) != (r->sent == r->len))
        ls_fail(wi->w, "Data-Out: %u bytes of the %u that an R2T asks for, %sthe last ones",
                r->sent, r->len, h[1] & ISCSI_FLAG_FINAL ? "" : "not ");
    if (r->sent == r->len)
        *r = t->r2t[--t->r2ts];
}

static void
sent(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h, uint32_t len)
{
    uint8_t opcode = h[0] & ISCSI_OP_MASK;

    ls_say(wi->w, "        wire %u > %s, tag %x, CmdSN %u, %u bytes", c->id,
           pdu_opcode_name(opcode), ld_be32(h + 16), ld_be32(h + 24), len);
    if (opcode == ISCSI_OP_SCSI_CMD)
        ls_say(wi->w, "        wire %u   flags %02x, EDTL %u, CDB %016llx %016llx", c->id, h[1],
               ld_be32(h + 20), (unsigned long long)ld_be64(h + 32),
               (unsigned long long)ld_be64(h + 40));
    if (opcode == ISCSI_OP_SNACK_REQ)
        ls_say(wi->w, "        wire %u   type %u, %u from %u on", c->id,
               h[1] & ISCSI_SNACK_TYPE_MASK, ld_be32(h + 44), ld_be32(h + 40));
    if (opcode == ISCSI_OP_LOGIN_REQ)
        join(wi, c, h);
    if (c->nexus == NULL)
        return;
    if (c->spoiled) {
        note_cmd_sn(c->nexus, h, opcode);
        return;
    }
    c->left |= opcode == ISCSI_OP_LOGOUT_REQ;
    if (opcode == ISCSI_OP_SNACK_REQ) {
        LS_COUNT(snacks, 1);
        if (!c->nexus->repairs)
            ls_fail(wi->w, "a SNACK at ErrorRecoveryLevel 0");
    }
    check_cmd_sn(wi, c, h, opcode);
    look_for_gap(wi, c->nexus);
    ls_heard_check(wi, c, h);
    if (opcode == ISCSI_OP_DATA_OUT)
        check_data_out(wi, c, h, len);
    else if (opcode != ISCSI_OP_SNACK_REQ)
        task_begin(wi, c, h, opcode);
    if (opcode == ISCSI_OP_SCSI_CMD && ls_io_is_raw_opcode(h[32]))
        check_once(wi, c, h);
    /* Over RDMA nobody need be told that the target has dropped what was left behind. */
    if (opcode == ISCSI_OP_TMF_REQ && wi->w->plan.nfaults == 0 && !wi->w->plan.cancel &&
        !wi->w->plan.restless && wi->w->plan.limit_ms == 0 && !(wi->w->plan.rdma && wi->w->leaving))
        ls_fail(wi->w, "task management (function %u) though nothing is wrong",
                h[1] & ISCSI_TMF_FUNC_MASK);
}

/* ---- what comes to it -------------------------------------------------------------------------
 */

static void
take_r2t(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h)
{
    struct task *t = ls_task_of(c, ld_be32(h + 16));

    if (t == NULL || c->spoiled)
        return;
    if (t->r2ts == sizeof(t->r2t) / sizeof(t->r2t[0]))
        ls_fail(wi->w, "too many R2Ts are not answered");
    t->r2t[t->r2ts++] =
        (struct r2t){.ttt = ld_be32(h + 20), .offset = ld_be32(h + 40), .len = ld_be32(h + 44)};
}

/* The header of a PDU has come. */
static void
comes(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h, uint32_t len)
{
    uint8_t opcode = h[0] & ISCSI_OP_MASK;
    uint32_t itt = ld_be32(h + 16), max = ld_be32(h + 32);

    ls_say(wi->w, "        wire %u < %s, tag %x, ExpCmdSN %u, MaxCmdSN %u, %u bytes", c->id,
           pdu_opcode_name(opcode), itt, ld_be32(h + 28), max, len);
    if (opcode == ISCSI_OP_DATA_IN || opcode == ISCSI_OP_R2T)
        ls_say(wi->w, "        wire %u   number %u, offset %u", c->id, ld_be32(h + 36),
               ld_be32(h + 40));
    if (opcode == ISCSI_OP_SCSI_RSP)
        ls_say(wi->w, "        wire %u   flags %02x, response %u, status %02x, residual %u", c->id,
               h[1], h[2], h[3], ld_be32(h + 44));
    if (c->deaf || c->nexus == NULL)
        return;
    if ((opcode == ISCSI_OP_LOGIN_RSP && c->nexus->ever == 1) || sn_gt(max, c->nexus->max_cmd_sn))
        c->nexus->max_cmd_sn = max;
}

/* A command that was lost with its connection was reassigned, and answered after all: what the
 * answer says of it counts now. */
static void
answered(struct ls_wire *wi, const struct wire_conn *c, uint32_t itt)
{
    for (uint32_t i = wi->losts; i-- > 0;) {
        if (wi->lost[i].tsih == c->nexus->tsih && wi->lost[i].itt == itt)
            wi->lost[i] = wi->lost[--wi->losts];
    }
}

static void
logout_answered(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h)
{
    const struct task *t = ls_task_of(c, ld_be32(h + 16));

    if (t != NULL && t->opcode == ISCSI_OP_LOGOUT_REQ && h[2] <= ISCSI_LOGOUT_RSP_CID_NOT_FOUND)
        once_discarded(wi, c, t->cid, ld_be32(h + 28));
}

/* A whole PDU has come. */
static void
came(struct ls_wire *wi, struct wire_conn *c)
{
    const struct lane *l = &c->lane[0];
    const uint8_t *h = l->hdr;
    uint8_t opcode = h[0] & ISCSI_OP_MASK;
    uint32_t itt = ld_be32(h + 16);

    if (c->deaf || c->nexus == NULL || l->bad)
        return;
    if (opcode == ISCSI_OP_R2T)
        take_r2t(wi, c, h);
    if (opcode == ISCSI_OP_TMF_RSP)
        function_done(wi, c, itt, h[2]);
    if (opcode == ISCSI_OP_SCSI_RSP)
        answered(wi, c, itt);
    if (opcode == ISCSI_OP_LOGOUT_RSP)
        logout_answered(wi, c, h);
    if (ls_heard(c, h))
        ls_task_end(c, itt);
}

/* A key in the text of the target's answers, which has NULs between its pairs. */
static bool
chosen(const struct wire_conn *c, const char *pair)
{
    for (uint32_t i = 0; i < c->login_len; i += (uint32_t)strlen(c->login + i) + 1) {
        if (strcmp(c->login + i, pair) == 0)
            return true;
    }
    return false;
}

/* The last Login Response has come: full feature phase begins, with digests where they were agreed.
 */
static void
login_pdu_over(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h)
{
    bool last = (h[1] & ISCSI_LOGIN_TRANSIT) && (h[1] & ISCSI_LOGIN_NSG_MASK) == 3;

    if (!last || h[36] != 0)
        return;
    c->nexus->tsih = ld_be16(h + 14);
    once_discarded(wi, c, c->cid, ld_be32(h + 28));
    ls_heard_login(c, h);
    c->nexus->outlives |= chosen(c, "ErrorRecoveryLevel=2");
    c->nexus->repairs |= c->nexus->outlives || chosen(c, "ErrorRecoveryLevel=1");
    c->ffp = true;
    c->header_digest = chosen(c, "HeaderDigest=CRC32C");
    c->data_digest = chosen(c, "DataDigest=CRC32C");
    ls_task_end(c, ld_be32(h + 16));
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void
header_is_there(struct ls_wire *wi, struct wire_conn *c, bool to_server)
{
    struct lane *l = &c->lane[to_server];
    uint32_t len = (uint32_t)l->hdr[5] << 16 | (uint32_t)l->hdr[6] << 8 | l->hdr[7];

    l->hdr_rest = l->hdr[4] * 4u + (c->ffp && c->header_digest ? 4 : 0);
    l->data_rest = len;
    l->tail_rest = -len % 4 + (c->ffp && c->data_digest && len > 0 ? 4 : 0);
    l->bad = false;
    l->drawn = wi->share > 0 && c->ffp && c->data_digest && len > 0 && c->nexus->repairs &&
               ls_random(wi->w, 1024) < wi->share;
    LS_COUNT(wire_pdus, 1);
    if (to_server)
        sent(wi, c, l->hdr, len);
    else
        comes(wi, c, l->hdr, len);
}

static void
keep_login(struct wire_conn *c, const uint8_t *p, size_t n)
{
    if (n > LOGIN_MAX - c->login_len)
        n = LOGIN_MAX - c->login_len;
    memcpy(c->login + c->login_len, p, n);
    c->login_len += (uint32_t)n;
}

/* The next byte of data is spoiled, and the level repairs that. */
static void
spoils_data(const struct ls_wire *wi, struct wire_conn *c, bool to_server)
{
    struct lane *l = &c->lane[to_server];

    ls_say(wi->w, "fault: a byte of a data segment %s is spoiled",
           to_server ? "to the target" : "to the initiator");
    l->drawn = false;
    c->mended = l->bad = true;
    LS_COUNT(spoiled, 1);
    LS_COUNT(mended, 1);
}

/* Whether the byte that comes next is to be spoiled.  Without a digest none is, since nobody could
 * tell that it is wrong, and the model would have nothing to compare with. */
static bool
strikes(struct ls_wire *wi, struct wire_conn *c, bool to_server)
{
    const struct lane *l = &c->lane[to_server];
    struct ls_spoil *s = &wi->spoil;
    bool in_header = l->have < ISCSI_BHS_LEN, in_data = !in_header && l->hdr_rest == 0;
    bool fits;

    if (in_data && l->drawn && l->data_rest > 0) {
        spoils_data(wi, c, to_server);
        return true;
    }
    if (s->count == 0 || !c->ffp || s->to_server != to_server)
        return false;
    if (s->data)
        fits = c->data_digest && in_data && l->data_rest > 0;
    else if (c->header_digest)
        fits = in_header && l->have == s->at % ISCSI_BHS_LEN;
    else
        fits = false;
    if (!fits || s->skip-- > 0)
        return false;
    s->skip = s->every;
    s->count--;
    if (s->data && c->nexus->repairs) {
        spoils_data(wi, c, to_server);
        return true;
    }
    ls_say(wi->w, "fault: a byte of a %s %s is spoiled", s->data ? "data segment" : "header",
           to_server ? "to the target" : "to the initiator");
    LS_COUNT(spoiled, 1);
    c->spoiled = true;
    c->nexus->again = true;
    c->deaf |= !to_server;
    if (s->data && to_server)
        ls_world_spoiled(wi->w);
    return true;
}

/* Takes some bytes of a PDU; returns how many. */
static size_t
take(struct ls_wire *wi, struct wire_conn *c, bool to_server, const uint8_t *p, size_t n)
{
    struct lane *l = &c->lane[to_server];
    uint32_t *rest = l->hdr_rest > 0    ? &l->hdr_rest
                     : l->data_rest > 0 ? &l->data_rest
                                        : &l->tail_rest;

    if (l->have < ISCSI_BHS_LEN) {
        l->hdr[l->have++] = *p;
        if (l->have == ISCSI_BHS_LEN)
            header_is_there(wi, c, to_server);
        n = 1;
    } else {
        if (n > *rest)
            n = *rest;
        if (rest == &l->data_rest && !to_server && !c->ffp)
            keep_login(c, p, n);
        *rest -= (uint32_t)n;
    }
    if (l->have == ISCSI_BHS_LEN && l->hdr_rest + l->data_rest + l->tail_rest == 0) {
        if (!to_server)
            came(wi, c);
        if (!to_server && (l->hdr[0] & ISCSI_OP_MASK) == ISCSI_OP_LOGIN_RSP)
            login_pdu_over(wi, c, l->hdr);
        l->have = 0;
    }
    return n;
}

uint32_t
ls_wire_tap(void *user, const struct sim_bytes *b)
{
    struct ls_wire *wi = user;
    struct wire_conn *c = conn_of(wi, b->conn);
    uint32_t spoiled = 0;

    if (b->p == NULL) {
        conn_over(wi, c);
        return 0;
    }
    for (size_t at = 0; at < b->len;) {
        if (spoiled == 0 && strikes(wi, c, b->to_server))
            spoiled = (uint32_t)at + 1;
        at += take(wi, c, b->to_server, b->p + at, b->len - at);
    }
    return spoiled;
}
