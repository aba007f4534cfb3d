/* SPDX-License-Identifier: MIT */
#include "capture/pcapng.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_SECTION = 0x0a0d0d0a,
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6,
};
enum {
    OPT_END = 0,
    OPT_COMMENT = 1,
    OPT_SECTION_PROGRAM = 4,
    OPT_IF_NAME = 2,
    OPT_IF_TSRESOL = 9,
    OPT_PACKET_FLAGS = 2,
    OPT_STAT_BEGIN = 2,
    OPT_STAT_END = 3,
    OPT_STAT_RECEIVED = 4,
    OPT_STAT_DROPPED = 5,
};
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_RAW     101
#define SECTION_BYTES    24 /* of each kind of block, without options and the length behind them */
#define INTERFACE_BYTES  16
#define PACKET_BYTES     28
#define STATISTICS_BYTES 20

int
pcapng_init(struct pcapng *p, size_t room)
{
    assert(room >= 8192 && (room & (room - 1)) == 0);
    *p = (struct pcapng){.mem = malloc(room), .size = room};
    return p->mem != NULL ? 0 : -ENOMEM;
}

void
pcapng_fini(struct pcapng *p)
{
    free(p->mem);
    p->mem = NULL;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void
pcapng_put(struct pcapng *p, const void *bytes, size_t len)
{
    size_t at = (size_t)(p->head & (p->size - 1));
    size_t n = p->size - at < len ? p->size - at : len;

    assert(len <= p->size - (size_t)(p->head - p->tail));
    if (len == 0)
        return;
    memcpy(p->mem + at, bytes, n);
    memcpy(p->mem, (const uint8_t *)bytes + n, len - n);
    p->head += len;
}

static void
put16(struct pcapng *p, uint16_t v)
{
    pcapng_put(p, &v, sizeof(v));
}

static void
put32(struct pcapng *p, uint32_t v)
{
    pcapng_put(p, &v, sizeof(v));
}

static void
put_time(struct pcapng *p, uint64_t ns)
{
    put32(p, (uint32_t)(ns >> 32));
    put32(p, (uint32_t)ns);
}

static void
pcapng_put_pad(struct pcapng *p, size_t len)
{
    pcapng_put(p, "\0\0\0", (4 - len % 4) % 4);
}

static size_t
pcapng_padded(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

/* ---- options -------------------------------------------------------------------------------- */

static size_t
text_len(const char *text)
{
    return strnlen(text, PCAPNG_TEXT_MAX);
}

static void
put_option(struct pcapng *p, uint16_t code, const void *value, size_t len)
{
    put16(p, code);
    put16(p, (uint16_t)len);
    pcapng_put(p, value, len);
    pcapng_put_pad(p, len);
}

static void
put_text(struct pcapng *p, uint16_t code, const char *text)
{
    put_option(p, code, text, text_len(text));
}

static size_t
option_bytes(size_t len)
{
    return 4 + pcapng_padded(len);
}

static void
put_block(struct pcapng *p, uint32_t type, uint32_t bytes)
{
    put32(p, type);
    put32(p, bytes);
}

/* ---- blocks --------------------------------------------------------------------------------- */

void
pcapng_begin(struct pcapng *p, const char *about, const char *interface)
{
    static const char program[] = "lunette";
    uint32_t section = (uint32_t)(SECTION_BYTES + option_bytes(text_len(about)) +
                                  option_bytes(sizeof(program) - 1) + option_bytes(0) + 4);
    uint32_t iface = (uint32_t)(INTERFACE_BYTES + option_bytes(text_len(interface)) +
                                option_bytes(1) + option_bytes(0) + 4);
    const uint8_t nanoseconds = 9;

    assert(p->head == 0);
    put_block(p, BLOCK_SECTION, section);
    put32(p, BYTE_ORDER_MAGIC);
    put16(p, 1); /* version 1.0 */
    put16(p, 0);
    put32(p, UINT32_MAX); /* how long the section is, nobody knows yet */
    put32(p, UINT32_MAX);
    put_text(p, OPT_COMMENT, about);
    put_text(p, OPT_SECTION_PROGRAM, program);
    put_option(p, OPT_END, NULL, 0);
    put32(p, section);

    put_block(p, BLOCK_INTERFACE, iface);
    put16(p, LINKTYPE_RAW);
    put16(p, 0);
    put32(p, 0); /* packets of any length */
    put_text(p, OPT_IF_NAME, interface);
    put_option(p, OPT_IF_TSRESOL, &nanoseconds, 1);
    put_option(p, OPT_END, NULL, 0);
    put32(p, iface);
}

size_t
pcapng_packet(struct pcapng *p, uint64_t unix_ns, bool outbound, const struct iovec *parts, int n,
              uint32_t captured, uint32_t length, const char *comment)
{
    size_t options = option_bytes(4) + option_bytes(0);
    const uint32_t flags = outbound ? 2 : 1;
    size_t bytes;

    if (comment != NULL)
        options += option_bytes(text_len(comment));
    bytes = PACKET_BYTES + pcapng_padded(captured) + options + 4;
    if (p->size - (size_t)(p->head - p->tail) < bytes + PCAPNG_END_ROOM)
        return 0;
    put_block(p, BLOCK_PACKET, (uint32_t)bytes);
    put32(p, 0); /* the interface */
    put_time(p, unix_ns);
    put32(p, captured);
    put32(p, length);
    for (int i = 0; i < n; i++)
        pcapng_put(p, parts[i].iov_base, parts[i].iov_len);
    pcapng_put_pad(p, captured);
    put_option(p, OPT_PACKET_FLAGS, &flags, sizeof(flags));
    if (comment != NULL)
        put_text(p, OPT_COMMENT, comment);
    put_option(p, OPT_END, NULL, 0);
    put32(p, (uint32_t)bytes);
    return bytes;
}

static void
put_time_option(struct pcapng *p, uint16_t code, uint64_t ns)
{
    const uint32_t halves[2] = {(uint32_t)(ns >> 32), (uint32_t)ns};

    put_option(p, code, halves, sizeof(halves));
}

void
pcapng_end(struct pcapng *p, uint64_t begun_ns, uint64_t unix_ns, uint64_t packets,
           uint64_t dropped, const char *comment)
{
    uint32_t bytes = (uint32_t)(STATISTICS_BYTES + option_bytes(text_len(comment)) +
                                4 * option_bytes(8) + option_bytes(0) + 4);

    static_assert(STATISTICS_BYTES + 4 + PCAPNG_TEXT_MAX + 1 + 4 * 12 + 4 + 4 <= PCAPNG_END_ROOM,
                  "the last block fits");
    put_block(p, BLOCK_STATISTICS, bytes);
    put32(p, 0);
    put_time(p, unix_ns);
    put_text(p, OPT_COMMENT, comment);
    put_time_option(p, OPT_STAT_BEGIN, begun_ns);
    put_time_option(p, OPT_STAT_END, unix_ns);
    put_option(p, OPT_STAT_RECEIVED, &packets, sizeof(packets));
    put_option(p, OPT_STAT_DROPPED, &dropped, sizeof(dropped));
    put_option(p, OPT_END, NULL, 0);
    put32(p, bytes);
}
