/* SPDX-License-Identifier: MIT */
/* One sample of each PDU and more, made with the structs and builders of wire/.
 *
 * test_bhs compares them with bytes written by hand from the RFC; gen_pdus
 * shows them to another dissector.  Neither trusts the other.
 */
#ifndef TESTS_WIRE_SAMPLES_H
#define TESTS_WIRE_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sample {
    const char *name;
    bool from_target;
    size_t (*build)(uint8_t *buf); /* writes the PDU without digests; its length */
};

#define SAMPLE_MAX 2048

extern const struct sample samples[];
extern const unsigned nsamples;

/* Puts header digest and data digest into the PDU of len bytes at buf; returns the new length. */
size_t sample_add_digests(uint8_t *buf, size_t len);

#endif
