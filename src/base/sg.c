/* SPDX-License-Identifier: MIT */
#include "base/sg.h"

struct sg
sg_from_iov(const struct iovec *iov, uint32_t iovcnt, uint64_t skip, uint32_t len)
{
    return (struct sg){.iov = iov, .iovcnt = iovcnt, .len = len, .skip = skip};
}

void
sg_cursor_start(struct sg_cursor *c, const struct sg *s)
{
    uint64_t skip = s->skip;
    uint32_t i = 0;

    if (s->len == 0) {
        *c = (struct sg_cursor){.idx = 0};
        return;
    }
    while (i < s->iovcnt && skip >= s->iov[i].iov_len) {
        skip -= s->iov[i].iov_len;
        i++;
    }
    assert(skip == 0 || i < s->iovcnt);
    c->idx = i;
    c->at = 0;
    c->in_iov = (size_t)skip;
}

/* Moves the cursor forward by n bytes, which the slice must have. */
static void
sg_iter_step(struct sg_cursor *c, const struct sg *s, uint32_t n)
{
    c->at += n;
    while (n > 0) {
        size_t rest;

        assert(c->idx < s->iovcnt);
        rest = s->iov[c->idx].iov_len - c->in_iov;
        if (n < rest) {
            c->in_iov += n;
            return;
        }
        n -= (uint32_t)rest;
        c->idx++;
        c->in_iov = 0;
    }
}

void
sg_cursor_seek(struct sg_cursor *c, const struct sg *s, uint32_t offset)
{
    assert(offset <= s->len);
    if (offset < c->at)
        sg_cursor_init(c, s);
    sg_iter_step(c, s, offset - c->at);
}

int
sg_cursor_map(struct sg_cursor *c, const struct sg *s, uint32_t len, struct iovec *iov, int max,
              uint32_t *ret_len)
{
    uint32_t done = 0;
    int n = 0;

    assert(len <= s->len - c->at);
    while (done < len && n < max) {
        size_t rest;
        uint32_t take;

        assert(c->idx < s->iovcnt);
        rest = s->iov[c->idx].iov_len - c->in_iov;
        take = rest < len - done ? (uint32_t)rest : len - done;
        if (take > 0)
            iov[n++] = (struct iovec){(char *)s->iov[c->idx].iov_base + c->in_iov, take};
        sg_iter_step(c, s, take);
        if (take == 0) { /* an empty iovec */
            c->idx++;
            c->in_iov = 0;
        }
        done += take;
    }
    *ret_len = done;
    return n;
}

void
sg_copy_to(struct sg_cursor *c, const struct sg *s, const void *src, uint32_t len)
{
    const char *from = src;

    while (len > 0) {
        struct iovec v;
        uint32_t n;

        (void)sg_cursor_map(c, s, len, &v, 1, &n);
        memcpy(v.iov_base, from, n);
        from += n;
        len -= n;
    }
}

void
sg_copy_from(struct sg_cursor *c, const struct sg *s, void *dst, uint32_t len)
{
    char *to = dst;

    while (len > 0) {
        struct iovec v;
        uint32_t n;

        (void)sg_cursor_map(c, s, len, &v, 1, &n);
        memcpy(to, v.iov_base, n);
        to += n;
        len -= n;
    }
}

bool
sg_touches(const struct sg *s, const void *addr, size_t len)
{
    uintptr_t from = (uintptr_t)addr, end = from + len;
    uint64_t skip = s->skip, left = s->len;

    for (uint32_t i = 0; len > 0 && left > 0 && i < s->iovcnt; i++) {
        uintptr_t p = (uintptr_t)s->iov[i].iov_base;
        uint64_t n = s->iov[i].iov_len;

        if (skip >= n) {
            skip -= n;
            continue;
        }
        p += skip;
        n -= skip;
        skip = 0;
        n = n < left ? n : left;
        left -= n;
        if (p < end && from < p + n)
            return true;
    }
    return false;
}
