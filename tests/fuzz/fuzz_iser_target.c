/* SPDX-License-Identifier: MIT */
/* fuzz_iser_target.c - what initiators send over RDMA to a target, in the simulator.
 *
 * Byte 0: bit 0 a discovery session, bit 1 no memory windows at the devices, bit 2
 * ImmediateData=No, bit 3 small bursts.  Then steps.  The first byte of a step: bit 0 the
 * connection (1: one that has not logged in), bits 1 to 3 what it does, see `step`.  A PDU is
 * written short, so that what is near to right is near for a fuzzer: CmdSNs count from the next
 * one, lengths are put right, and an STag is that of memory of ours, but for bits that spoil it.
 *
 * Whatever comes, all answers are well-formed, the target writes to no byte that a command has not
 * opened to it, and nothing stays when it is freed.
 */
#include <arpa/inet.h>

#include "fuzz.h"
#include "target/target.h"
#include "tests/sim/sim_rdma.h"
#include "wire/iser.h"
#include "wire/lun.h"
#include "wire/text.h"

#define NODE      "iqn.2026-11.example:fuzz"
#define LINKS     2u
#define STRANGER  1u     /* has not logged in */
#define MEMORY    65536u /* bytes that a connection opens to the target */
#define DATA_MAX  12000u /* of a message, which is more than the target's receives take */
#define OWN_BYTES 256u   /* data segments up to here are of the input */
#define RECVS     16u
#define SENDS     64u
#define SHORT_NS  (LOOP_NS_PER_MS / 2)

struct link {
    struct fuzz *f;
    struct rnic_ep *ep; /* NULL: it is closed */
    bool up, over;      /* over: to be closed by the next step */
    unsigned out;       /* sends that are not completed */
    struct rnic_mr *mr, *mr_in, *mr_out;
    uint8_t *memory; /* MEMORY, in a region of its own */
    uint8_t *open;   /* a flag for each byte of it: the target may write there */
    uint8_t *in, *message[SENDS];
    uint32_t stat_sn;
    bool answered; /* the last login was */
    uint8_t login_status;
};

struct fuzz {
    struct sim *sim;
    struct loop *loop;
    struct target *target;
    struct sock_addr at;
    struct link links[LINKS];
    uint32_t cmd_sn;
    uint8_t options;
    const uint8_t *in, *end; /* the input */
};

static uint8_t
next8(struct fuzz *f)
{
    return f->in < f->end ? *f->in++ : 0;
}

/* A number in two bytes: small, a multiple of 512, or the reserved tag. */
static uint32_t
next_word(struct fuzz *f)
{
    uint32_t v = (uint32_t)next8(f) << 8;

    v |= next8(f);
    if (v == 0xffff)
        return ISCSI_TAG_RSVD;
    return v & 0x8000 ? (v & 0x7fff) * 512 : v;
}

static void
run(struct fuzz *f, uint64_t ns)
{
    (void)sim_run_until(f->sim, NULL, NULL, ns);
}

/* ---- a connection ---------------------------------------------------------------------------- */

static void
post_receive(struct link *l, unsigned i)
{
    struct rnic_recv r = {
        .id = i, .sge = {l->in + (size_t)i * ISER_RECV_LEN, ISER_RECV_LEN, l->mr_in->lkey}};

    if (rnic_post_recv(l->ep, &r, 1) < 0)
        l->over = true;
}

static void
on_resolved(void *user)
{
    struct link *l = user;
    uint8_t private[ISER_PRIVATE_LEN];

    CHECK(rnic_reg(l->ep, l->memory, MEMORY, RNIC_PEER_READS | RNIC_PEER_WRITES, &l->mr, NULL) ==
          0);
    CHECK(rnic_reg(l->ep, l->in, RECVS * ISER_RECV_LEN, 0, &l->mr_in, NULL) == 0);
    for (unsigned i = 0; i < RECVS; i++)
        post_receive(l, i);
    iser_put_private(private, next8(l->f));
    CHECK(rnic_connect(l->ep, private, sizeof(private), NULL) == 0);
}

static void
on_established(void *user, const void *private_data, size_t len)
{
    (void)private_data;
    (void)len;
    ((struct link *)user)->up = true;
}

