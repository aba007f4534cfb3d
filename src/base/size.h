/* SPDX-License-Identifier: MIT */
/* base/size.h - sizes as people write them: "4096", "0x200", "4k", "1.5G", "64KiB".  Any thread. */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* Reads a size, which must be all of text[0..len):
 *
 *   size   = number [ "." digits ] [ unit ]
 *   number = decimal digits, or 0x and hex digits
 *   unit   = "B", or k M G T P in either case with nothing, "B" or "iB" after it
 *
 * A fraction is allowed only behind decimal digits and before a unit other than B.
 * k is 1024, M is 1024 k, and so on.  The result is rounded down to whole bytes.
 *
 * Returns 0 and the bytes in *ret; -EINVAL for a text that is not of this form; -ERANGE for 2^64
 * bytes or more.  On failure *ret stays as it was. */
int size_parse(const char *text, size_t len, uint64_t *ret);

#endif
