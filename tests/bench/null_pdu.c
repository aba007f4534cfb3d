/* SPDX-License-Identifier: MIT */
/* tests/bench/null_pdu.c - the bare target's way of an I/O: PDUs in, answers out. */
#include "tests/bench/null_target.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

#define SPARE 32 /* headers and iovecs that one more PDU may need, with a wide margin */

enum direction { NEITHER, READ, WRITE };

static const uint8_t zeroes[4];

/* CRC32C (RFC 7143 13.1), one stream. */
static uint32_t
crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
#ifdef __SSE4_2__
    uint64_t x = crc;

    while (n >= 8) {
        uint64_t word;

        memcpy(&word, p, 8);
        x = _mm_crc32_u64(x, word);
        p += 8;
        n -= 8;
    }
    crc = (uint32_t)x;
    while (n-- > 0)
        crc = _mm_crc32_u8(crc, *p++);
#else
    while (n-- > 0) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
    }
#endif
    return crc;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* Waits until the socket takes more.  False when it never will. */
static bool
wait_writable(int fd)
{
    struct pollfd p = {fd, POLLOUT, 0};

    return errno == EINTR || (errno == EAGAIN && poll(&p, 1, 1000) >= 0);
}

void
flush(struct conn *c)
{
    int i = 0;

    while (i < c->niov) {
        struct msghdr m = {.msg_iov = c->iov + i, .msg_iovlen = (size_t)(c->niov - i)};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && !wait_writable(c->fd))
            break;
        for (size_t left = n < 0 ? 0 : (size_t)n; left > 0 && i < c->niov;) {
            struct iovec *v = &c->iov[i];
            size_t len = left < v->iov_len ? left : v->iov_len;

            v->iov_base = (uint8_t *)v->iov_base + len;
            v->iov_len -= len;
            left -= len;
            i += v->iov_len == 0;
        }
    }
    c->niov = 0;
    c->nheaders = 0;
}

static void
add(struct conn *c, const uint8_t *b, size_t n)
{
    struct iovec *last = c->niov > 0 ? &c->iov[c->niov - 1] : NULL;

    if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == b) {
        last->iov_len += n;
        return;
    }
    c->iov[c->niov].iov_base = (void *)(uintptr_t)b;
    c->iov[c->niov++].iov_len = n;
}

uint8_t *
new_header(struct conn *c, uint8_t opcode, uint32_t itt)
{
    if (c->niov > IOVS - SPARE || c->nheaders > HEADERS - SPARE)
        flush(c);
    uint8_t *h = c->headers + c->nheaders++ * HEADER_SIZE;
    memset(h, 0, HEADER_SIZE);
    h[0] = opcode;
    h[1] = FINAL;
    put32(h + 16, itt);
    return h;
}

void
put_sns(struct conn *c, uint8_t *h, bool has_status)
{
    put32(h + 24, has_status ? c->stat_sn++ : c->stat_sn);
    put32(h + 28, c->exp_cmd_sn);
    put32(h + 32, c->exp_cmd_sn + options.window - 1);
}

void
answer(struct conn *c, uint8_t *h, const uint8_t *data, uint32_t n)
{
    uint32_t header_len = BHS, crc;

    put24(h + 5, n);
    if (c->header_digest && c->full_feature) {
        crc = ~crc32c(~0u, h, BHS);
        memcpy(h + BHS, &crc, sizeof(crc));
        header_len += 4;
    }
    add(c, h, header_len);
    if (n == 0)
        return;
    add(c, data, n);
    if (padding(n) > 0)
        add(c, zeroes, padding(n));
    if (c->data_digest && c->full_feature) {
        crc = ~crc32c(crc32c(~0u, data, n), zeroes, padding(n));
        memcpy(h + DATA_DIGEST_AT, &crc, sizeof(crc));
        add(c, h + DATA_DIGEST_AT, 4);
    }
}

void
respond(struct conn *c, uint32_t itt, uint8_t status, const uint8_t *sense, uint32_t sense_len,
        uint32_t underflow)
{
    uint8_t *h = new_header(c, SCSI_RESPONSE, itt);

    h[1] |= underflow > 0 ? RESIDUAL_UNDERFLOW : 0;
    h[3] = status;
    put_sns(c, h, true);
    put32(h + 44, underflow);
    answer(c, h, sense, sense_len);
}

