/* SPDX-License-Identifier: MIT */
/* fuzz_session.c - a target that lies, against the whole initiator, in the simulator.
 *
 * Between the initiator and lunette-target stands a relay that takes the target's bytes apart into
 * PDUs, and does to each what the input says, one step for a PDU: so every input begins with what
 * is right, and goes astray from there.  Byte 0: bits 0 and 1 digests, bit 2 a discovery instead of
 * a LUN, bit 3 a target that asks for all data, in small bursts, bits 4 and 5 how many connections
 * there are beside the first, bits 6 and 7 the ErrorRecoveryLevel (3: 2).  Then steps, of all
 * connections in the order in which their PDUs come; see `spoil`.  When the input is over the relay
 * passes everything on.
 *
 * Whatever comes, the initiator ends: openings, requests and closings come back in their time, each
 * request once and within its memory, and nothing stays.
 */
#include <arpa/inet.h>

#include "fuzz.h"
#include "tests/sim/world.h"
#include "wire/bhs.h"
#include "wire/pdu.h"

#define GUARD    64u
#define IO_BYTES 4096u
#define IOS      6u
#define ROUNDS   3u /* of requests, where there are several connections */
#define PAUSE_MS 300
#define PDU_MAX  (300u << 10)
#define KEPT_MAX 8u                     /* PDUs that can be sent again */
#define OPEN_S   (300 * LOOP_NS_PER_S)  /* virtual time that opening, and all of it, may take */
#define ALL_S    (1200 * LOOP_NS_PER_S) /* ... for the time limits that the URL sets */

/* Bytes that wait to be sent on. */
struct pipe {
    uint8_t *p;
    size_t len, size;
};

/* One connection of the initiator, and the one to the target that belongs to it. */
struct link {
    struct list node;
    struct relay *r;
    struct stream *to_initiator, *to_target;
    struct pipe up, down, in; /* to the target; to the initiator; from the target, not yet a PDU */
    bool full_feature;
    bool waits; /* what is to go down does, until something comes for another connection */
};

struct relay {
    struct loop *l;
    struct stream *listener;
    struct sock_addr at, target;
    struct list links;
    const uint8_t *in, *end; /* the input */
    bool header_digest, data_digest;
    struct {
        uint8_t *p;
        size_t len;
    } kept[KEPT_MAX];
    unsigned nkept;
};

static uint8_t
next8(struct relay *r)
{
    return r->in < r->end ? *r->in++ : 0;
}

static void
pipe_put(struct pipe *b, const void *p, size_t len)
{
    if (b->size - b->len < len) {
        b->size = 2 * (b->len + len);
        b->p = realloc(b->p, b->size);
        CHECK(b->p != NULL);
    }
    if (len > 0)
        memcpy(b->p + b->len, p, len);
    b->len += len;
}

static void
pipe_drop(struct pipe *b, size_t len)
{
    memmove(b->p, b->p + len, b->len - len);
    b->len -= len;
}

static void
link_end(struct link *k, bool reset)
{
    if (k->to_initiator != NULL && reset)
        stream_reset(k->to_initiator);
    else if (k->to_initiator != NULL)
        stream_close(k->to_initiator);
    if (k->to_target != NULL)
        stream_close(k->to_target);
    list_del(&k->node);
    free(k->up.p);
    free(k->down.p);
    free(k->in.p);
    free(k);
}

/* False: the stream is dead. */
static bool
pipe_send(struct pipe *b, struct stream *s)
{
    while (b->len > 0) {
        struct iovec iov = {b->p, b->len};
        ssize_t n = stream_sendv(s, &iov, 1, b->len);

        if (n == -EAGAIN)
            return true;
        if (n < 0)
            return false;
        pipe_drop(b, (size_t)n);
    }
    return true;
}

/* ---- what is done to a PDU
 * ------------------------------------------------------------------------ */

/* A PDU without its digests: header and AHS, data with its padding. */
struct pdu {
    uint8_t p[PDU_MAX + 16];
    size_t head, data; /* data: without padding */
};

static void
pass(struct link *k, const struct pdu *u, bool good_header, bool good_data)
{
    bool hd = k->full_feature && k->r->header_digest, dd = k->full_feature && k->r->data_digest;
    uint8_t digest[PDU_DIGEST_LEN];
    size_t data = u->data + pdu_pad((uint32_t)u->data);

    pipe_put(&k->down, u->p, u->head);
    if (hd) {
        pdu_header_digest(u->p, u->head, digest);
        digest[0] ^= !good_header;
        pipe_put(&k->down, digest, sizeof(digest));
    }
    pipe_put(&k->down, u->p + u->head, data);
    if (dd && u->data > 0) {
        pdu_digest_put(digest, crc32c_update(CRC32C_INIT, u->p + u->head, data));
        digest[0] ^= !good_data;
        pipe_put(&k->down, digest, sizeof(digest));
    }
}

