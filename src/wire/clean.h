/* SPDX-License-Identifier: MIT */
/* wire/clean.h - text from a device, made fit for a terminal and a log. */
#ifndef WIRE_CLEAN_H
#define WIRE_CLEAN_H

#include <stddef.h>
#include <stdint.h>

/* Copies in[0..len) to out, cut to size - 1 bytes, and ends it with a NUL.  It stops at the first
 * NUL of in, replaces bytes outside 20h..7Eh by spaces, and removes trailing spaces.  size > 0.
 * Any thread. */
void clean_text(const uint8_t *in, size_t len, char *out, size_t size);

#endif
