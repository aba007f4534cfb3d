/* SPDX-License-Identifier: MIT */
/* fuzz_iser_session.c - a target that lies over RDMA, against the whole initiator, in the
 * simulator.
 *
 * Between the initiator and lunette-target stands a relay, which has memory of its own: it fetches
 * what a command writes, and has the target write what a command reads to itself, so that all the
 * target does to the initiator is its own doing.  To each message of the target it does what the
 * input says, one step for a message: so every input begins with what is right, and goes astray
 * from there.  Byte 0: bits 0 and 1 iser_stag (0 default, 1 window, 2 pool, 3 register), bit 2 a
 * discovery instead of a LUN, bit 3 a target that wants no immediate data, bit 4 a device without
 * windows, bit 5 a fabric that is rough, bit 6 memory that the program has registered.  Then steps,
 * see `spoil`.  When the input is over the relay passes everything on.
 *
 * Whatever comes, the initiator ends: openings, requests and closings come back in their time, each
 * request once and within its memory, and nothing stays.
 */
#include <arpa/inet.h>

#include "fuzz.h"
#include "tests/sim/sim_rdma.h"
#include "tests/sim/world.h"
#include "wire/iser.h"

#define GUARD    64u
#define IO_BYTES 16384u
#define IOS      6u
#define ROUNDS   2u
#define KEPT_MAX 8u                     /* messages that can be sent again */
#define OPEN_S   (300 * LOOP_NS_PER_S)  /* virtual time that opening, and all of it, may take */
#define ALL_S    (1200 * LOOP_NS_PER_S) /* ... for the time limits that the URL sets */

#define RECVS    48u
#define MSGS     96u
#define MSG_LEN  9000u /* longer than what anybody has room for */
#define SLOTS    40u
#define SLOT_LEN 65536u

enum side { INITIATOR, TARGET, SIDES };
enum what { A_RECV, A_SEND, A_READ, A_WRITE }; /* of an id: its kind, and the index below */

#define ID(kind, index) ((uint64_t)(kind) << 32 | (index))

/* A command that is under way. */
struct slot {
    bool used;
    uint32_t itt, edtl;
    struct iser_stag write, read; /* the initiator's */
    bool has_write, has_read;
    unsigned msg; /* what is passed on when its data are here */
};

/* All memory of a link, which both its connections know. */
struct arena {
    uint8_t in[SIDES][RECVS][ISER_RECV_LEN];
    uint8_t msg[MSGS][MSG_LEN];
    uint8_t slot[SLOTS][SLOT_LEN];
};

/* One connection of the initiator, and the one to the target that belongs to it. */
struct link {
    struct list node;
    struct relay *r;
    struct rnic_ep *ep[SIDES];
    struct rnic_mr *mr[SIDES];
    bool up[SIDES], over;
    struct arena *a;
    bool msg_used[MSGS];
    struct slot slot[SLOTS];
};

struct relay {
    struct sim *sim;
    struct loop *l;
    struct rnic_ep *listener;
    struct sock_addr at, target;
    struct list links;
    struct loop_work reap;
    const uint8_t *in, *end; /* the input */
    struct {
        uint8_t *p;
        uint32_t len;
    } kept[KEPT_MAX];
    unsigned nkept;
};

static const struct rnic_depth depth = {.send = 256, .recv = RECVS};

static uint8_t
next8(struct relay *r)
{
    return r->in < r->end ? *r->in++ : 0;
}

static void
link_over(struct link *k)
{
    k->over = true;
    loop_defer(k->r->l, &k->r->reap);
}

static void
link_free(struct link *k)
{
    for (enum side s = INITIATOR; s < SIDES; s++) {
        if (k->ep[s] != NULL)
            rnic_close(k->ep[s]);
    }
    list_del(&k->node);
    free(k->a);
    free(k);
}

/* Links that are over end outside of the callbacks of their connections. */
static void
reap(struct loop_work *w)
{
    struct relay *r = container_of(w, struct relay, reap);

    LIST_FOREACH_SAFE (n, &r->links) {
        struct link *k = container_of(n, struct link, node);

        if (k->over)
            link_free(k);
    }
}

/* ---- what the relay posts -------------------------------------------------------------------- */

static void
post(struct link *k, enum side s, const struct rnic_wr *wr)
{
    if (k->over || !k->up[s] || rnic_post_send(k->ep[s], wr, 1) < 0)
        link_over(k);
}