void
check_condition(struct conn *c, uint32_t itt, uint8_t asc)
{
    uint8_t sense[20] = {0, 18, 0x70, 0, KEY_ILLEGAL_REQUEST, 0, 0, 0, 0, 10};

    sense[14] = asc;
    respond(c, itt, STATUS_CHECK_CONDITION, sense, sizeof(sense), 0);
    flush(c); /* while sense is there */
}

/* Where the data of a read stands, and how much of n is in one piece. */
static const uint8_t *
stored(uint64_t offset, uint32_t *n)
{
    if (memory != NULL)
        return memory + offset;
    offset %= PATTERN_SIZE;
    if (*n > PATTERN_SIZE - offset)
        *n = PATTERN_SIZE - (uint32_t)offset;
    return pattern + offset;
}

void
data_in(struct conn *c, uint64_t offset, const uint8_t *buf, uint32_t len)
{
    const uint8_t *cmd = c->header;
    uint32_t itt = get32(cmd + 16), edtl = get32(cmd + 20), total = len < edtl ? len : edtl;
    uint32_t burst_left = c->max_burst, data_sn = 0;

    if (total == 0) {
        respond(c, itt, STATUS_GOOD, NULL, 0, edtl);
        return;
    }
    for (uint32_t at = 0, n; at < total; at += n) {
        n = total - at;
        n = n < c->max_data_in ? n : c->max_data_in;
        n = n < burst_left ? n : burst_left;
        const uint8_t *data = buf != NULL ? buf + at : stored(offset + at, &n);
        bool last = at + n == total;
        uint8_t *h = new_header(c, DATA_IN, itt);

        burst_left -= n;
        h[1] = last || burst_left == 0 ? FINAL : 0;
        if (burst_left == 0)
            burst_left = c->max_burst;
        memcpy(h + 8, cmd + 8, 8);
        put32(h + 20, NO_TAG);
        put_sns(c, h, last);
        if (last) {
            h[1] |= 1; /* S: has the status */
            h[1] |= len < edtl ? RESIDUAL_UNDERFLOW : len > edtl ? RESIDUAL_OVERFLOW : 0;
            put32(h + 44, len < edtl ? edtl - len : len - edtl);
        } else {
            put32(h + 24, 0);
        }
        put32(h + 36, data_sn++);
        put32(h + 40, at);
        answer(c, h, data, n);
    }
}

static void
ask_for_data(struct conn *c, struct task *t)
{
    uint8_t *h = new_header(c, R2T, t->itt);
    uint32_t n = t->len - t->done;

    memcpy(h + 8, t->lun, 8);
    put32(h + 20, t->ttt);
    put_sns(c, h, false);
    put32(h + 36, t->r2t_sn++);
    put32(h + 40, t->done);
    put32(h + 44, n < c->max_burst ? n : c->max_burst);
    answer(c, h, NULL, 0);
}

/* ---- writes whose data is not all there ----------------------------------------------------- */

static struct task *
find_task(struct conn *c, uint32_t itt)
{
    struct task *t = &c->tasks[itt % TASKS];

    if (t->used && t->itt == itt)
        return t;
    for (t = c->tasks; t < c->tasks + TASKS; t++) {
        if (t->used && t->itt == itt)
            return t;
    }
    return NULL;
}

static struct task *
new_task(struct conn *c, uint32_t itt)
{
    struct task *t = &c->tasks[itt % TASKS];

    for (int i = 0; t->used && i < TASKS; i++)
        t = &c->tasks[i];
    if (t->used)
        return NULL;
    *t = (struct task){.used = true, .itt = itt, .ttt = (uint32_t)(t - c->tasks) + 1};
    return t;
}

/* ---- reading and writing -------------------------------------------------------------------- */

