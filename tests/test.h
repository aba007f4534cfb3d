/* SPDX-License-Identifier: MIT */
/* tests/test.h - cmocka 1.1.5 needs these four first; formatters would sort them. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* Sizes in tests are small, whatever type they have.  The warning is for src/ and cmd/, where a
 * size comes from a peer or a user. */
#if SIZE_MAX < UINT64_MAX
#pragma GCC diagnostic ignored "-Wconversion"
#endif
#endif