static void
post_receive(struct link *k, enum side s, unsigned i)
{
    struct rnic_recv r = {.id = ID(A_RECV, i),
                          .sge = {k->a->in[s][i], ISER_RECV_LEN, k->mr[s]->lkey}};

    if (!k->over && rnic_post_recv(k->ep[s], &r, 1) < 0)
        link_over(k);
}

/* MSGS: there is none. */
static unsigned
msg_new(struct link *k)
{
    unsigned i = 0;

    while (i < MSGS && k->msg_used[i])
        i++;
    if (i == MSGS)
        link_over(k);
    else
        k->msg_used[i] = true;
    return i;
}

static void
post_msg(struct link *k, enum side s, unsigned i, uint32_t len, uint32_t invalidate)
{
    struct rnic_wr wr = {.id = ID(A_SEND, i),
                         .op = RNIC_SEND,
                         .nsge = 1,
                         .sge = {{k->a->msg[i], len, k->mr[s]->lkey}},
                         .invalidate = invalidate};

    post(k, s, &wr);
}

static void
send_bytes(struct link *k, const uint8_t *p, uint32_t len, uint32_t invalidate)
{
    unsigned i = msg_new(k);

    if (i == MSGS)
        return;
    CHECK(len <= MSG_LEN);
    memcpy(k->a->msg[i], p, len);
    post_msg(k, INITIATOR, i, len, invalidate);
}

/* len bytes of a slot to or from memory of the initiator. */
static void
move(struct link *k, bool writes, unsigned slot, uint32_t offset, uint32_t len,
     const struct iser_stag *to)
{
    struct rnic_wr wr = {.id = ID(writes ? A_WRITE : A_READ, slot),
                         .op = writes ? RNIC_WRITE : RNIC_READ,
                         .nsge = 1,
                         .remote_addr = to->base,
                         .rkey = to->stag};

    offset %= SLOT_LEN;
    if (len > SLOT_LEN - offset)
        len = SLOT_LEN - offset;
    wr.sge[0] = (struct rnic_sge){k->a->slot[slot] + offset, len, k->mr[INITIATOR]->lkey};
    if (len > 0)
        post(k, INITIATOR, &wr);
}

/* ---- what is done to a message --------------------------------------------------------------- */

/* A message to the initiator, and what becomes of the data of its command. */
struct answer {
    uint8_t p[MSG_LEN];
    uint32_t len, invalidate, data;
    struct slot *slot; /* NULL: there is no command, or it has ended */
    unsigned index;
    bool no_data, late_data;
};

static struct bhs *
header_of(struct answer *a)
{
    return (struct bhs *)(void *)(a->p + ISER_LEN);
}

static void
keep(struct relay *r, const struct answer *a)
{
    unsigned i = r->nkept++ % KEPT_MAX;

    free(r->kept[i].p);
    r->kept[i].p = fuzz_copy(a->p, a->len);
    r->kept[i].len = a->len;
}

static void
send_kept(struct link *k, unsigned which)
{
    struct relay *r = k->r;
    unsigned n = r->nkept < KEPT_MAX ? r->nkept : KEPT_MAX;

    if (n > 0)
        send_bytes(k, r->kept[which % n].p, r->kept[which % n].len, 0);
}

/* A field of the header gets a value that is near to what it was, or far from it. */
static void
spoil_field(struct relay *r, struct answer *a)
{
    static const uint8_t words[] = {8, 12, 16, 20, 24, 28, 32, 36, 40, 44};
    uint8_t which = next8(r), how = next8(r);
    uint8_t *p = a->p + ISER_LEN + words[which % sizeof(words)];
    uint32_t v = ld_be32(p);

    if (how < 0x80)
        v += (uint32_t)(int32_t)(int8_t)(how << 1) / 2;
    else if (how < 0xc0)
        v = (uint32_t)(how & 0x3f) * 512;
    else
        v = how == 0xff ? ISCSI_TAG_RSVD : v ^ 1u << (how & 31);
    st_be32(p, v);
}

/* The message becomes shorter or longer, and says so or not. */
static void
spoil_length(struct relay *r, struct answer *a)
{
    uint8_t how = next8(r);
    uint32_t len = next8(r) * (how & 1 ? 64u : 1u);

    if (how & 2)
        len += ISER_HDRS_LEN;
    if (len > MSG_LEN)
        len = MSG_LEN;
    for (uint32_t i = a->len; i < len; i++)
        a->p[i] = i < a->len + 32 ? next8(r) : (uint8_t)i;
    a->len = len > 0 ? len : 1;
    if ((how & 4) && a->len >= ISER_HDRS_LEN)
        header_of(a)->dseg_len = put24(a->len - ISER_HDRS_LEN);
}

