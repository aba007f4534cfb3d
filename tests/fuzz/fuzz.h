/* SPDX-License-Identifier: MIT */
/* fuzz.h - one input of a fuzz target.
 *
 * Each fuzz_*.c defines fuzz_one().  With clang and -Dfuzz=true it becomes a
 * libFuzzer program (fuzz_libfuzzer.c); in every build replay.c runs it over
 * the corpus in the tree, each input in memory of exactly its size, so that
 * ASan and valgrind see every byte too many.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_one(const uint8_t *data, size_t len);

/* As assert, but never compiled out and with the place. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond);               \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy of exactly len bytes, to be freed: what lies behind it belongs to nobody. */
static inline void *
fuzz_copy(const void *data, size_t len)
{
    void *copy = calloc(1, len > 0 ? len : 1);

    CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

/* Text that ends within size and holds nothing that a terminal would obey. */
static inline void
fuzz_check_text(const char *text, size_t size)
{
    size_t n = strnlen(text, size);

    CHECK(n < size);
    for (size_t i = 0; i < n; i++)
        CHECK((unsigned char)text[i] >= 0x20 && (unsigned char)text[i] < 0x7f);
}

#endif
