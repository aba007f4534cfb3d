/* SPDX-License-Identifier: MIT */
/* tests/conformance/path_rdma.c - a path that is a place in the simulated fabric: messages and data
 * on the way between the portal that was asked for and the listener behind it.
 *
 * A message is one whole PDU behind an iSER header.  The simulator asks about each when it has
 * arrived, and is told to hold, to swallow or to cut it; the same for data that go by themselves.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/path_priv.h"
#include "tests/sim/sim_rdma.h"
#include "tests/support/iser_keys.h"
#include "wire/iser.h"

struct rdma_link {
    struct list node;
    uint32_t conn;   /* as the simulator counts them */
    unsigned number; /* as the path does */
};

struct fabric_path {
    struct conform_path base;
    struct list node; /* paths */
    struct sim *sim;
    struct list links; /* struct rdma_link, of all that there were */
    bool deaf;
};

/* One tap serves all paths of a world. */
static struct list paths = {&paths, &paths};
static struct iser_keys keys; /* that it has seen */

static struct fabric_path *
of_fabric(const struct conform_path *p)
{
    return container_of((struct conform_path *)(uintptr_t)p, struct fabric_path, base);
}

static enum sim_rdma_way
fabric_way(enum conform_way way)
{
    return way == CONFORM_TO_TARGET ? SIM_RDMA_TO_SERVER : SIM_RDMA_TO_CLIENT;
}

static bool
is_at(const struct fabric_path *p, const struct sock_addr *a)
{
    return p->base.at.len == a->len && memcmp(&p->base.at.ss, &a->ss, a->len) == 0;
}

static unsigned
link_number(struct fabric_path *p, uint32_t conn)
{
    struct rdma_link *l;

    LIST_FOREACH (n, &p->links) {
        l = container_of(n, struct rdma_link, node);
        if (l->conn == conn)
            return l->number;
    }
    l = calloc(1, sizeof(*l));
    assert(l != NULL);
    l->conn = conn;
    l->number = ++p->base.counts.links;
    list_push_back(&p->links, &l->node);
    return l->number;
}

/* ---- what passes ----------------------------------------------------------------------------- */

