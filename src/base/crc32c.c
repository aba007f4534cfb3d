/* SPDX-License-Identifier: MIT */
#include "base/crc32c.h"

#if HAVE_ISAL
#include <isa-l/crc.h>
#endif

/* The CRC is linear: the entry of a byte is the sum of those of its bits, which are the constants.
 */
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                           \
    (((i)&1 ? (a) : 0) ^ ((i)&2 ? (b) : 0) ^ ((i)&4 ? (c) : 0) ^ ((i)&8 ? (d) : 0) ^               \
     ((i)&16 ? (e) : 0) ^ ((i)&32 ? (f) : 0) ^ ((i)&64 ? (g) : 0) ^ ((i)&128 ? (h) : 0))
#define ENTRY4(i, ...)                                                                             \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__),               \
        ENTRY((i) + 3, __VA_ARGS__)
#define ENTRY16(i, ...)                                                                            \
    ENTRY4(i, __VA_ARGS__), ENTRY4((i) + 4, __VA_ARGS__), ENTRY4((i) + 8, __VA_ARGS__),            \
        ENTRY4((i) + 12, __VA_ARGS__)
#define ENTRY64(i, ...)                                                                            \
    ENTRY16(i, __VA_ARGS__), ENTRY16((i) + 16, __VA_ARGS__), ENTRY16((i) + 32, __VA_ARGS__),       \
        ENTRY16((i) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
    {                                                                                              \
        ENTRY64(0, __VA_ARGS__), ENTRY64(64, __VA_ARGS__), ENTRY64(128, __VA_ARGS__),              \
            ENTRY64(192, __VA_ARGS__)                                                              \
    }

/* crc_table[n][b]: what byte b adds to the CRC when n more bytes follow it. */
static const uint32_t crc_table[4][256] = {
    TABLE(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu, 0x417b1dbcu,
          0x82f63b78u),
    TABLE(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u, 0x7f8be302u, 0xff17c604u,
          0xfbc3faf9u),
    TABLE(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au, 0xe144fb14u, 0xc76580d9u,
          0x8b277743u),
    TABLE(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du, 0xd725148bu, 0xaba65fe7u,
          0x52a0c93fu),
};

uint32_t
crc32c_by_table(uint32_t crc, const void *buf, size_t len)
{
    const unsigned char *p = buf;

    for (; len >= 4; p += 4, len -= 4) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        crc = crc_table[3][crc & 0xff] ^ crc_table[2][crc >> 8 & 0xff] ^
              crc_table[1][crc >> 16 & 0xff] ^ crc_table[0][crc >> 24];
    }
    for (; len > 0; p++, len--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 0xff];
    return crc;
}

#if HAVE_ISAL
/* Clears the upper halves of the vector registers, which ISA-L 2.30 leaves in use.  Until they are
 * clear, each SSE instruction and each switch of threads is slower, which costs several times as
 * much as the CRC itself. */
static inline void
crc32c_leave(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroupper");
#endif
}

/* ISA-L takes at most INT_MAX bytes a call. */
uint32_t
crc32c_update(uint32_t crc, const void *buf, size_t len)
{
    const unsigned char *p = buf;

    while (len > 0) {
        int n = len > (1u << 30) ? 1 << 30 : (int)len;

        crc = crc32_iscsi((unsigned char *)(uintptr_t)p, n, crc);
        p += n;
        len -= (size_t)n;
    }
    crc32c_leave();
    return crc;
}
#else
uint32_t
crc32c_update(uint32_t crc, const void *buf, size_t len)
{
    return crc32c_by_table(crc, buf, len);
}
#endif