/* A message of the input's own, beside the others. */
static void
send_own(struct link *k)
{
    static struct answer own;
    static const uint8_t opcodes[] = {ISCSI_OP_NOP_IN,  ISCSI_OP_ASYNC,     ISCSI_OP_REJECT,
                                      ISCSI_OP_DATA_IN, ISCSI_OP_SCSI_RSP,  ISCSI_OP_R2T,
                                      ISCSI_OP_TMF_RSP, ISCSI_OP_LOGOUT_RSP};
    struct relay *r = k->r;
    struct bhs_nop_in *h = (struct bhs_nop_in *)(void *)header_of(&own);
    uint8_t op = next8(r);

    iser_put((struct iser_hdr *)(void *)own.p, NULL, NULL);
    bhs_init(h, op & 0x80 ? op & 0x7f : opcodes[op % sizeof(opcodes)], next8(r));
    h->rsvd2[0] = next8(r);
    h->itt = h->ttt = put32(ISCSI_TAG_RSVD);
    if (r->nkept > 0 && (op & 0x40)) { /* tags and numbers of the last one that was passed on */
        const unsigned last = (r->nkept - 1) % KEPT_MAX;

        if (r->kept[last].len >= ISER_HDRS_LEN)
            memcpy(&h->itt, r->kept[last].p + ISER_LEN + 16, 20);
    }
    for (unsigned i = 36; i < ISCSI_BHS_LEN && (op & 0x20); i++)
        own.p[ISER_LEN + i] = next8(r);
    own.len = ISER_HDRS_LEN;
    if (op & 0x10)
        spoil_length(r, &own);
    send_bytes(k, own.p, own.len, 0);
}

/* Data go where they may not, or what the STags stand for is used in another way. */
static void
spoil_data(struct link *k, struct answer *a)
{
    struct relay *r = k->r;
    uint8_t how = next8(r), which = next8(r) % SLOTS;
    struct slot *s = how & 0x80 ? &k->slot[which] : a->slot;
    struct iser_stag to;
    uint32_t len;

    if (s == NULL || (!s->has_read && !s->has_write))
        return;
    to = s->has_read ? s->read : s->write;
    len = s->edtl;
    switch (how & 7) {
    case 0: /* one byte too far */
        len++;
        break;
    case 1: /* one byte before it */
        to.base--;
        break;
    case 2: /* so far away that sums of 32 or of 64 bits wrap */
        to.base += which & 1 ? (uint64_t)1 << 32 : UINT64_MAX - len;
        break;
    case 3:
        to.stag ^= 1u << (which & 31);
        break;
    case 4: /* inside, and other bytes */
        len /= 2;
        break;
    default:
        break;
    }
    move(k, (how & 0x40) == 0, (unsigned)(s - k->slot), 0, len, &to);
}

/* One step.  False: the message does not go on. */
static bool
spoil(struct link *k, struct answer *a)
{
    struct relay *r = k->r;
    uint8_t what = next8(r);

    switch (what & 15) {
    case 1: /* lost */
        return false;
    case 2: /* twice */
        send_bytes(k, a->p, a->len, a->invalidate);
        break;
    case 3:
        spoil_field(r, a);
        break;
    case 4: /* a byte of a header */
        a->p[next8(r) % ISER_HDRS_LEN] ^= next8(r);
        break;
    case 5: /* a byte of the data */
        if (a->len > ISER_HDRS_LEN) {
            uint32_t at = ISER_HDRS_LEN + next8(r) % (a->len - ISER_HDRS_LEN);

            a->p[at] ^= next8(r);
        }
        break;
    case 6:
        spoil_length(r, a);
        break;
    case 7: /* an old one first */
        send_kept(k, next8(r));
        break;
    case 8: /* an old one instead */
        send_kept(k, next8(r));
        return false;
    case 9:
        send_own(k);
        break;
    case 10: /* instead of it */
        send_own(k);
        return false;
    case 11:
        spoil_data(k, a);
        break;
    case 12: /* an STag is invalidated that may not be, or none */
        a->invalidate = what & 0x80 ? 0
                        : what & 0x40 || a->slot == NULL
                            ? ld_be32(a->p + ISER_LEN + 16) ^ (uint32_t)(what >> 4 & 3)
                        : a->slot->has_read ? a->slot->read.stag
                                            : a->slot->write.stag;
        break;
    case 13: /* the end, with what is under way */
        link_over(k);
        return (what & 0x10) != 0;
    case 14: /* without its data, or before them */
        a->no_data = what & 0x10;
        a->late_data = !(what & 0x10);
        break;
    default: /* as it is */
        break;
    }
    return true;
}

