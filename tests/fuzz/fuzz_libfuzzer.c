/* SPDX-License-Identifier: MIT */
/* fuzz_libfuzzer.c - the entry that clang's -fsanitize=fuzzer calls. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_one(data, len);
    return 0;
}
