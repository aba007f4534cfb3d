/* SPDX-License-Identifier: MIT */
/* tests/recovery/verify_model.c - versions of units, and the bytes that show them.
 *
 * Each sector says which it is and in which version, and the rest of it follows from that, so that
 * a part of a write, or one that went to another place, is seen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/recovery/verify.h"

#define SECTORS   (VERIFY_UNIT / VERIFY_SECTOR)
#define TOLD_MAX  20
#define WORDS     (VERIFY_SECTOR / sizeof(uint64_t))
#define HEAD_WORD 2 /* words that name the sector; the rest is derived */

int
verify_model_init(struct verify_model *m, uint32_t nunits, uint64_t seed)
{
    *m = (struct verify_model){.seed = seed, .nunits = nunits};
    m->units = calloc(nunits, sizeof(*m->units));
    return m->units ? 0 : -ENOMEM;
}

void
verify_model_fini(struct verify_model *m)
{
    free(m->units);
    m->units = NULL;
}

bool
verify_model_take(struct verify_model *m, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        if (m->units[i].busy)
            return false;
    for (uint32_t i = first; i < first + n; i++)
        m->units[i].busy = true;
    return true;
}

void
verify_model_give(struct verify_model *m, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        m->units[i].busy = false;
}

static void
sector_make(const struct verify_model *m, uint32_t unit, uint32_t k, uint32_t version,
            uint64_t *words)
{
    uint64_t seed;

    words[0] = (uint64_t)unit << 32 | version;
    words[1] = m->seed << 8 | k;
    seed = words[0] * 0x9e3779b97f4a7c15u ^ words[1];
    for (size_t i = HEAD_WORD; i < WORDS; i++)
        words[i] = verify_random(&seed);
}

void
verify_model_write(struct verify_model *m, uint32_t first, uint32_t n, unsigned char *buf)
{
    uint64_t words[WORDS];

    for (uint32_t i = first; i < first + n; i++) {
        uint32_t version = ++m->units[i].issued;

        for (uint32_t k = 0; k < SECTORS; k++, buf += VERIFY_SECTOR) {
            sector_make(m, i, k, version, words);
            memcpy(buf, words, VERIFY_SECTOR);
        }
    }
}

void
verify_model_written(struct verify_model *m, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        m->units[i].acked = m->units[i].issued;
}

static void
sector_wrong(struct verify_model *m, uint32_t unit, uint32_t k, const uint64_t *words)
{
    const struct verify_unit *u = &m->units[unit];

    if (m->mismatches++ >= TOLD_MAX)
        return;
    fprintf(stderr, "verify: unit %u sector %u: want version %u to %u, ", unit, k, u->acked,
            u->issued);
    if (words[1] >> 8 == m->seed << 8 >> 8)
        fprintf(stderr, "got unit %u sector %u version %u\n", (unsigned)(words[0] >> 32),
                (unsigned)(words[1] & 0xff), (unsigned)words[0]);
    else
        fprintf(stderr, "got %016jx %016jx...\n", (uintmax_t)words[0], (uintmax_t)words[1]);
}

void
verify_model_read(struct verify_model *m, uint32_t first, uint32_t n, const unsigned char *buf)
{
    uint64_t got[WORDS], want[WORDS];

    for (uint32_t i = first; i < first + n; i++) {
        struct verify_unit *u = &m->units[i];
        uint32_t oldest = u->issued;

        for (uint32_t k = 0; k < SECTORS; k++, buf += VERIFY_SECTOR) {
            uint32_t version;

            memcpy(got, buf, VERIFY_SECTOR);
            version = (uint32_t)got[0];
            sector_make(m, i, k, version, want);
            if (version < u->acked || version > u->issued || memcmp(got, want, VERIFY_SECTOR) != 0)
                sector_wrong(m, i, k, got);
            else if (version < oldest)
                oldest = version;
        }
        if (oldest > u->acked)
            u->acked = oldest;
        m->compared++;
    }
}