static enum direction
read_or_write(const uint8_t *cdb, uint64_t *lba, uint32_t *n)
{
    switch (cdb[0]) {
    case 0x08: /* READ(6), WRITE(6) */
    case 0x0a:
        *lba = get24(cdb + 1) & 0x1fffff;
        *n = cdb[4] != 0 ? cdb[4] : 256;
        return cdb[0] == 0x08 ? READ : WRITE;
    case 0x28: /* (10) */
    case 0x2a:
        *lba = get32(cdb + 2);
        *n = (uint32_t)cdb[7] << 8 | cdb[8];
        return cdb[0] == 0x28 ? READ : WRITE;
    case 0xa8: /* (12) */
    case 0xaa:
        *lba = get32(cdb + 2);
        *n = get32(cdb + 6);
        return cdb[0] == 0xa8 ? READ : WRITE;
    case 0x88: /* (16) */
    case 0x8a:
        *lba = get64(cdb + 2);
        *n = get32(cdb + 10);
        return cdb[0] == 0x88 ? READ : WRITE;
    default:
        return NEITHER;
    }
}

static bool
in_range(uint64_t lba, uint32_t n)
{
    return lba <= blocks && n <= blocks - lba;
}

static void
write_command(struct conn *c, uint64_t lba, uint32_t len)
{
    uint32_t itt = get32(c->header + 16);

    if (c->data_len >= len) {
        respond(c, itt, STATUS_GOOD, NULL, 0, 0);
        return;
    }
    struct task *t = new_task(c, itt);
    if (t == NULL) {
        respond(c, itt, STATUS_TASK_SET_FULL, NULL, 0, 0);
        return;
    }
    memcpy(t->lun, c->header + 8, 8);
    t->offset = lba * options.block_size;
    t->len = len;
    t->done = c->data_len;
    if ((c->header[1] & FINAL) != 0) /* else more comes unasked */
        ask_for_data(c, t);
}

static void
command(struct conn *c)
{
    uint64_t lba = 0;
    uint32_t n = 0;
    enum direction d = read_or_write(c->header + 32, &lba, &n);

    if (d == NEITHER)
        other_command(c);
    else if (!in_range(lba, n))
        check_condition(c, get32(c->header + 16), ASC_OUT_OF_RANGE);
    else if (d == READ)
        data_in(c, lba * options.block_size, NULL, n * options.block_size);
    else
        write_command(c, lba, n * options.block_size);
}

/* Data that was asked for, or came unasked after its command. */
static void
data_out(struct conn *c)
{
    struct task *t = find_task(c, get32(c->header + 16));

    if (t == NULL)
        return;
    t->done += c->data_len;
    if ((c->header[1] & FINAL) == 0)
        return;
    if (t->done < t->len) {
        ask_for_data(c, t);
        return;
    }
    respond(c, t->itt, STATUS_GOOD, NULL, 0, 0);
    t->used = false;
}

/* ---- PDUs ----------------------------------------------------------------------------------- */

void
echo(struct conn *c, uint8_t opcode, const uint8_t *data, uint32_t n)
{
    uint8_t *h = new_header(c, opcode + ANSWER, get32(c->header + 16));

    memcpy(h + 8, c->header + 8, 8);
    put32(h + 20, NO_TAG);
    put_sns(c, h, true);
    answer(c, h, data, n);
    flush(c); /* while the data is there */
}

static void
nothing_but_status(struct conn *c, uint8_t opcode)
{
    uint8_t *h = new_header(c, opcode + ANSWER, get32(c->header + 16));

    put_sns(c, h, true);
    answer(c, h, NULL, 0);
}

/* A whole PDU is there.  False: the connection is over. */
static bool
serve(struct conn *c)
{
    const uint8_t *h = c->header;
    uint8_t opcode = h[0] & OPCODE;

    if ((h[0] & IMMEDIATE) == 0 && opcode != DATA_OUT && opcode != SNACK && c->full_feature)
        c->exp_cmd_sn = get32(h + 24) + 1;
    switch (opcode) {
    case LOGIN:
        login(c);
        return true;
    case NOP_OUT:
        if (get32(h + 16) != NO_TAG)
            echo(c, NOP_OUT, c->text, c->data_len);
        return true;
    case SCSI_COMMAND:
        command(c);
        return true;
    case DATA_OUT:
        data_out(c);
        return true;
    case TASK_MANAGEMENT:
        nothing_but_status(c, TASK_MANAGEMENT);
        return true;
    case TEXT:
        send_targets(c);
        return true;
    case LOGOUT:
        nothing_but_status(c, LOGOUT);
        flush(c);
        return false;
    default:
        (void)fprintf(stderr, "null_target: opcode %02x\n", opcode);
        return false;
    }
}