/* ---- from the target to the initiator -------------------------------------------------------- */

static struct slot *
slot_of(struct link *k, uint32_t itt)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (k->slot[i].used && k->slot[i].itt == itt)
            return &k->slot[i];
    }
    return NULL;
}

/* Bytes that the command has read. */
static uint32_t
bytes_read(const struct slot *s, const struct bhs_scsi_rsp *h)
{
    uint32_t less = h->flags & ISCSI_RSP_UNDERFLOW ? get32(h->residual) : 0;
    uint32_t len = s->edtl < SLOT_LEN ? s->edtl : SLOT_LEN;

    return less < len ? len - less : 0;
}

static void
from_target(struct link *k, const uint8_t *msg, uint32_t len)
{
    static struct answer a;
    const struct bhs *h = (const void *)(msg + ISER_LEN);
    struct slot *s;
    bool goes_on;

    CHECK(len >= ISER_HDRS_LEN && len <= MSG_LEN);
    memcpy(a.p, msg, len);
    a.len = len;
    a.invalidate = 0;
    a.no_data = a.late_data = false;
    a.slot = s = pdu_opcode(h) == ISCSI_OP_SCSI_RSP ? slot_of(k, get32(h->itt)) : NULL;
    keep(k->r, &a);
    if (s != NULL)
        s->used = false; /* what it knows stays until the place is taken again */
    goes_on = spoil(k, &a);
    if (s != NULL && s->has_read && goes_on && !a.no_data && !a.late_data)
        move(k, true, (unsigned)(s - k->slot), 0, bytes_read(s, (const void *)h), &s->read);
    if (goes_on)
        send_bytes(k, a.p, a.len, a.invalidate);
    if (s != NULL && s->has_read && a.late_data)
        move(k, true, (unsigned)(s - k->slot), 0, s->edtl, &s->read);
}

/* ---- from the initiator to the target -------------------------------------------------------- */

/* The command with STags of the relay's own. */
static void
pass_command(struct link *k, struct slot *s, unsigned i, uint32_t len)
{
    uint8_t *at = k->a->slot[s - k->slot];
    struct iser_stag own = {k->mr[TARGET]->rkey, (uintptr_t)at};

    iser_put((struct iser_hdr *)(void *)k->a->msg[i], s->has_write ? &own : NULL,
             s->has_read ? &own : NULL);
    post_msg(k, TARGET, i, len, 0);
}

static struct slot *
slot_new(struct link *k)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!k->slot[i].used)
            return &k->slot[i];
    }
    return NULL;
}

static void
from_initiator(struct link *k, const uint8_t *msg, uint32_t len)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct iser_pdu pdu;
    unsigned i = msg_new(k);
    struct slot *s;

    CHECK(iser_take(msg, len, PDU_FROM_INITIATOR, ISER_DSEG_MAX, &pdu, &err) == 0);
    if (i == MSGS)
        return;
    memcpy(k->a->msg[i], msg, len);
    if (!pdu.has_write && !pdu.has_read) {
        post_msg(k, TARGET, i, len, 0);
        return;
    }
    s = slot_new(k);
    if (s == NULL) {
        link_over(k);
        return;
    }
    *s = (struct slot){.used = true,
                       .itt = get32(pdu.hdr->itt),
                       .edtl = get32(((const struct bhs_scsi_cmd *)(const void *)pdu.hdr)->edtl),
                       .write = pdu.write,
                       .read = pdu.read,
                       .has_write = pdu.has_write,
                       .has_read = pdu.has_read,
                       .msg = i};
    CHECK(s->edtl <= SLOT_LEN);
    if (s->has_write)
        move(k, false, (unsigned)(s - k->slot), 0, s->edtl, &s->write);
    pass_command(k, s, i,
                 len); /* the target reads what is there: its medium is nobody's business */
}

/* ---- the relay ------------------------------------------------------------------------------- */

