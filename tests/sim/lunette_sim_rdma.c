/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_rdma.c - worlds in which sessions go over RDMA: the fabric and its faults,
 * and what is asked of iser beyond what is asked of every transport.
 *
 * A message is a whole PDU, so that wire.c reads along as it does on TCP.  What is looked at here
 * is memory: what a request gets back is no device's any more (seam/rdma.h), and the STags of a
 * command are not valid any more when it is over (RFC 7145 7.3.1).
 */
#include "tests/sim/lunette_sim.h"
#include "tests/sim/sim_rdma.h"
#include "tests/support/iser_keys.h"
#include "tests/support/steady_alloc.h"
#include "wire/iser.h"

struct ls_rdma {
    struct ls_world *w;
    struct iser_keys keys;
    uint32_t seen[LS_RDMA_CONNS][SIM_RDMA_WAYS]; /* by connection: messages that were read */
    bool shut[2];                                /* portals that nobody is to use any more */
};

/* ---- who reads along ------------------------------------------------------------------------- */

static void
check_form(struct ls_world *w, const struct sim_rdma_message *m)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct iser_pdu pdu;
    bool to_server = m->way == SIM_RDMA_TO_SERVER;

    if (iser_take(m->bytes, m->len, to_server ? PDU_FROM_INITIATOR : PDU_FROM_TARGET,
                  ISCSI_DSEG_MAX, &pdu, &err) < 0)
        ls_fail(w, "the %s sends a message that is none: %s", to_server ? "initiator" : "target",
                err.msg);
}

static bool
is_there(const struct ls_rdma *r, uint32_t conn)
{
    if (conn >= LS_RDMA_CONNS)
        ls_fail(r->w, "there were too many connections");
    return r->seen[conn][SIM_RDMA_TO_SERVER] != UINT32_MAX;
}

/* Each message once, whatever its delivery was held up by; and none of a connection that the
 * initiator has left, whose device may take some yet. */
static bool
is_new(struct ls_rdma *r, const struct sim_rdma_message *m)
{
    uint32_t *seen = &r->seen[m->conn][m->way];

    if (m->number <= *seen)
        return false;
    *seen = m->number;
    return true;
}

static enum sim_rdma_verdict
tap(void *user, const struct sim_rdma_message *m)
{
    struct ls_rdma *r = user;
    struct ls_world *w = r->w;
    struct sim_bytes b = {.conn = m->conn, .to_server = m->way == SIM_RDMA_TO_SERVER};

    if (m->stage == SIM_RDMA_CLOSED) {
        if (b.to_server && is_there(r, m->conn)) {
            (void)ls_wire_tap(w->wire, &b);
            iser_keys_closed(&r->keys, m->conn);
            r->seen[m->conn][0] = r->seen[m->conn][1] = UINT32_MAX;
        }
        return SIM_RDMA_PASS;
    }
    /* As on TCP: what is sent counts as it is sent, and what comes as it has arrived. */
    if (m->kind != SIM_RDMA_A_SEND ||
        m->stage != (b.to_server ? SIM_RDMA_POSTED : SIM_RDMA_ARRIVES) || !is_there(r, m->conn) ||
        !is_new(r, m))
        return SIM_RDMA_PASS;
    check_form(w, m);
    if (b.to_server)
        iser_keys_sent(&r->keys, m->conn, m->bytes, m->len);
    b.p = m->bytes + ISER_LEN;
    b.len = m->len - ISER_LEN;
    (void)ls_wire_tap(w->wire, &b);
    return SIM_RDMA_PASS;
}

static void
wrong(void *user, const char *what)
{
    ls_fail(((struct ls_rdma *)user)->w, "RDMA: %s", what);
}

/* ---- the world ------------------------------------------------------------------------------- */

static struct sim_rdma_config
config_of(const struct ls_plan *p)
{
    struct sim_rdma_config cfg = {0};

    if (p->rough)
        cfg = sim_rdma_rough;
    cfg.no_windows = p->no_windows;
    cfg.max_windows = p->windows;
    cfg.memlock = (uint64_t)p->memlock_mib << 20;
    return cfg;
}

