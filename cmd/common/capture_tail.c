/* SPDX-License-Identifier: MIT */
#include "cmd/common/capture_tail.h"

#include <stdio.h>
#include <string.h>

#define BLOCK_HEAD        8  /* type and length of a block of pcapng */
#define BLOCK_STATISTICS  5  /* the last block, which says how it went */
#define BLOCK_STATS_FIXED 20 /* bytes of it before its options */
#define OPT_COMMENT       1
#define OPT_RECEIVED      4
#define OPT_DROPPED       5

static uint32_t
tail_number32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t
tail_number64(const uint8_t *p, uint16_t len)
{
    uint64_t v = 0;

    if (len == sizeof(v))
        memcpy(&v, p, sizeof(v));
    return v;
}

static void
tail_statistics(struct capture_tail *t)
{
    uint32_t at = BLOCK_STATS_FIXED;
    uint16_t code, len;

    while (at + 4 <= t->block_len) {
        memcpy(&code, t->block + at, sizeof(code));
        memcpy(&len, t->block + at + 2, sizeof(len));
        at += 4;
        if (len > t->block_len - at)
            return;
        if (code == OPT_COMMENT)
            (void)snprintf(t->reason, sizeof(t->reason), "%.*s", (int)len,
                           (const char *)t->block + at);
        else if (code == OPT_RECEIVED)
            t->packets = tail_number64(t->block + at, len);
        else if (code == OPT_DROPPED)
            t->dropped = tail_number64(t->block + at, len);
        at += (len + 3u) & ~3u;
    }
    t->done = true;
}

void
capture_tail_take(struct capture_tail *t, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        uint32_t want = t->at < BLOCK_HEAD ? BLOCK_HEAD - t->at : t->block_len - t->at;
        uint32_t n = want < len ? want : (uint32_t)len;

        if (t->at < CAPTURE_TAIL_KEPT)
            memcpy(t->block + t->at, bytes,
                   n < CAPTURE_TAIL_KEPT - t->at ? n : CAPTURE_TAIL_KEPT - t->at);
        t->at += n;
        bytes += n;
        len -= n;
        if (t->at == BLOCK_HEAD) {
            t->block_len = tail_number32(t->block + 4);
            if (t->block_len < BLOCK_HEAD + 4) /* no such block exists */
                t->block_len = UINT32_MAX;
        }
        if (t->at < BLOCK_HEAD || t->at < t->block_len)
            continue;
        if (tail_number32(t->block) == BLOCK_STATISTICS && t->block_len <= CAPTURE_TAIL_KEPT)
            tail_statistics(t);
        t->whole += t->block_len;
        t->at = 0;
    }
}