static void
on_ended(void *user, int err, const char *why)
{
    struct link *l = user;

    CHECK(err < 0);
    fuzz_check_text(why, 512);
    l->over = true;
}

/* An answer, of which only the form is known to be right. */
static void
take_answer(struct link *l, const uint8_t *msg, uint32_t len)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct iser_pdu pdu;

    if (len == ISER_LEN && (msg[0] & ISER_OP_MASK) == ISER_HELLO_REPLY)
        return;
    if (iser_take(msg, len, PDU_FROM_TARGET, ISER_DSEG_MAX, &pdu, &err) < 0) {
        fprintf(stderr, "an answer of %u bytes: %s\n", len, err.msg);
        abort();
    }
    l->stat_sn = get32(((const struct bhs_nop_in *)(const void *)pdu.hdr)->stat_sn);
    if (pdu_opcode(pdu.hdr) == ISCSI_OP_LOGIN_RSP) {
        l->answered = true;
        l->login_status = ((const struct bhs_login_rsp *)(const void *)pdu.hdr)->status_class;
    }
}

static void
on_completed(void *user, const struct rnic_wc *wc, unsigned n)
{
    struct link *l = user;

    for (unsigned i = 0; i < n; i++) {
        if (!wc[i].recv)
            l->out--;
        if (wc[i].status != RNIC_OK) {
            l->over = true;
        } else if (wc[i].recv) {
            take_answer(l, l->in + wc[i].id * ISER_RECV_LEN, wc[i].len);
            if (!l->over)
                post_receive(l, (unsigned)wc[i].id);
        }
    }
}

static const struct rnic_events events = {.resolved = on_resolved,
                                          .established = on_established,
                                          .ended = on_ended,
                                          .completed = on_completed};

/* What the target was not allowed to write is as it was. */
static void
check_memory(const struct link *l)
{
    for (uint32_t i = 0; i < MEMORY; i++)
        CHECK(l->open[i] || l->memory[i] == (uint8_t)(i * 7));
}

static void
link_close(struct link *l)
{
    if (l->ep == NULL)
        return;
    rnic_disconnect(l->ep);
    run(l->f, SHORT_NS);
    rnic_close(l->ep);
    check_memory(l);
    free(l->memory);
    free(l->open);
    free(l->in);
    for (unsigned i = 0; i < SENDS; i++)
        free(l->message[i]);
    *l = (struct link){.f = l->f};
}

static void *
zeroes(size_t len)
{
    void *p = calloc(1, len);

    CHECK(p != NULL);
    return p;
}

static void
link_open(struct link *l)
{
    const struct rnic_depth depth = {.send = SENDS, .recv = RECVS};

    l->memory = zeroes(MEMORY);
    l->open = zeroes(MEMORY);
    l->in = zeroes(RECVS * ISER_RECV_LEN);
    for (uint32_t i = 0; i < MEMORY; i++)
        l->memory[i] = (uint8_t)(i * 7);
    CHECK(rnic_resolve(l->f->loop, &l->f->at, NULL, &depth, &events, l, &l->ep, NULL) == 0);
    for (unsigned i = 0; i < 100 && !l->up && !l->over; i++)
        run(l->f, SHORT_NS);
}

/* Sends a message of exactly len bytes; its memory is the connection's until it ends. */
static void
send_message(struct link *l, const uint8_t *msg, size_t len, uint32_t invalidate)
{
    struct rnic_wr wr = {.op = RNIC_SEND, .nsge = 1, .invalidate = invalidate};
    struct rnic_mr *mr;
    unsigned i = 0;

    while (i < SENDS && l->message[i] != NULL)
        i++;
    if (l->ep == NULL || !l->up || l->over || i == SENDS || len == 0)
        return;
    l->message[i] = fuzz_copy(msg, len);
    CHECK(rnic_reg(l->ep, l->message[i], len, 0, &mr, NULL) == 0);
    wr.id = i;
    wr.sge[0] = (struct rnic_sge){l->message[i], (uint32_t)len, mr->lkey};
    if (rnic_post_send(l->ep, &wr, 1) == 0)
        l->out++;
}

/* ---- what is sent ---------------------------------------------------------------------------- */

