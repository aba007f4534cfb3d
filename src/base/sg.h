/* SPDX-License-Identifier: MIT */
/* base/sg.h - a slice of a scatter-gather list: bytes [skip, skip + len) of an iovec array.
 *
 * A request that is split into several needs no new iovec arrays: each part is another
 * slice of the same array.  A slice borrows the array and the memory behind it, which
 * the submitter of the request keeps until the request completes.
 */
#ifndef BASE_SG_H
#define BASE_SG_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct sg {
    const struct iovec *iov;
    uint32_t iovcnt;
    uint32_t len;  /* bytes; 0: no data, and iov and iovcnt may be anything */
    uint64_t skip; /* bytes of iov before the slice */
};

/* Returns the first len bytes of the slice if its first iovec has them all; else NULL.  The slice
 * has at least one iovec. */
static inline void *
sg_start(const struct sg *s, uint32_t len)
{
    return s->iov->iov_len >= len && s->skip <= s->iov->iov_len - len
               ? (char *)s->iov->iov_base + s->skip
               : NULL;
}

/* A position in a slice.  To seek forward goes on from the position; to seek backward begins at the
 * start of the slice again. */
struct sg_cursor {
    uint32_t idx;  /* index of the iovec */
    uint32_t at;   /* the position in bytes from the start of the slice */
    size_t in_iov; /* the position in bytes from the start of iov[idx] */
};

/* Makes the slice [skip, skip + len) of iov[iovcnt], which must have that many bytes. */
struct sg sg_from_iov(const struct iovec *iov, uint32_t iovcnt, uint64_t skip, uint32_t len);

/* The part of sg_cursor_init for a slice that starts behind its first iovec; not for other callers.
 */
void sg_cursor_start(struct sg_cursor *c, const struct sg *s);

/* A value of `at` behind every position: the next seek begins at the start of the slice. */
#define SG_CURSOR_NOWHERE UINT32_MAX

/* Tells whether a byte of the slice lies in [addr, addr + len). */
bool sg_touches(const struct sg *s, const void *addr, size_t len);

/* Sets the position to the start of the slice. */
static inline void
sg_cursor_init(struct sg_cursor *c, const struct sg *s)
{
    *c = (struct sg_cursor){.in_iov = (size_t)s->skip};
    if (__builtin_expect(s->len == 0 || s->skip >= s->iov->iov_len, 0))
        sg_cursor_start(c, s);
}

/* Moves to `offset` (<= s->len) of the slice. */
void sg_cursor_seek(struct sg_cursor *c, const struct sg *s, uint32_t offset);

/* Describes the next len bytes with iov[0..max) and moves past what it has described; it stops
 * early when max iovecs are full.  *ret_len is the number of bytes described.  Returns the number
 * of iovecs. */
int sg_cursor_map(struct sg_cursor *c, const struct sg *s, uint32_t len, struct iovec *iov, int max,
                  uint32_t *ret_len);

/* Returns the next len bytes and moves past them, if they lie in one iovec, as they mostly do.
 * Otherwise returns NULL, and the cursor stays. */
static inline void *
sg_cursor_take(struct sg_cursor *c, const struct sg *s, uint32_t len)
{
    const struct iovec *v = &s->iov[c->idx];
    char *p;

    if (__builtin_expect(c->idx >= s->iovcnt || v->iov_len - c->in_iov < len, 0))
        return NULL;
    p = (char *)v->iov_base + c->in_iov;
    c->at += len;
    c->in_iov += len;
    if (c->in_iov == v->iov_len) {
        c->idx++;
        c->in_iov = 0;
    }
    return p;
}

/* Copy len bytes between flat memory and the slice, at the cursor, and move it past them.  The
 * slice must have len more bytes. */
void sg_copy_to(struct sg_cursor *c, const struct sg *s, const void *src, uint32_t len);
void sg_copy_from(struct sg_cursor *c, const struct sg *s, void *dst, uint32_t len);

#endif