static void
side_completed(struct link *k, enum side s, const struct rnic_wc *wc, unsigned n)
{
    for (unsigned i = 0; i < n && !k->over; i++) {
        uint32_t index = (uint32_t)wc[i].id;

        if (wc[i].status != RNIC_OK) {
            link_over(k);
        } else if (wc[i].id >> 32 == A_SEND) {
            k->msg_used[index] = false;
        } else if (wc[i].id >> 32 == A_RECV) {
            if (s == INITIATOR)
                from_initiator(k, k->a->in[s][index], wc[i].len);
            else
                from_target(k, k->a->in[s][index], wc[i].len);
            post_receive(k, s, index);
        }
    }
}

static void
initiator_completed(void *user, const struct rnic_wc *wc, unsigned n)
{
    side_completed(user, INITIATOR, wc, n);
}

static void
target_completed(void *user, const struct rnic_wc *wc, unsigned n)
{
    side_completed(user, TARGET, wc, n);
}

static bool
make_ready(struct link *k, enum side s)
{
    const unsigned access = s == TARGET ? RNIC_PEER_READS | RNIC_PEER_WRITES : 0;

    if (rnic_reg(k->ep[s], k->a, sizeof(*k->a), access, &k->mr[s], NULL) < 0)
        return false;
    for (unsigned i = 0; i < RECVS; i++)
        post_receive(k, s, i);
    return !k->over;
}

static void
target_resolved(void *user)
{
    struct link *k = user;
    uint8_t private[ISER_PRIVATE_LEN];

    iser_put_private(private, ISER_NO_ZBVA | ISER_NO_SEND_INV);
    if (!make_ready(k, TARGET) || rnic_connect(k->ep[TARGET], private, sizeof(private), NULL) < 0)
        link_over(k);
}

static void
target_established(void *user, const void *private_data, size_t len)
{
    struct link *k = user;
    uint8_t private[ISER_PRIVATE_LEN];

    (void)private_data;
    (void)len;
    k->up[TARGET] = true;
    iser_put_private(private, next8(k->r));
    if (rnic_accept(k->ep[INITIATOR], private, sizeof(private), NULL) < 0)
        link_over(k);
}

static void
initiator_established(void *user, const void *private_data, size_t len)
{
    (void)private_data;
    (void)len;
    ((struct link *)user)->up[INITIATOR] = true;
}

static void
side_ended(void *user, int err, const char *why)
{
    (void)err;
    (void)why;
    link_over(user);
}

static const struct rnic_events initiator_events = {
    .established = initiator_established, .ended = side_ended, .completed = initiator_completed};
static const struct rnic_events target_events = {.resolved = target_resolved,
                                                 .established = target_established,
                                                 .ended = side_ended,
                                                 .completed = target_completed};

static void
requested(void *user, struct rnic_ep *ep, const struct sock_addr *peer, const void *private_data,
          size_t len)
{
    struct relay *r = user;
    struct link *k = calloc(1, sizeof(*k));

    (void)peer;
    (void)private_data;
    (void)len;
    CHECK(k != NULL);
    k->a = calloc(1, sizeof(*k->a));
    CHECK(k->a != NULL);
    k->r = r;
    k->ep[INITIATOR] = ep;
    list_push_back(&r->links, &k->node);
    rnic_set_events(ep, &initiator_events, k);
    if (!make_ready(k, INITIATOR) ||
        rnic_resolve(r->l, &r->target, NULL, &depth, &target_events, k, &k->ep[TARGET], NULL) < 0)
        link_over(k);
}

static void
listener_ended(void *user, int err, const char *why)
{
    (void)user;
    (void)err;
    (void)why;
    CHECK(false); /* no device goes away here */
}

static const struct rnic_events listener_events = {.requested = requested, .ended = listener_ended};

static void
relay_start(struct relay *r, struct world *w, const uint8_t *data, size_t len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(3260)};

    memset(r, 0, sizeof(*r));
    list_init(&r->links);
    loop_work_init(&r->reap, reap);
    r->sim = w->sim;
    r->l = w->loop;
    r->target = w->portal;
    r->in = data;
    r->end = data + len;
    in.sin_addr.s_addr = htonl(0x0a000009);
    memcpy(&r->at.ss, &in, sizeof(in));
    r->at.len = sizeof(in);
    CHECK(rnic_listen(r->l, &r->at, &depth, &listener_events, r, &r->listener, &r->at, NULL) == 0);
}

