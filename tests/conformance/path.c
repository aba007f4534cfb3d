/* SPDX-License-Identifier: MIT */
#include "tests/conformance/path.h"

#include "tests/conformance/path_priv.h"
#include "wire/pdu.h"

static void
count(struct conform_counts *c, const struct conform_pdu *pdu)
{
    uint8_t op = pdu_opcode(&pdu->h->h);

    c->all_pdus[pdu->way]++;
    if (pdu->moved) { /* an R2T asks for data that go the other way */
        enum conform_way to = op == ISCSI_OP_R2T ? CONFORM_TO_TARGET : CONFORM_TO_INITIATOR;

        c->moves[to]++;
        c->moved[to] += pdu->data_len;
        return;
    }
    c->pdus[op]++;
    c->bytes[op] += pdu->data_len;
    if (op == ISCSI_OP_TMF_REQ)
        c->tmf[pdu->h->h.flags & 0xf]++;
}

bool
conform_path_ask(struct conform_path *p, const struct conform_pdu *pdu, enum conform_verdict *ret)
{
    if (p->held[pdu->way])
        return false;
    *ret = p->filter != NULL ? p->filter(p->filter_user, pdu) : CONFORM_PASS;
    if (p->held[pdu->way])
        return false; /* the test has said so meanwhile: it is asked again */
    count(&p->counts, pdu);
    return true;
}

int
conform_path_new(const struct conform_path_kind *kind, struct loop *l, const struct sock_addr *at,
                 int adopted, const struct sock_addr *to, struct conform_path **ret,
                 struct sock_addr *ret_at)
{
    int r = kind->open(l, at, adopted, ret, ret_at);

    if (r < 0)
        return r;
    (*ret)->kind = kind;
    (*ret)->loop = l;
    if (ret_at != NULL)
        (*ret)->at = *ret_at;
    conform_path_lead(*ret, to);
    return 0;
}

void
conform_path_free(struct conform_path *p)
{
    if (p != NULL)
        p->kind->free(p);
}

void
conform_path_filter(struct conform_path *p,
                    enum conform_verdict (*fn)(void *user, const struct conform_pdu *pdu),
                    void *user)
{
    p->filter = fn;
    p->filter_user = user;
}

void
conform_path_digests(struct conform_path *p, bool header, bool data)
{
    p->header_digest = header;
    p->data_digest = data;
}

void
conform_path_hold(struct conform_path *p, enum conform_way way, bool on)
{
    p->held[way] = on;
    if (!on)
        p->kind->go_on(p);
}

uint64_t
conform_path_kept(const struct conform_path *p, enum conform_way way)
{
    return p->kind->kept(p, way);
}

void
conform_path_deafen(struct conform_path *p, bool on)
{
    p->kind->deafen(p, on);
}

void
conform_path_refuse(struct conform_path *p, bool on)
{
    p->refuse = on;
    if (p->kind->refuse != NULL)
        p->kind->refuse(p);
}

void
conform_path_cut(struct conform_path *p, bool in_order)
{
    p->kind->cut(p, in_order);
}

void
conform_path_lead(struct conform_path *p, const struct sock_addr *to)
{
    p->to = *to;
    if (p->kind->lead != NULL)
        p->kind->lead(p);
}

const struct conform_counts *
conform_path_counts(const struct conform_path *p)
{
    return &p->counts;
}

unsigned
conform_path_links(const struct conform_path *p)
{
    return p->kind->links(p);
}
