/* SPDX-License-Identifier: MIT */
/* Connections: bytes out and in, digests, and what spoils a PDU on its way. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "storm.h"
#include "wire/pdu.h"

#define SPOILED      10 /* of 1000 PDUs: bits of the header change */
#define WRONG_DIGEST 2
#define WRONG_LENGTH 1
#define ALIEN_AHS    2
#define CUT          30 /* the PDU leaves in two pieces, with a pause between */

uint64_t
rng_next(struct rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull); /* splitmix64 */

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint32_t
rng_below(struct rng *r, uint32_t n)
{
    return n == 0 ? 0 : (uint32_t)(rng_next(r) % n);
}

bool
rng_chance(struct rng *r, uint32_t permille)
{
    return rng_below(r, 1000) < permille;
}

uint32_t
rng_odd(struct rng *r)
{
    static const uint32_t edges[] = {0,          1,          2,         511,      512,
                                     513,        0xffff,     0x10000,   0xffffff, 0x7fffffff,
                                     0x80000000, 0xfffffffe, 0xffffffff};

    if (rng_chance(r, 600))
        return rng_below(r, 64);
    if (rng_chance(r, 700))
        return edges[rng_below(r, sizeof(edges) / sizeof(edges[0]))];
    return (uint32_t)rng_next(r);
}

void
link_init(struct storm_link *l, struct party *p, uint16_t cid)
{
    *l = (struct storm_link){.party = p, .fd = -1, .cid = cid};
    l->out = malloc(STORM_OUT);
    l->in = malloc(STORM_IN);
    if (l->out == NULL || l->in == NULL)
        abort();
}

void
link_fini(struct storm_link *l)
{
    if (l->fd >= 0)
        (void)close(l->fd);
    free(l->out);
    free(l->in);
}

bool
link_connect(struct storm_link *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(l->party->storm->port)};
    const int on = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return false;
    (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(l->fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno != EINPROGRESS) {
        (void)close(l->fd);
        l->fd = -1;
        return false;
    }
    l->state = LINK_LOGIN;
    l->header_digest = l->data_digest = l->text_open = false;
    l->out_len = l->in_len = l->cut = 0;
    l->unsent = l->life = 0;
    l->pause = l->deaf = 0;
    return true;
}

void
link_close(struct storm_link *l, bool reset)
{
    const struct linger now = {.l_onoff = 1};

    if (l->fd < 0)
        return;
    if (reset)
        (void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)close(l->fd);
    l->fd = -1;
    l->state = LINK_DOWN;
    l->party->storm->n.closed++;
    party_lost(l);
}

void
link_raw(struct storm_link *l, const void *bytes, size_t len)
{
    if (l->fd < 0 || len > STORM_OUT - l->out_len)
        return;
    memcpy(l->out + l->out_len, bytes, len);
    l->out_len += len;
}

/* Changes what the header says; rarely more than a field that matters little. */
static void
spoil_header(struct rng *r, uint8_t *h)
{
    unsigned n = 1 + rng_below(r, 3);

    while (n-- > 0) {
        uint32_t at = rng_below(r, ISCSI_BHS_LEN);

        if (at >= 4 && at < 8 && !rng_chance(r, 150))
            at = 8 + rng_below(r, 40); /* lengths end the connection soon enough */
        h[at] =
            rng_chance(r, 500) ? h[at] ^ (uint8_t)(1u << rng_below(r, 8)) : (uint8_t)rng_next(r);
    }
}

static void
queue_data(struct storm_link *l, const void *data, uint32_t len)
{
    struct rng *r = &l->party->rng;
    uint8_t tail[4 + PDU_DIGEST_LEN] = {0};
    uint32_t pad = pdu_pad(len), crc;

    if (len == 0)
        return;
    link_raw(l, data, len);
    if (rng_chance(r, 20))
        tail[0] = 0xa5; /* padding need not be zero */
    if (l->data_digest) {
        crc = crc32c_update(crc32c_update(CRC32C_INIT, data, len), tail, pad);
        pdu_digest_put(tail + pad, crc);
        if (party_harms(l->party, WRONG_DIGEST))
            tail[pad] ^= 1;
    }
    link_raw(l, tail, pad + (l->data_digest ? PDU_DIGEST_LEN : 0));
}