static void
keep(struct relay *r, const struct pdu *u)
{
    unsigned i = r->nkept++ % KEPT_MAX;
    size_t len = u->head + u->data;

    free(r->kept[i].p);
    r->kept[i].p = fuzz_copy(u->p, len);
    r->kept[i].len = len;
}

/* A field of the header gets a value that is near to what it was, or far from it. */
static void
spoil_field(struct relay *r, struct pdu *u)
{
    static const uint8_t words[] = {8, 12, 16, 20, 24, 28, 32, 36, 40, 44};
    uint8_t which = next8(r), how = next8(r);
    uint8_t *p = u->p + words[which % sizeof(words)];
    uint32_t v = ld_be32(p);

    if (how < 0x80)
        v += (uint32_t)(int32_t)(int8_t)(how << 1) / 2;
    else if (how < 0xc0)
        v = (uint32_t)(how & 0x3f) * 512;
    else
        v = how == 0xff ? ISCSI_TAG_RSVD : v ^ 1u << (how & 31);
    st_be32(p, v);
}

/* The data segment becomes shorter or longer; what is new is of the input. */
static void
spoil_length(struct relay *r, struct pdu *u)
{
    size_t len = next8(r) * (next8(r) & 1 ? 64u : 1u);

    if (len > PDU_MAX - u->head)
        len = PDU_MAX - u->head;
    for (size_t i = u->data; i < len; i++)
        u->p[u->head + i] = i < u->data + 32 ? next8(r) : (uint8_t)i;
    u->data = len;
    memset(u->p + u->head + len, 0, 4);
    ((struct bhs *)(void *)u->p)->dseg_len = put24((uint32_t)len);
}

static void
send_kept(struct link *k, unsigned which)
{
    static struct pdu again;
    struct relay *r = k->r;
    unsigned n = r->nkept < KEPT_MAX ? r->nkept : KEPT_MAX;

    if (n == 0)
        return;
    which %= n;
    memcpy(again.p, r->kept[which].p, r->kept[which].len);
    again.head = ISCSI_BHS_LEN + pdu_ahs_len((const struct bhs *)(const void *)again.p);
    if (again.head > r->kept[which].len)
        again.head = ISCSI_BHS_LEN;
    again.data = r->kept[which].len - again.head;
    memset(again.p + again.head + again.data, 0, 4);
    pass(k, &again, true, true);
}

/* A PDU of the input's own, beside the others. */
static void
send_own(struct link *k)
{
    static struct pdu own;
    static const uint8_t opcodes[] = {ISCSI_OP_NOP_IN,  ISCSI_OP_ASYNC,     ISCSI_OP_REJECT,
                                      ISCSI_OP_DATA_IN, ISCSI_OP_SCSI_RSP,  ISCSI_OP_R2T,
                                      ISCSI_OP_TMF_RSP, ISCSI_OP_LOGOUT_RSP};
    struct relay *r = k->r;
    struct bhs_nop_in *h = (struct bhs_nop_in *)(void *)own.p;
    uint8_t op = next8(r);

    bhs_init(h, op & 0x80 ? op & 0x7f : opcodes[op % sizeof(opcodes)], next8(r));
    h->rsvd2[0] = next8(r);
    h->itt = h->ttt = put32(ISCSI_TAG_RSVD);
    if (r->nkept > 0 && (op & 0x40)) /* tags and numbers of the last PDU that was passed on */
        memcpy(&h->itt, r->kept[(r->nkept - 1) % KEPT_MAX].p + 16, 20);
    for (unsigned i = 36; i < ISCSI_BHS_LEN && (op & 0x20); i++)
        own.p[i] = next8(r);
    own.head = ISCSI_BHS_LEN;
    own.data = 0;
    spoil_length(r, &own);
    pass(k, &own, true, true);
}

/* One step.  False: the connection is to end. */
static bool
spoil(struct link *k, struct pdu *u)
{
    struct relay *r = k->r;
    uint8_t what = next8(r);

    switch (what & 15) {
    case 1: /* lost */
        return true;
    case 2: /* twice */
        pass(k, u, true, true);
        break;
    case 3:
        spoil_field(r, u);
        break;
    case 4: /* a byte of the header */
        u->p[next8(r) % ISCSI_BHS_LEN] ^= next8(r);
        break;
    case 5: /* a byte of the data */
        if (u->data > 0) {
            size_t at = next8(r) % u->data;

            u->p[u->head + at] ^= next8(r);
        }
        break;
    case 6:
        spoil_length(r, u);
        break;
    case 7: /* an old PDU first */
        send_kept(k, next8(r));
        break;
    case 8: /* an old PDU instead */
        send_kept(k, next8(r));
        return true;
    case 9:
        send_own(k);
        break;
    case 10: /* instead of it */
        send_own(k);
        return true;
    case 11: /* bytes that are nothing */
        for (unsigned n = next8(r) % 64; n > 0; n--) {
            uint8_t b = next8(r);

            pipe_put(&k->down, &b, 1);
        }
        break;
    case 12:
        pass(k, u, !(what & 0x10), !(what & 0x20)); /* a bad digest */
        return true;
    case 13: /* the end, in the middle of it */
        pass(k, u, true, true);
        if (k->down.len > 8)
            k->down.len -= 1 + next8(r) % 8;
        return false;
    case 14: /* later than what others say */
        k->waits = true;
        break;
    default: /* as it is */
        break;
    }
    /* The lengths may be spoiled: then so is what follows, and the peer has to see to it. */
    pass(k, u, true, true);
    return true;
}

