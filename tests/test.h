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
#endif
