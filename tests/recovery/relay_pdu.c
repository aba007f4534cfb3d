/* SPDX-License-Identifier: MIT */
/* tests/recovery/relay_pdu.c - harm to single PDUs, as a link does it whose own checks miss what
 * the digests of iSCSI find. */
#include <string.h>

#include "tests/recovery/relay.h"

enum {
    SCSI_CMD = 0x01,
    LOGIN_REQ = 0x03,
    DATA_OUT = 0x05,
    SCSI_RSP = 0x21,
    LOGIN_RSP = 0x23,
    DATA_IN = 0x25,
};

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

static uint32_t
itt_of(const unsigned char *h)
{
    return (uint32_t)h[16] << 24 | (uint32_t)h[17] << 16 | (uint32_t)h[18] << 8 | h[19];
}

/* What is to be done to this PDU because it is the next one of its kind. */
static enum relay_deed
deed_for(struct relay *r, struct relay_pdu *p, size_t data)
{
    const unsigned char *h = p->hdr;
    unsigned op = h[0] & 0x3f;
    bool final = h[1] & 0x80, ask = h[1] & 0x40;
    bool answers = op == SCSI_RSP && p->asked && p->asked_itt == itt_of(h);
    enum relay_deed deed = r->next;
    bool is[] = {
        [RELAY_COMMAND] = op == SCSI_CMD && data > 0,
        [RELAY_DATA_OUT] = op == DATA_OUT,
        [RELAY_DATA_IN] = op == DATA_IN && !final,
        [RELAY_RESPONSE] = answers,
    };

    if (op == DATA_IN && ask) {
        p->asked = true;
        p->asked_itt = itt_of(h);
    }
    p->asked = p->asked && !answers;
    if (!is[r->next_kind] || (deed == RELAY_SPOIL && data == 0))
        return RELAY_NOTHING;
    r->next = RELAY_NOTHING;
    return deed;
}

/* The header at p->hdr is complete: what follows, and what is done to it.  False: the link is to be
 * cut in front of it. */
static bool
relay_pdu_begin(struct relay *r, struct relay_pdu *p, const struct relay_rules *rules)
{
    unsigned op = p->hdr[0] & 0x3f;
    size_t data = (size_t)p->hdr[5] << 16 | (size_t)p->hdr[6] << 8 | p->hdr[7];
    size_t ahs = p->hdr[4] * (size_t)4, header;
    bool login = op == LOGIN_REQ || op == LOGIN_RSP;
    enum relay_deed deed = deed_for(r, p, data);

    header = ahs + (rules->header_digest && !login ? 4 : 0);
    p->left = header + ((data + 3) & ~(size_t)3) + (data > 0 && !login ? 4 : 0);
    p->spoil_in = SIZE_MAX;
    p->lost = false;
    if (login)
        return true;
    if (deed == RELAY_SPOIL || (deed == RELAY_NOTHING && data > 0 && by_chance(p, rules->spoil))) {
        p->spoil_in = header + (size_t)(p->seed >> 33) % data;
        r->stats.spoilt++;
    } else if (deed == RELAY_LOSE ||
               (deed == RELAY_NOTHING && may_be_lost(p->hdr) && by_chance(p, rules->lose))) {
        p->lost = true;
        r->stats.lost++;
    }
    return deed != RELAY_CUT;
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
            if (!relay_pdu_begin(r, pdu, rules)) {
                f->cut_when_sent = true;
                break;
            }
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
