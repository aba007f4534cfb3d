/* SPDX-License-Identifier: MIT */
/* tests/bench/null_target.h - the parts of the bare target. */
#ifndef TESTS_BENCH_NULL_TARGET_H
#define TESTS_BENCH_NULL_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define PATTERN_SIZE (1u << 20)
#define TEXT_MAX     65536u /* of a login, text or NOP-Out */
#define AHS_MAX      1024
#define TASKS        1024
#define HEADERS      1024         /* of one batch of answers */
#define HEADER_SIZE  ((size_t)64) /* a header, its digest, and the data's at DATA_DIGEST_AT */
#define IOVS         1024

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

struct options {
    int port, cpu;
    bool spin, initial_r2t, no_immediate;
    uint32_t max_data_in, max_burst, first_burst, window, block_size;
    uint64_t memory_size;
};

/* The program is one thread with one unit. */
extern struct options options;
extern uint8_t *memory;  /* NULL: reads give the pattern */
extern uint8_t *pattern; /* PATTERN_SIZE bytes */
extern uint64_t blocks;

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

static inline uint32_t
get24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline uint32_t
get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | get24(p + 1);
}

static inline uint64_t
get64(const uint8_t *p)
{
    return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static inline void
put24(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)v;
}

static inline void
put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    put24(p + 1, v);
}

static inline void
put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

static inline uint32_t
padding(uint32_t len)
{
    return -len & 3;
}

/* ---- null_pdu.c: what every I/O needs ------------------------------------------------------- */

/* Takes n received bytes.  False: the connection is over. */
bool feed(struct conn *c, const uint8_t *b, size_t n);

/* Sends all answers. */
void flush(struct conn *c);

/* The next answer's header, zeroed but for opcode, F and tag. */
uint8_t *new_header(struct conn *c, uint8_t opcode, uint32_t itt);

void put_sns(struct conn *c, uint8_t *h, bool has_status);

/* Adds a PDU; the data has to stay until the flush. */
void answer(struct conn *c, uint8_t *h, const uint8_t *data, uint32_t n);

void respond(struct conn *c, uint32_t itt, uint8_t status, const uint8_t *sense, uint32_t sense_len,
             uint32_t underflow);
void check_condition(struct conn *c, uint32_t itt, uint8_t asc);

/* Data-In PDUs with the status in the last.  buf, or what is stored at offset. */
void data_in(struct conn *c, uint64_t offset, const uint8_t *buf, uint32_t len);

/* The same back: NOP-In, or Text Response with what is to be told. */
void echo(struct conn *c, uint8_t opcode, const uint8_t *data, uint32_t n);

/* ---- the rest ------------------------------------------------------------------------------- */

void login(struct conn *c);         /* null_login.c */
void send_targets(struct conn *c);  /* null_login.c */
void other_command(struct conn *c); /* null_scsi.c: everything but reading and writing */

#endif
