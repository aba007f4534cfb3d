/* SPDX-License-Identifier: MIT */
/* wire/be.h - big-endian integers as bytes.
 *
 * The fields of wire structs have the types struct beNN.  They have alignment 1, so
 * that a struct may lie anywhere in a buffer, and they are structs, so that nobody can
 * calculate with them without getNN(), which reads a field; putNN() makes one.
 * ld_beNN() and st_beNN() do the same in raw buffers (CDBs, sense, VPD), whose length
 * the caller has checked.
 *
 * The functions copy whole words with memcpy, because compilers turn that reliably into
 * one load or store and a byte swap, and do not do so with single bytes.  They keep no
 * state and may be called on any thread.
 */
#ifndef WIRE_BE_H
#define WIRE_BE_H

#include <stdint.h>
#include <string.h>

/* <endian.h> has the same under other names, but not under strict C17, with which users of the
 * installed headers may compile. */
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

/* Stores little-endian: the byte at p is the lowest one of v. */
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
