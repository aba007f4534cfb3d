/* SPDX-License-Identifier: MIT */
/* tests/bench/null_target.c - the yardstick: an iSCSI target that does as little as it can.
 *
 * It shares no code with the library, so that neither flatters the other.  One thread, epoll (or
 * spinning), one receive of 512 KiB for many PDUs, one send for all answers of a batch.  LUNs 0 to
 * 7 are the same unit: reads give a fixed pattern and writes vanish, or, with -m, memory.  It
 * believes what the initiator says, and is for loopback only.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

#define RECV_SIZE    (512u * 1024)
#define PATTERN_SIZE (1u << 20)
#define TEXT_MAX     65536u /* of a login, text or NOP-Out */
#define AHS_MAX      1024
#define TASKS        1024
#define HEADERS      1024 /* of one batch of answers */
#define HEADER_SIZE  64   /* a header, its digest, and the data's at DATA_DIGEST_AT */
#define IOVS         1024
#define SPARE        32 /* headers and iovecs that one more PDU may need, with a wide margin */
#define EVENTS       64
#define LUNS         8

#define BHS            48u
#define DATA_DIGEST_AT 56
#define NO_TAG         0xffffffffu

#define TARGET "iqn.2026-11.example:bench"

enum opcode {
    NOP_OUT = 0x00,
    SCSI_COMMAND = 0x01,
    TASK_MANAGEMENT = 0x02,
    LOGIN = 0x03,
    TEXT = 0x04,
    DATA_OUT = 0x05,
    LOGOUT = 0x06,
    SNACK = 0x10,
    ANSWER = 0x20, /* added to the request's, mostly */
    SCSI_RESPONSE = 0x21,
    DATA_IN = 0x25,
    R2T = 0x31,
};
#define OPCODE    0x3f
#define IMMEDIATE 0x40
#define FINAL     0x80

#define STATUS_GOOD            0x00
#define STATUS_CHECK_CONDITION 0x02
#define STATUS_TASK_SET_FULL   0x28

#define RESIDUAL_UNDERFLOW 0x02
#define RESIDUAL_OVERFLOW  0x04

#define KEY_ILLEGAL_REQUEST 5
#define ASC_INVALID_OPCODE  0x20
#define ASC_OUT_OF_RANGE    0x21
#define ASC_INVALID_FIELD   0x24

enum direction { NEITHER, READ, WRITE };

static struct {
    int port, cpu;
    bool spin, initial_r2t, no_immediate;
    uint32_t max_data_in, max_burst, first_burst, window, block_size;
    uint64_t memory_size;
} options = {
    .port = 3264,
    .cpu = -1,
    .max_data_in = 1 << 20,
    .max_burst = 1 << 20,
    .first_burst = 262144,
    .window = 256,
    .block_size = 512,
};

static uint8_t *memory, *pattern;
static uint64_t blocks;
static const uint8_t zeroes[4];

/* A write whose data is still to come. */
struct task {
    bool used;
    uint32_t itt, ttt, len, done, r2t_sn;
    uint8_t lun[8];
    uint64_t offset;
};

struct conn {
    int fd;
    bool full_feature, header_digest, data_digest, answered, initial_r2t;
    uint32_t max_data_in, first_burst, max_burst;
    uint32_t stat_sn, exp_cmd_sn;
    uint16_t tsih;
    /* the PDU that is coming */
    uint8_t header[BHS + AHS_MAX + 4];
    uint32_t header_at, header_len; /* bytes there, bytes with AHS and digest */
    uint32_t data_at, data_len, trailer_len;
    uint32_t crc;
    uint8_t *into; /* where its data goes; NULL: nowhere */
    uint8_t *text; /* TEXT_MAX and a NUL */
    uint8_t trailer[8];
    struct task tasks[TASKS];
    /* the answers of this batch */
    uint8_t *headers;
    uint32_t nheaders;
    int niov;
    struct iovec iov[IOVS];
};

/* ---- bytes ---------------------------------------------------------------------------------- */

static uint32_t
get24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static uint32_t
get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | get24(p + 1);
}

static uint64_t
get64(const uint8_t *p)
{
    return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static void
put24(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)v;
}

static void
put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    put24(p + 1, v);
}

static void
put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

static uint32_t
padding(uint32_t len)
{
    return -len & 3;
}

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

static void
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

/* The next answer's header, zeroed. */
static uint8_t *
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

static void
put_sns(struct conn *c, uint8_t *h, bool has_status)
{
    put32(h + 24, has_status ? c->stat_sn++ : c->stat_sn);
    put32(h + 28, c->exp_cmd_sn);
    put32(h + 32, c->exp_cmd_sn + options.window - 1);
}

/* Adds a PDU; the data has to stay until the flush. */
static void
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