static void
log_in(struct fuzz *f, struct link *l)
{
    uint8_t msg[ISER_HDRS_LEN + 1024] = {0};
    struct bhs_login_req *h = (struct bhs_login_req *)(void *)(msg + ISER_LEN);
    struct text_buf b;

    link_open(l);
    if (!l->up)
        return;
    text_buf_init(&b, (char *)msg + ISER_HDRS_LEN, 900);
    iser_put((struct iser_hdr *)(void *)msg, NULL, NULL);
    bhs_init(h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, bhs_login_flags(1, 3, 0x80));
    (void)text_put(&b, "InitiatorName", "iqn.2026-11.example:fuzzer");
    if (f->options & 1) {
        (void)text_put(&b, "SessionType", "Discovery");
    } else {
        (void)text_put(&b, "TargetName", NODE);
        (void)text_put(&b, "RDMAExtensions", "Yes");
        (void)text_put(&b, "InitialR2T", "Yes");
        (void)text_put(&b, "ImmediateData", f->options & 4 ? "No" : "Yes");
        (void)text_put(&b, "TargetRecvDataSegmentLength", "8192");
        (void)text_put(&b, "InitiatorRecvDataSegmentLength", "8192");
        (void)text_put(&b, "FirstBurstLength", f->options & 8 ? "512" : "8192");
        (void)text_put(&b, "MaxBurstLength", f->options & 8 ? "1024" : "16384");
    }
    h->cmd_sn = put32(f->cmd_sn);
    h->dseg_len = put24((uint32_t)b.len);
    send_message(l, msg, ISER_HDRS_LEN + b.len + pdu_pad((uint32_t)b.len), 0);
    for (unsigned i = 0; i < 100 && !l->answered && !l->over; i++)
        run(f, SHORT_NS);
    CHECK(l->answered && l->login_status == 0);
}

/* An STag for len bytes of the connection's memory, and what the target may write from now on. */
static struct iser_stag
make_stag(struct fuzz *f, struct link *l, uint32_t len, bool writes)
{
    uint8_t how = next8(f);
    uint32_t at = (uint32_t)next8(f) * 128 + (how & 7);
    struct iser_stag s = {l->mr != NULL ? l->mr->rkey : 0, (uintptr_t)l->memory + at};

    if (how & 0x80)
        s.stag ^= 1u << (how >> 3 & 7);
    if (how & 0x40)
        s.base += how & 0x20 ? MEMORY : UINT64_MAX - MEMORY;
    for (uint32_t i = 0;
         l->open != NULL && writes && i < len && (how & 0xc0) == 0 && at + i < MEMORY; i++)
        l->open[at + i] = 1;
    return s;
}

/* iSER header, header and data of the next PDU, at out; returns their length. */
static size_t
make_pdu(struct fuzz *f, struct link *l, uint8_t *out)
{
    static const uint8_t pattern[DATA_MAX] = {1, 2, 3};
    struct iser_hdr *ih = (struct iser_hdr *)(void *)out;
    struct bhs_scsi_cmd *h = (struct bhs_scsi_cmd *)(void *)(out + ISER_LEN);
    uint8_t stags = next8(f);
    struct iser_stag write, read;
    uint32_t len, edtl;
    int8_t ahead;

    bhs_init(h, next8(f) & 0x7f, 0);
    h->flags = next8(f);
    h->exp_stat_sn = put32(l->stat_sn + 1);
    lun_store(h->lun, lun_from_number(next8(f)));
    h->itt = put32(next8(f) == 0xff ? ISCSI_TAG_RSVD : f->in[-1]);
    edtl = next_word(f);
    h->edtl = put32(edtl);
    ahead = (int8_t)next8(f);
    h->cmd_sn = put32(f->cmd_sn + (uint32_t)(int32_t)ahead);
    if (ahead == 0 && !(h->opcode & ISCSI_OP_IMMEDIATE) && pdu_opcode((struct bhs *)(void *)h) != 5)
        f->cmd_sn++;
    for (unsigned k = 0; k < 16; k++)
        h->cdb[k] = next8(f);
    if (stags & 1)
        write = make_stag(f, l, edtl, false);
    if (stags & 2)
        read = make_stag(f, l, edtl, true);
    iser_put(ih, stags & 1 ? &write : NULL, stags & 2 ? &read : NULL);
    if (stags & 0x80)
        ih->flags ^= stags & 0x7c;
    len = next_word(f) % DATA_MAX;
    h->dseg_len = put24(len);
    for (uint32_t k = 0; k < len; k++)
        out[ISER_HDRS_LEN + k] = len <= OWN_BYTES ? next8(f) : pattern[k];
    memset(out + ISER_HDRS_LEN + len, 0, 4);
    return ISER_HDRS_LEN + len + pdu_pad(len);
}

