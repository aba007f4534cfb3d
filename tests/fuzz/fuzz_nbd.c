/* SPDX-License-Identifier: MIT */
/* fuzz_nbd.c - what clients send to an NBD export, in the handshake and after it.
 *
 * Byte 0: bit 0 read-only, bit 1 blocks of 4096 bytes, bits 2 and 3 every so manieth piece fails,
 * bit 4 no zeroes that keep their storage. Then steps.  The first byte of a step: bits 0 and 1 the
 * client, bits 2 to 4 what it does, see `step`; bits 5 to 7 go with that.  Requests and options are
 * written short, so that what is near to right is near for a fuzzer.  Whatever comes, what is
 * answered is well-formed, nobody is answered twice, and nothing is left when the export has ended.
 */
#include "tests/support/nbd_world.h"

#define CLIENTS 4u
#define COOKIES 4096u

struct fuzz {
    struct nbdw w;
    unsigned of[CLIENTS]; /* its number in the world */
    bool clean[CLIENTS];  /* all that it has sent is known: its answers can be read */
    bool structured[CLIENTS];
    uint32_t sent[CLIENTS];
    uint32_t read_len[CLIENTS]
                     [COOKIES]; /* of a read: bytes of a simple reply, plus 1; 0 answered */
    const uint8_t *at, *end;    /* the input */
};

static uint8_t payload[33u << 20]; /* longer than any request may be */

static uint8_t
next8(struct fuzz *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

static uint32_t
next16(struct fuzz *f)
{
    uint32_t v = (uint32_t)next8(f) << 8;

    return v | next8(f);
}

static void
connect_again(struct fuzz *f, unsigned i)
{
    if (f->w.clients[f->of[i]].open || f->w.nclients >= NBDW_CLIENTS - CLIENTS ||
        !f->w.listener.open)
        return;
    f->of[i] = nbdw_connect(&f->w);
    f->clean[i] = true;
    f->structured[i] = false;
    f->sent[i] = 0;
    memset(f->read_len[i], 0, sizeof(f->read_len[i]));
}

/* Bytes of the input as they are. */
static void
raw(struct fuzz *f, unsigned i)
{
    size_t n = next16(f);

    if (n > (size_t)(f->end - f->at))
        n = (size_t)(f->end - f->at);
    f->clean[i] = false;
    nbdw_send(&f->w, f->of[i], f->at, n);
    f->at += n;
}

static void
option(struct fuzz *f, unsigned i, uint8_t more)
{
    uint8_t buf[512];
    uint32_t option = next8(f) % 16, len = next8(f);

    if (len > (size_t)(f->end - f->at))
        len = (uint32_t)(f->end - f->at);
    f->clean[i] = false;
    nbdw_send(&f->w, f->of[i], buf, nbdw_option(buf, option, f->at, len));
    if (more == 1)
        nbdw_send(&f->w, f->of[i], payload, next16(f));
    f->at += len;
}

static void
handshake(struct fuzz *f, unsigned i, uint8_t more)
{
    if (!f->clean[i] || f->w.clients[f->of[i]].out_len != sizeof(struct nbd_greeting)) {
        f->clean[i] = false;
        return;
    }
    f->structured[i] = (more & 1) != 0;
    nbdw_handshake(&f->w, f->of[i], f->structured[i]);
}

static void
request(struct fuzz *f, unsigned i, uint8_t more)
{
    uint16_t type = next8(f) % 9, flags = next8(f);
    uint64_t offset = next16(f) * 512ull;
    uint32_t len = next16(f) * 512u, have;
    struct nbd_request r;

    if ((more & 1) != 0)
        len += next8(f);
    if ((more & 2) != 0)
        len <<= next8(f) % 20;
    if ((more & 4) != 0)
        offset = offset * 0x100000001ull + next8(f);
    if (f->sent[i] >= COOKIES || len > sizeof(payload))
        f->clean[i] = false;
    r = nbdw_request(type, flags, f->sent[i], offset, len);
    if (f->clean[i])
        f->read_len[i][f->sent[i]] =
            type == NBD_CMD_DISC ? 0 : 1 + (type == NBD_CMD_READ ? len : 0);
    f->sent[i]++;
    nbdw_send(&f->w, f->of[i], &r, sizeof(r));
    have = len < sizeof(payload) ? len : (uint32_t)sizeof(payload);
    if (type == NBD_CMD_WRITE)
        nbdw_send(&f->w, f->of[i], payload, have);
}

/* Of a client whose requests are all known: each is answered once at most, and in the right form.
 * The last reply may be there in part. */
static void
check_answers(struct fuzz *f, unsigned i)
{
    struct mem_stream *s = &f->w.clients[f->of[i]];
    const uint8_t *p = s->out;
    size_t left = s->out_len;

    if (!f->clean[i] || f->sent[i] == 0)
        return;
    while (left >= 20) {
        bool chunk = ld_be32(p) == NBD_CHUNK_MAGIC;
        uint64_t cookie;
        size_t len = 16;

        CHECK(chunk || ld_be32(p) == NBD_SIMPLE_REPLY_MAGIC);
        memcpy(&cookie, p + 8, 8);
        CHECK(cookie < f->sent[i] && f->read_len[i][cookie] != 0);
        CHECK(!chunk || f->structured[i]);
        if (chunk)
            len = 20 + (size_t)ld_be32(p + 16);
        else if (ld_be32(p + 4) == 0)
            len += f->read_len[i][cookie] - 1;
        CHECK(chunk || !f->structured[i] || f->read_len[i][cookie] == 1 || ld_be32(p + 4) != 0);
        f->read_len[i][cookie] = 0;
        if (len > left)
            return;
        p += len;
        left -= len;
    }
}

static void
step(struct fuzz *f)
{
    uint8_t b = next8(f), what = b >> 2 & 7, more = b >> 5;
    unsigned i = b & 3;

    switch (what) {
    case 0:
        raw(f, i);
        break;
    case 1:
        option(f, i, more);
        break;
    case 2:
        handshake(f, i, more);
        break;
    case 3:
    case 4:
        request(f, i, more);
        break;
    case 5:
        mem_advance(&f->w.loop, more == 7 ? 11 * LOOP_NS_PER_S : more * RAM_DELAY_NS);
        break;
    case 6:
        if ((more & 1) != 0)
            nbdw_hang_up(&f->w, f->of[i]);
        else if (f->w.clients[f->of[i]].open)
            mem_room(&f->w.loop, &f->w.clients[f->of[i]], (more & 2) != 0);
        break;
    default:
        if (more == 7 && f->w.listener.open)
            nbd_export.stop(f->w.e, nbdw_stopped, &f->w);
        else
            connect_again(f, i);
        break;
    }
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    struct fuzz *f = calloc(1, sizeof(*f));
    uint8_t how;

    CHECK(f != NULL);
    f->at = data;
    f->end = data + len;
    how = next8(f);
    nbdw_open(&f->w, (how & 1) != 0, (how & 2) != 0 ? 4096 : 512);
    f->w.ram.fail_every = how >> 2 & 3;
    f->w.ram.only_unmaps = (how & 16) != 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        f->of[i] = NBDW_CLIENTS - CLIENTS + i; /* which nobody is */
        connect_again(f, i);
    }
    for (unsigned n = 0; f->at < f->end && n < 200; n++)
        step(f);
    mem_advance(&f->w.loop, LOOP_NS_PER_S);
    for (unsigned i = 0; i < CLIENTS; i++)
        check_answers(f, i);
    nbdw_close(&f->w);
    free(f);
}
