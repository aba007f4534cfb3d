/* SPDX-License-Identifier: MIT */
/* base/crc32c.h - CRC32C as RFC 7143 13.1 wants it, computed by the library ISA-L.  Any thread.  A
 * digest is crc32c_final(crc32c_update(CRC32C_INIT, ...)). */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>

#define CRC32C_INIT 0xffffffffu

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

/* Continues a running CRC; ISA-L takes at most INT_MAX bytes a call. */
static inline uint32_t
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

/* Ends a CRC with the final complement.  On the wire the least significant byte goes first. */
static inline uint32_t
crc32c_final(uint32_t crc)
{
    return ~crc;
}

#endif