static void
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

static void
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

/* Data-In PDUs with the status in the last.  buf, or what is stored at offset. */
static void
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

/* ---- login ---------------------------------------------------------------------------------- */

struct text {
    char b[8192];
    uint32_t len;
};

static void
say(struct text *t, const char *key, const char *value)
{
    int n = snprintf(t->b + t->len, sizeof(t->b) - t->len, "%s=%s", key, value);

    if (n >= 0 && (size_t)n + 1 < sizeof(t->b) - t->len)
        t->len += (uint32_t)n + 1;
}

static void
say_number(struct text *t, const char *key, uint32_t value)
{
    char number[16];

    (void)snprintf(number, sizeof(number), "%u", value);
    say(t, key, number);
}

static bool
say_bool(struct text *t, const char *key, bool value)
{
    say(t, key, value ? "Yes" : "No");
    return value;
}

static bool
say_digest(struct text *t, const char *key, const char *offered)
{
    bool on = strncmp(offered, "CRC32C", 6) == 0;

    say(t, key, on ? "CRC32C" : "None");
    return on;
}

/* Keys that are answered the same whatever is offered, and those that want no answer. */
static const struct {
    const char *key, *value;
} fixed_keys[] = {
    {"AuthMethod", "None"},         {"MaxOutstandingR2T", "1"},  {"MaxConnections", "1"},
    {"ErrorRecoveryLevel", "0"},    {"DefaultTime2Retain", "0"}, {"DataPDUInOrder", "Yes"},
    {"DataSequenceInOrder", "Yes"}, {"IFMarker", "No"},          {"OFMarker", "No"},
    {"InitiatorName", NULL},        {"InitiatorAlias", NULL},    {"TargetName", NULL},
    {"SessionType", NULL},
};

static void
fixed_key(struct text *t, const char *key)
{
    for (size_t i = 0; i < sizeof(fixed_keys) / sizeof(fixed_keys[0]); i++) {
        if (strcmp(key, fixed_keys[i].key) == 0) {
            if (fixed_keys[i].value != NULL)
                say(t, key, fixed_keys[i].value);
            return;
        }
    }
    say(t, key, "NotUnderstood");
}

static uint32_t
smaller(struct text *t, const char *key, uint32_t a, uint32_t b)
{
    say_number(t, key, a < b ? a : b);
    return a < b ? a : b;
}

static void
login_key(struct conn *c, struct text *t, const char *key, const char *value)
{
    uint32_t n = (uint32_t)strtoul(value, NULL, 0);
    bool yes = value[0] == 'Y';

    if (strcmp(key, "HeaderDigest") == 0) {
        c->header_digest = say_digest(t, key, value);
    } else if (strcmp(key, "DataDigest") == 0) {
        c->data_digest = say_digest(t, key, value);
    } else if (strcmp(key, "MaxRecvDataSegmentLength") == 0) {
        c->max_data_in = n < options.max_data_in ? n : options.max_data_in;
        say_number(t, key, 1u << 20); /* declared, not negotiated */
    } else if (strcmp(key, "MaxBurstLength") == 0) {
        c->max_burst = smaller(t, key, n, options.max_burst);
    } else if (strcmp(key, "FirstBurstLength") == 0) {
        c->first_burst = smaller(t, key, n, options.first_burst);
    } else if (strcmp(key, "InitialR2T") == 0) {
        c->initial_r2t = say_bool(t, key, yes || options.initial_r2t);
    } else if (strcmp(key, "ImmediateData") == 0) {
        (void)say_bool(t, key, yes && !options.no_immediate);
    } else if (strcmp(key, "DefaultTime2Wait") == 0) {
        say_number(t, key, n);
    } else {
        fixed_key(t, key);
    }
}

static void
login(struct conn *c)
{
    static uint16_t sessions;
    struct text t = {.len = 0};
    uint8_t *request = c->header, stages = request[1] & 0x0f;
    bool transit = (request[1] & FINAL) != 0;

    if (!c->answered) { /* RFC 7143 13.9: the tag is in the first response only */
        c->exp_cmd_sn = get32(request + 24);
        c->tsih = ++sessions != 0 ? sessions : ++sessions;
        say(&t, "TargetPortalGroupTag", "1");
    }
    c->answered = true;
    for (uint32_t i = 0; i < c->data_len && c->text[i] != 0;) {
        char *key = (char *)c->text + i, *value = strchr(key, '=');

        i += (uint32_t)strlen(key) + 1;
        if (value == NULL)
            continue;
        *value++ = '\0';
        login_key(c, &t, key, value);
    }
    uint8_t *h = new_header(c, LOGIN + ANSWER, get32(request + 16));
    h[1] = transit ? FINAL | stages : stages & 0x0c;
    memcpy(h + 8, request + 8, 6); /* ISID */
    h[14] = (uint8_t)(c->tsih >> 8);
    h[15] = (uint8_t)c->tsih;
    put_sns(c, h, true);
    answer(c, h, (uint8_t *)t.b, t.len);
    flush(c);
    if (transit && (stages & 3) == 3)
        c->full_feature = true;
}

