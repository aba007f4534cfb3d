/* SPDX-License-Identifier: MIT */
/* wire/be.h - big-endian integers as bytes.
 *
 * struct beNN are the fields of wire structs: alignment 1, and no arithmetic
 * by accident.  getNN() reads one, putNN() makes one.  ld_beNN/st_beNN are the
 * same for raw buffers (CDBs, sense, VPD); the caller has checked the length.
 * Whole words through memcpy: one load or store and a byte swap each, which
 * compilers do not make of single bytes reliably.
 * Functions of any thread, no state.
 */
#ifndef WIRE_BE_H
#define WIRE_BE_H

#include <stdint.h>
#include <string.h>

/* <endian.h> has these in other words, but not for strict C17, which users of installed headers may
 * ask for. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16_SWAP(v) __builtin_bswap16(v)
#define BE32_SWAP(v) __builtin_bswap32(v)
#define BE64_SWAP(v) __builtin_bswap64(v)
#define LE64_SWAP(v) (v)
#else
#define BE16_SWAP(v) (v)
#define BE32_SWAP(v) (v)
#define BE64_SWAP(v) (v)
#define LE64_SWAP(v) __builtin_bswap64(v)
#endif

struct be16 {
    uint8_t b[2];
};
struct be24 {
    uint8_t b[3];
};
struct be32 {
    uint8_t b[4];
};
struct be64 {
    uint8_t b[8];
};

static inline uint16_t
ld_be16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return BE16_SWAP(v);
}

static inline uint32_t
ld_be24(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;

    return (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
}

static inline uint32_t
ld_be32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return BE32_SWAP(v);
}

static inline uint64_t
ld_be64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return BE64_SWAP(v);
}

static inline void
st_be16(void *p, uint16_t v)
{
    v = BE16_SWAP(v);
    memcpy(p, &v, sizeof(v));
}

/* The upper byte of v is dropped. */
static inline void
st_be24(void *p, uint32_t v)
{
    uint8_t *b = (uint8_t *)p;

    b[0] = (uint8_t)(v >> 16);
    b[1] = (uint8_t)(v >> 8);
    b[2] = (uint8_t)v;
}

static inline void
st_be32(void *p, uint32_t v)
{
    v = BE32_SWAP(v);
    memcpy(p, &v, sizeof(v));
}

static inline void
st_be64(void *p, uint64_t v)
{
    v = BE64_SWAP(v);
    memcpy(p, &v, sizeof(v));
}

/* The other way round: the byte at p is the lowest one of v. */
static inline void
st_le64(void *p, uint64_t v)
{
    v = LE64_SWAP(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint16_t
get16(struct be16 x)
{
    return ld_be16(x.b);
}

static inline uint32_t
get24(struct be24 x)
{
    return ld_be24(x.b);
}

static inline uint32_t
get32(struct be32 x)
{
    return ld_be32(x.b);
}

static inline uint64_t
get64(struct be64 x)
{
    return ld_be64(x.b);
}

static inline struct be16
put16(uint16_t v)
{
    struct be16 x;

    st_be16(x.b, v);
    return x;
}

static inline struct be24
put24(uint32_t v)
{
    struct be24 x;

    st_be24(x.b, v);
    return x;
}

static inline struct be32
put32(uint32_t v)
{
    struct be32 x;

    st_be32(x.b, v);
    return x;
}

static inline struct be64
put64(uint64_t v)
{
    struct be64 x;

    st_be64(x.b, v);
    return x;
}

#endif
