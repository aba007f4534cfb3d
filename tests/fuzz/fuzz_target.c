/* SPDX-License-Identifier: MIT */
/* fuzz_target.c - what initiators send to a target, after they have logged in.
 *
 * Byte 0: bits 0 and 1 digests, bit 2 InitialR2T, bit 3 a discovery session, bit 4 two connections
 * more, bit 5 small bursts, bit 6 error recovery, bit 7 FastAbort and level 2.  Then steps.  The
 * first byte of a step: bits 0 and 1 the connection (2: one that has not logged in), bits 2 to 4
 * what it does, see `step`.  A PDU is written short, so that what is near to right is near for a
 * fuzzer: CmdSNs count from the next one, StatSNs from the last one, digests and lengths are put
 * right, but for the upper bit of the first byte: it spoils a data digest and acknowledges less.
 * Whatever comes, all answers are well-formed, and nothing stays when the target is freed.
 */
#include "mem_loop.h"
#include "target/target.h"
#include "wire/lun.h"
#include "wire/pdu.h"
#include "wire/text.h"

#define NODE      "iqn.2026-11.example:fuzz"
#define OWN_BYTES 256u   /* data segments up to here are of the input */
#define DATA_MAX  20000u /* longer ones are of one pattern */
#define LINKS     4u
#define STRANGER  2u /* has not logged in */

struct fuzz {
    struct mem_loop loop;
    struct target *target;
    struct mem_stream links[LINKS];
    bool header_digest, data_digest;
    uint16_t tsih;
    uint8_t options;
    uint32_t cmd_sn, stat_sn[LINKS];
    uint8_t rest[LINKS][DATA_MAX + 512]; /* of a PDU that was sent in part */
    size_t rest_len[LINKS];
    const uint8_t *at, *end; /* the input */
};