/* ---- commands ------------------------------------------------------------------------------- */

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

/* Returns the number of bytes, 0 when there is no such page. */
static uint32_t
vital_page(const uint8_t *cdb, uint8_t lun, uint8_t *b)
{
    static const uint8_t pages[] = {0x00, 0x80, 0x83, 0xb0};

    b[1] = cdb[2];
    switch (cdb[2]) {
    case 0x00:
        b[3] = sizeof(pages);
        memcpy(b + 4, pages, sizeof(pages));
        return 4 + sizeof(pages);
    case 0x80:
        b[3] = 4;
        memcpy(b + 4, "0001", 4);
        return 8;
    case 0x83: /* one NAA name */
        b[3] = 12;
        b[4] = 1;
        b[5] = 3;
        b[7] = 8;
        b[8] = 0x50;
        b[15] = (uint8_t)(lun + 1);
        return 16;
    case 0xb0:
        b[3] = 0x3c;
        return 64;
    default:
        return 0;
    }
}

static uint32_t
inquiry(const uint8_t *cdb, uint8_t lun, uint8_t *b)
{
    if ((cdb[1] & 1) != 0)
        return vital_page(cdb, lun, b);
    b[2] = 5; /* SPC-3 */
    b[3] = 2;
    b[4] = 91;
    b[7] = 2; /* CMDQUE */
    memcpy(b + 8, "BENCH   NULL            0001", 28);
    return 96;
}

static uint32_t
report_luns(uint8_t *b)
{
    put32(b, LUNS * 8);
    for (int i = 0; i < LUNS; i++)
        b[8 + i * 8 + 1] = (uint8_t)i;
    return 8 + LUNS * 8;
}

static uint32_t
least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Everything but reading and writing. */
static void
other_command(struct conn *c)
{
    const uint8_t *cdb = c->header + 32;
    uint32_t itt = get32(c->header + 16), n = 0;
    uint8_t b[512] = {0};

    switch (cdb[0]) {
    case 0x00: /* TEST UNIT READY, START STOP, PREVENT, SYNCHRONIZE CACHE, UNMAP: all well */
    case 0x1b:
    case 0x1e:
    case 0x35:
    case 0x42:
    case 0x91:
        respond(c, itt, STATUS_GOOD, NULL, 0, 0);
        return;
    case 0x12:
        n = least(inquiry(cdb, c->header[9], b), (uint32_t)cdb[3] << 8 | cdb[4]);
        if (n == 0) {
            check_condition(c, itt, ASC_INVALID_FIELD);
            return;
        }
        break;
    case 0x1a: /* MODE SENSE(6) */
        b[0] = 3;
        n = least(4, cdb[4]);
        break;
    case 0x5a: /* MODE SENSE(10) */
        b[1] = 6;
        n = 8;
        break;
    case 0x03: /* REQUEST SENSE */
        b[0] = 0x70;
        b[7] = 10;
        n = 18;
        break;
    case 0x25: /* READ CAPACITY(10) */
        put32(b, blocks - 1 > UINT32_MAX ? UINT32_MAX : (uint32_t)(blocks - 1));
        put32(b + 4, options.block_size);
        n = 8;
        break;
    case 0x9e: /* READ CAPACITY(16) */
        if ((cdb[1] & 31) == 0x10) {
            put64(b, blocks - 1);
            put32(b + 8, options.block_size);
            n = least(32, get32(cdb + 10));
        }
        break;
    case 0xa0:
        n = least(report_luns(b), get32(cdb + 6));
        break;
    default:
        break;
    }
    if (n == 0)
        check_condition(c, itt, ASC_INVALID_OPCODE);
    else
        data_in(c, 0, b, n);
    flush(c); /* while b is there */
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

/* The same back: NOP-In, or Text Response with what is to be told. */
static void
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
send_targets(struct conn *c)
{
    struct text t = {.len = 0};
    char address[64];

    (void)snprintf(address, sizeof(address), "127.0.0.1:%d,1", options.port);
    say(&t, "TargetName", TARGET);
    say(&t, "TargetAddress", address);
    echo(c, TEXT, (uint8_t *)t.b, t.len);
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

/* Takes n received bytes.  False: the connection is over. */
static bool
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

/* ---- connections ---------------------------------------------------------------------------- */

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static void
new_conn(int listener, int ep)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct conn *c;

    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        die("memory");
    c->fd = fd;
    c->header_len = BHS;
    c->max_data_in = 8192; /* what holds until something else is said */
    c->first_burst = 65536;
    c->max_burst = 262144;
    c->initial_r2t = true;
    c->text = malloc(TEXT_MAX + 1);
    c->headers = aligned_alloc(HEADER_SIZE, HEADERS * HEADER_SIZE);
    if (c->text == NULL || c->headers == NULL)
        die("memory");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
        die("epoll_ctl");
}

static void
free_conn(struct conn *c)
{
    (void)close(c->fd);
    free(c->text);
    free(c->headers);
    free(c);
}

static void
readable(struct conn *c, uint8_t *buf)
{
    ssize_t n = recv(c->fd, buf, RECV_SIZE, MSG_DONTWAIT);
    bool goes_on = n < 0 && (errno == EAGAIN || errno == EINTR);

    if (n > 0) {
        goes_on = feed(c, buf, (size_t)n);
        flush(c);
    }
    if (!goes_on)
        free_conn(c);
}

static void __attribute__((noreturn)) run(int listener)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ready[EVENTS];
    uint8_t *buf = aligned_alloc(4096, RECV_SIZE);
    int ep = epoll_create1(EPOLL_CLOEXEC);

    if (buf == NULL || ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(ep, ready, EVENTS, options.spin ? 0 : -1);

        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr == NULL)
                new_conn(listener, ep);
            else
                readable(ready[i].data.ptr, buf);
        }
    }
}