static void
relay_stop(struct relay *r)
{
    LIST_FOREACH_SAFE (n, &r->links)
        link_free(container_of(n, struct link, node));
    loop_defer_cancel(&r->reap);
    rnic_close(r->listener);
    for (unsigned i = 0; i < KEPT_MAX; i++)
        free(r->kept[i].p);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void
check_error(const struct lunette_error *err, int r)
{
    CHECK(r == 0 || err->code == r);
    if (r < 0)
        fuzz_check_text(err->msg, sizeof(err->msg));
}

static uint8_t memory[IOS][GUARD + IO_BYTES + GUARD];

/* Requests, each of which must come back once, and in time; then nobody may use its memory. */
static void
use(struct world *w, struct lunette_lun *lun)
{
    uint64_t begun = sim_now_ns(w->sim);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    unsigned back[IOS] = {0}, out = 0;

    memset(memory, 0xa5, sizeof(memory));
    if (lunette_queue_new(lun, IOS, &q, &err) < 0)
        return;
    for (unsigned i = 0; i < IOS; i++) {
        uint8_t *buf = memory[i] + GUARD;
        uint64_t len = i < 3 ? 4096 : IO_BYTES;
        int r;

        if (i % 3 == 0)
            r = lunette_queue_write(q, buf, len, i * IO_BYTES, 0, &back[i]);
        else if (i % 3 == 1)
            r = lunette_queue_read(q, buf, len, i * IO_BYTES, &back[i]);
        else
            r = lunette_queue_flush(q, &back[i]);
        out += r == 0;
    }
    while (out > 0) {
        struct lunette_completion c[IOS];
        int n = lunette_queue_poll(q, c, IOS, 1, 1000);

        CHECK(n >= 0 && (unsigned)n <= out);
        CHECK(sim_now_ns(w->sim) - begun < ALL_S);
        for (int i = 0; i < n; i++) {
            unsigned *which = c[i].user_data;

            CHECK(++*which == 1);
            CHECK((sim_rdma_owns(w->sim, memory[which - back] + GUARD, IO_BYTES) &
                   ~(unsigned)SIM_RDMA_REGION) == 0);
        }
        out -= (unsigned)n;
    }
    for (unsigned i = 0; i < IOS; i++) {
        for (unsigned k = 0; k < GUARD; k++)
            CHECK(memory[i][k] == 0xa5 && memory[i][GUARD + IO_BYTES + k] == 0xa5);
    }
    lunette_queue_free(q);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    static struct relay r;
    static struct world w;
    static const char *const ways[] = {"", "&iser_stag=window", "&iser_stag=pool",
                                       "&iser_stag=register"};
    static const struct target_key_value set[] = {{"ImmediateData", "No"}};
    struct sim_rdma_config fabric = {0};
    struct world_config cfg = {.block = 512, .options = "", .rdma = true, .set = set};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct lunette_targets *found = NULL;
    uint64_t begun;
    uint8_t options;
    char portal[64], url[512];
    int got;

    if (len == 0)
        return;
    options = data[0];
    if (options & 32)
        fabric = sim_rdma_rough;
    fabric.no_windows = (options & 16) && (options & 3) != 1;
    cfg.fabric = &fabric;
    cfg.set_count = options & 8 ? 1 : 0;
    world_new(&w, 1, &cfg);
    relay_start(&r, &w, data + 1, len - 1);
    (void)snprintf(
        url, sizeof(url),
        "iscsi://%s%s?transport=iser%s&timeout=2000&abort_timeout=2000&lu_reset_timeout=2000&"
        "target_reset_timeout=2000&login_timeout=5000&login_retries=1&replacement_timeout=10&"
        "ping_interval=1000&ping_timeout=1000",
        sock_addr_format(&r.at, portal, sizeof(portal)), options & 4 ? "" : "/" WORLD_NODE "/0",
        ways[options & 3]);
    begun = sim_now_ns(w.sim);
    if (options & 4) {
        got = lunette_discover(w.ctx, url, &found, &err);
        check_error(&err, got);
        lunette_targets_free(found);
    } else {
        got = lunette_open(w.ctx, url, 0, &lun, &err);
        check_error(&err, got);
    }
    CHECK(len > 1 || got == 0); /* nobody has lied */
    CHECK(sim_now_ns(w.sim) - begun < OPEN_S);
    if (options & 64) /* refused where it is not known how, and then it is memory as any other */
        (void)lunette_register(w.ctx, memory, sizeof(memory), &err);
    if (lun != NULL) {
        for (unsigned i = 0; i < ROUNDS; i++)
            use(&w, lun);
        lunette_close(lun);
    }
    CHECK(sim_now_ns(w.sim) - begun < ALL_S);
    relay_stop(&r);
    world_free(&w);
}
