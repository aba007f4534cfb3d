/* SPDX-License-Identifier: MIT */
/* base/sg.h - a slice of a scatter-gather list: bytes [skip, skip + len) of an iovec array.
 *
 * A request that is split needs no new iovec array, only another slice; the
 * array stays the submitter's until the request completes.
 */
#ifndef BASE_SG_H
#define BASE_SG_H

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct sg {
    const struct iovec *iov;
    uint32_t iovcnt;
    uint32_t len;  /* bytes; 0: no data */
    uint64_t skip; /* bytes of iov before the slice */
};

/* The first len bytes of the slice, if its first iovec has them all; else NULL. */
static inline void *
sg_start(const struct sg *s, uint32_t len)
{
    return s->iov->iov_len >= len && s->skip <= s->iov->iov_len - len
               ? (char *)s->iov->iov_base + s->skip
               : NULL;
}

/* Where a walk along a slice stands.  Seeking forward goes on from there; seeking backward walks
 * from the start again. */
struct sg_cursor {
    uint32_t idx;  /* the iovec */
    uint32_t at;   /* offset within the slice that idx/in_iov stand for */
    size_t in_iov; /* bytes into iov[idx] */
};

struct sg sg_from_iov(const struct iovec *iov, uint32_t iovcnt, uint64_t skip, uint32_t len);

/* The same as sg_cursor_init, where the slice starts behind the first iovec. */
void sg_cursor_start(struct sg_cursor *c, const struct sg *s);

#define SG_CURSOR_NOWHERE                                                                          \
    UINT32_MAX /* a value of `at` that makes the next seek walk from the start */

static inline void
sg_cursor_init(struct sg_cursor *c, const struct sg *s)
{
    *c = (struct sg_cursor){.in_iov = s->skip};
    if (__builtin_expect(s->iovcnt == 0 || s->skip >= s->iov->iov_len, 0))
        sg_cursor_start(c, s);
}

/* Moves to `offset` (<= s->len) of the slice. */
void sg_cursor_seek(struct sg_cursor *c, const struct sg *s, uint32_t offset);

/* Fills up to max iovecs with the bytes [cursor, cursor + len) and moves past them; stops early
 * when `max` is reached.  *ret_len: bytes described.  Returns the number of iovecs. */
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

/* Copies between flat memory and the slice at the cursor; len must fit into what is left. */
void sg_copy_to(struct sg_cursor *c, const struct sg *s, const void *src, uint32_t len);
void sg_copy_from(struct sg_cursor *c, const struct sg *s, void *dst, uint32_t len);

#endif