static uint8_t
next8(struct fuzz *f)
{
    return f->at < f->end ? *f->at++ : 0;
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
link_open(struct fuzz *f, unsigned i)
{
    struct mem_stream *s = &f->links[i];

    if (s->open)
        return;
    s->base.loop = &f->loop.l;
    s->open = true;
    s->eof = s->stuck = false;
    s->out_len = f->rest_len[i] = 0;
    target_accept(f->target, &s->base, NULL);
    mem_work(&f->loop);
}

/* Looks at what the target has sent, and forgets it. */
static void
take_answers(struct fuzz *f, unsigned i)
{
    struct mem_stream *s = &f->links[i];
    bool hd = i != STRANGER && f->header_digest, dd = i != STRANGER && f->data_digest;
    size_t at = 0, head = ISCSI_BHS_LEN + (hd ? PDU_DIGEST_LEN : 0);

    if (i == STRANGER) /* it may have agreed on anything */
        s->out_len = 0;
    if (s->out_len == 0)
        return;
    while (s->out_len - at >= head) {
        const struct bhs *h = (const struct bhs *)(const void *)(s->out + at);
        size_t whole = head + pdu_data_trailer(h, dd);

        CHECK(pdu_check_header(h, PDU_FROM_TARGET, 8192, NULL) == 0);
        if (pdu_opcode(h) != ISCSI_OP_DATA_IN)
            f->stat_sn[i] = get32(((const struct bhs_nop_in *)(const void *)h)->stat_sn);
        if (hd)
            CHECK(pdu_header_digest_ok(h, ISCSI_BHS_LEN, s->out + at + ISCSI_BHS_LEN));
        if (s->out_len - at < whole)
            break;
        if (dd && pdu_dseg_len(h) > 0)
            CHECK(pdu_data_digest_ok(s->out + at + head, pdu_dseg_len(h),
                                     s->out + at + whole - PDU_DIGEST_LEN));
        at += whole;
    }
    CHECK(s->stuck || !s->open || at == s->out_len);
    memmove(s->out, s->out + at, s->out_len - at);
    s->out_len -= at;
}

static void
feed(struct fuzz *f, unsigned i, const uint8_t *bytes, size_t len)
{
    if (!f->links[i].open)
        return;
    mem_feed(&f->loop, &f->links[i], bytes, len, false);
    for (unsigned k = 0; k < LINKS; k++)
        take_answers(f, k);
}

static void
log_in(struct fuzz *f, unsigned i, uint8_t options, bool again)
{
    uint8_t pdu[1024] = {0};
    struct bhs_login_req *h = (struct bhs_login_req *)(void *)pdu;
    bool hd = f->header_digest, dd = f->data_digest;
    struct mem_stream *s = &f->links[i];
    struct text_buf b;

    text_buf_init(&b, (char *)pdu + ISCSI_BHS_LEN, 900);
    bhs_init(h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, bhs_login_flags(1, 3, 0x80));
    (void)text_put(&b, "InitiatorName", "iqn.2026-11.example:fuzzer");
    (void)text_put(&b, "TargetName", NODE);
    if (hd)
        (void)text_put(&b, "HeaderDigest", "CRC32C");
    if (dd)
        (void)text_put(&b, "DataDigest", "CRC32C");
    if (options & 8) {
        (void)text_put(&b, "SessionType", "Discovery");
    } else if (i == 0 && !again) {
        (void)text_put(&b, "InitialR2T", options & 4 ? "Yes" : "No");
        (void)text_put(&b, "MaxConnections", "4");
        (void)text_put(&b, "ErrorRecoveryLevel", options & 64 ? options & 128 ? "2" : "1" : "0");
        if (options & 128)
            (void)text_put(&b, "TaskReporting", "FastAbort,ResponseFence,RFC3720");
        (void)text_put(&b, "FirstBurstLength", options & 32 ? "512" : "8192");
        (void)text_put(&b, "MaxBurstLength", options & 32 ? "1024" : "16384");
    }
    h->tsih = put16(f->tsih);
    h->cid = put16((uint16_t)i);
    h->cmd_sn = put32(f->cmd_sn);
    h->exp_stat_sn = put32(f->stat_sn[i] - (again ? 2 : 0));
    h->dseg_len = put24((uint32_t)b.len);
    link_open(f, i);
    mem_feed(&f->loop, s, pdu, ISCSI_BHS_LEN + b.len + pdu_pad((uint32_t)b.len), false);
    if (again && !s->open) {
        s->out_len = 0;
        return; /* the session has ended */
    }
    CHECK(s->open && s->out_len >= ISCSI_BHS_LEN);
    CHECK(((struct bhs_login_rsp *)(void *)s->out)->status_class == 0);
    f->tsih = get16(((struct bhs_login_rsp *)(void *)s->out)->tsih);
    f->stat_sn[i] = get32(((struct bhs_login_rsp *)(void *)s->out)->stat_sn);
    s->out_len = 0;
}

/* Header and data of the next PDU, at out. */
static size_t
make_pdu(struct fuzz *f, unsigned i, uint8_t *out)
{
    static const uint8_t pattern[DATA_MAX] = {1, 2, 3};
    struct bhs_scsi_cmd *h = (struct bhs_scsi_cmd *)(void *)out;
    bool hd = i != STRANGER && f->header_digest, dd = i != STRANGER && f->data_digest;
    uint32_t len, n = ISCSI_BHS_LEN;
    int8_t ahead;
    bool spoilt;

    bhs_init(h, next8(f), 0);
    spoilt = h->opcode & 0x80;
    h->opcode &= 0x7f;
    h->flags = next8(f);
    h->exp_stat_sn = put32(f->stat_sn[i] + 1 - (spoilt ? 4 : 0));
    lun_store(h->lun, lun_from_number(next8(f)));
    h->itt = put32(next8(f) == 0xff ? ISCSI_TAG_RSVD : f->at[-1]);
    h->edtl = put32(next_word(f));
    ahead = (int8_t)next8(f);
    h->cmd_sn = put32(f->cmd_sn + (uint32_t)(int32_t)ahead);
    if (ahead == 0 && !(h->opcode & ISCSI_OP_IMMEDIATE) && pdu_opcode((struct bhs *)(void *)h) != 5)
        f->cmd_sn++;
    if (pdu_opcode((struct bhs *)(void *)h) == ISCSI_OP_SCSI_CMD) {
        for (unsigned k = 0; k < 16; k++)
            h->cdb[k] = next8(f);
    } else {
        for (unsigned k = 0; k < 3; k++) { /* DataSN, Buffer Offset, ... */
            struct be32 w = put32(next_word(f));

            memcpy(h->cdb + 4 * k, &w, sizeof(w));
        }
    }
    if (pdu_opcode((struct bhs *)(void *)h) == ISCSI_OP_SNACK_REQ) {
        struct bhs_snack_req *q = (struct bhs_snack_req *)(void *)out;

        q->run_length = put32(next8(f));
        if ((q->flags & ISCSI_SNACK_TYPE_MASK) == ISCSI_SNACK_STATUS)
            q->beg_run = put32(get32(q->beg_run) + f->stat_sn[i] - 4);
    }
    len = next_word(f) % DATA_MAX;
    h->dseg_len = put24(len);
    if (hd) {
        pdu_header_digest(out, n, out + n);
        n += PDU_DIGEST_LEN;
    }
    for (uint32_t k = 0; k < len; k++)
        out[n + k] = len <= OWN_BYTES ? next8(f) : pattern[k];
    memset(out + n + len, 0, 4);
    if (dd && len > 0) {
        pdu_data_digest(out + n, len, out + n + len + pdu_pad(len));
        out[n + len + pdu_pad(len)] ^= spoilt;
        n += PDU_DIGEST_LEN;
    }
    return n + len + pdu_pad(len);
}

static void
send_pdu(struct fuzz *f, unsigned i, bool in_part)
{
    static uint8_t pdu[DATA_MAX + 512];
    size_t len, first;

    feed(f, i, f->rest[i], f->rest_len[i]);
    f->rest_len[i] = 0;
    len = make_pdu(f, i, pdu);
    first = in_part ? len * next8(f) / 256 : len;
    feed(f, i, pdu, first);
    memcpy(f->rest[i], pdu + first, len - first);
    f->rest_len[i] = len - first;
}

static void
step(struct fuzz *f)
{
    uint8_t what = next8(f);
    unsigned i = what & 3;
    struct mem_stream *s = &f->links[i];

    switch (what >> 2 & 7) {
    case 0:
    case 1:
        send_pdu(f, i, false);
        break;
    case 2:
        send_pdu(f, i, true);
        break;
    case 3: { /* bytes as they are */
        size_t len = next8(f), left = (size_t)(f->end - f->at);

        len = len < left ? len : left;
        feed(f, i, f->at, len);
        f->at += len;
        break;
    }
    case 4:
        if (s->open)
            mem_room(&f->loop, s, what & 0x80);
        take_answers(f, i);
        break;
    case 5:
        mem_advance(&f->loop, (uint64_t)next8(f) * 100000000u);
        break;
    case 6:
        if (s->open)
            mem_feed(&f->loop, s, NULL, 0, true);
        break;
    default:
        if (i == STRANGER)
            link_open(f, i);
        else if (!s->open && !(f->options & 8))
            log_in(f, i, f->options, true); /* in the place of what it was */
        break;
    }
}

static void
start_target(struct fuzz *f)
{
    static const struct lu_config luns[] = {
        {.kind = LU_RAM, .size = 64 << 10, .lun = -1, .wce = -1},
        {.kind = LU_RAM, .size = 64 << 10, .block = 4096, .lun = -1, .wce = -1},
        {.kind = LU_NULL, .size = 1ull << 40, .lun = -1, .wce = -1},
    };
    static const struct target_key_value set[] = {{"QueueDepth", "8"}, {"ErrorRecoveryLevel", "2"}};
    static const struct target_node_config nodes[] = {
        {.name = NODE, .luns = luns, .luns_count = 3, .set = set, .set_count = 2},
        {.name = NODE "-chap",
         .luns = luns,
         .luns_count = 1,
         .chap_user = "u",
         .chap_secret = "secret of the user"},
    };
    const struct target_config cfg = {.nodes = nodes, .nodes_count = 2};

    CHECK(target_new(&f->loop.l, &cfg, &f->target, NULL) == 0);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    static struct fuzz f;
    uint8_t options;

    if (len == 0)
        return;
    memset(&f, 0, offsetof(struct fuzz, rest));
    memset(f.rest_len, 0, sizeof(f.rest_len));
    mem_loop_init(&f.loop);
    start_target(&f);
    f.at = data + 1;
    f.end = data + len;
    options = f.options = data[0];
    f.header_digest = options & 1;
    f.data_digest = options & 2;
    f.cmd_sn = 0xfffffff0; /* wraps soon */
    log_in(&f, 0, options, false);
    for (unsigned i = 1; i < LINKS && (options & 0x18) == 0x10; i++) {
        if (i != STRANGER)
            log_in(&f, i, options, false);
    }
    while (f.at < f.end)
        step(&f);
    target_free(f.target);
    mem_work(&f.loop);
    for (unsigned i = 0; i < LINKS; i++) {
        CHECK(!f.links[i].open);
        free(f.links[i].out);
    }
}