struct ls_rdma *
ls_rdma_new(struct ls_world *w)
{
    struct sim_rdma_config cfg = config_of(&w->plan);
    struct ls_rdma *r = steady_calloc(1, sizeof(*r));

    r->w = w;
    sim_rdma_open(w->sim, &cfg);
    sim_rdma_tap(w->sim, tap, r);
    sim_rdma_judge(w->sim, wrong, r);
    return r;
}

void
ls_rdma_free(struct ls_rdma *r)
{
    const struct sim_rdma_stats *s;

    if (r == NULL)
        return;
    s = sim_rdma_stats(r->w->sim);
    if (s->open + s->regions + s->windows > 0)
        ls_fail(r->w, "%llu endpoints, %llu regions and %llu windows have stayed",
                (unsigned long long)s->open, (unsigned long long)s->regions,
                (unsigned long long)s->windows);
    LS_COUNT(rdma_reads, s->reads[SIM_RDMA_TO_CLIENT]);
    LS_COUNT(rdma_writes, s->writes[SIM_RDMA_TO_CLIENT]);
    LS_COUNT(rdma_waits, s->waits);
    LS_COUNT(rdma_flushed, s->flushed);
    LS_COUNT(rdma_binds, s->binds);
    LS_COUNT(rdma_remote, s->remote_invalidations);
    LS_COUNT(rdma_local, s->invalidations);
    steady_free(r);
}

/* Every other one, so that requests without are made as well. */
static bool
is_registered(const struct ls_world *w, const struct ls_io *io)
{
    return w->plan.registers && (io - w->io) % 2 == 0;
}