static void
step(struct fuzz *f)
{
    static uint8_t msg[ISER_HDRS_LEN + DATA_MAX + 8];
    uint8_t what = next8(f);
    struct link *l = &f->links[what & 1];
    size_t len, left;

    if (l->over)
        link_close(l);
    switch (what >> 1 & 7) {
    case 0:
    case 1:
        len = make_pdu(f, l, msg);
        send_message(l, msg, len, 0);
        break;
    case 2: /* longer or shorter than it says */
        len = make_pdu(f, l, msg);
        send_message(l, msg, what & 0x80 ? len * next8(f) / 256 : len + (what >> 4 & 7), 0);
        break;
    case 3: /* bytes as they are */
        len = next8(f);
        left = (size_t)(f->end - f->in);
        len = len < left ? len : left;
        send_message(l, f->in, len, what & 0x80 ? l->stat_sn : 0);
        f->in += len;
        break;
    case 4:
        run(f, (1 + (uint64_t)next8(f)) * SHORT_NS);
        break;
    case 5:
        if (l->ep != NULL && l->up && l->mr != NULL && (what & 0x80)) {
            rnic_dereg(l->ep, l->mr); /* what the target was told of is gone */
            l->mr = NULL;
        }
        break;
    case 6:
        link_close(l);
        break;
    default:
        if (l->ep == NULL && l == &f->links[STRANGER])
            link_open(l);
        else if (l->ep == NULL)
            log_in(f, l);
        break;
    }
    if (what & 0x40)
        run(f, SHORT_NS);
}

static void
start_target(struct fuzz *f)
{
    static const struct lu_config luns[] = {
        {.kind = LU_RAM, .size = 64 << 10, .lun = -1, .wce = -1},
        {.kind = LU_RAM, .size = 64 << 10, .block = 4096, .lun = -1, .wce = -1},
        {.kind = LU_NULL, .size = 1ull << 40, .lun = -1, .wce = -1},
    };
    static const struct target_key_value set[] = {{"QueueDepth", "8"}};
    static const struct target_node_config node = {
        .name = NODE, .luns = luns, .luns_count = 3, .set = set, .set_count = 1};
    const struct target_config cfg = {.nodes = &node, .nodes_count = 1};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(3260)};

    in.sin_addr.s_addr = htonl(0x0a000001);
    f->at = (struct sock_addr){.len = sizeof(in)};
    memcpy(&f->at.ss, &in, sizeof(in));
    CHECK(target_new(f->loop, &cfg, &f->target, NULL) == 0);
    CHECK(target_listen_rdma(f->target, &f->at, NULL, NULL) == 0);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    static struct fuzz f;
    struct sim_rdma_config cfg = {0};

    if (len == 0)
        return;
    memset(&f, 0, sizeof(f));
    f.in = data + 1;
    f.end = data + len;
    f.options = data[0];
    f.cmd_sn = 0xfffffff0; /* wraps soon */
    cfg.no_windows = f.options & 2;
    f.sim = sim_new(1, NULL);
    f.loop = sim_loop(f.sim);
    sim_rdma_open(f.sim, &cfg);
    start_target(&f);
    for (unsigned i = 0; i < LINKS; i++)
        f.links[i].f = &f;
    log_in(&f, &f.links[0]);
    while (f.in < f.end)
        step(&f);
    run(&f, 10 * SHORT_NS);
    for (unsigned i = 0; i < LINKS; i++)
        link_close(&f.links[i]);
    target_free(f.target);
    run(&f, 10 * SHORT_NS);
    CHECK(sim_rdma_stats(f.sim)->open == 0 && sim_rdma_stats(f.sim)->regions == 0);
    sim_free(f.sim);
}
