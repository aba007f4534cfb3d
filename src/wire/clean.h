/* SPDX-License-Identifier: MIT */
/* wire/clean.h - text from a device, made fit for a terminal and a log. */
#ifndef WIRE_CLEAN_H
#define WIRE_CLEAN_H

#include <stddef.h>
#include <stdint.h>

/* Copies in[0..len), cut to size - 1: bytes outside 20h..7Eh become spaces, a NUL ends the text,
 * trailing spaces go.  size > 0. */
void clean_text(const uint8_t *in, size_t len, char *out, size_t size);

#endif
