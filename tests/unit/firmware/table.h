/* SPDX-License-Identifier: MIT */
/* table.h - makes iSCSI Boot Firmware Tables, byte by byte as the specification has them. */
#ifndef TESTS_FIRMWARE_TABLE_H
#define TESTS_FIRMWARE_TABLE_H

#include <stdint.h>
#include <string.h>

#define TABLE_INITIATOR 72 /* where the structures are, of a table of two cards and two targets */
#define TABLE_CARD(n)   (152 + 104 * (n))
#define TABLE_TARGET(n) (360 + 56 * (n))
#define TABLE_HEAP      472

struct table {
    uint8_t at[2048];
    size_t len;
};

static inline void
table_u16(struct table *t, size_t off, unsigned v)
{
    t->at[off] = (uint8_t)v;
    t->at[off + 1] = (uint8_t)(v >> 8);
}

/* Sets the length and the checksum anew. */
static inline void
table_seal(struct table *t)
{
    uint8_t sum = 0;

    table_u16(t, 4, (unsigned)t->len);
    t->at[9] = 0;
    for (size_t i = 0; i < t->len; i++)
        sum = (uint8_t)(sum + t->at[i]);
    t->at[9] = (uint8_t)-sum;
}

static inline void
table_head(struct table *t, size_t off, uint8_t id, unsigned len, uint8_t index, uint8_t flags)
{
    t->at[off] = id;
    t->at[off + 1] = 1;
    table_u16(t, off + 2, len);
    t->at[off + 4] = index;
    t->at[off + 5] = flags;
}

/* Puts a text on the heap, and its length and offset at off. */
static inline void
table_text(struct table *t, size_t off, const char *text)
{
    size_t len = strlen(text);

    table_u16(t, off, (unsigned)len);
    table_u16(t, off + 2, (unsigned)t->len);
    memcpy(t->at + t->len, text, len + 1);
    t->len += len + 1;
}

static inline void
table_v4(struct table *t, size_t off, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    memset(t->at + off, 0, 10);
    memset(t->at + off + 10, 0xff, 2);
    t->at[off + 12] = a;
    t->at[off + 13] = b;
    t->at[off + 14] = c;
    t->at[off + 15] = d;
}

/* Two targets by two cards; the first has CHAP in both directions, the second an IPv6 address. */
static inline void
table_make(struct table *t)
{
    memset(t, 0, sizeof(*t));
    t->len = TABLE_HEAP;
    memcpy(t->at, "iBFT", 4);
    t->at[8] = 1;
    memcpy(t->at + 10, "LUNETT", 6);
    table_head(t, 48, 1, 18, 0, 0);
    table_u16(t, 56, TABLE_INITIATOR);
    table_u16(t, 58, TABLE_CARD(0));
    table_u16(t, 60, TABLE_TARGET(0));
    table_u16(t, 62, TABLE_CARD(1));
    table_u16(t, 64, TABLE_TARGET(1));
    table_head(t, TABLE_INITIATOR, 2, 74, 0, 3);
    table_text(t, TABLE_INITIATOR + 70, "iqn.2026-11.example:host");
    for (uint8_t i = 0; i < 2; i++) {
        size_t card = TABLE_CARD(i), target = TABLE_TARGET(i);

        table_head(t, card, 3, 102, i, 3);
        table_v4(t, card + 6, 10, 0, i, 5);
        t->at[card + 22] = 24;
        t->at[card + 23] = i == 0 ? 1 : 3;
        table_v4(t, card + 24, 10, 0, i, 1);
        table_u16(t, card + 88, i == 0 ? 0 : 100);
        memcpy(t->at + card + 90, "\x02\x00\x00\x00\x00", 5);
        t->at[card + 95] = (uint8_t)(i + 1);
        table_head(t, target, 4, 54, i, 3);
        table_u16(t, target + 22, 3260 + i);
        t->at[target + 33] = i;
        t->at[target + 25] = (uint8_t)(i + 1);
    }
    table_v4(t, TABLE_TARGET(0) + 6, 10, 0, 0, 9);
    t->at[TABLE_TARGET(1) + 6] = 0xfd;
    t->at[TABLE_TARGET(1) + 21] = 0x09;
    table_text(t, TABLE_TARGET(0) + 34, "iqn.2026-11.example:a");
    table_text(t, TABLE_TARGET(1) + 34, "iqn.2026-11.example:b");
    table_text(t, TABLE_TARGET(0) + 38, "joe");
    table_text(t, TABLE_TARGET(0) + 42, "a-secret-of-21-bytes");
    table_text(t, TABLE_TARGET(0) + 46, "target");
    table_text(t, TABLE_TARGET(0) + 50, "another-of-19-bytes");
    table_seal(t);
}

#endif