/* ---- start ---------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) usage(int status)
{
    (void)fprintf(status == 0 ? stdout : stderr,
                  "usage: null_target [OPTION...]\n"
                  "  -p PORT   on loopback (3264); 0 takes a free one\n"
                  "  -c CPU    runs there\n"
                  "  -S        spins instead of sleeping\n"
                  "  -m MIB    memory instead of a pattern\n"
                  "  -b BYTES  block size (512)\n"
                  "  -R        InitialR2T=Yes\n"
                  "  -I        ImmediateData=No\n"
                  "  -d BYTES  of one Data-In at most (1 MiB)\n"
                  "  -B BYTES  MaxBurstLength (1 MiB)\n"
                  "  -F BYTES  FirstBurstLength (256 KiB)\n"
                  "  -q N      commands that may be under way (256)\n");
    exit(status);
}

static uint64_t
number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 0);

    if (end == text || *end != '\0')
        usage(2);
    return n;
}

static void
read_options(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "p:c:Sm:b:RId:B:F:q:h")) != -1) {
        uint64_t n = optarg != NULL && strchr("pcmbdBFq", o) != NULL ? number(optarg) : 0;

        switch (o) {
        case 'p':
            options.port = (int)n;
            break;
        case 'c':
            options.cpu = (int)n;
            break;
        case 'S':
            options.spin = true;
            break;
        case 'm':
            options.memory_size = n << 20;
            break;
        case 'b':
            options.block_size = (uint32_t)n;
            break;
        case 'R':
            options.initial_r2t = true;
            break;
        case 'I':
            options.no_immediate = true;
            break;
        case 'd':
            options.max_data_in = (uint32_t)n;
            break;
        case 'B':
            options.max_burst = (uint32_t)n;
            break;
        case 'F':
            options.first_burst = (uint32_t)n;
            break;
        case 'q':
            options.window = (uint32_t)n;
            break;
        default:
            usage(o == 'h' ? 0 : 2);
        }
    }
    if (options.block_size == 0 || options.window == 0 || options.max_data_in == 0)
        usage(2);
}

static void
make_unit(void)
{
    blocks = (1ull << 40) / options.block_size;
    if (options.memory_size > 0) {
        blocks = options.memory_size / options.block_size;
        memory = mmap(NULL, options.memory_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            die("memory");
        memset(memory, 0, options.memory_size);
    }
    pattern = aligned_alloc(4096, PATTERN_SIZE);
    if (pattern == NULL)
        die("memory");
    for (uint32_t i = 0; i < PATTERN_SIZE; i++)
        pattern[i] = (uint8_t)(i * 131 >> 3);
}

static int
listen_there(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)options.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (void *)&a, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (void *)&a, &len) < 0)
        die("listen");
    options.port = ntohs(a.sin_port);
    (void)printf("listening on 127.0.0.1:%d\n", options.port);
    (void)fflush(stdout);
    return fd;
}

int
main(int argc, char **argv)
{
    cpu_set_t set;

    read_options(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    CPU_ZERO(&set);
    if (options.cpu >= 0) {
        CPU_SET((size_t)options.cpu, &set);
        if (sched_setaffinity(0, sizeof(set), &set) < 0)
            die("CPU");
    }
    make_unit();
    run(listen_there());
}
