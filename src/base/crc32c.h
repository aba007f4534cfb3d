/* SPDX-License-Identifier: MIT */
/* base/crc32c.h - CRC32C as RFC 7143 13.1 wants it, by ISA-L. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>

#define CRC32C_INIT 0xffffffffu

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
    return crc;
}

/* The final complement.  On the wire the digest stands least significant byte first. */
static inline uint32_t
crc32c_final(uint32_t crc)
{
    return ~crc;
}

#endif