/* The header of the PDU that data stand for, which go by themselves. */
static void
stand_for(const struct sim_rdma_message *m, union bhs_any *h)
{
    if (m->kind == SIM_RDMA_A_READ) {
        bhs_init(h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
        h->r2t.desired_len = put32(m->len);
    } else {
        bhs_init(h, ISCSI_OP_DATA_IN, ISCSI_FLAG_FINAL);
        h->h.dseg_len = put24(m->len);
    }
}

static enum sim_rdma_verdict
ask(struct fabric_path *p, const struct sim_rdma_message *m)
{
    static const enum sim_rdma_verdict verdicts[] = {
        [CONFORM_PASS] = SIM_RDMA_PASS,
        [CONFORM_DROP] = SIM_RDMA_SWALLOW,
        [CONFORM_CUT_BEFORE] = SIM_RDMA_CUT_BEFORE,
        [CONFORM_CUT_INSIDE] = SIM_RDMA_CUT_INSIDE,
        [CONFORM_CUT_BEHIND] = SIM_RDMA_CUT_BEHIND,
    };
    union bhs_any h;
    struct conform_pdu pdu = {.way = m->way == SIM_RDMA_TO_SERVER ? CONFORM_TO_TARGET
                                                                  : CONFORM_TO_INITIATOR,
                              .link = link_number(p, m->conn),
                              .number = m->number,
                              .moved = m->kind != SIM_RDMA_A_SEND,
                              .h = &h,
                              .data_len = m->len};
    enum conform_verdict verdict;

    if (pdu.moved) {
        stand_for(m, &h);
    } else {
        assert(m->len >= ISER_HDRS_LEN); /* both sides are ours */
        memcpy(&h, m->bytes + ISER_LEN, sizeof(h));
        pdu.data_len = pdu_dseg_len(&h.h);
        assert(m->len == ISER_LEN + ISCSI_BHS_LEN + pdu_trailer(&h.h, false, false));
    }
    if (!conform_path_ask(&p->base, &pdu, &verdict))
        return SIM_RDMA_HOLD;
    if (!pdu.moved)
        memcpy(m->bytes + ISER_LEN, &h, sizeof(h));
    p->base.counts.cuts += verdict > CONFORM_DROP;
    return verdicts[verdict];
}

static enum sim_rdma_verdict
fabric_tap(void *user, const struct sim_rdma_message *m)
{
    (void)user;
    if (m->way == SIM_RDMA_TO_SERVER && m->stage == SIM_RDMA_CLOSED)
        iser_keys_closed(&keys, m->conn);
    if (m->way == SIM_RDMA_TO_SERVER && m->stage == SIM_RDMA_POSTED && m->kind == SIM_RDMA_A_SEND)
        iser_keys_sent(&keys, m->conn, m->bytes, m->len);
    LIST_FOREACH (n, &paths) {
        struct fabric_path *p = container_of(n, struct fabric_path, node);

        if (is_at(p, m->server) && m->stage == SIM_RDMA_ARRIVES)
            return ask(p, m);
    }
    return SIM_RDMA_PASS;
}

bool
conform_keys_are_closed(struct loop *l, const struct iscsi_session *const *sessions, uint32_t n)
{
    uint32_t itt;

    return n == 0 || iser_keys_check(&keys, sim_of(l), sessions, n, &itt);
}

/* ---- the path -------------------------------------------------------------------------------- */

static int
fabric_open(struct loop *l, const struct sock_addr *at, int adopted, struct conform_path **ret,
            struct sock_addr *ret_at)
{
    struct fabric_path *p;

    if (adopted >= 0)
        return -EOPNOTSUPP;
    p = calloc(1, sizeof(*p));
    assert(p != NULL);
    p->sim = sim_of(l);
    list_init(&p->links);
    if (list_empty(&paths))
        keys.count = 0; /* another world */
    list_push_back(&paths, &p->node);
    sim_rdma_tap(p->sim, fabric_tap, NULL);
    *ret_at = *at;
    *ret = &p->base;
    return 0;
}

static void
fabric_free(struct conform_path *base)
{
    struct fabric_path *p = of_fabric(base);

    sim_rdma_lead(p->sim, &p->base.at, NULL);
    while (!list_empty(&p->links)) {
        struct rdma_link *l = container_of(p->links.next, struct rdma_link, node);

        list_del(&l->node);
        free(l);
    }
    list_del(&p->node);
    if (list_empty(&paths))
        sim_rdma_tap(p->sim, NULL, NULL);
    free(p);
}

/* What the tap has been told to hold is asked about again. */
static void
fabric_go_on(struct conform_path *base)
{
    struct fabric_path *p = of_fabric(base);

    for (enum conform_way way = 0; way < CONFORM_WAYS; way++) {
        if (!base->held[way] && (way != CONFORM_TO_TARGET || !p->deaf))
            sim_rdma_hold(p->sim, 0, fabric_way(way), false);
    }
}

static uint64_t
fabric_kept(const struct conform_path *p, enum conform_way way)
{
    return sim_rdma_kept(of_fabric(p)->sim, fabric_way(way));
}

static void
fabric_deafen(struct conform_path *base, bool on)
{
    of_fabric(base)->deaf = on;
    sim_rdma_hold(of_fabric(base)->sim, 0, SIM_RDMA_TO_SERVER, on);
}

static void
fabric_refuse(struct conform_path *p)
{
    sim_rdma_set_fate(of_fabric(p)->sim, &p->at, p->refuse ? SIM_RDMA_REFUSED : SIM_RDMA_NORMAL);
}

/* In order: both ends may be told.  Else the one end has an error, and the other finds out. */
static void
fabric_cut(struct conform_path *p, bool in_order)
{
    p->counts.cuts += (unsigned)sim_rdma_cut(of_fabric(p)->sim, &p->at,
                                             in_order ? SIM_RDMA_LEAVE : SIM_RDMA_CLIENT_ERROR);
}

static void
fabric_lead(struct conform_path *p)
{
    sim_rdma_lead(of_fabric(p)->sim, &p->at, &p->to);
}

static unsigned
fabric_links(const struct conform_path *p)
{
    return sim_rdma_links(of_fabric(p)->sim, &p->at);
}

const struct conform_path_kind conform_path_fabric = {.open = fabric_open,
                                                      .free = fabric_free,
                                                      .go_on = fabric_go_on,
                                                      .kept = fabric_kept,
                                                      .deafen = fabric_deafen,
                                                      .refuse = fabric_refuse,
                                                      .cut = fabric_cut,
                                                      .lead = fabric_lead,
                                                      .links = fabric_links};
