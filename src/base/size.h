/* SPDX-License-Identifier: MIT */
/* base/size.h - sizes as people write them: "4096", "0x200", "4k", "1.5G", "64KiB".  Any thread. */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* All of text[0..len):
 *
 *   size   = number [ "." digits ] [ unit ]
 *   number = decimal digits, or 0x and hex digits
 *   unit   = "B", or k M G T P in either case with nothing, "B" or "iB" after it
 *
 * A fraction needs a unit that is not B, and goes with decimal digits only.  k is
 * 1024, M is 1024 k, and so on; what a fraction leaves below a byte is dropped.  Bytes in *ret;
 * -EINVAL (not of this form), or -ERANGE (2^64 or more).  *ret is untouched on failure. */
int size_parse(const char *text, size_t len, uint64_t *ret);

#endif