/* Takes whole PDUs from k->in.  False: the connection is to end. */
static bool
take_pdus(struct link *k)
{
    static struct pdu u;
    struct relay *r = k->r;

    for (;;) {
        const struct bhs *h = (const struct bhs *)(const void *)k->in.p;
        size_t hd = k->full_feature && r->header_digest ? PDU_DIGEST_LEN : 0, whole;
        bool last_login, goes_on;

        if (k->in.len < ISCSI_BHS_LEN)
            return true;
        u.head = ISCSI_BHS_LEN + pdu_ahs_len(h);
        u.data = pdu_dseg_len(h);
        whole = u.head + hd + pdu_data_trailer(h, k->full_feature && r->data_digest);
        CHECK(u.head + u.data <= PDU_MAX);
        if (k->in.len < whole)
            return true;
        memcpy(u.p, k->in.p, u.head);
        memcpy(u.p + u.head, k->in.p + u.head + hd, u.data + pdu_pad((uint32_t)u.data));
        last_login = pdu_opcode(h) == ISCSI_OP_LOGIN_RSP && (h->flags & 0x83) == 0x83;
        pipe_drop(&k->in, whole);
        keep(r, &u);
        goes_on = spoil(k, &u);
        k->full_feature |= last_login;
        if (!goes_on)
            return false;
    }
}

/* The others, whose PDUs came first, go on. */
static void
let_others_go(struct relay *r, const struct link *k)
{
    LIST_FOREACH_SAFE (n, &r->links) {
        struct link *other = container_of(n, struct link, node);

        if (other == k || !other->waits)
            continue;
        other->waits = false;
        if (!pipe_send(&other->down, other->to_initiator))
            link_end(other, false);
    }
}

/* ---- the relay
 * ------------------------------------------------------------------------------------- */

static void
initiator_readable(void *user)
{
    struct link *k = user;
    uint8_t buf[16384];
    struct iovec iov = {buf, sizeof(buf)};
    ssize_t n = stream_recvv(k->to_initiator, &iov, 1);

    if (n == -EAGAIN)
        return;
    if (n > 0)
        pipe_put(&k->up, buf, (size_t)n);
    if (n <= 0 || !pipe_send(&k->up, k->to_target))
        link_end(k, false);
}

static void
initiator_writable(void *user)
{
    struct link *k = user;

    if (!k->waits && !pipe_send(&k->down, k->to_initiator))
        link_end(k, false);
}

static void
target_readable(void *user)
{
    struct link *k = user;
    uint8_t buf[16384];
    struct iovec iov = {buf, sizeof(buf)};
    ssize_t n = stream_recvv(k->to_target, &iov, 1);
    bool goes_on;

    if (n == -EAGAIN)
        return;
    if (n > 0)
        pipe_put(&k->in, buf, (size_t)n);
    goes_on = n > 0 && take_pdus(k);
    let_others_go(k->r, k);
    if ((!k->waits && !pipe_send(&k->down, k->to_initiator)) || !goes_on)
        link_end(k, n < 0);
}

static void
target_writable(void *user)
{
    struct link *k = user;

    if (!pipe_send(&k->up, k->to_target))
        link_end(k, false);
}

static void
target_connected(void *user, int err)
{
    if (err < 0)
        link_end(user, true);
    else
        target_writable(user);
}

static const struct stream_events initiator_events = {.readable = initiator_readable,
                                                      .writable = initiator_writable};
static const struct stream_events target_events = {
    .connected = target_connected, .readable = target_readable, .writable = target_writable};

static void
accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct relay *r = user;
    struct link *k = calloc(1, sizeof(*k));

    (void)peer;
    CHECK(k != NULL);
    k->r = r;
    k->to_initiator = s;
    list_push_back(&r->links, &k->node);
    stream_set_events(s, &initiator_events, k);
    CHECK(stream_connect(r->l, &r->target, NULL, &target_events, k, &k->to_target) == 0);
}

