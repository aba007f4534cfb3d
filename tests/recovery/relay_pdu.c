/* SPDX-License-Identifier: MIT */
/* tests/recovery/relay_pdu.c - harm to single PDUs, as a link does it whose own checks miss what
 * the digests of iSCSI find. */
#include <string.h>

#include "tests/recovery/relay.h"

enum { LOGIN_REQ = 0x03, DATA_OUT = 0x05, SCSI_RSP = 0x21, LOGIN_RSP = 0x23, DATA_IN = 0x25 };

static bool
by_chance(struct relay_pdu *p, unsigned one_in)
{
    p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
    return one_in > 0 && (p->seed >> 33) % one_in == 0;
}

/* A PDU that its receiver finds out about when the next one comes: the last of a sequence of
 * Data-Outs it would wait for. */
static bool
may_be_lost(const unsigned char *h)
{
    unsigned op = h[0] & 0x3f;

    return op == DATA_IN || op == SCSI_RSP || (op == DATA_OUT && (h[1] & 0x80) == 0);
}

/* The header at p->hdr is complete: what follows, and what is done to it. */
static void
relay_pdu_begin(struct relay *r, struct relay_pdu *p, const struct relay_rules *rules)
{
    unsigned op = p->hdr[0] & 0x3f;
    size_t data = (size_t)p->hdr[5] << 16 | (size_t)p->hdr[6] << 8 | p->hdr[7];
    size_t ahs = p->hdr[4] * (size_t)4, header;
    bool login = op == LOGIN_REQ || op == LOGIN_RSP;

    header = ahs + (rules->header_digest && !login ? 4 : 0);
    p->left = header + ((data + 3) & ~(size_t)3) + (data > 0 && !login ? 4 : 0);
    p->spoil_in = SIZE_MAX;
    p->lost = false;
    if (login)
        return;
    if (data > 0 && by_chance(p, rules->spoil)) {
        p->spoil_in = header + (size_t)(p->seed >> 33) % data;
        r->stats.spoilt++;
    } else if (may_be_lost(p->hdr) && by_chance(p, rules->lose)) {
        p->lost = true;
        r->stats.lost++;
    }
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t
relay_pdu_harm(struct relay *r, struct relay_flow *f, enum relay_end to, unsigned char *p, size_t n)
{
    const struct relay_rules *rules = &r->rules[to];
    struct relay_pdu *pdu = &f->pdu;
    size_t at = 0, out = 0, k;

    while (at < n) {
        if (pdu->left == 0 && pdu->have == 48)
            pdu->have = 0;
        if (pdu->have < 48) { /* headers go on when they are complete */
            k = least(48 - pdu->have, n - at);
            memcpy(pdu->hdr + pdu->have, p + at, k);
            pdu->have += k;
            at += k;
            if (pdu->have < 48)
                break;
            relay_pdu_begin(r, pdu, rules);
            if (!pdu->lost) {
                memmove(p + out + 48, p + at, n - at); /* some of it may have come before */
                n = out + 48 + (n - at);
                at = out + 48;
                memcpy(p + out, pdu->hdr, 48);
                out += 48;
            }
            continue;
        }
        k = least(pdu->left, n - at);
        if (pdu->spoil_in < k)
            p[at + pdu->spoil_in] ^= 0x10;
        pdu->spoil_in =
            pdu->spoil_in < k || pdu->spoil_in == SIZE_MAX ? SIZE_MAX : pdu->spoil_in - k;
        pdu->left -= k;
        if (!pdu->lost) {
            memmove(p + out, p + at, k);
            out += k;
        }
        at += k;
    }
    return out;
}