void
ls_rdma_register(struct ls_world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);

    for (int i = 0; i < LS_SLOTS; i++) {
        if (is_registered(w, &w->io[i]) &&
            lunette_register(w->ctx, w->io[i].buf, LS_IO_MAX, &err) < 0)
            ls_fail(w, "memory is not registered: %s", err.msg);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Memory that the program has registered stays known to the device; nothing else of it does. */
void
ls_rdma_given_back(struct ls_world *w, const struct ls_io *io)
{
    static const unsigned none = SIM_RDMA_RECEIVES | SIM_RDMA_READS_IN | SIM_RDMA_SENDS |
                                 SIM_RDMA_PEER_WRITES | SIM_RDMA_PEER_READS | SIM_RDMA_WINDOW;
    unsigned owns = io->mem > 0 ? sim_rdma_owns(w->sim, io->buf, io->mem) : 0;

    if ((owns & none) != 0 || ((owns & SIM_RDMA_REGION) != 0 && !is_registered(w, io)))
        ls_fail(w, "%s %u is over, and the device may use its memory (%#x)", ls_op_names[io->op],
                io->id, owns);
}

/* A pool or registered memory without windows is open as long as its connection. */
void
ls_rdma_check(struct ls_world *w)
{
    const struct iscsi_session *s[LS_RDMA_SIDS];
    uint32_t n = 0, itt;

    if (w->plan.keys_stay)
        return;
    for (uint32_t i = 0; i < LS_RDMA_SIDS && i < w->last_sid; i++) {
        s[n] = dataplane_session(w->ctx->dp, w->last_sid - i);
        n += s[n] != NULL;
    }
    if (!iser_keys_check(&w->rdma->keys, w->sim, s, n, &itt))
        ls_fail(w, "the command %x is over, and its STag is valid", itt);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static enum sim_rdma_cut
cut_of(uint64_t arg)
{
    static const enum sim_rdma_cut cuts[] = {
        SIM_RDMA_LEAVE,        SIM_RDMA_LEAVE, SIM_RDMA_SILENT,       SIM_RDMA_CLIENT_ERROR,
        SIM_RDMA_SERVER_ERROR, SIM_RDMA_LEAVE, SIM_RDMA_CLIENT_ERROR, SIM_RDMA_SERVER_ERROR};

    return cuts[arg % 8];
}

/* What becomes of connections that are asked for, of all that several faults say of it. */
static void
set_fates(struct ls_world *w)
{
    enum sim_rdma_fate all = w->held[FAULT_NOBODY] > 0   ? SIM_RDMA_NOBODY
                             : w->held[FAULT_STUCK] > 0  ? SIM_RDMA_STUCK
                             : w->held[FAULT_REFUSE] > 0 ? SIM_RDMA_REFUSED
                                                         : SIM_RDMA_NORMAL;

    for (unsigned i = 0; i < 2; i++)
        sim_rdma_set_fate(w->sim, &w->portal[i],
                          all == SIM_RDMA_NORMAL && w->rdma->shut[i] ? SIM_RDMA_UNWANTED : all);
}

void
ls_rdma_shut(struct ls_world *w, unsigned portal, bool shut)
{
    w->rdma->shut[portal] = shut;
    set_fates(w);
}

void
ls_world_cut(struct ls_world *w)
{
    if (w->plan.rdma)
        (void)sim_rdma_cut(w->sim, NULL, SIM_RDMA_LEAVE);
    else
        (void)sim_cut(w->sim, NULL, SIM_RESET);
}

unsigned
ls_world_orphans(const struct ls_world *w)
{
    return w->plan.rdma ? sim_rdma_orphans(w->sim) : sim_orphans(w->sim);
}

/* ---- ... as kinds of faults have them -------------------------------------------------------- */

static void
cut(struct ls_world *w, const struct ls_fault *f, bool on)
{
    if (on)
        (void)sim_rdma_cut(w->sim, NULL, cut_of(f->arg));
}

static void
cut_one(struct ls_world *w, const struct ls_fault *f, bool on)
{
    if (on)
        sim_rdma_cut_one(w->sim, (unsigned)(f->arg >> 3), cut_of(f->arg));
}

/* When so many more requests of one way are done. */
static void
cut_after(struct ls_world *w, const struct ls_fault *f, bool on)
{
    uint64_t arg = f->arg, n = arg % 7 == 0 ? arg / 8 % 6 : arg / 8 % 60;

    if (on)
        sim_rdma_cut_after(w->sim, NULL, cut_of(arg >> 16), arg & 2 ? n : UINT64_MAX,
                           arg & 2 ? UINT64_MAX : n);
}

static void
black_hole(struct ls_world *w, const struct ls_fault *f, bool on)
{
    (void)f;
    (void)on;
    sim_rdma_stall(w->sim, NULL, w->held[FAULT_BLACK_HOLE] > 0);
}

/* The connections that there are do not go on, and those that are made meanwhile do. */
static void
old_path(struct ls_world *w, const struct ls_fault *f, bool on)
{
    uint32_t asked = (uint32_t)sim_rdma_stats(w->sim)->asked;

    (void)f;
    for (uint32_t conn = 1; on && conn <= asked; conn++) {
        sim_rdma_hold(w->sim, conn, SIM_RDMA_TO_SERVER, true);
        sim_rdma_hold(w->sim, conn, SIM_RDMA_TO_CLIENT, true);
    }
    if (on || w->held[FAULT_OLD_PATH] + w->held[FAULT_NOT_READY] > 0)
        return;
    sim_rdma_hold(w->sim, 0, SIM_RDMA_TO_SERVER, false);
    sim_rdma_hold(w->sim, 0, SIM_RDMA_TO_CLIENT, false);
}

/* Nobody has posted a receive at one end: nothing breaks. */
static void
not_ready(struct ls_world *w, const struct ls_fault *f, bool on)
{
    if (on)
        sim_rdma_hold(w->sim, 0, f->arg & 1 ? SIM_RDMA_TO_CLIENT : SIM_RDMA_TO_SERVER, true);
    else
        old_path(w, f, false);
}

static void
fates(struct ls_world *w, const struct ls_fault *f, bool on)
{
    (void)f;
    (void)on;
    set_fates(w);
}

bool
ls_rdma_fault(struct ls_world *w, const struct ls_fault *f, bool on)
{
    static void (*const makes[FAULT_KINDS])(struct ls_world * w, const struct ls_fault *f,
                                            bool on) = {
        [FAULT_CUT] = cut,
        [FAULT_CUT_ONE] = cut_one,
        [FAULT_CUT_BYTES] = cut_after,
        [FAULT_BLACK_HOLE] = black_hole,
        [FAULT_OLD_PATH] = old_path,
        [FAULT_NOT_READY] = not_ready,
        [FAULT_REFUSE] = fates,
        [FAULT_STUCK] = fates,
        [FAULT_NOBODY] = fates,
    };

    if (makes[f->kind] == NULL)
        return false;
    makes[f->kind](w, f, on);
    return true;
}