static const struct stream_events listener_events = {.accepted = accepted};

static void
relay_start(struct relay *r, struct world *w, const uint8_t *data, size_t len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(3260)};

    memset(r, 0, sizeof(*r));
    list_init(&r->links);
    r->l = w->loop;
    r->target = w->portal;
    r->in = data;
    r->end = data + len;
    in.sin_addr.s_addr = htonl(0x0a000009);
    memcpy(&r->at.ss, &in, sizeof(in));
    r->at.len = sizeof(in);
    CHECK(stream_listen(r->l, &r->at, &listener_events, r, &r->listener, &r->at) == 0);
}

static void
relay_stop(struct relay *r)
{
    LIST_FOREACH_SAFE (n, &r->links)
        link_end(container_of(n, struct link, node), false);
    stream_close(r->listener);
    for (unsigned i = 0; i < KEPT_MAX; i++)
        free(r->kept[i].p);
}

/* ---- the program --------------------------------------------------------------------------------
 */

static void
check_error(const struct lunette_error *err, int r)
{
    CHECK(r == 0 || err->code == r);
    if (r < 0)
        fuzz_check_text(err->msg, sizeof(err->msg));
}

/* Requests, each of which must come back once, and in time. */
static void
use(struct world *w, struct lunette_lun *lun)
{
    static uint8_t memory[IOS][GUARD + IO_BYTES + GUARD];
    uint64_t begun = sim_now_ns(w->sim);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    unsigned back[IOS] = {0}, out = 0;

    memset(memory, 0xa5, sizeof(memory));
    if (lunette_queue_new(lun, IOS, &q, &err) < 0)
        return;
    for (unsigned i = 0; i < IOS; i++) {
        uint8_t *buf = memory[i] + GUARD;
        int r;

        if (i % 3 == 0)
            r = lunette_queue_write(q, buf, IO_BYTES, i * IO_BYTES, 0, &back[i]);
        else if (i % 3 == 1)
            r = lunette_queue_read(q, buf, IO_BYTES, i * IO_BYTES, &back[i]);
        else
            r = lunette_queue_flush(q, &back[i]);
        out += r == 0;
    }
    while (out > 0) {
        struct lunette_completion c[IOS];
        int n = lunette_queue_poll(q, c, IOS, 1, 1000);

        CHECK(n >= 0 && (unsigned)n <= out);
        CHECK(sim_now_ns(w->sim) - begun < ALL_S);
        for (int i = 0; i < n; i++)
            CHECK(++*(unsigned *)c[i].user_data == 1);
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
    static const struct target_key_value set[] = {{"MaxConnections", "4"},
                                                  {"ErrorRecoveryLevel", "2"},
                                                  {"ImmediateData", "No"},
                                                  {"InitialR2T", "Yes"},
                                                  {"MaxBurstLength", "1536"}};
    struct world_config cfg = {.block = 512, .options = ""};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct lunette_targets *found = NULL;
    uint64_t begun;
    uint8_t options;
    unsigned conns, level;
    char portal[64], url[512];
    int got;

    if (len == 0)
        return;
    options = data[0] & 4 ? data[0] & 0xfc : data[0]; /* discovery has no digests */
    conns = options & 4 ? 1 : 1 + (options >> 4 & 3u);
    level = options & 4 ? 0 : options >> 6 < 2 ? options >> 6 : 2u;
    cfg.set = set;
    cfg.set_count = options & 8 ? 5 : 2;
    world_new(&w, 1, &cfg);
    relay_start(&r, &w, data + 1, len - 1);
    r.header_digest = options & 1;
    r.data_digest = options & 2;
    (void)snprintf(
        url, sizeof(url),
        "iscsi://%s%s?header_digest=%s&data_digest=%s&timeout=2000&abort_timeout=2000&"
        "lu_reset_timeout=2000&target_reset_timeout=2000&login_timeout=5000&login_retries=1&"
        "replacement_timeout=10&ping_interval=1000&ping_timeout=1000&nr_connections=%u&"
        "error_recovery_level=%u",
        sock_addr_format(&r.at, portal, sizeof(portal)), options & 4 ? "" : "/" WORLD_NODE "/0",
        options & 1 ? "CRC32C" : "None", options & 2 ? "CRC32C" : "None", conns, level);
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
    if (lun != NULL) {
        for (unsigned i = 0; i < (conns > 1 || level > 0 ? ROUNDS : 1); i++) {
            use(&w, lun);
            if (conns > 1) /* the other connections are added meanwhile */
                (void)sim_run_until(w.sim, NULL, NULL, PAUSE_MS * LOOP_NS_PER_MS);
        }
        lunette_close(lun);
    }
    CHECK(sim_now_ns(w.sim) - begun < ALL_S);
    relay_stop(&r);
    world_free(&w);
}