void
link_pdu(struct storm_link *l, void *bhs, const void *ahs, uint32_t ahs_len, const void *data,
         uint32_t len)
{
    struct rng *r = &l->party->rng;
    uint8_t head[ISCSI_BHS_LEN + PDU_AHS_MAX + PDU_DIGEST_LEN], alien[PDU_AHS_MAX];
    struct storm_counts *n = &l->party->storm->n;
    struct bhs *h = bhs;
    size_t size = ISCSI_BHS_LEN, before = l->out_len;

    if (l->fd < 0 || sizeof(head) + len + 16 > STORM_OUT - l->out_len)
        return;
    if (ahs == NULL && party_harms(l->party, ALIEN_AHS)) {
        ahs_len = 4 * (1 + rng_below(r, rng_chance(r, 900) ? 8 : 255));
        memcpy(alien, random_data(r, ahs_len), ahs_len);
        ahs = alien;
    }
    h->ahs_words = (uint8_t)(ahs_len / 4);
    h->dseg_len = put24(len);
    n->sent[pdu_opcode(h)]++;
    memcpy(head, bhs, ISCSI_BHS_LEN);
    if (party_harms(l->party, SPOILED)) {
        n->spoiled++;
        spoil_header(r, head);
    }
    if (party_harms(l->party, WRONG_LENGTH))
        ((struct bhs *)(void *)head)->dseg_len = put24(rng_odd(r) & 0xffffff);
    if (ahs_len > 0)
        memcpy(head + size, ahs, ahs_len);
    size += ahs_len;
    if (l->header_digest) {
        pdu_header_digest(head, size, head + size);
        head[size] ^= party_harms(l->party, WRONG_DIGEST) ? 1 : 0;
        size += PDU_DIGEST_LEN;
    }
    link_raw(l, head, size);
    queue_data(l, data, len);
    l->unsent++;
    l->life++;
    if (rng_chance(r, CUT) && l->cut == 0) {
        l->cut = before + 1 + rng_below(r, (uint32_t)(l->out_len - before));
        l->pause = 1 + rng_below(r, 40);
    }
}

/* The pause between the two pieces of a PDU; true: it is not over. */
static bool
link_pauses(struct storm_link *l)
{
    if (l->cut != 1)
        return false;
    if (l->pause > 0)
        l->pause--;
    else
        l->cut = 0;
    return l->cut != 0;
}

/* True: bytes have left. */
static bool
link_send(struct storm_link *l)
{
    size_t want;
    ssize_t k;

    if (link_pauses(l))
        return false;
    want = l->cut != 0 ? l->cut - 1 : l->out_len;
    if (want == 0)
        return false;
    k = send(l->fd, l->out, want, MSG_NOSIGNAL);
    if (k < 0 && (errno == EAGAIN || errno == ENOTCONN || errno == EINTR))
        return false;
    if (k < 0) {
        link_close(l, false);
        return true;
    }
    memmove(l->out, l->out + k, l->out_len - (size_t)k);
    l->out_len -= (size_t)k;
    if (l->cut != 0)
        l->cut -= (size_t)k;
    if (l->out_len == 0) {
        l->party->storm->n.pdus += l->unsent;
        l->unsent = 0;
    }
    return k > 0;
}

/* What the target sends must be well-formed whatever it was sent. */
static bool
link_take(struct storm_link *l, size_t *used)
{
    const uint8_t *p = l->in + *used;
    size_t left = l->in_len - *used, head = ISCSI_BHS_LEN, whole;
    struct storm *s = l->party->storm;
    union bhs_any h;
    uint32_t len;

    head += l->header_digest ? PDU_DIGEST_LEN : 0;
    if (left < head)
        return false;
    memcpy(&h, p, ISCSI_BHS_LEN);
    len = pdu_dseg_len(&h.h);
    whole = head + pdu_data_trailer(&h.h, l->data_digest);
    if (pdu_check_header(&h.h, PDU_FROM_TARGET, STORM_SEG_MAX, NULL) < 0)
        s->complaint = "a header that no target sends";
    else if (l->header_digest && !pdu_header_digest_ok(p, ISCSI_BHS_LEN, p + ISCSI_BHS_LEN))
        s->complaint = "a header digest is wrong";
    if (s->complaint != NULL || left < whole)
        return false;
    if (l->data_digest && len > 0 && !pdu_data_digest_ok(p + head, len, p + whole - PDU_DIGEST_LEN))
        s->complaint = "a data digest is wrong";
    s->n.got[pdu_opcode(&h.h)]++;
    *used += whole;
    if (l->state == LINK_LOGIN)
        storm_login_answer(l, &h.login_rsp, (const char *)p + head, len);
    else
        party_got(l, &h, p + head, len);
    return l->fd >= 0;
}

static bool
link_receive(struct storm_link *l)
{
    size_t used = 0;
    ssize_t k = recv(l->fd, l->in + l->in_len, STORM_IN - l->in_len, 0);

    if (k < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN))
        return false;
    if (k <= 0) {
        if (l->party->honest && l->state == LINK_FFP)
            l->party->storm->complaint = "an honest connection was ended";
        link_close(l, false);
        return true;
    }
    l->in_len += (size_t)k;
    while (link_take(l, &used))
        ;
    if (l->fd < 0)
        return true;
    memmove(l->in, l->in + used, l->in_len - used);
    l->in_len -= used;
    return true;
}

bool
link_turn(struct storm_link *l)
{
    bool moved;

    if (l->fd < 0)
        return false;
    moved = link_send(l);
    if (l->fd < 0)
        return true;
    if (l->deaf > 0) {
        l->deaf--;
        return moved;
    }
    return link_receive(l) || moved;
}
