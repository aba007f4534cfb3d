/* SPDX-License-Identifier: MIT */
/* Prints the samples as text2pcap input (I and O lines), for another dissector to judge.
 *
 * usage: gen_pdus [digests]     digests: with header and data digests after the login */
#include <stdio.h>
#include <string.h>

#include "samples.h"

static void
dump(const uint8_t *buf, size_t len)
{
    for (size_t at = 0; at < len; at += 16) {
        printf("%06zx", at);
        for (size_t i = at; i < len && i < at + 16; i++)
            printf(" %02x", buf[i]);
        printf("\n");
    }
    printf("\n");
}

int
main(int argc, char **argv)
{
    int digests = argc > 1 && strcmp(argv[1], "digests") == 0;

    for (unsigned i = 0; i < nsamples; i++) {
        uint8_t buf[SAMPLE_MAX];
        size_t len = samples[i].build(buf);

        if (digests && strncmp(samples[i].name, "login", 5) != 0)
            len = sample_add_digests(buf, len);
        printf("# %s\n%s\n", samples[i].name, samples[i].from_target ? "O" : "I");
        dump(buf, len);
    }
    return 0;
}