/* Where the data of the PDU goes whose header is there.  False: it would go wrong. */
static bool
choose_place(struct conn *c)
{
    const uint8_t *h = c->header;
    uint64_t lba = 0;
    uint32_t n = 0;

    c->into = NULL;
    switch (h[0] & OPCODE) {
    case DATA_OUT: {
        struct task *t = find_task(c, get32(h + 16));
        uint32_t at = get32(h + 40);

        if (t != NULL && (at > t->len || c->data_len > t->len - at))
            return false;
        if (t != NULL && memory != NULL)
            c->into = memory + t->offset + at;
        return true;
    }
    case SCSI_COMMAND:
        if (memory != NULL && c->data_len > 0 && read_or_write(h + 32, &lba, &n) == WRITE &&
            in_range(lba, n) && c->data_len <= n * options.block_size)
            c->into = memory + lba * options.block_size;
        return true;
    default:
        c->into = c->text;
        return c->data_len <= TEXT_MAX;
    }
}

/* Takes bytes of the header, at most n.  Returns how many, or -1. */
static ssize_t
feed_header(struct conn *c, const uint8_t *b, size_t n)
{
    bool digest = c->header_digest && c->full_feature;
    size_t len = c->header_len - c->header_at;

    if (len > n)
        len = n;
    memcpy(c->header + c->header_at, b, len);
    c->header_at += (uint32_t)len;
    if (c->header_at < c->header_len)
        return (ssize_t)len;
    if (c->header_len == BHS) {
        c->header_len += c->header[4] * 4u + (digest ? 4 : 0);
        if (c->header_at < c->header_len)
            return (ssize_t)len;
    }
    if (digest) {
        uint32_t want = ~crc32c(~0u, c->header, c->header_len - 4);

        if (memcmp(c->header + c->header_len - 4, &want, 4) != 0)
            return -1;
    }
    c->data_len = get24(c->header + 5);
    c->data_at = 0;
    c->trailer_len = 0;
    if (c->data_len > 0)
        c->trailer_len = padding(c->data_len) + (c->data_digest && c->full_feature ? 4 : 0);
    c->crc = ~0u;
    return choose_place(c) ? (ssize_t)len : -1;
}

/* Takes bytes of data, padding and digest.  Returns how many. */
static size_t
feed_data(struct conn *c, const uint8_t *b, size_t n)
{
    size_t taken = 0;

    if (c->data_at < c->data_len) {
        taken = c->data_len - c->data_at;
        if (taken > n)
            taken = n;
        if (c->data_digest && c->full_feature)
            c->crc = crc32c(c->crc, b, taken);
        if (c->into != NULL)
            memcpy(c->into + c->data_at, b, taken);
        c->data_at += (uint32_t)taken;
    }
    if (c->data_at >= c->data_len && taken < n) {
        uint32_t at = c->data_at - c->data_len;
        size_t len = c->trailer_len - at;

        if (len > n - taken)
            len = n - taken;
        memcpy(c->trailer + at, b + taken, len);
        c->data_at += (uint32_t)len;
        taken += len;
    }
    return taken;
}

static bool
data_is_right(const struct conn *c)
{
    if (c->data_len == 0 || !c->data_digest || !c->full_feature)
        return true;
    uint32_t pad = padding(c->data_len), want = ~crc32c(c->crc, c->trailer, pad);
    return memcmp(c->trailer + pad, &want, 4) == 0;
}

bool
feed(struct conn *c, const uint8_t *b, size_t n)
{
    while (n > 0) {
        if (c->header_at < c->header_len) {
            ssize_t taken = feed_header(c, b, n);

            if (taken < 0)
                return false;
            b += taken;
            n -= (size_t)taken;
            if (c->header_at < c->header_len)
                continue;
        }
        size_t taken = feed_data(c, b, n);
        b += taken;
        n -= taken;
        if (c->data_at < c->data_len + c->trailer_len)
            return true;
        if (!data_is_right(c))
            return false;
        if (c->into == c->text)
            c->text[c->data_len] = '\0';
        if (!serve(c))
            return false;
        c->header_at = 0;
        c->header_len = BHS;
    }
    return true;
}
