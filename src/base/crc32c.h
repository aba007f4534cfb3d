/* SPDX-License-Identifier: MIT */
/* base/crc32c.h - CRC32C as RFC 7143 13.1 wants it, computed by the library ISA-L where there is
 * one, which it is for x86-64 and arm64.  Any thread.  A digest is
 * crc32c_final(crc32c_update(CRC32C_INIT, ...)). */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#define CRC32C_INIT 0xffffffffu

/* Continues a running CRC. */
uint32_t crc32c_update(uint32_t crc, const void *buf, size_t len);

/* Does the same without ISA-L; the tests compare them. */
uint32_t crc32c_by_table(uint32_t crc, const void *buf, size_t len);

/* Ends a CRC with the final complement.  On the wire the least significant byte goes first. */
static inline uint32_t
crc32c_final(uint32_t crc)
{
    return ~crc;
}

#endif
